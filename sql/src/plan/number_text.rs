//! `to_char(number, pattern)`: PostgreSQL's patterns for numbers.
//!
//! ```text
//! 9  a digit, blank before the first      ,  G  parts groups      S   + or - at the number    PR  <5> for -5
//! 0  a digit, zero before the first       .  D  the point         MI  - or blank at the end   FM  without padding
//! ```
//!
//! A number that has more digits than the pattern is of # signs. Digits behind the pattern's are rounded.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::Result as BoundResult;

/// Decimal digits that a DOUBLE tells.
const DOUBLE_DIGITS: usize = 15;

/// What a pattern is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    /// A digit; `true`: a zero where the number has none.
    Digit(bool),
    Comma,
    Point,
    /// The sign at the number: `S` before it.
    Sign,
    /// `S` or `SG` behind digits.
    SignHere,
    /// `MI`.
    Minus,
    Other(char),
}

/// A pattern of a number.
#[derive(Debug)]
pub(super) struct Pattern {
    tokens: Vec<Token>,
    /// Digits before and behind the point.
    whole: usize,
    fraction: usize,
    /// `FM`: no blanks, no zeros at the end.
    bare: bool,
    /// `PR`: in angle brackets where it is negative.
    brackets: bool,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What PostgreSQL knows and this does not.
    pub(super) fn of(text: &str) -> Result<Self, String> {
        let mut pattern = Self {
            tokens: Vec::new(),
            whole: 0,
            fraction: 0,
            bare: false,
            brackets: false,
        };
        let mut rest = text;
        let mut behind = false;
        while let Some(first) = rest.chars().next() {
            let starts = |word: &str| {
                let start = rest.get(..word.len());
                start.is_some_and(|start| start.eq_ignore_ascii_case(word))
            };
            let unknown = ["EEEE", "RN", "TH", "PL", "V", "L", "B"];
            if let Some(word) = unknown.iter().find(|word| starts(word)) {
                return Err(format!("{word} in a pattern of numbers is not available"));
            }
            let (token, length) = match first {
                '9' | '0' => {
                    match behind {
                        true => pattern.fraction += 1,
                        false => pattern.whole += 1,
                    }
                    (Token::Digit(first == '0'), 1)
                }
                ',' | 'G' | 'g' => (Token::Comma, 1),
                '.' | 'D' | 'd' if !behind => {
                    behind = true;
                    (Token::Point, 1)
                }
                _ if starts("FM") => {
                    pattern.bare = true;
                    rest = &rest[2..];
                    continue;
                }
                _ if starts("PR") => {
                    pattern.brackets = true;
                    rest = &rest[2..];
                    continue;
                }
                _ if starts("MI") => (Token::Minus, 2),
                _ if starts("SG") => (Token::SignHere, 2),
                'S' | 's' => match pattern.whole + pattern.fraction {
                    0 => (Token::Sign, 1),
                    _ => (Token::SignHere, 1),
                },
                '"' => {
                    let inside = &rest[1..];
                    let end = inside.find('"').unwrap_or(inside.len());
                    let chars = inside[..end].chars();
                    pattern.tokens.extend(chars.map(Token::Other));
                    rest = inside.get(end + 1..).unwrap_or_default();
                    continue;
                }
                other => (Token::Other(other), other.len_utf8()),
            };
            pattern.tokens.push(token);
            rest = &rest[length..];
        }
        Ok(pattern)
    }

    /// The text of a float: of the digits of its binary fraction, as many as tell it.
    pub(super) fn text_of(&self, double: f64) -> String {
        let whole = format!("{:.0}", double.abs()).len();
        let places = self.fraction.min(DOUBLE_DIGITS.saturating_sub(whole));
        self.text(&format!("{double:.places$}"))
    }

    /// The text of a number in decimal digits.
    pub(super) fn text(&self, number: &str) -> String {
        let (negative, unsigned) = match number.strip_prefix('-') {
            Some(unsigned) => (true, unsigned),
            None => (false, number),
        };
        let (whole, fraction) = rounded(unsigned, self.fraction);
        let overflow = whole.len() > self.whole;
        let is_zero = whole.is_empty() && fraction.iter().all(|digit| *digit == b'0');
        let negative = negative && !is_zero;
        let has = |wanted: Token| self.tokens.contains(&wanted);
        let (open, close) = match (negative, self.brackets) {
            (true, true) => (Some('<'), Some('>')),
            (false, true) => (blank(self.bare), blank(self.bare)),
            (negative, false) if has(Token::Sign) => (Some(sign(negative)), None),
            (_, false) if has(Token::SignHere) || has(Token::Minus) => (None, None),
            (true, false) => (Some('-'), None),
            (false, false) => (blank(self.bare), None),
        };
        let kept = self.kept(&fraction);
        // Zero is a digit of its own where nothing else stands for it.
        let shows_zero = whole.is_empty() && (self.fraction == 0 || (self.bare && is_zero));
        let mut out = String::new();
        let mut begun = false;
        let mut zeros = false;
        let (mut place, mut behind) = (0, 0);
        let begin = |out: &mut String, begun: &mut bool| {
            if !std::mem::replace(begun, true) {
                out.extend(open);
            }
        };
        for token in &self.tokens {
            match *token {
                Token::Digit(zero) if place < self.whole => {
                    zeros |= zero;
                    let digit = (place + whole.len()).checked_sub(self.whole);
                    let last = place + 1 == self.whole;
                    place += 1;
                    let char = match digit.and_then(|digit| whole.get(digit)) {
                        _ if overflow => Some('#'),
                        Some(digit) => Some(char::from(*digit)),
                        None if zeros || (last && shows_zero) => Some('0'),
                        None => None,
                    };
                    match char {
                        Some(char) => {
                            begin(&mut out, &mut begun);
                            out.push(char);
                        }
                        None => out.extend(blank(self.bare)),
                    }
                }
                Token::Digit(_) => {
                    begin(&mut out, &mut begun);
                    if behind < kept || overflow {
                        let digit = fraction.get(behind).copied().unwrap_or(b'0');
                        out.push(if overflow { '#' } else { char::from(digit) });
                    }
                    behind += 1;
                }
                // With no digit behind it there is none.
                Token::Point if self.fraction == 0 => {}
                Token::Point => {
                    begin(&mut out, &mut begun);
                    out.push('.');
                }
                Token::Comma if begun => out.push(','),
                Token::Comma => out.extend(blank(self.bare)),
                Token::Sign => {}
                Token::SignHere => out.push(sign(negative)),
                Token::Minus if negative => out.push('-'),
                Token::Minus => out.extend(blank(self.bare)),
                Token::Other(char) => out.push(char),
            }
        }
        out.extend(close);
        out
    }

