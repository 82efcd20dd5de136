//! Rows that cannot be read: counted, kept in the error topic with where and why; the rest flows.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::fixture::process::{Server, thalweg};
use crate::fixture::{block_on, until};

fn produce(server: &Server, topic: &str, lines: &str) {
    let mut child = Command::new("kcat")
        .args(["-b", &server.kafka, "-t", topic, "-P"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
}

fn consume(server: &Server, topic: &str) -> Vec<serde_json::Value> {
    let output = thalweg()
        .args(["consume", topic, "--exit", "--json", "-b", &server.kafka])
        .output()
        .unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn undecodable_rows_go_to_the_error_topic_and_the_rest_flows() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path());
        server.sql("CREATE SOURCE s (k TEXT NOT NULL, n BIGINT) WITH (topic = 's', partitions = 1) FORMAT PLAIN ENCODE JSON").await;
        server
            .sql("CREATE MATERIALIZED VIEW v AS SELECT k, sum(n) AS total FROM s GROUP BY k")
            .await;
        produce(
            &server,
            "s",
            "{\"k\":\"a\",\"n\":1}\nnot json\n{\"k\":\"a\",\"n\":\"two\"}\n{\"n\":3}\n{\"k\":\"a\",\"n\":4}\n",
        );
        let view = || async { server.sql("SELECT * FROM v").await };
        let rows = until("the view", view, |rows| {
            rows.first() == Some(&serde_json::json!({"k": "a", "total": 5}))
                && rows.iter().any(|row| {
                    row["notices"][0]["message"]
                        .to_string()
                        .contains("3 records")
                })
        })
        .await;
        assert_eq!(rows.len(), 2, "{rows:#?}");
        let bad = consume(&server, "v.errors");
        assert_eq!(bad.len(), 3, "{bad:#?}");
        assert_eq!(bad[0]["value"], "not json");
        let headers = bad
            .iter()
            .map(|row| row["headers"].to_string())
            .collect::<Vec<_>>();
        assert!(
            headers[1].contains('n') && headers[1].contains("s-0@2"),
            "{}",
            headers[1]
        );
        let why = format!("{:?}", server.sql("EXPLAIN WHY v").await);
        assert!(why.contains('3') && why.contains("undecodable"), "{why}");
    });
}

#[test]
fn late_rows_are_counted_and_kept() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path());
        server
            .sql(
                "CREATE SOURCE s (ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1 minute') \
                   WITH (topic = 's', partitions = 1) FORMAT PLAIN ENCODE JSON; \
                 CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS n \
                   FROM TUMBLE(s, ts, INTERVAL '1 hour') GROUP BY window_start",
            )
            .await;
        produce(
            &server,
            "s",
            "{\"ts\":\"2024-01-01T10:00:00Z\"}\n{\"ts\":\"2024-01-01T12:00:00Z\"}\n{\"ts\":\"2024-01-01T10:30:00Z\"}\n{\"ts\":\"2024-01-01T12:01:00Z\"}\n",
        );
        let expected = serde_json::json!([
            {"window_start": "2024-01-01T10:00:00", "n": 1},
            {"window_start": "2024-01-01T12:00:00", "n": 2},
        ]);
        let view = || async {
            let mut rows = server.sql("SELECT * FROM v ORDER BY window_start").await;
            let notice = rows.pop_if(|row| row.get("notices").is_some());
            (serde_json::Value::Array(rows), notice)
        };
        let whole = |(rows, _): &(serde_json::Value, _)| *rows == expected;
        let (_, notice) = until("the view", view, whole).await;
        // Whoever reads the view is told what it is without.
        let notice = notice.unwrap().to_string();
        assert!(
            notice.contains("1 row came too late (topic v.late)"),
            "{notice}"
        );
        let late = consume(&server, "v.late");
        assert_eq!(late.len(), 1, "{late:#?}");
        assert_eq!(late[0]["value"]["ts"], "2024-01-01T10:30:00Z");
        let headers = late[0]["headers"].to_string();
        assert!(
            headers.contains("thalweg.late.source") && headers.contains("s-0@2"),
            "{headers}"
        );
    });
}
