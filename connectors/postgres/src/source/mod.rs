//! The change capture source: a PostgreSQL database's tables and their changes as records in Debezium's format.
//!
//! ```text
//!               plan: offset, slot, snapshot mode
//!                        │
//!        ┌───────────────┴───────────────┐
//!        ▼                               ▼
//!  snapshot (wire: SQL)        stream (replication ◀─ wire: walsender), and beside it chunks of tables (incremental)
//!   tables as of one moment      pgoutput ─▶ assemble (progress, view) ─▶ envelope (table, render)
//!        │                               │
//!        └───────────▶ records + offset ◀┘        committed ─▶ acknowledged to the slot
//! ```
//!
//! Invariants:
//! 1. The slot is told of nothing that is not in the log: only `committed` acknowledges.
//! 2. Every batch has the offset behind its last record; a task that resumes there repeats and leaves out nothing.
//! 3. What is lost at the server (slot, log, another cluster) is an error with what mends it, never passed over.
//! 4. A value reads the same whether a snapshot or the stream brought it.

mod assemble;
mod catalog;
mod chunks;
mod config;
mod declared;
mod discovery;
mod envelope;
mod filter;
mod gone;
mod health;
mod incremental;
mod kind;
mod lag;
mod letters;
mod literal;
mod lsn;
mod numeric;
mod offset;
mod pgoutput;
mod pieces;
mod plan;
mod progress;
mod publication;
mod reader;
mod render;
mod replication;
mod select;
mod signal;
mod snapshot;
mod spool;
mod stream;
mod table;
mod temporal;
mod unhealthy;
mod view;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use connect_api::{
    AlteredOffset, ConfigDef, ConfigMap, ConnectError, ConnectorKind, ConnectorPlugin,
    DeclaredTable, FieldIssue, Header, Mail, Mailbox, Poll, PollBudget, Progress, SoleUse,
    SourceOffset, SourceOffsets, SourceTask, TableSource, Task, TaskContext, Text, Undeclared,
    Value,
};

use assemble::Mark;
use catalog::TableEntry;
use config::{SnapshotMode, SourceConfig};
use discovery::Discovery;
use envelope::Envelopes;
use health::Server;
use lag::Watch;
use letters::Letters;
use lsn::Lsn;
use offset::{Offset, Origin};
use plan::{Plan, Refusal, Slot, SlotAction};
use progress::Position;
use snapshot::{Beginning, Snapshot, Taken};
use stream::Streaming;
use unhealthy::{Unhealthy, failed};
use wire::{Connection, Purpose, WireError, quoted, text};

/// `validate` has ten seconds in all.
const VALIDATE_TIMEOUT: Duration = Duration::from_secs(9);
/// How long a slot that is to be dropped may be in use: the server notices late that its reader is gone.
const SLOT_BUSY_MAX: Duration = Duration::from_secs(7);
/// Between attempts at it.
const SLOT_BUSY_LOOK: Duration = Duration::from_millis(100);
/// SQLSTATE.
const OBJECT_IN_USE: &str = "55006";

/// Debezium's PostgreSQL connector: change data capture through logical decoding.
#[derive(Debug, Clone, Copy, Default)]
pub struct PostgresSource;

