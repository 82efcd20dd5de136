//! The snapshot: all captured tables as of one moment, row by row, resumable behind every row whose key has an order.
//!
//! ```text
//!  REPEATABLE READ on the slot's exported snapshot (or on one of its own)
//!    table ─▶ SELECT … [WHERE key > last] ORDER BY key ─▶ rows ─▶ one is held back ─▶ queue ─▶ batches
//! ```
//!
//! A row is held back until the next one shows whether it was the last one of its table, or of all.
//!
//! Invariants:
//! 1. The scans of an offset tell exactly which rows went out with it and before.
//! 2. Rows come as the server sends them: memory holds a batch and the row that is held back.
//! 3. Tables without a primary key, or with a replica identity that does not tell it, are read anew after a crash, whole;
//!    the stream then replays everything since the first reading, so that the table's last state is right.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connect_api::{ConnectError, PartProgress, PollBudget, Progress, Record, Rejected};

use super::Shared;
use super::catalog::{self, Published, TableEntry};
use super::envelope::{Change, Origin};
use super::incremental::Incremental;
use super::kind::Types;
use super::lsn::Lsn;
use super::offset::{self, Offset};
use super::pgoutput::{Cell, Tuple};
use super::progress::Position;
use super::select::select;
use super::signal::Request;
use super::table::{Shapes, Table};
use super::unhealthy::failed;
use super::view::{Scan, View};
use super::wire::{Connection, Purpose, Row, WireError, literal, quoted, text};

/// No timeout of the database's own may cut a long reading.
const PATIENT: &str = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;";
const READING: &str = "reading the tables";
/// Tables whose progress is told; of more the last ones.
const PARTS_MAX: usize = 100;

