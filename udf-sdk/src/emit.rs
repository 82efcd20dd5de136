//! What a transform puts out: a batch packed as it grows, with the parent and topic of each record.

use crate::bindings::transforms::exports::thalweg::plugin::transform::Output;
use crate::bindings::transforms::thalweg::plugin::records::{Batch, RecordError as WireError};
use crate::record::Record;
use crate::transform::RecordError;

/// The output of one call, filled record by record.
pub(crate) struct Outputs {
    data: Batch,
    parent: Vec<u32>,
    route: Vec<u8>,
    errors: Vec<WireError>,
}

/// Takes the output of one input record. What is emitted before an error is withdrawn.
pub struct Emit<'a> {
    outputs: &'a mut Outputs,
    record: &'a Record<'a>,
}

/// A record whose every part is new.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewRecord<'a> {
    /// Milliseconds since 1970 UTC.
    pub timestamp: Option<i64>,
    /// The key, if any.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Names and values, in order.
    pub headers: &'a [(&'a str, &'a [u8])],
}

impl Emit<'_> {
    /// Puts out the input record as it is, to topic 0.
    pub fn forward(&mut self) {
        self.forward_to(0);
    }

    /// Puts out the input record as it is, to topic `route`.
    pub fn forward_to(&mut self, route: u8) {
        self.emit_to(route, self.record.key(), self.record.value());
    }

    /// Puts out a record to topic 0, with the input's timestamp and headers.
    pub fn emit(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.emit_to(0, key, value);
    }

    /// Puts out a record to topic `route`, with the input's timestamp and headers.
    pub fn emit_to(&mut self, route: u8, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.outputs.push_key(key);
        self.outputs.push_value(value);
        self.finish_like_input(route);
    }

    /// Puts out a record to topic `route` whose value `write` appends to the batch, without a copy. It must only append.
    pub fn emit_with(&mut self, route: u8, key: Option<&[u8]>, write: impl FnOnce(&mut Vec<u8>)) {
        self.outputs.push_key(key);
        let before = self.outputs.data.values.len();
        write(&mut self.outputs.data.values);
        assert!(
            self.outputs.data.values.len() >= before,
            "emit_with may only append"
        );
        self.outputs.finish_value();
        self.finish_like_input(route);
    }

    /// Puts out a record of which nothing comes from the input.
    pub fn emit_new(&mut self, route: u8, record: NewRecord<'_>) {
        self.outputs.push_key(record.key);
        self.outputs.push_value(record.value);
        self.outputs.push_headers(record.headers.iter().copied());
        let timestamp = record.timestamp.unwrap_or(-1);
        self.outputs
            .finish_record(self.record.index, route, timestamp);
    }

    fn finish_like_input(&mut self, route: u8) {
        self.outputs.push_headers(self.record.headers());
        self.outputs
            .finish_record(self.record.index, route, self.record.raw_timestamp());
    }
}

impl Outputs {
    /// Room for as much as `input` holds.
    pub(crate) fn like(input: &Batch) -> Outputs {
        let count = input.count as usize;
        let mut data = empty_batch();
        data.timestamps.reserve(count);
        data.key_offsets.reserve(count + 1);
        data.keys.reserve(input.keys.len());
        data.value_offsets.reserve(count + 1);
        data.values
            .reserve(input.values.len() + input.values.len() / 4);
        data.key_offsets.push(0);
        data.value_offsets.push(0);
        data.header_offsets.push(0);
        Outputs {
            data,
            parent: Vec::with_capacity(count),
            route: Vec::with_capacity(count),
            errors: Vec::new(),
        }
    }

