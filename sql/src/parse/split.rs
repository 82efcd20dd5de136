//! Cuts a text into statements at semicolons, without understanding them.
//!
//! It knows what may hide a semicolon: `'…'`, `E'…\'…'`, `"…"`, `` `…` ``, `$tag$…$tag$`, `-- …`, `/* … /* … */ … */`.
//! It takes any text and never fails: what has no end is a statement that is not complete.

use crate::diagnostic::StatementText;

/// What keeps a text from being sent as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unended {
    /// Nothing: its last statement ends with a semicolon, or it holds none.
    Nothing,
    /// A statement without its semicolon.
    Statement,
    /// A quote that was opened with this character: no semicolon counts until it is closed.
    Quote(char),
    /// A comment without its `*/`.
    Comment,
}

/// The statements of `text`; empty ones (only white space and comments) are left out.
pub fn split_statements(text: &str) -> Vec<StatementText<'_>> {
    let mut statements = Vec::new();
    let mut start = 0;
    let mut has_content = false;
    let mut scanner = Scanner::new(text);
    while let Some(piece) = scanner.next_piece() {
        match piece {
            Piece::Semicolon(at) => {
                if has_content {
                    statements.push(cut(text, start, at, true));
                }
                start = at + 1;
                has_content = false;
            }
            Piece::Content => has_content = true,
            Piece::Blank => {}
        }
    }
    if has_content {
        statements.push(cut(text, start, text.len(), false));
    }
    statements
}

/// Whether `text` can be sent as it stands: its last statement ends with a semicolon, or it holds none. The shell
/// reads on while this is false.
pub fn is_complete(text: &str) -> bool {
    unended(text) == Unended::Nothing
}

/// What `text` lacks to be complete ([`is_complete`]).
pub fn unended(text: &str) -> Unended {
    let mut scanner = Scanner::new(text);
    let mut open = false;
    while let Some(piece) = scanner.next_piece() {
        match piece {
            Piece::Semicolon(_) => open = false,
            Piece::Content => open = true,
            Piece::Blank => {}
        }
    }
    match scanner.unended {
        Unended::Nothing if open => Unended::Statement,
        unended => unended,
    }
}

fn cut(text: &str, start: usize, end: usize, complete: bool) -> StatementText<'_> {
    let whole = &text[start..end];
    let trimmed = whole.trim_start_matches(is_blank);
    let offset = start + (whole.len() - trimmed.len());
    let before = &text[..offset];
    let line = before.matches('\n').count() as u64 + 1;
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before[line_start..].chars().count() as u64 + 1;
    StatementText {
        text: trimmed.trim_end(),
        offset,
        line,
        column,
        complete,
    }
}

/// White space, and the mark that some editors put at the head of a file.
fn is_blank(char: char) -> bool {
    char.is_whitespace() || char == '\u{feff}'
}

