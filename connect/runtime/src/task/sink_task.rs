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
    ConnectError, ConnectorKind, OpenPartition, PutReport, Record, SinkBatch, SinkRecord, SinkTask,
    TopicPartition, Traced,
};
use log_api::{
    BatchBuilder, Compression, NewTopic, OffsetCommit, PollBudget, ReadError, Reader,
    ReaderOptions, Records, Start, WriteError, Writer,
};

use super::Seat;
use super::backoff::Backoff;
use super::dead_letter::{DeadLetter, ErrorDesk, Original, Stage, message_bytes_max};
use super::failure::Failure;
use super::lifecycle::{Control, Phase};
use crate::converter::{Converter, header};
use crate::definition::Settings;
use crate::herder::End;
use crate::store::{Resets, ensure_topic};
use crate::transform::Chain;

/// Bytes read at a time.
const READ_BYTES_MAX: usize = 1 << 20;
/// How long a read waits when there is nothing.
const READ_WAIT_MAX: Duration = Duration::from_millis(500);
/// With nothing more to read, what was put is flushed this soon after the last flush.
const FLUSH_IDLE_AFTER: Duration = Duration::from_millis(100);
/// How often topics are looked at for new partitions.
const REFRESH_EVERY: Duration = Duration::from_secs(5);
/// How often topics are looked for that are not there yet.
const ABSENT_WAIT: Duration = Duration::from_millis(250);
/// Dead letters are not cut to less than this.
const LETTER_BYTES_MIN: usize = 16 << 10;
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
    loop {
        let partitions = flow.partitions(seat).await?;
        if partitions.is_empty() {
            match idle(seat).await {
                Ok(()) => continue,
                Err(stopped) => return Ok(Err(stopped)),
            }
        }
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

/// Waits while there is nothing to read from.
async fn idle(seat: &mut Seat) -> Result<(), Stopped> {
    let phase = match seat.control() {
        Control::Stop => return Err(Stopped),
        Control::Pause => Phase::Paused,
        Control::Run => Phase::Running,
    };
    seat.report(phase);
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
    let mut shown = None;
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
        if refreshed.elapsed() >= REFRESH_EVERY {
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
            bytes_max: READ_BYTES_MAX,
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
                    .after_read_error(seat, reader, error, partitions)
                    .await?
                {
                    // A topic is gone, or another: look again at what there is.
                    true => return Ok(Ok(())),
                    false => continue,
                }
            }
        };
        let idle = runs.iter().all(|run| run.is_empty());
        for run in runs {
            if let Err(stopped) = flow.deliver(seat, task, run).await? {
                return Ok(Err(stopped));
            }
        }
        let due = flushed.elapsed() >= if idle { flush_idle_after } else { flush_every };
        if !flow.moved.is_empty() && due {
            flow.flush(seat, task).await?;
            flushed = Instant::now();
        }
    }
}

/// Writes dead letters; opened with the first one.
struct LetterBox {
    topic: String,
    writer: Option<Arc<dyn Writer>>,
    message_bytes_max: usize,
}

