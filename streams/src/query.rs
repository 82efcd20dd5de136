//! Push queries: a plan that runs for one reader, in memory, until it is dropped.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use futures::{FutureExt, Stream};
use log_api::Log;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use crate::memory::{MemoryBudget, MemoryUser};
use crate::operator::{Effects, Graph, Memory};
use crate::source::SourceOptions;
use crate::state::{MemoryStore, State, StateError, StateStore, Tag};
use crate::task::{EngineError, Inputs, QueryStart, TaskError, chunk_of, report};
use crate::worker::STACK_BYTES;
use crate::{Chunk, StreamPlan};

/// Chunks that wait for a slow reader; then the query waits.
const CHUNKS_WAITING_MAX: usize = 16;
/// How long a query sleeps at most while nothing comes, ms: then it looks whether its topics are as they were.
const SLEEP_MS_MAX: i64 = 5_000;

/// How long [`Running::end`] waits for queries: one that computes looks up between two epochs.
const END_WAIT: Duration = Duration::from_secs(5);

/// The queries of an engine: so many run, and are asked to end.
#[derive(Debug, Default)]
pub(crate) struct Running {
    stop: watch::Sender<bool>,
    count: watch::Sender<usize>,
}

/// One of them.
struct Entered(Arc<Running>);

impl Running {
    fn enter(self: &Arc<Self>) -> Entered {
        self.count.send_modify(|count| *count += 1);
        Entered(Arc::clone(self))
    }

    /// Returns when queries are to end.
    async fn asked(&self) {
        // The sender is `self`, so it is there.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Ends all queries and waits until their threads hold nothing of the log any more, but not without bound.
    pub(crate) async fn end(&self) {
        self.stop.send_replace(true);
        let mut count = self.count.subscribe();
        let _ = tokio::time::timeout(END_WAIT, count.wait_for(|count| *count == 0)).await;
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.count.send_modify(|count| *count -= 1);
    }
}

/// What a push query has left out since it began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryLosses {
    /// Records that could not be decoded.
    pub undecodable: u64,
    /// Rows that an expression failed on.
    pub failed_rows: u64,
    /// Rows that came too late for their window.
    pub late: u64,
    /// The last record that could not be decoded, or row that failed: reason and place.
    pub last_failure: Option<String>,
}

impl QueryLosses {
    /// How many it has left out in all.
    pub fn count(&self) -> u64 {
        self.undecodable + self.failed_rows + self.late
    }
}

/// What a push query may take.
#[derive(Debug, Clone)]
pub(crate) struct QueryLimits {
    pub(crate) source: SourceOptions,
    pub(crate) cache_bytes: usize,
    pub(crate) state_bytes: usize,
    pub(crate) budget: MemoryBudget,
}

/// Changes of a push query's result, as they happen. Dropping it ends the query.
///
/// A chunk without rows says that [`ChunkStream::losses`] has changed.
#[derive(Debug)]
pub struct ChunkStream {
    chunks: mpsc::Receiver<Result<Chunk, EngineError>>,
    losses: Arc<Mutex<QueryLosses>>,
}

impl ChunkStream {
    /// Starts the query's thread.
    pub(crate) fn start(
        log: Arc<dyn Log>,
        plan: StreamPlan,
        from: QueryStart,
        limits: QueryLimits,
        running: &Arc<Running>,
    ) -> Self {
        let (sender, chunks) = mpsc::channel(CHUNKS_WAITING_MAX);
        let failed = sender.clone();
        let (entered, running) = (running.enter(), Arc::clone(running));
        let losses = Arc::new(Mutex::new(QueryLosses::default()));
        let told = Arc::clone(&losses);
        let query = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| EngineError::Thread(error.to_string()))?;
            let reader = Reader {
                chunks: &sender,
                losses: &told,
            };
            let run = run(log, plan, from, limits, reader);
            let run = async {
                tokio::select! {
                    biased;
                    () = running.asked() => Ok(()),
                    ended = run => ended,
                }
            };
            let run = std::panic::AssertUnwindSafe(run).catch_unwind();
            match runtime.block_on(run) {
                Ok(ended) => ended,
                Err(_) => Err(EngineError::Thread(
                    "internal error: the query panicked".to_owned(),
                )),
            }
        };
        let report = failed.clone();
        let spawned = std::thread::Builder::new()
            .name("query".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                if let Err(error) = query() {
                    // A reader that is gone does not want to know.
                    let _ = report.blocking_send(Err(error));
                }
                drop(entered);
            });
        if let Err(error) = spawned {
            let _ = failed.try_send(Err(EngineError::Thread(error.to_string())));
        }
        Self { chunks, losses }
    }

    /// What it has left out so far.
    pub fn losses(&self) -> QueryLosses {
        self.losses.lock().clone()
    }
}

