//! Which rows of a batch mean the same row of a table.
//!
//! One key has many spellings (`A0EE…` and `a0ee…`, `1.0` and `1.00`, a time in two zones), and only the database
//! knows which. It is asked once a batch and table, except where the text decides anyway:
//!
//! ```text
//! SELECT dense_rank() OVER (ORDER BY c1::uuid) FROM unnest($1::text[]) WITH ORDINALITY AS u(c1, n) ORDER BY n
//! ```
//!
//! The order in which a key names its columns says nothing: `{"x":1,"y":2}` is `{"y":2,"x":1}`.

use std::collections::HashMap;

use super::cell::{Cell, Decimals, Kind, cast};
use super::failure::Failure;
use super::row::{Row, TableName};
use super::session::Session;
use super::table::{Table, sent};

/// Equal for rows of a batch that have the same key in the same table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    group: usize,
    number: i64,
}

/// The columns of a key, by name.
type Key<'a> = Vec<&'a (String, Cell)>;

/// Rows whose keys can be compared: of one table, with the same key columns.
struct Group<'a> {
    table: &'a TableName,
    places: Vec<usize>,
    keys: Vec<Key<'a>>,
}

/// The identity of each row.
///
/// # Errors
/// Keys that the database cannot read as their columns' types.
pub(super) async fn of_rows(
    session: &mut Session,
    rows: &[(usize, Row)],
    decimals: Decimals,
) -> Result<Vec<Identity>, Failure> {
    let mut groups: Vec<Group> = Vec::new();
    for (place, (_, row)) in rows.iter().enumerate() {
        let mut key: Key = row.key.iter().collect();
        key.sort_by(|(a, _), (b, _)| a.cmp(b));
        let fits =
            |group: &&mut Group| group.table == &row.table && same_names(&group.keys[0], &key);
        match groups.iter_mut().find(fits) {
            Some(group) => {
                group.places.push(place);
                group.keys.push(key);
            }
            None => groups.push(Group {
                table: &row.table,
                places: vec![place],
                keys: vec![key],
            }),
        }
    }
    let mut identities = vec![
        Identity {
            group: 0,
            number: 0
        };
        rows.len()
    ];
    for (number_of_group, group) in groups.iter().enumerate() {
        let numbers = match session.tables.get(group.table).cloned() {
            Some(table) if !text_decides(&group.keys, &table) => {
                by_database(session, &group.keys, &table, decimals).await?
            }
            _ => by_text(&group.keys),
        };
        for (place, number) in group.places.iter().zip(numbers) {
            identities[*place] = Identity {
                group: number_of_group,
                number,
            };
        }
    }
    Ok(identities)
}

fn same_names(a: &Key, b: &Key) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|((a, _), (b, _))| a == b)
}

fn text_decides(keys: &[Key], table: &Table) -> bool {
    keys.iter().flatten().all(|(name, cell)| {
        // Writing will say that there is no such column.
        let Some(column) = table.columns.get(name) else {
            return true;
        };
        match &*column.sql_type {
            "text" | "character varying" => column.loose_collation.is_none(),
            "smallint" | "integer" | "bigint" => matches!(
                cell.kind,
                Some(Kind::SmallInt | Kind::Integer | Kind::BigInt)
            ),
            _ => false,
        }
    })
}

fn by_text(keys: &[Key]) -> Vec<i64> {
    let mut numbers: HashMap<Vec<Option<&str>>, i64> = HashMap::new();
    keys.iter()
        .zip(0..)
        .map(|(key, next)| {
            let texts = key.iter().map(|(_, cell)| cell.text.as_deref()).collect();
            *numbers.entry(texts).or_insert(next)
        })
        .collect()
}

async fn by_database(
    session: &mut Session,
    keys: &[Key<'_>],
    table: &Table,
    decimals: Decimals,
) -> Result<Vec<i64>, Failure> {
    let mut parameters = Vec::new();
    let mut casts = Vec::new();
    for (place, (name, _)) in keys[0].iter().enumerate() {
        let Some(column) = table.columns.get(name) else {
            continue;
        };
        let value = cast(&format!("u.c{}", casts.len() + 1), &column.sql_type);
        casts.push(match &column.loose_collation {
            Some(collation) => format!("{value} COLLATE {collation}"),
            None => value,
        });
        let cells = keys.iter().map(|key| &key[place].1);
        parameters.push(sent(name, column, cells, decimals)?);
    }
    let numbers = 1..=casts.len();
    let arrays: Vec<String> = numbers.clone().map(|n| format!("${n}::text[]")).collect();
    let aliases: Vec<String> = numbers.map(|n| format!("c{n}")).collect();
    let sql = format!(
        "SELECT dense_rank() OVER (ORDER BY {}) FROM unnest({}) WITH ORDINALITY AS u({}, n) ORDER BY u.n",
        casts.join(", "),
        arrays.join(", "),
        aliases.join(", ")
    );
    let found = session.query(&sql, &parameters).await?;
    Ok(found.iter().map(|row| row.get(0)).collect())
}
