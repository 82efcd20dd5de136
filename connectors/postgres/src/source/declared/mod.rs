//! A captured table as SQL declares it: `CREATE SOURCE name WITH (connector = 'postgres-cdc', …)`.
//!
//! ```text
//! hostname, username, database.name, table.name, …  ──▶  database.hostname, database.user, …, and what SQL needs:
//!   topic.prefix  the object's name             slot.name, publication.name   thalweg_<name>, both made for it alone
//!   values        decimals and times as text, so that every type of SQL reads them with all their digits
//! ```
//!
//! | PostgreSQL | SQL |
//! |---|---|
//! | `smallint`, `integer`, `bigint`, `oid` | SMALLINT, INT, BIGINT |
//! | `real`, `double precision`, `boolean`, `bit(1)` | REAL, DOUBLE, BOOLEAN |
//! | `numeric(p,s)` up to 38 digits | DECIMAL(p,s) |
//! | `date`, `time`, `timestamp`, `timestamptz` | DATE, TIME, TIMESTAMP, TIMESTAMPTZ |
//! | `bytea` | BYTEA |
//! | arrays of these | the same with [] |
//! | everything else that has a text | TEXT |

mod places;
mod removal;
mod types;

use connect_api::{ConfigMap, ConnectError, DeclaredColumn, DeclaredTable, SoleUse, SourceOffsets};

use super::catalog::{self, ColumnEntry, TableEntry};
use super::config::{Autocreate, SnapshotMode, SourceConfig};
use super::filter::{exact_name, exactly};
use super::hazards::hazards;
use super::health::{Server, shown as shown_name};
use super::kind::{self, Types};
use super::offset::{self, Offset, Snapshot};
use super::pgoutput::Identity;
use super::plan::Slot;
use super::table::topic_name;
use super::wire::{Connection, quoted};
use super::{captured, connect, failed};
use crate::name;
use crate::place::server;

pub(super) use places::captured_places;
pub(super) use removal::remove;
use types::{large, size, sql_type};

/// Names that RisingWave, Flink CDC and people have for keys.
pub(super) const ALIASES: &[(&str, &str)] = &[
    ("hostname", "database.hostname"),
    ("port", "database.port"),
    ("username", "database.user"),
    ("user", "database.user"),
    ("password", "database.password"),
    ("database.name", "database.dbname"),
    ("database-name", "database.dbname"),
    ("dbname", "database.dbname"),
    ("sslmode", "database.sslmode"),
    ("ssl.mode", "database.sslmode"),
    ("schema.name", SCHEMA),
    ("schema-name", SCHEMA),
    ("table.name", TABLE),
    ("table-name", TABLE),
    ("decoding.plugin.name", "plugin.name"),
];

/// The schema of the table, in the names that SQL has for it.
const SCHEMA: &str = "schema.include.list";
/// The table.
const TABLE: &str = "table.include.list";
/// The publication.
const PUBLICATION: &str = "publication.name";
/// Tables that an error names.
const NAMES_MAX: usize = 10;
/// Operations that are not told. A truncation is a record without a key, which a compacted topic does not take.
const SKIPPED: &str = "skipped.operations";
/// What the names of slots and publications that objects have for themselves begin with.
const OWN: &str = "thalweg_";
/// What the longest name of a slot leaves for the object's.
const NAME_MAX: usize = 55;

