//! How an answer is written down, so that two brokers can be compared: what no two can have in common gets a name or is left out.
//!
//! ```text
//! {error_code=None topics=[{name="t" topic_id=T1 partitions=[…]}]}
//! ```
//! Ids become `T1`, `P1`, `M1` in the order in which a case meets them, times of now `NOW`; hosts, folders, sizes and words for people are
//! left out. Lists of structs are sorted: no client counts on their order. Records of a fetch become a line a batch.

use std::collections::HashMap;
use std::fmt::Write;

use bytes::Bytes;
use log_protocol::{ControlKind, Payload, Response, TimestampType, batches};

/// From here on a number is taken for a time of now; what the cases write is older.
const NOW_FROM_MS: i64 = 1_750_000_000_000;
const NOW_UNTIL_MS: i64 = 4_000_000_000_000;

/// Fields that say nothing about behaviour.
const LEFT_OUT: &[&str] = &[
    "throttle_time_ms",
    "host",
    "port",
    "client_host",
    "log_dir",
    "partition_size",
    "total_bytes",
    "usable_bytes",
    "documentation",
    "finalized_features_epoch",
    "session_id",
    "error_message",
    "batch_index_error_message",
    "topic_config_error_message",
];

/// The ids that a case has met.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<(char, String), usize>);

impl Names {
    fn of(&mut self, kind: char, id: &str) -> String {
        let next = 1 + self.0.keys().filter(|(known, _)| *known == kind).count();
        let number = self.0.entry((kind, id.to_owned())).or_insert(next);
        format!("{kind}{number}")
    }
}

/// An answer as text.
pub(super) fn show(mut response: Response, names: &mut Names) -> String {
    if let Response::Fetch(fetched) = &mut response {
        let topics = fetched.responses.iter_mut();
        for partition in topics.flat_map(|topic| &mut topic.partitions) {
            if let Some(records) = partition.records.as_ref().and_then(Payload::bytes) {
                partition.records = Some(Bytes::from(summary(records, names)).into());
            }
        }
    }
    let text = format!("{response:?}");
    let mut value = Parser(text.as_str()).value();
    value.normalize("", names);
    value.to_text(0)
}

/// The batches of a fetch, a word each.
fn summary(records: &Bytes, names: &mut Names) -> String {
    let mut text = String::new();
    for batch in batches(records) {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                let _ = write!(text, "({error}) ");
                continue;
            }
        };
        let header = &batch.header;
        let _ = write!(text, "{}..={}", header.base_offset, header.last_offset());
        if let Ok(codec) = header.compression() {
            let _ = write!(text, " {codec}");
        }
        if header.timestamp_type() == TimestampType::LogAppendTime {
            text.push_str(" append-time");
        } else {
            match header.max_timestamp {
                NOW_FROM_MS..NOW_UNTIL_MS => text.push_str(" max=NOW"),
                time => {
                    let _ = write!(text, " max={time}");
                }
            }
        }
        if header.has_producer() {
            let producer = names.of('P', &header.producer_id.to_string());
            let _ = write!(text, " {producer}/{}", header.producer_epoch);
            let _ = write!(text, " seq={}", header.base_sequence);
        }
        if header.is_transactional() {
            text.push_str(" txn");
        }
        match batch.control() {
            Ok(Some(control)) if control.kind == ControlKind::Commit => text.push_str(" COMMIT"),
            Ok(Some(_)) => text.push_str(" ABORT"),
            _ => {}
        }
        text.push_str("; ");
    }
    text
}

/// What `Debug` wrote, read again.
enum Value {
    Fields(Vec<(String, Value)>),
    List(Vec<Value>),
    Atom(String),
}

impl Value {
    fn normalize(&mut self, field: &str, names: &mut Names) {
        match self {
            Self::Fields(fields) => {
                fields.retain(|(name, _)| !LEFT_OUT.contains(&name.as_str()));
                for (name, value) in fields {
                    value.normalize(name, names);
                }
            }
            Self::List(items) => {
                for item in items.iter_mut() {
                    item.normalize(field, names);
                }
                if items.iter().all(|item| matches!(item, Self::Fields(_))) {
                    items.sort_by_cached_key(|item| item.to_text(0));
                }
            }
            Self::Atom(text) => {
                if let Some(name) = named(field, text, names) {
                    *text = name;
                }
            }
        }
    }

