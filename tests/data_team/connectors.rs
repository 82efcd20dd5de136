//! Connectors over REST: created, paused, resumed, deleted; wrong JSON refused; poison rows dead-lettered.

use serde_json::{Value, json};

use crate::fixture::process::Server;
use crate::fixture::{block_on, until};

async fn state(server: &Server, name: &str) -> Value {
    server
        .connect("GET", &format!("/connectors/{name}/status"), None)
        .await
        .1["connector"]["state"]
        .clone()
}

#[test]
fn a_connector_lives_pauses_resumes_and_goes() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(&folder.path().join("data"));
        let input = folder.path().join("in.txt");
        std::fs::write(&input, "one\ntwo\n").unwrap();
        let config = json!({"connector.class": "FileStreamSource", "file": input, "topic": "lines", "tasks.max": "1"});
        server
            .create_connector(json!({"name": "f", "config": config}))
            .await;
        let (status, body) = server
            .connect(
                "POST",
                "/connectors",
                Some(json!({"name": "f", "config": config})),
            )
            .await;
        assert_eq!(
            (status, &body["message"]),
            (409, &json!("Connector f already exists"))
        );
        until(
            "running",
            || state(&server, "f"),
            |state| state == "RUNNING",
        )
        .await;
        assert_eq!(
            server.connect("PUT", "/connectors/f/pause", None).await.0,
            202
        );
        until("paused", || state(&server, "f"), |state| state == "PAUSED").await;
        assert_eq!(
            server.connect("PUT", "/connectors/f/resume", None).await.0,
            202
        );
        until(
            "running",
            || state(&server, "f"),
            |state| state == "RUNNING",
        )
        .await;
        assert_eq!(
            server.connect("GET", "/connectors", None).await,
            (200, json!(["f"]))
        );
        assert_eq!(server.connect("DELETE", "/connectors/f", None).await.0, 204);
        assert_eq!(server.connect("GET", "/connectors/f", None).await.0, 404);
    });
}

#[test]
fn wrong_connectors_are_refused_with_the_field() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path());
        let post = |config: Value| {
            let server = &server;
            async move {
                let (status, body) = server
                    .connect(
                        "POST",
                        "/connectors",
                        Some(json!({"name": "x", "config": config})),
                    )
                    .await;
                (
                    status,
                    body["message"].as_str().unwrap_or_default().to_owned(),
                )
            }
        };
        let (status, text) =
            post(json!({"connector.class": "FileStreamSorce", "topic": "t"})).await;
        assert!(
            status >= 400 && text.contains("FileStreamSource"),
            "{status} {text}"
        );
        let (status, text) =
            post(json!({"connector.class": "FileStreamSource", "file": "/x"})).await;
        assert!(status == 400 && text.contains("topic"), "{status} {text}");
        let (status, text) =
            post(json!({"connector.class": "FileStreamSource", "file": "/x", "topic": "t", "format": "ndjsn"})).await;
        assert!(
            status == 400 && text.contains("format") && text.contains("ndjson"),
            "{status} {text}"
        );
        let (status, text) = post(
            json!({"connector.class": "FileStreamSource", "file": "/x", "topic": "t", "formt": "ndjson"}),
        )
        .await;
        assert!(
            status == 400 && text.contains("Unknown configuration formt: did you mean format?"),
            "{status} {text}"
        );
        let long = "x".repeat(1_500_000);
        let (status, _) =
            post(json!({"connector.class": "FileStreamSource", "file": long, "topic": "t"})).await;
        assert_eq!(status, 413);
        let broken = reqwest::Client::new()
            .post(format!("http://{}/connectors", server.connect))
            .header("content-type", "application/json")
            .body("{\"name\": ")
            .send()
            .await
            .unwrap();
        assert!(broken.status().is_client_error() || broken.status().is_server_error());
        assert_eq!(
            server.connect("GET", "/connectors", None).await,
            (200, json!([]))
        );
    });
}

#[test]
fn a_broken_line_becomes_a_dead_letter() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(&folder.path().join("data"));
        let input = folder.path().join("in.ndjson");
        std::fs::write(&input, "{\"n\":1}\n{broken\n{\"n\":3}\n").unwrap();
        server
            .create_connector(json!({"name": "f", "config": {
                "connector.class": "FileStreamSource", "file": input, "format": "ndjson", "topic": "good",
                "errors.tolerance": "all",
                "errors.deadletterqueue.topic.name": "dead",
                "errors.deadletterqueue.context.headers.enable": "true",
            }}))
            .await;
        server
            .sql("CREATE SOURCE good (n BIGINT) WITH (topic = 'good') FORMAT PLAIN ENCODE JSON")
            .await;
        let sum = || async {
            server
                .try_sql("SELECT sum(n) AS n FROM good")
                .await
                .map_or(Value::Null, |rows| rows[0]["n"].clone())
        };
        until("the good lines", sum, |n| *n == 4).await;
        let dead = || async {
            let output = crate::fixture::process::thalweg()
                .args(["consume", "dead", "--exit", "--json", "-b", &server.kafka])
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let text = until("the dead letter", dead, |text| !text.is_empty()).await;
        assert!(
            text.contains("{broken") && text.contains("__connect.errors."),
            "{text}"
        );
    });
}
