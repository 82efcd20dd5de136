//! Patterns of Java's `SimpleDateFormat`, in UTC: printing and reading times.
//!
//! | letter | is | printed |
//! |---|---|---|
//! | `y` | year | `yy`: two digits |
//! | `M` | month | `MMM`: Jan, `MMMM`: January |
//! | `d`, `D` | day of the month, of the year | |
//! | `E` | day of the week | `EEEE`: Monday |
//! | `H`, `k`, `K`, `h` | hour 0–23, 1–24, 0–11, 1–12 | |
//! | `a` | AM or PM | |
//! | `m`, `s`, `S` | minute, second, millisecond | |
//! | `z`, `Z`, `X` | zone: UTC, +0000, Z | `XXX`: with a colon where it is another |
//!
//! Text stands in single quotes, and `''` is one. Reading is strict: a 30th of February is refused, where Java counts on.

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, TimeDelta, Timelike, Utc};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
/// Letters of a pattern that are understood.
const LETTERS: &str = "yMdDEHkKhamsSzZX";
/// How many of one letter may stand together.
const WIDTH_MAX: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(char, usize),
}

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DateFormat(Vec<Part>);

impl DateFormat {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Which letter is not understood.
    pub(super) fn parse(pattern: &str) -> Result<Self, String> {
        let mut parts: Vec<Part> = Vec::new();
        let mut letters = pattern.chars().peekable();
        let mut quoted = false;
        while let Some(letter) = letters.next() {
            match letter {
                '\'' if letters.next_if_eq(&'\'').is_some() => add_text(&mut parts, '\''),
                '\'' => quoted = !quoted,
                letter if quoted || !letter.is_ascii_alphabetic() => add_text(&mut parts, letter),
                letter if !LETTERS.contains(letter) => {
                    return Err(format!(
                        "Illegal pattern character '{letter}' in {pattern}: there are {LETTERS}"
                    ));
                }
                letter => match parts.last_mut() {
                    Some(Part::Field(last, width)) if *last == letter => *width += 1,
                    _ => parts.push(Part::Field(letter, 1)),
                },
            }
        }
        if quoted {
            return Err(format!("Unterminated quote in {pattern}"));
        }
        let wide = |part: &Part| matches!(part, Part::Field(_, width) if *width > WIDTH_MAX);
        match parts.iter().any(wide) {
            true => Err(format!("more than {WIDTH_MAX} of one letter in {pattern}")),
            false => Ok(Self(parts)),
        }
    }

    /// A time, in milliseconds since 1970 UTC, as text.
    ///
    /// # Errors
    /// A time that no calendar has.
    pub(super) fn print(&self, ms: i64) -> Result<String, String> {
        let time = DateTime::from_timestamp_millis(ms)
            .ok_or_else(|| format!("{ms} ms since 1970 is out of range"))?;
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field(letter, width) => out.push_str(&printed(&time, *letter, *width)),
            }
        }
        Ok(out)
    }

    /// The time, in milliseconds since 1970 UTC, that a text means. What follows it is passed over, as Java does.
    ///
    /// # Errors
    /// What of the text does not fit.
    pub(super) fn read(&self, text: &str) -> Result<i64, String> {
        let unfit = |what: String| format!("Could not parse timestamp: value ({text}) {what}");
        let mut fields = Fields::default();
        let mut rest = text;
        for (index, part) in self.0.iter().enumerate() {
            match part {
                Part::Text(expected) => {
                    rest = rest.strip_prefix(expected.as_str()).ok_or_else(|| {
                        unfit(format!("has no \"{expected}\" where the format has one"))
                    })?;
                }
                Part::Field(letter, width) => {
                    // Numbers that stand side by side have the width that the pattern says.
                    let next = self.0.get(index + 1);
                    let next_is_number = matches!(next, Some(Part::Field(letter, width)) if is_number(*letter, *width));
                    let digits = next_is_number.then_some(*width);
                    rest = fields
                        .take(*letter, *width, digits, rest)
                        .ok_or_else(|| unfit(format!("has no {} at \"{rest}\"", name(*letter))))?;
                }
            }
        }
        fields
            .time()
            .ok_or_else(|| unfit("is no time of the calendar".to_owned()))
    }
}

fn add_text(parts: &mut Vec<Part>, letter: char) {
    match parts.last_mut() {
        Some(Part::Text(text)) => text.push(letter),
        _ => parts.push(Part::Text(letter.to_string())),
    }
}

