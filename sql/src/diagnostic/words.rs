//! What stands in a statement, each word and sign with its place, and what there is to call: for errors that name a thing
//! but not where it stands.

use std::collections::HashMap;
use std::sync::Arc;

use super::Span;
use crate::functions::{Function, functions};

/// The tokens of a statement by kind, each with its place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lexemes {
    /// Words and names, without quotes.
    pub words: Vec<(String, Span)>,
    /// Those of them that stand in double quotes.
    pub quoted: Vec<String>,
    /// Texts, without quotes, and numbers.
    pub literals: Vec<(String, Span)>,
    /// Operators and punctuation.
    pub signs: Vec<(String, Span)>,
}

/// A function that DataFusion brings, under one of its names.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The name that errors have.
    pub name: String,
    /// How it is called: `array_append(array, element)`. Empty: nothing says it.
    pub form: String,
}

/// What stands in a statement, and what there is to call: for errors that name a thing but not its place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Words {
    lexemes: Lexemes,
    /// Names of functions, for suggestions.
    pub(super) functions: Vec<String>,
    /// Calls of functions that the catalog holds.
    signatures: Vec<String>,
    /// The functions that DataFusion brings.
    calls: Arc<HashMap<String, Call>>,
}

impl Words {
    /// The texts of the statement and their places; numbers too.
    pub(crate) fn texts(&self) -> &[(String, Span)] {
        &self.lexemes.literals
    }

    /// The tokens of a statement, and the functions that there are.
    pub(crate) fn new(lexemes: Lexemes, functions: Vec<String>) -> Self {
        Self {
            lexemes,
            functions,
            signatures: Vec::new(),
            calls: Arc::default(),
        }
    }

    /// With the signatures of the catalog's functions: `mask(TEXT) -> TEXT`.
    #[must_use]
    pub(crate) fn with_signatures(mut self, signatures: Vec<String>) -> Self {
        self.signatures = signatures;
        self
    }

    /// With the functions that DataFusion brings, by each of their names.
    #[must_use]
    pub(crate) fn with_calls(mut self, calls: Arc<HashMap<String, Call>>) -> Self {
        self.calls = calls;
        self
    }

