//! The SQL API of a server whose catalog cannot be read: every answer says why.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::any;

use super::http::refusal;
use crate::diagnostic::{Code, Diagnostic};

/// The routes of the SQL API where it does not run, `reason` says why: each answers 503.
pub fn unavailable(reason: &str) -> Router {
    let error = Diagnostic::new(Code::Log, reason);
    let refuse = any(move || {
        let answer = refusal(StatusCode::SERVICE_UNAVAILABLE, &error);
        async move { answer }
    });
    Router::new()
        .route("/v1/query", refuse.clone())
        .route("/v1/catalog", refuse.clone())
        .route("/v1/filling", refuse)
}
