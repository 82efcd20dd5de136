//! DataFusion's and Arrow's errors as diagnostics, with places in the user's text and names from our catalog.

use datafusion::common::{Column, DataFusionError, SchemaError};

use super::foreign::{Stands, stands_for};
use super::{Code, Diagnostic, Span, nearest};
use crate::functions::{Function, functions};

/// The tokens of a statement by kind, each with its place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lexemes {
    /// Words and names, without quotes.
    pub words: Vec<(String, Span)>,
    /// Those of them that stand in double quotes.
    pub quoted: Vec<String>,
    /// Texts, without quotes, and numbers.
    pub literals: Vec<(String, Span)>,
    /// Operators and punctuation.
    pub signs: Vec<(String, Span)>,
}

/// What stands in a statement, and what there is to call: for errors that name a thing but not its place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Words {
    lexemes: Lexemes,
    /// Names of functions, for suggestions.
    functions: Vec<String>,
    /// Calls of functions that the catalog holds.
    signatures: Vec<String>,
}

impl Words {
    /// The texts of the statement and their places; numbers too.
    pub(crate) fn texts(&self) -> &[(String, Span)] {
        &self.lexemes.literals
    }

    /// The tokens of a statement, and the functions that there are.
    pub(crate) fn new(lexemes: Lexemes, functions: Vec<String>) -> Self {
        Self {
            lexemes,
            functions,
            signatures: Vec::new(),
        }
    }

    /// With the signatures of the catalog's functions: `mask(TEXT) -> TEXT`.
    #[must_use]
    pub(crate) fn with_signatures(mut self, signatures: Vec<String>) -> Self {
        self.signatures = signatures;
        self
    }

    /// The first place of a word, without regard to case.
    pub(crate) fn place(&self, word: &str) -> Option<Span> {
        self.lexemes
            .words
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(word))
            .map(|(_, span)| *span)
    }

    fn last_place(&self, word: &str) -> Option<Span> {
        let place = self
            .lexemes
            .words
            .iter()
            .rev()
            .find(|(other, _)| other.eq_ignore_ascii_case(word));
        place.map(|(_, span)| *span)
    }

    /// The first place of an operator.
    fn sign(&self, sign: &str) -> Option<Span> {
        let mut signs = self.lexemes.signs.iter();
        signs
            .find(|(other, _)| other == sign)
            .map(|(_, span)| *span)
    }

    /// The place of the operator that an error without a place is about, if the statement has it once.
    fn operator_of(&self, message: &str) -> Option<Span> {
        let named = |sign: &str| {
            message.contains(&format!(" {sign} ")) || sign == "/" && message == "division by zero"
        };
        let signs = [
            "<=", ">=", "<>", "!=", "=", "<", ">", "+", "-", "*", "/", "%", "||",
        ];
        let sign = signs.into_iter().find(|sign| named(sign))?;
        let mut found = self.lexemes.signs.iter().filter(|(other, _)| other == sign);
        let first = found.next()?;
        found.next().is_none().then_some(first.1)
    }

    fn is_quoted(&self, name: &str) -> bool {
        self.lexemes.quoted.iter().any(|other| other == name)
    }

    /// The place of what an error without a place quotes: a text or a number of the statement, or else its only NULL.
    pub(crate) fn quoted_in(&self, message: &str) -> Option<Span> {
        let quoted = |text: &str| {
            let is_word = |char: char| char.is_alphanumeric() || matches!(char, '.' | '_');
            ["'", "\"", "`"]
                .iter()
                .any(|quote| message.contains(&format!("{quote}{text}{quote}")))
                || text.starts_with(|char: char| char.is_ascii_digit())
                    && message.match_indices(text).any(|(at, _)| {
                        let before = message[..at].chars().next_back();
                        let after = message[at + text.len()..].chars().next();
                        !before.is_some_and(is_word) && !after.is_some_and(is_word)
                    })
        };
        let mut found = self
            .lexemes
            .literals
            .iter()
            .filter(|(text, _)| !text.is_empty() && quoted(text));
        // The longest says most: '12:00' before 12.
        let first = found.next()?;
        let longest = found.fold(first, |best, next| {
            if next.0.len() > best.0.len() {
                next
            } else {
                best
            }
        });
        Some(longest.1)
    }

    /// The place of the only NULL.
    pub(crate) fn only_null(&self) -> Option<Span> {
        let words = self.lexemes.words.iter();
        let mut nulls = words.filter(|(word, _)| word.eq_ignore_ascii_case("null"));
        let first = nulls.next()?;
        nulls.next().is_none().then_some(first.1)
    }

    /// How a function is called, for whoever called it otherwise.
    fn calls_of(&self, name: &str) -> Option<String> {
        let own = self.signatures.iter().find(|signature| {
            let head = signature.split('(').next().unwrap_or_default();
            head.eq_ignore_ascii_case(name)
        });
        if let Some(signature) = own {
            return Some(signature.clone());
        }
        let function = functions().find(|function| function.name.eq_ignore_ascii_case(name))?;
        let Function {
            name,
            takes,
            what,
            example,
        } = function;
        Some(format!("{name}({takes}): {what}; for example {example}"))
    }
}

