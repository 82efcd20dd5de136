//! Functions of a row that others have and DataFusion has not, by noun: each is a line of a table that says what it takes,
//! what it gives, and how a row of the one becomes the other.
//!
//! ```text
//! text.rs     parts of texts, maps out of texts    bytes.rs    numbers, texts and bytes as digits
//! digest.rs   SHA                                  url.rs      parts of URLs
//! mask.rs     what hides letters and digits        printf.rs   Java's patterns
//! time.rs     moved and made times, intervals      number.rs   buckets, distances
//! name.rs     what a value is, and where this is   regexp.rs   all matches of a pattern
//! list.rs     elements, entries, counts of values   prepend.rs  array_prepend in either order
//! ../json/edit.rs    parts of documents, and documents changed
//! ```
//!
//! Invariants:
//! 1. NULL among the arguments gives NULL, unless the line says `null`.
//! 2. What a row has no answer for is an error of that row, or NULL where its origin has NULL.

mod answers;
mod bytes;
mod digest;
mod list;
mod mask;
mod name;
mod number;
mod prepend;
mod printf;
mod regexp;
mod take;
mod text;
mod time;
mod url;

use std::borrow::Cow;
use std::hash::{Hash, Hasher};

use arrow::array::{ArrayRef, StringViewArray};
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit};
use datafusion::common::{DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use streams::{is_json_text, json_type};

use self::answers::Answers;
pub(super) use self::prepend::register as register_prepend;
use self::take::Column;
pub(super) use self::take::Takes;
use super::json::EDITS;
use super::sql_type::{list_type, map_type};
use crate::diagnostic::{Code, Diagnostic};

/// Bytes of the values that one call makes; as much as `long_value.rs` lets others make.
const BYTES_MAX: usize = 512 << 20;
/// How much of a text that is no document an error quotes.
const QUOTE_CHARS_MAX: usize = 40;

/// An argument in a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Text(&'a str),
    Int(i64),
    Float(f64),
    Bool(bool),
    Bytes(&'a [u8]),
    /// Days since 1970.
    Date(i32),
    /// µs since 1970, of the clock on the wall or of UTC.
    Time(i64),
    /// µs since midnight.
    Clock(i64),
    Interval(IntervalMonthDayNano),
    /// A document that was checked.
    Json(&'a str),
    /// The texts of a list: of an array from one place up to another.
    Texts(&'a StringViewArray, usize, usize),
}

impl<'a> Value<'a> {
    /// The document that it is, or that its text is.
    pub(super) fn document(self) -> Result<&'a str, String> {
        match self {
            Self::Json(document) => Ok(document),
            Self::Text(text) if is_json_text(text) => Ok(text),
            Self::Text(text) => {
                let start: String = text.chars().take(QUOTE_CHARS_MAX).collect();
                let rest = if start.len() < text.len() { "…" } else { "" };
                Err(format!("'{start}{rest}' is not JSON"))
            }
            _ => Err("a document is JSON".to_owned()),
        }
    }
}

/// What a row gives.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer<'a> {
    Null,
    Text(Cow<'a, str>),
    /// Of every type that is a number inside, times too.
    Int(i64),
    Float(f64),
    Bool(bool),
    Bytes(Vec<u8>),
    Interval(IntervalMonthDayNano),
    Texts(Vec<Cow<'a, str>>),
    Entries(Vec<(Cow<'a, str>, Option<&'a str>)>),
}

impl Answer<'_> {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(Cow::Owned(text.into()))
    }
}

/// What a function does with the arguments of a row.
pub(super) type Of = for<'a> fn(&[Value<'a>]) -> Result<Answer<'a>, String>;

/// A line of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    name: &'static str,
    takes: &'static [Takes],
    /// How many of them may be left out, from the last.
    optional: usize,
    /// The last may stand any number of times.
    repeats: bool,
    /// Its arguments may be NULL.
    null: bool,
    /// The type of its answers by those of its arguments.
    gives: fn(&[DataType]) -> DataType,
    of: Of,
}

pub(super) const fn line(
    name: &'static str,
    takes: &'static [Takes],
    gives: fn(&[DataType]) -> DataType,
    of: Of,
) -> Line {
    Line {
        name,
        takes,
        optional: 0,
        repeats: false,
        null: false,
        gives,
        of,
    }
}

impl Line {
    pub(super) const fn optional(mut self, optional: usize) -> Self {
        self.optional = optional;
        self
    }

    pub(super) const fn repeats(mut self) -> Self {
        self.repeats = true;
        self
    }

    pub(super) const fn null(mut self) -> Self {
        self.null = true;
        self
    }

    fn takes(&self, place: usize) -> Option<Takes> {
        let last = self.takes.last().filter(|_| self.repeats);
        self.takes.get(place).or(last).copied()
    }

    /// What it takes, in words.
    fn form(&self) -> String {
        let words = |takes: &[Takes]| {
            let words: Vec<&str> = takes.iter().map(|takes| takes.words()).collect();
            match words.as_slice() {
                [] => "nothing".to_owned(),
                [one] => (*one).to_owned(),
                [first @ .., last] => format!("{} and {last}", first.join(", ")),
            }
        };
        let (needed, optional) = self.takes.split_at(self.takes.len() - self.optional);
        let form = match (needed, optional) {
            (needed, []) => words(needed),
            ([], optional) => format!("{} or nothing", words(optional)),
            (needed, optional) => format!("{}, and {} if wanted", words(needed), words(optional)),
        };
        match self.repeats {
            true => format!("{form}, and any number of these"),
            false => form,
        }
    }
}

