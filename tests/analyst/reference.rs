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
        ("sql/src/catalog/options.rs", "OPTIONS"),
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
        let orders = "CREATE TABLE orders (id BIGINT PRIMARY KEY, customer TEXT, amount DOUBLE PRECISION); \
                      INSERT INTO orders VALUES (1, 'ada', 10.5), (2, 'bob', 3), (3, 'ada', 4.5)";
        server.sql(orders).await;
        let reference = read("docs/reference.md");
        let parts: Vec<&str> = reference
            .split("| function | answers | example |")
            .skip(1)
            .collect();
        let [aggregates, over, scalars] = parts.as_slice() else {
            panic!("three tables of functions, not {}", parts.len());
        };
        for (part, from, rows) in [
            (aggregates, "FROM orders", 1),
            (over, "FROM orders", 3),
            (scalars, "", 1),
        ] {
            let table = part
                .lines()
                .skip(2)
                .take_while(|line| line.starts_with('|'));
            let mut examples = 0;
            for line in table {
                let example = line
                    .rsplit_once(" | `")
                    .and_then(|(_, cell)| cell.strip_suffix("` |"));
                let example = example.unwrap_or_else(|| panic!("no example: {line}"));
                let answer = server.sql(&format!("SELECT {example} AS x {from}")).await;
                assert_eq!(answer.len(), rows, "{example}: {answer:?}");
                let is_told = answer.iter().any(|row| !row["x"].is_null());
                assert!(is_told || from.is_empty(), "{example}: {answer:?}");
                examples += 1;
            }
            assert!(examples > 10, "{examples} examples");
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
