//! JsonConverter: JSON with or without a schema beside each value, as
//! `org.apache.kafka.connect.json.JsonConverter` reads and writes it.
//!
//! ```text
//! schemas.enable=true    {"schema":{"type":"int64","optional":false},"payload":42}
//! schemas.enable=false   42
//! ```
//!
//! Without schemas a document stays the text it is in both directions: read, it is checked and kept as
//! [`Value::Json`]; such a value is written byte for byte.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use connect_api::{
    Config, ConfigDef, ConfigKey, ConfigMap, ConfigType, ConnectError, Field, Importance,
    JsonStyle, Rule, Schema, SchemaType, Struct, Text, Value, logical,
};
use serde_json::{Map, Value as Json, json};

use super::Converter;

/// Schemas kept by their JSON text; when full, all are forgotten (a topic has few).
const SCHEMA_CACHE_MAX: usize = 1000;
/// Levels that a schema may nest.
const SCHEMA_DEPTH_MAX: usize = 64;

pub(super) fn def() -> ConfigDef {
    ConfigDef::new()
        .with(
            ConfigKey::optional(
                "schemas.enable",
                ConfigType::Boolean,
                Some("true"),
                "Include schemas within each of the serialized values and keys.",
            )
            .importance(Importance::High),
        )
        .with(
            ConfigKey::optional(
                "schemas.cache.size",
                ConfigType::Int,
                Some("1000"),
                "The maximum number of schemas that can be cached in this converter instance.",
            )
            .importance(Importance::High),
        )
        .with(
            ConfigKey::optional(
                "decimal.format",
                ConfigType::String,
                Some("BASE64"),
                "Controls which format this converter will serialize decimals in: 'BASE64' or 'NUMERIC'.",
            )
            .rule(Rule::OneOfIgnoringCase(&["BASE64", "NUMERIC"]))
            .importance(Importance::Low),
        )
        .with(
            ConfigKey::optional(
                "replace.null.with.default",
                ConfigType::Boolean,
                Some("true"),
                "Whether to replace fields that have a default value and that are null to the default value.",
            )
            .importance(Importance::Low),
        )
}

pub(super) struct JsonConverter {
    schemas_enable: bool,
    style: JsonStyle,
    /// `{"schema":…,"payload":` of the schema that was written last: a task rarely has more than one.
    head: Option<(Arc<Schema>, Vec<u8>)>,
    /// Schemas read, by their JSON text.
    read: HashMap<String, Arc<Schema>>,
}

impl JsonConverter {
    pub(super) fn new(config: &ConfigMap) -> Result<Self, ConnectError> {
        let config: Config = def().parse(config)?;
        Ok(Self {
            schemas_enable: config.boolean("schemas.enable"),
            style: JsonStyle {
                null_as_default: config.boolean("replace.null.with.default"),
                decimal_numeric: config
                    .string("decimal.format")
                    .eq_ignore_ascii_case("NUMERIC"),
            },
            head: None,
            read: HashMap::new(),
        })
    }

    fn write_head(&mut self, schema: Option<&Arc<Schema>>, out: &mut Vec<u8>) {
        let Some(schema) = schema else {
            out.extend_from_slice(b"{\"schema\":null,\"payload\":");
            return;
        };
        match &self.head {
            Some((written, head)) if Arc::ptr_eq(written, schema) => out.extend_from_slice(head),
            _ => {
                let head = format!(
                    "{{\"schema\":{},\"payload\":",
                    schema_to_json(schema, self.style)
                )
                .into_bytes();
                out.extend_from_slice(&head);
                self.head = Some((Arc::clone(schema), head));
            }
        }
    }

