//! Operators and functions that do not take what they are given: DataFusion's texts about them as ours.
//!
//! | DataFusion says | we say |
//! |---|---|
//! | an operator between two types | `TEXT + BIGINT does not exist` |
//! | a function of these types | `sum(TEXT) does not exist` |
//! | a function of so many arguments | `upper takes 1 argument, not 3` |
//! | what a function takes | `upper takes texts, not BIGINT` |
//!
//! The place is that of the operator or the function, and the help how it is written.

use super::types::{sql_type, sql_types, types_in};
use super::{Code, Diagnostic, Span, Words};

/// PostgreSQL's SQLSTATE where no function or operator takes these types.
const UNDEFINED: &str = "42883";

/// What DataFusion calls what it wants or has, and what that is. Longer ones first.
const KINDS: &[(&str, &str)] = &[
    ("Numeric", "numbers"),
    ("numeric", "numbers"),
    ("Integer", "integers"),
    ("integer", "integers"),
    ("String", "texts"),
    ("Binary", "bytes"),
    ("Timestamp", "times"),
    ("Interval", "intervals"),
    ("Map", "maps"),
    ("List", "arrays"),
    ("list", "arrays"),
    ("array", "arrays"),
    ("Array", "arrays"),
];

/// What is wrong, if a message of DataFusion's says that something does not take what it is given.
pub(super) fn misuse(message: &str, span: Option<Span>, words: &Words) -> Option<Diagnostic> {
    let message = message.lines().next().unwrap_or_default();
    of_operator(message, span, words)
        .or_else(|| of_sign(message, span, words))
        .or_else(|| of_construct(message, span, words))
        .or_else(|| of_function(message, span, words))
}

/// That something does not exist for these types.
fn missing(what: impl std::fmt::Display) -> Diagnostic {
    let mut diagnostic = Diagnostic::new(Code::TypeMismatch, format!("{what} does not exist"));
    diagnostic.sqlstate = UNDEFINED.to_owned();
    diagnostic
}

/// `Cannot … operation LEFT SIGN RIGHT`.
fn of_operator(message: &str, span: Option<Span>, words: &Words) -> Option<Diagnostic> {
    if !message.starts_with("Cannot ") {
        return None;
    }
    let at = [" operation ", " expression "]
        .iter()
        .find_map(|before| message.find(before).map(|at| at + before.len()))?;
    let parts = split_outside(&message[at..], ' ');
    let parts: Vec<&str> = parts.into_iter().take_while(|part| *part != "to").collect();
    let (left, rest) = parts.split_first()?;
    // What follows a colon is what Arrow says of it.
    let end = rest.iter().position(|part| part.ends_with(':'));
    let rest = &rest[..end.map_or(rest.len(), |end| end + 1)];
    let (right, sign) = rest.split_last()?;
    let sign = written(&sign.join(" "));
    let right = right.trim_end_matches(':');
    let (left, right) = (sql_type(left)?, sql_type(right)?);
    Some(between_types(&left, &sign, &right, span, words))
}

/// A sign as SQL has it, by DataFusion's name of it.
fn written(sign: &str) -> String {
    match sign {
        "BIT_XOR" => "#".to_owned(),
        "LikeMatch" | "~~" => "LIKE".to_owned(),
        "ILikeMatch" | "~~*" => "ILIKE".to_owned(),
        other => other.to_owned(),
    }
}

/// That there is no such operator between two types.
fn between_types(
    left: &str,
    sign: &str,
    right: &str,
    span: Option<Span>,
    words: &Words,
) -> Diagnostic {
    let place = words.operator(sign).or(span);
    missing(format!("{left} {sign} {right}"))
        .at(place)
        .help(operator_help(left, sign, right))
}

