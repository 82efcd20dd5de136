//! What DataFusion parses and does not carry out, and what a value is not: its texts as ours, with what to write instead.

use super::types::sql_types;
use super::{Code, Diagnostic, Span, Words, nearest};

/// Units of an interval.
const UNITS: &[&str] = &[
    "milliseconds",
    "seconds",
    "second",
    "minutes",
    "minute",
    "hours",
    "hour",
    "days",
    "day",
    "weeks",
    "week",
    "months",
    "month",
    "years",
    "year",
];

/// The refusal that a message of DataFusion's is, if it is one of these.
pub(super) fn refusal(message: &str, span: Option<Span>, words: &Words) -> Option<Diagnostic> {
    let unsupported = |text: &str| Diagnostic::new(Code::Unsupported, text.to_owned());
    if message.contains("ANY in LIKE") || message.contains("ANY in ILIKE") {
        let place = words.operator("ANY").or_else(|| words.operator("SOME"));
        return Some(
            unsupported("LIKE ANY is not available")
                .at(place.or(span))
                .help(
                    "x LIKE 'a%' OR x LIKE 'b%'; a regular expression takes several: x ~ '^(a|b)'",
                ),
        );
    }
    if message.contains("sqltorel: Convert") {
        return Some(
            unsupported("CONVERT is not available")
                .at(words.place("CONVERT").or(span))
                .help("CAST(x AS type)"),
        );
    }
    if message.contains("DoubleAt") {
        return Some(
            unsupported("variables with @@ are not available")
                .at(words.sign("@@").or(span))
                .help("version() tells the version"),
        );
    }
    if let Some((_, rest)) = message.split_once("laceholder '")
        && let Some((name, _)) = rest.split_once('\'')
    {
        return Some(
            unsupported(&format!("{name} stands for a value that nobody gives"))
                .at(words
                    .sign(name)
                    .or_else(|| words.place(name.trim_start_matches([':', '$', '@'])))
                    .or(span))
                .help("write the value into the statement"),
        );
    }
    if let Some((_, rest)) = message.split_once("annot access field at argument ")
        && let Some((_, rest)) = rest.split_once("type ")
    {
        let of = rest.split(" is not ").next().unwrap_or(rest);
        let text = format!("{} has no fields", sql_types(of));
        return Some(
            Diagnostic::new(Code::TypeMismatch, text)
                .at(words.sign(".").or(span))
                .help("STRUCT has fields, as s.field; JSON too, as j ->> 'field'; before the dot may also stand a relation"),
        );
    }
    if let Some((_, columns)) = message.split_once("subquery should only return one column: ") {
        let count = columns.split(", ").count();
        let text = format!("a subquery in the place of a value has one column, this has {count}");
        return Some(
            Diagnostic::new(Code::Syntax, text)
                .at(span)
                .help("name the one that is meant; EXISTS (SELECT …) compares more than one"),
        );
    }
    for clause in ["LIMIT", "OFFSET"] {
        let is_it = message.contains(&format!("{clause} must be >= 0"))
            || message.contains(&format!("{clause} to be an integer"));
        if is_it {
            let found = words.literal_behind(clause);
            let place = found.map(|(_, place)| *place);
            return Some(
                Diagnostic::new(
                    Code::Syntax,
                    format!("{clause} takes a whole number, 0 or more"),
                )
                .at(place.or_else(|| words.last_place(clause)).or(span)),
            );
        }
    }
    None
}

/// A window of arguments in another order: what should be a relation stands in the first place.
pub(super) fn of_window(diagnostic: Diagnostic, words: &Words) -> Diagnostic {
    let is_unknown = diagnostic.code == Code::UnknownRelation.number();
    let place = diagnostic
        .span
        .filter(|_| is_unknown && diagnostic.suggestion.is_none());
    let Some(window) = place.and_then(|place| words.window_around(place)) else {
        return diagnostic;
    };
    let arguments = match window.as_str() {
        "HOP" => "(t, ts, INTERVAL '5 minutes', INTERVAL '1 hour')",
        "CUMULATE" => "(t, ts, INTERVAL '1 hour', INTERVAL '1 day')",
        _ => "(t, ts, INTERVAL '1 hour')",
    };
    diagnostic.help(format!(
        "the relation stands first, then its time: {window}{arguments}"
    ))
}

/// What helps where the message alone stands.
pub(super) fn without_help(diagnostic: Diagnostic, words: &Words) -> Diagnostic {
    let message = &diagnostic.message;
    if let Some((_, text)) = message.split_once("invalid input syntax for type interval: ") {
        let parts = text.trim_matches('"').split(' ');
        let letters = |char: char| char.is_ascii_alphabetic();
        let mut units = parts.filter(|part| part.len() > 2 && part.chars().all(letters));
        let wrong = units.find(|unit| !UNITS.iter().any(|known| known.eq_ignore_ascii_case(unit)));
        let near = wrong.and_then(|unit| Some((unit, nearest(unit, UNITS.iter().copied())?)));
        let help =
            "units are second, minute, hour, day, week, month and year: INTERVAL '1 day 2 hours'";
        return match near {
            Some((unit, near)) => {
                let repaired = text.trim_matches('"').replace(unit, near);
                diagnostic.suggest(format!("'{repaired}'"))
            }
            None => diagnostic.help(help),
        };
    }
    if let Some((_, rest)) = message.split_once("cannot cast string '")
        && let Some((_, rest)) = rest.split_once(" to value of ")
        && let Some(name) = rest.strip_suffix(" type")
        && words.times("INSERT") == 0
    {
        let help = format!("TRY_CAST(x AS {name}) is NULL where a text is no {name}");
        return diagnostic.help(help);
    }
    diagnostic
}
