//! Signals by a topic of the log: a table is read beside the stream, once, whatever fails.

use std::io::Write;
use std::process::Stdio;

use serde_json::json;

use super::dump::{self, Topics};
use crate::fixture::postgres::Postgres;
use crate::fixture::process::{Server, thalweg};
use crate::fixture::{block_on, until};

fn send(server: &Server, key: &str, signal: &str) {
    let mut child = thalweg()
        .args(["produce", "shop-signal", "--key", key, "-b", &server.kafka])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{signal}").unwrap();
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_signal_of_the_topic_reads_a_table_once() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let database = Postgres::start_logical().await;
        let client = database.connect().await;
        client
            .batch_execute(
                "CREATE TABLE kept (id int PRIMARY KEY); INSERT INTO kept SELECT generate_series(1, 30); \
                 CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other VALUES (1);",
            )
            .await
            .unwrap();
        let mut server = Server::start(&data);
        let converter = "org.apache.kafka.connect.json.JsonConverter";
        server
            .create_connector(json!({"name": "shop", "config": {
                "connector.class": "postgres-cdc", "database.hostname": "127.0.0.1",
                "database.port": database.port().to_string(), "database.user": "postgres",
                "database.dbname": "postgres", "topic.prefix": "shop", "slot.name": "shop",
                "publication.autocreate.mode": "filtered", "table.include.list": r"public\..*",
                "snapshot.mode": "no_data", "signal.enabled.channels": "kafka", "incremental.snapshot.chunk.size": "7",
                "key.converter": converter, "key.converter.schemas.enable": "false",
                "value.converter": converter, "value.converter.schemas.enable": "false",
            }}))
            .await;
        let active = || async {
            let sql = "SELECT active FROM pg_replication_slots WHERE slot_name = 'shop'";
            database.rows(sql).await.unwrap()
        };
        until("the slot", active, |active| *active == ["t"]).await;
        let of_kept = r#"{"type":"execute-snapshot","data":{"data-collections":["public.kept"]}}"#;
        // What is for somebody else, and what nobody understands, is passed over.
        send(&server, "another", of_kept);
        send(&server, "shop", r#"{"type":"execute-snapshots"}"#);
        send(&server, "shop", of_kept);
        let read = |kafka: String| async move {
            let topics = Topics::read(&dump::open(&kafka), "shop").await;
            (topics.count("r"), topics.count("c"))
        };
        let address = server.kafka.clone();
        until("rows", || read(address.clone()), |(rows, _)| *rows >= 30).await;
        // It is told once: after a crash nothing is read again.
        server.kill();
        server = Server::start(&data);
        client
            .batch_execute("INSERT INTO kept VALUES (31)")
            .await
            .unwrap();
        let address = server.kafka.clone();
        let found = until(
            "the change",
            || read(address.clone()),
            |(_, changes)| *changes == 1,
        )
        .await;
        assert_eq!(found, (30, 1));
        // A blocking one waits for nothing, and marks its rows as a first snapshot's.
        send(
            &server,
            "shop",
            r#"{"type":"execute-snapshot","data":{"data-collections":["public.other"],"type":"blocking"}}"#,
        );
        until(
            "the other row",
            || read(address.clone()),
            |(rows, _)| *rows == 31,
        )
        .await;
        let (_, offsets) = server
            .connect("GET", "/connectors/shop/offsets", None)
            .await;
        let of_topic = offsets["offsets"].as_array().unwrap().iter();
        let of_topic: Vec<_> = of_topic
            .filter(|offset| offset["partition"]["signals"] == "shop-signal")
            .collect();
        assert_eq!(of_topic.len(), 1, "{offsets}");
        assert!(
            of_topic[0]["offset"]["position"].as_i64().unwrap() >= 4,
            "{offsets}"
        );
    });
}
