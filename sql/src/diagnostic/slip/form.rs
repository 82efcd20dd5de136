//! How each statement is written, and what others write in the place of its parts.

use super::Slip;
use crate::diagnostic::{Code, Diagnostic};

/// The first words of a statement, and its form. Longer ones first.
const FORMS: &[(&[&str], &str)] = &[
    (
        &["CREATE", "MATERIALIZED"],
        "CREATE MATERIALIZED VIEW name AS SELECT …",
    ),
    (
        &["CREATE", "SINK"],
        "CREATE SINK name FROM view WITH (topic = 'topic'), or CREATE SINK name AS SELECT …",
    ),
    (
        &["CREATE", "SOURCE"],
        "CREATE SOURCE name (a TEXT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1 minute') WITH (topic = 'topic')",
    ),
    (
        &["CREATE", "STREAM"],
        "CREATE STREAM name (a TEXT, ts TIMESTAMP) WITH (topic = 'topic')",
    ),
    (
        &["CREATE", "TABLE"],
        "CREATE TABLE name (id BIGINT PRIMARY KEY, a TEXT) WITH (topic = 'topic')",
    ),
    (
        &["CREATE", "FUNCTION"],
        "CREATE FUNCTION name(x BIGINT) RETURNS TEXT LANGUAGE wasm AS 'file:module.wasm'",
    ),
    (
        &["INSERT"],
        "INSERT INTO t (a, b) VALUES (1, 'x'), (2, 'y'), or INSERT INTO t SELECT …",
    ),
    (&["UPDATE"], "UPDATE t SET a = 1, b = 'x' WHERE id = 2"),
    (&["DELETE"], "DELETE FROM t WHERE id = 2"),
    (
        &["DROP"],
        "DROP SOURCE, TABLE, MATERIALIZED VIEW, SINK or FUNCTION, and its name",
    ),
    (
        &["ALTER"],
        "ALTER MATERIALIZED VIEW or SINK name PAUSE or RESUME; ALTER SOURCE or TABLE name RENAME TO other",
    ),
    (&["DESCRIBE"], "DESCRIBE name"),
    (&["DESC"], "DESC name"),
    (
        &["SHOW"],
        "SHOW SOURCES, TABLES, VIEWS, SINKS, JOBS, FUNCTIONS or TOPICS; SHOW CREATE name",
    ),
    (&["SET"], "SET name = 'value'"),
    (&["SUBSCRIBE"], "SUBSCRIBE view LIMIT 10"),
    (&["PRINT"], "PRINT topic FROM BEGINNING LIMIT 10"),
    (
        &["EXPLAIN"],
        "EXPLAIN SELECT …, EXPLAIN ANALYZE view, EXPLAIN WHY name",
    ),
];

/// What else can be made elsewhere, and what stands for it.
const KINDS: &[(&str, &str)] = &[
    (
        "DYNAMIC",
        "CREATE MATERIALIZED VIEW name AS SELECT … is kept up to date by itself",
    ),
    (
        "INDEX",
        "rows are found by the primary key of a table, and by the GROUP BY of a view",
    ),
    (
        "UNIQUE",
        "rows are found by the primary key of a table, and by the GROUP BY of a view",
    ),
    ("DATABASE", "there is one catalog: names have no schema"),
    ("SCHEMA", "there is one catalog: names have no schema"),
    ("CATALOG", "there is one catalog: names have no schema"),
    (
        "TEMPORARY",
        "WITH name AS (SELECT …) SELECT … names a query for one statement",
    ),
    (
        "TEMP",
        "WITH name AS (SELECT …) SELECT … names a query for one statement",
    ),
    (
        "EXTERNAL",
        "CREATE SOURCE name (…) WITH (topic = 'topic') reads a topic",
    ),
    ("TYPE", "a column is declared as STRUCT<a TEXT, b BIGINT>"),
    (
        "SEQUENCE",
        "numbers are given by who writes: INSERT INTO t VALUES (1, …)",
    ),
    (
        "CONNECTOR",
        "thalweg connect apply FILE makes connectors; CREATE TABLE … WITH (connector = 'postgres-cdc', …) captures a table",
    ),
    (
        "SUBSCRIPTION",
        "CREATE TABLE … WITH (connector = 'postgres-cdc', …) captures a table of PostgreSQL",
    ),
    (
        "USER",
        "who may sign in is told to the server: docs/security.md",
    ),
    (
        "ROLE",
        "who may do what is told by ACLs of topics: docs/security.md",
    ),
    (
        "SECRET",
        "${file:PATH:KEY} and ${env:NAME} in options stand for secrets",
    ),
    (
        "TRIGGER",
        "CREATE MATERIALIZED VIEW name AS SELECT … follows each change",
    ),
    (
        "PROCEDURE",
        "CREATE FUNCTION name LANGUAGE wasm AS 'file:module.wasm' adds a function",
    ),
];

