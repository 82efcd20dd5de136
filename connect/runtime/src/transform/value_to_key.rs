//! ValueToKey: makes the key of fields of the value.

use connect_api::{Config, ConfigDef, ConfigKey, ConfigType, ConnectError, Record, Rule};

use super::Each;
use super::fields::{Fields, null_key, or_default};

pub(super) fn def() -> ConfigDef {
    let fields = ConfigKey::required(
        "fields",
        ConfigType::List,
        "Field names on the record value to extract as the record key.",
    );
    ConfigDef::new()
        .with(fields.rule(Rule::NotEmpty))
        .with(null_key())
}

pub(super) struct ValueToKey {
    fields: Vec<String>,
    null_as_default: bool,
}

impl ValueToKey {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            fields: config.list("fields"),
            null_as_default: config.boolean("replace.null.with.default"),
        }
    }
}

impl Each for ValueToKey {
    fn apply(&mut self, mut record: Record) -> Result<Option<Record>, ConnectError> {
        let fields = Fields::of(record.value.clone(), "copying fields from value to key")?;
        let mut key = Fields::nameless(&fields);
        for name in &self.fields {
            match fields.get(name) {
                Some((name, schema, value)) => {
                    let value = or_default(schema.as_deref(), value.clone(), self.null_as_default);
                    key.entries.push((name.clone(), schema.clone(), value));
                }
                None => return Err(ConnectError::Data(format!("Field does not exist: {name}"))),
            }
        }
        (record.key_schema, record.key) = key.into_value();
        Ok(Some(record))
    }
}
