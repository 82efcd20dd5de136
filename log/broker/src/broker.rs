//! The broker: opens everything, serves it, closes everything.
//!
//! ```text
//!  Broker (clones share)
//!    ├─ Topics ── partitions, files          thread log-maintain: every 250 ms retention, compaction, interval syncs
//!    ├─ Groups, Transactions                 thread log-coordinator: timeouts, and ends that outlive their connection
//!    └─ serve ─▶ server/ ─▶ api::handle(context, request) -> response
//! ```

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use log_api::TopicPartition;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::access::{self, Access};
use crate::config::{BrokerConfig, millis_i32, millis_i64};
use crate::coordinator::Background;
use crate::coordinator::group::Groups;
use crate::coordinator::group::state::Limits;
use crate::coordinator::txn::Transactions;
use crate::embedded::Embedded;
use crate::error::{CloseError, OpenError, ServeError, note_owner};
use crate::guard::Guard;
use crate::memory::{RequestMemory, Responding};
use crate::quorum::Topics;
use crate::server::{self, TlsSocket};
use crate::services::Services;
use crate::storage::{self, StorageOptions};
use crate::upkeep::Upkeep;

/// Searches for a time that run at once.
const SEARCHES_MAX: usize = 4;

/// How often the coordinators look for what has run out.
const COORDINATOR_TICK: Duration = Duration::from_millis(50);

/// How long a close waits for transactions whose end was decided.
const CLOSE_GRACE: Duration = Duration::from_millis(500);

/// The log of this process. Clones are handles to the same one.
#[derive(Clone)]
pub struct Broker {
    pub(crate) services: Arc<Services>,
}

/// How far a consumer group is in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPosition {
    /// The group.
    pub group: String,
    /// The partition.
    pub partition: TopicPartition,
    /// The offset that it has committed: of the record that it reads next.
    pub committed: i64,
    /// The partition's high watermark.
    pub end: i64,
}

impl Broker {
    /// Opens the data folder: recovers partitions, loads groups and transactions, starts the background threads.
    ///
    /// # Errors
    /// See [`OpenError`]; its text is meant for the user.
    pub fn open(config: BrokerConfig) -> Result<Self, OpenError> {
        config.validate()?;
        server::check(&config).map_err(OpenError::Listener)?;
        let tokens = access::tokens(&config.security.tokens).map_err(OpenError::Listener)?;
        let folder = config.data_dir.clone();
        let options = StorageOptions {
            topic_defaults: config.topic_defaults.clone(),
            ring_bytes_max: config.tail_bytes_max,
            ..StorageOptions::default()
        };
        let topics = Topics::open(&folder, options)
            .map_err(|error| OpenError::of_storage(&folder, error))?;
        note_owner(&folder);
        let secret =
            storage::secret(&folder).map_err(|error| OpenError::of_storage(&folder, error))?;
        let access = Access::of(&config, tokens, secret);
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
        topics
            .mark_running()
            .map_err(|error| OpenError::of_storage(&folder, error))?;
        let upkeep = Upkeep::start(topics.clone()).map_err(OpenError::Thread)?;
        let services = Services {
            access,
            request_memory: RequestMemory::new(config.queued_request_bytes_max),
            accepted: AtomicU64::new(0),
            config,
            topics,
            groups,
            transactions,
            responding: Responding::default(),
            searching: Semaphore::new(SEARCHES_MAX),
            background,
            upkeep,
        };
        let broker = Self {
            services: Arc::new(services),
        };
        broker.start_ticking();
        info!(
            folder = %folder.display(),
            last_use = ?broker.services.topics.start_kind(),
            topics = broker.services.topics.list().len(),
            "log opened"
        );
        Ok(broker)
    }

    /// The log without a socket: what streams, SQL and Connect of this process use.
    pub fn embedded(&self) -> Embedded {
        Embedded::new(Arc::clone(&self.services))
    }

    /// The cluster's id, made with the data folder: what clients see as Kafka's.
    pub fn cluster_id(&self) -> &str {
        self.services.topics.cluster_id()
    }

