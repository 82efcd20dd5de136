//! The snapshot: all captured tables as of one moment, row by row, resumable behind every row whose key has an order.
//!
//! ```text
//!  REPEATABLE READ on the slot's exported snapshot (or on one of its own), exported again
//!    table ─▶ pieces (ranges of its key) ─▶ readers, a connection each ─▶ rows ─▶ the last one is held back ─▶ queue ─▶ batches
//! ```
//!
//! The last row of a table is held back until another one shows that it is not the last one of all.
//!
//! Invariants:
//! 1. The scans of an offset tell exactly which rows went out with it and before.
//! 2. Rows come as the server sends them: memory holds a batch and what each reader tells at a time.
//! 3. Tables without a primary key, or with a replica identity that does not tell it, are read anew after a crash, whole;
//!    the stream then replays everything since the first reading, so that the table's last state is right.

mod rows;
mod tables;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connect_api::{ConnectError, PartProgress, PollBudget, Progress, Record, Rejected};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Shared;
use super::catalog::{self, Published, TableEntry};
use super::incremental::Incremental;
use super::kind::Types;
use super::lsn::Lsn;
use super::offset::{self, Offset};
use super::pgoutput::Tuple;
use super::progress::Position;
use super::reader::{Job, PATIENT, Reader, Renderer, Told};
use super::signal::Request;
use super::table::Table;
use super::unhealthy::failed;
use super::view::{Scan, View};
use super::wire::{Connection, Purpose, WireError, literal, text};

const READING: &str = "reading the tables";
/// SQLSTATE of a snapshot that nobody exports.
const NO_SUCH_SNAPSHOT: &str = "22023";

/// A running snapshot.
pub(super) struct Snapshot {
    shared: Arc<Shared>,
    /// Holds the snapshot, and looks up tables.
    connection: Connection,
    /// Under this name readers take it, too.
    exported: String,
    types: Types,
    /// Tables that are still to be read.
    tables: VecDeque<TableEntry>,
    /// What the publication sends of them; a table that it lacks is read whole.
    published: Vec<Published>,
    /// Pieces that wait for a reader.
    jobs: VecDeque<Job>,
    readers: Vec<Reader>,
    /// No more than these.
    readers_max: usize,
    running: JoinSet<()>,
    tell: mpsc::Sender<Told>,
    told: mpsc::Receiver<Told>,
    renderer: Arc<Renderer>,
    /// Tables of which pieces are read, or wait.
    open: Vec<Open>,
    held: Option<Held>,
    queue: VecDeque<Entry>,
    queued_bytes: usize,
    /// What went out.
    scans: Vec<Scan>,
    /// Where the stream starts.
    start: Lsn,
    request: Option<Request>,
    /// What goes on beside the stream afterwards.
    incremental: Option<Incremental>,
    view: Option<String>,
    high: Lsn,
    rows: u64,
    complete: bool,
    /// The tables that were read or are being read, the last ones.
    parts: VecDeque<Part>,
    tables_done: i64,
}

/// How far the reading of a table is.
struct Part {
    name: String,
    rows: u64,
    rows_expected: Option<u64>,
    began: Instant,
    took: Option<Duration>,
}

/// A table that is being read.
struct Open {
    table: Arc<Table>,
    /// Scans of its pieces that are not read to their end.
    left: Vec<usize>,
    /// Whether a row of it came.
    has_begun: bool,
    /// The last row of the pieces that are read: it may be the table's.
    held: Option<Held>,
}

/// The row that waits for the next one.
struct Held {
    table: Arc<Table>,
    /// Its scan ends behind it, or not.
    scan: usize,
    ends: bool,
    row: Tuple,
    is_first: bool,
    is_first_of_table: bool,
}

struct Entry {
    record: Option<Record>,
    /// A row that cannot be rendered: it begins a batch.
    rejected: Option<Rejected>,
    bytes: usize,
    scan: usize,
    mark: Mark,
}

