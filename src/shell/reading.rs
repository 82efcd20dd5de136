//! What a statement reads, as far as its words tell before it is whole: enough for completion, without a parser.

/// A word or a sign of a statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A name or keyword; a quoted name without its quotes.
    Word(&'a str),
    /// Anything else that is no space.
    Sign(char),
}

/// A relation that a statement reads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Read<'a> {
    /// Its name.
    pub name: &'a str,
    alias: Option<&'a str>,
}

impl Read<'_> {
    /// Whether the statement may call it so.
    pub(super) fn goes_by(&self, word: &str) -> bool {
        let alias = self
            .alias
            .is_some_and(|alias| alias.eq_ignore_ascii_case(word));
        alias || self.name.eq_ignore_ascii_case(word)
    }
}

/// What may stand behind some words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clause {
    /// A value: a column, a function.
    Expression,
    /// A relation.
    Relations,
    /// Something else.
    Other,
}

/// What may stand behind these words: told by the last of them, and behind a comma by the clause that it is in.
pub(super) fn clause(tokens: &[Token<'_>]) -> Clause {
    match tokens.last() {
        Some(Token::Sign(',')) => {}
        Some(Token::Word(word)) => {
            let before_values = [
                "SELECT", "WHERE", "AND", "OR", "NOT", "ON", "BY", "HAVING", "QUALIFY", "DISTINCT",
                "CASE", "WHEN", "THEN", "ELSE",
            ];
            return match before_values
                .iter()
                .any(|before| word.eq_ignore_ascii_case(before))
            {
                true => Clause::Expression,
                false => Clause::Other,
            };
        }
        Some(Token::Sign('=' | '<' | '>' | '+' | '-' | '/')) => return Clause::Expression,
        _ => return Clause::Other,
    }
    // Back to the word that begins the list, over what stands in parentheses.
    let mut depth = 0_i32;
    for token in tokens.iter().rev() {
        match token {
            Token::Sign(')') => depth += 1,
            Token::Sign('(') => depth -= 1,
            Token::Word(word) if depth == 0 => match word.to_uppercase().as_str() {
                "FROM" | "JOIN" => return Clause::Relations,
                "SELECT" | "BY" | "WHERE" | "HAVING" | "ON" | "DISTINCT" => {
                    return Clause::Expression;
                }
                _ => {}
            },
            _ => {}
        }
    }
    Clause::Other
}

/// The relations that a statement reads.
pub(super) fn relations(statement: &str) -> Vec<Read<'_>> {
    let tokens = tokens_so_far(statement).0;
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let reads = match token {
            Token::Word(word) => {
                let reads = ["FROM", "JOIN", "INTO"];
                reads.iter().any(|reads| word.eq_ignore_ascii_case(reads))
            }
            Token::Sign(',') => clause(&tokens[..=at]) == Clause::Relations,
            Token::Sign(_) => false,
        };
        if reads {
            found.extend(read(&tokens[at + 1..]));
        }
    }
    found
}

/// The relation that these words begin with, itself or in a window.
fn read<'a>(tokens: &[Token<'a>]) -> Option<Read<'a>> {
    let (name, rest) = match tokens {
        [
            Token::Word(window),
            Token::Sign('('),
            Token::Word(name),
            rest @ ..,
        ] if is_window(window) => {
            let close = rest.iter().position(|token| *token == Token::Sign(')'));
            (*name, close.map_or(&[][..], |close| &rest[close + 1..]))
        }
        [Token::Word(name), rest @ ..] => (*name, rest),
        _ => return None,
    };
    let alias = match rest {
        [Token::Word(r#as), Token::Word(alias), ..] if r#as.eq_ignore_ascii_case("AS") => {
            Some(*alias)
        }
        [Token::Word(alias), ..] => Some(*alias),
        _ => None,
    };
    Some(Read { name, alias })
}

/// Whether this is the name of a function of windows.
pub(super) fn is_window(word: &str) -> bool {
    let windows = ["TUMBLE", "HOP", "CUMULATE"];
    windows
        .iter()
        .any(|window| word.eq_ignore_ascii_case(window))
}

/// Whether a word may hold this.
pub(super) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Where the statement that the text ends in begins.
pub(super) fn statement_start(before: &str) -> usize {
    match sql::split_statements(before).last() {
        Some(last) if !last.complete => last.offset,
        _ => {
            let last = before.rsplit(';').next().unwrap_or(before);
            before.len() - last.trim_start().len()
        }
    }
}

/// Where the statement behind the one that `at` lies in begins.
pub(super) fn statement_end(text: &str, at: usize) -> usize {
    let statements = sql::split_statements(text);
    let begins = statements.iter().map(|statement| statement.offset);
    begins
        .filter(|begin| *begin > at)
        .min()
        .unwrap_or(text.len())
}

/// The words and signs of a text; `None` if it ends inside of a string, a quoted name or a comment.
pub(super) fn tokens(text: &str) -> Option<Vec<Token<'_>>> {
    let (tokens, whole) = tokens_so_far(text);
    whole.then_some(tokens)
}

/// The words and signs before a string, a quoted name or a comment without an end, and whether there is none.
fn tokens_so_far(text: &str) -> (Vec<Token<'_>>, bool) {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' | '"' | '`' => rest[1..].find(first).map(|end| end + 2),
            '-' if rest.starts_with("--") => rest.find('\n'),
            '/' if rest.starts_with("/*") => rest.find("*/").map(|end| end + 2),
            _ if is_word(first) => Some(rest.find(|c| !is_word(c)).unwrap_or(rest.len())),
            _ => Some(first.len_utf8()),
        };
        let Some(length) = length else {
            return (tokens, false);
        };
        match first {
            '"' | '`' => tokens.push(Token::Word(&rest[1..length - 1])),
            '\'' => {}
            _ if rest.starts_with("--") || rest.starts_with("/*") || first.is_whitespace() => {}
            _ if is_word(first) => tokens.push(Token::Word(&rest[..length])),
            _ => tokens.push(Token::Sign(first)),
        }
        rest = &rest[length..];
    }
    (tokens, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(statement: &str) -> Vec<(&str, Option<&str>)> {
        let read = relations(statement);
        read.into_iter()
            .map(|read| (read.name, read.alias))
            .collect()
    }

    #[test]
    fn relations_are_found_wherever_they_stand() {
        assert_eq!(
            read("SELECT * FROM a x, b AS y JOIN c"),
            [("a", Some("x")), ("b", Some("y")), ("c", None)]
        );
        assert_eq!(
            read("SELECT f(a, b) FROM HOP(t, ts, x, y) AS h WHERE 'open"),
            [("t", Some("h"))]
        );
        assert_eq!(read("SELECT 1, 2"), []);
    }

    #[test]
    fn a_place_is_told_by_the_words_before_it() {
        let place = |text: &str| clause(&tokens(text).expect("whole"));
        for text in [
            "SELECT",
            "SELECT a,",
            "SELECT f(a, b),",
            "SELECT a FROM t WHERE a =",
            "x GROUP BY a,",
        ] {
            assert_eq!(place(text), Clause::Expression, "{text}");
        }
        assert_eq!(place("SELECT a FROM t,"), Clause::Relations);
        for text in [
            "",
            "SELECT a",
            "SELECT a FROM t",
            "INSERT INTO t VALUES (1,",
        ] {
            assert_eq!(place(text), Clause::Other, "{text}");
        }
    }
}
