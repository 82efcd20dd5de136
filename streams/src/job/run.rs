//! The life of a job on the pool: open, turn after turn, and open again where something broke.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;

use super::clock::Clock;
use crate::state::{StateError, StateStore};
use crate::task::{
    Changelog, Command, Environment, Event, JobState, Lifecycle, Opened, Task, TaskError, Turn,
};
use crate::worker::{Alive, compute};

/// Opens the local stores of a job.
pub(crate) trait Stores: Send {
    /// The store of a token: the one that is there. Where there is none, or if `fresh`, one from a snapshot that fits the
    /// changelog, or an empty one.
    ///
    /// # Errors
    /// From the disk.
    fn open(
        &mut self,
        token: usize,
        changelog: &Changelog,
        fresh: bool,
    ) -> Result<Arc<dyn StateStore>, StateError>;
}

/// Runs a job until it is asked to end, or cannot go on.
pub(super) async fn run(environment: Environment, stores: Box<dyn Stores>) {
    let shared = Arc::clone(&environment.shared);
    let (name, wakes) = (
        environment.spec.name.clone(),
        Arc::clone(&environment.wakes),
    );
    let life = AssertUnwindSafe(live(environment, stores)).catch_unwind();
    if let Err(panic) = life.await {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        let error = format!(
            "internal error: {}",
            text.unwrap_or("panic without a message")
        );
        tracing::error!(job = %name, %error, "job failed");
        wakes.leave(&name);
        shared.moved(JobState::Failed, Some(error));
    }
}

async fn live(environment: Environment, mut stores: Box<dyn Stores>) {
    let shared = Arc::clone(&environment.shared);
    let name = environment.spec.name.clone();
    let mut life = Lifecycle::new();
    let clock = Clock::start();
    let mut local = Local::default();
    loop {
        let ended = attempt(&environment, &mut *stores, &mut local, &mut life, &clock).await;
        let (event, error) = match ended {
            Ok(()) => (Event::Ended, None),
            Err(error) if error.is_cancelled() => (Event::Ended, None),
            Err(error) => {
                if error.spoils_store() {
                    // The log has everything: start over with an empty store.
                    local.discard_all(&environment);
                }
                (error.event(), Some(error.to_string()))
            }
        };
        let command = life.transition(event);
        // Before anybody hears of it: the next start opens the same folder.
        if life.state().is_final() {
            local = Local::default();
            shared.release();
            environment.wakes.leave(&name);
        }
        match &error {
            None => tracing::info!(job = %name, "job stopped"),
            Some(error) if life.state() == JobState::Failed => {
                tracing::error!(job = %name, %error, "job failed");
            }
            Some(error) => tracing::warn!(job = %name, %error, "job starts over"),
        }
        shared.moved(life.state(), error);
        match command {
            Command::Leave => return,
            Command::Run => {}
            Command::Retry(pause_ms) => {
                shared.restarts();
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(pause_ms)) => {}
                    () = environment.stop.asked() => {}
                }
            }
        }
    }
}

/// The local stores between attempts, by token.
#[derive(Default)]
struct Local {
    stores: Vec<Option<Arc<dyn StateStore>>>,
    /// The next ones of these are to be empty.
    fresh: HashSet<usize>,
    /// All were discarded because the changelog begins behind what they hold.
    renewed: bool,
}

impl Local {
    fn open(
        &mut self,
        job: &str,
        stores: &mut dyn Stores,
        changelog: &Changelog,
    ) -> Result<Vec<Arc<dyn StateStore>>, TaskError> {
        let tokens = changelog.ranges.len();
        self.stores.resize(tokens, None);
        let mut opened = Vec::with_capacity(tokens);
        for (token, known) in self.stores.iter_mut().enumerate() {
            let store = match known {
                Some(store) => Arc::clone(store),
                None => {
                    let fresh = self.fresh.contains(&token);
                    let mut store = compute(true, || stores.open(token, changelog, fresh));
                    if let Err(error @ StateError::Damaged { .. }) = &store
                        && !fresh
                    {
                        tracing::warn!(%job, token, %error, "local state is discarded");
                        store = compute(true, || stores.open(token, changelog, true));
                    }
                    let store = store.map_err(TaskError::Open)?;
                    self.fresh.remove(&token);
                    Arc::clone(known.insert(store))
                }
            };
            opened.push(store);
        }
        Ok(opened)
    }