fn name(letter: char) -> &'static str {
    match letter {
        'y' => "year",
        'M' => "month",
        'd' | 'D' => "day",
        'E' => "day of the week",
        'a' => "AM or PM",
        'm' => "minute",
        's' => "second",
        'S' => "millisecond",
        'z' | 'Z' | 'X' => "zone",
        _ => "hour",
    }
}

fn is_number(letter: char, width: usize) -> bool {
    match letter {
        'M' => width < 3,
        'E' | 'a' | 'z' | 'Z' | 'X' => false,
        _ => true,
    }
}

fn printed(time: &DateTime<Utc>, letter: char, width: usize) -> String {
    let number = |value: u32| format!("{value:0width$}");
    let hour = time.hour();
    match letter {
        'y' if width == 2 => format!("{:02}", time.year().rem_euclid(100)),
        'y' => format!("{:0width$}", time.year()),
        'M' if width > 3 => MONTHS[time.month0() as usize].to_owned(),
        'M' if width == 3 => MONTHS[time.month0() as usize][..3].to_owned(),
        'M' => number(time.month()),
        'd' => number(time.day()),
        'D' => number(time.ordinal()),
        'E' => {
            let day = DAYS[time.weekday().num_days_from_monday() as usize];
            if width > 3 { day } else { &day[..3] }.to_owned()
        }
        'H' => number(hour),
        'k' => number(if hour == 0 { 24 } else { hour }),
        'K' => number(hour % 12),
        'h' => number(if hour.is_multiple_of(12) {
            12
        } else {
            hour % 12
        }),
        'a' => if hour < 12 { "AM" } else { "PM" }.to_owned(),
        'm' => number(time.minute()),
        's' => number(time.second()),
        'S' => number(time.timestamp_subsec_millis()),
        'z' => "UTC".to_owned(),
        'Z' => "+0000".to_owned(),
        _ => "Z".to_owned(),
    }
}

/// What a text said.
#[derive(Default)]
struct Fields {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    hour: i64,
    /// The hour counts from noon.
    afternoon: bool,
    minute: i64,
    second: i64,
    ms: i64,
    zone_seconds: i64,
}

impl Fields {
    /// Takes a field from the front of a text and returns what is left; `None` if it is not there.
    fn take<'a>(
        &mut self,
        letter: char,
        width: usize,
        digits: Option<usize>,
        text: &'a str,
    ) -> Option<&'a str> {
        let text = text.trim_start_matches(' ');
        match letter {
            'M' if width >= 3 => {
                let (month, rest) = named(text, &MONTHS)?;
                self.month = Some(month + 1);
                return Some(rest);
            }
            'E' => return Some(named(text, &DAYS)?.1),
            'a' => {
                let (half, rest) = text.split_at_checked(2)?;
                self.afternoon = half.eq_ignore_ascii_case("pm");
                let known = self.afternoon || half.eq_ignore_ascii_case("am");
                return known.then_some(rest);
            }
            'z' | 'Z' | 'X' => {
                let (seconds, rest) = zone(text)?;
                self.zone_seconds = seconds;
                return Some(rest);
            }
            _ => {}
        }
        let all = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = text.split_at(digits.map_or(all, |digits| digits.min(all)));
        let value: i64 = number.parse().ok()?;
        match letter {
            'y' => self.year = Some(year(value, number.len(), width)?),
            'M' => self.month = Some(u32::try_from(value).ok()?),
            'd' => self.day = Some(u32::try_from(value).ok()?),
            'D' => self.day_of_year = Some(u32::try_from(value).ok()?),
            'k' => self.hour = within(value, 1, 24)? % 24,
            'h' => self.hour = within(value, 1, 12)? % 12,
            'K' => self.hour = within(value, 0, 11)?,
            'H' => self.hour = within(value, 0, 23)?,
            'm' => self.minute = within(value, 0, 59)?,
            's' => self.second = within(value, 0, 59)?,
            _ => self.ms = value,
        }
        Some(rest)
    }

    fn time(&self) -> Option<i64> {
        let year = self.year.unwrap_or(1970);
        let date = match self.day_of_year {
            Some(day) => NaiveDate::from_yo_opt(year, day)?,
            None => NaiveDate::from_ymd_opt(year, self.month.unwrap_or(1), self.day.unwrap_or(1))?,
        };
        let hour = self.hour
            + if self.afternoon && self.hour < 12 {
                12
            } else {
                0
            };
        let seconds = (hour * 60 + self.minute) * 60 + self.second - self.zone_seconds;
        // As in Java, digits of `S` are milliseconds, however many.
        let since_midnight =
            TimeDelta::try_seconds(seconds)?.checked_add(&TimeDelta::try_milliseconds(self.ms)?)?;
        let time = date
            .and_time(NaiveTime::MIN)
            .checked_add_signed(since_midnight)?;
        Some(time.and_utc().timestamp_millis())
    }
}

