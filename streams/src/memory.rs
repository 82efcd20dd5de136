//! The memory of a process: one limit, divided among those who hold much of it, and how much each of them holds.
//!
//! ```text
//! limit ─┬─ state    2/8   block cache and write buffers of all stores: they keep to it by themselves
//!        ├─ jobs     2/8   state at hand, changes and output that wait for a commit: a job over its room commits, trims
//!        │                 what it has at hand, and takes fewer rows at a time
//!        ├─ queries  2/8   snapshot queries and the state of push queries: one that finds no room ends with an error
//!        ├─ clients  1/8   requests and answers of Kafka clients: they wait
//!        └─          1/8   what nobody counts: code, threads, parsers, guests
//! ```
//!
//! Who holds memory opens an account and says how much it is. A part is not cut up in advance: an account has what the
//! others leave, and its equal share however much they hold, so that idle jobs cost the busy ones nothing.
//!
//! Invariant: what is used of a part is the sum of its accounts; one that is dropped holds nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An account may have so much, whatever the others hold.
const ROOM_BYTES_MIN: usize = 1 << 20;

/// Who holds memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryUser {
    /// Stores of state.
    State,
    /// Jobs, beside their stores.
    Jobs,
    /// Snapshot queries and push queries.
    Queries,
    /// Kafka clients.
    Clients,
}

impl MemoryUser {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::State, Self::Jobs, Self::Queries, Self::Clients];

    /// Its name in figures and texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Jobs => "jobs",
            Self::Queries => "queries",
            Self::Clients => "clients",
        }
    }

    fn eighths(self) -> usize {
        match self {
            Self::State | Self::Jobs | Self::Queries => 2,
            Self::Clients => 1,
        }
    }
}

/// See the module. Clones are one budget.
#[derive(Debug, Clone)]
pub struct MemoryBudget(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    limit_bytes: usize,
    parts: [Part; 4],
}

#[derive(Debug, Default)]
struct Part {
    used: AtomicUsize,
    peak: AtomicUsize,
    accounts: AtomicUsize,
}

impl MemoryBudget {
    /// A budget of so many bytes.
    pub fn new(limit_bytes: usize) -> Self {
        Self(Arc::new(Budget {
            limit_bytes,
            parts: Default::default(),
        }))
    }

    /// A budget that keeps nobody from anything, but counts.
    pub fn unlimited() -> Self {
        Self::new(usize::MAX)
    }

    /// All of it.
    pub fn limit_bytes(&self) -> usize {
        self.0.limit_bytes
    }

    /// The part of one user, bytes.
    pub fn share(&self, user: MemoryUser) -> usize {
        self.0.limit_bytes / 8 * user.eighths()
    }

    /// How much the accounts of a user hold.
    pub fn used(&self, user: MemoryUser) -> usize {
        self.part(user).used.load(Ordering::Relaxed)
    }

    /// The most that they have held.
    pub fn peak(&self, user: MemoryUser) -> usize {
        self.part(user).peak.load(Ordering::Relaxed)
    }

    /// Opens an account, which holds nothing yet.
    pub fn account(&self, user: MemoryUser) -> MemoryAccount {
        self.part(user).accounts.fetch_add(1, Ordering::Relaxed);
        MemoryAccount {
            budget: self.clone(),
            user,
            bytes: 0,
        }
    }

    fn part(&self, user: MemoryUser) -> &Part {
        &self.0.parts[user as usize]
    }
}

/// What one job, query or cache holds of its user's part. Dropped: nothing.
#[derive(Debug)]
pub struct MemoryAccount {
    budget: MemoryBudget,
    user: MemoryUser,
    bytes: usize,
}

impl MemoryAccount {
    /// How much it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How much it may hold: what the others leave of the part, and at least an equal share.
    pub fn room(&self) -> usize {
        let share = self.budget.share(self.user);
        let others = self.budget.used(self.user).saturating_sub(self.bytes);
        let accounts = self.budget.part(self.user).accounts.load(Ordering::Relaxed);
        let equal = share / accounts.max(1);
        share.saturating_sub(others).max(equal).max(ROOM_BYTES_MIN)
    }

    /// Says how much it holds now.
    pub fn set(&mut self, bytes: usize) {
        let part = self.budget.part(self.user);
        let used = if bytes >= self.bytes {
            let more = bytes - self.bytes;
            part.used.fetch_add(more, Ordering::Relaxed) + more
        } else {
            let less = self.bytes - bytes;
            part.used.fetch_sub(less, Ordering::Relaxed) - less
        };
        part.peak.fetch_max(used, Ordering::Relaxed);
        self.bytes = bytes;
    }

    /// Takes so much more, if there is room for it.
    pub fn try_grow(&mut self, bytes: usize) -> bool {
        let grown = self.bytes.saturating_add(bytes);
        let fits = grown <= self.room();
        if fits {
            self.set(grown);
        }
        fits
    }
}

impl Drop for MemoryAccount {
    fn drop(&mut self) {
        self.set(0);
        let part = self.budget.part(self.user);
        part.accounts.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn one_account_has_what_the_others_leave_and_its_share_at_least() {
        let budget = MemoryBudget::new(64 * MIB);
        assert_eq!(budget.share(MemoryUser::Jobs), 16 * MIB);
        let mut busy = budget.account(MemoryUser::Jobs);
        let idle: Vec<_> = (0..7).map(|_| budget.account(MemoryUser::Jobs)).collect();
        assert_eq!(busy.room(), 16 * MIB);
        busy.set(15 * MIB);
        assert_eq!(idle[0].room(), 2 * MIB);
        assert_eq!(busy.room(), 16 * MIB);
        drop(idle);
        assert_eq!(budget.used(MemoryUser::Jobs), 15 * MIB);
        drop(busy);
        assert_eq!(budget.used(MemoryUser::Jobs), 0);
        assert_eq!(budget.peak(MemoryUser::Jobs), 15 * MIB);
        assert_eq!(budget.used(MemoryUser::Queries), 0);
    }

    #[test]
    fn what_does_not_fit_is_not_taken() {
        let budget = MemoryBudget::new(16 * MIB);
        let mut first = budget.account(MemoryUser::Queries);
        assert!(first.try_grow(3 * MIB));
        assert!(!first.try_grow(2 * MIB));
        let mut second = budget.account(MemoryUser::Queries);
        assert!(second.try_grow(2 * MIB), "its share");
        assert!(!first.try_grow(1));
        first.set(MIB);
        assert!(first.try_grow(MIB));
        assert_eq!(budget.used(MemoryUser::Queries), 4 * MIB);
    }

    #[test]
    fn no_limit_keeps_nobody() {
        let budget = MemoryBudget::unlimited();
        let mut account = budget.account(MemoryUser::Jobs);
        assert!(account.try_grow(1 << 40));
        assert_eq!(budget.used(MemoryUser::Jobs), 1 << 40);
    }
}
