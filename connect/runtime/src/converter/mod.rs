//! Converters: values as connectors see them, to and from the bytes of the log.
//!
//! | class | short name |
//! |---|---|
//! | `org.apache.kafka.connect.json.JsonConverter` | `JsonConverter` |
//! | `org.apache.kafka.connect.storage.StringConverter` | `StringConverter` |
//! | `org.apache.kafka.connect.converters.ByteArrayConverter` | `ByteArrayConverter` |
//! | `org.apache.kafka.connect.converters.` `BooleanConverter`, `ShortConverter`, `IntegerConverter`, `LongConverter`, `FloatConverter`, `DoubleConverter` | the same without the package |
//!
//! Headers go through one of these too, or through `SimpleHeaderConverter` (the default): text and bytes are written as
//! they are, everything else as JSON text, and they are read back as text where they are UTF-8, as bytes where not.
//! (Kafka's makes numbers of texts that look like numbers, and loses digits where they do not fit.)

mod bytes;
mod json;
mod primitive;
mod string;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use ::bytes::Bytes;
use connect_api::{
    ConfigDef, ConfigMap, ConnectError, Header, JsonStyle, Schema, SchemaType, Text, Value,
};

use primitive::PrimitiveConverter;

/// A converter, configured for the keys or the values of a connector.
pub(crate) trait Converter: Send {
    /// The bytes that the log keeps; `None` is a null key or a tombstone.
    fn to_bytes(
        &mut self,
        schema: Option<&Arc<Schema>>,
        value: &Value,
    ) -> Result<Option<Bytes>, ConnectError>;

    /// The value that these bytes stand for.
    fn to_value(
        &mut self,
        bytes: Option<Bytes>,
    ) -> Result<(Option<Arc<Schema>>, Value), ConnectError>;
}

/// A kind of converter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConverterKind {
    Json,
    String,
    Bytes,
    Boolean,
    Short,
    Integer,
    Long,
    Float,
    Double,
}

impl ConverterKind {
    pub(crate) const ALL: [Self; 9] = [
        Self::Json,
        Self::String,
        Self::Bytes,
        Self::Boolean,
        Self::Short,
        Self::Integer,
        Self::Long,
        Self::Float,
        Self::Double,
    ];

    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Json => "org.apache.kafka.connect.json.JsonConverter",
            Self::String => "org.apache.kafka.connect.storage.StringConverter",
            Self::Bytes => "org.apache.kafka.connect.converters.ByteArrayConverter",
            Self::Boolean => "org.apache.kafka.connect.converters.BooleanConverter",
            Self::Short => "org.apache.kafka.connect.converters.ShortConverter",
            Self::Integer => "org.apache.kafka.connect.converters.IntegerConverter",
            Self::Long => "org.apache.kafka.connect.converters.LongConverter",
            Self::Float => "org.apache.kafka.connect.converters.FloatConverter",
            Self::Double => "org.apache.kafka.connect.converters.DoubleConverter",
        }
    }

    /// By class name, or by its last part with or without `Converter`.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| {
            let class = kind.class();
            let short = class.rsplit('.').next().unwrap_or(class);
            name == class || name == short || Some(name) == short.strip_suffix("Converter")
        })
    }

    /// The keys below `key.converter.` or `value.converter.`.
    pub(crate) fn config_def(self) -> ConfigDef {
        match self {
            Self::Json => json::def(),
            Self::String => string::def(),
            _ => ConfigDef::new(),
        }
    }

    /// Builds it; `config` holds its keys without the prefix.
    pub(crate) fn build(self, config: &ConfigMap) -> Result<Box<dyn Converter>, ConnectError> {
        let of = |kind| -> Box<dyn Converter> { Box::new(PrimitiveConverter::new(kind)) };
        Ok(match self {
            Self::Json => Box::new(json::JsonConverter::new(config)?),
            Self::String => Box::new(string::StringConverter),
            Self::Bytes => Box::new(bytes::ByteArrayConverter),
            Self::Boolean => of(SchemaType::Boolean),
            Self::Short => of(SchemaType::Int16),
            Self::Integer => of(SchemaType::Int32),
            Self::Long => of(SchemaType::Int64),
            Self::Float => of(SchemaType::Float32),
            Self::Double => of(SchemaType::Float64),
        })
    }
}

/// The class of the converter of headers where none is named.
pub(crate) const SIMPLE_HEADERS: &str = "org.apache.kafka.connect.storage.SimpleHeaderConverter";

/// A converter of headers.
pub(crate) enum HeaderConverter {
    Simple,
    Other(ConverterKind, Box<dyn Converter>),
}

impl HeaderConverter {
    /// Builds the one of a class; `config` holds its keys without the prefix. `None`: there is no such class.
    pub(crate) fn build(class: &str, config: &ConfigMap) -> Option<Result<Self, ConnectError>> {
        if class == SIMPLE_HEADERS || class == "SimpleHeaderConverter" {
            return Some(Ok(Self::Simple));
        }
        let kind = ConverterKind::by_name(class)?;
        Some(kind.build(config).map(|other| Self::Other(kind, other)))
    }

    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::Simple => SIMPLE_HEADERS,
            Self::Other(kind, _) => kind.class(),
        }
    }

    /// A header's bytes.
    pub(crate) fn bytes(&mut self, value: &Value) -> Result<Option<Bytes>, ConnectError> {
        match self {
            Self::Simple => Ok(header_bytes(value)),
            Self::Other(_, converter) => converter.to_bytes(None, value),
        }
    }

    /// A header from its bytes.
    pub(crate) fn header(
        &mut self,
        name: &str,
        value: Option<&[u8]>,
    ) -> Result<Header, ConnectError> {
        match self {
            Self::Simple => Ok(header(name, value)),
            Self::Other(_, converter) => {
                let (_, value) = converter.to_value(value.map(Bytes::copy_from_slice))?;
                Ok(Header {
                    name: Text::from(name),
                    value,
                })
            }
        }
    }
}

/// A header's bytes.
pub(crate) fn header_bytes(value: &Value) -> Option<Bytes> {
    match value {
        Value::Null => None,
        Value::String(text) | Value::Json(text) => Some(text.as_bytes().clone()),
        Value::Bytes(bytes) => Some(bytes.clone()),
        other => {
            let mut out = Vec::new();
            other.write_json(None, JsonStyle::default(), &mut out);
            Some(out.into())
        }
    }
}

/// A header from its bytes.
pub(crate) fn header(name: &str, value: Option<&[u8]>) -> Header {
    let value = match value {
        None => Value::Null,
        Some(bytes) => {
            let bytes = Bytes::copy_from_slice(bytes);
            match Text::from_utf8(bytes.clone()) {
                Ok(text) => Value::String(text),
                Err(_) => Value::Bytes(bytes),
            }
        }
    };
    Header {
        name: Text::from(name),
        value,
    }
}
