//! HeaderToValue (Debezium): copies or moves headers into fields of the value; dots in a field's name lead into what is
//! nested. A header that is not there, and a value that is null, change nothing.

use std::sync::Arc;

use connect_api::{
    Config, ConfigDef, ConfigKey, ConfigType, ConnectError, Header, Record, Rule, Schema,
    SchemaType, Value,
};

use super::fields::{Fields, put, take};
use super::{Each, Side};

pub(super) fn def() -> ConfigDef {
    let list = |name: &str, documentation: &str| {
        ConfigKey::required(name, ConfigType::List, documentation).rule(Rule::NotEmpty)
    };
    ConfigDef::new()
        .with(list("headers", "Names of the headers."))
        .with(list(
            "fields",
            "Names of the fields that they become, in the same order; a dot leads into a nested field.",
        ))
        .with(
            ConfigKey::required(
                "operation",
                ConfigType::String,
                "Either 'move', which takes the headers away, or 'copy'.",
            )
            .rule(Rule::OneOf(&["move", "copy"])),
        )
}

pub(super) struct HeaderToValue {
    /// Header, and the names on the way to its field.
    pairs: Vec<(String, Vec<String>)>,
    moves: bool,
}

impl HeaderToValue {
    pub(super) fn new(config: &Config) -> Result<Self, ConnectError> {
        let (headers, fields) = (config.list("headers"), config.list("fields"));
        if headers.len() != fields.len() {
            return Err(ConnectError::config(
                "fields",
                "'fields' config must have the same number of elements as 'headers' config.",
            ));
        }
        let path = |field: String| field.split('.').map(str::to_owned).collect();
        Ok(Self {
            pairs: headers
                .into_iter()
                .zip(fields.into_iter().map(path))
                .collect(),
            moves: config.string("operation") == "move",
        })
    }
}

impl Each for HeaderToValue {
    fn apply(&mut self, mut record: Record) -> Result<Option<Record>, ConnectError> {
        if record.value.is_null() {
            return Ok(Some(record));
        }
        let (_, mut value) = take(&mut record, Side::Value);
        let mut schema = None;
        for (name, path) in &self.pairs {
            let is_named = |header: &&Header| header.name.as_str() == name;
            // Of several headers of one name the last counts.
            if let Some(header) = record.headers.iter().rev().find(is_named) {
                (schema, value) = with(value, path, &header.value)?;
            }
        }
        if schema.is_none() {
            (schema, value) = Fields::of(value, "header to value")?.into_value();
        }
        if self.moves {
            let moved = |header: &Header| {
                let mut names = self.pairs.iter().map(|(name, _)| name);
                names.any(|name| name == header.name.as_str())
            };
            record.headers.retain(|header| !moved(header));
        }
        put(&mut record, Side::Value, schema, value);
        Ok(Some(record))
    }
}

/// The value with a field set, and its schema if it has one.
fn with(
    value: Value,
    path: &[String],
    field: &Value,
) -> Result<(Option<Arc<Schema>>, Value), ConnectError> {
    let mut fields = Fields::of(value, "header to value")?;
    match path {
        [] => {}
        [name] => fields.set(name, schema_of(field), field.clone()),
        [name, rest @ ..] => {
            let place = fields
                .entries
                .iter_mut()
                .find(|(known, ..)| **known == **name);
            let Some((_, schema, nested)) = place.filter(|(.., nested)| !nested.is_null()) else {
                return Err(ConnectError::Data(format!("Field does not exist: {name}")));
            };
            let inner = std::mem::replace(nested, Value::Null);
            let (inner_schema, inner) = with(inner, rest, field)?;
            let optional = schema.as_ref().is_some_and(|schema| schema.optional);
            *schema = inner_schema.map(|inner| match optional && !inner.optional {
                true => Arc::new(Schema {
                    optional,
                    ..(*inner).clone()
                }),
                false => inner,
            });
            *nested = inner;
        }
    }
    Ok(fields.into_value())
}

/// Headers come without schemas: that of the value's kind.
fn schema_of(value: &Value) -> Schema {
    let kind = match value {
        Value::Boolean(_) => SchemaType::Boolean,
        Value::Int8(_) => SchemaType::Int8,
        Value::Int16(_) => SchemaType::Int16,
        Value::Int32(_) => SchemaType::Int32,
        Value::Int64(_) => SchemaType::Int64,
        Value::Float32(_) => SchemaType::Float32,
        Value::Float64(_) => SchemaType::Float64,
        Value::Bytes(_) => SchemaType::Bytes,
        Value::Struct(structure) => return (**structure.schema()).clone().optional(),
        Value::Null | Value::String(_) | Value::Array(_) | Value::Map(_) | Value::Json(_) => {
            SchemaType::String
        }
    };
    Schema::new(kind).optional()
}

#[cfg(test)]
mod tests {
    use connect_api::{Struct, Text};

    use super::*;

    fn step(headers: &str, fields: &str, operation: &str) -> Result<HeaderToValue, ConnectError> {
        let entries = [
            ("headers", headers),
            ("fields", fields),
            ("operation", operation),
        ];
        let map = entries.map(|(key, value)| (key.to_owned(), value.to_owned()));
        HeaderToValue::new(&def().parse(&map.into()).unwrap())
    }

    fn record(value: Value) -> Record {
        let mut record = Record::new("t", Value::Null, value);
        for (name, text) in [("a", "one"), ("b", "two"), ("a", "last")] {
            record.headers.push(Header {
                name: Text::from(name),
                value: Value::text(text),
            });
        }
        record
    }

    #[test]
    fn headers_become_fields() {
        let value = || Value::parse_json(r#"{"x":{"y":1}}"#).unwrap();
        let mut copy = step("a,c,b", "n,none,x.z", "copy").unwrap();
        let out = copy.apply(record(value())).unwrap().unwrap();
        assert_eq!(
            out.value.to_json().as_str(),
            r#"{"x":{"y":1,"z":"two"},"n":"last"}"#
        );
        assert_eq!(out.headers.len(), 3);
        let mut moving = step("a", "n", "move").unwrap();
        let out = moving.apply(record(value())).unwrap().unwrap();
        assert_eq!(out.headers.len(), 1);
        let unchanged = record(Value::Null);
        assert_eq!(moving.apply(unchanged.clone()).unwrap(), Some(unchanged));
        let mut lost = step("a", "q.r", "copy").unwrap();
        assert!(lost.apply(record(value())).is_err());
        assert!(step("a,b", "x", "copy").is_err());
    }

    #[test]
    fn structs_get_a_field_more() {
        let schema = Arc::new(Schema::structure(vec![(
            "id",
            Schema::new(SchemaType::Int64),
        )]));
        let value = Value::Struct(Struct::new(Arc::clone(&schema), vec![Value::Int64(1)]));
        let mut out = record(value);
        out.value_schema = Some(schema);
        let mut copy = step("a", "n", "copy").unwrap();
        let out = copy.apply(out).unwrap().unwrap();
        let schema = out.value_schema.unwrap();
        let names: Vec<&str> = schema.fields().iter().map(|field| &*field.name).collect();
        assert_eq!(names, ["id", "n"]);
        assert_eq!(out.value.field("n"), Some(&Value::text("last")));
    }
}