/// Who gets the chunks.
struct Reader<'a> {
    chunks: &'a mpsc::Sender<Result<Chunk, EngineError>>,
    losses: &'a Mutex<QueryLosses>,
}

impl Reader<'_> {
    /// Sends what came out, and where nothing did but more was left out, a chunk without rows; whether it is still there.
    async fn give(&self, output: Vec<Chunk>, losses: QueryLosses, plan: &StreamPlan) -> bool {
        let more = {
            let mut told = self.losses.lock();
            let more = losses.count() > told.count();
            *told = losses;
            more
        };
        let empty = (more && output.is_empty()).then(|| Chunk {
            batch: RecordBatch::new_empty(Arc::clone(plan.schema())),
            diff: None,
            origin: None,
        });
        for chunk in output.into_iter().chain(empty) {
            if self.chunks.send(Ok(chunk)).await.is_err() {
                return false;
            }
        }
        true
    }
}

impl Stream for ChunkStream {
    type Item = Result<Chunk, EngineError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.chunks.poll_recv(context)
    }
}

async fn run(
    log: Arc<dyn Log>,
    plan: StreamPlan,
    from: QueryStart,
    limits: QueryLimits,
    reader: Reader<'_>,
) -> Result<(), EngineError> {
    plan.validate()?;
    let started = Instant::now();
    let now_ms = || i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
    let store = Arc::new(MemoryStore::new(limits.state_bytes));
    let mut account = limits.budget.account(MemoryUser::Queries);
    let mut state = State::new(store.clone());
    let mut graph = Graph::build(&plan, &Memory::new(limits.cache_bytes));
    let mut effects = Effects::counting();
    let mut inputs = Inputs::open(&log, &plan, &[], from, limits.source)
        .await
        .map_err(TaskError::from)?;
    graph.open(&state).map_err(TaskError::from)?;
    let mut undecodable = 0;
    loop {
        let batches = inputs
            .poll(now_ms(), false)
            .await
            .map_err(TaskError::from)?;
        let is_busy = !batches.is_empty();
        let room = account.room();
        effects.set_room(room.saturating_sub(account.bytes()).min(limits.state_bytes));
        for (node, batch) in batches {
            report(&batch, &mut effects);
            undecodable += batch.failures.len() as u64;
            if let Some(chunk) = chunk_of(batch) {
                let pushed = graph.push(node, chunk, &mut state, &mut effects);
                pushed.map_err(TaskError::from)?;
            }
        }
        let reached = inputs.watermarks(now_ms());
        graph
            .end_epoch(
                |node| reached.get(&node).copied().unwrap_or_default(),
                &mut state,
                &mut effects,
            )
            .and_then(|()| graph.commit(&mut state))
            .map_err(TaskError::from)?;
        let delta = state.take();
        if !delta.entries.is_empty() {
            store.apply(
                &delta,
                &Tag {
                    changelog_offset: 0,
                    header: Vec::new(),
                },
            )?;
        }
        graph.after_commit();
        let held = store.size_bytes() + graph.size_bytes();
        if held > room {
            return Err(StateError::TooLarge { limit_bytes: room }.into());
        }
        account.set(held);
        let losses = QueryLosses {
            undecodable,
            failed_rows: effects.failed,
            late: effects.late,
            last_failure: effects.last_failure.clone(),
        };
        if !reader.give(effects.take_output(), losses, &plan).await {
            return Ok(());
        }
        if !is_busy {
            // Nobody wakes a query when another job commits.
            let rest_ms = inputs.rest_ms(now_ms(), |_| false);
            let rest_ms = rest_ms.unwrap_or(SLEEP_MS_MAX).min(SLEEP_MS_MAX);
            let rest = Duration::from_millis(rest_ms.unsigned_abs());
            tokio::select! {
                waited = inputs.wait(rest) => waited.map_err(TaskError::from)?,
                () = reader.chunks.closed() => return Ok(()),
            }
        } else if reader.chunks.is_closed() {
            return Ok(());
        }
    }
}
