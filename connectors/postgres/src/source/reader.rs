//! One of the connections that read a snapshot's tables: piece after piece, rendered, some rows at a time.
//!
//! ```text
//!  jobs ─▶ SELECT … WHERE key > … AND key <= … ORDER BY key ─▶ first row │ rows, rendered … │ last row ─▶ told
//! ```
//!
//! The first and the last row of a piece are told as they are: what they are among all rows only the snapshot knows.
//!
//! Invariant: a reader holds a row and what is told at a time; where nobody takes that, it does not read on.

use std::sync::Arc;

use connect_api::{Record, Rejected};
use tokio::sync::mpsc;

use super::Shared;
use super::envelope::{Change, Origin};
use super::lsn::Lsn;
use super::pgoutput::{Cell, Tuple};
use super::table::Table;
use super::wire::{Connection, Row, WireError, literal};

/// No timeout of the database's own may cut a long reading.
pub(super) const PATIENT: &str =
    "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;";
/// Rows that are told at a time.
const TOLD_ROWS: usize = 256;
/// Their bytes: from here on they are told.
const TOLD_BYTES: usize = 256 << 10;

/// A piece of a table.
pub(super) struct Job {
    /// The place of its scan.
    pub(super) scan: usize,
    pub(super) table: Arc<Table>,
    pub(super) sql: String,
    /// Where a signal gave a condition: the same query without it, for no rows.
    pub(super) without_condition: Option<String>,
}

/// What a reader says.
pub(super) struct Told {
    /// Which one.
    pub(super) reader: usize,
    /// Of which piece.
    pub(super) scan: usize,
    pub(super) what: What,
}

pub(super) enum What {
    /// The first row of a piece that has more.
    First(Tuple),
    /// Rows behind it.
    Rows(Vec<Rendered>),
    /// The piece is read; its last row, if it has any.
    End(Option<Tuple>),
    /// It cannot be read.
    Failed(WireError),
}

/// A row on its way.
pub(super) struct Rendered {
    /// `None` where it cannot be rendered.
    pub(super) record: Option<Record>,
    /// Then what is said of it.
    pub(super) rejected: Option<Rejected>,
    pub(super) bytes: usize,
    /// Its key as text.
    pub(super) upto: Option<Vec<String>>,
}

/// Makes records of a snapshot's rows.
pub(super) struct Renderer {
    pub(super) shared: Arc<Shared>,
    /// When the snapshot was taken, in microseconds since 1970.
    pub(super) at_us: i64,
    /// Where the stream starts.
    pub(super) start: Lsn,
    /// The first transaction that the snapshot does not see.
    pub(super) xid: Option<u32>,
}

impl Renderer {
    /// A row with the marker that tells its place among the others.
    pub(super) fn row(&self, table: &Table, row: Tuple, marker: &'static str) -> Rendered {
        let origin = Origin {
            at_us: self.at_us,
            snapshot: marker,
            last_commit: None,
            lsn: self.start,
            xid: self.xid,
            replicated: None,
        };
        let upto = table.primary_text(&row);
        let change = Change::Read(row);
        let bytes = change.bytes();
        let envelopes = &self.shared.envelopes;
        let (record, rejected) =
            match envelopes.change(table, &change, &origin, None, super::now_ns()) {
                Ok(records) => (records.into_iter().next(), None),
                Err(bad) => {
                    let rejected = Rejected {
                        topic: Arc::clone(&table.topic),
                        raw: table.raw(change.row()),
                        message: bad.to_string(),
                    };
                    (None, Some(rejected))
                }
            };
        Rendered {
            record,
            rejected,
            bytes,
            upto,
        }
    }
}

/// A reader that runs.
pub(super) struct Reader {
    jobs: mpsc::Sender<Job>,
    /// The scan that it reads.
    pub(super) scan: Option<usize>,
}

impl Reader {
    /// A reader, and what it does until it is dropped: `told` hears of it under its number.
    pub(super) fn new(
        number: usize,
        connection: Connection,
        renderer: Arc<Renderer>,
        marker: &'static str,
        told: mpsc::Sender<Told>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (jobs, taken) = mpsc::channel(1);
        let run = run(Run {
            number,
            connection,
            renderer,
            marker,
            jobs: taken,
            told,
        });
        (Self { jobs, scan: None }, run)
    }

