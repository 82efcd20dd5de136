//! `\h`: how a statement is written, with one example each.

/// A statement, how it is written, an example.
const STATEMENTS: &[(&str, &str, &str)] = &[
    (
        "CREATE SOURCE",
        "CREATE SOURCE [IF NOT EXISTS] name (\n    column type [NOT NULL], …\n    [, WATERMARK FOR time AS time - INTERVAL '1 minute']\n) [INCLUDE KEY|PARTITION|OFFSET|TIMESTAMP|HEADER 'h' [AS column]] WITH (option = 'value', …)\n[FORMAT PLAIN ENCODE JSON]",
        "CREATE SOURCE trips (ts TIMESTAMP, city TEXT, WATERMARK FOR ts AS ts - INTERVAL '1 minute') WITH (topic = 'trips');",
    ),
    (
        "CREATE TABLE",
        "CREATE TABLE [IF NOT EXISTS] name (column type [PRIMARY KEY], … [, PRIMARY KEY (column, …)])\nWITH (option = 'value', …)",
        "CREATE TABLE cities (city TEXT PRIMARY KEY, name TEXT) WITH (topic = 'cities');",
    ),
    (
        "CREATE MATERIALIZED VIEW",
        "CREATE MATERIALIZED VIEW [IF NOT EXISTS] name AS SELECT …\n[EMIT CHANGES | EMIT ON WINDOW CLOSE] [LATE TO topic | LATE DROP | LATE UPDATE]",
        "CREATE MATERIALIZED VIEW hourly AS SELECT window_start, count(*) AS trips\n    FROM TUMBLE(trips, ts, INTERVAL '1 hour') GROUP BY window_start;",
    ),
    (
        "CREATE FUNCTION",
        "CREATE FUNCTION name(argument type, …) RETURNS type LANGUAGE wasm AS 'file:module.wasm'",
        "CREATE FUNCTION delay_class(delay DOUBLE PRECISION) RETURNS TEXT LANGUAGE wasm AS 'file:/tmp/delay_class.wasm';",
    ),
    (
        "SELECT",
        "SELECT expression [AS name], …\nFROM relation | TUMBLE(relation, time, INTERVAL '1 hour') [[AS] alias]\n[[LEFT] JOIN relation ON a.x = b.y]\n[WHERE condition] [GROUP BY …] [HAVING condition]\n[ORDER BY …] [LIMIT n]                      -- a snapshot: answers and ends\n[EMIT CHANGES [FROM LATEST] [LIMIT n]]      -- follows live until Ctrl-C",
        "SELECT city, count(*) AS trips FROM trips GROUP BY city EMIT CHANGES;",
    ),
    (
        "INSERT",
        "INSERT INTO relation [(column, …)] VALUES (value, …), …",
        "INSERT INTO cities VALUES ('ams', 'Amsterdam');",
    ),
    (
        "DELETE",
        "DELETE FROM table WHERE condition",
        "DELETE FROM cities WHERE city = 'ams';",
    ),
    (
        "EXPLAIN",
        "EXPLAIN SELECT … | EXPLAIN name        the plan\nEXPLAIN WHY view                        why a view prints what it prints",
        "EXPLAIN WHY hourly;",
    ),
    (
        "SHOW",
        "SHOW SOURCES | TABLES | VIEWS | JOBS | FUNCTIONS | TOPICS\nSHOW CREATE name                        the statement that made it",
        "SHOW CREATE hourly;",
    ),
    ("DESCRIBE", "DESCRIBE name", "DESCRIBE trips;"),
    (
        "DROP",
        "DROP SOURCE | TABLE | MATERIALIZED VIEW | FUNCTION [IF EXISTS] name",
        "DROP MATERIALIZED VIEW hourly;",
    ),
    ("SET", "SET name = value", "SET statement_timeout = '10s';"),
    (
        "SUBSCRIBE",
        "SUBSCRIBE view                          SELECT * FROM view EMIT CHANGES",
        "SUBSCRIBE hourly;",
    ),
];

/// What `\h` can be asked for.
pub(crate) fn statements() -> Vec<&'static str> {
    STATEMENTS.iter().map(|(name, ..)| *name).collect()
}

/// What there is to say of a word: statements that begin with it, or the page of a code; without one, the list.
pub(crate) fn about(word: &str) -> String {
    let asked = word
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_uppercase();
    if let Some(page) = crate::explain::page(&asked) {
        return page.to_owned();
    }
    let fitting = STATEMENTS.iter().filter(|(name, ..)| {
        !asked.is_empty() && (name.starts_with(&asked) || asked.starts_with(name))
    });
    let texts: Vec<String> = fitting
        .map(|(name, syntax, example)| {
            let syntax = syntax.replace('\n', "\n  ");
            format!(
                "{name}\n  {syntax}\nfor example\n  {}\n",
                example.replace('\n', "\n  ")
            )
        })
        .collect();
    if texts.is_empty() {
        let lead = if asked.is_empty() {
            String::new()
        } else {
            format!("nothing is known of {word}. ")
        };
        return format!(
            "{lead}\\h followed by one of:\n  {}\n",
            statements().join(", ")
        );
    }
    texts.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_finds_its_statements_and_a_code_its_page() {
        let create = about("create");
        assert!(
            create.contains("CREATE SOURCE") && create.contains("CREATE FUNCTION"),
            "{create}"
        );
        assert!(about("create  table").starts_with("CREATE TABLE\n"));
        assert!(about("tw1101").contains("TW1101"));
        assert!(about("").contains("SUBSCRIBE"));
        assert!(about("frobnicate").starts_with("nothing is known of frobnicate."));
    }
}
