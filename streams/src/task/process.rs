//! The task itself: turns and commits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log_api::{TopicPartition, TransactionOptions};
use uuid::Uuid;

use super::commit::{Commit, Decision, Situation, Written};
use super::inputs::{Inputs, QueryStart, chunk_of, group_positions, report};
use super::recovery::{Restore, Restored, check_group, manifest_key, restore, together};
use super::refresh::revision_of;
use super::saving::Saving;
use super::search::BadRow;
use super::tokens::{Token, Tokens};
use super::writer::{Block, Writer};
use super::{Environment, Progress, TaskError};
use crate::memory::{MemoryAccount, MemoryUser};
use crate::operator::{Effects, Graph, Memory, OperatorError};
use crate::plan::{Fragments, NodeKind, PlanNode, StateManifest, StreamPlan};
use crate::sink::Sink;
use crate::source::SourceBatch;
use crate::state::{
    BlockHeader, Delta, ENTRY_BYTES_MAX, SinkPlace, SourcePosition, State, StateStore, Tag,
};
use crate::tally::{Tally, tally_key};
use crate::time::Watermark;
use crate::view::CommitInfo;
use crate::worker::Alive;

/// `max.message.bytes` of a topic that does not say.
const MESSAGE_BYTES_DEFAULT: usize = 1 << 20;
/// Where nothing but event time has moved, a commit may wait so long, ms.
const TIME_COMMIT_MS: i64 = 1_000;

/// What waits for a commit may take this part of a job's memory: a commit makes deltas, blocks and records of it.
const WAITING_PART: usize = 8;
/// What operators have at hand of their state may take this part.
const CACHE_PART: usize = 2;
/// A row brings forth so much, a little more than it mostly does: so many are taken at a time as there is room for.
const ROW_BYTES: usize = 256;

/// A job whose turns take so long is not to hold up others meanwhile.
const SLOW_TURN: Duration = Duration::from_millis(20);

/// How opening ended.
pub(crate) enum Opened {
    /// Ready to run.
    Task(Box<Task>),
    /// The local store of a token is not of this log: open again with an empty one.
    Discard {
        /// Which token.
        token: usize,
        /// What does not fit.
        reason: String,
    },
}

/// What a turn did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Rows were read; there may be more.
    Busy,
    /// A commit went through.
    Committed,
    /// Nothing to do for at most this long (ms).
    Idle(i64),
}

/// See the module.
pub(crate) struct Task {
    environment: Environment,
    writer: Writer,
    inputs: Inputs,
    tokens: Tokens,
    /// What it holds of the memory of jobs, and what its operators may.
    account: MemoryAccount,
    memory: Memory,
    commit: Commit,
    /// What the last commit said.
    committed: BlockHeader,
    /// What the state looks like, until the first commit has said so.
    unwritten_manifest: Option<Vec<u8>>,
    /// What was counted before this task was opened, and up to the last commit.
    counted: Tally,
    tallied: Tally,
    /// Rows read up to the last commit, and the last row read.
    rows_committed: u64,
    last_row: Option<(TopicPartition, i64)>,
    /// Event time that the operators have been told of.
    told: BTreeMap<usize, Watermark>,
    /// Event time of the output at the last commit, and when that was.
    committed_time: Watermark,
    committed_ms: i64,
    /// The last turn took long.
    is_slow: bool,
    saving: Saving,
    alive: Alive,
}

/// What sinks have to know of the topic.
struct Output {
    partitions: i32,
    message_bytes: usize,
}

