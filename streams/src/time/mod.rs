//! Event time: one watermark a source partition, combined into the source's. PURE: time is an argument.
//!
//! ```text
//!             rows                          caught up for the grace
//!   ACTIVE ◄──────────  IDLE     ACTIVE ──────────────────────────────────────────────► IDLE
//!      └───────── the input has ended ─────────► FINISHED
//!
//!   combined = minimum over the active                     (one without a value yet holds it where it is)
//!            | none active: maximum over the others; with `idle.advance` it flows with the clock from then on
//!            | all finished: +∞
//! ```
//!
//! So event time never passes what was seen less the delay: a row that is in order is not late, however long its producer
//! paused. Only `idle.advance` gives that up, for windows that close without a row behind them.
//!
//! A watermark W promises: rows with an event time before W are not expected. It is in microseconds since 1970; the
//! clock, `now_ms`, is in milliseconds and MUST be monotonic (not the wall clock): only its differences count.
//!
//! Invariants:
//! 1. A partition's value and the combined watermark never fall, across [`WatermarkTracker::state`] and restore too.
//! 2. A partition is idle only while it is caught up: position = last stable offset = high watermark. One that lags
//!    but returns nothing, or whose end an open transaction hides, holds the watermark.
//! 3. A clock that jumps backwards changes nothing; an active partition makes the clock irrelevant.
//! 4. A value that no window takes ([`EVENT_TIME_LIMIT_US`]) moves nothing.
//! 5. Event time flows with the clock only as far as the log has confirmed that nothing is there: after a pause of the
//!    reader, what was written meanwhile is read before event time goes on.

#[cfg(test)]
mod tests;

use std::fmt;

use arrow::array::{Array, TimestampMicrosecondArray};
use arrow::compute;
use log_api::{PartitionProgress, TopicPartition};

/// Times beyond this (±146,000 years) have no window: their bounds would overflow.
pub(crate) const EVENT_TIME_LIMIT_US: i64 = i64::MAX / 2;

/// Watermarks beyond this move nothing. A row's watermark is its time less the delay: no delay is so long that it brings
/// a time beyond [`EVENT_TIME_LIMIT_US`] back below this.
const WATERMARK_LIMIT_US: i64 = EVENT_TIME_LIMIT_US / 2;

/// How often event time that flows with the clock is looked at, ms.
const FLOW_MS: i64 = 200;

/// How far event time is on an edge of a plan. In this order it only rises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watermark {
    /// There is none: a table, or a source that does not say which column it is. It holds nobody.
    #[default]
    None,
    /// There is one, and no row has said yet where it begins: any may come.
    Waiting,
    /// Rows before this (µs since 1970 UTC) are not expected.
    At(i64),
    /// No row is expected at all.
    End,
}

impl Watermark {
    /// Behind several inputs: the least of those that have event time.
    pub fn least(inputs: impl IntoIterator<Item = Self>) -> Self {
        let timed = inputs.into_iter().filter(|input| *input != Self::None);
        timed.min().unwrap_or_default()
    }

    /// What it has reached, µs; `None` where there is none yet.
    pub fn reached(self) -> Option<i64> {
        match self {
            Self::None | Self::Waiting => None,
            Self::At(time) => Some(time),
            Self::End => Some(i64::MAX),
        }
    }
}

/// How idleness is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleOptions {
    /// How long a partition must be caught up before it stops holding the watermark, ms.
    pub grace_ms: i64,
    /// Whether event time flows on with the clock while all partitions are idle.
    pub advance: bool,
}

impl Default for IdleOptions {
    /// One second: a caught-up partition is known to be empty, so the grace only has to cover a producer's linger. Then
    /// event time stands.
    fn default() -> Self {
        Self {
            grace_ms: 1000,
            advance: false,
        }
    }
}

/// Whether a partition takes part in the combined watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionStatus {
    /// It has rows, or may have: it holds the watermark.
    Active,
    /// Caught up for the grace.
    Idle,
    /// It will never have rows again.
    Finished,
}

impl fmt::Display for PartitionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Finished => "finished",
        })
    }
}

