//! The engine: starts jobs, runs push queries, ends them all.

mod folder;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use folder::Folder;
pub use folder::inspect_state;
use log_api::Log;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::StreamPlan;
use crate::job::JobHandle;
use crate::memory::{MemoryAccount, MemoryBudget, MemoryUser};
use crate::query::{ChunkStream, QueryLimits, Running};
use crate::source::SourceOptions;
use crate::state::{RocksOptions, Snapshots};
use crate::task::{
    ConfigError, EngineError, Environment, JobSpec, JobState, NAME_RULE, Names, QueryStart, Shared,
    SnapshotOptions, job_folder,
};
use crate::worker::{Pool, Wakes, watch_topics};
use crate::{NodeKind, WatermarkSpec};

/// The longest name of a job: it becomes a folder and part of topics' names.
const NAME_BYTES_MAX: usize = 200;
/// Keys lie in so many parts that a token is at least one of.
const TOKENS_MAX: usize = 256;
/// More threads than this are a slip.
const THREADS_MAX: usize = 1024;

/// How jobs run. Every field has a default but where state lies matters in production.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineConfig {
    /// Folder of local state; one folder a job below it. It holds nothing that the log does not have: it may be
    /// deleted while the engine is down. Since 0.1.
    pub state_dir: PathBuf,
    /// Stable name of this process among those that share jobs; part of transactional ids, so two processes with one
    /// name fence each other. Since 0.1.
    pub worker: String,
    /// While rows flow, the time between commits: what a reader of a view waits for, and how much a crash repeats. As
    /// text (`200ms`, `1s`) or milliseconds; 200 ms by default, as short as costs little. Since 0.1.
    #[serde(with = "duration_text")]
    pub commit_interval: Duration,
    /// Threads that all jobs share; 0, the default: as many as the machine gives this process, at least two. Since 0.1.
    pub threads: usize,
    /// Tokens of a job that is made from now on, 1 by default: parts of the key space, each with operators and state of its
    /// own, that threads work on at the same time. A job keeps the number that it was made with. Since 0.1.
    pub tokens: usize,
    /// Folder for snapshots of state, on another disk say; without one, the default, none are taken, and changelogs grow.
    /// Once there are snapshots they are part of what a backup must hold: the changelog behind them goes. Since 0.1.
    pub snapshot_dir: Option<PathBuf>,
    /// Bytes of changes between two snapshots of a job. Since 0.1.
    pub snapshot_bytes: u64,
    /// Bytes of uncommitted changes of a job that bring the commit forward: bounds memory and the size of a
    /// transaction. Since 0.1.
    pub commit_bytes: usize,
    /// Bytes of state that one operator keeps in memory, in front of the disk; beyond it what was not used lately is
    /// dropped from memory. Since 0.1.
    pub operator_cache_bytes: usize,
    /// Bytes of the block cache that all jobs share; their write buffers are in it. Since 0.1.
    pub cache_bytes: usize,
    /// Bytes of a write buffer; a job has at most two. Since 0.1.
    pub write_buffer_bytes: usize,
    /// Bytes of state that a push query may keep in memory; beyond it the query ends with an error. Since 0.1.
    pub query_state_bytes: usize,
    /// Rows taken from a source at once. Since 0.1.
    pub epoch_rows: usize,
    /// Bytes fetched from a source at once. Since 0.1.
    pub fetch_bytes: usize,
    /// How long a partition must be caught up before it stops holding event time, ms. Since 0.1.
    pub idle_grace_ms: i64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            state_dir: PathBuf::from("state"),
            worker: "0".to_owned(),
            commit_interval: Duration::from_millis(200),
            threads: 0,
            tokens: 1,
            snapshot_dir: None,
            snapshot_bytes: 64 << 20,
            commit_bytes: 16 << 20,
            operator_cache_bytes: 64 << 20,
            cache_bytes: 256 << 20,
            write_buffer_bytes: 8 << 20,
            query_state_bytes: 256 << 20,
            epoch_rows: 8192,
            fetch_bytes: 4 << 20,
            idle_grace_ms: 1000,
        }
    }
}

