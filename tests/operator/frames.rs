//! Foreign bytes on the Kafka port: refused without allocation, without a panic, and others are served on.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::fixture::block_on;
use crate::fixture::process::Server;

#[test]
fn hostile_bytes_close_only_their_connection() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path());
        let hostile: &[&[u8]] = &[
            // A length prefix of 2 GiB − 1, a negative one, an empty frame.
            &[0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 12],
            &[0xff, 0xff, 0xff, 0xff],
            &[0, 0, 0, 0],
            // An unknown API, a truncated header, a Metadata request that claims 2^31 topics.
            &[0, 0, 0, 8, 0x27, 0x0f, 0, 0, 0, 0, 0, 1],
            &[0, 0, 0, 3, 0, 3, 0],
            &[
                0, 0, 0, 15, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0,
            ],
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ];
        for bytes in hostile {
            let mut stream = TcpStream::connect(&server.kafka).unwrap();
            stream.write_all(bytes).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            // Answered or cut: either way the connection ends.
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            assert!(answer.len() < 4096, "{} bytes for {bytes:?}", answer.len());
        }
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let mut bytes: Vec<u8> = (0..random.usize(4..200)).map(|_| random.u8(..)).collect();
            let length = u32::try_from(bytes.len() - 4).unwrap().to_be_bytes();
            bytes[..4].copy_from_slice(&length);
            let mut stream = TcpStream::connect(&server.kafka).unwrap();
            stream.write_all(&bytes).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        }
        assert_eq!(
            server.sql("SELECT 1 AS one").await,
            [serde_json::json!({"one": 1})]
        );
    });
}

/// A request of `api` without a client's name.
fn request(api: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(body.len() + 14);
    frame.extend(u32::try_from(body.len() + 10).unwrap().to_be_bytes());
    frame.extend(api.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0xff, 0xff]);
    frame.extend(body);
    frame
}

/// An array of `count` times the same element.
fn times(count: usize, element: &[u8]) -> Vec<u8> {
    let mut array = u32::try_from(count).unwrap().to_be_bytes().to_vec();
    array.extend(element.repeat(count));
    array
}

fn resident_mib(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024
}

#[test]
fn no_connection_makes_the_server_take_gigabytes() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path());
        server
            .sql("CREATE SOURCE t (v BIGINT) WITH (topic = 't') FORMAT PLAIN ENCODE JSON")
            .await;
        let before = resident_mib(server.pid());
        // Metadata 1: topics. DescribeConfigs 1: resources of a kind, a name and all keys; without synonyms.
        let metadata = request(3, 1, &times(1_000_000, b"\0\x01t"));
        let mut resources = times(300_000, b"\x02\0\x01t\xff\xff\xff\xff");
        resources.push(0);
        let configs = request(32, 1, &resources);
        for bytes in [metadata, configs] {
            let mut stream = TcpStream::connect(&server.kafka).unwrap();
            stream.write_all(&bytes).unwrap();
            // What names more than fits into memory is not answered at all.
            let mut size = [0; 4];
            let size = stream
                .read_exact(&mut size)
                .map_or(0, |()| u32::from_be_bytes(size));
            assert!(size < 64 << 10, "the answer has {size} bytes");
        }
        let lengths: Vec<TcpStream> = (0..300)
            .map(|n| {
                let mut stream = TcpStream::connect(&server.kafka).unwrap();
                // Half of them would be read if they were believed.
                let length: u32 = if n % 2 == 0 { 0x7fff_ffff } else { 16 << 20 };
                stream.write_all(&length.to_be_bytes()).unwrap();
                stream
            })
            .collect();
        server.sql("SELECT 1 AS one").await;
        let taken = resident_mib(server.pid()) - before;
        assert!(taken < 400, "{taken} MiB");
        drop(lengths);
    });
}
