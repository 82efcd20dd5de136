//! TimestampConverter: times as text, as a number since 1970, or as Connect's Date, Time, Timestamp.
//!
//! Without a schema, a Date is its days, a Time its milliseconds since midnight, a Timestamp its milliseconds since
//! 1970: numbers, as their schemas would have them. A field that is missing stays missing.

use std::sync::Arc;

use connect_api::{
    Config, ConfigDef, ConfigKey, ConfigType, ConnectError, Record, Rule, Schema, SchemaType,
    Value, logical,
};

use super::date_format::DateFormat;
use super::fields::{Fields, null_key, or_default, put, take};
use super::{Each, Side};

const DAY_MS: i64 = 86_400_000;

pub(super) fn def() -> ConfigDef {
    ConfigDef::new()
        .with(ConfigKey::optional(
            "field",
            ConfigType::String,
            Some(""),
            "The field containing the timestamp, or empty if the entire value is a timestamp.",
        ))
        .with(
            ConfigKey::required(
                "target.type",
                ConfigType::String,
                "The desired timestamp representation: string, unix, Date, Time, or Timestamp.",
            )
            .rule(Rule::OneOf(&["string", "unix", "Date", "Time", "Timestamp"])),
        )
        .with(ConfigKey::optional(
            "format",
            ConfigType::String,
            Some(""),
            "A SimpleDateFormat-compatible format for the timestamp. Used to generate the output when type=string or \
             used to parse the input if the input is a string.",
        ))
        .with(
            ConfigKey::optional(
                "unix.precision",
                ConfigType::String,
                Some("milliseconds"),
                "The desired Unix precision for the timestamp: seconds, milliseconds, microseconds, or nanoseconds. \
                 Used to generate the output when type=unix or used to parse the input if the input is a Long.",
            )
            .rule(Rule::OneOf(&["nanoseconds", "microseconds", "milliseconds", "seconds"])),
        )
        .with(null_key())
}

/// What a time becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Text,
    Unix,
    Date,
    Time,
    Timestamp,
}

