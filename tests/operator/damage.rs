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
