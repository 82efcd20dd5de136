//! `TUMBLE(relation, time, INTERVAL …)`: the logical node, the planner of the table factor, and its meaning over
//! bounded input.
//!
//! ```text
//! input columns …  │ window_start │ window_end │ window_time      window_time = window_end − 1 ms
//! ```
//!
//! Invariants:
//! 1. The time column is a requirement of the node: no rule prunes it away.
//! 2. No filter moves below the node that reads a column which only the node makes.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{
    Column, DFSchema, DFSchemaRef, DataFusionError, Result as BoundResult, ScalarValue,
    internal_err,
};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Extension, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, UserDefinedLogicalNodeCore, Volatility,
};
use sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, ObjectName, Spanned, TableFactor,
};

use super::sql_type::{timestamp, type_name};
use super::trace::{Origin, origin};
use crate::diagnostic::{Code, Diagnostic, Span};

/// What the node adds, in order.
pub(crate) const WINDOW_COLUMNS: [&str; 3] = ["window_start", "window_end", "window_time"];

const MILLISECOND_US: i64 = 1_000;
const DAY_US: i64 = 86_400_000_000;

/// Puts each row into the window of its time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Tumble {
    pub input: Arc<LogicalPlan>,
    /// The time column of the input.
    pub time: Column,
    /// Length of a window, µs.
    pub size_us: i64,
    pub schema: DFSchemaRef,
}

impl Tumble {
    fn over(input: LogicalPlan, time: Column, size_us: i64) -> BoundResult<Self> {
        let schema = {
            let input = input.schema();
            let mut fields: Vec<_> = input
                .iter()
                .map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)))
                .collect();
            let data_type = input
                .field(input.index_of_column(&time)?)
                .data_type()
                .clone();
            for name in WINDOW_COLUMNS {
                fields.push((None, Arc::new(Field::new(name, data_type.clone(), false))));
            }
            Arc::new(DFSchema::new_with_metadata(
                fields,
                input.metadata().clone(),
            )?)
        };
        Ok(Self {
            input: Arc::new(input),
            time,
            size_us,
            schema,
        })
    }

    /// Index of the time column in the input.
    pub(crate) fn time_index(&self) -> BoundResult<usize> {
        self.input.schema().index_of_column(&self.time)
    }

    /// The same over bounded input: a projection.
    pub(crate) fn bounded(&self, input: LogicalPlan) -> BoundResult<LogicalPlan> {
        let mut columns: Vec<Expr> = input
            .schema()
            .columns()
            .into_iter()
            .map(Expr::Column)
            .collect();
        let shifts = [0, self.size_us, self.size_us - MILLISECOND_US];
        for (name, shift_us) in WINDOW_COLUMNS.into_iter().zip(shifts) {
            let bound = ScalarUDF::from(WindowBound::new(self.size_us, shift_us));
            columns.push(
                bound
                    .call(vec![Expr::Column(self.time.clone())])
                    .alias(name),
            );
        }
        LogicalPlanBuilder::from(input)
            .filter(Expr::Column(self.time.clone()).is_not_null())?
            .project(columns)?
            .build()
    }
}

impl PartialOrd for Tumble {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some((&self.time, self.size_us).cmp(&(&other.time, other.size_us)))
    }
}

