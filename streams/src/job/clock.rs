//! The clock of a job.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Unix time in ms when the job began, and never backwards from there.
pub(super) struct Clock {
    base_ms: i64,
    started: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            base_ms: i64::try_from(since.as_millis()).unwrap_or(0),
            started: Instant::now(),
        }
    }

    pub(super) fn now_ms(&self) -> i64 {
        let elapsed = self.started.elapsed().as_millis();
        self.base_ms
            .saturating_add(i64::try_from(elapsed).unwrap_or(i64::MAX))
    }
}
