//! What goes into an as-of join and comes out: the keys and times of a chunk, and left rows with their right ones.

use std::sync::Arc;

use arrow::array::{Int8Array, RecordBatch};

use super::{AsOf, rows};
use crate::Chunk;
use crate::operator::upsert::key_columns;
use crate::operator::{Context, Emitter, OperatorError};
use crate::state::row::RowReader;
use crate::state::{Cell, Column, Physical, StateError, key};

/// Keys and times of a chunk.
pub(super) struct Keyed<'a> {
    keys: Vec<(Physical, Column<'a>)>,
    time: Column<'a>,
}

impl<'a> Keyed<'a> {
    pub(super) fn of(chunk: &'a Chunk, keys: &[usize], time: usize) -> Result<Self, StateError> {
        let mut time = key_columns(&chunk.batch, &[time])?;
        let (_, time) = time.remove(0);
        Ok(Self {
            keys: key_columns(&chunk.batch, keys)?,
            time,
        })
    }

    /// The time of a row, with its key appended to `cells`; `None`: one of them is NULL.
    pub(super) fn place(&self, row: usize, cells: &mut Vec<u8>) -> Option<i64> {
        let Cell::Int(time) = self.time.cell(row) else {
            return None;
        };
        let is_null = |(_, column): &(Physical, Column<'_>)| matches!(column.cell(row), Cell::Null);
        if self.keys.iter().any(is_null) {
            return None;
        }
        key::push_row(&self.keys, row, cells);
        Some(time)
    }
}

/// Left rows with their right ones, to be emitted.
pub(super) struct Pairs<'a> {
    join: &'a AsOf,
    signs: Vec<i8>,
    left: RowReader,
    right: RowReader,
}

impl<'a> Pairs<'a> {
    pub(super) fn new(join: &'a AsOf) -> Result<Self, StateError> {
        Ok(Self {
            join,
            signs: Vec::new(),
            left: RowReader::new(&join.left)?,
            right: RowReader::new(&join.right)?,
        })
    }

    /// Adds a left row with its right row, or padded where that is asked for.
    pub(super) fn push(
        &mut self,
        sign: i8,
        left: &[u8],
        right: Option<&[u8]>,
    ) -> Result<(), StateError> {
        if right.is_none() && !self.join.spec.pads {
            return Ok(());
        }
        self.signs.push(sign);
        self.left.push(left)?;
        self.right.push(right.unwrap_or(rows::NOTHING))
    }

    pub(super) fn len(&self) -> usize {
        self.signs.len()
    }

    pub(super) fn emit(
        self,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        if self.signs.is_empty() {
            return Ok(());
        }
        let mut columns = self.left.finish().columns().to_vec();
        columns.extend_from_slice(self.right.finish().columns());
        let batch = RecordBatch::try_new(Arc::clone(&self.join.schema), columns)
            .map_err(|error| OperatorError::columns(self.join.id, &error))?;
        let takes_back = self.signs.iter().any(|sign| *sign < 0);
        let diff = takes_back.then(|| Int8Array::from(self.signs));
        let chunk = Chunk {
            diff,
            ..Chunk::inserts(batch)
        };
        out.emit(chunk, context)
    }
}
