//! How a connector is, in words: what REST shows of it, a line each, for who asks in SQL.

use std::time::Duration;

use connect_api::SourceOffsets;
use serde_json::Value as Json;

use super::status_with;
use crate::secrets;
use crate::worker::{ListedConnector, Tables};

/// How long offsets are waited for that an open transaction may hold.
const OFFSETS_WAIT_MAX: Duration = Duration::from_millis(200);

impl Tables {
    /// How a connector is, a line each; `None` where there is none.
    pub fn state(&self, name: &str) -> Option<Vec<String>> {
        let status = status_with(&self.inner, name, true).ok()?;
        Some(lines(name, &status))
    }

    /// How far a connector is that has still to read the rows which its table held, in a few words; `None`: they are in its
    /// topic, or it is none that reads a table.
    pub async fn filling(&self, name: &str) -> Option<String> {
        if self.inner.filled.lock().contains(name) {
            return None;
        }
        let config = self.inner.herder.read().config(name).cloned()?;
        let plugin = self
            .inner
            .plugins
            .connector(config.get("connector.class")?)?;
        let tables = plugin.tables()?;
        let offsets = self.inner.environment.offsets.load(name);
        match tokio::time::timeout(OFFSETS_WAIT_MAX, offsets).await {
            Ok(Ok(stored)) => {
                let (config, _) = secrets::resolve_all(&config);
                if tables.is_filled(&config, &SourceOffsets::new(stored)) {
                    self.inner.filled.lock().insert(name.to_owned());
                    return None;
                }
            }
            // Who reads the topic hears of a log that does not answer anyway.
            Ok(Err(_)) => return None,
            // The task writes.
            Err(_) => {}
        }
        let status = status_with(&self.inner, name, true).ok()?;
        Some(read_so_far(&status))
    }

    /// All connectors, by name.
    pub fn list(&self) -> Vec<ListedConnector> {
        let names = self.inner.herder.read().names();
        let listed = names.into_iter().filter_map(|name| {
            let status = status_with(&self.inner, &name, false).ok()?;
            let config = self.inner.herder.read().config(&name).cloned();
            let class = config.and_then(|mut config| config.remove("connector.class"));
            Some(listed(name, class.unwrap_or_default(), &status))
        });
        listed.collect()
    }
}

/// A connector and its tasks in a few words.
fn listed(name: String, class: String, status: &Json) -> ListedConnector {
    let word = |json: &Json| json.as_str().unwrap_or_default().to_owned();
    let tasks = status["tasks"].as_array().cloned().unwrap_or_default();
    let parts = std::iter::once(&status["connector"]).chain(&tasks);
    let error = parts.filter_map(|part| part["trace"].as_str()).next();
    ListedConnector {
        name,
        kind: word(&status["type"]),
        class,
        state: word(&status["connector"]["state"]),
        tasks: tasks.len(),
        failed_tasks: tasks
            .iter()
            .filter(|task| task["state"] == "FAILED")
            .count(),
        error: error.map(cause),
    }
}

/// In front of what Kafka's exceptions say: of no use to who asks in SQL.
const EXCEPTIONS: &str = "org.apache.kafka.connect.errors.";

/// What a trace says that something comes from: its last cause, or its first line.
fn cause(trace: &str) -> String {
    let mut causes = trace
        .lines()
        .filter_map(|line| line.strip_prefix("Caused by: "));
    let said = causes.next_back().or_else(|| trace.lines().next());
    let said = said.unwrap_or_default();
    let of_exception = said
        .strip_prefix(EXCEPTIONS)
        .and_then(|said| said.split_once(": "));
    of_exception.map_or(said, |(_, said)| said).to_owned()
}

/// What the tasks are reading, and how far they are.
fn read_so_far(status: &Json) -> String {
    let tasks = status["tasks"].as_array().into_iter().flatten();
    let told: Vec<String> = tasks.flat_map(parts).map(part_words).collect();
    match told.is_empty() {
        true => "no rows read yet".to_owned(),
        false => told.join("; "),
    }
}

/// What a task reads in parts.
fn parts(task: &Json) -> impl Iterator<Item = &Json> {
    task["progress"]["parts"].as_array().into_iter().flatten()
}

