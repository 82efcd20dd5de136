//! Values as the text that PostgreSQL casts, and the column type that a new column gets for them.
//!
//! A change event that comes without schemas has numbers for times and base64 for decimals and bits, and does not say
//! so. Its values are *bare*: the column that they go to says what they are, because Debezium chose their form by the
//! type of the column that they come from. A copy of a table therefore needs columns of the same types.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
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
    /// Of this length, or of any.
    Bits(Option<u32>),
    Point,
    Json,
}

impl Kind {
    /// Those that a configuration names: what values without schemas can be taken for.
    const NAMED: [Self; 14] = [
        Self::Boolean,
        Self::SmallInt,
        Self::Integer,
        Self::BigInt,
        Self::Real,
        Self::Double,
        Self::Numeric,
        Self::Text,
        Self::Bytea,
        Self::Date,
        Self::Time,
        Self::Timestamp,
        Self::TimestampWithZone,
        Self::Json,
    ];

    /// The kind that a configuration names.
    pub(super) fn named(sql_type: &str) -> Option<Self> {
        let mut kinds = Self::NAMED.into_iter();
        kinds.find(|kind| kind.sql() == sql_type)
    }

    /// The names for [`Self::named`], with commas between them.
    pub(super) fn names() -> String {
        Self::NAMED.map(Self::sql).join(", ")
    }

    /// The type of a new column, with its length.
    pub(super) fn declared(self) -> Cow<'static, str> {
        match self {
            Self::Bits(Some(length)) => Cow::Owned(format!("bit({length})")),
            other => Cow::Borrowed(other.sql()),
        }
    }

    /// The type without a length.
    fn sql(self) -> &'static str {
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
            Self::Bits(None) => "bit varying",
            Self::Bits(Some(_)) => "bit",
            Self::Point => "point",
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
            _ if matches!((self, other), (Self::Bits(_), Self::Bits(_))) => Self::Bits(None),
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

/// How an event without schemas has decimals, as the source's `decimal.handling.mode` made them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Decimals {
    /// Nobody said: a text that reads as a number and as base64 is refused.
    #[default]
    Unsaid,
    /// Base64 of the unscaled number.
    Precise,
    /// Text.
    Text,
}

/// A column's type as `format_type` prints it, taken apart: `numeric(10,2)[]`, `time(3) without time zone`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape<'a> {
    /// `numeric`, `time without time zone`; of another schema's type the name behind the point.
    name: &'a str,
    /// Within the brackets: a length, or digits.
    first: Option<i32>,
    second: Option<i32>,
    is_array: bool,
}

impl<'a> Shape<'a> {
    fn of(column_type: &'a str) -> Self {
        let plain = column_type.trim_end_matches("[]");
        let is_array = plain.len() < column_type.len();
        let (name, brackets) = match plain.split_once('(') {
            Some((before, rest)) => match rest.split_once(')') {
                // `time(3) without time zone`: these few have a name around the brackets.
                Some((digits, " without time zone")) if before == "time" => {
                    ("time without time zone", digits)
                }
                Some((digits, " without time zone")) => ("timestamp without time zone", digits),
                Some((digits, _)) => (before, digits),
                None => (plain, ""),
            },
            None => (plain, ""),
        };
        let mut numbers = brackets.split(',').map(|number| number.trim().parse().ok());
        Self {
            name: name.rsplit('.').next().unwrap_or(name),
            first: numbers.next().flatten(),
            second: numbers.next().flatten(),
            is_array,
        }
    }

    fn item(self) -> Self {
        Self {
            is_array: false,
            ..self
        }
    }

    fn is_json(self) -> bool {
        matches!(self.name, "json" | "jsonb")
    }

