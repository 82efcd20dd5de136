//! `thalweg connect`: connectors by Connect's REST interface, Thalweg's own by default or any Kafka Connect.

mod check;
mod file;
mod status;
mod worker;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use crate::login::LoginArgs;
use crate::screen::{confirmed, line};
use crate::shell::Listing;
use crate::start;
use crate::topic::Output;
use worker::Worker;

/// Arguments of `thalweg connect`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thalweg connect plugins
  thalweg connect template postgres-cdc > orders.properties
  thalweg connect check orders.properties   what is wrong, and what mends it
  thalweg connect apply orders.json         create it, or replace its configuration
  thalweg connect list
  thalweg connect status orders --watch
  thalweg connect offsets orders
  thalweg connect restart orders")]
pub(crate) struct ConnectArgs {
    #[command(subcommand)]
    command: ConnectCommand,
    /// Address of the REST interface
    #[arg(
        long,
        value_name = "HOST:PORT",
        global = true,
        default_value = "127.0.0.1:8083",
        env = "THALWEG_CONNECT__LISTEN"
    )]
    server: String,
    #[command(flatten)]
    login: LoginArgs,
    /// How to print
    #[arg(long, short = 'o', value_enum, default_value = "table", global = true)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum ConnectCommand {
    /// List connectors and their state
    List,
    /// List the kinds of connectors
    Plugins,
    /// Print a configuration to fill in, with what each key means; with -o json only what it must have
    Template {
        /// connector.class, or its short name
        plugin: String,
    },
    /// Say what keeps a connector from running, and what mends it; makes nothing
    Check {
        /// As for apply
        file: String,
    },
    /// Show the state of connectors and their tasks, how far they are, and why one failed
    Status {
        /// Its name; all without it
        name: Option<String>,
        /// Show it again every second
        #[arg(long, short)]
        watch: bool,
    },
    /// Show how far a connector is, or set it; it has to be stopped for that
    Offsets {
        /// Its name
        name: String,
        /// Set these: {"offsets": [{"partition": {…}, "offset": {…}}]}; - reads standard input
        #[arg(long, value_name = "FILE", conflicts_with = "reset")]
        set: Option<String>,
        /// Forget them: it begins anew
        #[arg(long)]
        reset: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Show the configuration of a connector
    Config {
        /// Its name
        name: String,
    },
    /// Create a connector, or replace the configuration of one
    Apply {
        /// JSON as for Kafka Connect: {"name": …, "config": {…}}, or the config alone with a name in it; or properties; - reads standard input
        file: String,
    },
    /// Let a connector and its tasks rest; offsets stay
    Pause {
        /// Its name
        name: String,
    },
    /// Let a connector that was paused or stopped go on
    Resume {
        /// Its name
        name: String,
    },
    /// End a connector's tasks; its configuration and offsets stay
    Stop {
        /// Its name
        name: String,
    },
    /// Start a connector and its tasks anew
    Restart {
        /// Its name
        name: String,
        /// Only what has failed
        #[arg(long)]
        only_failed: bool,
    },
    /// Delete connectors
    Delete {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// Runs the command.
pub(crate) fn run(args: ConnectArgs) -> Result<()> {
    start::log_to_stderr();
    let worker = Worker::new(&args.server, &args.login)?;
    let output = args.output;
    start::runtime()?.block_on(async move {
        match args.command {
            ConnectCommand::List => list(&worker, output).await,
            ConnectCommand::Plugins => plugins(&worker, output).await,
            ConnectCommand::Template { plugin } => check::template(&worker, output, &plugin).await,
            ConnectCommand::Check { file } => {
                let (name, config) = file::read(&file)?;
                check::check(&worker, output, &name, config).await
            }
            ConnectCommand::Status { name, watch } => match watch {
                true => status::watch(&worker, output, name.as_deref()).await,
                false => status::show(&worker, output, name.as_deref()).await,
            },
            ConnectCommand::Offsets {
                name,
                set,
                reset,
                yes,
            } => offsets(&worker, &name, set.as_deref(), reset, yes).await,
            ConnectCommand::Config { name } => {
                let path = ["connectors", &name, "config"];
                let config = worker.call(Method::GET, &path, None).await?;
                line(serde_json::to_string_pretty(&config)?)
            }
            ConnectCommand::Apply { file } => apply(&worker, &file).await,
            ConnectCommand::Pause { name } => worker.turn(&name, "pause", "pauses").await,
            ConnectCommand::Resume { name } => worker.turn(&name, "resume", "goes on").await,
            ConnectCommand::Stop { name } => worker.turn(&name, "stop", "stops").await,
            ConnectCommand::Restart { name, only_failed } => {
                let mut url = worker.url(&["connectors", &name, "restart"]);
                url.query_pairs_mut()
                    .append_pair("includeTasks", "true")
                    .append_pair("onlyFailed", if only_failed { "true" } else { "false" });
                worker.send(Method::POST, url, None).await?;
                line(format!("connector {name} restarts"))
            }
            ConnectCommand::Delete { names, yes } => delete(&worker, &names, yes).await,
        }
    })
}

async fn list(worker: &Worker, output: Output) -> Result<()> {
    let mut rows = Listing::new(&["connector", "type", "state", "tasks"]);
    for name in worker.names().await? {
        let status = worker
            .call(Method::GET, &["connectors", &name, "status"], None)
            .await;
        // It may have gone since.
        let Ok(status) = status else { continue };
        if output == Output::Json {
            line(&status)?;
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let tasks = status["tasks"].as_array().into_iter().flatten();
        let tasks: Vec<String> = tasks.map(|task| text(&task["state"])).collect();
        rows.add_row([
            name,
            text(&status["type"]),
            text(&status["connector"]["state"]),
            tasks.join(", "),
        ]);
    }
    match output {
        Output::Table => line(rows),
        Output::Json => Ok(()),
    }
}

async fn plugins(worker: &Worker, output: Output) -> Result<()> {
    let plugins = worker
        .call(Method::GET, &["connector-plugins"], None)
        .await?;
    let mut rows = Listing::new(&["connector.class", "type", "version"]);
    for plugin in plugins.as_array().into_iter().flatten() {
        if output == Output::Json {
            line(plugin)?;
            continue;
        }
        let text = |key: &str| plugin[key].as_str().unwrap_or_default().to_owned();
        rows.add_row([text("class"), text("type"), text("version")]);
    }
    match output {
        Output::Table => line(rows),
        Output::Json => Ok(()),
    }
}

async fn apply(worker: &Worker, file: &str) -> Result<()> {
    let (name, config) = file::read(file)?;
    let exists = worker.names().await?.contains(&name);
    worker
        .call(
            Method::PUT,
            &["connectors", &name, "config"],
            Some(&Value::Object(config.clone())),
        )
        .await?;
    check::warn(worker, &name, config).await;
    let done = if exists { "changed" } else { "created" };
    line(format!("{done} connector {name}"))
}

/// Shows offsets, sets them, or forgets them.
async fn offsets(
    worker: &Worker,
    name: &str,
    set: Option<&str>,
    reset: bool,
    yes: bool,
) -> Result<()> {
    worker.known(name).await?;
    let path = ["connectors", name, "offsets"];
    let said = if let Some(file) = set {
        let body = file::json(file)?;
        worker.call(Method::PATCH, &path, Some(&body)).await?
    } else if reset {
        if !confirmed(&format!("Forget how far connector {name} is?"), yes)? {
            bail!("nothing was changed");
        }
        worker.call(Method::DELETE, &path, None).await?
    } else {
        let offsets = worker.call(Method::GET, &path, None).await?;
        return line(serde_json::to_string_pretty(&offsets)?);
    };
    match said["message"].as_str() {
        Some(message) => line(message),
        None => Ok(()),
    }
}

async fn delete(worker: &Worker, names: &[String], yes: bool) -> Result<()> {
    for name in names {
        worker.known(name).await?;
    }
    if !confirmed(&format!("Delete connector {}?", names.join(", ")), yes)? {
        bail!("nothing was deleted");
    }
    let mut said = Ok(());
    for name in names {
        worker
            .call(Method::DELETE, &["connectors", name], None)
            .await?;
        said = said.and_then(|()| line(format!("deleted connector {name}")));
    }
    said
}
