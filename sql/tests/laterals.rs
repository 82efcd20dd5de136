//! Correlated subqueries with LIMIT and OFFSET, in LATERAL and in the place of a value, whatever they hold: for each outer row
//! they give what the same query gives with a constant in the place of the outer column, as a snapshot and as a view.

use crate::fixture::Fixture;

type Rows = Vec<Vec<String>>;

const SCHEMA: &str = "
CREATE TABLE o (id BIGINT PRIMARY KEY, k INT);
CREATE TABLE i (id BIGINT PRIMARY KEY, k INT, g INT, v INT);
INSERT INTO o VALUES (1, 1), (2, 2), (3, 3), (4, NULL), (5, 1);
INSERT INTO i VALUES (1, 1, 1, 5), (2, 1, 1, 6), (3, 1, 2, 7), (4, 2, 1, 9), (5, 2, 3, 2), (6, 2, 3, 2), (7, 9, 1, 1),
  (8, 1, 3, 7), (9, NULL, 1, 8), (10, 1, 2, NULL)";

/// Changes after which the views are asked again.
const CHANGES: &str = "
DELETE FROM i WHERE id IN (2, 5);
INSERT INTO i VALUES (11, 2, 2, 7), (12, 3, 1, 4), (1, 1, 1, 3);
INSERT INTO o VALUES (3, 9), (6, 2)";

/// The outer column in a body.
const OUTER: &str = "o.k";

/// A subquery of columns `a` and `b`.
struct Body {
    sql: &'static str,
    /// An order of its own, which tells any two rows apart that differ. Where DISTINCT ON asks for it, it is always there.
    order: &'static str,
    always_ordered: bool,
}

const fn body(sql: &'static str, order: &'static str) -> Body {
    Body {
        sql,
        order,
        always_ordered: false,
    }
}

const BODIES: &[Body] = &[
    body(
        "SELECT i.g AS a, i.v AS b FROM i WHERE i.k = o.k",
        "b DESC, a",
    ),
    body(
        "SELECT i.g AS a, i.v AS b FROM i WHERE i.v > o.k",
        "i.v, i.g",
    ),
    body(
        "SELECT i.g AS a, sum(i.v) AS b FROM i WHERE i.k = o.k GROUP BY i.g",
        "count(*) DESC, i.g",
    ),
    body(
        "SELECT i.g AS a, count(*) AS b FROM i WHERE i.k = o.k GROUP BY i.g HAVING count(*) > 1",
        "a",
    ),
    body(
        "SELECT i.g AS a, count(*) OVER () AS b FROM i WHERE i.k = o.k",
        "a",
    ),
    body(
        "SELECT i.v AS a, lag(i.v) OVER (ORDER BY i.v, i.id) AS b FROM i WHERE i.k = o.k",
        "i.v DESC, i.id",
    ),
    body(
        "SELECT i.g AS a, round(100.0 * count(*) / sum(count(*)) OVER (), 2) AS b FROM i WHERE i.k = o.k GROUP BY i.g",
        "count(*) DESC, i.g",
    ),
    body(
        "SELECT DISTINCT i.g AS a, i.g + 1 AS b FROM i WHERE i.k = o.k",
        "a DESC",
    ),
    body(
        "SELECT DISTINCT i.g AS a, count(*) OVER (PARTITION BY i.g) AS b FROM i WHERE i.k = o.k",
        "b, a",
    ),
    Body {
        sql: "SELECT DISTINCT ON (i.g) i.v AS a, i.id AS b FROM i WHERE i.k = o.k",
        order: "i.g DESC, i.v DESC, i.id",
        always_ordered: true,
    },
    body(
        "SELECT z.v AS a, z.n AS b FROM (SELECT i.v, count(*) OVER () AS n FROM i WHERE i.k = o.k AND i.v > 2) z",
        "z.v",
    ),
    body(
        "SELECT z.v AS a, z.n AS b FROM (SELECT i.v, i.g AS n FROM i WHERE i.k = o.k ORDER BY i.v, i.id LIMIT 3) z",
        "z.v DESC, b",
    ),
    body(
        "SELECT i.g AS a, i.v AS b FROM i WHERE i.k = o.k UNION SELECT i.k, i.g FROM i WHERE i.v = o.k",
        "a, b",
    ),
    body(
        "SELECT i.g AS a, i.v AS b FROM i WHERE i.k = o.k EXCEPT SELECT i.g, i.v FROM i WHERE i.v > 4 + o.k",
        "a, b",
    ),
    body(
        "SELECT i.g AS a, j.v AS b FROM i LEFT JOIN (SELECT * FROM i WHERE i.k = o.k) j ON j.v = i.v",
        "b, a",
    ),
    body(
        "SELECT count(*) AS a, max(i.v) AS b FROM i WHERE i.k = o.k",
        "a",
    ),
    body(
        "SELECT i.g AS a, count(*) AS b FROM i WHERE i.k = o.k GROUP BY ROLLUP (i.g)",
        "a, b",
    ),
];

