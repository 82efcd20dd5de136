//! A join of two captured tables, kept up to date in SQL and written back: it is the join that the database has, whatever
//! fails in between.

use serde_json::json;

use super::capture::{Chance, Load, SETUP, cut, number, seed};
use crate::fixture::postgres::Postgres;
use crate::fixture::process::Server;
use crate::fixture::{block_on, until};

/// Faults of a run; `THALWEG_CDC_FAULTS` sets another number.
const FAULTS: u64 = 3;
/// Transactions between two faults.
const BETWEEN: u64 = 30;

/// The join as both have it.
const JOIN: &str = "SELECT a.id AS account, count(*) AS n, sum(h.delta) AS delta, max(a.balance) AS balance, \
                    max(h.day) AS day FROM accounts a JOIN history h ON h.account = a.id GROUP BY a.id";

#[test]
fn a_join_of_captured_tables_is_the_join_of_the_database() {
    let seed = seed();
    block_on(run(seed, number("THALWEG_CDC_FAULTS").unwrap_or(FAULTS)));
}

async fn run(seed: u64, faults: u64) {
    let mut chance = Chance(seed);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut database = Postgres::start_logical().await;
    let client = database.connect().await;
    client.batch_execute(SETUP).await.unwrap();
    client
        .batch_execute(
            "CREATE TABLE copies.joined (account int PRIMARY KEY, n bigint, delta numeric, balance numeric, day date)",
        )
        .await
        .unwrap();
    let mut server = Server::start(&data);
    for table in ["accounts", "history"] {
        server
            .sql(&format!(
                "CREATE TABLE {table} WITH (connector = 'postgres-cdc', hostname = '127.0.0.1', port = {}, \
                 username = 'postgres', database.name = 'postgres', table.name = '{table}', max.batch.size = 200)",
                database.port()
            ))
            .await;
    }
    server
        .sql(&format!("CREATE MATERIALIZED VIEW joined AS {JOIN}"))
        .await;
    server.create_connector(sink(&database)).await;
    let load = Load::start(database.url(), chance.below(u64::MAX));
    for fault in 0..faults {
        load.until_more(chance.below(BETWEEN)).await;
        match fault % 3 {
            0 => {
                server.kill();
                server = Server::start(&data);
            }
            1 => database.crash_and_start().await,
            _ => cut(&database, "application_name = 'thalweg'").await,
        }
    }
    load.until_more(BETWEEN).await;
    load.stop().await;
    let differing = format!(
        "SELECT count(*) FROM (({JOIN}) EXCEPT ALL (TABLE copies.joined) UNION ALL \
         ((TABLE copies.joined) EXCEPT ALL ({JOIN}))) d"
    );
    until(
        "rows in which the join and its copy differ",
        || async { database.rows(&differing).await.unwrap()[0].clone() },
        |differing| differing == "0",
    )
    .await;
    let rows = database.rows("SELECT count(*) FROM copies.joined").await;
    assert_ne!(rows.unwrap(), ["0"]);
}

fn sink(database: &Postgres) -> serde_json::Value {
    let plain = "org.apache.kafka.connect.json.JsonConverter";
    json!({"name": "written-back", "config": {
        "connector.class": "PostgresSink", "connection.url": database.url(), "topics": "joined",
        "table.name.format": "copies.joined", "insert.mode": "upsert", "primary.key.mode": "record_key",
        "delete.enabled": "true", "schema.evolution": "none",
        "key.converter": plain, "key.converter.schemas.enable": "false",
        "value.converter": plain, "value.converter.schemas.enable": "false",
    }})
}
