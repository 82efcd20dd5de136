//! A server over the built-in log and a real engine, in a folder that goes with it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use connect_sandbox::{Sandbox, SandboxConfig};
use log_api::Log;
use log_broker::{Broker, BrokerConfig};
use sql::{Answer, Diagnostic, Server, SqlConfig};
use streams::{Engine, EngineConfig};
use tempfile::TempDir;

pub(crate) struct Fixture {
    pub(crate) server: Server,
    engine: Ended,
    broker: Broker,
    folder: TempDir,
}

/// Ends the jobs while their folder is there: RocksDB writes what it holds when it closes, and all stores of a process
/// share the thread that does it.
struct Ended(Engine);

impl Drop for Ended {
    fn drop(&mut self) {
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| handle.block_on(self.0.shutdown()));
    }
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(SqlConfig::default()).await
    }

    /// A server with settings of its own.
    pub(crate) async fn with(config: SqlConfig) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::open(folder, config).await
    }

    async fn open(folder: TempDir, settings: SqlConfig) -> Self {
        let broker = Broker::open(BrokerConfig::in_folder(folder.path().join("log")))
            .expect("the log opens");
        let log: Arc<dyn Log> = Arc::new(broker.embedded());
        let config = EngineConfig {
            state_dir: folder.path().join("state"),
            commit_interval: std::time::Duration::from_millis(20),
            idle_grace_ms: 50,
            ..EngineConfig::default()
        };
        let engine = Engine::new(config, Arc::clone(&log)).expect("the engine opens");
        let sandbox = Arc::new(Sandbox::new(SandboxConfig::default()).expect("the sandbox opens"));
        let server = Server::open(settings, log, engine.clone(), sandbox)
            .await
            .expect("the server opens");
        Self {
            server,
            engine: Ended(engine),
            broker,
            folder,
        }
    }

    /// The log itself, for records that no statement writes.
    pub(crate) fn log(&self) -> Arc<dyn Log> {
        Arc::new(self.broker.embedded())
    }

    /// The memory of the server.
    pub(crate) fn memory(&self) -> streams::MemoryBudget {
        self.engine.0.memory()
    }

    /// Stops everything and opens it again over the same folder.
    pub(crate) async fn restart(self) -> Self {
        let Self {
            folder,
            broker,
            engine,
            server,
        } = self;
        server.shutdown().await;
        engine.0.shutdown().await;
        broker.close().await.expect("the log closes");
        drop((server, engine, broker));
        Self::open(folder, SqlConfig::default()).await
    }

    /// Makes a topic behind the server's back.
    pub(crate) async fn create_topic(&self, name: &str) {
        let admin = self.broker.embedded().admin();
        let topic = log_api::NewTopic::new(name, 1);
        admin.create_topic(topic).await.expect("the topic is new");
    }

    /// Deletes a topic behind the server's back.
    pub(crate) async fn delete_topic(&self, name: &str) {
        let admin = self.broker.embedded().admin();
        admin.delete_topic(name).await.expect("the topic is there");
    }

    /// Runs statements that succeed.
    pub(crate) async fn run(&self, sql: &str) -> Vec<Answer> {
        match self.server.execute(sql).await {
            Ok(answers) => answers,
            Err(error) => panic!("{}", error.render(sql, false)),
        }
    }

    /// The error of statements that fail.
    pub(crate) async fn refused(&self, sql: &str) -> Diagnostic {
        match self.server.execute(sql).await {
            Ok(answers) => panic!("{sql} was carried out: {answers:?}"),
            Err(error) => error,
        }
    }

    /// Rows of the last statement as texts, after all views have caught up.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let answers = self.run(&format!("SET read_your_writes = on; {sql}")).await;
        match answers.into_iter().next_back() {
            Some(Answer::Rows { batches, .. }) => texts(&batches),
            other => panic!("{sql} gave {other:?}"),
        }
    }

    /// The same, sorted.
    pub(crate) async fn sorted(&self, sql: &str) -> Vec<Vec<String>> {
        let mut rows = self.rows(sql).await;
        rows.sort();
        rows
    }
}

/// Cells as texts, NULL as `NULL`.
pub(crate) fn texts(batches: &[RecordBatch]) -> Vec<Vec<String>> {
    let format = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &format).expect("a type that prints"))
            .collect();
        for row in 0..batch.num_rows() {
            rows.push(
                columns
                    .iter()
                    .zip(batch.columns())
                    .map(|(text, column)| match column.data_type() {
                        nested if nested.is_nested() && column.is_valid(row) => json(column, row),
                        _ => text.value(row).to_string(),
                    })
                    .collect(),
            );
        }
    }
    rows
}

/// A nested value as JSON.
fn json(column: &ArrayRef, row: usize) -> String {
    let field = Field::new("", column.data_type().clone(), true);
    let mut object = Vec::new();
    streams::JsonEncoder::new(&Schema::new(vec![field])).encode_row(
        std::slice::from_ref(column),
        row,
        &mut object,
    );
    let object = String::from_utf8(object).expect("JSON is a text");
    object["{\"\":".len()..object.len() - 1].to_owned()
}

/// Flights, airlines, and a table without a key.
pub(crate) const SCHEMA: &str = "
CREATE SOURCE flights (
  scheduled TIMESTAMP, carrier TEXT KEY, flight INTEGER, tailnum TEXT, origin TEXT, dest TEXT,
  dep_delay DOUBLE, arr_delay DOUBLE, distance BIGINT,
  WATERMARK FOR scheduled AS scheduled - INTERVAL '24 hours'
) WITH (topic = 'flights', partitions = 2) FORMAT PLAIN ENCODE JSON;
CREATE TABLE airlines (carrier TEXT PRIMARY KEY, name TEXT);
CREATE TABLE readings (sensor INTEGER, at TIMESTAMP, value DOUBLE)
";
