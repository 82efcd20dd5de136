//! The commands around the log: what they print into a pipe that closes, and whose words they pass on.

use std::io::Read;
use std::process::{Command, Output, Stdio};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};

use crate::fixture::PATIENCE;
use crate::fixture::process::{Server, thalweg};

fn run(server: &Server, args: &[&str]) -> Output {
    thalweg()
        .args(args)
        .args(["-b", &server.kafka])
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn said(output: &Output) -> (String, String, Option<i32>) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        text(&output.stdout),
        text(&output.stderr),
        output.status.code(),
    )
}

/// What a command writes into a pipe whose reader has left before the first byte.
fn into_a_closed_pipe(command: &mut Command) -> (String, Option<i32>) {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(reader);
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    (stderr, child.wait().unwrap().code())
}

#[test]
fn a_closed_pipe_ends_every_command_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    assert!(run(&server, &["topic", "create", "t"]).status.success());
    let made = server.shell(
        "CREATE TABLE k (k TEXT PRIMARY KEY) WITH (topic = 'k'); INSERT INTO k VALUES ('a')",
    );
    assert!(made.status.success());
    let kafka = ["-b", server.kafka.as_str()];
    let http = ["--server", server.http.as_str()];
    let connect = ["--server", server.connect.as_str()];
    let commands: &[(&[&str], &[&str])] = &[
        (&["topic", "list"], &kafka),
        (&["topic", "list", "-o", "json"], &kafka),
        (&["topic", "describe", "t"], &kafka),
        (&["topic", "describe", "t", "-o", "json"], &kafka),
        (&["topic", "create", "u"], &kafka),
        (&["topic", "alter", "t", "--partitions", "2"], &kafka),
        (&["topic", "delete", "u"], &kafka),
        (&["group", "list"], &kafka),
        (
            &["group", "reset", "g", "--topic", "t", "--to", "earliest"],
            &kafka,
        ),
        (&["group", "describe", "g"], &kafka),
        (&["group", "delete", "g"], &kafka),
        (&["consume", "k", "--exit"], &kafka),
        (&["consume", "k", "--last", "1"], &kafka),
        (&["connect", "list"], &connect),
        (&["connect", "plugins"], &connect),
        (&["sql", "-o", "table", "-c", "SELECT * FROM k"], &http),
        (&["sql", "-o", "csv", "-c", "SELECT * FROM k"], &http),
        (&["sql", "-o", "json", "-c", "SELECT * FROM k"], &http),
        (&["sql", "-o", "table", "-c", "EXPLAIN k"], &http),
        (&["sql", "-c", "\\?"], &http),
        (&["sql", "-c", "\\df"], &http),
        (&["sql", "-c", "\\h select"], &http),
        (&["config", "show", "--origin"], &[]),
        (&["explain"], &[]),
        (&["explain", "TW1101"], &[]),
        (&["--help"], &[]),
        (&["topic", "--help"], &[]),
        (&["--version"], &[]),
    ];
    for (command, server) in commands {
        let (stderr, code) = into_a_closed_pipe(thalweg().args(*command).args(*server));
        assert_eq!((stderr.as_str(), code), ("", Some(0)), "{command:?}");
    }
}

#[test]
fn messages_that_nobody_reads_are_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    assert!(run(&server, &["topic", "create", "t"]).status.success());
    let http = ["--server", server.http.as_str()];
    let kafka = ["-b", server.kafka.as_str()];
    let commands: &[(&[&str], &[&str], i32)] = &[
        (&["produce", "t"], &kafka, 0),
        (&["topic", "describe", "nothing"], &kafka, 4),
        (&["sql", "-c", "SELEC 1"], &http, 1),
        (&["config", "show", "--set", "no.such=1"], &[], 1),
    ];
    for (command, server, code) in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut child = thalweg()
            .args(*command)
            .args(*server)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(writer)
            .spawn()
            .unwrap();
        drop(reader);
        assert_eq!(child.wait().unwrap().code(), Some(*code), "{command:?}");
    }
}

