//! `\copy`: the rows of a table or a query into a file of this machine, and the rows of a file into a table.
//!
//! ```text
//! \copy orders to 'orders.csv'                 \copy (SELECT … ORDER BY …) to 'rows.json' json
//! \copy orders from 'orders.csv'               lines ── rows as literals ── INSERT, many rows each
//! ```
//!
//! CSV has a line of names first; JSON is one object a line. Without a word the name of the file says which it is.
//!
//! Invariants:
//! 1. A file that is written has all rows: until it is whole it has another name.
//! 2. What one INSERT writes is there whole or not at all; an error names the line, and how many rows are in.

mod csv;
mod literal;
mod rows;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use super::Session;
use super::client::{Column, Next, Object, Outcome, Rows};
use super::output::{Output, csv_header, csv_line, grouped, json_line, notice_text};
use super::progress::Drawn;
use crate::exit::Failure;
use crate::{config, screen};
use rows::{Batch, Reader};

/// Rows of one INSERT, and bytes: a statement has a limit (`sql.statement_bytes_max`).
const ROWS_MAX: usize = 2000;
const BYTES_MAX: usize = 128 << 10;

/// What is copied, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Copy {
    what: What,
    into_file: bool,
    file: PathBuf,
    format: Output,
}

/// One side of it; the other is the file.
#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// A relation, as it was written.
    Relation(String),
    /// A query without its parentheses.
    Query(String),
}

const FORM: &str = "\\copy TABLE to 'FILE' [csv|json], \\copy (SELECT …) to 'FILE' [csv|json], \\copy TABLE from 'FILE' [csv|json]";

impl FromStr for Copy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (what, rest) = what(text.trim())?;
        let (direction, rest) = word(rest);
        let into_file = match direction.to_lowercase().as_str() {
            "to" => true,
            "from" => false,
            "" => return Err(format!("expected to or from; {FORM}")),
            _ if direction.starts_with('(') => {
                return Err(
                    "\\copy takes no list of columns: a query in parentheses writes some, the first \
                     line of a CSV names those that are read"
                        .to_owned(),
                );
            }
            other => return Err(format!("expected to or from, not {other}; {FORM}")),
        };
        if !into_file && matches!(what, What::Query(_)) {
            return Err("rows are copied from a file into a table, not into a query".to_owned());
        }
        let (file, rest) = file(rest)?;
        let mut format = None;
        for option in rest.split(|c: char| c.is_whitespace() || "(),".contains(c)) {
            match option.to_lowercase().as_str() {
                // Where other shells want to be told, here it is so.
                "" | "with" | "header" | "format" | "true" => {}
                "csv" => format = Some(Output::Csv),
                "json" | "ndjson" => format = Some(Output::Json),
                other => return Err(format!("expected csv or json, not {other}; {FORM}")),
            }
        }
        let ends = |end: &str| {
            file.extension()
                .is_some_and(|is| is.eq_ignore_ascii_case(end))
        };
        let by_name = || match () {
            () if ends("csv") => Some(Output::Csv),
            () if ["json", "ndjson", "jsonl"].iter().any(|end| ends(end)) => Some(Output::Json),
            () => None,
        };
        let format = format
            .or_else(by_name)
            .ok_or_else(|| format!("say csv or json behind the name of {}", file.display()))?;
        Ok(Self {
            what,
            into_file,
            file,
            format,
        })
    }
}

/// What stands first: a query in parentheses, or a name, which may be quoted.
fn what(text: &str) -> Result<(What, &str), String> {
    if text.starts_with('(') {
        let end = closing(text).ok_or_else(|| format!("the parenthesis is not closed; {FORM}"))?;
        let query = text[1..end].trim().to_owned();
        return Ok((What::Query(query), &text[end + 1..]));
    }
    let length = match text.strip_prefix('"') {
        Some(quoted) => quoted.find('"').map_or(text.len(), |end| end + 2),
        None => text
            .find(|c: char| c.is_whitespace() || c == '(')
            .unwrap_or(text.len()),
    };
    let (name, rest) = text.split_at(length);
    match name {
        "" => Err(format!("expected a table or a query; {FORM}")),
        name => Ok((What::Relation(name.to_owned()), rest)),
    }
}

/// Where the parenthesis that the text begins with is closed.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0_usize, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') if depth == 1 => return Some(at),
            (None, ')') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()))
}

