//! The converters of single values: Boolean, Short, Integer, Long, Float and Double, in Java's bytes.
//!
//! ```text
//! Boolean  00 | 01          Short  2 bytes      Integer  4 bytes      Long  8 bytes
//! Float    4 bytes          Double 8 bytes      big-endian; a null has no bytes
//! ```

use std::sync::Arc;

use bytes::Bytes;
use connect_api::{ConnectError, Schema, SchemaType, Value};

use super::Converter;

/// A converter of values of one type.
pub(super) struct PrimitiveConverter {
    kind: SchemaType,
    /// The type, a null allowed.
    schema: Arc<Schema>,
}

impl PrimitiveConverter {
    /// The one of a type that is a number or a boolean.
    pub(super) fn new(kind: SchemaType) -> Self {
        Self {
            schema: Arc::new(Schema::new(kind.clone()).optional()),
            kind,
        }
    }

    /// A number without a schema as one of this type, where it is one exactly.
    fn fitted(&self, value: &Value) -> Option<Value> {
        if let Value::Json(text) = value {
            return self.fitted(&Value::parse_json(text.as_str()).ok()?);
        }
        Some(match (&self.kind, value) {
            (SchemaType::Int16, Value::Int64(number)) => Value::Int16((*number).try_into().ok()?),
            (SchemaType::Int32, Value::Int64(number)) => Value::Int32((*number).try_into().ok()?),
            (SchemaType::Boolean, Value::Boolean(_))
            | (SchemaType::Int16, Value::Int16(_))
            | (SchemaType::Int32, Value::Int32(_))
            | (SchemaType::Int64, Value::Int64(_))
            | (SchemaType::Float32, Value::Float32(_))
            | (SchemaType::Float64, Value::Float64(_)) => value.clone(),
            _ => return None,
        })
    }

    fn name(&self) -> &'static str {
        self.kind.json_name()
    }
}

impl Converter for PrimitiveConverter {
    fn to_bytes(
        &mut self,
        _: Option<&Arc<Schema>>,
        value: &Value,
    ) -> Result<Option<Bytes>, ConnectError> {
        if value.is_null() {
            return Ok(None);
        }
        let fitted = self.fitted(value).ok_or_else(|| {
            ConnectError::Data(format!(
                "the converter takes {}, not {}; JsonConverter takes any value",
                self.name(),
                value.kind()
            ))
        })?;
        Ok(Some(match fitted {
            Value::Boolean(value) => Bytes::copy_from_slice(&[u8::from(value)]),
            Value::Int16(value) => Bytes::copy_from_slice(&value.to_be_bytes()),
            Value::Int32(value) => Bytes::copy_from_slice(&value.to_be_bytes()),
            Value::Int64(value) => Bytes::copy_from_slice(&value.to_be_bytes()),
            Value::Float32(value) => Bytes::copy_from_slice(&value.to_be_bytes()),
            Value::Float64(value) => Bytes::copy_from_slice(&value.to_be_bytes()),
            _ => return Ok(None),
        }))
    }

    fn to_value(
        &mut self,
        bytes: Option<Bytes>,
    ) -> Result<(Option<Arc<Schema>>, Value), ConnectError> {
        let schema = Some(Arc::clone(&self.schema));
        let Some(bytes) = bytes else {
            return Ok((schema, Value::Null));
        };
        let value = match (&self.kind, &*bytes) {
            (SchemaType::Boolean, [byte @ (0 | 1)]) => Some(Value::Boolean(*byte == 1)),
            (SchemaType::Int16, bytes) => array(bytes).map(i16::from_be_bytes).map(Value::Int16),
            (SchemaType::Int32, bytes) => array(bytes).map(i32::from_be_bytes).map(Value::Int32),
            (SchemaType::Int64, bytes) => array(bytes).map(i64::from_be_bytes).map(Value::Int64),
            (SchemaType::Float32, bytes) => {
                array(bytes).map(f32::from_be_bytes).map(Value::Float32)
            }
            (SchemaType::Float64, bytes) => {
                array(bytes).map(f64::from_be_bytes).map(Value::Float64)
            }
            _ => None,
        };
        let value = value.ok_or_else(|| {
            let (name, length) = (self.name(), bytes.len());
            ConnectError::Data(format!("{length} bytes are no {name} as Java writes it"))
        })?;
        Ok((schema, value))
    }
}

fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}
