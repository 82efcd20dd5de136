//! Lowers rankings: ROW_NUMBER, RANK and DENSE_RANK, with the ranks that a condition above asks for, and ORDER BY with
//! LIMIT. DISTINCT ON is a ranking too (`plan/distinct_on.rs`).

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::Sort as SortExpr;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    BinaryExpr, Expr, Filter, Limit, LogicalPlan, Operator, Sort, Window, WindowFunctionDefinition,
};
use streams::{NodeKind, Rank, RankOrder, TopNSpec};

use super::over::call_of;
use super::{Lowering, Ordinal, Rows, TimeUse, plain_column, qualified};
use crate::diagnostic::Diagnostic;
use crate::plan::changes::Changes;
use crate::plan::expr::CastColumn;

/// All ranks.
const ALL: Range<u64> = 1..u64::MAX;

/// What is asked of the ranking that is lowered next.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    /// Of this function of a window only these ranks.
    Ranks(usize, Range<u64>),
    /// Of an order only these rows.
    Rows(Range<u64>),
}

/// A ranking function over partitions in an order.
struct Ranking<'a> {
    rank: Rank,
    partition_by: &'a [Expr],
    order_by: &'a [SortExpr],
    ranks: Range<u64>,
}

/// The ranking that a function of OVER is, if it is one.
fn rank_of(expr: &Expr) -> Option<Ranking<'_>> {
    let call = call_of(expr)?;
    let rank = match (&call.fun, call.fun.name()) {
        (WindowFunctionDefinition::WindowUDF(_), "row_number") => Rank::RowNumber,
        (WindowFunctionDefinition::WindowUDF(_), "rank") => Rank::Rank,
        (WindowFunctionDefinition::WindowUDF(_), "dense_rank") => Rank::DenseRank,
        _ => return None,
    };
    Some(Ranking {
        rank,
        partition_by: &call.params.partition_by,
        order_by: &call.params.order_by,
        ranks: ALL,
    })
}

