//! `date_format(ts, pattern)`: Java's patterns for times, as Flink and ksqlDB take them, as parts of `to_char`'s.
//!
//! A letter says what, the number of times that it stands how: `M` 5, `MM` 05, `MMM` May, `MMMM` the whole name. What is in
//! `'…'` is text, `''` is a quote; letters that are not known are refused.

use datafusion::common::{DataFusionError, Result as BoundResult};

use super::to_char::Part;
use crate::diagnostic::{Code, Diagnostic};

/// A letter, how many times it stands, the field that it is, and whether that goes without padding.
const FIELDS: &[(char, usize, &str, bool)] = &[
    ('y', 1, "YYYY", true),
    ('y', 2, "YY", false),
    ('y', 4, "YYYY", false),
    ('u', 1, "YYYY", true),
    ('u', 2, "YY", false),
    ('u', 4, "YYYY", false),
    ('Q', 1, "Q", false),
    ('M', 1, "MM", true),
    ('M', 2, "MM", false),
    ('M', 3, "Mon", false),
    ('M', 4, "Month", true),
    ('L', 1, "MM", true),
    ('L', 2, "MM", false),
    ('d', 1, "DD", true),
    ('d', 2, "DD", false),
    ('D', 1, "DDD", true),
    ('D', 3, "DDD", false),
    ('E', 1, "Dy", false),
    ('E', 2, "Dy", false),
    ('E', 3, "Dy", false),
    ('E', 4, "Day", true),
    ('a', 1, "AM", false),
    ('H', 1, "HH24", true),
    ('H', 2, "HH24", false),
    ('h', 1, "HH12", true),
    ('h', 2, "HH12", false),
    ('m', 1, "MI", true),
    ('m', 2, "MI", false),
    ('s', 1, "SS", true),
    ('s', 2, "SS", false),
    ('S', 1, "FF1", false),
    ('S', 2, "FF2", false),
    ('S', 3, "FF3", false),
    ('S', 4, "FF4", false),
    ('S', 5, "FF5", false),
    ('S', 6, "FF6", false),
];

/// The parts of a pattern.
///
/// # Errors
/// A letter that stands for nothing known.
pub(super) fn parts(pattern: &str) -> BoundResult<Vec<Part>> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            let (text, after) = quoted(&rest[1..]);
            plain += &text;
            rest = after;
            continue;
        }
        if !first.is_ascii_alphabetic() {
            plain.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let length = rest.len() - rest.trim_start_matches(first).len();
        let field = FIELDS
            .iter()
            .find(|(letter, times, _, _)| *letter == first && *times == length);
        let Some((_, _, field, unpadded)) = field else {
            return Err(unknown(&rest[..length], pattern));
        };
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain)));
        }
        parts.push(Part::Field(field, *unpadded));
        rest = &rest[length..];
    }
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(parts)
}

/// A text behind its first quote, and what is behind its last.
fn quoted(inside: &str) -> (String, &str) {
    if let Some(after) = inside.strip_prefix('\'') {
        return ("'".to_owned(), after);
    }
    let mut text = String::new();
    let mut rest = inside;
    loop {
        let Some((before, after)) = rest.split_once('\'') else {
            return (text + rest, "");
        };
        text += before;
        match after.strip_prefix('\'') {
            Some(after) => {
                text.push('\'');
                rest = after;
            }
            None => return (text, after),
        }
    }
}

fn unknown(letters: &str, pattern: &str) -> DataFusionError {
    let message = format!("{letters} in the pattern '{pattern}' is not available");
    let mut diagnostic = Diagnostic::new(Code::Row, message)
        .help("date_format takes Java's patterns: yyyy-MM-dd HH:mm:ss.SSS; text is in '…' there");
    diagnostic.sqlstate = "22023".to_owned();
    DataFusionError::External(Box::new(diagnostic))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pattern of `to_char` that has the same parts.
    fn same(java: &str, own: &str) {
        let parts = parts(java).expect(java);
        assert_eq!(parts, super::super::to_char::parts(own), "{java}");
    }

    #[test]
    fn patterns_of_java_have_the_parts_of_those_of_postgresql() {
        same("yyyy-MM-dd HH:mm:ss.SSS", "YYYY-MM-DD HH24:MI:SS.FF3");
        same("EEE, d MMM yyyy hh:mm a", "Dy, FMDD Mon YYYY HH12:MI AM");
        same("yyyy-MM-dd'T'HH", "YYYY-MM-DD\"T\"HH24");
        same("D E 'o''clock' \"", "FMDDD Dy \"o'clock\" \\\"");
        for pattern in ["w", "YYYY", "yyyyy", "e", "XXX"] {
            assert!(parts(pattern).is_err(), "{pattern}");
        }
    }
}
