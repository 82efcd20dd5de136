//! How far a view is while its CREATE waits: one line on standard error, drawn over itself, in a terminal only.
//!
//! ```text
//! delays  12,000 of 26,483 records · 45 % · 41,000/s · Ctrl-C stops waiting, not the view
//! ```

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::client::{Client, Filling};
use super::output::grouped;
use super::table::{cut, visible};
use crate::screen;

/// What is done sooner needs no progress.
const FIRST: Duration = Duration::from_millis(400);
/// How often it is asked for.
const EVERY: Duration = Duration::from_millis(250);

/// The line; it goes when it is dropped.
pub(super) struct Drawn {
    width: usize,
    drawn: bool,
}

impl Drawn {
    /// `None` where nobody would see it.
    pub(super) fn new() -> Option<Self> {
        let width = screen::columns().filter(|_| std::io::stderr().is_terminal())?;
        Some(Self {
            width,
            drawn: false,
        })
    }

    /// Draws over what was drawn before.
    pub(super) fn draw(&mut self, text: &str) {
        self.drawn = true;
        let text = cut(&visible(text), self.width.saturating_sub(1));
        let mut out = std::io::stderr().lock();
        // Nobody is told less for a line that could not be drawn.
        let _ = write!(out, "\r\x1b[K{text}").and_then(|()| out.flush());
    }
}

/// Draws while its future is polled.
pub(super) struct Progress {
    client: Client,
    statement: String,
    drawn: Drawn,
}

impl Progress {
    /// Of a statement that makes a view; `None` where there is nothing to draw, or nobody to see it.
    pub(super) fn of(client: &Client, statement: &str) -> Option<Self> {
        let mut words = statement.split_whitespace().map(str::to_uppercase);
        let makes = ["CREATE", "MATERIALIZED", "VIEW"];
        let makes = makes
            .iter()
            .all(|word| words.next().as_deref() == Some(word));
        let drawn = Drawn::new()?;
        makes.then(|| Self {
            client: client.clone(),
            statement: statement.to_lowercase(),
            drawn,
        })
    }

    /// Draws for ever.
    pub(super) async fn run(&mut self) {
        tokio::time::sleep(FIRST).await;
        let mut before: Option<(Instant, u64)> = None;
        loop {
            let filling = self.client.filling().await;
            // The name stands in the statement, however it is written there.
            let mine = |filling: &&Filling| self.statement.contains(&filling.view.to_lowercase());
            if let Some(filling) = filling
                .iter()
                .filter(mine)
                .max_by_key(|view| view.view.len())
            {
                let now = Instant::now();
                let rate = before.map(|(at, read)| {
                    let seconds = now.duration_since(at).as_secs_f64();
                    filling.read.saturating_sub(read) as f64 / seconds.max(1e-3)
                });
                before.get_or_insert((now, filling.read));
                self.drawn.draw(&line(filling, rate));
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        if self.drawn {
            let mut out = std::io::stderr().lock();
            let _ = write!(out, "\r\x1b[K").and_then(|()| out.flush());
        }
    }
}

fn line(filling: &Filling, per_second: Option<f64>) -> String {
    let count = |count: u64| grouped(usize::try_from(count).unwrap_or(usize::MAX));
    let percent = match filling.records {
        0 => 100,
        records => u128::from(filling.read) * 100 / u128::from(records),
    };
    let rate = per_second.map_or(String::new(), |rate| format!(" · {}/s", count(rate as u64)));
    format!(
        "{}  {} of {} records · {percent} %{rate} · Ctrl-C stops waiting, not the view",
        filling.view,
        count(filling.read),
        count(filling.records)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_much_how_fast_and_how_to_leave() {
        let filling = Filling {
            view: "delays".to_owned(),
            read: 12_000,
            records: 26_483,
        };
        assert_eq!(
            line(&filling, Some(41_000.4)),
            "delays  12,000 of 26,483 records · 45 % · 41,000/s · Ctrl-C stops waiting, not the view"
        );
        let none = Filling {
            records: 0,
            ..filling
        };
        assert!(line(&none, None).contains(" · 100 % · Ctrl-C"));
    }
}
