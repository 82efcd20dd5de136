//! Statements that tell: EXPLAIN, SHOW, DESCRIBE; and SET.

use sqlparser::tokenizer::Token;

use super::cursor::{Cursor, Parsed};
use super::query::clauses;
use super::sink::sink;
use super::statement::{Explain, Show, Statement, Text};
use super::write::insert;
use crate::diagnostic::{Code, Diagnostic, nearest};

pub(super) fn explain(cursor: &mut Cursor) -> Parsed<Statement> {
    cursor.expect_word("EXPLAIN")?;
    let explain = match cursor.word_ahead(0).as_str() {
        "WHY" => {
            cursor.advance();
            Explain::Why(cursor.name("the name of a view")?)
        }
        "SELECT" | "WITH" | "VALUES" => Explain::Query(Box::new(clauses(cursor)?)),
        "INSERT" => match insert(cursor)? {
            Statement::Insert(insert) => Explain::Insert(insert),
            other => return Ok(other),
        },
        "UPDATE" | "DELETE" => {
            return Err(unavailable(
                cursor,
                "EXPLAIN of UPDATE and DELETE",
                "EXPLAIN SELECT * FROM t WHERE … shows how their rows are found",
            ));
        }
        "DROP" => {
            return Err(unavailable(
                cursor,
                "EXPLAIN of DROP",
                "DROP without CASCADE names what reads the object, and drops nothing then",
            ));
        }
        "ALTER" => {
            return Err(unavailable(
                cursor,
                "EXPLAIN of ALTER",
                "PAUSE stops a view or sink where it is and RESUME lets it go on; nothing is computed anew",
            ));
        }
        "CREATE" if cursor.word_ahead(1) == "SINK" => {
            cursor.advance();
            match sink(cursor)? {
                Statement::CreateSink(create) => Explain::Sink(create),
                other => return Ok(other),
            }
        }
        "CREATE" => {
            cursor.advance();
            cursor.words(&["OR", "REPLACE"]);
            if cursor.word_ahead(0) != "MATERIALIZED" {
                return Err(cursor.unexpected(&["MATERIALIZED VIEW", "SINK"]));
            }
            cursor.expect_word("MATERIALIZED")?;
            cursor.expect_word("VIEW")?;
            cursor.if_not_exists();
            cursor.name("the name of a view")?;
            cursor.expect_word("AS")?;
            Explain::Query(Box::new(clauses(cursor)?))
        }
        "ANALYZE" => {
            cursor.advance();
            if matches!(
                cursor.word_ahead(0).as_str(),
                "SELECT" | "WITH" | "VALUES" | "CREATE"
            ) || cursor.peek() == &Token::LParen
            {
                return Err(unavailable(
                    cursor,
                    "EXPLAIN ANALYZE of a query",
                    "EXPLAIN shows its plan; EXPLAIN ANALYZE v tells of a view or sink that runs",
                ));
            }
            Explain::Analyze(cursor.name("the name of a view or sink")?)
        }
        _ if cursor.peek() == &Token::LParen => Explain::Query(Box::new(clauses(cursor)?)),
        word => {
            let at = cursor.place();
            let near = nearest(word, ["WHY", "SELECT", "CREATE"]);
            let name = cursor.name("a query, WHY or the name of a view")?;
            if let Some(near) = near.filter(|_| !cursor.at_end()) {
                let message = format!("{} is not a keyword", name.written);
                return Err(Diagnostic::new(Code::Keyword, message).at(at).suggest(near));
            }
            Explain::Object(name)
        }
    };
    Ok(Statement::Explain(Box::new(explain)))
}

