//! A rule of bounded plans: joins yield.
//!
//! DataFusion's scans count against the budget of their task, and so a plan yields as long as it reads. A join makes
//! any number of batches out of one, with nothing read in between: its output counts as well.

use std::sync::Arc;

use datafusion::common::Result as BoundResult;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;

#[derive(Debug)]
pub(super) struct JoinsYield;

impl PhysicalOptimizerRule for JoinsYield {
    fn name(&self) -> &str {
        "joins_yield"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> BoundResult<Arc<dyn ExecutionPlan>> {
        let wrapped = plan.transform_up(|node| {
            if node.children().len() < 2 {
                return Ok(Transformed::no(node));
            }
            let node: Arc<dyn ExecutionPlan> = Arc::new(CooperativeExec::new(node));
            Ok(Transformed::yes(node))
        })?;
        Ok(wrapped.data)
    }

    fn schema_check(&self) -> bool {
        true
    }
}