pub(super) fn text(_: &[DataType]) -> DataType {
    DataType::Utf8View
}

pub(super) fn bigint(_: &[DataType]) -> DataType {
    DataType::Int64
}

pub(super) fn integer(_: &[DataType]) -> DataType {
    DataType::Int32
}

pub(super) fn double(_: &[DataType]) -> DataType {
    DataType::Float64
}

pub(super) fn boolean(_: &[DataType]) -> DataType {
    DataType::Boolean
}

pub(super) fn bytea(_: &[DataType]) -> DataType {
    DataType::BinaryView
}

pub(super) fn interval(_: &[DataType]) -> DataType {
    DataType::Interval(IntervalUnit::MonthDayNano)
}

pub(super) fn texts(_: &[DataType]) -> DataType {
    list_type(DataType::Utf8View)
}

pub(super) fn entries(_: &[DataType]) -> DataType {
    map_type(DataType::Utf8View, DataType::Utf8View)
}

pub(super) fn json(_: &[DataType]) -> DataType {
    json_type()
}

const TABLES: &[&[Line]] = &[
    bytes::LINES,
    digest::LINES,
    mask::LINES,
    name::LINES,
    number::LINES,
    printf::LINES,
    text::LINES,
    time::LINES,
    url::LINES,
    EDITS,
];

/// The functions.
pub(super) fn functions() -> impl Iterator<Item = ScalarUDF> {
    let lines = TABLES.iter().flat_map(|table| table.iter());
    lines
        .map(function)
        .chain(regexp::functions())
        .chain(name::functions())
        .chain(list::functions())
}

/// A call of one of the tables' functions.
pub(super) fn call(name: &str, args: Vec<Expr>) -> Option<Expr> {
    let mut lines = TABLES.iter().flat_map(|table| table.iter());
    let line = lines.find(|line| line.name == name)?;
    Some(function(line).call(args))
}

fn function(line: &'static Line) -> ScalarUDF {
    ScalarUDF::from(Scalar {
        line,
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

/// A function by its line.
#[derive(Debug)]
struct Scalar {
    line: &'static Line,
    signature: Signature,
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.line.name == other.line.name
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.line.name.hash(state);
    }
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        self.line.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        let line = self.line;
        let wrong = || {
            let given: Vec<String> = args.iter().map(super::type_name).collect();
            let given = match given.as_slice() {
                [] => "nothing".to_owned(),
                given => given.join(", "),
            };
            let (name, form) = (line.name.trim_start_matches("__"), line.form());
            DataFusionError::Plan(format!("{name} takes {form}, not {given}"))
        };
        if args.len() + line.optional < line.takes.len() {
            return Err(wrong());
        }
        let types = args.iter().enumerate();
        let types = types.map(|(place, arg)| line.takes(place)?.coerced(arg));
        types.collect::<Option<Vec<_>>>().ok_or_else(wrong)
    }

    fn return_type(&self, args: &[DataType]) -> BoundResult<DataType> {
        Ok((self.line.gives)(args))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let is_constant = |arg: &ColumnarValue| matches!(arg, ColumnarValue::Scalar(_));
        let constant = args.args.iter().all(is_constant);
        let rows = if constant { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|arg| arg.to_array(rows));
        let arrays = arrays.collect::<BoundResult<Vec<_>>>()?;
        let columns = arrays.iter().map(Column::of);
        let columns = columns.collect::<BoundResult<Vec<_>>>()?;
        let answers = self.answers(&columns, rows, args.return_field.data_type())?;
        Ok(match constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&answers, 0)?),
            false => ColumnarValue::Array(answers),
        })
    }
}

impl Scalar {
    fn answers(&self, columns: &[Column<'_>], rows: usize, to: &DataType) -> BoundResult<ArrayRef> {
        let mut answers = Answers::of(to);
        let mut values = Vec::with_capacity(columns.len());
        for row in 0..rows {
            values.clear();
            values.extend(columns.iter().map(|column| column.value(row)));
            if !self.line.null && values.contains(&Value::Null) {
                answers.push(Answer::Null)?;
                continue;
            }
            let answer = (self.line.of)(&values).map_err(|why| self.wrong(&why))?;
            answers.push(answer)?;
            if answers.bytes > BYTES_MAX {
                return Err(self.wrong(&format!("more than {BYTES_MAX} bytes are too long")));
            }
        }
        answers.finish(to)
    }

    fn wrong(&self, why: &str) -> DataFusionError {
        // Two of them stand for one that is called.
        let name = self.line.name.trim_start_matches("__");
        let message = format!("{name}: {why}");
        let mut diagnostic = Diagnostic::new(Code::Row, message);
        diagnostic.sqlstate = "22023".to_owned();
        DataFusionError::External(Box::new(diagnostic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::functions as documented;

    #[test]
    fn every_function_is_told_of() {
        let functions: Vec<ScalarUDF> = functions().collect();
        let names = functions.iter().map(ScalarUDF::name);
        for name in names.filter(|name| !name.starts_with("__")) {
            let told = documented().any(|function| function.name == name);
            assert!(told, "{name} is missing in the table of functions");
        }
    }
}
