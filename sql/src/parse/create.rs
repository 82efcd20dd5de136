//! CREATE, ALTER and DROP.

use sqlparser::ast::{DataType, Expr};
use sqlparser::tokenizer::Token;

use super::cursor::{Cursor, Parsed};
use super::query::clauses;
use super::show::{option_name, option_value, unavailable};
use super::sink::sink;
use super::statement::{
    Alter, AlterChange, ColumnDef, ComputedDef, CreateFunction, CreateRelation, CreateView,
    DeclaredSignature, Drop, DropKind, Encode, Format, Include, Metadata, Name, Output, Statement,
    Text, Watermark,
};
use crate::diagnostic::{Code, Diagnostic, Span};

pub(super) fn create(cursor: &mut Cursor) -> Parsed<Statement> {
    cursor.expect_word("CREATE")?;
    let at = cursor.place();
    let or_replace = cursor.words(&["OR", "REPLACE"]);
    if or_replace && !matches!(cursor.word_ahead(0).as_str(), "MATERIALIZED" | "FUNCTION") {
        return Err(Diagnostic::new(
            Code::Unsupported,
            "OR REPLACE is for materialized views and functions",
        )
        .at(at)
        .help("DROP the object and CREATE it again; IF NOT EXISTS leaves one that is there"));
    }
    match cursor.word_ahead(0).as_str() {
        "SOURCE" | "STREAM" => relation(cursor, false),
        "TABLE" => relation(cursor, true),
        "MATERIALIZED" => {
            cursor.advance();
            cursor.expect_word("VIEW")?;
            view(cursor, or_replace)
        }
        "VIEW" => Err(unavailable(
            cursor,
            "a plain VIEW",
            "CREATE MATERIALIZED VIEW keeps the answer up to date",
        )),
        "SINK" => sink(cursor),
        "FUNCTION" => function(cursor, or_replace),
        _ => Err(cursor.unexpected(&["SOURCE", "TABLE", "MATERIALIZED VIEW", "SINK", "FUNCTION"])),
    }
}

fn relation(cursor: &mut Cursor, table: bool) -> Parsed<Statement> {
    let is_stream = cursor.word_ahead(0) == "STREAM";
    cursor.advance();
    let if_not_exists = cursor.if_not_exists();
    let name = cursor.name("a name")?;
    let mut create = CreateRelation {
        table,
        if_not_exists,
        name,
        columns: Vec::new(),
        computed: Vec::new(),
        primary_key: Vec::new(),
        watermark: None,
        includes: Vec::new(),
        options: Vec::new(),
        format: None,
        encode: None,
        columns_at: None,
    };
    if cursor.word_ahead(0) == "AS" {
        return as_select(cursor, create, is_stream);
    }
    // Without columns these are found in the topic.
    let after_name = cursor.place_before();
    let opened = cursor.place();
    if cursor.token(&Token::LParen) {
        cursor.rows_are_structs();
        loop {
            element(cursor, &mut create)?;
            if !cursor.token(&Token::Comma) {
                break;
            }
            if cursor.peek() == &Token::RParen {
                break;
            }
        }
        if !cursor.token(&Token::RParen) {
            return Err(cursor.unexpected(&[",", ")"]));
        }
        create.columns_at = Some((opened, true));
    } else if cursor.at_end()
        || ["WITH", "INCLUDE", "FORMAT"].contains(&cursor.word_ahead(0).as_str())
    {
        create.columns_at = Some((after_name, false));
    } else {
        return Err(cursor.unexpected(&["("]));
    }
    while !cursor.at_end() {
        match cursor.word_ahead(0).as_str() {
            "INCLUDE" => includes(cursor, &mut create)?,
            "WITH" => create.options.extend(options(cursor)?),
            "FORMAT" => {
                let mut output = Output::default();
                format(cursor, &mut output)?;
                create.options.extend(output.options);
                (create.format, create.encode) = (output.format, output.encode);
            }
            "AS" if create.columns.is_empty() => return as_select(cursor, create, is_stream),
            _ => return Err(cursor.unexpected(&["WITH", "INCLUDE", "FORMAT"])),
        }
    }
    Ok(Statement::CreateRelation(Box::new(create)))
}

