//! The shell in a terminal: reads lines, runs commands and statements, and outlives its server.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reedline::{EditCommand, Signal};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::client::{Client, Column, Row};
use super::command::{self, Line};
use super::output::{Kept, Output, csv_header, csv_line, json_line};
use super::table::{fitted, hanging, width, wrapped};
use super::typed_ahead::{self, Waiting};
use super::{Ended, Session, help, parts, prompt};
use crate::exit::Failure;
use crate::{presence, screen};

/// Files that may run one another, one inside of the other.
const INCLUDES_MAX: usize = 16;

/// Functions that are told one below the other where a table of them would be cut.
const FUNCTIONS_TOLD: usize = 8;

/// Whether the shell goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Reads the next line.
    On,
    /// Ends.
    Leave,
}

/// Reads lines until the user leaves. No error of a line ends it.
pub(super) fn run(runtime: &Runtime, mut session: Session) -> Result<()> {
    let columns = session.view.width.unwrap_or(usize::MAX);
    let version = env!("CARGO_PKG_VERSION");
    let address = session.client.address();
    screen::line(hanging(
        &format!("thalweg {version} at {address}"),
        2,
        columns,
    ))?;
    let hint = "Statements end with ; — \\? for help, Ctrl-D leaves";
    screen::line(hanging(hint, 2, columns))?;
    let objects = runtime.block_on(session.client.catalog());
    let (mut editor, prompt) = prompt::editor(objects.unwrap_or_default());
    let mut lost = false;
    let waiting = Waiting::begin();
    loop {
        waiting.again();
        let line = match editor.read_line(&prompt).context("read the terminal")? {
            Signal::Success(line) => line,
            Signal::CtrlD => break,
            _ => continue,
        };
        // At once: a window that is closed must not lose what was typed. Without a file there is nothing to keep.
        let _ = editor.sync_history();
        if lost && runtime.block_on(session.found_again()) {
            screen::note(format!("connected to {} again", session.client.address()));
            lost = false;
        }
        let (before, line) = command::amid(&line).unwrap_or(("", line.as_str()));
        let ended = runtime.block_on(session.typed(before, line));
        if command::keeps(line) && !before.is_empty() {
            // A command amid a statement leaves it open.
            editor.run_edit_commands(&[EditCommand::InsertString(format!("{before}\n"))]);
        }
        match ended {
            Ok(Flow::On) => {}
            Ok(Flow::Leave) => break,
            Err(error) => {
                lost |= matches!(error.downcast_ref(), Some(Failure::Server(_)));
                tell(&error, &session.client, lost);
            }
        }
        // Of a server that is away, the names that were known still help.
        if let Some(objects) = runtime.block_on(session.client.catalog()) {
            editor = prompt::with_objects(editor, objects);
        }
    }
    Ok(())
}

fn tell(error: &anyhow::Error, client: &Client, lost: bool) {
    // What was refused is on the screen, and whoever pressed Ctrl-C knows.
    if matches!(
        error.downcast_ref(),
        Some(Failure::Reported | Failure::Interrupted)
    ) {
        return;
    }
    screen::message(format!("thalweg: {error:#}"));
    if lost {
        let address = client.address();
        screen::message(format!(
            "The shell stays; the next statement tries {address} again."
        ));
    }
}

impl Session {
    /// Runs what was typed: a line, several that were pasted, or a command amid the statement `before`.
    async fn typed(&mut self, before: &str, line: &str) -> Result<Flow> {
        match command::parse(line) {
            Line::Reset if !before.is_empty() => {
                screen::line("the statement is dropped").map(|()| Flow::On)
            }
            Line::Go if !before.is_empty() => self.line(before).await,
            Line::Sql(text) if parts(&text).len() > 1 => {
                self.script(&text).await.map(|()| Flow::On)
            }
            _ => self.line(line).await,
        }
    }