impl Lowering<'_> {
    /// Lowers the functions of OVER.
    pub(super) fn window_functions(
        &mut self,
        window: &Window,
        time: Option<TimeUse>,
    ) -> Result<Rows, Diagnostic> {
        let asked = match self.asked.take() {
            Some(Asked::Ranks(function, ranks)) => Some((function, ranks)),
            _ => None,
        };
        let inputs = window.input.schema().fields().len();
        let time = time.filter(|time| time.column < inputs);
        let mut rows = self.judged(&window.input, time)?;
        let all = 0..window.window_expr.len();
        let (mut order, others): (Vec<usize>, Vec<usize>) =
            all.partition(|&place| rank_of(&window.window_expr[place]).is_some());
        rows = self.over(rows, window, others)?;
        // The one of which only some ranks go on comes last: the others are over all rows.
        order.sort_by_key(|&place| {
            asked
                .as_ref()
                .is_some_and(|(function, _)| *function == place)
        });
        for place in order {
            let Some(mut ranking) = rank_of(&window.window_expr[place]) else {
                continue;
            };
            if let Some((function, ranks)) = &asked
                && *function == place
            {
                ranking.ranks = ranks.clone();
            }
            let field = Arc::clone(&window.schema.fields()[inputs + place]);
            rows = self.ranked(rows, &ranking, field)?;
        }
        self.exactly(rows, &window.schema)
    }

    /// The rows with their ranks behind them, in a column as `field` says.
    fn ranked(
        &mut self,
        rows: Rows,
        ranking: &Ranking<'_>,
        field: Arc<Field>,
    ) -> Result<Rows, Diagnostic> {
        let planned = Arc::clone(&rows.schema);
        let order = ranking.order_by.iter().map(|sort| &sort.expr);
        let keys: Vec<&Expr> = ranking.partition_by.iter().chain(order).collect();
        let (rows, places) = self.join_side(rows, &keys)?;
        let (partition_by, order_by) = places.split_at(ranking.partition_by.len());
        let order = order_by.iter().zip(ranking.order_by);
        let order = order.map(|(&column, sort)| RankOrder {
            column,
            descending: !sort.asc,
            nulls_first: sort.nulls_first,
        });
        let spec = TopNSpec {
            partition_by: partition_by.to_vec(),
            order_by: order.collect(),
            rank: ranking.rank,
            ranks: ranking.ranks.clone(),
        };
        let number = rows.schema.fields().len();
        let is_number = spec.rank == Rank::RowNumber;
        let changes = if is_number && spec.ranks.end <= 2 {
            Changes::Keyed(spec.partition_by.clone())
        } else if let Some(key) = rows.changes.key() {
            Changes::Keyed(key.to_vec())
        } else if is_number {
            Changes::Keyed([spec.partition_by.as_slice(), &[number]].concat())
        } else {
            Changes::Unkeyed("rows of one rank may be equal".to_owned())
        };
        let mut fields = qualified(&rows.schema);
        let rank = field.as_ref().clone().with_data_type(DataType::Int64);
        fields.push((None, Arc::new(rank)));
        let schema = self.schema(fields)?;
        let node = self.push(
            Ordinal::TopN,
            vec![rows.node],
            schema.inner(),
            NodeKind::TopN(spec),
        );
        let mut bounds = rows.bounds;
        bounds.push(None);
        let ranked = Rows {
            node,
            schema,
            bounds,
            changes,
        };
        self.as_planned(ranked, |place| match place {
            place if place == number => Some(field.data_type()),
            place => planned.fields().get(place).map(|field| field.data_type()),
        })
    }

    /// The rows with the types that expressions above were planned with.
    pub(super) fn as_planned<'t>(
        &mut self,
        rows: Rows,
        planned: impl Fn(usize) -> Option<&'t DataType>,
    ) -> Result<Rows, Diagnostic> {
        let mut fields = qualified(&rows.schema);
        let mut exprs: Vec<Arc<dyn streams::BatchExpr>> = Vec::with_capacity(fields.len());
        let mut same = true;
        for (place, (_, field)) in fields.iter_mut().enumerate() {
            match planned(place) {
                Some(planned) if planned != field.data_type() => {
                    same = false;
                    *field = Arc::new(field.as_ref().clone().with_data_type(planned.clone()));
                    exprs.push(Arc::new(CastColumn {
                        column: place,
                        data_type: planned.clone(),
                        name: field.name().clone(),
                    }));
                }
                _ => exprs.push(Arc::new(streams::ColumnExpr(place))),
            }
        }
        if same {
            return Ok(rows);
        }
        let schema = self.schema(fields)?;
        let node = self.map(rows.node, exprs, schema.inner());
        Ok(Rows {
            node,
            schema,
            ..rows
        })
    }

    pub(super) fn limit(
        &mut self,
        limit: &Limit,
        time: Option<TimeUse>,
    ) -> Result<Rows, Diagnostic> {
        let number = |expr: &Option<Box<Expr>>, otherwise: u64| match expr.as_deref() {
            None => Some(otherwise),
            Some(Expr::Literal(value, _)) => whole(value),
            Some(_) => None,
        };
        let (Some(skip), Some(fetch)) = (number(&limit.skip, 0), number(&limit.fetch, u64::MAX))
        else {
            return Err(self.refuse("a LIMIT that is no number", "LIMIT", "write the number out"));
        };
        let first = skip.saturating_add(1);
        let asked = first..first.saturating_add(fetch);
        if is_ordered(&limit.input) {
            self.asked = Some(Asked::Rows(asked));
            return self.lower(&limit.input, time);
        }
        let rows = self.judged(&limit.input, time)?;
        self.taken(rows, &[], asked, &limit.input)
    }

    pub(super) fn sort(&mut self, sort: &Sort, time: Option<TimeUse>) -> Result<Rows, Diagnostic> {
        let mut asked = match self.asked.take() {
            Some(Asked::Rows(asked)) => Some(asked),
            _ => None,
        };
        if let Some(fetch) = sort.fetch {
            let all = asked.get_or_insert(ALL);
            all.end = all.end.min(1 + fetch as u64);
        }
        let Some(asked) = asked else {
            return Err(self.refuse(
                "ORDER BY without LIMIT",
                "ORDER",
                "leave it out here, and order what you read: SELECT … FROM view ORDER BY …; with LIMIT it works",
            ));
        };
        let rows = self.judged(&sort.input, time)?;
        self.taken(rows, &sort.expr, asked, &sort.input)
    }

    /// The rows at these places of an order.
    fn taken(
        &mut self,
        rows: Rows,
        order_by: &[SortExpr],
        ranks: Range<u64>,
        input: &LogicalPlan,
    ) -> Result<Rows, Diagnostic> {
        let ranking = Ranking {
            rank: Rank::RowNumber,
            partition_by: &[],
            order_by,
            ranks,
        };
        let number = Field::new(self.hidden_name(), DataType::Int64, false);
        let rows = self.ranked(rows, &ranking, Arc::new(number))?;
        self.exactly(rows, input.schema())
    }
}