/// ksqlDB's `CREATE STREAM | TABLE v [WITH (…)] AS SELECT … EMIT CHANGES` is a materialized view. Elsewhere CREATE TABLE … AS
/// copies once, so that a table says EMIT CHANGES.
fn as_select(cursor: &mut Cursor, create: CreateRelation, is_stream: bool) -> Parsed<Statement> {
    let at = cursor.place();
    cursor.expect_word("AS")?;
    let query = clauses(cursor)?;
    if !is_stream && query.emit.is_none() {
        let message = "CREATE TABLE … AS does not say whether its rows are to follow the query";
        return Err(Diagnostic::new(Code::Unsupported, message)
            .at(at)
            .help("CREATE MATERIALIZED VIEW v AS SELECT … keeps the answer up to date, as EMIT CHANGES at the end of this does"));
    }
    Ok(Statement::CreateView(Box::new(CreateView {
        or_replace: false,
        if_not_exists: create.if_not_exists,
        name: create.name,
        options: create.options,
        query,
    })))
}

fn element(cursor: &mut Cursor, create: &mut CreateRelation) -> Parsed<()> {
    let start = cursor.place();
    if cursor.words(&["WATERMARK", "FOR"]) {
        let column = cursor.name("the time column")?;
        cursor.expect_word("AS")?;
        let expr = cursor.expr()?;
        if create.watermark.is_some() {
            return Err(Diagnostic::new(Code::Syntax, "a second WATERMARK")
                .at(start)
                .help("a source has one event time: CREATE another SOURCE over the same topic for the other one"));
        }
        create.watermark = Some(Watermark {
            column,
            expr,
            span: Some(cursor.since(start)),
        });
        return Ok(());
    }
    if cursor.word_ahead(0) == "CONSTRAINT" && cursor.word_ahead(2) == "PRIMARY" {
        cursor.advance();
        cursor.name("the name of a constraint")?;
    }
    if cursor.words(&["PRIMARY", "KEY"]) {
        let names = cursor.names("a column's name")?;
        cursor.words(&["NOT", "ENFORCED"]);
        return add_primary_key(create, names, start);
    }
    let name = cursor.name("a column's name")?;
    if cursor.words(&["AS"]) {
        let expr = cursor.expr()?;
        create.computed.push(ComputedDef {
            name,
            place: create.columns.len(),
            data_type: None,
            nullable: true,
            expr,
            span: Some(cursor.since(start)),
        });
        return end_of_element(cursor, &[]);
    }
    let (data_type, type_span) = data_type(cursor)?;
    let mut column = ColumnDef {
        name,
        data_type,
        type_span,
        nullable: true,
        key: false,
    };
    if cursor.words(&["METADATA"]) {
        let what = metadata(cursor, &column.name)?;
        cursor.words(&["VIRTUAL"]);
        let name = column.name;
        create.includes.push(Include { what, name });
        return Ok(());
    }
    let mut generated = None;
    loop {
        let at = cursor.place();
        if cursor.word_ahead(0) == "GENERATED" {
            generated = Some(generation(cursor)?);
        } else if cursor.words(&["PRIMARY", "KEY"]) {
            add_primary_key(create, vec![column.name.clone()], at)?;
            cursor.words(&["NOT", "ENFORCED"]);
        } else if cursor.words(&["KEY"]) {
            column.key = true;
        } else if cursor.words(&["NOT", "NULL"]) {
            column.nullable = false;
        } else if !cursor.words(&["NULL"]) {
            break;
        }
    }
    end_of_element(cursor, &["NOT NULL", "KEY", "PRIMARY KEY"])?;
    match generated {
        None => create.columns.push(column),
        Some(_) if column.key => return Err(computed_key(&column.name)),
        Some(expr) => create.computed.push(ComputedDef {
            place: create.columns.len(),
            data_type: Some((column.data_type, column.type_span)),
            nullable: column.nullable,
            name: column.name,
            expr,
            span: Some(cursor.since(start)),
        }),
    }
    Ok(())
}

