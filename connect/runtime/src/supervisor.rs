//! PURE: whether and when a failed task starts again.
//!
//! | failure | then |
//! |---|---|
//! | the log or the outside world was away, a panic, a hang | again after 1 s, 2 s, 4 s, … 5 min, each up to a quarter longer |
//! | …more often than the budget within an hour | stays FAILED (quarantine) |
//! | a record, a configuration, a fence, anything declared fatal | stays FAILED: no restart can help |
//!
//! Times are milliseconds of any monotone clock; `jitter` is a random number in `[0, 1)` from the caller.

use std::collections::VecDeque;

const HOUR_MS: u64 = 3_600_000;
/// A task that ran this long is healthy: its next failure is a first one.
const HEALTHY_AFTER_MS: u64 = 600_000;

/// Why a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureClass {
    /// May work later.
    Transient,
    /// A record.
    Data,
    /// A configuration value.
    Config,
    /// No retry helps; a fenced task too.
    Fatal,
    /// The connector's code panicked.
    Panic,
    /// A call did not return.
    Hang,
}

impl FailureClass {
    fn restarts(self) -> bool {
        matches!(self, Self::Transient | Self::Panic | Self::Hang)
    }
}

/// How often and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RestartPolicy {
    pub(crate) backoff_ms: u64,
    pub(crate) backoff_max_ms: u64,
    pub(crate) per_hour_max: usize,
}

/// What happens after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Start again at this time.
    RestartAt(u64),
    /// No restart can help.
    Stay,
    /// Restarts were tried too often.
    Quarantine,
}

/// The history of one task.
#[derive(Debug, Clone, Default)]
pub(crate) struct Supervision {
    /// Times of restarts within the last hour.
    restarts: VecDeque<u64>,
    /// Failures since the task was last healthy.
    streak: u32,
    /// When it last began to run.
    running_since: Option<u64>,
}

impl Supervision {
    /// The task runs.
    pub(crate) fn running(&mut self, now: u64) {
        self.running_since.get_or_insert(now);
    }

    /// The task failed.
    pub(crate) fn failed(
        &mut self,
        class: FailureClass,
        policy: RestartPolicy,
        now: u64,
        jitter: f64,
    ) -> Verdict {
        if self
            .running_since
            .take()
            .is_some_and(|since| now.saturating_sub(since) >= HEALTHY_AFTER_MS)
        {
            self.streak = 0;
        }
        if !class.restarts() {
            return Verdict::Stay;
        }
        while self
            .restarts
            .front()
            .is_some_and(|at| at.saturating_add(HOUR_MS) <= now)
        {
            self.restarts.pop_front();
        }
        if self.restarts.len() >= policy.per_hour_max {
            return Verdict::Quarantine;
        }
        let doubled = policy
            .backoff_ms
            .saturating_mul(1u64.checked_shl(self.streak).unwrap_or(u64::MAX));
        let pause = doubled.min(policy.backoff_max_ms);
        let longer = (pause as f64 * 0.25 * jitter.clamp(0.0, 1.0)) as u64;
        self.streak = self.streak.saturating_add(1);
        let at = now.saturating_add(pause).saturating_add(longer);
        self.restarts.push_back(at);
        Verdict::RestartAt(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RestartPolicy = RestartPolicy {
        backoff_ms: 1000,
        backoff_max_ms: 300_000,
        per_hour_max: 12,
    };

    #[test]
    fn pauses_double_up_to_the_maximum_and_then_quarantine() {
        let mut supervision = Supervision::default();
        let mut now = 0;
        let mut pauses = Vec::new();
        let last = loop {
            supervision.running(now);
            match supervision.failed(FailureClass::Panic, POLICY, now, 0.0) {
                Verdict::RestartAt(at) => {
                    pauses.push((at - now) / 1000);
                    now = at;
                }
                other => break other,
            }
        };
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(last, Verdict::Quarantine);
        assert!(matches!(
            supervision.failed(FailureClass::Hang, POLICY, now + HOUR_MS, 0.0),
            Verdict::RestartAt(_)
        ));
    }

    #[test]
    fn a_healthy_period_forgives() {
        let mut supervision = Supervision::default();
        supervision.failed(FailureClass::Transient, POLICY, 0, 0.0);
        supervision.failed(FailureClass::Transient, POLICY, 0, 0.0);
        supervision.running(10);
        let now = 10 + HEALTHY_AFTER_MS;
        assert_eq!(
            supervision.failed(FailureClass::Transient, POLICY, now, 0.999),
            Verdict::RestartAt(now + 1249)
        );
    }

    #[test]
    fn what_no_restart_helps_stays() {
        for class in [
            FailureClass::Data,
            FailureClass::Config,
            FailureClass::Fatal,
        ] {
            assert_eq!(
                Supervision::default().failed(class, POLICY, 0, 0.5),
                Verdict::Stay
            );
        }
    }
}
