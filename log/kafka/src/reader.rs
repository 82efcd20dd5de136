//! Reads assigned partitions with a consumer that joins no group.
//!
//! librdkafka shows no control records and tells no position past them. So the end is found by a probe:
//!
//! ```text
//! ask the last stable offset L ─► seek to the last known position ─► end-of-partition and no record: position = L
//! ```
//!
//! Invariant: a position moves past offsets only when a fetch that began after L was known found no record there.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use log_api::{
    Admin, OffsetSpec, PartitionProgress, PollBudget, ReadError, Reader, ReaderOptions, Records,
    RecordsBuilder, Start, TopicPartition,
};
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::admin::KafkaAdmin;
use crate::{KafkaConfig, error};

/// Records taken in one poll at most, whatever their size.
const RECORDS_MAX: usize = 100_000;

struct Assigned {
    partition: TopicPartition,
    position: i64,
    /// The last stable offset that the running probe looks for.
    probe: Option<i64>,
}

pub(crate) struct KafkaReader {
    consumer: StreamConsumer,
    admin: Arc<KafkaAdmin>,
    config: KafkaConfig,
    assigned: Vec<Assigned>,
    index: HashMap<TopicPartition, usize>,
    /// The topics' names, shared by all records.
    topics: HashMap<String, Arc<str>>,
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
            consumer,
            admin,
            config: config.clone(),
            assigned: Vec::new(),
            index: HashMap::new(),
            topics: HashMap::new(),
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
                .topics
                .insert(partition.topic.to_string(), Arc::clone(&partition.topic));
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
            .consumer
            .assign(&list)
            .map_err(|error| ReadError::Unavailable(error.to_string()))?;
        Ok(reader)
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

    fn partition(&self, topic: &str, partition: i32) -> Option<usize> {
        let topic = Arc::clone(self.topics.get(topic)?);
        self.index
            .get(&TopicPartition { topic, partition })
            .copied()
    }

    fn seek_to(&self, partition: &TopicPartition, position: i64) -> Result<(), ReadError> {
        self.consumer
            .seek(
                &partition.topic,
                partition.partition,
                Offset::Offset(position),
                self.config.request_timeout,
            )
            .map_err(|error| error::read(partition, &error))
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
        while gathered.bytes < budget.bytes_max && gathered.records < RECORDS_MAX {
            let event = if gathered.records > 0 {
                // Cancel safe from here on: nothing awaits once a record was taken.
                match self.consumer.recv().now_or_never() {
                    Some(event) => event,
                    None => break,
                }
            } else {
                match tokio::time::timeout_at(deadline, self.consumer.recv()).await {
                    Ok(event) => event,
                    Err(_) => break,
                }
            };
            match event {
                Ok(message) => {
                    if let Some(index) = self.partition(message.topic(), message.partition()) {
                        gathered.take(index, &mut self.assigned[index], &message);
                    }
                }
                Err(KafkaError::PartitionEOF(number)) => {
                    // The event names no topic; a probe's answer is taken only where the number is unambiguous.
                    let mut probed = self
                        .assigned
                        .iter_mut()
                        .filter(|assigned| assigned.partition.partition == number);
                    if let (Some(assigned), None) = (probed.next(), probed.next())
                        && let Some(last_stable) = assigned.probe.take()
                    {
                        assigned.position = assigned.position.max(last_stable);
                    }
                }
                Err(failure) => return Err(ReadError::Unavailable(failure.to_string())),
            }
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
            let assigned = &mut self.assigned[index];
            let position = assigned.position;
            if position < last_stable_offset && assigned.probe.is_none() {
                assigned.probe = Some(last_stable_offset);
                self.seek_to(&partition, position)?;
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
        self.seek_to(partition, position)?;
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
            self.consumer.pause(&list)
        } else {
            self.consumer.resume(&list)
        };
        if let Err(error) = result {
            tracing::warn!(%error, paused, "pause was refused");
        }
    }
}
