//! `thalweg completions SHELL`: what the shell needs to complete commands, flags and their values.

use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_complete::Shell;

/// Arguments of `thalweg completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thalweg completions bash > ~/.local/share/bash-completion/completions/thalweg
  thalweg completions zsh > ~/.zfunc/_thalweg        (with fpath+=~/.zfunc before compinit)
  thalweg completions fish > ~/.config/fish/completions/thalweg.fish")]
pub(crate) struct CompletionsArgs {
    /// Whose completions
    shell: Shell,
}

/// Prints the completions of `command`.
pub(crate) fn run(args: &CompletionsArgs, mut command: Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "thalweg", &mut script);
    let script = String::from_utf8(script).context("the completions are no text")?;
    crate::screen::line(script.trim_end())
}
