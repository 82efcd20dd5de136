//! Numbers from their JSON text: integers, floats, decimals, each exact or refused.
//!
//! Invariants:
//! 1. An integer that is written with a point or an exponent (`12.0`, `1e3`) is taken if it is whole, else refused.
//! 2. A float is the one nearest to the text; −0.0 becomes 0.0; what would be infinite is refused.
//! 3. A decimal with more digits than its scale is rounded half away from zero, as PostgreSQL does.

use super::cursor::Cursor;
use super::fault::Fault;

/// Digits that always fit into an `i64`.
const SAFE_DIGITS: usize = 18;
/// Powers of ten that a double holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];
/// Whole numbers up to here are doubles without loss.
const EXACT_WHOLE: u64 = 1 << 53;
/// Exponents beyond this are answered without arithmetic on them.
const EXPONENT_MAX: i64 = 100_000;

/// Steps over a whole number.
#[inline(always)]
pub(super) fn integer(cursor: &mut Cursor<'_>) -> Result<i64, Fault> {
    let start = cursor.at;
    let bytes = cursor.bytes;
    let negative = cursor.peek() == b'-';
    let first = start + usize::from(negative);
    let (mut at, mut value) = (first, 0i64);
    while let Some(byte) = bytes.get(at) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 || at - first > SAFE_DIGITS {
            break;
        }
        value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
        at += 1;
    }
    let digits = at - first;
    let plain = digits.wrapping_sub(1) < SAFE_DIGITS
        && !matches!(bytes.get(at), Some(b'.' | b'e' | b'E'))
        && (digits == 1 || bytes.get(first) != Some(&b'0'));
    if plain {
        cursor.at = at;
        return Ok(if negative { -value } else { value });
    }
    integer_slow(cursor)
}

#[cold]
#[inline(never)]
fn integer_slow(cursor: &mut Cursor<'_>) -> Result<i64, Fault> {
    let start = cursor.at;
    let text = cursor.number()?;
    let parts = Parts::of(text);
    match parts.scaled(0, Rounding::Refuse) {
        Ok(value) => i64::try_from(value).map_err(|_| Fault::does_not_fit(start)),
        Err(Inexact::Fraction) => Err(Fault::not_an_integer(start)),
        Err(Inexact::Overflow) => Err(Fault::does_not_fit(start)),
    }
}

/// Steps over a number and gives the nearest double.
#[inline(always)]
pub(super) fn double(cursor: &mut Cursor<'_>) -> Result<f64, Fault> {
    let start = cursor.at;
    let bytes = cursor.bytes;
    let negative = cursor.peek() == b'-';
    let first = start + usize::from(negative);
    let (mut at, mut mantissa, mut point) = (first, 0u64, None);
    while let Some(byte) = bytes.get(at) {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        } else if *byte == b'.' && point.is_none() {
            point = Some(at);
        } else {
            break;
        }
        at += 1;
        if at - first > SAFE_DIGITS {
            return double_slow(cursor);
        }
    }
    // Digits before and behind the point; each must be there.
    let whole = point.unwrap_or(at) - first;
    let fraction = point.map_or(0, |point| at - point - 1);
    let plain = whole > 0
        && (point.is_none() || fraction > 0)
        && (whole == 1 || bytes.get(first) != Some(&b'0'))
        && !matches!(bytes.get(at), Some(b'e' | b'E'))
        && mantissa <= EXACT_WHOLE;
    if !plain {
        return double_slow(cursor);
    }
    cursor.at = at;
    // Both operands are exact, so one rounding gives the nearest double (Clinger's fast path).
    let value = mantissa as f64 / EXACT_POWERS[fraction];
    Ok(if negative && mantissa != 0 {
        -value
    } else {
        value
    })
}

