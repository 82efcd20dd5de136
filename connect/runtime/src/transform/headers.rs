//! InsertHeader, DropHeaders, HeaderFrom: headers of fixed texts, without some, of fields.

use connect_api::{
    Config, ConfigDef, ConfigKey, ConfigType, ConnectError, Header, Record, Rule, Text, Value,
};

use super::fields::{Fields, null_key, or_default, put, take};
use super::{Each, Side};

pub(super) fn insert_def() -> ConfigDef {
    ConfigDef::new()
        .with(
            ConfigKey::required("header", ConfigType::String, "The name of the header.")
                .rule(Rule::NotEmpty),
        )
        .with(
            ConfigKey::required(
                "value.literal",
                ConfigType::String,
                "The literal value that is to be set as the header value on all records.",
            )
            .rule(Rule::NotEmpty),
        )
}

/// `InsertHeader`.
pub(super) struct InsertHeader(Header);

impl InsertHeader {
    pub(super) fn new(config: &Config) -> Self {
        Self(Header {
            name: Text::from(config.string("header")),
            value: Value::text(config.string("value.literal")),
        })
    }
}

impl Each for InsertHeader {
    fn apply(&mut self, mut record: Record) -> Result<Option<Record>, ConnectError> {
        record.headers.push(self.0.clone());
        Ok(Some(record))
    }
}

pub(super) fn drop_def() -> ConfigDef {
    ConfigDef::new().with(
        ConfigKey::required(
            "headers",
            ConfigType::List,
            "The name of the headers to be removed.",
        )
        .rule(Rule::NotEmpty),
    )
}

/// `DropHeaders`.
pub(super) struct DropHeaders(Vec<String>);

impl DropHeaders {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.list("headers"))
    }
}

impl Each for DropHeaders {
    fn apply(&mut self, mut record: Record) -> Result<Option<Record>, ConnectError> {
        let dropped = |header: &Header| self.0.iter().any(|name| *name == header.name.as_str());
        record.headers.retain(|header| !dropped(header));
        Ok(Some(record))
    }
}

pub(super) fn from_def() -> ConfigDef {
    let list = |name: &str, documentation: &str| {
        ConfigKey::required(name, ConfigType::List, documentation).rule(Rule::NotEmpty)
    };
    ConfigDef::new()
        .with(list(
            "fields",
            "Field names in the record whose values are to be copied or moved to headers.",
        ))
        .with(list(
            "headers",
            "Header names, in the same order as the field names listed in the fields configuration property.",
        ))
        .with(
            ConfigKey::required(
                "operation",
                ConfigType::String,
                "Either 'move' if the fields are to be moved to the headers (removed from the key/value), or 'copy' if \
                 the fields are to be copied to the headers (retained in the key/value).",
            )
            .rule(Rule::OneOf(&["move", "copy"])),
        )
        .with(null_key())
}

/// `HeaderFrom`.
pub(super) struct HeaderFrom {
    side: Side,
    /// Field and header.
    pairs: Vec<(String, String)>,
    moves: bool,
    null_as_default: bool,
}

impl HeaderFrom {
    pub(super) fn new(side: Side, config: &Config) -> Result<Self, ConnectError> {
        let (fields, headers) = (config.list("fields"), config.list("headers"));
        if fields.len() != headers.len() {
            return Err(ConnectError::config(
                "fields",
                "'fields' config must have the same number of elements as 'headers' config.",
            ));
        }
        Ok(Self {
            side,
            pairs: fields.into_iter().zip(headers).collect(),
            moves: config.string("operation") == "move",
            null_as_default: config.boolean("replace.null.with.default"),
        })
    }
}

impl Each for HeaderFrom {
    fn apply(&mut self, mut record: Record) -> Result<Option<Record>, ConnectError> {
        let (schema, value) = take(&mut record, self.side);
        if value.is_null() {
            put(&mut record, self.side, schema, value);
            return Ok(Some(record));
        }
        let mut fields = Fields::of(value, "header from")?;
        for (field, header) in &self.pairs {
            let value = match fields.get(field) {
                Some((_, schema, value)) => {
                    or_default(schema.as_deref(), value.clone(), self.null_as_default)
                }
                None if fields.has_schema() => {
                    return Err(ConnectError::Data(format!("Field does not exist: {field}")));
                }
                None => Value::Null,
            };
            record.headers.push(Header {
                name: Text::from(header.as_str()),
                value,
            });
        }
        if self.moves {
            let moved = |name: &str| self.pairs.iter().any(|(field, _)| field == name);
            fields.entries.retain(|(name, ..)| !moved(name));
        }
        let (schema, value) = fields.into_value();
        put(&mut record, self.side, schema, value);
        Ok(Some(record))
    }
}
