//! A running query: its description, its thread, and the handle through which others see it.
//!
//! ```text
//! JobHandle ──stop──▶ thread: open the task, turn after turn; broken ─▶ pause ─▶ open again
//!     ▲                  │
//!     └── status, commits, snapshot ── Shared
//! ```
//!
//! A job has one thread with its own small runtime: operators are synchronous and own the thread while they work, I/O
//! at the edges is awaited on it. A panic ends the job, not the process.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use futures::FutureExt;
use log_api::{Admin, AdminError, PartitionProgress};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::engine::EngineError;
use crate::state::{BlockHeader, StateStore};
use crate::tally::Tally;
use crate::task::{
    Command, Environment, Event, JobState, Lifecycle, Names, Opened, Task, TaskError, Turn,
};
use crate::time::PartitionTime;
use crate::view::{CommitInfo, ViewSnapshot};
use crate::why::Why;
use crate::{SinkSpec, StreamPlan};

/// A query that runs for good: what it is called, what it computes, where that goes.
#[derive(Debug, Clone)]
pub struct JobSpec {
    /// Names the job's state, group and topics; the view's name. `[a-zA-Z0-9._-]`, at most 200 bytes, not starting
    /// with a dot.
    pub name: String,
    /// What it computes.
    pub plan: StreamPlan,
    /// Where that goes.
    pub sink: SinkSpec,
}

/// How a job is doing.
#[derive(Debug, Clone)]
pub struct JobStatus {
    /// Where it is in its life.
    pub state: JobState,
    /// Why it broke last; stays until the next commit.
    pub error: Option<String>,
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
}

/// Stack of a job's thread: chunks go down the plan by recursion.
pub(crate) const STACK_BYTES: usize = 8 << 20;
/// How long a start waits for the job to be open before it lets the caller go on.
const START_WAIT: Duration = Duration::from_secs(5);
/// How often the status follows the task between commits.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// What thread and handles share.
pub(crate) struct Shared {
    name: String,
    inner: Mutex<Inner>,
    commits: watch::Sender<CommitInfo>,
    state: watch::Sender<JobState>,
    metrics: Metrics,
}

struct Inner {
    state: JobState,
    error: Option<String>,
    progress: Option<Progress>,
    progress_at: Option<std::time::Instant>,
    /// What the job had counted when its task was opened: a task counts from 0, and again what was not committed.
    base: Tally,
    /// Rows read up to the last commit.
    committed_rows: u64,
    /// Rows that the task is at work on, and since when.
    at_work: Option<(u64, std::time::Instant)>,
    committed_at: Option<std::time::Instant>,
    /// The job broke and no task stands ready again.
    stands: bool,
    view: Option<(Arc<dyn StateStore>, SchemaRef)>,
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
                stands: false,
                view: None,
            }),
            commits: watch::Sender::new(CommitInfo::default()),
            state: watch::Sender::new(JobState::Starting),
            metrics: Metrics::new(name),
        }
    }

    /// A task stands ready: its store can be read. `counted`: what the job has counted up to its last commit.
    pub(crate) fn opened(
        &self,
        store: Arc<dyn StateStore>,
        schema: SchemaRef,
        commit: CommitInfo,
        counted: Tally,
    ) {
        let mut inner = self.inner.lock();
        inner.committed_rows = counted.rows_in;
        inner.base = counted;
        inner.progress = None;
        inner.progress_at = None;
        inner.at_work = None;
        inner.view = Some((store, schema));
        inner.stands = false;
        drop(inner);
        self.commits.send_replace(commit);
    }

    /// The task begins to compute on `rows` rows, however long that takes.
    pub(crate) fn works_on(&self, rows: u64) {
        self.inner.lock().at_work = Some((rows, std::time::Instant::now()));
    }

    /// The task goes on; `progress` is only asked for when it is time.
    pub(crate) fn progressed(&self, progress: impl FnOnce() -> Progress) {
        let mut inner = self.inner.lock();
        inner.at_work = None;
        let now = std::time::Instant::now();
        if inner
            .progress_at
            .is_some_and(|at| now.duration_since(at) < PROGRESS_INTERVAL)
        {
            return;
        }
        inner.progress_at = Some(now);
        self.follow(&mut inner, progress());
    }

    /// A commit went through.
    pub(crate) fn committed(&self, commit: CommitInfo, progress: Progress, took: Duration) {
        let mut inner = self.inner.lock();
        let now = std::time::Instant::now();
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

    fn follow(&self, inner: &mut Inner, progress: Progress) {
        let before = inner.tally();
        inner.progress = Some(progress);
        let after = inner.tally();
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

    fn moved(&self, state: JobState, error: Option<String>) {
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

    fn release(&self) {
        self.inner.lock().view = None;
    }

    fn status(&self) -> JobStatus {
        let inner = self.inner.lock();
        let tally = inner.tally();
        let progress = inner.progress.as_ref();
        JobStatus {
            state: inner.state,
            error: inner.error.clone(),
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
        }
    }
}

/// Opens a job's local store: the one that is there, or, if `fresh`, an empty one in its place.
pub(crate) trait Stores: Send {
    /// # Errors
    /// From the disk.
    fn open(&mut self, fresh: bool) -> Result<Arc<dyn StateStore>, crate::state::StateError>;
}

/// A job that was started. Clones speak of the same job; dropping them does not end it.
#[derive(Clone)]
pub struct JobHandle {
    shared: Arc<Shared>,
    environment: Environment,
    stop: Arc<watch::Sender<bool>>,
    folder: Arc<std::path::Path>,
}

impl std::fmt::Debug for JobHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobHandle")
            .field("name", &self.shared.name)
            .finish_non_exhaustive()
    }
}

