//! The result column of a scalar function: packed as it grows, with its nulls and the errors of single rows.

use std::fmt::Display;

use crate::bindings::functions::exports::thalweg::plugin::scalar::Output;
use crate::bindings::functions::thalweg::plugin::columns::{ArrayNode, Batch, RowError};
use crate::schema::DataType;

/// A result column under construction. Every row gets exactly one value, null or error, in row order.
pub struct Results {
    data_type: DataType,
    rows: u32,
    null_count: u32,
    validity: Vec<u8>,
    offsets: Vec<u8>,
    values: Vec<u8>,
    errors: Vec<RowError>,
}

/// A type that a function may return.
pub trait Returned {
    /// The column type that holds it.
    const TYPE: DataType;

    /// Appends it as the next row.
    fn push(self, results: &mut Results);
}

impl Results {
    /// An empty column of `data_type` with room for `rows` rows.
    pub fn new(data_type: DataType, rows: u32) -> Results {
        let capacity = rows as usize;
        let mut results = Results {
            data_type,
            rows: 0,
            null_count: 0,
            validity: Vec::with_capacity(capacity.div_ceil(8)),
            offsets: Vec::new(),
            values: Vec::with_capacity(capacity * data_type.width().unwrap_or(8)),
            errors: Vec::new(),
        };
        if data_type == DataType::Utf8 {
            results.offsets.reserve(4 * (capacity + 1));
            results.offsets.extend_from_slice(&[0; 4]);
        }
        results
    }

    /// Appends a null.
    #[inline]
    pub fn push_null(&mut self) {
        match self.data_type {
            DataType::Boolean => self.push_bit(false),
            DataType::Utf8 => self.push_offset(),
            DataType::Int32 => self.values.extend_from_slice(&[0; 4]),
            DataType::Int64 | DataType::Float64 => self.values.extend_from_slice(&[0; 8]),
        }
        self.null_count += 1;
        self.finish_row(false);
    }

    /// Appends a null, and says why this row has no value.
    pub fn push_error(&mut self, message: String) {
        self.errors.push(RowError {
            row: self.rows,
            message,
        });
        self.push_null();
    }

    pub(crate) fn finish(mut self) -> Output {
        let (rows, errors) = (self.rows, std::mem::take(&mut self.errors));
        let (node, buffers) = self.into_parts();
        Output {
            data: Batch {
                rows,
                nodes: vec![node],
                buffers,
            },
            errors,
        }
    }

    /// The column's node and buffers, without the errors. For the host's tests.
    #[doc(hidden)]
    pub fn into_parts(self) -> (ArrayNode, Vec<Vec<u8>>) {
        let validity = if self.null_count == 0 {
            Vec::new()
        } else {
            self.validity
        };
        let buffers = match self.data_type {
            DataType::Utf8 => vec![validity, self.offsets, self.values],
            _ => vec![validity, self.values],
        };
        (
            ArrayNode {
                length: self.rows,
                null_count: self.null_count,
            },
            buffers,
        )
    }

    #[inline(always)]
    fn push_bit(&mut self, value: bool) {
        set_next_bit(&mut self.values, self.rows, value);
    }

    #[inline(always)]
    fn push_offset(&mut self) {
        let end = i32::try_from(self.values.len()).expect("a result column stays under 2 GiB");
        self.offsets.extend_from_slice(&end.to_le_bytes());
    }

    #[inline(always)]
    fn finish_row(&mut self, valid: bool) {
        set_next_bit(&mut self.validity, self.rows, valid);
        self.rows += 1;
    }
}

#[inline(always)]
fn set_next_bit(bits: &mut Vec<u8>, index: u32, value: bool) {
    if index.is_multiple_of(8) {
        bits.push(0);
    }
    let last = bits.len() - 1;
    bits[last] |= u8::from(value) << (index % 8);
}

macro_rules! returned {
    ($type:ty, $data_type:ident, |$value:ident, $results:ident| $push:expr) => {
        impl Returned for $type {
            const TYPE: DataType = DataType::$data_type;

            #[inline(always)]
            fn push(self, $results: &mut Results) {
                let $value = self;
                $push;
                $results.finish_row(true);
            }
        }

        impl Returned for Option<$type> {
            const TYPE: DataType = DataType::$data_type;

            #[inline(always)]
            fn push(self, results: &mut Results) {
                match self {
                    Some(value) => value.push(results),
                    None => results.push_null(),
                }
            }
        }
    };
}

returned!(i32, Int32, |value, results| results
    .values
    .extend_from_slice(&value.to_le_bytes()));
returned!(i64, Int64, |value, results| results
    .values
    .extend_from_slice(&value.to_le_bytes()));
returned!(f64, Float64, |value, results| results
    .values
    .extend_from_slice(&value.to_le_bytes()));
returned!(bool, Boolean, |value, results| results.push_bit(value));
returned!(&str, Utf8, |value, results| {
    results.values.extend_from_slice(value.as_bytes());
    results.push_offset();
});
returned!(String, Utf8, |value, results| {
    results.values.extend_from_slice(value.as_bytes());
    results.push_offset();
});

/// A row's error is its own: the other rows keep their values.
impl<T: Returned, E: Display> Returned for Result<T, E> {
    const TYPE: DataType = T::TYPE;

    #[inline(always)]
    fn push(self, results: &mut Results) {
        match self {
            Ok(value) => value.push(results),
            Err(error) => results.push_error(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_with_nulls_and_an_error_is_packed() {
        let mut results = Results::new(DataType::Utf8, 4);
        Ok::<_, String>(Some("late")).push(&mut results);
        None::<String>.push(&mut results);
        Err::<&str, _>("no such delay").push(&mut results);
        "on time".push(&mut results);
        let output = results.finish();
        assert_eq!(output.data.rows, 4);
        assert_eq!(output.data.nodes[0].null_count, 2);
        assert_eq!(output.data.buffers[0], [0b1001]);
        assert_eq!(output.data.buffers[2], b"lateon time");
        let offsets: Vec<i32> = output.data.buffers[1]
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&bytes| i32::from_le_bytes(bytes))
            .collect();
        assert_eq!(offsets, [0, 4, 4, 4, 11]);
        assert_eq!(output.errors.len(), 1);
        assert_eq!(
            (output.errors[0].row, output.errors[0].message.as_str()),
            (2, "no such delay")
        );
    }

    #[test]
    fn booleans_are_bits_and_no_nulls_means_no_bitmap() {
        let mut results = Results::new(DataType::Boolean, 9);
        for row in 0..9 {
            (row % 2 == 0).push(&mut results);
        }
        let output = results.finish();
        assert_eq!(output.data.buffers, [vec![], vec![0b0101_0101, 1]]);
    }
}
