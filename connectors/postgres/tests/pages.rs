//! The pages of the connectors have every key that they take, as they declare it. `UPDATE_PAGES=1` writes the tables.

use std::path::{Path, PathBuf};

use connect_api::{ConnectorPlugin, Rule};
use connector_postgres::{PostgresSink, PostgresSource};

/// The table is between these.
const BEGIN: &str = "<!-- keys: generated -->\n";
const END: &str = "<!-- keys: end -->\n";

fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/connect")
        .join(name)
}

fn table(plugin: &dyn ConnectorPlugin) -> String {
    let mut table = "| key (other names) | default | meaning |\n|---|---|---|\n".to_owned();
    for key in plugin.config_def().keys() {
        let aliases: Vec<String> = key
            .aliases
            .iter()
            .map(|alias| format!("`{alias}`"))
            .collect();
        let aliases = match aliases.is_empty() {
            true => String::new(),
            false => format!(" ({})", aliases.join(", ")),
        };
        let default = match (&key.default, key.required) {
            (_, true) => "required".to_owned(),
            (Some(default), _) => format!("`{default}`"),
            (None, _) => "–".to_owned(),
        };
        let choices = match &key.rule {
            Rule::OneOf(choices) | Rule::OneOfIgnoringCase(choices) => {
                format!(" One of {}.", choices.join(", "))
            }
            Rule::Between(least, most) => format!(" {least} to {most}."),
            _ => String::new(),
        };
        let text = key.documentation.replace('|', "\\|");
        table += &format!(
            "| `{}`{aliases} | {default} | {text}{choices} |\n",
            key.name
        );
    }
    table
}

#[test]
fn pages_have_every_key() {
    for (name, plugin) in [
        (
            "postgres-source.md",
            &PostgresSource as &dyn ConnectorPlugin,
        ),
        ("postgres-sink.md", &PostgresSink),
    ] {
        let path = page(name);
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once(BEGIN).unwrap();
        let (found, behind) = rest.split_once(END).unwrap();
        let expected = table(plugin);
        if std::env::var_os("UPDATE_PAGES").is_some() {
            let text = format!("{before}{BEGIN}{expected}{END}{behind}");
            std::fs::write(&path, text).unwrap();
        } else {
            assert!(
                found == expected,
                "{name} is not what the connector declares; UPDATE_PAGES=1 writes it:\n{expected}"
            );
        }
    }
}
