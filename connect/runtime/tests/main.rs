//! The Connect runtime from outside: REST transcripts, sources and sinks over a log in memory, restarts, failures.

mod connectors;
mod memory_log;
mod rest;
mod sinks;
mod sources;
mod supervision;
mod worker;
