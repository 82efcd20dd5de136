//! DescribeProducers (key 61): the idempotent and transactional producers that partitions remember.

use std::collections::HashSet;

use log_protocol::ErrorCode;
use log_protocol::api::describe_producers::{
    ActiveProducer, DescribeProducersRequest, DescribeProducersResponse,
    DescribedProducersPartition, DescribedProducersTopic,
};

use super::once;
use crate::authorize::{Resource, require};
use crate::quorum::is_valid_name;
use crate::security::acl::Operation;
use crate::services::Context;

pub(crate) fn handle(
    ctx: &Context,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let mut named = HashSet::new();
    let topics = request.topics.into_iter().map(|asked| {
        let topic = require(ctx, Operation::Read, Resource::Topic(&asked.name)).and_then(|()| {
            if !is_valid_name(&asked.name) {
                return Err(ErrorCode::InvalidTopicException);
            }
            let topic = ctx.services.topics.get(&asked.name);
            topic.ok_or(ErrorCode::UnknownTopicOrPartition)
        });
        let partitions = asked.partition_indexes.into_iter().map(|partition_index| {
            let producers = topic.as_ref().map_err(|error| *error).and_then(|topic| {
                let partition = topic
                    .partition(partition_index)
                    .ok_or(ErrorCode::UnknownTopicOrPartition)?;
                let partition = once(&mut named, topic.id(), partition)?;
                partition.check_readable().map_err(|error| error.code())?;
                Ok(partition.producers())
            });
            match producers {
                Ok(producers) => DescribedProducersPartition {
                    partition_index,
                    active_producers: producers
                        .into_iter()
                        .map(|producer| ActiveProducer {
                            producer_id: producer.producer_id,
                            producer_epoch: i32::from(producer.producer_epoch),
                            last_sequence: producer.last_sequence,
                            last_timestamp: producer.last_timestamp,
                            coordinator_epoch: producer.coordinator_epoch,
                            current_txn_start_offset: producer.open_since,
                        })
                        .collect(),
                    ..DescribedProducersPartition::default()
                },
                Err(error_code) => DescribedProducersPartition {
                    partition_index,
                    error_code,
                    error_message: Some(error_code.message().to_owned()),
                    ..DescribedProducersPartition::default()
                },
            }
        });
        DescribedProducersTopic {
            partitions: partitions.collect(),
            name: asked.name,
        }
    });
    DescribeProducersResponse {
        topics: topics.collect(),
        ..DescribeProducersResponse::default()
    }
}
