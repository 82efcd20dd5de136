//! How a job is doing: what it shares with those who ask, its counters and its view's state.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use log_api::PartitionProgress;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::{EngineError, JobState};
use crate::OperatorId;
use crate::operator::OperatorFigures;
use crate::state::{BlockHeader, ScanOrder, StateRead, StateStore, VIEW, prefix_end};
use crate::tally::Tally;
use crate::time::PartitionTime;
use crate::view::{CommitInfo, ViewSnapshot};

/// How a job is doing.
#[derive(Debug, Clone)]
pub struct JobStatus {
    /// Where it is in its life.
    pub state: JobState,
    /// Why it broke last; stays until the next commit.
    pub error: Option<String>,
    /// How often it has looked for something to do since it was started; a job that rests does not.
    pub turns: u64,
    /// Rows read since it was made; restarts do not matter to this count and those below.
    pub rows_in: u64,
    /// Records written to the view's topic.
    pub rows_out: u64,
    /// Rows that came too late for their window.
    pub late: u64,
    /// Records that could not be decoded.
    pub undecodable: u64,
    /// Rows that an expression failed on.
    pub failed_rows: u64,
    /// Rows that filters removed.
    pub filtered: u64,
    /// Why the last undecodable or failed row was that, and where it is.
    pub last_failure: Option<String>,
    /// Which row came too late last, and for which window.
    pub last_late: Option<String>,
    /// Rows that were read and are not committed yet.
    pub uncommitted: u64,
    /// Rows that the operators are at work on now, and for how long.
    pub at_work: Option<(u64, Duration)>,
    /// The last commit.
    pub commit: CommitInfo,
    /// How long ago the last commit was; `None` before the first since the start.
    pub commit_age: Option<Duration>,
    /// Event time reached, µs since 1970; the least over the sources.
    pub watermark: Option<i64>,
    /// How far each input partition is read, and how far the log goes.
    pub partitions: Vec<PartitionProgress>,
    /// Event time of each input partition, and which one holds it back.
    pub times: Vec<PartitionTime>,
    /// What each operator has done since the job was started, in the order of the plan's nodes.
    pub operators: Vec<OperatorFigures>,
    /// How long ago the job was opened; `None`: it is not yet.
    pub running_for: Option<Duration>,
}

/// What one operator keeps, or the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateSize {
    /// Which; `None`: the rows of the view.
    pub operator: Option<OperatorId>,
    /// Entries; not counted beyond [`Self::ENTRIES_MAX`].
    pub entries: u64,
    /// Bytes of these, keys and values, as they are before compression.
    pub bytes: u64,
}

impl StateSize {
    /// Where counting ends.
    pub const ENTRIES_MAX: u64 = 1_000_000;
}

impl std::fmt::Display for JobStatus {
    /// The state, and the cause where something is wrong.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.error, self.state) {
            (Some(error), JobState::Failed | JobState::Recovering) => {
                write!(f, "{}: {error}", self.state)
            }
            _ => write!(f, "{}", self.state),
        }
    }
}

/// What the task tells about itself after a turn.
pub(crate) struct Progress {
    /// What it has counted since it was opened.
    pub(crate) tally: Tally,
    pub(crate) watermark: Option<i64>,
    pub(crate) partitions: Vec<PartitionProgress>,
    pub(crate) times: Vec<PartitionTime>,
    pub(crate) operators: Vec<OperatorFigures>,
}

/// How often the status follows the task between commits.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// A job that waits at least so long rests, ms.
const REST_MS: i64 = 60_000;

/// What the running job and its handles share.
pub(crate) struct Shared {
    name: String,
    inner: Mutex<Inner>,
    commits: watch::Sender<CommitInfo>,
    state: watch::Sender<JobState>,
    rests: watch::Sender<bool>,
    /// Held while a commit goes into the stores: who reads sees all of it, or nothing.
    applying: RwLock<()>,
    metrics: Metrics,
}

