//! Schemas of keys and values, as Kafka Connect has them (`org.apache.kafka.connect.data.Schema`).
//!
//! Logical types (decimal, date, time, timestamp) are a physical type plus a name ([`logical`]); values stay
//! physical: a decimal is its unscaled big-endian bytes, a date its days, a timestamp its milliseconds.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Value;

/// Names of the logical types that ship with Kafka Connect, with the physical type of their values.
pub mod logical {
    /// Bytes: the unscaled two's complement integer, big-endian; parameter `scale`.
    pub const DECIMAL: &str = "org.apache.kafka.connect.data.Decimal";
    /// Int32: days since 1970-01-01.
    pub const DATE: &str = "org.apache.kafka.connect.data.Date";
    /// Int32: milliseconds since midnight.
    pub const TIME: &str = "org.apache.kafka.connect.data.Time";
    /// Int64: milliseconds since 1970-01-01T00:00:00Z.
    pub const TIMESTAMP: &str = "org.apache.kafka.connect.data.Timestamp";
}

/// The physical types.
#[derive(Debug, Clone, PartialEq)]
pub enum SchemaType {
    /// 8-bit signed integer.
    Int8,
    /// 16-bit signed integer.
    Int16,
    /// 32-bit signed integer.
    Int32,
    /// 64-bit signed integer.
    Int64,
    /// 32-bit IEEE 754.
    Float32,
    /// 64-bit IEEE 754.
    Float64,
    /// True or false.
    Boolean,
    /// UTF-8 text.
    String,
    /// Bytes.
    Bytes,
    /// A list of values of one schema.
    Array(Arc<Schema>),
    /// Keys and values of one schema each.
    Map(Arc<Schema>, Arc<Schema>),
    /// Named fields in order.
    Struct(Vec<Field>),
}

impl SchemaType {
    /// The name in the JSON schema envelope (`{"type":"int64"}`); `Boolean` is `boolean`, floats `float` and `double`.
    pub fn json_name(&self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float32 => "float",
            Self::Float64 => "double",
            Self::Boolean => "boolean",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Array(_) => "array",
            Self::Map(..) => "map",
            Self::Struct(_) => "struct",
        }
    }
}

/// A schema: a type with what goes with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    /// The physical type.
    pub kind: SchemaType,
    /// Whether null is a value of it.
    pub optional: bool,
    /// What a missing value means.
    pub default: Option<Value>,
    /// Name: of a struct, or of a logical type.
    pub name: Option<Arc<str>>,
    /// Version, free for the writer to use.
    pub version: Option<i32>,
    /// What it is, for people.
    pub doc: Option<Arc<str>>,
    /// Parameters, such as a decimal's `scale`.
    pub parameters: BTreeMap<String, String>,
}

impl Schema {
    /// A required schema of this type without a name.
    pub fn new(kind: SchemaType) -> Self {
        Self {
            kind,
            optional: false,
            default: None,
            name: None,
            version: None,
            doc: None,
            parameters: BTreeMap::new(),
        }
    }

    /// The same schema, null allowed.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// The same schema under a name.
    #[must_use]
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// A struct with these fields.
    pub fn structure(fields: Vec<(&str, Schema)>) -> Self {
        let fields = fields
            .into_iter()
            .map(|(name, schema)| Field {
                name: name.into(),
                schema: Arc::new(schema),
            })
            .collect();
        Self::new(SchemaType::Struct(fields))
    }

    /// The fields of a struct; none for every other type.
    pub fn fields(&self) -> &[Field] {
        match &self.kind {
            SchemaType::Struct(fields) => fields,
            _ => &[],
        }
    }

    /// Where the field of this name stands.
    pub fn field_index(&self, name: &str) -> Option<usize> {
        self.fields().iter().position(|field| &*field.name == name)
    }
}

/// A field of a struct.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name, unique in the struct.
    pub name: Arc<str>,
    /// Its schema.
    pub schema: Arc<Schema>,
}
