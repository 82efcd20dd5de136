//! Columns of lists, structs and maps: JSON's arrays and objects, by type.
//!
//! ```text
//! struct   the fields are columns of the same rows       a field that is not there is NULL; names as in a record
//! list     the elements of all rows in one column, one behind the other, and a range of them a row
//! map      an object: keys and values so; of a key that comes twice the last value counts
//! ```
//!
//! A row that is given up, or a field that comes twice, leaves elements that no range points to; they are left out at the
//! end.
//!
//! Invariants:
//! 1. What a range points to was read whole.
//! 2. A value has at most [`CELLS_MAX`] cells, so that memory is bounded by what is read, whatever a struct in a list
//!    would blow an empty object up to.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, MapArray, StructArray, UInt32Array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, FieldRef, Fields};

use super::column::{Column, TextPlace};
use super::cursor::{Cursor, unescape};
use super::fault::Fault;
use super::layout::{Layout, Target, Use};
use crate::state::children;

/// Cells of one list or map at the most: elements times what an element has.
const CELLS_MAX: usize = 1 << 20;

const FITS: &str = "the parts were made by the type";

/// A column of structs.
#[derive(Debug)]
pub(super) struct StructColumn {
    fields: Fields,
    layout: Layout,
    columns: Vec<Column>,
    /// By field: which rows have a value.
    filled: Vec<Vec<bool>>,
    /// By field: the last object that had its exact spelling.
    exact: Vec<u64>,
    objects: u64,
}

/// A column of lists.
#[derive(Debug)]
pub(super) struct ListColumn {
    field: FieldRef,
    element: Column,
    elements: Elements,
}

/// A column of maps.
#[derive(Debug)]
pub(super) struct MapColumn {
    entries: FieldRef,
    sorted: bool,
    key: Column,
    value: Column,
    elements: Elements,
    /// Entries whose key came again.
    replaced: Vec<u32>,
}

/// Which elements belong to which row.
#[derive(Debug, Default)]
struct Elements {
    /// First element and number of elements of each row.
    ranges: Vec<(u32, u32)>,
    /// Which elements have a value.
    filled: Vec<bool>,
    /// How many cells an element has.
    width: usize,
}

impl Elements {
    fn new(data_type: &DataType) -> Self {
        Self {
            width: width(data_type),
            ..Self::default()
        }
    }

    fn start(&mut self, rows: usize) {
        self.ranges = vec![(0, 0); rows];
        self.filled = Vec::new();
    }

    /// Makes room for one more element of the value that began at `first`, and says where.
    fn next(&mut self, first: usize, at: usize) -> Result<usize, Fault> {
        let element = self.filled.len();
        if (element - first) * self.width >= CELLS_MAX {
            return Err(Fault::too_many(at));
        }
        if element >= i32::MAX as usize {
            return Err(Fault::size());
        }
        self.filled.push(false);
        Ok(element)
    }

    fn end(&mut self, row: usize, first: usize) {
        // Both fit by `next`.
        self.ranges[row] = (first as u32, (self.filled.len() - first) as u32);
    }

    fn of(&self, row: usize) -> std::ops::Range<usize> {
        let (first, count) = self.ranges[row];
        first as usize..(first + count) as usize
    }

    fn nulls(&self) -> Option<NullBuffer> {
        let all = self.filled.iter().all(|filled| *filled);
        (!all).then(|| NullBuffer::new(BooleanBuffer::from(self.filled.as_slice())))
    }

    /// Where the elements of each row end, and which they are; `None`: all, in order. Without those of NULL rows and
    /// without the `replaced` ones, which rise.
    fn gathered(
        &self,
        rows: usize,
        nulls: Option<&NullBuffer>,
        replaced: &[u32],
    ) -> (OffsetBuffer<i32>, Option<UInt32Array>) {
        let mut offsets = Vec::with_capacity(rows + 1);
        let mut picked: Vec<u32> = Vec::with_capacity(self.filled.len());
        offsets.push(0);
        for row in 0..rows {
            if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
                let elements = self.of(row).map(|element| element as u32);
                picked.extend(elements.filter(|element| replaced.binary_search(element).is_err()));
            }
            offsets.push(picked.len() as i32);
        }
        let in_order = picked.len() == self.filled.len()
            && (0..).zip(&picked).all(|(place, element)| place == *element);
        let picked = (!in_order).then(|| UInt32Array::from(picked));
        (OffsetBuffer::new(offsets.into()), picked)
    }
}

