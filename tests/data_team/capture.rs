//! Two tables of a database and their copies, through change capture, the log and the sink, while everything between them
//! fails by chance: afterwards the copies are the tables, and nothing was written twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use tokio_postgres::Client;

use crate::fixture::postgres::Postgres;
use crate::fixture::process::Server;
use crate::fixture::{block_on, until};

/// Faults of a run; `THALWEG_CDC_FAULTS` sets another number.
const FAULTS: u64 = 8;
/// Transactions between two faults.
const BETWEEN: u64 = 40;
const ACCOUNTS: u64 = 2_000;

pub(super) const SETUP: &str = "
    CREATE TABLE accounts (id int PRIMARY KEY, balance numeric(12,2) NOT NULL, note text NOT NULL, at timestamp);
    ALTER TABLE accounts ALTER note SET STORAGE EXTERNAL;
    ALTER TABLE accounts REPLICA IDENTITY FULL;
    CREATE TABLE history (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account int, delta numeric(12,2), day date);
    INSERT INTO accounts SELECT i, i, repeat('n', 1 + i % 4000), now() FROM generate_series(1, 2000) i;
    INSERT INTO history (account, delta, day) SELECT i, i, '2024-01-01' FROM generate_series(1, 5000) i;
    CREATE SCHEMA copies;
    CREATE TABLE copies.accounts (LIKE accounts INCLUDING ALL);
    CREATE TABLE copies.history (id bigint, account int, delta numeric(12,2), day date);";

/// Numbers that a seed decides.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

pub(super) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What fails.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// kill -9 of the program.
    Program,
    /// The database stops at once and starts again.
    Database,
    /// Connections of the stream are cut.
    Stream,
    /// All connections of the connectors are cut.
    Connections,
    /// Both connectors are started anew.
    Restart,
}

impl Fault {
    const ALL: [Self; 5] = [
        Self::Program,
        Self::Database,
        Self::Stream,
        Self::Connections,
        Self::Restart,
    ];
}

#[test]
fn captured_tables_and_their_copies_are_the_same_after_every_fault() {
    let seed = seed();
    block_on(run(seed, number("THALWEG_CDC_FAULTS").unwrap_or(FAULTS)));
}

/// The seed of a run, printed.
pub(super) fn seed() -> u64 {
    let seed = number("THALWEG_TEST_SEED").unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        since.as_nanos() as u64 | 1
    });
    println!("THALWEG_TEST_SEED={seed}");
    seed
}

async fn run(seed: u64, faults: u64) {
    let mut chance = Chance(seed);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut database = Postgres::start_logical().await;
    database.connect().await.batch_execute(SETUP).await.unwrap();
    let mut server = Server::start(&data);
    for connector in connectors(&database) {
        server.create_connector(connector).await;
    }
    let load = Load::start(database.url(), chance.below(u64::MAX));
    for round in 0..faults {
        let fault = match Fault::ALL.get(round as usize) {
            Some(fault) => *fault,
            None => Fault::ALL[chance.below(Fault::ALL.len() as u64) as usize],
        };
        load.until_more(chance.below(BETWEEN)).await;
        println!("{fault:?} after {} transactions", load.done());
        match fault {
            Fault::Program => {
                server.kill();
                server = Server::start(&data);
            }
            Fault::Database => database.crash_and_start().await,
            Fault::Stream => cut(&database, "backend_type = 'walsender'").await,
            Fault::Connections => cut(&database, "application_name = 'thalweg'").await,
            Fault::Restart => {
                for name in ["capture", "accounts", "history"] {
                    let path = format!("/connectors/{name}/restart?includeTasks=true");
                    let (status, body) = server.connect("POST", &path, None).await;
                    assert!(status < 300, "{status} {body}");
                }
            }
        }
    }
    load.until_more(BETWEEN).await;
    load.stop().await;
    for table in ["accounts", "history"] {
        // EXCEPT ALL: a row that was written twice is a difference.
        let sql = format!(
            "SELECT count(*) FROM ((TABLE {table} EXCEPT ALL TABLE copies.{table}) UNION ALL \
             (TABLE copies.{table} EXCEPT ALL TABLE {table})) d"
        );
        until(
            &format!("rows in which {table} and its copy differ"),
            || async { database.rows(&sql).await.unwrap()[0].clone() },
            |differing| differing == "0",
        )
        .await;
    }
}

