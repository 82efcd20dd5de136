//! A connection with what is known about the other side: tables, offsets, prepared statements.

use std::collections::HashMap;

use connect_api::{ConnectError, TopicPartition};
use tokio::task::JoinHandle;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls, Statement};

use super::config::SinkConfig;
use super::failure::{Failure, chain};
use super::offsets;
use super::row::TableName;
use super::table::Table;

/// Prepared statements kept; when there are more, all are forgotten.
const STATEMENTS_MAX: usize = 200;

pub(super) struct Session {
    pub(super) client: Client,
    connection: JoinHandle<()>,
    pub(super) tables: HashMap<TableName, Table>,
    offsets: HashMap<TopicPartition, i64>,
    statements: HashMap<String, Statement>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Session {
    pub(super) async fn connect(config: &SinkConfig) -> Result<Self, ConnectError> {
        let (client, connection) =
            config
                .connection
                .connect(NoTls)
                .await
                .map_err(|error| match Failure::from(error) {
                    Failure::Other(ConnectError::Transient(message)) => {
                        ConnectError::Transient(format!("cannot connect: {message}"))
                    }
                    other => other.into(),
                })?;
        let connection = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(error = chain(&error), "the connection to PostgreSQL broke");
            }
        });
        let session = Self {
            client,
            connection,
            tables: HashMap::new(),
            offsets: HashMap::new(),
            statements: HashMap::new(),
        };
        session
            .client
            .batch_execute("SET TIME ZONE 'UTC'; SET client_min_messages = warning")
            .await
            .map_err(Failure::from)?;
        Ok(session)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(super) async fn load_offsets(
        &mut self,
        connector: &str,
        partitions: &[TopicPartition],
    ) -> Result<(), ConnectError> {
        self.offsets = offsets::load(&self.client, connector, partitions).await?;
        Ok(())
    }

    pub(super) fn offsets(&self) -> &HashMap<TopicPartition, i64> {
        &self.offsets
    }

    pub(super) fn offset(&self, partition: &TopicPartition) -> Option<i64> {
        self.offsets.get(partition).copied()
    }

    /// The transaction with these positions committed.
    pub(super) fn moved(&mut self, positions: &[(TopicPartition, i64)]) {
        self.offsets.extend(positions.iter().cloned());
    }

    /// Runs a statement whose parameters are all arrays of text.
    pub(super) async fn execute(
        &mut self,
        sql: &str,
        columns: &[Vec<Option<String>>],
    ) -> Result<u64, Failure> {
        let statement = match self.statements.get(sql) {
            Some(statement) => statement.clone(),
            None => {
                if self.statements.len() >= STATEMENTS_MAX {
                    self.statements.clear();
                }
                let types = vec![Type::TEXT_ARRAY; columns.len()];
                let statement = self.client.prepare_typed(sql, &types).await?;
                self.statements.insert(sql.to_owned(), statement.clone());
                statement
            }
        };
        let parameters: Vec<&(dyn ToSql + Sync)> = columns
            .iter()
            .map(|column| column as &(dyn ToSql + Sync))
            .collect();
        Ok(self.client.execute(&statement, &parameters).await?)
    }

    /// Forgets what was known about tables: they changed.
    pub(super) fn forget_tables(&mut self) {
        self.tables.clear();
        self.statements.clear();
    }
}
