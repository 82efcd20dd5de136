//! Rows as state values, and the small numbers inside of all our formats; version 1.
//!
//! ```text
//! row      [fields varint][null bitmap: bit i set = field i is NULL][the other fields, in order]
//! field    boolean            1 byte
//!          integers, 8–64 bit zigzag varint; unsigned: varint
//!          decimal            16 bytes little endian
//!          float              its width, little endian
//!          string, binary     varint length, bytes (of a list, struct or map those of `nested.rs`)
//! varint   7 bits a byte, low bits first, high bit = more follow (LEB128)
//! ```
//!
//! A row may have fewer fields than its schema: columns that were added later are NULL. Rows that are equal have
//! equal bytes.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use super::{Cell, Column, ColumnBuilder, Physical, StateError};

fn corrupt(reason: &str) -> StateError {
    StateError::Corrupt {
        what: "row",
        reason: reason.to_owned(),
    }
}

/// Appends an unsigned number.
pub(crate) fn push_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed number.
pub(crate) fn push_zigzag(value: i64, out: &mut Vec<u8>) {
    push_varint(((value << 1) ^ (value >> 63)) as u64, out);
}

/// Appends bytes behind their length.
pub(crate) fn push_bytes(value: &[u8], out: &mut Vec<u8>) {
    push_varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// Reads an unsigned number off the front.
pub(crate) fn read_varint(bytes: &mut &[u8]) -> Result<u64, StateError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes
            .split_first()
            .ok_or_else(|| corrupt("a number ends too early"))?;
        *bytes = rest;
        let low = u64::from(byte & 0x7f);
        if shift == 63 && low > 1 {
            break;
        }
        value |= low << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(corrupt("a number does not fit 64 bits"))
}

/// Reads a signed number off the front.
pub(crate) fn read_zigzag(bytes: &mut &[u8]) -> Result<i64, StateError> {
    let value = read_varint(bytes)?;
    Ok(((value >> 1) as i64) ^ -((value & 1) as i64))
}

/// Reads `length` bytes off the front.
pub(crate) fn read_exact<'a>(length: usize, bytes: &mut &'a [u8]) -> Result<&'a [u8], StateError> {
    let (head, rest) = bytes
        .split_at_checked(length)
        .ok_or_else(|| corrupt("it ends too early"))?;
    *bytes = rest;
    Ok(head)
}

/// Reads bytes behind their length off the front.
pub(crate) fn read_bytes<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], StateError> {
    let length =
        usize::try_from(read_varint(bytes)?).map_err(|_| corrupt("a length is too large"))?;
    read_exact(length, bytes)
}

/// Appends one field that is not NULL.
pub(crate) fn push_field(cell: Cell<'_>, out: &mut Vec<u8>) {
    match cell {
        Cell::Null => {}
        Cell::Bool(value) => out.push(u8::from(value)),
        Cell::Int(value) => push_zigzag(value, out),
        Cell::Wide(value) => out.extend_from_slice(&value.to_le_bytes()),
        Cell::UInt(value) => push_varint(value, out),
        Cell::F32(value) => out.extend_from_slice(&value.to_le_bytes()),
        Cell::F64(value) => out.extend_from_slice(&value.to_le_bytes()),
        Cell::Bytes(value) => push_bytes(value, out),
    }
}

fn read_field<'a>(physical: Physical, bytes: &mut &'a [u8]) -> Result<Cell<'a>, StateError> {
    const WIDTH: &str = "the slice has the width";
    Ok(match physical {
        Physical::Null => return Err(corrupt("a value in a column of NULLs")),
        Physical::Bool => Cell::Bool(read_exact(1, bytes)?[0] != 0),
        Physical::I8 | Physical::I16 | Physical::I32 | Physical::I64 => {
            Cell::Int(read_zigzag(bytes)?)
        }
        Physical::I128 => Cell::Wide(i128::from_le_bytes(
            read_exact(16, bytes)?.try_into().expect(WIDTH),
        )),
        Physical::U8 | Physical::U16 | Physical::U32 | Physical::U64 => {
            Cell::UInt(read_varint(bytes)?)
        }
        Physical::F32 => Cell::F32(f32::from_le_bytes(
            read_exact(4, bytes)?.try_into().expect(WIDTH),
        )),
        Physical::F64 => Cell::F64(f64::from_le_bytes(
            read_exact(8, bytes)?.try_into().expect(WIDTH),
        )),
        Physical::Bytes => Cell::Bytes(read_bytes(bytes)?),
    })
}

/// Appends row `row` of the columns.
pub(crate) fn push_row(columns: &[Column<'_>], row: usize, out: &mut Vec<u8>) {
    push_varint(columns.len() as u64, out);
    let bitmap = out.len();
    out.resize(bitmap + columns.len().div_ceil(8), 0);
    for (index, column) in columns.iter().enumerate() {
        match column.cell(row) {
            Cell::Null => out[bitmap + index / 8] |= 1 << (index % 8),
            cell => push_field(cell, out),
        }
    }
}

/// Opens the columns of a batch.
///
/// # Errors
/// [`StateError::Corrupt`] for a type that state does not hold (a plan is checked for that before it runs).
pub(crate) fn columns_of(arrays: &[ArrayRef]) -> Result<Vec<Column<'_>>, StateError> {
    arrays
        .iter()
        .map(|array| {
            Column::of(array).ok_or_else(|| StateError::Corrupt {
                what: "column",
                reason: format!("type {} cannot be kept in state", array.data_type()),
            })
        })
        .collect()
}

