//! Regular join, inner and outer: both sides are kept, a change on either side corrects the output.
//!
//! ```text
//!  left chunk ──▶ left state ──▶ probe right ──▶ (left row, each match) with the left row's sign
//!  right chunk ─▶ right state ─▶ probe left  ──▶ (each match, right row) with the right row's sign
//!  outer join: a row without a match, of a side that the kind names, is padded with NULLs; the padding goes when the
//!              first match comes, and comes back when the last one goes
//! ```
//!
//! State, by side and join key: an input that never takes rows back keeps them under a running number (one put a row,
//! no read); any other keeps each distinct row with its count.
//!
//! Invariants:
//! 1. After every chunk the output so far is the join of the inputs so far.
//! 2. A row whose key has a NULL matches nothing and, on a side that is padded, is padded once; it is never read again.
//! 3. What is in `cache` is also in the state, and complete for its key.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{Int8Array, RecordBatch, UInt32Array, UInt32Builder};
use arrow::compute::{take_arrays, take_record_batch};
use arrow::datatypes::SchemaRef;
use hashbrown::HashMap;

use super::filter::passing;
use super::upsert::key_columns;
use super::{CHUNK_ROWS_MAX, Context, Emitter, Memory, Operator, OperatorError};
use crate::state::row::{self, RowReader, push_varint, read_varint};
use crate::state::{ScanOrder, State, StateError, key, prefix_end};
use crate::{BatchExpr, Chunk, JoinKind, JoinSpec, OperatorId};

/// A key with more rows than this is not cached: its rows are read in pieces.
const CACHED_ROWS_MAX: usize = 64;

/// See the module.
pub(super) struct Join {
    id: OperatorId,
    kind: JoinKind,
    residual: Option<Arc<dyn BatchExpr>>,
    schema: SchemaRef,
    sides: [Side; 2],
}

struct Side {
    number: u8,
    operator: OperatorId,
    keys: Vec<usize>,
    schema: SchemaRef,
    append_only: bool,
    /// The next running number, for an append-only side.
    next: u64,
    saved_next: u64,
    cache: HashMap<Vec<u8>, Bucket, foldhash::fast::RandomState>,
    cache_bytes: usize,
    cache_bytes_max: usize,
}

/// The rows of one key, where they are few; `None`: they are many.
type Bucket = Option<Vec<(Vec<u8>, i64)>>;

/// Some rows of a key with their counts, and the place to go on from where there are more.
type Piece = (Vec<(Vec<u8>, i64)>, Option<Vec<u8>>);

/// The rows of a chunk by join key.
struct Keyed {
    /// Distinct keys, encoded, without NULLs in them.
    keys: Vec<Vec<u8>>,
    /// For each row its key; `None` where it has a NULL.
    of_row: Vec<Option<u32>>,
}

const LEFT: usize = 0;

impl Side {
    /// The prefix of the state of a key: `[operator][vnode][side][key]`.
    fn prefix(&self, encoded: &[u8]) -> Vec<u8> {
        let mut prefix = Vec::with_capacity(encoded.len() + 13);
        key::start(self.operator.0, encoded, &mut prefix);
        prefix.push(self.number);
        prefix.extend_from_slice(encoded);
        prefix
    }

    fn next_key(&self) -> Vec<u8> {
        key::whole(
            self.operator.0,
            if self.number == 0 {
                "left.next"
            } else {
                "right.next"
            },
        )
    }

    fn keyed(&self, batch: &RecordBatch) -> Result<Keyed, StateError> {
        let columns = key_columns(batch, &self.keys)?;
        let mut numbers: HashMap<Vec<u8>, u32, foldhash::fast::RandomState> = HashMap::default();
        let mut keys = Vec::new();
        let mut encoded = Vec::new();
        let of_row = (0..batch.num_rows())
            .map(|row| {
                if columns.iter().any(|(_, column)| column.is_null(row)) {
                    return None;
                }
                encoded.clear();
                key::push_row(&columns, row, &mut encoded);
                if let Some(&number) = numbers.get(encoded.as_slice()) {
                    return Some(number);
                }
                let number = u32::try_from(keys.len()).expect("a chunk has far fewer rows");
                numbers.insert(encoded.clone(), number);
                keys.push(encoded.clone());
                Some(number)
            })
            .collect();
        Ok(Keyed { keys, of_row })
    }

