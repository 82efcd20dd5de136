//! A rule of bounded plans: joins yield, and end once nobody reads the answer.
//!
//! DataFusion's scans count against the budget of their task, and so a plan yields as long as it reads. A join makes
//! any number of batches out of one, with nothing read in between: its output counts as well. One whose condition
//! refuses all pairs has no output either: its condition asks for the reader.

use std::sync::{Arc, Weak};

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result as BoundResult};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
};

/// The rule, for the query of one reader.
#[derive(Debug)]
pub(crate) struct JoinsYield {
    /// Alive as long as the answer is read.
    pub reader: Weak<()>,
}

impl PhysicalOptimizerRule for JoinsYield {
    fn name(&self) -> &str {
        "joins_yield"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> BoundResult<Arc<dyn ExecutionPlan>> {
        let wrapped = plan.transform_up(|node| {
            if node.children().len() < 2 {
                return Ok(Transformed::no(node));
            }
            let node = self.with_condition(node, config)?;
            let node: Arc<dyn ExecutionPlan> = Arc::new(CooperativeExec::new(node));
            Ok(Transformed::yes(node))
        })?;
        Ok(wrapped.data)
    }

    fn schema_check(&self) -> bool {
        true
    }
}

impl JoinsYield {
    fn with_condition(
        &self,
        node: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> BoundResult<Arc<dyn ExecutionPlan>> {
        if let Some(join) = node.downcast_ref::<HashJoinExec>()
            && let Some(filter) = join.filter()
        {
            let filter = self.while_read(filter, config)?;
            return Ok(Arc::new(join.builder().with_filter(Some(filter)).build()?));
        }
        if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>()
            && let Some(filter) = join.filter()
        {
            let filter = self.while_read(filter, config)?;
            let join = NestedLoopJoinExecBuilder::from(join).with_filter(Some(filter));
            return Ok(Arc::new(join.build()?));
        }
        Ok(node)
    }

    fn while_read(&self, filter: &JoinFilter, config: &ConfigOptions) -> BoundResult<JoinFilter> {
        let function = Arc::new(ScalarUDF::from(WhileRead {
            reader: Reader(Weak::clone(&self.reader)),
            signature: Signature::any(1, Volatility::Volatile),
        }));
        let condition = ScalarFunctionExpr::try_new(
            function,
            vec![Arc::clone(filter.expression())],
            filter.schema(),
            Arc::new(config.clone()),
        )?;
        let columns = filter.column_indices().to_vec();
        let schema = Arc::clone(filter.schema());
        Ok(JoinFilter::new(Arc::new(condition), columns, schema))
    }
}

/// Gives back its argument as long as there is a reader.
#[derive(Debug, PartialEq, Eq, Hash)]
struct WhileRead {
    reader: Reader,
    signature: Signature,
}

#[derive(Debug)]
struct Reader(Weak<()>);

impl PartialEq for Reader {
    fn eq(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }
}

impl Eq for Reader {}

impl std::hash::Hash for Reader {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.as_ptr().hash(state);
    }
}

impl ScalarUDFImpl for WhileRead {
    fn name(&self) -> &str {
        "while_read"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        match args.args.pop() {
            Some(condition) if self.reader.0.strong_count() > 0 => Ok(condition),
            _ => Err(DataFusionError::Execution(
                "nobody reads the answer".to_owned(),
            )),
        }
    }
}
