//! `FROM t CROSS JOIN UNNEST(t.list) AS u (x)`: rows joined with the elements of their own lists.
//!
//! ```text
//! text      UNNEST(a) WITH ORDINALITY AS u (x, n)   →   UNNEST(a, generate_series(1, array_length(a))) AS u (x, n)
//! binder    a lateral subquery over one empty row   →   the lists become columns of t, and are taken apart there
//! ```
//!
//! Functions that give rows are lists that are taken apart, too (`set_returning.rs`). A LEFT JOIN … ON true keeps a row whose list is empty or NULL. DataFusion's own rules leave such subqueries as they are, and
//! nothing evaluates them.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, NullHandling, Result as BoundResult, ScalarValue, UnnestOptions};
use datafusion::logical_expr::{Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Unnest};
use sqlparser::ast::{
    CastKind, DataType as SqlType, Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, Query, TableAlias,
    TableAliasColumnDef, TableFactor, Value, VisitMut, VisitorMut,
};

use super::lower::plain_column;

/// Writes ordinalities as lists of their own, and gives what has no name PostgreSQL's names.
pub(super) fn name_elements(query: &mut Query) {
    let _: ControlFlow<()> = query.visit(&mut Factors);
}

struct Factors;

impl VisitorMut for Factors {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let TableFactor::UNNEST {
            alias,
            array_exprs,
            with_ordinality,
            ..
        } = factor
        else {
            return ControlFlow::Continue(());
        };
        for list in array_exprs.iter_mut() {
            let _: ControlFlow<()> = list.visit(&mut Lists);
        }
        let is_single = array_exprs.len() == 1;
        let relation = match alias.as_ref() {
            Some(alias) => alias.name.clone(),
            None if is_single || *with_ordinality => Ident::new("unnest"),
            None => return ControlFlow::Continue(()),
        };
        let mut columns = match alias.take() {
            Some(alias) => alias.columns,
            None => Vec::new(),
        };
        if columns.is_empty() {
            // A function that gives one column names it as its relation.
            let name = |place| match (is_single, place) {
                (true, _) => relation.clone(),
                (false, _) => Ident::new("unnest"),
            };
            columns = (0..array_exprs.len())
                .map(|place| column(name(place)))
                .collect();
        }
        if std::mem::take(with_ordinality) {
            if columns.len() == array_exprs.len() {
                columns.push(column(Ident::new("ordinality")));
            }
            array_exprs.push(places(array_exprs));
        }
        *alias = Some(TableAlias {
            explicit: true,
            name: relation,
            columns,
            at: None,
        });
        ControlFlow::Continue(())
    }
}

/// Writes `ARRAY[…]` as the function that it is: DataFusion's binder finds no columns of the row beside it there.
struct Lists;

impl VisitorMut for Lists {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<()> {
        if let SqlExpr::Array(list) = expr {
            *expr = call("make_array", std::mem::take(&mut list.elem));
        }
        ControlFlow::Continue(())
    }
}

fn column(name: Ident) -> TableAliasColumnDef {
    TableAliasColumnDef {
        name,
        data_type: None,
    }
}

/// The numbers of the elements of the longest list, from 1 on.
fn places(lists: &[SqlExpr]) -> SqlExpr {
    let lengths: Vec<SqlExpr> = (lists.iter())
        .map(|list| call("array_length", vec![list.clone()]))
        .collect();
    let longest = match lengths.len() {
        1 => lengths.into_iter().next().unwrap_or_else(|| number(0)),
        _ => call("greatest", lengths),
    };
    let longest = SqlExpr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(longest),
        data_type: SqlType::BigInt(None),
        array: false,
        format: None,
    };
    call("generate_series", vec![number(1), longest])
}

fn number(number: u32) -> SqlExpr {
    SqlExpr::Value(Value::Number(number.to_string(), false).with_empty_span())
}

fn call(name: &str, args: Vec<SqlExpr>) -> SqlExpr {
    let arg = |expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr));
    SqlExpr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.into_iter().map(arg).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// `plan` with joins of rows and the elements of their lists written as what they are.
