//! `\h`: how a statement is written, with one example each. `docs/statements.md` is the same list; `UPDATE_PAGES=1` in the
//! environment of the tests writes it.

/// A statement, how it is written, an example. The examples run one after another.
const STATEMENTS: &[(&str, &str, &str)] = &[
    (
        "CREATE SOURCE",
        "CREATE SOURCE [IF NOT EXISTS] name [(\n    column type [NOT NULL], … [, column AS expression, …]\n    [, WATERMARK FOR time AS time - INTERVAL '1 minute']\n)]\n[INCLUDE KEY|PARTITION|OFFSET|TIMESTAMP|HEADERS|HEADER 'h' [AS column]]\nWITH (option = 'value', …)\n[FORMAT PLAIN ENCODE JSON|CSV|TEXT|BYTES]\nWithout columns, up to 1,000 records are looked at.",
        "CREATE SOURCE trips (ts TIMESTAMP, city TEXT, fare DOUBLE PRECISION,\n    WATERMARK FOR ts AS ts - INTERVAL '1 minute') WITH (topic = 'trips');",
    ),
    (
        "CREATE TABLE",
        "CREATE TABLE [IF NOT EXISTS] name (\n    column type [PRIMARY KEY] [NOT NULL], … [, PRIMARY KEY (column, …)]\n    [, column type GENERATED ALWAYS AS (expression) STORED, …]\n)\n[INCLUDE …] WITH (option = 'value', …)\n[FORMAT PLAIN|UPSERT|DEBEZIUM ENCODE JSON|CSV|TEXT|BYTES]\nA table of PostgreSQL, whose columns may be left out:\nCREATE TABLE name WITH (connector = 'postgres-cdc', hostname = 'db', username = 'me',\n    password = '…', database.name = 'shop', table.name = 'orders')",
        "CREATE TABLE cities (city TEXT PRIMARY KEY, name TEXT) WITH (topic = 'cities');",
    ),
    (
        "CREATE MATERIALIZED VIEW",
        "CREATE [OR REPLACE] MATERIALIZED VIEW [IF NOT EXISTS] name [WITH (wait = off)] AS SELECT …\n[EMIT CHANGES | EMIT ON WINDOW CLOSE]\n[LATE TO 'topic' | LATE DROP | LATE UPDATE]",
        "CREATE MATERIALIZED VIEW hourly AS\n    SELECT window_start, count(*) AS trips\n    FROM TUMBLE(trips, ts, INTERVAL '1 hour') GROUP BY window_start;",
    ),
    (
        "CREATE SINK",
        "CREATE SINK [IF NOT EXISTS] name FROM view | AS SELECT …\nWITH (topic = 'topic', option = 'value', …)\n[FORMAT PLAIN|UPSERT|DEBEZIUM [ENCODE JSON|CSV|TEXT|BYTES]]\nWith connector = 'postgres' the rows go on into a table there.",
        "CREATE SINK hourly_out FROM hourly WITH (topic = 'hourly-out')\n    FORMAT DEBEZIUM ENCODE JSON;",
    ),
    (
        "ALTER",
        "ALTER MATERIALIZED VIEW | SINK [IF EXISTS] name PAUSE | RESUME\nALTER SOURCE | TABLE [IF EXISTS] name RENAME TO other",
        "ALTER SINK hourly_out PAUSE;",
    ),
    (
        "CREATE FUNCTION",
        "CREATE [OR REPLACE] FUNCTION [IF NOT EXISTS] name [(argument type, …) RETURNS type]\nLANGUAGE wasm AS 'file:module.wasm'",
        "CREATE FUNCTION delay_class(delay DOUBLE PRECISION) RETURNS TEXT\n    LANGUAGE wasm AS 'file:delay_class.wasm';",
    ),
    (
        "SELECT",
        "[WITH name AS (SELECT …), …]\nSELECT [DISTINCT [ON (…)]] expression [AS name], … | * [EXCEPT (column, …)]\nFROM relation [[AS] alias] | (SELECT …) alias\n   | TUMBLE(relation, time, size) | HOP(relation, time, slide, size)\n   | CUMULATE(relation, time, step, size)\n[[INNER|LEFT|RIGHT|FULL] JOIN relation ON condition | USING (column, …)]\n[WHERE condition] [GROUP BY …] [HAVING condition] [QUALIFY condition]\n[UNION [ALL]|INTERSECT|EXCEPT SELECT …]\n[ORDER BY …] [LIMIT n] [OFFSET m]         -- a snapshot: answers and ends\n[EMIT CHANGES [FROM LATEST] [LIMIT n]]    -- follows live until Ctrl-C",
        "SELECT city, count(*) AS trips FROM trips GROUP BY city ORDER BY trips DESC;",
    ),
    (
        "WITH",
        "WITH name AS (SELECT …), … SELECT … FROM name",
        "WITH dear AS (SELECT * FROM trips WHERE fare > 50) SELECT count(*) AS n FROM dear;",
    ),
    (
        "VALUES",
        "VALUES (value, …), …",
        "VALUES (1, 'one'), (2, 'two');",
    ),
    (
        "INSERT",
        "INSERT INTO relation [(column, …)] VALUES (value, …), … | SELECT …\nINSERT INTO relation SELECT … EMIT CHANGES    -- goes on, as a sink\nINSERT INTO table [AS name] … ON CONFLICT (key) DO NOTHING | DO UPDATE SET column = expression, … [WHERE condition]\nInto a table it replaces the row of the same key. \\copy reads a file.",
        "INSERT INTO trips VALUES ('2024-05-01 10:05', 'ams', 7.5), ('2024-05-01 10:20', 'ber', 12);",
    ),
    (
        "UPDATE",
        "UPDATE table [AS name] SET column = expression, (column, …) = (expression, …), … [WHERE condition]",
        "UPDATE cities SET name = upper(name) WHERE city = 'ams';",
    ),
    (
        "PRINT",
        "PRINT topic [FROM BEGINNING] [LIMIT n]    -- records as they come\nDots and hyphens of a name need no quotes: PRINT fares.errors",
        "PRINT trips FROM BEGINNING LIMIT 1;",
    ),
    (
        "DELETE",
        "DELETE FROM table [WHERE condition]",
        "DELETE FROM cities WHERE city = 'ams';",
    ),
    (
        "EXPLAIN",
        "EXPLAIN SELECT … | INSERT … | CREATE SINK … | name    -- the plan\nEXPLAIN ANALYZE view | sink    -- what its operators do\nEXPLAIN WHY name           -- why a view prints what it prints, what of a source\n                           -- or table cannot be read, how to read a topic",
        "EXPLAIN WHY hourly;",
    ),
    (
        "SHOW",
        "SHOW SOURCES | TABLES | VIEWS | SINKS | JOBS | FUNCTIONS | TOPICS\nSHOW CREATE name    -- the statement that made it",
        "SHOW CREATE hourly;",
    ),
    ("DESCRIBE", "DESCRIBE name", "DESCRIBE trips;"),
    (
        "SET",
        "SET name = value\nstatement_timeout, read_your_writes, auto.offset.reset, create.wait",
        "SET statement_timeout = '10s';",
    ),
    (
        "SUBSCRIBE",
        "SUBSCRIBE view [LIMIT n]    -- SELECT * FROM view EMIT CHANGES",
        "SUBSCRIBE hourly LIMIT 1;",
    ),
    (
        "DROP",
        "DROP SOURCE | TABLE | MATERIALIZED VIEW | SINK | FUNCTION\n    [IF EXISTS] name [CASCADE]\nThe topic of a view goes with it; that of others stays.",
        "DROP MATERIALIZED VIEW hourly CASCADE;",
    ),
];

