//! A row of OVER in the state: how often it is there, and what is out there of it.
//!
//! ```text
//! [operator][vnode][partition][order][row]
//!     → [count varint][length of row varint][n varint] n × [length, values] [what running aggregates have seen]
//! ```
//!
//! The values are those that are out there, so a row is taken back as it went, whatever its functions say then.

use crate::state::StateError;
use crate::state::row::{push_bytes, push_varint, read_bytes, read_varint};

/// A row that is there, or was before this epoch.
pub(super) struct Entry {
    pub(super) state_key: Vec<u8>,
    pub(super) count: u64,
    /// Bytes of the row at the end of the key.
    row_bytes: usize,
    /// The values that are out there.
    pub(super) values: Vec<Vec<u8>>,
    /// What the running aggregates had seen with it.
    pub(super) seen: Vec<u8>,
}

impl Entry {
    /// A row that was not there.
    pub(super) fn new(state_key: Vec<u8>, row_bytes: usize) -> Self {
        Self {
            state_key,
            count: 0,
            row_bytes,
            values: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// Reads one whose key begins with `prefix` bytes for its partition.
    pub(super) fn read(
        state_key: &[u8],
        mut value: &[u8],
        prefix: usize,
    ) -> Result<Self, StateError> {
        let bytes = &mut value;
        let count = read_varint(bytes)?;
        let row_bytes = usize::try_from(read_varint(bytes)?).unwrap_or(usize::MAX);
        if row_bytes > state_key.len() - prefix.min(state_key.len()) {
            return Err(StateError::Corrupt {
                what: "row of OVER",
                reason: "it is longer than its key".to_owned(),
            });
        }
        let mut values = Vec::new();
        for _ in 0..read_varint(bytes)? {
            values.push(read_bytes(bytes)?.to_vec());
        }
        Ok(Self {
            state_key: state_key.to_vec(),
            count,
            row_bytes,
            values,
            seen: bytes.to_vec(),
        })
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(16);
        push_varint(self.count, &mut value);
        push_varint(self.row_bytes as u64, &mut value);
        push_varint(self.values.len() as u64, &mut value);
        for values in &self.values {
            push_bytes(values, &mut value);
        }
        value.extend_from_slice(&self.seen);
        value
    }

    pub(super) fn row(&self) -> &[u8] {
        &self.state_key[self.state_key.len() - self.row_bytes..]
    }

    /// The beginning of its key that all rows share which the order does not tell from it.
    pub(super) fn place(&self) -> &[u8] {
        &self.state_key[..self.state_key.len() - self.row_bytes]
    }
}
