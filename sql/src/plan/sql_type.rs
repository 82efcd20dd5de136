//! SQL's types and the Arrow types that they are here (the only ones that sources, states and topics hold).
//!
//! ```text
//! TEXT Utf8View · BYTEA BinaryView · TINYINT…BIGINT Int8…Int64 · REAL, DOUBLE Float32/64 · BOOLEAN · DATE Date32
//! DECIMAL(p,s) Decimal128 · TIMESTAMP Timestamp(µs) · TIMESTAMPTZ Timestamp(µs, "UTC") · TIME Time64(µs)
//! JSON, JSONB streams::json_type() · T[], ARRAY<T> List · STRUCT<a T>, ROW<a T> Struct · MAP<TEXT, T> Map
//! ```
//!
//! What lies inside of a nested type may be NULL. UUID is a TEXT that is not looked at. VARCHAR(n) and CHAR(n) are TEXTs of
//! that length: a column refuses what is longer, a cast cuts it.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use datafusion::common::{DataFusionError, Result as BoundResult};
use datafusion::logical_expr::planner::TypePlanner;
use sqlparser::ast::{
    ArrayElemTypeDef, DataType as SqlType, ExactNumberInfo, StructField, TimezoneInfo,
};
use streams::{JSON_FIELD, is_json, json_type};

use super::postgres::length_of;
pub(crate) use crate::diagnostic::type_name;
use crate::diagnostic::{Code, Diagnostic, nearest, type_stands_for};

/// The zone of instants.
pub(crate) const UTC: &str = "UTC";

const NAMES: &[&str] = &[
    "TEXT",
    "VARCHAR",
    "CHAR",
    "STRING",
    "BYTEA",
    "BYTES",
    "TINYINT",
    "SMALLINT",
    "INT",
    "INTEGER",
    "BIGINT",
    "REAL",
    "DOUBLE",
    "FLOAT",
    "BOOLEAN",
    "DATE",
    "DECIMAL",
    "NUMERIC",
    "TIMESTAMP",
    "TIMESTAMPTZ",
    "TIME",
    "JSON",
    "JSONB",
    "STRUCT",
    "ARRAY",
    "MAP",
];

/// Fields of one struct at the most.
const FIELDS_MAX: usize = 1024;
/// How deep a declared type may nest; the engine takes as much.
const LEVELS_MAX: usize = 16;

/// A timestamp without zone, µs.
pub(crate) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

/// An instant, µs.
pub(crate) fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()))
}

/// The type of lists of `element`.
pub(crate) fn list_type(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", element, true)))
}

/// The type of maps.
pub(crate) fn map_type(key: DataType, value: DataType) -> DataType {
    let entries = Fields::from(vec![
        Field::new("key", key, false),
        Field::new("value", value, true),
    ]);
    DataType::Map(
        Arc::new(Field::new("entries", DataType::Struct(entries), false)),
        false,
    )
}

/// The Arrow type of a declared one.
pub(crate) fn arrow_type(sql: &SqlType) -> Result<DataType, Diagnostic> {
    nested_type(sql, LEVELS_MAX)
}

/// [`arrow_type`] of what may still nest so many levels.
fn nested_type(sql: &SqlType, levels: usize) -> Result<DataType, Diagnostic> {
    let below = || {
        let too_deep = format!("a type nests at most {LEVELS_MAX} levels");
        let left = levels.checked_sub(1);
        left.ok_or_else(|| Diagnostic::new(Code::UnknownType, too_deep).help("JSON takes any"))
    };
    match sql {
        SqlType::JSON | SqlType::JSONB => Ok(json_type()),
        SqlType::Array(
            ArrayElemTypeDef::AngleBracket(element)
            | ArrayElemTypeDef::SquareBracket(element, _)
            | ArrayElemTypeDef::Parenthesis(element),
        ) => Ok(list_type(nested_type(element, below()?)?)),
        SqlType::Map(key, value) => {
            let (key, value) = (nested_type(key, below()?)?, nested_type(value, below()?)?);
            if key != DataType::Utf8View {
                let message = format!("the keys of a map are TEXT, not {}", type_name(&key));
                return Err(Diagnostic::new(Code::UnknownType, message)
                    .help("MAP<TEXT, …>: names in JSON are texts"));
            }
            Ok(map_type(key, value))
        }
        SqlType::Struct(fields, _) => struct_type(fields, below()?),
        plain => plain_type(plain),
    }
}

