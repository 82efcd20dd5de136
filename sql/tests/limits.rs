//! What a statement may use, and that it gives it back.

use sql::SqlConfig;
use streams::MemoryUser;

use crate::fixture::Fixture;

fn small() -> SqlConfig {
    SqlConfig {
        memory_bytes_max: 4 << 20,
        ..SqlConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_statement_makes_counts_against_its_memory() {
    let fixture = Fixture::with(small()).await;
    let too_much = [
        // A constant, a value of each row, a constant beside each row, and on each row.
        "SELECT repeat('a', 10000000) AS a",
        "SELECT max(length(repeat('a', 10000 + CAST(x AS INT)))) AS a FROM generate_series(1, 8192) AS g (x)",
        "SELECT max(length(repeat('a', 100000) || CAST(x AS TEXT))) AS a FROM generate_series(1, 8192) AS g (x)",
        "SELECT x, repeat('a', 100000) AS a FROM generate_series(1, 8192) AS g (x)",
        "SELECT max(length(replace(repeat('a', 1000 + CAST(x AS INT)), 'a', 'abcdefgh'))) AS a FROM generate_series(1, 8192) AS g (x)",
        "SELECT cardinality(array_repeat(x, 10000)) AS a FROM generate_series(1, 8192) AS g (x)",
        // A list, and what a window keeps.
        "SELECT cardinality(generate_series(1, 1000000)) AS a",
        "SELECT cardinality(generate_series(TIMESTAMP '2000-01-01', TIMESTAMP '2020-01-01', INTERVAL '1 minute')) AS a",
        "SELECT array_agg(x) AS a FROM generate_series(1, 3000000) AS g (x)",
        "SELECT max(length(s)) AS a FROM (SELECT string_agg(CAST(x AS TEXT), ',') OVER (ORDER BY x) AS s FROM generate_series(1, 8000) AS g (x)) AS q",
        "SELECT max(s) AS a FROM (SELECT sum(a.x + b.y) OVER () AS s FROM generate_series(1, 2000) AS a (x), generate_series(1, 300) AS b (y)) AS q",
    ];
    for sql in too_much {
        let error = fixture.refused(sql).await;
        let text = error.to_string();
        assert!(text.contains("sql.memory_bytes_max"), "{sql}: {text}");
    }
    // The planner does not write out what it would fold.
    let list = "SELECT count(*) AS a, max(x) AS b FROM generate_series(1, 400000) AS g (x)";
    assert_eq!(fixture.rows(list).await, [["400000", "400000"]]);
    // A series in FROM is no list: nothing holds it whole, whatever it stands beside.
    for (sql, row) in [
        (
            "SELECT count(*) AS a, max(x) AS b FROM generate_series(1, 1000000) AS g (x)",
            ["1000000", "1000000"],
        ),
        (
            "SELECT count(*) AS a, max(b.y) AS b FROM generate_series(1, 3) AS a (x), generate_series(a.x, 400000) AS b (y)",
            ["1199997", "400000"],
        ),
        (
            "SELECT count(*) AS a, max(g) AS b FROM (SELECT generate_series(1, 1000000) AS g) AS q",
            ["1000000", "1000000"],
        ),
        (
            "SELECT count(*) AS a, count(DISTINCT CAST(g AS DATE)) AS b FROM generate_series(TIMESTAMP '2024-01-01', TIMESTAMP '2025-01-01', INTERVAL '1 minute') AS g",
            ["527041", "367"],
        ),
    ] {
        assert_eq!(fixture.rows(sql).await, [row], "{sql}");
    }
    let fits = "SELECT max(length(repeat('a', 100) || CAST(x AS TEXT))) AS a FROM generate_series(1, 10000) AS g (x)";
    assert_eq!(fixture.rows(fits).await, [["105"]]);
    assert_eq!(
        fixture.rows("SELECT sum(s) AS a FROM (SELECT count(*) OVER () AS s FROM generate_series(1, 20000) AS g (x)) AS q").await,
        [["400000000"]]
    );
}

/// More statements than run at once, each of which would take minutes: they end with their time, not when they are done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_that_ran_out_of_time_end_and_give_their_memory_back() {
    let fixture = Fixture::new().await;
    let endless = [
        "SELECT count(*) AS a FROM unnest(range(0, 3000000)) AS g (x) WHERE length(md5(repeat('a', 200 + CAST(x % 7 AS INT)))) = 1",
        "SELECT max(s) AS a FROM (SELECT sum(length(md5(repeat('a', 200 + CAST(x % 7 AS INT))))) OVER () AS s FROM unnest(range(0, 3000000)) AS g (x)) AS q",
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) AS a FROM n",
        "SELECT count(*) AS a FROM generate_series(1, 9000000000000) AS g (x)",
        "SELECT sum(a.x * b.y) AS a FROM generate_series(1, 30000000) AS a (x), generate_series(1, 30000000) AS b (y)",
        "SELECT x FROM generate_series(1, 9000000000000) AS g (x) ORDER BY md5(CAST(x AS TEXT)) LIMIT 1",
        "SELECT count(*) AS a FROM generate_series(TIMESTAMP '1900-01-01', TIMESTAMP '9000-01-01', INTERVAL '1 microsecond') AS g",
        "SELECT max(cardinality(s)) AS a FROM (SELECT array_agg(x) OVER (ORDER BY x) AS s FROM generate_series(1, 20000) AS g (x)) AS q",
    ];
    for round in 0..72 {
        let sql = endless[round % endless.len()];
        let timed = format!("SET statement_timeout = '10ms'; {sql}");
        let error = fixture.refused(&timed).await;
        assert!(error.to_string().contains("took longer"), "{error}");
    }
    assert_eq!(fixture.rows("SELECT 1 AS one").await, [["1"]]);
    // What is still at work ends by itself: this would wait for ever otherwise.
    while fixture.memory().used(MemoryUser::Queries) > 0 {
        tokio::task::yield_now().await;
    }
}
