//! An upsert source: keeps the last row of every key, so that a record becomes −old, +new.
//!
//! ```text
//! record of a new key        +new
//! record of a known key      −old +new, adjacent; nothing if they are equal
//! deletion of a known key    −old;  of an unknown key: nothing
//! ```
//!
//! State: key columns → row. Deletions come in as rows with sign −1 of which only the key columns count.

use std::sync::Arc;

use arrow::array::{Array, Int8Array, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use hashbrown::HashMap;

use super::replay::next_entries;
use super::{Context, Emitter, Memory, Operator, OperatorError};
use crate::state::row::{self, RowReader};
use crate::state::{Column, Physical, StateError, key};
use crate::{Chunk, OperatorId};

/// See the module.
pub(super) struct Upsert {
    id: OperatorId,
    key: Vec<usize>,
    schema: SchemaRef,
    /// Rows that are also in the state: state key → row, `None` = known to be absent.
    cache: HashMap<Vec<u8>, Option<Vec<u8>>, foldhash::fast::RandomState>,
    cache_bytes: usize,
    memory: Memory,
}

impl Upsert {
    pub(super) fn new(id: OperatorId, schema: &SchemaRef, key: &[usize], memory: &Memory) -> Self {
        Self {
            id,
            key: key.to_vec(),
            schema: schema.clone(),
            cache: HashMap::default(),
            cache_bytes: 0,
            memory: memory.clone(),
        }
    }

    /// The state keys of all rows.
    fn keys(&self, batch: &RecordBatch) -> Result<Vec<Vec<u8>>, OperatorError> {
        let columns = key_columns(batch, &self.key)?;
        let mut encoded = Vec::new();
        Ok((0..batch.num_rows())
            .map(|row| {
                encoded.clear();
                key::push_row(&columns, row, &mut encoded);
                let mut state_key = Vec::with_capacity(encoded.len() + 4);
                key::start(self.id.0, &encoded, &mut state_key);
                state_key.extend_from_slice(&encoded);
                state_key
            })
            .collect())
    }

    /// Brings the rows of these keys into the cache.
    fn load(&mut self, keys: &[Vec<u8>], context: &Context<'_>) -> Result<(), StateError> {
        if self.cache_bytes > self.memory.cache_bytes() {
            self.cache.clear();
            self.cache_bytes = 0;
        }
        let mut cold: Vec<Vec<u8>> = keys
            .iter()
            .filter(|key| !self.cache.contains_key(*key))
            .cloned()
            .collect();
        cold.sort_unstable();
        cold.dedup();
        let rows = context.state.get_many(&cold)?;
        for (key, row) in cold.into_iter().zip(rows) {
            self.cache_bytes += key.len() + row.as_ref().map_or(0, Vec::len) + 64;
            self.cache.insert(key, row);
        }
        Ok(())
    }
}

/// The columns that form a key, with their forms.
pub(super) fn key_columns<'a>(
    batch: &'a RecordBatch,
    key: &[usize],
) -> Result<Vec<(Physical, Column<'a>)>, StateError> {
    let open = |&index: &usize| {
        let array = batch.columns().get(index)?;
        Some((Physical::of(array.data_type())?, Column::of(array)?))
    };
    key.iter()
        .map(|index| {
            open(index).ok_or_else(|| StateError::Corrupt {
                what: "key column",
                reason: format!("column {index} is missing or of a type that cannot be a key"),
            })
        })
        .collect()
}

impl Operator for Upsert {
    fn on_chunk(
        &mut self,
        _port: usize,
        chunk: Chunk,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        const NEW: usize = 0;
        const OLD: usize = 1;
        let keys = self.keys(&chunk.batch)?;
        self.load(&keys, context)?;
        let columns = row::columns_of(chunk.batch.columns())?;
        let mut old_rows = RowReader::new(&self.schema)?;
        let mut picks: Vec<(usize, usize)> = Vec::with_capacity(chunk.len());
        let mut signs: Vec<i8> = Vec::with_capacity(chunk.len());
        for (index, state_key) in keys.into_iter().enumerate() {
            let new = (chunk.sign(index) > 0).then(|| {
                let mut bytes = Vec::new();
                row::push_row(&columns, index, &mut bytes);
                bytes
            });
            let known = self.cache.get_mut(&state_key).expect("loaded above");
            if *known == new {
                continue;
            }
            if let Some(old) = known {
                picks.push((OLD, old_rows.len()));
                signs.push(-1);
                old_rows.push(old)?;
            }
            if new.is_some() {
                picks.push((NEW, index));
                signs.push(1);
            }
            let length = |row: &Option<Vec<u8>>| row.as_ref().map_or(0, Vec::len);
            self.cache_bytes = (self.cache_bytes + length(&new)).saturating_sub(length(known));
            match &new {
                Some(bytes) => context.state.put(state_key, bytes.clone()),
                None => context.state.delete(state_key),
            }
            *known = new;
        }
        let has_deletions = signs.iter().any(|&sign| sign < 0);
        let old_batch = old_rows.finish();
        let batch = interleave_record_batch(&[&chunk.batch, &old_batch], &picks)
            .map_err(|error| OperatorError::columns(self.id, &error))?;
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec())
            .map_err(|error| OperatorError::columns(self.id, &error))?;
        let diff = has_deletions.then(|| Int8Array::from(signs));
        out.emit(
            Chunk {
                diff,
                ..Chunk::inserts(batch)
            },
            context,
        )
    }

    fn replay(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let (mut from, to) = key::operator_range(self.id.0);
        loop {
            let entries = next_entries(context.state, &mut from, &to)?;
            if entries.is_empty() {
                return Ok(());
            }
            let mut rows = RowReader::new(&self.schema)?;
            for (_, row) in &entries {
                rows.push(row)?;
            }
            out.emit(Chunk::inserts(rows.finish()), context)?;
        }
    }

    fn size_bytes(&self) -> usize {
        self.cache_bytes
    }
}
