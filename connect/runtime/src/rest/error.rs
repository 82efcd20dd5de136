//! Errors as REST answers them.

use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::body;
use crate::worker::ChangeError;

/// A refused request: HTTP status and message, as they go into `{"error_code":…,"message":…}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// Kafka's text, then what helps.
    pub message: String,
}

impl ApiError {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.status)
    }
}

impl std::error::Error for ApiError {}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        let status = match &error {
            ChangeError::Exists(_) => 409,
            ChangeError::NotFound(_) | ChangeError::TaskNotFound(_) => 404,
            ChangeError::NotStopped(_) | ChangeError::Bad(_) => 400,
            ChangeError::Store(error) if error.is_too_large() => 413,
            ChangeError::Store(_) => 500,
            ChangeError::Stopping => 503,
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        body::json(
            self.status,
            &json!({ "error_code": self.status, "message": self.message }),
        )
    }
}
