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
            .starts_with("1 key of t lies in more than one partition"),
        "{notice}"
    );
    assert!(why(&fixture, "t").await.contains("murmur2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_where_kafka_would_not_put_them_are_counted() {
    let fixture = Fixture::new().await;
    fixture
        .run("CREATE TABLE t (k TEXT PRIMARY KEY, v BIGINT) WITH (topic = 't', partitions = 3)")
        .await;
    let record = r#"{"v":1}"#;
    let home = |key: &str| log_api::partition_for_key(key.as_bytes(), 3);
    put(&fixture, "t", &[(home("a"), Some("a"), record)]).await;
    assert!(!why(&fixture, "t").await.contains("murmur2"));
    let foreign = [
        ((home("b") + 1) % 3, Some("b"), record),
        ((home("c") + 2) % 3, Some("c"), record),
    ];
    put(&fixture, "t", &foreign).await;
    let told = why(&fixture, "t").await;
    assert!(
        told.contains("2 keys lie where Kafka's partitioner"),
        "{told}"
    );
    let (_, notices) = answer(&fixture, "SELECT * FROM t").await;
    assert!(notices.is_empty(), "nothing is lost yet: {notices:?}");
}

/// A source whose second row cannot be read, a view over it, one over that, and one over that.
const TOWER: &str = "
    CREATE SOURCE n (id BIGINT, name TEXT) WITH (topic = 'n', partitions = 1);
    CREATE MATERIALIZED VIEW one AS SELECT id, count(*) AS n FROM n GROUP BY id;
    CREATE MATERIALIZED VIEW two AS SELECT id, n + 1 AS n FROM one;
    CREATE MATERIALIZED VIEW three AS SELECT id, n + 1 AS n FROM two";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_view_left_out_is_told_by_all_above_it() {
    let fixture = Fixture::new().await;
    fixture.run(TOWER).await;
    let records = [(0, None, r#"{"id":1}"#), (0, None, r#"{"id":"two"}"#)];
    put(&fixture, "n", &records).await;
    assert_eq!(fixture.rows("SELECT * FROM three").await, [["1", "3"]]);
    let lost = "view one could not take: 1 record could not be read (topic one.errors)";
    let (_, notices) = answer(&fixture, "SELECT * FROM three").await;
    let [notice] = notices.as_slice() else {
        panic!("{notices:?}")
    };
    assert_eq!(notice.message, format!("view three is without what {lost}"));
    assert_eq!(notice.code, "TW2101");

    // Who follows changes is told before the first of them.
    let followed = fixture
        .run("SELECT * FROM three EMIT CHANGES LIMIT 1")
        .await;
    let Some(Answer::Changes { mut changes, .. }) = followed.into_iter().next_back() else {
        panic!("a query with EMIT CHANGES")
    };
    let notices = changes.notices();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].message.ends_with(lost), "{notices:?}");
    assert!(changes.next().await.expect("a change").is_ok());
    assert!(changes.notices().is_empty(), "each once");
}

