//! Records as rows: table, primary key, columns.

use std::collections::HashMap;

use connect_api::{Record, Schema, Value};

use super::cell::Cell;
use super::config::{KeyMode, SinkConfig};

/// A change of one row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// Schema (if one is named) and table.
    pub(super) table: TableName,
    /// Columns of the primary key, in order; empty without one.
    pub(super) key: Vec<(String, Cell)>,
    /// All columns, those of the key first; `None` deletes the row.
    pub(super) columns: Option<Vec<(String, Cell)>>,
}

/// A table's name, in parts that are not quoted yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TableName {
    pub(super) schema: Option<String>,
    pub(super) table: String,
}

impl TableName {
    /// The name that a format gives for a topic.
    fn of(format: &str, topic: &str) -> Self {
        let placed = |part: &str| part.replace("${topic}", &topic.replace('.', "_"));
        match format.split_once('.') {
            Some((schema, table)) => Self {
                schema: Some(placed(schema)),
                table: placed(table),
            },
            None => Self {
                schema: None,
                table: placed(format),
            },
        }
    }

    /// Quoted, as SQL needs it.
    pub(super) fn quoted(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", quote(schema), quote(&self.table)),
            None => quote(&self.table),
        }
    }
}

/// Bytes of a name; PostgreSQL cuts longer ones, so that two could become one.
const NAME_BYTES_MAX: usize = 63;

/// What PostgreSQL cannot have as a name, in words.
fn name_issue(name: &str) -> Option<String> {
    if name.is_empty() {
        Some("an empty name".to_owned())
    } else if name.contains('\0') {
        Some(format!("a zero character in the name {name:?}"))
    } else if name.len() > NAME_BYTES_MAX {
        Some(format!(
            "the name \"{name}\", longer than {NAME_BYTES_MAX} bytes"
        ))
    } else {
        None
    }
}

/// An identifier in quotes.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Row {
    /// The row that a record means; `None` for a tombstone that is passed over.
    ///
    /// # Errors
    /// What is wrong with the record.
    pub(super) fn of(config: &SinkConfig, record: &Record) -> Result<Option<Self>, String> {
        let table = TableName::of(&config.table_format, &record.topic);
        if let Some(issue) = table
            .schema
            .iter()
            .chain([&table.table])
            .find_map(|name| name_issue(name))
        {
            return Err(format!(
                "the table has {issue} (collection.name.format gives it another)"
            ));
        }
        if record.value.is_null() {
            if !config.delete_enabled {
                return Ok(None);
            }
            let key = record_key(config, record)?;
            return Ok(Some(Self {
                table,
                key,
                columns: None,
            }));
        }
        let value = record
            .value
            .clone()
            .to_structured()
            .map_err(|error| format!("the value: {error}"))?;
        let mut columns = cells(&value).map_err(|error| format!("the value {error}"))?;
        let key = match config.key_mode {
            KeyMode::None => Vec::new(),
            KeyMode::RecordKey => record_key(config, record)?,
            KeyMode::RecordValue => config
                .key_fields
                .iter()
                .map(|field| {
                    let found = columns.iter().find(|(name, _)| name == field);
                    found.cloned().ok_or_else(|| {
                        format!("the value has no field \"{field}\" (primary.key.fields)")
                    })
                })
                .collect::<Result<_, _>>()?,
        };
        if let Some((name, _)) = key.iter().find(|(_, cell)| cell.text.is_none()) {
            return Err(format!("the primary key's column \"{name}\" is null"));
        }
        // What the key says of its columns counts, also where the value has them too.
        columns.retain(|(name, _)| !key.iter().any(|(of_key, _)| of_key == name));
        let mut all = key.clone();
        all.extend(columns);
        if all.is_empty() {
            return Err("the record has no fields".to_owned());
        }
        Ok(Some(Self {
            table,
            key,
            columns: Some(all),
        }))
    }
}

fn record_key(config: &SinkConfig, record: &Record) -> Result<Vec<(String, Cell)>, String> {
    let key = key_cells(config, record)?;
    if key.is_empty() {
        return Err("the key has no fields".to_owned());
    }
    Ok(key)
}

fn key_cells(config: &SinkConfig, record: &Record) -> Result<Vec<(String, Cell)>, String> {
    let key = match &record.key {
        Value::Null => return Err("the record has no key (primary.key.mode=record_key)".to_owned()),
        // A composite key that came through a converter of text.
        Value::String(text) if config.key_fields.len() != 1 && text.as_str().starts_with('{') => {
            Value::parse_json(text.as_str()).map_err(|error| format!("the key: {error}"))?
        }
        key => key
            .clone()
            .to_structured()
            .map_err(|error| format!("the key: {error}"))?,
    };
    if !matches!(key, Value::Map(_) | Value::Struct(_)) {
        return match config.key_fields.as_slice() {
            [name] => {
                let cell = Cell::of(&key, record.key_schema.as_deref())
                    .map_err(|error| format!("the key: {error}"))?;
                Ok(vec![(name.clone(), cell)])
            }
            _ => Err(format!(
                "the key is {}; primary.key.fields has to name the one column it goes to",
                key.kind()
            )),
        };
    }
    let all = cells(&key).map_err(|error| format!("the key {error}"))?;
    if config.key_fields.is_empty() {
        return Ok(all);
    }
    config
        .key_fields
        .iter()
        .map(|field| {
            let found = all.iter().find(|(name, _)| name == field);
            found
                .cloned()
                .ok_or_else(|| format!("the key has no field \"{field}\" (primary.key.fields)"))
        })
        .collect()
}

/// The fields of a map or struct.
fn cells(value: &Value) -> Result<Vec<(String, Cell)>, String> {
    let cell = |name: &str, value: &Value, schema: Option<&Schema>| {
        if let Some(issue) = name_issue(name) {
            return Err(format!("has a field with {issue}"));
        }
        let cell = Cell::of(value, schema).map_err(|error| format!("has in \"{name}\" {error}"))?;
        Ok((name.to_owned(), cell))
    };
    match value {
        Value::Map(entries) => {
            let mut cells: Vec<(String, Cell)> = Vec::with_capacity(entries.len());
            let mut places = HashMap::with_capacity(entries.len());
            for (key, value) in entries {
                let Value::String(name) = key else {
                    return Err(format!("has a field name that is {}", key.kind()));
                };
                let cell = cell(name.as_str(), value, None)?;
                // Of a name that JSON has twice, the last counts.
                match places.get(name.as_str()) {
                    Some(&place) => cells[place] = cell,
                    None => {
                        places.insert(name.as_str(), cells.len());
                        cells.push(cell);
                    }
                }
            }
            Ok(cells)
        }
        Value::Struct(structure) => structure
            .schema()
            .fields()
            .iter()
            .zip(structure.values())
            .map(|(field, value)| cell(&field.name, value, Some(&field.schema)))
            .collect(),
        other => Err(format!(
            "is {}, not an object or struct: a row needs named fields (HoistField makes one)",
            other.kind()
        )),
    }
}
