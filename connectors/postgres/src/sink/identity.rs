//! Which rows of a batch mean the same row of a table.
//!
//! One key has many spellings (`A0EE…` and `a0ee…`, `1.0` and `1.00`, a time in two zones), and only the database
//! knows which. It is asked once a batch and table, except where the text decides anyway:
//!
//! ```text
//! SELECT dense_rank() OVER (ORDER BY c1::uuid) FROM unnest($1::text[]) WITH ORDINALITY AS u(c1, n) ORDER BY n
//! ```

use std::collections::HashMap;

use super::cell::{Cell, Kind, cast};
use super::failure::Failure;
use super::row::{Row, TableName};
use super::session::Session;
use super::table::Table;

/// Equal for rows of a batch that have the same key in the same table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    group: usize,
    number: i64,
}

/// Rows whose keys can be compared: of one table, with the same key columns.
struct Group<'a> {
    table: &'a TableName,
    key: &'a [(String, Cell)],
    places: Vec<usize>,
}

/// The identity of each row.
///
/// # Errors
/// Keys that the database cannot read as their columns' types.
pub(super) async fn of_rows(
    session: &mut Session,
    rows: &[(usize, Row)],
) -> Result<Vec<Identity>, Failure> {
    let mut groups: Vec<Group> = Vec::new();
    for (place, (_, row)) in rows.iter().enumerate() {
        let fits = |group: &&mut Group| {
            group.table == &row.table
                && group.key.len() == row.key.len()
                && group
                    .key
                    .iter()
                    .zip(&row.key)
                    .all(|((a, _), (b, _))| a == b)
        };
        match groups.iter_mut().find(fits) {
            Some(group) => group.places.push(place),
            None => groups.push(Group {
                table: &row.table,
                key: &row.key,
                places: vec![place],
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
        let keys: Vec<&[(String, Cell)]> = group
            .places
            .iter()
            .map(|place| &*rows[*place].1.key)
            .collect();
        let numbers = match session.tables.get(group.table).cloned() {
            Some(table) if !text_decides(&keys, &table) => {
                by_database(session, &keys, &table).await?
            }
            _ => by_text(&keys),
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

fn text_decides(keys: &[&[(String, Cell)]], table: &Table) -> bool {
    keys.iter().flat_map(|key| key.iter()).all(|(name, cell)| {
        match table.columns.get(name).map(String::as_str) {
            // Writing will say that there is no such column.
            None | Some("text" | "character varying") => true,
            Some("smallint" | "integer" | "bigint") => matches!(
                cell.kind,
                Some(Kind::SmallInt | Kind::Integer | Kind::BigInt)
            ),
            Some(_) => false,
        }
    })
}

fn by_text(keys: &[&[(String, Cell)]]) -> Vec<i64> {
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
    keys: &[&[(String, Cell)]],
    table: &Table,
) -> Result<Vec<i64>, Failure> {
    let mut parameters = Vec::new();
    let mut casts = Vec::new();
    for (place, (name, _)) in keys[0].iter().enumerate() {
        let Some(column_type) = table.columns.get(name) else {
            continue;
        };
        casts.push(cast(&format!("u.c{}", casts.len() + 1), column_type));
        parameters.push(
            keys.iter()
                .map(|key| key[place].1.for_column(column_type))
                .collect(),
        );
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
