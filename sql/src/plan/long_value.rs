//! Functions that make long values of short ones, as `repeat('a', 2000000000)`, or of many: what does not fit in memory is refused before it
//! is made. Everything else is the function that was there.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::functions::regex::compile_regex;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};

use super::metered::column_bytes;
use super::series::Bounds;
use super::time_text::is_text;
use crate::diagnostic::{Code, Diagnostic};

/// Functions that are taken so.
pub(super) const NAMES: &[&str] = &[
    "repeat",
    "lpad",
    "rpad",
    "replace",
    "regexp_replace",
    "concat",
    "concat_ws",
    "array_to_string",
    "format",
    "generate_series",
    "range",
    "array_repeat",
    "array_resize",
    "levenshtein",
];

/// Of each text whose distance is asked: it takes as many steps as the product of both.
const DISTANCE_CHARS_MAX: usize = 4096;

/// Bytes of the values that one call makes.
const BYTES_MAX: usize = 512 << 20;
/// Bytes of one text that is made: more than a record takes. What is made of one text cannot be left halfway, so that a
/// statement that has timed out goes on for as long as its longest text takes.
const TEXT_BYTES_MAX: i128 = 16 << 20;
/// Bytes of a number in a list.
const NUMBER_BYTES: i128 = 8;
/// Letters of a value that is no text, about.
const NUMBER_CHARS: usize = 24;

/// Of these, functions of lists. A list that is a constant of a plan is written out in the names of its columns, again and
/// again: a million numbers keep the optimizer busy for minutes.
const OF_LISTS: &[&str] = &["generate_series", "range", "array_repeat", "array_resize"];

/// A function whose values are not too long.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct LongValue {
    function: ScalarUDF,
    signature: Signature,
}

impl LongValue {
    pub(super) fn new(function: ScalarUDF) -> Self {
        let signature = function.signature().clone();
        Self {
            function,
            signature,
        }
    }

    /// The same, that no planner evaluates.
    fn late(&self) -> Self {
        let mut late = Self::new(self.function.clone());
        late.signature.volatility = Volatility::Volatile;
        late
    }
}

/// `plan` whose lists are made when it runs, constant ones too.
pub(crate) fn made_late(plan: LogicalPlan) -> BoundResult<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|plan| {
        plan.map_expressions(|expr| {
            expr.transform_up(|expr| match expr {
                Expr::ScalarFunction(mut call) if OF_LISTS.contains(&call.func.name()) => {
                    let late = call.func.inner().downcast_ref::<LongValue>();
                    let late = late.map(LongValue::late);
                    let changed = late.is_some();
                    if let Some(late) = late {
                        call.func = Arc::new(ScalarUDF::from(late));
                    }
                    Ok(Transformed::new_transformed(
                        Expr::ScalarFunction(call),
                        changed,
                    ))
                }
                other => Ok(Transformed::no(other)),
            })
        })
    })?;
    Ok(rewritten.data)
}

/// Bytes of the values that a call of a function is about to make.
#[derive(Debug, Clone, Copy, Default)]
struct Made {
    all: i128,
    /// Of the longest one.
    longest: i128,
}

/// Bytes of all values that a call of a function is about to make; 0 of one whose values are as long as what it is given.
pub(super) fn made_bytes(name: &str, args: &ScalarFunctionArgs) -> BoundResult<usize> {
    Ok(usize::try_from(made(name, args)?.all).unwrap_or(usize::MAX))
}

fn made(name: &str, args: &ScalarFunctionArgs) -> BoundResult<Made> {
    let makes = match name {
        "generate_series" | "range" => series_bytes,
        "repeat" | "lpad" | "rpad" => text_bytes,
        "array_repeat" | "array_resize" => list_bytes,
        "replace" => replaced_bytes,
        "regexp_replace" => regexp_replaced_bytes,
        "concat" | "concat_ws" => joined_bytes,
        "array_to_string" => list_text_bytes,
        "format" => formatted_bytes,
        _ => return Ok(Made::default()),
    };
    // A constant stays one value: written out once a row it may itself be too long.
    let is_series = matches!(name, "generate_series" | "range");
    let columns = args.args.iter().map(|arg| match arg {
        ColumnarValue::Scalar(value) if !is_series => value.to_array(),
        arg => arg.to_array(args.number_rows),
    });
    let columns = columns.collect::<BoundResult<Vec<_>>>()?;
    makes(name, &columns)
}

