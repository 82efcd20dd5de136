//! Files that change behind the log's back: every way of looking says so, and nothing is served that is not true.

use std::fs;
use std::path::{Path, PathBuf};

use crate::fixture::block_on;
use crate::fixture::process::{Server, thalweg};

fn run(args: &[&str]) -> (String, String, Option<i32>) {
    let output = thalweg().args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        text(output.stdout),
        text(output.stderr),
        output.status.code(),
    )
}

/// The first segment of a topic of one partition.
fn segment(data: &str, topic: &str) -> PathBuf {
    let (paths, error, _) = run(&["topic", "path", topic, "--data", data]);
    let folder = paths.lines().next().unwrap_or_else(|| panic!("{error}"));
    Path::new(folder).join("00000000000000000000.log")
}

/// Where the batches of a file begin.
fn batches(content: &[u8]) -> Vec<usize> {
    let mut starts = vec![0];
    loop {
        let start = *starts.last().unwrap();
        let Some(length) = content.get(start + 8..start + 12) else {
            starts.pop();
            return starts;
        };
        let length = u32::from_be_bytes(length.try_into().unwrap());
        starts.push(start + 12 + length as usize);
    }
}

async fn ready(server: &Server) -> (u16, String) {
    let url = format!("http://{}/readyz", server.http);
    let answer = reqwest::get(url).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[test]
fn records_that_are_damaged_or_missing_are_told_by_every_way_of_looking() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data);
    for topic in ["orders", "clicks"] {
        let made = format!(
            "CREATE TABLE {topic} (k TEXT PRIMARY KEY) WITH (topic = '{topic}', partitions = 1)"
        );
        assert!(server.shell(&made).status.success());
        for key in ["a", "b", "c"] {
            let insert = format!("INSERT INTO {topic} VALUES ('{key}')");
            assert!(server.shell(&insert).status.success());
        }
    }
    server.terminate();

    // In the middle of the one some bytes turn, the other is gone.
    let data_path = data.to_str().unwrap();
    let orders = segment(data_path, "orders");
    let mut content = fs::read(&orders).unwrap();
    let starts = batches(&content);
    let hit = starts[starts.len() / 2];
    content[hit + 40..hit + 52].fill(b'X');
    fs::write(&orders, content).unwrap();
    let clicks = segment(data_path, "clicks");
    let clicks_content = fs::read(&clicks).unwrap();
    fs::remove_file(&clicks).unwrap();

    let (told, _, code) = run(&["doctor", "--data", data_path]);
    assert_eq!(code, Some(1), "{told}");
    let missing = "holds no segment any more";
    assert!(
        told.contains(missing) && told.contains("accept-loss"),
        "{told}"
    );
    let (told, _, code) = run(&["doctor", "--records", "--data", data_path]);
    assert_eq!(code, Some(1), "{told}");
    let damaged = format!("of topic orders: 00000000000000000000.log: byte {hit}");
    assert!(told.contains(missing) && told.contains(&damaged), "{told}");

    block_on(async {
        let server = Server::start(&data);
        let (status, page) = ready(&server).await;
        assert_eq!(status, 503);
        assert!(
            page.contains("partition clicks-0 is offline") && !page.contains("orders"),
            "{page}"
        );
        let (records, error, code) = run(&["consume", "orders", "--exit", "-b", &server.kafka]);
        assert!(
            records.contains("\"a\"") && !records.contains("\"c\""),
            "{records}"
        );
        assert!(
            code != Some(0) && error.contains("partition orders-0 is corrupt at offset"),
            "{error}"
        );
        let (_, page) = ready(&server).await;
        assert!(
            page.contains("partition orders-0 is corrupt at offset"),
            "{page}"
        );
        let (_, error, code) = run(&["consume", "clicks", "--exit", "-b", &server.kafka]);
        assert!(code != Some(0) && !error.is_empty(), "{error}");
        server.terminate();
    });
    assert!(!clicks.exists(), "nothing was made in its place");

    // Put back, all of it is there.
    fs::write(&clicks, clicks_content).unwrap();
    let server = Server::start(&data);
    let (records, error, code) = run(&["consume", "clicks", "--exit", "-b", &server.kafka]);
    assert_eq!((code, records.lines().count()), (Some(0), 3), "{error}");
}

