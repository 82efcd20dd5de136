//! A topic's partitions as decoded batches with event time: the shell around reader, decoder and watermark tracker.
//!
//! ```text
//! Log ── Reader::poll ──► pending runs ──► decode ≤ 8k rows ──► watermark expression ──► SourceBatch
//!            │                                                        │
//!            └── progress ──────────────► idleness ──► WatermarkTracker ◄
//! ```
//!
//! Invariants:
//! 1. Every record between the start and [`Source::positions`] was handed out exactly once: as a row, a failure, or
//!    counted as skipped.
//! 2. A position is never reset: an offset that the log does not hold is an error with both offsets.
//! 3. Event time of another job's output is what that job has committed, once all rows of that commit are handed out.
//! 4. [`Source::poll`] is cancel safe: a dropped future loses no record.

mod batch;
mod error;
#[cfg(test)]
mod tests;
mod upstream;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use log_api::{
    Log, PartitionProgress, PollBudget, ReadError, Reader, ReaderOptions, Records, Start,
    TopicPartition,
};

pub use self::batch::SourceBatch;
pub use self::error::SourceError;
use self::upstream::Upstream;
pub(crate) use self::upstream::{event_time_text, group_of};
use crate::decode::{Decoder, SourceSpecError};
use crate::time::{IdleOptions, PartitionTime, Watermark, WatermarkState, WatermarkTracker};
use crate::{SourceSpec, WatermarkSpec};

/// How often a source is polled that waits for what wakes nobody: the end of a foreign transaction, the commits of a job
/// elsewhere, ms.
const POLL_MS: i64 = 200;

/// How a source reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceOptions {
    /// Rows handed out by one poll at the most. More are kept, fetched but not decoded, for the next one.
    pub rows_max: usize,
    /// About how many bytes one fetch gathers.
    pub bytes_max: usize,
    /// Bytes fetched from one partition at a time, so that partitions take turns.
    pub partition_bytes_max: usize,
    /// How long a partition must be caught up to count as idle, ms.
    pub idle_grace_ms: i64,
    /// How often the log is asked how far it is while there is something to read, ms.
    pub progress_interval_ms: i64,
    /// Shows records of open and aborted transactions too.
    pub read_uncommitted: bool,
    /// Tells for each row what event time was before it: nobody needs that where no row can be late.
    pub judges_rows: bool,
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self {
            rows_max: 8192,
            bytes_max: 4 << 20,
            partition_bytes_max: 1 << 20,
            idle_grace_ms: IdleOptions::default().grace_ms,
            progress_interval_ms: 100,
            read_uncommitted: false,
            judges_rows: true,
        }
    }
}

/// What a source has read so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceCounters {
    /// Rows handed out.
    pub rows: u64,
    /// Records that could not be decoded.
    pub undecodable: u64,
    /// Records without a value in an append-only topic.
    pub skipped: u64,
}

/// Reads some partitions of one topic. One task owns it.
pub struct Source {
    topic: String,
    reader: Box<dyn Reader>,
    decoder: Decoder,
    watermark: Option<WatermarkSpec>,
    /// The job whose output this is, where its event time counts.
    upstream: Option<Upstream>,
    tracker: WatermarkTracker,
    partitions: Vec<TopicPartition>,
    indexes: HashMap<i32, usize>,
    /// For each partition the next offset that was not handed out yet.
    positions: Vec<i64>,
    pending: VecDeque<Pending>,
    /// As the log last said, in the order of the partitions.
    progress: Vec<PartitionProgress>,
    progress_at_ms: Option<i64>,
    counters: SourceCounters,
    /// Partition, offset and reason of records that are failures, whatever they hold.
    skips: Vec<(i32, i64, String)>,
    options: SourceOptions,
}

