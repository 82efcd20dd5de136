//! The threads that the jobs of an engine share, and what wakes a job that rests.

mod alive;
mod pool;
mod wakes;

pub(crate) use alive::Alive;
pub(crate) use pool::{Pool, STACK_BYTES, compute};
pub(crate) use wakes::{OpenTopic, Wakes, watch_topics};
