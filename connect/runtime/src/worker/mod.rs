//! A worker: start, router, stop, and the calls that REST and programs share.

mod flows;
mod offsets;
mod shell;
mod tables;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use connect_api::{ConfigMap, ConnectorPlugin, SourceOffsets};
use connect_sandbox::Sandbox;
use log_api::Log;
use parking_lot::{Mutex, RwLock};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::config::{ConfigError, ConnectConfig};
use crate::definition::{self, ConfigInfos, Invalid, Plugins};
use crate::herder::{Herder, PluginInfo};
use crate::loggers::{LogLevels, Loggers};
use crate::store::{ConfigStore, OffsetStore, StatusStore, StoreError, TargetState};
use crate::supervisor::RestartPolicy;
use crate::task::{Environment, TaskId};
pub use flows::TableFlow;
pub(crate) use offsets::{OffsetsChange, read as read_offsets, tell_connector};
use shell::Shell;
pub use tables::{ListedConnector, PlannedTable, TableError, Tables};

/// Requests that may wait for the shell; more wait at the caller.
const REQUESTS_MAX: usize = 256;

/// A worker did not start.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum StartError {
    /// Its configuration cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its topics cannot be read or made.
    #[error("connect cannot use its topics: {0}")]
    Store(String),
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

/// A change that the shell makes, in order with all others.
pub(crate) enum Change {
    Put {
        name: String,
        config: ConfigMap,
        plugin: PluginInfo,
        target: Option<TargetState>,
        create_only: bool,
    },
    Delete {
        name: String,
    },
    Target {
        name: String,
        state: TargetState,
    },
    Restart {
        name: String,
        include_tasks: bool,
        only_failed: bool,
    },
    RestartTask {
        id: TaskId,
    },
    ResetTopics {
        name: String,
    },
    Offsets {
        name: String,
        change: OffsetsChange,
    },
}

/// Why a change was not made.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub(crate) enum ChangeError {
    #[error("Connector {0} already exists")]
    Exists(String),
    #[error("Connector {0} not found")]
    NotFound(String),
    #[error("Task {}-{} not found", .0.connector, .0.task)]
    TaskNotFound(TaskId),
    #[error(
        "Connectors must be in the STOPPED state before their offsets can be modified. This can be done for the \
         specified connector by issuing a 'PUT' request to the '/connectors/{0}/stop' endpoint"
    )]
    NotStopped(String),
    #[error("{0}")]
    Bad(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the worker is stopping")]
    Stopping,
}

/// What a change brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// A connector was made.
    pub(crate) created: bool,
}

pub(crate) type Reply = oneshot::Sender<Result<Changed, ChangeError>>;

/// What handlers see.
pub(crate) struct Inner {
    pub(crate) config: ConnectConfig,
    pub(crate) plugins: Plugins,
    pub(crate) herder: RwLock<Herder>,
    pub(crate) environment: Arc<Environment>,
    pub(crate) loggers: Loggers,
    /// Connectors of which it is known that they have read the rows which their tables held.
    pub(crate) filled: Mutex<HashSet<String>>,
    changes: mpsc::Sender<(Change, Reply)>,
}

impl Inner {
    /// Has a change made; returns once it is on disk and under way.
    pub(crate) async fn change(&self, change: Change) -> Result<Changed, ChangeError> {
        let (reply, answer) = oneshot::channel();
        self.changes
            .send((change, reply))
            .await
            .map_err(|_| ChangeError::Stopping)?;
        answer.await.map_err(|_| ChangeError::Stopping)?
    }
}

/// A running Connect worker. Dropping it without [`ConnectWorker::stop`] leaves its tasks to the end of the process.
pub struct ConnectWorker {
    pub(crate) inner: Arc<Inner>,
    shell: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl ConnectWorker {
    /// Makes the worker's topics where they are missing, reads what they hold, and starts every connector that is
    /// to run. Returns as soon as REST can be answered; tasks start meanwhile. Call it inside of a tokio runtime.
    ///
    /// # Errors
    /// A configuration that cannot be, or a log that cannot be read.
    pub async fn start(
        config: ConnectConfig,
        log: Arc<dyn Log>,
        sandbox: Arc<Sandbox>,
        plugins: Vec<Arc<dyn ConnectorPlugin>>,
    ) -> Result<Self, StartError> {
        config.validate()?;
        let plugins = Plugins::new(plugins, Arc::clone(&sandbox));
        let (config_store, stored) =
            ConfigStore::open(Arc::clone(&log), &config.config_topic, &config.group_id).await?;
        let offsets =
            OffsetStore::open(&log, &config.offset_topic, config.offset_partitions).await?;
        let (status_store, topics) = StatusStore::open(
            &log,
            &config.status_topic,
            config.status_partitions,
            &config.worker_id,
        )
        .await?;
        let (events_in, events) = mpsc::unbounded_channel();
        let (changes_in, changes) = mpsc::channel(REQUESTS_MAX);
        let policy = RestartPolicy {
            backoff_ms: config.restart_backoff_ms,
            backoff_max_ms: config.restart_backoff_max_ms,
            per_hour_max: config.restarts_per_hour_max,
        };
        let environment = Arc::new(Environment {
            log,
            offsets,
            config: config.clone(),
            sandbox,
            board: Arc::default(),
            events: events_in,
        });
        let inner = Arc::new(Inner {
            config,
            plugins,
            herder: RwLock::new(Herder::new(policy)),
            environment,
            loggers: Loggers::default(),
            filled: Mutex::default(),
            changes: changes_in,
        });
        let mut shell = Shell::new(Arc::clone(&inner), config_store, status_store, events);
        shell.restore(stored, topics).await;
        let (stop, stopped) = oneshot::channel();
        let shell = tokio::spawn(shell.run(changes, stopped));
        Ok(Self { inner, shell, stop })
    }

    /// From now on `/admin/loggers` sets levels of this log.
    pub fn attach_log(&self, levels: Arc<dyn LogLevels>) {
        self.inner.loggers.attach(levels);
    }

    /// Names of all connectors.
    pub fn connectors(&self) -> Vec<String> {
        self.inner.herder.read().names()
    }

    /// Stops every task (what is pending is committed) and waits for their threads, less than a second in all: a
    /// task that takes longer is left behind, and fenced by whoever starts it next.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        if let Err(error) = self.shell.await {
            tracing::error!(%error, "the Connect worker did not stop cleanly");
        }
    }
}

/// How long the offsets are waited for that a task may be writing.
const OFFSETS_WAIT_MAX: Duration = Duration::from_secs(1);

/// Validates a configuration, of a connector that goes on at the offsets that are stored under its name.
pub(crate) async fn validate(inner: &Inner, config: &ConfigMap) -> Result<ConfigInfos, Invalid> {
    let name = config.get("name").map(String::as_str).unwrap_or_default();
    let stored = tokio::time::timeout(OFFSETS_WAIT_MAX, inner.environment.offsets.load(name)).await;
    // Offsets that cannot be read now are no fault of the configuration.
    let stored = stored.map(Result::unwrap_or_default).unwrap_or_default();
    let stored = SourceOffsets::new(stored);
    definition::validate(&inner.plugins, &inner.config, config, &stored).await
}

/// What a configuration's connector says of itself.
pub(crate) fn plugin_info(plugins: &Plugins, config: &ConfigMap) -> Option<PluginInfo> {
    let class = config.get("connector.class")?;
    plugins.connector(class).map(|plugin| PluginInfo {
        kind: plugin.kind(),
        version: plugin.version(),
    })
}

/// Connectors by name, as they were stored.
pub(crate) type Stored = BTreeMap<String, crate::store::StoredConnector>;
