//! Flink's `printf(pattern, x, …)`: Java's places for values.
//!
//! ```text
//! %[n$][-][+][ ][0][,][(][width][.digits]kind     s S text   d integer   x X o digits   f e E number   c character
//! %% percent sign   %n end of line                b B whether it is true, or not NULL
//! ```

use super::take::Takes::{Plain, Text};
use super::{Answer, Line, Value, line, text};

/// Characters of a width, and digits behind a point; more is refused.
const WIDTH_MAX: usize = 1 << 16;

pub(super) const LINES: &[Line] = &[line("printf", &[Text, Plain], text, printf)
    .optional(1)
    .repeats()
    .null()];

fn printf<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let [Value::Text(pattern), ref values @ ..] = *args else {
        return Ok(Answer::Null);
    };
    let mut out = String::new();
    let mut rest = pattern;
    let mut next = 0;
    while let Some((before, place)) = rest.split_once('%') {
        out += before;
        let (place, after) = Place::of(place)?;
        rest = after;
        match place.kind {
            '%' => out += &place.padded("%".to_owned()),
            'n' => out.push('\n'),
            _ => {
                let at = place.number.unwrap_or(next + 1);
                if place.number.is_none() {
                    next = at;
                }
                let value = at.checked_sub(1).and_then(|at| values.get(at));
                let value = value
                    .ok_or_else(|| format!("the pattern has a place for a value number {at}"))?;
                out += &place.written(*value)?;
            }
        }
    }
    Ok(Answer::text(out + rest))
}

/// A place for a value.
struct Place {
    number: Option<usize>,
    flags: String,
    width: usize,
    digits: Option<usize>,
    kind: char,
}

impl Place {
    /// What follows a percent sign, and what is behind it.
    fn of(text: &str) -> Result<(Self, &str), String> {
        let limited = |number: usize| match number <= WIDTH_MAX {
            true => Ok(number),
            false => Err(format!("a width of {number} is too large")),
        };
        let (number, rest) = match leading(text) {
            (Some(number), rest) if rest.starts_with('$') => (Some(number), &rest[1..]),
            _ => (None, text),
        };
        let behind = rest.trim_start_matches(['-', '+', ' ', '0', ',', '(', '#']);
        let flags = rest[..rest.len() - behind.len()].to_owned();
        let (width, rest) = leading(behind);
        let (digits, rest) = match rest.strip_prefix('.') {
            Some(rest) => match leading(rest) {
                (Some(digits), rest) => (Some(limited(digits)?), rest),
                _ => return Err("behind the point of a place stands a number".to_owned()),
            },
            None => (None, rest),
        };
        let mut chars = rest.chars();
        let kind = chars.next();
        let kind = kind.ok_or("the pattern ends with an unfinished place; %% is a percent sign")?;
        let place = Self {
            number,
            flags,
            width: limited(width.unwrap_or(0))?,
            digits,
            kind,
        };
        Ok((place, chars.as_str()))
    }

    fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }

    fn written(&self, value: Value<'_>) -> Result<String, String> {
        let text = match (self.kind, value) {
            ('b' | 'B', value) => match value {
                Value::Null => "false".to_owned(),
                Value::Bool(bool) => bool.to_string(),
                _ => "true".to_owned(),
            },
            ('s' | 'S' | 'd' | 'x' | 'X' | 'o' | 'f' | 'e' | 'E' | 'c', Value::Null) => {
                "null".to_owned()
            }
            ('s' | 'S', value) => plain(value),
            ('d', Value::Int(number)) => {
                return Ok(self.number(&number.unsigned_abs().to_string(), number < 0));
            }
            ('x' | 'X', Value::Int(number)) => {
                return Ok(self.number(&format!("{number:x}"), false));
            }
            ('o', Value::Int(number)) => return Ok(self.number(&format!("{number:o}"), false)),
            // A DECIMAL comes with its digits.
            ('f' | 'e' | 'E', Value::Text(digits)) if digits.parse::<f64>().is_ok() => {
                let number = Value::Float(digits.parse().unwrap_or(f64::NAN));
                return Ok(self.float(number, self.kind != 'f'));
            }
            ('f', Value::Float(_) | Value::Int(_)) => return Ok(self.float(value, false)),
            ('e' | 'E', Value::Float(_) | Value::Int(_)) => return Ok(self.float(value, true)),
            ('c', Value::Text(text)) if text.chars().count() == 1 => text.to_owned(),
            ('c', Value::Int(number)) => {
                let char = u32::try_from(number).ok().and_then(char::from_u32);
                char.ok_or_else(|| format!("there is no character {number}"))?
                    .to_string()
            }
            ('d' | 'x' | 'X' | 'o', _) => {
                return Err(format!("%{} takes an integer", self.kind));
            }
            ('f' | 'e' | 'E', _) => return Err(format!("%{} takes a number", self.kind)),
            ('c', _) => return Err("%c takes one character".to_owned()),
            (kind, _) => return Err(format!("%{kind} is no place of printf")),
        };
        let text = match self.digits {
            Some(digits) => text.chars().take(digits).collect(),
            None => text,
        };
        Ok(self.padded(text))
    }

    /// A number by its digits.
    fn number(&self, digits: &str, negative: bool) -> String {
        let (whole, fraction) = match digits.find('.') {
            Some(at) => digits.split_at(at),
            None => (digits, ""),
        };
        let whole = match self.has(',') {
            true => grouped(whole),
            false => whole.to_owned(),
        };
        let digits = whole + fraction;
        let (before, after) = match (negative, self.has('(')) {
            (true, true) => ("(", ")"),
            (true, false) => ("-", ""),
            (false, _) if self.has('+') => ("+", ""),
            (false, _) if self.has(' ') => (" ", ""),
            (false, _) => ("", ""),
        };
        let length = before.len() + digits.len() + after.len();
        let zeros = match self.has('0') {
            true => "0".repeat(self.width.saturating_sub(length)),
            false => String::new(),
        };
        self.padded(format!("{before}{zeros}{digits}{after}"))
    }

    fn float(&self, value: Value<'_>, scientific: bool) -> String {
        let number = match value {
            Value::Float(number) => number,
            Value::Int(number) => number as f64,
            _ => f64::NAN,
        };
        if !number.is_finite() {
            return self.padded(plain(Value::Float(number)));
        }
        let digits = self.digits.unwrap_or(6);
        let text = match scientific {
            true => {
                let text = format!("{:.digits$e}", number.abs());
                let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                let (sign, exponent) = match exponent.strip_prefix('-') {
                    Some(exponent) => ('-', exponent),
                    None => ('+', exponent),
                };
                format!("{mantissa}e{sign}{exponent:0>2}")
            }
            false => format!("{:.digits$}", number.abs()),
        };
        self.number(&text, number.is_sign_negative())
    }

    fn padded(&self, text: String) -> String {
        let text = match self.kind.is_uppercase() {
            true => text.to_uppercase(),
            false => text,
        };
        let blanks = " ".repeat(self.width.saturating_sub(text.chars().count()));
        match self.has('-') {
            true => text + &blanks,
            false => blanks + &text,
        }
    }
}

fn plain(value: Value<'_>) -> String {
    match value {
        Value::Text(text) => text.to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Bool(bool) => bool.to_string(),
        Value::Float(number) if number.is_infinite() => {
            let sign = if number < 0.0 { "-" } else { "" };
            format!("{sign}Infinity")
        }
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 1e15 => {
            format!("{number:.1}")
        }
        Value::Float(number) => number.to_string(),
        _ => "null".to_owned(),
    }
}

/// Digits with a comma before every three.
fn grouped(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The number that a text starts with; one that begins with 0 is a flag.
fn leading(text: &str) -> (Option<usize>, &str) {
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

    /// The answers are those of Java's `String.format`.
    #[test]
    fn places_take_values() {
        let values = [
            Value::Text("ab"),
            Value::Int(-1234567),
            Value::Float(3.126),
            Value::Null,
            Value::Bool(true),
        ];
        for (pattern, text) in [
            ("%s is %d", "ab is -1234567"),
            ("%5s|%-5s|%1$S", "   ab|-1234567|AB"),
            ("%2$,d %2$(d %2$010d", "-1,234,567 (1234567) -001234567"),
            (
                "%3$.2f %3$8.3f|%3$e %3$+.1f",
                "3.13    3.126|3.126000e+00 +3.1",
            ),
            (
                "%4$s %4$d %4$b %5$b %1$b%%%n",
                "null null false true true%\n",
            ),
            ("%1$.1s %3$s", "a 3.126"),
            ("none", "none"),
        ] {
            let mut args = vec![Value::Text(pattern)];
            args.extend(values);
            assert_eq!(printf(&args), Ok(Answer::text(text)), "{pattern}");
        }
        let hex = printf(&[
            Value::Text("%x %X %o"),
            Value::Int(255),
            Value::Int(255),
            Value::Int(8),
        ]);
        assert_eq!(hex, Ok(Answer::text("ff FF 10")));
        for pattern in ["%", "%d", "%q", "%9$s", "%99999999s", "%.s"] {
            let refused = printf(&[Value::Text(pattern), Value::Text("x")]);
            assert!(refused.is_err(), "{pattern}: {refused:?}");
        }
    }
}
