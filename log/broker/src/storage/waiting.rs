//! Waits for the disk that hold up nobody else: the threads that append and read serve heartbeats as well.
//!
//! ```text
//!  read    at hand in the page cache? ── yes ─▶ read here
//!                                     └─ no ──▶ the thread's other tasks are handed over, then read
//!  write   a write took long lately?  ── no ──▶ write here: into the page cache, some microseconds
//!                                     └─ yes ─▶ the thread's other tasks are handed over, then the lock is waited for, and written
//! ```
//! Handing over costs some ten microseconds, so it is not done for what takes fewer; a lock that somebody holds is tried for a millisecond
//! before.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard, RwLock, RwLockWriteGuard};
use tokio::runtime::{Handle, RuntimeFlavor};

/// A write into the page cache that takes so long waited for the disk.
const STALL: Duration = Duration::from_millis(1);

/// For so long after a stall every write is taken for one that may stall.
const SLOW_FOR: Duration = Duration::from_secs(10);

/// How the disk of a log has taken its writes lately.
#[derive(Debug)]
pub(crate) struct Pace {
    since: Instant,
    /// Until then writes are slow; ms after `since`.
    slow_until_ms: AtomicI64,
    /// Called before each write.
    #[cfg(test)]
    pub(super) brake: Mutex<Option<tests::Brake>>,
}

impl Pace {
    /// Of a disk that nothing is known of.
    pub(crate) fn new() -> Self {
        Self {
            since: Instant::now(),
            slow_until_ms: AtomicI64::new(0),
            #[cfg(test)]
            brake: Mutex::default(),
        }
    }

    /// Whether a write stalled lately.
    pub(super) fn is_slow(&self) -> bool {
        let until = self.slow_until_ms.load(Ordering::Relaxed);
        until > 0 && self.ms_of(self.since.elapsed()) < until
    }

    /// Writes, and remembers whether it took long.
    pub(super) fn write<T>(&self, write: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        #[cfg(test)]
        if let Some(brake) = &*self.brake.lock() {
            (brake.0)();
        }
        let written = write();
        self.note(begun.elapsed());
        written
    }

    fn note(&self, took: Duration) {
        if took >= STALL {
            let until = self.ms_of(self.since.elapsed() + SLOW_FOR);
            self.slow_until_ms.store(until, Ordering::Relaxed);
        }
    }

    fn ms_of(&self, since: Duration) -> i64 {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}

/// Does what may wait, while other threads do what else this one has to do.
pub(crate) fn waiting<T>(work: impl FnOnce() -> T) -> T {
    let is_shared = Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    if is_shared {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

/// Locks what may be held by somebody who waits for the disk.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    let soon = mutex.try_lock_for(STALL);
    soon.unwrap_or_else(|| waiting(|| mutex.lock()))
}

/// As [`lock`], for what is changed alone.
pub(crate) fn write_lock<T>(locked: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    let soon = locked.try_write_for(STALL);
    soon.unwrap_or_else(|| waiting(|| locked.write()))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::super::tests::{Lab, NOW, filled, put};
    use super::*;

    /// Holds a write up.
    pub(crate) struct Brake(pub(crate) Box<dyn Fn() + Send>);

    impl std::fmt::Debug for Brake {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Brake")
        }
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn a_stall_is_remembered() {
        let pace = Pace::new();
        assert!(!pace.is_slow());
        pace.note(STALL / 2);
        assert!(!pace.is_slow());
        pace.note(STALL);
        assert!(pace.is_slow());
    }

    #[test]
    fn a_disk_that_stalls_holds_up_appends_and_nobody_else() {
        let lab = Lab::new(&[]);
        let partition = Arc::new(lab.open());
        let pace = &partition.shared.pace;
        pace.note(STALL);
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (release, released) = mpsc::channel();
        let begun = Mutex::new(Some(begun));
        *pace.brake.lock() = Some(Brake(Box::new(move || {
            if let Some(begun) = begun.lock().take() {
                begun.send(()).expect("somebody waits");
                released.recv_timeout(PATIENCE).expect("others get on");
            }
        })));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let appended = {
                let partition = Arc::clone(&partition);
                tokio::spawn(async move { put(&partition, filled(1, 5, NOW)) })
            };
            let other = tokio::spawn(async move {
                has_begun.await.expect("it begins");
                release.send(()).expect("it waits");
            });
            other.await.expect("another task gets on");
            appended.await.expect("the append ends");
        });
        assert_eq!(partition.high_watermark(), 1);
    }
}
