//! `thalweg wasm new`: a folder with everything that a guest needs, the SDK in it.
//!
//! ```text
//! DIR/Cargo.toml  Cargo.lock  README.md  .cargo/config.toml  src/…     the guest, to be changed
//! DIR/sdk/…       sdk/macros/…  sdk/wit/plugin.wit                     the SDK of this version
//! ```
//!
//! Invariants:
//! 1. The project is a workspace of its own: it builds wherever it lies, and needs nothing but crates of the registry,
//!    in the versions that Thalweg itself is tested with.
//! 2. Nothing that is there is overwritten.

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::screen;

/// What lies in the SDK's folder, from there.
const SDK: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("../../udf-sdk/Cargo.toml")),
    ("README.md", include_str!("../../udf-sdk/README.md")),
    (
        "macros/Cargo.toml",
        include_str!("../../udf-sdk/macros/Cargo.toml"),
    ),
    (
        "macros/src/lib.rs",
        include_str!("../../udf-sdk/macros/src/lib.rs"),
    ),
    (
        "src/bindings.rs",
        include_str!("../../udf-sdk/src/bindings.rs"),
    ),
    ("src/column.rs", include_str!("../../udf-sdk/src/column.rs")),
    ("src/emit.rs", include_str!("../../udf-sdk/src/emit.rs")),
    (
        "src/function.rs",
        include_str!("../../udf-sdk/src/function.rs"),
    ),
    ("src/lib.rs", include_str!("../../udf-sdk/src/lib.rs")),
    ("src/log.rs", include_str!("../../udf-sdk/src/log.rs")),
    ("src/record.rs", include_str!("../../udf-sdk/src/record.rs")),
    (
        "src/results.rs",
        include_str!("../../udf-sdk/src/results.rs"),
    ),
    ("src/schema.rs", include_str!("../../udf-sdk/src/schema.rs")),
    (
        "src/testing.rs",
        include_str!("../../udf-sdk/src/testing.rs"),
    ),
    (
        "src/transform.rs",
        include_str!("../../udf-sdk/src/transform.rs"),
    ),
];

/// The contract between guest and host, which the SDK reads when it is compiled.
const WIT: &str = include_str!("../../connect/sandbox/wit/plugin.wit");
/// Where the SDK finds it: in our own tree, and in a project.
const WIT_PLACES: [&str; 2] = ["../connect/sandbox/wit", "wit"];

/// Versions of all crates that a guest may need; cargo takes out what it does not.
const LOCK: &str = include_str!("../../udf-examples/Cargo.lock");
/// Flags that make guests fast.
const FLAGS: &str = include_str!("../../udf-examples/.cargo/config.toml");

/// Arguments of `thalweg wasm new`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thalweg wasm new minutes                      functions for SQL
  thalweg wasm new routes --kind transform      a transform for connectors

The project holds the SDK and builds wherever it lies. It needs Rust with the target wasm32-unknown-unknown
(rustup target add wasm32-unknown-unknown).")]
pub(crate) struct NewArgs {
    /// The folder to make; its last part names the crate
    folder: std::path::PathBuf,
    /// What the guest is
    #[arg(long, value_enum, default_value_t = Kind::Function)]
    kind: Kind,
}

/// What a guest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Functions that SQL calls
    Function,
    /// A transform that a connector sends its records through
    Transform,
}