/// The configuration of the connector behind the object `name`.
pub(super) fn config(name: &str, options: &ConfigMap) -> Result<ConfigMap, ConnectError> {
    let mut config = options.clone();
    let missing = |key: &str, option: &str| {
        ConnectError::config(key, format!("the option {option} is missing"))
    };
    for (key, option) in [
        ("database.hostname", "hostname = '…'"),
        ("database.user", "username = '…'"),
        ("database.dbname", "database.name = '…'"),
    ] {
        if !config.contains_key(key) {
            return Err(missing(key, option));
        }
    }
    let table = config
        .remove(TABLE)
        .ok_or_else(|| missing(TABLE, "table.name = 'schema.table'"))?;
    let (schema, table) = named(config.remove(SCHEMA).as_deref(), &table)?;
    // Both: a dot may be a letter of either name.
    config.insert(SCHEMA.to_owned(), exactly(&schema));
    config.insert(TABLE.to_owned(), exactly(&format!("{schema}.{table}")));
    let own = own_name(name);
    for key in ["slot.name", "publication.name"] {
        let others = |given: &&String| given.starts_with(OWN) && **given != own;
        if let Some(given) = config.get(key).filter(others) {
            let message = format!(
                "{given} belongs to another object, as every name that begins with {OWN}: leave it out, and it is {own}"
            );
            return Err(ConnectError::config(key, message));
        }
    }
    if let Some(given) = config.get(SKIPPED)
        && !given.split(',').any(|operation| operation.trim() == "t")
    {
        let message = format!(
            "has to skip truncations where SQL reads the topic, and '{given}' does not: add t, or leave it out"
        );
        return Err(ConnectError::config(SKIPPED, message));
    }
    let json = "org.apache.kafka.connect.json.JsonConverter";
    for (key, value) in [
        ("topic.prefix", name),
        ("slot.name", &own),
        ("publication.name", &own),
        ("publication.autocreate.mode", "filtered"),
        ("decimal.handling.mode", "string"),
        ("time.precision.mode", "isostring"),
        ("interval.handling.mode", "string"),
        ("infinity.handling.mode", "clip"),
        ("numeric.special.text", "postgres"),
        ("key.converter", json),
        ("key.converter.schemas.enable", "false"),
        ("value.converter", json),
        ("value.converter.schemas.enable", "false"),
    ] {
        config
            .entry(key.to_owned())
            .or_insert_with(|| value.to_owned());
    }
    for (key, value) in [
        ("key.converter", json),
        ("value.converter", json),
        ("decimal.handling.mode", "string"),
        ("time.precision.mode", "isostring"),
        ("binary.handling.mode", "bytes"),
        ("tombstones.on.delete", "true"),
    ] {
        if let Some(given) = config.get(key).filter(|given| *given != value) {
            let message =
                format!("is {value} where SQL reads the topic, not {given}: leave it out");
            return Err(ConnectError::config(key, message));
        }
    }
    Ok(config)
}

/// Schema and name of the table that the options name: as they are written, or in quotes, where dots are letters.
fn named(schema: Option<&str>, table: &str) -> Result<(String, String), ConnectError> {
    let parts = |key: &str, name: &str| {
        let parts = name::parts(name);
        parts.map_err(|why| ConnectError::config(key, format!("\"{name}\" {why}")))
    };
    let is_quoted = |name: &str| name.starts_with('"') || name.contains(".\"");
    let schema = match schema {
        Some(quoted) if is_quoted(quoted) => Some(parts(SCHEMA, quoted)?.join(".")),
        plain => plain.map(str::to_owned),
    };
    let parts = match table.split_once('.') {
        _ if is_quoted(table) => parts(TABLE, table)?,
        Some((first, rest)) if schema.as_deref().is_none_or(|schema| schema == first) => {
            vec![first.to_owned(), rest.to_owned()]
        }
        _ => vec![table.to_owned()],
    };
    match (schema, parts.as_slice()) {
        (schema, [table]) => Ok((
            schema.unwrap_or_else(|| "public".to_owned()),
            table.to_owned(),
        )),
        (None, [schema, table]) => Ok((schema.to_owned(), table.to_owned())),
        (Some(given), [schema, table]) if given == *schema => Ok((given, table.to_owned())),
        _ => {
            let message = format!(
                "{table} is not of the form table, schema.table or \"Schema\".\"Table\", with the schema that schema.name names"
            );
            Err(ConnectError::config(TABLE, message))
        }
    }
}

/// The name of the slot and of the publication that an object has for itself: lower case letters, digits and _. Only these go
/// with the object: nobody else is to use them.
fn own_name(name: &str) -> String {
    let plain = name.chars().map(|char| match char {
        'a'..='z' | '0'..='9' | '_' => char,
        'A'..='Z' => char.to_ascii_lowercase(),
        _ => '_',
    });
    let plain: String = plain.take(NAME_MAX).collect();
    format!("{OWN}{plain}")
}