/// A comma or the end of the columns, or what else may stand here.
fn end_of_element(cursor: &Cursor, or: &[&str]) -> Parsed<()> {
    match cursor.peek() {
        Token::Comma | Token::RParen => Ok(()),
        _ => Err(cursor.unexpected(&[&[",", ")"][..], or].concat())),
    }
}

/// PostgreSQL's `GENERATED ALWAYS AS (expression) STORED`; nothing is stored, as VIRTUAL says.
fn generation(cursor: &mut Cursor) -> Parsed<Expr> {
    let at = cursor.place();
    let place = ["ALWAYS", "BY"]
        .iter()
        .position(|word| cursor.word_ahead(1) == *word);
    let identity = match place {
        Some(0) => 3,
        _ => 4,
    };
    if cursor.word_ahead(identity) == "IDENTITY" {
        return Err(unavailable(
            cursor,
            "a column that counts by itself",
            "give the value, or take the record's place in the log: INCLUDE offset AS c",
        ));
    }
    cursor.expect_word("GENERATED")?;
    if cursor.words(&["BY", "DEFAULT"]) {
        let message = "for a generated column, GENERATED ALWAYS must be specified";
        return Err(Diagnostic::new(Code::Syntax, message).at(at));
    }
    cursor.expect_word("ALWAYS")?;
    cursor.expect_word("AS")?;
    cursor.expect_token(&Token::LParen)?;
    let expr = cursor.expr()?;
    cursor.expect_token(&Token::RParen)?;
    if !cursor.words(&["STORED"]) {
        cursor.words(&["VIRTUAL"]);
    }
    Ok(expr)
}

/// That a column of the record's key is computed.
pub(crate) fn computed_key(name: &Name) -> Diagnostic {
    let message = format!(
        "column {:?} is computed, so it is none of the key",
        name.name
    );
    Diagnostic::new(Code::Unsupported, message)
        .at(name.span)
        .help("a key is what the record's key holds: a view may GROUP BY what is computed")
}

/// Flink's `METADATA [FROM 'what']`, which without FROM is named as the column is. Its type is that of INCLUDE.
fn metadata(cursor: &mut Cursor, name: &Name) -> Parsed<Metadata> {
    let (what, at) = match cursor.words(&["FROM"]) {
        true => {
            let from = cursor.string("'partition', 'offset', 'timestamp' or 'headers'")?;
            (from.value, from.span)
        }
        false => (name.name.clone(), name.span),
    };
    match what.to_lowercase().as_str() {
        "partition" => Ok(Metadata::Partition),
        "offset" => Ok(Metadata::Offset),
        "timestamp" => Ok(Metadata::Timestamp),
        "headers" => Ok(Metadata::Headers),
        _ => Err(
            Diagnostic::new(Code::Syntax, format!("a record has no metadata {what:?}"))
                .at(at)
                .help("METADATA FROM 'partition', 'offset', 'timestamp' or 'headers'"),
        ),
    }
}

fn add_primary_key(create: &mut CreateRelation, names: Vec<Name>, at: Span) -> Parsed<()> {
    if !create.primary_key.is_empty() {
        return Err(Diagnostic::new(Code::Syntax, "a second PRIMARY KEY")
            .at(at)
            .help("a key of several columns is one clause: PRIMARY KEY (a, b)"));
    }
    create.primary_key = names;
    Ok(())
}

fn data_type(cursor: &mut Cursor) -> Parsed<(DataType, Option<Span>)> {
    let start = cursor.place();
    if !matches!(cursor.peek(), Token::Word(_)) {
        return Err(cursor.unexpected(&["a type"]));
    }
    let data_type = cursor.run(|parser| parser.parse_data_type())?;
    Ok((data_type, Some(cursor.since(start))))
}

