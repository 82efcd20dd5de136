//! Completion of keywords, objects and columns at the cursor.

use reedline::{Completer, CompletionResult, Span, Suggestion};

/// Suggestions shown at once.
const SUGGESTIONS_MAX: usize = 40;

/// Completes the word before the cursor.
pub(crate) struct SqlCompleter {
    words: Vec<String>,
}

impl SqlCompleter {
    /// `names` of the catalog come before keywords.
    pub(crate) fn new(names: Vec<String>) -> Self {
        let mut words = names;
        words.sort();
        words.dedup();
        words.extend(sql::keywords().iter().map(|word| (*word).to_owned()));
        Self { words }
    }

    fn matching(&self, prefix: &str) -> impl Iterator<Item = &String> {
        let prefix = prefix.to_ascii_lowercase();
        self.words
            .iter()
            .filter(move |word| word.to_ascii_lowercase().starts_with(&prefix))
            .take(SUGGESTIONS_MAX)
    }
}

impl Completer for SqlCompleter {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        CompletionResult::fresh(self.suggestions(line, pos))
    }
}

impl SqlCompleter {
    fn suggestions(&self, line: &str, pos: usize) -> Vec<Suggestion> {
        let before = line.get(..pos).unwrap_or(line);
        let start = before
            .rfind(|character: char| !(character.is_alphanumeric() || character == '_'))
            .map_or(0, |at| {
                at + before[at..].chars().next().map_or(1, char::len_utf8)
            });
        let prefix = &before[start..];
        if prefix.is_empty() {
            return Vec::new();
        }
        self.matching(prefix)
            .map(|word| Suggestion {
                value: word.clone(),
                span: Span::new(start, pos),
                append_whitespace: true,
                ..Suggestion::default()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completes_names_before_keywords() {
        let completer = SqlCompleter::new(vec!["selection".to_owned(), "flights".to_owned()]);
        let values: Vec<String> = completer
            .suggestions("SELECT * FROM fl", 16)
            .into_iter()
            .map(|s| s.value)
            .collect();
        assert_eq!(values[0], "flights");
        let values: Vec<String> = completer
            .suggestions("sel", 3)
            .into_iter()
            .map(|s| s.value)
            .collect();
        assert_eq!(values[0], "selection");
        assert!(values.iter().any(|value| value == "SELECT"), "{values:?}");
    }
}
