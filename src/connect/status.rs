//! The state of connectors and their tasks, once or again and again: how far they are, and why one failed.

use std::fmt::Write;
use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use anyhow::Result;
use reqwest::Method;
use serde_json::Value;

use super::worker::Worker;
use crate::screen::line;
use crate::topic::Output;

/// Between two looks.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Clears the screen and goes to its first line.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Shows one connector, or all.
pub(super) async fn show(worker: &Worker, output: Output, name: Option<&str>) -> Result<()> {
    if let Some(name) = name {
        worker.known(name).await?;
    }
    match output {
        Output::Json => {
            for (_, status) in statuses(worker, name).await? {
                line(status)?;
            }
            Ok(())
        }
        Output::Table => line(text(worker, name).await?),
    }
}

/// Shows them again every second, until Ctrl-C.
pub(super) async fn watch(worker: &Worker, output: Output, name: Option<&str>) -> Result<()> {
    let clear = std::io::stdout().is_terminal() && output == Output::Table;
    loop {
        if clear {
            write!(std::io::stdout(), "{CLEAR}")?;
            std::io::stdout().flush()?;
        }
        show(worker, output, name).await?;
        tokio::select! {
            ended = tokio::signal::ctrl_c() => return Ok(ended?),
            () = tokio::time::sleep(WATCH_EVERY) => {}
        }
    }
}

async fn text(worker: &Worker, name: Option<&str>) -> Result<String> {
    let statuses = statuses(worker, name).await?;
    if statuses.is_empty() {
        return Ok("there are no connectors; `thalweg connect apply FILE` makes one".to_owned());
    }
    let texts: Vec<String> = statuses
        .iter()
        .map(|(name, status)| status_text(name, status))
        .collect();
    Ok(texts.join("\n"))
}

async fn statuses(worker: &Worker, name: Option<&str>) -> Result<Vec<(String, Value)>> {
    let names = match name {
        Some(name) => vec![name.to_owned()],
        None => worker.names().await?,
    };
    let mut statuses = Vec::with_capacity(names.len());
    for known in names {
        let mut url = worker.url(&["connectors", &known, "status"]);
        url.query_pairs_mut().append_pair("expand", "progress");
        match worker.send(Method::GET, url, None).await {
            Ok(status) => statuses.push((known, status)),
            Err(error) if name.is_some() => return Err(error),
            // It has gone since.
            Err(_) => {}
        }
    }
    Ok(statuses)
}

/// A line for the connector and one for each task, with how far it is and the first lines of a trace below it.
fn status_text(name: &str, status: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let trace = |of: &Value| -> String {
        let lines = of["trace"].as_str().unwrap_or_default().lines().take(5);
        lines.map(|line| format!("\n    {line}")).collect()
    };
    let connector = &status["connector"];
    let mut out = format!(
        "{} connector {name}: {}{}",
        text(&status["type"]),
        text(&connector["state"]),
        trace(connector)
    );
    for task in status["tasks"].as_array().into_iter().flatten() {
        out += &format!(
            "\n  task {}: {} on {}{}",
            task["id"],
            text(&task["state"]),
            text(&task["worker_id"]),
            trace(task)
        );
        progress(&task["progress"], &mut out);
    }
    out
}

/// Words and figures on one line, what is read in parts below it.
fn progress(progress: &Value, out: &mut String) {
    let Some(progress) = progress.as_object() else {
        return;
    };
    let figures = progress.iter();
    let figures = figures.filter(|(name, _)| !matches!(name.as_str(), "parts" | "notes"));
    let figures: Vec<String> = figures
        .map(|(name, value)| match value {
            Value::String(word) => format!("{name}: {word}"),
            other => format!("{name}: {other}"),
        })
        .collect();
    if !figures.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(out, "\n    {}", figures.join("   ").replace('_', " "));
    }
    let parts = progress.get("parts").and_then(Value::as_array);
    for part in parts.into_iter().flatten() {
        let name = part["name"].as_str().unwrap_or_default();
        let rows = crate::topic::counted(part["rows"].as_i64().unwrap_or(0), "row");
        let _ = write!(out, "\n    {name}: {rows}");
        if let Some(percent) = part["percent"].as_f64() {
            let _ = write!(out, ", {percent} %");
        }
        if let Some(seconds) = part["eta_seconds"].as_u64() {
            let _ = write!(out, ", about {seconds} s to go");
        }
        if part["done"] == true {
            out.push_str(", done");
        }
    }
    let notes = progress.get("notes").and_then(Value::as_array);
    for note in notes.into_iter().flatten().filter_map(Value::as_str) {
        let _ = write!(out, "\n    {note}");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_shows_why_a_task_failed() {
        let status = json!({
            "name": "in", "type": "source",
            "connector": {"state": "RUNNING", "worker_id": "w"},
            "tasks": [{"id": 0, "state": "FAILED", "worker_id": "w", "trace": "no file\nat x"}],
        });
        assert_eq!(
            status_text("in", &status),
            "source connector in: RUNNING\n  task 0: FAILED on w\n    no file\n    at x"
        );
    }

    #[test]
    fn a_status_shows_how_far_a_task_is() {
        let status = json!({
            "name": "in", "type": "source",
            "connector": {"state": "RUNNING", "worker_id": "w"},
            "tasks": [{"id": 0, "state": "RUNNING", "worker_id": "w", "progress": {
                "lag_bytes": 7, "phase": "snapshot",
                "parts": [
                    {"name": "s.t", "rows": 5, "percent": 50, "eta_seconds": 9},
                    {"name": "s.u", "rows": 1, "done": true},
                ],
                "notes": ["table s.v_1 is gone"],
            }}],
        });
        assert_eq!(
            status_text("in", &status),
            "source connector in: RUNNING\n  task 0: RUNNING on w\n    lag bytes: 7   phase: snapshot\n    \
             s.t: 5 rows, 50 %, about 9 s to go\n    s.u: 1 row, done\n    table s.v_1 is gone"
        );
    }
}
