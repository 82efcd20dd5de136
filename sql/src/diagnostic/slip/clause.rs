//! Clauses of a query: their order, those of other systems, and words that the parser took for names.

use super::{Kind, Slip};
use crate::diagnostic::{Code, Diagnostic};

/// The clauses in the order in which a query has them: first word, name, and what to write where there are two.
const ORDER: &[(&str, &str, &str)] = &[
    ("SELECT", "SELECT", ""),
    (
        "FROM",
        "FROM",
        "a comma or a JOIN puts relations beside each other",
    ),
    ("WHERE", "WHERE", "AND joins conditions"),
    (
        "GROUP",
        "GROUP BY",
        "commas stand between what groups are made by",
    ),
    ("HAVING", "HAVING", "AND joins conditions"),
    ("QUALIFY", "QUALIFY", "AND joins conditions"),
    (
        "ORDER",
        "ORDER BY",
        "commas stand between what rows are ordered by",
    ),
    ("LIMIT", "LIMIT", "leave one of them out"),
    ("OFFSET", "OFFSET", "leave one of them out"),
    ("EMIT", "EMIT", "leave one of them out"),
];

const IN_ORDER: &str =
    "SELECT … FROM … JOIN … ON … WHERE … GROUP BY … HAVING … ORDER BY … LIMIT … EMIT CHANGES";

/// Words that begin a JOIN.
const JOINS: &[&str] = &["JOIN", "LEFT", "RIGHT", "INNER", "FULL", "CROSS"];

/// Clauses of other systems, and what stands for them.
const FOREIGN: &[(&str, &str)] = &[
    (
        "SETTINGS",
        "SET name = 'value' before it; \\h SET lists what there is",
    ),
    (
        "FORMAT",
        "thalweg sql -o table, json or csv says how rows are printed",
    ),
    ("PREWHERE", "WHERE does the same"),
    (
        "SAMPLE",
        "LIMIT n takes some rows; WHERE random() < 0.1 about each tenth",
    ),
    (
        "DISTRIBUTE",
        "rows lie by their key: the first columns of GROUP BY",
    ),
    (
        "CLUSTER",
        "rows lie by their key: the first columns of GROUP BY",
    ),
    ("SORT", "ORDER BY a, b"),
    (
        "PIVOT",
        "an aggregate with FILTER makes a column: sum(x) FILTER (WHERE k = 'a') AS a",
    ),
    ("UNPIVOT", "UNION ALL puts columns below each other"),
    (
        "INTO",
        "CREATE MATERIALIZED VIEW name AS SELECT … keeps an answer; INSERT INTO t SELECT … writes it",
    ),
];

pub(super) fn meant(slip: &Slip<'_>) -> Option<Diagnostic> {
    from_first(slip)
        .or_else(|| case(slip))
        .or_else(|| reserved(slip))
        .or_else(|| exists(slip))
        .or_else(|| as_of(slip))
        .or_else(|| join_word(slip))
        .or_else(|| within(slip))
        .or_else(|| emit_on(slip))
        .or_else(|| limit(slip))
        .or_else(|| out_of_order(slip))
        .or_else(|| foreign(slip))
}

impl Slip<'_> {
    /// The clauses of the query that the parser was in, first to last: their names and their places among the tokens.
    pub(super) fn clauses(&self) -> Vec<(&'static str, usize)> {
        let mut found = Vec::new();
        let mut depth = 0_usize;
        for index in (0..self.at.min(self.tokens.len())).rev() {
            let word = self.word_of(index);
            match word.as_str() {
                ")" => depth += 1,
                "(" if depth == 0 => break,
                "(" => depth -= 1,
                "UNION" | "INTERSECT" | "EXCEPT" if depth == 0 => break,
                _ if depth > 0 => {}
                word => {
                    let clause = ORDER.iter().find(|(first, ..)| *first == word);
                    found.extend(clause.map(|(_, name, _)| (*name, index)));
                    if word == "SELECT" {
                        break;
                    }
                }
            }
        }
        found.reverse();
        found
    }
}

/// DuckDB's `FROM t SELECT a`.
fn from_first(slip: &Slip<'_>) -> Option<Diagnostic> {
    if slip.at != 0 || slip.word(0) != "FROM" {
        return None;
    }
    let wrong = Diagnostic::new(Code::Syntax, "a query begins with SELECT").at(slip.place(0));
    let selects = slip.tokens.iter().any(|token| token.word() == "SELECT");
    Some(match selects {
        true => wrong.help("what is wanted stands first: SELECT … FROM …"),
        false => wrong
            .help("SELECT * FROM t gives all columns")
            .suggest("SELECT * FROM"),
    })
}

