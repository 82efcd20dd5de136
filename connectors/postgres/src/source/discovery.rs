//! Looks now and then for tables that pass the filters and are not captured yet, because they were made since.
//!
//! Only where the connector keeps the publication to its filters (`publication.autocreate.mode=filtered`): one for all
//! tables sends new ones by itself, and one that somebody else keeps is theirs to change.

use std::time::{Duration, Instant};

use super::Shared;
use super::config::{Autocreate, SnapshotMode};
use super::wire::{Connection, Purpose};

/// A look that takes longer is given up: the stream must not wait for it.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);

/// Looks for new tables.
#[derive(Default)]
pub(super) struct Discovery {
    connection: Option<Connection>,
    looked: Option<Instant>,
}

impl Discovery {
    /// The full names of tables that are new, if it is time to look. A look that fails finds none: the stream itself will tell
    /// of a server that is away.
    pub(super) async fn look(&mut self, shared: &Shared) -> Vec<String> {
        let interval = shared.config.discovery;
        let (Some(interval), Autocreate::Filtered) = (interval, shared.config.autocreate) else {
            return Vec::new();
        };
        // The first start reads everything; a later one leaves what is new to this.
        let last = *self.looked.get_or_insert_with(Instant::now);
        if last.elapsed() < interval {
            return Vec::new();
        }
        self.looked = Some(Instant::now());
        let connection = self.connection.take();
        match tokio::time::timeout(LOOK_TIMEOUT, find(connection, shared)).await {
            Ok(Some((connection, found))) => {
                self.connection = Some(connection);
                found
            }
            Ok(None) | Err(_) => Vec::new(),
        }
    }

    /// Closes its connection.
    pub(super) async fn stop(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.close().await;
        }
    }
}

async fn find(
    connection: Option<Connection>,
    shared: &Shared,
) -> Option<(Connection, Vec<String>)> {
    let config = &shared.config;
    let mut connection = match connection {
        Some(connection) => connection,
        None => Connection::open(&config.address, Purpose::Sql).await.ok()?,
    };
    let server = &shared.server;
    let via_root = server.publishes_via_root(&mut connection, &config.publication);
    let via_root = via_root.await.ok()?;
    let captured = super::captured(&mut connection, config, via_root).await;
    let (tables, _) = captured.ok()?;
    let published = server.published(&mut connection, &config.publication);
    let published = published.await.ok()?;
    let is_published = |schema: &str, name: &str| {
        let mut published = published.iter();
        published.any(|published| published.table.0 == schema && published.table.1 == name)
    };
    let new = tables.iter().filter(|table| {
        config.capture.table(&table.schema, &table.name)
            && !is_published(&table.schema, &table.name)
    });
    let new = new.map(|table| format!("{}.{}", table.schema, table.name));
    let new: Vec<String> = new.collect();
    if new.is_empty() {
        return Some((connection, new));
    }
    let issue = server.publication_issue(&mut connection, config, &tables);
    if let Some(issue) = issue.await.ok()? {
        tracing::warn!(tables = new.join(", "), %issue, "new tables cannot be captured");
        return Some((connection, Vec::new()));
    }
    if config.snapshot_mode == SnapshotMode::NoData {
        // Their changes from here on are all that is wanted.
        let added = server.publication(&mut connection, config, &tables);
        added.await.ok()?;
        tracing::info!(tables = new.join(", "), "captures new tables");
        return Some((connection, Vec::new()));
    }
    Some((connection, new))
}
