//! Filter: keeps the rows for which a boolean expression is true.
//!
//! An update whose old row passes and whose new row does not becomes a deletion, and the other way round: each sign is
//! judged by itself, which is right because the expression is deterministic.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::{filter, filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::DataType;

use super::map::good_rows;
use super::{Context, Emitter, Operator, OperatorError};
use crate::expr::evaluate;
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
    // What rejects everything never emits, and a join may ask it about very many pairs.
    context.effects.check_cancelled()?;
    let columns_error = |error| OperatorError::columns(id, &error);
    let evaluated = evaluate(predicate, &chunk.batch).map_err(columns_error)?;
    let chunk = good_rows(chunk, &evaluated, context).map_err(columns_error)?;
    let Some(mask) = evaluated.values else {
        return Ok(None);
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
    let removed = chunk.len() - mask.true_count();
    if removed == 0 {
        return Ok(Some((chunk, 0)));
    }
    let kept = select(&chunk, &mask).map_err(columns_error)?;
    Ok(Some((kept, removed)))
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
