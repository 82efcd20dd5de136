//! Event time of a topic that another job writes: what that job has committed.
//!
//! ```text
//! job's transaction   rows ─▶ its topic      offsets of its inputs, each with metadata "event-time 1357034400000000"
//! reader              1. read the metadata   2. ask where the topic ends   3. once it has read up to there: event time
//! ```
//!
//! The metadata is of a commit whose rows are in the topic, so all of them lie before the end that is asked for behind it.
//!
//! Invariant: event time is never ahead of the rows that were handed out.

use std::sync::Arc;

use log_api::{Admin, PartitionProgress, ReadError, TopicPartition};

use crate::WatermarkSpec;
use crate::time::Watermark;

const PREFIX: &str = "event-time ";

/// A job's event time as the metadata of its offsets; empty where it has none yet.
pub(crate) fn event_time_text(watermark: Watermark) -> String {
    match watermark.reached() {
        Some(time) => format!("{PREFIX}{time}"),
        None => String::new(),
    }
}

fn event_time_of(metadata: &str) -> Option<i64> {
    metadata.strip_prefix(PREFIX)?.parse().ok()
}

/// The job that writes a topic.
pub(super) struct Upstream {
    admin: Arc<dyn Admin>,
    group: String,
    carrier: TopicPartition,
    shift_us: i64,
    /// Event time that was read, and where the topic ended then; empty: not asked yet.
    candidate: Option<(i64, Vec<i64>)>,
    reached: Option<i64>,
}

/// The consumer group of a job.
pub(crate) fn group_of(job: &str) -> String {
    format!("thalweg.{job}")
}

impl Upstream {
    pub(super) fn of(watermark: &WatermarkSpec, admin: Arc<dyn Admin>) -> Option<Self> {
        let WatermarkSpec::Job {
            name,
            input,
            shift_us,
        } = watermark
        else {
            return None;
        };
        Some(Self {
            admin,
            group: group_of(name),
            carrier: TopicPartition::new(input.as_str(), 0),
            shift_us: *shift_us,
            candidate: None,
            reached: None,
        })
    }

    /// Reads what the job has committed, unless something that was read before still waits for its rows.
    pub(super) async fn ask(&mut self) -> Result<(), ReadError> {
        if self.candidate.is_some() {
            return Ok(());
        }
        let carrier = [self.carrier.clone()];
        let committed = self.admin.committed(&self.group, &carrier).await;
        let committed = match committed {
            Ok(committed) => committed,
            // The job is about to commit: the next time will do.
            Err(error) if error.retryable() => return Ok(()),
            Err(error) => {
                let group = &self.group;
                let reason = format!("event time of group {group}: {error}");
                return Err(ReadError::Unavailable(reason));
            }
        };
        let time = committed
            .first()
            .and_then(|committed| event_time_of(&committed.metadata));
        self.candidate = time
            .filter(|&time| self.reached.is_none_or(|reached| reached < time))
            .map(|time| (time, Vec::new()));
        Ok(())
    }

    /// Whether event time that was read waits for its rows.
    pub(super) fn is_waiting(&self) -> bool {
        self.candidate.is_some()
    }

    /// Where the topic ends, as asked for after [`Upstream::ask`].
    pub(super) fn ends_at(&mut self, progress: &[PartitionProgress]) {
        if let Some((_, ends)) = &mut self.candidate
            && ends.is_empty()
        {
            *ends = progress.iter().map(|end| end.high_watermark).collect();
        }
    }

    /// The source stands at `positions`: event time of its column, µs, if it has moved.
    pub(super) fn reached(&mut self, positions: &[i64]) -> Option<i64> {
        let (time, ends) = self.candidate.as_ref()?;
        let are_read = ends.len() == positions.len()
            && ends
                .iter()
                .zip(positions)
                .all(|(end, position)| position >= end);
        if !are_read {
            return None;
        }
        let time = *time;
        self.candidate = None;
        self.reached = Some(time);
        Some(time.saturating_sub(self.shift_us))
    }
}