/// A function of windows, what it takes, its windows, an example. They stand where a relation does.
const WINDOWS: &[(&str, &str, &str, &str)] = &[
    (
        "TUMBLE",
        "relation, time, size",
        "a relation in windows, one after the other",
        "SELECT window_start, count(*) FROM TUMBLE(trips, ts, INTERVAL '1 hour') GROUP BY window_start",
    ),
    (
        "HOP",
        "relation, time, slide, size",
        "a relation in windows, of which one begins with every slide",
        "SELECT window_start, count(*) FROM HOP(trips, ts, INTERVAL '5 minutes', INTERVAL '1 hour') GROUP BY window_start",
    ),
    (
        "CUMULATE",
        "relation, time, step, size",
        "a relation in windows that begin together and grow by a step up to the size",
        "SELECT window_end, count(*) FROM CUMULATE(trips, ts, INTERVAL '1 hour', INTERVAL '1 day') GROUP BY window_end",
    ),
    (
        "SESSION",
        "relation, time, gap [, PARTITION BY key, …]",
        "a relation in windows from the first row of a key to a gap behind its last one",
        "SELECT city, window_start, count(*) FROM SESSION(trips, ts, INTERVAL '10 minutes', PARTITION BY city) GROUP BY city, window_start",
    ),
];

/// What the windows have in common.
const OF_WINDOWS: &str = "They add window_start, window_end and window_time; time is the event time that WATERMARK declares.";