impl UserDefinedLogicalNodeCore for Tumble {
    fn name(&self) -> &str {
        "Tumble"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![Expr::Column(self.time.clone())]
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        WINDOW_COLUMNS.into_iter().map(str::to_owned).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Tumble: {} by {}",
            self.time,
            interval_text(self.size_us)
        )
    }

    fn with_exprs_and_inputs(
        &self,
        exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> BoundResult<Self> {
        let time = match exprs.into_iter().next() {
            Some(Expr::Column(column)) => column,
            Some(Expr::Alias(alias)) => match *alias.expr {
                Expr::Column(column) => column,
                other => return internal_err!("the time of TUMBLE became {other}"),
            },
            other => return internal_err!("the time of TUMBLE became {other:?}"),
        };
        match inputs.pop() {
            Some(input) => Self::over(input, time, self.size_us),
            None => internal_err!("TUMBLE without input"),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let inputs = self.input.schema().fields().len();
        let mut needed: Vec<usize> = output_columns
            .iter()
            .copied()
            .filter(|&column| column < inputs)
            .collect();
        needed.push(self.time_index().ok()?);
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

/// Plans window functions in FROM, and refuses what DataFusion would ignore.
#[derive(Debug)]
pub(crate) struct WindowPlanner;

impl RelationPlanner for WindowPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> BoundResult<RelationPlanning> {
        let TableFactor::Table {
            name,
            args,
            version,
            alias,
            ..
        } = &relation
        else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let span = Span::known(name.span());
        if version.is_some() {
            return Err(refused(
                Diagnostic::new(Code::Unsupported, "FOR SYSTEM_TIME AS OF is not available")
                    .at(span)
                    .help("a plain JOIN works: a change on either side corrects the result"),
            ));
        }
        let Some(args) = args else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let function = name.to_string().to_lowercase();
        match function.as_str() {
            "tumble" => {}
            "hop" | "session" | "cumulate" => {
                let message = format!("{} windows are not available", function.to_uppercase());
                return Err(refused(
                    Diagnostic::new(Code::Unsupported, message)
                        .at(span)
                        .help("TUMBLE(t, ts, INTERVAL '1 hour') works"),
                ));
            }
            _ => {
                let message = format!("table function {function} does not exist");
                return Err(refused(
                    Diagnostic::new(Code::UnknownFunction, message)
                        .at(span)
                        .suggest_nearest(&function, ["tumble"]),
                ));
            }
        }
        let alias = alias.clone();
        let [input, time, size] = arguments(&args.args, span)?;
        let plan = context.plan(input_factor(&relation, &input)?)?;
        let time = time_column(&time, &plan, context)?;
        let size_us = window_size(&size, context)?;
        refuse_window_columns(&plan, Span::known(input.span()))?;
        let node = Tumble::over(plan, time, size_us)?;
        let plan = LogicalPlan::Extension(Extension {
            node: Arc::new(node),
        });
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
            plan, alias,
        ))))
    }
}

fn refused(diagnostic: Diagnostic) -> DataFusionError {
    DataFusionError::External(Box::new(diagnostic))
}

fn arguments(args: &[FunctionArg], span: Option<Span>) -> BoundResult<[SqlExpr; 3]> {
    let mut exprs = Vec::with_capacity(3);
    for arg in args {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => exprs.push(expr.clone()),
            _ => break,
        }
    }
    let complete = exprs.len() == args.len();
    exprs.try_into().ok().filter(|_| complete).ok_or_else(|| {
        refused(
            Diagnostic::new(
                Code::Syntax,
                "TUMBLE takes a relation, its time column and an interval",
            )
            .at(span)
            .help("TUMBLE(t, ts, INTERVAL '1 hour')"),
        )
    })
}

/// The first argument as a table factor: a name, or a subquery in parentheses.
fn input_factor(relation: &TableFactor, input: &SqlExpr) -> BoundResult<TableFactor> {
    let parts = match input {
        SqlExpr::Identifier(ident) => vec![ident.clone()],
        SqlExpr::CompoundIdentifier(parts) => parts.clone(),
        SqlExpr::Subquery(subquery) => {
            return Ok(TableFactor::Derived {
                lateral: false,
                subquery: subquery.clone(),
                alias: None,
                sample: None,
            });
        }
        other => {
            return Err(refused(
                Diagnostic::new(Code::Syntax, format!("{other} is no relation"))
                    .at(Span::known(other.span()))
                    .help("the first argument of TUMBLE is a source, table, view or (SELECT …)"),
            ));
        }
    };
    let mut factor = relation.clone();
    if let TableFactor::Table {
        name, alias, args, ..
    } = &mut factor
    {
        *name = ObjectName::from(parts);
        *alias = None;
        *args = None;
    }
    Ok(factor)
}

/// Checks that the named column is the event time of what is windowed.
fn time_column(
    time: &SqlExpr,
    plan: &LogicalPlan,
    context: &mut dyn RelationPlannerContext,
) -> BoundResult<Column> {
    let span = Span::known(time.span());
    let Expr::Column(column) = context.sql_to_expr(time.clone(), plan.schema())? else {
        return Err(refused(
            Diagnostic::new(Code::TimeColumn, format!("{time} is not a column"))
                .at(span)
                .help("the second argument of TUMBLE is the time column"),
        ));
    };
    let index = plan.schema().index_of_column(&column)?;
    let data_type = plan.schema().field(index).data_type();
    let is_time = matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, None));
    let name = &column.name;
    let found = origin(plan, index);
    if let Origin::Column(relation, place) = &found {
        let source = relation.name();
        match relation.times.first() {
            Some(_) if relation.times.iter().any(|time| time.column == *place) => {}
            Some(time) => {
                let declared = relation.schema.field(time.column).name();
                return Err(refused(
                    Diagnostic::new(
                        Code::TimeColumn,
                        format!("{name} is not the event time of {source}: {declared} is"),
                    )
                    .at(span)
                    .suggest(declared),
                ));
            }
            None if is_time => {
                return Err(refused(
                    Diagnostic::new(Code::TimeColumn, format!("{source} declares no event time"))
                        .at(span)
                        .help(format!(
                            "declare it: WATERMARK FOR {name} AS {name} - INTERVAL '5 seconds'; or take the records' own time with INCLUDE timestamp AS c"
                        )),
                ));
            }
            None => {}
        }
    }
    if !is_time {
        let message = format!(
            "{name} is of type {}, a window needs a TIMESTAMP",
            type_name(data_type)
        );
        return Err(refused(
            Diagnostic::new(Code::TimeColumn, message).at(span).help(
                "declare the column as TIMESTAMP: values with an offset are converted to UTC",
            ),
        ));
    }
    if let Origin::Computed = found {
        return Err(refused(
            Diagnostic::new(
                Code::TimeColumn,
                format!("{name} is computed, so it is no event time"),
            )
            .at(span)
            .help("pass the time column of the source through unchanged"),
        ));
    }
    Ok(column)
}

