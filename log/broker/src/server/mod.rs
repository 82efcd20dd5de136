//! The TCP shell: accepts connections and owns their tasks.
//!
//! ```text
//! listener ──accept──▶ one task a connection: read frame ▶ decode ▶ api::handle   ▶ encode ▶ write
//!     │                        (connection)                        (api/)
//!     └─ shutdown ──▶ every task is told, waited for, and cut off after a grace
//! ```

mod connection;
mod outgoing;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, warn};

use self::connection::Peer;
use crate::services::Services;

/// How long connections may take to finish the request that they work on after a shutdown was asked for.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);

/// Pause after an accept that failed, for example because file descriptors ran out: retrying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `listener` until `shutdown` resolves.
pub(crate) async fn serve(
    services: Arc<Services>,
    listener: TcpListener,
    shutdown: impl Future,
) -> io::Result<()> {
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
                full = false;
                let number = 1 + services.accepted.fetch_add(1, Ordering::Relaxed);
                connections.spawn(connection::serve(
                    Arc::clone(&services),
                    stream,
                    Peer {
                        address: peer,
                        number,
                    },
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
