//! One field of a JSON object, as the text that stands there: numbers keep all their digits.
//!
//! The text has been checked to be one well-formed JSON value. That is why the scan here need not look for mistakes,
//! only for where values end; it does not recurse.

/// The text of a field's value; `None` where the object has no such field. Of two of one name the last counts.
///
/// # Errors
/// What the text is, where it is no object.
pub(super) fn of<'a>(text: &'a str, name: &str) -> Result<Option<&'a str>, &'static str> {
    let mut scan = Scan { text, at: 0 };
    scan.spaces();
    if scan.peek() != Some(b'{') {
        return Err(kind(scan.peek()));
    }
    scan.at += 1;
    let mut found = None;
    loop {
        scan.spaces();
        match scan.peek() {
            Some(b'"') => {}
            Some(b',') => {
                scan.at += 1;
                continue;
            }
            _ => return Ok(found),
        }
        let key = scan.value();
        scan.spaces();
        // The colon.
        scan.at += 1;
        scan.spaces();
        let value = scan.value();
        if is_name(key, name) {
            found = Some(value);
        }
    }
}

fn kind(first: Option<u8>) -> &'static str {
    match first {
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Whether a quoted text is this name.
fn is_name(quoted: &str, name: &str) -> bool {
    match quoted.contains('\\') {
        true => serde_json::from_str::<String>(quoted).is_ok_and(|key| key == name),
        false => quoted.get(1..quoted.len().saturating_sub(1)) == Some(name),
    }
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    fn spaces(&mut self) {
        let space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        self.at += self.rest().iter().take_while(space).count();
    }

    /// Steps over a value and returns its text.
    fn value(&mut self) -> &'a str {
        let start = self.at;
        let mut depth = 0usize;
        loop {
            match self.peek() {
                Some(b'"') => self.string(),
                Some(b'{' | b'[') => {
                    depth += 1;
                    self.at += 1;
                }
                Some(b'}' | b']') => {
                    depth = depth.saturating_sub(1);
                    self.at += 1;
                }
                Some(_) if depth > 0 => self.at += 1,
                Some(_) => {
                    let plain = |byte: &&u8| !b" \t\r\n,:}]".contains(byte);
                    self.at += self.rest().iter().take_while(plain).count();
                }
                None => {}
            }
            if depth == 0 || self.at >= self.text.len() {
                return self.text.get(start..self.at).unwrap_or_default();
            }
        }
    }

    fn string(&mut self) {
        self.at += 1;
        while let Some(next) = memchr::memchr2(b'"', b'\\', self.rest()) {
            self.at += next;
            match self.peek() {
                Some(b'\\') => self.at += 2,
                _ => {
                    self.at += 1;
                    return;
                }
            }
        }
        self.at = self.text.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_as_they_stand() {
        let text = r#" {"a":{"k":1,"s":"}\"]"}, "k" : 1.10 ,"b":[{"k":2}],"\u006b2":"x\\","e":1e400,"":null,"n":-0}"#;
        for (name, value) in [
            ("a", Some(r#"{"k":1,"s":"}\"]"}"#)),
            ("k", Some("1.10")),
            ("b", Some(r#"[{"k":2}]"#)),
            ("k2", Some(r#""x\\""#)),
            ("e", Some("1e400")),
            ("", Some("null")),
            ("n", Some("-0")),
            ("s", None),
        ] {
            assert_eq!(of(text, name), Ok(value), "{name}");
        }
        assert_eq!(of("{}", "a"), Ok(None));
        assert_eq!(of(r#"{"a":1,"a":2}"#, "a"), Ok(Some("2")));
        assert_eq!(of("[1]", "a"), Err("an array"));
        assert_eq!(of("1", "a"), Err("a number"));
    }
}