/// The diagnostic that says what `error` means to the author of the statement.
pub(crate) fn translate(error: &DataFusionError, words: &Words) -> Diagnostic {
    let diagnostic = meaning(error, words);
    if diagnostic.span.is_some() {
        return diagnostic;
    }
    let place = words.quoted_in(&diagnostic.message);
    let place = place.or_else(|| words.operator_of(&diagnostic.message));
    diagnostic.at(place)
}

fn meaning(error: &DataFusionError, words: &Words) -> Diagnostic {
    let bound = error
        .diagnostic()
        .or_else(|| error.find_root().diagnostic());
    let span = bound
        .and_then(|bound| bound.span)
        .and_then(Span::from_bound);
    if let Some(own) = own(error) {
        let span = own.span.or(span);
        return own.at(span);
    }
    let root = error.find_root();
    if let Some(arguments) = wrong_arguments(&root.message(), words) {
        return arguments;
    }
    match root {
        DataFusionError::SchemaError(schema, _) => schema_error(schema, span, words),
        DataFusionError::ResourcesExhausted(message) => Diagnostic::new(
            Code::Limit,
            format!(
                "the query needs more memory than it may use: {}",
                first_line(message)
            ),
        )
        .help("ask for fewer rows or columns, or aggregate"),
        DataFusionError::ArrowError(arrow, _) => translate_arrow(&arrow.to_string()),
        DataFusionError::Execution(message) => translate_arrow(message),
        DataFusionError::External(error) => translate_arrow(&error.to_string()),
        _ => planning(&root.message(), bound, span, words),
    }
}

/// An error of computing rows.
pub(crate) fn translate_arrow(message: &str) -> Diagnostic {
    let lower = message.to_lowercase();
    let text = sql_types(&first_line(message));
    if lower.contains("divide by zero") {
        let mut diagnostic = Diagnostic::new(Code::Row, "division by zero");
        diagnostic.sqlstate = "22012".to_owned();
        return diagnostic;
    }
    if let Some((_, reason)) = message.split_once("regex parse error:") {
        // The pattern, a mark below it, and what is wrong.
        let pattern = reason.lines().map(str::trim).find(|line| !line.is_empty());
        let wrong = reason.rsplit("error: ").next().unwrap_or_default().trim();
        let pattern = pattern.unwrap_or_default();
        let text = format!(
            "'{pattern}' is no regular expression: {}",
            first_line(wrong)
        );
        let mut diagnostic = Diagnostic::new(Code::Row, text);
        diagnostic.sqlstate = "2201B".to_owned();
        return diagnostic;
    }
    if let Some((name, _)) = message.split_once(" not supported for Null") {
        let name = name.rsplit(' ').next().unwrap_or(name).to_lowercase();
        let text = format!("{name} takes a column or an expression");
        return Diagnostic::new(Code::TypeMismatch, text).help("count(*) counts rows");
    }
    if lower.contains("overflow") {
        let mut diagnostic =
            Diagnostic::new(Code::Row, format!("a number is out of range: {text}"));
        diagnostic.sqlstate = "22003".to_owned();
        return diagnostic;
    }
    if lower.contains("cast error")
        || lower.contains("parser error")
        || lower.contains("cannot cast")
    {
        let mut diagnostic = Diagnostic::new(Code::Row, strip_prefixes(&text));
        diagnostic.sqlstate = "22P02".to_owned();
        return diagnostic;
    }
    Diagnostic::new(Code::Row, strip_prefixes(&text))
}