    /// Ends with what a reader has found damaged.
    fn check(&self) -> Result<(), TaskError> {
        let stores = self.stores.iter().flatten();
        match stores.filter_map(|store| store.damage()).next() {
            Some(damage) => Err(TaskError::State(damage)),
            None => Ok(()),
        }
    }

    fn discard(&mut self, token: usize, environment: &Environment) {
        environment.shared.release();
        self.fresh.insert(token);
        if let Some(store) = self.stores.get_mut(token) {
            *store = None;
        }
    }

    fn discard_all(&mut self, environment: &Environment) {
        for token in 0..self.stores.len() {
            self.discard(token, environment);
        }
    }
}

/// One attempt: from opening to a failure or the end. Nothing works for it any more when this returns.
async fn attempt(
    environment: &Environment,
    stores: &mut dyn Stores,
    local: &mut Local,
    life: &mut Lifecycle,
    clock: &Clock,
) -> Result<(), TaskError> {
    let (alive, gone) = Alive::new();
    let ended = work(environment, stores, local, life, clock, alive).await;
    gone.wait().await;
    ended
}

async fn work(
    environment: &Environment,
    stores: &mut dyn Stores,
    local: &mut Local,
    life: &mut Lifecycle,
    clock: &Clock,
    alive: Alive,
) -> Result<(), TaskError> {
    let stop = &environment.stop;
    if stop.is_asked() {
        return Ok(());
    }
    let mut task = loop {
        let changelog = environment.changelog().await?;
        let (id, now_ms) = (changelog.id, clock.now_ms());
        let stores = local.open(&environment.spec.name, stores, &changelog)?;
        let open = Task::open(environment.clone(), stores, id, alive.clone(), now_ms);
        let opened = tokio::select! {
            opened = open => opened,
            () = stop.asked() => return Ok(()),
        };
        let job = &environment.spec.name;
        match opened {
            Err(error @ TaskError::Trimmed { .. }) if !local.renewed => {
                // It holds less than a snapshot: some of its files are gone.
                tracing::warn!(%job, %error, "local state is discarded");
                local.discard_all(environment);
                local.renewed = true;
            }
            Err(error) => return Err(error),
            Ok(Opened::Task(task)) => break task,
            Ok(Opened::Discard { token, reason }) => {
                tracing::warn!(%job, token, %reason, "local state is discarded");
                local.discard(token, environment);
            }
        }
    };
    local.renewed = false;
    life.transition(Event::Opened);
    environment.shared.moved(life.state(), None);
    loop {
        local.check()?;
        let turn = tokio::select! {
            biased;
            () = stop.asked_at_once() => return Ok(()),
            turn = task.turn(clock.now_ms()) => turn?,
        };
        match turn {
            Turn::Committed => {
                life.transition(Event::Committed);
                tokio::task::yield_now().await;
            }
            // Jobs take turns.
            Turn::Busy => tokio::task::yield_now().await,
            Turn::Idle(wait_ms) => {
                environment.shared.waits(wait_ms);
                tokio::select! {
                    waited = task.wait(wait_ms) => waited?,
                    () = environment.wake.notified() => task.woken(),
                    () = stop.asked() => {}
                }
            }
        }
        if stop.is_asked() {
            return tokio::select! {
                biased;
                () = stop.asked_at_once() => Ok(()),
                finished = task.finish(clock.now_ms()) => finished,
            };
        }
    }
}
