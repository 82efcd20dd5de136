//! ListConfigResources (key 74): topics and the broker. Version 0 asks for subscriptions of client metrics, of which there are none.

use log_protocol::ErrorCode;
use log_protocol::api::list_config_resources::{
    ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse,
};

use super::describe_configs::{BROKER, TOPIC};
use crate::authorize::{Resource, require};
use crate::security::acl::Operation;
use crate::services::Context;

/// Kinds that exist, and have nothing here: loggers, client metrics, groups.
const EMPTY_KINDS: [i8; 3] = [8, 16, 32];

pub(crate) fn handle(
    ctx: &Context,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let refuse = |error_code| ListConfigResourcesResponse {
        error_code,
        ..ListConfigResourcesResponse::default()
    };
    if let Err(error_code) = require(ctx, Operation::DescribeConfigs, Resource::Cluster) {
        return refuse(error_code);
    }
    let kinds = request.resource_types;
    let is_known = |kind: &i8| [TOPIC, BROKER].contains(kind) || EMPTY_KINDS.contains(kind);
    if !kinds.iter().all(is_known) {
        return refuse(ErrorCode::UnsupportedVersion);
    }
    let wants = |kind: i8| ctx.api_version >= 1 && (kinds.is_empty() || kinds.contains(&kind));
    let mut config_resources = Vec::new();
    if wants(TOPIC) {
        let topics = ctx.services.topics.list();
        config_resources.extend(topics.iter().map(|topic| ConfigResource {
            resource_name: topic.name().to_string(),
            resource_type: TOPIC,
        }));
    }
    if wants(BROKER) {
        config_resources.push(ConfigResource {
            resource_name: ctx.services.config.node_id.to_string(),
            resource_type: BROKER,
        });
    }
    ListConfigResourcesResponse {
        config_resources,
        ..ListConfigResourcesResponse::default()
    }
}
