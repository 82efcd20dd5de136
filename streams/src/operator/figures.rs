//! What the operators of a running plan have done: for EXPLAIN ANALYZE, and for whoever looks where the time goes.

use std::time::{Duration, Instant};

use crate::OperatorId;

/// What one operator has done since its job was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperatorFigures {
    /// What its state is found by.
    pub id: OperatorId,
    /// Rows that came in, over all inputs.
    pub rows_in: u64,
    /// Rows that went out.
    pub rows_out: u64,
    /// How long it has computed, without those behind it.
    pub busy: Duration,
}

impl OperatorFigures {
    /// Of one that has done nothing yet.
    pub(super) fn none(id: OperatorId) -> Self {
        Self {
            id,
            rows_in: 0,
            rows_out: 0,
            busy: Duration::ZERO,
        }
    }

    /// Both together: of the same operator in two tokens.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            id: self.id,
            rows_in: self.rows_in + other.rows_in,
            rows_out: self.rows_out + other.rows_out,
            busy: self.busy + other.busy,
        }
    }
}

/// One call of an operator. What it emits is dealt with by those behind it before it goes on, which is not its time.
#[derive(Debug)]
pub(super) struct Call {
    began: Instant,
    elsewhere: Duration,
    rows_out: u64,
}

impl Call {
    pub(super) fn begin() -> Self {
        Self {
            began: Instant::now(),
            elsewhere: Duration::ZERO,
            rows_out: 0,
        }
    }

    /// The operator has emitted `rows`, which those behind it have dealt with since `began`.
    pub(super) fn emitted(&mut self, rows: usize, began: Instant) {
        self.rows_out += rows as u64;
        self.elsewhere += began.elapsed();
    }

    /// The call is over; it took `rows` in.
    pub(super) fn end(&self, rows: usize, figures: &mut OperatorFigures) {
        figures.rows_in += rows as u64;
        figures.rows_out += self.rows_out;
        figures.busy += self.began.elapsed().saturating_sub(self.elsewhere);
    }
}
