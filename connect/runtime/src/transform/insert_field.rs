//! InsertField: adds what is known about the record, or a fixed text, as a field.
//!
//! A name that ends in `!` is a required field, one that ends in `?` (default) an optional one; it matters only for
//! values with a schema. Only records of sinks have an offset.

use connect_api::{
    Config, ConfigDef, ConfigKey, ConfigType, ConnectError, Record, Schema, SchemaType, Value,
    logical,
};

use super::fields::{Fields, null_key, or_default, put, take};
use super::{Each, Side};

pub(super) fn def() -> ConfigDef {
    let field = |name: &str, documentation: &str| {
        ConfigKey::optional(name, ConfigType::String, None, documentation)
    };
    ConfigDef::new()
        .with(field("topic.field", "Field name for Kafka topic. Suffix with ! to make this a required field, or ? to keep it optional (the default)."))
        .with(field("partition.field", "Field name for Kafka partition. Suffix with ! to make this a required field, or ? to keep it optional (the default)."))
        .with(field("offset.field", "Field name for Kafka offset - only applicable to sink connectors. Suffix with ! to make this a required field, or ? to keep it optional (the default)."))
        .with(field("timestamp.field", "Field name for record timestamp. Suffix with ! to make this a required field, or ? to keep it optional (the default)."))
        .with(field("static.field", "Field name for static data field. Suffix with ! to make this a required field, or ? to keep it optional (the default)."))
        .with(field("static.value", "Static field value, if field name configured."))
        .with(null_key())
}

struct Name {
    name: String,
    optional: bool,
}

pub(super) struct InsertField {
    side: Side,
    topic: Option<Name>,
    partition: Option<Name>,
    offset: Option<Name>,
    timestamp: Option<Name>,
    fixed: Option<(Name, String)>,
    null_as_default: bool,
}

impl InsertField {
    pub(super) fn new(side: Side, config: &Config) -> Result<Self, ConnectError> {
        let name = |key: &str| {
            config.get(key).map(|text| match text.strip_suffix('!') {
                Some(name) => Name {
                    name: name.to_owned(),
                    optional: false,
                },
                None => Name {
                    name: text.strip_suffix('?').unwrap_or(text).to_owned(),
                    optional: true,
                },
            })
        };
        let fixed = match (name("static.field"), config.get("static.value")) {
            (None, _) => None,
            (Some(name), Some(value)) => Some((name, value.to_owned())),
            (Some(_), None) => {
                return Err(ConnectError::config(
                    "static.value",
                    "No value specified for static field: static.field",
                ));
            }
        };
        let step = Self {
            side,
            topic: name("topic.field"),
            partition: name("partition.field"),
            offset: name("offset.field"),
            timestamp: name("timestamp.field"),
            fixed,
            null_as_default: config.boolean("replace.null.with.default"),
        };
        if step.topic.is_none()
            && step.partition.is_none()
            && step.offset.is_none()
            && step.timestamp.is_none()
            && step.fixed.is_none()
        {
            return Err(ConnectError::config(
                "topic.field",
                "No field insertion configured",
            ));
        }
        Ok(step)
    }
}

impl Each for InsertField {
    fn apply(&mut self, record: Record) -> Result<Option<Record>, ConnectError> {
        self.apply_at(record, None)
    }

    fn apply_at(
        &mut self,
        mut record: Record,
        offset: Option<i64>,
    ) -> Result<Option<Record>, ConnectError> {
        let (schema, value) = take(&mut record, self.side);
        if value.is_null() {
            put(&mut record, self.side, schema, value);
            return Ok(Some(record));
        }
        let mut fields = Fields::of(value, "field insertion")?;
        for (_, schema, value) in &mut fields.entries {
            let taken = std::mem::replace(value, Value::Null);
            *value = or_default(schema.as_deref(), taken, self.null_as_default);
        }
        let schema_of = |kind: SchemaType, name: &Name| Schema {
            optional: name.optional,
            ..Schema::new(kind)
        };
        if let Some(name) = &self.topic {
            fields.set(
                &name.name,
                schema_of(SchemaType::String, name),
                Value::text(&*record.topic),
            );
        }
        if let (Some(name), Some(partition)) = (&self.partition, record.partition) {
            fields.set(
                &name.name,
                schema_of(SchemaType::Int32, name),
                Value::Int32(partition),
            );
        }
        if let Some(name) = &self.offset {
            let offset = offset.ok_or_else(|| {
                ConnectError::Data(
                    "Only SinkRecord supported for [field insertion]: a source's record has no offset (offset.field)"
                        .to_owned(),
                )
            })?;
            fields.set(
                &name.name,
                schema_of(SchemaType::Int64, name),
                Value::Int64(offset),
            );
        }
        if let (Some(name), Some(timestamp)) = (&self.timestamp, record.timestamp) {
            let schema = schema_of(SchemaType::Int64, name).named(logical::TIMESTAMP);
            fields.set(&name.name, schema, Value::Int64(timestamp));
        }
        if let Some((name, text)) = &self.fixed {
            fields.set(
                &name.name,
                schema_of(SchemaType::String, name),
                Value::text(text.as_str()),
            );
        }
        let (schema, value) = fields.into_value();
        put(&mut record, self.side, schema, value);
        Ok(Some(record))
    }
}
