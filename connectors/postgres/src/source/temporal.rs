//! PURE: dates, times and intervals from PostgreSQL's ISO text, as numbers.
//!
//! Dates are days, times and instants microseconds; the calendar is the proleptic Gregorian one, as PostgreSQL's.

/// Microseconds of a day.
pub(super) const DAY_US: i64 = 86_400_000_000;
/// Microseconds of a month on average: 365.25 / 12 days.
const MONTH_US: i64 = 2_629_800_000_000;

/// The first and the last day of the years 1 to 9999.
pub(super) const ENDS_DAYS: (i64, i64) = (-719_162, 2_932_896);
/// Their first and last microsecond.
pub(super) const ENDS_US: (i64, i64) = (ENDS_DAYS.0 * DAY_US, (ENDS_DAYS.1 + 1) * DAY_US - 1);

/// A value or one of its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bounded {
    /// `-infinity`.
    Earliest,
    /// A number.
    At(i64),
    /// `infinity`.
    Latest,
}

/// An interval's parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Interval {
    /// Years.
    pub(super) years: i64,
    /// Months.
    pub(super) months: i64,
    /// Days.
    pub(super) days: i64,
    /// Hours.
    pub(super) hours: i64,
    /// Minutes.
    pub(super) minutes: i64,
    /// Microseconds beyond the minutes.
    pub(super) seconds_us: i64,
}

/// Days since 1970-01-01 of `2017-01-31`, `0044-03-15 BC`, `infinity`.
pub(super) fn date(text: &str) -> Option<Bounded> {
    Some(match text {
        "infinity" => Bounded::Latest,
        "-infinity" => Bounded::Earliest,
        _ => {
            let (text, bc) = era(text);
            Bounded::At(days(text, bc)?)
        }
    })
}

/// Microseconds since midnight of `23:59:59.123456`; `24:00:00` is a whole day.
pub(super) fn time(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let hours: i64 = number(parts.next()?)?;
    let minutes: i64 = number(parts.next()?)?;
    let seconds = match parts.next() {
        Some(seconds) => seconds_us(seconds)?,
        None => 0,
    };
    // A second may be rounded up to the sixtieth.
    let in_range = parts.next().is_none() && hours <= 24 && minutes < 60 && seconds <= 60_000_000;
    in_range.then(|| hours * 3_600_000_000 + minutes * 60_000_000 + seconds)
}

/// Microseconds since 1970-01-01T00:00:00 of `2017-01-31 23:59:59.5`; with a zone (`+02`, `+05:30`, `-00:00:10`) in UTC.
pub(super) fn timestamp(text: &str) -> Option<Bounded> {
    match text {
        "infinity" => return Some(Bounded::Latest),
        "-infinity" => return Some(Bounded::Earliest),
        _ => {}
    }
    let (text, bc) = era(text);
    let (day, clock) = text.split_once(' ')?;
    let (clock, zone_us) = zoned(clock)?;
    let day = days(day, bc)?.checked_mul(DAY_US)?;
    day.checked_add(time(clock)? - zone_us).map(Bounded::At)
}

/// Microseconds since midnight UTC of `23:59:59+02`, within the day.
pub(super) fn time_utc(text: &str) -> Option<i64> {
    let (clock, zone_us) = zoned(text)?;
    Some((time(clock)? - zone_us).rem_euclid(DAY_US))
}

/// An interval in PostgreSQL's style `iso_8601`: `P1Y2M-3DT4H-5M6.7S`.
pub(super) fn interval(text: &str) -> Option<Interval> {
    let mut rest = text.strip_prefix('P')?;
    let mut interval = Interval::default();
    let mut clock = false;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('T') {
            clock = true;
            rest = after;
            continue;
        }
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let (amount, after) = rest.split_at(end);
        let unit = after.as_bytes().first()?;
        rest = after.get(1..)?;
        let whole = || amount.parse::<i64>().ok();
        match (clock, unit) {
            (false, b'Y') => interval.years = whole()?,
            (false, b'M') => interval.months = whole()?,
            (false, b'D') => interval.days = whole()?,
            (true, b'H') => interval.hours = whole()?,
            (true, b'M') => interval.minutes = whole()?,
            (true, b'S') => {
                let (sign, amount) = match amount.strip_prefix('-') {
                    Some(amount) => (-1, amount),
                    None => (1, amount),
                };
                interval.seconds_us = sign * seconds_us(amount)?;
            }
            _ => return None,
        }
    }
    Some(interval)
}

