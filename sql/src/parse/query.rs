//! Queries with their trailing clauses, and the statements that are one: SELECT, SUBSCRIBE, PRINT.

use sqlparser::ast::{
    Expr, JoinConstraint, JoinOperator, LimitClause, Query, SetExpr, Spanned, TableFactor,
    TableWithJoins, Value,
};
use sqlparser::tokenizer::Token;

use super::cursor::{Cursor, Parsed, made_up, made_up_name};
use super::statement::{Emit, Late, Print, QueryClauses, Select, Statement, Text};
use crate::diagnostic::{Code, Diagnostic, Span};

pub(super) fn select(cursor: &mut Cursor) -> Parsed<Statement> {
    let query = clauses(cursor)?;
    Ok(Statement::Select(Box::new(Select { query })))
}

/// `SUBSCRIBE [TO] v [LIMIT n]` is `SELECT * FROM v EMIT CHANGES`.
pub(super) fn subscribe(cursor: &mut Cursor) -> Parsed<Statement> {
    let start = cursor.place();
    cursor.expect_word("SUBSCRIBE")?;
    cursor.words(&["TO"]);
    let name = cursor.name("the name of a view")?;
    let tokens = ["SELECT", "*", "FROM"].map(|word| match word {
        "*" => sqlparser::tokenizer::TokenWithSpan::wrap(Token::Mul),
        word => made_up(word),
    });
    let mut inner = cursor.prefixed(tokens.into_iter().chain([made_up_name(&name)]).collect());
    let mut query = clauses(&mut inner)?;
    while !cursor.at_end() {
        cursor.advance();
    }
    query.emit = Some((Emit::Changes { from_latest: false }, None));
    query.span = Some(cursor.since(start));
    take_limit(&mut query)?;
    Ok(Statement::Select(Box::new(Select { query })))
}

/// A query, then `GRACE`, `EMIT`, `LATE` and `LIMIT` in any order.
pub(super) fn clauses(cursor: &mut Cursor) -> Parsed<QueryClauses> {
    let start = cursor.place();
    let query = cursor.query()?;
    check_body(&query, start)?;
    let span = Some(cursor.since(start));
    let mut clauses = QueryClauses {
        query,
        emit: None,
        late: None,
        grace: None,
        limit: None,
        span,
    };
    while !cursor.at_end() {
        let at = cursor.place();
        match cursor.word_ahead(0).as_str() {
            "EMIT" => {
                cursor.advance();
                let emit = emit(cursor)?;
                refuse_second(clauses.emit.is_some(), "EMIT", at)?;
                clauses.emit = Some((emit, Some(cursor.since(at))));
            }
            "LATE" => {
                cursor.advance();
                let late = late(cursor)?;
                refuse_second(clauses.late.is_some(), "LATE", at)?;
                clauses.late = Some((late, Some(cursor.since(at))));
            }
            "GRACE" => {
                cursor.advance();
                cursor.words(&["PERIOD"]);
                let grace = cursor.expr()?;
                refuse_second(clauses.grace.is_some(), "GRACE", at)?;
                clauses.grace = Some((grace, Some(cursor.since(at))));
            }
            "LIMIT" => {
                cursor.advance();
                refuse_second(clauses.limit.is_some(), "LIMIT", at)?;
                clauses.limit = Some(cursor.run(|parser| parser.parse_literal_uint())?);
            }
            _ => break,
        }
    }
    if let Some((Emit::Changes { .. }, _)) = clauses.emit {
        take_limit(&mut clauses)?;
    } else if clauses.limit.is_some() {
        return Err(
            Diagnostic::new(Code::Syntax, "LIMIT belongs before the trailing clauses")
                .at(cursor.place_before()),
        );
    }
    Ok(clauses)
}

fn refuse_second(second: bool, clause: &str, at: crate::diagnostic::Span) -> Parsed<()> {
    if second {
        return Err(Diagnostic::new(Code::Syntax, format!("a second {clause}")).at(at));
    }
    Ok(())
}

/// The parser of queries also takes INSERT and the like behind WITH.
fn check_body(query: &Query, start: crate::diagnostic::Span) -> Parsed<()> {
    match &*query.body {
        SetExpr::Select(_)
        | SetExpr::Query(_)
        | SetExpr::SetOperation { .. }
        | SetExpr::Values(_) => check_select(&query.body),
        _ => Err(Diagnostic::new(Code::Unsupported, "only a SELECT can stand here").at(start)),
    }
}

/// What is parsed and would be taken for something that nobody means: TOP, and a JOIN that says of no pair why.
fn check_select(body: &SetExpr) -> Parsed<()> {
    match body {
        SetExpr::SetOperation { left, right, .. } => {
            check_select(left)?;
            check_select(right)
        }
        SetExpr::Query(query) => check_select(&query.body),
        SetExpr::Select(select) => {
            if select.top.is_some() {
                let at = Span::known(select.select_token.0.span);
                return Err(Diagnostic::new(Code::Unsupported, "TOP is not available")
                    .at(at)
                    .help("LIMIT n at the end of the query takes the first n rows"));
            }
            select.from.iter().try_for_each(check_joins)
        }
        _ => Ok(()),
    }
}

