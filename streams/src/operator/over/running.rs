//! Aggregates of OVER over all rows up to each: what they have seen is kept with the row, so that what comes behind a row
//! goes on from there.
//!
//! ```text
//! row    1   2   3   4          seen by row n: what was seen by row n − 1, and row n; rows that the order does not tell
//! sum    1   3   6  10          apart have seen each other where the frame says so (RANGE, GROUPS)
//! ```
//!
//! Invariant: what was seen by a row depends on the rows up to it only, not on where a run began.

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;

use crate::aggregate::{BoundCall, GroupTable, Input, SubState, mask_of};
use crate::operator::{Context, OperatorError};
use crate::{AggregateCall, OperatorId, OverSpec, OverValues};

/// The running aggregates of an operator.
pub(super) struct Running {
    id: OperatorId,
    calls: Vec<Call>,
}

struct Call {
    /// Its place among the functions.
    place: usize,
    name: String,
    call: AggregateCall,
    bound: BoundCall,
    /// Rows that the order does not tell apart see each other.
    peers: bool,
}

/// What a run over rows gives.
pub(super) struct Run {
    /// The values of each aggregate, with its place among the functions.
    pub(super) values: Vec<(usize, ArrayRef)>,
    /// What the aggregates had seen with each row.
    pub(super) seen: Vec<Vec<u8>>,
}

impl Running {
    /// Those of `spec`, if it has any.
    pub(super) fn of(id: OperatorId, spec: &OverSpec, input: &SchemaRef) -> Option<Self> {
        let functions = spec.functions.iter().enumerate();
        let calls = functions.filter_map(|(place, function)| match &function.values {
            OverValues::Running { call, peers } => Some(Call {
                place,
                name: function.name.clone(),
                bound: BoundCall::of(call, input, true),
                call: call.clone(),
                peers: *peers,
            }),
            OverValues::Around { .. } => None,
        });
        let calls: Vec<Call> = calls.collect();
        (!calls.is_empty()).then_some(Self { id, calls })
    }

    /// Goes over rows that follow those by which `before` was seen (nothing: they are the first). `peers` numbers the rows,
    /// rising from 0, those alike that the order does not tell apart.
    pub(super) fn run(
        &self,
        rows: &RecordBatch,
        peers: &[u32],
        before: &[u8],
        context: &mut Context<'_>,
    ) -> Result<Run, OperatorError> {
        let mut run = Run {
            values: Vec::with_capacity(self.calls.len()),
            seen: vec![Vec::new(); rows.num_rows()],
        };
        let mut before = before;
        for call in &self.calls {
            let values = self.run_one(call, rows, peers, &mut before, &mut run.seen, context)?;
            run.values.push((call.place, values));
        }
        Ok(run)
    }

    fn run_one(
        &self,
        call: &Call,
        rows: &RecordBatch,
        peers: &[u32],
        before: &mut &[u8],
        seen: &mut [Vec<u8>],
        context: &mut Context<'_>,
    ) -> Result<ArrayRef, OperatorError> {
        // Group 0 is what came before, then one for each step.
        let groups: Vec<u32> = match call.peers {
            true => peers.iter().map(|peer| peer + 1).collect(),
            false => (1..).take(rows.num_rows()).collect(),
        };
        let steps = groups.last().copied().unwrap_or(0);
        let mut accumulator = call.call.function.build(&call.bound);
        accumulator.resize(steps as usize + 1);
        if !before.is_empty() {
            accumulator.merge(0, before)?;
        }
        let arguments = call.call.arguments.iter();
        let arguments: Vec<ArrayRef> = arguments
            .map(|&column| rows.column(column).clone())
            .collect();
        let mask =
            mask_of(&call.call, rows.columns()).map_err(|reason| OperatorError::Columns {
                operator: self.id,
                reason,
            })?;
        let input = Input {
            groups: &groups,
            arguments: &arguments,
            order_by: &[],
            signs: None,
            mask,
        };
        let mut below = SubState {
            state: context.state,
            groups: &GroupTable::new(self.id.0, &[], None),
            operator: self.id,
            cache_bytes: 0,
        };
        accumulator.update(&input, &mut below)?;
        let mut saved = Vec::new();
        for step in 0..steps as usize {
            saved.clear();
            accumulator.save(step, &mut saved);
            accumulator.merge(step + 1, &mut saved.as_slice())?;
        }
        for (&group, seen) in groups.iter().zip(seen) {
            accumulator.save(group as usize, seen);
        }
        let mut overflowed = Vec::new();
        let all: Vec<u32> = (1..=steps).collect();
        let values = accumulator.evaluate(&all, &mut overflowed);
        if !overflowed.is_empty() {
            let reason = format!("{}: the result does not fit its type", call.name);
            context.effects.output_failed(None, reason);
        }
        if values.len() == rows.num_rows() {
            return Ok(values);
        }
        let places: UInt32Array = groups.iter().map(|group| group - 1).collect();
        take(&values, &places, None).map_err(|error| OperatorError::columns(self.id, &error))
    }
}
