//! Fetched bytes as Arrow columns, without a copy of keys and values.
//!
//! ```text
//! view, 16 bytes:  u32 length │ ≤ 12: the bytes themselves
//!                             │ > 12: 4 bytes of prefix, u32 buffer, u32 position
//! buffer 0         the fetched bytes, for all batches that are not compressed
//! buffer 1, 2, …   the content of one compressed batch each
//! ```
//!
//! Invariants:
//! 1. A view's range lies in its buffer: spans were checked when they were read.
//! 2. Control batches, aborted records and records below the position leave no row, but the next offset is past them.
//! 3. A run ends with the batch by which its content reaches the limit: whoever compresses well fills nobody's memory.

use arrow::array::BinaryViewArray;
use arrow::array::builder::make_view;
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use bytes::Bytes;
use log_api::{HeadersBuilder, ReadError, Records};
use log_protocol::{Batch, Compression, RecordSpan, TopicPartition, batches};

use crate::partition::AbortedTransaction;

/// Largest content of one compressed batch that a reader takes; a larger one is reported as corrupt.
const DECOMPRESSED_MAX: usize = 256 << 20;

/// The records of `bytes` from `position` on, without those of `aborted` transactions; those of one batch at least, and of no further one once
/// their content takes `content_bytes_max`. Returns how much it takes, too.
pub(super) fn decode(
    partition: &TopicPartition,
    bytes: &Bytes,
    position: i64,
    aborted: &[AbortedTransaction],
    content_bytes_max: usize,
) -> Result<(Records, usize), ReadError> {
    let mut columns = Columns::new(bytes);
    let mut next_offset = position;
    let mut start = 0;
    for batch in batches(bytes) {
        if columns.content_bytes >= content_bytes_max {
            break;
        }
        let corrupt = |error: &dyn std::fmt::Display| ReadError::Corrupt {
            partition: partition.clone(),
            offset: next_offset,
            reason: error.to_string(),
        };
        let batch = batch.map_err(|error| corrupt(&error))?;
        let is_wanted = batch.header.last_offset() >= position;
        if is_wanted && !batch.header.is_control() && !is_aborted(&batch, aborted) {
            columns
                .take(&batch, start, position)
                .map_err(|error| corrupt(&error))?;
        }
        start += batch.bytes().len();
        next_offset = next_offset.max(batch.header.next_offset());
    }
    let content_bytes = columns.content_bytes;
    columns
        .finish(partition, next_offset)
        .map(|records| (records, content_bytes))
        .map_err(|error| ReadError::Corrupt {
            partition: partition.clone(),
            offset: position,
            reason: error.to_string(),
        })
}

fn is_aborted(batch: &Batch, aborted: &[AbortedTransaction]) -> bool {
    batch.header.is_transactional()
        && aborted.iter().any(|one| {
            one.producer_id == batch.header.producer_id
                && (one.first_offset..=one.last_offset).contains(&batch.header.base_offset)
        })
}

struct Columns {
    buffers: Vec<Buffer>,
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    keys: Views,
    values: Views,
    headers: HeadersBuilder,
    /// Of the batches taken, decompressed.
    content_bytes: usize,
}

impl Columns {
    fn new(bytes: &Bytes) -> Self {
        Self {
            buffers: vec![Buffer::from(bytes.clone())],
            offsets: Vec::new(),
            timestamps: Vec::new(),
            keys: Views::default(),
            values: Views::default(),
            headers: HeadersBuilder::default(),
            content_bytes: 0,
        }
    }

    /// Adds a batch whose first byte lies at `start` of the fetched bytes.
    fn take(
        &mut self,
        batch: &Batch,
        start: usize,
        position: i64,
    ) -> Result<(), log_protocol::BatchError> {
        let mut records = batch.records(DECOMPRESSED_MAX)?;
        let content = records.buffer().clone();
        self.content_bytes += content.len();
        let (buffer, shift) = match batch.header.compression()? {
            Compression::None => (0, start),
            _ => {
                self.buffers.push(Buffer::from(content.clone()));
                (self.buffers.len() - 1, 0)
            }
        };
        let place = Place {
            content: &content,
            buffer: buffer as u32,
            shift: shift as u32,
        };
        self.reserve(records.remaining());
        while let Some(span) = records.next_span() {
            let span = span?;
            if span.offset < position {
                continue;
            }
            self.offsets.push(span.offset);
            self.timestamps.push(span.timestamp);
            self.keys.push(&place, span.key.clone());
            self.values.push(&place, span.value.clone());
            self.take_headers(&content, &span);
        }
        Ok(())
    }

    fn take_headers(&mut self, content: &Bytes, span: &RecordSpan) {
        if span.header_count > 0 {
            for header in span.headers(content) {
                let name = content.slice_ref(header.key);
                let value = header.value.map(|value| content.slice_ref(value));
                self.headers.push(name, value);
            }
        }
        self.headers.end_record();
    }

    fn reserve(&mut self, records: usize) {
        self.offsets.reserve(records);
        self.timestamps.reserve(records);
        self.keys.views.reserve(records);
        self.values.views.reserve(records);
    }

    fn finish(
        self,
        partition: &TopicPartition,
        next_offset: i64,
    ) -> Result<Records, arrow::error::ArrowError> {
        let keys = self.keys.finish(self.buffers.clone())?;
        let values = self.values.finish(self.buffers)?;
        Ok(Records {
            partition: partition.clone(),
            offsets: self.offsets.into(),
            timestamps: self.timestamps.into(),
            keys,
            values,
            headers: self.headers.finish(),
            next_offset,
        })
    }
}

/// Which buffer a batch's content is, and where in it.
struct Place<'a> {
    content: &'a [u8],
    buffer: u32,
    shift: u32,
}

