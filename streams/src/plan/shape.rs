//! What the state of an operator looks like: its kind, and what gives its bytes a meaning. PURE.
//!
//! ```text
//! types     [n varint] n × type
//! type      [code u8], a decimal + [precision u8][scale i8], a timestamp + [unit u8][zone: length varint, bytes]
//! ```
//!
//! Only operators that keep something have one. What maps, filters and expressions do is not in it: they may be others after
//! an upgrade.
//!
//! Invariant: a constant is never given a new meaning; they are on disk.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};

use super::{
    AggregateSpec, Answer, AsOfSpec, EdgeProperties, Emit, JoinKind, JoinSpec, Nearest, NodeKind,
    OverSpec, OverValues, PlanNode, Rank, RankOrder, SessionSpec, SourceMode, SourceSpec, TopNSpec,
};
use crate::aggregate::BoundCall;
use crate::json::is_json;
use crate::state::row::{columns_of, push_bytes, push_row, push_varint, push_zigzag};

const SOURCE: u8 = 1;
const UPSERT: u8 = 2;
const JOIN: u8 = 3;
const AGGREGATE: u8 = 4;
pub(super) const SINK: u8 = 5;
const RESULTS: u8 = 6;
const RANKING: u8 = 8;
const AS_OF: u8 = 9;
const CONSTANT: u8 = 10;
const SESSIONS: u8 = 11;
const OVER: u8 = 12;
const VISIBLE: u8 = 13;

const TOPIC: u64 = 1;
pub(super) const KEY: u64 = 2;
pub(super) const ROW: u64 = 3;
const OTHER_KEY: u64 = 4;
const OTHER_ROW: u64 = 5;
/// How rows are kept: for each side 0 = under a number, 1 = with a count; + 2 = and how many rows each matches.
const COUNTED: u64 = 6;
const WINDOW: u64 = 7;
const EMISSION: u64 = 8;
/// What the query calls the operator.
pub(super) const NAME: u64 = 9;
/// By which times rows are kept, where a join bounds the time between them: the columns of both sides.
const TIMES: u64 = 10;
/// A join in which NULL equals NULL keeps rows whose key has one.
const NULLS: u64 = 11;
/// One field an aggregate: this and its number.
const CALL: u64 = 64;

/// The state of one operator: its kind, and fields by tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StateShape {
    /// One of the constants.
    pub(super) kind: u8,
    pub(super) fields: BTreeMap<u64, Vec<u8>>,
}

impl StateShape {
    pub(super) fn new(kind: u8, fields: impl IntoIterator<Item = (u64, Vec<u8>)>) -> Self {
        Self {
            kind,
            fields: fields.into_iter().collect(),
        }
    }

    /// What it is the state of, in words.
    pub(super) fn name(&self) -> String {
        match self.kind {
            SOURCE => "a source".to_owned(),
            UPSERT => "a table".to_owned(),
            JOIN => "a join".to_owned(),
            AGGREGATE => "an aggregation".to_owned(),
            SINK => "the view".to_owned(),
            RESULTS => "the results of a map".to_owned(),
            RANKING => "a ranking".to_owned(),
            AS_OF => "an as-of join".to_owned(),
            CONSTANT => "constant rows".to_owned(),
            SESSIONS => "session windows".to_owned(),
            OVER => "functions of OVER".to_owned(),
            VISIBLE => "rows that wait for the clock".to_owned(),
            kind => format!("kind {kind}"),
        }
    }
}

/// In what a state differs whose field differs, in words.
pub(super) fn field_name(tag: u64) -> String {
    match tag {
        TOPIC => "another topic".to_owned(),
        KEY => "other key columns".to_owned(),
        ROW => "other columns".to_owned(),
        OTHER_KEY => "other key columns on the right".to_owned(),
        OTHER_ROW => "other columns on the right".to_owned(),
        COUNTED => "rows that are kept in another way".to_owned(),
        WINDOW => "another window".to_owned(),
        EMISSION => "another emission".to_owned(),
        NAME => "another name".to_owned(),
        TIMES => "rows that are kept by other times".to_owned(),
        NULLS => "NULLs that it compares in another way".to_owned(),
        CALL.. => format!("another aggregate {}", tag - CALL + 1),
        tag => format!("another field {tag}"),
    }
}

