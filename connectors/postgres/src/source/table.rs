//! PURE: a captured table as its records see it: topic, schemas of key and value, and rows from tuples.

use std::sync::Arc;

use bytes::Bytes;
use connect_api::{Field, Schema, SchemaType, Struct, Value};

use super::catalog::ColumnEntry;
use super::filter::{Capture, Mask};
use super::kind::{self, Kind, Types};
use super::pgoutput::{Cell, Identity, Old, Tuple};
use super::render::{self, Rendering};
use super::view::KeyPart;

/// A column of the tuple that is sent on.
#[derive(Debug, Clone)]
struct Column {
    /// Its place in the tuple.
    place: usize,
    name: String,
    kind: Kind,
    schema: Arc<Schema>,
    mask: Option<Mask>,
}

/// The key of a table's records.
#[derive(Debug, Clone)]
struct Key {
    schema: Arc<Schema>,
    /// Places within `Table::columns`.
    columns: Vec<usize>,
}

/// A captured table. It never changes: another relation message makes another one.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// Its schema.
    pub(super) schema: String,
    /// Its name.
    pub(super) name: String,
    /// Where its records go.
    pub(super) topic: Arc<str>,
    /// Schema of the records' value.
    pub(super) envelope: Arc<Schema>,
    columns: Vec<Column>,
    row_schema: Arc<Schema>,
    key: Option<Key>,
    /// Places in the tuple that belong to the replica identity.
    identity: Vec<bool>,
    /// Places in the tuple and types of the primary key, in its order; empty where there is none, or where deletes do not
    /// tell it.
    primary: Vec<(usize, u32)>,
}

/// A column whose text is no value of its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column} of table {table}: {reason}; leave it out with column.exclude.list")]
pub(super) struct BadValue {
    table: String,
    column: String,
    reason: String,
}

/// What all tables of a connector share.
pub(super) struct Shapes<'a> {
    /// First part of the topics.
    pub(super) prefix: &'a str,
    /// Which columns are captured, and which keys were chosen.
    pub(super) capture: &'a Capture,
    /// The modes of rendering.
    pub(super) rendering: &'a Rendering,
    /// Types that are not built in.
    pub(super) types: &'a Types,
    /// Schema of the block that tells where a record comes from.
    pub(super) source: &'a Arc<Schema>,
}

/// A topic's name: what is no letter, digit, `.`, `_` or `-` becomes `_`.
pub(super) fn topic_name(prefix: &str, schema: &str, table: &str) -> String {
    format!("{prefix}.{schema}.{table}")
        .chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' => c,
            _ => '_',
        })
        .collect()
}