/// # Errors
/// Texts whose distance would take too long.
fn check_distance(args: &ScalarFunctionArgs) -> BoundResult<()> {
    for arg in &args.args {
        let column = arg.to_array(args.number_rows)?;
        let Some(column) = texts(&[column], 0)? else {
            continue;
        };
        let is_long = |text: &str| {
            text.len() > DISTANCE_CHARS_MAX && text.chars().count() > DISTANCE_CHARS_MAX
        };
        if column.as_string_view().iter().flatten().any(is_long) {
            let message =
                format!("levenshtein takes texts of {DISTANCE_CHARS_MAX} characters at most");
            let mut diagnostic = Diagnostic::new(Code::Row, message).help("left(x, 4096)");
            diagnostic.sqlstate = "22023".to_owned();
            return Err(DataFusionError::External(Box::new(diagnostic)));
        }
    }
    Ok(())
}

/// The whole numbers of a column.
fn numbers(columns: &[ArrayRef], place: usize) -> Option<ArrayRef> {
    let column = columns.get(place)?;
    let is_whole = column.data_type().is_integer();
    is_whole.then(|| cast(column, &DataType::Int64).ok())?
}

/// Where the value of a row stands; a constant has one for all.
fn place_of(column: &dyn Array, row: usize) -> usize {
    if column.len() == 1 { 0 } else { row }
}

fn number(column: Option<&ArrayRef>, row: usize) -> Option<i128> {
    let column = column?.as_primitive::<Int64Type>();
    let row = place_of(column, row);
    column.is_valid(row).then(|| i128::from(column.value(row)))
}

/// The texts of a column.
fn texts(columns: &[ArrayRef], place: usize) -> BoundResult<Option<ArrayRef>> {
    let column = columns.get(place);
    let column = column.filter(|column| is_text(column.data_type()));
    let texts = column.map(|column| cast(column, &DataType::Utf8View));
    Ok(texts.transpose()?)
}

fn text(column: Option<&ArrayRef>, row: usize) -> Option<&str> {
    let column = column?.as_string_view();
    let row = place_of(column, row);
    column.is_valid(row).then(|| column.value(row))
}

fn is_null(arg: &ColumnarValue) -> bool {
    matches!(arg, ColumnarValue::Scalar(value) if value.is_null())
}

fn rows(columns: &[ArrayRef]) -> usize {
    let lengths = columns.iter().map(|column| column.len());
    if lengths.clone().any(|length| length == 0) {
        return 0;
    }
    lengths.max().unwrap_or(0)
}

fn length(bytes: usize) -> i128 {
    i128::try_from(bytes).unwrap_or(i128::MAX)
}

fn sum(of_rows: impl Iterator<Item = i128>) -> Made {
    of_rows.fold(Made::default(), |made, bytes| Made {
        all: made.all.saturating_add(bytes.max(0)),
        longest: made.longest.max(bytes),
    })
}

/// generate_series(to), generate_series(from, to), generate_series(from, to, step)
fn series_bytes(name: &str, columns: &[ArrayRef]) -> BoundResult<Made> {
    if columns.iter().any(|column| column.data_type().is_null()) {
        return Ok(Made::default());
    }
    let bounds = Bounds::of(name, columns)?;
    let of_rows = (0..bounds.rows()).map(|row| bounds.count(row).saturating_mul(NUMBER_BYTES));
    Ok(sum(of_rows))
}

/// repeat(text, times), lpad(text, length)
fn text_bytes(name: &str, columns: &[ArrayRef]) -> BoundResult<Made> {
    let (values, times) = (texts(columns, 0)?, numbers(columns, 1));
    let of_rows = (0..rows(columns)).map(|row| {
        let times = number(times.as_ref(), row).unwrap_or(0);
        let bytes = text(values.as_ref(), row).map_or(0, str::len);
        match name {
            "repeat" => times.saturating_mul(length(bytes)),
            _ => times,
        }
    });
    Ok(sum(of_rows))
}

/// array_repeat(value, times), array_resize(list, length, value)
fn list_bytes(_name: &str, columns: &[ArrayRef]) -> BoundResult<Made> {
    let times = numbers(columns, 1);
    let Some(values) = columns.first() else {
        return Ok(Made::default());
    };
    let of_one = column_bytes(values) / values.len().max(1);
    let of_one = length(of_one).max(NUMBER_BYTES);
    let of_rows = (0..rows(columns)).map(|row| {
        let times = number(times.as_ref(), row).unwrap_or(0);
        times.saturating_mul(of_one)
    });
    Ok(sum(of_rows))
}

