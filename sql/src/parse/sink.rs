//! CREATE SINK: a query or a name, and where its rows go.
//!
//! `WITH (` and `FORMAT PLAIN | UPSERT | DEBEZIUM` outside of parentheses end the query: sqlparser would read the first as
//! hints of a table, and the second as its alias.

use sqlparser::tokenizer::Token;

use super::create::{format, options};
use super::cursor::{Cursor, Parsed, made_up, made_up_name};
use super::query::clauses;
use super::statement::{CreateSink, Output, QueryClauses, Statement};

pub(super) fn sink(cursor: &mut Cursor) -> Parsed<Statement> {
    cursor.expect_word("SINK")?;
    let if_not_exists = cursor.if_not_exists();
    let name = cursor.name("a name")?;
    let mut output = Output::default();
    clauses_of(cursor, &mut output)?;
    let query = match cursor.word_ahead(0).as_str() {
        "AS" => {
            cursor.advance();
            query(cursor)?
        }
        "FROM" => from(cursor)?,
        _ => return Err(cursor.unexpected(&["FROM", "AS", "WITH", "FORMAT"])),
    };
    clauses_of(cursor, &mut output)?;
    if !cursor.at_end() {
        return Err(cursor.unexpected(&["WITH", "FORMAT"]));
    }
    Ok(Statement::CreateSink(Box::new(CreateSink {
        if_not_exists,
        name,
        query,
        output,
    })))
}

/// `FROM v` is `AS SELECT * FROM v`.
fn from(cursor: &mut Cursor) -> Parsed<QueryClauses> {
    let start = cursor.place();
    cursor.expect_word("FROM")?;
    let name = cursor.name("the name of a view")?;
    let tokens = ["SELECT", "*", "FROM"].map(|word| match word {
        "*" => sqlparser::tokenizer::TokenWithSpan::wrap(Token::Mul),
        word => made_up(word),
    });
    let tokens = tokens.into_iter().chain([made_up_name(&name)]).collect();
    let mut query = clauses(&mut cursor.made_up(tokens))?;
    query.span = Some(cursor.since(start));
    Ok(query)
}

fn query(cursor: &mut Cursor) -> Parsed<QueryClauses> {
    let mut inner = cursor.up_to(|word, next| match word {
        "WITH" => next == "(",
        "FORMAT" => matches!(next, "PLAIN" | "UPSERT" | "DEBEZIUM"),
        _ => false,
    });
    let query = clauses(&mut inner)?;
    inner.expect_end()?;
    Ok(query)
}

fn clauses_of(cursor: &mut Cursor, output: &mut Output) -> Parsed<()> {
    loop {
        match cursor.word_ahead(0).as_str() {
            "WITH" => output.options.extend(options(cursor)?),
            "FORMAT" => format(cursor, output)?,
            _ => return Ok(()),
        }
    }
}
