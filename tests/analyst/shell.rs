//! `thalweg sql` as it is used in scripts: -c, -f, standard input, output formats, exit codes.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use rustix::process::Signal;

use crate::fixture::block_on;
use crate::fixture::process::{Server, signal, thalweg};

const SETUP: &str = "CREATE TABLE t (k TEXT PRIMARY KEY, v DOUBLE PRECISION) WITH (topic = 't'); \
    INSERT INTO t VALUES ('a', 1.5), ('b', NULL);";

#[test]
fn prints_tables_json_and_csv() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    assert!(server.shell(SETUP).status.success());
    let print = |output: &str| {
        let result = thalweg()
            .args([
                "sql",
                "--server",
                &server.http,
                "-o",
                output,
                "-c",
                "SELECT * FROM t ORDER BY k",
            ])
            .output()
            .unwrap();
        assert!(result.status.success());
        String::from_utf8(result.stdout).unwrap()
    };
    assert_eq!(
        print("json"),
        "{\"k\":\"a\",\"v\":1.5}\n{\"k\":\"b\",\"v\":null}\n"
    );
    assert_eq!(print("csv"), "k,v\na,1.5\nb,\n");
    let table = print("table");
    assert!(
        table.contains("│ a   1.5 │") && table.ends_with("(2 rows)\n"),
        "{table}"
    );
}

#[test]
fn reads_files_and_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let file = folder.path().join("q.sql");
    std::fs::write(
        &file,
        format!("-- two statements\n{SETUP}\nSELECT count(*) AS n FROM t;"),
    )
    .unwrap();
    let output = thalweg()
        .args(["sql", "--server", &server.http, "-f"])
        .arg(&file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.ends_with("{\"n\":2}\n"), "{text}");

    let mut child = thalweg()
        .args(["sql", "--server", &server.http])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"SELECT k FROM t WHERE v IS NULL;")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "{\"k\":\"b\"}\n");
}

#[test]
fn a_file_may_begin_with_commands() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    assert!(server.shell(SETUP).status.success());
    let (csv, json) = (folder.path().join("t.csv"), folder.path().join("k.json"));
    let file = folder.path().join("q.sql");
    let text = format!(
        "\\copy t to '{}'\n\\copy (SELECT k FROM t) to '{}'\nSELECT count(*) AS n FROM t;\n",
        csv.display(),
        json.display()
    );
    std::fs::write(&file, text).unwrap();
    for as_input in [false, true] {
        let mut command = thalweg();
        command.args(["sql", "--server", &server.http]);
        match as_input {
            true => command.stdin(std::fs::File::open(&file).unwrap()),
            false => command.arg("-f").arg(&file),
        };
        let output = command.output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{printed}");
        assert!(printed.ends_with("{\"n\":2}\n"), "{printed}");
        for (path, lines) in [(&csv, 3), (&json, 2)] {
            let written = std::fs::read_to_string(path).unwrap();
            assert_eq!(written.lines().count(), lines, "{written}");
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn becomes_a_server_where_nothing_serves() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = thalweg();
    command.arg("sql").arg("--data").arg(folder.path());
    for role in ["kafka", "connect", "http"] {
        command.args(["--set", &format!("{role}.listen=127.0.0.1:0")]);
    }
    let output = command
        .args(["-c", "SELECT 1 + 1 AS two"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "{\"two\":2}\n");
    let said = String::from_utf8(output.stderr).unwrap();
    let why = "No server has this folder: all roles run in this process until it ends; data in ";
    assert!(said.starts_with(why), "{said}");
}

#[test]
fn catalog_and_views_survive_a_restart() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path());
        server.sql(SETUP).await;
        server
            .sql("CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n, max(v) AS top FROM t")
            .await;
        let one = [serde_json::json!({"n": 2, "top": 1.5})];
        let view = async |server: &Server| server.sql("SELECT * FROM m").await;
        crate::fixture::until("the view", || view(&server), |rows| *rows == one).await;
        server.kill();
        let server = Server::start(folder.path());
        crate::fixture::until("the view", || view(&server), |rows| *rows == one).await;
        let refused = server.try_sql("DROP TABLE t").await.unwrap_err();
        assert!(
            refused["message"].as_str().unwrap().contains('m'),
            "{refused}"
        );
        server.sql("DROP MATERIALIZED VIEW m; DROP TABLE t").await;
        assert!(server.try_sql("SELECT * FROM m").await.is_err());
    });
}

/// Runs statements until the first row has come, interrupts them, and waits; the exit code.
fn interrupted(server: &Server, statements: &str) -> Option<i32> {
    let mut child = thalweg()
        .args(["sql", "--server", &server.http, "-c", statements])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut first)
        .unwrap();
    assert!(first.contains("\"diff\":1"), "{first}");
    signal(&child, Signal::INT);
    child.wait().unwrap().code()
}

#[test]
fn ctrl_c_ends_a_query_and_what_would_follow() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    assert!(server.shell(SETUP).status.success());
    let query = "SELECT k FROM t EMIT CHANGES";
    assert_eq!(interrupted(&server, query), Some(0));
    let script = format!("{query}; DROP TABLE t");
    assert_eq!(interrupted(&server, &script), Some(130));
    assert!(server.shell("SELECT count(*) AS n FROM t").status.success());
}

#[test]
fn a_server_that_ends_amid_an_answer_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    assert!(server.shell(SETUP).status.success());
    let mut child = thalweg()
        .args(["sql", "--server", &server.http, "-c"])
        .arg("SELECT k FROM t EMIT CHANGES")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut first)
        .unwrap();
    let address = server.http.clone();
    server.kill();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    let expected =
        format!("thalweg: the answer broke off: http://{address} ended or cut the connection\n");
    assert_eq!(said, expected);
}

