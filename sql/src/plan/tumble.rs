//! Windows: `TUMBLE(relation, time, size)`, `HOP(relation, time, slide, size)`, `CUMULATE(relation, time, step, size)`, each
//! with an offset behind if it is not aligned to the epoch: the logical node, its meaning over bounded input, and the
//! planner of the table factor, also of `SESSION` (`session.rs`).
//!
//! ```text
//! input columns …  │ window_start │ window_end │ window_time      window_time = window_end − 1 ms
//! ```
//!
//! A row of HOP and CUMULATE is there once for each window that its time lies in.
//!
//! Invariants:
//! 1. The time column is a requirement of the node: no rule prunes it away.
//! 2. No filter moves below the node that reads a column which only the node makes.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::builder::{ListBuilder, TimestampMicrosecondBuilder};
use arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{
    Column, DFSchema, DFSchemaRef, DataFusionError, Result as BoundResult, ScalarValue,
    UnnestOptions, internal_err,
};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Extension, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, UserDefinedLogicalNode, UserDefinedLogicalNodeCore, Volatility,
};
use sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, Spanned,
    TableFactor,
};
use streams::WindowGrid;

use super::session::Session;
use super::sql_type::{timestamp, type_name};
use super::trace::{Origin, origin};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::parse::{EVENT_TIME, PARTITION_BY};

/// What the node adds, in order.
pub(crate) const WINDOW_COLUMNS: [&str; 3] = ["window_start", "window_end", "window_time"];

pub(super) const MILLISECOND_US: i64 = 1_000;
const DAY_US: i64 = 86_400_000_000;

/// Windows that a row lies in, at most.
const WINDOWS_MAX: i64 = 10_000;

/// Puts each row into the window, or the windows, of its time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Tumble {
    pub input: Arc<LogicalPlan>,
    /// The time column of the input.
    pub time: Column,
    /// Length of a window, of the longest one, µs.
    pub size_us: i64,
    /// Windows that overlap; `None`: one begins where the one before ends.
    pub grid: Option<WindowGrid>,
    /// By how much windows are later than those that are aligned to the epoch, µs: not negative, less than from one window
    /// to the next.
    pub offset_us: i64,
    pub schema: DFSchemaRef,
}

/// Which windows there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Windows {
    size_us: i64,
    grid: Option<WindowGrid>,
    offset_us: i64,
}

impl Tumble {
    fn over(input: LogicalPlan, time: Column, windows: Windows) -> BoundResult<Self> {
        let Windows {
            size_us,
            grid,
            offset_us,
        } = windows;
        Ok(Self {
            schema: with_bounds(&input, &time)?,
            input: Arc::new(input),
            time,
            size_us,
            grid,
            offset_us,
        })
    }

    fn windows(&self) -> Windows {
        Windows {
            size_us: self.size_us,
            grid: self.grid,
            offset_us: self.offset_us,
        }
    }

    /// Index of the time column in the input.
    pub(crate) fn time_index(&self) -> BoundResult<usize> {
        self.input.schema().index_of_column(&self.time)
    }

    /// The same over bounded input: a projection, of rows that are repeated where windows overlap.
    pub(crate) fn bounded(&self, input: LogicalPlan) -> BoundResult<LogicalPlan> {
        match self.grid {
            None => self.bounded_tumbling(input),
            Some(grid) => self.bounded_overlapping(input, grid),
        }
    }

    fn bounded_overlapping(
        &self,
        input: LogicalPlan,
        grid: WindowGrid,
    ) -> BoundResult<LogicalPlan> {
        let [start, end, time] = WINDOW_COLUMNS;
        let part = |part: Part, of: Expr| {
            let part = WindowPart::new(grid, self.offset_us, part);
            ScalarUDF::from(part).call(vec![of])
        };
        let inputs: Vec<Expr> = (input.schema().columns().into_iter())
            .map(Expr::Column)
            .collect();
        let mut listed = inputs.clone();
        listed.push(part(Part::Ends, Expr::Column(self.time.clone())).alias(end));
        let end_column = Column::new_unqualified(end);
        let mut columns = inputs;
        let of_end = || Expr::Column(end_column.clone());
        columns.push(part(Part::Start, of_end()).alias(start));
        columns.push(of_end());
        columns.push(part(Part::Time, of_end()).alias(time));
        LogicalPlanBuilder::from(input)
            .filter(Expr::Column(self.time.clone()).is_not_null())?
            .project(listed)?
            .unnest_column_with_options(
                end_column.clone(),
                UnnestOptions::new().with_preserve_nulls(false),
            )?
            .project(columns)?
            .build()
    }

