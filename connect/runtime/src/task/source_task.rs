//! A source task's run: poll → transforms → converters → one transaction with the records and their offsets.
//!
//! ```text
//!  open transactional id (fences the last owner) ─▶ read offsets ─▶ start ─▶ ┌ poll ─▶ transform ─▶ convert ─▶ append ┐
//!                                                                           └── commit after 50 ms, N records, idle ──┘
//!                                                                                 └─▶ committed(offsets)
//! ```
//!
//! Invariants:
//! 1. Offsets are read after the id is opened: what the last owner committed is in them, and nothing follows.
//! 2. Records and the offsets behind them are in the same transaction.
//! 3. `committed` is called only after the transaction is on disk.
//! 4. A run that fails aborts what is open; the next run starts at the committed offsets.
//! 5. What came before a record that ends the run is committed. Offsets are those of whole batches, so such a batch is
//!    read again by a new task: first what came before the record, then the record alone, which then ends the run.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use connect_api::{
    ConnectError, ConnectorKind, Poll, PollBudget, Record, Rejected, SourceOffset, SourceOffsets,
    SourceTask, Task, Traced,
};
use log_api::{
    BatchBuilder, NewTopic, TopicPartition, Transaction, TransactionOptions, partition_for_key,
};

use super::backoff::Backoff;
use super::dead_letter::{
    DeadLetter, ErrorDesk, Original, RawHeader, Stage, message_bytes_max, not_tolerated,
    record_bytes,
};
use super::failure::Failure;
use super::lifecycle::{Control, End, Phase};
use super::post::Post;
use super::{Environment, Seat, transforming};
use crate::converter::{Converter, HeaderConverter, header_bytes};
use crate::definition::{Settings, TopicCreation, target_issue};
use crate::store::ensure_topic;
use crate::transform::Chain;

/// Records and bytes asked of a connector at a time.
const POLL_RECORDS_MAX: usize = 8192;
const POLL_BYTES_MAX: usize = 1 << 20;
/// How long a connector may wait when it has nothing.
const POLL_WAIT_MAX: Duration = Duration::from_millis(500);
/// Longest pause between attempts of a call that fails for now.
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Bytes of one batch; several make a transaction.
const BATCH_BYTES_MAX: usize = 512 << 10;
/// The log ends transactions that are open for longer: a crashed worker's.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) async fn run(mut seat: Seat, mut task: Box<dyn SourceTask>) -> Result<End, Failure> {
    let mut flow = Flow::open(&seat).await?;
    let mut budgets = Vec::new();
    let result = loop {
        let refused = match work(&mut seat, &mut flow, &mut *task, budgets).await {
            Err(refused) if refused.good > 0 => refused,
            ended => break ended,
        };
        let fresh = match seat.assignment.plugin.task() {
            Task::Source(fresh) => fresh,
            Task::Sink(_) => break Err(refused),
        };
        // From the end on: what is good, then the record that is not.
        budgets = vec![1, refused.good];
        let _call = seat.pulse.call();
        std::mem::replace(&mut task, fresh).stop().await;
    };
    if result.is_err() {
        // Best effort: the next owner of the id ends it in any case.
        let _ = flow.transaction.abort().await;
    }
    let _call = seat.pulse.call();
    task.stop().await;
    result.map_err(|refused| refused.failure)
}

/// Why a run ends, and whether it is worth reading the batch again.
struct Refused {
    failure: Failure,
    /// Records of the batch before the one that ends the run; 0 where a smaller batch commits nothing more.
    good: usize,
}

impl<F: Into<Failure>> From<F> for Refused {
    fn from(failure: F) -> Self {
        Self {
            failure: failure.into(),
            good: 0,
        }
    }
}