#[test]
fn settings_stay_and_errors_name_the_line_of_the_whole_text() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    assert!(server.shell(SETUP).status.success());
    let output = server.shell(
        "-- what follows is longer than nothing\n\
         SET 'statement_timeout' = '1ms';\n\n SELECT count(*) AS n FROM (SELECT unnest(range(0, 100000)) AS x) a \
         JOIN (SELECT unnest(range(0, 100000)) AS x) b ON a.x + b.x <> 0.5",
    );
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    let output = server.shell("SELECT 1 AS one;\n\nSELECT\n  kk FROM t");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("4 |   kk FROM t"), "{error}");
}

/// What `thalweg sql` prints in this form.
fn printed(server: &Server, output: &str, sql: &str) -> String {
    let output = thalweg()
        .args(["sql", "--server", &server.http, "-o", output, "-c", sql])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{sql}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn columns_may_be_named_diff_and_row() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let snapshot = "SELECT 3 - 7 AS diff, 'x' AS \"row\"";
    assert_eq!(
        printed(&server, "json", snapshot),
        "{\"diff\":-4,\"row\":\"x\"}\n"
    );
    assert_eq!(printed(&server, "csv", snapshot), "diff,row\n-4,x\n");
    assert!(printed(&server, "table", snapshot).contains("│   -4   x   │"));
    let create = "CREATE TABLE d (diff BIGINT PRIMARY KEY, \"row\" TEXT) WITH (topic = 'd')";
    assert!(server.shell(create).status.success());
    // What a statement without rows did is no row of CSV.
    let insert = "INSERT INTO d VALUES (-4, 'x')";
    assert_eq!(printed(&server, "table", insert), "inserted 1 row\n");
    assert_eq!(printed(&server, "csv", insert), "");
    let push = "SELECT * FROM d EMIT CHANGES LIMIT 1";
    let change = "{\"diff\":1,\"row\":{\"diff\":-4,\"row\":\"x\"}}\n";
    assert_eq!(printed(&server, "json", push), change);
    assert_eq!(printed(&server, "csv", push), "diff,diff,row\n1,-4,x\n");
}

#[test]
fn commands_of_the_shell_work_with_c() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    assert!(server.shell(SETUP).status.success());
    let prints = |command: &str| printed(&server, "table", command);
    assert!(prints("\\d t").contains("DOUBLE"));
    let all = prints("\\d");
    assert!(
        all.starts_with("sources\n") && all.contains("\ntables\n"),
        "{all}"
    );
    assert!(prints("\\dt").contains("│ t "));
    assert!(prints("\\l").contains("│ t "));
    assert!(prints("\\df trunc").contains("date_trunc"));
    let none = "no function has frobnicate in its name or in what it answers; \\df lists all\n";
    assert_eq!(prints("\\df frobnicate"), none);
    assert!(prints("\\h create table").starts_with("CREATE TABLE\n"));
    let wrong = server.shell("\\dtt");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        String::from_utf8(wrong.stderr)
            .unwrap()
            .contains("did you mean \\dt?")
    );
    let unknown = server.shell("\\d nothing");
    assert_eq!(unknown.status.code(), Some(1));
}

#[test]
fn a_plan_and_a_statement_are_text() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    assert!(server.shell(SETUP).status.success());
    let plan = printed(&server, "table", "EXPLAIN SELECT k FROM t EMIT CHANGES");
    assert!(plan.starts_with("source"), "{plan}");
    assert!(!plan.contains('│') && !plan.contains("row)"), "{plan}");
    let made = printed(&server, "table", "SHOW CREATE t");
    let expected = SETUP.split(';').next().unwrap();
    assert_eq!(made, format!("{expected}\n"));
}

#[test]
fn a_data_folder_means_the_server_that_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mine, other) = (folder.path().join("mine"), folder.path().join("other"));
    let server = Server::start(&mine);
    assert!(server.shell(SETUP).status.success());
    let count = |data: &std::path::Path, listen: &str| {
        let output = thalweg()
            .args(["sql", "-c", "SELECT count(*) AS n FROM t", "--data"])
            .arg(data)
            .env("THALWEG_HTTP__LISTEN", listen)
            .env("THALWEG_KAFKA__LISTEN", "127.0.0.1:0")
            .env("THALWEG_CONNECT__LISTEN", "127.0.0.1:0")
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            text(output.stdout),
            text(output.stderr),
            output.status.code(),
        )
    };
    // The server is found by its folder, though it does not listen where the settings say.
    assert_eq!(
        count(&mine, "127.0.0.1:0"),
        ("{\"n\":2}\n".into(), String::new(), Some(0))
    );
    // Another folder's server is not asked, and it is said whose it is.
    let (stdout, stderr, code) = count(&other, &server.http);
    assert_eq!((stdout.as_str(), code), ("", Some(3)), "{stderr}");
    let whose = mine.canonicalize().unwrap();
    assert!(
        stderr.contains(&format!("{} has {}", server.http, whose.display())),
        "{stderr}"
    );
    assert!(!other.exists());
    // Whoever starts a second server on the folder hears of the first.
    let output = crate::fixture::process::server_command(&mine)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(&format!("it serves at {}", server.http)),
        "{said}"
    );
    // After a kill the note is still there, and nobody believes it.
    server.kill();
    assert!(mine.join("server.json").exists());
    let (stdout, stderr, _) = count(&mine, "127.0.0.1:0");
    assert_eq!(stdout, "{\"n\":2}\n", "{stderr}");
    assert!(stderr.contains("all roles run in this process"), "{stderr}");
    assert!(!mine.join("server.json").exists());
}
