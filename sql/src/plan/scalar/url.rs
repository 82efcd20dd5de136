//! Parts of URLs, and texts in them: Flink's `parse_url`, `url_encode` and `url_decode`, ksqlDB's `url_extract_…`.
//!
//! ```text
//! protocol://userinfo@host:port/path?query#ref     authority  userinfo@host:port     file  path?query
//! ```

use super::take::Takes::Text;
use super::{Answer, Line, Value, integer, line, text};

pub(super) const LINES: &[Line] = &[
    line("parse_url", &[Text, Text, Text], text, parse_url).optional(1),
    line("url_encode", &[Text], text, encode),
    line("url_decode", &[Text], text, decode),
    line("url_encode_param", &[Text], text, encode),
    line("url_decode_param", &[Text], text, decode),
    line("url_extract_fragment", &[Text], text, |args| {
        part(args, Part::Ref)
    }),
    line("url_extract_host", &[Text], text, |args| {
        part(args, Part::Host)
    }),
    line("url_extract_parameter", &[Text, Text], text, parameter),
    line("url_extract_path", &[Text], text, |args| {
        part(args, Part::Path)
    }),
    line("url_extract_port", &[Text], integer, port),
    line("url_extract_protocol", &[Text], text, |args| {
        part(args, Part::Protocol)
    }),
    line("url_extract_query", &[Text], text, |args| {
        part(args, Part::Query)
    }),
];

#[derive(Debug, Clone, Copy)]
enum Part {
    Protocol,
    Authority,
    UserInfo,
    Host,
    Path,
    Query,
    File,
    Ref,
}

/// A URL taken apart; parts that it has not are `None`.
#[derive(Debug, Default)]
struct Url<'a> {
    protocol: &'a str,
    authority: Option<&'a str>,
    user_info: Option<&'a str>,
    host: Option<&'a str>,
    port: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

impl<'a> Url<'a> {
    /// `None`: it is no URL.
    fn of(url: &'a str) -> Option<Self> {
        let (protocol, rest) = url.trim().split_once(':')?;
        let is_name = |char: char| char.is_ascii_alphanumeric() || matches!(char, '+' | '-' | '.');
        if !protocol.starts_with(|char: char| char.is_ascii_alphabetic())
            || !protocol.chars().all(is_name)
        {
            return None;
        }
        let cut = |text: &'a str, at| match text.split_once(at) {
            Some((before, after)) => (before, Some(after)),
            None => (text, None),
        };
        let (rest, fragment) = cut(rest, '#');
        let (rest, query) = cut(rest, '?');
        let url = Self {
            protocol,
            path: rest,
            query,
            fragment,
            ..Self::default()
        };
        let Some(rest) = rest.strip_prefix("//") else {
            return Some(url);
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user_info, place) = match authority.rsplit_once('@') {
            Some((user_info, place)) => (Some(user_info), place),
            None => (None, authority),
        };
        // The colons of `[::1]` are the host's.
        let colon = place.rfind(':').filter(|at| !place[*at..].contains(']'));
        let (host, port) = match colon {
            Some(at) => (&place[..at], Some(&place[at + 1..])),
            None => (place, None),
        };
        Some(Self {
            authority: Some(authority),
            user_info,
            host: Some(host).filter(|host| !host.is_empty()),
            port: port.filter(|port| !port.is_empty()),
            path,
            ..url
        })
    }

    fn part(&self, part: Part) -> Option<String> {
        let part = match part {
            Part::Protocol => Some(self.protocol),
            Part::Authority => self.authority,
            Part::UserInfo => self.user_info,
            Part::Host => self.host,
            Part::Path => Some(self.path),
            Part::Query => self.query,
            Part::Ref => self.fragment,
            Part::File => {
                let query = self.query.map(|query| format!("?{query}"));
                return Some(format!("{}{}", self.path, query.unwrap_or_default()));
            }
        };
        part.map(str::to_owned)
    }

    /// What a parameter of the query is, as it is written there.
    fn parameter(&self, name: &str) -> Option<&'a str> {
        let mut parameters = self.query?.split('&');
        parameters.find_map(|parameter| {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (key == name).then_some(value)
        })
    }
}

fn url_of<'a>(args: &[Value<'a>]) -> Option<Url<'a>> {
    match args.first()? {
        Value::Text(url) => Url::of(url),
        _ => None,
    }
}

fn told<'a>(text: Option<String>) -> Answer<'a> {
    text.map_or(Answer::Null, Answer::text)
}

fn part<'a>(args: &[Value<'a>], part: Part) -> Result<Answer<'a>, String> {
    Ok(told(url_of(args).and_then(|url| url.part(part))))
}