    /// Whether the server is there again: where it was, or where its data folder says.
    async fn found_again(&mut self) -> bool {
        if self.client.is_ready().await {
            return true;
        }
        let Some(data) = &self.data else { return false };
        let Some(holder) = presence::holder(data).await else {
            return false;
        };
        self.client.turn_to(&holder.http.to_string());
        self.client.is_ready().await
    }

    /// Runs what a line, or the lines of one statement, says.
    pub(super) async fn line(&mut self, text: &str) -> Result<Flow> {
        self.view.measure();
        match command::parse(text) {
            Line::Empty => {}
            Line::Quit => return Ok(Flow::Leave),
            Line::Sql(text) => {
                self.last = Some(text.clone());
                self.statements(&text).await?;
            }
            Line::Show(statements) => self.show(&statements).await?,
            Line::Functions(part) => self.functions(&part).await?,
            Line::Expanded(on) => {
                self.view.expanded = on.unwrap_or(!self.view.expanded);
                say("one column below the other", self.view.expanded)?;
            }
            Line::Timing(on) => {
                self.timing = on.unwrap_or(!self.timing);
                say("timing", self.timing)?;
            }
            Line::Mode(output) => self.view.output = output,
            Line::Rows(rows) => self.view.rows_max = rows,
            Line::More => self.more()?,
            Line::Out(path) => self.out(path)?,
            Line::Include(path) => self.include(&path).await?,
            Line::Copy(copy) => self.copy(&copy).await?,
            Line::Go => {
                let last = self.last.clone();
                let last = last.context("\\g runs the last statement, and there is none yet")?;
                self.statements(&last).await?;
            }
            Line::Reset => screen::line("no statement is open: nothing to drop")?,
            Line::Edit(path) => self.edit(path).await?,
            Line::Watch(sql, every_ms) => self.watch(sql, every_ms).await?,
            Line::System(command) => system(&command)?,
            Line::Help(word) => self.help(&word)?,
            Line::Commands => screen::line(command::help(self.view.width.unwrap_or(100)))?,
            Line::Wrong(why) => anyhow::bail!(why),
        }
        Ok(Flow::On)
    }

    /// Runs a file, whose commands may run other files.
    async fn include(&mut self, path: &Path) -> Result<()> {
        if self.includes >= INCLUDES_MAX {
            let path = path.display();
            anyhow::bail!(
                "{path} is run by a file by a file … {INCLUDES_MAX} deep: does one run itself?"
            );
        }
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        self.includes += 1;
        let ended = Box::pin(self.script(&text)).await;
        self.includes -= 1;
        ended
    }

    /// Runs statements in order; the first that does not end well ends it.
    async fn statements(&mut self, text: &str) -> Result<Ended> {
        let started = Instant::now();
        let mut ended = Ended::Complete;
        for statement in sql::split_statements(text) {
            ended = self.statement(text, &statement).await?;
            if ended != Ended::Complete {
                break;
            }
        }
        if self.timing {
            let ms = started.elapsed().as_secs_f64() * 1e3;
            screen::line(format!("time: {ms:.1} ms"))?;
        }
        match ended {
            Ended::Refused if !self.view.interactive => Err(Failure::Reported.into()),
            ended => Ok(ended),
        }
    }

    async fn show(&mut self, statements: &[(&str, String)]) -> Result<()> {
        for (title, statement) in statements {
            if statements.len() > 1 {
                screen::line(title)?;
            }
            if self.statements(statement).await? != Ended::Complete {
                break;
            }
        }
        Ok(())
    }

