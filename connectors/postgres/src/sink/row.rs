//! Records as rows: table, primary key, columns.
//!
//! A value is the row itself, or an event of Debezium's around it (`before`, `after`, `op`, `source`): then `after` is
//! the row, and `op` says whether it is there. A field whose value Debezium did not get
//! (`__debezium_unavailable_value`) leaves its column as it is. For that a row whose key changed has to move: the event
//! that deletes the old key names the new one in a header, and what follows under the new key may lack such fields.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use connect_api::{Record, Schema, SchemaType, SinkRecord, Struct, Value};

use super::cell::Cell;
use super::config::{KeyMode, SinkConfig};
use crate::name;

/// A change of one row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// Schema (if one is named) and table.
    pub(super) table: TableName,
    /// Columns of the primary key, in order; empty without one.
    pub(super) key: Vec<(String, Cell)>,
    /// All columns, those of the key first; `None` deletes the row.
    pub(super) columns: Option<Vec<(String, Cell)>>,
    /// The key under which a deleted row goes on.
    pub(super) moved_to: Option<Vec<(String, Cell)>>,
    /// All rows of the table go, and this is none.
    pub(super) truncates: bool,
}

/// A table's name, in parts that are not quoted yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TableName {
    pub(super) schema: Option<String>,
    pub(super) table: String,
}

/// How topics become names of tables: parts in which `${topic}` stands for the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableFormat {
    schema: Option<String>,
    table: String,
}

const TOPIC: &str = "${topic}";

impl TableFormat {
    /// Reads `table`, `schema.table` or `database.schema.table`, each part with or without quotes.
    ///
    /// # Errors
    /// What is wrong with it; a database is there to be the one that is connected to.
    pub(super) fn parse(format: &str, database: Option<&str>) -> Result<Self, String> {
        if format.replace(TOPIC, "").contains("${") {
            return Err("has a placeholder other than ${topic}".to_owned());
        }
        let mut parts = name::parts(format)?;
        if let [named, _, _] = parts.as_slice() {
            let connected = database.unwrap_or_default();
            if named != connected {
                return Err(format!(
                    "names the database {named}, but connection.url connects to \"{connected}\""
                ));
            }
            parts.remove(0);
        }
        let table = parts.pop().unwrap_or_default();
        let schema = parts.pop();
        match parts.is_empty() {
            true => Ok(Self { schema, table }),
            false => Err("has more parts than database, schema and table".to_owned()),
        }
    }

    /// The name that it gives for a topic.
    pub(super) fn name(&self, topic: &str) -> TableName {
        let placed = |part: &str| part.replace(TOPIC, &topic.replace('.', "_"));
        TableName {
            schema: self.schema.as_deref().map(placed),
            table: placed(&self.table),
        }
    }
}

impl TableName {
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

/// Columns that every table has of its own.
const SYSTEM_COLUMNS: [&str; 6] = ["cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"];

/// What PostgreSQL cannot have as the name of a column, in words.
pub(super) fn column_issue(name: &str) -> Option<String> {
    let system = SYSTEM_COLUMNS.contains(&name).then(|| {
        format!(
            "the name \"{name}\", which every table of PostgreSQL has for itself (ReplaceField renames it)"
        )
    });
    system.or_else(|| name_issue(name))
}

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
    pub(super) fn of(config: &SinkConfig, placed: &SinkRecord) -> Result<Option<Self>, String> {
        let row = Self::as_named(config, placed)?;
        Ok(row.map(|row| {
            if config.lower_case {
                row.in_lower_case()
            } else {
                row
            }
        }))
    }

