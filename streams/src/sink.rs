//! The end of a dataflow: the view's topic, and the view's rows that snapshots read.
//!
//! ```text
//! changes of one commit ──▶ by key: what is left of them ──▶ upsert record / tombstone, partition by murmur2 of the key
//!                                        └─────────────────▶ view state: key → row / deleted
//! output without key    ──▶ every row a record             ──▶ view state: number → row
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

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use hashbrown::HashMap;
use log_api::{BatchBuilder, Compression, TopicPartition, partition_for_key};

use crate::decode::NULL_TEXT_KEY;
use crate::encode::{JsonEncoder, KeyEncoder, KeyEncoderError};
use crate::operator::{Effects, OperatorError};
use crate::state::row::{self, push_varint, read_varint};
use crate::state::{Column, Physical, State, StateError, VIEW, key};
use crate::{Chunk, OperatorId, SinkSpec};

/// What a record costs in a batch beside its key and value, at most.
const RECORD_OVERHEAD: usize = 40;

/// See the module.
pub(crate) struct Sink {
    topic: Arc<str>,
    partitions: i32,
    key: Vec<usize>,
    values: JsonEncoder,
    /// How many columns, from the first on, are in the value.
    visible: usize,
    keys: KeyEncoder,
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
    /// A key that cannot be written in the spec's key format.
    pub(crate) fn new(
        spec: &SinkSpec,
        schema: &SchemaRef,
        partitions: i32,
        message_bytes_max: usize,
    ) -> Result<Self, KeyEncoderError> {
        Ok(Self {
            topic: Arc::from(spec.topic.as_str()),
            partitions,
            key: spec.key.clone(),
            values: JsonEncoder::new(&visible(schema, spec.hidden)),
            visible: schema.fields().len() - spec.hidden,
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
        if self.key.is_empty() {
            if chunk.diff.is_some_and(|diff| diff.values().contains(&-1)) {
                return Err(inconsistent(
                    "rows are taken back from an output without a key",
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
        if self.key.is_empty() {
            self.append_rows(&batches, &mut outgoing, state, effects);
        } else {
            self.upsert_rows(&batches, &mut outgoing, state, effects);
        }
        self.pending_bytes = 0;
        outgoing.finish()
    }

    fn append_rows(
        &mut self,
        batches: &[RecordBatch],
        outgoing: &mut Outgoing,
        state: &mut State,
        effects: &mut Effects,
    ) {
        let mut value = Vec::new();
        for (batch, partition) in batches.iter().zip(std::mem::take(&mut self.targets)) {
            let rows = self.values.rows(&batch.columns()[..self.visible]);
            let columns = row::columns_of(batch.columns()).unwrap_or_default();
            for index in 0..batch.num_rows() {
                value.clear();
                rows.write(index, &mut value);
                if value.len() + RECORD_OVERHEAD > self.batch_bytes_max {
                    effects.output_failed(None, too_large(&self.topic, value.len()));
                } else {
                    outgoing.append(partition, None, Some(&value));
                    self.rows_out += 1;
                }
                let mut state_key = VIEW.to_be_bytes().to_vec();
                state_key.extend_from_slice(&[0, 0]);
                state_key.extend_from_slice(&self.next_row.to_be_bytes());
                self.next_row += 1;
                let mut bytes = Vec::with_capacity(value.len());
                row::push_row(&columns, index, &mut bytes);
                state.put_last(state_key, bytes);
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
        let values: Vec<_> = batches
            .iter()
            .map(|batch| self.values.rows(&batch.columns()[..self.visible]))
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
            if present {
                values[batch].write(index, &mut value);
            }
            if key.len() + value.len() + RECORD_OVERHEAD > self.batch_bytes_max {
                effects.output_failed(
                    Some(key.clone()),
                    too_large(&self.topic, key.len() + value.len()),
                );
                // Without a tombstone readers would keep the row that this one replaces.
                if key.len() + RECORD_OVERHEAD <= self.batch_bytes_max {
                    let partition = partition_for_key(&key, self.partitions);
                    outgoing.append(partition, Some(&key), None);
                    self.rows_out += 1;
                }
            } else {
                let partition = partition_for_key(&key, self.partitions);
                outgoing.append(partition, Some(&key), present.then_some(value.as_slice()));
                self.rows_out += 1;
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

    /// The row that the key has now, or one that it had and has no more (`false`); `None`: nothing happened.
    fn outcome(&self) -> Option<(&RowChange, bool)> {
        let present = self.rows.iter().rev().find(|change| change.net > 0);
        match present {
            Some(change) => Some((change, true)),
            None => self.rows.last().map(|change| (change, false)),
        }
    }
}

/// The columns that are in the value.
fn visible(schema: &SchemaRef, hidden: usize) -> SchemaRef {
    let count = schema.fields().len() - hidden;
    let fields = schema.fields().iter().take(count).cloned();
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
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
