//! `/healthz`, `/readyz`, `/metrics` and `/v1/server` beside the SQL interface.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::get;
use log_broker::Broker;
use metrics_exporter_prometheus::PrometheusHandle;
use streams::Engine;

use crate::figures::metrics_page;
use crate::presence::Presence;

/// Whether everything serves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// From now on `/readyz` answers with this.
    pub(crate) fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Reasons that `/readyz` names; it counts the rest.
const OFFLINE_NAMED_MAX: usize = 20;

/// The routes. `down`: what of the server does not run, and why.
pub(crate) fn router(
    readiness: Readiness,
    down: Vec<String>,
    metrics: PrometheusHandle,
    engine: Engine,
    broker: Broker,
    presence: Presence,
) -> Router {
    let front = front_page(&presence);
    let measured = broker.clone();
    Router::new()
        .route("/", get(|| async { front }))
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(move || {
                let offline = [broker.offline(), down.clone()].concat();
                let page = ready(readiness.get(), &offline);
                async move { page }
            }),
        )
        .route(
            "/v1/server",
            get(move |request: Request| {
                let page = presence.page(&request);
                async move { page }
            }),
        )
        .route(
            "/metrics",
            get(move || {
                let page = metrics_page(&metrics, &engine, &measured);
                async move { page }
            }),
        )
}

/// What there is, for whoever opens the address in a browser.
fn front_page(presence: &Presence) -> String {
    format!(
        "\
thalweg {version}, data in {data}

POST /v1/query     {{\"sql\": \"SELECT 1\"}}: rows as JSON lines (thalweg sql, curl)
GET  /v1/catalog   sources, tables, views and functions with their columns
GET  /v1/server    version, data folder and addresses
GET  /metrics      figures for Prometheus
GET  /healthz      the process answers
GET  /readyz       everything serves

Kafka {kafka}    Connect http://{connect}/connectors
",
        version = presence.version,
        data = presence.data,
        kafka = presence.kafka,
        connect = presence.connect,
    )
}

/// Not ready says why: what is offline comes back with a restart, which nobody does who does not know.
fn ready(serving: bool, offline: &[String]) -> (StatusCode, String) {
    if serving && offline.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    let mut page = "not ready\n".to_owned();
    for reason in offline.iter().take(OFFLINE_NAMED_MAX) {
        page += &format!("{reason}\n");
    }
    if offline.len() > OFFLINE_NAMED_MAX {
        page += &format!("and {} more\n", offline.len() - OFFLINE_NAMED_MAX);
    }
    (StatusCode::SERVICE_UNAVAILABLE, page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offline_is_named_and_long_lists_are_cut() {
        assert_eq!(ready(true, &[]), (StatusCode::OK, "ready\n".to_owned()));
        assert_eq!(ready(false, &[]).0, StatusCode::SERVICE_UNAVAILABLE);
        let offline = vec!["partition orders-3 is offline: disk full".to_owned(); 22];
        let (status, page) = ready(true, &offline);
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(page.starts_with("not ready\npartition orders-3 is offline: disk full\n"));
        assert!(page.ends_with("and 2 more\n"), "{page}");
    }
}
