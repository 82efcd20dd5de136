//! Group commit: one fdatasync at a time a partition, for all appends before it.
//!
//! ```text
//! append   write ─ mark file dirty ─ written = end
//! sync     target = written ─ take the dirty files ─ fdatasync ─ synced = target, wake the waiters
//!          ^ in this order: whatever lies below the target was marked before
//!
//! idle ── request ─> queued ── worker ─> running ── done ─> idle
//!                                         | request: again = true, queued once more when done
//! ```
//!
//! Invariants:
//! 1. Below `synced` everything is on disk.
//! 2. A failed sync is the last one: the kernel may have dropped the pages ("fsyncgate").

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;

use log_protocol::TopicPartition;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;
use tracing::error;

use super::log_file::LogFile;

/// Threads that wait for the disk. Two overlap the preparation of one sync with the wait of another; the journal of
/// the file system merges them.
const THREADS: usize = 2;

/// From so many partitions on, one syncfs is cheaper than an fdatasync each.
const SYNCFS_FROM: usize = 64;

/// How far a partition is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Progress {
    synced: i64,
    offline: bool,
}

#[derive(Debug, Default)]
struct SyncState {
    dirty: Vec<Arc<LogFile>>,
    queued: bool,
    running: bool,
    again: bool,
}

/// What of one partition is on disk, and who waits for it.
#[derive(Debug)]
pub(crate) struct Durability {
    partition: TopicPartition,
    state: Mutex<SyncState>,
    idle: Condvar,
    written: AtomicI64,
    /// Clock of the oldest write that is not synced, ms; `i64::MAX` without one.
    dirty_since_ms: AtomicI64,
    progress: watch::Sender<Progress>,
    offline: OnceLock<String>,
    pool: Arc<SyncPool>,
}

impl Durability {
    /// Of a partition whose log ends at `written` and is on disk up to `synced`.
    pub(crate) fn new(
        partition: TopicPartition,
        pool: Arc<SyncPool>,
        written: i64,
        synced: i64,
    ) -> Arc<Self> {
        Arc::new(Self {
            partition,
            state: Mutex::default(),
            idle: Condvar::new(),
            written: AtomicI64::new(written),
            dirty_since_ms: AtomicI64::new(i64::MAX),
            progress: watch::Sender::new(Progress {
                synced,
                offline: false,
            }),
            offline: OnceLock::new(),
            pool,
        })
    }

    /// `file` was written to.
    pub(crate) fn mark(&self, file: &Arc<LogFile>, now_ms: i64) {
        if file.mark_dirty() {
            self.state.lock().dirty.push(Arc::clone(file));
            self.dirty_since_ms.fetch_min(now_ms, Ordering::AcqRel);
        }
    }

    /// The log ends here now; everything below was marked.
    pub(crate) fn written(&self, end: i64) {
        self.written.store(end, Ordering::Release);
    }

    /// Offset below which everything is on disk.
    pub(crate) fn synced(&self) -> i64 {
        self.progress.borrow().synced
    }

    /// Whether a write older than `age_ms` waits for its sync.
    pub(crate) fn is_due(&self, now_ms: i64, age_ms: i64) -> bool {
        now_ms.saturating_sub(self.dirty_since_ms.load(Ordering::Acquire)) >= age_ms
    }

    /// Why the partition is offline.
    pub(crate) fn offline(&self) -> Option<&str> {
        self.offline.get().map(String::as_str)
    }

    /// Takes the partition offline, and says so; the first reason stays.
    pub(crate) fn fail(&self, reason: String) {
        if self.go_offline(reason.clone()) {
            error!(partition = %self.partition, reason, "partition goes offline");
        }
    }

    /// As [`Durability::fail`] where somebody else says so; false if it was offline before.
    pub(crate) fn go_offline(&self, reason: String) -> bool {
        let first = self.offline.set(reason).is_ok();
        self.progress
            .send_modify(|progress| progress.offline = true);
        first
    }

    /// Asks for a sync of all that is written so far; does not wait.
    pub(crate) fn request(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if state.running {
            state.again = true;
        } else if !state.queued {
            state.queued = true;
            drop(state);
            self.pool.submit(Arc::clone(self));
        }
    }

    /// Waits until everything below `offset` is on disk. False: the partition went offline. Cancel safe.
    pub(crate) async fn wait(self: &Arc<Self>, offset: i64) -> bool {
        let mut progress = self.progress.subscribe();
        let now = *progress.borrow_and_update();
        if now.synced >= offset {
            return true;
        }
        if now.offline {
            return false;
        }
        self.request();
        match progress
            .wait_for(|progress| progress.synced >= offset || progress.offline)
            .await
        {
            Ok(progress) => progress.synced >= offset,
            Err(_) => false,
        }
    }

    /// Syncs all that is written so far, on this thread. False: the partition is offline.
    pub(crate) fn sync_now(self: &Arc<Self>) -> bool {
        let mut state = self.state.lock();
        while state.running {
            self.idle.wait(&mut state);
        }
        if self.offline().is_some() {
            return false;
        }
        state.running = true;
        drop(state);
        let (target, files) = self.begin();
        let result = files.iter().try_for_each(|file| file.sync());
        self.finish(target, result);
        self.offline().is_none()
    }

    /// A worker or [`Durability::sync_now`] owns the partition's sync from here to `finish`.
    fn begin(&self) -> (i64, Vec<Arc<LogFile>>) {
        let target = self.written.load(Ordering::Acquire);
        self.dirty_since_ms.store(i64::MAX, Ordering::Release);
        let files = std::mem::take(&mut self.state.lock().dirty);
        for file in &files {
            file.clear_dirty();
        }
        (target, files)
    }