impl Task {
    /// Fences whoever ran the job before, restores the state, and stands ready where the last commit ended. Rows that the plan
    /// gives without input are committed before: who may read the state never sees it without them.
    ///
    /// # Errors
    /// See [`TaskError`]; its `event` says whether it is worth another attempt.
    pub(crate) async fn open(
        environment: Environment,
        stores: Vec<Arc<dyn StateStore>>,
        changelog: Uuid,
        alive: Alive,
        now_ms: i64,
    ) -> Result<Opened, TaskError> {
        let names = &environment.names;
        let options = TransactionOptions {
            transactional_id: names.transactional_id.clone(),
            timeout: (environment.commit_interval * 10).max(Duration::from_secs(10)),
        };
        let transaction = environment.log.transaction(options).await?;
        let mut parts = Vec::with_capacity(stores.len());
        for (token, store) in stores.iter().enumerate() {
            let changelog = names.changelog_of(token);
            let spec = &environment.spec;
            match restore(&environment.log, &**store, &changelog, spec).await? {
                Restore::Done(restored) => parts.push(restored),
                Restore::Discard { reason } => return Ok(Opened::Discard { token, reason }),
            }
        }
        let restored = together(parts, &names.changelog)?;
        check_group(&environment.log, &names.group, &restored).await?;
        let plan = &restored.plan;
        let sources = &restored.header.sources;
        let mut inputs = Inputs::open(
            &environment.log,
            plan,
            sources,
            QueryStart::Earliest,
            environment.source,
        )
        .await?;
        inputs.skip(environment.search.lock().found());
        let counted = match stores.first() {
            Some(first) => first.get(&tally_key())?,
            None => None,
        };
        let counted = counted.and_then(|bytes| Tally::decode(&bytes));
        let counted = counted.unwrap_or_default();
        let (sink, place) = Self::find_sink(&environment, &restored).await?;
        let memory = Memory::new(0);
        let open = (stores.clone(), &memory);
        let tokens = Self::open_tokens(&environment, plan, open, &sink, alive.clone())?;
        // Partitions that are new start where the source found their beginning.
        let committed = BlockHeader {
            sink: place,
            sources: inputs.positions(),
        };
        let mut task = Self {
            writer: Writer::new(transaction, environment.clone()),
            inputs,
            tokens,
            account: environment.budget.account(MemoryUser::Jobs),
            memory,
            commit: Commit::new(
                i64::try_from(environment.commit_interval.as_millis()).unwrap_or(i64::MAX),
                environment.dirty_bytes_max,
                restored.commit,
                now_ms,
            ),
            committed,
            unwritten_manifest: (restored.commit == 0)
                .then(|| StateManifest::of(plan, &environment.spec.sink).encode()),
            tallied: counted.clone(),
            counted,
            rows_committed: 0,
            last_row: None,
            told: BTreeMap::new(),
            committed_time: Watermark::None,
            committed_ms: now_ms,
            is_slow: false,
            saving: Saving::new(
                environment.snapshots.clone(),
                &environment.spec.name,
                changelog,
            ),
            alive,
            environment,
        };
        task.make_room();
        let revision = task.environment.spec.revision;
        let rows_are_of = stores
            .first()
            .map_or(Ok(0), |first| revision_of(&**first))?;
        if rows_are_of != revision {
            task.tokens.set_revision(revision);
            if restored.commit > 0 {
                // It is one commit, whatever room that takes.
                task.tokens.set_room(task.account.room());
                // Its operators may have other names now.
                let manifest = StateManifest::of(plan, &task.environment.spec.sink);
                task.unwritten_manifest = Some(manifest.encode());
                task.counted.refresh();
                let refreshed = task.tokens.refresh(plan);
                refreshed.map_err(|error| task.outgrown(error))?;
            }
        }
        let reached = task.inputs.watermarks(now_ms);
        let ended = task.end_epoch(reached).await;
        ended.map_err(|error| task.outgrown(error))?;
        task.committed_time = task.tokens.watermark();
        let name = &task.environment.spec.name;
        task.environment.wakes.reads(name, task.inputs.topics());
        // What the plan gives by itself, the total over no rows say, is part of every state that may be read.
        if task.tokens.has_work() {
            task.commit.moved(now_ms);
            task.commit(now_ms).await?;
        }
        task.environment.shared.opened(
            stores,
            task.environment.spec.plan.schema().clone(),
            task.commit_info(),
            (task.counted.clone(), task.progress()),
        );
        tracing::info!(
            job = %task.environment.spec.name,
            commit = restored.commit,
            replayed = restored.replayed,
            tokens = task.tokens.count(),
            "job restored"
        );
        Ok(Opened::Task(Box::new(task)))
    }

