//! Lines as they come out, and crashes between them.

use connect_api::{Text, TopicPartition, conformance};

use super::*;

fn context(path: &std::path::Path, more: &[(&str, &str)]) -> TaskContext {
    let mut config = ConfigMap::new();
    config.insert("file".to_owned(), path.to_string_lossy().into_owned());
    config.extend(
        more.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
    );
    TaskContext {
        connector: "out".to_owned(),
        task: 0,
        config,
    }
}

fn new_task() -> Box<dyn SinkTask> {
    match FileSink.task() {
        Task::Sink(task) => task,
        Task::Source(_) => unreachable!("a sink makes sink tasks"),
    }
}

fn batch(partition: i32, from: i64, values: &[Value]) -> SinkBatch {
    let origin = TopicPartition::new("t", partition);
    let records = values
        .iter()
        .zip(from..)
        .map(|(value, offset)| connect_api::SinkRecord {
            record: Record::new("t", Value::text(format!("k{offset}")), value.clone()),
            origin: origin.clone(),
            offset,
        })
        .collect();
    SinkBatch {
        records,
        positions: vec![(origin, from + values.len() as i64)],
    }
}

fn open(incarnation: &str) -> OpenPartition {
    OpenPartition {
        partition: TopicPartition::new("t", 0),
        incarnation: incarnation.to_owned(),
    }
}

fn json(text: &str) -> Value {
    Value::json(Text::from(text)).unwrap()
}

#[tokio::test]
async fn every_record_is_there_once_whatever_crashes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.ndjson");
    let batches = [
        batch(0, 0, &[json("{\"a\":1}"), json("{\"a\":2}")]),
        batch(1, 0, &[json("{\"b\":1}")]),
        batch(0, 2, &[json("{\"a\":3}")]),
    ];
    conformance::sink_survives_crashes(
        new_task,
        &context(&path, &[("format", "ndjson")]),
        &batches,
        async || std::fs::read_to_string(&path).unwrap(),
        "{\"a\":1}\n{\"a\":2}\n{\"b\":1}\n{\"a\":3}\n".to_owned(),
    )
    .await;
}

#[tokio::test]
async fn lines_by_format() {
    let values = [
        Value::text("plain"),
        Value::Null,
        json("{\"a\":\n 1}"),
        Value::Map(vec![(Value::text("x"), Value::Int64(1))]),
    ];
    for (more, expected) in [
        (&[][..], "plain\nnull\n{\"a\":1}\n{\"x\":1}\n"),
        (
            &[("format", "ndjson")][..],
            "\"plain\"\nnull\n{\"a\":1}\n{\"x\":1}\n",
        ),
        (
            &[("include.key", "true")][..],
            "{\"key\":\"k0\",\"value\":\"plain\"}\n{\"key\":\"k1\",\"value\":null}\n\
             {\"key\":\"k2\",\"value\":{\"a\":1}}\n{\"key\":\"k3\",\"value\":{\"x\":1}}\n",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut task = new_task();
        task.start(context(&path, more)).await.unwrap();
        task.open(&[open("first")]).await.unwrap();
        assert_eq!(
            task.put(&batch(0, 0, &values)).await.unwrap(),
            PutReport::Taken
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    }
}

#[tokio::test]
async fn a_file_of_others_is_kept_and_another_connectors_file_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    std::fs::write(&path, "before\n").unwrap();
    let mut task = new_task();
    task.start(context(&path, &[])).await.unwrap();
    task.open(&[open("first")]).await.unwrap();
    task.put(&batch(0, 0, &[Value::text("lost in the crash")]))
        .await
        .unwrap();
    drop(task);
    let mut task = new_task();
    task.start(context(&path, &[])).await.unwrap();
    assert!(task.open(&[open("first")]).await.unwrap().is_empty());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "before\n");
    drop(task);

    let mut other = context(&path, &[]);
    other.connector = "other".to_owned();
    let mut task = new_task();
    task.start(other).await.unwrap();
    let error = task.open(&[]).await.unwrap_err();
    assert!(
        error.to_string().contains("is written by connector out"),
        "{error}"
    );

    std::fs::write(&path, "x").unwrap();
    let mut task = new_task();
    task.start(context(&path, &[])).await.unwrap();
    let error = task.open(&[]).await.unwrap_err();
    assert!(
        error.to_string().contains("it was cut or replaced"),
        "{error}"
    );
}

#[tokio::test]
async fn after_a_reset_a_file_that_was_cut_is_written_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let lines = batch(0, 0, &[Value::text("one"), Value::text("two")]);
    let mut task = new_task();
    task.start(context(&path, &[])).await.unwrap();
    task.open(&[open("first")]).await.unwrap();
    task.put(&lines).await.unwrap();
    task.close(&[]).await.unwrap();
    std::fs::write(&path, "o").unwrap();
    assert!(task.open(&[open("first")]).await.is_err());
    assert!(task.open(&[open("second")]).await.unwrap().is_empty());
    task.put(&lines).await.unwrap();
    task.close(&[]).await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "oone\ntwo\n");
    assert_eq!(
        task.open(&[open("second")]).await.unwrap(),
        [(TopicPartition::new("t", 0), 2)].into()
    );
}