/// LIMIT and OFFSET: what is taken, and what is passed over.
const LIMITS: &[(Option<usize>, usize)] = &[(Some(1), 0), (Some(2), 1), (None, 1), (Some(0), 0)];

fn limit_text((limit, offset): (Option<usize>, usize)) -> String {
    let limit = limit.map(|limit| format!(" LIMIT {limit}"));
    let offset = (offset > 0).then(|| format!(" OFFSET {offset}"));
    format!(
        "{}{}",
        limit.unwrap_or_default(),
        offset.unwrap_or_default()
    )
}

/// How a body is asked of each outer row.
#[derive(Clone, Copy)]
enum Form {
    Cross,
    Left,
    /// In the place of a value, so with one row at most.
    Value,
}

impl Form {
    fn query(self, body: &str) -> String {
        match self {
            Self::Cross => format!("SELECT o.id, x.a, x.b FROM o CROSS JOIN LATERAL ({body}) x"),
            Self::Left => {
                format!("SELECT o.id, x.a, x.b FROM o LEFT JOIN LATERAL ({body}) x ON true")
            }
            Self::Value => format!("SELECT o.id, (SELECT x.b FROM ({body}) x) AS b FROM o"),
        }
    }

    fn takes(self, limit: Option<usize>) -> bool {
        !matches!(self, Self::Value) || matches!(limit, Some(0 | 1))
    }

    /// The rows of an outer row, of those that its body gives.
    fn rows(self, id: &str, body: &[Vec<String>]) -> Rows {
        let null = || "NULL".to_owned();
        match self {
            Self::Left if body.is_empty() => vec![vec![id.to_owned(), null(), null()]],
            Self::Value => {
                let value = body.first().map_or_else(null, |row| row[1].clone());
                vec![vec![id.to_owned(), value]]
            }
            _ => {
                let rows = body
                    .iter()
                    .map(|row| [&[id.to_owned()], row.as_slice()].concat());
                rows.collect()
            }
        }
    }
}

/// The rows that each outer row's body gives without a limit, in their order.
async fn truth(fixture: &Fixture, body: &str) -> Vec<(String, Rows)> {
    let mut truth = Vec::new();
    for outer in fixture.rows("SELECT id, k FROM o").await {
        let constant = format!("CAST({} AS INT)", outer[1]);
        let rows = fixture.rows(&body.replace(OUTER, &constant)).await;
        truth.push((outer[0].clone(), rows));
    }
    truth
}

/// One question, and what it must answer.
struct Case {
    query: String,
    form: Form,
    limit: (Option<usize>, usize),
    /// Whether there is one answer only.
    ordered: bool,
}

impl Case {
    fn all(body: &Body, ordered: bool) -> Vec<Self> {
        let mut cases = Vec::new();
        for &limit in LIMITS {
            for form in [Form::Cross, Form::Left, Form::Value] {
                if form.takes(limit.0) {
                    let body = format!("{}{}", text(body, ordered), limit_text(limit));
                    cases.push(Self {
                        query: form.query(&body),
                        form,
                        limit,
                        ordered,
                    });
                }
            }
        }
        cases
    }

