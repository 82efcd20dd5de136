//! Formats, keys, bad lines, growing and compressed files, restarts.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use connect_api::{Record, Value, conformance};

use super::*;

fn context(path: &Path, more: &[(&str, &str)]) -> TaskContext {
    let mut config = ConfigMap::new();
    config.insert("file".to_owned(), path.to_string_lossy().into_owned());
    config.insert("topic".to_owned(), "t".to_owned());
    config.extend(
        more.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
    );
    TaskContext {
        connector: "in".to_owned(),
        task: 0,
        config,
    }
}

fn new_task() -> Box<dyn SourceTask> {
    match FileSource.task() {
        Task::Source(task) => task,
        Task::Sink(_) => unreachable!("a source makes source tasks"),
    }
}

fn budget() -> PollBudget {
    PollBudget {
        records_max: 1000,
        bytes_max: 1 << 20,
        wait_max: Duration::from_millis(1),
    }
}

/// All that is there: records and rejected lines.
async fn read(task: &mut Box<dyn SourceTask>) -> (Vec<Record>, Vec<Rejected>) {
    let (mut records, mut rejected) = (Vec::new(), Vec::new());
    while let Poll::Batch {
        records: more,
        rejected: bad,
        ..
    } = task.poll(budget()).await.unwrap()
    {
        records.extend(more);
        rejected.extend(bad);
    }
    (records, rejected)
}

async fn started(path: &Path, more: &[(&str, &str)]) -> Box<dyn SourceTask> {
    let mut task = new_task();
    task.start(context(path, more), SourceOffsets::default())
        .await
        .unwrap();
    task
}

fn texts(records: &[Record]) -> Vec<(String, String)> {
    let text = |value: &Value| match value {
        Value::String(text) => text.to_string(),
        other => other.to_json().to_string(),
    };
    records
        .iter()
        .map(|record| (text(&record.key), text(&record.value)))
        .collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_growing_file_is_followed_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.txt");
    let mut task = started(&path, &[]).await;
    assert_eq!(
        task.poll(budget()).await.unwrap(),
        Poll::Idle,
        "the file is not there yet"
    );
    let waits = task.waits_for().expect("for the file");
    assert_eq!(waits, format!("file {} does not exist yet", path.display()));
    std::fs::write(&path, "one\r\ntwo\nthr").unwrap();
    let (records, _) = read(&mut task).await;
    assert_eq!(
        texts(&records),
        [
            ("null".to_owned(), "one".to_owned()),
            ("null".to_owned(), "two".to_owned())
        ]
    );
    assert!(records[0].value_schema.is_some());
    assert_eq!(task.waits_for(), None);
    OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(b"ee\n")
        .unwrap();
    assert_eq!(texts(&read(&mut task).await.0)[0].1, "three");

    std::fs::write(&path, "x").unwrap();
    let error = task.poll(budget()).await.unwrap_err();
    assert!(
        error.to_string().contains("truncated or replaced"),
        "{error}"
    );
}

#[tokio::test]
async fn json_lines_keep_their_text_and_get_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ndjson");
    let lines = [
        r#"{"carrier":"UA", "n": 1}"#,
        "",
        r#"{"n":2,"carrier":"A\"A"}"#,
        r#"{"carrier":7}"#,
        "{\"carrier\":",
        r#"{"n":3}"#,
        r#"{"carrier":null}"#,
        r#"{"carrier":{"a":1}}"#,
        "[1]",
        r#"{"carrier":true} x"#,
        r#"{"carrier":false}"#,
    ];
    std::fs::write(&path, lines.join("\n")).unwrap();
    let mut task = started(&path, &[("format", "ndjson"), ("key.field", "carrier")]).await;
    let (records, rejected) = read(&mut task).await;
    assert_eq!(
        texts(&records),
        [
            ("UA".to_owned(), lines[0].to_owned()),
            ("A\"A".to_owned(), lines[2].to_owned()),
            ("7".to_owned(), lines[3].to_owned()),
            ("false".to_owned(), lines[10].to_owned()),
        ]
    );
    assert!(matches!(records[0].value, Value::Json(_)));
    let reasons: Vec<&str> = rejected
        .iter()
        .map(|bad| bad.message.split_once(": ").unwrap().1)
        .collect();
    assert_eq!(
        reasons,
        [
            "not a JSON object: EOF while parsing a value at column 11",
            "there is no field \"carrier\" (key.field)",
            "key.field \"carrier\" is null",
            "key.field \"carrier\" is an object or array; a key is a single value",
            "not a JSON object: it is an array",
            "not a JSON object: trailing characters at column 18",
        ]
    );
    assert!(
        rejected[0].message.contains("a.ndjson, line at byte 65"),
        "{}",
        rejected[0].message
    );
    assert_eq!(&rejected[0].raw[..], b"{\"carrier\":");
}

