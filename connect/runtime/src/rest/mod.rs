//! Kafka Connect's REST API, codes and texts of version 4.3.
//!
//! Every path is also there with a slash at its end. Every error is `{"error_code":…,"message":…}`. Where Kafka
//! answers a client's mistake with 500, this answers 400 or 404, and appends what would help to Kafka's text.

mod body;
mod caller;
mod connectors;
mod error;
mod loggers;
mod plugins;
mod unavailable;
mod words;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post, put};
use axum::{Router, middleware};
use connect_api::ConfigMap;
use serde_json::json;

use crate::worker::{Change, ConnectWorker, Inner};
use connectors::{put_config, status, status_with};
pub use error::ApiError;
pub use unavailable::unavailable;

/// Bytes of a request's body; more is refused with 413.
const BODY_BYTES_MAX: usize = 4 << 20;
/// Kafka's version that answers are like.
const KAFKA_VERSION: &str = "4.3.0";

/// What every handler gets.
pub(crate) type Shared = State<Arc<Inner>>;

/// Answers of handlers.
pub(crate) type Answer = Result<Response, ApiError>;

impl ConnectWorker {
    /// Kafka Connect's REST API, to be served wherever the caller listens.
    pub fn router(&self) -> axum::Router {
        router(Arc::clone(&self.inner))
    }

    /// Creates or replaces a connector: `PUT /connectors/{name}/config`. Returns the connector's info.
    ///
    /// # Errors
    /// As REST answers: status and message.
    pub async fn put_config(
        &self,
        name: &str,
        config: ConfigMap,
    ) -> Result<serde_json::Value, ApiError> {
        put_config(&self.inner, name, config)
            .await
            .map(|(_, info)| info)
    }

    /// The connector's status, as `GET /connectors/{name}/status` shows it.
    ///
    /// # Errors
    /// 404 if there is none.
    pub fn status(&self, name: &str) -> Result<serde_json::Value, ApiError> {
        status(&self.inner, name)
    }

    /// Deletes a connector; its tasks stop soon after.
    ///
    /// # Errors
    /// 404 if there is none.
    pub async fn delete(&self, name: &str) -> Result<(), ApiError> {
        self.inner
            .change(Change::Delete {
                name: name.to_owned(),
            })
            .await?;
        Ok(())
    }
}

/// All paths.
fn router(inner: Arc<Inner>) -> Router {
    let routes: [(&str, MethodRouter<Arc<Inner>>); 21] = [
        ("/health", get(health)),
        (
            "/connectors",
            get(connectors::list).post(connectors::create),
        ),
        (
            "/connectors/{name}",
            get(connectors::info).delete(connectors::remove),
        ),
        (
            "/connectors/{name}/config",
            get(connectors::config)
                .put(connectors::replace_config)
                .patch(connectors::patch_config),
        ),
        ("/connectors/{name}/status", get(connectors::get_status)),
        ("/connectors/{name}/restart", post(connectors::restart)),
        ("/connectors/{name}/pause", put(connectors::pause)),
        ("/connectors/{name}/resume", put(connectors::resume)),
        ("/connectors/{name}/stop", put(connectors::stop)),
        ("/connectors/{name}/tasks", get(connectors::tasks)),
        (
            "/connectors/{name}/tasks-config",
            get(connectors::tasks_config),
        ),
        (
            "/connectors/{name}/tasks/{task}/status",
            get(connectors::task_status),
        ),
        (
            "/connectors/{name}/tasks/{task}/restart",
            post(connectors::restart_task),
        ),
        ("/connectors/{name}/topics", get(connectors::topics)),
        (
            "/connectors/{name}/topics/reset",
            put(connectors::reset_topics),
        ),
        (
            "/connectors/{name}/offsets",
            get(connectors::offsets)
                .patch(connectors::alter_offsets)
                .delete(connectors::reset_offsets),
        ),
        ("/connector-plugins", get(plugins::list)),
        ("/connector-plugins/{plugin}/config", get(plugins::config)),
        (
            "/connector-plugins/{plugin}/config/validate",
            put(plugins::validate),
        ),
        ("/admin/loggers", get(loggers::list)),
        (
            "/admin/loggers/{logger}",
            get(loggers::get).put(loggers::set),
        ),
    ];
    let mut router = Router::new().route("/", get(root));
    for (path, handlers) in routes {
        router = router
            .route(path, handlers.clone())
            .route(&format!("{path}/"), handlers);
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&inner),
            caller::check,
        ))
        .with_state(inner)
}

/// `GET /`.
async fn root(State(inner): Shared) -> Answer {
    Ok(body::json(
        200,
        &json!({
            "version": KAFKA_VERSION,
            "commit": concat!("thalweg-", env!("CARGO_PKG_VERSION")),
            "kafka_cluster_id": inner.config.cluster_id,
        }),
    ))
}

/// `GET /health` (KIP-1017). The router is there only once the worker has started.
async fn health() -> Answer {
    Ok(body::json(
        200,
        &json!({
            "status": "healthy",
            "message": "Worker has completed startup and is ready to handle requests.",
        }),
    ))
}

async fn not_found() -> ApiError {
    ApiError::new(404, "HTTP 404 Not Found")
}

async fn method_not_allowed() -> ApiError {
    ApiError::new(405, "HTTP 405 Method Not Allowed")
}