/// The one table that a configuration captures.
pub(super) async fn table(map: &ConfigMap) -> Result<DeclaredTable, ConnectError> {
    let config = SourceConfig::parse(map)?;
    let (mut sql, server) = connect(&config).await?;
    let (mut tables, _) = captured(&mut sql, &config, config.via_root).await?;
    tables.retain(|table| config.capture.table(&table.schema, &table.name));
    let [table] = tables.as_slice() else {
        let message = match tables.as_slice() {
            [] => no_table(&mut sql, &config, map).await?,
            tables => format!("means {}, and SQL reads one table", names(tables)),
        };
        return Err(ConnectError::config(TABLE, message));
    };
    if let Some(unreadable) = server
        .unreadable(&mut sql, &tables)
        .await?
        .into_iter()
        .next()
    {
        return Err(unreadable.into());
    }
    let found = looked_up(&mut sql, table).await;
    let (columns, types) = found.map_err(|error| failed("looking up the table", error))?;
    let is_captured = |column: &&ColumnEntry| {
        let name = &column.column.name;
        config.capture.column(&table.schema, &table.name, name)
    };
    let columns: Vec<&ColumnEntry> = columns.iter().filter(is_captured).collect();
    let kind_of =
        |column: &ColumnEntry| kind::kind(column.column.type_oid, column.column.modifier, &types);
    let mut declared = Vec::new();
    let (mut unknown, mut sizes) = (Vec::new(), Vec::new());
    for column in &columns {
        let kind = kind_of(column);
        let name = column.column.name.clone();
        if column.key_place.is_none()
            && let Some(size) = size(column.column.type_oid, column.column.modifier, &kind)
        {
            sizes.push((name.clone(), size));
        }
        match sql_type(&kind) {
            Some(sql_type) => declared.push(DeclaredColumn { name, sql_type }),
            None => unknown.push(name),
        }
    }
    let key = key(&config, table, &columns)?;
    if !is_own(map, &config.publication) {
        let lost = server.publication_loses(&mut sql, &config, &tables).await?;
        if !lost.is_empty() {
            let message = publication_of_others(&config.publication, &lost, table);
            return Err(ConnectError::config(PUBLICATION, message));
        }
    }
    let mut notes = notes(table, &unknown, &large(sizes));
    notes.extend(slot_note(&mut sql, &server, &config, map).await?);
    Ok(DeclaredTable {
        topic: topic_name(&config.prefix, &table.schema, &table.name),
        columns: declared,
        key,
        notes,
    })
}

/// The slot, which has one reader, and a publication that is kept up to this connector's tables. Names of slots are a cluster's,
/// whatever its databases; the names that a host has for itself are one.
pub(super) fn sole_uses(map: &ConfigMap) -> Vec<SoleUse> {
    let Ok(config) = SourceConfig::parse(map) else {
        return Vec::new();
    };
    if config.snapshot_mode == SnapshotMode::InitialOnly {
        return Vec::new();
    }
    let server = server(&config.address.host, config.address.port);
    let database = &config.address.database;
    let mut uses = vec![SoleUse {
        key: "slot.name",
        what: format!("slot {} of {server}", config.slot),
        instead: "choose another slot.name",
    }];
    if config.autocreate == Autocreate::Filtered {
        uses.push(SoleUse {
            key: PUBLICATION,
            what: format!("publication {} of {server}/{database}", config.publication),
            instead: "choose another publication.name, or make one for both tables and say publication.autocreate.mode = 'disabled'",
        });
    }
    uses
}

/// Whether the first snapshot was read to its end, or there is none.
pub(super) fn is_filled(map: &ConfigMap, offsets: &SourceOffsets) -> bool {
    let Ok(config) = SourceConfig::parse(map) else {
        return true;
    };
    if config.snapshot_mode == SnapshotMode::NoData {
        return true;
    }
    let stored = offsets.get(&offset::partition(&config.prefix));
    // What is no offset says so where the task starts.
    let snapshot = stored.map(|stored| Offset::from_json(stored).map(|offset| offset.snapshot));
    !matches!(snapshot, None | Some(Ok(Snapshot::Running)))
}

/// That a publication has other tables, which a connector of this one would take out of it.
fn publication_of_others(publication: &str, lost: &[String], table: &TableEntry) -> String {
    let shown = lost.iter().take(NAMES_MAX).cloned();
    format!(
        "publication {publication} sends {} too, and the connector of one table would take it out: choose another name, or run \
         ALTER PUBLICATION {} ADD TABLE {}; and say publication.autocreate.mode = 'disabled'",
        shown.collect::<Vec<_>>().join(", "),
        quoted(publication),
        shown_name(table)
    )
}

/// Refuses a slot that somebody reads; says so where there is one that nobody reads.
async fn slot_note(
    sql: &mut Connection,
    server: &Server,
    config: &SourceConfig,
    map: &ConfigMap,
) -> Result<Option<String>, ConnectError> {
    let slot = &config.slot;
    if config.snapshot_mode == SnapshotMode::InitialOnly
        || server.slot(sql, slot).await? == Slot::Missing
    {
        return Ok(None);
    }
    if let Some(holder) = server.slot_holder(sql, slot).await? {
        let message = format!(
            "{holder} [{}]; a slot has one reader, and another one would lose changes",
            holder.code()
        );
        return Err(ConnectError::config("slot.name", message));
    }
    let then = if is_own(map, slot) { "drops" } else { "leaves" };
    Ok(Some(format!(
        "slot {slot} was there already and is taken over, so that nobody else may go on with it; DROP {then} it"
    )))
}

