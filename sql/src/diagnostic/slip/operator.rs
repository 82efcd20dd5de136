//! Signs and words between values: those of other languages, and values where an operator takes something else.

use super::{Kind, Slip};
use crate::diagnostic::Diagnostic;

/// Words that compare elsewhere, and how it is written here.
const WORDS: &[(&str, &str)] = &[
    ("CONTAINS", "x LIKE '%part%', or strpos(x, 'part') > 0"),
    (
        "STARTSWITH",
        "x LIKE 'part%', or starts_with(x, 'part'), or x ^@ 'part'",
    ),
    ("STARTS", "x LIKE 'part%', or starts_with(x, 'part')"),
    ("ENDSWITH", "x LIKE '%part'"),
    ("ENDS", "x LIKE '%part'"),
    ("MATCHES", "x ~ 'regular expression'"),
    ("GLOB", "x LIKE 'part%': % is any text, _ one character"),
    ("EQUALS", "x = y"),
];

pub(super) fn meant(slip: &Slip<'_>) -> Option<Diagnostic> {
    of_sign(slip)
        .or_else(|| comma_of_conditions(slip))
        .or_else(|| after_is(slip))
        .or_else(|| between(slip))
        .or_else(|| quantified(slip))
        .or_else(|| colon(slip))
        .or_else(|| of_word(slip))
}

/// A sign that there is not, or one twice.
fn of_sign(slip: &Slip<'_>) -> Option<Diagnostic> {
    let before = slip.word(-1);
    let found = slip.word(0);
    let both = || Some(slip.place(-1)?.to(slip.place(0)?));
    if slip.error.message.starts_with("expected '='") {
        let assigns = matches!(found.as_str(), ":" | "==" | ":=" | "=>");
        return assigns.then(|| {
            let text = format!("= stands here, not {found}");
            slip.wrong(text).suggest("=")
        });
    }
    match (before.as_str(), found.as_str()) {
        (_, "=>") if slip.is_behind_the_end() => Some(
            slip.wrong("there is no operator => between values")
                .suggest(">="),
        ),
        ("=", "<" | ">") => {
            let text = format!("there is no operator ={found}");
            Some(slip.wrong(text).at(both()).suggest(format!("{found}=")))
        }
        ("=" | "==", "=" | "==") => Some(
            slip.wrong("one = compares, here are more")
                .at(both())
                .suggest("="),
        ),
        ("NOT", "=") => Some(
            slip.wrong("NOT stands before a whole condition")
                .at(both())
                .suggest("<>"),
        ),
        (_, "NOT") if slip.word(1) == "=" => {
            let place = slip.place(0)?.to(slip.place(1)?);
            let wrong = slip.wrong("NOT stands before a whole condition");
            Some(wrong.at(place).suggest("<>"))
        }
        (_, "[") => Some(
            slip.wrong("a name cannot stand in brackets")
                .help("names stand in double quotes, if they need any: \"name\""),
        ),
        _ => None,
    }
}

/// `WHERE a = 1, b = 2`.
fn comma_of_conditions(slip: &Slip<'_>) -> Option<Diagnostic> {
    if slip.word(0) != "," || !slip.is_behind_the_end() {
        return None;
    }
    let clause = slip.clauses().last().map(|(name, _)| *name)?;
    matches!(clause, "WHERE" | "HAVING" | "QUALIFY").then(|| {
        slip.wrong(format!("conditions of {clause} have no comma between them"))
            .help("AND joins conditions of which all hold, OR such of which one does")
            .suggest(" AND")
    })
}

/// `x IS 'a'`.
fn after_is(slip: &Slip<'_>) -> Option<Diagnostic> {
    let is_value = matches!(
        slip.kind(0),
        Some(Kind::Text | Kind::Number | Kind::Quoted | Kind::Word)
    );
    let is_negated = slip.word(-1) == "NOT" && slip.word(-2) == "IS";
    if !is_value || !(slip.word(-1) == "IS" || is_negated) {
        return None;
    }
    let (place, sign) = match is_negated {
        true => (slip.place(-2)?.to(slip.place(-1)?), "<>"),
        false => (slip.place(-1)?, "="),
    };
    Some(
        slip.wrong("IS takes NULL, TRUE, FALSE or DISTINCT FROM a value")
            .at(place)
            .help(format!("{sign} compares with a value"))
            .suggest(sign),
    )
}

/// `x BETWEEN 1 TO 5`.
fn between(slip: &Slip<'_>) -> Option<Diagnostic> {
    let found = slip.word(0);
    let near = (-5..0).any(|ahead| slip.word(ahead) == "BETWEEN");
    let replacement = match found.as_str() {
        "TO" => "AND",
        "," => " AND",
        _ => return None,
    };
    near.then(|| {
        slip.wrong(format!("BETWEEN has no {found} between its bounds"))
            .help("x BETWEEN 1 AND 5")
            .suggest(replacement)
    })
}

/// `x > ALL (1, 2)`.
fn quantified(slip: &Slip<'_>) -> Option<Diagnostic> {
    if slip.word(0) != "," {
        return None;
    }
    let opened = slip.opened()?;
    let word = slip.word_of(opened.checked_sub(1)?);
    let list = slip.tokens[opened + 1..slip.at].iter();
    let first: String = list.map(super::Token::written).collect();
    matches!(word.as_str(), "ALL" | "ANY" | "SOME").then(|| {
        slip.wrong(format!(
            "{word} takes an array or a subquery, not a list of values"
        ))
        .help(format!("{word} (ARRAY[{first}, …])"))
    })
}

/// Snowflake's `data:field`, and C's `x ? 1 : 2`.
fn colon(slip: &Slip<'_>) -> Option<Diagnostic> {
    if slip.word(0) != ":" || !slip.is_behind_the_end() {
        return None;
    }
    let asks = (-12..0).any(|ahead| slip.word(ahead) == "?");
    Some(match asks {
        true => slip
            .wrong("there is no operator ? :")
            .help("CASE WHEN condition THEN x ELSE y END"),
        false => slip
            .wrong("there is no operator :")
            .help("a field of JSON: j ->> 'field' is its text, j -> 'field' its JSON; one of a STRUCT: s.field"),
    })
}

fn of_word(slip: &Slip<'_>) -> Option<Diagnostic> {
    if !slip.is_behind_the_end() {
        return None;
    }
    // The parser may have taken the word for an alias, and stopped at the value.
    let is_value = matches!(slip.kind(0), Some(Kind::Text | Kind::Word | Kind::Number));
    for ahead in [0, -1] {
        let word = slip.word(ahead);
        let known = WORDS.iter().find(|(name, _)| *name == word);
        if let Some((name, help)) = known.filter(|_| ahead == 0 || is_value) {
            let wrong = slip.wrong(format!("there is no operator {name}"));
            return Some(wrong.at(slip.place(ahead)).help(*help));
        }
    }
    None
}
