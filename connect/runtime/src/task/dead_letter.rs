//! Records that failed: what is tolerated, and the letter that a tolerated one becomes.
//!
//! A dead letter has the original's key, value and headers as bytes. With
//! `errors.deadletterqueue.context.headers.enable` it tells in headers (`__connect.errors.topic`, `.partition`,
//! `.offset`, `.connector.name`, `.task.id`, `.stage`, `.class.name`, `.exception.class.name`,
//! `.exception.message`, `.exception.stacktrace`) which record of which task failed where and why, all as text.
//! A letter over the topic's limit is cut; `__connect.errors.truncated.value.bytes` then says how long the value was.

use bytes::Bytes;
use connect_api::ConnectError;
use log_api::TopicDescription;

use super::TaskId;
use super::failure::Failure;
use crate::definition::ErrorSettings;
use crate::supervisor::FailureClass;

/// Where a record failed (`Stage` of Kafka Connect).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    TaskPoll,
    TaskPut,
    Transformation,
    KeyConverter,
    ValueConverter,
    HeaderConverter,
    KafkaConsume,
    KafkaProduce,
}

impl Stage {
    fn as_str(self) -> &'static str {
        match self {
            Self::TaskPoll => "TASK_POLL",
            Self::TaskPut => "TASK_PUT",
            Self::Transformation => "TRANSFORMATION",
            Self::KeyConverter => "KEY_CONVERTER",
            Self::ValueConverter => "VALUE_CONVERTER",
            Self::HeaderConverter => "HEADER_CONVERTER",
            Self::KafkaConsume => "KAFKA_CONSUME",
            Self::KafkaProduce => "KAFKA_PRODUCE",
        }
    }
}

/// A header as it is written.
pub(super) type RawHeader = (String, Option<Bytes>);

/// The record that failed, as bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Original {
    pub(super) topic: String,
    /// `None` for sources: the record was in no log yet.
    pub(super) place: Option<(i32, i64)>,
    /// Where a source had read to, in its own words.
    pub(super) source: Option<String>,
    pub(super) key: Option<Bytes>,
    pub(super) value: Option<Bytes>,
    pub(super) headers: Vec<RawHeader>,
}

/// A record for the dead-letter topic.
#[derive(Debug, Clone)]
pub(super) struct DeadLetter {
    pub(super) key: Option<Bytes>,
    pub(super) value: Option<Bytes>,
    pub(super) headers: Vec<RawHeader>,
}

const TRUNCATED: &str = "__connect.errors.truncated.value.bytes";
/// What a batch and a record take beside key, value and headers.
const RECORD_OVERHEAD: usize = 128;
/// `max.message.bytes` of topics that do not set it.
const MESSAGE_BYTES_DEFAULT: usize = 1_048_588;

/// What a topic takes as one record.
pub(super) fn message_bytes_max(topic: &TopicDescription) -> usize {
    topic
        .configs
        .get("max.message.bytes")
        .and_then(|bytes| bytes.parse().ok())
        .unwrap_or(MESSAGE_BYTES_DEFAULT)
}

/// About what a record takes.
pub(super) fn record_bytes(
    key: Option<&Bytes>,
    value: Option<&Bytes>,
    headers: &[RawHeader],
) -> usize {
    let length = |bytes: Option<&Bytes>| bytes.map_or(0, Bytes::len);
    let headers: usize = headers
        .iter()
        .map(|(name, value)| name.len() + length(value.as_ref()) + 10)
        .sum();
    length(key) + length(value) + headers + RECORD_OVERHEAD
}

impl DeadLetter {
    /// The letter cut to what a topic takes: the value's end goes first, then what else is the record's own. What the
    /// context headers say stays.
    pub(super) fn fit(mut self, bytes_max: usize) -> Self {
        let bytes = |letter: &Self| {
            record_bytes(letter.key.as_ref(), letter.value.as_ref(), &letter.headers)
        };
        if bytes(&self) <= bytes_max {
            return self;
        }
        let length = self.value.as_ref().map_or(0, Bytes::len);
        self.headers
            .push((TRUNCATED.to_owned(), Some(Bytes::from(length.to_string()))));
        let excess = bytes(&self).saturating_sub(bytes_max);
        self.value = self
            .value
            .map(|value| value.slice(..length.saturating_sub(excess)));
        if bytes(&self) > bytes_max {
            self.headers
                .retain(|(name, _)| name.starts_with("__connect.errors."));
        }
        if bytes(&self) > bytes_max {
            self.key = None;
        }
        self
    }
}

/// Decides about failed records of one task, and counts them.
pub(super) struct ErrorDesk {
    pub(super) settings: ErrorSettings,
    id: TaskId,
    class: &'static str,
    failures: metrics::Counter,
    skipped: metrics::Counter,
    letters: metrics::Counter,
}