/// A CASE that the parser gave up as one.
fn case(slip: &Slip<'_>) -> Option<Diagnostic> {
    if !slip.is_behind_the_end() {
        return None;
    }
    let from = slip.at.saturating_sub(4);
    let start = (from..slip.at).find(|&index| slip.word_of(index) == "CASE")?;
    let rest = || start + 1..slip.tokens.len();
    let has = |word: &str| rest().any(|index| slip.word_of(index) == word);
    let form = "CASE WHEN condition THEN x ELSE y END";
    let wrong = |message: &str| slip.wrong(message).at(slip.tokens[start].span).help(form);
    if !has("THEN") {
        let near = |index: usize| {
            let word = slip.word_of(index);
            word != "WHEN" && word.len() > 2 && strsim::osa_distance(&word, "THEN") == 1
        };
        return Some(match rest().find(|&index| near(index)) {
            Some(index) => {
                let word = slip.tokens[index].written();
                Diagnostic::new(Code::Keyword, format!("{word} is not a keyword"))
                    .at(slip.tokens[index].span)
                    .suggest("THEN")
            }
            None => wrong("this CASE has no THEN"),
        });
    }
    (!has("END")).then(|| wrong("this CASE has no END"))
}

/// A word of SQL where a value should stand, or nothing.
fn reserved(slip: &Slip<'_>) -> Option<Diagnostic> {
    let message = &slip.error.message;
    let rest = message
        .strip_prefix("Expected an expression, found ")
        .or_else(|| message.strip_prefix("expected an expression, found "))?;
    let missing = |index: usize, what: &str| {
        let before = slip.tokens.get(index.checked_sub(1)?)?;
        let what = format!("something is missing {what}{}", before.written());
        Some(Diagnostic::new(Code::Syntax, what))
    };
    if rest.starts_with("the end") {
        return missing(slip.at, "behind ").map(|wrong| wrong.at(slip.error.span));
    }
    // The parser stands at the word or behind it.
    let ahead = [0, -1]
        .into_iter()
        .find(|&ahead| slip.word(ahead).eq_ignore_ascii_case(rest))?;
    let token = slip.token(ahead).filter(|token| token.kind == Kind::Word)?;
    let next = slip.token(ahead + 1);
    let goes_on = next.is_some_and(|next| next.kind != Kind::Sign && next.word() != "FROM")
        || matches!(slip.word(ahead + 1).as_str(), "(" | "*");
    if goes_on {
        let index = slip.at.checked_add_signed(ahead)?;
        let wrong = missing(index, "between ")?;
        let message = format!("{} and {}", wrong.message, token.text);
        return Some(Diagnostic::new(Code::Syntax, message).at(token.span));
    }
    let name = token.text.to_lowercase();
    let message = format!("expected an expression, found {}", token.text);
    Some(
        Diagnostic::new(Code::Syntax, message)
            .at(token.span)
            .help(format!(
                "it is a word of SQL; a column of that name stands in double quotes: \"{name}\""
            )),
    )
}

/// `WHERE EXISTS orders`.
fn exists(slip: &Slip<'_>) -> Option<Diagnostic> {
    (slip.word(-1) == "EXISTS" && slip.word(0) != "(").then(|| {
        slip.wrong("EXISTS takes a subquery in parentheses")
            .help("EXISTS (SELECT 1 FROM u WHERE u.a = t.a)")
    })
}

/// Time travel.
fn as_of(slip: &Slip<'_>) -> Option<Diagnostic> {
    let ahead = (-2..=0).find(|&ahead| {
        slip.word(ahead) == "AS"
            && slip.word(ahead + 1) == "OF"
            && slip.word(ahead - 1) != "SYSTEM_TIME"
    })?;
    Some(
        Diagnostic::new(Code::Unsupported, "a relation AS OF a time is not available here")
            .at(slip.place(ahead)?.to(slip.place(ahead + 1)?))
            .help("it belongs to the right side of a JOIN: FROM f JOIN t FOR SYSTEM_TIME AS OF f.ts ON f.k = t.k"),
    )
}