#[async_trait]
impl ConnectorPlugin for PostgresSource {
    fn class(&self) -> &'static str {
        "io.debezium.connector.postgresql.PostgresConnector"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["PostgresConnector", "postgres-cdc"]
    }

    fn kind(&self) -> ConnectorKind {
        ConnectorKind::Source
    }

    fn config_def(&self) -> ConfigDef {
        config::def()
    }

    fn undeclared(&self, key: &str) -> Undeclared {
        config::undeclared(key)
    }

    async fn validate(&self, config: &ConfigMap) -> Vec<FieldIssue> {
        let checked = tokio::time::timeout(VALIDATE_TIMEOUT, check(config)).await;
        let found = checked.unwrap_or_else(|_| vec![unanswered()]);
        let issue = |error| match error {
            ConnectError::Config { key, message } => FieldIssue { key, message },
            other => {
                let message = other.to_string();
                let key = unreached_key(config, &message).to_owned();
                FieldIssue { key, message }
            }
        };
        found.into_iter().map(issue).collect()
    }

    fn task_configs(&self, config: &ConfigMap, _: u32) -> Result<Vec<ConfigMap>, ConnectError> {
        // A slot has one reader, and its order is the order of commits.
        Ok(vec![config.clone()])
    }

    async fn alter_offsets(
        &self,
        config: &ConfigMap,
        offsets: &[AlteredOffset],
    ) -> Result<bool, ConnectError> {
        let config = SourceConfig::parse(config)?;
        let expected = offset::partition(&config.prefix);
        for altered in offsets {
            if config.letters(&altered.partition) {
                letters::check(altered)?;
                continue;
            }
            let shown = serde_json::Value::Object(altered.partition.clone());
            if altered.partition != expected {
                return Err(ConnectError::Data(format!(
                    "partition {shown} is none of this connector; it has {}",
                    serde_json::Value::Object(expected)
                )));
            }
            if let Some(offset) = &altered.offset {
                Offset::from_json(offset).map_err(|reason| {
                    ConnectError::Data(format!(
                        "the offset of partition {shown} cannot be read: {reason}"
                    ))
                })?;
            }
        }
        Ok(true)
    }

    fn tables(&self) -> Option<&dyn TableSource> {
        Some(self)
    }

    fn task(&self) -> Task {
        Task::Source(Box::new(PostgresSourceTask {
            context: None,
            offset: None,
            stored: Lsn(0),
            phase: Phase::Idle,
            watch: Watch::default(),
            discovery: Discovery::default(),
            letters: Letters::default(),
        }))
    }
}

#[async_trait]
impl TableSource for PostgresSource {
    fn aliases(&self) -> &'static [(&'static str, &'static str)] {
        declared::ALIASES
    }

    fn config(&self, name: &str, options: &ConfigMap) -> Result<ConfigMap, ConnectError> {
        declared::config(name, options)
    }

    async fn table(&self, config: &ConfigMap) -> Result<DeclaredTable, ConnectError> {
        let looked = tokio::time::timeout(VALIDATE_TIMEOUT, declared::table(config)).await;
        looked
            .unwrap_or_else(|_| Err(unanswered()))
            .map_err(|error| match error {
                ConnectError::Config { .. } => error,
                other => {
                    let message = other.to_string();
                    ConnectError::config(unreached_key(config, &message), message)
                }
            })
    }

    fn sole_uses(&self, config: &ConfigMap) -> Vec<SoleUse> {
        declared::sole_uses(config)
    }

    async fn remove(&self, config: &ConfigMap) -> Vec<String> {
        declared::remove(config).await
    }
}

fn unanswered() -> ConnectError {
    ConnectError::Transient(format!(
        "the server did not answer within {} s",
        VALIDATE_TIMEOUT.as_secs()
    ))
}

/// The key at which a database that was not reached is told: a host that refuses is there, and nobody listens at the port.
fn unreached_key(config: &ConfigMap, message: &str) -> &'static str {
    let refused = message.contains("Connection refused");
    match refused && config.contains_key("database.port") {
        true => "database.port",
        false => "database.hostname",
    }
}

/// Everything that keeps a configuration from working at this server; changes nothing there.
async fn check(map: &ConfigMap) -> Vec<ConnectError> {
    let mut issues = Vec::new();
    if let Err(error) = look(map, &mut issues).await {
        issues.push(error);
    }
    issues
}

