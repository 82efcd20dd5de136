//! Start, probes, graceful stop, and the one clear line when something is in the way.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::fixture::block_on;
use crate::fixture::process::{Server, server_command, thalweg};

fn refused(output: &Output, code: i32) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    text
}

#[test]
fn starts_answers_probes_and_stops_gracefully() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path());
        for (path, expected) in [("healthz", "ok"), ("readyz", "ready")] {
            let url = format!("http://{}/{path}", server.http);
            let text = reqwest::get(url).await.unwrap().text().await.unwrap();
            assert_eq!(text.trim(), expected);
        }
        server.sql("CREATE TABLE t (k TEXT PRIMARY KEY, v BIGINT) WITH (topic = 't'); INSERT INTO t VALUES ('a', 1); \
            CREATE MATERIALIZED VIEW v AS SELECT k, count(*) AS n FROM t GROUP BY k").await;
        let metrics = reqwest::get(format!("http://{}/metrics", server.http))
            .await
            .unwrap();
        let metrics = metrics.text().await.unwrap();
        assert!(
            metrics.contains("thalweg_job_rows_in_total{job=\"v\"}"),
            "{metrics}"
        );

        // An open push query does not hold up the stop.
        let push = reqwest::Client::new()
            .post(format!("http://{}/v1/query", server.http))
            .json(&serde_json::json!({"sql": "SELECT * FROM t EMIT CHANGES"}))
            .send()
            .await
            .unwrap();
        let (status, took) = server.terminate();
        assert!(status.success(), "{status}");
        assert!(took < Duration::from_secs(10), "{took:?}");
        drop(push);

        let server = Server::start(folder.path());
        assert_eq!(
            server.sql("SELECT * FROM t").await,
            [serde_json::json!({"k": "a", "v": 1})]
        );
    });
}

#[test]
fn a_server_may_open_as_many_files_as_the_system_lets_it() {
    let folder = tempfile::tempdir().unwrap();
    let plain = server_command(folder.path());
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -Sn 256 && exec \"$0\" \"$@\""]);
    command.arg(plain.get_program()).args(plain.get_args());
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let server = Server::from_command(command);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let numbers: Vec<&str> = line.unwrap().split_whitespace().skip(3).take(2).collect();
    let most = numbers[1]
        .parse::<u64>()
        .map_or(1 << 20, |most| most.min(1 << 20));
    assert_eq!(numbers[0].parse(), Ok(most), "{limits}");
}

#[test]
fn idle_memory_is_small() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let resident = status
        .lines()
        .find(|line| line.starts_with("RssAnon"))
        .unwrap();
    let kib: u64 = resident.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib < 60 << 10, "{resident}");
}

#[test]
fn a_taken_port_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let output = server_command(folder.path())
        .args(["--set", &format!("kafka.listen={address}")])
        .output()
        .unwrap();
    let text = refused(&output, 3);
    assert!(
        text.starts_with(&format!(
            "thalweg: kafka.listen = {address}: the port is taken"
        )),
        "{text}"
    );
}

#[test]
fn a_folder_in_use_or_not_writable_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let _server = Server::start(folder.path());
    let text = refused(&server_command(folder.path()).output().unwrap(), 3);
    assert!(text.contains("in use") || text.contains("locked"), "{text}");

    let file = tempfile::NamedTempFile::new().unwrap();
    let text = refused(&server_command(file.path()).output().unwrap(), 3);
    assert!(text.contains(&file.path().display().to_string()), "{text}");
}

#[test]
fn a_newer_format_on_disk_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let (status, _) = Server::start(folder.path()).terminate();
    assert!(status.success());
    let format = folder.path().join("log/format");
    let text = std::fs::read_to_string(&format).unwrap();
    std::fs::write(&format, text.replace('1', "2")).unwrap();
    let text = refused(&server_command(folder.path()).output().unwrap(), 3);
    assert!(text.contains("format 2"), "{text}");
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest() {
    let output = thalweg()
        .args(["server", "--set", "kafka.lisen=127.0.0.1:0"])
        .output()
        .unwrap();
    assert_eq!(
        refused(&output, 1),
        "thalweg: unknown key kafka.lisen (flag), did you mean kafka.listen?\n"
    );
}

#[test]
fn config_show_says_where_values_come_from() {
    let output = thalweg()
        .env("THALWEG_KAFKA__NUM_PARTITIONS", "4")
        .args(["config", "show", "--origin"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("kafka.num_partitions"))
        .unwrap();
    assert!(
        line.contains("= 4") && line.ends_with("# environment THALWEG_KAFKA__NUM_PARTITIONS"),
        "{line}"
    );
}
