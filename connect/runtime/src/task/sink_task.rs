//! A sink task's run: read → converters → transforms → put → flush → offsets.
//!
//! ```text
//!  start ─▶ find partitions ─▶ open (stored offsets, else the group's, else the start)
//!             ▲                  └▶ ┌ read ─▶ convert ─▶ transform ─▶ put ┐
//!             │ they changed        └── flush + commit offsets, every second and when all is read ──┘
//!             └──────────────────────────────┘
//! ```
//!
//! Partition p of a topic belongs to task (hash of the topic + p) mod the number of tasks: it stays there when other
//! topics come and go.
//!
//! Invariants:
//! 1. Offsets of the group are committed only behind records that were put and flushed.
//! 2. A dead letter is on disk before anything says that its record was dealt with.
//! 3. A batch is put again, unchanged, while the sink says that it cannot for now.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use connect_api::{
    ConnectError, ConnectorKind, Flushed, OpenPartition, PutReport, Record, RejectedRow, SinkBatch,
    SinkRecord, SinkTask, TopicPartition, Traced,
};
use log_api::{
    Admin, Log, OffsetCommit, OffsetSpec, PollBudget, ReadError, Reader, ReaderOptions, Records,
    Start,
};

use super::backoff::Backoff;
use super::dead_letter::{DeadLetter, ErrorDesk, Original, Stage};
use super::failure::Failure;
use super::letters::Letters;
use super::lifecycle::{Control, End, Phase};
use super::{Seat, transforming};
use crate::converter::{Converter, HeaderConverter};
use crate::definition::{Consumer, OffsetReset, Settings, group};
use crate::store::Resets;
use crate::transform::Chain;

/// Bytes read at a time.
const READ_BYTES_MAX: usize = 1 << 20;
/// How long a read waits when there is nothing.
const READ_WAIT_MAX: Duration = Duration::from_millis(500);
/// With nothing more to read, what was put is flushed this soon after the last flush.
const FLUSH_IDLE_AFTER: Duration = Duration::from_millis(100);
/// How often topics are looked for that are not there yet.
const ABSENT_WAIT: Duration = Duration::from_millis(250);
/// Longest pause between attempts of a call that fails for now.
const RETRY_MAX: Duration = Duration::from_secs(10);

/// A run was told to stop in the middle of something.
struct Stopped;

/// Either the value, or the run is over.
type Unless<T> = Result<Result<T, Stopped>, Failure>;

pub(super) async fn run(mut seat: Seat, mut task: Box<dyn SinkTask>) -> Result<End, Failure> {
    let mut flow = Flow::open(&seat).await?;
    let result = work(&mut seat, &mut flow, &mut *task).await;
    let _call = seat.pulse.call();
    task.stop().await;
    result.map(|_| End::Stopped)
}

async fn work(seat: &mut Seat, flow: &mut Flow, task: &mut dyn SinkTask) -> Unless<()> {
    let mut backoff = Backoff::new(RETRY_MAX);
    loop {
        let started = {
            let _call = seat.pulse.call();
            task.start(seat.context()).await
        };
        match started {
            Ok(()) => {
                seat.recovered();
                break;
            }
            Err(error) => match wait_after(seat, &mut backoff, error, "start").await? {
                Ok(()) => {}
                Err(stopped) => return Ok(Err(stopped)),
            },
        }
    }
    let mut shown = None;
    loop {
        let partitions = flow.partitions(seat).await?;
        if partitions.is_empty() {
            let absent = flow.absent(seat).await?;
            match idle(seat, &absent, &mut shown).await {
                Ok(()) => continue,
                Err(stopped) => return Ok(Err(stopped)),
            }
        }
        shown = None;
        let mut reader = match flow.assign(seat, task, &partitions).await? {
            Ok(reader) => reader,
            Err(stopped) => return Ok(Err(stopped)),
        };
        let outcome = read(seat, flow, task, &mut *reader, &partitions).await?;
        {
            let _call = seat.pulse.call();
            let closed: Vec<TopicPartition> =
                partitions.into_iter().map(|open| open.partition).collect();
            task.close(&closed).await?;
        }
        if let Err(stopped) = outcome {
            return Ok(Err(stopped));
        }
    }
}