    /// Operators and state of every token.
    fn open_tokens(
        environment: &Environment,
        plan: &StreamPlan,
        (stores, memory): (Vec<Arc<dyn StateStore>>, &Memory),
        output: &Output,
        alive: Alive,
    ) -> Result<Tokens, TaskError> {
        let spec = &environment.spec;
        let fragments = Arc::new(Fragments::of(plan, &spec.sink.key, stores.len()));
        let mut tokens = Vec::with_capacity(stores.len());
        for (number, store) in stores.into_iter().enumerate() {
            let state = State::new(store);
            let mut graph = Graph::build_token(plan, memory, &fragments, number);
            graph.open(&state)?;
            let (partitions, message_bytes) = (output.partitions, output.message_bytes);
            let mut sink = Sink::new(&spec.sink, spec.plan.schema(), partitions, message_bytes)?;
            sink.open(&state)?;
            let effects = Effects::recording(&environment.names.errors)
                .ended_by(environment.stop.cancel().clone());
            let fragments = Arc::clone(&fragments);
            tokens.push(Token::new(number, fragments, graph, state, effects, sink));
        }
        Ok(Tokens::new(fragments, tokens, alive))
    }

    /// The topic that the last commit wrote to.
    async fn find_sink(
        environment: &Environment,
        restored: &Restored,
    ) -> Result<(Output, SinkPlace), TaskError> {
        let spec = &environment.spec.sink;
        let described = environment.log.admin().describe_topic(&spec.topic).await?;
        let lost = |change| TaskError::TopicLost {
            topic: spec.topic.clone(),
            change,
        };
        let topic = described.ok_or_else(|| lost("was deleted"))?;
        let known = restored.header.sink;
        let place = if restored.commit == 0 {
            SinkPlace {
                topic_id: topic.id,
                partitions: topic.partitions,
            }
        } else if topic.partitions < known.partitions
            || !(known.topic_id.is_nil() || topic.id.is_nil() || known.topic_id == topic.id)
        {
            return Err(lost("was made anew"));
        } else {
            known
        };
        let message_bytes = topic
            .configs
            .get("max.message.bytes")
            .and_then(|value| value.parse().ok());
        let output = Output {
            partitions: place.partitions,
            message_bytes: message_bytes.unwrap_or(MESSAGE_BYTES_DEFAULT),
        };
        Ok((output, place))
    }

    /// Reads what is there, sends it through, and commits if that is due.
    ///
    /// # Errors
    /// The task is then of no further use.
    pub(crate) async fn turn(&mut self, now_ms: i64) -> Result<Turn, TaskError> {
        self.tokens.set_clock_us(clock_us(now_ms));
        let is_searching = self.environment.search.lock().step_rows().is_some();
        let batches = self.inputs.poll(now_ms, is_searching).await?;
        let is_busy = !batches.is_empty();
        if is_busy {
            let rows = batches.iter().map(|(_, batch)| batch.origin.rows.len());
            self.environment.shared.works_on(rows.sum::<usize>() as u64);
        }
        let processed = self.process(batches).await;
        processed.map_err(|error| self.outgrown(error))?;
        if !is_busy {
            // Event time may flow on with the clock, and close windows.
            let told = self.tell_time(now_ms).await;
            told.map_err(|error| self.outgrown(error))?;
        }
        self.account.set(self.tokens.size_bytes());
        // Event time alone may flow with the clock, which is no reason to commit all the time.
        let time_moved = self.tokens.watermark() != self.committed_time
            && now_ms.saturating_sub(self.committed_ms) >= TIME_COMMIT_MS;
        if is_busy || self.tokens.has_work() || self.has_advanced() || time_moved {
            self.commit.moved(now_ms);
        }
        let is_idle = !is_busy && self.inputs.are_caught_up();
        let shared = &self.environment.shared;
        shared.progressed(is_idle, || self.progress());
        let situation = Situation {
            now_ms,
            is_idle,
            dirty_bytes: self.tokens.dirty_bytes(),
            room_bytes: self.room() / 2,
        };
        let decision = match self.commit.decide(situation) {
            _ if is_searching && is_busy => Decision::Commit,
            decision => decision,
        };
        match decision {
            Decision::Commit => {
                self.commit(now_ms).await?;
                Ok(Turn::Committed)
            }
            Decision::Read(_) if is_busy => Ok(Turn::Busy),
            Decision::Read(wait_ms) => Ok(Turn::Idle(self.rest_ms(now_ms).min(wait_ms))),
        }
    }

