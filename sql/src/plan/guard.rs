//! AND and OR with parts that may fail, as `x <> 0 AND 10 / x > 1`: a row that one part decides has its answer,
//! whatever another part does on it.
//!
//! ```text
//! AND of a row:  false if a part is false  │  else the error of a part that fails  │  else true or NULL
//! OR of a row:   true if a part is true    │  else the error of a part that fails  │  else false or NULL
//! ```
//!
//! Invariants:
//! 1. The answer of a row depends on this row alone: not on the batch that it comes in, and not on the order in which
//!    the optimizer leaves the parts.
//! 2. A part that may fail is evaluated on the rows that are still undecided; parts that cannot fail see whole batches.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder};
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{and_kleene, filter_record_batch, or_kleene};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column as ColumnName, DFSchema, DataFusionError, Result as BoundResult};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr as LogicalBinary, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr,
    Literal, NotExpr, TryCastExpr,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr, create_physical_expr};

use super::function::is_module;

/// Functions that have a value for all arguments. Any other may fail.
const INFALLIBLE: &[&str] = &[
    "ascii",
    "bit_length",
    "btrim",
    "character_length",
    "concat",
    "concat_ws",
    "ends_with",
    "initcap",
    "left",
    "lower",
    "ltrim",
    "octet_length",
    "replace",
    "reverse",
    "right",
    "rtrim",
    "split_part",
    "starts_with",
    "strpos",
    "upper",
];

/// `expr` over rows of `schema`, with every AND and OR guarded that needs it.
pub(super) fn guarded(
    expr: &Arc<dyn PhysicalExpr>,
    schema: &Schema,
) -> BoundResult<Arc<dyn PhysicalExpr>> {
    if let Some(operator) = junction(expr) {
        let parts = parts_of(expr, operator)
            .into_iter()
            .map(|part| Part::new(part, schema))
            .collect::<BoundResult<Vec<_>>>()?;
        if !parts.iter().any(|part| part.may_fail) {
            return Ok(Arc::clone(expr));
        }
        return Ok(Arc::new(Guarded { operator, parts }));
    }
    let children = expr.children();
    let mut changed = false;
    let mut replaced = Vec::with_capacity(children.len());
    for child in children {
        let guarded = guarded(child, schema)?;
        changed |= !Arc::ptr_eq(&guarded, child);
        replaced.push(guarded);
    }
    if changed {
        Arc::clone(expr).with_new_children(replaced)
    } else {
        Ok(Arc::clone(expr))
    }
}

/// AND or OR.
fn junction(expr: &Arc<dyn PhysicalExpr>) -> Option<Operator> {
    let operator = *expr.downcast_ref::<BinaryExpr>()?.op();
    matches!(operator, Operator::And | Operator::Or).then_some(operator)
}

/// The parts of a chain of one operator, from left to right.
fn parts_of(expr: &Arc<dyn PhysicalExpr>, operator: Operator) -> Vec<&Arc<dyn PhysicalExpr>> {
    let mut parts = Vec::new();
    let mut open = vec![expr];
    while let Some(next) = open.pop() {
        match next.downcast_ref::<BinaryExpr>() {
            Some(binary) if *binary.op() == operator => {
                open.push(binary.right());
                open.push(binary.left());
            }
            _ => parts.push(next),
        }
    }
    parts
}

fn may_fail(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> bool {
    let itself = if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        !matches!(
            binary.op(),
            Operator::Eq
                | Operator::NotEq
                | Operator::Lt
                | Operator::LtEq
                | Operator::Gt
                | Operator::GtEq
                | Operator::IsDistinctFrom
                | Operator::IsNotDistinctFrom
                | Operator::And
                | Operator::Or
                | Operator::StringConcat
        )
    } else if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        let from = cast.expr().data_type(schema);
        from.map_or(true, |from| may_lose(&from, cast.cast_type()))
    } else if let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() {
        !INFALLIBLE.contains(&call.name()) || is_module(call.fun())
    } else {
        !(expr.downcast_ref::<Column>().is_some()
            || expr.downcast_ref::<Literal>().is_some()
            || expr.downcast_ref::<NotExpr>().is_some()
            || expr.downcast_ref::<IsNullExpr>().is_some()
            || expr.downcast_ref::<IsNotNullExpr>().is_some()
            || expr.downcast_ref::<LikeExpr>().is_some()
            || expr.downcast_ref::<InListExpr>().is_some()
            || expr.downcast_ref::<CaseExpr>().is_some()
            || expr.downcast_ref::<TryCastExpr>().is_some())
    };
    itself
        || expr
            .children()
            .into_iter()
            .any(|child| may_fail(child, schema))
}

