//! PURE: the schema and the values of a column, by its type and the connector's modes, as Debezium 3 has them.
//!
//! Values come as the text that PostgreSQL prints under the connection's settings (see `wire`), whichever way they
//! came, so that snapshot and stream cannot differ.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bytes::Bytes;
use connect_api::{Schema, SchemaType, Struct, Value, logical};

use super::kind::Kind;
use super::literal;
use super::numeric::Decimal;
use super::temporal::{self, Bounded};

/// Debezium's numbers for the ends of time.
const LATEST_DAY: i32 = -2_147_472_692;
const EARLIEST_DAY: i32 = -2_147_472_691;
const LATEST: i64 = 9_223_372_036_825_200_000;
const EARLIEST: i64 = -9_223_372_036_832_400_000;
/// The length that Debezium gives to bits without a limit.
const BITS_UNLIMITED: i32 = i32::MAX;

/// `decimal.handling.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DecimalMode {
    Precise,
    Double,
    String,
}

/// `time.precision.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeMode {
    Adaptive,
    AdaptiveTimeMicroseconds,
    Connect,
    IsoString,
    Microseconds,
    Nanoseconds,
}

/// `binary.handling.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BinaryMode {
    Bytes,
    Base64,
    Base64UrlSafe,
    Hex,
}

/// How values are rendered.
#[derive(Debug, Clone)]
pub(super) struct Rendering {
    /// numeric and money.
    pub(super) decimal: DecimalMode,
    /// Times without a zone.
    pub(super) time: TimeMode,
    /// Dates and times without end as the ends of the years 1 to 9999.
    pub(super) clip_infinity: bool,
    /// What is no number has the words that the server has for it.
    pub(super) plain_specials: bool,
    /// Intervals as text and not as microseconds.
    pub(super) interval_text: bool,
    /// hstore as a map and not as JSON.
    pub(super) hstore_map: bool,
    /// bytea.
    pub(super) binary: BinaryMode,
    /// Digits behind the point of money.
    pub(super) money_digits: usize,
    /// Whether types that are not known are sent, as bytes.
    pub(super) unknown: bool,
    /// Stands for a large value that did not change.
    pub(super) placeholder: String,
}

