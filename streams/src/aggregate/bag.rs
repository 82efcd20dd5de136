//! The values below a group: an ordered multiset in the state, spilled with it and never in memory as a whole.
//!
//! ```text
//! key     [group key][aggregate u16 BE] then an entry: [order columns][argument columns]
//! value   [count varint], with order columns also [their bytes in the key, varint]
//!         81 00, a count of one in two bytes: there, and not counted, because rows only come
//!
//! argument  as in keys (see state/key.rs): NULL first
//! order     [u8: 0 = NULL that comes first, 1 = a value, 2 = NULL that comes last][value as in keys, all bits flipped
//!           where it descends]
//! ```
//!
//! Invariants:
//! 1. Every count is above zero: a value that was taken back as often as it came is gone.
//! 2. Entries come in the order of the order columns, then of the arguments; equal ones are one entry with their count.

use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use hashbrown::HashMap;

use super::seen::Seen;
use super::{Input, SubState};
use crate::error::OperatorError;
use crate::state::row::{push_varint, read_varint};
use crate::state::{Cell, Column, ColumnBuilder, Physical, ScanOrder, StateError, key};

const NULL_FIRST: u8 = 0;
const PRESENT: u8 = 1;
const NULL_LAST: u8 = 2;
/// The value of an entry that is not counted. Who counts all the same reads one.
const UNCOUNTED: [u8; 2] = [0x81, 0];

/// How values are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SortOrder {
    /// From the largest to the smallest.
    pub descending: bool,
    /// NULL comes before all values.
    pub nulls_first: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct ValueBag {
    /// Names the aggregate within its operator.
    number: u16,
    arguments: Vec<(DataType, Physical)>,
    order_by: Vec<(Physical, SortOrder)>,
}

/// A value whose count went from nothing to something (`true`) or back (`false`).
pub(super) struct Turn {
    pub(super) group: u32,
    /// The entry.
    pub(super) entry: Vec<u8>,
    pub(super) appeared: bool,
    /// A row that has the value.
    pub(super) row: usize,
}

/// What a chunk changed.
#[derive(Default)]
pub(super) struct BagChanges {
    /// Values that appeared or went, in the order of their first row.
    pub(super) turns: Vec<Turn>,
    /// Groups with another count of any value, each once.
    pub(super) groups: Vec<u32>,
}

impl ValueBag {
    pub(super) fn new(
        number: u16,
        arguments: &[DataType],
        order_by: &[(DataType, SortOrder)],
    ) -> Self {
        let physical = |data_type| Physical::of(data_type).unwrap_or(Physical::Null);
        let arguments = arguments
            .iter()
            .map(|data_type| (data_type.clone(), physical(data_type)));
        let order_by = order_by
            .iter()
            .map(|(data_type, order)| (physical(data_type), *order));
        Self {
            number,
            arguments: arguments.collect(),
            order_by: order_by.collect(),
        }
    }

    fn prefix(&self, below: &SubState<'_>, group: u32) -> Vec<u8> {
        let mut prefix = Vec::with_capacity(64);
        below.groups.state_key(group, &mut prefix);
        prefix.extend_from_slice(&self.number.to_be_bytes());
        prefix
    }

