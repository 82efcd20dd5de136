//! How long a large frame may take to arrive: memory is reserved for it meanwhile.

use std::time::Duration;

use tokio::time::Instant;

/// How long it may take at the least, and the rate at which it may come beyond that.
const TIME_MIN: Duration = Duration::from_secs(30);
const BYTES_PER_SECOND_MIN: usize = 64 << 10;

/// The same while other requests wait for the memory.
const WANTED_TIME_MIN: Duration = Duration::from_secs(5);
const WANTED_BYTES_PER_SECOND_MIN: usize = 4 << 20;

/// Until when a frame must have arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    deadline: Instant,
    wanted: Instant,
}

impl Arrival {
    /// Of a frame that begins to arrive at `now`.
    pub(super) fn of(frame_bytes: usize, now: Instant) -> Self {
        let within = |least: Duration, bytes_per_second: usize| {
            let seconds = frame_bytes as f64 / bytes_per_second as f64;
            now + least + Duration::from_secs_f64(seconds)
        };
        Self {
            deadline: within(TIME_MIN, BYTES_PER_SECOND_MIN),
            wanted: within(WANTED_TIME_MIN, WANTED_BYTES_PER_SECOND_MIN),
        }
    }

    /// Whether it should have arrived, where others wait for its memory or not.
    pub(super) fn is_late(self, now: Instant, is_wanted: bool) -> bool {
        self.deadline <= now || (is_wanted && self.wanted <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_memory_that_others_wait_for_has_less_time() {
        let now = Instant::now();
        let arrival = Arrival::of(8 << 20, now);
        let after = |seconds| now + Duration::from_secs(seconds);
        assert!(!arrival.is_late(after(6), true));
        assert!(arrival.is_late(after(7), true));
        assert!(!arrival.is_late(after(157), false));
        assert!(arrival.is_late(after(158), false));
    }
}