impl Rendering {
    /// The schema of a type, null not allowed; `None` for types that are left out.
    pub(super) fn schema(&self, kind: &Kind) -> Option<Schema> {
        Some(match kind {
            Kind::Boolean => Schema::new(SchemaType::Boolean),
            Kind::Int16 => Schema::new(SchemaType::Int16),
            Kind::Int32 => Schema::new(SchemaType::Int32),
            Kind::Int64 => Schema::new(SchemaType::Int64),
            Kind::Float32 => Schema::new(SchemaType::Float32),
            Kind::Float64 => Schema::new(SchemaType::Float64),
            Kind::Numeric(limits) => self.numeric_schema(*limits),
            Kind::Money => match self.decimal {
                DecimalMode::Precise => decimal(self.money_digits, None),
                _ => self.numeric_schema(None),
            },
            Kind::Date => match self.time {
                TimeMode::Connect => named(SchemaType::Int32, logical::DATE),
                TimeMode::IsoString => named(SchemaType::String, "io.debezium.time.IsoDate"),
                _ => named(SchemaType::Int32, "io.debezium.time.Date"),
            },
            Kind::Time(digits) => match self.time {
                TimeMode::Adaptive if *digits <= 3 => {
                    named(SchemaType::Int32, "io.debezium.time.Time")
                }
                TimeMode::Connect => named(SchemaType::Int32, logical::TIME),
                TimeMode::IsoString => named(SchemaType::String, "io.debezium.time.IsoTime"),
                TimeMode::Nanoseconds => named(SchemaType::Int64, "io.debezium.time.NanoTime"),
                _ => named(SchemaType::Int64, "io.debezium.time.MicroTime"),
            },
            Kind::Timestamp(digits) => match self.time {
                TimeMode::Adaptive | TimeMode::AdaptiveTimeMicroseconds if *digits <= 3 => {
                    named(SchemaType::Int64, "io.debezium.time.Timestamp")
                }
                TimeMode::Connect => named(SchemaType::Int64, logical::TIMESTAMP),
                TimeMode::IsoString => named(SchemaType::String, "io.debezium.time.IsoTimestamp"),
                TimeMode::Nanoseconds => named(SchemaType::Int64, "io.debezium.time.NanoTimestamp"),
                _ => named(SchemaType::Int64, "io.debezium.time.MicroTimestamp"),
            },
            Kind::TimestampTz(_) => named(SchemaType::String, "io.debezium.time.ZonedTimestamp"),
            Kind::TimeTz(_) => named(SchemaType::String, "io.debezium.time.ZonedTime"),
            Kind::Interval if self.interval_text => {
                named(SchemaType::String, "io.debezium.time.Interval")
            }
            Kind::Interval => named(SchemaType::Int64, "io.debezium.time.MicroDuration"),
            Kind::Bytes => self.binary_schema(),
            Kind::Bits(length) => {
                let mut schema = named(SchemaType::Bytes, "io.debezium.data.Bits");
                let length = length.unwrap_or(BITS_UNLIMITED).to_string();
                schema.parameters.insert("length".to_owned(), length);
                schema
            }
            Kind::Text => Schema::new(SchemaType::String),
            Kind::Named(name) => named(SchemaType::String, &format!("io.debezium.data.{name}")),
            Kind::Enum(labels) => {
                let mut schema = named(SchemaType::String, "io.debezium.data.Enum");
                schema
                    .parameters
                    .insert("allowed".to_owned(), labels.clone());
                schema
            }
            Kind::Hstore if self.hstore_map => Schema::new(SchemaType::Map(
                Arc::new(Schema::new(SchemaType::String)),
                Arc::new(Schema::new(SchemaType::String).optional()),
            )),
            Kind::Hstore => named(SchemaType::String, "io.debezium.data.Json"),
            Kind::Point => point_schema(),
            Kind::Array(element) => {
                let element = self.schema(element)?.optional();
                Schema::new(SchemaType::Array(Arc::new(element)))
            }
            Kind::Unknown if self.unknown => self.binary_schema(),
            Kind::Unknown => return None,
        })
    }

    fn numeric_schema(&self, limits: Option<(i32, i32)>) -> Schema {
        match (self.decimal, limits) {
            (DecimalMode::Double, _) => Schema::new(SchemaType::Float64),
            (DecimalMode::String, _) => Schema::new(SchemaType::String),
            (DecimalMode::Precise, Some((precision, scale))) => {
                decimal(usize::try_from(scale).unwrap_or(0), Some(precision))
            }
            (DecimalMode::Precise, None) => variable_decimal_schema(),
        }
    }

    /// The value of a text; null where the schema has no place for it (`NaN` as a precise decimal).
    ///
    /// # Errors
    /// What is wrong with it: the server prints something else than is known here.
    pub(super) fn value(&self, kind: &Kind, text: &str) -> Result<Value, String> {
        self.render(kind, text)
            .ok_or_else(|| format!("\"{}\" is no value of this type", shortened(text)))
    }

