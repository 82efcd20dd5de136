//! The running stream of a task: connects, feeds the assembler, hands batches out, and passes acknowledgements on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connect_api::{ConnectError, Poll, PollBudget, Progress, Record, Rejected, SourceOffset};

use super::Shared;
use super::assemble::{Assembler, Mark};
use super::catalog;
use super::chunks::{Chunks, Next};
use super::config::Mismatch;
use super::envelope;
use super::health;
use super::incremental::{Incremental, Step};
use super::kind::Types;
use super::lsn::Lsn;
use super::offset::{self, Offset, Snapshot};
use super::pgoutput::{self, Message, Relation};
use super::plan::Slot;
use super::replication::{Item, Replication, Stream};
use super::signal::{Request, Signal};
use super::spool::{Spool, SpoolError};
use super::table::{Shapes, Table};
use super::unhealthy::{Unhealthy, failed};
use super::view::Scan;
use super::wire::{Connection, Purpose, WireError};

/// How long a slot that somebody holds is waited for: a run that ended lets it go within moments.
const SLOT_WAIT: Duration = Duration::from_secs(5);
/// How long a chunk that is to be read again waits at the most for something to come.
const CHUNK_WAIT: Duration = Duration::from_millis(50);
/// Between looks at such a slot.
const SLOT_LOOK: Duration = Duration::from_millis(50);

/// The stream of a task.
pub(super) struct Streaming {
    shared: Arc<Shared>,
    assembler: Assembler,
    replication: Option<Replication>,
    backlog: VecDeque<Item>,
    /// Transactions that are streamed before they end.
    spool: Spool,
    catalog: Option<Connection>,
    types: Types,
    heartbeat_at: Option<Instant>,
    /// The stream waits: tables are to be read from this offset on.
    requested: Option<Offset>,
    /// What is read beside the stream, as far as it went out.
    incremental: Option<Incremental>,
    chunks: Chunks,
}

impl Streaming {
    /// A stream that resumes behind `resume`; it connects with the first poll.
    pub(super) fn new(
        shared: Arc<Shared>,
        resume: Mark,
        scans: Vec<Scan>,
        incremental: Option<Incremental>,
    ) -> Self {
        let assembler = Assembler::new(
            Arc::clone(&shared.config),
            Arc::clone(&shared.envelopes),
            resume,
            scans,
            super::now_ms(),
        );
        let heartbeat_at = shared
            .config
            .heartbeat
            .map(|interval| Instant::now() + interval);
        let spool = Spool::new(shared.config.spool_folder.clone());
        Self {
            shared,
            assembler,
            replication: None,
            backlog: VecDeque::new(),
            spool,
            catalog: None,
            types: Types::new(),
            heartbeat_at,
            requested: None,
            incremental,
            chunks: Chunks::default(),
        }
    }

    /// The next records, or what else is to be stored.
    pub(super) async fn poll(&mut self, budget: PollBudget) -> Result<Poll, ConnectError> {
        let result = self.poll_connected(budget).await;
        if result.is_err() {
            self.disconnect();
        }
        result
    }

