//! The dataflow engine: chunks, operators, windows, state, commit. Knows no SQL and no DataFusion.
//!
//! A [`StreamPlan`] (built by the sql crate, or by hand) runs as a durable job through [`Engine::start`], or as an
//! ad-hoc push query through [`Engine::query`]; [`scan`] reads a topic's current content once. Expressions come in
//! as [`BatchExpr`], so that the planner may bring its own library.

mod aggregate;
mod chunk;
mod decode;
mod driver;
mod encode;
mod engine;
mod error;
mod expr;
mod job;
mod json;
mod memory;
mod operator;
mod plan;
mod query;
mod scan;
mod sink;
mod source;
pub mod state;
mod tally;
mod task;
#[cfg(test)]
mod test_log;
#[cfg(test)]
mod test_plan;
mod time;
mod view;
mod why;
mod worker;

pub use aggregate::{
    Accumulator, AggregateFunction, BatchAggregate, BoundCall, Fold, Input, NativeAggregate,
    SortOrder, StartFold, SubState, replay,
};
pub use chunk::{Chunk, Origin};
pub use decode::{
    Decoded, Decoder, RowFailure, SourceSpecError, is_json_text, json_element, json_elements,
    json_field, json_fields, json_string,
};
pub use driver::Driver;
pub use encode::{
    JsonEncoder, JsonRows, KeyEncoder, KeyEncoderError, KeyRows, ValueEncoder, ValueEncoderError,
    ValueRows,
};
pub use engine::{Engine, EngineConfig, inspect_state};
pub use error::OperatorError;
pub use expr::{BatchExpr, ColumnExpr, ExprError};
pub use job::JobHandle;
pub use json::{JSON_FIELD, is_json, json_array, json_texts, json_type};
pub use memory::{MemoryAccount, MemoryBudget, MemoryUser};
pub use operator::OperatorFigures;
pub use plan::{
    AggregateCall, AggregateSpec, Answer, AsOfSpec, ColumnOrigin, Computation, EdgeProperties,
    Emit, ExpandSpec, GroupingSet, JoinKind, JoinRange, JoinSpec, KeyFormat, LatePolicy, Nearest,
    NodeKind, OperatorId, OverFunction, OverSpec, OverValues, PlanError, PlanNode, Rank, RankOrder,
    Reach, SessionSpec, SinkForm, SinkSpec, SlideSpec, SourceColumn, SourceMode, SourceSpec,
    StateManifest, StreamPlan, TextLength, TopNSpec, TumbleSpec, UnnestSpec, ValueFormat,
    VisibleSpec, WatermarkSpec, WindowGrid,
};
pub use query::{ChunkStream, QueryLosses};
pub use scan::{ScanError, ScanRange, ScanReport, ScanReportHandle, ScanStream, scan};
pub use source::{Source, SourceBatch, SourceCounters, SourceError, SourceOptions};
pub use task::{
    ConfigError, EngineError, JobSpec, JobState, JobStatus, QueryStart, StateSize, TaskError,
};
pub use time::{
    EventTime, IdleOptions, PartitionStatus, PartitionTime, Watermark, WatermarkState,
    WatermarkTracker,
};
pub use view::{CommitInfo, ViewBatches, ViewSnapshot};
pub use why::{Holder, Query as WhyQuery, Why};
