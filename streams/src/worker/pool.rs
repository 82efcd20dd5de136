//! The threads on which jobs run.
//!
//! A job is a future: where it awaits it costs no thread. Where it computes it has one for itself, and jobs take turns, because a
//! turn is bounded by the rows that it reads. One whose turns take long all the same (a join of very many matches, a slow
//! expression) hands its place in the pool to another thread while it computes, so that it holds up nobody: see [`compute`].

use std::future::Future;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio::task::JoinHandle;

/// Stack of a thread: chunks go down the plan by recursion. Only what is touched is taken.
pub(crate) const STACK_BYTES: usize = 8 << 20;
/// How long a thread that took the place of a busy one stays when it has nothing to do.
const SPARE_THREAD_LIFE: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Pool {
    /// Starts `threads` threads for the worker of this name.
    ///
    /// # Errors
    /// The system's words where it gives none.
    pub(crate) fn start(worker: &str, threads: usize) -> Result<Self, std::io::Error> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name(format!("streams-{worker}"))
            .thread_stack_size(STACK_BYTES)
            .thread_keep_alive(SPARE_THREAD_LIFE)
            .enable_all()
            .build()?;
        Ok(Self {
            runtime: Some(runtime),
        })
    }

    /// Runs a future to its end, unless the pool is dropped before.
    pub(crate) fn spawn(
        &self,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Option<JoinHandle<()>> {
        let runtime = self.runtime.as_ref()?;
        Some(runtime.spawn(future))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // The last one to let go may be on a thread that must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Computes here. Work that is known to be `long` leaves its place in the pool to others meanwhile.
pub(crate) fn compute<T>(long: bool, work: impl FnOnce() -> T) -> T {
    let on_pool = || {
        Handle::try_current()
            .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread)
    };
    if long && on_pool() {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}
