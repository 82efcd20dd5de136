//! Configuration keys of connectors: declared once, used for validation, documentation and forms.
//!
//! Texts are those of Kafka's `ConfigDef`, because people and tools search for them.

mod check;
mod key;

use std::collections::BTreeMap;

use crate::ConnectError;
pub use key::{ConfigKey, ConfigType, Importance, Rule, Width};

/// A configuration as users write it: flat, all strings.
pub type ConfigMap = BTreeMap<String, String>;

/// The keys of a connector, converter or transform.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConfigDef {
    keys: Vec<ConfigKey>,
}

/// One key as a configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigValue {
    /// The key.
    pub name: String,
    /// Its value, or its default; `None` where there is neither.
    pub value: Option<String>,
    /// Values that would be right, where they can be listed.
    pub recommended: Vec<String>,
    /// What is wrong with it.
    pub errors: Vec<String>,
}

impl ConfigDef {
    /// No keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one more key.
    ///
    /// # Panics
    /// If the key is there already: a programmer's error.
    #[must_use]
    pub fn with(mut self, key: ConfigKey) -> Self {
        assert!(
            self.key(&key.name).is_none(),
            "configuration key {} is declared twice",
            key.name
        );
        self.keys.push(key);
        self
    }

    /// The keys in order of declaration.
    pub fn keys(&self) -> &[ConfigKey] {
        &self.keys
    }

    /// The key of this name or with this alias.
    pub fn key(&self, name: &str) -> Option<&ConfigKey> {
        self.keys
            .iter()
            .find(|key| key.name == name || key.aliases.contains(&name))
    }

    /// Every key with its value and what is wrong with it, in order of declaration.
    pub fn validate(&self, config: &ConfigMap) -> Vec<ConfigValue> {
        self.keys
            .iter()
            .map(|key| {
                let given = key.given(config);
                let mut errors = Vec::new();
                match given.or(key.default.as_deref()) {
                    Some(value) => errors.extend(check::value(key, value)),
                    None if key.required => errors.push(format!(
                        "Missing required configuration \"{}\" which has no default value.",
                        key.name
                    )),
                    None => {}
                }
                ConfigValue {
                    name: key.name.clone(),
                    value: given.map(str::to_owned).or_else(|| key.default.clone()),
                    recommended: key.rule.choices(),
                    errors,
                }
            })
            .collect()
    }

    /// The typed values of a configuration.
    ///
    /// # Errors
    /// The first key with a wrong or missing value.
    pub fn parse(&self, config: &ConfigMap) -> Result<Config, ConnectError> {
        let mut values = BTreeMap::new();
        for value in self.validate(config) {
            if let Some(message) = value.errors.into_iter().next() {
                return Err(ConnectError::Config {
                    key: value.name,
                    message,
                });
            }
            values.insert(value.name, value.value);
        }
        Ok(Config { values })
    }
}

/// A configuration whose values have the right types. Getters panic for a key that was never declared, or is asked
/// for as another type than declared: programmer's errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    values: BTreeMap<String, Option<String>>,
}

impl Config {
    /// The value or default of a key, `None` where there is neither.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values
            .get(name)
            .unwrap_or_else(|| panic!("configuration key {name} is not declared"))
            .as_deref()
    }

    /// The value of a required key or one with a default.
    pub fn string(&self, name: &str) -> &str {
        self.get(name)
            .unwrap_or_else(|| panic!("configuration key {name} may be absent"))
    }

    /// A whole number.
    pub fn int(&self, name: &str) -> i64 {
        self.string(name)
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("{name} is declared as a number"))
    }

    /// A count: negative numbers are 0.
    pub fn count(&self, name: &str) -> usize {
        usize::try_from(self.int(name)).unwrap_or(0)
    }

    /// True or false.
    pub fn boolean(&self, name: &str) -> bool {
        self.string(name).trim().eq_ignore_ascii_case("true")
    }

    /// The items of a list, trimmed; none for an empty or absent value.
    pub fn list(&self, name: &str) -> Vec<String> {
        self.get(name).map(check::list).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
