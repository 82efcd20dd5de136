//! Sources and sinks that SQL can declare: `CREATE SOURCE name WITH (connector = …, …)` makes the connector and reads its topic,
//! `CREATE SINK name … WITH (connector = …, …)` writes a topic and makes the connector that takes it from there.

use std::collections::BTreeSet;

use async_trait::async_trait;

use crate::{ConfigMap, ConnectError, SourceOffsets};

/// A column as SQL declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredColumn {
    /// Its name in the source.
    pub name: String,
    /// Its type in SQL, as values come in the topic: `BIGINT`, `DECIMAL(10,2)`, `TEXT[]`.
    pub sql_type: String,
}

/// The one table that a configuration reads, and the topic where its changes go in Debezium's envelope as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredTable {
    /// The topic.
    pub topic: String,
    /// The columns that records have, in order.
    pub columns: Vec<DeclaredColumn>,
    /// Names of the columns of the record key.
    pub key: Vec<String>,
    /// What who declares the table should know of it, a sentence each.
    pub notes: Vec<String>,
}

/// Something of a source that one connector has for itself, and that is lost to two (a replication slot).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoleUse {
    /// The key that chooses it.
    pub key: &'static str,
    /// What it is, in the same words for every configuration that means the same one: `slot shop of db:5432`.
    pub what: String,
    /// What to do instead: `choose another slot.name`.
    pub instead: &'static str,
}

/// A database of a server, by what the server says of itself: addresses have many spellings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerIdentity {
    /// What the server has in common with its physical copies, and with no other one; empty where the user may not know it.
    pub system: String,
    /// This run of the server: no two that run at the same time have the same.
    pub run: String,
    /// Whether the server follows another one and shows its rows (a standby).
    pub follows: bool,
    /// Number of the database.
    pub database: u32,
}

impl ServerIdentity {
    /// Whether what is written to one of two databases is seen in the other.
    ///
    /// Physical copies are one as long as one of them follows: what the first takes shows in the other. Two that take writes
    /// have parted, whatever they have in common, and rows of one never come to the other.
    pub fn is_seen_in(&self, other: &Self) -> bool {
        let is_copy = !self.system.is_empty()
            && self.system == other.system
            && (self.follows || other.follows);
        self.database == other.database && (self.run == other.run || is_copy)
    }
}

/// What a server says of a table: which it is, whatever it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTable {
    /// Where it is.
    pub server: ServerIdentity,
    /// Numbers of the tables whose rows a write to it may change: its own, those of its parts, and what a view or a rule leads
    /// to. None where it is still to be made.
    pub tables: BTreeSet<u32>,
}

/// The topic where a source writes what is written to a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedPlace {
    /// Which of the sources, by its place among them.
    pub source: usize,
    /// Which of the tables, by its place among them.
    pub place: usize,
    /// The topic.
    pub topic: String,
}

/// Where a table of a database is, as a configuration says it, and as its server does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePlace {
    /// Server and database, in the same words for every configuration that means the same one: `localhost:5432/shop`.
    pub database: String,
    /// The schemas that it may be in: one where the configuration names it, else those that the server looks in.
    pub schemas: Vec<String>,
    /// Its name.
    pub table: String,
    /// What the server says of it; `None` where it does not answer.
    pub said: Option<ServerTable>,
}

impl std::fmt::Display for TablePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let [schema] = &self.schemas[..] {
            write!(f, "{schema}.")?;
        }
        write!(f, "{} of {}", self.table, self.database)
    }
}

/// A source connector that reads one table for SQL.
///
/// Rules:
/// 1. `config` is pure: the same options always mean the same configuration.
/// 2. `table` looks at the source and changes nothing there.
/// 3. `remove` comes when no task runs, and may come again.
#[async_trait]
pub trait TableSource: Send + Sync {
    /// Options of SQL that are short names, or other systems' names, of configuration keys; every key is an option, too.
    fn aliases(&self) -> &'static [(&'static str, &'static str)];

    /// The whole configuration of the connector that the object `name` has, from its options under the names of keys.
    ///
    /// # Errors
    /// [`ConnectError::Config`] with the key whose value cannot be, or that is missing.
    fn config(&self, name: &str, options: &ConfigMap) -> Result<ConfigMap, ConnectError>;

