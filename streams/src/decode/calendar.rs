//! ISO 8601 times and dates to microseconds and days since 1970, by the proleptic Gregorian calendar.
//!
//! ```text
//! 2013-01-01T10:00:00[.f…][Z | ±HH[:MM]]      'T' or ' ' between, seconds may be missing, a bare date is midnight
//! 2013-01-01[Z], 10:00[:00[.f…]][Z]            a date, a time of day; with Z as Debezium writes them in ISO 8601
//! ```
//!
//! Invariants:
//! 1. With `Z` or an offset the result is UTC; without one it is the time as it stands.
//! 2. Digits of the fraction beyond microseconds round, as in PostgreSQL.
//! 3. Years may have a sign and up to six digits, so that everything that [`crate::JsonEncoder`] writes reads back.

const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;

/// Days since 1970-01-01 of a date `YYYY-MM-DD`.
pub(super) fn date(text: &[u8]) -> Option<i32> {
    let (days, rest) = leading_date(text)?;
    if matches!(rest, [] | [b'Z']) {
        i32::try_from(days).ok()
    } else {
        None
    }
}

/// A number of days since 1970-01-01 that is a date of the years 1 to 9999: others count something else.
pub(super) fn date_of_days(days: i64) -> Option<i32> {
    let days = i32::try_from(days).ok()?;
    (-719_162..=2_932_896).contains(&days).then_some(days)
}

/// Microseconds since 1970-01-01T00:00:00.
#[inline]
pub(super) fn timestamp(text: &[u8]) -> Option<i64> {
    let (days, rest) = leading_date(text)?;
    let midnight = days.checked_mul(DAY_US)?;
    let Some((separator, rest)) = rest.split_first() else {
        return Some(midnight);
    };
    if !matches!(separator, b'T' | b' ' | b't') {
        return None;
    }
    let (clock, rest) = leading_clock(rest)?;
    midnight.checked_add(clock - offset(rest)? * SECOND_US)
}

/// Microseconds since midnight of a time `HH:MM[:SS[.f…]]`; 24:00 is the end of the day.
pub(super) fn time_of_day(text: &[u8]) -> Option<i64> {
    let (clock, rest) = leading_clock(text)?;
    (matches!(rest, [] | [b'Z']) && clock <= DAY_US).then_some(clock)
}

/// Microseconds since midnight of the time in front, and what follows it.
#[inline]
fn leading_clock(rest: &[u8]) -> Option<(i64, &[u8])> {
    let clock: &[u8; 5] = rest.first_chunk()?;
    let (hour, minute) = (two(clock[0], clock[1])?, two(clock[3], clock[4])?);
    if clock[2] != b':' || hour > 24 || minute > 59 {
        return None;
    }
    let mut rest = &rest[5..];
    let (mut second, mut fraction) = (0, 0);
    if let Some([b':', tens, ones]) = rest.first_chunk::<3>() {
        // 60 is a leap second: the next minute, as in PostgreSQL.
        second = two(*tens, *ones).filter(|second| *second <= 60)?;
        rest = &rest[3..];
        if let Some((b'.' | b',', digits)) = rest.split_first() {
            (fraction, rest) = leading_fraction(digits)?;
        }
    }
    if hour == 24 && (minute, second, fraction) != (0, 0, 0) {
        return None;
    }
    let seconds = hour * 3600 + minute * 60 + second;
    Some((seconds * SECOND_US + fraction, rest))
}

/// The date in front and what follows it.
#[inline]
fn leading_date(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(&[a, b, c, d, b'-', e, f, b'-', g, h]) = text.first_chunk::<10>() else {
        return leading_long_date(text);
    };
    let (Some(century), Some(year)) = (two(a, b), two(c, d)) else {
        return leading_long_date(text);
    };
    let days = days_of(century * 100 + year, two(e, f)?, two(g, h)?)?;
    Some((days, &text[10..]))
}

/// A date whose year has a sign or more than four digits.
#[cold]
fn leading_long_date(text: &[u8]) -> Option<(i64, &[u8])> {
    let (negative, text) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    let digits = text.iter().position(|byte| !byte.is_ascii_digit())?;
    if !(4..=6).contains(&digits) {
        return None;
    }
    let year = text[..digits]
        .iter()
        .fold(0, |year, byte| year * 10 + i64::from(byte - b'0'));
    let rest: &[u8; 6] = text[digits..].first_chunk()?;
    let &[b'-', e, f, b'-', g, h] = rest else {
        return None;
    };
    let days = days_of(if negative { -year } else { year }, two(e, f)?, two(g, h)?)?;
    Some((days, &text[digits + 6..]))
}

