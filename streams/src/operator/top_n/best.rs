//! Rankings of rows that only come, up to a last rank: of each partition the rows up to there are in memory, in front of the
//! state.
//!
//! ```text
//! row of a chunk   ──▶ behind the last rank: forgotten, before it is even written down
//!                      else into its place; the first change of a partition in an epoch notes what was there
//! end of an epoch  ──▶ what was there, and what is now
//! commit           ──▶ what the state lacks, and what it has too much
//! after a commit   ──▶ over the limit of memory: partitions that had no row go
//! ```
//!
//! Invariants:
//! 1. A partition in memory is whole. One that is not there may be in the state only where `is_cold` says so.
//! 2. Between an end of an epoch and the next row, a partition has no row behind the last rank.

use std::cmp::Ordering;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, SchemaRef};

use super::super::upsert::key_columns;
use super::super::{Memory, OperatorError};
use super::rank::{Placed, Ranked, Walk};
use super::{Entry, order};
use crate::aggregate::{GroupTable, retain_at};
use crate::state::{ScanOrder, State, StateError, key, row};
use crate::{Chunk, OperatorId, Rank, TopNSpec};

/// What a row takes in memory beside its bytes, about: the pointer, the count, and the head of the allocation.
const ROW_BYTES: usize = 64;
/// What a partition takes beside its rows and its key, about.
const PARTITION_BYTES: usize = 160;

/// See the module.
pub(super) struct Best {
    id: OperatorId,
    spec: TopNSpec,
    memory: Memory,
    /// Numbers partitions.
    table: GroupTable,
    /// By number.
    partitions: Vec<Partition>,
    /// What they take, but for the table.
    bytes: usize,
    /// The state may have partitions that are not here.
    is_cold: bool,
    /// Partitions that this epoch has changed.
    changed: Vec<u32>,
    /// Partitions that are not as the state has them.
    unsaved: Vec<u32>,
}

#[derive(Debug, Default)]
struct Partition {
    /// What its state keys begin with.
    prefix: Vec<u8>,
    rows: Rows,
    /// As it was before this epoch has changed it.
    before: Option<Vec<Row>>,
    /// As the state has it, where that is not how it is.
    saved: Option<Vec<Row>>,
    /// It had a row in this commit.
    is_touched: bool,
}

/// Rows in their order.
#[derive(Debug, Default)]
struct Rows {
    rows: Vec<Row>,
    /// How many there are, equal ones counted.
    total: u64,
    /// Distinct places in the order, when they were last looked at.
    steps: u64,
    bytes: usize,
}

/// A distinct row, and how often it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    placed: Placed,
    count: u64,
}

impl Best {
    pub(super) fn new(id: OperatorId, spec: &TopNSpec, input: &SchemaRef, memory: &Memory) -> Self {
        let field = |&column: &usize| input.field(column);
        let columns: Vec<(DataType, bool)> = (spec.partition_by.iter().map(field))
            .map(|field| (field.data_type().clone(), field.is_nullable()))
            .collect();
        Self {
            id,
            spec: spec.clone(),
            memory: memory.clone(),
            table: GroupTable::new(id.0, &columns, None),
            partitions: Vec::new(),
            bytes: 0,
            is_cold: false,
            changed: Vec::new(),
            unsaved: Vec::new(),
        }
    }

    /// Finds out whether the state has anything.
    pub(super) fn open(&mut self, state: &State) -> Result<(), StateError> {
        let (from, to) = key::operator_range(self.id.0);
        state.scan(&from, &to, ScanOrder::Ascending, |_, _| {
            self.is_cold = true;
            ControlFlow::Break(())
        })
    }

    /// What all partitions here take.
    pub(super) fn size_bytes(&self) -> usize {
        self.bytes + self.table.size_bytes()
    }

    /// About how much the next commit writes: as much again goes as comes.
    pub(super) fn unsaved_bytes(&self) -> usize {
        2 * self.unsaved.len() * (self.bytes / self.partitions.len().max(1))
    }

