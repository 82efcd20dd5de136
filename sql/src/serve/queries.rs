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
//! 3. A statement whose reader is gone ends too, but not in the middle of what has to be whole ([`Whole`]).

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result as BoundResult};
use datafusion::execution::SendableRecordBatchStream;
use futures::stream::StreamExt;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

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

    /// Runs what a request asks for on our threads. Dropping the future ends it, behind what has to be whole. `None`: by
    /// shutdown, or by a panic.
    pub(super) async fn statement<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (reads, left) = oneshot::channel();
        let whole = Arc::<AtomicUsize>::default();
        let work = WHOLE.scope(Arc::clone(&whole), work);
        let task = (self.statements.lock().as_ref()?).spawn(unless_left(work, whole, left));
        let ended = task.await.ok().flatten();
        drop(reads);
        ended
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

tokio::task_local! {
    /// How many parts of the statement that runs have to be whole now.
    static WHOLE: Arc<AtomicUsize>;
}

/// While it is there the statement goes on although nobody waits for its answer any more: half of a CREATE or DROP would stay.
pub(super) struct Whole(Option<Arc<AtomicUsize>>);

impl Whole {
    /// From here on.
    pub(super) fn begin() -> Self {
        // Outside of statements nothing ends before its end.
        let whole = WHOLE.try_with(Arc::clone).ok();
        if let Some(whole) = &whole {
            whole.fetch_add(1, Ordering::Relaxed);
        }
        Self(whole)
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if let Some(whole) = &self.0 {
            whole.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What `work` gives; `None` once its reader has left and nothing has to be whole.
async fn unless_left<T>(
    work: impl Future<Output = T>,
    whole: Arc<AtomicUsize>,
    mut left: oneshot::Receiver<()>,
) -> Option<T> {
    let mut work = pin!(work);
    let mut has_left = false;
    poll_fn(|context| {
        if let Poll::Ready(given) = work.as_mut().poll(context) {
            return Poll::Ready(Some(given));
        }
        has_left = has_left || Pin::new(&mut left).poll(context).is_ready();
        match has_left && whole.load(Ordering::Relaxed) == 0 {
            true => Poll::Ready(None),
            false => Poll::Pending,
        }
    })
    .await
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

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;

    /// Says when it is dropped.
    struct Told(Option<oneshot::Sender<&'static str>>, &'static str);

    impl Drop for Told {
        fn drop(&mut self) {
            if let Some(to) = self.0.take() {
                // Who asked is there until the end of the test.
                let _ = to.send(self.1);
            }
        }
    }

    /// How a statement ends whose reader leaves in its middle.
    async fn ended(whole: bool) -> &'static str {
        let queries = Queries::new().expect("threads");
        let (told, ended) = oneshot::channel();
        let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (beginning, waiting) = (Arc::clone(&begun), Arc::clone(&go_on));
        let statement = queries.statement(async move {
            let mut told = Told(Some(told), "in its middle");
            {
                let _whole = whole.then(Whole::begin);
                beginning.notify_one();
                waiting.notified().await;
            }
            told.1 = "behind it";
            std::future::pending::<()>().await;
        });
        tokio::select! {
            _ = statement => panic!("it waits"),
            () = begun.notified() => {}
        }
        if whole {
            go_on.notify_one();
        }
        ended.await.expect("it ends")
    }

    #[tokio::test]
    async fn a_statement_whose_reader_left_ends_behind_what_has_to_be_whole() {
        assert_eq!(ended(false).await, "in its middle");
        assert_eq!(ended(true).await, "behind it");
    }
}
