//! temporary
use connect_api::ConfigMap;
use connect_runtime::*;
use connect_sandbox::*;
use log_api::*;
use std::sync::Arc;
use std::time::Instant;

fn map(v: serde_json::Value) -> ConfigMap {
    v.as_object()
        .unwrap()
        .iter()
        .map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn zz_end() {
    let dir = tempfile::tempdir().unwrap();
    let broker =
        log_broker::Broker::open(log_broker::BrokerConfig::in_folder(dir.path().join("data")))
            .unwrap();
    let log: Arc<dyn Log> = Arc::new(broker.embedded());
    let sandbox = Arc::new(Sandbox::new(SandboxConfig::default()).unwrap());
    let t = Instant::now();
    let worker = ConnectWorker::start(
        ConnectConfig::default(),
        log.clone(),
        sandbox,
        vec![
            Arc::new(connector_file::FileSource),
            Arc::new(connector_file::FileSink),
        ],
    )
    .await
    .unwrap();
    eprintln!("worker start {:?}", t.elapsed());
    for (name, extra) in [("plain", false), ("wasm", true)] {
        let mut c = serde_json::json!({"connector.class":"FileStreamSource","file":"/tmp/flights.ndjson","topic":name,"format":"ndjson","key.field":"carrier","topic.creation.default.partitions":"4"});
        if extra {
            let o = c.as_object_mut().unwrap();
            o.insert("transforms".into(), "r".into());
            o.insert("transforms.r.type".into(), "wasm".into());
            o.insert("transforms.r.outputs".into(), "cancelled".into());
            o.insert(
                "transforms.r.module".into(),
                format!(
                    "{}/.cache/thalweg/udf/wasm32-unknown-unknown/release/route.wasm",
                    std::env::var("HOME").unwrap()
                )
                .into(),
            );
        }
        let t = Instant::now();
        worker.put_config(name, map(c)).await.unwrap();
        eprintln!("{name} put {:?}", t.elapsed());
        while worker.status(name).unwrap()["tasks"][0]["state"] != "RUNNING" {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        eprintln!("{name} running {:?}", t.elapsed());
        loop {
            let mut n = 0;
            for topic in [name, "cancelled"] {
                if topic == "cancelled" && !extra {
                    continue;
                }
                if let Some(d) = log.admin().describe_topic(topic).await.unwrap() {
                    for p in 0..d.partitions {
                        n += log
                            .admin()
                            .offset(&TopicPartition::new(topic, p), OffsetSpec::LastStable)
                            .await
                            .unwrap();
                    }
                }
            }
            if n >= 336_776 {
                eprintln!("{name}: {n} offsets in {:?}", t.elapsed());
                break;
            }
            if t.elapsed().as_secs() > 20 {
                panic!("{n} {}", worker.status(name).unwrap());
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
    let out = dir.path().join("out.ndjson");
    let t = Instant::now();
    worker.put_config("sink", map(serde_json::json!({"connector.class":"FileStreamSink","file":out.to_str().unwrap(),"topics":"plain","format":"ndjson"}))).await.unwrap();
    loop {
        let len = std::fs::metadata(&out).map(|m| m.len()).unwrap_or(0);
        if len >= 58_260_173 {
            eprintln!("sink {len} in {:?}", t.elapsed());
            break;
        }
        if t.elapsed().as_secs() > 20 {
            panic!("{len} {}", worker.status("sink").unwrap());
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let mut lines: Vec<String> = std::fs::read_to_string(&out)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    let mut want: Vec<String> = std::fs::read_to_string("/tmp/flights.ndjson")
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    want.sort();
    assert_eq!(lines.len(), want.len());
    assert!(lines == want);
    let t = Instant::now();
    worker.stop().await;
    eprintln!("stop {:?}", t.elapsed());
    eprintln!(
        "{}",
        std::fs::read_to_string(dir.path().join("out.ndjson.offsets")).unwrap()
    );
    broker.close().await.unwrap();
}
