//! What an operator meets: start, stop, wrong configuration, probes, foreign bytes.

mod clients;
mod frames;
mod lifecycle;
mod logs;
mod setup;
