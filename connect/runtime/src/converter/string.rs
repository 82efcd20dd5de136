//! StringConverter: text as UTF-8.
//!
//! Numbers and booleans print as Java prints them; structured values as JSON, where Kafka's prints Java's
//! `toString` (`Struct{a=1}`), which nothing can read back.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use connect_api::{
    ConfigDef, ConfigKey, ConfigType, ConnectError, Importance, JsonStyle, Rule, Schema,
    SchemaType, Text, Value,
};

use super::Converter;

pub(super) struct StringConverter;

pub(super) fn def() -> ConfigDef {
    ConfigDef::new().with(
        ConfigKey::optional(
            "converter.encoding",
            ConfigType::String,
            Some("UTF-8"),
            "The name of the Java character set to use for encoding strings as byte arrays.",
        )
        .rule(Rule::OneOfIgnoringCase(&["UTF-8", "UTF8"]))
        .importance(Importance::High),
    )
}

impl Converter for StringConverter {
    fn to_bytes(
        &mut self,
        schema: Option<&Arc<Schema>>,
        value: &Value,
    ) -> Result<Option<Bytes>, ConnectError> {
        Ok(match value {
            Value::Null => None,
            Value::String(text) | Value::Json(text) => Some(text.as_bytes().clone()),
            other => {
                let mut out = Vec::new();
                other.write_json(
                    schema.map(|schema| &**schema),
                    JsonStyle::default(),
                    &mut out,
                );
                Some(out.into())
            }
        })
    }

    fn to_value(
        &mut self,
        bytes: Option<Bytes>,
    ) -> Result<(Option<Arc<Schema>>, Value), ConnectError> {
        static SCHEMA: OnceLock<Arc<Schema>> = OnceLock::new();
        let schema = SCHEMA.get_or_init(|| Arc::new(Schema::new(SchemaType::String).optional()));
        let value = match bytes {
            None => Value::Null,
            Some(bytes) => Value::String(Text::from_utf8(bytes).map_err(|error| {
                ConnectError::Data(format!(
                    "not UTF-8 ({error}); use ByteArrayConverter for bytes that are no text"
                ))
            })?),
        };
        Ok((Some(Arc::clone(schema)), value))
    }
}
