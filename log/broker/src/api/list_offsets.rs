//! ListOffsets (key 2): the offset for a time, or for one of the named places of a log.
//!
//! -1 latest, -2 earliest, -3 the record with the highest timestamp, -4 earliest on local disk; -5 and -6 are about tiered storage.

use log_protocol::ErrorCode;
use log_protocol::api::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};

use super::{check_leader_epoch, is_read_committed};
use crate::broker::Shared;
use crate::storage::Partition;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

pub(crate) fn handle(broker: &Shared, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let committed = is_read_committed(request.isolation_level);
    let topics = request
        .topics
        .into_iter()
        .map(|asked| {
            let topic = broker.topics.get(&asked.name);
            let partitions = asked
                .partitions
                .into_iter()
                .map(|one| {
                    let partition = topic
                        .as_ref()
                        .and_then(|topic| topic.partition(one.partition_index));
                    let found = match partition {
                        Some(partition) => look_up(&partition, &one, committed),
                        None => Err(ErrorCode::UnknownTopicOrPartition),
                    };
                    found.unwrap_or_else(|error_code| ListOffsetsPartitionResponse {
                        partition_index: one.partition_index,
                        error_code,
                        ..ListOffsetsPartitionResponse::default()
                    })
                })
                .collect();
            ListOffsetsTopicResponse {
                name: asked.name,
                partitions,
            }
        })
        .collect();
    ListOffsetsResponse {
        throttle_time_ms: 0,
        topics,
    }
}

fn look_up(
    partition: &Partition,
    asked: &ListOffsetsPartition,
    committed: bool,
) -> Result<ListOffsetsPartitionResponse, ErrorCode> {
    check_leader_epoch(asked.current_leader_epoch, partition.leader_epoch())?;
    let end = if committed {
        partition.last_stable_offset()
    } else {
        partition.high_watermark()
    };
    let (offset, timestamp) = match asked.timestamp {
        LATEST => (end, -1),
        EARLIEST | EARLIEST_LOCAL => (partition.log_start_offset(), -1),
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => (-1, -1),
        MAX_TIMESTAMP => at(
            partition.max_timestamp().map_err(|error| error.code())?,
            end,
        ),
        timestamp if timestamp >= 0 => at(
            partition
                .offset_for_timestamp(timestamp)
                .map_err(|error| error.code())?,
            end,
        ),
        _ => return Err(ErrorCode::InvalidRequest),
    };
    Ok(ListOffsetsPartitionResponse {
        partition_index: asked.partition_index,
        error_code: ErrorCode::None,
        timestamp,
        offset,
        leader_epoch: if offset >= 0 {
            partition.leader_epoch()
        } else {
            -1
        },
    })
}

/// A record that this reader may see, or nothing.
fn at(found: Option<(i64, i64)>, end: i64) -> (i64, i64) {
    found
        .filter(|(offset, _)| *offset < end)
        .unwrap_or((-1, -1))
}