/// What goes out together.
pub(super) struct Taken {
    /// The rows.
    pub(super) records: Vec<Record>,
    /// A row in front of them that cannot be rendered.
    pub(super) rejected: Vec<Rejected>,
    /// Where the snapshot is behind them.
    pub(super) offset: Offset,
}

enum Mark {
    Row(Option<Vec<String>>),
    End,
}

/// How a snapshot starts.
pub(super) struct Beginning {
    /// The snapshot that the slot exported; `None` = one of its own.
    pub(super) exported: Option<String>,
    /// Where the stream starts.
    pub(super) start: Lsn,
    /// What an earlier run had read.
    pub(super) scans: Vec<Scan>,
    /// What a signal asked for; `None` = all captured tables.
    pub(super) request: Option<Request>,
    /// What goes on beside the stream afterwards.
    pub(super) incremental: Option<Incremental>,
    /// Partitioned tables are read through their roots.
    pub(super) via_root: bool,
    /// What the publication sends: the snapshot has the same columns and rows.
    pub(super) published: Vec<Published>,
}

impl Snapshot {
    /// Takes the snapshot; the connection that exported it is needed until then.
    pub(super) async fn begin(
        shared: Arc<Shared>,
        beginning: Beginning,
    ) -> Result<Self, ConnectError> {
        let fail = |error| not_taken("taking the snapshot", error);
        let mut connection = Connection::open(&shared.config.address, Purpose::Sql)
            .await
            .map_err(fail)?;
        let import = match &beginning.exported {
            Some(name) => format!("SET TRANSACTION SNAPSHOT {};", literal(name)),
            None => String::new(),
        };
        connection
            .query(&format!(
                "{PATIENT} BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {import}"
            ))
            .await
            .map_err(fail)?;
        let rows = connection
            .query(
                "SELECT txid_current_snapshot(), pg_current_wal_insert_lsn(), \
                 (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, pg_export_snapshot()",
            )
            .await
            .map_err(fail)?;
        let row = rows.first().cloned().unwrap_or_default();
        let view = text(&row, 0);
        view.parse::<View>().map_err(ConnectError::Fatal)?;
        let high = text(&row, 1).parse().map_err(ConnectError::Fatal)?;
        // The first transaction that the snapshot does not see.
        let xid = view
            .split(':')
            .nth(1)
            .and_then(|xmax| xmax.parse::<u64>().ok())
            .and_then(|xmax| u32::try_from(xmax & 0xFFFF_FFFF).ok());
        let exported = beginning.exported.is_some();
        // As of the snapshot: a table that was made before and has no changes behind it is read too.
        let tables = catalog::tables(&mut connection, beginning.via_root)
            .await
            .map_err(fail)?;
        let config = &shared.config;
        let tables = tables
            .into_iter()
            .filter(|table| config.capture.table(&table.schema, &table.name))
            .filter(|table| match &beginning.request {
                Some(request) => request.names(&table.schema, &table.name),
                None => {
                    let name = format!("{}.{}", table.schema, table.name);
                    config.capture.snapshot.takes(&name)
                }
            })
            .filter(|table| {
                let in_part = beginning
                    .request
                    .as_ref()
                    .is_some_and(|request| request.condition(&table.schema, &table.name).is_some());
                !is_done(&beginning.scans, table, in_part)
            })
            .collect();
        let renderer = Arc::new(Renderer {
            shared: Arc::clone(&shared),
            at_us: text(&row, 2).parse().unwrap_or(0),
            start: beginning.start,
            xid,
        });
        let readers_max = shared.config.snapshot_threads;
        let (tell, told) = mpsc::channel(readers_max);
        Ok(Self {
            shared,
            connection,
            exported: text(&row, 3),
            types: Types::new(),
            tables,
            published: beginning.published,
            jobs: VecDeque::new(),
            readers: Vec::new(),
            readers_max,
            running: JoinSet::new(),
            tell,
            told,
            renderer,
            open: Vec::new(),
            held: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            scans: beginning.scans,
            start: beginning.start,
            request: beginning.request,
            incremental: beginning.incremental,
            view: (!exported).then_some(view),
            high: if exported { Lsn(0) } else { high },
            rows: 0,
            complete: false,
            parts: VecDeque::new(),
            tables_done: 0,
        })
    }

