//! A running query: its description, its life on the pool, and the handle through which others see it.
//!
//! ```text
//! JobHandle ──stop──▶ run: open the task, turn after turn; broken ─▶ pause ─▶ open again
//!     ▲                 │
//!     └── status, commits, snapshot ── Shared
//! ```
//!
//! A job is one future on the threads that all jobs of an engine share ([`crate::worker`]). Operators are synchronous and own
//! their thread while they work; I/O at the edges is awaited. A job that has nothing to do rests: it costs no thread, and
//! nothing looks for work in its name. A panic ends the job, not the process.

mod clock;
mod erase;
mod handle;
mod run;

pub(crate) use erase::erase;
pub use handle::JobHandle;
pub(crate) use run::Stores;
