//! Captured tables that are gone from the database, or are others than they were: the server says nothing of it in the stream,
//! and their rows here stay what they were.
//!
//! | found | told |
//! |---|---|
//! | no table of its oid | it was dropped |
//! | its oid under another name | it was renamed |
//! | its name at another oid | another table of this name: rows of both are in the topic |
//! | a column less | changes come without it |
//! | another primary key | changes come under it |

use std::collections::BTreeMap;

use super::Shared;
use super::catalog::TableEntry;
use super::wire::{Connection, text};

/// What became of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Dropped,
    Renamed {
        to: String,
        captured: bool,
    },
    /// Stays until the task ends: the rows of the former one are among those of the other.
    Another,
}

/// Of more tables the columns are not looked at.
const SHAPES_MAX: usize = 500;

/// The columns of a table that are captured, and those of its primary key in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Shape {
    columns: Vec<String>,
    key: Vec<String>,
}

#[derive(Debug)]
struct Known {
    oid: u32,
    fate: Option<Fate>,
    /// As it was first.
    shape: Option<Shape>,
    /// What is different now.
    changed: Vec<String>,
}

/// Remembers which tables there were, by `schema.table`.
#[derive(Debug, Default)]
pub(super) struct Gone(BTreeMap<String, Known>);

impl Gone {
    /// Looks at the captured tables, tells of those that are others now, and gives all. `None` where the database cannot be asked.
    pub(super) async fn look(
        &mut self,
        connection: &mut Connection,
        shared: &Shared,
    ) -> Option<Vec<TableEntry>> {
        let (server, config) = (&shared.server, &shared.config);
        let via_root = server.publishes_via_root(connection, &config.publication);
        let via_root = via_root.await.ok()?;
        let (mut tables, _) = super::captured(connection, config, via_root).await.ok()?;
        tables.retain(|table| config.capture.table(&table.schema, &table.name));
        let present: BTreeMap<String, u32> = tables
            .iter()
            .map(|table| (format!("{}.{}", table.schema, table.name), table.oid))
            .collect();
        let absent: Vec<String> = (self.0.iter())
            .filter(|(name, _)| !present.contains_key(*name))
            .map(|(_, known)| known.oid.to_string())
            .collect();
        let mut elsewhere = BTreeMap::new();
        if !absent.is_empty() {
            let sql = format!(
                "SELECT c.oid, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.oid IN ({})",
                absent.join(", ")
            );
            for row in connection.query(&sql).await.ok()? {
                let (schema, name) = (text(&row, 1), text(&row, 2));
                let captured = config.capture.table(&schema, &name);
                let oid = text(&row, 0).parse().ok()?;
                elsewhere.insert(oid, (format!("{schema}.{name}"), captured));
            }
        }
        for (name, fate) in self.compare(&present, &elsewhere) {
            match fate {
                Some(fate) => tracing::warn!(table = name, "{}", sentence(&name, &fate)),
                None => tracing::info!(table = name, "the table is there again"),
            }
        }
        if (1..=SHAPES_MAX).contains(&tables.len()) {
            let shapes = shapes(connection, shared, &tables).await?;
            for sentence in self.compare_shapes(shapes) {
                tracing::warn!("{sentence}");
            }
        }
        Some(tables)
    }

    /// What became of tables, a sentence each.
    pub(super) fn notes(&self) -> Vec<String> {
        let told = self.0.iter().flat_map(|(name, known)| {
            let fate = known.fate.as_ref().map(|fate| sentence(name, fate));
            fate.into_iter().chain(known.changed.iter().cloned())
        });
        told.collect()
    }

    /// PURE: takes what tables look like now, and gives what is new about them.
    fn compare_shapes(&mut self, shapes: BTreeMap<String, Shape>) -> Vec<String> {
        let mut news = Vec::new();
        for (name, now) in shapes {
            let Some(known) = self.0.get_mut(&name) else {
                continue;
            };
            let first = known.shape.get_or_insert_with(|| now.clone());
            let changed = differences(&name, first, &now);
            let before = std::mem::replace(&mut known.changed, changed);
            let new = known.changed.iter();
            news.extend(new.filter(|change| !before.contains(change)).cloned());
        }
        news
    }

