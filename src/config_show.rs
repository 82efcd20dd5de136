//! `thalweg config show`: the values in force and where each came from.

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::config::ConfigArgs;
use crate::screen;

/// Arguments of `thalweg config`.
#[derive(Debug, Args)]
pub(crate) struct ConfigCommandArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print every key with its value
    #[command(
        after_help = "Example:\n  THALWEG_KAFKA__NUM_PARTITIONS=4 thalweg config show --origin"
    )]
    Show {
        /// Say for every key where its value came from
        #[arg(long)]
        origin: bool,
    },
}

/// Runs the command.
pub(crate) fn run(config: &ConfigArgs, args: ConfigCommandArgs) -> Result<()> {
    let ConfigCommand::Show { origin } = args.command;
    let loaded = config.load()?;
    let width = loaded.keys.keys().map(String::len).max().unwrap_or(0);
    for (key, (value, from)) in &loaded.keys {
        if origin {
            screen::line(format!("{key:width$} = {value:<24} # {from}"))?;
        } else {
            screen::line(format!("{key:width$} = {value}"))?;
        }
    }
    Ok(())
}
