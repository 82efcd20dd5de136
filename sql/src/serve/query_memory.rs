//! Memory of snapshot queries: each has a limit of its own, and all of them together the part of the process's memory that
//! queries have.

use std::fmt;

use datafusion::common::{DataFusionError, Result as BoundResult};
use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool, MemoryReservation};
use parking_lot::Mutex;
use streams::{MemoryAccount, MemoryBudget, MemoryUser};

/// What one query reserves.
#[derive(Debug)]
pub(super) struct QueryMemory {
    account: Mutex<MemoryAccount>,
    limit_bytes: usize,
}

impl QueryMemory {
    pub(super) fn new(budget: &MemoryBudget, limit_bytes: usize) -> Self {
        Self {
            account: Mutex::new(budget.account(MemoryUser::Queries)),
            limit_bytes,
        }
    }

    fn exhausted(&self, what: &MemoryReservation, additional: usize, key: &str) -> DataFusionError {
        let held = self.account.lock().bytes();
        DataFusionError::ResourcesExhausted(format!(
            "{} asks for {additional} bytes beside the {held} that it has, more than {key} allows",
            what.consumer().name()
        ))
    }
}

impl fmt::Display for QueryMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({} bytes)", self.name(), self.limit_bytes)
    }
}

impl MemoryPool for QueryMemory {
    fn name(&self) -> &str {
        "query"
    }

    fn grow(&self, _reservation: &MemoryReservation, additional: usize) {
        let mut account = self.account.lock();
        let grown = account.bytes().saturating_add(additional);
        account.set(grown);
    }

    fn shrink(&self, _reservation: &MemoryReservation, shrink: usize) {
        let mut account = self.account.lock();
        let left = account.bytes().saturating_sub(shrink);
        account.set(left);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> BoundResult<()> {
        let mut account = self.account.lock();
        let fits = account.bytes().saturating_add(additional) <= self.limit_bytes;
        if fits && account.try_grow(additional) {
            return Ok(());
        }
        drop(account);
        let key = if fits {
            "memory.limit"
        } else {
            "sql.memory_bytes_max"
        };
        Err(self.exhausted(reservation, additional, key))
    }

    fn reserved(&self) -> usize {
        self.account.lock().bytes()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit_bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::execution::memory_pool::MemoryConsumer;

    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn queries_share_what_there_is_and_each_keeps_to_its_own_limit() {
        let budget = MemoryBudget::new(40 * MIB);
        let pool = |limit| -> Arc<dyn MemoryPool> { Arc::new(QueryMemory::new(&budget, limit)) };
        let (first, second) = (pool(100 * MIB), pool(2 * MIB));
        let sort = MemoryConsumer::new("sort").register(&first);
        let join = MemoryConsumer::new("join").register(&second);
        sort.try_grow(8 * MIB).unwrap();
        join.try_grow(2 * MIB).unwrap();
        let own = join.try_grow(1).unwrap_err().to_string();
        assert!(
            own.contains("join asks for 1 bytes beside the 2097152"),
            "{own}"
        );
        assert!(
            own.contains("more than sql.memory_bytes_max allows"),
            "{own}"
        );
        let all = sort.try_grow(MIB).unwrap_err().to_string();
        assert!(all.contains("more than memory.limit allows"), "{all}");
        assert_eq!(budget.used(MemoryUser::Queries), 10 * MIB);
        drop((sort, join));
        drop((first, second));
        assert_eq!(budget.used(MemoryUser::Queries), 0);
    }
}
