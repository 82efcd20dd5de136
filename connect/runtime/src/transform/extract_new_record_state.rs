//! ExtractNewRecordState (Debezium): puts the row in place of the change event around it.
//!
//! | `delete.tombstone.handling.mode` | an event of a delete | a tombstone |
//! |---|---|---|
//! | `tombstone` (default) | is dropped | stays |
//! | `drop` | is dropped | is dropped |
//! | `rewrite` | becomes the row before, with `__deleted` = "true" | is dropped |
//! | `rewrite-with-tombstone` | becomes the row before, with `__deleted` = "true" | stays |
//! | `delete-to-tombstone` | becomes a tombstone | is dropped |
//!
//! Before there was this key, `drop.tombstones` and `delete.handling.mode` said the same; they count where it is not
//! given. Events that are about no row (truncated tables, messages) are dropped, records that are no events pass.

use connect_api::{
    Config, ConfigDef, ConfigKey, ConfigType, ConnectError, Header, Record, Rule, Schema,
    SchemaType, Text, Value,
};

use super::Each;
use super::fields::Fields;

const DELETED: &str = "__deleted";

pub(super) fn def() -> ConfigDef {
    let text = |name: &str, default: Option<&str>, documentation: &str| {
        ConfigKey::optional(name, ConfigType::String, default, documentation)
    };
    let list = |name: &str, documentation: &str| {
        ConfigKey::optional(name, ConfigType::List, Some(""), documentation)
    };
    ConfigDef::new()
        .with(
            text(
                "delete.tombstone.handling.mode",
                None,
                "What becomes of delete events and tombstones: tombstone (the default), drop, rewrite, \
                 rewrite-with-tombstone, delete-to-tombstone.",
            )
            .rule(Rule::OneOf(&[
                "tombstone",
                "drop",
                "rewrite",
                "rewrite-with-tombstone",
                "delete-to-tombstone",
            ])),
        )
        .with(ConfigKey::optional(
            "drop.tombstones",
            ConfigType::Boolean,
            None,
            "Whether tombstones are dropped; superseded by delete.tombstone.handling.mode.",
        ))
        .with(
            text(
                "delete.handling.mode",
                None,
                "What becomes of delete events: drop, rewrite, none; superseded by delete.tombstone.handling.mode.",
            )
            .rule(Rule::OneOf(&["drop", "rewrite", "none"])),
        )
        .with(list(
            "add.fields",
            "Fields of the event to add to the row, as name, struct.name, or either with :new name: op, ts_ms, table, \
             source.lsn.",
        ))
        .with(text(
            "add.fields.prefix",
            Some("__"),
            "What the names of added fields begin with.",
        ))
        .with(list(
            "add.headers",
            "Fields of the event to add as headers, in the form of add.fields.",
        ))
        .with(text(
            "add.headers.prefix",
            Some("__"),
            "What the names of added headers begin with.",
        ))
        .with(text(
            "route.by.field",
            Some(""),
            "Field of the row whose value is the topic.",
        ))
}

/// What becomes of an event of a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deletes {
    Drop,
    Rewrite,
    Tombstone,
}

/// A field of the event that is added.
struct Added {
    /// The struct of the event that it is in; `None`: the event itself.
    part: Option<&'static str>,
    field: String,
    name: String,
}

pub(super) struct ExtractNewRecordState {
    deletes: Deletes,
    drops_tombstones: bool,
    fields: Vec<Added>,
    headers: Vec<Added>,
    route_by: Option<String>,
}

impl ExtractNewRecordState {
    pub(super) fn new(config: &Config) -> Result<Self, ConnectError> {
        let (deletes, drops_tombstones) = handling(config);
        let added = |key: &str| -> Result<Vec<Added>, ConnectError> {
            let prefix = config.string(&format!("{key}.prefix"));
            config
                .list(key)
                .iter()
                .map(|spec| {
                    Added::parse(spec, prefix).map_err(|reason| ConnectError::config(key, reason))
                })
                .collect()
        };
        Ok(Self {
            deletes,
            drops_tombstones,
            fields: added("add.fields")?,
            headers: added("add.headers")?,
            route_by: Some(config.string("route.by.field").to_owned())
                .filter(|field| !field.is_empty()),
        })
    }
}

fn handling(config: &Config) -> (Deletes, bool) {
    match config.get("delete.tombstone.handling.mode") {
        Some("drop") => (Deletes::Drop, true),
        Some("rewrite") => (Deletes::Rewrite, true),
        Some("rewrite-with-tombstone") => (Deletes::Rewrite, false),
        Some("delete-to-tombstone") => (Deletes::Tombstone, true),
        Some(_) => (Deletes::Drop, false),
        None => {
            let given = ["drop.tombstones", "delete.handling.mode"];
            let is_old = given.iter().any(|key| config.get(key).is_some());
            let deletes = match config.get("delete.handling.mode") {
                Some("rewrite") => Deletes::Rewrite,
                Some("none") => Deletes::Tombstone,
                _ => Deletes::Drop,
            };
            // The old key's default was to drop them.
            let drops = config
                .get("drop.tombstones")
                .map_or(is_old, |_| config.boolean("drop.tombstones"));
            (deletes, drops)
        }
    }
}

