//! An append source, or a union: rows go on as they come.

use super::{Context, Emitter, Operator, OperatorError};
use crate::Chunk;

/// Does nothing to a chunk.
pub(super) struct Pass;

impl Operator for Pass {
    fn on_chunk(
        &mut self,
        _port: usize,
        chunk: Chunk,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        out.emit(chunk, context)
    }
}
