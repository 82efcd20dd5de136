//! Produce (key 0): appends one batch a partition.
//!
//! ```text
//!  transactional? ── version 12+: add the partitions to the transaction ─┐
//!        │ no / earlier versions                                         ▼
//!        └──────────────────▶ for each partition: hold the transaction open ─ append ─ let go
//!                                                     acks ≠ 0: wait for the topic's durability, of all partitions at once
//! ```
//! acks=0 gets no answer; the server closes the connection on an error. A replica set of one makes acks=1 and acks=all the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use futures::future::join_all;
use log_protocol::api::produce::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, ProduceRequest,
    ProduceResponse, TopicProduceData, TopicProduceResponse,
};
use log_protocol::{BatchHeader, Compression, ErrorCode, TopicPartition};
use uuid::Uuid;

use crate::authorize::{Resource, require};
use crate::clock::wall_ms;
use crate::coordinator::txn::Handle;
use crate::coordinator::txn::state::Producer;
use crate::partition::{AppendError, AppendOrigin};
use crate::quorum::Topic;
use crate::security::acl::Operation;
use crate::services::Context;
use crate::storage::Partition;

/// From this version on a transactional batch takes its partition into the transaction.
const ADDS_PARTITIONS_FROM: i16 = 12;

/// From this version on clients know TRANSACTION_ABORTABLE.
const ABORTABLE_FROM: i16 = 11;

/// From this version on clients can read zstd (KIP-110).
const ZSTD_FROM: i16 = 7;

/// An append that waits for its durability: where its answer lies, and what it waits for.
struct Pending {
    topic: usize,
    index: usize,
    partition: Arc<Partition>,
    last_offset: i64,
}

pub(crate) async fn handle(ctx: &Context, mut request: ProduceRequest) -> ProduceResponse {
    request.topic_data = merged(request.topic_data);
    let version = ctx.api_version;
    let acks = request.acks;
    let id = request.transactional_id.as_deref();
    let barred = match id {
        Some(id) => require(ctx, Operation::Write, Resource::TransactionalId(id)).err(),
        // Whose transaction it would be is not said.
        None => {
            transactional_producer(&request).map(|_| ErrorCode::TransactionalIdAuthorizationFailed)
        }
    };
    let transaction = match barred {
        None => open_transaction(ctx, version, &request).await,
        Some(_) => None,
    };
    let append = Append {
        version,
        transaction: &transaction,
        now_ms: wall_ms(),
    };
    let mut pending = Vec::new();
    let mut responses = Vec::new();
    for data in request.topic_data {
        let found = match barred {
            None => find_topic(ctx, version, &data.name, data.topic_id),
            Some(error) => Err(error),
        };
        let mut answers = Vec::with_capacity(data.partition_data.len());
        for one in data.partition_data {
            let appended = match &found {
                Err(error) => Err((*error).into()),
                Ok(_) if !matches!(acks, -1..=1) => Err(ErrorCode::InvalidRequiredAcks.into()),
                Ok(topic) => append.run(topic, &one),
            };
            match appended {
                Ok((answer, partition, last_offset)) => {
                    let (topic, index) = (responses.len(), answers.len());
                    pending.push(Pending {
                        topic,
                        index,
                        partition,
                        last_offset,
                    });
                    answers.push(answer);
                }
                Err(refusal) => answers.push(refusal.answer(one.index)),
            }
        }
        responses.push(TopicProduceResponse {
            name: data.name,
            topic_id: data.topic_id,
            partition_responses: answers,
        });
    }
    if acks != 0 {
        await_durability(pending, &mut responses).await;
    }
    ProduceResponse {
        responses,
        ..ProduceResponse::default()
    }
}