/// What is persisted with a commit and given back at a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatermarkState {
    /// The combined watermark, µs: it may be ahead of all partitions where the clock moved it.
    pub combined: Option<i64>,
    /// The value of each partition that has one, µs.
    pub partitions: Vec<(TopicPartition, i64)>,
}

/// How one partition stands: for `EXPLAIN WHY` and system views.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionTime {
    /// The partition.
    pub partition: TopicPartition,
    /// Its watermark, µs.
    pub value: Option<i64>,
    /// Its status.
    pub status: PartitionStatus,
    /// The next offset to read.
    pub position: i64,
    /// As last seen.
    pub last_stable_offset: i64,
    /// As last seen; above the last stable offset while an open transaction hides records.
    pub high_watermark: i64,
    /// Whether the combined watermark would rise if this partition's did.
    pub holds: bool,
}

/// Event time of the rows of one batch, for judging each row against the watermark of the rows before it.
#[derive(Debug, Clone)]
pub struct EventTime {
    /// The combined watermark before the batch, µs.
    pub watermark_before: Option<i64>,
    /// The combined watermark after its last row, µs. A batch without a row that is late against this has no late
    /// rows at all: the fast path.
    pub watermark_after: Option<i64>,
    /// The partition's own watermark before the batch; `i64::MIN`: none.
    partition_before: i64,
    /// The minimum over the other active partitions, which the combined watermark cannot pass.
    ceiling: i64,
    /// The watermark expression's value of each row.
    values: TimestampMicrosecondArray,
}

impl EventTime {
    /// For each row of the batch the combined watermark that the rows before it have made, µs; `i64::MIN` while there
    /// is none. A row is late where its window's end + grace is at or below this.
    pub fn row_watermarks(&self) -> Vec<i64> {
        let floor = self.watermark_before.unwrap_or(i64::MIN);
        let mut partition = self.partition_before;
        let mut watermarks = Vec::with_capacity(self.values.len());
        for row in 0..self.values.len() {
            watermarks.push(floor.max(partition.min(self.ceiling)));
            if self.values.is_valid(row) {
                partition = partition.max(self.values.value(row));
            }
        }
        watermarks
    }

    /// The watermark expression's value of each row.
    pub fn values(&self) -> &TimestampMicrosecondArray {
        &self.values
    }
}

/// The watermark of a source, over its partitions.
#[derive(Debug, Clone)]
pub struct WatermarkTracker {
    partitions: Vec<Tracked>,
    options: IdleOptions,
    /// The combined watermark that was last given out.
    combined: Option<i64>,
    /// Since when, and from where, event time follows the clock.
    flow: Option<Flow>,
    /// The latest clock seen.
    now_ms: i64,
}

#[derive(Debug, Clone)]
struct Tracked {
    partition: TopicPartition,
    value: Option<i64>,
    status: PartitionStatus,
    position: i64,
    last_stable_offset: i64,
    high_watermark: i64,
    caught_up_since_ms: Option<i64>,
    /// When the log last said that there is nothing more.
    caught_up_until_ms: i64,
    idle_since_ms: i64,
}

#[derive(Debug, Clone, Copy)]
struct Flow {
    since_ms: i64,
    base: i64,
}

impl WatermarkTracker {
    /// A tracker of these partitions, which goes on from `restored`.
    pub fn new(
        partitions: impl IntoIterator<Item = TopicPartition>,
        restored: &WatermarkState,
        options: IdleOptions,
    ) -> Self {
        let value_of = |partition: &TopicPartition| {
            restored
                .partitions
                .iter()
                .filter(|(of, _)| of == partition)
                .map(|(_, value)| *value)
                .max()
        };
        let partitions = partitions.into_iter().map(|partition| Tracked {
            value: value_of(&partition),
            partition,
            status: PartitionStatus::Active,
            position: 0,
            last_stable_offset: 0,
            high_watermark: 0,
            caught_up_since_ms: None,
            caught_up_until_ms: 0,
            idle_since_ms: 0,
        });
        Self {
            partitions: partitions.collect(),
            options,
            combined: restored.combined,
            flow: None,
            now_ms: i64::MIN,
        }
    }

