//! From text to statements: a splitter, a dialect for sqlparser, and parsers of our own for what it does not know.
//!
//! ```text
//! text ── split ── statement text ── tokens with places ── statement parsers ── Statement
//!                                                            │ queries and expressions: sqlparser
//! ```
//!
//! One file a family of statements. The original text travels beside the tree and is what the catalog keeps.

mod create;
mod cursor;
mod dialect;
mod keyword;
mod query;
mod show;
mod split;
pub(crate) mod statement;

#[cfg(test)]
mod tests;

use cursor::{Cursor, Parsed};
use statement::Statement;

use crate::diagnostic::Span;

pub use keyword::keywords;
pub use split::{StatementText, is_complete, split_statements};

/// Parses one statement.
pub(crate) fn parse(text: &StatementText<'_>) -> Parsed<Statement> {
    let mut cursor = Cursor::new(text)?;
    let statement = statement(&mut cursor)?;
    cursor.expect_end()?;
    Ok(statement)
}

/// Name and value of a `SET`; `None` for any other statement.
pub fn setting(text: &StatementText<'_>) -> Option<(String, String)> {
    match parse(text) {
        Ok(Statement::Set { name, value }) => Some((name.value, value.value)),
        _ => None,
    }
}

/// The words of a statement and their places, for errors that only name a thing. None where the text has no tokens.
pub(crate) fn words(text: &StatementText<'_>) -> Vec<(String, Span)> {
    Cursor::new(text)
        .map(|cursor| cursor.all_words())
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
        "INSERT" => query::insert(cursor),
        "DELETE" => query::delete(cursor),
        "SUBSCRIBE" => query::subscribe(cursor),
        "EXPLAIN" => show::explain(cursor),
        "SHOW" | "LIST" => show::show(cursor),
        "DESCRIBE" | "DESC" => show::describe(cursor),
        "SET" => show::set(cursor),
        "UPDATE" => Err(show::unavailable(
            cursor,
            "UPDATE",
            "INSERT INTO a table with a primary key replaces the row of that key",
        )),
        "ALTER" => Err(show::unavailable(
            cursor,
            "ALTER",
            "DROP the object and CREATE it again",
        )),
        _ => Err(cursor.unexpected(keyword::STATEMENTS)),
    }
}