/// replace(text, from, to)
fn replaced_bytes(_name: &str, columns: &[ArrayRef]) -> BoundResult<Made> {
    let [values, from, to] = [0, 1, 2].map(|place| texts(columns, place));
    let (values, from, to) = (values?, from?, to?);
    let of_rows = (0..rows(columns)).map(|row| {
        let [value, from, to] = [&values, &from, &to].map(|texts| text(texts.as_ref(), row));
        let (Some(value), Some(from), Some(to)) = (value, from, to) else {
            return 0;
        };
        if to.len() <= from.len() {
            return length(value.len());
        }
        let found = length(value.matches(from).count());
        length(value.len()).saturating_add(found.saturating_mul(length(to.len())))
    });
    Ok(sum(of_rows))
}

/// regexp_replace(text, pattern, to, flags): at every letter at the most, and counted where that would be too long.
fn regexp_replaced_bytes(_name: &str, columns: &[ArrayRef]) -> BoundResult<Made> {
    let [values, patterns, to, flags] = [0, 1, 2, 3].map(|place| texts(columns, place));
    let (values, patterns, to, flags) = (values?, patterns?, to?, flags?);
    let of_rows = (0..rows(columns)).map(|row| {
        let [value, pattern, to] = [&values, &patterns, &to].map(|texts| text(texts.as_ref(), row));
        let (Some(value), Some(pattern), Some(to)) = (value, pattern, to) else {
            return 0;
        };
        let flags = text(flags.as_ref(), row).unwrap_or("");
        let groups = to.matches(['\\', '$']).count() + 1;
        let kept = length(value.len()).saturating_mul(length(groups));
        let of_all =
            |places: usize| kept.saturating_add(length(to.len()).saturating_mul(length(places)));
        if !flags.contains('g') {
            return of_all(1);
        }
        let most = of_all(value.len() + 1);
        if most <= TEXT_BYTES_MAX {
            return most;
        }
        let flags = flags.replace('g', "");
        let Ok(regex) = compile_regex(pattern, (!flags.is_empty()).then_some(&flags)) else {
            return 0; // The function itself says what is wrong with it.
        };
        let enough = usize::try_from(TEXT_BYTES_MAX).unwrap_or(usize::MAX) / to.len().max(1) + 1;
        of_all(regex.find_iter(value).take(enough).count())
    });
    Ok(sum(of_rows))
}

/// concat(value, …), concat_ws(separator, value, …)
fn joined_bytes(name: &str, columns: &[ArrayRef]) -> BoundResult<Made> {
    let parts = (0..columns.len()).map(|place| texts(columns, place));
    let parts = parts.collect::<BoundResult<Vec<_>>>()?;
    let of_rows = (0..rows(columns)).map(|row| {
        let bytes = parts
            .iter()
            .map(|part| length(text(part.as_ref(), row).map_or(0, str::len)));
        let mut bytes: Vec<i128> = bytes.collect();
        if name == "concat_ws"
            && let Some(separator) = bytes.first_mut()
        {
            *separator = separator.saturating_mul(length(columns.len().saturating_sub(2)));
        }
        sum(bytes.into_iter()).all
    });
    Ok(sum(of_rows))
}

/// array_to_string(list, separator, instead of NULL)
fn list_text_bytes(_name: &str, columns: &[ArrayRef]) -> BoundResult<Made> {
    let (separators, nulls) = (texts(columns, 1)?, texts(columns, 2)?);
    let Some(lists) = columns.first().and_then(|lists| lists.as_list_opt::<i32>()) else {
        return Ok(Made::default());
    };
    let elements = texts(&[Arc::clone(lists.values())], 0)?;
    let of_rows = (0..rows(columns)).map(|row| {
        let between =
            [&separators, &nulls].map(|texts| text(texts.as_ref(), row).map_or(0, str::len));
        let place = place_of(lists, row);
        let offsets = lists.value_offsets();
        let range = offsets[place] as usize..offsets[place + 1] as usize;
        let beside =
            length(range.len()).saturating_mul(length(between[0].saturating_add(between[1])));
        let own = range.map(|element| match &elements {
            Some(texts) => text(Some(texts), element).map_or(0, str::len),
            None => NUMBER_CHARS,
        });
        beside.saturating_add(length(own.sum()))
    });
    Ok(sum(of_rows))
}

/// format(pattern, value, …): each mark the longest value, as wide as the pattern's numbers say.
fn formatted_bytes(_name: &str, columns: &[ArrayRef]) -> BoundResult<Made> {
    let parts = (0..columns.len()).map(|place| texts(columns, place));
    let parts = parts.collect::<BoundResult<Vec<_>>>()?;
    let of_rows = (0..rows(columns)).map(|row| {
        let mut bytes = parts.iter().map(|part| text(part.as_ref(), row));
        let pattern = bytes.next().flatten().unwrap_or("");
        let longest = bytes
            .map(|value| value.map_or(NUMBER_CHARS, str::len))
            .max()
            .unwrap_or(0);
        let widths = pattern.split(|letter: char| !letter.is_ascii_digit());
        let widths = widths.filter_map(|digits| digits.parse::<u32>().ok());
        let marks = length(pattern.matches('%').count()).saturating_mul(length(longest));
        length(pattern.len())
            .saturating_add(marks)
            .saturating_add(widths.map(i128::from).sum())
    });
    Ok(sum(of_rows))
}

