//! Connectors: what a plugin is called, what it takes, and how it shares its work among tasks.

use async_trait::async_trait;

use crate::{
    ConfigDef, ConfigMap, ConnectError, JsonMap, SinkTask, SourceOffsets, SourceTask, TableSink,
    TableSource,
};

/// Which way records flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectorKind {
    /// Into the log.
    Source,
    /// Out of the log.
    Sink,
}

impl ConnectorKind {
    /// `source` or `sink`, as the REST API says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Sink => "sink",
        }
    }
}

/// Something wrong with one key, found by [`ConnectorPlugin::validate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldIssue {
    /// The key.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// What a connector makes of a key that it does not declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undeclared {
    /// Nothing: it may be a mistake.
    Unknown,
    /// It reads the key: its name is one of many (`column.mask.with.10.chars`).
    Read,
    /// It knows the key, of the connector whose configurations it takes, and passes over it.
    WithoutEffect,
}

/// An offset that a user sets, of a source or a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlteredOffset {
    /// Which part of the source, or which partition of the log (`kafka_topic`, `kafka_partition`).
    pub partition: JsonMap,
    /// Where to go on; `None` forgets the partition's offset.
    pub offset: Option<JsonMap>,
}

/// Who a task is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskContext {
    /// Name of the connector.
    pub connector: String,
    /// Number of the task, from 0.
    pub task: u32,
    /// The task's configuration: what [`ConnectorPlugin::task_configs`] made for it.
    pub config: ConfigMap,
}

/// A task of either kind, not yet started.
pub enum Task {
    /// Reads a source.
    Source(Box<dyn SourceTask>),
    /// Writes a sink.
    Sink(Box<dyn SinkTask>),
}

/// One kind of connector, compiled in.
#[async_trait]
pub trait ConnectorPlugin: Send + Sync + 'static {
    /// The class name under which Kafka Connect users know it; shown in `/connector-plugins`.
    fn class(&self) -> &'static str;

    /// Further names that `connector.class` may give: short ones, and other vendors' classes.
    fn aliases(&self) -> &'static [&'static str] {
        &[]
    }

    /// Source or sink.
    fn kind(&self) -> ConnectorKind;

    /// Its version.
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// Its own keys, without those that every connector has.
    fn config_def(&self) -> ConfigDef;

    /// What it makes of a key that is not among its own: who validates warns of the others by name.
    fn undeclared(&self, key: &str) -> Undeclared {
        let _ = key;
        Undeclared::Unknown
    }

    /// Checks that go beyond single values: relations between keys, files, a reachable database. Called only once
    /// every single value is right; ends within ten seconds. MUST have no side effects.
    async fn validate(&self, config: &ConfigMap) -> Vec<FieldIssue> {
        let _ = config;
        Vec::new()
    }

    /// The same of a source that goes on at stored offsets: also whether it can.
    async fn validate_from(&self, config: &ConfigMap, stored: &SourceOffsets) -> Vec<FieldIssue> {
        let _ = stored;
        self.validate(config).await
    }

    /// Shares the work among at most `tasks_max` tasks: one configuration each. A sink returns one configuration
    /// for each task that may run beside others.
    ///
    /// # Errors
    /// Where the work cannot be planned; the connector then is FAILED, or the call comes again if transient.
    fn task_configs(
        &self,
        config: &ConfigMap,
        tasks_max: u32,
    ) -> Result<Vec<ConfigMap>, ConnectError>;

    /// A user sets or resets offsets of a stopped connector (KIP-875): checks them, and takes them over where the
    /// connector keeps offsets outside of the log too. Returns whether it did that: `false` for a connector that
    /// does not look at them.
    ///
    /// # Errors
    /// [`ConnectError::Data`] with what is wrong with them; then nothing is changed.
    async fn alter_offsets(
        &self,
        config: &ConfigMap,
        offsets: &[AlteredOffset],
    ) -> Result<bool, ConnectError> {
        let _ = (config, offsets);
        Ok(false)
    }

    /// What SQL needs to declare a table that this source reads; `None` where it cannot.
    fn tables(&self) -> Option<&dyn TableSource> {
        None
    }

    /// What SQL needs to write rows into a table through this sink; `None` where it cannot.
    fn sink_tables(&self) -> Option<&dyn TableSink> {
        None
    }

    /// A new task, not yet started.
    fn task(&self) -> Task;
}
