//! `/healthz`, `/readyz` and `/metrics` beside the SQL interface.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
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

/// The three routes.
pub(crate) fn router(readiness: Readiness, metrics: PrometheusHandle, engine: Engine) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(move || {
                let ready = readiness.get();
                async move {
                    if ready {
                        (StatusCode::OK, "ready\n")
                    } else {
                        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
                    }
                }
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