/// Which kind of state a node keeps.
pub(super) fn kind(node: &NodeKind, inputs: &[EdgeProperties]) -> Option<u8> {
    match node {
        NodeKind::Map(_) if node.keeps_results(inputs[0]) => Some(RESULTS),
        NodeKind::Source(spec) if spec.mode == SourceMode::Append => Some(SOURCE),
        NodeKind::Source(_) => Some(UPSERT),
        NodeKind::Join(_) => Some(JOIN),
        NodeKind::Aggregate(_) => Some(AGGREGATE),
        NodeKind::TopN(_) => Some(RANKING),
        NodeKind::AsOf(_) => Some(AS_OF),
        NodeKind::Constant(_) => Some(CONSTANT),
        NodeKind::Session(_) => Some(SESSIONS),
        NodeKind::Over(_) => Some(OVER),
        NodeKind::Visible(_) => Some(VISIBLE),
        NodeKind::Map(_)
        | NodeKind::Filter(_)
        | NodeKind::Late(_)
        | NodeKind::Tumble(_)
        | NodeKind::Union
        | NodeKind::Slide(_)
        | NodeKind::Expand(_)
        | NodeKind::Unnest(_) => None,
    }
}

/// What a node keeps.
pub(super) fn shape(
    node: &PlanNode,
    inputs: &[(&SchemaRef, EdgeProperties)],
) -> Option<StateShape> {
    let rows: Vec<EdgeProperties> = inputs.iter().map(|(_, rows)| *rows).collect();
    let kind = kind(&node.kind, &rows)?;
    let mut fields = match &node.kind {
        NodeKind::Map(_) if kind == RESULTS => vec![
            (ROW, all_types(inputs[0].0)),
            (OTHER_ROW, all_types(&node.schema)),
        ],
        NodeKind::Source(spec) => source(spec, &node.schema),
        NodeKind::Join(spec) => join(spec, inputs),
        NodeKind::Aggregate(spec) => aggregate(spec, inputs[0]),
        NodeKind::TopN(spec) => ranking(spec, inputs[0]),
        NodeKind::AsOf(spec) => as_of(spec, inputs),
        NodeKind::Constant(rows) => constant(rows),
        NodeKind::Session(spec) => sessions(spec, inputs[0]),
        NodeKind::Over(spec) => over(spec, inputs[0].0),
        NodeKind::Visible(spec) => vec![
            (ROW, all_types(inputs[0].0)),
            (TIMES, [numbers(&spec.from), numbers(&spec.until)].concat()),
        ],
        NodeKind::Map(_)
        | NodeKind::Filter(_)
        | NodeKind::Late(_)
        | NodeKind::Tumble(_)
        | NodeKind::Union
        | NodeKind::Slide(_)
        | NodeKind::Expand(_)
        | NodeKind::Unnest(_) => {
            return None;
        }
    };
    fields.push((NAME, node.name.as_bytes().to_vec()));
    Some(StateShape::new(kind, fields))
}

/// Other rows are not out there yet.
fn constant(rows: &RecordBatch) -> Fields {
    let mut bytes = Vec::new();
    if let Ok(columns) = columns_of(rows.columns()) {
        (0..rows.num_rows()).for_each(|row| push_row(&columns, row, &mut bytes));
    }
    vec![(ROW, all_types(&rows.schema())), (EMISSION, bytes)]
}

fn as_of(spec: &AsOfSpec, inputs: &[(&SchemaRef, EdgeProperties)]) -> Fields {
    let [(left, _), (right, _)] = [inputs[0], inputs[1]];
    // What is out there depends on which rows count, and is taken back by that.
    let nearest = match spec.nearest {
        Nearest::AtOrBefore => 1,
        Nearest::Before => 2,
        Nearest::AtOrAfter => 3,
        Nearest::After => 4,
    };
    let answer = match spec.answer {
        Answer::Corrected => 0,
        Answer::AtEventTime { .. } => 2,
        Answer::AtArrival => 4,
    };
    let emission = vec![nearest, u8::from(spec.pads) | answer];
    vec![
        (KEY, types(left, &spec.left_keys)),
        (ROW, all_types(left)),
        (OTHER_KEY, types(right, &spec.right_keys)),
        (OTHER_ROW, all_types(right)),
        (TIMES, numbers(&[spec.left_time, spec.right_time])),
        (EMISSION, emission),
    ]
}

