//! Lowers functions of OVER: those that share partition and order become one operator, which has DataFusion's window
//! expressions compute over neighbouring rows.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_empty_array, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, Window, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
};
use datafusion::physical_expr::window::WindowExpr;
use datafusion::physical_planner::create_window_expr;
use streams::{
    BatchExpr, ExprError, NodeKind, OverFunction, OverSpec, OverValues, RankOrder, Reach,
};

use super::running::RunningCall;
use super::{Lowering, Ordinal, Rows, nullable, plain_column, qualified};
use crate::diagnostic::{Diagnostic, Words, translate};
use crate::plan::changes::Changes;
use crate::plan::expr::{pretty, text};
use crate::plan::metered_over::MeteredAggregate;

/// A call of OVER without its name.
pub(super) fn call_of(expr: &Expr) -> Option<&WindowFunction> {
    match expr {
        Expr::Alias(alias) => call_of(&alias.expr),
        Expr::WindowFunction(call) => Some(call),
        _ => None,
    }
}

impl Lowering<'_> {
    /// The rows with the values of these functions of `window` behind them.
    pub(super) fn over(
        &mut self,
        mut rows: Rows,
        window: &Window,
        places: Vec<usize>,
    ) -> Result<Rows, Diagnostic> {
        let mut left = places;
        while let Some(&first) = left.first() {
            let order = |place: usize| {
                let call = call_of(&window.window_expr[place])?;
                Some((&call.params.partition_by, &call.params.order_by))
            };
            let (alike, others): (Vec<usize>, Vec<usize>) = left
                .iter()
                .partition(|place| order(**place) == order(first));
            left = others;
            rows = self.over_one(rows, window, &alike)?;
        }
        Ok(rows)
    }

    /// The same for functions that share their partition and order.
    fn over_one(
        &mut self,
        rows: Rows,
        window: &Window,
        places: &[usize],
    ) -> Result<Rows, Diagnostic> {
        let planned = Arc::clone(&rows.schema);
        let calls = places.iter().map(|&place| &window.window_expr[place]);
        let calls: Vec<(&Expr, &WindowFunction)> = calls
            .filter_map(|expr| Some((expr, call_of(expr)?)))
            .collect();
        let Some((_, first)) = calls.first() else {
            return Ok(rows);
        };
        let (partition_by, order_by) = (&first.params.partition_by, &first.params.order_by);
        let order = order_by.iter().map(|sort| &sort.expr);
        let inputs = window.input.schema().fields().len();
        let mut running = Vec::with_capacity(calls.len());
        for (&place, (_, call)) in places.iter().zip(&calls) {
            let output = self.settle(&window.schema.fields()[inputs + place])?;
            running.push(self.running(call, &output, &rows)?);
        }
        // Arguments that are computed become columns: what fails on a row is that row's error.
        let around = calls
            .iter()
            .zip(&running)
            .filter(|(_, running)| running.is_none());
        let computed = around.flat_map(|((_, call), _)| &call.params.args);
        let computed = computed.filter(|arg| {
            let arg: &Expr = arg;
            plain_column(arg).is_none() && !matches!(arg.clone().unalias(), Expr::Literal(..))
        });
        let computed: Vec<&Expr> = computed.collect();
        let keys = partition_by
            .iter()
            .chain(order)
            .chain(computed.iter().copied())
            .chain(running.iter().flatten().flat_map(RunningCall::inputs));
        let keys: Vec<&Expr> = keys.collect();
        let (rows, columns) = self.join_side(rows, &keys)?;
        let (by, arguments) = columns.split_at(partition_by.len() + order_by.len());
        let (arguments, mut of_running) = arguments.split_at(computed.len());
        let (partition, order) = by.split_at(partition_by.len());
        let order: Vec<RankOrder> = (order.iter().zip(order_by))
            .map(|(&column, sort)| RankOrder {
                column,
                descending: !sort.asc,
                nulls_first: sort.nulls_first,
            })
            .collect();
        // The rows as the functions were planned over them.
        let mut fields = qualified(&rows.schema);
        for (field, planned) in fields.iter_mut().zip(planned.fields()) {
            field.1 = Arc::clone(planned);
        }
        let schema = self.schema(fields)?;
        let by_time = is_by_time(&order, rows.schema.inner());
        let mut functions = Vec::with_capacity(calls.len());
        let mut added = Vec::with_capacity(calls.len());
        for ((&place, (expr, call)), running) in places.iter().zip(&calls).zip(&running) {
            let field = &window.schema.fields()[inputs + place];
            if let Some(running) = running {
                let output = self.settle(field)?;
                let (columns, others) = of_running.split_at(running.inputs().count());
                of_running = others;
                functions.push(OverFunction {
                    name: pretty(field.name()),
                    values: running.over(columns, output.clone()),
                    output: output.clone(),
                });
                added.push((Arc::clone(field), output));
                continue;
            }
            let over_columns = replaced((*expr).clone(), &computed, arguments, &schema);
            let over_columns = over_columns.map_err(|error| self.bound(&error))?;
            let output = self.settle(field)?;
            let values = OverExpr::compile(&over_columns, &schema, &output);
            let values = values.map_err(|error| {
                let name = call.fun.name();
                let reason = translate(&error, self.words).message;
                self.refuse(&format!("{name} over such rows"), name, &reason)
            })?;
            let (behind, ahead) = reach(call, by_time);
            functions.push(OverFunction {
                name: pretty(field.name()),
                values: OverValues::Around {
                    values: Arc::new(values),
                    behind,
                    ahead,
                },
                output: output.clone(),
            });
            added.push((Arc::clone(field), output));
        }
        let spec = OverSpec {
            partition_by: partition.to_vec(),
            order_by: order,
            functions,
        };
        let changes = match rows.changes.key() {
            Some(key) => Changes::Keyed(key.to_vec()),
            None => Changes::Unkeyed("rows with equal values may be equal".to_owned()),
        };
        let mut fields = qualified(&rows.schema);
        let first_value = fields.len();
        fields.extend(added.iter().map(|(field, output)| {
            let field = field.as_ref().clone().with_data_type(output.clone());
            (None, Arc::new(field))
        }));
        let schema = self.schema(fields)?;
        let node = self.push(
            Ordinal::Over,
            vec![rows.node],
            schema.inner(),
            NodeKind::Over(spec),
        );
        let mut bounds = rows.bounds;
        bounds.resize(schema.fields().len(), None);
        let rows = Rows {
            node,
            schema,
            bounds,
            changes,
        };
        self.as_planned(rows, |place| match place.checked_sub(first_value) {
            Some(value) => added.get(value).map(|(field, _)| field.data_type()),
            None => planned.fields().get(place).map(|field| field.data_type()),
        })
    }
}

