//! Functions of a snapshot query while it runs: each asks first whether somebody still waits for the answer, and what it
//! is about to make, and has made, counts against the memory of the query.
//!
//! ```text
//! repeat(x, 1000)              →   metered(repeat)(x, 1000)
//! SELECT 'a long text', …      →   metered(a long text), one for each row
//! ```
//!
//! What counts is the largest that a call makes: values before it are gone, or were smaller.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility, WindowFunctionDefinition,
};

use super::function::is_module;
use super::long_value::made_bytes;
use super::metered_over::MeteredAggregate;

/// Values of so many bytes are worth counting; a constant that is longer is counted once a row.
const COUNTED_BYTES: usize = 16 << 10;

/// More than there is anywhere; sums of it do not overflow.
const BYTES_MAX: usize = 1 << 50;

/// Functions that make nothing, and that DataFusion knows by their types.
const PLAIN: &[&str] = &["get_field", "struct", "named_struct", "row", "__row"];

/// Who waits for a query, and the memory that it has.
pub(crate) struct Meter {
    reader: Weak<()>,
    largest: MemoryReservation,
    kept: MemoryReservation,
}

impl Meter {
    pub(crate) fn new(reader: Weak<()>, pool: &Arc<dyn MemoryPool>) -> Arc<Self> {
        let largest = MemoryConsumer::new("a value").register(pool);
        let kept = MemoryConsumer::new("OVER (…)").register(pool);
        Arc::new(Self {
            reader,
            largest,
            kept,
        })
    }

    /// # Errors
    /// Nobody waits for the answer.
    pub(super) fn go_on(&self) -> BoundResult<()> {
        match self.reader.strong_count() {
            0 => Err(nobody_reads()),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// A value of so many bytes is more than the query may have.
    fn count(&self, bytes: usize) -> BoundResult<()> {
        let more = bytes.min(BYTES_MAX).saturating_sub(self.largest.size());
        if bytes < COUNTED_BYTES || more == 0 {
            return Ok(());
        }
        self.largest.try_grow(more)
    }

    /// # Errors
    /// A value of so many bytes beside those that are kept is more than the query may have.
    pub(super) fn keep(&self, bytes: usize) -> BoundResult<()> {
        match bytes {
            0 => Ok(()),
            bytes => self.kept.try_grow(bytes),
        }
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Meter({} bytes)", self.largest.size())
    }
}

/// What ends a query that nobody waits for.
pub(super) fn nobody_reads() -> DataFusionError {
    DataFusionError::Execution("nobody reads the answer".to_owned())
}

/// `plan`, as the optimizer leaves it, with functions that are metered.
pub(crate) fn metered(plan: LogicalPlan, meter: &Arc<Meter>) -> BoundResult<LogicalPlan> {
    let metered = plan.transform_up_with_subqueries(|plan| {
        let is_output = matches!(plan, LogicalPlan::Projection(_));
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let changed = expr.transform_up(|expr| Ok(with_meter(expr, meter)))?;
            let changed = changed.transform_data(|expr| {
                Ok(match is_output {
                    true => output(expr, meter),
                    false => Transformed::no(expr),
                })
            })?;
            Ok(match changed.transformed {
                true => changed.update_data(|expr| name.restore(expr)),
                false => changed,
            })
        })
    })?;
    Ok(metered.data)
}

fn with_meter(expr: Expr, meter: &Arc<Meter>) -> Transformed<Expr> {
    match expr {
        Expr::ScalarFunction(mut call) if !is_plain(&call.func) => {
            let function = Kind::Function(call.func.as_ref().clone());
            call.func = Arc::new(ScalarUDF::from(Metered::new(function, meter)));
            Transformed::yes(Expr::ScalarFunction(call))
        }
        Expr::WindowFunction(mut call) => {
            let WindowFunctionDefinition::AggregateUDF(function) = &call.fun else {
                return Transformed::no(Expr::WindowFunction(call));
            };
            let function = Arc::new(MeteredAggregate::over(function, Some(meter)));
            call.fun = WindowFunctionDefinition::AggregateUDF(function);
            Transformed::yes(Expr::WindowFunction(call))
        }
        Expr::BinaryExpr(parts) if parts.op == Operator::StringConcat => {
            let [left, right] = [parts.left, parts.right].map(|part| constant(*part, meter));
            let changed = left.transformed || right.transformed;
            let joined = BinaryExpr::new(Box::new(left.data), parts.op, Box::new(right.data));
            Transformed::new_transformed(Expr::BinaryExpr(joined), changed)
        }
        other => Transformed::no(other),
    }
}

fn is_plain(function: &ScalarUDF) -> bool {
    PLAIN.contains(&function.name()) || is_module(function) || function.as_async().is_some()
}

