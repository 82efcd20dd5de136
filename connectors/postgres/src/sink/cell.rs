//! Values as the text that PostgreSQL casts, and the column type that a new column gets for them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use connect_api::{JsonStyle, Schema, Value, logical};

/// The kinds of values, in PostgreSQL's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    SmallInt,
    Integer,
    BigInt,
    Real,
    Double,
    Numeric,
    Text,
    Bytea,
    Date,
    Time,
    Timestamp,
    Json,
}

impl Kind {
    /// The type of a new column.
    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::SmallInt => "smallint",
            Self::Integer => "integer",
            Self::BigInt => "bigint",
            Self::Real => "real",
            Self::Double => "double precision",
            Self::Numeric => "numeric",
            Self::Text => "text",
            Self::Bytea => "bytea",
            Self::Date => "date",
            Self::Time => "time",
            Self::Timestamp => "timestamp",
            Self::Json => "jsonb",
        }
    }

    /// A kind that holds values of both.
    pub(super) fn join(self, other: Self) -> Self {
        let rank = |kind: Self| match kind {
            Self::SmallInt => Some(0),
            Self::Integer => Some(1),
            Self::BigInt => Some(2),
            Self::Real => Some(3),
            Self::Double => Some(4),
            Self::Numeric => Some(5),
            _ => None,
        };
        match (rank(self), rank(other)) {
            _ if self == other => self,
            (Some(_), Some(_))
                if matches!(
                    (self, other),
                    (Self::Real, Self::BigInt | Self::Integer)
                        | (Self::BigInt | Self::Integer, Self::Real)
                ) =>
            {
                Self::Double
            }
            (Some(a), Some(b)) => {
                if a > b {
                    self
                } else {
                    other
                }
            }
            _ => Self::Text,
        }
    }
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cell {
    /// `None` is NULL.
    pub(super) text: Option<String>,
    /// `None`: a NULL that nothing is known of.
    pub(super) kind: Option<Kind>,
}

impl Cell {
    /// The cell of a value.
    pub(super) fn of(value: &Value, schema: Option<&Schema>) -> Result<Self, String> {
        let name = schema.and_then(|schema| schema.name.as_deref());
        let (text, kind) = match value {
            Value::Null => {
                return Ok(Self {
                    text: None,
                    kind: schema.map(kind_of),
                });
            }
            Value::Boolean(value) => (value.to_string(), Kind::Boolean),
            Value::Int8(value) => (value.to_string(), Kind::SmallInt),
            Value::Int16(value) => (value.to_string(), Kind::SmallInt),
            Value::Int32(days) if name == Some(logical::DATE) => (
                date(i64::from(*days)).ok_or("the date is out of range")?,
                Kind::Date,
            ),
            Value::Int32(ms) if name == Some(logical::TIME) => {
                let text = timestamp(i64::from(*ms)).ok_or("the time is out of range")?;
                (
                    text.split_once('T').map_or("", |(_, time)| time).to_owned(),
                    Kind::Time,
                )
            }
            Value::Int32(value) => (value.to_string(), Kind::Integer),
            Value::Int64(ms) if name == Some(logical::TIMESTAMP) => (
                timestamp(*ms).ok_or("the timestamp is out of range")?,
                Kind::Timestamp,
            ),
            Value::Int64(value) => (value.to_string(), Kind::BigInt),
            Value::Float32(value) => (float(value.to_string()), Kind::Real),
            Value::Float64(value) => (float(value.to_string()), Kind::Double),
            Value::String(text) => (text.to_string(), Kind::Text),
            Value::Bytes(_) if name == Some(logical::DECIMAL) => {
                (json(value, schema, true)?, Kind::Numeric)
            }
            Value::Bytes(bytes) => (hex(bytes), Kind::Bytea),
            // A number of more digits than other kinds hold.
            Value::Json(text)
                if text
                    .as_str()
                    .starts_with(|c: char| c == '-' || c.is_ascii_digit()) =>
            {
                (text.to_string(), Kind::Numeric)
            }
            Value::Array(_) | Value::Map(_) | Value::Struct(_) | Value::Json(_) => {
                (json(value, schema, true)?, Kind::Json)
            }
        };
        if text.contains('\0') {
            return Err("text with a zero character, which PostgreSQL cannot store".to_owned());
        }
        Ok(Self {
            text: Some(text),
            kind: Some(kind),
        })
    }

