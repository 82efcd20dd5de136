//! ListOffsets (key 2): the offset for a time, or for one of the named places of a log.
//!
//! -1 latest, -2 earliest, -3 the record with the highest timestamp, -4 earliest on local disk; -5 and -6 are about tiered storage.
//! Searches by time run on a thread that may wait for the disk. A partition that is named again is refused, as Kafka does.

use std::sync::Arc;

use log_protocol::ErrorCode;
use log_protocol::api::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};

use super::{Repeated, blocking, check_leader_epoch_or_none, is_read_committed};
use crate::authorize::{Resource, require};
use crate::security::acl::Operation;
use crate::services::Context;
use crate::storage::{Partition, StorageError};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

pub(crate) async fn handle(ctx: &Context, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let committed = is_read_committed(request.isolation_level);
    let is_isolation = matches!(request.isolation_level, 0 | 1);
    let mut repeated = Repeated::of(request.topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|one| (topic.name.clone(), one.partition_index))
    }));
    let mut topics: Vec<ListOffsetsTopicResponse> = Vec::new();
    // A topic without partitions has no answer.
    let with_partitions = request.topics.into_iter();
    for asked in with_partitions.filter(|topic| !topic.partitions.is_empty()) {
        let may = require(ctx, Operation::Describe, Resource::Topic(&asked.name));
        let topic = ctx.services.topics.get(&asked.name);
        let mut partitions = Vec::with_capacity(asked.partitions.len());
        for one in asked.partitions {
            let named = (asked.name.clone(), one.partition_index);
            let Some(is_repeated) = repeated.first_time(&named) else {
                continue;
            };
            let partition = topic.as_ref();
            let partition = partition.and_then(|topic| topic.partition(one.partition_index));
            let found = match partition {
                _ if may.is_err() => may.and(Err(ErrorCode::TopicAuthorizationFailed)),
                _ if is_repeated => Err(ErrorCode::InvalidRequest),
                Some(_) if !is_isolation => Err(ErrorCode::UnknownServerError),
                Some(partition) => look_up(ctx, partition, &one, committed).await,
                None => Err(ErrorCode::UnknownTopicOrPartition),
            };
            partitions.push(
                found.unwrap_or_else(|error_code| ListOffsetsPartitionResponse {
                    partition_index: one.partition_index,
                    error_code,
                    ..ListOffsetsPartitionResponse::default()
                }),
            );
        }
        // All that comes again has its answer where it came first.
        if !partitions.is_empty() {
            topics.push(ListOffsetsTopicResponse {
                name: asked.name,
                partitions,
            });
        }
    }
    ListOffsetsResponse {
        topics,
        ..ListOffsetsResponse::default()
    }
}

/// The first version that knows a named place.
fn special_from(timestamp: i64) -> i16 {
    match timestamp {
        LATEST | EARLIEST => 1,
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        EARLIEST_PENDING_UPLOAD => 11,
        _ => i16::MAX,
    }
}

/// Runs a search by time, when it is its turn.
async fn search<T: Send + 'static>(
    ctx: &Context,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ErrorCode> {
    let turn = ctx.services.searching.acquire().await;
    let _turn = turn.map_err(|_| ErrorCode::UnknownServerError)?;
    blocking(work).await
}

async fn look_up(
    ctx: &Context,
    partition: Arc<Partition>,
    asked: &ListOffsetsPartition,
    committed: bool,
) -> Result<ListOffsetsPartitionResponse, ErrorCode> {
    let leader_epoch = partition.leader_epoch();
    check_leader_epoch_or_none(asked.current_leader_epoch, leader_epoch)?;
    partition.check_readable().map_err(|error| error.code())?;
    let end = if committed {
        partition.last_stable_offset()
    } else {
        partition.high_watermark()
    };
    let (offset, timestamp) = match asked.timestamp {
        special if special < 0 && ctx.api_version < special_from(special) => {
            return Err(ErrorCode::UnsupportedVersion);
        }
        LATEST => (end, -1),
        EARLIEST | EARLIEST_LOCAL => (partition.log_start_offset(), -1),
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => (-1, -1),
        MAX_TIMESTAMP => at(search(ctx, move || partition.max_timestamp()).await?, end)?,
        timestamp if timestamp >= 0 => at(
            search(ctx, move || partition.offset_for_timestamp(timestamp)).await?,
            end,
        )?,
        _ => return Err(ErrorCode::UnsupportedVersion),
    };
    Ok(ListOffsetsPartitionResponse {
        partition_index: asked.partition_index,
        error_code: ErrorCode::None,
        timestamp,
        offset,
        leader_epoch: if offset >= 0 { leader_epoch } else { -1 },
    })
}

/// A record that this reader may see, or nothing.
fn at(found: Result<Option<(i64, i64)>, StorageError>, end: i64) -> Result<(i64, i64), ErrorCode> {
    let found = found.map_err(|error| error.code())?;
    Ok(found
        .filter(|(offset, _)| *offset < end)
        .unwrap_or((-1, -1)))
}
