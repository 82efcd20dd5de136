//! Pauses between attempts of the same call.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(300);

/// 300 ms, doubling up to a maximum, each up to a quarter longer.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    pub(super) fn new(max: Duration) -> Self {
        Self {
            next: FIRST.min(max),
            max,
        }
    }

    pub(super) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (self.next * 2).min(self.max);
        pause.mul_f64(1.0 + 0.25 * fastrand::f64())
    }

    pub(super) fn reset(&mut self) {
        self.next = FIRST.min(self.max);
    }
}