/// A call that no signature of its function takes. DataFusion tells of each signature why.
fn wrong_arguments(message: &str, words: &Words) -> Option<Diagnostic> {
    let (_, call) = message.split_once("Function '")?;
    let (name, reason) = call.split_once("' ")?;
    let text = if reason.starts_with("failed to match any signature") {
        let found = between(reason, "(DataType: ", ")").filter(|found| !found.contains('('));
        match found.map(sql_types) {
            Some(data_type) => format!("{name}({data_type}) does not exist"),
            None => format!("{name} does not exist for arguments of these types"),
        }
    } else {
        let reason = reason.strip_prefix("user-defined coercion failed with: ")?;
        let reason = reason.split(". No function matches").next()?;
        // Some begin with the name themselves.
        let reason = reason.strip_prefix(name).unwrap_or(reason).trim_start();
        format!("{name} {}", strip_prefixes(&sql_types(&first_line(reason))))
    };
    let diagnostic = Diagnostic::new(Code::UnknownFunction, text).at(words.place(name));
    Some(called_so(diagnostic, name, words))
}

/// Tells how a function is called.
fn called_so(diagnostic: Diagnostic, name: &str, words: &Words) -> Diagnostic {
    match words.calls_of(name) {
        Some(call) => diagnostic.help(call),
        None => diagnostic.help("convert the arguments: CAST(x AS type)"),
    }
}

fn own(error: &DataFusionError) -> Option<Diagnostic> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(own) = error.downcast_ref::<Diagnostic>() {
            return Some(own.clone());
        }
        if let Some(DataFusionError::External(inner)) = error.downcast_ref::<DataFusionError>()
            && let Some(own) = inner.downcast_ref::<Diagnostic>()
        {
            return Some(own.clone());
        }
        next = error.source();
    }
    None
}

fn schema_error(error: &SchemaError, span: Option<Span>, words: &Words) -> Diagnostic {
    match error {
        SchemaError::FieldNotFound {
            field,
            valid_fields,
        } => unknown_column(field, valid_fields, span, words),
        SchemaError::AmbiguousReference { field } => Diagnostic::new(
            Code::AmbiguousColumn,
            format!("column {:?} is ambiguous", field.name),
        )
        .at(span.or_else(|| column_place(field, words)))
        .help("write the relation's name before it: t.column"),
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => Diagnostic::new(
            Code::DuplicateColumn,
            format!("two columns are named {name:?}"),
        )
        .at(span.or_else(|| words.last_place(name)))
        .help("give one of them another name with AS"),
    }
}