    /// Gives a reader without work a piece. One that has failed has said so.
    pub(super) fn give(&mut self, job: Job) {
        self.scan = Some(job.scan);
        let _ = self.jobs.try_send(job);
    }
}

/// Takes the snapshot on a connection that has nothing to do with others.
pub(super) async fn take_snapshot(
    connection: &mut Connection,
    exported: &str,
) -> Result<(), WireError> {
    let import = format!(
        "{PATIENT} BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {};",
        literal(exported)
    );
    connection.query(&import).await.map(drop)
}

struct Run {
    number: usize,
    connection: Connection,
    renderer: Arc<Renderer>,
    marker: &'static str,
    jobs: mpsc::Receiver<Job>,
    told: mpsc::Sender<Told>,
}

async fn run(mut run: Run) {
    while let Some(job) = run.jobs.recv().await {
        let what = match run.read(&job).await {
            Ok(Some(last)) => What::End(last),
            Ok(None) => return,
            Err(error) => What::Failed(error),
        };
        let failed = matches!(what, What::Failed(_));
        if !run.tell(&job, what).await || failed {
            return;
        }
    }
}

impl Run {
    /// Reads a piece, and returns its last row; `None` where nobody hears it any more.
    async fn read(&mut self, job: &Job) -> Result<Option<Option<Tuple>>, WireError> {
        if job.without_condition.is_some() {
            // Its condition may fail: the transaction with the snapshot outlives that.
            self.connection.query("SAVEPOINT condition").await?;
        }
        self.connection.ready().await?;
        self.connection.enqueue(&job.sql)?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        let (mut last, mut is_first) = (None, true);
        loop {
            let row = match self.connection.row().await {
                Ok(Some(row)) => row,
                Ok(None) => break,
                Err(error) if self.passes_over(job, &error).await => break,
                Err(error) => return Err(error),
            };
            let Some(before) = last.replace(tuple(row)) else {
                continue;
            };
            let what = if std::mem::take(&mut is_first) {
                What::First(before)
            } else {
                let rendered = self.renderer.row(&job.table, before, self.marker);
                bytes += rendered.bytes;
                rows.push(rendered);
                if rows.len() < TOLD_ROWS && bytes < TOLD_BYTES {
                    continue;
                }
                bytes = 0;
                What::Rows(std::mem::take(&mut rows))
            };
            if !self.tell(job, what).await {
                return Ok(None);
            }
        }
        if !rows.is_empty() && !self.tell(job, What::Rows(rows)).await {
            return Ok(None);
        }
        Ok(Some(last))
    }

    async fn tell(&self, job: &Job, what: What) -> bool {
        let told = Told {
            reader: self.number,
            scan: job.scan,
            what,
        };
        self.told.send(told).await.is_ok()
    }

    /// Whether a reading failed for the condition that a signal gave, and not for its table: the rest of it is passed
    /// over then, as every other signal that is wrong.
    async fn passes_over(&mut self, job: &Job, error: &WireError) -> bool {
        let (WireError::Server(server), Some(plain)) = (error, &job.without_condition) else {
            return false;
        };
        if !may_be_of_condition(&server.code) {
            return false;
        }
        let probe = format!("ROLLBACK TO SAVEPOINT condition; {plain}");
        if self.connection.query(&probe).await.is_err() {
            return false;
        }
        tracing::warn!(
            table = job.table.full_name(),
            error = %server,
            "a signal's condition cannot be applied: the table is passed over"
        );
        true
    }
}

fn tuple(row: Row) -> Tuple {
    let cell = |value: Option<bytes::Bytes>| value.map_or(Cell::Null, Cell::Text);
    row.into_iter().map(cell).collect()
}

/// Whether a server's refusal may be about a condition: the others are about the server, the user and the line.
fn may_be_of_condition(code: &str) -> bool {
    let class = code.get(..2).unwrap_or_default();
    !matches!(
        class,
        "08" | "28" | "40" | "53" | "55" | "57" | "58" | "F0" | "XX"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_that_may_be_about_a_condition() {
        // A syntax error, an unknown column, a division by zero, a function that is not allowed, one that writes.
        for code in ["42601", "42703", "22012", "42501", "25006"] {
            assert!(may_be_of_condition(code), "{code}");
        }
        // The server stops, is out of memory, a conflict with recovery, a damaged page.
        for code in ["57P01", "53200", "40001", "XX001"] {
            assert!(!may_be_of_condition(code), "{code}");
        }
    }
}
