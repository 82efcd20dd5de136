//! The end of a dataflow: its topic, and of a view the rows that snapshots read.
//!
//! ```text
//! changes of one commit ──▶ by key: what is left of them ──▶ upsert record / tombstone, partition by murmur2 of the key
//!                           │                                or an envelope with the row before and the row after
//!                           └── of a view ─────────────────▶ view state: key → row / deleted
//! output that only grows ─▶ every row a record
//!                           └── of a view ─────────────────▶ view state: number → row
//! ```
//!
//! Signs end here: of all changes of a key in a commit only the last state is written, and nothing where the changes
//! cancel out.
//!
//! View state: `[VIEW][vnode][key columns]` → row, as `state/key.rs` and `state/row.rs` write them; without a key
//! `[VIEW][0][number u64 BE]` → row, in the order of output.
//!
//! Invariants:
//! 1. The view's rows are those of the topic after compaction, but for rows that the topic could not take (reported).
//! 2. A key is written at most once a commit.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use hashbrown::HashMap;
use log_api::{BatchBuilder, Compression, TopicPartition, partition_for_key};
use thiserror::Error;

use crate::decode::NULL_TEXT_KEY;
use crate::encode::{KeyEncoder, KeyEncoderError, ValueEncoder, ValueEncoderError, ValueRows};
use crate::operator::{Effects, OperatorError};
use crate::state::row::{self, push_varint, read_varint};
use crate::state::{Column, Physical, State, StateError, VIEW, key};
use crate::{Chunk, OperatorId, SinkForm, SinkSpec, ValueFormat};

