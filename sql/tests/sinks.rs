//! Sinks and paused views over restarts, and the topics of their own that they leave alone.

use sql::Answer;

use crate::fixture::{Fixture, texts};

/// Waits for so many changes of a query, and gives them with their sign.
async fn changes(fixture: &Fixture, sql: &str) -> Vec<Vec<String>> {
    let Some(Answer::Changes { mut changes, .. }) = fixture.run(sql).await.pop() else {
        panic!("{sql} does not go on")
    };
    let mut rows = Vec::new();
    while let Some(batch) = changes.next().await {
        for change in batch.expect("changes") {
            let row = texts(&[change.batch.slice(change.row, 1)]).remove(0);
            rows.push([vec![format!("{:+}", change.diff)], row].concat());
        }
    }
    rows.sort();
    rows
}

/// What SHOW says, but for its first column.
async fn shown(fixture: &Fixture, sql: &str, name: &str) -> Vec<String> {
    let rows = fixture.rows(sql).await;
    let row = rows.into_iter().find(|row| row[0] == name);
    row.unwrap_or_else(|| panic!("{sql} does not know {name}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_goes_on_where_it_was_after_a_restart() {
    let fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT);
             CREATE SINK s AS SELECT id % 2 AS odd, count(*) AS n FROM t GROUP BY id % 2
               WITH (topic = 'out', partitions = 1) FORMAT DEBEZIUM ENCODE JSON;
             CREATE SOURCE raw (before JSON, after JSON, op TEXT) WITH (topic = 'out');
             CREATE TABLE target (id BIGINT PRIMARY KEY, n BIGINT);
             INSERT INTO target SELECT id, n FROM t EMIT CHANGES;
             INSERT INTO t VALUES (1, 10)",
        )
        .await;
    let first = changes(
        &fixture,
        "SELECT op, before, after FROM raw EMIT CHANGES LIMIT 1",
    )
    .await;
    assert_eq!(first, [["+1", "c", "NULL", r#"{"odd":1,"n":1}"#]]);
    changes(&fixture, "SELECT * FROM target EMIT CHANGES LIMIT 1").await;

    let fixture = fixture.restart().await;
    assert_eq!(
        shown(&fixture, "SHOW SINKS", "s").await[..4],
        ["s", "out", "debezium", "odd"]
    );
    assert_eq!(
        shown(&fixture, "SHOW SINKS", "insert_into_target").await[1..4],
        ["target", "upsert", "id"]
    );
    fixture.run("INSERT INTO t VALUES (3, 30), (2, 20)").await;
    let all = changes(
        &fixture,
        "SELECT op, before, after FROM raw EMIT CHANGES LIMIT 3",
    )
    .await;
    assert_eq!(
        all,
        [
            ["+1", "c", "NULL", r#"{"odd":0,"n":1}"#],
            ["+1", "c", "NULL", r#"{"odd":1,"n":1}"#],
            ["+1", "u", r#"{"odd":1,"n":1}"#, r#"{"odd":1,"n":2}"#],
        ],
        "nothing is written twice"
    );
    let copied = changes(&fixture, "SELECT * FROM target EMIT CHANGES LIMIT 3").await;
    assert_eq!(
        copied,
        [["+1", "1", "10"], ["+1", "2", "20"], ["+1", "3", "30"]]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_never_takes_a_topic_away() {
    let fixture = Fixture::new().await;
    // A sink bears the name of a topic that is none of its business.
    fixture.create_topic("s").await;
    fixture
        .run(
            "CREATE TABLE t (id BIGINT PRIMARY KEY);
             CREATE SINK s FROM t WITH (topic = 'out');
             INSERT INTO t VALUES (1);
             CREATE SOURCE raw (id BIGINT) WITH (topic = 'out')",
        )
        .await;
    changes(&fixture, "SELECT id FROM raw EMIT CHANGES LIMIT 1").await;
    // Nor after a start at which it did not run.
    fixture.run("ALTER SINK s PAUSE").await;
    let fixture = fixture.restart().await;
    assert_eq!(shown(&fixture, "SHOW SINKS", "s").await[4], "PAUSED");
    fixture.run("DROP SINK s").await;
    let topics = fixture.rows("SHOW TOPICS").await;
    let topics: Vec<&str> = topics.iter().map(|row| row[0].as_str()).collect();
    assert!(
        topics.contains(&"s") && topics.contains(&"out"),
        "{topics:?}"
    );
    assert!(!topics.iter().any(|topic| topic.ends_with("changelog")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_view_stays_so_and_its_readers_are_told() {
    let fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE TABLE t (id BIGINT PRIMARY KEY);
             INSERT INTO t VALUES (1);
             CREATE MATERIALIZED VIEW v AS SELECT id FROM t;
             CREATE MATERIALIZED VIEW w AS SELECT count(*) AS n FROM v;
             ALTER MATERIALIZED VIEW v PAUSE",
        )
        .await;
    let fixture = fixture.restart().await;
    fixture.run("INSERT INTO t VALUES (2)").await;
    let Some(Answer::Rows {
        batches, notices, ..
    }) = fixture.run("SELECT n FROM w").await.pop()
    else {
        panic!("no rows")
    };
    assert_eq!(texts(&batches), [["1"]]);
    let told: Vec<_> = notices.iter().map(|notice| &notice.message).collect();
    assert_eq!(told, ["view w is no further than view v, which is paused"]);
    let refused = fixture.refused("SELECT * FROM v EMIT CHANGES").await;
    assert_eq!(refused.message, "view v is paused");
    fixture.run("ALTER MATERIALIZED VIEW v RESUME").await;
    assert_eq!(fixture.rows("SELECT n FROM w").await, [["2"]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_view_is_its_new_query_after_a_restart_too() {
    let fixture = Fixture::new().await;
    let done = fixture
        .run(
            "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT);
             INSERT INTO t VALUES (1, 10), (2, 20);
             CREATE MATERIALIZED VIEW v AS SELECT id, n FROM t;
             CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT n % 20 AS k, count(*) AS c FROM t GROUP BY n % 20;
             CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT n % 20 AS k, count(*) AS c FROM t GROUP BY (n % 20)",
        )
        .await;
    let notes: Vec<String> = (done.into_iter())
        .filter_map(|answer| match answer {
            Answer::Done { message, notes } if message.starts_with("replaced") => {
                notes.into_iter().next()
            }
            _ => None,
        })
        .collect();
    let [anew, same] = notes.as_slice() else {
        panic!("{notes:?}")
    };
    assert!(anew.starts_with("its rows are computed anew"), "{anew}");
    assert!(same.starts_with("its plan is the same"), "{same}");
    let fixture = fixture.restart().await;
    fixture.run("INSERT INTO t VALUES (3, 30)").await;
    let rows = fixture.sorted("SELECT * FROM v").await;
    assert_eq!(rows, [["0", "1"], ["10", "2"]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_an_insert_that_goes_on_are_held_to_what_its_table_declares() {
    let fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT);
             CREATE TABLE names (name VARCHAR(3) PRIMARY KEY, n BIGINT);
             CREATE TABLE codes (id BIGINT PRIMARY KEY, code CHAR(3), name TEXT NOT NULL);
             CREATE SOURCE bad_names (raw BYTEA) WITH (topic = 'insert_into_names.errors', partitions = 1)
               INCLUDE HEADER 'thalweg.error.reason' AS reason FORMAT PLAIN ENCODE BYTES;
             CREATE SOURCE bad_codes (raw BYTEA) WITH (topic = 'insert_into_codes.errors', partitions = 1)
               INCLUDE HEADER 'thalweg.error.reason' AS reason FORMAT PLAIN ENCODE BYTES;
             INSERT INTO names SELECT name, count(*) FROM t GROUP BY name EMIT CHANGES;
             INSERT INTO codes SELECT id, name AS code, name FROM t EMIT CHANGES;
             INSERT INTO t VALUES (1, 'abc'), (2, 'abcd'), (3, 'ab   '), (4, NULL)",
        )
        .await;
    let reasons = |source: &'static str, bad: usize| {
        let sql = format!("SELECT reason FROM {source} EMIT CHANGES LIMIT {bad}");
        let fixture = &fixture;
        async move { changes(fixture, &sql).await }
    };
    assert_eq!(
        reasons("bad_names", 3).await,
        [
            ["+1", "column name cannot be NULL"],
            ["+1", "column name is VARCHAR(3), 'abcd' is longer"],
            [
                "+1",
                "column name leaves spaces at the end out, 'ab   ' has some"
            ],
        ],
        "a key is not changed: two of them could become one"
    );
    assert_eq!(
        reasons("bad_codes", 2).await,
        [
            ["+1", "column code is CHAR(3), 'abcd' is longer"],
            ["+1", "column name cannot be NULL"],
        ]
    );
    let names = changes(&fixture, "SELECT name, n FROM names EMIT CHANGES LIMIT 1").await;
    assert_eq!(names, [["+1", "abc", "1"]]);
    let codes = "SELECT id, code || '|' AS code FROM codes EMIT CHANGES LIMIT 2";
    assert_eq!(
        changes(&fixture, codes).await,
        [["+1", "1", "abc|"], ["+1", "3", "ab|"]]
    );
}