/// How many cells a value of this type has beside those of its lists and maps.
fn width(data_type: &DataType) -> usize {
    let fields = match data_type {
        DataType::Struct(_) => children(data_type),
        _ => &[],
    };
    1 + fields
        .iter()
        .map(|field| width(field.data_type()))
        .sum::<usize>()
}

fn picked(array: ArrayRef, which: Option<&UInt32Array>) -> ArrayRef {
    match which {
        None => array,
        Some(which) => take(&array, which, None).expect("the elements are there"),
    }
}

/// Steps behind a value of an array or object: whether another one follows.
fn goes_on(cursor: &mut Cursor<'_>, end: u8) -> Result<bool, Fault> {
    cursor.skip_space();
    if cursor.take(b',') {
        cursor.skip_space();
        return Ok(true);
    }
    if cursor.take(end) {
        return Ok(false);
    }
    let expected = match end {
        b'}' => "',' or '}'",
        _ => "',' or ']'",
    };
    Err(Fault::syntax(cursor.at, expected))
}

/// Steps into an array or object whose bracket is the next byte: whether there is anything in it.
fn begins(cursor: &mut Cursor<'_>, end: u8) -> bool {
    cursor.at += 1;
    cursor.skip_space();
    !cursor.take(end)
}

impl StructColumn {
    pub(super) fn new(fields: &Fields, unit_us: Option<i64>, levels: usize) -> Option<Self> {
        let mut layout = Layout::default();
        let mut columns = Vec::with_capacity(fields.len());
        for (index, field) in fields.iter().enumerate() {
            layout.add(field.name(), u16::try_from(index).ok()?, Use::Store);
            columns.push(Column::within(field.data_type(), unit_us, levels)?);
        }
        Some(Self {
            fields: fields.clone(),
            layout,
            filled: vec![Vec::new(); columns.len()],
            exact: vec![0; columns.len()],
            columns,
            objects: 0,
        })
    }

    pub(super) fn start(&mut self, rows: usize) {
        self.columns
            .iter_mut()
            .for_each(|column| column.start(rows));
        self.filled.fill(vec![false; rows]);
    }

    pub(super) fn grow(&mut self, rows: usize) {
        self.columns.iter_mut().for_each(|column| column.grow(rows));
        self.filled
            .iter_mut()
            .for_each(|filled| filled.resize(rows, false));
    }

    pub(super) fn restart(&mut self) {
        self.columns.iter_mut().for_each(Column::restart);
    }

    pub(super) fn clear(&mut self, row: usize) {
        self.filled
            .iter_mut()
            .for_each(|filled| filled[row] = false);
    }

    /// Reads the object that begins here.
    pub(super) fn read(
        &mut self,
        row: usize,
        cursor: &mut Cursor<'_>,
        place: TextPlace,
    ) -> Result<(), Fault> {
        self.objects += 1;
        self.clear(row);
        if !begins(cursor, b'}') {
            return Ok(());
        }
        let mut step = 0;
        loop {
            match self.layout.next(cursor, &mut step)? {
                Target::Store(field) => {
                    self.exact[usize::from(field)] = self.objects;
                    self.field(field, row, cursor, place)?;
                }
                Target::StoreLoose(field) if self.exact[usize::from(field)] != self.objects => {
                    self.field(field, row, cursor, place)?;
                }
                _ => cursor.skip_value()?,
            }
            if !goes_on(cursor, b'}')? {
                return Ok(());
            }
        }
    }

    fn field(
        &mut self,
        field: u16,
        row: usize,
        cursor: &mut Cursor<'_>,
        place: TextPlace,
    ) -> Result<(), Fault> {
        let field = usize::from(field);
        self.filled[field][row] = self.columns[field].read_apart(row, cursor, place)?;
        Ok(())
    }