impl Table {
    /// The table of these columns.
    pub(super) fn new(
        shapes: &Shapes<'_>,
        schema: &str,
        name: &str,
        identity: Identity,
        entries: &[ColumnEntry],
    ) -> Self {
        let topic = topic_name(shapes.prefix, schema, name);
        let columns: Vec<Column> = entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| shapes.capture.column(schema, name, &entry.column.name))
            .filter_map(|(place, entry)| {
                let mask = shapes.capture.mask(schema, name, &entry.column.name);
                column(shapes, place, entry, mask)
            })
            .collect();
        let chosen = shapes.capture.key(schema, name);
        let key_columns = key_columns(&columns, entries, chosen);
        let schemas = Schemas::new(&topic, &columns, key_columns, shapes.source);
        let mut primary: Vec<(usize, usize, u32)> = entries
            .iter()
            .enumerate()
            .filter_map(|(place, entry)| Some((entry.key_place?, place, entry.column.type_oid)))
            .collect();
        primary.sort_unstable();
        // Under the identity of an index a delete does not tell the primary key.
        if identity == Identity::Index {
            primary.clear();
        }
        Self {
            schema: schema.to_owned(),
            name: name.to_owned(),
            topic: topic.into(),
            envelope: schemas.envelope,
            columns,
            row_schema: schemas.row,
            key: schemas.key,
            identity: entries.iter().map(|entry| entry.column.is_key).collect(),
            primary: primary
                .into_iter()
                .map(|(_, place, type_oid)| (place, type_oid))
                .collect(),
        }
    }

    /// `schema.table`.
    pub(super) fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Places of a whole row that are null though the catalog says that they never are: it is ahead of the row.
    pub(super) fn refused_nulls(&self, row: &Tuple) -> Vec<usize> {
        self.columns
            .iter()
            .filter(|column| {
                !column.schema.optional && matches!(row.get(column.place), Some(Cell::Null))
            })
            .map(|column| column.place)
            .collect()
    }

    /// The same table whose columns at these places may be null.
    pub(super) fn with_optional(&self, places: &[usize], source: &Arc<Schema>) -> Self {
        let mut table = self.clone();
        for column in &mut table.columns {
            if places.contains(&column.place) {
                column.schema = Arc::new(Schema::clone(&column.schema).optional());
            }
        }
        let key_columns = table.key.map(|key| key.columns).unwrap_or_default();
        let schemas = Schemas::new(&table.topic, &table.columns, key_columns, source);
        Self {
            envelope: schemas.envelope,
            row_schema: schemas.row,
            key: schemas.key,
            ..table
        }
    }

    /// Schema of the records' key; `None` where they have none.
    pub(super) fn key_schema(&self) -> Option<Arc<Schema>> {
        self.key.as_ref().map(|key| Arc::clone(&key.schema))
    }

    /// The key of a row.
    pub(super) fn key(&self, rendering: &Rendering, tuple: &Tuple) -> Result<Value, BadValue> {
        let Some(key) = &self.key else {
            return Ok(Value::Null);
        };
        let values = key
            .columns
            .iter()
            .map(|index| self.value(rendering, &self.columns[*index], tuple))
            .collect::<Result<_, _>>()?;
        Ok(Value::Struct(Struct::new(Arc::clone(&key.schema), values)))
    }

    /// A row as `before` or `after`.
    pub(super) fn row(&self, rendering: &Rendering, tuple: &Tuple) -> Result<Value, BadValue> {
        let values = self
            .columns
            .iter()
            .map(|column| self.value(rendering, column, tuple))
            .collect::<Result<_, _>>()?;
        Ok(Value::Struct(Struct::new(
            Arc::clone(&self.row_schema),
            values,
        )))
    }

    fn value(
        &self,
        rendering: &Rendering,
        column: &Column,
        tuple: &Tuple,
    ) -> Result<Value, BadValue> {
        let bad = |reason: String| BadValue {
            table: self.full_name(),
            column: column.name.clone(),
            reason,
        };
        // That there is nothing is hidden, too.
        if let (Some(mask @ Mask::Stars(_)), None | Some(Cell::Null), SchemaType::String) =
            (column.mask, tuple.get(column.place), &column.schema.kind)
        {
            return Ok(Value::text(mask.apply("")));
        }
        match tuple.get(column.place) {
            Some(Cell::Text(bytes)) if column.mask.is_some() => Ok(masked(column, bytes)),
            None | Some(Cell::Null) if column.schema.optional => Ok(Value::Null),
            None | Some(Cell::Null) => Ok(render::absent(&column.schema)),
            Some(Cell::Unchanged) => Ok(rendering.unavailable(&column.schema)),
            Some(Cell::Text(bytes)) => {
                let text =
                    std::str::from_utf8(bytes).map_err(|_| bad("it is not UTF-8".to_owned()))?;
                match rendering.value(&column.kind, text).map_err(bad)? {
                    Value::Null if !column.schema.optional => Err(bad(format!(
                        "{text} has no place in a column that is never null; set decimal.handling.mode=string, or of a time \
                         time.precision.mode=adaptive"
                    ))),
                    value => Ok(value),
                }
            }
        }
    }

    /// A row as the server sent it, for people: a JSON object of texts.
    pub(super) fn raw(&self, row: &Tuple) -> Bytes {
        let value = |column: &Column| match row.get(column.place) {
            Some(Cell::Text(bytes)) if column.mask.is_none() => {
                serde_json::Value::from(String::from_utf8_lossy(bytes))
            }
            _ => serde_json::Value::Null,
        };
        let object: serde_json::Map<String, serde_json::Value> = self
            .columns
            .iter()
            .map(|column| (column.name.clone(), value(column)))
            .collect();
        serde_json::Value::Object(object).to_string().into()
    }

    /// Takes what the new row lacks (large values that did not change) from the old one, where that is known.
    pub(super) fn complete(&self, new: &mut Tuple, old: Option<&Old>) {
        let Some(old) = old else {
            return;
        };
        for (place, cell) in new.iter_mut().enumerate() {
            if *cell == Cell::Unchanged
                && self.is_known(place, old)
                && let Some(before) = old.tuple().get(place)
            {
                cell.clone_from(before);
            }
        }
    }

    /// The old row's cells as far as they are told, the others from the new row: what its key was.
    pub(super) fn old_key_cells(&self, old: &Old, new: &Tuple) -> Tuple {
        let cell = |(place, cell): (usize, &Cell)| match new.get(place) {
            Some(new) if !self.is_known(place, old) => new.clone(),
            _ => cell.clone(),
        };
        old.tuple().iter().enumerate().map(cell).collect()
    }

    fn is_known(&self, place: usize, old: &Old) -> bool {
        matches!(old, Old::Row(_)) || self.identity.get(place).copied().unwrap_or(false)
    }

    /// Whether two rows differ in the columns of the record's key.
    pub(super) fn key_differs(&self, one: &Tuple, other: &Tuple) -> bool {
        self.key.as_ref().is_some_and(|key| {
            key.columns.iter().any(|index| {
                let place = self.columns[*index].place;
                one.get(place) != other.get(place)
            })
        })
    }

    /// Whether two whole rows differ in a captured column.
    pub(super) fn differs(&self, one: &Tuple, other: &Tuple) -> bool {
        self.columns
            .iter()
            .any(|column| one.get(column.place) != other.get(column.place))
    }

    /// The primary key of a row, where it is known here.
    pub(super) fn primary_key(&self, tuple: &Tuple) -> Option<Vec<KeyPart>> {
        let part = |(place, type_oid): &(usize, u32)| match tuple.get(*place) {
            Some(Cell::Text(bytes)) => KeyPart::parse(*type_oid, std::str::from_utf8(bytes).ok()?),
            _ => None,
        };
        let key: Option<Vec<KeyPart>> = self.primary.iter().map(part).collect();
        key.filter(|key| !key.is_empty())
    }

    /// The primary key as text, where it is known here.
    pub(super) fn primary_text(&self, tuple: &Tuple) -> Option<Vec<String>> {
        let part = |(place, _): &(usize, u32)| match tuple.get(*place) {
            Some(Cell::Text(bytes)) => std::str::from_utf8(bytes).ok().map(str::to_owned),
            _ => None,
        };
        let key: Option<Vec<String>> = self.primary.iter().map(part).collect();
        key.filter(|key| !key.is_empty())
    }

    /// Places in the tuple and types of the primary key's columns, where it is known here.
    pub(super) fn primary(&self) -> &[(usize, u32)] {
        &self.primary
    }
}

