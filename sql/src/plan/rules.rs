//! The logical rules that a streaming plan goes through, by name.
//!
//! Every rule of DataFusion 55.2 was looked at once. Left out: `SingleDistinctToGroupBy` (nested aggregates are the
//! wrong shape for views that change), `FilterNullJoinKeys` (the join itself matches no NULL), `EliminateJoin` (what
//! matches nothing is an empty view over its sources), `PropagateEmptyRelation`
//! (an input that is empty now may not stay so), `EliminateFilter` (what never passes is an empty view over its sources,
//! not a query that reads none), limits (a ranking takes them as they stand), those that make other queries of unions, and
//! leaf-expression pushdown (no nested columns).

use std::sync::Arc;

use datafusion::optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion::optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerRule};

use super::distinct_on::DistinctOnIsRank;
use super::filters_down::FiltersDown;
use super::value_subquery::ValueSubqueries;

/// The optimizer of streaming plans.
pub(super) fn optimizer() -> Optimizer {
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(RewriteSetComparison::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(DistinctOnIsRank),
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(ValueSubqueries),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(FiltersDown::default()),
        Arc::new(CommonSubexprEliminate::new()),
        Arc::new(OptimizeProjections::new()),
    ];
    Optimizer::with_rules(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rule that an upgrade adds fails here, and is looked at before it is let in or left out.
    #[test]
    fn the_rules_of_datafusion_are_those_that_were_looked_at() {
        let names = |optimizer: Optimizer| -> Vec<String> {
            optimizer
                .rules
                .iter()
                .map(|rule| rule.name().to_owned())
                .collect()
        };
        let ours = names(optimizer());
        let left_out: Vec<String> = names(Optimizer::new())
            .into_iter()
            .filter(|rule| !ours.contains(rule))
            .collect();
        let looked_at = [
            "optimize_unions",
            "unions_to_filter",
            "eliminate_join",
            "eliminate_filter",
            "eliminate_limit",
            "propagate_empty_relation",
            "filter_null_join_keys",
            "push_down_limit",
            "single_distinct_aggregation_to_group_by",
            "eliminate_group_by_constant",
            "extract_leaf_expressions",
            "push_down_leaf_projections",
        ];
        assert_eq!(left_out, looked_at);
    }
}
