//! ValueToKey: makes the key of fields of the value.

use connect_api::{Config, ConfigDef, ConfigKey, ConfigType, ConnectError, Record, Rule};

use super::Each;
use super::fields::Fields;

pub(super) fn def() -> ConfigDef {
    ConfigDef::new().with(
        ConfigKey::required(
            "fields",
            ConfigType::List,
            "Field names on the record value to extract as the record key.",
        )
        .rule(Rule::NotEmpty),
    )
}

pub(super) struct ValueToKey {
    fields: Vec<String>,
}

impl ValueToKey {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            fields: config.list("fields"),
        }
    }
}

impl Each for ValueToKey {
    fn apply(&mut self, mut record: Record) -> Result<Option<Record>, ConnectError> {
        let fields = Fields::of(record.value.clone(), "copying fields from value to key")?;
        let mut key = Fields::nameless(&fields);
        for name in &self.fields {
            match fields.get(name) {
                Some(entry) => key.entries.push(entry.clone()),
                None => return Err(ConnectError::Data(format!("Field does not exist: {name}"))),
            }
        }
        (record.key_schema, record.key) = key.into_value();
        Ok(Some(record))
    }
}
