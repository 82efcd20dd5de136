//! What the server is, and what of it has to be right before anything is read.

use std::time::Duration;

use connect_api::ConnectError;

use super::catalog::TableEntry;
use super::config::SourceConfig;
use super::hazards::hazards;
use super::offset::Origin;
use super::pgoutput::Identity;
use super::plan::Slot;
use super::unhealthy::{Unhealthy, failed};
use super::wire::{Connection, WireError, literal, quoted, text};

/// PostgreSQL 14: logical messages in pgoutput, and protocol 2.
const VERSION_MESSAGES: u32 = 140_000;
/// PostgreSQL 10: pgoutput.
const VERSION_MIN: u32 = 100_000;
/// PostgreSQL 13: `wal_status` of a slot.
const VERSION_WAL_STATUS: u32 = 130_000;
/// A slot that may idle for less than this may be lost over a weekend.
const IDLE_MIN: Duration = Duration::from_secs(3 * 86_400);
/// PostgreSQL 17: why a slot is invalid.
const VERSION_INVALIDATION: u32 = 170_000;

/// What the server is.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) version: u32,
    wal_level: String,
    /// `wal_sender_timeout`; zero for none.
    pub(super) patience: Duration,
    pub(super) user: String,
    pub(super) database: String,
    /// `max_slot_wal_keep_size` in MB, -1 for no limit.
    slot_wal_mb: i64,
    /// `idle_replication_slot_timeout`; zero for none.
    slot_idle: Duration,
}

impl Server {
    /// Asks.
    pub(super) async fn ask(connection: &mut Connection) -> Result<Self, ConnectError> {
        let rows = connection
            .query(
                "SELECT current_setting('server_version_num'), current_setting('wal_level'), \
                 (SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout'), current_user, \
                 current_database(), \
                 (SELECT setting FROM pg_settings WHERE name = 'max_slot_wal_keep_size'), \
                 (SELECT setting FROM pg_settings WHERE name = 'idle_replication_slot_timeout')",
            )
            .await
            .map_err(|error| failed("asking the server what it is", error))?;
        let row = rows.first().cloned().unwrap_or_default();
        let patience = text(&row, 2).parse().unwrap_or(0);
        let server = Self {
            version: text(&row, 0).parse().unwrap_or(0),
            wal_level: text(&row, 1),
            patience: Duration::from_millis(patience),
            user: text(&row, 3),
            database: text(&row, 4),
            slot_wal_mb: text(&row, 5).parse().unwrap_or(-1),
            slot_idle: Duration::from_secs(text(&row, 6).parse().unwrap_or(0)),
        };
        if server.version < VERSION_MIN {
            return Err(Unhealthy::Version {
                found: text(&row, 0),
            }
            .into());
        }
        Ok(server)
    }

    /// Whether it can stream at all.
    pub(super) fn can_stream(&self) -> Result<(), Unhealthy> {
        if self.wal_level == "logical" {
            Ok(())
        } else {
            Err(Unhealthy::WalLevel {
                found: self.wal_level.clone(),
            })
        }
    }

    /// Says what may cost the slot later.
    pub(super) fn warn_of_limits(&self, slot: &str) {
        if self.slot_wal_mb >= 0 {
            tracing::warn!(
                slot,
                limit_mb = self.slot_wal_mb,
                "max_slot_wal_keep_size is set: once this connector is further behind, its slot is lost and all tables \
                 have to be read again"
            );
        }
        if !self.slot_idle.is_zero() && self.slot_idle < IDLE_MIN {
            tracing::warn!(
                slot,
                timeout_s = self.slot_idle.as_secs(),
                "idle_replication_slot_timeout is set: once this connector is stopped for longer, its slot is lost and \
                 all tables have to be read again"
            );
        }
    }

    /// Whether pgoutput takes the option `messages`.
    pub(super) fn knows_messages(&self) -> bool {
        self.version >= VERSION_MESSAGES
    }

    /// Whether pgoutput streams transactions before they end (protocol 2).
    pub(super) fn streams_open(&self) -> bool {
        self.version >= VERSION_MESSAGES
    }

    /// The error of a table that may not be read.
    pub(super) fn no_select(&self, schema: &str, table: &str) -> ConnectError {
        Unhealthy::NoSelect {
            user: quoted(&self.user),
            schema: quoted(schema),
            table: format!("{}.{}", quoted(schema), quoted(table)),
        }
        .into()
    }

    /// The error of a connection for replication that was refused.
    pub(super) fn no_replication(&self, error: WireError) -> ConnectError {
        match error {
            WireError::Server(error) if error.code == "42501" => Unhealthy::NoReplication {
                user: quoted(&self.user),
                reason: error.to_string(),
            }
            .into(),
            WireError::Server(error)
                if error.message.contains("startup parameter") || error.code == "42601" =>
            {
                Unhealthy::Pooler(error.to_string()).into()
            }
            WireError::Server(error) if error.message.contains("pg_hba.conf") => {
                let advice = format!(
                    "connecting for replication: {error}; add a line for user {} and database {} to pg_hba.conf",
                    self.user, self.database
                );
                ConnectError::config("database.user", advice)
            }
            other => failed("connecting for replication", other),
        }
    }

