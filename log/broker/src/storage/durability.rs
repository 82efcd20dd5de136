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
//! There are two queues: syncs that somebody waits for go before those that only keep an interval, and the latter never take the last
//! thread, so that the end of a transaction does not stand behind dozens of other partitions.
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
    queued: Option<Urgency>,
    running: bool,
    again: Option<Urgency>,
}

/// Which queue a sync goes to; the later is the more urgent one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    /// It is only to be done in time.
    Background,
    /// Somebody waits for it.
    Awaited,
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

    /// Asks for a sync of all that is written so far, which nobody waits for.
    pub(crate) fn request(self: &Arc<Self>) {
        self.ask(Urgency::Background);
    }

    fn ask(self: &Arc<Self>, urgency: Urgency) {
        let mut state = self.state.lock();
        if state.running {
            state.again = state.again.max(Some(urgency));
        } else if state.queued < Some(urgency) {
            state.queued = Some(urgency);
            drop(state);
            self.pool.submit(Arc::clone(self), urgency);
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
        self.ask(Urgency::Awaited);
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
        let again = state.again.take();
        drop(state);
        if let Some(urgency) = again {
            self.ask(urgency);
        }
    }

    /// Moves from queued to running; false if it is done already (it was in both queues), or somebody else runs it: then it is queued
    /// again when that one is done.
    fn claim(&self) -> bool {
        let mut state = self.state.lock();
        let Some(urgency) = state.queued.take() else {
            return false;
        };
        if state.running {
            state.again = state.again.max(Some(urgency));
            return false;
        }
        state.running = true;
        true
    }
}

#[derive(Debug, Default)]
struct Jobs {
    awaited: VecDeque<Arc<Durability>>,
    background: VecDeque<Arc<Durability>>,
    /// One thread at a time works for the background.
    background_runs: bool,
    threads: usize,
    idle: usize,
}

impl Jobs {
    /// What a thread is to do next. A long queue is one thread's, to sync the file system at once; a short one is shared.
    fn take(&mut self) -> Option<(Urgency, Vec<Arc<Durability>>)> {
        let (urgency, queue) = if !self.awaited.is_empty() {
            (Urgency::Awaited, &mut self.awaited)
        } else if !self.background.is_empty() && !self.background_runs {
            (Urgency::Background, &mut self.background)
        } else {
            return None;
        };
        let count = if queue.len() >= SYNCFS_FROM {
            queue.len()
        } else {
            1
        };
        self.background_runs |= urgency == Urgency::Background;
        Some((urgency, queue.drain(..count).collect()))
    }
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

    fn submit(&self, job: Arc<Durability>, urgency: Urgency) {
        let mut jobs = self.jobs.lock();
        match urgency {
            Urgency::Awaited => jobs.awaited.push_back(job),
            Urgency::Background => jobs.background.push_back(job),
        }
        if jobs.idle == 0 && jobs.threads < THREADS {
            let pool = self.this.clone();
            let spawned = thread::Builder::new()
                .name("log-sync".to_owned())
                .spawn(move || work(&pool));
            if spawned.is_ok() {
                jobs.threads += 1;
            } else if jobs.threads == 0 {
                // No thread to be had: the caller pays.
                let taken: Vec<_> = jobs.take().into_iter().collect();
                jobs.background_runs = false;
                drop(jobs);
                taken.into_iter().for_each(|(_, taken)| sync_all(taken));
                return;
            }
        }
        self.ready.notify_one();
    }
}

fn work(pool: &Weak<SyncPool>) {
    while let Some(pool) = pool.upgrade() {
        let mut jobs = pool.jobs.lock();
        let mut next = jobs.take();
        if next.is_none() {
            jobs.idle += 1;
            let timed_out = pool.ready.wait_for(&mut jobs, IDLE_WAIT).timed_out();
            jobs.idle -= 1;
            next = jobs.take();
            if timed_out && next.is_none() {
                jobs.threads -= 1;
                return;
            }
        }
        let Some((urgency, taken)) = next else {
            continue;
        };
        drop(jobs);
        sync_all(taken);
        if urgency == Urgency::Background {
            pool.jobs.lock().background_runs = false;
            pool.ready.notify_one();
        }
    }
}

fn sync_all(jobs: Vec<Arc<Durability>>) {
    let claimed: Vec<_> = jobs.into_iter().filter(|job| job.claim()).collect();
    let begun: Vec<_> = claimed.iter().map(|job| job.begin()).collect();
    let together = claimed.len() >= SYNCFS_FROM;
    let observed = |file: &Arc<LogFile>| (Arc::clone(file), file.observed_bytes());
    let files = begun.iter().flat_map(|(_, files)| files);
    let sizes: Vec<_> = files.filter(|_| together).map(observed).collect();
    let all = begun
        .iter()
        .flat_map(|(_, files)| files.first())
        .next()
        .filter(|_| together)
        .map(|file| file.sync_file_system());
    if let Some(Ok(())) = &all {
        sizes
            .iter()
            .for_each(|(file, bytes)| file.tell_synced(*bytes));
    }
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

    #[test]
    fn what_somebody_waits_for_goes_first_and_finds_a_thread() {
        let pool = SyncPool::new();
        let job = || Durability::new(name(), Arc::clone(&pool), 0, 0);
        let mut jobs = Jobs::default();
        jobs.background.extend([job(), job()]);
        jobs.awaited.push_back(job());
        let mut urgencies = || jobs.take().map(|(urgency, taken)| (urgency, taken.len()));
        assert_eq!(urgencies(), Some((Urgency::Awaited, 1)));
        assert_eq!(urgencies(), Some((Urgency::Background, 1)));
        assert_eq!(urgencies(), None, "the other thread stays free");
        jobs.background_runs = false;
        assert!(jobs.take().is_some());
    }

    #[tokio::test]
    async fn a_wait_overtakes_the_background_and_both_entries_are_one_sync() {
        let durability = Durability::new(name(), SyncPool::new(), 0, 0);
        durability.state.lock().queued = Some(Urgency::Background);
        durability.written(1);
        assert!(durability.wait(1).await);
        assert_eq!(durability.state.lock().queued, None);
        assert!(!durability.claim(), "the older entry finds nothing to do");
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
