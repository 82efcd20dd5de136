//! What goes with the object at the server: its slot and its publication, if it has them for itself.

use std::time::Duration;

use connect_api::{ConfigMap, ConnectError};

use super::is_own;
use crate::source::check::{VALIDATE_TIMEOUT, unanswered};
use crate::source::config::SourceConfig;
use crate::source::plan::Slot;
use crate::source::slot;
use crate::source::wire::{literal, quoted};
use crate::source::{connect, failed};

/// How long dropping a publication waits for others.
const LOCK_MAX: Duration = Duration::from_secs(5);

/// Drops slot and publication that the object has for itself, and says what is left.
pub(in crate::source) async fn remove(map: &ConfigMap) -> Vec<String> {
    let Ok(config) = SourceConfig::parse(map) else {
        return Vec::new();
    };
    let mut left = Vec::new();
    let (slot, publication) = (&config.slot, &config.publication);
    if let Err(why) = within(drop_slot(&config, is_own(map, slot))).await {
        left.push(format!(
            "slot {slot} is left at the server, which keeps its log for it ({why}): run SELECT \
             pg_drop_replication_slot('{slot}'); there"
        ));
    }
    if let Err(why) = within(drop_publication(&config, is_own(map, publication))).await {
        left.push(format!(
            "publication {publication} is left at the server ({why}): run DROP PUBLICATION {}; there",
            quoted(publication)
        ));
    }
    left
}

async fn within(
    dropped: impl Future<Output = Result<(), ConnectError>>,
) -> Result<(), ConnectError> {
    let dropped = tokio::time::timeout(VALIDATE_TIMEOUT, dropped).await;
    dropped.unwrap_or_else(|_| Err(unanswered()))
}

/// Why something that is there is left.
fn chosen() -> ConnectError {
    ConnectError::Fatal("its name was chosen, so that others may use it".to_owned())
}

async fn drop_slot(config: &SourceConfig, own: bool) -> Result<(), ConnectError> {
    let (mut sql, server) = connect(config).await?;
    match server.slot(&mut sql, &config.slot).await? {
        Slot::Missing => Ok(()),
        Slot::Usable(_) | Slot::Lost(_) if own => slot::drop_slot(config).await,
        Slot::Usable(_) | Slot::Lost(_) => Err(chosen()),
    }
}

async fn drop_publication(config: &SourceConfig, own: bool) -> Result<(), ConnectError> {
    let (mut sql, _) = connect(config).await?;
    let failed = |error| failed("dropping the publication", error);
    let name = &config.publication;
    let there = format!(
        "SELECT 1 FROM pg_publication WHERE pubname = {}",
        literal(name)
    );
    if sql.query(&there).await.map_err(failed)?.is_empty() {
        return Ok(());
    }
    if !own {
        return Err(chosen());
    }
    // Nothing waits at the server when nobody waits here any more.
    let wait = format!("SET lock_timeout = '{} s'", LOCK_MAX.as_secs());
    sql.query(&wait).await.map_err(failed)?;
    let statement = format!("DROP PUBLICATION IF EXISTS {}", quoted(name));
    sql.query(&statement).await.map(drop).map_err(failed)
}
