//! What a job computes: a graph of nodes in topological order.
//!
//! ```text
//! source ── map/filter ── tumble ──┐
//!                                  join ── map ── aggregate ── map/filter ── (output of the plan)
//! source (upsert table) ───────────┘
//! ```
//!
//! The output of the last node is the plan's output: a job's [`SinkSpec`] writes it to a topic, a push query hands
//! it to its client.
//!
//! Invariants (checked by [`StreamPlan::validate`]):
//! 1. Every input of a node has a smaller index than the node; every node but the last has a consumer.
//! 2. Operator ids are unique: state is addressed by them. They are kept with the state, by the names of the operators.
//! 3. Column indexes lie inside the schemas that they speak of.

mod as_of;
mod computed;
mod fragment;
mod grid;
mod manifest;
mod over;
mod properties;
mod replay;
mod session;
mod shape;
mod sink;
mod top_n;
mod unnest;
mod validate;
mod visible;

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use thiserror::Error;

use crate::BatchExpr;
use crate::aggregate::{AggregateFunction, SortOrder};
pub use as_of::{Answer, AsOfSpec, Nearest};
pub use computed::Computation;
pub(crate) use fragment::{Fragments, Route};
pub use grid::WindowGrid;
pub use manifest::StateManifest;
pub use over::{OverFunction, OverSpec, OverValues, Reach};
pub use properties::EdgeProperties;
pub use session::SessionSpec;
pub use sink::{SinkForm, SinkSpec};
pub use top_n::{Rank, RankOrder, TopNSpec};
pub use unnest::UnnestSpec;
pub use visible::VisibleSpec;

/// Names an operator's state for as long as the job lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperatorId(pub u16);

/// A query, ready to run.
#[derive(Debug, Clone)]
pub struct StreamPlan {
    /// Nodes in topological order; the last one is the output.
    pub nodes: Vec<PlanNode>,
}

/// One operator.
#[derive(Debug, Clone)]
pub struct PlanNode {
    /// Names its state. A job that has state keeps the numbers that it began with, see `name`.
    pub id: OperatorId,
    /// For an operator that keeps something: what it is in the query as its author wrote it, once among its kind. By this it
    /// finds its state, whatever plan comes of the query the next time.
    pub name: String,
    /// Indexes of its inputs in [`StreamPlan::nodes`].
    pub inputs: Vec<usize>,
    /// What it emits.
    pub schema: SchemaRef,
    /// What it does.
    pub kind: NodeKind,
}

/// The operators.
#[derive(Debug, Clone)]
pub enum NodeKind {
    /// Reads and decodes a topic. No inputs.
    Source(SourceSpec),
    /// One output column an expression.
    Map(Vec<Arc<dyn BatchExpr>>),
    /// Keeps the rows for which the expression (boolean) is true.
    Filter(Arc<dyn BatchExpr>),
    /// Lets rows through while the clock is between times of theirs: they come and go as it passes. A row in which one of
    /// these is NULL never comes.
    Visible(VisibleSpec),
    /// Takes out the rows that come too late for the window that an operator further down puts them into: lateness is
    /// told from source records, so before a join or an aggregation.
    Late(TumbleSpec),
    /// Adds `window_start`, `window_end`, `window_time`. Takes late rows out where they are still source records; what
    /// comes from a join, an aggregation or a table is a correction, and never late.
    Tumble(TumbleSpec),
    /// The same for windows that overlap: a row is repeated for each window of its time.
    Slide(SlideSpec),
    /// The same for windows that end where a partition is silent: a row may change its window when others come or go.
    Session(SessionSpec),
    /// Regular join: both sides kept, a change on either side corrects the output. Two inputs.
    Join(JoinSpec),
    /// Repeats each row for every grouping set; see [`ExpandSpec`].
    Expand(ExpandSpec),
    /// Repeats each row for the elements of its lists: they stand in the places of the lists, and behind all columns the place
    /// of the element, Int64, from 1 on.
    Unnest(UnnestSpec),
    /// Groups and aggregates; emits group columns, then one column an aggregate.
    Aggregate(AggregateSpec),
    /// These rows, once. No inputs.
    Constant(RecordBatch),
    /// Rows of all inputs, which have the same columns.
    Union,
    /// Ranks the rows of each partition, and keeps those of the asked ranks.
    TopN(TopNSpec),
    /// Each row of the left input with the nearest one in time of the right input. Two inputs.
    AsOf(AsOfSpec),
    /// Adds to each row what functions give of the rows around it.
    Over(OverSpec),
}

