//! SetSchemaMetadata: gives the schema of the key or value another name or version.

use std::sync::Arc;

use connect_api::{
    Config, ConfigDef, ConfigKey, ConfigType, ConnectError, Record, Schema, Struct, Value,
};

use super::fields::{put, take};
use super::{Each, Side};

pub(super) fn def() -> ConfigDef {
    ConfigDef::new()
        .with(ConfigKey::optional(
            "schema.name",
            ConfigType::String,
            None,
            "Schema name to set.",
        ))
        .with(ConfigKey::optional(
            "schema.version",
            ConfigType::Int,
            None,
            "Schema version to set.",
        ))
}

pub(super) struct SetSchemaMetadata {
    side: Side,
    name: Option<Arc<str>>,
    version: Option<i32>,
    /// The schema that was changed last, and what became of it.
    changed: Option<(Arc<Schema>, Arc<Schema>)>,
}

impl SetSchemaMetadata {
    pub(super) fn new(side: Side, config: &Config) -> Result<Self, ConnectError> {
        let name = config.get("schema.name").map(Into::into);
        let version = config
            .get("schema.version")
            .and_then(|version| version.trim().parse().ok());
        if name.is_none() && version.is_none() {
            return Err(ConnectError::config(
                "schema.name",
                "Neither schema name nor version configured",
            ));
        }
        Ok(Self {
            side,
            name,
            version,
            changed: None,
        })
    }

    fn change(&mut self, schema: Arc<Schema>) -> Arc<Schema> {
        if let Some((before, after)) = &self.changed
            && Arc::ptr_eq(before, &schema)
        {
            return Arc::clone(after);
        }
        let after = Arc::new(Schema {
            name: self.name.clone().or_else(|| schema.name.clone()),
            version: self.version.or(schema.version),
            ..(*schema).clone()
        });
        self.changed = Some((schema, Arc::clone(&after)));
        after
    }
}

impl Each for SetSchemaMetadata {
    fn apply(&mut self, mut record: Record) -> Result<Option<Record>, ConnectError> {
        let (schema, value) = take(&mut record, self.side);
        let Some(schema) = schema else {
            if value.is_null() {
                return Ok(Some(record));
            }
            return Err(ConnectError::Data(
                "Schema required for [updating schema metadata]".to_owned(),
            ));
        };
        let schema = self.change(schema);
        let value = match value {
            Value::Struct(structure) => {
                Value::Struct(Struct::new(Arc::clone(&schema), structure.into_values()))
            }
            other => other,
        };
        put(&mut record, self.side, Some(schema), value);
        Ok(Some(record))
    }
}
