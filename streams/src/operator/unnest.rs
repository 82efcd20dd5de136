//! Lists become rows: a row is repeated for each element of its lists, in their order.
//!
//! ```text
//! columns, lists replaced by their elements │ place Int64, from 1 on
//! ```
//!
//! Several lists lie side by side: where one is shorter its elements are NULL. A row whose lists have no elements comes not
//! at all, or once with NULLs and place 0, as the spec says.
//!
//! Invariant: the place tells the rows of one row apart, and is the same when they are taken back.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::{CHUNK_ROWS_MAX, Context, Emitter, Operator, OperatorError};
use crate::{Chunk, OperatorId, Origin, UnnestSpec};

/// See the module.
pub(super) struct Unnest {
    id: OperatorId,
    spec: UnnestSpec,
    schema: SchemaRef,
}

/// Rows to be repeated, and the element of each, from 0 on; `None`: the row has no elements.
#[derive(Default)]
struct Elements {
    rows: Vec<u32>,
    places: Vec<Option<usize>>,
}

impl Unnest {
    pub(super) fn new(id: OperatorId, spec: &UnnestSpec, schema: SchemaRef) -> Self {
        Self {
            id,
            spec: spec.clone(),
            schema,
        }
    }

    fn emit(
        &self,
        chunk: &Chunk,
        elements: Elements,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let repeated = self.repeated(chunk, &elements);
        let repeated = repeated.map_err(|error| OperatorError::columns(self.id, &error))?;
        out.emit(repeated, context)
    }

    fn repeated(&self, chunk: &Chunk, elements: &Elements) -> Result<Chunk, ArrowError> {
        let rows = UInt32Array::from(elements.rows.clone());
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for (index, column) in chunk.batch.columns().iter().enumerate() {
            columns.push(match self.spec.columns.contains(&index) {
                true => elements_of(column, elements)?,
                false => take(column, &rows, None)?,
            });
        }
        let places = elements.places.iter();
        let places = places.map(|place| place.map_or(0, |place| place as i64 + 1));
        columns.push(Arc::new(places.collect::<Int64Array>()));
        let diff = match &chunk.diff {
            Some(diff) => Some(take(diff, &rows, None)?.as_primitive().clone()),
            None => None,
        };
        let origin = match &chunk.origin {
            Some(origin) => Some(Origin {
                rows: take(&origin.rows, &rows, None)?.as_primitive().clone(),
                ..origin.clone()
            }),
            None => None,
        };
        Ok(Chunk {
            batch: RecordBatch::try_new(Arc::clone(&self.schema), columns)?,
            diff,
            origin,
        })
    }
}

/// How many elements the list of a row has.
fn length(list: &ArrayRef, row: usize) -> usize {
    match list.as_list_opt::<i32>() {
        Some(list) if list.is_valid(row) => list.value_length(row) as usize,
        _ => 0,
    }
}

fn elements_of(list: &ArrayRef, elements: &Elements) -> Result<ArrayRef, ArrowError> {
    let list = list
        .as_list_opt::<i32>()
        .ok_or_else(|| ArrowError::SchemaError(format!("{} is no list", list.data_type())))?;
    let element = |(&row, &place): (&u32, &Option<usize>)| {
        let row = row as usize;
        let place =
            place.filter(|&place| list.is_valid(row) && place < list.value_length(row) as usize)?;
        Some(list.value_offsets()[row] as u64 + place as u64)
    };
    let places: UInt64Array = elements
        .rows
        .iter()
        .zip(&elements.places)
        .map(element)
        .collect();
    take(list.values(), &places, None)
}

impl Operator for Unnest {
    fn on_chunk(
        &mut self,
        _port: usize,
        chunk: Chunk,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let mut elements = Elements::default();
        for row in 0..chunk.len() {
            let lists = self
                .spec
                .columns
                .iter()
                .map(|&column| chunk.batch.column(column));
            let count = lists.map(|list| length(list, row)).max().unwrap_or(0);
            let places = (0..count).map(Some);
            let none = (count == 0 && self.spec.keeps_empty).then_some(None);
            if count == 0 && !self.spec.keeps_empty && chunk.sign(row) > 0 {
                context.effects.filtered += 1;
            }
            for place in places.chain(none) {
                elements.rows.push(row as u32);
                elements.places.push(place);
                if elements.rows.len() == CHUNK_ROWS_MAX {
                    self.emit(&chunk, std::mem::take(&mut elements), context, out)?;
                }
            }
        }
        if elements.rows.is_empty() {
            return Ok(());
        }
        self.emit(&chunk, elements, context, out)
    }
}
