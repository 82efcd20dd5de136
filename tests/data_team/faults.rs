//! What happens to captured tables while they are captured: each ends with the copy equal to the table, or with a text that says
//! what to do, which is then done.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use super::capture::cut;
use crate::fixture::postgres::Postgres;
use crate::fixture::process::{Server, thalweg};
use crate::fixture::{block_on, until};

const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";

/// A captured table `t` and its copy, which are equal for now; the connectors are `source` and `sink`.
struct Pair {
    database: Postgres,
    server: Server,
    client: tokio_postgres::Client,
    _folder: tempfile::TempDir,
}

impl Pair {
    async fn start(more: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Postgres::start_logical().await;
        let client = database.connect().await;
        client
            .batch_execute(
                "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'first' FROM generate_series(1, 50) i; \
                 CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other VALUES (1)",
            )
            .await
            .unwrap();
        client
            .batch_execute("CREATE DATABASE copies")
            .await
            .unwrap();
        let server = Server::start(folder.path());
        let pair = Self {
            database,
            server,
            client,
            _folder: folder,
        };
        let mut source = pair.source();
        source
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        for (name, config) in [("source", source), ("sink", pair.sink())] {
            let connector = json!({"name": name, "config": config});
            pair.server.create_connector(connector).await;
        }
        pair.is_copied().await;
        pair
    }

    fn source(&self) -> Value {
        json!({
            "connector.class": "postgres-cdc", "database.hostname": "127.0.0.1",
            "database.port": self.database.port().to_string(), "database.user": "postgres", "database.dbname": "postgres",
            "topic.prefix": "p", "slot.name": "faults", "table.include.list": r"public\.(t|other)",
            "publication.autocreate.mode": "filtered", "table.discovery.interval.ms": "200",
            "key.converter": JSON, "key.converter.schemas.enable": "false",
            "value.converter": JSON, "value.converter.schemas.enable": "false",
        })
    }

    fn sink(&self) -> Value {
        json!({
            "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
            "connection.url": format!("postgresql://postgres@127.0.0.1:{}/copies", self.database.port()),
            "topics": "p.public.t", "table.name.format": "t", "insert.mode": "upsert", "primary.key.mode": "record_key",
            "delete.enabled": "true", "key.converter": JSON, "key.converter.schemas.enable": "false",
            "value.converter": JSON, "value.converter.schemas.enable": "false",
        })
    }

    async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    /// Rows of a query in the database of the copy.
    async fn copies(&self, sql: &str) -> Vec<String> {
        let url = format!(
            "postgresql://postgres@127.0.0.1:{}/copies",
            self.database.port()
        );
        let Ok((client, connection)) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await
        else {
            return Vec::new();
        };
        tokio::spawn(connection);
        let messages = client.simple_query(sql).await.unwrap_or_default();
        let row = |message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => {
                Some(row.get(0).unwrap_or("").to_owned())
            }
            _ => None,
        };
        messages.into_iter().filter_map(row).collect()
    }

    async fn is_copied(&self) {
        let all = "SELECT string_agg(id || '=' || v, ' ' ORDER BY id) FROM t";
        let both = || async { (self.database.rows(all).await.ok(), self.copies(all).await) };
        until("the table and its copy", both, |(table, copy)| {
            table.as_ref() == Some(copy)
        })
        .await;
    }

    async fn status(&self, name: &str) -> String {
        let path = format!("/connectors/{name}/status");
        self.server.connect("GET", &path, None).await.1.to_string()
    }

    async fn says(&self, name: &str, words: &str) {
        until(words, || self.status(name), |status| status.contains(words)).await;
    }

    /// Somebody takes the slot away, whoever reads it.
    async fn drops_the_slot(&self) {
        let drop = "SELECT pg_terminate_backend(active_pid, 1000), pg_drop_replication_slot(slot_name) FROM pg_replication_slots";
        let left = || async {
            // It may be read again in between.
            let _ = self.database.rows(drop).await;
            let slots = self
                .database
                .rows("SELECT slot_name FROM pg_replication_slots");
            slots.await.unwrap()
        };
        until("no slot", left, Vec::is_empty).await;
    }

    async fn set(&self, more: Value) {
        let mut config = self.source();
        config
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let put = self
            .server
            .connect("PUT", "/connectors/source/config", Some(config));
        let (status, body) = put.await;
        assert_eq!(status, 200, "{body:#}");
    }
}

