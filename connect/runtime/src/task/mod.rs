//! Runs of tasks: each on a thread of its own, told what to be, and never in the herder's way.
//!
//! ```text
//!  herder ── Control (run, pause, stop) ──▶ thread "connect-<connector>-<task>"
//!         ◀── TaskEvent (phase, end, topic) ──  source_task: poll → transforms → converters → one transaction
//!                                               sink_task:   read → converters → transforms → put → offsets
//! ```
//!
//! Connector code may block or panic: that costs its own thread. A call that does not return is seen by its
//! [`Pulse`]; the run is then left behind, fenced by the transactional id (sources) or the stored offsets (sinks).

mod backoff;
mod board;
mod dead_letter;
mod failure;
mod id;
mod letters;
pub(crate) mod lifecycle;
mod post;
mod sink_task;
mod source_task;
mod transforming;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use connect_api::{ConfigMap, ConnectError, ConnectorPlugin, Task, TaskContext};
use connect_sandbox::Sandbox;
use log_api::Log;
use tokio::sync::{mpsc, watch};

use crate::config::ConnectConfig;
use crate::secrets::{self, Secrets};
use crate::store::OffsetStore;
use crate::supervisor::FailureClass;
pub(crate) use board::Board;
use board::Meter;
use failure::Failure;
pub(crate) use id::TaskId;
use lifecycle::{Control, End, Phase};

/// Stack of a task's thread: guests and JSON recurse, within limits of their own.
const STACK_BYTES: usize = 4 << 20;

/// What all tasks of a worker share.
pub(crate) struct Environment {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) offsets: OffsetStore,
    pub(crate) config: ConnectConfig,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) board: Arc<Board>,
    /// Unbounded: a run sends a handful of events, and must not wait for the herder to end.
    pub(crate) events: mpsc::UnboundedSender<TaskEvent>,
}

/// What a run is started with.
pub(crate) struct Assignment {
    pub(crate) id: TaskId,
    pub(crate) run: u64,
    pub(crate) paused: bool,
    pub(crate) plugin: Arc<dyn ConnectorPlugin>,
    /// The connector's configuration: the common keys.
    pub(crate) connector_config: ConfigMap,
    /// What the connector made for this task.
    pub(crate) task_config: ConfigMap,
    /// How many tasks the connector has.
    pub(crate) task_count: u32,
}

impl Assignment {
    /// Replaces the placeholders of both configurations; returns what is not to be shown.
    fn resolve(&mut self) -> Result<Secrets, ConnectError> {
        let connector = secrets::resolve(&self.connector_config)?;
        let task = secrets::resolve(&self.task_config)?;
        let secrets = Secrets::of(&self.connector_config, &connector, &*self.plugin);
        (self.connector_config, self.task_config) = (connector, task);
        Ok(secrets)
    }
}

/// What a run tells.
#[derive(Debug)]
pub(crate) enum TaskEvent {
    Reported {
        id: TaskId,
        run: u64,
        phase: Phase,
    },
    /// A call fails for now and comes again.
    Retrying {
        id: TaskId,
        run: u64,
        trace: String,
    },
    Ended {
        id: TaskId,
        run: u64,
        end: End,
    },
    TopicUsed {
        id: TaskId,
        topic: Arc<str>,
    },
}

/// Whether a connector's code is being waited for, and since when.
#[derive(Debug)]
pub(crate) struct Pulse {
    start: Instant,
    /// Milliseconds since `start` at which the present call began, plus one; 0 = no call.
    call: AtomicU64,
}

impl Pulse {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            call: AtomicU64::new(0),
        }
    }

    /// Marks the time until the guard is dropped as one call.
    fn call(&self) -> impl Drop + use<'_> {
        struct Guard<'a>(&'a Pulse);
        impl Drop for Guard<'_> {
            fn drop(&mut self) {
                self.0.call.store(0, Ordering::Relaxed);
            }
        }
        let since = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.call.store(since + 1, Ordering::Relaxed);
        Guard(self)
    }

    /// How long the present call has taken.
    fn waiting(&self) -> Option<Duration> {
        let since = self.call.load(Ordering::Relaxed).checked_sub(1)?;
        Some(
            self.start
                .elapsed()
                .saturating_sub(Duration::from_millis(since)),
        )
    }
}

/// A run that was started.
pub(crate) struct Running {
    pub(crate) run: u64,
    control: watch::Sender<Control>,
    pulse: Arc<Pulse>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Tells the run what to be.
    pub(crate) fn tell(&self, control: Control) {
        self.control.send_replace(control);
    }

    /// Whether a call of the connector takes longer than this.
    pub(crate) fn hangs(&self, longest: Duration) -> bool {
        self.pulse
            .waiting()
            .is_some_and(|waiting| waiting > longest)
    }

    /// Waits for a thread that said it ended: it has nothing left to do.
    pub(crate) fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the thread of a task panicked after its end");
        }
    }
}