    fn to_text(&self, depth: usize) -> String {
        match self {
            Self::Atom(text) => text.clone(),
            Self::Fields(fields) => {
                let fields = fields.iter();
                let fields = fields.map(|(name, value)| format!("{name}={}", value.to_text(depth)));
                format!("{{{}}}", fields.collect::<Vec<_>>().join(" "))
            }
            Self::List(items) => {
                let texts: Vec<_> = items.iter().map(|item| item.to_text(depth + 1)).collect();
                if texts.len() > 5 && texts.iter().map(String::len).sum::<usize>() > 150 {
                    let indent = format!("\n{}", "  ".repeat(depth + 1));
                    format!("[{indent}{}]", texts.join(&indent))
                } else {
                    format!("[{}]", texts.join(", "))
                }
            }
        }
    }
}

/// The name of an id or a time of now.
fn named(field: &str, text: &str, names: &mut Names) -> Option<String> {
    let number = text.parse::<i64>().ok();
    if number.is_some_and(|number| (NOW_FROM_MS..NOW_UNTIL_MS).contains(&number)) {
        return Some("NOW".to_owned());
    }
    match field {
        "cluster_id" => Some("CLUSTER".to_owned()),
        "topic_id" if text.chars().any(|one| !matches!(one, '0' | '-')) => {
            Some(names.of('T', text))
        }
        "topic_id" => Some("NIL".to_owned()),
        "producer_id" if number? >= 0 => Some(names.of('P', text)),
        "member_id" | "leader" => {
            let id = text.trim_matches('"');
            let tail = id.get(id.len().checked_sub(36)?..)?;
            uuid::Uuid::try_parse(tail).ok()?;
            Some(names.of('M', id))
        }
        _ => None,
    }
}

struct Parser<'a>(&'a str);

impl Parser<'_> {
    fn value(&mut self) -> Value {
        self.0 = self.0.trim_start();
        if self.take("[") {
            return Value::List(self.until("]", Self::value));
        }
        let quote = if self.0.starts_with("b\"") { 2 } else { 1 };
        if quote == 2 || self.0.starts_with('"') {
            return Value::Atom(self.quoted(quote));
        }
        let end = self.0.find(|one| " ,]})({".contains(one));
        let (word, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        if self.take(" {") {
            return Value::Fields(self.until("}", |parser| {
                parser.0 = parser.0.trim_start();
                let (name, rest) = parser.0.split_once(": ").expect("a field has a value");
                parser.0 = rest;
                (name.to_owned(), parser.value())
            }));
        }
        if self.take("(") {
            let mut inner = self.until(")", Self::value);
            return inner.pop().expect("a value in brackets");
        }
        Value::Atom(word.to_owned())
    }

    fn take(&mut self, token: &str) -> bool {
        let rest = self.0.strip_prefix(token);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn until<T>(&mut self, end: &str, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let mut all = Vec::new();
        loop {
            self.0 = self.0.trim_start_matches([' ', ',']);
            if self.take(end) {
                return all;
            }
            all.push(one(self));
        }
    }

    /// A text in quotes, which begins `quote` bytes on.
    fn quoted(&mut self, quote: usize) -> String {
        let mut escaped = false;
        let closing = self.0[quote..].find(|one| {
            let ends = one == '"' && !escaped;
            escaped = one == '\\' && !escaped;
            ends
        });
        let end = quote + closing.expect("a text ends") + 1;
        let (text, rest) = self.0.split_at(end);
        self.0 = rest;
        text.to_owned()
    }
}

#[test]
fn answers_are_shown_without_what_differs_anyway() {
    use log_protocol::ErrorCode;
    use log_protocol::api::list_offsets::{
        ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
    };
    let partition = |partition_index, timestamp| ListOffsetsPartitionResponse {
        partition_index,
        error_code: ErrorCode::None,
        timestamp,
        ..ListOffsetsPartitionResponse::default()
    };
    let response = ListOffsetsResponse {
        throttle_time_ms: 7,
        topics: vec![ListOffsetsTopicResponse {
            name: "a \"b\", {c}".to_owned(),
            partitions: vec![partition(1, 1000), partition(0, NOW_FROM_MS)],
        }],
    };
    assert_eq!(
        show(response.into(), &mut Names::default()),
        r#"{topics=[{name="a \"b\", {c}" partitions=[{partition_index=0 error_code=None timestamp=NOW offset=-1 leader_epoch=-1}, {partition_index=1 error_code=None timestamp=1000 offset=-1 leader_epoch=-1}]}]}"#
    );
}