#[tokio::test]
async fn csv_becomes_objects_of_strings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv.gz");
    let text = "\u{feff}carrier,name\r\n9E,Endeavor Air Inc.\nAA,\"Two\nlines, \"\"quoted\"\"\"\nXX\nYV,Mesa";
    std::fs::write(&path, gzip(text)).unwrap();
    let mut task = started(&path, &[("format", "csv"), ("key.field", "carrier")]).await;
    let (records, rejected) = read(&mut task).await;
    assert_eq!(
        texts(&records),
        [
            (
                "9E".to_owned(),
                r#"{"carrier":"9E","name":"Endeavor Air Inc."}"#.to_owned()
            ),
            (
                "AA".to_owned(),
                r#"{"carrier":"AA","name":"Two\nlines, \"quoted\""}"#.to_owned()
            ),
            (
                "YV".to_owned(),
                r#"{"carrier":"YV","name":"Mesa"}"#.to_owned()
            ),
        ]
    );
    assert!(
        rejected[0]
            .message
            .ends_with("1 fields, but the header has 2"),
        "{rejected:?}"
    );
    assert_eq!(task.poll(budget()).await.unwrap(), Poll::Idle);

    let mut task = new_task();
    let error = task
        .start(
            context(&path, &[("format", "csv"), ("key.field", "code")]),
            SourceOffsets::default(),
        )
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no column \"code\" (key.field) among carrier, name"),
        "{error}"
    );
}

#[tokio::test]
async fn restarts_continue_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let seed = 7;
    println!("seed {seed}");
    let mut text = String::new();
    for n in 0..50u32 {
        text += &format!(
            "{{\"k\":\"{}\",\"n\":{n},\"pad\":\"{}\"}}\n",
            n % 7,
            "x".repeat((n * seed % 40) as usize)
        );
    }
    let csv = format!(
        "k,n\n{}",
        (0..30)
            .map(|n| format!("{n},\"a\nb{n}\"\n"))
            .collect::<String>()
    );
    for (name, bytes, format) in [
        ("a.ndjson", text.clone().into_bytes(), "ndjson"),
        ("a.ndjson.gz", gzip(&text), "ndjson"),
        ("a.csv", csv.clone().into_bytes(), "csv"),
        ("a.csv.gz", gzip(&csv), "csv"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let context = context(&path, &[("format", format), ("key.field", "k")]);
        conformance::source_resumes_exactly(new_task, &context).await;
    }
}

#[tokio::test]
async fn a_line_over_the_limit_is_rejected_and_the_next_one_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    for long in [20, 2000, 700_000] {
        std::fs::write(&path, format!("a\n{}\nb\n", "x".repeat(long))).unwrap();
        let mut task = started(&path, &[("max.line.bytes", "10")]).await;
        let (records, rejected) = read(&mut task).await;
        assert_eq!(
            texts(&records)
                .iter()
                .map(|(_, v)| v.as_str())
                .collect::<Vec<_>>(),
            ["a", "b"]
        );
        assert_eq!(rejected.len(), 1, "{long}");
        assert!(
            rejected[0]
                .message
                .contains("longer than max.line.bytes (10)")
        );
    }
    std::fs::write(&path, b"\xff\xfe\nok\n").unwrap();
    let (records, rejected) = read(&mut started(&path, &[]).await).await;
    assert_eq!((records.len(), rejected.len()), (1, 1));
}

#[tokio::test]
async fn numbers_as_keys_keep_their_digits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ndjson");
    let numbers = [
        "123456789012345678901",
        "123456789012345678902",
        "1.10",
        "1.0",
        "1e5",
        "0.12345678901234567890",
        "1e400",
        "-0",
    ];
    let lines: Vec<String> = numbers
        .iter()
        .map(|n| format!("{{\"x\":1,\"id\":{n}}}\n"))
        .collect();
    std::fs::write(&path, lines.concat()).unwrap();
    let mut task = started(&path, &[("format", "ndjson"), ("key.field", "id")]).await;
    let (records, rejected) = read(&mut task).await;
    assert_eq!(rejected, []);
    let keys: Vec<String> = texts(&records).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, numbers);
}

