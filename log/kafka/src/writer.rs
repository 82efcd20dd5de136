//! Appends outside of transactions: idempotent producers, one a codec.

use std::collections::HashMap;

use async_trait::async_trait;
use log_api::{BatchBuilder, Compression, TopicPartition, WriteError, Writer};
use rdkafka::producer::FutureProducer;
use tokio::sync::Mutex;

use crate::{KafkaConfig, producer};

pub(crate) struct KafkaWriter {
    config: KafkaConfig,
    /// Producers of the codecs that were used. Records of one batch stay together: queueing is one caller's at a time.
    producers: Mutex<HashMap<Compression, FutureProducer>>,
}

impl KafkaWriter {
    pub(crate) fn open(config: &KafkaConfig) -> Result<Self, WriteError> {
        // A property that librdkafka refuses is told before the first record.
        let plain = create(config, Compression::None)?;
        Ok(Self {
            config: config.clone(),
            producers: Mutex::new(HashMap::from([(Compression::None, plain)])),
        })
    }
}

fn create(config: &KafkaConfig, codec: Compression) -> Result<FutureProducer, WriteError> {
    let created = config.producer(codec).create();
    created.map_err(|error| WriteError::Unavailable(error.to_string()))
}

#[async_trait]
impl Writer for KafkaWriter {
    async fn append(
        &self,
        partition: &TopicPartition,
        batch: BatchBuilder,
    ) -> Result<i64, WriteError> {
        let (codec, batch) = batch.into_uncompressed();
        let deliveries = {
            let mut producers = self.producers.lock().await;
            let producer = match producers.get(&codec) {
                Some(producer) => producer.clone(),
                None => {
                    let producer = create(&self.config, codec)?;
                    producers.insert(codec, producer.clone());
                    producer
                }
            };
            producer::enqueue(&producer, partition, batch)
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