impl NodeKind {
    /// Whether this is a map that has to keep what each row of its input gave, to take it back as it came.
    pub fn keeps_results(&self, input: EdgeProperties) -> bool {
        match self {
            Self::Map(exprs) => !input.append_only && exprs.iter().any(|expr| expr.may_vary()),
            _ => false,
        }
    }
}

/// A topic as a table or a stream.
#[derive(Debug, Clone)]
pub struct SourceSpec {
    /// The topic.
    pub topic: String,
    /// The columns, in the order of the node's schema.
    pub columns: Vec<SourceColumn>,
    /// Further fields of the value that nothing reads: a record in which one does not fit is undecodable all the same.
    pub checked: Vec<SourceColumn>,
    /// How record keys are written.
    pub key_format: KeyFormat,
    /// How record values are written.
    pub value_format: ValueFormat,
    /// What a record means.
    pub mode: SourceMode,
    /// Event time; `None`: the plan has no need of it.
    pub watermark: Option<WatermarkSpec>,
}

/// One column of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceColumn {
    /// The field's name in JSON: the declared spelling first, then without regard to case.
    pub name: String,
    /// Arrow type: Boolean, Int8–Int64, Float32/64, Utf8View, BinaryView, Decimal128, Date32, Time64(µs),
    /// Timestamp(µs[, "UTC"]), [`crate::json_type`]; List, Struct and Map (with Utf8View keys) of these.
    pub data_type: DataType,
    /// Whether NULL (or a missing field) is fine; otherwise such a row is undecodable.
    pub nullable: bool,
    /// Of a text: how long it may be; a longer one is undecodable.
    pub length: Option<TextLength>,
    /// Where its value comes from.
    pub origin: ColumnOrigin,
}

/// The length of the texts of a column, as SQL declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextLength {
    /// Characters at the most; spaces at the end beyond them are cut off.
    pub chars_max: u32,
    /// CHAR(n): spaces at the end are no part of a value.
    pub pads: bool,
}

impl TextLength {
    /// The text as the column has it; `None` where it is too long.
    ///
    /// Follows PostgreSQL's documentation, "Character Types"; the spaces that pad a CHAR are left out, as they are where
    /// it is used as a text.
    pub fn fit<'a>(&self, text: &'a str) -> Option<&'a str> {
        let text = if self.pads {
            text.trim_end_matches(' ')
        } else {
            text
        };
        let chars_max = self.chars_max as usize;
        // A character has at least one byte.
        if text.len() <= chars_max {
            return Some(text);
        }
        let Some((end, _)) = text.char_indices().nth(chars_max) else {
            return Some(text);
        };
        let (kept, rest) = text.split_at(end);
        rest.bytes().all(|byte| byte == b' ').then_some(kept)
    }
}

impl std::fmt::Display for TextLength {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = if self.pads { "CHAR" } else { "VARCHAR" };
        write!(f, "{name}({})", self.chars_max)
    }
}

/// Where a source column's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnOrigin {
    /// A field of the value.
    Value,
    /// The record key (the whole key for [`KeyFormat::String`], a field of it for [`KeyFormat::Json`]); where the
    /// value holds the field too, both must agree.
    Key,
    /// The partition's number, Int32.
    Partition,
    /// The record's offset, Int64.
    Offset,
    /// The record's timestamp, Timestamp(µs).
    Timestamp,
    /// The last header of that name, BinaryView or Utf8View.
    Header(String),
    /// All headers, as JSON: an array of `{"key": …, "value": …}`.
    Headers,
    /// Other columns of the row; a row for which it cannot be computed is undecodable.
    Computed(Computation),
}

/// How record keys are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFormat {
    /// Keys are not looked at.
    None,
    /// UTF-8, a single character column.
    String,
    /// A JSON object with the key columns (a bare JSON value is accepted for a single column).
    Json,
}

/// How record values are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueFormat {
    /// One JSON object a record. Integers in a timestamp column need an explicit unit.
    Json {
        /// `timestamp.unit`: microseconds that one unit of an integer timestamp stands for.
        timestamp_unit_us: Option<i64>,
    },
    /// Debezium's envelopes in JSON, with or without their schemas. Needs [`SourceMode::Upsert`].
    Debezium {
        /// As for JSON.
        timestamp_unit_us: Option<i64>,
    },
    /// One line of CSV a record.
    Csv {
        /// The names of the columns that the cells are for, in their order.
        columns: Arc<[String]>,
        /// What stands between two cells, an ASCII character.
        delimiter: u8,
        /// As for JSON.
        timestamp_unit_us: Option<i64>,
    },
    /// The value is the text of the only column.
    Text,
    /// The value is the only column as it is.
    Bytes,
}

