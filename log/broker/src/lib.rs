//! The log itself: partitions on disk, group and transaction coordinators, and a server that any Kafka client can use.
//!
//! ```text
//!  TCP ──▶ server/ ──────────▶ api/ ─────────┬──▶ partition/ (decides) ──▶ storage/ (executes)
//!  this process ──▶ Embedded ────────────────────┴──▶ coordinator/{group, txn}
//!                                                      quorum/ (topics, configs, ids)
//! ```
//! Broker knows no SQL, no dataflow and no connector.
//!
//! ```no_run
//! use log_broker::{Broker, BrokerConfig};
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = Broker::open(BrokerConfig::in_folder("data"))?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:9092").await?;
//! broker.serve(listener, std::future::pending::<()>()).await?;
//! broker.close().await?;
//! # Ok(())
//! # }
//! ```

mod access;
mod api;
mod authorize;
mod broker;
mod clock;
mod config;
mod coordinator;
mod embedded;
mod error;
mod guard;
mod memory;
mod partition;
mod quorum;
mod security;
mod server;
mod services;
mod storage;
mod topic_config;
mod upkeep;

pub use broker::{Broker, GroupPosition};
pub use config::{
    BrokerConfig, ClientAuth, ConfigError, ListenerConfig, Secret, SecurityConfig,
    SecurityProtocol, TlsConfig, TokenConfig, parse_advertised, parse_listeners,
};
pub use embedded::Embedded;
pub use error::{CloseError, OpenError, ServeError};
pub use guard::{Action, Caller, Guard, NotKnown, Object};
pub use quorum::{InspectedPartition, InspectedTopic, Inspection, inspect};
pub use server::{TlsConnection, TlsSocket};
pub use storage::{SyncObserver, observe_syncs};