    /// The same under the names of PostgreSQL that were not quoted. Of two columns that become one the last counts.
    fn in_lower_case(mut self) -> Self {
        let names = self.table.schema.iter_mut().chain([&mut self.table.table]);
        names.for_each(|name| *name = name.to_lowercase());
        let lists = [
            Some(&mut self.key),
            self.columns.as_mut(),
            self.moved_to.as_mut(),
        ];
        for list in lists.into_iter().flatten() {
            let mut plain: Vec<(String, Cell)> = Vec::with_capacity(list.len());
            for (name, cell) in list.drain(..) {
                let name = name.to_lowercase();
                match plain.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, known)) => *known = cell,
                    None => plain.push((name, cell)),
                }
            }
            *list = plain;
        }
        self
    }

    fn as_named(config: &SinkConfig, placed: &SinkRecord) -> Result<Option<Self>, String> {
        let record = &placed.record;
        let table = config.table_format.name(&record.topic);
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
        let value = record
            .value
            .clone()
            .to_structured()
            .map_err(|error| format!("the value: {error}"))?;
        let bare = is_event(&value) || has_debeziums_headers(record);
        let value = match Change::of(value)? {
            Change::Row(value) => value,
            Change::Delete if config.delete_enabled => {
                let key = record_key(config, record, bare)?;
                let moved_to = new_key(config, record).filter(|new| same_columns(new, &key));
                return Ok(Some(Self {
                    table,
                    key,
                    columns: None,
                    moved_to,
                    truncates: false,
                }));
            }
            Change::Truncate if config.truncate_enabled => {
                return Ok(Some(Self {
                    table,
                    key: Vec::new(),
                    columns: None,
                    moved_to: None,
                    truncates: true,
                }));
            }
            Change::Delete | Change::Truncate | Change::Nothing => return Ok(None),
        };
        // What becomes no column may be anything.
        let taken = |name: &str| {
            let of_key = config.key_mode == KeyMode::RecordValue
                && config.key_fields.iter().any(|key| key == name);
            of_key || config.fields.take(&record.topic, name)
        };
        let mut columns =
            cells(&value, taken, bare).map_err(|error| format!("the value {error}"))?;
        let key = match config.key_mode {
            KeyMode::None => Vec::new(),
            KeyMode::Kafka => place_cells(config, placed)?,
            KeyMode::RecordKey => record_key(config, record, bare)?,
            KeyMode::RecordHeader => header_cells(config, record)?,
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
        let may_be_null = |name: &str| {
            let mut nullable = config.nullable_keys.iter();
            config.takes_null_keys() && nullable.any(|(column, _)| column == name)
        };
        if let Some((name, _)) =
            (key.iter()).find(|(name, cell)| cell.text.is_none() && !may_be_null(name))
        {
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
            moved_to: None,
            truncates: false,
        }))
    }
}

/// What a value says of its row.
enum Change {
    Row(Value),
    Delete,
    /// All rows of its table are gone.
    Truncate,
    /// It is about no row: a message.
    Nothing,
}

impl Change {
    fn of(value: Value) -> Result<Self, String> {
        if value.is_null() {
            return Ok(Self::Delete);
        }
        if !is_event(&value) {
            return Ok(Self::Row(value));
        }
        let op = match value.field("op") {
            Some(Value::String(op)) => op.as_str(),
            _ => return Err("the change event has no text \"op\"".to_owned()),
        };
        match (op, value.field("after")) {
            ("d", _) => Ok(Self::Delete),
            ("t", _) => Ok(Self::Truncate),
            ("m", _) => Ok(Self::Nothing),
            (_, None | Some(Value::Null)) => Err(format!(
                "the change event (\"op\": \"{op}\") has no \"after\""
            )),
            (_, Some(row)) => Ok(Self::Row(row.clone())),
        }
    }
}

/// Fields that Debezium's events have, and no others.
const EVENT_FIELDS: [&str; 8] = [
    "before",
    "after",
    "source",
    "op",
    "ts_ms",
    "ts_us",
    "ts_ns",
    "transaction",
];

fn is_event(value: &Value) -> bool {
    match value {
        Value::Struct(structure) => {
            let name = structure.schema().name.as_deref();
            name.is_some_and(|name| name.ends_with(".Envelope"))
        }
        Value::Map(entries) => {
            let known = |(key, _): &(Value, Value)| match key {
                Value::String(name) => EVENT_FIELDS.contains(&name.as_str()),
                _ => false,
            };
            let there = |name| value.field(name).is_some();
            there("op")
                && there("source")
                && (there("after") || there("before"))
                && entries.iter().all(known)
        }
        _ => false,
    }
}

/// What Debezium writes in place of a value that the source database did not send, as text and as base64 of bytes.
const UNAVAILABLE: [&str; 2] = [
    "__debezium_unavailable_value",
    "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==",
];

fn is_unavailable(value: &Value) -> bool {
    match value {
        Value::String(text) => UNAVAILABLE.contains(&text.as_str()),
        Value::Bytes(bytes) => &**bytes == UNAVAILABLE[0].as_bytes(),
        Value::Array(items) => match items.as_slice() {
            [only] => is_unavailable(only),
            // A list of numbers is that of the text's bytes.
            items => {
                let bytes = items.iter().map(|item| match item {
                    Value::Int32(number) => u8::try_from(*number).ok(),
                    Value::Int64(number) => u8::try_from(*number).ok(),
                    _ => None,
                });
                bytes.eq(UNAVAILABLE[0].bytes().map(Some))
            }
        },
        Value::Map(entries) => {
            matches!(entries.as_slice(), [(key, value)] if is_unavailable(key) && is_unavailable(value))
        }
        _ => false,
    }
}

