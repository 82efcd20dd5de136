//! CREATE OR REPLACE MATERIALIZED VIEW by a query that differs above what the view keeps.

use log_api::TopicPartition;
use sql::Answer;

use crate::fixture::Fixture;

/// The first note of the last answer.
async fn told(fixture: &Fixture, sql: &str) -> String {
    match fixture.run(sql).await.pop() {
        Some(Answer::Done { notes, .. }) => notes.into_iter().next().unwrap_or_default(),
        other => panic!("{sql} gave {other:?}"),
    }
}

/// Takes away what the topic holds.
async fn trim(fixture: &Fixture, topic: &str) {
    let all = vec![(TopicPartition::new(topic, 0), i64::MAX)];
    let admin = fixture.log().admin();
    let end = admin
        .offset(&all[0].0, log_api::OffsetSpec::Latest)
        .await
        .expect("the topic is there");
    let all = all.into_iter().map(|(partition, _)| (partition, end));
    admin
        .delete_records(all.collect())
        .await
        .expect("records go");
}

const KEPT: &str = "what it keeps stays";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_made_again_of_groups_and_who_reads_them_sees_what_differs() {
    let fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE SOURCE orders (city TEXT, n INT) WITH (topic = 'orders', partitions = 1);
             INSERT INTO orders VALUES ('ams', 5), ('ber', 1), ('ams', 2), ('ber', 7), ('rom', 9);
             CREATE MATERIALIZED VIEW busy AS
               SELECT city, count(*) AS n, sum(n) AS total FROM orders GROUP BY city HAVING count(*) > 1;
             CREATE MATERIALIZED VIEW sums AS SELECT count(*) AS cities, sum(total) AS total FROM busy",
        )
        .await;
    assert_eq!(
        fixture.sorted("SELECT * FROM busy").await,
        [["ams", "2", "7"], ["ber", "2", "8"]]
    );
    assert_eq!(fixture.rows("SELECT * FROM sums").await, [["2", "15"]]);
    // Nothing can be read again.
    trim(&fixture, "orders").await;
    let replaced = "CREATE OR REPLACE MATERIALIZED VIEW busy AS
        SELECT city, count(*) AS n, 10 * sum(n) AS total FROM orders GROUP BY city HAVING sum(n) > 7";
    let note = told(&fixture, replaced).await;
    assert!(note.starts_with(KEPT), "{note}");
    let rows = [["ber", "2", "80"], ["rom", "1", "90"]];
    assert_eq!(fixture.sorted("SELECT * FROM busy").await, rows);
    assert_eq!(fixture.rows("SELECT * FROM sums").await, [["2", "170"]]);
    let note = told(&fixture, replaced).await;
    assert!(note.starts_with("its plan is the same"), "{note}");

    let fixture = fixture.restart().await;
    assert_eq!(fixture.sorted("SELECT * FROM busy").await, rows);
    fixture.run("INSERT INTO orders VALUES ('ams', 1)").await;
    assert_eq!(
        fixture.sorted("SELECT * FROM busy").await,
        [["ams", "3", "80"], ["ber", "2", "80"], ["rom", "1", "90"]]
    );
    assert_eq!(fixture.rows("SELECT * FROM sums").await, [["3", "250"]]);

    // What is grouped otherwise, or has other columns, is not made of it.
    let refused = fixture
        .refused(
            "CREATE OR REPLACE MATERIALIZED VIEW busy AS
               SELECT city, count(*) AS n, max(n) AS total FROM orders GROUP BY city",
        )
        .await;
    assert_eq!(refused.message, "view busy is used by sums");
    fixture.run("DROP MATERIALIZED VIEW sums").await;
    let note = told(
        &fixture,
        "CREATE OR REPLACE MATERIALIZED VIEW busy AS
           SELECT city, count(*) AS orders, 10 * sum(n) AS total FROM orders GROUP BY city HAVING sum(n) > 7",
    )
    .await;
    assert!(note.starts_with("its rows are computed anew"), "{note}");
    assert_eq!(fixture.rows("SELECT count(*) FROM busy").await, [["0"]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_made_again_of_a_table() {
    let fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE TABLE goods (id INT PRIMARY KEY, name TEXT, n INT) WITH (topic = 'goods', partitions = 1);
             INSERT INTO goods VALUES (1, 'pen', 5), (2, 'ink', 0), (3, 'cap', 2);
             CREATE MATERIALIZED VIEW there AS SELECT id, upper(name) AS name FROM goods WHERE n > 0",
        )
        .await;
    assert_eq!(
        fixture.sorted("SELECT * FROM there").await,
        [["1", "PEN"], ["3", "CAP"]]
    );
    let note = told(
        &fixture,
        "CREATE OR REPLACE MATERIALIZED VIEW there AS SELECT id, lower(name) AS name FROM goods WHERE n < 5",
    )
    .await;
    assert!(note.starts_with(KEPT), "{note}");
    assert_eq!(
        fixture.sorted("SELECT * FROM there").await,
        [["2", "ink"], ["3", "cap"]]
    );
    fixture.run("DELETE FROM goods WHERE id = 3").await;
    assert_eq!(fixture.rows("SELECT * FROM there").await, [["2", "ink"]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_failed_are_not_lacking_once_they_are_made_again() {
    let fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE TABLE parts (id INT PRIMARY KEY, k TEXT, x INT) WITH (topic = 'parts', partitions = 1);
             INSERT INTO parts VALUES (1, 'a', 1), (2, 'a', 2), (3, 'b', 5), (4, 'c', 1);
             CREATE MATERIALIZED VIEW sums AS SELECT k, sum(x) AS s, count(*) AS n FROM parts GROUP BY k",
        )
        .await;
    let failing = "CREATE OR REPLACE MATERIALIZED VIEW sums AS SELECT k, 1 / (sum(x) - 5) AS s, count(*) AS n FROM parts GROUP BY k";
    let note = told(&fixture, failing).await;
    assert!(note.starts_with(KEPT), "{note}");
    let failed = "SELECT failed FROM sys.errors WHERE failed > 0 AND job = 'sums'";
    assert_eq!(fixture.rows(failed).await, [["1"]]);
    let mended = "CREATE OR REPLACE MATERIALIZED VIEW sums AS SELECT k, sum(x) AS s, count(*) AS n FROM parts GROUP BY k";
    for _ in 0..2 {
        told(&fixture, mended).await;
        assert_eq!(
            fixture.sorted("SELECT k, s FROM sums").await,
            [["a", "3"], ["b", "5"], ["c", "1"]]
        );
        assert_eq!(fixture.rows(failed).await, [[""; 0]; 0]);
    }
    let fixture = fixture.restart().await;
    assert_eq!(fixture.rows(failed).await, [[""; 0]; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_around_the_groups_keeps_them() {
    let fixture = Fixture::new().await;
    let groups = "SELECT k, count(*) AS n, sum(v) AS s FROM shots GROUP BY k";
    fixture
        .run(&format!(
            "CREATE SOURCE shots (k TEXT, v INT) WITH (topic = 'shots', partitions = 1);
             INSERT INTO shots VALUES ('a', 1), ('a', 2), ('b', 5);
             CREATE MATERIALIZED VIEW kept AS {groups};
             CREATE MATERIALIZED VIEW above AS SELECT sum(n) AS n FROM kept"
        ))
        .await;
    assert_eq!(fixture.rows("SELECT * FROM above").await, [["3"]]);
    // Nothing can be read again.
    trim(&fixture, "shots").await;
    let replaced = |query: &str| format!("CREATE OR REPLACE MATERIALIZED VIEW kept AS {query}");
    for (query, rows, above) in [
        (
            format!("SELECT * FROM ({groups}) x WHERE n > 1"),
            vec![["a", "2", "3"]],
            "2",
        ),
        (
            format!("WITH y AS ({groups}) SELECT k, n, s FROM y WHERE n % 2 = 1"),
            vec![["b", "1", "5"]],
            "1",
        ),
        (
            groups.to_owned(),
            vec![["a", "2", "3"], ["b", "1", "5"]],
            "3",
        ),
        (
            format!("SELECT k, n, -s AS s FROM ({groups}) z"),
            vec![["a", "2", "-3"], ["b", "1", "-5"]],
            "3",
        ),
    ] {
        let note = told(&fixture, &replaced(&query)).await;
        assert!(note.starts_with(KEPT), "{query}: {note}");
        assert_eq!(fixture.sorted("SELECT * FROM kept").await, rows, "{query}");
        assert_eq!(
            fixture.rows("SELECT * FROM above").await,
            [[above]],
            "{query}"
        );
    }
    let fixture = fixture.restart().await;
    fixture.run("INSERT INTO shots VALUES ('b', 1)").await;
    assert_eq!(
        fixture.sorted("SELECT * FROM kept").await,
        [["a", "2", "-3"], ["b", "2", "-6"]]
    );
    assert_eq!(fixture.rows("SELECT * FROM above").await, [["4"]]);
}
