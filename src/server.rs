//! `thalweg server`: all roles until a signal, then a graceful stop.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::ConfigArgs;
use crate::screen;
use crate::start::{self, Addresses, Running};

/// Arguments of `thalweg server`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thalweg server --data ./data
  thalweg server --set kafka.listen=127.0.0.1:0 --ready-file ready.json")]
pub(crate) struct ServerArgs {
    /// Write the addresses as JSON to this file once everything serves
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(config: &ConfigArgs, args: ServerArgs) -> Result<()> {
    let settings = config.load()?.settings;
    start::log_as(&settings.log)?;
    if let Some(path) = &args.ready_file {
        // Whoever waits for this start must not find the file of the last one.
        remove_ready_file(path)?;
    }
    start::runtime()?.block_on(async move {
        let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
        let running = Running::start(settings).await?;
        announce(&running.addresses);
        if let Some(path) = &args.ready_file {
            write_ready_file(path, &running.addresses)?;
        }
        let ended = tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            error = running.failed() => Err(error),
        };
        if let Some(path) = &args.ready_file {
            remove_ready_file(path)?;
        }
        running.stop().await?;
        ended
    })
}

fn announce(addresses: &Addresses) {
    if std::io::stderr().is_terminal() {
        screen::note(format!("Kafka    {}", addresses.kafka));
        screen::note(format!("Connect  http://{}", addresses.connect));
        screen::note(format!(
            "SQL      http://{}/v1/query   (thalweg sql)",
            addresses.http
        ));
        screen::note("Ctrl-C stops.");
    }
}

/// Removes the file; a pipe or a link stays, and one that is not there is fine.
fn remove_ready_file(path: &Path) -> Result<()> {
    if !std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return Ok(());
    }
    std::fs::remove_file(path)
        .with_context(|| format!("cannot remove ready file {}", path.display()))
}

/// Whoever waits for the file must never see half of it: written beside and renamed. A pipe or a link (/dev/stdout) is written to.
fn write_ready_file(path: &Path, addresses: &Addresses) -> Result<()> {
    let mut text = serde_json::to_vec(addresses)?;
    text.push(b'\n');
    let replaceable = std::fs::symlink_metadata(path).map_or(true, |metadata| metadata.is_file());
    let written = if replaceable {
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}.tmp", std::process::id()));
        std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path))
    } else {
        std::fs::OpenOptions::new()
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(&text))
    };
    written.with_context(|| format!("cannot write ready file {}", path.display()))
}
