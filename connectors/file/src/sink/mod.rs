//! The file sink: records appended to a file, exactly once.
//!
//! ```text
//!   file           ─────── durable ───────┬── put since ──▶ end
//!                                         │
//!   file.offsets   {"length": ────────────┘, "offsets": [next offset a partition]}
//! ```
//!
//! `put` appends; `flush` syncs the file and then replaces the sidecar atomically; `open` cuts the file back to the
//! sidecar's length and goes on at its offsets. So a crash at any point leaves each record in the file once.
//!
//! Lines, by key `format`:
//! - `line` (Kafka's): the value as text, `null` for a tombstone.
//! - `ndjson`: the value as one JSON document.
//! - with `include.key=true`: `{"key":…,"value":…}`, so that upserts and deletes (`"value":null`) can be told apart.
//!
//! Invariants:
//! 1. The file is never shorter than the sidecar says while a task owns it.
//! 2. A JSON line holds no raw newline.

mod sidecar;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

use async_trait::async_trait;
use connect_api::{
    ConfigDef, ConfigKey, ConfigMap, ConfigType, ConnectError, ConnectorKind, ConnectorPlugin,
    FieldIssue, Flushed, JsonStyle, OpenPartition, PutReport, Record, RejectedRow, Rule, SinkBatch,
    SinkTask, Task, TaskContext, TopicPartition, Value, Width,
};

use sidecar::{Place, Sidecar};

/// Kafka's `FileStreamSinkConnector`, with JSON lines and exactly-once.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileSink;

fn def() -> ConfigDef {
    ConfigDef::new()
        .with(
            ConfigKey::required(
                "file",
                ConfigType::String,
                "File to append to; made if it is not there. <file>.offsets beside it keeps the place up to which \
                 it is complete.",
            )
            .rule(Rule::NotEmpty)
            .width(Width::Long),
        )
        .with(
            ConfigKey::optional(
                "format",
                ConfigType::String,
                Some("line"),
                "'line' writes the value as text; 'ndjson' (or 'json') writes it as one JSON document a line.",
            )
            .rule(Rule::OneOf(&["line", "ndjson", "json"])),
        )
        .with(ConfigKey::optional(
            "include.key",
            ConfigType::Boolean,
            Some("false"),
            "Write {\"key\":…,\"value\":…} lines, in which updates and deletes of a key can be seen.",
        ))
}

#[async_trait]
impl ConnectorPlugin for FileSink {
    fn class(&self) -> &'static str {
        "org.apache.kafka.connect.file.FileStreamSinkConnector"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["FileStreamSink", "FileStreamSinkConnector"]
    }

    fn kind(&self) -> ConnectorKind {
        ConnectorKind::Sink
    }

    fn config_def(&self) -> ConfigDef {
        def()
    }

    async fn validate(&self, config: &ConfigMap) -> Vec<FieldIssue> {
        let issue = |message: String| FieldIssue {
            key: "file".to_owned(),
            message,
        };
        let Ok(parsed) = def().parse(config) else {
            return Vec::new();
        };
        let path = PathBuf::from(parsed.string("file"));
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        if path.is_dir() {
            vec![issue(format!(
                "{} is a folder; name a file",
                path.display()
            ))]
        } else if !folder.is_dir() {
            vec![issue(format!(
                "the folder {} does not exist; make it first",
                folder.display()
            ))]
        } else {
            Vec::new()
        }
    }

    fn task_configs(&self, config: &ConfigMap, _: u32) -> Result<Vec<ConfigMap>, ConnectError> {
        // Two tasks that append to one file would cut each other's lines off after a crash.
        Ok(vec![config.clone()])
    }

    fn task(&self) -> Task {
        Task::Sink(Box::new(FileSinkTask {
            settings: None,
            output: None,
        }))
    }
}

#[derive(Debug, Clone)]
struct Settings {
    connector: String,
    file: PathBuf,
    json: bool,
    include_key: bool,
}

/// The open file and where it stands.
struct Output {
    file: File,
    length: u64,
    places: HashMap<TopicPartition, Place>,
    /// The incarnation of each open partition.
    incarnations: HashMap<TopicPartition, String>,
    /// Whether anything was put since the last flush.
    dirty: bool,
}

struct FileSinkTask {
    settings: Option<Settings>,
    output: Option<Output>,
}

impl FileSinkTask {
    fn settings(&self) -> Result<&Settings, ConnectError> {
        self.settings
            .as_ref()
            .ok_or_else(|| ConnectError::Fatal("the task was not started".to_owned()))
    }
}

#[async_trait]
impl SinkTask for FileSinkTask {
    async fn start(&mut self, context: TaskContext) -> Result<(), ConnectError> {
        let config = def().parse(&context.config)?;
        self.settings = Some(Settings {
            connector: context.connector,
            file: PathBuf::from(config.string("file")),
            json: config.string("format") != "line",
            include_key: config.boolean("include.key"),
        });
        Ok(())
    }

    async fn open(
        &mut self,
        partitions: &[OpenPartition],
    ) -> Result<HashMap<TopicPartition, i64>, ConnectError> {
        let settings = self.settings()?;
        let output = Output::open(settings, partitions)?;
        let stored = partitions
            .iter()
            .filter_map(|open| {
                let place = output.places.get(&open.partition)?;
                place
                    .counts_for(&open.incarnation)
                    .then(|| (open.partition.clone(), place.next_offset))
            })
            .collect();
        self.output = Some(output);
        Ok(stored)
    }

