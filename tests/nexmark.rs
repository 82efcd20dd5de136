//! The Nexmark queries under SIGKILL: all run at once over rows that come, the process is killed at random points, and in the
//! end every view holds what the same SELECT gives over the same rows.
//!
//! `THALWEG_TEST_KILLS` is how often it is killed, 3 times if it is not set; `THALWEG_TEST_SEED` repeats a run.

use std::time::Duration;

use crate::fixture::process::Server;
use crate::fixture::{block_on, truth, until};

/// Number and text of each.
const QUERIES: &str = include_str!("../sql/tests/nexmark.sql");
/// Events of which the rows are people, auctions and bids.
const EVENTS: u64 = 5_000;
/// Events a second.
const RATE: u64 = 500;
const KILLS_DEFAULT: u64 = 3;

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn queries() -> Vec<(&'static str, &'static str)> {
    let queries = QUERIES.split("-- q").skip(1);
    let queries = queries.map(|query| query.split_once('\n').unwrap());
    queries
        .map(|(number, text)| (number, text.trim().trim_end_matches(';')))
        .collect()
}

/// Sources whose rows come as time passes, in the order of their time.
async fn set_up(server: &Server) {
    for (table, of_fifty) in [("person", 1), ("auction", 3), ("bid", 46)] {
        let (rows, rate) = (EVENTS / 50 * of_fifty, RATE / 50 * of_fifty);
        server
            .sql(&format!(
                "CREATE SOURCE {table} WITH (connector = 'nexmark', type = '{table}', seed = 11, rows = {rows}, rate = {rate}, \
                 event.gap = '10ms', partitions = 1)"
            ))
            .await;
    }
    for (number, text) in queries() {
        server
            .sql(&format!(
                "SET create.wait = 'off'; CREATE MATERIALIZED VIEW q{number} AS {text}"
            ))
            .await;
    }
}

/// A few rows that only one of two sorted lists has, or has more often.
fn difference(view: &[String], batch: &[String]) -> Vec<String> {
    let (mut left, mut right) = (view.iter().peekable(), batch.iter().peekable());
    let mut found = Vec::new();
    while found.len() < 4 {
        match (left.peek(), right.peek()) {
            (None, None) => break,
            (Some(row), Some(expected)) if row == expected => {
                left.next();
                right.next();
            }
            (Some(row), other) if other.is_none_or(|expected| row < expected) => {
                found.push(format!("too much: {row}"));
                left.next();
            }
            (_, Some(expected)) => {
                found.push(format!("missing: {expected}"));
                right.next();
            }
            (Some(_), None) => unreachable!("whatever is left alone is too much"),
        }
    }
    found
}

#[test]
fn kills_change_no_answer() {
    let kills = asked("THALWEG_TEST_KILLS").unwrap_or(KILLS_DEFAULT);
    let seed = asked("THALWEG_TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("THALWEG_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut server = Server::start(&data);
        set_up(&server).await;
        let (all, mut seen) = (EVENTS / 50 * 46, 0);
        for kill in 0..kills {
            let count = || async {
                let rows = server.sql("SELECT count(*) AS n FROM bid").await;
                rows[0]["n"].as_u64().unwrap()
            };
            let more = |now: &u64| *now > seen || *now == all;
            seen = until("progress", count, more).await;
            let pause = Duration::from_millis(random.u64(0..1_500));
            tokio::time::timeout(pause, std::future::pending::<()>())
                .await
                .unwrap_err();
            server.kill();
            server = Server::start(&data);
            println!("kill {kill}: {seen} bids and {pause:?} later");
        }
        for (table, of_fifty) in [("person", 1), ("auction", 3), ("bid", 46)] {
            let count = format!("SELECT count(*) AS n FROM {table}");
            let count = || async { server.sql(&count).await[0]["n"].as_u64().unwrap() };
            until(table, count, |rows| *rows == EVENTS / 50 * of_fifty).await;
        }
        for (number, text) in queries() {
            let batch = truth::normalised(&server.sql(text).await);
            assert!(!batch.is_empty(), "q{number} has no rows");
            let view = format!("SELECT * FROM q{number}");
            // As long as its job is restored, or has not come to the last rows, it is another one.
            let difference = || async {
                let rows = server.try_sql(&view).await?;
                Ok::<_, serde_json::Value>(difference(&truth::normalised(&rows), &batch))
            };
            let none = |found: &Result<Vec<String>, _>| found.as_ref().is_ok_and(Vec::is_empty);
            let same = until(&format!("q{number}"), difference, none).await;
            assert_eq!(same.unwrap(), [""; 0]);
        }
    });
}
