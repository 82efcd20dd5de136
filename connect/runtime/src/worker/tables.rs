//! Connectors that SQL declares: planned from options, made, shown, and taken down with all that they left.
//!
//! ```text
//! plan: options ── aliases ──▶ keys ── the connector's own ──▶ configuration ── validated ──▶ the table that it reads
//! remove: stop ──▶ tasks are gone ──▶ what is left at the source ──▶ offsets ──▶ the connector
//! ```
//!
//! A removal that was interrupted leaves a stopped connector, and is finished by the next one.

use std::sync::Arc;
use std::time::Duration;

use connect_api::{
    ConfigMap, ConnectError, ConnectorPlugin, DeclaredRows, DeclaredTable, SoleUse, Undeclared,
};
use thiserror::Error;

use super::{Change, ChangeError, ConnectWorker, Inner, OffsetsChange, plugin_info};
use crate::definition::{self, Plugins, nearest};
use crate::secrets;
use crate::store::TargetState;

/// How long tasks may take to end.
const STOP_MAX: Duration = Duration::from_secs(30);
/// Between looks at them.
const STOP_LOOK: Duration = Duration::from_millis(20);

/// Connectors for SQL. Clones are the same worker's.
#[derive(Clone)]
pub struct Tables {
    pub(crate) inner: Arc<Inner>,
}

/// A connector that may be made, and the table that it will read.
#[derive(Debug, Clone)]
pub struct PlannedTable {
    /// Its configuration.
    pub config: ConfigMap,
    /// The table.
    pub table: DeclaredTable,
}

/// A connector that there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedConnector {
    /// Its name.
    pub name: String,
    /// `source` or `sink`.
    pub kind: String,
    /// Its class, as its configuration names it.
    pub class: String,
    /// As REST has it: `RUNNING`, `FAILED`, …
    pub state: String,
    /// How many tasks it has.
    pub tasks: usize,
    /// How many of them have failed.
    pub failed_tasks: usize,
    /// What the first failure comes from.
    pub error: Option<String>,
}

/// Why a connector cannot be what a statement asks for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct TableError {
    /// The option at fault, as it was given; `connector` for the connector itself.
    pub option: Option<String>,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl TableError {
    fn of(option: Option<&str>, message: impl Into<String>) -> Self {
        Self {
            option: option.map(str::to_owned),
            message: message.into(),
        }
    }
}

impl From<ChangeError> for TableError {
    fn from(error: ChangeError) -> Self {
        Self::of(None, error.to_string())
    }
}

