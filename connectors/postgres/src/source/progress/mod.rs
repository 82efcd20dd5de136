//! PURE: how far the stream is: what is new, what came before, what may be acknowledged, and when a quiet stream moves.
//!
//! ```text
//!   begin ─▶ event 1 ─▶ event 2 ─▶ … ─▶ commit          keepalive (between transactions)
//!     │        │           │              │                 │
//!     └────────┴───────────┴──────────────┴─────────────────┴──▶ Position: handed out with the records behind it
//!                                                                   │ stored with them in the log
//!                                                                   ▼
//!                                                               committed ──▶ acknowledged to the server
//! ```
//!
//! The server sends whole transactions in the order of their commits, and after a reconnect every transaction that was
//! not acknowledged again. A position is therefore the end of the last transaction that is done, and for a transaction
//! that is handed out in parts how many of its messages are: positions of changes alone do not tell, because rows that
//! were written by one COPY share theirs.
//!
//! Invariants:
//! 1. acknowledged ≤ stored ≤ received: the server throws away what is acknowledged.
//! 2. A transaction that ends at or before `received.end` is passed over, and so are the messages of an unfinished one
//!    that were handed out.
//! 3. A keepalive moves the position only between transactions, where everything before it was received, and only once
//!    the stream is quiet: when it comes is chance, and records tell the end of the transaction before theirs.

use super::lsn::Lsn;

/// A quiet stream asks at most this often to have its position stored.
const QUIET_MS: u64 = 10_000;

/// Where to go on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Everything that was committed before is done.
    pub(super) end: Lsn,
    /// What is done of the transaction that follows.
    pub(super) inside: Option<Inside>,
}

/// Part of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inside {
    /// Its id.
    pub(super) xid: u32,
    /// Position of the last change that is done.
    pub(super) lsn: Lsn,
    /// Messages that are done, begin counted; `None` where Debezium stored the position, which tells only `lsn`.
    pub(super) messages: Option<u64>,
}

/// Whether a message is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is.
    New,
    /// It was handed out before.
    Known,
}

/// What of the open transaction was handed out before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skip {
    Nothing,
    All,
    Messages(u64),
    UpTo(Lsn),
}

struct Open {
    xid: u32,
    messages: u64,
    skip: Skip,
}

/// The state of one stream, kept over reconnects.
pub(super) struct Progress {
    /// Where the stream resumed, until its first transactions are past.
    resume: Position,
    received: Position,
    /// The server has sent everything before.
    sent: Lsn,
    open: Option<Open>,
    /// What was last offered to be stored.
    offered: Position,
    offered_at_ms: u64,
    stored: Lsn,
    acknowledged: Lsn,
}

impl Progress {
    /// A stream that resumes at a position, which may still be on its way to the log; everything before `stored` is in
    /// it.
    pub(super) fn new(resume: Position, stored: Lsn, now_ms: u64) -> Self {
        let stored = stored.min(resume.end);
        Self {
            resume,
            received: resume,
            sent: resume.end,
            open: None,
            offered: resume,
            offered_at_ms: now_ms,
            stored,
            acknowledged: stored,
        }
    }

    /// A transaction begins whose commit record begins at `final_lsn`.
    pub(super) fn begin(&mut self, final_lsn: Lsn, xid: u32) -> Verdict {
        let skip = match self.resume.inside {
            // The commit record begins before the end of one that is done: it is that one, or an earlier one.
            _ if final_lsn < self.received.end => Skip::All,
            Some(inside) if inside.xid == xid => match inside.messages {
                Some(messages) => Skip::Messages(messages),
                None => Skip::UpTo(inside.lsn),
            },
            _ => Skip::Nothing,
        };
        self.open = Some(Open {
            xid,
            messages: 0,
            skip,
        });
        self.message(None)
    }

    /// A message within the open transaction.
    pub(super) fn event(&mut self, lsn: Lsn) -> Verdict {
        self.message(Some(lsn))
    }

