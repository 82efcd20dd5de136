//! The shell as a person at a terminal sees it: one Tab, tables that fit, a server that goes away.

use std::process::Command;

use crate::fixture::flights::root;
use crate::fixture::process::{Server, thalweg};

#[test]
fn a_person_at_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data);
    let rows: Vec<String> = (0..100)
        .map(|row| {
            format!(
                "('k{row}', {row}, '{}', '{}')",
                "long text ".repeat(6),
                "more text ".repeat(6)
            )
        })
        .collect();
    let made = server.shell(&format!(
        "CREATE TABLE table_of_many (k TEXT PRIMARY KEY, v BIGINT, a TEXT, b TEXT) WITH (topic = 'm'); \
         INSERT INTO table_of_many VALUES {}",
        rows.join(", ")
    ));
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let output = Command::new("python3")
        .arg(root().join("tests/analyst/terminal.py"))
        .arg(thalweg().get_program())
        .arg(&data)
        .arg(folder.path())
        .arg(server.pid().to_string())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