    fn render(&self, kind: &Kind, text: &str) -> Option<Value> {
        Some(match kind {
            Kind::Boolean => Value::Boolean(match text {
                "t" | "true" | "1" => true,
                "f" | "false" | "0" => false,
                _ => return None,
            }),
            Kind::Int16 => Value::Int16(text.parse().ok()?),
            Kind::Int32 => Value::Int32(text.parse().ok()?),
            Kind::Int64 => Value::Int64(text.parse().ok()?),
            Kind::Float32 => Value::Float32(text.parse().ok()?),
            Kind::Float64 => Value::Float64(text.parse().ok()?),
            Kind::Numeric(limits) => self.number(
                text,
                limits.map(|(_, scale)| usize::try_from(scale).unwrap_or(0)),
            )?,
            Kind::Money => {
                let negative = text.contains(['-', '(']);
                let digits = text.chars().filter(|c| c.is_ascii_digit() || *c == '.');
                let plain: String = negative.then_some('-').into_iter().chain(digits).collect();
                self.number(&plain, Some(self.money_digits))?
            }
            Kind::Date => self.date(self.clipped(temporal::date(text)?, temporal::ENDS_DAYS))?,
            Kind::Time(digits) => self.time(*digits, temporal::time(text)?)?,
            Kind::Timestamp(digits) => self.timestamp(*digits, self.instant(text)?)?,
            Kind::TimestampTz(digits) => Value::text(match self.instant(text)? {
                Bounded::Latest => "infinity".to_owned(),
                Bounded::Earliest => "-infinity".to_owned(),
                Bounded::At(us) => format!("{}Z", temporal::iso_timestamp(us, *digits)),
            }),
            Kind::TimeTz(digits) => Value::text(format!(
                "{}Z",
                short(temporal::iso_time(temporal::time_utc(text)?, *digits))
            )),
            Kind::Interval => self.interval(text)?,
            Kind::Bytes => self.binary(&unhex(text)?),
            Kind::Bits(_) => Value::Bytes(bits(text)?.into()),
            Kind::Text | Kind::Named(_) | Kind::Enum(_) => Value::text(text),
            Kind::Hstore => self.hstore(text)?,
            Kind::Point => point(text)?,
            Kind::Array(element) => {
                let items = literal::array(text)?.into_iter().map(|item| match item {
                    None => Some(Value::Null),
                    Some(item) => self.render(element, &item),
                });
                Value::Array(items.collect::<Option<_>>()?)
            }
            Kind::Unknown => self.binary(text.as_bytes()),
        })
    }

    fn number(&self, text: &str, scale: Option<usize>) -> Option<Value> {
        match self.decimal {
            DecimalMode::Double => text.parse().ok().map(Value::Float64),
            DecimalMode::String if self.plain_specials => Some(Value::text(text)),
            DecimalMode::String => Some(Value::text(match text {
                "NaN" => "NAN",
                "Infinity" => "POSITIVE_INFINITY",
                "-Infinity" => "NEGATIVE_INFINITY",
                number => number,
            })),
            DecimalMode::Precise => {
                if matches!(text, "NaN" | "Infinity" | "-Infinity") {
                    return Some(Value::Null);
                }
                let number = Decimal::parse(text)?;
                Some(match scale {
                    Some(scale) => Value::Bytes(number.rescaled(scale)?.unscaled().into()),
                    None => Value::Struct(Struct::new(
                        Arc::new(variable_decimal_schema()),
                        vec![
                            Value::Int32(number.scale()),
                            Value::Bytes(number.unscaled().into()),
                        ],
                    )),
                })
            }
        }
    }

    fn instant(&self, text: &str) -> Option<Bounded> {
        Some(self.clipped(temporal::timestamp(text)?, temporal::ENDS_US))
    }

    /// A value without end, or the end that stands for it.
    fn clipped(&self, value: Bounded, (first, last): (i64, i64)) -> Bounded {
        match value {
            Bounded::Earliest if self.clip_infinity => Bounded::At(first),
            Bounded::Latest if self.clip_infinity => Bounded::At(last),
            value => value,
        }
    }

    fn date(&self, date: Bounded) -> Option<Value> {
        let days = match date {
            Bounded::Latest => LATEST_DAY,
            Bounded::Earliest => EARLIEST_DAY,
            Bounded::At(days) => i32::try_from(days).ok()?,
        };
        Some(match (self.time, date) {
            (TimeMode::IsoString, Bounded::At(days)) => {
                Value::text(format!("{}Z", temporal::iso_date(days)))
            }
            (TimeMode::IsoString, Bounded::Latest) => Value::text("infinity"),
            (TimeMode::IsoString, Bounded::Earliest) => Value::text("-infinity"),
            _ => Value::Int32(days),
        })
    }

    fn time(&self, digits: usize, us: i64) -> Option<Value> {
        Some(match self.time {
            TimeMode::Connect => Value::Int32(i32::try_from(us / 1000).ok()?),
            TimeMode::Adaptive if digits <= 3 => Value::Int32(i32::try_from(us / 1000).ok()?),
            TimeMode::IsoString => {
                Value::text(format!("{}Z", short(temporal::iso_time(us, digits))))
            }
            TimeMode::Nanoseconds => Value::Int64(us.checked_mul(1000)?),
            _ => Value::Int64(us),
        })
    }

