//! ByteArrayConverter: bytes as they are.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use connect_api::{ConnectError, Schema, SchemaType, Value};

use super::Converter;

pub(super) struct ByteArrayConverter;

impl Converter for ByteArrayConverter {
    fn to_bytes(
        &mut self,
        _: Option<&Arc<Schema>>,
        value: &Value,
    ) -> Result<Option<Bytes>, ConnectError> {
        match value {
            Value::Null => Ok(None),
            Value::Bytes(bytes) => Ok(Some(bytes.clone())),
            // Kafka's refuses text; ours takes it, because its bytes are not in doubt.
            Value::String(text) | Value::Json(text) => Ok(Some(text.as_bytes().clone())),
            other => Err(ConnectError::Data(format!(
                "ByteArrayConverter takes bytes, not {}; use JsonConverter for structured data",
                other.kind()
            ))),
        }
    }

    fn to_value(
        &mut self,
        bytes: Option<Bytes>,
    ) -> Result<(Option<Arc<Schema>>, Value), ConnectError> {
        static SCHEMA: OnceLock<Arc<Schema>> = OnceLock::new();
        let schema = SCHEMA.get_or_init(|| Arc::new(Schema::new(SchemaType::Bytes).optional()));
        Ok((
            Some(Arc::clone(schema)),
            bytes.map_or(Value::Null, Value::Bytes),
        ))
    }
}