/// Waits while there is nothing to read from, because of what is `absent`. `shown` is the phase that status has.
async fn idle(seat: &mut Seat, absent: &str, shown: &mut Option<Phase>) -> Result<(), Stopped> {
    let phase = match seat.control() {
        Control::Stop => return Err(Stopped),
        Control::Pause => Phase::Paused,
        Control::Run => Phase::Running,
    };
    if *shown != Some(phase) {
        seat.report(phase);
        *shown = Some(phase);
    }
    if phase == Phase::Running {
        seat.waits_for(absent);
    }
    seat.pause(ABSENT_WAIT).await;
    Ok(())
}

/// After a failed call: waits where it failed for now, and as long as nothing may be written.
async fn wait_after(
    seat: &mut Seat,
    backoff: &mut Backoff,
    error: ConnectError,
    what: &str,
) -> Unless<()> {
    if !error.retryable() {
        return Err(error.into());
    }
    seat.pause_before_retry(what, &error, backoff.next()).await;
    Ok(if seat.control() == Control::Stop {
        Err(Stopped)
    } else {
        Ok(())
    })
}

/// Reads until stopped, or until the partitions are others.
async fn read(
    seat: &mut Seat,
    flow: &mut Flow,
    task: &mut dyn SinkTask,
    reader: &mut dyn Reader,
    partitions: &[OpenPartition],
) -> Unless<()> {
    let flush_every = Duration::from_millis(seat.environment.config.offset_flush_interval_ms);
    let flush_idle_after = FLUSH_IDLE_AFTER.min(flush_every);
    let refresh = Duration::from_millis(seat.environment.config.topic_refresh_interval_ms);
    let mut shown = None;
    let mut meter = seat.meter();
    let mut refreshed = Instant::now();
    let mut flushed = Instant::now();
    loop {
        match seat.control() {
            Control::Stop => {
                flow.flush(seat, task).await?;
                return Ok(Err(Stopped));
            }
            Control::Pause => {
                flow.flush(seat, task).await?;
                seat.report(Phase::Paused);
                shown = Some(Phase::Paused);
                seat.told_otherwise().await;
                continue;
            }
            Control::Run if shown != Some(Phase::Running) => {
                seat.report(Phase::Running);
                shown = Some(Phase::Running);
            }
            Control::Run => {}
        }
        if refreshed.elapsed() >= refresh {
            refreshed = Instant::now();
            if flow.partitions(seat).await? != partitions {
                flow.flush(seat, task).await?;
                return Ok(Ok(()));
            }
        }
        // With something to flush, a read that finds nothing comes back when that is due.
        let wait_max = match flow.moved.is_empty() {
            true => READ_WAIT_MAX,
            false => flush_idle_after
                .saturating_sub(flushed.elapsed())
                .max(Duration::from_millis(1)),
        };
        let budget = PollBudget {
            bytes_max: if flow.careful { 1 } else { READ_BYTES_MAX },
            wait_max,
        };
        let polled = tokio::select! {
            biased;
            () = seat.told_otherwise() => continue,
            polled = reader.poll(budget) => polled,
        };
        let runs = match polled {
            Ok(runs) => runs,
            Err(error) => {
                match flow
                    .after_read_error(seat, task, reader, error, partitions)
                    .await?
                {
                    // A topic is gone, or another: look again at what there is.
                    Ok(true) => return Ok(Ok(())),
                    Ok(false) => continue,
                    Err(stopped) => return Ok(Err(stopped)),
                }
            }
        };
        let idle = runs.iter().all(|run| run.is_empty());
        if idle {
            flow.step_over(reader).await;
        }
        meter.count(runs.iter().map(Records::len).sum());
        if meter.is_due() {
            let mut progress = task.progress();
            progress.figures.extend(flow.lag(seat).await);
            meter.show(progress);
        }
        if let Err(stopped) = flow.deliver(seat, task, &runs).await? {
            return Ok(Err(stopped));
        }
        let due = flushed.elapsed() >= if idle { flush_idle_after } else { flush_every };
        if !flow.moved.is_empty() && due {
            flow.flush(seat, task).await?;
            flushed = Instant::now();
        }
    }
}

