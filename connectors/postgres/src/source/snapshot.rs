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
use super::pieces;
use super::progress::Position;
use super::reader::{self, Job, PATIENT, Reader, Rendered, Renderer, Told, What};
use super::select::{sample, select};
use super::signal::Request;
use super::table::{Shapes, Table};
use super::unhealthy::failed;
use super::view::{KeyPart, Range, Scan, View};
use super::wire::{Connection, Purpose, WireError, literal, quoted, text};

const READING: &str = "reading the tables";
/// SQLSTATE of a snapshot that nobody exports.
const NO_SUCH_SNAPSHOT: &str = "22023";
/// Tables whose progress is told; of more the last ones.
const PARTS_MAX: usize = 100;
/// About so many keys are looked at to share a table among readers.
const SAMPLE_ROWS: f64 = 10_000.0;
/// Bytes of a row, to guess how many a table has that the server never counted.
const ROW_BYTES: u64 = 100;

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

    /// Gives readers that have nothing to do pieces of the next tables.
    async fn assign(&mut self) -> Result<(), ConnectError> {
        while !(self.jobs.is_empty() && self.tables.is_empty()) {
            let Some(idle) = self.idle_reader().await? else {
                return Ok(());
            };
            if self.jobs.is_empty() {
                self.open_next().await?;
            }
            if let Some(job) = self.jobs.pop_front() {
                self.readers[idle].give(job);
            }
        }
        Ok(())
    }

    /// The place of a reader that has nothing to do; a new one while there may be more.
    async fn idle_reader(&mut self) -> Result<Option<usize>, ConnectError> {
        let idle = self.readers.iter().position(|reader| reader.scan.is_none());
        if idle.is_some() || self.readers.len() >= self.readers_max {
            return Ok(idle);
        }
        match self.another_connection().await {
            Ok(connection) => {
                let number = self.readers.len();
                let (renderer, tell) = (Arc::clone(&self.renderer), self.tell.clone());
                let marker = self.marker_between();
                let (reader, run) = Reader::new(number, connection, renderer, marker, tell);
                self.running.spawn(run);
                self.readers.push(reader);
                Ok(Some(number))
            }
            Err(error) if self.readers.is_empty() => Err(not_taken(READING, error)),
            // As fast as it can be.
            Err(error) => {
                self.readers_max = self.readers.len();
                let readers = self.readers_max;
                tracing::warn!(%error, readers, "no more connections read the tables");
                Ok(None)
            }
        }
    }

    async fn another_connection(&self) -> Result<Connection, WireError> {
        let address = &self.shared.config.address;
        let mut connection = Connection::open(address, Purpose::Sql).await?;
        reader::take_snapshot(&mut connection, &self.exported).await?;
        Ok(connection)
    }

    /// Makes pieces of the next table.
    async fn open_next(&mut self) -> Result<(), ConnectError> {
        let Some(entry) = self.tables.front().cloned() else {
            return Ok(());
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
        let (view, high) = match is_asked {
            true => (None, Lsn(0)),
            false => (self.view.clone(), self.high),
        };
        let blank = pieces::blank((&table.schema, &table.name), view, high, is_asked);
        let is_known = |scan: &Scan| scan.is_of(&table.schema, &table.name, is_asked);
        let goes_on = self.scans.iter().any(is_known);
        let ranges = match goes_on || is_asked {
            true => vec![Range::default()],
            false => self.ranges(&entry, &table, &names).await.map_err(fail)?,
        };
        // Nothing is waited for from here on: what is taken up is taken up whole.
        let places = if goes_on {
            let ordered = !table.primary().is_empty();
            pieces::go_on(&mut self.scans, &blank, ordered)
        } else {
            let first = self.scans.len();
            let scan = |range| Scan {
                range,
                ..blank.clone()
            };
            self.scans.extend(ranges.into_iter().map(scan));
            (first..self.scans.len()).collect()
        };
        self.tables.pop_front();
        let table = Arc::new(table);
        let published = match is_asked {
            true => filters.split_last().map_or(&[][..], |(_, others)| others),
            false => &filters,
        };
        for place in &places {
            let range = &self.scans[*place].range;
            let config = &self.shared.config;
            let sql = |filters| select(config, &entry, &table, &names, range, filters);
            self.jobs.push_back(Job {
                scan: *place,
                table: Arc::clone(&table),
                without_condition: is_asked.then(|| format!("{} LIMIT 0", sql(published))),
                sql: sql(&filters),
            });
        }
        let name = table.full_name();
        tracing::info!(table = name, pieces = places.len(), "reading a table");
        if self.parts.len() == PARTS_MAX {
            self.parts.pop_front();
        }
        self.parts.push_back(Part {
            name,
            rows: 0,
            // Nobody knows how many rows are behind a key, or meet a condition.
            rows_expected: entry.rows.filter(|_| !goes_on && filters.is_empty()),
            began: Instant::now(),
            took: None,
        });
        self.open.push(Open {
            table,
            left: places,
            has_begun: false,
            held: None,
        });
        Ok(())
    }

    /// The ranges in which a table is read.
    async fn ranges(
        &mut self,
        entry: &TableEntry,
        table: &Table,
        names: &[String],
    ) -> Result<Vec<Range>, WireError> {
        let whole = vec![Range::default()];
        let config = &self.shared.config;
        let name = table.full_name();
        let has_select = config.selects.iter().any(|(of, _)| *of == name);
        if config.snapshot_threads == 1 || has_select || entry.is_root || table.primary().is_empty()
        {
            return Ok(whole);
        }
        let rows = match entry.rows {
            Some(rows) => rows,
            None => {
                let sql = format!("SELECT pg_relation_size({})", entry.oid);
                let size = self.connection.query(&sql).await?;
                let bytes = size
                    .first()
                    .and_then(|row| text(row, 0).parse::<u64>().ok());
                bytes.unwrap_or(0) / ROW_BYTES
            }
        };
        let mut key = table.primary().iter();
        let by_index = key.all(|(_, type_oid)| KeyPart::is_indexed(*type_oid));
        let wanted = pieces::pieces(rows, config.snapshot_threads, by_index);
        if wanted < 2 {
            return Ok(whole);
        }
        #[expect(clippy::cast_precision_loss, reason = "it is about as many")]
        let percent = (100.0 * SAMPLE_ROWS / rows as f64).min(100.0);
        let sql = sample(entry, table, names, percent);
        let keys = self.connection.query(&sql).await?;
        let keys = keys.iter();
        let keys: Vec<Vec<String>> = keys
            .map(|row| (0..row.len()).map(|column| text(row, column)).collect())
            .collect();
        Ok(pieces::split(&keys, wanted))
    }

    /// Takes in what a reader says.
    fn hear(&mut self, told: Told) -> Result<(), ConnectError> {
        let (scan, is_of) = (told.scan, |open: &Open| open.left.contains(&told.scan));
        let Some(place) = self.open.iter().position(is_of) else {
            return Ok(());
        };
        match told.what {
            What::Failed(error) => return Err(self.refused(error, place)),
            What::First(row) => {
                let row = self.came(place, scan, row);
                self.release(row, Last::No);
            }
            What::Rows(rows) => {
                self.counted(place, rows.len());
                for row in rows {
                    self.send(row, scan);
                }
            }
            What::End(last) => {
                if let Some(reader) = self.readers.get_mut(told.reader) {
                    reader.scan = None;
                }
                self.end_piece(place, scan, last);
            }
        }
        Ok(())
    }

    /// A row that is not sent on yet.
    fn came(&mut self, place: usize, scan: usize, row: Tuple) -> Held {
        let is_first = self.rows == 0 && scan == 0;
        self.counted(place, 1);
        let open = &mut self.open[place];
        Held {
            table: Arc::clone(&open.table),
            scan,
            ends: false,
            row,
            is_first,
            is_first_of_table: !std::mem::replace(&mut open.has_begun, true),
        }
    }

    /// Rows of a table came: the one that was held back is not the last one.
    fn counted(&mut self, place: usize, rows: usize) {
        let rows = u64::try_from(rows).unwrap_or(u64::MAX);
        self.rows += rows;
        let name = self.open[place].table.full_name();
        if let Some(part) = self.parts.iter_mut().rfind(|part| part.name == name) {
            part.rows += rows;
        }
        if let Some(held) = self.held.take() {
            self.release(held, Last::OfTable);
        }
    }

    fn end_piece(&mut self, place: usize, scan: usize, last: Option<Tuple>) {
        match last {
            Some(row) => {
                let row = Held {
                    ends: true,
                    ..self.came(place, scan, row)
                };
                if let Some(before) = self.open[place].held.replace(row) {
                    self.release(before, Last::No);
                }
            }
            None => self.end_scan(scan),
        }
        let open = &mut self.open[place];
        open.left.retain(|left| *left != scan);
        if !open.left.is_empty() {
            return;
        }
        let open = self.open.remove(place);
        self.tables_done += 1;
        let name = open.table.full_name();
        if let Some(part) = self.parts.iter_mut().rfind(|part| part.name == name) {
            part.took = Some(part.began.elapsed());
        }
        if let Some(row) = open.held
            && let Some(before) = self.held.replace(row)
        {
            self.release(before, Last::OfTable);
        }
    }

    fn refused(&self, error: WireError, place: usize) -> ConnectError {
        let table = &self.open[place].table;
        match &error {
            WireError::Server(server) if server.code == "42501" => {
                let server = &self.shared.server;
                server.no_select(&table.schema, &table.name)
            }
            // Dropped or renamed behind the snapshot: the next one no longer has it.
            WireError::Server(server)
                if matches!(server.code.as_str(), "42P01" | "42703" | "3F000") =>
            {
                ConnectError::Transient(format!("{READING}: {server}"))
            }
            _ => failed(READING, error),
        }
    }

    fn finish(&mut self) {
        if let Some(held) = self.held.take() {
            self.release(held, Last::OfAll);
        }
        self.complete = true;
        tracing::info!(rows = self.rows, "the tables are read");
    }

    /// What rows are called that are neither the first nor the last ones.
    fn marker_between(&self) -> &'static str {
        match &self.request {
            Some(request) if request.incremental => "incremental",
            _ => "true",
        }
    }

    /// Sends a row on its way that was held back.
    fn release(&mut self, held: Held, last: Last) {
        let between = self.marker_between();
        let marker = match last {
            _ if between != "true" => between,
            Last::OfAll => "last",
            _ if held.is_first => "first",
            Last::OfTable => "last_in_data_collection",
            Last::No if held.is_first_of_table => "first_in_data_collection",
            Last::No => between,
        };
        let rendered = self.renderer.row(&held.table, held.row, marker);
        self.send(rendered, held.scan);
        if held.ends {
            self.end_scan(held.scan);
        }
    }

    fn send(&mut self, row: Rendered, scan: usize) {
        self.queued_bytes += row.bytes;
        self.queue.push_back(Entry {
            record: row.record,
            rejected: row.rejected,
            bytes: row.bytes,
            scan,
            mark: Mark::Row(row.upto),
        });
    }

    /// Behind what is on its way, a scan is done.
    fn end_scan(&mut self, scan: usize) {
        self.queue.push_back(Entry {
            record: None,
            rejected: None,
            bytes: 0,
            scan,
            mark: Mark::End,
        });
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