fn unknown_column(
    field: &Column,
    valid: &[Column],
    span: Option<Span>,
    words: &Words,
) -> Diagnostic {
    // A join that would be made of a subquery lacks what it compares with.
    if (field.relation.as_ref()).is_some_and(|of| of.table().starts_with("__correlated_sq")) {
        let message =
            "this subquery compares rows with the query around it in a way that no join does";
        return Diagnostic::new(Code::Unsupported, message)
            .at(words.place("IN").or_else(|| words.place("EXISTS")))
            .help("NOT EXISTS (SELECT … WHERE u.a = t.a AND u.b = t.b) compares column by column, without NULL");
    }
    let relations: Vec<&str> = valid
        .iter()
        .filter_map(|column| column.relation.as_ref().map(|r| r.table()))
        .collect();
    let span = span.or_else(|| column_place(field, words));
    if let Some(relation) = &field.relation
        && !relations.iter().any(|known| *known == relation.table())
    {
        let message = format!("there is no relation {:?} in this query", relation.table());
        let place = words.place(relation.table()).or(span);
        let mut diagnostic = Diagnostic::new(Code::UnknownRelation, message)
            .at(place)
            .suggest_nearest(relation.table(), relations.iter().copied());
        if diagnostic.help.is_none() && !relations.is_empty() {
            let mut names = relations;
            names.sort_unstable();
            names.dedup();
            diagnostic = diagnostic.help(format!("there are {}", names.join(", ")));
        }
        return diagnostic;
    }
    let message = match &field.relation {
        Some(relation) => {
            format!(
                "column {:?} of {} does not exist",
                field.name,
                relation.table()
            )
        }
        None => format!("column {:?} does not exist", field.name),
    };
    let diagnostic = Diagnostic::new(Code::UnknownColumn, message).at(span);
    let candidates = valid
        .iter()
        .filter(|column| field.relation.is_none() || column.relation == field.relation)
        .map(|column| column.name.as_str());
    let candidates: Vec<&str> = candidates.collect();
    if field.relation.is_none()
        && words.is_quoted(&field.name)
        && !candidates
            .iter()
            .any(|known| known.eq_ignore_ascii_case(&field.name))
    {
        let text = field.name.replace('\'', "''");
        return diagnostic
            .help("names stand in double quotes, text in single quotes")
            .suggest(format!("'{text}'"));
    }
    match nearest(&field.name, candidates.iter().copied()) {
        Some(near) => {
            let replacement = match &field.relation {
                Some(relation) => format!("{}.{near}", relation.table()),
                None => near.to_owned(),
            };
            diagnostic.suggest(replacement)
        }
        None if candidates.is_empty() => diagnostic,
        None => {
            let mut names = candidates;
            names.dedup();
            names.truncate(12);
            diagnostic.help(format!("there are {}", names.join(", ")))
        }
    }
}

fn column_place(field: &Column, words: &Words) -> Option<Span> {
    field
        .spans
        .first()
        .and_then(Span::from_bound)
        .or_else(|| words.place(&field.name))
}

