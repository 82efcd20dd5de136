//! The file source: a file's lines as records.
//!
//! ```text
//!  input (plain | gz) ──chunks──▶ lines ──▶ format (line | ndjson | csv) ──▶ records, rejected lines
//!                                  │
//!                                  └─ offset {"filename": f} → {"position": bytes read of the decompressed text}
//! ```
//!
//! Invariants:
//! 1. `position` is the end of the last line that was handed out or rejected: resuming there continues exactly.
//! 2. A plain file's last line counts once its newline is there (as with Kafka's connector). Two exceptions, both
//!    only at the file's end: a complete JSON object under `ndjson`, and under `csv` a line that stayed as it is for
//!    a second. Later text on that same line is then a line of its own.
//! 3. A file that shrank below `position` is an error, never a silent restart. A file that is not there yet is
//!    waited for. A finished `.gz` stays idle.

mod config;
mod format;
mod input;
mod json_field;
mod lines;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use connect_api::{
    AlteredOffset, ConfigDef, ConfigMap, ConnectError, ConnectorKind, ConnectorPlugin, JsonMap,
    Poll, PollBudget, Rejected, SourceOffset, SourceOffsets, SourceTask, Task, TaskContext,
};

use config::SourceConfig;
use format::{Format, Taken};
use lines::{LineReader, Step};

/// How long a followed file rests between looks at its end.
const TAIL_WAIT: Duration = Duration::from_millis(50);
/// How long an unfinished last CSV line has to stand still before it counts.
const UNFINISHED_LINE_WAIT: Duration = Duration::from_secs(1);

/// Kafka's `FileStreamSourceConnector`, with formats, keys and `.gz`.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileSource;

#[async_trait]
impl ConnectorPlugin for FileSource {
    fn class(&self) -> &'static str {
        "org.apache.kafka.connect.file.FileStreamSourceConnector"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["FileStreamSource", "FileStreamSourceConnector"]
    }

    fn kind(&self) -> ConnectorKind {
        ConnectorKind::Source
    }

    fn config_def(&self) -> ConfigDef {
        config::def()
    }

    async fn validate(&self, config: &ConfigMap) -> Vec<connect_api::FieldIssue> {
        config::issues(config)
    }

    fn task_configs(&self, config: &ConfigMap, _: u32) -> Result<Vec<ConfigMap>, ConnectError> {
        // One file is read in order by one task, however many would be allowed.
        Ok(vec![config.clone()])
    }

    async fn alter_offsets(
        &self,
        _: &ConfigMap,
        offsets: &[AlteredOffset],
    ) -> Result<bool, ConnectError> {
        offsets.iter().try_for_each(check_offset)?;
        Ok(true)
    }

    fn task(&self) -> Task {
        Task::Source(Box::new(FileSourceTask {
            state: State::Created,
        }))
    }
}

/// Milliseconds since 1970 UTC.
fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}

/// In the words of Kafka's connector. A reset is right whatever the partition is: it may clean up.
fn check_offset(altered: &AlteredOffset) -> Result<(), ConnectError> {
    let Some(offset) = &altered.offset else {
        return Ok(());
    };
    let issue = match offset.get("position") {
        None => "Offset objects should either be null or contain the key 'position'",
        Some(position) if position.as_i64().is_none() => {
            "The value for the 'position' key in the offset is expected to be a Long value"
        }
        Some(position) if position.as_i64() < Some(0) => {
            "The value for the 'position' key in the offset should be a non-negative value"
        }
        Some(_) if !altered.partition.contains_key("filename") => {
            "Partition objects should contain the key 'filename'"
        }
        Some(_) => return Ok(()),
    };
    Err(ConnectError::Data(issue.to_owned()))
}

/// The life of a task, in order of travel.
enum State {
    /// `start` has not been called.
    Created,
    /// The file is not there yet.
    Waiting(Reading),
    /// Lines are read.
    Open(Box<Open>),
}

/// What is read, and from where.
struct Reading {
    config: SourceConfig,
    topic: Arc<str>,
    partition: JsonMap,
    position: u64,
}

struct Open {
    reading: Reading,
    lines: LineReader,
    format: Format,
    /// A line that is no record, and where it ends: it begins the next batch.
    held: Option<(Rejected, u64)>,
    /// Since when, and at which length, the file has ended in an unfinished line.
    unfinished: Option<(Instant, u64)>,
}

struct FileSourceTask {
    state: State,
}

#[async_trait]
impl SourceTask for FileSourceTask {
    async fn start(
        &mut self,
        context: TaskContext,
        offsets: SourceOffsets,
    ) -> Result<(), ConnectError> {
        let config = SourceConfig::parse(&context.config)?;
        let mut partition = JsonMap::new();
        partition.insert("filename".to_owned(), config.file.to_string_lossy().into());
        let position = match offsets.get(&partition) {
            None => 0,
            Some(offset) => offset
                .get("position")
                .and_then(serde_json::Value::as_u64)
                .ok_or_else(|| {
                    ConnectError::Fatal(format!(
                        "the stored offset of {} has no whole number \"position\": {}",
                        config.file.display(),
                        serde_json::Value::Object(offset.clone())
                    ))
                })?,
        };
        let topic = config.topic.as_str().into();
        self.state = State::Waiting(Reading {
            config,
            topic,
            partition,
            position,
        });
        self.try_open()
    }

