//! The cells of the rows that are being decoded, and which of them have a value.
//!
//! Invariants:
//! 1. Only the current row changes; keeping it moves on, dropping it leaves it to the next record.
//! 2. A kept row has a value in every NOT NULL column, also in those that nothing reads.

use arrow::array::ArrayRef;
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};

use super::column::Column;
use super::fault::Fault;
use crate::{ColumnOrigin, SourceColumn};

/// The columns being filled, and which of their cells have a value.
#[derive(Debug)]
pub(super) struct Slots {
    pub(super) columns: Vec<Column>,
    /// One cell of each column that is only checked; they are numbered behind `columns`.
    checked: Vec<Column>,
    /// Rows kept so far; the index of the current row.
    pub(super) rows: usize,
    /// `words` words a row, one bit a column: the cell is not NULL.
    filled: Vec<u64>,
    words: usize,
    /// Bits that are set in all rows kept so far.
    always: Vec<u64>,
    /// Bits that must be set.
    required: Vec<u64>,
    /// Bits of the primary key that must be set.
    key: Vec<u64>,
}

impl Slots {
    /// Slots of `columns`, and of the `checked` ones behind them.
    pub(super) fn new(
        columns: Vec<Column>,
        mut checked: Vec<Column>,
        required: impl Iterator<Item = bool>,
        is_key: impl Fn(usize) -> bool,
    ) -> Self {
        let words = (columns.len() + checked.len()).div_ceil(64).max(1);
        checked.iter_mut().for_each(|cell| cell.start(1));
        let mut slots = Self {
            rows: 0,
            filled: Vec::new(),
            words,
            always: vec![0; words],
            required: vec![0; words],
            key: vec![0; words],
            columns,
            checked,
        };
        for (index, required) in required.enumerate() {
            slots.required[index / 64] |= u64::from(required) << (index % 64);
            slots.key[index / 64] |= u64::from(required && is_key(index)) << (index % 64);
        }
        slots
    }

    pub(super) fn start(&mut self, rows: usize) {
        self.rows = 0;
        self.filled.clear();
        self.filled.resize(rows * self.words, 0);
        self.always.fill(u64::MAX);
        self.columns
            .iter_mut()
            .for_each(|column| column.start(rows));
    }

    /// Lets `read` fill the column's cell of the current row, or one that nothing sees; `false` for null.
    pub(super) fn read(
        &mut self,
        column: usize,
        read: impl FnOnce(&mut Column, usize) -> Result<bool, Fault>,
    ) -> Result<bool, Fault> {
        match column.checked_sub(self.columns.len()) {
            None => read(&mut self.columns[column], self.rows),
            Some(checked) => {
                let cell = &mut self.checked[checked];
                cell.restart();
                read(cell, 0)
            }
        }
    }

    /// Says whether the current row has a value in this column.
    #[inline(always)]
    pub(super) fn mark(&mut self, column: usize, filled: bool) {
        let word = &mut self.filled[self.rows * self.words + column / 64];
        let bit = 1 << (column % 64);
        *word = if filled { *word | bit } else { *word & !bit };
    }

    pub(super) fn is_marked(&self, column: usize) -> bool {
        self.filled[self.rows * self.words + column / 64] >> (column % 64) & 1 == 1
    }

    fn current(&self) -> &[u64] {
        &self.filled[self.rows * self.words..][..self.words]
    }

    #[inline(always)]
    pub(super) fn keep_row(&mut self) {
        let from = self.rows * self.words;
        for (always, filled) in self.always.iter_mut().zip(&self.filled[from..]) {
            *always &= filled;
        }
        self.rows += 1;
    }

    pub(super) fn drop_row(&mut self) {
        self.drop_rows(self.rows);
    }

    /// Forgets the current row and those before it from `row` on.
    pub(super) fn drop_rows(&mut self, row: usize) {
        let end = ((self.rows + 1) * self.words).min(self.filled.len());
        self.filled[row * self.words..end].fill(0);
        self.rows = row;
    }

    #[inline(always)]
    pub(super) fn check_required(&self, scratch: &Scratch) -> Result<(), Fault> {
        match first_missing(self.current(), &self.required) {
            None => Ok(()),
            Some(column) if scratch.null[column] == scratch.record => {
                Err(Fault::null(0).of(column))
            }
            Some(column) => Err(Fault::missing(column)),
        }
    }

    pub(super) fn check_key(&self) -> Result<(), Fault> {
        first_missing(self.current(), &self.key)
            .map_or(Ok(()), |column| Err(Fault::missing(column)))
    }

    /// Sets the NOT NULL columns of a delete that have no value to their type's zero.
    pub(super) fn fill_required(&mut self) {
        for column in 0..self.columns.len() {
            let required = self.required[column / 64] >> (column % 64) & 1 == 1;
            if required && !self.is_marked(column) {
                self.columns[column].clear(self.rows);
                self.mark(column, true);
            }
        }
    }

    pub(super) fn finish(&mut self, buffers: &[Buffer]) -> Vec<ArrayRef> {
        let (rows, words) = (self.rows, self.words);
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (index, column) in self.columns.iter_mut().enumerate() {
            let (word, bit) = (index / 64, index % 64);
            let full = rows == 0 || self.always[word] >> bit & 1 == 1;
            let nulls = (!full).then(|| {
                let filled = &self.filled;
                NullBuffer::new(BooleanBuffer::collect_bool(rows, |row| {
                    filled[row * words + word] >> bit & 1 == 1
                }))
            });
            arrays.push(column.finish(rows, nulls, buffers));
        }
        arrays
    }
}

/// The first column of `required` that is not in `filled`.
#[inline(always)]
fn first_missing(filled: &[u64], required: &[u64]) -> Option<usize> {
    filled
        .iter()
        .zip(required)
        .enumerate()
        .find_map(|(word, (filled, required))| {
            let missing = required & !filled;
            (missing != 0).then(|| word * 64 + missing.trailing_zeros() as usize)
        })
}

/// What is remembered of the current record, by column.
#[derive(Debug)]
pub(super) struct Scratch {
    /// Counts the objects read.
    pub(super) record: u64,
    /// The last object that had the column's exact spelling.
    pub(super) exact: Vec<u64>,
    /// The last object that had null for the column.
    pub(super) null: Vec<u64>,
    /// One cell of each key column, to compare the value's field with.
    pub(super) cells: Vec<Option<KeyCell>>,
}

/// A key column, as the record key at hand has it.
#[derive(Debug)]
pub(super) struct KeyCell {
    /// Takes the value's field.
    pub(super) field: Column,
    /// The record key says that the column is NULL.
    pub(super) null: bool,
}

impl Scratch {
    pub(super) fn new(columns: &[SourceColumn], unit_us: Option<i64>) -> Self {
        let cells = columns.iter().map(|column| match column.origin {
            ColumnOrigin::Key => {
                let field = Column::new(&column.data_type, unit_us)?;
                let mut field = field.of_length(column.length);
                field.start(1);
                Some(KeyCell { field, null: false })
            }
            _ => None,
        });
        Self {
            record: 0,
            exact: vec![0; columns.len()],
            null: vec![0; columns.len()],
            cells: cells.collect(),
        }
    }

    /// Says whether the record key at hand has NULL for this column.
    pub(super) fn set_key_null(&mut self, column: usize, null: bool) {
        if let Some(cell) = &mut self.cells[column] {
            cell.null = null;
        }
    }
}
