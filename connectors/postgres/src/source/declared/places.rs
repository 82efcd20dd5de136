//! Which connectors capture what is written to a table, whatever name of it, of its parts or of its server is said.
//!
//! ```text
//! configurations ── of one address ──▶ one connection ──▶ the server, its tables and their parts ──▶ those that the filters take
//! ```

use std::collections::{BTreeMap, BTreeSet};

use connect_api::{CapturedPlace, ConfigMap, ServerIdentity, TablePlace};
use tokio::task::JoinSet;

use crate::place::{self, ASK_TIMEOUT, TextRow};
use crate::source::catalog;
use crate::source::config::{SnapshotMode, SourceConfig};
use crate::source::table::topic_name;
use crate::source::wire::{Address, Connection, Purpose, Row, text};

/// What a server says of itself and its tables.
struct Said {
    server: ServerIdentity,
    tables: Vec<Found>,
}

/// A table that may be captured.
struct Found {
    schema: String,
    name: String,
    /// Numbers of the tables whose changes are this one's: its own, and those of its parts.
    numbers: BTreeSet<u32>,
}

/// What is known of the database of a configuration.
struct Database {
    address: Address,
    /// By the names of its host.
    name: String,
    said: Option<Said>,
}

/// The topics of what is written to these tables.
pub(in crate::source) async fn captured_places(
    maps: &[&ConfigMap],
    places: &[TablePlace],
) -> Vec<CapturedPlace> {
    let parsed = maps.iter().map(|map| SourceConfig::parse(map).ok());
    // One that reads its tables once sees nothing that is written later.
    let follows = |config: &SourceConfig| config.snapshot_mode != SnapshotMode::InitialOnly;
    let configs: Vec<Option<SourceConfig>> = parsed.map(|config| config.filter(follows)).collect();
    if places.is_empty() {
        return Vec::new();
    }
    let databases = databases(configs.iter().flatten()).await;
    let mut captured = Vec::new();
    for (source, config) in configs.iter().enumerate() {
        let Some(config) = config else { continue };
        let same = |database: &&Database| is_same(&database.address, &config.address);
        let Some(database) = databases.iter().find(same) else {
            continue;
        };
        for (place, at) in places.iter().enumerate() {
            let topics = topics_of(config, database, at);
            captured.extend(topics.into_iter().map(|topic| CapturedPlace {
                source,
                place,
                topic,
            }));
        }
    }
    captured
}

/// PURE: the topics of what is written to a table, one for each captured table that the write reaches.
fn topics_of(config: &SourceConfig, database: &Database, place: &TablePlace) -> Vec<String> {
    let takes = |schema: &str, table: &str| config.capture.table(schema, table);
    let topic = |schema: &str, table: &str| topic_name(&config.prefix, schema, table);
    let by_name = || {
        let mut schemas = place.schemas.iter();
        let schema = schemas.find(|schema| takes(schema, &place.table));
        let topic = schema.map(|schema| topic(schema, &place.table));
        topic.into_iter().collect()
    };
    let (Some(table), Some(said)) = (&place.said, &database.said) else {
        let is_there = database.name == place.database;
        return if is_there { by_name() } else { Vec::new() };
    };
    if !table.server.is_seen_in(&said.server) {
        return Vec::new();
    }
    if table.tables.is_empty() {
        // It will be made under this name.
        return by_name();
    }
    let is_written = |found: &&Found| !found.numbers.is_disjoint(&table.tables);
    let written = said.tables.iter().filter(is_written);
    let captured = written.filter(|found| takes(&found.schema, &found.name));
    captured
        .map(|found| topic(&found.schema, &found.name))
        .collect()
}

fn is_same(one: &Address, other: &Address) -> bool {
    (&one.host, one.port, &one.database, &one.user)
        == (&other.host, other.port, &other.database, &other.user)
}

/// The databases of configurations, each asked once.
async fn databases(configs: impl Iterator<Item = &SourceConfig>) -> Vec<Database> {
    let mut addresses: Vec<Address> = Vec::new();
    for config in configs {
        if !addresses
            .iter()
            .any(|known| is_same(known, &config.address))
        {
            addresses.push(config.address.clone());
        }
    }
    let mut asked = JoinSet::new();
    for address in addresses {
        asked.spawn(async move {
            let server = place::server_looked_up(&address.host, address.port).await;
            let said = tokio::time::timeout(ASK_TIMEOUT, ask(&address)).await;
            Database {
                name: format!("{server}/{}", address.database),
                said: said.ok().flatten(),
                address,
            }
        });
    }
    asked.join_all().await
}

