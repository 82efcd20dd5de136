//! ElectLeaders (key 43): every partition is led by its only replica, so no election is needed.

use log_protocol::ErrorCode;
use log_protocol::api::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, ElectLeadersTopic, ElectionPartitionResult,
    ReplicaElectionResult,
};

use super::check_time;
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
    if check_time(request.timeout_ms).is_err() {
        return ElectLeadersResponse {
            error_code: ErrorCode::RequestTimedOut,
            ..ElectLeadersResponse::default()
        };
    }
    let is_empty = request.topic_partitions.as_ref().is_some_and(Vec::is_empty);
    if !is_empty && !ELECTION_TYPES.contains(&request.election_type) {
        return refused(ErrorCode::InvalidRequest, request);
    }
    let asked = request.topic_partitions;
    let asked = asked.unwrap_or_else(|| topics_alone(ctx));
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

/// All topics: of their partitions those are told that need an election, which are none.
fn topics_alone(ctx: &Context) -> Vec<ElectLeadersTopic> {
    let topics = ctx.services.topics.list().into_iter();
    let topics = topics.map(|topic| ElectLeadersTopic {
        topic: topic.name().to_string(),
        partitions: Vec::new(),
    });
    topics.collect()
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
