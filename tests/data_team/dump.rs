//! The records of topics as text: what changes from run to run is masked, and a schema is told where it changes.
//!
//! ```text
//! == shop.public.orders
//! key schema
//!   . struct shop.public.orders.Key required
//!   .customer int64 required
//! key {"customer":1}
//! value schema
//!   …
//! value {"before":null,…}
//! header __debezium.context.taskId=0
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use log_api::{
    Log, OffsetSpec, PartitionProgress, PollBudget, ReaderOptions, Start, TopicPartition,
};
use log_kafka::{Kafka, KafkaConfig};
use serde_json::{Map, Value};

/// What is masked wherever it stands: positions and times.
const MASKED: [&str; 8] = [
    "ts_ms",
    "ts_us",
    "ts_ns",
    "lsn",
    "txId",
    "xmin",
    "sequence",
    "origin_lsn",
];

/// A record as it lies in the log.
struct Line {
    key: Option<Value>,
    value: Option<Value>,
    headers: Vec<(String, String)>,
}

/// The topics of a prefix.
pub(crate) struct Topics(BTreeMap<String, Vec<Line>>);

pub(crate) fn open(address: &str) -> Kafka {
    Kafka::connect(KafkaConfig::new(address)).unwrap()
}

/// What a record's value says, without the schema beside it.
fn payload(value: &Value) -> &Value {
    match (value.get("schema"), value.get("payload")) {
        (Some(_), Some(payload)) => payload,
        _ => value,
    }
}

impl Line {
    fn op(&self) -> Option<&str> {
        payload(self.value.as_ref()?).get("op")?.as_str()
    }
}

impl Topics {
    /// Everything that is committed now.
    pub(crate) async fn read(log: &Kafka, prefix: &str) -> Self {
        let start = format!("{prefix}.");
        let mut topics: BTreeMap<String, Vec<Line>> = BTreeMap::new();
        let (mut assignment, mut ends) = (Vec::new(), BTreeMap::new());
        for topic in log.admin().list_topics().await.unwrap() {
            if topic.name.starts_with(&start) {
                assert_eq!(topic.partitions, 1, "{}", topic.name);
                let partition = TopicPartition::new(topic.name.as_str(), 0);
                let admin = log.admin();
                let end = admin.offset(&partition, OffsetSpec::LastStable);
                ends.insert(topic.name.clone(), end.await.unwrap());
                assignment.push((partition, Start::Earliest));
                topics.insert(topic.name, Vec::new());
            }
        }
        if assignment.is_empty() {
            return Self(topics);
        }
        let mut reader = log
            .reader(ReaderOptions::default(), assignment)
            .await
            .unwrap();
        loop {
            let budget = PollBudget {
                bytes_max: 4 << 20,
                wait_max: Duration::from_millis(50),
            };
            let polled = reader.poll(budget).await.unwrap();
            for records in &polled {
                let lines = topics.get_mut(&*records.partition.topic).unwrap();
                let json = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap();
                for row in 0..records.len() {
                    let headers = records.headers(row).map(|(name, value)| {
                        let value = value.map_or("null".into(), String::from_utf8_lossy);
                        (name.to_owned(), value.into_owned())
                    });
                    lines.push(Line {
                        key: records.key(row).map(json),
                        value: records.value(row).map(json),
                        headers: headers.collect(),
                    });
                }
            }
            let progress = reader.progress().await.unwrap();
            let is_read = |at: &PartitionProgress| at.position >= ends[&*at.partition.topic];
            if progress.iter().all(is_read) {
                return Self(topics);
            }
        }
    }

    /// Records of an operation.
    pub(crate) fn count(&self, op: &str) -> usize {
        let lines = self.0.values().flatten();
        lines.filter(|line| line.op() == Some(op)).count()
    }

    /// Whether a topic has a record of an operation.
    pub(crate) fn has(&self, topic: &str, op: &str) -> bool {
        let lines = self.0.get(topic).into_iter().flatten();
        lines.into_iter().any(|line| line.op() == Some(op))
    }

