//! Rows on standard output or in a file: table, json (one object a line), csv.
//!
//! In a terminal a table shows the first rows of many, as wide as the screen; the rest is kept for `\more`.

use std::io::{IsTerminal, Write};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::{Map, Value, json};
use sql::Diagnostic;
use tokio::signal::unix::Signal;

use super::client::{Column, Next, Row, Rows};
use super::table::{cell, expanded, fitted, hanging, visible, wrapped};
use crate::screen;

/// A table holds back its rows to know their widths; beyond this many it is printed in parts.
const TABLE_ROWS: usize = 1000;
/// Rows of a table in a terminal.
const ROWS_SHOWN: usize = 40;
/// Rows kept for `\more`. An answer with more is ended there.
const ROWS_KEPT_MAX: usize = 50_000;

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

/// How answers are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    /// In which form.
    pub output: Output,
    /// One record below the other instead of a table.
    pub expanded: bool,
    /// Columns of the screen; `None`: as wide as it gets.
    pub width: Option<usize>,
    /// Rows of a table; `None`: all.
    pub rows_max: Option<usize>,
    /// Whether commands of the shell can show the rest.
    pub interactive: bool,
}

impl View {
    /// For standard output, whatever it is.
    pub(crate) fn for_stdout(output: Output, interactive: bool) -> Self {
        let width = screen::columns();
        Self {
            output,
            expanded: false,
            rows_max: width.map(|_| ROWS_SHOWN),
            width,
            interactive,
        }
    }

    /// As wide as the screen is now.
    pub(crate) fn measure(&mut self) {
        if self.width.is_some() {
            self.width = screen::columns();
        }
    }

