//! What runs: one job of the engine for each view and each sink.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use log_api::TopicPartition;
use parking_lot::RwLock;
use streams::{CommitInfo, Engine, EngineError, JobHandle, JobSpec, JobState, ViewSnapshot};
use tokio::sync::watch;

use crate::catalog::{Kind, Relation};
use crate::diagnostic::{Code, Diagnostic};
use crate::plan::ViewPlan;

/// Jobs by the name of their view or sink.
#[derive(Default)]
pub(crate) struct Jobs {
    running: RwLock<BTreeMap<String, JobHandle>>,
    /// Those whose job did not start, and why.
    failed: RwLock<BTreeMap<String, String>>,
    /// Those that stand still because they were asked to.
    paused: RwLock<BTreeSet<String>>,
    /// Jobs of the catalog that have yet to be opened, after a start of the server.
    opening: watch::Sender<BTreeSet<String>>,
}

impl Jobs {
    /// These are about to be started.
    pub(crate) fn will_open(&self, names: BTreeSet<String>) {
        self.opening.send_replace(names);
    }

    /// A job was opened, or could not be.
    pub(crate) fn has_opened(&self, name: &str) {
        self.opening.send_modify(|opening| {
            opening.remove(name);
        });
    }

    fn is_opening(&self, name: &str) -> bool {
        self.opening.borrow().contains(name)
    }

    /// Returns once a view is not one that has yet to be opened: its job is started, and its state is restored or cannot
    /// be. Where there are many views, or much state, that takes longer than the start of a job waits.
    pub(crate) async fn opened(&self, name: &str) {
        let mut opening = self.opening.subscribe();
        // The sender is `self`, so it is there.
        let _ = opening.wait_for(|opening| !opening.contains(name)).await;
        let states = self.running.read().get(name).map(JobHandle::states);
        if let Some(mut states) = states {
            // A job that is gone is waited for by nobody.
            let _ = states.wait_for(|state| *state != JobState::Starting).await;
        }
    }

    /// Starts the job of a view or sink.
    pub(crate) async fn start(
        &self,
        engine: &Engine,
        kind: Kind,
        name: &str,
        plan: &ViewPlan,
    ) -> Result<(), Diagnostic> {
        let name = name.to_owned();
        let spec = JobSpec {
            name: name.clone(),
            plan: plan.plan.clone(),
            sink: plan.sink.clone(),
            manifest: plan.manifest.clone(),
            revision: plan.revision,
        };
        match engine.start(spec).await {
            Ok(handle) => {
                self.failed.write().remove(&name);
                self.paused.write().remove(&name);
                self.running.write().insert(name, handle);
                Ok(())
            }
            Err(error) => {
                let word = kind.word();
                let error =
                    Diagnostic::new(Code::Engine, format!("{word} {name} cannot run: {error}"));
                self.failed.write().insert(name, error.message.clone());
                Err(error)
            }
        }
    }

    /// Ends the job of a view after a commit, and lets it go on there as `relation` has it now; one that is paused stays so.
    pub(crate) async fn restart(
        &self,
        engine: &Engine,
        relation: &Relation,
    ) -> Result<(), Diagnostic> {
        let name = relation.name();
        let Some(view) = relation.view.as_ref().filter(|_| !self.is_paused(name)) else {
            return Ok(());
        };
        let running = self.running.read().get(name).cloned();
        if let Some(handle) = running {
            // Who asks meanwhile waits.
            self.opening.send_modify(|opening| {
                opening.insert(name.to_owned());
            });
            let stopped = handle.stop().await;
            if let Err(error) = stopped {
                self.has_opened(name);
                return Err(Diagnostic::new(Code::Engine, error.to_string()));
            }
        }
        let started = self.start(engine, Kind::View, name, view).await;
        self.has_opened(name);
        started
    }

