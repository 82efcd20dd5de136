//! The statements that write rows: INSERT with ON CONFLICT, UPDATE and DELETE.
//!
//! DEFAULT stays a word here: what it is, the columns tell (`serve/given.rs`).

use sqlparser::ast::{Expr, Query};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::cursor::{Cursor, Parsed, made_up, made_up_name};
use super::query::clauses;
use super::statement::{
    ConflictAction, Delete, Insert, Name, OnConflict, Statement, Unique, Update,
};
use crate::diagnostic::{Code, Diagnostic, Span};

pub(super) fn insert(cursor: &mut Cursor) -> Parsed<Statement> {
    cursor.expect_word("INSERT")?;
    cursor.expect_word("INTO")?;
    cursor.words(&["TABLE"]);
    let table = cursor.name("the name of a table")?;
    let alias = match cursor.words(&["AS"]) {
        true => Some(cursor.name("another name of the table")?),
        false => None,
    };
    let columns = if cursor.peek() == &Token::LParen
        && !matches!(cursor.word_ahead(1).as_str(), "SELECT" | "WITH")
    {
        cursor.names("a column's name")?
    } else {
        Vec::new()
    };
    if !matches!(cursor.word_ahead(0).as_str(), "VALUES" | "SELECT" | "WITH")
        && cursor.peek() != &Token::LParen
    {
        let unexpected = cursor.unexpected(&["VALUES", "SELECT"]);
        return Err(match cursor.word_ahead(0).as_str() {
            "DEFAULT" => {
                unexpected.help("columns have no defaults: one that is not named becomes NULL")
            }
            "SET" => unexpected.help("INSERT INTO t (a, b) VALUES (1, 2)"),
            _ => unexpected,
        });
    }
    let query = clauses(cursor)?;
    let conflict = on_conflict(cursor)?;
    refuse_returning(cursor)?;
    Ok(Statement::Insert(Box::new(Insert {
        table,
        alias,
        columns,
        query,
        conflict,
    })))
}

/// `ON CONFLICT [(column, …) | ON CONSTRAINT name] DO NOTHING | DO UPDATE SET column = expression, … [WHERE condition]`.
fn on_conflict(cursor: &mut Cursor) -> Parsed<Option<OnConflict>> {
    let start = cursor.place();
    if cursor.words(&["ON", "DUPLICATE"]) {
        return Err(Diagnostic::new(
            Code::Unsupported,
            "ON DUPLICATE KEY UPDATE is not available",
        )
        .at(cursor.since(start))
        .help("ON CONFLICT (key) DO UPDATE SET c = excluded.c; without it the row of a key is replaced"));
    }
    if !cursor.words(&["ON", "CONFLICT"]) {
        return Ok(None);
    }
    let span = cursor.since(start);
    let unique = if cursor.peek() == &Token::LParen {
        Unique::Columns(cursor.names("a column of the primary key")?)
    } else if cursor.words(&["ON", "CONSTRAINT"]) {
        Unique::Constraint(cursor.name("the name of a constraint")?)
    } else {
        Unique::Any
    };
    let action = if cursor.words(&["DO", "NOTHING"]) {
        ConflictAction::Nothing
    } else if cursor.words(&["DO", "UPDATE"]) {
        cursor.expect_word("SET")?;
        let assignments = assignments(cursor)?;
        let only = match cursor.words(&["WHERE"]) {
            true => Some(Box::new(cursor.expr()?)),
            false => None,
        };
        ConflictAction::Update { assignments, only }
    } else {
        return Err(cursor.unexpected(&["DO NOTHING", "DO UPDATE SET"]));
    };
    Ok(Some(OnConflict {
        unique,
        action,
        span,
    }))
}

/// `column = expression, (column, …) = (expression, …), …`.
fn assignments(cursor: &mut Cursor) -> Parsed<Vec<(Name, Expr)>> {
    let mut assignments = Vec::new();
    loop {
        if cursor.peek() == &Token::LParen {
            assignments.extend(of_row(cursor)?);
        } else {
            let column = cursor.name("a column's name")?;
            cursor.expect_token(&Token::Eq)?;
            assignments.push((column, cursor.expr()?));
        }
        if !cursor.token(&Token::Comma) {
            return Ok(assignments);
        }
    }
}

