//! What has to be right at the server, and what to say where it is not: each condition has its code, its text, and
//! the SQL that mends it.

use std::time::Duration;

use connect_api::ConnectError;
use thiserror::Error;

use super::catalog::{self, Published, TableEntry};
use super::config::{Autocreate, SnapshotMode, SourceConfig};
use super::lsn::Lsn;
use super::offset::Origin;
use super::pgoutput::Identity;
use super::plan::Slot;
use super::wire::{Connection, ServerError, WireError, literal, quoted, text};

/// PostgreSQL 14: logical messages in pgoutput, and protocol 2.
const VERSION_MESSAGES: u32 = 140_000;
/// PostgreSQL 10: pgoutput.
const VERSION_MIN: u32 = 100_000;
/// PostgreSQL 13: `wal_status` of a slot.
const VERSION_WAL_STATUS: u32 = 130_000;
/// PostgreSQL 15: lists of columns and filters of rows in publications.
const VERSION_LISTS: u32 = 150_000;
/// A slot that may idle for less than this may be lost over a weekend.
const IDLE_MIN: Duration = Duration::from_secs(3 * 86_400);
/// PostgreSQL 17: why a slot is invalid.
const VERSION_INVALIDATION: u32 = 170_000;
/// PostgreSQL 13: partitions through their root.
const VERSION_VIA_ROOT: u32 = 130_000;

/// A condition of the server that keeps the connector from working.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Unhealthy {
    #[error(
        "the server's wal_level is {found} and logical decoding needs logical: run ALTER SYSTEM SET wal_level = \
         'logical'; and restart the server"
    )]
    WalLevel { found: String },
    #[error("the server is PostgreSQL {found}; change data capture needs 10 or later")]
    Version { found: String },
    #[error(
        "user {user} may not replicate: run ALTER ROLE {user} REPLICATION; as a superuser ({reason})"
    )]
    NoReplication { user: String, reason: String },
    #[error(
        "user {user} may not read table {table}: run GRANT USAGE ON SCHEMA {schema} TO {user}; GRANT SELECT ON {table} \
         TO {user};"
    )]
    NoSelect {
        user: String,
        schema: String,
        table: String,
    },
    #[error(
        "this is not PostgreSQL itself but a pooler, which passes no replication on ({0}): connect to the server \
         directly"
    )]
    Pooler(String),
    #[error(
        "publication {name} does not exist and publication.autocreate.mode is disabled: run CREATE PUBLICATION {name} \
         FOR {tables};"
    )]
    PublicationMissing { name: String, tables: String },
    #[error(
        "publication {name} cannot be made or changed by user {user} ({reason}): let somebody who may run {statement}; and \
         set publication.autocreate.mode=disabled"
    )]
    PublicationRefused {
        name: String,
        user: String,
        statement: String,
        reason: String,
    },
    #[error(
        "slot {slot} is older than publication {publication}, so the server cannot read for it what lies between: run \
         SELECT pg_drop_replication_slot({literal}); and start with snapshot.mode=when_needed"
    )]
    PublicationYounger {
        slot: String,
        publication: String,
        literal: String,
    },
    #[error(
        "no captured table: of {existing} tables in the database none passes the filters of schemas and tables; mend \
         table.include.list"
    )]
    NoTables { existing: usize },
    #[error(
        "the signal table {table} does not exist: run CREATE TABLE {table} (id varchar(42) PRIMARY KEY, type varchar(32) \
         NOT NULL, data varchar(2048)); or mend signal.data.collection"
    )]
    SignalsMissing { table: String },
    #[error(
        "slot {slot} does not exist, though an offset ({stored}) is stored: what changed since is lost. Read the tables \
         again with snapshot.mode=when_needed, or name the slot that belongs to the offset"
    )]
    SlotMissing { slot: String, stored: Lsn },
    #[error(
        "slot {slot} is lost ({reason}): the server threw away the log it needs. Read the tables again with \
         snapshot.mode=when_needed; to have room next time, run ALTER SYSTEM SET max_slot_wal_keep_size = -1; SELECT \
         pg_reload_conf();"
    )]
    SlotLost { slot: String, reason: String },
    #[error(
        "slot {slot} belongs to {found}, and this connector needs a logical slot of pgoutput in database {database}: \
             name another slot.name, or run SELECT pg_drop_replication_slot('{slot}');"
    )]
    SlotForeign {
        slot: String,
        found: String,
        database: String,
    },
    #[error(
        "slot {slot} is in use by process {pid} ({client}); if that is not this connector's last run, stop it or name \
         another slot.name: SELECT pg_terminate_backend({pid});"
    )]
    SlotActive {
        slot: String,
        pid: String,
        client: String,
    },
    #[error(
        "the stored offset {stored} is behind slot {slot}, which confirmed {confirmed}: what lies between is lost. Read \
         the tables again with snapshot.mode=when_needed, or go on from the slot with \
         offset.mismatch.strategy=trust_slot"
    )]
    OffsetBehind {
        slot: String,
        stored: Lsn,
        confirmed: Lsn,
    },
    #[error(
        "the offset was stored for the server with system identifier {stored}, and this is {found}: another cluster, \
         whose positions mean something else. Connect to the first one, or delete the connector's offsets"
    )]
    OtherSystem { stored: String, found: String },
    #[error(
        "the offset was stored on timeline {stored}, and the server is on {found}: it was restored or promoted, and may \
         lack what was read. Delete the connector's offsets to read the tables again, or take \"timeline\" out of them \
         to go on"
    )]
    OtherTimeline { stored: String, found: String },
    #[error(
        "table {table} has REPLICA IDENTITY NOTHING, so that UPDATE and DELETE fail once it is published: run ALTER \
         TABLE {table} REPLICA IDENTITY DEFAULT; or FULL"
    )]
    IdentityNothing { table: String },
}

