//! The parts of a JSON document, as slices of its text: what `->` and its like are made of.
//!
//! ```text
//! {"a": [1, {"b": "x\n"}]}
//!       ▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔ json_field(…, "a")      json_element(…, -1) = {"b": "x\n"}      json_string("x\n") = x⏎
//! ```
//!
//! Documents are as [`is_json_text`] checks them; of anything else the parts are those before the first fault. Nothing is
//! built in memory, and nothing recurses.

use std::borrow::Cow;

use super::cursor::{Cursor, Span, unescaped};

/// Whether a text is one JSON value. Nesting ends at 128 levels, as it does where sources are read.
pub fn is_json_text(text: &str) -> bool {
    super::cursor::is_json_text(text.as_bytes())
}

/// The value of a field of an object; of the last one of that name. `None`: there is none, or no object.
pub fn json_field<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    json_fields(document)
        .filter(|(field, _)| field == name)
        .last()
        .map(|(_, value)| value)
}

/// The element of an array; a negative index counts from the end. `None`: there is none, or no array.
pub fn json_element(document: &str, index: i64) -> Option<&str> {
    let index = match usize::try_from(index) {
        Ok(index) => index,
        Err(_) => {
            let length = json_elements(document).count();
            length.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?
        }
    };
    json_elements(document).nth(index)
}

/// The text that a JSON string stands for; `None` for any other value.
pub fn json_string(document: &str) -> Option<Cow<'_, str>> {
    let inside = document.trim().strip_prefix('"')?.strip_suffix('"')?;
    if !inside.contains('\\') {
        return Some(Cow::Borrowed(inside));
    }
    String::from_utf8(unescaped(inside.as_bytes()))
        .ok()
        .map(Cow::Owned)
}

/// The fields of an object in their order, none of any other value.
pub fn json_fields(document: &str) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
    let mut members = Members::new(document, b'{', b'}');
    std::iter::from_fn(move || {
        members.begin()?;
        let Span { start, end, .. } = members.cursor.string().ok()?;
        let name = json_string(document.get(start - 1..=end)?)?;
        members.cursor.colon().ok()?;
        Some((name, members.value()?))
    })
}

/// The elements of an array in their order, none of any other value.
pub fn json_elements(document: &str) -> impl Iterator<Item = &str> {
    let mut members = Members::new(document, b'[', b']');
    std::iter::from_fn(move || {
        members.begin()?;
        members.value()
    })
}

/// Walks over what lies between two brackets.
struct Members<'a> {
    document: &'a str,
    cursor: Cursor<'a>,
    end: u8,
    /// Nothing was read yet.
    first: bool,
}

impl<'a> Members<'a> {
    fn new(document: &'a str, open: u8, end: u8) -> Self {
        let mut cursor = Cursor::new(document.as_bytes());
        cursor.skip_space();
        if !cursor.take(open) {
            cursor.at = document.len();
        }
        Self {
            document,
            cursor,
            end,
            first: true,
        }
    }

    /// Steps to the next member, if there is one.
    fn begin(&mut self) -> Option<()> {
        self.cursor.skip_space();
        let first = std::mem::replace(&mut self.first, false);
        if self.cursor.peek() == self.end || !first && !self.cursor.take(b',') {
            return None;
        }
        self.cursor.skip_space();
        (self.cursor.at < self.document.len()).then_some(())
    }

    fn value(&mut self) -> Option<&'a str> {
        let start = self.cursor.at;
        self.cursor.skip_value().ok()?;
        self.document.get(start..self.cursor.at)
    }
}
