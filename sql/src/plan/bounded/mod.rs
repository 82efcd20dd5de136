//! A bound query over rows that are all there: relations become what holds their rows, windows and as-of joins what DataFusion has.

mod as_of;
mod float_order;
mod offset;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DataFusionError, Result as BoundResult};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Distinct, LogicalPlan};

use super::as_of::AsOf;
use super::distinct_on::in_order;
use super::long_value::made_late;
use super::membership::closed_for_batch;
use super::relation_source::RelationSource;
use super::session::Session;
use super::system::SystemSource;
use super::tumble::Tumble;

/// Puts something to read behind every name, and a projection in the place of every window.
pub(crate) fn bounded(
    plan: LogicalPlan,
    providers: &HashMap<String, Arc<dyn TableProvider>>,
) -> BoundResult<LogicalPlan> {
    let rewritten = closed_for_batch(plan)?.transform_up_with_subqueries(|node| match node {
        LogicalPlan::TableScan(mut scan) => {
            let relation = scan.source.downcast_ref::<RelationSource>();
            let system = scan.source.downcast_ref::<SystemSource>();
            let name = match (relation, system) {
                (Some(source), _) => source.relation.name().to_owned(),
                (None, Some(source)) => source.table.full_name(),
                (None, None) => return Ok(Transformed::no(LogicalPlan::TableScan(scan))),
            };
            let Some(provider) = providers.get(&name) else {
                return Err(DataFusionError::Internal(format!("{name} was not bound")));
            };
            scan.source = provider_as_source(Arc::clone(provider));
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        }
        LogicalPlan::Extension(extension) => {
            let node = extension.node.as_any();
            if let Some(join) = node.downcast_ref::<AsOf>() {
                return as_of::joined(join).map(Transformed::yes);
            }
            if let Some(tumble) = node.downcast_ref::<Tumble>() {
                let input = tumble.input.as_ref().clone();
                return Ok(Transformed::yes(tumble.bounded(input)?));
            }
            if let Some(session) = node.downcast_ref::<Session>() {
                let input = session.input.as_ref().clone();
                return Ok(Transformed::yes(session.bounded(input)?));
            }
            Ok(Transformed::no(LogicalPlan::Extension(extension)))
        }
        LogicalPlan::Distinct(Distinct::On(distinct)) => in_order(distinct).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    })?;
    made_late(float_order::by_value(offset::numbered(rewritten.data)?)?)
}
