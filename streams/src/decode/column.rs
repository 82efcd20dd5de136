//! Typed columns that are filled row by row, in place, and become Arrow arrays at the end.
//!
//! ```text
//! Slots    row 0 1 2 …              a row that fails is filled again by the next record
//!   values  ▇ ▇ ▇    one vector a column, sized in advance
//!   filled  one bit a column and row: unset = NULL; a duplicate field simply writes again, so the last one wins
//! ```
//!
//! Texts and bytes are views into the records' buffers (`views.rs`).
//!
//! Invariant: all vectors of a column have the same length, which is the number of records at hand.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, Time64MicrosecondArray,
    TimestampMicrosecondArray, make_view,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::datatypes::{DataType, TimeUnit};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::calendar;
use super::cursor::{Cursor, unescape};
use super::fault::Fault;
use super::nested::{ListColumn, MapColumn, StructColumn};
use super::number;
use super::views::{INLINE_MAX, Views, take, text_array};
use crate::TextLength;
use crate::json::{is_json, json_array};
use crate::state::NESTING_MAX;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Where the JSON text at hand lies, for views that point into it.
#[derive(Debug, Clone, Copy)]
pub(super) enum TextPlace {
    /// In this buffer of the records' values, from this offset on.
    Shared { buffer: u32, offset: u32 },
    /// Somewhere that views cannot point to.
    Copied,
}

/// One column being filled.
#[derive(Debug)]
pub(super) enum Column {
    Boolean(Vec<bool>),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Text(Views),
    Bytes(Views),
    Decimal {
        values: Vec<i128>,
        precision: u8,
        scale: i8,
    },
    Date(Vec<i32>),
    Timestamp {
        values: Vec<i64>,
        zone: Option<Arc<str>>,
        unit_us: Option<i64>,
    },
    /// Time of day, µs.
    Time(Vec<i64>),
    /// JSON documents as their texts.
    Json(Views),
    List(Box<ListColumn>),
    Struct(Box<StructColumn>),
    Map(Box<MapColumn>),
}

impl Column {
    /// An empty column; `None` for a type that JSON is not decoded to. `unit_us` is what an integer in a timestamp
    /// column counts.
    pub(super) fn new(data_type: &DataType, unit_us: Option<i64>) -> Option<Self> {
        Self::within(data_type, unit_us, NESTING_MAX)
    }

    /// [`Column::new`] for what may still nest so many levels.
    pub(super) fn within(
        data_type: &DataType,
        unit_us: Option<i64>,
        levels: usize,
    ) -> Option<Self> {
        let below = levels.checked_sub(1);
        Some(match data_type {
            DataType::Boolean => Self::Boolean(Vec::new()),
            DataType::Int8 => Self::Int8(Vec::new()),
            DataType::Int16 => Self::Int16(Vec::new()),
            DataType::Int32 => Self::Int32(Vec::new()),
            DataType::Int64 => Self::Int64(Vec::new()),
            DataType::Float32 => Self::Float32(Vec::new()),
            DataType::Float64 => Self::Float64(Vec::new()),
            DataType::Utf8View => Self::Text(Views::default()),
            DataType::BinaryView => Self::Bytes(Views::default()),
            DataType::Decimal128(precision, scale) => Self::Decimal {
                values: Vec::new(),
                precision: *precision,
                scale: *scale,
            },
            DataType::Date32 => Self::Date(Vec::new()),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => Self::Timestamp {
                values: Vec::new(),
                zone: zone.clone(),
                unit_us,
            },
            DataType::Time64(TimeUnit::Microsecond) => Self::Time(Vec::new()),
            json if is_json(json) => Self::Json(Views::default()),
            DataType::List(field) => Self::List(Box::new(ListColumn::new(field, unit_us, below?)?)),
            DataType::Struct(fields) => {
                Self::Struct(Box::new(StructColumn::new(fields, unit_us, below?)?))
            }
            DataType::Map(entries, sorted) => {
                Self::Map(Box::new(MapColumn::new(entries, *sorted, unit_us, below?)?))
            }
            _ => return None,
        })
    }

    /// The same, whose texts have a length.
    pub(super) fn of_length(mut self, length: Option<TextLength>) -> Self {
        if let Self::Text(views) = &mut self {
            views.length = length;
        }
        self
    }

