//! Map over rows that may be taken back, with expressions that may answer otherwise the next time (a guest that hit its
//! deadline): a row goes as it came, because what it gave is kept.
//!
//! ```text
//! + row   known: what it gave before   unknown: evaluated
//! − row   what it gave before          unknown: the input is broken
//! ```
//!
//! State: `[operator][vnode][input row]` → `[count varint]`, then `0` and the output row, or `1` and why there is none.
//!
//! Invariant: for every row of the input that is there, the state holds its count and what it gave.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, RecordBatch, UInt32Array, new_empty_array};
use arrow::compute::{filter, filter_record_batch, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use hashbrown::HashMap;

use super::{Context, Emitter, Operator, OperatorError};
use crate::expr::evaluate;
use crate::state::row::{self, RowReader, push_varint, read_varint};
use crate::state::{StateError, key};
use crate::{BatchExpr, Chunk, OperatorId};

/// What a row gave: an output row, or the reason why there is none.
type Outcome = Result<Vec<u8>, String>;

/// See the module.
pub(super) struct Memo {
    id: OperatorId,
    exprs: Vec<Arc<dyn BatchExpr>>,
    schema: SchemaRef,
}

/// A distinct row of a chunk.
struct Known {
    state_key: Vec<u8>,
    /// How often it is there.
    count: i64,
    /// `None`: not known yet.
    outcome: Option<Outcome>,
    /// A place of it in the chunk.
    row: u32,
}

impl Memo {
    pub(super) fn new(id: OperatorId, exprs: Vec<Arc<dyn BatchExpr>>, schema: SchemaRef) -> Self {
        Self { id, exprs, schema }
    }

    /// The distinct rows of a chunk with what the state knows of them, and for each row of the chunk which one it is.
    fn known(
        &self,
        chunk: &Chunk,
        context: &Context<'_>,
    ) -> Result<(Vec<Known>, Vec<usize>), StateError> {
        let columns = row::columns_of(chunk.batch.columns())?;
        let mut places: HashMap<Vec<u8>, usize, foldhash::fast::RandomState> = HashMap::default();
        let mut known: Vec<Known> = Vec::new();
        let mut of_row = Vec::with_capacity(chunk.len());
        for index in 0..chunk.len() {
            let mut bytes = Vec::with_capacity(64);
            row::push_row(&columns, index, &mut bytes);
            of_row.push(*places.entry(bytes).or_insert_with_key(|bytes| {
                let mut state_key = Vec::with_capacity(bytes.len() + 4);
                key::start(self.id.0, bytes, &mut state_key);
                state_key.extend_from_slice(bytes);
                known.push(Known {
                    state_key,
                    count: 0,
                    outcome: None,
                    row: index as u32,
                });
                known.len() - 1
            }));
        }
        let keys: Vec<Vec<u8>> = known.iter().map(|known| known.state_key.clone()).collect();
        for (known, value) in known.iter_mut().zip(context.state.get_many(&keys)?) {
            if let Some(value) = value {
                let (count, outcome) = read(&value)?;
                known.count = count;
                known.outcome = Some(outcome);
            }
        }
        Ok((known, of_row))
    }

    /// Evaluates the rows of which nothing is known.
    fn evaluate(&self, batch: &RecordBatch, known: &mut [Known]) -> Result<(), OperatorError> {
        let columns_error = |error: ArrowError| OperatorError::columns(self.id, &error);
        let mut places: Vec<usize> = (0..known.len())
            .filter(|&place| known[place].outcome.is_none())
            .collect();
        if places.is_empty() {
            return Ok(());
        }
        let rows: UInt32Array = places
            .iter()
            .map(|&place| known[place].row)
            .collect::<Vec<_>>()
            .into();
        let mut batch = take_record_batch(batch, &rows).map_err(columns_error)?;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.exprs.len());
        for (expr, field) in self.exprs.iter().zip(self.schema.fields()) {
            let evaluated = evaluate(&**expr, &batch).map_err(columns_error)?;
            let good = evaluated.good(batch.num_rows());
            for (row, reason) in evaluated.bad {
                known[places[row]].outcome = Some(Err(reason));
            }
            if let Some(good) = good {
                batch = filter_record_batch(&batch, &good).map_err(columns_error)?;
                let kept = columns.iter().map(|column| filter(column, &good));
                columns = kept.collect::<Result<_, _>>().map_err(columns_error)?;
                places.retain(|&place| known[place].outcome.is_none());
            }
            let values = evaluated.values;
            columns.push(values.unwrap_or_else(|| new_empty_array(field.data_type())));
        }
        let cells = row::columns_of(&columns)?;
        for (row, place) in places.into_iter().enumerate() {
            let mut bytes = Vec::with_capacity(64);
            row::push_row(&cells, row, &mut bytes);
            known[place].outcome = Some(Ok(bytes));
        }
        Ok(())
    }
}

fn read(mut value: &[u8]) -> Result<(i64, Outcome), StateError> {
    let bytes = &mut value;
    let count = i64::try_from(read_varint(bytes)?).unwrap_or(i64::MAX);
    let outcome = match read_varint(bytes)? {
        0 => Ok(bytes.to_vec()),
        _ => Err(String::from_utf8_lossy(bytes).into_owned()),
    };
    Ok((count, outcome))
}

fn written(count: i64, outcome: &Outcome) -> Vec<u8> {
    let mut value = Vec::with_capacity(64);
    push_varint(count.unsigned_abs(), &mut value);
    match outcome {
        Ok(row) => {
            value.push(0);
            value.extend_from_slice(row);
        }
        Err(reason) => {
            value.push(1);
            value.extend_from_slice(reason.as_bytes());
        }
    }
    value
}

impl Operator for Memo {
    fn on_chunk(
        &mut self,
        _port: usize,
        chunk: Chunk,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let (mut known, of_row) = self.known(&chunk, context)?;
        self.evaluate(&chunk.batch, &mut known)?;
        let mut reader = RowReader::new(&self.schema)?;
        let mut signs: Vec<i8> = Vec::with_capacity(chunk.len());
        for (row, &place) in of_row.iter().enumerate() {
            let (sign, known) = (chunk.sign(row), &mut known[place]);
            known.count += i64::from(sign);
            if known.count < 0 {
                return Err(OperatorError::Inconsistent {
                    operator: self.id,
                    reason: "a row was taken back that was never there".to_owned(),
                });
            }
            match known.outcome.as_ref() {
                Some(Ok(bytes)) => {
                    reader.push(bytes)?;
                    signs.push(sign);
                }
                Some(Err(reason)) if sign > 0 => context.effects.row_failed(&chunk, row, reason),
                Some(Err(_)) | None => {}
            }
        }
        for known in known {
            match known.outcome {
                Some(outcome) if known.count > 0 => {
                    context
                        .state
                        .put(known.state_key, written(known.count, &outcome));
                }
                _ => context.state.delete(known.state_key),
            }
        }
        let diff = signs.contains(&-1).then(|| Int8Array::from(signs));
        let rows = Chunk {
            diff,
            ..Chunk::inserts(reader.finish())
        };
        out.emit(rows, context)
    }
}
