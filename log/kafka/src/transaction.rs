//! Transactions: librdkafka's transactional producer.
//!
//! ```text
//! open: init_transactions (fences) ─► idle ─ first append or offset ─► begun ─ commit | abort ─► idle
//! ```
//!
//! A producer has one codec. The first batch of another that begins a transaction brings a new producer of the same id,
//! which fences the one before it: this one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use log_api::{
    BatchBuilder, Compression, GroupMember, OffsetCommit, TopicPartition, Transaction,
    TransactionError, TransactionOptions,
};
use rdkafka::consumer::{Consumer, ConsumerGroupMetadata};
use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryFuture, FutureProducer, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::admin::KafkaAdmin;
use crate::producer::Refused;
use crate::{KafkaConfig, error, producer};

pub(crate) struct KafkaTransaction {
    id: String,
    config: KafkaConfig,
    timeout: Duration,
    admin: Arc<KafkaAdmin>,
    producer: FutureProducer,
    codec: Compression,
    begun: bool,
    appended: Vec<(TopicPartition, Vec<DeliveryFuture>)>,
    offsets: BTreeMap<String, Held>,
}

/// Offsets of a group for the end of a transaction, and who has reached them.
#[derive(Default)]
struct Held {
    member: Option<GroupMember>,
    commits: Vec<OffsetCommit>,
}

impl KafkaTransaction {
    pub(crate) async fn open(
        config: &KafkaConfig,
        admin: Arc<KafkaAdmin>,
        options: TransactionOptions,
    ) -> Result<Self, TransactionError> {
        let id = options.transactional_id;
        let codec = Compression::None;
        let producer = create(config, &id, options.timeout, codec)?;
        let this = Self {
            id,
            config: config.clone(),
            timeout: options.timeout,
            admin,
            producer,
            codec,
            begun: false,
            appended: Vec::new(),
            offsets: BTreeMap::new(),
        };
        this.blocking(|producer, timeout| producer.init_transactions(timeout))
            .await?;
        Ok(this)
    }

    /// Sees to it that records of this codec are sent with it, unless the transaction has begun with another.
    async fn use_codec(&mut self, codec: Compression) -> Result<(), TransactionError> {
        if self.begun || codec == self.codec || codec == Compression::None {
            return Ok(());
        }
        let producer = create(&self.config, &self.id, self.timeout, codec)?;
        let before = std::mem::replace(&mut self.producer, producer);
        let opened = self
            .blocking(|producer, timeout| producer.init_transactions(timeout))
            .await;
        match opened {
            Ok(()) => self.codec = codec,
            // Whichever of the two is fenced now, the id's next owner settles it.
            Err(_) => self.producer = before,
        }
        opened
    }

    async fn blocking(
        &self,
        call: impl FnOnce(&FutureProducer, Duration) -> Result<(), KafkaError> + Send + 'static,
    ) -> Result<(), TransactionError> {
        let (producer, timeout) = (self.producer.clone(), self.config.request_timeout);
        tokio::task::spawn_blocking(move || call(&producer, timeout))
            .await
            .map_err(|error| TransactionError::Aborted(error.to_string()))?
            .map_err(|error| error::transaction(&self.id, &error))
    }

    fn begin(&mut self) -> Result<(), TransactionError> {
        if !self.begun {
            self.producer
                .begin_transaction()
                .map_err(|error| error::transaction(&self.id, &error))?;
            self.begun = true;
        }
        Ok(())
    }

    async fn send_offsets(&self, group: String, held: Held) -> Result<(), TransactionError> {
        let mut list = TopicPartitionList::new();
        for commit in &held.commits {
            let (topic, partition) = (&commit.partition.topic, commit.partition.partition);
            list.add_partition(topic, partition);
            if let Some(mut element) = list.find_partition(topic, partition) {
                element.set_metadata(&commit.metadata);
                element
                    .set_offset(Offset::Offset(commit.offset))
                    .map_err(|error| error::transaction(&self.id, &error))?;
            }
        }
        if let Some(member) = held.member {
            let of_member = move |producer: &FutureProducer, timeout| {
                let metadata = member.handle::<ConsumerGroupMetadata>();
                let metadata = metadata.ok_or(KafkaError::Canceled)?;
                producer.send_offsets_to_transaction(&list, metadata, timeout)
            };
            return self.blocking(of_member).await;
        }
        // The client that speaks for the group is kept from one transaction to the next.
        let consumer = self
            .admin
            .group(&group)
            .map_err(|error| TransactionError::Aborted(error.to_string()))?;
        self.blocking(move |producer, timeout| {
            let metadata = consumer.group_metadata().ok_or(KafkaError::Canceled)?;
            producer.send_offsets_to_transaction(&list, &metadata, timeout)
        })
        .await
    }

