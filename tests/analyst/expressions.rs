//! Scalar expressions over awkward values have the value that PostgreSQL gives them, or fail as there.
//!
//! Expressions are made at random from a grammar by type, over rows of one table that both servers hold. The seed is in
//! every failure and replays it: `THALWEG_SEED=7`.

use serde_json::Value;

use crate::fixture::block_on;
use crate::fixture::postgres::Postgres;
use crate::fixture::process::Server;

/// Expressions a run.
const EXPRESSIONS: usize = 400;

const TABLE: &str = "CREATE TABLE awkward (id BIGINT PRIMARY KEY, i BIGINT, j BIGINT, n DECIMAL(12,4), x DOUBLE PRECISION,
    y DOUBLE PRECISION, s TEXT, p TEXT, b BOOLEAN, ts TIMESTAMP, tz TIMESTAMPTZ, d DATE)";

const ROWS: &[&str] = &[
    "1, 0, 1, 0, 0, -0.5, '', 'a', true, '2024-05-01 08:00:00', '2024-05-01 08:00:00+00', '2024-05-01'",
    "2, 9223372036854775807, -1, 99999999.9999, 1e300, 2.5, 'abc', 'a%', false, '9999-12-31 23:59:59.999999', '1600-01-01 00:00:00+00', '1066-10-14'",
    "3, -9223372036854775807, 7, -0.0001, -1e-300, -1.5, 'a.c', 'a.c', NULL, '0800-12-25 00:00:00', '9999-12-31 12:00:00+00', '9999-12-31'",
    "4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
    "5, 3, 2, 2.5, 0.1, 3, ' Zo€ ', '_b%', true, '2024-02-29 23:59:58.123456', '2024-02-29 23:59:58.123456+00', '2024-02-29'",
    "6, -7, 3, -12.3456, 1.5, 0.7, '10', '1_', false, '1969-12-31 23:59:59.5', '1969-12-31 23:59:59.5+00', '1969-12-31'",
    "7, 10, -4, 0.5, 123456789.25, -2, 'x|y', 'x\\|y', true, '2000-01-03 00:00:00', '2013-07-01 12:00:00+00', '2000-01-01'",
];

/// A small linear congruential generator: the seed is all there is to replay.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Int,
    Decimal,
    Double,
    Text,
    Bool,
    Time,
    Instant,
    Date,
}

use Type::{Bool, Date, Decimal, Double, Instant, Int, Text, Time};