    fn bounded_tumbling(&self, input: LogicalPlan) -> BoundResult<LogicalPlan> {
        let mut columns: Vec<Expr> = input
            .schema()
            .columns()
            .into_iter()
            .map(Expr::Column)
            .collect();
        let shifts = [0, self.size_us, self.size_us - MILLISECOND_US];
        for (name, shift_us) in WINDOW_COLUMNS.into_iter().zip(shifts) {
            let bound = WindowBound::new(self.size_us, self.offset_us, shift_us);
            let bound = ScalarUDF::from(bound);
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

/// The columns of `input` and those of a window behind them.
pub(super) fn with_bounds(input: &LogicalPlan, time: &Column) -> BoundResult<DFSchemaRef> {
    let input = input.schema();
    let mut fields: Vec<_> = input
        .iter()
        .map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)))
        .collect();
    let time_field = input.field(input.index_of_column(time)?);
    for name in WINDOW_COLUMNS {
        let field = Field::new(name, time_field.data_type().clone(), false);
        fields.push((None, Arc::new(field)));
    }
    let schema = DFSchema::new_with_metadata(fields, input.metadata().clone())?;
    Ok(Arc::new(schema))
}

/// A time moved by so many µs.
pub(super) fn shifted(time: Expr, shift_us: i64) -> Expr {
    ScalarUDF::from(WindowBound::new(1, 0, shift_us)).call(vec![time])
}

impl PartialOrd for Tumble {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let own = (&self.time, self.size_us, self.grid, self.offset_us);
        Some(own.cmp(&(&other.time, other.size_us, other.grid, other.offset_us)))
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
        let size = interval_text(self.size_us);
        match self.grid {
            None => write!(f, "Tumble: {} by {size}", self.time),
            Some(WindowGrid::Hop { slide_us, .. }) => {
                let slide = interval_text(slide_us);
                write!(f, "Hop: {} by {slide} of {size}", self.time)
            }
            Some(WindowGrid::Cumulate { step_us, .. }) => {
                let step = interval_text(step_us);
                write!(f, "Cumulate: {} by {step} to {size}", self.time)
            }
        }
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
            Some(input) => Self::over(input, time, self.windows()),
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

/// Plans window functions in FROM.
#[derive(Debug)]
pub(crate) struct WindowPlanner;

impl RelationPlanner for WindowPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> BoundResult<RelationPlanning> {
        let TableFactor::Table {
            name, args, alias, ..
        } = &relation
        else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let span = Span::known(name.span());
        let Some(args) = args else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let function = name.to_string().to_lowercase();
        match function.as_str() {
            "tumble" | "hop" | "cumulate" | "session" => {}
            _ => {
                let message = format!("table function {function} does not exist");
                return Err(refused(
                    Diagnostic::new(Code::UnknownFunction, message)
                        .at(span)
                        .suggest_nearest(&function, ["tumble", "hop", "cumulate", "session"]),
                ));
            }
        }
        let alias = alias.clone();
        let usage = Usage::of(&function);
        let (keys, arguments) = usage.keys(&args.args);
        let (arguments, offset) = usage.arguments(&arguments, span)?;
        let mut arguments = arguments.into_iter();
        let (Some(input), Some(time)) = (arguments.next(), arguments.next()) else {
            return Err(usage.wrong(span));
        };
        let lengths: Vec<SqlExpr> = arguments.collect();
        let plan = context.plan(input_factor(&relation, &input)?)?;
        let time = time_column(&time, &plan, context)?;
        let lengths_us = (lengths.iter().map(|length| window_size(length, context)))
            .collect::<BoundResult<Vec<i64>>>()?;
        let (size_us, grid) = usage.grid(&lengths_us, span)?;
        let offset_us = match &offset {
            Some(offset) => fixed_length(offset, context)?,
            None => 0,
        };
        refuse_window_columns(&plan, Span::known(input.span()))?;
        let node: Arc<dyn UserDefinedLogicalNode> = if usage.name == "SESSION" {
            let keys = match keys {
                Some(keys) => {
                    let bound =
                        (keys.into_iter()).map(|key| context.sql_to_expr(key, plan.schema()));
                    Some(bound.collect::<BoundResult<Vec<Expr>>>()?)
                }
                None => None,
            };
            Arc::new(Session::over(plan, time, size_us, keys)?)
        } else {
            let windows = Windows {
                size_us,
                grid,
                offset_us: offset_us.rem_euclid(grid.map_or(size_us, WindowGrid::period_us)),
            };
            Arc::new(Tumble::over(plan, time, windows)?)
        };
        let plan = LogicalPlan::Extension(Extension { node });
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
            plan, alias,
        ))))
    }
}

