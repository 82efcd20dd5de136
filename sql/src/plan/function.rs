//! A WASM function of the catalog as DataFusion's scalar function.
//!
//! A row that the guest refuses is an error of that row: in a job it goes where row errors go, in a snapshot query it
//! ends the query. The error travels through DataFusion as [`RowErrors`].

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::DataType;
use connect_sandbox::RowError;
use datafusion::common::{DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use parking_lot::Mutex;

use crate::catalog::Function;
use crate::diagnostic::{Code, Diagnostic};

/// Rows of one batch for which a function has no value.
#[derive(Debug)]
pub(crate) struct RowErrors {
    pub function: String,
    pub rows: Vec<RowError>,
}

impl fmt::Display for RowErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self
            .rows
            .first()
            .map_or("no value", |row| row.message.as_str());
        write!(f, "{}: {message}", self.function)
    }
}

impl std::error::Error for RowErrors {}

/// DataFusion's face of `function`.
pub(crate) fn scalar_udf(function: Arc<Function>) -> Arc<ScalarUDF> {
    let volatility = match function.scalar.signature().volatility {
        connect_sandbox::Volatility::Immutable => Volatility::Immutable,
        connect_sandbox::Volatility::Stable => Volatility::Stable,
        connect_sandbox::Volatility::Volatile => Volatility::Volatile,
    };
    let signature = if function.args.is_empty() {
        Signature::nullary(volatility)
    } else {
        Signature::exact(function.args.clone(), volatility)
    };
    Arc::new(ScalarUDF::from(WasmFunction {
        function,
        signature,
        failed: Mutex::new(None),
    }))
}

/// Whether `function` is one of a module.
pub(super) fn is_module(function: &ScalarUDF) -> bool {
    function.inner().downcast_ref::<WasmFunction>().is_some()
}

#[derive(Debug)]
struct WasmFunction {
    function: Arc<Function>,
    signature: Signature,
    /// The last constant arguments that had no value, and why. The planner evaluates constants again and again, and
    /// each time may take a whole deadline.
    failed: Mutex<Option<(Vec<ScalarValue>, String)>>,
}

impl WasmFunction {
    fn failed_before(&self, constants: &[ScalarValue]) -> BoundResult<()> {
        match &*self.failed.lock() {
            Some((known, message)) if known == constants => Err(failure(message.clone())),
            _ => Ok(()),
        }
    }
}

fn failure(message: String) -> DataFusionError {
    DataFusionError::External(Box::new(Diagnostic::new(Code::Row, message)))
}

impl PartialEq for WasmFunction {
    fn eq(&self, other: &Self) -> bool {
        self.function.identity.id == other.function.identity.id
    }
}

impl Eq for WasmFunction {}

impl Hash for WasmFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.identity.id.hash(state);
    }
}

impl ScalarUDFImpl for WasmFunction {
    fn name(&self) -> &str {
        &self.function.identity.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(self.function.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let rows = args.number_rows;
        let constants: Option<Vec<ScalarValue>> = (args.args.iter())
            .map(|arg| match arg {
                ColumnarValue::Scalar(value) => Some(value.clone()),
                ColumnarValue::Array(_) => None,
            })
            .collect();
        // A volatile function may have a value the next time.
        let remembered = constants
            .as_ref()
            .filter(|_| self.signature.volatility != Volatility::Volatile);
        if let Some(constants) = remembered {
            self.failed_before(constants)?;
        }
        let remember = |message: String| {
            if let Some(constants) = remembered {
                *self.failed.lock() = Some((constants.clone(), message.clone()));
            }
            failure(message)
        };
        let constant = constants.is_some();
        let arrays = args
            .args
            .into_iter()
            .map(|arg| match arg {
                ColumnarValue::Array(array) => Ok(array),
                ColumnarValue::Scalar(value) => {
                    value.to_array_of_size(if constant { rows } else { 1 })
                }
            })
            .collect::<BoundResult<Vec<_>>>()?;
        let output = self
            .function
            .scalar
            .invoke(&arrays, rows)
            .map_err(|error| remember(error.to_string()))?;
        if !output.errors.is_empty() {
            if constant && let Some(error) = output.errors.first() {
                return Err(remember(format!("{}: {}", self.name(), error.message)));
            }
            return Err(DataFusionError::External(Box::new(RowErrors {
                function: self.function.identity.name.clone(),
                rows: output.errors,
            })));
        }
        let values = if output.values.data_type() == &self.function.returns {
            output.values
        } else {
            arrow::compute::cast(&output.values, &self.function.returns)?
        };
        Ok(ColumnarValue::Array(values))
    }
}