impl Interval {
    /// Its length, a month taken as 365.25 / 12 days; at the ends of the range where it exceeds them.
    pub(super) fn micros(&self) -> i64 {
        let months = i128::from(self.years) * 12 + i128::from(self.months);
        let total = months * i128::from(MONTH_US)
            + i128::from(self.days) * i128::from(DAY_US)
            + i128::from(self.hours) * 3_600_000_000
            + i128::from(self.minutes) * 60_000_000
            + i128::from(self.seconds_us);
        i64::try_from(total).unwrap_or(if total < 0 { i64::MIN } else { i64::MAX })
    }

    /// `P1Y2M3DT4H5M6.7S`, every part named.
    pub(super) fn iso(&self) -> String {
        let sign = if self.seconds_us < 0 { "-" } else { "" };
        let us = self.seconds_us.unsigned_abs();
        let fraction = format!("{:06}", us % 1_000_000);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        format!(
            "P{}Y{}M{}DT{}H{}M{sign}{}{point}{fraction}S",
            self.years,
            self.months,
            self.days,
            self.hours,
            self.minutes,
            us / 1_000_000
        )
    }
}

/// `2017-01-31` of days since 1970; years behind 9999 have a plus, years before 0 a minus, as in ISO 8601.
pub(super) fn iso_date(days: i64) -> String {
    let (year, month, day) = civil(days);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        10_000.. => format!("+{year}"),
        _ => format!("-{:04}", -year),
    };
    format!("{year}-{month:02}-{day:02}")
}

/// `23:59:59.123` of microseconds since midnight, with this many digits of the second's fraction.
pub(super) fn iso_time(us: i64, digits: usize) -> String {
    let seconds = us / 1_000_000;
    let clock = format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    let fraction = format!("{:06}", us % 1_000_000);
    match fraction.get(..digits) {
        Some(fraction) if !fraction.is_empty() => format!("{clock}.{fraction}"),
        _ => clock,
    }
}

/// `2017-01-31T23:59:59.123` of microseconds since 1970.
pub(super) fn iso_timestamp(us: i64, digits: usize) -> String {
    format!(
        "{}T{}",
        iso_date(us.div_euclid(DAY_US)),
        iso_time(us.rem_euclid(DAY_US), digits)
    )
}

fn era(text: &str) -> (&str, bool) {
    match text.strip_suffix(" BC") {
        Some(text) => (text, true),
        None => (text, false),
    }
}

/// The clock and its distance from UTC in microseconds.
fn zoned(clock: &str) -> Option<(&str, i64)> {
    let Some(at) = clock.find(['+', '-']) else {
        return Some((clock, 0));
    };
    let (clock, zone) = clock.split_at(at);
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let mut seconds = 0;
    let mut unit = 3600;
    for part in zone.get(1..)?.split(':') {
        seconds += number(part).filter(|part| *part < 100)? * unit;
        unit /= 60;
    }
    Some((clock, sign * seconds * 1_000_000))
}

fn number(digits: &str) -> Option<i64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// Microseconds of `59.5`.
fn seconds_us(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = number(whole)?.checked_mul(1_000_000)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    let digits = fraction.get(..fraction.len().min(6))?;
    let exponent = u32::try_from(6 - digits.len()).ok()?;
    whole.checked_add(number(digits)? * 10_i64.pow(exponent))
}

/// Days since 1970 of `2017-01-31`.
fn days(text: &str, bc: bool) -> Option<i64> {
    let mut parts = text.split('-');
    let year = number(parts.next()?)?;
    let month = number(parts.next()?)?;
    let day = number(parts.next()?)?;
    let in_range = parts.next().is_none()
        && year < 10_000_000
        && (1..=12).contains(&month)
        && (1..=31).contains(&day);
    // The year 1 BC is the year 0.
    let year = if bc { 1 - year } else { year };
    in_range.then(|| days_from_civil(year, month, day))
}