/// Each topic and each partition once: of a partition that comes twice the last batch counts, as in Kafka. A topic without partitions has no
/// answer.
fn merged(topics: Vec<TopicProduceData>) -> Vec<TopicProduceData> {
    if let [one] = topics.as_slice()
        && one.partition_data.len() == 1
    {
        return topics;
    }
    let mut merged: Vec<TopicProduceData> = Vec::with_capacity(topics.len());
    let mut topic_places: HashMap<(String, Uuid), usize> = HashMap::new();
    let mut places: HashMap<(usize, i32), usize> = HashMap::new();
    for topic in topics
        .into_iter()
        .filter(|one| !one.partition_data.is_empty())
    {
        let place = topic_places.entry((topic.name.clone(), topic.topic_id));
        let at = *place.or_insert(merged.len());
        if at == merged.len() {
            merged.push(TopicProduceData {
                name: topic.name,
                topic_id: topic.topic_id,
                partition_data: Vec::with_capacity(topic.partition_data.len()),
            });
        }
        let known = &mut merged[at].partition_data;
        for one in topic.partition_data {
            match places.entry((at, one.index)) {
                Entry::Occupied(place) => known[*place.get()] = one,
                Entry::Vacant(place) => {
                    place.insert(known.len());
                    known.push(one);
                }
            }
        }
    }
    merged
}

async fn await_durability(pending: Vec<Pending>, responses: &mut [TopicProduceResponse]) {
    let waits = pending
        .iter()
        .map(|one| one.partition.acknowledged(one.last_offset));
    let outcomes = join_all(waits).await;
    for (one, outcome) in pending.iter().zip(outcomes) {
        if let Err(error) = outcome {
            let answer = &mut responses[one.topic].partition_responses[one.index];
            let refusal = Refusal {
                message: Some(error.to_string()),
                ..error.code().into()
            };
            *answer = refusal.answer(answer.index);
        }
    }
}

/// The transaction that the request's batches belong to; `None` for a request without a transactional id.
async fn open_transaction(
    ctx: &Context,
    version: i16,
    request: &ProduceRequest,
) -> Option<Result<Handle, ErrorCode>> {
    let id = request.transactional_id.as_deref()?;
    if version >= ADDS_PARTITIONS_FROM {
        let mut producer = None;
        let mut partitions: Vec<TopicPartition> = Vec::new();
        for data in &request.topic_data {
            let Ok(topic) = find_topic(ctx, version, &data.name, data.topic_id) else {
                continue;
            };
            for one in &data.partition_data {
                let Some(header) = header_of(one).filter(BatchHeader::is_transactional) else {
                    continue;
                };
                producer = Some(Producer {
                    id: header.producer_id,
                    epoch: header.producer_epoch,
                });
                if let Some(partition) = topic.partition(one.index) {
                    partitions.push(partition.id().clone());
                }
            }
        }
        if let Some(producer) = producer
            && let Err(error) = ctx
                .services
                .transactions
                .add_partitions(id, producer, partitions, 2)
                .await
        {
            return Some(Err(error));
        }
    }
    Some(ctx.services.transactions.handle(id))
}

/// The producer of a request's transactional batches.
pub(crate) fn transactional_producer(request: &ProduceRequest) -> Option<Producer> {
    let topics = request.topic_data.iter();
    let mut batches = topics.flat_map(|topic| &topic.partition_data);
    batches.find_map(|data| {
        let header = header_of(data).filter(BatchHeader::is_transactional)?;
        Some(Producer {
            id: header.producer_id,
            epoch: header.producer_epoch,
        })
    })
}

fn header_of(data: &PartitionProduceData) -> Option<BatchHeader> {
    BatchHeader::parse(data.records.as_ref()?).ok()
}

/// The topic that a request names, by id from version 13 on.
fn find_topic(
    ctx: &Context,
    version: i16,
    name: &str,
    id: uuid::Uuid,
) -> Result<Arc<Topic>, ErrorCode> {
    let topic = if version >= 13 {
        let topic = ctx.services.topics.by_id(id);
        let topic = topic.ok_or(ErrorCode::UnknownTopicId)?;
        require(ctx, Operation::Write, Resource::Topic(topic.name()))?;
        topic
    } else {
        require(ctx, Operation::Write, Resource::Topic(name))?;
        let topic = ctx.services.topics.get(name);
        topic.ok_or(ErrorCode::UnknownTopicOrPartition)?
    };
    // Only the coordinators write there.
    if topic.is_internal() {
        Err(ErrorCode::InvalidTopicException)
    } else {
        Ok(topic)
    }
}

