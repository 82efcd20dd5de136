//! A record transform over flights in JSON: cancelled flights go to topic 1 as they are, the others to topic 0 with a field
//! `route` ("EWR-IAH") at their end.
//!
//! Configuration, all optional:
//!
//! | name | default | meaning |
//! |---|---|---|
//! | `origin.field` | `origin` | where the flight starts, text |
//! | `dest.field` | `dest` | where it goes, text |
//! | `delay.field` | `dep_delay` | null means cancelled |
//! | `route.field` | `route` | the field to add |
//!
//! The record's bytes are kept and the new field is spliced in before the closing brace: the JSON is read once and not rebuilt.

mod flight;

use thalweg_udf::{Config, Emit, Record, RecordError, Transform, export_transform, log};

use flight::{Fields, Flight};

/// Output 1: flights that did not take off.
const CANCELLED: u8 = 1;

const NAMES: [&str; 4] = ["origin.field", "dest.field", "delay.field", "route.field"];

struct Route {
    fields: Fields,
}

impl Transform for Route {
    fn open(config: &Config) -> Result<Self, String> {
        for name in config.names().filter(|name| !NAMES.contains(name)) {
            log::warn(&format!(
                "{name} is not an option of route; its options are {}",
                NAMES.join(", ")
            ));
        }
        let field = |name: &str, default: &str| match config.get(name) {
            Some("") => Err(format!(
                "{name} is empty: give it the name of a field, or leave it out"
            )),
            other => Ok(other.unwrap_or(default).to_owned()),
        };
        let fields = Fields {
            origin: field("origin.field", "origin")?,
            dest: field("dest.field", "dest")?,
            delay: field("delay.field", "dep_delay")?,
            route: field("route.field", "route")?,
        };
        Ok(Route { fields })
    }

    fn process(&mut self, record: &Record<'_>, out: &mut Emit<'_>) -> Result<(), RecordError> {
        let Some(json) = record.value() else {
            out.forward();
            return Ok(());
        };
        let flight = Flight::read(json, &self.fields)?;
        if flight.cancelled {
            out.forward_to(CANCELLED);
            return Ok(());
        }
        let route = flight.route(&self.fields)?;
        out.emit_with(0, record.key(), |value| {
            splice(value, json, &self.fields.route, &route)
        });
        Ok(())
    }
}

/// Appends the object `json`, which has at least one field, with the field `name` at its end.
fn splice(value: &mut Vec<u8>, json: &[u8], name: &str, text: &str) {
    let end = json
        .iter()
        .rposition(|&byte| byte == b'}')
        .expect("a parsed object ends with a brace");
    value.extend_from_slice(json[..end].trim_ascii_end());
    value.push(b',');
    serde_json::to_writer(&mut *value, name).expect("a vector takes every byte");
    value.push(b':');
    serde_json::to_writer(&mut *value, text).expect("a vector takes every byte");
    value.push(b'}');
}

export_transform!(Route);

#[cfg(test)]
mod tests;