/// A path, in single quotes or without white space.
fn file(text: &str) -> Result<(PathBuf, &str), String> {
    let text = text.trim_start();
    let (path, rest) = match text.strip_prefix('\'') {
        Some(quoted) => quoted
            .split_once('\'')
            .ok_or_else(|| format!("the quote of the file's name is not closed: {text}"))?,
        None => word(text),
    };
    match path {
        "" => Err(format!("expected the name of a file; {FORM}")),
        path => Ok((PathBuf::from(path), rest)),
    }
}

impl Session {
    /// Carries out a `\copy`.
    pub(super) async fn copy(&mut self, copy: &Copy) -> Result<()> {
        match copy.into_file {
            true => self.copy_out(copy).await,
            false => {
                let copied = self.copy_in(copy).await;
                self.client.has_written();
                copied
            }
        }
    }

    async fn copy_out(&self, copy: &Copy) -> Result<()> {
        let sql = match &copy.what {
            What::Relation(name) => format!("SELECT * FROM {name}"),
            What::Query(query) => query.clone(),
        };
        let rows = match self.client.query(&sql).await? {
            Outcome::Rows(rows) if rows.push => {
                bail!(
                    "EMIT CHANGES never ends, and \\copy writes what ends; \\o FILE follows into a file"
                )
            }
            Outcome::Rows(rows) => rows,
            Outcome::Done { message, .. } => bail!("\\copy takes a query; this one said {message}"),
            Outcome::Refused(diagnostic) => {
                let columns = screen::columns_on_stderr();
                screen::note(diagnostic.render_within(&sql, screen::color_on_stderr(), columns));
                return Err(Failure::Reported.into());
            }
        };
        let mut part = copy.file.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let written = write(rows, copy.format, &part).await;
        let count = match written {
            Ok(count) => count,
            Err(error) => {
                // Half of an answer must not be taken for a whole one.
                let _ = std::fs::remove_file(&part);
                return Err(error);
            }
        };
        let path = copy.file.display();
        std::fs::rename(&part, &copy.file).with_context(|| format!("cannot write {path}"))?;
        screen::line(format!("copied {} to {path}", counted(count)))
    }

    async fn copy_in(&self, copy: &Copy) -> Result<()> {
        let What::Relation(name) = &copy.what else {
            bail!("rows are copied from a file into a table, not into a query");
        };
        let target = self.target(name).await?;
        let path = copy.file.display();
        let mut reader = Reader::open(&copy.file, copy.format, &target.columns)?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut drawn = Drawn::new();
        let mut count = 0;
        while let Some(batch) = reader.next(ROWS_MAX, BYTES_MAX).map_err(|error| {
            let is_in = is_in(count);
            error.context(format!("{path}: {is_in}"))
        })? {
            let sql = format!(
                "INSERT INTO {name} ({}) VALUES\n{}",
                batch.columns, batch.text
            );
            let outcome = tokio::select! {
                outcome = self.client.query(&sql) => outcome?,
                _ = interrupt.recv() => bail!("{path}: interrupted; {}, and perhaps lines {} too", is_in(count), batch.span()),
            };
            if let Outcome::Refused(diagnostic) = outcome {
                let place = place(diagnostic.line, &batch);
                let help = diagnostic.help.as_deref();
                let help = help.map_or(String::new(), |help| format!(" ({help})"));
                bail!(
                    "{path}{place}: error[{}]: {}{help}; {}",
                    diagnostic.code,
                    diagnostic.message,
                    is_in(count)
                );
            }
            count += batch.rows();
            if let Some(drawn) = &mut drawn {
                drawn.draw(&format!("{} are in", counted(count)));
            }
        }
        drop(drawn);
        screen::line(format!("copied {} from {path}", counted(count)))
    }

    /// The relation that rows go to.
    async fn target(&self, name: &str) -> Result<Object> {
        let objects =
            self.client.catalog().await.ok_or_else(|| {
                Failure::Server(format!("{} does not answer", self.client.address()))
            })?;
        let wanted = match name.strip_prefix('"') {
            Some(quoted) => quoted.trim_end_matches('"').to_owned(),
            None => name.to_lowercase(),
        };
        if let Some(target) = objects.iter().find(|object| object.name == wanted) {
            return Ok(target.clone());
        }
        let nearest = config::nearest(&wanted, objects.iter().map(|object| object.name.as_str()));
        let nearest = nearest.map_or(String::new(), |near| format!(", did you mean {near}?"));
        Err(Failure::NotFound(format!(
            "there is no table or source {name}{nearest}; \\d lists them"
        ))
        .into())
    }
}