/// Parts of a column's definition elsewhere, and what stands for them.
const OF_COLUMNS: &[(&str, &str)] = &[
    (
        "DEFAULT",
        "INSERT writes each value; what it leaves out is NULL",
    ),
    (
        "AUTO_INCREMENT",
        "who writes gives the keys: INSERT INTO t VALUES (1, …)",
    ),
    (
        "AUTOINCREMENT",
        "who writes gives the keys: INSERT INTO t VALUES (1, …)",
    ),
    (
        "IDENTITY",
        "who writes gives the keys: INSERT INTO t VALUES (1, …)",
    ),
    (
        "UNIQUE",
        "only the PRIMARY KEY of a table is held to be unique",
    ),
    ("CHECK", "a view with WHERE leaves out what does not fit"),
    (
        "REFERENCES",
        "a JOIN finds what belongs together; nothing holds it to be there",
    ),
    (
        "FOREIGN",
        "a JOIN finds what belongs together; nothing holds it to be there",
    ),
    (
        "CONSTRAINT",
        "PRIMARY KEY (a, b) is the one constraint, without a name",
    ),
    (
        "COLLATE",
        "COLLATE stands in a query: ORDER BY a COLLATE \"C\"",
    ),
    ("COMMENT", "-- comments stand in the text of the statement"),
    (
        "CODEC",
        "topics are compressed by whom writes them: compression.type of a topic",
    ),
];

/// What follows the columns elsewhere.
const OF_RELATIONS: &[(&str, &str)] = &[
    (
        "ENGINE",
        "all rows are kept in a topic: WITH (topic = 'topic')",
    ),
    (
        "PARTITIONED",
        "rows lie by their key; WITH (partitions = 8) says in how many partitions",
    ),
    (
        "PARTITION",
        "rows lie by their key; WITH (partitions = 8) says in how many partitions",
    ),
    ("CLUSTER", "rows lie by their key"),
    ("CLUSTERED", "rows lie by their key"),
    ("ORDER", "rows lie by their key"),
    ("COMMENT", "-- comments stand in the text of the statement"),
    (
        "TTL",
        "retention.ms of the topic says how long records stay: thalweg topic alter",
    ),
    ("LIKE", "SHOW CREATE other has the columns to copy"),
    (
        "LOCATION",
        "rows are kept in a topic: WITH (topic = 'topic')",
    ),
    ("STORED", "FORMAT PLAIN ENCODE JSON, CSV, TEXT or BYTES"),
    ("ROW", "FORMAT PLAIN ENCODE JSON, CSV, TEXT or BYTES"),
    ("TBLPROPERTIES", "WITH (option = 'value')"),
    ("OPTIONS", "WITH (option = 'value')"),
];

/// Whether a word is part of a column's definition elsewhere.
pub(super) fn is_of_column(word: &str) -> bool {
    OF_COLUMNS.iter().any(|(name, _)| *name == word)
}

