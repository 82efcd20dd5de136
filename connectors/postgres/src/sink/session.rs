//! A connection with what is known about the other side: tables, offsets, prepared statements.

use std::collections::HashMap;

use connect_api::{ConnectError, OpenPartition, TopicPartition};
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, Statement};

use super::config::SinkConfig;
use super::failure::{self, Failure, chain};
use super::offsets::Offsets;
use super::row::TableName;
use super::table::Table;
use crate::tls::{Encryption, Mode};

/// Prepared statements kept; when there are more, all are forgotten.
const STATEMENTS_MAX: usize = 200;

pub(super) struct Session {
    pub(super) client: Client,
    connection: JoinHandle<()>,
    pub(super) tables: HashMap<TableName, Table>,
    pub(super) offsets: Offsets,
    statements: HashMap<String, Statement>,
    /// What people should know of what was done here.
    pub(super) notes: Vec<String>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Connects in the ways that the mode of encryption has, one after the other.
async fn connected(config: &SinkConfig) -> Result<(Client, JoinHandle<()>), ConnectError> {
    let hosts = config.connection.get_hosts();
    let local = hosts.iter().any(|host| matches!(host, Host::Unix(_)));
    let mode = match local {
        // Nobody listens in between.
        true => Mode::Disable,
        false => config.encryption.mode,
    };
    let encryption = match mode {
        Mode::Disable => Encryption::default(),
        _ => config.encryption.clone(),
    };
    let tls = encryption
        .client()
        .map_err(|issue| ConnectError::config("connection.url", issue.to_string()))?;
    let mut refused = None;
    for encrypted in mode.attempts() {
        let mut settings = config.connection.clone();
        settings.ssl_mode(match (encrypted, mode) {
            (false, _) => SslMode::Disable,
            (true, Mode::Prefer) => SslMode::Prefer,
            (true, _) => SslMode::Require,
        });
        match settings.connect(tls.clone()).await {
            Ok((client, connection)) => {
                let connection = tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::warn!(error = chain(&error), "the connection to PostgreSQL broke");
                    }
                });
                return Ok((client, connection));
            }
            Err(error) => {
                let of_server = error.as_db_error().is_some();
                let of_encryption = failure::is_of_encryption(&error);
                let error = failure::of_connecting(error);
                // As in `source::wire`: what the server says of the user says most.
                refused = match refused {
                    None | Some((_, true)) => Some((error, of_encryption)),
                    Some(before) if !encrypted || of_encryption => Some(before),
                    Some(_) => Some((error, of_encryption)),
                };
                if !of_server && !of_encryption {
                    break;
                }
            }
        }
    }
    let nothing = || ConnectError::Fatal("no connection was tried".to_owned());
    Err(refused.map_or_else(nothing, |(error, _)| error))
}

impl Session {
    pub(super) async fn connect(config: &SinkConfig) -> Result<Self, ConnectError> {
        let (client, connection) = connected(config).await?;
        let session = Self {
            client,
            connection,
            tables: HashMap::new(),
            offsets: Offsets::default(),
            statements: HashMap::new(),
            notes: Vec::new(),
        };
        session
            .client
            .batch_execute("SET TIME ZONE 'UTC'; SET client_min_messages = warning")
            .await
            .map_err(Failure::from)?;
        Ok(session)
    }

    /// Whether a unique constraint can take NULL for a value like any other (PostgreSQL 15).
    pub(super) async fn unique_nulls(&self) -> Result<bool, Failure> {
        let sql = "SELECT current_setting('server_version_num')::int >= 150000";
        Ok(self.client.query_one(sql, &[]).await?.get(0))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(super) async fn load_offsets(
        &mut self,
        connector: &str,
        partitions: &[OpenPartition],
    ) -> Result<(), ConnectError> {
        self.offsets = Offsets::load(&self.client, connector, partitions).await?;
        Ok(())
    }

    /// The next offset to read of a partition.
    pub(super) fn offset(&self, partition: &TopicPartition) -> Option<i64> {
        self.offsets.next(partition)
    }

    /// Runs a statement whose parameters are all arrays of text.
    pub(super) async fn execute(
        &mut self,
        sql: &str,
        columns: &[Vec<Option<String>>],
    ) -> Result<u64, Failure> {
        let statement = self.statement(sql, columns.len()).await?;
        Ok(self
            .client
            .execute(&statement, &parameters(columns))
            .await?)
    }

    /// As [`Session::execute`], and returns the rows.
    pub(super) async fn query(
        &mut self,
        sql: &str,
        columns: &[Vec<Option<String>>],
    ) -> Result<Vec<Row>, Failure> {
        let statement = self.statement(sql, columns.len()).await?;
        Ok(self.client.query(&statement, &parameters(columns)).await?)
    }

    async fn statement(&mut self, sql: &str, parameters: usize) -> Result<Statement, Failure> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        if self.statements.len() >= STATEMENTS_MAX {
            self.statements.clear();
        }
        let types = vec![Type::TEXT_ARRAY; parameters];
        let statement = self.client.prepare_typed(sql, &types).await?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Forgets what was known about tables: they changed.
    pub(super) fn forget_tables(&mut self) {
        self.tables.clear();
        self.statements.clear();
    }
}

fn parameters(columns: &[Vec<Option<String>>]) -> Vec<&(dyn ToSql + Sync)> {
    columns
        .iter()
        .map(|column| column as &(dyn ToSql + Sync))
        .collect()
}