struct Inner {
    state: JobState,
    error: Option<String>,
    progress: Option<Progress>,
    progress_at: Option<Instant>,
    /// What the job had counted when its task was opened: a task counts from 0, and again what was not committed.
    base: Tally,
    /// Rows read up to the last commit.
    committed_rows: u64,
    /// Rows that the task is at work on, and since when.
    at_work: Option<(u64, Instant)>,
    committed_at: Option<Instant>,
    opened_at: Option<Instant>,
    turns: u64,
    /// The job broke and no task stands ready again.
    stands: bool,
    /// The stores of the tokens, and the columns.
    view: Option<(Vec<Arc<dyn StateStore>>, SchemaRef)>,
}

struct Metrics {
    rows_in: metrics::Counter,
    rows_out: metrics::Counter,
    late: metrics::Counter,
    undecodable: metrics::Counter,
    commits: metrics::Counter,
    commit_seconds: metrics::Histogram,
    restarts: metrics::Counter,
    watermark: metrics::Gauge,
}

impl Metrics {
    fn new(job: &str) -> Self {
        let job = job.to_owned();
        Self {
            rows_in: metrics::counter!("thalweg_job_rows_in_total", "job" => job.clone()),
            rows_out: metrics::counter!("thalweg_job_rows_out_total", "job" => job.clone()),
            late: metrics::counter!("thalweg_job_late_rows_total", "job" => job.clone()),
            undecodable: metrics::counter!("thalweg_job_undecodable_records_total", "job" => job.clone()),
            commits: metrics::counter!("thalweg_job_commits_total", "job" => job.clone()),
            commit_seconds: metrics::histogram!("thalweg_job_commit_seconds", "job" => job.clone()),
            restarts: metrics::counter!("thalweg_job_restarts_total", "job" => job.clone()),
            watermark: metrics::gauge!("thalweg_job_watermark_seconds", "job" => job),
        }
    }
}

impl Inner {
    fn tally(&self) -> Tally {
        match &self.progress {
            None => self.base.clone(),
            Some(progress) => self.base.plus(&progress.tally),
        }
    }
}