/// Debezium's records have such headers also where their value is no event: a tombstone, an unwrapped row.
fn has_debeziums_headers(record: &Record) -> bool {
    let mut names = record.headers.iter().map(|header| header.name.as_str());
    names.any(|name| name.starts_with("__debezium."))
}

/// The key under which a deleted row goes on, where a header tells one.
fn new_key(config: &SinkConfig, record: &Record) -> Option<Vec<(String, Cell)>> {
    let header = record
        .headers
        .iter()
        .find(|header| header.name.as_str() == "__debezium.newkey")?;
    let key = match &header.value {
        Value::String(text) => Value::parse_json(text.as_str()).ok()?,
        other => other.clone().to_structured().ok()?,
    };
    // With its schema beside it, as a converter writes it.
    let key = match (key.field("schema"), key.field("payload")) {
        (Some(_), Some(payload)) => payload.clone(),
        _ => key,
    };
    // Headers lose the schema that the record's key has.
    let schema = match (&key, &record.key) {
        (Value::Struct(own), _) => Some(Arc::clone(own.schema())),
        (_, Value::Struct(old)) => Some(Arc::clone(old.schema())),
        _ => record.key_schema.clone(),
    };
    let key = match &schema {
        Some(schema) => of_schema(key, schema),
        None => key,
    };
    let of_key = Record {
        key,
        key_schema: schema,
        ..Record::new(Arc::clone(&record.topic), Value::Null, Value::Null)
    };
    record_key(config, &of_key, true).ok()
}

/// A value that came without its schema as one of it, as far as it is like that: base64 becomes bytes, an object with
/// the same fields a struct.
fn of_schema(value: Value, schema: &Arc<Schema>) -> Value {
    match (&schema.kind, value) {
        (SchemaType::Bytes, Value::String(text)) => match STANDARD.decode(text.as_str()) {
            Ok(bytes) => Value::Bytes(bytes.into()),
            Err(_) => Value::String(text),
        },
        (SchemaType::Int16, Value::Int64(number)) => {
            i16::try_from(number).map_or(Value::Int64(number), Value::Int16)
        }
        (SchemaType::Int32, Value::Int64(number)) => {
            i32::try_from(number).map_or(Value::Int64(number), Value::Int32)
        }
        (SchemaType::Array(item), Value::Array(items)) => {
            let items = items.into_iter().map(|value| of_schema(value, item));
            Value::Array(items.collect())
        }
        (SchemaType::Struct(_), Value::Map(entries)) => {
            let whole = Value::Map(entries);
            let values = schema.fields().iter().map(|field| {
                let value = whole.field(&field.name)?;
                Some(of_schema(value.clone(), &field.schema))
            });
            let count = match &whole {
                Value::Map(entries) => entries.len(),
                _ => 0,
            };
            match values.collect::<Option<Vec<Value>>>() {
                Some(values) if values.len() == count => {
                    Value::Struct(Struct::new(Arc::clone(schema), values))
                }
                _ => whole,
            }
        }
        (_, value) => value,
    }
}

/// Where a record lies in the log, as a key.
fn place_cells(config: &SinkConfig, record: &SinkRecord) -> Result<Vec<(String, Cell)>, String> {
    let values = [
        Value::text(&*record.origin.topic),
        Value::Int32(record.origin.partition),
        Value::Int64(record.offset),
    ];
    let named = config.key_fields.iter().zip(&values);
    named
        .map(|(name, value)| Ok((name.clone(), Cell::of(value, None, false)?)))
        .collect()
}

/// Headers as a key.
fn header_cells(config: &SinkConfig, record: &Record) -> Result<Vec<(String, Cell)>, String> {
    let cell = |field: &String| {
        // Of a name that comes again the last counts.
        let mut headers = record.headers.iter().rev();
        let header = headers.find(|header| header.name.as_str() == field);
        let header = header
            .ok_or_else(|| format!("the record has no header \"{field}\" (primary.key.fields)"))?;
        let cell = Cell::of(&header.value, None, false);
        Ok((
            field.clone(),
            cell.map_err(|error| format!("the header \"{field}\": {error}"))?,
        ))
    };
    config.key_fields.iter().map(cell).collect()
}

fn same_columns(a: &[(String, Cell)], b: &[(String, Cell)]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|((a, _), (b, _))| a == b)
}

