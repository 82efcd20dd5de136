//! Kafka's primitive encodings: big-endian numbers, varints, strings and byte fields in both lengths (plain and compact), tagged fields.
//!
//! ```text
//! plain    string  i16 length, bytes             null = -1      compact  string  uvarint length+1, bytes   null = 0
//!          bytes   i32 length, bytes             null = -1               bytes   uvarint length+1, bytes   null = 0
//!          array   i32 count, elements           null = -1               array   uvarint count+1, elements null = 0
//! tagged   uvarint count, then for each, by rising tag: uvarint tag, uvarint size, `size` bytes
//! varint   7 bits a byte, lowest first, top bit = more; signed ones are zigzag: 0 -1 1 -2 → 0 1 2 3
//! ```
//!
//! Invariants:
//! 1. A [`Reader`] slices its [`Bytes`] and never copies them.
//! 2. No allocation is sized by a number from the wire: a length is checked against the bytes that are left, a count is capped by them.
//! 3. No input makes it panic.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use crate::payload::Payload;

/// Bytes that are not what their place calls for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {cause}")]
pub struct DecodeError {
    /// The field that was read, as `Message.field`.
    pub at: &'static str,
    /// What is wrong with its bytes.
    pub cause: DecodeCause,
}

/// What can be wrong with a field's bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeCause {
    /// The field is longer than what is left.
    #[error("{needed} bytes needed, {left} left")]
    Truncated {
        /// Bytes that the field announces.
        needed: usize,
        /// Bytes that there are.
        left: usize,
    },
    /// The array has more elements than there are bytes.
    #[error("{count} elements announced, {left} bytes left")]
    TooManyElements {
        /// Elements that the array announces.
        count: usize,
        /// Bytes that there are.
        left: usize,
    },
    /// A varint that goes on past its type.
    #[error("varint is too long for its type")]
    LongVarint,
    /// Null in a field that must have a value.
    #[error("null where a value is required")]
    Null,
    /// The values take more memory than they may.
    #[error("its names and lists take more than {max} bytes of memory")]
    TooMuch {
        /// What they may take.
        max: usize,
    },
    /// A version of the message that does not exist here.
    #[error("version {version} is outside {min}..={max}")]
    Version {
        /// What was asked for.
        version: i16,
        /// The lowest version known.
        min: i16,
        /// The highest version known.
        max: i16,
    },
}

impl DecodeError {
    pub(crate) fn new(cause: DecodeCause) -> Self {
        Self { at: "", cause }
    }

    /// Names the field; the innermost name wins.
    pub(crate) fn at(mut self, field: &'static str) -> Self {
        if self.at.is_empty() {
            self.at = field;
        }
        self
    }
}

impl From<DecodeCause> for DecodeError {
    fn from(cause: DecodeCause) -> Self {
        Self::new(cause)
    }
}

type Result<T> = std::result::Result<T, DecodeError>;

/// Reads values from the front of a [`Bytes`], slicing it without a copy.
#[derive(Debug, Clone)]
pub struct Reader {
    bytes: Bytes,
    position: usize,
    /// What the values that are read may take of memory, and what they have taken.
    memory_max: usize,
    memory_taken: usize,
}