impl Shared {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            inner: Mutex::new(Inner {
                state: JobState::Starting,
                error: None,
                progress: None,
                progress_at: None,
                base: Tally::default(),
                committed_rows: 0,
                at_work: None,
                committed_at: None,
                opened_at: None,
                turns: 0,
                stands: false,
                view: None,
            }),
            commits: watch::Sender::new(CommitInfo::default()),
            state: watch::Sender::new(JobState::Starting),
            rests: watch::Sender::new(false),
            applying: RwLock::default(),
            metrics: Metrics::new(name),
        }
    }

    /// A task stands ready: its store can be read. `counted`: what the job had counted before the task was opened, and what
    /// the task has done so far.
    pub(crate) fn opened(
        &self,
        stores: Vec<Arc<dyn StateStore>>,
        schema: SchemaRef,
        commit: CommitInfo,
        (counted, progress): (Tally, Progress),
    ) {
        let mut inner = self.inner.lock();
        inner.committed_rows = counted.rows_in;
        inner.base = counted;
        inner.progress = Some(progress);
        inner.progress_at = None;
        inner.at_work = None;
        inner.view = Some((stores, schema));
        inner.opened_at = Some(Instant::now());
        inner.stands = false;
        drop(inner);
        self.commits.send_replace(commit);
    }

    /// The task begins to compute on `rows` rows, however long that takes.
    pub(crate) fn works_on(&self, rows: u64) {
        self.inner.lock().at_work = Some((rows, Instant::now()));
    }

    /// The task goes on; `progress` is asked for when it is time, or where nothing more is to be done.
    pub(crate) fn progressed(&self, is_idle: bool, progress: impl FnOnce() -> Progress) {
        let mut inner = self.inner.lock();
        inner.turns += 1;
        inner.at_work = None;
        let now = Instant::now();
        let is_new = |at: Instant| now.duration_since(at) < PROGRESS_INTERVAL;
        if !is_idle && inner.progress_at.is_some_and(is_new) {
            return;
        }
        inner.progress_at = Some(now);
        self.follow(&mut inner, progress());
    }

    /// The task waits for so long, ms, unless something comes.
    pub(crate) fn waits(&self, wait_ms: i64) {
        self.rests.send_if_modified(|rests| {
            let before = *rests;
            *rests = wait_ms >= REST_MS;
            *rests != before
        });
    }

    /// A commit went through.
    pub(crate) fn committed(&self, commit: CommitInfo, progress: Progress, took: Duration) {
        let mut inner = self.inner.lock();
        let now = Instant::now();
        inner.progress_at = Some(now);
        inner.committed_at = Some(now);
        inner.error = None;
        inner.committed_rows = inner.base.rows_in + progress.tally.rows_in;
        self.follow(&mut inner, progress);
        drop(inner);
        self.metrics.commits.increment(1);
        self.metrics.commit_seconds.record(took.as_secs_f64());
        self.commits.send_replace(commit);
    }

    /// A line in the log for the first row that is left out, and for each tenfold of them.
    fn tell_left_out(&self, before: &Tally, after: &Tally) {
        let job = self.name.as_str();
        let reason = |reason: &Option<String>| reason.clone().unwrap_or_default();
        if is_worth_a_line(before.undecodable, after.undecodable) {
            let (records, last) = (after.undecodable, reason(&after.last_failure));
            tracing::warn!(job, records, last, "records cannot be read as declared");
        }
        if is_worth_a_line(before.failed, after.failed) {
            let (rows, last) = (after.failed, reason(&after.last_failure));
            tracing::warn!(job, rows, last, "rows cannot be computed");
        }
        if is_worth_a_line(before.late, after.late) {
            let (rows, last) = (after.late, reason(&after.last_late));
            tracing::warn!(job, rows, last, "rows came after their window had closed");
        }
    }

    fn follow(&self, inner: &mut Inner, progress: Progress) {
        let before = inner.tally();
        inner.progress = Some(progress);
        let after = inner.tally();
        self.tell_left_out(&before, &after);
        self.metrics
            .rows_in
            .increment(after.rows_in.saturating_sub(before.rows_in));
        self.metrics
            .rows_out
            .increment(after.rows_out.saturating_sub(before.rows_out));
        self.metrics
            .late
            .increment(after.late.saturating_sub(before.late));
        self.metrics
            .undecodable
            .increment(after.undecodable.saturating_sub(before.undecodable));
        if let Some(watermark) = inner
            .progress
            .as_ref()
            .and_then(|progress| progress.watermark)
        {
            self.metrics.watermark.set(watermark as f64 / 1e6);
        }
    }

    pub(crate) fn moved(&self, state: JobState, error: Option<String>) {
        let mut inner = self.inner.lock();
        inner.state = state;
        inner.at_work = None;
        inner.stands |= matches!(state, JobState::Failed | JobState::Recovering);
        if error.is_some() {
            inner.error = error;
        }
        drop(inner);
        self.state.send_replace(state);
    }

    /// Applies a commit to the stores of all tokens, as one for those who read.
    pub(crate) fn applying<T>(&self, apply: impl FnOnce() -> T) -> T {
        let _nobody_reads = self.applying.write();
        apply()
    }

    /// The job starts over.
    pub(crate) fn restarts(&self) {
        self.metrics.restarts.increment(1);
    }

    /// Lets go of the view's state.
    pub(crate) fn release(&self) {
        self.inner.lock().view = None;
    }

    pub(crate) fn commits(&self) -> watch::Receiver<CommitInfo> {
        self.commits.subscribe()
    }

    pub(crate) fn states(&self) -> watch::Receiver<JobState> {
        self.state.subscribe()
    }

    #[cfg(test)]
    pub(crate) fn rests(&self) -> watch::Receiver<bool> {
        self.rests.subscribe()
    }

    /// The stores of all tokens as of one commit, and the schema of the view's rows.
    fn reads(&self) -> Result<(Vec<Arc<dyn StateRead>>, SchemaRef), EngineError> {
        let inner = self.inner.lock();
        let Some((stores, schema)) = inner.view.as_ref().filter(|_| !inner.stands) else {
            return Err(EngineError::NotReady {
                job: self.name.clone(),
                state: inner.state,
                error: inner.error.clone(),
            });
        };
        let (stores, schema) = (stores.clone(), schema.clone());
        drop(inner);
        let _nothing_is_applied = self.applying.read();
        let reads = stores.iter().map(|store| store.snapshot()).collect();
        Ok((reads, schema))
    }

    /// See [`crate::JobHandle::state_sizes`].
    pub(crate) fn state_sizes(&self) -> Result<Vec<StateSize>, EngineError> {
        let (reads, _) = self.reads()?;
        let operators: Vec<OperatorId> = {
            let inner = self.inner.lock();
            let progress = inner.progress.iter();
            let figures = progress.flat_map(|progress| &progress.operators);
            figures.map(|figures| figures.id).collect()
        };
        let view = OperatorId(VIEW);
        let sizes = operators.into_iter().chain([view]).map(|operator| {
            let mut size = StateSize {
                operator: (operator != view).then_some(operator),
                entries: 0,
                bytes: 0,
            };
            let from = operator.0.to_be_bytes();
            for read in &reads {
                let visit = &mut |key: &[u8], value: &[u8]| {
                    size.entries += 1;
                    size.bytes += (key.len() + value.len()) as u64;
                    match size.entries < StateSize::ENTRIES_MAX {
                        true => ControlFlow::Continue(()),
                        false => ControlFlow::Break(()),
                    }
                };
                read.scan(&from, &prefix_end(&from), ScanOrder::Ascending, visit)?;
            }
            Ok::<_, EngineError>(size)
        });
        sizes.collect()
    }

    /// See [`crate::JobHandle::snapshot`].
    pub(crate) fn snapshot(&self) -> Result<ViewSnapshot, EngineError> {
        let (reads, schema) = self.reads()?;
        let mut number = 0;
        let mut headers = Vec::with_capacity(reads.len());
        for read in &reads {
            if let Some(tag) = read.tag()? {
                let (commit, header) = BlockHeader::decode(&tag.header)?;
                number = commit;
                headers.push(header);
            }
        }
        let commit = CommitInfo {
            number,
            positions: super::group_positions(&BlockHeader::whole(headers).sources),
        };
        Ok(ViewSnapshot::new(reads, schema, commit))
    }

    pub(crate) fn status(&self) -> JobStatus {
        let inner = self.inner.lock();
        let tally = inner.tally();
        let progress = inner.progress.as_ref();
        JobStatus {
            state: inner.state,
            error: inner.error.clone(),
            turns: inner.turns,
            rows_in: tally.rows_in,
            rows_out: tally.rows_out,
            late: tally.late,
            undecodable: tally.undecodable,
            failed_rows: tally.failed,
            filtered: tally.filtered,
            last_failure: tally.last_failure,
            last_late: tally.last_late,
            uncommitted: tally.rows_in.saturating_sub(inner.committed_rows),
            at_work: (inner.at_work).map(|(rows, since)| (rows, since.elapsed())),
            commit: self.commits.borrow().clone(),
            commit_age: inner.committed_at.map(|at| at.elapsed()),
            watermark: progress.and_then(|progress| progress.watermark),
            partitions: progress
                .map(|progress| progress.partitions.clone())
                .unwrap_or_default(),
            times: progress
                .map(|progress| progress.times.clone())
                .unwrap_or_default(),
            operators: progress
                .map(|progress| progress.operators.clone())
                .unwrap_or_default(),
            running_for: inner.opened_at.map(|at| at.elapsed()),
        }
    }
}

/// Whether a count has gained a digit: from none to some, from 9 to 10, from 99 to 100.
fn is_worth_a_line(before: u64, after: u64) -> bool {
    let digits = |count: u64| count.checked_ilog10().map_or(0, |digits| digits + 1);
    digits(after) > digits(before)
}

#[cfg(test)]
mod tests {
    use super::is_worth_a_line;

    #[test]
    fn a_count_is_told_once_a_digit() {
        let told = (1..=1000).filter(|&count| is_worth_a_line(count - 1, count));
        assert_eq!(told.collect::<Vec<u64>>(), [1, 10, 100, 1000]);
        assert!(!is_worth_a_line(3, 3) && !is_worth_a_line(0, 0));
        assert!(is_worth_a_line(3, 5000));
    }
}