/// A part in words: `public.orders: 5 rows read, 50 %, about 9 s to go`.
fn part_words(part: &Json) -> String {
    let name = part["name"].as_str().unwrap_or_default();
    let mut text = format!("{name}: {} rows read", part["rows"]);
    if let Some(percent) = part["percent"].as_f64() {
        text += &format!(", {percent} %");
    }
    if let Some(seconds) = part["eta_seconds"].as_u64() {
        text += &format!(", about {seconds} s to go");
    }
    text
}

/// A status in words.
fn lines(name: &str, status: &Json) -> Vec<String> {
    let word = |json: &Json| json.as_str().unwrap_or_default().to_owned();
    let trace = |json: &Json| json["trace"].as_str().map(cause);
    let connector = &status["connector"];
    let mut lines = vec![format!("connector {name} is {}", word(&connector["state"]))];
    lines.extend(trace(connector));
    for task in status["tasks"].as_array().into_iter().flatten() {
        let state = word(&task["state"]);
        if state != word(&connector["state"]) {
            lines.push(format!("its task is {state}"));
        }
        lines.extend(trace(task));
        let progress = &task["progress"];
        let figure = |figure: &str| progress[figure].as_i64();
        if let Some(phase) = progress["phase"].as_str() {
            let mut text = format!("{phase}, {} records so far", figure("records").unwrap_or(0));
            for (key, before, behind) in [
                ("lag_ms", "", " ms behind"),
                (
                    "slot_kept_bytes",
                    "the server keeps ",
                    " bytes for its slot",
                ),
            ] {
                if let Some(figure) = figure(key) {
                    text += &format!(", {before}{figure}{behind}");
                }
            }
            lines.push(text);
        }
        lines.extend(parts(task).map(part_words));
        lines.extend(progress["notes"].as_array().into_iter().flatten().map(word));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_trace_the_last_cause_is_told() {
        let trace = "Exception: Tolerance exceeded\n\tat x\nCaused by: Rejected: k is null (stage TASK_PUT). Set a\n\tat y";
        assert_eq!(cause(trace), "Rejected: k is null (stage TASK_PUT). Set a");
        assert_eq!(cause("no right\n\tat x"), "no right");
        let named = "org.apache.kafka.connect.errors.DataException: table t: k is null";
        assert_eq!(cause(named), "table t: k is null");
    }

    #[test]
    fn a_connector_is_listed_with_what_it_suffers_from() {
        let status = json!({
            "type": "sink", "connector": {"state": "RUNNING"},
            "tasks": [{"state": "RUNNING"}, {"state": "FAILED", "trace": "no\nCaused by: k is null"}],
        });
        let listed = listed("c".to_owned(), "x.Sink".to_owned(), &status);
        let text = format!(
            "{} {} {} {}",
            listed.kind, listed.state, listed.tasks, listed.failed_tasks
        );
        assert_eq!(text, "sink RUNNING 2 1");
        assert_eq!(listed.error.as_deref(), Some("k is null"));
    }

    #[test]
    fn a_status_is_told_in_words() {
        let status = json!({
            "connector": {"state": "RUNNING"},
            "tasks": [{"id": 0, "state": "FAILED", "trace": "no right\nat x", "progress": {
                "phase": "streaming", "records": 7, "lag_ms": 3, "slot_kept_bytes": 9,
                "parts": [{"name": "s.t", "rows": 5, "percent": 50, "eta_seconds": 9}],
                "notes": ["table s.u is gone"],
            }}],
        });
        assert_eq!(
            lines("c", &status),
            [
                "connector c is RUNNING",
                "its task is FAILED",
                "no right",
                "streaming, 7 records so far, 3 ms behind, the server keeps 9 bytes for its slot",
                "s.t: 5 rows read, 50 %, about 9 s to go",
                "table s.u is gone",
            ]
        );
        assert_eq!(
            read_so_far(&status),
            "s.t: 5 rows read, 50 %, about 9 s to go"
        );
        assert_eq!(read_so_far(&json!({"tasks": []})), "no rows read yet");
    }
}
