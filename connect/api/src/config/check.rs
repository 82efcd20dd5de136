//! Checks of single values, in the words of Kafka's `ConfigException`.

use super::{ConfigKey, ConfigType, Rule};

/// What is wrong with `value` for `key`, if anything.
pub(super) fn value(key: &ConfigKey, value: &str) -> Option<String> {
    wrong_type(key, value)
        .or_else(|| breaks_rule(key, value))
        .map(|reason| {
            let shown = if key.kind == ConfigType::Password {
                "[hidden]"
            } else {
                value
            };
            format!(
                "Invalid value {shown} for configuration {}: {reason}",
                key.name
            )
        })
}

/// The items of a list.
pub(super) fn list(value: &str) -> Vec<String> {
    value
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}

fn wrong_type(key: &ConfigKey, value: &str) -> Option<String> {
    let trimmed = value.trim();
    let not_a_number = || Some(format!("Not a number of type {}", key.kind.as_str()));
    match key.kind {
        ConfigType::Boolean => {
            let known = ["true", "false"]
                .iter()
                .any(|word| trimmed.eq_ignore_ascii_case(word));
            (!known).then(|| "Expected value to be either true or false".to_owned())
        }
        ConfigType::Int if trimmed.parse::<i32>().is_err() => not_a_number(),
        ConfigType::Long if trimmed.parse::<i64>().is_err() => not_a_number(),
        ConfigType::Double if trimmed.parse::<f64>().is_err() => not_a_number(),
        _ => None,
    }
}

fn breaks_rule(key: &ConfigKey, value: &str) -> Option<String> {
    let number = || value.trim().parse::<i64>().unwrap_or(0);
    match &key.rule {
        Rule::Any => None,
        Rule::OneOf(choices) => (!choices.contains(&value))
            .then(|| format!("String must be one of: {}", choices.join(", "))),
        Rule::OneOfIgnoringCase(choices) => (!choices
            .iter()
            .any(|choice| choice.eq_ignore_ascii_case(value)))
        .then(|| {
            format!(
                "String must be one of (case insensitive): {}",
                choices.join(", ")
            )
        }),
        Rule::AtLeast(least) => {
            (number() < *least).then(|| format!("Value must be at least {least}"))
        }
        Rule::Between(least, _) if number() < *least => {
            Some(format!("Value must be at least {least}"))
        }
        Rule::Between(_, most) => {
            (number() > *most).then(|| format!("Value must be no more than {most}"))
        }
        Rule::NotEmpty => value
            .trim()
            .is_empty()
            .then(|| "String must be non-empty".to_owned()),
    }
}