impl JobHandle {
    /// Starts the thread; returns once the first attempt to open the job has ended, well or not.
    pub(crate) async fn start(
        environment: Environment,
        stores: Box<dyn Stores>,
        folder: std::path::PathBuf,
    ) -> Result<Self, EngineError> {
        let stop = Arc::new(watch::Sender::new(false));
        let shared = Arc::clone(&environment.shared);
        let handle = Self {
            shared: Arc::clone(&shared),
            environment: environment.clone(),
            stop: Arc::clone(&stop),
            folder: folder.into(),
        };
        let stopped = stop.subscribe();
        std::thread::Builder::new()
            .name(format!("job-{}", shared.name))
            .stack_size(STACK_BYTES)
            .spawn(move || run(environment, stores, stopped))
            .map_err(|error| EngineError::Thread(error.to_string()))?;
        let mut state = shared.state.subscribe();
        // A log that does not answer is the job's trouble, to be seen in its status, and not the caller's.
        let open = state.wait_for(|state| *state != JobState::Starting);
        let _ = tokio::time::timeout(START_WAIT, open).await;
        Ok(handle)
    }

    /// The job's name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// What it computes.
    pub fn spec(&self) -> &JobSpec {
        &self.environment.spec
    }

    /// How it is doing.
    pub fn status(&self) -> JobStatus {
        self.shared.status()
    }

    /// Why it prints what it prints, or nothing.
    pub fn why(&self) -> Why {
        let Environment { spec, names, .. } = &self.environment;
        Why::new(spec, &names.errors, &self.shared.status())
    }

    /// The view's rows at the last commit. Does not wait for the job, and the job does not wait for it.
    ///
    /// # Errors
    /// [`EngineError::NotReady`] while the state is not restored, and where the job does not go on: rows that stand still
    /// are not given for the view's.
    pub fn snapshot(&self) -> Result<ViewSnapshot, EngineError> {
        let inner = self.shared.inner.lock();
        let Some((store, schema)) = inner.view.as_ref().filter(|_| !inner.stands) else {
            return Err(EngineError::NotReady {
                job: self.shared.name.clone(),
                state: inner.state,
                error: inner.error.clone(),
            });
        };
        let (store, schema) = (Arc::clone(store), schema.clone());
        drop(inner);
        let read = store.snapshot();
        let commit = match read.tag()? {
            None => CommitInfo::default(),
            Some(tag) => {
                let (number, header) = BlockHeader::decode(&tag.header)?;
                CommitInfo {
                    number,
                    positions: crate::task::group_positions(&header.sources),
                }
            }
        };
        Ok(ViewSnapshot::new(read, schema, commit))
    }

    /// Follows the commits: the newest one is always there to be seen.
    pub fn commits(&self) -> watch::Receiver<CommitInfo> {
        self.shared.commits.subscribe()
    }

    /// Follows the job's state.
    pub fn states(&self) -> watch::Receiver<JobState> {
        self.shared.state.subscribe()
    }

    /// Asks the job to end and waits until it has: a last commit, then the local state is closed. A job that has ended
    /// is fine.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let mut state = self.shared.state.subscribe();
        let _ = state.wait_for(|state| state.is_final()).await;
        self.shared.release();
    }

    /// Ends the job and removes what it owns: local state, changelog, group, the view's topic, and those of its late
    /// rows and row errors.
    ///
    /// # Errors
    /// From log and disk; what is gone already is fine, so it can be called again.
    pub async fn drop_job(&self) -> Result<(), EngineError> {
        self.stop().await;
        let sink = &self.environment.spec.sink.topic;
        erase(
            self.environment.log.admin().as_ref(),
            &self.environment.names,
            sink,
            &self.folder,
        )
        .await
    }
}

