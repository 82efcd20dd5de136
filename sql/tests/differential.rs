//! A view over rows that stream in holds what the same SELECT gives over all of them at once.

use crate::fixture::{Fixture, SCHEMA};

/// Queries that run as views and as snapshots of their inputs.
const QUERIES: &[&str] = &[
    "SELECT window_start, window_end, a.name, count(*) AS flights, avg(dep_delay) AS avg_delay
     FROM TUMBLE(flights, scheduled, INTERVAL '1 hour') f JOIN airlines a ON f.carrier = a.carrier
     GROUP BY window_start, window_end, a.name",
    "SELECT window_start, window_end, carrier, origin, count(*) AS n, sum(distance) AS miles, max(dep_delay) AS worst
     FROM TUMBLE(flights, scheduled, INTERVAL '1 hour') GROUP BY window_start, window_end, carrier, origin",
    "SELECT carrier, count(dep_delay) AS n, count(DISTINCT origin) AS origins, min(scheduled) AS first,
            sum(distance) FILTER (WHERE dep_delay > 0) AS late_miles, avg(distance) AS miles
     FROM flights GROUP BY carrier",
    "SELECT count(*) AS n, sum(dep_delay) AS delay, min(carrier) AS carrier FROM flights WHERE origin <> 'EWR'",
    "SELECT DISTINCT origin, upper(carrier) AS carrier FROM flights",
    "SELECT a.name, f.origin, count(*) AS n, max(f.dep_delay) - min(f.dep_delay) AS spread
     FROM (SELECT * FROM flights WHERE dep_delay IS NOT NULL) f LEFT JOIN airlines a ON f.carrier = a.carrier
     GROUP BY a.name, f.origin HAVING count(*) > 1",
    "WITH hourly AS (SELECT window_start, carrier, count(*) AS n
                     FROM TUMBLE(flights, scheduled, INTERVAL '30 minutes') GROUP BY window_start, carrier)
     SELECT carrier, max(n) AS busiest, count(*) AS windows FROM hourly GROUP BY carrier",
    "SELECT a.carrier, b.carrier AS other, b.name AS partner FROM airlines a JOIN airlines b ON a.name = b.name AND a.carrier < b.carrier",
    "SELECT CASE WHEN dep_delay > 3 THEN 'late' WHEN dep_delay IS NULL THEN 'gone' ELSE 'fine' END AS class, count(*) AS n
     FROM flights GROUP BY 1",
    "SELECT window_start, name, count(*) AS n
     FROM TUMBLE((SELECT f.scheduled, a.name FROM flights f JOIN airlines a ON f.carrier = a.carrier), scheduled, INTERVAL '1 hour')
     GROUP BY window_start, name",
    "SELECT f.flight, f.origin, a.name FROM flights f JOIN airlines a ON lower(f.carrier) = lower(a.carrier)",
    "SELECT a.carrier, a.name, f.origin, count(f.flight) AS n FROM flights f RIGHT JOIN airlines a ON f.carrier = a.carrier
     GROUP BY a.carrier, a.name, f.origin",
    "SELECT a.carrier, a.name, b.carrier AS other, b.n
     FROM airlines a FULL JOIN (SELECT carrier, count(*) AS n FROM flights WHERE dep_delay > 3 GROUP BY carrier) b ON a.carrier = b.carrier",
    "SELECT sum(distance) AS miles FROM flights GROUP BY carrier, origin",
    "SELECT carrier FROM flights WHERE flight <> 0 AND distance / flight > 1",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_equal_the_batch_answer() {
    let fixture = Fixture::new().await;
    fixture.run(SCHEMA).await;
    for (number, query) in QUERIES.iter().enumerate() {
        fixture
            .run(&format!("CREATE MATERIALIZED VIEW v{number} AS {query}"))
            .await;
    }
    let seed = u64::from(std::process::id());
    let mut random = Random(seed);
    for round in 0..4 {
        fixture.run(&airlines(&mut random)).await;
        fixture.run(&flights(&mut random, 300)).await;
        if round == 2 {
            fixture
                .run("DELETE FROM airlines WHERE carrier IN ('UA', 'B6')")
                .await;
        }
        for (number, query) in QUERIES.iter().enumerate() {
            let streamed = fixture.sorted(&format!("SELECT * FROM v{number}")).await;
            let batch = fixture.sorted(query).await;
            assert_eq!(streamed, batch, "seed {seed}, round {round}: {query}");
            assert!(!batch.is_empty() || number == 7, "{query}");
        }
    }
}

/// A small linear congruential generator: the seed is all there is to replay.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        let index = usize::try_from(self.below(of.len() as u64)).expect("an index is small");
        of[index]
    }
}

const CARRIERS: [&str; 5] = ["UA", "AA", "B6", "DL", "MQ"];

fn airlines(random: &mut Random) -> String {
    let rows: Vec<String> = (0..3)
        .map(|_| {
            let name = random.pick(&["United", "American", "JetBlue", "Delta"]);
            format!("('{}', '{name}')", random.pick(&CARRIERS))
        })
        .collect();
    format!("INSERT INTO airlines VALUES {}", rows.join(", "))
}

fn flights(random: &mut Random, count: usize) -> String {
    let rows: Vec<String> = (0..count)
        .map(|_| {
            let (hour, minute) = (random.below(6), random.below(60));
            let delay = match random.below(8) {
                0 => "NULL".to_owned(),
                n => format!("{}.5", n as i64 - 4),
            };
            format!(
                "('2013-01-01T{:02}:{minute:02}:00Z', '{}', {}, NULL, '{}', 'LAX', {delay}, NULL, {})",
                hour + 5,
                random.pick(&CARRIERS),
                random.below(3000),
                random.pick(&["EWR", "JFK", "LGA"]),
                random.below(2500)
            )
        })
        .collect();
    format!("INSERT INTO flights VALUES {}", rows.join(", "))
}