impl Reader {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Self::within(bytes, usize::MAX)
    }

    /// Reads from the start of `bytes` values whose texts and lists together take at most so many bytes of memory. Byte fields stay
    /// slices and do not count.
    pub fn within(bytes: Bytes, memory_max: usize) -> Self {
        Self {
            bytes,
            position: 0,
            memory_max,
            memory_taken: 0,
        }
    }

    /// Counts memory that a value is about to take.
    pub(crate) fn take_memory(&mut self, bytes: usize) -> Result<()> {
        self.memory_taken = self.memory_taken.saturating_add(bytes);
        if self.memory_taken > self.memory_max {
            let max = self.memory_max;
            return Err(DecodeCause::TooMuch { max }.into());
        }
        Ok(())
    }

    /// Bytes that are still to be read.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// Takes all that is left.
    pub fn rest(&mut self) -> Bytes {
        let rest = self.bytes.slice(self.position..);
        self.position = self.bytes.len();
        rest
    }

    /// Takes the next `length` bytes as a slice of the same allocation.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn slice(&mut self, length: usize) -> Result<Bytes> {
        self.need(length)?;
        let end = self.position + length;
        let slice = self.bytes.slice(self.position..end);
        self.position = end;
        Ok(slice)
    }

    /// Passes over the next `length` bytes.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn skip(&mut self, length: usize) -> Result<()> {
        self.need(length)?;
        self.position += length;
        Ok(())
    }

    /// The next `length` bytes as text. Bytes that are none become the replacement character, as in Kafka.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn text(&mut self, length: usize) -> Result<String> {
        self.need(length)?;
        let end = self.position + length;
        let text = String::from_utf8_lossy(&self.bytes[self.position..end]).into_owned();
        self.position = end;
        Ok(text)
    }

    /// One signed byte.
    ///
    /// # Errors
    /// If nothing is left.
    pub fn i8(&mut self) -> Result<i8> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    /// Two bytes, signed.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    /// Two bytes, unsigned.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// Four bytes, signed.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// Eight bytes, signed.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// Eight bytes, an IEEE 754 double.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn f64(&mut self) -> Result<f64> {
        Ok(f64::from_be_bytes(self.array()?))
    }

    /// Sixteen bytes.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn uuid(&mut self) -> Result<Uuid> {
        Ok(Uuid::from_bytes(self.array()?))
    }

    /// An unsigned varint of at most five bytes.
    ///
    /// # Errors
    /// If it is cut off or too long.
    pub fn unsigned_varint(&mut self) -> Result<u32> {
        let mut position = self.position;
        let value =
            take_unsigned_varint(&self.bytes, &mut position).ok_or_else(|| self.varint_error(5))?;
        self.position = position;
        Ok(value)
    }

    /// A zigzag varint of at most five bytes.
    ///
    /// # Errors
    /// If it is cut off or too long.
    pub fn varint(&mut self) -> Result<i32> {
        Ok(unzigzag32(self.unsigned_varint()?))
    }

    /// A zigzag varint of at most ten bytes.
    ///
    /// # Errors
    /// If it is cut off or too long.
    pub fn varlong(&mut self) -> Result<i64> {
        let mut position = self.position;
        let value = take_unsigned_varlong(&self.bytes, &mut position)
            .ok_or_else(|| self.varint_error(10))?;
        self.position = position;
        Ok(unzigzag64(value))
    }

    /// The length of a string: none for null. Whatever is below zero is null, as in Kafka.
    ///
    /// # Errors
    /// If it is cut off.
    pub fn string_length(&mut self, flexible: bool) -> Result<Option<usize>> {
        if flexible {
            self.compact_length()
        } else {
            Ok(usize::try_from(self.i16()?).ok())
        }
    }

    /// The length of a byte field: none for null. Whatever is below zero is null, as in Kafka.
    ///
    /// # Errors
    /// If it is cut off.
    pub fn bytes_length(&mut self, flexible: bool) -> Result<Option<usize>> {
        if flexible {
            self.compact_length()
        } else {
            Ok(usize::try_from(self.i32()?).ok())
        }
    }

    /// The number of an array's elements, at most one a byte left: none for null.
    ///
    /// # Errors
    /// If it is cut off, or beyond what is left.
    pub fn array_length(&mut self, flexible: bool) -> Result<Option<usize>> {
        let count = self.bytes_length(flexible)?;
        match count {
            Some(count) if count > self.remaining() => Err(DecodeCause::TooManyElements {
                count,
                left: self.remaining(),
            }
            .into()),
            count => Ok(count),
        }
    }

    /// Hands each tagged field to `field` as its tag and a reader of exactly its bytes; a tag that `field` does not know is passed over by doing nothing.
    /// Tags may come in any order, and more than once.
    ///
    /// # Errors
    /// If the section is cut off, or `field` fails.
    pub fn tagged_fields(
        &mut self,
        mut field: impl FnMut(u32, &mut Reader) -> Result<()>,
    ) -> Result<()> {
        let count = self.unsigned_varint()?;
        for _ in 0..count {
            let tag = self.unsigned_varint()?;
            let size = self.unsigned_varint()? as usize;
            field(tag, &mut Reader::new(self.slice(size)?))?;
        }
        Ok(())
    }

    fn compact_length(&mut self) -> Result<Option<usize>> {
        Ok((self.unsigned_varint()? as usize).checked_sub(1))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        match self.bytes[self.position..].first_chunk::<N>() {
            Some(array) => {
                self.position += N;
                Ok(*array)
            }
            None => Err(DecodeCause::Truncated {
                needed: N,
                left: self.remaining(),
            }
            .into()),
        }
    }

    fn need(&self, length: usize) -> Result<()> {
        let left = self.remaining();
        if length > left {
            Err(DecodeCause::Truncated {
                needed: length,
                left,
            }
            .into())
        } else {
            Ok(())
        }
    }

    fn varint_error(&self, longest: usize) -> DecodeError {
        let left = self.remaining();
        if left < longest {
            DecodeCause::Truncated {
                needed: left + 1,
                left,
            }
            .into()
        } else {
            DecodeCause::LongVarint.into()
        }
    }
}

/// A place in the output where the bytes of someone else go, uncopied.
#[derive(Debug, Clone)]
pub(crate) struct Splice {
    /// How much of the output comes before.
    pub(crate) position: usize,
    /// What goes there.
    pub(crate) payload: Payload,
}

