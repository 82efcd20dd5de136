//! One column's values as JSON.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, BooleanArray, Date32Array,
    Decimal128Array, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
    LargeBinaryArray, LargeListArray, LargeStringArray, ListArray, MapArray, StringArray,
    StringViewArray, StructArray, Time64MicrosecondArray, UInt8Array, UInt16Array, UInt32Array,
    UInt64Array,
};
use arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::JsonEncoder;
use crate::decode::is_json_bytes;
use crate::json::{is_json, json_texts};

/// A column, known by its type.
pub(super) enum Cell<'a> {
    Null,
    Boolean(&'a BooleanArray),
    Int8(&'a Int8Array),
    Int16(&'a Int16Array),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    UInt8(&'a UInt8Array),
    UInt16(&'a UInt16Array),
    UInt32(&'a UInt32Array),
    UInt64(&'a UInt64Array),
    /// What is added: -0.0 changes nothing, 0.0 makes one zero of both.
    Float32(&'a Float32Array, f32),
    Float64(&'a Float64Array, f64),
    Text(&'a StringArray),
    LargeText(&'a LargeStringArray),
    TextView(&'a StringViewArray),
    Bytes(&'a BinaryArray),
    LargeBytes(&'a LargeBinaryArray),
    BytesView(&'a BinaryViewArray),
    Decimal(&'a Decimal128Array),
    Date(&'a Date32Array),
    Timestamp {
        array: &'a dyn Array,
        values: &'a [i64],
        unit: TimeUnit,
        zone: bool,
    },
    Time(&'a Time64MicrosecondArray),
    /// JSON documents: which are NULL, and their texts.
    Json(&'a dyn Array, &'a StringViewArray),
    Map {
        array: &'a MapArray,
        keys: Box<Cell<'a>>,
        values: Box<Cell<'a>>,
    },
    List(&'a ListArray, Box<Cell<'a>>),
    LargeList(&'a LargeListArray, Box<Cell<'a>>),
    Struct {
        array: &'a StructArray,
        names: JsonEncoder,
        cells: Vec<Cell<'a>>,
    },
    Other(&'a dyn Array, ArrayFormatter<'a>),
}

impl std::fmt::Debug for Cell<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cell")
    }
}

impl<'a> Cell<'a> {
    /// Of a key: values that are equal are written alike.
    pub(super) fn of_key(array: &'a ArrayRef) -> Self {
        match Self::new(array) {
            Self::Float32(array, _) => Self::Float32(array, 0.0),
            Self::Float64(array, _) => Self::Float64(array, 0.0),
            other => other,
        }
    }

    pub(super) fn new(array: &'a ArrayRef) -> Self {
        match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean(array.as_boolean()),
            DataType::Int8 => Self::Int8(array.as_primitive::<Int8Type>()),
            DataType::Int16 => Self::Int16(array.as_primitive::<Int16Type>()),
            DataType::Int32 => Self::Int32(array.as_primitive::<Int32Type>()),
            DataType::Int64 => Self::Int64(array.as_primitive::<Int64Type>()),
            DataType::UInt8 => Self::UInt8(array.as_primitive::<UInt8Type>()),
            DataType::UInt16 => Self::UInt16(array.as_primitive::<UInt16Type>()),
            DataType::UInt32 => Self::UInt32(array.as_primitive::<UInt32Type>()),
            DataType::UInt64 => Self::UInt64(array.as_primitive::<UInt64Type>()),
            DataType::Float32 => Self::Float32(array.as_primitive::<Float32Type>(), -0.0),
            DataType::Float64 => Self::Float64(array.as_primitive::<Float64Type>(), -0.0),
            DataType::Utf8 => Self::Text(array.as_string()),
            DataType::LargeUtf8 => Self::LargeText(array.as_string()),
            DataType::Utf8View => Self::TextView(array.as_string_view()),
            DataType::Binary => Self::Bytes(array.as_binary()),
            DataType::LargeBinary => Self::LargeBytes(array.as_binary()),
            DataType::BinaryView => Self::BytesView(array.as_binary_view()),
            DataType::Decimal128(..) => Self::Decimal(array.as_primitive::<Decimal128Type>()),
            DataType::Date32 => Self::Date(array.as_primitive()),
            DataType::Timestamp(unit, zone) => {
                let values: &[i64] = match unit {
                    TimeUnit::Second => array.as_primitive::<TimestampSecondType>().values(),
                    TimeUnit::Millisecond => {
                        array.as_primitive::<TimestampMillisecondType>().values()
                    }
                    TimeUnit::Microsecond => {
                        array.as_primitive::<TimestampMicrosecondType>().values()
                    }
                    TimeUnit::Nanosecond => {
                        array.as_primitive::<TimestampNanosecondType>().values()
                    }
                };
                Self::Timestamp {
                    array,
                    values,
                    unit: *unit,
                    zone: zone.is_some(),
                }
            }
            DataType::Time64(TimeUnit::Microsecond) => {
                Self::Time(array.as_primitive::<Time64MicrosecondType>())
            }
            json if is_json(json) => match json_texts(array) {
                Some(texts) => Self::Json(array, texts),
                None => Self::Null,
            },
            DataType::Map(..) => {
                let array = array.as_map();
                Self::Map {
                    keys: Box::new(Self::new(array.keys())),
                    values: Box::new(Self::new(array.values())),
                    array,
                }
            }
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Self::List(list, Box::new(Self::new(list.values())))
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                Self::LargeList(list, Box::new(Self::new(list.values())))
            }
            DataType::Struct(fields) => {
                let array = array.as_struct();
                let names = fields.iter().map(|field| field.name().as_str());
                Self::Struct {
                    names: JsonEncoder::of_names(names),
                    cells: array.columns().iter().map(Self::new).collect(),
                    array,
                }
            }
            _ => match ArrayFormatter::try_new(array, &PLAIN) {
                Ok(formatter) => Self::Other(array, formatter),
                Err(_) => Self::Null,
            },
        }
    }

    /// Writes the value of `row`, `null` where there is none.
    #[inline]
    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        match self {
            Self::Null => {}
            Self::Boolean(array) => {
                out.extend_from_slice(if array.value(row) { b"true" } else { b"false" });
            }
            Self::Int8(array) => write_integer(array.value(row), out),
            Self::Int16(array) => write_integer(array.value(row), out),
            Self::Int32(array) => write_integer(array.value(row), out),
            Self::Int64(array) => write_integer(array.value(row), out),
            Self::UInt8(array) => write_integer(array.value(row), out),
            Self::UInt16(array) => write_integer(array.value(row), out),
            Self::UInt32(array) => write_integer(array.value(row), out),
            Self::UInt64(array) => write_integer(array.value(row), out),
            Self::Float32(array, zero) => {
                let value = array.value(row) + zero;
                if value.is_finite() {
                    out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
                } else {
                    write_not_finite(f64::from(value), out);
                }
            }
            Self::Float64(array, zero) => {
                let value = array.value(row) + zero;
                if value.is_finite() {
                    out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
                } else {
                    write_not_finite(value, out);
                }
            }
            Self::Text(array) => write_text(array.value(row), out),
            Self::LargeText(array) => write_text(array.value(row), out),
            Self::TextView(array) => write_text(array.value(row), out),
            Self::Bytes(array) => write_bytes(array.value(row), out),
            Self::LargeBytes(array) => write_bytes(array.value(row), out),
            Self::BytesView(array) => write_bytes(array.value(row), out),
            Self::Decimal(array) => write_decimal(array.value(row), array.scale(), out),
            Self::Date(array) => {
                out.push(b'"');
                write_date(i64::from(array.value(row)), out);
                out.push(b'"');
            }
            Self::Timestamp {
                values, unit, zone, ..
            } => {
                write_timestamp(values[row], *unit, *zone, out);
            }
            Self::Time(array) => {
                out.push(b'"');
                write_clock(array.value(row), 1_000_000, 6, out);
                out.push(b'"');
            }
            Self::Json(_, texts) => {
                // A text that some function made and that is no JSON must not break the object around it.
                let text = texts.value(row);
                if is_json_bytes(text.as_bytes()) {
                    out.extend_from_slice(text.as_bytes());
                } else {
                    write_text(text, out);
                }
            }
            Self::Map {
                array,
                keys,
                values,
            } => {
                let offsets = array.value_offsets();
                let entries = offsets[row] as usize..offsets[row + 1] as usize;
                write_entries(keys, values, entries, out);
            }
            Self::List(array, values) => {
                let offsets = array.value_offsets();
                write_list(
                    values,
                    offsets[row] as usize..offsets[row + 1] as usize,
                    out,
                );
            }
            Self::LargeList(array, values) => {
                let offsets = array.value_offsets();
                write_list(
                    values,
                    offsets[row] as usize..offsets[row + 1] as usize,
                    out,
                );
            }
            Self::Struct { names, cells, .. } => {
                if cells.is_empty() {
                    out.push(b'{');
                }
                for (name, cell) in names.names.iter().zip(cells) {
                    out.extend_from_slice(name);
                    cell.write(row, out);
                }
                out.push(b'}');
            }
            Self::Other(_, formatter) => write_text(&formatter.value(row).to_string(), out),
        }
    }

    /// The bytes of a column of bytes.
    pub(super) fn bytes(&self, row: usize) -> Option<&[u8]> {
        match self {
            Self::BytesView(array) if array.is_valid(row) => Some(array.value(row)),
            _ => None,
        }
    }

    #[inline]
    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Null => true,
            Self::Boolean(array) => array.is_null(row),
            Self::Int8(array) => array.is_null(row),
            Self::Int16(array) => array.is_null(row),
            Self::Int32(array) => array.is_null(row),
            Self::Int64(array) => array.is_null(row),
            Self::UInt8(array) => array.is_null(row),
            Self::UInt16(array) => array.is_null(row),
            Self::UInt32(array) => array.is_null(row),
            Self::UInt64(array) => array.is_null(row),
            Self::Float32(array, _) => array.is_null(row),
            Self::Float64(array, _) => array.is_null(row),
            Self::Text(array) => array.is_null(row),
            Self::LargeText(array) => array.is_null(row),
            Self::TextView(array) => array.is_null(row),
            Self::Bytes(array) => array.is_null(row),
            Self::LargeBytes(array) => array.is_null(row),
            Self::BytesView(array) => array.is_null(row),
            Self::Decimal(array) => array.is_null(row),
            Self::Date(array) => array.is_null(row),
            Self::Timestamp { array, .. } => array.is_null(row),
            Self::Time(array) => array.is_null(row),
            Self::Json(array, texts) => array.is_null(row) || texts.is_null(row),
            Self::Map { array, .. } => array.is_null(row),
            Self::List(array, _) => array.is_null(row),
            Self::LargeList(array, _) => array.is_null(row),
            Self::Struct { array, .. } => array.is_null(row),
            Self::Other(array, _) => array.is_null(row),
        }
    }
}

/// Arrow's own words, for the types that JSON has none for.
const PLAIN: FormatOptions<'static> = FormatOptions::new();

fn write_integer(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn write_not_finite(value: f64, out: &mut Vec<u8>) {
    let text: &[u8] = if value.is_nan() {
        b"\"NaN\""
    } else if value > 0.0 {
        b"\"Infinity\""
    } else {
        b"\"-Infinity\""
    };
    out.extend_from_slice(text);
}

fn write_list(values: &Cell<'_>, range: std::ops::Range<usize>, out: &mut Vec<u8>) {
    out.push(b'[');
    for index in range.clone() {
        if index > range.start {
            out.push(b',');
        }
        values.write(index, out);
    }
    out.push(b']');
}

/// Writes a map as an object; a key that is no text is written as the text of its JSON.
fn write_entries(
    keys: &Cell<'_>,
    values: &Cell<'_>,
    entries: std::ops::Range<usize>,
    out: &mut Vec<u8>,
) {
    out.push(b'{');
    for entry in entries.clone() {
        if entry > entries.start {
            out.push(b',');
        }
        let from = out.len();
        keys.write(entry, out);
        if out.get(from) != Some(&b'"') {
            let key = String::from_utf8_lossy(&out[from..]).into_owned();
            out.truncate(from);
            write_text(&key, out);
        }
        out.push(b':');
        values.write(entry, out);
    }
    out.push(b'}');
}

/// Writes a string in quotes.
pub(super) fn write_text(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= b' ' && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        let short = match byte {
            b'"' | b'\\' => *byte,
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let from = out.len();
    out.resize(from + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[from..]);
    out.truncate(from + written.expect("the room was made for it"));
    out.push(b'"');
}

fn write_decimal(value: i128, scale: i8, out: &mut Vec<u8>) {
    out.push(b'"');
    if value < 0 {
        out.push(b'-');
    }
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(value.unsigned_abs()).as_bytes();
    match usize::try_from(scale) {
        Ok(0) => out.extend_from_slice(digits),
        Ok(scale) if digits.len() > scale => {
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            out.extend_from_slice(whole);
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
        Ok(scale) => {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + scale - digits.len(), b'0');
            out.extend_from_slice(digits);
        }
        Err(_) => {
            out.extend_from_slice(digits);
            if value != 0 {
                out.resize(out.len() + usize::from(scale.unsigned_abs()), b'0');
            }
        }
    }
    out.push(b'"');
}

fn write_timestamp(value: i64, unit: TimeUnit, zone: bool, out: &mut Vec<u8>) {
    let (per_second, digits) = match unit {
        TimeUnit::Second => (1, 0),
        TimeUnit::Millisecond => (1_000, 3),
        TimeUnit::Microsecond => (1_000_000, 6),
        TimeUnit::Nanosecond => (1_000_000_000, 9),
    };
    let per_day = per_second * 86_400;
    out.push(b'"');
    write_date(value.div_euclid(per_day), out);
    out.push(b'T');
    write_clock(value.rem_euclid(per_day), per_second, digits, out);
    if zone {
        out.push(b'Z');
    }
    out.push(b'"');
}

/// Writes `HH:MM:SS` and as much of the fraction as there is.
fn write_clock(value: i64, per_second: i64, digits: usize, out: &mut Vec<u8>) {
    let (second_of_day, mut fraction) = (value / per_second, value % per_second);
    write_two(second_of_day / 3600, out);
    out.push(b':');
    write_two(second_of_day / 60 % 60, out);
    out.push(b':');
    write_two(second_of_day % 60, out);
    if fraction != 0 {
        out.push(b'.');
        let from = out.len();
        out.resize(from + digits, b'0');
        for place in (from..from + digits).rev() {
            out[place] = b'0' + (fraction % 10) as u8;
            fraction /= 10;
        }
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

/// Writes `YYYY-MM-DD`; years before 0 and beyond 9999 have a sign, as in ISO 8601.
fn write_date(days: i64, out: &mut Vec<u8>) {
    // Years begin in March here, so that the leap day is the last one (H. Hinnant, civil_from_days).
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    if (0..10_000).contains(&year) {
        write_two(year / 100, out);
        write_two(year % 100, out);
    } else {
        out.push(if year < 0 { b'-' } else { b'+' });
        if year.unsigned_abs() < 1000 {
            out.push(b'0');
            out.resize(out.len() + usize::from(year.unsigned_abs() < 100), b'0');
            out.resize(out.len() + usize::from(year.unsigned_abs() < 10), b'0');
        }
        write_integer(year.unsigned_abs(), out);
    }
    out.push(b'-');
    write_two(month, out);
    out.push(b'-');
    write_two(day, out);
}

fn write_two(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'0' + (value / 10) as u8, b'0' + (value % 10) as u8]);
}