    /// Why a job has failed, if it has.
    pub(crate) fn failure(&self, kind: Kind, name: &str) -> Option<Diagnostic> {
        let status = self.running.read().get(name)?.status();
        (status.state == JobState::Failed).then(|| {
            let (word, cause) = (kind.word(), status.error.unwrap_or_default());
            Diagnostic::new(Code::Engine, format!("{word} {name} cannot run: {cause}"))
        })
    }

    /// Lets a job stand still after a last commit; what it keeps stays.
    pub(crate) async fn pause(&self, name: &str) -> Result<(), Diagnostic> {
        let handle = self.running.read().get(name).cloned();
        if let Some(handle) = handle {
            let stopped = handle.stop().await;
            stopped.map_err(|error| Diagnostic::new(Code::Engine, error.to_string()))?;
        }
        self.paused(name);
        self.running.write().remove(name);
        Ok(())
    }

    /// A job stands still from the start on.
    pub(crate) fn paused(&self, name: &str) {
        self.paused.write().insert(name.to_owned());
    }

    /// Whether a job stands still because it was asked to.
    pub(crate) fn is_paused(&self, name: &str) -> bool {
        self.paused.read().contains(name)
    }

    /// Whether the job of a view has ended by an error, or never began.
    pub(crate) fn has_failed(&self, name: &str) -> bool {
        match self.running.read().get(name) {
            Some(handle) => handle.status().state == JobState::Failed,
            None => self.failed.read().contains_key(name),
        }
    }

