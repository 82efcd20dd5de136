//! PURE: what a task does when it starts, from the stored offset, the slot and the snapshot mode.
//!
//! ```text
//! slot \ offset    none                      unfinished snapshot       streaming
//! missing          make the slot, snapshot   slot-missing              slot-missing
//! usable           snapshot, slot as it is   finish the snapshot       stream; slot ahead of it: offset-behind
//! lost             slot-lost                 slot-lost                 slot-lost
//! ```
//!
//! `when_needed` makes the slot anew and reads all tables where the others fail.

use super::config::{Mismatch, SnapshotMode};
use super::lsn::Lsn;
use super::offset::{Offset, Snapshot};

/// A slot as it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slot {
    /// There is none of this name.
    Missing,
    /// What it needs of the write-ahead log is gone, and why.
    Lost(String),
    /// It can be streamed from its confirmed position.
    Usable(Lsn),
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// Nothing is left to do.
    Finished,
    /// Read tables, then stream from `from` (unless snapshots are all there is).
    Read {
        /// What becomes of the slot first.
        slot: SlotAction,
        /// Go on with the snapshot whose scans are stored.
        resume: bool,
        /// Where the stream starts; `None` = where the slot is.
        from: Option<Lsn>,
    },
    /// Stream.
    Stream {
        /// What becomes of the slot first.
        slot: SlotAction,
        /// From the stored position, else from where the slot is.
        stored: bool,
    },
}

/// What becomes of the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotAction {
    /// No slot is needed.
    None,
    /// It is used as it is.
    Keep,
    /// It is made.
    Create,
    /// It is dropped and made.
    Recreate,
}

/// Why a task cannot start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is an offset and no slot.
    SlotMissing,
    /// The slot's log is gone.
    SlotLost(String),
    /// The slot is ahead of the offset.
    OffsetBehind {
        /// The offset's position.
        stored: Lsn,
        /// The slot's.
        confirmed: Lsn,
    },
}

