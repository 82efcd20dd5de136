//! Log records in packed columns: the form in which transforms get and give them.
//!
//! ```text
//! timestamps      t0 t1 t2                    ms since 1970 UTC, -1 = none
//! keys            offsets 0 2 2 5             bytes  k k a b c      validity 1 0 1 (empty = all valid)
//! values          likewise; a null value is a tombstone
//! header counts   0 2 0                       (empty = no record has headers)
//! header offsets  0 4 6 10 11                 bytes  name value name value …
//! ```
//!
//! Invariants (checked on everything a guest returns):
//! 1. Offsets start with 0, never decrease, end with the length of their bytes.
//! 2. A null has no bytes.
//! 3. Header names are UTF-8.

use std::ops::Range;

use crate::wire::{Records, RecordsRef};

/// A batch of records, packed. Grows by [`RecordColumns::push`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordColumns {
    timestamps: Vec<i64>,
    keys: Slots,
    values: Slots,
    /// Headers of each record; empty when there are none at all.
    header_counts: Vec<u32>,
    /// Number of the first header of each record; as long as `header_counts`.
    header_firsts: Vec<u32>,
    header_offsets: Vec<u32>,
    headers: Vec<u8>,
}

/// Byte strings that may be null, packed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slots {
    offsets: Vec<u32>,
    /// Validity bits; empty when nothing is null.
    validity: Vec<u8>,
    bytes: Vec<u8>,
}

/// Name and value of each header of a record, in order.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    columns: &'a RecordColumns,
    numbers: Range<usize>,
}

impl Default for RecordColumns {
    fn default() -> RecordColumns {
        RecordColumns::with_capacity(0, 0)
    }
}

impl RecordColumns {
    /// No records, and no room yet.
    pub fn new() -> RecordColumns {
        RecordColumns::default()
    }

    /// No records, with room for `records` of them whose values have `value_bytes` bytes together.
    pub fn with_capacity(records: usize, value_bytes: usize) -> RecordColumns {
        RecordColumns {
            timestamps: Vec::with_capacity(records),
            keys: Slots::with_capacity(records, 0),
            values: Slots::with_capacity(records, value_bytes),
            header_counts: Vec::new(),
            header_firsts: Vec::new(),
            header_offsets: vec![0],
            headers: Vec::new(),
        }
    }

