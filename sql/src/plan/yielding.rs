//! A rule of bounded plans: they yield, end once nobody reads the answer, and hold no more memory than their query has.
//!
//! ```text
//! scan                 →   Watched: asks for the reader, batch by batch
//! UNNEST               →   its rows in batches of the usual size, however long a list is; a series is never whole
//! OVER all rows        →   what it keeps counts against the memory of the query
//! join                 →   yields, its condition asks for the reader
//! ```
//!
//! DataFusion's scans count against the budget of their task, and so a plan yields as long as it reads. A join makes
//! any number of batches out of one, with nothing read in between: its output counts as well. One whose condition
//! refuses all pairs has no output either: its condition asks for the reader.

use std::fmt;
use std::sync::{Arc, Weak};

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result as BoundResult, internal_err};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::WindowAggExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, replace_children_if_necessary,
};
use futures::stream::{self, StreamExt};

use super::metered::{batch_bytes, nobody_reads};
use super::series_pieces::in_pieces;

/// The rule, for the query of one reader.
#[derive(Debug)]
pub(crate) struct WhileRead {
    /// Alive as long as the answer is read.
    pub reader: Weak<()>,
}

impl PhysicalOptimizerRule for WhileRead {
    fn name(&self) -> &str {
        "while_read"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> BoundResult<Arc<dyn ExecutionPlan>> {
        let wrapped = plan.transform_up(|node| {
            let children = node.children().len();
            let node = in_pieces(node)?;
            if children == 0 || node.downcast_ref::<UnnestExec>().is_some() {
                return Ok(Transformed::yes(self.watched(node, false)));
            }
            if node.downcast_ref::<WindowAggExec>().is_some() {
                let kept = node.children().into_iter().cloned();
                let kept = kept.map(|child| self.watched(child, true)).collect();
                return replace_children_if_necessary(node, kept).map(Transformed::yes);
            }
            if children < 2 {
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

impl WhileRead {
    fn watched(&self, input: Arc<dyn ExecutionPlan>, is_kept: bool) -> Arc<dyn ExecutionPlan> {
        Arc::new(Watched {
            input,
            reader: Weak::clone(&self.reader),
            is_kept,
        })
    }

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
        let function = Arc::new(ScalarUDF::from(IfRead {
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

/// Gives the rows of its input as long as there is a reader.
#[derive(Debug, Clone)]
struct Watched {
    input: Arc<dyn ExecutionPlan>,
    reader: Weak<()>,
    /// Whether the operator above keeps all rows, and twice while it computes.
    is_kept: bool,
}

impl DisplayAs for Watched {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExecutionPlan for Watched {
    fn name(&self) -> &str {
        "Watched"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> BoundResult<TreeNodeRecursion>,
    ) -> BoundResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> BoundResult<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(input) => Ok(Arc::new(Self {
                input,
                ..self.as_ref().clone()
            })),
            None => internal_err!("rows are watched that nothing gives"),
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> BoundResult<Arc<dyn ExecutionPlan>> {
        self.replace_children(
            children,
            ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute),
        )
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> BoundResult<SendableRecordBatchStream> {
        let rows_max = context.session_config().batch_size().max(1);
        let kept = self.is_kept.then(|| {
            let consumer = MemoryConsumer::new("OVER (…)");
            consumer.register(context.memory_pool())
        });
        let reader = Weak::clone(&self.reader);
        let input = self.input.execute(partition, context)?;
        let schema = input.schema();
        let batches = input.map(move |batch| {
            if reader.strong_count() == 0 {
                return Err(nobody_reads());
            }
            let batch = batch?;
            if let Some(kept) = &kept {
                kept.try_grow(2 * batch_bytes(&batch))?;
            }
            Ok(batch)
        });
        let pieces = batches.flat_map(move |batch| match batch {
            Ok(batch) => stream::iter(pieces(&batch, rows_max)).map(Ok).left_stream(),
            Err(error) => stream::iter([Err(error)]).right_stream(),
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, pieces)))
    }
}

/// The rows of a batch in batches of so many.
fn pieces(batch: &RecordBatch, rows_max: usize) -> Vec<RecordBatch> {
    if batch.num_rows() <= rows_max {
        return vec![batch.clone()];
    }
    let starts = (0..batch.num_rows()).step_by(rows_max);
    let pieces = starts.map(|start| batch.slice(start, rows_max.min(batch.num_rows() - start)));
    pieces.collect()
}

/// Gives back its argument as long as there is a reader.
#[derive(Debug, PartialEq, Eq, Hash)]
struct IfRead {
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

impl ScalarUDFImpl for IfRead {
    fn name(&self) -> &str {
        "if_read"
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
            _ => Err(nobody_reads()),
        }
    }
}
