//! Which partitions are in memory: those in use, within a limit; the others are in the state.
//!
//! Invariants:
//! 1. A partition is here once. One that is not here may be in the state only where `is_cold` says so.
//! 2. Partitions leave after a commit, when nothing of them waits to be emitted or written.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::ops::ControlFlow;

use super::index::Partition;
use super::place::{Held, Place};
use crate::operator::Memory;
use crate::state::{Column, Physical, ScanOrder, State, StateError, key};

/// See the module.
pub(super) struct Cache {
    operator: u16,
    memory: Memory,
    places: Vec<Place>,
    /// Their numbers, by the hash of their cells.
    table: HashTable<u32>,
    hasher: FixedState,
    size_bytes: usize,
    /// The state may have partitions that are not here.
    is_cold: bool,
    /// Partitions in which this epoch has changed something.
    changed: Vec<u32>,
    /// Partitions that are not as the state has them.
    unsaved: Vec<u32>,
    /// How many rows and sessions of them wait to be written.
    unsaved_entries: usize,
}

impl Cache {
    pub(super) fn new(operator: u16, memory: &Memory) -> Self {
        Self {
            operator,
            memory: memory.clone(),
            places: Vec::new(),
            table: HashTable::new(),
            hasher: FixedState::default(),
            size_bytes: 0,
            is_cold: false,
            changed: Vec::new(),
            unsaved: Vec::new(),
            unsaved_entries: 0,
        }
    }

    /// Finds out whether the state has anything.
    pub(super) fn open(&mut self, state: &State) -> Result<(), StateError> {
        let (from, to) = key::operator_range(self.operator);
        state.scan(&from, &to, ScanOrder::Ascending, |_, _| {
            self.is_cold = true;
            ControlFlow::Break(())
        })
    }

    /// What all partitions here take.
    pub(super) fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// How many rows and sessions wait to be emitted or written, about.
    pub(super) fn waiting(&self) -> usize {
        let changed = self.changed.iter();
        let changed = changed.map(|&place| self.places[place as usize].changed.rows.len());
        changed.sum::<usize>() + self.unsaved_entries
    }