fn sessions(spec: &SessionSpec, (input, rows): (&SchemaRef, EdgeProperties)) -> Fields {
    let mut window = vec![u8::from(spec.judges(rows))];
    push_zigzag(spec.gap_us, &mut window);
    push_varint(spec.time_column as u64, &mut window);
    vec![
        (KEY, types(input, &spec.partition_by)),
        (ROW, all_types(input)),
        (WINDOW, window),
        (EMISSION, vec![u8::from(spec.holds(rows))]),
    ]
}

fn over(spec: &OverSpec, input: &SchemaRef) -> Fields {
    let mut values = Vec::new();
    push_varint(spec.functions.len() as u64, &mut values);
    for function in &spec.functions {
        push_type(&function.output, &mut values);
    }
    let mut fields = vec![
        (KEY, types(input, &spec.partition_by)),
        (ROW, all_types(input)),
        (OTHER_KEY, order(&spec.order_by, input)),
        (OTHER_ROW, values),
    ];
    for (number, function) in (0..).zip(&spec.functions) {
        if let OverValues::Running { call, peers } = &function.values {
            let mut running = call.function.shape();
            let arguments = call.arguments.iter();
            arguments.for_each(|&column| push_type(input.field(column).data_type(), &mut running));
            running.push(u8::from(*peers) | u8::from(call.filter.is_some()) << 1);
            fields.push((CALL + number, running));
        }
    }
    fields
}

fn order(order_by: &[RankOrder], input: &SchemaRef) -> Vec<u8> {
    let mut order = Vec::new();
    for by in order_by {
        push_type(input.field(by.column).data_type(), &mut order);
        order.push(u8::from(by.descending) | u8::from(by.nulls_first) << 1);
    }
    order
}

fn ranking(spec: &TopNSpec, (input, rows): (&SchemaRef, EdgeProperties)) -> Fields {
    // What lies behind the last rank is gone where rows are only added; otherwise another range is only other output, which
    // is taken back by these numbers.
    let rank = match spec.rank {
        Rank::RowNumber => 1,
        Rank::Rank => 2,
        Rank::DenseRank => 3,
    };
    let mut emission = vec![rank, u8::from(rows.append_only)];
    push_varint(spec.ranks.start, &mut emission);
    push_varint(spec.ranks.end, &mut emission);
    vec![
        (KEY, types(input, &spec.partition_by)),
        (ROW, all_types(input)),
        (OTHER_KEY, order(&spec.order_by, input)),
        (EMISSION, emission),
    ]
}

/// Fields of a shape.
type Fields = Vec<(u64, Vec<u8>)>;

fn source(spec: &SourceSpec, schema: &SchemaRef) -> Fields {
    let topic = (TOPIC, spec.topic.as_bytes().to_vec());
    match &spec.mode {
        // Of a stream only the position is kept.
        SourceMode::Append => vec![topic],
        SourceMode::Upsert { key } => {
            vec![topic, (KEY, types(schema, key)), (ROW, all_types(schema))]
        }
    }
}

fn join(spec: &JoinSpec, inputs: &[(&SchemaRef, EdgeProperties)]) -> Fields {
    let [(left, left_rows), (right, right_rows)] = [inputs[0], inputs[1]];
    let rows = [left_rows, right_rows];
    let counted = [0, 1]
        .map(|port| u8::from(!rows[port].append_only) + 2 * u8::from(spec.counts_matches(port)));
    // What is out there depends on it: padded rows have to be taken back.
    let emission = match spec.kind {
        JoinKind::Semi => [2, 0],
        JoinKind::Anti => [3, 0],
        JoinKind::Mark => [4, 0],
        pairs => [0, 1].map(|port| u8::from(pairs.pads(port))),
    };
    let mut fields = vec![
        (KEY, types(left, &spec.left_keys)),
        (ROW, all_types(left)),
        (OTHER_KEY, types(right, &spec.right_keys)),
        (OTHER_ROW, all_types(right)),
        (COUNTED, counted.to_vec()),
        (EMISSION, emission.to_vec()),
    ];
    if let Some(range) = &spec.range {
        fields.push((TIMES, numbers(&[range.left, range.right])));
    }
    if spec.null_is_equal {
        fields.push((NULLS, Vec::new()));
    }
    fields
}

