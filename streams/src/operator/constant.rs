//! Constant rows: emitted once in the life of a job, as its first epoch ends.
//!
//! State: `[operator]given` → nothing, once they are out.

use arrow::array::RecordBatch;

use super::{Context, Emitter, Operator, OperatorError};
use crate::state::{State, key};
use crate::{Chunk, OperatorId};

/// What the state calls the note that they are out.
const GIVEN: &str = "given";

/// See the module.
pub(super) struct Constant {
    id: OperatorId,
    /// `None`: they are out.
    rows: Option<RecordBatch>,
}

impl Constant {
    pub(super) fn new(id: OperatorId, rows: &RecordBatch) -> Self {
        Self {
            id,
            rows: Some(rows.clone()),
        }
    }
}

impl Operator for Constant {
    fn open(&mut self, state: &State) -> Result<(), OperatorError> {
        if state.get(&key::whole(self.id.0, GIVEN))?.is_some() {
            self.rows = None;
        }
        Ok(())
    }

    fn on_chunk(
        &mut self,
        _port: usize,
        chunk: Chunk,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        out.emit(chunk, context)
    }

    fn on_epoch_end(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let Some(rows) = self.rows.take() else {
            return Ok(());
        };
        context.state.put(key::whole(self.id.0, GIVEN), Vec::new());
        out.emit(Chunk::inserts(rows), context)
    }
}