/// Runs the task. `budgets`: how many records the first polls ask for, from the end on, each committed by itself; then
/// as many as there is room for.
async fn work(
    seat: &mut Seat,
    flow: &mut Flow,
    task: &mut dyn SourceTask,
    mut budgets: Vec<usize>,
) -> Result<End, Refused> {
    let mut backoff = Backoff::new(RETRY_MAX);
    let offsets = seat
        .environment
        .offsets
        .load(&seat.assignment.id.connector)
        .await?;
    loop {
        let started = {
            let _call = seat.pulse.call();
            task.start(seat.context(), SourceOffsets::new(offsets.clone()))
                .await
        };
        match started {
            Ok(()) => {
                seat.recovered();
                break;
            }
            Err(error) if error.retryable() => {
                seat.pause_before_retry("start", &error, backoff.next())
                    .await;
                if seat.control() == Control::Stop {
                    return Ok(End::Stopped);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    backoff.reset();
    let mut shown = None;
    let mut meter = seat.meter();
    let mut post = match task.mailbox() {
        Some(mailbox) => Some(Post::open(&seat.environment, mailbox).await?),
        None => None,
    };
    loop {
        match seat.control() {
            Control::Stop => {
                flow.commit(seat, task).await?;
                return Ok(End::Stopped);
            }
            Control::Pause => {
                flow.commit(seat, task).await?;
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
        if let Some(post) = &mut post {
            task.deliver(post.take().await?);
        }
        let records_max = budgets.last().copied().unwrap_or(POLL_RECORDS_MAX);
        let budget = PollBudget {
            records_max,
            bytes_max: POLL_BYTES_MAX,
            // What is pending is committed as soon as the source has nothing more.
            wait_max: if flow.pending.is_empty() {
                POLL_WAIT_MAX
            } else {
                Duration::ZERO
            },
        };
        let pulse = Arc::clone(&seat.pulse);
        let polled = {
            let _call = pulse.call();
            tokio::select! {
                biased;
                () = seat.told_otherwise() => continue,
                polled = task.poll(budget) => polled,
            }
        };
        if let Ok(Poll::Batch { records, .. }) = &polled {
            meter.count(records.len());
        }
        if meter.is_due() {
            meter.show(task.progress());
        }
        match polled {
            Ok(Poll::Batch {
                records,
                rejected,
                offsets,
            }) => {
                backoff.reset();
                seat.recovered();
                let source = describe(&offsets);
                // A batch that was asked for in this size, and is no better, would be no better again.
                let good_max = match budgets.is_empty() {
                    true => usize::MAX,
                    false => records_max.saturating_sub(1),
                };
                let polled = (records, rejected, &*source);
                match flow.prepare(seat, polled, good_max).await {
                    Ok(ready) => flow.append(ready, offsets).await?,
                    Err(refused) => {
                        // What was polled before is good.
                        flow.commit(seat, task).await?;
                        return Err(refused);
                    }
                }
                let apart = budgets.pop().is_some();
                if apart || flow.is_due() {
                    flow.commit(seat, task).await?;
                }
            }
            Ok(Poll::Idle) => {
                match task.waits_for() {
                    Some(what) => seat.waits_for(&what),
                    None => seat.recovered(),
                }
                flow.commit(seat, task).await?;
            }
            Ok(Poll::Done) => {
                flow.commit(seat, task).await?;
                return Ok(End::Completed);
            }
            Err(error) => {
                // What was read before is good.
                flow.commit(seat, task).await?;
                if !error.retryable() {
                    return Err(error.into());
                }
                seat.pause_before_retry("poll", &error, backoff.next())
                    .await;
            }
        }
    }
}

/// What was polled and is not committed.
#[derive(Default)]
struct Pending {
    records: usize,
    bytes: usize,
    offsets: Vec<SourceOffset>,
    since: Option<Instant>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.since.is_none()
    }
}

/// A record as bytes.
struct Message {
    topic: Arc<str>,
    timestamp: i64,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<RawHeader>,
}

/// A record that its topic takes.
struct Ready {
    message: Message,
    /// Its partition.
    index: usize,
    bytes: usize,
}

/// A topic that records go to.
struct Topic {
    /// One batch a partition, made when the first record comes.
    batches: Vec<Option<BatchBuilder>>,
    /// Next partition for records without a key.
    next: usize,
    message_bytes_max: usize,
}

struct Flow {
    environment: Arc<Environment>,
    transaction: Box<dyn Transaction>,
    chain: Chain,
    key_converter: Box<dyn Converter>,
    value_converter: Box<dyn Converter>,
    header_converter: HeaderConverter,
    converter_classes: [&'static str; 2],
    creation: TopicCreation,
    compression: log_api::Compression,
    interval: Duration,
    desk: ErrorDesk,
    topics: HashMap<Arc<str>, Topic>,
    pending: Pending,
    written: metrics::Counter,
    polled: metrics::Counter,
}

impl Flow {
    async fn open(seat: &Seat) -> Result<Self, Failure> {
        let environment = Arc::clone(&seat.environment);
        let id = &seat.assignment.id;
        let settings = Settings::parse(
            ConnectorKind::Source,
            &seat.assignment.connector_config,
            &environment.config,
        )?;
        let chain = Chain::build(&seat.assignment.connector_config, &environment.sandbox)?;
        let options = TransactionOptions {
            transactional_id: format!(
                "{}-{}-{}",
                environment.config.group_id, id.connector, id.task
            ),
            timeout: TRANSACTION_TIMEOUT,
        };
        let transaction = environment.log.transaction(options).await?;
        let counter = |name: &'static str| metrics::counter!(name, "connector" => id.connector.clone(), "task" => id.task.to_string());
        Ok(Self {
            transaction,
            chain,
            key_converter: settings.key_converter,
            value_converter: settings.value_converter,
            header_converter: settings.header_converter,
            converter_classes: [settings.key_converter_class, settings.value_converter_class],
            creation: settings.creation,
            compression: settings.compression,
            interval: settings.transaction_interval,
            desk: ErrorDesk::new(settings.errors, id, seat.assignment.plugin.class()),
            topics: HashMap::new(),
            pending: Pending::default(),
            written: counter("kafka_connect_source_task_metrics_source_record_write_total"),
            polled: counter("kafka_connect_source_task_metrics_source_record_poll_total"),
            environment,
        })
    }

    fn is_due(&self) -> bool {
        let config = &self.environment.config;
        self.pending.records >= config.transaction_records_max
            || self.pending.bytes >= config.transaction_bytes_max
            || self
                .pending
                .since
                .is_some_and(|since| since.elapsed() >= self.interval)
    }

    /// Sends a polled batch through transforms and converters. Nothing of it is in the transaction yet: where a record
    /// ends the run, what was polled before can still be committed. With more than `good_max` records before that one,
    /// the batch is not worth reading again.
    async fn prepare(
        &mut self,
        seat: &mut Seat,
        (records, rejected, source): (Vec<Record>, Vec<Rejected>, &str),
        good_max: usize,
    ) -> Result<Vec<Ready>, Refused> {
        self.polled.increment(records.len() as u64);
        let any_rejected = !rejected.is_empty();
        let mut ready = Vec::with_capacity(records.len());
        for bad in rejected {
            let error = ConnectError::Data(bad.message);
            let original = || Original {
                topic: bad.topic.to_string(),
                value: Some(bad.raw),
                source: Some(source.to_owned()),
                ..Original::default()
            };
            if let Some(letter) = self.desk.judge(Stage::TaskPoll, None, &error, original)? {
                ready.extend(self.letter(seat, letter).await?);
            }
        }
        let first = records.first().cloned();
        let originals = self
            .desk
            .settings
            .dead_letter_topic
            .is_some()
            .then(|| records.clone());
        let traced = records
            .into_iter()
            .zip(0..)
            .map(|(record, origin)| Traced {
                origin,
                offset: None,
                record,
            })
            .collect();
        let errors = self.desk.settings.clone();
        let output = transforming::apply(&mut self.chain, &errors, seat, traced)
            .await?
            .ok_or_else(|| Failure::fatal("stopped while a transform was tried again"))?;
        // A batch with pieces that are no records begins with them: less of it is not offered.
        let good = |origin: u32| match origin as usize {
            good if any_rejected || good > good_max => 0,
            good => good,
        };
        let mut failures = output.failures;
        failures.sort_by_key(|failure| failure.origin);
        for failure in failures {
            let original = originals
                .as_ref()
                .and_then(|all| all.get(failure.origin as usize))
                .or(first.as_ref());
            let place = (Stage::Transformation, "transforms", source);
            let good = good(failure.origin);
            let failed = self.fail(seat, place, &failure.error, original, good).await;
            ready.extend(failed.map_err(|failure| Refused { failure, good })?);
        }
        let now_ms = crate::now_ms();
        for Traced { origin, record, .. } in output.records {
            match self.convert(seat, &record, now_ms).await? {
                Ok(converted) => ready.push(converted),
                Err((stage, error)) => {
                    let original = originals.as_ref().and_then(|all| all.get(origin as usize));
                    let class = match stage {
                        Stage::KeyConverter => self.converter_classes[0],
                        Stage::ValueConverter => self.converter_classes[1],
                        Stage::HeaderConverter => self.header_converter.class(),
                        _ => "producer",
                    };
                    let original = original.or(Some(&record));
                    let place = (stage, class, source);
                    let good = good(origin);
                    let failed = self.fail(seat, place, &error, original, good).await;
                    ready.extend(failed.map_err(|failure| Refused { failure, good })?);
                }
            }
        }
        Ok(ready)
    }

    /// Adds records and the offsets behind them to the open transaction.
    async fn append(
        &mut self,
        ready: Vec<Ready>,
        offsets: Vec<SourceOffset>,
    ) -> Result<(), Failure> {
        self.pending.since.get_or_insert_with(Instant::now);
        for moved in offsets {
            self.pending
                .offsets
                .retain(|old| old.partition != moved.partition);
            self.pending.offsets.push(moved);
        }
        for record in ready {
            self.append_one(record).await?;
        }
        Ok(())
    }

    /// A record failed: the run ends, or the record is skipped or becomes a dead letter. Where `good` records before it
    /// are to be read again and committed first, it is counted when it comes again.
    async fn fail(
        &mut self,
        seat: &Seat,
        (stage, class, source): (Stage, &str, &str),
        error: &ConnectError,
        original: Option<&Record>,
        good: usize,
    ) -> Result<Option<Ready>, Failure> {
        if good > 0 && !self.desk.settings.tolerate {
            let place = format!("read up to {source}");
            return Err(not_tolerated(stage, error, &place));
        }
        let (key_converter, value_converter) = (&mut self.key_converter, &mut self.value_converter);
        let original = || match original {
            None => Original::default(),
            Some(record) => Original {
                topic: record.topic.to_string(),
                place: None,
                source: Some(source.to_owned()),
                key: key_converter
                    .to_bytes(record.key_schema.as_ref(), &record.key)
                    .ok()
                    .flatten(),
                value: value_converter
                    .to_bytes(record.value_schema.as_ref(), &record.value)
                    .ok()
                    .flatten(),
                headers: raw_headers(record),
            },
        };
        match self.desk.judge(stage, Some(class), error, original)? {
            Some(letter) => self.letter(seat, letter).await,
            None => Ok(None),
        }
    }

    async fn letter(&mut self, seat: &Seat, letter: DeadLetter) -> Result<Option<Ready>, Failure> {
        let Some(topic) = self.desk.settings.dead_letter_topic.clone() else {
            return Ok(None);
        };
        let topic: Arc<str> = topic.into();
        let letter = letter.fit(self.topic(seat, &topic).await?.message_bytes_max);
        let message = Message {
            topic,
            timestamp: crate::now_ms(),
            key: letter.key,
            value: letter.value,
            headers: letter.headers,
        };
        match self.place(seat, message, None).await? {
            Ok(ready) => Ok(Some(ready)),
            Err(error) => Err(ConnectError::Fatal(format!("a dead letter: {error}")).into()),
        }
    }

    /// Converts a record. The inner error is the record's own.
    async fn convert(
        &mut self,
        seat: &Seat,
        record: &Record,
        now_ms: i64,
    ) -> Result<Result<Ready, (Stage, ConnectError)>, Failure> {
        let key = match self
            .key_converter
            .to_bytes(record.key_schema.as_ref(), &record.key)
        {
            Ok(key) => key,
            Err(error) => return Ok(Err((Stage::KeyConverter, error))),
        };
        let value = match self
            .value_converter
            .to_bytes(record.value_schema.as_ref(), &record.value)
        {
            Ok(value) => value,
            Err(error) => return Ok(Err((Stage::ValueConverter, error))),
        };
        let mut headers = Vec::with_capacity(record.headers.len());
        for header in &record.headers {
            match self.header_converter.bytes(&header.value) {
                Ok(bytes) => headers.push((header.name.to_string(), bytes)),
                Err(error) => return Ok(Err((Stage::HeaderConverter, error))),
            }
        }
        let message = Message {
            topic: Arc::clone(&record.topic),
            timestamp: record.timestamp.unwrap_or(now_ms),
            key,
            value,
            headers,
        };
        let placed = self.place(seat, message, record.partition).await?;
        Ok(placed.map_err(|error| (Stage::KafkaProduce, error)))
    }

    /// Finds a record's partition. The inner error is the record's own.
    async fn place(
        &mut self,
        seat: &Seat,
        message: Message,
        partition: Option<i32>,
    ) -> Result<Result<Ready, ConnectError>, Failure> {
        let name = Arc::clone(&message.topic);
        // A transform may have made the name.
        if !self.topics.contains_key(&name)
            && let Some(issue) = target_issue(&name, &self.environment.config)
        {
            return Ok(Err(ConnectError::Data(format!(
                "the record cannot go to topic \"{name}\": {issue}"
            ))));
        }
        let topic = self.topic(seat, &name).await?;
        let bytes = record_bytes(
            message.key.as_ref(),
            message.value.as_ref(),
            &message.headers,
        );
        if bytes > topic.message_bytes_max {
            return Ok(Err(ConnectError::Data(format!(
                "a record of about {bytes} bytes exceeds max.message.bytes ({}) of topic {name}; raise it there, or \
                 send smaller records",
                topic.message_bytes_max
            ))));
        }
        let count = topic.batches.len();
        let index = match (partition, &message.key) {
            (Some(partition), _) => match usize::try_from(partition)
                .ok()
                .filter(|index| *index < count)
            {
                Some(index) => index,
                None => {
                    return Ok(Err(ConnectError::Data(format!(
                        "the record names partition {partition}, but topic {name} has {count}"
                    ))));
                }
            },
            (None, Some(key)) => {
                let hashed = partition_for_key(key, i32::try_from(count).unwrap_or(i32::MAX));
                usize::try_from(hashed).unwrap_or(0)
            }
            (None, None) => {
                topic.next = (topic.next + 1) % count;
                topic.next
            }
        };
        Ok(Ok(Ready {
            message,
            index,
            bytes,
        }))
    }

    /// Adds a record to its partition's batch.
    async fn append_one(&mut self, ready: Ready) -> Result<(), Failure> {
        let Ready {
            message,
            index,
            bytes,
        } = ready;
        let is_letter = self.desk.settings.dead_letter_topic.as_deref() == Some(&*message.topic);
        let topic = self
            .topics
            .get_mut(&message.topic)
            .expect("a record that has its partition has its topic opened");
        let limit = BATCH_BYTES_MAX.min(topic.message_bytes_max);
        let full = topic.batches[index].take_if(|batch| batch.size_bytes() + bytes > limit);
        let headers: Vec<(&str, Option<&[u8]>)> = message
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()))
            .collect();
        topic.batches[index]
            .get_or_insert_with(|| BatchBuilder::new(self.compression))
            .append(
                message.timestamp,
                message.key.as_deref(),
                message.value.as_deref(),
                &headers,
            );
        self.pending.records += 1;
        self.pending.bytes += bytes;
        self.written.increment(u64::from(!is_letter));
        if let Some(full) = full {
            let index = i32::try_from(index).unwrap_or(i32::MAX);
            let partition = TopicPartition::new(Arc::clone(&message.topic), index);
            self.transaction.append(&partition, full).await?;
        }
        Ok(())
    }

    /// A topic, opened with its first record.
    async fn topic(&mut self, seat: &Seat, name: &Arc<str>) -> Result<&mut Topic, Failure> {
        if !self.topics.contains_key(name) {
            let topic = self.open_topic(name).await?;
            self.topics.insert(Arc::clone(name), topic);
            seat.topic_used(name);
        }
        Ok(self
            .topics
            .get_mut(name)
            .expect("inserted above where it was missing"))
    }

    async fn open_topic(&self, name: &Arc<str>) -> Result<Topic, Failure> {
        let settings = self.creation.of(name);
        let mut new = NewTopic::new(&**name, settings.partitions);
        new.configs.clone_from(&settings.configs);
        let described = ensure_topic(&*self.environment.log.admin(), new).await?;
        let partitions = usize::try_from(described.partitions).unwrap_or(1).max(1);
        Ok(Topic {
            batches: (0..partitions).map(|_| None).collect(),
            next: fastrand::usize(..partitions),
            message_bytes_max: message_bytes_max(&described),
        })
    }

    /// Ends the transaction, if anything is pending.
    async fn commit(&mut self, seat: &Seat, task: &mut dyn SourceTask) -> Result<(), Failure> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        for (name, topic) in &mut self.topics {
            for (index, batch) in topic.batches.iter_mut().enumerate() {
                if let Some(batch) = batch.take() {
                    let partition = TopicPartition::new(
                        Arc::clone(name),
                        i32::try_from(index).unwrap_or(i32::MAX),
                    );
                    self.transaction.append(&partition, batch).await?;
                }
            }
        }
        let now_ms = crate::now_ms();
        for moved in &pending.offsets {
            let record = self.environment.offsets.record(
                &seat.assignment.id.connector,
                &moved.partition,
                Some(&moved.offset),
            );
            let mut batch = BatchBuilder::new(log_api::Compression::None);
            batch.append(now_ms, Some(&record.key), record.value.as_deref(), &[]);
            self.transaction.append(&record.partition, batch).await?;
        }
        self.transaction.commit().await?;
        let _call = seat.pulse.call();
        match task.committed(&pending.offsets).await {
            Ok(()) => Ok(()),
            // The next commit acknowledges more.
            Err(error) if error.retryable() => {
                tracing::warn!(connector = seat.assignment.id.connector, %error, "an acknowledgement failed for now");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Where a source has read to, in its own words.
fn describe(offsets: &[SourceOffset]) -> String {
    let one = |moved: &SourceOffset| {
        let (partition, offset) = (&moved.partition, &moved.offset);
        serde_json::json!([partition, offset]).to_string()
    };
    offsets.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn raw_headers(record: &Record) -> Vec<RawHeader> {
    record
        .headers
        .iter()
        .map(|header| (header.name.to_string(), header_bytes(&header.value)))
        .collect::<Vec<(String, Option<Bytes>)>>()
}
