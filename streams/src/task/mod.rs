//! One task of a job: sources, operators, sink, and the commit that binds them.
//!
//! ```text
//! open:   fence ─▶ restore ─▶ check ─▶ seek                                    (recovery.rs)
//! turn:   poll ─▶ graph ─▶ sink gathers ─▶ is a commit due?                    (process.rs, commit.rs decides)
//! commit: end the epoch ─▶ delta ─▶ one transaction (writer.rs) ─▶ local store ─▶ publish
//! ```
//!
//! Whatever breaks, the task is dropped and opened again: there is no other way back.

mod commit;
mod environment;
mod error;
mod exchange;
mod inputs;
mod lifecycle;
mod pace;
mod process;
mod recovery;
mod refresh;
mod saving;
mod search;
mod spec;
mod status;
mod stop;
#[cfg(test)]
mod tests;
mod tokens;
mod writer;

pub(crate) use environment::{Changelog, Environment, Names, job_folder};
pub(crate) use error::NAME_RULE;
pub use error::{ConfigError, EngineError, TaskError};
pub(crate) use exchange::{Inbox, Outbox, Port, send};
pub use inputs::QueryStart;
pub(crate) use inputs::{InputError, Inputs, chunk_of, group_positions, report};
pub use lifecycle::JobState;
pub(crate) use lifecycle::{Command, Event, Lifecycle};
pub(crate) use process::{Opened, Task, Turn};
pub(crate) use saving::SnapshotOptions;
pub use spec::JobSpec;
pub use status::{JobStatus, StateSize};
pub(crate) use status::{Progress, Shared};
pub(crate) use stop::Stop;
