//! `min(x)` and `max(x)` over input that takes rows back: every value with its count, in order, in the state below the
//! group; in memory only the best one.
//!
//! Invariants:
//! 1. The state holds `[group key][aggregate u16][value] → count` for every value of the group, with count > 0.
//! 2. `best` is the first or last of them.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use hashbrown::HashMap;

use super::extreme::{decoded, loaded};
use super::{Accumulator, Input, SubState, retain_at};
use crate::operator::OperatorError;
use crate::state::row::{push_bytes, push_varint, read_bytes, read_varint};
use crate::state::{Column, Physical, ScanOrder, StateError, key};

/// See the module.
#[derive(Debug)]
pub(super) struct OrderedMultiset {
    best: Vec<Option<Box<[u8]>>>,
    data_type: DataType,
    physical: Physical,
    largest: bool,
    number: u16,
}

/// A value whose count went from nothing to something (`true`) or back (`false`).
pub(super) struct Turn {
    pub(super) group: u32,
    pub(super) value: Vec<u8>,
    pub(super) appeared: bool,
    /// A row that has the value.
    pub(super) row: usize,
}

/// The prefix of the counts of a group: its state key and the aggregate's number.
pub(super) fn prefix_of(below: &SubState<'_>, group: u32, number: u16) -> Vec<u8> {
    let mut prefix = Vec::new();
    below.groups.state_key(group, &mut prefix);
    prefix.extend_from_slice(&number.to_be_bytes());
    prefix
}

/// Counts the values of a chunk into the state, and tells which appeared and which went.
pub(super) fn count_values(
    input: &Input<'_>,
    physical: Physical,
    number: u16,
    below: &mut SubState<'_>,
) -> Result<Vec<Turn>, OperatorError> {
    let Some(column) = input.values.and_then(Column::of) else {
        return Ok(Vec::new());
    };
    // First the net change within the chunk, in the order of first appearance: most values come more than once.
    let mut places: HashMap<(u32, Vec<u8>), usize, foldhash::fast::RandomState> =
        HashMap::default();
    let mut changes: Vec<(i64, usize)> = Vec::new();
    input.for_each(|row, group, sign| {
        let mut value = Vec::with_capacity(16);
        key::push_cell(physical, column.cell(row), &mut value);
        let place = *places.entry((group as u32, value)).or_insert_with(|| {
            changes.push((0, row));
            changes.len() - 1
        });
        changes[place].0 += sign;
    });
    let mut ordered: Vec<_> = places.into_iter().collect();
    ordered.sort_unstable_by_key(|(_, place)| *place);
    let mut turns = Vec::new();
    for ((group, value), place) in ordered {
        let (change, row) = changes[place];
        if change == 0 {
            continue;
        }
        let mut state_key = prefix_of(below, group, number);
        state_key.extend_from_slice(&value);
        let old = match below.state.get(&state_key)? {
            Some(bytes) => i64::try_from(read_varint(&mut bytes.as_slice())?).unwrap_or(i64::MAX),
            None => 0,
        };
        let new = old.saturating_add(change);
        if new < 0 {
            return Err(OperatorError::Inconsistent {
                operator: below.operator,
                reason: "a value was taken back that was never there".to_owned(),
            });
        }
        if new == 0 {
            below.state.delete(state_key);
        } else {
            let mut bytes = Vec::new();
            push_varint(new.unsigned_abs(), &mut bytes);
            below.state.put(state_key, bytes);
        }
        if (old > 0) != (new > 0) {
            turns.push(Turn {
                group,
                value,
                appeared: new > 0,
                row,
            });
        }
    }
    Ok(turns)
}

impl OrderedMultiset {
    pub(super) fn new(data_type: &DataType, largest: bool, number: u16) -> Self {
        let physical = Physical::of(data_type).unwrap_or(Physical::Null);
        Self {
            best: Vec::new(),
            data_type: data_type.clone(),
            physical,
            largest,
            number,
        }
    }
}

impl Accumulator for OrderedMultiset {
    fn resize(&mut self, groups: usize) {
        self.best.resize(groups, None);
    }

    fn update(&mut self, input: &Input<'_>, below: &mut SubState<'_>) -> Result<(), OperatorError> {
        let mut lost: Vec<u32> = Vec::new();
        for turn in count_values(input, self.physical, self.number, below)? {
            let best = &mut self.best[turn.group as usize];
            let equal = best.as_deref() == Some(turn.value.as_slice());
            if turn.appeared {
                let better = match best {
                    None => true,
                    Some(best) if self.largest => **best < *turn.value,
                    Some(best) => *turn.value < **best,
                };
                if better {
                    *best = Some(turn.value.into());
                }
            } else if equal {
                lost.push(turn.group);
            }
        }
        let order = if self.largest {
            ScanOrder::Descending
        } else {
            ScanOrder::Ascending
        };
        lost.sort_unstable();
        lost.dedup();
        for group in lost {
            let edge = below
                .state
                .edge(&prefix_of(below, group, self.number), order)?;
            self.best[group as usize] = edge.map(Vec::into_boxed_slice);
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32], _overflowed: &mut Vec<usize>) -> ArrayRef {
        let values = groups
            .iter()
            .map(|&group| self.best[group as usize].as_deref());
        decoded(&self.data_type, self.physical, values)
    }

    fn save(&self, group: usize, out: &mut Vec<u8>) {
        push_bytes(self.best[group].as_deref().unwrap_or_default(), out);
    }

    fn load(&mut self, group: usize, bytes: &mut &[u8]) -> Result<(), StateError> {
        self.best[group] = loaded(self.physical, read_bytes(bytes)?)?;
        Ok(())
    }

    fn retain(&mut self, kept: &[u32]) {
        retain_at(&mut self.best, kept);
    }

    fn group_bytes(&self) -> usize {
        48
    }
}
