//! What the database's catalog says about tables, columns and types.

use super::kind::{self, TypeInfo, Types};
use super::pgoutput::{Identity, Relation, RelationColumn};
use super::wire::{Connection, Row, WireError, literal, text};

/// Types that one column may lead to: a domain over an array of a domain, and so on.
const TYPES_PER_COLUMN_MAX: usize = 16;

/// A table that might be captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableEntry {
    /// Its oid.
    pub(super) oid: u32,
    /// Its schema.
    pub(super) schema: String,
    /// Its name.
    pub(super) name: String,
    /// Its replica identity.
    pub(super) identity: Identity,
    /// Whether it has a primary key.
    pub(super) has_key: bool,
    /// Whether it is the root of partitions.
    pub(super) is_root: bool,
    /// About how many rows it has; `None` where the server never counted.
    pub(super) rows: Option<u64>,
}

/// A column, and what a relation message does not tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ColumnEntry {
    /// Name, type and modifier.
    pub(super) column: RelationColumn,
    /// Whether NULL is refused.
    pub(super) not_null: bool,
    /// The expression of its default.
    pub(super) default: Option<String>,
    /// Its place in the primary key.
    pub(super) key_place: Option<usize>,
}

fn number<T: std::str::FromStr + Default>(row: &Row, column: usize) -> T {
    text(row, column).parse().unwrap_or_default()
}

/// All tables of the database that are read by themselves: leaves of partitioned tables, or their roots.
pub(super) async fn tables(
    connection: &mut Connection,
    via_root: bool,
) -> Result<Vec<TableEntry>, WireError> {
    let which = if via_root {
        "c.relkind IN ('r', 'p') AND NOT c.relispartition"
    } else {
        "c.relkind = 'r'"
    };
    let rows = connection
        .query(&format!(
            "SELECT c.oid, n.nspname, c.relname, c.relreplident, c.relkind, \
             EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary), \
             CASE WHEN c.relkind = 'p' THEN -1 ELSE c.reltuples::bigint END \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE {which} AND c.relpersistence = 'p' \
             AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
             ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\""
        ))
        .await?;
    let entry = |row: &Row| TableEntry {
        oid: number(row, 0),
        schema: text(row, 1),
        name: text(row, 2),
        identity: match text(row, 3).as_str() {
            "n" => Identity::Nothing,
            "f" => Identity::Full,
            "i" => Identity::Index,
            _ => Identity::Default,
        },
        is_root: text(row, 4) == "p",
        has_key: text(row, 5) == "t",
        rows: text(row, 6).parse().ok(),
    };
    Ok(rows.iter().map(entry).collect())
}

/// What a publication sends of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Published {
    /// Schema and table.
    pub(super) table: (String, String),
    /// Its columns; `None` for all.
    pub(super) columns: Option<Vec<String>>,
    /// The condition of its rows.
    pub(super) filter: Option<String>,
}

/// What a publication sends; `lists` where the server knows lists of columns and filters of rows (PostgreSQL 15).
pub(super) async fn published(
    connection: &mut Connection,
    publication: &str,
    lists: bool,
) -> Result<Vec<Published>, WireError> {
    let more = if lists {
        "array_to_json(attnames), rowfilter"
    } else {
        "NULL, NULL"
    };
    let rows = connection
        .query(&format!(
            "SELECT schemaname, tablename, {more} FROM pg_publication_tables WHERE pubname = {}",
            literal(publication)
        ))
        .await?;
    let entry = |row: &Row| Published {
        table: (text(row, 0), text(row, 1)),
        columns: serde_json::from_str(&text(row, 2)).ok(),
        filter: Some(text(row, 3)).filter(|filter| !filter.is_empty()),
    };
    Ok(rows.iter().map(entry).collect())
}

/// The columns of a table that the server also publishes: generated ones are left out.
pub(super) async fn columns(
    connection: &mut Connection,
    table: u32,
) -> Result<Vec<ColumnEntry>, WireError> {
    let rows = connection
        .query(&format!(
            "SELECT a.attname, a.atttypid, a.atttypmod, a.attnotnull, pg_get_expr(d.adbin, d.adrelid), \
             array_position(i.indkey::int2[], a.attnum), a.attidentity \
             FROM pg_attribute a \
             LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
             LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary \
             WHERE a.attrelid = {table} AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' \
             ORDER BY a.attnum"
        ))
        .await?;
    let entry = |row: &Row| {
        let key_place = text(row, 5).parse().ok();
        ColumnEntry {
            column: RelationColumn {
                name: text(row, 0),
                type_oid: number(row, 1),
                modifier: text(row, 2).parse().unwrap_or(-1),
                is_key: key_place.is_some(),
            },
            not_null: text(row, 3) == "t",
            default: row.get(4).and_then(Option::as_ref).map(|_| text(row, 4)),
            key_place,
        }
    };
    Ok(rows.iter().map(entry).collect())
}