    /// Puts the rows of a chunk into their places.
    pub(super) fn take(&mut self, chunk: &Chunk, state: &State) -> Result<(), OperatorError> {
        let columns = chunk.batch.columns();
        let by = self.spec.partition_by.iter();
        let keys: Vec<ArrayRef> = by.map(|&column| Arc::clone(&columns[column])).collect();
        let interned = self.table.intern(&keys, chunk.len());
        self.admit(interned.known, state)?;
        let by: Vec<usize> = self.spec.order_by.iter().map(|by| by.column).collect();
        let by = key_columns(&chunk.batch, &by)?;
        let columns = row::columns_of(columns)?;
        let mut placed = Vec::new();
        for (index, &group) in interned.groups.iter().enumerate() {
            if chunk.sign(index) < 0 {
                return Err(OperatorError::Inconsistent {
                    operator: self.id,
                    reason: "a row was taken back, of rows that only come".to_owned(),
                });
            }
            let partition = &mut self.partitions[group as usize];
            partition.is_touched = true;
            placed.clear();
            order::push(&by, &self.spec.order_by, index, &mut placed);
            if partition.rows.is_behind(&placed, &self.spec) {
                continue;
            }
            let order_bytes = placed.len();
            row::push_row(&columns, index, &mut placed);
            let Some(place) = partition.rows.place_of(&placed, &self.spec) else {
                continue;
            };
            if partition.before.is_none() {
                partition.before = Some(partition.rows.rows.clone());
                self.changed.push(group);
            }
            if partition.saved.is_none() {
                partition.saved = Some(partition.rows.rows.clone());
                self.unsaved.push(group);
            }
            self.bytes -= partition.rows.bytes;
            partition.rows.add(place, &placed, order_bytes);
            if self.spec.rank == Rank::RowNumber {
                partition.rows.cut(&self.spec);
            }
            self.bytes += partition.rows.bytes;
        }
        Ok(())
    }

    /// Makes room for the partitions that the table has got, from `known` on, and brings them in from the state.
    fn admit(&mut self, known: usize, state: &State) -> Result<(), OperatorError> {
        for group in known..self.table.len() {
            let mut partition = Partition::default();
            self.table.state_key(group as u32, &mut partition.prefix);
            self.bytes += partition.prefix.len() + PARTITION_BYTES;
            self.partitions.push(partition);
        }
        if self.is_cold {
            self.load(known, state)?;
        }
        Ok(())
    }

