//! Colours while typing: keywords, strings, numbers, comments.

use nu_ansi_term::{Color, Style};
use reedline::{Highlighter, StyledText};

/// Colours SQL by a light scan of the line; it never changes the text.
pub(crate) struct SqlHighlighter;

impl Highlighter for SqlHighlighter {
    fn highlight(&self, line: &str, _cursor: usize) -> StyledText {
        let mut styled = StyledText::new();
        for (style, text) in pieces(line) {
            styled.push((style, text.to_owned()));
        }
        styled
    }
}

fn pieces(line: &str) -> Vec<(Style, &str)> {
    let mut pieces = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let (style, length) = match first {
            '\'' => (Color::Green.normal(), quoted_length(rest)),
            '-' if rest.starts_with("--") => (
                Color::DarkGray.normal(),
                rest.find('\n').unwrap_or(rest.len()),
            ),
            c if c.is_ascii_digit() => (
                Color::Magenta.normal(),
                run(rest, |c| c.is_ascii_digit() || c == '.'),
            ),
            c if c.is_alphabetic() || c == '_' => {
                let length = run(rest, |c| c.is_alphanumeric() || c == '_');
                let upper = rest[..length].to_ascii_uppercase();
                let known = sql::keywords().iter().any(|keyword| *keyword == upper);
                (
                    if known {
                        Color::Cyan.bold()
                    } else {
                        Style::new()
                    },
                    length,
                )
            }
            c => (Style::new(), c.len_utf8()),
        };
        let (piece, tail) = rest.split_at(length);
        pieces.push((style, piece));
        rest = tail;
    }
    pieces
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

fn quoted_length(text: &str) -> usize {
    text[1..].find('\'').map_or(text.len(), |at| at + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_stays_as_it_is() {
        for line in ["SELECT 'é', 1.5 -- done", "'open", "größe = ☃", ""] {
            let joined: String = pieces(line).into_iter().map(|(_, text)| text).collect();
            assert_eq!(joined, line);
        }
    }
}
