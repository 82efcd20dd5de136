//! `host-log`, the one import: a guest's messages go to the host's log, cut to size and rate.
//!
//! The rate is a bucket a module, shared by all its instances. What it drops is counted and told with the next message that gets
//! through. What gets through is remembered, the last few messages a module, for whoever asks what a guest has said. An error that
//! is said again and again (a panic, while the record is looked for that causes it) makes one line. Apart from the rate, the last
//! error is kept in the store: a panic's message explains the trap that follows it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use parking_lot::Mutex;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use crate::error::{MESSAGE_BYTES_MAX, brief};
use crate::instance::Guest;
use crate::wire::Level;

/// The interface's name.
pub(crate) const HOST_LOG: &str = "thalweg:plugin/host-log@0.1.0";

/// Messages of a module that are remembered.
const SAID_MAX: usize = 16;

/// A message of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestMessage {
    /// When it was said, the first time.
    pub at: SystemTime,
    /// `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// One line, at most 1 KiB.
    pub text: String,
    /// How often it was said without another one between.
    pub times: u64,
}

/// The log of one module.
pub(crate) struct GuestLog {
    module: Arc<str>,
    bytes_per_s: usize,
    bucket: Mutex<Bucket>,
    said: Mutex<VecDeque<GuestMessage>>,
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
            said: Mutex::default(),
        }
    }

    /// The last messages that got through, the oldest first.
    pub(crate) fn said(&self) -> Vec<GuestMessage> {
        self.said.lock().iter().cloned().collect()
    }

    /// Remembers a message; whether it is one more of the last.
    fn remember(&self, level: &'static str, text: &str) -> bool {
        let mut said = self.said.lock();
        if let Some(last) = said.back_mut()
            && last.level == level
            && last.text == text
        {
            last.times += 1;
            return true;
        }
        if said.len() == SAID_MAX {
            said.pop_front();
        }
        said.push_back(GuestMessage {
            at: SystemTime::now(),
            level,
            text: text.to_owned(),
            times: 1,
        });
        false
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
                bytes_per_s = self.bytes_per_s,
                "messages of a guest were dropped: it logs too much"
            );
        }
        let again = self.remember(word(level), message);
        if again && level == Level::Error {
            return;
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

fn word(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
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
    fn the_last_messages_are_remembered_and_repetition_is_counted() {
        let log = GuestLog::new("m".into(), 1 << 20);
        let now = Instant::now();
        for number in 0..SAID_MAX {
            log.write(Level::Info, &format!("message {number}"), now);
        }
        for _ in 0..3 {
            log.write(Level::Error, "panicked at src/lib.rs:1:1", now);
        }
        let said = log.said();
        assert_eq!(said.len(), SAID_MAX);
        assert_eq!(said[0].text, "message 1");
        let last = said.last().expect("the last");
        assert_eq!((last.level, last.times), ("error", 3));
    }

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
