//! Argument columns: packed buffers read in place, a value at a time.
//!
//! ```text
//! fixed width   validity bits | values, 4 or 8 bytes each
//! boolean       validity bits | value bits
//! text          validity bits | rows + 1 offsets, i32 | UTF-8
//! ```
//!
//! A column of one row in a batch of many is a constant: every row reads slot 0.

use crate::bindings::functions::thalweg::plugin::columns::{ArrayNode, Batch, Fault};
use crate::schema::DataType;

/// One argument's column of a batch, checked against its type.
pub struct Column<'a> {
    /// 1, or 0 for a constant column: a row number times this is the slot.
    step: usize,
    /// `None` when no slot is null.
    validity: Option<&'a [u8]>,
    /// Empty unless the column is text.
    offsets: &'a [[u8; 4]],
    values: &'a [u8],
}

/// A type that a function may take as an argument.
pub trait Argument<'a>: Sized {
    /// The column type that holds it.
    const TYPE: DataType;
    /// Whether the function sees nulls (`Option`) or is not asked about them.
    const NULLABLE: bool;

    /// The value in `row`; `None` when it is null and the type cannot say so.
    fn read(column: &Column<'a>, row: usize) -> Option<Self>;
}

/// The columns of `batch`, which must have `types`.
///
/// # Errors
/// [`Fault::InvalidArgument`] when number, length or layout of the columns is not as `types` say.
pub(crate) fn columns<'a, const N: usize>(
    batch: &'a Batch,
    types: [DataType; N],
) -> Result<[Column<'a>; N], Fault> {
    let expected: usize = types.iter().map(|data_type| data_type.buffer_count()).sum();
    if batch.nodes.len() != N || batch.buffers.len() != expected {
        return Err(Fault::InvalidArgument(format!(
            "the function takes {N} arguments in {expected} buffers and got {} in {}",
            batch.nodes.len(),
            batch.buffers.len()
        )));
    }
    let mut buffers = batch.buffers.as_slice();
    let mut failed = None;
    let columns = std::array::from_fn(|i| {
        let (own, rest) = buffers.split_at(types[i].buffer_count());
        buffers = rest;
        Column::new(&batch.nodes[i], batch.rows, own, types[i]).unwrap_or_else(|reason| {
            failed.get_or_insert(Fault::InvalidArgument(format!("argument {i} {reason}")));
            Column {
                step: 0,
                validity: None,
                offsets: &[],
                values: &[],
            }
        })
    });
    match failed {
        None => Ok(columns),
        Some(fault) => Err(fault),
    }
}

impl<'a> Column<'a> {
    fn new(
        node: &ArrayNode,
        rows: u32,
        buffers: &'a [Vec<u8>],
        data_type: DataType,
    ) -> Result<Column<'a>, &'static str> {
        let length = node.length as usize;
        let step = match node.length {
            length if length == rows => 1,
            1 => 0,
            _ => return Err("has another number of rows than the batch"),
        };
        let bitmap = length.div_ceil(8);
        let validity = (node.null_count > 0).then_some(buffers[0].as_slice());
        if validity.is_some_and(|bits| bits.len() < bitmap) {
            return Err("has a validity bitmap that is too short");
        }
        let (offsets, values) = match data_type {
            DataType::Utf8 => (buffers[1].as_chunks::<4>().0, buffers[2].as_slice()),
            _ => (&[][..], buffers[1].as_slice()),
        };
        let fits = match data_type {
            DataType::Boolean => values.len() >= bitmap,
            DataType::Utf8 => offsets.len() == length + 1,
            DataType::Int32 | DataType::Int64 | DataType::Float64 => data_type
                .width()
                .is_some_and(|width| values.len() == length * width),
        };
        if !fits {
            return Err("has buffers of the wrong length");
        }
        Ok(Column {
            step,
            validity,
            offsets,
            values,
        })
    }

    #[inline(always)]
    fn is_null(&self, slot: usize) -> bool {
        self.validity.is_some_and(|bits| !bit(bits, slot))
    }

    #[inline(always)]
    fn chunk<const W: usize>(&self, slot: usize) -> [u8; W] {
        self.values.as_chunks::<W>().0[slot]
    }

    #[inline(always)]
    fn text(&self, slot: usize) -> &'a str {
        let start = u32::from_le_bytes(self.offsets[slot]) as usize;
        let end = u32::from_le_bytes(self.offsets[slot + 1]) as usize;
        // The host sends what arrow checked; a wrong byte here is a broken host, and a panic says so.
        std::str::from_utf8(&self.values[start..end]).expect("the host sends UTF-8")
    }
}

#[inline(always)]
fn bit(bits: &[u8], index: usize) -> bool {
    bits[index / 8] >> (index % 8) & 1 == 1
}

macro_rules! argument {
    ($type:ty, $data_type:ident, |$column:ident, $slot:ident| $read:expr) => {
        impl<'a> Argument<'a> for $type {
            const TYPE: DataType = DataType::$data_type;
            const NULLABLE: bool = false;

            #[inline(always)]
            fn read($column: &Column<'a>, row: usize) -> Option<Self> {
                let $slot = row * $column.step;
                if $column.is_null($slot) {
                    None
                } else {
                    Some($read)
                }
            }
        }
    };
}

argument!(i32, Int32, |column, slot| i32::from_le_bytes(
    column.chunk(slot)
));
argument!(i64, Int64, |column, slot| i64::from_le_bytes(
    column.chunk(slot)
));
argument!(f64, Float64, |column, slot| f64::from_le_bytes(
    column.chunk(slot)
));
argument!(bool, Boolean, |column, slot| bit(column.values, slot));
argument!(&'a str, Utf8, |column, slot| column.text(slot));

impl<'a, T: Argument<'a>> Argument<'a> for Option<T> {
    const TYPE: DataType = T::TYPE;
    const NULLABLE: bool = true;

    #[inline(always)]
    fn read(column: &Column<'a>, row: usize) -> Option<Self> {
        Some(T::read(column, row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_constants_are_read() {
        let batch = Batch {
            rows: 3,
            nodes: vec![
                ArrayNode {
                    length: 3,
                    null_count: 1,
                },
                ArrayNode {
                    length: 1,
                    null_count: 0,
                },
            ],
            buffers: vec![
                vec![0b101],
                [1i64, 0, -3]
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect(),
                vec![],
                [0i32, 2]
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect(),
                b"mi".to_vec(),
            ],
        };
        let [numbers, unit] = columns(&batch, [DataType::Int64, DataType::Utf8]).unwrap();
        let read: Vec<Option<i64>> = (0..3).map(|row| i64::read(&numbers, row)).collect();
        assert_eq!(read, [Some(1), None, Some(-3)]);
        assert_eq!(Option::<i64>::read(&numbers, 1), Some(None));
        assert_eq!(<&str>::read(&unit, 2), Some("mi"));
    }

    #[test]
    fn columns_of_another_shape_are_refused() {
        let batch = Batch {
            rows: 2,
            nodes: vec![ArrayNode {
                length: 2,
                null_count: 0,
            }],
            buffers: vec![vec![], vec![0; 12]],
        };
        let fault = columns(&batch, [DataType::Int64]).err().unwrap();
        assert!(
            matches!(&fault, Fault::InvalidArgument(text) if text == "argument 0 has buffers of the wrong length"),
            "{fault:?}"
        );
        assert!(columns(&batch, [DataType::Int64, DataType::Int64]).is_err());
    }
}
