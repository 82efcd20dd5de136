//! What an answer does not show is told with it: records that could not be read, views that are behind, keys in two places.

use log_api::{BatchBuilder, Compression, TopicPartition};
use sql::{Answer, Diagnostic};

use crate::fixture::{Fixture, texts};

/// Puts records where they are said to lie, whatever their key.
async fn put(fixture: &Fixture, topic: &str, records: &[(i32, Option<&str>, &str)]) {
    let log = fixture.log();
    let writer = log.writer().await.expect("a writer");
    for (partition, key, value) in records {
        let mut batch = BatchBuilder::new(Compression::None);
        batch.append(1, key.map(str::as_bytes), Some(value.as_bytes()), &[]);
        let partition = TopicPartition::new(topic, *partition);
        writer.append(&partition, batch).await.expect("an append");
    }
}

/// Rows and notices of the last statement.
async fn answer(fixture: &Fixture, sql: &str) -> (Vec<Vec<String>>, Vec<Diagnostic>) {
    match fixture.run(sql).await.pop() {
        Some(Answer::Rows {
            batches, notices, ..
        }) => (texts(&batches), notices),
        other => panic!("{sql} gave {other:?}"),
    }
}

async fn why(fixture: &Fixture, name: &str) -> String {
    let (rows, _) = answer(fixture, &format!("EXPLAIN WHY {name}")).await;
    let lines: Vec<String> = rows.into_iter().map(|row| row.join(" ")).collect();
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_select_says_what_it_left_out_why_and_where() {
    let fixture = Fixture::new().await;
    fixture
        .run("CREATE SOURCE n (id BIGINT, name TEXT) WITH (topic = 'n', partitions = 1)")
        .await;
    let (rows, notices) = answer(&fixture, "SELECT * FROM n").await;
    assert!(rows.is_empty() && notices.is_empty(), "{notices:?}");
    put(
        &fixture,
        "n",
        &[
            (0, None, r#"{"id":1,"name":"a"}"#),
            (0, None, r#"{"id":2,"name":{"first":"b"}}"#),
            (0, None, r#"{"id":"three","name":"c"}"#),
        ],
    )
    .await;
    let (rows, notices) = answer(&fixture, "SELECT count(*) AS n FROM n").await;
    assert_eq!(rows, [["1"]]);
    let [notice] = notices.as_slice() else {
        panic!("{notices:?}")
    };
    assert_eq!(notice.code, "TW2101");
    assert!(
        notice
            .message
            .starts_with("2 of 3 records of n could not be read (first: ")
            && notice.message.ends_with(" at n-0@1)"),
        "{}",
        notice.message
    );
    // Read twice, told once.
    let (_, notices) = answer(&fixture, "SELECT a.id FROM n a JOIN n b ON a.id = b.id").await;
    assert_eq!(notices.len(), 1, "{notices:?}");

    let told = why(&fixture, "n").await;
    assert!(
        told.starts_with(
            "source n shows 1 row: topic n holds 3 records in 1 partition\n2 of 3 records"
        ),
        "{told}"
    );
    assert!(told.ends_with("no view reads it"), "{told}");

    // The view says so at once, and with each answer.
    let made = fixture
        .run("CREATE MATERIALIZED VIEW v AS SELECT id, count(*) AS n FROM n GROUP BY id")
        .await;
    let Some(Answer::Done { notes, .. }) = made.last() else {
        panic!("{made:?}")
    };
    let left_out = "2 records could not be read (topic v.errors)";
    assert!(
        notes.iter().any(|note| note.starts_with(left_out)),
        "{notes:?}"
    );
    let (rows, notices) = answer(&fixture, "SELECT * FROM v").await;
    assert_eq!(rows, [["1", "1"]], "CREATE has waited for what was there");
    assert!(notices[0].message.ends_with(left_out), "{notices:?}");
    let told = why(&fixture, "v").await;
    assert!(
        told.starts_with(&format!(
            "v is running and has written 1 change; {left_out}\n"
        )),
        "{told}"
    );
    assert!(why(&fixture, "n").await.ends_with("read by v"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bare_topic_says_how_to_read_it() {
    let fixture = Fixture::new().await;
    fixture.create_topic("bare").await;
    put(&fixture, "bare", &[(0, None, "x")]).await;
    let told = why(&fixture, "bare").await;
    assert!(
        told.starts_with(
            "topic bare has 1 offset in 1 partition (0: 1)\nnothing reads it: CREATE SOURCE"
        ),
        "{told}"
    );
    let error = fixture.refused("SELECT * FROM bare").await;
    let help = error.help.unwrap_or_default();
    assert!(help.contains("CREATE SOURCE bare ("), "{help}");
    let error = fixture.refused("EXPLAIN WHY nothing").await;
    assert_eq!(error.code, "TW1101");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_in_two_partitions_is_told() {
    let fixture = Fixture::new().await;
    fixture
        .run("CREATE TABLE t (k TEXT PRIMARY KEY, v BIGINT) WITH (topic = 't', partitions = 3)")
        .await;
    let record = r#"{"v":1}"#;
    put(
        &fixture,
        "t",
        &[(0, Some("a"), record), (1, Some("b"), record)],
    )
    .await;
    let (_, notices) = answer(&fixture, "SELECT * FROM t").await;
    assert!(notices.is_empty(), "one place a key is fine: {notices:?}");
    put(&fixture, "t", &[(2, Some("a"), record)]).await;
    let (rows, notices) = answer(&fixture, "SELECT * FROM t").await;
    assert_eq!(rows.len(), 2);
    let [notice] = notices.as_slice() else {
        panic!("{notices:?}")
    };
    assert_eq!(notice.code, "TW2103");
    assert!(
        notice
            .message
            .starts_with("1 key of t lie in more than one partition"),
        "{notice}"
    );
    assert!(why(&fixture, "t").await.contains("murmur2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_view_holds_what_was_there_unless_it_is_not_waited_for() {
    let fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE TABLE t (k BIGINT PRIMARY KEY, v BIGINT) WITH (topic = 't');
              INSERT INTO t SELECT x AS k, x AS v FROM (SELECT unnest(range(0, 5000)) AS x) r",
        )
        .await;
    let (rows, notices) = answer(
        &fixture,
        "CREATE MATERIALIZED VIEW waited AS SELECT k % 7 AS g, count(*) AS n FROM t GROUP BY k % 7;
         SELECT sum(n) AS n FROM waited",
    )
    .await;
    assert_eq!(rows, [["5000"]]);
    assert!(notices.is_empty(), "{notices:?}");
    // Whatever it has by then, an answer that is not whole says so.
    let (rows, notices) = answer(
        &fixture,
        "CREATE MATERIALIZED VIEW hasty WITH (wait = off) AS SELECT k % 7 AS g, count(*) AS n FROM t GROUP BY k % 7;
         SELECT sum(n) AS n FROM hasty",
    )
    .await;
    assert_eq!(
        rows != [["5000"]],
        !notices.is_empty(),
        "{rows:?} {notices:?}"
    );
    assert!(
        notices.iter().all(|notice| notice.code == "TW2102"),
        "{notices:?}"
    );
    for (option, code) in [("wiat = off", "TW1301"), ("wait = 'soon'", "TW1302")] {
        let sql = format!("CREATE MATERIALIZED VIEW w WITH ({option}) AS SELECT k FROM t");
        assert_eq!(fixture.refused(&sql).await.code, code);
    }
}