/// What to write instead.
fn operator_help(left: &str, sign: &str, right: &str) -> String {
    let is_time = |name: &str| name.starts_with("TIMESTAMP") || matches!(name, "DATE" | "TIME");
    let has = |wanted: &str| left == wanted || right == wanted;
    match sign {
        _ if has("JSON") => {
            "take its value, CAST(x AS BIGINT), or that of a field: x ->> 'field'".to_owned()
        }
        "+" | "-" if is_time(left) || is_time(right) => {
            "a time moves by an interval: ts + INTERVAL '1 hour'".to_owned()
        }
        "+" if has("TEXT") => "|| joins texts; CAST(x AS BIGINT) makes a number of one".to_owned(),
        "LIKE" | "ILIKE" | "NOT LIKE" | "NOT ILIKE" | "SIMILAR TO" | "~" | "~*" | "!~" | "!~*" => {
            let sign = sign.strip_prefix("NOT ").unwrap_or(sign);
            format!("it compares texts: CAST(x AS TEXT) {sign} '…'")
        }
        "&" | "|" | "#" | "<<" | ">>" => "it takes integers: CAST(x AS BIGINT)".to_owned(),
        "AND" | "OR" => "it joins conditions: x = 1, x IS NOT NULL".to_owned(),
        "||" => "it joins texts: CAST(x AS TEXT)".to_owned(),
        _ => "convert one of them: CAST(x AS type)".to_owned(),
    }
}

/// A sign before one value.
fn of_sign(message: &str, span: Option<Span>, words: &Words) -> Option<Diagnostic> {
    if message.contains("unary operator BitwiseNot") {
        let refused = Diagnostic::new(Code::Unsupported, "operator ~ is not available");
        return Some(
            refused
                .at(words.sign("~").or(span))
                .help("of an integer it is - x - 1"),
        );
    }
    let (sign, takes, help) = if message.contains("operator 'NOT' requires") {
        ("NOT", "a condition", "a condition is BOOLEAN: NOT x = 1")
    } else if message.starts_with("Negation only supports") || message.contains("operator '-'") {
        (
            "-",
            "numbers and intervals",
            "convert it: CAST(x AS BIGINT)",
        )
    } else if message.contains("operator '+'") {
        (
            "+",
            "numbers and intervals",
            "leave it out, or convert: CAST(x AS BIGINT)",
        )
    } else {
        return None;
    };
    let given = message.rsplit("got ").next().and_then(sql_type);
    let given = given.map_or_else(String::new, |given| format!(", not {given}"));
    let message = format!("{sign} takes {takes}{given}");
    let place = words.operator(sign).or(span);
    Some(
        Diagnostic::new(Code::TypeMismatch, message)
            .at(place)
            .help(help),
    )
}

/// LIKE, BETWEEN, IN, CASE, UNION, CAST: what is written in words.
fn of_construct(message: &str, span: Option<Span>, words: &Words) -> Option<Diagnostic> {
    let convert = "convert one of them: CAST(x AS type)";
    let wrong = |text: String, word: &str| {
        let place = words.place(word).or(span);
        let diagnostic = Diagnostic::new(Code::TypeMismatch, text).at(place);
        Some(diagnostic.help(convert))
    };
    if let Some((_, rest)) = message.split_once("a common type to coerce ") {
        let (types, sign) = rest.split_once(" in ")?;
        let sign = sign.strip_suffix(" expression").unwrap_or(sign);
        let (left, right) = types.split_once(" and ")?;
        let (left, right) = (sql_type(left)?, sql_type(right)?);
        return Some(between_types(
            &left,
            sign,
            &right,
            words.place(sign).or(span),
            words,
        ));
    }
    if message.contains("in BETWEEN expression") {
        let types = types_in(message);
        let text = format!("{} does not exist", types.join(" BETWEEN "));
        return wrong(text, "BETWEEN");
    }
    if let Some((_, rest)) = message.split_once("types to compare ") {
        let (left, list) = rest.split_once(" with [")?;
        let left = sql_type(left)?;
        let mut others = types_in(list);
        others.retain(|other| *other != left && other != "NULL");
        others.dedup();
        let others = others.join(", ");
        return wrong(format!("{left} IN ({others}) does not exist"), "IN");
    }
    for (end, before) in [
        ("in InSubquery", "IN (SELECT "),
        ("in SetComparison", "= ANY (SELECT "),
    ] {
        if message.contains(end) {
            let types = types_in(message);
            let text = format!("{}) does not exist", types.join(&format!(" {before}")));
            return wrong(text, "SELECT");
        }
    }
    if message.contains("in CASE WHEN expression") {
        let mut types = types_in(message);
        types.sort_unstable();
        types.dedup();
        types.retain(|name| name != "NULL");
        let types = types.join(", ");
        return match message.contains("coerce case") {
            true => wrong(
                format!("CASE compares values of different types: {types}"),
                "CASE",
            ),
            false => wrong(
                format!("the values of CASE are of different types: {types}"),
                "CASE",
            ),
        };
    }
    if message.contains("ncompatible inputs for Union") {
        let types = types_in(message).join(" in one query, ");
        let (_, column) = message.split_once("on column ")?;
        let column = sql_types(column.trim_matches('\''));
        return wrong(
            format!("column {column} of UNION is {types} in the other"),
            "UNION",
        );
    }
    if let Some((_, rest)) = message.split_once("Cannot automatically convert ")
        && let [from, to, ..] = types_in(rest).as_slice()
    {
        let text = match to.as_str() {
            "BOOLEAN" => format!("a condition has to be BOOLEAN, not {from}"),
            to => format!("{from} does not become {to} by itself"),
        };
        return wrong(text, "CASE");
    }
    for cast in [
        "nsupported CAST from ",
        "nsupported TRY_CAST from ",
        "Cannot cast ",
        "Casting from ",
    ] {
        if let Some((_, rest)) = message.split_once(cast)
            && let Some((from, to)) = rest.split_once(" to ")
            && let Some(to) = split_outside(to, ' ').first()
            && let (Some(from), Some(to)) = (sql_type(from), sql_type(to))
        {
            let text = format!("{from} cannot be cast to {to}");
            let place = words
                .place("CAST")
                .or_else(|| words.operator("::"))
                .or(span);
            let diagnostic = Diagnostic::new(Code::TypeMismatch, text).at(place);
            return Some(
                diagnostic.help("TEXT lies between most types: CAST(CAST(x AS TEXT) AS type)"),
            );
        }
    }
    if let Some((_, rest)) = message.split_once(" must be boolean type, but got ") {
        let text = format!("a condition has to be BOOLEAN, not {}", sql_types(rest));
        return wrong(text, "ON");
    }
    None
}