    /// PURE: takes what there is now, and gives what is new about the tables that there were. `elsewhere` has the oids of
    /// tables that are not `present` under their names: with the name that they have, and whether that is captured.
    fn compare(
        &mut self,
        present: &BTreeMap<String, u32>,
        elsewhere: &BTreeMap<u32, (String, bool)>,
    ) -> Vec<(String, Option<Fate>)> {
        let mut news = Vec::new();
        for (name, known) in &mut self.0 {
            let fate = match present.get(name) {
                Some(oid) if *oid != known.oid => {
                    known.oid = *oid;
                    Some(Fate::Another)
                }
                Some(_) => known.fate.clone().filter(|fate| *fate == Fate::Another),
                None => match elsewhere.get(&known.oid) {
                    None => Some(Fate::Dropped),
                    // It became a part of another one.
                    Some((now, _)) if now == name => None,
                    Some((now, captured)) => Some(Fate::Renamed {
                        to: now.clone(),
                        captured: *captured,
                    }),
                },
            };
            if fate == known.fate {
                continue;
            }
            news.push((name.clone(), fate.clone()));
            known.fate = fate;
        }
        for (name, oid) in present {
            self.0.entry(name.clone()).or_insert_with(|| Known {
                oid: *oid,
                fate: None,
                shape: None,
                changed: Vec::new(),
            });
        }
        news
    }
}

/// The shapes of these tables.
async fn shapes(
    connection: &mut Connection,
    shared: &Shared,
    tables: &[TableEntry],
) -> Option<BTreeMap<String, Shape>> {
    let by_oid: BTreeMap<String, &TableEntry> = tables
        .iter()
        .map(|table| (table.oid.to_string(), table))
        .collect();
    let oids: Vec<&str> = by_oid.keys().map(String::as_str).collect();
    let sql = format!(
        "SELECT a.attrelid, a.attname, array_position(i.indkey::int2[], a.attnum) FROM pg_attribute a \
         LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary \
         WHERE a.attrelid IN ({}) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY 1, 3, a.attnum",
        oids.join(", ")
    );
    let capture = &shared.config.capture;
    let mut shapes = BTreeMap::new();
    for row in connection.query(&sql).await.ok()? {
        let column = text(&row, 1);
        let Some(table) = by_oid.get(&text(&row, 0)) else {
            continue;
        };
        let (schema, name) = (&table.schema, &table.name);
        let shape: &mut Shape = shapes.entry(format!("{schema}.{name}")).or_default();
        // A key that was chosen by hand does not follow the table's.
        if !text(&row, 2).is_empty() && capture.key(schema, name).is_none() {
            shape.key.push(column.clone());
        }
        if capture.column(schema, name, &column) {
            shape.columns.push(column);
        }
    }
    Some(shapes)
}

/// What a table has no more, and what its key is now.
fn differences(name: &str, first: &Shape, now: &Shape) -> Vec<String> {
    let lost: Vec<&str> = (first.columns.iter())
        .filter(|column| !now.columns.contains(column))
        .map(String::as_str)
        .collect();
    let mut changes = Vec::new();
    if !lost.is_empty() {
        changes.push(format!(
            "table {name} has no {} any more at the source (dropped or renamed): changes come without, and what reads them by the \
             old name finds nothing",
            lost.join(", ")
        ));
    }
    // A column of the key that was renamed is told already.
    if first.key != now.key
        && !first
            .key
            .iter()
            .any(|column| lost.contains(&column.as_str()))
    {
        let shown = |key: &[String]| match key {
            [] => "none".to_owned(),
            key => format!("({})", key.join(", ")),
        };
        changes.push(format!(
            "the primary key of table {name} is {} at the source, and was {}: records of one row may have different keys, and those \
             of different rows the same",
            shown(&now.key),
            shown(&first.key)
        ));
    }
    changes
}

