//! ExtractField: puts one field in place of the whole key or value.

use connect_api::{Config, ConfigDef, ConfigKey, ConfigType, ConnectError, Record, Rule, Value};

use super::field_path::{self, syntax_key};
use super::fields::{Fields, null_key, or_default, put, take};
use super::{Each, Side};

pub(super) fn def() -> ConfigDef {
    ConfigDef::new()
        .with(
            ConfigKey::required("field", ConfigType::String, "Field name to extract.")
                .rule(Rule::NotEmpty),
        )
        .with(syntax_key())
        .with(null_key())
}

pub(super) struct ExtractField {
    side: Side,
    field: String,
    /// The names on the way to it.
    path: Vec<String>,
    null_as_default: bool,
}

impl ExtractField {
    pub(super) fn new(side: Side, config: &Config) -> Result<Self, ConnectError> {
        let field = config.string("field").to_owned();
        let path = field_path::parse(&field, config.string("field.syntax.version"))
            .map_err(|reason| ConnectError::config("field", reason))?;
        Ok(Self {
            side,
            field,
            path,
            null_as_default: config.boolean("replace.null.with.default"),
        })
    }
}

impl Each for ExtractField {
    fn apply(&mut self, mut record: Record) -> Result<Option<Record>, ConnectError> {
        let (mut schema, mut value) = take(&mut record, self.side);
        for name in &self.path {
            if value.is_null() {
                // Of nothing every field is nothing.
                schema = None;
                break;
            }
            let mut fields = Fields::of(value, "field extraction")?;
            let place = fields
                .entries
                .iter()
                .position(|(known, ..)| **known == **name);
            (schema, value) = match place {
                Some(place) => {
                    let (_, schema, value) = fields.entries.swap_remove(place);
                    let value = or_default(schema.as_deref(), value, self.null_as_default);
                    (schema, value)
                }
                None if fields.has_schema() => {
                    return Err(ConnectError::Data(format!("Unknown field: {}", self.field)));
                }
                None => (None, Value::Null),
            };
        }
        put(&mut record, self.side, schema, value);
        Ok(Some(record))
    }
}