impl EngineConfig {
    /// Checks the values and how they relate.
    ///
    /// # Errors
    /// The first field that cannot be used.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let fail = |field, reason: &str| {
            Err(ConfigError {
                field,
                reason: reason.to_owned(),
            })
        };
        let interval = self.commit_interval;
        if !(Duration::from_millis(1)..=Duration::from_secs(60)).contains(&interval) {
            return fail(
                "commit_interval",
                "must be between 1 ms and 60 s: transactions time out after ten times as long",
            );
        }
        if !is_name(&self.worker) {
            return fail("worker", NAME_RULE);
        }
        if self.threads > THREADS_MAX {
            return fail("threads", "must be at most 1024");
        }
        if !(1..=TOKENS_MAX).contains(&self.tokens) {
            return fail("tokens", "must be between 1 and 256");
        }
        if self.commit_bytes < 64 << 10 {
            return fail("commit_bytes", "must be at least 65536");
        }
        if self.write_buffer_bytes < 64 << 10 {
            return fail("write_buffer_bytes", "must be at least 65536");
        }
        if self.epoch_rows == 0 || self.fetch_bytes == 0 {
            return fail("epoch_rows", "and fetch_bytes must be at least 1");
        }
        if self.idle_grace_ms < 0 {
            return fail("idle_grace_ms", "must not be negative");
        }
        Ok(())
    }
}

/// Durations in config files: `200ms`, `1s`, or a number of milliseconds.
mod duration_text {
    use std::time::Duration;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{}ms", duration.as_millis()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Milliseconds(u64),
            Text(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Milliseconds(number) => return Ok(Duration::from_millis(number)),
            Written::Text(text) => text,
        };
        let parse =
            |number: &str, unit_ms: u64| number.trim().parse::<u64>().ok()?.checked_mul(unit_ms);
        let milliseconds = match text.strip_suffix("ms") {
            Some(number) => parse(number, 1),
            None => match text.strip_suffix('s') {
                Some(number) => parse(number, 1000),
                None => parse(&text, 1),
            },
        };
        milliseconds
            .map(Duration::from_millis)
            .ok_or_else(|| D::Error::custom(format!("{text:?} is no duration; write 200ms or 1s")))
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Runs jobs and push queries over one log. Clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    config: EngineConfig,
    log: Arc<dyn Log>,
    rocks: RocksOptions,
    budget: MemoryBudget,
    /// What the stores hold, as it was last looked at.
    stores: Mutex<MemoryAccount>,
    jobs: Mutex<Vec<JobHandle>>,
    /// Made for the first job.
    threads: Mutex<Option<Threads>>,
    wakes: Arc<Wakes>,
    queries: Arc<Running>,
}

/// What all jobs run on, and who looks at the topics for them.
struct Threads {
    pool: Arc<Pool>,
    watching: Option<JoinHandle<()>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine without jobs, and without a limit for all of them together. Nothing is read or written before the first one.
    ///
    /// # Errors
    /// [`EngineError::Config`].
    pub fn new(config: EngineConfig, log: Arc<dyn Log>) -> Result<Self, EngineError> {
        Self::with_memory(config, log, MemoryBudget::unlimited())
    }

