//! The PostgreSQL sink: rows and the offsets behind them in one database transaction.
//!
//! ```text
//!  batch ─▶ rows (columns as text) ─▶ last change a key ─▶ BEGIN
//!                                                           DELETE … / INSERT … ON CONFLICT … (arrays, unnested)
//!                                                           _thalweg_offsets: next_offset, if it is still the old one
//!                                                          COMMIT
//! ```
//!
//! Values travel as text and are cast to the column's type by the database, so that whatever the table's types are,
//! PostgreSQL's own rules decide. Tables that are missing are made from the first batch's fields, columns that are
//! missing are added (`schema.evolution=basic`).
//!
//! Invariants:
//! 1. Rows and offsets commit together: after a crash anywhere the task goes on exactly behind its last row.
//! 2. Offsets move only from the value this task knows: a task that was left behind cannot write beside its successor.
//! 3. A batch with rows that the database refuses leaves nothing behind; the rows are named, by bisection.

mod apply;
mod cell;
mod config;
mod declared;
mod failure;
mod identity;
mod offsets;
mod places;
mod row;
mod session;
mod table;
mod url;

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use connect_api::{
    ConfigDef, ConfigMap, ConnectError, ConnectorKind, ConnectorPlugin, DeclaredRows, FieldIssue,
    OpenPartition, Progress, PutReport, RejectedRow, SinkBatch, SinkTask, TablePlace, TableSink,
    Task, TaskContext, TopicPartition, Undeclared,
};

use config::SinkConfig;
use failure::Failure;
use row::Row;
use session::Session;

/// How long a look at the table may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// The upsert sink.
#[derive(Debug, Clone, Copy, Default)]
pub struct PostgresSink;

#[async_trait]
impl ConnectorPlugin for PostgresSink {
    fn class(&self) -> &'static str {
        "io.debezium.connector.jdbc.JdbcSinkConnector"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &[
            "JdbcSink",
            "JdbcSinkConnector",
            "PostgresSink",
            "PostgresSinkConnector",
            "jdbc",
            "postgres",
            "io.aiven.connect.jdbc.JdbcSinkConnector",
            "io.confluent.connect.jdbc.JdbcSinkConnector",
        ]
    }

    fn kind(&self) -> ConnectorKind {
        ConnectorKind::Sink
    }

    fn config_def(&self) -> ConfigDef {
        config::def()
    }

    fn undeclared(&self, key: &str) -> Undeclared {
        config::undeclared(key)
    }

    async fn validate(&self, config: &ConfigMap) -> Vec<FieldIssue> {
        let issue = |error: ConnectError| match error {
            ConnectError::Config { key, message } => FieldIssue { key, message },
            other => FieldIssue {
                key: "connection.url".to_owned(),
                message: other.to_string(),
            },
        };
        let parsed = match SinkConfig::parse(config) {
            Ok(parsed) => parsed,
            Err(error) => return vec![issue(error)],
        };
        let session = match Session::connect(&parsed).await {
            Ok(session) => session,
            Err(error) => return vec![issue(error)],
        };
        // Topics that transforms rename have tables of other names.
        let named = config
            .get("topics")
            .filter(|_| !config.contains_key("transforms"));
        let topics = named.map(String::as_str).unwrap_or_default().split(',');
        let mut issues = Vec::new();
        for topic in topics.map(str::trim).filter(|topic| !topic.is_empty()) {
            let looked = table::is_there(&session, &parsed, &parsed.table_of(topic)).await;
            // What else the database says is told where the rows come.
            if let Err(Failure::Other(error @ ConnectError::Config { .. })) = looked {
                let issue = issue(error);
                if !issues.contains(&issue) {
                    issues.push(issue);
                }
            }
        }
        issues
    }

    fn task_configs(
        &self,
        config: &ConfigMap,
        tasks_max: u32,
    ) -> Result<Vec<ConfigMap>, ConnectError> {
        Ok(vec![config.clone(); tasks_max as usize])
    }

    fn sink_tables(&self) -> Option<&dyn TableSink> {
        Some(self)
    }

    fn task(&self) -> Task {
        Task::Sink(Box::new(PostgresSinkTask::default()))
    }
}