    /// Rows of partition `index` were read: the values of the watermark expression, NULL where a row has none.
    pub fn observe(
        &mut self,
        index: usize,
        values: TimestampMicrosecondArray,
        now_ms: i64,
    ) -> EventTime {
        let values = within_limits(values);
        self.first_rows_of_all(index, now_ms);
        let watermark_before = self.watermark(now_ms);
        let others = self
            .partitions
            .iter()
            .enumerate()
            .filter(|(other, tracked)| {
                *other != index && tracked.status == PartitionStatus::Active
            });
        let ceiling = others
            .map(|(_, tracked)| tracked.value.unwrap_or(i64::MIN))
            .min()
            .unwrap_or(i64::MAX);
        let tracked = &mut self.partitions[index];
        let partition_before = tracked.value.unwrap_or(i64::MIN);
        if !values.is_empty() && tracked.status != PartitionStatus::Finished {
            tracked.status = PartitionStatus::Active;
            tracked.caught_up_since_ms = None;
        }
        tracked.value = tracked.value.max(compute::max(&values));
        EventTime {
            watermark_before,
            watermark_after: self.watermark(now_ms),
            partition_before,
            ceiling,
            values,
        }
    }

    /// With the first rows of a source the others get the grace to bring theirs: a producer that begins writes one
    /// partition after the other, and the first must not make the rest late.
    fn first_rows_of_all(&mut self, index: usize, now_ms: i64) {
        if self.combined.is_some()
            || self
                .partitions
                .iter()
                .any(|tracked| tracked.value.is_some())
        {
            return;
        }
        let now_ms = self.clock(now_ms);
        let others = self.partitions.iter_mut().enumerate();
        for (_, tracked) in others.filter(|(other, _)| *other != index) {
            if tracked.status == PartitionStatus::Idle {
                tracked.status = PartitionStatus::Active;
            }
            tracked.caught_up_since_ms = tracked.caught_up_since_ms.map(|_| now_ms);
        }
    }

    /// How far partition `index` is. `pending`: records of it were fetched that are not observed yet.
    pub fn progress(
        &mut self,
        index: usize,
        progress: &PartitionProgress,
        pending: bool,
        now_ms: i64,
    ) {
        let now_ms = self.clock(now_ms);
        let grace_ms = self.options.grace_ms;
        let tracked = &mut self.partitions[index];
        tracked.position = progress.position;
        tracked.last_stable_offset = progress.last_stable_offset;
        tracked.high_watermark = progress.high_watermark;
        if tracked.status == PartitionStatus::Finished {
            return;
        }
        if pending || !progress.is_caught_up() {
            tracked.caught_up_since_ms = None;
            tracked.status = PartitionStatus::Active;
            return;
        }
        let since_ms = *tracked.caught_up_since_ms.get_or_insert(now_ms);
        tracked.caught_up_until_ms = now_ms;
        if tracked.status == PartitionStatus::Active && now_ms - since_ms >= grace_ms {
            tracked.status = PartitionStatus::Idle;
            tracked.idle_since_ms = since_ms + grace_ms;
        }
    }

    /// Partition `index` will never have rows again.
    pub fn finish(&mut self, index: usize) {
        self.partitions[index].status = PartitionStatus::Finished;
    }

    /// Event time was told from elsewhere: it has reached `time`, µs.
    pub fn advance_to(&mut self, time: i64) {
        self.combined = self.combined.max(Some(time));
    }

    /// The combined watermark, µs; `None` until every active partition has one. `i64::MAX` once all have finished.
    pub fn watermark(&mut self, now_ms: i64) -> Option<i64> {
        let now_ms = self.clock(now_ms);
        let candidate = if self.any(PartitionStatus::Active) {
            self.flow = None;
            self.minimum_of_active()
        } else if self.any(PartitionStatus::Idle) {
            self.flowing(now_ms)
        } else {
            (!self.partitions.is_empty()).then_some(i64::MAX)
        };
        self.combined = self.combined.max(candidate);
        self.combined
    }

    /// What has to be persisted so that a restart takes nothing back.
    pub fn state(&self) -> WatermarkState {
        let partitions = self.partitions.iter();
        let valued = partitions.filter_map(|tracked| {
            tracked
                .value
                .map(|value| (tracked.partition.clone(), value))
        });
        WatermarkState {
            combined: self.combined,
            partitions: valued.collect(),
        }
    }

