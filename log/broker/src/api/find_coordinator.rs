//! FindCoordinator (key 10): groups (key type 0) and transactional ids (1). One broker coordinates all of them.

use log_protocol::ErrorCode;
use log_protocol::api::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};

use super::Answered;
use crate::authorize::{Resource, require};
use crate::security::acl::Operation;
use crate::services::Context;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(crate) fn handle(ctx: &Context, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let key_type = request.key_type;
    if ctx.api_version >= 4 {
        let mut answered = Answered::default();
        let coordinators = request
            .coordinator_keys
            .into_iter()
            .filter(|key| answered.may_answer(key.clone()))
            .map(|key| coordinator(ctx, key_type, key))
            .collect();
        return FindCoordinatorResponse {
            coordinators,
            ..FindCoordinatorResponse::default()
        };
    }
    let found = coordinator(ctx, key_type, request.key);
    FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..FindCoordinatorResponse::default()
    }
}

fn coordinator(ctx: &Context, key_type: i8, key: String) -> Coordinator {
    let refused = |error_code, message: &str, key| Coordinator {
        key,
        node_id: -1,
        host: String::new(),
        port: -1,
        error_code,
        error_message: Some(message.to_owned()),
    };
    let may = match key_type {
        GROUP => require(ctx, Operation::Describe, Resource::Group(&key)),
        TRANSACTION => require(ctx, Operation::Describe, Resource::TransactionalId(&key)),
        _ => Ok(()),
    };
    if let Err(error) = may {
        return refused(error, error.message(), key);
    }
    match key_type {
        GROUP | TRANSACTION => Coordinator {
            key,
            node_id: ctx.services.config.node_id,
            host: ctx.advertised_host.clone(),
            port: ctx.advertised_port,
            error_code: ErrorCode::None,
            error_message: None,
        },
        _ => refused(
            ErrorCode::InvalidRequest,
            "only groups and transactional ids have coordinators",
            key,
        ),
    }
}
