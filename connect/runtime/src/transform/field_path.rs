//! Paths to fields, in the syntax that `field.syntax.version` names (KIP-821).
//!
//! `V1` is the name of a field of the whole, dots and all. `V2` goes down at dots; a name that has dots itself stands in
//! backticks (``a.`b.c` `` is `b.c` in `a`), and a backslash makes a backtick within them one of the name.

use connect_api::{ConfigKey, ConfigType, Rule};

/// The key that names the syntax.
pub(super) fn syntax_key() -> ConfigKey {
    ConfigKey::optional(
        "field.syntax.version",
        ConfigType::String,
        Some("V1"),
        "Defines the version of the syntax to access fields: V1 takes the names of fields at the root, V2 also paths to \
         nested ones, with dots between the names and backticks around names that have dots.",
    )
    .rule(Rule::OneOfIgnoringCase(&["V1", "V2"]))
}

/// The names on the way to a field.
///
/// # Errors
/// A path whose backticks do not match.
pub(super) fn parse(path: &str, version: &str) -> Result<Vec<String>, String> {
    if !version.eq_ignore_ascii_case("V2") {
        return Ok(vec![path.to_owned()]);
    }
    let mut names = Vec::new();
    let mut rest = path;
    loop {
        let (name, behind) = match rest.strip_prefix('`') {
            Some(quoted) => wrapped(quoted).ok_or_else(|| {
                format!("Incomplete backtick pair in path: [{path}], consider adding a backslash before backticks")
            })?,
            None => match rest.split_once('.') {
                Some((name, _)) => (name.to_owned(), &rest[name.len()..]),
                None => (rest.to_owned(), ""),
            },
        };
        names.push(name);
        match behind.strip_prefix('.') {
            Some(next) => rest = next,
            None => return Ok(names),
        }
    }
}

/// The name up to the backtick that a dot or the end follows, and what follows it.
fn wrapped(quoted: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut letters = quoted.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        let behind = &quoted[at + letter.len_utf8()..];
        match letter {
            '\\' if behind.starts_with('`') => {
                letters.next();
                name.push('`');
            }
            '`' if behind.is_empty() || behind.starts_with('.') => return Some((name, behind)),
            letter => name.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_go_down_at_dots() {
        for (path, names) in [
            ("a", &["a"][..]),
            ("a.b.c", &["a", "b", "c"]),
            ("a.`b.c`.d", &["a", "b.c", "d"]),
            ("`a.b`", &["a.b"]),
            ("`a\\`.b`.c", &["a`.b", "c"]),
            ("a`b.c", &["a`b", "c"]),
        ] {
            assert_eq!(parse(path, "V2").unwrap(), names, "{path}");
        }
        assert_eq!(parse("a.b", "V1").unwrap(), ["a.b"]);
        assert!(parse("a.`b", "V2").is_err());
    }
}