/// `LEFT JION t`, at which the parser stops before the first word.
fn join_word(slip: &Slip<'_>) -> Option<Diagnostic> {
    let message = &slip.error.message;
    let (before, ahead) = match message.split_once(" or JOIN after ") {
        Some((_, before)) if slip.word(0) == before => (before.to_owned(), 1),
        Some((_, before)) => (before.to_owned(), 0),
        None if message.starts_with("expected JOIN, found") => (slip.word(-1), 0),
        None => return None,
    };
    let word = slip.token(ahead)?;
    let near = strsim::osa_distance(&word.text.to_uppercase(), "JOIN") <= 2;
    let wrong = Diagnostic::new(
        Code::Keyword,
        format!("JOIN is missing behind {before}, found {}", word.text),
    )
    .at(word.span);
    Some(match near {
        true => wrong.suggest("JOIN"),
        false => wrong.help(format!("{before} JOIN t ON a = b")),
    })
}

/// ksqlDB's window of a join, before ON.
fn within(slip: &Slip<'_>) -> Option<Diagnostic> {
    if slip.error.message != "a JOIN without ON" {
        return None;
    }
    let place = slip.error.span?;
    let next = slip
        .tokens
        .iter()
        .find(|token| token.span.start >= place.end)?;
    (next.word() == "WITHIN").then(|| {
        Diagnostic::new(Code::Unsupported, "JOIN … WITHIN is not available")
            .at(next.span)
            .help("a plain JOIN keeps both sides; bound it in ON: a.ts BETWEEN b.ts - INTERVAL '1 hour' AND b.ts")
    })
}

/// `EMIT ON CLOSE`.
fn emit_on(slip: &Slip<'_>) -> Option<Diagnostic> {
    let after = slip.word(-1) == "ON" && slip.word(-2) == "EMIT";
    after.then(|| {
        let wrong = slip.wrong("EMIT ON is followed by WINDOW CLOSE");
        match slip.word(0).as_str() {
            "CLOSE" => wrong.suggest("WINDOW CLOSE"),
            _ => wrong.help("EMIT ON WINDOW CLOSE, or EMIT CHANGES"),
        }
    })
}

/// What a LIMIT does not take.
fn limit(slip: &Slip<'_>) -> Option<Diagnostic> {
    if slip.error.message.starts_with("Could not parse ") && slip.error.message.contains(" as u64")
    {
        let found = slip.token(0)?.written();
        return Some(slip.wrong(format!("a whole number stands here, not {found}")));
    }
    if !slip.is_behind_the_end() {
        return None;
    }
    let of_limit = slip.word(-2) == "LIMIT";
    match slip.word(0).as_str() {
        "BY" if of_limit => Some(
            Diagnostic::new(Code::Unsupported, "LIMIT … BY is not available")
                .at(slip.place(0))
                .help("SELECT … QUALIFY row_number() OVER (PARTITION BY k ORDER BY ts) <= 5 takes some of each group"),
        ),
        _ if slip.kind(0) == Some(Kind::Number)
            && matches!(slip.word(-1).as_str(), "FIRST" | "TOP" | "SKIP")
            && slip.word(-2) == "SELECT" =>
        {
            let word = slip.word(-1);
            Some(
                Diagnostic::new(Code::Unsupported, format!("{word} is not available"))
                    .at(slip.place(-1))
                    .help("LIMIT n at the end of the query takes the first n rows"),
            )
        }
        _ => None,
    }
}

/// A clause behind one that it stands before.
fn out_of_order(slip: &Slip<'_>) -> Option<Diagnostic> {
    if slip.error.suggestion.is_some() {
        return None;
    }
    let word = slip.word(0);
    let is_join = JOINS.contains(&word.as_str()) && slip.word(1) != "(";
    let rank = |name: &str| ORDER.iter().position(|(_, known, _)| *known == name);
    let (own, name) = match ORDER.iter().position(|(first, ..)| *first == word) {
        Some(own) if own > 0 => (own, ORDER[own].1),
        None if is_join => (1, "JOIN"),
        _ => return None,
    };
    let before = slip.clauses();
    let later = before.iter().find(|(name, _)| rank(name) > Some(own));
    if let Some((later, _)) = later {
        return Some(
            slip.wrong(format!("{name} stands before {later}"))
                .help(IN_ORDER),
        );
    }
    let second = !is_join && before.iter().any(|(other, _)| *other == name);
    second.then(|| slip.wrong(format!("a second {name}")).help(ORDER[own].2))
}

fn foreign(slip: &Slip<'_>) -> Option<Diagnostic> {
    if !slip.is_behind_the_end() {
        return None;
    }
    let word = slip.word(0);
    let (name, help) = FOREIGN.iter().find(|(name, _)| *name == word)?;
    Some(
        Diagnostic::new(Code::Unsupported, format!("{name} is not available"))
            .at(slip.place(0))
            .help(*help),
    )
}