fn column(
    shapes: &Shapes<'_>,
    place: usize,
    entry: &ColumnEntry,
    mask: Option<Mask>,
) -> Option<Column> {
    let kind = kind::kind(entry.column.type_oid, entry.column.modifier, shapes.types);
    let mut schema = shapes.rendering.schema(&kind)?;
    schema.optional = !entry.not_null && entry.key_place.is_none();
    schema.default = entry
        .default
        .as_ref()
        .filter(|_| mask.is_none())
        .filter(|expression| !schema.optional || !expression.starts_with("nextval("))
        .and_then(|expression| render::default_value(shapes.rendering, &kind, expression));
    let told = match mask.filter(|_| schema.kind == SchemaType::String) {
        Some(Mask::Stars(_)) => Some(("masked", "true".to_owned())),
        Some(Mask::Cut(length)) => Some(("truncateLength", length.to_string())),
        None => None,
    };
    schema
        .parameters
        .extend(told.map(|(name, value)| (name.to_owned(), value)));
    Some(Column {
        place,
        name: entry.column.name.clone(),
        kind,
        schema: Arc::new(schema),
        mask,
    })
}

/// A hidden value: text as the mask shows it, anything else not at all.
fn masked(column: &Column, bytes: &[u8]) -> Value {
    match (column.mask, &column.schema.kind) {
        (Some(mask), SchemaType::String) => {
            Value::text(mask.apply(&String::from_utf8_lossy(bytes)))
        }
        _ if column.schema.optional => Value::Null,
        _ => render::absent(&column.schema),
    }
}

