//! As-of joins over rows that are all there, in the time that it takes to sort them.
//!
//! ```text
//! left rows with their times, the columns of the right side NULL ─┐
//! right rows with theirs, those of the left side NULL ────────────┴ UNION ALL
//!     each row with the last right row before it, by key, in the order of time ─ of these the left rows
//! ```
//!
//! Right rows of one time come in the order of their columns, as in the engine. Those without a key or a time match nothing.

use std::sync::Arc;

use datafusion::common::{Column, Result as BoundResult, ScalarValue};
use datafusion::functions::core::{get_field, named_struct};
use datafusion::functions_window::nth_value::last_value_udwf;
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Case, Expr, ExprFunctionExt, JoinType, LogicalPlan, LogicalPlanBuilder, SortExpr, WindowFrame,
    WindowFunctionDefinition, cast, lit,
};

use crate::plan::as_of::AsOf;

/// Columns of the union.
const TIME: &str = "__time";
const IS_LEFT: &str = "__is_left";
/// A right row as one value, and the last of them before a row.
const RIGHT: &str = "__right";
const MATCHED: &str = "__matched";

fn named(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

fn key(place: usize) -> String {
    format!("__key_{place}")
}

/// The name of a side's column.
fn column(of_left: bool, place: usize) -> String {
    format!("__{}_{place}", if of_left { "l" } else { "r" })
}

/// The join as a plan of DataFusion's own nodes.
pub(super) fn joined(node: &AsOf) -> BoundResult<LogicalPlan> {
    let Some(times) = &node.times else {
        return with_what_is_there(node);
    };
    let union =
        LogicalPlanBuilder::from(side(node, times, true)?).union(side(node, times, false)?)?;
    let whole = union.project(with_rows(node))?.build()?;
    let matched = LogicalPlanBuilder::from(whole).window([last_right(node)?])?;
    let lefts = (node.left.schema().iter().enumerate()).map(|(place, (qualifier, field))| {
        named(&column(true, place)).alias_qualified(qualifier.cloned(), field.name().clone())
    });
    let rights = (node.right.schema().iter().enumerate()).map(|(place, (qualifier, field))| {
        let part = get_field().call(vec![named(MATCHED), lit(column(false, place))]);
        part.alias_qualified(qualifier.cloned(), field.name().clone())
    });
    let columns: Vec<Expr> = lefts.chain(rights).collect();
    let mut wanted = named(IS_LEFT);
    if !node.pads {
        wanted = wanted.and(named(MATCHED).is_not_null());
    }
    matched.filter(wanted)?.project(columns)?.build()
}

/// A snapshot reads all rows at once, so what is there when a left row comes is what is there.
fn with_what_is_there(node: &AsOf) -> BoundResult<LogicalPlan> {
    let kind = match node.pads {
        true => JoinType::Left,
        false => JoinType::Inner,
    };
    let on = node.on.iter().cloned().map(|(left, right)| left.eq(right));
    LogicalPlanBuilder::from(Arc::clone(&node.left))
        .join_on(node.right.as_ref().clone(), kind, on)?
        .build()
}

/// The rows of one side with all columns of the union.
fn side(node: &AsOf, times: &(Expr, Expr), is_left: bool) -> BoundResult<LogicalPlan> {
    let (plan, other) = if is_left {
        (&node.left, &node.right)
    } else {
        (&node.right, &node.left)
    };
    let of_side = |(left, right): &(Expr, Expr)| if is_left { left.clone() } else { right.clone() };
    let keys: Vec<Expr> = node.on.iter().map(of_side).collect();
    let time = of_side(times);
    let mut columns: Vec<Expr> = (keys.iter().enumerate())
        .map(|(place, expr)| expr.clone().alias(key(place)))
        .collect();
    columns.push(time.clone().alias(TIME));
    columns.push(lit(is_left).alias(IS_LEFT));
    for of_left in [true, false] {
        if of_left == is_left {
            let own = plan.schema().columns().into_iter().enumerate();
            columns.extend(own.map(|(place, own)| Expr::Column(own).alias(column(of_left, place))));
        } else {
            for (place, field) in other.schema().fields().iter().enumerate() {
                let nothing = cast(lit(ScalarValue::Null), field.data_type().clone());
                columns.push(nothing.alias(column(of_left, place)));
            }
        }
    }
    let mut rows = LogicalPlanBuilder::from(Arc::clone(plan));
    if !is_left {
        let known = keys.into_iter().chain([time]).map(Expr::is_not_null);
        if let Some(known) = conjunction(known) {
            rows = rows.filter(known)?;
        }
    }
    rows.project(columns)?.build()
}

/// The columns of the union, and the right row that each is, if it is one.
fn with_rows(node: &AsOf) -> Vec<Expr> {
    let (lefts, rights) = (
        node.left.schema().fields().len(),
        node.right.schema().fields().len(),
    );
    let mut columns: Vec<Expr> = (0..node.on.len()).map(|place| named(&key(place))).collect();
    columns.extend([named(TIME), named(IS_LEFT)]);
    columns.extend((0..lefts).map(|place| named(&column(true, place))));
    columns.extend((0..rights).map(|place| named(&column(false, place))));
    let fields = (0..rights).flat_map(|place| {
        let name = column(false, place);
        [lit(name.clone()), named(&name)]
    });
    let row = named_struct().call(fields.collect());
    let when = vec![(Box::new(!named(IS_LEFT)), Box::new(row))];
    columns.push(Expr::Case(Case::new(None, when, None)).alias(RIGHT));
    columns
}

fn last_right(node: &AsOf) -> BoundResult<Expr> {
    let forwards = !node.nearest.is_ahead();
    // Right rows of the time of a left row come before it if they count.
    let mut order = vec![
        SortExpr::new(named(TIME), forwards, true),
        SortExpr::new(named(IS_LEFT), node.nearest.takes_equal(), true),
    ];
    let rights = 0..node.right.schema().fields().len();
    order.extend(
        rights.map(|place| SortExpr::new(named(&column(false, place)), forwards, forwards)),
    );
    let last = WindowFunction::new(
        WindowFunctionDefinition::WindowUDF(last_value_udwf()),
        vec![named(RIGHT)],
    );
    Ok(Expr::from(last)
        .partition_by((0..node.on.len()).map(|place| named(&key(place))).collect())
        .order_by(order)
        .window_frame(WindowFrame::new(Some(true)))
        .null_treatment(NullTreatment::IgnoreNulls)
        .build()?
        .alias(MATCHED))
}