    async fn poll_connected(&mut self, budget: PollBudget) -> Result<Poll, ConnectError> {
        self.connect().await?;
        let budget = PollBudget {
            records_max: budget.records_max.min(self.shared.config.batch_size),
            ..budget
        };
        let deadline = Instant::now() + budget.wait_max;
        if let Some(poll) = self.read_chunk().await? {
            return Ok(poll);
        }
        loop {
            while !self.assembler.holds(budget) && self.take_next().await? {}
            if let Some(taken) = self.assembler.take(budget, super::now_ms()) {
                self.stepped(&taken.steps);
                self.signalled(taken.signals);
                let offset = match taken.request {
                    None => self.offset(taken.behind),
                    Some(request) => self.request(taken.behind, request),
                };
                return Ok(self.poll_of(taken.records, taken.rejected, &offset));
            }
            if let Some(poll) = self.read_chunk().await? {
                return Ok(poll);
            }
            if self.assembler.has_units() {
                continue;
            }
            if let Some(beat) = self.heartbeat().await {
                return Ok(beat);
            }
            if let Some(behind) = self.assembler.quiet(super::now_ms()) {
                return Ok(self.batch(Vec::new(), behind));
            }
            let mut left = deadline.saturating_duration_since(Instant::now());
            if self.incremental.as_ref().is_some_and(|of| !of.paused) {
                // A chunk may be due before anything comes.
                left = left.min(CHUNK_WAIT);
            }
            if let Some(at) = self.heartbeat_at {
                left = left.min(at.saturating_duration_since(Instant::now()));
            }
            let Some(replication) = &mut self.replication else {
                return Ok(Poll::Idle);
            };
            match tokio::time::timeout(left, replication.next()).await {
                Ok(Ok(items)) => self.backlog.extend(items),
                Ok(Err(error)) => {
                    return Err(self.shared.server.stream_failed(&self.shared.config, error));
                }
                Err(_) if Instant::now() >= deadline => return Ok(Poll::Idle),
                Err(_) => {}
            }
        }
    }

    /// Reads the next chunk where one is due. Gives what is to be stored where the reading ends.
    async fn read_chunk(&mut self) -> Result<Option<Poll>, ConnectError> {
        let Some(incremental) = self.incremental.as_ref().filter(|of| !of.paused) else {
            return Ok(None);
        };
        if !self.assembler.has_room_for_chunk() || !self.chunks.is_due() {
            return Ok(None);
        }
        let shared = Arc::clone(&self.shared);
        match self.chunks.next(&shared, incremental).await? {
            Next::Chunk(chunk) => {
                if !self.assembler.take_chunk(chunk, super::now_ns()) {
                    self.chunks.again();
                }
                Ok(None)
            }
            Next::Passed(step) => {
                self.stepped(&[step]);
                Ok(None)
            }
            Next::Finished(unordered) => {
                tracing::info!("the incremental snapshot is done");
                let request = self
                    .incremental
                    .take()
                    .map(|incremental| incremental.request);
                let behind = self.assembler.beat(super::now_ms());
                let Some(request) = request.filter(|_| !unordered.is_empty()) else {
                    return Ok(Some(self.batch(Vec::new(), behind)));
                };
                // Only a reading while the stream waits can tell what is in them.
                let name = |table: &catalog::TableEntry| format!("{}.{}", table.schema, table.name);
                let names: Vec<String> = unordered.iter().map(name).collect();
                let request = Request {
                    conditions: request.conditions,
                    ..Request::of_tables(&names)
                };
                let offset = self.request(behind, request);
                Ok(Some(self.poll_of(Vec::new(), Vec::new(), &offset)))
            }
        }
    }

    /// Whether tables are read beside the stream: what else is new waits until they are, and is found once they are published.
    pub(super) fn is_reading(&self) -> bool {
        self.incremental.is_some()
    }

    /// Tables that are new are read beside the stream. Gives what is to be stored first.
    pub(super) fn discovered(&mut self, names: &[String]) -> Poll {
        tracing::info!(tables = names.join(", "), "captures new tables");
        self.signalled(vec![Signal::Read(Request::of_tables(names))]);
        let behind = self.assembler.beat(super::now_ms());
        self.batch(Vec::new(), behind)
    }

    /// Takes signals that came by the topic. Gives what is to be stored; `told` goes with it.
    pub(super) fn told(&mut self, signals: Vec<Signal>, told: SourceOffset) -> Poll {
        let mut blocking: Option<Request> = None;
        let mut others = Vec::new();
        for signal in signals {
            match signal {
                Signal::Read(request) if !request.incremental => {
                    blocking = Some(match blocking.take() {
                        Some(before) => before.and(request),
                        None => request,
                    });
                }
                Signal::Log(message) => tracing::info!(message, "signal"),
                other => others.push(other),
            }
        }
        self.signalled(others);
        let behind = self.assembler.beat(super::now_ms());
        let offset = match blocking {
            None => self.offset(behind),
            Some(request) => self.request(behind, request),
        };
        let mut poll = self.poll_of(Vec::new(), Vec::new(), &offset);
        if let Poll::Batch { offsets, .. } = &mut poll {
            offsets.push(told);
        }
        poll
    }