impl ValueFormat {
    /// What an integer in a timestamp column counts, in microseconds.
    pub fn timestamp_unit_us(&self) -> Option<i64> {
        match self {
            Self::Json { timestamp_unit_us }
            | Self::Debezium { timestamp_unit_us }
            | Self::Csv {
                timestamp_unit_us, ..
            } => *timestamp_unit_us,
            Self::Text | Self::Bytes => None,
        }
    }
}

/// What a record means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceMode {
    /// Every record is a new row.
    Append,
    /// A record replaces the row of its key; a null value deletes it. Columns that form the key.
    Upsert {
        /// Indexes of the primary key's columns.
        key: Vec<usize>,
    },
}

/// Where event time comes from.
#[derive(Debug, Clone)]
pub enum WatermarkSpec {
    /// From rows.
    Rows {
        /// Over the source's columns; gives Timestamp(µs): rows before it are not expected any more.
        expr: Arc<dyn BatchExpr>,
        /// While all partitions are idle, event time flows on with the clock; otherwise it stands.
        idle_advance: bool,
    },
    /// From the job that writes the topic, as far as it has committed it. The rows of a commit lie by key, not by time, so
    /// no column of theirs tells it.
    Job {
        /// The job.
        name: String,
        /// A topic that the job reads: its event time travels with the offset of partition 0.
        input: String,
        /// How far the time column stays behind the job's event time, µs.
        shift_us: i64,
    },
}

/// Tumbling windows, half-open, in UTC.
#[derive(Debug, Clone)]
pub struct TumbleSpec {
    /// The time column of the input, Timestamp(µs).
    pub time_column: usize,
    /// Window length, µs.
    pub size_us: i64,
    /// Where a window begins: this long after the Unix epoch, µs; not negative and shorter than a window.
    pub offset_us: i64,
    /// How long after its end a window takes rows, µs; a row is late when `window_end + grace <= watermark`.
    pub grace_us: i64,
    /// Where late rows go.
    pub late: LatePolicy,
}

/// Windows that overlap, half-open, in UTC.
#[derive(Debug, Clone)]
pub struct SlideSpec {
    /// The time column of the input, Timestamp(µs).
    pub time_column: usize,
    /// Which windows there are.
    pub grid: WindowGrid,
    /// By how much they are later than those of the grid, µs; not negative and shorter than a step of it.
    pub offset_us: i64,
    /// How long after its end a window takes rows, µs; a row is late for it when `window_end + grace <= watermark`.
    pub grace_us: i64,
    /// Where late rows go.
    pub late: LatePolicy,
}

/// Where late rows go. They are counted in every mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LatePolicy {
    /// To this topic, as they were read, with headers that say why; it is made when the first one comes.
    To(String),
    /// Nowhere.
    Drop,
    /// Late rows still update the view.
    Update,
}

/// A join of two inputs that may change.
#[derive(Debug, Clone)]
pub struct JoinSpec {
    /// Which rows come out.
    pub kind: JoinKind,
    /// Equal columns of the left input. None: every row meets every row.
    pub left_keys: Vec<usize>,
    /// Equal columns of the right input, of the same types in the same order.
    pub right_keys: Vec<usize>,
    /// NULL equals NULL in a key; otherwise NULL matches nothing.
    pub null_is_equal: bool,
    /// What bounds the time between two rows.
    pub range: Option<JoinRange>,
    /// A further condition, over the columns of the left input, then those of the right one.
    pub residual: Option<Arc<dyn BatchExpr>>,
}

/// `least <= right - left <= most`, over a timestamp of each side; a row without one matches nothing. The rows of both sides
/// are kept in the order of these columns, so that a row finds its matches without looking at others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinRange {
    /// The column of the left input, Timestamp(µs).
    pub left: usize,
    /// The column of the right input, Timestamp(µs).
    pub right: usize,
    /// µs; `None`: the right row may be any time earlier.
    pub least: Option<i64>,
    /// µs; `None`: the right row may be any time later.
    pub most: Option<i64>,
    /// No row of either side comes whose time event time has left behind by more than this, µs, and none is taken back:
    /// rows that can match nothing any more are forgotten. Needs both bounds. `None`: any row may come.
    pub closes_after: Option<i64>,
}