/// What the appends of one request share.
struct Append<'a> {
    version: i16,
    transaction: &'a Option<Result<Handle, ErrorCode>>,
    now_ms: i64,
}

type Appending = Result<(PartitionProduceResponse, Arc<Partition>, i64), Refusal>;

/// Why a partition's batch was not taken.
struct Refusal {
    code: ErrorCode,
    log_start_offset: i64,
    message: Option<String>,
    records: Vec<BatchIndexAndErrorMessage>,
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self {
            code,
            log_start_offset: -1,
            message: None,
            records: Vec::new(),
        }
    }
}

impl Refusal {
    fn of(error: &AppendError, partition: &Partition) -> Self {
        let records = error.record_errors().iter();
        let records = records.map(|record| BatchIndexAndErrorMessage {
            batch_index: record.index,
            batch_index_error_message: Some(record.reason.clone()),
        });
        Self {
            code: error.code(),
            log_start_offset: if error.tells_start() {
                partition.log_start_offset()
            } else {
                -1
            },
            message: Some(error.to_string()),
            records: records.collect(),
        }
    }
}

impl Refusal {
    fn answer(self, index: i32) -> PartitionProduceResponse {
        PartitionProduceResponse {
            index,
            error_code: self.code,
            base_offset: -1,
            log_start_offset: self.log_start_offset,
            record_errors: self.records,
            error_message: self.message,
            ..PartitionProduceResponse::default()
        }
    }
}

impl Append<'_> {
    fn run(&self, topic: &Topic, data: &PartitionProduceData) -> Appending {
        let partition = topic
            .partition(data.index)
            .ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let Some(records) = data.records.clone().filter(|records| !records.is_empty()) else {
            return Err(Refusal {
                message: Some("there is no batch".to_owned()),
                ..ErrorCode::InvalidRecord.into()
            });
        };
        let is_zstd = |header: BatchHeader| header.compression() == Ok(Compression::Zstd);
        if self.version < ZSTD_FROM && header_of(data).is_some_and(is_zstd) {
            return Err(ErrorCode::UnsupportedCompressionType.into());
        }
        let transactional = header_of(data).filter(BatchHeader::is_transactional);
        let mut origin = AppendOrigin::Client;
        let gate = match transactional {
            None => None,
            Some(header) => {
                if self.version >= ADDS_PARTITIONS_FROM {
                    origin = AppendOrigin::ClientTransactionV2;
                }
                let producer = Producer {
                    id: header.producer_id,
                    epoch: header.producer_epoch,
                };
                Some(self.gate(producer, partition.id())?)
            }
        };
        let appended = partition
            .append(records, origin, self.now_ms)
            .map_err(|error| Refusal::of(&error, &partition))?;
        drop(gate);
        let answer = PartitionProduceResponse {
            index: data.index,
            error_code: ErrorCode::None,
            base_offset: appended.base_offset,
            log_append_time_ms: appended.log_append_time,
            log_start_offset: appended.log_start_offset,
            ..PartitionProduceResponse::default()
        };
        Ok((answer, partition, appended.last_offset))
    }

    /// Checks with the coordinator that the batch belongs to the open transaction, and holds that open (KIP-890, part 1).
    fn gate(
        &self,
        producer: Producer,
        partition: &TopicPartition,
    ) -> Result<crate::coordinator::txn::Gate<'_>, Refusal> {
        let gate = match self.transaction {
            None => Err(ErrorCode::InvalidTxnState),
            Some(Err(error)) => Err(*error),
            Some(Ok(handle)) => handle.gate(producer, partition),
        };
        gate.map_err(|error| {
            let code = match error {
                ErrorCode::InvalidTxnState if self.version >= ABORTABLE_FROM => {
                    ErrorCode::TransactionAbortable
                }
                ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
                // Older clients know no such answer to Produce; this one makes them try again.
                ErrorCode::ConcurrentTransactions if self.version < ADDS_PARTITIONS_FROM => {
                    ErrorCode::NotEnoughReplicas
                }
                error => error,
            };
            let message = format!("batch for {partition} does not belong to an open transaction");
            Refusal {
                message: Some(message),
                ..code.into()
            }
        })
    }
}
