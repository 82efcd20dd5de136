//! What keeps a statement open, said where the user looks: in the prompt of the lines that follow, and behind the cursor
//! of a line that is still empty.
//!
//! ```text
//! thalweg> SELECT 1
//!    ...;> ; runs it, \r drops it              a statement without its semicolon
//!    ...'> ' is still open, \r drops it        a text without its quote
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use reedline::{DefaultHinter, Hinter, History, ValidationResult, Validator};
use sql::Unended;

use super::command;

/// What the text lacked when it was last looked at, as one character. Clones are the same.
#[derive(Clone)]
pub(super) struct Lacking(Arc<AtomicU32>);

impl Lacking {
    /// A text that lacks its semicolon.
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU32::new(';'.into())))
    }

    /// The character that it lacks.
    pub(super) fn sign(&self) -> char {
        char::from_u32(self.0.load(Ordering::Relaxed)).unwrap_or(';')
    }

    fn set(&self, sign: char) {
        self.0.store(sign.into(), Ordering::Relaxed);
    }
}

/// A line is complete when its last statement is, or when it is a command of the shell.
pub(super) struct StatementEnd(pub Lacking);

impl Validator for StatementEnd {
    fn validate(&self, line: &str) -> ValidationResult {
        if command::is_complete(line) {
            return ValidationResult::Complete;
        }
        self.0.set(match sql::unended(line) {
            Unended::Nothing | Unended::Statement => ';',
            Unended::Quote(quote) => quote,
            Unended::Comment => '*',
        });
        ValidationResult::Incomplete
    }
}

/// Says how to go on or to leave where a statement is open; otherwise the rest of a line of the history.
#[derive(Default)]
pub(super) struct WayOut {
    history: DefaultHinter,
    said: bool,
}

impl Hinter for WayOut {
    fn handle(
        &mut self,
        line: &str,
        pos: usize,
        history: &dyn History,
        use_ansi_coloring: bool,
        cwd: &str,
    ) -> String {
        let way = (pos == line.len()).then(|| way_out(line)).flatten();
        self.said = way.is_some();
        match way {
            Some(way) if use_ansi_coloring => nu_ansi_term::Color::DarkGray.paint(way).to_string(),
            Some(way) => way,
            None => self
                .history
                .handle(line, pos, history, use_ansi_coloring, cwd),
        }
    }

    /// What is said is not to be typed.
    fn complete_hint(&self) -> String {
        match self.said {
            true => String::new(),
            false => self.history.complete_hint(),
        }
    }

    fn next_hint_token(&self) -> String {
        match self.said {
            true => String::new(),
            false => self.history.next_hint_token(),
        }
    }
}

/// What to say behind `text`, whose last line was just begun.
fn way_out(text: &str) -> Option<String> {
    let (before, last) = text.rsplit_once('\n')?;
    match last.trim() {
        "" => {}
        word @ ("quit" | "exit" | "help" | "\\q") => {
            return Some(format!(
                "  (a statement is open; \\r drops it, then {word})"
            ));
        }
        _ => return None,
    }
    Some(match sql::unended(before) {
        Unended::Nothing => return None,
        Unended::Statement => "; runs it, \\r drops it".to_owned(),
        Unended::Quote(quote) => format!("{quote} is still open, \\r drops it"),
        Unended::Comment => "*/ ends the comment, \\r drops it".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_statement_says_what_it_lacks() {
        let lacking = Lacking::new();
        let end = StatementEnd(lacking.clone());
        for (text, sign) in [
            ("SELECT 1", Some(';')),
            ("SELECT 'a;", Some('\'')),
            ("SELECT 1 /* ;", Some('*')),
            ("SELECT 1;", None),
            ("SELECT 1\n\\r", None),
            ("SELECT 'a\n\\r", None),
            ("\\d", None),
        ] {
            let complete = matches!(end.validate(text), ValidationResult::Complete);
            assert_eq!(complete, sign.is_none(), "{text}");
            assert!(sign.is_none_or(|sign| lacking.sign() == sign), "{text}");
        }
    }

    #[test]
    fn an_empty_line_shows_the_way_out() {
        let said = |text: &str| way_out(text).unwrap_or_default();
        assert_eq!(said("SELECT 1\n"), "; runs it, \\r drops it");
        assert_eq!(said("SELECT 'a;\n"), "' is still open, \\r drops it");
        assert_eq!(said("SELECT 1 /*\n  "), "*/ ends the comment, \\r drops it");
        assert!(said("SELECT 1\nexit").contains("\\r drops it, then exit"));
        for text in ["", "SELECT 1", "SELECT 1\nFROM", "SELECT 1;\n"] {
            assert_eq!(said(text), "", "{text}");
        }
    }
}