pub(super) fn refused(diagnostic: Diagnostic) -> DataFusionError {
    DataFusionError::External(Box::new(diagnostic))
}

/// How a window function is called.
struct Usage {
    name: &'static str,
    /// Flink's names of its arguments, in order.
    arguments: &'static [&'static str],
    example: &'static str,
}

impl Usage {
    fn of(function: &str) -> Self {
        match function {
            "hop" => Self {
                name: "HOP",
                arguments: &["data", "timecol", "slide", "size"],
                example: "HOP(t, ts, INTERVAL '5 minutes', INTERVAL '1 hour'): the slide, then the size",
            },
            "cumulate" => Self {
                name: "CUMULATE",
                arguments: &["data", "timecol", "step", "size"],
                example: "CUMULATE(t, ts, INTERVAL '5 minutes', INTERVAL '1 hour'): the step, then the size",
            },
            "session" => Self {
                name: "SESSION",
                arguments: &["data", "timecol", "gap"],
                example: "SESSION(t, ts, INTERVAL '10 minutes', PARTITION BY k): the gap that ends a session, and its keys",
            },
            _ => Self {
                name: "TUMBLE",
                arguments: &["data", "timecol", "size"],
                example: "TUMBLE(t, ts, INTERVAL '1 hour')",
            },
        }
    }

    fn wrong(&self, span: Option<Span>) -> DataFusionError {
        let lengths = match self.arguments.len() {
            3 => "an interval",
            _ => "two intervals",
        };
        let message = format!(
            "{} takes a relation, its time column and {lengths}",
            self.name
        );
        refused(
            Diagnostic::new(Code::Syntax, message)
                .at(span)
                .help(self.example),
        )
    }

    /// The keys of a session, where they are named, and the other arguments. The parser writes PARTITION BY as an argument
    /// with a name.
    fn keys(&self, args: &[FunctionArg]) -> (Option<Vec<SqlExpr>>, Vec<FunctionArg>) {
        let mut keys = None;
        let mut others = Vec::with_capacity(args.len());
        for arg in args {
            match arg {
                FunctionArg::Named {
                    name,
                    arg: FunctionArgExpr::Expr(expr),
                    ..
                } if self.name == "SESSION" && name.value == PARTITION_BY => {
                    keys = Some(match expr {
                        SqlExpr::Tuple(exprs) => exprs.clone(),
                        SqlExpr::Nested(expr) => vec![expr.as_ref().clone()],
                        expr => vec![expr.clone()],
                    });
                }
                arg => others.push(arg.clone()),
            }
        }
        (keys, others)
    }

