//! The `wasm` transform: whole batches through a guest.
//!
//! ```text
//!  records ─▶ one packed batch a topic and partition ─▶ guest ─▶ records, their parents, routes, errors
//!    key, value: text as UTF-8, JSON as its text, structures as schemaless JSON, bytes as they are
//!    route 0: the record's own topic; route n: the n-th of `outputs`
//! ```
//!
//! Keys below `transforms.<name>.`: `module` (path of a .wasm file, `file:` allowed before it), `outputs` (topics of
//! routes 1, 2, …), and `config.*`, which the guest gets, without the prefix, when it is opened.
//!
//! Invariants:
//! 1. What comes back is a value of the kind that went in: JSON is checked to be JSON, text to be UTF-8. Where the
//!    input was null, JSON is tried first (values only), then text, then bytes. Schemas do not survive.
//! 2. A record that the guest refused, or trapped on, is a failure of that record alone.

use std::sync::Arc;

use bytes::Bytes;
use connect_api::{
    ConfigDef, ConfigKey, ConfigMap, ConfigType, ConnectError, Header, Importance, JsonStyle,
    Record, Rule, Schema, Text, Traced, Transform, TransformFailure, TransformOutput, Value, Width,
};
use connect_sandbox::{CallError, RecordColumns, Sandbox, SandboxError};

use super::below;

/// Routes that a guest can name: an index of one byte.
const ROUTES_MAX: usize = 256;

pub(super) fn def() -> ConfigDef {
    ConfigDef::new()
        .with(
            ConfigKey::required(
                "module",
                ConfigType::String,
                "Path of the .wasm file; file: may stand before it.",
            )
            .rule(Rule::NotEmpty)
            .width(Width::Long),
        )
        .with(
            ConfigKey::optional(
                "outputs",
                ConfigType::List,
                Some(""),
                "Topics to which the guest's routes 1, 2, … go; route 0 is the record's own topic.",
            )
            .importance(Importance::Medium),
        )
}

pub(super) struct Wasm {
    name: String,
    guest: connect_sandbox::Transform,
    outputs: Vec<Arc<str>>,
}

