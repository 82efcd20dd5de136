//! How a connector is, in words: what REST shows of it, a line each, for who asks in SQL.

use serde_json::Value as Json;

use super::status_with;
use crate::worker::Tables;

impl Tables {
    /// How a connector is, a line each; `None` where there is none.
    pub fn state(&self, name: &str) -> Option<Vec<String>> {
        let status = status_with(&self.inner, name, true).ok()?;
        Some(lines(name, &status))
    }
}

/// A status in words.
fn lines(name: &str, status: &Json) -> Vec<String> {
    let word = |json: &Json| json.as_str().unwrap_or_default().to_owned();
    let trace = |json: &Json| {
        let first = json["trace"]
            .as_str()
            .and_then(|trace| trace.lines().next());
        first.map(str::to_owned)
    };
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
        for part in progress["parts"].as_array().into_iter().flatten() {
            let mut text = format!("{}: {} rows read", word(&part["name"]), part["rows"]);
            if let Some(percent) = part["percent"].as_f64() {
                text += &format!(", {percent} %");
            }
            if let Some(seconds) = part["eta_seconds"].as_u64() {
                text += &format!(", about {seconds} s to go");
            }
            lines.push(text);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_is_told_in_words() {
        let status = json!({
            "connector": {"state": "RUNNING"},
            "tasks": [{"id": 0, "state": "FAILED", "trace": "no right\nat x", "progress": {
                "phase": "streaming", "records": 7, "lag_ms": 3, "slot_kept_bytes": 9,
                "parts": [{"name": "s.t", "rows": 5, "percent": 50, "eta_seconds": 9}],
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
            ]
        );
    }
}