    /// Why the rows of a view stand still, to be said behind its name; `None`: they do not.
    pub(crate) fn stands_still(&self, name: &str) -> Option<&'static str> {
        if self.has_failed(name) {
            return Some("has FAILED");
        }
        if self.is_paused(name) {
            return Some("is paused");
        }
        let state = self.running.read().get(name)?.status().state;
        (state == JobState::Recovering).then_some("is RECOVERING")
    }

    /// Refuses a view whose rows stand still, as a snapshot of it does; one that is being opened will go on.
    pub(crate) fn goes_on(&self, name: &str) -> Result<(), Diagnostic> {
        let state = self.handle(name)?.status().state;
        match state {
            JobState::Failed | JobState::Recovering => self.snapshot(name).map(drop),
            JobState::Starting | JobState::Running | JobState::Stopped => Ok(()),
        }
    }

    /// Ends a job and forgets its state; `view`: the topic that goes with it.
    pub(crate) async fn drop(
        &self,
        engine: &Engine,
        name: &str,
        view: Option<&str>,
    ) -> Result<(), Diagnostic> {
        let dropped = engine.drop_job(name, view).await;
        dropped.map_err(|error| Diagnostic::new(Code::Engine, format!("job {name}: {error}")))?;
        self.running.write().remove(name);
        self.failed.write().remove(name);
        self.paused.write().remove(name);
        Ok(())
    }

    /// Ends all jobs, and waits for that with a bound; their state stays.
    pub(crate) async fn stop(&self) {
        let handles: Vec<_> = std::mem::take(&mut *self.running.write())
            .into_values()
            .collect();
        let stopped = futures::future::join_all(handles.iter().map(JobHandle::stop)).await;
        for error in stopped.into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "shutting down all the same");
        }
    }

    fn handle(&self, name: &str) -> Result<JobHandle, Diagnostic> {
        if let Some(handle) = self.running.read().get(name) {
            return Ok(handle.clone());
        }
        if self.is_paused(name) {
            return Err(
                Diagnostic::new(Code::Engine, format!("view {name} is paused")).help(format!(
                    "ALTER MATERIALIZED VIEW {name} RESUME lets it go on"
                )),
            );
        }
        let cause = self.failed.read().get(name).cloned();
        let cause = cause.unwrap_or_else(|| format!("view {name} is not running"));
        Err(Diagnostic::new(Code::Engine, cause).help(format!("EXPLAIN WHY {name} says more")))
    }

    /// What a view holds at its last commit.
    pub(crate) fn snapshot(&self, name: &str) -> Result<Arc<ViewSnapshot>, Diagnostic> {
        let snapshot = self.handle(name)?.snapshot();
        snapshot.map(Arc::new).map_err(|error| {
            let message = match &error {
                EngineError::NotReady { .. } => error.to_string(),
                error => format!("view {name} cannot be read: {error}"),
            };
            Diagnostic::new(Code::Engine, message).help(format!("EXPLAIN WHY {name} says more"))
        })
    }

    /// The last commit of a view that runs.
    pub(crate) fn commit(&self, name: &str) -> Option<CommitInfo> {
        let running = self.running.read();
        running
            .get(name)
            .map(|handle| handle.commits().borrow().clone())
    }

    /// What a running view has left out: records it could not read, rows that failed or came too late.
    pub(crate) fn left_out(&self, name: &str) -> Option<String> {
        self.running.read().get(name)?.why().left_out()
    }

    /// Waits until a commit of the view covers `positions` of its inputs; not for one that has ended.
    pub(crate) async fn covers(
        &self,
        name: &str,
        positions: &[(TopicPartition, i64)],
    ) -> Result<(), Diagnostic> {
        self.opened(name).await;
        let handle = self.handle(name)?;
        let (mut commits, mut states) = (handle.commits(), handle.states());
        if commits.borrow().number == 0 {
            // Until it runs nothing is known of its inputs, nor are the rows there that need none.
            let _ended = states
                .wait_for(|state| state.is_final() || *state == JobState::Running)
                .await;
        }
        let covered = tokio::select! {
            biased;
            covered = commits.wait_for(|commit| commit.covers(positions)) => covered.is_ok(),
            _ = states.wait_for(|state| state.is_final()) => false,
        };
        if covered {
            return Ok(());
        }
        let message = format!("view {name} does not go on: {}", handle.status());
        Err(Diagnostic::new(Code::Engine, message).help(format!("EXPLAIN WHY {name} says more")))
    }

    /// The state of a view in words.
    pub(crate) fn state(&self, name: &str) -> String {
        if self.is_opening(name) {
            return "STARTING: its state is being restored".to_owned();
        }
        match self.running.read().get(name) {
            Some(handle) => handle.status().to_string(),
            None if self.is_paused(name) => "PAUSED".to_owned(),
            None => self
                .failed
                .read()
                .get(name)
                .cloned()
                .unwrap_or_else(|| "stopped".to_owned()),
        }
    }

    /// The job itself, if it runs.
    pub(crate) fn running(&self, name: &str) -> Option<JobHandle> {
        self.running.read().get(name).cloned()
    }

    /// How a job that runs is doing.
    pub(crate) fn status(&self, name: &str) -> Option<streams::JobStatus> {
        Some(self.running.read().get(name)?.status())
    }

    /// Why a view shows what it shows.
    pub(crate) fn why(&self, name: &str) -> Vec<String> {
        match self.running.read().get(name) {
            Some(handle) => {
                let text = handle.why().to_string();
                text.lines().map(str::to_owned).collect()
            }
            None => vec![self.state(name)],
        }
    }

    /// Name, state and why line of every job.
    pub(crate) fn list(&self) -> Vec<(String, String, String)> {
        let running = self.running.read();
        let mut list: Vec<_> = running
            .iter()
            .map(|(name, handle)| {
                let verdict = handle.why().verdict();
                (name.clone(), handle.status().to_string(), verdict)
            })
            .collect();
        let failed = self.failed.read();
        list.extend(
            failed
                .iter()
                .filter(|(name, _)| !running.contains_key(*name))
                .map(|(name, error)| (name.clone(), "failed".to_owned(), error.clone())),
        );
        let paused = self.paused.read();
        list.extend(paused.iter().map(|name| {
            let why = "it was asked to stand still: ALTER … RESUME lets it go on".to_owned();
            (name.clone(), "PAUSED".to_owned(), why)
        }));
        let opening = self.opening.borrow();
        let opening = opening.iter().filter(|name| !running.contains_key(*name));
        list.extend(opening.map(|name| {
            let why = format!("{name} is starting: its state is being restored");
            (name.clone(), "STARTING".to_owned(), why)
        }));
        list.sort();
        list
    }
}
