//! Snapshots of queries over constants, beside PostgreSQL's answers.

use std::sync::Arc;

use arrow::util::display::array_value_to_string;
use sqlparser::ast::Query;

use super::*;
use crate::catalog::Objects;
use crate::diagnostic::Words;
use crate::parse::statement::Statement;
use crate::parse::{parse, split_statements, words};
use crate::plan::{Library, guard_plan};

/// The query of a SELECT.
fn query(text: &str) -> (Box<Query>, Words) {
    let statements = split_statements(text);
    let words = Words::new(words(&statements[0]), Vec::new());
    match parse(&statements[0]) {
        Ok(Statement::Select(select)) => (select.query.query, words),
        Ok(other) => panic!("{text}: {other:?}"),
        Err(error) => panic!("{text}: {}", error.render(text, false)),
    }
}

/// The answer, one text a row; or why there is none.
fn answer(library: &Library, text: &str) -> Result<Vec<String>, String> {
    let (query, words) = query(text);
    let bound = library.bind(&query, &Objects::default(), &words);
    let plan = bound.map_err(|error| error.message)?.plan;
    let state = &library.state;
    let run = async {
        let plan: LogicalPlan = guard_plan(state.optimize(&bounded(plan, &HashMap::new())?)?)?;
        let planner = Arc::clone(state.query_planner());
        let physical = planner.create_physical_plan(&plan, state).await?;
        datafusion::physical_plan::collect(physical, state.task_ctx()).await
    };
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let batches = runtime.build().unwrap().block_on(run);
    let mut rows = Vec::new();
    for batch in batches.map_err(|error| error.to_string())? {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| {
                match array_value_to_string(column, row).unwrap() {
                    _ if column.is_null(row) => "NULL".to_owned(),
                    text => text,
                }
            });
            rows.push(cells.collect::<Vec<_>>().join(" "));
        }
    }
    Ok(rows)
}

