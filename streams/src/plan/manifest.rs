//! What the state of a plan looks like, written down where the plan is settled (a view's record in the catalog) and with the
//! state: a plan that keeps anything else cannot use it. PURE.
//!
//! ```text
//! manifest  [version u8 = 1][n varint] n × operator, by rising number
//! operator  [number varint][kind u8][n varint] n × field
//! field     [tag varint][length varint, bytes]            see the constants; tags of a kind rise
//! types     [n varint] n × type
//! type      [code u8], a decimal + [precision u8][scale i8], a timestamp + [unit u8][zone: length varint, bytes]
//! ```
//!
//! Operators are known by their names, which come from the query's text; the numbers under which they keep their state are
//! given once, and [`StateManifest::adopted`] finds them again. Only operators that keep something are in it, and of these only what gives their bytes a meaning: maps, filters and
//! expressions may be others after an upgrade. Nothing here is the text that a library prints of its types.
//!
//! Invariants:
//! 1. Equal manifests mean that every byte of one state is read alike by both plans.
//! 2. A manifest of an unknown version, and a kind or field that is unknown, is a difference, never a match.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};

use super::{
    AggregateSpec, AsOfSpec, EdgeProperties, Emit, JoinKind, JoinSpec, Nearest, NodeKind,
    OperatorId, OverSpec, PlanNode, Rank, RankOrder, SessionSpec, SinkSpec, SourceMode, SourceSpec,
    StreamPlan, TopNSpec,
};
use crate::aggregate::BoundCall;
use crate::json::is_json;
use crate::state::row::{
    columns_of, push_bytes, push_row, push_varint, push_zigzag, read_bytes, read_varint,
};
use crate::state::{StateError, VIEW};

const VERSION: u8 = 1;

const SOURCE: u8 = 1;
const UPSERT: u8 = 2;
const JOIN: u8 = 3;
const AGGREGATE: u8 = 4;
const SINK: u8 = 5;
const RESULTS: u8 = 6;
const RANKING: u8 = 8;
const AS_OF: u8 = 9;
const CONSTANT: u8 = 10;
const SESSIONS: u8 = 11;
const OVER: u8 = 12;

const TOPIC: u64 = 1;
const KEY: u64 = 2;
const ROW: u64 = 3;
const OTHER_KEY: u64 = 4;
const OTHER_ROW: u64 = 5;
/// How rows are kept: for each side 0 = under a number, 1 = with a count; + 2 = and how many rows each matches.
const COUNTED: u64 = 6;
const WINDOW: u64 = 7;
const EMISSION: u64 = 8;
/// What the query calls the operator.
const NAME: u64 = 9;
/// By which times rows are kept, where a join bounds the time between them: the columns of both sides.
const TIMES: u64 = 10;
/// A join in which NULL equals NULL keeps rows whose key has one.
const NULLS: u64 = 11;
/// One field an aggregate: this and its number.
const CALL: u64 = 64;

/// The state of one operator: its kind, and fields by tag.
#[derive(Debug, Clone, PartialEq, Eq)]
struct StateShape {
    kind: u8,
    fields: BTreeMap<u64, Vec<u8>>,
}

/// What the operators of a plan keep, and under which numbers: see the module.
///
/// ```
/// # fn check(plan: &streams::StreamPlan, sink: &streams::SinkSpec) {
/// let manifest = streams::StateManifest::of(plan, sink);
/// assert_eq!(streams::StateManifest::from_text(&manifest.to_text()), Ok(manifest));
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateManifest {
    operators: BTreeMap<u16, StateShape>,
}

impl StateManifest {
    /// What `plan` keeps, and its output.
    pub fn of(plan: &StreamPlan, sink: &SinkSpec) -> Self {
        let properties = plan.properties();
        let mut operators = BTreeMap::new();
        for node in &plan.nodes {
            let inputs: Vec<(&SchemaRef, EdgeProperties)> = node
                .inputs
                .iter()
                .map(|&input| (&plan.nodes[input].schema, properties[input]))
                .collect();
            if let Some(shape) = shape(node, &inputs) {
                operators.insert(node.id.0, shape);
            }
        }
        let schema = plan.schema();
        let fields = [(KEY, numbers(&sink.key)), (ROW, all_types(schema))];
        operators.insert(VIEW, StateShape::new(SINK, fields));
        Self { operators }
    }