    /// An engine whose stores, jobs and push queries keep to their parts of `budget`, whatever the config gives each of them.
    ///
    /// # Errors
    /// [`EngineError::Config`].
    pub fn with_memory(
        config: EngineConfig,
        log: Arc<dyn Log>,
        budget: MemoryBudget,
    ) -> Result<Self, EngineError> {
        config.validate()?;
        let cache_bytes = config.cache_bytes.min(budget.share(MemoryUser::State));
        let rocks = RocksOptions::new(cache_bytes, config.write_buffer_bytes);
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                log,
                rocks,
                stores: Mutex::new(budget.account(MemoryUser::State)),
                budget,
                jobs: Mutex::default(),
                threads: Mutex::default(),
                wakes: Arc::default(),
                queries: Arc::default(),
            }),
        })
    }

    /// The config it was made with.
    pub fn config(&self) -> &EngineConfig {
        &self.inner.config
    }

    /// The memory that it keeps to, with what is used of it now.
    pub fn memory(&self) -> MemoryBudget {
        let used = self.inner.rocks.used_bytes();
        self.inner.stores.lock().set(used);
        self.inner.budget.clone()
    }

    /// Starts a job: makes its topics where they are missing, goes back to its last commit, and runs it from there.
    /// Returns once the first attempt at that is over; a job that could not be opened shows it in its status.
    ///
    /// # Errors
    /// A plan, name or sink that cannot work; [`EngineError::Running`]; [`EngineError::Admin`] when the log could not
    /// make the topics.
    pub async fn start(&self, job: JobSpec) -> Result<JobHandle, EngineError> {
        check(&job)?;
        let running = |jobs: &[JobHandle]| {
            jobs.iter()
                .any(|known| known.name() == job.name && !known.status().state.is_final())
        };
        if running(&self.inner.jobs.lock()) {
            return Err(EngineError::Running(job.name));
        }
        let config = &self.inner.config;
        let shared = Arc::new(Shared::new(&job.name));
        let folder = job_folder(&config.state_dir, &job.name);
        let mut environment = Environment {
            log: Arc::clone(&self.inner.log),
            names: Names::new(&job.name, &config.worker),
            spec: Arc::new(job),
            tokens: i32::try_from(config.tokens).unwrap_or(1),
            commit_interval: config.commit_interval,
            dirty_bytes_max: config.commit_bytes,
            cache_bytes: config.operator_cache_bytes,
            source: self.source_options(),
            shared,
            search: Arc::default(),
            pace: Arc::default(),
            budget: self.inner.budget.clone(),
            stop: Arc::default(),
            wakes: Arc::clone(&self.inner.wakes),
            wake: Arc::default(),
            snapshots: config.snapshot_dir.as_ref().map(|snapshots| {
                Arc::new(SnapshotOptions {
                    folder: snapshots.clone(),
                    work: folder.join("checkpoint"),
                    bytes: config.snapshot_bytes,
                })
            }),
        };
        let pool = self.pool()?;
        environment.create_topics().await?;
        let name = &environment.spec.name;
        environment.wake = self
            .inner
            .wakes
            .enter(name, upstreams(&environment.spec.plan));
        let stores = Box::new(Folder {
            job: environment.spec.name.clone(),
            path: folder.clone(),
            options: self.inner.rocks.clone(),
            snapshots: environment.snapshots.clone(),
        });
        let handle = JobHandle::start(environment, stores, folder, pool).await;
        let mut jobs = self.inner.jobs.lock();
        jobs.retain(|known| known.name() != handle.name());
        jobs.push(handle.clone());
        Ok(handle)
    }

    /// The threads of the jobs.
    fn pool(&self) -> Result<Arc<Pool>, EngineError> {
        let mut threads = self.inner.threads.lock();
        if let Some(threads) = &*threads {
            return Ok(Arc::clone(&threads.pool));
        }
        let count = match self.inner.config.threads {
            0 => std::thread::available_parallelism().map_or(2, |threads| threads.get().max(2)),
            count => count,
        };
        let pool = Pool::start(&self.inner.config.worker, count)
            .map_err(|error| EngineError::Thread(error.to_string()))?;
        let admin = self.inner.log.admin();
        let watching = pool.spawn(watch_topics(admin, Arc::downgrade(&self.inner.wakes)));
        let pool = Arc::new(pool);
        *threads = Some(Threads {
            pool: Arc::clone(&pool),
            watching,
        });
        Ok(pool)
    }

    fn source_options(&self) -> SourceOptions {
        let config = &self.inner.config;
        SourceOptions {
            rows_max: config.epoch_rows,
            bytes_max: config.fetch_bytes,
            partition_bytes_max: (config.fetch_bytes / 4).max(1),
            idle_grace_ms: config.idle_grace_ms,
            ..SourceOptions::default()
        }
    }

    /// The jobs that were started and not stopped.
    pub fn jobs(&self) -> Vec<JobHandle> {
        let mut jobs = self.inner.jobs.lock();
        jobs.retain(|job| job.status().state != JobState::Stopped);
        jobs.clone()
    }

    /// The job of this name.
    pub fn job(&self, name: &str) -> Option<JobHandle> {
        self.jobs().into_iter().find(|job| job.name() == name)
    }

    /// Ends a job and removes what it owns, see [`JobHandle::drop_job`]; of one that never started here too, whose view has
    /// topic `view`, if it has one.
    ///
    /// # Errors
    /// As [`JobHandle::drop_job`].
    pub async fn drop_job(&self, name: &str, view: Option<&str>) -> Result<(), EngineError> {
        if !is_name(name) {
            return Err(EngineError::Name {
                name: name.to_owned(),
            });
        }
        let known = self
            .inner
            .jobs
            .lock()
            .iter()
            .find(|job| job.name() == name)
            .cloned();
        if let Some(job) = known {
            job.drop_job().await?;
            self.inner.jobs.lock().retain(|known| known.name() != name);
            return Ok(());
        }
        let config = &self.inner.config;
        let names = Names::new(name, &config.worker);
        let folder = job_folder(&config.state_dir, name);
        let admin = self.inner.log.admin();
        crate::job::erase(admin.as_ref(), &names, view, &folder).await?;
        match &config.snapshot_dir {
            Some(snapshots) => Ok(Snapshots::remove(snapshots, name)?),
            None => Ok(()),
        }
    }

    /// Runs a plan for one reader: the same operators, state in memory, nothing written to the log. It goes on until
    /// the stream is dropped or breaks; updates are adjacent pairs of −1 and +1. Rows that fail are only counted.
    pub fn query(&self, plan: StreamPlan, from: QueryStart) -> ChunkStream {
        ChunkStream::start(
            Arc::clone(&self.inner.log),
            plan,
            from,
            QueryLimits {
                source: self.source_options(),
                cache_bytes: self.inner.config.operator_cache_bytes,
                state_bytes: self.inner.config.query_state_bytes,
                budget: self.inner.budget.clone(),
            },
            &self.inner.queries,
        )
    }

    /// Ends all push queries, and all jobs, each with a last commit, and waits for them, but not without bound: see
    /// [`JobHandle::stop`]. Nothing of the engine works with the log afterwards.
    pub async fn shutdown(&self) {
        self.inner.queries.end().await;
        let jobs = self.jobs();
        let stopped = futures::future::join_all(jobs.iter().map(JobHandle::stop)).await;
        for error in stopped.into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "shutting down all the same");
        }
        self.inner.jobs.lock().clear();
        // Who looks at the topics holds the log, which may be closed now.
        let watching = self.inner.threads.lock().take();
        if let Some(watching) = watching.and_then(|threads| threads.watching) {
            watching.abort();
            let _ = watching.await;
        }
    }
}

