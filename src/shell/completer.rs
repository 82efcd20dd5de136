//! Completion by place: what may stand at the cursor, and nothing else.
//!
//! ```text
//! \wh⇥                 commands                 FROM ⇥  JOIN ⇥  INTO ⇥     relations
//! \d ⇥  \why ⇥         relations, views         DROP VIEW ⇥  EXPLAIN WHY ⇥ views
//! alias.⇥              its columns              TUMBLE(⇥  TUMBLE(t, ⇥      relations, times of t
//! elsewhere            columns of the relations in the statement, functions, keywords
//! ```

use reedline::{Completer, CompletionResult, Span, Suggestion};
use sql::FUNCTIONS;

use super::client::Object;
use super::command::COMMANDS;
use super::help;

/// Suggestions shown at once.
const SUGGESTIONS_MAX: usize = 60;

/// What a word after one of these can be.
const AFTER: &[(&str, &[&str])] = &[
    ("CREATE", &["SOURCE", "TABLE", "MATERIALIZED", "FUNCTION"]),
    ("MATERIALIZED", &["VIEW"]),
    (
        "DROP",
        &["SOURCE", "TABLE", "MATERIALIZED", "VIEW", "FUNCTION"],
    ),
    (
        "SHOW",
        &[
            "SOURCES",
            "TABLES",
            "VIEWS",
            "JOBS",
            "FUNCTIONS",
            "TOPICS",
            "CREATE",
        ],
    ),
    ("EMIT", &["CHANGES", "ON"]),
    ("INSERT", &["INTO"]),
    ("GROUP", &["BY"]),
    ("ORDER", &["BY"]),
    ("PRIMARY", &["KEY"]),
    ("FORMAT", &["PLAIN", "UPSERT"]),
    ("ENCODE", &["JSON"]),
];

/// What a statement begins with.
const STATEMENTS: &[&str] = &[
    "CREATE",
    "DELETE",
    "DESCRIBE",
    "DROP",
    "EXPLAIN",
    "INSERT",
    "SELECT",
    "SET",
    "SHOW",
    "SUBSCRIBE",
    "VALUES",
    "WITH",
];

/// Completes the word before the cursor.
pub(crate) struct SqlCompleter {
    objects: Vec<Object>,
}

impl Completer for SqlCompleter {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        CompletionResult::fresh(self.suggestions(line, pos))
    }
}

/// A candidate, and whether a space follows it.
type Candidate = (String, bool);

impl SqlCompleter {
    /// `objects` is the catalog.
    pub(crate) fn new(objects: Vec<Object>) -> Self {
        Self { objects }
    }

    fn suggestions(&self, line: &str, pos: usize) -> Vec<Suggestion> {
        let before = line.get(..pos).unwrap_or(line);
        let (start, candidates) = if before.trim_start().starts_with('\\') {
            self.of_command(before)
        } else {
            self.of_statement(before, line)
        };
        let prefix = before[start..].to_lowercase();
        let mut seen = std::collections::HashSet::new();
        candidates
            .into_iter()
            .filter(|(word, _)| word.to_lowercase().starts_with(&prefix))
            .filter(|(word, _)| seen.insert(word.to_lowercase()))
            .take(SUGGESTIONS_MAX)
            .map(|(value, append_whitespace)| Suggestion {
                value,
                span: Span::new(start, pos),
                append_whitespace,
                ..Suggestion::default()
            })
            .collect()
    }

