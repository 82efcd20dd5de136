//! What a plan must satisfy before operators are built from it.

use std::collections::HashSet;

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};

use super::{
    AggregateSpec, Emit, ExpandSpec, JoinKind, JoinSpec, NodeKind, PlanError, PlanNode, SourceMode,
    SourceSpec, StreamPlan, TumbleSpec,
};
use crate::aggregate::{BoundCall, GROUP_COLUMNS_MAX};
use crate::state::{Physical, is_storable};

/// Operator numbers from here on are the engine's own.
const OPERATOR_LIMIT: u16 = 0xff00;
/// A plan with more nodes is refused: a chunk goes through them by recursion, and the stack of a job has an end.
const NODES_MAX: usize = 512;

const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// See [`StreamPlan::validate`].
pub(super) fn plan(plan: &StreamPlan) -> Result<(), PlanError> {
    let error = |node: usize, reason: String| Err(PlanError { node, reason });
    if plan.nodes.is_empty() || plan.nodes.len() > NODES_MAX {
        return error(
            0,
            format!(
                "a plan has 1 to {NODES_MAX} nodes, not {}",
                plan.nodes.len()
            ),
        );
    }
    let mut ids = HashSet::new();
    let mut consumed = vec![false; plan.nodes.len()];
    for (index, node) in plan.nodes.iter().enumerate() {
        if node.id.0 >= OPERATOR_LIMIT || !ids.insert(node.id) {
            return error(
                index,
                format!(
                    "operator {} is there twice, or above {OPERATOR_LIMIT}",
                    node.id
                ),
            );
        }
        for &input in &node.inputs {
            if input >= index {
                return error(
                    index,
                    format!("it reads node {input}, which does not come before it"),
                );
            }
            consumed[input] = true;
        }
        let inputs: Vec<&SchemaRef> = node
            .inputs
            .iter()
            .map(|&input| &plan.nodes[input].schema)
            .collect();
        node_fits(node, &inputs).or_else(|reason| error(index, reason))?;
    }
    let last = plan.nodes.len() - 1;
    match consumed[..last].iter().position(|consumed| !consumed) {
        Some(node) => error(node, "nothing reads it".to_owned()),
        None => Ok(()),
    }
}

fn node_fits(node: &PlanNode, inputs: &[&SchemaRef]) -> Result<(), String> {
    let wanted = match node.kind {
        NodeKind::Source(_) | NodeKind::Constant(_) => 0,
        NodeKind::Join(_) | NodeKind::AsOf(_) => 2,
        NodeKind::Union => inputs.len().max(1),
        NodeKind::Map(_)
        | NodeKind::Filter(_)
        | NodeKind::Late(_)
        | NodeKind::Tumble(_)
        | NodeKind::Slide(_)
        | NodeKind::Session(_)
        | NodeKind::Expand(_)
        | NodeKind::Unnest(_)
        | NodeKind::Visible(_)
        | NodeKind::Aggregate(_)
        | NodeKind::TopN(_)
        | NodeKind::Over(_) => 1,
    };
    if inputs.len() != wanted {
        return Err(format!("it takes {wanted} inputs, not {}", inputs.len()));
    }
    match &node.kind {
        NodeKind::Source(spec) => source_fits(spec, &node.schema),
        NodeKind::Map(exprs) if exprs.len() != node.schema.fields().len() => Err(format!(
            "{} expressions for {} columns",
            exprs.len(),
            node.schema.fields().len()
        )),
        NodeKind::Map(exprs) if exprs.iter().any(|expr| expr.may_vary()) => {
            storable(inputs[0], 0..inputs[0].fields().len())?;
            storable(&node.schema, 0..node.schema.fields().len())
        }
        NodeKind::Map(_) => Ok(()),
        NodeKind::Filter(_) if node.schema.fields() != inputs[0].fields() => {
            Err("a filter does not change columns".to_owned())
        }
        NodeKind::Filter(_) => Ok(()),
        NodeKind::Late(_) if node.schema.fields() != inputs[0].fields() => {
            Err("taking late rows out does not change columns".to_owned())
        }
        NodeKind::Late(spec) => window_fits(spec, inputs[0]),
        NodeKind::Tumble(spec) => {
            window_fits(spec, inputs[0])?;
            adds_bounds(inputs[0], &node.schema)
        }
        NodeKind::Expand(spec) => expand_fits(spec, inputs[0], &node.schema),
        NodeKind::Visible(spec) => spec.check(inputs[0], &node.schema),
        NodeKind::Unnest(spec) => spec.check(inputs[0], &node.schema),
        NodeKind::Slide(spec) => {
            let (size_us, grace_us) = (spec.grid.size_us(), spec.grace_us);
            lengths_fit(&[size_us, spec.grid.step_us()], grace_us)?;
            offset_fits(spec.offset_us, spec.grid.period_us())?;
            is_time(spec.time_column, inputs[0])?;
            adds_bounds(inputs[0], &node.schema)
        }
        NodeKind::Session(spec) => {
            lengths_fit(&[spec.gap_us], spec.grace_us)?;
            is_time(spec.time_column, inputs[0])?;
            spec.check(inputs[0])?;
            storable(inputs[0], 0..inputs[0].fields().len())?;
            adds_bounds(inputs[0], &node.schema)
        }
        NodeKind::Join(spec) => join_fits(spec, inputs, &node.schema),
        NodeKind::Aggregate(spec) => aggregate_fits(spec, inputs[0], &node.schema),
        NodeKind::Union => match inputs.iter().all(|input| *input == &node.schema) {
            true => Ok(()),
            false => Err("its inputs have other columns than it has".to_owned()),
        },
        NodeKind::TopN(spec) => spec.check(inputs[0], &node.schema),
        NodeKind::AsOf(spec) => spec.check(inputs, &node.schema),
        NodeKind::Constant(rows) if rows.schema() != node.schema => {
            Err("constant rows have other columns than it has".to_owned())
        }
        NodeKind::Constant(_) => storable(&node.schema, 0..node.schema.fields().len()),
        NodeKind::Over(spec) => spec.check(inputs[0], &node.schema),
    }
}

