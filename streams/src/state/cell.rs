//! Arrow columns one value at a time: what keys, rows and group tables are written from and read back into.
//!
//! Many Arrow types share one physical form: a timestamp, a date and an integer are all signed integers; a list and a
//! text are both bytes. [`Physical`] names the form, [`Column`] reads a column of it, [`ColumnBuilder`] writes one.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BinaryViewArray, BinaryViewBuilder, BooleanArray,
    BooleanBufferBuilder, NullBufferBuilder, StringViewArray, StringViewBuilder, make_array,
    new_null_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    ArrowNativeType, DataType, Date32Type, Date64Type, Decimal128Type, DurationMicrosecondType,
    DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};

use super::nested::{self, NESTING_MAX, NestedBuilder};
use crate::json::{is_json, json_array, json_texts};

/// The form in which values of an Arrow type lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Physical {
    /// The type that holds nothing but NULL.
    Null,
    Bool,
    I8,
    I16,
    I32,
    I64,
    I128,
    U8,
    U16,
    U32,
    U64,
    F32,
    F64,
    /// Strings and binary values, views or not; JSON; lists, structs and maps (`nested.rs`).
    Bytes,
}

impl Physical {
    /// The form of a type; `None` for exotic types, which state does not hold.
    pub(crate) fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Bool,
            DataType::Int8 => Self::I8,
            DataType::Int16 => Self::I16,
            DataType::Int32 | DataType::Date32 | DataType::Time32(_) => Self::I32,
            DataType::Int64
            | DataType::Date64
            | DataType::Time64(_)
            | DataType::Timestamp(..)
            | DataType::Duration(_) => Self::I64,
            DataType::Decimal128(..) => Self::I128,
            DataType::UInt8 => Self::U8,
            DataType::UInt16 => Self::U16,
            DataType::UInt32 => Self::U32,
            DataType::UInt64 => Self::U64,
            DataType::Float32 => Self::F32,
            DataType::Float64 => Self::F64,
            DataType::Utf8 | DataType::Utf8View | DataType::Binary | DataType::BinaryView => {
                Self::Bytes
            }
            json if is_json(json) => Self::Bytes,
            nested if nested::is_nested(nested) && nested::is_storable(nested, NESTING_MAX) => {
                Self::Bytes
            }
            _ => return None,
        })
    }
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Wide(i128),
    UInt(u64),
    F32(f32),
    F64(f64),
    Bytes(&'a [u8]),
}

/// The one NaN, and one zero: floats that are equal in SQL must be equal in bytes.
#[inline]
pub(crate) fn canonical_f64(value: f64) -> f64 {
    if value.is_nan() {
        f64::NAN
    } else {
        value + 0.0
    }
}

/// As [`canonical_f64`].
#[inline]
pub(crate) fn canonical_f32(value: f32) -> f32 {
    if value.is_nan() {
        f32::NAN
    } else {
        value + 0.0
    }
}

/// A column, ready to be read value by value.
#[derive(Debug)]
pub(crate) struct Column<'a> {
    /// Which values are there; `None` = all.
    pub(crate) nulls: Option<&'a NullBuffer>,
    /// The values.
    pub(crate) values: Values<'a>,
}

