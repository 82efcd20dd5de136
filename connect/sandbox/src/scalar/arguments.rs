//! Argument columns on their way to a guest: cast, freed of the rows that are not asked, cut, and packed.

use std::ops::Range;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, StringArray, UInt64Array, new_null_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};
use arrow::compute::{CastOptions, cast_with_options, filter, take};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::FormatOptions;

use crate::module::FunctionSignature;
use crate::wire::ArrayNode;

/// The columns of a batch as the signature wants them, without the rows that are not asked.
pub(super) struct Arguments {
    columns: Vec<Column>,
    rows: usize,
    /// For a strict function with nulls: which rows of the caller's batch are asked.
    asked: Option<Asked>,
}

struct Column {
    array: ArrayRef,
    /// One row that stands for all.
    constant: bool,
}

struct Asked {
    /// The caller's row of each row asked.
    originals: Vec<u32>,
    /// How many rows the caller's batch has.
    rows: usize,
}

impl Arguments {
    /// # Errors
    /// What does not fit the signature.
    pub(super) fn new(
        signature: &FunctionSignature,
        args: &[ArrayRef],
        rows: usize,
    ) -> Result<Arguments, String> {
        if args.len() != signature.args.len() {
            return Err(format!(
                "it takes {} and got {}",
                signature.args.len(),
                args.len()
            ));
        }
        let mut columns = Vec::with_capacity(args.len());
        for (array, field) in args.iter().zip(&signature.args) {
            let constant = array.len() == 1 && rows != 1;
            if !constant && array.len() != rows {
                return Err(format!(
                    "{} has {} rows and the batch {rows}",
                    field.name(),
                    array.len()
                ));
            }
            // A value that does not fit is the caller's error, never silently null.
            let options = CastOptions {
                safe: false,
                format_options: FormatOptions::default(),
            };
            let array = cast_with_options(array, field.data_type(), &options).map_err(|error| {
                format!(
                    "{} is {} and cannot become {}: {error}",
                    field.name(),
                    array.data_type(),
                    field.data_type()
                )
            })?;
            columns.push(Column { array, constant });
        }
        let mut arguments = Arguments {
            columns,
            rows,
            asked: None,
        };
        if signature.strict {
            arguments.drop_nulls().map_err(|error| error.to_string())?;
        }
        Ok(arguments)
    }

    /// Rows to ask the guest about.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of all columns, roughly.
    pub(super) fn bytes(&self) -> usize {
        let size = |column: &Column| column.array.to_data().get_slice_memory_size().unwrap_or(0);
        self.columns.iter().map(size).sum()
    }

    /// The caller's row of `row`.
    pub(super) fn original(&self, row: u32) -> u32 {
        match &self.asked {
            Some(asked) => asked.originals[row as usize],
            None => row,
        }
    }

    /// Puts back the rows that were not asked, as nulls.
    pub(super) fn scatter(&self, values: ArrayRef) -> Result<ArrayRef, ArrowError> {
        let Some(asked) = &self.asked else {
            return Ok(values);
        };
        if asked.originals.is_empty() {
            return Ok(new_null_array(values.data_type(), asked.rows));
        }
        let mut sources = vec![None; asked.rows];
        for (source, &original) in asked.originals.iter().enumerate() {
            sources[original as usize] = Some(source as u64);
        }
        take(&values, &UInt64Array::from(sources), None)
    }

    /// Takes out the rows in which an argument is null.
    fn drop_nulls(&mut self) -> Result<(), ArrowError> {
        let rows = self.rows;
        let mut valid: Option<NullBuffer> = None;
        for Column { array, constant } in &self.columns {
            let nulls = if *constant && array.is_null(0) {
                Some(NullBuffer::new_null(rows))
            } else {
                array
                    .logical_nulls()
                    .filter(|nulls| !constant && nulls.null_count() > 0)
            };
            valid = NullBuffer::union(valid.as_ref(), nulls.as_ref());
        }
        let Some(valid) = valid else { return Ok(()) };
        let mask = BooleanArray::new(valid.inner().clone(), None);
        for column in self.columns.iter_mut().filter(|column| !column.constant) {
            column.array = filter(&column.array, &mask)?;
        }
        let originals: Vec<u32> = valid.valid_indices().map(|row| row as u32).collect();
        self.rows = originals.len();
        self.asked = Some(Asked { originals, rows });
        Ok(())
    }
}

/// A part of the columns in the boundary's layout.
pub(super) struct Packed {
    nodes: Vec<ArrayNode>,
    buffers: Vec<Buffer>,
}

impl Packed {
    /// # Errors
    /// A layout that cannot cross. (Signatures only name layouts that can.)
    pub(super) fn new(arguments: &Arguments, rows: Range<usize>) -> Result<Packed, String> {
        let mut packed = Packed {
            nodes: Vec::new(),
            buffers: Vec::new(),
        };
        for Column { array, constant } in &arguments.columns {
            // A constant in a call of one row has as many rows as the call.
            if *constant {
                packed.push(array)?;
            } else {
                packed.push(&array.slice(rows.start, rows.len()))?;
            }
        }
        Ok(packed)
    }

    pub(super) fn nodes(&self) -> &[ArrayNode] {
        &self.nodes
    }

    pub(super) fn buffers(&self) -> Vec<&[u8]> {
        self.buffers.iter().map(Buffer::as_slice).collect()
    }