/// A call that its function does not take.
fn of_function(message: &str, span: Option<Span>, words: &Words) -> Option<Diagnostic> {
    let about_calls = [
        "unction '",
        "' does not support zero arguments",
        "No function matches",
        " does not support type ",
        " was called with ",
        "to satisfy a call to",
        "Substring without",
        "support Literal types",
        " not supported for n: ",
        "upport for '",
        "in/Max accumulator",
        "supported arrow type name",
        "must have at least one argument",
        "expected at least one argument",
    ];
    // One that there is not is no misuse.
    let unknown = message.contains("Invalid function '");
    if unknown || !about_calls.iter().any(|text| message.contains(text)) {
        return None;
    }
    let called = words.called_in(message);
    let sign = match &called {
        None if message.contains("'array_element") => "[",
        _ => "",
    };
    if let Some(place) = words.sign(sign) {
        let given = types_in(message).into_iter().next().unwrap_or_default();
        return Some(
            missing(format!("{given}[…]"))
                .at(place)
                .help("arrays, maps and JSON have elements"),
        );
    }
    let name = called.as_deref().or_else(|| words.first_call())?;
    let diagnostic = what_it_takes(message, name)?.at(words.place(name).or(span));
    Some(match words.calls_of(name) {
        Some(call) => diagnostic.help(call),
        None => diagnostic.help("convert the arguments: CAST(x AS type)"),
    })
}