struct Flow {
    group: String,
    chain: Chain,
    key_converter: Box<dyn Converter>,
    value_converter: Box<dyn Converter>,
    header_converter: HeaderConverter,
    converter_classes: [&'static str; 2],
    topics: Vec<String>,
    topics_regex: Option<regex::Regex>,
    desk: ErrorDesk,
    letters: Option<Letters>,
    consumer: Consumer,
    resets: Resets,
    /// The open partitions' incarnations: committed as the metadata of their offsets.
    incarnations: HashMap<TopicPartition, String>,
    /// The next offset of each open partition, once it is known.
    positions: HashMap<TopicPartition, i64>,
    /// Positions that were put and whose offsets are not committed yet.
    moved: HashMap<TopicPartition, i64>,
    /// The offsets that this run committed.
    committed: HashMap<TopicPartition, i64>,
    /// Read batch by batch: one of those ahead cannot be read, but the ones before it can.
    careful: bool,
    used: std::collections::HashSet<Arc<str>>,
    read: metrics::Counter,
    sent: metrics::Counter,
}

impl Flow {
    async fn open(seat: &Seat) -> Result<Self, Failure> {
        let environment = &seat.environment;
        let id = &seat.assignment.id;
        let config = &seat.assignment.connector_config;
        let settings = Settings::parse(ConnectorKind::Sink, config, &environment.config)?;
        let counter = |name: &'static str| metrics::counter!(name, "connector" => id.connector.clone(), "task" => id.task.to_string());
        Ok(Self {
            group: group(&id.connector, config),
            chain: Chain::build(config, &environment.sandbox)?,
            key_converter: settings.key_converter,
            value_converter: settings.value_converter,
            header_converter: settings.header_converter,
            consumer: settings.consumer,
            converter_classes: [settings.key_converter_class, settings.value_converter_class],
            topics: settings.topics,
            topics_regex: settings.topics_regex,
            letters: settings.errors.dead_letter_topic.clone().map(Letters::to),
            desk: ErrorDesk::new(settings.errors, id, seat.assignment.plugin.class()),
            resets: Resets::among(&environment.offsets.load(&id.connector).await?),
            incarnations: HashMap::new(),
            positions: HashMap::new(),
            moved: HashMap::new(),
            committed: HashMap::new(),
            careful: false,
            used: Default::default(),
            read: counter("kafka_connect_sink_task_metrics_sink_record_read_total"),
            sent: counter("kafka_connect_sink_task_metrics_sink_record_send_total"),
        })
    }

    /// Why this task has no partitions.
    async fn absent(&self, seat: &Seat) -> Result<String, Failure> {
        if let Some(regex) = &self.topics_regex {
            return Ok(format!(
                "no partition of a topic that matches {regex} is this task's"
            ));
        }
        let admin = seat.environment.log.admin();
        for name in &self.topics {
            if admin.describe_topic(name).await?.is_none() {
                return Ok(format!("topic {name} does not exist yet"));
            }
        }
        Ok("all partitions are read by the connector's other tasks".to_owned())
    }

    /// This task's share of the partitions that there are.
    async fn partitions(&self, seat: &Seat) -> Result<Vec<OpenPartition>, Failure> {
        let admin = seat.environment.log.admin();
        let mut topics = Vec::new();
        if let Some(regex) = &self.topics_regex {
            let all = admin.list_topics().await?;
            topics.extend(
                all.into_iter()
                    .filter(|topic| !topic.internal && regex.is_match(&topic.name)),
            );
        } else {
            for name in &self.topics {
                topics.extend(admin.describe_topic(name).await?);
            }
        }
        let tasks = seat.assignment.task_count.max(1);
        let mut mine = Vec::new();
        for topic in topics {
            let share = log_api::partition_for_key(
                topic.name.as_bytes(),
                i32::try_from(tasks).unwrap_or(1),
            );
            let name: Arc<str> = topic.name.into();
            for partition in 0..topic.partitions {
                let owner = share
                    .wrapping_add(partition)
                    .rem_euclid(i32::try_from(tasks).unwrap_or(1));
                if u32::try_from(owner) == Ok(seat.assignment.id.task) {
                    let partition = TopicPartition::new(Arc::clone(&name), partition);
                    let incarnation = format!("{}.{}", topic.id, self.resets.of(&partition));
                    mine.push(OpenPartition {
                        partition,
                        incarnation,
                    });
                }
            }
        }
        mine.sort_by(|a, b| a.partition.cmp(&b.partition));
        Ok(mine)
    }

