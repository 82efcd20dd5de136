//! Record values in the formats that sources have: what an INSERT writes is what a SELECT reads.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Schema};
use thiserror::Error;

use super::{Cell, JsonEncoder, JsonRows};
use crate::ValueFormat;
use crate::decode::{type_name, unescaped};

/// Writes record values.
///
/// ```
/// use std::sync::Arc;
/// use arrow::array::{Int64Array, RecordBatch, StringViewArray};
/// let batch = RecordBatch::try_from_iter([
///     ("id", Arc::new(Int64Array::from(vec![7])) as _),
///     ("name", Arc::new(StringViewArray::from(vec!["a, b"])) as _),
/// ])?;
/// let names = vec!["id".to_owned(), "name".to_owned()];
/// let format = streams::ValueFormat::Csv {
///     columns: names.into(),
///     delimiter: b',',
///     timestamp_unit_us: None,
/// };
/// let encoder = streams::ValueEncoder::new(&batch.schema(), &format)?;
/// let mut line = Vec::new();
/// encoder.rows(batch.columns()).write(0, &mut line);
/// assert_eq!(line, b"7,\"a, b\"");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ValueEncoder {
    format: Format,
}

#[derive(Debug, Clone)]
enum Format {
    Json(JsonEncoder),
    /// The columns in the order of the cells, and what stands between these.
    Csv(Vec<usize>, u8),
    /// The only column, and whether its bytes are the value as they are.
    Whole(bool),
}

/// The columns of one batch, ready to be written row by row.
#[derive(Debug)]
pub struct ValueRows<'a> {
    cells: Cells<'a>,
}

#[derive(Debug)]
enum Cells<'a> {
    Json(JsonRows<'a>),
    Csv(Vec<Cell<'a>>, u8),
    Whole(Cell<'a>, bool),
}

/// Columns that cannot be written in a format.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum ValueEncoderError {
    /// Envelopes tell of changes somewhere else.
    #[error(
        "FORMAT DEBEZIUM tells what happened in another database: write the row there, or make a table with FORMAT UPSERT"
    )]
    Debezium,
    /// A column of the format is none of the batch.
    #[error("column {0:?} is not among those to write")]
    Missing(String),
    /// A value that is no single column.
    #[error("a value in this format is one column, there are {0}")]
    Columns(usize),
    /// Bytes that are no text.
    #[error("column {column:?} is {data_type}, which is not written as it is; use ENCODE JSON")]
    NotAText {
        /// The column.
        column: String,
        /// Its type.
        data_type: String,
    },
}

impl ValueEncoder {
    /// An encoder for batches of this schema.
    ///
    /// # Errors
    /// Columns that the format does not write.
    pub fn new(schema: &Schema, format: &ValueFormat) -> Result<Self, ValueEncoderError> {
        let format = match format {
            ValueFormat::Json { .. } => Format::Json(JsonEncoder::new(schema)),
            ValueFormat::Debezium { .. } => return Err(ValueEncoderError::Debezium),
            ValueFormat::Csv {
                columns, delimiter, ..
            } => {
                let place = |name: &String| {
                    let place = schema.index_of(name);
                    place.map_err(|_| ValueEncoderError::Missing(name.clone()))
                };
                Format::Csv(
                    columns.iter().map(place).collect::<Result<_, _>>()?,
                    *delimiter,
                )
            }
            ValueFormat::Text | ValueFormat::Bytes => {
                let [field] = schema.fields().as_ref() else {
                    return Err(ValueEncoderError::Columns(schema.fields().len()));
                };
                let as_it_is =
                    matches!(field.data_type(), DataType::Utf8View | DataType::BinaryView);
                if *format == ValueFormat::Bytes && !as_it_is {
                    return Err(ValueEncoderError::NotAText {
                        column: field.name().clone(),
                        data_type: type_name(field.data_type()),
                    });
                }
                Format::Whole(*format == ValueFormat::Bytes)
            }
        };
        Ok(Self { format })
    }

    /// Prepares the columns of one batch.
    ///
    /// # Panics
    /// If there are not as many columns as the schema has.
    pub fn rows<'a>(&'a self, columns: &'a [ArrayRef]) -> ValueRows<'a> {
        let cells = match &self.format {
            Format::Json(encoder) => Cells::Json(encoder.rows(columns)),
            Format::Csv(places, delimiter) => Cells::Csv(
                places
                    .iter()
                    .map(|&place| Cell::new(&columns[place]))
                    .collect(),
                *delimiter,
            ),
            Format::Whole(raw) => Cells::Whole(Cell::new(&columns[0]), *raw),
        };
        ValueRows { cells }
    }
}

impl ValueRows<'_> {
    /// Writes the value of one row behind what `out` holds; `false` if the row has none: NULL as a whole value.
    ///
    /// # Panics
    /// If `row` lies outside of the batch.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) -> bool {
        match &self.cells {
            Cells::Json(rows) => rows.write(row, out),
            Cells::Csv(cells, delimiter) => {
                for (index, cell) in cells.iter().enumerate() {
                    if index > 0 {
                        out.push(*delimiter);
                    }
                    if let Some(bytes) = plain(cell, row) {
                        write_cell(&bytes, *delimiter, out);
                    }
                }
            }
            Cells::Whole(cell, raw) => match (cell.bytes(row), plain(cell, row)) {
                (Some(bytes), _) if *raw => out.extend_from_slice(bytes),
                (_, Some(text)) => out.extend_from_slice(&text),
                (_, None) => return false,
            },
        }
        true
    }
}

/// A value as a text outside of JSON; `None`: it is NULL.
fn plain(cell: &Cell<'_>, row: usize) -> Option<Vec<u8>> {
    let mut json = Vec::new();
    cell.write(row, &mut json);
    match json.as_slice() {
        b"null" => None,
        [b'"', text @ .., b'"'] => Some(unescaped(text)),
        _ => Some(json),
    }
}

/// An empty text stands in quotes: NULL does not.
fn write_cell(cell: &[u8], delimiter: u8, out: &mut Vec<u8>) {
    let special = |byte: &u8| matches!(byte, b'"' | b'\n' | b'\r') || *byte == delimiter;
    if !cell.is_empty() && !cell.iter().any(special) {
        out.extend_from_slice(cell);
        return;
    }
    out.push(b'"');
    for byte in cell {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}
