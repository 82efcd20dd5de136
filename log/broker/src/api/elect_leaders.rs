//! ElectLeaders (key 43): every partition is led by its only replica, so no election is needed.

use log_protocol::ErrorCode;
use log_protocol::api::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, ElectLeadersTopic, ElectionPartitionResult,
    ReplicaElectionResult,
};

use crate::authorize::{Resource, require};
use crate::security::acl::Operation;
use crate::services::Context;

/// The kinds of elections: of the preferred replica, of any.
const ELECTION_TYPES: [i8; 2] = [0, 1];

pub(crate) fn handle(ctx: &Context, request: ElectLeadersRequest) -> ElectLeadersResponse {
    let refused = |error_code, request: ElectLeadersRequest| ElectLeadersResponse {
        error_code,
        // Version 0 has no other place for it.
        replica_election_results: request
            .topic_partitions
            .unwrap_or_default()
            .into_iter()
            .map(|topic| elected(topic, |_| Err(error_code)))
            .collect(),
        ..ElectLeadersResponse::default()
    };
    if let Err(error_code) = require(ctx, Operation::Alter, Resource::Cluster) {
        return refused(error_code, request);
    }
    if !ELECTION_TYPES.contains(&request.election_type) {
        return refused(ErrorCode::InvalidRequest, request);
    }
    // Of all partitions those are told that need one.
    let asked = request.topic_partitions.unwrap_or_default();
    let results = asked.into_iter().map(|topic| {
        let found = ctx.services.topics.get(&topic.topic);
        elected(topic, |partition| {
            let partition = found.as_ref().and_then(|topic| topic.partition(partition));
            Err(match partition {
                Some(_) => ErrorCode::ElectionNotNeeded,
                None => ErrorCode::UnknownTopicOrPartition,
            })
        })
    });
    ElectLeadersResponse {
        replica_election_results: results.collect(),
        ..ElectLeadersResponse::default()
    }
}

fn elected(
    topic: ElectLeadersTopic,
    elect: impl Fn(i32) -> Result<(), ErrorCode>,
) -> ReplicaElectionResult {
    let results = topic.partitions.into_iter().map(|partition_id| {
        let error_code = elect(partition_id).err().unwrap_or(ErrorCode::None);
        ElectionPartitionResult {
            partition_id,
            error_code,
            error_message: Some(error_code.message().to_owned()),
        }
    });
    ReplicaElectionResult {
        partition_result: results.collect(),
        topic: topic.topic,
    }
}
