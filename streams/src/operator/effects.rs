//! What operators leave behind besides rows: counters, late rows, row errors, and the plan's output.
//!
//! ```text
//! record of the error topic   key, value  as they were read (a row that is no source record: its text)
//!                             headers     thalweg.error.reason, thalweg.error.source = topic-partition@offset
//! record of the late topic    key, value  as they were read
//!                             headers     thalweg.late.windows = "1", thalweg.late.watermark (ISO 8601),
//!                                         thalweg.late.source = topic-partition@offset
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::util::display::{ArrayFormatter, FormatOptions};
use log_api::Records;

use super::OperatorError;
use crate::Chunk;

/// Asks what computes to give up between two chunks. Clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks for it.
    pub(crate) fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A record for a topic beside the view's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SideRecord {
    /// Which topic; made on first use.
    pub(crate) topic: Arc<str>,
    /// ms since 1970 UTC; −1: the time of the commit.
    pub(crate) timestamp_ms: i64,
    /// The key.
    pub(crate) key: Option<Vec<u8>>,
    /// The value.
    pub(crate) value: Option<Vec<u8>>,
    /// Names and values.
    pub(crate) headers: Vec<(&'static str, Vec<u8>)>,
}

impl SideRecord {
    /// About its size in a batch.
    pub(crate) fn size_bytes(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len() + 4)
            .sum();
        self.key.as_ref().map_or(0, Vec::len)
            + self.value.as_ref().map_or(0, Vec::len)
            + headers
            + 24
    }
}

/// Rows on their way to input `port` of node `node`, at whatever token they belong to.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) node: usize,
    pub(crate) port: usize,
    pub(crate) chunk: Chunk,
}

/// See the module. Counters only grow; records and output are taken by the task.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Rows that filters removed.
    pub(crate) filtered: u64,
    /// Rows that came too late for their window.
    pub(crate) late: u64,
    /// Which row came too late last, and for which window.
    pub(crate) last_late: Option<String>,
    /// Rows that an expression failed on, or that had no event time.
    pub(crate) failed: u64,
    /// Those of them that are made again when the view gets another query on the same state.
    pub(crate) remade: u64,
    /// Whether rows are such that fail now.
    is_remade: bool,
    /// Why the last of them failed, and where it came from.
    pub(crate) last_failure: Option<String>,
    /// Where row errors go; `None`: they are only counted.
    errors_topic: Option<Arc<str>>,
    /// Whether side records are kept at all.
    records_kept: bool,
    records: Vec<SideRecord>,
    record_bytes: usize,
    output: Vec<Chunk>,
    sent: Vec<Sent>,
    /// What chunks in `output` and `sent` hold.
    chunk_bytes: usize,
    /// How much may wait for a commit; `None`: as much as comes.
    room_bytes: Option<usize>,
    cancel: Cancel,
    /// The clock, µs since 1970.
    clock_us: i64,
}

impl Effects {
    /// Side records are counted and dropped.
    pub(crate) fn counting() -> Self {
        Self::default()
    }

    /// Operators give up once `cancel` asks for it.
    pub(crate) fn ended_by(self, cancel: Cancel) -> Self {
        Self { cancel, ..self }
    }

    /// Row errors become records of `errors_topic`.
    pub(crate) fn recording(errors_topic: &str) -> Self {
        Self {
            errors_topic: Some(Arc::from(errors_topic)),
            records_kept: true,
            ..Self::default()
        }
    }

    /// What the clock is until it is told again, µs since 1970. What operators do by it they write into their state, so a
    /// restart takes nothing of it back.
    pub(crate) fn set_clock_us(&mut self, clock_us: i64) {
        self.clock_us = clock_us;
    }

    /// What the clock was at the beginning of this turn, µs since 1970.
    pub(crate) fn clock_us(&self) -> i64 {
        self.clock_us
    }

    /// Says whether rows that fail from now on are made again with another query on the same state; gives what was said
    /// before.
    pub(crate) fn set_remade(&mut self, is_remade: bool) -> bool {
        std::mem::replace(&mut self.is_remade, is_remade)
    }

    fn count_failed(&mut self) {
        self.failed += 1;
        self.remade += u64::from(self.is_remade);
    }

    /// Gives up where that was asked for: called before every chunk.
    ///
    /// # Errors
    /// [`OperatorError::Cancelled`].
    pub(crate) fn check_cancelled(&self) -> Result<(), OperatorError> {
        if self.cancel.0.load(Ordering::Relaxed) {
            return Err(OperatorError::Cancelled);
        }
        Ok(())
    }

    /// So many bytes may wait for a commit from now on, on their way to it included.
    pub(crate) fn set_room(&mut self, bytes: usize) {
        self.room_bytes = Some(bytes);
    }

    /// Gives up where what waits here and elsewhere (`bytes`) is more than there is room for.
    ///
    /// # Errors
    /// [`OperatorError::NoRoom`].
    pub(crate) fn check_room(&self, bytes: usize) -> Result<(), OperatorError> {
        let bytes = bytes + self.record_bytes + self.chunk_bytes;
        match self.room_bytes {
            Some(room) if bytes > room => Err(OperatorError::NoRoom { bytes, room }),
            _ => Ok(()),
        }
    }