    /// Names of commands, and what each takes.
    fn of_command(&self, before: &str) -> (usize, Vec<Candidate>) {
        let command = before.trim_start();
        let start = before.len() - command.len();
        let Some((name, argument)) = command.split_once(' ') else {
            let names = COMMANDS.iter().map(|(name, takes, _)| {
                let more = !takes.is_empty() && !takes.starts_with('[');
                ((*name).to_owned(), more)
            });
            return (start, names.collect());
        };
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|word| ((*word).to_owned(), false))
                .collect()
        };
        let candidates = match name {
            "\\d" => self.names(|_| true),
            "\\why" => self.names(is_view),
            "\\x" | "\\timing" => words(&["on", "off"]),
            "\\mode" => words(&["table", "json", "csv"]),
            "\\rows" => words(&["all"]),
            "\\h" => words(&help::statements()),
            _ => Vec::new(),
        };
        (before.len() - argument.trim_start().len(), candidates)
    }

    fn of_statement(&self, before: &str, line: &str) -> (usize, Vec<Candidate>) {
        let first = sql_start(before);
        let Some(mut tokens) = tokens(&before[first..]) else {
            // Inside of a string or a comment.
            return (before.len(), Vec::new());
        };
        let mut prefix = "";
        if before.ends_with(is_word)
            && let Some(Token::Word(word)) = tokens.last()
        {
            prefix = *word;
            tokens.pop();
        }
        let start = before.len() - prefix.len();
        let candidates = self.fitting(&tokens, prefix, &line[first..]);
        (start, candidates)
    }

    fn fitting(&self, tokens: &[Token<'_>], prefix: &str, statement: &str) -> Vec<Candidate> {
        let word = |back: usize| match tokens.iter().rev().nth(back) {
            Some(Token::Word(word)) => word.to_uppercase(),
            _ => String::new(),
        };
        let relation = |object: &Object| object.kind != "function";
        match tokens.last() {
            None => return all(STATEMENTS),
            Some(Token::Sign('.')) => {
                let Some(Token::Word(of)) = tokens.iter().rev().nth(1) else {
                    return Vec::new();
                };
                let mut columns = Vec::new();
                for object in self.named(statement, Some(of)) {
                    columns.extend(
                        object
                            .columns
                            .iter()
                            .map(|column| (column.name.clone(), false)),
                    );
                }
                return columns;
            }
            Some(Token::Sign('(')) if is_window(&word(1)) => return self.names(relation),
            Some(Token::Sign(',')) => {
                if let [
                    ..,
                    Token::Word(window),
                    Token::Sign('('),
                    Token::Word(of),
                    Token::Sign(','),
                ] = tokens
                    && is_window(&window.to_uppercase())
                {
                    return self.times(of);
                }
            }
            _ => {}
        }
        let last = word(0);
        if let Some((_, words)) = AFTER.iter().find(|(after, _)| *after == last) {
            return all(words);
        }
        match last.as_str() {
            "FROM" | "JOIN" | "INTO" | "SUBSCRIBE" => {
                let mut names = self.names(relation);
                names.extend(all(&["TUMBLE("]).into_iter().map(|(word, _)| (word, false)));
                if last == "INTO" || last == "SUBSCRIBE" {
                    names.pop();
                }
                names
            }
            "DESCRIBE" => self.names(|_| true),
            "WHY" => self.names(is_view),
            "EXPLAIN" => {
                let mut words = all(&["WHY", "SELECT"]);
                words.extend(self.names(relation));
                words
            }
            kind @ ("SOURCE" | "TABLE" | "VIEW" | "FUNCTION") if matches!(tokens.first(), Some(Token::Word(first)) if first.eq_ignore_ascii_case("DROP")) => {
                self.names(|object| object.kind.to_uppercase().ends_with(kind))
            }
            _ if prefix.is_empty() => Vec::new(),
            _ => self.expression(statement),
        }
    }

    /// Columns of what the statement reads (of everything while it reads nothing), functions, keywords.
    fn expression(&self, statement: &str) -> Vec<Candidate> {
        let mut read = self.named(statement, None);
        if read.is_empty() {
            read = self.objects.iter().collect();
        }
        let columns = read.iter().flat_map(|object| &object.columns);
        let columns = columns.map(|column| (column.name.clone(), false));
        let relations = read.iter().filter(|object| object.kind != "function");
        let relations = relations.map(|object| (object.name.clone(), false));
        let own = self
            .objects
            .iter()
            .filter(|object| object.kind == "function");
        let own = own.map(|object| (format!("{}(", object.name), false));
        let built_in = FUNCTIONS
            .iter()
            .map(|function| (format!("{}(", function.name), false));
        columns
            .chain(relations)
            .chain(own)
            .chain(built_in)
            .chain(all(sql::keywords()))
            .collect()
    }

    fn names(&self, wanted: impl Fn(&Object) -> bool) -> Vec<Candidate> {
        let objects = self.objects.iter().filter(|object| wanted(object));
        objects.map(|object| (object.name.clone(), false)).collect()
    }

    fn times(&self, relation: &str) -> Vec<Candidate> {
        let found = self
            .objects
            .iter()
            .filter(|object| object.name.eq_ignore_ascii_case(relation));
        let columns = found.flat_map(|object| &object.columns);
        columns
            .filter(|column| column.data_type.to_uppercase().starts_with("TIMESTAMP"))
            .map(|column| (column.name.clone(), false))
            .collect()
    }

    /// The relations that the statement reads; with `of`, those that go by this name or alias there.
    fn named(&self, statement: &str, of: Option<&str>) -> Vec<&Object> {
        let tokens = tokens(statement).unwrap_or_default();
        let mut found = Vec::new();
        for (at, token) in tokens.iter().enumerate() {
            let Token::Word(word) = token else { continue };
            let reads = ["FROM", "JOIN", "INTO"]
                .iter()
                .any(|reads| word.eq_ignore_ascii_case(reads));
            if !reads {
                continue;
            }
            let mut rest = &tokens[at + 1..];
            let mut name = "";
            if let [
                Token::Word(window),
                Token::Sign('('),
                Token::Word(inner),
                tail @ ..,
            ] = rest
                && is_window(&window.to_uppercase())
            {
                name = *inner;
                let close = tail.iter().position(|token| *token == Token::Sign(')'));
                rest = close.map_or(&[][..], |close| &tail[close + 1..]);
            } else if let [Token::Word(word), tail @ ..] = rest {
                name = *word;
                rest = tail;
            }
            let alias = match rest {
                [Token::Word(r#as), Token::Word(alias), ..] if r#as.eq_ignore_ascii_case("AS") => {
                    Some(*alias)
                }
                [Token::Word(alias), ..] => Some(*alias),
                _ => None,
            };
            let fits = |of: &str| {
                name.eq_ignore_ascii_case(of)
                    || alias.is_some_and(|alias| alias.eq_ignore_ascii_case(of))
            };
            if of.is_none_or(fits) {
                let objects = self.objects.iter();
                found.extend(objects.filter(|object| object.name.eq_ignore_ascii_case(name)));
            }
        }
        if found.is_empty()
            && let Some(of) = of
        {
            let objects = self.objects.iter();
            found.extend(objects.filter(|object| object.name.eq_ignore_ascii_case(of)));
        }
        found
    }
}

fn all(words: &[&str]) -> Vec<Candidate> {
    words
        .iter()
        .map(|word| ((*word).to_owned(), true))
        .collect()
}

fn is_view(object: &Object) -> bool {
    object.kind.ends_with("view")
}

fn is_window(word: &str) -> bool {
    word == "TUMBLE"
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Where the statement that the text ends in begins.
fn sql_start(before: &str) -> usize {
    match sql::split_statements(before).last() {
        Some(last) if !last.complete => last.offset,
        _ => {
            before.len()
                - before
                    .rsplit(';')
                    .next()
                    .unwrap_or(before)
                    .trim_start()
                    .len()
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token<'a> {
    /// A name or keyword; a quoted name without its quotes.
    Word(&'a str),
    /// Anything else that is no space.
    Sign(char),
}

/// The words and signs of a text; `None` if it ends inside of a string, a quoted name or a comment.
fn tokens(text: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' => rest[1..].find('\'')? + 2,
            '"' | '`' => {
                let length = rest[1..].find(first)? + 2;
                tokens.push(Token::Word(&rest[1..length - 1]));
                length
            }
            '-' if rest.starts_with("--") => rest.find('\n')?,
            '/' if rest.starts_with("/*") => rest.find("*/")? + 2,
            _ if is_word(first) => {
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                tokens.push(Token::Word(&rest[..length]));
                length
            }
            _ => {
                if !first.is_whitespace() {
                    tokens.push(Token::Sign(first));
                }
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    Some(tokens)
}

#[cfg(test)]
mod tests {
    use super::super::client::Column;
    use super::*;

    fn object(name: &str, kind: &str, columns: &[(&str, &str)]) -> Object {
        let columns = columns.iter().map(|(name, data_type)| Column {
            name: (*name).to_owned(),
            data_type: (*data_type).to_owned(),
        });
        Object {
            name: name.to_owned(),
            kind: kind.to_owned(),
            columns: columns.collect(),
        }
    }

    fn completer() -> SqlCompleter {
        SqlCompleter::new(vec![
            object(
                "flights",
                "source",
                &[
                    ("scheduled", "TIMESTAMP"),
                    ("carrier", "TEXT"),
                    ("delay", "BIGINT"),
                ],
            ),
            object(
                "airlines",
                "table",
                &[("carrier", "TEXT"), ("name", "TEXT")],
            ),
            object(
                "delays",
                "materialized view",
                &[("name", "TEXT"), ("avg_delay", "DOUBLE PRECISION")],
            ),
            object("delay_class", "function", &[]),
        ])
    }

    /// Candidates where `⇥` stands.
    fn at(line: &str) -> Vec<String> {
        let pos = line.find('⇥').expect("a cursor");
        let line = line.replace('⇥', "");
        let suggestions = completer().suggestions(&line, pos);
        suggestions
            .into_iter()
            .map(|suggestion| suggestion.value)
            .collect()
    }

    #[test]
    fn only_relations_follow_from_and_join() {
        assert_eq!(at("SELECT * FROM del⇥"), ["delays"]);
        assert_eq!(at("SELECT * FROM flights JOIN air⇥"), ["airlines"]);
        assert_eq!(at("INSERT INTO ⇥"), ["flights", "airlines", "delays"]);
        assert_eq!(at("EXPLAIN WHY ⇥"), ["delays"]);
        assert_eq!(at("DROP TABLE ⇥"), ["airlines"]);
        assert_eq!(at("drop materialized view ⇥"), ["delays"]);
        assert_eq!(at("SELECT 1; SELECT * FROM fl⇥"), ["flights"]);
    }

    #[test]
    fn a_point_is_followed_by_the_columns_of_its_alias() {
        assert_eq!(at("SELECT d.⇥ FROM delays d"), ["name", "avg_delay"]);
        assert_eq!(
            at("SELECT f.ca⇥ FROM TUMBLE(flights, scheduled, INTERVAL '1 hour') AS f"),
            ["carrier"]
        );
        assert_eq!(at("SELECT airlines.⇥"), ["carrier", "name"]);
        assert!(at("SELECT x.⇥ FROM delays d").is_empty());
    }

    #[test]
    fn a_window_takes_a_relation_and_its_time() {
        assert_eq!(at("SELECT * FROM TUMBLE(fl⇥"), ["flights"]);
        assert_eq!(at("SELECT * FROM TUMBLE(flights, ⇥"), ["scheduled"]);
    }

    #[test]
    fn expressions_have_columns_functions_and_keywords() {
        let words = at("SELECT de⇥ FROM flights");
        assert_eq!(words[..2], ["delay", "delay_class("], "{words:?}");
        assert!(words.contains(&"DESC".to_owned()), "{words:?}");
        assert!(!words.contains(&"delays".to_owned()), "{words:?}");
        assert_eq!(at("SELECT date_tr⇥"), ["date_trunc("]);
        assert_eq!(at("SELECT cou⇥"), ["count("]);
    }

    #[test]
    fn statements_and_commands_begin_a_line() {
        assert_eq!(at("sel⇥"), ["SELECT"]);
        assert_eq!(at("CREATE MAT⇥"), ["MATERIALIZED"]);
        assert_eq!(at("\\wh⇥"), ["\\why"]);
        assert_eq!(at("\\why ⇥"), ["delays"]);
        assert_eq!(at("\\d fl⇥"), ["flights"]);
        assert_eq!(at("\\x o⇥"), ["on", "off"]);
    }

    #[test]
    fn nothing_is_offered_inside_of_strings_and_comments() {
        for line in [
            "SELECT 'fl⇥",
            "SELECT 1 -- fl⇥",
            "SELECT /* fl⇥",
            "SELECT ⇥",
            "SELECT \"fl⇥",
        ] {
            assert!(at(line).is_empty(), "{line}");
        }
    }
}
