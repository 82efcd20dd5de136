//! PURE. The life of a job's thread: when it runs, when it starts over, when it gives up.
//!
//! ```text
//!  Starting ──▶ Running ◀──▶ Recovering         every way back into Running is the same: fence, restore, check, seek
//!      │           │              │
//!      └───────────┴──────┬───────┴──▶ Failed   terminal cause: waits for a person
//!                         └──────────▶ Stopped  asked for
//! ```
//!
//! Invariants:
//! 1. Only [`JobState::may_become`] moves happen; `Failed` and `Stopped` are final.
//! 2. The pause before a new attempt doubles up to [`BACKOFF_MS_MAX`] and starts over after a commit.
//! 3. Whoever is fenced [`FENCED_MAX`] times without a commit in between gives way: somebody else runs the job.

use std::fmt;

/// The first pause before a new attempt.
pub(crate) const BACKOFF_MS_FIRST: u64 = 100;
/// The longest pause.
pub(crate) const BACKOFF_MS_MAX: u64 = 10_000;
/// How often in a row a job lets itself be fenced.
pub(crate) const FENCED_MAX: u32 = 3;

/// Where a job is in its life, in the order of travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobState {
    /// Being opened for the first time.
    Starting,
    /// Reads, computes, commits.
    Running,
    /// Something broke; it goes back to the last commit and tries again.
    Recovering,
    /// It cannot go on by itself; the error says why.
    Failed,
    /// It was asked to end.
    Stopped,
}

impl JobState {
    /// Whether this is a legal move.
    pub fn may_become(self, next: Self) -> bool {
        use JobState::{Failed, Recovering, Running, Starting, Stopped};
        matches!(
            (self, next),
            (Starting, Running | Recovering | Failed | Stopped)
                | (Running, Recovering | Failed | Stopped)
                | (Recovering, Running | Recovering | Failed | Stopped)
        )
    }

    /// Whether nothing comes after it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Failed | Self::Stopped)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Recovering => "RECOVERING",
            Self::Failed => "FAILED",
            Self::Stopped => "STOPPED",
        })
    }
}

/// What happened to the thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// It stands where the last commit left it, and reads on.
    Opened,
    /// A commit went through.
    Committed,
    /// It broke in a way that may pass.
    Broke,
    /// Somebody else took the job over.
    Fenced,
    /// It broke in a way that does not pass.
    Died,
    /// It was asked to end, and has.
    Ended,
}

/// What the thread is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// Go on.
    Run,
    /// Wait this long (ms), then open again.
    Retry(u64),
    /// Leave.
    Leave,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    state: JobState,
    attempts: u32,
    fenced: u32,
}

impl Lifecycle {
    /// A job that is about to be opened.
    pub(crate) fn new() -> Self {
        Self {
            state: JobState::Starting,
            attempts: 0,
            fenced: 0,
        }
    }

    /// Where the job is.
    pub(crate) fn state(&self) -> JobState {
        self.state
    }

    /// Takes an event; the one place where the state changes.
    pub(crate) fn transition(&mut self, event: Event) -> Command {
        if self.state.is_final() {
            return Command::Leave;
        }
        let (next, command) = match event {
            Event::Opened => (JobState::Running, Command::Run),
            Event::Committed => {
                self.attempts = 0;
                self.fenced = 0;
                return Command::Run;
            }
            Event::Fenced if self.fenced + 1 >= FENCED_MAX => (JobState::Failed, Command::Leave),
            Event::Broke | Event::Fenced => {
                self.fenced += u32::from(event == Event::Fenced);
                let pause = BACKOFF_MS_FIRST
                    .saturating_mul(1 << self.attempts.min(20))
                    .min(BACKOFF_MS_MAX);
                self.attempts += 1;
                (JobState::Recovering, Command::Retry(pause))
            }
            Event::Died => (JobState::Failed, Command::Leave),
            Event::Ended => (JobState::Stopped, Command::Leave),
        };
        assert!(
            next == self.state || self.state.may_become(next),
            "a job does not go from {} to {next}",
            self.state
        );
        self.state = next;
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_start_over_after_a_commit() {
        let mut life = Lifecycle::new();
        assert_eq!(life.transition(Event::Opened), Command::Run);
        assert_eq!(life.transition(Event::Broke), Command::Retry(100));
        assert_eq!(life.transition(Event::Broke), Command::Retry(200));
        assert_eq!(life.state(), JobState::Recovering);
        assert_eq!(life.transition(Event::Opened), Command::Run);
        // Opening alone is no progress: a job that breaks at its first commit must not spin.
        assert_eq!(life.transition(Event::Broke), Command::Retry(400));
        for _ in 0..40 {
            life.transition(Event::Broke);
        }
        assert_eq!(
            life.transition(Event::Broke),
            Command::Retry(BACKOFF_MS_MAX)
        );
        life.transition(Event::Opened);
        life.transition(Event::Committed);
        assert_eq!(life.transition(Event::Broke), Command::Retry(100));
    }

    #[test]
    fn gives_way_when_fenced_again_and_again() {
        let mut life = Lifecycle::new();
        life.transition(Event::Opened);
        for _ in 1..FENCED_MAX {
            assert!(matches!(life.transition(Event::Fenced), Command::Retry(_)));
            life.transition(Event::Opened);
        }
        assert_eq!(life.transition(Event::Fenced), Command::Leave);
        assert_eq!(life.state(), JobState::Failed);
    }

    #[test]
    fn every_sequence_of_events_makes_legal_moves() {
        const EVENTS: [Event; 6] = [
            Event::Opened,
            Event::Committed,
            Event::Broke,
            Event::Fenced,
            Event::Died,
            Event::Ended,
        ];
        for number in 0..6usize.pow(5) {
            let mut life = Lifecycle::new();
            let mut rest = number;
            for _ in 0..5 {
                let before = life.state();
                let command = life.transition(EVENTS[rest % 6]);
                assert!(before == life.state() || before.may_become(life.state()));
                assert_eq!(command == Command::Leave, life.state().is_final());
                rest /= 6;
            }
        }
    }
}