    /// The arguments in order, whether they are named or not, and the offset behind them.
    fn arguments(
        &self,
        args: &[FunctionArg],
        span: Option<Span>,
    ) -> BoundResult<(Vec<SqlExpr>, Option<SqlExpr>)> {
        let with_offset = usize::from(self.name != "SESSION");
        let mut found: Vec<Option<SqlExpr>> = vec![None; self.arguments.len() + with_offset];
        for (place, arg) in args.iter().enumerate() {
            let (place, expr) = match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => (Some(place), expr),
                FunctionArg::Named {
                    name,
                    arg: FunctionArgExpr::Expr(expr),
                    ..
                } => {
                    let name = name.value.to_lowercase();
                    let mut names = self.arguments.iter().chain(&["offset"]);
                    let place = names.position(|other| *other == name);
                    (place, expr)
                }
                _ => return Err(self.wrong(span)),
            };
            let slot = place.and_then(|place| found.get_mut(place));
            match slot.filter(|slot| slot.is_none()) {
                Some(slot) => *slot = Some(descriptor(expr)),
                None => return Err(self.wrong(span)),
            }
        }
        let offset = found.split_off(self.arguments.len()).pop().flatten();
        let found: Option<Vec<SqlExpr>> = found.into_iter().collect();
        let found = found.ok_or_else(|| self.wrong(span))?;
        Ok((found, offset))
    }

    /// The size of its windows, and how they overlap.
    fn grid(
        &self,
        lengths_us: &[i64],
        span: Option<Span>,
    ) -> BoundResult<(i64, Option<WindowGrid>)> {
        let (step_us, size_us) = match *lengths_us {
            [size_us] => return Ok((size_us, None)),
            [step_us, size_us] => (step_us, size_us),
            _ => return Err(self.wrong(span)),
        };
        let wrong = |message: String| {
            let diagnostic = Diagnostic::new(Code::Syntax, message).at(span);
            Err(refused(diagnostic.help(self.example)))
        };
        let [step, size] = [step_us, size_us].map(interval_text);
        let grid = if self.name == "HOP" {
            WindowGrid::Hop {
                slide_us: step_us,
                size_us,
            }
        } else {
            if size_us % step_us != 0 {
                return wrong(format!("steps of {step} do not make up {size}"));
            }
            WindowGrid::Cumulate { step_us, size_us }
        };
        if grid.windows_max() > WINDOWS_MAX {
            return wrong(format!(
                "a row would lie in {} windows, at most {WINDOWS_MAX} are possible: {step} in {size}",
                grid.windows_max()
            ));
        }
        Ok((size_us, Some(grid)))
    }
}

