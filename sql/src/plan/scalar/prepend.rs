//! `array_prepend` with its arguments in either order: PostgreSQL has the element first, Flink the array. Their types tell; all
//! else is DataFusion's.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result as BoundResult};
use datafusion::execution::registry::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

/// Puts it in the place of DataFusion's.
pub(in crate::plan) fn register(state: &mut SessionState) -> BoundResult<()> {
    if let Some(inner) = state.scalar_functions().get("array_prepend").cloned() {
        let prepend = ScalarUDF::from(Prepend {
            inner,
            signature: Signature::user_defined(Volatility::Immutable),
        });
        state.register_udf(Arc::new(prepend))?;
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Prepend {
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

/// How many arrays lie in each other.
fn levels(data_type: &DataType) -> usize {
    match data_type {
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::FixedSizeList(element, _) => 1 + levels(element.data_type()),
        _ => 0,
    }
}

/// Whether the array is the first of both.
fn is_array_first(types: &[&DataType]) -> bool {
    match types {
        [first, second] => levels(first) > levels(second),
        _ => false,
    }
}

/// The arguments as DataFusion takes them.
fn element_first<T>(mut args: Vec<T>, array_first: bool) -> Vec<T> {
    if array_first {
        args.reverse();
    }
    args
}

impl ScalarUDFImpl for Prepend {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        if args.len() != 2 || args.iter().all(|arg| levels(arg) == 0) {
            let message = "array_prepend takes an element and an array";
            return Err(DataFusionError::Plan(message.to_owned()));
        }
        let array_first = is_array_first(&args.iter().collect::<Vec<_>>());
        let field = |data_type: &DataType| Arc::new(Field::new("x", data_type.clone(), true));
        let fields: Vec<FieldRef> = args.iter().map(field).collect();
        let fields = element_first(fields, array_first);
        let coerced = fields_with_udf(&fields, self.inner.as_ref()).map_err(|_| {
            let message = "array_prepend takes an element and an array of such elements";
            DataFusionError::Plan(message.to_owned())
        })?;
        let types = coerced.iter().map(|field| field.data_type().clone());
        Ok(element_first(types.collect(), array_first))
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Err(DataFusionError::Internal(
            "it follows from fields".to_owned(),
        ))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> BoundResult<FieldRef> {
        let types: Vec<&DataType> = args
            .arg_fields
            .iter()
            .map(|field| field.data_type())
            .collect();
        let array_first = is_array_first(&types);
        let fields = element_first(args.arg_fields.to_vec(), array_first);
        let scalars = element_first(args.scalar_arguments.to_vec(), array_first);
        self.inner.return_field_from_args(ReturnFieldArgs {
            arg_fields: &fields,
            scalar_arguments: &scalars,
        })
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let types: Vec<&DataType> = args
            .arg_fields
            .iter()
            .map(|field| field.data_type())
            .collect();
        let array_first = is_array_first(&types);
        args.args = element_first(args.args, array_first);
        args.arg_fields = element_first(args.arg_fields, array_first);
        self.inner.invoke_with_args(args)
    }
}
