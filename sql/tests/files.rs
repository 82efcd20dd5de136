//! Files as relations: the same rows as in a topic, for statements that may read them.

use std::io::Write;

use sql::Answer;

use crate::fixture::{Fixture, texts};

fn packed(name: &str, text: &str, folder: &std::path::Path) {
    let path = folder.join(name);
    let bytes = match name.rsplit_once('.').map(|(_, end)| end) {
        Some("gz") => {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(text.as_bytes()).expect("memory");
            packed.finish().expect("memory")
        }
        Some("zst") => zstd::encode_all(text.as_bytes(), 1).expect("memory"),
        _ => text.as_bytes().to_vec(),
    };
    std::fs::write(path, bytes).expect("a file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_read_as_topics_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = "{\"id\":1,\"city\":\"ams\",\"at\":\"2024-05-01T10:00:00\",\"x\":1.5}\n\n{\"id\":2,\"city\":null,\"at\":null,\"x\":2}\n{\"id\":\"three\"}\n";
    let csv = "id,city,code,at\r\n1,\"ams, \"\"noord\"\"\",007,2024-05-01\r\n2,,12,\r\n3,\"two\nlines\",1,2024-05-02\r\n";
    for name in ["rows.ndjson", "rows.json.gz", "rows.jsonl.zst"] {
        // What does not fit the first rows is left out.
        packed(name, &rows.replace("\"three\"", "3"), folder.path());
    }
    for name in ["cells.csv", "cells.csv.gz"] {
        packed(name, csv, folder.path());
    }
    let config = sql::SqlConfig {
        files_dir: folder.path().to_str().expect("a text").to_owned(),
        ..sql::SqlConfig::default()
    };
    let fixture = Fixture::with(config).await;
    for name in ["rows.ndjson", "rows.json.gz", "rows.jsonl.zst"] {
        let found = fixture
            .rows(&format!("SELECT id, city, at, x FROM '{name}' ORDER BY id"))
            .await;
        assert_eq!(
            found,
            [
                ["1", "ams", "2024-05-01T10:00:00", "1.5"],
                ["2", "NULL", "NULL", "2.0"],
                ["3", "NULL", "NULL", "NULL"]
            ],
            "{name}"
        );
    }
    for name in ["cells.csv", "cells.csv.gz"] {
        let found = fixture
            .rows(&format!(
                "SELECT code, city, at FROM '{name}' WHERE id <> 2 ORDER BY id"
            ))
            .await;
        assert_eq!(
            found,
            [
                ["007", "ams, \"noord\"", "2024-05-01"],
                ["1", "two\nlines", "2024-05-02"]
            ],
            "{name}"
        );
    }
    // Together with topics, and into them.
    let joined = fixture
        .rows(
            "CREATE TABLE t (id BIGINT PRIMARY KEY, city TEXT);
             INSERT INTO t SELECT id, city FROM 'rows.ndjson' WHERE id < 3;
             SELECT t.city, f.code FROM t JOIN 'cells.csv' f ON f.id = t.id ORDER BY t.id",
        )
        .await;
    assert_eq!(joined, [["ams", "007"], ["NULL", "12"]]);
    // A text that only looks like a file is a text.
    assert_eq!(
        fixture.rows("SELECT 'none.csv' AS name").await,
        [["none.csv"]]
    );

    let mut late = String::new();
    for row in 0..10_000 {
        late.push_str(&format!("{{\"id\":{row}}}\n"));
    }
    packed(
        "late.ndjson",
        &format!("{late}{{\"id\":\"x\"}}\n"),
        folder.path(),
    );
    let Some(Answer::Rows {
        batches, notices, ..
    }) = fixture
        .run("SELECT count(*) FROM 'late.ndjson'")
        .await
        .pop()
    else {
        panic!("no rows")
    };
    assert_eq!(texts(&batches), [["10000"]]);
    let [notice] = notices.as_slice() else {
        panic!("{notices:?}")
    };
    assert!(
        notice
            .message
            .starts_with("1 of 10001 rows of 'late.ndjson' could not be read (row 10001: "),
        "{}",
        notice.message
    );

    for (sql, message) in [
        (
            "SELECT * FROM '/etc/passwd.csv'",
            "there is no file '/etc/passwd.csv' in the folder that is open to statements",
        ),
        (
            "SELECT * FROM '../cells.csv'",
            "there is no file '../cells.csv' in the folder that is open to statements",
        ),
        (
            "SELECT * FROM 'x.parquet'",
            "'x.parquet' is in a format that is not read",
        ),
        (
            "CREATE MATERIALIZED VIEW v AS SELECT id FROM 'cells.csv'",
            "there is no source, table or view \"cells.csv\"",
        ),
    ] {
        assert_eq!(fixture.refused(sql).await.message, message, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_file_is_open_by_itself() {
    let fixture = Fixture::new().await;
    let refused = fixture.refused("SELECT * FROM '/tmp/x.csv'").await;
    assert_eq!(
        refused.message,
        "'/tmp/x.csv' is not read: no folder of files is open to statements"
    );
    assert_eq!(refused.column, Some(15));
}
