//! What SQL asks of a Connect runtime: `CREATE SOURCE | TABLE | SINK … WITH (connector = …)` makes a connector, `DROP` takes it
//! down.
//!
//! SQL knows no Connect; whoever wires the two together implements [`Connectors`].

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use thiserror::Error;

/// Options of a statement by name, in lower case, or a connector's configuration.
pub type ConnectorOptions = BTreeMap<String, String>;

/// A connector that may be made, and what it will write: changes in Debezium's envelope, as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedConnector {
    /// Its configuration.
    pub config: ConnectorOptions,
    /// The topic that it writes.
    pub topic: String,
    /// Names and SQL types of the columns.
    pub columns: Vec<(String, String)>,
    /// Names of the columns of the record key.
    pub key: Vec<String>,
    /// What the author of the statement should know, a sentence each.
    pub notes: Vec<String>,
}

/// The rows that a sink writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkRows {
    /// The topic: JSON rows, keyed by an object of the key's columns, where a null value takes a row away; without a key they
    /// only come.
    pub topic: String,
    /// Names and SQL types of the columns.
    pub columns: Vec<(String, String)>,
    /// The columns of the key.
    pub key: Vec<SinkKey>,
}

/// A column of the key of a sink's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkKey {
    /// Its name.
    pub name: String,
    /// Its type in SQL.
    pub sql_type: String,
    /// Whether it may be NULL.
    pub nullable: bool,
}

/// A connector that there is, whoever made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedConnector {
    /// Its name.
    pub name: String,
    /// `source` or `sink`.
    pub kind: String,
    /// Its class, as its configuration names it.
    pub class: String,
    /// `RUNNING`, `PAUSED`, `STOPPED`, `FAILED`, …
    pub state: String,
    /// How many tasks it has.
    pub tasks: usize,
    /// How many of them have failed.
    pub failed_tasks: usize,
    /// What the first failure comes from.
    pub error: Option<String>,
}

/// A way of records through a table of a database: one connector takes them there, another captures it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFlow {
    /// The topic that a sink takes to the table.
    pub from: String,
    /// The topic where the changes of the table go.
    pub to: String,
    /// The table, as people read it: `public.orders of db:5432/shop`.
    pub table: String,
    /// The connector that captures what is written to it.
    pub source: String,
}

/// Why a connector is not what a statement asks for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ConnectorError {
    /// The option at fault.
    pub option: Option<String>,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// Connectors of objects; each has its object's name.
#[async_trait]
pub trait Connectors: Send + Sync {
    /// What the connector of the kind `connector` would be. Makes nothing.
    async fn plan(
        &self,
        name: &str,
        connector: &str,
        options: &ConnectorOptions,
    ) -> Result<PlannedConnector, ConnectorError>;

    /// The configuration of the sink of the kind `connector` that writes these rows of an object into a table. Makes nothing.
    async fn plan_sink(
        &self,
        name: &str,
        connector: &str,
        options: &ConnectorOptions,
        rows: &SinkRows,
    ) -> Result<ConnectorOptions, ConnectorError>;

    /// What the author of the statement should know of the table that a planned sink writes, a sentence each; an error where it
    /// cannot take the rows. Makes nothing.
    async fn look_sink(
        &self,
        name: &str,
        connector: &str,
        options: &ConnectorOptions,
        rows: &SinkRows,
    ) -> Result<Vec<String>, ConnectorError>;

    /// Makes it; it runs from then on, after a restart too.
    async fn create(&self, name: &str, config: ConnectorOptions) -> Result<(), ConnectorError>;

    /// Takes it down with all that it keeps. Returns what has to be taken down by hand, a sentence each. One that is not there
    /// is no error.
    async fn remove(&self, name: &str) -> Result<Vec<String>, ConnectorError>;

    /// How it is, a line each; `None` where there is none.
    fn state(&self, name: &str) -> Option<Vec<String>>;

    /// All ways of records through tables, of the connectors that there are and of one that may be made; none where no record of
    /// these topics comes to a table.
    async fn flows(
        &self,
        planned: Option<&ConnectorOptions>,
        topics: &BTreeSet<String>,
    ) -> Vec<TableFlow>;

    /// How far a connector is that has still to read the rows which its table held, in a few words; `None`: they are in its topic.
    async fn filling(&self, name: &str) -> Option<String>;

    /// All that there are, by name, also those that no statement made.
    fn list(&self) -> Vec<ListedConnector>;
}