    /// Rows of a chunk go out.
    fn stepped(&mut self, steps: &[Step]) {
        let Some(incremental) = &mut self.incremental else {
            return;
        };
        for step in steps {
            incremental.step(step);
            if let Step::Done(table) = step {
                tracing::info!(table, "an incremental snapshot has read a table");
                self.chunks.table_done(table);
            }
        }
    }

    /// Signals about what is read beside the stream.
    fn signalled(&mut self, signals: Vec<Signal>) {
        for signal in signals {
            let is_pause = signal == Signal::Pause;
            if is_pause || signal == Signal::Resume {
                // What was read already goes out.
                if let Some(incremental) = &mut self.incremental {
                    incremental.paused = is_pause;
                }
                continue;
            }
            let before = self.incremental.take();
            self.incremental = match signal {
                Signal::Read(request) => Some(match before {
                    Some(before) => before.and(request),
                    None => Incremental::new(request),
                }),
                Signal::Stop(tables) => {
                    before.and_then(|before| before.without(&tables, &self.chunks.names()))
                }
                Signal::Pause | Signal::Resume | Signal::Log(_) => before,
            };
            self.assembler.forget_chunk();
            self.chunks.look_again();
        }
    }

    /// Whether tables wait to be read before the stream goes on.
    pub(super) fn is_asked(&self) -> bool {
        self.requested.is_some()
    }

    /// The offset of a snapshot that a signal asked for: it is to be read before the stream goes on.
    pub(super) fn requested(&mut self) -> Option<Offset> {
        self.requested.take()
    }

    /// The offset behind the signal of a request, which has it: it is not forgotten.
    fn request(&mut self, behind: Mark, request: Request) -> Offset {
        let mut offset = self.offset(behind);
        offset.snapshot = Snapshot::Running;
        offset.scans.retain(|scan| !request.supersedes(scan));
        offset.request = Some(request);
        self.requested = Some(offset.clone());
        offset
    }

    /// A position is on disk.
    pub(super) fn committed(&mut self, end: Lsn) {
        let flushed = self.assembler.progress().committed(end);
        if let Some(replication) = &self.replication {
            replication.acknowledge(flushed);
        }
    }

    /// How far it is. While something waits to go out, or comes, the stream is as late as what went out last is old.
    pub(super) fn progress(&self) -> Progress {
        let mut figures = Vec::new();
        let now_us = super::now_ns() / 1000;
        let behind_us = match self.assembler.is_waiting() || !self.backlog.is_empty() {
            true => now_us.saturating_sub(self.assembler.last_commit_us()),
            false => 0,
        };
        if self.assembler.last_commit_us() > 0 {
            figures.push(("lag_ms", behind_us.max(0) / 1000));
        }
        Progress {
            phase: Some(match self.replication {
                Some(_) => "streaming",
                None => "connecting",
            }),
            figures,
            parts: self.chunks.progress().into_iter().collect(),
            notes: Vec::new(),
        }
    }

    /// Where the task would go on.
    pub(super) fn offset(&self, behind: Mark) -> Offset {
        Offset {
            position: behind.position,
            snapshot: Snapshot::None,
            scans: self.assembler.scans().to_vec(),
            request: None,
            incremental: self.incremental.clone(),
            origin: Some(self.shared.origin.clone()),
            commit_us: behind.commit_us,
        }
    }

    /// Ends the stream and leaves the slot.
    pub(super) async fn stop(&mut self) {
        if let Some(replication) = self.replication.take() {
            replication.stop().await;
        }
        if let Some(catalog) = self.catalog.take() {
            catalog.close().await;
        }
        self.chunks.stop().await;
    }

