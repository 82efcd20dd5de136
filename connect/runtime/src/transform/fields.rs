//! Keys and values as fields that a step can add, drop and rename, with or without a schema.

use std::sync::Arc;

use connect_api::{
    ConfigKey, ConfigType, ConnectError, Field, Record, Schema, SchemaType, Struct, Value,
};

use super::Side;

/// One half of a record, taken out.
pub(super) fn take(record: &mut Record, side: Side) -> (Option<Arc<Schema>>, Value) {
    let (schema, value) = match side {
        Side::Key => (&mut record.key_schema, &mut record.key),
        Side::Value => (&mut record.value_schema, &mut record.value),
    };
    (schema.take(), std::mem::replace(value, Value::Null))
}

/// One half of a record, put back.
pub(super) fn put(record: &mut Record, side: Side, schema: Option<Arc<Schema>>, value: Value) {
    match side {
        Side::Key => (record.key_schema, record.key) = (schema, value),
        Side::Value => (record.value_schema, record.value) = (schema, value),
    }
}

/// The key of steps that look at values whose schema has a default.
pub(super) fn null_key() -> ConfigKey {
    ConfigKey::optional(
        "replace.null.with.default",
        ConfigType::Boolean,
        Some("true"),
        "Whether to replace fields that have a default value and that are null to the default value.",
    )
}

/// A value, or the default of its schema in place of null where that is wanted.
pub(super) fn or_default(schema: Option<&Schema>, value: Value, wanted: bool) -> Value {
    match schema.and_then(|schema| schema.default.as_ref()) {
        Some(default) if wanted && value.is_null() => default.clone(),
        _ => value,
    }
}

/// Name, schema, value.
type Entry = (Arc<str>, Option<Arc<Schema>>, Value);

/// Named fields in order; each has a schema where the whole has one.
pub(super) struct Fields {
    /// The schema that it came with.
    origin: Option<Arc<Schema>>,
    pub(super) entries: Vec<Entry>,
}

impl Fields {
    /// No fields, with or without schemas as `like` has.
    pub(super) fn empty(like: &Self) -> Self {
        Self {
            origin: like.origin.clone(),
            entries: Vec::new(),
        }
    }

    /// No fields of a struct of its own, with or without schemas as `like` has.
    pub(super) fn nameless(like: &Self) -> Self {
        let origin = like
            .origin
            .as_ref()
            .map(|_| Arc::new(Schema::structure(Vec::new())));
        Self {
            origin,
            entries: Vec::new(),
        }
    }

    /// Takes a struct or a schemaless object apart. `purpose` goes into the message, as Kafka's `Requirements` do.
    pub(super) fn of(value: Value, purpose: &str) -> Result<Self, ConnectError> {
        let value = value
            .to_structured()
            .map_err(|error| ConnectError::Data(error.to_string()))?;
        match value {
            Value::Struct(structure) => {
                let schema = Arc::clone(structure.schema());
                let entries = schema
                    .fields()
                    .iter()
                    .zip(structure.into_values())
                    .map(|(field, value)| {
                        (
                            Arc::clone(&field.name),
                            Some(Arc::clone(&field.schema)),
                            value,
                        )
                    })
                    .collect();
                Ok(Self {
                    origin: Some(schema),
                    entries,
                })
            }
            Value::Map(map) => {
                let mut entries = Vec::with_capacity(map.len());
                for (key, value) in map {
                    let Value::String(name) = key else {
                        return Err(ConnectError::Data(format!(
                            "Only Map objects with text keys supported for [{purpose}], found a key that is {}",
                            key.kind()
                        )));
                    };
                    entries.push((name.as_str().into(), None, value));
                }
                Ok(Self {
                    origin: None,
                    entries,
                })
            }
            other => Err(ConnectError::Data(format!(
                "Only Struct or Map objects supported for [{purpose}], found: {}",
                other.kind()
            ))),
        }
    }

    /// Whether the fields have schemas.
    pub(super) fn has_schema(&self) -> bool {
        self.origin.is_some()
    }

    /// Sets a field, in its place or at the end.
    pub(super) fn set(&mut self, name: &str, schema: Schema, value: Value) {
        let schema = self.has_schema().then(|| Arc::new(schema));
        match self
            .entries
            .iter_mut()
            .find(|(present, ..)| &**present == name)
        {
            Some(entry) => (entry.1, entry.2) = (schema, value),
            None => self.entries.push((name.into(), schema, value)),
        }
    }

    /// The field of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|(present, ..)| &**present == name)
    }

    /// Put together again.
    pub(super) fn into_value(self) -> (Option<Arc<Schema>>, Value) {
        let Some(origin) = self.origin else {
            let map = self
                .entries
                .into_iter()
                .map(|(name, _, value)| (Value::text(&*name), value))
                .collect();
            return (None, Value::Map(map));
        };
        let mut fields = Vec::with_capacity(self.entries.len());
        let mut values = Vec::with_capacity(self.entries.len());
        for (name, schema, value) in self.entries {
            let schema =
                schema.unwrap_or_else(|| Arc::new(Schema::new(SchemaType::String).optional()));
            fields.push(Field { name, schema });
            values.push(value);
        }
        let schema = if origin.fields() == fields.as_slice() {
            origin
        } else {
            Arc::new(Schema {
                kind: SchemaType::Struct(fields),
                ..(*origin).clone()
            })
        };
        (
            Some(Arc::clone(&schema)),
            Value::Struct(Struct::new(schema, values)),
        )
    }
}