impl ScalarUDFImpl for LongValue {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn aliases(&self) -> &[String] {
        self.function.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
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
        let name = self.function.name();
        if name == "levenshtein" {
            check_distance(&args)?;
        }
        // The function panics over a length below 0 beside a fill that is NULL.
        if matches!(name, "lpad" | "rpad") && args.args.iter().any(is_null) {
            let null = ScalarValue::try_from(args.return_field.data_type())?;
            return Ok(ColumnarValue::Scalar(null));
        }
        let made = made(name, &args)?;
        let is_text = !OF_LISTS.contains(&name);
        let long = if is_text && made.longest > TEXT_BYTES_MAX {
            Some("a text of more than 16 MiB")
        } else {
            (made.all > length(BYTES_MAX)).then_some("more than 512 MiB")
        };
        if let Some(long) = long {
            let message = format!("what {name} makes here is too long: {long}");
            let mut diagnostic = Diagnostic::new(Code::Row, message);
            if matches!(name, "generate_series" | "range") {
                diagnostic = diagnostic.help("it is a list of all its values, 67 million at most; in FROM it is none, and may be longer");
            }
            diagnostic.sqlstate = "54000".to_owned();
            return Err(DataFusionError::External(Box::new(diagnostic)));
        }
        self.function.invoke_with_args(args)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> BoundResult<ExprSimplifyResult> {
        // These would write out their constants in the plan, whatever that makes.
        if matches!(self.function.name(), "concat" | "concat_ws") {
            return Ok(ExprSimplifyResult::Original(args));
        }
        self.function.simplify(args, info)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringViewArray;
    use arrow::datatypes::Field;
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

    fn bytes(name: &str, columns: &[&[&str]]) -> i128 {
        let column = |texts: &&[&str]| Arc::new(StringViewArray::from(texts.to_vec())) as ArrayRef;
        let columns: Vec<ArrayRef> = columns.iter().map(column).collect();
        let makes = match name {
            "regexp_replace" => regexp_replaced_bytes,
            "format" => formatted_bytes,
            _ => joined_bytes,
        };
        makes(name, &columns).expect("texts").longest
    }

    #[test]
    fn what_is_made_of_many_texts_is_known_before() {
        assert_eq!(bytes("concat", &[&["ab", "c"], &["xyz"]]), 5);
        assert_eq!(bytes("concat_ws", &[&["--"], &["a"], &["b"], &["c"]]), 7);
        assert_eq!(bytes("concat", &[&[], &["xyz"]]), 0);
        let long = "a".repeat(1 << 20);
        let of = |pattern: &str, flags: &str| {
            bytes(
                "regexp_replace",
                &[&[&long], &[pattern], &[&long], &[flags]],
            )
        };
        assert_eq!(of("a", ""), 2 << 20);
        assert!(of("a", "g") > TEXT_BYTES_MAX);
        // Found nowhere, or in one place, it makes nothing long.
        assert_eq!(of("b", "g"), 1 << 20);
        assert_eq!(of("^a", "g"), 2 << 20);
        assert!(bytes("format", &[&["%s%s"], &[&long]]) >= 2 << 20);
        assert!(bytes("format", &[&["%999999999s"], &["x"]]) > TEXT_BYTES_MAX);
    }

    #[test]
    fn what_is_too_long_is_refused_before_it_is_made() {
        let repeat = datafusion::functions::string::repeat();
        let text = || ScalarValue::Utf8View(Some("ab".to_owned()));
        assert!(call(&repeat, text(), 3).is_ok());
        let error = call(&repeat, text(), 2_000_000_000).expect_err("too long");
        assert!(error.to_string().contains("too long"), "{error}");
        let error = call(&repeat, text(), 9_000_000).expect_err("one text of 18 MB");
        assert!(error.to_string().contains("16 MiB"), "{error}");
        let list = datafusion::functions_nested::repeat::array_repeat_udf();
        let seven = || ScalarValue::Int64(Some(7));
        assert!(call(&list, seven(), 3).is_ok());
        let error = call(&list, seven(), 2_000_000_000).expect_err("too long");
        assert!(error.to_string().contains("too long"), "{error}");
    }
}