impl Kind {
    /// The example that the project begins as: its name, its sources, and what it needs beside the SDK.
    fn example(
        self,
    ) -> (
        &'static str,
        &'static [(&'static str, &'static str)],
        &'static str,
    ) {
        match self {
            Self::Function => (
                "delay_class",
                &[(
                    "lib.rs",
                    include_str!("../../udf-examples/delay_class/src/lib.rs"),
                )],
                "",
            ),
            Self::Transform => (
                "route",
                &[
                    (
                        "lib.rs",
                        include_str!("../../udf-examples/route/src/lib.rs"),
                    ),
                    (
                        "flight.rs",
                        include_str!("../../udf-examples/route/src/flight.rs"),
                    ),
                    (
                        "tests.rs",
                        include_str!("../../udf-examples/route/src/tests.rs"),
                    ),
                ],
                "serde = { version = \"1\", default-features = false, features = [\"std\"] }
serde_json = { version = \"1\", default-features = false, features = [\"std\"] }
",
            ),
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Function => "functions for SQL",
            Self::Transform => "a transform for connectors",
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &NewArgs) -> Result<()> {
    let folder = &args.folder;
    let name = crate_name(folder)?;
    if folder.exists()
        && folder
            .read_dir()
            .map_or(true, |mut entries| entries.next().is_some())
    {
        bail!(
            "{} is there already and not an empty folder; nothing was written",
            folder.display()
        );
    }
    for (path, text) in files(&name, args.kind) {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    screen::line(format!("made {}: {}", folder.display(), args.kind.what()))?;
    screen::line("next:")?;
    for command in next(folder, &name) {
        screen::line(format!("  {command}"))?;
    }
    Ok(())
}

/// What to do with a project.
fn next(folder: &Path, name: &str) -> [String; 4] {
    [
        format!("cd {}", folder.display()),
        "cargo test".to_owned(),
        "cargo build --release --target wasm32-unknown-unknown".to_owned(),
        format!("thalweg wasm check {}", module(name)),
    ]
}

/// Where cargo puts the module, from the project's folder.
fn module(name: &str) -> String {
    let file = name.replace('-', "_");
    format!("target/wasm32-unknown-unknown/release/{file}.wasm")
}

/// The crate's name, by the folder's.
fn crate_name(folder: &Path) -> Result<String> {
    let absolute = std::path::absolute(folder).context("find the folder")?;
    let last = absolute.file_name().and_then(|name| name.to_str());
    let name = last.unwrap_or_default();
    let usable = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || "_-".contains(char))
        && !matches!(name, "sdk" | "macros" | "test" | "core" | "std");
    if !usable {
        bail!(
            "{name:?} cannot name a crate: letters, digits, _ and -, a letter first, and not sdk, macros, test, core or std; choose another folder"
        );
    }
    Ok(name.to_owned())
}

/// All files of a project, by their paths in it.
fn files(name: &str, kind: Kind) -> Vec<(String, String)> {
    let (example, sources, dependencies) = kind.example();
    let mut files = vec![
        ("Cargo.toml".to_owned(), manifest(name, kind, dependencies)),
        ("Cargo.lock".to_owned(), lock(name, example)),
        (".cargo/config.toml".to_owned(), FLAGS.to_owned()),
        (".gitignore".to_owned(), "/target\n".to_owned()),
        ("README.md".to_owned(), readme(name, kind)),
        ("sdk/wit/plugin.wit".to_owned(), WIT.to_owned()),
    ];
    let own = sources.iter();
    files.extend(own.map(|(path, text)| (format!("src/{path}"), (*text).to_owned())));
    files.extend(
        SDK.iter()
            .map(|(path, text)| (format!("sdk/{path}"), sdk(path, text))),
    );
    files
}

fn manifest(name: &str, kind: Kind, dependencies: &str) -> String {
    format!(
        r#"[workspace]
members = ["sdk", "sdk/macros"]

[package]
name = "{name}"
description = "{}"
version = "0.1.0"
edition = "2024"
publish = false

[lib]
# Only a cdylib: with an rlib beside it cargo would skip fat LTO.
crate-type = ["cdylib"]
doctest = false

[dependencies]
thalweg-udf = {{ path = "sdk" }}
{dependencies}
# Interruption checks sit at function entries and loop ends: inlining across crates removes most of them.
[profile.release]
opt-level = 3
lto = "fat"
codegen-units = 1
debug = false
strip = "debuginfo"
"#,
        match kind {
            Kind::Function => "Functions for Thalweg's SQL",
            Kind::Transform => "A transform for Thalweg's connectors",
        }
    )
}

/// The examples' lock, where the crate stands in the place of the example that it begins as.
fn lock(name: &str, example: &str) -> String {
    LOCK.replace(
        &format!("name = \"{example}\""),
        &format!("name = \"{name}\""),
    )
}

/// A file of the SDK as it is in a project, whose workspace and contract lie elsewhere than ours.
fn sdk(path: &str, text: &str) -> String {
    let [ours, theirs] = WIT_PLACES;
    let text = text.replace(ours, theirs);
    match path {
        "Cargo.toml" | "macros/Cargo.toml" => {
            let lines = text
                .lines()
                .filter(|line| !line.starts_with("workspace = "));
            lines.fold(String::new(), |text, line| text + line + "\n")
        }
        "README.md" => text
            .replace(
                "../udf-examples/route",
                "thalweg wasm new DIR --kind transform",
            )
            .replace(
                "../udf-examples/.cargo/config.toml",
                "../.cargo/config.toml",
            )
            .replace("../udf-examples", "the project"),
        _ => text,
    }
}

fn readme(name: &str, kind: Kind) -> String {
    let (what, how) = match kind {
        Kind::Function => (
            "Functions for Thalweg's SQL. Each is a plain Rust function with `#[scalar_function]`, and stands in `export_functions!`.",
            format!(
                "thalweg wasm check {module}\nthalweg sql -c \"CREATE FUNCTION delay_class LANGUAGE wasm AS 'file:$PWD/{module}'\"\nthalweg sql -c \"SELECT delay_class(20)\"",
                module = module(name)
            ),
        ),
        Kind::Transform => (
            "A transform for Thalweg's connectors: a type with `Transform`, and `export_transform!`.",
            format!(
                "thalweg wasm check {module}      # prints the keys for a connector",
                module = module(name)
            ),
        ),
    };
    format!(
        "# {name}

{what} `sdk/` is the SDK of the version that made this project.

```sh
cargo test                                                   # natively
cargo build --release --target wasm32-unknown-unknown
{how}
```

A new build takes the place of one that is in use with `CREATE OR REPLACE FUNCTION` (of a transform: restart its
connector). What `log::info` and the like say stands in the log of a server that runs with
`--set log.level=warn,connect_sandbox=info` and, of a function, in `EXPLAIN WHY` of it; warnings, errors and panics are
in the log of every server.
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("the SDK's folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => walk(&path, found),
                false => found.push(path),
            }
        }
    }

    #[test]
    fn the_whole_sdk_goes_with_a_project() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("udf-sdk");
        let mut there = Vec::new();
        walk(&root, &mut there);
        let mut there: Vec<String> = there
            .iter()
            .map(|path| {
                path.strip_prefix(&root)
                    .expect("below")
                    .display()
                    .to_string()
            })
            .filter(|path| !path.starts_with("target"))
            .collect();
        there.sort();
        let mut held: Vec<&str> = SDK.iter().map(|(path, _)| *path).collect();
        held.sort_unstable();
        assert_eq!(there, held);
    }

    #[test]
    fn a_project_needs_nothing_outside_of_it() {
        for kind in [Kind::Function, Kind::Transform] {
            for (path, text) in files("minutes", kind) {
                for outside in ["../connect", "../udf-", "../../"] {
                    assert!(!text.contains(outside), "{path} names {outside}");
                }
            }
        }
    }

    #[test]
    fn a_crate_is_named_like_its_folder() {
        assert_eq!(
            crate_name(Path::new("a/my-fn_2")).expect("a name"),
            "my-fn_2"
        );
        assert_eq!(crate_name(Path::new("a/b/")).expect("a name"), "b");
        for wrong in ["2go", "a b", "grün", "sdk", "/"] {
            assert!(crate_name(Path::new(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_there_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("x"), "mine").expect("a file");
        let args = NewArgs {
            folder: folder.path().to_owned(),
            kind: Kind::Function,
        };
        let text = run(&args).expect_err("not empty").to_string();
        // The folder's own name may not do for a crate; then that is said.
        assert!(
            text.contains("nothing was written") || text.contains("cannot name"),
            "{text}"
        );
        assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 1);
    }
}
