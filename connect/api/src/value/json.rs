//! Values from and to JSON text, without schemas in the text.
//!
//! Reading: whole numbers that fit are Int64, other numbers Float64 where that loses nothing, else their text as
//! [`Value::Json`]; objects maps with string keys, as Kafka's JsonConverter does with `schemas.enable=false`. Writing: bytes are base64, a map whose keys are not all strings
//! is a list of `[key, value]` pairs, NaN and infinities are strings, as Jackson prints them.

use std::fmt;
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use thiserror::Error;

use super::{Text, Value, exact};
use crate::Schema;

/// Bytes that are not one JSON value.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("not a JSON value: {0}")]
pub struct ParseJsonError(String);

/// How to print values that have a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonStyle {
    /// Print a schema's default in place of a null (`replace.null.with.default`, Kafka's default).
    pub null_as_default: bool,
    /// Print decimals as numbers (`decimal.format=NUMERIC`) and not as base64.
    pub decimal_numeric: bool,
}

impl Default for JsonStyle {
    fn default() -> Self {
        Self {
            null_as_default: true,
            decimal_numeric: false,
        }
    }
}

impl Value {
    /// Takes one JSON value as text, checked but not parsed: [`Value::Json`], or [`Value::Null`] for `null`.
    ///
    /// # Errors
    /// Where it is not well-formed JSON, with line and column.
    pub fn json(text: Text) -> Result<Self, ParseJsonError> {
        check_json(text.as_str())?;
        Ok(if text.as_str().trim() == "null" {
            Self::Null
        } else {
            Self::Json(text)
        })
    }

    /// Parses one JSON value.
    ///
    /// # Errors
    /// Where it is not well-formed JSON, or nests deeper than 128 levels.
    pub fn parse_json(text: &str) -> Result<Self, ParseJsonError> {
        if exact::may_be_needed(text) {
            check_json(text)?;
            let too_deep = || ParseJsonError("recursion limit exceeded".to_owned());
            return exact::parse(text).ok_or_else(too_deep);
        }
        serde_json::from_str(text).map_err(|error| ParseJsonError(error.to_string()))
    }

    /// Appends the value as compact JSON; `schema` supplies defaults and logical types where there is one.
    pub fn write_json(&self, schema: Option<&Schema>, style: JsonStyle, out: &mut Vec<u8>) {
        match self {
            Self::Null => match schema.and_then(|schema| schema.default.as_ref()) {
                Some(default) if style.null_as_default => {
                    default.write_json(schema, style, out);
                }
                _ => out.extend_from_slice(b"null"),
            },
            Self::Boolean(value) => print(out, value),
            Self::Int8(value) => print(out, value),
            Self::Int16(value) => print(out, value),
            Self::Int32(value) => print(out, value),
            Self::Int64(value) => print(out, value),
            Self::Float32(value) if value.is_finite() => print(out, value),
            Self::Float32(value) => print(out, &java_float(f64::from(*value))),
            Self::Float64(value) if value.is_finite() => print(out, value),
            Self::Float64(value) => print(out, &java_float(*value)),
            Self::String(text) => print(out, text.as_str()),
            Self::Json(text) => out.extend_from_slice(text.as_bytes()),
            Self::Bytes(bytes) => match schema.and_then(decimal_scale) {
                Some(scale) if style.decimal_numeric => {
                    out.extend_from_slice(decimal_text(bytes, scale).as_bytes());
                }
                _ => print(out, &STANDARD.encode(bytes)),
            },
            Self::Array(items) => {
                let item_schema = schema.and_then(|schema| match &schema.kind {
                    crate::SchemaType::Array(items) => Some(&**items),
                    _ => None,
                });
                list(out, items.iter(), |item, out| {
                    item.write_json(item_schema, style, out)
                });
            }
            Self::Map(entries) => write_map(entries, schema, style, out),
            Self::Struct(structure) => {
                out.push(b'{');
                let fields = structure.schema().fields().iter().zip(structure.values());
                for (index, (field, value)) in fields.enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    print(out, &*field.name);
                    out.push(b':');
                    value.write_json(Some(&field.schema), style, out);
                }
                out.push(b'}');
            }
        }
    }

    /// The value as compact JSON text in Kafka's default style, without a schema.
    pub fn to_json(&self) -> Text {
        if let Self::Json(text) = self {
            return text.clone();
        }
        let mut out = Vec::new();
        self.write_json(None, JsonStyle::default(), &mut out);
        Text::from(String::from_utf8(out).expect("JSON is written as UTF-8"))
    }
}

/// Whether `text` is exactly one JSON value. Does not recurse, allocates nothing that grows with the text but one
/// bit of nesting a level.
pub(crate) fn check_json(text: &str) -> Result<(), ParseJsonError> {
    serde_json::from_str::<IgnoredAny>(text)
        .map(|_| ())
        .map_err(|error| ParseJsonError(error.to_string()))
}

