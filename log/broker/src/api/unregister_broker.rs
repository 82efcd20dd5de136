//! UnregisterBroker (key 64): there is one broker, and while it answers it cannot be taken out.

use log_protocol::ErrorCode;
use log_protocol::api::unregister_broker::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use crate::authorize::{Resource, require};
use crate::security::acl::Operation;
use crate::services::Context;

pub(crate) fn handle(ctx: &Context, request: UnregisterBrokerRequest) -> UnregisterBrokerResponse {
    let broker_id = request.broker_id;
    let (error_code, message) = match require(ctx, Operation::Alter, Resource::Cluster) {
        Err(error) => (error, error.message().to_owned()),
        Ok(()) if broker_id == ctx.services.config.node_id => (
            ErrorCode::InvalidRequest,
            format!("broker {broker_id} is the only one of this cluster, and it runs"),
        ),
        Ok(()) => (
            ErrorCode::BrokerIdNotRegistered,
            format!("broker {broker_id} is not registered"),
        ),
    };
    UnregisterBrokerResponse {
        error_code,
        error_message: Some(message),
        ..UnregisterBrokerResponse::default()
    }
}