/// Byte fields from this size on are spliced into a frame instead of copied. Below it, one more entry in a vectored write costs more than the copy.
pub(crate) const SPLICE_MIN_BYTES: usize = 2048;

/// Writes values to the end of a [`BytesMut`]; large byte fields can be set aside for a vectored write.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut BytesMut,
    splices: Option<&'a mut Vec<Splice>>,
}

impl<'a> Writer<'a> {
    /// Writes everything into `out`.
    pub fn new(out: &'a mut BytesMut) -> Self {
        Self { out, splices: None }
    }

    /// Writes into `out`, but sets byte fields of at least [`SPLICE_MIN_BYTES`] aside.
    pub(crate) fn splicing(out: &'a mut BytesMut, splices: &'a mut Vec<Splice>) -> Self {
        Self {
            out,
            splices: Some(splices),
        }
    }

    /// The output, for fixed-size numbers.
    pub fn out(&mut self) -> &mut BytesMut {
        self.out
    }

    /// The bytes of a field, copied or set aside.
    pub fn bytes(&mut self, bytes: &Bytes) {
        match &mut self.splices {
            Some(splices) if bytes.len() >= SPLICE_MIN_BYTES => {
                splices.push(Splice {
                    position: self.out.len(),
                    payload: bytes.clone().into(),
                });
            }
            _ => self.out.put_slice(bytes),
        }
    }

    /// As [`Writer::bytes`]; a part of a file is always set aside.
    ///
    /// # Panics
    /// If the message is to be written as a whole, and this part of it lies in a file.
    pub fn payload(&mut self, payload: &Payload) {
        match (payload, &mut self.splices) {
            (Payload::Bytes(bytes), _) => self.bytes(bytes),
            (Payload::File(_), Some(splices)) => splices.push(Splice {
                position: self.out.len(),
                payload: payload.clone(),
            }),
            (Payload::File(_), None) => panic!("a part of a file is sent, not copied"),
        }
    }

    /// An unsigned varint.
    pub fn unsigned_varint(&mut self, value: u32) {
        put_unsigned_varint(self.out, u64::from(value));
    }

    /// A string; none is null. A plain one has room for `i16::MAX` bytes and is cut, at a character, to fit.
    pub fn string(&mut self, text: Option<&str>, flexible: bool) {
        let text = text.map(|text| {
            if flexible {
                text
            } else {
                &text[..text.floor_char_boundary(i16::MAX as usize)]
            }
        });
        self.string_length(text.map(str::len), flexible);
        self.out.put_slice(text.unwrap_or_default().as_bytes());
    }

    /// The length of a string; none is null.
    ///
    /// # Panics
    /// If a plain string is longer than `i16::MAX` bytes; [`string`](Self::string) cuts it instead.
    pub fn string_length(&mut self, length: Option<usize>, flexible: bool) {
        match (flexible, length) {
            (true, length) => self.compact_length(length),
            (false, None) => self.out.put_i16(-1),
            (false, Some(length)) => self
                .out
                .put_i16(i16::try_from(length).expect("a plain string is at most i16::MAX bytes")),
        }
    }

    /// The length of a byte field or an array; none is null.
    ///
    /// # Panics
    /// If it does not fit its type: no message comes near 2 GiB.
    pub fn length(&mut self, length: Option<usize>, flexible: bool) {
        match (flexible, length) {
            (true, length) => self.compact_length(length),
            (false, None) => self.out.put_i32(-1),
            (false, Some(length)) => self
                .out
                .put_i32(i32::try_from(length).expect("a message stays below 2 GiB")),
        }
    }

