//! The live table: the current rows of a push query, redrawn in place.
//!
//! ```text
//! ┌ rows (as many as the screen holds, the latest changed last) ┐
//! └ status: rows · changes · changes a second · Ctrl-C to leave ┘
//! ```
//!
//! Invariant: the table is the multiset of all changes seen so far; an update keeps its place.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use crossterm::{cursor, queue, style, terminal};
use serde_json::Value;
use tokio::signal::unix::Signal;

use super::client::{Next, Row, Rows};
use super::output::{self, Ended};

/// The screen is redrawn at most this often.
const REDRAW: Duration = Duration::from_millis(100);
/// Rows kept for display; older ones are counted only.
const ROWS_MAX: usize = 10_000;

/// Whether these rows are changes and there is a terminal to draw them on.
pub(crate) fn wanted(rows: &Rows) -> bool {
    rows.push && std::io::stdout().is_terminal()
}

/// The rows that are true now.
#[derive(Debug, Default)]
pub(crate) struct Current {
    rows: Vec<Vec<Value>>,
    /// Place of the row that was retracted last: the insert that follows takes it.
    vacant: Option<usize>,
    /// Changes seen.
    pub changes: u64,
}

impl Current {
    /// Takes one change.
    pub(crate) fn apply(&mut self, row: Row) {
        self.changes += 1;
        if row.diff == Some(-1) {
            self.close_gap();
            self.vacant = self.rows.iter().rposition(|values| *values == row.values);
            return;
        }
        match self.vacant.take() {
            Some(place) => self.rows[place] = row.values,
            None => self.rows.push(row.values),
        }
        if self.rows.len() > ROWS_MAX {
            self.rows.remove(0);
        }
    }

    /// The rows, a row that was retracted without a successor left out.
    pub(crate) fn rows(&mut self) -> &[Vec<Value>] {
        self.close_gap();
        &self.rows
    }

    fn close_gap(&mut self) {
        if let Some(place) = self.vacant.take() {
            self.rows.remove(place);
        }
    }
}

/// Follows the changes until they end or Ctrl-C.
pub(crate) async fn follow(mut rows: Rows, interrupt: &mut Signal) -> Result<Ended> {
    let mut current = Current::default();
    let mut screen = Screen::default();
    let mut redraw = tokio::time::interval(REDRAW);
    let started = Instant::now();
    let mut dirty = true;
    let ended = loop {
        tokio::select! {
            biased;
            _ = interrupt.recv() => break Ended::Interrupted,
            _ = redraw.tick(), if dirty => {
                screen.draw(&rows, &mut current, started)?;
                dirty = false;
            }
            next = rows.next() => match next? {
                Next::Row(row) => {
                    current.apply(row);
                    dirty = true;
                }
                Next::Refused(diagnostic) => break Ended::Refused(diagnostic),
                Next::End => break Ended::Complete,
            },
        }
    };
    screen.draw(&rows, &mut current, started)?;
    println!();
    Ok(ended)
}

/// What was drawn last, so that it can be drawn over.
#[derive(Debug, Default)]
struct Screen {
    lines: u16,
}

impl Screen {
    fn draw(&mut self, rows: &Rows, current: &mut Current, started: Instant) -> Result<()> {
        let (width, height) = terminal::size().unwrap_or((100, 24));
        let room = usize::from(height.saturating_sub(6)).max(1);
        let changes = current.changes;
        let all = current.rows();
        let shown: Vec<Row> = all[all.len().saturating_sub(room)..]
            .iter()
            .map(|values| Row {
                diff: None,
                values: values.clone(),
            })
            .collect();
        let mut table = output::table(&rows.columns, &shown, false);
        table.set_width(width);
        let rate = changes as f64 / started.elapsed().as_secs_f64().max(0.001);
        let status = format!(
            "{} rows{} · {changes} changes · {rate:.0}/s · Ctrl-C to leave",
            all.len(),
            if all.len() > shown.len() {
                format!(" (last {} shown)", shown.len())
            } else {
                String::new()
            },
        );
        let text = format!("{table}\n{status}");
        let mut out = std::io::stdout();
        if self.lines > 0 {
            queue!(out, cursor::MoveToColumn(0), cursor::MoveUp(self.lines))?;
        }
        queue!(
            out,
            cursor::MoveToColumn(0),
            terminal::Clear(terminal::ClearType::FromCursorDown)
        )?;
        queue!(out, style::Print(&text))?;
        self.lines = u16::try_from(text.lines().count().saturating_sub(1)).unwrap_or(height);
        out.flush().context("draw the table")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(diff: i8, value: i64) -> Row {
        Row {
            diff: Some(diff),
            values: vec![json!(value)],
        }
    }

    #[test]
    fn an_update_keeps_its_place_and_a_delete_leaves() {
        let mut current = Current::default();
        for value in [1, 2, 3] {
            current.apply(change(1, value));
        }
        current.apply(change(-1, 2));
        current.apply(change(1, 20));
        assert_eq!(current.rows(), [[json!(1)], [json!(20)], [json!(3)]]);
        current.apply(change(-1, 1));
        current.apply(change(-1, 3));
        assert_eq!(current.rows(), [[json!(20)]]);
        assert_eq!(current.changes, 7);
    }
}
