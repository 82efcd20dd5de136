//! What functions of a row take: kinds of arguments, and the values of a column of each.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, IntervalMonthDayNanoArray, ListArray,
    PrimitiveArray, StringViewArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int64Type, IntervalUnit, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::common::{DataFusionError, Result as BoundResult};

use streams::{is_json, json_texts};

use super::super::sql_type::{instant, list_type, timestamp};
use super::super::time::intervals_of;
use super::super::time_text::is_text;
use super::Value;

/// A kind of argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan) enum Takes {
    Text,
    Int,
    /// Any number, as a float.
    Float,
    /// An integer as one, any other number as a float.
    Number,
    Bool,
    Bytes,
    TextOrBytes,
    TextOrInt,
    TextOrNumber,
    /// A time with its date, or a date.
    Time,
    /// The same, a time of the day, or an interval.
    AnyTime,
    /// A date, a time, a time of the day.
    Movable,
    Interval,
    /// What a pattern has places for.
    Plain,
    /// A document, or the text of one.
    Document,
    /// A way into a document: `'{a,0}'` or a list of texts.
    Path,
    Any,
}

impl Takes {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Int => "an integer",
            Self::Float | Self::Number => "a number",
            Self::Bool => "a condition",
            Self::Bytes => "bytes",
            Self::TextOrBytes => "a text or bytes",
            Self::TextOrInt => "a text or an integer",
            Self::TextOrNumber => "a text or a number",
            Self::Time => "a date or a time",
            Self::AnyTime => "a date, a time or an interval",
            Self::Movable => "a date or a time",
            Self::Interval => "an interval",
            Self::Plain => "a text, a number or a condition",
            Self::Document => "JSON",
            Self::Path => "a path like '{a,0}'",
            Self::Any => "a value",
        }
    }

    /// The type in which it takes a value of another; `None`: it does not.
    pub(super) fn coerced(self, given: &DataType) -> Option<DataType> {
        let any = |kinds: &[Self]| kinds.iter().find_map(|kind| kind.coerced(given));
        match (self, given) {
            (Self::Any, given) => Some(given.clone()),
            (Self::Text, DataType::Null) => Some(DataType::Utf8View),
            (Self::Text, given) => is_text(given).then_some(DataType::Utf8View),
            (Self::Int, given) => {
                let fits = given.is_integer() || *given == DataType::Null;
                fits.then_some(DataType::Int64)
            }
            (Self::Float, given) => {
                let fits = given.is_numeric() || *given == DataType::Null;
                fits.then_some(DataType::Float64)
            }
            (Self::Number, _) => any(&[Self::Int, Self::Float]),
            (Self::Bool, DataType::Boolean | DataType::Null) => Some(DataType::Boolean),
            (
                Self::Bytes,
                DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::Null,
            ) => Some(DataType::BinaryView),
            (Self::TextOrBytes, _) => any(&[Self::Text, Self::Bytes]),
            (Self::TextOrInt, _) => any(&[Self::Text, Self::Int]),
            (Self::TextOrNumber, _) => any(&[Self::Text, Self::Number]),
            (Self::Time, DataType::Date32) => Some(DataType::Date32),
            (Self::Time, DataType::Timestamp(_, Some(_))) => Some(instant()),
            (Self::Time, DataType::Timestamp(_, None) | DataType::Null) => Some(timestamp()),
            (Self::Movable, DataType::Time32(_) | DataType::Time64(_)) => {
                Some(DataType::Time64(TimeUnit::Microsecond))
            }
            (Self::Movable, _) => any(&[Self::Time]),
            (Self::Interval, DataType::Duration(_)) => {
                Some(DataType::Duration(TimeUnit::Microsecond))
            }
            (Self::Interval, DataType::Interval(_) | DataType::Null) => {
                Some(DataType::Interval(IntervalUnit::MonthDayNano))
            }
            (Self::AnyTime, _) => any(&[Self::Movable, Self::Interval]),
            // With all of its digits.
            (Self::Plain, given) if given.is_decimal() => Some(DataType::Utf8View),
            (Self::Document, given) if is_json(given) => Some(given.clone()),
            (Self::Document, _) => any(&[Self::Text]),
            (
                Self::Path,
                DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..),
            ) => Some(list_type(DataType::Utf8View)),
            (Self::Path, _) => any(&[Self::Text]),
            (Self::Plain, _) => any(&[Self::Text, Self::Number, Self::Bool]),
            _ => None,
        }
    }
}