/// Whether rows come in an order that the query asks for, seen through what keeps it.
fn is_ordered(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Projection(projection) => is_ordered(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_ordered(&alias.input),
        _ => false,
    }
}

/// The ranks that a condition asks for of a function of OVER that it stands above.
pub(super) fn asked(filter: &Filter) -> Option<Asked> {
    let mut found: Option<(usize, Range<u64>)> = None;
    for condition in split_conjunction(&filter.predicate) {
        let Some((column, ranks)) = compared(condition) else {
            continue;
        };
        let Ok(place) = filter.input.schema().index_of_column(column) else {
            continue;
        };
        let Some(function) = function_of(&filter.input, place) else {
            continue;
        };
        match &mut found {
            None => found = Some((function, ranks)),
            Some((other, both)) if *other == function => {
                *both = both.start.max(ranks.start)..both.end.min(ranks.end);
            }
            Some(_) => {}
        }
    }
    found.map(|(function, ranks)| Asked::Ranks(function, ranks))
}

/// A column, and the ranks that a comparison with a number lets through.
fn compared(condition: &Expr) -> Option<(&datafusion::common::Column, Range<u64>)> {
    if let Expr::Between(between) = condition
        && !between.negated
    {
        let column = without_cast(&between.expr)?;
        let (low, high) = (number(&between.low)?, number(&between.high)?);
        return Some((column, low.max(1)..high.saturating_add(1)));
    }
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else {
        return None;
    };
    let (column, op, value) = match (without_cast(left), number(right)) {
        (Some(column), Some(value)) => (column, *op, value),
        _ => (without_cast(right)?, op.swap()?, number(left)?),
    };
    let ranks = match op {
        Operator::Eq => value.max(1)..value.saturating_add(1),
        Operator::Lt => 1..value,
        Operator::LtEq => 1..value.saturating_add(1),
        Operator::Gt => value.saturating_add(1)..u64::MAX,
        Operator::GtEq => value.max(1)..u64::MAX,
        _ => return None,
    };
    Some((column, ranks))
}

fn without_cast(expr: &Expr) -> Option<&datafusion::common::Column> {
    match expr {
        Expr::Cast(cast) if cast.field.data_type().is_numeric() => without_cast(&cast.expr),
        expr => plain_column(expr),
    }
}

fn number(expr: &Expr) -> Option<u64> {
    match expr {
        Expr::Literal(value, _) => whole(value),
        _ => None,
    }
}

/// A whole number that is not negative; NULL is none.
fn whole(value: &ScalarValue) -> Option<u64> {
    if !value.data_type().is_integer() || value.is_null() {
        return None;
    }
    match value.cast_to(&DataType::UInt64) {
        Ok(ScalarValue::UInt64(Some(value))) => Some(value),
        _ => None,
    }
}

/// Which function of OVER column `place` of `plan` is.
fn function_of(plan: &LogicalPlan, place: usize) -> Option<usize> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => function_of(&alias.input, place),
        LogicalPlan::Projection(projection) => {
            let column = plain_column(projection.expr.get(place)?)?;
            let below = projection.input.schema().index_of_column(column).ok()?;
            function_of(&projection.input, below)
        }
        LogicalPlan::Window(window) => place.checked_sub(window.input.schema().fields().len()),
        _ => None,
    }
}