/// A fetched run and how much of it was handed out.
struct Pending {
    partition: usize,
    records: Arc<Records>,
    next: usize,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("topic", &self.topic)
            .field("positions", &self.positions())
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Opens these partitions of the topic at these places. `restored` is what [`Source::watermark_state`] gave with
    /// the last commit.
    ///
    /// # Errors
    /// [`SourceError::MissingTopic`], [`SourceError::Spec`]; [`SourceError::Read`] may be worth a retry.
    pub async fn open(
        log: Arc<dyn Log>,
        spec: &SourceSpec,
        assignment: Vec<(TopicPartition, Start)>,
        restored: &WatermarkState,
        options: SourceOptions,
    ) -> Result<Self, SourceError> {
        let decoder = Decoder::new(spec)?;
        let partitions: Vec<_> = assignment
            .iter()
            .map(|(partition, _)| partition.clone())
            .collect();
        let reader_options = ReaderOptions {
            read_uncommitted: options.read_uncommitted,
            partition_bytes_max: options.partition_bytes_max,
        };
        let opened = log.reader(reader_options, assignment).await;
        let mut reader = match opened {
            Err(ReadError::UnknownPartition(partition)) => {
                let topic = log.admin().describe_topic(&partition.topic).await;
                return Err(match topic {
                    Ok(None) => SourceError::MissingTopic(partition.topic.to_string()),
                    _ => ReadError::UnknownPartition(partition).into(),
                });
            }
            opened => opened?,
        };
        let progress = reader.progress().await?;
        let idle = IdleOptions {
            grace_ms: options.idle_grace_ms,
            advance: match spec.watermark {
                Some(WatermarkSpec::Rows { idle_advance, .. }) => idle_advance,
                Some(WatermarkSpec::Job { .. }) | None => false,
            },
        };
        let upstream = spec.watermark.as_ref();
        let upstream = upstream.and_then(|watermark| Upstream::of(watermark, log.admin()));
        Ok(Self {
            topic: spec.topic.clone(),
            reader,
            decoder,
            watermark: spec.watermark.clone(),
            upstream,
            tracker: WatermarkTracker::new(partitions.iter().cloned(), restored, idle),
            indexes: partitions
                .iter()
                .enumerate()
                .map(|(i, at)| (at.partition, i))
                .collect(),
            positions: progress.iter().map(|progress| progress.position).collect(),
            partitions,
            pending: VecDeque::new(),
            progress,
            progress_at_ms: None,
            counters: SourceCounters::default(),
            skips: Vec::new(),
            options,
        })
    }

    /// The next batches, each of one partition, together at most [`SourceOptions::rows_max`] rows; waits at most
    /// `wait` while there is nothing. `now_ms` is a monotonic clock.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`SourceError::OutOfRange`] where retention was faster than the reader: it never skips ahead by itself.
    pub async fn poll(
        &mut self,
        wait: Duration,
        now_ms: i64,
    ) -> Result<Vec<SourceBatch>, SourceError> {
        self.fetch(wait).await?;
        // Everything fetched lies in `pending` while this waits, so that a dropped future loses nothing.
        let interval_ms = self.options.progress_interval_ms;
        let due = self
            .progress_at_ms
            .is_none_or(|at_ms| now_ms - at_ms >= interval_ms);
        // Rows that were committed together show in all their partitions at once: one that counted as idle must not let
        // event time pass before it is read.
        if self.pending.is_empty() || due || self.tracker.has_idle() {
            if let Some(upstream) = &mut self.upstream {
                upstream.ask().await?;
            }
            self.progress = self.reader.progress().await?;
            self.progress_at_ms = Some(now_ms);
            self.follow_progress(now_ms);
            if let Some(upstream) = &mut self.upstream {
                upstream.ends_at(&self.progress);
            }
        }
        let batches = self.decode_pending(now_ms)?;
        if let Some(upstream) = &mut self.upstream
            && let Some(time) = upstream.reached(&self.positions)
        {
            self.tracker.advance_to(time);
        }
        Ok(batches)
    }

    /// Fetches what the next [`Source::poll`] gives, unless something waits for that already; waits at most `wait` while
    /// there is nothing. No position moves: how late it is counts when rows are handed out.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// As [`Source::poll`].
    pub(crate) async fn fetch(&mut self, wait: Duration) -> Result<(), SourceError> {
        if !self.pending.is_empty() {
            return Ok(());
        }
        let budget = PollBudget {
            bytes_max: self.options.bytes_max,
            wait_max: wait,
        };
        let runs = self.reader.poll(budget).await?;
        for records in runs {
            let Some(&partition) = self.indexes.get(&records.partition.partition) else {
                return Err(ReadError::UnknownPartition(records.partition).into());
            };
            self.pending.push_back(Pending {
                partition,
                records: Arc::new(records),
                next: 0,
            });
        }
        Ok(())
    }

    /// In how many ms to poll again though no row comes; `None`: not before one does. `is_here` says of a job whether its
    /// commits wake this one.
    pub(crate) fn rest_ms(&self, now_ms: i64, is_here: &impl Fn(&str) -> bool) -> Option<i64> {
        if !self.is_caught_up() {
            return Some(POLL_MS);
        }
        match (&self.watermark, &self.upstream) {
            (Some(WatermarkSpec::Rows { .. }), _) => self.tracker.rest_ms(now_ms),
            (Some(WatermarkSpec::Job { name, .. }), Some(upstream)) => {
                (upstream.is_waiting() || !is_here(name)).then_some(POLL_MS)
            }
            _ => None,
        }
    }

