//! The log without a socket: what streams, SQL and Connect of this process use. The same partitions and coordinators as the network's,
//! so fencing, groups and transactions hold across both.
//!
//! ```text
//!  reader       partition.read ──▶ columns: Arrow views into the fetched bytes
//!  writer       BatchBuilder ──▶ partition.append ──▶ the topic's durability
//!  transaction  batches and offsets gathered in memory ──▶ one atomic commit at the coordinator
//!  membership   a task that joins and beats ──▶ the group coordinator
//! ```

mod admin;
mod assignor;
mod columns;
mod membership;
mod reader;
mod transaction;
mod writer;

use std::sync::Arc;

use async_trait::async_trait;
use log_api::{
    Admin, Log, Membership, MembershipError, MembershipOptions, ReadError, Reader, ReaderOptions,
    Start, Transaction, TransactionError, TransactionOptions, WriteError, Writer,
};
use log_protocol::TopicPartition;

use crate::services::Services;
use crate::storage::Partition;

/// The log of this process. Clones are handles to the same one; it lives as long as any of them.
#[derive(Clone)]
pub struct Embedded {
    services: Arc<Services>,
}

impl Embedded {
    pub(crate) fn new(services: Arc<Services>) -> Self {
        Self { services }
    }
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded")
            .field("data_dir", &self.services.config.data_dir)
            .finish()
    }
}

#[async_trait]
impl Log for Embedded {
    fn admin(&self) -> Arc<dyn Admin> {
        Arc::new(admin::EmbeddedAdmin::new(Arc::clone(&self.services)))
    }

    async fn reader(
        &self,
        options: ReaderOptions,
        assignment: Vec<(TopicPartition, Start)>,
    ) -> Result<Box<dyn Reader>, ReadError> {
        let reader = reader::EmbeddedReader::open(&self.services, options, assignment)?;
        Ok(Box::new(reader))
    }

    async fn writer(&self) -> Result<Arc<dyn Writer>, WriteError> {
        Ok(Arc::new(writer::EmbeddedWriter::new(Arc::clone(
            &self.services,
        ))))
    }

    async fn transaction(
        &self,
        options: TransactionOptions,
    ) -> Result<Box<dyn Transaction>, TransactionError> {
        let transaction =
            transaction::EmbeddedTransaction::open(Arc::clone(&self.services), options).await?;
        Ok(Box::new(transaction))
    }

    async fn membership(
        &self,
        options: MembershipOptions,
    ) -> Result<Box<dyn Membership>, MembershipError> {
        let services = Arc::clone(&self.services);
        let membership = membership::EmbeddedMembership::start(services, options);
        Ok(Box::new(membership))
    }
}

fn find(services: &Services, partition: &TopicPartition) -> Option<Arc<Partition>> {
    services
        .topics
        .get(&partition.topic)?
        .partition(partition.partition)
}