/// Whether there are values of `from` without one in `to`.
fn may_lose(from: &DataType, to: &DataType) -> bool {
    let text = |data_type: &DataType| {
        matches!(
            data_type,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
        )
    };
    let integer_digits = |data_type: &DataType| match data_type {
        DataType::Int8 => Some(3),
        DataType::Int16 => Some(5),
        DataType::Int32 => Some(10),
        DataType::Int64 => Some(19),
        _ => None,
    };
    match (from, to) {
        (from, to) if from == to => false,
        (_, to) if text(to) => false,
        (DataType::Decimal128(precision, scale), DataType::Decimal128(wide, fine)) => {
            fine < scale
                || i16::from(*wide) - i16::from(*fine) < i16::from(*precision) - i16::from(*scale)
        }
        (from, DataType::Decimal128(precision, scale)) => integer_digits(from)
            .is_none_or(|digits| i16::from(*precision) - i16::from(*scale) < digits),
        (from, DataType::Float32 | DataType::Float64) => {
            integer_digits(from).is_none()
                && !matches!(from, DataType::Float32 | DataType::Decimal128(..))
        }
        (from, to) => match (integer_digits(from), integer_digits(to)) {
            (Some(narrow), Some(wide)) => wide < narrow,
            _ => !matches!(
                (from, to),
                (DataType::Date32, DataType::Timestamp(_, _))
                    | (DataType::Null, _)
                    | (DataType::Binary, DataType::BinaryView)
            ),
        },
    }
}

#[derive(Debug, Clone)]
struct Part {
    expr: Arc<dyn PhysicalExpr>,
    may_fail: bool,
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        self.expr.eq(&other.expr) && self.may_fail == other.may_fail
    }
}

impl Eq for Part {}

impl Hash for Part {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expr.hash(state);
    }
}

impl Part {
    fn new(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> BoundResult<Self> {
        Ok(Self {
            expr: guarded(expr, schema)?,
            may_fail: may_fail(expr, schema),
        })
    }
}

/// See the module.
#[derive(Debug)]
struct Guarded {
    /// AND or OR.
    operator: Operator,
    parts: Vec<Part>,
}

impl PartialEq for Guarded {
    fn eq(&self, other: &Self) -> bool {
        self.operator == other.operator && self.parts == other.parts
    }
}

impl Eq for Guarded {}

impl Hash for Guarded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.operator.hash(state);
        self.parts.hash(state);
    }
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                write!(f, " {} ", self.operator)?;
            }
            write!(f, "({})", part.expr)?;
        }
        Ok(())
    }
}

impl Guarded {
    /// The value of a part that ends the matter.
    fn decisive(&self) -> bool {
        self.operator == Operator::Or
    }

    /// Rows whose answer a further part can change.
    fn undecided(&self, known: &BooleanArray) -> BooleanArray {
        let decided = if self.decisive() {
            known.values().clone()
        } else {
            !known.values()
        };
        let decided = match known.nulls() {
            Some(nulls) => &decided & nulls.inner(),
            None => decided,
        };
        BooleanArray::new(!&decided, None)
    }

    fn combine(&self, known: &BooleanArray, values: &BooleanArray) -> BoundResult<BooleanArray> {
        Ok(if self.decisive() {
            or_kleene(known, values)?
        } else {
            and_kleene(known, values)?
        })
    }

    /// The values of a part where `open` is set; elsewhere such that they change nothing.
    fn on_rows(
        &self,
        part: &Arc<dyn PhysicalExpr>,
        batch: &RecordBatch,
        open: &BooleanArray,
    ) -> BoundResult<Outcomes> {
        if !open.has_false() {
            return outcomes(part, batch);
        }
        let (values, mut failed) = outcomes(part, &filter_record_batch(batch, open)?)?;
        let rows: Vec<usize> = open.values().set_indices().collect();
        for (row, _) in &mut failed {
            *row = rows[*row];
        }
        let mut scattered = vec![Some(!self.decisive()); batch.num_rows()];
        for (row, value) in rows.into_iter().zip(&values) {
            scattered[row] = value;
        }
        Ok((scattered.into(), failed))
    }

    fn outcomes(&self, batch: &RecordBatch) -> BoundResult<Outcomes> {
        let neutral = BooleanBuffer::collect_bool(batch.num_rows(), |_| !self.decisive());
        let mut known = BooleanArray::new(neutral, None);
        let mut failed = Vec::new();
        for part in &self.parts {
            let values = if part.may_fail {
                let open = self.undecided(&known);
                if !open.has_true() {
                    break;
                }
                let (values, rows) = self.on_rows(&part.expr, batch, &open)?;
                failed.extend(rows);
                values
            } else {
                booleans(&part.expr, batch)?
            };
            known = self.combine(&known, &values)?;
        }
        // Of a row on which several parts fail, the first error stays.
        let mut open: Vec<bool> = self.undecided(&known).values().iter().collect();
        failed.retain(|(row, _)| std::mem::take(&mut open[*row]));
        Ok((known, failed))
    }
}

