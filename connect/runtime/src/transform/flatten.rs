//! Flatten: makes nested fields fields of the whole, under names joined of theirs. Arrays stay what they are.

use std::sync::Arc;

use connect_api::{
    Config, ConfigDef, ConfigKey, ConfigType, ConnectError, Record, Schema, SchemaType, Value,
};

use super::fields::{Fields, put, take};
use super::{Each, Side};

/// Levels of nesting; a schema may nest as deep as JSON does.
const DEPTH_MAX: usize = 128;

pub(super) fn def() -> ConfigDef {
    ConfigDef::new().with(ConfigKey::optional(
        "delimiter",
        ConfigType::String,
        Some("."),
        "Delimiter to insert between field names from the input record when generating field names for the output \
         record.",
    ))
}

pub(super) struct Flatten {
    side: Side,
    delimiter: String,
}

impl Flatten {
    pub(super) fn new(side: Side, config: &Config) -> Self {
        Self {
            side,
            delimiter: config.string("delimiter").to_owned(),
        }
    }
}

impl Each for Flatten {
    fn apply(&mut self, mut record: Record) -> Result<Option<Record>, ConnectError> {
        let (schema, value) = take(&mut record, self.side);
        if value.is_null() {
            put(&mut record, self.side, schema, value);
            return Ok(Some(record));
        }
        let fields = Fields::of(value, "flattening")?;
        let mut flat = Fields::empty(&fields);
        let mut flattening = Flattening {
            delimiter: &self.delimiter,
            flat: &mut flat,
        };
        for (name, schema, value) in fields.entries {
            flattening.add(name, schema, value, false, 0)?;
        }
        let (schema, value) = flat.into_value();
        put(&mut record, self.side, schema, value);
        Ok(Some(record))
    }
}

struct Flattening<'a> {
    delimiter: &'a str,
    flat: &'a mut Fields,
}

impl Flattening<'_> {
    /// Adds a field, or those within it. What is within an optional struct is optional.
    fn add(
        &mut self,
        name: Arc<str>,
        schema: Option<Arc<Schema>>,
        value: Value,
        optional: bool,
        depth: usize,
    ) -> Result<(), ConnectError> {
        if depth > DEPTH_MAX {
            return Err(ConnectError::Data(format!(
                "Flatten: the value nests deeper than {DEPTH_MAX} levels"
            )));
        }
        let Some(schema) = schema else {
            let Value::Map(entries) = value else {
                self.flat.entries.push((name, None, value));
                return Ok(());
            };
            for (key, value) in entries {
                let Value::String(key) = key else {
                    return Err(ConnectError::Data(format!(
                        "Flatten: a key of {name} is {}, not text",
                        key.kind()
                    )));
                };
                self.add(
                    self.joined(&name, key.as_str()),
                    None,
                    value,
                    false,
                    depth + 1,
                )?;
            }
            return Ok(());
        };
        match &schema.kind {
            SchemaType::Struct(fields) => {
                let optional = optional || schema.optional;
                let mut values = match value {
                    Value::Struct(structure) => structure.into_values(),
                    _ => vec![Value::Null; fields.len()],
                }
                .into_iter();
                for field in fields {
                    let value = values.next().unwrap_or(Value::Null);
                    let name = self.joined(&name, &field.name);
                    self.add(
                        name,
                        Some(Arc::clone(&field.schema)),
                        value,
                        optional,
                        depth + 1,
                    )?;
                }
                Ok(())
            }
            SchemaType::Map(..) => Err(ConnectError::Data(format!(
                "Flatten transformation does not support MAP for record with schemas (for field {name})."
            ))),
            _ => {
                let schema = match optional && !schema.optional {
                    true => Arc::new((*schema).clone().optional()),
                    false => schema,
                };
                self.flat.entries.push((name, Some(schema), value));
                Ok(())
            }
        }
    }

    fn joined(&self, parent: &str, name: &str) -> Arc<str> {
        format!("{parent}{}{name}", self.delimiter).into()
    }
}