    fn refused(&self, refused: Refused) -> TransactionError {
        if refused.fenced {
            TransactionError::Fenced(self.id.clone())
        } else {
            TransactionError::Write(refused.error)
        }
    }

    async fn fill(&mut self) -> Result<Vec<i64>, TransactionError> {
        let mut first_offsets = Vec::with_capacity(self.appended.len());
        for (partition, deliveries) in std::mem::take(&mut self.appended) {
            let delivered = producer::delivered(&partition, deliveries).await;
            first_offsets.push(delivered.map_err(|refused| self.refused(refused))?);
        }
        for (group, held) in std::mem::take(&mut self.offsets) {
            self.send_offsets(group, held).await?;
        }
        Ok(first_offsets)
    }
}

fn create(
    config: &KafkaConfig,
    id: &str,
    timeout: Duration,
    codec: Compression,
) -> Result<FutureProducer, TransactionError> {
    let created = config.transactional(id, timeout, codec).create();
    created.map_err(|error| error::transaction(id, &error))
}

#[async_trait]
impl Transaction for KafkaTransaction {
    async fn append(
        &mut self,
        partition: &TopicPartition,
        batch: BatchBuilder,
    ) -> Result<(), TransactionError> {
        let (codec, batch) = batch.into_uncompressed();
        self.use_codec(codec).await?;
        self.begin()?;
        let deliveries = producer::enqueue(&self.producer, partition, batch)
            .await
            .map_err(|refused| self.refused(refused))?;
        self.appended.push((partition.clone(), deliveries));
        Ok(())
    }

    async fn commit_offsets(
        &mut self,
        group: &str,
        offsets: Vec<OffsetCommit>,
    ) -> Result<(), TransactionError> {
        self.begin()?;
        let held = self.offsets.entry(group.to_owned()).or_default();
        for commit in offsets {
            let other = |earlier: &OffsetCommit| earlier.partition != commit.partition;
            held.commits.retain(other);
            held.commits.push(commit);
        }
        Ok(())
    }

    async fn commit_offsets_of(
        &mut self,
        member: &GroupMember,
        offsets: Vec<OffsetCommit>,
    ) -> Result<(), TransactionError> {
        self.commit_offsets(&member.group, offsets).await?;
        let held = self.offsets.entry(member.group.clone()).or_default();
        held.member = Some(member.clone());
        Ok(())
    }

    async fn commit(&mut self) -> Result<Vec<i64>, TransactionError> {
        if !self.begun {
            return Ok(Vec::new());
        }
        let first_offsets = self.fill().await?;
        let (producer, timeout) = (self.producer.clone(), self.config.request_timeout);
        let committed = tokio::task::spawn_blocking(move || producer.commit_transaction(timeout))
            .await
            .map_err(|error| TransactionError::Aborted(error.to_string()))?;
        match committed {
            Ok(()) => {
                self.begun = false;
                Ok(first_offsets)
            }
            Err(failure) if error::is_fenced(&failure) => {
                Err(TransactionError::Fenced(self.id.clone()))
            }
            Err(KafkaError::Transaction(failure)) if failure.txn_requires_abort() => Err(
                TransactionError::Aborted(format!("transactional id {}: {failure}", self.id)),
            ),
            // No answer, or one that does not say which way it went.
            Err(_) => Err(TransactionError::Unknown(self.id.clone())),
        }
    }

    async fn abort(&mut self) -> Result<(), TransactionError> {
        self.appended.clear();
        self.offsets.clear();
        if std::mem::take(&mut self.begun) {
            self.blocking(|producer, timeout| producer.abort_transaction(timeout))
                .await?;
        }
        Ok(())
    }
}
