//! What a request is answered with: the parts of the broker, and who asks.
//!
//! ```text
//!  broker.rs  builds ──▶ Services ◀── api/, embedded/, server/ use
//! ```
//! Nothing here knows who uses it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::Semaphore;

use crate::access::Access;
use crate::config::BrokerConfig;
use crate::coordinator::Background;
use crate::coordinator::group::Groups;
use crate::coordinator::txn::Transactions;
use crate::memory::{RequestMemory, Responding};
use crate::quorum::Topics;
use crate::security::Principal;
use crate::upkeep::Upkeep;

/// The parts of a broker that is open.
pub(crate) struct Services {
    pub(crate) config: BrokerConfig,
    pub(crate) access: Access,
    pub(crate) topics: Topics,
    pub(crate) groups: Arc<Groups>,
    pub(crate) transactions: Transactions,
    pub(crate) responding: Responding,
    /// Searches for a time that may run at once: each reads a piece of the log, and waits for the disk on a thread of its own.
    pub(crate) searching: Semaphore,
    pub(crate) request_memory: RequestMemory,
    /// Connections accepted so far.
    pub(crate) accepted: AtomicU64,
    pub(crate) background: Arc<Background>,
    pub(crate) upkeep: Upkeep,
}

/// Who asks, what for it is answered with, and how to answer.
#[derive(Clone)]
pub(crate) struct Context {
    /// The parts of the broker.
    pub(crate) services: Arc<Services>,
    /// Whom the connection was authenticated as.
    pub(crate) principal: Principal,
    /// Number of the connection, in the order in which they were accepted.
    pub(crate) connection: u64,
    /// Version of the request.
    pub(crate) api_version: i16,
    /// The client's name for itself; empty if it gave none.
    pub(crate) client_id: String,
    /// Where the client connects from, as Kafka writes it (`/127.0.0.1`).
    pub(crate) client_host: String,
    /// Host at which this client is to reach the broker.
    pub(crate) advertised_host: String,
    /// Port at which this client is to reach the broker.
    pub(crate) advertised_port: i32,
    /// Whether answers may hold parts of files: the connection hands them to its socket.
    pub(crate) sends_files: bool,
}

impl Context {
    /// The address that the client connects from.
    pub(crate) fn host(&self) -> &str {
        self.client_host.trim_start_matches('/')
    }
}