    /// Hands partitions to the sink and opens a reader at its offsets.
    async fn assign(
        &mut self,
        seat: &mut Seat,
        task: &mut dyn SinkTask,
        partitions: &[OpenPartition],
    ) -> Unless<Box<dyn Reader>> {
        let mut backoff = Backoff::new(RETRY_MAX);
        let stored = loop {
            let opened = {
                let _call = seat.pulse.call();
                task.open(partitions).await
            };
            match opened {
                Ok(stored) => {
                    seat.recovered();
                    break stored;
                }
                Err(error) => {
                    if let Err(stopped) = wait_after(seat, &mut backoff, error, "open").await? {
                        return Ok(Err(stopped));
                    }
                }
            }
        };
        let log = &seat.environment.log;
        self.incarnations = partitions
            .iter()
            .map(|open| (open.partition.clone(), open.incarnation.clone()))
            .collect();
        let named: Vec<TopicPartition> = partitions
            .iter()
            .map(|open| open.partition.clone())
            .collect();
        let committed = log.admin().committed(&self.group, &named).await?;
        self.moved.clear();
        self.committed.clear();
        self.positions.clear();
        let mut assignment = Vec::with_capacity(partitions.len());
        for (open, committed) in partitions.iter().zip(committed) {
            let partition = &open.partition;
            let of_this_life = counts(&committed.metadata, &open.incarnation);
            let committed = committed.offset.filter(|_| of_this_life);
            let start = match stored.get(partition).copied().or(committed) {
                Some(next) => Start::Offset(next),
                None => self.start(&*log.admin(), partition).await?,
            };
            if let Start::Offset(next) = start {
                self.positions.insert(partition.clone(), next);
            }
            assignment.push((partition.clone(), start));
        }
        let options = ReaderOptions {
            read_uncommitted: self.consumer.read_uncommitted,
            ..ReaderOptions::default()
        };
        Ok(Ok(log.reader(options, assignment).await?))
    }

    /// Takes over where the reader stands when it has found no record: behind marks of transactions and what was rolled back,
    /// which nobody has to be given. Where the log cannot tell, the next records do.
    async fn step_over(&mut self, reader: &mut dyn Reader) {
        let Ok(progress) = reader.progress().await else {
            return;
        };
        for partition in progress {
            let stood = self.positions.get(&partition.partition);
            if stood.is_some_and(|stood| *stood < partition.position) {
                self.positions
                    .insert(partition.partition.clone(), partition.position);
                self.moved.insert(partition.partition, partition.position);
            }
        }
    }

    /// Records that could be read and are not put yet, of the partitions whose position is known; nothing where the log
    /// cannot tell now.
    async fn lag(&self, seat: &Seat) -> Option<(&'static str, i64)> {
        let admin = seat.environment.log.admin();
        let end = match self.consumer.read_uncommitted {
            true => OffsetSpec::Latest,
            false => OffsetSpec::LastStable,
        };
        let mut behind = 0_i64;
        for (partition, position) in &self.positions {
            let end = admin.offset(partition, end).await.ok()?;
            behind = behind.saturating_add((end - position).max(0));
        }
        Some(("lag_records", behind))
    }

    /// Where to begin in a partition of which nothing is known. The end is looked up now and committed with the next
    /// flush: what comes from here on is read, also after a restart before the first record.
    async fn start(
        &mut self,
        admin: &dyn Admin,
        partition: &TopicPartition,
    ) -> Result<Start, Failure> {
        match self.consumer.offset_reset {
            OffsetReset::Earliest => Ok(Start::Earliest),
            OffsetReset::Latest => {
                let end = admin.offset(partition, OffsetSpec::Latest).await?;
                self.moved.insert(partition.clone(), end);
                Ok(Start::Offset(end))
            }
            OffsetReset::None => Err(Failure::fatal(format!(
                "group {} has no offset for {partition}, and consumer.override.auto.offset.reset is none: set it to \
                 earliest or latest, or set the connector's offsets",
                self.group
            ))),
        }
    }

