//! Values that a configuration only points to, and values that nobody is to see.
//!
//! | placeholder | stands for |
//! |---|---|
//! | `${env:NAME}` | the environment variable of this process |
//! | `${file:/path:key}` | the value of `key` in a file of properties |
//! | `${dir:/path:name}` | the content of the file `name` in a folder (how Kubernetes mounts secrets) |
//!
//! They are Kafka's `EnvVarConfigProvider`, `FileConfigProvider` and `DirectoryConfigProvider`, which need not be set
//! up here. Other texts in `${…}` stay what they are.
//!
//! Invariants:
//! 1. What a placeholder stands for is looked up where a connector, a task or a check starts, and never stored: topics
//!    and answers have the placeholder.
//! 2. Neither that nor the value of a key of type PASSWORD, nor a password within `connection.url`, is in an answer, a
//!    status or a message. Messages, but no answers, tell what the connector's own keys of other types came to: which host
//!    refused is no secret, and a wrong variable cannot be seen otherwise.

use std::ops::Range;
use std::path::{Component, Path};

use connect_api::{ConfigMap, ConfigType, ConnectError, ConnectorPlugin};

/// What is shown of a password.
pub(crate) const MASK: &str = "********";
/// The key whose value may have passwords in it.
pub(crate) const URL: &str = "connection.url";
/// Shorter values stand in too many messages by chance to be told from what is secret.
const HIDDEN_BYTES_MIN: usize = 4;
/// Bytes of a file that a placeholder names.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The configuration with all its placeholders replaced.
///
/// # Errors
/// [`ConnectError::Config`] of the key whose placeholder stands for nothing.
pub(crate) fn resolve(config: &ConfigMap) -> Result<ConfigMap, ConnectError> {
    config
        .iter()
        .map(|(key, value)| match value_of(value) {
            Ok(value) => Ok((key.clone(), value)),
            Err(reason) => Err(ConnectError::config(key.as_str(), reason)),
        })
        .collect()
}

/// What a connector made of its resolved configuration for a task, with the placeholders that it was resolved from.
pub(crate) fn unresolved(
    mut made: ConfigMap,
    stored: &ConfigMap,
    resolved: &ConfigMap,
) -> ConfigMap {
    for (key, value) in &mut made {
        if let Some(stored) = stored.get(key).filter(|_| resolved.get(key) == Some(value)) {
            value.clone_from(stored);
        }
    }
    made
}

/// As [`resolve`], with every key whose placeholder stands for nothing, which keep it.
pub(crate) fn resolve_all(config: &ConfigMap) -> (ConfigMap, Vec<(String, String)>) {
    let mut issues = Vec::new();
    let resolved = config
        .iter()
        .map(|(key, value)| {
            let found = value_of(value).unwrap_or_else(|reason| {
                issues.push((key.clone(), reason));
                value.clone()
            });
            (key.clone(), found)
        })
        .collect();
    (resolved, issues)
}

fn value_of(text: &str) -> Result<String, String> {
    let mut value = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let Some(length) = rest[start..].find('}') else {
            break;
        };
        let (before, placeholder) = rest[..start + length + 1].split_at(start);
        value.push_str(before);
        let inner = &placeholder[2..placeholder.len() - 1];
        let found = match inner.split_once(':') {
            Some(("env", name)) => Some(environment(name)),
            Some(("file", place)) => Some(property(place)),
            Some(("dir", place)) => Some(content(place)),
            _ => None,
        };
        match found {
            Some(Ok(found)) => value.push_str(&found),
            Some(Err(reason)) => return Err(format!("{placeholder}: {reason}")),
            None => value.push_str(placeholder),
        }
        rest = &rest[start + length + 1..];
    }
    value.push_str(rest);
    Ok(value)
}