/// A column of arguments.
pub(super) enum Column<'a> {
    Text(&'a StringViewArray),
    Int(&'a PrimitiveArray<Int64Type>),
    Float(&'a PrimitiveArray<Float64Type>),
    Bool(&'a BooleanArray),
    Bytes(&'a BinaryViewArray),
    Date(&'a PrimitiveArray<Date32Type>),
    Time(&'a PrimitiveArray<TimestampMicrosecondType>),
    Clock(&'a PrimitiveArray<Time64MicrosecondType>),
    Interval(IntervalMonthDayNanoArray),
    Json(&'a ArrayRef, &'a StringViewArray),
    Texts(&'a ListArray, &'a StringViewArray),
    /// Of a type that is not looked into.
    Other(&'a ArrayRef),
}

impl<'a> Column<'a> {
    pub(super) fn of(array: &'a ArrayRef) -> BoundResult<Self> {
        if let Some(texts) = json_texts(array) {
            return Ok(Self::Json(array, texts));
        }
        if let Some(lists) = array.as_list_opt::<i32>()
            && let Some(texts) = lists.values().as_string_view_opt()
        {
            return Ok(Self::Texts(lists, texts));
        }
        Ok(match array.data_type() {
            DataType::Utf8View => Self::Text(array.as_string_view()),
            DataType::Int64 => Self::Int(array.as_primitive()),
            DataType::Float64 => Self::Float(array.as_primitive()),
            DataType::Boolean => Self::Bool(array.as_boolean()),
            DataType::BinaryView => Self::Bytes(array.as_binary_view()),
            DataType::Date32 => Self::Date(array.as_primitive()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => Self::Time(array.as_primitive()),
            DataType::Time64(TimeUnit::Microsecond) => Self::Clock(array.as_primitive()),
            DataType::Duration(TimeUnit::Microsecond)
            | DataType::Interval(IntervalUnit::MonthDayNano) => {
                let intervals = intervals_of(array);
                Self::Interval(intervals.map_err(DataFusionError::from)?)
            }
            _ => Self::Other(array),
        })
    }

    pub(super) fn value(&self, row: usize) -> Value<'a> {
        let valid = match self {
            Self::Text(array) => array.is_valid(row),
            Self::Int(array) => array.is_valid(row),
            Self::Float(array) => array.is_valid(row),
            Self::Bool(array) => array.is_valid(row),
            Self::Bytes(array) => array.is_valid(row),
            Self::Date(array) => array.is_valid(row),
            Self::Time(array) => array.is_valid(row),
            Self::Clock(array) => array.is_valid(row),
            Self::Interval(array) => array.is_valid(row),
            Self::Json(array, texts) => array.is_valid(row) && texts.is_valid(row),
            Self::Texts(lists, _) => lists.is_valid(row),
            // NULLs of no type have no mark.
            Self::Other(array) => *array.data_type() != DataType::Null && array.is_valid(row),
        };
        match self {
            _ if !valid => Value::Null,
            Self::Text(array) => Value::Text(array.value(row)),
            Self::Int(array) => Value::Int(array.value(row)),
            Self::Float(array) => Value::Float(array.value(row)),
            Self::Bool(array) => Value::Bool(array.value(row)),
            Self::Bytes(array) => Value::Bytes(array.value(row)),
            Self::Date(array) => Value::Date(array.value(row)),
            Self::Time(array) => Value::Time(array.value(row)),
            Self::Clock(array) => Value::Clock(array.value(row)),
            Self::Interval(array) => Value::Interval(array.value(row)),
            Self::Json(_, texts) => Value::Json(texts.value(row)),
            Self::Texts(lists, texts) => {
                let offset = |row: usize| lists.value_offsets()[row].unsigned_abs() as usize;
                Value::Texts(texts, offset(row), offset(row + 1))
            }
            Self::Other(_) => Value::Bool(true),
        }
    }
}
