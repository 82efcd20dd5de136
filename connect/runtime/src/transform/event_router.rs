//! The outbox's EventRouter (Debezium): rows that an application inserts into its outbox table become events of their
//! own: topic, key, value and headers come from columns.
//!
//! ```text
//!  after: {id, aggregatetype, aggregateid, payload, …}
//!    topic   route.topic.replacement of route.by.field       key      table.field.event.key
//!    value   table.field.event.payload                       header   "id": table.field.event.id
//! ```
//!
//! Deletes and tombstones are dropped: an outbox is emptied when its rows were seen. Records that are no change events
//! (heartbeats) pass. With `table.expand.json.payload` the payload is JSON without a schema.

use std::sync::Arc;

use connect_api::{
    Config, ConfigDef, ConfigKey, ConfigType, ConnectError, Header, Record, Rule, Schema, Text,
    Value,
};
use regex::Regex;

use super::Each;
use super::fields::Fields;
use super::regex_router::{Replacement, whole};

pub(super) fn def() -> ConfigDef {
    let text = |name: &str, default: Option<&str>, documentation: &str| {
        ConfigKey::optional(name, ConfigType::String, default, documentation)
    };
    let flag = |name: &str, default: &str, documentation: &str| {
        ConfigKey::optional(name, ConfigType::Boolean, Some(default), documentation)
    };
    [
        text("table.field.event.id", Some("id"), "The column with the id of the event: header id."),
        text("table.field.event.key", Some("aggregateid"), "The column with the key of the event."),
        text("table.field.event.payload", Some("payload"), "The column with the value of the event."),
        text(
            "table.field.event.timestamp",
            None,
            "The column with the time of the event, in milliseconds or a time of Debezium's; the event's own without it.",
        ),
        text(
            "table.field.event.schema.version",
            None,
            "The column with the version of the value's schema.",
        ),
        ConfigKey::optional(
            "table.fields.additional.placement",
            ConfigType::List,
            Some(""),
            "More columns as column:header, column:envelope or column:partition, each with :name behind it where it gets \
             another one.",
        ),
        flag(
            "table.fields.additional.error.on.missing",
            "true",
            "Whether a column of table.fields.additional.placement that is not there is an error.",
        ),
        flag(
            "table.expand.json.payload",
            "false",
            "Whether a payload that is text in JSON becomes what it says.",
        ),
        text(
            "table.json.payload.null.behavior",
            Some("ignore"),
            "What becomes of fields of an expanded payload that are null: ignore leaves them out, optional_bytes keeps them.",
        )
        .rule(Rule::OneOf(&["ignore", "optional_bytes"])),
        text(
            "table.op.invalid.behavior",
            Some("warn"),
            "What becomes of an UPDATE of the table: warn, error and fatal; the first two pass over it.",
        )
        .rule(Rule::OneOf(&["warn", "error", "fatal"])),
        text("route.by.field", Some("aggregatetype"), "The column that decides about the topic."),
        text(
            "route.topic.regex",
            Some("(?<routedByValue>.*)"),
            "Expression that its value has to match.",
        ),
        text(
            "route.topic.replacement",
            Some("outbox.event.${routedByValue}"),
            "The topic; ${routedByValue} is a group of route.topic.regex.",
        ),
        flag(
            "route.tombstone.on.empty.payload",
            "false",
            "Whether a payload that is empty or null becomes a tombstone.",
        ),
    ]
    .into_iter()
    .fold(ConfigDef::new(), ConfigDef::with)
}

/// Where a further column goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placement {
    Header,
    Envelope,
    Partition,
}

struct Additional {
    column: String,
    placement: Placement,
    name: String,
}

pub(super) struct EventRouter {
    id: String,
    key: String,
    payload: String,
    timestamp: Option<String>,
    version: Option<String>,
    additional: Vec<Additional>,
    missing_is_error: bool,
    expands: bool,
    keeps_nulls: bool,
    update_is_fatal: bool,
    route_by: String,
    expression: Regex,
    replacement: Replacement,
    tombstones: bool,
}

