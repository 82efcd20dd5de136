//! A view whose query differs from the one before only above what its job keeps: all of its rows are taken back, and made
//! again of the state. What both have in common cancels out, so topic and readers see what differs, in one commit.
//!
//! Which revision of the plan the rows are of is kept with them: a job that stops in between does it again.

use arrow::array::Int8Array;
use arrow::datatypes::SchemaRef;

use super::TaskError;
use super::tokens::{Token, Tokens};
use crate::Chunk;
use crate::plan::{Route, StreamPlan};
use crate::state::row::{push_varint, read_varint};
use crate::state::{MANIFEST, StateError, StateStore, key};
use crate::view::{CommitInfo, ViewSnapshot};

fn revision_key() -> Vec<u8> {
    key::whole(MANIFEST, "revision")
}

/// Which revision of the plan the rows of the view are of.
pub(super) fn revision_of(store: &dyn StateStore) -> Result<u64, StateError> {
    match store.get(&revision_key())? {
        Some(bytes) => read_varint(&mut bytes.as_slice()),
        None => Ok(0),
    }
}

impl Tokens {
    /// From the next commit on the rows are of this revision.
    pub(super) fn set_revision(&mut self, revision: u64) {
        let mut bytes = Vec::new();
        push_varint(revision, &mut bytes);
        if let Some(first) = self.iter_mut().next() {
            first.state.put(revision_key(), bytes);
        }
    }

    /// Makes the rows of the view again.
    ///
    /// # Errors
    /// A plan whose rows cannot be made of its state; from the store and from operators.
    pub(super) fn refresh(&mut self, plan: &StreamPlan) -> Result<(), TaskError> {
        let node = plan.replayed().ok_or_else(|| TaskError::PlanChanged {
            difference: "its rows cannot be made again of what it keeps".to_owned(),
        })?;
        let schema = plan.schema().clone();
        self.iter_mut()
            .try_for_each(|token| token.refresh(node, &schema))
    }
}

impl Token {
    fn refresh(&mut self, node: usize, schema: &SchemaRef) -> Result<(), TaskError> {
        let reads = vec![self.state.store().snapshot()];
        let rows = ViewSnapshot::new(reads, schema.clone(), CommitInfo::default());
        for batch in rows.batches() {
            let batch = batch?;
            let signs = Int8Array::from(vec![-1; batch.num_rows()]);
            let taken_back = Chunk {
                diff: Some(signs),
                ..Chunk::inserts(batch)
            };
            self.sink.absorb(taken_back)?;
        }
        let stays = self.fragments.output == Route::Stay;
        self.graph.replay(
            node,
            &mut self.state,
            &mut self.effects,
            stays.then_some(&mut self.sink),
        )?;
        Ok(())
    }
}