    /// The slot of this name.
    pub(super) async fn slot(
        &self,
        connection: &mut Connection,
        name: &str,
    ) -> Result<Slot, ConnectError> {
        let status = if self.version >= VERSION_WAL_STATUS {
            "s.wal_status"
        } else {
            "NULL"
        };
        let reason = if self.version >= VERSION_INVALIDATION {
            "s.invalidation_reason"
        } else {
            "NULL"
        };
        let rows = connection
            .query(&format!(
                "SELECT s.slot_type, s.plugin, s.database, s.confirmed_flush_lsn, {status}, {reason} \
                 FROM pg_replication_slots s WHERE s.slot_name = {}",
                literal(name)
            ))
            .await
            .map_err(|error| failed("looking for the replication slot", error))?;
        let Some(row) = rows.first() else {
            return Ok(Slot::Missing);
        };
        let (kind, plugin, database) = (text(row, 0), text(row, 1), text(row, 2));
        if kind != "logical" || plugin != "pgoutput" || database != self.database {
            let found =
                format!("{kind} replication with plugin \"{plugin}\" in database \"{database}\"");
            return Err(Unhealthy::SlotForeign {
                slot: name.to_owned(),
                found,
                database: self.database.clone(),
            }
            .into());
        }
        let (status, reason) = (text(row, 4), text(row, 5));
        if status == "lost" || !reason.is_empty() {
            let why = if reason.is_empty() { status } else { reason };
            return Ok(Slot::Lost(why));
        }
        match text(row, 3).parse() {
            Ok(confirmed) => Ok(Slot::Usable(confirmed)),
            // A slot whose creation was interrupted has no position yet.
            Err(_) => Ok(Slot::Lost("it was never finished".to_owned())),
        }
    }

    /// Who holds the slot.
    pub(super) async fn slot_holder(
        &self,
        connection: &mut Connection,
        slot: &str,
    ) -> Result<Option<Unhealthy>, ConnectError> {
        let rows = connection
            .query(&format!(
                "SELECT s.active_pid, coalesce(a.application_name, ''), coalesce(host(a.client_addr), 'local') \
                 FROM pg_replication_slots s LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid \
                 WHERE s.slot_name = {} AND s.active_pid IS NOT NULL",
                literal(slot)
            ))
            .await
            .map_err(|error| failed("looking for the replication slot", error))?;
        Ok(rows.first().map(|row| Unhealthy::SlotActive {
            slot: slot.to_owned(),
            pid: text(row, 0),
            client: format!("{} at {}", text(row, 1), text(row, 2)),
        }))
    }

    /// The tables that the user may not read.
    pub(super) async fn unreadable(
        &self,
        connection: &mut Connection,
        captured: &[TableEntry],
    ) -> Result<Vec<Unhealthy>, ConnectError> {
        let readable = "has_schema_privilege(c.relnamespace, 'USAGE') AND (has_table_privilege(c.oid, 'SELECT') \
                        OR has_any_column_privilege(c.oid, 'SELECT'))";
        let lacking = self.lacking(connection, captured, readable).await?;
        let issue = |table: &TableEntry| Unhealthy::NoSelect {
            user: quoted(&self.user),
            schema: quoted(&table.schema),
            table: shown(table),
        };
        let unreadable = captured
            .iter()
            .filter(|table| lacking.contains(&shown(table)));
        Ok(unreadable.map(issue).collect())
    }

    /// The tables for which a right, as a condition on `pg_class c`, is not there.
    pub(super) async fn lacking(
        &self,
        connection: &mut Connection,
        captured: &[TableEntry],
        right: &str,
    ) -> Result<Vec<String>, ConnectError> {
        if captured.is_empty() {
            return Ok(Vec::new());
        }
        let oids: Vec<String> = captured.iter().map(|table| table.oid.to_string()).collect();
        let rows = connection
            .query(&format!(
                "SELECT c.oid FROM pg_class c WHERE c.oid IN ({}) AND NOT ({right})",
                oids.join(", ")
            ))
            .await
            .map_err(|error| failed("looking for rights to tables", error))?;
        let lacks =
            |table: &&TableEntry| rows.iter().any(|row| text(row, 0) == table.oid.to_string());
        Ok(captured.iter().filter(lacks).map(shown).collect())
    }

    /// Whether the server tells `wal_status` and `safe_wal_size` of slots.
    pub(super) fn tells_wal_status(&self) -> bool {
        self.version >= VERSION_WAL_STATUS
    }

