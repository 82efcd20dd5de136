//! Reads assigned partitions with a consumer that joins no group.
//!
//! librdkafka shows no control records and tells no position past them. So the end is found by a probe:
//!
//! ```text
//! ask the last stable offset L ─► seek to the last known position ─► end-of-partition and no record: position = L
//! ```
//!
//! Each partition has a queue of its own, because the end of a partition is told without its topic's name.
//!
//! Invariants:
//! 1. A position moves past offsets only when a fetch that began after L was known found no record there.
//! 2. Nothing awaits between taking a record and returning it; an error that comes behind records waits for the next
//!    poll.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use log_api::{
    Admin, OffsetSpec, PartitionProgress, PollBudget, ReadError, Reader, ReaderOptions, Records,
    RecordsBuilder, Start, TopicPartition,
};
use rdkafka::consumer::stream_consumer::StreamPartitionQueue;
use rdkafka::consumer::{Consumer, DefaultConsumerContext, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::admin::KafkaAdmin;
use crate::{KafkaConfig, error};

/// Records taken in one poll at most, whatever their size.
const RECORDS_MAX: usize = 100_000;
/// Records taken of one partition before the others have a turn.
const TURN_RECORDS_MAX: usize = 512;

/// What comes out of a queue.
type Event<'a> = Result<BorrowedMessage<'a>, KafkaError>;

struct Assigned {
    partition: TopicPartition,
    position: i64,
    /// The last stable offset that the running probe looks for.
    probe: Option<i64>,
}

pub(crate) struct KafkaReader {
    /// `None` only while the reader is dropped.
    consumer: Option<Arc<StreamConsumer>>,
    admin: Arc<KafkaAdmin>,
    config: KafkaConfig,
    assigned: Vec<Assigned>,
    /// The queue of each of these.
    queues: Vec<StreamPartitionQueue<DefaultConsumerContext>>,
    /// Whose turn it is.
    turn: usize,
    /// What the next poll says.
    failed: Option<ReadError>,
    index: HashMap<TopicPartition, usize>,
}

impl KafkaReader {
    pub(crate) async fn open(
        config: &KafkaConfig,
        admin: Arc<KafkaAdmin>,
        options: ReaderOptions,
        assignment: Vec<(TopicPartition, Start)>,
    ) -> Result<Self, ReadError> {
        let mut client = config.consumer("thalweg.reader", options.read_uncommitted);
        client.set(
            "fetch.message.max.bytes",
            options.partition_bytes_max.to_string(),
        );
        let consumer: StreamConsumer = client
            .create()
            .map_err(|error| ReadError::Unavailable(error.to_string()))?;
        let mut reader = Self {
            consumer: Some(Arc::new(consumer)),
            admin,
            config: config.clone(),
            assigned: Vec::new(),
            queues: Vec::new(),
            turn: 0,
            failed: None,
            index: HashMap::new(),
        };
        let mut list = TopicPartitionList::new();
        for (partition, start) in assignment {
            let position = reader.resolve(&partition, start).await?;
            list.add_partition_offset(
                &partition.topic,
                partition.partition,
                Offset::Offset(position),
            )
            .map_err(|error| error::read(&partition, &error))?;
            reader
                .index
                .insert(partition.clone(), reader.assigned.len());
            reader.assigned.push(Assigned {
                partition,
                position,
                probe: None,
            });
        }
        reader
            .consumer()
            .assign(&list)
            .map_err(|error| ReadError::Unavailable(error.to_string()))?;
        for assigned in &reader.assigned {
            let partition = &assigned.partition;
            let queue = reader
                .consumer()
                .split_partition_queue(&partition.topic, partition.partition)
                .ok_or_else(|| ReadError::UnknownPartition(partition.clone()))?;
            reader.queues.push(queue);
        }
        Ok(reader)
    }

    fn consumer(&self) -> &Arc<StreamConsumer> {
        self.consumer
            .as_ref()
            .expect("it is taken only when the reader is dropped")
    }

    async fn resolve(&self, partition: &TopicPartition, start: Start) -> Result<i64, ReadError> {
        let earliest = self.end(partition, OffsetSpec::Earliest).await?;
        let latest = self.end(partition, OffsetSpec::Latest).await?;
        match start {
            Start::Earliest => Ok(earliest),
            Start::Latest => Ok(latest),
            Start::Offset(position) if (earliest..=latest).contains(&position) => Ok(position),
            Start::Offset(position) => Err(ReadError::OffsetOutOfRange {
                partition: partition.clone(),
                position,
                start: earliest,
                end: latest,
            }),
        }
    }

    async fn end(&self, partition: &TopicPartition, spec: OffsetSpec) -> Result<i64, ReadError> {
        self.admin
            .offset(partition, spec)
            .await
            .map_err(|error| match error {
                log_api::AdminError::UnknownTopic(_) => {
                    ReadError::UnknownPartition(partition.clone())
                }
                error => ReadError::Unavailable(error.to_string()),
            })
    }

    /// Goes on elsewhere; records that wait in the queue are forgotten.
    async fn seek_to(&self, partition: &TopicPartition, position: i64) -> Result<(), ReadError> {
        let (consumer, timeout) = (Arc::clone(self.consumer()), self.config.request_timeout);
        let place = partition.clone();
        let sought = tokio::task::spawn_blocking(move || {
            let offset = Offset::Offset(position);
            consumer.seek(&place.topic, place.partition, offset, timeout)
        });
        sought
            .await
            .map_err(|error| ReadError::Unavailable(error.to_string()))?
            .map_err(|error| error::read(partition, &error))
    }

    /// Takes what is there, partition by partition.
    fn gather(&mut self, gathered: &mut Gathered, budget: &PollBudget) {
        let consumer = Arc::clone(self.consumer());
        while gathered.has_room(budget)
            && let Some(event) = consumer.recv().now_or_never()
        {
            self.failed = gathered.take_stray(&mut self.assigned, event).err();
            if self.failed.is_some() {
                return;
            }
        }
        let count = self.queues.len();
        let mut quiet = 0;
        while quiet < count && self.failed.is_none() && gathered.has_room(budget) {
            let index = self.turn % count;
            self.turn = index + 1;
            quiet += 1;
            for _ in 0..TURN_RECORDS_MAX {
                let Some(event) = self.queues[index].recv().now_or_never() else {
                    break;
                };
                quiet = 0;
                let taken = gathered.take_event(index, &mut self.assigned[index], event);
                self.failed = taken.err();
                if self.failed.is_some() || !gathered.has_room(budget) {
                    break;
                }
            }
        }
    }

    /// Waits for one event, and takes it.
    async fn wait(
        &mut self,
        gathered: &mut Gathered,
        deadline: tokio::time::Instant,
    ) -> Result<(), ReadError> {
        let consumer = Arc::clone(self.consumer());
        let queues = self.queues.iter().enumerate();
        let mut waiting: Vec<_> = queues
            .map(|(index, queue)| async move { (index, queue.recv().await) }.boxed())
            .collect();
        if waiting.is_empty() {
            waiting.push(std::future::pending().boxed());
        }
        let woken = tokio::select! {
            ((index, event), ..) = futures::future::select_all(waiting) => Some((index, event)),
            event = consumer.recv() => {
                return gathered.take_stray(&mut self.assigned, event);
            }
            () = tokio::time::sleep_until(deadline) => None,
        };
        match woken {
            Some((index, event)) => gathered.take_event(index, &mut self.assigned[index], event),
            None => Ok(()),
        }
    }
}

impl Drop for KafkaReader {
    /// Closing a consumer waits for its threads and its broker: on a thread that may.
    fn drop(&mut self) {
        let parts = (std::mem::take(&mut self.queues), self.consumer.take());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || drop(parts));
        }
    }
}