/// Errors that are only text. The texts are DataFusion 55's; whatever is not known passes as it is.
fn planning(
    message: &str,
    bound: Option<&datafusion::common::Diagnostic>,
    span: Option<Span>,
    words: &Words,
) -> Diagnostic {
    let message = first_line(message);
    if let Some(name) = between(&message, "Invalid function '", "'") {
        let diagnostic = Diagnostic::new(
            Code::UnknownFunction,
            format!("function {name} does not exist"),
        )
        .at(words.place(name).or(span));
        return match stands_for(name, &words.functions) {
            Some(Stands::Name(stands)) => diagnostic.suggest(stands),
            Some(Stands::Form(stands)) => diagnostic.help(stands),
            None => {
                let names = words.functions.iter().map(String::as_str);
                diagnostic.suggest_nearest(name, names)
            }
        };
    }
    if let Some(name) = between(&message, "nsupported binary operator: ", " ").or_else(|| {
        message
            .split_once("nsupported binary operator: ")
            .map(|(_, name)| name)
    }) {
        let (sign, help) = operator(name);
        let mut diagnostic = Diagnostic::new(
            Code::Unsupported,
            format!("operator {sign} is not available"),
        )
        .at(words.sign(sign).or(span));
        if let Some(help) = help {
            diagnostic = diagnostic.help(help);
        }
        return diagnostic;
    }
    if message.starts_with("Column in ") && message.contains("GROUP BY") {
        let column = between(&message, "While expanding wildcard, column \"", "\"")
            .or_else(|| between(&message, "column \"", "\""));
        let text = match column {
            Some(column) => {
                format!(
                    "column {column} is neither in GROUP BY nor inside of an aggregate function"
                )
            }
            None => {
                "a column is neither in GROUP BY nor inside of an aggregate function".to_owned()
            }
        };
        let place = span.or_else(|| {
            column.and_then(|column| words.place(column.rsplit('.').next().unwrap_or(column)))
        });
        return Diagnostic::new(Code::Grouping, text)
            .at(place)
            .help("add it to GROUP BY, or aggregate it: max(…)");
    }
    if message.contains("ggregate functions are not allowed in the WHERE clause") {
        let text = "aggregate functions are not allowed in WHERE";
        return Diagnostic::new(Code::Grouping, text)
            .at(words.place("WHERE").or(span))
            .help("HAVING filters groups");
    }
    if message.contains("require unique expression names")
        && let Some(second) = between(&message, " and \"", "\" at position")
    {
        let name = second.rsplit(" AS ").next().unwrap_or(second);
        let name = name.rsplit('.').next().unwrap_or(name);
        return Diagnostic::new(
            Code::DuplicateColumn,
            format!("two columns are named {name:?}"),
        )
        .at(words.last_place(name))
        .help("give one of them another name with AS");
    }
    if let Some(name) = between(&message, "to satisfy a call to '", "' function") {
        let text = match between(&message, "Failed to coerce arguments", "to satisfy") {
            _ if message.contains("Candidate functions") => message.clone(),
            _ => format!(
                "the arguments of {name} have the wrong types: {}",
                sql_types(&message)
            ),
        };
        let diagnostic = Diagnostic::new(Code::TypeMismatch, text).at(words.place(name).or(span));
        return called_so(diagnostic, name, words);
    }
    if message.contains("Cannot coerce")
        || message.contains("incompatible types")
        || message.contains("Cannot infer common argument type")
        || message.contains("type_coercion")
        || message.contains("No function matches")
    {
        let name = between(
            &message,
            "No function matches the given name and argument types '",
            "(",
        );
        let place = span.or_else(|| name.and_then(|name| words.place(name)));
        // What the function takes is told by its call.
        let text = message.split(". No function matches").next();
        let text = sql_types(&strip_prefixes(text.unwrap_or(&message)));
        let diagnostic = Diagnostic::new(Code::TypeMismatch, text).at(place);
        return match name {
            Some(name) => called_so(diagnostic, name, words),
            None => diagnostic.help("convert one of them: CAST(x AS type)"),
        };
    }
    if let Some(expr) = between(&message, "non-boolean predicate '", "'") {
        let data_type = message.rsplit("returning ").next().unwrap_or_default();
        let text = format!(
            "a condition has to be BOOLEAN, {expr} is {}",
            sql_types(data_type)
        );
        let name = expr.rsplit('.').next().unwrap_or(expr);
        // The last place: the condition stands behind the columns.
        let place = words.last_place(name).or_else(|| words.place("WHERE"));
        return Diagnostic::new(Code::TypeMismatch, text).at(span.or(place));
    }
    if let Some(name) = between(&message, "Unsupported SQL type ", " ").or_else(|| {
        message
            .split_once("Unsupported SQL type ")
            .map(|(_, name)| name)
    }) {
        let text = format!("there is no type {name}");
        let head = name.split('(').next().unwrap_or(name);
        return Diagnostic::new(Code::UnknownType, text)
            .at(words.last_place(head).or(span))
            .help("types are listed in docs/reference.md: TEXT, BIGINT, DOUBLE PRECISION, DECIMAL(p, s), BOOLEAN, TIMESTAMP …");
    }
    if let Some((_, name)) = message.split_once("Invalid qualifier ") {
        let text = format!("there is no relation {name:?} in this query");
        return Diagnostic::new(Code::UnknownRelation, text).at(words.place(name).or(span));
    }
    if message.contains("HAVING clause references") {
        let text = "HAVING is about groups: it takes aggregates and columns of GROUP BY";
        return Diagnostic::new(Code::Grouping, text)
            .at(words.place("HAVING").or(span))
            .help("WHERE filters rows");
    }
    if message.contains("dot access not supported") {
        let name = between(&message, "value: \"", "\"").unwrap_or_default();
        return Diagnostic::new(
            Code::TypeMismatch,
            format!("there is no field {name:?}: what stands before the dot has none"),
        )
        .at(words.last_place(name).or(span))
        .help("only columns of type STRUCT have fields");
    }
    if message.contains("LIMIT") && span.is_none() {
        let text = sql_types(&strip_prefixes(&message));
        return Diagnostic::new(Code::Syntax, text).at(words.last_place("LIMIT"));
    }
    // What a parser's tree looks like inside is nobody's business.
    let message = match [": Identifier(Ident", " Ident {", " Substring {"]
        .iter()
        .find_map(|tree| message.find(tree))
    {
        Some(at) => message[..at].to_owned(),
        None => message,
    };
    let mut diagnostic = Diagnostic::new(
        if message.contains("not implemented")
            || message.contains("not supported")
            || message.contains("Unsupported")
        {
            Code::Unsupported
        } else {
            Code::Syntax
        },
        sql_types(&strip_prefixes(&message)),
    )
    .at(span);
    if let Some(help) = bound.and_then(|bound| bound.helps.first()) {
        diagnostic = diagnostic.help(help.message.clone());
    }
    diagnostic
}