/// A call over the columns that its computed arguments have become.
fn replaced(
    expr: Expr,
    computed: &[&Expr],
    columns: &[usize],
    schema: &datafusion::common::DFSchema,
) -> BoundResult<Expr> {
    let column = |arg: &Expr| {
        let place = computed.iter().position(|other| *other == arg)?;
        Some(Column::from(schema.qualified_field(columns[place])))
    };
    let replaced = expr.transform_down(|expr| match expr {
        Expr::WindowFunction(mut call) => {
            for arg in &mut call.params.args {
                if let Some(column) = column(arg) {
                    *arg = Expr::Column(column);
                }
            }
            Ok(Transformed::new(
                Expr::WindowFunction(call),
                true,
                datafusion::common::tree_node::TreeNodeRecursion::Jump,
            ))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(replaced.data)
}

fn is_by_time(order: &[RankOrder], schema: &SchemaRef) -> bool {
    let [by] = order else { return false };
    let data_type = schema.field(by.column).data_type();
    !by.descending && matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, _))
}

/// How far a call looks before a row and behind it; `by_time`: the rows are in the order of one rising time.
fn reach(call: &WindowFunction, by_time: bool) -> (Reach, Reach) {
    let none = Reach::Rows(0);
    let name = call.fun.name();
    if let WindowFunctionDefinition::WindowUDF(_) = call.fun
        && !matches!(name, "first_value" | "last_value" | "nth_value")
    {
        let shifts = matches!(name, "lag" | "lead");
        let skips = call.params.null_treatment == Some(NullTreatment::IgnoreNulls);
        let rows = match call.params.args.get(1) {
            None => Some(1),
            Some(Expr::Literal(value, _)) if value.is_null() => Some(1),
            Some(Expr::Literal(value, _)) => match value.cast_to(&DataType::Int64) {
                Ok(ScalarValue::Int64(rows)) => rows,
                _ => None,
            },
            Some(_) => None,
        };
        let Some(rows) = rows.filter(|_| shifts && !skips) else {
            return (Reach::All, Reach::All);
        };
        let looks_back = (rows >= 0) == (name == "lag");
        let reach = Reach::Rows(rows.unsigned_abs());
        return if looks_back {
            (reach, none)
        } else {
            (none, reach)
        };
    }
    let frame = &call.params.window_frame;
    let (start, end) = (&frame.start_bound, &frame.end_bound);
    match frame.units {
        WindowFrameUnits::Rows => {
            let rows = |value: &ScalarValue| match value.cast_to(&DataType::UInt64) {
                Ok(ScalarValue::UInt64(Some(rows))) => Reach::Rows(rows),
                _ => Reach::All,
            };
            let behind = match start {
                WindowFrameBound::Preceding(value) => rows(value),
                _ => none,
            };
            let ahead = match end {
                WindowFrameBound::Following(value) => rows(value),
                _ => none,
            };
            (behind, ahead)
        }
        WindowFrameUnits::Range => {
            let time = |value: &ScalarValue| match interval_us(value) {
                Some(us) if by_time => Reach::Time(us),
                _ => Reach::All,
            };
            let peers = Reach::Peers;
            let behind = match start {
                WindowFrameBound::Preceding(value) => time(value),
                _ => peers,
            };
            let ahead = match end {
                WindowFrameBound::Following(value) => time(value),
                _ => peers,
            };
            (behind, ahead)
        }
        WindowFrameUnits::Groups => (Reach::All, Reach::All),
    }
}

/// The length of an interval of days and less, rounded up, µs.
fn interval_us(value: &ScalarValue) -> Option<i64> {
    const DAY_US: i64 = 86_400_000_000;
    match value {
        ScalarValue::IntervalMonthDayNano(Some(value)) if value.months == 0 => {
            let days = i64::from(value.days).checked_mul(DAY_US)?;
            let rest = value.nanoseconds.div_euclid(1_000) + 1;
            days.checked_add(rest).filter(|us| *us >= 0)
        }
        ScalarValue::IntervalDayTime(Some(value)) => {
            let days = i64::from(value.days).checked_mul(DAY_US)?;
            let us = days.checked_add(i64::from(value.milliseconds) * 1_000)?;
            (us >= 0).then_some(us)
        }
        _ => None,
    }
}

/// A function of OVER over neighbouring rows of a partition.
struct OverExpr {
    window: Arc<dyn WindowExpr>,
    /// The rows as it was planned over them.
    planned: SchemaRef,
    output: DataType,
    text: String,
}

impl OverExpr {
    fn compile(
        expr: &Expr,
        schema: &datafusion::common::DFSchema,
        output: &DataType,
    ) -> BoundResult<Self> {
        let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
        let window = create_window_expr(&moving(expr)?, schema, &props, &context)?;
        // What cannot be computed over any rows is refused now.
        let nulls = schema.fields().iter();
        let nulls = nulls.map(|field| new_null_array(field.data_type(), 1));
        window.evaluate(&RecordBatch::try_new(
            nullable(schema.inner()),
            nulls.collect(),
        )?)?;
        Ok(Self {
            window,
            planned: Arc::clone(schema.inner()),
            output: output.clone(),
            text: text(expr),
        })
    }

    fn values(&self, rows: &RecordBatch) -> BoundResult<ArrayRef> {
        let columns = rows.columns().iter().zip(self.planned.fields());
        let columns =
            columns.map(
                |(column, field)| match column.data_type() == field.data_type() {
                    true => Ok(Arc::clone(column)),
                    false => cast(column, field.data_type()),
                },
            );
        let columns: Result<Vec<ArrayRef>, _> = columns.collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let rows = RecordBatch::try_new_with_options(nullable(&self.planned), columns?, &options)?;
        let values = self.window.evaluate(&rows)?;
        match values.data_type() == &self.output {
            true => Ok(values),
            false => Ok(cast(&values, &self.output)?),
        }
    }
}

/// A function of OVER whose aggregate moves with any frame.
fn moving(expr: &Expr) -> BoundResult<Expr> {
    let moving = expr.clone().transform_up(|expr| match expr {
        Expr::WindowFunction(mut call) => {
            if let WindowFunctionDefinition::AggregateUDF(function) = &call.fun {
                let function = Arc::new(MeteredAggregate::over(function, None));
                call.fun = WindowFunctionDefinition::AggregateUDF(function);
            }
            Ok(Transformed::yes(Expr::WindowFunction(call)))
        }
        expr => Ok(Transformed::no(expr)),
    })?;
    Ok(moving.data)
}

impl fmt::Debug for OverExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl BatchExpr for OverExpr {
    fn eval(&self, rows: &RecordBatch) -> Result<ArrayRef, ExprError> {
        let explain =
            |error: DataFusionError| ExprError::new(translate(&error, &Words::default()).message);
        if rows.num_rows() == 0 {
            return Ok(new_empty_array(&self.output));
        }
        self.values(rows).map_err(explain)
    }
}
