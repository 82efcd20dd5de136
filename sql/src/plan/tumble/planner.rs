//! The planner of the table factor: `TUMBLE(…)`, `HOP(…)`, `CUMULATE(…)` and `SESSION(…)` in FROM.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Column, DFSchema, DataFusionError, Result as BoundResult};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNode};
use sqlparser::ast::{Expr as SqlExpr, ObjectName, Spanned, TableFactor};
use streams::WindowGrid;

use super::interval::{MILLISECOND_US, interval_us};
use super::usage::Usage;
use super::{Tumble, WINDOW_COLUMNS, Windows, refused};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::parse::EVENT_TIME;
use crate::plan::session::Session;
use crate::plan::sql_type::type_name;
use crate::plan::trace::{Origin, origin};

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
