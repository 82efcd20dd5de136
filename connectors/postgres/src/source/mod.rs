//! The change capture source: a PostgreSQL database's tables and their changes as records in Debezium's format.
//!
//! ```text
//!               plan: offset, slot, snapshot mode
//!                        │
//!        ┌───────────────┴───────────────┐
//!        ▼                               ▼
//!  snapshot (wire: SQL)        stream (replication ◀─ wire: walsender), and beside it chunks of tables (incremental)
//!   tables as of one moment      pgoutput ─▶ assemble (progress, view) ─▶ envelope (table, render)
//!        │                               │
//!        └───────────▶ records + offset ◀┘        committed ─▶ acknowledged to the slot
//! ```
//!
//! Invariants:
//! 1. The slot is told of nothing that is not in the log: only `committed` acknowledges.
//! 2. Every batch has the offset behind its last record; a task that resumes there repeats and leaves out nothing.
//! 3. What is lost at the server (slot, log, another cluster) is an error with what mends it, never passed over.
//! 4. A value reads the same whether a snapshot or the stream brought it.

mod assemble;
mod catalog;
mod check;
mod chunks;
mod config;
mod declared;
mod discovery;
mod envelope;
mod filter;
mod gone;
mod hazards;
mod health;
mod incremental;
mod kind;
mod lag;
mod letters;
mod literal;
mod lsn;
mod numeric;
mod offset;
mod pgoutput;
mod pieces;
mod plan;
mod progress;
mod publication;
mod reader;
mod render;
mod replication;
mod select;
mod signal;
mod slot;
mod snapshot;
mod spool;
mod stream;
mod table;
mod task;
mod temporal;
mod unhealthy;
mod view;
mod wire;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use connect_api::{
    AlteredOffset, CapturedPlace, ConfigDef, ConfigMap, ConnectError, ConnectorKind,
    ConnectorPlugin, DeclaredTable, FieldIssue, SoleUse, SourceOffsets, TablePlace, TableSource,
    Task, Undeclared,
};

use catalog::TableEntry;
use check::{VALIDATE_TIMEOUT, check, unanswered, unreached_key};
use config::SourceConfig;
use envelope::Envelopes;
use health::Server;
use offset::{Offset, Origin};
use plan::Refusal;
use task::PostgresSourceTask;
use unhealthy::{Unhealthy, failed};
use wire::{Connection, Purpose};

/// Debezium's PostgreSQL connector: change data capture through logical decoding.
#[derive(Debug, Clone, Copy, Default)]
pub struct PostgresSource;

#[async_trait]
impl ConnectorPlugin for PostgresSource {
    fn class(&self) -> &'static str {
        "io.debezium.connector.postgresql.PostgresConnector"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["PostgresConnector", "postgres-cdc"]
    }

    fn kind(&self) -> ConnectorKind {
        ConnectorKind::Source
    }

    fn config_def(&self) -> ConfigDef {
        config::def()
    }

    fn undeclared(&self, key: &str) -> Undeclared {
        config::undeclared(key)
    }

    async fn validate(&self, config: &ConfigMap) -> Vec<FieldIssue> {
        self.validate_from(config, &SourceOffsets::default()).await
    }

    async fn validate_from(&self, config: &ConfigMap, stored: &SourceOffsets) -> Vec<FieldIssue> {
        let checked = tokio::time::timeout(VALIDATE_TIMEOUT, check(config, stored)).await;
        let found = checked.unwrap_or_else(|_| vec![unanswered()]);
        let issue = |error| match error {
            ConnectError::Config { key, message } => FieldIssue { key, message },
            other => {
                let message = other.to_string();
                let key = unreached_key(config, &message).to_owned();
                FieldIssue { key, message }
            }
        };
        found.into_iter().map(issue).collect()
    }

    fn task_configs(&self, config: &ConfigMap, _: u32) -> Result<Vec<ConfigMap>, ConnectError> {
        // A slot has one reader, and its order is the order of commits.
        Ok(vec![config.clone()])
    }

    async fn alter_offsets(
        &self,
        config: &ConfigMap,
        offsets: &[AlteredOffset],
    ) -> Result<bool, ConnectError> {
        let config = SourceConfig::parse(config)?;
        let expected = offset::partition(&config.prefix);
        for altered in offsets {
            if config.letters(&altered.partition) {
                letters::check(altered)?;
                continue;
            }
            let shown = serde_json::Value::Object(altered.partition.clone());
            if altered.partition != expected {
                return Err(ConnectError::Data(format!(
                    "partition {shown} is none of this connector; it has {}",
                    serde_json::Value::Object(expected)
                )));
            }
            if let Some(offset) = &altered.offset {
                Offset::from_json(offset).map_err(|reason| {
                    ConnectError::Data(format!(
                        "the offset of partition {shown} cannot be read: {reason}"
                    ))
                })?;
            }
        }
        Ok(true)
    }

    fn tables(&self) -> Option<&dyn TableSource> {
        Some(self)
    }

    fn task(&self) -> Task {
        Task::Source(Box::<PostgresSourceTask>::default())
    }
}

