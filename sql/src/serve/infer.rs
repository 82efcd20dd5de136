//! A source that declares no columns: they are found in a sample of its topic, and the statement with them is what is
//! kept, shown and bound again after a restart.
//!
//! ```text
//! CREATE SOURCE s WITH (topic = 't')    records of t ── JSON ── one type a field ──▶ CREATE SOURCE s (id BIGINT, …) WITH …
//! ```
//!
//! | values | type |
//! |---|---|
//! | whole numbers; others too | BIGINT; DOUBLE |
//! | true, false | BOOLEAN |
//! | texts that are all dates; times in ISO 8601 | DATE; TIMESTAMP |
//! | other texts | TEXT |
//! | objects, arrays | STRUCT, T[] |
//! | of several kinds, empty, null everywhere, nested too deep | JSON |

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::DataType;
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use futures::stream::StreamExt;
use serde_json::Value;
use streams::{
    ColumnOrigin, KeyFormat, ScanError, ScanRange, SourceColumn, SourceMode, SourceSpec,
    ValueFormat,
};

use super::server::{Inner, StatementContext};
use crate::diagnostic::{Code, Diagnostic, Location, StatementText};
use crate::generate;
use crate::parse::parse;
use crate::parse::statement::{CreateRelation, Encode, Format, Statement};
use crate::plan::name_text;

/// Records that are looked at; those that come first in each partition.
const SAMPLE_RECORDS: usize = 1_000;
/// Fields of an object at the most; one with more is taken for a map of whatever.
const FIELDS_MAX: usize = 200;
/// How deep objects and arrays are looked into.
const LEVELS_MAX: usize = 6;

/// A statement with the columns that were found.
pub(super) struct Completed {
    pub create: CreateRelation,
    pub sql: String,
    /// What was found, for its author.
    pub notes: Vec<String>,
}

impl Inner {
    /// The statement that one without columns stands for; `None` for one that has them.
    pub(super) async fn inferred(
        &self,
        create: &CreateRelation,
        context: &StatementContext<'_>,
    ) -> Result<Option<Completed>, Diagnostic> {
        let (Some((place, opened)), true) = (create.columns_at, create.columns.is_empty()) else {
            return Ok(None);
        };
        let is_topic = |name: &str| ["topic", "kafka_topic"].contains(&name);
        let named = (create.options.iter()).find(|(name, _)| is_topic(&name.value.to_lowercase()));
        let topic = named.map_or(create.name.name.as_str(), |(_, topic)| topic.value.as_str());
        let made = generate::columns(&create.options, create.watermark.is_some())?;
        let is_made = made.is_some();
        let none = || (0, Vec::new());
        let (columns, (records, notes)) = match &create.encode {
            _ if let Some(columns) = made => (columns, none()),
            Some((Encode::Text, _)) => ("value TEXT".to_owned(), none()),
            Some((Encode::Bytes, _)) => ("value BYTEA".to_owned(), none()),
            Some((Encode::Csv, span)) => {
                let message = "lines of CSV do not tell the names of their columns";
                return Err(Diagnostic::new(Code::Syntax, message)
                    .at(*span)
                    .help("declare them: (name TYPE, …)"));
            }
            Some((Encode::Json, _)) | None => self.sample(create, topic).await?,
        };
        let text = context.text;
        let at = if opened { place.start } else { place.end };
        let split = byte_of(text, at) + usize::from(opened);
        let (before, after) = text.text.split_at_checked(split).unwrap_or((text.text, ""));
        let sql = if opened {
            format!("{before}{columns}, {}", after.trim_start())
        } else {
            format!("{before} ({columns}){after}")
        };
        Ok(Some(Completed {
            create: parsed(&sql)?,
            notes: std::iter::once(match is_made {
                true => format!("columns of the benchmark: {sql}"),
                false => {
                    let s = if records == 1 { "" } else { "s" };
                    format!("columns found in {records} record{s} of topic {topic}: {sql}")
                }
            })
            .chain(notes)
            .collect(),
            sql,
        }))
    }

