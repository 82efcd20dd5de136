//! One value a group in the encoding of keys (see `state/key.rs`), whose order is that of the values.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::retain_at;
use crate::state::row::{push_bytes, read_bytes};
use crate::state::{ColumnBuilder, Physical, StateError, key};

/// What an allocation costs beside its bytes, about.
const ALLOCATION_BYTES: usize = 16;

/// A value, or none, for each group.
#[derive(Debug)]
pub(super) struct EncodedValues {
    values: Vec<Option<Box<[u8]>>>,
    data_type: DataType,
    physical: Physical,
    /// What new groups have.
    initial: Option<Box<[u8]>>,
    /// Of all values.
    bytes: usize,
}

impl EncodedValues {
    /// No groups; `initial` is what new ones begin with.
    pub(super) fn new(data_type: &DataType, initial: Option<Box<[u8]>>) -> Self {
        Self {
            values: Vec::new(),
            data_type: data_type.clone(),
            physical: Physical::of(data_type).unwrap_or(Physical::Null),
            initial,
            bytes: 0,
        }
    }

    pub(super) fn resize(&mut self, groups: usize) {
        let added = groups.saturating_sub(self.values.len());
        self.bytes += added * cost(self.initial.as_deref());
        self.values.resize(groups, self.initial.clone());
    }

    pub(super) fn get(&self, group: usize) -> Option<&[u8]> {
        self.values[group].as_deref()
    }

    pub(super) fn set(&mut self, group: usize, value: Option<Box<[u8]>>) {
        self.bytes += cost(value.as_deref());
        let old = std::mem::replace(&mut self.values[group], value);
        self.bytes -= cost(old.as_deref());
    }

    /// Sets a value where it is larger (or smaller) than what is there.
    pub(super) fn improve(&mut self, group: usize, value: &[u8], largest: bool) {
        let better = match self.get(group) {
            None => true,
            Some(best) if largest => best < value,
            Some(best) => value < best,
        };
        if better {
            self.set(group, Some(value.into()));
        }
    }

    /// The values of these groups; NULL where there is none.
    pub(super) fn column(&self, groups: &[u32]) -> ArrayRef {
        let mut builder = ColumnBuilder::new(&self.data_type, groups.len())
            .expect("a plan with another type is refused");
        for &group in groups {
            // What does not decode was refused when it was read from the state.
            let pushed = self.get(group as usize).is_some_and(|mut bytes| {
                key::read_cell(self.physical, &mut bytes, |cell| builder.push(cell)).is_ok()
            });
            if !pushed {
                builder.push_null();
            }
        }
        builder.finish()
    }

    /// Appends the value behind its length, which is 0 where there is none.
    pub(super) fn save(&self, group: usize, out: &mut Vec<u8>) {
        push_bytes(self.get(group).unwrap_or_default(), out);
    }

    /// Reads a value that was saved, and checks it.
    pub(super) fn read(&self, bytes: &mut &[u8]) -> Result<Option<Box<[u8]>>, StateError> {
        let value = read_bytes(bytes)?;
        if value.is_empty() {
            return Ok(None);
        }
        key::read_cell(self.physical, &mut &*value, |_| Ok(()))?;
        Ok(Some(value.into()))
    }

    pub(super) fn retain(&mut self, kept: &[u32]) {
        retain_at(&mut self.values, kept);
        let costs = self.values.iter().map(|value| cost(value.as_deref()));
        self.bytes = costs.sum();
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.values.len() * size_of::<Option<Box<[u8]>>>() + self.bytes
    }
}

fn cost(value: Option<&[u8]>) -> usize {
    value.map_or(0, |value| value.len() + ALLOCATION_BYTES)
}
