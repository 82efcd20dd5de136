//! Standard output as commands write it, and what a terminal is asked and told.
//!
//! Invariant: whoever reads may leave at any time (`| head`). A closed pipe is an error that ends the command without a
//! word ([`crate::exit::code`]), never a panic; so nothing here or elsewhere uses `println!` or `eprintln!`.

use std::fmt::Display;
use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context, Result};
use crossterm::terminal;

use crate::shell::hanging;

/// Columns below which nothing is laid out: a narrower terminal wraps.
const COLUMNS_MIN: usize = 40;

/// Writes `text` and a line break.
pub(crate) fn line(text: impl Display) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{text}").context("write standard output")
}

/// Writes a message and a line break to standard error. Where nobody can read it, there is nobody to be told.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes a message to standard error, broken between words where a terminal ends.
pub(crate) fn message(text: impl Display) {
    let text = text.to_string();
    let columns = columns_on_stderr().unwrap_or(usize::MAX);
    let lines: Vec<String> = text.lines().map(|line| hanging(line, 2, columns)).collect();
    note(lines.join("\n"));
}

/// Columns of the terminal on standard output; `None` if there is no terminal.
pub(crate) fn columns() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    Some(size().0.max(COLUMNS_MIN))
}

/// Columns of the terminal on standard error; `None` if there is no terminal.
pub(crate) fn columns_on_stderr() -> Option<usize> {
    let terminal = std::io::stderr().is_terminal();
    terminal.then(|| size().0.max(COLUMNS_MIN))
}

/// Columns and rows of the terminal; what it does not know (0) is taken as of 80×24.
pub(crate) fn size() -> (usize, usize) {
    let (columns, rows) = terminal::size().unwrap_or_default();
    known(columns, rows)
}

fn known(columns: u16, rows: u16) -> (usize, usize) {
    let or = |size: u16, unknown| {
        if size == 0 {
            unknown
        } else {
            usize::from(size)
        }
    };
    (or(columns, 80), or(rows, 24))
}

/// Whether colours are wanted at all (<https://no-color.org>).
pub(crate) fn color_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether messages on standard error may have colours.
pub(crate) fn color_on_stderr() -> bool {
    std::io::stderr().is_terminal() && color_wanted()
}

/// Asks before something is destroyed; without a terminal to ask, or with `yes`, it is agreed to.
pub(crate) fn confirmed(question: &str, yes: bool) -> Result<bool> {
    if yes || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(true);
    }
    let mut ask = std::io::stderr().lock();
    write!(ask, "{question} [y/N] ").context("write standard error")?;
    ask.flush().context("write standard error")?;
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .context("read standard input")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::known;

    #[test]
    fn a_size_of_nothing_is_unknown() {
        assert_eq!(known(0, 0), (80, 24));
        assert_eq!(known(132, 50), (132, 50));
    }
}