    /// Everything, as wide as it gets: for a file or a pager.
    pub(crate) fn whole(self) -> Self {
        Self {
            width: None,
            rows_max: None,
            ..self
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

/// An answer of which a part was shown.
pub(crate) struct Kept {
    columns: Vec<Column>,
    rows: Vec<Row>,
    /// Whether these are all.
    all: bool,
}

impl Kept {
    /// All rows of an answer.
    pub(crate) fn new(columns: Vec<Column>, rows: Vec<Row>) -> Self {
        Self {
            columns,
            rows,
            all: true,
        }
    }

    /// All of it as one table.
    pub(crate) fn text(&self) -> String {
        let table = fitted(&self.columns, &self.rows, false, None).table;
        let end = if self.all { "" } else { " and more" };
        format!("{table}\n({} rows{end})\n", grouped(self.rows.len()))
    }
}

/// Prints what a statement did.
pub(crate) fn message(
    out: &mut dyn Write,
    view: View,
    message: &str,
    notes: &[String],
) -> Result<()> {
    let columns = view.width.unwrap_or(usize::MAX);
    let text = match (view.output, notes) {
        (Output::Json, []) => json!({ "result": message }).to_string(),
        (Output::Json, notes) => json!({ "result": message, "notes": notes }).to_string(),
        _ => {
            let notes = notes
                .iter()
                .map(|note| format!("\n{}", hanging(&format!("  {note}"), 4, columns)));
            let message = hanging(message, 2, columns);
            format!("{message}{}", notes.collect::<String>())
        }
    };
    writeln!(out, "{text}").context("write the result")
}

/// Prints rows until they end or the user leaves; with `prose`, the lines of a plan or an explanation. Of an answer that
/// was not shown whole, returns the rows.
pub(crate) async fn print(
    view: View,
    prose: bool,
    mut rows: Rows,
    interrupt: &mut Signal,
    out: &mut dyn Write,
) -> Result<(Ended, Option<Kept>)> {
    let mut out = std::io::BufWriter::new(out);
    let mut printer = Printer {
        view,
        prose,
        columns: rows.columns.clone(),
        push: rows.push,
        held: Vec::new(),
        count: 0,
        printed: 0,
        notices: Vec::new(),
    };
    printer.begin(&mut out)?;
    let mut all = true;
    let ended = loop {
        let next = tokio::select! {
            biased;
            _ = interrupt.recv() => break Ended::Interrupted,
            next = rows.next() => next?,
        };
        match next {
            Next::Row(row) => printer.row(row, &mut out)?,
            // Who follows changes by a program would be told too late.
            Next::Notices(notices) if printer.push && !matches!(view.output, Output::Table) => {
                for notice in &notices {
                    screen::note(notice_text(notice, None));
                }
            }
            Next::Notices(notices) => printer.notices.extend(notices),
            Next::Refused(diagnostic) => break Ended::Refused(diagnostic),
            Next::End => break Ended::Complete,
        }
        if view.rows_max.is_some() && printer.held.len() >= ROWS_KEPT_MAX {
            all = false;
            break Ended::Complete;
        }
    };
    let notices = std::mem::take(&mut printer.notices);
    let kept = printer.end(all, &mut out)?;
    for notice in &notices {
        // In a table they are its foot; whoever reads lines by a program gets lines only.
        match view.output {
            Output::Table => writeln!(out, "{}", notice_text(notice, view.width))?,
            Output::Json | Output::Csv => screen::note(notice_text(notice, None)),
        }
    }
    out.flush().context("write the rows")?;
    Ok((ended, kept))
}

/// What an answer does not show, in words.
pub(crate) fn notice_text(notice: &Diagnostic, width: Option<usize>) -> String {
    let text = visible(&format!("notice[{}]: {notice}", notice.code));
    hanging(&text, 2, width.unwrap_or(usize::MAX))
}

/// Writes rows in the form of the view.
struct Printer {
    view: View,
    prose: bool,
    columns: Vec<Column>,
    push: bool,
    held: Vec<Row>,
    count: usize,
    /// Rows that are out already.
    printed: usize,
    /// What the rows do not show.
    notices: Vec<Diagnostic>,
}

impl Printer {
    fn begin(&self, out: &mut dyn Write) -> Result<()> {
        if self.view.output != Output::Csv {
            return Ok(());
        }
        writeln!(out, "{}", csv_header(&self.columns, self.push)).context("write the rows")
    }

    fn row(&mut self, row: Row, out: &mut dyn Write) -> Result<()> {
        self.count += 1;
        match self.view.output {
            Output::Table => self.held.push(row),
            Output::Json => writeln!(out, "{}", json_line(&self.columns, row))?,
            Output::Csv => writeln!(out, "{}", csv_line(&row))?,
        }
        if self.view.rows_max.is_none() && self.held.len() >= TABLE_ROWS {
            self.print_held(self.held.len(), out)?;
            self.held.clear();
        }
        if self.push {
            out.flush().context("write the rows")?;
        }
        Ok(())
    }

    /// Prints the first `count` of the rows held back; returns how many columns had no room.
    fn print_held(&mut self, count: usize, out: &mut dyn Write) -> Result<usize> {
        let rows = &self.held[..count.min(self.held.len())];
        let mut left_out = 0;
        if self.prose {
            for row in rows {
                let text = row.values.last().map(cell).unwrap_or_default();
                match self.view.width {
                    Some(columns) => write!(out, "{}", wrapped(&text, columns))?,
                    None => writeln!(out, "{text}")?,
                }
            }
        } else if self.view.expanded {
            let first = self.printed + 1;
            write!(out, "{}", expanded(&self.columns, rows, first))?;
        } else {
            let fitted = fitted(&self.columns, rows, self.push, self.view.width);
            writeln!(out, "{}", fitted.table)?;
            left_out = fitted.left_out;
        }
        self.printed += rows.len();
        Ok(left_out)
    }

    /// Of the columns that DESCRIBE lists, the state of a connector, which is no column: below the table it is whole.
    fn take_state(&mut self) -> Option<String> {
        let names = self.columns.iter().map(|column| column.name.as_str());
        if self.view.expanded || !names.eq(["column", "type", "note"]) {
            return None;
        }
        let is_state = |row: &mut Row| row.values.first().is_some_and(|name| name == "(connector)");
        let row = self.held.pop_if(is_state)?;
        self.count -= 1;
        Some(visible(&row.values.last().map(cell).unwrap_or_default()))
    }

    fn end(mut self, all: bool, out: &mut dyn Write) -> Result<Option<Kept>> {
        if self.view.output != Output::Table {
            return Ok(None);
        }
        let shown = match self.view.rows_max {
            Some(max) if !self.prose => max.min(self.held.len()),
            _ => self.held.len(),
        };
        let state = self.take_state();
        let shown = shown.min(self.held.len());
        let mut left_out = 0;
        if !self.held.is_empty() || self.count == 0 {
            left_out = self.print_held(shown, out)?;
        }
        if self.prose {
            return Ok(None);
        }
        if let Some(state) = state {
            let columns = self.view.width.unwrap_or(usize::MAX);
            writeln!(out, "{}", hanging(&state, 2, columns))?;
        }
        let hidden = shown < self.held.len();
        writeln!(
            out,
            "{}",
            self.footer(hidden.then_some(shown), left_out, all)
        )?;
        Ok((hidden || left_out > 0).then_some(Kept {
            columns: self.columns,
            rows: self.held,
            all,
        }))
    }

    /// How many rows there are; what is not shown, and how to see it.
    fn footer(&self, shown: Option<usize>, left_out: usize, all: bool) -> String {
        let count = grouped(self.count);
        let mut text = match shown {
            Some(shown) => {
                let than = if all { "" } else { "more than " };
                let how = match (self.view.interactive, all) {
                    (true, true) => "\\more shows all, \\rows N how many".to_owned(),
                    (true, false) => {
                        format!("\\more shows {count}, \\copy (SELECT …) to 'FILE' writes all")
                    }
                    (false, _) => "-o csv, or -o table into a pipe, prints all".to_owned(),
                };
                format!("{shown} of {than}{count} rows shown; {how}")
            }
            None => format!("{count} row{}", if self.count == 1 { "" } else { "s" }),
        };
        if left_out > 0 {
            let (how, columns) = match (self.view.interactive, left_out) {
                (true, 1) => ("\\x shows it", "column has"),
                (true, _) => ("\\x shows them", "columns have"),
                (false, 1) => ("-o json has it", "column has"),
                (false, _) => ("-o json has them", "columns have"),
            };
            text += &format!("; {left_out} {columns} no room, {how}");
        }
        hanging(
            &format!("({text})"),
            1,
            self.view.width.unwrap_or(usize::MAX),
        )
    }
}

/// A number with commas.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The first line of CSV: names, the sign of a change before them.
pub(crate) fn csv_header(columns: &[Column], push: bool) -> String {
    let sign = push.then(|| quoted("diff"));
    let names = columns.iter().map(|column| quoted(&column.name));
    sign.into_iter().chain(names).collect::<Vec<_>>().join(",")
}

/// A row as a line of JSON.
pub(crate) fn json_line(columns: &[Column], row: Row) -> Value {
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

/// A row as a line of CSV.
pub(crate) fn csv_line(row: &Row) -> String {
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

    fn printer(rows: usize, wide: usize) -> Printer {
        let columns = (0..3).map(|index| Column {
            name: format!("a_long_name_{index}"),
            data_type: "BIGINT".into(),
        });
        Printer {
            view: View {
                output: Output::Table,
                expanded: false,
                width: Some(wide),
                rows_max: Some(ROWS_SHOWN),
                interactive: true,
            },
            prose: false,
            columns: columns.collect(),
            push: false,
            held: (0..rows)
                .map(|_| Row {
                    diff: None,
                    values: vec![json!(1_234_567_890_123_i64); 3],
                })
                .collect(),
            count: rows,
            printed: 0,
            notices: Vec::new(),
        }
    }

    #[test]
    fn many_rows_are_kept_and_the_footer_says_how_to_see_them() {
        let mut out = Vec::new();
        let kept = printer(1234, 80).end(true, &mut out).expect("memory");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text.lines().count(), ROWS_SHOWN + 5, "{text}");
        let end = "(40 of 1,234 rows shown; \\more shows all, \\rows N how many)\n";
        assert!(text.ends_with(end), "{text}");
        let all = kept.expect("rows are hidden").text();
        assert!(all.ends_with("(1,234 rows)\n"), "{all}");

        let mut out = Vec::new();
        assert!(
            printer(50, 80)
                .end(false, &mut out)
                .expect("memory")
                .is_some()
        );
        let text = String::from_utf8(out).expect("text");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let end = "(40 of more than 50 rows shown; \\more shows 50, \\copy (SELECT …) to 'FILE' writes all)";
        assert!(text.ends_with(end), "{text}");

        let mut out = Vec::new();
        let kept = printer(2, 40).end(true, &mut out).expect("memory");
        let text = String::from_utf8(out).expect("text");
        assert!(
            text.ends_with("(2 rows; 1 column has no room, \\x shows\n it)\n"),
            "{text}"
        );
        assert!(kept.is_some());
    }

    #[test]
    fn the_state_of_a_connector_is_told_whole_below_the_columns() {
        let state = "connector ord is FAILED; the table public.orders is not there any more";
        let mut described = printer(0, 40);
        for (column, name) in described.columns.iter_mut().zip(["column", "type", "note"]) {
            *column = Column {
                name: name.to_owned(),
                data_type: "TEXT".into(),
            };
        }
        for values in [
            [json!("id"), json!("BIGINT"), Value::Null],
            [json!("(connector)"), Value::Null, json!(state)],
        ] {
            let values = values.to_vec();
            described.held.push(Row { diff: None, values });
            described.count += 1;
        }
        let mut out = Vec::new();
        assert!(described.end(true, &mut out).expect("memory").is_none());
        let text = String::from_utf8(out).expect("text");
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.ends_with(&format!("{state} (1 row)")), "{text}");
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
    fn numbers_are_grouped() {
        let texts = [0, 12, 999, 1000, 26_483, 1_000_000].map(grouped);
        assert_eq!(texts, ["0", "12", "999", "1,000", "26,483", "1,000,000"]);
    }
}