    /// The partitions of rows, by their encoded columns; those that are new here are brought in from the state.
    pub(super) fn admit(
        &mut self,
        by: &[(Physical, Column<'_>)],
        rows: usize,
        state: &State,
    ) -> Result<Vec<u32>, StateError> {
        let known = self.places.len();
        let mut cells = Vec::new();
        let mut numbers = Vec::with_capacity(rows);
        for row in 0..rows {
            cells.clear();
            key::push_row(by, row, &mut cells);
            let hash = self.hasher.hash_one(cells.as_slice());
            let number = self.find(&cells, hash);
            numbers.push(number.unwrap_or_else(|| {
                let partition = Partition::new(self.operator, &cells);
                self.add(Place::new(partition), hash)
            }));
        }
        self.load(known, state)?;
        Ok(numbers)
    }

    /// The number of a partition that is here.
    pub(super) fn number(&self, partition: &Partition) -> Option<u32> {
        let cells = partition.cells();
        self.find(cells, self.hasher.hash_one(cells))
    }

    fn find(&self, cells: &[u8], hash: u64) -> Option<u32> {
        let is_it = |place: &u32| self.places[*place as usize].partition.cells() == cells;
        self.table.find(hash, is_it).copied()
    }

    fn add(&mut self, place: Place, hash: u64) -> u32 {
        let number = self.places.len() as u32;
        self.size_bytes += place.size_bytes();
        self.places.push(place);
        let (places, hasher) = (&self.places, &self.hasher);
        self.table.insert_unique(hash, number, |&place| {
            hasher.hash_one(places[place as usize].partition.cells())
        });
        number
    }

    /// Brings in the partitions from `known` on; what is too large for the room that is left stays in the state.
    fn load(&mut self, known: usize, state: &State) -> Result<(), StateError> {
        let mut room = (self.memory.cache_bytes()).saturating_sub(self.size_bytes);
        let new = &mut self.places[known..];
        if !self.is_cold {
            new.iter_mut().for_each(|place| place.hold(Held::default()));
            return Ok(());
        }
        let mut order: Vec<usize> = (0..new.len()).collect();
        order.sort_unstable_by(|&left, &right| new[left].partition.cmp(&new[right].partition));
        let prefixes: Vec<&[u8]> = (order.iter())
            .map(|&place| new[place].partition.prefix())
            .collect();
        let mut loaded: Vec<Option<Held>> = new.iter().map(|_| Some(Held::default())).collect();
        let mut failed = None;
        state.scan_prefixes(&prefixes, |index, state_key, value| {
            let place = order[index];
            let Some(held) = &mut loaded[place] else {
                return ControlFlow::Break(());
            };
            let before = held.size_bytes();
            match new[place].partition.entry(state_key, value) {
                Ok(entry) => held.load(entry),
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            }
            match room.checked_sub(held.size_bytes() - before) {
                Some(left) => room = left,
                None => {
                    room += before;
                    loaded[place] = None;
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        for (place, held) in new.iter_mut().zip(loaded) {
            if let Some(held) = held {
                self.size_bytes += held.size_bytes();
                place.hold(held);
            }
        }
        Ok(())
    }

    /// Gives a partition away to be worked on.
    pub(super) fn lend(&mut self, number: u32) -> Place {
        let place = std::mem::take(&mut self.places[number as usize]);
        self.size_bytes -= place.size_bytes();
        self.unsaved_entries -= place.unsaved();
        place
    }

    /// Takes it back.
    pub(super) fn give_back(&mut self, number: u32, mut place: Place) {
        self.size_bytes += place.size_bytes();
        self.unsaved_entries += place.unsaved();
        if place.unsaved() > 0 && !place.waits {
            place.waits = true;
            self.unsaved.push(number);
        }
        if !place.changed.is_empty() && !place.is_listed {
            place.is_listed = true;
            self.changed.push(number);
        }
        self.places[number as usize] = place;
    }

    /// The partitions in which this epoch has changed something, in their order.
    pub(super) fn take_changed(&mut self) -> Vec<u32> {
        let changed = std::mem::take(&mut self.changed);
        self.in_order(changed)
    }

    fn in_order(&self, mut places: Vec<u32>) -> Vec<u32> {
        let partition = |place: &u32| &self.places[*place as usize].partition;
        places.sort_unstable_by(|left, right| partition(left).cmp(partition(right)));
        places
    }

    /// Writes what has changed since the last commit.
    pub(super) fn save(&mut self, state: &mut State) {
        let unsaved = std::mem::take(&mut self.unsaved);
        // In the order of the keys: what is in order need not be sorted.
        for number in self.in_order(unsaved) {
            let mut place = self.lend(number);
            place.save(state);
            place.waits = false;
            self.give_back(number, place);
        }
    }

    /// Gives up partitions of which nothing is left, and, over the limit, such as had no row in this commit.
    pub(super) fn shrink(&mut self) {
        debug_assert!(self.changed.is_empty(), "an epoch ends before its commit");
        debug_assert!(self.unsaved.is_empty(), "a commit has written all");
        let limit = self.memory.cache_bytes();
        let is_over = self.size_bytes > limit;
        let hot = self.places.iter().filter(|place| place.is_touched);
        let hot_fits = hot.map(Place::size_bytes).sum::<usize>() <= limit / 2;
        let stays = |place: &Place| match is_over {
            true => place.is_held() && place.is_touched && hot_fits,
            false => true,
        };
        let count = self.places.len();
        let mut evicted = false;
        self.places.retain_mut(|place| {
            let is_useless = place.is_useless();
            evicted |= !is_useless && !stays(place);
            place.is_touched = false;
            !is_useless && stays(place)
        });
        self.is_cold |= evicted;
        if self.places.len() == count {
            return;
        }
        self.size_bytes = self.places.iter().map(Place::size_bytes).sum();
        self.table.clear();
        let (places, hasher) = (&self.places, &self.hasher);
        let hash_of = |place: &u32| hasher.hash_one(places[*place as usize].partition.cells());
        for number in 0..places.len() as u32 {
            self.table.insert_unique(hash_of(&number), number, hash_of);
        }
    }
}