    /// Reads rows of a key from `from` on, at most `limit`; gives the place to go on from where there are more.
    fn read(
        &self,
        state: &State,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
    ) -> Result<Piece, StateError> {
        let mut rows = Vec::new();
        let mut rest = None;
        let mut failed = None;
        state.scan(
            from,
            &prefix_end(prefix),
            ScanOrder::Ascending,
            |state_key, value| {
                if rows.len() == limit {
                    rest = Some(state_key.to_vec());
                    return ControlFlow::Break(());
                }
                if self.append_only {
                    rows.push((value.to_vec(), 1));
                    return ControlFlow::Continue(());
                }
                match read_varint(&mut &*value) {
                    Ok(count) => rows.push((
                        state_key[prefix.len()..].to_vec(),
                        i64::try_from(count).unwrap_or(i64::MAX),
                    )),
                    Err(error) => {
                        failed = Some(error);
                        return ControlFlow::Break(());
                    }
                }
                ControlFlow::Continue(())
            },
        )?;
        failed.map_or(Ok((rows, rest)), Err)
    }

    /// Makes sure that the cache knows this key.
    fn load(&mut self, state: &State, encoded: &[u8]) -> Result<(), StateError> {
        if self.cache.contains_key(encoded) {
            return Ok(());
        }
        let prefix = self.prefix(encoded);
        let (rows, rest) = self.read(state, &prefix, &prefix, CACHED_ROWS_MAX)?;
        let bucket = rest.is_none().then_some(rows);
        self.cache_bytes += encoded.len()
            + 64
            + bucket
                .iter()
                .flatten()
                .map(|(row, _)| row.len() + 32)
                .sum::<usize>();
        self.cache.insert(encoded.to_vec(), bucket);
        Ok(())
    }

    fn trim_cache(&mut self) {
        if self.cache_bytes > self.cache_bytes_max {
            self.cache.clear();
            self.cache_bytes = 0;
        }
    }

