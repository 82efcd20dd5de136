//! `host-log`, the one import: a guest's messages go to the host's log, cut to size and rate.
//!
//! The rate is a bucket a module, shared by all its instances. What it drops is counted and told with the next message that gets
//! through. Apart from the rate, the last error is kept in the store: a panic's message explains the trap that follows it.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use crate::error::{MESSAGE_BYTES_MAX, brief};
use crate::instance::Guest;
use crate::wire::Level;

/// The interface's name.
pub(crate) const HOST_LOG: &str = "thalweg:plugin/host-log@0.1.0";

/// The log of one module.
pub(crate) struct GuestLog {
    module: Arc<str>,
    bytes_per_s: usize,
    bucket: Mutex<Bucket>,
}

struct Bucket {
    bytes: usize,
    filled: Instant,
    dropped: u64,
}

impl GuestLog {
    /// A log for `module` that lets `bytes_per_s` through, and as much again as one message may have at once.
    pub(crate) fn new(module: Arc<str>, bytes_per_s: usize) -> GuestLog {
        let bucket = Bucket {
            bytes: bytes_per_s,
            filled: Instant::now(),
            dropped: 0,
        };
        GuestLog {
            module,
            bytes_per_s,
            bucket: Mutex::new(bucket),
        }
    }

    fn write(&self, level: Level, message: &str, now: Instant) {
        let Some(dropped) = self
            .bucket
            .lock()
            .take(message.len(), self.bytes_per_s, now)
        else {
            return;
        };
        let module = &*self.module;
        if dropped > 0 {
            tracing::warn!(
                module,
                dropped,
                "messages of a guest were dropped: it logs too much"
            );
        }
        match level {
            Level::Debug => tracing::debug!(module, "{message}"),
            Level::Info => tracing::info!(module, "{message}"),
            Level::Warn => tracing::warn!(module, "{message}"),
            Level::Error => tracing::error!(module, "{message}"),
        }
    }
}

impl Bucket {
    /// Takes `bytes`; the number of messages dropped since the last one that got through, or `None` if this one is dropped too.
    fn take(&mut self, bytes: usize, bytes_per_s: usize, now: Instant) -> Option<u64> {
        let earned = now.saturating_duration_since(self.filled).as_secs_f64() * bytes_per_s as f64;
        if earned >= 1.0 {
            let full = bytes_per_s.max(MESSAGE_BYTES_MAX);
            self.bytes = self.bytes.saturating_add(earned as usize).min(full);
            self.filled = now;
        }
        if bytes > self.bytes {
            self.dropped += 1;
            return None;
        }
        self.bytes -= bytes;
        Some(std::mem::take(&mut self.dropped))
    }
}

/// Gives guests of `linker` their log.
pub(crate) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance(HOST_LOG)?.func_wrap(
        "log",
        |mut store: StoreContextMut<'_, Guest>, (level, message): (Level, String)| {
            let message = brief(message);
            let guest = store.data_mut();
            guest.log.write(level, &message, Instant::now());
            if level == Level::Error {
                guest.last_error = Some(message);
            }
            Ok(())
        },
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_is_cut_to_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket {
            bytes: 1024,
            filled: start,
            dropped: 0,
        };
        assert_eq!(bucket.take(1000, 1024, start), Some(0));
        assert_eq!(bucket.take(100, 1024, start), None);
        assert_eq!(bucket.take(100, 1024, start), None);
        let later = start + Duration::from_millis(500);
        assert_eq!(bucket.take(100, 1024, later), Some(2));
        let much_later = start + Duration::from_secs(3600);
        assert_eq!(bucket.take(1024, 1024, much_later), Some(0));
        assert_eq!(bucket.take(1, 1024, much_later), None);
    }
}
