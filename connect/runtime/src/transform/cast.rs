//! Cast: changes the type of fields, or of the whole key or value.
//!
//! Numbers become smaller types as Java narrows them: whole numbers lose their upper bits, floating point numbers are
//! cut to whole ones and stop at the bounds of Int32 or Int64.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use connect_api::{
    Config, ConfigDef, ConfigKey, ConfigType, ConnectError, JsonStyle, Record, Schema, SchemaType,
    Value, logical,
};

use super::fields::{Fields, null_key, or_default, put, take};
use super::timestamp_converter::logical_text;
use super::{Each, Side};

pub(super) fn def() -> ConfigDef {
    ConfigDef::new()
        .with(ConfigKey::required(
            "spec",
            ConfigType::List,
            "List of fields and the type to cast them to of the form field1:type,field2:type, or one type for the whole \
             key or value. Types are int8, int16, int32, int64, float32, float64, boolean, and string.",
        ))
        .with(null_key())
}

/// What a value can become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Int8,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Boolean,
    String,
}

const TARGETS: [(&str, Target); 8] = [
    ("int8", Target::Int8),
    ("int16", Target::Int16),
    ("int32", Target::Int32),
    ("int64", Target::Int64),
    ("float32", Target::Float32),
    ("float64", Target::Float64),
    ("boolean", Target::Boolean),
    ("string", Target::String),
];

impl Target {
    fn by_name(name: &str) -> Result<Self, ConnectError> {
        let known = TARGETS.iter().find(|(known, _)| *known == name.trim());
        known.map(|(_, target)| *target).ok_or_else(|| {
            let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
            ConnectError::config(
                "spec",
                format!(
                    "Cast transformation does not support casting to {name}; supported types are {}",
                    names.join(", ")
                ),
            )
        })
    }

    fn schema_type(self) -> SchemaType {
        match self {
            Self::Int8 => SchemaType::Int8,
            Self::Int16 => SchemaType::Int16,
            Self::Int32 => SchemaType::Int32,
            Self::Int64 => SchemaType::Int64,
            Self::Float32 => SchemaType::Float32,
            Self::Float64 => SchemaType::Float64,
            Self::Boolean => SchemaType::Boolean,
            Self::String => SchemaType::String,
        }
    }
}

/// What is cast.
enum Spec {
    Whole(Target),
    Fields(Vec<(String, Target)>),
}

pub(super) struct Cast {
    side: Side,
    spec: Spec,
    null_as_default: bool,
}

impl Cast {
    pub(super) fn new(side: Side, config: &Config) -> Result<Self, ConnectError> {
        let wrong = |message: &str| Err(ConnectError::config("spec", message));
        let parts = config.list("spec");
        let spec = match parts.as_slice() {
            [] => return wrong("Must specify at least one field to cast."),
            [whole] if !whole.contains(':') => Spec::Whole(Target::by_name(whole)?),
            parts => {
                let mut fields = Vec::with_capacity(parts.len());
                for part in parts {
                    // A field's name may have colons.
                    let Some((field, target)) = part.rsplit_once(':') else {
                        return wrong(
                            "Cast transformations that specify a type to cast the entire value to may ONLY specify a \
                             single cast in their spec",
                        );
                    };
                    fields.push((field.trim().to_owned(), Target::by_name(target)?));
                }
                Spec::Fields(fields)
            }
        };
        Ok(Self {
            side,
            spec,
            null_as_default: config.boolean("replace.null.with.default"),
        })
    }
}

impl Each for Cast {
    fn apply(&mut self, mut record: Record) -> Result<Option<Record>, ConnectError> {
        let (schema, value) = take(&mut record, self.side);
        let (schema, value) = match &self.spec {
            Spec::Whole(target) => {
                let value = or_default(schema.as_deref(), value, self.null_as_default);
                cast(schema, value, *target)?
            }
            Spec::Fields(_) if value.is_null() => (schema, value),
            Spec::Fields(specs) => {
                let mut fields = Fields::of(value, "cast types")?;
                for (name, schema, value) in &mut fields.entries {
                    let Some((_, target)) = specs.iter().find(|(spec, _)| **spec == **name) else {
                        continue;
                    };
                    let taken = std::mem::replace(value, Value::Null);
                    let taken = or_default(schema.as_deref(), taken, self.null_as_default);
                    (*schema, *value) = cast(schema.take(), taken, *target)
                        .map_err(|error| ConnectError::Data(format!("field {name}: {error}")))?;
                }
                fields.into_value()
            }
        };
        put(&mut record, self.side, schema, value);
        Ok(Some(record))
    }
}

/// A value as another type, with the schema of that type where it had one.
fn cast(
    schema: Option<Arc<Schema>>,
    value: Value,
    target: Target,
) -> Result<(Option<Arc<Schema>>, Value), ConnectError> {
    let value = value
        .to_structured()
        .map_err(|error| ConnectError::Data(error.to_string()))?;
    let new = |value| convert(schema.as_deref(), value, target);
    let schema = match &schema {
        None => None,
        Some(old) => {
            let default = old.default.clone().map(new).transpose()?;
            let mut made = Schema::new(target.schema_type());
            (made.optional, made.default) = (old.optional, default);
            Some(Arc::new(made))
        }
    };
    Ok((schema, new(value)?))
}