fn struct_type(fields: &[StructField], levels: usize) -> Result<DataType, Diagnostic> {
    let wrong = |message: &str| Diagnostic::new(Code::UnknownType, message);
    if fields.is_empty() || fields.len() > FIELDS_MAX {
        let message = format!(
            "a struct has 1 to {FIELDS_MAX} fields, not {}",
            fields.len()
        );
        return Err(wrong(&message).help("JSON takes any"));
    }
    let mut known: Vec<FieldRef> = Vec::with_capacity(fields.len());
    for field in fields {
        let Some(name) = &field.field_name else {
            return Err(wrong("the fields of a struct have names").help("STRUCT<a INT, b TEXT>"));
        };
        let name = match name.quote_style {
            Some(_) => name.value.clone(),
            None => name.value.to_lowercase(),
        };
        if name == JSON_FIELD || known.iter().any(|other| *other.name() == name) {
            return Err(wrong(&format!("a second field {name:?}")).help("give it another name"));
        }
        let data_type = nested_type(&field.field_type, levels)?;
        known.push(Arc::new(Field::new(name, data_type, true)));
    }
    Ok(DataType::Struct(known.into()))
}

fn plain_type(sql: &SqlType) -> Result<DataType, Diagnostic> {
    let known = match sql {
        SqlType::Boolean | SqlType::Bool => DataType::Boolean,
        SqlType::TinyInt(_) => DataType::Int8,
        SqlType::SmallInt(_) | SqlType::Int2(_) => DataType::Int16,
        SqlType::Int(_) | SqlType::Integer(_) | SqlType::Int4(_) => DataType::Int32,
        SqlType::BigInt(_) | SqlType::Int8(_) => DataType::Int64,
        SqlType::Real | SqlType::Float4 => DataType::Float32,
        SqlType::Float(ExactNumberInfo::Precision(bits)) if *bits <= 24 => DataType::Float32,
        SqlType::Float(_) | SqlType::Float8 | SqlType::Double(_) | SqlType::DoublePrecision => {
            DataType::Float64
        }
        SqlType::Varchar(_)
        | SqlType::CharacterVarying(_)
        | SqlType::CharVarying(_)
        | SqlType::Nvarchar(_)
        | SqlType::Char(_)
        | SqlType::Character(_)
        | SqlType::Text
        | SqlType::String(_)
        | SqlType::Uuid => DataType::Utf8View,
        SqlType::Time(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone)
            if precision.is_none_or(|digits| digits <= 6) =>
        {
            DataType::Time64(TimeUnit::Microsecond)
        }
        SqlType::Bytea | SqlType::Bytes(_) | SqlType::Varbinary(_) => DataType::BinaryView,
        SqlType::Date => DataType::Date32,
        SqlType::Datetime(None) => timestamp(),
        SqlType::Timestamp(precision, zone) => {
            if precision.is_some_and(|digits| digits > 6) {
                return Err(
                    Diagnostic::new(Code::UnknownType, format!("{sql} is too fine"))
                        .help("timestamps have microseconds: TIMESTAMP or TIMESTAMP(6)"),
                );
            }
            match zone {
                TimezoneInfo::Tz | TimezoneInfo::WithTimeZone => instant(),
                TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => timestamp(),
            }
        }
        SqlType::Decimal(info) | SqlType::Numeric(info) | SqlType::Dec(info) => {
            return decimal(info);
        }
        SqlType::Custom(name, _) if name.to_string().eq_ignore_ascii_case("TIMESTAMP_LTZ") => {
            instant()
        }
        other => return Err(unknown(other)),
    };
    Ok(known)
}

fn decimal(info: &ExactNumberInfo) -> Result<DataType, Diagnostic> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (38, 10),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision @ 1..=38), Ok(scale))
            if scale >= 0 && i64::from(precision) >= i64::from(scale) =>
        {
            Ok(DataType::Decimal128(precision, scale))
        }
        _ => Err(Diagnostic::new(
            Code::UnknownType,
            format!("DECIMAL({precision}, {scale}) is out of range"),
        )
        .help("precision is 1 to 38, scale 0 to precision")),
    }
}

