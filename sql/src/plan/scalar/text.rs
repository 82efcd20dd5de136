//! Parts of texts: Flink's `split_index`, `str_to_map` and `locate`, ksqlDB's `split_to_map` and `instr`.

use std::borrow::Cow;
use std::collections::HashMap;

use super::take::Takes::{Int, Text};
use super::{Answer, Line, Value, bigint, entries, line, text, texts};

pub(super) const LINES: &[Line] = &[
    line("split_index", &[Text, Text, Int], text, split_index),
    line("split", &[Text, Text], texts, split),
    line("str_to_map", &[Text, Text, Text], entries, str_to_map).optional(2),
    line("split_to_map", &[Text, Text, Text], entries, split_to_map),
    line("locate", &[Text, Text, Int], bigint, locate).optional(1),
    line("instr", &[Text, Text, Int, Int], bigint, instr).optional(2),
    line("unistr", &[Text], text, unistr),
];

/// Flink's: parts are counted from 0, the last may be empty; no part is NULL, and so is a text without any.
fn split_index<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let [Value::Text(text), Value::Text(at), Value::Int(place)] = *args else {
        return Ok(Answer::Null);
    };
    let part = match usize::try_from(place) {
        Ok(place) if !text.is_empty() => match at {
            "" => text.split_whitespace().nth(place),
            at => text.split(at).nth(place),
        },
        _ => None,
    };
    Ok(part.map_or(Answer::Null, |part| Answer::Text(part.into())))
}

/// The parts between a text; an empty one stands between all characters.
fn split<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let [Value::Text(text), Value::Text(at)] = *args else {
        return Ok(Answer::Null);
    };
    Ok(Answer::Texts(match at {
        "" if text.is_empty() => vec!["".into()],
        "" => text.split_inclusive(|_| true).map(Cow::Borrowed).collect(),
        at => text.split(at).map(Cow::Borrowed).collect(),
    }))
}

/// Flink's: an entry without value has NULL, the last of several with one key counts.
fn str_to_map<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let sign = |place: usize, default: &'static str| match args.get(place) {
        Some(Value::Text("")) => Err("what lies between entries, or keys and values, is empty"),
        Some(Value::Text(sign)) => Ok(sign.replace('\\', "")),
        _ => Ok(default.to_owned()),
    };
    let (between, equals) = (sign(1, ",")?, sign(2, "=")?);
    let Some(Value::Text(text)) = args.first() else {
        return Ok(Answer::Null);
    };
    let entries = text.split(between.as_str());
    Ok(map(entries.map(|entry| {
        match entry.split_once(equals.as_str()) {
            Some((key, value)) => (key, Some(value)),
            None => (entry, None),
        }
    })))
}

/// ksqlDB's: entries that are no key with one value are left out; the last of several with one key counts.
fn split_to_map<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let [Value::Text(text), Value::Text(between), Value::Text(equals)] = *args else {
        return Ok(Answer::Null);
    };
    if between.is_empty() || equals.is_empty() {
        return Ok(Answer::Null);
    }
    Ok(map(text.split(between).filter_map(|entry| {
        let mut parts = entry.split(equals);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(key), Some(value), None) => Some((key, Some(value))),
            _ => None,
        }
    })))
}

/// The entries in their order; the last of several with one key counts.
fn map<'a>(all: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Answer<'a> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut entries: Vec<(Cow<'a, str>, Option<&str>)> = Vec::new();
    for (key, value) in all {
        let place = *places.entry(key).or_insert(entries.len());
        match entries.get_mut(place) {
            Some(entry) => entry.1 = value,
            None => entries.push((Cow::Borrowed(key), value)),
        }
    }
    Answer::Entries(entries)
}

/// Where a part begins, in characters from 1, at a place or behind it; 0 without.
fn locate<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let [Value::Text(part), Value::Text(text), ref rest @ ..] = *args else {
        return Ok(Answer::Null);
    };
    let from = match rest {
        [Value::Int(from)] => *from,
        _ => 1,
    };
    let found = usize::try_from(from).ok().filter(|from| *from > 0);
    let found = found.and_then(|from| places(text, part).find(|place| *place >= from));
    Ok(place(found))
}

