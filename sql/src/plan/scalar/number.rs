//! Numbers: buckets, distances on the earth, texts read by PostgreSQL's patterns, counts of NULLs.

use super::take::Takes::{Any, Float, Int, Text};
use super::{Answer, Line, Value, bigint, double, integer, line, text};

pub(super) const LINES: &[Line] = &[
    line("e", &[], double, |_| Ok(Answer::Float(std::f64::consts::E))),
    line("width_bucket", &[Float, Float, Float, Int], integer, bucket),
    line(
        "geo_distance",
        &[Float, Float, Float, Float, Text],
        double,
        distance,
    )
    .optional(1),
    line("__to_number", &[Text, Text], text, to_number),
    line("__trimmed", &[Int, Int], bigint, trimmed),
    line("num_nulls", &[Any], integer, |args| count(args, true))
        .repeats()
        .null(),
    line("num_nonnulls", &[Any], integer, |args| count(args, false))
        .repeats()
        .null(),
];

fn count<'a>(args: &[Value<'a>], nulls: bool) -> Result<Answer<'a>, String> {
    let counted = args.iter().filter(|arg| (**arg == Value::Null) == nulls);
    Ok(Answer::Int(
        i64::try_from(counted.count()).unwrap_or(i64::MAX),
    ))
}

/// How many of so many elements are left without the last ones.
fn trimmed<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let [Value::Int(length), Value::Int(count)] = *args else {
        return Ok(Answer::Null);
    };
    match (0..=length).contains(&count) {
        true => Ok(Answer::Int(length - count)),
        false => Err(format!(
            "number of elements to trim must be between 0 and {length}"
        )),
    }
}

/// PostgreSQL's: in which of so many equal parts between two bounds a number lies, from 1; 0 is before them, one more than
/// there are behind. The first bound may be the higher one.
fn bucket<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let [
        Value::Float(number),
        Value::Float(low),
        Value::Float(high),
        Value::Int(count),
    ] = *args
    else {
        return Ok(Answer::Null);
    };
    if !(1..=i64::from(i32::MAX) - 1).contains(&count) {
        return Err("the number of buckets is at least 1".to_owned());
    }
    if number.is_nan() || !low.is_finite() || !high.is_finite() {
        return Err("its bounds are finite, and the number is one".to_owned());
    }
    if low == high {
        return Err("its bounds differ".to_owned());
    }
    let place = (number - low) / (high - low);
    Ok(Answer::Int(match place {
        place if place < 0.0 => 0,
        place if place >= 1.0 => count + 1,
        place => ((place * count as f64).floor() as i64 + 1).min(count),
    }))
}

const EARTH_KM: f64 = 6371.0;
const EARTH_MILES: f64 = 3959.0;

/// ksqlDB's: between two places by their latitudes and longitudes in degrees, on a sphere, in km or miles.
fn distance<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let [
        Value::Float(from_latitude),
        Value::Float(from_longitude),
        Value::Float(to_latitude),
        Value::Float(to_longitude),
        ref unit @ ..,
    ] = *args
    else {
        return Ok(Answer::Null);
    };
    let latitudes = [from_latitude, to_latitude];
    if !latitudes
        .iter()
        .all(|degrees| (-90.0..=90.0).contains(degrees))
    {
        return Err("latitudes go from -90 to 90".to_owned());
    }
    let longitudes = [from_longitude, to_longitude];
    if !longitudes
        .iter()
        .all(|degrees| (-180.0..=180.0).contains(degrees))
    {
        return Err("longitudes go from -180 to 180".to_owned());
    }
    let radius = match unit {
        [Value::Text(unit)] => match unit.to_lowercase() {
            unit if unit.starts_with("mi") => EARTH_MILES,
            unit if unit.starts_with("km") || unit.starts_with("kilo") => EARTH_KM,
            unit => return Err(format!("'{unit}' is no unit: KM and MI are")),
        },
        _ => EARTH_KM,
    };
    let half = |from: f64, to: f64| ((to - from).to_radians() / 2.0).sin().powi(2);
    let angle = half(from_latitude, to_latitude)
        + half(from_longitude, to_longitude)
            * from_latitude.to_radians().cos()
            * to_latitude.to_radians().cos();
    Ok(Answer::Float(2.0 * radius * angle.sqrt().min(1.0).asin()))
}

