//! What `WITH (option = value, …)` says of a source, table or sink.

use streams::KeyFormat;

use crate::diagnostic::{Code, Diagnostic};
use crate::generate::is_generated;
use crate::parse::statement::{CreateRelation, Encode, Text};

const OPTIONS: &[&str] = &[
    "topic",
    "connector",
    "partitions",
    "key.format",
    "value.format",
    "format",
    "timestamp.unit",
    "csv.delimiter",
    "delimiter",
    "idle.advance",
    "scan.startup.mode",
    "kafka_topic",
    "key_format",
    "value_format",
    "timestamp_unit",
    "timestamp",
    "bootstrap_servers",
    "properties.bootstrap.servers",
];

/// What WITH says.
#[derive(Default)]
pub(super) struct Options {
    pub topic: Option<Text>,
    pub partitions: Option<i32>,
    pub key_format: Option<KeyFormat>,
    pub timestamp_unit_us: Option<i64>,
    pub encode: Option<Encode>,
    pub delimiter: Option<u8>,
    pub idle_advance: bool,
    /// ksqlDB's name of the column that is event time.
    pub timestamp: Option<Text>,
    /// Options of other systems that say which cluster a topic is in.
    pub elsewhere: Vec<String>,
}

/// The connector that fills the topic of a source or table: what the option names, unless it means the topic itself or rows
/// that are made.
pub(crate) fn connector(create: &CreateRelation) -> Option<&Text> {
    let mut options = create.options.iter();
    let (_, value) = options.find(|(name, _)| name.value.eq_ignore_ascii_case("connector"))?;
    let is_ours = is_topic_itself(&value.value) || is_generated(&create.options);
    (!is_ours).then_some(value)
}

/// Whether an option is not the connector's.
pub(crate) fn is_own_option(name: &str) -> bool {
    OPTIONS.contains(&name)
}

pub(super) fn is_topic_itself(connector: &str) -> bool {
    ["kafka", "thalweg"].contains(&connector.to_lowercase().as_str())
}

/// SQL's own options; where there is a connector the others are its.
pub(super) fn options(given: &[(Text, Text)], has_connector: bool) -> Result<Options, Diagnostic> {
    let mut options = Options::default();
    for (name, value) in given {
        let key = name.value.to_lowercase();
        let wrong = |known: &str| {
            Diagnostic::new(
                Code::OptionValue,
                format!("{key} cannot be '{}'", value.value),
            )
            .at(value.span)
            .help(known.to_owned())
        };
        match key.as_str() {
            "topic" | "kafka_topic" => options.topic = Some(value.clone()),
            "partitions" => {
                let count = value
                    .value
                    .parse()
                    .ok()
                    .filter(|count| (1..=10_000).contains(count));
                options.partitions = Some(count.ok_or_else(|| wrong("a number from 1 to 10000"))?);
            }
            "connector" => {}
            "format" | "value.format" | "value_format" => {
                options.encode = Some(match value.value.to_lowercase().as_str() {
                    "json" => Encode::Json,
                    "csv" | "delimited" => Encode::Csv,
                    "text" | "string" => Encode::Text,
                    "bytes" | "raw" => Encode::Bytes,
                    _ => return Err(wrong("'json', 'csv', 'text' and 'bytes' work")),
                });
            }
            "csv.delimiter" | "delimiter" => {
                options.delimiter = Some(match value.value.as_bytes() {
                    [b'"' | b'\n' | b'\r'] => return Err(wrong("a character like ';'")),
                    [delimiter] if delimiter.is_ascii() => *delimiter,
                    _ if value.value == "\\t" => b'\t',
                    _ => return Err(wrong("one character, like ';' or '\\t'")),
                });
            }
            "key.format" | "key_format" => {
                options.key_format = Some(match value.value.to_lowercase().as_str() {
                    "string" | "kafka" | "raw" => KeyFormat::String,
                    "json" => KeyFormat::Json,
                    _ => return Err(wrong("'string' and 'json' work")),
                });
            }
            "timestamp.unit" | "timestamp_unit" => {
                options.timestamp_unit_us = Some(match value.value.to_lowercase().as_str() {
                    "s" => 1_000_000,
                    "ms" => 1_000,
                    "us" => 1,
                    _ => return Err(wrong("'s', 'ms' and 'us' work")),
                });
            }
            "idle.advance" => {
                options.idle_advance = match value.value.to_lowercase().as_str() {
                    "on" | "true" => true,
                    "off" | "false" => false,
                    _ => return Err(wrong("'on' and 'off' work")),
                };
            }
            "scan.startup.mode" | "auto.offset.reset" => {
                match value.value.to_lowercase().as_str() {
                    "earliest" | "earliest-offset" => {}
                    _ => return Err(wrong("a source is read from 'earliest'")),
                }
            }
            _ if has_connector => {}
            "timestamp" => options.timestamp = Some(value.clone()),
            key if key == "bootstrap_servers" || key.starts_with("properties.") => {
                options.elsewhere.push(name.value.clone());
            }
            _ => {
                let message = format!("there is no option {:?}", name.value);
                let unknown = Diagnostic::new(Code::UnknownOption, message)
                    .at(name.span)
                    .suggest_nearest(&key, OPTIONS.iter().copied());
                return Err(match unknown.help {
                    Some(_) => unknown,
                    None => unknown.help(instead_of_option(&key)),
                });
            }
        }
    }
    Ok(options)
}

/// What to write where an option of another system was written, or else the options that there are.
fn instead_of_option(key: &str) -> String {
    if key.contains("bootstrap") {
        return "topics are those of the log that this server works on".to_owned();
    }
    // Those with an underscore are other spellings.
    let names: Vec<&str> = OPTIONS
        .iter()
        .copied()
        .filter(|name| !name.contains('_') && !name.starts_with("properties"))
        .collect();
    format!("there are {}", names.join(", "))
}
