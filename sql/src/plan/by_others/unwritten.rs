//! Functions that are written by others where their arguments allow it, for calls that do not: they are known by name, and say
//! what they take.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result as BoundResult};
use datafusion::execution::registry::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::names;
use crate::functions::functions;

/// Makes them known, as far as nothing else has their names.
pub(in crate::plan) fn register(state: &mut SessionState) -> BoundResult<()> {
    for name in names() {
        let known = state.scalar_functions().contains_key(name)
            || state.aggregate_functions().contains_key(name);
        if !known {
            state.register_udf(Arc::new(ScalarUDF::from(Unwritten {
                name,
                signature: Signature::user_defined(Volatility::Immutable),
            })))?;
        }
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Unwritten {
    name: &'static str,
    signature: Signature,
}

impl Unwritten {
    fn refused(&self) -> DataFusionError {
        let name = self.name;
        let mut known = functions();
        let takes = known.find(|function| function.name == name);
        let takes = takes.map_or("other arguments", |function| function.takes);
        DataFusionError::Plan(format!("{name} takes {takes}"))
    }
}

impl ScalarUDFImpl for Unwritten {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, _args: &[DataType]) -> BoundResult<Vec<DataType>> {
        Err(self.refused())
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Err(self.refused())
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        Err(self.refused())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_told_of() {
        for name in names() {
            let told = functions().any(|function| function.name == name);
            assert!(told, "{name} is missing in the table of functions");
        }
    }
}
