//! Rows on standard output: table, json (one object a line), csv.

use std::io::{IsTerminal, Write};

use anyhow::{Context, Result};
use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Map, Value, json};
use sql::Diagnostic;
use tokio::signal::unix::Signal;

use super::client::{Column, Next, Row, Rows};

/// A table holds back its rows to know their widths; beyond this many it is printed in parts.
const TABLE_ROWS: usize = 1000;

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// A table for people
    Table,
    /// One JSON object a line
    Json,
    /// Comma-separated values with a header line
    Csv,
}

impl Output {
    /// Table in a terminal, json otherwise.
    pub(crate) fn for_stdout() -> Self {
        if std::io::stdout().is_terminal() {
            Self::Table
        } else {
            Self::Json
        }
    }
}

/// How rows ended.
pub(crate) enum Ended {
    /// That was all.
    Complete,
    /// The user left.
    Interrupted,
    /// The rest failed.
    Refused(Box<Diagnostic>),
}

/// Prints what a statement did.
pub(crate) fn message(output: Output, message: &str, notes: &[String]) {
    if output == Output::Json {
        return println!("{}", json!({ "result": message }));
    }
    println!("{message}");
    for note in notes {
        println!("  {note}");
    }
}

/// Prints rows until they end or the user leaves.
pub(crate) async fn print(output: Output, mut rows: Rows, interrupt: &mut Signal) -> Result<Ended> {
    let mut out = std::io::BufWriter::new(std::io::stdout());
    let mut held: Vec<Row> = Vec::new();
    let mut count = 0_usize;
    if output == Output::Csv {
        let names = rows.columns.iter().map(|column| column.name.clone());
        let header: Vec<String> = rows
            .push
            .then(|| "diff".to_owned())
            .into_iter()
            .chain(names)
            .collect();
        writeln!(
            out,
            "{}",
            header
                .iter()
                .map(|name| quoted(name))
                .collect::<Vec<_>>()
                .join(",")
        )?;
    }
    let ended = loop {
        let next = tokio::select! {
            biased;
            _ = interrupt.recv() => break Ended::Interrupted,
            next = rows.next() => next?,
        };
        match next {
            Next::Row(row) => {
                count += 1;
                match output {
                    Output::Table => held.push(row),
                    Output::Json => writeln!(out, "{}", json_line(&rows.columns, row))?,
                    Output::Csv => writeln!(out, "{}", csv_line(&row))?,
                }
                if held.len() >= TABLE_ROWS {
                    writeln!(out, "{}", table(&rows.columns, &held, rows.push))?;
                    held.clear();
                }
                if rows.push {
                    out.flush().context("write standard output")?;
                }
            }
            Next::Refused(diagnostic) => break Ended::Refused(diagnostic),
            Next::End => break Ended::Complete,
        }
    };
    if output == Output::Table {
        if !held.is_empty() || count == 0 {
            writeln!(out, "{}", table(&rows.columns, &held, rows.push))?;
        }
        writeln!(out, "({count} row{})", if count == 1 { "" } else { "s" })?;
    }
    out.flush().context("write standard output")?;
    Ok(ended)
}

/// A table of these rows, numbers to the right.
pub(crate) fn table(columns: &[Column], rows: &[Row], push: bool) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    let sign = push.then(String::new).into_iter();
    table.set_header(sign.chain(columns.iter().map(|column| column.name.clone())));
    for row in rows {
        let sign = row
            .diff
            .map(|diff| if diff < 0 { "-" } else { "+" }.to_owned());
        table.add_row(sign.into_iter().chain(row.values.iter().map(cell)));
    }
    for (index, column) in columns.iter().enumerate() {
        if is_number(&column.data_type)
            && let Some(column) = table.column_mut(index + usize::from(push))
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn is_number(data_type: &str) -> bool {
    let name = data_type.to_ascii_lowercase();
    ["int", "double", "real", "float", "decimal", "numeric"]
        .iter()
        .any(|part| name.contains(part))
}

/// A value as people read it: text bare, NULL as nothing, floats short, control characters (which could drive the terminal) shown.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if is_timestamp(text) => text.replacen('T', " ", 1),
        Value::String(text) => visible(text),
        Value::Number(number) if number.is_f64() => float(number.as_f64().unwrap_or_default()),
        other => visible(&other.to_string()),
    }
}

/// At most four digits after the point; in powers of ten where that would be long or say nothing.
fn float(value: f64) -> String {
    let trimmed = |text: &str| text.trim_end_matches('0').trim_end_matches('.').to_owned();
    if value == 0.0 || (1e-4..1e15).contains(&value.abs()) {
        return trimmed(&format!("{value:.4}"));
    }
    let text = format!("{value:.4e}");
    match text.split_once('e') {
        Some((digits, exponent)) => format!("{}e{exponent}", trimmed(digits)),
        None => text,
    }
}

fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && character != '\n' {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

fn is_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 19
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && bytes[10] == b'T'
        && bytes[13] == b':'
}

fn json_line(columns: &[Column], row: Row) -> Value {
    let object: Map<String, Value> = columns
        .iter()
        .map(|column| column.name.clone())
        .zip(row.values)
        .collect();
    match row.diff {
        Some(diff) => json!({ "diff": diff, "row": object }),
        None => Value::Object(object),
    }
}

fn csv_line(row: &Row) -> String {
    let diff = row.diff.map(|diff| diff.to_string());
    let values = row.values.iter().map(|value| match value {
        Value::Null => String::new(),
        Value::String(text) => quoted(text),
        other => quoted(&other.to_string()),
    });
    diff.into_iter().chain(values).collect::<Vec<_>>().join(",")
}

/// RFC 4180: quotes where a separator, a quote or a line break stands inside; an empty text is not NULL.
fn quoted(text: &str) -> String {
    if text.is_empty() || text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        vec![
            Column {
                name: "name".into(),
                data_type: "TEXT".into(),
            },
            Column {
                name: "n".into(),
                data_type: "BIGINT".into(),
            },
        ]
    }

    #[test]
    fn a_table_aligns_numbers_to_the_right() {
        let rows = [
            Row {
                diff: None,
                values: vec![json!("a"), json!(1)],
            },
            Row {
                diff: None,
                values: vec![json!("bb"), json!(10)],
            },
        ];
        let text = table(&columns(), &rows, false).to_string();
        assert!(text.contains("│ a       1 │"), "{text}");
        assert!(text.contains("│ bb     10 │"), "{text}");
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        let row = Row {
            diff: Some(-1),
            values: vec![json!("a,\"b\""), Value::Null, json!("")],
        };
        assert_eq!(csv_line(&row), "-1,\"a,\"\"b\"\"\",,\"\"");
    }

    #[test]
    fn cells_read_well() {
        assert_eq!(cell(&json!("2013-01-01T10:00:00")), "2013-01-01 10:00:00");
        assert_eq!(cell(&json!("Thursday")), "Thursday");
        assert_eq!(cell(&json!(12.0)), "12");
        assert_eq!(cell(&json!(0.123456)), "0.1235");
        assert_eq!(cell(&Value::Null), "");
        assert_eq!(cell(&json!(1e300)), "1e300");
        assert_eq!(cell(&json!(0.00001234)), "1.234e-5");
        assert_eq!(cell(&json!("\u{1b}[31mred")), "\\u{1b}[31mred");
    }
}
