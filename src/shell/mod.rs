//! `thalweg sql`: the shell, and statements from -c, -f or standard input.
//!
//! ```text
//! text ── split into statements ── POST /v1/query ── rows ──┬── table │ json │ csv
//!            (sql::split_statements)                        └── live table (EMIT CHANGES in a terminal)
//! ```

mod client;
mod command;
mod completer;
mod copy;
mod help;
mod highlighter;
mod interactive;
mod live;
mod menu;
mod options;
mod output;
mod progress;
mod prompt;
mod reading;
mod table;
mod typed_ahead;
mod way_out;

use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use sql::StatementText;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{ConfigArgs, Origin, Settings};
use crate::elsewhere::{self, Wanted};
use crate::exit::Failure;
use crate::login::LoginArgs;
use crate::presence;
use crate::screen;
use crate::start::{self, Running};
pub(crate) use client::{Client, Next, Outcome, Row, Rows};
use interactive::Flow;
use output::{Kept, Output, View};
use progress::Progress;
pub(crate) use table::{Listing, fitted, hanging};

/// Arguments of `thalweg sql`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thalweg sql
  thalweg sql -c 'SELECT * FROM delays ORDER BY window_start LIMIT 10'
  thalweg sql -c 'SELECT * FROM delays EMIT CHANGES' --output json
  thalweg sql -f views.sql --server 127.0.0.1:9644
  THALWEG_PASSWORD=secret thalweg sql --user anna")]
pub(crate) struct SqlArgs {
    /// Run these statements (or this command of the shell, such as '\\d') and end
    #[arg(
        long,
        short = 'c',
        value_name = "SQL",
        conflicts_with = "file",
        allow_hyphen_values = true
    )]
    command: Option<String>,
    /// Run the statements of this file and end
    #[arg(long, short = 'f', value_name = "FILE")]
    file: Option<PathBuf>,
    /// How to print rows; table in a terminal, json (one object a line) otherwise
    #[arg(long, short = 'o', value_enum)]
    output: Option<Output>,
    /// The server's http address; without it the one that holds --data or the local default, and where nothing serves, a server in this process
    #[arg(long, value_name = "ADDRESS")]
    server: Option<String>,
    #[command(flatten)]
    login: LoginArgs,
}

/// Runs the command.
pub(crate) fn run(config: &ConfigArgs, args: SqlArgs) -> Result<()> {
    let text = match (&args.command, &args.file) {
        (Some(text), _) => Some(text.clone()),
        (None, Some(path)) => Some(
            std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?,
        ),
        (None, None) if !std::io::stdin().is_terminal() => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("read standard input")?;
            Some(text)
        }
        (None, None) => None,
    };
    let runtime = start::runtime()?;
    let server = args.server.as_deref();
    let (client, embedded) = runtime.block_on(connect(config, server, &args.login))?;
    let output = args.output.unwrap_or_else(Output::for_stdout);
    let mut session = Session::new(client, View::for_stdout(output, text.is_none()));
    if server.is_none() {
        session.data = Some(config.load()?.settings.data);
    }
    let result = match text {
        // One command, as psql takes it.
        Some(text) if args.command.is_some() && text.trim_start().starts_with('\\') => {
            runtime.block_on(session.line(&text)).map(|_| ())
        }
        Some(text) => runtime.block_on(session.script(&text)),
        None => interactive::run(&runtime, session),
    };
    if let Some(running) = embedded {
        runtime.block_on(running.stop())?;
    }
    result
}

