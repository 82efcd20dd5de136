//! Appends batches outside of transactions.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::try_join_all;
use log_api::{WriteError, Writer};
use log_protocol::{BatchBuilder, ProducerStamp, TopicPartition};

use super::find;
use crate::clock::wall_ms;
use crate::partition::{AppendError, AppendOrigin};
use crate::services::Services;
use crate::storage::StorageError;

pub(super) struct EmbeddedWriter {
    services: Arc<Services>,
}

impl EmbeddedWriter {
    pub(super) fn new(services: Arc<Services>) -> Self {
        Self { services }
    }
}

#[async_trait]
impl Writer for EmbeddedWriter {
    async fn append(
        &self,
        partition: &TopicPartition,
        batch: BatchBuilder,
    ) -> Result<i64, WriteError> {
        let unknown = || WriteError::UnknownPartition(partition.clone());
        let found = find(&self.services, partition).ok_or_else(unknown)?;
        if batch.is_empty() {
            return Ok(found.high_watermark());
        }
        let bytes = batch.build(ProducerStamp::NONE);
        let size = bytes.len();
        let appended = found
            .append(bytes, AppendOrigin::Embedded, wall_ms())
            .map_err(|error| write_error(partition, size, error))?;
        found
            .acknowledged(appended.last_offset)
            .await
            .map_err(|error| storage_error(partition, &error))?;
        Ok(appended.base_offset)
    }

    async fn sync(&self, partitions: &[TopicPartition]) -> Result<(), WriteError> {
        let mut found = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let unknown = || WriteError::UnknownPartition(partition.clone());
            found.push((
                partition,
                find(&self.services, partition).ok_or_else(unknown)?,
            ));
        }
        let syncs = found.iter().map(|(name, partition)| async move {
            partition
                .sync()
                .await
                .map_err(|error| storage_error(name, &error))
        });
        try_join_all(syncs).await.map(drop)
    }
}

pub(super) fn write_error(name: &TopicPartition, bytes: usize, error: AppendError) -> WriteError {
    let partition = name.clone();
    match error {
        AppendError::TooLarge { .. } | AppendError::SegmentTooSmall { .. } => {
            WriteError::TooLarge { partition, bytes }
        }
        AppendError::Storage(error) => storage_error(name, &error),
        refused => WriteError::Invalid {
            partition,
            reason: refused.to_string(),
        },
    }
}

pub(super) fn storage_error(name: &TopicPartition, error: &StorageError) -> WriteError {
    match error {
        StorageError::Deleted(_) => WriteError::UnknownPartition(name.clone()),
        StorageError::Offline { reason, .. } | StorageError::Read { reason, .. } => {
            WriteError::Storage {
                partition: name.clone(),
                reason: reason.clone(),
            }
        }
        other => WriteError::Storage {
            partition: name.clone(),
            reason: other.to_string(),
        },
    }
}
