//! State of a job: ordered keys and values, read at any time, written once a commit.
//!
//! ```text
//! operators ── put, delete ──▶ State (what this commit has changed) ── take ──▶ Delta ──▶ changelog block
//!     ▲                          │ falls through to                               │ after the commit
//!     └────── get, scan ─────────┴──────────────▶ StateStore  ◀── apply ──────────┘
//!                                                    │ snapshot
//!                                                    ▼ readers of views
//! ```
//!
//! Keys are `[operator u16][vnode u16][the operator's own key]`, big endian; see [`key`] for the parts. Three numbers
//! are no operators: [`VIEW`] holds the rows of the view, [`MANIFEST`] what the plan keeps (see `task/manifest.rs`),
//! [`META`] what the store knows about itself.
//!
//! Invariants:
//! 1. A store holds exactly the deltas up to its tag: [`StateStore::apply`] is atomic, tag included.
//! 2. Nothing that is not committed in the log reaches a store.
//! 3. A snapshot does not change.

mod cell;
mod changelog;
pub mod conformance;
pub(crate) mod key;
mod memory;
mod nested;
mod overlay;
mod rocksdb;
pub(crate) mod row;
mod snapshot;
mod timer;

use std::ops::ControlFlow;
use std::sync::Arc;

use thiserror::Error;

pub(crate) use cell::{
    Cell, Column, ColumnBuilder, Misfit, Physical, Values, canonical_f32, canonical_f64,
    fixed_array,
};
pub(crate) use changelog::{
    Block, BlockHeader, ENTRY_BYTES_MAX, SinkPlace, SourcePosition, encode_blocks,
};
pub use memory::MemoryStore;
pub(crate) use nested::{NESTING_MAX, children};
pub(crate) use overlay::State;
pub use rocksdb::{RocksOptions, RocksStore};
pub(crate) use snapshot::Snapshots;
pub(crate) use timer::{Due, Timers};

/// The number in place of an operator's under which it is kept what the operators of the plan keep.
pub(crate) const MANIFEST: u16 = 0xfffd;
/// The number in place of an operator's under which a view's rows are kept.
pub(crate) const VIEW: u16 = 0xfffe;
/// The number in place of an operator's under which a store keeps its tag.
pub(crate) const META: u16 = 0xffff;

/// Why state could not be read or written.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum StateError {
    /// The disk or the store below failed; local state can be dropped and restored from the changelog.
    #[error("state store {place}: {reason}")]
    Storage {
        /// The folder.
        place: String,
        /// The system's words.
        reason: String,
    },
    /// The files of a store are not as they were written: its content is in the changelog.
    #[error(
        "state store {place} is damaged ({reason}): it is discarded and rebuilt from its changelog, which takes a moment"
    )]
    Damaged {
        /// The folder.
        place: String,
        /// What was found.
        reason: String,
    },
    /// The folder was written by a newer version of this program.
    #[error(
        "state store {place} has format {found}, this program knows {known}: use the newer program, or drop the folder to restore from the changelog"
    )]
    NewerFormat {
        /// The folder.
        place: String,
        /// What it says.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// Bytes that do not decode.
    #[error("{what} is corrupt: {reason}")]
    Corrupt {
        /// A row, a key, a changelog block.
        what: &'static str,
        /// What does not hold.
        reason: String,
    },
    /// State in memory outgrew its limit.
    #[error(
        "the query needs more than {limit_bytes} bytes of state; make it a materialized view, or raise streams.query_state_bytes and memory.limit"
    )]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
}

/// Which way a scan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanOrder {
    /// From the smallest key on.
    Ascending,
    /// From the largest key down.
    Descending,
}

/// Takes one entry of a scan; `Break` ends it.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Takes one entry below the prefix of that index; `Break` goes on with the next prefix.
pub type VisitPrefix<'a> = dyn FnMut(usize, &[u8], &[u8]) -> ControlFlow<()> + 'a;

/// What can be read: a store, or a snapshot of one.
pub trait StateRead: Send + Sync {
    /// How far the store has come; `None` when nothing was ever applied.
    ///
    /// # Errors
    /// [`StateError::Storage`].
    fn tag(&self) -> Result<Option<Tag>, StateError>;

    /// The value of a key.
    ///
    /// # Errors
    /// [`StateError::Storage`].
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError>;

    /// The values of many keys, in their order.
    ///
    /// # Errors
    /// [`StateError::Storage`].
    fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    /// Visits the entries with `from <= key < to` in key order (`to` empty: without an end).
    ///
    /// # Errors
    /// [`StateError::Storage`].
    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        order: ScanOrder,
        visit: &mut Visit<'_>,
    ) -> Result<(), StateError>;

    /// Visits the entries below each of `prefixes`, in key order. The prefixes rise, and none begins with another.
    ///
    /// # Errors
    /// [`StateError::Storage`].
    fn scan_prefixes(
        &self,
        prefixes: &[&[u8]],
        visit: &mut VisitPrefix<'_>,
    ) -> Result<(), StateError> {
        for (index, prefix) in prefixes.iter().enumerate() {
            self.scan(
                prefix,
                &prefix_end(prefix),
                ScanOrder::Ascending,
                &mut |key, value| visit(index, key, value),
            )?;
        }
        Ok(())
    }
}

/// How far a store has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Offset of the last changelog record whose content is in the store.
    pub changelog_offset: i64,
    /// The header of that block, as it was written.
    pub header: Vec<u8>,
}

/// What one commit changes, ordered by key; `None` deletes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// Keys rise strictly.
    pub entries: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Delta {
    /// How many bytes its keys and values have.
    pub(crate) fn size_bytes(&self) -> usize {
        let sizes = self.entries.iter();
        sizes
            .map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len))
            .sum()
    }
}

/// Ordered keys with atomic batches and snapshots. One job writes; any number of readers.
pub trait StateStore: StateRead {
    /// Applies a delta and the tag as one step: after a crash both are there, or neither. It need not survive the
    /// crash: the changelog has it.
    ///
    /// # Errors
    /// [`StateError::Storage`]: the store is to be dropped and restored.
    fn apply(&self, delta: &Delta, tag: &Tag) -> Result<(), StateError>;

    /// The state as it is now, for readers on other threads.
    fn snapshot(&self) -> Arc<dyn StateRead>;

    /// Links the files that hold the state as it is now into `folder`, which does not exist and is on the same disk. They do
    /// not change any more. `false`: a store that has no files.
    ///
    /// # Errors
    /// [`StateError::Storage`].
    fn checkpoint(&self, _folder: &std::path::Path) -> Result<bool, StateError> {
        Ok(false)
    }

    /// What its readers have found damaged in it since it was opened; `None`: nothing.
    fn damage(&self) -> Option<StateError> {
        None
    }

    /// Makes durable what was applied, so that the next recovery replays less.
    ///
    /// # Errors
    /// [`StateError::Storage`].
    fn flush(&self) -> Result<(), StateError>;
}

/// Whether state can hold values of this type.
pub(crate) fn is_storable(data_type: &arrow::datatypes::DataType) -> bool {
    Physical::of(data_type).is_some()
}

/// The smallest key that is larger than every key with this prefix; empty when there is none.
pub(crate) fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}
