//! Foreign Kafka clients over TCP: kcat, Python's confluent-kafka, and Thalweg's own commands.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::fixture::process::{Server, thalweg};
use crate::fixture::secured::Secured;

/// The system's kcat, with the system's librdkafka: cargo names its own, without TLS, in this variable.
fn kcat() -> Command {
    let mut command = Command::new("kcat");
    command.env_remove("LD_LIBRARY_PATH");
    command
}

/// Runs a command with this input; returns its standard output.
fn pipe(command: &mut Command, input: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Sends and reads with every codec, as a client that also says this.
fn kcat_with(server: &Server, says: &[(String, String)]) {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("codec-{codec}");
        let input: String = (0..500).map(|n| format!("k{n}:value {n}\n")).collect();
        let kcat = || {
            let mut command = kcat();
            command.args(["-b", &server.kafka, "-t", &topic]);
            for (key, value) in says {
                command.args(["-X", &format!("{key}={value}")]);
            }
            command
        };
        pipe(kcat().args(["-P", "-K", ":", "-z", codec]), &input);
        let read = pipe(kcat().args(["-C", "-e", "-q", "-f", "%k:%s\n"]), "");
        assert_eq!(read, input, "{codec}");
    }
}

#[test]
fn kcat_produces_and_consumes_with_every_codec() {
    let folder = tempfile::tempdir().unwrap();
    kcat_with(&Server::start(folder.path()), &[]);
}

#[test]
fn kcat_over_tls_with_scram() {
    let folder = tempfile::tempdir().unwrap();
    let secured = Secured::start(folder.path());
    kcat_with(&secured.server, &secured.librdkafka("SCRAM-SHA-512"));
    // A wrong password is told, and nothing else.
    let mut command = kcat();
    command.args(["-b", &secured.server.kafka, "-L", "-m", "5"]);
    for (key, value) in secured.librdkafka("SCRAM-SHA-256") {
        let value = if key == "sasl.password" {
            "wrong".to_owned()
        } else {
            value
        };
        command.args(["-X", &format!("{key}={value}")]);
    }
    let output = command.output().unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("user or password is wrong"), "{told}");
}

#[test]
fn own_commands_speak_to_own_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let run =
        |args: &[&str], input: &str| pipe(thalweg().args(args).args(["-b", &server.kafka]), input);
    let created = run(
        &[
            "topic",
            "create",
            "orders",
            "--partitions",
            "3",
            "--config",
            "cleanup.policy=compact",
        ],
        "",
    );
    assert_eq!(created, "created topic orders with 3 partitions\n");
    run(
        &["produce", "orders", "--key-separator", ":"],
        "a:1\nb:2\na:3\n",
    );
    let mut lines: Vec<String> = run(&["consume", "orders", "--exit", "-f", "%k=%v\\n"], "")
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    assert_eq!(lines, ["a=1", "a=3", "b=2"]);
    let described = run(&["topic", "describe", "orders", "-o", "json"], "");
    assert!(
        described.contains("\"cleanup.policy\":\"compact\""),
        "{described}"
    );
    assert!(
        run(&["topic", "list", "-o", "json"], "")
            .contains("{\"name\":\"orders\",\"partitions\":3}")
    );
    run(&["topic", "delete", "orders"], "");
    let missing = thalweg()
        .args(["topic", "describe", "orders", "-b", &server.kafka])
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(4));
    assert_eq!(
        String::from_utf8(missing.stderr).unwrap(),
        "thalweg: topic orders does not exist; `thalweg topic list` shows what there is\n"
    );
}

#[test]
fn produce_sends_what_it_has_read() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    pipe(
        thalweg().args(["topic", "create", "lines", "-b", &server.kafka]),
        "",
    );
    let start = || {
        thalweg()
            .args(["produce", "lines", "-K", ":", "-b", &server.kafka])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let consume = |args: &[&str]| {
        let mut command = thalweg();
        command.args(["consume", "lines", "-b", &server.kafka]);
        pipe(command.args(args), "")
    };

    // A line is sent while the input stays open.
    let mut open = start();
    let mut input = open.stdin.take().unwrap();
    input.write_all(b"a:1.50\nb:\xff\n").unwrap();
    let read = consume(&["-n", "2", "--json"]);
    let read: Vec<&str> = read
        .lines()
        .map(|line| &line[line.find("\"key\"").unwrap()..])
        .collect();
    assert_eq!(
        read,
        [
            r#""key":"a","value":1.50,"headers":[]}"#,
            "\"key\":\"b\",\"value\":\"\u{fffd}\",\"headers\":[]}"
        ]
    );
    drop(input);
    assert!(open.wait().unwrap().success());

    // A line that is wrong takes none before it with it.
    let mut wrong = start();
    let input = b"c:3\nnothing\nd:4\n";
    wrong.stdin.take().unwrap().write_all(input).unwrap();
    let output = wrong.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "1 record written to lines\nthalweg: line 2 has no \":\" between key and value\n"
    );
    assert_eq!(consume(&["-n", "1", "--from", "2"]), "3\n");
}

