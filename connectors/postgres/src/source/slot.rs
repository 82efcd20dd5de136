//! The replication slot: made, with the snapshot that sees everything before it, and dropped.

use std::time::{Duration, Instant};

use connect_api::ConnectError;

use super::config::SourceConfig;
use super::lsn::Lsn;
use super::unhealthy::failed;
use super::wire::{Connection, Purpose, WireError, quoted, text};

/// How long a slot that is to be dropped may be in use: the server notices late that its reader is gone.
const SLOT_BUSY_MAX: Duration = Duration::from_secs(7);
/// Between attempts at it.
const SLOT_BUSY_LOOK: Duration = Duration::from_millis(100);
/// SQLSTATE.
const OBJECT_IN_USE: &str = "55006";

/// A slot that was just made.
pub(super) struct Made {
    /// Everything that is committed behind it is streamed.
    pub(super) consistent: Lsn,
    /// The snapshot that sees everything before, while the connection lives.
    pub(super) snapshot: Option<String>,
}

/// Makes the slot; `export`: with a snapshot.
pub(super) async fn create_slot(
    connection: &mut Connection,
    slot: &str,
    export: bool,
) -> Result<Made, ConnectError> {
    let snapshot = if export {
        "EXPORT_SNAPSHOT"
    } else {
        "NOEXPORT_SNAPSHOT"
    };
    let rows = connection
        .query(&format!(
            "CREATE_REPLICATION_SLOT {} LOGICAL pgoutput {snapshot}",
            quoted(slot)
        ))
        .await
        .map_err(|error| failed("making the replication slot", error))?;
    let row = rows.first().cloned().unwrap_or_default();
    let consistent = text(&row, 1).parse().map_err(ConnectError::Fatal)?;
    tracing::info!(slot, %consistent, "made the replication slot");
    Ok(Made {
        consistent,
        snapshot: Some(text(&row, 2)).filter(|name| !name.is_empty()),
    })
}

/// Drops the slot once nobody reads it, which is not waited for without end: a server that waits for it (`WAIT`) goes on when
/// nobody asks any more, and drops what may be another reader's by then.
pub(super) async fn drop_slot_with(
    connection: &mut Connection,
    slot: &str,
) -> Result<(), ConnectError> {
    let deadline = Instant::now() + SLOT_BUSY_MAX;
    let statement = format!("DROP_REPLICATION_SLOT {}", quoted(slot));
    loop {
        match connection.query(&statement).await {
            Ok(_) => return Ok(()),
            Err(WireError::Server(error))
                if error.code == OBJECT_IN_USE && Instant::now() < deadline =>
            {
                tokio::time::sleep(SLOT_BUSY_LOOK).await;
            }
            Err(error) => return Err(failed("dropping the replication slot", error)),
        }
    }
}

/// Drops the slot over a connection of its own.
pub(super) async fn drop_slot(config: &SourceConfig) -> Result<(), ConnectError> {
    let mut connection = Connection::open(&config.address, Purpose::Replication)
        .await
        .map_err(|error| failed("dropping the replication slot", error))?;
    drop_slot_with(&mut connection, &config.slot).await
}