    /// What to do about a read that failed; `true`: the partitions are to be looked up again.
    async fn after_read_error(
        &mut self,
        seat: &mut Seat,
        task: &mut dyn SinkTask,
        reader: &mut dyn Reader,
        error: ReadError,
        open: &[OpenPartition],
    ) -> Unless<bool> {
        match error {
            ReadError::UnknownPartition(_) => {
                seat.pause(ABSENT_WAIT).await;
                Ok(Ok(true))
            }
            ReadError::Corrupt { .. } if !self.careful => {
                self.careful = true;
                Ok(Ok(false))
            }
            ReadError::Corrupt {
                ref partition,
                offset,
                ..
            } => {
                let passed = self
                    .pass_over(seat, task, reader, (partition, offset), &error)
                    .await?;
                Ok(passed.map(|()| false))
            }
            // Retention took records that the sink had not seen: they are gone whatever happens.
            ReadError::OffsetOutOfRange {
                ref partition,
                position,
                start,
                ..
            } if position < start => {
                tracing::error!(
                    connector = seat.assignment.id.connector, %partition, position, start,
                    "records were deleted before the sink read them; it goes on behind them"
                );
                reader
                    .seek(&partition.clone(), Start::Offset(start))
                    .await?;
                Ok(Ok(false))
            }
            ReadError::OffsetOutOfRange { .. } if self.partitions(seat).await? != open => {
                Ok(Ok(true))
            }
            ReadError::OffsetOutOfRange { .. } => Err(Failure::fatal(format!(
                "{error}: the topic was made anew. Stop the connector and reset its offsets to read it from its start"
            ))),
            error if error.retryable() => {
                tracing::warn!(connector = seat.assignment.id.connector, %error, "reading is tried again");
                seat.pause(Duration::from_secs(1)).await;
                Ok(Ok(false))
            }
            error => Err(error.into()),
        }
    }

    /// A batch that no reader can make sense of: the end of the run, or, where errors are tolerated, a letter in its
    /// place, and the sink is told a position behind it.
    async fn pass_over(
        &mut self,
        seat: &mut Seat,
        task: &mut dyn SinkTask,
        reader: &mut dyn Reader,
        (partition, offset): (&TopicPartition, i64),
        error: &ReadError,
    ) -> Unless<()> {
        let reason = ConnectError::Data(error.to_string());
        let original = || Original {
            topic: partition.topic.to_string(),
            place: Some((partition.partition, offset)),
            ..Original::default()
        };
        let letter = self
            .desk
            .judge(Stage::KafkaConsume, None, &reason, original)?;
        self.write_letters(seat, letter.into_iter().collect())
            .await?;
        let next = behind(&*seat.environment.log, partition, offset).await?;
        reader.seek(partition, Start::Offset(next)).await?;
        self.careful = false;
        let mut batch = SinkBatch {
            records: Vec::new(),
            positions: vec![(partition.clone(), next)],
        };
        if let Err(stopped) = self.put(seat, task, &[], &mut batch).await? {
            return Ok(Err(stopped));
        }
        self.moved.insert(partition.clone(), next);
        Ok(Ok(()))
    }

    /// Converts and transforms what a poll brought, and puts it as one batch.
    async fn deliver(
        &mut self,
        seat: &mut Seat,
        task: &mut dyn SinkTask,
        runs: &[Records],
    ) -> Unless<()> {
        let mut batch = SinkBatch::default();
        let mut letters = Vec::new();
        for run in runs {
            if !run.is_empty() && self.used.insert(Arc::clone(&run.partition.topic)) {
                seat.topic_used(&run.partition.topic);
            }
            self.read.increment(run.len() as u64);
            match self.convert(seat, run, &mut letters).await? {
                Ok(records) => batch.records.extend(records),
                Err(stopped) => return Ok(Err(stopped)),
            }
            batch.positions.retain(|(of, _)| *of != run.partition);
            batch
                .positions
                .push((run.partition.clone(), run.next_offset));
        }
        self.write_letters(seat, letters).await?;
        if batch.positions.is_empty() {
            return Ok(Ok(()));
        }
        let count = batch.records.len() as u64;
        if let Err(stopped) = self.put(seat, task, runs, &mut batch).await? {
            return Ok(Err(stopped));
        }
        self.sent.increment(count);
        for (partition, position) in batch.positions {
            self.positions.insert(partition.clone(), position);
            self.moved.insert(partition, position);
        }
        Ok(Ok(()))
    }