    /// How many digits behind the point are shown.
    fn kept(&self, fraction: &[u8]) -> usize {
        if !self.bare {
            return fraction.len();
        }
        let digits = self.tokens.iter().filter_map(|token| match token {
            Token::Digit(zero) => Some(*zero),
            _ => None,
        });
        let behind = digits.skip(self.whole);
        let forced = behind.enumerate().filter(|(_, zero)| *zero).last();
        let forced = forced.map_or(0, |(place, _)| place + 1);
        let last = fraction.iter().rposition(|digit| *digit != b'0');
        last.map_or(0, |place| place + 1).max(forced)
    }
}

fn sign(negative: bool) -> char {
    if negative { '-' } else { '+' }
}

fn blank(bare: bool) -> Option<char> {
    (!bare).then_some(' ')
}

/// Digits before and behind the point, halves rounded away from zero; none before it of a number below one.
fn rounded(number: &str, places: usize) -> (Vec<u8>, Vec<u8>) {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut digits = vec![b'0'];
    digits.extend(whole.bytes());
    digits.extend((0..places).map(|place| fraction.as_bytes().get(place).copied().unwrap_or(b'0')));
    if fraction
        .as_bytes()
        .get(places)
        .is_some_and(|digit| *digit >= b'5')
    {
        for digit in digits.iter_mut().rev() {
            if *digit != b'9' {
                *digit += 1;
                break;
            }
            *digit = b'0';
        }
    }
    let fraction = digits.split_off(digits.len() - places);
    let first = digits.iter().position(|digit| *digit != b'0');
    let whole = digits.split_off(first.unwrap_or(digits.len()));
    (whole, fraction)
}

/// Numbers as texts of decimal digits.
pub(super) fn digits(numbers: &ArrayRef) -> BoundResult<Vec<Option<String>>> {
    let texts = cast(numbers, &DataType::Utf8View)?;
    let texts = texts.as_string_view();
    let text = |row| texts.is_valid(row).then(|| texts.value(row).to_owned());
    Ok((0..texts.len()).map(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers are PostgreSQL's.
    #[test]
    fn patterns_are_those_of_postgresql() {
        for (number, pattern, text) in [
            ("485", "999", " 485"),
            ("-485", "999", "-485"),
            ("485", "9 9 9", " 4 8 5"),
            ("1485", "9,999", " 1,485"),
            ("148.5", "999.999", " 148.500"),
            ("148.5", "FM999.999", "148.5"),
            ("148.5", "FM999.990", "148.500"),
            ("3148.5", "9G999D999", " 3,148.500"),
            ("-485", "999S", "485-"),
            ("-485", "999MI", "485-"),
            ("485", "999MI", "485 "),
            ("485", "FM999MI", "485"),
            ("485", "SG999", "+485"),
            ("-485", "9SG99", "4-85"),
            ("-485", "999PR", "<485>"),
            ("485", "999PR", " 485 "),
            ("0.5", "9.99", "  .50"),
            ("0", "9", " 0"),
            ("0", "9.9", "  .0"),
            ("0", "0.0", " 0.0"),
            ("12", "9", " #"),
            ("-0.5", "FM9.99", "-.5"),
            ("12345.678", "FM999,999,990.00", "12,345.68"),
            ("1234.5", "$9,999.99", "$ 1,234.50"),
            ("12", "0000", " 0012"),
            ("-12", "0000", "-0012"),
            ("-12", "S0000", "-0012"),
            ("12", "S9999", "  +12"),
            ("0.1", "99.99", "   .10"),
            ("-0.1", "99.99", "  -.10"),
            ("12", "9,999", "    12"),
            ("12", "0,000", " 0,012"),
            ("2.5", "9", " 3"),
            ("999.9", "999", " ###"),
            ("12", "\"no. \"99", "no.  12"),
            ("12", "99%", " 12%"),
            ("-12.3", "S99.9", "-12.3"),
            ("12.3", "99.9S", "12.3+"),
            ("0", "FM999", "0"),
            ("0", "FM9.99", "0."),
            ("100", "FM9.99", "#.##"),
            ("1234567", "9,999,999", " 1,234,567"),
            ("148.5", "FM999.", "149"),
        ] {
            let shown = Pattern::of(pattern).expect("a pattern").text(number);
            assert_eq!(shown, text, "{number} {pattern}");
        }
        for (double, pattern, text) in [
            (2.5, "9", " 2"),
            (-3.5, "9", "-4"),
            (1.005, "9.99", " 1.00"),
            (0.1, "FM0.99", "0.1"),
        ] {
            let shown = Pattern::of(pattern).expect("a pattern").text_of(double);
            assert_eq!(shown, text, "{double} {pattern}");
        }
        assert!(Pattern::of("RN").is_err());
    }
}
