//! `thalweg wasm`: a project for a guest that builds as it is, and a look at a module before it is used.

mod check;
mod project;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::config::ConfigArgs;

/// Arguments of `thalweg wasm`.
#[derive(Debug, Args)]
pub(crate) struct WasmArgs {
    #[command(subcommand)]
    command: WasmCommand,
}

#[derive(Debug, Subcommand)]
enum WasmCommand {
    /// Make a Rust project for SQL functions or a transform of records
    New(project::NewArgs),
    /// Say what a module has, whether Thalweg takes it, and how it is used
    Check(check::CheckArgs),
}

/// Runs the command.
pub(crate) fn run(config: &ConfigArgs, args: WasmArgs) -> Result<()> {
    match args.command {
        WasmCommand::New(args) => project::run(&args),
        WasmCommand::Check(args) => check::run(config, &args),
    }
}
