//! Values as the text that PostgreSQL casts, and the column type that a new column gets for them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use connect_api::{JsonStyle, Schema, SchemaType, Struct, Value, logical};

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
    TimeWithZone,
    Timestamp,
    TimestampWithZone,
    Uuid,
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
            Self::TimeWithZone => "timetz",
            Self::Timestamp => "timestamp",
            Self::TimestampWithZone => "timestamptz",
            Self::Uuid => "uuid",
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
            Value::Int32(value) => match name.and_then(time_of) {
                Some(unit) => (unit.text(i64::from(*value))?, unit.kind()),
                None => (value.to_string(), Kind::Integer),
            },
            Value::Int64(value) => match name.and_then(time_of) {
                Some(unit) => (unit.text(*value)?, unit.kind()),
                None => (value.to_string(), Kind::BigInt),
            },
            Value::Float32(value) => (float(value.to_string()), Kind::Real),
            Value::Float64(value) => (float(value.to_string()), Kind::Double),
            Value::String(text) => (text.to_string(), name.map_or(Kind::Text, kind_of_text)),
            Value::Struct(decimal) if name == Some(VARIABLE_SCALE_DECIMAL) => {
                (variable_scale(decimal)?, Kind::Numeric)
            }
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
            (Some(Kind::Text), "bytea") => bytes_of(text),
            (Some(Kind::Text), "json" | "jsonb") => {
                Value::text(text.as_str()).to_json().to_string()
            }
            (Some(Kind::Json), plain) if plain.ends_with("[]") => {
                array(text, plain).unwrap_or_else(|| text.clone())
            }
            // 10.0 is a whole number too.
            (Some(Kind::Double | Kind::Real), plain) if is_whole(plain) => {
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
    let item_type = column_type.strip_suffix("[]").unwrap_or(column_type);
    let mut text = String::new();
    write_array(items, item_type, &mut text);
    Some(text)
}

fn is_whole(column_type: &str) -> bool {
    matches!(column_type, "smallint" | "integer" | "bigint")
}

/// The bytes that base64 stands for, as PostgreSQL writes them.
fn bytes_of(text: &str) -> String {
    match STANDARD.decode(text) {
        Ok(bytes) => hex(&bytes),
        Err(_) => text.to_owned(),
    }
}

fn write_array(items: &[Value], item_type: &str, out: &mut String) {
    let of_json = matches!(item_type, "json" | "jsonb");
    out.push('{');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        match item {
            Value::Null => out.push_str("NULL"),
            Value::Array(inner) if !of_json => write_array(inner, item_type, out),
            Value::String(text) if item_type == "bytea" => {
                quoted_item(&bytes_of(text.as_str()), out);
            }
            Value::Float64(_) if is_whole(item_type) => {
                let text = item.to_json();
                let text = text.as_str();
                quoted_item(text.strip_suffix(".0").unwrap_or(text), out);
            }
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
    use SchemaType as Type;
    let name = schema.name.as_deref();
    if let (Type::Int32 | Type::Int64, Some(unit)) = (&schema.kind, name.and_then(time_of)) {
        return unit.kind();
    }
    match (&schema.kind, name) {
        (Type::String, Some(name)) => kind_of_text(name),
        (Type::Struct(_), Some(VARIABLE_SCALE_DECIMAL)) => Kind::Numeric,
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

/// A number that is a time, of Connect's logical types and of Debezium's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TimeUnit {
    Days,
    /// Since midnight; so many a second.
    TimeOfDay(i64),
    /// Since 1970; so many a second.
    Instant(i64),
}

const MILLIS: i64 = 1_000;
const MICROS: i64 = 1_000_000;
const NANOS: i64 = 1_000_000_000;

fn time_of(name: &str) -> Option<TimeUnit> {
    Some(match name {
        logical::DATE | "io.debezium.time.Date" => TimeUnit::Days,
        logical::TIME | "io.debezium.time.Time" => TimeUnit::TimeOfDay(MILLIS),
        "io.debezium.time.MicroTime" => TimeUnit::TimeOfDay(MICROS),
        "io.debezium.time.NanoTime" => TimeUnit::TimeOfDay(NANOS),
        logical::TIMESTAMP | "io.debezium.time.Timestamp" => TimeUnit::Instant(MILLIS),
        "io.debezium.time.MicroTimestamp" => TimeUnit::Instant(MICROS),
        "io.debezium.time.NanoTimestamp" => TimeUnit::Instant(NANOS),
        _ => return None,
    })
}

impl TimeUnit {
    fn kind(self) -> Kind {
        match self {
            Self::Days => Kind::Date,
            Self::TimeOfDay(_) => Kind::Time,
            Self::Instant(_) => Kind::Timestamp,
        }
    }

    fn text(self, value: i64) -> Result<String, String> {
        match self {
            Self::Days => value
                .checked_mul(86_400)
                .and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0))
                .map(|midnight| midnight.format("%Y-%m-%d").to_string())
                .ok_or_else(|| "the date is out of range".to_owned()),
            Self::TimeOfDay(per_second) if value == per_second * 86_400 => {
                Ok("24:00:00".to_owned())
            }
            Self::TimeOfDay(per_second) => Some(value)
                .filter(|value| (0..per_second * 86_400).contains(value))
                .and_then(|value| formatted(value, per_second, "%H:%M:%S"))
                .ok_or_else(|| "the time is out of range".to_owned()),
            Self::Instant(per_second) => formatted(value, per_second, "%Y-%m-%dT%H:%M:%S")
                .ok_or_else(|| "the timestamp is out of range".to_owned()),
        }
    }
}

