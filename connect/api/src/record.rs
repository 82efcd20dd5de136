//! A record on its way between a connector and the log.

use std::sync::Arc;

use crate::{Schema, Text, Value};

/// A record: from a source before it has an offset, or for a sink.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The topic it goes to or comes from.
    pub topic: Arc<str>,
    /// The partition; a source leaves it to the runtime (hash of the key, else round robin) with `None`.
    pub partition: Option<i32>,
    /// Milliseconds since 1970 UTC; a source leaves it to the runtime (time of the append) with `None`.
    pub timestamp: Option<i64>,
    /// Schema of the key; `None` = schemaless.
    pub key_schema: Option<Arc<Schema>>,
    /// The key.
    pub key: Value,
    /// Schema of the value; `None` = schemaless.
    pub value_schema: Option<Arc<Schema>>,
    /// The value; null is a tombstone.
    pub value: Value,
    /// Headers in order; names may repeat.
    pub headers: Vec<Header>,
}

impl Record {
    /// A schemaless record without timestamp, partition and headers.
    pub fn new(topic: impl Into<Arc<str>>, key: Value, value: Value) -> Self {
        Self {
            topic: topic.into(),
            partition: None,
            timestamp: None,
            key_schema: None,
            key,
            value_schema: None,
            value,
            headers: Vec::new(),
        }
    }
}

/// A header.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Its name.
    pub name: Text,
    /// Its value; text goes to the log as it is, bytes too, everything else as JSON.
    pub value: Value,
}
