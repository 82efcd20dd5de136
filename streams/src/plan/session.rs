//! What session windows are: which rows of a partition belong together, and when a session is of the past.

use arrow::datatypes::SchemaRef;

use super::{EdgeProperties, Emit, LatePolicy};

/// Windows that end where a partition is silent. Adds `window_start`, `window_end` and `window_time`, as other windows do.
///
/// A session begins with its first row and ends a gap behind its last one; rows exactly one gap apart are of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSpec {
    /// Input columns that form the partition; NULL is one. Empty: all rows are one partition.
    pub partition_by: Vec<usize>,
    /// The time column of the input, Timestamp(µs).
    pub time_column: usize,
    /// How long a session outlasts its last row, µs.
    pub gap_us: i64,
    /// How long after its end a session takes rows, µs.
    pub grace_us: i64,
    /// Where late rows go.
    pub late: LatePolicy,
    /// When rows leave: whenever their session is another one, or once, when it has closed (see [`SessionSpec::holds`]).
    pub emit: Emit,
}

impl SessionSpec {
    /// Whether rows of this input can be late, and sessions so come to an end.
    pub fn judges(&self, input: EdgeProperties) -> bool {
        input.source_rows && self.late != LatePolicy::Update
    }

    /// Whether rows are held back until their session has closed. Only where it does: what never ends is corrected
    /// instead, whatever was asked.
    pub fn holds(&self, input: EdgeProperties) -> bool {
        self.judges(input) && self.emit == Emit::OnWindowClose
    }

    /// How long after its end a session may still become another one, µs; `None`: for ever. A row that is not late may
    /// touch one that has ended already, by a gap at most.
    pub(super) fn closed_after_us(&self, input: EdgeProperties) -> Option<i64> {
        let grace_us = match self.holds(input) {
            true => self.grace_us,
            false => self.grace_us.saturating_add(self.gap_us),
        };
        self.judges(input).then_some(grace_us)
    }

    /// What does not fit, in words; that there is a time column and that bounds are added is checked elsewhere.
    pub(super) fn check(&self, input: &SchemaRef) -> Result<(), String> {
        let count = input.fields().len();
        match self.partition_by.iter().find(|column| **column >= count) {
            Some(column) => Err(format!("column {column} does not exist")),
            None => Ok(()),
        }
    }
}
