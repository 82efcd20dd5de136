//! Contract tests of the SQL crate: a server over a real log and engine in a temporary folder.

mod broken_views;
mod differential;
mod files;
mod fixture;
mod generators;
mod guards;
mod high;
mod http;
mod insert;
mod joins;
mod laterals;
mod limits;
mod logictest;
mod notices;
mod questions;
mod replace;
mod restart;
mod sinks;
mod transcript;
mod wasm;
