//! Lines to records: text, JSON, CSV.
//!
//! A JSON line stays the text it is ([`Value::Json`]); it is checked, and the key's field looked for in it. A byte order
//! mark belongs to no JSON and to no CSV header; `line` keeps it, as Kafka's connector does. A carriage return before
//! the newline belongs to the newline, except within the quotes of a CSV field.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use connect_api::{Record, Schema, SchemaType, Text, Value};
use serde::de::IgnoredAny;

use super::config::{LineFormat, SourceConfig};
use super::input::InputError;
use super::json_field;
use super::lines::{LineReader, Step};

/// What a line was.
#[derive(Debug, PartialEq)]
pub(super) enum Taken {
    Record(Record),
    Rejected {
        raw: Bytes,
        reason: String,
    },
    /// An empty line between records.
    Nothing,
    /// The first part of a record that goes on in the next line.
    More,
}

/// How this file's lines become records.
pub(super) enum Format {
    Line,
    Ndjson(Option<String>),
    Csv(Box<Csv>),
}

/// The state of a CSV file.
pub(super) struct Csv {
    /// The columns, each as `"name":`, ready to print.
    columns: Vec<Vec<u8>>,
    /// Which column is the key.
    key: Option<usize>,
    /// Lines of a record whose quotes are still open.
    open: Vec<u8>,
    open_bytes_max: usize,
}

impl Format {
    /// Prepares for a file, reading its header where it has one. `None`: the header line is not there yet.
    pub(super) fn open(
        config: &SourceConfig,
        lines: &mut LineReader,
    ) -> Result<Option<Self>, InputError> {
        Ok(Some(match config.format {
            LineFormat::Line => Self::Line,
            LineFormat::Ndjson => Self::Ndjson(config.key_field.clone()),
            LineFormat::Csv => {
                let header = match lines.next()? {
                    Step::Line(header) => header,
                    Step::TooLong(_) => {
                        return Err(InputError::Header(
                            "the first line is over the limit".to_owned(),
                        ));
                    }
                    Step::End => return Ok(None),
                };
                Self::Csv(Box::new(Csv::new(&header, config)?))
            }
        }))
    }

    /// What `line` is.
    pub(super) fn take(&mut self, topic: &Arc<str>, line: Bytes) -> Taken {
        match self {
            Self::Line => match Text::from_utf8(without_return(line.clone())) {
                Ok(text) => {
                    let mut record =
                        Record::new(Arc::clone(topic), Value::Null, Value::String(text));
                    record.value_schema = Some(string_schema());
                    Taken::Record(record)
                }
                Err(error) => Taken::Rejected {
                    raw: line,
                    reason: format!("not UTF-8: {error}"),
                },
            },
            Self::Ndjson(key_field) => {
                let line = without_return(without_mark(line));
                if line.trim_ascii().is_empty() {
                    return Taken::Nothing;
                }
                match json_record(topic, &line, key_field.as_deref()) {
                    Ok(record) => Taken::Record(record),
                    Err(reason) => Taken::Rejected { raw: line, reason },
                }
            }
            Self::Csv(csv) => csv.take(topic, line),
        }
    }
}

/// UTF-8's byte order mark.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// A line without a byte order mark before it. It may be any line of a file that was put together of others.
fn without_mark(line: Bytes) -> Bytes {
    match line.starts_with(MARK) {
        true => line.slice(MARK.len()..),
        false => line,
    }
}

/// A line without the carriage return of its end.
fn without_return(mut line: Bytes) -> Bytes {
    if line.last() == Some(&b'\r') {
        line.truncate(line.len() - 1);
    }
    line
}

