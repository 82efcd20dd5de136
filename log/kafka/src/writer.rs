//! Appends outside of transactions: an idempotent producer.

use async_trait::async_trait;
use log_api::{BatchBuilder, TopicPartition, WriteError, Writer};
use rdkafka::producer::FutureProducer;
use tokio::sync::Mutex;

use crate::{KafkaConfig, producer};

pub(crate) struct KafkaWriter {
    producer: FutureProducer,
    /// Records of one batch stay together: queueing is one caller's at a time.
    queueing: Mutex<()>,
}

impl KafkaWriter {
    pub(crate) fn open(config: &KafkaConfig) -> Result<Self, WriteError> {
        let producer = config
            .producer()
            .create()
            .map_err(|error| WriteError::Unavailable(error.to_string()))?;
        Ok(Self {
            producer,
            queueing: Mutex::new(()),
        })
    }
}

#[async_trait]
impl Writer for KafkaWriter {
    async fn append(
        &self,
        partition: &TopicPartition,
        batch: BatchBuilder,
    ) -> Result<i64, WriteError> {
        let deliveries = {
            let _one_at_a_time = self.queueing.lock().await;
            producer::enqueue(&self.producer, partition, batch)
                .await
                .map_err(|refused| refused.error)?
        };
        producer::delivered(partition, deliveries)
            .await
            .map_err(|refused| refused.error)
    }

    /// Acknowledged by all in-sync replicas is what a foreign cluster can promise, and `append` waits for it.
    async fn sync(&self, _partitions: &[TopicPartition]) -> Result<(), WriteError> {
        Ok(())
    }
}