    pub(crate) fn print(self) -> String {
        let mut text = String::new();
        for (topic, lines) in self.0 {
            text += &format!("== {topic}\n");
            let mut known: [Option<Value>; 2] = [None, None];
            for line in lines {
                for (place, (name, part)) in [("key", line.key), ("value", line.value)]
                    .into_iter()
                    .enumerate()
                {
                    print_part(&mut text, name, part, &mut known[place]);
                }
                for (name, value) in line.headers {
                    let value = match name.as_str() {
                        "__debezium.context.runId" => "*".to_owned(),
                        _ => value,
                    };
                    text += &format!("header {name}={value}\n");
                }
            }
        }
        text
    }
}

fn print_part(text: &mut String, name: &str, part: Option<Value>, known: &mut Option<Value>) {
    let Some(mut part) = part else {
        *text += &format!("{name} -\n");
        return;
    };
    if let Value::Object(object) = &mut part
        && object.len() == 2
        && let (Some(schema), Some(payload)) = (object.remove("schema"), object.remove("payload"))
    {
        if known.as_ref() != Some(&schema) {
            *text += &format!("{name} schema\n");
            print_schema(text, "", &schema);
            *known = Some(schema);
        }
        part = payload;
    }
    mask(&mut part);
    *text += &format!("{name} {part}\n");
}

/// A line for each place of a schema.
fn print_schema(text: &mut String, place: &str, schema: &Value) {
    let mut rest: Map<String, Value> = schema.as_object().cloned().unwrap_or_default();
    rest.remove("field");
    let fields = rest.remove("fields");
    let items = rest.remove("items");
    let kind = rest.remove("type").unwrap_or_default();
    let optional = match rest.remove("optional") {
        Some(Value::Bool(true)) => "optional",
        _ => "required",
    };
    let name = rest.remove("name").map_or(String::new(), |name| {
        format!(" {}", name.as_str().unwrap_or_default())
    });
    let kind = kind.as_str().unwrap_or_default();
    *text += &format!(
        "  {}{kind} {optional}{name}",
        if place.is_empty() {
            ".".to_owned()
        } else {
            format!("{place} ")
        }
    );
    for (key, value) in rest {
        *text += &format!(" {key}={value}");
    }
    *text += "\n";
    for field in fields
        .as_ref()
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let name = field["field"].as_str().unwrap_or_default();
        print_schema(text, &format!("{place}.{name}"), field);
    }
    if let Some(items) = items {
        print_schema(text, &format!("{place}[]"), &items);
    }
}

/// Numbers become 0 and texts `*`, so that only their kinds are compared.
fn mask(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Object(fields) => {
            let is_source = fields.contains_key("connector");
            let is_transaction =
                fields.contains_key("total_order") || fields.contains_key("data_collections");
            let is_begin = fields.len() == 1 && fields.get("id").is_some_and(Value::is_string);
            // In the order of a hash table.
            if let Some(Value::Array(tables)) = fields.get_mut("data_collections") {
                tables.sort_by_key(|table| table["data_collection"].to_string());
            }
            for (name, value) in fields {
                let masked = MASKED.contains(&name.as_str())
                    || is_source && name == "version"
                    || (is_transaction || is_begin) && name == "id";
                // The address of an object.
                if let Value::String(text) = value
                    && let Some(at) = text.find("LogicalDecodingMessageId@")
                {
                    text.truncate(at);
                }
                match value {
                    Value::Number(_) if masked => *value = 0.into(),
                    Value::String(text) if masked => *text = "*".to_owned(),
                    value => mask(value),
                }
            }
        }
        _ => {}
    }
}

/// The lines below each heading.
pub(crate) fn sections(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut sections: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines() {
        match line.strip_prefix("== ") {
            Some(heading) => name = heading.to_owned(),
            None => sections
                .entry(name.clone())
                .or_default()
                .push(line.to_owned()),
        }
    }
    sections
}