#[test]
fn the_brokers_own_reason_is_passed_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    assert!(
        run(&server, &["topic", "create", "clicks", "orders"])
            .status
            .success()
    );
    let refusals: &[(&[&str], i32, &[&str])] = &[
        (
            &["topic", "create", "ab", "--config", "retention.mss=1"],
            1,
            &["retention.mss", "retention.ms"],
        ),
        (
            &["topic", "create", "ab", "--partitions", "0"],
            1,
            &["ab", "partitions"],
        ),
        (&["topic", "create", "clicks"], 1, &["clicks", "exists"]),
        (&["topic", "create", "a b"], 1, &["a b"]),
        (
            &["topic", "delete", "__consumer_offsets"],
            1,
            &["__consumer_offsets"],
        ),
        (
            &["topic", "delete", "clciks"],
            4,
            &["topic clciks does not exist, did you mean clicks?"],
        ),
        (
            &["topic", "describe", "clciks"],
            4,
            &["topic clciks does not exist, did you mean clicks?"],
        ),
        (
            &["topic", "alter", "clciks", "--partitions", "2"],
            4,
            &["did you mean clicks?"],
        ),
        (
            &["topic", "alter", "clicks", "--partitions", "1"],
            1,
            &["clicks", "partition"],
        ),
        (
            &["topic", "alter", "clicks", "--config", "retention.mss=1"],
            1,
            &["retention.mss", "retention.ms"],
        ),
        (
            &["topic", "alter", "clicks"],
            1,
            &["--partitions, --config or --unset"],
        ),
        (&["consume", "clciks"], 4, &["did you mean clicks?"]),
        (
            &["consume", "clicks", "--partition", "7"],
            4,
            &["topic clicks has no partition 7"],
        ),
        (
            &["produce", "clciks"],
            4,
            &["did you mean clicks?", "thalweg topic create clciks"],
        ),
        (
            &["group", "describe", "nobody"],
            4,
            &["group nobody does not exist"],
        ),
        (
            &["group", "delete", "nobody"],
            4,
            &["group nobody does not exist"],
        ),
    ];
    for (command, code, words) in refusals {
        let (stdout, stderr, found) = said(&run(&server, command));
        assert_eq!(found, Some(*code), "{command:?}: {stdout}{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{command:?}: {stderr}");
        for word in *words {
            assert!(stderr.contains(word), "{command:?}: no {word} in {stderr}");
        }
    }
}

#[test]
fn topics_are_changed_and_take_their_records_by_partition_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    assert!(run(&server, &["topic", "create", "t"]).status.success());
    let altered = [
        "topic",
        "alter",
        "t",
        "-p",
        "2",
        "--config",
        "retention.ms=-1",
        "--config",
        "max.message.bytes=1000000",
    ];
    let (stdout, stderr, code) = said(&run(&server, &altered));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("topic t has 2 partitions now"), "{stdout}");
    assert!(
        run(
            &server,
            &["topic", "alter", "t", "--unset", "max.message.bytes"]
        )
        .status
        .success()
    );
    let (described, ..) = said(&run(&server, &["topic", "describe", "t", "-o", "json"]));
    let described: serde_json::Value = serde_json::from_str(&described).unwrap();
    assert_eq!(
        described["configs"],
        serde_json::json!({"retention.ms": "-1"})
    );
    assert_eq!(described["partitions"].as_array().unwrap().len(), 2);

    let produce = |text: &str, args: &[&str]| {
        let mut child = thalweg()
            .args(["produce", "t", "-b", &server.kafka])
            .args(args)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    };
    produce(
        "one\n",
        &[
            "--partition",
            "1",
            "--key",
            "k",
            "-H",
            "source=test",
            "--timestamp",
            "2024-05-01T10:00:00Z",
        ],
    );
    produce(
        "two\n\n",
        &[
            "--partition",
            "0",
            "--key",
            "k",
            "-Z",
            "--timestamp",
            "2024-05-01T11:00:00Z",
        ],
    );
    produce(
        "three\n",
        &[
            "--partition",
            "0",
            "--key",
            "other",
            "--timestamp",
            "2024-05-01T12:00:00Z",
        ],
    );
    let consume = |args: &[&str]| {
        let mut command = vec!["consume", "t"];
        command.extend(args);
        if !args.contains(&"--json") {
            command.extend(["-f", "%p/%o %k %v %h\\n"]);
        }
        let (stdout, stderr, code) = said(&run(&server, &command));
        assert_eq!(code, Some(0), "{args:?}: {stderr}");
        stdout
    };
    assert_eq!(consume(&["--exit", "-p", "1"]), "1/0 k one source=test\n");
    assert_eq!(
        consume(&["--exit", "--from", "2024-05-01T10:30:00Z", "-p", "1"]),
        ""
    );
    assert_eq!(
        consume(&["--exit", "--from", "2024-05-01T11:30:00Z"]),
        "0/2 other three \n"
    );
    assert_eq!(
        consume(&["--exit", "--from", "2", "-p", "0"]),
        "0/2 other three \n"
    );
    assert_eq!(
        consume(&["--last", "3"]),
        "0/0 k two \n0/1 k  \n0/2 other three \n"
    );
    assert_eq!(
        consume(&["--last", "1", "--key", "k", "-p", "1"]),
        "1/0 k one source=test\n"
    );
    assert_eq!(consume(&["--last", "9"]).lines().count(), 4);
    let json = consume(&["--exit", "--json", "--key", "k", "-p", "0"]);
    assert!(
        json.lines().nth(1).unwrap().contains("\"value\":null"),
        "{json}"
    );
}

