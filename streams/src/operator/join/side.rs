//! The rows of one side of a join: the state (as stored.rs has it), and in front of it the rows of the keys that were asked
//! for last.
//!
//! A key is in memory *whole*, or known to be *large* (its rows are read in pieces and written through), or only what was
//! *added* since the last commit is there, which needs no reading. What changed in memory goes to the state with the
//! commit. Memory is bounded: keys that nobody asked for since the clock's hand passed them last go, clean ones only.
//!
//! Invariants:
//! 1. A whole key has all its rows in memory; what the state lacks of them is marked.
//! 2. Memory does not exceed its limit by more than the keys of one chunk and what the next commit writes.

use std::ops::ControlFlow;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use hashbrown::HashTable;

use super::super::{Memory, OperatorError};
use super::bucket::{Kept, Rows, row_bytes};
use super::keyed::{KeyColumns, Keyed};
use super::numbers::Numbers;
use super::stored::{decoded, encoded, place_of_time, vnode_prefix};
use crate::OperatorId;
use crate::state::row::read_varint;
use crate::state::{Physical, ScanOrder, State, StateError, key, prefix_end};

/// The slot of a key of a side that never had a row.
const NOWHERE: u32 = u32::MAX;
/// A key beside its rows, about.
const SLOT_BYTES: usize = 96;
/// So many keys are looked at for what may go, by chunk.
const TRIMMED_MAX: usize = 64 << 10;
/// What a side is.
pub(super) struct SideSpec {
    pub(super) keys: KeyColumns,
    pub(super) schema: SchemaRef,
    /// Rows are never taken back: they are kept under numbers.
    pub(super) append_only: bool,
    /// How many rows of the other side a row matches is kept with it.
    pub(super) degrees: bool,
}

/// See the module.
pub(super) struct Side {
    pub(super) spec: SideSpec,
    number: u8,
    operator: OperatorId,
    /// The physical types of the key columns.
    physicals: Vec<Physical>,
    /// Whether it has ever had rows, and whether the state says so.
    used: bool,
    used_is_stored: bool,
    numbers: Numbers,
    slots: Vec<Slot>,
    free: Vec<u32>,
    index: HashTable<u32>,
    /// Slots with something that the state lacks.
    dirty: Vec<u32>,
    dirty_bytes: usize,
    hand: usize,
    bytes: usize,
    memory: Memory,
}

struct Slot {
    key: Box<[u8]>,
    hash: u64,
    vnode: u16,
    bucket: Bucket,
    /// Places of rows that are gone, which the state still has.
    gone: Vec<Box<[u8]>>,
    bytes: usize,
    used: bool,
    dirty: bool,
}

enum Bucket {
    Whole(Rows),
    Added(Rows),
    Large,
    Free,
}

/// A row that is visited.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    /// Where it lies among those of its key.
    pub(super) place: &'a [u8],
    pub(super) row: &'a [u8],
    pub(super) count: u64,
}

/// A change of a side.
pub(super) struct Change<'a> {
    pub(super) slot: u32,
    pub(super) time: Option<i64>,
    pub(super) row: &'a [u8],
    pub(super) sign: i8,
    pub(super) degree: u64,
}

impl Side {
    pub(super) fn new(number: u8, operator: OperatorId, spec: SideSpec, memory: &Memory) -> Self {
        let types = spec.keys.columns.iter();
        let physicals =
            types.filter_map(|&column| Physical::of(spec.schema.field(column).data_type()));
        Self {
            physicals: physicals.collect(),
            spec,
            number,
            operator,
            used: false,
            used_is_stored: false,
            numbers: Numbers::default(),
            slots: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            dirty: Vec::new(),
            dirty_bytes: 0,
            hand: 0,
            bytes: 0,
            memory: memory.clone(),
        }
    }

    /// Two sides share what an operator may have.
    fn bytes_max(&self) -> usize {
        self.memory.cache_bytes() / 2
    }

    fn whole_key(&self, name: &str) -> Vec<u8> {
        let side = if self.number == 0 { "left" } else { "right" };
        key::whole(self.operator.0, &format!("{side}.{name}"))
    }

    fn is_marked(&self, state: &State) -> Result<bool, StateError> {
        Ok(state.get(&self.whole_key("used"))?.is_some())
    }