/// Whether `text` is a JSON object, whole.
pub(super) fn is_complete_object(text: &[u8]) -> bool {
    let text = text.strip_prefix(MARK).unwrap_or(text);
    text.trim_ascii_start().first() == Some(&b'{')
        && serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

fn string_schema() -> Arc<Schema> {
    static SCHEMA: std::sync::OnceLock<Arc<Schema>> = std::sync::OnceLock::new();
    Arc::clone(SCHEMA.get_or_init(|| Arc::new(Schema::new(SchemaType::String))))
}

fn json_record(topic: &Arc<str>, line: &Bytes, key_field: Option<&str>) -> Result<Record, String> {
    let text = Text::from_utf8(line.clone()).map_err(|error| format!("not UTF-8: {error}"))?;
    let Some(field) = key_field else {
        return match Value::json(text) {
            Ok(Value::Null) => Err("null is no record".to_owned()),
            Ok(value) => Ok(Record::new(Arc::clone(topic), Value::Null, value)),
            Err(error) => Err(columns_only(&error.to_string())),
        };
    };
    serde_json::from_str::<IgnoredAny>(text.as_str())
        .map_err(|error| format!("not a JSON object: {}", columns_only(&error.to_string())))?;
    let found = json_field::of(text.as_str(), field)
        .map_err(|kind| format!("not a JSON object: it is {kind}"))?;
    let key = match found {
        None => return Err(format!("there is no field \"{field}\" (key.field)")),
        Some("null") => return Err(format!("key.field \"{field}\" is null")),
        Some(value) if value.starts_with(['{', '[']) => {
            return Err(format!(
                "key.field \"{field}\" is an object or array; a key is a single value"
            ));
        }
        Some(value) => key_text(line, value)
            .map_err(|error| format!("key.field \"{field}\": {}", columns_only(&error)))?,
    };
    // The whole text has been checked.
    Ok(Record::new(
        Arc::clone(topic),
        Value::String(key),
        Value::Json(text),
    ))
}

/// A single value as a key: text without its quotes, numbers digit by digit as they are.
fn key_text(line: &Bytes, value: &str) -> Result<Text, String> {
    let shared = |text: &str| {
        Text::from_utf8(line.slice_ref(text.as_bytes())).map_err(|error| error.to_string())
    };
    match value
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
    {
        None => shared(value),
        Some(text) if !text.contains('\\') => shared(text),
        Some(_) => serde_json::from_str::<String>(value)
            .map(Text::from)
            .map_err(|error| error.to_string()),
    }
}

/// serde_json says "at line 1 column 7" of a text that is one line.
fn columns_only(message: &str) -> String {
    message.replace(" at line 1 column ", " at column ")
}

impl Csv {
    fn new(header: &Bytes, config: &SourceConfig) -> Result<Self, InputError> {
        let text = std::str::from_utf8(header)
            .map_err(|error| InputError::Header(format!("not UTF-8: {error}")))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        let Split::Fields(names) = split(text) else {
            return Err(InputError::Header("a quote is not closed".to_owned()));
        };
        let names: Vec<&str> = names.iter().map(|name| name.trim()).collect();
        if let Some(repeated) = names
            .iter()
            .enumerate()
            .find(|(index, name)| names[..*index].contains(name))
        {
            return Err(InputError::Header(format!(
                "column \"{}\" is there twice",
                repeated.1
            )));
        }
        let key = match &config.key_field {
            None => None,
            Some(field) => Some(names.iter().position(|name| name == field).ok_or_else(|| {
                InputError::Header(format!(
                    "there is no column \"{field}\" (key.field) among {}",
                    names.join(", ")
                ))
            })?),
        };
        let columns = names
            .iter()
            .map(|name| {
                let mut column = Vec::new();
                Value::text(*name).write_json(None, Default::default(), &mut column);
                column.push(b':');
                column
            })
            .collect();
        Ok(Self {
            columns,
            key,
            open: Vec::new(),
            open_bytes_max: config.line_bytes_max,
        })
    }

    fn take(&mut self, topic: &Arc<str>, line: Bytes) -> Taken {
        let line = if self.open.is_empty() {
            line
        } else {
            let mut whole = std::mem::take(&mut self.open);
            whole.push(b'\n');
            whole.extend_from_slice(&line);
            Bytes::from(whole)
        };
        let text = match std::str::from_utf8(&line) {
            Ok("" | "\r") => return Taken::Nothing,
            Ok(text) => text,
            Err(error) => {
                return Taken::Rejected {
                    reason: format!("not UTF-8: {error}"),
                    raw: line.clone(),
                };
            }
        };
        // Where the record ends with the line, a carriage return is the newline's, else the open field's.
        let fields = match split(text.strip_suffix('\r').unwrap_or(text)) {
            Split::Fields(fields) => fields,
            Split::Open if line.len() <= self.open_bytes_max => {
                self.open = line.to_vec();
                return Taken::More;
            }
            Split::Open => {
                let reason = "a quote is not closed within max.line.bytes".to_owned();
                return Taken::Rejected { raw: line, reason };
            }
        };
        if fields.len() != self.columns.len() {
            let reason = format!(
                "{} fields, but the header has {}",
                fields.len(),
                self.columns.len()
            );
            return Taken::Rejected { raw: line, reason };
        }
        let mut object = Vec::with_capacity(text.len() * 2);
        for (index, (column, field)) in self.columns.iter().zip(&fields).enumerate() {
            object.push(if index == 0 { b'{' } else { b',' });
            object.extend_from_slice(column);
            Value::text(field.as_ref()).write_json(None, Default::default(), &mut object);
        }
        object.push(b'}');
        let key = self
            .key
            .map_or(Value::Null, |key| Value::text(fields[key].as_ref()));
        let value = Text::from_utf8(object.into()).expect("text is written as text");
        Taken::Record(Record::new(Arc::clone(topic), key, Value::Json(value)))
    }
}

/// A line taken apart.
enum Split<'a> {
    Fields(Vec<Cow<'a, str>>),
    /// A quoted field does not end in this line.
    Open,
}

/// Splits as RFC 4180 says: fields may stand in quotes, and a quote inside of them is doubled.
fn split(line: &str) -> Split<'_> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut text = String::new();
            let mut tail = quoted;
            loop {
                let Some(quote) = tail.find('"') else {
                    return Split::Open;
                };
                text.push_str(&tail[..quote]);
                tail = &tail[quote + 1..];
                match tail.strip_prefix('"') {
                    Some(more) => {
                        text.push('"');
                        tail = more;
                    }
                    None => break,
                }
            }
            // Text after the closing quote is kept, as most readers do.
            let comma = tail.find(',').unwrap_or(tail.len());
            text.push_str(&tail[..comma]);
            fields.push(Cow::Owned(text));
            match tail.get(comma + 1..) {
                Some(next) => rest = next,
                None => return Split::Fields(fields),
            }
        } else {
            match rest.split_once(',') {
                Some((field, next)) => {
                    fields.push(Cow::Borrowed(field));
                    rest = next;
                }
                None => {
                    fields.push(Cow::Borrowed(rest));
                    return Split::Fields(fields);
                }
            }
        }
    }
}
