//! `POST /v1/query` over a real socket, with the plainest of clients.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::{Fixture, SCHEMA};

struct Web {
    fixture: Fixture,
    address: std::net::SocketAddr,
}

impl Web {
    async fn new() -> Self {
        let fixture = Fixture::new().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let router = fixture.server.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { fixture, address }
    }

    async fn open(&self, body: &str, accept: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address)
            .await
            .expect("a connection");
        let request = format!(
            "POST /v1/query HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\naccept: {accept}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream
            .write_all(request.as_bytes())
            .await
            .expect("a request");
        stream
    }

    /// The head and the body of the answer to a statement with these headers.
    async fn send(&self, headers: &str, body: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.address)
            .await
            .expect("a connection");
        let request = format!(
            "POST /v1/query HTTP/1.1\r\n{headers}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream
            .write_all(request.as_bytes())
            .await
            .expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head.to_owned(), unchunked(head, body))
    }

    /// The head and the body, without the marks of chunks.
    async fn post(&self, body: &str, accept: &str) -> (String, String) {
        let mut stream = self.open(body, accept).await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head.to_owned(), unchunked(head, body))
    }

    async fn sql(&self, sql: &str) -> (String, String) {
        self.post(&serde_json::json!({ "sql": sql }).to_string(), "*/*")
            .await
    }
}