#[tokio::test]
async fn a_byte_order_mark_belongs_to_no_json() {
    let folder = tempfile::tempdir().unwrap();
    // Two files that were put together, and a last line without its newline.
    let text = "\u{feff}{\"a\":1}\r\n\u{feff}{\"a\":2}\n\u{feff}{\"a\":3}";
    for (name, bytes) in [
        ("a.ndjson", text.as_bytes().to_vec()),
        ("a.ndjson.gz", gzip(text)),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        for more in [
            &[("format", "ndjson")][..],
            &[("format", "ndjson"), ("key.field", "a")],
        ] {
            let (records, rejected) = read(&mut started(&path, more).await).await;
            assert_eq!(rejected, []);
            let values: Vec<String> = texts(&records)
                .into_iter()
                .map(|(_, value)| value)
                .collect();
            assert_eq!(values, [r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":3}"#]);
        }
    }
    // A line of text is what it is.
    let path = folder.path().join("a.txt");
    std::fs::write(&path, "\u{feff}x\n").unwrap();
    let (records, _) = read(&mut started(&path, &[]).await).await;
    assert_eq!(texts(&records)[0].1, "\u{feff}x");
}

#[tokio::test]
async fn newlines_within_quotes_stay_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    let text = "a,b\r\n\"one\r\ntwo\nthree\r\n\r\n\",\"x\"\r\ny,z\r\n\r\n\"q\"\"\r\n\",w";
    std::fs::write(&path, text).unwrap();
    let mut task = started(&path, &[("format", "csv")]).await;
    let (records, rejected) = read(&mut task).await;
    assert_eq!(rejected, []);
    let values: Vec<String> = texts(&records)
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    assert_eq!(
        values[..2],
        [
            r#"{"a":"one\r\ntwo\nthree\r\n\r\n","b":"x"}"#,
            r#"{"a":"y","b":"z"}"#
        ]
    );
}

#[tokio::test]
async fn compressed_files_may_have_members_and_padding() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt.gz");
    for (padding, second) in [(0, true), (1, false), (512, true), (100_000, true)] {
        let mut bytes = gzip("one\n");
        bytes.extend(vec![0; padding]);
        if second {
            bytes.extend(gzip("two\n"));
            bytes.extend(vec![0; padding]);
        }
        std::fs::write(&path, bytes).unwrap();
        let (records, _) = read(&mut started(&path, &[]).await).await;
        let values: Vec<String> = texts(&records)
            .into_iter()
            .map(|(_, value)| value)
            .collect();
        assert_eq!(
            values,
            ["one", "two"][..1 + usize::from(second)],
            "{padding}"
        );
    }
    std::fs::write(&path, []).unwrap();
    let mut task = started(&path, &[]).await;
    assert_eq!(
        task.poll(budget()).await.unwrap(),
        Poll::Idle,
        "not written yet"
    );
    std::fs::write(&path, gzip("late\n")).unwrap();
    assert_eq!(read(&mut task).await.0.len(), 1);
}

#[tokio::test]
async fn records_have_the_time_at_which_they_were_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    std::fs::write(&path, "x\n").unwrap();
    let before = now_ms();
    let (records, _) = read(&mut started(&path, &[]).await).await;
    let after = now_ms();
    let time = records[0].timestamp.unwrap();
    assert!((before..=after).contains(&time), "{before} {time} {after}");
}

#[tokio::test]
async fn altered_offsets_are_checked_in_kafkas_words() {
    let map = |json: serde_json::Value| json.as_object().unwrap().clone();
    let file = serde_json::json!({"filename": "a"});
    let altered = |partition: &serde_json::Value, offset: serde_json::Value| AlteredOffset {
        partition: map(partition.clone()),
        offset: (!offset.is_null()).then(|| map(offset)),
    };
    let check = async |altered| {
        FileSource
            .alter_offsets(&ConfigMap::new(), &[altered])
            .await
    };
    for (offset, issue) in [
        (serde_json::json!({}), "contain the key 'position'"),
        (
            serde_json::json!({"position": -1}),
            "should be a non-negative value",
        ),
        (
            serde_json::json!({"position": "4"}),
            "expected to be a Long value",
        ),
        (
            serde_json::json!({"position": 1.5}),
            "expected to be a Long value",
        ),
        (
            serde_json::json!({"position": 9_223_372_036_854_775_808_u64}),
            "expected to be a Long value",
        ),
    ] {
        let error = check(altered(&file, offset)).await.unwrap_err().to_string();
        assert!(error.contains(issue), "{error}");
    }
    let nameless = serde_json::json!({"file": "a"});
    let error = check(altered(&nameless, serde_json::json!({"position": 1})))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("should contain the key 'filename'"),
        "{error}"
    );
    for good in [
        altered(&nameless, serde_json::Value::Null),
        altered(&file, serde_json::json!({"position": 4})),
    ] {
        assert_eq!(check(good).await, Ok(true));
    }
}

#[tokio::test]
async fn wrong_configurations_name_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let issues = FileSource
        .validate(&context(&path, &[("key.field", "k")]).config)
        .await;
    assert_eq!(issues[0].key, "key.field");
    let issues = FileSource
        .validate(&context(folder.path(), &[]).config)
        .await;
    assert!(issues[0].message.contains("is a folder"), "{issues:?}");
}