    fn timestamp(&self, digits: usize, instant: Bounded) -> Option<Value> {
        let us = match (self.time, instant) {
            (TimeMode::IsoString, Bounded::Latest) => return Some(Value::text("infinity")),
            (TimeMode::IsoString, Bounded::Earliest) => return Some(Value::text("-infinity")),
            (TimeMode::Connect, Bounded::Latest) => return Some(Value::Int64(LATEST / 1000)),
            (TimeMode::Connect, Bounded::Earliest) => return Some(Value::Int64(EARLIEST / 1000)),
            (TimeMode::Nanoseconds, Bounded::Latest) => return Some(Value::Int64(i64::MAX)),
            (TimeMode::Nanoseconds, Bounded::Earliest) => return Some(Value::Int64(i64::MIN)),
            (_, Bounded::Latest) => return Some(Value::Int64(LATEST)),
            (_, Bounded::Earliest) => return Some(Value::Int64(EARLIEST)),
            (_, Bounded::At(us)) => us,
        };
        Some(match self.time {
            TimeMode::Connect => Value::Int64(us.div_euclid(1000)),
            TimeMode::Adaptive | TimeMode::AdaptiveTimeMicroseconds if digits <= 3 => {
                Value::Int64(us.div_euclid(1000))
            }
            TimeMode::IsoString => {
                Value::text(format!("{}Z", short(temporal::iso_timestamp(us, digits))))
            }
            // Years before 1677 and after 2262.
            TimeMode::Nanoseconds => us.checked_mul(1000).map_or(Value::Null, Value::Int64),
            _ => Value::Int64(us),
        })
    }

    fn interval(&self, text: &str) -> Option<Value> {
        // PostgreSQL 17 has intervals without end.
        let (us, iso) = match text {
            "infinity" => (i64::MAX, text.to_owned()),
            "-infinity" => (i64::MIN, text.to_owned()),
            _ => {
                let interval = temporal::interval(text)?;
                (interval.micros(), interval.iso())
            }
        };
        Some(if self.interval_text {
            Value::text(iso)
        } else {
            Value::Int64(us)
        })
    }

    /// The schema of bytes.
    pub(super) fn binary_schema(&self) -> Schema {
        Schema::new(match self.binary {
            BinaryMode::Bytes => SchemaType::Bytes,
            _ => SchemaType::String,
        })
    }

    /// Bytes as a value of that schema.
    pub(super) fn binary(&self, bytes: &[u8]) -> Value {
        match self.binary {
            BinaryMode::Bytes => Value::Bytes(Bytes::copy_from_slice(bytes)),
            BinaryMode::Base64 => Value::text(STANDARD.encode(bytes)),
            BinaryMode::Base64UrlSafe => Value::text(URL_SAFE.encode(bytes)),
            BinaryMode::Hex => Value::text(
                bytes
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<String>(),
            ),
        }
    }

    fn hstore(&self, text: &str) -> Option<Value> {
        let pairs = literal::hstore(text)?;
        let value = |value: Option<String>| value.map_or(Value::Null, Value::text);
        if self.hstore_map {
            let pairs = pairs
                .into_iter()
                .map(|(key, item)| (Value::text(key), value(item)));
            return Some(Value::Map(pairs.collect()));
        }
        let object: serde_json::Map<String, serde_json::Value> = pairs
            .into_iter()
            .map(|(key, item)| (key, item.into()))
            .collect();
        Some(Value::text(serde_json::Value::Object(object).to_string()))
    }

    /// What stands for a large value that did not change and is not known.
    pub(super) fn unavailable(&self, schema: &Schema) -> Value {
        let text = || Value::text(self.placeholder.as_str());
        match &schema.kind {
            SchemaType::String => text(),
            SchemaType::Bytes if schema.name.is_none() => {
                Value::Bytes(Bytes::copy_from_slice(self.placeholder.as_bytes()))
            }
            SchemaType::Array(element) if element.kind == SchemaType::String => {
                Value::Array(vec![text()])
            }
            SchemaType::Array(element)
                if matches!(element.kind, SchemaType::Int32 | SchemaType::Int64)
                    && element.name.is_none() =>
            {
                let number = |byte: u8| match element.kind {
                    SchemaType::Int32 => Value::Int32(byte.into()),
                    _ => Value::Int64(byte.into()),
                };
                Value::Array(self.placeholder.bytes().map(number).collect())
            }
            SchemaType::Map(..) => Value::Map(vec![(text(), text())]),
            _ if schema.optional => Value::Null,
            _ => absent(schema),
        }
    }
}

