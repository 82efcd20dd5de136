//! The broker: opens everything, handles requests free of any transport, closes everything.
//!
//! ```text
//!  Broker (clones share)
//!    ├─ Topics ── partitions, files          thread log-maintain: every 250 ms retention, compaction, interval syncs
//!    ├─ Groups, Transactions                 thread log-coordinator: timeouts, and ends that outlive their connection
//!    └─ handle(context, request) -> response
//! ```

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;

use log_protocol::{Request, Response};
use metrics::gauge;
use parking_lot::{Condvar, Mutex};
use tokio::net::TcpListener;
use tracing::{info, warn};

use crate::api;
use crate::clock::wall_ms;
use crate::config::{BrokerConfig, millis_i32, millis_i64};
use crate::coordinator::Background;
use crate::coordinator::group::Groups;
use crate::coordinator::group::state::Limits;
use crate::coordinator::txn::Transactions;
use crate::embedded::Embedded;
use crate::error::{CloseError, OpenError, note_owner};
use crate::quorum::Topics;
use crate::server::{self, RequestMemory, Responding};
use crate::storage::StorageOptions;

/// How often storage looks after itself.
const MAINTENANCE_INTERVAL: Duration = Duration::from_millis(250);

/// Maintenance rounds between two looks at sizes.
const GAUGE_ROUNDS: u64 = 40;

/// How often the coordinators look for what has run out.
const COORDINATOR_TICK: Duration = Duration::from_millis(50);

/// How long a close waits for transactions whose end was decided.
const CLOSE_GRACE: Duration = Duration::from_millis(500);

/// The log of this process. Clones are handles to the same one.
#[derive(Clone)]
pub struct Broker {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) config: BrokerConfig,
    pub(crate) topics: Topics,
    pub(crate) groups: Arc<Groups>,
    pub(crate) transactions: Transactions,
    pub(crate) responding: Responding,
    pub(crate) request_memory: RequestMemory,
    /// Connections accepted so far.
    pub(crate) accepted: AtomicU64,
    background: Arc<Background>,
    maintenance: Maintenance,
}

/// Who asks, and how to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestContext {
    /// Number of the connection, in the order in which they were accepted.
    pub connection: u64,
    /// Version of the request.
    pub api_version: i16,
    /// The client's name for itself; empty if it gave none.
    pub client_id: String,
    /// Where the client connects from, as Kafka writes it (`/127.0.0.1`).
    pub client_host: String,
    /// Host at which this client is to reach the broker.
    pub advertised_host: String,
    /// Port at which this client is to reach the broker.
    pub advertised_port: i32,
}

impl Broker {
    /// Opens the data folder: recovers partitions, loads groups and transactions, starts the background threads.
    ///
    /// # Errors
    /// See [`OpenError`]; its text is meant for the user.
    pub fn open(config: BrokerConfig) -> Result<Self, OpenError> {
        config.validate()?;
        let folder = config.data_dir.clone();
        let options = StorageOptions {
            topic_defaults: config.topic_defaults.clone(),
            ring_bytes_max: config.tail_bytes_max,
            ..StorageOptions::default()
        };
        let topics = Topics::open(&folder, options)
            .map_err(|error| OpenError::of_storage(&folder, error))?;
        note_owner(&folder);
        let background = Arc::new(Background::start("log-coordinator").map_err(OpenError::Thread)?);
        let limits = Limits {
            session_timeout_ms_min: millis_i32(config.group_session_timeout_min),
            session_timeout_ms_max: millis_i32(config.group_session_timeout_max),
            initial_rebalance_delay_ms: millis_i64(config.group_initial_rebalance_delay),
            members_max: config.group_members_max,
        };
        let retention_ms = millis_i64(config.offsets_retention);
        let groups = Groups::open(
            topics.clone(),
            Arc::clone(&background),
            limits,
            retention_ms,
        )?;
        let groups = Arc::new(groups);
        let transactions = Transactions::open(
            topics.clone(),
            Arc::clone(&groups),
            Arc::clone(&background),
            millis_i32(config.transaction_timeout_max),
        )?;
        let maintenance = Maintenance::start(topics.clone()).map_err(OpenError::Thread)?;
        let shared = Shared {
            request_memory: RequestMemory::new(config.queued_request_bytes_max),
            accepted: AtomicU64::new(0),
            config,
            topics,
            groups,
            transactions,
            responding: Responding::default(),
            background,
            maintenance,
        };
        let broker = Self {
            shared: Arc::new(shared),
        };
        broker.start_ticking();
        info!(
            folder = %folder.display(),
            last_use = ?broker.shared.topics.start_kind(),
            topics = broker.shared.topics.list().len(),
            "log opened"
        );
        Ok(broker)
    }

