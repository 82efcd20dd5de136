//! Joins, semi and anti joins and subqueries as views hold what the same SELECT gives over all rows at once: whatever
//! comes, changes and goes on either side, and after a restart.

use crate::fixture::Fixture;

const SCHEMA: &str = "
CREATE TABLE orders (id INT PRIMARY KEY, customer INT, amount INT, at TIMESTAMP);
CREATE TABLE customers (id INT PRIMARY KEY, city TEXT, credit INT);
CREATE SOURCE visits (customer INT, page TEXT, at TIMESTAMP) WITH (topic = 'visits', partitions = 2) FORMAT PLAIN ENCODE JSON
";

const QUERIES: &[&str] = &[
    // Further conditions in ON.
    "SELECT o.id, c.id AS c, o.amount, c.credit FROM orders o JOIN customers c ON o.customer = c.id AND o.amount > c.credit",
    "SELECT o.id, c.id AS c, o.amount, c.credit FROM orders o LEFT JOIN customers c ON o.customer = c.id AND o.amount > c.credit",
    "SELECT o.id, c.id AS c, o.amount, c.credit FROM orders o RIGHT JOIN customers c ON o.customer = c.id AND o.amount > c.credit",
    "SELECT o.id, c.id AS c, o.amount, c.credit FROM orders o FULL JOIN customers c ON o.customer = c.id AND o.amount > c.credit",
    "SELECT o.id, v.page FROM orders o LEFT JOIN visits v ON o.customer = v.customer AND v.page <> 'home'",
    // Conditions that are never true.
    "SELECT o.id, c.id AS c FROM orders o JOIN customers c ON false",
    "SELECT o.id, c.id AS c FROM orders o LEFT JOIN customers c ON 1 = 2",
    "SELECT o.id, c.id AS c FROM orders o RIGHT JOIN customers c ON o.customer = c.id AND false",
    "SELECT o.id, c.id AS c FROM orders o FULL JOIN customers c ON false",
    // No equality at all.
    "SELECT o.id, c.id AS c FROM orders o JOIN customers c ON o.amount > c.credit",
    "SELECT o.id, c.id AS c FROM orders o LEFT JOIN customers c ON o.amount < c.credit",
    "SELECT o.id, o.amount - t.mean AS above FROM orders o CROSS JOIN (SELECT avg(amount) AS mean FROM orders) t",
    "SELECT o.id, c.id AS c FROM orders o JOIN customers c ON o.customer IS NOT DISTINCT FROM c.credit",
    // Ranges on time.
    "SELECT o.id, v.customer, v.page, v.at FROM orders o JOIN visits v
     ON o.customer = v.customer AND v.at BETWEEN o.at - INTERVAL '2 hours' AND o.at",
    "SELECT o.id, p.id AS later FROM orders o LEFT JOIN orders p
     ON o.customer = p.customer AND p.at > o.at AND p.at <= o.at + INTERVAL '90 minutes'",
    "SELECT o.id, p.id AS later FROM orders o FULL JOIN orders p ON p.at > o.at AND p.amount > o.amount AND o.customer = 2",
    // Subqueries that ask.
    "SELECT id, amount FROM orders WHERE customer IN (SELECT id FROM customers WHERE credit > 1)",
    "SELECT id, amount FROM orders WHERE customer NOT IN (SELECT id FROM customers WHERE credit > 1)",
    "SELECT id, credit FROM customers WHERE credit NOT IN (SELECT amount FROM orders WHERE customer > 2)",
    "SELECT id, city FROM customers c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer = c.id AND o.amount > c.credit)",
    "SELECT id, city FROM customers c WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.customer = c.id)",
    "SELECT id, city FROM customers c WHERE credit = 2 OR EXISTS (SELECT 1 FROM orders o WHERE o.customer = c.id)",
    "SELECT customer, page FROM visits v WHERE customer IN (SELECT customer FROM orders) AND page <> 'home'",
    // Subqueries that give a value.
    "SELECT id, amount FROM orders WHERE amount > (SELECT avg(amount) FROM orders)",
    // Sets.
    "SELECT customer FROM orders INTERSECT SELECT id FROM customers",
    "SELECT customer FROM orders EXCEPT SELECT credit FROM customers",
    // Keys that are NULL on both sides.
    "SELECT a.customer, a.n, b.customer AS other, b.m FROM (SELECT customer, count(*) AS n FROM orders GROUP BY customer) a
     FULL JOIN (SELECT customer, count(*) AS m FROM visits GROUP BY customer) b ON a.customer = b.customer",
    "SELECT a.n, b.m FROM (SELECT customer, count(*) AS n FROM orders GROUP BY customer) a
     FULL JOIN (SELECT customer, count(*) AS m FROM visits GROUP BY customer) b ON a.customer = b.customer",
    // Several at once.
    "SELECT c.id, o.id AS o, v.page FROM customers c LEFT JOIN orders o ON o.customer = c.id AND o.amount > 1
     LEFT JOIN visits v ON v.customer = c.id AND v.at < o.at",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_with_joins_equal_the_batch_answer() {
    let mut fixture = Fixture::new().await;
    fixture.run(SCHEMA).await;
    for (number, query) in QUERIES.iter().enumerate() {
        fixture
            .run(&format!("CREATE MATERIALIZED VIEW v{number} AS {query}"))
            .await;
    }
    let seed = u64::from(std::process::id());
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..5 {
        fixture.run(&orders(&mut random)).await;
        fixture.run(&customers(&mut random)).await;
        fixture.run(&visits(&mut random)).await;
        let gone = random.u8(..8);
        fixture
            .run(&format!(
                "DELETE FROM orders WHERE id % 8 = {gone}; DELETE FROM customers WHERE id = {gone}"
            ))
            .await;
        if round == 2 {
            fixture = fixture.restart().await;
        }
        for (number, query) in QUERIES.iter().enumerate() {
            let streamed = fixture.sorted(&format!("SELECT * FROM v{number}")).await;
            let batch = fixture.sorted(query).await;
            assert_eq!(streamed, batch, "seed {seed}, round {round}: {query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_says_what_a_join_compares_and_keeps() {
    let fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE SOURCE a (k INT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '1 minute') WITH (topic = 'a') FORMAT PLAIN ENCODE JSON;
             CREATE SOURCE b (k INT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '1 minute') WITH (topic = 'b') FORMAT PLAIN ENCODE JSON;
             CREATE TABLE t (k INT PRIMARY KEY, at TIMESTAMP)",
        )
        .await;
    let within = "b.at > a.at - INTERVAL '1 hour' AND b.at <= a.at";
    for (query, wanted) in [
        (
            format!("SELECT a.k FROM a JOIN b ON a.k = b.k AND {within}"),
            "join #2.0 on k = k and at > at - 1 hour and at <= at  [keeps rows of both sides until event time has passed all that they can match]",
        ),
        // One side without end, or one that changes, is kept.
        (
            "SELECT a.k FROM a JOIN b ON a.k = b.k AND b.at <= a.at".to_owned(),
            "join #2.0 on k = k and at <= at  [keeps all rows of both sides, by time: nothing bounds them]",
        ),
        (
            "SELECT a.k FROM a JOIN t b ON b.at BETWEEN a.at AND a.at + INTERVAL '1 day'"
                .to_owned(),
            "join #2.0 on at >= at and at <= at + 1 day  [keeps all rows of both sides, by time: nothing bounds them]",
        ),
        (
            "SELECT a.k FROM a JOIN t ON a.k < t.k".to_owned(),
            "join #2.0, where a.k < t.k; meets every row with every row  [keeps all rows of both sides: nothing bounds them]",
        ),
    ] {
        let lines = fixture
            .rows(&format!("EXPLAIN CREATE MATERIALIZED VIEW v AS {query}"))
            .await;
        let text: Vec<String> = lines.into_iter().flatten().collect();
        let text = text.join("\n");
        assert!(text.contains(wanted), "{query}:\n{text}");
    }
}

fn null_or(random: &mut fastrand::Rng, value: impl ToString) -> String {
    match random.u8(..6) {
        0 => "NULL".to_owned(),
        _ => value.to_string(),
    }
}

fn time(random: &mut fastrand::Rng) -> String {
    let time = format!(
        "'2024-01-01T{:02}:{:02}:00'",
        random.u8(8..14),
        15 * random.u8(..4)
    );
    null_or(random, time)
}

fn orders(random: &mut fastrand::Rng) -> String {
    let rows: Vec<String> = (0..12)
        .map(|_| {
            let (id, customer, amount) = (random.u8(..30), random.u8(1..7), random.u8(..5));
            let (customer, amount) = (null_or(random, customer), null_or(random, amount));
            format!("({id}, {customer}, {amount}, {})", time(random))
        })
        .collect();
    format!("INSERT INTO orders VALUES {}", rows.join(", "))
}

fn customers(random: &mut fastrand::Rng) -> String {
    let rows: Vec<String> = (0..3)
        .map(|_| {
            let (id, credit) = (random.u8(1..8), random.u8(..4));
            format!(
                "({id}, 'city {}', {})",
                random.u8(..3),
                null_or(random, credit)
            )
        })
        .collect();
    format!("INSERT INTO customers VALUES {}", rows.join(", "))
}

fn visits(random: &mut fastrand::Rng) -> String {
    let rows: Vec<String> = (0..8)
        .map(|_| {
            let customer = random.u8(1..7);
            let page = if random.bool() { "home" } else { "shop" };
            format!(
                "({}, '{page}', {})",
                null_or(random, customer),
                time(random)
            )
        })
        .collect();
    format!("INSERT INTO visits VALUES {}", rows.join(", "))
}