    fn disconnect(&mut self) {
        self.replication = None;
        self.catalog = None;
        self.backlog.clear();
        self.spool.clear();
        self.chunks.disconnect();
        self.assembler.reconnect();
    }

    fn batch(&self, records: Vec<Record>, behind: Mark) -> Poll {
        self.poll_of(records, Vec::new(), &self.offset(behind))
    }

    fn poll_of(&self, records: Vec<Record>, rejected: Vec<Rejected>, offset: &Offset) -> Poll {
        Poll::Batch {
            records,
            rejected,
            offsets: vec![SourceOffset {
                partition: offset::partition(&self.shared.config.prefix),
                offset: offset.to_json(),
            }],
        }
    }

    /// Takes one item; `false` where there is none. Dropping the future loses none.
    async fn take_next(&mut self) -> Result<bool, ConnectError> {
        let spooled = |error: SpoolError| match error {
            SpoolError::Disk { .. } => ConnectError::Transient(error.to_string()),
            SpoolError::Protocol(_) => ConnectError::Fatal(error.to_string()),
        };
        if let Some(item) = self.spool.peek().cloned() {
            self.take(item).await?;
            self.spool.advance().map_err(spooled)?;
            return Ok(true);
        }
        let Some(item) = self.backlog.front() else {
            return Ok(false);
        };
        if let Some(item) = self.spool.pass(item).map_err(spooled)? {
            self.take(item).await?;
        }
        self.backlog.pop_front();
        Ok(true)
    }

    async fn take(&mut self, item: Item) -> Result<(), ConnectError> {
        let (lsn, payload) = match item {
            Item::Keepalive(end) => {
                self.assembler.keepalive(end, super::now_ns());
                return Ok(());
            }
            Item::Message(lsn, payload) => (lsn, payload),
        };
        let message = pgoutput::decode(payload).map_err(|error| {
            ConnectError::Fatal(format!("the stream cannot be read at {lsn}: {error}"))
        })?;
        match message {
            Message::Relation(relation) => self.relation(&relation).await,
            message => self.assembler.message(lsn, message, super::now_ns()),
        }
    }

    /// Learns what a table is from here on.
    async fn relation(&mut self, relation: &Relation) -> Result<(), ConnectError> {
        let shared = Arc::clone(&self.shared);
        let (config, envelopes) = (&shared.config, &shared.envelopes);
        if config.is_signals(&relation.schema, &relation.name) {
            self.assembler.signals(relation.oid);
        }
        if !config.capture.table(&relation.schema, &relation.name) {
            self.assembler.relation(relation.oid, None);
            return Ok(());
        }
        let columns = {
            let mut types = std::mem::take(&mut self.types);
            let described = self.describe(relation, &mut types).await;
            self.types = types;
            described.map_err(|error| {
                self.catalog = None;
                failed("looking up a table", error)
            })?
        };
        let shapes = Shapes {
            prefix: &config.prefix,
            capture: &config.capture,
            rendering: envelopes.rendering(),
            types: &self.types,
            source: envelopes.source_schema(),
        };
        let table = Table::new(
            &shapes,
            &relation.schema,
            &relation.name,
            relation.identity,
            &columns,
        );
        self.assembler.relation(relation.oid, Some(Arc::new(table)));
        Ok(())
    }

    async fn describe(
        &mut self,
        relation: &Relation,
        types: &mut Types,
    ) -> Result<Vec<catalog::ColumnEntry>, WireError> {
        let connection = self.catalog().await?;
        let columns = catalog::described(connection, relation).await?;
        catalog::learn_types(connection, &columns, types).await?;
        Ok(columns)
    }

    async fn catalog(&mut self) -> Result<&mut Connection, WireError> {
        if self.catalog.is_none() {
            let connection = Connection::open(&self.shared.config.address, Purpose::Sql).await?;
            self.catalog = Some(connection);
        }
        self.catalog
            .as_mut()
            .ok_or_else(|| WireError::Line("the connection to PostgreSQL is gone".to_owned()))
    }