impl Wasm {
    pub(super) fn new(
        name: &str,
        config: &ConfigMap,
        sandbox: &Sandbox,
    ) -> Result<Self, ConnectError> {
        let parsed = def().parse(config)?;
        let given = parsed.string("module");
        let path = given
            .strip_prefix("file://")
            .or_else(|| given.strip_prefix("file:"))
            .unwrap_or(given);
        let wasm = std::fs::read(path).map_err(|error| {
            ConnectError::config("module", format!("cannot read {path}: {error}"))
        })?;
        let module = sandbox
            .load(path, &wasm)
            .map_err(|error| ConnectError::config("module", error.to_string()))?;
        let guest_config: Vec<(String, String)> = below(config, "config.").into_iter().collect();
        let guest = module
            .transform(&guest_config)
            .map_err(|error| match error {
                SandboxError::Call(CallError::Refused { .. }) => {
                    ConnectError::config("config", error.to_string())
                }
                _ => ConnectError::config("module", error.to_string()),
            })?;
        let outputs: Vec<Arc<str>> = parsed.list("outputs").into_iter().map(Into::into).collect();
        if outputs.len() >= ROUTES_MAX {
            return Err(ConnectError::config(
                "outputs",
                format!("at most {} topics", ROUTES_MAX - 1),
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            guest,
            outputs,
        })
    }

    /// One topic and partition's records through the guest.
    fn group(
        &mut self,
        records: &[Traced],
        output: &mut TransformOutput,
    ) -> Result<(), ConnectError> {
        let first = &records[0].record;
        let columns = pack(records);
        let partition = first.partition.unwrap_or(-1);
        let result = self
            .guest
            .process(&first.topic, partition, &columns)
            .map_err(|error| {
                let message = format!("transform {}: {error}", self.name);
                match error {
                    CallError::Retryable { .. } => ConnectError::Transient(message),
                    CallError::Refused { .. } => {
                        ConnectError::config(format!("transforms.{}", self.name), message)
                    }
                    _ => ConnectError::Fatal(message),
                }
            })?;
        for error in result.errors {
            if let Some(traced) = usize::try_from(error.index)
                .ok()
                .and_then(|index| records.get(index))
            {
                let message = format!("transform {}: {}", self.name, error.message);
                let error = match error.retryable {
                    true => ConnectError::Transient(message),
                    false => ConnectError::Data(message),
                };
                output.failures.push(TransformFailure {
                    origin: traced.origin,
                    error,
                });
            }
        }
        for index in 0..result.data.len() {
            let parent = result
                .parent
                .get(index)
                .and_then(|parent| records.get(*parent as usize));
            let Some(parent) = parent else {
                return Err(ConnectError::Fatal(format!(
                    "transform {}: output record {index} has no parent in the batch",
                    self.name
                )));
            };
            let route = result.route.get(index).copied().unwrap_or(0);
            match self.unpack(&result.data, index, &parent.record, route) {
                Ok(record) => output.records.push(Traced {
                    origin: parent.origin,
                    offset: parent.offset,
                    record,
                }),
                Err(error) => {
                    output.failures.push(TransformFailure {
                        origin: parent.origin,
                        error,
                    });
                }
            }
        }
        Ok(())
    }

    fn unpack(
        &self,
        columns: &RecordColumns,
        index: usize,
        parent: &Record,
        route: u8,
    ) -> Result<Record, ConnectError> {
        let (topic, partition) = match usize::from(route).checked_sub(1) {
            None => (Arc::clone(&parent.topic), parent.partition),
            Some(output) => match self.outputs.get(output) {
                // The partition was the old topic's.
                Some(topic) => (Arc::clone(topic), None),
                None => {
                    return Err(ConnectError::Data(format!(
                        "transform {}: the guest chose route {route}, but transforms.{}.outputs names {} topics",
                        self.name,
                        self.name,
                        self.outputs.len()
                    )));
                }
            },
        };
        let value = |bytes: Option<&[u8]>, before: &Value, what: &str| {
            unpack_value(bytes, before, what == "value").map_err(|error| {
                ConnectError::Data(format!(
                    "transform {}: the guest's {what} is {error}",
                    self.name
                ))
            })
        };
        let timestamp = columns.timestamp(index);
        let key = value(columns.key(index), &parent.key, "key")?;
        let unpacked = value(columns.value(index), &parent.value, "value")?;
        Ok(Record {
            topic,
            partition,
            timestamp: if timestamp < 0 {
                parent.timestamp
            } else {
                Some(timestamp)
            },
            key_schema: scalar_schema(parent.key_schema.as_ref(), &key),
            key,
            value_schema: scalar_schema(parent.value_schema.as_ref(), &unpacked),
            value: unpacked,
            headers: columns
                .headers(index)
                .map(|(name, value)| Header {
                    name: Text::from(name),
                    value: header_value(parent, name, value),
                })
                .collect(),
        })
    }
}

/// A header as it was where its bytes are the same, else text or bytes.
fn header_value(parent: &Record, name: &str, bytes: &[u8]) -> Value {
    let same = parent.headers.iter().find(|header| {
        header.name.as_str() == name
            && crate::converter::header_bytes(&header.value)
                .as_deref()
                .unwrap_or_default()
                == bytes
    });
    match same {
        Some(header) => header.value.clone(),
        None => crate::converter::header(name, Some(bytes)).value,
    }
}

/// Text and bytes keep their schema; a value that became JSON has none.
fn scalar_schema(before: Option<&Arc<Schema>>, value: &Value) -> Option<Arc<Schema>> {
    match value {
        Value::String(_) | Value::Bytes(_) => before
            .filter(|schema| {
                matches!(
                    schema.kind,
                    connect_api::SchemaType::String | connect_api::SchemaType::Bytes
                )
            })
            .cloned(),
        _ => None,
    }
}

impl Transform for Wasm {
    fn apply(&mut self, records: Vec<Traced>) -> Result<TransformOutput, ConnectError> {
        let mut output = TransformOutput {
            records: Vec::with_capacity(records.len()),
            failures: Vec::new(),
        };
        let mut rest = records;
        let mut groups = 0;
        while let Some(first) = rest.first() {
            let (topic, partition) = (Arc::clone(&first.record.topic), first.record.partition);
            let one = rest
                .iter()
                .all(|traced| traced.record.partition == partition && traced.record.topic == topic);
            let (group, others) = if one {
                (rest, Vec::new())
            } else {
                rest.into_iter().partition(|traced| {
                    traced.record.partition == partition && traced.record.topic == topic
                })
            };
            self.group(&group, &mut output)?;
            rest = others;
            groups += 1;
        }
        if groups > 1 {
            output.records.sort_by_key(|traced| traced.origin);
        }
        Ok(output)
    }
}

fn pack(records: &[Traced]) -> RecordColumns {
    let bytes: usize = records
        .iter()
        .map(|traced| match &traced.record.value {
            Value::String(text) | Value::Json(text) => text.as_bytes().len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => 64,
        })
        .sum();
    let mut columns = RecordColumns::with_capacity(records.len(), bytes);
    let mut headers: Vec<(Text, Bytes)> = Vec::new();
    for Traced { record, .. } in records {
        let key = pack_value(&record.key, record.key_schema.as_deref());
        let value = pack_value(&record.value, record.value_schema.as_deref());
        headers.clear();
        headers.extend(record.headers.iter().map(|header| {
            (
                header.name.clone(),
                crate::converter::header_bytes(&header.value).unwrap_or_default(),
            )
        }));
        let headers: Vec<(&str, &[u8])> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_ref()))
            .collect();
        columns.push(
            record.timestamp.unwrap_or(-1),
            key.as_deref(),
            value.as_deref(),
            &headers,
        );
    }
    columns
}

fn pack_value(value: &Value, schema: Option<&Schema>) -> Option<Bytes> {
    match value {
        Value::Null => None,
        Value::String(text) | Value::Json(text) => Some(text.as_bytes().clone()),
        Value::Bytes(bytes) => Some(bytes.clone()),
        other => {
            let mut out = Vec::new();
            other.write_json(schema, JsonStyle::default(), &mut out);
            Some(out.into())
        }
    }
}

fn unpack_value(bytes: Option<&[u8]>, before: &Value, json_first: bool) -> Result<Value, String> {
    let Some(bytes) = bytes else {
        return Ok(Value::Null);
    };
    if let Value::Bytes(_) = before {
        return Ok(Value::Bytes(Bytes::copy_from_slice(bytes)));
    }
    // Unchanged bytes share the buffer that they came in, and need no second check.
    match before {
        Value::String(text) | Value::Json(text) if text.as_bytes() == bytes => {
            return Ok(before.clone());
        }
        _ => {}
    }
    let text = match Text::from_utf8(Bytes::copy_from_slice(bytes)) {
        Ok(text) => text,
        Err(_) if before.is_null() => return Ok(Value::Bytes(Bytes::copy_from_slice(bytes))),
        Err(error) => return Err(format!("not UTF-8: {error}")),
    };
    match before {
        Value::String(_) => Ok(Value::String(text)),
        Value::Null if !json_first => Ok(Value::String(text)),
        Value::Null => Ok(Value::json(text.clone()).unwrap_or(Value::String(text))),
        _ => Value::json(text).map_err(|error| error.to_string()),
    }
}
