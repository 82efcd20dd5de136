//! DataFusion's and Arrow's errors as diagnostics, with places in the user's text and names from our catalog.

use datafusion::common::{DataFusionError, SchemaError};

use super::foreign::{Stands, stands_for, type_stands_for};
use super::misuse::{is_jargon, misuse};
use super::refusal::{of_window, refusal, without_help};
use super::types::sql_types;
use super::unknown_column::{column_place, unknown_column};
use super::{Code, Diagnostic, Span, Words};
use crate::functions::functions;

/// The diagnostic that says what `error` means to the author of the statement.
pub(crate) fn translate(error: &DataFusionError, words: &Words) -> Diagnostic {
    let mut diagnostic = meaning(error, words);
    if diagnostic.span.is_none() {
        let message = &diagnostic.message;
        let place = words.quoted_in(message);
        let place = place.or_else(|| words.operator_of(message));
        let place = place.or_else(|| words.place(&words.called_in(message)?));
        // What depends on a row may be anywhere.
        let is_of_rows = diagnostic.code == Code::Row.number() || own(error).is_some();
        let place = place.or_else(|| if is_of_rows { None } else { words.likely() });
        diagnostic = diagnostic.at(place);
    }
    if is_jargon(&diagnostic.message) && own(error).is_none() {
        diagnostic = without_jargon(diagnostic, words);
    }
    match diagnostic.help {
        None => without_help(diagnostic, words),
        Some(_) => of_window(diagnostic, words),
    }
}

/// The same error without words of how this program is made.
fn without_jargon(mut diagnostic: Diagnostic, words: &Words) -> Diagnostic {
    let call = words.first_call();
    diagnostic.message = match call {
        _ if diagnostic.code == Code::Row.number() => "a row cannot be computed".to_owned(),
        Some(name) => format!("{name} does not take these arguments"),
        None if words.place("EXTRACT").is_some() => {
            let help = "EXTRACT(hour FROM ts); CAST(x AS TIMESTAMP) makes a time of a text";
            diagnostic = diagnostic.help(help);
            "EXTRACT takes its part from a time or an interval".to_owned()
        }
        None => "this cannot be computed".to_owned(),
    };
    match call.and_then(|name| words.calls_of(name)) {
        Some(help) if diagnostic.help.is_none() => diagnostic.help(help),
        _ => diagnostic,
    }
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
    let message = root.message();
    if let Some(told) = misuse(&message, span, words).or_else(|| refusal(&message, span, words)) {
        return told;
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

/// Errors that are only text. The texts are DataFusion 55's; whatever is not known passes as it is.
fn planning(
    message: &str,
    bound: Option<&datafusion::common::Diagnostic>,
    span: Option<Span>,
    words: &Words,
) -> Diagnostic {
    let message = first_line(message);
    if let Some(name) = between(&message, "Invalid function '", "'") {
        let place = words.place(name).or(span);
        let is_known = |known: &String| known.eq_ignore_ascii_case(name);
        let is_built_in = functions().any(|known| known.name.eq_ignore_ascii_case(name));
        if is_built_in
            && let Some(written) = hypothetical(name)
            && let Some(at) = words.place("WITHIN")
        {
            let text = format!("{name} of a value that is no row (WITHIN GROUP) does not work yet");
            return Diagnostic::new(Code::Unsupported, text)
                .at(place.or(Some(at)))
                .help(format!("of v in the order of x it is {written}"));
        }
        if is_built_in && words.functions.iter().any(is_known) {
            let text = format!("{name} is a function of OVER");
            return Diagnostic::new(Code::UnknownFunction, text)
                .at(place)
                .help(format!(
                    "{name}(…) OVER (PARTITION BY k ORDER BY ts): over which rows, and in which order"
                ));
        }
        let diagnostic = Diagnostic::new(
            Code::UnknownFunction,
            format!("function {name} does not exist"),
        )
        .at(place);
        if words.functions.iter().any(is_known) {
            return diagnostic
                .note("functions of CREATE FUNCTION are not known in computed columns")
                .help(format!(
                    "call it in a view: CREATE MATERIALIZED VIEW v AS SELECT *, {name}(…) AS c FROM …"
                ));
        }
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
        let help = match words.times("SELECT") {
            0 | 1 => "HAVING filters groups",
            _ => {
                "HAVING filters groups; an aggregate of the query around a subquery is computed below both: FROM (SELECT k, max(x) AS m FROM t GROUP BY k) AS g"
            }
        };
        return Diagnostic::new(Code::Grouping, text)
            .at(words.place("WHERE").or(span))
            .help(help);
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
    if let Some(expr) = between(&message, "non-boolean predicate '", "'") {
        let data_type = message.rsplit("returning ").next().unwrap_or_default();
        let text = format!(
            "a condition has to be BOOLEAN, {} is {}",
            sql_types(expr),
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
        let unknown = Diagnostic::new(Code::UnknownType, text).at(words.last_place(head).or(span));
        if let Some(stands) = type_stands_for(name) {
            return unknown.help(stands);
        }
        return unknown
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
    if message.contains("ot access not supported") {
        let Some(name) = between(&message, "value: \"", "\"") else {
            return Diagnostic::new(Code::Syntax, "a name has to stand behind the dot")
                .at(words
                    .last_place("NULL")
                    .or_else(|| words.sign("."))
                    .or(span))
                .help("one that is a word of SQL stands in double quotes: t.\"null\"");
        };
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
    let message = match [
        ": Identifier(Ident",
        ": Value(ValueWithSpan",
        " Ident {",
        " Substring {",
    ]
    .iter()
    .filter_map(|tree| message.find(tree))
    .min()
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

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let start = text.find(before)? + before.len();
    let end = text[start..].find(after)? + start;
    Some(&text[start..end])
}

/// What a hypothetical-set aggregate is of a value v in the order of x.
fn hypothetical(name: &str) -> Option<&'static str> {
    Some(match name.to_ascii_lowercase().as_str() {
        "rank" => "1 + count(*) FILTER (WHERE x < v)",
        "dense_rank" => "1 + count(DISTINCT x) FILTER (WHERE x < v)",
        "percent_rank" => "count(*) FILTER (WHERE x < v)::DOUBLE / count(*)",
        "cume_dist" => "(1 + count(*) FILTER (WHERE x <= v))::DOUBLE / (1 + count(*))",
        _ => return None,
    })
}
