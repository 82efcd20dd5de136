//! A file that is cut while a part of it is an answer on its way: what a slow reader gets is as it was produced, or ends in the middle.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use log_protocol::api::fetch::{FetchPartition, FetchRequest, FetchTopic};
use log_protocol::{ApiKey, ErrorCode, Request, RequestHeader, Response, encode_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::node::{Node, PATIENCE, produce};
use crate::wire::Wire;

const RECORDS: usize = 30;
const RECORD_BYTES: usize = 60_000;

fn fetch() -> FetchRequest {
    FetchRequest {
        max_bytes: 4 << 20,
        topics: vec![FetchTopic {
            topic: "t".to_owned(),
            partitions: vec![FetchPartition {
                partition_max_bytes: 4 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

/// The segment that holds the records.
fn segment(folder: &Path) -> PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let is_large = |path: &Path| fs::metadata(path).is_ok_and(|file| file.len() > 1 << 20);
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "log") && is_large(&path) {
                return path;
            }
        }
    }
    panic!("no segment")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_file_is_cut_on_its_way_is_not_finished() {
    let node = Node::start().await;
    node.create_topic("t", 1, &[]).await;
    let producer = node.producer(&[]);
    for _ in 0..RECORDS {
        produce(&producer, "t", &["v".repeat(RECORD_BYTES)]).await;
    }
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(2048).expect("set");
    let mut reader = socket.connect(node.address).await.expect("connected");
    let header = RequestHeader::new(ApiKey::Fetch, 12, 1, None);
    let request = encode_request(&header, &Request::from(fetch())).expect("a small request");
    reader.write_all(&request).await.expect("sent");
    let promised = reader.read_i32().await.expect("an answer");
    let promised = usize::try_from(promised).expect("a size");
    assert!(promised > RECORDS * RECORD_BYTES);

    let file = File::options().write(true).open(segment(node.folder()));
    let size = (promised - 1_000) as u64;
    file.and_then(|file| file.set_len(size)).expect("cut");
    let mut received = Vec::new();
    // Reset or ended: either way it is not whole.
    let all = tokio::time::timeout(PATIENCE, reader.read_to_end(&mut received));
    let _ = all.await.expect("an end in time");
    assert!(received.len() < promised, "{} bytes", received.len());
    let zeros = received
        .windows(64)
        .any(|some| some.iter().all(|byte| *byte == 0));
    assert!(!zeros, "what was received is as it was produced");

    let mut wire = Wire::connect(node.address).await;
    let mut last = fetch();
    last.topics[0].partitions[0].fetch_offset = RECORDS as i64 - 1;
    let Response::Fetch(answer) = wire.ask(12, 1, last).await else {
        panic!("another api answered");
    };
    let code = answer.responses[0].partitions[0].error_code;
    assert_eq!(code, ErrorCode::CorruptMessage);
}