/// For each type: its leaves, and what is made of others. `@i` is an expression of BIGINT, `@n` of DECIMAL, `@x` of
/// DOUBLE, `@s` of TEXT, `@b` of BOOLEAN, `@t` of TIMESTAMP, `@z` of TIMESTAMPTZ, `@d` of DATE.
fn grammar(of: Type) -> (&'static [&'static str], &'static [&'static str]) {
    match of {
        Int => (
            &["i", "j", "id"],
            &[
                "(@i + @i)",
                "(@i - @i)",
                "(@i * @i)",
                "(@i / @i)",
                "(@i % @i)",
                "(- @i)",
                "abs(@i)",
                "CAST(@n AS BIGINT)",
                "CAST(@x AS BIGINT)",
                "CAST(length(@s) AS BIGINT)",
                "CAST(strpos(@s, @s) AS BIGINT)",
                "CAST(ascii(@s) AS BIGINT)",
                "CASE WHEN @b THEN @i ELSE @i END",
                "CASE @i WHEN @i THEN @i WHEN @i THEN @i END",
                "coalesce(@i, @i)",
                "nullif(@i, @i)",
                "greatest(@i, @i)",
                "least(@i, @i, @i)",
                "CAST(extract(year FROM @t) AS BIGINT)",
                "CAST(extract(dow FROM @d) AS BIGINT)",
                "CAST(extract(week FROM @t) AS BIGINT)",
                "CAST(extract(hour FROM @t - @t) AS BIGINT)",
                "CAST(extract(day FROM @z - @z) AS BIGINT)",
                "CAST(extract(microseconds FROM @t) AS BIGINT)",
                "CAST(@d - @d AS BIGINT)",
            ],
        ),
        Decimal => (
            &["n"],
            &[
                "(@n + @n)",
                "(@n - @n)",
                "(@n + 0.5)",
                "(@n * -2.75)",
                "(@n * @n)",
                "(@n * @i)",
                "(@n / @n)",
                "(- @n)",
                "abs(@n)",
                "round(@n)",
                "round(@n, 1)",
                "floor(@n)",
                "ceil(@n)",
                "trunc(@n)",
                "CASE WHEN @b THEN @n ELSE @n END",
                "coalesce(@n, @n)",
                "nullif(@n, @n)",
                "greatest(@n, @n)",
            ],
        ),
        Double => (
            &["x", "y"],
            &[
                "(@x + @x)",
                "(@x - @x)",
                "(@x * 0.1)",
                "(@x * CAST('-0' AS DOUBLE PRECISION))",
                "(@x * @x)",
                "(@x / @x)",
                "(@x + @n)",
                "(@x * @i)",
                "(- @x)",
                "abs(@x)",
                "round(@x)",
                "floor(@x)",
                "ceil(@x)",
                "sqrt(abs(@x))",
                "CAST(@n AS DOUBLE PRECISION)",
                "CAST(@i AS DOUBLE PRECISION)",
                "CAST(CAST(@x AS REAL) AS DOUBLE PRECISION)",
                "CAST(extract(epoch FROM @t) AS DOUBLE PRECISION)",
                "CAST(extract(second FROM @z) AS DOUBLE PRECISION)",
                "CAST(extract(epoch FROM @t - @t) AS DOUBLE PRECISION)",
                "CASE WHEN @b THEN @x ELSE @x END",
                "coalesce(@x, @x)",
                "nullif(@x, @x)",
            ],
        ),
        Text => (
            &["s", "p"],
            &[
                "(@s || @s)",
                "(@s || '€-b')",
                "coalesce(@s, '%')",
                "lower(@s)",
                "upper(@s)",
                "substring(@s, 2)",
                "substring(@s, 1, 2)",
                "left(@s, 2)",
                "left(@s, -1)",
                "right(@s, 2)",
                "btrim(@s)",
                "replace(@s, 'a', @s)",
                "reverse(@s)",
                "lpad(@s, 5, '*')",
                "split_part(@s, '|', 1)",
                "initcap(@s)",
                "CAST(@i AS TEXT)",
                "CASE WHEN @b THEN @s ELSE @s END",
                "coalesce(@s, @s)",
                "nullif(@s, @s)",
                "to_char(@t, 'YYYY-MM-DD HH24:MI:SS')",
            ],
        ),
        Bool => (
            &["b"],
            &[
                "(@i < @i)",
                "(@i = @i)",
                "(@n >= @n)",
                "(@n = @i)",
                "(@x <> @x)",
                "(@x = @i)",
                "(@s < @s)",
                "(@s = @s)",
                "(@t < @t)",
                "(@t >= @d)",
                "(@z <= @z)",
                "(@d > @d)",
                "(@t < '9999-12-31')",
                "(@d <> '2024-05-01')",
                "(@i > '7')",
                "(@t - @t > INTERVAL '1 day')",
                "(@z - @z = INTERVAL '30 hours')",
                "(@t - @t BETWEEN INTERVAL '1 hour' AND INTERVAL '40 days')",
                "(@i BETWEEN @i AND @i)",
                "(@x BETWEEN @x AND @x)",
                "(@t BETWEEN @d AND @t)",
                "(@i IN (@i, @i, 3))",
                "(@x NOT IN (@x, 0, 1.5))",
                "(@n IN (0.5, @n))",
                "(@s IN (@s, 'abc'))",
                "(@t IN (@t, '2024-05-01 08:00'))",
                "(@s LIKE @s)",
                "(@s NOT LIKE 'a%')",
                "(@s SIMILAR TO '(a|x)%')",
                "(@s SIMILAR TO 'a.c')",
                "(@b AND @b)",
                "(@b OR @b)",
                "(NOT @b)",
                "(@b IS NULL)",
                "(@i IS DISTINCT FROM @i)",
                "(i <> 0 AND 100 / i > 3)",
                "(j <> 0 AND @i / j > 1)",
                "CASE WHEN j = 2 THEN false ELSE @i / (j - 2) > 1 END",
                "CASE round(@x) WHEN 0 THEN true ELSE @b END",
                "coalesce(@b, @b)",
            ],
        ),
        Time => (
            &["ts"],
            &[
                "date_trunc('hour', @t)",
                "least(@t, TIMESTAMP '2024-05-01 08:00:00')",
                "greatest(@t, CAST('1999-12-31 23:59' AS TIMESTAMP))",
                "date_trunc('week', @t)",
                "date_trunc('quarter', @t)",
                "date_trunc('decade', @t)",
                "(@d + INTERVAL '6 hours')",
                "(@d - INTERVAL '1 month')",
                "CAST(@d AS TIMESTAMP)",
                "coalesce(@t, '2024-05-05')",
                "CASE WHEN @b THEN @t ELSE '1500-01-01' END",
                "nullif(@t, '2024-05-01 08:00')",
                "greatest(@t, @t)",
                "(@z AT TIME ZONE 'UTC')",
            ],
        ),
        Instant => (
            &["tz"],
            &[
                "date_trunc('month', @z)",
                "least(@z, TIMESTAMPTZ '2024-05-01 10:00:00+02')",
                "date_trunc('day', @z)",
                "coalesce(@z, @z)",
                "CASE WHEN @b THEN @z ELSE @z END",
                "(least(greatest(@t, '1999-12-31'), '2030-01-01') AT TIME ZONE 'Europe/Amsterdam')",
            ],
        ),
        Date => (
            &["d"],
            &[
                "CAST(@t AS DATE)",
                "coalesce(@d, '2024-05-01')",
                "CASE WHEN @b THEN @d ELSE @d END",
                "least(@d, DATE '2024-02-29')",
            ],
        ),
    }
}