fn environment(name: &str) -> Result<String, String> {
    // Kafka's form with an empty path is `${env::NAME}`.
    let name = name.strip_prefix(':').unwrap_or(name);
    std::env::var(name).map_err(|_| {
        format!("the server's environment has no text variable {name}; set it and start again")
    })
}

/// Path and key of `path:key`.
fn split(place: &str) -> Result<(&Path, &str), String> {
    match place.rsplit_once(':') {
        Some((path, key)) if Path::new(path).is_absolute() && !key.is_empty() => {
            Ok((Path::new(path), key))
        }
        Some((path, _)) if !Path::new(path).is_absolute() => {
            Err("the path has to begin with /".to_owned())
        }
        _ => Err("needs a path and a name, with a colon between them".to_owned()),
    }
}

fn read(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > FILE_BYTES_MAX {
        return Err(format!(
            "{} has more than {FILE_BYTES_MAX} bytes",
            path.display()
        ));
    }
    std::fs::read_to_string(path).map_err(failed)
}

fn property(place: &str) -> Result<String, String> {
    let (path, key) = split(place)?;
    let found = properties(&read(path)?)
        .into_iter()
        .rfind(|(name, _)| name == key);
    found
        .map(|(_, value)| value)
        .ok_or_else(|| format!("{} has no key {key}", path.display()))
}

fn content(place: &str) -> Result<String, String> {
    let (folder, name) = split(place)?;
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(_)), None) => {
            let text = read(&folder.join(name))?;
            // Editors end files with a newline that is no part of the secret.
            Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
        }
        _ => Err(format!("{name} is no name of a file in the folder")),
    }
}

/// The entries of a file of properties, as Java reads it: `key=value`, `key:value` or `key value`, comments after `#`
/// and `!`, a line goes on after `\` at its end, and `\` makes other characters what they mean.
fn properties(text: &str) -> Vec<(String, String)> {
    let mut entries = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut line = line.trim_start().to_owned();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        while goes_on(&line) {
            line.pop();
            match lines.next() {
                Some(next) => line.push_str(next.trim_start()),
                None => break,
            }
        }
        let (key, value) = entry(&line);
        entries.push((unescaped(key), unescaped(value)));
    }
    entries
}

fn goes_on(line: &str) -> bool {
    let slashes = line.bytes().rev().take_while(|byte| *byte == b'\\').count();
    slashes % 2 == 1
}

/// Key and value of a line, still escaped.
fn entry(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.char_indices().find(|(_, letter)| {
        let ends = !escaped && matches!(*letter, '=' | ':' | ' ' | '\t');
        escaped = !escaped && *letter == '\\';
        ends
    });
    let Some((end, _)) = end else {
        return (line, "");
    };
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, value.trim_start())
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let digits: String = letters.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok();
                out.push(code.and_then(char::from_u32).unwrap_or('\u{fffd}'));
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

/// Texts that messages must not show, and what stands in their place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Secrets(Vec<(String, String)>);

impl Secrets {
    /// Those of a configuration and of what it was resolved to.
    pub(crate) fn of(
        stored: &ConfigMap,
        resolved: &ConfigMap,
        plugin: &dyn ConnectorPlugin,
    ) -> Self {
        let def = plugin.config_def();
        let mut secrets: Vec<(String, String)> = resolved
            .iter()
            .filter_map(|(key, value)| {
                let stored = stored.get(key)?;
                let kind = def.key(key).map(|key| key.kind);
                let password = kind == Some(ConfigType::Password);
                let is_told = kind.is_some() && !password && key != URL;
                let shown = match stored != value {
                    true if is_told => return None,
                    true => stored.as_str(),
                    false if password => MASK,
                    false => return None,
                };
                let is_long = value.len() >= HIDDEN_BYTES_MIN;
                is_long.then(|| (value.clone(), shown.to_owned()))
            })
            .collect();
        if let Some(url) = resolved.get(URL) {
            let hidden = passwords(url)
                .into_iter()
                .map(|(_, place)| url[place].to_owned())
                .filter(|password| password.len() >= HIDDEN_BYTES_MIN)
                .map(|password| (password, MASK.to_owned()));
            secrets.extend(hidden);
        }
        // A secret that holds another is replaced whole.
        secrets.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        Self(secrets)
    }

