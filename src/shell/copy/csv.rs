//! Records of CSV (RFC 4180) out of lines: a record may go over several, a cell that is not quoted and empty is NULL.

use std::io::BufRead;

use anyhow::{Context, Result, bail};

/// A record, and the line that it begins at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// From 1.
    pub line: u64,
    /// `None` is NULL.
    pub cells: Vec<Option<String>>,
}

/// Reads records one after another.
pub(super) struct Records<R> {
    reader: R,
    lines: u64,
}

impl<R: BufRead> Records<R> {
    /// From the first line on.
    pub(super) fn new(reader: R) -> Self {
        Self { reader, lines: 0 }
    }

    /// The next record; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Record>> {
        let mut text = String::new();
        let line = self.lines + 1;
        loop {
            let read = self.reader.read_line(&mut text);
            if read.with_context(|| format!("line {}", self.lines + 1))? == 0 {
                if !text.is_empty() {
                    bail!("line {line}: a double quote is not closed");
                }
                return Ok(None);
            }
            self.lines += 1;
            // A quote within a quoted cell is written twice, so a record has an even number of them.
            if text.matches('"').count().is_multiple_of(2) {
                break;
            }
        }
        let text = text.trim_end_matches(['\n', '\r']);
        let text = if line == 1 {
            text.trim_start_matches('\u{feff}')
        } else {
            text
        };
        let cells = cells(text).with_context(|| format!("line {line}"))?;
        Ok(Some(Record { line, cells }))
    }
}

fn cells(text: &str) -> Result<Vec<Option<String>>> {
    let mut cells = Vec::new();
    let mut rest = text;
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (cell, after) = quoted_cell(quoted)?;
            cells.push(Some(cell));
            rest = after;
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (cell, after) = rest.split_at(end);
            if cell.contains('"') {
                bail!(
                    "a double quote stands inside of a cell that does not begin with one: {cell}"
                );
            }
            cells.push((!cell.is_empty()).then(|| cell.to_owned()));
            rest = after;
        }
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.is_empty() => return Ok(cells),
            None => bail!("a comma is missing behind a double quote, before {rest}"),
        }
    }
}

/// What stands before the closing quote, and what behind it.
fn quoted_cell(text: &str) -> Result<(String, &str)> {
    let mut cell = String::new();
    let mut rest = text;
    loop {
        let Some((part, after)) = rest.split_once('"') else {
            bail!("a double quote is not closed");
        };
        cell.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                cell.push('"');
                rest = after;
            }
            None => return Ok((cell, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<(u64, Vec<Option<String>>)>> {
        let mut records = Records::new(text.as_bytes());
        let mut all = Vec::new();
        while let Some(record) = records.next()? {
            all.push((record.line, record.cells));
        }
        Ok(all)
    }

    #[test]
    fn records_are_read_as_they_are_written() {
        let text = |text: &str| Some(text.to_owned());
        let read = all("\u{feff}a,b\r\n1,\n\"x,\"\"y\"\"\nz\",\"\"\n,2").expect("CSV");
        let expected = [
            (1, vec![text("a"), text("b")]),
            (2, vec![text("1"), None]),
            (3, vec![text("x,\"y\"\nz"), text("")]),
            (5, vec![None, text("2")]),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn what_is_no_csv_names_its_line() {
        let wrong = |text: &str| format!("{:#}", all(text).expect_err(text));
        assert_eq!(wrong("a\n\"b"), "line 2: a double quote is not closed");
        assert!(wrong("a\nb\"c\"").starts_with("line 2: a double quote stands inside"));
        assert!(wrong("\"a\"b").starts_with("line 1: a comma is missing"));
    }
}