    /// For each partition the next offset to be read once all batches handed out so far are processed: what is
    /// committed.
    pub fn positions(&self) -> Vec<(TopicPartition, i64)> {
        self.partitions
            .iter()
            .cloned()
            .zip(self.positions.iter().copied())
            .collect()
    }

    /// How far source and log are, as last seen; `position` is that of [`Source::positions`].
    pub fn progress(&self) -> Vec<PartitionProgress> {
        let positions = self.positions.iter();
        let known = self.progress.iter().zip(positions);
        known
            .map(|(progress, position)| PartitionProgress {
                position: *position,
                high_watermark: progress.high_watermark.max(*position),
                last_stable_offset: progress.last_stable_offset.max(*position),
                partition: progress.partition.clone(),
            })
            .collect()
    }

    /// Whether everything that the log had when it was last asked was handed out.
    pub fn is_caught_up(&self) -> bool {
        self.pending.is_empty() && self.progress().iter().all(PartitionProgress::is_caught_up)
    }

    /// Whether fetched records wait for the next poll, which then returns at once.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The watermark over the partitions.
    pub fn watermark(&mut self, now_ms: i64) -> Watermark {
        if self.watermark.is_none() {
            return Watermark::None;
        }
        match self.tracker.watermark(now_ms) {
            None => Watermark::Waiting,
            Some(i64::MAX) => Watermark::End,
            Some(time) => Watermark::At(time),
        }
    }

    /// What is to be persisted with [`Source::positions`], in one commit.
    pub fn watermark_state(&self) -> WatermarkState {
        self.tracker.state()
    }

    /// How event time stands in each partition, and which one holds it; nothing where it is not read from rows.
    pub fn partition_times(&self) -> Vec<PartitionTime> {
        match self.watermark {
            Some(WatermarkSpec::Rows { .. }) => self.tracker.report(),
            Some(WatermarkSpec::Job { .. }) | None => Vec::new(),
        }
    }

    /// What was read so far.
    pub fn counters(&self) -> SourceCounters {
        self.counters
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Stops (`true`) or resumes (`false`) fetching all partitions; what was fetched is still handed out.
    pub fn pause(&mut self, paused: bool) {
        self.reader.pause(&self.partitions, paused);
    }

    /// Makes a record a failure, whatever it holds.
    pub(crate) fn skip(&mut self, partition: i32, offset: i64, reason: &str) {
        self.skips.push((partition, offset, reason.to_owned()));
    }

    /// At most so many rows a poll from now on.
    pub(crate) fn limit_rows(&mut self, rows_max: usize) {
        self.options.rows_max = rows_max;
    }

    fn follow_progress(&mut self, now_ms: i64) {
        for (index, progress) in self.progress.iter().enumerate() {
            let pending = self
                .pending
                .iter()
                .any(|pending| pending.partition == index);
            if !pending {
                // Control records and gaps at the end bring no run, only a position.
                self.positions[index] = self.positions[index].max(progress.position);
            }
            self.tracker.progress(index, progress, pending, now_ms);
        }
    }

    fn decode_pending(&mut self, now_ms: i64) -> Result<Vec<SourceBatch>, SourceError> {
        let mut batches = Vec::new();
        let mut rows_left = self.options.rows_max.max(1);
        while rows_left > 0
            && let Some(pending) = self.pending.front_mut()
        {
            let (partition, from) = (pending.partition, pending.next);
            let records = Arc::clone(&pending.records);
            let to = records.len().min(from + rows_left);
            let next_offset = if to == records.len() {
                records.next_offset
            } else {
                records.offsets.value(to)
            };
            if to > from {
                let decoded = self.decoder.decode_range(&records, from..to);
                let mut batch = SourceBatch::new(partition, records, decoded, next_offset);
                if !self.skips.is_empty() {
                    batch.skip(&self.skips);
                }
                if let Some(WatermarkSpec::Rows { expr, .. }) = &self.watermark {
                    let values = batch.watermark_values(&**expr, &self.topic)?;
                    let time = self.tracker.observe(partition, values, now_ms);
                    batch.set_event_time(time, self.options.judges_rows);
                }
                self.counters.rows += batch.batch.num_rows() as u64;
                self.counters.undecodable += batch.failures.len() as u64;
                self.counters.skipped += batch.skipped as u64;
                batches.push(batch);
                rows_left -= to - from;
            }
            self.positions[partition] = next_offset;
            // Only now, so that an error above leaves the run where it is.
            match self.pending.front_mut() {
                Some(pending) if to < pending.records.len() => pending.next = to,
                _ => drop(self.pending.pop_front()),
            }
        }
        Ok(batches)
    }
}

impl From<SourceSpecError> for SourceError {
    fn from(error: SourceSpecError) -> Self {
        Self::Spec(error)
    }
}