    /// How long nothing is to be done unless something comes, ms.
    fn rest_ms(&self, now_ms: i64) -> i64 {
        let wakes = &self.environment.wakes;
        let sources = self.inputs.rest_ms(now_ms, |job| wakes.has(job));
        let is_time_due = self.tokens.watermark() != self.committed_time;
        let time = is_time_due.then(|| (self.committed_ms + TIME_COMMIT_MS - now_ms).max(1));
        let due_us = self.tokens.due_us();
        let clock = due_us.map(|due_us| due_ms(due_us).saturating_sub(now_ms).max(1));
        let waits = sources.into_iter().chain(time).chain(clock);
        waits.min().unwrap_or(i64::MAX)
    }

    /// Waits for rows, at most `wait_ms`. Cancel safe.
    ///
    /// # Errors
    /// From the log.
    pub(crate) async fn wait(&mut self, wait_ms: i64) -> Result<(), TaskError> {
        let wait = Duration::from_millis(wait_ms.max(0).unsigned_abs());
        Ok(self.inputs.wait(wait).await?)
    }

    /// Something besides rows has come: the next turn looks for it.
    pub(crate) fn woken(&mut self) {
        self.inputs.doubt_topics();
    }

    /// Commits what there is, if there is anything.
    ///
    /// # Errors
    /// The task is then of no further use.
    pub(crate) async fn finish(&mut self, now_ms: i64) -> Result<(), TaskError> {
        if self.commit.has_moved() {
            self.commit(now_ms).await?;
        }
        for store in self.tokens.stores() {
            store.flush()?;
        }
        Ok(())
    }

    async fn process(&mut self, batches: Vec<(usize, SourceBatch)>) -> Result<(), TaskError> {
        if batches.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        for (node, batch) in batches {
            let records = &batch.origin.records;
            let partition = records.partition.partition;
            if let Some(&record) = batch.origin.rows.values().last() {
                let offset = records.offsets.value(record as usize);
                self.last_row = Some((records.partition.clone(), offset));
            }
            report(&batch, &mut self.tokens.of_partition(partition).effects);
            if let Some(chunk) = chunk_of(batch) {
                self.tokens.take(node, partition, chunk)?;
            }
        }
        let processed = self.tokens.run(None, self.is_slow).await;
        self.is_slow = started.elapsed() >= SLOW_TURN;
        Ok(processed?)
    }

    /// Ends an epoch if event time has moved since the operators last heard of it, or the clock has something for them.
    async fn tell_time(&mut self, now_ms: i64) -> Result<(), TaskError> {
        let reached = self.inputs.watermarks(now_ms);
        let due_us = self.tokens.due_us();
        let is_due = due_us.is_some_and(|due_us| due_us <= clock_us(now_ms));
        if is_due || reached != self.told {
            self.end_epoch(reached).await?;
        }
        Ok(())
    }

    async fn end_epoch(&mut self, reached: BTreeMap<usize, Watermark>) -> Result<(), TaskError> {
        self.tokens.run(Some(&reached), self.is_slow).await?;
        self.told = reached;
        Ok(())
    }

    /// Whether a source stands elsewhere than at the last commit, also without a row: behind control records, say.
    fn has_advanced(&self) -> bool {
        let offsets = |sources: &[SourcePosition]| -> Vec<i64> {
            sources
                .iter()
                .flat_map(|source| source.partitions.iter().map(|(_, offset, _)| *offset))
                .collect()
        };
        offsets(&self.inputs.positions()) != offsets(&self.committed.sources)
    }

