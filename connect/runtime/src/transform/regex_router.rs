//! RegexRouter: renames the topic where the whole name matches.
//!
//! The replacement is read as Java's `Matcher` reads it: `$1` and `${name}` are groups, `\` makes the next character
//! one of text. `$12` is group 12 if there are so many, else group 1 and then a `2`. A group that the expression does
//! not have is refused before anything is routed; one that took no part in the match is empty.

use connect_api::{Config, ConfigDef, ConfigKey, ConfigType, ConnectError, Record};
use regex::{Captures, Regex};

use super::Each;

pub(super) fn def() -> ConfigDef {
    ConfigDef::new()
        .with(ConfigKey::required(
            "regex",
            ConfigType::String,
            "Regular expression to use for matching.",
        ))
        .with(ConfigKey::required(
            "replacement",
            ConfigType::String,
            "Replacement string.",
        ))
}

pub(super) struct RegexRouter {
    whole: Regex,
    /// The same without the ends: a name that matches is replaced where the first match stands.
    expression: Regex,
    replacement: Replacement,
}

/// A replacement as Java's `Matcher` reads it.
pub(super) struct Replacement(Vec<Piece>);

impl Replacement {
    /// Takes a replacement for matches of an expression apart.
    ///
    /// # Errors
    /// What Java would say of it.
    pub(super) fn parse(text: &str, expression: &Regex) -> Result<Self, String> {
        pieces(text, expression).map(Self)
    }

    /// What stands in place of a match.
    pub(super) fn of<'a>(&'a self, groups: &'a Captures<'_>) -> String {
        let text = |piece: &'a Piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::Group(group) => groups.get(*group).map_or("", |group| group.as_str()),
        };
        self.0.iter().map(text).collect()
    }
}

/// A part of a replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Group(usize),
}

/// An expression that matches whole texts only, as Java's `matches` does.
pub(super) fn whole(key: &str, expression: &str) -> Result<Regex, ConnectError> {
    compiled(key, &format!("^(?:{expression})$"))
}

fn compiled(key: &str, expression: &str) -> Result<Regex, ConnectError> {
    Regex::new(expression)
        .map_err(|error| ConnectError::config(key, format!("Invalid regex: {error}")))
}

impl RegexRouter {
    pub(super) fn new(config: &Config) -> Result<Self, ConnectError> {
        let whole = whole("regex", config.string("regex"))?;
        let expression = compiled("regex", config.string("regex"))?;
        let replacement = Replacement::parse(config.string("replacement"), &expression)
            .map_err(|reason| ConnectError::config("replacement", reason))?;
        Ok(Self {
            whole,
            expression,
            replacement,
        })
    }
}

/// Takes a replacement apart.
///
/// # Errors
/// What Java would say of it.
fn pieces(replacement: &str, expression: &Regex) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = replacement;
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        match letter {
            '\\' => {
                let escaped = rest.chars().next();
                let escaped = escaped.ok_or("character to be escaped is missing after \\")?;
                rest = &rest[escaped.len_utf8()..];
                text.push(escaped);
            }
            '$' => {
                let (group, behind) = match rest.strip_prefix('{') {
                    Some(named) => named_group(named, expression)?,
                    None => numbered_group(rest, expression)?,
                };
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(Piece::Group(group));
                rest = behind;
            }
            letter => text.push(letter),
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

/// The group of `name}…`, and what follows.
fn named_group<'a>(named: &'a str, expression: &Regex) -> Result<(usize, &'a str), String> {
    let (name, behind) = named
        .split_once('}')
        .ok_or("named capturing group is missing trailing '}'")?;
    let known = expression.capture_names().flatten();
    match expression
        .capture_names()
        .position(|group| group == Some(name))
    {
        Some(group) => Ok((group, behind)),
        None => Err(format!(
            "No group with name {{{name}}}; the expression names {}",
            listed(known.collect())
        )),
    }
}

fn listed(names: Vec<&str>) -> String {
    match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(", "),
    }
}

/// The group of `12…`, and what follows: as many digits as there are groups for.
fn numbered_group<'a>(rest: &'a str, expression: &Regex) -> Result<(usize, &'a str), String> {
    let last = expression.captures_len() - 1;
    let digits = rest.chars().map_while(|digit| digit.to_digit(10));
    let mut group = None;
    let mut length = 0;
    for digit in digits {
        let digit = usize::try_from(digit).unwrap_or(0);
        let next = match group {
            None if digit > last => {
                return Err(format!("No group {digit}; the expression has {last}"));
            }
            None => digit,
            Some(group) => group * 10 + digit,
        };
        if next > last {
            break;
        }
        group = Some(next);
        length += 1;
    }
    let group =
        group.ok_or("Illegal group reference: $ stands for a group; \\$ is a dollar sign")?;
    Ok((group, &rest[length..]))
}

impl Each for RegexRouter {
    fn apply(&mut self, mut record: Record) -> Result<Option<Record>, ConnectError> {
        if !self.whole.is_match(&record.topic) {
            return Ok(Some(record));
        }
        if let Some(groups) = self.expression.captures(&record.topic) {
            let all = groups.get_match();
            let mut topic = record.topic[..all.start()].to_owned();
            topic.push_str(&self.replacement.of(&groups));
            topic.push_str(&record.topic[all.end()..]);
            record.topic = topic.into();
        }
        Ok(Some(record))
    }
}

#[cfg(test)]
mod tests {
    use connect_api::Value;

    use super::*;

    fn routed(regex: &str, replacement: &str, topic: &str) -> Result<String, String> {
        let entries = [("regex", regex), ("replacement", replacement)];
        let config = entries.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let config = def().parse(&config.into()).unwrap();
        let mut router = RegexRouter::new(&config).map_err(|error| error.to_string())?;
        let record = Record::new(topic, Value::Null, Value::Null);
        let routed = router.apply(record).unwrap().unwrap();
        Ok(routed.topic.to_string())
    }

    #[test]
    fn replacements_are_javas() {
        for (regex, replacement, topic, routed_to) in [
            ("(.*)-in", "$10", "a-in", "a0"),
            ("(.*)-in", r"$1\.esc", "a-in", "a.esc"),
            ("(.*)-in", r"\$1\\", "a-in", r"$1\"),
            ("(.*)-in", "$0x", "a-in", "a-inx"),
            ("(?<table>.*)-in", "${table}s", "a-in", "as"),
            ("(a)|(b)", "x$2y", "a", "xy"),
            ("a|ab", "x", "ab", "xb"),
            (
                "(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)",
                "$10$1",
                "0123456789",
                "90",
            ),
            ("x", "y", "z", "z"),
        ] {
            assert_eq!(
                routed(regex, replacement, topic).as_deref(),
                Ok(routed_to),
                "{replacement}"
            );
        }
    }

    #[test]
    fn groups_that_are_not_there_are_refused() {
        for (replacement, issue) in [
            ("$2xy", "No group 2; the expression has 1"),
            (
                "${nope}-zz",
                "No group with name {nope}; the expression names none",
            ),
            ("${nope", "missing trailing '}'"),
            ("$", "Illegal group reference"),
            ("$x", "Illegal group reference"),
            ("x\\", "character to be escaped is missing"),
        ] {
            let error = routed("(.*)-in", replacement, "a-in").unwrap_err();
            assert!(
                error.starts_with("replacement: ") && error.contains(issue),
                "{error}"
            );
        }
    }
}
