//! Pairs: rows of a chunk with the rows of the other side that they match.
//!
//! ```text
//! chunk row ──▶ rows of its key (and time) ──▶ pairs, CHUNK_ROWS_MAX at a time ──▶ condition ──▶ counts ──▶ out
//! ```
//!
//! However many rows match, a piece of them is in memory at once.

use std::ops::ControlFlow;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Int8Array, RecordBatch, RecordBatchOptions, UInt32Array,
};
use arrow::compute::take_arrays;
use arrow::datatypes::DataType;
use hashbrown::HashMap;

use super::super::{CHUNK_ROWS_MAX, Context, Emitter, OperatorError};
use super::Join;
use super::interval::matching;
use super::keyed::Keyed;
use crate::expr::evaluate;
use crate::state::StateError;
use crate::state::row::RowReader;
use crate::{BatchExpr, Chunk};

/// Pairs that gather.
struct Pairs {
    chunk_rows: Vec<u32>,
    /// Rows of `reader`.
    others: Vec<u32>,
    reader: RowReader,
    /// For each row of `reader` how often it is there.
    counts: Vec<u64>,
    /// For each row of `reader` where it lies, if matches of it are counted: slot and place.
    places: Vec<(u32, Box<[u8]>)>,
    /// For keys whose rows are in `reader` already, where.
    read: HashMap<usize, (u32, u32), foldhash::fast::RandomState>,
}

/// A row of the other side whose matches were counted: before, now, and a row of the reader that it is.
struct Counted {
    before: u64,
    now: u64,
    row: u32,
}

/// What is probed: a chunk of side `port`, and for its keys the slots of the other side.
pub(super) struct Probe<'a> {
    pub(super) port: usize,
    pub(super) chunk: &'a Chunk,
    pub(super) keyed: &'a Keyed,
    pub(super) slots: &'a [u32],
}

impl Join {
    fn pairs(&self, port: usize) -> Result<Pairs, StateError> {
        Ok(Pairs {
            chunk_rows: Vec::new(),
            others: Vec::new(),
            reader: RowReader::new(&self.sides[1 - port].spec.schema)?,
            counts: Vec::new(),
            places: Vec::new(),
            read: HashMap::default(),
        })
    }

    /// For each row of the chunk how many rows it matches; emits the pairs, and what changes of the rows of the other side.
    pub(super) fn probe(
        &mut self,
        probe: &Probe<'_>,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<Vec<u64>, OperatorError> {
        let (port, keyed) = (probe.port, probe.keyed);
        let mut matches = vec![0; probe.chunk.len()];
        let other_counts = self.sides[1 - port].spec.degrees;
        let in_pairs = self.kind.pairs() || self.residual.is_some() || other_counts;
        if !in_pairs {
            self.count(probe, &mut matches, context)?;
            return Ok(matches);
        }
        let mut pairs = self.pairs(port)?;
        for row in 0..probe.chunk.len() {
            let Some(number) = keyed.of_row(row) else {
                continue;
            };
            if let Some(&(start, end)) = pairs.read.get(&number) {
                pairs
                    .chunk_rows
                    .resize(pairs.chunk_rows.len() + (end - start) as usize, row as u32);
                pairs.others.extend(start..end);
            } else {
                self.pair(probe, row, number, &mut pairs, &mut matches, context, out)?;
            }
            if pairs.others.len() >= CHUNK_ROWS_MAX {
                self.flush(probe, &mut pairs, &mut matches, context, out)?;
            }
        }
        self.flush(probe, &mut pairs, &mut matches, context, out)?;
        Ok(matches)
    }

