//! HoistField: puts the whole key or value into one field.

use std::sync::Arc;

use connect_api::{
    Config, ConfigDef, ConfigKey, ConfigType, ConnectError, Field, Record, Rule, Schema,
    SchemaType, Struct, Value,
};

use super::fields::{put, take};
use super::{Each, Side};

pub(super) fn def() -> ConfigDef {
    ConfigDef::new().with(
        ConfigKey::required(
            "field",
            ConfigType::String,
            "Field name for the single field that will be created in the resulting Struct or Map.",
        )
        .rule(Rule::NotEmpty),
    )
}

pub(super) struct HoistField {
    side: Side,
    field: Arc<str>,
    /// The schema that was wrapped last and the one made of it.
    wrapped: Option<(Arc<Schema>, Arc<Schema>)>,
}

impl HoistField {
    pub(super) fn new(side: Side, config: &Config) -> Self {
        Self {
            side,
            field: config.string("field").into(),
            wrapped: None,
        }
    }

    fn wrap(&mut self, schema: Arc<Schema>) -> Arc<Schema> {
        match &self.wrapped {
            Some((inner, outer)) if Arc::ptr_eq(inner, &schema) => Arc::clone(outer),
            _ => {
                let field = Field {
                    name: Arc::clone(&self.field),
                    schema: Arc::clone(&schema),
                };
                let outer = Arc::new(Schema::new(SchemaType::Struct(vec![field])));
                self.wrapped = Some((schema, Arc::clone(&outer)));
                outer
            }
        }
    }
}

impl Each for HoistField {
    fn apply(&mut self, mut record: Record) -> Result<Option<Record>, ConnectError> {
        let (schema, value) = take(&mut record, self.side);
        match schema {
            Some(schema) => {
                let outer = self.wrap(schema);
                let value = Value::Struct(Struct::new(Arc::clone(&outer), vec![value]));
                put(&mut record, self.side, Some(outer), value);
            }
            None => {
                let value = value
                    .to_structured()
                    .map_err(|error| ConnectError::Data(error.to_string()))?;
                let map = Value::Map(vec![(Value::text(&*self.field), value)]);
                put(&mut record, self.side, None, map);
            }
        }
        Ok(Some(record))
    }
}
