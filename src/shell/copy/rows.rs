//! The rows of a file, as many at a time as one INSERT takes, with the lines that they come from.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use super::super::client::Column;
use super::super::output::Output;
use super::csv::Records;
use super::literal::{literal, name};
use crate::config;

/// Rows of one INSERT.
pub(super) struct Batch {
    /// Names of the columns, as SQL.
    pub columns: String,
    /// `(…),` a row; the first stands in the second line of the statement.
    pub text: String,
    /// The line of the file that each line of the text comes from.
    lines: Vec<u64>,
    rows: usize,
}

impl Batch {
    /// How many rows.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The line of the file that a line of the statement comes from.
    pub(super) fn file_line(&self, line: u64) -> Option<u64> {
        let at = usize::try_from(line.checked_sub(2)?).ok()?;
        self.lines.get(at).copied()
    }

    /// The lines of the file that the rows begin at.
    pub(super) fn span(&self) -> String {
        let first = self.lines.first().copied().unwrap_or_default();
        let last = self.lines.last().copied().unwrap_or_default();
        format!("{first} to {last}")
    }
}

/// Reads rows of a file.
pub(super) struct Reader {
    source: Source,
    /// Those that are written, in the order of the cells.
    columns: Vec<Column>,
}

enum Source {
    Csv(Records<BufReader<File>>),
    Json { file: BufReader<File>, lines: u64 },
}

impl Reader {
    /// Opens the file; `known` are the columns of the table.
    pub(super) fn open(path: &Path, format: Output, known: &[Column]) -> Result<Self> {
        let shown = path.display();
        let file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
        let file = BufReader::new(file);
        if format == Output::Json {
            return Ok(Self {
                source: Source::Json { file, lines: 0 },
                columns: known.to_vec(),
            });
        }
        let mut records = Records::new(file);
        let header = records.next().with_context(|| shown.to_string())?;
        let header = header
            .with_context(|| format!("{shown} is empty: its first line names the columns"))?;
        let named = header.cells.iter().map(|cell| {
            let cell = cell.as_deref().unwrap_or_default();
            column(cell, known).with_context(|| format!("{shown}, line 1"))
        });
        Ok(Self {
            columns: named.collect::<Result<_>>()?,
            source: Source::Csv(records),
        })
    }

    /// The next rows: at most so many, of about so many bytes; `None` at the end.
    pub(super) fn next(&mut self, rows_max: usize, bytes_max: usize) -> Result<Option<Batch>> {
        let names = self.columns.iter().map(|column| name(&column.name));
        let mut batch = Batch {
            columns: names.collect::<Vec<_>>().join(", "),
            text: String::new(),
            lines: Vec::new(),
            rows: 0,
        };
        while batch.rows < rows_max && batch.text.len() < bytes_max {
            let Some((line, row)) = self.row()? else {
                break;
            };
            if batch.rows > 0 {
                batch.text.push_str(",\n");
            }
            let above = row.matches('\n').count() + 1;
            batch.lines.extend(std::iter::repeat_n(line, above));
            batch.text.push_str(&row);
            batch.rows += 1;
        }
        Ok((batch.rows > 0).then_some(batch))
    }

    /// The line that the next row begins at, and the row as SQL.
    fn row(&mut self) -> Result<Option<(u64, String)>> {
        match &mut self.source {
            Source::Csv(records) => loop {
                let Some(record) = records.next()? else {
                    return Ok(None);
                };
                let (line, cells) = (record.line, record.cells);
                if cells == [None] && self.columns.len() > 1 {
                    continue;
                }
                if cells.len() != self.columns.len() {
                    let (has, named) = (cells.len(), self.columns.len());
                    bail!("line {line} has {has} cells, and the first line names {named} columns");
                }
                let values = cells.iter().zip(&self.columns);
                let values = values.map(|(cell, column)| literal(cell.as_deref(), column));
                return Ok(Some((line, row(values))));
            },
            Source::Json { file, lines } => loop {
                let mut text = String::new();
                let read = file.read_line(&mut text);
                if read.with_context(|| format!("line {}", *lines + 1))? == 0 {
                    return Ok(None);
                }
                *lines += 1;
                if text.trim().is_empty() {
                    continue;
                }
                let line = *lines;
                let values =
                    object(&text, &self.columns).with_context(|| format!("line {line}"))?;
                return Ok(Some((line, row(values.into_iter()))));
            },
        }
    }
}