fn window_size(size: &SqlExpr, context: &mut dyn RelationPlannerContext) -> BoundResult<i64> {
    let span = Span::known(size.span());
    let wrong = |message: String| {
        refused(
            Diagnostic::new(Code::Syntax, message)
                .at(span)
                .help("a window's length is an interval of days and less: INTERVAL '1 hour'"),
        )
    };
    let bound = context.sql_to_expr(size.clone(), &DFSchema::empty())?;
    match interval_us(&bound) {
        Some(size_us) if size_us >= MILLISECOND_US => Ok(size_us),
        Some(_) => Err(wrong(
            "a window has to last at least a millisecond".to_owned(),
        )),
        None => Err(wrong(format!("{size} is no fixed length of time"))),
    }
}

fn refuse_window_columns(plan: &LogicalPlan, span: Option<Span>) -> BoundResult<()> {
    for name in WINDOW_COLUMNS {
        if plan.schema().has_column_with_unqualified_name(name) {
            return Err(refused(
                Diagnostic::new(
                    Code::DuplicateColumn,
                    format!("the input of TUMBLE has a column {name} already"),
                )
                .at(span)
                .help(format!(
                    "rename or drop it in a subquery: TUMBLE((SELECT {name} AS first_{name}, … FROM …), …)"
                )),
            ));
        }
    }
    Ok(())
}

/// The length of an interval literal of fixed length, µs.
pub(crate) fn interval_us(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(value)), _) if value.months == 0 => {
            let days = i64::from(value.days).checked_mul(DAY_US)?;
            days.checked_add(value.nanoseconds / 1_000)
        }
        Expr::Literal(ScalarValue::IntervalDayTime(Some(value)), _) => {
            let days = i64::from(value.days).checked_mul(DAY_US)?;
            days.checked_add(i64::from(value.milliseconds) * MILLISECOND_US)
        }
        Expr::Alias(alias) => interval_us(&alias.expr),
        _ => None,
    }
}

/// `1 hour`, `90 minutes`, `1 day`.
pub(crate) fn interval_text(us: i64) -> String {
    let units = [
        (DAY_US, "day"),
        (3_600_000_000, "hour"),
        (60_000_000, "minute"),
        (1_000_000, "second"),
        (1_000, "millisecond"),
        (1, "microsecond"),
    ];
    let (unit_us, unit) = units
        .into_iter()
        .find(|(unit_us, _)| us % unit_us == 0)
        .unwrap_or((1, "microsecond"));
    let count = us / unit_us;
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

/// `floor(time / size) * size + shift`: a bound of the window of a time.
#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowBound {
    size_us: i64,
    shift_us: i64,
    signature: Signature,
}

impl WindowBound {
    fn new(size_us: i64, shift_us: i64) -> Self {
        Self {
            size_us,
            shift_us,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for WindowBound {
    fn name(&self) -> &str {
        "window_bound"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> BoundResult<DataType> {
        Ok(args.first().cloned().unwrap_or_else(timestamp))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let data_type = args.return_type().clone();
        let rows = args.number_rows;
        let Some(time) = args.args.into_iter().next() else {
            return internal_err!("window_bound without argument");
        };
        let time = time.into_array(rows)?;
        let time = time.as_primitive::<TimestampMicrosecondType>();
        let bound = |time: i64| {
            let start = time.div_euclid(self.size_us).checked_mul(self.size_us)?;
            start.checked_add(self.shift_us)
        };
        let bounds: TimestampMicrosecondArray =
            time.iter().map(|time| time.and_then(bound)).collect();
        let bounds: ArrayRef = Arc::new(bounds.with_data_type(data_type));
        Ok(ColumnarValue::Array(bounds))
    }
}