    /// Appends a record. `timestamp` is in ms since 1970 UTC, -1 for none; a value of `None` is a tombstone.
    ///
    /// # Panics
    /// When keys, values or headers together pass 4 GiB: a batch is bounded long before.
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, &[u8])],
    ) {
        self.push_record(timestamp, key, value, headers.iter().copied());
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// Bytes of all keys, values and headers.
    pub fn bytes(&self) -> usize {
        self.keys.bytes.len() + self.values.bytes.len() + self.headers.len()
    }

    /// The timestamp of record `index`, ms since 1970 UTC, -1 for none.
    ///
    /// # Panics
    /// This and the other accessors: when there is no such record.
    pub fn timestamp(&self, index: usize) -> i64 {
        self.timestamps[index]
    }

    /// The key of record `index`.
    pub fn key(&self, index: usize) -> Option<&[u8]> {
        self.keys.get(index)
    }

    /// The value of record `index`; `None` is a tombstone.
    pub fn value(&self, index: usize) -> Option<&[u8]> {
        self.values.get(index)
    }

    /// The headers of record `index`.
    pub fn headers(&self, index: usize) -> Headers<'_> {
        assert!(index < self.len(), "record {index} of {}", self.len());
        let numbers = match self.header_counts.get(index) {
            Some(&count) => {
                let first = self.header_firsts[index] as usize;
                first..first + count as usize
            }
            None => 0..0,
        };
        Headers {
            columns: self,
            numbers,
        }
    }

    /// Appends records `range` of `other`.
    pub(crate) fn extend(&mut self, other: &RecordColumns, range: Range<usize>) {
        for index in range {
            let (key, value) = (other.key(index), other.value(index));
            self.push_record(other.timestamp(index), key, value, other.headers(index));
        }
    }

    /// As a guest gets it.
    pub(crate) fn to_wire(&self) -> RecordsRef<'_> {
        RecordsRef {
            count: count(self.len()),
            base_offset: 0,
            timestamps: &self.timestamps,
            key_offsets: &self.keys.offsets,
            key_nulls: &self.keys.validity,
            keys: &self.keys.bytes,
            value_offsets: &self.values.offsets,
            value_nulls: &self.values.validity,
            values: &self.values.bytes,
            header_counts: &self.header_counts,
            header_offsets: &self.header_offsets,
            headers: &self.headers,
        }
    }

    /// What a guest returned, checked. Without timestamps from the guest, `parent_timestamp` gives that of output record i.
    ///
    /// # Errors
    /// The rule that the guest broke.
    pub(crate) fn from_wire(
        records: Records,
        parent_timestamp: impl Fn(usize) -> i64,
    ) -> Result<RecordColumns, String> {
        let len = records.count as usize;
        // Every record has an offset, so what follows is bounded by what came.
        let keys = Slots::checked(len, records.key_offsets, records.key_nulls, records.keys)
            .map_err(|reason| format!("keys have {reason}"))?;
        let values = Slots::checked(
            len,
            records.value_offsets,
            records.value_nulls,
            records.values,
        )
        .map_err(|reason| format!("values have {reason}"))?;
        let timestamps = if records.timestamps.is_empty() {
            (0..len).map(parent_timestamp).collect()
        } else if records.timestamps.len() == len {
            records.timestamps
        } else {
            return Err(format!(
                "{} timestamps for {len} records",
                records.timestamps.len()
            ));
        };
        let header_firsts = check_headers(
            len,
            &records.header_counts,
            &records.header_offsets,
            &records.headers,
        )
        .map_err(|reason| format!("headers have {reason}"))?;
        let mut header_offsets = records.header_offsets;
        if header_offsets.is_empty() {
            header_offsets.push(0);
        }
        Ok(RecordColumns {
            timestamps,
            keys,
            values,
            header_counts: records.header_counts,
            header_firsts,
            header_offsets,
            headers: records.headers,
        })
    }

    fn push_record<'h>(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (&'h str, &'h [u8])>,
    ) {
        let index = self.len();
        self.keys.push(index, key);
        self.values.push(index, value);
        let first = count(self.header_offsets.len() / 2);
        let mut own = 0;
        for (name, value) in headers {
            for part in [name.as_bytes(), value] {
                self.headers.extend_from_slice(part);
                self.header_offsets.push(count(self.headers.len()));
            }
            own += 1;
        }
        if own > 0 && self.header_counts.is_empty() {
            self.header_counts.resize(index, 0);
            self.header_firsts.resize(index, 0);
        }
        if own > 0 || !self.header_counts.is_empty() {
            self.header_counts.push(own);
            self.header_firsts.push(first);
        }
        self.timestamps.push(timestamp);
    }
}

impl Slots {
    fn with_capacity(slots: usize, bytes: usize) -> Slots {
        let mut offsets = Vec::with_capacity(slots + 1);
        offsets.push(0);
        Slots {
            offsets,
            validity: Vec::new(),
            bytes: Vec::with_capacity(bytes),
        }
    }

    fn get(&self, index: usize) -> Option<&[u8]> {
        let (start, end) = (self.offsets[index], self.offsets[index + 1]);
        self.is_valid(index)
            .then(|| &self.bytes[start as usize..end as usize])
    }

    fn is_valid(&self, index: usize) -> bool {
        self.validity.is_empty() || self.validity[index / 8] >> (index % 8) & 1 == 1
    }

    fn push(&mut self, index: usize, slot: Option<&[u8]>) {
        self.bytes.extend_from_slice(slot.unwrap_or_default());
        self.offsets.push(count(self.bytes.len()));
        if slot.is_none() && self.validity.is_empty() {
            // The first null: all before it are valid.
            self.validity.resize(index.div_ceil(8), 0xff);
            if let Some(last) = self
                .validity
                .last_mut()
                .filter(|_| !index.is_multiple_of(8))
            {
                *last = (1 << (index % 8)) - 1;
            }
            if index.is_multiple_of(8) {
                self.validity.push(0);
            }
        } else if !self.validity.is_empty() {
            if index.is_multiple_of(8) {
                self.validity.push(0);
            }
            self.validity[index / 8] |= u8::from(slot.is_some()) << (index % 8);
        }
    }