    fn commit_info(&self) -> CommitInfo {
        CommitInfo {
            number: self.commit.number(),
            positions: group_positions(&self.committed.sources),
        }
    }

    /// What this task has counted since it was opened.
    fn tally(&self) -> Tally {
        let read = Tally {
            rows_in: self.inputs.rows(),
            undecodable: self.inputs.undecodable(),
            ..Tally::default()
        };
        self.tokens.iter().fold(read, |all, token| {
            all.plus(&Tally {
                rows_out: token.sink.rows_out,
                late: token.effects.late,
                failed: token.effects.failed,
                remade: token.effects.remade,
                filtered: token.effects.filtered,
                last_failure: token.effects.last_failure.clone(),
                last_late: token.effects.last_late.clone(),
                ..Tally::default()
            })
        })
    }

    fn progress(&self) -> Progress {
        Progress {
            tally: self.tally(),
            watermark: Watermark::least(self.told.values().copied()).reached(),
            partitions: self.inputs.progress(),
            times: self.inputs.times(),
            operators: self.tokens.figures(),
        }
    }

    /// The whole of a commit: see the module's picture.
    async fn commit(&mut self, now_ms: i64) -> Result<(), TaskError> {
        let started = Instant::now();
        self.tokens.set_clock_us(clock_us(now_ms));
        let number = self.commit.begin(now_ms);
        let reached = self.inputs.watermarks(now_ms);
        let ended = self.end_epoch(reached).await;
        ended.map_err(|error| self.outgrown(error))?;
        if let Some(manifest) = self.unwritten_manifest.take() {
            for token in self.tokens.iter_mut() {
                token.state.put(manifest_key(), manifest.clone());
            }
        }
        let shares = self.tokens.shares(now_ms, self.is_slow).await?;
        let tally = self.counted.plus(&self.tally());
        if tally != self.tallied
            && let Some(first) = self.tokens.iter_mut().next()
        {
            first.state.put(tally_key(), tally.encode());
        }
        let tokens = self.tokens.iter_mut();
        let deltas: Vec<Delta> = tokens.map(|token| token.state.take()).collect();
        let rows = self.inputs.rows() - self.rows_committed;
        self.check_sizes(&deltas, rows)?;
        let delta_bytes: usize = deltas.iter().map(Delta::size_bytes).sum();
        // The delta, and the blocks and records that are made of it.
        let held = self.tokens.size_bytes() + 3 * delta_bytes;
        self.account.set(held);
        let header = BlockHeader {
            sink: self.committed.sink,
            sources: self.inputs.positions(),
        };
        let count = self.tokens.count();
        let headers: Vec<Vec<u8>> = (0..count)
            .map(|token| header.part(token, count).encode(number))
            .collect();
        let block = Block {
            number,
            deltas: &deltas,
            headers: &headers,
            sources: &header.sources,
            watermark: self.tokens.watermark(),
        };
        let written = self.writer.write(block, shares, now_ms).await;
        self.commit.written(if written.is_ok() {
            Written::Committed
        } else {
            Written::NotCommitted
        });
        let offsets = written?;
        let applied = self.environment.shared.applying(|| {
            let parts = offsets.iter().copied().zip(headers).zip(&deltas);
            let mut parts = self.tokens.stores().zip(parts);
            parts.try_for_each(|(store, ((changelog_offset, header), delta))| {
                let tag = Tag {
                    changelog_offset,
                    header,
                };
                store.apply(delta, &tag)
            })
        });
        let took_ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.commit
            .applied(applied.is_ok(), now_ms.saturating_add(took_ms));
        applied?;
        self.committed = header;
        self.committed_time = self.tokens.watermark();
        self.committed_ms = now_ms;
        self.rows_committed += rows;
        self.tallied = tally;
        self.follow_search(rows);
        self.environment.pace.lock().committed();
        self.make_room();
        self.tokens.after_commit();
        self.account.set(self.tokens.size_bytes());
        self.environment
            .shared
            .committed(self.commit_info(), self.progress(), started.elapsed());
        self.environment
            .wakes
            .committed(&self.environment.spec.name);
        self.saving.committed(
            delta_bytes as u64,
            self.tokens.stores(),
            &offsets,
            &self.alive,
        );
        self.trim().await;
        Ok(())
    }