fn expression(random: &mut Random, of: Type, depth: usize) -> String {
    let (leaves, made) = grammar(of);
    if depth == 0 || random.below(5) == 0 {
        return random.pick(leaves).to_owned();
    }
    let mut pieces = random.pick(made).split('@');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (hole, rest) = piece.split_at(1);
        let of = match hole {
            "i" => Int,
            "n" => Decimal,
            "x" => Double,
            "s" => Text,
            "b" => Bool,
            "t" => Time,
            "z" => Instant,
            _ => Date,
        };
        out.push_str(&expression(random, of, depth - 1));
        out.push_str(rest);
    }
    out
}

/// What both write the same: numbers are compared later, as numbers.
fn plain(of: Type, text: &str) -> String {
    match of {
        Time | Instant | Date => text
            .replace(' ', "T")
            .trim_end_matches("+00")
            .trim_end_matches('Z')
            .to_owned(),
        Bool => match text {
            "t" => "true".to_owned(),
            "f" => "false".to_owned(),
            other => other.to_owned(),
        },
        _ => text.to_owned(),
    }
}

/// Whether two values are the same: exactly, or for numbers with a fraction to 12 digits, as quotients differ in theirs;
/// a product of decimals may be rounded to the digits of its factors.
fn same(of: Type, ours: &str, theirs: &str) -> bool {
    let (ours, theirs) = (plain(of, ours), plain(of, theirs));
    if ours == theirs || !matches!(of, Decimal | Double) {
        return ours == theirs;
    }
    let number = |text: &str| text.to_lowercase().parse::<f64>();
    let fraction = ours.split_once('.').map_or("", |(_, fraction)| fraction);
    let digits = i32::try_from(fraction.len()).unwrap();
    match (number(&ours), number(&theirs)) {
        (Ok(ours), Ok(theirs)) => {
            let off = (ours - theirs).abs();
            ours == theirs
                || (ours.is_nan() && theirs.is_nan())
                || off <= 1e-12 * ours.abs().max(theirs.abs()).max(1e-4)
                || (of == Decimal && digits >= 4 && off <= 0.500_001 / 10f64.powi(digits))
        }
        _ => false,
    }
}

fn our_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[test]
fn expressions_have_the_values_of_postgresql() {
    block_on(async {
        let seed = std::env::var("THALWEG_SEED").map_or(1, |seed| seed.parse().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(&folder.path().join("data"));
        let postgres = Postgres::start().await;
        let client = postgres.connect().await;
        client.batch_execute("SET timezone = 'UTC'").await.unwrap();
        client.batch_execute(TABLE).await.unwrap();
        server.sql(TABLE).await;
        let rows: Vec<String> = ROWS.iter().map(|row| format!("({row})")).collect();
        let insert = format!("INSERT INTO awkward VALUES {}", rows.join(", "));
        client.batch_execute(&insert).await.unwrap();
        server.sql(&insert).await;

        let mut random = Random(seed);
        let mut wrong = Vec::new();
        for _ in 0..EXPRESSIONS {
            let of = [Int, Decimal, Double, Text, Bool, Bool, Time, Instant, Date][random.below(9)];
            let expression = expression(&mut random, of, 3);
            for id in 1..=ROWS.len() {
                let sql = format!("SELECT {expression} AS v FROM awkward WHERE id = {id}");
                let theirs = match client.simple_query(&sql).await {
                    Ok(messages) => messages.iter().find_map(|message| match message {
                        tokio_postgres::SimpleQueryMessage::Row(row) => {
                            Some(Ok(row.get(0).map(str::to_owned)))
                        }
                        _ => None,
                    }),
                    Err(error) => Some(Err(error.to_string())),
                };
                let theirs = theirs.unwrap();
                let ours = match server.try_sql(&sql).await {
                    Ok(rows) => Ok(our_text(&rows[0]["v"])),
                    Err(error) => Err(error["message"].to_string()),
                };
                let agree = match (&ours, &theirs) {
                    (Ok(Some(ours)), Ok(Some(theirs))) => same(of, ours, theirs),
                    (Ok(None), Ok(None)) | (Err(_), Err(_)) => true,
                    // A DECIMAL has 38 digits here.
                    (Err(error), Ok(_)) => error.contains("overflow of DECIMAL"),
                    _ => false,
                };
                if !agree {
                    wrong.push(format!("{sql}\n  ours: {ours:?}\n  PostgreSQL: {theirs:?}"));
                    break;
                }
            }
        }
        assert!(
            wrong.is_empty(),
            "THALWEG_SEED={seed}: {} of {EXPRESSIONS} differ\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    });
}