    /// Puts a batch until it is taken, or what is left of it without the rows that can never be.
    async fn put(
        &mut self,
        seat: &mut Seat,
        task: &mut dyn SinkTask,
        runs: &[Records],
        batch: &mut SinkBatch,
    ) -> Unless<()> {
        let mut backoff = Backoff::new(RETRY_MAX);
        loop {
            let report = {
                let _call = seat.pulse.call();
                task.put(batch).await
            };
            match report {
                Ok(PutReport::Taken) => {
                    seat.recovered();
                    return Ok(Ok(()));
                }
                Ok(PutReport::Rejected(rows)) => {
                    seat.recovered();
                    if let Some(issue) = contract_issue(&rows, batch.records.len()) {
                        let class = seat.assignment.plugin.class();
                        return Err(Failure::fatal(format!(
                            "{class} breaks the contract of put: {issue}. Nothing of the batch counts as written; \
                             this is a defect of the connector"
                        )));
                    }
                    let mut letters = Vec::new();
                    for row in &rows {
                        let SinkRecord { origin, offset, .. } = &batch.records[row.index];
                        let error = ConnectError::Data(row.message.clone());
                        let original = || original_at(runs, origin, *offset);
                        letters.extend(self.desk.judge(Stage::TaskPut, None, &error, original)?);
                    }
                    let mut bad = rows.iter().map(|row| row.index).peekable();
                    let mut index = 0;
                    batch.records.retain(|_| {
                        let is_bad = bad.next_if_eq(&index).is_some();
                        index += 1;
                        !is_bad
                    });
                    self.write_letters(seat, letters).await?;
                }
                Err(error) => {
                    if let Err(stopped) = wait_after(seat, &mut backoff, error, "put").await? {
                        return Ok(Err(stopped));
                    }
                }
            }
        }
    }

    /// Converts and transforms one run; what failed goes to `letters`.
    async fn convert(
        &mut self,
        seat: &mut Seat,
        run: &Records,
        letters: &mut Vec<DeadLetter>,
    ) -> Unless<Vec<SinkRecord>> {
        let mut traced = Vec::with_capacity(run.len());
        for row in 0..run.len() {
            match self.record(run, row) {
                Ok(record) => {
                    traced.push(Traced {
                        origin: u32::try_from(row).unwrap_or(u32::MAX),
                        offset: Some(run.offsets.value(row)),
                        record,
                    });
                }
                Err((stage, class, error)) => {
                    let letter = self
                        .desk
                        .judge(stage, Some(class), &error, || original(run, row))?;
                    letters.extend(letter);
                }
            }
        }
        let errors = &self.desk.settings;
        let Some(output) = transforming::apply(&mut self.chain, errors, seat, traced).await? else {
            return Ok(Err(Stopped));
        };
        for failure in output.failures {
            let row = failure.origin as usize;
            let letter = self.desk.judge(
                Stage::Transformation,
                Some("transforms"),
                &failure.error,
                || original(run, row),
            )?;
            letters.extend(letter);
        }
        let records = output.records.into_iter().map(
            |Traced {
                 origin, mut record, ..
             }| {
                record.partition.get_or_insert(run.partition.partition);
                SinkRecord {
                    record,
                    origin: run.partition.clone(),
                    offset: run.offsets.value(origin as usize),
                }
            },
        );
        Ok(Ok(records.collect()))
    }

    /// Invariant 2.
    async fn write_letters(
        &mut self,
        seat: &Seat,
        written: Vec<DeadLetter>,
    ) -> Result<(), Failure> {
        match &mut self.letters {
            Some(letters) => letters.write(&*seat.environment.log, written).await,
            None => Ok(()),
        }
    }

