//! Wrong statements: the caret on the right token, the nearest name, the exit code.

use crate::fixture::process::Server;

/// Statement, the token that the error must point at, and what its text must hold.
const WRONG: &[(&str, &str, &str)] = &[
    ("SELEC * FROM t", "SELEC", "SELECT"),
    ("SELECT * FORM t", "FORM", "FROM"),
    ("SELECT * FROM t WHER k = 'a'", "WHER", "WHERE"),
    ("SELECT kk FROM t", "kk", "k"),
    ("SELECT * FROM tt", "tt", "t"),
    ("SELECT cuont(*) FROM t", "cuont", "count"),
    (
        "CREATE TABLE x (k TEXT PRIMARY KEY) WITH (topik = 'x')",
        "topik",
        "topic",
    ),
    (
        "CREATE SOURCE x (k TXET) WITH (topic = 'x')",
        "TXET",
        "TEXT",
    ),
    ("DROP TABLE tt", "tt", "t"),
    ("SELECT k, count(*) FROM t", "k", "GROUP BY"),
];

#[test]
fn errors_point_at_the_token_and_name_the_nearest() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let made = server.shell("CREATE TABLE t (k TEXT PRIMARY KEY, v BIGINT) WITH (topic = 't')");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    for (sql, token, help) in WRONG {
        let output = server.shell(sql);
        assert_eq!(output.status.code(), Some(1), "{sql}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(help), "{sql}: no {help} in\n{text}");
        let quoted = text.lines().position(|line| line.contains(sql));
        let marked = quoted.and_then(|at| {
            let (code, carets) = (text.lines().nth(at)?, text.lines().nth(at + 1)?);
            let from = carets.find('^')?;
            let length = carets[from..].chars().take_while(|c| *c == '^').count();
            Some(
                code.chars()
                    .skip(carets[..from].chars().count())
                    .take(length)
                    .collect::<String>(),
            )
        });
        assert_eq!(marked.as_deref(), Some(*token), "{sql}\n{text}");
    }
}
