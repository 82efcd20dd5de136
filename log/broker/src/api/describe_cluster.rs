//! DescribeCluster (key 60): the cluster is this broker.

use log_protocol::ErrorCode;
use log_protocol::api::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};

use super::authorized;
use crate::services::Context;

/// Asks for brokers.
const BROKERS: i8 = 1;
/// Asks for controllers, which are on another listener in Kafka.
const CONTROLLERS: i8 = 2;

pub(crate) fn handle(ctx: &Context, request: DescribeClusterRequest) -> DescribeClusterResponse {
    if request.endpoint_type != BROKERS {
        return DescribeClusterResponse {
            error_code: if request.endpoint_type == CONTROLLERS {
                ErrorCode::MismatchedEndpointType
            } else {
                ErrorCode::UnsupportedEndpointType
            },
            error_message: Some("this listener serves brokers".to_owned()),
            ..DescribeClusterResponse::default()
        };
    }
    DescribeClusterResponse {
        cluster_id: ctx.services.topics.cluster_id().to_string(),
        controller_id: ctx.services.config.node_id,
        brokers: vec![DescribeClusterBroker {
            broker_id: ctx.services.config.node_id,
            host: ctx.advertised_host.clone(),
            port: ctx.advertised_port,
            rack: None,
            is_fenced: false,
        }],
        cluster_authorized_operations: authorized::cluster(
            ctx,
            request.include_cluster_authorized_operations,
        ),
        ..DescribeClusterResponse::default()
    }
}
