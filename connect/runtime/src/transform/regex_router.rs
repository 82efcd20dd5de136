//! RegexRouter: renames the topic where the whole name matches. Java's `$1` in the replacement works.

use connect_api::{Config, ConfigDef, ConfigKey, ConfigType, ConnectError, Record};
use regex::Regex;

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
    replacement: String,
}

/// An expression that matches whole texts only, as Java's `matches` does.
pub(super) fn whole(key: &str, expression: &str) -> Result<Regex, ConnectError> {
    Regex::new(&format!("^(?:{expression})$"))
        .map_err(|error| ConnectError::config(key, format!("Invalid regex: {error}")))
}

impl RegexRouter {
    pub(super) fn new(config: &Config) -> Result<Self, ConnectError> {
        Ok(Self {
            whole: whole("regex", config.string("regex"))?,
            replacement: braced(config.string("replacement")),
        })
    }
}

/// `$1x` means group 1 and then `x` in Java, but group `1x` in the regex crate.
fn braced(replacement: &str) -> String {
    let mut out = String::new();
    let mut rest = replacement;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        let digits = rest.len()
            - rest
                .trim_start_matches(|digit: char| digit.is_ascii_digit())
                .len();
        if digits > 0 {
            out.push_str("${");
            out.push_str(&rest[..digits]);
            out.push('}');
            rest = &rest[digits..];
        } else {
            out.push('$');
        }
    }
    out + rest
}

impl Each for RegexRouter {
    fn apply(&mut self, mut record: Record) -> Result<Option<Record>, ConnectError> {
        let renamed = self.whole.replace(&record.topic, &self.replacement);
        if let std::borrow::Cow::Owned(topic) = renamed {
            record.topic = topic.into();
        }
        Ok(Some(record))
    }
}