/// What one poll gathers.
#[derive(Default)]
struct Gathered {
    runs: Vec<(usize, RecordsBuilder)>,
    records: usize,
    bytes: usize,
}

impl Gathered {
    fn has_room(&self, budget: &PollBudget) -> bool {
        self.bytes < budget.bytes_max && self.records < RECORDS_MAX
    }

    /// Takes what came to the consumer's own queue: what was fetched before the partitions had theirs.
    fn take_stray(&mut self, all: &mut [Assigned], event: Event<'_>) -> Result<(), ReadError> {
        match event {
            Ok(message) => {
                let place = all.iter().position(|assigned| {
                    &*assigned.partition.topic == message.topic()
                        && assigned.partition.partition == message.partition()
                });
                if let Some(index) = place {
                    self.take(index, &mut all[index], &message);
                }
                Ok(())
            }
            // Of which topic, it does not say.
            Err(KafkaError::PartitionEOF(_)) => Ok(()),
            Err(failure) => Err(ReadError::Unavailable(failure.to_string())),
        }
    }

    fn take_event(
        &mut self,
        index: usize,
        assigned: &mut Assigned,
        event: Event<'_>,
    ) -> Result<(), ReadError> {
        match event {
            Ok(message) => self.take(index, assigned, &message),
            Err(KafkaError::PartitionEOF(_)) => {
                if let Some(last_stable) = assigned.probe.take() {
                    assigned.position = assigned.position.max(last_stable);
                }
            }
            Err(failure) => {
                return Err(error::fetch(
                    &assigned.partition,
                    assigned.position,
                    &failure,
                ));
            }
        }
        Ok(())
    }