/// Counted in years that begin in March, so that the leap day is the last one; 400 years have 146,097 days.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The other way.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days() {
        let at = |text| date(text).unwrap();
        assert_eq!(at("1970-01-01"), Bounded::At(0));
        assert_eq!(at("2016-11-10"), Bounded::At(17_115));
        assert_eq!(at("2000-02-29"), Bounded::At(11_016));
        assert_eq!(at("0001-01-01"), Bounded::At(-719_162));
        assert_eq!(at("0001-12-31 BC"), Bounded::At(-719_163));
        assert_eq!(at("4713-01-01 BC"), Bounded::At(-2_440_550));
        assert_eq!(at("infinity"), Bounded::Latest);
        assert_eq!(at("-infinity"), Bounded::Earliest);
        for bad in ["", "2016", "2016-13-01", "2016-00-01", "2016-1-32", "a-b-c"] {
            assert_eq!(date(bad), None, "{bad}");
        }
    }

    #[test]
    fn days_and_dates_are_each_others_inverse() {
        for days in (-3_000_000..3_000_000).step_by(977) {
            let (year, month, day) = civil(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
        assert_eq!(iso_date(17_115), "2016-11-10");
        assert_eq!(iso_timestamp(ENDS_US.0, 6), "0001-01-01T00:00:00.000000");
        assert_eq!(iso_timestamp(ENDS_US.1, 6), "9999-12-31T23:59:59.999999");
        assert_eq!(iso_date(-719_163), "0000-12-31");
        assert_eq!(iso_date(days_from_civil(-43, 3, 15)), "-0043-03-15");
        assert_eq!(iso_date(days_from_civil(12_345, 1, 1)), "+12345-01-01");
    }

    #[test]
    fn times_and_instants_are_microseconds() {
        assert_eq!(time("00:00:00"), Some(0));
        assert_eq!(time("24:00:00"), Some(DAY_US));
        assert_eq!(time("13:51:30.123456"), Some(49_890_123_456));
        assert_eq!(time("00:00:00.5"), Some(500_000));
        assert_eq!(time("1:2:3:4"), None);
        for hostile in [
            "0:0:9223372036854",
            "0:0:99999999999999999999",
            "0:0:0+9223372036854775807",
        ] {
            assert_eq!(time(hostile), None, "{hostile}");
            assert_eq!(time_utc(hostile), None, "{hostile}");
        }
        assert_eq!(
            timestamp("2016-11-04 13:51:30.123456"),
            Some(Bounded::At(1_478_267_490_123_456))
        );
        assert_eq!(
            timestamp("2016-11-04 13:51:30.123456+02"),
            Some(Bounded::At(1_478_260_290_123_456))
        );
        assert_eq!(
            timestamp("1883-11-18 12:03:58-04:56:02"),
            timestamp("1883-11-18 17:00:00+00")
        );
        assert_eq!(time_utc("01:00:00+02"), Some(23 * 3_600_000_000));
        assert_eq!(
            iso_timestamp(1_478_260_290_123_456, 6),
            "2016-11-04T11:51:30.123456"
        );
        assert_eq!(iso_timestamp(-1, 3), "1969-12-31T23:59:59.999");
        assert_eq!(iso_time(DAY_US, 0), "24:00:00");
    }

    #[test]
    fn intervals_have_a_length_and_a_text() {
        let parsed = interval("P1Y2M3DT4H5M6.78S").unwrap();
        assert_eq!(parsed.micros(), 14 * MONTH_US + 3 * DAY_US + 14_706_780_000);
        assert_eq!(parsed.iso(), "P1Y2M3DT4H5M6.78S");
        let negative = interval("P-1Y-2M3DT-4H-5M-6.5S").unwrap();
        assert_eq!(negative.iso(), "P-1Y-2M3DT-4H-5M-6.5S");
        assert_eq!(interval("PT0S").unwrap().micros(), 0);
        assert_eq!(interval("PT-0.000001S").unwrap().micros(), -1);
        for bad in ["", "P1", "PT1D", "1Y", "infinity"] {
            assert_eq!(interval(bad), None, "{bad}");
        }
    }
}