fn sentence(name: &str, fate: &Fate) -> String {
    match fate {
        Fate::Dropped => format!(
            "table {name} is not there any more at the source: it was dropped, and its rows here stay as they were"
        ),
        Fate::Renamed { to, captured: true } => format!(
            "table {name} is not there any more at the source: it was renamed to {to}, and is captured under that name"
        ),
        Fate::Renamed {
            to,
            captured: false,
        } => format!(
            "table {name} is not there any more at the source: it was renamed to {to}, and its changes are not captured"
        ),
        Fate::Another => format!(
            "table {name} is another one than before at the source: rows of both are among those that were captured"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(tables: &[(&str, u32)]) -> BTreeMap<String, u32> {
        let named = tables.iter().map(|(name, oid)| ((*name).to_owned(), *oid));
        named.collect()
    }

    #[test]
    fn what_becomes_of_tables_is_told_once_and_kept_while_it_is_so() {
        let mut gone = Gone::default();
        let none = BTreeMap::new();
        let all = tables(&[("s.a", 1), ("s.b", 2), ("s.c", 3)]);
        assert_eq!(gone.compare(&all, &none), []);
        assert_eq!(gone.compare(&all, &none), []);

        let elsewhere = BTreeMap::from([(1, ("s.z".to_owned(), false))]);
        let fewer = tables(&[("s.c", 3)]);
        let news = gone.compare(&fewer, &elsewhere);
        let to = "s.z".to_owned();
        let captured = false;
        assert_eq!(
            news,
            [
                ("s.a".to_owned(), Some(Fate::Renamed { to, captured })),
                ("s.b".to_owned(), Some(Fate::Dropped)),
            ]
        );
        assert_eq!(gone.compare(&fewer, &elsewhere), []);
        let notes = gone.notes();
        assert!(
            notes[0].contains("s.a") && notes[0].contains("renamed to s.z"),
            "{notes:?}"
        );
        assert!(
            notes[1].contains("s.b") && notes[1].contains("dropped"),
            "{notes:?}"
        );

        // One has its name again, another one has the other's: that stays told.
        let again = tables(&[("s.a", 1), ("s.b", 20), ("s.c", 3)]);
        let news = gone.compare(&again, &none);
        assert_eq!(
            news,
            [
                ("s.a".to_owned(), None),
                ("s.b".to_owned(), Some(Fate::Another)),
            ]
        );
        assert_eq!(gone.compare(&again, &none), []);
        let notes = gone.notes();
        assert!(
            notes.len() == 1 && notes[0].contains("s.b is another one"),
            "{notes:?}"
        );
    }

    #[test]
    fn columns_and_keys_that_are_others_are_told_until_they_are_as_they_were() {
        let mut gone = Gone::default();
        gone.compare(&tables(&[("s.a", 1)]), &BTreeMap::new());
        let shape = |columns: &[&str], key: &[&str]| {
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let shape = Shape {
                columns: names(columns),
                key: names(key),
            };
            BTreeMap::from([("s.a".to_owned(), shape)])
        };
        let none: [&str; 0] = [];
        let first = shape(&["id", "n"], &["id"]);
        assert_eq!(gone.compare_shapes(first.clone()), none);
        // One more is taken as it comes.
        assert_eq!(gone.compare_shapes(shape(&["id", "n", "x"], &["id"])), none);
        let other = shape(&["id", "m"], &["id", "m"]);
        let news = gone.compare_shapes(other.clone());
        assert!(news[0].contains("has no n any more"), "{news:?}");
        assert!(
            news[1].contains("is (id, m) at the source, and was (id)"),
            "{news:?}"
        );
        assert_eq!(gone.compare_shapes(other), none);
        assert_eq!(gone.notes(), news);
        assert_eq!(gone.compare_shapes(first), none);
        assert_eq!(gone.notes(), none);
    }

    #[test]
    fn a_table_that_became_a_partition_is_not_gone() {
        let mut gone = Gone::default();
        gone.compare(&tables(&[("s.a", 1)]), &BTreeMap::new());
        let elsewhere = BTreeMap::from([(1, ("s.a".to_owned(), true))]);
        assert_eq!(gone.compare(&tables(&[]), &elsewhere), []);
    }
}
