//! Sources that make their rows, and the Nexmark queries over them: each view holds what the same SELECT gives.

use sql::Answer;

use crate::fixture::{Fixture, texts};

/// Waits for so many rows of a relation.
async fn wait_for(fixture: &Fixture, relation: &str, rows: usize) {
    let sql = format!("SELECT 1 AS one FROM {relation} EMIT CHANGES LIMIT {rows}");
    let Some(Answer::Changes { mut changes, .. }) = fixture.run(&sql).await.pop() else {
        panic!("{sql} does not go on")
    };
    while let Some(batch) = changes.next().await {
        batch.expect("changes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rows_of_a_seed_are_the_same_whatever_happens() {
    let fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE SOURCE slow WITH (connector = 'nexmark', type = 'bid', seed = 3, rows = 700, rate = 1000, partitions = 3)",
        )
        .await;
    wait_for(&fixture, "slow", 50).await;
    // It goes on where it was.
    let fixture = fixture.restart().await;
    wait_for(&fixture, "slow", 700).await;
    fixture
        .run(
            "CREATE SOURCE fast WITH (connector = 'nexmark', nexmark.table.type = 'Bid', seed = 3, nexmark.event.num = 700,
               rate = 'max', partitions = 1);
             CREATE SOURCE other WITH (connector = 'nexmark', type = 'bid', seed = 4, rows = 700, rate = 'max')",
        )
        .await;
    wait_for(&fixture, "fast", 700).await;
    wait_for(&fixture, "other", 700).await;
    let slow = fixture.sorted("SELECT * FROM slow").await;
    assert_eq!(slow.len(), 700);
    assert_eq!(slow, fixture.sorted("SELECT * FROM fast").await);
    assert_ne!(slow, fixture.sorted("SELECT * FROM other").await);
    // Made anew over the same topic it finds that all are there.
    fixture
        .run(
            "DROP SOURCE fast;
             CREATE SOURCE fast WITH (connector = 'nexmark', type = 'bid', seed = 3, rows = 701, rate = 'max')",
        )
        .await;
    wait_for(&fixture, "fast", 701).await;
    assert_eq!(fixture.rows("SELECT count(*) FROM fast").await, [["701"]]);
    // Rows tell times of 2015; were their records as old, the log would let go of them.
    fixture
        .run("CREATE SOURCE written (auction BIGINT) INCLUDE timestamp AS at WITH (topic = 'fast')")
        .await;
    let fresh = "SELECT count(*) FROM written WHERE at > now() - INTERVAL '1 day'";
    assert_eq!(fixture.rows(fresh).await, [["701"]]);
    let refused = fixture
        .refused("INSERT INTO fast (auction) VALUES (1)")
        .await;
    assert_eq!(refused.message, "fast makes its rows itself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_are_filled_as_they_are_declared() {
    let fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE SOURCE d (id BIGINT, code TEXT, city TEXT, n INT, price DECIMAL(8, 2), x DOUBLE, ok BOOLEAN, name TEXT, at TIMESTAMP, day DATE)
             WITH (connector = 'datagen', rows = 40, rate = 'max', partitions = 2, seed = 1, start = '2024-05-01', event.gap = '1s',
               fields.id.kind = 'sequence', fields.id.start = 10, fields.code.kind = 'sequence', fields.code.end = 3,
               fields.city.values = 'ams, ber', fields.n.min = -2, fields.n.max = 2, fields.price.min = 10, fields.price.max = 20,
               fields.name.length = 3)",
        )
        .await;
    wait_for(&fixture, "d", 40).await;
    let rows = fixture
        .rows(
            "SELECT count(*), min(id), max(id), count(DISTINCT code), min(city), max(city), min(n), max(n),
                    bool_and(price BETWEEN 10 AND 20), bool_and(x >= 0 AND x < 1), count(DISTINCT ok), max(length(name)),
                    min(at), max(at), max(day) FROM d",
        )
        .await;
    assert_eq!(
        rows,
        [[
            "40",
            "10",
            "49",
            "4",
            "ams",
            "ber",
            "-2",
            "2",
            "true",
            "true",
            "2",
            "3",
            "2024-05-01T00:00:00",
            "2024-05-01T00:00:39",
            "2024-05-01"
        ]]
    );
    for (sql, message) in [
        (
            "CREATE SOURCE e WITH (connector = 'datagen', rows = 1)",
            "datagen makes the columns that are declared, and none are",
        ),
        (
            "CREATE SOURCE e (a INT[]) WITH (connector = 'datagen', rows = 1)",
            "datagen makes no values of type INT[]",
        ),
        (
            "CREATE SOURCE e (a INT) WITH (connector = 'datagen', fields.b.min = 1)",
            "column \"b\" is not declared",
        ),
        (
            "CREATE SOURCE e (a INT) WITH (connector = 'datagen', rate = 'max')",
            "rows as fast as can be that never end would fill the disk",
        ),
        (
            "CREATE SOURCE e (a INT) WITH (connector = 'datagen', rows = 1, topic = '__consumer_offsets')",
            "topic __consumer_offsets is internal, so nothing is written to it by hand",
        ),
        (
            "CREATE TABLE e (a INT PRIMARY KEY) WITH (connector = 'datagen', rows = 1)",
            "rows that are made come as JSON without a key",
        ),
    ] {
        assert_eq!(fixture.refused(sql).await.message, message, "{sql}");
    }
}

