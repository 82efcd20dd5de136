//! A condition that keeps rows away from an expression that fails on them: in snapshots, and in views over rows that
//! come together.

use crate::fixture::Fixture;

const TABLE: &str = "CREATE TABLE shops (id INT PRIMARY KEY, visits INT, sales INT, code TEXT)
    WITH (topic = 'shops', partitions = 1)";

const ROWS: &str = "INSERT INTO shops VALUES
    (1, 0, 0, 'x'), (2, 10, 40, '7'), (3, 4, 2, 'y'), (4, 5, 50, '9'), (5, NULL, 1, NULL)";

/// Queries and the answers of PostgreSQL.
const QUERIES: &[(&str, &[&str])] = &[
    (
        "SELECT id FROM shops WHERE visits <> 0 AND sales / visits > 1",
        &["2", "4"],
    ),
    (
        "SELECT id FROM shops WHERE visits = 0 OR sales / visits > 1",
        &["1", "2", "4"],
    ),
    (
        "SELECT id FROM shops WHERE NOT (visits = 0 OR sales / visits <= 1)",
        &["2", "4"],
    ),
    (
        "SELECT id FROM (SELECT * FROM shops WHERE visits <> 0) s WHERE sales / visits > 1",
        &["2", "4"],
    ),
    (
        "WITH open AS (SELECT * FROM shops WHERE visits <> 0), good AS (SELECT * FROM open WHERE sales / visits > 1)
         SELECT id FROM good WHERE sales / visits < 10",
        &["2"],
    ),
    (
        "SELECT id FROM shops WHERE CASE WHEN visits = 0 THEN false ELSE sales / visits > 1 END",
        &["2", "4"],
    ),
    (
        "SELECT id, visits <> 0 AND sales / visits > 1 AS good FROM shops",
        &["1|false", "2|true", "3|false", "4|true", "5|NULL"],
    ),
    (
        "SELECT id, CASE WHEN visits <> 0 THEN sales / visits END AS rate FROM shops",
        &["1|NULL", "2|4", "3|0", "4|10", "5|NULL"],
    ),
    (
        "SELECT id, coalesce(CASE WHEN visits = 0 THEN 0 END, sales / visits, -1) AS rate FROM shops",
        &["1|0", "2|4", "3|0", "4|10", "5|-1"],
    ),
    (
        "SELECT id, sales / nullif(visits, 0) AS rate FROM shops",
        &["1|NULL", "2|4", "3|0", "4|10", "5|NULL"],
    ),
    (
        "SELECT id FROM shops WHERE code >= '0' AND code <= '9' AND CAST(code AS INT) > 7",
        &["4"],
    ),
    (
        "SELECT id FROM shops WHERE visits <> 0 AND (sales / visits > 9 OR sales / visits < 1)",
        &["3", "4"],
    ),
    (
        "SELECT id FROM shops WHERE (visits <> 0 AND sales / visits > 9) OR (visits <> 0 AND sales / visits < 1)",
        &["3", "4"],
    ),
    (
        "SELECT id FROM shops WHERE sales / visits > 1 AND visits <> 0",
        &["2", "4"],
    ),
    (
        "SELECT count(*) FILTER (WHERE visits <> 0 AND sales / visits > 1) AS good,
                sum(sales / visits) FILTER (WHERE visits <> 0) AS rates FROM shops",
        &["2|14"],
    ),
    (
        "SELECT visits, sum(sales) AS sales FROM shops GROUP BY visits HAVING visits <> 0 AND sum(sales) / visits > 1",
        &["10|40", "5|50"],
    ),
    (
        "SELECT a.id, b.id AS other FROM shops a JOIN shops b ON a.id = b.id AND a.visits <> 0 WHERE b.sales / a.visits > 1",
        &["2|2", "4|4"],
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guard_keeps_rows_from_what_fails_on_them() {
    let fixture = Fixture::new().await;
    fixture.run(TABLE).await;
    for (number, (query, _)) in QUERIES.iter().enumerate() {
        fixture
            .run(&format!("CREATE MATERIALIZED VIEW v{number} AS {query}"))
            .await;
    }
    fixture.run(ROWS).await;
    let joined = |rows: Vec<Vec<String>>| -> Vec<String> {
        rows.into_iter().map(|row| row.join("|")).collect()
    };
    for (number, (query, expected)) in QUERIES.iter().enumerate() {
        let view = fixture.sorted(&format!("SELECT * FROM v{number}")).await;
        assert_eq!(joined(view), *expected, "as a view: {query}");
        let snapshot = fixture.sorted(query).await;
        assert_eq!(joined(snapshot), *expected, "as a snapshot: {query}");
    }
    let unguarded = fixture
        .refused("SELECT id FROM shops WHERE sales / visits > 1 OR id = 2")
        .await;
    assert_eq!(unguarded.sqlstate, "22012", "{unguarded:?}");
}

/// A row that fails goes to the errors, wherever in a batch it comes; the others stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_fail_go_and_others_stay() {
    let fixture = Fixture::new().await;
    fixture.run(TABLE).await;
    fixture
        .run(
            "CREATE MATERIALIZED VIEW v AS SELECT id FROM shops WHERE id > 0 AND sales / visits >= 0",
        )
        .await;
    fixture.run(ROWS).await;
    let rows = fixture.sorted("SELECT * FROM v").await;
    assert_eq!(rows, [["2"], ["3"], ["4"]]);
}