/// What Flink writes as `DESCRIPTOR(ts)`.
fn descriptor(expr: &SqlExpr) -> SqlExpr {
    if let SqlExpr::Function(function) = expr
        && function.name.to_string().eq_ignore_ascii_case("descriptor")
        && let FunctionArguments::List(list) = &function.args
        && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(column))] = list.args.as_slice()
    {
        return column.clone();
    }
    expr.clone()
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
                    .help("the first argument of a window is a source, table, view or (SELECT …)"),
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
    if matches!(time, SqlExpr::Identifier(name) if name.value == EVENT_TIME) {
        return event_time(plan);
    }
    let Expr::Column(column) = context.sql_to_expr(time.clone(), plan.schema())? else {
        return Err(refused(
            Diagnostic::new(Code::TimeColumn, format!("{time} is not a column"))
                .at(span)
                .help("the second argument of a window is the time column"),
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

/// The event time of what is windowed, where the text names none.
fn event_time(plan: &LogicalPlan) -> BoundResult<Column> {
    let is_time = |index: &usize| match origin(plan, *index) {
        Origin::Column(relation, place) => relation.times.iter().any(|time| time.column == place),
        Origin::Window { .. } | Origin::Computed => false,
    };
    let mut columns = 0..plan.schema().fields().len();
    match columns.find(is_time) {
        Some(index) => Ok(Column::from(plan.schema().qualified_field(index))),
        None => {
            let message = "what the window is over has no event time";
            Err(refused(Diagnostic::new(Code::TimeColumn, message).help(
                "declare it at the source: WATERMARK FOR ts AS ts - INTERVAL '5 seconds'",
            )))
        }
    }
}

fn window_size(size: &SqlExpr, context: &mut dyn RelationPlannerContext) -> BoundResult<i64> {
    match fixed_length(size, context)? {
        size_us if size_us >= MILLISECOND_US => Ok(size_us),
        _ => Err(wrong_length(
            size,
            "a window has to last at least a millisecond",
        )),
    }
}

/// An interval of days and less, µs.
fn fixed_length(length: &SqlExpr, context: &mut dyn RelationPlannerContext) -> BoundResult<i64> {
    let bound = context.sql_to_expr(length.clone(), &DFSchema::empty())?;
    let message = || format!("{length} is no fixed length of time");
    interval_us(&bound).ok_or_else(|| wrong_length(length, &message()))
}

fn wrong_length(length: &SqlExpr, message: &str) -> DataFusionError {
    refused(
        Diagnostic::new(Code::Syntax, message)
            .at(Span::known(length.span()))
            .help("a window's length is an interval of days and less: INTERVAL '1 hour'"),
    )
}

fn refuse_window_columns(plan: &LogicalPlan, span: Option<Span>) -> BoundResult<()> {
    for name in WINDOW_COLUMNS {
        if plan.schema().has_column_with_unqualified_name(name) {
            return Err(refused(
                Diagnostic::new(
                    Code::DuplicateColumn,
                    format!("the input of the window has a column {name} already"),
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

/// `floor((time − offset) / size) * size + offset + shift`: a bound of the window of a time.
#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowBound {
    size_us: i64,
    offset_us: i64,
    shift_us: i64,
    signature: Signature,
}

impl WindowBound {
    fn new(size_us: i64, offset_us: i64, shift_us: i64) -> Self {
        Self {
            size_us,
            offset_us,
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
            let before = time.checked_sub(self.offset_us)?.div_euclid(self.size_us);
            let start = before.checked_mul(self.size_us)?;
            start.checked_add(self.offset_us + self.shift_us)
        };
        let bounds: TimestampMicrosecondArray =
            time.iter().map(|time| time.and_then(bound)).collect();
        let bounds: ArrayRef = Arc::new(bounds.with_data_type(data_type));
        Ok(ColumnarValue::Array(bounds))
    }
}

/// What [`WindowPart`] computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    /// Of a time: the ends of its windows, as a list.
    Ends,
    /// Of a window's end: its start.
    Start,
    /// Of a window's end: its last moment.
    Time,
}

/// Windows that overlap, over bounded input.
#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowPart {
    grid: WindowGrid,
    offset_us: i64,
    part: Part,
    signature: Signature,
}

impl WindowPart {
    fn new(grid: WindowGrid, offset_us: i64, part: Part) -> Self {
        Self {
            grid,
            offset_us,
            part,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }

    fn of_end(&self, end: i64) -> i64 {
        match (self.part, self.grid) {
            (Part::Start, WindowGrid::Hop { size_us, .. }) => end.saturating_sub(size_us),
            (Part::Start, WindowGrid::Cumulate { size_us, .. }) => end
                .saturating_sub(1)
                .saturating_sub(self.offset_us)
                .div_euclid(size_us)
                .saturating_mul(size_us)
                .saturating_add(self.offset_us),
            (Part::Ends | Part::Time, _) => end.saturating_sub(MILLISECOND_US),
        }
    }
}

impl ScalarUDFImpl for WindowPart {
    fn name(&self) -> &str {
        match self.part {
            Part::Ends => "window_ends",
            Part::Start => "start_of_window",
            Part::Time => "time_of_window",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> BoundResult<DataType> {
        let time = args.first().cloned().unwrap_or_else(timestamp);
        Ok(match self.part {
            Part::Ends => DataType::new_list(time, true),
            Part::Start | Part::Time => time,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let rows = args.number_rows;
        let data_type = args.return_type().clone();
        let Some(time) = args.args.into_iter().next() else {
            return internal_err!("{} without argument", self.name());
        };
        let time = time.into_array(rows)?;
        let times = time.as_primitive::<TimestampMicrosecondType>();
        let values: ArrayRef = match self.part {
            Part::Ends => {
                let values =
                    TimestampMicrosecondBuilder::new().with_data_type(time.data_type().clone());
                let mut lists = ListBuilder::new(values);
                for time in times {
                    let windows = time.map(|time| {
                        let time = time.saturating_sub(self.offset_us);
                        self.grid.windows_of(time)
                    });
                    let ends = windows.map(|windows| {
                        windows.map(|(_, end)| Some(end.saturating_add(self.offset_us)))
                    });
                    lists.append_option(ends);
                }
                Arc::new(lists.finish())
            }
            Part::Start | Part::Time => {
                let bounds: TimestampMicrosecondArray = times.unary(|end| self.of_end(end));
                Arc::new(bounds.with_data_type(data_type))
            }
        };
        Ok(ColumnarValue::Array(values))
    }
}