#[cold]
#[inline(never)]
fn double_slow(cursor: &mut Cursor<'_>) -> Result<f64, Fault> {
    let start = cursor.at;
    let value: f64 = parse(cursor.number()?);
    if value.is_infinite() {
        return Err(Fault::does_not_fit(start));
    }
    Ok(value + 0.0)
}

/// Steps over a number and gives the nearest single.
pub(super) fn single(cursor: &mut Cursor<'_>) -> Result<f32, Fault> {
    let start = cursor.at;
    let value: f32 = parse(cursor.number()?);
    if value.is_infinite() {
        return Err(Fault::does_not_fit(start));
    }
    Ok(value + 0.0)
}

/// Reads a number that has passed JSON's grammar, which is narrower than Rust's.
fn parse<T: std::str::FromStr<Err = std::num::ParseFloatError>>(number: &[u8]) -> T {
    let text = std::str::from_utf8(number).expect("a JSON number is ASCII");
    text.parse()
        .expect("a JSON number is a number for Rust too")
}

/// The unscaled value of a decimal from a number's text.
///
/// # Errors
/// [`Fault::does_not_fit`] with `at`, where it has more digits than `precision`.
pub(super) fn decimal(number: &[u8], precision: u8, scale: i8, at: usize) -> Result<i128, Fault> {
    let value = Parts::of(number)
        .scaled(i64::from(scale), Rounding::HalfAwayFromZero)
        .map_err(|_| Fault::does_not_fit(at))?;
    let limit = 10i128
        .checked_pow(u32::from(precision))
        .unwrap_or(i128::MAX);
    if value.abs() >= limit {
        Err(Fault::does_not_fit(at))
    } else {
        Ok(value)
    }
}

/// A number's text, taken apart: `negative`, digits without a point, and the power of ten behind them.
struct Parts<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

enum Rounding {
    Refuse,
    HalfAwayFromZero,
}

enum Inexact {
    Fraction,
    Overflow,
}

impl<'a> Parts<'a> {
    /// Takes a number apart that has passed JSON's grammar.
    fn of(number: &'a [u8]) -> Self {
        let (negative, number) = match number.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, number),
        };
        let (digits, exponent) = match memchr::memchr2(b'e', b'E', number) {
            Some(at) => (&number[..at], exponent(&number[at + 1..])),
            None => (number, 0),
        };
        let (whole, fraction) = match memchr::memchr(b'.', digits) {
            Some(at) => (&digits[..at], &digits[at + 1..]),
            None => (digits, &digits[..0]),
        };
        Self {
            negative,
            whole,
            fraction,
            exponent,
        }
    }

    /// The value times 10^`scale`.
    fn scaled(&self, scale: i64, rounding: Rounding) -> Result<i128, Inexact> {
        let digits = || {
            self.whole
                .iter()
                .chain(self.fraction)
                .map(|byte| i128::from(byte - b'0'))
        };
        let length = (self.whole.len() + self.fraction.len()) as i64;
        // How many of the digits stand before the new point; the text is bounded, so this cannot overflow.
        let kept = self.whole.len() as i64 + self.exponent + scale;
        let mut value = 0i128;
        for digit in digits().take(usize::try_from(kept.min(length)).unwrap_or(0)) {
            value = value
                .checked_mul(10)
                .and_then(|value| value.checked_add(digit))
                .ok_or(Inexact::Overflow)?;
        }
        let mut zeros = kept - length;
        while zeros > 0 && value != 0 {
            value = value.checked_mul(10).ok_or(Inexact::Overflow)?;
            zeros -= 1;
        }
        if kept < length {
            let mut dropped = digits().skip(usize::try_from(kept).unwrap_or(0));
            match rounding {
                Rounding::Refuse => {
                    if dropped.any(|digit| digit != 0) {
                        return Err(Inexact::Fraction);
                    }
                }
                // The first dropped digit decides, unless the new point lies even before the first digit.
                Rounding::HalfAwayFromZero => {
                    if kept >= 0 && dropped.next().is_some_and(|digit| digit >= 5) {
                        value = value.checked_add(1).ok_or(Inexact::Overflow)?;
                    }
                }
            }
        }
        Ok(if self.negative { -value } else { value })
    }
}