    fn with_schema(&mut self, text: &str) -> Result<(Option<Arc<Schema>>, Value), ConnectError> {
        let envelope: Json = serde_json::from_str(text).map_err(|error| bad(&error))?;
        let parts = match &envelope {
            Json::Null => return Ok((None, Value::Null)),
            Json::Object(object) if object.len() == 2 => {
                object.get("schema").zip(object.get("payload"))
            }
            _ => None,
        };
        let Some((schema, payload)) = parts else {
            return Err(ConnectError::Data(
                "JsonConverter with schemas.enable requires \"schema\" and \"payload\" fields and may not contain \
                 additional fields. If you are trying to deserialize plain JSON data, set schemas.enable=false in \
                 your converter configuration."
                    .to_owned(),
            ));
        };
        if schema.is_null() {
            let value = Value::parse_json(&payload.to_string())
                .map_err(|error| ConnectError::Data(error.to_string()))?;
            return Ok((None, value));
        }
        let key = schema.to_string();
        let schema = match self.read.get(&key) {
            Some(schema) => Arc::clone(schema),
            None => {
                let parsed = Arc::new(schema_from_json(schema, 0)?);
                if self.read.len() >= SCHEMA_CACHE_MAX {
                    self.read.clear();
                }
                self.read.insert(key, Arc::clone(&parsed));
                parsed
            }
        };
        let value = from_json(&schema, payload, "payload")?;
        Ok((Some(schema), value))
    }
}

impl Converter for JsonConverter {
    fn to_bytes(
        &mut self,
        schema: Option<&Arc<Schema>>,
        value: &Value,
    ) -> Result<Option<Bytes>, ConnectError> {
        if schema.is_none() && value.is_null() {
            return Ok(None);
        }
        if !self.schemas_enable
            && let Value::Json(text) = value
        {
            return Ok(Some(text.as_bytes().clone()));
        }
        let mut out = Vec::with_capacity(128);
        if self.schemas_enable {
            self.write_head(schema, &mut out);
        }
        value.write_json(schema.map(|schema| &**schema), self.style, &mut out);
        if self.schemas_enable {
            out.push(b'}');
        }
        Ok(Some(out.into()))
    }

    fn to_value(
        &mut self,
        bytes: Option<Bytes>,
    ) -> Result<(Option<Arc<Schema>>, Value), ConnectError> {
        let Some(bytes) = bytes else {
            return Ok((None, Value::Null));
        };
        let text = Text::from_utf8(bytes)
            .map_err(|error| ConnectError::Data(format!("not JSON, because not UTF-8: {error}")))?;
        if self.schemas_enable {
            return self.with_schema(text.as_str());
        }
        Value::json(text)
            .map(|value| (None, value))
            .map_err(|error| {
                ConnectError::Data(format!(
                    "Converting byte[] to Kafka Connect data failed: {error}"
                ))
            })
    }
}

fn bad(error: &serde_json::Error) -> ConnectError {
    ConnectError::Data(format!(
        "Converting byte[] to Kafka Connect data failed: not a JSON value: {error}"
    ))
}

/// The schema block, fields in Kafka's order.
pub(super) fn schema_to_json(schema: &Schema, style: JsonStyle) -> Json {
    let mut object = Map::new();
    object.insert("type".to_owned(), schema.kind.json_name().into());
    match &schema.kind {
        SchemaType::Array(items) => {
            object.insert("items".to_owned(), schema_to_json(items, style));
        }
        SchemaType::Map(keys, values) => {
            object.insert("keys".to_owned(), schema_to_json(keys, style));
            object.insert("values".to_owned(), schema_to_json(values, style));
        }
        SchemaType::Struct(fields) => {
            let fields = fields.iter().map(|field| {
                let mut described = schema_to_json(&field.schema, style);
                if let Json::Object(described) = &mut described {
                    described.insert("field".to_owned(), (*field.name).into());
                }
                described
            });
            object.insert("fields".to_owned(), fields.collect());
        }
        _ => {}
    }
    object.insert("optional".to_owned(), schema.optional.into());
    if let Some(name) = &schema.name {
        object.insert("name".to_owned(), (**name).into());
    }
    if let Some(version) = schema.version {
        object.insert("version".to_owned(), version.into());
    }
    if let Some(doc) = &schema.doc {
        object.insert("doc".to_owned(), (**doc).into());
    }
    if !schema.parameters.is_empty() {
        object.insert("parameters".to_owned(), json!(schema.parameters));
    }
    if let Some(default) = &schema.default {
        let mut text = Vec::new();
        default.write_json(Some(schema), style, &mut text);
        object.insert(
            "default".to_owned(),
            serde_json::from_slice(&text).unwrap_or(Json::Null),
        );
    }
    Json::Object(object)
}

