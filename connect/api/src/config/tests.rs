//! Validation in Kafka's words.

use super::*;

fn def() -> ConfigDef {
    ConfigDef::new()
        .with(ConfigKey::required("file", ConfigType::String, "A file.").rule(Rule::NotEmpty))
        .with(
            ConfigKey::optional("batch.size", ConfigType::Int, Some("2000"), "Rows.")
                .rule(Rule::AtLeast(1)),
        )
        .with(
            ConfigKey::optional("mode", ConfigType::String, Some("none"), "Mode.")
                .rule(Rule::OneOf(&["none", "all"]))
                .alias(&["old.mode"]),
        )
        .with(ConfigKey::optional(
            "flag",
            ConfigType::Boolean,
            Some("false"),
            "Flag.",
        ))
        .with(ConfigKey::optional(
            "secret",
            ConfigType::Password,
            None,
            "Secret.",
        ))
        .with(ConfigKey::optional(
            "topics",
            ConfigType::List,
            None,
            "Topics.",
        ))
}

fn map(entries: &[(&str, &str)]) -> ConfigMap {
    entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn errors(entries: &[(&str, &str)]) -> Vec<String> {
    def()
        .validate(&map(entries))
        .into_iter()
        .flat_map(|value| value.errors)
        .collect()
}

#[test]
fn wrong_values_are_named_in_kafkas_words() {
    assert_eq!(
        errors(&[]),
        ["Missing required configuration \"file\" which has no default value."]
    );
    let file = ("file", "a");
    assert_eq!(
        errors(&[file, ("batch.size", "x")]),
        ["Invalid value x for configuration batch.size: Not a number of type INT"]
    );
    assert_eq!(
        errors(&[file, ("batch.size", "0")]),
        ["Invalid value 0 for configuration batch.size: Value must be at least 1"]
    );
    assert_eq!(
        errors(&[file, ("mode", "some")]),
        ["Invalid value some for configuration mode: String must be one of: none, all"]
    );
    assert_eq!(
        errors(&[file, ("flag", "yes")]),
        ["Invalid value yes for configuration flag: Expected value to be either true or false"]
    );
    assert_eq!(errors(&[("file", " ")]).len(), 1);
}

#[test]
fn parsed_values_have_defaults_and_aliases() {
    let config = def()
        .parse(&map(&[
            ("file", "a"),
            ("old.mode", "all"),
            ("topics", "a, b,,c "),
        ]))
        .unwrap();
    assert_eq!(config.string("mode"), "all");
    assert_eq!(config.int("batch.size"), 2000);
    assert!(!config.boolean("flag"));
    assert_eq!(config.list("topics"), ["a", "b", "c"]);
    assert_eq!(config.get("secret"), None);
    let error = def()
        .parse(&map(&[("file", "a"), ("flag", "?")]))
        .unwrap_err();
    assert!(matches!(error, ConnectError::Config { key, .. } if key == "flag"));
}