    /// Reads what is known of the two sides of a join as wholes.
    pub(super) fn open(sides: &mut [Self; 2], state: &State) -> Result<(), StateError> {
        let marked = [sides[0].is_marked(state)?, sides[1].is_marked(state)?];
        let (from, to) = key::operator_range(sides[0].operator.0);
        let mut empty = true;
        state.scan(&from, &to, ScanOrder::Ascending, |_, _| {
            empty = false;
            ControlFlow::Break(())
        })?;
        // Without any mark the state is of before there were marks, if there is one.
        let unknown = !empty && marked == [false, false];
        for (side, marked) in sides.iter_mut().zip(marked) {
            side.used = marked || unknown;
            side.used_is_stored = marked;
            if let Some(value) = state.get(&side.whole_key("next"))? {
                side.numbers.floor = read_varint(&mut value.as_slice())?;
            }
        }
        Ok(())
    }

    pub(super) fn keyed(
        &self,
        batch: &RecordBatch,
        hasher: &foldhash::fast::RandomState,
    ) -> Result<Keyed, StateError> {
        self.spec.keys.keyed(batch, hasher)
    }

    fn find(&self, key: &[u8], hash: u64) -> Option<u32> {
        let same = |&slot: &u32| *self.slots[slot as usize].key == *key;
        self.index.find(hash, same).copied()
    }