/// Takes the folders of a topic's partitions away; returns where they lay.
fn lose(data: &str, topic: &str) -> Vec<PathBuf> {
    let (paths, error, _) = run(&["topic", "path", topic, "--data", data]);
    let folders = paths.lines().map(PathBuf::from);
    // One that was never written to has none, and misses nothing.
    let lost: Vec<PathBuf> = folders.filter(|folder| folder.exists()).collect();
    assert!(!lost.is_empty(), "{topic} was not written to: {error}");
    for folder in &lost {
        fs::remove_dir_all(folder).unwrap();
    }
    lost
}

fn accept(lost: &[PathBuf]) {
    for folder in lost {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("accept-loss"), "").unwrap();
    }
}

#[test]
fn what_connect_or_sql_keep_may_be_lost_and_the_rest_serves() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data_path = data.to_str().unwrap();
    block_on(async {
        let server = Server::start(&data);
        server
            .sql("CREATE TABLE orders (k TEXT PRIMARY KEY) WITH (topic = 'orders')")
            .await;
        server.sql("INSERT INTO orders VALUES ('a')").await;
        let lines = serde_json::json!({ "name": "lines", "config": {
            "connector.class": "FileStreamSource",
            "file": folder.path().join("lines"),
            "topic": "lines",
        }});
        server.create_connector(lines).await;
        server.terminate();

        let lost = lose(data_path, "connect-configs");
        let server = Server::start(&data);
        let (status, page) = ready(&server).await;
        assert_eq!(status, 503);
        assert!(page.contains("Connect does not run"), "{page}");
        let (status, answer) = server.connect("GET", "/connectors", None).await;
        let message = answer["message"].as_str().unwrap();
        assert_eq!(status, 503);
        assert!(
            message.contains("connect-configs") && message.contains("accept-loss"),
            "{message}"
        );
        // The shell takes a server for one that names what it lacks.
        let rows = server.shell("SELECT k FROM orders");
        assert!(rows.status.success(), "{rows:?}");
        let refused = server
            .try_sql("CREATE TABLE t WITH (connector = 'postgres', url = 'postgres://a@b/c', table = 'd')")
            .await
            .unwrap_err();
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains("Connect does not run"), "{message}");
        server.terminate();

        accept(&lost);
        let lost = lose(data_path, "_thalweg.catalog");
        let server = Server::start(&data);
        let (_, page) = ready(&server).await;
        assert!(
            page.contains("SQL does not run") && !page.contains("Connect"),
            "{page}"
        );
        let refused = server.try_sql("SELECT 1").await.unwrap_err();
        let message = refused["message"].as_str().unwrap();
        assert!(
            message.contains("_thalweg.catalog") && message.contains("accept-loss"),
            "{message}"
        );
        let (status, _) = server.connect("GET", "/connectors", None).await;
        assert_eq!(status, 200);
        let (records, error, code) = run(&["consume", "orders", "--exit", "-b", &server.kafka]);
        assert_eq!((code, records.lines().count()), (Some(0), 1), "{error}");
        server.terminate();

        accept(&lost);
        let server = Server::start(&data);
        assert_eq!(ready(&server).await.0, 200);
        server.terminate();
    });
}

#[test]
fn producing_to_a_partition_that_is_offline_ends_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data);
    let made = "CREATE TABLE orders (k TEXT PRIMARY KEY) WITH (topic = 'orders', partitions = 1)";
    assert!(server.shell(made).status.success());
    assert!(
        server
            .shell("INSERT INTO orders VALUES ('a')")
            .status
            .success()
    );
    server.terminate();
    lose(data.to_str().unwrap(), "orders");
    let server = Server::start(&data);
    let produce = ["produce", "orders", "-b", &server.kafka, "--key", "a"];
    let (_, error, code) = run(&produce);
    // Nothing came in on standard input: nothing to write.
    assert_eq!(code, Some(0), "{error}");
    let mut child = thalweg()
        .args(produce)
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"{}\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(
        error.contains("partition orders-0 takes no records"),
        "{error}"
    );
    server.terminate();
}

#[test]
fn a_file_in_the_place_of_the_state_of_jobs_is_told_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("streams"), "").unwrap();
    let data = folder.path().to_str().unwrap();
    let listen = ["kafka", "connect", "http"].map(|role| format!("{role}.listen=127.0.0.1:0"));
    let mut args = vec!["server", "--data", data];
    listen
        .iter()
        .for_each(|listen| args.extend(["--set", listen]));
    let (_, error, code) = run(&args);
    assert_eq!(code, Some(3), "{error}");
    assert!(
        error.contains("streams is a file") && error.contains("rebuilt from the log"),
        "{error}"
    );
    let (told, _, code) = run(&["doctor", "--data", data]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("streams is a file"), "{told}");
}
