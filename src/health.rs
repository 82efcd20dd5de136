//! `/healthz`, `/readyz` and `/metrics` beside the SQL interface.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use log_broker::Broker;
use metrics::{counter, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use streams::Engine;

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

/// Installs the recorder of this process; a second call (tests) records nothing and serves an empty page.
pub(crate) fn install_recorder() -> PrometheusHandle {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::debug!("metrics are recorded elsewhere in this process");
    }
    handle
}

/// Partitions that `/readyz` names; it counts the rest.
const OFFLINE_NAMED_MAX: usize = 20;

/// The three routes.
pub(crate) fn router(
    readiness: Readiness,
    metrics: PrometheusHandle,
    engine: Engine,
    broker: Broker,
) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(move || {
                let page = ready(readiness.get(), &broker.offline());
                async move { page }
            }),
        )
        .route(
            "/metrics",
            get(move || {
                count_jobs(&engine);
                metrics.run_upkeep();
                let page = metrics.render();
                async move { page }
            }),
        )
}

/// Not ready says why: a partition that is offline comes back with a restart, which nobody does who does not know.
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

/// What the jobs have done, told when somebody asks.
fn count_jobs(engine: &Engine) {
    for job in engine.jobs() {
        let status = job.status();
        let label = [("job", job.name().to_owned())];
        counter!("thalweg_job_rows_in_total", &label).absolute(status.rows_in);
        counter!("thalweg_job_rows_out_total", &label).absolute(status.rows_out);
        counter!("thalweg_job_late_rows_total", &label).absolute(status.late);
        counter!("thalweg_job_undecodable_records_total", &label).absolute(status.undecodable);
        counter!("thalweg_job_failed_rows_total", &label).absolute(status.failed_rows);
        let behind = status
            .partitions
            .iter()
            .map(|partition| (partition.high_watermark - partition.position).max(0));
        gauge!("thalweg_job_lag_records", &label).set(behind.sum::<i64>() as f64);
        if let Some(age) = status.commit_age {
            gauge!("thalweg_job_commit_age_seconds", &label).set(age.as_secs_f64());
        }
    }
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