fn schema_from_json(json: &Json, depth: usize) -> Result<Schema, ConnectError> {
    let fail = |reason: String| Err(ConnectError::Data(format!("invalid schema: {reason}")));
    if depth > SCHEMA_DEPTH_MAX {
        return fail(format!("it nests deeper than {SCHEMA_DEPTH_MAX} levels"));
    }
    let part = |name: &str| match json.get(name) {
        Some(part) => schema_from_json(part, depth + 1).map(Arc::new),
        None => Err(ConnectError::Data(format!(
            "invalid schema: there is no \"{name}\""
        ))),
    };
    let kind = match json.get("type").and_then(Json::as_str) {
        Some("boolean") => SchemaType::Boolean,
        Some("int8") => SchemaType::Int8,
        Some("int16") => SchemaType::Int16,
        Some("int32") => SchemaType::Int32,
        Some("int64") => SchemaType::Int64,
        Some("float") => SchemaType::Float32,
        Some("double") => SchemaType::Float64,
        Some("bytes") => SchemaType::Bytes,
        Some("string") => SchemaType::String,
        Some("array") => SchemaType::Array(part("items")?),
        Some("map") => SchemaType::Map(part("keys")?, part("values")?),
        Some("struct") => {
            let Some(fields) = json.get("fields").and_then(Json::as_array) else {
                return fail("a struct has no list \"fields\"".to_owned());
            };
            let mut parsed = Vec::with_capacity(fields.len());
            for field in fields {
                let Some(name) = field.get("field").and_then(Json::as_str) else {
                    return fail("a field of a struct has no name \"field\"".to_owned());
                };
                let schema = Arc::new(schema_from_json(field, depth + 1)?);
                parsed.push(Field {
                    name: name.into(),
                    schema,
                });
            }
            SchemaType::Struct(parsed)
        }
        Some(other) => return fail(format!("unknown type {other}")),
        None => return fail("there is no \"type\"".to_owned()),
    };
    let mut schema = Schema::new(kind);
    schema.optional = json
        .get("optional")
        .and_then(Json::as_bool)
        .unwrap_or(false);
    schema.name = json.get("name").and_then(Json::as_str).map(Into::into);
    schema.version = json
        .get("version")
        .and_then(Json::as_i64)
        .and_then(|version| version.try_into().ok());
    schema.doc = json.get("doc").and_then(Json::as_str).map(Into::into);
    if let Some(parameters) = json.get("parameters").and_then(Json::as_object) {
        schema.parameters = parameters
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect::<BTreeMap<_, _>>();
    }
    if let Some(default) = json.get("default").filter(|default| !default.is_null()) {
        schema.default = Some(from_json(&Arc::new(schema.clone()), default, "default")?);
    }
    Ok(schema)
}

