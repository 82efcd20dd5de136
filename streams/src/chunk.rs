//! Rows on their way through a job.
//!
//! ```text
//! batch  │ carrier │ dep_delay │ …          one Arrow RecordBatch, the plan edge's schema
//! diff   │   +1    │   −1      │            None: every row is +1 (append-only, the fast path)
//! origin │ record 17 of this run           only as long as every row is one source record
//! ```
//!
//! Invariants:
//! 1. `diff`, where there is one, has the batch's length and holds only +1 and −1.
//! 2. An update is an adjacent pair, −1 (old row) then +1 (new row).
//! 3. No operator emits −1 for a row that it has not emitted with +1.

use std::sync::Arc;

use arrow::array::{Int8Array, RecordBatch, UInt32Array};
use log_api::Records;

/// A batch of changes. `diff == None` means that all rows are inserts.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The rows.
    pub batch: RecordBatch,
    /// The sign of each row; `None` = all +1.
    pub diff: Option<Int8Array>,
    /// The source record behind each row; lost at the first join or aggregation.
    pub origin: Option<Origin>,
}

/// Which record each row of a chunk was decoded from: for late rows and row errors, which go out as they were read.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The run that was fetched.
    pub records: Arc<Records>,
    /// For each row of the chunk the index of its record in the run.
    pub rows: UInt32Array,
    /// For each record of the run (not each row of the chunk): event time as the records before it have left it, µs,
    /// over all partitions of the source (`i64::MIN`: none yet); rises. `None`: the source has no event time.
    pub watermarks: Option<Arc<[i64]>>,
}

impl Chunk {
    /// A chunk of inserts without origin.
    pub fn inserts(batch: RecordBatch) -> Self {
        Self {
            batch,
            diff: None,
            origin: None,
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how many bytes it holds by itself. What columns point to is shared with other chunks and not in it.
    pub(crate) fn own_bytes(&self) -> usize {
        self.len() * self.batch.num_columns() * 16
    }

    /// The sign of row `row`.
    pub fn sign(&self, row: usize) -> i8 {
        self.diff.as_ref().map_or(1, |diff| diff.value(row))
    }
}