    /// How each partition stands, in the order given at the start.
    pub fn report(&self) -> Vec<PartitionTime> {
        let holder = self.holder();
        let partitions = self.partitions.iter().enumerate();
        partitions
            .map(|(index, tracked)| PartitionTime {
                partition: tracked.partition.clone(),
                value: tracked.value,
                status: tracked.status,
                position: tracked.position,
                last_stable_offset: tracked.last_stable_offset,
                high_watermark: tracked.high_watermark,
                holds: holder == Some(index),
            })
            .collect()
    }

    /// Whether the watermark leaves a partition out that may have rows again.
    pub fn has_idle(&self) -> bool {
        self.any(PartitionStatus::Idle)
    }

    /// Whether no partition is active: only the clock moves event time now.
    pub fn is_idle(&self) -> bool {
        !self.any(PartitionStatus::Active)
    }

    /// In how many ms the watermark may move though no row comes: a partition stops holding it, or it flows with the clock.
    /// `None`: not before a row does.
    pub fn rest_ms(&self, now_ms: i64) -> Option<i64> {
        let now_ms = self.now_ms.max(now_ms);
        let grace_ms = self.options.grace_ms;
        let active = self.partitions.iter();
        let active = active.filter(|tracked| tracked.status == PartitionStatus::Active);
        let graces = active.filter_map(|tracked| tracked.caught_up_since_ms);
        let next = graces.map(|since_ms| (since_ms + grace_ms - now_ms).max(1));
        let flows = self.options.advance
            && self.is_idle()
            && self.any(PartitionStatus::Idle)
            && (self.combined.is_some() || self.partitions.iter().any(|one| one.value.is_some()));
        next.min().or(flows.then_some(FLOW_MS))
    }

    /// The active partition with the smallest value; one without a value comes first.
    fn holder(&self) -> Option<usize> {
        let active = self.partitions.iter().enumerate();
        active
            .filter(|(_, tracked)| tracked.status == PartitionStatus::Active)
            .min_by_key(|(_, tracked)| tracked.value)
            .map(|(index, _)| index)
    }

    fn any(&self, status: PartitionStatus) -> bool {
        self.partitions
            .iter()
            .any(|tracked| tracked.status == status)
    }

    fn minimum_of_active(&self) -> Option<i64> {
        self.holder()
            .and_then(|holder| self.partitions[holder].value)
    }

    /// The watermark while no partition is active: where it stood, and the time since then.
    fn flowing(&mut self, now_ms: i64) -> Option<i64> {
        let values = self.partitions.iter().filter_map(|tracked| tracked.value);
        let base = self.combined.max(values.max())?;
        if !self.options.advance {
            return Some(base);
        }
        let is_idle = |tracked: &&Tracked| tracked.status == PartitionStatus::Idle;
        let idle = || self.partitions.iter().filter(is_idle);
        let since_ms = idle()
            .map(|tracked| tracked.idle_since_ms)
            .max()
            .unwrap_or(now_ms);
        let until_ms = idle()
            .map(|tracked| tracked.caught_up_until_ms)
            .min()
            .unwrap_or(now_ms);
        let flow = *self.flow.get_or_insert(Flow { since_ms, base });
        let elapsed_ms = until_ms.min(now_ms).saturating_sub(flow.since_ms).max(0);
        let elapsed_us = elapsed_ms.saturating_mul(1000);
        Some(flow.base.saturating_add(elapsed_us))
    }

    /// The clock, which never runs backwards here.
    fn clock(&mut self, now_ms: i64) -> i64 {
        self.now_ms = self.now_ms.max(now_ms);
        self.now_ms
    }
}

/// The values without those that move nothing.
fn within_limits(values: TimestampMicrosecondArray) -> TimestampMicrosecondArray {
    let fits = |time: i64| (-WATERMARK_LIMIT_US..=WATERMARK_LIMIT_US).contains(&time);
    if values.values().iter().all(|&time| fits(time)) {
        return values;
    }
    let kept = values.iter().map(|time| time.filter(|&time| fits(time)));
    kept.collect()
}
