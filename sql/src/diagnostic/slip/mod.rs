//! What a statement that does not parse was meant to be. Where the parser stopped it knows what it expected; the tokens
//! around that place tell more: a clause behind one that it belongs before, a parenthesis without its other half, a sign of
//! another language.
//!
//! | file | what it knows |
//! |---|---|
//! | `clause` | the order of clauses, those of other systems, words that were taken for names |
//! | `list` | commas and parentheses |
//! | `operator` | signs and words between values |
//! | `form` | how each statement is written, and what others write in its place |

mod clause;
mod form;
mod list;
mod operator;

use super::{Code, Diagnostic, Lexemes, Span};

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    /// A name in double quotes.
    Quoted,
    Text,
    Number,
    Sign,
}

/// A token, in the order of the statement.
#[derive(Debug)]
struct Token {
    kind: Kind,
    text: String,
    span: Span,
}

impl Token {
    fn new(kind: Kind, (text, span): &(String, Span)) -> Self {
        // What is in quotes is longer where it stands.
        let length = span.end.column.saturating_sub(span.start.column);
        let is_bare = span.end.line == span.start.line && length == text.chars().count() as u64;
        let kind = match kind {
            Kind::Word if !is_bare => Kind::Quoted,
            Kind::Number if !is_bare => Kind::Text,
            kind => kind,
        };
        Self {
            kind,
            text: text.clone(),
            span: *span,
        }
    }

    /// The token as it may be written.
    fn written(&self) -> String {
        match self.kind {
            Kind::Text => format!("'{}'", self.text.replace('\'', "''")),
            Kind::Quoted => format!("\"{}\"", self.text.replace('"', "\"\"")),
            _ => self.text.clone(),
        }
    }

    /// Upper case where it is a word without quotes, else the text itself where it is a sign.
    fn word(&self) -> String {
        match self.kind {
            Kind::Word => self.text.to_ascii_uppercase(),
            Kind::Sign => self.text.clone(),
            _ => String::new(),
        }
    }
}

/// A refusal, and the tokens around the place that it points at.
struct Slip<'a> {
    error: &'a Diagnostic,
    tokens: Vec<Token>,
    /// Where the parser stopped; the number of tokens where that is the end.
    at: usize,
}

/// The refusal of a statement, by what its author may have meant.
pub(crate) fn meant(error: Diagnostic, lexemes: &Lexemes) -> Diagnostic {
    if error.code == Code::Unterminated.number() && error.help.is_none() {
        return unterminated(error);
    }
    let is_of_text = error.code == Code::Syntax.number() || error.code == Code::Keyword.number();
    let Some(span) = error.span.filter(|_| is_of_text) else {
        return error;
    };
    let tokens = in_order(lexemes);
    let at = tokens
        .iter()
        .position(|token| token.span.start >= span.start)
        .unwrap_or(tokens.len());
    let slip = Slip {
        error: &error,
        tokens,
        at,
    };
    let found = form::watermark(&slip)
        .or_else(|| operator::meant(&slip))
        .or_else(|| list::meant(&slip))
        .or_else(|| clause::meant(&slip))
        .or_else(|| list::left_open(&slip))
        .or_else(|| form::meant(&slip));
    found.unwrap_or(error)
}

/// All tokens of the text, first to last.
fn in_order(lexemes: &Lexemes) -> Vec<Token> {
    let of = |kind, list: &[(String, Span)]| -> Vec<Token> {
        let stand = |(_, span): &&(String, Span)| span.start.line > 0;
        let written = list.iter().filter(stand);
        written.map(|token| Token::new(kind, token)).collect()
    };
    let mut tokens = of(Kind::Word, &lexemes.words);
    tokens.extend(of(Kind::Number, &lexemes.literals));
    tokens.extend(of(Kind::Sign, &lexemes.signs));
    tokens.sort_by_key(|token| token.span.start);
    tokens
}

/// What has no end.
fn unterminated(error: Diagnostic) -> Diagnostic {
    let help = if error.message.contains("comment") {
        "a comment that begins with /* ends with */"
    } else if error.message.contains('"') || error.message.contains("delimiter") {
        "a name in double quotes ends with \"; a \" inside of it is written twice"
    } else {
        "a text ends with '; a ' inside of it is written twice: 'it''s'"
    };
    error.help(help)
}