fn within(value: i64, least: i64, most: i64) -> Option<i64> {
    (least..=most).contains(&value).then_some(value)
}

/// Two digits for `yy` mean a year from 80 years ago to 20 years ahead.
fn year(value: i64, digits: usize, width: usize) -> Option<i32> {
    let value = i32::try_from(value).ok()?;
    if width > 2 || digits != 2 {
        return Some(value);
    }
    let now = Utc::now().year();
    let this_century = now - now.rem_euclid(100) + value;
    Some(match this_century {
        late if late > now + 20 => late - 100,
        early if early <= now - 80 => early + 100,
        year => year,
    })
}

/// The name, long or short, that a text begins with: its index, and what follows.
fn named<'a>(text: &'a str, names: &[&str]) -> Option<(u32, &'a str)> {
    (0..).zip(names).find_map(|(index, name)| {
        [*name, &name[..3]].into_iter().find_map(|name| {
            let (start, rest) = text.split_at_checked(name.len())?;
            start.eq_ignore_ascii_case(name).then_some((index, rest))
        })
    })
}

/// The seconds east of UTC that a text begins with, and what follows.
fn zone(text: &str) -> Option<(i64, &str)> {
    for name in ["UTC", "GMT", "Z"] {
        if let Some(rest) = text.strip_prefix(name) {
            return Some((0, rest));
        }
    }
    let sign = match text.bytes().next()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, rest) = text[1..].split_at_checked(2)?;
    let hours = within(hours.parse().ok()?, 0, 18)?;
    let after = rest.strip_prefix(':').unwrap_or(rest);
    let minutes = after
        .split_at_checked(2)
        .and_then(|(minutes, rest)| Some((within(minutes.parse().ok()?, 0, 59)?, rest)));
    let (minutes, rest) = minutes.unwrap_or((0, rest));
    Some((sign * (hours * 60 + minutes) * 60, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2013-01-02T03:04:05.678Z, a Wednesday.
    const TIME: i64 = 1_357_095_845_678;

    #[test]
    fn times_print_and_read_back() {
        for (pattern, text) in [
            ("yyyy-MM-dd'T'HH:mm:ss.SSSX", "2013-01-02T03:04:05.678Z"),
            ("yyyyMMddHHmmssSSS", "20130102030405678"),
            ("yy/M/d h:mm:ss.SSS a", "13/1/2 3:04:05.678 AM"),
            (
                "EEE, d MMM yyyy HH:mm:ss.SSS Z",
                "Wed, 2 Jan 2013 03:04:05.678 +0000",
            ),
            (
                "EEEE MMMM dd yyyy k:m:s.S z",
                "Wednesday January 02 2013 3:4:5.678 UTC",
            ),
            ("''yyyy''DDD'd' HH:mm:ss.SSS", "'2013'002d 03:04:05.678"),
        ] {
            let format = DateFormat::parse(pattern).unwrap();
            assert_eq!(format.print(TIME).as_deref(), Ok(text), "{pattern}");
            assert_eq!(format.read(text), Ok(TIME), "{pattern}");
        }
        let read = |pattern: &str, text: &str| DateFormat::parse(pattern).unwrap().read(text);
        assert_eq!(
            read("yyyy-MM-dd'T'HH:mmXXX", "1970-01-01T02:00+02:00"),
            Ok(0)
        );
        assert_eq!(read("yyyy-MM-dd hh a", "1970-01-01 12 PM"), Ok(43_200_000));
        assert_eq!(read("yyyy", "1969 and more"), Ok(-31_536_000_000));
        assert!(
            read("yyyy-MM-dd", "2013-02-30")
                .unwrap_err()
                .contains("no time of the calendar")
        );
        assert!(
            read("yyyy-MM-dd", "2013/02")
                .unwrap_err()
                .contains("has no \"-\"")
        );
        assert!(read("HH:mm", "x").unwrap_err().contains("has no hour"));
        assert!(DateFormat::parse("yyyy-bb").unwrap_err().contains("'b'"));
        assert!(DateFormat::parse("'x").is_err());
    }
}