    /// The table. Secrets of the configuration are resolved; ends within ten seconds.
    ///
    /// # Errors
    /// Where the source does not answer, or the configuration reads no single table.
    async fn table(&self, config: &ConfigMap) -> Result<DeclaredTable, ConnectError>;

    /// What of the source no other connector may use while this one is there. Secrets of the configuration are resolved as far
    /// as they are there.
    fn sole_uses(&self, config: &ConfigMap) -> Vec<SoleUse>;

    /// The topics where these configurations write what is written to these tables. Secrets of the configurations are resolved
    /// as far as they are there. Servers are asked, each once, and by their addresses where they do not answer; ends within
    /// five seconds.
    async fn captured(&self, configs: &[&ConfigMap], places: &[TablePlace]) -> Vec<CapturedPlace>;

    /// Whether these stored offsets say that the rows which the table held were read. Looks at nothing but what it is given.
    fn is_filled(&self, config: &ConfigMap, offsets: &SourceOffsets) -> bool;

    /// Takes down what the connector left at the source (a replication slot), because it is never started again. Returns what
    /// could not be taken down and how to do it by hand, a sentence each.
    async fn remove(&self, config: &ConfigMap) -> Vec<String>;
}

/// The rows that a sink connector gets of SQL: JSON without schemas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredRows {
    /// The topic where they are.
    pub topic: String,
    /// Columns of the rows, those of the key among them.
    pub columns: Vec<DeclaredColumn>,
    /// Columns of the record key, an object of these; a record without a value says that the row of its key is gone. Empty:
    /// rows only come, and have no key.
    pub key: Vec<DeclaredKey>,
}

/// A column of a key as SQL declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredKey {
    /// Its name in the record key.
    pub name: String,
    /// Its type in SQL: `BIGINT`, `DECIMAL(10,2)`, `TEXT`.
    pub sql_type: String,
    /// Whether it may be NULL: NULL is a value of the key like any other then.
    pub nullable: bool,
}

/// A sink connector that writes rows of SQL into one table.
///
/// Rule: `config` is pure: the same options always mean the same configuration.
#[async_trait]
pub trait TableSink: Send + Sync {
    /// Options of SQL that are short names, or other systems' names, of configuration keys; every key is an option, too.
    fn aliases(&self) -> &'static [(&'static str, &'static str)];

    /// The whole configuration of the connector that the object `name` has, from its options under the names of keys.
    ///
    /// # Errors
    /// [`ConnectError::Config`] with the key whose value cannot be, or that is missing.
    fn config(
        &self,
        name: &str,
        options: &ConfigMap,
        rows: &DeclaredRows,
    ) -> Result<ConfigMap, ConnectError>;

    /// The tables to which each of these configurations takes the records of its topic, one for each server that it may be.
    /// Secrets of the configurations are resolved as far as they are there. Servers are asked, each once; ends within five
    /// seconds.
    async fn places(&self, taken: &[(&ConfigMap, &str)]) -> Vec<Vec<TablePlace>>;

    /// What the author of the statement should know of the table that this configuration writes, a sentence each. Its secrets
    /// are resolved.
    ///
    /// # Errors
    /// [`ConnectError::Config`] where the table cannot take the rows as it is.
    async fn look(
        &self,
        _config: &ConfigMap,
        _rows: &DeclaredRows,
    ) -> Result<Vec<String>, ConnectError> {
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_known_by_what_its_server_says() {
        let server = |system: &str, run: &str, follows, database| ServerIdentity {
            system: system.to_owned(),
            run: run.to_owned(),
            follows,
            database,
        };
        let primary = server("7", "monday", false, 5);
        for (other, is_seen) in [
            (primary.clone(), true),
            (server("", "monday", false, 5), true),
            (server("7", "monday", false, 6), false),
            // A standby of it, one of another, and a copy that was promoted.
            (server("7", "tuesday", true, 5), true),
            (server("8", "tuesday", true, 5), false),
            (server("7", "tuesday", false, 5), false),
            // Nobody may know what these two have in common.
            (server("", "tuesday", true, 5), false),
        ] {
            assert_eq!(primary.is_seen_in(&other), is_seen, "{other:?}");
            assert_eq!(other.is_seen_in(&primary), is_seen, "{other:?}");
        }
    }
}