pub(super) fn unnest_joins(plan: LogicalPlan) -> BoundResult<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Join(join) = &plan else {
            return Ok(Transformed::no(plan));
        };
        match joined(join) {
            Some(joined) => joined.map(Transformed::yes),
            None => Ok(Transformed::no(plan)),
        }
    })?;
    Ok(rewritten.data)
}

/// The join as one operation on its left side; `None`: it is no join with elements.
fn joined(join: &Join) -> Option<BoundResult<LogicalPlan>> {
    let elements = Elements::of(&join.right)?;
    let keeps_empty = match join.join_type {
        JoinType::Inner => false,
        JoinType::Left => true,
        _ => return None,
    };
    let condition = match &join.filter {
        Some(Expr::Literal(ScalarValue::Boolean(Some(true)), _)) | None => None,
        // A row all of whose elements are sorted out would have to come back.
        Some(_) if keeps_empty => return None,
        Some(condition) => Some(condition.clone()),
    };
    join.on
        .is_empty()
        .then(|| elements.beside(join, keeps_empty, condition))
}

/// The right side of a join with elements.
struct Elements<'a> {
    /// The lists, computed from one row.
    lists: &'a [Expr],
    unnest: &'a Unnest,
    /// For each column of the side the one of `unnest` that it is.
    columns: Vec<Column>,
}

impl<'a> Elements<'a> {
    fn of(plan: &'a LogicalPlan) -> Option<Self> {
        let places = (0..plan.schema().fields().len()).collect();
        Self::below(plan, places)
    }

    /// The columns at `places` of `plan`.
    fn below(plan: &'a LogicalPlan, places: Vec<usize>) -> Option<Self> {
        match plan {
            LogicalPlan::SubqueryAlias(alias) => Self::below(&alias.input, places),
            LogicalPlan::Subquery(subquery) => Self::below(&subquery.subquery, places),
            LogicalPlan::Projection(projection) => {
                let below = |place: usize| {
                    let column = plain_column(projection.expr.get(place)?)?;
                    projection.input.schema().index_of_column(column).ok()
                };
                let places: Option<Vec<usize>> = places.into_iter().map(below).collect();
                Self::below(&projection.input, places?)
            }
            LogicalPlan::Unnest(unnest) => {
                let LogicalPlan::Projection(projection) = unnest.input.as_ref() else {
                    return None;
                };
                let LogicalPlan::EmptyRelation(empty) = projection.input.as_ref() else {
                    return None;
                };
                let column = |place| Column::from(unnest.schema.qualified_field(place));
                empty.produce_one_row.then(|| Self {
                    lists: &projection.expr,
                    unnest,
                    columns: places.into_iter().map(column).collect(),
                })
            }
            _ => None,
        }
    }

    /// The rows of the left side of `join`, each once an element.
    fn beside(
        &self,
        join: &Join,
        keeps_empty: bool,
        condition: Option<Expr>,
    ) -> BoundResult<LogicalPlan> {
        let own = || join.left.schema().columns().into_iter().map(Expr::Column);
        let lists = self.lists.iter().map(|list| {
            let list = list.clone().transform(|expr| match expr {
                Expr::OuterReferenceColumn(_, column) => Ok(Transformed::yes(Expr::Column(column))),
                other => Ok(Transformed::no(other)),
            });
            list.map(|list| list.data)
        });
        let lists = lists.collect::<BoundResult<Vec<Expr>>>()?;
        let options = UnnestOptions {
            null_handling: match keeps_empty {
                true => NullHandling::PreserveAndExpandEmpty,
                false => NullHandling::Drop,
            },
            ..self.unnest.options.clone()
        };
        let right = join.right.schema().iter().zip(&self.columns);
        let right = right.map(|((qualifier, field), column)| {
            Expr::Column(column.clone()).alias_qualified(qualifier.cloned(), field.name().clone())
        });
        let plan = LogicalPlanBuilder::from(Arc::clone(&join.left))
            .project(own().chain(lists))?
            .unnest_columns_with_options(self.unnest.exec_columns.clone(), options)?
            .project(own().chain(right))?;
        match condition {
            Some(condition) => plan.filter(condition)?.build(),
            None => plan.build(),
        }
    }
}
