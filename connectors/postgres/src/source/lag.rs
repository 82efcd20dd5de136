//! How far the slot is behind the end of the server's log, and when that becomes a danger: the server keeps everything
//! that the slot has not confirmed, until its disk is full or `max_slot_wal_keep_size` is reached and the slot is lost.

use std::time::{Duration, Instant};

use super::Shared;
use super::config::LagLimits;
use super::gone::Gone;
use super::hazards::hazards;
use super::wire::{Connection, Purpose, WireError, literal, text};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A look that takes longer is given up: the stream must not wait for it.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);

/// What a look found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lag {
    /// From what is confirmed to the end of the log.
    pub(super) confirmed_bytes: i64,
    /// What the server keeps for the slot.
    pub(super) kept_bytes: i64,
    /// `wal_status`: reserved, extended, unreserved, lost; empty where the server does not tell.
    pub(super) status: String,
    /// What may still be written before the slot may be lost; `None` without a limit.
    pub(super) safe_bytes: Option<i64>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    #[default]
    Fine,
    /// Somebody should look.
    Warning,
    /// The slot, or the server's disk, is in danger.
    Critical,
}

impl Lag {
    /// PURE: how bad it is.
    pub(super) fn level(&self, limits: LagLimits) -> Level {
        // Less than a fifth of the room is left.
        let nearly = self
            .safe_bytes
            .is_some_and(|safe| safe.saturating_mul(4) < self.kept_bytes);
        let beyond = |limit: i64| limit > 0 && self.kept_bytes > limit;
        if matches!(self.status.as_str(), "unreserved" | "lost") || beyond(limits.critical_bytes) {
            Level::Critical
        } else if nearly || beyond(limits.warn_bytes) {
            Level::Warning
        } else {
            Level::Fine
        }
    }
}

/// Looks now and then.
#[derive(Default)]
pub(super) struct Watch {
    connection: Option<Connection>,
    looked: Option<Instant>,
    found: Option<Lag>,
    level: Level,
    gone: Gone,
    /// What the captured tables cost, as the last look found them.
    hazards: Option<Vec<String>>,
}

impl Watch {
    /// What the last look found.
    pub(super) fn found(&self) -> Option<&Lag> {
        self.found.as_ref()
    }

    /// What became of tables, and what they cost, a sentence each.
    pub(super) fn notes(&self) -> Vec<String> {
        let hazards = self.hazards.iter().flatten().cloned();
        self.gone.notes().into_iter().chain(hazards).collect()
    }

    /// Looks, if it is time, and says what became worse. A look that fails changes nothing: the stream itself will tell
    /// of a server that is away.
    pub(super) async fn look(&mut self, shared: &Shared) {
        let due = self.looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY);
        if !due {
            return;
        }
        self.looked = Some(Instant::now());
        let connection = self.connection.take();
        let asked = tokio::time::timeout(LOOK_TIMEOUT, ask(connection, shared)).await;
        let Ok(Ok((mut connection, lag))) = asked else {
            return;
        };
        if let Some(lag) = &lag {
            self.tell(lag, shared);
        }
        self.found = lag;
        let looked = self.gone.look(&mut connection, shared);
        // One whose answer did not come in time would give it to the next question.
        if let Ok(Some(tables)) = tokio::time::timeout(LOOK_TIMEOUT, looked).await {
            self.connection = Some(connection);
            self.weigh(hazards(&tables));
        }
    }

    /// Tells of what is new; the start told of what there was.
    fn weigh(&mut self, found: Vec<String>) {
        let before = self.hazards.replace(found);
        let (Some(before), Some(found)) = (before, &self.hazards) else {
            return;
        };
        for hazard in found.iter().filter(|hazard| !before.contains(hazard)) {
            tracing::warn!("{hazard}");
        }
    }

    fn tell(&mut self, lag: &Lag, shared: &Shared) {
        let level = lag.level(shared.config.lag);
        let before = std::mem::replace(&mut self.level, level);
        if level == before {
            return;
        }
        let slot = shared.config.slot.as_str();
        let (kept_bytes, safe_bytes) = (lag.kept_bytes, lag.safe_bytes);
        match level {
            Level::Fine => tracing::info!(
                slot,
                kept_bytes,
                "the slot is near the end of the log again"
            ),
            Level::Warning => tracing::warn!(
                slot,
                kept_bytes,
                safe_bytes,
                "the server keeps much of its log for the slot: watch its disk, and whether this connector keeps up"
            ),
            Level::Critical => tracing::error!(
                slot,
                kept_bytes,
                safe_bytes,
                status = lag.status,
                "the slot is about to be lost, or to fill the server's disk: raise max_slot_wal_keep_size or make room; \
                 should the connector be gone for good, run SELECT pg_drop_replication_slot"
            ),
        }
    }

    /// Closes its connection.
    pub(super) async fn stop(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.close().await;
        }
    }
}

async fn ask(
    connection: Option<Connection>,
    shared: &Shared,
) -> Result<(Connection, Option<Lag>), WireError> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => Connection::open(&shared.config.address, Purpose::Sql).await?,
    };
    let (status, safe) = match shared.server.tells_wal_status() {
        true => ("coalesce(s.wal_status, '')", "s.safe_wal_size"),
        false => ("''", "NULL"),
    };
    let rows = connection
        .query(&format!(
            "SELECT pg_wal_lsn_diff(e.lsn, s.confirmed_flush_lsn)::bigint, pg_wal_lsn_diff(e.lsn, s.restart_lsn)::bigint, \
             {status}, {safe} FROM pg_replication_slots s, (SELECT CASE WHEN pg_is_in_recovery() \
             THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END AS lsn) e WHERE s.slot_name = {}",
            literal(&shared.config.slot)
        ))
        .await?;
    let lag = rows.first().map(|row| Lag {
        confirmed_bytes: text(row, 0).parse().unwrap_or(0),
        kept_bytes: text(row, 1).parse().unwrap_or(0),
        status: text(row, 2),
        safe_bytes: text(row, 3).parse().ok(),
    });
    Ok((connection, lag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_bad_a_lag_is() {
        let limits = LagLimits {
            warn_bytes: 100,
            critical_bytes: 1000,
        };
        let level = |kept_bytes, status: &str, safe_bytes, limits| {
            let lag = Lag {
                confirmed_bytes: 0,
                kept_bytes,
                status: status.to_owned(),
                safe_bytes,
            };
            lag.level(limits)
        };
        assert_eq!(level(100, "reserved", None, limits), Level::Fine);
        assert_eq!(level(101, "reserved", None, limits), Level::Warning);
        assert_eq!(level(1001, "extended", None, limits), Level::Critical);
        assert_eq!(level(50, "extended", Some(13), limits), Level::Fine);
        assert_eq!(level(50, "extended", Some(12), limits), Level::Warning);
        assert_eq!(level(1, "unreserved", Some(-5), limits), Level::Critical);
        let none = LagLimits {
            warn_bytes: 0,
            critical_bytes: 0,
        };
        assert_eq!(level(i64::MAX, "", None, none), Level::Fine);
    }
}
