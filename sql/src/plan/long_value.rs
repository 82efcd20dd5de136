//! Functions that make long values of short ones, as `repeat('a', 2000000000)`: what does not fit in memory is refused before it
//! is made. Everything else is the function that was there.

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::{DataFusionError, Result as BoundResult};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::time_text::is_text;
use crate::diagnostic::{Code, Diagnostic};

/// Functions that are taken so.
pub(super) const NAMES: &[&str] = &["repeat", "lpad", "rpad", "generate_series", "range"];

/// Bytes of the values that one call makes.
const BYTES_MAX: i128 = 512 << 20;
/// Bytes of a number in a list.
const NUMBER_BYTES: i128 = 8;

/// A function whose values are not too long.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct LongValue {
    function: ScalarUDF,
}

impl LongValue {
    pub(super) fn new(function: ScalarUDF) -> Self {
        Self { function }
    }

    /// Bytes of all values, or of as many as tell.
    fn bytes(&self, args: &ScalarFunctionArgs) -> BoundResult<i128> {
        let columns = args.args.iter();
        let columns = columns.map(|arg| arg.to_array(args.number_rows));
        let columns = columns.collect::<BoundResult<Vec<_>>>()?;
        let numbers = |column: Option<&arrow::array::ArrayRef>| {
            let column = column.filter(|column| column.data_type().is_integer())?;
            cast(column, &DataType::Int64).ok()
        };
        let at = |column: &Option<arrow::array::ArrayRef>, row: usize| {
            let column = column.as_ref()?.as_primitive::<Int64Type>();
            column.is_valid(row).then(|| i128::from(column.value(row)))
        };
        let is_list = matches!(self.function.name(), "generate_series" | "range");
        let [first, second, third] = [0, 1, 2].map(|place| numbers(columns.get(place)));
        let texts = match columns.first().filter(|column| is_text(column.data_type())) {
            Some(texts) => Some(cast(texts, &DataType::Utf8View)?),
            None => None,
        };
        let mut bytes = 0_i128;
        for row in 0..args.number_rows {
            let of_row = if is_list {
                let (from, to) = match (at(&first, row), at(&second, row)) {
                    (Some(to), None) if columns.len() == 1 => (0, to),
                    (Some(from), Some(to)) => (from, to),
                    _ => continue,
                };
                let step = at(&third, row).filter(|step| *step != 0).unwrap_or(1);
                ((to - from) / step).saturating_mul(NUMBER_BYTES)
            } else {
                let length = texts.as_ref().map_or(1, |texts| {
                    let texts = texts.as_string_view();
                    if texts.is_valid(row) {
                        texts.value(row).len()
                    } else {
                        0
                    }
                });
                let times = at(&second, row).unwrap_or(0);
                match self.function.name() {
                    "repeat" => times.saturating_mul(i128::try_from(length).unwrap_or(1)),
                    _ => times,
                }
            };
            bytes = bytes.saturating_add(of_row.max(0));
        }
        Ok(bytes)
    }
}

impl ScalarUDFImpl for LongValue {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn aliases(&self) -> &[String] {
        self.function.aliases()
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        self.function.coerce_types(args)
    }

    fn return_type(&self, args: &[DataType]) -> BoundResult<DataType> {
        self.function.return_type(args)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> BoundResult<FieldRef> {
        self.function.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let bytes = self.bytes(&args)?;
        if bytes > BYTES_MAX {
            let message = format!("{} of {bytes} bytes is too long", self.function.name());
            let mut diagnostic = Diagnostic::new(Code::Row, message)
                .help("FROM generate_series(…) makes its rows one by one");
            if !matches!(self.function.name(), "generate_series" | "range") {
                diagnostic.help = None;
            }
            diagnostic.sqlstate = "54000".to_owned();
            return Err(DataFusionError::External(Box::new(diagnostic)));
        }
        self.function.invoke_with_args(args)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> BoundResult<ExprSimplifyResult> {
        self.function.simplify(args, info)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Field;
    use datafusion::common::ScalarValue;
    use datafusion::common::config::ConfigOptions;

    use super::*;

    fn call(function: &ScalarUDF, first: ScalarValue, second: i64) -> BoundResult<ColumnarValue> {
        let args = vec![first, ScalarValue::Int64(Some(second))];
        let field = |value: &ScalarValue| Arc::new(Field::new("x", value.data_type(), true));
        let arg_fields: Vec<FieldRef> = args.iter().map(field).collect();
        let types: Vec<DataType> = args.iter().map(ScalarValue::data_type).collect();
        let to = function.return_type(&types)?;
        let function = LongValue::new(function.clone());
        function.invoke_with_args(ScalarFunctionArgs {
            args: args.into_iter().map(ColumnarValue::Scalar).collect(),
            arg_fields,
            number_rows: 1,
            return_field: Arc::new(Field::new("x", to, true)),
            config_options: Arc::new(ConfigOptions::default()),
        })
    }

    #[test]
    fn what_is_too_long_is_refused_before_it_is_made() {
        let repeat = datafusion::functions::string::repeat();
        let text = || ScalarValue::Utf8View(Some("ab".to_owned()));
        assert!(call(&repeat, text(), 3).is_ok());
        let error = call(&repeat, text(), 2_000_000_000).expect_err("too long");
        assert!(error.to_string().contains("too long"), "{error}");
    }
}
