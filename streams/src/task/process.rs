//! The task itself: turns and commits.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log_api::{
    AdminError, BatchBuilder, Compression, Log, NewTopic, OffsetCommit, TopicPartition,
    Transaction, TransactionError, TransactionOptions,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::TaskError;
use super::commit::{Commit, Decision, Situation, Written};
use super::inputs::{Inputs, QueryStart, group_positions};
use super::recovery::{Restore, Restored, manifest_key, restore};
use super::search::{BadRow, Search};
use crate::job::{JobSpec, Progress, Shared, Stop};
use crate::operator::{Effects, Graph, Memory, SideRecord};
use crate::plan::StateManifest;
use crate::sink::Sink;
use crate::source::{SourceBatch, SourceOptions, event_time_text};
use crate::state::{
    BlockHeader, Delta, ENTRY_BYTES_MAX, SinkPlace, SourcePosition, State, StateStore, Tag,
    encode_blocks,
};
use crate::tally::{Tally, tally_key};
use crate::time::Watermark;
use crate::view::CommitInfo;
use crate::worker::{Wakes, compute};

/// `max.message.bytes` of a topic that does not say.
const MESSAGE_BYTES_DEFAULT: usize = 1 << 20;
/// `max.message.bytes` of changelogs.
const CHANGELOG_MESSAGE_BYTES: usize = 8 << 20;
/// A batch of side records is closed before it outgrows this.
const SIDE_BATCH_BYTES: usize = 900 << 10;

/// Where nothing but event time has moved, a commit may wait so long, ms.
const TIME_COMMIT_MS: i64 = 1_000;

/// A job whose turns take so long is not to hold up others meanwhile.
const SLOW_TURN: Duration = Duration::from_millis(20);

/// What a job calls its things in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    /// The changelog's topic: a partition a token.
    pub(crate) changelog: String,
    /// The consumer group.
    pub(crate) group: String,
    /// The transactional id.
    pub(crate) transactional_id: String,
    /// Where row errors go.
    pub(crate) errors: String,
    /// Where late rows go, if the query does not say otherwise.
    pub(crate) late: String,
}

impl Names {
    pub(crate) fn new(job: &str, worker: &str) -> Self {
        Self {
            changelog: format!("_thalweg.{job}.changelog"),
            group: group_of(job),
            transactional_id: format!("thalweg.{job}.{worker}"),
            errors: format!("{job}.errors"),
            late: format!("{job}.late"),
        }
    }
}

impl Names {
    /// Where the state of a token is kept.
    pub(crate) fn changelog_of(&self, token: i32) -> TopicPartition {
        TopicPartition::new(self.changelog.as_str(), token)
    }
}

/// The consumer group of a job.
pub(crate) fn group_of(job: &str) -> String {
    format!("thalweg.{job}")
}

/// What a task needs from around it.
#[derive(Clone)]
pub(crate) struct Environment {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) spec: Arc<JobSpec>,
    pub(crate) names: Names,
    pub(crate) commit_interval: Duration,
    pub(crate) dirty_bytes_max: usize,
    pub(crate) cache_bytes: usize,
    pub(crate) source: SourceOptions,
    pub(crate) shared: Arc<Shared>,
    /// Outlives the tasks that it makes start over.
    pub(crate) search: Arc<Mutex<Search>>,
    /// Whether the job is to end.
    pub(crate) stop: Arc<Stop>,
    /// Who else is woken by what this job does.
    pub(crate) wakes: Arc<Wakes>,
    /// What wakes this job when it rests.
    pub(crate) wake: Arc<Notify>,
}

/// How opening ended.
pub(crate) enum Opened {
    /// Ready to run.
    Task(Box<Task>),
    /// The local store is not of this log: open again with an empty one.
    Discard(String),
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
    transaction: Box<dyn Transaction>,
    inputs: Inputs,
    graph: Graph,
    state: State,
    effects: Effects,
    sink: Sink,
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
    /// Side topics that are there.
    topics: HashSet<Arc<str>>,
    /// The last turn took long.
    is_slow: bool,
}

