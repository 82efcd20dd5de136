//! The live table: the current rows of a push query, redrawn in place.
//!
//! ```text
//! ┌ rows (as many as the screen holds, the latest changed last) ┐
//! └ status: rows · changes a second · Ctrl-C to leave · changes ┘
//! ```
//!
//! Invariants:
//! 1. The table is the multiset of all changes seen so far; an update keeps its place.
//! 2. What is drawn fits the screen, so that drawing over it leaves nothing in the scrollback.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use crossterm::{cursor, queue, style, terminal};
use serde_json::Value;
use tokio::signal::unix::Signal;

use super::client::{Column, Next, Row, Rows};
use super::output::{Ended, grouped, notice_text};
use super::table::{cut, fitted, width};

/// The screen is redrawn at most this often.
const REDRAW: Duration = Duration::from_millis(100);
/// The rate is told, and falls, at least this often.
const RATE: Duration = Duration::from_secs(1);
/// Changes a second are counted over this long.
const RATE_OVER: Duration = Duration::from_secs(3);
/// Rows kept for display; older ones are counted only.
const ROWS_MAX: usize = 10_000;
/// Lines of a screen that are not rows: borders, header, status, and one to stand on.
const FRAME_LINES: usize = 6;

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

/// Changes a second over the last moments.
#[derive(Debug, Default)]
struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    fn per_second(&mut self, now: Instant, changes: u64) -> f64 {
        self.0.push_back((now, changes));
        let recent = |at: &Instant| now.duration_since(*at) <= RATE_OVER;
        // One older sample stays: it is what the recent ones are measured against.
        while self.0.len() > 1 && self.0.get(1).is_some_and(|(at, _)| !recent(at)) {
            self.0.pop_front();
        }
        let Some((at, before)) = self.0.front() else {
            return 0.0;
        };
        let seconds = now.duration_since(*at).as_secs_f64();
        (changes - before) as f64 / seconds.max(REDRAW.as_secs_f64())
    }
}

/// Follows the changes until they end or Ctrl-C.
pub(crate) async fn follow(mut rows: Rows, interrupt: &mut Signal) -> Result<Ended> {
    let mut current = Current::default();
    let mut screen = Screen::default();
    let mut rate = Rate::default();
    let mut redraw = tokio::time::interval(REDRAW);
    let mut told = tokio::time::interval(RATE);
    let mut dirty = true;
    let columns = rows.columns.clone();
    let mut notices = Vec::new();
    let ended = loop {
        tokio::select! {
            biased;
            _ = interrupt.recv() => break Ok(Ended::Interrupted),
            _ = told.tick() => dirty = true,
            _ = redraw.tick(), if dirty => {
                let per_second = rate.per_second(Instant::now(), current.changes);
                let mut status = vec![
                    (3, format!(" · {per_second:.0}/s")),
                    (0, " · Ctrl-C to leave".to_owned()),
                ];
                match notices.len() {
                    0 => {}
                    1 => status.push((1, " · 1 notice, told at the end".to_owned())),
                    more => status.push((1, format!(" · {more} notices, told at the end"))),
                }
                screen.draw(&columns, &mut current, status)?;
                dirty = false;
            }
            next = rows.next() => match next {
                Ok(Next::Row(row)) => {
                    current.apply(row);
                    dirty = true;
                }
                Ok(Next::Notices(more)) => {
                    notices.extend(more);
                    dirty = true;
                }
                Ok(Next::Refused(diagnostic)) => break Ok(Ended::Refused(diagnostic)),
                Ok(Next::End) => break Ok(Ended::Complete),
                Err(error) => break Err(error),
            },
        }
    };
    let status = match &ended {
        Ok(Ended::Complete) => " · complete",
        Ok(Ended::Interrupted) => " · left",
        Ok(Ended::Refused(_)) | Err(_) => " · broken off",
    };
    screen.draw(&columns, &mut current, vec![(0, status.to_owned())])?;
    crate::screen::line("")?;
    for notice in &notices {
        crate::screen::line(notice_text(notice, Some(crate::screen::size().0)))?;
    }
    ended
}

/// What was drawn last, so that it can be drawn over.
#[derive(Debug, Default)]
struct Screen {
    /// Width of each line that was drawn.
    drawn: Vec<usize>,
}

impl Screen {
    fn draw(&mut self, columns: &[Column], current: &mut Current, status: Vec<Part>) -> Result<()> {
        let (wide, high) = crate::screen::size();
        let changes = current.changes;
        let text = picture(columns, current.rows(), changes, status, (wide, high));
        let mut out = std::io::stdout();
        let up = lines_above(&self.drawn, wide).min(high - 1);
        if up > 0 {
            queue!(out, cursor::MoveUp(u16::try_from(up).unwrap_or(u16::MAX)))?;
        }
        queue!(
            out,
            cursor::MoveToColumn(0),
            terminal::Clear(terminal::ClearType::FromCursorDown),
            style::Print(&text)
        )?;
        self.drawn = text.lines().map(width).collect();
        out.flush().context("draw the table")
    }
}