    /// `plan` with the numbers that its operators had when this was written. One that is not known gets a number that no
    /// other has.
    pub(crate) fn adopted(&self, plan: &StreamPlan) -> StreamPlan {
        let properties = plan.properties();
        let mut plan = plan.clone();
        let mut taken: BTreeSet<u16> = self.operators.keys().copied().collect();
        for node in &mut plan.nodes {
            let inputs: Vec<EdgeProperties> =
                node.inputs.iter().map(|&input| properties[input]).collect();
            let Some(kind) = kind(&node.kind, &inputs) else {
                taken.insert(node.id.0);
                continue;
            };
            let known = self.operators.iter().find(|(_, shape)| {
                let name = shape.fields.get(&NAME).map(Vec::as_slice);
                shape.kind == kind && name == Some(node.name.as_bytes())
            });
            let unused = || (0..u16::MAX).find(|number| !taken.contains(number));
            if let Some(number) = known.map(|(number, _)| *number).or_else(unused) {
                taken.insert(number);
                node.id = OperatorId(number);
            }
        }
        plan
    }

    /// The bytes of it as hexadecimal text, for records that are text.
    pub fn to_text(&self) -> String {
        let bytes = self.encode();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads what [`StateManifest::to_text`] wrote.
    ///
    /// # Errors
    /// [`StateError::Corrupt`], also for a version that is not known.
    pub fn from_text(text: &str) -> Result<Self, StateError> {
        let digits = |pair: &[u8]| match pair {
            &[high, low] => {
                let value = |digit: u8| char::from(digit).to_digit(16);
                u8::try_from(value(high)? * 16 + value(low)?).ok()
            }
            _ => None,
        };
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(digits).collect();
        let bytes = bytes.ok_or_else(|| StateError::Corrupt {
            what: "state manifest",
            reason: "its text is no hexadecimal".to_owned(),
        })?;
        Self::decode(&bytes)
    }

    /// See the module.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        push_varint(self.operators.len() as u64, &mut out);
        for (operator, shape) in &self.operators {
            push_varint(u64::from(*operator), &mut out);
            out.push(shape.kind);
            push_varint(shape.fields.len() as u64, &mut out);
            for (tag, value) in &shape.fields {
                push_varint(*tag, &mut out);
                push_bytes(value, &mut out);
            }
        }
        out
    }

    /// Reads what [`StateManifest::encode`] wrote.
    ///
    /// # Errors
    /// [`StateError::Corrupt`], also for a version that is not known.
    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Self, StateError> {
        let corrupt = |reason: String| StateError::Corrupt {
            what: "state manifest",
            reason,
        };
        let bytes = &mut bytes;
        let byte = |bytes: &mut &[u8]| {
            let (&byte, rest) = bytes
                .split_first()
                .ok_or_else(|| corrupt("it ends too early".to_owned()))?;
            *bytes = rest;
            Ok::<u8, StateError>(byte)
        };
        let version = byte(bytes)?;
        if version != VERSION {
            return Err(corrupt(format!(
                "it has version {version}, this program knows {VERSION}"
            )));
        }
        let mut operators = BTreeMap::new();
        for _ in 0..read_varint(bytes)? {
            let operator = u16::try_from(read_varint(bytes)?)
                .map_err(|_| corrupt("an operator's number is too large".to_owned()))?;
            let kind = byte(bytes)?;
            let mut fields = BTreeMap::new();
            for _ in 0..read_varint(bytes)? {
                let tag = read_varint(bytes)?;
                fields.insert(tag, read_bytes(bytes)?.to_vec());
            }
            operators.insert(operator, StateShape { kind, fields });
        }
        Ok(Self { operators })
    }

