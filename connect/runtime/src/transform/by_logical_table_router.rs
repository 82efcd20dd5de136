//! ByLogicalTableRouter (Debezium): the topics of tables that are one table in truth (shards, partitions) become one.
//!
//! Keys of different tables may be equal: `key.enforce.uniqueness` (the default) adds a field that tells the table,
//! named by `key.field.name`, with the topic that the record had, or what `key.field.replacement` makes of it. Schemas
//! are named after the new topic. Records of topics that `topic.regex` does not match pass.

use std::sync::Arc;

use connect_api::{
    Config, ConfigDef, ConfigKey, ConfigType, ConnectError, Field, Record, Rule, Schema,
    SchemaType, Struct, Value,
};
use regex::Regex;

use super::fields::{Fields, put, take};
use super::regex_router::{Replacement, whole};
use super::{Each, Side};

pub(super) fn def() -> ConfigDef {
    let text = |name: &str, default: Option<&str>, documentation: &str| {
        ConfigKey::optional(name, ConfigType::String, default, documentation)
    };
    let required = |name: &str, documentation: &str| {
        ConfigKey::required(name, ConfigType::String, documentation).rule(Rule::NotEmpty)
    };
    [
        required(
            "topic.regex",
            "Expression that matches the whole names of topics to be joined.",
        ),
        required(
            "topic.replacement",
            "The topic that they become; $1 is a group of topic.regex.",
        ),
        ConfigKey::optional(
            "key.enforce.uniqueness",
            ConfigType::Boolean,
            Some("true"),
            "Whether keys get a field that tells the table.",
        ),
        text(
            "key.field.name",
            Some("__dbz__physicalTableIdentifier"),
            "The name of that field.",
        )
        .rule(Rule::NotEmpty),
        text(
            "key.field.regex",
            None,
            "Expression that matches the whole topic that a record had.",
        ),
        text(
            "key.field.replacement",
            None,
            "What the field has in place of that topic.",
        ),
    ]
    .into_iter()
    .fold(ConfigDef::new(), ConfigDef::with)
}

/// What becomes of a text that an expression matches.
struct Rename {
    expression: Regex,
    replacement: Replacement,
}

impl Rename {
    fn parse(config: &Config, regex: &str, replacement: &str) -> Result<Self, ConnectError> {
        let expression = whole(regex, config.string(regex))?;
        let pieces = Replacement::parse(config.string(replacement), &expression);
        Ok(Self {
            replacement: pieces.map_err(|reason| ConnectError::config(replacement, reason))?,
            expression,
        })
    }

    fn of(&self, text: &str) -> Option<String> {
        let groups = self.expression.captures(text)?;
        Some(self.replacement.of(&groups))
    }
}

pub(super) struct ByLogicalTableRouter {
    topic: Rename,
    /// The field that keys get.
    field: Option<String>,
    table: Option<Rename>,
}

impl ByLogicalTableRouter {
    pub(super) fn new(config: &Config) -> Result<Self, ConnectError> {
        let given = |key: &str| config.get(key).is_some_and(|value| !value.is_empty());
        let table = match (given("key.field.regex"), given("key.field.replacement")) {
            (true, true) => Some(Rename::parse(
                config,
                "key.field.regex",
                "key.field.replacement",
            )?),
            (false, false) => None,
            _ => {
                return Err(ConnectError::config(
                    "key.field.replacement",
                    "key.field.regex and key.field.replacement need each other",
                ));
            }
        };
        let unique = config.boolean("key.enforce.uniqueness");
        Ok(Self {
            topic: Rename::parse(config, "topic.regex", "topic.replacement")?,
            field: unique.then(|| config.string("key.field.name").to_owned()),
            table,
        })
    }
}

impl Each for ByLogicalTableRouter {
    fn apply(&mut self, mut record: Record) -> Result<Option<Record>, ConnectError> {
        let Some(topic) = self.topic.of(&record.topic) else {
            return Ok(Some(record));
        };
        if topic.is_empty() {
            return Err(ConnectError::Data(format!(
                "topic.replacement makes an empty name of topic {}",
                record.topic
            )));
        }
        let (schema, key) = take(&mut record, Side::Key);
        let (schema, key) = match &self.field {
            Some(field) if !key.is_null() => {
                let table = match &self.table {
                    Some(table) => table.of(&record.topic),
                    None => None,
                };
                let table = table.unwrap_or_else(|| record.topic.to_string());
                let mut fields = Fields::of(key, "key of a logical table")?;
                fields.set(field, Schema::new(SchemaType::String), Value::text(table));
                fields.into_value()
            }
            _ => (schema, key),
        };
        let (schema, key) = named(schema, key, &topic);
        put(&mut record, Side::Key, schema, key);
        let (schema, value) = take(&mut record, Side::Value);
        let (schema, value) = named(schema, value, &topic);
        put(&mut record, Side::Value, schema, value);
        record.topic = topic.into();
        Ok(Some(record))
    }
}