fn row(values: impl Iterator<Item = String>) -> String {
    format!("({})", values.collect::<Vec<_>>().join(", "))
}

/// The values of an object, in the order of the columns; a field that is missing is NULL.
fn object(text: &str, columns: &[Column]) -> Result<Vec<String>> {
    let mut fields: Map<String, Value> =
        serde_json::from_str(text).context("this is no JSON object")?;
    let values = columns.iter().map(|column| {
        let text = match fields.remove(&column.name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(other) => Some(other.to_string()),
        };
        literal(text.as_deref(), column)
    });
    let values = values.collect();
    match fields.keys().next() {
        Some(field) => column(field, columns).map(|_| values),
        None => Ok(values),
    }
}

/// The column of that name.
fn column(wanted: &str, known: &[Column]) -> Result<Column> {
    let same = |column: &&Column| column.name == wanted;
    let folded = |column: &&Column| column.name.eq_ignore_ascii_case(wanted);
    let found = known
        .iter()
        .find(same)
        .or_else(|| known.iter().find(folded));
    found.cloned().with_context(|| {
        let nearest = config::nearest(wanted, known.iter().map(|column| column.name.as_str()));
        let nearest = nearest.map_or(String::new(), |near| format!(", did you mean {near}?"));
        format!("the table has no column {wanted:?}{nearest}")
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn columns() -> Vec<Column> {
        [("id", "BIGINT"), ("name", "TEXT")]
            .map(|(name, data_type)| Column {
                name: name.to_owned(),
                data_type: data_type.to_owned(),
            })
            .to_vec()
    }

    fn reader(text: &str, format: Output) -> Result<Reader> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        Reader::open(file.path(), format, &columns())
    }

    #[test]
    fn rows_know_the_lines_that_they_come_from() {
        let text = "name,id\na,1\n\"b\nc\",2\n\nd,3\n";
        let mut reader = reader(text, Output::Csv).expect("CSV");
        let batch = reader.next(2, 1 << 20).expect("CSV").expect("rows");
        assert_eq!(batch.columns, "\"name\", \"id\"");
        assert_eq!(batch.text, "('a', 1),\n('b\nc', 2)");
        assert_eq!(batch.rows(), 2);
        // INSERT … VALUES is the first line of the statement.
        let lines = [2, 3, 4, 5].map(|line| batch.file_line(line));
        assert_eq!(lines, [Some(2), Some(3), Some(3), None]);
        let batch = reader.next(2, 1 << 20).expect("CSV").expect("rows");
        assert_eq!(
            (batch.text.as_str(), batch.file_line(2)),
            ("('d', 3)", Some(6))
        );
        assert!(reader.next(2, 1 << 20).expect("CSV").is_none());
    }

    #[test]
    fn objects_are_rows_and_missing_fields_are_null() {
        let text = "{\"id\":1,\"name\":\"a\"}\n\n{\"name\":null,\"id\":\"2\"}\n{}\n";
        let mut reader = reader(text, Output::Json).expect("JSON");
        let batch = reader.next(9, 1 << 20).expect("JSON").expect("rows");
        assert_eq!(batch.text, "(1, 'a'),\n(2, NULL),\n(NULL, NULL)");
        assert_eq!(batch.span(), "1 to 4");
    }

    #[test]
    fn what_does_not_fit_the_table_is_told() {
        let wrong = |text: &str, format| {
            let read = reader(text, format).and_then(|mut reader| reader.next(9, 99));
            format!("{:#}", read.err().expect(text))
        };
        assert!(wrong("id,nmae\n", Output::Csv).contains("no column \"nmae\", did you mean name?"));
        assert!(wrong("", Output::Csv).contains("its first line names the columns"));
        let cells = wrong("id,name\n1\n", Output::Csv);
        assert!(
            cells.contains("line 2 has 1 cells, and the first line names 2"),
            "{cells}"
        );
        assert!(wrong("{\"idd\":1}", Output::Json).contains("no column \"idd\", did you mean id?"));
        assert!(wrong("[1]", Output::Json).starts_with("line 1: this is no JSON object"));
    }
}
