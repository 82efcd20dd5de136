//! The catalog and the views come back after a restart; what was dropped stays away.

use crate::fixture::{Fixture, SCHEMA};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn catalog_and_views_survive_a_restart() {
    let fixture = Fixture::new().await;
    fixture.run(SCHEMA).await;
    fixture
        .run(
            "CREATE MATERIALIZED VIEW named AS /* by name */ SELECT a.name, count(*) AS n
             FROM readings r JOIN airlines a ON CAST(r.sensor AS TEXT) = a.carrier GROUP BY a.name;
             CREATE MATERIALIZED VIEW gone AS SELECT sensor, count(*) AS n FROM readings GROUP BY sensor;
             INSERT INTO airlines VALUES ('1', 'one'), ('2', 'two');
             INSERT INTO readings VALUES (1, '2024-01-01T00:00:00', 0.5), (2, '2024-01-01T00:00:01', 1.5), (1, NULL, 2)",
        )
        .await;
    let expected = [["one", "2"], ["two", "1"]];
    assert_eq!(fixture.sorted("SELECT * FROM named").await, expected);
    fixture.run("DROP MATERIALIZED VIEW gone").await;

    fixture
        .run(
            "CREATE SOURCE calls (n INT, twice AS n * 2); INSERT INTO calls VALUES (1), (4);
             CREATE MATERIALIZED VIEW twices AS SELECT sum(twice) AS n FROM calls;
             CREATE TABLE before (id INT PRIMARY KEY); ALTER TABLE before RENAME TO behind; INSERT INTO behind VALUES (7)",
        )
        .await;
    assert_eq!(fixture.rows("SELECT * FROM twices").await, [["10"]]);

    let fixture = fixture.restart().await;
    assert_eq!(fixture.sorted("SELECT * FROM named").await, expected);
    fixture.run("INSERT INTO calls VALUES (5)").await;
    assert_eq!(fixture.rows("SELECT * FROM twices").await, [["20"]]);
    assert_eq!(fixture.rows("SELECT * FROM behind").await, [["7"]]);
    assert_eq!(fixture.refused("SELECT * FROM before").await.code, "TW1101");
    fixture.run("DROP MATERIALIZED VIEW twices").await;
    fixture
        .run("INSERT INTO readings VALUES (2, NULL, 1)")
        .await;
    assert_eq!(
        fixture.sorted("SELECT * FROM named").await,
        [["one", "2"], ["two", "2"]]
    );
    assert_eq!(fixture.refused("SELECT * FROM gone").await.code, "TW1101");
    let created = fixture.rows("SHOW CREATE MATERIALIZED VIEW named").await;
    assert!(created[0][1].contains("/* by name */"), "{created:?}");
    let views = fixture.rows("SHOW VIEWS").await;
    assert_eq!(views.len(), 1, "{views:?}");
    assert_eq!(views[0][3], "RUNNING");
    let fixture = fixture.restart().await;
    assert_eq!(fixture.refused("DROP TABLE readings").await.code, "TW1106");
}
