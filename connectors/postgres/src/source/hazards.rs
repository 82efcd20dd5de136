//! What captured tables cost their database or their readers by what they are: nobody is kept from it, and everybody is told.

use std::collections::BTreeMap;

use super::catalog::TableEntry;
use super::health::shown;
use super::pgoutput::Identity;

/// Tables that a sentence names.
const NAMES_MAX: usize = 10;

/// PURE: what there is to know of these captured tables, a sentence each.
pub(super) fn hazards(tables: &[TableEntry]) -> Vec<String> {
    [without_key(tables), alike(tables)]
        .into_iter()
        .flatten()
        .collect()
}

/// The server refuses what it cannot tell, also to those who know nothing of a capture.
fn without_key(tables: &[TableEntry]) -> Option<String> {
    let lacking = |table: &&TableEntry| table.identity == Identity::Default && !table.has_key;
    let named = listed(tables.iter().filter(lacking).map(shown).collect())?;
    Some(format!(
        "tables without a primary key: the server refuses every UPDATE and DELETE of them while they are published; give them one, \
         or run ALTER TABLE … REPLICA IDENTITY FULL: {named}"
    ))
}

/// Lists match in any case, so one name may mean several tables.
fn alike(tables: &[TableEntry]) -> Option<String> {
    let mut spellings: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for table in tables {
        let name = format!("{}.{}", table.schema, table.name);
        let spelled = spellings.entry(name.to_lowercase()).or_default();
        spelled.push(shown(table));
    }
    let several = spellings.into_values().filter(|spelled| spelled.len() > 1);
    let named = listed(several.flatten().collect())?;
    Some(format!(
        "tables whose names differ by case alone are captured together, because table.include.list matches in any case; (?-i:…) \
         around an expression matches as it is written: {named}"
    ))
}

/// Names for a sentence; `None` where there are none.
fn listed(mut names: Vec<String>) -> Option<String> {
    let more = names.len().saturating_sub(NAMES_MAX);
    names.truncate(NAMES_MAX);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, has_key: bool) -> TableEntry {
        TableEntry {
            oid: 1,
            schema: "s".to_owned(),
            name: name.to_owned(),
            identity: Identity::Default,
            has_key,
            is_root: false,
            rows: None,
        }
    }

    #[test]
    fn what_captured_tables_cost_is_told() {
        let tables = [table("case", true), table("CASE", false), table("t", true)];
        let told = hazards(&tables);
        assert!(told[0].ends_with(": \"s\".\"CASE\""), "{told:?}");
        assert!(
            told[1].ends_with(": \"s\".\"case\", \"s\".\"CASE\""),
            "{told:?}"
        );
        assert_eq!(told.len(), 2);
        assert_eq!(hazards(&tables[2..]), Vec::<String>::new());
        let many: Vec<TableEntry> = (0..12).map(|n| table(&format!("t{n}"), false)).collect();
        let told = hazards(&many);
        assert!(told[0].ends_with("\"s\".\"t9\", 2 more"), "{told:?}");
    }
}
