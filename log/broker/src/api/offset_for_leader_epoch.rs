//! OffsetForLeaderEpoch (key 23): where a leader epoch ended, by which clients see that a log was cut (KIP-320).

use log_protocol::ErrorCode;
use log_protocol::api::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderTopicResult,
};

use super::check_leader_epoch_or_none;
use crate::authorize::{Resource, require};
use crate::security::acl::Operation;
use crate::services::Context;

pub(crate) fn handle(
    ctx: &Context,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request
        .topics
        .into_iter()
        .map(|asked| {
            let may = require(ctx, Operation::Describe, Resource::Topic(&asked.topic));
            let topic = ctx.services.topics.get(&asked.topic);
            let partitions = asked
                .partitions
                .into_iter()
                .map(|one| {
                    let partition = topic
                        .as_ref()
                        .and_then(|topic| topic.partition(one.partition));
                    let found = may
                        .and(partition.ok_or(ErrorCode::UnknownTopicOrPartition))
                        .and_then(|partition| {
                            check_leader_epoch_or_none(
                                one.current_leader_epoch,
                                partition.leader_epoch(),
                            )?;
                            partition.check_readable().map_err(|error| error.code())?;
                            Ok(partition.end_offset_for_epoch(one.leader_epoch))
                        });
                    let (error_code, (leader_epoch, end_offset)) = match found {
                        Ok(found) => (ErrorCode::None, found),
                        Err(error) => (error, (-1, -1)),
                    };
                    EpochEndOffset {
                        error_code,
                        partition: one.partition,
                        leader_epoch,
                        end_offset,
                    }
                })
                .collect();
            OffsetForLeaderTopicResult {
                topic: asked.topic,
                partitions,
            }
        })
        .collect();
    OffsetForLeaderEpochResponse {
        topics,
        ..OffsetForLeaderEpochResponse::default()
    }
}