/// The end of a run whose records may not fail.
pub(super) fn not_tolerated(stage: Stage, error: &ConnectError, place: &str) -> Failure {
    Failure {
        class: FailureClass::Data,
        trace: format!(
            "org.apache.kafka.connect.errors.ConnectException: Tolerance exceeded in error handler\nCaused by: \
             {} (stage {}, {place}). Set errors.tolerance=all, and errors.deadletterqueue.topic.name to keep \
             such records",
            error.trace(),
            stage.as_str()
        ),
    }
}

impl ErrorDesk {
    pub(super) fn new(settings: ErrorSettings, id: &TaskId, class: &'static str) -> Self {
        let counter = |name: &'static str| metrics::counter!(name, "connector" => id.connector.clone(), "task" => id.task.to_string());
        Self {
            settings,
            id: id.clone(),
            class,
            failures: counter("kafka_connect_task_error_metrics_total_record_failures"),
            skipped: counter("kafka_connect_task_error_metrics_total_records_skipped"),
            letters: counter("kafka_connect_task_error_metrics_deadletterqueue_produce_requests"),
        }
    }

    /// A record failed: the letter to write (if letters are wanted), or the end of the run. `original` is made only
    /// where it is needed.
    pub(super) fn judge(
        &self,
        stage: Stage,
        class: Option<&str>,
        error: &ConnectError,
        original: impl FnOnce() -> Original,
    ) -> Result<Option<DeadLetter>, Failure> {
        self.failures.increment(1);
        let original = original();
        let place = match original.place {
            Some((partition, offset)) => {
                format!(
                    "topic '{}', partition {partition}, offset {offset}",
                    original.topic
                )
            }
            None => match &original.source {
                Some(source) => format!("topic '{}', read up to {source}", original.topic),
                None => format!("topic '{}'", original.topic),
            },
        };
        if self.settings.log || !self.settings.tolerate {
            let record = self.settings.log_messages.then(|| {
                original
                    .value
                    .as_ref()
                    .map(|value| String::from_utf8_lossy(value).into_owned())
            });
            tracing::warn!(
                connector = self.id.connector,
                task = self.id.task,
                stage = stage.as_str(),
                %error,
                place,
                record = ?record.flatten(),
                "a record failed"
            );
        }
        if !self.settings.tolerate {
            return Err(not_tolerated(stage, error, &place));
        }
        if self.settings.dead_letter_topic.is_none() {
            self.skipped.increment(1);
            return Ok(None);
        }
        self.letters.increment(1);
        Ok(Some(self.letter(
            stage,
            class.unwrap_or(self.class),
            error,
            original,
        )))
    }

    fn letter(
        &self,
        stage: Stage,
        class: &str,
        error: &ConnectError,
        original: Original,
    ) -> DeadLetter {
        let mut headers = original.headers;
        if self.settings.context_headers {
            let mut add = |name: &str, value: String| {
                headers.push((format!("__connect.errors.{name}"), Some(Bytes::from(value))));
            };
            add("topic", original.topic);
            if let Some((partition, offset)) = original.place {
                add("partition", partition.to_string());
                add("offset", offset.to_string());
            }
            add("connector.name", self.id.connector.clone());
            add("task.id", self.id.task.to_string());
            add("stage", stage.as_str().to_owned());
            add("class.name", class.to_owned());
            add("exception.class.name", error.java_class().to_owned());
            add("exception.message", error.to_string());
            add("exception.stacktrace", error.trace());
        }
        DeadLetter {
            key: original.key,
            value: original.value,
            headers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_cut_to_what_fits() {
        let letter = DeadLetter {
            key: Some(Bytes::from("k")),
            value: Some(Bytes::from(vec![b'x'; 5000])),
            headers: vec![
                ("own".to_owned(), Some(Bytes::from(vec![b'y'; 3000]))),
                ("__connect.errors.stage".to_owned(), Some("TASK_PUT".into())),
            ],
        };
        assert_eq!(letter.clone().fit(1 << 20).headers.len(), 2);
        for (bytes_max, value_bytes, headers) in [(4096, 862, 3), (1000, 0, 2)] {
            let cut = letter.clone().fit(bytes_max);
            assert!(record_bytes(cut.key.as_ref(), cut.value.as_ref(), &cut.headers) <= bytes_max);
            assert_eq!(
                (cut.value.unwrap().len(), cut.headers.len()),
                (value_bytes, headers)
            );
            let (name, bytes) = cut.headers.last().unwrap();
            assert_eq!((&**name, bytes.as_deref()), (TRUNCATED, Some(&b"5000"[..])));
        }
    }
}