struct Flow {
    group: String,
    chain: Chain,
    key_converter: Box<dyn Converter>,
    value_converter: Box<dyn Converter>,
    converter_classes: [&'static str; 2],
    topics: Vec<String>,
    topics_regex: Option<regex::Regex>,
    desk: ErrorDesk,
    letters: Option<LetterBox>,
    resets: Resets,
    /// The open partitions' incarnations: committed as the metadata of their offsets.
    incarnations: HashMap<TopicPartition, String>,
    /// Positions that were put and whose offsets are not committed yet.
    moved: HashMap<TopicPartition, i64>,
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
            group: format!("connect-{}", id.connector),
            chain: Chain::build(config, &environment.sandbox)?,
            key_converter: settings.key_converter,
            value_converter: settings.value_converter,
            converter_classes: [settings.key_converter_class, settings.value_converter_class],
            topics: settings.topics,
            topics_regex: settings.topics_regex,
            letters: settings
                .errors
                .dead_letter_topic
                .clone()
                .map(|topic| LetterBox {
                    topic,
                    writer: None,
                    message_bytes_max: usize::MAX,
                }),
            desk: ErrorDesk::new(settings.errors, id, seat.assignment.plugin.class()),
            resets: Resets::among(&environment.offsets.load(&id.connector).await?),
            incarnations: HashMap::new(),
            moved: HashMap::new(),
            used: Default::default(),
            read: counter("kafka_connect_sink_task_metrics_sink_record_read_total"),
            sent: counter("kafka_connect_sink_task_metrics_sink_record_send_total"),
        })
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
        let assignment = partitions
            .iter()
            .zip(committed)
            .map(|(open, committed)| {
                let partition = &open.partition;
                let of_this_life = counts(&committed.metadata, &open.incarnation);
                let committed = committed.offset.filter(|_| of_this_life);
                let next = stored.get(partition).copied().or(committed);
                (
                    partition.clone(),
                    next.map_or(Start::Earliest, Start::Offset),
                )
            })
            .collect();
        self.moved.clear();
        Ok(Ok(log.reader(ReaderOptions::default(), assignment).await?))
    }

    /// What to do about a read that failed; `true`: the partitions are to be looked up again.
    async fn after_read_error(
        &self,
        seat: &mut Seat,
        reader: &mut dyn Reader,
        error: ReadError,
        open: &[OpenPartition],
    ) -> Result<bool, Failure> {
        match error {
            ReadError::UnknownPartition(_) => {
                seat.pause(ABSENT_WAIT).await;
                Ok(true)
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
                Ok(false)
            }
            ReadError::OffsetOutOfRange { .. } if self.partitions(seat).await? != open => Ok(true),
            ReadError::OffsetOutOfRange { .. } => Err(Failure::fatal(format!(
                "{error}: the topic was made anew. Stop the connector and reset its offsets to read it from its start"
            ))),
            error if error.retryable() => {
                tracing::warn!(connector = seat.assignment.id.connector, %error, "reading is tried again");
                seat.pause(Duration::from_secs(1)).await;
                Ok(false)
            }
            error => Err(error.into()),
        }
    }

    /// Converts, transforms and puts one run of records.
    async fn deliver(
        &mut self,
        seat: &mut Seat,
        task: &mut dyn SinkTask,
        run: Records,
    ) -> Unless<()> {
        if !run.is_empty() && self.used.insert(Arc::clone(&run.partition.topic)) {
            seat.topic_used(&run.partition.topic);
        }
        self.read.increment(run.len() as u64);
        let mut batch = self.convert(seat, &run).await?;
        batch
            .positions
            .push((run.partition.clone(), run.next_offset));
        let count = batch.records.len() as u64;
        let mut backoff = Backoff::new(RETRY_MAX);
        loop {
            let report = {
                let _call = seat.pulse.call();
                task.put(&batch).await
            };
            match report {
                Ok(PutReport::Taken) => {
                    seat.recovered();
                    break;
                }
                Ok(PutReport::Rejected(rows)) => {
                    if rows.is_empty() {
                        return Err(Failure::fatal("the sink rejected a batch but no row of it"));
                    }
                    seat.recovered();
                    for row in &rows {
                        let Some(record) = batch.records.get(row.index) else {
                            return Err(Failure::fatal(
                                "the sink rejected a row that is not in the batch",
                            ));
                        };
                        let offset = record.offset;
                        let error = ConnectError::Data(row.message.clone());
                        let original = || original_at(&run, offset);
                        let letter = self.desk.judge(Stage::TaskPut, None, &error, original)?;
                        self.write_letter(seat, letter).await?;
                    }
                    for row in rows.iter().rev() {
                        batch.records.remove(row.index);
                    }
                    self.sync_letters(seat).await?;
                }
                Err(error) => {
                    if let Err(stopped) = wait_after(seat, &mut backoff, error, "put").await? {
                        return Ok(Err(stopped));
                    }
                }
            }
        }
        self.sent.increment(count);
        for (partition, position) in batch.positions {
            self.moved.insert(partition, position);
        }
        Ok(Ok(()))
    }

    async fn convert(&mut self, seat: &mut Seat, run: &Records) -> Result<SinkBatch, Failure> {
        let mut traced = Vec::with_capacity(run.len());
        let mut letters = Vec::new();
        for row in 0..run.len() {
            match self.record(run, row) {
                Ok(record) => {
                    traced.push(Traced {
                        origin: u32::try_from(row).unwrap_or(u32::MAX),
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
        let output = {
            let _call = seat.pulse.call();
            self.chain.apply(traced)?
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
        if !letters.is_empty() {
            for letter in letters {
                self.write_letter(seat, Some(letter)).await?;
            }
            self.sync_letters(seat).await?;
        }
        let records = output
            .records
            .into_iter()
            .map(|Traced { origin, mut record }| {
                record.partition.get_or_insert(run.partition.partition);
                SinkRecord {
                    record,
                    origin: run.partition.clone(),
                    offset: run.offsets.value(origin as usize),
                }
            })
            .collect();
        Ok(SinkBatch {
            records,
            positions: Vec::new(),
        })
    }

    fn record(
        &mut self,
        run: &Records,
        row: usize,
    ) -> Result<Record, (Stage, &'static str, ConnectError)> {
        let bytes = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
        let [key_class, value_class] = self.converter_classes;
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
                .map(|(name, value)| header(name, value))
                .collect(),
        })
    }

    async fn write_letter(
        &mut self,
        seat: &Seat,
        letter: Option<DeadLetter>,
    ) -> Result<(), Failure> {
        let (Some(letter), Some(letters)) = (letter, &mut self.letters) else {
            return Ok(());
        };
        let writer = match &letters.writer {
            Some(writer) => Arc::clone(writer),
            None => {
                let described = ensure_topic(
                    &*seat.environment.log.admin(),
                    NewTopic::new(&*letters.topic, 1),
                )
                .await?;
                letters.message_bytes_max = message_bytes_max(&described);
                let writer = seat.environment.log.writer().await?;
                Arc::clone(letters.writer.insert(writer))
            }
        };
        let partition = TopicPartition::new(&*letters.topic, 0);
        loop {
            let letter = letter.clone().fit(letters.message_bytes_max);
            let headers: Vec<(&str, Option<&[u8]>)> = letter
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_deref()))
                .collect();
            let mut batch = BatchBuilder::new(Compression::None);
            batch.append(
                crate::now_ms(),
                letter.key.as_deref(),
                letter.value.as_deref(),
                &headers,
            );
            match writer.append(&partition, batch).await {
                // The limit is the broker's, and less than the topic tells.
                Err(WriteError::TooLarge { .. })
                    if letters.message_bytes_max > LETTER_BYTES_MIN =>
                {
                    letters.message_bytes_max /= 2;
                }
                written => return Ok(written.map(drop)?),
            }
        }
    }

    /// Invariant 2.
    async fn sync_letters(&self, _: &Seat) -> Result<(), Failure> {
        if let Some(LetterBox {
            topic,
            writer: Some(writer),
            ..
        }) = &self.letters
        {
            writer.sync(&[TopicPartition::new(&**topic, 0)]).await?;
        }
        Ok(())
    }

    /// Makes what was put durable and commits the group's offsets behind it.
    async fn flush(&mut self, seat: &mut Seat, task: &mut dyn SinkTask) -> Result<(), Failure> {
        if self.moved.is_empty() {
            return Ok(());
        }
        {
            let _call = seat.pulse.call();
            match task.flush().await {
                Ok(()) => {}
                Err(error) if error.retryable() => {
                    tracing::warn!(connector = seat.assignment.id.connector, %error, "flush is tried again");
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        let offsets = self
            .moved
            .iter()
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
        match seat
            .environment
            .log
            .admin()
            .commit_offsets(&self.group, offsets)
            .await
        {
            Ok(()) => self.moved.clear(),
            Err(error) if error.retryable() => {
                tracing::warn!(connector = seat.assignment.id.connector, %error, "offsets are committed later");
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
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

/// The record at an offset: offsets rise, so it is found by bisection.
fn original_at(run: &Records, offset: i64) -> Original {
    let offsets = run.offsets.values();
    match offsets.binary_search(&offset) {
        Ok(row) => original(run, row),
        Err(_) => Original::default(),
    }
}