fn check_joins(from: &TableWithJoins) -> Parsed<()> {
    check_relation(&from.relation)?;
    for join in &from.joins {
        check_relation(&join.relation)?;
        let (JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint)) = &join.join_operator
        else {
            continue;
        };
        if matches!(constraint, JoinConstraint::None) {
            return Err(Diagnostic::new(Code::Syntax, "a JOIN without ON")
                .at(Span::known(join.relation.span()))
                .help("ON a.column = b.column or USING (column) says which rows go together; CROSS JOIN is each with each"));
        }
    }
    Ok(())
}

fn check_relation(relation: &TableFactor) -> Parsed<()> {
    match relation {
        TableFactor::Table {
            sample: Some(_),
            name,
            ..
        } => Err(
            Diagnostic::new(Code::Unsupported, "TABLESAMPLE is not available")
                .at(Span::known(name.span()))
                .help("LIMIT n takes some rows; WHERE random() < 0.1 about each tenth"),
        ),
        TableFactor::Derived { subquery, .. } => check_select(&subquery.body),
        TableFactor::NestedJoin {
            table_with_joins, ..
        } => check_joins(table_with_joins),
        _ => Ok(()),
    }
}

fn emit(cursor: &mut Cursor) -> Parsed<Emit> {
    if cursor.words(&["CHANGES"]) {
        let mut from_latest = false;
        if cursor.words(&["FROM"]) {
            from_latest = cursor.words(&["LATEST"]);
            if !from_latest {
                cursor.expect_word("EARLIEST")?;
            }
        }
        return Ok(Emit::Changes { from_latest });
    }
    if cursor.words(&["FINAL"]) {
        return Ok(Emit::OnWindowClose);
    }
    if cursor.words(&["ON"]) {
        cursor.expect_word("WINDOW")?;
        cursor.expect_word("CLOSE")?;
        if cursor.word_ahead(0) == "AFTER" {
            let message = "EMIT ON WINDOW CLOSE AFTER … IDLE is not available";
            return Err(Diagnostic::new(Code::Unsupported, message)
                .at(cursor.place())
                .help(
                    "EMIT ON WINDOW CLOSE works; a source WITH ('idle.advance' = 'on') lets event time go on while it is silent",
                ));
        }
        return Ok(Emit::OnWindowClose);
    }
    Err(cursor.unexpected(&["CHANGES", "ON WINDOW CLOSE", "FINAL"]))
}

fn late(cursor: &mut Cursor) -> Parsed<Late> {
    if cursor.words(&["TO"]) {
        return Ok(Late::To(
            cursor.string("the name of a topic in quotes")?.value,
        ));
    }
    if cursor.words(&["DROP"]) {
        return Ok(Late::Drop);
    }
    if cursor.words(&["UPDATE"]) {
        return Ok(Late::Update);
    }
    Err(cursor.unexpected(&["TO 'topic'", "DROP", "UPDATE"]))
}

/// A push query's LIMIT counts the rows that are sent; it is no part of the plan.
fn take_limit(clauses: &mut QueryClauses) -> Parsed<()> {
    let Some(limit) = clauses.query.limit_clause.take() else {
        return Ok(());
    };
    let count = match &limit {
        LimitClause::LimitOffset {
            limit: Some(Expr::Value(value)),
            offset: None,
            ..
        } => match &value.value {
            Value::Number(number, _) => number.parse().ok(),
            _ => None,
        },
        _ => None,
    };
    let Some(count) = count else {
        let message = "LIMIT of a query with EMIT CHANGES has to be a plain number, without OFFSET";
        return Err(Diagnostic::new(Code::Syntax, message).at(clauses.span));
    };
    clauses.limit = Some(clauses.limit.map_or(count, |other: u64| other.min(count)));
    Ok(())
}

/// ksqlDB's `PRINT topic [FROM BEGINNING] [LIMIT n]`.
pub(super) fn print(cursor: &mut Cursor) -> Parsed<Statement> {
    cursor.expect_word("PRINT")?;
    let topic = match cursor.peek() {
        Token::SingleQuotedString(_) => cursor.string("a topic")?,
        _ => topic_name(cursor)?,
    };
    let from_beginning = cursor.words(&["FROM", "BEGINNING"]);
    let limit = match cursor.words(&["LIMIT"]) {
        true => Some(cursor.run(|parser| parser.parse_literal_uint())?),
        false => None,
    };
    Ok(Statement::Print(Print {
        topic,
        from_beginning,
        limit,
    }))
}

/// A topic's name, without quotes too where it has dots and hyphens in it: `orders.errors`, `web-clicks`.
fn topic_name(cursor: &mut Cursor) -> Parsed<Text> {
    let is_bare = |token: &Token| match token {
        Token::Word(word) => word.quote_style.is_none(),
        Token::Period | Token::Minus | Token::Number(..) => true,
        _ => false,
    };
    let mut goes_on = is_bare(cursor.peek());
    let name = cursor.name("a topic")?;
    let mut topic = Text {
        value: name.written,
        span: name.span,
    };
    while let Some(place) = topic.span.filter(|_| goes_on) {
        goes_on = is_bare(cursor.peek()) && cursor.place().start == place.end;
        if goes_on {
            topic.value += &cursor.peek().to_string();
            topic.span = Some(place.to(cursor.place()));
            cursor.advance();
        }
    }
    Ok(topic)
}
