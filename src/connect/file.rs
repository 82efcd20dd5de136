//! Files of connectors: JSON as for Kafka Connect's REST interface, or properties as for its standalone worker.

use std::io::Read;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

/// Reads a connector's name and configuration; `-` is standard input.
///
/// # Errors
/// A file that cannot be read, or is of neither form.
pub(super) fn read(file: &str) -> Result<(String, Map<String, Value>)> {
    connector(file, &text_of(file)?)
}

/// Reads JSON; `-` is standard input.
///
/// # Errors
/// A file that cannot be read, or is not JSON.
pub(super) fn json(file: &str) -> Result<Value> {
    serde_json::from_str(&text_of(file)?).with_context(|| format!("{file} is not JSON"))
}

fn text_of(file: &str) -> Result<String> {
    Ok(if file == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("read standard input")?;
        text
    } else {
        std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?
    })
}

fn connector(file: &str, text: &str) -> Result<(String, Map<String, Value>)> {
    let text = text.trim_start_matches('\u{feff}');
    // No key of a property begins so.
    let value = if text.trim_start().starts_with(['{', '[', '"']) {
        serde_json::from_str(text).with_context(|| format!("{file} is not JSON"))?
    } else {
        Value::Object(properties(file, text)?)
    };
    named_config(file, value)
}

/// Lines `key=value` as Java reads them: `#` and `!` begin a comment, a backslash at its end joins a line to the next.
fn properties(file: &str, text: &str) -> Result<Map<String, Value>> {
    let mut map = Map::new();
    let mut lines = text.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut whole = line.to_owned();
        while goes_on(&whole) {
            whole.pop();
            match lines.next() {
                Some((more, _)) => whole.push_str(more.trim_start()),
                None => break,
            }
        }
        let Some(end) = end_of_key(&whole) else {
            bail!("{file}, line {number}: \"{line}\" is neither key=value nor JSON");
        };
        let value = whole[end..].trim_start();
        let value = value.strip_prefix(['=', ':']).unwrap_or(value).trim_start();
        map.insert(unescaped(&whole[..end]), unescaped(value).into());
    }
    Ok(map)
}

/// Whether the last backslash is not itself behind one.
fn goes_on(line: &str) -> bool {
    let behind = line.len() - line.trim_end_matches('\\').len();
    behind % 2 == 1
}

/// The first separator that is not behind a backslash.
fn end_of_key(line: &str) -> Option<usize> {
    let mut escaped = false;
    line.char_indices().find_map(|(place, letter)| {
        let ends = !escaped && matches!(letter, '=' | ':' | ' ' | '\t');
        escaped = !escaped && letter == '\\';
        ends.then_some(place)
    })
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('u') => {
                let digits: String = letters.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok();
                out.extend(code.and_then(char::from_u32));
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

/// Name and configuration, of either form.
fn named_config(file: &str, value: Value) -> Result<(String, Map<String, Value>)> {
    let Value::Object(mut object) = value else {
        bail!(
            "{file}: expected an object such as {}",
            json!({"name": "orders", "config": {}})
        );
    };
    let name = match object.get("name") {
        Some(Value::String(name)) => name.clone(),
        _ => bail!("{file}: has no \"name\" of the connector"),
    };
    match object.remove("config") {
        Some(Value::Object(config)) => Ok((name, config)),
        Some(_) => bail!("{file}: \"config\" is not an object"),
        None => Ok((name, object)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_connector_are_taken() {
        let config = json!({"connector.class": "FileStreamSource"});
        let (name, taken) =
            named_config("f", json!({"name": "a", "config": config})).expect("valid");
        assert_eq!((name.as_str(), Value::Object(taken)), ("a", config));
        let (name, taken) = named_config("f", json!({"name": "a", "file": "x"})).expect("valid");
        assert_eq!((name.as_str(), taken["file"].as_str()), ("a", Some("x")));
        for wrong in [
            json!([1]),
            json!({"config": {}}),
            json!({"name": "a", "config": 1}),
        ] {
            let error = named_config("f.json", wrong.clone()).expect_err("wrong");
            assert!(
                error.to_string().starts_with("f.json: "),
                "{wrong}: {error}"
            );
        }
    }

    #[test]
    fn properties_are_read_as_java_reads_them() {
        let text = "# a comment\nname=orders\nconnector.class : FileStreamSource\n\n! another\nfile=/a\\\\b \\\n   c\n\
                    odd\\=key=x\\u00fc\\ty\nempty=\n";
        let (name, config) = connector("f", text).expect("valid");
        assert_eq!(name, "orders");
        let expected = json!({
            "name": "orders", "connector.class": "FileStreamSource", "file": "/a\\b c", "odd=key": "x\u{fc}\ty",
            "empty": "",
        });
        assert_eq!(Value::Object(config), expected);
        let json = connector("f", "\u{feff} {\"name\": \"a\"}").expect("valid");
        assert_eq!(json.0, "a");
        let error = connector("f", "name=a\nwhat").expect_err("no property");
        assert_eq!(
            error.to_string(),
            "f, line 2: \"what\" is neither key=value nor JSON"
        );
    }
}
