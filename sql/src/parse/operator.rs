//! Where an operator ends: PostgreSQL lets one of several characters end with `+` or `-` only if it has one of
//! [`UNUSUAL`] in it, so that `x>-1` is greater than minus one, and `j->-1` the last element.
//!
//! sqlparser takes all such characters for one operator.

use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use super::dialect::StreamDialect;

/// An operator with one of these may end with a sign.
const UNUSUAL: &str = "~!@#%^&|`?";

/// Cuts the signs at the end of operators that cannot have them off.
pub(super) fn signs_apart(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out = Vec::with_capacity(tokens.len());
    for token in tokens {
        match &token.token {
            Token::CustomBinaryOperator(text) => match apart(text, token.span) {
                Some(parts) => out.extend(parts),
                None => out.push(token),
            },
            _ => out.push(token),
        }
    }
    out
}

/// The operator without its signs, and these; `None` where it is one as it stands.
fn apart(text: &str, span: Span) -> Option<Vec<TokenWithSpan>> {
    if text.contains(|char| UNUSUAL.contains(char)) || !text.ends_with(['+', '-']) {
        return None;
    }
    let signs = text.len() - text.trim_end_matches(['+', '-']).len();
    // Of signs alone the first is the operator.
    let cut = (text.len() - signs).max(1);
    if cut == text.len() {
        return None;
    }
    let dialect = StreamDialect::default();
    let mut head = Tokenizer::new(&dialect, &text[..cut]).tokenize().ok()?;
    let head = head.pop().filter(|_| head.is_empty())?;
    let at = |offset: usize| Location::new(span.start.line, span.start.column + offset as u64);
    let place = |from: usize, to: usize| Span::new(at(from), at(to));
    let mut parts = vec![TokenWithSpan::new(head, place(0, cut))];
    for (offset, sign) in text.bytes().enumerate().skip(cut) {
        let sign = match sign {
            b'-' => Token::Minus,
            _ => Token::Plus,
        };
        parts.push(TokenWithSpan::new(sign, place(offset, offset + 1)));
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(sql: &str) -> Vec<String> {
        let dialect = StreamDialect::default();
        let tokens = Tokenizer::new(&dialect, sql).tokenize_with_location();
        signs_apart(tokens.expect("tokens"))
            .iter()
            .map(|token| format!("{}@{}", token.token, token.span.start.column))
            .collect()
    }

    #[test]
    fn a_sign_belongs_to_what_follows_it() {
        assert_eq!(tokens("j->-1"), ["j@1", "->@2", "-@4", "1@5"]);
        assert_eq!(tokens("j->>-1"), ["j@1", "->>@2", "-@5", "1@6"]);
        for operator in ["<", ">", "<=", ">=", "<>", "=", "*", "/", "+"] {
            let end = 2 + operator.len();
            let expected = [
                "x@1".to_owned(),
                format!("{operator}@2"),
                format!("-@{end}"),
                format!("1@{}", end + 1),
            ];
            assert_eq!(tokens(&format!("x{operator}-1")), expected, "{operator}");
        }
        assert_eq!(tokens("1-+1"), ["1@1", "-@2", "+@3", "1@4"]);
    }

    #[test]
    fn an_operator_with_an_unusual_character_keeps_its_sign() {
        assert_eq!(tokens("a#-b"), ["a@1", "#-@2", "b@4"]);
    }
}
