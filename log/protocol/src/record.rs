//! One record inside a batch: how it is laid out, how it is written without an allocation, and how it is read without a copy.
//!
//! ```text
//! varint   length of all that follows
//! i8       attributes, unused
//! varlong  timestamp - batch's base timestamp (ms)
//! varint   offset - batch's base offset
//! varint   key length, -1 = null       key
//! varint   value length, -1 = null     value
//! varint   number of headers, then for each:
//!            varint key length          key, text
//!            varint value length, -1 = null     value
//! ```
//!
//! Reading has two levels. [`RecordIter::next_span`] tells where in [`RecordIter::buffer`] a record's parts lie and touches no reference count: column builders
//! point into the buffer with it. As an [`Iterator`] it yields [`Record`]s, whose parts are [`Bytes`] slices of that buffer.
//!
//! Invariants:
//! 1. Every range of a yielded span lies inside the buffer, headers included.
//! 2. The iterator ends after the batch's count of records, and fails if bytes are left over; after an error it is at its end.

use std::borrow::Cow;
use std::ops::Range;

use bytes::{BufMut, Bytes};

use crate::batch::BatchError;
use crate::primitive::{
    put_unsigned_varint, take_varint, take_varlong, varint_size, varlong_size, zigzag32, zigzag64,
};

/// A record; its parts are slices of the batch's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition.
    pub offset: i64,
    /// Ms since 1970 UTC: the producer's time, or the broker's for a batch with log append time.
    pub timestamp: i64,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; none is a tombstone.
    pub value: Option<Bytes>,
    /// The headers, in order, duplicates kept.
    pub headers: Headers,
}

/// Where in [`RecordIter::buffer`] a record lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSpan {
    /// Its place in the partition.
    pub offset: i64,
    /// Ms since 1970 UTC: the producer's time, or the broker's for a batch with log append time.
    pub timestamp: i64,
    /// Where the key lies.
    pub key: Option<Range<usize>>,
    /// Where the value lies.
    pub value: Option<Range<usize>>,
    /// Where the headers lie, still encoded.
    pub headers: Range<usize>,
    /// How many headers there are.
    pub header_count: usize,
}

impl RecordSpan {
    /// The headers, read from the buffer that the span points into.
    pub fn headers<'a>(&self, buffer: &'a [u8]) -> HeaderIter<'a> {
        HeaderIter {
            bytes: &buffer[self.headers.clone()],
            left: self.header_count,
        }
    }
}

/// A record's headers, kept encoded until they are read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers {
    bytes: Bytes,
    count: usize,
}

impl Headers {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Reads them in order.
    pub fn iter(&self) -> HeaderIter<'_> {
        HeaderIter {
            bytes: &self.bytes,
            left: self.count,
        }
    }

    /// The value of the last header with this key, which is the one that counts in Kafka.
    pub fn last(&self, key: &str) -> Option<Option<&[u8]>> {
        self.iter()
            .filter(|header| header.key == key.as_bytes())
            .last()
            .map(|header| header.value)
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = Header<'a>;
    type IntoIter = HeaderIter<'a>;

    fn into_iter(self) -> HeaderIter<'a> {
        self.iter()
    }
}

/// One header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// The key as it came; text by agreement, which nothing enforces.
    pub key: &'a [u8],
    /// The value.
    pub value: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    /// The key as text; bytes that are no text are replaced, as Java's clients do.
    pub fn name(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.key)
    }
}

/// Reads headers in order; they were checked when their record was read.
#[derive(Debug, Clone)]
pub struct HeaderIter<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.left = self.left.checked_sub(1)?;
        let mut position = 0;
        let key = field(self.bytes, &mut position).ok()??;
        let value = field(self.bytes, &mut position).ok()?;
        let header = Header {
            key: &self.bytes[key],
            value: value.map(|range| &self.bytes[range]),
        };
        self.bytes = &self.bytes[position..];
        Some(header)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// What a batch's header says about each of its records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordBase {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    /// Set for log append time: all records bear it.
    pub(crate) append_time: Option<i64>,
}

/// Reads the records of one batch in order.
#[derive(Debug, Clone)]
pub struct RecordIter {
    buffer: Bytes,
    position: usize,
    base: RecordBase,
    index: usize,
    count: usize,
}

impl RecordIter {
    pub(crate) fn new(buffer: Bytes, position: usize, base: RecordBase, count: usize) -> Self {
        Self {
            buffer,
            position,
            base,
            index: 0,
            count,
        }
    }

    /// What the spans point into: the batch itself, or its decompressed content.
    pub fn buffer(&self) -> &Bytes {
        &self.buffer
    }

    /// Records still to come, if the batch is sound.
    pub fn remaining(&self) -> usize {
        self.count - self.index
    }