/// `(column, …) = (expression, …)`, also with ROW before the expressions.
fn of_row(cursor: &mut Cursor) -> Parsed<Vec<(Name, Expr)>> {
    let start = cursor.place();
    let columns = cursor.names("a column's name")?;
    cursor.expect_token(&Token::Eq)?;
    cursor.words(&["ROW"]);
    let values = match cursor.expr()? {
        Expr::Tuple(values) => values,
        Expr::Nested(value) => vec![*value],
        _ => {
            let message = "several columns are set to as many values in parentheses";
            return Err(Diagnostic::new(Code::Unsupported, message)
                .at(cursor.since(start))
                .help("SET (a, b) = (1, 2); of a subquery each by itself: SET a = (SELECT …), b = (SELECT …)"));
        }
    };
    if values.len() != columns.len() {
        let message = format!(
            "{} columns are set to {} values",
            columns.len(),
            values.len()
        );
        return Err(Diagnostic::new(Code::Syntax, message).at(cursor.since(start)));
    }
    Ok(columns.into_iter().zip(values).collect())
}

/// `UPDATE t SET a = x WHERE c` finds its rows with `SELECT * FROM t WHERE c`.
pub(super) fn update(cursor: &mut Cursor) -> Parsed<Statement> {
    cursor.expect_word("UPDATE")?;
    let table = cursor.name("the name of a table")?;
    let alias = alias(cursor, &["SET"])?;
    cursor.expect_word("SET")?;
    let assignments = assignments(cursor)?;
    if cursor.word_ahead(0) == "FROM" {
        return Err(cursor.unexpected(&["WHERE"]).help(
            "a subquery takes values of another table: SET a = (SELECT o.a FROM o WHERE o.id = t.id) WHERE id IN (SELECT id FROM o)",
        ));
    }
    let query = rows_of(cursor, &table, alias.as_ref())?;
    Ok(Statement::Update(Box::new(Update {
        table,
        assignments,
        query,
    })))
}

/// `DELETE FROM t WHERE c` finds its rows with `SELECT * FROM t WHERE c`.
pub(super) fn delete(cursor: &mut Cursor) -> Parsed<Statement> {
    cursor.expect_word("DELETE")?;
    cursor.expect_word("FROM")?;
    let table = cursor.name("the name of a table")?;
    let alias = alias(cursor, &["WHERE", "USING", "RETURNING"])?;
    if cursor.word_ahead(0) == "USING" {
        return Err(cursor
            .unexpected(&["WHERE"])
            .help("a subquery asks another table: DELETE FROM t WHERE id IN (SELECT id FROM o)"));
    }
    let query = rows_of(cursor, &table, alias.as_ref())?;
    Ok(Statement::Delete(Box::new(Delete { table, query })))
}

/// `[AS] name`, before one of the words that go on.
fn alias(cursor: &mut Cursor, next: &[&str]) -> Parsed<Option<Name>> {
    let said = cursor.words(&["AS"]);
    let is_name = matches!(cursor.peek(), Token::Word(_));
    let goes_on = next.contains(&cursor.word_ahead(0).as_str());
    // A slip in the word that goes on is no name.
    let is_alias = said || is_name && !goes_on && next.contains(&cursor.word_ahead(1).as_str());
    match is_alias {
        true => cursor.name("another name of the table").map(Some),
        false => Ok(None),
    }
}

/// `SELECT * FROM table`, with the WHERE that follows, up to the end.
fn rows_of(cursor: &mut Cursor, table: &Name, alias: Option<&Name>) -> Parsed<Box<Query>> {
    refuse_returning(cursor)?;
    if !cursor.at_end() && cursor.word_ahead(0) != "WHERE" {
        return Err(cursor.unexpected(&["WHERE"]));
    }
    let mut prefix = vec![
        made_up("SELECT"),
        TokenWithSpan::wrap(Token::Mul),
        made_up("FROM"),
        made_up_name(table),
    ];
    if let Some(alias) = alias {
        prefix.extend([made_up("AS"), made_up_name(alias)]);
    }
    let mut inner = cursor.prefixed(prefix);
    let query = inner.query()?;
    refuse_returning(&inner)?;
    inner.expect_end()?;
    while !cursor.at_end() {
        cursor.advance();
    }
    Ok(query)
}

fn refuse_returning(cursor: &Cursor) -> Parsed<()> {
    if cursor.word_ahead(0) != "RETURNING" {
        return Ok(());
    }
    let place: Span = cursor.place();
    Err(
        Diagnostic::new(Code::Unsupported, "RETURNING is not available")
            .at(place)
            .help("a SELECT before or behind the statement shows the rows"),
    )
}