    /// The next rows, with the offset behind them; `None` when nothing came within the budget's time. The last ones
    /// come with a completed snapshot.
    pub(super) async fn poll(&mut self, budget: PollBudget) -> Result<Option<Taken>, ConnectError> {
        let deadline = Instant::now() + budget.wait_max;
        let budget = PollBudget {
            records_max: budget.records_max.min(self.shared.config.batch_size),
            ..budget
        };
        while !self.complete && !self.holds(budget) {
            self.assign().await?;
            if self.open.is_empty() {
                self.finish();
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.told.recv()).await {
                Ok(Some(told)) => self.hear(told)?,
                Ok(None) | Err(_) if self.running.try_join_next().is_some() => {
                    let message = format!("{READING}: a reader ended before its table did");
                    return Err(ConnectError::Transient(message));
                }
                Ok(None) | Err(_) => break,
            }
        }
        let (records, rejected) = self.take(budget);
        let nothing = records.is_empty() && rejected.is_empty();
        if nothing && !(self.complete && self.queue.is_empty()) {
            return Ok(None);
        }
        let offset = self.offset();
        Ok(Some(Taken {
            records,
            rejected,
            offset,
        }))
    }

    /// Where the snapshot is behind everything that went out.
    pub(super) fn offset(&self) -> Offset {
        let done = self.complete && self.queue.is_empty();
        let matters = !done || self.scans.iter().any(|scan| scan.view.is_some());
        Offset {
            position: Position {
                end: self.start,
                inside: None,
            },
            snapshot: if done {
                offset::Snapshot::Completed
            } else {
                offset::Snapshot::Running
            },
            scans: if matters {
                self.scans.clone()
            } else {
                Vec::new()
            },
            request: self.request.clone().filter(|_| !done),
            incremental: self.incremental.clone(),
            origin: Some(self.shared.origin.clone()),
            commit_us: self.renderer.at_us,
        }
    }

    /// How far it is.
    pub(super) fn progress(&self) -> Progress {
        let part = |part: &Part| PartProgress {
            name: part.name.clone(),
            rows: part.rows,
            rows_expected: part.rows_expected,
            reading: Some(part.took.unwrap_or_else(|| part.began.elapsed())),
            done: part.took.is_some(),
        };
        let left = self.tables.len() + self.open.len();
        Progress {
            phase: Some("snapshot"),
            figures: vec![
                (
                    "snapshot_rows",
                    i64::try_from(self.rows).unwrap_or(i64::MAX),
                ),
                ("snapshot_tables_done", self.tables_done),
                (
                    "snapshot_tables_left",
                    i64::try_from(left).unwrap_or(i64::MAX),
                ),
            ],
            parts: self.parts.iter().map(part).collect(),
            notes: Vec::new(),
        }
    }
}

/// A snapshot that cannot be taken over from the connection that has it: once that is gone, so is the snapshot, and another one
/// is taken.
fn not_taken(what: &str, error: WireError) -> ConnectError {
    match &error {
        WireError::Server(server) if server.code == NO_SUCH_SNAPSHOT => {
            ConnectError::Transient(format!("{what}: {server}"))
        }
        _ => failed(what, error),
    }
}

/// Whether a table was read to its end by an earlier snapshot.
fn is_done(scans: &[Scan], table: &TableEntry, in_part: bool) -> bool {
    let mut of_table = scans
        .iter()
        .filter(|scan| scan.is_of(&table.schema, &table.name, in_part))
        .peekable();
    of_table.peek().is_some() && of_table.all(|scan| scan.done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::wire::ServerError;

    #[test]
    fn a_snapshot_that_went_with_its_connection_is_taken_again() {
        let refused = |code: &str| {
            let error = ServerError {
                code: code.to_owned(),
                message: "invalid snapshot identifier".to_owned(),
                ..ServerError::default()
            };
            not_taken("x", WireError::Server(error)).retryable()
        };
        assert!(refused(NO_SUCH_SNAPSHOT) && !refused("42601"));
    }
}