/// A running snapshot.
pub(super) struct Snapshot {
    shared: Arc<Shared>,
    connection: Connection,
    types: Types,
    /// Tables that are still to be read.
    tables: VecDeque<TableEntry>,
    /// What the publication sends of them; a table that it lacks is read whole.
    published: Vec<Published>,
    reading: Option<Reading>,
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
    at_us: i64,
    xid: Option<u32>,
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

struct Reading {
    table: Arc<Table>,
    scan: usize,
    is_first: bool,
    /// Where a signal gave a condition: the same query without it, for no rows.
    without_condition: Option<String>,
}

/// The row that waits for the next one.
struct Held {
    table: Arc<Table>,
    scan: usize,
    row: Tuple,
    is_first: bool,
    is_first_of_table: bool,
    /// Scans that ended behind it.
    ended: Vec<usize>,
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
        let fail = |error| failed("taking the snapshot", error);
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
                 (extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
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
        Ok(Self {
            shared,
            connection,
            types: Types::new(),
            tables,
            published: beginning.published,
            reading: None,
            held: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            scans: beginning.scans,
            start: beginning.start,
            request: beginning.request,
            incremental: beginning.incremental,
            view: (!exported).then_some(view),
            high: if exported { Lsn(0) } else { high },
            at_us: text(&row, 2).parse().unwrap_or(0),
            xid,
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
            if self.reading.is_none() && !self.open_next().await? {
                self.finish();
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next_row(left).await? {
                Some(Some(row)) => self.row(row),
                Some(None) => self.end_table(),
                None => break,
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
            commit_us: self.at_us,
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
        let left = self.tables.len() + usize::from(self.reading.is_some());
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
        }
    }

    /// Gets the next table's query on its way; false when there is none.
    async fn open_next(&mut self) -> Result<bool, ConnectError> {
        let Some(entry) = self.tables.front() else {
            return Ok(false);
        };
        let fail = |error| failed(READING, error);
        let mut columns = catalog::columns(&mut self.connection, entry.oid)
            .await
            .map_err(fail)?;
        let published = self
            .published
            .iter()
            .find(|published| published.table.0 == entry.schema && published.table.1 == entry.name);
        if let Some(names) = published.and_then(|published| published.columns.as_ref()) {
            columns.retain(|column| names.contains(&column.column.name));
        }
        let published_rows = published.and_then(|published| published.filter.clone());
        let asked_rows = self
            .request
            .as_ref()
            .and_then(|request| request.condition(&entry.schema, &entry.name))
            .map(|condition| format!("({condition})"));
        let is_asked = asked_rows.is_some();
        let filters: Vec<String> = published_rows
            .map(|condition| format!("({condition})"))
            .into_iter()
            .chain(asked_rows)
            .collect();
        catalog::learn_types(&mut self.connection, &columns, &mut self.types)
            .await
            .map_err(fail)?;
        self.connection.ready().await.map_err(fail)?;
        let shared = Arc::clone(&self.shared);
        let shapes = Shapes {
            prefix: &shared.config.prefix,
            capture: &shared.config.capture,
            rendering: shared.envelopes.rendering(),
            types: &self.types,
            source: shared.envelopes.source_schema(),
        };
        let table = Table::new(
            &shapes,
            &entry.schema,
            &entry.name,
            entry.identity,
            &columns,
        );
        let names: Vec<String> = columns
            .iter()
            .map(|column| quoted(&column.column.name))
            .collect();
        let (scan, behind) = self.scan_of(&table, is_asked);
        let Some(entry) = self.tables.pop_front() else {
            return Ok(false);
        };
        let mut without_condition = None;
        if is_asked {
            let published = filters.split_last().map_or(&[][..], |(_, others)| others);
            let behind = behind.as_deref();
            let plain = select(&shared.config, &entry, &table, &names, behind, published);
            without_condition = Some(format!("{plain} LIMIT 0"));
            // Its condition may fail: the transaction with the snapshot outlives that.
            self.connection
                .query("SAVEPOINT condition")
                .await
                .map_err(fail)?;
        }
        let behind_key = behind.as_deref();
        let sql = select(&shared.config, &entry, &table, &names, behind_key, &filters);
        self.connection.enqueue(&sql).map_err(fail)?;
        let name = format!("{}.{}", table.schema, table.name);
        tracing::info!(table = name, "reading a table");
        if self.parts.len() == PARTS_MAX {
            self.parts.pop_front();
        }
        self.parts.push_back(Part {
            name,
            rows: 0,
            // Nobody knows how many rows are behind a key, or meet a condition.
            rows_expected: entry
                .rows
                .filter(|_| behind.is_none() && filters.is_empty()),
            began: Instant::now(),
            took: None,
        });
        self.reading = Some(Reading {
            table: Arc::new(table),
            scan,
            is_first: true,
            without_condition,
        });
        Ok(true)
    }

    /// The scan that the rows of a table belong to, and the key behind which it begins.
    fn scan_of(&mut self, table: &Table, in_part: bool) -> (usize, Option<Vec<String>>) {
        let ordered = !table.primary().is_empty();
        let mut behind = None;
        for (index, scan) in self.scans.iter().enumerate() {
            if scan.is_of(&table.schema, &table.name, in_part) {
                if !ordered {
                    // Read anew; its changes are judged by the first reading (invariant 3).
                    return (index, None);
                }
                behind = scan.upto.clone().or(behind);
            }
        }
        self.scans.push(Scan {
            schema: table.schema.clone(),
            table: table.name.clone(),
            view: self.view.clone().filter(|_| !in_part),
            high: if in_part { Lsn(0) } else { self.high },
            upto: None,
            done: false,
            in_part,
        });
        (self.scans.len() - 1, behind)
    }

    /// A row, the end of the table, or nothing in time.
    async fn next_row(&mut self, wait: Duration) -> Result<Option<Option<Row>>, ConnectError> {
        match tokio::time::timeout(wait, self.connection.row()).await {
            Err(_) => Ok(None),
            Ok(Ok(row)) => Ok(Some(row)),
            Ok(Err(error)) if self.passes_over(&error).await => Ok(Some(None)),
            Ok(Err(error)) => Err(self.refused(error)),
        }
    }

    /// Whether a reading failed for the condition that a signal gave, and not for its table: the rest of it is passed
    /// over then, as every other signal that is wrong.
    async fn passes_over(&mut self, error: &WireError) -> bool {
        let WireError::Server(server) = error else {
            return false;
        };
        let Some(reading) = &self.reading else {
            return false;
        };
        let Some(plain) = reading.without_condition.as_deref() else {
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
            table = format!("{}.{}", reading.table.schema, reading.table.name),
            error = %server,
            "a signal's condition cannot be applied: the table is passed over"
        );
        true
    }

    fn refused(&self, error: WireError) -> ConnectError {
        match (&error, &self.reading) {
            (WireError::Server(server), Some(reading)) if server.code == "42501" => self
                .shared
                .server
                .no_select(&reading.table.schema, &reading.table.name),
            // Dropped or renamed behind the snapshot: the next one no longer has it.
            (WireError::Server(server), Some(_))
                if matches!(server.code.as_str(), "42P01" | "42703" | "3F000") =>
            {
                ConnectError::Transient(format!("{READING}: {server}"))
            }
            _ => failed(READING, error),
        }
    }

    fn row(&mut self, row: Row) {
        let Some(reading) = &mut self.reading else {
            return;
        };
        let cell = |value: Option<bytes::Bytes>| value.map_or(Cell::Null, Cell::Text);
        let next = Held {
            table: Arc::clone(&reading.table),
            scan: reading.scan,
            row: row.into_iter().map(cell).collect(),
            is_first: self.rows == 0 && reading.scan == 0,
            is_first_of_table: reading.is_first,
            ended: Vec::new(),
        };
        reading.is_first = false;
        self.rows += 1;
        if let Some(part) = self.parts.back_mut() {
            part.rows += 1;
        }
        let same_table = self.held.as_ref().is_some_and(|held| held.ended.is_empty());
        let last = if same_table { Last::No } else { Last::OfTable };
        self.release(last);
        self.held = Some(next);
    }

    fn end_table(&mut self) {
        let Some(reading) = self.reading.take() else {
            return;
        };
        self.tables_done += 1;
        if let Some(part) = self.parts.back_mut() {
            part.took = Some(part.began.elapsed());
        }
        match &mut self.held {
            Some(held) => held.ended.push(reading.scan),
            None => self.queue.push_back(Entry {
                record: None,
                rejected: None,
                bytes: 0,
                scan: reading.scan,
                mark: Mark::End,
            }),
        }
    }

    fn finish(&mut self) {
        self.release(Last::OfAll);
        self.complete = true;
        tracing::info!(rows = self.rows, "the tables are read");
    }

    /// Sends the row that was held back on its way.
    fn release(&mut self, last: Last) {
        let Some(held) = self.held.take() else {
            return;
        };
        let incremental = self
            .request
            .as_ref()
            .is_some_and(|request| request.incremental);
        let marker = match last {
            _ if incremental => "incremental",
            Last::OfAll => "last",
            _ if held.is_first => "first",
            Last::OfTable => "last_in_data_collection",
            Last::No if held.is_first_of_table => "first_in_data_collection",
            Last::No => "true",
        };
        let origin = Origin {
            at_us: self.at_us,
            snapshot: marker,
            last_commit: None,
            lsn: self.start,
            xid: self.xid,
            replicated: None,
        };
        let upto = held.table.primary_text(&held.row);
        let change = Change::Read(held.row);
        let bytes = change.bytes();
        let rendered =
            self.shared
                .envelopes
                .change(&held.table, &change, &origin, None, super::now_ns());
        let (record, rejected) = match rendered {
            Ok(records) => (records.into_iter().next(), None),
            Err(bad) => {
                let rejected = Rejected {
                    topic: Arc::clone(&held.table.topic),
                    raw: held.table.raw(change.row()),
                    message: bad.to_string(),
                };
                (None, Some(rejected))
            }
        };
        self.queued_bytes += bytes;
        self.queue.push_back(Entry {
            record,
            rejected,
            bytes,
            scan: held.scan,
            mark: Mark::Row(upto),
        });
        for scan in held.ended {
            self.queue.push_back(Entry {
                record: None,
                rejected: None,
                bytes: 0,
                scan,
                mark: Mark::End,
            });
        }
    }

    fn holds(&self, budget: PollBudget) -> bool {
        self.queue.len() >= budget.records_max || self.queued_bytes >= budget.bytes_max
    }

    fn take(&mut self, budget: PollBudget) -> (Vec<Record>, Vec<Rejected>) {
        let mut records = Vec::new();
        let mut rejected = Vec::new();
        let mut bytes = 0;
        while records.len() < budget.records_max && bytes < budget.bytes_max {
            let begins = self
                .queue
                .front()
                .is_some_and(|entry| entry.rejected.is_some());
            if begins && !(records.is_empty() && rejected.is_empty()) {
                break;
            }
            let Some(entry) = self.queue.pop_front() else {
                break;
            };
            bytes += entry.bytes;
            self.queued_bytes -= entry.bytes;
            records.extend(entry.record);
            rejected.extend(entry.rejected);
            if let Some(scan) = self.scans.get_mut(entry.scan) {
                match entry.mark {
                    Mark::Row(upto) => scan.upto = upto,
                    Mark::End => scan.done = true,
                }
            }
        }
        (records, rejected)
    }
}

enum Last {
    No,
    OfTable,
    OfAll,
}

/// Whether a server's refusal may be about a condition: the others are about the server, the user and the line.
fn may_be_of_condition(code: &str) -> bool {
    let class = code.get(..2).unwrap_or_default();
    !matches!(
        class,
        "08" | "28" | "40" | "53" | "55" | "57" | "58" | "F0" | "XX"
    )
}

fn is_done(scans: &[Scan], table: &TableEntry, in_part: bool) -> bool {
    scans
        .iter()
        .any(|scan| scan.is_of(&table.schema, &table.name, in_part) && scan.done)
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