    /// Runs `process` on one record; an error withdraws what it emitted and is noted.
    pub(crate) fn record(
        &mut self,
        record: &Record<'_>,
        process: impl FnOnce(&mut Emit<'_>) -> Result<(), RecordError>,
    ) {
        let before = self.parent.len();
        let result = process(&mut Emit {
            outputs: self,
            record,
        });
        if let Err(error) = result {
            self.truncate(before);
            let index = u32::try_from(record.index).expect("an index below the batch's u32 count");
            let RecordError { retryable, message } = error;
            self.errors.push(WireError {
                index,
                retryable,
                message,
            });
        }
    }

    pub(crate) fn finish(mut self) -> Output {
        self.data.count = count(self.parent.len());
        if self.route.iter().all(|&route| route == 0) {
            self.route.clear();
        }
        Output {
            data: self.data,
            parent: self.parent,
            route: self.route,
            errors: self.errors,
        }
    }

    fn push_key(&mut self, key: Option<&[u8]>) {
        let data = &mut self.data;
        push_slot(
            key,
            self.parent.len(),
            &mut data.key_offsets,
            &mut data.key_nulls,
            &mut data.keys,
        );
    }

    fn push_value(&mut self, value: Option<&[u8]>) {
        let data = &mut self.data;
        let index = self.parent.len();
        push_slot(
            value,
            index,
            &mut data.value_offsets,
            &mut data.value_nulls,
            &mut data.values,
        );
    }

    fn finish_value(&mut self) {
        let data = &mut self.data;
        data.value_offsets.push(count(data.values.len()));
        push_valid(true, self.parent.len(), &mut data.value_nulls);
    }

    fn push_headers<'h>(&mut self, headers: impl Iterator<Item = (&'h str, &'h [u8])>) {
        let data = &mut self.data;
        let mut own = 0;
        for (name, value) in headers {
            for part in [name.as_bytes(), value] {
                data.headers.extend_from_slice(part);
                data.header_offsets.push(count(data.headers.len()));
            }
            own += 1;
        }
        if own > 0 && data.header_counts.is_empty() {
            data.header_counts.resize(self.parent.len(), 0);
        }
        if own > 0 || !data.header_counts.is_empty() {
            data.header_counts.push(own);
        }
    }

    fn finish_record(&mut self, parent: usize, route: u8, timestamp: i64) {
        self.data.timestamps.push(timestamp);
        self.parent.push(count(parent));
        self.route.push(route);
    }

    /// Keeps the first `records` records.
    fn truncate(&mut self, records: usize) {
        if self.parent.len() == records {
            return;
        }
        let data = &mut self.data;
        self.parent.truncate(records);
        self.route.truncate(records);
        data.timestamps.truncate(records);
        data.key_offsets.truncate(records + 1);
        data.keys.truncate(data.key_offsets[records] as usize);
        truncate_bits(&mut data.key_nulls, records);
        data.value_offsets.truncate(records + 1);
        data.values.truncate(data.value_offsets[records] as usize);
        truncate_bits(&mut data.value_nulls, records);
        data.header_counts.truncate(records);
        let headers: usize = data.header_counts.iter().map(|&count| count as usize).sum();
        data.header_offsets.truncate(2 * headers + 1);
        data.headers
            .truncate(data.header_offsets.last().map_or(0, |&end| end as usize));
    }
}

pub(crate) fn empty_batch() -> Batch {
    Batch {
        count: 0,
        base_offset: 0,
        timestamps: Vec::new(),
        key_offsets: Vec::new(),
        key_nulls: Vec::new(),
        keys: Vec::new(),
        value_offsets: Vec::new(),
        value_nulls: Vec::new(),
        values: Vec::new(),
        header_counts: Vec::new(),
        header_offsets: Vec::new(),
        headers: Vec::new(),
    }
}

pub(crate) fn push_slot(
    slot: Option<&[u8]>,
    index: usize,
    offsets: &mut Vec<u32>,
    nulls: &mut Vec<u8>,
    blob: &mut Vec<u8>,
) {
    blob.extend_from_slice(slot.unwrap_or_default());
    offsets.push(count(blob.len()));
    push_valid(slot.is_some(), index, nulls);
}

/// Appends a bit to a validity bitmap that stays empty until the first null.
fn push_valid(valid: bool, index: usize, nulls: &mut Vec<u8>) {
    if nulls.is_empty() {
        if valid {
            return;
        }
        nulls.resize(index.div_ceil(8), 0xff);
        truncate_bits(nulls, index);
    }
    if index.is_multiple_of(8) {
        nulls.push(0);
    }
    nulls[index / 8] |= u8::from(valid) << (index % 8);
}

/// Keeps the first `length` bits and clears the rest of the last byte.
fn truncate_bits(bits: &mut Vec<u8>, length: usize) {
    bits.truncate(length.div_ceil(8));
    if !length.is_multiple_of(8)
        && let Some(last) = bits.get_mut(length / 8)
    {
        *last &= (1 << (length % 8)) - 1;
    }
}

fn count(value: usize) -> u32 {
    u32::try_from(value).expect("a batch stays under 4 GiB")
}