    /// Writes one change of this side.
    fn write(
        &mut self,
        state: &mut State,
        encoded: &[u8],
        bytes: Vec<u8>,
        sign: i8,
    ) -> Result<(), OperatorError> {
        match self.cache.get_mut(encoded) {
            // Many rows, one less: how many are left has to be looked up.
            Some(None) if sign < 0 => {
                self.cache.remove(encoded);
            }
            Some(bucket) => {
                self.cache_bytes += bytes.len() + 32;
                remember(bucket, &bytes, sign, self.append_only);
            }
            None => {}
        }
        let mut state_key = self.prefix(encoded);
        if self.append_only {
            state_key.extend_from_slice(&self.next.to_be_bytes());
            self.next += 1;
            state.put(state_key, bytes);
            return Ok(());
        }
        state_key.extend_from_slice(&bytes);
        let count = match state.get(&state_key)? {
            Some(value) => i64::try_from(read_varint(&mut value.as_slice())?).unwrap_or(i64::MAX),
            None => 0,
        };
        match count + i64::from(sign) {
            0 => state.delete(state_key),
            count if count > 0 => {
                let mut value = Vec::new();
                push_varint(count.unsigned_abs(), &mut value);
                state.put(state_key, value);
            }
            _ => {
                return Err(OperatorError::Inconsistent {
                    operator: self.operator,
                    reason: "a row was taken back that was never there".to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// Keeps a cached bucket equal to the state.
fn remember(bucket: &mut Bucket, bytes: &[u8], sign: i8, append_only: bool) {
    let Some(rows) = bucket else { return };
    let known = if append_only {
        None
    } else {
        rows.iter().position(|(row, _)| row == bytes)
    };
    match known {
        Some(at) => {
            rows[at].1 += i64::from(sign);
            if rows[at].1 == 0 {
                rows.remove(at);
            }
        }
        None => rows.push((bytes.to_vec(), i64::from(sign))),
    }
    if rows.len() > CACHED_ROWS_MAX {
        *bucket = None;
    }
}

/// Output rows while they gather: pairs of a row of the chunk and a row of `matches`.
struct Gathering {
    chunk_rows: Vec<u32>,
    /// `None`: padded.
    matches: UInt32Builder,
    signs: Vec<i8>,
}

impl Gathering {
    fn new() -> Self {
        Self {
            chunk_rows: Vec::new(),
            matches: UInt32Builder::new(),
            signs: Vec::new(),
        }
    }

    fn push(&mut self, chunk_row: usize, matched: Option<usize>, sign: i8) {
        self.chunk_rows.push(chunk_row as u32);
        self.matches.append_option(matched.map(|row| row as u32));
        self.signs.push(sign);
    }
}

impl Join {
    pub(super) fn new(
        id: OperatorId,
        spec: &JoinSpec,
        schemas: [&SchemaRef; 2],
        append_only: [bool; 2],
        schema: &SchemaRef,
        memory: Memory,
    ) -> Self {
        let side = |number: usize, keys: &[usize]| Side {
            number: number as u8,
            operator: id,
            keys: keys.to_vec(),
            schema: schemas[number].clone(),
            append_only: append_only[number],
            next: 0,
            saved_next: 0,
            cache: HashMap::default(),
            cache_bytes: 0,
            cache_bytes_max: memory.cache_bytes / 2,
        };
        Self {
            id,
            kind: spec.kind,
            residual: spec.residual.clone(),
            schema: schema.clone(),
            sides: [side(0, &spec.left_keys), side(1, &spec.right_keys)],
        }
    }

    /// Emits the gathered pairs of chunk rows and matches.
    fn flush(
        &self,
        port: usize,
        chunk: &Chunk,
        matches: &RecordBatch,
        gathered: &mut Gathering,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let gathered = std::mem::replace(gathered, Gathering::new());
        if gathered.signs.is_empty() {
            return Ok(());
        }
        let columns_error = |error| OperatorError::columns(self.id, &error);
        let own = take_record_batch(&chunk.batch, &UInt32Array::from(gathered.chunk_rows))
            .map_err(columns_error)?;
        let mut picks = gathered.matches;
        let other = take_arrays(matches.columns(), &picks.finish(), None).map_err(columns_error)?;
        let columns = if port == LEFT {
            own.columns().iter().cloned().chain(other).collect()
        } else {
            other
                .into_iter()
                .chain(own.columns().iter().cloned())
                .collect()
        };
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(columns_error)?;
        let diff = gathered
            .signs
            .iter()
            .any(|&sign| sign < 0)
            .then(|| Int8Array::from(gathered.signs));
        let joined = Chunk {
            diff,
            ..Chunk::inserts(batch)
        };
        match &self.residual {
            None => out.emit(joined, context),
            Some(residual) => match passing(self.id, &**residual, joined, context)? {
                Some((chunk, _)) => out.emit(chunk, context),
                None => Ok(()),
            },
        }
    }

    /// Emits, for one key with many rows on the other side, every match with every row of `rows`, match by match.
    fn stream_matches(
        &self,
        port: usize,
        chunk: &Chunk,
        encoded: &[u8],
        rows: &[usize],
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let other = &self.sides[1 - port];
        let prefix = other.prefix(encoded);
        let mut from = Some(prefix.clone());
        let piece = (CHUNK_ROWS_MAX / rows.len().max(1)).max(1);
        while let Some(place) = from {
            let (found, rest) = other.read(context.state, &prefix, &place, piece)?;
            let mut reader = RowReader::new(&other.schema)?;
            let mut gathered = Gathering::new();
            for (bytes, count) in &found {
                for _ in 0..*count {
                    for &row in rows {
                        gathered.push(row, Some(reader.len()), chunk.sign(row));
                    }
                }
                reader.push(bytes)?;
            }
            self.flush(port, chunk, &reader.finish(), &mut gathered, context, out)?;
            from = rest;
        }
        Ok(())
    }

    /// Emits the chunk's rows with their matches on the other side.
    fn probe(
        &mut self,
        port: usize,
        chunk: &Chunk,
        keyed: &Keyed,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let other = &mut self.sides[1 - port];
        let mut reader = RowReader::new(&other.schema)?;
        // For each key its matches, as rows of `reader`; `None`: too many, to be streamed.
        let mut matches: Vec<Option<Vec<usize>>> = Vec::with_capacity(keyed.keys.len());
        for encoded in &keyed.keys {
            other.load(context.state, encoded)?;
            let Some(bucket) = &other.cache[encoded.as_slice()] else {
                matches.push(None);
                continue;
            };
            let mut rows = Vec::with_capacity(bucket.len());
            for (bytes, count) in bucket {
                rows.extend(std::iter::repeat_n(
                    reader.len(),
                    usize::try_from(*count).unwrap_or(0),
                ));
                reader.push(bytes)?;
            }
            matches.push(Some(rows));
        }
        let found = reader.finish();
        let padded = self.kind.pads(port);
        let mut gathered = Gathering::new();
        let mut streamed: Vec<Vec<usize>> = vec![Vec::new(); keyed.keys.len()];
        for (row, key) in keyed.of_row.iter().enumerate() {
            let sign = chunk.sign(row);
            match key.map(|key| (key as usize, &matches[key as usize])) {
                Some((key, None)) => streamed[key].push(row),
                Some((_, Some(rows))) if !rows.is_empty() => {
                    for &matched in rows {
                        gathered.push(row, Some(matched), sign);
                    }
                }
                Some(_) | None if padded => gathered.push(row, None, sign),
                Some(_) | None => {}
            }
            if gathered.signs.len() >= CHUNK_ROWS_MAX {
                self.flush(port, chunk, &found, &mut gathered, context, out)?;
            }
        }
        self.flush(port, chunk, &found, &mut gathered, context, out)?;
        for (encoded, rows) in keyed.keys.iter().zip(streamed) {
            if !rows.is_empty() {
                self.stream_matches(port, chunk, encoded, &rows, context, out)?;
            }
        }
        Ok(())
    }

    /// For a side that is padded: emits (`sign` +1) or takes back (−1) its padded rows of these keys.
    fn pad(
        &self,
        port: usize,
        keys: &[&[u8]],
        sign: i8,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let side = &self.sides[port];
        let nothing = RecordBatch::new_empty(self.sides[1 - port].schema.clone());
        for encoded in keys {
            let prefix = side.prefix(encoded);
            let mut from = Some(prefix.clone());
            while let Some(place) = from {
                let (found, rest) = side.read(context.state, &prefix, &place, CHUNK_ROWS_MAX)?;
                let mut reader = RowReader::new(&side.schema)?;
                let mut gathered = Gathering::new();
                for (bytes, count) in &found {
                    for _ in 0..*count {
                        gathered.push(reader.len(), None, sign);
                    }
                    reader.push(bytes)?;
                }
                let rows = Chunk::inserts(reader.finish());
                self.flush(port, &rows, &nothing, &mut gathered, context, out)?;
                from = rest;
            }
        }
        Ok(())
    }

    /// Whether each key has rows on `side`.
    fn present(
        &mut self,
        side: usize,
        keys: &[Vec<u8>],
        state: &State,
    ) -> Result<Vec<bool>, OperatorError> {
        keys.iter()
            .map(|encoded| {
                self.sides[side].load(state, encoded)?;
                let bucket = &self.sides[side].cache[encoded.as_slice()];
                Ok(bucket.as_ref().is_none_or(|rows| !rows.is_empty()))
            })
            .collect()
    }

    /// Writes the chunk into its side's state.
    fn keep(
        &mut self,
        port: usize,
        chunk: &Chunk,
        keyed: &Keyed,
        state: &mut State,
    ) -> Result<(), OperatorError> {
        let columns = row::columns_of(chunk.batch.columns())?;
        for (row, key) in keyed.of_row.iter().enumerate() {
            let Some(key) = key else { continue };
            let mut bytes = Vec::with_capacity(64);
            row::push_row(&columns, row, &mut bytes);
            self.sides[port].write(state, &keyed.keys[*key as usize], bytes, chunk.sign(row))?;
        }
        Ok(())
    }
}

impl Operator for Join {
    fn open(&mut self, state: &State) -> Result<(), OperatorError> {
        for side in &mut self.sides {
            if let Some(value) = state.get(&side.next_key())? {
                side.next = read_varint(&mut value.as_slice())?;
                side.saved_next = side.next;
            }
        }
        Ok(())
    }

    fn on_chunk(
        &mut self,
        port: usize,
        chunk: Chunk,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        self.sides.iter_mut().for_each(Side::trim_cache);
        let keyed = self.sides[port].keyed(&chunk.batch)?;
        let other = 1 - port;
        if !self.kind.pads(other) {
            self.keep(port, &chunk, &keyed, context.state)?;
            return self.probe(port, &chunk, &keyed, context, out);
        }
        let before = self.present(port, &keyed.keys, context.state)?;
        self.keep(port, &chunk, &keyed, context.state)?;
        let after = self.present(port, &keyed.keys, context.state)?;
        let turned = |from: bool| -> Vec<&[u8]> {
            let keys = keyed.keys.iter().zip(before.iter().zip(&after));
            keys.filter(|(_, (before, after))| **before == from && **after != from)
                .map(|(key, _)| key.as_slice())
                .collect()
        };
        self.pad(other, &turned(false), -1, context, out)?;
        self.probe(port, &chunk, &keyed, context, out)?;
        self.pad(other, &turned(true), 1, context, out)
    }

    fn on_commit(&mut self, state: &mut State) -> Result<(), OperatorError> {
        for side in &mut self.sides {
            if side.next != side.saved_next {
                let mut value = Vec::new();
                push_varint(side.next, &mut value);
                state.put(side.next_key(), value);
                side.saved_next = side.next;
            }
        }
        Ok(())
    }
}