    /// Removes from the changelog what snapshots have made superfluous.
    async fn trim(&mut self) {
        let superfluous = self.saving.superfluous().await;
        if superfluous.is_empty() {
            return;
        }
        let names = &self.environment.names;
        let below = superfluous.into_iter();
        let below = below.map(|(token, offset)| (names.changelog_of(token), offset));
        let admin = self.environment.log.admin();
        // What could not be removed now is with the next snapshot.
        if let Err(error) = admin.delete_records(below.collect()).await {
            tracing::warn!(job = %self.environment.spec.name, %error, "the changelog was not trimmed");
        }
    }

    /// Refuses what the changelog cannot take, and sees to it that the row to blame is found.
    fn check_sizes(&self, deltas: &[Delta], rows: u64) -> Result<(), TaskError> {
        let sizes = deltas
            .iter()
            .flat_map(|delta| &delta.entries)
            .map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len));
        let Some(bytes) = sizes.max().filter(|&bytes| bytes > ENTRY_BYTES_MAX) else {
            return Ok(());
        };
        let mut error = TaskError::EntryTooLarge {
            bytes,
            max: ENTRY_BYTES_MAX,
            may_pass: false,
        };
        let last = self.last_row.clone().map(|(partition, offset)| BadRow {
            partition,
            offset,
            reason: error.to_string(),
        });
        let found = self.environment.search.lock().failed(rows, last);
        if let TaskError::EntryTooLarge { may_pass, .. } = &mut error {
            *may_pass = found;
        }
        Err(error)
    }

    /// A commit of `rows` rows went through; when a search ends with it, rows come as always.
    fn follow_search(&mut self, rows: u64) {
        let mut search = self.environment.search.lock();
        if search.step_rows().is_some() {
            search.committed(rows);
        }
    }

    /// Tells operators and sources how much memory they may take from now on: others have come or gone.
    fn make_room(&mut self) {
        let keeps_state = |node: &&PlanNode| {
            !matches!(
                node.kind,
                NodeKind::Filter(_) | NodeKind::Union | NodeKind::Expand(_)
            )
        };
        let nodes = &self.environment.spec.plan.nodes;
        let operators = nodes.iter().filter(keeps_state).count() * self.tokens.count();
        let each = self.account.room() / CACHE_PART / operators.max(1);
        let most = self.environment.cache_bytes / self.tokens.count().max(1);
        self.memory.set_cache_bytes(each.min(most));
        self.tokens.set_room(self.room());
        let rows_max = (self.room() / ROW_BYTES).min(self.environment.rows_max());
        self.inputs.limit_rows(rows_max);
    }

    /// How much may wait for a commit.
    fn room(&self) -> usize {
        match self.environment.pace.lock().is_lifted() {
            true => self.account.room(),
            false => self.account.room() / WAITING_PART,
        }
    }

    /// What an error means: where rows have brought forth too much, fewer are taken by the next attempt.
    fn outgrown(&self, error: TaskError) -> TaskError {
        let TaskError::Operator(OperatorError::NoRoom { room, .. }) = error else {
            return error;
        };
        let rows = self.inputs.rows() - self.rows_committed;
        TaskError::NoRoom {
            rows,
            room,
            may_pass: self.environment.pace.lock().outgrown(rows),
        }
    }
}

/// The clock in microseconds.
fn clock_us(now_ms: i64) -> i64 {
    now_ms.saturating_mul(1_000)
}

/// The first millisecond at which a time in microseconds is reached.
fn due_ms(due_us: i64) -> i64 {
    due_us
        .div_euclid(1_000)
        .saturating_add(i64::from(due_us.rem_euclid(1_000) > 0))
}
