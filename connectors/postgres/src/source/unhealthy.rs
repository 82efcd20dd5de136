//! Conditions of the server that keep the connector from working: each has its code, its text, and the SQL that mends it.

use connect_api::ConnectError;
use thiserror::Error;

use super::lsn::Lsn;
use super::wire::{ServerError, WireError};

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
         SELECT pg_drop_replication_slot({literal}); and start with snapshot.mode=when_needed (a table that SQL declared: \
         DROP it and CREATE it again)"
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
         again with snapshot.mode=when_needed (a table that SQL declared: DROP it and CREATE it again), or name the slot \
         that belongs to the offset"
    )]
    SlotMissing { slot: String, stored: Lsn },
    #[error(
        "slot {slot} is lost ({reason}): the server threw away the log it needs. Read the tables again with \
         snapshot.mode=when_needed (a table that SQL declared: DROP it and CREATE it again); to have room next time, run ALTER SYSTEM SET max_slot_wal_keep_size = -1; SELECT \
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
         the tables again with snapshot.mode=when_needed (a table that SQL declared: DROP it and CREATE it again), or go on from the slot with \
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_lost_are_read_again_in_words_of_connect_and_of_sql() {
        let slot = || "s".to_owned();
        let lost = [
            Unhealthy::PublicationYounger {
                slot: slot(),
                publication: "p".to_owned(),
                literal: "'s'".to_owned(),
            },
            Unhealthy::SlotMissing {
                slot: slot(),
                stored: Lsn(1),
            },
            Unhealthy::SlotLost {
                slot: slot(),
                reason: "r".to_owned(),
            },
            Unhealthy::OffsetBehind {
                slot: slot(),
                stored: Lsn(1),
                confirmed: Lsn(2),
            },
        ];
        for condition in lost {
            let text = condition.to_string();
            let ways = "snapshot.mode=when_needed (a table that SQL declared: DROP it and CREATE it again)";
            assert!(text.contains(ways), "{text}");
        }
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
