//! Batches of a partition that turned out to be damaged while it is read: each is told once in the log, and for as long as the log holds
//! it to whoever asks what is wrong.

use std::collections::BTreeMap;

use log_protocol::TopicPartition;
use parking_lot::Mutex;
use tracing::error;

use super::error::StorageError;

/// Places that are remembered; further ones are of the same damage, most likely.
const PLACES_MAX: usize = 16;

/// What of a partition cannot be read.
#[derive(Debug, Default)]
pub(super) struct Corruption {
    found: Mutex<BTreeMap<i64, String>>,
}

impl Corruption {
    /// Notes a batch at or behind `offset`, and says so if it is new.
    pub(super) fn note(&self, partition: &TopicPartition, offset: i64, reason: &str) {
        let mut found = self.found.lock();
        if found.len() >= PLACES_MAX || found.contains_key(&offset) {
            return;
        }
        found.insert(offset, reason.to_owned());
        drop(found);
        error!(
            %partition,
            offset,
            reason,
            "records are damaged and reads end there: restore the file from a copy and start again, or read on behind them"
        );
    }

    /// The first damage that the log, which begins at `log_start`, still holds.
    pub(super) fn first(&self, partition: &TopicPartition, log_start: i64) -> Option<StorageError> {
        let found = self.found.lock();
        let (offset, reason) = found.range(log_start..).next()?;
        Some(StorageError::Corrupt {
            partition: partition.clone(),
            offset: *offset,
            reason: reason.clone(),
        })
    }
}
