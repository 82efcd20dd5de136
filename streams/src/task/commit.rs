//! PURE. The commit protocol of a task: when a commit is due, and what follows from how each step went.
//!
//! ```text
//!  Gathering ──due──▶ Writing ──committed──▶ Applying ──applied──▶ Gathering (next number)
//!                        │ aborted, fenced, unknown │ store failed
//!                        └────────────┬─────────────┘
//!                                     ▼
//!                                  Broken      one path for all: open the id again, restore, seek back
//! ```
//!
//! 1. While rows flow, a commit is due `interval` after the first row since the last one, or at once when the delta
//!    outgrows `dirty_bytes_max`, or the room in memory.
//! 2. When the sources have nothing more, a commit is due [`IDLE_MS`] after the first row, but not sooner than
//!    [`PAUSE_FACTOR`] times what the last commit took: a slow disk is not kept busy by single rows.
//! 3. Nothing moved: no commit, but for one after [`RECOMMIT_MS`]: offsets of a group expire. Until then the task may rest.
//! 4. The local store is written only after the log has said that the transaction is committed. Without an answer
//!    nothing is applied and nothing rolled back.
//!
//! Invariants:
//! - applied ≤ committed ≤ applied + 1 (numbers of commits); equal in `Gathering`.
//! - A broken task makes no further step.

/// How long after the sources have fallen silent a commit is due, ms.
pub(crate) const IDLE_MS: i64 = 20;
/// The pause between commits of an idle task, in multiples of the last commit's duration.
pub(crate) const PAUSE_FACTOR: i64 = 4;
/// How long positions stay without being committed again, ms: a day of the seven after which a log drops them.
const RECOMMIT_MS: i64 = 24 * 60 * 60 * 1_000;

/// Where a commit stands, in the order of travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Rows are taken in.
    Gathering,
    /// The transaction is being written.
    Writing,
    /// The transaction is committed, the store is being written.
    Applying,
    /// The way back leads through recovery.
    Broken,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Commit.
    Commit,
    /// Go on reading; wait for rows at most this long (ms).
    Read(i64),
}

/// How the transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is committed.
    Committed,
    /// It is not, or nobody knows.
    NotCommitted,
}

/// What is known when a decision is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Situation {
    /// ms.
    pub(crate) now_ms: i64,
    /// The sources had nothing to give when they were last asked.
    pub(crate) is_idle: bool,
    /// Size of what the next commit writes, about.
    pub(crate) dirty_bytes: usize,
    /// So much of that there is room for in memory.
    pub(crate) room_bytes: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Commit {
    interval_ms: i64,
    dirty_bytes_max: usize,
    phase: Phase,
    committed: u64,
    applied: u64,
    /// When something first moved since the last commit.
    moved_ms: Option<i64>,
    started_ms: i64,
    last_end_ms: i64,
    last_took_ms: i64,
}

impl Commit {
    /// A task that stands at commit `number` and begins now.
    pub(crate) fn new(interval_ms: i64, dirty_bytes_max: usize, number: u64, now_ms: i64) -> Self {
        Self {
            interval_ms,
            dirty_bytes_max,
            phase: Phase::Gathering,
            committed: number,
            applied: number,
            moved_ms: None,
            started_ms: 0,
            last_end_ms: now_ms,
            last_took_ms: 0,
        }
    }

    /// The number of the last commit that is in the store.
    pub(crate) fn number(&self) -> u64 {
        self.applied
    }

    /// Where the commit stands.
    #[cfg(test)]
    fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether there is something to commit.
    pub(crate) fn has_moved(&self) -> bool {
        self.moved_ms.is_some()
    }

    /// A row was read, a window closed, a position went on.
    pub(crate) fn moved(&mut self, now_ms: i64) {
        self.moved_ms.get_or_insert(now_ms);
    }

    /// Decides what to do now.
    pub(crate) fn decide(&self, situation: Situation) -> Decision {
        let Some(moved_ms) = self.moved_ms else {
            let rest_ms = RECOMMIT_MS - (situation.now_ms - self.last_end_ms);
            return if rest_ms > 0 {
                Decision::Read(rest_ms)
            } else {
                Decision::Commit
            };
        };
        let due = if situation.dirty_bytes >= self.dirty_bytes_max.min(situation.room_bytes) {
            situation.now_ms
        } else if situation.is_idle {
            let soon =
                (moved_ms + IDLE_MS).max(self.last_end_ms + PAUSE_FACTOR * self.last_took_ms);
            soon.min(moved_ms + self.interval_ms)
        } else {
            moved_ms + self.interval_ms
        };
        if due <= situation.now_ms {
            Decision::Commit
        } else {
            Decision::Read(due - situation.now_ms)
        }
    }