impl Environment {
    /// Makes the topics that a new job writes. One that has a changelog has written to its topic: that is not made again,
    /// opening says that it is gone.
    ///
    /// # Errors
    /// From the log.
    pub(crate) async fn create_topics(&self) -> Result<(), AdminError> {
        let changelog = self.names.changelog.as_str();
        if self.log.admin().describe_topic(changelog).await?.is_some() {
            return Ok(());
        }
        let sink = &self.spec.sink;
        let mut topic = NewTopic::new(sink.topic.as_str(), sink.partitions.max(1));
        if !sink.key.is_empty() {
            topic = topic.with("cleanup.policy", "compact");
        }
        self.ensure(topic).await?;
        let changelog = NewTopic::new(changelog, 1)
            .with("cleanup.policy", "delete")
            .with("retention.ms", "-1")
            .with("max.message.bytes", &CHANGELOG_MESSAGE_BYTES.to_string());
        self.ensure(changelog).await
    }

    async fn ensure(&self, topic: NewTopic) -> Result<(), AdminError> {
        let admin = self.log.admin();
        if admin.describe_topic(&topic.name).await?.is_some() {
            return Ok(());
        }
        match admin.create_topic(topic).await {
            Ok(_) | Err(AdminError::TopicExists(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Task {
    /// Fences whoever ran the job before, restores the state, and stands ready where the last commit ended.
    ///
    /// # Errors
    /// See [`TaskError`]; its `event` says whether it is worth another attempt.
    pub(crate) async fn open(
        environment: Environment,
        store: Arc<dyn StateStore>,
        now_ms: i64,
    ) -> Result<Opened, TaskError> {
        let names = &environment.names;
        let options = TransactionOptions {
            transactional_id: names.transactional_id.clone(),
            timeout: (environment.commit_interval * 10).max(Duration::from_secs(10)),
        };
        let transaction = environment.log.transaction(options).await?;
        let restored = match restore(
            &environment.log,
            &*store,
            &names.changelog_of(0),
            &names.group,
            &environment.spec,
        )
        .await?
        {
            Restore::Done(restored) => restored,
            Restore::Discard { reason } => return Ok(Opened::Discard(reason)),
        };
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
        {
            let search = environment.search.lock();
            inputs.skip(search.found());
            inputs.limit_rows(search.step_rows().unwrap_or(environment.source.rows_max));
        }
        let counted = store.get(&tally_key())?;
        let counted = counted.and_then(|bytes| Tally::decode(&bytes));
        let counted = counted.unwrap_or_default();
        let state = State::new(Arc::clone(&store));
        let mut graph = Graph::build(
            plan,
            Memory {
                cache_bytes: environment.cache_bytes,
            },
        );
        graph.open(&state)?;
        let (mut sink, place) = Self::open_sink(&environment, &restored).await?;
        sink.open(&state)?;
        // Partitions that are new start where the source found their beginning.
        let committed = BlockHeader {
            sink: place,
            sources: inputs.positions(),
        };
        let mut task = Self {
            transaction,
            inputs,
            graph,
            state,
            effects: Effects::recording(&names.errors).ended_by(environment.stop.cancel().clone()),
            sink,
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
            topics: HashSet::new(),
            is_slow: false,
            environment,
        };
        let reached = task.inputs.watermarks(now_ms);
        task.end_epoch(reached)?;
        task.committed_time = task.graph.watermark();
        task.gather_output()?;
        let name = &task.environment.spec.name;
        task.environment.wakes.reads(name, task.inputs.topics());
        task.environment.shared.opened(
            store,
            task.sink.schema().clone(),
            task.commit_info(),
            task.counted.clone(),
        );
        tracing::info!(
            job = %task.environment.spec.name,
            commit = restored.commit,
            replayed = restored.replayed,
            "job restored"
        );
        Ok(Opened::Task(Box::new(task)))
    }

    /// The sink over the topic that the last commit wrote to.
    async fn open_sink(
        environment: &Environment,
        restored: &Restored,
    ) -> Result<(Sink, SinkPlace), TaskError> {
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
        let schema = environment.spec.plan.schema();
        let sink = Sink::new(
            spec,
            schema,
            place.partitions,
            message_bytes.unwrap_or(MESSAGE_BYTES_DEFAULT),
        )?;
        Ok((sink, place))
    }

    /// Reads what is there, sends it through, and commits if that is due.
    ///
    /// # Errors
    /// The task is then of no further use.
    pub(crate) async fn turn(&mut self, now_ms: i64) -> Result<Turn, TaskError> {
        let is_searching = self.environment.search.lock().step_rows().is_some();
        let batches = self.inputs.poll(now_ms, is_searching).await?;
        let is_busy = !batches.is_empty();
        if is_busy {
            let rows = batches.iter().map(|(_, batch)| batch.origin.rows.len());
            self.environment.shared.works_on(rows.sum::<usize>() as u64);
        }
        self.process(batches)?;
        if !is_busy {
            // Event time may flow on with the clock, and close windows.
            self.tell_time(now_ms)?;
            self.gather_output()?;
        }
        // Event time alone may flow with the clock, which is no reason to commit all the time.
        let time_moved = self.graph.watermark() != self.committed_time
            && now_ms.saturating_sub(self.committed_ms) >= TIME_COMMIT_MS;
        if is_busy || self.has_work() || self.has_advanced() || time_moved {
            self.commit.moved(now_ms);
        }
        let is_idle = !is_busy && self.inputs.are_caught_up();
        let shared = &self.environment.shared;
        shared.progressed(is_idle, || self.progress());
        let situation = Situation {
            now_ms,
            is_idle,
            dirty_bytes: self.dirty_bytes(),
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
        let is_time_due = self.graph.watermark() != self.committed_time;
        let time = is_time_due.then(|| (self.committed_ms + TIME_COMMIT_MS - now_ms).max(1));
        sources.into_iter().chain(time).min().unwrap_or(i64::MAX)
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
        Ok(self.state.store().flush()?)
    }

    fn process(&mut self, batches: Vec<(usize, SourceBatch)>) -> Result<(), TaskError> {
        let started = Instant::now();
        let processed = compute(self.is_slow, || self.push(batches));
        self.is_slow = started.elapsed() >= SLOW_TURN;
        processed
    }

    fn push(&mut self, batches: Vec<(usize, SourceBatch)>) -> Result<(), TaskError> {
        for (node, batch) in batches {
            if let Some(&record) = batch.origin.rows.values().last() {
                let records = &batch.origin.records;
                let offset = records.offsets.value(record as usize);
                self.last_row = Some((records.partition.clone(), offset));
            }
            self.inputs.process(
                node,
                batch,
                &mut self.graph,
                &mut self.state,
                &mut self.effects,
            )?;
        }
        self.gather_output()
    }

    /// Ends an epoch if event time has moved since the operators last heard of it.
    fn tell_time(&mut self, now_ms: i64) -> Result<(), TaskError> {
        let reached = self.inputs.watermarks(now_ms);
        if reached != self.told {
            self.end_epoch(reached)?;
        }
        Ok(())
    }

    fn end_epoch(&mut self, reached: BTreeMap<usize, Watermark>) -> Result<(), TaskError> {
        self.graph.end_epoch(
            |node| reached.get(&node).copied().unwrap_or_default(),
            &mut self.state,
            &mut self.effects,
        )?;
        self.told = reached;
        Ok(())
    }

    fn gather_output(&mut self) -> Result<(), TaskError> {
        for chunk in self.effects.take_output() {
            self.sink.absorb(chunk)?;
        }
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

    /// Whether something besides positions is to be committed.
    fn has_work(&self) -> bool {
        self.sink.has_pending()
            || self.state.dirty_bytes() > 0
            || self.effects.record_bytes() > 0
            || self.graph.dirty_bytes() > 0
    }

    fn dirty_bytes(&self) -> usize {
        self.state.dirty_bytes()
            + self.sink.pending_bytes()
            + self.effects.record_bytes()
            + self.graph.dirty_bytes()
    }

    fn commit_info(&self) -> CommitInfo {
        CommitInfo {
            number: self.commit.number(),
            positions: group_positions(&self.committed.sources),
        }
    }

    /// What this task has counted since it was opened.
    fn tally(&self) -> Tally {
        Tally {
            rows_in: self.inputs.rows(),
            rows_out: self.sink.rows_out,
            late: self.effects.late,
            undecodable: self.inputs.undecodable(),
            failed: self.effects.failed,
            filtered: self.effects.filtered,
            last_failure: self.effects.last_failure.clone(),
            last_late: self.effects.last_late.clone(),
        }
    }

    fn progress(&self) -> Progress {
        Progress {
            tally: self.tally(),
            watermark: Watermark::least(self.told.values().copied()).reached(),
            partitions: self.inputs.progress(),
            times: self.inputs.times(),
        }
    }

    /// The whole of a commit: see the module's picture.
    async fn commit(&mut self, now_ms: i64) -> Result<(), TaskError> {
        let started = Instant::now();
        let number = self.commit.begin(now_ms);
        let reached = self.inputs.watermarks(now_ms);
        self.end_epoch(reached)?;
        self.gather_output()?;
        self.graph.commit(&mut self.state)?;
        if let Some(manifest) = self.unwritten_manifest.take() {
            self.state.put(manifest_key(), manifest);
        }
        let outputs = self.sink.finish(&mut self.state, &mut self.effects, now_ms);
        let side = self.effects.take_records();
        let tally = self.counted.plus(&self.tally());
        if tally != self.tallied {
            self.state.put(tally_key(), tally.encode());
        }
        let delta = self.state.take();
        let rows = self.inputs.rows() - self.rows_committed;
        self.check_sizes(&delta, rows)?;
        let header = BlockHeader {
            sink: self.committed.sink,
            sources: self.inputs.positions(),
        };
        let tag_header = header.encode(number);
        let written = self
            .write(
                number,
                &tag_header,
                outputs,
                side,
                &delta,
                &header.sources,
                now_ms,
            )
            .await;
        self.commit.written(if written.is_ok() {
            Written::Committed
        } else {
            Written::NotCommitted
        });
        let changelog_offset = match written {
            Ok(offset) => offset,
            Err(error) => {
                // What is certainly not committed should not hold up readers until the id is opened again. Where the
                // outcome is unknown, only opening the id may end it.
                let is_open = !matches!(
                    error,
                    TaskError::Transaction(
                        TransactionError::Unknown(_) | TransactionError::Fenced(_)
                    )
                );
                if is_open && let Err(aborting) = self.transaction.abort().await {
                    tracing::debug!(job = %self.environment.spec.name, error = %aborting, "abort failed");
                }
                return Err(error);
            }
        };
        let applied = self.state.store().apply(
            &delta,
            &Tag {
                changelog_offset,
                header: tag_header,
            },
        );
        let took_ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.commit
            .applied(applied.is_ok(), now_ms.saturating_add(took_ms));
        applied?;
        self.committed = header;
        self.committed_time = self.graph.watermark();
        self.committed_ms = now_ms;
        self.rows_committed += rows;
        self.tallied = tally;
        self.follow_search(rows);
        self.graph.after_commit();
        self.environment
            .shared
            .committed(self.commit_info(), self.progress(), started.elapsed());
        self.environment.wakes.committed(&self.environment.spec.name);
        Ok(())
    }

    /// Refuses what the changelog cannot take, and sees to it that the row to blame is found.
    fn check_sizes(&self, delta: &Delta, rows: u64) -> Result<(), TaskError> {
        let sizes = delta
            .entries
            .iter()
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
            if search.step_rows().is_none() {
                self.inputs.limit_rows(self.environment.source.rows_max);
            }
        }
    }

    /// One transaction; gives the offset of the last changelog record.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a transaction, named once"
    )]
    async fn write(
        &mut self,
        number: u64,
        header: &[u8],
        outputs: Vec<(TopicPartition, BatchBuilder)>,
        side: Vec<SideRecord>,
        delta: &Delta,
        sources: &[SourcePosition],
        now_ms: i64,
    ) -> Result<i64, TaskError> {
        let side = side_batches(side, now_ms);
        for (partition, _) in &side {
            if !self.topics.contains(&partition.topic) {
                self.environment
                    .ensure(NewTopic::new(&*partition.topic, 1))
                    .await?;
                self.topics.insert(Arc::clone(&partition.topic));
            }
        }
        let mut appends = 0;
        for (partition, batch) in outputs.into_iter().chain(side) {
            self.transaction.append(&partition, batch).await?;
            appends += 1;
        }
        for block in encode_blocks(number, header, delta) {
            let mut batch = BatchBuilder::with_capacity(Compression::Lz4, block.len() + 64);
            batch.append(now_ms, Some(b"0"), Some(&block), &[]);
            self.transaction
                .append(&self.environment.names.changelog_of(0), batch)
                .await?;
            appends += 1;
        }
        // Whoever reads the output learns its event time from here.
        let metadata = event_time_text(self.graph.watermark());
        let offsets = group_positions(sources)
            .into_iter()
            .map(|(partition, offset)| OffsetCommit {
                partition,
                offset,
                metadata: metadata.clone(),
            })
            .collect();
        self.transaction
            .commit_offsets(&self.environment.names.group, offsets)
            .await?;
        let bases = self.transaction.commit().await?;
        // The changelog's last part was appended last, one record a batch.
        match bases.get(appends - 1) {
            Some(&base) if bases.len() == appends => Ok(base),
            _ => Err(
                TransactionError::Unknown(self.environment.names.transactional_id.clone()).into(),
            ),
        }
    }
}

/// Side records as batches for partition 0 of their topics.
fn side_batches(records: Vec<SideRecord>, now_ms: i64) -> Vec<(TopicPartition, BatchBuilder)> {
    let mut open: BTreeMap<Arc<str>, BatchBuilder> = BTreeMap::new();
    let mut batches = Vec::new();
    for record in records {
        let size = record.size_bytes();
        // A record that was read from a topic of larger messages keeps its place, not its content.
        let fits = size <= SIDE_BATCH_BYTES;
        let builder = open
            .entry(Arc::clone(&record.topic))
            .or_insert_with(|| BatchBuilder::new(Compression::None));
        if !builder.is_empty()
            && builder.size_bytes() + size.min(SIDE_BATCH_BYTES) > SIDE_BATCH_BYTES
        {
            let full = std::mem::replace(builder, BatchBuilder::new(Compression::None));
            batches.push((TopicPartition::new(Arc::clone(&record.topic), 0), full));
        }
        let headers: Vec<(&str, Option<&[u8]>)> = record
            .headers
            .iter()
            .map(|(name, value)| (*name, Some(value.as_slice())))
            .collect();
        let timestamp_ms = if record.timestamp_ms < 0 {
            now_ms
        } else {
            record.timestamp_ms
        };
        let (key, value) = if fits {
            (record.key.as_deref(), record.value.as_deref())
        } else {
            (None, None)
        };
        builder.append(timestamp_ms, key, value, &headers);
    }
    let rest = open.into_iter().filter(|(_, builder)| !builder.is_empty());
    batches.extend(rest.map(|(topic, builder)| (TopicPartition::new(topic, 0), builder)));
    batches
}

/// Where the local state of a job lies: `<state_dir>/<job>`.
pub(crate) fn job_folder(state_dir: &std::path::Path, job: &str) -> PathBuf {
    state_dir.join(job)
}