fn connectors(database: &Postgres) -> [serde_json::Value; 3] {
    let plain = "org.apache.kafka.connect.json.JsonConverter";
    let url = database.url();
    let sink = |name: &str, more: serde_json::Value| {
        let mut config = json!({
            "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector", "connection.url": url,
            "topics": format!("p.public.{name}"), "table.name.format": format!("copies.{name}"),
            "key.converter": plain, "key.converter.schemas.enable": "false",
            "value.converter": plain, "value.converter.schemas.enable": "false",
        });
        let entries = config.as_object_mut().unwrap();
        entries.extend(more.as_object().unwrap().clone());
        json!({"name": name, "config": config})
    };
    let capture = json!({
        "connector.class": "postgres-cdc", "database.hostname": "127.0.0.1",
        "database.port": database.port().to_string(), "database.user": "postgres", "database.dbname": "postgres",
        "topic.prefix": "p", "slot.name": "capture", "table.include.list": r"public\.(accounts|history)",
        "publication.autocreate.mode": "filtered", "max.batch.size": "200",
        "key.converter": plain, "key.converter.schemas.enable": "false",
        "value.converter": plain, "value.converter.schemas.enable": "false",
    });
    [
        json!({"name": "capture", "config": capture}),
        sink(
            "accounts",
            json!({"insert.mode": "upsert", "primary.key.mode": "record_key", "delete.enabled": "true"}),
        ),
        // Rows that are only ever added, into a table without a key: one that came twice would stand there twice.
        sink(
            "history",
            json!({"insert.mode": "insert", "primary.key.mode": "none"}),
        ),
    ]
}

pub(super) async fn cut(database: &Postgres, which: &str) {
    let sql =
        format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {which}");
    database.rows(&sql).await.unwrap();
}

/// Somebody who changes the tables all the time.
pub(super) struct Load {
    done: Arc<AtomicU64>,
    stops: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    pub(super) fn start(url: String, seed: u64) -> Self {
        let (done, stops) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let task = tokio::spawn(change(url, seed | 1, Arc::clone(&done), Arc::clone(&stops)));
        Self { done, stops, task }
    }

    fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    pub(super) async fn until_more(&self, transactions: u64) {
        let goal = self.done() + transactions;
        until(
            "transactions",
            || async { self.done() },
            |done| *done >= goal,
        )
        .await;
    }

    pub(super) async fn stop(self) {
        self.stops.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}

/// Transactions until told to stop; the database may be away in between.
async fn change(url: String, seed: u64, done: Arc<AtomicU64>, stops: Arc<AtomicBool>) {
    let mut chance = Chance(seed);
    let mut client: Option<Client> = None;
    while !stops.load(Ordering::Relaxed) {
        let Some(connected) = client.as_ref().filter(|client| !client.is_closed()) else {
            client = match tokio_postgres::connect(&url, tokio_postgres::NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    Some(client)
                }
                Err(_) => {
                    tokio::task::yield_now().await;
                    None
                }
            };
            continue;
        };
        if connected
            .batch_execute(&transaction(&mut chance))
            .await
            .is_ok()
        {
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Some changes that are one transaction, which may be taken back.
fn transaction(chance: &mut Chance) -> String {
    let mut sql = "BEGIN;".to_owned();
    for _ in 0..=chance.below(4) {
        let (id, other) = (1 + chance.below(ACCOUNTS), 1 + chance.below(ACCOUNTS));
        let amount = chance.below(100_000);
        sql += &match chance.below(7) {
            0 => format!("DELETE FROM accounts WHERE id = {id};"),
            1 => format!(
                "INSERT INTO accounts VALUES ({id}, {amount}.25, repeat('m', {}), now()) ON CONFLICT (id) DO UPDATE SET \
                 balance = accounts.balance + 1;",
                1 + amount % 5000
            ),
            // The row moves.
            2 => format!(
                "UPDATE accounts SET id = {other} WHERE id = {id} AND NOT EXISTS (SELECT FROM accounts WHERE id = {other});"
            ),
            3 => format!(
                "UPDATE accounts SET note = repeat('x', {}) WHERE id = {id};",
                1 + amount % 6000
            ),
            _ => format!(
                "UPDATE accounts SET balance = balance - {amount} WHERE id = {id}; \
                 INSERT INTO history (account, delta, day) VALUES ({id}, -{amount}, DATE '2024-01-01' + {});",
                amount % 1000
            ),
        };
    }
    sql += if chance.below(10) == 0 {
        "ROLLBACK"
    } else {
        "COMMIT"
    };
    sql
}
