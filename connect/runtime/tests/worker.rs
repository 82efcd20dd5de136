//! A worker on a memory log, served on a free port, and the requests that tests send to it.

use std::sync::Arc;
use std::time::Duration;

use connect_runtime::{ConnectConfig, ConnectWorker};
use connect_sandbox::{Sandbox, SandboxConfig};
use serde_json::Value as Json;
use tokio::net::TcpListener;

use crate::connectors::{CountSource, KeepSink, Script};
use crate::memory_log::{MemoryLog, Shared};

pub struct Harness {
    pub log: Arc<MemoryLog>,
    pub script: Arc<Script>,
    pub worker: ConnectWorker,
    address: String,
    client: reqwest::Client,
}

/// Quick restarts, so that tests need not wait.
pub fn config() -> ConnectConfig {
    ConnectConfig {
        transaction_interval_ms: 5,
        offset_flush_interval_ms: 5,
        topic_refresh_interval_ms: 5,
        restart_backoff_ms: 1,
        restart_backoff_max_ms: 5,
        restarts_per_hour_max: 3,
        call_timeout_ms: 60_000,
        ..ConnectConfig::default()
    }
}

impl Harness {
    pub async fn start() -> Self {
        Self::on(MemoryLog::new(), config()).await
    }

    pub async fn on(log: Arc<MemoryLog>, config: ConnectConfig) -> Self {
        let script = Arc::new(Script::default());
        let sandbox = Arc::new(Sandbox::new(SandboxConfig::default()).unwrap());
        let worker = ConnectWorker::start(
            config,
            Arc::new(Shared(log.clone())),
            sandbox,
            vec![
                Arc::new(CountSource(script.clone())),
                Arc::new(KeepSink(script.clone())),
            ],
        )
        .await
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = worker.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            log,
            script,
            worker,
            address,
            client: reqwest::Client::new(),
        }
    }

    /// Sends a request; answers with status, Location and body.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Json>,
    ) -> (u16, Option<String>, Json) {
        let body = body.map(|body| ("application/json", body.to_string()));
        self.raw(
            method,
            path,
            body.as_ref().map(|(kind, text)| (*kind, text.as_str())),
        )
        .await
    }

    /// As `send`, with any content type and text.
    pub async fn raw(
        &self,
        method: &str,
        path: &str,
        body: Option<(&str, &str)>,
    ) -> (u16, Option<String>, Json) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.address));
        if let Some((kind, text)) = body {
            request = request.header("content-type", kind).body(text.to_owned());
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let location = response
            .headers()
            .get("location")
            .map(|value| value.to_str().unwrap().to_owned());
        let bytes = response.bytes().await.unwrap();
        let body = if bytes.is_empty() {
            Json::Null
        } else {
            serde_json::from_slice(&bytes).unwrap()
        };
        (status, location, body)
    }

    pub async fn get(&self, path: &str) -> Json {
        let (status, _, body) = self.send("GET", path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Creates or replaces a connector.
    pub async fn configure(&self, name: &str, config: Json) {
        let (status, _, body) = self
            .send("PUT", &format!("/connectors/{name}/config"), Some(&config))
            .await;
        assert!(matches!(status, 200 | 201), "{status}: {body}");
    }

    /// Returns once the status of a task (or of the connector, with `None`) is this one; panics after ten seconds.
    pub async fn until_state(&self, name: &str, task: Option<usize>, state: &str) -> Json {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            let status = self.worker.status(name).unwrap_or_default();
            let part = match task {
                Some(task) => &status["tasks"][task],
                None => &status["connector"],
            };
            if part["state"] == state {
                return part.clone();
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{name} {task:?} never {state}: {status}"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Returns once `met` holds; panics after ten seconds.
    pub async fn until(&self, what: &str, met: impl Fn(&Script) -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while !met(&self.script) {
            assert!(tokio::time::Instant::now() < deadline, "never: {what}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