    fn finish(self: &Arc<Self>, target: i64, result: io::Result<()>) {
        match result {
            Ok(()) if self.offline().is_none() => self.progress.send_if_modified(|progress| {
                let moved = target > progress.synced;
                progress.synced = progress.synced.max(target);
                moved
            }),
            Ok(()) => false,
            Err(error) => {
                self.fail(format!("fdatasync failed: {error}"));
                true
            }
        };
        let mut state = self.state.lock();
        state.running = false;
        self.idle.notify_all();
        if std::mem::take(&mut state.again) && !state.queued {
            state.queued = true;
            drop(state);
            self.pool.submit(Arc::clone(self));
        }
    }

    /// Moves from queued to running; false if somebody else runs it: then it is queued again when that one is done.
    fn claim(&self) -> bool {
        let mut state = self.state.lock();
        state.queued = false;
        if state.running {
            state.again = true;
            return false;
        }
        state.running = true;
        true
    }
}

#[derive(Debug, Default)]
struct Jobs {
    queue: VecDeque<Arc<Durability>>,
    threads: usize,
    idle: usize,
}

/// The threads that sync; made when they are first needed, gone with the pool.
#[derive(Debug)]
pub(crate) struct SyncPool {
    jobs: Mutex<Jobs>,
    ready: Condvar,
    this: Weak<Self>,
}

/// How long an idle thread stays before it looks whether the pool is still there.
const IDLE_WAIT: std::time::Duration = std::time::Duration::from_secs(5);

impl SyncPool {
    /// A pool without threads yet.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            jobs: Mutex::default(),
            ready: Condvar::new(),
            this: this.clone(),
        })
    }

    fn submit(&self, job: Arc<Durability>) {
        let mut jobs = self.jobs.lock();
        jobs.queue.push_back(job);
        if jobs.idle == 0 && jobs.threads < THREADS {
            let pool = self.this.clone();
            let spawned = thread::Builder::new()
                .name("log-sync".to_owned())
                .spawn(move || work(&pool));
            if spawned.is_ok() {
                jobs.threads += 1;
            } else if jobs.threads == 0 {
                // No thread to be had: the caller pays.
                let job = jobs.queue.pop_back().expect("pushed above");
                drop(jobs);
                sync_all(vec![job]);
                return;
            }
        }
        self.ready.notify_one();
    }
}

fn work(pool: &Weak<SyncPool>) {
    while let Some(pool) = pool.upgrade() {
        let mut jobs = pool.jobs.lock();
        if jobs.queue.is_empty() {
            jobs.idle += 1;
            let timed_out = pool.ready.wait_for(&mut jobs, IDLE_WAIT).timed_out();
            jobs.idle -= 1;
            if timed_out && jobs.queue.is_empty() {
                jobs.threads -= 1;
                return;
            }
        }
        // A long queue is one thread's, to sync the file system at once; a short one is shared.
        let count = if jobs.queue.len() >= SYNCFS_FROM {
            jobs.queue.len()
        } else {
            1
        };
        let count = count.min(jobs.queue.len());
        let taken: Vec<_> = jobs.queue.drain(..count).collect();
        drop(jobs);
        sync_all(taken);
    }
}

fn sync_all(jobs: Vec<Arc<Durability>>) {
    let claimed: Vec<_> = jobs.into_iter().filter(|job| job.claim()).collect();
    let begun: Vec<_> = claimed.iter().map(|job| job.begin()).collect();
    let together = claimed.len() >= SYNCFS_FROM;
    let all = begun
        .iter()
        .flat_map(|(_, files)| files.first())
        .next()
        .filter(|_| together)
        .map(|file| file.sync_file_system());
    for (job, (target, files)) in claimed.iter().zip(begun) {
        let result = match &all {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
            None => files.iter().try_for_each(|file| file.sync()),
        };
        job.finish(target, result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> TopicPartition {
        TopicPartition::new("orders", 0)
    }

    #[tokio::test]
    async fn waiters_of_many_partitions_are_woken_by_few_syncs() {
        let folder = tempfile::tempdir().expect("tempdir");
        let pool = SyncPool::new();
        let mut waits = Vec::new();
        for n in 0..100 {
            let file = Arc::new(LogFile::open(&folder.path().join(n.to_string())).expect("open"));
            let durability = Durability::new(name(), Arc::clone(&pool), 0, 0);
            file.write_at(&mut [io::IoSlice::new(b"x")], 0)
                .expect("write");
            durability.mark(&file, 5);
            durability.written(1);
            assert!(durability.is_due(10, 5) && !durability.is_due(10, 6));
            waits.push(async move { (durability.wait(1).await, durability.synced()) });
        }
        for outcome in futures::future::join_all(waits).await {
            assert_eq!(outcome, (true, 1));
        }
    }

    #[tokio::test]
    async fn after_a_failure_nobody_waits() {
        let durability = Durability::new(name(), SyncPool::new(), 0, 0);
        let waiter = tokio::spawn({
            let durability = Arc::clone(&durability);
            async move { durability.wait(7).await }
        });
        tokio::task::yield_now().await;
        durability.fail("disk on fire".to_owned());
        assert!(!waiter.await.expect("join"));
        assert!(!durability.sync_now());
        assert_eq!(durability.offline(), Some("disk on fire"));
    }
}