/// One column of keys or values.
#[derive(Default)]
struct Views {
    views: Vec<u128>,
    /// Validity of each row; empty while all are valid.
    valid: Vec<bool>,
}

impl Views {
    fn push(&mut self, place: &Place<'_>, range: Option<std::ops::Range<usize>>) {
        match range {
            Some(range) => {
                let at = place.shift + range.start as u32;
                self.views
                    .push(make_view(&place.content[range], place.buffer, at));
                if !self.valid.is_empty() {
                    self.valid.push(true);
                }
            }
            None => {
                if self.valid.is_empty() {
                    self.valid = vec![true; self.views.len()];
                }
                self.views.push(0);
                self.valid.push(false);
            }
        }
    }

    fn finish(self, buffers: Vec<Buffer>) -> Result<BinaryViewArray, arrow::error::ArrowError> {
        let nulls = (!self.valid.is_empty()).then(|| NullBuffer::from(self.valid));
        BinaryViewArray::try_new(ScalarBuffer::from(self.views), buffers, nulls)
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use log_protocol::{BatchBuilder, ProducerStamp, patch};

    use super::*;

    type Row<'a> = (
        Option<&'a [u8]>,
        Option<&'a [u8]>,
        &'a [(&'a str, Option<&'a [u8]>)],
    );

    fn log(batches: &[(Compression, ProducerStamp, &[Row<'_>])]) -> Bytes {
        let mut out = BytesMut::new();
        let mut offset = 0;
        for (compression, stamp, rows) in batches {
            let mut builder = BatchBuilder::new(*compression);
            for (key, value, headers) in *rows {
                builder.append(1000 + offset, *key, *value, headers);
            }
            let mut bytes = builder.build(*stamp).to_vec();
            patch(&mut bytes, offset, 0);
            offset += rows.len() as i64;
            out.extend_from_slice(&bytes);
        }
        out.freeze()
    }

    type Found = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

    fn values(records: &Records) -> Vec<Found> {
        (0..records.len())
            .map(|row| {
                let owned = |part: Option<&[u8]>| part.map(<[u8]>::to_vec);
                (
                    records.offsets.value(row),
                    owned(records.key(row)),
                    owned(records.value(row)),
                )
            })
            .collect()
    }

    const LONG: &[u8] = b"a value that is too long for a view";

    #[test]
    fn every_codec_gives_the_same_rows() {
        let partition = TopicPartition::new("t", 0);
        let rows: &[Row<'_>] = &[
            (Some(b"k"), Some(LONG), &[("h", Some(b"1")), ("h", None)]),
            (None, Some(b"short"), &[]),
            (Some(b"a key of many many bytes"), None, &[]),
        ];
        let mut seen = Vec::new();
        for codec in Compression::ALL {
            let bytes = log(&[
                (codec, ProducerStamp::NONE, rows),
                (codec, ProducerStamp::NONE, rows),
            ]);
            let (records, _) = decode(&partition, &bytes, 1, &[], usize::MAX).unwrap();
            assert_eq!(records.next_offset, 6);
            assert_eq!(
                records.headers(2).collect::<Vec<_>>(),
                [("h", Some(&b"1"[..])), ("h", None)]
            );
            seen.push(values(&records));
        }
        assert_eq!(seen[0].len(), 5);
        assert_eq!(seen[0][0], (1, None, Some(b"short".to_vec())));
        assert_eq!(seen[0][2], (3, Some(b"k".to_vec()), Some(LONG.to_vec())));
        assert!(seen.iter().all(|rows| *rows == seen[0]));
    }

    #[test]
    fn long_values_point_into_the_fetched_bytes() {
        let bytes = log(&[(
            Compression::None,
            ProducerStamp::NONE,
            &[(None, Some(LONG), &[])],
        )]);
        let partition = TopicPartition::new("t", 0);
        let (records, _) = decode(&partition, &bytes, 0, &[], usize::MAX).unwrap();
        let value = records.value(0).unwrap();
        assert!(bytes.as_ptr_range().contains(&value.as_ptr()));
    }

    #[test]
    fn a_run_ends_where_its_content_reaches_the_limit() {
        let zeros = vec![0; 1 << 20];
        let rows: &[Row<'_>] = &[(None, Some(&zeros), &[])];
        let bytes = log(&[(Compression::Zstd, ProducerStamp::NONE, rows); 5]);
        assert!(bytes.len() < 4096);
        let partition = TopicPartition::new("t", 0);
        let mut position = 0;
        for expected in [2, 4, 5] {
            let (records, content) =
                decode(&partition, &bytes, position, &[], (1 << 20) + 100).unwrap();
            position = records.next_offset;
            assert_eq!(position, expected);
            assert!(content < 3 << 20);
        }
    }

    #[test]
    fn aborted_records_are_stepped_over() {
        let stamp = ProducerStamp {
            producer_id: 7,
            producer_epoch: 0,
            base_sequence: 0,
            transactional: true,
        };
        let rows: &[Row<'_>] = &[(None, Some(b"x"), &[])];
        let bytes = log(&[
            (Compression::None, stamp, rows),
            (Compression::None, ProducerStamp::NONE, rows),
            (Compression::None, stamp, rows),
        ]);
        let aborted = [AbortedTransaction {
            producer_id: 7,
            first_offset: 0,
            last_offset: 1,
        }];
        let partition = TopicPartition::new("t", 0);
        let (records, _) = decode(&partition, &bytes, 0, &aborted, usize::MAX).unwrap();
        assert_eq!(records.offsets.values(), &[1, 2]);
        assert_eq!(records.next_offset, 3);
    }
}
