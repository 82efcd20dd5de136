//! MaskField: puts the empty value of its type, or a fixed one, in place of a field's.

use connect_api::{
    Config, ConfigDef, ConfigKey, ConfigType, ConnectError, Record, Rule, Text, Value,
};

use super::fields::{Fields, null_key, or_default, put, take};
use super::{Each, Side};

pub(super) fn def() -> ConfigDef {
    ConfigDef::new()
        .with(
            ConfigKey::required("fields", ConfigType::List, "Names of fields to mask.")
                .rule(Rule::NotEmpty),
        )
        .with(
            ConfigKey::optional(
                "replacement",
                ConfigType::String,
                None,
                "Custom value replacement, that will be applied to all 'fields' values (numeric or non-empty string \
                 values only).",
            )
            .rule(Rule::NotEmpty),
        )
        .with(null_key())
}

pub(super) struct MaskField {
    side: Side,
    fields: Vec<String>,
    replacement: Option<String>,
    null_as_default: bool,
}

impl MaskField {
    pub(super) fn new(side: Side, config: &Config) -> Self {
        Self {
            side,
            fields: config.list("fields"),
            replacement: config.get("replacement").map(str::to_owned),
            null_as_default: config.boolean("replace.null.with.default"),
        }
    }
}

impl Each for MaskField {
    fn apply(&mut self, mut record: Record) -> Result<Option<Record>, ConnectError> {
        let (schema, value) = take(&mut record, self.side);
        if value.is_null() {
            put(&mut record, self.side, schema, value);
            return Ok(Some(record));
        }
        let mut fields = Fields::of(value, "mask fields")?;
        for (name, schema, value) in &mut fields.entries {
            if self.fields.iter().any(|masked| **masked == **name) {
                let taken = std::mem::replace(value, Value::Null);
                let taken = or_default(schema.as_deref(), taken, self.null_as_default);
                *value = match &self.replacement {
                    None => emptied(&taken),
                    Some(replacement) => replaced(&taken, replacement),
                }
                .map_err(|reason| ConnectError::Data(format!("field {name}: {reason}")))?;
            }
        }
        let (schema, value) = fields.into_value();
        put(&mut record, self.side, schema, value);
        Ok(Some(record))
    }
}

fn emptied(value: &Value) -> Result<Value, String> {
    Ok(match value {
        Value::Null => Value::Null,
        Value::Boolean(_) => Value::Boolean(false),
        Value::Int8(_) => Value::Int8(0),
        Value::Int16(_) => Value::Int16(0),
        Value::Int32(_) => Value::Int32(0),
        Value::Int64(_) => Value::Int64(0),
        Value::Float32(_) => Value::Float32(0.0),
        Value::Float64(_) => Value::Float64(0.0),
        Value::String(_) => Value::text(""),
        Value::Array(_) => Value::Array(Vec::new()),
        Value::Map(_) => Value::Map(Vec::new()),
        // A number of many digits.
        Value::Json(_) => Value::Int64(0),
        // Also a decimal's: its unscaled value is then 0.
        Value::Bytes(_) => Value::Bytes(vec![0].into()),
        Value::Struct(_) => return Err("Cannot mask value of type: a struct".to_owned()),
    })
}

fn replaced(value: &Value, replacement: &str) -> Result<Value, String> {
    let number = || format!("Unable to convert {replacement} (the replacement) to a number");
    Ok(match value {
        Value::Null => Value::Null,
        Value::Int8(_) => Value::Int8(replacement.parse().map_err(|_| number())?),
        Value::Int16(_) => Value::Int16(replacement.parse().map_err(|_| number())?),
        Value::Int32(_) => Value::Int32(replacement.parse().map_err(|_| number())?),
        Value::Int64(_) => Value::Int64(replacement.parse().map_err(|_| number())?),
        Value::Float32(_) => Value::Float32(replacement.parse().map_err(|_| number())?),
        Value::Float64(_) => Value::Float64(replacement.parse().map_err(|_| number())?),
        Value::String(_) => Value::String(Text::from(replacement)),
        Value::Json(_) => Value::parse_json(replacement)
            .ok()
            .filter(|value| matches!(value, Value::Int64(_) | Value::Float64(_) | Value::Json(_)))
            .ok_or_else(number)?,
        other => {
            return Err(format!(
                "Cannot mask value of type {} with custom replacement.",
                other.kind()
            ));
        }
    })
}