#[async_trait]
impl TableSink for PostgresSink {
    fn aliases(&self) -> &'static [(&'static str, &'static str)] {
        declared::ALIASES
    }

    fn config(
        &self,
        name: &str,
        options: &ConfigMap,
        rows: &DeclaredRows,
    ) -> Result<ConfigMap, ConnectError> {
        declared::config(name, options, rows)
    }

    async fn places(&self, taken: &[(&ConfigMap, &str)]) -> Vec<Vec<TablePlace>> {
        places::places(taken).await
    }

    async fn look(
        &self,
        config: &ConfigMap,
        rows: &DeclaredRows,
    ) -> Result<Vec<String>, ConnectError> {
        match tokio::time::timeout(LOOK_TIMEOUT, declared::look(config, rows)).await {
            Ok(Ok(notes)) => Ok(notes),
            Ok(Err(Failure::Other(error @ ConnectError::Config { .. }))) => Err(error),
            // Whether the database answers is `validate`'s to tell.
            Ok(Err(_)) | Err(_) => Ok(Vec::new()),
        }
    }
}

#[derive(Default)]
struct PostgresSinkTask {
    connector: String,
    config: Option<SinkConfig>,
    /// `None` before the first call and after a connection broke.
    session: Option<Session>,
    partitions: Vec<OpenPartition>,
    /// What people should know of this run: one for each table at most.
    notes: Vec<String>,
}

impl PostgresSinkTask {
    /// A session with the offsets of this task's partitions loaded.
    async fn session(&mut self) -> Result<(&mut Session, &SinkConfig), ConnectError> {
        let config = self
            .config
            .as_ref()
            .ok_or_else(|| ConnectError::Fatal("the task was not started".to_owned()))?;
        if self.session.as_ref().is_none_or(Session::is_closed) {
            let mut session = Session::connect(config).await?;
            session
                .load_offsets(&self.connector, &self.partitions)
                .await?;
            self.session = Some(session);
        }
        match &mut self.session {
            Some(session) => Ok((session, config)),
            None => Err(ConnectError::Fatal("the session vanished".to_owned())),
        }
    }

    async fn put_rows(&mut self, batch: &SinkBatch) -> Result<PutReport, ConnectError> {
        let connector = self.connector.clone();
        let (session, config) = self.session().await?;
        let mut rows = Vec::with_capacity(batch.records.len());
        let mut rejected = Vec::new();
        for (index, record) in batch.records.iter().enumerate() {
            // A commit whose answer got lost: these rows are there.
            if session
                .offset(&record.origin)
                .is_some_and(|next| record.offset < next)
            {
                continue;
            }
            match Row::of(config, record) {
                Ok(Some(row)) => rows.push((index, row)),
                Ok(None) => {}
                Err(message) => rejected.push(RejectedRow { index, message }),
            }
        }
        if !rejected.is_empty() {
            return Ok(PutReport::Rejected(rejected));
        }
        let applied = apply::apply(session, config, &connector, rows, &batch.positions).await;
        let notes = std::mem::take(&mut session.notes);
        for note in notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
        applied
    }
}

#[async_trait]
impl SinkTask for PostgresSinkTask {
    async fn start(&mut self, context: TaskContext) -> Result<(), ConnectError> {
        self.config = Some(SinkConfig::parse(&context.config)?);
        self.connector = context.connector;
        Ok(())
    }

    async fn open(
        &mut self,
        partitions: &[OpenPartition],
    ) -> Result<HashMap<TopicPartition, i64>, ConnectError> {
        self.partitions = partitions.to_vec();
        self.session = None;
        let (session, _) = self.session().await?;
        Ok(session.offsets.all())
    }

    async fn put(&mut self, batch: &SinkBatch) -> Result<PutReport, ConnectError> {
        let result = self.put_rows(batch).await;
        if result.is_err() {
            // Whatever state the transaction was in: a new session starts clean and reads what was committed.
            self.session = None;
        }
        result
    }

    fn progress(&self) -> Progress {
        Progress {
            notes: self.notes.clone(),
            ..Progress::default()
        }
    }

    async fn close(&mut self, _: &[TopicPartition]) -> Result<(), ConnectError> {
        self.session = None;
        Ok(())
    }
}
