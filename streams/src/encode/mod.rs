//! Rows to bytes: JSON objects for values and answers, keys as text or JSON.
//!
//! ```text
//! batch, row 7  ──►  {"carrier":"UA","window_end":"2013-01-01T11:00:00","flights":12,"delay":3.5}
//! key columns   ──►  UA   or   {"carrier":"UA","window_end":"2013-01-01T11:00:00"}
//! ```
//!
//! | type | JSON |
//! |---|---|
//! | integers, booleans | as they are |
//! | floats | shortest text that reads back exactly, always with a point or an exponent (`12.0`); `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | text | escaped where it must be |
//! | timestamp | `"2013-01-01T10:00:00"`, as many digits of the fraction as needed; with a zone in UTC with `Z` |
//! | date | `"2013-01-01"` |
//! | decimal | a string |
//! | bytes | base64 |
//! | time of day | `"10:00:00.5"` |
//! | JSON | as it is |
//! | lists, structs, maps | arrays, objects, objects |
//! | any other | a string, as Arrow prints it |
//!
//! Invariants:
//! 1. What [`JsonEncoder`] writes of the types that a source may have, [`crate::Decoder`] reads back as the same rows.
//! 2. Values of those types are written straight into the given buffer, without an allocation each.

mod cell;
mod key;
#[cfg(test)]
mod tests;
mod value;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::Schema;

use self::cell::Cell;
pub use self::key::{KeyEncoder, KeyEncoderError, KeyRows};
pub use self::value::{ValueEncoder, ValueEncoderError, ValueRows};

/// Writes rows as JSON objects, one field a column, in the schema's order.
///
/// ```
/// use std::sync::Arc;
/// use arrow::array::{Float64Array, RecordBatch, StringViewArray};
/// let batch = RecordBatch::try_from_iter([
///     ("carrier", Arc::new(StringViewArray::from(vec!["UA"])) as _),
///     ("delay", Arc::new(Float64Array::from(vec![12.0])) as _),
/// ])?;
/// let mut line = Vec::new();
/// streams::JsonEncoder::new(&batch.schema()).encode_row(batch.columns(), 0, &mut line);
/// assert_eq!(line, br#"{"carrier":"UA","delay":12.0}"#);
/// # Ok::<(), arrow::error::ArrowError>(())
/// ```
#[derive(Debug, Clone)]
pub struct JsonEncoder {
    /// What stands before each column's value: brace or comma, the name in quotes, the colon.
    names: Vec<Box<[u8]>>,
}

/// The columns of one batch, ready to be written row by row.
#[derive(Debug)]
pub struct JsonRows<'a> {
    cells: Vec<(&'a [u8], Cell<'a>)>,
}

impl JsonEncoder {
    /// An encoder for batches of this schema.
    pub fn new(schema: &Schema) -> Self {
        Self::of_names(schema.fields().iter().map(|field| field.name().as_str()))
    }

    fn of_names<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let names = names.enumerate().map(|(index, name)| {
            let mut prefix = vec![if index == 0 { b'{' } else { b',' }];
            cell::write_text(name, &mut prefix);
            prefix.push(b':');
            prefix.into_boxed_slice()
        });
        Self {
            names: names.collect(),
        }
    }

    /// Prepares the columns of one batch: finding out their types once pays from the second row on.
    ///
    /// # Panics
    /// If there are not as many columns as the schema has.
    pub fn rows<'a>(&'a self, columns: &'a [ArrayRef]) -> JsonRows<'a> {
        assert_eq!(
            columns.len(),
            self.names.len(),
            "the batch has the encoder's schema"
        );
        let cells = self.names.iter().zip(columns);
        JsonRows {
            cells: cells
                .map(|(name, column)| (&**name, Cell::new(column)))
                .collect(),
        }
    }

    /// Writes one row as a JSON object behind what `out` holds.
    ///
    /// # Panics
    /// If there are not as many columns as the schema has, or `row` lies outside of them.
    pub fn encode_row(&self, columns: &[ArrayRef], row: usize, out: &mut Vec<u8>) {
        self.rows(columns).write(row, out);
    }

    /// Writes all rows of a batch, each followed by a line feed.
    pub fn encode_lines(&self, batch: &RecordBatch, out: &mut Vec<u8>) {
        let rows = self.rows(batch.columns());
        for row in 0..batch.num_rows() {
            rows.write(row, out);
            out.push(b'\n');
        }
    }
}

impl JsonRows<'_> {
    /// Writes one row as a JSON object behind what `out` holds.
    ///
    /// # Panics
    /// If `row` lies outside of the batch.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        if self.cells.is_empty() {
            out.push(b'{');
        }
        for (name, cell) in &self.cells {
            out.extend_from_slice(name);
            cell.write(row, out);
        }
        out.push(b'}');
    }
}
