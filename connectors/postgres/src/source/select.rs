//! How a table's rows are asked for, in the order of its key, and a sample of its keys.

use super::catalog::TableEntry;
use super::config::SourceConfig;
use super::table::Table;
use super::view::{KeyPart, Range};
use super::wire::{literal, quoted};

/// `SELECT names FROM table WHERE filters AND key > behind AND key <= to ORDER BY key`; without an order where the table has no key.
pub(super) fn select(
    config: &SourceConfig,
    entry: &TableEntry,
    table: &Table,
    names: &[String],
    range: &Range,
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
    let key = order(table, names);
    let mut sql = format!("SELECT {} FROM {from}", names.join(", "));
    let compared = |bound: &Option<Vec<String>>, how: &str| {
        let parts = bound.as_ref()?.iter().zip(table.primary());
        let values: Vec<String> = parts
            .map(|(part, (_, type_oid))| KeyPart::bound(*type_oid, &literal(part)))
            .collect();
        Some(format!("({key}) {how} ({})", values.join(", ")))
    };
    let bounds = compared(&range.behind, ">")
        .into_iter()
        .chain(compared(&range.to, "<="));
    let conditions: Vec<String> = filters.iter().cloned().chain(bounds).collect();
    if !conditions.is_empty() {
        sql = format!("{sql} WHERE {}", conditions.join(" AND "));
    }
    if !key.is_empty() {
        sql = format!("{sql} ORDER BY {key}");
    }
    sql
}

/// Keys of about `percent` of the pages of a table, as text, in order.
pub(super) fn sample(entry: &TableEntry, table: &Table, names: &[String], percent: f64) -> String {
    let key = table.primary().iter();
    let key: Vec<&str> = key
        .filter_map(|(place, _)| names.get(*place).map(String::as_str))
        .collect();
    format!(
        "SELECT {} FROM ONLY {}.{} TABLESAMPLE SYSTEM ({percent}) ORDER BY {}",
        key.join(", "),
        quoted(&entry.schema),
        quoted(&entry.name),
        order(table, names)
    )
}

/// What rows are ordered by; nothing where the table has no key.
fn order(table: &Table, names: &[String]) -> String {
    let key = table.primary().iter();
    let key: Vec<String> = key
        .filter_map(|(place, type_oid)| Some(KeyPart::order(*type_oid, names.get(*place)?)))
        .collect();
    key.join(", ")
}