    fn take(&mut self, index: usize, assigned: &mut Assigned, message: &BorrowedMessage<'_>) {
        let run = match self.runs.iter().position(|(of, _)| *of == index) {
            Some(run) => run,
            None => {
                let builder = RecordsBuilder::new(assigned.partition.clone(), assigned.position);
                self.runs.push((index, builder));
                self.runs.len() - 1
            }
        };
        let headers: Vec<(&str, Option<&[u8]>)> = message
            .headers()
            .into_iter()
            .flat_map(|headers| headers.iter())
            .map(|header| (header.key, header.value))
            .collect();
        self.runs[run].1.push(
            message.offset(),
            message.timestamp().to_millis().unwrap_or(-1),
            message.key(),
            message.payload(),
            &headers,
        );
        self.records += 1;
        self.bytes += message.key_len() + message.payload_len();
        assigned.position = assigned.position.max(message.offset() + 1);
        assigned.probe = None;
    }
}

#[async_trait]
impl Reader for KafkaReader {
    async fn poll(&mut self, budget: PollBudget) -> Result<Vec<Records>, ReadError> {
        let deadline = tokio::time::Instant::now() + budget.wait_max;
        let mut gathered = Gathered::default();
        loop {
            if self.failed.is_none() {
                self.gather(&mut gathered, &budget);
            }
            if gathered.records > 0 {
                break;
            }
            if let Some(failed) = self.failed.take() {
                return Err(failed);
            }
            if tokio::time::Instant::now() >= deadline {
                break;
            }
            self.wait(&mut gathered, deadline).await?;
        }
        Ok(gathered
            .runs
            .into_iter()
            .map(|(_, builder)| builder.finish())
            .collect())
    }

    async fn progress(&mut self) -> Result<Vec<PartitionProgress>, ReadError> {
        let mut progress = Vec::with_capacity(self.assigned.len());
        for index in 0..self.assigned.len() {
            let partition = self.assigned[index].partition.clone();
            let last_stable_offset = self.end(&partition, OffsetSpec::LastStable).await?;
            let high_watermark = self.end(&partition, OffsetSpec::Latest).await?;
            let position = self.assigned[index].position;
            if position < last_stable_offset && self.assigned[index].probe.is_none() {
                self.seek_to(&partition, position).await?;
                self.assigned[index].probe = Some(last_stable_offset);
            }
            progress.push(PartitionProgress {
                partition,
                position,
                high_watermark,
                last_stable_offset,
            });
        }
        Ok(progress)
    }

    async fn seek(&mut self, partition: &TopicPartition, to: Start) -> Result<(), ReadError> {
        let Some(&index) = self.index.get(partition) else {
            return Err(ReadError::UnknownPartition(partition.clone()));
        };
        let position = self.resolve(partition, to).await?;
        self.seek_to(partition, position).await?;
        self.assigned[index].position = position;
        self.assigned[index].probe = None;
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition], paused: bool) {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&partition.topic, partition.partition);
        }
        let result = if paused {
            self.consumer().pause(&list)
        } else {
            self.consumer().resume(&list)
        };
        if let Err(error) = result {
            tracing::warn!(%error, paused, "pause was refused");
        }
    }
}
