//! Everything that keeps a configuration from working at a server, and a connector from going on there: asked before either starts.

use std::time::Duration;

use connect_api::{ConfigMap, ConnectError, SourceOffsets};

use super::config::{SnapshotMode, SourceConfig};
use super::health::{self, Server};
use super::offset::Offset;
use super::plan::{self, Refusal, Slot};
use super::wire::{Connection, Purpose};
use super::{captured, check_keys, connect, refused, stored_offset};

/// `validate` has ten seconds in all.
pub(super) const VALIDATE_TIMEOUT: Duration = Duration::from_secs(9);

/// That the server said nothing in time.
pub(super) fn unanswered() -> ConnectError {
    ConnectError::Transient(format!(
        "the server did not answer within {} s",
        VALIDATE_TIMEOUT.as_secs()
    ))
}

/// The key at which a database that was not reached is told: a host that refuses is there, and nobody listens at the port.
pub(super) fn unreached_key(config: &ConfigMap, message: &str) -> &'static str {
    let refused = message.contains("Connection refused");
    match refused && config.contains_key("database.port") {
        true => "database.port",
        false => "database.hostname",
    }
}

/// Everything that keeps a configuration from working at this server; changes nothing there.
pub(super) async fn check(map: &ConfigMap, stored: &SourceOffsets) -> Vec<ConnectError> {
    let mut issues = Vec::new();
    if let Err(error) = look(map, stored, &mut issues).await {
        issues.push(error);
    }
    issues
}

/// Collects what is wrong; an error is what keeps from looking on.
async fn look(
    map: &ConfigMap,
    stored: &SourceOffsets,
    issues: &mut Vec<ConnectError>,
) -> Result<(), ConnectError> {
    let config = SourceConfig::parse(map)?;
    let stored = stored_offset(&config, stored)?;
    let (mut sql, server) = connect(&config).await?;
    let (captured, existing) = captured(&mut sql, &config, config.via_root).await?;
    let tables = health::check_tables(&captured, existing, &config);
    issues.extend(tables.err().map(ConnectError::from));
    issues.extend(check_keys(&mut sql, &config, &captured).await.err());
    if config.snapshot_mode != SnapshotMode::NoData {
        let unreadable = server.unreadable(&mut sql, &captured).await?;
        issues.extend(unreadable.into_iter().map(ConnectError::from));
    }
    if config.snapshot_mode == SnapshotMode::InitialOnly {
        return Ok(());
    }
    let publication = server
        .publication_issue(&mut sql, &config, &captured)
        .await?;
    issues.extend(publication.map(ConnectError::from));
    match server.slot(&mut sql, &config.slot).await {
        Ok(slot) => {
            issues.extend(cannot_go_on(&mut sql, &server, &config, stored.as_ref(), &slot).await?)
        }
        Err(error) => issues.push(error),
    }
    if let Err(error) = server.can_stream() {
        issues.push(error.into());
        return Ok(());
    }
    let mut replication = Connection::open(&config.address, Purpose::Replication)
        .await
        .map_err(|error| server.no_replication(error))?;
    let origin = health::identify(&mut replication)
        .await
        .map_err(|error| server.no_replication(error))?;
    let stored = stored.as_ref().and_then(|stored| stored.origin.as_ref());
    issues.extend(
        health::check_origin(stored, &origin)
            .err()
            .map(ConnectError::from),
    );
    Ok(())
}

/// Why a start would fail at this offset and slot.
async fn cannot_go_on(
    sql: &mut Connection,
    server: &Server,
    config: &SourceConfig,
    stored: Option<&Offset>,
    slot: &Slot,
) -> Result<Option<ConnectError>, ConnectError> {
    let plan = plan::plan(config.snapshot_mode, config.mismatch, stored, slot);
    let Err(refusal) = plan else {
        return Ok(None);
    };
    // The slot of a connector that runs moves while the offset is looked at.
    let is_behind = matches!(refusal, Refusal::OffsetBehind { .. });
    if is_behind && server.slot_holder(sql, &config.slot).await?.is_some() {
        return Ok(None);
    }
    Ok(Some(refused(config, stored, refusal)))
}
