//! Tables: what columns they have, and making and widening them.

use std::collections::HashMap;

use connect_api::ConnectError;

use super::cell::{Cell, Decimals, Kind};
use super::config::SinkConfig;
use super::failure::{self, Failure};
use super::row::{Row, TableName, quote};
use super::session::Session;

/// A table as the catalog has it.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    pub(super) columns: HashMap<String, Column>,
}

/// A column as the catalog has it.
#[derive(Debug, Clone)]
pub(super) struct Column {
    /// Its type as `format_type` prints it: of domains the type below, of texts and bits without their length,
    /// because a cast to a length cuts what is longer, and an assignment refuses it.
    pub(super) sql_type: String,
    /// The same with its length.
    pub(super) declared: String,
    /// Whether a row that leaves the column out is refused.
    pub(super) is_required: bool,
    /// The collation, quoted, if other bytes may be the same text under it (`deterministic = false`).
    pub(super) loose_collation: Option<String>,
}

/// The texts of a column's cells, in their order.
///
/// # Errors
/// [`Failure::Rows`] where one cannot be a value of the column.
pub(super) fn sent<'a>(
    name: &str,
    column: &Column,
    cells: impl Iterator<Item = &'a Cell>,
    decimals: Decimals,
) -> Result<Vec<Option<String>>, Failure> {
    cells
        .map(|cell| {
            cell.for_column(&column.declared, decimals)
                .map_err(|reason| Failure::Rows(format!("column \"{name}\" gets {reason}")))
        })
        .collect()
}

// `collisdeterministic` came with PostgreSQL 12: looked up by name, so that older servers answer too.
const COLUMNS: &str = "SELECT a.attname::text, format_type(b.oid, CASE WHEN coalesce(nullif(b.typelem, 0), b.oid) IN \
                       ('bpchar'::regtype, 'varchar'::regtype, '\"bit\"'::regtype, 'varbit'::regtype) THEN -1 \
                       WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END), \
                       format_type(b.oid, CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END), \
                       (a.attnotnull OR t.typnotnull) AND NOT a.atthasdef AND t.typdefault IS NULL \
                       AND coalesce(to_jsonb(a) ->> 'attidentity', '') = '', \
                       CASE to_jsonb(l) ->> 'collisdeterministic' \
                       WHEN 'false' THEN quote_ident(n.nspname) || '.' || quote_ident(l.collname) END \
                       FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
                       JOIN pg_type b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END \
                       LEFT JOIN pg_collation l ON l.oid = a.attcollation \
                       LEFT JOIN pg_namespace n ON n.oid = l.collnamespace \
                       WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped";

async fn read(session: &Session, name: &TableName) -> Result<Option<Table>, Failure> {
    let rows = session.client.query(COLUMNS, &[&name.quoted()]).await?;
    if rows.is_empty() {
        // A table may have no columns: its first rows were all NULL.
        let there = session
            .client
            .query_one("SELECT to_regclass($1) IS NOT NULL", &[&name.quoted()])
            .await?;
        return Ok(there.get::<_, bool>(0).then(Table::default));
    }
    let columns = rows
        .iter()
        .map(|row| {
            let column = Column {
                sql_type: row.get(1),
                declared: row.get(2),
                is_required: row.get(3),
                loose_collation: row.get(4),
            };
            (row.get(0), column)
        })
        .collect();
    Ok(Some(Table { columns }))
}

/// The key that names tables.
const NAME: &str = "collection.name.format";

/// Whether a table is there already.
///
/// # Errors
/// Where it is not, and cannot be made.
pub(super) async fn is_there(
    session: &Session,
    config: &SinkConfig,
    name: &TableName,
) -> Result<bool, Failure> {
    let sql = "SELECT $1::text IS NULL OR EXISTS (SELECT FROM pg_namespace WHERE nspname::text = $1), \
               to_regclass($2) IS NOT NULL";
    let row = session
        .client
        .query_one(sql, &[&name.schema, &name.quoted()])
        .await?;
    let (has_schema, is_there): (bool, bool) = (row.get(0), row.get(1));
    if let (Some(schema), false) = (&name.schema, has_schema) {
        let schema = quote(schema);
        let message =
            format!("there is no schema {schema} in the database: CREATE SCHEMA {schema} makes it");
        return Err(ConnectError::config(NAME, message).into());
    }
    if !is_there && !config.evolve {
        let message = format!(
            "there is no table {}, and schema.evolution=none makes none: make it first",
            name.quoted()
        );
        return Err(ConnectError::config(NAME, message).into());
    }
    Ok(is_there)
}