fn aggregate(spec: &AggregateSpec, (input, rows): (&SchemaRef, EdgeProperties)) -> Fields {
    let mut fields = vec![
        (KEY, types(input, &spec.group_by)),
        (WINDOW, numbers(spec.window_end.as_slice())),
        (EMISSION, vec![u8::from(spec.emit == Emit::OnWindowClose)]),
    ];
    for call in &spec.aggregates {
        let bound = BoundCall::of(call, input, rows.append_only);
        let mut value = call.function.shape();
        value.extend([
            u8::from(call.distinct),
            u8::from(call.function.keeps_values(&bound)),
            u8::from(call.filter.is_some()),
        ]);
        value.extend(types(input, &call.arguments));
        push_type(&call.output, &mut value);
        for (column, order) in &call.order_by {
            push_type(input.field(*column).data_type(), &mut value);
            value.push(u8::from(order.descending) | u8::from(order.nulls_first) << 1);
        }
        fields.push((CALL + u64::from(call.id), value));
    }
    fields
}

pub(super) fn numbers(columns: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    push_varint(columns.len() as u64, &mut out);
    for &column in columns {
        push_varint(column as u64, &mut out);
    }
    out
}

fn types(schema: &SchemaRef, columns: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    push_varint(columns.len() as u64, &mut out);
    for &column in columns {
        push_type(schema.field(column).data_type(), &mut out);
    }
    out
}

pub(super) fn all_types(schema: &SchemaRef) -> Vec<u8> {
    let columns: Vec<usize> = (0..schema.fields().len()).collect();
    types(schema, &columns)
}

/// Types that state reads alike, texts in two layouts say, have one code.
fn push_type(data_type: &DataType, out: &mut Vec<u8>) {
    let unit_code = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    };
    match data_type {
        DataType::Null => out.push(0),
        DataType::Boolean => out.push(1),
        DataType::Int8 => out.push(2),
        DataType::Int16 => out.push(3),
        DataType::Int32 => out.push(4),
        DataType::Int64 => out.push(5),
        DataType::UInt8 => out.push(6),
        DataType::UInt16 => out.push(7),
        DataType::UInt32 => out.push(8),
        DataType::UInt64 => out.push(9),
        DataType::Float32 => out.push(10),
        DataType::Float64 => out.push(11),
        DataType::Utf8 | DataType::Utf8View => out.push(12),
        DataType::Binary | DataType::BinaryView => out.push(13),
        DataType::Decimal128(precision, scale) => {
            out.extend_from_slice(&[14, *precision, scale.to_le_bytes()[0]]);
        }
        DataType::Date32 => out.push(15),
        DataType::Date64 => out.push(16),
        DataType::Time32(unit) => out.extend_from_slice(&[17, unit_code(unit)]),
        DataType::Time64(unit) => out.extend_from_slice(&[18, unit_code(unit)]),
        DataType::Timestamp(unit, zone) => {
            out.extend_from_slice(&[19, unit_code(unit)]);
            push_bytes(zone.as_deref().unwrap_or_default().as_bytes(), out);
        }
        DataType::Duration(unit) => out.extend_from_slice(&[20, unit_code(unit)]),
        json if is_json(json) => out.push(21),
        DataType::List(element) => {
            out.push(22);
            push_type(element.data_type(), out);
        }
        DataType::Struct(fields) => {
            out.push(23);
            push_varint(fields.len() as u64, out);
            for field in fields {
                push_bytes(field.name().as_bytes(), out);
                push_type(field.data_type(), out);
            }
        }
        DataType::Map(entries, _) => {
            out.push(24);
            push_type(entries.data_type(), out);
        }
        // State holds no others; a plan with one is refused before.
        _ => out.push(u8::MAX),
    }
}
