//! The contract between connectors and the Connect runtime.
//!
//! ```text
//!   ConnectorPlugin ── config_def() ──▶ validation, docs, forms
//!        │ task_configs(config, tasks.max)
//!        ▼
//!   SourceTask: start(offsets) → poll(budget) → … → committed(offsets) → stop
//!   SinkTask:   start → open(partitions) → put(batch) → flush → close → stop
//! ```
//!
//! A connector crate depends on this crate alone: it sees no log, no REST, no WASM. Names and behaviour follow
//! Kafka Connect 4.3 where a user meets them (configuration keys, states, offsets); the calls themselves take
//! batches, because one call a batch amortises transaction, transform and guest costs.
//!
//! ```
//! use connect_api::{ConfigDef, ConfigKey, ConfigType};
//! let def = ConfigDef::new().with(ConfigKey::required("file", ConfigType::String, "File to read."));
//! let values = def.validate(&Default::default());
//! assert_eq!(
//!     values[0].errors,
//!     ["Missing required configuration \"file\" which has no default value."]
//! );
//! ```

#![forbid(unsafe_code)]

mod config;
pub mod conformance;
mod connector;
mod error;
mod progress;
mod record;
mod schema;
mod sink;
mod source;
mod table;
mod transform;
mod value;

pub use config::{
    Config, ConfigDef, ConfigKey, ConfigMap, ConfigType, ConfigValue, Importance, Rule, Width,
};
pub use connector::{
    AlteredOffset, ConnectorKind, ConnectorPlugin, FieldIssue, Task, TaskContext, Undeclared,
};
pub use error::ConnectError;
pub use log_api::TopicPartition;
pub use progress::{PartProgress, Progress};
pub use record::{Header, Record};
pub use schema::{Field, Schema, SchemaType, logical};
pub use sink::{Flushed, OpenPartition, PutReport, RejectedRow, SinkBatch, SinkRecord, SinkTask};
pub use source::{
    JsonMap, Mail, Mailbox, Poll, PollBudget, Rejected, SourceOffset, SourceOffsets, SourceTask,
};
pub use table::{
    CapturedPlace, DeclaredColumn, DeclaredKey, DeclaredRows, DeclaredTable, ServerIdentity,
    ServerTable, SoleUse, TablePlace, TableSink, TableSource,
};
pub use transform::{Traced, Transform, TransformFailure, TransformOutput};
pub use value::{JsonStyle, ParseJsonError, Struct, Text, Value};
