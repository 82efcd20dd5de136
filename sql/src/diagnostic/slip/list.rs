//! Commas and parentheses: one too many, one too few.

use super::{Kind, Slip};
use crate::diagnostic::Diagnostic;

/// Words that end what stands before them.
const ENDS: &[&str] = &[
    "FROM", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "EMIT", "UNION", "JOIN", "ON", "WITH",
    "VALUES", "AS",
];

/// Words behind which something stands in parentheses, and how.
const PARENTHESIZED: &[(&str, &str)] = &[
    ("IN", "IN takes a list: x IN (1, 2)"),
    ("ON", "DISTINCT ON (a, b)"),
    ("USING", "USING (a, b)"),
    ("KEY", "PRIMARY KEY (a, b)"),
    (
        "VALUES",
        "each row stands in parentheses: VALUES (1, 'a'), (2, 'b')",
    ),
    ("OVER", "OVER (PARTITION BY k ORDER BY ts)"),
];

pub(super) fn meant(slip: &Slip<'_>) -> Option<Diagnostic> {
    window_without(slip)
        .or_else(|| before_clause(slip))
        .or_else(|| query_of_with(slip))
        .or_else(|| without_parentheses(slip))
        .or_else(|| closed_without_opening(slip))
        .or_else(|| missing_comma(slip))
}

/// `OVER PARTITION BY …` and `OVER (PARTITION k)`.
fn window_without(slip: &Slip<'_>) -> Option<Diagnostic> {
    let near = (-3..=0).find(|&ahead| {
        slip.word(ahead - 1) == "OVER" && matches!(slip.word(ahead).as_str(), "PARTITION" | "ORDER")
    });
    if let Some(ahead) = near {
        return Some(
            slip.wrong("the window of OVER stands in parentheses")
                .at(slip.place(ahead))
                .help("OVER (PARTITION BY k ORDER BY ts)"),
        );
    }
    let without_by = slip.word(0) == "PARTITION" && slip.word(1) != "BY" && slip.word(-1) == "(";
    without_by.then(|| slip.wrong("PARTITION without BY").suggest("PARTITION BY"))
}

/// A comma before JOIN, or behind the last query of WITH.
fn before_clause(slip: &Slip<'_>) -> Option<Diagnostic> {
    if slip.error.suggestion.is_some() {
        return None;
    }
    let ahead = (-3..=0).find(|&ahead| {
        let begins = matches!(
            slip.word(ahead).as_str(),
            "JOIN" | "LEFT" | "RIGHT" | "INNER" | "FULL" | "CROSS" | "SELECT"
        );
        begins && slip.word(ahead - 1) == "," && slip.word(ahead + 1) != "("
    })?;
    let word = slip.word(ahead);
    Some(
        slip.wrong(format!("a comma too many before {word}"))
            .at(slip.place(ahead - 1))
            .help("take it away")
            .suggest(""),
    )
}

/// `WITH t (SELECT …)`.
fn query_of_with(slip: &Slip<'_>) -> Option<Diagnostic> {
    let opened = slip.opened()?;
    let is_query = matches!(slip.word_of(opened + 1).as_str(), "SELECT" | "VALUES");
    let before = slip.word_of(opened.checked_sub(2)?);
    if !is_query
        || !matches!(before.as_str(), "WITH" | "RECURSIVE" | ",")
        || slip.word_of(0) != "WITH"
    {
        return None;
    }
    let name = slip.tokens[opened - 1].written();
    Some(
        slip.wrong(format!("AS is missing behind {name}"))
            .at(slip.tokens[opened].span)
            .help("WITH name AS (SELECT …) SELECT …")
            .suggest("AS ("),
    )
}

/// What stands in parentheses elsewhere in the statement's language, without them.
fn without_parentheses(slip: &Slip<'_>) -> Option<Diagnostic> {
    let message = &slip.error.message;
    let wants = [
        "expected (",
        "expected '('",
        "expected a list of columns in parentheses",
    ];
    if !wants.iter().any(|start| message.starts_with(start)) {
        return None;
    }
    let before = slip.word(-1);
    let (_, help) = PARENTHESIZED.iter().find(|(word, _)| *word == before)?;
    let found = slip.token(0).filter(|token| token.kind != Kind::Sign)?;
    let wrong = slip
        .wrong(format!("( is missing behind {before}"))
        .help(*help);
    let is_single = slip.word(1) != "," && slip.word(1) != ".";
    Some(match is_single {
        true => wrong.suggest(format!("({})", found.written())),
        false => wrong,
    })
}

/// A closing parenthesis of nothing.
fn closed_without_opening(slip: &Slip<'_>) -> Option<Diagnostic> {
    (slip.word(0) == ")" && slip.is_behind_the_end()).then(|| {
        slip.wrong("a ) without a ( before it")
            .help("take it away")
            .suggest("")
    })
}

/// Two things of a list side by side.
fn missing_comma(slip: &Slip<'_>) -> Option<Diagnostic> {
    let found = slip.token(0)?;
    if slip.word(0) == "(" && slip.word(-1) == ")" && slip.is_behind_the_end() {
        let is_row = slip.word_of(0) == "INSERT" || slip.word_of(0) == "VALUES";
        return Some(match is_row {
            true => slip
                .wrong("a comma is missing between two rows")
                .help("VALUES (1, 'a'), (2, 'b')")
                .suggest(", ("),
            false => slip.wrong("a call has one pair of parentheses").help(
                "percentile_cont(0.9) WITHIN GROUP (ORDER BY x) takes parameters apart from values",
            ),
        });
    }
    if found.kind == Kind::Sign || !slip.wants_parenthesis() {
        return None;
    }
    let word = slip.word(0);
    if ENDS.contains(&word.as_str()) || super::form::is_of_column(&word) {
        return None;
    }
    let written = found.written();
    let slipped = slip.error.suggestion.is_some();
    (!slipped).then(|| {
        slip.wrong(format!("a comma is missing before {written}"))
            .help("or a ), if it is not one more of the list")
            .suggest(format!(", {written}"))
    })
}

/// A parenthesis that is open where a clause begins or the statement ends.
pub(super) fn left_open(slip: &Slip<'_>) -> Option<Diagnostic> {
    if !slip.wants_parenthesis() {
        return None;
    }
    let word = slip.word(0);
    let is_end = slip.token(0).is_none() || word == ";";
    if !is_end && !ENDS.contains(&word.as_str()) {
        return None;
    }
    let opened = slip.opened()?;
    let of = match slip.tokens.get(opened.wrapping_sub(1)) {
        Some(token) if token.kind == Kind::Word || token.kind == Kind::Quoted => {
            format!("the ( behind {}", token.written())
        }
        _ => format!("the ( in column {}", slip.tokens[opened].span.start.column),
    };
    let wrong = match is_end {
        true => slip.wrong(format!("{of} is not closed")),
        false => slip.wrong(format!("{of} is not closed before {word}")),
    };
    Some(match is_end {
        true => wrong.help("a ) is missing"),
        false => wrong
            .help("a ) is missing")
            .suggest(format!(") {}", slip.token(0)?.written())),
    })
}
