//! Values as the text that PostgreSQL casts, and the column type that a new column gets for them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Datelike, Utc};
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
    Interval,
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
            Self::Interval => "interval",
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
            // A column that was made for the number.
            (Some(Kind::Interval), "bigint") => {
                micros_of(text).map_or_else(|| text.clone(), |micros| micros.to_string())
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
    /// Microseconds.
    Duration,
}

/// Debezium's numbers for the ends of time: of dates, of instants, of durations.
const ENDS_OF_DAYS: (i64, i64) = (-2_147_472_691, -2_147_472_692);
const ENDS_OF_INSTANTS: (i64, i64) = (-9_223_372_036_832_400_000, 9_223_372_036_825_200_000);
const ENDS_OF_DURATIONS: (i64, i64) = (i64::MIN, i64::MAX);

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
        "io.debezium.time.MicroDuration" => TimeUnit::Duration,
        _ => return None,
    })
}

impl TimeUnit {
    fn kind(self) -> Kind {
        match self {
            Self::Days => Kind::Date,
            Self::TimeOfDay(_) => Kind::Time,
            Self::Instant(_) => Kind::Timestamp,
            Self::Duration => Kind::Interval,
        }
    }

    fn text(self, value: i64) -> Result<String, String> {
        let ends = match self {
            Self::Days => Some(ENDS_OF_DAYS),
            Self::Instant(_) => Some(ENDS_OF_INSTANTS),
            Self::Duration => Some(ENDS_OF_DURATIONS),
            Self::TimeOfDay(_) => None,
        };
        match ends {
            Some((earliest, _)) if value == earliest => return Ok("-infinity".to_owned()),
            Some((_, latest)) if value == latest => return Ok("infinity".to_owned()),
            _ => {}
        }
        match self {
            Self::Days => value
                .checked_mul(86_400)
                .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
                .map(|midnight| dated(midnight, ""))
                .ok_or_else(|| "the date is out of range".to_owned()),
            Self::TimeOfDay(per_second) if value == per_second * 86_400 => {
                Ok("24:00:00".to_owned())
            }
            Self::TimeOfDay(per_second) => Some(value)
                .filter(|value| (0..per_second * 86_400).contains(value))
                .and_then(|value| instant(value, per_second))
                .map(|time| clock(time, per_second))
                .ok_or_else(|| "the time is out of range".to_owned()),
            Self::Instant(per_second) => instant(value, per_second)
                .map(|time| dated(time, &format!("T{}", clock(time, per_second))))
                .ok_or_else(|| "the timestamp is out of range".to_owned()),
            Self::Duration => Ok(duration(value)),
        }
    }
}

fn instant(value: i64, per_second: i64) -> Option<DateTime<Utc>> {
    let nanos = value.rem_euclid(per_second) * (NANOS / per_second);
    DateTime::from_timestamp(value.div_euclid(per_second), u32::try_from(nanos).ok()?)
}

/// A date, with the time behind it, as PostgreSQL reads them: years have no sign.
fn dated(time: DateTime<Utc>, clock: &str) -> String {
    let (year, era) = match time.year() {
        year if year > 0 => (year, ""),
        // There is no year zero.
        year => (1 - year, " BC"),
    };
    format!(
        "{year:04}-{:02}-{:02}{clock}{era}",
        time.month(),
        time.day()
    )
}

fn clock(time: DateTime<Utc>, per_second: i64) -> String {
    let fraction = if per_second == MILLIS { "%.3f" } else { "%.6f" };
    time.format(&format!("%H:%M:%S{fraction}")).to_string()
}

/// Microseconds as an interval.
fn duration(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let second = MICROS.unsigned_abs();
    let micros = micros.unsigned_abs();
    let seconds = micros / second;
    format!(
        "{sign}{:02}:{:02}:{:02}.{:06}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        micros % second
    )
}

/// The microseconds that [`duration`] wrote.
fn micros_of(text: &str) -> Option<i64> {
    match text {
        "-infinity" => return Some(ENDS_OF_DURATIONS.0),
        "infinity" => return Some(ENDS_OF_DURATIONS.1),
        _ => {}
    }
    let (sign, plain) = match text.strip_prefix('-') {
        Some(plain) => (-1, plain),
        None => (1, text),
    };
    let (clock, micros) = plain.split_once('.')?;
    let mut seconds = 0_i64;
    for part in clock.split(':') {
        seconds = seconds.checked_mul(60)?.checked_add(part.parse().ok()?)?;
    }
    let micros = seconds
        .checked_mul(MICROS)?
        .checked_add(micros.parse().ok()?)?;
    Some(sign * micros)
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
        "io.debezium.time.Interval" => Kind::Interval,
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
            ("time.Interval", "interval"),
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
    fn durations_are_intervals() {
        let schema = Schema::new(SchemaType::Int64).named("io.debezium.time.MicroDuration");
        for (micros, shown) in [
            (0, "00:00:00.000000"),
            (93_784_000_005, "26:03:04.000005"),
            (-1_500_000, "-00:00:01.500000"),
            (i64::MAX, "infinity"),
            (i64::MIN, "-infinity"),
        ] {
            let cell = Cell::of(&Value::Int64(micros), Some(&schema)).unwrap();
            assert_eq!(cell.text.as_deref(), Some(shown));
            assert_eq!(cell.kind.map(Kind::sql), Some("interval"));
            assert_eq!(cell.for_column("interval").as_deref(), Some(shown));
            // A column of numbers has the number.
            assert_eq!(cell.for_column("bigint"), Some(micros.to_string()));
        }
        let null = Cell::of(&Value::Null, Some(&schema)).unwrap();
        assert_eq!(null.kind.map(Kind::sql), Some("interval"));
        let schema = Schema::new(SchemaType::String).named("io.debezium.time.Interval");
        let text_of = "P1Y2M-3DT4H-5M6.7S";
        assert_eq!(
            text(&Value::text(text_of), Some(&schema)),
            (text_of.to_owned(), "interval")
        );
    }

    #[test]
    fn dates_of_all_years_are_written_as_postgresql_does() {
        let shown = |value: Value, kind: SchemaType, name: &str| {
            let schema = Schema::new(kind).named(format!("io.debezium.time.{name}"));
            text(&value, Some(&schema)).0
        };
        for (days, expected) in [
            (-735_160, "0044-03-15 BC"),
            (-719_163, "0001-12-31 BC"),
            (-719_162, "0001-01-01"),
            (2_932_896, "9999-12-31"),
            (2_932_897, "10000-01-01"),
            (-2_147_472_692, "infinity"),
            (-2_147_472_691, "-infinity"),
        ] {
            let date = shown(Value::Int32(days), SchemaType::Int32, "Date");
            assert_eq!(date, expected, "{days}");
        }
        for (value, name, expected) in [
            (
                -62_135_596_800_001,
                "Timestamp",
                "0001-12-31T23:59:59.999 BC",
            ),
            (
                253_402_300_800_000_001,
                "MicroTimestamp",
                "10000-01-01T00:00:00.000001",
            ),
            (9_223_372_036_825_200_000, "MicroTimestamp", "infinity"),
            (-9_223_372_036_832_400_000, "Timestamp", "-infinity"),
        ] {
            let instant = shown(Value::Int64(value), SchemaType::Int64, name);
            assert_eq!(instant, expected, "{value}");
        }
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
