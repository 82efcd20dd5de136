//! Rankings whose rows are in the state: those that take rows back, and those that keep very many.
//!
//! ```text
//! row of a chunk   ──▶ its count in the state           the first one of a partition in an epoch: what is out there is noted
//! end of an epoch  ──▶ what should be out there now, by the state
//! ```

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::super::OperatorError;
use super::super::upsert::key_columns;
use super::rank::{Placed, Ranked, Walk};
use super::{Entry, order};
use crate::state::{ScanOrder, State, StateError, key, prefix_end, row};
use crate::{Chunk, OperatorId, TopNSpec};

/// See the module.
pub(super) struct Stored {
    id: OperatorId,
    spec: TopNSpec,
    append_only: bool,
    /// What was out there of each partition that this epoch has changed, by its prefix in the state.
    changed: BTreeMap<Vec<u8>, Vec<Ranked>>,
}

impl Stored {
    pub(super) fn new(id: OperatorId, spec: &TopNSpec, append_only: bool) -> Self {
        Self {
            id,
            spec: spec.clone(),
            append_only,
            changed: BTreeMap::new(),
        }
    }

    /// Counts the rows of a chunk.
    pub(super) fn take(&mut self, chunk: &Chunk, state: &mut State) -> Result<(), OperatorError> {
        let partition = key_columns(&chunk.batch, &self.spec.partition_by)?;
        let by: Vec<usize> = self.spec.order_by.iter().map(|by| by.column).collect();
        let by = key_columns(&chunk.batch, &by)?;
        let columns = row::columns_of(chunk.batch.columns())?;
        let mut cells = Vec::new();
        for index in 0..chunk.len() {
            cells.clear();
            key::push_row(&partition, index, &mut cells);
            let mut prefix = Vec::with_capacity(cells.len() + 4);
            key::start(self.id.0, &cells, &mut prefix);
            prefix.extend_from_slice(&cells);
            let mut state_key = prefix.clone();
            order::push(&by, &self.spec.order_by, index, &mut state_key);
            let row_at = state_key.len();
            row::push_row(&columns, index, &mut state_key);
            let prefix_bytes = prefix.len();
            if !self.changed.contains_key(&prefix) {
                let (out_there, _) = self.ranked(&prefix, state)?;
                self.changed.insert(prefix, out_there);
            }
            let known = match state.get(&state_key)? {
                Some(value) => Entry::read(&state_key, &value, prefix_bytes)?.count,
                None => 0,
            };
            match known.checked_add_signed(i64::from(chunk.sign(index))) {
                None => {
                    return Err(OperatorError::Inconsistent {
                        operator: self.id,
                        reason: "a row was taken back that was never there".to_owned(),
                    });
                }
                Some(0) => state.delete(state_key),
                Some(count) => {
                    let value = Entry::value(count, state_key.len() - row_at);
                    state.put(state_key, value);
                }
            }
        }
        Ok(())
    }

    /// The partitions that this epoch has changed, with what was out there of them before.
    pub(super) fn take_changed(&mut self) -> BTreeMap<Vec<u8>, Vec<Ranked>> {
        std::mem::take(&mut self.changed)
    }

    /// What should be out there of a partition now.
    pub(super) fn end_epoch(
        &self,
        prefix: &[u8],
        state: &mut State,
    ) -> Result<Vec<Ranked>, StateError> {
        let (ranked, behind) = self.ranked(prefix, state)?;
        behind.into_iter().for_each(|key| state.delete(key));
        Ok(ranked)
    }

    /// The rows of a partition that are out there, by the state. Gives also the keys of what lies behind the last rank, of
    /// input that is only added.
    fn ranked(
        &self,
        prefix: &[u8],
        state: &State,
    ) -> Result<(Vec<Ranked>, Vec<Vec<u8>>), StateError> {
        let mut walk = Walk::default();
        let mut ranked = Vec::new();
        let mut behind = Vec::new();
        let mut failed = None;
        let mut visit = |key: &[u8], value: &[u8]| {
            let entry = Entry::read(key, value, prefix.len())?;
            walk.enter(&entry.placed[..entry.order_bytes]);
            if walk.lowest(self.spec.rank) >= self.spec.ranks.end {
                if self.append_only {
                    behind.push(key.to_vec());
                    return Ok(ControlFlow::Continue(()));
                }
                return Ok(ControlFlow::Break(()));
            }
            for (rank, count) in walk.ranks(self.spec.rank, entry.count) {
                if self.spec.ranks.contains(&rank) {
                    let placed = Placed::new(entry.placed, entry.order_bytes);
                    ranked.push(Ranked {
                        rank,
                        placed,
                        count,
                    });
                }
            }
            walk.pass(entry.count);
            Ok(ControlFlow::Continue(()))
        };
        let to = prefix_end(prefix);
        state.scan(prefix, &to, ScanOrder::Ascending, |key, value| {
            visit(key, value).unwrap_or_else(|error| {
                failed = Some(error);
                ControlFlow::Break(())
            })
        })?;
        match failed {
            Some(error) => Err(error),
            None => Ok((ranked, behind)),
        }
    }
}