/// Collects what is wrong; an error is what keeps from looking on.
async fn look(map: &ConfigMap, issues: &mut Vec<ConnectError>) -> Result<(), ConnectError> {
    let config = SourceConfig::parse(map)?;
    let (mut sql, server) = connect(&config).await?;
    let (captured, existing) = captured(&mut sql, &config, config.via_root).await?;
    let tables = health::check_tables(&captured, existing, &config);
    issues.extend(tables.err().map(ConnectError::from));
    issues.extend(check_keys(&mut sql, &config, &captured).await.err());
    if config.snapshot_mode != SnapshotMode::NoData {
        let unreadable = server.unreadable(&mut sql, &captured).await?;
        issues.extend(unreadable.into_iter().map(ConnectError::from));
    }
    if config.snapshot_mode == SnapshotMode::InitialOnly {
        return Ok(());
    }
    let publication = server
        .publication_issue(&mut sql, &config, &captured)
        .await?;
    issues.extend(publication.map(ConnectError::from));
    issues.extend(server.slot(&mut sql, &config.slot).await.err());
    if let Err(error) = server.can_stream() {
        issues.push(error.into());
        return Ok(());
    }
    let mut replication = Connection::open(&config.address, Purpose::Replication)
        .await
        .map_err(|error| server.no_replication(error))?;
    health::identify(&mut replication)
        .await
        .map_err(|error| server.no_replication(error))?;
    Ok(())
}

async fn connect(config: &SourceConfig) -> Result<(Connection, Server), ConnectError> {
    let mut sql = Connection::open(&config.address, Purpose::Sql)
        .await
        .map_err(|error| failed("connecting", error))?;
    let server = Server::ask(&mut sql).await?;
    Ok((sql, server))
}

/// The captured tables, and how many tables there are.
async fn captured(
    sql: &mut Connection,
    config: &SourceConfig,
    via_root: bool,
) -> Result<(Vec<TableEntry>, usize), ConnectError> {
    let mut tables = catalog::tables(sql, via_root)
        .await
        .map_err(|error| failed("listing the tables", error))?;
    let existing = tables.len();
    tables.retain(|table| {
        config.capture.table(&table.schema, &table.name)
            || config.is_signals(&table.schema, &table.name)
    });
    Ok((tables, existing))
}

/// Whether the columns of keys that were chosen by hand exist.
async fn check_keys(
    sql: &mut Connection,
    config: &SourceConfig,
    tables: &[TableEntry],
) -> Result<(), ConnectError> {
    for table in tables {
        let Some(key) = config.capture.key(&table.schema, &table.name) else {
            continue;
        };
        let columns = catalog::columns(sql, table.oid)
            .await
            .map_err(|error| failed("looking up a table", error))?;
        let missing = key
            .iter()
            .find(|name| !columns.iter().any(|column| column.column.name == **name));
        if let Some(missing) = missing {
            let names: Vec<&str> = columns
                .iter()
                .map(|column| column.column.name.as_str())
                .collect();
            return Err(ConnectError::config(
                "message.key.columns",
                format!(
                    "table {}.{} has no column {missing}; it has {}",
                    table.schema,
                    table.name,
                    names.join(", ")
                ),
            ));
        }
    }
    Ok(())
}

/// What all parts of a run have in common.
struct Shared {
    config: Arc<SourceConfig>,
    envelopes: Arc<Envelopes>,
    server: Server,
    origin: Origin,
}

/// What a snapshot reads: what the publication sends, and how.
struct Readable {
    via_root: bool,
    published: Vec<catalog::Published>,
}

/// The life of a task, in order of travel.
enum Phase {
    /// Nothing runs: before the start, and after a failure.
    Idle,
    /// Tables are read; afterwards there is a stream, or not.
    Reading(Box<Snapshot>, Arc<Shared>),
    /// Changes are streamed.
    Streaming(Box<Streaming>, Arc<Shared>),
    /// There is nothing left to do.
    Finished,
}

struct PostgresSourceTask {
    context: Option<TaskContext>,
    /// Behind everything that went out; `None` where nothing ever did.
    offset: Option<Offset>,
    /// Everything before is in the log; `offset` may be ahead of it.
    stored: Lsn,
    phase: Phase,
    /// Looks after the slot.
    watch: Watch,
    /// Looks for tables that were made since.
    discovery: Discovery,
    /// What came by the topic of signals.
    letters: Letters,
}