    /// What a bare number of a column of this type is: Debezium's adaptive form.
    fn time_unit(self) -> Option<TimeUnit> {
        let per_second = if self.first.is_some_and(|digits| digits <= 3) {
            MILLIS
        } else {
            MICROS
        };
        Some(match self.name {
            "date" => TimeUnit::Days,
            "time without time zone" => TimeUnit::TimeOfDay(per_second),
            "timestamp without time zone" => TimeUnit::Instant(per_second),
            "interval" => TimeUnit::Duration,
            _ => return None,
        })
    }
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cell {
    /// `None` is NULL.
    pub(super) text: Option<String>,
    /// `None`: a NULL that nothing is known of.
    pub(super) kind: Option<Kind>,
    /// The items of a list, for columns of arrays.
    items: Option<Vec<Cell>>,
    bare: bool,
}

impl Cell {
    /// The cell of a value; one without a schema is `bare` where it is of a change event.
    ///
    /// # Errors
    /// What PostgreSQL cannot store.
    pub(super) fn of(value: &Value, schema: Option<&Schema>, bare: bool) -> Result<Self, String> {
        let bare = bare && schema.is_none();
        let Some((text, kind)) = text_of(value, schema)? else {
            return Ok(Self {
                text: None,
                kind: schema.map(kind_of),
                items: None,
                bare,
            });
        };
        if text.contains('\0') {
            return Err("text with a zero character, which PostgreSQL cannot store".to_owned());
        }
        let items = match value {
            Value::Array(items) => {
                let schema = schema.and_then(|schema| match &schema.kind {
                    SchemaType::Array(item) => Some(&**item),
                    _ => None,
                });
                let items = items.iter().map(|item| Self::of(item, schema, bare));
                Some(items.collect::<Result<_, _>>()?)
            }
            _ => None,
        };
        Ok(Self {
            text: Some(text),
            kind: Some(kind),
            items,
            bare,
        })
    }

    /// The text to send for a column of this type (as `format_type` prints it, with lengths).
    ///
    /// # Errors
    /// Why the value cannot be one of that type.
    pub(super) fn for_column(
        &self,
        column_type: &str,
        decimals: Decimals,
    ) -> Result<Option<String>, String> {
        self.shaped(Shape::of(column_type), decimals)
    }