    /// A heartbeat, if one is due.
    async fn heartbeat(&mut self) -> Option<Poll> {
        let interval = self.shared.config.heartbeat?;
        if Instant::now() < self.heartbeat_at? {
            return None;
        }
        self.heartbeat_at = Some(Instant::now() + interval);
        let shared = Arc::clone(&self.shared);
        if let Some(query) = &shared.config.heartbeat_query {
            let ran = match self.catalog().await {
                Ok(connection) => connection.query(query).await.map(drop),
                Err(error) => Err(error),
            };
            if let Err(error) = ran {
                tracing::warn!(%error, "heartbeat.action.query failed");
                if matches!(error, WireError::Line(_)) {
                    self.catalog = None;
                }
            }
        }
        let behind = self.assembler.beat(super::now_ms());
        let record = envelope::heartbeat(
            &shared.config.heartbeat_topic,
            &shared.config.prefix,
            super::now_ns() / 1_000_000,
        );
        Some(self.batch(vec![record], behind))
    }

    /// Starts the stream if it is not running: what may have changed at the server is looked at again.
    async fn connect(&mut self) -> Result<(), ConnectError> {
        if self.replication.is_some() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let config = &shared.config;
        if config.streams_open && !shared.server.streams_open() {
            return Err(ConnectError::config(
                "slot.stream.params",
                "streaming=on needs PostgreSQL 14 or later: leave it out",
            ));
        }
        let mut connection = Connection::open(&config.address, Purpose::Replication)
            .await
            .map_err(|error| shared.server.no_replication(error))?;
        let found = health::identify(&mut connection)
            .await
            .map_err(|error| shared.server.no_replication(error))?;
        health::check_origin(Some(&shared.origin), &found)?;
        let from = self.assembler.progress().start();
        self.check_slot(from).await?;
        let stream = Stream {
            slot: &config.slot,
            publication: &config.publication,
            from,
            stored: self.assembler.progress().acknowledged(),
            messages: shared.server.knows_messages(),
            streams_open: config.streams_open,
            patience: shared.server.patience,
        };
        let deadline = Instant::now() + SLOT_WAIT;
        loop {
            match connection.start_copy(&stream.command()).await {
                Ok(()) => break,
                Err(WireError::Server(error)) if error.code == "55006" => {
                    if Instant::now() < deadline {
                        tokio::time::sleep(SLOT_LOOK).await;
                        continue;
                    }
                    let holder = self.slot_holder().await?;
                    return Err(holder.map_or_else(
                        || failed("streaming", WireError::Server(error)),
                        ConnectError::from,
                    ));
                }
                Err(error) => return Err(shared.server.stream_failed(config, error)),
            }
        }
        tracing::info!(slot = config.slot, %from, "streaming");
        self.replication = Some(Replication::spawn(connection, &stream));
        Ok(())
    }

    async fn slot_holder(&mut self) -> Result<Option<Unhealthy>, ConnectError> {
        let shared = Arc::clone(&self.shared);
        let connection = self
            .catalog()
            .await
            .map_err(|error| failed("looking for the replication slot", error))?;
        shared
            .server
            .slot_holder(connection, &shared.config.slot)
            .await
    }

    async fn check_slot(&mut self, from: Lsn) -> Result<(), ConnectError> {
        let shared = Arc::clone(&self.shared);
        let config = &shared.config;
        let connection = self
            .catalog()
            .await
            .map_err(|error| failed("looking for the replication slot", error))?;
        let slot = config.slot.clone();
        match shared.server.slot(connection, &slot).await? {
            Slot::Missing => Err(Unhealthy::SlotMissing { slot, stored: from }.into()),
            Slot::Lost(reason) => Err(Unhealthy::SlotLost { slot, reason }.into()),
            Slot::Usable(confirmed)
                if confirmed > from && config.mismatch == Mismatch::TrustOffset =>
            {
                Err(Unhealthy::OffsetBehind {
                    slot,
                    stored: from,
                    confirmed,
                }
                .into())
            }
            Slot::Usable(_) => Ok(()),
        }
    }
}
