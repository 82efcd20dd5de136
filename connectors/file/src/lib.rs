//! Connectors over plain files.
//!
//! | connector | does |
//! |---|---|
//! | [`FileSource`] | reads a file line by line, `line`, `ndjson` or `csv`, plain (followed as it grows) or `.gz` |
//! | [`FileSink`] | appends records to a file, exactly once across crashes |
//!
//! Both answer to Kafka's class names, so that configurations written for `FileStreamSourceConnector` and
//! `FileStreamSinkConnector` work unchanged.

#![forbid(unsafe_code)]

mod sink;
mod source;

pub use sink::FileSink;
pub use source::FileSource;