/// A relation message's columns with what the catalog adds to them. The catalog may be ahead of the message: columns
/// that it lacks by now are taken as they come, and may be null; a primary key that is another one by now is the
/// message's (its columns are those of the default identity), in the order of the columns.
pub(super) async fn described(
    connection: &mut Connection,
    relation: &Relation,
) -> Result<Vec<ColumnEntry>, WireError> {
    let known = columns(connection, relation.oid).await?;
    Ok(merged(relation, &known))
}

fn merged(relation: &Relation, known: &[ColumnEntry]) -> Vec<ColumnEntry> {
    let complete = |column: &RelationColumn| {
        let same = known.iter().find(|known| {
            known.column.name == column.name && known.column.type_oid == column.type_oid
        });
        ColumnEntry {
            column: column.clone(),
            not_null: same.is_some_and(|same| same.not_null),
            default: same.and_then(|same| same.default.clone()),
            key_place: same.and_then(|same| same.key_place),
        }
    };
    let mut merged: Vec<ColumnEntry> = relation.columns.iter().map(complete).collect();
    let told = relation.identity == Identity::Default;
    if told
        && merged
            .iter()
            .any(|entry| entry.column.is_key != entry.key_place.is_some())
    {
        for (place, entry) in merged.iter_mut().enumerate() {
            entry.key_place = entry.column.is_key.then_some(place);
        }
    }
    merged
}

/// Learns the types of these columns, those that are not built in anew: an enum may have got labels.
pub(super) async fn learn_types(
    connection: &mut Connection,
    columns: &[ColumnEntry],
    types: &mut Types,
) -> Result<(), WireError> {
    for column in columns {
        types.remove(&column.column.type_oid);
        for _ in 0..TYPES_PER_COLUMN_MAX {
            let Some(oid) = kind::missing(column.column.type_oid, types) else {
                break;
            };
            let info = type_info(connection, oid).await?;
            types.insert(oid, info);
        }
    }
    Ok(())
}

async fn type_info(connection: &mut Connection, oid: u32) -> Result<TypeInfo, WireError> {
    let rows = connection
        .query(&format!(
            "SELECT t.typname, t.typtype, t.typbasetype, t.typtypmod, \
             CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0 END, \
             (SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid) \
             FROM pg_type t WHERE t.oid = {oid}"
        ))
        .await?;
    // A type that was dropped is unknown.
    Ok(rows.first().map_or_else(TypeInfo::default, |row| TypeInfo {
        name: text(row, 0),
        class: text(row, 1),
        base: number(row, 2),
        base_modifier: text(row, 3).parse().unwrap_or(-1),
        element: number(row, 4),
        labels: text(row, 5),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, type_oid: u32, is_key: bool) -> RelationColumn {
        RelationColumn {
            name: name.to_owned(),
            type_oid,
            modifier: -1,
            is_key,
        }
    }

    fn entry(name: &str, key_place: Option<usize>) -> ColumnEntry {
        ColumnEntry {
            column: column(name, 23, key_place.is_some()),
            not_null: true,
            default: Some("7".to_owned()),
            key_place,
        }
    }

    #[test]
    fn a_catalog_that_is_ahead_does_not_change_what_the_message_tells() {
        let relation = |identity, columns| Relation {
            oid: 1,
            schema: "s".to_owned(),
            name: "t".to_owned(),
            identity,
            columns,
        };
        let old = || {
            vec![
                column("id", 23, true),
                column("n", 23, false),
                column("x", 25, false),
            ]
        };
        let places = |merged: &[ColumnEntry]| -> Vec<Option<usize>> {
            merged.iter().map(|entry| entry.key_place).collect()
        };

        let same = [entry("id", Some(0)), entry("n", None)];
        let merged_same = merged(&relation(Identity::Default, old()), &same);
        assert_eq!(places(&merged_same), [Some(0), None, None]);
        assert!(merged_same[1].not_null && merged_same[1].default.is_some());
        // A column that is gone, or has another type, may be null.
        assert!(!merged_same[2].not_null && merged_same[2].default.is_none());

        let ahead = [entry("n", Some(0)), entry("id", Some(1))];
        let merged_ahead = merged(&relation(Identity::Default, old()), &ahead);
        assert_eq!(places(&merged_ahead), [Some(0), None, None]);
        // Under another identity the flags tell nothing of the primary key.
        let merged_full = merged(&relation(Identity::Full, old()), &ahead);
        assert_eq!(places(&merged_full), [Some(1), Some(0), None]);
        let dropped = merged(&relation(Identity::Default, old()), &[]);
        assert_eq!(places(&dropped), [Some(0), None, None]);
    }
}