    pub(super) fn equals(&self, row: usize, other: &Self, other_row: usize) -> bool {
        let columns = self.columns.iter().zip(&other.columns);
        columns.enumerate().all(|(field, (column, other_column))| {
            match (self.filled[field][row], other.filled[field][other_row]) {
                (true, true) => column.equals(row, other_column, other_row),
                (filled, other_filled) => filled == other_filled,
            }
        })
    }

    pub(super) fn finish(
        &mut self,
        rows: usize,
        nulls: Option<NullBuffer>,
        buffers: &[Buffer],
    ) -> ArrayRef {
        let columns = self.columns.iter_mut().zip(&mut self.filled);
        let arrays = columns.map(|(column, filled)| {
            let filled = BooleanBuffer::from(&filled[..rows]);
            let nulls = NullBuffer::new(filled);
            column.finish(
                rows,
                Some(nulls).filter(|nulls| nulls.null_count() > 0),
                buffers,
            )
        });
        let arrays = arrays.collect();
        let array = StructArray::try_new_with_length(self.fields.clone(), arrays, nulls, rows);
        Arc::new(array.expect(FITS))
    }
}

impl ListColumn {
    pub(super) fn new(field: &FieldRef, unit_us: Option<i64>, levels: usize) -> Option<Self> {
        Some(Self {
            field: Arc::clone(field),
            element: Column::within(field.data_type(), unit_us, levels)?,
            elements: Elements::new(field.data_type()),
        })
    }

    pub(super) fn start(&mut self, rows: usize) {
        self.elements.start(rows);
        self.element.start(0);
    }

    pub(super) fn grow(&mut self, rows: usize) {
        self.elements.ranges.resize(rows, (0, 0));
    }

    pub(super) fn restart(&mut self) {
        self.elements.filled.clear();
        self.element.restart();
    }

    pub(super) fn clear(&mut self, row: usize) {
        self.elements.ranges[row] = (0, 0);
    }

    /// Reads the array that begins here.
    pub(super) fn read(
        &mut self,
        row: usize,
        cursor: &mut Cursor<'_>,
        place: TextPlace,
    ) -> Result<(), Fault> {
        let first = self.elements.filled.len();
        if begins(cursor, b']') {
            loop {
                let element = self.elements.next(first, cursor.at)?;
                self.element.grow(element + 1);
                let filled = self.element.read_apart(element, cursor, place)?;
                self.elements.filled[element] = filled;
                if !goes_on(cursor, b']')? {
                    break;
                }
            }
        }
        self.elements.end(row, first);
        Ok(())
    }

    pub(super) fn equals(&self, row: usize, other: &Self, other_row: usize) -> bool {
        let (elements, others) = (self.elements.of(row), other.elements.of(other_row));
        elements.len() == others.len()
            && elements.zip(others).all(|(element, other_element)| {
                let filled = self.elements.filled[element];
                filled == other.elements.filled[other_element]
                    && (!filled || self.element.equals(element, &other.element, other_element))
            })
    }

    pub(super) fn finish(
        &mut self,
        rows: usize,
        nulls: Option<NullBuffer>,
        buffers: &[Buffer],
    ) -> ArrayRef {
        let used = self.elements.filled.len();
        self.element.grow(used);
        let array = self.element.finish(used, self.elements.nulls(), buffers);
        let (offsets, which) = self.elements.gathered(rows, nulls.as_ref(), &[]);
        let array = picked(array, which.as_ref());
        let list = ListArray::try_new(Arc::clone(&self.field), offsets, array, nulls);
        Arc::new(list.expect(FITS))
    }
}

impl MapColumn {
    /// Keys are texts, as JSON's are.
    pub(super) fn new(
        entries: &FieldRef,
        sorted: bool,
        unit_us: Option<i64>,
        levels: usize,
    ) -> Option<Self> {
        let [key, value] = children(entries.data_type()) else {
            return None;
        };
        if key.data_type() != &DataType::Utf8View {
            return None;
        }
        Some(Self {
            entries: Arc::clone(entries),
            sorted,
            key: Column::within(key.data_type(), unit_us, levels)?,
            value: Column::within(value.data_type(), unit_us, levels)?,
            elements: Elements::new(value.data_type()),
            replaced: Vec::new(),
        })
    }