/// The jobs whose commits tell sources of this plan their event time.
fn upstreams(plan: &StreamPlan) -> HashSet<String> {
    let sources = plan.nodes.iter().filter_map(|node| match &node.kind {
        NodeKind::Source(source) => source.watermark.as_ref(),
        _ => None,
    });
    let names = sources.filter_map(|watermark| match watermark {
        WatermarkSpec::Job { name, .. } => Some(name.clone()),
        WatermarkSpec::Rows { .. } => None,
    });
    names.collect()
}

/// Everything that can be checked before anything is made.
fn check(job: &JobSpec) -> Result<(), EngineError> {
    if !is_name(&job.name) {
        return Err(EngineError::Name {
            name: job.name.clone(),
        });
    }
    job.plan.validate()?;
    let schema = job.plan.schema();
    let sink = |reason: String| EngineError::Sink {
        topic: job.sink.topic.clone(),
        reason,
    };
    if let Some(column) = job
        .sink
        .key
        .iter()
        .find(|&&column| column >= schema.fields().len())
    {
        return Err(sink(format!("key column {column} does not exist")));
    }
    let visible = schema.fields().len().saturating_sub(job.sink.hidden);
    if let Some(column) =
        (visible..schema.fields().len()).find(|column| !job.sink.key.contains(column))
    {
        return Err(sink(format!("hidden column {column} is not in the key")));
    }
    let appends = job.sink.key.is_empty() || job.sink.form.appends();
    if appends && !job.plan.is_append_only() {
        return Err(sink(match job.sink.form.appends() {
            true => "rows of this output change, so they cannot only be appended".to_owned(),
            false => "rows of this view change, so it needs a key".to_owned(),
        }));
    }
    if let Some(field) = schema
        .fields()
        .iter()
        .find(|field| !crate::state::is_storable(field.data_type()))
    {
        return Err(sink(format!(
            "column {} of type {} cannot be kept in state",
            field.name(),
            field.data_type()
        )));
    }
    crate::sink::check(&job.sink, schema).map_err(|error| sink(error.to_string()))
}