#[async_trait]
impl SourceTask for PostgresSourceTask {
    async fn start(
        &mut self,
        context: TaskContext,
        offsets: SourceOffsets,
    ) -> Result<(), ConnectError> {
        let config = SourceConfig::parse(&context.config)?;
        let without_effect = |key: &&String| config::undeclared(key) == Undeclared::WithoutEffect;
        for key in context.config.keys().filter(without_effect) {
            tracing::warn!(
                connector = context.connector,
                key,
                "recognised, not supported"
            );
        }
        self.offset = match offsets.get(&offset::partition(&config.prefix)) {
            None => None,
            Some(stored) => Some(Offset::from_json(stored).map_err(|reason| {
                ConnectError::Fatal(format!(
                    "the stored offset of {} cannot be read: {reason}",
                    config.prefix
                ))
            })?),
        };
        self.letters = Letters::begin(&config, &offsets);
        self.stored = self
            .offset
            .as_ref()
            .map(|offset| offset.position.end)
            .unwrap_or_default();
        self.context = Some(context);
        self.begin(config).await
    }

    fn mailbox(&self) -> Option<Mailbox> {
        self.letters.mailbox()
    }

    fn deliver(&mut self, mail: Vec<Mail>) {
        self.letters.take(mail);
    }

    async fn poll(&mut self, budget: PollBudget) -> Result<Poll, ConnectError> {
        // Tables that are read, and what asked for them, come before.
        if let Phase::Streaming(streaming, _) = &mut self.phase
            && !streaming.is_asked()
            && let Some((signals, told)) = self.letters.next()
        {
            return Ok(streaming.told(signals, told));
        }
        if let Phase::Streaming(streaming, _) = &mut self.phase
            && let Some(offset) = streaming.requested()
        {
            self.offset = Some(offset);
            if let Phase::Streaming(mut streaming, _) =
                std::mem::replace(&mut self.phase, Phase::Idle)
            {
                streaming.stop().await;
            }
        }
        if matches!(self.phase, Phase::Idle) {
            // A failure ended the snapshot: it goes on under another one.
            let Some(context) = &self.context else {
                return Err(ConnectError::Fatal(
                    "a task was polled before it was started".to_owned(),
                ));
            };
            let config = SourceConfig::parse(&context.config)?;
            self.begin(config).await?;
        }
        if let Phase::Streaming(_, shared) | Phase::Reading(_, shared) = &self.phase
            && shared.config.snapshot_mode != SnapshotMode::InitialOnly
        {
            self.watch.look(shared).await;
        }
        if let Phase::Streaming(streaming, shared) = &mut self.phase
            && !streaming.is_reading()
        {
            let new = self.discovery.look(shared).await;
            if !new.is_empty() {
                return Ok(streaming.discovered(&new));
            }
        }
        match &mut self.phase {
            Phase::Idle => Ok(Poll::Idle),
            Phase::Finished => Ok(Poll::Done),
            Phase::Streaming(streaming, _) => streaming.poll(budget).await,
            Phase::Reading(snapshot, shared) => {
                let shared = Arc::clone(shared);
                match snapshot.poll(budget).await {
                    Ok(None) => Ok(Poll::Idle),
                    Ok(Some(Taken {
                        records,
                        rejected,
                        offset,
                    })) => {
                        let json = offset.to_json();
                        let completed = offset.snapshot == offset::Snapshot::Completed;
                        if completed {
                            self.phase = after_snapshot(&shared, &offset, self.stored);
                        }
                        self.offset = Some(offset);
                        Ok(Poll::Batch {
                            records,
                            rejected,
                            offsets: vec![SourceOffset {
                                partition: offset::partition(&shared.config.prefix),
                                offset: json,
                            }],
                        })
                    }
                    Err(error) => {
                        self.phase = Phase::Idle;
                        Err(error)
                    }
                }
            }
        }
    }

    async fn committed(&mut self, offsets: &[SourceOffset]) -> Result<(), ConnectError> {
        let (shared, mut streaming) = match &mut self.phase {
            Phase::Streaming(streaming, shared) => (shared, Some(streaming)),
            Phase::Reading(_, shared) => (shared, None),
            Phase::Idle | Phase::Finished => return Ok(()),
        };
        let partition = offset::partition(&shared.config.prefix);
        for stored in offsets
            .iter()
            .filter(|stored| stored.partition == partition)
        {
            let end = stored
                .offset
                .get("lsn_commit")
                .and_then(serde_json::Value::as_u64);
            let Some(end) = end.map(Lsn) else {
                continue;
            };
            self.stored = self.stored.max(end);
            if let Some(streaming) = &mut streaming {
                streaming.committed(end);
            }
        }
        Ok(())
    }

