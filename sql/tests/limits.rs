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
        "SELECT count(*) AS a FROM generate_series(1, 1000000) AS g (x)",
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
    ];
    for round in 0..70 {
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