/// When the rows of a view go out.
const EMIT: &str = "EMIT\n  EMIT CHANGES            -- whenever they change: of a view the default; a SELECT follows live\n  EMIT ON WINDOW CLOSE    -- of a view: once, when event time has passed the window's end\nfor example\n  SELECT city, fare FROM trips EMIT CHANGES LIMIT 1;\n";

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
    if texts.is_empty()
        && let Some(text) = function(&asked)
    {
        return text;
    }
    if texts.is_empty()
        && let Some(text) = clause(&asked)
    {
        return text;
    }
    if texts.is_empty() {
        let lead = match asked.split(' ').count() {
            _ if asked.is_empty() => String::new(),
            1 if functions(&asked.to_lowercase()).next().is_some() => {
                format!("nothing is known of {word}. \\df {word} lists functions about it.\n")
            }
            1 => format!(
                "nothing is known of {word}. What was created by that name, \\d {word} tells.\n"
            ),
            _ => format!("nothing is known of {word}. "),
        };
        return format!(
            "{lead}\\h followed by a function, or one of:\n  {}, TUMBLE, HOP, CUMULATE, SESSION, EMIT\n",
            statements().join(", ")
        );
    }
    texts.join("\n")
}

/// What stands inside of a statement: windows, all of them for WINDOW, and EMIT.
fn clause(asked: &str) -> Option<String> {
    let word = asked.split([' ', '(']).next().unwrap_or_default();
    if word == "EMIT" {
        return Some(EMIT.to_owned());
    }
    let all = matches!(word, "WINDOW" | "WINDOWS");
    let named = WINDOWS.iter().filter(|(name, ..)| all || *name == word);
    let texts: Vec<String> = named
        .map(|(name, takes, what, example)| {
            format!("{name}({takes})\n  {what}\nfor example\n  {example};\n")
        })
        .collect();
    (!texts.is_empty()).then(|| format!("{}\n{OF_WINDOWS}\n", texts.join("\n")))
}

/// Calls, what they answer and examples of the functions whose name or meaning holds this.
pub(super) fn functions(part: &str) -> impl Iterator<Item = [String; 3]> {
    let holds = move |name: &str, what: &str| {
        name.to_lowercase().contains(part) || what.to_lowercase().contains(part)
    };
    let windows = WINDOWS
        .iter()
        .filter(move |(name, _, what, _)| holds(name, what))
        .map(|(name, takes, what, example)| {
            [
                format!("{name}({takes})"),
                (*what).to_owned(),
                (*example).to_owned(),
            ]
        });
    let others = sql::functions()
        .filter(move |function| holds(function.name, function.what))
        .map(|function| {
            let call = format!("{}({})", function.name, function.takes);
            [call, function.what.to_owned(), function.example.to_owned()]
        });
    windows.chain(others)
}

/// What a built-in function takes and answers, with a call; a name may be two functions.
fn function(asked: &str) -> Option<String> {
    let name = asked.split('(').next().unwrap_or_default().trim();
    let named = sql::functions().filter(|function| function.name.eq_ignore_ascii_case(name));
    let texts: Vec<String> = named
        .map(|function| {
            let (name, takes) = (function.name, function.takes);
            let (what, example) = (function.what, function.example);
            format!("{name}({takes})\n  {what}\nfor example\n  SELECT {example}\n")
        })
        .collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_of_the_language_is_explained() {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/sql/src/parse/keyword.rs");
        let source = std::fs::read_to_string(source).expect("the words of the language");
        let list = source.split("const STATEMENTS").nth(1).expect("the list");
        let list = list.split("];").next().expect("its end");
        let words: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
        assert!(words.len() > 10, "{words:?}");
        for word in words {
            assert!(about(word).starts_with(word), "\\h does not know {word}");
        }
    }

    #[test]
    fn the_page_of_statements_is_this_list() {
        let mut page = "# Statements\n\nHow each is written; `\\h STATEMENT` in the shell prints the same. What they mean is in [sql.md](sql.md), options, types and functions in [reference.md](reference.md). The examples run one after another.\n".to_owned();
        for (name, syntax, example) in STATEMENTS {
            page += &format!("\n## {name}\n\n```text\n{syntax}\n```\n\n```sql\n{example}\n```\n");
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/statements.md");
        if std::env::var_os("UPDATE_PAGES").is_some() {
            std::fs::write(path, &page).expect("written");
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == page,
            "{path} is not the list; UPDATE_PAGES=1 writes it:\n{page}"
        );
    }

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
        for word in ["count", "Count(*)"] {
            assert!(about(word).starts_with("count(* | [DISTINCT] x)\n  rows"));
        }
        assert!(about("row_number").contains("SELECT row_number() OVER (ORDER BY amount)\n"));
        assert!(about("frobnicate").starts_with("nothing is known of frobnicate."));
        assert!(about("tumble").starts_with("TUMBLE(relation, time, size)\n"));
        assert!(about("HOP(t, ts").starts_with("HOP("));
        assert!(about("window").contains("TUMBLE(") && about("window").contains("SESSION("));
        assert!(about("emit changes").contains("EMIT ON WINDOW CLOSE"));
    }
}