    fn message(&mut self, lsn: Option<Lsn>) -> Verdict {
        let Some(open) = &mut self.open else {
            return Verdict::New;
        };
        open.messages += 1;
        let known = match open.skip {
            Skip::Nothing => false,
            Skip::All => true,
            Skip::Messages(done) => open.messages <= done,
            Skip::UpTo(done) => lsn.is_none_or(|lsn| lsn <= done),
        };
        if known {
            return Verdict::Known;
        }
        self.received.inside = Some(Inside {
            xid: open.xid,
            lsn: lsn.unwrap_or_default(),
            messages: Some(open.messages),
        });
        self.check_invariants();
        Verdict::New
    }

    /// The open transaction ends; the commit record ends at `end`.
    pub(super) fn commit(&mut self, end: Lsn) -> Verdict {
        let known = self.open.take().is_some_and(|open| open.skip == Skip::All);
        if known {
            return Verdict::Known;
        }
        self.resume.inside = None;
        self.received = Position {
            end: end.max(self.received.end),
            inside: None,
        };
        self.check_invariants();
        Verdict::New
    }

    /// A message that stands outside of transactions, at `lsn`.
    pub(super) fn lone(&mut self, lsn: Lsn) -> Verdict {
        if lsn < self.received.end {
            return Verdict::Known;
        }
        self.received = Position {
            end: lsn.next(),
            inside: self.resume.inside,
        };
        Verdict::New
    }

    /// The server says that it has sent everything before `wal_end`.
    pub(super) fn keepalive(&mut self, wal_end: Lsn) {
        if self.open.is_none() {
            self.sent = self.sent.max(wal_end);
        }
    }

    /// Moves up to where the server has sent everything.
    pub(super) fn settle(&mut self) {
        if self.open.is_none() && self.sent > self.received.end {
            self.received = Position {
                end: self.sent,
                // The transaction that was handed out in part is still to come again.
                inside: self.resume.inside,
            };
        }
        self.check_invariants();
    }

    /// Where the stream is behind the last message.
    pub(super) fn position(&self) -> Position {
        self.received
    }

    /// Everything that was committed before came, unless a transaction is open.
    pub(super) fn passed(&self) -> Lsn {
        self.sent.max(self.received.end)
    }

    /// Whether a transaction is open.
    pub(super) fn in_transaction(&self) -> bool {
        self.open.is_some()
    }

    /// These records go out with this position.
    pub(super) fn offered(&mut self, position: Position, now_ms: u64) {
        self.offered = position;
        self.offered_at_ms = now_ms;
    }

    /// The position behind everything that went out.
    pub(super) fn last_offered(&self) -> Position {
        self.offered
    }

    /// Nothing is waiting to go out: the position to have stored by itself, if it is time. The end of a transaction
    /// whose parts went out is due at once, everything else at intervals.
    pub(super) fn quiet(&mut self, now_ms: u64) -> Option<Position> {
        if self.open.is_some() {
            return None;
        }
        let ended = self.offered.inside.is_some() && self.received.inside.is_none();
        if !ended {
            if now_ms.saturating_sub(self.offered_at_ms) < QUIET_MS {
                return None;
            }
            self.settle();
        }
        if self.received == self.offered {
            return None;
        }
        self.offered(self.received, now_ms);
        Some(self.received)
    }

    /// A position is on disk; returns what may be acknowledged from now on.
    pub(super) fn committed(&mut self, end: Lsn) -> Lsn {
        self.stored = self.stored.max(end);
        self.acknowledged = self.stored;
        self.check_invariants();
        self.acknowledged
    }

    /// What may be acknowledged.
    pub(super) fn acknowledged(&self) -> Lsn {
        self.acknowledged
    }

    /// The connection broke: the same transactions come again from here. `delivered` is behind the last records that
    /// went out; what was received behind it is forgotten.
    pub(super) fn reconnect(&mut self) {
        self.open = None;
        self.sent = self.offered.end;
        self.resume = self.offered;
        self.received = self.offered;
        self.check_invariants();
    }

    /// Where to ask the server to begin.
    pub(super) fn start(&self) -> Lsn {
        self.received.end
    }

    fn check_invariants(&self) {
        debug_assert!(self.acknowledged <= self.stored, "invariant 1");
        debug_assert!(
            self.stored <= self.received.end,
            "invariant 1: {} was stored, {} received",
            self.stored,
            self.received.end
        );
    }
}

#[cfg(test)]
mod tests;