#[test]
fn groups_are_listed_described_moved_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    assert!(
        run(&server, &["topic", "create", "t", "-p", "2"])
            .status
            .success()
    );
    let mut child = thalweg()
        .args(["produce", "t", "-b", &server.kafka, "--partition", "1"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"a\nb\nc\n").unwrap();
    assert!(child.wait().unwrap().success());

    let reset = ["group", "reset", "billing", "--topic", "t:1", "--to", "1"];
    let (stdout, _, code) = said(&run(&server, &[&reset[..], &["--dry-run"]].concat()));
    assert_eq!(code, Some(0));
    assert!(stdout.contains("nothing was changed"), "{stdout}");
    assert_eq!(
        said(&run(&server, &["group", "describe", "billing"])).2,
        Some(4)
    );
    let (stdout, stderr, code) = said(&run(&server, &reset));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(
        stdout.ends_with("group billing is new and begins there\n"),
        "{stdout}"
    );
    let (stdout, ..) = said(&run(&server, &reset));
    assert!(
        stdout.ends_with("group billing goes on there\n"),
        "{stdout}"
    );
    let near = ["group", "reset", "biling", "--topic", "t:1", "--to", "1"];
    let (stdout, ..) = said(&run(&server, &near));
    let told = "group biling is new (is billing meant?) and begins there\n";
    assert!(stdout.ends_with(told), "{stdout}");
    let (_, stderr, code) = said(&run(&server, &["group", "delete", "biling"]));
    assert_eq!(code, Some(0), "{stderr}");
    let (listed, ..) = said(&run(&server, &["group", "list", "-o", "json"]));
    assert!(listed.contains("\"name\":\"billing\""), "{listed}");
    let (described, ..) = said(&run(
        &server,
        &["group", "describe", "billing", "-o", "json"],
    ));
    let described: serde_json::Value = serde_json::from_str(&described).unwrap();
    assert_eq!(
        described["partitions"],
        serde_json::json!([{"topic": "t", "partition": 1, "offset": 1, "end": 3, "lag": 2, "member": ""}])
    );
    // Without a topic it is all that the group has read; a number beyond the end is the end.
    let (_, stderr, code) = said(&run(&server, &["group", "reset", "billing", "--to", "99"]));
    assert_eq!(code, Some(0), "{stderr}");
    let (described, ..) = said(&run(&server, &["group", "describe", "billing"]));
    assert!(
        described.contains("group billing: Empty, 0 members"),
        "{described}"
    );
    let (_, stderr, code) = said(&run(&server, &["group", "describe", "bilings"]));
    assert_eq!(code, Some(4));
    assert!(stderr.contains("did you mean billing?"), "{stderr}");
    assert!(
        run(&server, &["group", "delete", "billing"])
            .status
            .success()
    );
    assert_eq!(
        said(&run(&server, &["group", "describe", "billing"])).2,
        Some(4)
    );
}

