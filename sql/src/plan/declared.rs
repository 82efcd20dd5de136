//! What a column declares of its values, NOT NULL and VARCHAR(n): an INSERT holds its rows to it, and one that goes on
//! does by an expression, so that a row that does not fit is an error of that row.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result as BoundResult};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use streams::{SourceColumn, TextLength};

use crate::catalog::Relation;
use crate::diagnostic::{Code, Diagnostic};

/// How much of a value an error quotes.
const QUOTE_CHARS_MAX: usize = 40;

/// What one column of a relation declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declaration {
    column: String,
    length: Option<TextLength>,
    /// Whether NULL is refused.
    required: bool,
}

impl Declaration {
    /// What column `column` of `relation` declares.
    pub(crate) fn of(relation: &Relation, column: usize) -> Self {
        let declared = &relation.columns[column];
        let required = !declared.nullable || relation.key.contains(&column);
        Self::of_column(declared, required)
    }

    /// What `column` declares, where NULL is refused or not.
    pub(super) fn of_column(column: &SourceColumn, required: bool) -> Self {
        Self {
            column: column.name.clone(),
            length: column.length,
            required,
        }
    }

    /// Whether any value of the type is good.
    fn takes_all(&self) -> bool {
        self.length.is_none() && !self.required
    }

    /// The values as the column has them: spaces that do not fit are cut off.
    ///
    /// # Errors
    /// A NULL where none may be, or a text that is too long.
    pub(crate) fn held(&self, values: &ArrayRef) -> Result<ArrayRef, Diagnostic> {
        let values = match (self.length, values.as_string_view_opt()) {
            (Some(length), Some(texts)) => self.fitted(texts, length)?,
            _ => Arc::clone(values),
        };
        if self.required && values.null_count() > 0 {
            let message = format!("column {} cannot be NULL", self.column);
            let mut diagnostic = Diagnostic::new(Code::Row, message);
            diagnostic.sqlstate = "23502".to_owned();
            return Err(diagnostic);
        }
        Ok(values)
    }

    fn fitted(&self, texts: &StringViewArray, length: TextLength) -> Result<ArrayRef, Diagnostic> {
        let fit = |text: Option<&str>| match text.map(|text| (text, length.fit(text))) {
            None => Ok(None),
            Some((_, Some(fits))) => Ok(Some(fits.to_owned())),
            Some((text, None)) => Err(self.misfit(text, &format!("is {length}"), "is longer")),
        };
        let fitted: StringViewArray = texts.iter().map(fit).collect::<Result<_, _>>()?;
        Ok(Arc::new(fitted))
    }

    fn misfit(&self, text: &str, is: &str, but: &str) -> Diagnostic {
        let shown: String = text.chars().take(QUOTE_CHARS_MAX).collect();
        let more = if shown.len() < text.len() { "…" } else { "" };
        let message = format!("column {} {is}, '{shown}{more}' {but}", self.column);
        let mut diagnostic = Diagnostic::new(Code::Row, message);
        diagnostic.sqlstate = "22001".to_owned();
        diagnostic
    }

    /// [`Self::held`] of values that have to be exactly as the column has them already.
    fn exact(&self, values: &ArrayRef) -> Result<ArrayRef, Diagnostic> {
        let held = self.held(values)?;
        if let (Some(given), Some(held)) = (values.as_string_view_opt(), held.as_string_view_opt())
            && let Some((text, _)) = given.iter().zip(held).find(|(given, held)| given != held)
        {
            let text = text.unwrap_or_default();
            return Err(self.misfit(text, "leaves spaces at the end out", "has some"));
        }
        Ok(held)
    }
}

/// `value` as a column has it. What identifies rows is not changed, because two of them could become one: a value that
/// would have to be is an error of its row.
pub(super) fn as_column(value: Expr, declaration: Declaration, is_key: bool) -> Expr {
    if declaration.takes_all() {
        return value;
    }
    let declared = Declared {
        declaration,
        is_key,
        signature: Signature::any(1, Volatility::Immutable),
    };
    ScalarUDF::from(declared).call(vec![value])
}

/// The expression whose values these are, where they are only looked at.
pub(super) fn unchanged(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unchanged(&alias.expr),
        Expr::ScalarFunction(call) => match (
            call.func.inner().downcast_ref::<Declared>(),
            call.args.as_slice(),
        ) {
            (Some(declared), [value]) if declared.is_key => unchanged(value),
            _ => expr,
        },
        _ => expr,
    }
}

/// Whether it is a function that no author of a query wrote.
pub(super) fn is_declared(function: &ScalarUDF) -> bool {
    function.inner().downcast_ref::<Declared>().is_some()
}

#[derive(Debug, PartialEq, Eq)]
struct Declared {
    declaration: Declaration,
    is_key: bool,
    signature: Signature,
}

impl Hash for Declared {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.declaration.column.hash(state);
    }
}

impl ScalarUDFImpl for Declared {
    fn name(&self) -> &str {
        "declared"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> BoundResult<DataType> {
        Ok(args.first().cloned().unwrap_or(DataType::Null))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let values = &arrays[0];
        let held = if self.is_key {
            self.declaration.exact(values)
        } else {
            self.declaration.held(values)
        };
        held.map(ColumnarValue::Array)
            .map_err(|error| DataFusionError::External(Box::new(error)))
    }
}