/// An operator as it is written, by the parser's name of it, and what to write instead.
fn operator(name: &str) -> (&str, Option<&'static str>) {
    match name.trim_end_matches(['.', ',']) {
        "PGOverlap" | "&&" => ("&&", Some("AND joins conditions")),
        "Arrow" => ("->", None),
        "LongArrow" => ("->>", None),
        "HashArrow" => ("#>", None),
        "HashLongArrow" => ("#>>", None),
        "AtArrow" => ("@>", None),
        "ArrowAt" => ("<@", None),
        "PGStartsWith" => ("^@", Some("starts_with(text, prefix)")),
        "Xor" | "XOR" => ("XOR", Some("(a OR b) AND NOT (a AND b)")),
        "DoubleAnd" => ("&&", Some("AND joins conditions")),
        other => (other, None),
    }
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().trim().to_owned()
}

fn strip_prefixes(message: &str) -> String {
    let mut text = message.trim();
    for prefix in [
        "Error during planning: ",
        "Execution error: ",
        "Arrow error: ",
        "Cast error: ",
        "Parser error: ",
        "Invalid argument error: ",
        "Compute error: ",
        "This feature is not implemented: ",
        "Schema error: ",
    ] {
        text = text.strip_prefix(prefix).unwrap_or(text);
    }
    let mut text = text.to_owned();
    // Only a plain word begins in lower case: not a name, not an abbreviation.
    let mut chars = text.chars();
    if let (Some(first), Some(second)) = (chars.next(), chars.next())
        && first.is_ascii_uppercase()
        && second.is_ascii_lowercase()
    {
        text.replace_range(..1, &first.to_ascii_lowercase().to_string());
    }
    text
}

/// Arrow's names of types as SQL's.
fn sql_types(message: &str) -> String {
    let mut text = message.to_owned();
    for (arrow, sql) in [
        ("Timestamp(Microsecond, None)", "TIMESTAMP"),
        ("Timestamp(Microsecond, Some(\"UTC\"))", "TIMESTAMPTZ"),
        ("Timestamp(µs)", "TIMESTAMP"),
        ("Timestamp(ns)", "TIMESTAMP"),
        ("Interval(MonthDayNano)", "INTERVAL"),
        ("LargeUtf8", "TEXT"),
        ("Utf8View", "TEXT"),
        ("Utf8", "TEXT"),
        ("BinaryView", "BYTEA"),
        ("Int64", "BIGINT"),
        ("Int32", "INTEGER"),
        ("Int16", "SMALLINT"),
        ("Int8", "TINYINT"),
        ("Float64", "DOUBLE"),
        ("Float32", "REAL"),
        ("Date32", "DATE"),
        ("Time64(µs)", "TIME"),
        ("Boolean", "BOOLEAN"),
    ] {
        text = text.replace(arrow, sql);
    }
    text
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let start = text.find(before)? + before.len();
    let end = text[start..].find(after)? + start;
    Some(&text[start..end])
}