#[test]
fn a_group_with_members_shows_them_and_stays_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    assert!(run(&server, &["topic", "create", "t"]).status.success());
    let mut producer = thalweg()
        .args(["produce", "t", "-b", &server.kafka])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut producer.stdin.take().unwrap(), b"a\nb\n").unwrap();
    assert!(producer.wait().unwrap().success());
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &server.kafka)
        .set("group.id", "readers")
        .set("client.id", "a-reader")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&["t"]).unwrap();
    let started = std::time::Instant::now();
    let message = loop {
        assert!(started.elapsed() < PATIENCE, "the consumer gets nothing");
        if let Some(message) = consumer.poll(std::time::Duration::from_secs(1)) {
            break message.unwrap();
        }
    };
    consumer.commit_message(&message, CommitMode::Sync).unwrap();

    let (described, ..) = said(&run(
        &server,
        &["group", "describe", "readers", "-o", "json"],
    ));
    let described: serde_json::Value = serde_json::from_str(&described).unwrap();
    assert_eq!(described["state"], "Stable");
    let partition = &described["partitions"][0];
    assert_eq!(
        (&partition["offset"], &partition["lag"]),
        (&1.into(), &1.into())
    );
    let member = partition["member"].as_str().unwrap();
    assert!(member.starts_with("a-reader at "), "{described}");
    for command in [
        &["group", "reset", "readers", "--to", "earliest"][..],
        &["group", "delete", "readers"],
    ] {
        let (_, stderr, code) = said(&run(&server, command));
        assert_eq!(code, Some(1), "{stderr}");
        let expected = "thalweg: group readers has members; stop its consumers first\n";
        assert_eq!(stderr, expected, "{command:?}");
    }
}

#[test]
fn connectors_are_applied_and_turned() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let connect = |args: &[&str]| {
        let output = thalweg()
            .arg("connect")
            .args(args)
            .args(["--server", &server.connect])
            .output()
            .unwrap();
        said(&output)
    };
    let input = folder.path().join("in.ndjson");
    std::fs::write(&input, "{\"k\":1}\n").unwrap();
    let file = folder.path().join("in.json");
    let config = serde_json::json!({"name": "in", "config": {
        "connector.class": "FileStreamSource", "file": input, "format": "ndjson", "topic": "t",
    }});
    std::fs::write(&file, config.to_string()).unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(
        connect(&["apply", file]),
        ("created connector in\n".into(), String::new(), Some(0))
    );
    assert_eq!(connect(&["apply", file]).0, "changed connector in\n");
    assert!(connect(&["list"]).0.contains("│ in "));
    assert!(
        connect(&["status", "in"])
            .0
            .starts_with("source connector in: ")
    );
    assert!(connect(&["config", "in"]).0.contains("FileStreamSource"));
    assert!(connect(&["plugins"]).0.contains("FileStreamSource"));
    for action in ["pause", "resume", "stop", "restart"] {
        let (stdout, stderr, code) = connect(&[action, "in"]);
        if action == "restart" {
            // A connector that was stopped is not restarted; the worker says why.
            assert!(code == Some(0) || stderr.contains("in"), "{stderr}");
            continue;
        }
        assert_eq!(code, Some(0), "{action}: {stdout}{stderr}");
    }
    let (_, stderr, code) = connect(&["status", "inn"]);
    assert_eq!(
        (stderr.trim_end(), code),
        (
            "thalweg: connector inn does not exist, did you mean in?",
            Some(4)
        )
    );
    std::fs::write(
        file,
        "{\"name\": \"x\", \"config\": {\"connector.class\": \"FileStreamSorce\"}}",
    )
    .unwrap();
    let (_, stderr, code) = connect(&["apply", file]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("FileStreamSorce"), "{stderr}");
    assert_eq!(connect(&["delete", "in"]).0, "deleted connector in\n");
    assert_eq!(connect(&["delete", "in"]).2, Some(4));
}

#[test]
fn codes_are_explained() {
    let explain = |args: &[&str]| said(&thalweg().arg("explain").args(args).output().unwrap());
    let (page, _, code) = explain(&["tw1101"]);
    assert!(page.starts_with("TW1101 there is no such source"), "{page}");
    assert_eq!(code, Some(0));
    let (all, ..) = explain(&[]);
    assert!(all.lines().count() > 30 && all.contains("TW9001"), "{all}");
    let (_, stderr, code) = explain(&["TW1109"]);
    assert_eq!(code, Some(4), "{stderr}");
}