#[test]
fn a_stream_that_is_cut_again_and_again_gets_on() {
    block_on(async {
        let pair = Pair::start(json!({})).await;
        let streaming = "SELECT active_pid FROM pg_replication_slots WHERE active";
        let mut last = Vec::new();
        for round in 0..6 {
            pair.run(&format!(
                "INSERT INTO t VALUES ({round} + 100, 'new'); UPDATE t SET v = 'round {round}' WHERE id <= 10; DELETE FROM t WHERE id = {round} + 20"
            ))
            .await;
            cut(&pair.database, "backend_type = 'walsender'").await;
            // Another one, so that each is cut in its turn.
            last = until(
                "another stream",
                || async { pair.database.rows(streaming).await.unwrap() },
                |now| !now.is_empty() && *now != last,
            )
            .await;
        }
        pair.is_copied().await;
    });
}

#[test]
fn a_slot_that_is_dropped_is_told_and_mended_by_reading_again() {
    block_on(async {
        let pair = Pair::start(json!({})).await;
        pair.drops_the_slot().await;
        pair.run("INSERT INTO t VALUES (200, 'lost'); UPDATE t SET v = 'lost' WHERE id = 1")
            .await;
        pair.says("source", "[slot-missing]").await;
        pair.says("source", "snapshot.mode=when_needed").await;
        pair.set(json!({"snapshot.mode": "when_needed"})).await;
        pair.is_copied().await;
    });
}

#[test]
fn a_table_that_left_the_publication_is_read_again() {
    block_on(async {
        let pair = Pair::start(json!({"publication.name": "changed"})).await;
        pair.run("ALTER PUBLICATION changed DROP TABLE ONLY t; INSERT INTO t VALUES (300, 'unsent'); UPDATE t SET v = 'unsent' WHERE id = 2")
            .await;
        pair.is_copied().await;
        let sent = "SELECT count(*) FROM pg_publication_tables WHERE pubname = 'changed'";
        assert_eq!(pair.database.rows(sent).await.unwrap(), ["2"]);
        pair.run("DELETE FROM t WHERE id = 3").await;
        pair.is_copied().await;
    });
}

#[test]
fn a_publication_that_is_dropped_is_told_and_made_again() {
    block_on(async {
        let pair = Pair::start(json!({"publication.name": "gone"})).await;
        pair.run("DROP PUBLICATION gone; INSERT INTO t VALUES (400, 'unsent')")
            .await;
        pair.says("source", "publication").await;
        pair.set(json!({"publication.name": "gone", "snapshot.mode": "when_needed"}))
            .await;
        pair.drops_the_slot().await;
        let restart = "/connectors/source/restart?includeTasks=true";
        pair.server.connect("POST", restart, None).await;
        pair.is_copied().await;
    });
}

#[test]
fn tables_are_dropped_renamed_and_altered_under_the_connector() {
    block_on(async {
        let pair = Pair::start(json!({})).await;
        pair.run("DROP TABLE other; UPDATE t SET v = 'still here' WHERE id = 1")
            .await;
        pair.is_copied().await;
        pair.run(
            "ALTER TABLE t ADD COLUMN extra int; UPDATE t SET extra = id WHERE id < 5; ALTER TABLE t ALTER v TYPE varchar(40); \
             UPDATE t SET v = 'altered' WHERE id = 4; ALTER TABLE t DROP COLUMN extra; INSERT INTO t VALUES (500, 'narrow')",
        )
        .await;
        pair.is_copied().await;
        // A table of that name again.
        pair.run(
            "ALTER TABLE t RENAME TO t_old; UPDATE t_old SET v = 'not captured'; CREATE TABLE t (id int PRIMARY KEY, v text); \
             INSERT INTO t SELECT id, 'second' FROM t_old",
        )
        .await;
        pair.is_copied().await;
        pair.run("UPDATE t SET v = 'third' WHERE id % 2 = 0; DELETE FROM t WHERE id % 3 = 0")
            .await;
        pair.is_copied().await;
    });
}

