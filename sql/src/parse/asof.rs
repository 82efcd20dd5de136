//! ASOF joins as DuckDB writes them, turned into the form that the parser knows before anything parses them. Every token
//! keeps its place in the text.
//!
//! ```text
//! a ASOF JOIN b ON a.k = b.k AND a.ts >= b.ts       a ASOF JOIN b MATCH_CONDITION (__in_on) ON …
//! a ASOF LEFT JOIN b USING (k, ts)                  a ASOF JOIN b MATCH_CONDITION (__in_on_left) USING …
//! a ASOF LEFT JOIN b MATCH_CONDITION (…) ON …       a ASOF JOIN b MATCH_CONDITION (…) ON …
//! ```

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::window::word;

/// Stands where ON or USING holds the comparison of times too, of a join that leaves rows without a match out.
pub(crate) const IN_ON: &str = "__in_on";
/// The same of a join that pads them.
pub(crate) const IN_ON_LEFT: &str = "__in_on_left";

/// See the module.
pub(super) fn canonical(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if !tokens.iter().any(|token| word(Some(token)) == "ASOF") {
        return tokens;
    }
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len() + 8);
    // What goes before the token of this place.
    let mut marks: Vec<(usize, &str)> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if let Some(place) = marks.iter().position(|(before, _)| *before == at) {
            let (_, mark) = marks.swap_remove(place);
            out.extend(condition(&tokens[at], mark));
        }
        let Some(join) = Join::read(&tokens, at) else {
            out.push(tokens[at].clone());
            at += 1;
            continue;
        };
        out.extend([tokens[at].clone(), tokens[join.at].clone()]);
        if let Some(constraint) = join.constraint {
            marks.push((constraint, if join.is_left { IN_ON_LEFT } else { IN_ON }));
        }
        at = join.at + 1;
    }
    out
}

/// `ASOF [LEFT [OUTER] | INNER] JOIN`.
struct Join {
    /// Where JOIN stands.
    at: usize,
    is_left: bool,
    /// Where its ON or USING stands, if no MATCH_CONDITION is before it.
    constraint: Option<usize>,
}

impl Join {
    fn read(tokens: &[TokenWithSpan], at: usize) -> Option<Self> {
        if word(tokens.get(at)) != "ASOF" {
            return None;
        }
        let ahead = |by: usize| word(tokens.get(at + by));
        let (by, is_left) = match ahead(1).as_str() {
            "JOIN" => (1, false),
            "LEFT" if ahead(2) == "OUTER" && ahead(3) == "JOIN" => (3, true),
            "LEFT" if ahead(2) == "JOIN" => (2, true),
            "INNER" if ahead(2) == "JOIN" => (2, false),
            _ => return None,
        };
        let constraint = constraint(tokens, at + by + 1);
        // Rows without a match come with NULLs where MATCH_CONDITION stands.
        if constraint.is_none() && ahead(1) == "INNER" {
            return None;
        }
        Some(Self {
            at: at + by,
            is_left,
            constraint,
        })
    }
}

/// Where the ON or USING of the join is whose relation begins at `from`.
fn constraint(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return None,
            Token::RParen => depth -= 1,
            Token::Comma | Token::SemiColon if depth == 0 => return None,
            Token::Word(_) if depth == 0 => match word(Some(token)).as_str() {
                "ON" | "USING" => return Some(at),
                "MATCH_CONDITION" | "JOIN" | "WHERE" | "GROUP" | "UNION" => return None,
                _ => {}
            },
            _ => {}
        }
    }
    None
}

/// `MATCH_CONDITION (mark)` in the place of `like`.
fn condition(like: &TokenWithSpan, mark: &str) -> [TokenWithSpan; 4] {
    [
        Token::make_keyword("MATCH_CONDITION"),
        Token::LParen,
        Token::make_word(mark, None),
        Token::RParen,
    ]
    .map(|token| TokenWithSpan::new(token, like.span))
}
