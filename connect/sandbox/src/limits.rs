//! What a guest may hold: memory and tables, summed over everything in its store.
//!
//! A refused growth traps at once, and leaves a note: the trap itself does not say that memory was the reason.

use wasmtime::{Result, format_err};

/// Core instances, memories and tables a store may have; a wrapped guest has about four instances, one memory and two tables.
const INSTANCES_MAX: usize = 32;
const MEMORIES_MAX: usize = 8;
const TABLES_MAX: usize = 16;
/// Entries of all tables; a guest has one entry for each function that it calls indirectly.
const TABLE_ENTRIES_MAX: usize = 1 << 17;

/// Counts what a store holds and refuses what is too much.
pub(crate) struct Limiter {
    memory_bytes: usize,
    memory_bytes_max: usize,
    table_entries: usize,
    /// Bytes that the guest would have had, once a growth was refused.
    pub(crate) refused: Option<usize>,
}

impl Limiter {
    /// Nothing held yet, at most `memory_bytes_max` to come.
    pub(crate) fn new(memory_bytes_max: usize) -> Limiter {
        Limiter {
            memory_bytes: 0,
            memory_bytes_max,
            table_entries: 0,
            refused: None,
        }
    }

    /// The limit.
    pub(crate) fn memory_bytes_max(&self) -> usize {
        self.memory_bytes_max
    }
}

impl wasmtime::ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool> {
        let total = self
            .memory_bytes
            .saturating_add(desired.saturating_sub(current));
        if total > self.memory_bytes_max {
            self.refused = Some(total);
            return Err(format_err!("memory limit"));
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool> {
        let total = self
            .table_entries
            .saturating_add(desired.saturating_sub(current));
        if total > TABLE_ENTRIES_MAX {
            return Err(format_err!("more than {TABLE_ENTRIES_MAX} table entries"));
        }
        self.table_entries = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::ResourceLimiter;

    use super::*;

    #[test]
    fn all_memories_count_together() {
        let mut limiter = Limiter::new(100);
        assert!(limiter.memory_growing(0, 60, None).is_ok());
        assert!(limiter.memory_growing(0, 40, None).is_ok());
        assert_eq!(limiter.refused, None);
        assert!(limiter.memory_growing(40, 41, None).is_err());
        assert_eq!(limiter.refused, Some(101));
    }
}
