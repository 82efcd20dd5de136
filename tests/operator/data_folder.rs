//! A data folder as an operator finds it on the disk: `thalweg doctor`, and where topics lie.

use std::path::Path;

use crate::fixture::process::{Server, thalweg};

#[test]
fn a_data_folder_is_looked_at_and_its_topics_are_found_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data);
    let made = server.shell(
        "CREATE TABLE t (k TEXT PRIMARY KEY) WITH (topic = 'orders', partitions = 2); \
         INSERT INTO t VALUES ('a'); CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t",
    );
    assert!(made.status.success());
    let of_folder = |args: &[&str]| {
        let mut command = thalweg();
        command.args(args).arg("--data").arg(&data);
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            text(output.stdout),
            text(output.stderr),
            output.status.code(),
        )
    };
    // While it is served, and after.
    let (told, error, code) = of_folder(&["doctor", "--records"]);
    assert_eq!(code, Some(0), "{told}{error}");
    assert!(told.contains("a server has it, at http://"), "{told}");
    assert!(told.contains("every record was read"), "{told}");
    server.terminate();
    let (told, error, code) = of_folder(&["doctor"]);
    assert_eq!(code, Some(0), "{told}{error}");
    assert!(
        told.contains("was closed") && told.ends_with("nothing is wrong\n"),
        "{told}"
    );

    let (paths, error, code) = of_folder(&["topic", "path", "orders"]);
    assert_eq!(code, Some(0), "{error}");
    let folders: Vec<&Path> = paths.lines().map(Path::new).collect();
    assert_eq!(folders.len(), 2, "{paths}");
    // A partition that nothing was written to has no folder yet.
    assert!(folders.iter().any(|folder| folder.is_dir()), "{paths}");
    let names = std::fs::read_to_string(data.join("log/names")).unwrap();
    let of_orders = names.lines().find(|line| line.starts_with("orders\t"));
    let listed = of_orders
        .unwrap()
        .split_once('\t')
        .unwrap()
        .1
        .trim_end_matches('*');
    assert!(
        folders[0].to_str().unwrap().contains(listed),
        "{names}\n{paths}"
    );
    let (_, error, code) = of_folder(&["topic", "path", "ordres"]);
    assert_eq!(code, Some(4));
    assert!(error.contains("did you mean orders?"), "{error}");

    // A bit that turned is found by who reads the records.
    for folder in &folders {
        let segment = folder.join("00000000000000000000.log");
        let mut bytes = std::fs::read(&segment).unwrap_or_default();
        if bytes.len() > 70 {
            bytes[66] ^= 1;
            bytes.extend_from_within(..);
            std::fs::write(&segment, bytes).unwrap();
        }
    }
    let (told, _, code) = of_folder(&["doctor", "--records"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("of topic orders: 00000000000000000000.log: byte 0"),
        "{told}"
    );
}
