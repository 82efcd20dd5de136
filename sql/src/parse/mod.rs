//! From text to statements: a splitter, a dialect for sqlparser, and parsers of our own for what it does not know.
//!
//! ```text
//! text ── split ── statement text ── tokens with places ── statement parsers ── Statement
//!                                                            │ queries and expressions: sqlparser
//! ```
//!
//! One file a family of statements. The original text travels beside the tree and is what the catalog keeps.

mod asof;
mod constructor;
mod create;
mod cursor;
mod dialect;
mod fetch;
mod keyword;
mod operator;
mod query;
mod show;
mod sink;
mod split;
pub(crate) mod statement;
mod window;
mod write;

#[cfg(test)]
mod tests;

use cursor::{Cursor, Parsed};
use statement::Statement;

use crate::diagnostic::{Lexemes, StatementText, meant};

pub(crate) use asof::{IN_ON, IN_ON_LEFT};
pub(crate) use create::computed_key;
pub use keyword::keywords;
pub use split::{Unended, is_complete, split_statements, unended};
pub(crate) use window::{EVENT_TIME, PARTITION_BY};

/// Parses one statement.
pub(crate) fn parse(text: &StatementText<'_>) -> Parsed<Statement> {
    let mut cursor = Cursor::new(text).map_err(|error| meant(error, &Lexemes::default()))?;
    let parsed = statement(&mut cursor);
    let whole = parsed.and_then(|statement| cursor.expect_end().map(|()| statement));
    whole.map_err(|error| meant(error, &cursor.lexemes()))
}

/// Name and value of a `SET`; `None` for any other statement.
pub fn setting(text: &StatementText<'_>) -> Option<(String, String)> {
    match parse(text) {
        Ok(Statement::Set { name, value }) => Some((name.value, value.value)),
        _ => None,
    }
}

/// The tokens of a statement and their places, for errors that only name a thing. None where the text has no tokens.
pub(crate) fn words(text: &StatementText<'_>) -> Lexemes {
    Cursor::new(text)
        .map(|cursor| cursor.lexemes())
        .unwrap_or_default()
}

/// An expression that stands alone.
#[cfg(test)]
pub(crate) fn parse_expr(text: &str) -> Parsed<sqlparser::ast::Expr> {
    let statement = StatementText {
        text,
        offset: 0,
        line: 1,
        column: 1,
        complete: true,
    };
    Cursor::new(&statement)?.expr()
}

fn statement(cursor: &mut Cursor) -> Parsed<Statement> {
    use sqlparser::tokenizer::Token;
    if cursor.peek() == &Token::LParen {
        return query::select(cursor);
    }
    match cursor.word_ahead(0).as_str() {
        "SELECT" | "WITH" | "VALUES" => query::select(cursor),
        "CREATE" => create::create(cursor),
        "DROP" => create::drop(cursor),
        "INSERT" => write::insert(cursor),
        "UPDATE" => write::update(cursor),
        "DELETE" => write::delete(cursor),
        "PRINT" => query::print(cursor),
        "ALTER" => create::alter(cursor),
        "SUBSCRIBE" => query::subscribe(cursor),
        "EXPLAIN" => show::explain(cursor),
        "SHOW" | "LIST" => show::show(cursor),
        "DESCRIBE" | "DESC" => show::describe(cursor),
        "SET" => show::set(cursor),
        other => {
            let known = FOREIGN.iter().find(|(word, _)| *word == other);
            match known {
                Some((word, help)) => Err(show::unavailable(cursor, word, help)),
                None => Err(cursor.unexpected(keyword::STATEMENTS)),
            }
        }
    }
}

/// Statements of other systems, and what stands for them here.
const FOREIGN: &[(&str, &str)] = &[
    (
        "ANALYZE",
        "there are no statistics to keep: plans need none",
    ),
    (
        "BEGIN",
        "each statement is carried out whole or not at all; there is no transaction to begin",
    ),
    ("CALL", "there are no procedures: SELECT calls functions"),
    (
        "COMMIT",
        "each statement is carried out whole or not at all; there is no transaction to end",
    ),
    (
        "COPY",
        "INSERT INTO t VALUES …, or thalweg produce, writes rows; thalweg sql -o csv -c 'SELECT …' takes them out",
    ),
    ("DECLARE", "SELECT … EMIT CHANGES follows a query"),
    (
        "FETCH",
        "SELECT … LIMIT n, or SELECT … EMIT CHANGES LIMIT n",
    ),
    ("GRANT", "who may do what is told by ACLs of topics"),
    (
        "MERGE",
        "INSERT INTO a table with a primary key replaces the row of that key",
    ),
    (
        "PAUSE",
        "ALTER MATERIALIZED VIEW v PAUSE lets a view stand still, ALTER SINK s PAUSE a sink",
    ),
    (
        "KILL",
        "Ctrl-C ends a query; DROP MATERIALIZED VIEW or DROP SINK one that goes on",
    ),
    (
        "LOAD",
        "\\copy t from 'file' reads a file of this machine in the shell",
    ),
    (
        "LOCK",
        "each statement is carried out whole or not at all; nothing has to be locked",
    ),
    (
        "OPTIMIZE",
        "compaction and retention of topics run by themselves: thalweg topic alter",
    ),
    ("PREPARE", "write the values into the statement"),
    (
        "REFRESH",
        "a materialized view is kept up to date by itself; EXPLAIN WHY v tells how far it is",
    ),
    (
        "REPLACE",
        "INSERT INTO a table with a primary key replaces the row of that key",
    ),
    (
        "RESUME",
        "ALTER MATERIALIZED VIEW v RESUME lets a view go on, ALTER SINK s RESUME a sink",
    ),
    ("REVOKE", "who may do what is told by ACLs of topics"),
    (
        "ROLLBACK",
        "each statement is carried out whole or not at all; there is no transaction to end",
    ),
    (
        "START",
        "each statement is carried out whole or not at all; there is no transaction to begin",
    ),
    (
        "TERMINATE",
        "DROP MATERIALIZED VIEW or DROP SINK ends a query and removes it; ALTER … PAUSE keeps it",
    ),
    (
        "TRUNCATE",
        "DELETE FROM t empties a table; DROP and thalweg topic delete remove a source and its topic",
    ),
    ("USE", "there is one catalog, so there is none to choose"),
    (
        "VACUUM",
        "compaction and retention of topics run by themselves: thalweg topic alter",
    ),
];
