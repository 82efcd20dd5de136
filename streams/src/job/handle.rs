//! A job as others see it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::erase;
use super::run::{Stores, run};
use crate::state::Snapshots;
use crate::task::{EngineError, Environment, JobSpec, JobState, JobStatus, Shared, StateSize};
use crate::view::{CommitInfo, ViewSnapshot};
use crate::why::Why;
use crate::worker::Pool;

/// How long a start waits for the job to be open before it lets the caller go on.
const START_WAIT: Duration = Duration::from_secs(5);
/// How long a job may take to a last commit; then it ends without one.
const COMMIT_WAIT: Duration = Duration::from_secs(5);
/// How long a job may take to end at once: until what it computes looks up.
const END_WAIT: Duration = Duration::from_secs(10);

/// A job that was started. Clones speak of the same job; dropping them does not end it.
#[derive(Clone)]
pub struct JobHandle {
    shared: Arc<Shared>,
    environment: Environment,
    folder: Arc<Path>,
    /// Closed once the job holds nothing any more, neither of the log nor on disk.
    let_go: watch::Receiver<()>,
    /// The threads live as long as somebody may speak to the job.
    _pool: Arc<Pool>,
}

impl std::fmt::Debug for JobHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobHandle")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

impl JobHandle {
    /// Puts the job on the pool; returns once the first attempt to open it has ended, well or not.
    pub(crate) async fn start(
        environment: Environment,
        stores: Box<dyn Stores>,
        folder: PathBuf,
        pool: Arc<Pool>,
    ) -> Self {
        let shared = Arc::clone(&environment.shared);
        let mut state = shared.states();
        let (holds, let_go) = watch::channel(());
        let work = run(environment.clone(), stores);
        pool.spawn(async move {
            work.await;
            drop(holds);
        });
        // A log that does not answer is the job's trouble, to be seen in its status, and not the caller's.
        let open = state.wait_for(|state| *state != JobState::Starting);
        let _ = tokio::time::timeout(START_WAIT, open).await;
        Self {
            shared,
            environment,
            folder: folder.into(),
            let_go,
            _pool: pool,
        }
    }

    /// The job's name.
    pub fn name(&self) -> &str {
        &self.environment.spec.name
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
        let environment = &self.environment;
        Why::new(
            &environment.spec,
            &environment.names.errors,
            &self.shared.status(),
        )
    }

    /// The view's rows at the last commit. Does not wait for the job, and the job does not wait for it.
    ///
    /// # Errors
    /// [`EngineError::NotReady`] while the state is not restored, and where the job does not go on: rows that stand still
    /// are not given for the view's.
    pub fn snapshot(&self) -> Result<ViewSnapshot, EngineError> {
        let wake = Arc::clone(&self.environment.wake);
        Ok(self.shared.snapshot()?.telling(wake))
    }

    /// What each operator keeps at the last commit, and the view. Counts entries one by one, so that it takes its time; the job
    /// does not wait for it.
    ///
    /// # Errors
    /// As [`Self::snapshot`].
    pub fn state_sizes(&self) -> Result<Vec<StateSize>, EngineError> {
        self.shared.state_sizes()
    }

    /// Follows the commits: the newest one is always there to be seen.
    pub fn commits(&self) -> watch::Receiver<CommitInfo> {
        self.shared.commits()
    }

    /// Follows the job's state.
    pub fn states(&self) -> watch::Receiver<JobState> {
        self.shared.states()
    }

    /// Whether the job rests: nothing is to be done before something comes.
    #[cfg(test)]
    pub(crate) fn rests(&self) -> watch::Receiver<bool> {
        self.shared.rests()
    }

    /// Asks the job to end and waits until it has: a last commit, then the local state is closed. One that does not come to
    /// a commit in a few seconds ends without: what it had not committed is read again by the next start. A job that has
    /// ended is fine.
    ///
    /// # Errors
    /// [`EngineError::Busy`] where it computes on and does not look up; it ends as soon as it does.
    pub async fn stop(&self) -> Result<(), EngineError> {
        self.environment.stop.after_commit();
        if self.has_ended(COMMIT_WAIT).await {
            return Ok(());
        }
        tracing::warn!(job = self.name(), "the job ends without a last commit");
        self.end_within(END_WAIT).await
    }

    /// Ends the job without a last commit.
    pub(crate) async fn end_within(&self, wait: Duration) -> Result<(), EngineError> {
        self.environment.stop.at_once();
        if self.has_ended(wait).await {
            return Ok(());
        }
        Err(EngineError::Busy {
            job: self.name().to_owned(),
            waited: wait,
        })
    }

    async fn has_ended(&self, wait: Duration) -> bool {
        let (mut state, mut let_go) = (self.shared.states(), self.let_go.clone());
        let ended = async {
            // Who is gone altogether has ended, too.
            let _ = state.wait_for(|state| state.is_final()).await;
            let _ = let_go.changed().await;
        };
        tokio::time::timeout(wait, ended).await.is_ok()
    }

    /// Ends the job and removes what it owns: local state, changelog, group, a view's topic (not that which a sink writes
    /// to), and those of its late rows and row errors.
    ///
    /// # Errors
    /// [`EngineError::Busy`], and then nothing is removed; from log and disk. What is gone already is fine, so it can be
    /// called again.
    pub async fn drop_job(&self) -> Result<(), EngineError> {
        // Nobody will read what a last commit would write.
        self.end_within(END_WAIT).await?;
        let sink = &self.environment.spec.sink;
        erase(
            self.environment.log.admin().as_ref(),
            &self.environment.names,
            sink.form.is_view().then_some(sink.topic.as_str()),
            &self.folder,
        )
        .await?;
        match &self.environment.snapshots {
            Some(snapshots) => Ok(Snapshots::remove(&snapshots.folder, self.name())?),
            None => Ok(()),
        }
    }
}
