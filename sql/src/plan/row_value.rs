//! Rows of several values on the left of IN, ANY and ALL, and in the subqueries behind these: a function marks them, and the
//! rules for subqueries (`membership.rs`, `correlated/`) take them apart again. Nothing evaluates it.
//!
//! ```text
//! (max(a), b) IN (SELECT x, y …)   →   __row(max(a), b) IN (SELECT __row(x, y) FROM (SELECT x, y …))
//! ```

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result as BoundResult};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// The name of the function.
pub(super) const ROW: &str = "__row";

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Row {
    signature: Signature,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            signature: Signature::variadic_any(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Row {
    fn name(&self) -> &str {
        ROW
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        Err(DataFusionError::Internal(format!("{ROW} is evaluated")))
    }
}

/// The values of a row. `None`: it is a single value.
pub(super) fn columns_of(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::Alias(alias) => columns_of(&alias.expr),
        Expr::ScalarFunction(call) if call.func.inner().downcast_ref::<Row>().is_some() => {
            Some(&call.args)
        }
        _ => None,
    }
}

/// The relation whose rows a subquery gives as such, and their values.
pub(super) fn members_of(plan: &LogicalPlan) -> Option<(Arc<LogicalPlan>, Vec<Expr>)> {
    let LogicalPlan::Projection(projection) = plan else {
        return None;
    };
    let [member] = projection.expr.as_slice() else {
        return None;
    };
    let columns = columns_of(member)?.to_vec();
    Some((Arc::clone(&projection.input), columns))
}