/// `INCLUDE what [AS name], …`. Without a name the column is called after what it is.
fn includes(cursor: &mut Cursor, create: &mut CreateRelation) -> Parsed<()> {
    cursor.expect_word("INCLUDE")?;
    loop {
        let mut name = Name {
            name: cursor.word_ahead(0).to_lowercase(),
            written: cursor.word_ahead(0).to_lowercase(),
            span: Some(cursor.place()),
        };
        let what = match cursor.word_ahead(0).as_str() {
            "KEY" => Metadata::Key,
            "PARTITION" => Metadata::Partition,
            "OFFSET" => Metadata::Offset,
            "TIMESTAMP" => Metadata::Timestamp,
            "HEADERS" => Metadata::Headers,
            "HEADER" => {
                cursor.advance();
                let header = cursor.string("the header's name in quotes")?;
                name.name = header.value.to_lowercase();
                name.written.clone_from(&header.value);
                name.span = header.span;
                Metadata::Header(header.value)
            }
            _ => {
                return Err(cursor.unexpected(&[
                    "KEY",
                    "PARTITION",
                    "OFFSET",
                    "TIMESTAMP",
                    "HEADERS",
                    "HEADER",
                ]));
            }
        };
        if !matches!(what, Metadata::Header(_)) {
            cursor.advance();
        }
        if cursor.words(&["AS"]) {
            name = cursor.name("a column's name")?;
        }
        create.includes.push(Include { what, name });
        if !cursor.token(&Token::Comma) {
            return Ok(());
        }
    }
}

pub(super) fn options(cursor: &mut Cursor) -> Parsed<Vec<(Text, Text)>> {
    cursor.expect_word("WITH")?;
    option_list(cursor)
}

/// `(name = value, …)`.
fn option_list(cursor: &mut Cursor) -> Parsed<Vec<(Text, Text)>> {
    let mut options: Vec<(Text, Text)> = Vec::new();
    cursor.expect_token(&Token::LParen)?;
    while cursor.peek() != &Token::RParen {
        let name = option_name(cursor)?;
        let same = |(before, _): &&(Text, Text)| one_word(&before.value) == one_word(&name.value);
        if let Some((before, _)) = options.iter().find(same) {
            let message = format!("{} says anew what {} does", name.value, before.value);
            return Err(Diagnostic::new(Code::OptionValue, message)
                .at(name.span)
                .help("an option is given once"));
        }
        cursor.expect_token(&Token::Eq)?;
        let value = option_value(cursor)?;
        options.push((name, value));
        if !cursor.token(&Token::Comma) {
            break;
        }
    }
    if !cursor.token(&Token::RParen) {
        return Err(cursor.unexpected(&[",", ")"]));
    }
    Ok(options)
}

/// The name of an option that has several, so that one reader cannot take the first and another the last.
fn one_word(name: &str) -> String {
    let name = name.to_lowercase();
    let one = match name.as_str() {
        "kafka_topic" => "topic",
        "value.format" | "value_format" => "format",
        "key_format" => "key.format",
        "delimiter" => "csv.delimiter",
        _ => return name,
    };
    one.to_owned()
}

/// `FORMAT what [ENCODE how [(options)]]`.
pub(super) fn format(cursor: &mut Cursor, output: &mut Output) -> Parsed<()> {
    let start = cursor.place();
    cursor.expect_word("FORMAT")?;
    let format = match cursor.word_ahead(0).as_str() {
        "PLAIN" => Format::Plain,
        "UPSERT" => Format::Upsert,
        "DEBEZIUM" => Format::Debezium,
        _ => return Err(cursor.unexpected(&["PLAIN", "UPSERT", "DEBEZIUM"])),
    };
    cursor.advance();
    if cursor.words(&["ENCODE"]) {
        let place = cursor.place();
        let encode = match cursor.word_ahead(0).as_str() {
            "JSON" => Encode::Json,
            "CSV" => Encode::Csv,
            "TEXT" => Encode::Text,
            "BYTES" => Encode::Bytes,
            word @ ("AVRO" | "PROTOBUF") => {
                return Err(unavailable(
                    cursor,
                    &format!("ENCODE {word}"),
                    "JSON, CSV, TEXT and BYTES work",
                ));
            }
            _ => return Err(cursor.unexpected(&["JSON", "CSV", "TEXT", "BYTES"])),
        };
        cursor.advance();
        output.encode = Some((encode, Some(place)));
        if cursor.peek() == &Token::LParen {
            output.options.extend(option_list(cursor)?);
        }
    }
    output.format = Some((format, Some(cursor.since(start))));
    Ok(())
}