/// Queries, and their rows in PostgreSQL.
const ANSWERS: &[(&str, &[&str])] = &[
    // Floats that are equal have one place.
    (
        "SELECT y, rank() OVER (ORDER BY x) AS r, count(*) OVER (PARTITION BY x) AS n FROM (VALUES (CAST(-0.0 AS DOUBLE) * 1, 1), (0.0, 2), (1.0, 3)) AS v(x, y) ORDER BY x, y",
        &["1 1 2", "2 1 2", "3 3 1"],
    ),
    (
        "SELECT y FROM (VALUES (round(CAST(0.3 AS DOUBLE)), 1), (round(CAST(-0.3 AS DOUBLE)), 2)) AS v(x, y) ORDER BY x, y LIMIT 1",
        &["1"],
    ),
    // Orders in orders, with what they leave out.
    (
        "SELECT x FROM (SELECT x FROM (VALUES (6), (2), (4), (1), (5), (3)) AS v(x) ORDER BY x LIMIT 3 OFFSET 2) AS q ORDER BY x",
        &["3", "4", "5"],
    ),
    (
        "SELECT x FROM (SELECT x FROM (VALUES (6), (2), (4), (1), (5), (3)) AS v(x) ORDER BY x LIMIT 4 OFFSET 1) AS q ORDER BY x LIMIT 2 OFFSET 1",
        &["3", "4"],
    ),
    (
        "SELECT x FROM (SELECT x FROM (VALUES (6), (2), (4), (1), (5), (3)) AS v(x) ORDER BY x DESC OFFSET 4) AS q ORDER BY x",
        &["1", "2"],
    ),
    // The first of each, though the order names a column twice.
    (
        "SELECT DISTINCT ON (k) k, x FROM (VALUES ('a', 1), ('b', 2), ('a', 3)) AS v(k, x) ORDER BY k, x DESC, k, x",
        &["a 3", "b 2"],
    ),
    // Sets that count.
    (
        "SELECT x FROM (VALUES (1), (1), (1), (2), (3)) AS a(x) EXCEPT ALL SELECT x FROM (VALUES (1), (3), (3)) AS b(x) ORDER BY x",
        &["1", "1", "2"],
    ),
    (
        "SELECT x FROM (VALUES (1), (1), (1), (2), (NULL), (NULL)) AS a(x) INTERSECT ALL SELECT x FROM (VALUES (1), (1), (NULL), (4)) AS b(x) ORDER BY x",
        &["1", "1", "NULL"],
    ),
    (
        "SELECT x FROM (VALUES (1), (1), (2)) AS a(x) EXCEPT SELECT x FROM (VALUES (2)) AS b(x) ORDER BY x",
        &["1"],
    ),
    // Groups that differ only in type.
    (
        "SELECT x, CAST(x AS TEXT) AS t, count(*) AS n FROM (VALUES (1), (1), (2)) AS v(x) GROUP BY x, CAST(x AS TEXT) ORDER BY x",
        &["1 1 2", "2 2 1"],
    ),
    // A column of the input is meant before an alias of the output.
    (
        "SELECT upper(k) AS k, count(*) AS n FROM (VALUES ('a'), ('A'), ('b')) AS v(k) GROUP BY k ORDER BY n, 1",
        &["A 1", "A 1", "B 1"],
    ),
    (
        "SELECT -2 ^ 2 AS x, - (2 ^ 2) AS y, -2 ^ 3 ^ 2 AS z",
        &["4.0 -4.0 64.0"],
    ),
    ("SELECT concat('a', true, 1, NULL, false) AS x", &["at1f"]),
    (
        "SELECT b - a > '1 day' AS x, '2 days' = b - a AS y, b - a BETWEEN '1 day' AND '47 hours' AS z, b - a IN ('48 hours') AS w FROM (VALUES (TIMESTAMP '2024-01-01', TIMESTAMP '2024-01-03')) AS v(a, b)",
        &["true true false true"],
    ),
    (
        "SELECT CAST(TIMESTAMP '2024-01-02 03:04:05.500' AS TEXT) AS x, CAST(DATE '2024-01-02' AS TEXT) AS d",
        &["2024-01-02 03:04:05.5 2024-01-02"],
    ),
    (
        "SELECT CAST(TIMESTAMPTZ '2024-01-02 03:04:05Z' AS TEXT) AS x, CAST(TIMESTAMP '0001-01-01' - INTERVAL '1 day' AS TEXT) AS y",
        &["2024-01-02 03:04:05+00 0001-12-31 00:00:00 BC"],
    ),
    (
        "SELECT CAST(x AS TEXT) AS x FROM (VALUES (1e15), (1e14), (1234565e-1), (1e-4), (1e-5), (-5e-1), (CAST('NaN' AS DOUBLE)), (CAST('-Infinity' AS DOUBLE))) AS v(x)",
        &[
            "1e+15",
            "100000000000000",
            "123456.5",
            "0.0001",
            "1e-05",
            "-0.5",
            "NaN",
            "-Infinity",
        ],
    ),
    (
        "SELECT CAST(CAST(1e6 AS REAL) AS TEXT) AS x, CAST(CAST(0.1 AS REAL) AS TEXT) AS y",
        &["1e+06 0.1"],
    ),
    (
        "SELECT CAST(CAST(100000 AS DOUBLE) AS TEXT) AS a, CAST(CAST(0.1 AS DOUBLE) AS TEXT) AS b, CAST(1e20 AS TEXT) AS c",
        &["100000 0.1 1e+20"],
    ),
];

#[test]
fn snapshots_answer_as_postgresql_does() {
    let library = Library::new();
    let mut wrong = Vec::new();
    for (text, rows) in ANSWERS {
        match answer(&library, text) {
            Ok(found) if found == *rows => {}
            found => wrong.push(format!("{text}\n  has {rows:?}, here {found:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