    fn record(
        &mut self,
        run: &Records,
        row: usize,
    ) -> Result<Record, (Stage, &'static str, ConnectError)> {
        let bytes = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
        let [key_class, value_class] = self.converter_classes;
        let header_class = self.header_converter.class();
        let (key_schema, key) = self
            .key_converter
            .to_value(bytes(run.key(row)))
            .map_err(|error| (Stage::KeyConverter, key_class, error))?;
        let (value_schema, value) = self
            .value_converter
            .to_value(bytes(run.value(row)))
            .map_err(|error| (Stage::ValueConverter, value_class, error))?;
        let timestamp = run.timestamps.value(row);
        Ok(Record {
            topic: Arc::clone(&run.partition.topic),
            partition: Some(run.partition.partition),
            timestamp: (timestamp >= 0).then_some(timestamp),
            key_schema,
            key,
            value_schema,
            value,
            headers: run
                .headers(row)
                .map(|(name, value)| self.header_converter.header(name, value))
                .collect::<Result<_, _>>()
                .map_err(|error| (Stage::HeaderConverter, header_class, error))?,
        })
    }

    /// Makes what was put durable and commits the group's offsets behind it.
    async fn flush(&mut self, seat: &mut Seat, task: &mut dyn SinkTask) -> Result<(), Failure> {
        if self.moved.is_empty() {
            return Ok(());
        }
        let flushed = {
            let _call = seat.pulse.call();
            match task.flush().await {
                Ok(flushed) => flushed,
                Err(error) if error.retryable() => {
                    tracing::warn!(connector = seat.assignment.id.connector, %error, "flush is tried again");
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        };
        let durable = durable(&self.moved, flushed).map_err(|issue| {
            let class = seat.assignment.plugin.class();
            Failure::fatal(format!(
                "{class} breaks the contract of flush: {issue}; this is a defect of the connector"
            ))
        })?;
        let news = |(partition, offset): &(&TopicPartition, &i64)| {
            self.committed.get(*partition) != Some(*offset)
        };
        let offsets: Vec<OffsetCommit> = durable
            .iter()
            .filter(news)
            .map(|(partition, offset)| OffsetCommit {
                partition: partition.clone(),
                offset: *offset,
                metadata: self
                    .incarnations
                    .get(partition)
                    .cloned()
                    .unwrap_or_default(),
            })
            .collect();
        if offsets.is_empty() {
            return Ok(());
        }
        match seat
            .environment
            .log
            .admin()
            .commit_offsets(&self.group, offsets)
            .await
        {
            Ok(()) => {
                // What the sink holds back is asked for again with the next flush.
                self.moved
                    .retain(|partition, put| durable.get(partition) != Some(&*put));
                self.committed.extend(durable);
            }
            Err(error) if error.retryable() => {
                tracing::warn!(connector = seat.assignment.id.connector, %error, "offsets are committed later");
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// The offsets that may be committed: those that were put, as far as the sink says that they are durable.
///
/// # Errors
/// What is wrong with what it says: taken at its word, records that are nowhere would never come again.
fn durable(
    moved: &HashMap<TopicPartition, i64>,
    flushed: Flushed,
) -> Result<HashMap<TopicPartition, i64>, String> {
    let Flushed::UpTo(offsets) = flushed else {
        return Ok(moved.clone());
    };
    let known = offsets
        .into_iter()
        .filter(|(partition, _)| moved.contains_key(partition));
    known
        .map(|(partition, offset)| match moved.get(&partition) {
            Some(put) if (0..=*put).contains(&offset) => Ok((partition, offset)),
            Some(put) => Err(format!(
                "it says that {partition} is durable up to {offset}, and was given what is before {put}"
            )),
            None => Err(format!("it names {partition}, of which nothing was put")),
        })
        .collect()
}

/// The first offset behind a batch that cannot be read and begins at `base`: it says itself how many offsets it has, but
/// nobody can read that. Found by bisection, with a reader of its own.
async fn behind(log: &dyn Log, partition: &TopicPartition, base: i64) -> Result<i64, Failure> {
    let (mut first, mut last) = (
        base + 1,
        log.admin().offset(partition, OffsetSpec::Latest).await?,
    );
    let one = PollBudget {
        bytes_max: 1,
        wait_max: Duration::ZERO,
    };
    while first < last {
        let middle = first + (last - first) / 2;
        let from = vec![(partition.clone(), Start::Offset(middle))];
        let mut probe = log.reader(ReaderOptions::default(), from).await?;
        match probe.poll(one).await {
            Err(ReadError::Corrupt { offset, .. }) if offset == base => first = middle + 1,
            Err(error) if error.retryable() => return Err(error.into()),
            _ => last = middle,
        }
    }
    Ok(first)
}

/// Whether an offset of the group is of this incarnation: of a topic that was made anew it says nothing. With other
/// metadata it was committed by somebody else, who means the topic as it is.
fn counts(metadata: &str, incarnation: &str) -> bool {
    let is_incarnation = metadata
        .split_once('.')
        .is_some_and(|(id, _)| uuid::Uuid::try_parse(id).is_ok());
    !is_incarnation || metadata == incarnation
}

fn original(run: &Records, row: usize) -> Original {
    let bytes = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
    Original {
        topic: run.partition.topic.to_string(),
        place: Some((run.partition.partition, run.offsets.value(row))),
        source: None,
        key: bytes(run.key(row)),
        value: bytes(run.value(row)),
        headers: run
            .headers(row)
            .map(|(name, value)| (name.to_owned(), bytes(value)))
            .collect(),
    }
}

/// The record at an offset of a partition: offsets of a run rise, so it is found by bisection.
fn original_at(runs: &[Records], partition: &TopicPartition, offset: i64) -> Original {
    runs.iter()
        .filter(|run| run.partition == *partition)
        .find_map(|run| {
            let row = run.offsets.values().binary_search(&offset).ok()?;
            Some(original(run, row))
        })
        .unwrap_or_default()
}

/// What is wrong with the rows that a sink rejects of a batch of so many records, if anything: taken at its word, it
/// would lose other records than it names.
fn contract_issue(rows: &[RejectedRow], records: usize) -> Option<String> {
    if rows.is_empty() {
        return Some("it rejected a batch, but no row of it".to_owned());
    }
    if let Some(row) = rows.iter().find(|row| row.index >= records) {
        return Some(format!(
            "it rejected row {} of a batch of {records}",
            row.index
        ));
    }
    let pair = rows
        .windows(2)
        .find(|pair| pair[0].index >= pair[1].index)?;
    Some(format!(
        "it rejected row {} after row {}, not in ascending order",
        pair[1].index, pair[0].index
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_put_can_be_durable() {
        let partition = |number| TopicPartition::new("t", number);
        let moved = HashMap::from([(partition(0), 10), (partition(1), 5)]);
        let up_to = |offsets: &[(i32, i64)]| {
            let offsets = offsets.iter();
            let offsets = offsets.map(|(number, offset)| (partition(*number), *offset));
            durable(&moved, Flushed::UpTo(offsets.collect()))
        };
        assert_eq!(durable(&moved, Flushed::All), Ok(moved.clone()));
        assert_eq!(up_to(&[]), Ok(HashMap::new()));
        // Of a partition that did not move it may say what it said before.
        let some = up_to(&[(0, 7), (2, 99)]);
        assert_eq!(some, Ok(HashMap::from([(partition(0), 7)])));
        for offset in [11, -1] {
            assert!(
                up_to(&[(0, offset)]).unwrap_err().contains("t-0"),
                "{offset}"
            );
        }
    }

    #[test]
    fn rejected_rows_are_ascending_and_of_the_batch() {
        let issue = |indexes: &[usize]| {
            let row = |index: &usize| RejectedRow {
                index: *index,
                message: String::new(),
            };
            let rows: Vec<RejectedRow> = indexes.iter().map(row).collect();
            contract_issue(&rows, 3).unwrap_or_default()
        };
        assert_eq!(issue(&[0, 2]), "");
        assert!(issue(&[]).contains("no row of it"));
        assert!(issue(&[0, 3]).contains("row 3 of a batch of 3"));
        for unordered in [&[1, 1][..], &[2, 0]] {
            assert!(issue(unordered).contains("ascending"), "{unordered:?}");
        }
    }
}