fn view(cursor: &mut Cursor, or_replace: bool) -> Parsed<Statement> {
    let if_not_exists = cursor.if_not_exists();
    let name = cursor.name("a name")?;
    let options = if cursor.word_ahead(0) == "WITH" {
        options(cursor)?
    } else {
        Vec::new()
    };
    if cursor.peek() == &Token::LParen {
        return Err(unavailable(
            cursor,
            "a list of a view's columns",
            "name them in the query: SELECT … AS name",
        ));
    }
    cursor.expect_word("AS")?;
    let query = clauses(cursor)?;
    Ok(Statement::CreateView(Box::new(CreateView {
        or_replace,
        if_not_exists,
        name,
        options,
        query,
    })))
}

fn function(cursor: &mut Cursor, or_replace: bool) -> Parsed<Statement> {
    cursor.expect_word("FUNCTION")?;
    let before = cursor.place();
    let if_not_exists = cursor.if_not_exists();
    if or_replace && if_not_exists {
        return Err(Diagnostic::new(
            Code::Syntax,
            "OR REPLACE and IF NOT EXISTS contradict each other",
        )
        .at(cursor.since(before))
        .help(
            "OR REPLACE puts a new module in the place of the old; IF NOT EXISTS leaves the old",
        ));
    }
    let name = cursor.name("the function's name")?;
    let start = cursor.place();
    let args = if cursor.token(&Token::LParen) {
        Some(arguments(cursor)?)
    } else {
        None
    };
    let returns = if cursor.words(&["RETURNS"]) {
        Some(data_type(cursor)?)
    } else {
        None
    };
    let signature = match (args, returns) {
        (None, None) => None,
        (Some(args), Some((returns, returns_span))) => {
            let span = Some(cursor.since(start));
            Some(DeclaredSignature {
                args,
                returns,
                returns_span,
                span,
            })
        }
        (Some(_), None) => return Err(cursor.unexpected(&["RETURNS"])),
        (None, Some(_)) => {
            return Err(Diagnostic::new(Code::Syntax, "RETURNS without arguments")
                .at(start)
                .help("declare both, f(x DOUBLE) RETURNS TEXT, or none: the module says them"));
        }
    };
    cursor.expect_word("LANGUAGE")?;
    let at = cursor.place();
    let language = cursor.name("wasm")?;
    if language.name != "wasm" {
        return Err(Diagnostic::new(
            Code::Unsupported,
            format!("no functions in {}", language.written),
        )
        .at(at)
        .help("LANGUAGE wasm works"));
    }
    cursor.expect_word("AS")?;
    let location = cursor.string("'file:PATH'")?;
    Ok(Statement::CreateFunction(Box::new(CreateFunction {
        or_replace,
        if_not_exists,
        name,
        signature,
        location,
    })))
}

/// `name type, …` or `type, …`, up to the closing parenthesis.
fn arguments(cursor: &mut Cursor) -> Parsed<Vec<(DataType, Option<Span>)>> {
    let mut args = Vec::new();
    while cursor.peek() != &Token::RParen {
        if !cursor.word_ahead(1).is_empty() && cursor.word_ahead(1) != "PRECISION" {
            cursor.name("an argument's name")?;
        }
        args.push(data_type(cursor)?);
        if !cursor.token(&Token::Comma) {
            break;
        }
    }
    if !cursor.token(&Token::RParen) {
        return Err(cursor.unexpected(&[",", ")"]));
    }
    Ok(args)
}

