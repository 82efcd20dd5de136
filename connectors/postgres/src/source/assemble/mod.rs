//! PURE: messages of the stream become records with the position behind them.
//!
//! ```text
//! message ─▶ progress: new? ─▶ scans: in the snapshot already? ─▶ filters ─▶ envelope ─▶ queue of units
//! ```
//!
//! A unit is what may not be torn apart: all records of one message, and the position behind it. The end of a
//! transaction has no records of its own: it moves the position of the unit in front.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use connect_api::{ConnectError, PollBudget, Record, Rejected};

use super::config::SourceConfig;
use super::envelope::{Change, Envelopes, Origin, Place, TransactionTopic};
use super::incremental::{Chunk, Delivered, Step};
use super::lsn::Lsn;
use super::pgoutput::{Cell, Message, Old, Tuple};
use super::progress::{Position, Progress, Verdict};
use super::signal::{self, Request, Signal};
use super::table::Table;
use super::view::{self, Scan};

/// Microseconds from 1970 to 2000, where PostgreSQL's clock begins.
const EPOCH_2000_US: i64 = 946_684_800_000_000;
/// What a record takes beside its values.
const RECORD_BYTES: usize = 512;
/// The prefix of the logical message that is written behind a chunk, so that the stream passes its end: it is told to
/// nobody.
pub(super) const CHUNK_MARK: &str = "thalweg.chunk";

/// Records that belong together.
pub(super) struct Unit {
    records: Vec<Record>,
    /// A row that cannot be rendered, in place of records: it begins a batch.
    rejected: Option<Rejected>,
    bytes: usize,
    behind: Mark,
    /// Tables that are to be read behind it.
    request: Option<Request>,
    /// What else signals asked for.
    signals: Vec<Signal>,
    /// How far a snapshot is that is read beside the stream.
    step: Option<Step>,
}

/// What goes out together.
pub(super) struct Taken {
    /// The records.
    pub(super) records: Vec<Record>,
    /// A row in front of them that cannot be rendered.
    pub(super) rejected: Vec<Rejected>,
    /// Where the stream is behind them.
    pub(super) behind: Mark,
    /// Tables that are to be read before the stream goes on.
    pub(super) request: Option<Request>,
    /// What else signals asked for.
    pub(super) signals: Vec<Signal>,
    /// How far a snapshot is that is read beside the stream, in order.
    pub(super) steps: Vec<Step>,
}

/// Where the stream is behind a unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// The position.
    pub(super) position: Position,
    /// When the transaction was committed, in microseconds since 1970.
    pub(super) commit_us: i64,
    /// Everything before is in the log: it may be acknowledged.
    pub(super) stored: Lsn,
}

/// What is known of the open transaction.
struct Open {
    xid: u32,
    commit_us: i64,
    commit: Lsn,
    replicated: Option<(String, Lsn)>,
    /// What its signals ask for: tables to be read while the stream waits, and the others.
    request: Option<Request>,
    signals: Vec<Signal>,
    /// Changes so far, and those of each table.
    changes: i64,
    tables: BTreeMap<String, i64>,
}

/// How the stream is turned into records.
pub(super) struct Assembler {
    config: Arc<SourceConfig>,
    envelopes: Arc<Envelopes>,
    transactions: Option<TransactionTopic>,
    relations: HashMap<u32, Option<Arc<Table>>>,
    /// The signal table.
    signals: Option<u32>,
    scans: Vec<Scan>,
    open: Option<Open>,
    queue: VecDeque<Unit>,
    queued_records: usize,
    queued_bytes: usize,
    last_commit_us: i64,
    progress: Progress,
    /// What was read beside the stream and waits for it.
    chunk: Option<Chunk>,
    delivered: Delivered,
}

impl Assembler {
    /// A stream that resumes at a position; `scans` tell what a snapshot had read.
    pub(super) fn new(
        config: Arc<SourceConfig>,
        envelopes: Arc<Envelopes>,
        resume: Mark,
        scans: Vec<Scan>,
        now_ms: u64,
    ) -> Self {
        let transactions = config
            .transaction_metadata
            .then(|| TransactionTopic::new(&config.transaction_topic));
        Self {
            config,
            envelopes,
            transactions,
            relations: HashMap::new(),
            signals: None,
            scans,
            open: None,
            queue: VecDeque::new(),
            queued_records: 0,
            queued_bytes: 0,
            last_commit_us: resume.commit_us,
            progress: Progress::new(resume.position, resume.stored, now_ms),
            chunk: None,
            delivered: Delivered::default(),
        }
    }

