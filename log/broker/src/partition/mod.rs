//! The decisions of one partition, without files, clocks or threads: `storage/` executes them.
//!
//! ```text
//! batch -> append (rules) -> producer_state (sequence, transaction) -> offsets -> bytes on disk
//!                                     |                                   |
//!                              transactions (aborted index)        leader_epoch, high_watermark
//! ```
//!
//! PURE: state machines over values; time comes in as an argument.

mod append;
mod high_watermark;
mod leader_epoch;
mod producer_state;
mod rewrite;
mod storage_error;
mod transactions;

pub(crate) use append::{AppendError, AppendOrigin, Appended, CheckedBatch, check_batch};
pub(crate) use high_watermark::{LogEnds, ends};
pub(crate) use leader_epoch::LeaderEpochs;
pub(crate) use producer_state::{
    Before, MarkerError, ProducerStates, ProducerSummary, SequenceCheck, SequenceError,
};
pub(crate) use rewrite::rewrite;
pub(crate) use storage_error::StorageError;
pub(crate) use transactions::{AbortedIndex, AbortedTransaction};