    /// The columns of a topic of JSON, as they are declared, in how many records they were found, and what is odd about them.
    async fn sample(
        &self,
        create: &CreateRelation,
        topic: &str,
    ) -> Result<(String, (usize, Vec<String>)), Diagnostic> {
        let wrong = |message: String| {
            Diagnostic::new(Code::UnknownTopic, message)
                .at(create.name.span)
                .help("declare its columns: (name TYPE, …)")
        };
        let spec = SourceSpec {
            topic: topic.to_owned(),
            columns: vec![SourceColumn {
                name: "value".to_owned(),
                data_type: DataType::Utf8View,
                nullable: true,
                length: None,
                origin: ColumnOrigin::Value,
            }],
            checked: Vec::new(),
            key_format: KeyFormat::None,
            value_format: ValueFormat::Text,
            mode: SourceMode::Append,
            watermark: None,
        };
        let scan = streams::scan(Arc::clone(&self.log), &spec, ScanRange::Now).await;
        let mut scan = scan.map_err(|error| match error {
            ScanError::MissingTopic(_) => wrong(format!(
                "topic {topic} does not exist, so its columns cannot be found"
            )),
            other => Diagnostic::new(Code::Log, other.to_string()),
        })?;
        let debezium = matches!(create.format, Some((Format::Debezium, _)));
        let (mut found, mut records) = (Kind::Unknown, 0);
        while records < SAMPLE_RECORDS
            && let Some(batch) = scan.next().await
        {
            let batch = batch.map_err(|error| Diagnostic::new(Code::Log, error.to_string()))?;
            let values = batch.column(0).as_string_view();
            for text in values.iter().flatten().take(SAMPLE_RECORDS - records) {
                let row = serde_json::from_str(text).ok();
                let row = row.and_then(|value| {
                    if debezium {
                        changed_row(value)
                    } else {
                        Some(value)
                    }
                });
                if let Some(row @ Value::Object(_)) = row {
                    found = found.merged(Kind::of(&row, LEVELS_MAX));
                    records += 1;
                }
            }
        }
        let Kind::Struct(mut fields) = found else {
            let message = match records {
                0 => format!("topic {topic} has no JSON objects to find its columns in"),
                _ => format!("the objects of topic {topic} have too many fields for columns"),
            };
            return Err(wrong(message));
        };
        for key in &create.primary_key {
            if !fields
                .iter()
                .any(|(name, _)| name.to_lowercase() == key.name)
            {
                fields.push((key.name.clone(), Kind::Text));
            }
        }
        let column = |(name, kind): &(String, Kind)| format!("{} {}", name_text(name), kind.sql());
        let columns: Vec<String> = fields.iter().map(column).collect();
        Ok((columns.join(", "), (records, oddities(&fields))))
    }
}

/// Why columns are JSON that could be something else.
fn oddities(fields: &[(String, Kind)]) -> Vec<String> {
    let named = |wanted: Kind| {
        let names = fields.iter().filter(|(_, kind)| *kind == wanted);
        names.map(|(name, _)| name.as_str()).collect::<Vec<_>>()
    };
    let mut notes = Vec::new();
    let (mixed, unseen) = (named(Kind::Json), named(Kind::Unknown));
    if !mixed.is_empty() {
        notes.push(format!(
            "{} had values of several kinds: JSON; declared with a type, records that do not fit are left out and told",
            mixed.join(", ")
        ));
    }
    if !unseen.is_empty() {
        notes.push(format!(
            "{} had no value in any of them: JSON, unless you declare a type",
            unseen.join(", ")
        ));
    }
    notes
}

/// The row that an envelope of Debezium's tells of.
fn changed_row(mut value: Value) -> Option<Value> {
    if value.get("op").is_none() {
        value = value.get_mut("payload")?.take();
    }
    ["after", "before"]
        .iter()
        .filter_map(|part| value.get(*part))
        .find(|row| row.is_object())
        .cloned()
}

/// A statement that was completed.
pub(super) fn parsed(sql: &str) -> Result<CreateRelation, Diagnostic> {
    let whole = StatementText {
        text: sql,
        offset: 0,
        line: 1,
        column: 1,
        complete: true,
    };
    match parse(&whole)? {
        Statement::CreateRelation(create) => Ok(*create),
        _ => Err(Diagnostic::new(
            Code::Internal,
            "columns were found for no source",
        )),
    }
}

/// The byte of the statement at a place of the text that was sent.
pub(super) fn byte_of(statement: &StatementText<'_>, place: Location) -> usize {
    let (mut line, mut column) = (statement.line, statement.column);
    for (at, char) in statement.text.char_indices() {
        if (line, column) == (place.line, place.column) {
            return at;
        }
        if char == '\n' {
            (line, column) = (line + 1, 1);
        } else {
            column += 1;
        }
    }
    statement.text.len()
}

/// What values of a field have been so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// NULL, or an empty object.
    Unknown,
    Bool,
    Int,
    Double,
    Date,
    Timestamp,
    Text,
    List(Box<Kind>),
    Struct(Vec<(String, Kind)>),
    /// Anything.
    Json,
}