    /// Counts the rows of a chunk.
    pub(super) fn add(
        &self,
        input: &Input<'_>,
        below: &mut SubState<'_>,
    ) -> Result<BagChanges, OperatorError> {
        let arguments: Vec<Column<'_>> = input.arguments.iter().filter_map(Column::of).collect();
        let orders: Vec<Column<'_>> = input.order_by.iter().filter_map(Column::of).collect();
        if arguments.len() != self.arguments.len() || orders.len() != self.order_by.len() {
            return Ok(BagChanges::default());
        }
        // First the net change within the chunk, in the order of first appearance: most values come more than once.
        let mut places: HashMap<(u32, Vec<u8>), usize, foldhash::fast::RandomState> =
            HashMap::default();
        let mut changes: Vec<(i64, usize, usize)> = Vec::new();
        input.for_each(|row, group, sign| {
            let mut entry = Vec::with_capacity(24);
            for ((physical, order), column) in self.order_by.iter().zip(&orders) {
                push_ordered(*physical, *order, column.cell(row), &mut entry);
            }
            let order_bytes = entry.len();
            for ((_, physical), column) in self.arguments.iter().zip(&arguments) {
                key::push_cell(*physical, column.cell(row), &mut entry);
            }
            let place = *places.entry((group as u32, entry)).or_insert_with(|| {
                changes.push((0, row, order_bytes));
                changes.len() - 1
            });
            changes[place].0 += sign;
        });
        let mut ordered: Vec<_> = places.into_iter().collect();
        ordered.sort_unstable_by_key(|(_, place)| *place);
        let mut changed = BagChanges::default();
        for ((group, entry), place) in ordered {
            let (change, row, order_bytes) = changes[place];
            if change == 0 {
                continue;
            }
            let mut state_key = self.prefix(below, group);
            state_key.extend_from_slice(&entry);
            let old = match below.state.get(&state_key)? {
                Some(bytes) if bytes == UNCOUNTED => {
                    return Err(OperatorError::Inconsistent {
                        operator: below.operator,
                        reason: "its values were not counted while rows only came, and now rows are taken back: \
                                 make the view anew"
                            .to_owned(),
                    });
                }
                Some(bytes) => {
                    i64::try_from(read_varint(&mut bytes.as_slice())?).unwrap_or(i64::MAX)
                }
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
                let mut value = Vec::with_capacity(4);
                push_varint(new.unsigned_abs(), &mut value);
                if !self.order_by.is_empty() {
                    push_varint(order_bytes as u64, &mut value);
                }
                below.state.put(state_key, value);
            }
            changed.groups.push(group);
            if (old > 0) != (new > 0) {
                changed.turns.push(Turn {
                    group,
                    entry,
                    appeared: new > 0,
                    row,
                });
            }
        }
        changed.groups.sort_unstable();
        changed.groups.dedup();
        Ok(changed)
    }

    /// Notes the values of a chunk of rows that only come; gives those that were not there before. They are not counted.
    pub(super) fn appear(
        &self,
        input: &Input<'_>,
        seen: &mut Seen,
        below: &mut SubState<'_>,
    ) -> Result<Vec<Turn>, OperatorError> {
        let arguments: Vec<Column<'_>> = input.arguments.iter().filter_map(Column::of).collect();
        if arguments.len() != self.arguments.len() {
            return Ok(Vec::new());
        }
        // Values that memory does not know, in the order of their rows.
        let mut unknown: Vec<(u32, usize, Vec<u8>)> = Vec::new();
        let mut entry = Vec::with_capacity(24);
        let mut takes_back = false;
        input.for_each(|row, group, sign| {
            takes_back |= sign < 0;
            entry.clear();
            for ((_, physical), column) in self.arguments.iter().zip(&arguments) {
                key::push_cell(*physical, column.cell(row), &mut entry);
            }
            if !seen.note(group as u32, &entry, below.cache_bytes) {
                unknown.push((group as u32, row, entry.clone()));
            }
        });
        if takes_back {
            return Err(OperatorError::Inconsistent {
                operator: below.operator,
                reason: "a row was taken back, of rows that only come".to_owned(),
            });
        }
        let mut turns = Vec::new();
        for (group, row, entry) in unknown {
            let mut state_key = self.prefix(below, group);
            state_key.extend_from_slice(&entry);
            if below.state.get(&state_key)?.is_some() {
                continue;
            }
            below.state.put(state_key, UNCOUNTED.to_vec());
            turns.push(Turn {
                group,
                entry,
                appeared: true,
                row,
            });
        }
        Ok(turns)
    }

    /// The first or last entry of a group.
    pub(super) fn edge(
        &self,
        below: &SubState<'_>,
        group: u32,
        order: ScanOrder,
    ) -> Result<Option<Vec<u8>>, StateError> {
        below.state.edge(&self.prefix(below, group), order)
    }