fn what_it_takes(message: &str, name: &str) -> Option<Diagnostic> {
    let wrong = |text: String| {
        let mut diagnostic = Diagnostic::new(Code::TypeMismatch, text);
        diagnostic.sqlstate = UNDEFINED.to_owned();
        Some(diagnostic)
    };
    if let Some((_, reason)) = message.split_once("user-defined coercion failed with: ") {
        let reason = reason.split(". No function").next().unwrap_or(reason);
        let reason = reason
            .rsplit_once(": ")
            .map_or(reason, |(_, reason)| reason);
        // Functions of ours say it themselves.
        if reason.starts_with(&format!("{name} takes ")) {
            return wrong(sql_types(reason));
        }
    }
    if message.contains("zero arguments") || message.contains("at least one argument") {
        return wrong(format!("{name} takes arguments, here are none"));
    }
    if message.contains("Substring without") {
        return wrong(format!("{name} takes 2 arguments or more, not 1"));
    }
    if message.contains("support Literal types") {
        return wrong(format!("{name} takes constants behind its first argument"));
    }
    if message.contains("supported arrow type name") {
        return wrong(format!(
            "{name} takes the name of an Arrow type: 'Int64', 'Utf8'"
        ));
    }
    if message.contains(" not supported for n: ") {
        return wrong(format!("{name} takes an integer as its second argument"));
    }
    if let Some((wanted, given)) = counts(message) {
        let s = if wanted == "1" { "" } else { "s" };
        return wrong(format!("{name} takes {wanted} argument{s}, not {given}"));
    }
    let listed = [
        ("given name and argument types '", "'."),
        (": coercion from ", " to the signature"),
    ];
    for (before, after) in listed {
        let Some((_, rest)) = message.split_once(before) else {
            continue;
        };
        let types = rest.split(after).next().unwrap_or(rest);
        let types = types
            .split_once('(')
            .filter(|_| after == "'.")
            .map_or(types, |(_, types)| types.strip_suffix(')').unwrap_or(types));
        let types = split_outside(types, ',').into_iter();
        let types: Vec<String> = types
            .map(|name| sql_type(name).unwrap_or_else(|| sql_types(name)))
            .collect();
        return Some(missing(format!("{name}({})", types.join(", "))));
    }
    let given = [
        "but received ",
        "but got ",
        "DataType: ",
        "does not support type ",
    ]
    .iter()
    .find_map(|before| types_in(message.rsplit_once(before)?.1).into_iter().next())
    .or_else(|| types_in(message).into_iter().next_back());
    let wanted = message.split_once("expects ").and_then(|(_, wanted)| {
        let mut kinds = KINDS.iter().filter(|(kind, _)| wanted.starts_with(kind));
        kinds.next().map(|(_, kind)| *kind)
    });
    match (wanted, given) {
        (Some(wanted), Some(given)) => wrong(format!("{name} takes {wanted}, not {given}")),
        (Some(wanted), None) => wrong(format!("{name} takes {wanted}")),
        (None, Some(given)) => Some(missing(format!("{name}({given})"))),
        (None, None) => wrong(format!("{name} does not take these arguments")),
    }
}

/// How many arguments a message says that there have to be, and how many there are.
fn counts(message: &str) -> Option<(String, String)> {
    let first_word = |text: &str| -> Option<String> {
        let word = text.split(' ').next()?.trim_end_matches(['.', ',']);
        let word = match word {
            "zero" => "0",
            "one" => "1",
            "two" => "2",
            "three" => "3",
            word => word,
        };
        word.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| word.to_owned())
    };
    if let Some((_, rest)) = message.split_once(" was called with ") {
        let (_, wanted) = rest.split_once("requires only ")?;
        return Some((first_word(wanted)?, first_word(rest)?));
    }
    let ends = ["but received ", "but got ", ", got "];
    let (before, given) = ends.iter().find_map(|end| message.split_once(end))?;
    let starts = ["expects ", "expected ", "requires ", "takes "];
    let wanted = starts.iter().find_map(|start| before.rsplit_once(start))?.1;
    let wanted = wanted.strip_prefix("exactly ").unwrap_or(wanted);
    wanted
        .contains("argument")
        .then(|| Some((first_word(wanted)?, first_word(given)?)))?
}

/// Whether a text speaks of how this program is made.
pub(super) fn is_jargon(text: &str) -> bool {
    const JARGON: &[&str] = &[
        "Arrow",
        "DataFusion",
        "DataType",
        "ScalarValue",
        "ColumnarValue",
        "Signature",
        "signature",
        "coerc",
        "Utf8",
        "UInt",
        "Float64",
        "Int64",
        "Int32",
        "UDF",
        "udf",
        "Some(",
        "Ident",
        "downcast",
        "nternal error",
        "bug in",
        "user-defined",
        "::",
        "ListArray",
        "StringArray",
        "logical plan",
        "physical",
        "kernel",
        "lambda",
    ];
    JARGON.iter().any(|word| text.contains(word))
}

/// A text cut at a character that stands outside of all parentheses.
fn split_outside(text: &str, at: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (place, char) in text.char_indices() {
        match char {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            char if char == at && depth == 0 => {
                parts.push(text[start..place].trim());
                start = place + char.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts
}