    fn load(&mut self, known: usize, state: &State) -> Result<(), StateError> {
        let mut new: Vec<&mut Partition> = self.partitions[known..].iter_mut().collect();
        new.sort_unstable_by(|left, right| left.prefix.cmp(&right.prefix));
        let prefixes: Vec<Vec<u8>> = new.iter().map(|new| new.prefix.clone()).collect();
        let prefixes: Vec<&[u8]> = prefixes.iter().map(Vec::as_slice).collect();
        let mut failed = None;
        state.scan_prefixes(&prefixes, |index, state_key, value| {
            match Entry::read(state_key, value, prefixes[index].len()) {
                Ok(entry) => {
                    new[index].rows.load(&entry);
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        for partition in new {
            partition.rows.cut(&self.spec);
            self.bytes += partition.rows.bytes;
        }
        Ok(())
    }

    /// The partitions that this epoch has changed, in their order.
    pub(super) fn take_changed(&mut self) -> Vec<u32> {
        let changed = std::mem::take(&mut self.changed);
        self.in_order(changed)
    }

    fn in_order(&self, mut groups: Vec<u32>) -> Vec<u32> {
        let prefix = |group: &u32| &self.partitions[*group as usize].prefix;
        groups.sort_unstable_by(|left, right| prefix(left).cmp(prefix(right)));
        groups
    }

    /// What was out there of a partition before this epoch has changed it, and what should be now.
    pub(super) fn end_epoch(&mut self, group: u32) -> (Vec<Ranked>, Vec<Ranked>) {
        let partition = &mut self.partitions[group as usize];
        self.bytes -= partition.rows.bytes;
        partition.rows.cut(&self.spec);
        self.bytes += partition.rows.bytes;
        let before = partition.before.take().unwrap_or_default();
        (
            ranked(&before, &self.spec),
            ranked(&partition.rows.rows, &self.spec),
        )
    }

    /// Writes what has changed since the last commit.
    pub(super) fn save(&mut self, state: &mut State) {
        debug_assert!(self.changed.is_empty(), "an epoch ends before its commit");
        let unsaved = std::mem::take(&mut self.unsaved);
        // In the order of the keys: what is in order need not be sorted.
        for group in self.in_order(unsaved) {
            let partition = &mut self.partitions[group as usize];
            let saved = partition.saved.take().unwrap_or_default();
            save(&partition.prefix, &saved, &partition.rows.rows, state);
        }
    }

    /// Over the limit, gives up partitions that had no row in this commit.
    pub(super) fn shrink(&mut self) {
        let limit = self.memory.cache_bytes();
        let is_over = self.size_bytes() > limit;
        let hot = self
            .partitions
            .iter()
            .filter(|partition| partition.is_touched);
        let hot_fits = is_over && hot.map(Partition::size_bytes).sum::<usize>() <= limit / 2;
        let mut kept = Vec::new();
        for (group, partition) in self.partitions.iter_mut().enumerate() {
            let is_hot = std::mem::take(&mut partition.is_touched);
            if is_hot && hot_fits {
                kept.push(group as u32);
            }
        }
        if !is_over {
            return;
        }
        self.is_cold = true;
        self.table.retain(&kept);
        retain_at(&mut self.partitions, &kept);
        self.bytes = self.partitions.iter().map(Partition::size_bytes).sum();
    }
}

impl Partition {
    fn size_bytes(&self) -> usize {
        self.prefix.len() + PARTITION_BYTES + self.rows.bytes
    }
}

impl Rows {
    /// Whether what has this place in the order lies behind the last rank, whatever else comes.
    fn is_behind(&self, order: &[u8], spec: &TopNSpec) -> bool {
        self.is_full(spec) && (self.rows.last()).is_none_or(|last| order > last.placed.order())
    }

    /// Whether all ranks are taken.
    fn is_full(&self, spec: &TopNSpec) -> bool {
        let taken = match spec.rank {
            Rank::RowNumber | Rank::Rank => self.total,
            Rank::DenseRank => self.steps,
        };
        taken >= spec.ranks.end.saturating_sub(1)
    }

    /// Where a row belongs, or is already; `None`: behind the last rank.
    fn place_of(&self, placed: &[u8], spec: &TopNSpec) -> Option<Result<usize, usize>> {
        let place = (self.rows).binary_search_by(|row| row.placed.bytes().cmp(placed));
        // Of rows with numbers of their own, the last one is not the last for long if another comes behind it.
        let numbered = spec.rank == Rank::RowNumber && self.is_full(spec);
        let (Ok(at) | Err(at)) = place;
        let behind = match place {
            Ok(_) => at + 1 == self.rows.len(),
            Err(_) => at == self.rows.len(),
        };
        (!(numbered && behind)).then_some(place)
    }

    fn add(&mut self, place: Result<usize, usize>, placed: &[u8], order_bytes: usize) {
        self.total += 1;
        match place {
            Ok(at) => self.rows[at].count += 1,
            Err(at) => {
                let placed = Placed::new(placed, order_bytes);
                self.bytes += placed.bytes().len() + ROW_BYTES;
                self.rows.insert(at, Row { placed, count: 1 });
            }
        }
    }

    /// Takes what the state has next, in the order of the keys.
    fn load(&mut self, entry: &Entry<'_>) {
        self.total += entry.count;
        self.bytes += entry.placed.len() + ROW_BYTES;
        self.rows.push(Row {
            placed: Placed::new(entry.placed, entry.order_bytes),
            count: entry.count,
        });
    }

    /// Forgets what lies behind the last rank.
    fn cut(&mut self, spec: &TopNSpec) {
        let kept = match spec.rank {
            Rank::RowNumber => self.numbered(spec),
            Rank::Rank | Rank::DenseRank => self.walked(spec),
        };
        for row in self.rows.drain(kept..) {
            self.total -= row.count;
            self.bytes -= row.placed.bytes().len() + ROW_BYTES;
        }
    }

    /// How many of the rows have a number up to the last one.
    fn numbered(&self, spec: &TopNSpec) -> usize {
        let last = spec.ranks.end.saturating_sub(1);
        let (mut kept, mut total) = (self.rows.len(), self.total);
        while let Some(row) = self.rows[..kept].last()
            && total - row.count >= last
        {
            total -= row.count;
            kept -= 1;
        }
        kept
    }

    /// How many of the rows have a rank up to the last one, found by a walk through them.
    fn walked(&mut self, spec: &TopNSpec) -> usize {
        let mut walk = Walk::default();
        self.steps = 0;
        for (index, row) in self.rows.iter().enumerate() {
            walk.enter(row.placed.order());
            let rank = walk.lowest(spec.rank);
            if rank >= spec.ranks.end {
                return index;
            }
            if spec.rank == Rank::DenseRank {
                self.steps = rank;
            }
            walk.pass(row.count);
        }
        self.rows.len()
    }
}

/// The rows that are out there, with their ranks.
fn ranked(rows: &[Row], spec: &TopNSpec) -> Vec<Ranked> {
    let mut walk = Walk::default();
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        walk.enter(row.placed.order());
        for (rank, count) in walk.ranks(spec.rank, row.count) {
            if spec.ranks.contains(&rank) {
                let placed = row.placed.clone();
                all.push(Ranked {
                    rank,
                    placed,
                    count,
                });
            }
        }
        walk.pass(row.count);
    }
    all
}

/// Makes what the state has of a partition what is there now. Both are in the order of the keys.
fn save(prefix: &[u8], saved: &[Row], now: &[Row], state: &mut State) {
    let at = |row: &Row| [prefix, row.placed.bytes()].concat();
    let mut saved = saved.iter().peekable();
    for row in now {
        let order = |other: &&Row| other.placed.bytes().cmp(row.placed.bytes());
        while let Some(gone) = saved.next_if(|other| order(other) == Ordering::Less) {
            state.delete_last(at(gone));
        }
        let known = saved.next_if(|other| order(other) == Ordering::Equal);
        if known.is_none_or(|known| known.count != row.count) {
            let row_bytes = row.placed.row().len();
            state.put_last(at(row), Entry::value(row.count, row_bytes));
        }
    }
    saved.for_each(|gone| state.delete_last(at(gone)));
}
