//! Single message transforms: what happens to records between connector and log, a batch at a time.

use crate::{ConnectError, Record};

/// A record and the index, in the batch that entered the chain, of the record it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Traced {
    /// Index of the ancestor.
    pub origin: u32,
    /// The ancestor's offset in the log; `None` in sources.
    pub offset: Option<i64>,
    /// The record.
    pub record: Record,
}

/// A record that a transform could not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransformFailure {
    /// Index of the ancestor.
    pub origin: u32,
    /// Why.
    pub error: ConnectError,
}

/// What a transform made of a batch.
#[derive(Debug, Default)]
pub struct TransformOutput {
    /// Records in order; an input without an output and without a failure was filtered out, on purpose.
    pub records: Vec<Traced>,
    /// Records that failed by themselves.
    pub failures: Vec<TransformFailure>,
}

/// A step of a transform chain. One task owns it; it keeps no state between batches.
pub trait Transform: Send {
    /// Transforms a batch.
    ///
    /// # Errors
    /// Where the whole batch failed: transient ones are tried again with the same records.
    fn apply(&mut self, records: Vec<Traced>) -> Result<TransformOutput, ConnectError>;
}