/// A number as it is cast from.
enum Number {
    Whole(i128),
    Float(f64),
}

fn convert(schema: Option<&Schema>, value: Value, target: Target) -> Result<Value, ConnectError> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    if target == Target::String {
        return text_of(schema, value).map(Value::text);
    }
    if target == Target::Boolean {
        return Ok(Value::Boolean(match &value {
            Value::Boolean(value) => *value,
            Value::String(text) => text.as_str().eq_ignore_ascii_case("true"),
            _ => match number_of(schema, &value, target)? {
                Number::Whole(whole) => whole != 0,
                Number::Float(float) => float as i64 != 0,
            },
        }));
    }
    // Narrowing is what this step is for: numbers wrap, and floats stop at the bounds.
    Ok(match (number_of(schema, &value, target)?, target) {
        (Number::Whole(whole), Target::Int8) => Value::Int8(whole as i8),
        (Number::Whole(whole), Target::Int16) => Value::Int16(whole as i16),
        (Number::Whole(whole), Target::Int32) => Value::Int32(whole as i32),
        (Number::Whole(whole), Target::Float32) => Value::Float32(whole as f32),
        (Number::Whole(whole), Target::Float64) => Value::Float64(whole as f64),
        (Number::Whole(whole), _) => Value::Int64(whole as i64),
        (Number::Float(float), Target::Int8) => Value::Int8(float as i32 as i8),
        (Number::Float(float), Target::Int16) => Value::Int16(float as i32 as i16),
        (Number::Float(float), Target::Int32) => Value::Int32(float as i32),
        (Number::Float(float), Target::Float32) => Value::Float32(float as f32),
        (Number::Float(float), Target::Float64) => Value::Float64(float),
        (Number::Float(float), _) => Value::Int64(float as i64),
    })
}

fn number_of(
    schema: Option<&Schema>,
    value: &Value,
    target: Target,
) -> Result<Number, ConnectError> {
    Ok(match value {
        Value::Boolean(value) => Number::Whole(i128::from(*value)),
        Value::Int8(value) => Number::Whole(i128::from(*value)),
        Value::Int16(value) => Number::Whole(i128::from(*value)),
        Value::Int32(value) => Number::Whole(i128::from(*value)),
        Value::Int64(value) => Number::Whole(i128::from(*value)),
        Value::Float32(value) => Number::Float(f64::from(*value)),
        Value::Float64(value) => Number::Float(*value),
        Value::String(text) => parsed(text.as_str(), target)?,
        // A number of more digits than the other kinds hold.
        Value::Json(text) => decimal(text.as_str())?,
        Value::Bytes(_) if is_decimal(schema) => decimal(&text_of(schema, value.clone())?)?,
        other => {
            return Err(ConnectError::Data(format!(
                "Unexpected type in Cast transformation: {} becomes no number",
                other.kind()
            )));
        }
    })
}

fn is_decimal(schema: Option<&Schema>) -> bool {
    schema.is_some_and(|schema| schema.name.as_deref() == Some(logical::DECIMAL))
}

/// Text is taken only if it is a number of the target, as Java's parsers have it.
fn parsed(text: &str, target: Target) -> Result<Number, ConnectError> {
    let whole = |least: i64, most: i64| {
        let number = text.parse::<i64>().ok()?;
        (least..=most)
            .contains(&number)
            .then_some(Number::Whole(i128::from(number)))
    };
    let number = match target {
        Target::Int8 => whole(i64::from(i8::MIN), i64::from(i8::MAX)),
        Target::Int16 => whole(i64::from(i16::MIN), i64::from(i16::MAX)),
        Target::Int32 => whole(i64::from(i32::MIN), i64::from(i32::MAX)),
        Target::Float32 | Target::Float64 => text.trim().parse().ok().map(Number::Float),
        _ => whole(i64::MIN, i64::MAX),
    };
    number.ok_or_else(|| {
        ConnectError::Data(format!(
            "Value (\"{text}\") was out of range or no number for the requested data type"
        ))
    })
}

/// A decimal number's text: its whole part where that fits, as far as numbers go.
fn decimal(text: &str) -> Result<Number, ConnectError> {
    if let Ok(whole) = text.parse() {
        return Ok(Number::Whole(whole));
    }
    let float = text.parse().map(Number::Float);
    float.map_err(|_| ConnectError::Data(format!("{text} is no number")))
}

fn text_of(schema: Option<&Schema>, value: Value) -> Result<String, ConnectError> {
    if let Some(text) = schema.and_then(|schema| logical_text(schema, &value)) {
        return Ok(text);
    }
    match &value {
        Value::String(text) => Ok(text.to_string()),
        Value::Bytes(bytes) if !is_decimal(schema) => Ok(STANDARD.encode(bytes)),
        Value::Array(_) | Value::Map(_) | Value::Struct(_) => Err(ConnectError::Data(format!(
            "Unexpected type in Cast transformation: {} becomes no text",
            value.kind()
        ))),
        _ => {
            let style = JsonStyle {
                decimal_numeric: true,
                ..JsonStyle::default()
            };
            let mut out = Vec::new();
            value.write_json(schema, style, &mut out);
            let text =
                String::from_utf8(out).map_err(|error| ConnectError::Data(error.to_string()))?;
            // Numbers that are none are written as text.
            Ok(text.trim_matches('"').to_owned())
        }
    }
}