    /// One tagged field, its size in front.
    pub fn tagged_field(&mut self, tag: u32, value: impl FnOnce(&mut Writer<'_>)) {
        let mut scratch = BytesMut::new();
        value(&mut Writer::new(&mut scratch));
        self.unsigned_varint(tag);
        self.unsigned_varint(u32::try_from(scratch.len()).expect("a message stays below 2 GiB"));
        self.out.put_slice(&scratch);
    }

    fn compact_length(&mut self, length: Option<usize>) {
        let value = length.map_or(0, |length| length + 1);
        self.unsigned_varint(u32::try_from(value).expect("a message stays below 2 GiB"));
    }
}

/// Maps signed to unsigned so that small magnitudes stay small.
pub(crate) fn zigzag32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

/// As [`zigzag32`], for 64 bits.
pub(crate) fn zigzag64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(crate) fn unzigzag32(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

pub(crate) fn unzigzag64(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Bytes that `value` takes as an unsigned varint.
pub(crate) fn unsigned_varint_size(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Bytes that `value` takes as a zigzag varint.
pub(crate) fn varint_size(value: i32) -> usize {
    unsigned_varint_size(u64::from(zigzag32(value)))
}

/// Bytes that `value` takes as a zigzag varlong.
pub(crate) fn varlong_size(value: i64) -> usize {
    unsigned_varint_size(zigzag64(value))
}

/// Appends an unsigned varint.
pub(crate) fn put_unsigned_varint(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Takes a zigzag varint from `bytes` at `position`; none if it is cut off or too long.
#[inline]
pub(crate) fn take_varint(bytes: &[u8], position: &mut usize) -> Option<i32> {
    take_unsigned_varint(bytes, position).map(unzigzag32)
}

/// As [`take_varint`], for 64 bits.
#[inline]
pub(crate) fn take_varlong(bytes: &[u8], position: &mut usize) -> Option<i64> {
    take_unsigned_varlong(bytes, position).map(unzigzag64)
}

#[inline]
fn take_unsigned_varint(bytes: &[u8], position: &mut usize) -> Option<u32> {
    let first = *bytes.get(*position)?;
    if first < 0x80 {
        *position += 1;
        return Some(u32::from(first));
    }
    let mut value = u32::from(first & 0x7f);
    for index in 1..5 {
        let byte = *bytes.get(*position + index)?;
        if index == 4 && byte > 0x0f {
            return None;
        }
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *position += index + 1;
            return Some(value);
        }
    }
    None
}

#[inline]
fn take_unsigned_varlong(bytes: &[u8], position: &mut usize) -> Option<u64> {
    let first = *bytes.get(*position)?;
    if first < 0x80 {
        *position += 1;
        return Some(u64::from(first));
    }
    let mut value = u64::from(first & 0x7f);
    for index in 1..10 {
        let byte = *bytes.get(*position + index)?;
        if index == 9 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *position += index + 1;
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip() {
        for value in [0, 1, -1, 63, 64, -64, -65, 300, i32::MAX, i32::MIN] {
            let mut out = BytesMut::new();
            put_unsigned_varint(&mut out, u64::from(zigzag32(value)));
            assert_eq!(out.len(), varint_size(value));
            assert_eq!(Reader::new(out.freeze()).varint(), Ok(value));
        }
        for value in [0, 1, -1, i64::from(i32::MAX) + 1, i64::MAX, i64::MIN] {
            let mut out = BytesMut::new();
            put_unsigned_varint(&mut out, zigzag64(value));
            assert_eq!(out.len(), varlong_size(value));
            assert_eq!(Reader::new(out.freeze()).varlong(), Ok(value));
        }
    }

    #[test]
    fn varints_that_are_too_long_are_refused() {
        let mut reader = Reader::new(Bytes::from_static(&[0xff; 20]));
        assert_eq!(
            reader.unsigned_varint().unwrap_err().cause,
            DecodeCause::LongVarint
        );
        assert_eq!(reader.varlong().unwrap_err().cause, DecodeCause::LongVarint);
        let mut reader = Reader::new(Bytes::from_static(&[0xff, 0xff]));
        assert!(matches!(
            reader.varint().unwrap_err().cause,
            DecodeCause::Truncated { .. }
        ));
    }

    #[test]
    fn slices_share_the_allocation() {
        let bytes = Bytes::from(vec![7u8; 64]);
        let slice = Reader::new(bytes.clone()).slice(32).unwrap();
        assert_eq!(slice.as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn a_count_is_capped_by_what_is_left() {
        let mut reader = Reader::new(Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 1, 2]));
        let cause = reader.array_length(false).unwrap_err().cause;
        assert_eq!(
            cause,
            DecodeCause::TooManyElements {
                count: 0x7fff_ffff,
                left: 2
            }
        );
    }

    #[test]
    fn tags_come_in_any_order_and_more_than_once() {
        let mut reader = Reader::new(Bytes::from_static(&[3, 2, 1, 7, 1, 0, 2, 1, 9]));
        let mut seen = Vec::new();
        let read = reader.tagged_fields(|tag, from| {
            seen.push((tag, from.rest()));
            Ok(())
        });
        assert_eq!(read, Ok(()));
        let expected: [(u32, &'static [u8]); 3] = [(2, &[7]), (1, &[]), (2, &[9])];
        assert_eq!(seen, expected.map(|(tag, bytes)| (tag, bytes.into())));
    }

    #[test]
    fn any_length_below_zero_is_null() {
        let mut reader = Reader::new(Bytes::from_static(&[0x80, 0, 0xff, 0xff, 0xff, 0xfe]));
        assert_eq!(reader.string_length(false), Ok(None));
        assert_eq!(reader.array_length(false), Ok(None));
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let mut reader = Reader::new(Bytes::from_static(&[b'a', 0xc3, 0x28]));
        assert_eq!(reader.text(3).as_deref(), Ok("a\u{fffd}("));
    }
}