    /// The text to send for a column of this type (as `format_type` prints it).
    pub(super) fn for_column(&self, column_type: &str) -> Option<String> {
        let text = self.text.as_ref()?;
        let plain = match column_type.split_once('(') {
            Some(_) if column_type.ends_with("[]") => "[]",
            Some((plain, _)) => plain,
            None => column_type,
        };
        Some(match (self.kind, plain) {
            // JSON has no bytes: they come as base64.
            (Some(Kind::Text), "bytea") => match STANDARD.decode(text) {
                Ok(bytes) => hex(&bytes),
                Err(_) => text.clone(),
            },
            (Some(Kind::Text), "json" | "jsonb") => {
                Value::text(text.as_str()).to_json().to_string()
            }
            (Some(Kind::Json), plain) if plain.ends_with("[]") => {
                array(text, plain).unwrap_or_else(|| text.clone())
            }
            // 10.0 is a whole number too.
            (Some(Kind::Double | Kind::Real), "smallint" | "integer" | "bigint") => {
                text.strip_suffix(".0").unwrap_or(text).to_owned()
            }
            _ => text.clone(),
        })
    }
}

/// How text becomes a value of a column.
pub(super) fn cast(expression: &str, column_type: &str) -> String {
    // A zone in the text counts; without one the text is UTC, because the session's zone is.
    if column_type.starts_with("timestamp") && column_type.ends_with("without time zone") {
        return format!("({expression}::timestamptz AT TIME ZONE 'UTC')");
    }
    if column_type.starts_with("timestamp") && column_type.ends_with("without time zone[]") {
        return format!("{expression}::timestamptz[]::{column_type}");
    }
    format!("{expression}::{column_type}")
}

/// A JSON array as PostgreSQL writes one; `None` if it is none.
fn array(json: &str, column_type: &str) -> Option<String> {
    let value = Value::parse_json(json).ok()?;
    let Value::Array(items) = &value else {
        return None;
    };
    let of_json = matches!(column_type, "json[]" | "jsonb[]");
    let mut text = String::new();
    write_array(items, of_json, &mut text);
    Some(text)
}

fn write_array(items: &[Value], of_json: bool, out: &mut String) {
    out.push('{');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        match item {
            Value::Null => out.push_str("NULL"),
            Value::Array(inner) if !of_json => write_array(inner, of_json, out),
            Value::String(text) if !of_json => quoted_item(text.as_str(), out),
            other => quoted_item(other.to_json().as_str(), out),
        }
    }
    out.push('}');
}

