//! Rows in their order, the ranks they have, and what differs between two rankings.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::sync::Arc;

use crate::Rank;

/// A row behind its place in the order: together the end of its state key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    bytes: Arc<[u8]>,
    order_bytes: usize,
}

impl Placed {
    /// `bytes`: the place in the order, which has `order_bytes`, and the row.
    pub(super) fn new(bytes: &[u8], order_bytes: usize) -> Self {
        Self {
            bytes: bytes.into(),
            order_bytes,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where the order puts it.
    pub(super) fn order(&self) -> &[u8] {
        &self.bytes[..self.order_bytes]
    }

    /// The row, as in state values.
    pub(super) fn row(&self) -> &[u8] {
        &self.bytes[self.order_bytes..]
    }
}

/// A row with its rank, and how often it is out there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ranked {
    pub(super) rank: u64,
    pub(super) placed: Placed,
    pub(super) count: u64,
}

impl Ranked {
    /// The order in which a ranking has them.
    fn place(&self, other: &Self) -> Ordering {
        (self.rank, self.placed.row()).cmp(&(other.rank, other.placed.row()))
    }
}

/// Where a walk through the rows of a partition is.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Rows before this one.
    seen: u64,
    /// Rows that the order puts before this one.
    before: u64,
    /// Distinct places in the order up to this one.
    steps: u64,
    order: Vec<u8>,
}

impl Walk {
    /// Comes to a row with this place in the order.
    pub(super) fn enter(&mut self, order: &[u8]) {
        if self.steps == 0 || self.order != order {
            self.order.clear();
            self.order.extend_from_slice(order);
            self.before = self.seen;
            self.steps += 1;
        }
    }

    /// Goes on behind a row that is there `count` times.
    pub(super) fn pass(&mut self, count: u64) {
        self.seen += count;
    }

    /// The rank of the row, or of its first occurrence.
    pub(super) fn lowest(&self, rank: Rank) -> u64 {
        match rank {
            Rank::RowNumber => self.seen + 1,
            Rank::Rank => self.before + 1,
            Rank::DenseRank => self.steps,
        }
    }

    /// The ranks of a row that is there `count` times, each with how often it has it.
    pub(super) fn ranks(&self, rank: Rank, count: u64) -> impl Iterator<Item = (u64, u64)> + use<> {
        let lowest = self.lowest(rank);
        let (numbers, each) = match rank {
            Rank::RowNumber => (lowest..lowest + count, 1),
            Rank::Rank | Rank::DenseRank => (lowest..lowest + 1, count),
        };
        numbers.map(move |number| (number, each))
    }
}

/// What has to be said so that `new` is out there instead of `old`: first what goes, then what comes.
pub(super) fn difference<'a>(old: &'a [Ranked], new: &'a [Ranked]) -> Vec<(i8, &'a Ranked)> {
    let mut changes = Vec::new();
    more(old, new, -1, &mut changes);
    more(new, old, 1, &mut changes);
    changes
}

/// What `these` have more than `those`, with `sign`. Both are in the order of a ranking.
fn more<'a>(these: &'a [Ranked], those: &[Ranked], sign: i8, changes: &mut Vec<(i8, &'a Ranked)>) {
    let mut those = those.iter().peekable();
    for ranked in these {
        for _ in count_of(ranked, &mut those)..ranked.count {
            changes.push((sign, ranked));
        }
    }
}

/// How often `those`, which are passed up to there, have this row with this rank.
fn count_of<'a>(ranked: &Ranked, those: &mut Peekable<impl Iterator<Item = &'a Ranked>>) -> u64 {
    while those.next_if(|other| other.place(ranked).is_lt()).is_some() {}
    let same = those.next_if(|other| other.place(ranked).is_eq());
    same.map_or(0, |other| other.count)
}
