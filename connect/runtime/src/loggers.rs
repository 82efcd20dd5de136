//! Levels of the program's own log, under the names that Connect's users have for its parts.
//!
//! | logger | what it covers here |
//! |---|---|
//! | `root` | everything without a level of its own |
//! | `org.apache.kafka.connect`, and names below | the runtime, `connect_runtime` |
//! | `io.debezium`, and names below | the PostgreSQL connectors, `connector_postgres` |
//! | any other name | the module of that name: `connector_file`, `log_broker`, `sql`, … |
//!
//! Levels last until the program ends. They are those of log4j; a log that knows fewer takes the nearest.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;

/// The name of what has no level of its own.
const ROOT: &str = "root";
/// Loggers that are there from the start.
const KNOWN: [&str; 5] = [
    ROOT,
    "connect_runtime",
    "connector_file",
    "connector_postgres",
    "org.apache.kafka.connect",
];
/// Names of loggers that are kept; more are refused.
const LOGGERS_MAX: usize = 1000;

/// The program's own log.
pub trait LogLevels: Send + Sync {
    /// The level of what has none of its own: `info`.
    fn root(&self) -> String;

    /// Sets the level (`error`, `warn`, `info`, `debug`, `trace`, `off`) of a module, or of all that have none of their own.
    fn set(&self, module: Option<&str>, level: &str);
}

/// Levels as log4j has them, and as [`LogLevels`] does.
const LEVELS: [(&str, &str); 8] = [
    ("OFF", "off"),
    ("FATAL", "error"),
    ("ERROR", "error"),
    ("WARN", "warn"),
    ("INFO", "info"),
    ("DEBUG", "debug"),
    ("TRACE", "trace"),
    ("ALL", "trace"),
];

/// A logger as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Logger {
    /// In log4j's words.
    pub(crate) level: String,
    /// Milliseconds since 1970; `None` where nobody changed it.
    pub(crate) modified_ms: Option<i64>,
}

/// The loggers of a worker.
#[derive(Default)]
pub(crate) struct Loggers {
    levels: OnceLock<Arc<dyn LogLevels>>,
    set: RwLock<BTreeMap<String, Logger>>,
}

impl Loggers {
    /// From now on levels are those of this log.
    pub(crate) fn attach(&self, levels: Arc<dyn LogLevels>) {
        // A second log would be another program's.
        let _ = self.levels.set(levels);
    }

    /// All loggers by name.
    pub(crate) fn all(&self) -> BTreeMap<String, Logger> {
        let mut all: BTreeMap<String, Logger> = KNOWN
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), self.get(name)?)))
            .collect();
        all.extend(self.set.read().clone());
        all
    }

    /// One of them.
    pub(crate) fn get(&self, name: &str) -> Option<Logger> {
        let set = self.set.read();
        if let Some(logger) = set.get(name) {
            return Some(logger.clone());
        }
        // What covers it: the nearest name in front, or the root.
        let above = set.iter().rev().find(|(set, _)| is_below(name, set));
        let covering = above.map(|(_, logger)| logger).or_else(|| set.get(ROOT));
        let level = covering.map_or_else(|| self.root(), |logger| logger.level.clone());
        KNOWN.contains(&name).then_some(Logger {
            level,
            modified_ms: None,
        })
    }

    fn root(&self) -> String {
        let level = self.levels.get().map(|levels| levels.root());
        level.map_or_else(|| "INFO".to_owned(), |level| level.to_ascii_uppercase())
    }

    /// Sets a level. Gives the loggers that have it now: the one that is named and those below.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn set(
        &self,
        name: &str,
        level: &str,
        now_ms: i64,
    ) -> Result<Vec<String>, SetError> {
        let wanted = level.to_ascii_uppercase();
        let found = LEVELS.iter().find(|(known, _)| *known == wanted);
        let Some((level, plain)) = found else {
            return Err(SetError::Level);
        };
        let mut set = self.set.write();
        if !set.contains_key(name) && set.len() >= LOGGERS_MAX {
            return Err(SetError::TooMany);
        }
        let logger = Logger {
            level: (*level).to_owned(),
            modified_ms: Some(now_ms),
        };
        let below = set.keys().map(String::as_str).chain(KNOWN);
        let mut touched: Vec<String> = below
            .filter(|known| is_below(known, name))
            .map(str::to_owned)
            .collect();
        touched.push(name.to_owned());
        touched.sort();
        touched.dedup();
        for touched in &touched {
            set.insert(touched.clone(), logger.clone());
            if let Some(levels) = self.levels.get() {
                let module = module(touched);
                levels.set(module.as_deref(), plain);
            }
        }
        Ok(touched)
    }
}

/// Why a level was not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetError {
    /// There is no such level.
    Level,
    /// So many names cannot be kept.
    TooMany,
}

/// Whether a logger is one of the part that another one names.
fn is_below(name: &str, above: &str) -> bool {
    let rest = name.strip_prefix(above);
    rest.is_some_and(|rest| rest.starts_with(['.', ':']))
}

/// The module that a logger is; `None` for the root.
fn module(name: &str) -> Option<String> {
    let of = |above: &str| name == above || is_below(name, above);
    match name {
        ROOT => None,
        _ if of("org.apache.kafka.connect") => Some("connect_runtime".to_owned()),
        _ if of("io.debezium") => Some("connector_postgres".to_owned()),
        other => Some(other.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[derive(Default)]
    struct Seen(Mutex<Vec<String>>);

    impl LogLevels for Seen {
        fn root(&self) -> String {
            "warn".to_owned()
        }

        fn set(&self, module: Option<&str>, level: &str) {
            self.0.lock().push(format!("{module:?} {level}"));
        }
    }

    #[test]
    fn levels_reach_the_log_and_what_is_below() {
        let loggers = Loggers::default();
        assert_eq!(loggers.get("root").unwrap().level, "INFO");
        let seen = Arc::new(Seen::default());
        loggers.attach(Arc::clone(&seen) as Arc<dyn LogLevels>);
        assert_eq!(loggers.get("root").unwrap().level, "WARN");
        assert_eq!(loggers.get("no.such"), None);
        assert_eq!(
            loggers.set("io.debezium.a", "Debug", 7).unwrap(),
            ["io.debezium.a"]
        );
        let touched = loggers.set("io.debezium", "FATAL", 8).unwrap();
        assert_eq!(touched, ["io.debezium", "io.debezium.a"]);
        let below = loggers.get("io.debezium.a").unwrap();
        assert_eq!(
            (below.level.as_str(), below.modified_ms),
            ("FATAL", Some(8))
        );
        loggers.set("root", "trace", 9).unwrap();
        assert_eq!(loggers.get("connector_file").unwrap().level, "TRACE");
        assert_eq!(loggers.set("sql", "loud", 9), Err(SetError::Level));
        assert_eq!(
            *seen.0.lock(),
            [
                "Some(\"connector_postgres\") debug",
                "Some(\"connector_postgres\") error",
                "Some(\"connector_postgres\") error",
                "None trace",
            ]
        );
        assert!(loggers.all().len() >= KNOWN.len() + 2);
    }

    #[test]
    fn names_are_not_kept_without_end() {
        let loggers = Loggers::default();
        for number in 0..LOGGERS_MAX {
            loggers.set(&format!("n{number}"), "info", 0).unwrap();
        }
        assert_eq!(loggers.set("one.more", "info", 0), Err(SetError::TooMany));
        loggers.set("n1", "debug", 0).unwrap();
    }
}
