//! Lines to records: text, JSON, CSV.
//!
//! A JSON line stays the text it is ([`Value::Json`]); one pass checks it and finds the key's field.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use connect_api::{Record, Schema, SchemaType, Text, Value};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::config::{LineFormat, SourceConfig};
use super::input::InputError;
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
            Self::Line => match Text::from_utf8(line.clone()) {
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

/// Whether `text` is a JSON object, whole.
pub(super) fn is_complete_object(text: &[u8]) -> bool {
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
    let found = {
        let mut deserializer = serde_json::Deserializer::from_str(text.as_str());
        let found = FieldOf(field).deserialize(&mut deserializer);
        found
            .and_then(|found| deserializer.end().map(|()| found))
            .map_err(|error| format!("not a JSON object: {}", columns_only(&error.to_string())))?
    };
    let key = match found {
        Some(Scalar::Text(Cow::Borrowed(text))) => Text::from_utf8(line.slice_ref(text.as_bytes()))
            .map_err(|error| format!("not UTF-8: {error}"))?,
        Some(Scalar::Text(Cow::Owned(text))) => Text::from(text),
        Some(Scalar::Null) => return Err(format!("key.field \"{field}\" is null")),
        Some(Scalar::Nested) => {
            return Err(format!(
                "key.field \"{field}\" is an object or array; a key is a single value"
            ));
        }
        None => return Err(format!("there is no field \"{field}\" (key.field)")),
    };
    // The pass that looked for the key has checked the whole text.
    Ok(Record::new(
        Arc::clone(topic),
        Value::String(key),
        Value::Json(text),
    ))
}

/// serde_json says "at line 1 column 7" of a text that is one line.
fn columns_only(message: &str) -> String {
    message.replace(" at line 1 column ", " at column ")
}

/// A single value as a key.
enum Scalar<'a> {
    Text(Cow<'a, str>),
    Null,
    Nested,
}

/// Finds one field of an object and checks the rest on the way.
struct FieldOf<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for FieldOf<'_> {
    type Value = Option<Scalar<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FieldOf<'_> {
    type Value = Option<Scalar<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_key) = map.next_key_seed(NameIs(self.0))? {
            if is_key {
                found = Some(map.next_value_seed(ScalarSeed)?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

struct NameIs<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for NameIs<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameIs<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

struct ScalarSeed;

impl<'de> DeserializeSeed<'de> for ScalarSeed {
    type Value = Scalar<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scalar<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ScalarSeed {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(value.to_string())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(value.to_string())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(value.to_string())))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(value.to_string())))
    }

    fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Null)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nested)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nested)
    }
}

impl Csv {
    fn new(header: &Bytes, config: &SourceConfig) -> Result<Self, InputError> {
        let text = std::str::from_utf8(header)
            .map_err(|error| InputError::Header(format!("not UTF-8: {error}")))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
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
            Ok("") => return Taken::Nothing,
            Ok(text) => text,
            Err(error) => {
                return Taken::Rejected {
                    reason: format!("not UTF-8: {error}"),
                    raw: line.clone(),
                };
            }
        };
        let fields = match split(text) {
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