    /// The first difference to what `plan` keeps, in words; `None`: the state is of use to it.
    pub(crate) fn difference(&self, plan: &Self) -> Option<String> {
        for (operator, kept) in &self.operators {
            let name = OperatorId(*operator);
            match plan.operators.get(operator) {
                None => return Some(format!("operator {name}, {}, is gone", kept.name())),
                Some(planned) if planned.kind != kept.kind => {
                    let (kept, planned) = (kept.name(), planned.name());
                    return Some(format!("operator {name} was {kept} and is {planned}"));
                }
                Some(planned) => {
                    let tags = kept.fields.keys().chain(planned.fields.keys());
                    let differs = |tag: &&u64| kept.fields.get(tag) != planned.fields.get(tag);
                    if let Some(tag) = tags.filter(differs).min() {
                        let (kind, field) = (kept.name(), field_name(*tag));
                        return Some(format!("operator {name}, {kind}, has {field}"));
                    }
                }
            }
        }
        let added = |operator: &&u16| !self.operators.contains_key(operator);
        let added = plan.operators.keys().find(added)?;
        let name = plan.operators[added].name();
        Some(format!("operator {}, {name}, is new", OperatorId(*added)))
    }
}

impl StateShape {
    fn new(kind: u8, fields: impl IntoIterator<Item = (u64, Vec<u8>)>) -> Self {
        Self {
            kind,
            fields: fields.into_iter().collect(),
        }
    }

    fn name(&self) -> String {
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
            kind => format!("kind {kind}"),
        }
    }
}

fn field_name(tag: u64) -> String {
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
fn kind(node: &NodeKind, inputs: &[EdgeProperties]) -> Option<u8> {
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
        NodeKind::Map(_)
        | NodeKind::Filter(_)
        | NodeKind::Late(_)
        | NodeKind::Tumble(_)
        | NodeKind::Union
        | NodeKind::Slide(_)
        | NodeKind::Expand(_) => None,
    }
}

