//! The Connect runtime from outside: REST transcripts, sources and sinks over a log in memory, restarts, failures.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(unreachable_pub, reason = "modules of one test binary")]

mod connectors;
mod memory_log;
mod rest;
mod sinks;
mod sources;
mod supervision;
mod wasm;
mod worker;