#[async_trait]
impl TableSource for PostgresSource {
    fn aliases(&self) -> &'static [(&'static str, &'static str)] {
        declared::ALIASES
    }

    fn config(&self, name: &str, options: &ConfigMap) -> Result<ConfigMap, ConnectError> {
        declared::config(name, options)
    }

    async fn table(&self, config: &ConfigMap) -> Result<DeclaredTable, ConnectError> {
        let looked = tokio::time::timeout(VALIDATE_TIMEOUT, declared::table(config)).await;
        looked
            .unwrap_or_else(|_| Err(unanswered()))
            .map_err(|error| match error {
                ConnectError::Config { .. } => error,
                other => {
                    let message = other.to_string();
                    ConnectError::config(unreached_key(config, &message), message)
                }
            })
    }

    fn sole_uses(&self, config: &ConfigMap) -> Vec<SoleUse> {
        declared::sole_uses(config)
    }

    async fn captured(&self, configs: &[&ConfigMap], places: &[TablePlace]) -> Vec<CapturedPlace> {
        declared::captured_places(configs, places).await
    }

    fn is_filled(&self, config: &ConfigMap, offsets: &SourceOffsets) -> bool {
        declared::is_filled(config, offsets)
    }

    async fn remove(&self, config: &ConfigMap) -> Vec<String> {
        declared::remove(config).await
    }
}

/// Where the connector stopped; `None` where it has never run.
fn stored_offset(
    config: &SourceConfig,
    offsets: &SourceOffsets,
) -> Result<Option<Offset>, ConnectError> {
    let stored = offsets.get(&offset::partition(&config.prefix));
    let parsed = stored.map(Offset::from_json).transpose();
    parsed.map_err(|reason| {
        ConnectError::Fatal(format!(
            "the stored offset of {} cannot be read: {reason}",
            config.prefix
        ))
    })
}

async fn connect(config: &SourceConfig) -> Result<(Connection, Server), ConnectError> {
    let mut sql = Connection::open(&config.address, Purpose::Sql)
        .await
        .map_err(|error| failed("connecting", error))?;
    let server = Server::ask(&mut sql).await?;
    Ok((sql, server))
}

/// The captured tables, and how many tables there are.
async fn captured(
    sql: &mut Connection,
    config: &SourceConfig,
    via_root: bool,
) -> Result<(Vec<TableEntry>, usize), ConnectError> {
    let mut tables = catalog::tables(sql, via_root)
        .await
        .map_err(|error| failed("listing the tables", error))?;
    let existing = tables.len();
    tables.retain(|table| {
        config.capture.table(&table.schema, &table.name)
            || config.is_signals(&table.schema, &table.name)
    });
    Ok((tables, existing))
}

/// Whether the columns of keys that were chosen by hand exist.
async fn check_keys(
    sql: &mut Connection,
    config: &SourceConfig,
    tables: &[TableEntry],
) -> Result<(), ConnectError> {
    for table in tables {
        let Some(key) = config.capture.key(&table.schema, &table.name) else {
            continue;
        };
        let columns = catalog::columns(sql, table.oid)
            .await
            .map_err(|error| failed("looking up a table", error))?;
        let missing = key
            .iter()
            .find(|name| !columns.iter().any(|column| column.column.name == **name));
        if let Some(missing) = missing {
            let names: Vec<&str> = columns
                .iter()
                .map(|column| column.column.name.as_str())
                .collect();
            return Err(ConnectError::config(
                "message.key.columns",
                format!(
                    "table {}.{} has no column {missing}; it has {}",
                    table.schema,
                    table.name,
                    names.join(", ")
                ),
            ));
        }
    }
    Ok(())
}

/// What all parts of a run have in common.
struct Shared {
    config: Arc<SourceConfig>,
    envelopes: Arc<Envelopes>,
    server: Server,
    origin: Origin,
}

fn refused(config: &SourceConfig, stored: Option<&Offset>, refusal: Refusal) -> ConnectError {
    let slot = config.slot.clone();
    match refusal {
        Refusal::SlotMissing => Unhealthy::SlotMissing {
            slot,
            stored: stored.map(|offset| offset.position.end).unwrap_or_default(),
        },
        Refusal::SlotLost(reason) => Unhealthy::SlotLost { slot, reason },
        Refusal::OffsetBehind { stored, confirmed } => Unhealthy::OffsetBehind {
            slot,
            stored,
            confirmed,
        },
    }
    .into()
}

/// Nanoseconds since 1970.
fn now_ns() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    u64::try_from(now_ns() / 1_000_000).unwrap_or(0)
}
