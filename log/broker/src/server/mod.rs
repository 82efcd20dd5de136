//! The TCP shell: accepts connections and owns their tasks.
//!
//! ```text
//! listener ──accept──▶ one task a connection: read frame ▶ decode ▶ api::handle   ▶ encode ▶ write
//!     │                        (connection)                        (api/)
//!     └─ shutdown ──▶ every task is told, waited for, and cut off after a grace
//! ```

mod arrival;
mod connection;
mod listener;
mod outgoing;
mod session;
mod sink;
mod throttle;
mod tls;
mod tls_socket;

pub(crate) use tls::{TlsError, acceptor};
pub use tls_socket::{TlsConnection, TlsSocket};

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{debug, error, warn};

use self::connection::Peer;
use self::listener::Listener;
use crate::config::{BrokerConfig, ListenerConfig};
use crate::services::Services;

/// How long connections may take to finish the request that they work on after a shutdown was asked for.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);

/// Pause after an accept that failed, for example because file descriptors ran out: retrying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Looks whether every listener could serve, before anything is opened.
///
/// # Errors
/// What is wrong with the first that could not.
pub(crate) fn check(config: &BrokerConfig) -> Result<(), String> {
    let mut listeners = config.listeners.iter();
    listeners.try_for_each(|listener| match Listener::of(config, listener) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    })
}

/// Serves `listener` until `shutdown` resolves.
///
/// # Errors
/// If the certificates of the listener cannot be used.
pub(crate) async fn serve(
    services: Arc<Services>,
    config: &ListenerConfig,
    listener: TcpListener,
    shutdown: impl Future,
) -> Result<(), TlsError> {
    let shared = Listener::of(&services.config, config)?;
    let strangers = Arc::new(Semaphore::new(
        services.config.connections_unauthenticated_max,
    ));
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let connections_max = services.config.connections_max;
    let mut full = false;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut shutdown => break,
            Some(ended) = connections.join_next() => {
                if let Err(panicked) = ended {
                    error!(%panicked, "a connection's task ended by a panic");
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) if connections.len() < connections_max => {
                let permit = if shared.has_strangers() {
                    let Ok(permit) = Arc::clone(&strangers).try_acquire_owned() else {
                        let listener = &shared.name;
                        debug!(%peer, listener, "connection refused: too many have not said who they are");
                        continue;
                    };
                    Some(permit)
                } else {
                    None
                };
                full = false;
                let number = 1 + services.accepted.fetch_add(1, Ordering::Relaxed);
                connections.spawn(connection::serve(
                    Arc::clone(&services),
                    Arc::clone(&shared),
                    stream,
                    Peer {
                        address: peer,
                        number,
                    },
                    permit,
                    stopped.clone(),
                ));
            }
            Ok((_, peer)) => {
                // Said once until there is room again: a flood of connections is not to become a flood of lines.
                if !full {
                    warn!(%peer, connections_max, "connection refused: too many of them");
                }
                full = true;
            }
            Err(failed) => {
                warn!(%failed, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    // Nobody listens any more if there is no connection.
    let _ = stop.send(true);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_GRACE, all_ended)
        .await
        .is_err()
    {
        connections.shutdown().await;
    }
    Ok(())
}