/// That state can hold these columns.
fn storable(schema: &SchemaRef, columns: impl IntoIterator<Item = usize>) -> Result<(), String> {
    for column in columns {
        let Some(field) = schema.fields().get(column) else {
            return Err(format!("column {column} does not exist"));
        };
        if Physical::of(field.data_type()).is_none() {
            return Err(format!(
                "column {} of type {} cannot be kept in state",
                field.name(),
                field.data_type()
            ));
        }
    }
    Ok(())
}

fn source_fits(spec: &SourceSpec, schema: &SchemaRef) -> Result<(), String> {
    let types = spec.columns.iter().map(|column| &column.data_type);
    if !types.eq(schema.fields().iter().map(|field| field.data_type())) {
        return Err("columns and schema of the source differ".to_owned());
    }
    match &spec.mode {
        SourceMode::Append => Ok(()),
        SourceMode::Upsert { key } if key.is_empty() => {
            Err("an upsert source needs a key".to_owned())
        }
        SourceMode::Upsert { key } => {
            storable(schema, key.iter().copied())?;
            storable(schema, 0..schema.fields().len())
        }
    }
}

fn window_fits(spec: &TumbleSpec, input: &SchemaRef) -> Result<(), String> {
    lengths_fit(&[spec.size_us], spec.grace_us)?;
    offset_fits(spec.offset_us, spec.size_us)?;
    is_time(spec.time_column, input)
}

fn lengths_fit(lengths_us: &[i64], grace_us: i64) -> Result<(), String> {
    if grace_us < 0 || lengths_us.iter().any(|length| *length <= 0) {
        return Err(format!(
            "windows of {lengths_us:?} µs with {grace_us} µs of grace"
        ));
    }
    Ok(())
}

fn offset_fits(offset_us: i64, period_us: i64) -> Result<(), String> {
    match (0..period_us).contains(&offset_us) {
        true => Ok(()),
        false => Err(format!(
            "windows of every {period_us} µs are {offset_us} µs later"
        )),
    }
}

fn is_time(column: usize, input: &SchemaRef) -> Result<(), String> {
    match input.fields().get(column).map(|field| field.data_type()) {
        Some(data_type) if *data_type == TIMESTAMP => Ok(()),
        Some(data_type) => Err(format!(
            "the time column is {data_type}, it has to be {TIMESTAMP}"
        )),
        None => Err(format!("column {column} does not exist")),
    }
}

fn expand_fits(spec: &ExpandSpec, input: &SchemaRef, schema: &SchemaRef) -> Result<(), String> {
    let count = input.fields().len();
    if let Some(column) = spec.columns.iter().find(|column| **column >= count) {
        return Err(format!("column {column} does not exist"));
    }
    if (spec.sets.iter()).any(|set| set.kept.len() != spec.columns.len()) {
        return Err("a grouping set keeps or drops each group column".to_owned());
    }
    let copies = spec.columns.iter().map(|&column| input.field(column));
    let added = (copies.map(|field| field.data_type())).chain([&DataType::Int64]);
    let found = schema.fields().iter().skip(count);
    if !added.eq(found.map(|field| field.data_type())) {
        return Err("grouping sets add copies of their columns and a number".to_owned());
    }
    Ok(())
}