/// What Debezium puts where a value is not known and null is not allowed.
pub(super) fn absent(schema: &Schema) -> Value {
    if let Some(default) = &schema.default {
        return default.clone();
    }
    match &schema.kind {
        SchemaType::Int8 => Value::Int8(0),
        SchemaType::Int16 => Value::Int16(0),
        SchemaType::Int32 => Value::Int32(0),
        SchemaType::Int64 => Value::Int64(0),
        SchemaType::Float32 => Value::Float32(0.0),
        SchemaType::Float64 => Value::Float64(0.0),
        SchemaType::Boolean => Value::Boolean(false),
        SchemaType::String => Value::text(match schema.name.as_deref() {
            Some("io.debezium.time.IsoDate") => "1970-01-01Z",
            Some("io.debezium.time.IsoTime") => "00:00:00Z",
            Some("io.debezium.time.IsoTimestamp") => "1970-01-01T00:00:00Z",
            _ => "",
        }),
        SchemaType::Bytes if schema.name.as_deref() == Some(logical::DECIMAL) => {
            Value::Bytes(Bytes::from_static(&[0]))
        }
        SchemaType::Bytes => Value::Bytes(Bytes::new()),
        SchemaType::Array(_) => Value::Array(Vec::new()),
        SchemaType::Map(..) => Value::Map(Vec::new()),
        SchemaType::Struct(fields) => {
            let values = fields.iter().map(|field| {
                if field.schema.optional {
                    Value::Null
                } else {
                    absent(&field.schema)
                }
            });
            let mut required = schema.clone();
            required.optional = false;
            Value::Struct(Struct::new(Arc::new(required), values.collect()))
        }
    }
}

/// A schema of version 1 under a name.
pub(super) fn named(kind: SchemaType, name: &str) -> Schema {
    let mut schema = Schema::new(kind).named(name);
    schema.version = Some(1);
    schema
}

fn decimal(scale: usize, precision: Option<i32>) -> Schema {
    let mut schema = named(SchemaType::Bytes, logical::DECIMAL);
    let mut parameters = BTreeMap::new();
    parameters.insert("scale".to_owned(), scale.to_string());
    if let Some(precision) = precision {
        parameters.insert(
            "connect.decimal.precision".to_owned(),
            precision.to_string(),
        );
    }
    schema.parameters = parameters;
    schema
}

fn variable_decimal_schema() -> Schema {
    let fields = Schema::structure(vec![
        ("scale", Schema::new(SchemaType::Int32)),
        ("value", Schema::new(SchemaType::Bytes)),
    ]);
    let mut schema = named(fields.kind, "io.debezium.data.VariableScaleDecimal");
    schema.doc = Some("Variable scaled decimal".into());
    schema
}

fn point_schema() -> Schema {
    let fields = Schema::structure(vec![
        ("x", Schema::new(SchemaType::Float64)),
        ("y", Schema::new(SchemaType::Float64)),
        ("wkb", Schema::new(SchemaType::Bytes).optional()),
        ("srid", Schema::new(SchemaType::Int32).optional()),
    ]);
    let mut schema = named(fields.kind, "io.debezium.data.geometry.Point");
    schema.doc = Some("Geometry (POINT)".into());
    schema
}

/// `(1.5,2)`, with its well-known binary form beside it: little-endian, kind 1, two doubles.
fn point(text: &str) -> Option<Value> {
    let (x, y) = text.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    let (x, y): (f64, f64) = (x.parse().ok()?, y.parse().ok()?);
    let mut wkb = vec![1, 1, 0, 0, 0];
    wkb.extend(x.to_le_bytes());
    wkb.extend(y.to_le_bytes());
    Some(Value::Struct(Struct::new(
        Arc::new(point_schema()),
        vec![
            Value::Float64(x),
            Value::Float64(y),
            Value::Bytes(wkb.into()),
            Value::Null,
        ],
    )))
}