    fn push(&mut self, array: &dyn Array) -> Result<(), String> {
        let length = array.len();
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        self.nodes.push(ArrayNode {
            length: super::count(length),
            null_count: super::count(nulls.map_or(0, NullBuffer::null_count)),
        });
        self.buffers
            .push(nulls.map_or_else(|| Buffer::from(&[][..]), |nulls| bits(nulls.inner())));
        match array.data_type() {
            DataType::Boolean => self.buffers.push(bits(array.as_boolean().values())),
            DataType::Utf8 => {
                let mut text = array.as_string::<i32>().clone();
                if nulls.is_some_and(|nulls| null_has_bytes(nulls, text.offsets())) {
                    text = text.iter().collect::<StringArray>();
                }
                self.push_bytes(text.offsets(), text.values());
            }
            DataType::Binary => {
                let mut binary = array.as_binary::<i32>().clone();
                if nulls.is_some_and(|nulls| null_has_bytes(nulls, binary.offsets())) {
                    binary = binary.iter().collect::<BinaryArray>();
                }
                self.push_bytes(binary.offsets(), binary.values());
            }
            other => {
                let width = other
                    .primitive_width()
                    .ok_or_else(|| format!("{other} cannot cross to a guest"))?;
                let data = array.to_data();
                let values = &data.buffers()[0];
                self.buffers
                    .push(values.slice_with_length(data.offset() * width, length * width));
            }
        }
        Ok(())
    }

    fn push_bytes(&mut self, offsets: &OffsetBuffer<i32>, values: &Buffer) {
        let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
        if first == 0 {
            self.buffers.push(offsets.inner().inner().clone());
        } else {
            self.buffers
                .push(offsets.iter().map(|offset| offset - first).collect());
        }
        self.buffers
            .push(values.slice_with_length(first as usize, (last - first) as usize));
    }
}

/// The bits from bit 0 on, in as many bytes as they need.
fn bits(bits: &BooleanBuffer) -> Buffer {
    bits.sliced().slice_with_length(0, bits.len().div_ceil(8))
}

fn null_has_bytes(nulls: &NullBuffer, offsets: &OffsetBuffer<i32>) -> bool {
    (0..nulls.len()).any(|row| nulls.is_null(row) && offsets[row] != offsets[row + 1])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, StringViewArray};
    use arrow::datatypes::Field;

    use super::*;
    use crate::module::Volatility;

    fn signature(types: &[DataType], strict: bool) -> FunctionSignature {
        let args = types
            .iter()
            .enumerate()
            .map(|(i, own)| Field::new(format!("a{i}"), own.clone(), true));
        FunctionSignature {
            name: "f".to_owned(),
            args: args.collect(),
            returns: Field::new("f", DataType::Int64, true),
            volatility: Volatility::Immutable,
            strict,
            parallel_safe: true,
        }
    }

    #[test]
    fn views_are_cast_and_slices_start_at_zero() {
        let words: ArrayRef = Arc::new(StringViewArray::from(vec![
            Some("one"),
            None,
            Some("three"),
            Some("4"),
        ]));
        let arguments = Arguments::new(&signature(&[DataType::Utf8], false), &[words], 4).unwrap();
        let packed = Packed::new(&arguments, 1..4).unwrap();
        assert_eq!(
            packed.nodes(),
            [ArrayNode {
                length: 3,
                null_count: 1
            }]
        );
        let [validity, offsets, values] = packed.buffers().try_into().unwrap();
        assert_eq!(validity[0] & 0b111, 0b110);
        assert_eq!(offsets, [0i32, 0, 5, 6].map(i32::to_le_bytes).concat());
        assert_eq!(values, b"three4");
    }

    #[test]
    fn strict_rows_with_nulls_are_not_asked_and_come_back_null() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let one: ArrayRef = Arc::new(Float64Array::from(vec![0.5]));
        let types = [DataType::Int64, DataType::Float64];
        let arguments = Arguments::new(&signature(&types, true), &[numbers, one], 3).unwrap();
        assert_eq!(arguments.rows(), 2);
        assert_eq!(arguments.original(1), 2);
        let values = arguments
            .scatter(Arc::new(Int64Array::from(vec![10, 30])))
            .unwrap();
        assert_eq!(
            values.as_primitive::<arrow::datatypes::Int64Type>(),
            &Int64Array::from(vec![Some(10), None, Some(30)])
        );
    }

    #[test]
    fn a_null_constant_asks_nothing() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let null: ArrayRef = Arc::new(Int64Array::from(vec![None::<i64>]));
        let types = [DataType::Int64, DataType::Int64];
        let arguments = Arguments::new(&signature(&types, true), &[numbers, null], 3).unwrap();
        assert_eq!(arguments.rows(), 0);
        let values = arguments
            .scatter(arrow::array::new_empty_array(&DataType::Int64))
            .unwrap();
        assert_eq!((values.len(), values.null_count()), (3, 3));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let refused = |types: &[DataType], args: &[ArrayRef], rows| {
            Arguments::new(&signature(types, false), args, rows)
                .err()
                .unwrap()
        };
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, i64::MAX]));
        assert_eq!(
            refused(&[], &[Arc::clone(&numbers)], 3),
            "it takes 0 and got 1"
        );
        assert_eq!(
            refused(&[DataType::Int64], &[Arc::clone(&numbers)], 4),
            "a0 has 3 rows and the batch 4"
        );
        let text = refused(&[DataType::Int32], &[numbers], 3);
        assert!(
            text.starts_with("a0 is Int64 and cannot become Int32: "),
            "{text}"
        );
    }
}