    /// Forgets everything and makes room for so many rows.
    pub(super) fn start(&mut self, rows: usize) {
        match self {
            Self::Boolean(values) => *values = vec![false; rows],
            Self::Int8(values) => *values = vec![0; rows],
            Self::Int16(values) => *values = vec![0; rows],
            Self::Int32(values) | Self::Date(values) => *values = vec![0; rows],
            Self::Int64(values) | Self::Timestamp { values, .. } | Self::Time(values) => {
                *values = vec![0; rows];
            }
            Self::Float32(values) => *values = vec![0.0; rows],
            Self::Float64(values) => *values = vec![0.0; rows],
            Self::Decimal { values, .. } => *values = vec![0; rows],
            Self::Text(views) | Self::Bytes(views) | Self::Json(views) => {
                *views = Views {
                    views: vec![0; rows],
                    own: Vec::new(),
                    shares: false,
                    length: views.length,
                };
            }
            Self::List(column) => column.start(rows),
            Self::Struct(column) => column.start(rows),
            Self::Map(column) => column.start(rows),
        }
    }

    /// Makes room for so many rows, keeping what is there.
    pub(super) fn grow(&mut self, rows: usize) {
        match self {
            Self::Boolean(values) => values.resize(rows, false),
            Self::Int8(values) => values.resize(rows, 0),
            Self::Int16(values) => values.resize(rows, 0),
            Self::Int32(values) | Self::Date(values) => values.resize(rows, 0),
            Self::Int64(values) | Self::Timestamp { values, .. } | Self::Time(values) => {
                values.resize(rows, 0);
            }
            Self::Float32(values) => values.resize(rows, 0.0),
            Self::Float64(values) => values.resize(rows, 0.0),
            Self::Decimal { values, .. } => values.resize(rows, 0),
            Self::Text(views) | Self::Bytes(views) | Self::Json(views) => {
                views.views.resize(rows, 0);
            }
            Self::List(column) => column.grow(rows),
            Self::Struct(column) => column.grow(rows),
            Self::Map(column) => column.grow(rows),
        }
    }

    /// Lets go of what the rows hold beside their cells, of a column that is filled again and again.
    pub(super) fn restart(&mut self) {
        match self {
            Self::Text(views) | Self::Bytes(views) | Self::Json(views) => views.own.clear(),
            Self::List(column) => column.restart(),
            Self::Struct(column) => column.restart(),
            Self::Map(column) => column.restart(),
            _ => {}
        }
    }

    /// Reads the JSON value that begins here into `row`; `false` for null.
    #[inline(always)]
    pub(super) fn read(
        &mut self,
        row: usize,
        cursor: &mut Cursor<'_>,
        place: TextPlace,
    ) -> Result<bool, Fault> {
        let start = cursor.at;
        let first = cursor.peek();
        let is_number = first == b'-' || first.is_ascii_digit();
        match self {
            Self::Int64(values) if is_number => values[row] = number::integer(cursor)?,
            Self::Text(views) if first == b'"' => {
                let span = cursor.string()?;
                views.text(row, cursor.bytes, span, place)?;
            }
            Self::Timestamp {
                values, unit_us, ..
            } if first == b'"' || is_number => {
                values[row] = if first == b'"' {
                    quoted(cursor, |text| {
                        calendar::timestamp(text).ok_or_else(|| Fault::not_a_time(start))
                    })?
                } else {
                    let unit = unit_us.ok_or_else(|| Fault::integer_time(start))?;
                    let count = number::integer(cursor)?;
                    count
                        .checked_mul(unit)
                        .ok_or_else(|| Fault::does_not_fit(start))?
                };
            }
            Self::Float64(values) if is_number => values[row] = number::double(cursor)?,
            Self::Int32(values) if is_number => values[row] = narrow(cursor)?,
            Self::Int16(values) if is_number => values[row] = narrow(cursor)?,
            Self::Int8(values) if is_number => values[row] = narrow(cursor)?,
            Self::Float32(values) if is_number => values[row] = number::single(cursor)?,
            Self::Boolean(values) if first == b't' => {
                cursor.literal(b"true")?;
                values[row] = true;
            }
            Self::Boolean(values) if first == b'f' => {
                cursor.literal(b"false")?;
                values[row] = false;
            }
            _ if first == b'n' => {
                cursor.literal(b"null")?;
                return Ok(false);
            }
            _ => return self.read_rare(row, cursor, place).map(|()| true),
        }
        Ok(true)
    }