impl EventRouter {
    pub(super) fn new(config: &Config) -> Result<Self, ConnectError> {
        let text = |key: &str| config.string(key).to_owned();
        let given = |key: &str| config.get(key).map(str::to_owned);
        let expression = whole("route.topic.regex", config.string("route.topic.regex"))?;
        let replacement = Replacement::parse(config.string("route.topic.replacement"), &expression)
            .map_err(|reason| ConnectError::config("route.topic.replacement", reason))?;
        let additional = config.list("table.fields.additional.placement");
        Ok(Self {
            id: text("table.field.event.id"),
            key: text("table.field.event.key"),
            payload: text("table.field.event.payload"),
            timestamp: given("table.field.event.timestamp"),
            version: given("table.field.event.schema.version"),
            additional: additional
                .iter()
                .map(|spec| Additional::parse(spec))
                .collect::<Result<_, _>>()?,
            missing_is_error: config.boolean("table.fields.additional.error.on.missing"),
            expands: config.boolean("table.expand.json.payload"),
            keeps_nulls: config.string("table.json.payload.null.behavior") == "optional_bytes",
            update_is_fatal: config.string("table.op.invalid.behavior") == "fatal",
            route_by: text("route.by.field"),
            expression,
            replacement,
            tombstones: config.boolean("route.tombstone.on.empty.payload"),
        })
    }
}

impl Additional {
    fn parse(spec: &str) -> Result<Self, ConnectError> {
        let wrong = || {
            ConnectError::config(
                "table.fields.additional.placement",
                format!(
                    "\"{spec}\" is not of the form column:header, column:envelope or column:partition[:name]"
                ),
            )
        };
        let mut parts = spec.split(':').map(str::trim);
        let column = parts.next().filter(|column| !column.is_empty());
        let column = column.ok_or_else(wrong)?;
        let placement = match parts.next().map(str::to_ascii_lowercase).as_deref() {
            Some("header") => Placement::Header,
            Some("envelope") => Placement::Envelope,
            Some("partition") => Placement::Partition,
            _ => return Err(wrong()),
        };
        let name = parts.next().unwrap_or(column).to_owned();
        match parts.next() {
            Some(_) => Err(wrong()),
            None => Ok(Self {
                column: column.to_owned(),
                placement,
                name,
            }),
        }
    }
}

/// Schema and value of a column.
type Cell = (Option<Arc<Schema>>, Value);

/// A row of the table.
struct Row(Fields);

impl Row {
    fn cell(&self, column: &str) -> Option<Cell> {
        let (_, schema, value) = self.0.get(column)?;
        Some((schema.clone(), value.clone()))
    }

    fn must(&self, column: &str, what: &str) -> Result<Cell, ConnectError> {
        self.cell(column).ok_or_else(|| {
            ConnectError::Data(format!(
                "the outbox's row has no column \"{column}\" ({what})"
            ))
        })
    }
}

impl Each for EventRouter {
    fn apply(&mut self, record: Record) -> Result<Option<Record>, ConnectError> {
        let structured = record.value.clone().to_structured();
        let event = structured.map_err(|error| ConnectError::Data(error.to_string()))?;
        if event.is_null() {
            return Ok(None);
        }
        let (Some(Value::String(op)), Some(_)) = (event.field("op"), event.field("source")) else {
            return Ok(Some(record));
        };
        match op.as_str() {
            "c" | "r" => {}
            "d" => return Ok(None),
            other => return self.unexpected(other),
        }
        let after = event.field("after").cloned().unwrap_or(Value::Null);
        let row = Row(Fields::of(after, "outbox event")?);
        self.routed(record, &event, &row).map(Some)
    }
}

impl EventRouter {
    fn unexpected(&self, op: &str) -> Result<Option<Record>, ConnectError> {
        let message = format!(
            "the outbox's table had a change \"{op}\"; rows are to be inserted and deleted only"
        );
        if self.update_is_fatal {
            return Err(ConnectError::Data(message));
        }
        tracing::warn!("{message}: it is passed over");
        Ok(None)
    }

