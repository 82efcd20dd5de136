//! What a running server tells: its log, its figures, its addresses.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use crate::fixture::process::{Server, server_command, thalweg};
use crate::fixture::{block_on, until};

/// Starts a server whose log goes to a file.
fn logging_to(file: &Path, data: &Path, settings: &[&str]) -> Server {
    let mut command = server_command(data);
    for setting in settings {
        command.args(["--set", setting]);
    }
    command.env_remove("RUST_LOG");
    command.stderr(Stdio::from(File::create(file).unwrap()));
    Server::from_command(command)
}

#[test]
fn a_log_in_a_file_is_plain_text_or_json() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("server.log");
    let data = folder.path().join("data");
    logging_to(&log, &data, &["log.level=debug"]).terminate();
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("DEBUG"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");

    logging_to(&log, &data, &["log.level=debug", "log.format=json"]).terminate();
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.lines().count() > 3, "{text}");
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            line["level"].is_string() && line["message"].is_string(),
            "{line}"
        );
    }
}

#[test]
fn a_killed_server_that_lost_nothing_comes_back_without_a_warning() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("server.log");
        let data = folder.path().join("data");
        let server = logging_to(&log, &data, &[]);
        server
            .sql("CREATE TABLE t (k TEXT PRIMARY KEY) WITH (topic = 't'); INSERT INTO t VALUES ('a')")
            .await;
        server.kill();
        let server = logging_to(&log, &data, &[]);
        assert_eq!(server.sql("SELECT count(*) AS n FROM t").await[0]["n"], 1);
        server.terminate();
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "");
    });
}

#[test]
fn a_ready_file_is_of_this_start() {
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready.json");
    std::fs::write(&ready, "{}").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = crate::fixture::process::thalweg();
    command
        .args(["server", "--data"])
        .arg(folder.path().join("data"))
        .arg("--ready-file")
        .arg(&ready)
        .args([
            "--set",
            &format!("kafka.listen={}", taken.local_addr().unwrap()),
        ]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(
        !ready.exists(),
        "a server that is not ready left the file of another"
    );
}

#[test]
fn figures_are_described_and_go_with_their_job() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path());
        let page = || async {
            let page = reqwest::get(format!("http://{}/metrics", server.http))
                .await
                .unwrap();
            page.text().await.unwrap()
        };
        server
            .sql(
                "CREATE TABLE t (k TEXT PRIMARY KEY) WITH (topic = 't'); INSERT INTO t VALUES ('a'); \
                 CREATE MATERIALIZED VIEW v AS SELECT k, count(*) AS n FROM t GROUP BY k",
            )
            .await;
        let text = until("figures of v", page, |text| text.contains("{job=\"v\"}")).await;
        let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        for name in kinds.filter_map(|kind| kind.split(' ').next()) {
            assert!(
                text.contains(&format!("# HELP {name} ")),
                "{name} is not described"
            );
        }
        let reset = thalweg()
            .args([
                "group", "reset", "billing", "--topic", "t", "--to", "earliest", "--yes",
            ])
            .args(["--bootstrap-servers", &server.kafka])
            .output()
            .unwrap();
        assert!(reset.status.success(), "{reset:?}");
        let text = page().await;
        let lag = "thalweg_consumer_group_lag{group=\"billing\",topic=\"t\",partition=";
        let lags = text.lines().filter_map(|line| line.strip_prefix(lag));
        let lags: Vec<f64> = lags
            .map(|rest| rest.rsplit_once(' ').unwrap().1.parse().unwrap())
            .collect();
        assert_eq!(lags.iter().sum::<f64>(), 1.0, "{text}");
        for name in [
            "process_resident_memory_bytes ",
            "process_open_fds ",
            "thalweg_build_info{version=",
        ] {
            assert!(text.contains(&format!("\n{name}")), "no {name} in\n{text}");
        }
        server.sql("DROP MATERIALIZED VIEW v").await;
        let text = page().await;
        assert!(!text.contains("job=\"v\""), "{text}");
    });
}

#[test]
fn the_data_folder_tells_who_serves_it() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path());
        let note = std::fs::read(folder.path().join("server.json")).unwrap();
        let note: serde_json::Value = serde_json::from_slice(&note).unwrap();
        let said = reqwest::get(format!("http://{}/v1/server", server.http))
            .await
            .unwrap();
        assert_eq!(said.json::<serde_json::Value>().await.unwrap(), note);
        assert_eq!(note["http"], server.http.as_str());
        assert_eq!(note["pid"], server.pid());
        let front = reqwest::get(format!("http://{}/", server.http))
            .await
            .unwrap();
        let front = front.text().await.unwrap();
        assert!(
            front.contains("/v1/query") && front.contains(&server.kafka),
            "{front}"
        );
        server.terminate();
        assert!(!folder.path().join("server.json").exists());
    });
}