pub(super) fn show(cursor: &mut Cursor) -> Parsed<Statement> {
    cursor.advance();
    let show = match cursor.word_ahead(0).as_str() {
        "CREATE" => {
            cursor.advance();
            for kind in ["SOURCE", "TABLE", "FUNCTION", "VIEW", "SINK"] {
                cursor.words(&[kind]);
            }
            cursor.words(&["MATERIALIZED", "VIEW"]);
            return Ok(Statement::ShowCreate(cursor.name("the name of an object")?));
        }
        "SOURCES" | "STREAMS" => Show::Sources,
        "TABLES" => Show::Tables,
        "VIEWS" => Show::Views,
        "SINKS" => Show::Sinks,
        "JOBS" | "QUERIES" => Show::Jobs,
        "FUNCTIONS" => Show::Functions,
        "TOPICS" => Show::Topics,
        "MATERIALIZED" if cursor.word_ahead(1) == "VIEWS" => {
            cursor.advance();
            Show::Views
        }
        word if let Some((_, help)) = FOREIGN_LISTS.iter().find(|(other, _)| *other == word) => {
            return Err(unavailable(cursor, &format!("SHOW {word}"), help));
        }
        _ => {
            return Err(cursor.unexpected(&[
                "SOURCES",
                "TABLES",
                "VIEWS",
                "SINKS",
                "JOBS",
                "FUNCTIONS",
                "TOPICS",
                "CREATE",
            ]));
        }
    };
    cursor.advance();
    if matches!(
        cursor.word_ahead(0).as_str(),
        "LIKE" | "FROM" | "IN" | "WHERE"
    ) {
        let help = "without it all are listed; in the shell \\df TEXT finds functions, and Tab completes names";
        return Err(unavailable(cursor, "a filter of SHOW", help));
    }
    Ok(Statement::Show(show))
}

/// Lists of other systems, and what stands for them here.
const FOREIGN_LISTS: &[(&str, &str)] = &[
    (
        "ALL",
        "thalweg config show lists the settings of the server",
    ),
    (
        "CATALOGS",
        "there is one catalog: SHOW SOURCES, SHOW TABLES, SHOW VIEWS",
    ),
    ("COLUMNS", "DESCRIBE t lists the columns of t"),
    (
        "CONNECTORS",
        "SELECT * FROM sys.connectors lists connectors, as thalweg connect list does",
    ),
    (
        "DATABASES",
        "there is one catalog: SHOW SOURCES, SHOW TABLES, SHOW VIEWS",
    ),
    ("FIELDS", "DESCRIBE t lists the columns of t"),
    ("INDEX", "the key of a table is its index: DESCRIBE t"),
    ("INDEXES", "the key of a table is its index: DESCRIBE t"),
    ("PROCESSLIST", "SHOW JOBS lists what runs"),
    (
        "PROPERTIES",
        "thalweg config show lists the settings of the server",
    ),
    (
        "SCHEMAS",
        "there is one catalog: SHOW SOURCES, SHOW TABLES, SHOW VIEWS",
    ),
    (
        "VARIABLES",
        "thalweg config show lists the settings of the server",
    ),
];

pub(super) fn describe(cursor: &mut Cursor) -> Parsed<Statement> {
    cursor.advance();
    cursor.words(&["EXTENDED"]);
    let name = cursor.name("the name of an object")?;
    cursor.words(&["EXTENDED"]);
    Ok(Statement::Describe(name))
}

/// `SET name = value`; the name may be quoted or dotted.
pub(super) fn set(cursor: &mut Cursor) -> Parsed<Statement> {
    cursor.expect_word("SET")?;
    let name = option_name(cursor)?;
    if !cursor.token(&Token::Eq) {
        cursor.expect_word("TO")?;
    }
    let value = option_value(cursor)?;
    Ok(Statement::Set { name, value })
}

/// An option's name: a string, or words with dots between them.
pub(super) fn option_name(cursor: &mut Cursor) -> Parsed<Text> {
    let start = cursor.place();
    if matches!(cursor.peek(), Token::SingleQuotedString(_)) {
        return cursor.string("an option");
    }
    let mut value = cursor.name("an option")?.written;
    while cursor.token(&Token::Period) {
        value.push('.');
        value.push_str(&cursor.name("an option")?.written);
    }
    Ok(Text {
        value,
        span: Some(cursor.since(start)),
    })
}

/// An option's value: a string, a number or a word.
pub(super) fn option_value(cursor: &mut Cursor) -> Parsed<Text> {
    let at = cursor.place();
    let sign = if cursor.token(&Token::Minus) { "-" } else { "" };
    let value = match cursor.peek() {
        Token::Number(number, _) => format!("{sign}{number}"),
        _ if !sign.is_empty() => return Err(cursor.unexpected(&["a number"])),
        Token::Word(word) => word.value.clone(),
        _ => return cursor.string("a value"),
    };
    cursor.advance();
    Ok(Text {
        value,
        span: Some(cursor.since(at)),
    })
}

/// A statement that is understood but not carried out.
pub(super) fn unavailable(cursor: &Cursor, what: &str, help: &str) -> Diagnostic {
    Diagnostic::new(Code::Unsupported, format!("{what} is not available"))
        .at(cursor.place())
        .help(help)
}
