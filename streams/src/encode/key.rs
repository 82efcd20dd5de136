//! Record keys: the text of one column, or a JSON object of several.
//!
//! Invariants:
//! 1. Equal key columns give equal bytes, so that compaction and partitioning see one key.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Schema};
use thiserror::Error;

use super::{Cell, JsonEncoder, JsonRows};
use crate::KeyFormat;
use crate::decode::type_name;

/// Writes record keys.
#[derive(Debug, Clone)]
pub struct KeyEncoder {
    columns: Vec<usize>,
    format: Format,
}

#[derive(Debug, Clone)]
enum Format {
    None,
    Text,
    Json(JsonEncoder),
}

/// The key columns of one batch, ready to be written row by row.
#[derive(Debug)]
pub struct KeyRows<'a> {
    cells: Cells<'a>,
}

#[derive(Debug)]
enum Cells<'a> {
    None,
    Text(&'a ArrayRef),
    Json(JsonRows<'a>),
}

/// Key columns that cannot be written in the key format.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum KeyEncoderError {
    /// A text key of several columns.
    #[error("key.format string takes a single key column, there are {0}; use key.format json")]
    ManyColumns(usize),
    /// A text key of a column that is no text.
    #[error(
        "key.format string takes a TEXT column, {column:?} is {data_type}; use key.format json"
    )]
    NotText {
        /// The column.
        column: String,
        /// Its type.
        data_type: String,
    },
}

impl KeyEncoder {
    /// An encoder of the columns `key` (indexes into `schema`). No columns: no keys, whatever the format.
    ///
    /// # Errors
    /// A text key that is not one text column.
    pub fn new(schema: &Schema, key: &[usize], format: KeyFormat) -> Result<Self, KeyEncoderError> {
        let format = match (format, key) {
            (KeyFormat::None, _) | (_, []) => Format::None,
            (KeyFormat::String, [column]) => {
                let field = schema.field(*column);
                match field.data_type() {
                    DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Format::Text,
                    other => {
                        let (column, data_type) = (field.name().clone(), type_name(other));
                        return Err(KeyEncoderError::NotText { column, data_type });
                    }
                }
            }
            (KeyFormat::String, columns) => {
                return Err(KeyEncoderError::ManyColumns(columns.len()));
            }
            (KeyFormat::Json, columns) => {
                let names = columns
                    .iter()
                    .map(|column| schema.field(*column).name().as_str());
                Format::Json(JsonEncoder::of_names(names))
            }
        };
        Ok(Self {
            columns: key.to_vec(),
            format,
        })
    }

    /// Prepares the columns of one batch (all of them: the encoder picks its own).
    ///
    /// # Panics
    /// If a key column is not there.
    pub fn rows<'a>(&'a self, columns: &'a [ArrayRef]) -> KeyRows<'a> {
        let cells = match &self.format {
            Format::None => Cells::None,
            Format::Text => Cells::Text(&columns[self.columns[0]]),
            Format::Json(encoder) => {
                let names = encoder.names.iter().zip(&self.columns);
                let cells = names.map(|(name, column)| (&**name, Cell::of_key(&columns[*column])));
                Cells::Json(JsonRows {
                    cells: cells.collect(),
                })
            }
        };
        KeyRows { cells }
    }

    /// Writes the key of one row behind what `out` holds; `false` if the row has none: no key columns, or NULL in a
    /// text key. A JSON key writes NULL as `null`.
    ///
    /// # Panics
    /// If a key column is not there, or `row` lies outside of it.
    pub fn encode_row(&self, columns: &[ArrayRef], row: usize, out: &mut Vec<u8>) -> bool {
        self.rows(columns).write(row, out)
    }
}

impl KeyRows<'_> {
    /// Writes the key of one row behind what `out` holds; `false` if the row has none.
    ///
    /// # Panics
    /// If `row` lies outside of the batch.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) -> bool {
        match &self.cells {
            Cells::None => false,
            Cells::Text(column) if column.is_null(row) => false,
            Cells::Text(column) => {
                let text = match column.data_type() {
                    DataType::Utf8 => column.as_string::<i32>().value(row),
                    DataType::LargeUtf8 => column.as_string::<i64>().value(row),
                    _ => column.as_string_view().value(row),
                };
                out.extend_from_slice(text.as_bytes());
                true
            }
            Cells::Json(rows) => {
                rows.write(row, out);
                true
            }
        }
    }
}
