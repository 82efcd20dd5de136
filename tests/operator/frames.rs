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