fn unknown(sql: &SqlType) -> Diagnostic {
    let name = sql.to_string();
    let diagnostic = Diagnostic::new(
        Code::UnknownType,
        format!("there are no columns of type {name}"),
    );
    if let Some(stands) = type_stands_for(&name) {
        return diagnostic.help(stands);
    }
    match nearest(&name, NAMES.iter().copied()) {
        Some(near) => diagnostic.help(format!("did you mean {near}?")),
        None => diagnostic.help(
            "there are TEXT, BYTEA, BOOLEAN, SMALLINT, INTEGER, BIGINT, REAL, DOUBLE, DECIMAL, DATE, TIME, TIMESTAMP, TIMESTAMPTZ, JSON, STRUCT<a T, …>, T[] and MAP<TEXT, T>",
        ),
    }
}

/// The type that stands for `data_type` in states, topics and answers; `None` where there is none.
pub(crate) fn settled(data_type: &DataType) -> Option<DataType> {
    let settled = match data_type {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8View
        | DataType::BinaryView
        | DataType::Date32
        | DataType::Decimal128(_, _) => data_type.clone(),
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Null => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => {
            DataType::BinaryView
        }
        DataType::Date64 => DataType::Date32,
        DataType::Timestamp(_, None) => timestamp(),
        DataType::Timestamp(_, Some(_)) => instant(),
        DataType::Dictionary(_, values) => return settled(values),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        json if is_json(json) => json.clone(),
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::FixedSizeList(element, _) => list_type(settled(element.data_type())?),
        DataType::Struct(fields) => {
            let field = |field: &FieldRef| {
                Some(Field::new(field.name(), settled(field.data_type())?, true))
            };
            DataType::Struct(fields.iter().map(field).collect::<Option<Fields>>()?)
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(entry) if entry.len() == 2 => map_type(
                settled(entry[0].data_type())?,
                settled(entry[1].data_type())?,
            ),
            _ => return None,
        },
        _ => return None,
    };
    Some(settled)
}

/// `CAST(x AS TIMESTAMP)` has microseconds in queries too, and types that have no meaning here are refused.
#[derive(Debug)]
pub(crate) struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql_type: &SqlType) -> BoundResult<Option<FieldRef>> {
        let ours = matches!(
            sql_type,
            SqlType::Timestamp(..)
                | SqlType::Datetime(_)
                | SqlType::Float(_)
                | SqlType::Custom(..)
                | SqlType::JSON
                | SqlType::JSONB
                | SqlType::Array(_)
                | SqlType::Struct(..)
                | SqlType::Map(..)
                | SqlType::Uuid
                | SqlType::Time(..)
        );
        if let Some((0, _)) = length_of(sql_type) {
            let error = Diagnostic::new(Code::UnknownType, "a text of length 0 has no characters");
            let error = error.help("a length is at least 1; TEXT has no limit");
            return Err(DataFusionError::External(Box::new(error)));
        }
        match arrow_type(sql_type) {
            Ok(data_type) if ours => Ok(Some(Arc::new(Field::new("", data_type, true)))),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_have_one_arrow_type() {
        let parsed = |sql: &str| {
            let text = format!("CAST(x AS {sql})");
            match crate::parse::parse_expr(&text).expect("parses") {
                sqlparser::ast::Expr::Cast { data_type, .. } => data_type,
                other => panic!("{other}"),
            }
        };
        for (sql, name) in [
            ("VARCHAR(20)", "TEXT"),
            ("DOUBLE PRECISION", "DOUBLE"),
            ("FLOAT", "DOUBLE"),
            ("INT8", "BIGINT"),
            ("TIMESTAMPTZ", "TIMESTAMPTZ"),
            ("TIMESTAMP(3)", "TIMESTAMP"),
            ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ"),
            ("NUMERIC(10, 2)", "DECIMAL(10, 2)"),
            ("BYTEA", "BYTEA"),
            ("JSONB", "JSON"),
            ("TIME", "TIME"),
            ("TEXT[]", "TEXT[]"),
            ("ARRAY<ARRAY<INT>>", "INTEGER[][]"),
            ("MAP<TEXT, JSON>", "MAP<TEXT, JSON>"),
            (
                "STRUCT<a INT, \"B c\" ARRAY<TEXT>>",
                "STRUCT<a INTEGER, \"B c\" TEXT[]>",
            ),
        ] {
            let data_type =
                arrow_type(&parsed(sql)).unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert_eq!(type_name(&data_type), name, "{sql}");
            assert_eq!(settled(&data_type), Some(data_type), "{sql}");
        }
        assert_eq!(
            arrow_type(&parsed("TIMESTAMP(9)"))
                .expect_err("too fine")
                .code,
            "TW1304"
        );
        assert_eq!(
            arrow_type(&parsed("TEXTT")).expect_err("unknown").code,
            "TW1304"
        );
    }
}
