//! The groups in memory: their numbers, rows, flags and accumulators, and how one is written into the state.
//!
//! State, by group key, version 2:
//! `[version u8][flags varint: 1 = emitted, 2 = overflowed][rows zigzag] n × ([call varint][length varint, accumulator])`.
//! An aggregate that is unknown here is passed over, one that is not there yet is empty.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use crate::aggregate::{Accumulator, GroupTable, retain_at};
use crate::state::StateError;
use crate::state::row::{
    push_bytes, push_varint, push_zigzag, read_bytes, read_exact, read_varint, read_zigzag,
};
use crate::{AggregateCall, OperatorId};

/// Changed since the last emission.
pub(super) const CHANGED: u8 = 1;
/// Changed since the last commit.
pub(super) const UNSAVED: u8 = 1 << 1;
/// Its row is out there.
pub(super) const EMITTED: u8 = 1 << 2;
/// The state has it.
pub(super) const SAVED: u8 = 1 << 3;
/// Its window is closed for good: it is to be forgotten.
pub(super) const CLOSED: u8 = 1 << 4;
/// Changed in the running commit: not evicted at its end.
pub(super) const TOUCHED: u8 = 1 << 5;
/// A result does not fit its type, and that was said.
pub(super) const OVERFLOWED: u8 = 1 << 6;

/// Layout of a group's state.
const VERSION: u8 = 2;

/// Groups with dense numbers.
pub(super) struct Groups {
    pub(super) table: GroupTable,
    pub(super) accumulators: Vec<Box<dyn Accumulator>>,
    /// Rows of each group.
    pub(super) rows: Vec<i64>,
    pub(super) flags: Vec<u8>,
}

impl Groups {
    /// No groups, and no columns to tell them by.
    pub(super) fn none() -> Self {
        Self::new(OperatorId(0), &[], None, Vec::new())
    }

    pub(super) fn new(
        operator: OperatorId,
        columns: &[(DataType, bool)],
        window_end: Option<usize>,
        accumulators: Vec<Box<dyn Accumulator>>,
    ) -> Self {
        Self {
            table: GroupTable::new(operator.0, columns, window_end),
            accumulators,
            rows: Vec::new(),
            flags: Vec::new(),
        }
    }

    pub(super) fn resize(&mut self, count: usize) {
        self.rows.resize(count, 0);
        self.flags.resize(count, 0);
        self.accumulators
            .iter_mut()
            .for_each(|accumulator| accumulator.resize(count));
    }

    pub(super) fn state_key(&self, group: u32) -> Vec<u8> {
        let mut state_key = Vec::with_capacity(64);
        self.table.state_key(group, &mut state_key);
        state_key
    }

    pub(super) fn load(
        &mut self,
        group: usize,
        calls: &[AggregateCall],
        mut value: &[u8],
    ) -> Result<(), StateError> {
        let bytes = &mut value;
        let flags = read_flags(bytes)?;
        self.rows[group] = read_zigzag(bytes)?;
        while !bytes.is_empty() {
            let id = read_varint(bytes)?;
            let mut saved = read_bytes(bytes)?;
            let call = calls.iter().position(|call| u64::from(call.id) == id);
            if let Some(call) = call {
                self.accumulators[call].merge(group, &mut saved)?;
            }
        }
        self.flags[group] |= SAVED | flags;
        Ok(())
    }

    pub(super) fn save(&self, group: u32, calls: &[AggregateCall]) -> Vec<u8> {
        let flags = self.flags[group as usize];
        let mut value = Vec::with_capacity(64);
        value.push(VERSION);
        let said = u64::from(flags & EMITTED != 0) | u64::from(flags & OVERFLOWED != 0) << 1;
        push_varint(said, &mut value);
        push_zigzag(self.rows[group as usize], &mut value);
        let mut saved = Vec::with_capacity(32);
        for (call, accumulator) in calls.iter().zip(&self.accumulators) {
            saved.clear();
            accumulator.save(group as usize, &mut saved);
            push_varint(u64::from(call.id), &mut value);
            push_bytes(&saved, &mut value);
        }
        value
    }

    pub(super) fn results(&self, groups: &[u32], overflowed: &mut Vec<usize>) -> Vec<ArrayRef> {
        self.accumulators
            .iter()
            .map(|accumulator| accumulator.evaluate(groups, overflowed))
            .collect()
    }

    /// Keeps only these groups (rising), which become `0..kept.len()`.
    pub(super) fn retain(&mut self, kept: &[u32]) {
        self.table.retain(kept);
        self.accumulators
            .iter_mut()
            .for_each(|accumulator| accumulator.retain(kept));
        retain_at(&mut self.rows, kept);
        retain_at(&mut self.flags, kept);
    }

    /// What all groups take, about.
    pub(super) fn size_bytes(&self) -> usize {
        let accumulators = self.accumulators.iter();
        let values: usize = accumulators
            .map(|accumulator| accumulator.size_bytes())
            .sum();
        self.table.size_bytes() + self.table.len() * 32 + values
    }
}

/// The same state, of a group whose row is out there.
pub(super) fn emitted(mut value: Vec<u8>) -> Vec<u8> {
    // The flags are below 128, so they are one byte.
    if let Some(flags) = value.get_mut(1) {
        *flags |= 1;
    }
    value
}

/// Reads the head of a group's state: its flags, as they are in memory.
pub(super) fn read_flags(bytes: &mut &[u8]) -> Result<u8, StateError> {
    let version = read_exact(1, bytes)?[0];
    if version != VERSION {
        return Err(StateError::Corrupt {
            what: "state of a group",
            reason: format!("it has version {version}, this program knows {VERSION}"),
        });
    }
    let said = read_varint(bytes)?;
    let emitted = if said & 1 != 0 { EMITTED } else { 0 };
    Ok(emitted | if said & 2 != 0 { OVERFLOWED } else { 0 })
}