fn adds_bounds(input: &SchemaRef, schema: &SchemaRef) -> Result<(), String> {
    let before = input.fields().len();
    let added = schema.fields().get(before..).unwrap_or_default();
    if added.len() != 3 || added.iter().any(|field| *field.data_type() != TIMESTAMP) {
        return Err("a window adds three timestamps to the columns of its input".to_owned());
    }
    Ok(())
}

fn join_fits(spec: &JoinSpec, inputs: &[&SchemaRef], schema: &SchemaRef) -> Result<(), String> {
    if spec.left_keys.len() != spec.right_keys.len() {
        return Err("a join compares as many columns left as right".to_owned());
    }
    for (input, keys) in inputs.iter().zip([&spec.left_keys, &spec.right_keys]) {
        storable(input, keys.iter().copied())?;
        storable(input, 0..input.fields().len())?;
    }
    for (&left, &right) in spec.left_keys.iter().zip(&spec.right_keys) {
        let (left, right) = (inputs[0].field(left), inputs[1].field(right));
        if Physical::of(left.data_type()) != Physical::of(right.data_type()) {
            return Err(format!(
                "{} is {} and {} is {}: both sides of a join are of one type",
                left.name(),
                left.data_type(),
                right.name(),
                right.data_type()
            ));
        }
    }
    if let Some(range) = &spec.range {
        for (input, column) in [(inputs[0], range.left), (inputs[1], range.right)] {
            let data_type = input.fields().get(column).map(|field| field.data_type());
            if !matches!(
                data_type,
                Some(DataType::Timestamp(TimeUnit::Microsecond, _))
            ) {
                return Err("a join bounds the time between two timestamps".to_owned());
            }
        }
        if range.closes_after.is_some() && (range.least.is_none() || range.most.is_none()) {
            return Err("a join that forgets rows bounds the time on both sides".to_owned());
        }
    }
    let (left, right) = (inputs[0].fields().len(), inputs[1].fields().len());
    let (columns, what) = match spec.kind {
        JoinKind::Semi | JoinKind::Anti => (
            left,
            "a join that only asks gives the columns of its left input",
        ),
        JoinKind::Mark => (
            left + 1,
            "a join that marks gives the columns of its left input and a mark",
        ),
        _ => (left + right, "a join gives the columns of both inputs"),
    };
    if schema.fields().len() != columns {
        return Err(what.to_owned());
    }
    Ok(())
}

fn aggregate_fits(
    spec: &AggregateSpec,
    input: &SchemaRef,
    schema: &SchemaRef,
) -> Result<(), String> {
    if spec.group_by.len() > GROUP_COLUMNS_MAX {
        return Err(format!(
            "{} group columns, at most {GROUP_COLUMNS_MAX} are possible",
            spec.group_by.len()
        ));
    }
    storable(input, spec.group_by.iter().copied())?;
    if schema.fields().len() != spec.group_by.len() + spec.aggregates.len() {
        return Err("an aggregation gives its group columns and a column an aggregate".to_owned());
    }
    let mut ids = HashSet::new();
    for call in &spec.aggregates {
        if !ids.insert(call.id) {
            return Err(format!("aggregate {} is there twice", call.id));
        }
        storable(input, call.arguments.iter().copied())?;
        storable(input, call.order_by.iter().map(|(column, _)| *column))?;
        if let Some(filter) = call.filter {
            storable(input, [filter])?;
            if *input.field(filter).data_type() != DataType::Boolean {
                return Err(format!(
                    "FILTER takes a boolean, {} is none",
                    input.field(filter).name()
                ));
            }
        }
        // What takes rows back asks for no more than what does not.
        call.function.check(&BoundCall::of(call, input, false))?;
        if !is_storable(&call.output) {
            return Err(format!("results of type {} cannot be kept", call.output));
        }
    }
    match spec.window_end {
        Some(place) => match spec.group_by.get(place) {
            Some(&column) if *input.field(column).data_type() == TIMESTAMP => {}
            Some(&column) => {
                return Err(format!("{} is no window's end", input.field(column).name()));
            }
            None => return Err("the window's end is no group column".to_owned()),
        },
        None if spec.emit == Emit::OnWindowClose => {
            return Err("EMIT ON WINDOW CLOSE needs a window among the group columns".to_owned());
        }
        None => {}
    }
    Ok(())
}
