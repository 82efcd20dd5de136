//! `slt/*.slt`: sqllogictest over a server, views included. Queries wait until their views have caught up. Changes come
//! with their sign in front; give such a query a LIMIT.

use async_trait::async_trait;
use sql::Answer;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};

use crate::fixture::{Fixture, texts};

struct Database(Fixture);

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(String);

#[async_trait]
impl AsyncDB for Database {
    type Error = Failed;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failed> {
        let text = format!("SET read_your_writes = on; {sql}");
        let answers = self.0.server.execute(&text).await;
        let answers =
            answers.map_err(|error| Failed(format!("{} {}", error.code, error.message)))?;
        match answers.into_iter().next_back() {
            Some(Answer::Rows {
                columns, batches, ..
            }) => Ok(DBOutput::Rows {
                types: vec![DefaultColumnType::Any; columns.len()],
                rows: texts(&batches),
            }),
            Some(Answer::Changes {
                columns,
                mut changes,
            }) => {
                let mut rows = Vec::new();
                while let Some(batch) = changes.next().await {
                    let batch = batch
                        .map_err(|error| Failed(format!("{} {}", error.code, error.message)))?;
                    for change in batch {
                        let row = texts(&[change.batch.slice(change.row, 1)]).remove(0);
                        rows.push([vec![format!("{:+}", change.diff)], row].concat());
                    }
                }
                Ok(DBOutput::Rows {
                    types: vec![DefaultColumnType::Any; columns.len() + 1],
                    rows,
                })
            }
            _ => Ok(DBOutput::StatementComplete(0)),
        }
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "thalweg"
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logic_tests_pass() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder of logic tests")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    for file in files {
        let mut runner = Runner::new(|| async { Ok(Database(Fixture::new().await)) });
        if let Err(error) = runner.run_file_async(&file).await {
            panic!("{}: {error}", file.display());
        }
    }
}
