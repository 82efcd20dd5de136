//! The thread that looks after the storage, and tells how much it holds.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use metrics::gauge;
use parking_lot::{Condvar, Mutex};

use crate::clock::wall_ms;
use crate::quorum::Topics;

/// How often storage looks after itself.
const INTERVAL: Duration = Duration::from_millis(250);

/// Rounds between two looks at sizes.
const GAUGE_ROUNDS: u64 = 40;

/// The thread; dropped: it ends first.
pub(crate) struct Upkeep {
    signal: Arc<(Mutex<bool>, Condvar)>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl Upkeep {
    /// Starts it.
    pub(crate) fn start(topics: Topics) -> io::Result<Self> {
        let signal = Arc::new((Mutex::new(false), Condvar::new()));
        let shared = Arc::clone(&signal);
        let thread = thread::Builder::new()
            .name("log-maintain".to_owned())
            .spawn(move || {
                let (stopped, wake) = &*shared;
                let mut rounds = 0u64;
                loop {
                    let mut stopped = stopped.lock();
                    if !*stopped {
                        wake.wait_for(&mut stopped, INTERVAL);
                    }
                    if *stopped {
                        return;
                    }
                    drop(stopped);
                    topics.maintain(wall_ms());
                    rounds += 1;
                    if rounds % GAUGE_ROUNDS == 1 {
                        measure(&topics);
                    }
                }
            })?;
        Ok(Self {
            signal,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Ends it; waits for what it does.
    pub(crate) fn stop(&self) {
        *self.signal.0.lock() = true;
        self.signal.1.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            // A panic there was reported by its hook.
            let _ = thread.join();
        }
    }
}

/// Tells how much the log holds.
fn measure(topics: &Topics) {
    let (mut partitions, mut bytes) = (0u64, 0u64);
    for topic in topics.list() {
        for partition in topic.all() {
            partitions += 1;
            bytes += partition.size_bytes();
        }
    }
    gauge!("thalweg_log_partitions").set(partitions as f64);
    gauge!("thalweg_log_size_bytes").set(bytes as f64);
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.stop();
    }
}
