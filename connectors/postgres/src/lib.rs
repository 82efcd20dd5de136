//! Connectors for PostgreSQL: [`PostgresSink`], the upsert sink.
//!
//! It answers to the class names of Debezium's, Confluent's and Aiven's JDBC sinks and takes their keys. Change data
//! capture is not part of this crate yet.

#![forbid(unsafe_code)]

mod sink;

pub use sink::PostgresSink;
