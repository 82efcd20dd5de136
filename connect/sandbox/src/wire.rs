//! The contract's types as the host sends and receives them. Field names and order are `wit/plugin.wit`'s.
//!
//! What goes to a guest is borrowed; what comes back is owned, and not yet believed.

use wasmtime::component::{ComponentType, Lift, Lower};

#[derive(ComponentType, Lower, Lift, Clone, Copy, Debug, PartialEq, Eq)]
#[component(record)]
pub(crate) struct ArrayNode {
    pub(crate) length: u32,
    #[component(name = "null-count")]
    pub(crate) null_count: u32,
}

/// `columns.batch`, outward.
#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(crate) struct BatchRef<'a> {
    pub(crate) rows: u32,
    pub(crate) nodes: &'a [ArrayNode],
    pub(crate) buffers: &'a [&'a [u8]],
}

/// `columns.batch`, inward.
#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub(crate) struct Batch {
    pub(crate) rows: u32,
    pub(crate) nodes: Vec<ArrayNode>,
    pub(crate) buffers: Vec<Vec<u8>>,
}

#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub(crate) struct RowError {
    pub(crate) row: u32,
    pub(crate) message: String,
}

#[derive(ComponentType, Lift, Debug)]
#[component(variant)]
pub(crate) enum Fault {
    #[component(name = "invalid-argument")]
    InvalidArgument(String),
    #[component(name = "retryable")]
    Retryable(String),
    #[component(name = "fatal")]
    Fatal(String),
}

#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub(crate) struct Schema {
    pub(crate) ipc: Vec<u8>,
}

#[derive(ComponentType, Lift, Clone, Copy, Debug)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "made by lifting what a guest sends")]
pub(crate) enum Volatility {
    #[component(name = "immutable")]
    Immutable,
    #[component(name = "stable")]
    Stable,
    #[component(name = "volatile")]
    Volatile,
}

#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub(crate) struct Signature {
    pub(crate) name: String,
    pub(crate) args: Schema,
    pub(crate) returns: Schema,
    pub(crate) volatility: Volatility,
    pub(crate) strict: bool,
    #[component(name = "parallel-safe")]
    pub(crate) parallel_safe: bool,
}

/// `scalar.output`.
#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub(crate) struct ScalarOutput {
    pub(crate) data: Batch,
    pub(crate) errors: Vec<RowError>,
}

/// `records.batch`, outward.
#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(crate) struct RecordsRef<'a> {
    pub(crate) count: u32,
    #[component(name = "base-offset")]
    pub(crate) base_offset: i64,
    pub(crate) timestamps: &'a [i64],
    #[component(name = "key-offsets")]
    pub(crate) key_offsets: &'a [u32],
    #[component(name = "key-nulls")]
    pub(crate) key_nulls: &'a [u8],
    pub(crate) keys: &'a [u8],
    #[component(name = "value-offsets")]
    pub(crate) value_offsets: &'a [u32],
    #[component(name = "value-nulls")]
    pub(crate) value_nulls: &'a [u8],
    pub(crate) values: &'a [u8],
    #[component(name = "header-counts")]
    pub(crate) header_counts: &'a [u32],
    #[component(name = "header-offsets")]
    pub(crate) header_offsets: &'a [u32],
    pub(crate) headers: &'a [u8],
}

/// `records.batch`, inward.
#[derive(ComponentType, Lift, Debug, Default)]
#[component(record)]
pub(crate) struct Records {
    pub(crate) count: u32,
    #[component(name = "base-offset")]
    #[expect(dead_code, reason = "means nothing in a guest's batch")]
    pub(crate) base_offset: i64,
    pub(crate) timestamps: Vec<i64>,
    #[component(name = "key-offsets")]
    pub(crate) key_offsets: Vec<u32>,
    #[component(name = "key-nulls")]
    pub(crate) key_nulls: Vec<u8>,
    pub(crate) keys: Vec<u8>,
    #[component(name = "value-offsets")]
    pub(crate) value_offsets: Vec<u32>,
    #[component(name = "value-nulls")]
    pub(crate) value_nulls: Vec<u8>,
    pub(crate) values: Vec<u8>,
    #[component(name = "header-counts")]
    pub(crate) header_counts: Vec<u32>,
    #[component(name = "header-offsets")]
    pub(crate) header_offsets: Vec<u32>,
    pub(crate) headers: Vec<u8>,
}

#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub(crate) struct RecordError {
    pub(crate) index: u32,
    pub(crate) retryable: bool,
    pub(crate) message: String,
}

/// `records.output`.
#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub(crate) struct TransformOutput {
    pub(crate) data: Records,
    pub(crate) parent: Vec<u32>,
    pub(crate) route: Vec<u8>,
    pub(crate) errors: Vec<RecordError>,
}

#[derive(ComponentType, Lift, Clone, Copy, Debug, PartialEq, Eq)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "made by lifting what a guest sends")]
pub(crate) enum Level {
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}
