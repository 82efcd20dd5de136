//! How a table's rows are asked for, in the order of its key.

use super::catalog::TableEntry;
use super::config::SourceConfig;
use super::table::Table;
use super::view::KeyPart;
use super::wire::{literal, quoted};

/// `SELECT names FROM table WHERE filters AND key > behind ORDER BY key`; without an order where the table has no key.
pub(super) fn select(
    config: &SourceConfig,
    entry: &TableEntry,
    table: &Table,
    names: &[String],
    behind: Option<&[String]>,
    filters: &[String],
) -> String {
    let name = format!("{}.{}", entry.schema, entry.name);
    let from = match config.selects.iter().find(|(table, _)| *table == name) {
        Some((_, select)) => format!("({}) AS rows", select.trim().trim_end_matches(';')),
        None => {
            let only = if entry.is_root { "" } else { "ONLY " };
            format!("{only}{}.{}", quoted(&entry.schema), quoted(&entry.name))
        }
    };
    let key: Vec<String> = table
        .primary()
        .iter()
        .filter_map(|(place, type_oid)| Some(KeyPart::order(*type_oid, names.get(*place)?)))
        .collect();
    let key = key.join(", ");
    let mut sql = format!("SELECT {} FROM {from}", names.join(", "));
    let behind = behind.map(|behind| {
        let parts = behind.iter().zip(table.primary());
        let values: Vec<String> = parts
            .map(|(part, (_, type_oid))| KeyPart::bound(*type_oid, &literal(part)))
            .collect();
        format!("({key}) > ({})", values.join(", "))
    });
    let conditions: Vec<String> = filters.iter().cloned().chain(behind).collect();
    if !conditions.is_empty() {
        sql = format!("{sql} WHERE {}", conditions.join(" AND "));
    }
    if !key.is_empty() {
        sql = format!("{sql} ORDER BY {key}");
    }
    sql
}
