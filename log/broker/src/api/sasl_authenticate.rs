//! SaslAuthenticate (key 36) of a connection of which it is known, or not asked, who is at its other end: no token is awaited. Those of others
//! are answered in `server/session.rs`.

use log_protocol::ErrorCode;
use log_protocol::api::sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse};

use crate::services::Context;

pub(crate) fn handle(
    _ctx: &Context,
    _request: SaslAuthenticateRequest,
) -> SaslAuthenticateResponse {
    SaslAuthenticateResponse {
        error_code: ErrorCode::IllegalSaslState,
        error_message: Some("this connection awaits no token".to_owned()),
        ..SaslAuthenticateResponse::default()
    }
}
