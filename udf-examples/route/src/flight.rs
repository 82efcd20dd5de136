//! What the transform needs to know of a flight, read from JSON without building a tree.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// The names of the fields.
pub(crate) struct Fields {
    pub(crate) origin: String,
    pub(crate) dest: String,
    pub(crate) delay: String,
    pub(crate) route: String,
}

/// The part of a flight that makes its route.
pub(crate) struct Flight<'a> {
    pub(crate) cancelled: bool,
    origin: Option<Cow<'a, str>>,
    dest: Option<Cow<'a, str>>,
}

impl<'a> Flight<'a> {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// What is wrong with it, for the dead letters.
    pub(crate) fn read(json: &'a [u8], fields: &Fields) -> Result<Flight<'a>, String> {
        let mut parser = serde_json::Deserializer::from_slice(json);
        let flight = parser
            .deserialize_map(FlightVisitor(fields))
            .and_then(|flight| parser.end().map(|()| flight));
        flight.map_err(|error| format!("the value is not a flight in JSON: {error}"))
    }

    /// "EWR-IAH".
    ///
    /// # Errors
    /// Which end of the route the record lacks.
    pub(crate) fn route(&self, fields: &Fields) -> Result<String, String> {
        let part = |part: &Option<Cow<'a, str>>, name: &str| match part {
            Some(text) => Ok(text.clone()),
            None => Err(format!("the flight has no {name}")),
        };
        Ok(format!(
            "{}-{}",
            part(&self.origin, &fields.origin)?,
            part(&self.dest, &fields.dest)?
        ))
    }
}

struct FlightVisitor<'f>(&'f Fields);

impl<'de> Visitor<'de> for FlightVisitor<'_> {
    type Value = Flight<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Flight<'de>, A::Error> {
        let fields = self.0;
        let mut cancelled = None;
        let mut origin = None;
        let mut dest = None;
        while let Some(Text(name)) = map.next_key()? {
            if name == fields.origin {
                origin = map.next_value::<Option<Text<'de>>>()?.map(|text| text.0);
            } else if name == fields.dest {
                dest = map.next_value::<Option<Text<'de>>>()?.map(|text| text.0);
            } else if name == fields.delay {
                cancelled = Some(map.next_value::<Option<IgnoredAny>>()?.is_none());
            } else if name == fields.route {
                return Err(A::Error::custom(format_args!(
                    "it already has a field {name}"
                )));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        let cancelled = cancelled
            .ok_or_else(|| A::Error::custom(format_args!("it has no field {}", fields.delay)))?;
        Ok(Flight {
            cancelled,
            origin,
            dest,
        })
    }
}

/// Text that is borrowed unless it holds an escape. (`Cow` by itself always copies.)
struct Text<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}