/// Writes all rows, and what they do not show to the screen; returns how many there were.
async fn write(mut rows: Rows, format: Output, path: &Path) -> Result<usize> {
    let shown = path.display();
    let failed = || format!("cannot write {shown}");
    let file = std::fs::File::create(path).with_context(failed)?;
    let mut out = std::io::BufWriter::new(file);
    let columns: Vec<Column> = rows.columns.clone();
    if format == Output::Csv {
        writeln!(out, "{}", csv_header(&columns, false)).with_context(failed)?;
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut count = 0;
    loop {
        let next = tokio::select! {
            biased;
            _ = interrupt.recv() => return Err(Failure::Interrupted.into()),
            next = rows.next() => next?,
        };
        match next {
            Next::Row(row) => {
                count += 1;
                match format {
                    Output::Csv => writeln!(out, "{}", csv_line(&row)).with_context(failed)?,
                    _ => writeln!(out, "{}", json_line(&columns, row)).with_context(failed)?,
                }
            }
            Next::Notices(notices) => {
                for notice in notices {
                    screen::note(notice_text(&notice, screen::columns_on_stderr()));
                }
            }
            Next::Refused(diagnostic) => bail!("{diagnostic}"),
            Next::End => break,
        }
    }
    out.flush().with_context(failed)?;
    Ok(count)
}

/// Where in the file the reason of an error lies, whose place is this line of the INSERT.
fn place(line: Option<u64>, batch: &Batch) -> String {
    match line {
        // The table itself, or its columns.
        Some(1) => String::new(),
        line => match line.and_then(|line| batch.file_line(line)) {
            Some(line) => format!(", line {line}"),
            None => format!(", one of the lines {}", batch.span()),
        },
    }
}

fn counted(rows: usize) -> String {
    let s = if rows == 1 { "" } else { "s" };
    format!("{} row{s}", grouped(rows))
}

fn is_in(rows: usize) -> String {
    match rows {
        0 => "no row is in".to_owned(),
        1 => "the first row is in".to_owned(),
        rows => format!("the first {} rows are in", grouped(rows)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(text: &str) -> Copy {
        text.parse().expect(text)
    }

    #[test]
    fn what_where_and_how_are_read_as_people_write_them() {
        let expected = Copy {
            what: What::Relation("orders".to_owned()),
            into_file: true,
            file: PathBuf::from("all orders.csv"),
            format: Output::Csv,
        };
        for text in [
            "orders to 'all orders.csv'",
            "orders TO 'all orders.csv' csv",
            "orders to 'all orders.csv' with csv header",
            "orders to 'all orders.csv' (format csv, header)",
        ] {
            assert_eq!(copy(text), expected, "{text}");
        }
        let query = copy("(SELECT ')' AS a, f(x) FROM t) to rows.ndjson");
        assert_eq!(
            query.what,
            What::Query("SELECT ')' AS a, f(x) FROM t".to_owned())
        );
        assert_eq!(query.format, Output::Json);
        let from = copy("\"My Table\" from data.txt json");
        assert_eq!(from.what, What::Relation("\"My Table\"".to_owned()));
        assert!(!from.into_file && from.format == Output::Json);
    }

    #[test]
    fn an_error_of_the_table_blames_no_line() {
        let mut file = tempfile::NamedTempFile::with_suffix(".csv").expect("a file");
        file.write_all(b"id\n1\n2\n").expect("written");
        let columns = [Column {
            name: "id".to_owned(),
            data_type: "BIGINT".to_owned(),
        }];
        let mut reader = Reader::open(file.path(), Output::Csv, &columns).expect("CSV");
        let batch = reader.next(9, 99).expect("CSV").expect("rows");
        let places = [Some(1), Some(3), None].map(|line| place(line, &batch));
        assert_eq!(places, ["", ", line 3", ", one of the lines 2 to 3"]);
    }

    #[test]
    fn what_is_wrong_says_what_is_right() {
        let wrong = |text: &str| text.parse::<Copy>().expect_err(text);
        assert!(wrong("").starts_with("expected a table or a query; \\copy TABLE to"));
        assert!(wrong("t").starts_with("expected to or from"));
        assert!(wrong("t into 'f'").contains("not into"));
        assert!(wrong("t to").contains("expected the name of a file"));
        assert!(wrong("t to 'f").contains("is not closed"));
        assert!(wrong("t to f").starts_with("say csv or json behind the name of f"));
        assert!(wrong("t to f.csv xml").contains("expected csv or json, not xml"));
        assert!(wrong("t (a, b) from f.csv").contains("no list of columns"));
        assert!(wrong("(SELECT 1) from f.csv").contains("into a table"));
        assert!(wrong("(SELECT 1 to f.csv").contains("not closed"));
    }
}
