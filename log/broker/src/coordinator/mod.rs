//! Group and transaction coordinators: pure state machines, each with a thin shell that writes and answers.
//!
//! ```text
//! request ──▶ shell ──▶ state.rs (pure): decision ──▶ shell: append to the internal topic ──▶ durable ──▶ answer
//!                         ▲                                        │
//!                         └──────────── replay at start ◀──────────┘
//! ```

mod background;
pub(crate) mod group;
pub(crate) mod txn;

pub(crate) use background::Background;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use log_protocol::{
    Batch, BatchBuilder, BatchError, BatchHeader, Compression, ErrorCode, ProducerStamp, Record,
};
use tracing::{error, warn};

use crate::OpenError;
use crate::clock::wall_ms;
use crate::partition::AppendOrigin;
use crate::quorum::Topics;
use crate::storage::{Partition, StorageError, Visit};

/// The single partition of an internal, compacted, always synced topic; made if it is not there yet.
fn internal_partition(topics: &Topics, name: &str) -> Result<Arc<Partition>, OpenError> {
    let topic = match topics.get(name) {
        Some(topic) => topic,
        None => {
            let configs: BTreeMap<String, String> = [
                ("cleanup.policy", "compact"),
                ("compression.type", "producer"),
                ("flush", "sync"),
                ("segment.bytes", "104857600"),
            ]
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
            topics
                .create(name, 1, &configs, true)
                .map_err(|error| OpenError::InternalTopic {
                    topic: name.to_owned(),
                    reason: error.to_string(),
                })?
        }
    };
    topic.partition(0).ok_or_else(|| OpenError::InternalTopic {
        topic: name.to_owned(),
        reason: "it has no partition 0".to_owned(),
    })
}

/// Largest content of one batch of an internal topic.
const CONTENT_BYTES_MAX: usize = 256 << 20;

/// Calls `visit` with every record of a partition and the header of its batch, oldest first, control records included. What cannot be
/// read is told and passed over: one damaged record must not take all other groups and transactions with it.
fn replay(
    topic: &str,
    partition: &Partition,
    mut visit: impl FnMut(&BatchHeader, Record),
) -> Result<(), OpenError> {
    let mut from = partition.log_start_offset();
    loop {
        let walked = partition.for_each_batch(from, |batch| {
            from = batch.header.next_offset();
            if let Err(error) = replay_batch(batch, &mut visit) {
                warn!(topic, offset = batch.header.base_offset, %error, "batch of an internal topic skipped");
            }
            Ok(Visit::Continue)
        });
        let next = match walked {
            Ok(()) => return Ok(()),
            Err(error @ StorageError::Corrupt { .. }) => {
                error!(topic, offset = from, %error, "the rest of a segment of an internal topic is skipped");
                partition.next_segment(from)
            }
            Err(error) => {
                return Err(OpenError::InternalTopic {
                    topic: topic.to_owned(),
                    reason: error.to_string(),
                });
            }
        };
        match next {
            Some(base) => from = base,
            None => return Ok(()),
        }
    }
}

fn replay_batch(
    batch: &Batch,
    visit: &mut impl FnMut(&BatchHeader, Record),
) -> Result<(), BatchError> {
    for record in batch.records(CONTENT_BYTES_MAX)? {
        visit(&batch.header, record?);
    }
    Ok(())
}

/// Appends records to an internal partition; returns the offset of the last one. Not durable yet.
fn append(
    partition: &Partition,
    records: &[(Bytes, Option<Bytes>)],
    stamp: ProducerStamp,
) -> Result<i64, ErrorCode> {
    let now = wall_ms();
    let mut batch = BatchBuilder::new(Compression::None);
    for (key, value) in records {
        batch.append(now, Some(key), value.as_deref(), &[]);
    }
    match partition.append(batch.build(stamp), AppendOrigin::Coordinator, now) {
        Ok(appended) => Ok(appended.last_offset),
        Err(error) => {
            error!(%error, "coordinator cannot write its state");
            Err(ErrorCode::CoordinatorNotAvailable)
        }
    }
}

/// Waits until what was appended up to `offset` is durable; a negative offset stands for nothing.
async fn durable(partition: &Partition, offset: i64) -> Result<(), ErrorCode> {
    if offset < 0 {
        return Ok(());
    }
    partition.acknowledged(offset).await.map_err(|error| {
        error!(%error, "coordinator cannot make its state durable");
        ErrorCode::CoordinatorNotAvailable
    })
}