    /// The first place of a word, without regard to case.
    pub(crate) fn place(&self, word: &str) -> Option<Span> {
        self.lexemes
            .words
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(word))
            .map(|(_, span)| *span)
    }

    pub(super) fn last_place(&self, word: &str) -> Option<Span> {
        let place = self
            .lexemes
            .words
            .iter()
            .rev()
            .find(|(other, _)| other.eq_ignore_ascii_case(word));
        place.map(|(_, span)| *span)
    }

    /// The place of a relation's name before a dot.
    pub(super) fn qualifier(&self, name: &str) -> Option<Span> {
        let dotted = |span: &Span| {
            let mut signs = self.lexemes.signs.iter();
            signs.any(|(sign, other)| sign == "." && other.start == span.end)
        };
        let mut words = self.lexemes.words.iter();
        let found = words.find(|(word, span)| word.eq_ignore_ascii_case(name) && dotted(span));
        found.map(|(_, span)| *span)
    }

    /// The window whose first argument stands at this place.
    pub(super) fn window_around(&self, place: Span) -> Option<String> {
        const WINDOWS: &[&str] = &["TUMBLE", "HOP", "CUMULATE", "SESSION"];
        let mut signs = self.lexemes.signs.iter();
        let (_, opens) = signs.find(|(sign, span)| sign == "(" && span.end == place.start)?;
        let mut words = self.lexemes.words.iter();
        let (window, _) = words.find(|(_, span)| span.end == opens.start)?;
        let window = window.to_ascii_uppercase();
        WINDOWS.contains(&window.as_str()).then_some(window)
    }

    /// Whether the statement gives this name with AS.
    pub(super) fn is_alias(&self, name: &str) -> bool {
        let pairs = self.lexemes.words.windows(2);
        let mut pairs = pairs.map(|pair| (&pair[0], &pair[1]));
        pairs.any(|((before, span), (word, next))| {
            before.eq_ignore_ascii_case("AS")
                && word.eq_ignore_ascii_case(name)
                && !self.has_between(*span, *next)
        })
    }

    /// Whether a word follows this one, with nothing between them.
    pub(super) fn is_before_word(&self, name: &str) -> bool {
        let pairs = self.lexemes.words.windows(2);
        let mut pairs = pairs.map(|pair| (&pair[0], &pair[1]));
        pairs.any(|((word, span), (_, next))| {
            word.eq_ignore_ascii_case(name) && !self.has_between(*span, *next)
        })
    }

    /// Whether a sign or a literal stands between two places.
    fn has_between(&self, from: Span, to: Span) -> bool {
        let others = self.lexemes.signs.iter().chain(&self.lexemes.literals);
        let mut starts = others.map(|(_, span)| span.start);
        starts.any(|start| start >= from.end && start < to.start)
    }

    /// The literal behind a word, as it was read, with its place.
    pub(super) fn literal_behind(&self, word: &str) -> Option<&(String, Span)> {
        let word = self.last_place(word)?;
        let literals = self.lexemes.literals.iter();
        let mut behind = literals.filter(|(_, span)| span.start >= word.end);
        behind.next()
    }

    /// The first place of an operator.
    pub(super) fn sign(&self, sign: &str) -> Option<Span> {
        let mut signs = self.lexemes.signs.iter();
        signs
            .find(|(other, _)| other == sign)
            .map(|(_, span)| *span)
    }

    /// The place of an operator, a sign or words, that the statement has once.
    pub(super) fn operator(&self, sign: &str) -> Option<Span> {
        if sign.starts_with(|char: char| char.is_ascii_alphabetic()) {
            let word = sign.split(' ').next_back().unwrap_or(sign);
            let words = || self.lexemes.words.iter();
            let is_it = |(other, _): &&(String, Span)| other.eq_ignore_ascii_case(word);
            return (words().filter(is_it).count() == 1).then(|| self.place(word))?;
        }
        let signs = self.lexemes.signs.iter();
        let mut found = signs.filter(|(other, _)| other == sign);
        let first = found.next()?;
        found.next().is_none().then_some(first.1)
    }

    /// How often a word stands in the statement.
    pub(crate) fn times(&self, word: &str) -> usize {
        let words = self.lexemes.words.iter();
        words
            .filter(|(other, _)| other.eq_ignore_ascii_case(word))
            .count()
    }

    /// Whether the statement calls a function of this name.
    pub(crate) fn calls(&self, name: &str) -> bool {
        let is_it = |known: &String| known.eq_ignore_ascii_case(name);
        let mut words = self.lexemes.words.iter();
        words.any(|(word, span)| word.eq_ignore_ascii_case(name) && self.is_called(word, *span))
            && self.functions.iter().any(is_it)
    }

    /// Whether a word is a call where it stands: parentheses follow, if it does not go without. `EXTRACT(hour FROM ts)` calls no
    /// `hour`.
    fn is_called(&self, word: &str, span: Span) -> bool {
        let word = word.to_ascii_lowercase();
        if word.starts_with("current_") || word.starts_with("local") || word == "session_user" {
            return true;
        }
        let behind = |lexemes: &[(String, Span)]| {
            let starts = lexemes.iter().map(|(_, other)| other.start);
            starts.filter(|start| *start >= span.end).min()
        };
        let signs = self.lexemes.signs.iter();
        let opens = signs.filter(|(sign, other)| sign == "(" && other.start >= span.end);
        let Some(opens) = opens.map(|(_, other)| other.start).min() else {
            return false;
        };
        let others = [
            &self.lexemes.words,
            &self.lexemes.literals,
            &self.lexemes.signs,
        ];
        others.into_iter().filter_map(|other| behind(other)).min() == Some(opens)
    }

    /// The function that a message names, as the statement calls it.
    pub(crate) fn called_in(&self, message: &str) -> Option<String> {
        let is_name = |char: char| char.is_alphanumeric() || char == '_';
        let mut names = message
            .split(|char| !is_name(char))
            .filter(|name| !name.is_empty());
        names.find_map(|name| {
            if self.calls(name) {
                return Some(name.to_lowercase());
            }
            let mut words = self.lexemes.words.iter();
            let by_another_name = |(word, _): &&(String, Span)| {
                let call = self.calls.get(&word.to_lowercase());
                call.is_some_and(|call| call.name == name)
            };
            words
                .find(by_another_name)
                .map(|(word, _)| word.to_lowercase())
        })
    }

    /// The first function that the statement calls.
    pub(crate) fn first_call(&self) -> Option<&str> {
        let mut words = self.lexemes.words.iter().map(|(word, _)| word.as_str());
        words.find(|word| self.calls(word))
    }

    /// Where an error most likely is that says nothing of its place: what may fail, or the statement's first word.
    pub(super) fn likely(&self) -> Option<Span> {
        let of_word = |word: &str| self.operator(word);
        let call = self.first_call().and_then(|name| self.place(name));
        let written = ["CAST", "CASE", "EXTRACT", "ZONE", "BETWEEN", "IN", "UNION"];
        let signs = [
            "::", "[", "+", "-", "*", "/", "%", "||", "->", "->>", "@>", "=",
        ];
        let first = self.lexemes.words.first().map(|(_, span)| *span);
        call.or_else(|| written.into_iter().find_map(of_word))
            .or_else(|| signs.into_iter().find_map(of_word))
            .or(first)
    }

    /// The place of the operator that an error without a place is about, if the statement has it once.
    pub(super) fn operator_of(&self, message: &str) -> Option<Span> {
        let named = |sign: &str| {
            message.contains(&format!(" {sign} ")) || sign == "/" && message == "division by zero"
        };
        let signs = [
            "<=", ">=", "<>", "!=", "=", "<", ">", "+", "-", "*", "/", "%", "||",
        ];
        self.operator(signs.into_iter().find(|sign| named(sign))?)
    }

    pub(super) fn is_quoted(&self, name: &str) -> bool {
        self.lexemes.quoted.iter().any(|other| other == name)
    }

    /// The place of what an error without a place quotes: a text or a number of the statement, or else its only NULL.
    pub(crate) fn quoted_in(&self, message: &str) -> Option<Span> {
        let quoted = |text: &str| {
            let is_word = |char: char| char.is_alphanumeric() || matches!(char, '.' | '_');
            ["'", "\"", "`"]
                .iter()
                .any(|quote| message.contains(&format!("{quote}{text}{quote}")))
                || text.starts_with(|char: char| char.is_ascii_digit())
                    && message.match_indices(text).any(|(at, _)| {
                        let before = message[..at].chars().next_back();
                        let after = message[at + text.len()..].chars().next();
                        !before.is_some_and(is_word) && !after.is_some_and(is_word)
                    })
        };
        let mut found = self
            .lexemes
            .literals
            .iter()
            .filter(|(text, _)| !text.is_empty() && quoted(text));
        // The longest says most: '12:00' before 12.
        let first = found.next()?;
        let longest = found.fold(first, |best, next| {
            if next.0.len() > best.0.len() {
                next
            } else {
                best
            }
        });
        Some(longest.1)
    }

    /// The place of the only NULL.
    pub(crate) fn only_null(&self) -> Option<Span> {
        let words = self.lexemes.words.iter();
        let mut nulls = words.filter(|(word, _)| word.eq_ignore_ascii_case("null"));
        let first = nulls.next()?;
        nulls.next().is_none().then_some(first.1)
    }

    /// How a function is called, for whoever called it otherwise.
    pub(super) fn calls_of(&self, name: &str) -> Option<String> {
        let own = self.signatures.iter().find(|signature| {
            let head = signature.split('(').next().unwrap_or_default();
            head.eq_ignore_ascii_case(name)
        });
        if let Some(signature) = own {
            return Some(signature.clone());
        }
        let mut known = functions();
        let Some(function) = known.find(|function| function.name.eq_ignore_ascii_case(name)) else {
            let call = self.calls.get(&name.to_lowercase())?;
            return (!call.form.is_empty()).then(|| call.form.clone());
        };
        let Function {
            name,
            takes,
            what,
            example,
        } = function;
        Some(format!("{name}({takes}): {what}; for example {example}"))
    }
}
