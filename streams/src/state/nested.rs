//! Lists, structs and maps as one value of bytes, in keys and in rows; version 1.
//!
//! ```text
//! list     ([01][element])* [00]         struct   the fields, one after the other
//! map      ([01][key][value])* [00]      in the order of the keys, whatever order they came in
//! element, field, key, value             as a column of a key (`key.rs`): [00] is NULL, [01] stands before a value
//! ```
//!
//! Invariants:
//! 1. Values that are equal have equal bytes, and bytes sort as the values do: element by element, field by field.
//! 2. Types nest at most [`NESTING_MAX`] levels, so that reading and writing them by recursion is bounded.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, NullBufferBuilder, StructArray, new_empty_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, FieldRef, Fields};

use super::{Column, ColumnBuilder, Physical, StateError, key};
use crate::json::is_json;

/// How deep lists, structs and maps lie in each other at most.
pub(crate) const NESTING_MAX: usize = 16;

/// Whether values of this type, JSON apart, are kept as this module says.
pub(crate) fn is_nested(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(_) | DataType::Map(..) => true,
        DataType::Struct(_) => !is_json(data_type),
        _ => false,
    }
}

/// The fields inside of a nested type.
pub(crate) fn children(data_type: &DataType) -> &[FieldRef] {
    match data_type {
        DataType::List(field) | DataType::Map(field, _) => std::slice::from_ref(field),
        DataType::Struct(fields) if !is_json(data_type) => fields,
        _ => &[],
    }
}

/// Whether all that a type is made of can be kept.
pub(super) fn is_storable(data_type: &DataType, levels: usize) -> bool {
    match data_type {
        nested if is_nested(nested) => {
            levels > 0
                && (children(nested).iter()).all(|field| is_storable(field.data_type(), levels - 1))
        }
        plain => Physical::of(plain).is_some(),
    }
}

/// The values of a nested array as bytes; `None` for a type that state does not hold, and for more bytes than fit.
pub(super) fn encode(array: &ArrayRef) -> Option<(OffsetBuffer<i32>, Vec<u8>)> {
    let parts = Parts::of(array)?;
    let mut bytes = Vec::new();
    let mut offsets = Vec::with_capacity(array.len() + 1);
    offsets.push(0);
    for row in 0..array.len() {
        if array.is_valid(row) {
            parts.push_value(row, &mut bytes);
        }
        offsets.push(i32::try_from(bytes.len()).ok()?);
    }
    Some((OffsetBuffer::new(offsets.into()), bytes))
}

/// An array opened for reading, with all that it is made of.
enum Parts<'a> {
    Plain(Physical, Column<'a>),
    List(&'a ListArray, Box<Parts<'a>>),
    Struct(&'a StructArray, Vec<Parts<'a>>),
    Map(&'a MapArray, Box<[Parts<'a>; 2]>),
}

impl<'a> Parts<'a> {
    fn of(array: &'a ArrayRef) -> Option<Self> {
        Some(match array.data_type() {
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Self::List(list, Box::new(Self::of(list.values())?))
            }
            DataType::Map(..) => {
                let map = array.as_map();
                let parts = [Self::of(map.keys())?, Self::of(map.values())?];
                Self::Map(map, Box::new(parts))
            }
            DataType::Struct(_) if !is_json(array.data_type()) => {
                let fields = array.as_struct();
                let parts = fields.columns().iter().map(Self::of);
                Self::Struct(fields, parts.collect::<Option<_>>()?)
            }
            plain => Self::Plain(Physical::of(plain)?, Column::of(array)?),
        })
    }

    fn push(&self, row: usize, out: &mut Vec<u8>) {
        let null = match self {
            Self::Plain(physical, column) => {
                return key::push_cell(*physical, column.cell(row), out);
            }
            Self::List(list, _) => list.is_null(row),
            Self::Struct(fields, _) => fields.is_null(row),
            Self::Map(map, _) => map.is_null(row),
        };
        out.push(u8::from(!null));
        if !null {
            self.push_value(row, out);
        }
    }

    /// Appends the value of a row that is not NULL.
    fn push_value(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Plain(..) => self.push(row, out),
            Self::List(list, elements) => {
                for element in range(list.value_offsets(), row) {
                    out.push(1);
                    elements.push(element, out);
                }
                out.push(0);
            }
            Self::Struct(_, fields) => fields.iter().for_each(|field| field.push(row, out)),
            Self::Map(map, parts) => {
                let [keys, values] = &**parts;
                let mut entries: Vec<(Vec<u8>, usize)> = range(map.value_offsets(), row)
                    .map(|entry| {
                        let mut key = Vec::new();
                        keys.push(entry, &mut key);
                        (key, entry)
                    })
                    .collect();
                entries.sort_unstable();
                for (key, entry) in entries {
                    out.push(1);
                    out.extend_from_slice(&key);
                    values.push(entry, out);
                }
                out.push(0);
            }
        }
    }
}

fn range(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    offsets[row] as usize..offsets[row + 1] as usize
}

/// Builds a nested column out of bytes.
#[derive(Debug)]
pub(super) struct NestedBuilder {
    data_type: DataType,
    nulls: NullBufferBuilder,
    /// Of a list or map: where the elements of each row end.
    offsets: Vec<i32>,
    rows: usize,
    parts: Vec<PartBuilder>,
}