/// Why the rows of these columns cannot be taken: what the table lacks of them, and cannot be given.
pub(super) async fn cannot_get(
    session: &Session,
    config: &SinkConfig,
    name: &TableName,
    wanted: &[String],
) -> Result<Option<String>, Failure> {
    let sql = "SELECT ARRAY(SELECT quote_ident(w.name) FROM unnest($2::text[]) w(name) WHERE NOT EXISTS (SELECT FROM pg_attribute a \
               WHERE a.attrelid = c.oid AND a.attname::text = w.name AND a.attnum > 0 AND NOT a.attisdropped)), \
               c.relkind IN ('r', 'p', 'f'), pg_has_role(c.relowner, 'USAGE'), pg_get_userbyid(c.relowner)::text, current_user::text \
               FROM pg_class c WHERE c.oid = to_regclass($1)";
    let row = session
        .client
        .query_opt(sql, &[&name.quoted(), &wanted])
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let (lacking, grows, owned): (Vec<String>, bool, bool) = (row.get(0), row.get(1), row.get(2));
    if lacking.is_empty() {
        return Ok(None);
    }
    let (table, lacking) = (name.quoted(), lacking.join(", "));
    let lacks = format!("{table} has no column {lacking}");
    Ok(match (grows, owned, config.evolve) {
        (false, _, _) => Some(format!(
            "{lacks}, and a view is given none: CREATE OR REPLACE VIEW gives it the column, or the query leaves it out"
        )),
        (true, _, false) => Some(format!(
            "{lacks}, and schema.evolution=none adds none: ALTER TABLE {table} ADD COLUMN …, or leave schema.evolution out"
        )),
        (true, false, true) => {
            let (owner, user): (String, String) = (row.get(3), row.get(4));
            Some(format!(
                "{lacks}, and only its owner {owner} may add it, not {user}: have it added with ALTER TABLE {table} ADD COLUMN …"
            ))
        }
        (true, true, true) => None,
    })
}

/// Whether `ON CONFLICT` finds rows by these columns, which are sorted. Of a view nobody knows; a foreign table has none.
pub(super) async fn is_unique(
    session: &Session,
    name: &TableName,
    columns: &[String],
) -> Result<bool, Failure> {
    let sql = "SELECT c.relkind NOT IN ('r', 'p', 'f') OR EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid \
               AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL \
               AND ARRAY(SELECT a.attname::text COLLATE \"C\" FROM pg_attribute a WHERE a.attrelid = c.oid \
               AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]) ORDER BY 1) = $2::text[]) \
               FROM pg_class c WHERE c.oid = to_regclass($1)";
    let row = session
        .client
        .query_opt(sql, &[&name.quoted(), &columns])
        .await?;
    Ok(row.is_none_or(|row| row.get(0)))
}