    /// [`Column::read`] for places outside of the hot loop, which alone takes it in.
    #[inline(never)]
    pub(super) fn read_apart(
        &mut self,
        row: usize,
        cursor: &mut Cursor<'_>,
        place: TextPlace,
    ) -> Result<bool, Fault> {
        self.read(row, cursor, place)
    }

    /// The types and spellings that are not worth a place in the hot loop.
    #[inline(never)]
    fn read_rare(
        &mut self,
        row: usize,
        cursor: &mut Cursor<'_>,
        place: TextPlace,
    ) -> Result<(), Fault> {
        let start = cursor.at;
        let first = cursor.peek();
        let is_number = first == b'-' || first.is_ascii_digit();
        match self {
            Self::Decimal {
                values,
                precision,
                scale,
            } if first == b'"' => {
                values[row] = quoted(cursor, |text| {
                    let mut inner = Cursor::new(text);
                    match inner.number() {
                        Ok(number) if inner.at == text.len() => {
                            number::decimal(number, *precision, *scale, start)
                        }
                        _ => Err(Fault::wrong_type(start)),
                    }
                })?;
            }
            Self::Decimal {
                values,
                precision,
                scale,
            } if is_number => {
                values[row] = number::decimal(cursor.number()?, *precision, *scale, start)?;
            }
            Self::Float64(values) if first == b'"' => values[row] = not_finite(cursor)?,
            Self::Float32(values) if first == b'"' => values[row] = not_finite(cursor)? as f32,
            Self::Date(values) if first == b'"' => {
                values[row] = quoted(cursor, |text| {
                    calendar::date(text).ok_or_else(|| Fault::not_a_date(start))
                })?;
            }
            // As Connect and Debezium write dates.
            Self::Date(values) if is_number => {
                let days = number::integer(cursor)?;
                let date = calendar::date_of_days(days);
                values[row] = date.ok_or_else(|| Fault::does_not_fit(start))?;
            }
            Self::Time(values) if first == b'"' => {
                values[row] = quoted(cursor, |text| {
                    calendar::time_of_day(text).ok_or_else(|| Fault::not_a_clock(start))
                })?;
            }
            Self::Json(views) => {
                cursor.check_value()?;
                let raw = &cursor.bytes[start..cursor.at];
                views.set_raw(row, raw, start, place)?;
            }
            Self::List(column) if first == b'[' => column.read(row, cursor, place)?,
            Self::Struct(column) if first == b'{' => column.read(row, cursor, place)?,
            Self::Map(column) if first == b'{' => column.read(row, cursor, place)?,
            Self::Bytes(views) if first == b'"' => quoted(cursor, |text| {
                let from = views.own.len();
                BASE64
                    .decode_vec(text, &mut views.own)
                    .map_err(|_| Fault::not_base64(start))?;
                views.set_own(row, from)
            })?,
            _ if is_number || matches!(first, b'"' | b'{' | b'[' | b't' | b'f') => {
                return Err(Fault::wrong_type(start));
            }
            _ => return Err(Fault::syntax(start, "a value")),
        }
        Ok(())
    }

    /// Sets a text or bytes column to these bytes, copied; other columns stay as they are.
    pub(super) fn set_bytes(&mut self, row: usize, bytes: &[u8]) -> Result<(), Fault> {
        match self {
            Self::Text(views) => {
                let text = std::str::from_utf8(bytes)
                    .map_err(|error| Fault::not_utf8(error.valid_up_to()))?;
                let text = views.fit(text, 0)?;
                views.set_copied(row, text.as_bytes())
            }
            Self::Bytes(views) => views.set_copied(row, bytes),
            _ => Ok(()),
        }
    }

