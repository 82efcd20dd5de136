//! `thalweg connect`: connectors by Connect's REST interface, Thalweg's own by default or any Kafka Connect.

use std::io::Read;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use reqwest::{Method, StatusCode, Url};
use serde_json::{Map, Value, json};

use crate::config;
use crate::exit::Failure;
use crate::screen::{confirmed, line};
use crate::shell::Listing;
use crate::start;
use crate::topic::Output;

/// Arguments of `thalweg connect`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thalweg connect plugins
  thalweg connect apply orders.json       create it, or replace its configuration
  thalweg connect list
  thalweg connect status orders
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
    /// Show the state of a connector and its tasks, and why one failed
    Status {
        /// Its name
        name: String,
    },
    /// Show the configuration of a connector
    Config {
        /// Its name
        name: String,
    },
    /// Create a connector, or replace the configuration of one
    Apply {
        /// JSON as for Kafka Connect: {"name": …, "config": {…}}, or the config alone with a name in it; - reads standard input
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
    let worker = Worker::new(&args.server)?;
    let output = args.output;
    start::runtime()?.block_on(async move {
        match args.command {
            ConnectCommand::List => list(&worker, output).await,
            ConnectCommand::Plugins => plugins(&worker, output).await,
            ConnectCommand::Status { name } => status(&worker, output, &name).await,
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

/// A worker's REST interface.
struct Worker {
    base: Url,
    http: reqwest::Client,
}

impl Worker {
    fn new(address: &str) -> Result<Self> {
        let text = if address.contains("://") {
            address.to_owned()
        } else {
            format!("http://{address}")
        };
        let base = Url::parse(&text)
            .ok()
            .filter(|url| !url.cannot_be_a_base())
            .with_context(|| {
                format!("--server {address}: expected HOST:PORT, for example 127.0.0.1:8083")
            })?;
        Ok(Self {
            base,
            http: reqwest::Client::new(),
        })
    }

    /// A path below the base; names are escaped.
    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    async fn call(&self, method: Method, path: &[&str], body: Option<&Value>) -> Result<Value> {
        self.send(method, self.url(path), body).await
    }

    /// Sends a request; the answer, null where it has no body. Of an error, the worker's own words.
    async fn send(&self, method: Method, url: Url, body: Option<&Value>) -> Result<Value> {
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let nobody = |_| {
            Failure::Server(format!(
                "nothing answers at {}; start it with `thalweg server`, or name another with --server",
                self.base
            ))
        };
        let response = request.send().await.map_err(nobody)?;
        let status = response.status();
        let text = response.text().await.map_err(nobody)?;
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        if status.is_success() {
            return Ok(value);
        }
        let words = match value["message"].as_str() {
            Some(message) => message.to_owned(),
            None => format!("{} answered {status}: {}", self.base, text.trim()),
        };
        match status {
            StatusCode::NOT_FOUND => Err(Failure::NotFound(words).into()),
            status if status.is_server_error() => Err(Failure::Server(words).into()),
            _ => Err(anyhow::Error::msg(words)),
        }
    }

    async fn names(&self) -> Result<Vec<String>> {
        let names = self.call(Method::GET, &["connectors"], None).await?;
        let mut names: Vec<String> = serde_json::from_value(names)?;
        names.sort();
        Ok(names)
    }

    /// Fails where there is no such connector, with the nearest.
    async fn known(&self, name: &str) -> Result<()> {
        let names = self.names().await?;
        if names.iter().any(|known| known == name) {
            return Ok(());
        }
        let help = match config::nearest(name, names.iter().map(String::as_str)) {
            Some(near) => format!(", did you mean {near}?"),
            None => "; `thalweg connect list` shows what there is".to_owned(),
        };
        Err(Failure::NotFound(format!("connector {name} does not exist{help}")).into())
    }

    async fn turn(&self, name: &str, action: &str, done: &str) -> Result<()> {
        self.known(name).await?;
        self.call(Method::PUT, &["connectors", name, action], None)
            .await?;
        line(format!("connector {name} {done}"))
    }
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

async fn status(worker: &Worker, output: Output, name: &str) -> Result<()> {
    worker.known(name).await?;
    let status = worker
        .call(Method::GET, &["connectors", name, "status"], None)
        .await?;
    if output == Output::Json {
        return line(status);
    }
    line(status_text(name, &status))
}

/// A line for the connector and one for each task, with the first lines of a trace below it.
fn status_text(name: &str, status: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let trace = |of: &Value| -> String {
        let lines = of["trace"].as_str().unwrap_or_default().lines().take(5);
        lines.map(|line| format!("\n    {line}")).collect()
    };
    let connector = &status["connector"];
    let mut out = format!(
        "{} connector {name}: {}{}",
        text(&status["type"]),
        text(&connector["state"]),
        trace(connector)
    );
    for task in status["tasks"].as_array().into_iter().flatten() {
        out += &format!(
            "\n  task {}: {} on {}{}",
            task["id"],
            text(&task["state"]),
            text(&task["worker_id"]),
            trace(task)
        );
    }
    out
}

async fn apply(worker: &Worker, file: &str) -> Result<()> {
    let text = if file == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("read standard input")?;
        text
    } else {
        std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?
    };
    let value: Value =
        serde_json::from_str(&text).with_context(|| format!("{file} is not JSON"))?;
    let (name, config) = named_config(file, value)?;
    let exists = worker.names().await?.contains(&name);
    worker
        .call(
            Method::PUT,
            &["connectors", &name, "config"],
            Some(&Value::Object(config)),
        )
        .await?;
    let done = if exists { "changed" } else { "created" };
    line(format!("{done} connector {name}"))
}

/// Name and configuration, of either form.
fn named_config(file: &str, value: Value) -> Result<(String, Map<String, Value>)> {
    let Value::Object(mut object) = value else {
        bail!(
            "{file}: expected an object such as {}",
            json!({"name": "orders", "config": {}})
        );
    };
    let name = match object.get("name") {
        Some(Value::String(name)) => name.clone(),
        _ => bail!("{file}: has no \"name\" of the connector"),
    };
    match object.remove("config") {
        Some(Value::Object(config)) => Ok((name, config)),
        Some(_) => bail!("{file}: \"config\" is not an object"),
        None => Ok((name, object)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_connector_are_taken() {
        let config = json!({"connector.class": "FileStreamSource"});
        let (name, taken) =
            named_config("f", json!({"name": "a", "config": config})).expect("valid");
        assert_eq!((name.as_str(), Value::Object(taken)), ("a", config));
        let (name, taken) = named_config("f", json!({"name": "a", "file": "x"})).expect("valid");
        assert_eq!((name.as_str(), taken["file"].as_str()), ("a", Some("x")));
        for wrong in [
            json!([1]),
            json!({"config": {}}),
            json!({"name": "a", "config": 1}),
        ] {
            let error = named_config("f.json", wrong.clone()).expect_err("wrong");
            assert!(
                error.to_string().starts_with("f.json: "),
                "{wrong}: {error}"
            );
        }
    }

    #[test]
    fn names_are_escaped_in_paths() {
        let worker = Worker::new("127.0.0.1:8083").expect("an address");
        let url = worker.url(&["connectors", "a/b ?", "status"]);
        assert_eq!(
            url.as_str(),
            "http://127.0.0.1:8083/connectors/a%2Fb%20%3F/status"
        );
    }

    #[test]
    fn a_status_shows_why_a_task_failed() {
        let status = json!({
            "name": "in", "type": "source",
            "connector": {"state": "RUNNING", "worker_id": "w"},
            "tasks": [{"id": 0, "state": "FAILED", "worker_id": "w", "trace": "no file\nat x"}],
        });
        assert_eq!(
            status_text("in", &status),
            "source connector in: RUNNING\n  task 0: FAILED on w\n    no file\n    at x"
        );
    }
}