/// Finds the server, or becomes one.
///
/// 1. `--server` is taken at its word.
/// 2. A data folder that was asked for means the server that holds it, wherever it listens.
/// 3. Otherwise it is who serves at `http.listen`, or who holds the default folder.
/// 4. Nobody: all roles run here. Default ports that another folder's server has are left to it.
async fn connect(
    config: &ConfigArgs,
    server: Option<&str>,
    login: &LoginArgs,
) -> Result<(Client, Option<Running>)> {
    let http = login.client(server.unwrap_or_default())?;
    if let Some(address) = server {
        start::log_to_stderr();
        let client = Client::over(http, address);
        return match client.is_ready().await {
            true => Ok((client, None)),
            false => Err(elsewhere::explain(address, Wanted::Sql).await.into()),
        };
    }
    let loaded = config.load()?;
    let origin = |key: &str| loaded.keys.get(key).map(|(_, origin)| origin);
    let is_default = |key: &str| origin(key) == Some(&Origin::Default);
    let mut settings = loaded.settings.clone();
    start::log_as(&settings.log)?;
    let asked = !is_default("data");
    let at_address = Client::over(http.clone(), &settings.http.listen.to_string());
    let serves = at_address.is_ready().await;
    if serves && !asked {
        return Ok((at_address, None));
    }
    if let Some(holder) = presence::holder(&settings.data).await {
        return Ok((Client::over(http, &holder.http.to_string()), None));
    }
    let listen = settings.http.listen;
    if !serves {
        let why = match listen.port() {
            0 => "No server has this folder".to_owned(),
            _ => format!("Nothing serves at {listen}"),
        };
        return become_server(settings, http, &why).await;
    }
    let other = presence::folder_at(&listen.to_string()).await;
    let whose = other.unwrap_or_else(|| "another folder".to_owned());
    let other = format!(
        "The server at {listen} has {whose}, not {}",
        settings.data.display()
    );
    if !is_default("http.listen") {
        let text = format!("{other}; choose another address with --set http.listen=127.0.0.1:PORT");
        return Err(Failure::Server(text).into());
    }
    for (key, address) in [
        ("kafka.listen", &mut settings.kafka.listen),
        ("connect.listen", &mut settings.connect.listen),
        ("http.listen", &mut settings.http.listen),
    ] {
        if is_default(key) {
            address.set_port(0);
        }
    }
    become_server(settings, http, &other).await
}

async fn become_server(
    settings: Settings,
    http: reqwest::Client,
    why: &str,
) -> Result<(Client, Option<Running>)> {
    screen::message(format!(
        "{why}: all roles run in this process until it ends; data in {}.",
        settings.data.display()
    ));
    let running = Running::start(settings).await?;
    let client = Client::over(http, &running.addresses.http.to_string());
    Ok((client, Some(running)))
}

/// How a statement ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Complete,
    Interrupted { push: bool },
    Refused,
}

/// What statements are run with.
struct Session {
    client: Client,
    /// The folder whose server it speaks to, unless an address was given: it may come back elsewhere.
    data: Option<PathBuf>,
    view: View,
    /// Where answers go instead of the screen.
    file: Option<(PathBuf, std::fs::File)>,
    /// The last answer, if it was not shown whole.
    kept: Option<Kept>,
    timing: bool,
    /// The last statements.
    last: Option<String>,
    /// Files that are being run, one inside of the other.
    includes: usize,
}

impl Session {
    fn new(client: Client, view: View) -> Self {
        Self {
            client,
            data: None,
            view,
            file: None,
            kept: None,
            timing: false,
            last: None,
            includes: 0,
        }
    }