    /// A text without them.
    pub(crate) fn hide(&self, text: String) -> String {
        self.0.iter().fold(text, |text, (secret, shown)| {
            match text.contains(secret.as_str()) {
                true => text.replace(secret.as_str(), shown),
                false => text,
            }
        })
    }
}

/// Whether a value is one placeholder and nothing else, which tells nothing.
fn is_placeholder(value: &str) -> bool {
    ["${env:", "${file:", "${dir:"]
        .iter()
        .any(|start| value.starts_with(start))
        && value.find('}') == Some(value.len() - 1)
}

/// Where a URL has passwords: `user:password@`, under no name, and parameters, under theirs.
fn passwords(url: &str) -> Vec<(&str, Range<usize>)> {
    let mut found = Vec::new();
    let question = url.find('?').unwrap_or(url.len());
    let base = &url[..question];
    if let Some(start) = base.find("://").map(|place| place + 3)
        && let Some(end) = base.rfind('@').filter(|end| *end >= start)
        && let Some(colon) = base[start..end].find(':')
    {
        found.push(("", start + colon + 1..end));
    }
    let mut start = question + 1;
    for pair in url.get(start..).unwrap_or_default().split('&') {
        if let Some((name, value)) = pair.split_once('=')
            && name.to_ascii_lowercase().ends_with("password")
        {
            let end = start + pair.len();
            found.push((name, end - value.len()..end));
        }
        start += pair.len() + 1;
    }
    found.retain(|(_, place)| !place.is_empty());
    found
}

/// The URL with other passwords, where there are others.
fn with_passwords(url: &str, other: impl Fn(&str, &str) -> Option<String>) -> String {
    let mut out = url.to_owned();
    // From the end: the places in front of one stay what they are.
    for (name, place) in passwords(url).into_iter().rev() {
        if let Some(password) = other(name, &url[place.clone()]) {
            out.replace_range(place, &password);
        }
    }
    out
}

/// A configuration as answers show it.
pub(crate) fn masked(mut config: ConfigMap, plugin: Option<&dyn ConnectorPlugin>) -> ConfigMap {
    let def = plugin.map(ConnectorPlugin::config_def).unwrap_or_default();
    for (key, value) in &mut config {
        let password = def
            .key(key)
            .is_some_and(|key| key.kind == ConfigType::Password);
        if password && !is_placeholder(value) {
            MASK.clone_into(value);
        } else if key == URL {
            *value = masked_url(value);
        }
    }
    config
}

/// A URL as answers show it.
pub(crate) fn masked_url(url: &str) -> String {
    with_passwords(url, |_, password| {
        (!is_placeholder(password)).then(|| MASK.to_owned())
    })
}