/// Rows that cannot be written as a spec has it.
#[derive(Debug, Clone, Error)]
pub(crate) enum SinkError {
    #[error(transparent)]
    Key(#[from] KeyEncoderError),
    #[error(transparent)]
    Value(#[from] ValueEncoderError),
}

/// What a record costs in a batch beside its key and value, at most.
const RECORD_OVERHEAD: usize = 40;

/// See the module.
pub(crate) struct Sink {
    topic: Arc<str>,
    partitions: i32,
    key: Vec<usize>,
    values: ValueEncoder,
    /// The columns that are in the value.
    value_columns: Vec<usize>,
    keys: KeyEncoder,
    form: SinkForm,
    /// A batch is closed before it outgrows this.
    batch_bytes_max: usize,
    /// Rows that wait for the commit.
    batches: Vec<RecordBatch>,
    /// With a key: what happened to each key, in the order of first appearance.
    places: HashMap<Vec<u8>, usize, foldhash::fast::RandomState>,
    changes: Vec<KeyChanges>,
    /// Without a key: for each batch the partition it goes to.
    targets: Vec<i32>,
    pending_bytes: usize,
    /// Number of the next row of an output without key.
    next_row: u64,
    saved_next_row: u64,
    /// Records written, tombstones too.
    pub(crate) rows_out: u64,
}

/// What happened to one key.
struct KeyChanges {
    /// The key columns, encoded.
    key: Vec<u8>,
    rows: Vec<RowChange>,
}

/// How often a row came (+) or went (−), and where it was last seen.
struct RowChange {
    bytes: Vec<u8>,
    net: i64,
    batch: usize,
    row: usize,
}

/// The open batches of a commit, by partition.
struct Outgoing {
    topic: Arc<str>,
    bytes_max: usize,
    now_ms: i64,
    open: HashMap<i32, BatchBuilder>,
    closed: Vec<(TopicPartition, BatchBuilder)>,
}

impl Outgoing {
    fn append(&mut self, partition: i32, key: Option<&[u8]>, value: Option<&[u8]>) {
        let size = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + RECORD_OVERHEAD;
        let builder = self
            .open
            .entry(partition)
            .or_insert_with(|| BatchBuilder::new(Compression::None));
        if !builder.is_empty() && builder.size_bytes() + size > self.bytes_max {
            let full = std::mem::replace(builder, BatchBuilder::new(Compression::None));
            self.closed.push((
                TopicPartition::new(Arc::clone(&self.topic), partition),
                full,
            ));
        }
        builder.append(self.now_ms, key, value, &[]);
    }

    fn finish(mut self) -> Vec<(TopicPartition, BatchBuilder)> {
        let mut open: Vec<_> = self
            .open
            .into_iter()
            .filter(|(_, builder)| !builder.is_empty())
            .collect();
        open.sort_unstable_by_key(|(partition, _)| *partition);
        let topic = self.topic;
        self.closed.extend(
            open.into_iter().map(|(number, builder)| {
                (TopicPartition::new(Arc::clone(&topic), number), builder)
            }),
        );
        self.closed
    }
}

impl Sink {
    /// A sink for rows of `schema`. `partitions` is what the topic has, `message_bytes_max` its `max.message.bytes`.
    ///
    /// # Errors
    /// Keys or values that cannot be written in the spec's formats.
    pub(crate) fn new(
        spec: &SinkSpec,
        schema: &SchemaRef,
        partitions: i32,
        message_bytes_max: usize,
    ) -> Result<Self, SinkError> {
        let (values, value_columns) = value_encoder(spec, schema)?;
        Ok(Self {
            topic: Arc::from(spec.topic.as_str()),
            partitions,
            key: spec.key.clone(),
            values,
            value_columns,
            form: spec.form.clone(),
            keys: KeyEncoder::new(schema, &spec.key, spec.key_format)?,
            batch_bytes_max: message_bytes_max - message_bytes_max / 16,
            batches: Vec::new(),
            places: HashMap::default(),
            changes: Vec::new(),
            targets: Vec::new(),
            pending_bytes: 0,
            next_row: 0,
            saved_next_row: 0,
            rows_out: 0,
        })
    }

    /// Reads where the numbering of rows stands.
    pub(crate) fn open(&mut self, state: &State) -> Result<(), StateError> {
        if let Some(value) = state.get(&key::whole(VIEW, "next"))? {
            self.next_row = read_varint(&mut value.as_slice())?;
            self.saved_next_row = self.next_row;
        }
        Ok(())
    }

    /// About how many bytes wait for the commit.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Whether something waits for the commit.
    pub(crate) fn has_pending(&self) -> bool {
        !self.batches.is_empty()
    }

    /// Takes a chunk of the plan's output.
    pub(crate) fn absorb(&mut self, chunk: Chunk) -> Result<(), OperatorError> {
        let number = self.batches.len();
        self.pending_bytes += chunk.own_bytes();
        if self.appends() {
            if chunk.diff.is_some_and(|diff| diff.values().contains(&-1)) {
                return Err(inconsistent(
                    "rows are taken back from an output that only grows",
                ));
            }
            let from = chunk
                .origin
                .map_or(number as i32, |origin| origin.records.partition.partition);
            self.targets.push(from.rem_euclid(self.partitions));
        } else {
            let columns = row::columns_of(chunk.batch.columns())?;
            let key_columns: Vec<(Physical, Column<'_>)> = self
                .key
                .iter()
                .filter_map(|&column| {
                    let array = &chunk.batch.columns()[column];
                    Some((Physical::of(array.data_type())?, Column::of(array)?))
                })
                .collect();
            let mut encoded = Vec::new();
            for index in 0..chunk.len() {
                encoded.clear();
                key::push_row(&key_columns, index, &mut encoded);
                let place = match self.places.get(encoded.as_slice()) {
                    Some(&place) => place,
                    None => {
                        self.places.insert(encoded.clone(), self.changes.len());
                        self.changes.push(KeyChanges {
                            key: encoded.clone(),
                            rows: Vec::new(),
                        });
                        self.changes.len() - 1
                    }
                };
                let mut bytes = Vec::with_capacity(64);
                row::push_row(&columns, index, &mut bytes);
                self.pending_bytes += bytes.len();
                self.changes[place].take(bytes, i64::from(chunk.sign(index)), number, index);
            }
        }
        self.batches.push(chunk.batch);
        Ok(())
    }

    /// Turns what was gathered into records and view state. Rows that the topic cannot take are reported.
    pub(crate) fn finish(
        &mut self,
        state: &mut State,
        effects: &mut Effects,
        now_ms: i64,
    ) -> Vec<(TopicPartition, BatchBuilder)> {
        let mut outgoing = Outgoing {
            topic: Arc::clone(&self.topic),
            bytes_max: self.batch_bytes_max,
            now_ms,
            open: HashMap::new(),
            closed: Vec::new(),
        };
        let batches = std::mem::take(&mut self.batches);
        if self.appends() {
            self.append_rows(&batches, &mut outgoing, state, effects);
        } else {
            self.upsert_rows(&batches, &mut outgoing, state, effects);
        }
        self.pending_bytes = 0;
        outgoing.finish()
    }

    /// Whether every row becomes a record of its own.
    fn appends(&self) -> bool {
        self.key.is_empty() || self.form.appends()
    }

    /// The columns of a batch that are in the value.
    fn value_of(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        let columns = self.value_columns.iter();
        columns
            .map(|&column| Arc::clone(batch.column(column)))
            .collect()
    }

    fn append_rows(
        &mut self,
        batches: &[RecordBatch],
        outgoing: &mut Outgoing,
        state: &mut State,
        effects: &mut Effects,
    ) {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for (batch, partition) in batches.iter().zip(std::mem::take(&mut self.targets)) {
            let in_value = self.value_of(batch);
            let rows = self.values.rows(&in_value);
            let keys = (!self.key.is_empty()).then(|| self.keys.rows(batch.columns()));
            let columns = row::columns_of(batch.columns()).unwrap_or_default();
            for index in 0..batch.num_rows() {
                key.clear();
                value.clear();
                let has_value = match &self.form {
                    SinkForm::Debezium => envelope(
                        &self.topic,
                        outgoing.now_ms,
                        None,
                        Some((&rows, index)),
                        &mut value,
                    ),
                    _ => rows.write(index, &mut value),
                };
                let has_key = (keys.as_ref()).is_some_and(|keys| keys.write(index, &mut key));
                let key = has_key.then_some(key.as_slice());
                let bytes = value.len() + key.map_or(0, <[u8]>::len);
                if !has_value {
                    effects.output_failed(key.map(<[u8]>::to_vec), no_value(&self.topic));
                } else if bytes + RECORD_OVERHEAD > self.batch_bytes_max {
                    effects.output_failed(key.map(<[u8]>::to_vec), too_large(&self.topic, bytes));
                } else {
                    let partition =
                        key.map_or(partition, |key| partition_for_key(key, self.partitions));
                    outgoing.append(partition, key, Some(&value));
                    self.rows_out += 1;
                }
                if self.form.is_view() {
                    let mut state_key = VIEW.to_be_bytes().to_vec();
                    state_key.extend_from_slice(&[0, 0]);
                    state_key.extend_from_slice(&self.next_row.to_be_bytes());
                    self.next_row += 1;
                    let mut bytes = Vec::with_capacity(value.len());
                    row::push_row(&columns, index, &mut bytes);
                    state.put_last(state_key, bytes);
                }
            }
        }
        if self.next_row != self.saved_next_row {
            let mut next = Vec::new();
            push_varint(self.next_row, &mut next);
            state.put(key::whole(VIEW, "next"), next);
            self.saved_next_row = self.next_row;
        }
    }

    fn upsert_rows(
        &mut self,
        batches: &[RecordBatch],
        outgoing: &mut Outgoing,
        state: &mut State,
        effects: &mut Effects,
    ) {
        self.places.clear();
        let in_values: Vec<Vec<ArrayRef>> =
            batches.iter().map(|batch| self.value_of(batch)).collect();
        let values: Vec<ValueRows<'_>> = (in_values.iter())
            .map(|columns| self.values.rows(columns))
            .collect();
        let keys: Vec<_> = batches
            .iter()
            .map(|batch| self.keys.rows(batch.columns()))
            .collect();
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for changes in std::mem::take(&mut self.changes) {
            let Some((change, present)) = changes.outcome() else {
                continue;
            };
            let (batch, index) = (change.batch, change.row);
            key.clear();
            value.clear();
            if !keys[batch].write(index, &mut key) {
                key.extend_from_slice(NULL_TEXT_KEY);
            }
            let after = present.then_some((&values[batch], index));
            let is_envelope = self.form == SinkForm::Debezium;
            let has_value = match after {
                _ if is_envelope => {
                    let before = changes.before();
                    let before = before.map(|before| (&values[before.batch], before.row));
                    envelope(&self.topic, outgoing.now_ms, before, after, &mut value)
                }
                Some((rows, index)) => rows.write(index, &mut value),
                None => true,
            };
            let partition = partition_for_key(&key, self.partitions);
            let bytes = key.len() + value.len();
            if has_value && bytes + RECORD_OVERHEAD <= self.batch_bytes_max {
                if present || is_envelope {
                    outgoing.append(partition, Some(&key), Some(&value));
                    self.rows_out += 1;
                }
                if !present {
                    outgoing.append(partition, Some(&key), None);
                    self.rows_out += 1;
                }
            } else {
                let reason = match has_value {
                    true => too_large(&self.topic, bytes),
                    false => no_value(&self.topic),
                };
                effects.output_failed(Some(key.clone()), reason);
                // Without a tombstone readers would keep the row that this one replaces.
                if key.len() + RECORD_OVERHEAD <= self.batch_bytes_max {
                    outgoing.append(partition, Some(&key), None);
                    self.rows_out += 1;
                }
            }
            if !self.form.is_view() {
                continue;
            }
            let mut state_key = Vec::with_capacity(changes.key.len() + 4);
            key::start(VIEW, &changes.key, &mut state_key);
            state_key.extend_from_slice(&changes.key);
            if present {
                let bytes = change.bytes.clone();
                state.put_last(state_key, bytes);
            } else {
                state.delete_last(state_key);
            }
        }
    }
}

impl KeyChanges {
    fn take(&mut self, bytes: Vec<u8>, sign: i64, batch: usize, row: usize) {
        match self.rows.iter().position(|change| change.bytes == bytes) {
            Some(at) => {
                let mut change = self.rows.remove(at);
                change.net += sign;
                change.batch = batch;
                change.row = row;
                // To the end: the last row that came is the one that stays.
                if change.net != 0 {
                    self.rows.push(change);
                }
            }
            None => self.rows.push(RowChange {
                bytes,
                net: sign,
                batch,
                row,
            }),
        }
    }

    /// The row that the key had before.
    fn before(&self) -> Option<&RowChange> {
        self.rows.iter().find(|change| change.net < 0)
    }

    /// The row that the key has now, or one that it had and has no more (`false`); `None`: nothing happened.
    fn outcome(&self) -> Option<(&RowChange, bool)> {
        let present = self.rows.iter().rev().find(|change| change.net > 0);
        match present {
            Some(change) => Some((change, true)),
            None => self.rows.last().map(|change| (change, false)),
        }
    }
}

/// The encoder of values and the columns that they have.
fn value_encoder(
    spec: &SinkSpec,
    schema: &Schema,
) -> Result<(ValueEncoder, Vec<usize>), ValueEncoderError> {
    let format = spec.form.value_format();
    let is_whole = matches!(format, ValueFormat::Text | ValueFormat::Bytes);
    let visible = schema.fields().len() - spec.hidden;
    let columns: Vec<usize> = (0..visible)
        .filter(|column| !(is_whole && spec.key.contains(column)))
        .collect();
    let fields = columns.iter().map(|&column| schema.field(column).clone());
    let in_value = Schema::new(fields.collect::<Vec<_>>());
    Ok((ValueEncoder::new(&in_value, &format)?, columns))
}

/// Checks that rows of `schema` can be written as `spec` has it.
///
/// # Errors
/// What cannot be written.
pub(crate) fn check(spec: &SinkSpec, schema: &Schema) -> Result<(), SinkError> {
    value_encoder(spec, schema)?;
    KeyEncoder::new(schema, &spec.key, spec.key_format)?;
    Ok(())
}

/// A row among encoded ones.
type EncodedRow<'a> = (&'a ValueRows<'a>, usize);

/// Writes Debezium's envelope of a change; it always is a value. Follows
/// <https://debezium.io/documentation/reference/stable/connectors/postgresql.html#postgresql-events>; of `source` only what
/// there is to say: which topic, and when.
fn envelope(
    topic: &str,
    now_ms: i64,
    before: Option<EncodedRow<'_>>,
    after: Option<EncodedRow<'_>>,
    out: &mut Vec<u8>,
) -> bool {
    let op = match (&before, &after) {
        (_, None) => 'd',
        (None, Some(_)) => 'c',
        (Some(_), Some(_)) => 'u',
    };
    for (name, row) in [("{\"before\":", before), (",\"after\":", after)] {
        out.extend_from_slice(name.as_bytes());
        match row {
            Some((rows, index)) => {
                rows.write(index, out);
            }
            None => out.extend_from_slice(b"null"),
        }
    }
    // The name of a topic needs no escapes.
    let rest = format!(
        ",\"source\":{{\"connector\":\"thalweg\",\"name\":\"{topic}\",\"ts_ms\":{now_ms}}},\"op\":\"{op}\",\"ts_ms\":{now_ms}}}"
    );
    out.extend_from_slice(rest.as_bytes());
    true
}

fn no_value(topic: &str) -> String {
    format!("topic {topic}: a value that is one column cannot be NULL")
}

fn too_large(topic: &str, bytes: usize) -> String {
    format!("topic {topic}: a row of {bytes} bytes is larger than max.message.bytes allows")
}

fn inconsistent(reason: &str) -> OperatorError {
    OperatorError::Inconsistent {
        operator: OperatorId(VIEW),
        reason: reason.to_owned(),
    }
}