/// `101` as a number in little-endian bytes, without zeros at its end.
fn bits(text: &str) -> Option<Vec<u8>> {
    let mut bytes = vec![0_u8; text.len().div_ceil(8)];
    for (place, bit) in text.bytes().rev().enumerate() {
        match bit {
            b'0' => {}
            b'1' => bytes[place / 8] |= 1 << (place % 8),
            _ => return None,
        }
    }
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    Some(bytes)
}

/// A time without zeros at the end of its fraction, as Java prints it.
fn short(time: String) -> String {
    match time.contains('.') {
        true => time.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => time,
    }
}

/// `\x0aff` as bytes.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let nibble = |digit: u8| char::from(digit).to_digit(16);
    if digits.len() % 2 == 1 {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| u8::try_from(nibble(pair[0])? << 4 | nibble(pair[1])?).ok())
        .collect()
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

/// What stands for a default that a function gives.
fn given_by_function(kind: &Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Int16 | Kind::Int32 | Kind::Int64 | Kind::Float32 | Kind::Float64 => "0",
        Kind::Numeric(_) => "0",
        Kind::Text => "",
        Kind::Date => "1970-01-01",
        Kind::Time(_) => "00:00:00",
        Kind::TimeTz(_) => "00:00:00+00",
        Kind::Timestamp(_) => "1970-01-01 00:00:00",
        Kind::TimestampTz(_) => "1970-01-01 00:00:00+00",
        _ => return None,
    })
}

/// Whether an expression is the call of a function.
fn is_call(expression: &str) -> bool {
    let plain = expression.trim_start_matches('(');
    let name = plain.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.')));
    name.is_some_and(|end| end > 0 && plain[end..].starts_with('(') && plain.contains(')'))
}

/// A number with as many digits behind the point as its column has.
fn with_scale(text: &str, kind: &Kind) -> String {
    let Kind::Numeric(Some((_, scale))) = kind else {
        return text.to_owned();
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    match usize::try_from(*scale) {
        Ok(scale) if scale > fraction.len() => format!("{whole}.{fraction:0<scale$}"),
        _ => text.to_owned(),
    }
}

/// The constant that a column's default is, if it is one: `'text'::type`, a number, a boolean. Where a function gives it,
/// the zero of the type. Lists, bytes and numbers without a scale have none.
pub(super) fn default_value(rendering: &Rendering, kind: &Kind, expression: &str) -> Option<Value> {
    let is_struct = rendering.decimal == DecimalMode::Precise && *kind == Kind::Numeric(None);
    if is_struct || matches!(kind, Kind::Array(_) | Kind::Bytes) {
        return None;
    }
    if is_call(expression) {
        let zero = with_scale(given_by_function(kind)?, kind);
        return rendering.value(kind, &zero).ok();
    }
    let text = match expression.strip_prefix('\'') {
        Some(rest) => {
            let mut text = String::new();
            let mut chars = rest.chars().peekable();
            loop {
                match chars.next()? {
                    '\'' if chars.next_if_eq(&'\'').is_some() => text.push('\''),
                    '\'' => break,
                    c => text.push(c),
                }
            }
            let rest: String = chars.collect();
            let constant = rest.is_empty() || (rest.starts_with("::") && !rest.contains(' '));
            let constant = constant || (rest.starts_with("::") && is_type_name(&rest[2..]));
            if !constant {
                return None;
            }
            text
        }
        None => {
            let plain = expression.split("::").next()?;
            let plain = plain.trim_matches(['(', ')']);
            let constant = matches!(plain, "true" | "false") || plain.parse::<f64>().is_ok();
            let tail = &expression[expression.find("::").unwrap_or(expression.len())..];
            if !constant || !tail.is_empty() && !is_type_name(&tail[2..]) {
                return None;
            }
            plain.to_owned()
        }
    };
    match rendering.value(kind, &with_scale(&text, kind)).ok()? {
        Value::Null => None,
        value => Some(value),
    }
}

/// Whether what follows a cast is the name of a type and nothing more.
fn is_type_name(text: &str) -> bool {
    text.chars().all(|c| {
        c.is_alphanumeric() || matches!(c, '_' | ' ' | '.' | '"' | '(' | ')' | ',' | '[' | ']')
    }) && !text.contains(" || ")
}

#[cfg(test)]
mod tests;