/// A struct whose schemas are named after another topic: those that Debezium names after the table's.
fn named(schema: Option<Arc<Schema>>, value: Value, topic: &str) -> (Option<Arc<Schema>>, Value) {
    let Some(schema) = schema else {
        return (None, value);
    };
    let schema = renamed(&schema, topic);
    let value = of_schema(value, &schema);
    (Some(schema), value)
}

fn renamed(schema: &Arc<Schema>, topic: &str) -> Arc<Schema> {
    let SchemaType::Struct(fields) = &schema.kind else {
        return Arc::clone(schema);
    };
    let ending = schema
        .name
        .as_deref()
        .and_then(|name| name.rsplit_once('.'))
        .map(|(_, ending)| ending)
        .filter(|ending| matches!(*ending, "Key" | "Value" | "Envelope"));
    let Some(ending) = ending else {
        return Arc::clone(schema);
    };
    let fields = fields
        .iter()
        .map(|field| Field {
            name: Arc::clone(&field.name),
            schema: match &*field.name {
                "before" | "after" => renamed(&field.schema, topic),
                _ => Arc::clone(&field.schema),
            },
        })
        .collect();
    Arc::new(Schema {
        kind: SchemaType::Struct(fields),
        name: Some(format!("{topic}.{ending}").into()),
        ..(**schema).clone()
    })
}

/// The same values under schemas of other names.
fn of_schema(value: Value, schema: &Arc<Schema>) -> Value {
    let Value::Struct(structure) = value else {
        return value;
    };
    let values = structure
        .into_values()
        .into_iter()
        .zip(schema.fields())
        .map(|(value, field)| of_schema(value, &field.schema))
        .collect();
    Value::Struct(Struct::new(Arc::clone(schema), values))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(entries: &[(&str, &str)]) -> Result<ByLogicalTableRouter, ConnectError> {
        let map = [
            ("topic.regex", r"(.*)\.orders_shard(\d+)"),
            ("topic.replacement", "$1.orders"),
        ]
        .iter()
        .chain(entries)
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
        ByLogicalTableRouter::new(&def().parse(&map).unwrap())
    }

    fn row(topic: &str) -> Record {
        let key = Value::parse_json(r#"{"id":1}"#).unwrap();
        Record::new(topic, key.clone(), key)
    }

    #[test]
    fn topics_become_one_and_keys_tell_the_table() {
        let key = |entries: &[(&str, &str)]| {
            let mut router = router(entries).unwrap();
            let out = router.apply(row("p.s.orders_shard7")).unwrap().unwrap();
            assert_eq!(&*out.topic, "p.s.orders");
            out.key.to_json().to_string()
        };
        assert_eq!(
            key(&[]),
            r#"{"id":1,"__dbz__physicalTableIdentifier":"p.s.orders_shard7"}"#
        );
        let shard = [
            ("key.field.name", "shard"),
            ("key.field.regex", r".*_shard(\d+)"),
            ("key.field.replacement", "$1"),
        ];
        assert_eq!(key(&shard), r#"{"id":1,"shard":"7"}"#);
        assert_eq!(key(&[("key.enforce.uniqueness", "false")]), r#"{"id":1}"#);
        let other = row("p.s.customers");
        assert_eq!(
            router(&[]).unwrap().apply(other.clone()).unwrap(),
            Some(other)
        );
        assert!(router(&[("key.field.regex", "x")]).is_err());
        assert!(router(&[("topic.replacement", "$9")]).is_err());
    }

    #[test]
    fn schemas_are_named_after_the_new_topic() {
        let row_schema = Schema::structure(vec![("id", Schema::new(SchemaType::Int64))])
            .named("p.s.orders_shard7.Value")
            .optional();
        let envelope = Schema::structure(vec![
            ("after", row_schema.clone()),
            ("op", Schema::new(SchemaType::String)),
        ])
        .named("p.s.orders_shard7.Envelope");
        let after = Struct::new(Arc::new(row_schema), vec![Value::Int64(1)]);
        let schema = Arc::new(envelope);
        let value = vec![Value::Struct(after), Value::text("c")];
        let mut record = row("p.s.orders_shard7");
        record.value = Value::Struct(Struct::new(Arc::clone(&schema), value));
        record.value_schema = Some(schema);
        let out = router(&[]).unwrap().apply(record).unwrap().unwrap();
        let schema = out.value_schema.unwrap();
        assert_eq!(schema.name.as_deref(), Some("p.s.orders.Envelope"));
        let Some(Value::Struct(after)) = out.value.field("after") else {
            panic!("{:?}", out.value);
        };
        assert_eq!(after.schema().name.as_deref(), Some("p.s.orders.Value"));
        assert_eq!(after.schema(), &schema.fields()[0].schema);
        assert_eq!(after.field("id"), Some(&Value::Int64(1)));
    }
}
