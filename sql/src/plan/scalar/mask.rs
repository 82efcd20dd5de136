//! ksqlDB's `mask` and its kin: letters, digits and what is neither as signs that hide them.
//!
//! ```text
//! mask(text [, upper [, lower [, digit [, other]]]])     X, x, n and -; NULL leaves that kind as it is
//! mask_left, mask_right (text, n, …)                     n characters at an end
//! mask_keep_left, mask_keep_right (text, n, …)           all but these
//! ```

use super::take::Takes::{Int, Text};
use super::{Answer, Line, Value, line, text};

const SIGNS: usize = 4;

pub(super) const LINES: &[Line] = &[
    line("mask", &[Text, Text, Text, Text, Text], text, mask)
        .optional(SIGNS)
        .null(),
    at_end("mask_left", |args| some(args, |place, n, _| place < n)),
    at_end("mask_right", |args| {
        some(args, |place, n, all| place + n >= all)
    }),
    at_end("mask_keep_left", |args| {
        some(args, |place, n, _| place >= n)
    }),
    at_end("mask_keep_right", |args| {
        some(args, |place, n, all| place + n < all)
    }),
];

const fn at_end(name: &'static str, of: super::Of) -> Line {
    line(name, &[Text, Int, Text, Text, Text, Text], text, of)
        .optional(SIGNS)
        .null()
}

/// What stands for an upper and a lower letter, a digit, and anything else; `None`: itself.
struct Signs([Option<char>; SIGNS]);

impl Signs {
    fn of(args: &[Value<'_>]) -> Result<Self, String> {
        let mut signs = [Some('X'), Some('x'), Some('n'), Some('-')];
        for (sign, arg) in signs.iter_mut().zip(args) {
            let mut chars = match arg {
                Value::Text(text) => text.chars(),
                _ => {
                    *sign = None;
                    continue;
                }
            };
            *sign = match (chars.next(), chars.next()) {
                (Some(char), None) => Some(char),
                _ => return Err("what hides a character is one character".to_owned()),
            };
        }
        Ok(Self(signs))
    }

    fn hidden(&self, char: char) -> char {
        let [upper, lower, digit, other] = self.0;
        let sign = match char {
            char if char.is_uppercase() => upper,
            char if char.is_lowercase() => lower,
            char if char.is_numeric() => digit,
            _ => other,
        };
        sign.unwrap_or(char)
    }
}

fn mask<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let [Value::Text(text), ref signs @ ..] = *args else {
        return Ok(Answer::Null);
    };
    let signs = Signs::of(signs)?;
    let hidden = text.chars().map(|char| signs.hidden(char));
    Ok(Answer::text(hidden.collect::<String>()))
}

/// With the characters hidden whose place, beside the number that is given and that of all, says so.
fn some<'a>(
    args: &[Value<'a>],
    is_hidden: fn(usize, usize, usize) -> bool,
) -> Result<Answer<'a>, String> {
    let [Value::Text(text), Value::Int(n), ref signs @ ..] = *args else {
        return Ok(Answer::Null);
    };
    let signs = Signs::of(signs)?;
    let n = usize::try_from(n).map_err(|_| format!("{n} is no number of characters"))?;
    let all = text.chars().count();
    let n = n.min(all);
    let chars = text.chars().enumerate();
    let hidden = chars.map(|(place, char)| match is_hidden(place, n, all) {
        true => signs.hidden(char),
        false => char,
    });
    Ok(Answer::text(hidden.collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers are ksqlDB's.
    #[test]
    fn letters_and_digits_are_hidden() {
        let text = Value::Text("My Test $123");
        let sign = Value::Text("*");
        for (args, hidden) in [
            (vec![text], "Xx-Xxxx--nnn"),
            (vec![text, sign], "*x-*xxx--nnn"),
            (
                vec![text, sign, Value::Null, Value::Text("1"), Value::Null],
                "*y *est $111",
            ),
        ] {
            assert_eq!(mask(&args), Ok(Answer::text(hidden)), "{hidden}");
        }
        let of = |name: &str| {
            let line = LINES.iter().find(|line| line.name == name);
            (line.expect("a line").of)(&[text, Value::Int(4)])
        };
        for (name, hidden) in [
            ("mask_left", "Xx-Xest $123"),
            ("mask_right", "My Test -nnn"),
            ("mask_keep_left", "My Txxx--nnn"),
            ("mask_keep_right", "Xx-Xxxx-$123"),
        ] {
            assert_eq!(of(name), Ok(Answer::text(hidden)), "{name}");
        }
        assert!(mask(&[text, Value::Text("ab")]).is_err());
        assert_eq!(mask(&[Value::Null]), Ok(Answer::Null));
    }
}