/// Decides.
pub(super) fn plan(
    mode: SnapshotMode,
    mismatch: Mismatch,
    offset: Option<&Offset>,
    slot: &Slot,
) -> Result<Plan, Refusal> {
    let running = offset.is_some_and(|offset| offset.snapshot == Snapshot::Running);
    if mode == SnapshotMode::InitialOnly {
        return Ok(if offset.is_some() && !running {
            Plan::Finished
        } else {
            Plan::Read {
                slot: SlotAction::None,
                resume: running,
                from: None,
            }
        });
    }
    let fresh = |slot| Plan::Read {
        slot,
        resume: false,
        from: None,
    };
    let again = mode == SnapshotMode::WhenNeeded;
    let requested = running && offset.is_some_and(|offset| offset.request.is_some());
    match (slot, offset) {
        (Slot::Lost(_), _) if again => Ok(fresh(SlotAction::Recreate)),
        (Slot::Lost(reason), _) => Err(Refusal::SlotLost(reason.clone())),
        (Slot::Missing, None) if mode == SnapshotMode::NoData => Ok(Plan::Stream {
            slot: SlotAction::Create,
            stored: false,
        }),
        (Slot::Missing, offset) if again || offset.is_none() => Ok(fresh(SlotAction::Create)),
        (Slot::Missing, _) => Err(Refusal::SlotMissing),
        (Slot::Usable(_), None) if mode == SnapshotMode::NoData => Ok(Plan::Stream {
            slot: SlotAction::Keep,
            stored: false,
        }),
        (Slot::Usable(_), None) => Ok(fresh(SlotAction::Keep)),
        (Slot::Usable(confirmed), Some(offset)) => {
            let stored = offset.position.end;
            let behind = *confirmed > stored;
            if behind && again {
                return Ok(fresh(SlotAction::Keep));
            }
            if behind && mismatch == Mismatch::TrustOffset {
                return Err(Refusal::OffsetBehind {
                    stored,
                    confirmed: *confirmed,
                });
            }
            let read = |resume| Plan::Read {
                slot: SlotAction::Keep,
                resume,
                from: (!behind).then_some(stored),
            };
            Ok(match mode {
                _ if requested => read(true),
                SnapshotMode::NoData => Plan::Stream {
                    slot: SlotAction::Keep,
                    stored: !behind,
                },
                _ if running => read(true),
                SnapshotMode::Always => read(false),
                _ => Plan::Stream {
                    slot: SlotAction::Keep,
                    stored: !behind,
                },
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::progress::Position;
    use crate::source::signal::Request;
    use SnapshotMode::{Always, Initial, InitialOnly, NoData, WhenNeeded};

    fn offset(snapshot: Snapshot) -> Offset {
        Offset {
            position: Position {
                end: Lsn(100),
                inside: None,
            },
            snapshot,
            scans: Vec::new(),
            incremental: None,
            request: None,
            origin: None,
            commit_us: 0,
        }
    }

    fn decide(mode: SnapshotMode, offset: Option<&Offset>, slot: &Slot) -> Result<Plan, Refusal> {
        plan(mode, Mismatch::TrustOffset, offset, slot)
    }

    fn read(slot: SlotAction, resume: bool, from: Option<u64>) -> Result<Plan, Refusal> {
        Ok(Plan::Read {
            slot,
            resume,
            from: from.map(Lsn),
        })
    }

    fn stream(slot: SlotAction, stored: bool) -> Result<Plan, Refusal> {
        Ok(Plan::Stream { slot, stored })
    }

    #[test]
    fn without_an_offset() {
        let lost = Slot::Lost("gone".to_owned());
        for mode in [Initial, Always, WhenNeeded] {
            assert_eq!(
                decide(mode, None, &Slot::Missing),
                read(SlotAction::Create, false, None)
            );
            assert_eq!(
                decide(mode, None, &Slot::Usable(Lsn(7))),
                read(SlotAction::Keep, false, None)
            );
        }
        assert_eq!(
            decide(NoData, None, &Slot::Missing),
            stream(SlotAction::Create, false)
        );
        assert_eq!(
            decide(NoData, None, &Slot::Usable(Lsn(7))),
            stream(SlotAction::Keep, false)
        );
        assert_eq!(
            decide(InitialOnly, None, &Slot::Missing),
            read(SlotAction::None, false, None)
        );
        assert_eq!(
            decide(Initial, None, &lost),
            Err(Refusal::SlotLost("gone".to_owned()))
        );
        assert_eq!(
            decide(WhenNeeded, None, &lost),
            read(SlotAction::Recreate, false, None)
        );
    }

    #[test]
    fn with_an_offset() {
        let (streaming, running, completed) = (
            offset(Snapshot::None),
            offset(Snapshot::Running),
            offset(Snapshot::Completed),
        );
        let usable = Slot::Usable(Lsn(100));
        for done in [&streaming, &completed] {
            for mode in [Initial, NoData, WhenNeeded] {
                assert_eq!(
                    decide(mode, Some(done), &usable),
                    stream(SlotAction::Keep, true)
                );
            }
            assert_eq!(
                decide(Always, Some(done), &usable),
                read(SlotAction::Keep, false, Some(100))
            );
            assert_eq!(decide(InitialOnly, Some(done), &usable), Ok(Plan::Finished));
        }
        for mode in [Initial, Always, WhenNeeded] {
            assert_eq!(
                decide(mode, Some(&running), &usable),
                read(SlotAction::Keep, true, Some(100))
            );
        }
        assert_eq!(
            decide(InitialOnly, Some(&running), &usable),
            read(SlotAction::None, true, None)
        );
    }

    #[test]
    fn what_a_signal_asked_for_is_read_in_every_mode() {
        let requested = Offset {
            request: Some(Request::default()),
            ..offset(Snapshot::Running)
        };
        for mode in [Initial, Always, NoData, WhenNeeded] {
            assert_eq!(
                decide(mode, Some(&requested), &Slot::Usable(Lsn(100))),
                read(SlotAction::Keep, true, Some(100))
            );
        }
    }

    #[test]
    fn what_is_lost_is_never_passed_over_in_silence() {
        let stored = offset(Snapshot::None);
        assert_eq!(
            decide(Initial, Some(&stored), &Slot::Missing),
            Err(Refusal::SlotMissing)
        );
        let ahead = Slot::Usable(Lsn(101));
        for mode in [Initial, NoData, Always] {
            assert_eq!(
                decide(mode, Some(&stored), &ahead),
                Err(Refusal::OffsetBehind {
                    stored: Lsn(100),
                    confirmed: Lsn(101)
                })
            );
        }
        assert_eq!(
            decide(WhenNeeded, Some(&stored), &ahead),
            read(SlotAction::Keep, false, None)
        );
        assert_eq!(
            plan(Initial, Mismatch::TrustSlot, Some(&stored), &ahead),
            stream(SlotAction::Keep, false)
        );
        assert_eq!(
            decide(WhenNeeded, Some(&stored), &Slot::Missing),
            read(SlotAction::Create, false, None)
        );
    }
}