impl ConnectWorker {
    /// The worker's connectors as SQL makes them.
    pub fn tables(&self) -> Tables {
        Tables {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl Tables {
    /// What the connector `class` of the object `name` would be, and the table that it reads. Nothing is made.
    ///
    /// # Errors
    /// With the option at fault. Worth a retry where the source does not answer.
    pub async fn plan(
        &self,
        name: &str,
        class: &str,
        options: &ConfigMap,
    ) -> Result<PlannedTable, TableError> {
        let plugins = &self.inner.plugins;
        let found = plugins.connector(class).map(Arc::clone);
        let Some((plugin, tables)) = found
            .as_ref()
            .and_then(|plugin| Some((plugin, plugin.tables()?)))
        else {
            let message = format!(
                "there is no connector '{class}' that reads tables; there is {}",
                short_names(plugins, |plugin| plugin.tables().is_some())
            );
            return Err(TableError::of(Some("connector"), message));
        };
        let given = Given::new(tables.aliases(), options)?;
        given.check_known(&**plugin)?;
        let config = tables.config(name, &given.keys);
        let mut config = config.map_err(|error| given.error(error))?;
        config.insert("connector.class".to_owned(), class.to_owned());
        config.insert("name".to_owned(), name.to_owned());
        self.check_name(name)?;
        // Its words are about the statement; those of the check about a configuration of any number of tables.
        let resolved = secrets::resolve(&config).map_err(|error| given.error(error))?;
        if let Some((other, sole)) = self.taken(tables.sole_uses(&resolved)) {
            let message = format!(
                "{} is connector {other}'s, and with two of them changes would be lost: {}",
                sole.what, sole.instead
            );
            return Err(given.error_of(sole.key, message));
        }
        let table = tables.table(&resolved).await;
        let secrets = secrets::Secrets::of(&config, &resolved, &**plugin);
        let table = table.map_err(|error| {
            let error = given.error(error);
            TableError {
                message: secrets.hide(error.message),
                ..error
            }
        })?;
        self.check(&config, &given).await?;
        Ok(PlannedTable { config, table })
    }

    /// The configuration of the sink `class` that writes the rows of the object `name` into a table. Nothing is made.
    ///
    /// # Errors
    /// With the option at fault. Worth a retry where the target does not answer.
    pub async fn plan_sink(
        &self,
        name: &str,
        class: &str,
        options: &ConfigMap,
        rows: &DeclaredRows,
    ) -> Result<ConfigMap, TableError> {
        let (_, given, config) = self.sink(name, class, options, rows)?;
        self.check_name(name)?;
        self.check(&config, &given).await?;
        Ok(config)
    }

    /// What the author of the statement should know of the table that a planned sink writes, a sentence each.
    ///
    /// # Errors
    /// Where the table cannot take the rows as it is, with the option at fault.
    pub async fn look_sink(
        &self,
        name: &str,
        class: &str,
        options: &ConfigMap,
        rows: &DeclaredRows,
    ) -> Result<Vec<String>, TableError> {
        let (plugin, given, config) = self.sink(name, class, options, rows)?;
        let (Some(sinks), Ok(resolved)) = (plugin.sink_tables(), secrets::resolve(&config)) else {
            return Ok(Vec::new());
        };
        let looked = sinks.look(&resolved, rows).await;
        looked.map_err(|error| given.error(error))
    }

    /// The plugin of a sink, its options, and the configuration that they come to.
    fn sink(
        &self,
        name: &str,
        class: &str,
        options: &ConfigMap,
        rows: &DeclaredRows,
    ) -> Result<(Arc<dyn ConnectorPlugin>, Given, ConfigMap), TableError> {
        let plugins = &self.inner.plugins;
        let found = plugins.connector(class).map(Arc::clone);
        let Some((plugin, sinks)) = found
            .as_ref()
            .and_then(|plugin| Some((plugin, plugin.sink_tables()?)))
        else {
            let known = short_names(plugins, |plugin| plugin.sink_tables().is_some());
            let message =
                format!("there is no connector '{class}' that writes tables; there is {known}");
            return Err(TableError::of(Some("connector"), message));
        };
        let given = Given::new(sinks.aliases(), options)?;
        given.check_known(&**plugin)?;
        let config = sinks.config(name, &given.keys, rows);
        let mut config = config.map_err(|error| given.error(error))?;
        config.insert("connector.class".to_owned(), class.to_owned());
        config.insert("name".to_owned(), name.to_owned());
        Ok((Arc::clone(plugin), given, config))
    }

    /// The first thing that is wrong with a configuration, if there is any.
    async fn check(&self, config: &ConfigMap, given: &Given) -> Result<(), TableError> {
        let infos = super::validate(&self.inner, config).await;
        let infos = infos.map_err(|error| TableError::of(None, error.to_string()))?;
        match infos.first_error() {
            Some((key, message)) => Err(given.error_of(key, message)),
            None => Ok(()),
        }
    }

    /// Whether there is a connector of this name.
    pub fn exists(&self, name: &str) -> bool {
        self.inner.herder.read().contains(name)
    }

    /// Makes a planned connector.
    ///
    /// # Errors
    /// Where there is one of this name, or it cannot be stored.
    pub async fn create(&self, name: &str, config: ConfigMap) -> Result<(), TableError> {
        let plugin = plugin_info(&self.inner.plugins, &config).ok_or_else(|| {
            TableError::of(Some("connector"), "the class of the connector is not there")
        })?;
        let change = Change::Put {
            name: name.to_owned(),
            config,
            plugin,
            target: None,
            create_only: true,
        };
        self.inner.change(change).await?;
        Ok(())
    }

    /// Takes a connector down with its offsets and what it left at its source. Returns what could not be taken down there. One
    /// that is not there is none.
    ///
    /// # Errors
    /// Where its tasks do not end, and then it goes on; or where it cannot be stored, and then it may be stopped.
    pub async fn remove(&self, name: &str) -> Result<Vec<String>, TableError> {
        let name = name.to_owned();
        let Some(view) = self.inner.herder.read().view(&name) else {
            return Ok(Vec::new());
        };
        let (config, before) = (view.config, view.target);
        let target = |state| Change::Target {
            name: name.clone(),
            state,
        };
        self.inner.change(target(TargetState::Stopped)).await?;
        let stopped = tokio::time::timeout(STOP_MAX, self.until_stopped(&name)).await;
        if stopped.is_err() {
            // What stays whole must not stand still.
            self.inner.change(target(before)).await?;
            let message = format!(
                "connector {name} did not stop within {} s: thalweg connect status {name} says what it does",
                STOP_MAX.as_secs()
            );
            return Err(TableError::of(None, message));
        }
        let class = config.get("connector.class").map(String::as_str);
        let plugin = class.and_then(|class| self.inner.plugins.connector(class));
        let tables = plugin.and_then(|plugin| plugin.tables());
        let left = match (tables, secrets::resolve(&config)) {
            (Some(tables), Ok(resolved)) => tables.remove(&resolved).await,
            (Some(_), Err(error)) => vec![format!("nothing was taken down at the source: {error}")],
            (None, _) => Vec::new(),
        };
        let reset = Change::Offsets {
            name: name.clone(),
            change: OffsetsChange::Reset,
        };
        self.inner.change(reset).await?;
        self.inner.change(Change::Delete { name }).await?;
        Ok(left)
    }

    async fn until_stopped(&self, name: &str) {
        let runs = || {
            let view = self.inner.herder.read().view(name);
            view.is_some_and(|view| super::offsets::check_stopped(&view).is_err())
        };
        while runs() {
            tokio::time::sleep(STOP_LOOK).await;
        }
    }

    /// The connector that has one of these for itself.
    fn taken(&self, wanted: Vec<SoleUse>) -> Option<(String, SoleUse)> {
        let herder = self.inner.herder.read();
        herder.names().into_iter().find_map(|name| {
            let config = herder.config(&name)?;
            let class = config.get("connector.class")?;
            let tables = self.inner.plugins.connector(class)?.tables()?;
            // A secret that is missing is none of their names.
            let (resolved, _) = secrets::resolve_all(config);
            let used = tables.sole_uses(&resolved);
            let both = wanted.iter().find(|sole| used.contains(sole))?;
            Some((name, both.clone()))
        })
    }

    fn check_name(&self, name: &str) -> Result<(), TableError> {
        if !self.exists(name) {
            return Ok(());
        }
        let message = format!(
            "there is a connector {name} already, and the connector of an object has its name: choose another name, or \
             run thalweg connect delete {name}"
        );
        Err(TableError::of(None, message))
    }
}

/// Short names of connectors, for an error that lists them.
fn short_names(plugins: &Plugins, wanted: impl Fn(&dyn ConnectorPlugin) -> bool) -> String {
    let named = plugins
        .connectors()
        .filter(|plugin| wanted(&***plugin))
        .map(|plugin| plugin.aliases().last().copied().unwrap_or(plugin.class()));
    named.collect::<Vec<&str>>().join(", ")
}

/// Options as they were given, and the keys that they are.
struct Given {
    /// Key → value.
    keys: ConfigMap,
    /// Key → option.
    options: ConfigMap,
    aliases: &'static [(&'static str, &'static str)],
}

impl Given {
    fn new(
        aliases: &'static [(&'static str, &'static str)],
        options: &ConfigMap,
    ) -> Result<Self, TableError> {
        let mut given = Self {
            keys: ConfigMap::new(),
            options: ConfigMap::new(),
            aliases,
        };
        for (option, value) in options {
            let alias = aliases.iter().find(|(alias, _)| alias == option);
            let key = alias.map_or(option.as_str(), |(_, key)| key);
            if let Some(other) = given.options.insert(key.to_owned(), option.clone()) {
                let message = format!("{option} and {other} are the same: say it once");
                return Err(TableError::of(Some(option), message));
            }
            given.keys.insert(key.to_owned(), value.clone());
        }
        Ok(given)
    }

    /// That somebody reads every key.
    fn check_known(&self, plugin: &dyn ConnectorPlugin) -> Result<(), TableError> {
        let def = definition::whole(plugin);
        let is_known = |key: &str| {
            def.key(key).is_some()
                || plugin.undeclared(key) != Undeclared::Unknown
                || self.aliases.iter().any(|(_, known)| *known == key)
        };
        let Some((_, option)) = self.options.iter().find(|(key, _)| !is_known(key)) else {
            return Ok(());
        };
        let names = def.keys().iter().map(|key| key.name.as_str());
        // Of names that are equally near the last is taken: SQL's own.
        let known = names.chain(self.aliases.iter().map(|(alias, _)| *alias));
        let hint = match nearest(option, known) {
            Some(near) => format!("; is {near} meant?"),
            None => String::new(),
        };
        let message = format!("there is no option {option} of this connector{hint}");
        Err(TableError::of(Some(option), message))
    }

    fn error(&self, error: ConnectError) -> TableError {
        match error {
            ConnectError::Config { key, message } => self.error_of(&key, message),
            other => TableError::of(None, other.to_string()),
        }
    }

    /// An error of a key, whose option it names.
    fn error_of(&self, key: &str, message: String) -> TableError {
        let option = self.options.get(key).map(String::as_str);
        TableError::of(option, format!("{}: {message}", option.unwrap_or(key)))
    }
}