fn field(column: &Column) -> Field {
    Field {
        name: column.name.as_str().into(),
        schema: Arc::clone(&column.schema),
    }
}

/// The schemas that follow from the columns.
struct Schemas {
    row: Arc<Schema>,
    envelope: Arc<Schema>,
    key: Option<Key>,
}

impl Schemas {
    fn new(topic: &str, columns: &[Column], key_columns: Vec<usize>, source: &Arc<Schema>) -> Self {
        let structure = |fields: Vec<Field>, what: &str| {
            Schema::new(SchemaType::Struct(fields)).named(format!("{topic}.{what}"))
        };
        let row = structure(columns.iter().map(field).collect(), "Value");
        let key_fields: Vec<Field> = key_columns
            .iter()
            .filter_map(|index| columns.get(*index).map(field))
            .collect();
        Self {
            envelope: Arc::new(envelope(topic, &row, source)),
            row: Arc::new(row),
            key: (!key_fields.is_empty()).then(|| Key {
                schema: Arc::new(structure(key_fields, "Key")),
                columns: key_columns,
            }),
        }
    }
}

/// The columns that were chosen by hand, else the primary key in its order.
fn key_columns(
    columns: &[Column],
    entries: &[ColumnEntry],
    chosen: Option<&[String]>,
) -> Vec<usize> {
    if let Some(names) = chosen {
        let place = |name: &String| columns.iter().position(|column| column.name == *name);
        return names.iter().filter_map(place).collect();
    }
    let mut places: Vec<(usize, usize)> = columns
        .iter()
        .enumerate()
        .filter_map(|(index, column)| Some((entries.get(column.place)?.key_place?, index)))
        .collect();
    places.sort_unstable();
    places.into_iter().map(|(_, index)| index).collect()
}

fn envelope(topic: &str, row: &Schema, source: &Arc<Schema>) -> Schema {
    let row = Arc::new(row.clone().optional());
    let whole = |kind: SchemaType| Arc::new(Schema::new(kind).optional());
    let fields = [
        ("before", Arc::clone(&row)),
        ("after", row),
        ("source", Arc::clone(source)),
        ("transaction", Arc::new(transaction_block().optional())),
        ("op", Arc::new(Schema::new(SchemaType::String))),
        ("ts_ms", whole(SchemaType::Int64)),
        ("ts_us", whole(SchemaType::Int64)),
        ("ts_ns", whole(SchemaType::Int64)),
    ];
    let fields = fields.map(|(name, schema)| Field {
        name: name.into(),
        schema,
    });
    let mut schema =
        Schema::new(SchemaType::Struct(fields.into())).named(format!("{topic}.Envelope"));
    schema.version = Some(2);
    schema
}

/// The place of a record in its transaction.
pub(super) fn transaction_block() -> Schema {
    let fields = Schema::structure(vec![
        ("id", Schema::new(SchemaType::String)),
        ("total_order", Schema::new(SchemaType::Int64)),
        ("data_collection_order", Schema::new(SchemaType::Int64)),
    ]);
    render::named(fields.kind, "event.block")
}
