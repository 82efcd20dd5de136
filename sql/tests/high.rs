//! Statements whose trees are high: up to the limit they have an answer, beyond it they are refused, and never do they
//! end the server.

use std::fmt::Write;

use crate::fixture::Fixture;

/// The statement of one kind with a chain of `length`.
type Chain = fn(usize) -> String;

fn repeated(length: usize, mut piece: impl FnMut(usize, &mut String)) -> String {
    let mut out = String::new();
    for place in 0..length {
        piece(place, &mut out);
    }
    out
}

fn operators(operator: &str, operand: &str, length: usize) -> String {
    let chain = format!(" {operator} {operand}").repeat(length);
    format!("SELECT {operand}{chain} AS x FROM t")
}

fn queries(length: usize) -> String {
    let mut sql = "WITH q0 AS (SELECT a FROM t)".to_owned();
    for place in 1..length {
        let before = place - 1;
        let _ = write!(sql, ", q{place} AS (SELECT a FROM q{before})");
    }
    format!("{sql} SELECT a FROM q{}", length - 1)
}

fn relations(separator: &str, length: usize) -> String {
    let list = repeated(length, |place, out| {
        let separator = if place == 0 { "" } else { separator };
        let _ = write!(out, "{separator} t t{place}");
    });
    format!("SELECT t0.a FROM{list}")
}

/// Each kind with a chain that is answered; one that is much longer is refused.
const CHAINS: &[(&str, usize, Chain)] = &[
    ("+", 150, |n| operators("+", "a", n)),
    ("*", 150, |n| operators("*", "a", n)),
    ("-", 150, |n| operators("-", "a", n)),
    ("/", 150, |n| operators("/", "d", n)),
    ("%", 250, |n| operators("%", "a", n)),
    ("||", 450, |n| operators("||", "'x'", n)),
    ("AND", 450, |n| operators("AND", "b", n)),
    ("OR", 450, |n| operators("OR", "b", n)),
    ("::", 250, |n| {
        format!("SELECT a{} AS x FROM t", "::INT".repeat(n))
    }),
    ("AT TIME ZONE", 45, |n| {
        format!("SELECT ts{} AS x FROM t", " AT TIME ZONE 'UTC'".repeat(n))
    }),
    ("UNION ALL", 200, |n| {
        format!(
            "SELECT a, b FROM t{}",
            " UNION ALL SELECT a, b FROM t".repeat(n)
        )
    }),
    ("WITH", 100, queries),
    ("FROM a, b", 20, |n| relations(",", n)),
    ("CASE", 250, |n| {
        let branches = repeated(n, |place, out| {
            let _ = write!(out, " WHEN a = {place} THEN {place}");
        });
        format!("SELECT CASE{branches} END AS x FROM t")
    }),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn high_statements_are_answered_or_refused() {
    let fixture = Fixture::new().await;
    fixture
        .run("CREATE TABLE t (a BIGINT PRIMARY KEY, b BOOLEAN, d DOUBLE, ts TIMESTAMP); INSERT INTO t VALUES (1, true, 1, NULL)")
        .await;
    for (kind, length, chain) in CHAINS {
        let rows = fixture.rows(&chain(*length)).await;
        assert!(!rows.is_empty(), "{kind}");
        let refused = fixture.refused(&chain(length * 40)).await;
        assert_eq!(refused.code, "TW1004", "{kind}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn high_views_are_made_and_run() {
    let fixture = Fixture::new().await;
    fixture
        .run("CREATE TABLE t (a BIGINT PRIMARY KEY, b BOOLEAN)")
        .await;
    let sum = format!("a{}", " + a".repeat(250));
    let both = format!("b{}", " OR b".repeat(200));
    fixture
        .run(&format!(
            "CREATE MATERIALIZED VIEW v AS SELECT a, {sum} AS x FROM t WHERE {both}"
        ))
        .await;
    fixture
        .run("INSERT INTO t VALUES (2, true), (3, false)")
        .await;
    assert_eq!(fixture.rows("SELECT * FROM v").await, [["2", "502"]]);
    let inserted = format!("INSERT INTO t VALUES (4{}, true)", " + 1".repeat(200));
    fixture.run(&inserted).await;
    assert_eq!(fixture.rows("SELECT count(*) FROM v").await, [["2"]]);
    let fixture = fixture.restart().await;
    fixture.run("DROP MATERIALIZED VIEW v").await;
}

/// Chains inside of parentheses inside of chains add up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chains_in_parentheses_add_up() {
    let fixture = Fixture::new().await;
    let nested = |levels: usize, operators: usize| {
        let open = "(".repeat(levels);
        let close = format!("{})", " + 1".repeat(operators)).repeat(levels);
        format!("SELECT {open}1{close} AS x")
    };
    let rows = fixture.rows(&nested(20, 10)).await;
    assert_eq!(rows, [["201"]]);
    let refused = fixture.refused(&nested(20, 60)).await;
    assert_eq!(refused.code, "TW1004");
}