    /// How far the stream is.
    pub(super) fn progress(&mut self) -> &mut Progress {
        &mut self.progress
    }

    /// Whether something waits to go out, or a transaction is not at its end.
    pub(super) fn is_waiting(&self) -> bool {
        self.open.is_some() || !self.queue.is_empty()
    }

    /// When the last transaction was committed that came, in microseconds since 1970; 0 before the first.
    pub(super) fn last_commit_us(&self) -> i64 {
        self.open
            .as_ref()
            .map_or(self.last_commit_us, |open| open.commit_us)
    }

    /// The scans that still matter.
    pub(super) fn scans(&self) -> &[Scan] {
        &self.scans
    }

    /// Forgets what did not go out: it comes again.
    pub(super) fn reconnect(&mut self) {
        self.queue.clear();
        (self.queued_records, self.queued_bytes) = (0, 0);
        self.open = None;
        self.chunk = None;
        self.relations.clear();
        self.progress.reconnect();
    }

    /// The table of a relation from here on; `None` where it is not captured.
    pub(super) fn relation(&mut self, oid: u32, table: Option<Arc<Table>>) {
        self.relations.insert(oid, table);
    }

    /// New rows of this relation are signals.
    pub(super) fn signals(&mut self, oid: u32) {
        self.signals = Some(oid);
    }

    /// Takes a keepalive.
    pub(super) fn keepalive(&mut self, wal_end: Lsn, now_ns: i64) {
        self.progress.keepalive(wal_end);
        self.pass_chunk(now_ns);
    }