    fn routed(&self, record: Record, event: &Value, row: &Row) -> Result<Record, ConnectError> {
        let (_, route) = row.must(&self.route_by, "route.by.field")?;
        let mut out = Record {
            topic: self.topic(&plain(&route)).into(),
            partition: None,
            timestamp: self.time(event, row)?,
            ..record
        };
        let (_, id) = row.must(&self.id, "table.field.event.id")?;
        out.headers.push(header("id", id));
        let version = self.version.as_ref().and_then(|column| row.cell(column));
        // Debezium's key, which is the row's, stays where the column is null.
        if let Some((schema, key)) = row.cell(&self.key).filter(|(_, key)| !key.is_null()) {
            (out.key_schema, out.key) = (schema, key);
        }
        let (schema, payload) = row.must(&self.payload, "table.field.event.payload")?;
        let is_empty = match &payload {
            Value::Null => true,
            Value::String(text) => text.as_str().is_empty(),
            _ => false,
        };
        let (schema, payload) = match self.expands && !is_empty {
            true => (None, self.expanded(payload)),
            false => (schema, payload),
        };
        let mut envelope = Fields::nameless(&row.0);
        for more in &self.additional {
            let Some((schema, value)) = row.cell(&more.column) else {
                if self.missing_is_error {
                    row.must(&more.column, "table.fields.additional.placement")?;
                }
                continue;
            };
            match more.placement {
                Placement::Header => out.headers.push(header(&more.name, value)),
                Placement::Envelope => {
                    envelope
                        .entries
                        .push((more.name.as_str().into(), schema, value));
                }
                Placement::Partition => out.partition = partition(&value, &more.column)?,
            }
        }
        (out.value_schema, out.value) = if is_empty && self.tombstones {
            (None, Value::Null)
        } else if envelope.entries.is_empty() {
            (schema, payload)
        } else if self.expands && schema.is_none() {
            // What was expanded has no schema, and so the whole has none.
            let mut entries = vec![(Value::text("payload"), payload)];
            let more = envelope.entries.into_iter();
            entries.extend(more.map(|(name, _, value)| (Value::text(&*name), value)));
            (None, Value::Map(entries))
        } else {
            let payload = (Arc::from("payload"), schema, payload);
            envelope.entries.insert(0, payload);
            envelope.into_value()
        };
        if let (Some((_, version)), Some(schema)) = (version, &out.value_schema) {
            let version = plain(&version).parse().ok();
            out.value_schema = Some(Arc::new(Schema {
                version,
                ..(**schema).clone()
            }));
        }
        Ok(out)
    }

    fn topic(&self, route: &str) -> String {
        match self.expression.captures(route) {
            Some(groups) => self.replacement.of(&groups),
            // As Java's replaceAll leaves what does not match.
            None => route.to_owned(),
        }
    }

    fn time(&self, event: &Value, row: &Row) -> Result<Option<i64>, ConnectError> {
        let (schema, value) = match &self.timestamp {
            Some(column) => row.must(column, "table.field.event.timestamp")?,
            None => (None, event.field("ts_ms").cloned().unwrap_or(Value::Null)),
        };
        let name = schema.as_ref().and_then(|schema| schema.name.as_deref());
        Ok(match (value, name) {
            (Value::Int64(micros), Some("io.debezium.time.MicroTimestamp")) => {
                Some(micros.div_euclid(1_000))
            }
            (Value::Int64(nanos), Some("io.debezium.time.NanoTimestamp")) => {
                Some(nanos.div_euclid(1_000_000))
            }
            (Value::Int64(millis), _) => Some(millis),
            (Value::String(text), _) => chrono::DateTime::parse_from_rfc3339(text.as_str())
                .ok()
                .map(|time| time.timestamp_millis()),
            _ => None,
        })
    }

    /// What a payload in JSON says; a payload that is none stays text.
    fn expanded(&self, payload: Value) -> Value {
        let Value::String(text) = &payload else {
            return payload;
        };
        match Value::parse_json(text.as_str()) {
            Ok(value) if self.keeps_nulls => value,
            Ok(value) => without_nulls(value),
            Err(error) => {
                tracing::warn!(%error, "an outbox's payload is no JSON");
                payload
            }
        }
    }
}

/// The value without fields that are null, at any depth.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Map(entries) => Value::Map(
            entries
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, without_nulls(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

fn header(name: &str, value: Value) -> Header {
    Header {
        name: Text::from(name),
        value,
    }
}

/// A value as text.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_string(),
        other => other.to_json().to_string(),
    }
}