impl Added {
    fn parse(spec: &str, prefix: &str) -> Result<Self, String> {
        let (place, alias) = match spec.split_once(':') {
            Some((place, alias)) => (place.trim(), Some(alias.trim())),
            None => (spec, None),
        };
        let (part, field) = match place.split_once('.') {
            Some((part, field)) => {
                let known = ["before", "after", "source", "transaction"];
                let part = known.into_iter().find(|known| *known == part);
                let part = part.ok_or_else(|| {
                    format!("{place}: an event has before, after, source and transaction")
                })?;
                (Some(part), field)
            }
            None => (home(place), place),
        };
        let plain = match place.contains('.') {
            true => place.replace('.', "_"),
            false => place.to_owned(),
        };
        Ok(Self {
            part,
            field: field.to_owned(),
            name: format!("{prefix}{}", alias.unwrap_or(&plain)),
        })
    }

    /// Its value in an event, with the schema that it has there.
    fn of(&self, event: &Value) -> (Schema, Value) {
        let whole = match self.part {
            Some(part) => event.field(part),
            None => Some(event),
        };
        let value = whole.and_then(|whole| whole.field(&self.field));
        let schema = match whole {
            Some(Value::Struct(structure)) => {
                let place = structure.schema().field_index(&self.field);
                place.map(|place| (*structure.schema().fields()[place].schema).clone())
            }
            _ => None,
        };
        let schema = schema.unwrap_or_else(|| Schema::new(SchemaType::String).optional());
        (schema, value.cloned().unwrap_or(Value::Null))
    }
}

/// Where a field is that is named alone.
fn home(field: &str) -> Option<&'static str> {
    match field {
        "op" | "ts_ms" | "ts_us" | "ts_ns" => None,
        "id" | "total_order" | "data_collection_order" => Some("transaction"),
        _ => Some("source"),
    }
}

/// Whether a value is an event: by the name of its schema, or by its fields where it has none.
fn is_event(value: &Value) -> bool {
    match value {
        Value::Struct(structure) => {
            let name = structure.schema().name.as_deref();
            name.is_some_and(|name| name.ends_with(".Envelope"))
        }
        Value::Map(_) => {
            let there = |name| value.field(name).is_some();
            matches!(value.field("op"), Some(Value::String(_)))
                && there("source")
                && (there("after") || there("before"))
        }
        _ => false,
    }
}

impl Each for ExtractNewRecordState {
    fn apply(&mut self, mut record: Record) -> Result<Option<Record>, ConnectError> {
        if record.value.is_null() {
            return Ok((!self.drops_tombstones).then_some(record));
        }
        let event = record
            .value
            .clone()
            .to_structured()
            .map_err(|error| ConnectError::Data(error.to_string()))?;
        if !is_event(&event) {
            return Ok(Some(record));
        }
        let row = |part: &str| event.field(part).filter(|row| !row.is_null()).cloned();
        let op = match event.field("op") {
            Some(Value::String(op)) => op.as_str(),
            _ => {
                return Err(ConnectError::Data(
                    "the change event has no text op".to_owned(),
                ));
            }
        };
        let (row, deleted) = match (op, self.deletes) {
            ("t" | "m", _) | ("d", Deletes::Drop) => return Ok(None),
            ("d", Deletes::Tombstone) => (None, true),
            ("d", Deletes::Rewrite) => (row("before"), true),
            _ => match row("after") {
                Some(row) => (Some(row), false),
                None => {
                    return Err(ConnectError::Data(
                        "the change event has no after".to_owned(),
                    ));
                }
            },
        };
        for added in &self.headers {
            record.headers.push(Header {
                name: Text::from(added.name.as_str()),
                value: added.of(&event).1,
            });
        }
        let Some(row) = row else {
            (record.value_schema, record.value) = (None, Value::Null);
            return Ok(Some(record));
        };
        let mut fields = Fields::of(row, "extracting the row")?;
        if let Some(field) = &self.route_by {
            match fields.get(field) {
                Some((_, _, Value::String(topic))) => record.topic = topic.as_str().into(),
                _ => {
                    return Err(ConnectError::Data(format!(
                        "the row has no text {field} (route.by.field)"
                    )));
                }
            }
        }
        for added in &self.fields {
            let (schema, value) = added.of(&event);
            fields.set(&added.name, schema, value);
        }
        if self.deletes == Deletes::Rewrite {
            let schema = Schema::new(SchemaType::String).optional();
            fields.set(DELETED, schema, Value::text(deleted.to_string()));
        }
        (record.value_schema, record.value) = fields.into_value();
        Ok(Some(record))
    }
}
