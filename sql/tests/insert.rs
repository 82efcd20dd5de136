//! INSERT and DELETE: all rows of a statement, or none; over the records of other producers.

use log_api::{BatchBuilder, Compression, TopicPartition, partition_for_key};

use crate::fixture::Fixture;

/// Keys as other producers spell them lie where those put them; rows are replaced and deleted there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_other_producers_are_replaced_and_deleted() {
    let fixture = Fixture::new().await;
    fixture
        .run("CREATE TABLE bins (id BIGINT PRIMARY KEY, v INT) WITH (topic = 'bins', partitions = 4);
              CREATE MATERIALIZED VIEW before AS SELECT id, v FROM bins")
        .await;
    let log = fixture.log();
    let writer = log.writer().await.expect("a writer");
    for id in 11..=18 {
        let (key, value) = match id % 3 {
            0 => (format!("{id}"), format!("{{\"id\":{id},\"v\":1}}")),
            1 => (format!("{{\"id\": {id}}}"), "{\"v\":1}".to_owned()),
            _ => (format!("{{\"ID\":{id}}}"), "{\"v\":1}".to_owned()),
        };
        let mut batch = BatchBuilder::new(Compression::None);
        batch.append(1, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
        let partition = TopicPartition::new("bins", partition_for_key(key.as_bytes(), 4));
        writer.append(&partition, batch).await.expect("an append");
    }
    fixture
        .run("INSERT INTO bins VALUES (11, 5), (12, 5), (13, 5), (19, 5)")
        .await;
    let expected = [["1", "5"], ["5", "4"]];
    for relation in ["bins", "before"] {
        let counted = format!("SELECT v, count(*) FROM {relation} GROUP BY v");
        assert_eq!(fixture.sorted(&counted).await, expected, "{relation}");
    }
    fixture.run("DELETE FROM bins WHERE id >= 12").await;
    fixture
        .run("CREATE MATERIALIZED VIEW after AS SELECT id, v FROM bins")
        .await;
    for relation in ["bins", "before", "after"] {
        let left = fixture.rows(&format!("SELECT id, v FROM {relation}")).await;
        assert_eq!(left, [["11", "5"]], "{relation}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_fails_in_the_middle_writes_nothing() {
    let fixture = Fixture::new().await;
    fixture
        .run("CREATE TABLE t (id INT PRIMARY KEY, s TEXT); CREATE MATERIALIZED VIEW v AS SELECT id, length(s) AS n FROM t")
        .await;
    // The last row is larger than a batch of the topic may be; the others go to all partitions before it.
    let rows = "SELECT x AS id, CASE WHEN x = 99 THEN repeat('x', 3000000) ELSE 'y' END AS s FROM (SELECT unnest(range(0, 100)) AS x)";
    let refused = fixture.refused(&format!("INSERT INTO t {rows}")).await;
    assert_eq!(refused.code, "TW3001", "{refused:?}");
    assert_eq!(fixture.rows("SELECT count(*) FROM t").await, [["0"]]);

    fixture
        .run(&format!(
            "INSERT INTO t SELECT * FROM ({rows}) r WHERE id < 99"
        ))
        .await;
    assert_eq!(fixture.rows("SELECT count(*) FROM t").await, [["99"]]);
    assert_eq!(fixture.rows("SELECT count(*) FROM v").await, [["99"]]);
    fixture.run("DELETE FROM t WHERE id < 50").await;
    assert_eq!(fixture.rows("SELECT count(*) FROM v").await, [["49"]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_fit_the_topic_are_inserted_beside_each_other() {
    let fixture = Fixture::new().await;
    fixture
        .run("CREATE TABLE big (id BIGINT PRIMARY KEY, s TEXT) WITH (partitions = 1)")
        .await;
    fixture
        .run("INSERT INTO big SELECT * FROM (VALUES (1, repeat('a', 520000)), (2, repeat('b', 600000))) v(id, s)")
        .await;
    let lengths = fixture.sorted("SELECT id, length(s) AS n FROM big").await;
    assert_eq!(lengths, [["1", "520000"], ["2", "600000"]]);
}
