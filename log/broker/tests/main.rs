//! The broker as its users meet it: foreign clients over TCP (librdkafka), raw bytes, and `Embedded` in the same process.

mod clients;
mod embedded;
mod fire;
mod groups;
mod layers;
mod node;
mod oracle;
mod security;
mod transactions;
mod wire;
