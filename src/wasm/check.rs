//! `thalweg wasm check`: loads a module as the server would, under its limits, and says what it has and how it is used.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use connect_sandbox::{FunctionSignature, Module, Sandbox, Volatility};

use crate::config::ConfigArgs;
use crate::exit::Failure;
use crate::{screen, start};

/// Arguments of `thalweg wasm check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thalweg wasm check target/wasm32-unknown-unknown/release/minutes.wasm
  thalweg wasm check route.wasm --option origin.field=from

It asks no server. Limits are those of wasm.* in the configuration.")]
pub(crate) struct CheckArgs {
    /// The module
    file: PathBuf,
    /// An option that a transform is opened with, as NAME=VALUE (may be repeated)
    #[arg(long = "option", value_name = "NAME=VALUE")]
    options: Vec<String>,
}

/// Runs the command.
pub(crate) fn run(config: &ConfigArgs, args: &CheckArgs) -> Result<()> {
    let file = &args.file;
    let options = options(&args.options)?;
    let bytes = std::fs::read(file).map_err(|error| {
        let text = format!("read {}: {error}", file.display());
        match error.kind() {
            std::io::ErrorKind::NotFound => Failure::NotFound(format!(
                "{text}; `cargo build --release --target wasm32-unknown-unknown` makes it in target/wasm32-unknown-unknown/release"
            ))
            .into(),
            _ => anyhow::anyhow!(text),
        }
    })?;
    let path = std::path::absolute(file).context("find the module")?;
    let name = file.file_name().unwrap_or(file.as_os_str());
    let sandbox = Sandbox::new(start::sandbox_config(&config.load()?.settings))?;
    let module = sandbox.load(&name.to_string_lossy(), &bytes)?;
    if module.is_transform() {
        module.transform(&options)?;
    } else if let Some((name, _)) = options.first() {
        bail!(
            "{} has functions only, which take no option {name}",
            file.display()
        );
    }
    let sha256 = module.sha256();
    let hash = sha256.get(..12).unwrap_or(&sha256);
    screen::line(format!(
        "{} is fine: {} KiB, SHA-256 {hash}…",
        name.to_string_lossy(),
        bytes.len().div_ceil(1024)
    ))?;
    screen::line(report(&module, &path).trim_end())
}

fn options(given: &[String]) -> Result<Vec<(String, String)>> {
    let split = |option: &String| match option.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => bail!("--option {option}: expected NAME=VALUE"),
    };
    given.iter().map(split).collect()
}

/// What the module has, and the statements and keys that use it.
fn report(module: &Module, path: &Path) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        // A string takes everything.
        let _ = writeln!(text, "{line}");
    };
    let functions = module.functions();
    if !functions.is_empty() {
        line("functions:".to_owned());
        for function in functions {
            line(format!("  {}", signature(function)));
        }
        line("in SQL (OR REPLACE where an earlier build is in use):".to_owned());
        let path = path.display().to_string().replace('\'', "''");
        for function in functions {
            line(format!(
                "  CREATE FUNCTION {} LANGUAGE wasm AS 'file:{path}';",
                function.name
            ));
        }
    }
    if module.is_transform() {
        let path = serde_json::Value::from(path.display().to_string());
        line("a transform of records; in a connector's configuration:".to_owned());
        line("  \"transforms\": \"t\",".to_owned());
        line("  \"transforms.t.type\": \"wasm\",".to_owned());
        line(format!("  \"transforms.t.module\": {path}"));
    }
    text
}

fn signature(function: &FunctionSignature) -> String {
    let args: Vec<String> = function
        .args
        .iter()
        .map(|arg| sql::type_name(arg.data_type()))
        .collect();
    let returns = sql::type_name(function.returns.data_type());
    let volatile = match function.volatility {
        Volatility::Immutable => "",
        Volatility::Stable => ", stable",
        Volatility::Volatile => ", volatile: not in views",
    };
    let strict = if function.strict {
        ", NULL for NULL"
    } else {
        ""
    };
    format!(
        "{}({}) RETURNS {returns}{strict}{volatile}",
        function.name,
        args.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::options;

    #[test]
    fn options_have_a_name_and_a_value() {
        let given = ["a.b=c=d".to_owned(), "e=".to_owned()];
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            options(&given).expect("both"),
            [pair("a.b", "c=d"), pair("e", "")]
        );
        assert!(options(&["a".to_owned()]).is_err());
    }
}
