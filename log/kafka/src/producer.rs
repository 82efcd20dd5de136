//! A batch, record by record, into librdkafka's queue.
//!
//! librdkafka compresses what it sends by the setting of its producer: so there is a producer a codec, and the records
//! come here as they are.

use log_api::{BatchBuilder, ProducerStamp, TopicPartition, WriteError};
use log_protocol::batches;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer};
use rdkafka::util::Timeout;
use std::time::Duration;

use crate::error;

/// How long to let librdkafka work off a full queue before the next attempt to add to it.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(50);

/// A record that was not taken.
pub(crate) struct Refused {
    /// Whether another owner of the transactional id is the cause.
    pub(crate) fenced: bool,
    /// The cause.
    pub(crate) error: WriteError,
}

impl Refused {
    fn new(partition: &TopicPartition, bytes: usize, refusal: &KafkaError) -> Self {
        let error = error::write(partition, bytes, refusal);
        Self {
            fenced: error::is_fenced(refusal),
            error,
        }
    }
}

impl From<WriteError> for Refused {
    fn from(error: WriteError) -> Self {
        Self {
            fenced: false,
            error,
        }
    }
}

/// Queues all records of a batch without a codec; the futures resolve in order.
pub(crate) async fn enqueue(
    producer: &FutureProducer,
    partition: &TopicPartition,
    batch: BatchBuilder,
) -> Result<Vec<DeliveryFuture>, Refused> {
    let invalid = |reason: String| WriteError::Invalid {
        partition: partition.clone(),
        reason,
    };
    let mut deliveries = Vec::with_capacity(batch.len());
    let bytes = batch.build(ProducerStamp::NONE);
    for batch in batches(&bytes) {
        let batch = batch.map_err(|error| invalid(error.to_string()))?;
        let records = batch
            .records(bytes.len())
            .map_err(|error| invalid(error.to_string()))?;
        for record in records {
            let record = record.map_err(|error| invalid(error.to_string()))?;
            let mut headers = OwnedHeaders::new();
            for header in &record.headers {
                headers = headers.insert(Header {
                    key: &header.name(),
                    value: header.value,
                });
            }
            let mut message = FutureRecord::<[u8], [u8]>::to(&partition.topic)
                .partition(partition.partition)
                .timestamp(record.timestamp);
            if !record.headers.is_empty() {
                message = message.headers(headers);
            }
            if let Some(key) = &record.key {
                message = message.key(key.as_ref());
            }
            if let Some(value) = &record.value {
                message = message.payload(value.as_ref());
            }
            deliveries.push(send(producer, partition, message).await?);
        }
    }
    Ok(deliveries)
}

async fn send<'a>(
    producer: &FutureProducer,
    partition: &TopicPartition,
    mut message: FutureRecord<'a, [u8], [u8]>,
) -> Result<DeliveryFuture, Refused> {
    loop {
        let bytes = message.payload.map_or(0, <[u8]>::len);
        match producer.send_result(message) {
            Ok(delivery) => return Ok(delivery),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                message = refused;
                let producer = producer.clone();
                // Blocks until something left the queue, or the wait is over.
                let flushed = tokio::task::spawn_blocking(move || {
                    producer.flush(Timeout::After(QUEUE_FULL_WAIT))
                });
                // Not flushed in time is what the loop is for.
                let _ = flushed.await;
            }
            Err((refusal, _)) => return Err(Refused::new(partition, bytes, &refusal)),
        }
    }
}

/// Waits for all records; returns the offset of the first (−1 for an empty batch).
pub(crate) async fn delivered(
    partition: &TopicPartition,
    deliveries: Vec<DeliveryFuture>,
) -> Result<i64, Refused> {
    let mut first = -1;
    for delivery in deliveries {
        match delivery.await {
            Ok(Ok(delivery)) if first < 0 => first = delivery.offset,
            Ok(Ok(_)) => {}
            Ok(Err((refusal, message))) => {
                let bytes = rdkafka::Message::payload(&message).map_or(0, <[u8]>::len);
                return Err(Refused::new(partition, bytes, &refusal));
            }
            Err(_) => {
                return Err(WriteError::Unavailable("the producer was closed".to_owned()).into());
            }
        }
    }
    Ok(first)
}
