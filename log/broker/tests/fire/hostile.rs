//! Many connections that send what no client sends: the broker's memory hardly grows, and honest clients are answered.

use bytes::{BufMut, BytesMut};
use log_protocol::api::fetch::{FetchPartition, FetchRequest, FetchTopic};
use log_protocol::api::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use log_protocol::api::metadata::{MetadataRequest, MetadataRequestTopic};
use log_protocol::{
    ApiKey, BatchBuilder, Compression, ProducerStamp, Request, RequestHeader, encode_request,
};
use rdkafka::producer::FutureProducer;

use super::child::Process;
use super::{BOMBS, create_topics, free_address, from_environment};
use crate::node::{numbered, produce};
use crate::wire::Wire;

/// Connections of a test that every change must pass; `make hostile` makes a thousand.
const CONNECTIONS: usize = 120;

/// What the broker may take more.
const GROWTH_MIB_MAX: usize = 64;

fn frame(version: i16, request: impl Into<Request>) -> Vec<u8> {
    let request = request.into();
    let header = RequestHeader::new(request.api_key(), version, 1, None);
    encode_request(&header, &request)
        .expect("a small request")
        .to_vec()
}

/// A frame of Metadata that announces so many bytes, and the first part of it.
fn begun(announced: usize, sent: usize) -> Vec<u8> {
    let mut frame = BytesMut::new();
    frame.put_i32(i32::try_from(announced).expect("it fits"));
    frame.put_i16(ApiKey::Metadata.code());
    frame.put_slice(&[0, 1, 0, 0, 0, 1, 0xff, 0xff]);
    frame.put_bytes(0x41, sent.saturating_sub(10));
    frame.to_vec()
}

/// As many distinct names as 16 MiB hold.
fn names() -> Vec<u8> {
    let topic = |n: usize| MetadataRequestTopic {
        name: Some(format!("{n:x}")),
        ..MetadataRequestTopic::default()
    };
    let request = MetadataRequest {
        topics: Some((0..2_000_000).map(topic).collect()),
        ..MetadataRequest::default()
    };
    frame(1, request)
}

fn everything(topic: &str) -> Vec<u8> {
    let request = FetchRequest {
        max_bytes: i32::MAX,
        topics: vec![FetchTopic {
            topic: topic.to_owned(),
            partitions: vec![FetchPartition {
                partition_max_bytes: i32::MAX,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    frame(12, request)
}

/// Small batches that decompress to as much as a broker takes at most, and a search for a time through them.
fn bomb(codec: Compression) -> Vec<u8> {
    let mut bomb = BatchBuilder::new(codec);
    bomb.append(1000, None, Some(&vec![0; 60 << 20]), &[]);
    let produce = crate::wire::produce_to(BOMBS, bomb.build(ProducerStamp::NONE), None);
    let search = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: BOMBS.to_owned(),
            partitions: vec![ListOffsetsPartition {
                timestamp: 1000,
                ..ListOffsetsPartition::default()
            }],
        }],
        ..ListOffsetsRequest::default()
    };
    [frame(9, produce), frame(7, search)].concat()
}

fn mib(pid: u32, field: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status
        .lines()
        .find(|line| line.starts_with(field))
        .expect("a field");
    let kib = line.split_whitespace().nth(1).expect("a number");
    kib.parse::<usize>().expect("a number") / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_hostile_connections_take_little_memory_and_nobodys_turn() {
    let count = from_environment("THALWEG_HOSTILE").map_or(CONNECTIONS, |count| count as usize);
    let folder = tempfile::tempdir().expect("a folder");
    let at = free_address();
    let process = Process::start(folder.path(), at, at);
    create_topics(&at.to_string()).await;
    let producer: FutureProducer = super::load::client(&at.to_string())
        .create()
        .expect("a producer");
    // What slow readers ask for: more than goes into a socket, of all of them together more than may be taken.
    let mut wire = Wire::connect(at).await;
    for _ in 0..60 {
        let mut batch = BatchBuilder::new(Compression::None);
        batch.append(1000, None, Some(&vec![7; 1_000_000]), &[]);
        let batch = batch.build(ProducerStamp::NONE);
        wire.ask(
            9,
            1,
            crate::wire::produce_to(super::load::SENT, batch, None),
        )
        .await;
    }
    let bombs = [Compression::Gzip, Compression::Lz4, Compression::Zstd].map(bomb);
    let before = mib(process.id(), "VmRSS:");
    let mut held = Vec::new();
    for n in 0..count {
        let mut wire = Wire::connect(at).await;
        let bytes = match n % 6 {
            0 => i32::MAX.to_be_bytes().to_vec(),
            1 => begun(1 << 20, 512 << 10),
            2 => begun(16 << 10, 15 << 10),
            3 if n < 20 => names(),
            3 => begun(16 << 20, 10),
            4 => bombs[n / 6 % bombs.len()].clone(),
            _ => everything(super::load::SENT).repeat(20),
        };
        held.push(tokio::spawn(async move {
            // Who is held back does not get to send all of it.
            let _ = wire.try_send(&bytes).await;
            std::future::pending::<()>().await;
            drop(wire);
        }));
    }
    for round in 0..20 {
        let mut honest = Wire::connect(at).await;
        let metadata = MetadataRequest {
            topics: Some(Vec::new()),
            ..MetadataRequest::default()
        };
        honest.ask(9, round, metadata).await;
        produce(&producer, super::load::MOVED, &numbered("honest", 10)).await;
    }
    let mut reader = Wire::connect(at).await;
    let sent = everything(super::load::MOVED);
    reader.send(&sent).await;
    assert!(
        reader
            .receive()
            .await
            .is_some_and(|answer| answer.len() > 100)
    );
    let taken = mib(process.id(), "VmHWM:").saturating_sub(before);
    println!("{count} hostile connections: {taken} MiB more than {before} MiB");
    assert!(
        taken <= GROWTH_MIB_MAX,
        "{taken} MiB more than {before} MiB"
    );
    for one in held {
        one.abort();
    }
}