/// A column of a SELECT list.
fn output(expr: Expr, meter: &Arc<Meter>) -> Transformed<Expr> {
    match expr {
        Expr::Alias(mut alias) => {
            let inner = constant(*alias.expr, meter);
            let changed = inner.transformed;
            alias.expr = Box::new(inner.data);
            Transformed::new_transformed(Expr::Alias(alias), changed)
        }
        other => constant(other, meter),
    }
}

/// A long constant as a function that counts how often it is there.
fn constant(expr: Expr, meter: &Arc<Meter>) -> Transformed<Expr> {
    match expr {
        Expr::Literal(value, _) if scalar_bytes(&value) > COUNTED_BYTES => {
            let function = ScalarUDF::from(Metered::new(Kind::Constant(value), meter));
            let call = ScalarFunction::new_udf(Arc::new(function), Vec::new());
            Transformed::yes(Expr::ScalarFunction(call))
        }
        other => Transformed::no(other),
    }
}

/// What is metered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    Function(ScalarUDF),
    Constant(ScalarValue),
}

/// A function, or a constant, that is metered.
#[derive(Debug)]
struct Metered {
    kind: Kind,
    meter: Arc<Meter>,
    signature: Signature,
}

impl Metered {
    fn new(kind: Kind, meter: &Arc<Meter>) -> Self {
        let signature = match &kind {
            Kind::Function(function) => function.signature().clone(),
            Kind::Constant(_) => Signature::nullary(Volatility::Immutable),
        };
        Self {
            kind,
            meter: Arc::clone(meter),
            signature,
        }
    }
}

impl PartialEq for Metered {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && Arc::ptr_eq(&self.meter, &other.meter)
    }
}

impl Eq for Metered {}

impl Hash for Metered {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
    }
}

impl ScalarUDFImpl for Metered {
    fn name(&self) -> &str {
        match &self.kind {
            Kind::Function(function) => function.name(),
            Kind::Constant(_) => "constant",
        }
    }