fn shape(node: &PlanNode, inputs: &[(&SchemaRef, EdgeProperties)]) -> Option<StateShape> {
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
        NodeKind::Map(_)
        | NodeKind::Filter(_)
        | NodeKind::Late(_)
        | NodeKind::Tumble(_)
        | NodeKind::Union
        | NodeKind::Slide(_)
        | NodeKind::Expand(_) => {
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
    let emission = vec![nearest, u8::from(spec.pads) | u8::from(spec.waits) << 1];
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
    vec![
        (KEY, types(input, &spec.partition_by)),
        (ROW, all_types(input)),
        (OTHER_KEY, order(&spec.order_by, input)),
        (OTHER_ROW, values),
    ]
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

fn numbers(columns: &[usize]) -> Vec<u8> {
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

fn all_types(schema: &SchemaRef) -> Vec<u8> {
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

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType::{Int64, Utf8View};

    use super::*;
    use crate::test_plan::{PlanBuilder, SECOND, TIMESTAMP};
    use crate::{JoinKind, KeyFormat, LatePolicy, SinkForm};

    fn plan(aggregates: &[&str], with_filter: bool) -> StreamPlan {
        let mut plan = PlanBuilder::default();
        let flights = plan.source(
            "flights",
            &[("carrier", Utf8View), ("delay", Int64), ("at", TIMESTAMP)],
            None,
        );
        let windows = plan.tumble(flights, 10 * SECOND, LatePolicy::Drop);
        let airlines = plan.source(
            "airlines",
            &[("code", Utf8View), ("title", Utf8View)],
            Some(vec![0]),
        );
        let joined = plan.join(JoinKind::Left, (windows, "carrier"), (airlines, "code"));
        let groups = &["window_end", "title"];
        plan.aggregate(joined, groups, aggregates, Emit::Changes);
        if with_filter {
            plan.filter(4, crate::test_plan::last_above_one);
        }
        plan.build()
    }

    fn manifest(plan: &StreamPlan) -> StateManifest {
        let sink = SinkSpec {
            topic: "delays".to_owned(),
            partitions: 3,
            key: vec![0, 1],
            hidden: 0,
            key_format: KeyFormat::Json,
            form: SinkForm::View,
        };
        StateManifest::of(plan, &sink)
    }

    /// These bytes are in logs: a change here is a new version.
    #[test]
    fn golden_vector() {
        let found = manifest(&plan(&["count(*)", "max(delay)"], false));
        let hex: String = found
            .encode()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let wanted = [
            "0105",
            // #1, a source: topic, name
            "010102",
            "0107",
            "666c6967687473",
            "09026e31",
            // #3, a table: topic, key, row, name
            "030204",
            "0108",
            "6169726c696e6573",
            "0202",
            "010c",
            "0303",
            "020c0c",
            "09026e33",
            // #4, a join: keys and rows of both sides, how they are kept, padding, name
            "040307",
            "0202",
            "010c",
            "030f",
            "060c05130200130200130200130200",
            "0402",
            "010c",
            "0503",
            "020c0c",
            "0602",
            "0001",
            "0802",
            "0100",
            "09026e34",
            // #5, an aggregation: groups, window, emission, name, calls
            "050406",
            "0205",
            "021302000c",
            "0702",
            "0100",
            "0801",
            "00",
            "09026e35",
            "4006",
            "010000000005",
            "4107",
            "04000100010505",
            // the view: key, row
            "feff0305",
            "02",
            "0203",
            "020001",
            "0307",
            "041302000c0505",
        ];
        assert_eq!(hex, wanted.concat());
        assert_eq!(StateManifest::decode(&found.encode()).unwrap(), found);
    }

    #[test]
    fn what_keeps_nothing_does_not_matter() {
        let before = manifest(&plan(&["count(*)"], false));
        let after = manifest(&plan(&["count(*)"], true));
        assert_eq!(before.difference(&after), None);
    }

    #[test]
    fn operators_find_the_numbers_that_they_had() {
        let before = plan(&["count(*)"], false);
        let kept = manifest(&before);
        // Another plan of the same query: other numbers, another order.
        let mut after = plan(&["count(*)"], true);
        for (place, node) in after.nodes.iter_mut().enumerate() {
            node.id = OperatorId(20 - place as u16);
        }
        let adopted = kept.adopted(&after);
        assert_eq!(kept.difference(&manifest(&adopted)), None);
        adopted.validate().unwrap();
        let ids = |plan: &StreamPlan| plan.nodes.iter().map(|node| node.id.0).collect::<Vec<_>>();
        assert_eq!(ids(&adopted)[2..5], ids(&before)[2..5]);
        // What the query calls otherwise is something else, and takes nobody's number.
        after.nodes[2].name = "others".to_owned();
        let adopted = kept.adopted(&after);
        adopted.validate().unwrap();
        assert_eq!(
            kept.difference(&manifest(&adopted)).unwrap(),
            "operator #3, a table, is gone"
        );
    }

    #[test]
    fn the_first_difference_is_named() {
        let before = manifest(&plan(&["count(*)", "max(delay)"], false));
        let other = |aggregates: &[&str]| before.difference(&manifest(&plan(aggregates, false)));
        assert_eq!(
            other(&["count(*)", "min(delay)"]).unwrap(),
            "operator #5, an aggregation, has another aggregate 2"
        );
        assert_eq!(
            other(&["count(*)"]).unwrap(),
            "operator #5, an aggregation, has another aggregate 2"
        );
        let mut fewer = before.clone();
        fewer.operators.remove(&3);
        assert_eq!(
            before.difference(&fewer).unwrap(),
            "operator #3, a table, is gone"
        );
        assert_eq!(
            fewer.difference(&before).unwrap(),
            "operator #3, a table, is new"
        );
        let mut newer = before.encode();
        newer[0] = 2;
        assert!(StateManifest::decode(&newer).is_err());
    }
}
