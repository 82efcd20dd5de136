//! SQL's types and the Arrow types that they are here (the only ones that sources, states and topics hold).
//!
//! ```text
//! TEXT Utf8View · BYTEA BinaryView · TINYINT…BIGINT Int8…Int64 · REAL, DOUBLE Float32/64 · BOOLEAN · DATE Date32
//! DECIMAL(p,s) Decimal128 · TIMESTAMP Timestamp(µs) · TIMESTAMPTZ Timestamp(µs, "UTC")
//! ```

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::Result as BoundResult;
use datafusion::logical_expr::planner::TypePlanner;
use sqlparser::ast::{DataType as SqlType, ExactNumberInfo, TimezoneInfo};

use crate::diagnostic::{Code, Diagnostic, nearest};

/// The zone of instants.
pub(crate) const UTC: &str = "UTC";

const NAMES: &[&str] = &[
    "TEXT",
    "VARCHAR",
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
];

/// A timestamp without zone, µs.
pub(crate) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

/// An instant, µs.
pub(crate) fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()))
}

/// The Arrow type of a declared one.
pub(crate) fn arrow_type(sql: &SqlType) -> Result<DataType, Diagnostic> {
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
        | SqlType::Text
        | SqlType::String(_) => DataType::Utf8View,
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
    match nearest(&name, NAMES.iter().copied()) {
        Some(near) => diagnostic.help(format!("did you mean {near}?")),
        None => diagnostic.help(
            "there are TEXT, BYTEA, BOOLEAN, SMALLINT, INTEGER, BIGINT, REAL, DOUBLE, DECIMAL, DATE, TIMESTAMP and TIMESTAMPTZ",
        ),
    }
}

/// SQL's name of an Arrow type.
pub(crate) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INTEGER".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float32 => "REAL".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "TEXT".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BYTEA".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Timestamp(_, None) => "TIMESTAMP".to_owned(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMPTZ".to_owned(),
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL".to_owned(),
        other => other.to_string(),
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
            SqlType::Timestamp(..) | SqlType::Datetime(_) | SqlType::Float(_) | SqlType::Custom(..)
        );
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