    fn add_slot(&mut self, key: &[u8], hash: u64, bucket: Bucket) -> u32 {
        let bytes = key.len() + SLOT_BYTES;
        self.bytes += bytes;
        let added = Slot {
            key: key.into(),
            hash,
            vnode: key::vnode(key),
            bucket,
            gone: Vec::new(),
            bytes,
            used: true,
            dirty: false,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = added;
                slot
            }
            None => {
                self.slots.push(added);
                self.slots.len() as u32 - 1
            }
        };
        let slots = &self.slots;
        let hash_of = |&slot: &u32| slots[slot as usize].hash;
        self.index.insert_unique(hash, slot, hash_of);
        slot
    }

    fn free_slot(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        self.bytes = self.bytes.saturating_sub(slot.bytes);
        slot.bucket = Bucket::Free;
        slot.key = Box::default();
        if let Ok(entry) = self.index.find_entry(slot.hash, |&other| other == number) {
            entry.remove();
        }
        self.free.push(number);
    }

    fn grow(&mut self, slot: u32, bytes: usize) {
        self.slots[slot as usize].bytes += bytes;
        self.bytes += bytes;
    }

    /// The slots of all keys, with their rows: what is not in memory is read, in the order of the state.
    /// `writes`: rows of these keys will be written too.
    pub(super) fn load(
        &mut self,
        state: &mut State,
        keyed: &Keyed,
        writes: bool,
    ) -> Result<Vec<u32>, OperatorError> {
        if !self.used && !writes {
            return Ok(vec![NOWHERE; keyed.len()]);
        }
        let mut slots = Vec::with_capacity(keyed.len());
        let mut missing: Vec<(Vec<u8>, u32)> = Vec::new();
        for number in 0..keyed.len() {
            let (encoded, hash) = (keyed.key(number), keyed.hash(number));
            let slot = match self.find(encoded, hash) {
                Some(slot) => slot,
                None => {
                    let slot = self.add_slot(encoded, hash, Bucket::Added(Rows::new()));
                    // Nothing has to be read where nothing was ever written.
                    if !self.used {
                        self.slots[slot as usize].bucket = Bucket::Whole(Rows::new());
                    }
                    slot
                }
            };
            let known = &mut self.slots[slot as usize];
            known.used = true;
            if matches!(known.bucket, Bucket::Added(_)) {
                missing.push((prefix(self.operator, self.number, known), slot));
            }
            slots.push(slot);
        }
        missing.sort_unstable();
        self.read(state, &missing)?;
        Ok(slots)
    }

    /// The slots of all keys, for rows that are only added to them.
    pub(super) fn touch(&mut self, keyed: &Keyed) -> Vec<u32> {
        let slot = |number| {
            let (encoded, hash) = (keyed.key(number), keyed.hash(number));
            self.find(encoded, hash)
                .unwrap_or_else(|| self.add_slot(encoded, hash, Bucket::Added(Rows::new())))
        };
        (0..keyed.len()).map(slot).collect()
    }

    /// Makes these keys whole, or large.
    fn read(&mut self, state: &mut State, missing: &[(Vec<u8>, u32)]) -> Result<(), OperatorError> {
        let prefixes: Vec<&[u8]> = missing
            .iter()
            .map(|(prefix, _)| prefix.as_slice())
            .collect();
        let (append_only, degrees) = (self.spec.append_only, self.spec.degrees);
        let one_max = self.bytes_max() / 4;
        let mut room = (2 * self.bytes_max()).saturating_sub(self.bytes);
        let mut read: Vec<(Rows, usize, bool)> = Vec::new();
        read.resize_with(missing.len(), || (Rows::new(), 0, false));
        let mut failed = None;
        state.scan_prefixes(&prefixes, |index, state_key, value| {
            let (rows, bytes, large) = &mut read[index];
            let place = &state_key[prefixes[index].len()..];
            match decoded(value, append_only, degrees) {
                Ok(kept) => {
                    let cost = row_bytes(place, &kept.row);
                    if *bytes + cost > one_max || cost > room {
                        *large = true;
                        return ControlFlow::Break(());
                    }
                    *bytes += cost;
                    room -= cost;
                    rows.insert(place.into(), kept);
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        for ((_, number), (mut rows, bytes, large)) in missing.iter().zip(read) {
            if large {
                self.make_large(state, *number);
                continue;
            }
            let slot = &mut self.slots[*number as usize];
            match std::mem::replace(&mut slot.bucket, Bucket::Free) {
                Bucket::Added(Rows::Few(added)) => {
                    added
                        .into_iter()
                        .for_each(|(place, kept)| rows.insert(place, kept));
                }
                Bucket::Added(Rows::Many(added)) => {
                    added
                        .into_iter()
                        .for_each(|(place, kept)| rows.insert(place, kept));
                }
                _ => {}
            }
            slot.bucket = Bucket::Whole(rows);
            self.grow(*number, bytes);
        }
        Ok(())
    }

    /// Writes what the state lacks of a key, which is not kept in memory any more.
    fn make_large(&mut self, state: &mut State, number: u32) {
        self.write_back(state, number, State::put, State::delete);
        let slot = &mut self.slots[number as usize];
        slot.bucket = Bucket::Large;
        let bytes = slot.key.len() + SLOT_BYTES;
        self.bytes = self.bytes + bytes - slot.bytes.max(bytes);
        slot.bytes = bytes;
    }

    fn write_back(
        &mut self,
        state: &mut State,
        number: u32,
        put: fn(&mut State, Vec<u8>, Vec<u8>),
        delete: fn(&mut State, Vec<u8>),
    ) {
        let slot = &mut self.slots[number as usize];
        let prefix = prefix(self.operator, self.number, slot);
        let at = |place: &[u8]| [prefix.as_slice(), place].concat();
        // What is gone first: a row of that place may have come since.
        for place in slot.gone.drain(..) {
            delete(state, at(&place));
        }
        let (append_only, degrees) = (self.spec.append_only, self.spec.degrees);
        if let Bucket::Whole(rows) | Bucket::Added(rows) = &mut slot.bucket {
            rows.visit_mut(|place, kept| {
                if std::mem::take(&mut kept.changed) {
                    kept.stored = true;
                    put(state, at(place), encoded(kept, append_only, degrees));
                }
            });
        }
    }

    fn mark_dirty(&mut self, number: u32, bytes: usize) {
        self.dirty_bytes += bytes;
        let slot = &mut self.slots[number as usize];
        if !std::mem::replace(&mut slot.dirty, true) {
            self.dirty.push(number);
        }
    }

    /// Whether a key has rows.
    pub(super) fn has_rows(&self, state: &State, slot: u32) -> Result<bool, StateError> {
        let mut any = false;
        self.visit(state, slot, &[], None, |_| {
            any = true;
            ControlFlow::Break(())
        })?;
        Ok(any)
    }

    /// Visits the rows of a key from place `from` up to, without it, place `to` (`None`: to the last one).
    pub(super) fn visit(
        &self,
        state: &State,
        slot: u32,
        from: &[u8],
        to: Option<&[u8]>,
        mut visit: impl FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> Result<(), StateError> {
        let Some(slot) = self.slots.get(slot as usize).filter(|_| slot != NOWHERE) else {
            return Ok(());
        };
        let (append_only, degrees) = (self.spec.append_only, self.spec.degrees);
        let before_row = if self.spec.keys.time.is_some() { 8 } else { 0 };
        let mut found = |place: &[u8], kept: &Kept| {
            visit(Found {
                place,
                row: if append_only {
                    &kept.row
                } else {
                    &place[before_row..]
                },
                count: kept.count,
            })
        };
        if let Bucket::Whole(rows) = &slot.bucket {
            rows.visit(from, to, found);
            return Ok(());
        }
        let prefix = prefix(self.operator, self.number, slot);
        let to = to.map_or_else(|| prefix_end(&prefix), |to| [&prefix, to].concat());
        let mut failed = None;
        state.scan(
            &[&prefix, from].concat(),
            &to,
            ScanOrder::Ascending,
            |state_key, value| {
                let place = &state_key[prefix.len()..];
                match decoded(value, append_only, degrees) {
                    Ok(kept) => found(place, &kept),
                    Err(error) => {
                        failed = Some(error);
                        ControlFlow::Break(())
                    }
                }
            },
        )?;
        failed.map_or(Ok(()), Err)
    }

    /// Writes a change of this side.
    pub(super) fn write(
        &mut self,
        state: &mut State,
        change: &Change<'_>,
    ) -> Result<(), OperatorError> {
        self.used = true;
        let mut place = Vec::with_capacity(8 + change.row.len());
        place.extend(change.time.into_iter().flat_map(place_of_time));
        if self.spec.append_only {
            let vnode = self.slots[change.slot as usize].vnode;
            let number = self
                .numbers
                .next(state, self.operator, self.number, vnode)?;
            place.extend_from_slice(&number.to_be_bytes());
            let kept = Kept {
                row: change.row.into(),
                count: 1,
                degree: change.degree,
                stored: false,
                changed: true,
            };
            self.add(state, change.slot, place, kept);
            return Ok(());
        }
        place.extend_from_slice(change.row);
        let operator = self.operator;
        let absent = || OperatorError::Inconsistent {
            operator,
            reason: "a row was taken back that was never there".to_owned(),
        };
        let slot = &mut self.slots[change.slot as usize];
        let Bucket::Whole(rows) = &mut slot.bucket else {
            let mut kept = self.stored(state, change.slot, &place)?.unwrap_or_default();
            kept.count = kept
                .count
                .checked_add_signed(change.sign.into())
                .ok_or_else(absent)?;
            kept.degree = change.degree;
            self.store(state, change.slot, &place, &kept);
            return Ok(());
        };
        let Some(kept) = rows.get_mut(&place) else {
            if change.sign < 0 {
                return Err(absent());
            }
            let kept = Kept {
                count: 1,
                degree: change.degree,
                changed: true,
                ..Kept::default()
            };
            self.add(state, change.slot, place, kept);
            return Ok(());
        };
        kept.count = kept
            .count
            .checked_add_signed(change.sign.into())
            .ok_or_else(absent)?;
        kept.degree = change.degree;
        kept.changed = true;
        if kept.count == 0 {
            let bytes = row_bytes(&place, &[]).min(slot.bytes);
            slot.bytes -= bytes;
            self.bytes = self.bytes.saturating_sub(bytes);
            if kept.stored {
                slot.gone.push(place.as_slice().into());
            }
            rows.remove(&place);
        }
        self.mark_dirty(change.slot, place.len() + 32);
        Ok(())
    }

    /// Adds a row at a place that is free.
    fn add(&mut self, state: &mut State, number: u32, place: Vec<u8>, kept: Kept) {
        let bytes = row_bytes(&place, &kept.row);
        let slot = &mut self.slots[number as usize];
        match &mut slot.bucket {
            Bucket::Whole(rows) | Bucket::Added(rows) => rows.insert(place.into(), kept),
            Bucket::Large | Bucket::Free => {
                self.store(state, number, &place, &kept);
                return;
            }
        }
        self.grow(number, bytes);
        self.mark_dirty(number, bytes);
        if self.slots[number as usize].bytes > self.bytes_max() / 4 {
            self.make_large(state, number);
        }
    }

    /// Adds to how many rows a row of this side matches; gives what it was before.
    pub(super) fn add_degree(
        &mut self,
        state: &mut State,
        number: u32,
        place: &[u8],
        change: i64,
    ) -> Result<u64, OperatorError> {
        let operator = self.operator;
        let wrong = |reason: &str| OperatorError::Inconsistent {
            operator,
            reason: reason.to_owned(),
        };
        let slot = &mut self.slots[number as usize];
        let Bucket::Whole(rows) = &mut slot.bucket else {
            let kept = self.stored(state, number, place)?;
            let mut kept = kept.ok_or_else(|| wrong("a row that matched is gone"))?;
            let before = kept.degree;
            let after = before.checked_add_signed(change);
            kept.degree = after.ok_or_else(|| wrong("a match went that never came"))?;
            self.store(state, number, place, &kept);
            return Ok(before);
        };
        let kept = rows
            .get_mut(place)
            .ok_or_else(|| wrong("a row that matched is gone"))?;
        let before = kept.degree;
        let after = before.checked_add_signed(change);
        kept.degree = after.ok_or_else(|| wrong("a match went that never came"))?;
        kept.changed = true;
        let bytes = row_bytes(place, &kept.row);
        self.mark_dirty(number, bytes);
        Ok(before)
    }

    /// A row of a large key.
    fn stored(&self, state: &State, slot: u32, place: &[u8]) -> Result<Option<Kept>, StateError> {
        let slot = &self.slots[slot as usize];
        let prefix = prefix(self.operator, self.number, slot);
        let value = state.get(&[prefix.as_slice(), place].concat())?;
        value
            .map(|value| decoded(&value, self.spec.append_only, self.spec.degrees))
            .transpose()
    }

    /// Writes a row of a large key through.
    fn store(&self, state: &mut State, slot: u32, place: &[u8], kept: &Kept) {
        let slot = &self.slots[slot as usize];
        let state_key = [prefix(self.operator, self.number, slot).as_slice(), place].concat();
        match kept.count {
            0 => state.delete(state_key),
            _ => state.put(
                state_key,
                encoded(kept, self.spec.append_only, self.spec.degrees),
            ),
        }
    }

    /// About how many bytes the next commit writes.
    pub(super) fn dirty_bytes(&self) -> usize {
        self.dirty_bytes
    }

    /// About how many bytes are in memory.
    pub(super) fn size_bytes(&self) -> usize {
        self.bytes
    }

    /// Writes what the state lacks. `is_read`: some of it will be read before the commit is done.
    pub(super) fn commit(&mut self, state: &mut State, is_read: bool) {
        self.dirty_bytes = 0;
        for number in std::mem::take(&mut self.dirty) {
            if is_read {
                self.write_back(state, number, State::put, State::delete);
            } else {
                self.write_back(state, number, State::put_last, State::delete_last);
            }
            let slot = &mut self.slots[number as usize];
            slot.dirty = false;
            if matches!(slot.bucket, Bucket::Added(_)) {
                self.free_slot(number);
            }
        }
        self.numbers.commit(state, self.operator, self.number);
        if self.used && !self.used_is_stored {
            self.used_is_stored = true;
            state.put(self.whole_key("used"), Vec::new());
        }
    }

    /// Forgets keys that nobody has asked for lately, until memory is below its limit.
    pub(super) fn trim(&mut self) {
        let bytes_max = self.bytes_max();
        // Each slot is passed twice at most: once its mark goes, then itself. Where little is clean, not all in one go.
        for _ in 0..(2 * self.slots.len()).min(TRIMMED_MAX) {
            if self.bytes <= bytes_max {
                return;
            }
            self.hand = (self.hand + 1) % self.slots.len();
            let slot = &mut self.slots[self.hand];
            if slot.dirty || matches!(slot.bucket, Bucket::Free) {
                continue;
            }
            if !std::mem::take(&mut slot.used) {
                self.free_slot(self.hand as u32);
            }
        }
    }

    /// Forgets all rows whose time lies before `time`, in memory and in the state. Everything is written.
    pub(super) fn drop_before(&mut self, state: &mut State, time: i64) -> Result<(), StateError> {
        let first = place_of_time(time);
        for slot in &mut self.slots {
            if let Bucket::Whole(rows) = &mut slot.bucket {
                rows.drop_before(&first);
                let bytes = slot.key.len() + SLOT_BYTES + rows.bytes();
                self.bytes = (self.bytes + bytes).saturating_sub(slot.bytes);
                slot.bytes = bytes;
            }
        }
        let mut old: Vec<Vec<u8>> = Vec::new();
        for vnode in 0..key::VNODES as u16 {
            let prefix = vnode_prefix(self.operator, vnode, self.number);
            let mut failed = None;
            state.scan_prefix(&prefix, ScanOrder::Ascending, |state_key, _| {
                let mut rest = &state_key[prefix.len()..];
                for &physical in &self.physicals {
                    if let Err(error) = key::read_cell(physical, &mut rest, |_| Ok(())) {
                        failed = Some(error);
                        return ControlFlow::Break(());
                    }
                }
                if rest < first.as_slice() {
                    old.push(state_key.to_vec());
                }
                ControlFlow::Continue(())
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
        }
        old.into_iter()
            .for_each(|state_key| state.delete(state_key));
        Ok(())
    }
}

/// What all state keys of a join key begin with.
fn prefix(operator: OperatorId, side: u8, slot: &Slot) -> Vec<u8> {
    let mut prefix = vnode_prefix(operator, slot.vnode, side);
    prefix.extend_from_slice(&slot.key);
    prefix
}