impl Kind {
    /// What a row is.
    pub(super) fn of_row(value: &Value) -> Self {
        Self::of(value, LEVELS_MAX)
    }

    fn of(value: &Value, levels: usize) -> Self {
        match value {
            Value::Null => Self::Unknown,
            Value::Bool(_) => Self::Bool,
            Value::Number(number) if number.is_i64() => Self::Int,
            Value::Number(_) => Self::Double,
            Value::String(text) => Self::of_text(text),
            Value::Array(_) | Value::Object(_) if levels == 0 => Self::Json,
            Value::Array(elements) => {
                let element = elements.iter().fold(Self::Unknown, |known, element| {
                    known.merged(Self::of(element, levels - 1))
                });
                Self::List(Box::new(element))
            }
            Value::Object(fields) if fields.is_empty() => Self::Unknown,
            Value::Object(fields) if fields.len() > FIELDS_MAX => Self::Json,
            Value::Object(fields) => {
                let field =
                    |(name, value): (&String, &Value)| (name.clone(), Self::of(value, levels - 1));
                Self::Struct(fields.iter().map(field).collect())
            }
        }
    }

    fn of_text(text: &str) -> Self {
        if text.len() == 10 && NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok() {
            return Self::Date;
        }
        let iso = text.replacen(' ', "T", 1);
        let local = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"];
        let is_time = DateTime::parse_from_rfc3339(&iso).is_ok()
            || (local.iter()).any(|format| NaiveDateTime::parse_from_str(&iso, format).is_ok());
        if is_time && text.is_char_boundary(10) && text.len() >= 16 {
            Self::Timestamp
        } else {
            Self::Text
        }
    }

    /// What holds both.
    pub(super) fn merged(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unknown, kind) | (kind, Self::Unknown) => kind,
            (left, right) if left == right => left,
            (Self::Int, Self::Double) | (Self::Double, Self::Int) => Self::Double,
            (Self::Date, Self::Timestamp) | (Self::Timestamp, Self::Date) => Self::Timestamp,
            (Self::Date | Self::Timestamp, Self::Text)
            | (Self::Text, Self::Date | Self::Timestamp) => Self::Text,
            (Self::List(left), Self::List(right)) => Self::List(Box::new(left.merged(*right))),
            (Self::Struct(mut fields), Self::Struct(others)) => {
                for (name, kind) in others {
                    match fields.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, known)) => {
                            *known = std::mem::replace(known, Self::Unknown).merged(kind);
                        }
                        None => fields.push((name, kind)),
                    }
                }
                if fields.len() > FIELDS_MAX {
                    return Self::Json;
                }
                Self::Struct(fields)
            }
            _ => Self::Json,
        }
    }

    /// As it is declared.
    pub(super) fn sql(&self) -> String {
        match self {
            Self::Unknown | Self::Json => "JSON".to_owned(),
            Self::Bool => "BOOLEAN".to_owned(),
            Self::Int => "BIGINT".to_owned(),
            Self::Double => "DOUBLE".to_owned(),
            Self::Date => "DATE".to_owned(),
            Self::Timestamp => "TIMESTAMP".to_owned(),
            Self::Text => "TEXT".to_owned(),
            Self::List(element) => match **element {
                // Arrays of what nobody has seen yet.
                Self::Unknown => "JSON".to_owned(),
                _ => format!("{}[]", element.sql()),
            },
            Self::Struct(fields) => {
                let field =
                    |(name, kind): &(String, Self)| format!("{} {}", name_text(name), kind.sql());
                let fields: Vec<String> = fields.iter().map(field).collect();
                format!("STRUCT<{}>", fields.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_that_are_json_for_want_of_something_better_are_told() {
        let records = [
            json!({"a": 1, "b": null, "c": 1.5, "d": {"x": 1}, "e": true}),
            json!({"a": "x", "b": null, "c": 2, "d": {"x": 2}, "e": "no"}),
        ];
        let found = records.iter().fold(Kind::Unknown, |found, record| {
            found.merged(Kind::of_row(record))
        });
        let Kind::Struct(fields) = found else {
            panic!("{found:?}");
        };
        let [mixed, unseen] = oddities(&fields).try_into().unwrap();
        assert!(mixed.starts_with("a, e had values of several kinds: JSON;"));
        assert!(unseen.starts_with("b had no value in any of them: JSON,"));
        let plain = json!({"a": 1, "c": [1, 2]});
        let Kind::Struct(fields) = Kind::of_row(&plain) else {
            panic!("{plain}");
        };
        assert_eq!(oddities(&fields), [""; 0]);
    }
}