    /// The transaction is about to be written; gives the commit's number.
    pub(crate) fn begin(&mut self, now_ms: i64) -> u64 {
        assert_eq!(self.phase, Phase::Gathering, "one commit at a time");
        self.phase = Phase::Writing;
        self.started_ms = now_ms;
        self.check_invariants();
        self.committed + 1
    }

    /// The log has answered, or not.
    pub(crate) fn written(&mut self, outcome: Written) {
        assert_eq!(self.phase, Phase::Writing, "an answer follows a question");
        match outcome {
            Written::Committed => {
                self.committed += 1;
                self.phase = Phase::Applying;
            }
            Written::NotCommitted => self.phase = Phase::Broken,
        }
        self.check_invariants();
    }

    /// The store has taken the delta, or failed.
    pub(crate) fn applied(&mut self, ok: bool, now_ms: i64) {
        assert_eq!(self.phase, Phase::Applying, "the store follows the log");
        if ok {
            self.applied = self.committed;
            self.phase = Phase::Gathering;
            self.moved_ms = None;
            self.last_end_ms = now_ms;
            self.last_took_ms = now_ms.saturating_sub(self.started_ms).max(0);
        } else {
            self.phase = Phase::Broken;
        }
        self.check_invariants();
    }

    fn check_invariants(&self) {
        debug_assert!(self.applied <= self.committed && self.committed <= self.applied + 1);
        debug_assert!(self.phase != Phase::Gathering || self.applied == self.committed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(now_ms: i64, is_idle: bool) -> Situation {
        Situation {
            now_ms,
            is_idle,
            dirty_bytes: 0,
            room_bytes: usize::MAX,
        }
    }

    #[test]
    fn nothing_moved_no_commit_but_one_a_day() {
        let commit = Commit::new(200, 1000, 0, 0);
        for now in [0, 1_000, RECOMMIT_MS - 1] {
            let rest = Decision::Read(RECOMMIT_MS - now);
            assert_eq!(commit.decide(at(now, true)), rest);
        }
        assert_eq!(commit.decide(at(RECOMMIT_MS, true)), Decision::Commit);
    }

    #[test]
    fn under_load_once_an_interval() {
        let mut commit = Commit::new(200, 1000, 0, 0);
        commit.moved(50);
        commit.moved(90);
        assert_eq!(commit.decide(at(100, false)), Decision::Read(150));
        assert_eq!(commit.decide(at(250, false)), Decision::Commit);
    }

    #[test]
    fn soon_once_the_sources_are_silent() {
        let mut commit = Commit::new(200, 1000, 0, 0);
        commit.moved(50);
        assert_eq!(commit.decide(at(55, true)), Decision::Read(15));
        assert_eq!(commit.decide(at(70, true)), Decision::Commit);
    }

    #[test]
    fn a_slow_disk_is_left_alone() {
        let mut commit = Commit::new(200, 1000, 0, 0);
        commit.moved(0);
        commit.begin(20);
        commit.written(Written::Committed);
        commit.applied(true, 50);
        commit.moved(51);
        assert_eq!(
            commit.decide(at(71, true)),
            Decision::Read(50 + 4 * 30 - 71)
        );
        assert_eq!(commit.decide(at(170, true)), Decision::Commit);
    }

    #[test]
    fn at_once_when_memory_fills_up() {
        let mut commit = Commit::new(200, 1000, 0, 0);
        commit.moved(50);
        let decide = |dirty_bytes, room_bytes| {
            commit.decide(Situation {
                dirty_bytes,
                room_bytes,
                ..at(51, false)
            })
        };
        assert_eq!(decide(1000, usize::MAX), Decision::Commit);
        assert_eq!(decide(999, usize::MAX), Decision::Read(199));
        assert_eq!(decide(500, 500), Decision::Commit);
    }

    #[test]
    fn the_store_follows_the_log_and_never_leads() {
        let mut commit = Commit::new(200, 1000, 7, 0);
        assert_eq!(commit.begin(0), 8);
        assert_eq!(commit.number(), 7);
        commit.written(Written::Committed);
        assert_eq!((commit.number(), commit.phase()), (7, Phase::Applying));
        commit.applied(true, 1);
        assert_eq!((commit.number(), commit.phase()), (8, Phase::Gathering));
        commit.begin(2);
        commit.written(Written::NotCommitted);
        assert_eq!((commit.number(), commit.phase()), (8, Phase::Broken));
    }

    #[test]
    fn a_failed_store_breaks_the_task() {
        let mut commit = Commit::new(200, 1000, 0, 0);
        commit.begin(0);
        commit.written(Written::Committed);
        commit.applied(false, 1);
        assert_eq!((commit.number(), commit.phase()), (0, Phase::Broken));
    }
}