fn port<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let port = url_of(args).and_then(|url| url.port?.parse::<u16>().ok());
    Ok(port.map_or(Answer::Null, |port| Answer::Int(i64::from(port))))
}

/// ksqlDB's: without its escapes.
fn parameter<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let Some(Value::Text(name)) = args.get(1) else {
        return Ok(Answer::Null);
    };
    let url = url_of(args);
    Ok(told(url.and_then(|url| decoded(url.parameter(name)?))))
}

/// Flink's: names of parts are in upper case, of `QUERY` a third argument names the parameter.
fn parse_url<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let (url, Some(Value::Text(part))) = (url_of(args), args.get(1)) else {
        return Ok(Answer::Null);
    };
    let Some(url) = url else {
        return Ok(Answer::Null);
    };
    let part = match (*part, args.get(2)) {
        ("QUERY", Some(Value::Text(name))) => {
            let value = url.parameter(name);
            return Ok(value.map_or(Answer::Null, |value| Answer::Text(value.into())));
        }
        (_, Some(_)) => return Ok(Answer::Null),
        ("PROTOCOL", None) => Part::Protocol,
        ("AUTHORITY", None) => Part::Authority,
        ("USERINFO", None) => Part::UserInfo,
        ("HOST", None) => Part::Host,
        ("PATH", None) => Part::Path,
        ("QUERY", None) => Part::Query,
        ("FILE", None) => Part::File,
        ("REF", None) => Part::Ref,
        (other, None) => {
            return Err(format!(
                "'{other}' is no part of a URL: PROTOCOL, AUTHORITY, USERINFO, HOST, PATH, QUERY, FILE and REF are"
            ));
        }
    };
    Ok(told(url.part(part)))
}

/// As forms are sent: a blank is `+`, what is no letter, digit or one of `-_.*` its bytes.
fn encode<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let [Value::Text(text)] = args else {
        return Ok(Answer::Null);
    };
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'-' | b'_' | b'.' | b'*' => out.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            byte => out += &format!("%{byte:02X}"),
        }
    }
    Ok(Answer::text(out))
}

/// NULL for what is no such text, as Flink has it.
fn decode<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    match args {
        [Value::Text(text)] => Ok(told(decoded(text))),
        _ => Ok(Answer::Null),
    }
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = std::str::from_utf8(after.get(..2)?).ok()?;
                let is_digit = |byte: u8| byte.is_ascii_hexdigit();
                let digits = Some(digits).filter(|digits| digits.bytes().all(is_digit))?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = after.get(2..)?;
            }
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_parts() {
        let url = "http://me:pw@a.b:8080/c/d?e=f&g=%20h#top";
        for (part, text) in [
            ("PROTOCOL", Some("http")),
            ("AUTHORITY", Some("me:pw@a.b:8080")),
            ("USERINFO", Some("me:pw")),
            ("HOST", Some("a.b")),
            ("PATH", Some("/c/d")),
            ("QUERY", Some("e=f&g=%20h")),
            ("FILE", Some("/c/d?e=f&g=%20h")),
            ("REF", Some("top")),
        ] {
            let answer = parse_url(&[Value::Text(url), Value::Text(part)]);
            assert_eq!(answer, Ok(told(text.map(str::to_owned))), "{part}");
        }
        let named = |name| parse_url(&[Value::Text(url), Value::Text("QUERY"), Value::Text(name)]);
        assert_eq!(named("g"), Ok(Answer::text("%20h")));
        assert_eq!(named("h"), Ok(Answer::Null));
        assert_eq!(port(&[Value::Text(url)]), Ok(Answer::Int(8080)));
        assert_eq!(port(&[Value::Text("http://[::1]/")]), Ok(Answer::Null));
        let parameter = parameter(&[Value::Text(url), Value::Text("g")]);
        assert_eq!(parameter, Ok(Answer::text(" h")));
        for none in ["no url", "", "://a", "1a://b"] {
            assert!(Url::of(none).is_none(), "{none}");
        }
    }

    #[test]
    fn texts_of_forms_go_both_ways() {
        for (text, coded) in [("a b&c=é*", "a+b%26c%3D%C3%A9*"), ("", "")] {
            assert_eq!(encode(&[Value::Text(text)]), Ok(Answer::text(coded)));
            assert_eq!(decode(&[Value::Text(coded)]), Ok(Answer::text(text)));
        }
        for wrong in ["%", "%2", "%+1", "%FF"] {
            assert_eq!(decode(&[Value::Text(wrong)]), Ok(Answer::Null), "{wrong}");
        }
    }
}