    /// Adds to the plan's output.
    pub(crate) fn output(&mut self, chunk: Chunk) {
        self.chunk_bytes += chunk.own_bytes();
        self.output.push(chunk);
    }

    /// The plan's output since the last call.
    pub(crate) fn take_output(&mut self) -> Vec<Chunk> {
        let taken = std::mem::take(&mut self.output);
        self.chunk_bytes -= taken.iter().map(Chunk::own_bytes).sum::<usize>();
        taken
    }

    /// Rows leave for other tokens.
    pub(crate) fn send(&mut self, node: usize, port: usize, chunk: Chunk) {
        self.chunk_bytes += chunk.own_bytes();
        self.sent.push(Sent { node, port, chunk });
    }

    /// What was sent since the last call.
    pub(crate) fn take_sent(&mut self) -> Vec<Sent> {
        let taken = std::mem::take(&mut self.sent);
        let bytes = taken.iter().map(|sent| sent.chunk.own_bytes());
        self.chunk_bytes -= bytes.sum::<usize>();
        taken
    }

    /// The side records since the last call.
    pub(crate) fn take_records(&mut self) -> Vec<SideRecord> {
        self.record_bytes = 0;
        std::mem::take(&mut self.records)
    }

    /// About how many bytes of side records are waiting.
    pub(crate) fn record_bytes(&self) -> usize {
        self.record_bytes
    }

    /// Adds a record, unless they are only counted.
    pub(crate) fn record(&mut self, record: SideRecord) {
        if self.records_kept {
            self.record_bytes += record.size_bytes();
            self.records.push(record);
        }
    }

    /// Row `row` of `chunk` could not be computed.
    pub(crate) fn row_failed(&mut self, chunk: &Chunk, row: usize, reason: &str) {
        match &chunk.origin {
            Some(origin) => {
                let record = origin.rows.value(row) as usize;
                self.record_failed(&origin.records, record, reason);
            }
            None => {
                let text = row_text(chunk, row);
                self.count_failed();
                self.last_failure = Some(format!("{reason} in {text}"));
                let Some(topic) = self.errors_topic.clone() else {
                    return;
                };
                self.record(SideRecord {
                    topic,
                    timestamp_ms: -1,
                    key: None,
                    value: Some(text.into_bytes()),
                    headers: vec![("thalweg.error.reason", reason.as_bytes().to_vec())],
                });
            }
        }
    }

    /// Source record `record` could not be computed on.
    pub(crate) fn record_failed(&mut self, records: &Records, record: usize, reason: &str) {
        self.count_failed();
        let source = source_of(records, record);
        self.last_failure = Some(format!("{reason} at {source}"));
        self.error_record(records, record, reason);
    }

    /// Source record `record` could not be decoded; the source counts it.
    pub(crate) fn record_undecodable(&mut self, records: &Records, record: usize, reason: &str) {
        self.last_failure = Some(format!("{reason} at {}", source_of(records, record)));
        self.error_record(records, record, reason);
    }

    /// Sends source record `record` to the error topic.
    fn error_record(&mut self, records: &Records, record: usize, reason: &str) {
        let Some(topic) = self.errors_topic.clone() else {
            return;
        };
        self.record(SideRecord {
            topic,
            timestamp_ms: records.timestamps.value(record),
            key: records.key(record).map(<[u8]>::to_vec),
            value: records.value(record).map(<[u8]>::to_vec),
            headers: vec![
                ("thalweg.error.reason", reason.as_bytes().to_vec()),
                (
                    "thalweg.error.source",
                    source_of(records, record).into_bytes(),
                ),
            ],
        });
    }

    /// Something about the output could not be written; there is no source record for it.
    pub(crate) fn output_failed(&mut self, key: Option<Vec<u8>>, reason: String) {
        self.count_failed();
        let headers = vec![("thalweg.error.reason", reason.clone().into_bytes())];
        self.last_failure = Some(reason);
        if let Some(topic) = self.errors_topic.clone() {
            self.record(SideRecord {
                topic,
                timestamp_ms: -1,
                key,
                value: None,
                headers,
            });
        }
    }
}

/// `topic-partition@offset` of a record.
pub(crate) fn source_of(records: &Records, record: usize) -> String {
    format!("{}@{}", records.partition, records.offsets.value(record))
}

/// A row as text, for people.
pub(crate) fn row_text(chunk: &Chunk, row: usize) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let schema = chunk.batch.schema();
    let fields = schema
        .fields()
        .iter()
        .zip(chunk.batch.columns())
        .map(|(field, column)| {
            let value = match ArrayFormatter::try_new(column, &options) {
                Ok(formatter) => formatter
                    .value(row)
                    .try_to_string()
                    .unwrap_or_else(|_| "?".to_owned()),
                Err(_) => "?".to_owned(),
            };
            format!("{}: {value}", field.name())
        });
    format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
}