    /// Sets the row to what a text outside of JSON says: a cell of CSV, a whole value.
    ///
    /// # Errors
    /// A text that is no value of the type; places are those in the text.
    pub(super) fn set_text(&mut self, row: usize, text: &[u8]) -> Result<(), Fault> {
        let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
        let is_number = digits > 0 && text.len() - digits <= usize::from(text[0] == b'-');
        match self {
            Self::Text(_) => self.set_bytes(row, text),
            Self::Bytes(views) => {
                let from = views.own.len();
                BASE64
                    .decode_vec(text, &mut views.own)
                    .map_err(|_| Fault::not_base64(0))?;
                views.set_own(row, from)
            }
            Self::Boolean(values) => {
                values[row] = match text.to_ascii_lowercase().as_slice() {
                    b"true" | b"t" | b"1" => true,
                    b"false" | b"f" | b"0" => false,
                    _ => return Err(Fault::does_not_fit(0)),
                };
                Ok(())
            }
            Self::Timestamp { values, .. } if !is_number => {
                values[row] = calendar::timestamp(text).ok_or_else(|| Fault::not_a_time(0))?;
                Ok(())
            }
            Self::Date(values) => {
                values[row] = calendar::date(text).ok_or_else(|| Fault::not_a_date(0))?;
                Ok(())
            }
            Self::Time(values) => {
                values[row] = calendar::time_of_day(text).ok_or_else(|| Fault::not_a_clock(0))?;
                Ok(())
            }
            Self::Json(_) | Self::List(_) | Self::Struct(_) | Self::Map(_) => {
                self.set_json(row, text)
            }
            Self::Float32(_) | Self::Float64(_)
                if matches!(text, b"NaN" | b"Infinity" | b"-Infinity") =>
            {
                self.set_json(row, &[b"\"", text, b"\""].concat())
            }
            _ => self
                .set_json(row, text)
                .map_err(|fault| fault.or_does_not_fit()),
        }
    }

    /// Sets the row to the value that the text is in JSON.
    fn set_json(&mut self, row: usize, text: &[u8]) -> Result<(), Fault> {
        let mut cursor = Cursor::new(text);
        cursor.skip_space();
        if !self.read_apart(row, &mut cursor, TextPlace::Copied)? && !matches!(self, Self::Json(_))
        {
            return Err(Fault::does_not_fit(0));
        }
        cursor.end()
    }

    /// Sets an integer or timestamp column; other columns stay as they are.
    pub(super) fn set_integer(&mut self, row: usize, value: i64) {
        match self {
            Self::Int64(values) | Self::Timestamp { values, .. } => values[row] = value,
            Self::Int32(values) => values[row] = i32::try_from(value).unwrap_or(i32::MAX),
            _ => {}
        }
    }

    /// Sets the row to the type's zero.
    pub(super) fn clear(&mut self, row: usize) {
        match self {
            Self::Boolean(values) => values[row] = false,
            Self::Int8(values) => values[row] = 0,
            Self::Int16(values) => values[row] = 0,
            Self::Int32(values) | Self::Date(values) => values[row] = 0,
            Self::Int64(values) | Self::Timestamp { values, .. } | Self::Time(values) => {
                values[row] = 0;
            }
            Self::Float32(values) => values[row] = 0.0,
            Self::Float64(values) => values[row] = 0.0,
            Self::Decimal { values, .. } => values[row] = 0,
            Self::Text(views) | Self::Bytes(views) => views.views[row] = 0,
            Self::Json(views) => views.views[row] = make_view(b"null", 0, 0),
            Self::List(column) => column.clear(row),
            Self::Struct(column) => column.clear(row),
            Self::Map(column) => column.clear(row),
        }
    }

    /// Whether a row here equals a row of another column of the same type. Both hold their texts themselves.
    pub(super) fn equals(&self, row: usize, other: &Self, other_row: usize) -> bool {
        match (self, other) {
            (Self::Boolean(a), Self::Boolean(b)) => a[row] == b[other_row],
            (Self::Int8(a), Self::Int8(b)) => a[row] == b[other_row],
            (Self::Int16(a), Self::Int16(b)) => a[row] == b[other_row],
            (Self::Int32(a), Self::Int32(b)) | (Self::Date(a), Self::Date(b)) => {
                a[row] == b[other_row]
            }
            (Self::Int64(a), Self::Int64(b))
            | (Self::Time(a), Self::Time(b))
            | (Self::Timestamp { values: a, .. }, Self::Timestamp { values: b, .. }) => {
                a[row] == b[other_row]
            }
            (Self::Float32(a), Self::Float32(b)) => a[row].to_bits() == b[other_row].to_bits(),
            (Self::Float64(a), Self::Float64(b)) => a[row].to_bits() == b[other_row].to_bits(),
            (Self::Decimal { values: a, .. }, Self::Decimal { values: b, .. }) => {
                a[row] == b[other_row]
            }
            (Self::Text(a), Self::Text(b))
            | (Self::Bytes(a), Self::Bytes(b))
            | (Self::Json(a), Self::Json(b)) => {
                a.own_bytes(row, &mut [0; INLINE_MAX])
                    == b.own_bytes(other_row, &mut [0; INLINE_MAX])
            }
            (Self::List(a), Self::List(b)) => a.equals(row, b, other_row),
            (Self::Struct(a), Self::Struct(b)) => a.equals(row, b, other_row),
            (Self::Map(a), Self::Map(b)) => a.equals(row, b, other_row),
            _ => false,
        }
    }