/// Those of these columns that refuse NULL; none where the table is not there.
pub(super) async fn refusing_null(
    session: &Session,
    name: &TableName,
    columns: &[String],
) -> Result<Vec<String>, Failure> {
    let sql = "SELECT a.attname::text FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
               WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped \
               AND (a.attnotnull OR t.typnotnull) AND a.attname::text = ANY ($2) ORDER BY a.attnum";
    let rows = session
        .client
        .query(sql, &[&name.quoted(), &columns])
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Makes sure that every table of these rows is there with every column of them, as far as the configuration allows.
pub(super) async fn prepare(
    session: &mut Session,
    config: &SinkConfig,
    rows: &[(usize, Row)],
) -> Result<(), Failure> {
    let mut wanted: Vec<(&TableName, Vec<&Row>)> = Vec::new();
    for (_, row) in rows {
        match wanted.iter_mut().find(|(name, _)| *name == &row.table) {
            Some((_, rows)) => rows.push(row),
            None => wanted.push((&row.table, vec![row])),
        }
    }
    for (name, rows) in wanted {
        if !session.tables.contains_key(name)
            && let Some(table) = read(session, name).await?
        {
            session.tables.insert(name.clone(), table);
        }
        let mut kinds = kinds(&rows);
        for (column, kind) in &mut kinds {
            let mut known = config.column_types.iter().chain(&config.nullable_keys);
            if let Some((_, declared)) = known.find(|(known, _)| known == column) {
                *kind = Some(*declared);
            }
        }
        match session.tables.get(name) {
            None if rows.iter().all(|row| row.columns.is_none()) => {
                // Nothing can be deleted from a table that is not there.
            }
            None if !config.evolve => {
                return Err(ConnectError::config(
                    "schema.evolution",
                    format!(
                        "table {} does not exist; make it, or set basic",
                        name.quoted()
                    ),
                )
                .into());
            }
            None => create(session, config, name, &rows, &kinds).await?,
            Some(table) => {
                let missing: Vec<(String, Kind)> = kinds
                    .into_iter()
                    .filter(|(column, _)| !table.columns.contains_key(column))
                    .filter_map(|(column, kind)| Some((column, kind?)))
                    .collect();
                if !missing.is_empty() {
                    widen(session, config, name, &missing).await?;
                }
            }
        }
    }
    Ok(())
}

/// The kind that each column's values have in common, in order of first appearance.
fn kinds(rows: &[&Row]) -> Vec<(String, Option<Kind>)> {
    let mut order: Vec<(String, Option<Kind>)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (column, cell) in rows.iter().filter_map(|row| row.columns.as_ref()).flatten() {
        match places.get(column.as_str()) {
            Some(&place) => {
                let known = &mut order[place].1;
                *known = match (*known, cell.kind) {
                    (Some(a), Some(b)) => Some(a.join(b)),
                    (a, b) => a.or(b),
                };
            }
            None => {
                places.insert(column, order.len());
                order.push((column.clone(), cell.kind));
            }
        }
    }
    order
}

async fn create(
    session: &mut Session,
    config: &SinkConfig,
    name: &TableName,
    rows: &[&Row],
    kinds: &[(String, Option<Kind>)],
) -> Result<(), Failure> {
    // A column that was always NULL so far is added when its first value shows its type.
    let mut parts: Vec<String> = kinds
        .iter()
        .filter_map(|(column, kind)| Some(format!("{} {}", quote(column), (*kind)?.declared())))
        .collect();
    let key = rows
        .iter()
        .find(|row| row.columns.is_some())
        .map_or(&[][..], |row| &row.key[..]);
    if !key.is_empty() {
        let columns: Vec<String> = key.iter().map(|(column, _)| quote(column)).collect();
        let mut nullable = config.nullable_keys.iter();
        let takes_null = nullable.any(|(name, _)| key.iter().any(|(column, _)| column == name));
        let constraint = match takes_null {
            true if session.unique_nulls().await? => "UNIQUE NULLS NOT DISTINCT",
            // What has a NULL in it this does not hold to one row: `apply.rs` does.
            true => "UNIQUE",
            false => "PRIMARY KEY",
        };
        parts.push(format!("{constraint} ({})", columns.join(", ")));
    }
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {} ({})",
        name.quoted(),
        parts.join(", ")
    );
    let mut written = session.offsets.all().into_iter();
    let is_written = |topic: &str| config.table_of(topic) == *name;
    match written.any(|(partition, next)| next > 0 && is_written(&partition.topic)) {
        true => {
            let note = format!(
                "table {} was not there, though records of its topic were taken before: it was made again and lacks their rows; \
                 to have them, stop the connector, drop the table, reset the connector's offsets, and resume it",
                name.quoted()
            );
            tracing::warn!("{note}");
            session.notes.push(note);
        }
        false => tracing::info!(table = name.quoted(), "making the table"),
    }
    define(session, name, &sql).await
}

async fn widen(
    session: &mut Session,
    config: &SinkConfig,
    name: &TableName,
    missing: &[(String, Kind)],
) -> Result<(), Failure> {
    let columns: Vec<&str> = missing.iter().map(|(column, _)| column.as_str()).collect();
    if !config.evolve {
        return Err(ConnectError::config(
            "schema.evolution",
            format!(
                "table {} has no column {}; add it, or set basic",
                name.quoted(),
                columns.join(", ")
            ),
        )
        .into());
    }
    let parts: Vec<String> = missing
        .iter()
        .map(|(column, kind)| {
            format!(
                "ADD COLUMN IF NOT EXISTS {} {}",
                quote(column),
                kind.declared()
            )
        })
        .collect();
    tracing::info!(table = name.quoted(), ?columns, "adding columns");
    let sql = format!("ALTER TABLE {} {}", name.quoted(), parts.join(", "));
    define(session, name, &sql).await
}

/// Makes or alters a table and reads what it is then.
async fn define(session: &mut Session, name: &TableName, sql: &str) -> Result<(), Failure> {
    let done = session.client.batch_execute(sql).await;
    done.map_err(failure::of_definition)?;
    match read(session, name).await? {
        Some(table) => {
            session.tables.insert(name.clone(), table);
            Ok(())
        }
        None => Err(ConnectError::Transient(format!("table {} vanished", name.quoted())).into()),
    }
}