    fn checked(
        len: usize,
        offsets: Vec<u32>,
        validity: Vec<u8>,
        bytes: Vec<u8>,
    ) -> Result<Slots, String> {
        check_offsets(&offsets, len, bytes.len())?;
        if !validity.is_empty() && validity.len() != len.div_ceil(8) {
            return Err(format!(
                "a validity bitmap of {} bytes for {len} records",
                validity.len()
            ));
        }
        let slots = Slots {
            offsets,
            validity,
            bytes,
        };
        for index in 0..len {
            if !slots.is_valid(index) && slots.offsets[index] != slots.offsets[index + 1] {
                return Err(format!("bytes in null {index}"));
            }
        }
        Ok(slots)
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let number = self.numbers.next()?;
        let part = |index: usize| {
            let offsets = &self.columns.header_offsets;
            &self.columns.headers[offsets[index] as usize..offsets[index + 1] as usize]
        };
        let name =
            std::str::from_utf8(part(2 * number)).expect("names are pushed or checked as UTF-8");
        Some((name, part(2 * number + 1)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.numbers.size_hint()
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// Offsets over `len` items in `bytes` bytes: `len + 1` of them, from 0 to `bytes`, never decreasing.
fn check_offsets(offsets: &[u32], len: usize, bytes: usize) -> Result<(), String> {
    if offsets.len() != len.saturating_add(1) {
        return Err(format!("{} offsets for {len} items", offsets.len()));
    }
    if offsets[0] != 0 {
        return Err(format!("offsets that start with {}", offsets[0]));
    }
    if let Some(at) = offsets.windows(2).position(|pair| pair[0] > pair[1]) {
        return Err(format!("offsets that decrease after item {at}"));
    }
    if offsets[len] as usize != bytes {
        return Err(format!(
            "offsets that end with {} over {bytes} bytes",
            offsets[len]
        ));
    }
    Ok(())
}

/// Checks the headers of `len` records; the number of the first header of each.
fn check_headers(
    len: usize,
    counts: &[u32],
    offsets: &[u32],
    bytes: &[u8],
) -> Result<Vec<u32>, String> {
    if counts.is_empty() {
        if offsets.len() > 1 || !bytes.is_empty() {
            return Err("offsets or bytes without counts".to_owned());
        }
        return Ok(Vec::new());
    }
    if counts.len() != len {
        return Err(format!("{} counts for {len} records", counts.len()));
    }
    let total: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    if 2 * total + 1 != offsets.len() as u64 && (total > 0 || !offsets.is_empty()) {
        return Err(format!("{} offsets for {total} headers", offsets.len()));
    }
    if total > 0 {
        check_offsets(offsets, offsets.len() - 1, bytes.len())?;
    } else if !bytes.is_empty() {
        return Err("bytes without headers".to_owned());
    }
    for header in 0..offsets.len() / 2 {
        let name = &bytes[offsets[2 * header] as usize..offsets[2 * header + 1] as usize];
        if std::str::from_utf8(name).is_err() {
            return Err(format!("a name that is not UTF-8 in header {header}"));
        }
    }
    let mut first = 0;
    let firsts = counts.iter().map(|&count| {
        let own = first;
        first += count;
        own
    });
    Ok(firsts.collect())
}

fn count(value: usize) -> u32 {
    u32::try_from(value).expect("a batch stays under 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> RecordColumns {
        let mut columns = RecordColumns::new();
        for i in 0..20u8 {
            let bytes = [i; 3];
            let key = (i % 3 != 0).then_some(&bytes[..usize::from(i % 4)]);
            let value = (!(9..=11).contains(&i)).then_some(&bytes[..]);
            let headers: &[(&str, &[u8])] = match i {
                5 => &[("trace", b"x"), ("trace", b"")],
                19 => &[("é", b"\xff")],
                _ => &[],
            };
            columns.push(i64::from(i) - 1, key, value, headers);
        }
        columns
    }

    fn wire(columns: &RecordColumns) -> Records {
        let wire = columns.to_wire();
        Records {
            count: wire.count,
            base_offset: 0,
            timestamps: wire.timestamps.to_vec(),
            key_offsets: wire.key_offsets.to_vec(),
            key_nulls: wire.key_nulls.to_vec(),
            keys: wire.keys.to_vec(),
            value_offsets: wire.value_offsets.to_vec(),
            value_nulls: wire.value_nulls.to_vec(),
            values: wire.values.to_vec(),
            header_counts: wire.header_counts.to_vec(),
            header_offsets: wire.header_offsets.to_vec(),
            headers: wire.headers.to_vec(),
        }
    }

    #[test]
    fn what_is_pushed_is_read() {
        let columns = sample();
        assert_eq!(columns.len(), 20);
        assert_eq!(columns.key(0), None);
        assert_eq!(columns.key(4), Some(&b""[..]));
        assert_eq!(columns.key(5), Some(&[5][..]));
        assert_eq!(columns.value(8), Some(&[8; 3][..]));
        assert_eq!((columns.value(9), columns.value(11)), (None, None));
        assert_eq!(columns.value(12), Some(&[12; 3][..]));
        assert_eq!(columns.headers(4).count(), 0);
        let headers: Vec<_> = columns.headers(5).collect();
        assert_eq!(headers, [("trace", &b"x"[..]), ("trace", &b""[..])]);
        assert_eq!(columns.headers(19).next(), Some(("é", &b"\xff"[..])));
    }

    #[test]
    fn checked_records_are_the_same_and_parts_fit_together() {
        let columns = sample();
        assert_eq!(
            RecordColumns::from_wire(wire(&columns), |_| 0).unwrap(),
            columns
        );
        let mut joined = RecordColumns::new();
        joined.extend(&columns, 0..7);
        joined.extend(&columns, 7..20);
        assert_eq!(joined, columns);
    }

    #[test]
    fn missing_timestamps_are_the_parents() {
        let mut records = wire(&sample());
        records.timestamps.clear();
        let columns = RecordColumns::from_wire(records, |index| 100 + index as i64).unwrap();
        assert_eq!(columns.timestamp(19), 119);
    }

    #[test]
    fn every_lie_is_named() {
        let lie = |change: fn(&mut Records)| {
            let mut records = wire(&sample());
            change(&mut records);
            RecordColumns::from_wire(records, |_| 0).unwrap_err()
        };
        let found = [
            lie(|records| records.count = u32::MAX),
            lie(|records| records.timestamps.truncate(3)),
            lie(|records| records.key_offsets[0] = 1),
            lie(|records| records.key_offsets[3] = u32::MAX),
            lie(|records| records.values.push(0)),
            lie(|records| records.value_nulls = vec![0; 3]),
            lie(|records| records.value_nulls = vec![0xff; 2]),
            lie(|records| records.header_counts.truncate(19)),
            lie(|records| records.header_counts[0] = u32::MAX),
            lie(|records| records.header_counts.clear()),
            lie(|records| records.headers[0] = 0xff),
            lie(|records| records.header_offsets[1] = 100),
        ];
        assert_eq!(
            found,
            [
                "keys have 21 offsets for 4294967295 items",
                "3 timestamps for 20 records",
                "keys have offsets that start with 1",
                "keys have offsets that decrease after item 3",
                "values have offsets that end with 51 over 52 bytes",
                "values have bytes in null 0",
                "values have a validity bitmap of 2 bytes for 20 records",
                "headers have 19 counts for 20 records",
                "headers have 7 offsets for 4294967298 headers",
                "headers have offsets or bytes without counts",
                "headers have a name that is not UTF-8 in header 0",
                "headers have offsets that decrease after item 1",
            ]
        );
    }
}