fn quoted_item(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

fn kind_of(schema: &Schema) -> Kind {
    use connect_api::SchemaType as Type;
    match (&schema.kind, schema.name.as_deref()) {
        (Type::Int32, Some(logical::DATE)) => Kind::Date,
        (Type::Int32, Some(logical::TIME)) => Kind::Time,
        (Type::Int64, Some(logical::TIMESTAMP)) => Kind::Timestamp,
        (Type::Bytes, Some(logical::DECIMAL)) => Kind::Numeric,
        (Type::Int8 | Type::Int16, _) => Kind::SmallInt,
        (Type::Int32, _) => Kind::Integer,
        (Type::Int64, _) => Kind::BigInt,
        (Type::Float32, _) => Kind::Real,
        (Type::Float64, _) => Kind::Double,
        (Type::Boolean, _) => Kind::Boolean,
        (Type::String, _) => Kind::Text,
        (Type::Bytes, _) => Kind::Bytea,
        (Type::Array(_) | Type::Map(..) | Type::Struct(_), _) => Kind::Json,
    }
}

fn json(value: &Value, schema: Option<&Schema>, decimal_numeric: bool) -> Result<String, String> {
    let mut out = Vec::new();
    value.write_json(
        schema,
        JsonStyle {
            decimal_numeric,
            ..JsonStyle::default()
        },
        &mut out,
    );
    String::from_utf8(out).map_err(|error| error.to_string())
}

fn date(days: i64) -> Option<String> {
    let midnight = chrono::DateTime::from_timestamp(days.checked_mul(86_400)?, 0)?;
    Some(midnight.format("%Y-%m-%d").to_string())
}

fn timestamp(ms: i64) -> Option<String> {
    let time = chrono::DateTime::from_timestamp_millis(ms)?;
    Some(time.format("%Y-%m-%dT%H:%M:%S%.3f").to_string())
}

fn float(text: String) -> String {
    match text.as_str() {
        "inf" => "Infinity".to_owned(),
        "-inf" => "-Infinity".to_owned(),
        _ => text,
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("\\x");
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &Value, schema: Option<&Schema>) -> (String, &'static str) {
        let cell = Cell::of(value, schema).unwrap();
        (cell.text.unwrap(), cell.kind.unwrap().sql())
    }

    #[test]
    fn values_and_logical_types() {
        use connect_api::SchemaType;
        assert_eq!(
            text(&Value::Float64(0.1), None),
            ("0.1".to_owned(), "double precision")
        );
        assert_eq!(
            text(&Value::Float64(f64::NEG_INFINITY), None).0,
            "-Infinity"
        );
        assert_eq!(
            text(&Value::Bytes("ab".into()), None),
            ("\\x6162".to_owned(), "bytea")
        );
        let date = Schema::new(SchemaType::Int32).named(logical::DATE);
        assert_eq!(
            text(&Value::Int32(15_706), Some(&date)),
            ("2013-01-01".to_owned(), "date")
        );
        let time = Schema::new(SchemaType::Int64).named(logical::TIMESTAMP);
        assert_eq!(
            text(&Value::Int64(1), Some(&time)).0,
            "1970-01-01T00:00:00.001"
        );
        let mut decimal = Schema::new(SchemaType::Bytes).named(logical::DECIMAL);
        decimal
            .parameters
            .insert("scale".to_owned(), "2".to_owned());
        assert_eq!(
            text(&Value::Bytes(vec![0x04, 0xd2].into()), Some(&decimal)),
            ("12.34".to_owned(), "numeric")
        );
        assert!(Cell::of(&Value::text("a\0b"), None).is_err());
    }

    #[test]
    fn json_arrays_for_columns_of_arrays() {
        let cell = Cell::of(
            &Value::parse_json(r#"[1,null,"a\"b\\",[true],{"x":1}]"#).unwrap(),
            None,
        )
        .unwrap();
        assert_eq!(
            cell.for_column("text[]").unwrap(),
            r#"{"1",NULL,"a\"b\\",{"true"},"{\"x\":1}"}"#
        );
        assert_eq!(cell.for_column("numeric(4,1)[]"), cell.for_column("text[]"));
        assert_eq!(
            cell.for_column("jsonb[]").unwrap(),
            r#"{"1",NULL,"\"a\\\"b\\\\\"","[true]","{\"x\":1}"}"#
        );
        assert_eq!(cell.for_column("jsonb"), cell.text);
    }

    #[test]
    fn kinds_join_to_one_that_holds_both() {
        assert_eq!(Kind::BigInt.join(Kind::Double), Kind::Double);
        assert_eq!(Kind::Integer.join(Kind::BigInt), Kind::BigInt);
        assert_eq!(Kind::BigInt.join(Kind::Real), Kind::Double);
        assert_eq!(Kind::BigInt.join(Kind::Text), Kind::Text);
        assert_eq!(Kind::Boolean.join(Kind::Boolean), Kind::Boolean);
    }
}
