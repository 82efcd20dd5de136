//! PURE: the life of one run of a task, and what it is told next.
//!
//! ```text
//!            start            started             pause / resume
//!  Stopped ────────▶ Starting ───────▶ Running ◀──────────────────▶ Paused
//!     ▲                  │                │                            │
//!     │   ended          └───── stop ─────┴─────────── stop ───────────┘
//!     ├──────────────────────────────── (still there until it says so)
//!     │   restart is due, or asked for
//!     └──────── Failed ◀── ended by itself, with a reason ── Completed: read to its end
//! ```
//!
//! Invariants:
//! 1. A run is started only when no other run of the same task is there.
//! 2. A run is told a thing once: `told` is the last thing.

use crate::supervisor::FailureClass;

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No run.
    Stopped,
    /// Its thread runs, the connector has not started yet.
    Starting,
    /// Records flow.
    Running,
    /// It waits.
    Paused,
    /// It ended with a reason.
    Failed,
    /// It ended because there is no more to read.
    Completed,
}

/// What a run is told to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    Run,
    Pause,
    Stop,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// As it was told.
    Stopped,
    /// There is no more to read.
    Completed,
    /// With a reason.
    Failed { class: FailureClass, trace: String },
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Start a new run, paused or not.
    Start { paused: bool },
    /// Tell the present run.
    Tell(Control),
    /// Forget the task.
    Forget,
    /// Wait for what comes.
    Wait,
}

/// The next step of a task that is wanted (`Some(paused)`) or not, given where its run is and what it was told.
/// `stale`: the present run is to give way to a new one.
pub(crate) fn next(phase: Phase, told: Control, wanted: Option<bool>, stale: bool) -> Step {
    match (phase, wanted) {
        (Phase::Stopped | Phase::Failed | Phase::Completed, None) => Step::Forget,
        (Phase::Stopped, Some(paused)) => Step::Start { paused },
        (Phase::Failed | Phase::Completed, Some(paused)) if stale => Step::Start { paused },
        (Phase::Failed | Phase::Completed, Some(_)) => Step::Wait,
        (Phase::Starting | Phase::Running | Phase::Paused, wanted) => {
            let control = match wanted {
                None => Control::Stop,
                Some(_) if stale => Control::Stop,
                Some(true) => Control::Pause,
                Some(false) => Control::Run,
            };
            // A run that was told to stop cannot be called back: it ends, and a new one starts.
            if told == control || told == Control::Stop {
                Step::Wait
            } else {
                Step::Tell(control)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHASES: [Phase; 6] = [
        Phase::Stopped,
        Phase::Starting,
        Phase::Running,
        Phase::Paused,
        Phase::Failed,
        Phase::Completed,
    ];

    #[test]
    fn a_second_run_never_starts_beside_the_first() {
        for phase in PHASES {
            for told in [Control::Run, Control::Pause, Control::Stop] {
                for wanted in [None, Some(false), Some(true)] {
                    for stale in [false, true] {
                        let step = next(phase, told, wanted, stale);
                        let alive =
                            matches!(phase, Phase::Starting | Phase::Running | Phase::Paused);
                        let starts = matches!(step, Step::Start { .. } | Step::Forget);
                        assert!(
                            !(alive && starts),
                            "{phase:?} {told:?} {wanted:?} {stale}: {step:?}"
                        );
                        assert!(!(told == Control::Stop && matches!(step, Step::Tell(_))));
                        assert!(alive || !matches!(step, Step::Tell(_)));
                    }
                }
            }
        }
    }

    #[test]
    fn wishes_are_told_once() {
        assert_eq!(
            next(Phase::Running, Control::Run, Some(true), false),
            Step::Tell(Control::Pause)
        );
        assert_eq!(
            next(Phase::Running, Control::Pause, Some(true), false),
            Step::Wait
        );
        assert_eq!(
            next(Phase::Paused, Control::Pause, Some(false), false),
            Step::Tell(Control::Run)
        );
        assert_eq!(
            next(Phase::Running, Control::Run, Some(false), true),
            Step::Tell(Control::Stop)
        );
        assert_eq!(
            next(Phase::Failed, Control::Run, Some(false), false),
            Step::Wait
        );
        assert_eq!(
            next(Phase::Failed, Control::Run, Some(false), true),
            Step::Start { paused: false }
        );
    }
}