/// Microseconds of the digits behind the point, and what follows them.
fn leading_fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let digits = text
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    if digits == 0 {
        return None;
    }
    let mut micros = 0;
    for digit in text[..digits].iter().chain(b"000000").take(6) {
        micros = micros * 10 + i64::from(digit - b'0');
    }
    if digits > 6 && text[6] >= b'5' {
        micros += 1;
    }
    Some((micros, &text[digits..]))
}

/// Seconds east of UTC; none written counts as 0.
#[inline]
fn offset(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let (hour, minute) = match digits {
        [a, b] => (two(*a, *b)?, 0),
        [a, b, c, d] | [a, b, b':', c, d] => (two(*a, *b)?, two(*c, *d)?),
        _ => return None,
    };
    (hour < 24 && minute < 60).then_some(sign * (hour * 3600 + minute * 60))
}

#[inline(always)]
fn two(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then_some(i64::from(tens) * 10 + i64::from(ones))
}

/// Days from 1970-01-01; `None` for a day that the calendar does not have.
#[inline]
fn days_of(year: i64, month: i64, day: i64) -> Option<i64> {
    const LENGTHS: [i64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = *LENGTHS.get(usize::try_from(month - 1).ok()?)?;
    if day < 1 || day > length + i64::from(month == 2 && leap) {
        return None;
    }
    // Years begin in March here, so that the leap day is the last one (H. Hinnant, days_from_civil).
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_all_spellings() {
        let ten = 1_357_034_400_000_000;
        for (text, expected) in [
            ("2013-01-01T10:00:00", Some(ten)),
            ("2013-01-01 10:00:00", Some(ten)),
            ("2013-01-01T10:00:00Z", Some(ten)),
            ("2013-01-01t10:00:00z", Some(ten)),
            ("2013-01-01T10:00", Some(ten)),
            ("2013-01-01T10:00Z", Some(ten)),
            ("2013-01-01T12:00:00+02:00", Some(ten)),
            ("2013-01-01T12:00:00+0200", Some(ten)),
            ("2013-01-01T12:00:00+02", Some(ten)),
            ("2013-01-01T05:30:00-04:30", Some(ten)),
            ("2013-01-01T10:00:00.5", Some(ten + 500_000)),
            ("2013-01-01T10:00:00.123456Z", Some(ten + 123_456)),
            ("2013-01-01T10:00:00.123456789Z", Some(ten + 123_457)),
            ("2013-01-01T10:00:00.9999999", Some(ten + 1_000_000)),
            ("2013-01-01", Some(ten - 36_000_000_000)),
            ("2013-01-01T24:00:00", Some(ten + 50_400_000_000)),
            ("2013-01-01T09:59:60", Some(ten)),
            ("1969-12-31T23:59:59.999999", Some(-1)),
            ("0000-01-01", Some(-62_167_219_200_000_000)),
            ("+10000-01-01T00:00:00", Some(253_402_300_800_000_000)),
            ("-0001-12-31", Some(-62_167_305_600_000_000)),
            ("2013-02-29", None),
            ("2012-02-30", None),
            ("1900-02-29", None),
            ("2013-13-01", None),
            ("2013-1-1", None),
            ("2013-01-01T25:00:00", None),
            ("2013-01-01T10:60:00", None),
            ("2013-01-01T10:00:61", None),
            ("2013-01-01T10:00:00.", None),
            ("2013-01-01T10:00:00+", None),
            ("2013-01-01T10:00:00+25", None),
            ("2013-01-01T10:00:00 UTC", None),
            ("2013-01-01X10:00:00", None),
            ("2013-01-01T10", None),
            ("999999-01-01T10:00:00", None),
            ("", None),
        ] {
            assert_eq!(timestamp(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(timestamp(b"2000-02-29"), Some(951_782_400_000_000));
        assert_eq!(date(b"2000-02-29"), Some(11_016));
        assert_eq!(date(b"2000-02-29T00:00:00"), None);
        assert_eq!(date(b"2000-02-29Z"), Some(11_016));
        assert_eq!(date(b"2000-02-29z"), None);
        assert_eq!(time_of_day(b"10:00:00.5Z"), Some(36_000_500_000));
        assert_eq!(date_of_days(11_016), Some(11_016));
        assert_eq!(
            (date_of_days(-719_163), date_of_days(2_932_897)),
            (None, None)
        );
    }

    #[test]
    fn every_day_of_eight_centuries_is_one_after_the_day_before() {
        let mut expected = date(b"1600-01-01").unwrap();
        assert_eq!(expected, -135_140);
        for year in 1600..2400 {
            for month in 1..=12 {
                for day in 1..=31 {
                    let text = format!("{year:04}-{month:02}-{day:02}");
                    if let Some(days) = date(text.as_bytes()) {
                        assert_eq!(days, expected, "{text}");
                        expected += 1;
                    }
                }
            }
        }
        assert_eq!(expected, date(b"2400-01-01").unwrap());
    }
}