/// The digits, point and sign of a text by PostgreSQL's pattern; the caller makes a number of them.
fn to_number<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let [Value::Text(text), Value::Text(pattern)] = *args else {
        return Ok(Answer::Null);
    };
    let negative = text.contains('-') || text.contains('<') && text.contains('>');
    let is_sign = |char: char| char.is_whitespace() || matches!(char, '-' | '+' | '<' | '>');
    let mut rest = text.trim_start_matches(is_sign);
    let mut digits = String::new();
    let mut pattern = pattern.chars().peekable();
    while let Some(place) = pattern.next() {
        match place.to_ascii_uppercase() {
            '9' | '0' => {
                rest = rest.trim_start();
                if let Some(after) = rest.strip_prefix(|char: char| char.is_ascii_digit()) {
                    digits += &rest[..rest.len() - after.len()];
                    rest = after;
                }
            }
            '.' | 'D' => {
                // Digits before the point that the pattern has no place for are left out.
                if let Some(after) = rest.strip_prefix('.') {
                    digits.push('.');
                    rest = after;
                }
            }
            'S' | 'M' | 'P' | 'F' => {
                if matches!(
                    pattern.peek(),
                    Some('I' | 'i' | 'L' | 'l' | 'R' | 'r' | 'M' | 'm' | 'G' | 'g')
                ) {
                    pattern.next();
                }
                rest = rest.trim_start_matches(is_sign);
            }
            'E' | 'R' | 'T' | 'V' => {
                return Err(format!(
                    "{place} in a pattern that is read is not available"
                ));
            }
            _ => {
                let other = |char: char| !char.is_ascii_digit() && !matches!(char, '.' | '-' | '+');
                rest = rest.strip_prefix(other).unwrap_or(rest);
            }
        }
    }
    if !digits.bytes().any(|digit| digit.is_ascii_digit()) {
        return Err(format!("'{text}' has no digits where its pattern has them"));
    }
    let sign = if negative { "-" } else { "" };
    let digits = digits.trim_end_matches('.');
    let zero = if digits.starts_with('.') { "0" } else { "" };
    Ok(Answer::text(format!("{sign}{zero}{digits}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers are PostgreSQL's.
    #[test]
    fn numbers_lie_in_buckets() {
        let of = |number, low, high, count| {
            let [number, low, high] = [number, low, high].map(Value::Float);
            bucket(&[number, low, high, Value::Int(count)])
        };
        for (number, low, high, count, place) in [
            (5.35, 0.024, 10.06, 5, 3),
            (5.0, 0.0, 10.0, 5, 3),
            (-1.0, 0.0, 10.0, 5, 0),
            (10.0, 0.0, 10.0, 5, 6),
            (10.0, 10.0, 0.0, 5, 1),
            (0.0, 10.0, 0.0, 5, 6),
        ] {
            let answer = of(number, low, high, count);
            assert_eq!(answer, Ok(Answer::Int(place)), "{number} {low} {high}");
        }
        for (low, high, count) in [(0.0, 0.0, 5), (0.0, 1.0, 0), (f64::NAN, 1.0, 5)] {
            assert!(of(1.0, low, high, count).is_err(), "{low} {high} {count}");
        }
    }

    /// The answers are PostgreSQL's.
    #[test]
    fn texts_are_read_by_their_pattern() {
        for (text, pattern, number) in [
            ("12,454.8-", "99G999D9S", "-12454.8"),
            ("1,234", "9,999", "1234"),
            ("-34,338,492", "99G999G999", "-34338492"),
            ("$1,234.50", "L9,999.99", "1234.50"),
            ("<564646.654564>", "999999.999999PR", "-564646.654564"),
            ("0.00001-", "9.999999S", "-0.00001"),
        ] {
            let read = to_number(&[Value::Text(text), Value::Text(pattern)]);
            assert_eq!(read, Ok(Answer::text(number)), "{text} {pattern}");
        }
        assert!(to_number(&[Value::Text("x"), Value::Text("99")]).is_err());
    }

    #[test]
    fn places_are_apart() {
        let args = [37.4133, -122.1162, 37.7749, -122.4194].map(Value::Float);
        let Ok(Answer::Float(km)) = distance(&args) else {
            panic!("no distance");
        };
        assert!((km - 48.2).abs() < 0.2, "{km}");
        let mut miles = args.to_vec();
        miles.push(Value::Text("MI"));
        assert_ne!(distance(&miles), distance(&args));
        assert!(distance(&[91.0, 0.0, 0.0, 0.0].map(Value::Float)).is_err());
    }
}