    /// Runs statements and commands of the shell in order; the first error or Ctrl-C ends it.
    async fn script(&mut self, text: &str) -> Result<()> {
        for part in parts(text) {
            match part {
                Part::Statements(text) => self.run_all(&text).await?,
                Part::Command(line) => {
                    if self.line(line).await? == Flow::Leave {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    async fn run_all(&mut self, text: &str) -> Result<()> {
        let statements = sql::split_statements(text);
        for (index, statement) in statements.iter().enumerate() {
            match self.statement(text, statement).await? {
                Ended::Complete => {}
                // Ctrl-C is how a push query ends.
                Ended::Interrupted { push: true } if index + 1 == statements.len() => {}
                Ended::Interrupted { .. } => return Err(Failure::Interrupted.into()),
                Ended::Refused => return Err(Failure::Reported.into()),
            }
        }
        Ok(())
    }

    /// Runs one statement of `text` and prints its outcome.
    async fn statement(&mut self, text: &str, statement: &StatementText<'_>) -> Result<Ended> {
        // One for the whole statement: what comes while something is printed counts too.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut progress = Progress::of(&self.client, statement.text);
        let outcome = tokio::select! {
            outcome = self.client.query(statement.text) => outcome?,
            _ = interrupt.recv() => return Ok(Ended::Interrupted { push: false }),
            () = async { progress.as_mut().expect("there is one").run().await }, if progress.is_some() => {
                unreachable!("progress is drawn until the answer comes")
            }
        };
        drop(progress);
        self.view.measure();
        // A statement that is shown is there to be copied: the terminal breaks its lines, and gives them back whole.
        let view = if self.file.is_some() || shows_statement(statement.text) {
            self.view.whole()
        } else {
            self.view
        };
        let ended = match outcome {
            Outcome::Done { message, notes } => {
                if let Some((name, value)) = sql::setting(statement) {
                    self.client.set(name, value);
                }
                if writes(statement.text) {
                    self.client.has_written();
                }
                // In CSV only rows may stand; a terminal is read by somebody.
                if std::io::stdout().is_terminal() || view.output != Output::Csv {
                    let mut out = std::io::stdout();
                    output::message(&mut out, view, &message, &notes)?;
                }
                return Ok(Ended::Complete);
            }
            Outcome::Refused(diagnostic) => output::Ended::Refused(diagnostic),
            Outcome::Rows(rows) => {
                let push = rows.push;
                let live = view.output == Output::Table && self.file.is_none();
                let ended = if live && live::wanted(&rows) {
                    live::follow(rows, &mut interrupt).await?
                } else {
                    let prose = is_prose(statement.text);
                    let mut screen = std::io::stdout();
                    let out: &mut dyn Write = match &mut self.file {
                        Some((_, file)) => file,
                        None => &mut screen,
                    };
                    let (ended, kept) =
                        output::print(view, prose, rows, &mut interrupt, out).await?;
                    self.kept = kept;
                    ended
                };
                if matches!(ended, output::Ended::Interrupted) {
                    return Ok(Ended::Interrupted { push });
                }
                ended
            }
        };
        let output::Ended::Refused(diagnostic) = ended else {
            return Ok(Ended::Complete);
        };
        let diagnostic = diagnostic.within(statement);
        let columns = screen::columns_on_stderr();
        screen::note(diagnostic.render_within(text, screen::color_on_stderr(), columns));
        Ok(Ended::Refused)
    }
}

/// What a script is made of.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    /// Statements, at the lines where they stand in the whole: what comes before is blank.
    Statements(String),
    /// A line that begins with a backslash.
    Command(&'a str),
}

/// Cuts a script at the commands of the shell: lines that begin with a backslash where no statement is open.
fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut statements, mut begun) = (String::new(), false);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let command =
            line.trim_start().starts_with('\\') && (!begun || sql::is_complete(statements.trim()));
        if !command {
            begun |= !line.trim().is_empty();
            statements.push_str(line);
            continue;
        }
        if begun {
            parts.push(Part::Statements(std::mem::take(&mut statements)));
        }
        parts.push(Part::Command(line.trim()));
        (statements, begun) = ("\n".repeat(number + 1), false);
    }
    if begun {
        parts.push(Part::Statements(statements));
    }
    parts
}

/// Whether a statement writes rows.
fn writes(statement: &str) -> bool {
    let first = statement.split_whitespace().next().unwrap_or_default();
    let writers = ["INSERT", "UPDATE", "DELETE"];
    writers.iter().any(|word| first.eq_ignore_ascii_case(word))
}

/// Whether the answer is lines to be read, not rows: a plan, an explanation, a statement.
fn is_prose(statement: &str) -> bool {
    let explains = statement.split_whitespace().next();
    explains.is_some_and(|word| word.eq_ignore_ascii_case("EXPLAIN")) || shows_statement(statement)
}

/// Whether the answer is a statement.
fn shows_statement(statement: &str) -> bool {
    let mut words = statement.split_whitespace();
    let mut is = |wanted| {
        words
            .next()
            .is_some_and(|word: &str| word.eq_ignore_ascii_case(wanted))
    };
    is("SHOW") && is("CREATE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stand_between_statements_and_lines_keep_their_numbers() {
        let text = "\\x on\nSELECT 1;\n  \\timing\nSELECT\n '\\q'\n;\n";
        assert_eq!(
            parts(text),
            [
                Part::Command("\\x on"),
                Part::Statements("\nSELECT 1;\n".to_owned()),
                Part::Command("\\timing"),
                Part::Statements("\n\n\nSELECT\n '\\q'\n;\n".to_owned()),
            ]
        );
        // Inside of a statement a line may begin with anything.
        let open = "SELECT '\n\\q\n';";
        assert_eq!(parts(open), [Part::Statements(open.to_owned())]);
        assert_eq!(parts("\n \n"), []);
    }
}
