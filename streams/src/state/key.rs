//! State keys: bytes whose order is the order of the values (memcomparable), version 1.
//!
//! ```text
//! [operator u16 BE][vnode u16 BE] then, by operator,
//!    aggregate     [window end i64, sign flipped, BE; only with a window][group columns]
//!                     + [aggregate u16 BE][value]          for count-per-value state below the group
//!    join          [side u8][key columns] + [time i64, where it asks for a range] + [number u64 BE], or + [row] of a side
//!                  that takes deletions
//!    upsert, view  [key columns]     view without key: [number u64 BE]
//!
//! column   00                                   NULL, before everything
//!          01 + boolean                         1 byte
//!               signed integer, date, time …    its width, big endian, sign bit flipped
//!               unsigned integer                its width, big endian
//!               float                           its width, big endian; negative: all bits flipped, else the sign bit
//!               decimal                         16 bytes as a signed integer
//!               string, binary                  bytes with 00 written as 00 FF, then 00 01
//!               list, struct, map               their bytes (`nested.rs`), as a binary
//! ```
//!
//! The vnode is `murmur2(columns) & 0x7fff_ffff mod 256`, over the encoded key columns: Kafka's hash, so that the
//! number can be computed by anyone. Floats are canonical (one NaN, one zero). Arrow's own row format is not used
//! because it may change from release to release.

use log_api::partition_for_key;

use super::{Cell, Column, Misfit, Physical, StateError};

/// Into how many parts the key space is cut.
pub(crate) const VNODES: i32 = 256;
/// The vnode number of what belongs to an operator as a whole (counters).
const WHOLE_OPERATOR: u16 = 0xffff;

/// The vnode of encoded key columns.
pub(crate) fn vnode(columns: &[u8]) -> u16 {
    u16::try_from(partition_for_key(columns, VNODES)).expect("below 256")
}

/// Starts a key of `operator` for `columns`: operator and vnode.
pub(crate) fn start(operator: u16, columns: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&operator.to_be_bytes());
    out.extend_from_slice(&vnode(columns).to_be_bytes());
}

/// A key for something that an operator has once.
pub(crate) fn whole(operator: u16, name: &str) -> Vec<u8> {
    let mut key = operator.to_be_bytes().to_vec();
    key.extend_from_slice(&WHOLE_OPERATOR.to_be_bytes());
    key.extend_from_slice(name.as_bytes());
    key
}

/// The range `[from, to)` of all keyed state of an operator, without what it has once.
pub(crate) fn operator_range(operator: u16) -> (Vec<u8>, Vec<u8>) {
    let mut from = operator.to_be_bytes().to_vec();
    let mut to = from.clone();
    from.extend_from_slice(&[0, 0]);
    to.extend_from_slice(&WHOLE_OPERATOR.to_be_bytes());
    (from, to)
}

/// Appends a signed number so that bytes sort as the number does.
pub(crate) fn push_i64(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&((value as u64) ^ (1 << 63)).to_be_bytes());
}

/// Appends one value.
pub(crate) fn push_cell(physical: Physical, cell: Cell<'_>, out: &mut Vec<u8>) {
    if matches!(cell, Cell::Null) {
        out.push(0);
        return;
    }
    out.push(1);
    match cell {
        Cell::Null => {}
        Cell::Bool(value) => out.push(u8::from(value)),
        Cell::Int(value) => {
            let flipped = ((value as u64) ^ (1 << 63)).to_be_bytes();
            match physical {
                Physical::I8 => out.push((value as u8) ^ 0x80),
                Physical::I16 => out.extend_from_slice(&((value as u16) ^ 0x8000).to_be_bytes()),
                Physical::I32 => {
                    out.extend_from_slice(&((value as u32) ^ 0x8000_0000).to_be_bytes())
                }
                _ => out.extend_from_slice(&flipped),
            }
        }
        Cell::Wide(value) => out.extend_from_slice(&((value as u128) ^ (1 << 127)).to_be_bytes()),
        Cell::UInt(value) => {
            let bytes = value.to_be_bytes();
            let width = match physical {
                Physical::U8 => 1,
                Physical::U16 => 2,
                Physical::U32 => 4,
                _ => 8,
            };
            out.extend_from_slice(&bytes[8 - width..]);
        }
        Cell::F32(value) => {
            let bits = value.to_bits();
            let bits = if bits >> 31 == 1 {
                !bits
            } else {
                bits ^ (1 << 31)
            };
            out.extend_from_slice(&bits.to_be_bytes());
        }
        Cell::F64(value) => {
            let bits = value.to_bits();
            let bits = if bits >> 63 == 1 {
                !bits
            } else {
                bits ^ (1 << 63)
            };
            out.extend_from_slice(&bits.to_be_bytes());
        }
        Cell::Bytes(value) => {
            let mut rest = value;
            while let Some(zero) = memchr::memchr(0, rest) {
                out.extend_from_slice(&rest[..zero]);
                out.extend_from_slice(&[0, 0xff]);
                rest = &rest[zero + 1..];
            }
            out.extend_from_slice(rest);
            out.extend_from_slice(&[0, 1]);
        }
    }
}

