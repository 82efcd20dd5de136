//! A column that there is not: what was meant, by the columns that there are, and by what stands around its name.

use datafusion::common::Column;

use super::{Code, Diagnostic, Span, Words, nearest};

/// Columns that other systems have by themselves, and what stands for them.
const FOREIGN: &[(&str, &str)] = &[
    (
        "rowtime",
        "the event time is the column that WATERMARK names; INCLUDE timestamp AS c has the time of the record as a column",
    ),
    (
        "proctime",
        "now() in a condition; INCLUDE timestamp AS c has the time of the record as a column",
    ),
    (
        "rownum",
        "LIMIT n takes the first n rows; row_number() OVER (ORDER BY ts) numbers them",
    ),
    ("sysdate", "now()"),
    ("windowstart", WINDOW),
    ("windowend", WINDOW),
    ("rowpartition", "INCLUDE partition AS c"),
    ("rowoffset", "INCLUDE offset AS c"),
    ("_partitiontime", "INCLUDE timestamp AS c"),
];

const WINDOW: &str = "the bounds of a window are window_start and window_end: FROM TUMBLE(t, ts, INTERVAL '1 minute')";

/// Units that other systems take as bare words.
const UNITS: &[&str] = &[
    "second",
    "seconds",
    "minute",
    "minutes",
    "hour",
    "hours",
    "day",
    "days",
    "week",
    "weeks",
    "month",
    "months",
    "quarter",
    "year",
    "years",
    "millisecond",
    "microsecond",
];

/// Keywords that stand where a column can.
const KEYWORDS: &[&str] = &["DISTINCT", "CASE", "NOT", "EXISTS", "INTERVAL", "CAST"];

/// Quotes that word processors write.
const TYPOGRAPHIC: &[char] = &['‘', '’', '‚', '“', '”', '„', '«', '»', '´'];

/// The refusal of `field`, which is none of `valid`.
pub(super) fn unknown_column(
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
        let name = relation.table();
        let place = words.qualifier(name).or_else(|| words.place(name)).or(span);
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
        .map(|column| column.name.as_str())
        // Those are names of ours.
        .filter(|name| !name.starts_with("__"));
    let candidates: Vec<&str> = candidates.collect();
    if field.relation.is_none()
        && let Some(meant) = no_column(&diagnostic, &field.name, &candidates, words)
    {
        return meant;
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

/// What is written like a column, and was not meant as one.
fn no_column(
    diagnostic: &Diagnostic,
    name: &str,
    candidates: &[&str],
    words: &Words,
) -> Option<Diagnostic> {
    let diagnostic = || diagnostic.clone();
    let text = |name: &str| format!("'{}'", name.replace('\'', "''"));
    let is_one = |known: &&str| known.eq_ignore_ascii_case(name);
    if words.is_quoted(name) {
        let quoted = !candidates.iter().any(is_one);
        return quoted.then(|| {
            diagnostic()
                .help("names stand in double quotes, text in single quotes")
                .suggest(text(name))
        });
    }
    if name.starts_with(TYPOGRAPHIC) || name.ends_with(TYPOGRAPHIC) {
        let inner = name.trim_matches(|char| TYPOGRAPHIC.contains(&char));
        return Some(
            diagnostic()
                .help("text stands in straight quotes")
                .suggest(text(inner)),
        );
    }
    if words.is_alias(name) {
        return Some(diagnostic().help(format!(
            "{name} is a name that SELECT gives, and this is computed before: write the expression again, or FROM (SELECT …) AS t WHERE {name} = …"
        )));
    }
    if candidates.is_empty() {
        let of_calls = ["EXTRACT", "TRIM", "SUBSTRING", "OVERLAY"];
        let reads = words.times("FROM") > 0 && !of_calls.iter().any(|word| words.times(word) > 0);
        return Some(match reads {
            true => diagnostic()
                .help("FROM was taken for a name: what stands before it is not complete"),
            false => diagnostic()
                .help("no relation is read here; text stands in single quotes")
                .suggest(text(name)),
        });
    }
    if nearest(name, candidates.iter().copied()).is_some() {
        return None;
    }
    let lower = name.to_lowercase();
    if UNITS.contains(&lower.as_str()) {
        return Some(
            diagnostic()
                .help("the unit of a time is a text")
                .suggest(text(&lower)),
        );
    }
    if let Some((_, help)) = FOREIGN.iter().find(|(known, _)| *known == lower) {
        return Some(diagnostic().help(*help));
    }
    let before_word = words.is_before_word(name);
    let keyword = nearest(name, KEYWORDS.iter().copied()).filter(|_| before_word)?;
    Some(diagnostic().suggest(keyword))
}

pub(super) fn column_place(field: &Column, words: &Words) -> Option<Span> {
    field
        .spans
        .first()
        .and_then(Span::from_bound)
        .or_else(|| words.place(&field.name))
}