/// The values of a condition, NULL where it fails, and the rows on which it does.
type Outcomes = (BooleanArray, Vec<(usize, DataFusionError)>);

/// Looks for the rows that fail, unless `expr` knows them: conditions within conditions would each look again in what
/// the outer ones try.
fn outcomes(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> BoundResult<Outcomes> {
    if let Some(guarded) = expr.downcast_ref::<Guarded>() {
        return guarded.outcomes(batch);
    }
    let ways = if holds_guarded(expr) {
        batch.num_rows()
    } else {
        2
    };
    let mut values = BooleanBuilder::with_capacity(batch.num_rows());
    let mut failed = Vec::new();
    take_apart(expr, batch, ways, 0, &mut values, &mut failed);
    Ok((values.finish(), failed))
}

fn holds_guarded(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.downcast_ref::<Guarded>().is_some() || expr.children().into_iter().any(holds_guarded)
}

/// Evaluates a condition on ever fewer rows, `ways` parts of a batch on which it fails; `batch` begins at row `first`.
fn take_apart(
    expr: &Arc<dyn PhysicalExpr>,
    batch: &RecordBatch,
    ways: usize,
    first: usize,
    values: &mut BooleanBuilder,
    failed: &mut Vec<(usize, DataFusionError)>,
) {
    let count = batch.num_rows();
    match booleans(expr, batch) {
        Ok(array) => values.extend(&array),
        Err(error) if count <= 1 => {
            values.append_null();
            failed.push((first, error));
        }
        Err(_) => {
            let step = count.div_ceil(ways);
            for start in (0..count).step_by(step) {
                let part = batch.slice(start, step.min(count - start));
                take_apart(expr, &part, ways, first + start, values, failed);
            }
        }
    }
}

fn booleans(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> BoundResult<BooleanArray> {
    let array = expr.evaluate(batch)?.into_array(batch.num_rows())?;
    let booleans = array.as_boolean_opt().cloned();
    booleans.ok_or_else(|| DataFusionError::Internal(format!("{expr} is no condition")))
}

impl PhysicalExpr for Guarded {
    fn data_type(&self, _schema: &Schema) -> BoundResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, schema: &Schema) -> BoundResult<bool> {
        for part in &self.parts {
            if part.expr.nullable(schema)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn evaluate(&self, batch: &RecordBatch) -> BoundResult<ColumnarValue> {
        let (values, failed) = self.outcomes(batch)?;
        match failed.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(ColumnarValue::Array(Arc::new(values))),
        }
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.parts.iter().map(|part| &part.expr).collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> BoundResult<Arc<dyn PhysicalExpr>> {
        let part = |(part, expr): (&Part, Arc<dyn PhysicalExpr>)| Part {
            expr,
            may_fail: part.may_fail,
        };
        Ok(Arc::new(Self {
            operator: self.operator,
            parts: self.parts.iter().zip(children).map(part).collect(),
        }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Guards the conditions of an optimized plan. DataFusion makes physical expressions out of logical ones by itself, so
/// a condition that needs it becomes a function of the columns that it reads, which evaluates it in our way.
pub(crate) fn guard_plan(plan: LogicalPlan) -> BoundResult<LogicalPlan> {
    let guarded = plan.transform_up_with_subqueries(|plan| {
        let schema = merge_schema(&plan.inputs());
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let guarded = expr.transform_down(|expr| match &expr {
                Expr::BinaryExpr(LogicalBinary {
                    op: Operator::And | Operator::Or,
                    ..
                }) => Ok(match Condition::of(&expr, &schema)? {
                    Some(call) => Transformed::new(call, true, TreeNodeRecursion::Jump),
                    None => Transformed::new(expr, false, TreeNodeRecursion::Jump),
                }),
                _ => Ok(Transformed::no(expr)),
            })?;
            Ok(if guarded.transformed {
                guarded.update_data(|expr| name.restore(expr))
            } else {
                guarded
            })
        })
    })?;
    Ok(guarded.data)
}

/// A guarded condition as a function of what it reads.
#[derive(Debug)]
struct Condition {
    expr: Arc<dyn PhysicalExpr>,
    /// The arguments.
    schema: SchemaRef,
    signature: Signature,
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.expr.eq(&other.expr) && self.schema == other.schema
    }
}

impl Eq for Condition {}

impl Hash for Condition {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expr.hash(state);
    }
}

impl Condition {
    /// The call that stands for `expr`; `None` if that needs no guard, or holds what only DataFusion can evaluate.
    fn of(expr: &Expr, schema: &DFSchema) -> BoundResult<Option<Expr>> {
        let foreign = expr.exists(|expr| {
            Ok(matches!(
                expr,
                Expr::Exists(_)
                    | Expr::InSubquery(_)
                    | Expr::SetComparison(_)
                    | Expr::AggregateFunction(_)
                    | Expr::WindowFunction(_)
                    | Expr::HigherOrderFunction(_)
                    | Expr::LambdaVariable(_)
            ))
        })?;
        if foreign {
            return Ok(None);
        }
        let mut read: Vec<Expr> = Vec::new();
        let over_arguments = expr.clone().transform_down(|expr| {
            if !matches!(
                expr,
                Expr::Column(_) | Expr::OuterReferenceColumn(..) | Expr::ScalarSubquery(_)
            ) {
                return Ok(Transformed::no(expr));
            }
            let place = read.iter().position(|other| *other == expr);
            let place = place.unwrap_or_else(|| {
                read.push(expr);
                read.len() - 1
            });
            let argument = Expr::Column(ColumnName::new_unqualified(argument(place)));
            Ok(Transformed::new(argument, true, TreeNodeRecursion::Jump))
        })?;
        let fields = read
            .iter()
            .enumerate()
            .map(|(place, expr)| Ok(Field::new(argument(place), expr.get_type(schema)?, true)))
            .collect::<BoundResult<Vec<_>>>()?;
        let arguments = Arc::new(Schema::new(fields));
        let physical = create_physical_expr(
            &over_arguments.data,
            &DFSchema::try_from(Arc::clone(&arguments))?,
            &ExecutionProps::new(),
            &PhysicalPlanningContext::default(),
        )?;
        let guarded = guarded(&physical, &arguments)?;
        if Arc::ptr_eq(&guarded, &physical) {
            return Ok(None);
        }
        let volatility = if expr.is_volatile() {
            Volatility::Volatile
        } else {
            Volatility::Immutable
        };
        let condition = Self {
            expr: guarded,
            schema: arguments,
            signature: match read.is_empty() {
                true => Signature::nullary(volatility),
                false => Signature::variadic_any(volatility),
            },
        };
        Ok(Some(ScalarUDF::from(condition).call(read)))
    }
}

fn argument(place: usize) -> String {
    format!("argument_{place}")
}

impl ScalarUDFImpl for Condition {
    fn name(&self) -> &str {
        "condition"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let rows = args.number_rows;
        let columns = (args.args.into_iter())
            .map(|arg| arg.into_array(rows))
            .collect::<BoundResult<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        self.expr.evaluate(&batch)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use datafusion::physical_expr::expressions::{binary, col, is_not_null, lit};

    use super::*;

    /// Conditions in conditions, of which the innermost fails on all rows and no other part decides one: the rows are
    /// found in a time that does not multiply from level to level.
    #[test]
    fn rows_that_fail_are_found_through_many_levels() {
        const ROWS: i64 = 2_000;
        let fields = ["x", "y"].map(|name| Field::new(name, DataType::Int64, false));
        let schema = Schema::new(fields.to_vec());
        let x: ArrayRef = Arc::new(Int64Array::from_iter_values(0..ROWS));
        let y: ArrayRef = Arc::new(Int64Array::from_iter_values((0..ROWS).map(|_| 0)));
        let batch = RecordBatch::try_new(Arc::new(schema.clone()), vec![x, y]).unwrap();
        let column = |name| col(name, &schema).unwrap();
        let op = |left, op, right| binary(left, op, right, &schema).unwrap();
        for hidden in [false, true] {
            let ratio = op(lit(10_i64), Operator::Divide, column("y"));
            let mut condition = op(ratio, Operator::Gt, lit(1_i64));
            for level in 0..8_i64 {
                if hidden {
                    condition = is_not_null(condition).unwrap();
                }
                let (compare, junction) = if level % 2 == 0 {
                    (Operator::Gt, Operator::And)
                } else {
                    (Operator::Lt, Operator::Or)
                };
                let other = op(column("x"), compare, lit(-level - 1));
                condition = op(condition, junction, other);
            }
            let condition = guarded(&condition, &schema).unwrap();
            condition.evaluate(&batch).unwrap_err();
            let (values, failed) = outcomes(&condition, &batch).unwrap();
            assert_eq!(values.null_count(), batch.num_rows());
            let rows: Vec<usize> = failed.iter().map(|(row, _)| *row).collect();
            assert_eq!(rows, (0..batch.num_rows()).collect::<Vec<_>>());
        }
    }
}
