//! Aggregates over frames of OVER that move (`ROWS BETWEEN 2 PRECEDING AND CURRENT ROW`): one that cannot take a row back is
//! computed anew over the rows of each frame.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use arrow::datatypes::{FieldRef, Schema};
use datafusion::common::{Result as BoundResult, ScalarValue};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDF};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};

/// The accumulator of `function` over such a frame.
pub(super) fn sliding(
    function: &AggregateUDF,
    args: AccumulatorArgs<'_>,
) -> BoundResult<Box<dyn Accumulator>> {
    let call = Call {
        function: function.clone(),
        return_field: Arc::clone(&args.return_field),
        schema: args.schema.clone(),
        ignore_nulls: args.ignore_nulls,
        order_bys: args.order_bys.to_vec(),
        is_reversed: args.is_reversed,
        name: args.name.to_owned(),
        is_distinct: args.is_distinct,
        exprs: args.exprs.to_vec(),
        expr_fields: args.expr_fields.to_vec(),
    };
    let inner = function.create_sliding_accumulator(args)?;
    if inner.supports_retract_batch() {
        return Ok(inner);
    }
    let rows = Vec::new();
    Ok(Box::new(Anew { call, rows }))
}

/// What an accumulator is made of.
#[derive(Debug)]
struct Call {
    function: AggregateUDF,
    return_field: FieldRef,
    schema: Schema,
    ignore_nulls: bool,
    order_bys: Vec<PhysicalSortExpr>,
    is_reversed: bool,
    name: String,
    is_distinct: bool,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    expr_fields: Vec<FieldRef>,
}

impl Call {
    fn accumulator(&self) -> BoundResult<Box<dyn Accumulator>> {
        self.function.accumulator(AccumulatorArgs {
            return_field: Arc::clone(&self.return_field),
            schema: &self.schema,
            ignore_nulls: self.ignore_nulls,
            order_bys: &self.order_bys,
            is_reversed: self.is_reversed,
            name: &self.name,
            is_distinct: self.is_distinct,
            exprs: &self.exprs,
            expr_fields: &self.expr_fields,
        })
    }
}

/// The arguments of the rows in the frame, which the rows leave in the order in which they came.
#[derive(Debug)]
struct Anew {
    call: Call,
    /// A column for each argument.
    rows: Vec<ArrayRef>,
}

impl Anew {
    fn computed(&self) -> BoundResult<Box<dyn Accumulator>> {
        let mut accumulator = self.call.accumulator()?;
        if !self.rows.is_empty() {
            accumulator.update_batch(&self.rows)?;
        }
        Ok(accumulator)
    }
}

impl Accumulator for Anew {
    fn update_batch(&mut self, values: &[ArrayRef]) -> BoundResult<()> {
        if self.rows.is_empty() {
            self.rows = values.to_vec();
            return Ok(());
        }
        for (rows, more) in self.rows.iter_mut().zip(values) {
            *rows = concat(&[rows.as_ref(), more.as_ref()])?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> BoundResult<ScalarValue> {
        self.computed()?.evaluate()
    }

    fn size(&self) -> usize {
        let rows = self.rows.iter().map(|rows| rows.get_array_memory_size());
        size_of::<Self>() + rows.sum::<usize>()
    }

    fn state(&mut self) -> BoundResult<Vec<ScalarValue>> {
        self.computed()?.state()
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> BoundResult<()> {
        datafusion::common::internal_err!("a frame is not merged")
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> BoundResult<()> {
        let gone = values.first().map_or(0, Array::len);
        for rows in &mut self.rows {
            let gone = gone.min(rows.len());
            *rows = rows.slice(gone, rows.len() - gone);
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }
}
