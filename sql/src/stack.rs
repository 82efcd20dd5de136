//! Stacks for trees that are walked by recursion. Statements are bound, planned and dropped on threads with
//! [`STACK_BYTES`], which `parse/cursor.rs` bounds their height for; debug builds take about 10 KB a level. Only what is
//! used of a stack takes memory.

use std::thread::{Builder, scope};

/// Bytes of the stack of a thread that walks statements and plans.
pub(crate) const STACK_BYTES: usize = 256 << 20;

/// Runs `work` on a stack of its own, for threads that are not ours.
///
/// # Errors
/// The operating system gives no thread; `work` is dropped.
pub(crate) fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    scope(|threads| {
        let thread = Builder::new()
            .name("thalweg-deep".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(threads, work)?;
        Ok(thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
