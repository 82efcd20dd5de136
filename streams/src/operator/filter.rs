//! Filter: keeps the rows for which a boolean expression is true.
//!
//! An update whose old row passes and whose new row does not becomes a deletion, and the other way round: each sign is
//! judged by itself, which is right because the expression is deterministic.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::{filter, filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::DataType;

use super::map::{good_rows, retain};
use super::{Context, Emitter, Operator, OperatorError};
use crate::{BatchExpr, Chunk, OperatorId, Origin};

/// See the module.
pub(super) struct Filter {
    id: OperatorId,
    predicate: Arc<dyn BatchExpr>,
}

impl Filter {
    pub(super) fn new(id: OperatorId, predicate: Arc<dyn BatchExpr>) -> Self {
        Self { id, predicate }
    }
}

impl Operator for Filter {
    fn on_chunk(
        &mut self,
        _port: usize,
        chunk: Chunk,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        match passing(self.id, &*self.predicate, chunk, context)? {
            Some((chunk, removed)) => {
                context.effects.filtered += removed as u64;
                out.emit(chunk, context)
            }
            None => Ok(()),
        }
    }
}

/// The rows of `chunk` for which `predicate` is true, and how many were not; `None` when it failed on all of them. Rows
/// on which it fails go to the error topic.
pub(super) fn passing(
    id: OperatorId,
    predicate: &dyn BatchExpr,
    chunk: Chunk,
    context: &mut Context<'_>,
) -> Result<Option<(Chunk, usize)>, OperatorError> {
    let (chunk, mask) = match predicate.eval(&chunk.batch) {
        Ok(mask) => (chunk, mask),
        Err(error) => {
            let Some(chunk) = good_rows(chunk, predicate, error, context, id)? else {
                return Ok(None);
            };
            let mask =
                predicate
                    .eval(&chunk.batch)
                    .map_err(|error| OperatorError::Inconsistent {
                        operator: id,
                        reason: format!("an expression fails on rows that it took before: {error}"),
                    })?;
            (chunk, mask)
        }
    };
    if mask.data_type() != &DataType::Boolean || mask.len() != chunk.len() {
        return Err(OperatorError::Columns {
            operator: id,
            reason: format!(
                "a filter gives {} {} values for {} rows",
                mask.len(),
                mask.data_type(),
                chunk.len()
            ),
        });
    }
    let mask = mask.as_boolean();
    let mask = if mask.null_count() > 0 {
        prep_null_mask_filter(mask)
    } else {
        mask.clone()
    };
    let kept = mask.true_count();
    let removed = chunk.len() - kept;
    if removed == 0 {
        return Ok(Some((chunk, 0)));
    }
    Ok(Some((retain(id, &chunk, &mask)?, removed)))
}

/// The rows of a chunk where `mask` (without NULLs) is true.
pub(super) fn select(
    chunk: &Chunk,
    mask: &BooleanArray,
) -> Result<Chunk, arrow::error::ArrowError> {
    let batch = filter_record_batch(&chunk.batch, mask)?;
    let diff = match &chunk.diff {
        Some(diff) => Some(filter(diff, mask)?.as_primitive().clone()),
        None => None,
    };
    let origin = match &chunk.origin {
        Some(origin) => {
            let rows = filter(&origin.rows, mask)?.as_primitive().clone();
            Some(Origin {
                rows,
                ..origin.clone()
            })
        }
        None => None,
    };
    Ok(Chunk {
        batch,
        diff,
        origin,
    })
}
