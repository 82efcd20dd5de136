//! One diagnostic for every surface: the shell, HTTP, and whatever speaks to people later.
//!
//! ```text
//! error[TW1102]: column "carier" does not exist        code, message
//!   |
//! 2 | SELECT carier FROM flights                        span: in the text as the user sent it
//!   |        ^^^^^^
//! help: did you mean "carrier"?                         help, and a suggestion that can be applied
//! ```
//!
//! Invariants:
//! 1. A span counts lines and columns from 1, columns in characters; its end is exclusive.
//! 2. Codes are stable: a number never changes its meaning.

mod code;
mod excerpt;
mod foreign;
mod misuse;
mod nearest;
mod refusal;
mod render;
mod slip;
mod statement_text;
mod translate;
mod types;
mod unknown_column;
mod words;

use std::fmt;

use serde::{Deserialize, Serialize};

pub(crate) use code::Code;
pub(crate) use foreign::type_stands_for;
pub(crate) use nearest::nearest;
pub(crate) use slip::meant;
pub use statement_text::StatementText;
pub(crate) use translate::{translate, translate_arrow};
pub use types::type_name;
pub(crate) use types::{name_text, sql_types};
pub(crate) use words::{Call, Lexemes, Words};

/// A place in the user's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Location {
    /// Line, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
}

/// A range of the user's text; the end is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// First character.
    pub start: Location,
    /// One past the last character.
    pub end: Location,
}

/// A replacement that may repair the statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suggestion {
    /// What to replace.
    pub span: Span,
    /// What to put there.
    pub replacement: String,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The statement was not carried out.
    #[default]
    Error,
    /// It was, but there is something to know.
    Warning,
}

/// What went wrong, where, and what helps. The same value is JSON over HTTP and [`Diagnostic::render`] in a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Stable code, `TW` and four digits.
    pub code: String,
    /// Error or warning.
    #[serde(default)]
    pub severity: Severity,
    /// PostgreSQL's SQLSTATE, five characters.
    pub sqlstate: String,
    /// What is wrong, in one sentence that names the object.
    pub message: String,
    /// Line of the span's start, where there is a span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Column of the span's start, where there is a span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// Where in the statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
    /// Further facts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// A replacement that may repair it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<Suggestion>,
    /// A replacement for a place that is not known yet.
    #[serde(skip)]
    pub(crate) replacement: Option<String>,
}

impl Diagnostic {
    /// The refusal of a request before SQL sees it: who sends it may not, or is not known.
    pub fn refusal(message: impl Into<String>, is_known: bool) -> Self {
        let code = match is_known {
            true => Code::Denied,
            false => Code::NotKnown,
        };
        Self::new(code, message)
    }

    /// The same about `statement` where it stands in its whole text; it was sent alone.
    #[must_use]
    pub fn within(mut self, statement: &StatementText<'_>) -> Self {
        let spans = [
            self.span.as_mut(),
            self.suggestion.as_mut().map(|fix| &mut fix.span),
        ];
        for span in spans.into_iter().flatten() {
            for place in [&mut span.start, &mut span.end] {
                if place.line == 1 {
                    place.column += statement.column - 1;
                }
                place.line += statement.line - 1;
            }
        }
        self.line = self.span.map(|span| span.start.line);
        self.column = self.span.map(|span| span.start.column);
        self
    }

    /// An error without a place.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code: code.number().to_owned(),
            severity: Severity::Error,
            sqlstate: code.sqlstate().to_owned(),
            message: message.into(),
            line: None,
            column: None,
            span: None,
            notes: Vec::new(),
            help: None,
            suggestion: None,
            replacement: None,
        }
    }

    /// Something to know about what was carried out.
    pub(crate) fn warning(code: Code, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::new(code, message)
        }
    }

    /// Puts it at a place; `None` leaves it as it is.
    #[must_use]
    pub(crate) fn at(mut self, span: impl Into<Option<Span>>) -> Self {
        if let Some(span) = span.into() {
            self.line = Some(span.start.line);
            self.column = Some(span.start.column);
            self.span = Some(span);
            if let Some(replacement) = self.replacement.take() {
                self.suggestion = Some(Suggestion { span, replacement });
            }
        }
        self
    }

    /// Without its place: that is one of another text.
    #[must_use]
    pub(crate) fn without_place(mut self) -> Self {
        (self.line, self.column, self.span, self.suggestion) = (None, None, None, None);
        self
    }

    /// Says what to do.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a fact.
    #[must_use]
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Offers `replacement` for what the diagnostic points at.
    #[must_use]
    pub(crate) fn suggest(mut self, replacement: impl Into<String>) -> Self {
        let replacement = replacement.into();
        if self.help.is_none() {
            self.help = Some(format!("did you mean {replacement}?"));
        }
        match self.span {
            Some(span) => self.suggestion = Some(Suggestion { span, replacement }),
            None => self.replacement = Some(replacement),
        }
        self
    }

    /// Offers the nearest of `known` names, if one is near.
    #[must_use]
    pub(crate) fn suggest_nearest<'a>(
        self,
        word: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        match nearest(word, known) {
            Some(name) => self.suggest(name),
            None => self,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        match &self.help {
            // Two pairs of parentheses side by side are hard to read.
            Some(help) if self.message.ends_with(')') => write!(f, "; {help}"),
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Diagnostic {}

impl From<sqlparser::tokenizer::Span> for Span {
    fn from(span: sqlparser::tokenizer::Span) -> Self {
        let start = Location {
            line: span.start.line,
            column: span.start.column,
        };
        let end = Location {
            line: span.end.line,
            column: span.end.column,
        };
        Self {
            start,
            end: end.max(start),
        }
    }
}

impl Span {
    /// The span of a token or tree node, where the parser knows it.
    pub(crate) fn known(span: sqlparser::tokenizer::Span) -> Option<Self> {
        (span.start.line > 0).then(|| span.into())
    }

    /// The same for DataFusion's spans.
    pub(crate) fn from_bound(span: datafusion::common::Span) -> Option<Self> {
        let start = Location {
            line: span.start.line,
            column: span.start.column,
        };
        let end = Location {
            line: span.end.line,
            column: span.end.column,
        };
        (start.line > 0).then(|| Self {
            start,
            end: end.max(start),
        })
    }

    /// From the start of this to the end of `other`.
    pub(crate) fn to(self, other: Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }
}