/// The exponent, capped: beyond the cap every answer is the same.
fn exponent(text: &[u8]) -> i64 {
    let (negative, digits) = match text.first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let value = digits.iter().fold(0i64, |value, byte| {
        (value * 10 + i64::from(byte - b'0')).min(EXPONENT_MAX)
    });
    if negative { -value } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integer_of(text: &str) -> Result<i64, Fault> {
        integer(&mut Cursor::new(text.as_bytes()))
    }

    #[test]
    fn integers_are_exact_or_refused() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("12", Some(12)),
            ("12.0", Some(12)),
            ("1.20e1", Some(12)),
            ("120e-1", Some(12)),
            ("0e999999999999", Some(0)),
            ("999999999999999999", Some(999_999_999_999_999_999)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("12.5", None),
            ("1e19", None),
            ("1e-1", None),
            ("01", None),
            ("-", None),
            ("1.", None),
            ("1e", None),
        ] {
            assert_eq!(integer_of(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn doubles_are_what_rust_reads() {
        for text in [
            "0",
            "-0.0",
            "1",
            "0.1",
            "-2.5",
            "1e22",
            "1e23",
            "123456789.123456789",
            "1e-400",
            "9007199254740993",
            "179769313486231570000000000000000000000",
            "2.2250738585072014e-308",
            "0.000000000000000001",
            "12345678901234567",
            "4.9e-324",
            "0.30000000000000004",
        ] {
            let read = double(&mut Cursor::new(text.as_bytes())).unwrap();
            let expected: f64 = text.parse::<f64>().unwrap() + 0.0;
            assert_eq!(read.to_bits(), expected.to_bits(), "{text}");
        }
        for text in ["1e400", "-1e400", "01.5", ".5", "1.", "1.5e", "-"] {
            assert!(double(&mut Cursor::new(text.as_bytes())).is_err(), "{text}");
        }
    }

    #[test]
    fn random_doubles_are_what_rust_reads() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..20_000 {
            let text = match random.u8(0..4) {
                0 => format!("{:?}", f64::from_bits(random.u64(..))),
                1 => format!("{}.{}", random.u32(..), random.u32(..)),
                2 => format!("-{}.{:05}", random.u64(..), random.u16(..)),
                _ => format!("{}e{}", random.u32(..), random.i8(-40..40)),
            };
            if text.contains("inf") || text.contains("NaN") {
                continue;
            }
            let read = double(&mut Cursor::new(text.as_bytes())).unwrap();
            let expected: f64 = text.parse::<f64>().unwrap() + 0.0;
            assert_eq!(read.to_bits(), expected.to_bits(), "{text} (seed {seed})");
        }
    }

    #[test]
    fn decimals_round_half_away_from_zero() {
        for (text, precision, scale, expected) in [
            ("12.34", 10, 2, Some(1234)),
            ("12.345", 10, 2, Some(1235)),
            ("-12.345", 10, 2, Some(-1235)),
            ("12.344999", 10, 2, Some(1234)),
            ("0.005", 10, 2, Some(1)),
            ("0.0005", 10, 2, Some(0)),
            ("0.0009", 10, 2, Some(0)),
            ("5", 10, 2, Some(500)),
            ("1.5e3", 10, 2, Some(150_000)),
            ("99.995", 4, 2, None),
            ("99.99", 4, 2, Some(9999)),
            ("1e40", 38, 0, None),
            ("1e999999999", 38, 0, None),
            ("1e-999999999", 38, 0, Some(0)),
            ("0.06", 5, 1, Some(1)),
        ] {
            assert_eq!(
                decimal(text.as_bytes(), precision, scale, 0).ok(),
                expected,
                "{text}"
            );
        }
    }
}