#[test]
fn a_sink_waits_for_its_database_and_says_so() {
    block_on(async {
        let pair = Pair::start(json!({})).await;
        pair.run("ALTER DATABASE copies ALLOW_CONNECTIONS false")
            .await;
        cut(&pair.database, "datname = 'copies'").await;
        pair.run("INSERT INTO t VALUES (600, 'waits'); DELETE FROM t WHERE id = 5")
            .await;
        pair.says("sink", "not currently accepting connections")
            .await;
        let status = pair.status("sink").await;
        assert!(!status.contains("FAILED"), "{status}");
        pair.run("ALTER DATABASE copies ALLOW_CONNECTIONS true")
            .await;
        pair.is_copied().await;
    });
}

fn produce(server: &Server, topic: &str, key: &str, value: &str) {
    let mut child = thalweg()
        .args(["produce", topic, "--key", key, "-b", &server.kafka])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{value}").unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_poisoned_record_of_each_stage_becomes_a_letter() {
    block_on(async {
        let pair = Pair::start(json!({})).await;
        let cast = "org.apache.kafka.connect.transforms.Cast$Value";
        let mut config = pair.sink();
        let more = json!({
            "topics": "poison", "table.name.format": "poison", "transforms": "c", "transforms.c.type": cast,
            "transforms.c.spec": "n:int32", "errors.tolerance": "all", "errors.deadletterqueue.topic.name": "letters",
            "errors.deadletterqueue.context.headers.enable": "true", "schema.evolution": "none",
        });
        config
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let copies = format!(
            "postgresql://postgres@127.0.0.1:{}/copies",
            pair.database.port()
        );
        let (client, connection) = tokio_postgres::connect(&copies, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        let table = "CREATE TABLE poison (id int PRIMARY KEY, n int CHECK (n < 100))";
        client.batch_execute(table).await.unwrap();
        let made = thalweg()
            .args(["topic", "create", "poison", "-b", &pair.server.kafka])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        for (key, value) in [
            (r#"{"id":1}"#, r#"{"n":"1"}"#),
            ("{broken", r#"{"n":"2"}"#),
            (r#"{"id":3}"#, "{broken"),
            (r#"{"id":4}"#, r#"{"n":"four"}"#),
            (r#"{"id":5}"#, r#"{"n":"500"}"#),
            (r#"{"id":6}"#, r#"{"n":"6"}"#),
        ] {
            produce(&pair.server, "poison", key, value);
        }
        let connector = json!({"name": "poisoned", "config": config});
        pair.server.create_connector(connector).await;
        let rows = || pair.copies("SELECT string_agg(id || '=' || n, ' ' ORDER BY id) FROM poison");
        until("the good rows", rows, |rows| *rows == ["1=1 6=6"]).await;
        let letters = || async {
            let output = thalweg()
                .args([
                    "consume",
                    "letters",
                    "--exit",
                    "--json",
                    "-b",
                    &pair.server.kafka,
                ])
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let letters = until("four letters", letters, |letters| letters.len() == 4).await;
        for (offset, stage) in [
            (1, "KEY_CONVERTER"),
            (2, "VALUE_CONVERTER"),
            (3, "TRANSFORMATION"),
            (4, "TASK_PUT"),
        ] {
            let place = format!(r#""__connect.errors.offset":"{offset}""#);
            let letter = letters
                .iter()
                .find(|letter| letter.replace(": ", ":").contains(&place));
            assert!(
                letter.is_some_and(|letter| letter.contains(stage)),
                "{stage}: {letters:#?}"
            );
        }
    });
}
