//! docs/reference.md and docs/statements.md against the code: names in the source, and every example that they show.

use crate::fixture::flights::root;
use crate::fixture::process::Server;
use crate::fixture::{block_on, wasm};

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The strings of a constant list in the source.
fn list(path: &str, name: &str) -> Vec<String> {
    let text = read(path);
    let from = text.find(&format!("const {name}: &[&str] = &[")).unwrap();
    let body = text[from..].split("];").next().unwrap();
    let strings = body.split('"').skip(1).step_by(2);
    strings.map(str::to_owned).collect()
}

#[test]
fn the_reference_names_every_option_setting_and_type() {
    let reference = read("docs/reference.md");
    for (path, name) in [
        ("sql/src/catalog/create.rs", "OPTIONS"),
        ("sql/src/catalog/output.rs", "SINK_OPTIONS"),
        ("sql/src/serve/session.rs", "SETTINGS"),
        ("sql/src/plan/sql_type.rs", "NAMES"),
    ] {
        let names = list(path, name);
        assert!(names.len() > 2, "{path}: {names:?}");
        for known in names {
            let written = [format!("`{known}"), format!(" {known}")];
            assert!(
                written
                    .iter()
                    .any(|written| reference.contains(written.as_str())),
                "docs/reference.md does not tell of {known} ({name} in {path})"
            );
        }
    }
}

#[test]
fn every_example_of_a_function_runs() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path());
        let reference = read("docs/reference.md");
        let functions = reference
            .split("| function | answers | example |")
            .nth(1)
            .unwrap();
        let examples: Vec<&str> = functions
            .lines()
            .filter_map(|line| line.rsplit_once(" | `")?.1.strip_suffix("` |"))
            .collect();
        assert!(examples.len() > 40, "{examples:?}");
        for example in examples {
            let rows = server.sql(&format!("SELECT {example} AS x")).await;
            assert_eq!(rows.len(), 1, "{example}: {rows:?}");
        }
        for block in reference.split("```sql\n").skip(1) {
            server.sql(block.split("```").next().unwrap()).await;
        }
    });
}

#[test]
fn every_example_of_a_statement_runs() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path());
        let statements = read("docs/statements.md");
        let examples: Vec<&str> = statements.split("```sql\n").skip(1).collect();
        assert!(examples.len() > 12, "{examples:?}");
        for example in examples {
            let example = example.split("```").next().unwrap();
            let module = wasm("delay_class").display().to_string();
            let example = example.replace("file:delay_class.wasm", &format!("file:{module}"));
            server.sql(&example).await;
        }
    });
}
