//! The clock of all calls: one thread that advances the engine's interruption epoch ("tick") while a guest runs.
//!
//! ```text
//! asleep ── begin ──> ticks every 5 ms ── 20 ticks without a call ──> asleep
//!                                      ── handle dropped ──> the thread ends
//! ```
//!
//! An idle process does not tick; a busy one does not wake the thread for every call, which would cost more than most calls. A
//! deadline is a number of ticks from the start of a call, so pauses do no harm.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use wasmtime::{Engine, EngineWeak};

/// Time between two ticks: how exact deadlines are.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// Ticks without a call after which the thread sleeps.
const IDLE_TICKS: u32 = 20;

/// Owns the ticking thread; dropping it ends the thread.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    calls: usize,
    asleep: bool,
    closed: bool,
}

/// While it lives, ticks come.
pub(crate) struct Ticking<'a> {
    shared: &'a Shared,
}

impl Ticker {
    /// Starts the thread for `engine`.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Ticker> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                calls: 0,
                asleep: false,
                closed: false,
            }),
            changed: Condvar::new(),
        });
        let engine = engine.weak();
        let own = Arc::clone(&shared);
        thread::Builder::new()
            .name("wasm-ticker".to_owned())
            .spawn(move || own.tick(&engine))?;
        Ok(Ticker { shared })
    }

    /// Ticks come until the returned guard is dropped.
    pub(crate) fn begin(&self) -> Ticking<'_> {
        let mut state = self.shared.state.lock();
        state.calls += 1;
        if state.asleep {
            state.asleep = false;
            self.shared.changed.notify_one();
        }
        Ticking {
            shared: &self.shared,
        }
    }

    /// The number of ticks that are at least `time`. The first may come at once, so it does not count.
    pub(crate) fn ticks(time: Duration) -> u64 {
        let ticks = time.as_nanos().div_ceil(TICK.as_nanos()) + 1;
        u64::try_from(ticks)
            .unwrap_or(u64::MAX / 2)
            .min(u64::MAX / 2)
    }
}

impl Shared {
    fn tick(&self, engine: &EngineWeak) {
        let mut idle = 0;
        let mut state = self.state.lock();
        while !state.closed {
            if state.calls == 0 && idle == IDLE_TICKS {
                state.asleep = true;
                self.changed
                    .wait_while(&mut state, |state| state.asleep && !state.closed);
                idle = 0;
            }
            self.changed.wait_for(&mut state, TICK);
            idle = if state.calls == 0 { idle + 1 } else { 0 };
            let Some(engine) = engine.upgrade() else {
                return;
            };
            engine.increment_epoch();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.state.lock().closed = true;
        self.shared.changed.notify_one();
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.shared.state.lock().calls -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_shorter_than_asked() {
        assert_eq!(Ticker::ticks(Duration::from_millis(1)), 2);
        assert_eq!(Ticker::ticks(Duration::from_millis(5)), 2);
        assert_eq!(Ticker::ticks(Duration::from_secs(1)), 201);
        assert_eq!(Ticker::ticks(Duration::MAX), u64::MAX / 2);
    }
}