/// How many screen lines lie above the last one that was drawn, on a screen that is `wide` now: a terminal that was made
/// narrower has wrapped what was there.
fn lines_above(drawn: &[usize], wide: usize) -> usize {
    let lines: usize = drawn.iter().map(|line| line.div_ceil(wide).max(1)).sum();
    lines.saturating_sub(1)
}

/// A part of the status, with how soon it is left out where there is no room; 0: never.
type Part = (u8, String);

/// The parts that have room, those that can be spared left out whole.
fn within(mut parts: Vec<Part>, wide: usize) -> String {
    loop {
        let line: String = parts.iter().map(|(_, text)| text.as_str()).collect();
        let spared = parts.iter().map(|(rank, _)| *rank).max().unwrap_or(0);
        if spared == 0 || width(&line) <= wide {
            return line;
        }
        parts.retain(|(rank, _)| *rank < spared);
    }
}

/// The table and the status below it, within the screen.
fn picture(
    columns: &[Column],
    all: &[Vec<Value>],
    changes: u64,
    status: Vec<Part>,
    (wide, high): (usize, usize),
) -> String {
    let room = high.saturating_sub(FRAME_LINES).max(1);
    let shown = all.len().min(room);
    let rows: Vec<Row> = all[all.len() - shown..]
        .iter()
        .map(|values| Row {
            diff: None,
            values: values.clone(),
        })
        .collect();
    let fitted = fitted(columns, &rows, false, Some(wide));
    let counted = |count: usize, noun: &str| {
        let s = if count == 1 { "" } else { "s" };
        format!("{} {noun}{s}", grouped(count))
    };
    let mut parts = vec![(0, counted(all.len(), "row"))];
    if shown < all.len() {
        parts.push((2, format!(" (last {shown} shown)")));
    }
    parts.extend(status);
    let changes = usize::try_from(changes).unwrap_or(usize::MAX);
    parts.push((4, format!(" · {}", counted(changes, "change"))));
    if fitted.left_out > 0 {
        let columns = counted(fitted.left_out, "column");
        parts.push((2, format!(" · {columns} without room")));
    }
    let status = within(parts, wide);
    let table = fitted.table.to_string();
    // A screen of a few lines shows the end.
    let lines: Vec<&str> = table.lines().chain([status.as_str()]).collect();
    let lines = &lines[lines.len().saturating_sub(high.saturating_sub(1).max(1))..];
    let lines: Vec<String> = lines.iter().map(|line| cut(line, wide)).collect();
    lines.join("\n")
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

    #[test]
    fn the_picture_fits_every_screen() {
        let columns: Vec<Column> = (0..8)
            .map(|index| Column {
                name: format!("a long name {index}"),
                data_type: "TEXT".into(),
            })
            .collect();
        let rows: Vec<Vec<Value>> = (0..100)
            .map(|row| vec![json!(format!("{row} two\nlines of a text")); 8])
            .collect();
        for wide in [10, 40, 60, 80, 200] {
            for high in [1, 2, 5, 24, 60] {
                let status = vec![
                    (3, " · 5/s".to_owned()),
                    (0, " · Ctrl-C to leave".to_owned()),
                ];
                let text = picture(&columns, &rows, 1234, status, (wide, high));
                assert!(
                    text.lines().all(|line| width(line) <= wide),
                    "{wide}:\n{text}"
                );
                assert!(
                    text.lines().count() < high.max(2),
                    "{wide} x {high}:\n{text}"
                );
            }
        }
    }

    #[test]
    fn a_status_without_room_leaves_parts_out_whole() {
        let status = |wide| {
            let parts = [
                (0, "21 rows"),
                (2, " (last 18 shown)"),
                (3, " · 23/s"),
                (0, " · Ctrl-C to leave"),
                (4, " · 23 changes"),
            ];
            within(
                parts.map(|(rank, text)| (rank, text.to_owned())).to_vec(),
                wide,
            )
        };
        let whole = "21 rows (last 18 shown) · 23/s · Ctrl-C to leave · 23 changes";
        assert_eq!(status(80), whole);
        assert_eq!(
            status(60),
            "21 rows (last 18 shown) · 23/s · Ctrl-C to leave"
        );
        assert_eq!(status(45), "21 rows (last 18 shown) · Ctrl-C to leave");
        assert_eq!(status(40), "21 rows · Ctrl-C to leave");
        assert_eq!(status(10), "21 rows · Ctrl-C to leave");
    }

    #[test]
    fn a_narrower_screen_has_wrapped_what_was_drawn() {
        assert_eq!(lines_above(&[], 80), 0);
        assert_eq!(lines_above(&[80, 80, 30], 80), 2);
        assert_eq!(lines_above(&[80, 80, 30], 40), 4);
        assert_eq!(lines_above(&[0, 41], 40), 2);
    }

    #[test]
    fn the_rate_falls_when_nothing_comes() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(at(0), 0), 0.0);
        assert_eq!(rate.per_second(at(1), 1000), 1000.0);
        for seconds in 2..8 {
            rate.per_second(at(seconds), 1000);
        }
        assert_eq!(rate.per_second(at(8), 1000), 0.0);
    }
}