    fn progress(&self) -> Progress {
        let mut progress = match &self.phase {
            Phase::Idle => Progress {
                phase: Some("connecting"),
                ..Progress::default()
            },
            Phase::Finished => Progress {
                phase: Some("finished"),
                ..Progress::default()
            },
            Phase::Reading(snapshot, _) => snapshot.progress(),
            Phase::Streaming(streaming, _) => streaming.progress(),
        };
        if let Some(lag) = self.watch.found() {
            progress
                .figures
                .push(("slot_lag_bytes", lag.confirmed_bytes));
            progress.figures.push(("slot_kept_bytes", lag.kept_bytes));
            let safe = lag.safe_bytes.map(|safe| ("slot_safe_bytes", safe));
            progress.figures.extend(safe);
        }
        progress.notes = self.watch.notes();
        progress
    }

    async fn stop(&mut self) {
        self.watch.stop().await;
        self.discovery.stop().await;
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Streaming(mut streaming, shared) => {
                streaming.stop().await;
                if shared.config.slot_drop_on_stop
                    && let Err(error) = drop_slot(&shared.config).await
                {
                    tracing::warn!(%error, slot = shared.config.slot, "the slot was not dropped");
                }
            }
            Phase::Idle | Phase::Reading(..) | Phase::Finished => {}
        }
    }
}

impl PostgresSourceTask {
    /// Connects, checks, and enters the phase that the plan says.
    async fn begin(&mut self, config: SourceConfig) -> Result<(), ConnectError> {
        let (mut sql, server) = connect(&config).await?;
        let (mut tables, existing) = captured(&mut sql, &config, config.via_root).await?;
        health::check_tables(&tables, existing, &config)?;
        check_keys(&mut sql, &config, &tables).await?;
        let streams = config.snapshot_mode != SnapshotMode::InitialOnly;
        let (replication, origin) = if streams {
            server.can_stream()?;
            let mut replication = Connection::open(&config.address, Purpose::Replication)
                .await
                .map_err(|error| server.no_replication(error))?;
            let origin = health::identify(&mut replication)
                .await
                .map_err(|error| server.no_replication(error))?;
            (Some(replication), origin)
        } else {
            (None, Origin::default())
        };
        let stored = self.offset.as_ref();
        let mut readable = Readable {
            via_root: config.via_root,
            published: Vec::new(),
        };
        if streams {
            health::check_origin(stored.and_then(|offset| offset.origin.as_ref()), &origin)?;
            // Before the slot: it is looked up as of the slot's position.
            let streamed = stored.filter(|offset| offset.snapshot != offset::Snapshot::Running);
            let asked = streamed.and_then(|offset| offset.incremental.as_ref());
            let asked = |table: &TableEntry| {
                asked.is_some_and(|asked| asked.request.names(&table.schema, &table.name))
            };
            match streamed {
                Some(_) => {
                    server
                        .publication_again(&mut sql, &config, &tables, asked)
                        .await?;
                }
                None => server.publication(&mut sql, &config, &tables).await?,
            }
            readable.via_root = server
                .publishes_via_root(&mut sql, &config.publication)
                .await?;
            if readable.via_root != config.via_root {
                // What is read has to be what is sent.
                (tables, _) = captured(&mut sql, &config, readable.via_root).await?;
            }
            readable.published = server.published(&mut sql, &config.publication).await?;
            publication::warn_of_unpublished(&tables, &readable.published, &config.publication);
            server.warn_of_limits(&config.slot);
        }
        let slot = if streams {
            server.slot(&mut sql, &config.slot).await?
        } else {
            Slot::Missing
        };
        let plan = plan::plan(config.snapshot_mode, config.mismatch, stored, &slot)
            .map_err(|refusal| refused(&config, stored, refusal))?;
        let shared = Arc::new(self.shared(config, server, origin));
        self.phase = self
            .enter(plan, slot, shared, &mut sql, replication, readable)
            .await?;
        Ok(())
    }

