//! Values of keys, values and headers.
//!
//! [`Value::Json`] is the fast path: a JSON document as the text it arrived in, checked to be one JSON value and
//! nothing else. A line of a file, a WASM transform and a schemaless JSON converter pass it on without parsing;
//! whoever needs structure calls [`Value::to_structured`].
//!
//! Invariants:
//! 1. [`Text`] holds UTF-8.
//! 2. [`Value::Json`] holds exactly one well-formed JSON value that is not `null` (that is [`Value::Null`]).
//! 3. A [`Struct`] has as many values as its schema has fields.

mod exact;
mod json;
mod text;

use std::sync::Arc;

use bytes::Bytes;

use crate::Schema;
pub use json::{JsonStyle, ParseJsonError};
pub use text::Text;

/// A value with or without a schema beside it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value; as the value of a record: a tombstone.
    Null,
    /// True or false.
    Boolean(bool),
    /// 8-bit signed integer.
    Int8(i8),
    /// 16-bit signed integer.
    Int16(i16),
    /// 32-bit signed integer.
    Int32(i32),
    /// 64-bit signed integer.
    Int64(i64),
    /// 32-bit float.
    Float32(f32),
    /// 64-bit float.
    Float64(f64),
    /// Text.
    String(Text),
    /// Bytes.
    Bytes(Bytes),
    /// A list.
    Array(Vec<Value>),
    /// Keys and values in the order in which they came; a schemaless object has [`Value::String`] keys.
    Map(Vec<(Value, Value)>),
    /// Fields by schema.
    Struct(Struct),
    /// Schemaless JSON as text, see invariant 2.
    Json(Text),
}

impl Value {
    /// Text as a value.
    pub fn text(text: impl Into<String>) -> Self {
        Self::String(Text::from(text.into()))
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// What it is, in words for error messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "a boolean",
            Self::Int8(_) | Self::Int16(_) | Self::Int32(_) | Self::Int64(_) => "an integer",
            Self::Float32(_) | Self::Float64(_) => "a floating point number",
            Self::String(_) => "a string",
            Self::Bytes(_) => "bytes",
            Self::Array(_) => "an array",
            Self::Map(_) => "a map",
            Self::Struct(_) => "a struct",
            Self::Json(_) => "JSON",
        }
    }

    /// The same value with [`Value::Json`] taken apart (objects become maps); other values come back as they are, and
    /// so do numbers of more digits than Int64 or Float64 holds.
    ///
    /// # Errors
    /// JSON that nests deeper than 128 levels.
    pub fn to_structured(self) -> Result<Self, ParseJsonError> {
        match self {
            Self::Json(text) => Self::parse_json(text.as_str()),
            other => Ok(other),
        }
    }

    /// The value under `name` in a map or struct.
    pub fn field(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Map(entries) => entries.iter().find_map(|(key, value)| match key {
                Self::String(key) if key.as_str() == name => Some(value),
                _ => None,
            }),
            Self::Struct(structure) => structure.field(name),
            _ => None,
        }
    }
}

/// Values of a struct, in the order of its schema's fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Struct {
    schema: Arc<Schema>,
    values: Vec<Value>,
}

impl Struct {
    /// A struct of this schema.
    ///
    /// # Panics
    /// If there are more or fewer values than fields (invariant 3): a programmer's error.
    pub fn new(schema: Arc<Schema>, values: Vec<Value>) -> Self {
        assert_eq!(
            schema.fields().len(),
            values.len(),
            "a struct has one value a field"
        );
        Self { schema, values }
    }

    /// Its schema.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Its values, one a field.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The values, given up.
    pub fn into_values(self) -> Vec<Value> {
        self.values
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.schema
            .field_index(name)
            .and_then(|index| self.values.get(index))
    }
}
