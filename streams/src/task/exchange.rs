//! The exchange between the tokens of a job: which of them a row belongs to.
//!
//! Invariant: rows of one chunk that belong to one token keep their order.

use arrow::array::{Array, AsArray, Int8Array, UInt32Array};
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::{Int8Type, UInt32Type};
use arrow::error::ArrowError;

use crate::operator::OperatorError;
use crate::plan::Route;
use crate::state::key::{self, VNODES};
use crate::state::{Column, Physical, VIEW};
use crate::{Chunk, OperatorId, Origin};

/// Where a chunk goes in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Port {
    /// Input `.1` of node `.0`.
    Node(usize, usize),
    /// The end of the plan.
    Sink,
}

/// What comes to a token, by stage.
pub(crate) type Inbox = Vec<Vec<(Port, Chunk)>>;
/// What leaves a token: for whom, and where it goes in.
pub(crate) type Outbox = Vec<(usize, Port, Chunk)>;

/// The token of encoded key columns.
fn token_of(encoded: &[u8], tokens: usize) -> usize {
    usize::from(key::vnode(encoded)) * tokens / VNODES as usize
}

/// Sends the rows of a chunk to the tokens where they belong.
///
/// # Errors
/// Key columns that the state cannot keep.
pub(crate) fn send(
    route: &Route,
    tokens: usize,
    port: Port,
    chunk: Chunk,
    outbox: &mut Outbox,
) -> Result<(), OperatorError> {
    let columns = match route {
        Route::Stay | Route::First => {
            outbox.push((0, port, chunk));
            return Ok(());
        }
        Route::By(columns) => columns,
    };
    let arrays = columns.iter().map(|&column| chunk.batch.column(column));
    let key_columns = arrays.map(|array| {
        let physical = Physical::of(array.data_type());
        Some((physical?, Column::of(array)?))
    });
    let key_columns: Option<Vec<(Physical, Column<'_>)>> = key_columns.collect();
    let Some(key_columns) = key_columns else {
        return Err(OperatorError::Columns {
            operator: OperatorId(VIEW),
            reason: "a key column is of a type that no key has".to_owned(),
        });
    };
    let mut rows: Vec<Vec<u32>> = vec![Vec::new(); tokens];
    let mut encoded = Vec::new();
    for row in 0..chunk.len() {
        encoded.clear();
        key::push_row(&key_columns, row, &mut encoded);
        rows[token_of(&encoded, tokens)].push(row as u32);
    }
    drop(key_columns);
    if let Some(only) = rows.iter().position(|rows| rows.len() == chunk.len()) {
        outbox.push((only, port, chunk));
        return Ok(());
    }
    for (to, rows) in rows.into_iter().enumerate() {
        if !rows.is_empty() {
            let picked = pick(&chunk, &UInt32Array::from(rows));
            let picked =
                picked.map_err(|error| OperatorError::columns(OperatorId(VIEW), &error))?;
            outbox.push((to, port, picked));
        }
    }
    Ok(())
}

/// Some rows of a chunk.
fn pick(chunk: &Chunk, rows: &UInt32Array) -> Result<Chunk, ArrowError> {
    let diff: Option<Int8Array> = match &chunk.diff {
        Some(diff) => Some(take(diff, rows, None)?.as_primitive::<Int8Type>().clone()),
        None => None,
    };
    let origin = match &chunk.origin {
        Some(origin) => Some(Origin {
            rows: take(&origin.rows, rows, None)?
                .as_primitive::<UInt32Type>()
                .clone(),
            ..origin.clone()
        }),
        None => None,
    };
    Ok(Chunk {
        batch: take_record_batch(&chunk.batch, rows)?,
        diff,
        origin,
    })
}