    /// The log without a socket: what streams, SQL and Connect of this process use.
    pub fn embedded(&self) -> Embedded {
        Embedded::new(self.clone())
    }

    /// The cluster's id, made with the data folder: what clients see as Kafka's.
    pub fn cluster_id(&self) -> &str {
        self.shared.topics.cluster_id()
    }

    /// What is offline, a line each: the partition and why. Its other partitions serve.
    pub fn offline(&self) -> Vec<String> {
        let offline = self.shared.topics.offline();
        offline.iter().map(ToString::to_string).collect()
    }

    /// Serves Kafka clients until `shutdown` resolves. Several listeners may be served at a time.
    ///
    /// # Errors
    /// None at present; a connection that fails is its own affair.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future) -> io::Result<()> {
        server::serve(self.clone(), listener, shutdown).await
    }

    /// Answers one request. JoinGroup, SyncGroup and Fetch may wait; dropping the future gives up the wait, and what was already
    /// begun on disk still comes to its end.
    pub async fn handle(&self, context: &RequestContext, request: Request) -> Response {
        let shared = &*self.shared;
        match request {
            // The two hot ones are not boxed.
            Request::Produce(request) => {
                api::produce::handle(shared, context, request).await.into()
            }
            Request::Fetch(request) => api::fetch::handle(shared, context, request).await.into(),
            other => Box::pin(api::dispatch(shared, context, other)).await,
        }
    }

    /// Writes everything to disk and marks the folder as closed. Requests that come later fail.
    ///
    /// # Errors
    /// [`CloseError`] if something could not be written; the next start recovers.
    pub async fn close(&self) -> Result<(), CloseError> {
        let shared = Arc::clone(&self.shared);
        let quiet = async { shared.transactions.quiesce().await };
        if tokio::time::timeout(CLOSE_GRACE, quiet).await.is_err() {
            warn!("closing while a transaction is being ended; the next start finishes it");
        }
        let shared = Arc::clone(&self.shared);
        let closed = tokio::task::spawn_blocking(move || {
            shared.background.stop();
            shared.maintenance.stop();
            shared.topics.close()
        });
        match closed.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(CloseError(error.to_string())),
            Err(panicked) => Err(CloseError(panicked.to_string())),
        }
    }

    pub(crate) fn config(&self) -> &BrokerConfig {
        &self.shared.config
    }

    fn start_ticking(&self) {
        let shared = Arc::downgrade(&self.shared);
        self.shared.background.spawn(async move {
            let mut interval = tokio::time::interval(COORDINATOR_TICK);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                interval.tick().await;
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                shared.groups.tick();
                shared.transactions.tick();
            }
        });
    }
}

/// The thread that looks after the storage.
struct Maintenance {
    signal: Arc<(Mutex<bool>, Condvar)>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl Maintenance {
    fn start(topics: Topics) -> io::Result<Self> {
        let signal = Arc::new((Mutex::new(false), Condvar::new()));
        let shared = Arc::clone(&signal);
        let thread = thread::Builder::new()
            .name("log-maintain".to_owned())
            .spawn(move || {
                let (stopped, wake) = &*shared;
                let mut rounds = 0u64;
                loop {
                    let mut stopped = stopped.lock();
                    if !*stopped {
                        wake.wait_for(&mut stopped, MAINTENANCE_INTERVAL);
                    }
                    if *stopped {
                        return;
                    }
                    drop(stopped);
                    topics.maintain(wall_ms());
                    rounds += 1;
                    if rounds % GAUGE_ROUNDS == 1 {
                        measure(&topics);
                    }
                }
            })?;
        Ok(Self {
            signal,
            thread: Mutex::new(Some(thread)),
        })
    }

    fn stop(&self) {
        *self.signal.0.lock() = true;
        self.signal.1.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            // A panic there was reported by its hook.
            let _ = thread.join();
        }
    }
}

/// Tells how much the log holds.
fn measure(topics: &Topics) {
    let (mut partitions, mut bytes) = (0u64, 0u64);
    for topic in topics.list() {
        for partition in topic.all() {
            partitions += 1;
            bytes += partition.size_bytes();
        }
    }
    gauge!("thalweg_log_partitions").set(partitions as f64);
    gauge!("thalweg_log_size_bytes").set(bytes as f64);
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        self.stop();
    }
}