    /// Counts matches where nobody has to look at them.
    fn count(
        &self,
        probe: &Probe<'_>,
        matches: &mut [u64],
        context: &Context<'_>,
    ) -> Result<(), OperatorError> {
        let other = &self.sides[1 - probe.port];
        let mut known: Vec<Option<u64>> = vec![None; probe.keyed.len()];
        for (row, matches) in matches.iter_mut().enumerate() {
            let Some(number) = probe.keyed.of_row(row) else {
                continue;
            };
            let slot = probe.slots[number];
            let Some(range) = &self.range else {
                let any = match known[number] {
                    Some(any) => any,
                    None => u64::from(other.has_rows(context.state, slot)?),
                };
                known[number] = Some(any);
                *matches = any;
                continue;
            };
            let time = probe.keyed.time(row).unwrap_or_default();
            let Some(places) = matching(range, probe.port, time) else {
                continue;
            };
            let to = places.to.as_ref().map(<[u8; 8]>::as_slice);
            other.visit(context.state, slot, &places.from, to, |found| {
                *matches += found.count;
                ControlFlow::Continue(())
            })?;
        }
        Ok(())
    }

    /// Pairs one row of the chunk with what it may match.
    #[expect(
        clippy::too_many_arguments,
        reason = "what a probe works on, and what it fills"
    )]
    fn pair(
        &mut self,
        probe: &Probe<'_>,
        row: usize,
        number: usize,
        pairs: &mut Pairs,
        matches: &mut [u64],
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let slot = probe.slots[number];
        let places = match (&self.range, probe.keyed.time(row)) {
            (Some(range), Some(time)) => match matching(range, probe.port, time) {
                Some(places) => Some(places),
                None => return Ok(()),
            },
            _ => None,
        };
        let to = places.as_ref().and_then(|places| places.to.as_ref());
        let to = to.map(<[u8; 8]>::as_slice);
        let mut from = places.map_or_else(Vec::new, |places| places.from.to_vec());
        let first = pairs.reader.len() as u32;
        let mut at_once = places.is_none() && probe.keyed.repeats();
        loop {
            let other = &self.sides[1 - probe.port];
            let mut failed = None;
            let mut rest = None;
            other.visit(context.state, slot, &from, to, |found| {
                if pairs.others.len() >= CHUNK_ROWS_MAX {
                    rest = Some(found.place.to_vec());
                    return ControlFlow::Break(());
                }
                pairs.chunk_rows.push(row as u32);
                pairs.others.push(pairs.reader.len() as u32);
                pairs.counts.push(found.count);
                if other.spec.degrees {
                    pairs.places.push((slot, found.place.into()));
                }
                match pairs.reader.push(found.row) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => {
                        failed = Some(error);
                        ControlFlow::Break(())
                    }
                }
            })?;
            if let Some(error) = failed {
                return Err(error.into());
            }
            match rest {
                Some(place) => from = place,
                None => break,
            }
            at_once = false;
            self.flush(probe, pairs, matches, context, out)?;
        }
        if at_once {
            pairs
                .read
                .insert(number, (first, pairs.reader.len() as u32));
        }
        Ok(())
    }

    /// Counts and emits the pairs that gathered, as far as they meet the condition.
    fn flush(
        &mut self,
        probe: &Probe<'_>,
        pairs: &mut Pairs,
        matches: &mut [u64],
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let Pairs {
            mut chunk_rows,
            mut others,
            reader,
            counts,
            places,
            ..
        } = std::mem::replace(pairs, self.pairs(probe.port)?);
        if others.is_empty() {
            return Ok(());
        }
        let found = reader.finish();
        if let Some(residual) = self.residual.clone() {
            let meets = self.meets(&*residual, probe, &found, &chunk_rows, &others, context)?;
            let mut keep = meets.iter().copied();
            chunk_rows.retain(|_| keep.next().unwrap_or(false));
            let mut keep = meets.iter().copied();
            others.retain(|_| keep.next().unwrap_or(false));
        }
        for (&row, &other) in chunk_rows.iter().zip(&others) {
            matches[row as usize] += counts[other as usize];
        }
        let counted = self.count_others(probe, &chunk_rows, &others, &places, context)?;
        self.turn_counted(probe, &found, &counts, &counted, false, context, out)?;
        if self.kind.pairs() {
            self.emit_pairs(probe, &found, &counts, &chunk_rows, &others, context, out)?;
        }
        self.turn_counted(probe, &found, &counts, &counted, true, context, out)
    }

    /// Which pairs meet the condition. A pair on which it fails does not, and is reported.
    fn meets(
        &self,
        residual: &dyn BatchExpr,
        probe: &Probe<'_>,
        found: &RecordBatch,
        chunk_rows: &[u32],
        others: &[u32],
        context: &mut Context<'_>,
    ) -> Result<Vec<bool>, OperatorError> {
        let columns_error = |error| OperatorError::columns(self.id, &error);
        let columns = self.paired(probe, found, chunk_rows, others)?;
        let options = RecordBatchOptions::new().with_row_count(Some(others.len()));
        let schema = self.pair_schema.clone();
        let batch =
            RecordBatch::try_new_with_options(schema, columns, &options).map_err(columns_error)?;
        let evaluated = evaluate(residual, &batch).map_err(columns_error)?;
        let paired = Chunk::inserts(batch);
        for (pair, reason) in &evaluated.bad {
            // A row that is taken back failed in the same way when it came.
            if probe.chunk.sign(chunk_rows[*pair] as usize) > 0 {
                context.effects.row_failed(&paired, *pair, reason);
            }
        }
        let good = others.len() - evaluated.bad.len();
        let values = match &evaluated.values {
            Some(values) if values.data_type() == &DataType::Boolean && values.len() == good => {
                values.as_boolean().clone()
            }
            None => BooleanArray::from(Vec::<bool>::new()),
            Some(values) => {
                return Err(OperatorError::Columns {
                    operator: self.id,
                    reason: format!(
                        "a condition gives {} {} values for {good} pairs",
                        values.len(),
                        values.data_type()
                    ),
                });
            }
        };
        let mut bad = evaluated.bad.iter().map(|(pair, _)| *pair).peekable();
        let mut values = values.iter();
        let meets = |pair| {
            let failed = bad.next_if_eq(&pair).is_some();
            !failed && values.next().flatten() == Some(true)
        };
        Ok((0..others.len()).map(meets).collect())
    }

    /// Columns of the left side, then of the right one.
    fn paired(
        &self,
        probe: &Probe<'_>,
        found: &RecordBatch,
        chunk_rows: &[u32],
        others: &[u32],
    ) -> Result<Vec<ArrayRef>, OperatorError> {
        let own = self.taken(&probe.chunk.batch, chunk_rows)?;
        let other = self.taken(found, others)?;
        Ok(match probe.port {
            0 => [own, other].concat(),
            _ => [other, own].concat(),
        })
    }

    fn taken(&self, batch: &RecordBatch, rows: &[u32]) -> Result<Vec<ArrayRef>, OperatorError> {
        let in_place = |(row, &pick): (usize, &u32)| row == pick as usize;
        if rows.len() == batch.num_rows() && rows.iter().enumerate().all(in_place) {
            return Ok(batch.columns().to_vec());
        }
        let rows = UInt32Array::from(rows.to_vec());
        take_arrays(batch.columns(), &rows, None)
            .map_err(|error| OperatorError::columns(self.id, &error))
    }

    /// Writes how many rows the rows of the other side match now.
    fn count_others(
        &mut self,
        probe: &Probe<'_>,
        chunk_rows: &[u32],
        others: &[u32],
        places: &[(u32, Box<[u8]>)],
        context: &mut Context<'_>,
    ) -> Result<Vec<Counted>, OperatorError> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let side = &mut self.sides[1 - probe.port];
        // One row of the other side may have been read for several of the chunk.
        let mut changes: HashMap<(u32, &[u8]), (i64, u32), foldhash::fast::RandomState> =
            HashMap::default();
        for (&row, &other) in chunk_rows.iter().zip(others) {
            let (slot, place) = &places[other as usize];
            let change = changes.entry((*slot, place)).or_insert((0, other));
            change.0 += i64::from(probe.chunk.sign(row as usize));
        }
        let mut counted = Vec::new();
        for ((slot, place), (change, row)) in changes {
            if change != 0 {
                let before = side.add_degree(context.state, slot, place, change)?;
                let now = before.saturating_add_signed(change);
                counted.push(Counted { before, now, row });
            }
        }
        counted.sort_unstable_by_key(|counted| counted.row);
        Ok(counted)
    }

    /// Emits what changes of the rows of the other side whose first match came, `after` the pairs: whose last one went.
    #[expect(clippy::too_many_arguments, reason = "a step of `flush`")]
    fn turn_counted(
        &self,
        probe: &Probe<'_>,
        found: &RecordBatch,
        counts: &[u64],
        counted: &[Counted],
        after: bool,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let turned = counted.iter().filter(|row| match after {
            false => row.before == 0 && row.now > 0,
            true => row.before > 0 && row.now == 0,
        });
        let mut rows: Vec<u32> = Vec::new();
        for turned in turned {
            for _ in 0..counts[turned.row as usize] {
                rows.push(turned.row);
                if rows.len() == CHUNK_ROWS_MAX {
                    self.turn_rows(
                        probe,
                        found,
                        &std::mem::take(&mut rows),
                        !after,
                        context,
                        out,
                    )?;
                }
            }
        }
        self.turn_rows(probe, found, &rows, !after, context, out)
    }

    fn turn_rows(
        &self,
        probe: &Probe<'_>,
        found: &RecordBatch,
        rows: &[u32],
        matched: bool,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        if rows.is_empty() {
            return Ok(());
        }
        let columns = self.taken(found, rows)?;
        let batch = RecordBatch::try_new(found.schema(), columns)
            .map_err(|error| OperatorError::columns(self.id, &error))?;
        self.turn(1 - probe.port, &batch, matched, context, out)
    }

    /// Emits pairs, each as often as its row of the other side is there.
    #[expect(clippy::too_many_arguments, reason = "a step of `flush`")]
    fn emit_pairs(
        &self,
        probe: &Probe<'_>,
        found: &RecordBatch,
        counts: &[u64],
        chunk_rows: &[u32],
        others: &[u32],
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        if counts.iter().all(|&count| count == 1) {
            for (rows, others) in chunk_rows
                .chunks(CHUNK_ROWS_MAX)
                .zip(others.chunks(CHUNK_ROWS_MAX))
            {
                self.emit_piece(probe, found, rows, others, context, out)?;
            }
            return Ok(());
        }
        let (mut rows, mut picks) = (Vec::new(), Vec::new());
        for (&row, &other) in chunk_rows.iter().zip(others) {
            for _ in 0..counts[other as usize] {
                rows.push(row);
                picks.push(other);
                if rows.len() == CHUNK_ROWS_MAX {
                    self.emit_piece(probe, found, &rows, &picks, context, out)?;
                    rows.clear();
                    picks.clear();
                }
            }
        }
        self.emit_piece(probe, found, &rows, &picks, context, out)
    }

    fn emit_piece(
        &self,
        probe: &Probe<'_>,
        found: &RecordBatch,
        chunk_rows: &[u32],
        others: &[u32],
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        if others.is_empty() {
            return Ok(());
        }
        let batch = self.batch(self.paired(probe, found, chunk_rows, others)?, others.len())?;
        let diff = probe.chunk.diff.as_ref().map(|diff| {
            let signs = chunk_rows.iter().map(|&row| diff.value(row as usize));
            signs.collect::<Vec<i8>>()
        });
        let diff = diff
            .filter(|signs| signs.contains(&-1))
            .map(Int8Array::from);
        out.emit(
            Chunk {
                diff,
                ..Chunk::inserts(batch)
            },
            context,
        )
    }
}