    /// What is offline or holds damaged records, a line each: the partition and why. Its other partitions serve.
    pub fn offline(&self) -> Vec<String> {
        let offline = self.services.topics.offline();
        offline.iter().map(ToString::to_string).collect()
    }

    /// How far consumer groups are, by group and partition; at most `max` places of those that there are.
    pub fn group_positions(&self, max: usize) -> Vec<GroupPosition> {
        let committed = self.services.groups.committed(max);
        let mut positions: Vec<GroupPosition> = committed
            .into_iter()
            .filter_map(|(group, at, committed)| {
                let topic = self.services.topics.get(&at.topic)?;
                let partition = topic.partition(at.partition)?;
                Some(GroupPosition {
                    group,
                    committed,
                    end: partition.high_watermark(),
                    partition: at,
                })
            })
            .collect();
        positions.sort_by(|a, b| (&a.group, &a.partition).cmp(&(&b.group, &b.partition)));
        positions
    }

    /// Who callers of what is served beside the log are, and what they may do.
    pub fn guard(&self) -> Guard {
        Guard::new(Arc::clone(&self.services))
    }

    /// Accepts connections over TLS with the certificates of the configuration, for what is served beside the log. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`ServeError::Tls`] if the certificates cannot be used.
    pub fn tls_socket(&self, socket: TcpListener) -> Result<TlsSocket, ServeError> {
        let acceptor = server::acceptor(&self.services.config.security.tls);
        let acceptor = acceptor.map_err(|error| ServeError::Tls(error.to_string()))?;
        TlsSocket::new(socket, acceptor).map_err(|error| ServeError::Tls(error.to_string()))
    }

    /// Serves Kafka clients until `shutdown` resolves, as the first listener of the configuration.
    ///
    /// # Errors
    /// See [`Broker::serve_as`].
    pub async fn serve(
        &self,
        socket: TcpListener,
        shutdown: impl Future,
    ) -> Result<(), ServeError> {
        let listeners = &self.services.config.listeners;
        let first = listeners.first().ok_or(ServeError::NoListener)?;
        self.serve_as(&first.name, socket, shutdown).await
    }

    /// Serves Kafka clients until `shutdown` resolves, as the listener of this name. Several may be served at a time.
    ///
    /// # Errors
    /// [`ServeError`] if there is no such listener, or its certificates cannot be used. A connection that fails is its own affair.
    pub async fn serve_as(
        &self,
        name: &str,
        socket: TcpListener,
        shutdown: impl Future,
    ) -> Result<(), ServeError> {
        let mut listeners = self.services.config.listeners.iter();
        let listener = listeners
            .find(|listener| listener.name == name)
            .ok_or_else(|| ServeError::UnknownListener(name.to_owned()))?;
        let services = Arc::clone(&self.services);
        server::serve(services, listener, socket, shutdown)
            .await
            .map_err(|error| ServeError::Tls(error.to_string()))
    }

    /// Writes everything to disk and marks the folder as closed. Requests that come later fail.
    ///
    /// # Errors
    /// [`CloseError`] if something could not be written; the next start recovers.
    pub async fn close(&self) -> Result<(), CloseError> {
        let services = Arc::clone(&self.services);
        let quiet = async { services.transactions.quiesce().await };
        if tokio::time::timeout(CLOSE_GRACE, quiet).await.is_err() {
            warn!("closing while a transaction is being ended; the next start finishes it");
        }
        let services = Arc::clone(&self.services);
        let closed = tokio::task::spawn_blocking(move || {
            services.background.stop();
            services.upkeep.stop();
            services.topics.close()
        });
        match closed.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(CloseError(error.to_string())),
            Err(panicked) => Err(CloseError(panicked.to_string())),
        }
    }

    fn start_ticking(&self) {
        let services = Arc::downgrade(&self.services);
        self.services.background.spawn(async move {
            let mut interval = tokio::time::interval(COORDINATOR_TICK);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                interval.tick().await;
                let Some(services) = services.upgrade() else {
                    return;
                };
                services.groups.tick();
                services.transactions.tick();
            }
        });
    }
}