/// Starts a run on a new thread. The last thing it sends is [`TaskEvent::Ended`].
///
/// # Errors
/// If the system gives no thread.
pub(crate) fn start(
    environment: &Arc<Environment>,
    mut assignment: Assignment,
    handle: tokio::runtime::Handle,
) -> std::io::Result<Running> {
    let first = if assignment.paused {
        Control::Pause
    } else {
        Control::Run
    };
    let (control, told) = watch::channel(first);
    let pulse = Arc::new(Pulse::new());
    let (run, id) = (assignment.run, assignment.id.clone());
    let (environment, shared_pulse) = (Arc::clone(environment), Arc::clone(&pulse));
    let thread = std::thread::Builder::new()
        .name(format!("connect-{}-{}", id.connector, id.task))
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let events = environment.events.clone();
            let board = Arc::clone(&environment.board);
            let secrets = assignment.resolve();
            let hide = |trace| match &secrets {
                Ok(secrets) => secrets.hide(trace),
                Err(_) => trace,
            };
            let result = std::panic::catch_unwind(AssertUnwindSafe(|| {
                let secrets = secrets.clone()?;
                let work = run_task(environment, assignment, told, shared_pulse, secrets);
                handle.block_on(work)
            }));
            let end = match result {
                Ok(Ok(end)) => end,
                Ok(Err(Failure { class, trace })) => End::Failed {
                    class,
                    trace: hide(trace),
                },
                Err(panic) => End::Failed {
                    class: FailureClass::Panic,
                    trace: hide(panic_trace(&*panic)),
                },
            };
            board.clear(&id, run);
            // Nobody listens any more when the worker has stopped.
            let _ = events.send(TaskEvent::Ended { id, run, end });
        })?;
    Ok(Running {
        run,
        control,
        pulse,
        thread,
    })
}

async fn run_task(
    environment: Arc<Environment>,
    assignment: Assignment,
    told: watch::Receiver<Control>,
    pulse: Arc<Pulse>,
    secrets: Secrets,
) -> Result<End, Failure> {
    let seat = Seat {
        environment,
        assignment,
        told,
        pulse,
        secrets,
        retrying: false,
        waiting: None,
    };
    match seat.assignment.plugin.task() {
        Task::Source(task) => source_task::run(seat, task).await,
        Task::Sink(task) => sink_task::run(seat, task).await,
    }
}

fn panic_trace(panic: &(dyn std::any::Any + Send)) -> String {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    format!("org.apache.kafka.connect.errors.ConnectException: the connector panicked: {message}")
}

/// What a run works with.
struct Seat {
    environment: Arc<Environment>,
    assignment: Assignment,
    told: watch::Receiver<Control>,
    pulse: Arc<Pulse>,
    secrets: Secrets,
    /// Whether status shows that a call is tried again.
    retrying: bool,
    /// What status says that the task waits for.
    waiting: Option<String>,
}

impl Seat {
    fn context(&self) -> TaskContext {
        TaskContext {
            connector: self.assignment.id.connector.clone(),
            task: self.assignment.id.task,
            config: self.assignment.task_config.clone(),
        }
    }

    fn meter(&self) -> Meter {
        let assignment = &self.assignment;
        Meter::new(&self.environment.board, &assignment.id, assignment.run)
    }

    fn report(&mut self, phase: Phase) {
        // Whatever the trace said is gone with it.
        self.waiting = None;
        let (id, run) = (self.assignment.id.clone(), self.assignment.run);
        let _ = self
            .environment
            .events
            .send(TaskEvent::Reported { id, run, phase });
    }

    /// A call failed for now: status shows why, and when it comes again. Returns after the pause, and not while the
    /// run is to be paused.
    async fn pause_before_retry(&mut self, what: &str, error: &ConnectError, pause: Duration) {
        let connector = &self.assignment.id.connector;
        let shown = self.secrets.hide(error.trace());
        tracing::warn!(connector, error = shown, "{what} is tried again");
        let next = chrono::Utc::now() + pause;
        let event = TaskEvent::Retrying {
            id: self.assignment.id.clone(),
            run: self.assignment.run,
            trace: format!(
                "{shown}\n{what} failed for now; the next attempt is at {}",
                next.format("%Y-%m-%dT%H:%M:%SZ")
            ),
        };
        let _ = self.environment.events.send(event);
        self.retrying = true;
        self.pause(pause).await;
        if self.control() != Control::Pause {
            return;
        }
        self.report(Phase::Paused);
        while self.control() == Control::Pause {
            self.told_otherwise().await;
        }
        self.report(Phase::Running);
    }

    /// The task goes on as soon as there is what it waits for; until then its trace says what that is.
    fn waits_for(&mut self, what: &str) {
        if self.waiting.as_deref() == Some(what) {
            return;
        }
        let id = self.assignment.id.clone();
        tracing::info!(connector = id.connector, task = id.task, "waits: {what}");
        let _ = self.environment.events.send(TaskEvent::Retrying {
            id,
            run: self.assignment.run,
            trace: format!("the task waits: {what}"),
        });
        self.retrying = true;
        self.waiting = Some(what.to_owned());
    }

    /// What was tried again worked, what was waited for is there.
    fn recovered(&mut self) {
        if std::mem::take(&mut self.retrying) {
            self.report(Phase::Running);
        }
    }

    fn topic_used(&self, topic: &Arc<str>) {
        let event = TaskEvent::TopicUsed {
            id: self.assignment.id.clone(),
            topic: Arc::clone(topic),
        };
        let _ = self.environment.events.send(event);
    }

    /// What the run is to be now.
    fn control(&mut self) -> Control {
        *self.told.borrow_and_update()
    }

    /// Returns when something else is told, or the worker is gone.
    async fn told_otherwise(&mut self) {
        if self.told.changed().await.is_err() {
            // The worker dropped the run: that is a stop, but `control` still shows the last word.
            std::future::pending::<()>().await;
        }
    }

    /// Waits, but not longer than until something else is told.
    async fn pause(&mut self, time: Duration) {
        tokio::select! {
            () = self.told_otherwise() => {}
            () = tokio::time::sleep(time) => {}
        }
    }
}