/// The queries as the benchmark has them, in our words: number and text.
const QUERIES: &str = include_str!("nexmark.sql");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nexmark_views_hold_what_the_same_select_gives() {
    let fixture = Fixture::new().await;
    let events = 2_000;
    let common = "connector = 'nexmark', seed = 11, rate = 'max', event.gap = '100ms'";
    for (table, count) in [
        ("person", events / 50),
        ("auction", events / 50 * 3),
        ("bid", events / 50 * 46),
    ] {
        fixture
            .run(&format!("CREATE SOURCE {table} WITH ({common}, type = '{table}', rows = {count}, partitions = 2)"))
            .await;
        wait_for(&fixture, table, count).await;
    }
    let mut wrong = Vec::new();
    for query in QUERIES.split("-- q").skip(1) {
        let (number, text) = query.split_once('\n').expect("a number and a text");
        let text = text.trim().trim_end_matches(';');
        let created = fixture
            .server
            .execute(&format!("CREATE MATERIALIZED VIEW q{number} AS {text}"))
            .await;
        if let Err(error) = created {
            wrong.push(format!("q{number}: {}", error.render(text, false)));
            continue;
        }
        let view = fixture.sorted(&format!("SELECT * FROM q{number}")).await;
        let batch = fixture.sorted(text).await;
        if view != batch || batch.is_empty() {
            wrong.push(format!(
                "q{number}: {} rows, the same SELECT gives {}: {:?} {:?}",
                view.len(),
                batch.len(),
                view.first(),
                batch.first()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_tell_what_they_did_and_keep() {
    let fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE TABLE t (id BIGINT PRIMARY KEY, city TEXT);
             INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'a');
             CREATE MATERIALIZED VIEW v AS SELECT city, count(*) AS n FROM t GROUP BY city",
        )
        .await;
    assert_eq!(fixture.rows("SELECT count(*) FROM v").await, [["2"]]);
    let Some(Answer::Rows { batches, .. }) = fixture.run("EXPLAIN ANALYZE v").await.pop() else {
        panic!("no rows")
    };
    let lines: Vec<String> = texts(&batches).into_iter().flatten().collect();
    let told: Vec<&String> = lines
        .iter()
        .filter(|line| line.contains(" rows in ("))
        .collect();
    let of = |operator: &str| {
        let place = lines.iter().position(|line| line.contains(operator));
        let place = place.unwrap_or_else(|| panic!("no {operator}: {lines:#?}"));
        lines[place + 1].trim().to_owned()
    };
    assert!(of("aggregate").starts_with("3 rows in ("), "{lines:#?}");
    assert!(
        of("aggregate").contains("/s), 2 out; ") && of("aggregate").contains("; keeps 2 entries, "),
        "{lines:#?}"
    );
    assert!(of("source").contains("; keeps 3 entries, "), "{lines:#?}");
    assert!(told.len() >= 2, "{lines:#?}");
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("the view keeps 2 entries, ")),
        "{lines:#?}"
    );
    let none = "no event time: what it reads declares none (WATERMARK FOR)";
    assert!(lines.contains(&none.to_owned()), "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_without_event_time_tells_why_it_has_none() {
    let fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE SOURCE s (city TEXT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '1 second')
               WITH (topic = 's', partitions = 1);
             CREATE MATERIALIZED VIEW without AS SELECT city, count(*) AS n FROM s GROUP BY city;
             CREATE MATERIALIZED VIEW latest AS SELECT city, max(at) AS at FROM s GROUP BY city",
        )
        .await;
    let told = async |view: &str| {
        let Some(Answer::Rows { batches, .. }) =
            fixture.run(&format!("EXPLAIN ANALYZE {view}")).await.pop()
        else {
            panic!("no rows")
        };
        let lines = texts(&batches).into_iter().flatten();
        let mut lines = lines.filter(|line| line.contains("event time"));
        lines.next().unwrap_or_default()
    };
    assert_eq!(
        told("without").await,
        "no event time: the query does not read at of s"
    );
    assert_eq!(told("latest").await, "event time has not begun");
    fixture
        .run("INSERT INTO s VALUES ('a', '2024-05-01 10:00:30')")
        .await;
    let all = fixture.rows("SELECT city FROM latest").await;
    assert_eq!(all, [["a"]]);
    assert_eq!(told("latest").await, "event time 2024-05-01T10:00:29");
}
