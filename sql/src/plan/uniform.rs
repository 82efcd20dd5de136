//! `coalesce`, `greatest` and `least` whose arguments are times and constant texts: DataFusion's find no common type,
//! PostgreSQL reads the texts as times.
//!
//! The planner asks for the type of a call before `time.rs` has read its texts, so here is only said what type it will
//! be; everything else is the function that was there.

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result as BoundResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::time::meeting;

/// Functions that are taken so.
pub(super) const NAMES: &[&str] = &["coalesce", "greatest", "least"];

/// A function with another idea of the types that it takes.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Uniform {
    function: ScalarUDF,
    signature: Signature,
}

impl Uniform {
    pub(super) fn new(function: ScalarUDF) -> Self {
        Self {
            function,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Uniform {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        let together = meeting(args.iter());
        let args: Vec<DataType> = args
            .iter()
            .map(|arg| together.clone().unwrap_or_else(|| arg.clone()))
            .collect();
        self.function.coerce_types(&args)
    }

    fn return_type(&self, args: &[DataType]) -> BoundResult<DataType> {
        self.function.return_type(args)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> BoundResult<FieldRef> {
        self.function.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        self.function.invoke_with_args(args)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> BoundResult<ExprSimplifyResult> {
        self.function.simplify(args, info)
    }

    fn short_circuits(&self) -> bool {
        self.function.short_circuits()
    }

    fn conditional_arguments<'a>(
        &self,
        args: &'a [Expr],
    ) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.function.conditional_arguments(args)
    }
}