/// A query that goes on over a source tells what it leaves out itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_a_source_say_what_they_leave_out() {
    let fixture = Fixture::new().await;
    fixture
        .run("CREATE SOURCE n (id BIGINT) WITH (topic = 'n', partitions = 1)")
        .await;
    put(&fixture, "n", &[(0, None, r#"{"id":"one"}"#)]).await;
    let followed = fixture.run("SELECT * FROM n EMIT CHANGES LIMIT 1").await;
    let Some(Answer::Changes { mut changes, .. }) = followed.into_iter().next_back() else {
        panic!("a query with EMIT CHANGES")
    };
    assert!(changes.notices().is_empty(), "nothing is read yet");
    // It is told though no change comes with it.
    let first = changes.next().await.expect("a word").expect("no error");
    assert!(first.is_empty(), "{first:?}");
    let [notice] = changes.notices().try_into().expect("one notice");
    assert!(
        notice
            .message
            .starts_with("left out so far: 1 record could not be read (last: ")
            && notice.message.ends_with(" at n-0@0)"),
        "{}",
        notice.message
    );
    // The second is not told before there are twice as many; the last word is.
    let records = [(0, None, r#"{"id":"two"}"#), (0, None, r#"{"id":3}"#)];
    put(&fixture, "n", &records).await;
    let mut seen = 0;
    while let Some(next) = changes.next().await {
        seen += next.expect("no error").len();
    }
    assert_eq!(seen, 1);
    let notices = changes.notices();
    let last = notices.last().expect("the last word");
    assert!(
        last.message.starts_with("left out so far: 2 records"),
        "{notices:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_rows_are_told_with_the_rows_of_their_view() {
    let fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE SOURCE s (ts TIMESTAMP, WATERMARK FOR ts AS ts) WITH (topic = 's', partitions = 1);
             CREATE MATERIALIZED VIEW minutes AS
               SELECT window_start, window_end, count(*) AS n FROM TUMBLE(s, ts, INTERVAL '1 minute')
               GROUP BY window_start, window_end;
             INSERT INTO s VALUES ('2024-05-01 10:00:10'), ('2024-05-01 10:02:00')",
        )
        .await;
    assert_eq!(fixture.rows("SELECT count(*) FROM minutes").await, [["2"]]);
    fixture
        .run("INSERT INTO s VALUES ('2024-05-01 10:00:20')")
        .await;
    assert_eq!(fixture.rows("SELECT sum(n) FROM minutes").await, [["2"]]);
    let (_, notices) = answer(&fixture, "SELECT * FROM minutes").await;
    let [notice] = notices.as_slice() else {
        panic!("{notices:?}")
    };
    assert!(
        notice
            .message
            .contains("1 row came too late (topic minutes.late)"),
        "{notice}"
    );
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_that_is_too_long_for_its_column_is_left_out() {
    let fixture = Fixture::new().await;
    fixture
        .run("CREATE SOURCE n (a VARCHAR(3), b CHAR(2)) WITH (topic = 'n', partitions = 1)")
        .await;
    let records = [
        (0, None, r#"{"a":"abcd","b":"x"}"#),
        (0, None, r#"{"a":"abc  ","b":"x   "}"#),
        (0, None, r#"{"a":"\u00e9t\u00e9","b":"xy"}"#),
        (0, None, r#"{"a":"\u00e9t\u00e9s","b":"xy"}"#),
        (0, None, r#"{"a":"a","b":"xyz"}"#),
    ];
    put(&fixture, "n", &records).await;
    let (rows, notices) = answer(&fixture, "SELECT a, b FROM n").await;
    assert_eq!(rows, [["abc", "x"], ["été", "xy"]]);
    let [notice] = notices.as_slice() else {
        panic!("{notices:?}")
    };
    assert!(
        notice.message.contains("3 of 5 records")
            && notice
                .message
                .contains("column \"a\" is VARCHAR(3), \"abcd\" is longer"),
        "{}",
        notice.message
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_deleted_under_a_source_is_told_with_what_helps() {
    let fixture = Fixture::new().await;
    fixture
        .run("CREATE SOURCE s (a INT) WITH (topic = 'lost')")
        .await;
    fixture.delete_topic("lost").await;
    for statement in ["SELECT * FROM s", "EXPLAIN WHY s"] {
        let error = fixture.refused(statement).await;
        assert_eq!(
            error.to_string(),
            "topic lost of source s does not exist any more (DROP SOURCE s, or make the topic anew: thalweg topic create lost)",
            "{statement}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_select_waits_for_what_was_written_as_long_as_it_is_told_to() {
    let fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE TABLE t (k BIGINT PRIMARY KEY) WITH (topic = 't');
             CREATE MATERIALIZED VIEW v AS SELECT k, k * 2 AS twice FROM t;
             CREATE MATERIALIZED VIEW w AS SELECT count(*) AS n FROM v;
             INSERT INTO t VALUES (1), (2)",
        )
        .await;
    let patient = "SET read_your_writes = '600s'; SELECT n FROM w";
    let (rows, notices) = answer(&fixture, patient).await;
    assert_eq!(rows, [["2"]]);
    assert!(notices.is_empty(), "{notices:?}");
    fixture
        .run("ALTER MATERIALIZED VIEW v PAUSE; INSERT INTO t VALUES (3)")
        .await;
    let hasty = "SET read_your_writes = '10ms'; SELECT n FROM w";
    let (rows, notices) = answer(&fixture, hasty).await;
    assert_eq!(rows, [["2"]]);
    let behind = |notice: &Diagnostic| notice.code == "TW2102" && notice.message.contains("view w");
    assert!(notices.iter().any(behind), "{notices:?}");
    let wrong = fixture.refused("SET read_your_writes = 'soon'").await;
    assert_eq!(wrong.help.as_deref(), Some("on, off or a time: 500ms, 1s"));
}