impl Unhealthy {
    /// A short name of the condition, for alerts.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::WalLevel { .. } => "wal-level",
            Self::Version { .. } => "version",
            Self::NoReplication { .. } => "no-replication-right",
            Self::NoSelect { .. } => "no-select-right",
            Self::Pooler(_) => "pooler",
            Self::PublicationMissing { .. } => "publication-missing",
            Self::PublicationRefused { .. } => "publication-refused",
            Self::PublicationYounger { .. } => "publication-younger",
            Self::NoTables { .. } => "no-tables",
            Self::SignalsMissing { .. } => "signals-missing",
            Self::SlotMissing { .. } => "slot-missing",
            Self::SlotLost { .. } => "slot-lost",
            Self::SlotForeign { .. } => "slot-foreign",
            Self::SlotActive { .. } => "slot-active",
            Self::OffsetBehind { .. } => "offset-behind",
            Self::OtherSystem { .. } => "other-system",
            Self::OtherTimeline { .. } => "other-timeline",
            Self::IdentityNothing { .. } => "identity-nothing",
        }
    }

    /// The key of the configuration that is nearest to the cause.
    fn key(&self) -> &'static str {
        match self {
            Self::NoReplication { .. } | Self::NoSelect { .. } => "database.user",
            Self::PublicationMissing { .. }
            | Self::PublicationRefused { .. }
            | Self::PublicationYounger { .. } => "publication.name",
            Self::NoTables { .. } | Self::IdentityNothing { .. } => "table.include.list",
            Self::SignalsMissing { .. } => "signal.data.collection",
            Self::SlotMissing { .. }
            | Self::SlotLost { .. }
            | Self::SlotForeign { .. }
            | Self::SlotActive { .. }
            | Self::OffsetBehind { .. } => "slot.name",
            _ => "database.hostname",
        }
    }
}

