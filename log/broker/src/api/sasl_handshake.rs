//! SaslHandshake (key 17) of a connection of which it is known, or not asked, who is at its other end: there is nothing to agree upon. That of
//! others is answered in `server/session.rs`.

use log_protocol::ErrorCode;
use log_protocol::api::sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse};

use crate::services::Context;

pub(crate) fn handle(_ctx: &Context, _request: SaslHandshakeRequest) -> SaslHandshakeResponse {
    SaslHandshakeResponse {
        error_code: ErrorCode::IllegalSaslState,
        ..SaslHandshakeResponse::default()
    }
}