    /// The array of the first `rows` rows. `buffers` are those of the records' values.
    pub(super) fn finish(
        &mut self,
        rows: usize,
        nulls: Option<NullBuffer>,
        buffers: &[Buffer],
    ) -> ArrayRef {
        match self {
            Self::Boolean(values) => {
                let bits = BooleanBuffer::from(&values[..rows]);
                *values = Vec::new();
                Arc::new(BooleanArray::new(bits, nulls))
            }
            Self::Int8(values) => Arc::new(Int8Array::new(take(values, rows), nulls)),
            Self::Int16(values) => Arc::new(Int16Array::new(take(values, rows), nulls)),
            Self::Int32(values) => Arc::new(Int32Array::new(take(values, rows), nulls)),
            Self::Int64(values) => Arc::new(Int64Array::new(take(values, rows), nulls)),
            Self::Float32(values) => Arc::new(Float32Array::new(take(values, rows), nulls)),
            Self::Float64(values) => Arc::new(Float64Array::new(take(values, rows), nulls)),
            Self::Date(values) => Arc::new(Date32Array::new(take(values, rows), nulls)),
            Self::Timestamp { values, zone, .. } => {
                let array = TimestampMicrosecondArray::new(take(values, rows), nulls);
                Arc::new(array.with_timezone_opt(zone.clone()))
            }
            Self::Decimal {
                values,
                precision,
                scale,
            } => {
                let array = Decimal128Array::new(take(values, rows), nulls);
                Arc::new(
                    array
                        .with_precision_and_scale(*precision, *scale)
                        .expect("the column's type was checked when the decoder was made"),
                )
            }
            Self::Text(views) => {
                let (views, buffers) = views.finish(rows, buffers);
                Arc::new(text_array(views, buffers, nulls))
            }
            Self::Time(values) => Arc::new(Time64MicrosecondArray::new(take(values, rows), nulls)),
            Self::Json(views) => {
                let (views, buffers) = views.finish(rows, buffers);
                json_array(text_array(views, buffers, nulls))
            }
            Self::List(column) => column.finish(rows, nulls, buffers),
            Self::Struct(column) => column.finish(rows, nulls, buffers),
            Self::Map(column) => column.finish(rows, nulls, buffers),
            Self::Bytes(views) => {
                let (views, buffers) = views.finish(rows, buffers);
                let array = BinaryViewArray::try_new(views, buffers, nulls);
                Arc::new(array.expect("views lie inside their buffers"))
            }
        }
    }
}

/// Reads a string and hands its bytes, unescaped, to `read`.
#[inline(always)]
fn quoted<T>(
    cursor: &mut Cursor<'_>,
    read: impl FnOnce(&[u8]) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let span = cursor.string()?;
    let raw = &cursor.bytes[span.start..span.end];
    if !span.escaped {
        return read(raw);
    }
    let mut text = Vec::with_capacity(raw.len());
    unescape(raw, span.start, &mut text)?;
    read(&text)
}

/// Reads an integer into a narrower type.
#[inline(always)]
fn narrow<T: TryFrom<i64>>(cursor: &mut Cursor<'_>) -> Result<T, Fault> {
    let start = cursor.at;
    T::try_from(number::integer(cursor)?).map_err(|_| Fault::does_not_fit(start))
}

/// Reads the strings that stand for the floats which JSON has no numbers for.
fn not_finite(cursor: &mut Cursor<'_>) -> Result<f64, Fault> {
    let start = cursor.at;
    quoted(cursor, |text| match text {
        b"NaN" => Ok(f64::NAN),
        b"Infinity" => Ok(f64::INFINITY),
        b"-Infinity" => Ok(f64::NEG_INFINITY),
        _ => Err(Fault::wrong_type(start)),
    })
}