/// Typed access to the values of a column.
#[derive(Debug)]
pub(crate) enum Values<'a> {
    Null,
    Bool(&'a BooleanBuffer),
    I8(&'a [i8]),
    I16(&'a [i16]),
    I32(&'a [i32]),
    I64(&'a [i64]),
    I128(&'a [i128]),
    U8(&'a [u8]),
    U16(&'a [u16]),
    U32(&'a [u32]),
    U64(&'a [u64]),
    F32(&'a [f32]),
    F64(&'a [f64]),
    Utf8View(&'a StringViewArray),
    BinaryView(&'a BinaryViewArray),
    /// Offsets and data of a string or binary array, or of nested values as bytes.
    Plain(Cow<'a, OffsetBuffer<i32>>, Cow<'a, [u8]>),
}

impl<'a> Column<'a> {
    /// Opens a column; `None` where [`Physical::of`] knows no form for its type.
    pub(crate) fn of(array: &'a ArrayRef) -> Option<Self> {
        let mut nulls = array.nulls();
        let values = match array.data_type() {
            DataType::Null => Values::Null,
            DataType::Boolean => Values::Bool(array.as_boolean().values()),
            DataType::Int8 => Values::I8(array.as_primitive::<Int8Type>().values()),
            DataType::Int16 => Values::I16(array.as_primitive::<Int16Type>().values()),
            DataType::Int32 => Values::I32(array.as_primitive::<Int32Type>().values()),
            DataType::Date32 => Values::I32(array.as_primitive::<Date32Type>().values()),
            DataType::Time32(TimeUnit::Second) => {
                Values::I32(array.as_primitive::<Time32SecondType>().values())
            }
            DataType::Time32(_) => {
                Values::I32(array.as_primitive::<Time32MillisecondType>().values())
            }
            DataType::Int64 => Values::I64(array.as_primitive::<Int64Type>().values()),
            DataType::Date64 => Values::I64(array.as_primitive::<Date64Type>().values()),
            DataType::Time64(TimeUnit::Nanosecond) => {
                Values::I64(array.as_primitive::<Time64NanosecondType>().values())
            }
            DataType::Time64(_) => {
                Values::I64(array.as_primitive::<Time64MicrosecondType>().values())
            }
            DataType::Timestamp(TimeUnit::Second, _) => {
                Values::I64(array.as_primitive::<TimestampSecondType>().values())
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                Values::I64(array.as_primitive::<TimestampMillisecondType>().values())
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Values::I64(array.as_primitive::<TimestampMicrosecondType>().values())
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                Values::I64(array.as_primitive::<TimestampNanosecondType>().values())
            }
            DataType::Duration(TimeUnit::Second) => {
                Values::I64(array.as_primitive::<DurationSecondType>().values())
            }
            DataType::Duration(TimeUnit::Millisecond) => {
                Values::I64(array.as_primitive::<DurationMillisecondType>().values())
            }
            DataType::Duration(TimeUnit::Microsecond) => {
                Values::I64(array.as_primitive::<DurationMicrosecondType>().values())
            }
            DataType::Duration(TimeUnit::Nanosecond) => {
                Values::I64(array.as_primitive::<DurationNanosecondType>().values())
            }
            DataType::Decimal128(..) => {
                Values::I128(array.as_primitive::<Decimal128Type>().values())
            }
            DataType::UInt8 => Values::U8(array.as_primitive::<UInt8Type>().values()),
            DataType::UInt16 => Values::U16(array.as_primitive::<UInt16Type>().values()),
            DataType::UInt32 => Values::U32(array.as_primitive::<UInt32Type>().values()),
            DataType::UInt64 => Values::U64(array.as_primitive::<UInt64Type>().values()),
            DataType::Float32 => Values::F32(array.as_primitive::<Float32Type>().values()),
            DataType::Float64 => Values::F64(array.as_primitive::<Float64Type>().values()),
            DataType::Utf8View => Values::Utf8View(array.as_string_view()),
            DataType::BinaryView => Values::BinaryView(array.as_binary_view()),
            DataType::Utf8 => {
                let strings = array.as_string::<i32>();
                Values::Plain(
                    Cow::Borrowed(strings.offsets()),
                    Cow::Borrowed(strings.values()),
                )
            }
            DataType::Binary => {
                let values = array.as_binary::<i32>();
                Values::Plain(
                    Cow::Borrowed(values.offsets()),
                    Cow::Borrowed(values.values()),
                )
            }
            json if is_json(json) => {
                let texts = json_texts(array)?;
                nulls = nulls.or(texts.nulls());
                Values::Utf8View(texts)
            }
            nested if nested::is_nested(nested) => {
                let (offsets, bytes) = nested::encode(array)?;
                Values::Plain(Cow::Owned(offsets), Cow::Owned(bytes))
            }
            _ => return None,
        };
        Some(Self {
            nulls: nulls.filter(|nulls| nulls.null_count() > 0),
            values,
        })
    }

    /// Whether row `row` is NULL.
    #[inline]
    pub(crate) fn is_null(&self, row: usize) -> bool {
        matches!(self.values, Values::Null) || self.nulls.is_some_and(|nulls| nulls.is_null(row))
    }

    /// The value of row `row`.
    #[inline]
    pub(crate) fn cell(&self, row: usize) -> Cell<'_> {
        if self.is_null(row) {
            return Cell::Null;
        }
        match &self.values {
            Values::Null => Cell::Null,
            Values::Bool(values) => Cell::Bool(values.value(row)),
            Values::I8(values) => Cell::Int(i64::from(values[row])),
            Values::I16(values) => Cell::Int(i64::from(values[row])),
            Values::I32(values) => Cell::Int(i64::from(values[row])),
            Values::I64(values) => Cell::Int(values[row]),
            Values::I128(values) => Cell::Wide(values[row]),
            Values::U8(values) => Cell::UInt(u64::from(values[row])),
            Values::U16(values) => Cell::UInt(u64::from(values[row])),
            Values::U32(values) => Cell::UInt(u64::from(values[row])),
            Values::U64(values) => Cell::UInt(values[row]),
            Values::F32(values) => Cell::F32(canonical_f32(values[row])),
            Values::F64(values) => Cell::F64(canonical_f64(values[row])),
            Values::Utf8View(values) => Cell::Bytes(values.value(row).as_bytes()),
            Values::BinaryView(values) => Cell::Bytes(values.value(row)),
            Values::Plain(offsets, data) => {
                Cell::Bytes(&data[offsets[row] as usize..offsets[row + 1] as usize])
            }
        }
    }
}

/// Builds an array of a fixed-width type from its native values.
///
/// # Panics
/// If `N` is not the native type of `data_type`.
pub(crate) fn fixed_array<N: ArrowNativeType>(
    data_type: &DataType,
    values: Vec<N>,
    nulls: Option<NullBuffer>,
) -> ArrayRef {
    let data = ArrayData::builder(data_type.clone())
        .len(values.len())
        .add_buffer(Buffer::from_vec(values))
        .nulls(nulls)
        .build()
        .expect("one value a row, of the type's own width");
    make_array(data)
}

/// Builds a column value by value.
#[derive(Debug)]
pub(crate) struct ColumnBuilder {
    data_type: DataType,
    nulls: NullBufferBuilder,
    values: Building,
}

#[derive(Debug)]
enum Building {
    Null(usize),
    Bool(BooleanBufferBuilder),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    I128(Vec<i128>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Text(StringViewBuilder),
    Binary(BinaryViewBuilder),
    PlainText(Vec<i32>, Vec<u8>),
    PlainBinary(Vec<i32>, Vec<u8>),
    Nested(Box<NestedBuilder>),
}

/// A value that does not fit the column that it should go into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Misfit;

impl ColumnBuilder {
    /// An empty column; `None` where [`Physical::of`] knows no form for the type.
    pub(crate) fn new(data_type: &DataType, capacity: usize) -> Option<Self> {
        let values = match Physical::of(data_type)? {
            Physical::Null => Building::Null(0),
            Physical::Bool => Building::Bool(BooleanBufferBuilder::new(capacity)),
            Physical::I8 => Building::I8(Vec::with_capacity(capacity)),
            Physical::I16 => Building::I16(Vec::with_capacity(capacity)),
            Physical::I32 => Building::I32(Vec::with_capacity(capacity)),
            Physical::I64 => Building::I64(Vec::with_capacity(capacity)),
            Physical::I128 => Building::I128(Vec::with_capacity(capacity)),
            Physical::U8 => Building::U8(Vec::with_capacity(capacity)),
            Physical::U16 => Building::U16(Vec::with_capacity(capacity)),
            Physical::U32 => Building::U32(Vec::with_capacity(capacity)),
            Physical::U64 => Building::U64(Vec::with_capacity(capacity)),
            Physical::F32 => Building::F32(Vec::with_capacity(capacity)),
            Physical::F64 => Building::F64(Vec::with_capacity(capacity)),
            Physical::Bytes => match data_type {
                DataType::Utf8View => Building::Text(StringViewBuilder::with_capacity(capacity)),
                DataType::BinaryView => {
                    Building::Binary(BinaryViewBuilder::with_capacity(capacity))
                }
                DataType::Utf8 => Building::PlainText(vec![0], Vec::new()),
                json if is_json(json) => Building::Text(StringViewBuilder::with_capacity(capacity)),
                nested if nested::is_nested(nested) => {
                    Building::Nested(Box::new(NestedBuilder::new(nested, capacity)?))
                }
                _ => Building::PlainBinary(vec![0], Vec::new()),
            },
        };
        Some(Self {
            data_type: data_type.clone(),
            nulls: NullBufferBuilder::new(capacity),
            values,
        })
    }

    /// Adds one value; a value of another form, out of range or no UTF-8, is a [`Misfit`], and nothing is added (of a nested
    /// value, perhaps parts: the column is then of no further use).
    pub(crate) fn push(&mut self, cell: Cell<'_>) -> Result<(), Misfit> {
        match (&mut self.values, cell) {
            (Building::Null(rows), Cell::Null) => {
                *rows += 1;
                return Ok(());
            }
            (_, Cell::Null) => {
                self.push_null();
                return Ok(());
            }
            (Building::Bool(values), Cell::Bool(value)) => values.append(value),
            (Building::I8(values), Cell::Int(value)) => {
                values.push(i8::try_from(value).map_err(|_| Misfit)?)
            }
            (Building::I16(values), Cell::Int(value)) => {
                values.push(i16::try_from(value).map_err(|_| Misfit)?);
            }
            (Building::I32(values), Cell::Int(value)) => {
                values.push(i32::try_from(value).map_err(|_| Misfit)?);
            }
            (Building::I64(values), Cell::Int(value)) => values.push(value),
            (Building::I128(values), Cell::Wide(value)) => values.push(value),
            (Building::U8(values), Cell::UInt(value)) => {
                values.push(u8::try_from(value).map_err(|_| Misfit)?)
            }
            (Building::U16(values), Cell::UInt(value)) => {
                values.push(u16::try_from(value).map_err(|_| Misfit)?);
            }
            (Building::U32(values), Cell::UInt(value)) => {
                values.push(u32::try_from(value).map_err(|_| Misfit)?);
            }
            (Building::U64(values), Cell::UInt(value)) => values.push(value),
            (Building::F32(values), Cell::F32(value)) => values.push(value),
            (Building::F64(values), Cell::F64(value)) => values.push(value),
            (Building::Text(values), Cell::Bytes(value)) => {
                values.append_value(std::str::from_utf8(value).map_err(|_| Misfit)?);
            }
            (Building::Binary(values), Cell::Bytes(value)) => values.append_value(value),
            (Building::PlainText(offsets, data), Cell::Bytes(value)) => {
                std::str::from_utf8(value).map_err(|_| Misfit)?;
                push_plain(offsets, data, value)?;
            }
            (Building::PlainBinary(offsets, data), Cell::Bytes(value)) => {
                push_plain(offsets, data, value)?
            }
            (Building::Nested(values), Cell::Bytes(value)) => {
                return values.push(value).map_err(|_| Misfit);
            }
            _ => return Err(Misfit),
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// Adds a NULL.
    pub(crate) fn push_null(&mut self) {
        match &mut self.values {
            Building::Null(rows) => {
                *rows += 1;
                return;
            }
            Building::Bool(values) => values.append(false),
            Building::I8(values) => values.push(0),
            Building::I16(values) => values.push(0),
            Building::I32(values) => values.push(0),
            Building::I64(values) => values.push(0),
            Building::I128(values) => values.push(0),
            Building::U8(values) => values.push(0),
            Building::U16(values) => values.push(0),
            Building::U32(values) => values.push(0),
            Building::U64(values) => values.push(0),
            Building::F32(values) => values.push(0.0),
            Building::F64(values) => values.push(0.0),
            Building::Text(values) => {
                values.append_null();
                return;
            }
            Building::Binary(values) => {
                values.append_null();
                return;
            }
            Building::PlainText(offsets, _) | Building::PlainBinary(offsets, _) => {
                offsets.push(offsets.last().copied().unwrap_or(0));
            }
            Building::Nested(values) => {
                values.push_null();
                return;
            }
        }
        self.nulls.append_null();
    }

    /// The column.
    pub(crate) fn finish(mut self) -> ArrayRef {
        let nulls = self.nulls.finish();
        let data_type = &self.data_type;
        match self.values {
            Building::Null(rows) => new_null_array(&DataType::Null, rows),
            Building::Bool(mut values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Building::I8(values) => fixed_array(data_type, values, nulls),
            Building::I16(values) => fixed_array(data_type, values, nulls),
            Building::I32(values) => fixed_array(data_type, values, nulls),
            Building::I64(values) => fixed_array(data_type, values, nulls),
            Building::I128(values) => fixed_array(data_type, values, nulls),
            Building::U8(values) => fixed_array(data_type, values, nulls),
            Building::U16(values) => fixed_array(data_type, values, nulls),
            Building::U32(values) => fixed_array(data_type, values, nulls),
            Building::U64(values) => fixed_array(data_type, values, nulls),
            Building::F32(values) => fixed_array(data_type, values, nulls),
            Building::F64(values) => fixed_array(data_type, values, nulls),
            Building::Text(mut values) if is_json(data_type) => json_array(values.finish()),
            Building::Text(mut values) => Arc::new(values.finish()),
            Building::Nested(values) => values.finish(),
            Building::Binary(mut values) => Arc::new(values.finish()),
            Building::PlainText(offsets, data) | Building::PlainBinary(offsets, data) => {
                let data = ArrayData::builder(data_type.clone())
                    .len(offsets.len() - 1)
                    .add_buffer(Buffer::from_vec(offsets))
                    .add_buffer(Buffer::from_vec(data))
                    .nulls(nulls)
                    .build()
                    .expect("offsets rise and text was checked when it was added");
                make_array(data)
            }
        }
    }
}

fn push_plain(offsets: &mut Vec<i32>, data: &mut Vec<u8>, value: &[u8]) -> Result<(), Misfit> {
    let end = i32::try_from(data.len() + value.len()).map_err(|_| Misfit)?;
    data.extend_from_slice(value);
    offsets.push(end);
    Ok(())
}