fn record_key(
    config: &SinkConfig,
    record: &Record,
    bare: bool,
) -> Result<Vec<(String, Cell)>, String> {
    let key = key_cells(config, record, bare)?;
    if key.is_empty() {
        return Err("the key has no fields".to_owned());
    }
    Ok(key)
}

fn key_cells(
    config: &SinkConfig,
    record: &Record,
    bare: bool,
) -> Result<Vec<(String, Cell)>, String> {
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
                let cell = Cell::of(&key, record.key_schema.as_deref(), bare)
                    .map_err(|error| format!("the key: {error}"))?;
                Ok(vec![(name.clone(), cell)])
            }
            _ => Err(format!(
                "the key is {}; primary.key.fields has to name the one column it goes to",
                key.kind()
            )),
        };
    }
    let all = cells(&key, |_| true, bare).map_err(|error| format!("the key {error}"))?;
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

/// The fields of a map or struct that are taken.
fn cells(
    value: &Value,
    taken: impl Fn(&str) -> bool,
    bare: bool,
) -> Result<Vec<(String, Cell)>, String> {
    let cell = |name: &str, value: &Value, schema: Option<&Schema>| {
        if let Some(issue) = column_issue(name) {
            return Err(format!("has a field with {issue}"));
        }
        let cell =
            Cell::of(value, schema, bare).map_err(|error| format!("has in \"{name}\" {error}"))?;
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
                if is_unavailable(value) || !taken(name.as_str()) {
                    continue;
                }
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
            .filter(|(field, value)| !is_unavailable(value) && taken(&field.name))
            .map(|(field, value)| cell(&field.name, value, Some(&field.schema)))
            .collect(),
        other => Err(format!(
            "is {}, not an object or struct: a row needs named fields (HoistField makes one)",
            other.kind()
        )),
    }
}

#[cfg(test)]
mod tests {
    use connect_api::{ConfigMap, Header, Text, TopicPartition, logical};

    use super::*;

    fn table(format: &str) -> Result<String, String> {
        TableFormat::parse(format, Some("shop")).map(|format| format.name("a.b").quoted())
    }

    #[test]
    fn names_of_tables_have_parts_and_quotes() {
        for (format, name) in [
            ("${topic}", "\"a_b\""),
            ("\"${topic}\"", "\"a_b\""),
            ("s.x_${topic}", "\"s\".\"x_a_b\""),
            ("shop.s.${topic}", "\"s\".\"a_b\""),
            ("\"s.t\".\"q\"\"${topic}\"", "\"s.t\".\"q\"\"a_b\""),
        ] {
            assert_eq!(table(format).as_deref(), Ok(name), "{format}");
        }
        for (format, issue) in [
            ("other.s.t", "names the database other"),
            ("a.b.c.d", "more parts"),
            ("\"a", "not closed"),
            ("${source.db}", "placeholder"),
        ] {
            let error = table(format).unwrap_err();
            assert!(error.contains(issue), "{error}");
        }
    }