async fn ask(address: &Address) -> Option<Said> {
    let mut sql = Connection::open(address, Purpose::Sql).await.ok()?;
    let server = texts(&sql.query(place::SERVER).await.ok()?);
    // Not everybody may know it.
    let system = sql.query(place::SYSTEM).await;
    let system = system.map(|rows| texts(&rows)).unwrap_or_default();
    let server = place::identity(server.first()?, system.first())?;
    let mut parts: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for row in sql.query(place::PARTS).await.ok()? {
        let part = text(&row, 1).parse().ok()?;
        parts.entry(text(&row, 0)).or_default().insert(part);
    }
    let mut tables = BTreeMap::new();
    for via_root in [false, true] {
        for table in catalog::tables(&mut sql, via_root).await.ok()? {
            let mut numbers = parts.remove(&table.oid.to_string()).unwrap_or_default();
            numbers.insert(table.oid);
            let found = Found {
                schema: table.schema,
                name: table.name,
                numbers,
            };
            tables.entry(table.oid).or_insert(found);
        }
    }
    sql.close().await;
    Some(Said {
        server,
        tables: tables.into_values().collect(),
    })
}

fn texts(rows: &[Row]) -> Vec<TextRow> {
    let texts = |row: &Row| -> TextRow {
        let columns = row.iter().enumerate();
        let value =
            |(column, value): (usize, &Option<_>)| value.as_ref().map(|_| text(row, column));
        columns.map(value).collect()
    };
    rows.iter().map(texts).collect()
}

#[cfg(test)]
mod tests {
    use connect_api::ServerTable;

    use super::super::tests::map;
    use super::*;

    fn place(database: &str, schemas: &[&str]) -> TablePlace {
        TablePlace {
            database: database.to_owned(),
            schemas: schemas.iter().map(|schema| (*schema).to_owned()).collect(),
            table: "orders".to_owned(),
            said: None,
        }
    }

    /// Of a table `shop.orders`, or of another option.
    fn config(options: &[(&str, &str)]) -> SourceConfig {
        let made = super::super::config("o", &map(options)).unwrap();
        SourceConfig::parse(&made).unwrap()
    }

    fn database(config: &SourceConfig, said: Option<Said>) -> Database {
        Database {
            address: config.address.clone(),
            name: "localhost:5432/d".to_owned(),
            said,
        }
    }

    #[test]
    fn a_server_that_says_nothing_is_known_by_its_names() {
        let config = config(&[("table.include.list", "shop.orders")]);
        let database = database(&config, None);
        let topic = vec!["o.shop.orders".to_owned()];
        for (place, expected) in [
            (place("localhost:5432/d", &["shop"]), &topic),
            (place("localhost:5432/d", &["u", "shop"]), &topic),
            (place("localhost:5433/d", &["shop"]), &Vec::new()),
            (place("localhost:5432/e", &["shop"]), &Vec::new()),
            (place("localhost:5432/d", &["public"]), &Vec::new()),
        ] {
            assert_eq!(topics_of(&config, &database, &place), *expected, "{place}");
        }
    }

    #[test]
    fn a_table_is_known_by_its_number_whatever_leads_to_it() {
        let server = |run: &str| ServerIdentity {
            system: "7".to_owned(),
            run: run.to_owned(),
            follows: false,
            database: 5,
        };
        let options = map(&[("table.include.list", "shop.orders")]);
        let mut made = super::super::config("o", &options).unwrap();
        made.insert("table.include.list".into(), "shop.orders,shop.heir".into());
        let config = SourceConfig::parse(&made).unwrap();
        let found = |name: &str, numbers: &[u32]| Found {
            schema: "shop".to_owned(),
            name: name.to_owned(),
            numbers: numbers.iter().copied().collect(),
        };
        let said = Said {
            server: server("monday"),
            tables: vec![
                found("orders", &[10, 11]),
                found("other", &[12]),
                found("heir", &[13]),
            ],
        };
        let database = database(&config, Some(said));
        let at = |run: &str, numbers: &[u32], schemas: &[&str]| {
            let said = Some(ServerTable {
                server: server(run),
                tables: numbers.iter().copied().collect(),
            });
            let place = TablePlace {
                said,
                ..place("elsewhere:1/x", schemas)
            };
            topics_of(&config, &database, &place)
        };
        let topic = vec!["o.shop.orders".to_owned()];
        let none = Vec::<String>::new();
        // A view over it, and one of its partitions.
        assert_eq!(at("monday", &[99, 10], &["public"]), topic);
        assert_eq!(at("monday", &[11], &["public"]), topic);
        assert_eq!(at("monday", &[12], &["shop"]), none);
        assert_eq!(at("tuesday", &[10], &["shop"]), none);
        // A parent of two that are captured: each has its topic.
        let both = ["o.shop.orders", "o.shop.heir"].map(str::to_owned);
        assert_eq!(at("monday", &[9, 10, 13], &["public"]), both);
        // One that will be made.
        assert_eq!(at("monday", &[], &["shop"]), topic);
        assert_eq!(at("monday", &[], &["public"]), none);
    }
}
