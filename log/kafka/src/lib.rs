//! The [`log_api::Log`] over any Kafka cluster, through librdkafka.
//!
//! How Thalweg runs beside an existing cluster, and what its own command line speaks to a server with. Records are
//! copied once, from librdkafka's buffers into Arrow columns; rdkafka's types never leave this crate.

#![forbid(unsafe_code)]

mod admin;
mod config;
mod error;
mod kafka;
mod membership;
mod producer;
mod reader;
mod transaction;
mod writer;

pub use config::KafkaConfig;
pub use error::ConnectError;
pub use kafka::Kafka;