enum Piece {
    Semicolon(usize),
    Content,
    Blank,
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// A quote or a comment that goes on behind the text.
    unended: Unended,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            unended: Unended::Nothing,
        }
    }

    fn next_piece(&mut self) -> Option<Piece> {
        let rest = &self.text[self.at..];
        let first = rest.chars().next()?;
        if rest.starts_with("--") {
            self.at += rest.find('\n').unwrap_or(rest.len());
            return Some(Piece::Blank);
        }
        if rest.starts_with("/*") {
            return Some(self.block_comment(rest));
        }
        match first {
            ';' => {
                self.at += 1;
                Some(Piece::Semicolon(self.at - 1))
            }
            '\'' | '"' | '`' => {
                self.quoted(rest, first);
                Some(Piece::Content)
            }
            '$' => {
                self.dollar(rest);
                Some(Piece::Content)
            }
            _ if is_blank(first) => {
                self.at += first.len_utf8();
                Some(Piece::Blank)
            }
            _ if first.is_alphanumeric() || first == '_' => {
                let word = rest
                    .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))
                    .unwrap_or(rest.len());
                self.at += word;
                let escapes = rest[..word].eq_ignore_ascii_case("e");
                if escapes && rest[word..].starts_with('\'') {
                    self.escaped_string(&rest[word..]);
                }
                Some(Piece::Content)
            }
            _ => {
                self.at += first.len_utf8();
                Some(Piece::Content)
            }
        }
    }

    /// Comments nest; one without an end is content, so that a statement with it is not complete.
    fn block_comment(&mut self, rest: &str) -> Piece {
        let bytes = rest.as_bytes();
        let mut depth = 0usize;
        let mut at = 0;
        while at < bytes.len() {
            if bytes[at..].starts_with(b"/*") {
                depth += 1;
                at += 2;
            } else if bytes[at..].starts_with(b"*/") {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    self.at += at;
                    return Piece::Blank;
                }
            } else {
                at += 1;
            }
        }
        self.at += bytes.len();
        self.unended = Unended::Comment;
        Piece::Content
    }

    /// A doubled quote is two strings side by side here, which cuts the same.
    fn quoted(&mut self, rest: &str, quote: char) {
        match rest[1..].find(quote) {
            Some(end) => self.at += end + 2,
            None => self.open_quote(rest, quote),
        }
    }

    fn open_quote(&mut self, rest: &str, quote: char) {
        self.at += rest.len();
        self.unended = Unended::Quote(quote);
    }

    fn escaped_string(&mut self, rest: &str) {
        let bytes = rest.as_bytes();
        let mut at = 1;
        while at < bytes.len() {
            match bytes[at] {
                b'\\' => at += 2,
                b'\'' => {
                    self.at += at + 1;
                    return;
                }
                _ => at += 1,
            }
        }
        self.open_quote(rest, '\'');
    }

    fn dollar(&mut self, rest: &str) {
        let tag_end = rest[1..]
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .map(|end| end + 1);
        match tag_end {
            Some(end) if rest[end..].starts_with('$') => {
                let tag = &rest[..=end];
                match rest[tag.len()..].find(tag) {
                    Some(at) => self.at += at + 2 * tag.len(),
                    None => self.open_quote(rest, '$'),
                }
            }
            _ => self.at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        split_statements(text)
            .into_iter()
            .map(|statement| statement.text)
            .collect()
    }

    #[test]
    fn semicolons_inside_of_quotes_and_comments_do_not_cut() {
        assert_eq!(texts("a; b"), ["a", "b"]);
        assert_eq!(texts("SELECT ';'';' ; x"), ["SELECT ';'';'", "x"]);
        assert_eq!(
            texts("a -- ; no\n ; b /* ; /* ; */ ; */ c;"),
            ["a -- ; no", "b /* ; /* ; */ ; */ c"]
        );
        assert_eq!(texts("f AS $$ a; b $$; g"), ["f AS $$ a; b $$", "g"]);
        assert_eq!(
            texts("f $x$ a; $$ b $x$; \"a;b\" `c;d`"),
            ["f $x$ a; $$ b $x$", "\"a;b\" `c;d`"]
        );
        assert_eq!(
            texts(r"SELECT E'it\'s; fine'; b"),
            [r"SELECT E'it\'s; fine'", "b"]
        );
        assert_eq!(texts("\u{feff}SELECT 1; b"), ["SELECT 1", "b"]);
        assert!(texts(" ;; -- nothing\n; /* here */ ").is_empty());
    }

    #[test]
    fn places_count_lines_and_characters() {
        let split = split_statements("SELECT 'é';  SELECT 2;\n\n  SELECT 3");
        let places: Vec<_> = split
            .iter()
            .map(|s| (s.line, s.column, s.complete))
            .collect();
        assert_eq!(places, [(1, 1, true), (1, 14, true), (3, 3, false)]);
    }

    #[test]
    fn text_is_complete_after_its_last_semicolon() {
        assert!(is_complete(""));
        assert!(is_complete("  -- just a comment"));
        assert!(is_complete("SELECT 1;"));
        assert!(is_complete("SELECT 1; -- done"));
        assert!(!is_complete("SELECT 1"));
        assert!(!is_complete("SELECT ';"));
        assert!(!is_complete("SELECT 1 /* ;"));
        assert!(!is_complete("SELECT 1; SELECT"));
    }

    #[test]
    fn what_is_open_is_named() {
        for (text, expected) in [
            ("SELECT 1;", Unended::Nothing),
            ("SELECT 1", Unended::Statement),
            ("SELECT 'a;", Unended::Quote('\'')),
            (r"SELECT E'a\';", Unended::Quote('\'')),
            ("SELECT \"a;", Unended::Quote('"')),
            ("SELECT $x$ a;", Unended::Quote('$')),
            ("SELECT /* a;", Unended::Comment),
            ("SELECT 1; /* a;", Unended::Comment),
        ] {
            assert_eq!(unended(text), expected, "{text}");
        }
    }

    #[test]
    fn any_text_is_cut_without_a_panic() {
        let seed = fastrand_seed();
        let mut state = seed;
        let alphabet: Vec<char> = "a;'\"`$-/*\\ \nEé0_".chars().collect();
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..(state % 24) {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                text.push(alphabet[(state >> 33) as usize % alphabet.len()]);
            }
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            for statement in split_statements(&text) {
                assert_eq!(
                    &text[statement.offset..statement.offset + statement.text.len()],
                    statement.text,
                    "seed {seed}"
                );
            }
            is_complete(&text);
        }
    }

    fn fastrand_seed() -> u64 {
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one(0)
    }
}