fn unchunked(head: &str, mut body: &str) -> String {
    if !head.contains("chunked") {
        return body.to_owned();
    }
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("a chunk's length");
        whole.push_str(&rest[..length]);
        body = rest[length..].trim_start_matches("\r\n");
    }
    whole
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_have_the_documented_shapes() {
    let web = Web::new().await;
    web.fixture.run(SCHEMA).await;
    let (head, body) = web.sql("CREATE TABLE t (id INT PRIMARY KEY, name TEXT, at TIMESTAMP, d DECIMAL(10,2), b BYTEA)").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(body.starts_with(r#"{"result":"created table t""#), "{body}");
    let (_, body) = web
        .sql("INSERT INTO t VALUES (1, 'é, \"x\"', '2013-01-01T10:00:00', 12.5, NULL), (2, NULL, '2013-01-01T10:00:00.25', NULL, NULL)")
        .await;
    assert_eq!(body, "{\"result\":\"inserted 2 rows\"}\n");

    let (head, body) = web
        .sql("SELECT id, name, at, d, b FROM t ORDER BY id")
        .await;
    assert!(
        head.contains("content-type: application/x-ndjson"),
        "{head}"
    );
    assert!(
        head.contains(
            r#"thalweg-columns: [{"name":"id","type":"INTEGER"},{"name":"name","type":"TEXT"}"#
        ),
        "{head}"
    );
    assert_eq!(
        body,
        "{\"id\":1,\"name\":\"é, \\\"x\\\"\",\"at\":\"2013-01-01T10:00:00\",\"d\":\"12.50\",\"b\":null}\n\
         {\"id\":2,\"name\":null,\"at\":\"2013-01-01T10:00:00.25\",\"d\":null,\"b\":null}\n"
    );
    let (head, body) = web
        .post(
            r#"{"sql": "SELECT id, name FROM t ORDER BY id"}"#,
            "text/csv",
        )
        .await;
    assert!(head.contains("text/csv"), "{head}");
    assert_eq!(body, "id,name\n1,\"é, \"\"x\"\"\"\n2,\n");
    let (_, body) = web
        .post(
            r#"{"sql": "SELECT id FROM t ORDER BY id"}"#,
            "text/event-stream",
        )
        .await;
    assert_eq!(body, "data: {\"id\":1}\n\ndata: {\"id\":2}\n\n");

    let (_, body) = web
        .sql("DELETE FROM t WHERE id = 2; SELECT count(*) AS n FROM t")
        .await;
    assert_eq!(body, "{\"result\":\"deleted 1 row\"}\n{\"n\":1}\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_json_with_a_place() {
    let web = Web::new().await;
    web.fixture.run(SCHEMA).await;
    let (head, body) = web.sql("SELECT 1;\nSELECT carier FROM flights").await;
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let error = &body["error"];
    assert_eq!(error["code"], "TW1102");
    assert_eq!(error["sqlstate"], "42703");
    assert_eq!(
        (error["line"].as_u64(), error["column"].as_u64()),
        (Some(2), Some(8))
    );
    assert_eq!(error["suggestion"]["replacement"], "carrier");
    let read: sql::Diagnostic = serde_json::from_value(error.clone()).expect("a diagnostic");
    assert!(
        read.render("SELECT 1;\nSELECT carier FROM flights", false)
            .contains("^^^^^^")
    );
    for (body, code) in [
        ("not json", "TW1001"),
        (r#"{"sql": "SELECT 1", "params": [1]}"#, "TW1204"),
        (r#"{"sql": "SELECT 1", "settings": {"x": 1}}"#, "TW1301"),
        (r#"{"sql": ""}"#, "TW1001"),
    ] {
        let (head, answer) = web.post(body, "*/*").await;
        assert!(
            head.starts_with("HTTP/1.1 400") && answer.contains(code),
            "{body}: {answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_other_sites_send_no_statement() {
    let web = Web::new().await;
    web.fixture.run("CREATE TABLE t (id INT PRIMARY KEY)").await;
    let body = r#"{"sql": "DROP TABLE t"}"#;
    let json = "content-type: application/json";
    for (headers, status) in [
        (
            "host: localhost\r\ncontent-type: text/plain".to_owned(),
            "415",
        ),
        ("host: localhost".to_owned(), "415"),
        (format!("host: evil.example\r\n{json}"), "403"),
        (
            format!("host: localhost\r\norigin: https://evil.example\r\n{json}"),
            "403",
        ),
        (format!("host: localhost\r\norigin: null\r\n{json}"), "403"),
    ] {
        let (head, answer) = web.send(&headers, body).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
        assert!(answer.contains("TW2005"), "{headers}: {answer}");
    }
    web.fixture.rows("SELECT * FROM t").await;
    let ours = format!("host: 127.0.0.1:1\r\norigin: http://127.0.0.1:1\r\n{json}; charset=utf-8");
    let (head, _) = web.send(&ours, body).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_too_large_is_an_error_in_json() {
    let web = Web::new().await;
    let body = serde_json::json!({ "sql": format!("SELECT '{}'", "x".repeat(3 << 20)) });
    let (head, answer) = web.post(&body.to_string(), "*/*").await;
    assert!(head.starts_with("HTTP/1.1 413"), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    assert!(answer.contains("TW1004"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn csv_has_the_same_bytes_as_json() {
    let web = Web::new().await;
    web.fixture
        .run("CREATE TABLE t (id INT PRIMARY KEY, b BYTEA); INSERT INTO t VALUES (1, 'ab'), (2, ''), (3, NULL)")
        .await;
    let sql = r#"{"sql": "SELECT id, b FROM t ORDER BY id"}"#;
    let (_, body) = web.post(sql, "*/*").await;
    assert_eq!(
        body,
        "{\"id\":1,\"b\":\"YWI=\"}\n{\"id\":2,\"b\":\"\"}\n{\"id\":3,\"b\":null}\n"
    );
    let (_, body) = web.post(sql, "text/csv").await;
    assert_eq!(body, "id,b\n1,YWI=\n2,\"\"\n3,\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn push_query_follows_and_ends_with_its_client() {
    let web = Web::new().await;
    web.fixture.run(SCHEMA).await;
    web.fixture
        .run("CREATE MATERIALIZED VIEW v AS SELECT sensor, count(*) AS n FROM readings GROUP BY sensor; INSERT INTO readings VALUES (1, NULL, 1)")
        .await;
    web.fixture.rows("SELECT * FROM v").await;
    let mut stream = web
        .open(r#"{"sql": "SELECT * FROM v EMIT CHANGES"}"#, "*/*")
        .await;
    let mut seen = String::new();
    let mut buffer = [0; 4096];
    let mut read_until = async |seen: &mut String, wanted: &str| {
        while !seen.contains(wanted) {
            let count = stream
                .read(&mut buffer)
                .await
                .expect("an answer that goes on");
            assert!(count > 0, "ended early: {seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    };
    read_until(&mut seen, r#"{"diff":1,"row":{"sensor":1,"n":1}}"#).await;
    web.fixture
        .run("INSERT INTO readings VALUES (1, NULL, 2)")
        .await;
    read_until(&mut seen, r#"{"diff":1,"row":{"sensor":1,"n":2}}"#).await;
    assert!(
        seen.contains(r#"{"diff":-1,"row":{"sensor":1,"n":1}}"#),
        "{seen}"
    );
    drop(stream);
    let (_, body) = web
        .sql("SELECT sensor, n FROM v EMIT CHANGES LIMIT 1")
        .await;
    assert!(body.starts_with(r#"{"diff":1,"row":{"sensor":1"#), "{body}");
    assert_eq!(body.lines().count(), 1, "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_before_the_first_row_is_the_status() {
    let web = Web::new().await;
    web.fixture
        .run("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (2)")
        .await;
    for accept in ["*/*", "text/csv", "text/event-stream"] {
        let (head, body) = web
            .post(r#"{"sql": "SELECT 1/(id-2) FROM t"}"#, accept)
            .await;
        assert!(head.starts_with("HTTP/1.1 400"), "{accept}: {head}");
        assert!(body.starts_with(r#"{"error":{"#), "{accept}: {body}");
    }
}

/// A join of equal rows reads little and computes for hours, without a batch for its reader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_query_harms_no_other() {
    let web = Web::new().await;
    let endless = "WITH n AS (SELECT 1 AS s FROM unnest(range(0, 300000))) SELECT count(*) FROM n a JOIN n b ON a.s = b.s";
    let body = serde_json::json!({ "sql": endless }).to_string();
    let timed = serde_json::json!({ "sql": endless, "settings": {"statement_timeout": "100ms"} });
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(web.open(&body, "*/*").await);
    }
    let (head, answer) = web.post(&timed.to_string(), "*/*").await;
    assert!(
        head.starts_with("HTTP/1.1 400") && answer.contains("TW2003"),
        "{head} {answer}"
    );
    assert_eq!(web.sql("SELECT 1 AS one").await.1, "{\"one\":1}\n");

    // More than there are slots for. Nothing comes out of this one, so it has to be told that nobody waits.
    let refusing = "WITH n AS (SELECT unnest(range(0, 100000)) AS x) SELECT count(*) FROM n a JOIN n b ON a.x + b.x < 0";
    let timed = serde_json::json!({ "sql": refusing, "settings": {"statement_timeout": "10ms"} });
    for _ in 0..70 {
        let (_, answer) = web.post(&timed.to_string(), "*/*").await;
        assert!(answer.contains("TW2003"), "{answer}");
    }
    assert_eq!(web.sql("SELECT 1 AS one").await.1, "{\"one\":1}\n");
    web.fixture.server.shutdown().await;
    let mut last = String::new();
    let mut client = clients.pop().expect("a client");
    client.read_to_string(&mut last).await.expect("an answer");
    assert!(last.contains("TW2004"), "{last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_rows_do_not_show_is_the_last_line() {
    let web = Web::new().await;
    web.fixture
        .run("CREATE SOURCE n (id BIGINT) WITH (topic = 'n', partitions = 1)")
        .await;
    let sql = r#"{"sql": "SELECT id FROM n"}"#;
    let (_, body) = web.post(sql, "*/*").await;
    assert_eq!(body, "", "nothing is missing");
    let writer = web.fixture.log().writer().await.expect("a writer");
    for value in [r#"{"id":1}"#, r#"{"id":"two"}"#] {
        let mut batch = log_api::BatchBuilder::new(log_api::Compression::None);
        batch.append(1, None, Some(value.as_bytes()), &[]);
        let partition = log_api::TopicPartition::new("n", 0);
        writer.append(&partition, batch).await.expect("an append");
    }
    let (_, body) = web.post(sql, "*/*").await;
    let (rows, last) = body.split_once('\n').expect("two lines");
    assert_eq!(rows, r#"{"id":1}"#);
    let last: serde_json::Value = serde_json::from_str(last).expect("JSON");
    let notice = &last["notices"][0];
    assert_eq!(
        (&notice["code"], &notice["severity"]),
        (&"TW2101".into(), &"warning".into())
    );
    let message = notice["message"].as_str().expect("a text");
    assert!(
        message.starts_with("1 of 2 records of n could not be read ("),
        "{message}"
    );
    let (_, body) = web.post(sql, "text/csv").await;
    assert!(
        body.starts_with("id\n1\n") && body.contains("NOTICE: 1 of 2 records"),
        "{body}"
    );
    let (_, body) = web.post(sql, "text/event-stream").await;
    assert!(
        body.starts_with("data: {\"id\":1}\n\nevent: notice\ndata: {\"notices\":"),
        "{body}"
    );
}
