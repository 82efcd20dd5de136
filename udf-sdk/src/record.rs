//! Records as a transform sees them: views into the packed batch.

use crate::bindings::transforms::thalweg::plugin::records::Batch;

/// One record of a batch. Key, value and headers are borrowed; nothing is copied until it is emitted.
pub struct Record<'a> {
    pub(crate) batch: &'a Batch,
    pub(crate) index: usize,
    /// Number of the record's first header in the batch.
    pub(crate) first_header: usize,
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
}

impl<'a> Record<'a> {
    /// The topic it was read from.
    pub fn topic(&self) -> &'a str {
        self.topic
    }

    /// The partition it was read from.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Milliseconds since 1970 UTC; `None` when the record has none.
    pub fn timestamp(&self) -> Option<i64> {
        let timestamp = self.raw_timestamp();
        (timestamp != -1).then_some(timestamp)
    }

    /// The key; `None` is not the empty key.
    pub fn key(&self) -> Option<&'a [u8]> {
        let batch = self.batch;
        slot(
            &batch.key_offsets,
            &batch.key_nulls,
            &batch.keys,
            self.index,
        )
    }

    /// The value; `None` is a tombstone.
    pub fn value(&self) -> Option<&'a [u8]> {
        let batch = self.batch;
        slot(
            &batch.value_offsets,
            &batch.value_nulls,
            &batch.values,
            self.index,
        )
    }

    /// Name and value of each header, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        let batch = self.batch;
        let count = batch
            .header_counts
            .get(self.index)
            .map_or(0, |&count| count as usize);
        (self.first_header..self.first_header + count).map(move |header| {
            let name = span(&batch.header_offsets, &batch.headers, 2 * header);
            let value = span(&batch.header_offsets, &batch.headers, 2 * header + 1);
            (
                std::str::from_utf8(name).expect("the host sends UTF-8 names"),
                value,
            )
        })
    }

    pub(crate) fn raw_timestamp(&self) -> i64 {
        self.batch.timestamps.get(self.index).copied().unwrap_or(-1)
    }
}

#[inline(always)]
fn slot<'a>(offsets: &[u32], nulls: &[u8], blob: &'a [u8], index: usize) -> Option<&'a [u8]> {
    let valid = nulls.is_empty() || nulls[index / 8] >> (index % 8) & 1 == 1;
    valid.then(|| span(offsets, blob, index))
}

#[inline(always)]
fn span<'a>(offsets: &[u32], blob: &'a [u8], index: usize) -> &'a [u8] {
    &blob[offsets[index] as usize..offsets[index + 1] as usize]
}