    async fn put(&mut self, batch: &SinkBatch) -> Result<PutReport, ConnectError> {
        let settings = self.settings()?.clone();
        let output = self
            .output
            .as_mut()
            .ok_or_else(|| ConnectError::Fatal("put came before open".to_owned()))?;
        let mut lines = Vec::new();
        let mut rejected = Vec::new();
        for (index, row) in batch.records.iter().enumerate() {
            if let Err(message) = settings.write_line(&row.record, &mut lines) {
                rejected.push(RejectedRow { index, message });
            }
        }
        if !rejected.is_empty() {
            return Ok(PutReport::Rejected(rejected));
        }
        output.append(&settings, &lines)?;
        for (partition, position) in &batch.positions {
            let place = Place {
                next_offset: *position,
                incarnation: output.incarnations.get(partition).cloned(),
            };
            output.places.insert(partition.clone(), place);
        }
        output.dirty = true;
        Ok(PutReport::Taken)
    }

    async fn flush(&mut self) -> Result<Flushed, ConnectError> {
        let settings = self.settings()?.clone();
        if let Some(output) = self.output.as_mut().filter(|output| output.dirty) {
            output.make_durable(&settings)?;
        }
        Ok(Flushed::All)
    }

    async fn close(&mut self, _: &[TopicPartition]) -> Result<(), ConnectError> {
        self.flush().await?;
        self.output = None;
        Ok(())
    }
}

impl Output {
    fn open(settings: &Settings, partitions: &[OpenPartition]) -> Result<Self, ConnectError> {
        let path = &settings.file;
        let fail = |what: &str, error: std::io::Error| match error.kind() {
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::NotFound => {
                ConnectError::config("file", format!("cannot {what} {}: {error}", path.display()))
            }
            _ => ConnectError::Fatal(format!("cannot {what} {}: {error}", path.display())),
        };
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(|error| fail("open", error))?;
        let present = file.metadata().map_err(|error| fail("open", error))?.len();
        let stored = Sidecar::read(path)?;
        let length = stored
            .as_ref()
            .map_or(present, |stored| stored.length.min(present));
        if let Some(stored) = &stored {
            let anew = stored.is_void(partitions);
            stored.check(&settings.connector, path, present, anew)?;
        }
        file.set_len(length).map_err(|error| fail("cut", error))?;
        file.seek(SeekFrom::Start(length))
            .map_err(|error| fail("open", error))?;
        let first = stored.as_ref().is_none_or(|stored| stored.length > length);
        let places = stored.map(Sidecar::into_places).unwrap_or_default();
        let incarnations = partitions
            .iter()
            .map(|open| (open.partition.clone(), open.incarnation.clone()))
            .collect();
        let mut output = Self {
            file,
            length,
            places,
            incarnations,
            dirty: true,
        };
        if first {
            // From here on a crash knows where this connector's lines begin.
            output.make_durable(settings)?;
        }
        output.dirty = false;
        Ok(output)
    }

    /// Appends lines; on failure the file is cut back, so that the same batch can come again.
    fn append(&mut self, settings: &Settings, lines: &[u8]) -> Result<(), ConnectError> {
        if let Err(error) = self.file.write_all(lines) {
            let path = settings.file.display();
            let cut = self
                .file
                .set_len(self.length)
                .and_then(|()| self.file.seek(SeekFrom::Start(self.length)));
            return Err(match cut {
                Ok(_) => ConnectError::Transient(format!("cannot append to {path}: {error}")),
                Err(cut) => ConnectError::Fatal(format!(
                    "cannot append to {path}: {error}; nor cut it back: {cut}"
                )),
            });
        }
        self.length += lines.len() as u64;
        Ok(())
    }

    fn make_durable(&mut self, settings: &Settings) -> Result<(), ConnectError> {
        self.file.sync_data().map_err(|error| {
            ConnectError::Fatal(format!("cannot sync {}: {error}", settings.file.display()))
        })?;
        Sidecar::new(&settings.connector, self.length, &self.places).write(&settings.file)?;
        self.dirty = false;
        Ok(())
    }
}

impl Settings {
    fn write_line(&self, record: &Record, out: &mut Vec<u8>) -> Result<(), String> {
        if self.include_key {
            out.extend_from_slice(b"{\"key\":");
            write_json(&record.key, record.key_schema.as_deref(), out)?;
            out.extend_from_slice(b",\"value\":");
            write_json(&record.value, record.value_schema.as_deref(), out)?;
            out.push(b'}');
        } else if self.json {
            write_json(&record.value, record.value_schema.as_deref(), out)?;
        } else {
            match &record.value {
                Value::String(text) => out.extend_from_slice(text.as_bytes()),
                Value::Bytes(bytes) => out.extend_from_slice(bytes),
                value => write_json(value, record.value_schema.as_deref(), out)?,
            }
        }
        out.push(b'\n');
        Ok(())
    }
}

/// Appends a value as JSON without raw newlines (invariant 2).
fn write_json(
    value: &Value,
    schema: Option<&connect_api::Schema>,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    match value {
        Value::Json(text) if memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_some() => {
            let parsed = value
                .clone()
                .to_structured()
                .map_err(|error| error.to_string())?;
            parsed.write_json(None, JsonStyle::default(), out);
        }
        Value::Json(text) => out.extend_from_slice(text.as_str().trim().as_bytes()),
        _ => value.write_json(schema, JsonStyle::default(), out),
    }
    Ok(())
}