pub(super) fn drop(cursor: &mut Cursor) -> Parsed<Statement> {
    cursor.expect_word("DROP")?;
    let kind = kind(cursor)?;
    let if_exists = cursor.words(&["IF", "EXISTS"]);
    let name = cursor.name("a name")?;
    let cascade = cursor.words(&["CASCADE"]);
    if !cascade {
        cursor.words(&["RESTRICT"]);
    }
    Ok(Statement::Drop(Drop {
        kind,
        if_exists,
        name,
        cascade,
    }))
}

/// What an object is, as DROP and ALTER say it.
fn kind(cursor: &mut Cursor) -> Parsed<DropKind> {
    let kind = match cursor.word_ahead(0).as_str() {
        "SOURCE" | "STREAM" => DropKind::Source,
        "TABLE" => DropKind::Table,
        "VIEW" => DropKind::View,
        "SINK" => DropKind::Sink,
        "MATERIALIZED" if cursor.word_ahead(1) == "VIEW" => {
            cursor.advance();
            DropKind::View
        }
        "FUNCTION" => DropKind::Function,
        _ => {
            return Err(cursor.unexpected(&[
                "SOURCE",
                "TABLE",
                "MATERIALIZED VIEW",
                "SINK",
                "FUNCTION",
            ]));
        }
    };
    cursor.advance();
    Ok(kind)
}

/// ALTER. What runs keeps its name, and a column that of its field in the topic.
pub(super) fn alter(cursor: &mut Cursor) -> Parsed<Statement> {
    let start = cursor.place();
    cursor.expect_word("ALTER")?;
    let kind = kind(cursor)?;
    let if_exists = cursor.words(&["IF", "EXISTS"]);
    let name = cursor.name("a name")?;
    let refused = |what: &str, help: &str| {
        Diagnostic::new(Code::Unsupported, format!("{what} is not available"))
            .at(cursor.place())
            .help(help)
    };
    let runs = matches!(kind, DropKind::View | DropKind::Sink);
    let change = match cursor.word_ahead(0).as_str() {
        "PAUSE" | "RESUME" if !runs => {
            let message = "only materialized views and sinks run, so that they can be paused";
            return Err(Diagnostic::new(Code::Unsupported, message).at(cursor.since(start)));
        }
        "PAUSE" => AlterChange::Pause,
        "RESUME" => AlterChange::Resume,
        "RENAME" if cursor.word_ahead(1) != "TO" => {
            return Err(refused(
                "RENAME COLUMN",
                "records hold a column by its name: another SOURCE or TABLE over the same topic, or a view, can give it another one",
            ));
        }
        "RENAME" if runs => {
            return Err(refused(
                "RENAME of what runs",
                "its topic, its state and those who read it know it by its name: CREATE another one, then DROP this",
            ));
        }
        "RENAME" if kind == DropKind::Function => {
            return Err(refused(
                "RENAME of a function",
                "it is called by the name that its module gives it",
            ));
        }
        "RENAME" => {
            cursor.advance();
            cursor.advance();
            let change = AlterChange::Rename(cursor.name("the new name")?);
            return Ok(Statement::Alter(Alter {
                kind,
                if_exists,
                name,
                change,
            }));
        }
        "AS" if kind == DropKind::View => {
            return Err(refused(
                "ALTER MATERIALIZED VIEW … AS",
                "CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT … gives it another query",
            ));
        }
        _ if runs => return Err(cursor.unexpected(&["PAUSE", "RESUME"])),
        _ => {
            return Err(refused(
                "this ALTER",
                "DROP the object, whose topic stays, and CREATE it again",
            ));
        }
    };
    cursor.advance();
    Ok(Statement::Alter(Alter {
        kind,
        if_exists,
        name,
        change,
    }))
}