    fn shared(&self, config: SourceConfig, server: Server, origin: Origin) -> Shared {
        let envelopes = Envelopes::new(
            &config.prefix,
            &config.address.database,
            config.rendering.clone(),
            config.tombstones,
            self.headers(&config),
        );
        Shared {
            config: Arc::new(config),
            envelopes: Arc::new(envelopes),
            server,
            origin,
        }
    }

    fn headers(&self, config: &SourceConfig) -> Vec<Header> {
        let Some(context) = self.context.as_ref().filter(|_| config.context_headers) else {
            return Vec::new();
        };
        let run = format!("{:016x}-{:08x}", now_ns(), std::process::id());
        [
            ("connectorLogicalName", config.prefix.clone()),
            ("taskId", context.task.to_string()),
            ("connectorName", "postgresql".to_owned()),
            ("runId", run),
        ]
        .map(|(name, value)| Header {
            name: Text::from(format!("__debezium.context.{name}")),
            value: Value::text(value),
        })
        .into()
    }

    async fn enter(
        &mut self,
        plan: Plan,
        slot: Slot,
        shared: Arc<Shared>,
        sql: &mut Connection,
        mut replication: Option<Connection>,
        readable: Readable,
    ) -> Result<Phase, ConnectError> {
        let confirmed = match slot {
            Slot::Usable(confirmed) => confirmed,
            Slot::Missing | Slot::Lost(_) => Lsn(0),
        };
        let action = match plan {
            Plan::Finished => return Ok(Phase::Finished),
            Plan::Read { slot, .. } | Plan::Stream { slot, .. } => slot,
        };
        let export = matches!(plan, Plan::Read { .. });
        let made = match (action, replication.as_mut()) {
            (SlotAction::Create | SlotAction::Recreate, Some(connection)) => {
                if action == SlotAction::Recreate {
                    drop_slot_with(connection, &shared.config.slot).await?;
                }
                Some(create_slot(connection, &shared.config.slot, export).await?)
            }
            _ => None,
        };
        self.stored = match &made {
            // Nothing before is streamed through it.
            Some(made) => made.consistent,
            None => self.stored.max(confirmed),
        };
        let stored = self.offset.as_ref();
        match plan {
            Plan::Finished => Ok(Phase::Finished),
            Plan::Stream { stored: true, .. } => {
                let offset = stored.cloned();
                let mark = offset
                    .as_ref()
                    .map(|offset| mark_of(offset, self.stored))
                    .unwrap_or_default();
                let (scans, incremental) = offset
                    .map(|offset| (offset.scans, offset.incremental))
                    .unwrap_or_default();
                let streaming = Streaming::new(Arc::clone(&shared), mark, scans, incremental);
                Ok(Phase::Streaming(Box::new(streaming), shared))
            }
            Plan::Stream { stored: false, .. } => {
                let end = made.map_or(confirmed, |made| made.consistent);
                let mark = Mark {
                    position: Position { end, inside: None },
                    commit_us: 0,
                    stored: self.stored,
                };
                let streaming = Streaming::new(Arc::clone(&shared), mark, Vec::new(), None);
                Ok(Phase::Streaming(Box::new(streaming), shared))
            }
            Plan::Read { resume, from, .. } => {
                let start = match (&made, from) {
                    (Some(made), _) => made.consistent,
                    (None, Some(from)) => from,
                    (None, None) if action == SlotAction::None => current_position(sql).await?,
                    (None, None) => confirmed,
                };
                let resumed = stored.filter(|_| resume);
                let scans = resumed.map(|offset| offset.scans.clone());
                let beginning = Beginning {
                    exported: made.and_then(|made| made.snapshot),
                    start,
                    scans: scans.unwrap_or_default(),
                    request: resumed.and_then(|offset| offset.request.clone()),
                    incremental: resumed.and_then(|offset| offset.incremental.clone()),
                    via_root: readable.via_root,
                    published: readable.published,
                };
                // The connection that exported the snapshot lives until it is taken.
                let snapshot = Snapshot::begin(Arc::clone(&shared), beginning).await?;
                drop(replication);
                Ok(Phase::Reading(Box::new(snapshot), shared))
            }
        }
    }
}

