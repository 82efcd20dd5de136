//! How far the tasks of a worker are: what a run tells of itself and what the runtime counts for it. Kept in memory
//! only: it is of the present run.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connect_api::{PartProgress, Progress};
use parking_lot::Mutex;
use serde_json::{Map, Value as Json, json};

use super::TaskId;

/// Between two looks at a task.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// What the runs of a worker have told last, by task.
#[derive(Default)]
pub(crate) struct Board(Mutex<HashMap<TaskId, (u64, Json)>>);

impl Board {
    /// What a task's run told last.
    pub(crate) fn of(&self, id: &TaskId) -> Option<Json> {
        self.0.lock().get(id).map(|(_, shown)| shown.clone())
    }

    fn show(&self, id: &TaskId, run: u64, shown: Json) {
        self.0.lock().insert(id.clone(), (run, shown));
    }

    /// A run ended; what a later one told stays.
    pub(super) fn clear(&self, id: &TaskId, run: u64) {
        let mut shown = self.0.lock();
        if shown.get(id).is_some_and(|(of, _)| *of == run) {
            shown.remove(id);
        }
    }
}

/// What a run counts, and when it shows it.
pub(super) struct Meter {
    board: Arc<Board>,
    id: TaskId,
    run: u64,
    records: u64,
    shown: Option<Instant>,
    records_then: u64,
}

impl Meter {
    /// A run that begins.
    pub(super) fn new(board: &Arc<Board>, id: &TaskId, run: u64) -> Self {
        Self {
            board: Arc::clone(board),
            id: id.clone(),
            run,
            records: 0,
            shown: None,
            records_then: 0,
        }
    }

    /// Records that came through.
    pub(super) fn count(&mut self, records: usize) {
        self.records += records as u64;
    }

    /// Whether it is time to look.
    pub(super) fn is_due(&self) -> bool {
        self.shown.is_none_or(|at| at.elapsed() >= SHOW_EVERY)
    }

    /// Shows what the task tells, and what was counted.
    pub(super) fn show(&mut self, mut progress: Progress) {
        if let Some(at) = self.shown {
            let millis = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
            let since = self.records - self.records_then;
            let rate = since.saturating_mul(1000) / millis.max(1);
            progress.figures.push((
                "records_per_second",
                i64::try_from(rate).unwrap_or(i64::MAX),
            ));
        }
        let records = i64::try_from(self.records).unwrap_or(i64::MAX);
        progress.figures.push(("records", records));
        for (figure, value) in &progress.figures {
            metrics::gauge!(
                "thalweg_connect_task_figure",
                "connector" => self.id.connector.clone(),
                "task" => self.id.task.to_string(),
                "figure" => *figure,
            )
            // Figures beyond 2^53 lose digits that nobody draws.
            .set(*value as f64);
        }
        self.board.show(&self.id, self.run, to_json(&progress));
        (self.shown, self.records_then) = (Some(Instant::now()), self.records);
    }
}

/// As status shows it.
fn to_json(progress: &Progress) -> Json {
    let mut out = Map::new();
    if let Some(phase) = progress.phase {
        out.insert("phase".to_owned(), phase.into());
    }
    let figures = progress.figures.iter();
    out.extend(figures.map(|(name, value)| ((*name).to_owned(), (*value).into())));
    if !progress.parts.is_empty() {
        out.insert(
            "parts".to_owned(),
            progress.parts.iter().map(part_json).collect(),
        );
    }
    if !progress.notes.is_empty() {
        out.insert("notes".to_owned(), progress.notes.clone().into());
    }
    out.into()
}

fn part_json(part: &PartProgress) -> Json {
    let mut out = json!({"name": part.name, "rows": part.rows, "done": part.done});
    if let Some(expected) = part.rows_expected {
        out["rows_expected"] = expected.into();
    }
    if let Some(percent) = part.percent() {
        out["percent"] = percent.into();
    }
    if let Some(left) = part.remaining() {
        out["eta_seconds"] = left.as_secs().into();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_shows_what_it_counts_until_it_ends() {
        let board = Arc::new(Board::default());
        let id = TaskId {
            connector: "c".to_owned(),
            task: 0,
        };
        let mut meter = Meter::new(&board, &id, 2);
        assert!(meter.is_due());
        meter.count(7);
        meter.show(Progress {
            phase: Some("snapshot"),
            figures: vec![("lag_bytes", 5)],
            parts: vec![PartProgress {
                name: "s.t".to_owned(),
                rows: 5,
                rows_expected: Some(10),
                reading: Some(Duration::from_secs(3)),
                done: false,
            }],
            notes: vec!["s.u is gone".to_owned()],
        });
        assert!(!meter.is_due());
        let expected = json!({
            "phase": "snapshot", "lag_bytes": 5, "records": 7,
            "parts": [{
                "name": "s.t", "rows": 5, "done": false, "rows_expected": 10, "percent": 50, "eta_seconds": 3,
            }],
            "notes": ["s.u is gone"],
        });
        assert_eq!(board.of(&id), Some(expected));
        // A run that was left behind ends late.
        board.clear(&id, 1);
        assert!(board.of(&id).is_some());
        board.clear(&id, 2);
        assert_eq!(board.of(&id), None);
    }
}