    fn shaped(&self, shape: Shape<'_>, decimals: Decimals) -> Result<Option<String>, String> {
        let Some(text) = &self.text else {
            return Ok(None);
        };
        if let (Some(items), true) = (&self.items, shape.is_array) {
            let mut out = String::new();
            write_array(items, shape.item(), decimals, &mut out)?;
            return Ok(Some(out));
        }
        if self.bare
            && let Some(bare) = self.of_bare(text, shape, decimals)?
        {
            return Ok(Some(bare));
        }
        Ok(Some(match (self.kind, shape.name) {
            // JSON has no bytes: they come as base64.
            (Some(Kind::Text), "bytea") => bytes_of(text),
            (Some(Kind::Text), _) if shape.is_json() => {
                Value::text(text.as_str()).to_json().to_string()
            }
            (Some(Kind::Boolean), "bit" | "bit varying") => {
                (if text == "true" { "1" } else { "0" }).to_owned()
            }
            (Some(Kind::Bits(_)), "bit" | "bit varying") => fitted(text, shape),
            (Some(Kind::Json | Kind::Text), "hstore") => {
                hstore(text).unwrap_or_else(|| text.clone())
            }
            // A column that was made for the struct.
            (Some(Kind::Point), _) if shape.is_json() => {
                let (x, y) = text
                    .trim_matches(['(', ')'])
                    .split_once(',')
                    .unwrap_or_default();
                format!("{{\"x\":{x},\"y\":{y}}}")
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
        }))
    }

    /// What a bare value is to a column; `None` where it is what it looks like.
    fn of_bare(
        &self,
        text: &str,
        shape: Shape<'_>,
        decimals: Decimals,
    ) -> Result<Option<String>, String> {
        match (self.kind, shape.name) {
            (Some(Kind::SmallInt | Kind::Integer | Kind::BigInt), _) => {
                let unit = shape.time_unit().zip(text.parse().ok());
                unit.map(|(unit, value): (TimeUnit, i64)| unit.text(value))
                    .transpose()
            }
            // JSON is text in events.
            (Some(Kind::Text), "json" | "jsonb") => {
                Ok(Value::parse_json(text).is_ok().then(|| text.to_owned()))
            }
            (Some(Kind::Text), "numeric") => {
                let scale = shape.second.or(shape.first.map(|_| 0));
                bare_decimal(text, scale, decimals).map(Some)
            }
            (Some(Kind::Text), "money") => {
                bare_decimal(text, Some(MONEY_DIGITS), decimals).map(Some)
            }
            (Some(Kind::Text), "bit" | "bit varying") => {
                let bytes = STANDARD
                    .decode(text)
                    .map_err(|_| format!("\"{text}\", which is neither bits nor base64 of bits"))?;
                Ok(Some(fitted(&bits_of(&bytes), shape)))
            }
            (Some(Kind::Json), "numeric" | "point") => {
                let value = Value::parse_json(text).map_err(|error| error.to_string())?;
                match shape.name {
                    "point" => Ok(point(&value)),
                    _ => bare_variable_scale(&value),
                }
            }
            _ => Ok(None),
        }
    }
}

/// The text of a value that is not null, and its kind.
fn text_of(value: &Value, schema: Option<&Schema>) -> Result<Option<(String, Kind)>, String> {
    let name = schema.and_then(|schema| schema.name.as_deref());
    Ok(Some(match value {
        Value::Null => return Ok(None),
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
        Value::String(text) => match name.map_or(Kind::Text, kind_of_text) {
            kind @ (Kind::Date | Kind::Time | Kind::Timestamp) => (of_iso(text.as_str()), kind),
            kind => (text.to_string(), kind),
        },
        Value::Struct(decimal) if name == Some(VARIABLE_SCALE_DECIMAL) => {
            (variable_scale(decimal)?, Kind::Numeric)
        }
        Value::Struct(_) if name == Some(POINT) => {
            let point = point(value).ok_or("a point without x and y")?;
            (point, Kind::Point)
        }
        Value::Bytes(_) if name == Some(logical::DECIMAL) => {
            (json(value, schema, true)?, Kind::Numeric)
        }
        Value::Bytes(bytes) if name == Some(BITS) => {
            (bits_of(bytes), Kind::Bits(schema.and_then(bits_length)))
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
    }))
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

/// Items as PostgreSQL writes an array.
fn write_array(
    items: &[Cell],
    item: Shape<'_>,
    decimals: Decimals,
    out: &mut String,
) -> Result<(), String> {
    out.push('{');
    for (index, cell) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        match &cell.items {
            Some(inner) if !item.is_json() => write_array(inner, item, decimals, out)?,
            _ => match cell.shaped(item, decimals)? {
                Some(text) => quoted_item(&text, out),
                None => out.push_str("NULL"),
            },
        }
    }
    out.push('}');
    Ok(())
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
        (Type::Struct(_), Some(POINT)) => Kind::Point,
        (Type::Bytes, Some(BITS)) => Kind::Bits(bits_length(schema)),
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
    let (Some(Value::Int32(scale)), Some(Value::Bytes(value))) =
        (decimal.field("scale"), decimal.field("value"))
    else {
        return Err("a decimal without scale and value".to_owned());
    };
    unscaled(value.clone(), *scale)
}

/// The number that a big-endian number of bytes is with its point put in front of `scale` digits.
fn unscaled(bytes: Bytes, scale: i32) -> Result<String, String> {
    let mut schema = Schema::new(SchemaType::Bytes).named(logical::DECIMAL);
    schema
        .parameters
        .insert("scale".to_owned(), scale.to_string());
    json(&Value::Bytes(bytes), Some(&schema), true)
}

/// `{"scale":1,"value":"ew=="}`; anything else is what it looks like.
fn bare_variable_scale(value: &Value) -> Result<Option<String>, String> {
    let (Some(scale), Some(Value::String(text))) = (value.field("scale"), value.field("value"))
    else {
        return Ok(None);
    };
    let scale = match scale {
        Value::Int64(scale) => i32::try_from(*scale).ok(),
        Value::Int32(scale) => Some(*scale),
        _ => None,
    };
    match (scale, STANDARD.decode(text.as_str())) {
        (Some(scale), Ok(bytes)) => unscaled(bytes.into(), scale).map(Some),
        _ => Ok(None),
    }
}

/// Digits that money has behind its point.
const MONEY_DIGITS: i32 = 2;

/// A bare text in a column of decimals with `scale` digits behind the point.
fn bare_decimal(text: &str, scale: Option<i32>, decimals: Decimals) -> Result<String, String> {
    // Debezium's words for what is no number.
    let word = match text {
        "NAN" => Some("NaN"),
        "POSITIVE_INFINITY" => Some("Infinity"),
        "NEGATIVE_INFINITY" => Some("-Infinity"),
        _ => None,
    };
    if let Some(word) = word {
        return Ok(word.to_owned());
    }
    let bytes = STANDARD.decode(text).ok().filter(|bytes| !bytes.is_empty());
    let (Some(bytes), false) = (bytes, decimals == Decimals::Text) else {
        return Ok(text.to_owned());
    };
    let is_number = text.parse::<f64>().is_ok();
    // PostgreSQL prints all digits behind the point: a number of a column that has some has a point, base64 has none.
    if is_number && decimals == Decimals::Unsaid && scale.is_none_or(|scale| scale == 0) {
        return Err(format!(
            "\"{text}\", which may be a number or the base64 of one: set decimal.handling.mode to that of the source, or \
             let the source's converter write schemas"
        ));
    }
    match scale {
        Some(scale) => unscaled(bytes.into(), scale),
        None => Err(format!(
            "\"{text}\", the base64 of a decimal whose scale neither a schema nor the column tells: declare the column as \
             numeric(precision, scale), or let the source's converter write schemas"
        )),
    }
}

/// Debezium's bits: a little-endian number.
const BITS: &str = "io.debezium.data.Bits";

/// The most bits that a column has; Debezium gives more to bits without a limit.
const BITS_MAX: u32 = 83_886_080;

/// How many bits a schema says.
fn bits_length(schema: &Schema) -> Option<u32> {
    let length = schema.parameters.get("length")?.parse().ok()?;
    (1..=BITS_MAX).contains(&length).then_some(length)
}

/// Bytes of a little-endian number as bits, the highest first.
fn bits_of(bytes: &[u8]) -> String {
    let digits = bytes.iter().rev().map(|byte| format!("{byte:08b}"));
    digits.collect()
}

/// Bits of a number in the length that the column has, or, where that may vary, without zeros in front: how many
/// there were is not told.
fn fitted(bits: &str, shape: Shape<'_>) -> String {
    let number = bits.trim_start_matches('0');
    let length = match (shape.name, shape.first) {
        ("bit", length) => length.and_then(|length| usize::try_from(length).ok()),
        _ => None,
    };
    let length = length.unwrap_or(1);
    format!("{number:0>length$}")
}

/// Debezium's point: a struct of `x`, `y` and more.
const POINT: &str = "io.debezium.data.geometry.Point";

fn point(value: &Value) -> Option<String> {
    let number = |name: &str| match value.field(name)? {
        Value::Float64(number) => Some(float(number.to_string())),
        Value::Int64(number) => Some(number.to_string()),
        _ => None,
    };
    Some(format!("({},{})", number("x")?, number("y")?))
}

/// A JSON object of texts as PostgreSQL writes an hstore.
fn hstore(json: &str) -> Option<String> {
    let Ok(Value::Map(entries)) = Value::parse_json(json) else {
        return None;
    };
    let mut out = String::new();
    for (key, value) in &entries {
        if !out.is_empty() {
            out.push(',');
        }
        let text = |value: &Value| match value {
            Value::String(text) => text.to_string(),
            other => other.to_json().to_string(),
        };
        quoted_item(&text(key), &mut out);
        out.push_str("=>");
        match value {
            Value::Null => out.push_str("NULL"),
            value => quoted_item(&text(value), &mut out),
        }
    }
    Some(out)
}

/// What a text is that has a name in its schema.
fn kind_of_text(name: &str) -> Kind {
    match name {
        "io.debezium.time.ZonedTimestamp" => Kind::TimestampWithZone,
        "io.debezium.time.ZonedTime" => Kind::TimeWithZone,
        "io.debezium.time.Interval" => Kind::Interval,
        // `time.precision.mode=isostring`.
        "io.debezium.time.IsoDate" => Kind::Date,
        "io.debezium.time.IsoTime" => Kind::Time,
        "io.debezium.time.IsoTimestamp" => Kind::Timestamp,
        "io.debezium.data.Uuid" => Kind::Uuid,
        "io.debezium.data.Json" => Kind::Json,
        _ => Kind::Text,
    }
}

/// A date or time of ISO 8601 in UTC as PostgreSQL reads it: dates have no zone, and years no sign.
fn of_iso(text: &str) -> String {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let signless = text.trim_start_matches(['+', '-']);
    match signless.split_once('-') {
        Some((year, rest)) => match year.parse::<u32>() {
            // There is no year zero.
            Ok(year) if year == 0 || text.starts_with('-') => format!("{:04}-{rest} BC", year + 1),
            _ => signless.to_owned(),
        },
        // A time, or the end of time.
        None => text.to_owned(),
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
        let cell = Cell::of(value, schema, false).unwrap();
        (cell.text.unwrap(), cell.kind.unwrap().sql())
    }

    fn sent(cell: &Cell, column_type: &str) -> String {
        let text = cell.for_column(column_type, Decimals::Unsaid).unwrap();
        text.unwrap()
    }

    #[test]
    fn types_of_columns_are_taken_apart() {
        for (text, name, first, second, is_array) in [
            ("numeric", "numeric", None, None, false),
            ("numeric(10,2)[]", "numeric", Some(10), Some(2), true),
            (
                "time(3) without time zone",
                "time without time zone",
                Some(3),
                None,
                false,
            ),
            (
                "timestamp(0) without time zone[]",
                "timestamp without time zone",
                Some(0),
                None,
                true,
            ),
            (
                "timestamp without time zone",
                "timestamp without time zone",
                None,
                None,
                false,
            ),
            ("bit varying(5)", "bit varying", Some(5), None, false),
            ("more.hstore", "hstore", None, None, false),
            ("\"odd(type\"", "\"odd(type\"", None, None, false),
        ] {
            let shape = Shape {
                name,
                first,
                second,
                is_array,
            };
            assert_eq!(Shape::of(text), shape);
        }
    }

    #[test]
    fn bare_values_are_what_their_column_is() {
        let bare = |json: &str, column_type: &str, decimals| {
            let cell = Cell::of(&Value::parse_json(json).unwrap(), None, true).unwrap();
            cell.for_column(column_type, decimals)
        };
        for (json, column_type, expected) in [
            ("19737", "date", "2024-01-15"),
            ("1000", "time(3) without time zone", "00:00:01.000"),
            ("1000", "time without time zone", "00:00:00.001000"),
            (
                "1000",
                "timestamp(3) without time zone",
                "1970-01-01T00:00:01.000",
            ),
            (
                "1000",
                "timestamp without time zone",
                "1970-01-01T00:00:00.001000",
            ),
            ("1000", "interval", "00:00:00.001000"),
            ("1000", "bigint", "1000"),
            ("1000", "numeric(10,2)", "1000"),
            ("\"BNI=\"", "numeric(10,2)", "12.34"),
            ("\"12.34\"", "numeric(10,2)", "12.34"),
            ("\"1234\"", "numeric(10,2)", "-26588.24"),
            ("\"NAN\"", "numeric", "NaN"),
            ("\"AeIT\"", "money", "1234.11"),
            (r#"{"scale":1,"value":"ew=="}"#, "numeric", "12.3"),
            ("\"Aw==\"", "bit(3)", "011"),
            ("\"Aw==\"", "bit varying", "11"),
            ("true", "bit(1)", "1"),
            (
                r#"{"x":1.5,"y":-2.0,"wkb":"","srid":null}"#,
                "point",
                "(1.5,-2)",
            ),
            (r#""{\"a\": 1}""#, "jsonb", r#"{"a": 1}"#),
            ("\"plain\"", "jsonb", "\"plain\""),
            (r#"{"a":"1","b":null}"#, "hstore", r#""a"=>"1","b"=>NULL"#),
            ("[19737,null]", "date[]", r#"{"2024-01-15",NULL}"#),
            (
                "[\"BNI=\",\"AA==\"]",
                "numeric(10,2)[]",
                r#"{"12.34","0.00"}"#,
            ),
            ("[19737]", "jsonb", "[19737]"),
        ] {
            let text = bare(json, column_type, Decimals::Unsaid).unwrap();
            assert_eq!(text.as_deref(), Some(expected), "{json} {column_type}");
        }
        let either = ("\"1234\"", "numeric(10,0)");
        for (decimals, expected) in [(Decimals::Text, "1234"), (Decimals::Precise, "-2658824")] {
            let text = bare(either.0, either.1, decimals).unwrap();
            assert_eq!(text.as_deref(), Some(expected));
        }
        for (json, column_type, why) in [
            (either.0, either.1, "decimal.handling.mode"),
            ("\"BNI=\"", "numeric", "scale"),
            ("\"?\"", "bit(3)", "bits"),
            ("86400001", "time(3) without time zone", "out of range"),
        ] {
            let error = bare(json, column_type, Decimals::Unsaid).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        // What is no change event is what it looks like.
        let plain = Cell::of(&Value::Int64(20_240_115), None, false).unwrap();
        assert_eq!(sent(&plain, "date"), "20240115");
    }

    #[test]
    fn items_of_lists_are_values_too() {
        let list = |item: Schema| Schema::new(SchemaType::Array(std::sync::Arc::new(item)));
        let dates = list(Schema::new(SchemaType::Int32).named(logical::DATE));
        let cell = Cell::of(
            &Value::Array(vec![Value::Int32(15_706), Value::Null]),
            Some(&dates),
            false,
        )
        .unwrap();
        assert_eq!(sent(&cell, "date[]"), r#"{"2013-01-01",NULL}"#);
        assert_eq!(sent(&cell, "jsonb"), "[15706,null]");
        let mut decimal = Schema::new(SchemaType::Bytes).named(logical::DECIMAL);
        decimal
            .parameters
            .insert("scale".to_owned(), "2".to_owned());
        let items = Value::Array(vec![Value::Bytes(vec![0x04, 0xd2].into())]);
        let cell = Cell::of(&items, Some(&list(decimal)), false).unwrap();
        assert_eq!(sent(&cell, "numeric(10,2)[]"), r#"{"12.34"}"#);
        let bytes = Value::Array(vec![Value::Bytes("ab".into())]);
        let cell = Cell::of(&bytes, Some(&list(Schema::new(SchemaType::Bytes))), false).unwrap();
        assert_eq!(sent(&cell, "bytea[]"), r#"{"\\x6162"}"#);
    }

    #[test]
    fn bits_and_points_have_columns_of_their_own() {
        let bits = Schema::new(SchemaType::Bytes).named(BITS);
        let value = Value::Bytes(vec![0x03, 0x01].into());
        let cell = Cell::of(&value, Some(&bits), false).unwrap();
        assert_eq!(cell.kind.map(Kind::sql), Some("bit varying"));
        assert_eq!(sent(&cell, "bit(12)"), "000100000011");
        assert_eq!(sent(&cell, "bit varying"), "100000011");
        // The source tells the length of its column, and a number without meaning where that has no limit.
        for (length, declared) in [
            ("12", "bit(12)"),
            ("2147483647", "bit varying"),
            ("0", "bit varying"),
        ] {
            let mut bits = bits.clone();
            bits.parameters
                .insert("length".to_owned(), length.to_owned());
            for value in [&value, &Value::Null] {
                let cell = Cell::of(value, Some(&bits), false).unwrap();
                assert_eq!(cell.kind.unwrap().declared(), declared);
            }
        }
        assert_eq!(
            Kind::Bits(Some(3)).join(Kind::Bits(Some(4))),
            Kind::Bits(None)
        );
        let schema = std::sync::Arc::new(
            Schema::structure(vec![
                ("x", Schema::new(SchemaType::Float64)),
                ("y", Schema::new(SchemaType::Float64)),
            ])
            .named(POINT),
        );
        let parts = vec![Value::Float64(1.0), Value::Float64(-0.5)];
        let value = Value::Struct(Struct::new(schema.clone(), parts));
        let cell = Cell::of(&value, Some(&schema), false).unwrap();
        assert_eq!(cell.kind.map(Kind::sql), Some("point"));
        assert_eq!(sent(&cell, "point"), "(1,-0.5)");
        assert_eq!(sent(&cell, "jsonb"), r#"{"x":1,"y":-0.5}"#);
    }

    #[test]
    fn times_in_iso_are_times() {
        for (name, value, shown, kind) in [
            ("IsoDate", "2016-11-10Z", "2016-11-10", "date"),
            ("IsoDate", "-0043-03-15Z", "0044-03-15 BC", "date"),
            ("IsoDate", "0000-12-31Z", "0001-12-31 BC", "date"),
            ("IsoDate", "+12345-01-01Z", "12345-01-01", "date"),
            ("IsoDate", "-infinity", "-infinity", "date"),
            ("IsoTime", "13:51:30.123Z", "13:51:30.123", "time"),
            (
                "IsoTimestamp",
                "2016-11-04T13:51:30Z",
                "2016-11-04T13:51:30",
                "timestamp",
            ),
            ("IsoTimestamp", "infinity", "infinity", "timestamp"),
        ] {
            let schema =
                Schema::new(SchemaType::String).named(format!("io.debezium.time.{name}").as_str());
            assert_eq!(
                text(&Value::text(value), Some(&schema)),
                (shown.to_owned(), kind)
            );
        }
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
        assert!(Cell::of(&Value::text("a\0b"), None, false).is_err());
    }

    #[test]
    fn json_arrays_for_columns_of_arrays() {
        let cell = Cell::of(
            &Value::parse_json(r#"[1,null,"a\"b\\",[true],{"x":1}]"#).unwrap(),
            None,
            false,
        )
        .unwrap();
        assert_eq!(
            sent(&cell, "text[]"),
            r#"{"1",NULL,"a\"b\\",{"true"},"{\"x\":1}"}"#
        );
        assert_eq!(sent(&cell, "numeric(4,1)[]"), sent(&cell, "text[]"));
        assert_eq!(
            sent(&cell, "jsonb[]"),
            r#"{"1",NULL,"\"a\\\"b\\\\\"","[true]","{\"x\":1}"}"#
        );
        assert_eq!(Some(sent(&cell, "jsonb")), cell.text);
        let cell = Cell::of(
            &Value::parse_json(r#"[1.0,[2],"YWI="]"#).unwrap(),
            None,
            false,
        )
        .unwrap();
        assert_eq!(sent(&cell, "integer[]"), r#"{"1",{"2"},"YWI="}"#);
        assert_eq!(sent(&cell, "bytea[]"), r#"{"1",{"2"},"\\x6162"}"#);
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
                Cell::of(&Value::Null, Some(&schema), false)
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
        assert!(Cell::of(&Value::Int32(86_400_001), Some(&late), false).is_err());
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
            let cell = Cell::of(&Value::Int64(micros), Some(&schema), false).unwrap();
            assert_eq!(cell.text.as_deref(), Some(shown));
            assert_eq!(cell.kind.map(Kind::sql), Some("interval"));
            assert_eq!(sent(&cell, "interval"), shown);
            // A column of numbers has the number.
            assert_eq!(sent(&cell, "bigint"), micros.to_string());
        }
        let null = Cell::of(&Value::Null, Some(&schema), false).unwrap();
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
