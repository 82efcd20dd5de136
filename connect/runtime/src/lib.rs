//! The Connect runtime: connectors as supervised tasks over a log, behind Kafka Connect's REST API.
//!
//! ```text
//!   REST ──▶ validate ──▶ shell ──▶ stores (compacted topics)      herder, supervisor, lifecycle: machines
//!                           │  ▲
//!                  commands │  │ events
//!                           ▼  │
//!                      tasks, a thread each: source (records + offsets in one transaction), sink
//! ```
//!
//! [`ConnectWorker`] is all there is to use: start it with a log, a sandbox and the connectors that are compiled in,
//! serve its router, stop it. Formats of topics and answers are Kafka Connect 4.3's; where an answer differs on
//! purpose, the handler says so.

#![forbid(unsafe_code)]

mod config;
mod converter;
mod definition;
mod herder;
mod loggers;
mod rest;
mod secrets;
mod store;
mod supervisor;
mod task;
mod transform;
mod worker;

pub use config::{ConfigError, ConnectConfig};
pub use loggers::LogLevels;
pub use rest::{ApiError, unavailable};
pub use worker::{
    ConnectWorker, ListedConnector, PlannedTable, StartError, TableError, TableFlow, Tables,
};

/// Milliseconds since 1970 UTC.
fn now_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}
