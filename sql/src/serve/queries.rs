//! The threads of statements and of snapshot queries, apart from those that serve: however long one is planned or
//! computes, the log, health and other answers do not wait for it. Their stacks are large enough for every statement
//! that is not refused ([`STACK_BYTES`]).
//!
//! ```text
//! request ── statement ──> a task on our threads: parse, bind, plan, answer
//!   statement ── start ──> a thread of its own: plan, then batch after batch
//!             <── schema, batches, end ── channel ──┘
//! ```
//!
//! Invariants:
//! 1. The reader of an answer watches deadline and shutdown itself, so it never waits for a query's thread.
//! 2. A query whose reader is gone ends the next time that it yields: at the latest after some batches of a join.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result as BoundResult};
use datafusion::execution::SendableRecordBatchStream;
use futures::stream::StreamExt;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::AbortHandle;

use crate::stack::STACK_BYTES;

/// Queries that run at once; further ones wait for their turn until their deadline.
const QUERIES_MAX: usize = 64;

/// Batches that wait for a slow reader; the query stands still while they do.
const BATCHES_MAX: usize = 2;

/// Threads for what a query spawns by itself, and for timers.
const WORKERS: usize = 2;

/// Statements that are bound and planned at once; what they wait for in between takes no thread.
const STATEMENTS: usize = 4;

/// What comes from a query's thread. Without an end, the thread is gone: by shutdown, or by a panic.
pub(super) enum Part {
    /// First, once it is planned.
    Planned(SchemaRef),
    Batch(RecordBatch),
    /// Last.
    End(BoundResult<()>),
}

/// Runs queries.
pub(super) struct Queries {
    /// `None` once stopped.
    runtime: Mutex<Option<Runtime>>,
    /// `None` once stopped.
    statements: Mutex<Option<Runtime>>,
    slots: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
}

impl Queries {
    pub(super) fn new() -> std::io::Result<Self> {
        let runtime = |workers: usize, name: &str| {
            Builder::new_multi_thread()
                .worker_threads(workers)
                .thread_name(name)
                .thread_stack_size(STACK_BYTES)
                .enable_all()
                .build()
        };
        Ok(Self {
            runtime: Mutex::new(Some(runtime(WORKERS, "thalweg-query")?)),
            statements: Mutex::new(Some(runtime(STATEMENTS, "thalweg-sql")?)),
            slots: Arc::new(Semaphore::new(QUERIES_MAX)),
            stopping: watch::Sender::new(false),
        })
    }

    /// Runs what a request asks for on our threads. Dropping the future ends it. `None`: by shutdown, or by a panic.
    pub(super) async fn statement<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let task = self.statements.lock().as_ref()?.spawn(work);
        let _ends = Ends(task.abort_handle());
        task.await.ok()
    }

    /// Plans and runs a query away from here. Dropping the receiver ends it.
    pub(super) async fn start<P>(&self, plan: P) -> mpsc::Receiver<Part>
    where
        P: Future<Output = BoundResult<SendableRecordBatchStream>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(BATCHES_MAX);
        let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else {
            return receiver;
        };
        if let Some(runtime) = &*self.runtime.lock() {
            let handle = runtime.handle().clone();
            runtime.spawn_blocking(move || {
                handle.block_on(run(plan, &sender));
                drop(slot);
            });
        }
        receiver
    }

    /// Resolves when the server stops.
    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Ends all answers and waits for no query.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
        for runtime in [&self.runtime, &self.statements] {
            if let Some(runtime) = runtime.lock().take() {
                runtime.shutdown_background();
            }
        }
    }
}

impl Drop for Queries {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Ends a task when its reader goes.
struct Ends(AbortHandle);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(
    plan: impl Future<Output = BoundResult<SendableRecordBatchStream>>,
    parts: &mpsc::Sender<Part>,
) {
    let work = async {
        let mut batches = plan.await?;
        let gone = |_| DataFusionError::Execution("nobody reads the answer".to_owned());
        let planned = Part::Planned(batches.schema());
        parts.send(planned).await.map_err(gone)?;
        while let Some(batch) = batches.next().await {
            parts.send(Part::Batch(batch?)).await.map_err(gone)?;
        }
        Ok(())
    };
    let result = tokio::select! {
        biased;
        () = parts.closed() => return,
        result = work => result,
    };
    // Nobody waits for an end that cannot be sent.
    let _ = parts.send(Part::End(result)).await;
}
