//! Guests inside the program: a hostile one harms neither the process nor the records beside its own.

use serde_json::json;

use crate::fixture::process::Server;
use crate::fixture::{block_on, until, wasm};

#[test]
fn a_function_of_a_module_works_in_sql_and_survives_a_restart() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let module = folder.path().join("f.wasm");
        std::fs::copy(wasm("delay_class"), &module).unwrap();
        let server = Server::start(&folder.path().join("data"));
        server
            .sql(&format!(
                "CREATE FUNCTION delay_class(d DOUBLE PRECISION) RETURNS TEXT LANGUAGE wasm AS 'file:{}'",
                module.display()
            ))
            .await;
        // The log holds the module: the file may go.
        std::fs::remove_file(&module).unwrap();
        let listed = server.shell("\\df DELAY");
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(
            listed.contains(r#"{"function":"delay_class","answers":"of CREATE FUNCTION;"#),
            "{listed}"
        );
        let ask = "SELECT delay_class(-1) AS a, delay_class(20) AS b, delay_class(NULL) AS c";
        let answer = [json!({"a": "early", "b": "late", "c": null})];
        assert_eq!(server.sql(ask).await, answer);
        server.kill();
        let server = Server::start(&folder.path().join("data"));
        assert_eq!(server.sql(ask).await, answer);
    });
}

#[test]
fn an_evil_transform_costs_only_its_own_records() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(&folder.path().join("data"));
        let input = folder.path().join("in.ndjson");
        std::fs::write(&input, "{\"n\":1}\n{\"n\":2}\n").unwrap();
        for attack in ["spin", "allocate", "trap"] {
            let (status, body) = server
                .connect(
                    "POST",
                    "/connectors",
                    Some(json!({"name": attack, "config": {
                        "connector.class": "FileStreamSource", "file": input, "format": "ndjson", "topic": attack,
                        "errors.tolerance": "all",
                        "errors.deadletterqueue.topic.name": format!("{attack}-dead"),
                        "errors.deadletterqueue.context.headers.enable": "true",
                        "transforms": "evil",
                        "transforms.evil.type": "wasm",
                        "transforms.evil.module": wasm("evil"),
                        "transforms.evil.config.attack": attack,
                    }})),
                )
                .await;
            assert_eq!(status, 201, "{body}");
            let dead = || async {
                let sql = format!("SELECT count(*) AS n FROM dead_{attack}");
                server
                    .try_sql(&sql)
                    .await
                    .map_or(0, |rows| rows[0]["n"].as_u64().unwrap())
            };
            let source = format!(
                "CREATE SOURCE dead_{attack} (n BIGINT) WITH (topic = '{attack}-dead') FORMAT PLAIN ENCODE JSON"
            );
            let made = until(
                "the dead letters' topic",
                || server.try_sql(&source),
                Result::is_ok,
            )
            .await;
            assert!(made.is_ok());
            until("the dead letters", dead, |n| *n == 2).await;
        }
        assert_eq!(server.sql("SELECT 1 AS one").await, [json!({"one": 1})]);
    });
}