impl Target {
    fn schema(self) -> Schema {
        match self {
            Self::Text => Schema::new(SchemaType::String),
            Self::Unix => Schema::new(SchemaType::Int64),
            Self::Date => Schema::new(SchemaType::Int32).named(logical::DATE),
            Self::Time => Schema::new(SchemaType::Int32).named(logical::TIME),
            Self::Timestamp => Schema::new(SchemaType::Int64).named(logical::TIMESTAMP),
        }
    }
}

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Precision {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Precision {
    fn to_ms(self, value: i64) -> Option<i64> {
        match self {
            Self::Seconds => value.checked_mul(1_000),
            Self::Milliseconds => Some(value),
            Self::Microseconds => Some(value.div_euclid(1_000)),
            Self::Nanoseconds => Some(value.div_euclid(1_000_000)),
        }
    }

    fn of_ms(self, ms: i64) -> Option<i64> {
        match self {
            Self::Seconds => Some(ms.div_euclid(1_000)),
            Self::Milliseconds => Some(ms),
            Self::Microseconds => ms.checked_mul(1_000),
            Self::Nanoseconds => ms.checked_mul(1_000_000),
        }
    }
}

pub(super) struct TimestampConverter {
    side: Side,
    field: Option<String>,
    target: Target,
    format: Option<DateFormat>,
    precision: Precision,
    null_as_default: bool,
}

impl TimestampConverter {
    pub(super) fn new(side: Side, config: &Config) -> Result<Self, ConnectError> {
        let target = match config.string("target.type") {
            "string" => Target::Text,
            "unix" => Target::Unix,
            "Date" => Target::Date,
            "Time" => Target::Time,
            _ => Target::Timestamp,
        };
        let format = match config.string("format") {
            "" if target == Target::Text => {
                return Err(ConnectError::config(
                    "format",
                    "TimestampConverter requires format option to be specified when using string timestamps",
                ));
            }
            "" => None,
            pattern => Some(
                DateFormat::parse(pattern)
                    .map_err(|reason| ConnectError::config("format", reason))?,
            ),
        };
        let precision = match config.string("unix.precision") {
            "seconds" => Precision::Seconds,
            "microseconds" => Precision::Microseconds,
            "nanoseconds" => Precision::Nanoseconds,
            _ => Precision::Milliseconds,
        };
        Ok(Self {
            side,
            field: Some(config.string("field").to_owned()).filter(|field| !field.is_empty()),
            target,
            format,
            precision,
            null_as_default: config.boolean("replace.null.with.default"),
        })
    }

    /// A time as it is to be, with its schema if it had one.
    fn convert(
        &self,
        schema: Option<&Schema>,
        value: Value,
    ) -> Result<(Option<Arc<Schema>>, Value), String> {
        let value = or_default(schema, value, self.null_as_default);
        let made = schema.map(|schema| {
            let made = self.target.schema();
            Arc::new(if schema.optional {
                made.optional()
            } else {
                made
            })
        });
        if value.is_null() {
            return Ok((made, Value::Null));
        }
        let ms = self.read(schema, &value)?;
        Ok((made, self.write(ms)?))
    }

    /// The milliseconds since 1970 that a value means.
    fn read(&self, schema: Option<&Schema>, value: &Value) -> Result<i64, String> {
        let number = match value {
            Value::String(text) => {
                let format = self.format.as_ref().ok_or(
                    "the time is text: TimestampConverter needs its format (a SimpleDateFormat)",
                )?;
                return format.read(text.as_str());
            }
            Value::Int8(value) => i64::from(*value),
            Value::Int16(value) => i64::from(*value),
            Value::Int32(value) => i64::from(*value),
            Value::Int64(value) => *value,
            other => {
                return Err(format!(
                    "{} does not correspond to a known timestamp type format",
                    other.kind()
                ));
            }
        };
        let ms = match schema.and_then(|schema| schema.name.as_deref()) {
            Some(logical::DATE) => number.checked_mul(DAY_MS),
            Some(logical::TIME | logical::TIMESTAMP) => Some(number),
            _ => self.precision.to_ms(number),
        };
        ms.ok_or_else(|| format!("{number} is no time: out of range"))
    }

    fn write(&self, ms: i64) -> Result<Value, String> {
        let out_of_range = || format!("{ms} ms since 1970 is out of range");
        Ok(match self.target {
            Target::Text => match &self.format {
                Some(format) => Value::text(format.print(ms)?),
                None => return Err("there is no format to print the time in".to_owned()),
            },
            Target::Unix => Value::Int64(self.precision.of_ms(ms).ok_or_else(out_of_range)?),
            Target::Date => {
                let days = i32::try_from(ms.div_euclid(DAY_MS));
                Value::Int32(days.map_err(|_| out_of_range())?)
            }
            Target::Time => {
                let of_day = i32::try_from(ms.rem_euclid(DAY_MS));
                Value::Int32(of_day.map_err(|_| out_of_range())?)
            }
            Target::Timestamp => Value::Int64(ms),
        })
    }
}

impl Each for TimestampConverter {
    fn apply(&mut self, mut record: Record) -> Result<Option<Record>, ConnectError> {
        let (schema, value) = take(&mut record, self.side);
        let (schema, value) = match &self.field {
            None => {
                let value = value
                    .to_structured()
                    .map_err(|error| ConnectError::Data(error.to_string()))?;
                self.convert(schema.as_deref(), value)
                    .map_err(ConnectError::Data)?
            }
            Some(_) if value.is_null() => (schema, value),
            Some(field) => {
                let mut fields = Fields::of(value, "converting timestamp formats")?;
                if let Some((_, schema, value)) = fields
                    .entries
                    .iter_mut()
                    .find(|(name, ..)| **name == **field)
                {
                    let taken = std::mem::replace(value, Value::Null);
                    (*schema, *value) = self
                        .convert(schema.as_deref(), taken)
                        .map_err(|reason| ConnectError::Data(format!("field {field}: {reason}")))?;
                }
                fields.into_value()
            }
        };
        put(&mut record, self.side, schema, value);
        Ok(Some(record))
    }
}

/// A Date, Time or Timestamp as Connect prints it; `None` for every other value.
pub(super) fn logical_text(schema: &Schema, value: &Value) -> Option<String> {
    let (ms, pattern) = match (schema.name.as_deref()?, value) {
        (logical::DATE, Value::Int32(days)) => (i64::from(*days) * DAY_MS, "yyyy-MM-dd"),
        (logical::TIME, Value::Int32(ms)) => (i64::from(*ms), "HH:mm:ss.SSS'Z'"),
        (logical::TIMESTAMP, Value::Int64(ms)) => (*ms, "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'"),
        _ => return None,
    };
    DateFormat::parse(pattern).ok()?.print(ms).ok()
}
