//! Values that are one line of CSV: the columns in the order of their declaration.
//!
//! ```text
//! 7,"Zürich, HB",,"",2024-05-01T10:00:00        a comma and a quote stand in quotes, a quote twice
//!                ▲ NULL   ▲ an empty text        a line feed at the end is none of it
//! ```
//!
//! Follows RFC 4180. Columns that a short line lacks are NULL; a line with more cells than columns is no row. Lists,
//! structs, maps and JSON stand in their cells as JSON.

use super::Part;
use super::column::TextPlace;
use super::fault::Fault;
use super::value::{Failed, Rows, ValueDecoder};

/// Reads lines of CSV.
#[derive(Debug)]
pub(super) struct CsvDecoder {
    /// By cell: the column, and whether the record key has it too; `None` where nothing asks for it.
    pub(super) cells: Vec<Option<(usize, bool)>>,
    pub(super) delimiter: u8,
    /// A cell without its quotes.
    pub(super) unquoted: Vec<u8>,
}

impl ValueDecoder for CsvDecoder {
    fn decode(
        &mut self,
        value: &[u8],
        _place: TextPlace,
        rows: &mut Rows<'_>,
    ) -> Result<(), Failed> {
        rows.scratch.record += 1;
        let line = value.strip_suffix(b"\n").unwrap_or(value);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.line(line, rows)
            .map_err(|fault| (Part::Value, fault))?;
        rows.keep()
    }
}

impl CsvDecoder {
    fn line(&mut self, line: &[u8], rows: &mut Rows<'_>) -> Result<(), Fault> {
        let (mut at, mut number) = (0, 0);
        loop {
            let (start, quoted) = (at, line.get(at) == Some(&b'"'));
            let cell: &[u8] = if quoted {
                at = self.unquote(line, at)?;
                &self.unquoted
            } else {
                let rest = &line[at..];
                at += memchr::memchr(self.delimiter, rest).unwrap_or(rest.len());
                &line[start..at]
            };
            let Some(target) = self.cells.get(number) else {
                return Err(Fault::says(
                    start,
                    "the line has more cells than there are columns",
                ));
            };
            // A cell without anything is NULL, and one in quotes an empty text.
            if let Some((column, agree)) = *target
                && (quoted || !cell.is_empty())
            {
                rows.field(column, agree, start, |column, row| {
                    let set = column.set_text(row, cell);
                    set.map(|()| true).map_err(|fault| fault.moved(start))
                })?;
            }
            number += 1;
            match line.get(at) {
                None => return Ok(()),
                Some(next) if *next == self.delimiter => at += 1,
                Some(_) => {
                    return Err(Fault::says(
                        at,
                        "a cell of the line goes on behind its quotes",
                    ));
                }
            }
        }
    }

    /// Reads the cell in quotes that begins at `at`; gives back where it ends.
    fn unquote(&mut self, line: &[u8], mut at: usize) -> Result<usize, Fault> {
        self.unquoted.clear();
        let open = at;
        at += 1;
        loop {
            let rest = line.get(at..).unwrap_or_default();
            let Some(length) = memchr::memchr(b'"', rest) else {
                return Err(Fault::says(open, "a quote that the line begins has no end"));
            };
            self.unquoted.extend_from_slice(&rest[..length]);
            at += length + 1;
            if line.get(at) != Some(&b'"') {
                return Ok(at);
            }
            self.unquoted.push(b'"');
            at += 1;
        }
    }
}