#[test]
fn nothing_there_is_one_line() {
    let output = thalweg()
        .args(["topic", "list", "-b", "127.0.0.1:1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("nothing answers at 127.0.0.1:1"), "{text}");
}

#[test]
fn a_port_of_another_interface_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let (kafka, connect, http) = (&server.kafka, &server.connect, &server.http);
    let sql = ["sql", "-c", "SELECT 1", "--server"];
    let list = ["connect", "list", "--server"];
    let cases: [(&[&str], &str, String); 6] = [
        (
            &["topic", "list", "-b"],
            http,
            format!("{http} is where a server has SQL; the Kafka protocol is at {kafka}"),
        ),
        (
            &list,
            http,
            format!("{http} is where a server has SQL; Connect's REST interface is at {connect}"),
        ),
        (
            &list,
            kafka,
            format!("what is at {kafka} does not speak as Connect's REST interface does"),
        ),
        (
            &sql,
            kafka,
            format!("what is at {kafka} does not speak as SQL does"),
        ),
        (
            &sql,
            connect,
            format!("{connect} speaks HTTP, but has not SQL"),
        ),
        (
            &sql,
            "localhost",
            "--server localhost: expected HOST:PORT".to_owned(),
        ),
    ];
    for (command, address, told) in cases {
        let output = thalweg().args(command).arg(address).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{command:?}: {text}");
        assert!(text.contains(&told), "{command:?}: {text}");
    }
}

/// What a script prints with Python's client, which also says this.
pub(super) fn python(script: &str, server: &Server, says: &[(String, String)]) -> String {
    let python = std::env::var("THALWEG_TEST_PYTHON").unwrap_or_else(|_| {
        format!(
            "{}/.cache/thalweg/venv/bin/python3",
            std::env::var("HOME").unwrap()
        )
    });
    let script = format!("{}/tests/operator/{script}", env!("CARGO_MANIFEST_DIR"));
    let says: BTreeMap<_, _> = says.iter().cloned().collect();
    let says = serde_json::to_string(&says).unwrap();
    pipe(
        Command::new(python).args([&script, &server.kafka, &says]),
        "",
    )
}

fn python_with(server: &Server, says: &[(String, String)]) {
    assert_eq!(
        python("clients.py", server, says),
        "created\nidempotent 1000\ncommitted 10 aborted 0\ngroup 1000 offsets ok\ntimes ok\n"
    );
}

#[test]
fn python_confluent_kafka_transactions_and_groups() {
    let folder = tempfile::tempdir().unwrap();
    python_with(&Server::start(folder.path()), &[]);
}

#[test]
fn python_confluent_kafka_over_tls_with_scram() {
    let folder = tempfile::tempdir().unwrap();
    let secured = Secured::start(folder.path());
    python_with(&secured.server, &secured.librdkafka("SCRAM-SHA-256"));
}

#[test]
fn users_and_rules_of_access_made_by_pythons_admin_client() {
    let folder = tempfile::tempdir().unwrap();
    let secured = Secured::start(folder.path());
    let says = secured.librdkafka("SCRAM-SHA-512");
    assert_eq!(
        python("access.py", &secured.server, &says),
        "user reader [8192]\nrules 2\nread one\nwrite TOPIC_AUTHORIZATION_FAILED\nremoved 2\ngone _TRANSPORT\n"
    );
}

/// A day of Java's client, which also says this.
fn java_with(server: &Server, says: &[(String, String)]) {
    let jars = format!("{}/.cache/thalweg/java/*", std::env::var("HOME").unwrap());
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/operator/java/Client.java"
    );
    let mut command = Command::new("java");
    command.args(["-cp", &jars, source, &server.kafka]);
    command.args(says.iter().map(|(key, value)| format!("{key}={value}")));
    assert_eq!(
        pipe(&mut command, ""),
        "partitions 3, retention.ms 3600000, nodes 1\nread 500, aborted false, first by time 0\ncommitted 3, group Empty\n"
    );
}

#[test]
fn java_clients_of_kafka_4_3() {
    let folder = tempfile::tempdir().unwrap();
    java_with(&Server::start(folder.path()), &[]);
}

#[test]
fn java_clients_of_kafka_4_3_over_tls_with_scram_and_plain() {
    let folder = tempfile::tempdir().unwrap();
    let secured = Secured::start(folder.path());
    java_with(&secured.server, &secured.java("SCRAM-SHA-512"));
    let folder = tempfile::tempdir().unwrap();
    let secured = Secured::start(folder.path());
    java_with(&secured.server, &secured.java("PLAIN"));
}