    /// The error of a stream that ended.
    pub(super) fn stream_failed(&self, config: &SourceConfig, error: WireError) -> ConnectError {
        match error {
            WireError::Server(error)
                if error.code == "42704" && error.message.contains("publication") =>
            {
                Unhealthy::PublicationYounger {
                    slot: config.slot.clone(),
                    publication: config.publication.clone(),
                    literal: literal(&config.slot),
                }
                .into()
            }
            other => failed("streaming the write-ahead log", other),
        }
    }
}

/// A table as SQL names it.
pub(super) fn shown(table: &TableEntry) -> String {
    format!("{}.{}", quoted(&table.schema), quoted(&table.name))
}

/// Whether captured tables can be captured. Tables without a key are told of: their updates and deletes fail.
///
/// The signal table is among the tables, and is captured only where the filters take it.
pub(super) fn check_tables(
    captured: &[TableEntry],
    existing: usize,
    config: &SourceConfig,
) -> Result<(), Unhealthy> {
    let takes = |table: &TableEntry| config.capture.table(&table.schema, &table.name);
    if config.is_filtered() && !captured.iter().any(takes) {
        return Err(Unhealthy::NoTables { existing });
    }
    let is_signals = |table: &TableEntry| config.is_signals(&table.schema, &table.name);
    if let Some((schema, name)) = &config.signals
        && !captured.iter().any(is_signals)
    {
        return Err(Unhealthy::SignalsMissing {
            table: format!("{}.{}", quoted(schema), quoted(name)),
        });
    }
    for table in captured {
        if table.identity == Identity::Nothing {
            let table = shown(table);
            return Err(Unhealthy::IdentityNothing { table });
        }
    }
    for hazard in hazards(captured) {
        tracing::warn!("{hazard}");
    }
    Ok(())
}

/// Which server this is.
pub(super) async fn identify(connection: &mut Connection) -> Result<Origin, WireError> {
    let rows = connection.query("IDENTIFY_SYSTEM").await?;
    let row = rows.first().cloned().unwrap_or_default();
    Ok(Origin {
        system: text(&row, 0),
        timeline: text(&row, 1),
    })
}

/// Whether a stored offset belongs to this server.
pub(super) fn check_origin(stored: Option<&Origin>, found: &Origin) -> Result<(), Unhealthy> {
    match stored {
        Some(stored) if stored.system != found.system => Err(Unhealthy::OtherSystem {
            stored: stored.system.clone(),
            found: found.system.clone(),
        }),
        Some(stored) if !stored.timeline.is_empty() && stored.timeline != found.timeline => {
            Err(Unhealthy::OtherTimeline {
                stored: stored.timeline.clone(),
                found: found.timeline.clone(),
            })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_of_other_servers_are_refused() {
        let origin = |system: &str, timeline: &str| Origin {
            system: system.to_owned(),
            timeline: timeline.to_owned(),
        };
        let here = origin("7", "2");
        assert_eq!(check_origin(None, &here), Ok(()));
        assert_eq!(check_origin(Some(&origin("7", "2")), &here), Ok(()));
        assert_eq!(check_origin(Some(&origin("7", "")), &here), Ok(()));
        let error: ConnectError = check_origin(Some(&origin("8", "2")), &here)
            .unwrap_err()
            .into();
        assert!(error.to_string().contains("[other-system]"), "{error}");
        let error: ConnectError = check_origin(Some(&origin("7", "1")), &here)
            .unwrap_err()
            .into();
        assert!(error.to_string().contains("[other-timeline]"), "{error}");
    }

    #[test]
    fn the_signal_table_is_there_and_no_captured_one() {
        let config = SourceConfig::parse(
            &[
                ("database.hostname", "h"),
                ("database.user", "u"),
                ("database.dbname", "d"),
                ("topic.prefix", "p"),
                ("table.include.list", "public.t"),
                ("signal.data.collection", "public.signals"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        )
        .unwrap();
        let table = |name: &str| TableEntry {
            oid: 1,
            schema: "public".to_owned(),
            name: name.to_owned(),
            identity: Identity::Default,
            has_key: true,
            is_root: false,
            rows: None,
        };
        let check = |names: &[&str]| {
            let tables: Vec<TableEntry> = names.iter().map(|name| table(name)).collect();
            check_tables(&tables, 5, &config)
        };
        assert_eq!(check(&["t", "signals"]), Ok(()));
        assert_eq!(
            check(&["signals"]),
            Err(Unhealthy::NoTables { existing: 5 })
        );
        let error: ConnectError = check(&["t"]).unwrap_err().into();
        let shown = error.to_string();
        assert!(
            shown.contains("[signals-missing]")
                && shown.contains(r#"CREATE TABLE "public"."signals""#),
            "{shown}"
        );
    }
}