    /// Where the next record lies.
    ///
    /// # Errors
    /// [`BatchError::Record`] names the first record that is malformed; the next call returns none.
    pub fn next_span(&mut self) -> Option<Result<RecordSpan, BatchError>> {
        if self.index == self.count {
            let left = self.buffer.len() - self.position;
            self.position = self.buffer.len();
            return (left > 0).then_some(Err(BatchError::TrailingBytes { left }));
        }
        let mut position = self.position;
        match span(&self.buffer, &mut position, &self.base) {
            Ok(span) => {
                self.position = position;
                self.index += 1;
                Some(Ok(span))
            }
            Err(reason) => {
                let index = self.index;
                self.index = self.count;
                self.position = self.buffer.len();
                Some(Err(BatchError::Record { index, reason }))
            }
        }
    }
}

impl Iterator for RecordIter {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let span = match self.next_span()? {
            Ok(span) => span,
            Err(error) => return Some(Err(error)),
        };
        let headers = match span.header_count {
            0 => Headers::default(),
            count => Headers {
                bytes: self.buffer.slice(span.headers),
                count,
            },
        };
        Some(Ok(Record {
            offset: span.offset,
            timestamp: span.timestamp,
            key: span.key.map(|range| self.buffer.slice(range)),
            value: span.value.map(|range| self.buffer.slice(range)),
            headers,
        }))
    }
}

#[inline]
fn span(
    buffer: &[u8],
    position: &mut usize,
    base: &RecordBase,
) -> Result<RecordSpan, &'static str> {
    let length = take_varint(buffer, position).ok_or("length is cut off")?;
    let length = usize::try_from(length).map_err(|_| "length is negative")?;
    let end = position
        .checked_add(length)
        .filter(|end| *end <= buffer.len())
        .ok_or("record is cut off")?;
    let bytes = &buffer[..end];
    // The attributes are unused; readers pass over them.
    *position += 1;
    let timestamp_delta = take_varlong(bytes, position).ok_or("timestamp is malformed")?;
    let offset_delta = take_varint(bytes, position).ok_or("offset is malformed")?;
    let key = field(bytes, position)?;
    let value = field(bytes, position)?;
    let header_count = take_varint(bytes, position).ok_or("header count is malformed")?;
    let header_count = usize::try_from(header_count).map_err(|_| "header count is negative")?;
    let headers_start = *position;
    for _ in 0..header_count {
        field(bytes, position)?.ok_or("header key is null")?;
        field(bytes, position)?;
    }
    if *position != end {
        return Err("record is longer than its parts");
    }
    Ok(RecordSpan {
        offset: base.offset.wrapping_add(i64::from(offset_delta)),
        timestamp: base
            .append_time
            .unwrap_or(base.timestamp.wrapping_add(timestamp_delta)),
        key,
        value,
        headers: headers_start..end,
        header_count,
    })
}

/// A varint length and so many bytes; -1 is null.
#[inline]
fn field(bytes: &[u8], position: &mut usize) -> Result<Option<Range<usize>>, &'static str> {
    let length = take_varint(bytes, position).ok_or("length of a part is malformed")?;
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| "length of a part is negative")?;
    let start = *position;
    let end = start
        .checked_add(length)
        .filter(|end| *end <= bytes.len())
        .ok_or("part is cut off")?;
    *position = end;
    Ok(Some(start..end))
}

/// The parts of a record that is about to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordParts<'a> {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [(&'a str, Option<&'a [u8]>)],
}

impl RecordParts<'_> {
    /// Appends the record to `out`: the length first, so it is counted before anything is written.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let size = self.size();
        let length = wire_length(size);
        out.reserve(varint_size(length) + size);
        put_unsigned_varint(out, u64::from(zigzag32(length)));
        out.push(0);
        put_unsigned_varint(out, zigzag64(self.timestamp_delta));
        put_unsigned_varint(out, u64::from(zigzag32(self.offset_delta)));
        put_field(out, self.key);
        put_field(out, self.value);
        put_unsigned_varint(out, u64::from(zigzag32(wire_length(self.headers.len()))));
        for (key, value) in self.headers {
            put_field(out, Some(key.as_bytes()));
            put_field(out, *value);
        }
    }

    fn size(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|(key, value)| field_size(Some(key.as_bytes())) + field_size(*value))
            .sum();
        1 + varlong_size(self.timestamp_delta)
            + varint_size(self.offset_delta)
            + field_size(self.key)
            + field_size(self.value)
            + varint_size(wire_length(self.headers.len()))
            + headers
    }
}

fn field_size(field: Option<&[u8]>) -> usize {
    field.map_or(1, |bytes| {
        varint_size(wire_length(bytes.len())) + bytes.len()
    })
}

fn put_field(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        None => out.push(1),
        Some(bytes) => {
            put_unsigned_varint(out, u64::from(zigzag32(wire_length(bytes.len()))));
            out.put_slice(bytes);
        }
    }
}

fn wire_length(length: usize) -> i32 {
    i32::try_from(length).expect("a record stays below 2 GiB")
}