fn write_map(
    entries: &[(Value, Value)],
    schema: Option<&Schema>,
    style: JsonStyle,
    out: &mut Vec<u8>,
) {
    let (key_schema, value_schema) = match schema.map(|schema| &schema.kind) {
        Some(crate::SchemaType::Map(keys, values)) => (Some(&**keys), Some(&**values)),
        _ => (None, None),
    };
    if entries
        .iter()
        .all(|(key, _)| matches!(key, Value::String(_)))
    {
        out.push(b'{');
        for (index, (key, value)) in entries.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            key.write_json(key_schema, style, out);
            out.push(b':');
            value.write_json(value_schema, style, out);
        }
        out.push(b'}');
    } else {
        list(out, entries.iter(), |(key, value), out| {
            out.push(b'[');
            key.write_json(key_schema, style, out);
            out.push(b',');
            value.write_json(value_schema, style, out);
            out.push(b']');
        });
    }
}

fn list<T>(
    out: &mut Vec<u8>,
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(T, &mut Vec<u8>),
) {
    out.push(b'[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(b']');
}

fn print<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out.by_ref(), value)
        .expect("numbers, booleans and text always print, and a Vec takes every byte");
}

fn java_float(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

fn decimal_scale(schema: &Schema) -> Option<i32> {
    (schema.name.as_deref() == Some(crate::logical::DECIMAL)).then(|| {
        schema
            .parameters
            .get("scale")
            .and_then(|scale| scale.parse().ok())
            .unwrap_or(0)
    })
}

/// An unscaled big-endian two's complement integer and its scale as decimal text, of any length.
fn decimal_text(unscaled: &[u8], scale: i32) -> String {
    let negative = unscaled.first().is_some_and(|byte| byte & 0x80 != 0);
    let mut magnitude = unscaled.to_vec();
    if negative {
        let mut carry = true;
        for byte in magnitude.iter_mut().rev() {
            let (value, overflow) = (!*byte).overflowing_add(u8::from(carry));
            *byte = value;
            carry = overflow;
        }
    }
    let mut digits = Vec::new();
    while magnitude.iter().any(|byte| *byte != 0) {
        let mut remainder = 0u32;
        for byte in &mut magnitude {
            let part = remainder * 256 + u32::from(*byte);
            *byte =
                u8::try_from(part / 10).expect("a remainder below 10 keeps the quotient in a byte");
            remainder = part % 10;
        }
        digits.push(char::from_digit(remainder, 10).expect("a remainder of ten is a digit"));
    }
    // A hostile scale would ask for that many zeros: Connect's own decimals stay far below this bound.
    let scale = scale.clamp(-1000, 1000);
    let places = usize::try_from(scale).unwrap_or(0);
    while digits.len() <= places {
        digits.push('0');
    }
    if scale < 0 && digits != ['0'] {
        let zeros = usize::try_from(-scale).unwrap_or(0);
        digits.splice(0..0, std::iter::repeat_n('0', zeros));
    }
    if places > 0 {
        digits.insert(places, '.');
    }
    if negative {
        digits.push('-');
    }
    digits.into_iter().rev().collect()
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int64(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float64(value as f64), Value::Int64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float64(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(Text::from(value)))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(Text::from(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            entries.push((Value::String(Text::from(key)), value));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_text_is_checked_and_kept_as_it_is() {
        let text = r#"{"b":1,  "a":[1.5,"x"]}"#;
        let value = Value::json(Text::from(text)).unwrap();
        assert_eq!(value.to_json().as_str(), text);
        let structured = value.to_structured().unwrap();
        assert_eq!(structured.field("b"), Some(&Value::Int64(1)));
        assert_eq!(structured.to_json().as_str(), r#"{"b":1,"a":[1.5,"x"]}"#);
        assert_eq!(Value::json(Text::from(" null ")).unwrap(), Value::Null);
        for bad in ["", "{", "{} {}", "{\"a\":}", "nul", "{'a':1}"] {
            assert!(Value::json(Text::from(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        let deep = "[".repeat(200_000) + &"]".repeat(200_000);
        assert!(Value::parse_json(&deep).is_err());
        let _ = Value::json(Text::from(deep));
    }

    #[test]
    fn numbers_that_fit_are_whole() {
        assert_eq!(
            Value::parse_json("9223372036854775807").unwrap(),
            Value::Int64(i64::MAX)
        );
        assert_eq!(
            Value::parse_json("9223372036854775808").unwrap(),
            Value::Json(Text::from("9223372036854775808"))
        );
        assert_eq!(Value::Float64(f64::NAN).to_json().as_str(), "\"NaN\"");
        assert_eq!(
            Value::Float64(f64::NEG_INFINITY).to_json().as_str(),
            "\"-Infinity\""
        );
    }

    #[test]
    fn maps_with_other_keys_are_pairs() {
        let map = Value::Map(vec![(Value::Int64(1), Value::Boolean(true))]);
        assert_eq!(map.to_json().as_str(), "[[1,true]]");
    }

    #[test]
    fn decimals_print_as_numbers_when_asked() {
        assert_eq!(decimal_text(&[0x04, 0xd2], 2), "12.34");
        assert_eq!(decimal_text(&[0xfb, 0x2e], 2), "-12.34");
        assert_eq!(decimal_text(&[1], 3), "0.001");
        assert_eq!(decimal_text(&[], 0), "0");
        assert_eq!(decimal_text(&[5], -2), "500");
        assert_eq!(decimal_text(&[0x80], 0), "-128");
    }
}