/// ksqlDB's: the n-th place of a part from a place on; a negative one counts, and looks, from the end.
fn instr<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let [Value::Text(text), Value::Text(part), ref rest @ ..] = *args else {
        return Ok(Answer::Null);
    };
    let number = |place: usize| match rest.get(place) {
        Some(Value::Int(number)) => *number,
        _ => 1,
    };
    let (from, nth) = (number(0), number(1));
    let Some(before) = usize::try_from(nth).ok().and_then(|nth| nth.checked_sub(1)) else {
        return Ok(Answer::Int(0));
    };
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let places = places(text, part);
    let at = |place: &usize| i64::try_from(*place).unwrap_or(i64::MAX);
    Ok(place(match from {
        0 => None,
        1.. => places.filter(|place| at(place) >= from).nth(before),
        _ => {
            let last = length + from + 1;
            let places: Vec<usize> = places.filter(|place| at(place) <= last).collect();
            places.into_iter().rev().nth(before)
        }
    }))
}

fn place<'a>(found: Option<usize>) -> Answer<'a> {
    Answer::Int(
        found
            .and_then(|place| i64::try_from(place).ok())
            .unwrap_or(0),
    )
}

/// All places where a part begins, in characters from 1; they may overlap.
fn places<'a>(text: &'a str, part: &'a str) -> impl Iterator<Item = usize> + 'a {
    let starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    let places = starts.enumerate();
    places.filter_map(move |(place, at)| text[at..].starts_with(part).then_some(place + 1))
}

/// PostgreSQL's: `\XXXX`, `\+XXXXXX`, `\uXXXX`, `\UXXXXXXXX` are characters by their numbers, `\\` is a backslash.
fn unistr<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let [Value::Text(text)] = *args else {
        return Ok(Answer::Null);
    };
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        units.extend(before.encode_utf16());
        if let Some(after) = escape.strip_prefix('\\') {
            units.push(u16::from(b'\\'));
            rest = after;
            continue;
        }
        let (skip, digits) = match escape.bytes().next() {
            Some(b'+') => (1, 6),
            Some(b'u') => (1, 4),
            Some(b'U') => (1, 8),
            _ => (0, 4),
        };
        let number = escape.get(skip..skip + digits);
        let number = number.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let number = number.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let number = number.ok_or("a character is \\XXXX, \\+XXXXXX, \\uXXXX or \\UXXXXXXXX")?;
        match (u16::try_from(number), char::from_u32(number)) {
            // Half of a pair, whose other half has to follow.
            (Ok(unit), _) => units.push(unit),
            (_, Some(char)) => units.extend(char.encode_utf16(&mut [0; 2]).iter()),
            _ => return Err(format!("there is no character {number:X}")),
        }
        rest = &escape[skip + digits..];
    }
    units.extend(rest.encode_utf16());
    let text = String::from_utf16(&units);
    let text = text.map_err(|_| "half of a pair stands alone".to_owned())?;
    Ok(Answer::text(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str, at: &str, place: i64) -> Option<String> {
        let args = [Value::Text(text), Value::Text(at), Value::Int(place)];
        match split_index(&args) {
            Ok(Answer::Text(part)) => Some(part.into_owned()),
            _ => None,
        }
    }

    /// The answers are Flink's.
    #[test]
    fn parts_are_counted_from_zero() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(part("a,b,c", ",", 1), some("b"));
        assert_eq!(part("a,b,", ",", 2), some(""));
        assert_eq!(part("a||b", "||", 1), some("b"));
        assert_eq!(part("é/ü", "/", 1), some("ü"));
        for (text, place) in [("a,b", 2), ("a,b", -1), ("", 0)] {
            assert_eq!(part(text, ",", place), None, "{text} {place}");
        }
    }

    /// The answers are ksqlDB's.
    #[test]
    fn places_are_found_from_both_ends() {
        let at = |from, nth| {
            let (text, part) = (Value::Text("CORPORATE FLOOR"), Value::Text("OR"));
            instr(&[text, part, Value::Int(from), Value::Int(nth)])
        };
        for (from, nth, place) in [(1, 1, 2), (3, 1, 5), (3, 2, 14), (-3, 2, 2), (1, 4, 0)] {
            assert_eq!(at(from, nth), Ok(Answer::Int(place)), "{from} {nth}");
        }
    }

    /// The answers are PostgreSQL's.
    #[test]
    fn characters_have_numbers() {
        for (text, read) in [
            (r"d\0061t\+000061", Some("data")),
            (r"\u0061\U0001F600\\", Some("a😀\\")),
            (r"\D83D\DE00", Some("😀")),
            (r"\D83D", None),
            (r"\00", None),
        ] {
            let given = unistr(&[Value::Text(text)]).ok();
            assert_eq!(given, read.map(Answer::text), "{text}");
        }
    }
}
