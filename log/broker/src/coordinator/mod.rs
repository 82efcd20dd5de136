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
use log_protocol::{BatchBuilder, BatchHeader, Compression, ErrorCode, ProducerStamp, Record};
use tracing::error;

use crate::OpenError;
use crate::clock::wall_ms;
use crate::partition::AppendOrigin;
use crate::quorum::Topics;
use crate::storage::Partition;

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

/// Calls `visit` with every record of a partition and the header of its batch, oldest first, control records included.
fn replay(
    topic: &str,
    partition: &Partition,
    visit: impl FnMut(&BatchHeader, Record),
) -> Result<(), OpenError> {
    partition
        .for_each_record(0, visit)
        .map_err(|error| OpenError::InternalTopic {
            topic: topic.to_owned(),
            reason: error.to_string(),
        })
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