fn partition(value: &Value, column: &str) -> Result<Option<i32>, ConnectError> {
    let number = match value {
        Value::Null => return Ok(None),
        Value::Int16(number) => Some(i32::from(*number)),
        Value::Int32(number) => Some(*number),
        Value::Int64(number) => i32::try_from(*number).ok(),
        _ => None,
    };
    match number.filter(|number| *number >= 0) {
        Some(number) => Ok(Some(number)),
        None => Err(ConnectError::Data(format!(
            "column \"{column}\" is {} and no partition",
            plain(value)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(entries: &[(&str, &str)]) -> EventRouter {
        let map = entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        EventRouter::new(&def().parse(&map).unwrap()).unwrap()
    }

    fn event(op: &str, after: &str) -> Record {
        let text =
            format!(r#"{{"before":null,"after":{after},"source":{{}},"op":"{op}","ts_ms":7}}"#);
        let value = Value::parse_json(&text).unwrap();
        Record::new("p.public.outbox", Value::text("row"), value)
    }

    const ROW: &str = r#"{"id":"e1","aggregatetype":"order","aggregateid":"42","type":"made","payload":"{\"a\":1,\"b\":null}","part":3}"#;

    fn headers(record: &Record) -> Vec<String> {
        let headers = record.headers.iter();
        headers
            .map(|header| format!("{}={}", header.name.as_str(), plain(&header.value)))
            .collect()
    }

    #[test]
    fn a_row_becomes_an_event_of_its_own() {
        let out = router(&[]).apply(event("c", ROW)).unwrap().unwrap();
        assert_eq!(&*out.topic, "outbox.event.order");
        assert_eq!(out.key, Value::text("42"));
        assert_eq!(out.value, Value::text(r#"{"a":1,"b":null}"#));
        assert_eq!((out.timestamp, out.partition), (Some(7), None));
        assert_eq!(headers(&out), ["id=e1"]);
    }

    #[test]
    fn columns_are_placed_and_payloads_expanded() {
        let placed = "type:header:kind, part:partition, aggregatetype:envelope:of";
        let entries = [
            ("table.fields.additional.placement", placed),
            ("table.expand.json.payload", "true"),
            ("route.topic.regex", "(o)(.*)"),
            ("route.topic.replacement", "$2-$1"),
        ];
        let out = router(&entries).apply(event("r", ROW)).unwrap().unwrap();
        assert_eq!(&*out.topic, "rder-o");
        assert_eq!(out.partition, Some(3));
        assert_eq!(headers(&out), ["id=e1", "kind=made"]);
        assert_eq!(
            out.value.to_json().as_str(),
            r#"{"payload":{"a":1},"of":"order"}"#
        );
    }

    #[test]
    fn what_is_no_insert_is_passed_over() {
        let mut plain = router(&[]);
        assert_eq!(plain.apply(event("d", "null")).unwrap(), None);
        assert_eq!(plain.apply(event("u", ROW)).unwrap(), None);
        let tombstone = Record::new("t", Value::text("k"), Value::Null);
        assert_eq!(plain.apply(tombstone).unwrap(), None);
        let heartbeat = Record::new(
            "h",
            Value::Null,
            Value::parse_json(r#"{"ts_ms":1}"#).unwrap(),
        );
        assert_eq!(plain.apply(heartbeat.clone()).unwrap(), Some(heartbeat));
        let mut strict = router(&[("table.op.invalid.behavior", "fatal")]);
        assert!(strict.apply(event("u", ROW)).is_err());
        let error = plain.apply(event("c", r#"{"id":1}"#)).unwrap_err();
        assert!(error.to_string().contains("route.by.field"), "{error}");
        let mut empty = router(&[("route.tombstone.on.empty.payload", "true")]);
        let row = r#"{"id":"e1","aggregatetype":"order","aggregateid":"42","payload":null}"#;
        let out = empty.apply(event("c", row)).unwrap().unwrap();
        assert_eq!((out.key, out.value), (Value::text("42"), Value::Null));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (key, value) in [
            ("table.fields.additional.placement", "type:nowhere"),
            ("route.topic.replacement", "${nobody}"),
            ("route.topic.regex", "("),
        ] {
            let map = [(key.to_owned(), value.to_owned())].into();
            let error = EventRouter::new(&def().parse(&map).unwrap())
                .map(drop)
                .unwrap_err();
            assert!(error.to_string().contains(key), "{error}");
        }
    }
}
