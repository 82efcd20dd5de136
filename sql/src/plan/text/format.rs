//! `format('%s is %5s', a, b)`: PostgreSQL's places for values. `%s` is the value, `%I` a name, `%L` a literal, `%%` a percent
//! sign; a number before `s` is the width, with `-` filled at the right, `n$` names the argument.

use super::{literal, name};

/// Characters of a width; a larger one is refused.
const WIDTH_MAX: usize = 1 << 20;

/// The text of a pattern and the values for its places.
///
/// # Errors
/// A place without value, or of no known kind.
pub(super) fn format(pattern: &str, values: &[Option<&str>]) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = pattern;
    let mut next = 0;
    while let Some((text, place)) = rest.split_once('%') {
        out += text;
        if let Some(after) = place.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let (named, place) = position(place);
        let (left, place) = match place.strip_prefix('-') {
            Some(place) => (true, place),
            None => (false, place),
        };
        let (width, place) = number(place);
        let mut chars = place.chars();
        let Some(kind) = chars.next() else {
            return Err("the pattern ends with an unfinished place; %% is a percent sign".into());
        };
        rest = chars.as_str();
        let at = named.unwrap_or(next + 1);
        next = at;
        let value = match at.checked_sub(1).and_then(|at| values.get(at)) {
            Some(value) => *value,
            None => return Err(format!("the pattern has a place for a value number {at}")),
        };
        let text = match (kind, value) {
            ('s', value) => value.unwrap_or_default().to_owned(),
            ('I', Some(value)) => name(value),
            ('I', None) => return Err("NULL is no name, as %I".into()),
            ('L', Some(value)) => literal(value),
            ('L', None) => "NULL".to_owned(),
            (kind, _) => {
                return Err(format!("%{kind} is no place; %s, %I, %L and %% are"));
            }
        };
        let width = width.unwrap_or(0);
        if width > WIDTH_MAX {
            return Err(format!("a width of {width} is too large"));
        }
        let blanks = " ".repeat(width.saturating_sub(text.chars().count()));
        if left {
            out += &(text + &blanks);
        } else {
            out += &(blanks + &text);
        }
    }
    Ok(out + rest)
}

/// `n$` at the start of a place.
fn position(place: &str) -> (Option<usize>, &str) {
    let (number, after) = number(place);
    match after.strip_prefix('$') {
        Some(after) if number.is_some() => (number, after),
        _ => (None, place),
    }
}

/// The number that a text starts with.
fn number(text: &str) -> (Option<usize>, &str) {
    let end = text.find(|char: char| !char.is_ascii_digit());
    let (digits, after) = text.split_at(end.unwrap_or(text.len()));
    match digits.is_empty() {
        true => (None, text),
        false => (Some(digits.parse().unwrap_or(usize::MAX)), after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers are PostgreSQL's.
    #[test]
    fn places_take_values() {
        let values = [Some("Foo bar"), Some("it's"), None, Some("x")];
        for (pattern, text) in [
            ("%s-%s", "Foo bar-it's"),
            ("%I %L %L %%", "\"Foo bar\" 'it''s' NULL %"),
            ("%4$5s|%4$-5s|%2$s|%s.", "    x|x    |it's|."),
            ("%10s|%-6s|", "   Foo bar|it's  |"),
            ("none", "none"),
        ] {
            assert_eq!(format(pattern, &values).as_deref(), Ok(text), "{pattern}");
        }
        let wide = format("%70000s", &values).expect("a width");
        assert_eq!(wide.chars().count(), 70_000);
        for pattern in ["%", "%d", "%s%s%s%s%s", "%3$I", "%0$s", "%99999999s"] {
            assert!(format(pattern, &values).is_err(), "{pattern}");
        }
    }
}
