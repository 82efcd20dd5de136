//! ExtractField: puts one field in place of the whole key or value.

use connect_api::{Config, ConfigDef, ConfigKey, ConfigType, ConnectError, Record, Rule, Value};

use super::fields::{Fields, put, take};
use super::{Each, Side};

pub(super) fn def() -> ConfigDef {
    ConfigDef::new().with(
        ConfigKey::required("field", ConfigType::String, "Field name to extract.")
            .rule(Rule::NotEmpty),
    )
}

pub(super) struct ExtractField {
    side: Side,
    field: String,
}

impl ExtractField {
    pub(super) fn new(side: Side, config: &Config) -> Self {
        Self {
            side,
            field: config.string("field").to_owned(),
        }
    }
}

impl Each for ExtractField {
    fn apply(&mut self, mut record: Record) -> Result<Option<Record>, ConnectError> {
        let (schema, value) = take(&mut record, self.side);
        if value.is_null() {
            put(&mut record, self.side, schema, value);
            return Ok(Some(record));
        }
        let mut fields = Fields::of(value, "field extraction")?;
        let place = fields
            .entries
            .iter()
            .position(|(name, ..)| **name == *self.field);
        let (schema, value) = match place {
            Some(place) => {
                let (_, schema, value) = fields.entries.swap_remove(place);
                (schema, value)
            }
            None if fields.has_schema() => {
                return Err(ConnectError::Data(format!("Unknown field: {}", self.field)));
            }
            None => (None, Value::Null),
        };
        put(&mut record, self.side, schema, value);
        Ok(Some(record))
    }
}