fn from_json(schema: &Arc<Schema>, json: &Json, place: &str) -> Result<Value, ConnectError> {
    let name = schema.kind.json_name();
    let wrong = || ConnectError::Data(format!("{place} is not {name}: {}", excerpt(json)));
    if json.is_null() {
        return match (&schema.default, schema.optional) {
            (Some(default), _) => Ok(default.clone()),
            (None, true) => Ok(Value::Null),
            (None, false) => Err(ConnectError::Data(format!(
                "Invalid null value for required {name} field {place}"
            ))),
        };
    }
    let whole = || json.as_i64().ok_or_else(wrong);
    Ok(match &schema.kind {
        SchemaType::Boolean => Value::Boolean(json.as_bool().ok_or_else(wrong)?),
        SchemaType::Int8 => Value::Int8(whole()?.try_into().map_err(|_| wrong())?),
        SchemaType::Int16 => Value::Int16(whole()?.try_into().map_err(|_| wrong())?),
        SchemaType::Int32 => Value::Int32(whole()?.try_into().map_err(|_| wrong())?),
        SchemaType::Int64 => Value::Int64(whole()?),
        SchemaType::Float32 => Value::Float32(float(json).ok_or_else(wrong)? as f32),
        SchemaType::Float64 => Value::Float64(float(json).ok_or_else(wrong)?),
        SchemaType::String => Value::text(json.as_str().ok_or_else(wrong)?),
        SchemaType::Bytes => match json {
            Json::String(text) => Value::Bytes(STANDARD.decode(text).map_err(|_| wrong())?.into()),
            Json::Number(number) if schema.name.as_deref() == Some(logical::DECIMAL) => {
                Value::Bytes(decimal_bytes(&number.to_string(), schema).ok_or_else(wrong)?)
            }
            _ => return Err(wrong()),
        },
        SchemaType::Array(items) => Value::Array(
            json.as_array()
                .ok_or_else(wrong)?
                .iter()
                .map(|item| from_json(items, item, place))
                .collect::<Result<_, _>>()?,
        ),
        SchemaType::Map(keys, values) => Value::Map(match json {
            Json::Object(object) => object
                .iter()
                .map(|(key, value)| Ok((Value::text(key.as_str()), from_json(values, value, key)?)))
                .collect::<Result<_, ConnectError>>()?,
            Json::Array(pairs) => pairs
                .iter()
                .map(|pair| match pair.as_array().map(Vec::as_slice) {
                    Some([key, value]) => Ok((
                        from_json(keys, key, place)?,
                        from_json(values, value, place)?,
                    )),
                    _ => Err(wrong()),
                })
                .collect::<Result<_, _>>()?,
            _ => return Err(wrong()),
        }),
        SchemaType::Struct(fields) => {
            let object = json.as_object().ok_or_else(wrong)?;
            let values = fields
                .iter()
                .map(|field| {
                    let value = object.get(&*field.name).unwrap_or(&Json::Null);
                    from_json(&field.schema, value, &field.name)
                })
                .collect::<Result<_, _>>()?;
            Value::Struct(Struct::new(Arc::clone(schema), values))
        }
    })
}

fn float(json: &Json) -> Option<f64> {
    match json {
        Json::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => json.as_f64(),
    }
}

/// A decimal number's text as unscaled bytes; `None` where it does not fit the scale or 128 bits.
fn decimal_bytes(text: &str, schema: &Schema) -> Option<Bytes> {
    let scale: u32 = schema
        .parameters
        .get("scale")
        .and_then(|scale| scale.parse().ok())
        .unwrap_or(0);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = fraction.trim_end_matches('0');
    let missing = usize::try_from(scale).ok()?.checked_sub(fraction.len())?;
    if missing > 38 {
        return None;
    }
    let unscaled: i128 = format!("{whole}{fraction}{}", "0".repeat(missing))
        .parse()
        .ok()?;
    let bytes = unscaled.to_be_bytes();
    let sign = if unscaled < 0 { 0xff } else { 0 };
    let spare = bytes
        .windows(2)
        .take_while(|pair| pair[0] == sign && (pair[1] & 0x80) == (sign & 0x80))
        .count();
    Some(Bytes::copy_from_slice(&bytes[spare..]))
}

fn excerpt(json: &Json) -> String {
    let text = json.to_string();
    match text.char_indices().nth(80) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
