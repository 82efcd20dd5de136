//! The cluster as a [`Log`].

use std::sync::Arc;

use async_trait::async_trait;
use log_api::{
    Admin, Log, Membership, MembershipError, MembershipOptions, ReadError, Reader, ReaderOptions,
    Start, TopicPartition, Transaction, TransactionError, TransactionOptions, WriteError, Writer,
};

use crate::admin::KafkaAdmin;
use crate::membership::KafkaMembership;
use crate::reader::KafkaReader;
use crate::transaction::KafkaTransaction;
use crate::writer::KafkaWriter;
use crate::{ConnectError, KafkaConfig};

/// Any Kafka cluster, through librdkafka.
#[derive(Clone)]
pub struct Kafka {
    config: KafkaConfig,
    admin: Arc<KafkaAdmin>,
}

impl Kafka {
    /// A client of the cluster; nothing is sent before the first call.
    ///
    /// # Errors
    /// [`ConnectError`] when librdkafka refuses a property.
    pub fn connect(config: KafkaConfig) -> Result<Self, ConnectError> {
        let admin = KafkaAdmin::new(config.clone()).map_err(|error| ConnectError {
            servers: config.bootstrap_servers.clone(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            config,
            admin: Arc::new(admin),
        })
    }
}

#[async_trait]
impl Log for Kafka {
    fn admin(&self) -> Arc<dyn Admin> {
        Arc::clone(&self.admin) as Arc<dyn Admin>
    }

    async fn reader(
        &self,
        options: ReaderOptions,
        assignment: Vec<(TopicPartition, Start)>,
    ) -> Result<Box<dyn Reader>, ReadError> {
        let reader =
            KafkaReader::open(&self.config, Arc::clone(&self.admin), options, assignment).await?;
        Ok(Box::new(reader))
    }

    async fn writer(&self) -> Result<Arc<dyn Writer>, WriteError> {
        Ok(Arc::new(KafkaWriter::open(&self.config)?))
    }

    async fn transaction(
        &self,
        options: TransactionOptions,
    ) -> Result<Box<dyn Transaction>, TransactionError> {
        Ok(Box::new(
            KafkaTransaction::open(&self.config, Arc::clone(&self.admin), options).await?,
        ))
    }

    async fn membership(
        &self,
        options: MembershipOptions,
    ) -> Result<Box<dyn Membership>, MembershipError> {
        Ok(Box::new(KafkaMembership::open(&self.config, &options)?))
    }
}