    /// Functions, those of CREATE FUNCTION first.
    async fn functions(&mut self, part: &str) -> Result<()> {
        let part = part.to_lowercase();
        let objects = self.client.catalog().await.unwrap_or_default();
        let own = objects.iter().filter(|object| {
            object.kind == "function" && object.name.to_lowercase().contains(&part)
        });
        let own = own.map(|object| {
            let answers = "of CREATE FUNCTION; SHOW FUNCTIONS tells its signature";
            [object.name.clone(), answers.to_owned(), String::new()]
        });
        let found: Vec<[String; 3]> = own.chain(help::functions(&part)).collect();
        if found.is_empty() {
            return screen::line(format!(
                "no function has {part} in its name or in what it answers; \\df lists all"
            ));
        }
        let columns = columns_of_functions();
        match self.view.output {
            Output::Table => {}
            Output::Json => {
                let mut rows = rows_of(&found).into_iter();
                return rows.try_for_each(|row| screen::line(json_line(&columns, row)));
            }
            Output::Csv => {
                screen::line(csv_header(&columns, false))?;
                return rows_of(&found)
                    .iter()
                    .try_for_each(|row| screen::line(csv_line(row)));
            }
        }
        let shown = match self.view.rows_max {
            Some(max) => max.min(found.len()),
            None => found.len(),
        };
        screen::line(functions(&found[..shown], self.view.width))?;
        if shown == found.len() {
            return Ok(());
        }
        self.kept = Some(Kept::new(columns, rows_of(&found)));
        let all = found.len();
        screen::message(format!(
            "({shown} of {all} functions shown; \\df TEXT finds some, \\more shows all)"
        ));
        Ok(())
    }

    fn help(&self, word: &str) -> Result<()> {
        let text = help::about(word);
        match self.view.width {
            Some(columns) => screen::line(wrapped(&text, columns).trim_end()),
            None => screen::line(text.trim_end()),
        }
    }

    fn more(&self) -> Result<()> {
        let Some(kept) = &self.kept else {
            return screen::line("the last answer was shown whole");
        };
        page(&kept.text())
    }

    fn out(&mut self, path: Option<PathBuf>) -> Result<()> {
        self.file = None;
        let Some(path) = path else {
            return screen::line("answers go to the screen");
        };
        let file = std::fs::File::create(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let said = screen::line(format!("answers go to {}", path.display()));
        self.file = Some((path, file));
        said
    }

    async fn edit(&mut self, path: Option<PathBuf>) -> Result<()> {
        let text = match path {
            Some(path) => edited(&path)?,
            None => {
                let folder = std::env::temp_dir();
                let path = folder.join(format!("thalweg-{}.sql", std::process::id()));
                std::fs::write(&path, self.last.as_deref().unwrap_or_default())
                    .with_context(|| format!("cannot write {}", path.display()))?;
                let text = edited(&path);
                // What is left in the folder for temporary files harms nobody.
                let _ = std::fs::remove_file(&path);
                text?
            }
        };
        if text.trim().is_empty() {
            return Ok(());
        }
        screen::line(text.trim_end())?;
        self.last = Some(text.clone());
        self.statements(&text).await.map(|_| ())
    }

    /// Runs a statement again and again until Ctrl-C or an error.
    async fn watch(&mut self, sql: Option<String>, every_ms: u64) -> Result<()> {
        let Some(sql) = sql.or_else(|| self.last.clone()) else {
            anyhow::bail!("\\watch repeats the last statement, and there is none yet");
        };
        self.last = Some(sql.clone());
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut tick = tokio::time::interval(Duration::from_millis(every_ms));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = interrupt.recv() => return Ok(()),
                _ = tick.tick() => {}
            }
            let time = chrono::Local::now().format("%H:%M:%S");
            screen::line(format!(
                "{time}, every {} s, until Ctrl-C",
                every_ms as f64 / 1e3
            ))?;
            if self.statements(&sql).await? != Ended::Complete {
                return Ok(());
            }
        }
    }
}

/// The columns of a table of functions.
fn columns_of_functions() -> Vec<Column> {
    let names = ["function", "answers", "example"].into_iter();
    let column = |name: &str| Column {
        name: name.to_owned(),
        data_type: "TEXT".to_owned(),
    };
    names.map(column).collect()
}

/// Functions as its rows.
fn rows_of(found: &[[String; 3]]) -> Vec<Row> {
    let row = |cells: &[String; 3]| Row {
        diff: None,
        values: cells.iter().cloned().map(Value::from).collect(),
    };
    found.iter().map(row).collect()
}