    /// Whether something may go out.
    pub(super) fn has_units(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether a chunk may be read: none waits, and what the last one brought went out. Changes may wait: a stream that is
    /// never at its end must not keep tables from being read.
    pub(super) fn has_room_for_chunk(&self) -> bool {
        self.chunk.is_none() && self.queue.iter().all(|unit| unit.step.is_none())
    }

    /// Takes a chunk; `false` where it has to be read again, because it does not see what went out already.
    pub(super) fn take_chunk(&mut self, chunk: Chunk, now_ns: i64) -> bool {
        if !self.delivered.are_seen(&chunk.view) {
            return false;
        }
        self.chunk = Some(chunk);
        self.pass_chunk(now_ns);
        true
    }

    /// What was read beside the stream no longer counts as read.
    pub(super) fn forget_chunk(&mut self) {
        self.chunk = None;
        for unit in &mut self.queue {
            unit.step = None;
        }
    }

    /// Lets the chunk go out once the stream is behind it.
    fn pass_chunk(&mut self, now_ns: i64) {
        let passed = self.open.is_none()
            && (self.chunk.as_ref()).is_some_and(|chunk| self.progress.passed() >= chunk.high);
        let Some(chunk) = self.chunk.take_if(|_| passed) else {
            return;
        };
        let origin = Origin {
            at_us: chunk.at_us,
            snapshot: "incremental",
            last_commit: None,
            lsn: chunk.high,
            xid: None,
            replicated: None,
        };
        let table = Arc::clone(&chunk.table);
        let (rows, last) = chunk.out();
        for (row, step) in rows {
            let change = Change::Read(row);
            let bytes = change.bytes();
            let rendered = (self.envelopes).change(&table, &change, &origin, None, now_ns);
            match rendered {
                Ok(records) => self.push(records, bytes),
                Err(bad) => {
                    let rejected = Rejected {
                        topic: Arc::clone(&table.topic),
                        raw: table.raw(change.row()),
                        message: bad.to_string(),
                    };
                    self.push_unit(Vec::new(), Some(rejected), bytes);
                }
            }
            if let Some(unit) = self.queue.back_mut() {
                unit.step = step;
            }
        }
        self.push(Vec::new(), 0);
        if let Some(unit) = self.queue.back_mut() {
            unit.step = last;
        }
    }

    /// Takes the message at `lsn`. Relation messages go to [`Assembler::relation`] instead.
    ///
    /// # Errors
    /// A message about a relation that was never told.
    pub(super) fn message(
        &mut self,
        lsn: Lsn,
        message: Message,
        now_ns: i64,
    ) -> Result<(), ConnectError> {
        match message {
            Message::Begin {
                final_lsn,
                commit_time,
                xid,
            } => self.begin(
                lsn,
                final_lsn,
                commit_time.saturating_add(EPOCH_2000_US),
                xid,
            ),
            Message::Commit { end_lsn, .. } => {
                self.commit(end_lsn);
                self.pass_chunk(now_ns);
            }
            Message::Origin {
                lsn: position,
                name,
            } => {
                if let Some(open) = &mut self.open {
                    open.replicated = Some((name, position));
                }
            }
            Message::Relation(_) | Message::Type => {}
            Message::Insert { relation, new } => {
                self.row(lsn, relation, Change::Create(new), now_ns)?;
            }
            Message::Update { relation, old, new } => {
                self.row(lsn, relation, Change::Update { old, new }, now_ns)?;
            }
            Message::Delete { relation, old } => {
                self.row(lsn, relation, Change::Delete(old), now_ns)?;
            }
            Message::Truncate { relations } => self.truncate(lsn, &relations, now_ns)?,
            Message::Logical {
                transactional,
                lsn: at,
                prefix,
                content,
            } => {
                let verdict = if transactional {
                    self.progress.event(lsn)
                } else {
                    self.progress.lone(at)
                };
                if prefix == CHUNK_MARK {
                    self.pass_chunk(now_ns);
                    return Ok(());
                }
                if !self.config.capture.messages.takes(&prefix) {
                    return Ok(());
                }
                let bytes = content.len();
                let place = self.place(at, || prefix.clone());
                if verdict == Verdict::New {
                    let origin = self.origin(at);
                    let record =
                        self.envelopes
                            .message(&prefix, content, &origin, place.as_ref(), now_ns);
                    self.push(vec![record], bytes);
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, lsn: Lsn, commit: Lsn, commit_us: i64, xid: u32) {
        let verdict = self.progress.begin(commit, xid);
        self.delivered.push(xid);
        self.open = Some(Open {
            xid,
            commit_us,
            commit,
            replicated: None,
            request: None,
            signals: Vec::new(),
            changes: 0,
            tables: BTreeMap::new(),
        });
        if let (Verdict::New, Some(topic)) = (verdict, &self.transactions) {
            let id = format!("{xid}:{}", lsn.0);
            let record = topic.record(&id, None, commit_us.div_euclid(1000));
            self.push(vec![record], 0);
        }
    }

    fn commit(&mut self, end: Lsn) {
        let verdict = self.progress.commit(end);
        let Some(open) = self.open.take() else {
            return;
        };
        if verdict == Verdict::New {
            self.last_commit_us = open.commit_us;
            let behind = self.mark();
            if let Some(topic) = &self.transactions {
                let id = format!("{}:{}", open.xid, end.0);
                let tables: Vec<(String, i64)> = open.tables.into_iter().collect();
                let record = topic.record(
                    &id,
                    Some((open.changes, &tables)),
                    open.commit_us.div_euclid(1000),
                );
                self.push(vec![record], 0);
            } else if let Some(last) = self.queue.back_mut() {
                last.behind = behind;
            }
            if open.request.is_some() || !open.signals.is_empty() {
                self.queue.push_back(Unit {
                    records: Vec::new(),
                    rejected: None,
                    bytes: 0,
                    behind,
                    request: open.request,
                    signals: open.signals,
                    step: None,
                });
            }
        }
    }

    fn row(
        &mut self,
        lsn: Lsn,
        relation: u32,
        change: Change,
        now_ns: i64,
    ) -> Result<(), ConnectError> {
        let table = self.table(relation, lsn)?;
        let verdict = self.progress.event(lsn);
        if let Change::Create(row) = &change
            && self.signals == Some(relation)
        {
            // Of a transaction that goes on after a restart, all signals count: it had not ended.
            self.signal(row);
        }
        let Some(table) = table else {
            return Ok(());
        };
        if let (Some(chunk), Some(open)) = (&mut self.chunk, &self.open) {
            chunk.change(&table, &change, open.xid);
        }
        let Some(change) = self.not_in_snapshot(&table, change) else {
            return Ok(());
        };
        if self.is_skipped(&table, &change) {
            return Ok(());
        }
        // A transaction that goes on after a restart is counted from its begin.
        let place = self.place_of(&table, &change, lsn);
        if verdict == Verdict::Known {
            return Ok(());
        }
        let bytes = change.bytes();
        let origin = self.origin(lsn);
        let table = self.allowing_nulls(relation, table, &change);
        match self
            .envelopes
            .change(&table, &change, &origin, place.as_ref(), now_ns)
        {
            Ok(records) => self.push(records, bytes),
            Err(bad) => {
                let xid = origin.xid.unwrap_or_default();
                let rejected = Rejected {
                    topic: Arc::clone(&table.topic),
                    raw: table.raw(change.row()),
                    message: format!("{bad} (transaction {xid}, position {lsn})"),
                };
                self.push_unit(Vec::new(), Some(rejected), bytes);
            }
        }
        Ok(())
    }

    fn truncate(&mut self, lsn: Lsn, relations: &[u32], now_ns: i64) -> Result<(), ConnectError> {
        let verdict = self.progress.event(lsn);
        for relation in relations {
            let table = self.table(*relation, lsn)?;
            if let (Some(table), Some(chunk), Some(open)) = (table, &mut self.chunk, &self.open) {
                chunk.truncate(&table, open.xid);
            }
        }
        if self.config.skipped.truncate {
            if verdict == Verdict::New {
                for kept in self.kept(relations, lsn)? {
                    tracing::warn!("{kept}");
                }
            }
            return Ok(());
        }
        let mut records = Vec::new();
        for relation in relations {
            let Some(table) = self.table(*relation, lsn)? else {
                continue;
            };
            if self.is_known(&table, None) {
                self.tell_all(&table);
            }
            let place = self.place(lsn, || table.full_name());
            let origin = self.origin(lsn);
            records.push(
                self.envelopes
                    .truncate(&table, &origin, place.as_ref(), now_ns),
            );
        }
        if verdict == Verdict::New && !records.is_empty() {
            self.push(records, 0);
        }
        Ok(())
    }

    /// What is to know of captured tables that were truncated where truncations give no records.
    fn kept(&self, relations: &[u32], lsn: Lsn) -> Result<Vec<String>, ConnectError> {
        let mut kept = Vec::new();
        for relation in relations {
            if let Some(table) = self.table(*relation, lsn)? {
                kept.push(format!(
                    "table {} was truncated: the rows that were read of it stay in topic {}, because \
                     skipped.operations leaves truncations out. A table that SQL declared over it is without them once \
                     it is dropped and created again (DROP TABLE, CREATE TABLE)",
                    table.full_name(),
                    table.topic
                ));
            }
        }
        Ok(kept)
    }

    fn table(&self, relation: u32, lsn: Lsn) -> Result<Option<Arc<Table>>, ConnectError> {
        self.relations.get(&relation).cloned().ok_or_else(|| {
            ConnectError::Fatal(format!(
                "the stream names table {relation} at {lsn} and never told what it is"
            ))
        })
    }

    fn signal(&mut self, row: &Tuple) {
        let Some(open) = &mut self.open else {
            return;
        };
        match signal::signal(row) {
            Ok(Signal::Read(request)) if request.incremental => {
                open.signals.push(Signal::Read(request));
            }
            Ok(Signal::Read(request)) => {
                open.request = Some(match open.request.take() {
                    Some(before) => before.and(request),
                    None => request,
                });
            }
            Ok(Signal::Log(message)) => tracing::info!(message, "signal"),
            Ok(signal) => open.signals.push(signal),
            Err(reason) => tracing::warn!(reason, "a signal is passed over"),
        }
    }

    /// The table, changed for good where a row has a null that the catalog, read later, no longer knows of.
    fn allowing_nulls(&mut self, relation: u32, table: Arc<Table>, change: &Change) -> Arc<Table> {
        let nulls = match change {
            Change::Read(row) | Change::Create(row) | Change::Delete(Old::Row(row)) => {
                table.refused_nulls(row)
            }
            Change::Update { old, new } => {
                let mut nulls = table.refused_nulls(new);
                if let Some(Old::Row(old)) = old {
                    nulls.extend(table.refused_nulls(old));
                }
                nulls
            }
            Change::Delete(Old::Key(_)) => Vec::new(),
        };
        if nulls.is_empty() {
            return table;
        }
        let table = Arc::new(table.with_optional(&nulls, self.envelopes.source_schema()));
        self.relation(relation, Some(Arc::clone(&table)));
        table
    }

    /// What is left of a change once what the snapshot had read already is taken away.
    ///
    /// A row that the snapshot no longer has may have gone out before it: with an earlier snapshot, as a change, or with
    /// rows whose offset a crash kept from being stored. Its end is therefore told always, and everything of its table
    /// behind that too: the row may come again, and is then in front of its end among the rows of the snapshot.
    fn not_in_snapshot(&mut self, table: &Table, change: Change) -> Option<Change> {
        if self.scans.is_empty() {
            return Some(change);
        }
        match change {
            Change::Create(new) if self.is_known(table, Some(&new)) => None,
            Change::Delete(old) => {
                if self.is_known(table, Some(old.tuple())) {
                    self.tell_all(table);
                }
                Some(Change::Delete(old))
            }
            Change::Update { old, new } => {
                let before = old.as_ref().map(|old| table.old_key_cells(old, &new));
                let moved = before
                    .as_ref()
                    .is_some_and(|before| table.primary_key(before) != table.primary_key(&new));
                match (moved, self.is_known(table, Some(&new))) {
                    (false, true) => None,
                    (false, false) => Some(Change::Update { old, new }),
                    (true, new_known) => {
                        if self.is_known(table, before.as_ref()) {
                            self.tell_all(table);
                            return Some(Change::Update { old, new });
                        }
                        match (new_known, old) {
                            (true, Some(old)) => Some(Change::Delete(old)),
                            (_, old) => Some(Change::Update { old, new }),
                        }
                    }
                }
            }
            other => Some(other),
        }
    }

    /// Passes over nothing of this table any more. An offset in front of the change may be stored without its scans:
    /// then more comes again after a crash, and nothing is lost.
    fn tell_all(&mut self, table: &Table) {
        self.scans
            .retain(|scan| scan.schema != table.schema || scan.table != table.name);
    }

    fn is_known(&self, table: &Table, row: Option<&Tuple>) -> bool {
        let Some(open) = &self.open else {
            return false;
        };
        let key = row.and_then(|row| table.primary_key(row));
        let types: Vec<u32> = table
            .primary()
            .iter()
            .map(|(_, type_oid)| *type_oid)
            .collect();
        let scans = self
            .scans
            .iter()
            .filter(|scan| scan.schema == table.schema && scan.table == table.name);
        view::known(scans, key.as_deref(), &types, open.xid, open.commit)
    }

    fn is_skipped(&self, table: &Table, change: &Change) -> bool {
        let skipped = self.config.skipped;
        match change {
            Change::Create(_) => skipped.create,
            Change::Delete(_) => skipped.delete,
            Change::Update { old, new } => {
                skipped.update
                    || (self.config.skip_unchanged
                        && matches!(old, Some(Old::Row(old)) if {
                            let mut whole = new.clone();
                            table.complete(&mut whole, Some(&Old::Row(old.clone())));
                            !table.differs(old, &whole)
                        }))
            }
            Change::Read(_) => false,
        }
    }

    /// Counts a change of a table and tells its place, where records tell it.
    /// The place of one event.
    fn place(&mut self, lsn: Lsn, table: impl FnOnce() -> String) -> Option<Place> {
        self.place_of_events(lsn, table, 1)
    }

    /// The place of a change; a row that gets another key is two events.
    fn place_of(&mut self, table: &Table, change: &Change, lsn: Lsn) -> Option<Place> {
        let moves = self.config.transaction_metadata && change.moves(table);
        self.place_of_events(lsn, || table.full_name(), 1 + i64::from(moves))
    }

    fn place_of_events(
        &mut self,
        lsn: Lsn,
        table: impl FnOnce() -> String,
        events: i64,
    ) -> Option<Place> {
        if !self.config.transaction_metadata {
            return None;
        }
        let open = self.open.as_mut()?;
        let count = open.tables.entry(table()).or_default();
        let place = Place {
            id: format!("{}:{}", open.xid, lsn.0),
            total_order: open.changes + 1,
            table_order: *count + 1,
        };
        open.changes += events;
        *count += events;
        Some(place)
    }

    fn origin(&self, lsn: Lsn) -> Origin {
        let end = self.progress.position().end;
        let open = self.open.as_ref();
        Origin {
            at_us: open.map_or(self.last_commit_us, |open| open.commit_us),
            snapshot: "false",
            last_commit: (end > Lsn(0)).then_some(end),
            lsn,
            xid: open.map(|open| open.xid),
            replicated: open.and_then(|open| open.replicated.clone()),
        }
    }

    fn mark(&self) -> Mark {
        Mark {
            position: self.progress.position(),
            commit_us: self
                .open
                .as_ref()
                .map_or(self.last_commit_us, |open| open.commit_us),
            stored: self.progress.acknowledged(),
        }
    }

    fn push(&mut self, records: Vec<Record>, bytes: usize) {
        self.push_unit(records, None, bytes);
    }

    fn push_unit(&mut self, records: Vec<Record>, rejected: Option<Rejected>, bytes: usize) {
        let bytes = bytes + records.len() * RECORD_BYTES;
        let behind = self.mark();
        self.queued_records += records.len();
        self.queued_bytes += bytes;
        self.queue.push_back(Unit {
            records,
            rejected,
            bytes,
            behind,
            request: None,
            signals: Vec::new(),
            step: None,
        });
    }

    /// This goes out. Scans are done with once everything that goes out later is behind all their snapshots: what was
    /// passed over because of them comes again after a restart in front of that.
    fn offered(&mut self, position: Position, now_ms: u64) {
        self.progress.offered(position, now_ms);
        let high = self.scans.iter().map(|scan| scan.high).max();
        if high.is_some_and(|high| position.end >= high) {
            self.scans.clear();
        }
    }

    /// Whether as much as this waits that reading on can wait too.
    pub(super) fn holds(&self, budget: PollBudget) -> bool {
        self.queued_records >= budget.records_max || self.queued_bytes >= budget.bytes_max
    }

    /// Records within the budget, and where the stream is behind them.
    pub(super) fn take(&mut self, budget: PollBudget, now_ms: u64) -> Option<Taken> {
        let mut records = Vec::new();
        let mut bytes = 0;
        let mut rejected = Vec::new();
        let mut behind = None;
        let (mut request, mut signals, mut steps) = (None, Vec::new(), Vec::new());
        while let Some(unit) = self.queue.front() {
            if unit.rejected.is_some() && behind.is_some() {
                break;
            }
            let fits = records.len() + unit.records.len() <= budget.records_max
                && bytes < budget.bytes_max;
            if behind.is_some() && !fits {
                break;
            }
            let Some(unit) = self.queue.pop_front() else {
                break;
            };
            bytes += unit.bytes;
            self.queued_records -= unit.records.len();
            self.queued_bytes -= unit.bytes;
            behind = Some(unit.behind);
            records.extend(unit.records);
            rejected.extend(unit.rejected);
            steps.extend(unit.step);
            (request, signals) = (unit.request, unit.signals);
            if request.is_some() || !signals.is_empty() {
                break;
            }
        }
        let behind = behind?;
        self.offered(behind.position, now_ms);
        Some(Taken {
            records,
            rejected,
            behind,
            request,
            signals,
            steps,
        })
    }

    /// The position to have stored though there are no records.
    pub(super) fn quiet(&mut self, now_ms: u64) -> Option<Mark> {
        if !self.queue.is_empty() {
            return None;
        }
        let position = self.progress.quiet(now_ms)?;
        self.offered(position, now_ms);
        Some(Mark {
            position,
            commit_us: self.last_commit_us,
            stored: self.progress.acknowledged(),
        })
    }

    /// Where a heartbeat finds the stream: at its end where nothing waits, else behind what went out.
    pub(super) fn beat(&mut self, now_ms: u64) -> Mark {
        if self.queue.is_empty() && !self.progress.in_transaction() {
            self.progress.settle();
            let position = self.progress.position();
            self.offered(position, now_ms);
        }
        Mark {
            position: self.progress.last_offered(),
            commit_us: self.last_commit_us,
            stored: self.progress.acknowledged(),
        }
    }
}

impl Change {
    /// The row as it is, or was.
    pub(super) fn row(&self) -> &Tuple {
        match self {
            Self::Read(row) | Self::Create(row) => row,
            Self::Update { new, .. } => new,
            Self::Delete(old) => old.tuple(),
        }
    }

    /// Whether a row gets another key.
    fn moves(&self, table: &Table) -> bool {
        let Self::Update {
            old: Some(old),
            new,
        } = self
        else {
            return false;
        };
        let mut new = new.clone();
        table.complete(&mut new, Some(old));
        table.key_differs(&table.old_key_cells(old, &new), &new)
    }

    /// About how much it holds.
    pub(super) fn bytes(&self) -> usize {
        let tuple = |tuple: &Tuple| -> usize {
            tuple
                .iter()
                .map(|cell| match cell {
                    Cell::Text(bytes) => bytes.len() + 32,
                    _ => 32,
                })
                .sum()
        };
        match self {
            Self::Read(new) | Self::Create(new) => tuple(new),
            Self::Update { old, new } => {
                tuple(new) + old.as_ref().map_or(0, |old| tuple(old.tuple()))
            }
            Self::Delete(old) => tuple(old.tuple()),
        }
    }
}

#[cfg(test)]
mod tests;
