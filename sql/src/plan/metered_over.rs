//! Aggregates of OVER while a snapshot runs: each value that one gives asks first whether somebody still waits for the
//! answer, and counts against the memory of the query, because the values of all rows are kept.
//!
//! `string_agg(x, ',') OVER (ORDER BY x)` gives texts that are longer with each row. In a view nobody waits for the values of
//! one frame, and they are not kept: there an aggregate has no meter, and only moves with its frame (`sliding.rs`).

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result as BoundResult, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunctionParams, WindowFunctionParams};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ReversedUDAF, Signature,
};

use super::metered::{Meter, scalar_bytes};
use super::sliding::sliding;

/// An aggregate whose values are metered.
#[derive(Debug)]
pub(super) struct MeteredAggregate {
    function: AggregateUDF,
    meter: Option<Arc<Meter>>,
}

impl MeteredAggregate {
    pub(super) fn over(function: &AggregateUDF, meter: Option<&Arc<Meter>>) -> AggregateUDF {
        AggregateUDF::from(Self {
            function: function.clone(),
            meter: meter.cloned(),
        })
    }

    fn accumulates(&self, inner: Box<dyn Accumulator>) -> Box<dyn Accumulator> {
        match &self.meter {
            Some(meter) => Box::new(Metered {
                inner,
                meter: Arc::clone(meter),
            }),
            None => inner,
        }
    }
}

impl PartialEq for MeteredAggregate {
    fn eq(&self, other: &Self) -> bool {
        let meter = |of: &Self| of.meter.as_ref().map(Arc::as_ptr);
        self.function == other.function && meter(self) == meter(other)
    }
}

impl Eq for MeteredAggregate {}

impl Hash for MeteredAggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.hash(state);
    }
}

impl AggregateUDFImpl for MeteredAggregate {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> BoundResult<String> {
        self.function.schema_name(params)
    }

    fn human_display(&self, params: &AggregateFunctionParams) -> BoundResult<String> {
        self.function.human_display(params)
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> BoundResult<String> {
        self.function.window_function_schema_name(params)
    }

    fn display_name(&self, params: &AggregateFunctionParams) -> BoundResult<String> {
        self.function.display_name(params)
    }

    fn window_function_display_name(&self, params: &WindowFunctionParams) -> BoundResult<String> {
        self.function.window_function_display_name(params)
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn return_type(&self, args: &[DataType]) -> BoundResult<DataType> {
        self.function.return_type(args)
    }

    fn return_field(&self, args: &[FieldRef]) -> BoundResult<FieldRef> {
        self.function.return_field(args)
    }

    fn is_nullable(&self) -> bool {
        self.function.is_nullable()
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> BoundResult<Box<dyn Accumulator>> {
        let inner = self.function.accumulator(args)?;
        Ok(self.accumulates(inner))
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> BoundResult<Box<dyn Accumulator>> {
        let inner = sliding(&self.function, args)?;
        Ok(self.accumulates(inner))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> BoundResult<Vec<FieldRef>> {
        self.function.state_fields(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.function.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        match self.function.reverse_udf() {
            ReversedUDAF::Reversed(function) => {
                ReversedUDAF::Reversed(Arc::new(Self::over(&function, self.meter.as_ref())))
            }
            other => other,
        }
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        self.function.coerce_types(args)
    }

    fn is_descending(&self) -> Option<bool> {
        self.function.is_descending()
    }

    fn default_value(&self, data_type: &DataType) -> BoundResult<ScalarValue> {
        self.function.default_value(data_type)
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.function.supports_null_handling_clause()
    }
}

#[derive(Debug)]
struct Metered {
    inner: Box<dyn Accumulator>,
    meter: Arc<Meter>,
}

impl Accumulator for Metered {
    fn update_batch(&mut self, values: &[ArrayRef]) -> BoundResult<()> {
        self.inner.update_batch(values)
    }

    fn evaluate(&mut self) -> BoundResult<ScalarValue> {
        self.meter.go_on()?;
        let value = self.inner.evaluate()?;
        self.meter.keep(scalar_bytes(&value))?;
        Ok(value)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn state(&mut self) -> BoundResult<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> BoundResult<()> {
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> BoundResult<()> {
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}