#[derive(Debug)]
enum PartBuilder {
    Plain(Physical, Box<ColumnBuilder>),
    Nested(NestedBuilder),
}

impl PartBuilder {
    fn new(data_type: &DataType, capacity: usize) -> Option<Self> {
        if is_nested(data_type) {
            return Some(Self::Nested(NestedBuilder::new(data_type, capacity)?));
        }
        let column = ColumnBuilder::new(data_type, capacity)?;
        Some(Self::Plain(Physical::of(data_type)?, Box::new(column)))
    }

    fn read(&mut self, bytes: &mut &[u8]) -> Result<(), StateError> {
        match self {
            Self::Plain(physical, column) => {
                key::read_cell(*physical, bytes, |cell| column.push(cell))
            }
            Self::Nested(builder) => match take(bytes)? {
                0 => {
                    builder.push_null();
                    Ok(())
                }
                1 => builder.read(bytes),
                _ => Err(corrupt("a value starts with neither 0 nor 1")),
            },
        }
    }

    fn push_null(&mut self) {
        match self {
            Self::Plain(_, column) => column.push_null(),
            Self::Nested(builder) => builder.push_null(),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Plain(_, column) => column.finish(),
            Self::Nested(builder) => builder.finish(),
        }
    }
}

impl NestedBuilder {
    /// An empty column; `None` for a type that state does not hold.
    pub(super) fn new(data_type: &DataType, capacity: usize) -> Option<Self> {
        if !is_storable(data_type, NESTING_MAX) {
            return None;
        }
        let parts = inside(data_type)
            .iter()
            .map(|field| PartBuilder::new(field.data_type(), capacity));
        Some(Self {
            nulls: NullBufferBuilder::new(capacity),
            offsets: vec![0],
            rows: 0,
            parts: parts.collect::<Option<_>>()?,
            data_type: data_type.clone(),
        })
    }

    /// Adds the value that all of `bytes` are.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), StateError> {
        self.read(&mut bytes)?;
        match bytes {
            [] => Ok(()),
            _ => Err(corrupt("a value is longer than its type")),
        }
    }

    fn read(&mut self, bytes: &mut &[u8]) -> Result<(), StateError> {
        if matches!(self.data_type, DataType::Struct(_)) {
            self.read_parts(bytes)?;
        } else {
            let mut end = self.end();
            while take(bytes)? != 0 {
                self.read_parts(bytes)?;
                end = end
                    .checked_add(1)
                    .ok_or_else(|| corrupt("more elements than a list takes"))?;
            }
            self.offsets.push(end);
        }
        self.rows += 1;
        self.nulls.append_non_null();
        Ok(())
    }

    fn read_parts(&mut self, bytes: &mut &[u8]) -> Result<(), StateError> {
        for (field, part) in inside(&self.data_type).iter().zip(&mut self.parts) {
            if !field.is_nullable() && bytes.first() == Some(&0) {
                return Err(corrupt("NULL where there is none"));
            }
            part.read(bytes)?;
        }
        Ok(())
    }

    pub(super) fn push_null(&mut self) {
        if matches!(self.data_type, DataType::Struct(_)) {
            self.parts.iter_mut().for_each(PartBuilder::push_null);
        } else {
            self.offsets.push(self.end());
        }
        self.rows += 1;
        self.nulls.append_null();
    }

    fn end(&self) -> i32 {
        self.offsets.last().copied().unwrap_or(0)
    }

    /// The column.
    pub(super) fn finish(mut self) -> ArrayRef {
        const FITS: &str =
            "the parts have the type's own types, and as many rows as the offsets say";
        let nulls = self.nulls.finish();
        let mut parts: Vec<ArrayRef> = self.parts.into_iter().map(PartBuilder::finish).collect();
        let offsets = OffsetBuffer::new(self.offsets.into());
        match self.data_type {
            DataType::Struct(fields) => Arc::new(
                StructArray::try_new_with_length(fields, parts, nulls, self.rows).expect(FITS),
            ),
            DataType::List(field) => {
                let values = parts.pop().expect(FITS);
                Arc::new(ListArray::try_new(field, offsets, values, nulls).expect(FITS))
            }
            DataType::Map(field, sorted) => {
                let entries = StructArray::try_new(entry_fields(&field), parts, None);
                let map = MapArray::try_new(field, offsets, entries.expect(FITS), nulls, sorted);
                Arc::new(map.expect(FITS))
            }
            other => new_empty_array(&other),
        }
    }
}

/// The fields of what a builder reads one after the other: a map's entry, a list's element, a struct.
fn inside(data_type: &DataType) -> &[FieldRef] {
    match data_type {
        DataType::Map(entries, _) => children(entries.data_type()),
        other => children(other),
    }
}

fn entry_fields(entries: &FieldRef) -> Fields {
    children(entries.data_type()).iter().cloned().collect()
}

fn take(bytes: &mut &[u8]) -> Result<u8, StateError> {
    let (first, rest) = bytes
        .split_first()
        .ok_or_else(|| corrupt("a nested value ends too early"))?;
    *bytes = rest;
    Ok(*first)
}

fn corrupt(reason: &str) -> StateError {
    StateError::Corrupt {
        what: "nested value",
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;