/// Which rows come out of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    /// Pairs that match. Columns of the left input, then those of the right one; so for the other three kinds of pairs.
    Inner,
    /// And rows of the left input without a match, padded with NULLs.
    Left,
    /// And those of the right input.
    Right,
    /// And those of both inputs.
    Full,
    /// Rows of the left input that have a match, with its columns only.
    Semi,
    /// Rows of the left input that have none.
    Anti,
    /// All rows of the left input, and whether they have a match: a boolean behind its columns.
    Mark,
}

impl JoinKind {
    /// Whether rows of input `port` (0 = left, 1 = right) that match nothing appear, padded with NULLs.
    pub fn pads(self, port: usize) -> bool {
        self.pairs() && self.alone(port, false)
    }

    /// Whether pairs come out.
    pub fn pairs(self) -> bool {
        !matches!(self, Self::Semi | Self::Anti | Self::Mark)
    }

    /// Whether rows of input `port` come out by themselves when they have a match (`matched`), or when they have none.
    pub fn alone(self, port: usize, matched: bool) -> bool {
        match self {
            Self::Inner => false,
            Self::Left | Self::Anti => port == 0 && !matched,
            Self::Right => port == 1 && !matched,
            Self::Full => !matched,
            Self::Semi => port == 0 && matched,
            Self::Mark => port == 0,
        }
    }

    /// Whether what comes out of a row of input `port` by itself depends on whether it has a match.
    pub fn watches(self, port: usize) -> bool {
        self.alone(port, true) || self.alone(port, false)
    }
}

impl JoinSpec {
    /// Whether it is kept with each row of input `port` how many rows it matches: something besides the key decides that.
    pub fn counts_matches(&self, port: usize) -> bool {
        self.kind.watches(port) && (self.residual.is_some() || self.range.is_some())
    }
}

/// Grouping sets: adds a copy of each group column, NULL in the sets that do not group by it, and the number of the set,
/// Int64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpandSpec {
    /// The group columns of the input.
    pub columns: Vec<usize>,
    /// The sets.
    pub sets: Vec<GroupingSet>,
}

/// One grouping set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupingSet {
    /// Which of the group columns it groups by.
    pub kept: Vec<bool>,
    /// Tells it from the others.
    pub number: i64,
}

/// Grouping and aggregation.
#[derive(Debug, Clone)]
pub struct AggregateSpec {
    /// Input columns that form the group; NULL is a group. Empty: one global group, which always exists.
    pub group_by: Vec<usize>,
    /// The aggregates.
    pub aggregates: Vec<AggregateCall>,
    /// Which of `group_by` (its position there) is a window's end: bounds the state where the input is append-only.
    pub window_end: Option<usize>,
    /// When rows leave.
    pub emit: Emit,
}

/// One aggregate over input columns.
#[derive(Debug, Clone)]
pub struct AggregateCall {
    /// Names its state within that of the operator, for as long as the job lives.
    pub id: u16,
    /// What it computes.
    pub function: Arc<dyn AggregateFunction>,
    /// Its input columns; none for `count(*)`.
    pub arguments: Vec<usize>,
    /// Input columns that order the rows of a group.
    pub order_by: Vec<(usize, SortOrder)>,
    /// Boolean input column of `FILTER (WHERE …)`.
    pub filter: Option<usize>,
    /// Over distinct values only.
    pub distinct: bool,
    /// Type of the result; sums of integers are Int64, of floats Float64, averages Float64 (or decimals).
    pub output: DataType,
}

/// When rows leave an aggregation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    /// Once an epoch a changed group.
    Changes,
    /// Once a group, when its window closes; needs `window_end`.
    OnWindowClose,
}

/// A plan that cannot run.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("plan node {node}: {reason}")]
pub struct PlanError {
    /// Index of the node.
    pub node: usize,
    /// What does not hold.
    pub reason: String,
}

impl StreamPlan {
    /// The schema of the plan's output.
    pub fn schema(&self) -> &SchemaRef {
        &self
            .nodes
            .last()
            .expect("a plan has at least one node by construction")
            .schema
    }

    /// Whether the output never takes a row back: only then may it go to a topic without a key.
    pub fn is_append_only(&self) -> bool {
        let last = self.properties().pop();
        last.is_some_and(|properties| properties.append_only)
    }

    /// What is known of the rows that each node emits.
    pub fn properties(&self) -> Vec<EdgeProperties> {
        properties::properties(self)
    }

    /// Checks everything that operators rely on.
    ///
    /// # Errors
    /// The first node that does not fit, and why.
    pub fn validate(&self) -> Result<(), PlanError> {
        validate::plan(self)
    }
}

impl fmt::Display for OperatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}