/// A configuration that was read, edited and sent back: passwords that come as they are shown are those that are
/// stored.
pub(crate) fn unmasked(
    mut config: ConfigMap,
    stored: &ConfigMap,
    plugin: Option<&dyn ConnectorPlugin>,
) -> ConfigMap {
    let def = plugin.map(ConnectorPlugin::config_def).unwrap_or_default();
    for (key, value) in &mut config {
        let known = def
            .key(key)
            .filter(|known| *value == MASK && known.kind == ConfigType::Password)
            .and_then(|known| known.given(stored));
        if let Some(known) = known {
            known.clone_into(value);
        } else if let Some(stored) = stored.get(URL).filter(|_| key == URL) {
            let known = passwords(stored);
            *value = with_passwords(value, |name, password| {
                let known = known.iter().find(|(known, _)| *known == name);
                known
                    .filter(|_| password == MASK)
                    .map(|(_, place)| stored[place.clone()].to_owned())
            });
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_within_urls_are_masked_and_kept() {
        let config = |url: &str| ConfigMap::from([(URL.to_owned(), url.to_owned())]);
        for (url, shown) in [
            (
                "jdbc:postgresql://db:5433/shop?user=me&password=p%26w&sslpassword=x&a=b",
                "jdbc:postgresql://db:5433/shop?user=me&password=********&sslpassword=********&a=b",
            ),
            (
                "postgresql://me:s3/cr:e@t@db:5433/shop?password=pw",
                "postgresql://me:********@db:5433/shop?password=********",
            ),
            (
                "jdbc:postgresql:shop?password=${env:DB_PASSWORD}",
                "jdbc:postgresql:shop?password=${env:DB_PASSWORD}",
            ),
            (
                "postgresql://me:${file:/etc/db:password}@db/shop",
                "postgresql://me:${file:/etc/db:password}@db/shop",
            ),
            (
                "postgresql://me@db:5433/shop?password=&user=a@b",
                "postgresql://me@db:5433/shop?password=&user=a@b",
            ),
            ("no url", "no url"),
        ] {
            let answer = masked(config(url), None);
            assert_eq!(answer[URL], shown);
            // Sent back as it was read.
            assert_eq!(unmasked(answer, &config(url), None)[URL], url);
        }
        let stored = config("postgresql://me:secret@db/shop?password=other");
        for (sent, kept) in [
            // Edited around the password, replaced, and where nothing is known.
            (
                "postgresql://you:********@db2/shop",
                "postgresql://you:secret@db2/shop",
            ),
            (
                "postgresql://me:new@db/shop?password=********",
                "postgresql://me:new@db/shop?password=other",
            ),
            (
                "postgresql://db/shop?sslpassword=********",
                "postgresql://db/shop?sslpassword=********",
            ),
        ] {
            assert_eq!(unmasked(config(sent), &stored, None)[URL], kept);
        }
    }

    fn resolved(value: &str) -> Result<String, String> {
        value_of(value)
    }

    #[test]
    fn placeholders_stand_for_variables_properties_and_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("db.properties");
        let text =
            "# c\n! c\n\nuser = me\npass\\ word: a\\\n   b\\u00e9\\t=\nempty\nx y z\nuser=you\n";
        std::fs::write(&file, text).unwrap();
        std::fs::write(folder.path().join("token"), "t0ken\n").unwrap();
        let (file, dir) = (file.display(), folder.path().display());
        for (value, expected) in [
            (format!("${{file:{file}:user}}"), "you"),
            (format!("-${{file:{file}:pass word}}-"), "-abé\t=-"),
            (format!("${{file:{file}:empty}}"), ""),
            (format!("${{file:{file}:x}}"), "y z"),
            (
                format!("${{dir:{dir}:token}}${{dir:{dir}:token}}"),
                "t0kent0ken",
            ),
            (
                "${topic} ${vault:a:b} ${env".to_owned(),
                "${topic} ${vault:a:b} ${env",
            ),
        ] {
            assert_eq!(resolved(&value).as_deref(), Ok(expected), "{value}");
        }
        let home = std::env::var("PATH").unwrap();
        assert_eq!(resolved("${env:PATH}"), Ok(home.clone()));
        assert_eq!(resolved("${env::PATH}"), Ok(home));
        for (value, issue) in [
            (
                "${env:THALWEG_HAS_NO_SUCH_NAME}".to_owned(),
                "no text variable",
            ),
            (format!("${{file:{file}:nope}}"), "has no key nope"),
            ("${file:a:b}".to_owned(), "has to begin with /"),
            ("${file:/nowhere:b}".to_owned(), "cannot read /nowhere"),
            (format!("${{dir:{dir}:../token}}"), "no name of a file"),
        ] {
            let error = resolved(&value).unwrap_err();
            assert!(error.contains(issue), "{error}");
        }
    }
}
