//! Functions of floats where they have no answer: an error of the row, in PostgreSQL's words, where others give NaN or an
//! infinity.
//!
//! Everything else is the function that was there.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Float64Type};
use datafusion::common::{DataFusionError, Result as BoundResult};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::diagnostic::{Code, Diagnostic};

/// Functions that are taken so.
pub(super) const NAMES: &[&str] = &[
    "acos", "acosh", "asin", "atanh", "cos", "exp", "ln", "log", "log10", "log2", "power", "sin",
    "sqrt", "tan",
];

const OF_ZERO: (&str, &str) = ("cannot take logarithm of zero", "2201E");
const OF_NEGATIVE: (&str, &str) = ("cannot take logarithm of a negative number", "2201E");
const OUT_OF_RANGE: (&str, &str) = ("input is out of range", "22003");
const OVERFLOW: (&str, &str) = ("value out of range: overflow", "22003");

/// A function that has no answer for some numbers.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Domain {
    function: ScalarUDF,
}

impl Domain {
    pub(super) fn new(function: ScalarUDF) -> Self {
        Self { function }
    }

    /// What is wrong with the arguments of a row.
    fn misses(&self, args: &[f64]) -> Option<(&'static str, &'static str)> {
        let &first = args.first()?;
        match self.function.name() {
            "ln" | "log" | "log2" | "log10" => {
                if args.contains(&0.0) {
                    return Some(OF_ZERO);
                }
                args.iter().any(|arg| *arg < 0.0).then_some(OF_NEGATIVE)
            }
            "sqrt" => {
                (first < 0.0).then_some(("cannot take square root of a negative number", "2201F"))
            }
            "acos" | "asin" | "atanh" => (first.abs() > 1.0).then_some(OUT_OF_RANGE),
            "acosh" => (first < 1.0).then_some(OUT_OF_RANGE),
            "sin" | "cos" | "tan" => first.is_infinite().then_some(OUT_OF_RANGE),
            "power" => {
                let &exponent = args.get(1)?;
                if first == 0.0 && exponent < 0.0 {
                    return Some(("zero raised to a negative power is undefined", "2201F"));
                }
                let is_whole = exponent.fract() == 0.0 || exponent.is_infinite();
                (first < 0.0 && !is_whole && exponent.is_finite()).then_some((
                    "a negative number raised to a non-integer power yields a complex result",
                    "2201F",
                ))
            }
            _ => None,
        }
    }

    fn check(&self, args: &ScalarFunctionArgs) -> BoundResult<Vec<ArrayRef>> {
        let columns = args.args.iter().map(|arg| {
            let column = arg.to_array(args.number_rows)?;
            Ok(cast(&column, &DataType::Float64)?)
        });
        let columns = columns.collect::<BoundResult<Vec<ArrayRef>>>()?;
        self.each_row(&columns, |row| match self.misses(row) {
            Some(why) => Err(refused(why)),
            None => Ok(()),
        })?;
        Ok(columns)
    }

    /// Calls `look` with the numbers of each row that has no NULL.
    fn each_row(
        &self,
        columns: &[ArrayRef],
        mut look: impl FnMut(&[f64]) -> BoundResult<()>,
    ) -> BoundResult<()> {
        let floats: Vec<_> = columns
            .iter()
            .map(|column| column.as_primitive::<Float64Type>())
            .collect();
        let rows = columns.first().map_or(0, |column| column.len());
        let mut numbers = Vec::with_capacity(floats.len());
        for row in 0..rows {
            numbers.clear();
            let known = floats.iter().filter(|column| column.is_valid(row));
            numbers.extend(known.map(|column| column.value(row)));
            if numbers.len() == floats.len() {
                look(&numbers)?;
            }
        }
        Ok(())
    }
}

fn refused((message, sqlstate): (&str, &str)) -> DataFusionError {
    let mut diagnostic = Diagnostic::new(Code::Row, message);
    diagnostic.sqlstate = sqlstate.to_owned();
    DataFusionError::External(Box::new(diagnostic))
}

impl ScalarUDFImpl for Domain {
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
        let mut columns = self.check(&args)?;
        let overflows = matches!(self.name(), "exp" | "power");
        let rows = args.number_rows;
        let made = self.function.invoke_with_args(args)?;
        if overflows && made.data_type().is_floating() {
            columns.push(cast(&made.to_array(rows)?, &DataType::Float64)?);
            self.each_row(&columns, |row| match row {
                [args @ .., made]
                    if made.is_infinite() && args.iter().all(|arg| arg.is_finite()) =>
                {
                    Err(refused(OVERFLOW))
                }
                _ => Ok(()),
            })?;
        }
        Ok(made)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> BoundResult<ExprSimplifyResult> {
        self.function.simplify(args, info)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> BoundResult<SortProperties> {
        self.function.output_ordering(inputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers are PostgreSQL's.
    #[test]
    fn numbers_without_an_answer_are_refused() {
        let misses = |function: &std::sync::Arc<ScalarUDF>, args: &[f64]| {
            let function = Domain::new(function.as_ref().clone());
            function.misses(args).map(|(why, _)| why)
        };
        use datafusion::functions::math::{acos, ln, power};
        assert_eq!(misses(&ln(), &[0.0]), Some("cannot take logarithm of zero"));
        assert_eq!(misses(&ln(), &[f64::NAN]), None);
        assert_eq!(misses(&acos(), &[1.0]), None);
        assert_eq!(misses(&acos(), &[1.5]), Some("input is out of range"));
        assert_eq!(misses(&power(), &[-8.0, 3.0]), None);
        assert!(misses(&power(), &[-8.0, 0.5]).is_some());
        assert!(misses(&power(), &[0.0, -1.0]).is_some());
    }
}
