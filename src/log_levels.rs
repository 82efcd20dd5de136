//! Levels of this program's log that Connect's REST interface changes while it runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use connect_runtime::LogLevels;
use tracing_subscriber::EnvFilter;

/// Puts another filter in front of the log.
pub(crate) type Reload = Box<dyn Fn(EnvFilter) + Send + Sync>;

/// The log of this process, once it writes.
static LOG: OnceLock<Arc<Levels>> = OnceLock::new();

/// Levels as they were set at the start, and since.
struct Levels {
    start: String,
    since: Mutex<BTreeMap<String, String>>,
    reload: Reload,
}

/// Keeps how the log is filtered: by these directives, and through `reload` by others.
pub(crate) fn keep(directives: String, reload: Reload) {
    let levels = Levels {
        start: directives,
        since: Mutex::default(),
        reload,
    };
    // The log is set up once.
    let _ = LOG.set(Arc::new(levels));
}

/// The levels of the log, where this process writes one.
pub(crate) fn levels() -> Option<Arc<dyn LogLevels>> {
    LOG.get()
        .map(|levels| Arc::clone(levels) as Arc<dyn LogLevels>)
}

/// The level of directives that names no module.
fn root_of(directives: &str) -> Option<&str> {
    let mut parts = directives.split(',').map(str::trim);
    parts.rfind(|part| !part.is_empty() && !part.contains(['=', '[']))
}

impl LogLevels for Levels {
    fn root(&self) -> String {
        root_of(&self.start).unwrap_or("error").to_owned()
    }

    fn set(&self, module: Option<&str>, level: &str) {
        // Nothing that panics holds it.
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let is_name = |name: &&str| {
            name.chars()
                .all(|letter| letter.is_alphanumeric() || "_:.-".contains(letter))
        };
        match module {
            None => drop(since.insert(String::new(), level.to_owned())),
            // Nothing logs under a name that cannot be a module's.
            Some(module) => {
                if let Some(module) = Some(module).filter(is_name) {
                    since.insert(module.replace('.', "::"), level.to_owned());
                }
            }
        }
        if let Ok(filter) = EnvFilter::try_new(directives(&self.start, &since)) {
            (self.reload)(filter);
        }
    }
}

/// Directives with what was set since behind them: of a name the last counts.
fn directives(start: &str, since: &BTreeMap<String, String>) -> String {
    let mut all = start.to_owned();
    for (module, level) in since {
        all += &match module.is_empty() {
            true => format!(",{level}"),
            false => format!(",{module}={level}"),
        };
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_that_are_set_go_before_those_of_the_start() {
        assert_eq!(root_of("librdkafka=off,warn,sql=debug"), Some("warn"));
        assert_eq!(root_of("sql=debug"), None);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&seen);
        let levels = Levels {
            start: "librdkafka=off,warn".to_owned(),
            since: Mutex::default(),
            reload: Box::new(move |filter| told.lock().unwrap().push(filter.to_string())),
        };
        levels.set(Some("connect_runtime"), "debug");
        levels.set(None, "info");
        levels.set(Some("no module=trace,x"), "trace");
        let seen = seen.lock().unwrap();
        assert!(
            seen[0].contains("connect_runtime=debug") && seen[0].contains("warn"),
            "{seen:?}"
        );
        assert!(
            seen[1].contains("info") && !seen[1].contains("warn"),
            "{seen:?}"
        );
        assert_eq!(seen[2], seen[1]);
    }
}
