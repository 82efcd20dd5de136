//! What is wrong with a connector before it is made: the worker looks, with the live systems that it names.

use anyhow::{Result, bail};
use reqwest::Method;
use serde_json::{Map, Value};

use super::worker::Worker;
use crate::screen::{line, note};
use crate::topic::Output;

/// The worker's answer about a configuration.
async fn validated(worker: &Worker, config: &Map<String, Value>) -> Result<Value> {
    let Some(class) = config.get("connector.class").and_then(Value::as_str) else {
        bail!(
            "the configuration has no connector.class; `thalweg connect plugins` shows what there is"
        );
    };
    let path = ["connector-plugins", class, "config", "validate"];
    let body = Value::Object(config.clone());
    worker.call(Method::PUT, &path, Some(&body)).await
}

fn warnings(answer: &Value) -> impl Iterator<Item = &str> {
    let warnings = answer["warnings"].as_array().into_iter().flatten();
    warnings.filter_map(Value::as_str)
}

/// Each key with what is wrong with it.
fn errors(answer: &Value) -> Vec<(String, String)> {
    let configs = answer["configs"].as_array().into_iter().flatten();
    configs
        .flat_map(|config| {
            let key = config["value"]["name"].as_str().unwrap_or_default();
            let errors = config["value"]["errors"].as_array().into_iter().flatten();
            errors.map(move |error| {
                (
                    key.to_owned(),
                    error.as_str().unwrap_or_default().to_owned(),
                )
            })
        })
        .collect()
}

/// Says what is wrong; nothing is made.
///
/// # Errors
/// If something is.
pub(super) async fn check(
    worker: &Worker,
    output: Output,
    name: &str,
    mut config: Map<String, Value>,
) -> Result<()> {
    config.insert("name".to_owned(), name.into());
    let answer = validated(worker, &config).await?;
    let errors = errors(&answer);
    if output == Output::Json {
        line(&answer)?;
    } else {
        for warning in warnings(&answer) {
            line(format!("warning: {warning}"))?;
        }
        for (key, error) in &errors {
            line(format!("{key}: {error}"))?;
        }
    }
    match errors.len() {
        0 if output == Output::Table => line(format!("connector {name} can run")),
        0 => Ok(()),
        1 => bail!("connector {name} cannot run as it is: 1 error"),
        several => bail!("connector {name} cannot run as it is: {several} errors"),
    }
}

/// Tells of keys that may not mean what they were meant to; a worker that does not know says nothing.
pub(super) async fn warn(worker: &Worker, name: &str, mut config: Map<String, Value>) {
    config.insert("name".to_owned(), name.into());
    if let Ok(answer) = validated(worker, &config).await {
        for warning in warnings(&answer) {
            note(format!("warning: {warning}"));
        }
    }
}

/// Prints what a configuration of this plugin may have: properties with what they mean, or the JSON of what it must.
pub(super) async fn template(worker: &Worker, output: Output, plugin: &str) -> Result<()> {
    let path = ["connector-plugins", plugin, "config"];
    let keys = worker.call(Method::GET, &path, None).await?;
    let keys: Vec<&Value> = keys.as_array().into_iter().flatten().collect();
    match output {
        Output::Json => {
            let mut config = Map::new();
            config.insert("connector.class".to_owned(), plugin.into());
            for key in keys.iter().filter(|key| key["required"] == true) {
                let name = key["name"].as_str().unwrap_or_default();
                config.entry(name).or_insert_with(|| "".into());
            }
            config.remove("name");
            let connector = serde_json::json!({"name": "my-connector", "config": config});
            line(serde_json::to_string_pretty(&connector)?)
        }
        Output::Table => line(properties(plugin, &keys)),
    }
}

/// Keys that have to be there first; the others are comments with their defaults.
fn properties(plugin: &str, keys: &[&Value]) -> String {
    let mut out = format!("name=my-connector\nconnector.class={plugin}\n");
    let (required, optional): (Vec<&Value>, Vec<&Value>) = keys
        .iter()
        .copied()
        .partition(|key| key["required"] == true);
    for (keys, mark) in [(required, ""), (optional, "#")] {
        for key in keys {
            let text = |field: &str| key[field].as_str().unwrap_or_default();
            let name = text("name");
            if matches!(name, "name" | "connector.class") {
                continue;
            }
            let documentation = text("documentation").replace('\n', "\n# ");
            out += &format!(
                "\n# {documentation}\n{mark}{name}={}\n",
                text("default_value")
            );
        }
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wrong_is_told_by_key() {
        let answer = json!({
            "configs": [
                {"value": {"name": "a", "errors": []}},
                {"value": {"name": "b", "errors": ["is wrong", "is too long"]}},
            ],
            "warnings": ["unknown key c"],
        });
        let told = |key: &str, error: &str| (key.to_owned(), error.to_owned());
        assert_eq!(
            errors(&answer),
            [told("b", "is wrong"), told("b", "is too long")]
        );
        assert_eq!(warnings(&answer).collect::<Vec<_>>(), ["unknown key c"]);
        assert_eq!(warnings(&json!({})).count(), 0);
    }

    #[test]
    fn a_template_has_what_is_required_first() {
        let keys = [
            json!({"name": "connector.class", "required": true, "documentation": "x"}),
            json!({"name": "b", "required": false, "default_value": "7", "documentation": "Two\nlines."}),
            json!({"name": "a", "required": true, "default_value": null, "documentation": "First."}),
        ];
        let keys: Vec<&Value> = keys.iter().collect();
        assert_eq!(
            properties("P", &keys),
            "name=my-connector\nconnector.class=P\n\n# First.\na=\n\n# Two\n# lines.\n#b=7"
        );
    }
}
