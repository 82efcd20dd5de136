//! Jobs that an earlier version of this program has left: their changelogs, as it wrote them, lie in `testdata/`.
//!
//! `UPDATE_EXPECT=1 cargo test -p streams` writes the newest one anew; one of an older version is never written again.

use std::path::PathBuf;

use log_api::OffsetCommit;
use uuid::Uuid;

use super::*;
use crate::state::{Block, BlockHeader};

fn fixture(version: u8) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(format!("changelog-{version}.txt"))
}

/// The inputs up to the place where the fixtures were written, with the topics that the job has made.
async fn inputs() -> Rig {
    let rig = Rig::new(delays());
    rig.environment.create_topics().await.unwrap();
    for (number, topic) in (1..).zip(["flights", "airlines", "delays"]) {
        rig.log.set_topic_id(topic, Uuid::from_u128(number));
    }
    rig.airline("UA", Some("United"));
    rig.airline("AA", Some("American"));
    for (carrier, delay, at) in [("UA", 5, 1), ("UA", 9, 2), ("B6", 7, 3), ("AA", 40, 12)] {
        rig.flight(carrier, delay, at);
    }
    rig
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = (0..hex.len()).step_by(2);
    digits
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

#[tokio::test]
async fn a_job_of_version_2_goes_on() {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let mut rig = inputs().await;
        rig.settle().await.unwrap();
        let records = rig.log.committed_records("_thalweg.delays.changelog");
        let lines = records
            .iter()
            .map(|record| hex(record.value.as_ref().unwrap()) + "\n");
        std::fs::write(fixture(2), lines.collect::<String>()).unwrap();
    }

    let mut rig = inputs().await;
    let text = std::fs::read_to_string(fixture(2)).unwrap();
    let values: Vec<Vec<u8>> = text.lines().map(bytes).collect();
    for value in &values {
        let record = StoredRecord {
            offset: 0,
            timestamp_ms: 0,
            key: Some(b"0".to_vec()),
            value: Some(value.clone()),
            headers: Vec::new(),
        };
        rig.log.push_record("_thalweg.delays.changelog", 0, record);
    }
    let last = Block::decode(values.last().unwrap()).unwrap();
    let (_, header) = BlockHeader::decode(&last.header).unwrap();
    let offsets = group_positions(&header.sources).into_iter();
    let offsets = offsets.map(|(partition, offset)| OffsetCommit {
        partition,
        offset,
        metadata: String::new(),
    });
    let admin = rig.log.shared().admin();
    admin
        .commit_offsets("thalweg.delays", offsets.collect())
        .await
        .unwrap();

    // Window, title, flights, minutes, the worst of them, carriers.
    rig.settle().await.unwrap();
    assert_eq!(
        rig.view(),
        [
            "10 United 2 14 9 1",
            "10 ~ 1 7 7 1",
            "20 American 1 40 40 1"
        ]
    );
    // Every operator goes on with what it had: the join with its rows, the table with its keys, the groups with theirs.
    rig.airline("B6", Some("Blue"));
    rig.airline("AA", None);
    rig.flight("AA", 3, 13);
    rig.settle().await.unwrap();
    assert_eq!(
        rig.view(),
        ["10 Blue 1 7 7 1", "10 United 2 14 9 1", "20 ~ 2 43 40 1"]
    );
}