impl Slip<'_> {
    /// The token so many on from where the parser stopped.
    fn token(&self, ahead: isize) -> Option<&Token> {
        self.tokens.get(self.at.checked_add_signed(ahead)?)
    }

    /// That token's word in upper case, or its sign; empty for everything else, and the end.
    fn word(&self, ahead: isize) -> String {
        self.token(ahead).map(Token::word).unwrap_or_default()
    }

    /// The word or sign of the statement's token at `index`.
    fn word_of(&self, index: usize) -> String {
        self.tokens.get(index).map(Token::word).unwrap_or_default()
    }

    fn kind(&self, ahead: isize) -> Option<Kind> {
        self.token(ahead).map(|token| token.kind)
    }

    /// Where the token so many on stands; the place of the refusal if there is none.
    fn place(&self, ahead: isize) -> Option<Span> {
        self.token(ahead)
            .map(|token| token.span)
            .or(self.error.span)
    }

    /// Whether the parser says that a statement should have ended here.
    fn is_behind_the_end(&self) -> bool {
        self.error.message.starts_with("unexpected ")
    }

    /// Whether the parser would have taken a closing parenthesis here.
    fn wants_parenthesis(&self) -> bool {
        let starts = [
            "expected )",
            "expected ')'",
            "expected ',' or ')'",
            "expected ',', ')'",
        ];
        starts
            .iter()
            .any(|start| self.error.message.starts_with(start))
    }

    /// A refusal that points where the parser stopped.
    fn wrong(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Code::Syntax, message).at(self.place(0))
    }

    /// The opening parenthesis that what stands before the stop is in: its index.
    fn opened(&self) -> Option<usize> {
        let mut depth = 0_usize;
        for index in (0..self.at.min(self.tokens.len())).rev() {
            match self.word_of(index).as_str() {
                ")" => depth += 1,
                "(" if depth == 0 => return Some(index),
                "(" => depth -= 1,
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use crate::parse::{parse, split_statements};

    /// Message, help, and what stands in the place of what is pointed at.
    fn told(text: &str) -> (String, String, String) {
        let statements = split_statements(text);
        let error = parse(&statements[0]).expect_err(text);
        let suggestion = error.suggestion.map(|fix| fix.replacement);
        (
            error.message,
            error.help.unwrap_or_default(),
            suggestion.unwrap_or_default(),
        )
    }

    #[test]
    fn a_suggestion_repairs_what_it_is_about() {
        for (text, replacement) in [
            ("SELECT a FROM t WHERE b => 3", ">="),
            ("SELECT a FROM t WHERE b =< 3", "<="),
            ("SELECT a FROM t WHERE b = 1, c = 2", " AND"),
            ("SELECT a FROM t WHERE b BETWEEN 1 TO 5", "AND"),
            ("SELECT a FROM t WHERE b IS 'x'", "="),
            ("SELECT a FROM t WHERE b IN 'x'", "('x')"),
            ("SELECT count(*)) FROM t", ""),
            ("SELECT upper(a FROM t", ") FROM"),
            ("INSERT INTO t VALUES (1) (2)", ", ("),
            ("SELECT a FROM t LEFT JION u ON a = b", "JOIN"),
        ] {
            assert_eq!(told(text).2, replacement, "{text}");
        }
    }

    #[test]
    fn clauses_are_told_their_order() {
        for (text, message) in [
            (
                "SELECT a FROM t ORDER BY a WHERE b > 3",
                "WHERE stands before ORDER BY",
            ),
            (
                "SELECT a FROM t LIMIT 5 ORDER BY a",
                "ORDER BY stands before LIMIT",
            ),
            (
                "SELECT a FROM (SELECT b FROM t LIMIT 1 WHERE c) AS x",
                "WHERE stands before LIMIT",
            ),
            ("SELECT a FROM t WHERE b > 3 WHERE b < 5", "a second WHERE"),
        ] {
            assert_eq!(told(text).0, message, "{text}");
        }
    }

    #[test]
    fn every_statement_tells_its_form() {
        for text in [
            "INSERT OVERWRITE t VALUES (1)",
            "UPDATE t a = 5",
            "DELETE * FROM t",
            "CREATE SINK s INTO t",
            "CREATE MATERIALIZED TABLE v",
            "CREATE DYNAMIC TABLE v",
            "DROP t",
            "DESCRIBE",
        ] {
            let (_, help, suggestion) = told(text);
            assert!(!help.is_empty() || !suggestion.is_empty(), "{text}");
        }
    }
}
