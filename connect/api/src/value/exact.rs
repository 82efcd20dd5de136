//! JSON whose numbers keep all their digits.
//!
//! A number that neither Int64 nor Float64 holds (a long integer, a long decimal, `1e400`) stays the text it is, as
//! [`Value::Json`]. The usual parser has only floats for them, so this one takes over where a text may have such a
//! number.

use super::{Text, Value};

/// Levels of nesting, as many as the usual parser takes.
const DEPTH_MAX: usize = 128;
/// As many digits fit into a float, whichever they are.
const DIGITS_SAFE: usize = 15;

/// Whether a number in `text` may need its digits kept. Digits within strings may say so too: that costs time only.
pub(super) fn may_be_needed(text: &str) -> bool {
    let mut digits = 0;
    text.bytes().any(|byte| {
        match byte {
            b'0'..=b'9' => digits += 1,
            b'.' => {}
            b'e' | b'E' if digits > 0 => return true,
            _ => digits = 0,
        }
        digits > DIGITS_SAFE
    })
}

/// Parses a text that is one JSON value; `None` where it nests too deep.
pub(super) fn parse(text: &str) -> Option<Value> {
    let mut parser = Parser { text, at: 0 };
    parser.value(0)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    /// The next byte that is no space.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let spaces = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
        self.at += spaces.count();
        self.text.as_bytes().get(self.at).copied()
    }

    /// Steps over the next byte if it is this one.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// The text up to the first byte that does not belong to it.
    fn run(&mut self, belongs: impl Fn(u8) -> bool) -> &'a str {
        let start = self.at;
        let bytes = &self.text.as_bytes()[start..];
        self.at += bytes.iter().take_while(|byte| belongs(**byte)).count();
        &self.text[start..self.at]
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth >= DEPTH_MAX {
            return None;
        }
        Some(match self.peek()? {
            b'{' => {
                self.at += 1;
                let mut entries = Vec::new();
                while !self.take(b'}') {
                    self.take(b',');
                    let name = self.string()?;
                    self.take(b':');
                    entries.push((Value::String(name), self.value(depth + 1)?));
                }
                Value::Map(entries)
            }
            b'[' => {
                self.at += 1;
                let mut items = Vec::new();
                while !self.take(b']') {
                    self.take(b',');
                    items.push(self.value(depth + 1)?);
                }
                Value::Array(items)
            }
            b'"' => Value::String(self.string()?),
            b'-' | b'0'..=b'9' => {
                let digits =
                    |byte: u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                number(self.run(digits))
            }
            _ => match self.run(|byte| byte.is_ascii_lowercase()) {
                "true" => Value::Boolean(true),
                "false" => Value::Boolean(false),
                "null" => Value::Null,
                _ => return None,
            },
        })
    }

    fn string(&mut self) -> Option<Text> {
        if self.peek()? != b'"' {
            return None;
        }
        let start = self.at;
        let mut escaped = false;
        for byte in &self.text.as_bytes()[start + 1..] {
            self.at += 1;
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => break,
                _ => {}
            }
        }
        self.at += 1;
        let quoted = self.text.get(start..self.at)?;
        let text: String = serde_json::from_str(quoted).ok()?;
        Some(Text::from(text))
    }
}

fn number(text: &str) -> Value {
    if let Ok(whole) = text.parse::<i64>() {
        return Value::Int64(whole);
    }
    let is_whole = !text.contains(['.', 'e', 'E']);
    match text.parse::<f64>() {
        Ok(float)
            if !is_whole
                && float.is_finite()
                && decimal(text) == decimal(&format!("{float:e}")) =>
        {
            Value::Float64(float)
        }
        _ => Value::Json(Text::from(text)),
    }
}

/// The digits of a number without zeros around them, and where its point is; `None` where the exponent is no i64.
fn decimal(text: &str) -> Option<(String, i64)> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let mantissa = mantissa.trim_start_matches('-');
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    let zeros = all.len() - digits.len();
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() {
        return Some((String::new(), 0));
    }
    let point = i64::try_from(whole.len()).ok()? - i64::try_from(zeros).ok()?;
    let point = exponent.parse::<i64>().ok()?.checked_add(point)?;
    Some((digits.to_owned(), point))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stay() {
        let text = r#"{"big":12345678901234567890123,"u":18446744073709551615,"i":-9223372036854775808,"d":0.1234567890123456789,"e":1e400,"f":[1.5e3,-0.0,1e-2,0.30000000000000004],"s":"a\"\\\u00e9 1e5","t":[true,null,{}]}"#;
        assert!(may_be_needed(text));
        let value = Value::parse_json(text).unwrap();
        assert_eq!(value.field("i"), Some(&Value::Int64(i64::MIN)));
        assert_eq!(value.field("s"), Some(&Value::text("a\"\\é 1e5")));
        assert_eq!(
            value.field("f").unwrap(),
            &Value::Array(
                [1500.0, -0.0, 0.01, 0.300_000_000_000_000_04]
                    .map(Value::Float64)
                    .into()
            )
        );
        assert_eq!(
            value.to_json().as_str(),
            r#"{"big":12345678901234567890123,"u":18446744073709551615,"i":-9223372036854775808,"d":0.1234567890123456789,"e":1e400,"f":[1500.0,-0.0,0.01,0.30000000000000004],"s":"a\"\\é 1e5","t":[true,null,{}]}"#
        );
    }

    #[test]
    fn usual_texts_go_the_usual_way() {
        assert!(!may_be_needed(
            r#"{"time":"2013-01-01T10:15:00.000Z","n":123456789012345,"x":-73.98513,"s":"see"}"#
        ));
    }

    #[test]
    fn what_is_no_json_is_refused_here_too() {
        for bad in ["1e5 x", "[1e5", "{\"a\" 1e5}", "1e", "[1e5,]"] {
            assert!(Value::parse_json(bad).is_err(), "{bad}");
        }
        let deep = "[".repeat(200) + "1e5" + &"]".repeat(200);
        assert!(Value::parse_json(&deep).is_err());
    }
}