impl From<Unhealthy> for ConnectError {
    fn from(condition: Unhealthy) -> Self {
        let message = format!("{condition} [{}]", condition.code());
        match condition {
            Unhealthy::SlotActive { .. } => Self::Transient(message),
            other => Self::config(other.key(), message),
        }
    }
}

/// Any other failed call.
pub(super) fn failed(what: &str, error: WireError) -> ConnectError {
    match error {
        WireError::Line(message) => ConnectError::Transient(format!("{what}: {message}")),
        WireError::Tls(issue) => ConnectError::config(
            format!("database.{}", issue.parameter),
            format!("{what}: {issue}"),
        ),
        WireError::Protocol(message) => {
            ConnectError::config("database.hostname", format!("{what}: {message}"))
        }
        WireError::Server(error) => of_server(what, &error),
    }
}

fn of_server(what: &str, error: &ServerError) -> ConnectError {
    let message = format!("{what}: {error}");
    match (error.code.as_str(), error.code.get(..2).unwrap_or_default()) {
        ("28P01", _) => ConnectError::config("database.password", message),
        ("3D000", _) => ConnectError::config("database.dbname", message),
        (_, "28") | ("42501", _) => ConnectError::config("database.user", message),
        // A setting that is wrong for good is among the limits (all slots are taken): trying again shows when it is
        // mended.
        (_, "08" | "40" | "53" | "55" | "57" | "58") => ConnectError::Transient(message),
        _ => ConnectError::Fatal(message),
    }
}

/// What the server is.
#[derive(Debug, Clone)]
pub(super) struct Server {
    version: u32,
    wal_level: String,
    /// `wal_sender_timeout`; zero for none.
    pub(super) patience: Duration,
    user: String,
    database: String,
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

    /// What the publication sends.
    pub(super) async fn published(
        &self,
        connection: &mut Connection,
        publication: &str,
    ) -> Result<Vec<Published>, ConnectError> {
        catalog::published(connection, publication, self.version >= VERSION_LISTS)
            .await
            .map_err(|error| failed("looking at the publication", error))
    }