/// Whether the object has this slot or publication for itself.
fn is_own(map: &ConfigMap, name: &str) -> bool {
    map.get("name")
        .is_some_and(|object| own_name(object) == name)
}

/// What to say where there is no such table.
async fn no_table(
    sql: &mut Connection,
    config: &SourceConfig,
    map: &ConfigMap,
) -> Result<String, ConnectError> {
    let existing = catalog::tables(sql, config.via_root).await;
    let existing = existing.map_err(|error| failed("listing the tables", error))?;
    let wanted = map.get(TABLE).and_then(|pattern| exact_name(pattern));
    let database = &config.address.database;
    if let (Some(wanted), false) = (&wanted, config.via_root) {
        let whole = catalog::tables(sql, true).await;
        let whole = whole.map_err(|error| failed("listing the tables", error))?;
        let mut roots = whole.iter().filter(|table| table.is_root);
        if roots.any(|root| full_name(root) == *wanted) {
            return Ok(format!(
                "table {wanted} is partitioned: publish.via.partition.root = 'true' captures it as one table, and the name of a \
                 partition that one alone"
            ));
        }
    }
    let wanted = wanted.unwrap_or_default();
    let spelled = |table: &&TableEntry| full_name(table).to_lowercase() == wanted.to_lowercase();
    if let Some(other) = existing.iter().find(spelled) {
        let other = full_name(other);
        return Ok(format!(
            "database {database} has no table {wanted}, and {other} is another one, because names keep their case: \
             table.name = '{other}' if it is meant"
        ));
    }
    Ok(format!(
        "database {database} has no table {wanted}; it has {}",
        match existing.as_slice() {
            [] => "none".to_owned(),
            existing => names(existing),
        }
    ))
}

fn names(tables: &[TableEntry]) -> String {
    let mut names: Vec<String> = tables.iter().take(NAMES_MAX).map(full_name).collect();
    if tables.len() > NAMES_MAX {
        names.push(format!("{} more", tables.len() - NAMES_MAX));
    }
    names.join(", ")
}

async fn looked_up(
    sql: &mut Connection,
    table: &TableEntry,
) -> Result<(Vec<ColumnEntry>, Types), super::wire::WireError> {
    let columns = catalog::columns(sql, table.oid).await?;
    let mut types = Types::new();
    catalog::learn_types(sql, &columns, &mut types).await?;
    Ok((columns, types))
}

fn full_name(table: &TableEntry) -> String {
    format!("{}.{}", table.schema, table.name)
}

/// The columns of the record key.
fn key(
    config: &SourceConfig,
    table: &TableEntry,
    columns: &[&ColumnEntry],
) -> Result<Vec<String>, ConnectError> {
    if let Some(chosen) = config.capture.key(&table.schema, &table.name) {
        return Ok(chosen.to_vec());
    }
    let mut places: Vec<(usize, &str)> = columns
        .iter()
        .filter_map(|column| Some((column.key_place?, column.column.name.as_str())))
        .collect();
    places.sort_unstable();
    if places.is_empty() {
        let name = full_name(table);
        return Err(ConnectError::config(
            TABLE,
            format!(
                "table {name} has no primary key that is captured, so that nobody can tell which row a change is of: run \
                 ALTER TABLE {name} ADD PRIMARY KEY (…); or name columns with message.key.columns = '{name}:column'"
            ),
        ));
    }
    Ok(places.iter().map(|(_, name)| (*name).to_owned()).collect())
}

/// A table's name for SQL, quoted where it has to be.
fn in_sql(table: &TableEntry) -> String {
    let part = |name: &str| {
        let plain = |letter: char| letter.is_ascii_lowercase() || letter == '_';
        let is_plain = name.starts_with(plain)
            && (name.chars()).all(|letter| plain(letter) || letter.is_ascii_digit());
        match is_plain {
            true => name.to_owned(),
            false => quoted(name),
        }
    };
    format!("{}.{}", part(&table.schema), part(&table.name))
}

fn notes(table: &TableEntry, unknown: &[String], large: &[String]) -> Vec<String> {
    let mut notes = hazards(std::slice::from_ref(table));
    if !unknown.is_empty() {
        notes.push(format!(
            "columns whose types are not known are left out: {}",
            unknown.join(", ")
        ));
    }
    if table.identity != Identity::Full && !large.is_empty() {
        notes.push(format!(
            "an UPDATE that leaves a large value (about 2 kB and more) of {} as it is cannot be read, and is told where it \
             happens: ALTER TABLE {} REPLICA IDENTITY FULL sends it too",
            large.join(", "),
            in_sql(table)
        ));
    }
    notes
}

#[cfg(test)]
mod tests;