fn after_snapshot(shared: &Arc<Shared>, offset: &Offset, stored: Lsn) -> Phase {
    if shared.config.snapshot_mode == SnapshotMode::InitialOnly {
        return Phase::Finished;
    }
    let mark = mark_of(offset, stored);
    let (scans, incremental) = (offset.scans.clone(), offset.incremental.clone());
    let streaming = Streaming::new(Arc::clone(shared), mark, scans, incremental);
    Phase::Streaming(Box::new(streaming), Arc::clone(shared))
}

fn mark_of(offset: &Offset, stored: Lsn) -> Mark {
    Mark {
        position: offset.position,
        commit_us: offset.commit_us,
        stored,
    }
}

fn refused(config: &SourceConfig, stored: Option<&Offset>, refusal: Refusal) -> ConnectError {
    let slot = config.slot.clone();
    match refusal {
        Refusal::SlotMissing => Unhealthy::SlotMissing {
            slot,
            stored: stored.map(|offset| offset.position.end).unwrap_or_default(),
        },
        Refusal::SlotLost(reason) => Unhealthy::SlotLost { slot, reason },
        Refusal::OffsetBehind { stored, confirmed } => Unhealthy::OffsetBehind {
            slot,
            stored,
            confirmed,
        },
    }
    .into()
}

/// A slot that was just made.
struct Made {
    /// Everything that is committed behind it is streamed.
    consistent: Lsn,
    /// The snapshot that sees everything before, while the connection lives.
    snapshot: Option<String>,
}

async fn create_slot(
    connection: &mut Connection,
    slot: &str,
    export: bool,
) -> Result<Made, ConnectError> {
    let snapshot = if export {
        "EXPORT_SNAPSHOT"
    } else {
        "NOEXPORT_SNAPSHOT"
    };
    let rows = connection
        .query(&format!(
            "CREATE_REPLICATION_SLOT {} LOGICAL pgoutput {snapshot}",
            quoted(slot)
        ))
        .await
        .map_err(|error| failed("making the replication slot", error))?;
    let row = rows.first().cloned().unwrap_or_default();
    let consistent = text(&row, 1).parse().map_err(ConnectError::Fatal)?;
    tracing::info!(slot, %consistent, "made the replication slot");
    Ok(Made {
        consistent,
        snapshot: Some(text(&row, 2)).filter(|name| !name.is_empty()),
    })
}

/// Drops the slot once nobody reads it, which is not waited for without end: a server that waits for it (`WAIT`) goes on when
/// nobody asks any more, and drops what may be another reader's by then.
async fn drop_slot_with(connection: &mut Connection, slot: &str) -> Result<(), ConnectError> {
    let deadline = Instant::now() + SLOT_BUSY_MAX;
    let statement = format!("DROP_REPLICATION_SLOT {}", quoted(slot));
    loop {
        match connection.query(&statement).await {
            Ok(_) => return Ok(()),
            Err(WireError::Server(error))
                if error.code == OBJECT_IN_USE && Instant::now() < deadline =>
            {
                tokio::time::sleep(SLOT_BUSY_LOOK).await;
            }
            Err(error) => return Err(failed("dropping the replication slot", error)),
        }
    }
}

async fn drop_slot(config: &SourceConfig) -> Result<(), ConnectError> {
    let mut connection = Connection::open(&config.address, Purpose::Replication)
        .await
        .map_err(|error| failed("dropping the replication slot", error))?;
    drop_slot_with(&mut connection, &config.slot).await
}

async fn current_position(sql: &mut Connection) -> Result<Lsn, ConnectError> {
    let rows = sql
        .query("SELECT pg_current_wal_lsn()")
        .await
        .map_err(|error| failed("asking for the position of the write-ahead log", error))?;
    let row = rows.first().cloned().unwrap_or_default();
    text(&row, 0).parse().map_err(ConnectError::Fatal)
}

/// Nanoseconds since 1970.
fn now_ns() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    u64::try_from(now_ns() / 1_000_000).unwrap_or(0)
}