    fn schema_name(&self, args: &[Expr]) -> BoundResult<String> {
        match &self.kind {
            Kind::Function(function) => function.inner().schema_name(args),
            Kind::Constant(_) => Ok(self.name().to_owned()),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        match &self.kind {
            Kind::Function(function) => function.coerce_types(args),
            Kind::Constant(_) => Ok(Vec::new()),
        }
    }

    fn return_type(&self, args: &[DataType]) -> BoundResult<DataType> {
        match &self.kind {
            Kind::Function(function) => function.return_type(args),
            Kind::Constant(value) => Ok(value.data_type()),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> BoundResult<FieldRef> {
        match &self.kind {
            Kind::Function(function) => function.return_field_from_args(args),
            Kind::Constant(value) => Ok(Arc::new(arrow::datatypes::Field::new(
                self.name(),
                value.data_type(),
                value.is_null(),
            ))),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        self.meter.go_on()?;
        let function = match &self.kind {
            Kind::Constant(value) => {
                let bytes = scalar_bytes(value).saturating_mul(args.number_rows);
                self.meter.count(bytes)?;
                return Ok(ColumnarValue::Scalar(value.clone()));
            }
            Kind::Function(function) => function,
        };
        self.meter.count(made_bytes(function.name(), &args)?)?;
        self.meter.count(spread_bytes(&args))?;
        let made = function.invoke_with_args(args)?;
        self.meter.count(match &made {
            ColumnarValue::Array(values) => column_bytes(values),
            ColumnarValue::Scalar(value) => scalar_bytes(value),
        })?;
        Ok(made)
    }

    fn short_circuits(&self) -> bool {
        match &self.kind {
            Kind::Function(function) => function.short_circuits(),
            Kind::Constant(_) => false,
        }
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> BoundResult<SortProperties> {
        match &self.kind {
            Kind::Function(function) => function.output_ordering(inputs),
            Kind::Constant(_) => Ok(SortProperties::Singleton),
        }
    }

    fn preserves_lex_ordering(&self, inputs: &[ExprProperties]) -> BoundResult<bool> {
        match &self.kind {
            Kind::Function(function) => function.preserves_lex_ordering(inputs),
            Kind::Constant(_) => Ok(false),
        }
    }
}

/// Bytes of constants that a function beside columns may write out once a row.
fn spread_bytes(args: &ScalarFunctionArgs) -> usize {
    let is_column = |arg: &ColumnarValue| matches!(arg, ColumnarValue::Array(_));
    if !args.args.iter().any(is_column) {
        return 0;
    }
    let constants = args.args.iter().map(|arg| match arg {
        ColumnarValue::Scalar(value) => scalar_bytes(value),
        ColumnarValue::Array(_) => 0,
    });
    constants.sum::<usize>().saturating_mul(args.number_rows)
}

/// Bytes of a constant that may be long; 0 of all others.
pub(super) fn scalar_bytes(value: &ScalarValue) -> usize {
    match value {
        ScalarValue::Utf8(Some(text))
        | ScalarValue::LargeUtf8(Some(text))
        | ScalarValue::Utf8View(Some(text)) => text.len(),
        ScalarValue::Binary(Some(bytes))
        | ScalarValue::LargeBinary(Some(bytes))
        | ScalarValue::BinaryView(Some(bytes)) => bytes.len(),
        ScalarValue::List(list) => list.get_array_memory_size(),
        _ => 0,
    }
}

/// Bytes of a column's values, of a part of a column those of this part alone.
pub(super) fn column_bytes(column: &ArrayRef) -> usize {
    let views = |views: &[u128]| -> usize {
        // The length of a value is the first of the four words of its view.
        let length = |view: &u128| usize::try_from(view & u128::from(u32::MAX)).unwrap_or(0);
        views.iter().map(length).sum::<usize>() + size_of_val(views)
    };
    match column.data_type() {
        DataType::Utf8View => views(column.as_string_view().views()),
        DataType::BinaryView => views(column.as_binary_view().views()),
        _ => {
            let bytes = column.to_data().get_slice_memory_size();
            bytes.unwrap_or_else(|_| column.get_array_memory_size())
        }
    }
}

/// The same of all columns.
pub(crate) fn batch_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(column_bytes).sum()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringViewArray};
    use arrow::datatypes::Field;
    use datafusion::common::config::ConfigOptions;
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;

    fn call(function: ScalarUDF, meter: &Arc<Meter>, args: Vec<ColumnarValue>) -> BoundResult<()> {
        let types: Vec<DataType> = args.iter().map(ColumnarValue::data_type).collect();
        let to = function.return_type(&types)?;
        let fields = types.into_iter();
        let fields = fields.map(|data_type| Arc::new(Field::new("x", data_type, true)));
        let metered = Metered::new(Kind::Function(function), meter);
        metered.invoke_with_args(ScalarFunctionArgs {
            args,
            arg_fields: fields.collect(),
            number_rows: 3,
            return_field: Arc::new(Field::new("x", to, true)),
            config_options: Arc::new(ConfigOptions::default()),
        })?;
        Ok(())
    }

    fn texts(text: &str) -> ColumnarValue {
        ColumnarValue::Array(Arc::new(StringViewArray::from(vec![text; 3])))
    }

    fn times(count: i64) -> ColumnarValue {
        ColumnarValue::Array(Arc::new(Int64Array::from(vec![count; 3])))
    }

    #[test]
    fn what_does_not_fit_is_refused_before_it_is_made_and_what_fits_is_held() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1 << 20));
        let reader = Arc::new(());
        let meter = Meter::new(Arc::downgrade(&reader), &pool);
        let repeat = || datafusion::functions::string::repeat().as_ref().clone();
        call(repeat(), &meter, vec![texts("ab"), times(10_000)]).unwrap();
        let held = pool.reserved();
        assert!((60_000..100_000).contains(&held), "{held}");
        call(repeat(), &meter, vec![texts("ab"), times(5_000)]).unwrap();
        assert_eq!(pool.reserved(), held, "the largest counts");
        let error = call(repeat(), &meter, vec![texts("ab"), times(i64::MAX)]).unwrap_err();
        assert!(
            matches!(error, DataFusionError::ResourcesExhausted(_)),
            "{error}"
        );
        // A constant is there once a row.
        let long = ColumnarValue::Scalar(ScalarValue::Utf8View(Some("x".repeat(400_000))));
        let concat = datafusion::functions::string::concat().as_ref().clone();
        let error = call(concat, &meter, vec![long, texts("a")]).unwrap_err();
        assert!(
            matches!(error, DataFusionError::ResourcesExhausted(_)),
            "{error}"
        );
        drop(meter);
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn nothing_is_made_for_nobody() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1 << 20));
        let meter = Meter::new(Weak::new(), &pool);
        let upper = datafusion::functions::string::upper().as_ref().clone();
        let error = call(upper, &meter, vec![texts("a")]).unwrap_err();
        assert!(error.to_string().contains("nobody reads"), "{error}");
    }

    #[test]
    fn parts_of_a_column_are_as_large_as_their_values() {
        let long = "x".repeat(1_000);
        let views: ArrayRef = Arc::new(StringViewArray::from(vec![long.as_str(), "a", "b"]));
        assert_eq!(column_bytes(&views), 1_002 + 3 * 16);
        assert_eq!(column_bytes(&views.slice(1, 2)), 2 + 2 * 16);
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1; 1_000]));
        assert_eq!(column_bytes(&numbers.slice(10, 5)), 40);
    }
}
