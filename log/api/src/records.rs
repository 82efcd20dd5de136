//! Records in flight: Arrow columns over the fetched bytes.
//!
//! ```text
//!  fetched segment bytes (one buffer) ──────────────────────────────────────────────────────────
//!     │ batch │ key │ value │ … │ key │ value │            views point in here: no copy for
//!        ▲       ▲      ▲                                  uncompressed batches, one decompression
//!  offsets  i64      keys  BinaryView?                     otherwise
//!  timestamps i64 ms values BinaryView?
//! ```
//!
//! Invariants:
//! 1. All columns have the same length; offsets rise strictly.
//! 2. `next_offset` is past the last offset, and past control batches and gaps that were stepped over.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryViewArray, BinaryViewBuilder, Int64Array};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use log_protocol::TopicPartition;

/// A run of records of one partition.
#[derive(Debug, Clone)]
pub struct Records {
    /// Where they come from.
    pub partition: TopicPartition,
    /// Offset of each record; not null.
    pub offsets: Int64Array,
    /// Timestamp of each record, ms since 1970 UTC (−1: none); not null.
    pub timestamps: Int64Array,
    /// Keys; null = no key.
    pub keys: BinaryViewArray,
    /// Values; null = tombstone.
    pub values: BinaryViewArray,
    /// Headers, `None` when no record has any.
    pub headers: Option<Headers>,
    /// The next position of a reader that has consumed this run.
    pub next_offset: i64,
}

impl Records {
    /// Number of records.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether there is none (the run then only moves the position).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key of record `row`.
    pub fn key(&self, row: usize) -> Option<&[u8]> {
        self.keys.is_valid(row).then(|| self.keys.value(row))
    }

    /// The value of record `row`.
    pub fn value(&self, row: usize) -> Option<&[u8]> {
        self.values.is_valid(row).then(|| self.values.value(row))
    }

    /// Header names and values of record `row`, in order; names may repeat.
    pub fn headers(&self, row: usize) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        self.headers.iter().flat_map(move |headers| headers.of(row))
    }

    /// The columns `offset, timestamp, key, value` as one Arrow batch.
    pub fn to_batch(&self) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("offset", DataType::Int64, false),
            Field::new("timestamp", DataType::Int64, false),
            Field::new("key", DataType::BinaryView, true),
            Field::new("value", DataType::BinaryView, true),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.offsets.clone()),
            Arc::new(self.timestamps.clone()),
            Arc::new(self.keys.clone()),
            Arc::new(self.values.clone()),
        ];
        RecordBatch::try_new(Arc::new(schema), columns)
            .expect("columns have one length and these types by invariant 1")
    }
}

/// Headers of a run: a flat list of entries and where each record's begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// `records + 1` indexes into `entries`.
    starts: Vec<u32>,
    entries: Vec<(Bytes, Option<Bytes>)>,
}

impl Headers {
    fn of(&self, row: usize) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        let range = match (self.starts.get(row), self.starts.get(row + 1)) {
            (Some(&from), Some(&to)) => from as usize..to as usize,
            _ => 0..0,
        };
        self.entries[range].iter().map(|(name, value)| {
            (
                std::str::from_utf8(name).unwrap_or("\u{fffd}"),
                value.as_deref(),
            )
        })
    }
}

/// Gathers the headers of a run; costs nothing while no record has any.
#[derive(Debug, Default)]
pub struct HeadersBuilder {
    rows: usize,
    headers: Headers,
}

impl HeadersBuilder {
    /// Adds one header to the record that [`HeadersBuilder::end_record`] will end.
    pub fn push(&mut self, name: Bytes, value: Option<Bytes>) {
        if self.headers.starts.is_empty() {
            self.headers.starts = vec![0; self.rows + 1];
        }
        self.headers.entries.push((name, value));
    }

    /// Ends a record, with or without headers.
    pub fn end_record(&mut self) {
        self.rows += 1;
        if !self.headers.starts.is_empty() {
            let end = u32::try_from(self.headers.entries.len()).unwrap_or(u32::MAX);
            self.headers.starts.push(end);
        }
    }

    /// `None` when no record had any.
    pub fn finish(self) -> Option<Headers> {
        (!self.headers.starts.is_empty()).then_some(self.headers)
    }
}

/// Builds [`Records`] from owned values: for logs that hand out records one by one, and for tests.
#[derive(Debug)]
pub struct RecordsBuilder {
    partition: TopicPartition,
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    keys: BinaryViewBuilder,
    values: BinaryViewBuilder,
    headers: HeadersBuilder,
    next_offset: i64,
}

impl RecordsBuilder {
    /// An empty run of `partition` whose reader stands at `position`.
    pub fn new(partition: TopicPartition, position: i64) -> Self {
        Self {
            partition,
            offsets: Vec::new(),
            timestamps: Vec::new(),
            keys: BinaryViewBuilder::new(),
            values: BinaryViewBuilder::new(),
            headers: HeadersBuilder::default(),
            next_offset: position,
        }
    }

    /// Adds a record; offsets rise.
    pub fn push(
        &mut self,
        offset: i64,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) {
        self.offsets.push(offset);
        self.timestamps.push(timestamp_ms);
        self.keys.append_option(key);
        self.values.append_option(value);
        for (name, value) in headers {
            self.headers.push(
                Bytes::copy_from_slice(name.as_bytes()),
                value.map(Bytes::copy_from_slice),
            );
        }
        self.headers.end_record();
        self.next_offset = self.next_offset.max(offset + 1);
    }

    /// The run; `next_offset` is one past the last record unless the position is further.
    pub fn finish(mut self) -> Records {
        Records {
            partition: self.partition,
            offsets: self.offsets.into(),
            timestamps: self.timestamps.into(),
            keys: self.keys.finish(),
            values: self.values.finish(),
            headers: self.headers.finish(),
            next_offset: self.next_offset,
        }
    }
}