/// Turns rows back into a batch.
#[derive(Debug)]
pub(crate) struct RowReader {
    schema: SchemaRef,
    physicals: Vec<Physical>,
    builders: Vec<ColumnBuilder>,
    rows: usize,
}

impl RowReader {
    /// A reader for rows of this schema.
    ///
    /// # Errors
    /// [`StateError::Corrupt`] for a type that state does not hold.
    pub(crate) fn new(schema: &SchemaRef) -> Result<Self, StateError> {
        let mut physicals = Vec::with_capacity(schema.fields().len());
        let mut builders = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let data_type = field.data_type();
            let (Some(physical), Some(builder)) =
                (Physical::of(data_type), ColumnBuilder::new(data_type, 64))
            else {
                return Err(StateError::Corrupt {
                    what: "column",
                    reason: format!("type {data_type} cannot be kept in state"),
                });
            };
            physicals.push(physical);
            builders.push(builder);
        }
        Ok(Self {
            schema: schema.clone(),
            physicals,
            builders,
            rows: 0,
        })
    }

    /// Number of rows read so far.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// Adds one row.
    ///
    /// # Errors
    /// [`StateError::Corrupt`]; the reader is then of no further use.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<(), StateError> {
        let bytes = &mut bytes;
        let fields = usize::try_from(read_varint(bytes)?).unwrap_or(usize::MAX);
        if fields > self.physicals.len() {
            return Err(corrupt("it has more fields than its schema"));
        }
        let bitmap = read_exact(fields.div_ceil(8), bytes)?;
        for (index, builder) in self.builders.iter_mut().enumerate() {
            if index >= fields || bitmap[index / 8] >> (index % 8) & 1 == 1 {
                builder.push_null();
            } else {
                let cell = read_field(self.physicals[index], bytes)?;
                builder
                    .push(cell)
                    .map_err(|_| corrupt("a value does not fit its column"))?;
            }
        }
        if !bytes.is_empty() {
            return Err(corrupt("bytes follow its last field"));
        }
        self.rows += 1;
        Ok(())
    }

    /// The batch.
    pub(crate) fn finish(self) -> RecordBatch {
        let columns: Vec<ArrayRef> = self
            .builders
            .into_iter()
            .map(ColumnBuilder::finish)
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        RecordBatch::try_new_with_options(self.schema, columns, &options)
            .expect("columns were built from this schema, NULLs only where rows had them")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Array, BooleanArray, Float64Array, Int32Array, StringViewArray, TimestampMicrosecondArray,
    };
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

    use super::*;

    fn batch() -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("carrier", DataType::Utf8View, true),
            Field::new("delay", DataType::Int32, true),
            Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
            Field::new("mean", DataType::Float64, true),
            Field::new("late", DataType::Boolean, true),
        ]);
        RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(StringViewArray::from(vec![
                    Some("UA"),
                    None,
                    Some("a name longer than a view"),
                ])),
                Arc::new(Int32Array::from(vec![Some(-1), Some(i32::MAX), None])),
                Arc::new(TimestampMicrosecondArray::from(vec![
                    Some(0),
                    None,
                    Some(-7),
                ])),
                Arc::new(Float64Array::from(vec![Some(1.5), None, Some(-0.0)])),
                Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
            ],
        )
        .unwrap()
    }

    fn rows(batch: &RecordBatch) -> Vec<Vec<u8>> {
        let columns = columns_of(batch.columns()).unwrap();
        (0..batch.num_rows())
            .map(|row| {
                let mut out = Vec::new();
                push_row(&columns, row, &mut out);
                out
            })
            .collect()
    }

    #[test]
    fn golden_vectors() {
        let hex: Vec<String> = rows(&batch())
            .iter()
            .map(|row| row.iter().map(|byte| format!("{byte:02x}")).collect())
            .collect();
        assert_eq!(
            hex[0],
            ["05", "00", "025541", "01", "00", "000000000000f83f", "01"].concat()
        );
        assert_eq!(hex[1], "050dfeffffff0f00");
    }

    #[test]
    fn what_was_written_is_read_back() {
        let batch = batch();
        let mut reader = RowReader::new(&batch.schema()).unwrap();
        for row in rows(&batch) {
            reader.push(&row).unwrap();
        }
        let read = reader.finish();
        assert_eq!(read.num_rows(), 3);
        assert_eq!(read.column(0), batch.column(0));
        assert_eq!(read.column(2).to_data(), batch.column(2).to_data());
        assert_eq!(rows(&read), rows(&batch));
    }

    #[test]
    fn columns_added_later_are_null_and_torn_rows_are_errors() {
        let batch = batch();
        let narrow = batch.project(&[0, 1]).unwrap();
        let mut reader = RowReader::new(&batch.schema()).unwrap();
        reader.push(&rows(&narrow)[0]).unwrap();
        let read = reader.finish();
        assert!(read.column(4).is_null(0));

        let whole = &rows(&batch)[0];
        for end in 0..whole.len() {
            assert!(
                RowReader::new(&batch.schema())
                    .unwrap()
                    .push(&whole[..end])
                    .is_err()
            );
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert!(
            RowReader::new(&batch.schema())
                .unwrap()
                .push(&longer)
                .is_err()
        );
        assert!(read_varint(&mut [0xffu8; 12].as_slice()).is_err());
    }
}
