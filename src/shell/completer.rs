//! Completion by place: what may stand at the cursor, and nothing else. The statement behind the cursor counts too: it
//! names the relations, and what stands there already is not written twice.
//!
//! ```text
//! \wh⇥                 commands                 FROM ⇥  JOIN ⇥  INTO ⇥     relations
//! \d ⇥  \why ⇥         relations, views         DROP VIEW ⇥  EXPLAIN WHY ⇥ views
//! alias.⇥              its columns              TUMBLE(⇥  TUMBLE(t, ⇥      relations, times of t
//! SELECT ⇥  AND ⇥      columns of the relations in the statement
//! WITH (⇥              options of the connector that the statement names
//! elsewhere            the same, functions, keywords
//! ```

use std::collections::BTreeSet;

use reedline::{Completer, CompletionResult, Span, Suggestion};
use sql::functions;

use super::client::Object;
use super::command::COMMANDS;
use super::help;
use super::options;
use super::reading::{
    Clause, Token, clause, is_window, is_word, relations, statement_end, statement_start, tokens,
};

/// Suggestions shown at once.
const SUGGESTIONS_MAX: usize = 60;

/// What a word after one of these can be.
const AFTER: &[(&str, &[&str])] = &[
    (
        "CREATE",
        &["SOURCE", "TABLE", "MATERIALIZED", "SINK", "FUNCTION"],
    ),
    ("ALTER", &["MATERIALIZED", "SINK"]),
    ("MATERIALIZED", &["VIEW"]),
    (
        "DROP",
        &[
            "SOURCE",
            "TABLE",
            "MATERIALIZED",
            "VIEW",
            "SINK",
            "FUNCTION",
        ],
    ),
    (
        "SHOW",
        &[
            "SOURCES",
            "TABLES",
            "VIEWS",
            "SINKS",
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
    ("FORMAT", &["PLAIN", "UPSERT", "DEBEZIUM"]),
    ("ENCODE", &["JSON", "CSV", "TEXT", "BYTES"]),
    ("LATE", &["TO", "DROP", "UPDATE"]),
    ("LANGUAGE", &["wasm"]),
];

/// What a statement begins with.
const STATEMENTS: &[&str] = &[
    "ALTER",
    "CREATE",
    "DELETE",
    "DESCRIBE",
    "DROP",
    "EXPLAIN",
    "INSERT",
    "PRINT",
    "SELECT",
    "SET",
    "SHOW",
    "SUBSCRIBE",
    "UPDATE",
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
        let behind = &line[before.len()..];
        let rest = &behind[..behind.find(|c| !is_word(c)).unwrap_or(behind.len())];
        let mut fitting: Vec<Candidate> = candidates
            .into_iter()
            .filter(|(word, _)| word.to_lowercase().starts_with(&prefix))
            .collect();
        // Within a word: those that end as it does stand for all of it, others go before its rest.
        let ends_so = |(word, _): &Candidate| {
            let word = word.trim_end_matches('(').to_lowercase();
            word.ends_with(&rest.to_lowercase()) && word.len() >= prefix.len() + rest.len()
        };
        let mut end = pos;
        if !rest.is_empty() && !prefix.is_empty() && fitting.iter().any(ends_so) {
            fitting.retain(ends_so);
            end = pos + rest.len();
        }
        let next = line[end..].chars().next();
        let mut seen = std::collections::HashSet::new();
        fitting
            .into_iter()
            .filter(|(word, _)| seen.insert(word.to_lowercase()))
            .take(SUGGESTIONS_MAX)
            .map(|(mut value, append_whitespace)| {
                if next == Some('(') && value.ends_with('(') {
                    value.pop();
                }
                Suggestion {
                    value,
                    span: Span::new(start, end),
                    append_whitespace: append_whitespace && !next.is_some_and(char::is_whitespace),
                    ..Suggestion::default()
                }
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
            "\\why" => self.names(is_relation),
            "\\copy" if argument.trim_start().starts_with('(') => {
                return self.of_statement(before, before);
            }
            "\\copy" if !argument.trim_start().contains(' ') => self.names(is_relation),
            "\\copy" => return copy_words(before),
            "\\x" | "\\timing" => words(&["on", "off"]),
            "\\mode" => words(&["table", "json", "csv"]),
            "\\rows" => words(&["all"]),
            "\\h" => words(&help::statements()),
            _ => Vec::new(),
        };
        (before.len() - argument.trim_start().len(), candidates)
    }

    fn of_statement(&self, before: &str, line: &str) -> (usize, Vec<Candidate>) {
        let first = statement_start(before);
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
        let statement = &line[first..statement_end(line, before.len())];
        let candidates = self.fitting(&tokens, prefix, statement);
        (start, candidates)
    }

    fn fitting(&self, tokens: &[Token<'_>], prefix: &str, statement: &str) -> Vec<Candidate> {
        let word = |back: usize| match tokens.iter().rev().nth(back) {
            Some(Token::Word(word)) => word.to_uppercase(),
            _ => String::new(),
        };
        if options::begins(tokens) {
            return all(options::names(statement));
        }
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
            Some(Token::Sign('(')) if is_window(&word(1)) => return self.names(is_relation),
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
                if clause(tokens) == Clause::Relations {
                    return self.names(is_relation);
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
                let mut names = self.names(is_relation);
                if last == "FROM" || last == "JOIN" {
                    let windows = ["TUMBLE(", "HOP(", "CUMULATE("];
                    names.extend(windows.map(|word| (word.to_owned(), false)));
                }
                names
            }
            "DESCRIBE" => self.names(|_| true),
            "WHY" => self.names(is_relation),
            "EXPLAIN" => {
                let mut words = all(&["WHY", "SELECT"]);
                words.extend(self.names(is_relation));
                words
            }
            kind @ ("SOURCE" | "TABLE" | "VIEW" | "FUNCTION") if matches!(tokens.first(), Some(Token::Word(first)) if first.eq_ignore_ascii_case("DROP")) => {
                self.names(|object| object.kind.to_uppercase().ends_with(kind))
            }
            _ if !prefix.is_empty() => self.expression(statement),
            _ if clause(tokens) == Clause::Expression => self.columns(statement),
            _ => Vec::new(),
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
        let built_in: BTreeSet<&str> = functions().map(|function| function.name).collect();
        let built_in = built_in.into_iter();
        let built_in = built_in.map(|name| (format!("{name}("), false));
        columns
            .chain(relations)
            .chain(own)
            .chain(built_in)
            .chain(all(sql::keywords()))
            .collect()
    }

    /// Columns of what the statement reads.
    fn columns(&self, statement: &str) -> Vec<Candidate> {
        let read = self.named(statement, None);
        let columns = read.iter().flat_map(|object| &object.columns);
        columns.map(|column| (column.name.clone(), false)).collect()
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
        let mut found = Vec::new();
        for read in relations(statement) {
            if of.is_none_or(|of| read.goes_by(of)) {
                let objects = self.objects.iter();
                found.extend(objects.filter(|object| object.name.eq_ignore_ascii_case(read.name)));
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

fn is_relation(object: &Object) -> bool {
    object.kind != "function"
}

/// What follows the table of `\copy`; the name of a file is not completed.
fn copy_words(before: &str) -> (usize, Vec<Candidate>) {
    let words: Vec<&str> = before.split_whitespace().collect();
    let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let stands = words.len() - usize::from(start < before.len());
    match stands {
        2 => (start, all(&["to", "from"])),
        4 => (start, all(&["csv", "json"])),
        _ => (before.len(), Vec::new()),
    }
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
        assert_eq!(at("EXPLAIN WHY de⇥"), ["delays"]);
        assert_eq!(at("SELECT * FROM flights f, air⇥"), ["airlines"]);
        assert_eq!(at("DROP TABLE ⇥"), ["airlines"]);
        assert_eq!(at("drop materialized view ⇥"), ["delays"]);
        assert_eq!(at("SELECT 1; SELECT * FROM fl⇥"), ["flights"]);
    }

    #[test]
    fn options_are_those_of_the_connector() {
        let captured = "CREATE TABLE t WITH (connector = 'postgres-cdc', ta⇥";
        assert_eq!(at(captured), ["table.name"]);
        let sink = "CREATE SINK s FROM delays WITH (connector = 'postgres', ho⇥";
        assert_eq!(at(sink), ["host"]);
        assert_eq!(
            at("CREATE SOURCE s (a INT) WITH (⇥"),
            ["connector", "topic", "partitions"]
        );
        // A subquery's parentheses are none of options.
        assert!(!at("WITH x AS (t⇥").contains(&"topic".to_owned()));
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
        assert_eq!(at("SELECT * FROM HOP(flights, ⇥"), ["scheduled"]);
        assert_eq!(
            at("SELECT f.ca⇥ FROM CUMULATE(flights, scheduled, x) f"),
            ["carrier"]
        );
    }

    #[test]
    fn expressions_have_columns_functions_and_keywords() {
        let words = at("SELECT de⇥ FROM flights");
        assert_eq!(words[..2], ["delay", "delay_class("], "{words:?}");
        assert!(words.contains(&"DESC".to_owned()), "{words:?}");
        assert!(!words.contains(&"delays".to_owned()), "{words:?}");
        assert_eq!(at("SELECT date_tr⇥"), ["date_trunc("]);
        assert_eq!(at("SELECT cou⇥"), ["count(", "count_distinct("]);
    }

    #[test]
    fn statements_and_commands_begin_a_line() {
        assert_eq!(at("sel⇥"), ["SELECT"]);
        assert_eq!(at("CREATE MAT⇥"), ["MATERIALIZED"]);
        assert_eq!(at("\\wh⇥"), ["\\why"]);
        assert_eq!(at("\\why de⇥"), ["delays"]);
        assert_eq!(at("\\copy air⇥"), ["airlines"]);
        assert_eq!(at("\\copy airlines ⇥"), ["to", "from"]);
        assert_eq!(at("\\copy (SELECT * FROM air⇥"), ["airlines"]);
        assert_eq!(at("\\copy airlines from 'a.csv' c⇥"), ["csv"]);
        assert_eq!(at("\\d fl⇥"), ["flights"]);
        assert_eq!(at("\\x o⇥"), ["on", "off"]);
    }

    /// The line after the only candidate was taken where `⇥` stands.
    fn taken(line: &str) -> String {
        let pos = line.find('⇥').expect("a cursor");
        let line = line.replace('⇥', "");
        let suggestions = completer().suggestions(&line, pos);
        let [one] = suggestions.as_slice() else {
            panic!("{line}: {suggestions:?}");
        };
        let space = if one.append_whitespace { " " } else { "" };
        format!(
            "{}{}{space}{}",
            &line[..one.span.start],
            one.value,
            &line[one.span.end..]
        )
    }

    #[test]
    fn what_stands_behind_the_cursor_counts() {
        assert_eq!(at("SELECT ⇥ FROM airlines"), ["carrier", "name"]);
        assert_eq!(
            at("SELECT name FROM airlines WHERE ⇥;"),
            ["carrier", "name"]
        );
        assert_eq!(at("SELECT ⇥; SELECT * FROM flights"), Vec::<String>::new());
        assert_eq!(
            at("SELECT ⇥ FROM airlines WHERE name = 'x"),
            ["carrier", "name"]
        );
        assert!(at("SELECT * FROM airlines ⇥").is_empty());
        // No second parenthesis, no second space, no second half of a word.
        assert_eq!(
            taken("SELECT date_tr⇥('hour', x)"),
            "SELECT date_trunc('hour', x)"
        );
        assert_eq!(taken("SEL⇥ 1"), "SELECT 1");
        assert_eq!(taken("SELECT * FROM air⇥nes"), "SELECT * FROM airlines");
        assert_eq!(taken("SELECT * FROM air⇥x"), "SELECT * FROM airlinesx");
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
