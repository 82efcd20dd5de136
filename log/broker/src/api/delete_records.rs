//! DeleteRecords (key 21): moves the start of a log; −1 stands for the high watermark.

use std::collections::BTreeMap;

use log_protocol::ErrorCode;
use log_protocol::api::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResult,
};

use super::blocking;
use crate::authorize::{Resource, require};
use crate::security::acl::Operation;
use crate::services::{Context, Services};

pub(crate) async fn handle(ctx: &Context, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for asked in request.topics {
        let may = require(ctx, Operation::Delete, Resource::Topic(&asked.name));
        // Of a partition that comes twice the last offset counts, and it is answered once.
        let last: BTreeMap<i32, i64> = asked
            .partitions
            .iter()
            .map(|one| (one.partition_index, one.offset))
            .collect();
        let mut partitions = Vec::with_capacity(last.len());
        for (partition_index, before) in last {
            let outcome = match may {
                Ok(()) => delete(&ctx.services, &asked.name, partition_index, before).await,
                Err(error) => Err(error),
            };
            let (low_watermark, error_code) = match outcome {
                Ok(start) => (start, ErrorCode::None),
                Err(error) => (-1, error),
            };
            partitions.push(DeleteRecordsPartitionResult {
                partition_index,
                low_watermark,
                error_code,
            });
        }
        topics.push(DeleteRecordsTopicResult {
            name: asked.name,
            partitions,
        });
    }
    DeleteRecordsResponse {
        topics,
        ..DeleteRecordsResponse::default()
    }
}

/// Removes what lies before `offset`; returns the new start of the log.
pub(crate) async fn delete(
    services: &Services,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<i64, ErrorCode> {
    let topic = services
        .topics
        .get(topic)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if topic.is_internal() {
        return Err(ErrorCode::InvalidTopicException);
    }
    // A topic that is only compacted keeps the last record of every key; cutting it would lose keys without a word.
    let config = topic.config();
    if config.cleanup_compact && !config.cleanup_delete {
        return Err(ErrorCode::PolicyViolation);
    }
    let partition = topic
        .partition(partition)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let high_watermark = partition.high_watermark();
    let before = if offset == -1 { high_watermark } else { offset };
    if before < 0 || before > high_watermark {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    blocking(move || partition.delete_records(before))
        .await?
        .map_err(|error| error.code())
}
