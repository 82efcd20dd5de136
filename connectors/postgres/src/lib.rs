//! Connectors for PostgreSQL.
//!
//! | connector | does |
//! |---|---|
//! | [`PostgresSource`] | change data capture: tables, then their changes, in Debezium's format |
//! | [`PostgresSink`] | upserts records into tables, exactly once |
//!
//! The source answers to the class name of Debezium's PostgreSQL connector, takes its keys and goes on at its offsets;
//! the sink answers to the class names of Debezium's, Confluent's and Aiven's JDBC sinks and takes their keys.

#![forbid(unsafe_code)]

mod name;
mod place;
mod sink;
mod source;
mod tls;

pub use sink::PostgresSink;
pub use source::PostgresSource;

/// The table where sinks keep their offsets, in whatever schema.
const OFFSETS_TABLE: &str = "_thalweg_offsets";