    async fn poll(&mut self, budget: PollBudget) -> Result<Poll, ConnectError> {
        let deadline = Instant::now() + budget.wait_max;
        loop {
            self.try_open()?;
            if let State::Open(open) = &mut self.state
                && let Some(batch) = open.read(budget)?
            {
                return Ok(batch);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Poll::Idle);
            }
            tokio::time::sleep(left.min(TAIL_WAIT)).await;
        }
    }

    fn waits_for(&self) -> Option<String> {
        let State::Waiting(reading) = &self.state else {
            return None;
        };
        let file = &reading.config.file;
        Some(if file.exists() {
            format!("file {} has no header line yet", file.display())
        } else {
            format!("file {} does not exist yet", file.display())
        })
    }
}

impl FileSourceTask {
    /// Opens the file if it has appeared.
    fn try_open(&mut self) -> Result<(), ConnectError> {
        let State::Waiting(reading) = &self.state else {
            return Ok(());
        };
        let path: PathBuf = reading.config.file.clone();
        let Some(mut lines) = LineReader::open(&path, reading.config.line_bytes_max)
            .map_err(|error| error.describe(&path))?
        else {
            return Ok(());
        };
        let Some(format) =
            Format::open(&reading.config, &mut lines).map_err(|error| error.describe(&path))?
        else {
            return Ok(());
        };
        if reading.position > lines.position() {
            lines
                .skip_to(reading.position)
                .map_err(|error| error.describe(&path))?;
        }
        let State::Waiting(reading) = std::mem::replace(&mut self.state, State::Created) else {
            return Ok(());
        };
        self.state = State::Open(Box::new(Open {
            reading,
            lines,
            format,
            held: None,
            unfinished: None,
        }));
        Ok(())
    }
}

impl Open {
    /// What is there now, within the budget; `None` when there is nothing.
    fn read(&mut self, budget: PollBudget) -> Result<Option<Poll>, ConnectError> {
        let rows_max = budget
            .records_max
            .min(self.reading.config.batch_size)
            .max(1);
        let mut records = Vec::with_capacity(rows_max.min(1 << 14));
        let mut rejected = Vec::new();
        let mut bytes = 0;
        let read_at_ms = now_ms();
        let before = self.reading.position;
        if let Some((bad, end)) = self.held.take() {
            rejected.push(bad);
            self.reading.position = end;
        }
        while records.len() + rejected.len() < rows_max && bytes < budget.bytes_max {
            let start = self.lines.position();
            let step = self
                .lines
                .next()
                .map_err(|error| error.describe(&self.reading.config.file))?;
            let taken = match step {
                Step::Line(line) => {
                    self.unfinished = None;
                    bytes += line.len();
                    self.format.take(&self.reading.topic, line)
                }
                Step::TooLong(head) => Taken::Rejected {
                    raw: head,
                    reason: format!(
                        "the line is longer than max.line.bytes ({})",
                        self.reading.config.line_bytes_max
                    ),
                },
                Step::End => match self.unfinished_line() {
                    Some(taken) => taken,
                    None => break,
                },
            };
            match taken {
                Taken::Record(mut record) => {
                    record.timestamp = Some(read_at_ms);
                    records.push(record);
                }
                Taken::Rejected { raw, reason } => {
                    let bad = Rejected {
                        topic: Arc::clone(&self.reading.topic),
                        raw,
                        message: format!(
                            "{}, line at byte {start}: {reason}",
                            self.reading.config.file.display()
                        ),
                    };
                    if !records.is_empty() {
                        self.held = Some((bad, self.lines.position()));
                        break;
                    }
                    rejected.push(bad);
                }
                Taken::Nothing => {}
                // The record goes on in the next line: the position stays before it.
                Taken::More => continue,
            }
            self.reading.position = self.lines.position();
        }
        if self.reading.position == before {
            return Ok(None);
        }
        let mut offset = JsonMap::new();
        offset.insert("position".to_owned(), self.reading.position.into());
        let offsets = vec![SourceOffset {
            partition: self.reading.partition.clone(),
            offset,
        }];
        Ok(Some(Poll::Batch {
            records,
            rejected,
            offsets,
        }))
    }

    /// The line at the file's end that has no newline yet, where invariant 2 lets it count.
    fn unfinished_line(&mut self) -> Option<Taken> {
        let rest = self.lines.rest();
        if rest.is_empty() {
            self.unfinished = None;
            return None;
        }
        let counts = match &self.format {
            Format::Line => false,
            Format::Ndjson(_) => format::is_complete_object(rest),
            Format::Csv(_) => {
                let end = self.lines.position() + rest.len() as u64;
                match self.unfinished {
                    Some((since, length)) if length == end => {
                        since.elapsed() >= UNFINISHED_LINE_WAIT
                    }
                    _ => {
                        self.unfinished = Some((Instant::now(), end));
                        false
                    }
                }
            }
        };
        if !counts {
            return None;
        }
        self.unfinished = None;
        let line = self.lines.take_rest();
        Some(self.format.take(&self.reading.topic, line))
    }
}