/// Removes what a job that does not run owns.
pub(crate) async fn erase(
    admin: &dyn Admin,
    names: &Names,
    sink_topic: &str,
    folder: &Path,
) -> Result<(), EngineError> {
    for topic in [
        &*names.changelog.topic,
        sink_topic,
        &names.errors,
        &names.late,
    ] {
        match admin.delete_topic(topic).await {
            Ok(()) | Err(AdminError::UnknownTopic(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    admin.delete_group(&names.group).await?;
    Ok(crate::state::RocksStore::remove(folder)?)
}

/// The clock of a job: Unix time in ms when it began, and never backwards from there.
struct Clock {
    base_ms: i64,
    started: std::time::Instant,
}

impl Clock {
    fn start() -> Self {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            base_ms: i64::try_from(since.as_millis()).unwrap_or(0),
            started: std::time::Instant::now(),
        }
    }

    fn now_ms(&self) -> i64 {
        self.base_ms
            .saturating_add(i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}

/// The thread of a job.
fn run(environment: Environment, stores: Box<dyn Stores>, stopped: watch::Receiver<bool>) {
    let shared = Arc::clone(&environment.shared);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => {
            let life = AssertUnwindSafe(live(environment, stores, stopped)).catch_unwind();
            runtime.block_on(life).map_err(|panic| {
                let text = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied());
                format!(
                    "internal error: {}",
                    text.unwrap_or("panic without a message")
                )
            })
        }
        Err(error) => Err(format!("no runtime for the job: {error}")),
    };
    if let Err(error) = ended {
        tracing::error!(job = %shared.name, %error, "job failed");
        shared.moved(JobState::Failed, Some(error));
    }
}

async fn live(
    environment: Environment,
    mut stores: Box<dyn Stores>,
    mut stopped: watch::Receiver<bool>,
) {
    let shared = Arc::clone(&environment.shared);
    let mut life = Lifecycle::new();
    let clock = Clock::start();
    let mut store: Option<Arc<dyn StateStore>> = None;
    let mut fresh = false;
    loop {
        let ended = attempt(
            &environment,
            &mut *stores,
            &mut store,
            &mut fresh,
            &mut life,
            &clock,
            &mut stopped,
        )
        .await;
        let (event, error) = match ended {
            Ok(()) => (Event::Ended, None),
            Err(error) => {
                if error.spoils_store() {
                    // The log has everything: start over with an empty store.
                    store = None;
                    shared.release();
                    fresh = true;
                }
                (error.event(), Some(error.to_string()))
            }
        };
        let command = life.transition(event);
        // Before anybody hears of it: the next start opens the same folder.
        if life.state().is_final() {
            drop(store.take());
            shared.release();
        }
        match &error {
            None => tracing::info!(job = %shared.name, "job stopped"),
            Some(error) if life.state() == JobState::Failed => {
                tracing::error!(job = %shared.name, %error, "job failed");
            }
            Some(error) => tracing::warn!(job = %shared.name, %error, "job starts over"),
        }
        shared.moved(life.state(), error);
        match command {
            Command::Leave => return,
            Command::Run => {}
            Command::Retry(pause_ms) => {
                shared.metrics.restarts.increment(1);
                let pause = tokio::time::sleep(Duration::from_millis(pause_ms));
                tokio::select! {
                    () = pause => {}
                    _ = stopped.wait_for(|stopped| *stopped) => {}
                }
            }
        }
    }
}

/// One attempt: from opening to a failure or the end.
async fn attempt(
    environment: &Environment,
    stores: &mut dyn Stores,
    store: &mut Option<Arc<dyn StateStore>>,
    fresh: &mut bool,
    life: &mut Lifecycle,
    clock: &Clock,
    stopped: &mut watch::Receiver<bool>,
) -> Result<(), TaskError> {
    if *stopped.borrow() {
        return Ok(());
    }
    let opened = loop {
        let opened_store = match store {
            Some(store) => Arc::clone(store),
            None => Arc::clone(store.insert(stores.open(*fresh).map_err(TaskError::Open)?)),
        };
        *fresh = false;
        let open = Task::open(environment.clone(), opened_store, clock.now_ms());
        let opened = tokio::select! {
            opened = open => opened?,
            _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
        };
        match opened {
            Opened::Task(task) => break task,
            Opened::Discard(reason) => {
                tracing::warn!(job = %environment.spec.name, %reason, "local state is discarded");
                *store = None;
                environment.shared.release();
                *fresh = true;
            }
        }
    };
    let mut task = opened;
    life.transition(Event::Opened);
    environment.shared.moved(life.state(), None);
    loop {
        match task.turn(clock.now_ms()).await? {
            Turn::Committed => {
                life.transition(Event::Committed);
            }
            Turn::Busy => {}
            Turn::Idle(wait_ms) => {
                tokio::select! {
                    waited = task.wait(wait_ms, clock.now_ms()) => waited?,
                    _ = stopped.wait_for(|stopped| *stopped) => {}
                }
            }
        }
        if *stopped.borrow() {
            return task.finish(clock.now_ms()).await;
        }
    }
}
