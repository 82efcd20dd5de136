//! REST of a worker that did not start: every answer says why.

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::json;

use super::{ApiError, body};

/// What is served in the place of the REST of a worker that did not start, `reason` says why: 503 whatever is asked, `GET /health` as
/// Kafka Connect has it (KIP-1017).
pub fn unavailable(reason: &str) -> Router {
    let refused = ApiError::new(503, reason);
    let health = json!({ "status": "unhealthy", "message": reason });
    Router::new()
        .route(
            "/health",
            get(move || {
                let answer = body::json(503, &health);
                async move { answer }
            }),
        )
        .fallback(move || {
            let answer = refused.clone().into_response();
            async move { answer }
        })
}
