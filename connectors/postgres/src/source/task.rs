//! The task: from a stored offset and a slot into a snapshot or the stream, and from one into the other.

use std::sync::Arc;

use async_trait::async_trait;
use connect_api::{
    ConnectError, Header, Mail, Mailbox, Poll, PollBudget, Progress, SourceOffset, SourceOffsets,
    SourceTask, TaskContext, Text, Undeclared, Value,
};

use super::assemble::Mark;
use super::catalog::{self, TableEntry};
use super::config::{self, SnapshotMode, SourceConfig};
use super::discovery::Discovery;
use super::envelope::Envelopes;
use super::health::{self, Server};
use super::lag::Watch;
use super::letters::Letters;
use super::lsn::Lsn;
use super::offset::{self, Offset, Origin};
use super::plan::{self, Plan, Slot, SlotAction};
use super::progress::Position;
use super::publication;
use super::slot::{create_slot, drop_slot, drop_slot_with};
use super::snapshot::{Beginning, Snapshot, Taken};
use super::stream::Streaming;
use super::unhealthy::failed;
use super::wire::{Connection, Purpose, text};
use super::{Shared, captured, check_keys, connect, now_ns, refused, stored_offset};

/// What a snapshot reads: what the publication sends, and how.
struct Readable {
    via_root: bool,
    published: Vec<catalog::Published>,
}

/// The life of a task, in order of travel.
#[derive(Default)]
enum Phase {
    /// Nothing runs: before the start, and after a failure.
    #[default]
    Idle,
    /// Tables are read; afterwards there is a stream, or not.
    Reading(Box<Snapshot>, Arc<Shared>),
    /// Changes are streamed.
    Streaming(Box<Streaming>, Arc<Shared>),
    /// There is nothing left to do.
    Finished,
}

#[derive(Default)]
pub(super) struct PostgresSourceTask {
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
        self.offset = stored_offset(&config, &offsets)?;
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

async fn current_position(sql: &mut Connection) -> Result<Lsn, ConnectError> {
    let rows = sql
        .query("SELECT pg_current_wal_lsn()")
        .await
        .map_err(|error| failed("asking for the position of the write-ahead log", error))?;
    let row = rows.first().cloned().unwrap_or_default();
    text(&row, 0).parse().map_err(ConnectError::Fatal)
}