    #[test]
    fn a_new_key_in_a_header_has_the_schema_of_the_record() {
        let mut price = Schema::new(SchemaType::Bytes).named(logical::DECIMAL);
        price.parameters.insert("scale".to_owned(), "2".to_owned());
        let schema = Arc::new(Schema::structure(vec![
            ("price", price),
            (
                "day",
                Schema::new(SchemaType::Int32).named("io.debezium.time.Date"),
            ),
            (
                "at",
                Schema::new(SchemaType::Int64).named("io.debezium.time.Timestamp"),
            ),
        ]));
        let old = vec![
            Value::Bytes(vec![1].into()),
            Value::Int32(0),
            Value::Int64(0),
        ];
        let topic: Arc<str> = "t".into();
        let record = |header: Value| {
            let mut record = Record {
                key: Value::Struct(Struct::new(Arc::clone(&schema), old.clone())),
                key_schema: Some(Arc::clone(&schema)),
                ..Record::new(Arc::clone(&topic), Value::Null, Value::Null)
            };
            record.headers.push(Header {
                name: Text::from("__debezium.newkey"),
                value: header,
            });
            record
        };
        let config = SinkConfig::parse(
            &[
                ("connection.url", "jdbc:postgresql://h/d"),
                ("primary.key.mode", "record_key"),
                ("insert.mode", "upsert"),
                ("delete.enabled", "true"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        )
        .unwrap();
        let moved = |header: Value| {
            let row = Row::of(&config, &taken(record(header))).unwrap().unwrap();
            let moved = row.moved_to.unwrap();
            moved
                .into_iter()
                .map(|(_, cell)| cell.text.unwrap())
                .collect::<Vec<String>>()
        };
        // Two milliseconds, and the decimal 9.99.
        let bare = r#"{"price":"A+c=","day":1,"at":2}"#;
        let expected = ["9.99", "1970-01-02", "1970-01-01T00:00:00.002"];
        assert_eq!(moved(Value::text(bare)), expected);
        assert_eq!(moved(Value::parse_json(bare).unwrap()), expected);
        let beside = format!(r#"{{"schema":{{"type":"struct"}},"payload":{bare}}}"#);
        assert_eq!(moved(Value::text(beside.as_str())), expected);
    }

    fn taken(record: Record) -> SinkRecord {
        SinkRecord {
            record,
            origin: TopicPartition::new("t", 3),
            offset: 41,
        }
    }

    #[test]
    fn a_key_may_be_the_place_in_the_log_or_headers() {
        let key = |keys: &[(&str, &str)]| {
            let mut map: ConfigMap = keys
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect();
            map.insert(
                "connection.url".to_owned(),
                "jdbc:postgresql://h/d".to_owned(),
            );
            let config = SinkConfig::parse(&map).map_err(|error| error.to_string())?;
            let value = Value::parse_json(r#"{"a":1}"#).unwrap();
            let mut record = Record::new("t", Value::Null, value);
            for value in ["first", "last"] {
                record.headers.push(Header {
                    name: Text::from("id"),
                    value: Value::text(value),
                });
            }
            let row = Row::of(&config, &taken(record))?.unwrap();
            let text = |(name, cell): (String, Cell)| format!("{name}={}", cell.text.unwrap());
            Ok::<Vec<String>, String>(row.key.into_iter().map(text).collect())
        };
        let place = [
            "__connect_topic=t",
            "__connect_partition=3",
            "__connect_offset=41",
        ];
        assert_eq!(key(&[("primary.key.mode", "kafka")]).unwrap(), place);
        let named = [
            ("primary.key.mode", "kafka"),
            ("primary.key.fields", "x,y,z"),
        ];
        assert_eq!(key(&named).unwrap(), ["x=t", "y=3", "z=41"]);
        let header = [
            ("primary.key.mode", "record_header"),
            ("primary.key.fields", "id"),
        ];
        assert_eq!(key(&header).unwrap(), ["id=last"]);
        for (keys, issue) in [
            (
                [("primary.key.mode", "kafka"), ("primary.key.fields", "x")],
                "three names",
            ),
            (
                [
                    ("primary.key.mode", "record_header"),
                    ("primary.key.fields", ""),
                ],
                "primary.key.mode=record_header",
            ),
            (
                [
                    ("primary.key.mode", "record_header"),
                    ("primary.key.fields", "no"),
                ],
                "no header \"no\"",
            ),
            (
                [("primary.key.mode", "none"), ("insert.mode", "update")],
                "insert.mode=update",
            ),
        ] {
            let error = key(&keys).unwrap_err();
            assert!(error.contains(issue), "{error}");
        }
    }

    #[test]
    fn names_without_quotes_are_lower_case() {
        let map: ConfigMap = [
            ("connection.url", "jdbc:postgresql://h/d"),
            ("primary.key.mode", "record_value"),
            ("primary.key.fields", "Id"),
            ("quote.identifiers", "false"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let config = SinkConfig::parse(&map).unwrap();
        let value = Value::parse_json(r#"{"Id":1,"Name":"a","NAME":"b"}"#).unwrap();
        let row = Row::of(&config, &taken(Record::new("Shop.T", Value::Null, value)));
        let row = row.unwrap().unwrap();
        assert_eq!(row.table.quoted(), "\"shop_t\"");
        let names = |list: &[(String, Cell)]| {
            let named = list.iter();
            let named =
                named.map(|(name, cell)| format!("{name}={}", cell.text.as_deref().unwrap()));
            named.collect::<Vec<String>>()
        };
        assert_eq!(names(&row.key), ["id=1"]);
        assert_eq!(names(&row.columns.unwrap()), ["id=1", "name=b"]);
    }

    #[test]
    fn events_are_told_from_rows() {
        let event = |text: &str| is_event(&Value::parse_json(text).unwrap());
        assert!(event(
            r#"{"before":null,"after":{"id":1},"source":{},"op":"c","ts_ms":1}"#
        ));
        assert!(!event(
            r#"{"after":{"id":1},"source":{},"op":"c","price":1}"#
        ));
        assert!(!event(r#"{"after":{"id":1},"op":"c"}"#));
        assert!(!event(r#"{"op":"buy","source":"web"}"#));
    }
}
