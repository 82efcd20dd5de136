//! The rows of a chunk by join key: each distinct key is encoded and hashed once.

use std::hash::BuildHasher;

use arrow::array::RecordBatch;
use hashbrown::HashTable;

use super::super::upsert::key_columns;
use crate::state::{Cell, Column, StateError, key};

/// In place of a key: the row has none, and matches nothing.
const NO_KEY: u32 = u32::MAX;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Keyed {
    /// The distinct keys, encoded, one behind the other.
    bytes: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
    hashes: Vec<u64>,
    of_row: Vec<u32>,
    /// For each row its time, where rows are kept by time.
    times: Vec<i64>,
}

/// Which columns of a side make the key.
#[derive(Debug)]
pub(super) struct KeyColumns {
    pub(super) columns: Vec<usize>,
    /// NULL is a value like others; otherwise a row with one has no key.
    pub(super) null_is_equal: bool,
    /// The column whose time a row is kept by; a row without one has no key.
    pub(super) time: Option<usize>,
}

impl KeyColumns {
    /// The keys of the rows of `batch`.
    pub(super) fn keyed(
        &self,
        batch: &RecordBatch,
        hasher: &foldhash::fast::RandomState,
    ) -> Result<Keyed, StateError> {
        let columns = key_columns(batch, &self.columns)?;
        let time = key_columns(batch, self.time.as_slice())?.pop();
        let mut keyed = Keyed::default();
        let mut numbers: HashTable<u32> = HashTable::new();
        let mut encoded = Vec::new();
        for row in 0..batch.num_rows() {
            let at = time.as_ref().map(|(_, column)| time_of(column, row));
            let is_null = |(_, column): &(_, Column<'_>)| column.is_null(row);
            if at == Some(None) || !self.null_is_equal && columns.iter().any(is_null) {
                keyed.push(NO_KEY, at.map(|_| 0));
                continue;
            }
            encoded.clear();
            key::push_row(&columns, row, &mut encoded);
            let hash = hasher.hash_one(encoded.as_slice());
            let known = numbers.find(hash, |&number| keyed.key(number as usize) == encoded);
            let number = match known {
                Some(&number) => number,
                None => {
                    let number = keyed.ends.len() as u32;
                    keyed.bytes.extend_from_slice(&encoded);
                    keyed.ends.push(keyed.bytes.len());
                    keyed.hashes.push(hash);
                    let hashes = &keyed.hashes;
                    numbers.insert_unique(hash, number, |&number| hashes[number as usize]);
                    number
                }
            };
            keyed.push(number, at.flatten());
        }
        Ok(keyed)
    }
}

fn time_of(column: &Column<'_>, row: usize) -> Option<i64> {
    match column.cell(row) {
        Cell::Int(time) => Some(time),
        _ => None,
    }
}

impl Keyed {
    fn push(&mut self, number: u32, time: Option<i64>) {
        self.of_row.push(number);
        self.times.extend(time);
    }

    /// How many distinct keys there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// A key, encoded.
    pub(super) fn key(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[number]]
    }

    pub(super) fn hash(&self, number: usize) -> u64 {
        self.hashes[number]
    }

    /// The key of a row.
    pub(super) fn of_row(&self, row: usize) -> Option<usize> {
        Some(self.of_row[row])
            .filter(|&number| number != NO_KEY)
            .map(|number| number as usize)
    }

    /// The time of a row that has a key, where rows are kept by time.
    pub(super) fn time(&self, row: usize) -> Option<i64> {
        self.times.get(row).copied()
    }

    /// Whether two rows have the same key.
    pub(super) fn repeats(&self) -> bool {
        self.ends.len() < self.of_row.len()
    }
}