fn formatted(value: i64, per_second: i64, seconds: &str) -> Option<String> {
    let nanos = value.rem_euclid(per_second) * (NANOS / per_second);
    let time =
        chrono::DateTime::from_timestamp(value.div_euclid(per_second), u32::try_from(nanos).ok()?)?;
    let fraction = if per_second == MILLIS { "%.3f" } else { "%.6f" };
    Some(time.format(&format!("{seconds}{fraction}")).to_string())
}

/// Debezium's numeric without a scale of its own: a struct of `scale` and the unscaled `value`.
const VARIABLE_SCALE_DECIMAL: &str = "io.debezium.data.VariableScaleDecimal";

fn variable_scale(decimal: &Struct) -> Result<String, String> {
    let (Some(Value::Int32(scale)), Some(value @ Value::Bytes(_))) =
        (decimal.field("scale"), decimal.field("value"))
    else {
        return Err("a decimal without scale and value".to_owned());
    };
    let mut schema = Schema::new(SchemaType::Bytes).named(logical::DECIMAL);
    schema
        .parameters
        .insert("scale".to_owned(), scale.to_string());
    json(value, Some(&schema), true)
}

/// What a text is that has a name in its schema.
fn kind_of_text(name: &str) -> Kind {
    match name {
        "io.debezium.time.ZonedTimestamp" => Kind::TimestampWithZone,
        "io.debezium.time.ZonedTime" => Kind::TimeWithZone,
        "io.debezium.data.Uuid" => Kind::Uuid,
        "io.debezium.data.Json" => Kind::Json,
        _ => Kind::Text,
    }
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
        let cell = Cell::of(&Value::parse_json(r#"[1.0,[2],"YWI="]"#).unwrap(), None).unwrap();
        assert_eq!(
            cell.for_column("integer[]").unwrap(),
            r#"{"1",{"2"},"YWI="}"#
        );
        assert_eq!(
            cell.for_column("bytea[]").unwrap(),
            r#"{"1.0",{"2"},"\\x6162"}"#
        );
    }

    #[test]
    fn times_and_texts_of_debezium() {
        let named = |kind: SchemaType, name: &str| Schema::new(kind).named(name);
        for (value, name, shown, kind) in [
            (15_706, "Date", "2013-01-01", "date"),
            (86_399_001, "Time", "23:59:59.001", "time"),
            (86_400_000, "Time", "24:00:00", "time"),
        ] {
            let schema = named(SchemaType::Int32, &format!("io.debezium.time.{name}"));
            assert_eq!(
                text(&Value::Int32(value), Some(&schema)),
                (shown.to_owned(), kind)
            );
            assert_eq!(
                Cell::of(&Value::Null, Some(&schema))
                    .unwrap()
                    .kind
                    .unwrap()
                    .sql(),
                kind
            );
        }
        for (value, name, shown) in [
            (-1, "Timestamp", "1969-12-31T23:59:59.999"),
            (1_000_001, "MicroTimestamp", "1970-01-01T00:00:01.000001"),
            (1_999, "NanoTimestamp", "1970-01-01T00:00:00.000001"),
            (1, "MicroTime", "00:00:00.000001"),
        ] {
            let schema = named(SchemaType::Int64, &format!("io.debezium.time.{name}"));
            assert_eq!(text(&Value::Int64(value), Some(&schema)).0, shown);
        }
        let late = named(SchemaType::Int32, "io.debezium.time.Time");
        assert!(Cell::of(&Value::Int32(86_400_001), Some(&late)).is_err());
        for (name, kind) in [
            ("time.ZonedTimestamp", "timestamptz"),
            ("time.ZonedTime", "timetz"),
            ("data.Uuid", "uuid"),
            ("data.Json", "jsonb"),
            ("data.Enum", "text"),
        ] {
            let schema = named(SchemaType::String, &format!("io.debezium.{name}"));
            assert_eq!(text(&Value::text("x"), Some(&schema)).1, kind);
        }
        let schema = std::sync::Arc::new(
            Schema::structure(vec![
                ("scale", Schema::new(SchemaType::Int32)),
                ("value", Schema::new(SchemaType::Bytes)),
            ])
            .named(VARIABLE_SCALE_DECIMAL),
        );
        let parts = vec![Value::Int32(1), Value::Bytes(vec![0x7b].into())];
        let decimal = Value::Struct(Struct::new(schema.clone(), parts));
        assert_eq!(
            text(&decimal, Some(&schema)),
            ("12.3".to_owned(), "numeric")
        );
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
