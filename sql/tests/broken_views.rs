//! A view that does not go on says so, and what belongs to a view is nobody else's.

use crate::fixture::Fixture;

const TABLE: &str = "CREATE TABLE t (k INT PRIMARY KEY, x INT) WITH (topic = 't', partitions = 1)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_without_its_topic_fails_and_is_not_made_again_empty() {
    let fixture = Fixture::new().await;
    fixture.run(TABLE).await;
    fixture
        .run("CREATE MATERIALIZED VIEW v AS SELECT k, x FROM t; INSERT INTO t VALUES (1, 1)")
        .await;
    assert_eq!(fixture.rows("SELECT * FROM v").await, [["1", "1"]]);
    fixture.delete_topic("v").await;
    // Nothing was written since: it is found out with the next row at the latest.
    fixture.run("INSERT INTO t VALUES (2, 2)").await;
    let refused = fixture
        .refused("SET read_your_writes = on; SELECT * FROM v")
        .await;
    assert!(
        refused.message.contains("was deleted"),
        "{}",
        refused.message
    );

    let fixture = fixture.restart().await;
    let refused = fixture.refused("SELECT * FROM v").await;
    assert!(
        refused.message.contains("was deleted"),
        "{}",
        refused.message
    );
    let followed = fixture.refused("SELECT * FROM v EMIT CHANGES").await;
    assert_eq!(
        (followed.code, followed.message),
        (refused.code, refused.message)
    );
    let why = fixture.rows("EXPLAIN WHY v").await;
    assert!(!format!("{why:?}").contains("still reading"), "{why:?}");
    let jobs = fixture.rows("SHOW JOBS").await;
    assert!(jobs[0][1].starts_with("FAILED"), "{jobs:?}");
    // The way out that the error names.
    fixture
        .run("DROP MATERIALIZED VIEW v; CREATE MATERIALIZED VIEW v AS SELECT k, x FROM t")
        .await;
    let rows = fixture.sorted("SELECT * FROM v").await;
    assert_eq!(rows, [["1", "1"], ["2", "2"]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_side_topics_are_no_names() {
    let fixture = Fixture::new().await;
    fixture.run(TABLE).await;
    for sql in [
        "CREATE MATERIALIZED VIEW \"v.errors\" AS SELECT k FROM t",
        "CREATE TABLE \"v.late\" (k INT PRIMARY KEY)",
        "CREATE TABLE w (k INT PRIMARY KEY) WITH (topic = 'v.errors')",
    ] {
        assert_eq!(fixture.refused(sql).await.code, "TW1305", "{sql}");
    }
    // Reading them is what they are for.
    fixture
        .run("CREATE SOURCE rest (k INT) WITH (topic = 'v.late', partitions = 1)")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_cannot_run_is_not_made_and_leaves_nothing_behind() {
    let fixture = Fixture::new().await;
    fixture.run(TABLE).await;
    // Of a view of that name whose end was cut short.
    fixture.create_topic("_thalweg.v.changelog").await;
    let create = "CREATE MATERIALIZED VIEW v AS SELECT k, x FROM t";
    let refused = fixture.refused(create).await;
    assert!(
        refused.message.contains("was deleted"),
        "{}",
        refused.message
    );
    assert_eq!(fixture.refused("SELECT * FROM v").await.code, "TW1101");
    // What was in the way is gone with it.
    fixture.run(create).await;
    fixture.run("INSERT INTO t VALUES (1, 2)").await;
    assert_eq!(fixture.rows("SELECT * FROM v").await, [["1", "2"]]);
}