/// Functions, what they answer, an example: as a table, or whole below one another if they are few and it would be cut.
fn functions(found: &[[String; 3]], columns: Option<usize>) -> String {
    let names = columns_of_functions();
    let rows = rows_of(found);
    let table = |columns| fitted(&names, &rows, false, columns).table.to_string();
    let whole = table(None);
    let Some(columns) = columns.filter(|columns| width(&whole) > *columns) else {
        return whole;
    };
    if found.len() > FUNCTIONS_TOLD {
        return table(Some(columns));
    }
    let told = found.iter().map(|[call, answers, example]| {
        let example = match example.as_str() {
            "" => String::new(),
            example => format!("  for example {example}\n"),
        };
        format!("{call}\n  {answers}\n{example}")
    });
    let told = told.collect::<Vec<_>>().join("\n");
    wrapped(&told, columns).trim_end().to_owned()
}

fn say(what: &str, on: bool) -> Result<()> {
    screen::line(format!("{what} is {}", if on { "on" } else { "off" }))
}

/// Runs a command of the system in the user's shell, or that shell.
fn system(command: &str) -> Result<()> {
    let shell = std::env::var_os("SHELL").unwrap_or_else(|| "sh".into());
    let _lent = typed_ahead::lend();
    let mut child = Command::new(&shell);
    if !command.is_empty() {
        child.arg("-c").arg(command);
    }
    let status = child.status();
    let status = status.with_context(|| format!("cannot start {}", shell.to_string_lossy()))?;
    if !status.success() && !command.is_empty() {
        anyhow::bail!("{command} ended with {status}");
    }
    Ok(())
}

/// The content of a file after the user has edited it.
fn edited(path: &Path) -> Result<String> {
    let editor = ["VISUAL", "EDITOR"].iter().find_map(std::env::var_os);
    let editor = editor.unwrap_or_else(|| "vi".into());
    let _lent = typed_ahead::lend();
    // A shell, because the variable may hold arguments ("code --wait").
    let status = Command::new("sh")
        .arg("-c")
        .arg("$0 \"$1\"")
        .arg(&editor)
        .arg(path)
        .status();
    let named = editor.to_string_lossy();
    let status = status.with_context(|| format!("cannot start the editor {named}"))?;
    if !status.success() {
        anyhow::bail!("the editor {named} ended with {status}; set EDITOR to another one");
    }
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Shows a text in $PAGER, or less; without a terminal, as it is.
fn page(text: &str) -> Result<()> {
    if !std::io::stdout().is_terminal() {
        return screen::line(text.trim_end());
    }
    let pager = std::env::var("PAGER").unwrap_or_else(|_| "less".to_owned());
    let mut command = Command::new("sh");
    command.arg("-c").arg(&pager).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        // Long lines are cut, not wrapped: a table stays a table.
        command.env("LESS", "-SRX");
    }
    let _lent = typed_ahead::lend();
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start the pager {pager}"))?;
    if let Some(mut input) = child.stdin.take() {
        // Whoever leaves the pager early has seen enough.
        let _ = input.write_all(text.as_bytes());
    }
    let status = child.wait().context("wait for the pager")?;
    if status.code() == Some(127) {
        anyhow::bail!("the pager {pager} was not found; set PAGER to another one");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_functions_are_told_whole_on_a_narrow_screen() {
        let text = |part: &str, columns| {
            let found: Vec<_> = help::functions(part).collect();
            functions(&found, columns)
        };
        for columns in [40, 60, 80] {
            let told = text("row_number", Some(columns));
            assert!(
                !told.contains('…') || told.contains("[PARTITION BY k]"),
                "{told}"
            );
            assert!(told.contains("numbers of the rows, from 1"), "{told}");
            assert!(told.lines().all(|line| width(line) <= columns), "{told}");
        }
        let windows = text("window", Some(80));
        for window in ["TUMBLE(", "HOP(", "CUMULATE(", "SESSION("] {
            assert!(windows.contains(window), "{windows}");
        }
        assert!(text("row_number", None).contains("   numbers of the rows, from 1   "));
        assert!(text("", Some(80)).contains('…'));
    }
}
