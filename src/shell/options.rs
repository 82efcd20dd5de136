//! Options of `WITH (…)`, which completion offers: of connectors where the statement names one, else of topics.

use super::reading::Token;

/// Options of a source or sink over a topic, and the one that chooses a connector.
const OF_TOPICS: &[&str] = &["connector", "topic", "partitions"];

/// Options of a table that is captured.
const OF_CAPTURE: &[&str] = &[
    "hostname",
    "port",
    "username",
    "password",
    "database.name",
    "schema.name",
    "table.name",
    "sslmode",
    "slot.name",
    "publication.name",
    "snapshot.mode",
];

/// Options of a sink that writes a table.
const OF_TABLES: &[&str] = &[
    "host",
    "port",
    "user",
    "password",
    "database",
    "schema",
    "table",
    "sslmode",
    "url",
    "topic",
    "primary.key",
];

/// Whether the next word is the name of an option: right behind `WITH (`, or a comma within it.
pub(super) fn begins(tokens: &[Token<'_>]) -> bool {
    let Some(Token::Sign('(' | ',')) = tokens.last() else {
        return false;
    };
    let mut depth = 0_i32;
    for (place, token) in tokens.iter().enumerate().rev() {
        match token {
            Token::Sign(')') => depth += 1,
            Token::Sign('(') if depth > 0 => depth -= 1,
            Token::Sign('(') => {
                let before = place.checked_sub(1).and_then(|place| tokens.get(place));
                return matches!(before, Some(Token::Word(word)) if word.eq_ignore_ascii_case("WITH"));
            }
            _ => {}
        }
    }
    false
}

/// The options of this statement.
pub(super) fn names(statement: &str) -> &'static [&'static str] {
    let statement = statement.to_lowercase();
    let chooses = |connectors: &[&str]| {
        let mut quoted = connectors.iter().map(|name| format!("'{name}'"));
        quoted.any(|name| statement.contains(&name))
    };
    if chooses(&["postgres-cdc", "postgresconnector"]) {
        OF_CAPTURE
    } else if chooses(&["postgres", "jdbc"]) {
        OF_TABLES
    } else {
        OF_TOPICS
    }
}