    /// Visits the entries of a group in order: the bytes of their arguments, and how often they are there.
    pub(super) fn visit(
        &self,
        below: &SubState<'_>,
        group: u32,
        mut visit: impl FnMut(&[u8], u64) -> ControlFlow<()>,
    ) -> Result<(), StateError> {
        let prefix = self.prefix(below, group);
        let mut failed = None;
        below
            .state
            .scan_prefix(&prefix, ScanOrder::Ascending, |state_key, value| {
                let read = self.read_entry(&state_key[prefix.len()..], value);
                match read {
                    Ok((arguments, count)) => visit(arguments, count),
                    Err(error) => {
                        failed = Some(error);
                        ControlFlow::Break(())
                    }
                }
            })?;
        failed.map_or(Ok(()), Err)
    }

    fn read_entry<'a>(
        &self,
        entry: &'a [u8],
        mut value: &[u8],
    ) -> Result<(&'a [u8], u64), StateError> {
        let count = read_varint(&mut value)?;
        let order_bytes = match self.order_by.is_empty() {
            true => 0,
            false => read_varint(&mut value)?,
        };
        let arguments = usize::try_from(order_bytes)
            .ok()
            .and_then(|from| entry.get(from..));
        let arguments = arguments.ok_or_else(|| StateError::Corrupt {
            what: "value below a group",
            reason: "its order is longer than it".to_owned(),
        })?;
        Ok((arguments, count))
    }

    /// Builders for the arguments.
    pub(super) fn builders(&self, capacity: usize) -> Vec<ColumnBuilder> {
        self.arguments
            .iter()
            .map(|(data_type, _)| {
                ColumnBuilder::new(data_type, capacity)
                    .expect("a plan with another type is refused")
            })
            .collect()
    }

    /// Adds the arguments of an entry to the builders.
    pub(super) fn push(
        &self,
        mut arguments: &[u8],
        builders: &mut [ColumnBuilder],
    ) -> Result<(), StateError> {
        for ((_, physical), builder) in self.arguments.iter().zip(builders) {
            key::read_cell(*physical, &mut arguments, |cell| builder.push(cell))?;
        }
        Ok(())
    }
}

fn push_ordered(physical: Physical, order: SortOrder, cell: Cell<'_>, out: &mut Vec<u8>) {
    if matches!(cell, Cell::Null) {
        out.push(if order.nulls_first {
            NULL_FIRST
        } else {
            NULL_LAST
        });
        return;
    }
    out.push(PRESENT);
    let from = out.len();
    key::push_cell(physical, cell, out);
    if order.descending {
        out[from..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};

    use super::*;
    use crate::OperatorId;
    use crate::aggregate::GroupTable;
    use crate::state::{MemoryStore, State};

    #[test]
    fn values_that_were_not_counted_are_not_taken_back() {
        let bag = ValueBag::new(0, &[DataType::Int64], &[]);
        let mut table = GroupTable::new(1, &[], None);
        table.intern(&[], 1);
        let mut state = State::new(Arc::new(MemoryStore::new(usize::MAX)));
        let mut below = SubState {
            state: &mut state,
            groups: &table,
            operator: OperatorId(1),
            cache_bytes: 0,
        };
        let arguments = [Arc::new(Int64Array::from(vec![7, 7, 8])) as ArrayRef];
        let input = |signs| Input {
            groups: &[0, 0, 0],
            arguments: &arguments,
            order_by: &[],
            signs,
            mask: None,
        };
        let mut seen = Seen::default();
        let rows = |turns: Vec<Turn>| turns.iter().map(|turn| turn.row).collect::<Vec<_>>();
        let appeared = bag.appear(&input(None), &mut seen, &mut below).unwrap();
        assert_eq!(rows(appeared), [0, 2]);
        let appeared = bag.appear(&input(None), &mut seen, &mut below).unwrap();
        assert_eq!(rows(appeared), [0; 0]);
        let signs: &[i8] = &[-1, -1, -1];
        assert!(
            bag.appear(&input(Some(signs)), &mut seen, &mut below)
                .is_err()
        );
        let Err(error) = bag.add(&input(Some(signs)), &mut below) else {
            panic!("there is no count to take from");
        };
        assert!(error.to_string().contains("make the view anew"), "{error}");
    }
}