    pub(super) fn start(&mut self, rows: usize) {
        self.elements.start(rows);
        self.replaced = Vec::new();
        self.key.start(0);
        self.value.start(0);
    }

    pub(super) fn grow(&mut self, rows: usize) {
        self.elements.ranges.resize(rows, (0, 0));
    }

    pub(super) fn restart(&mut self) {
        self.elements.filled.clear();
        self.replaced.clear();
        self.key.restart();
        self.value.restart();
    }

    pub(super) fn clear(&mut self, row: usize) {
        self.elements.ranges[row] = (0, 0);
    }

    /// Reads the object that begins here.
    pub(super) fn read(
        &mut self,
        row: usize,
        cursor: &mut Cursor<'_>,
        place: TextPlace,
    ) -> Result<(), Fault> {
        let first = self.elements.filled.len();
        let mut keys: Vec<(Vec<u8>, u32)> = Vec::new();
        if begins(cursor, b'}') {
            loop {
                let entry = self.elements.next(first, cursor.at)?;
                let key = self.read_key(entry, cursor)?;
                keys.push((key, entry as u32));
                self.value.grow(entry + 1);
                let filled = self.value.read_apart(entry, cursor, place)?;
                self.elements.filled[entry] = filled;
                if !goes_on(cursor, b'}')? {
                    break;
                }
            }
        }
        keys.sort_unstable();
        let twice = keys.windows(2).filter(|pair| pair[0].0 == pair[1].0);
        let from = self.replaced.len();
        self.replaced.extend(twice.map(|pair| pair[0].1));
        self.replaced[from..].sort_unstable();
        self.elements.end(row, first);
        Ok(())
    }

    fn read_key(&mut self, entry: usize, cursor: &mut Cursor<'_>) -> Result<Vec<u8>, Fault> {
        if cursor.peek() != b'"' {
            return Err(Fault::syntax(cursor.at, "a field name in quotes"));
        }
        let span = cursor.string()?;
        let mut key = Vec::with_capacity(span.end - span.start);
        unescape(&cursor.bytes[span.start..span.end], span.start, &mut key)?;
        cursor.colon()?;
        self.key.grow(entry + 1);
        self.key.set_bytes(entry, &key)?;
        Ok(key)
    }

    /// The live entries of a row.
    fn entries_of(&self, row: usize) -> impl Iterator<Item = usize> {
        let entries = self.elements.of(row);
        entries.filter(|entry| self.replaced.binary_search(&(*entry as u32)).is_err())
    }

    /// Whether two maps hold the same entries, in whatever order.
    pub(super) fn equals(&self, row: usize, other: &Self, other_row: usize) -> bool {
        let same = |entry: usize, other_entry: usize| {
            let filled = self.elements.filled[entry];
            self.key.equals(entry, &other.key, other_entry)
                && filled == other.elements.filled[other_entry]
                && (!filled || self.value.equals(entry, &other.value, other_entry))
        };
        self.entries_of(row).count() == other.entries_of(other_row).count()
            && self.entries_of(row).all(|entry| {
                other
                    .entries_of(other_row)
                    .any(|other_entry| same(entry, other_entry))
            })
    }

    pub(super) fn finish(
        &mut self,
        rows: usize,
        nulls: Option<NullBuffer>,
        buffers: &[Buffer],
    ) -> ArrayRef {
        let used = self.elements.filled.len();
        self.key.grow(used);
        self.value.grow(used);
        let keys = self.key.finish(used, None, buffers);
        let values = self.value.finish(used, self.elements.nulls(), buffers);
        let (offsets, which) = self.elements.gathered(rows, nulls.as_ref(), &self.replaced);
        let arrays = vec![picked(keys, which.as_ref()), picked(values, which.as_ref())];
        let fields: Fields = children(self.entries.data_type()).iter().cloned().collect();
        let entries = StructArray::try_new(fields, arrays, None).expect(FITS);
        let entries_field = Arc::clone(&self.entries);
        let map = MapArray::try_new(entries_field, offsets, entries, nulls, self.sorted);
        Arc::new(map.expect(FITS))
    }
}