    fn check(&self, got: Rows, truth: &[(String, Rows)], how: &str) {
        let (limit, offset) = self.limit;
        let taken = |rows: &Rows| {
            rows.len()
                .saturating_sub(offset)
                .min(limit.unwrap_or(usize::MAX))
        };
        if self.ordered {
            let mut expected = Rows::new();
            for (id, rows) in truth {
                let after = rows.get(offset..).unwrap_or_default();
                expected.extend(self.form.rows(id, &after[..taken(rows)]));
            }
            expected.sort();
            assert_eq!(got, expected, "{how}: {}", self.query);
            return;
        }
        for (id, rows) in truth {
            let own: Rows = got.iter().filter(|row| row[0] == *id).cloned().collect();
            let count = self.form.rows(id, &rows[..taken(rows)]).len();
            assert_eq!(own.len(), count, "{how}, rows of {id}: {}", self.query);
            if taken(rows) == 0 {
                assert_eq!(own, self.form.rows(id, &[]), "{how}: {}", self.query);
                continue;
            }
            let mut possible: Rows = rows
                .iter()
                .flat_map(|row| self.form.rows(id, std::slice::from_ref(row)))
                .collect();
            for row in own {
                let place = possible.iter().position(|other| *other == row);
                let place =
                    place.unwrap_or_else(|| panic!("{how}: {row:?} is none: {}", self.query));
                possible.remove(place);
            }
        }
    }
}

/// The text of a body, in its order or in none.
fn text(body: &Body, ordered: bool) -> String {
    match ordered {
        true => format!("{} ORDER BY {}", body.sql, body.order),
        false => body.sql.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_each_outer_row_is_over_its_rows_alone() {
    let fixture = Fixture::new().await;
    fixture.run(SCHEMA).await;
    let mut views = Vec::new();
    for (number, body) in BODIES.iter().enumerate() {
        for ordered in [true, false] {
            if body.always_ordered && !ordered {
                continue;
            }
            let truth = truth(&fixture, &text(body, ordered)).await;
            let cases = Case::all(body, ordered);
            let viewed = (number * 2 + usize::from(ordered)) * 3 % cases.len();
            for (place, case) in cases.into_iter().enumerate() {
                let got = fixture.sorted(&case.query).await;
                case.check(got, &truth, "snapshot");
                if place == viewed {
                    let name = format!("view_{}", views.len());
                    let create = format!("CREATE MATERIALIZED VIEW {name} AS {}", case.query);
                    fixture.run(&create).await;
                    let got = fixture.sorted(&format!("SELECT * FROM {name}")).await;
                    case.check(got, &truth, "view");
                    views.push((name, case, text(body, ordered)));
                }
            }
        }
    }
    fixture.run(CHANGES).await;
    for (name, case, body) in views {
        let got = fixture.sorted(&format!("SELECT * FROM {name}")).await;
        let truth = truth(&fixture, &body).await;
        case.check(got, &truth, "view after changes");
    }
}

/// EXISTS asks for the rows that OFFSET and an inner LIMIT leave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exists_counts_what_limits_leave() {
    let fixture = Fixture::new().await;
    fixture.run(SCHEMA).await;
    let asked = [
        (
            "SELECT i.v FROM i WHERE i.k = o.k LIMIT 1",
            vec!["1", "2", "5"],
        ),
        ("SELECT i.v FROM i WHERE i.k = o.k OFFSET 3", vec!["1", "5"]),
        ("SELECT i.v FROM i WHERE i.k = o.k LIMIT 0", vec![]),
        (
            "SELECT 1 FROM (SELECT i.v FROM i WHERE i.k = o.k ORDER BY i.v LIMIT 1) z WHERE z.v > 2",
            vec!["1", "5"],
        ),
    ];
    for (body, ids) in asked {
        let query = format!("SELECT o.id FROM o WHERE EXISTS ({body})");
        let got = fixture.sorted(&query).await.concat();
        assert_eq!(got, ids, "{query}");
    }
}

/// DISTINCT ON keeps its order, and LIMIT takes the first of that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn distinct_on_comes_in_its_order() {
    let fixture = Fixture::new().await;
    fixture.run(SCHEMA).await;
    let query = "SELECT DISTINCT ON (i.g) i.id FROM i ORDER BY i.g DESC, i.v DESC NULLS LAST, i.id";
    assert_eq!(fixture.rows(query).await.concat(), ["8", "3", "4"]);
    let first = format!("{query} LIMIT 2");
    assert_eq!(fixture.rows(&first).await.concat(), ["8", "3"]);
    let view = format!("CREATE MATERIALIZED VIEW firsts AS {first}");
    fixture.run(&view).await;
    let rows = fixture.sorted("SELECT * FROM firsts").await;
    assert_eq!(rows.concat(), ["3", "8"]);
}
