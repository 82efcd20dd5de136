//! Thalweg: a partitioned log, a dataflow engine, streaming SQL and a Connect runtime in one binary.

// A reader that leaves must end a command, not make it panic: see screen.rs.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod cluster;
mod completions;
mod config;
mod config_show;
mod connect;
mod connectors;
mod consume;
#[expect(clippy::print_stdout, reason = "it is watched, not piped")]
mod demo;
mod doctor;
mod elsewhere;
mod exit;
mod explain;
mod figures;
mod group;
mod health;
mod http_access;
mod http_listeners;
mod http_pages;
mod listeners;
mod log_levels;
mod login;
mod memory;
mod open_files;
mod place;
mod presence;
mod produce;
mod screen;
mod server;
mod shell;
mod start;
mod topic;
mod wasm;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One binary for a Kafka-compatible log, streaming SQL and connectors.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    propagate_version = true,
    after_help = "\
Examples:
  thalweg demo                       a month of real flights, from file to live answers
  thalweg server --data ./data       all roles: Kafka :9092, Connect :8083, SQL and metrics :9644
  thalweg sql                        the SQL shell (starts everything itself where nothing serves)"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve all roles until Ctrl-C or SIGTERM
    Server(Configured<server::ServerArgs>),
    /// Open the SQL shell, or run statements with -c or -f
    Sql(Configured<shell::SqlArgs>),
    /// Run the whole job on a month of real flights and print its answers
    Demo(Configured<demo::DemoArgs>),
    /// List, create, describe, change and delete topics
    #[command(visible_alias = "topics")]
    Topic(topic::TopicArgs),
    /// List, describe, reset and delete consumer groups
    #[command(visible_alias = "groups")]
    Group(group::GroupArgs),
    /// Write lines of standard input to a topic
    Produce(produce::ProduceArgs),
    /// Print the records of a topic
    Consume(consume::ConsumeArgs),
    /// List, apply, pause, resume, restart and delete connectors
    #[command(visible_alias = "connectors")]
    Connect(connect::ConnectArgs),
    /// Make a project for a WASM function or transform, and check a module
    Wasm(Configured<wasm::WasmArgs>),
    /// Show the configuration
    Config(Configured<config_show::ConfigCommandArgs>),
    /// Tell what an error code means and what to do
    Explain(explain::ExplainArgs),
    /// Look at a data folder: what is wrong with it, and what to do
    Doctor(Configured<doctor::DoctorArgs>),
    /// Print the completions of a shell: bash, zsh, fish, elvish, powershell
    Completions(completions::CompletionsArgs),
}

/// A command that reads the configuration.
#[derive(Debug, clap::Args)]
struct Configured<A: clap::Args> {
    #[command(flatten)]
    args: A,
    #[command(flatten)]
    config: config::ConfigArgs,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Server(command) => server::run(&command.config, command.args),
        Command::Sql(command) => shell::run(&command.config, command.args),
        Command::Demo(command) => demo::run(&command.config, command.args),
        Command::Topic(args) => topic::run(args),
        Command::Group(args) => group::run(args),
        Command::Produce(args) => produce::run(args),
        Command::Consume(args) => consume::run(args),
        Command::Connect(args) => connect::run(args),
        Command::Wasm(command) => wasm::run(&command.config, command.args),
        Command::Config(command) => config_show::run(&command.config, command.args),
        Command::Explain(args) => explain::run(args),
        Command::Doctor(command) => doctor::run(&command.config, &command.args),
        Command::Completions(args) => completions::run(&args, Arguments::command()),
    };
    exit::code(result)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    /// Two flags of one name would end the program only where their command is used.
    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_shell_completes_every_command() {
        for shell in ["bash", "zsh", "fish"] {
            let shell = clap_complete::Shell::from_str(shell, true).expect("a shell");
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "thalweg", &mut script);
            let script = String::from_utf8(script).expect("text");
            for command in Arguments::command().get_subcommands() {
                assert!(
                    script.contains(command.get_name()),
                    "{shell}: {}",
                    command.get_name()
                );
            }
        }
    }
}