    /// Whether the publication sends changes of partitions as those of their root.
    pub(super) async fn publishes_via_root(
        &self,
        connection: &mut Connection,
        publication: &str,
    ) -> Result<bool, ConnectError> {
        if self.version < VERSION_VIA_ROOT {
            return Ok(false);
        }
        let rows = connection
            .query(&format!(
                "SELECT pubviaroot FROM pg_publication WHERE pubname = {}",
                literal(publication)
            ))
            .await
            .map_err(|error| failed("looking at the publication", error))?;
        Ok(rows.first().is_some_and(|row| text(row, 0) == "t"))
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

    /// Makes the publication, or brings it up to the filters, as the configuration asks.
    pub(super) async fn publication(
        &self,
        connection: &mut Connection,
        config: &SourceConfig,
        captured: &[TableEntry],
    ) -> Result<(), ConnectError> {
        let name = quoted(&config.publication);
        let sql = match self
            .publication_change(connection, config, captured)
            .await?
        {
            PublicationChange::None => return Ok(()),
            PublicationChange::Missing => {
                let tables = "ALL TABLES".to_owned();
                return Err(Unhealthy::PublicationMissing { name, tables }.into());
            }
            PublicationChange::Statement(sql) => sql,
        };
        match connection.query(&sql).await {
            Ok(_) => Ok(()),
            Err(WireError::Server(error)) if error.code == "42501" => {
                Err(Unhealthy::PublicationRefused {
                    name,
                    user: quoted(&self.user),
                    statement: sql,
                    reason: error.to_string(),
                }
                .into())
            }
            // Somebody else was faster.
            Err(WireError::Server(error)) if error.code == "42710" => Ok(()),
            Err(error) => Err(failed("making the publication", error)),
        }
    }

    /// As [`Server::publication`], where a connector goes on: tables that are not sent yet are left to the discovery, which has
    /// them read too, but for the ones that are `wanted`.
    pub(super) async fn publication_again(
        &self,
        connection: &mut Connection,
        config: &SourceConfig,
        captured: &[TableEntry],
        wanted: impl Fn(&TableEntry) -> bool,
    ) -> Result<(), ConnectError> {
        let name = &config.publication;
        let discovers = config.discovery.is_some()
            && config.autocreate == Autocreate::Filtered
            && config.snapshot_mode != SnapshotMode::NoData;
        // With another setting for partitions, the tables have other names there.
        if !discovers || self.publishes_via_root(connection, name).await? != config.via_root {
            return self.publication(connection, config, captured).await;
        }
        let published = self.published(connection, name).await?;
        let is_sent = |table: &TableEntry| {
            let mut published = published.iter();
            published.any(|entry| entry.table.0 == table.schema && entry.table.1 == table.name)
        };
        let mut kept = captured.to_vec();
        // One that is missing, or empty, is made for all.
        if !published.is_empty() {
            kept.retain(|table| {
                is_sent(table) || config.is_signals(&table.schema, &table.name) || wanted(table)
            });
        }
        self.publication(connection, config, &kept).await
    }

    /// What is to be done about the publication.
    async fn publication_change(
        &self,
        connection: &mut Connection,
        config: &SourceConfig,
        captured: &[TableEntry],
    ) -> Result<PublicationChange, ConnectError> {
        let name = quoted(&config.publication);
        let listed = tables_of(captured);
        let found = connection
            .query(&format!(
                "SELECT puballtables FROM pg_publication WHERE pubname = {}",
                literal(&config.publication)
            ))
            .await
            .map_err(|error| failed("looking for the publication", error))?;
        if let Some(row) = found.first() {
            // One for all tables sends what is captured, and its tables cannot be set.
            let has_all = text(row, 0) == "t";
            if config.autocreate != Autocreate::Filtered || has_all || captured.is_empty() {
                return Ok(PublicationChange::None);
            }
            let published = self.published(connection, &config.publication).await?;
            return Ok(match sends_exactly(&published, captured) {
                // Setting its tables anew would drop lists of columns and filters of rows.
                true => PublicationChange::None,
                false => PublicationChange::Statement(format!(
                    "ALTER PUBLICATION {name} SET TABLE {listed}"
                )),
            });
        }
        let what = match config.autocreate {
            Autocreate::Disabled => return Ok(PublicationChange::Missing),
            Autocreate::NoTables => String::new(),
            Autocreate::Filtered if captured.is_empty() => String::new(),
            Autocreate::Filtered => format!(" FOR TABLE {listed}"),
            Autocreate::AllTables => " FOR ALL TABLES".to_owned(),
        };
        let via_root = if config.via_root && self.version >= VERSION_VIA_ROOT {
            " WITH (publish_via_partition_root = true)"
        } else {
            ""
        };
        Ok(PublicationChange::Statement(format!(
            "CREATE PUBLICATION {name}{what}{via_root}"
        )))
    }

    /// What keeps the user from making or changing the publication: `validate` asks for it, and changes nothing.
    pub(super) async fn publication_issue(
        &self,
        connection: &mut Connection,
        config: &SourceConfig,
        captured: &[TableEntry],
    ) -> Result<Option<Unhealthy>, ConnectError> {
        let name = quoted(&config.publication);
        let statement = match self
            .publication_change(connection, config, captured)
            .await?
        {
            PublicationChange::None => return Ok(None),
            PublicationChange::Missing => {
                let tables = "ALL TABLES".to_owned();
                return Ok(Some(Unhealthy::PublicationMissing { name, tables }));
            }
            PublicationChange::Statement(statement) => statement,
        };
        let rows = connection
            .query(&format!(
                "SELECT has_database_privilege(current_database(), 'CREATE'), \
                 (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), \
                 (SELECT pg_has_role(current_user, pubowner, 'USAGE') FROM pg_publication WHERE pubname = {})",
                literal(&config.publication)
            ))
            .await
            .map_err(|error| failed("looking for the rights to the publication", error))?;
        let row = rows.first().cloned().unwrap_or_default();
        let (creates, is_super, owns) = (text(&row, 0), text(&row, 1), text(&row, 2));
        let reason = if owns == "f" {
            "the user does not own it".to_owned()
        } else if owns.is_empty() && creates == "f" {
            format!(
                "the user may not create in database {}",
                quoted(&self.database)
            )
        } else if statement.contains(" FOR ALL TABLES") && is_super == "f" {
            "only a superuser may publish all tables".to_owned()
        } else if statement.contains(" TABLE ") {
            let owned = "pg_has_role(current_user, c.relowner, 'USAGE')";
            match self.lacking(connection, captured, owned).await?.as_slice() {
                [] => return Ok(None),
                lacking => format!("the user does not own {}", lacking.join(", ")),
            }
        } else {
            return Ok(None);
        };
        Ok(Some(Unhealthy::PublicationRefused {
            name,
            user: quoted(&self.user),
            statement,
            reason,
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
    async fn lacking(
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

/// What is to be done about a publication.
enum PublicationChange {
    /// It is as it has to be, or as somebody made it.
    None,
    /// It has to be made, and not by the connector.
    Missing,
    /// This makes or changes it.
    Statement(String),
}

fn shown(table: &TableEntry) -> String {
    format!("{}.{}", quoted(&table.schema), quoted(&table.name))
}

fn sends_exactly(published: &[Published], captured: &[TableEntry]) -> bool {
    published.len() == captured.len()
        && captured.iter().all(|table| {
            published
                .iter()
                .any(|entry| entry.table.0 == table.schema && entry.table.1 == table.name)
        })
}

fn tables_of(captured: &[TableEntry]) -> String {
    captured
        .iter()
        .map(|table| {
            let only = if table.is_root { "" } else { "ONLY " };
            format!("{only}{}.{}", quoted(&table.schema), quoted(&table.name))
        })
        .collect::<Vec<_>>()
        .join(", ")
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
        let name = || format!("{}.{}", quoted(&table.schema), quoted(&table.name));
        if table.identity == Identity::Nothing {
            return Err(Unhealthy::IdentityNothing { table: name() });
        }
        if table.identity == Identity::Default && !table.has_key {
            tracing::warn!(
                table = name(),
                "the table has no primary key: UPDATE and DELETE fail while it is published; give it one, or run ALTER \
                 TABLE … REPLICA IDENTITY FULL"
            );
        }
    }
    Ok(())
}

/// Says which captured tables the publication lacks: their changes never come.
pub(super) fn warn_of_unpublished(captured: &[TableEntry], published: &[Published], name: &str) {
    let lacking: Vec<TableEntry> = captured
        .iter()
        .filter(|table| {
            !published
                .iter()
                .any(|entry| entry.table.0 == table.schema && entry.table.1 == table.name)
        })
        .cloned()
        .collect();
    if !lacking.is_empty() {
        let mend = format!(
            "ALTER PUBLICATION {} ADD TABLE {};",
            quoted(name),
            tables_of(&lacking)
        );
        tracing::warn!(
            publication = name,
            mend,
            "captured tables are not in the publication: their changes are not sent"
        );
    }
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

    #[test]
    fn what_may_pass_is_tried_again_and_what_may_not_is_named() {
        let server = |code: &str| {
            failed(
                "x",
                WireError::Server(ServerError {
                    code: code.to_owned(),
                    message: "m".to_owned(),
                    ..ServerError::default()
                }),
            )
        };
        for code in ["57P03", "53300", "55006", "08006"] {
            assert!(server(code).retryable(), "{code}");
        }
        for (code, key) in [
            ("28P01", "database.password"),
            ("3D000", "database.dbname"),
            ("28000", "database.user"),
        ] {
            assert!(server(code).to_string().starts_with(key), "{code}");
        }
        assert!(!server("42P01").retryable());
    }
}