/// Appends the values of one row.
pub(crate) fn push_row(columns: &[(Physical, Column<'_>)], row: usize, out: &mut Vec<u8>) {
    for (physical, column) in columns {
        push_cell(*physical, column.cell(row), out);
    }
}

fn corrupt(reason: &str) -> StateError {
    StateError::Corrupt {
        what: "state key",
        reason: reason.to_owned(),
    }
}

fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Result<&'a [u8; N], StateError> {
    let (head, rest) = bytes
        .split_first_chunk::<N>()
        .ok_or_else(|| corrupt("it ends too early"))?;
    *bytes = rest;
    Ok(head)
}

/// Reads one value off the front of `bytes` and hands it to `visit` (bytes may need unescaping, hence the callback).
pub(crate) fn read_cell<T>(
    physical: Physical,
    bytes: &mut &[u8],
    visit: impl FnOnce(Cell<'_>) -> Result<T, Misfit>,
) -> Result<T, StateError> {
    let misfit = |_| corrupt("a value does not fit its column");
    match take::<1>(bytes)? {
        [0] => return visit(Cell::Null).map_err(misfit),
        [1] => {}
        _ => return Err(corrupt("a value starts with neither 0 nor 1")),
    }
    let cell = match physical {
        Physical::Null => return Err(corrupt("a value in a column of NULLs")),
        Physical::Bool => Cell::Bool(take::<1>(bytes)?[0] != 0),
        Physical::I8 => Cell::Int(i64::from((take::<1>(bytes)?[0] ^ 0x80) as i8)),
        Physical::I16 => Cell::Int(i64::from(
            (u16::from_be_bytes(*take(bytes)?) ^ 0x8000) as i16,
        )),
        Physical::I32 => Cell::Int(i64::from(
            (u32::from_be_bytes(*take(bytes)?) ^ 0x8000_0000) as i32,
        )),
        Physical::I64 => Cell::Int((u64::from_be_bytes(*take(bytes)?) ^ (1 << 63)) as i64),
        Physical::I128 => Cell::Wide((u128::from_be_bytes(*take(bytes)?) ^ (1 << 127)) as i128),
        Physical::U8 => Cell::UInt(u64::from(take::<1>(bytes)?[0])),
        Physical::U16 => Cell::UInt(u64::from(u16::from_be_bytes(*take(bytes)?))),
        Physical::U32 => Cell::UInt(u64::from(u32::from_be_bytes(*take(bytes)?))),
        Physical::U64 => Cell::UInt(u64::from_be_bytes(*take(bytes)?)),
        Physical::F32 => {
            let bits = u32::from_be_bytes(*take(bytes)?);
            Cell::F32(f32::from_bits(if bits >> 31 == 1 {
                bits ^ (1 << 31)
            } else {
                !bits
            }))
        }
        Physical::F64 => {
            let bits = u64::from_be_bytes(*take(bytes)?);
            Cell::F64(f64::from_bits(if bits >> 63 == 1 {
                bits ^ (1 << 63)
            } else {
                !bits
            }))
        }
        Physical::Bytes => {
            let mut value = Vec::new();
            loop {
                let zero =
                    memchr::memchr(0, bytes).ok_or_else(|| corrupt("a string has no end"))?;
                value.extend_from_slice(&bytes[..zero]);
                let mark = *bytes
                    .get(zero + 1)
                    .ok_or_else(|| corrupt("a string has no end"))?;
                *bytes = &bytes[zero + 2..];
                match mark {
                    1 => break,
                    0xff => value.push(0),
                    _ => return Err(corrupt("an unknown escape in a string")),
                }
            }
            return visit(Cell::Bytes(&value)).map_err(misfit);
        }
    };
    visit(cell).map_err(misfit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(physical: Physical, cell: Cell<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        push_cell(physical, cell, &mut out);
        out
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// These bytes are on disks: a change here is a new format version.
    #[test]
    fn golden_vectors() {
        for (physical, cell, expected) in [
            (Physical::I64, Cell::Null, "00"),
            (Physical::Bool, Cell::Bool(true), "0101"),
            (Physical::I8, Cell::Int(-1), "017f"),
            (Physical::I16, Cell::Int(1), "018001"),
            (Physical::I32, Cell::Int(-2), "017ffffffe"),
            (Physical::I64, Cell::Int(0), "018000000000000000"),
            (Physical::I64, Cell::Int(i64::MIN), "010000000000000000"),
            (
                Physical::I128,
                Cell::Wide(5),
                "0180000000000000000000000000000005",
            ),
            (Physical::U16, Cell::UInt(258), "010102"),
            (Physical::F64, Cell::F64(1.5), "01bff8000000000000"),
            (Physical::F64, Cell::F64(-1.5), "014007ffffffffffff"),
            (Physical::F32, Cell::F32(0.0), "0180000000"),
            (Physical::Bytes, Cell::Bytes(b"UA"), "0155410001"),
            (Physical::Bytes, Cell::Bytes(b"a\0b"), "016100ff620001"),
            (Physical::Bytes, Cell::Bytes(b""), "010001"),
        ] {
            assert_eq!(hex(&encoded(physical, cell)), expected, "{cell:?}");
        }
        assert_eq!(vnode(&encoded(Physical::Bytes, Cell::Bytes(b"UA"))), 171);
        assert_eq!(hex(&whole(7, "rows")), "0007ffff726f7773");
    }

    #[test]
    fn order_of_bytes_is_order_of_values() {
        let ints: Vec<i64> = vec![i64::MIN, -300, -1, 0, 1, 255, 256, i64::MAX];
        for pair in ints.windows(2) {
            assert!(
                encoded(Physical::I64, Cell::Int(pair[0]))
                    < encoded(Physical::I64, Cell::Int(pair[1]))
            );
        }
        let floats = [
            f64::NEG_INFINITY,
            -2.5,
            -0.1,
            0.0,
            0.1,
            2.5,
            f64::INFINITY,
            f64::NAN,
        ];
        for pair in floats.windows(2) {
            assert!(
                encoded(Physical::F64, Cell::F64(pair[0]))
                    < encoded(Physical::F64, Cell::F64(pair[1]))
            );
        }
        let texts: Vec<&[u8]> = vec![
            b"", b"\0", b"\0\0", b"\0\x01", b"\x01", b"a", b"a\0", b"a\x01", b"ab",
        ];
        for pair in texts.windows(2) {
            assert!(
                encoded(Physical::Bytes, Cell::Bytes(pair[0]))
                    < encoded(Physical::Bytes, Cell::Bytes(pair[1]))
            );
        }
    }

    #[test]
    fn what_was_written_is_read_back() {
        for (physical, cell) in [
            (Physical::I8, Cell::Int(-128)),
            (Physical::I16, Cell::Int(-5)),
            (Physical::I32, Cell::Int(i64::from(i32::MIN))),
            (Physical::I64, Cell::Int(77)),
            (Physical::I128, Cell::Wide(i128::MIN)),
            (Physical::U32, Cell::UInt(9)),
            (Physical::U64, Cell::UInt(u64::MAX)),
            (Physical::F32, Cell::F32(-3.25)),
            (Physical::F64, Cell::F64(1e300)),
            (Physical::Bytes, Cell::Bytes(b"a\0\xff\0")),
            (Physical::Bool, Cell::Bool(false)),
            (Physical::I64, Cell::Null),
        ] {
            let bytes = encoded(physical, cell);
            let mut rest = bytes.as_slice();
            read_cell(physical, &mut rest, |read| {
                assert_eq!(read, cell);
                Ok(())
            })
            .unwrap();
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn torn_keys_are_errors() {
        for bytes in [
            &b""[..],
            b"\x02",
            b"\x01",
            b"\x01abc",
            b"\x01a\0",
            b"\x01a\0\x07",
        ] {
            let mut rest = bytes;
            assert!(read_cell(Physical::Bytes, &mut rest, |_| Ok(())).is_err());
            let mut rest = bytes;
            assert!(read_cell(Physical::I64, &mut rest, |_| Ok(())).is_err());
        }
    }
}
