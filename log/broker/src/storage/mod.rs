//! One partition on disk, and the folder that holds them all.
//!
//! ```text
//! <folder>/
//!   lock                       held by the one process that uses the folder
//!   format                     "thalweg log format 1"
//!   state                      "running <boot id>" or "clean <boot id>"
//!   ends, starts               where each partition is known to end and to begin        (known_ends)
//!   metadata.log               topics, configs, producer ids           (quorum/)
//!   secret                     32 random bytes                         (secret)
//!   names                      which topic lies where, for people; never read (quorum/)
//!   partitions/<topic id>-<partition>/
//!     00000000000000000000.log         batches as on the wire, as in Kafka's own files    (segment)
//!     00000000000000000000.index       u32 relative offset, u32 position                  (index)
//!     00000000000000000000.timeindex   i64 timestamp, u32 relative offset                 (index)
//!     partition                        the name of the folder                             (identity)
//!     checkpoint                       what holds below an offset that is known to be on disk (checkpoint)
//! ```
//!
//! Kafka keeps leader epochs, producer snapshots and aborted transactions in files of their own; here all of them are
//! one [`checkpoint`] that is replaced as a whole, so that they can never speak of different offsets.
//!
//! Invariants:
//! 1. The `.log` files are the only evidence of records. Everything else is rebuilt from them when it is missing or wrong; what checkpoint
//!    and `ends` say only tells a log that was cut short from one that never was longer.
//! 2. Nothing is acknowledged that only this process holds: bytes are written before the high watermark moves.
//! 3. A failed write or fsync takes the partition offline for writes and is never retried; what was visible stays readable.
//! 4. After a crash a suffix may be missing, never a hole, and nothing of what is known to have been on disk: a partition that lacks any of
//!    that is offline (evidence), and its offsets are not given out again.

mod append;
mod checkpoint;
mod compaction;
mod corruption;
mod directory;
mod durability;
mod error;
mod evidence;
mod identity;
mod index;
mod known_ends;
mod log_file;
mod partition;
mod read;
mod recovery;
mod retention;
mod ring;
mod search;
mod secret;
mod segment;
mod unreadable;
mod waiting;
mod walk;

#[cfg(test)]
mod tests;

pub(crate) use directory::{DataFolder, StartKind};
pub(crate) use durability::SyncPool;
pub(crate) use error::{FetchError, OpenError, StorageError};
pub(crate) use evidence::look;
pub(crate) use known_ends::KnownEnds;
pub(crate) use log_file::{LogFile, replace_file, send_file, sync_folder};
pub use log_file::{SyncObserver, observe_syncs};
pub(crate) use partition::{Partition, PartitionSeed, Shared};
pub(crate) use read::{Fetched, Isolation, Visit};
pub(crate) use recovery::RecoveryReport;
pub(crate) use ring::RingBudget;
pub(crate) use secret::secret;
pub(crate) use waiting::{Pace, lock, write_lock};
pub(crate) use walk::BatchWalk;

use std::collections::BTreeMap;

/// How the storage behaves; sizes in bytes, times in ms.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StorageOptions {
    /// Configs of topics that do not set them, over the table's defaults.
    pub(crate) topic_defaults: BTreeMap<String, String>,
    /// Recent batches that are kept in memory for readers at the tail, over all partitions.
    pub(crate) ring_bytes_max: usize,
    /// The same for one partition.
    pub(crate) ring_partition_bytes_max: usize,
    /// How often a partition that was written to notes what is on disk: bounds the scan after a crash.
    pub(crate) checkpoint_interval_ms: i64,
    /// Bytes after which it does so earlier.
    pub(crate) checkpoint_bytes: u64,
    /// How often retention looks at a partition.
    pub(crate) retention_interval_ms: i64,
    /// How often compaction looks at a partition.
    pub(crate) compaction_interval_ms: i64,
    /// Keys of one compaction run, in bytes of memory; a run that meets more of them ends earlier.
    pub(crate) compaction_memory_bytes: usize,
    /// A producer that was silent for longer is forgotten.
    pub(crate) producer_expiration_ms: i64,
    /// Threads that recover partitions at the start.
    pub(crate) recovery_threads: usize,
}

impl Default for StorageOptions {
    fn default() -> Self {
        Self {
            topic_defaults: BTreeMap::new(),
            ring_bytes_max: 16 << 20,
            ring_partition_bytes_max: 2 << 20,
            checkpoint_interval_ms: 60_000,
            checkpoint_bytes: 256 << 20,
            retention_interval_ms: 30_000,
            compaction_interval_ms: 15_000,
            compaction_memory_bytes: 64 << 20,
            producer_expiration_ms: 24 * 3_600_000,
            recovery_threads: 2,
        }
    }
}
