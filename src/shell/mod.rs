//! `thalweg sql`: the shell, and statements from -c, -f or standard input.
//!
//! ```text
//! text ── split into statements ── POST /v1/query ── rows ──┬── table │ json │ csv
//!            (sql::split_statements)                        └── live table (EMIT CHANGES in a terminal)
//! ```

mod client;
mod completer;
mod highlighter;
mod live;
mod output;
mod prompt;

use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use reedline::{Reedline, Signal};
use sql::StatementText;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{ConfigArgs, Origin, Settings};
use crate::exit::Failure;
use crate::presence;
use crate::start::{self, Running};
pub(crate) use client::{Client, Next, Outcome, Row, Rows};
pub(crate) use output::{Output, table};

/// Arguments of `thalweg sql`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thalweg sql
  thalweg sql -c 'SELECT * FROM delays ORDER BY window_start LIMIT 10'
  thalweg sql -c 'SELECT * FROM delays EMIT CHANGES' --output json
  thalweg sql -f views.sql --server 127.0.0.1:9644")]
pub(crate) struct SqlArgs {
    /// Run these statements and end
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
    let (mut client, embedded) = runtime.block_on(connect(config, args.server.as_deref()))?;
    let output = args.output.unwrap_or_else(Output::for_stdout);
    let result = match text {
        Some(text) => runtime.block_on(run_text(&mut client, output, &text)),
        None => interactive(&runtime, &mut client, output),
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
async fn connect(config: &ConfigArgs, server: Option<&str>) -> Result<(Client, Option<Running>)> {
    if let Some(address) = server {
        start::log_to_stderr();
        let client = Client::new(address);
        return match client.is_ready().await {
            true => Ok((client, None)),
            false => Err(Failure::Server(format!(
                "nothing serves at {address}; start it with `thalweg server`"
            ))
            .into()),
        };
    }
    let loaded = config.load()?;
    let origin = |key: &str| loaded.keys.get(key).map(|(_, origin)| origin);
    let is_default = |key: &str| origin(key) == Some(&Origin::Default);
    let mut settings = loaded.settings.clone();
    start::log_as(&settings.log)?;
    let asked = !is_default("data");
    let at_address = Client::new(&settings.http.listen.to_string());
    let serves = at_address.is_ready().await;
    if serves && !asked {
        return Ok((at_address, None));
    }
    if let Some(holder) = presence::holder(&settings.data).await {
        return Ok((Client::new(&holder.http.to_string()), None));
    }
    let listen = settings.http.listen;
    if !serves {
        return become_server(settings, &format!("Nothing serves at {listen}")).await;
    }
    let other = presence::ask(&listen.to_string()).await;
    let whose = other.map_or_else(|| "another folder".to_owned(), |other| other.data);
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
    become_server(settings, &other).await
}

async fn become_server(settings: Settings, why: &str) -> Result<(Client, Option<Running>)> {
    eprintln!(
        "{why}: all roles run in this process until it ends; data in {}.",
        settings.data.display()
    );
    let running = Running::start(settings).await?;
    let client = Client::new(&running.addresses.http.to_string());
    Ok((client, Some(running)))
}

/// Runs statements in order; the first error or Ctrl-C ends it.
async fn run_text(client: &mut Client, output: Output, text: &str) -> Result<()> {
    let statements = sql::split_statements(text);
    for (index, statement) in statements.iter().enumerate() {
        match run_statement(client, output, text, statement).await? {
            Ended::Complete => {}
            // Ctrl-C is how a push query ends.
            Ended::Interrupted { push: true } if index + 1 == statements.len() => {}
            Ended::Interrupted { .. } => return Err(Failure::Interrupted.into()),
            Ended::Refused => return Err(Failure::Reported.into()),
        }
    }
    Ok(())
}

/// How a statement ended.
enum Ended {
    Complete,
    Interrupted { push: bool },
    Refused,
}

/// Runs one statement of `text` and prints its outcome.
async fn run_statement(
    client: &mut Client,
    output: Output,
    text: &str,
    statement: &StatementText<'_>,
) -> Result<Ended> {
    // One for the whole statement: what comes while something is printed counts too.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let outcome = tokio::select! {
        outcome = client.query(statement.text) => outcome?,
        _ = interrupt.recv() => return Ok(Ended::Interrupted { push: false }),
    };
    let ended = match outcome {
        Outcome::Done { message, notes } => {
            if let Some((name, value)) = sql::setting(statement) {
                client.set(name, value);
            }
            if std::io::stdout().is_terminal() || output == Output::Json {
                output::message(output, &message, &notes);
            }
            return Ok(Ended::Complete);
        }
        Outcome::Refused(diagnostic) => output::Ended::Refused(diagnostic),
        Outcome::Rows(rows) => {
            let push = rows.push;
            let ended = if output == Output::Table && live::wanted(&rows) {
                live::follow(rows, &mut interrupt).await?
            } else {
                output::print(output, rows, &mut interrupt).await?
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
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    eprintln!("{}", diagnostic.within(statement).render(text, color));
    Ok(Ended::Refused)
}

fn interactive(runtime: &Runtime, client: &mut Client, output: Output) -> Result<()> {
    println!(
        "thalweg {}: statements end with ; — \\? for help, Ctrl-D to leave",
        env!("CARGO_PKG_VERSION")
    );
    let mut editor: Reedline = prompt::editor(runtime.block_on(client.catalog_words()))?;
    let prompt = prompt::Prompt;
    let mut timing = false;
    loop {
        let line = match editor.read_line(&prompt).context("read the terminal")? {
            Signal::Success(line) => line,
            Signal::CtrlD => break,
            _ => continue,
        };
        let text = line.trim();
        match meta(text) {
            Meta::Quit => break,
            Meta::Help => println!("{HELP}"),
            Meta::Timing => {
                timing = !timing;
                println!("timing is {}", if timing { "on" } else { "off" });
            }
            Meta::Unknown => println!("unknown command {text}; \\? lists them"),
            Meta::Sql(text) => {
                let started = std::time::Instant::now();
                for statement in sql::split_statements(&text) {
                    let ended = run_statement(client, output, &text, &statement);
                    if !matches!(runtime.block_on(ended)?, Ended::Complete) {
                        break;
                    }
                }
                if timing {
                    println!("time: {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
                }
                editor = prompt::with_words(editor, runtime.block_on(client.catalog_words()));
            }
        }
    }
    Ok(())
}

const HELP: &str = "\
\\d            list sources, tables and views      \\d NAME     columns of one
\\dt           list topics                         \\why VIEW   why it prints what it prints
\\timing       show how long statements take       \\q          leave (also Ctrl-D)
SELECT … ends; SELECT … EMIT CHANGES follows live until Ctrl-C.";

/// What a line means.
enum Meta {
    Quit,
    Help,
    Timing,
    Unknown,
    Sql(String),
}

fn meta(text: &str) -> Meta {
    if !text.starts_with('\\') {
        return match text.trim_end_matches(';') {
            "quit" | "exit" => Meta::Quit,
            "help" => Meta::Help,
            _ => Meta::Sql(text.to_owned()),
        };
    }
    let mut words = text.trim_end_matches(';').split_whitespace();
    match (words.next().unwrap_or_default(), words.next()) {
        ("\\q", None) => Meta::Quit,
        ("\\?" | "\\h", None) => Meta::Help,
        ("\\timing", None) => Meta::Timing,
        ("\\d", None) => Meta::Sql("SHOW SOURCES; SHOW TABLES; SHOW VIEWS".to_owned()),
        ("\\dt", None) => Meta::Sql("SHOW TOPICS".to_owned()),
        ("\\d", Some(name)) => Meta::Sql(format!("DESCRIBE {name}")),
        ("\\why", Some(name)) => Meta::Sql(format!("EXPLAIN WHY {name}")),
        _ => Meta::Unknown,
    }
}
