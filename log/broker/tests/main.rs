//! The broker as its users meet it: foreign clients over TCP (librdkafka), raw bytes, and `Embedded` in the same process.

mod clients;
mod cut;
mod embedded;
mod fire;
mod groups;
mod guard;
mod layers;
mod node;
mod oracle;
mod security;
mod transactions;
mod wire;

/// The allocator of the program: what a broker takes under fire is measured in this one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