pub(super) fn meant(slip: &Slip<'_>) -> Option<Diagnostic> {
    if slip.error.suggestion.is_some() {
        return None;
    }
    part(slip)
        .or_else(|| kind(slip))
        .or_else(|| values(slip))
        .or_else(|| form(slip))
}

/// The event time of a relation, in another place or form.
pub(super) fn watermark(slip: &Slip<'_>) -> Option<Diagnostic> {
    if slip.error.suggestion.is_some() || slip.error.help.is_some() {
        return None;
    }
    let form = "WATERMARK FOR ts AS ts - INTERVAL '1 minute'";
    if slip.word(0) == "WATERMARK" {
        return Some(
            slip.wrong("WATERMARK stands among the columns")
                .help(format!("(a TEXT, ts TIMESTAMP, {form})")),
        );
    }
    let ahead = (-3..0).find(|&ahead| slip.word(ahead) == "WATERMARK")?;
    Some(match slip.word(ahead + 1).as_str() {
        "FOR" => slip.wrong(slip.error.message.clone()).help(form),
        _ => slip
            .wrong("FOR is missing behind WATERMARK")
            .at(slip.place(ahead))
            .help(form)
            .suggest("WATERMARK FOR"),
    })
}

/// Part of CREATE TABLE elsewhere.
fn part(slip: &Slip<'_>) -> Option<Diagnostic> {
    if slip.word_of(0) != "CREATE" {
        return None;
    }
    let word = slip.word(0);
    let is_relation = slip.error.message.starts_with("expected WITH, INCLUDE");
    if is_relation && word == "(" {
        return Some(
            slip.wrong("WITH is missing before the options")
                .help("WITH (topic = 'topic')")
                .suggest("WITH ("),
        );
    }
    let of = match is_relation {
        true => OF_RELATIONS,
        false if slip.error.message.starts_with("expected ',', ')'") => OF_COLUMNS,
        false => return None,
    };
    let (name, help) = of.iter().find(|(name, _)| *name == word)?;
    Some(
        Diagnostic::new(Code::Unsupported, format!("{name} is not available"))
            .at(slip.place(0))
            .help(*help),
    )
}

/// Something that cannot be made.
fn kind(slip: &Slip<'_>) -> Option<Diagnostic> {
    let makes = matches!(slip.word_of(0).as_str(), "CREATE" | "DROP" | "ALTER");
    if !makes || slip.at != 1 {
        return None;
    }
    let word = slip.word(0);
    let (name, help) = KINDS.iter().find(|(name, _)| *name == word)?;
    let verb = slip.word_of(0);
    Some(
        Diagnostic::new(Code::Unsupported, format!("{verb} {name} is not available"))
            .at(slip.place(0))
            .help(*help),
    )
}

/// `INSERT INTO t (1, 2)`.
fn values(slip: &Slip<'_>) -> Option<Diagnostic> {
    let is_list =
        slip.word_of(0) == "INSERT" && slip.error.message.starts_with("expected a column's name");
    is_list.then(|| {
        slip.wrong("VALUES is missing before the values")
            .at(slip.place(-1))
            .help("INSERT INTO t VALUES (1, 'x')")
            .suggest("VALUES (")
    })
}

/// The form of the whole statement, where nothing else is known.
fn form(slip: &Slip<'_>) -> Option<Diagnostic> {
    if slip.error.help.is_some() || slip.is_behind_the_end() {
        return None;
    }
    let begins = |(words, _): &&(&[&str], &str)| {
        let mut words = words.iter().enumerate();
        words.all(|(index, word)| slip.word_of(index) == *word)
    };
    let (_, form) = FORMS.iter().find(begins)?;
    // Inside of a query its own rules hold.
    let in_query = !slip.clauses().is_empty();
    (!in_query).then(|| slip.error.clone().help(*form))
}
