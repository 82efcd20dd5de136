//! Values that are one column as a whole: a text, or bytes.

use super::Part;
use super::column::{Column, TextPlace};
use super::fault::Fault;
use super::value::{Failed, Rows, ValueDecoder};

/// Reads each value as the column that there is.
#[derive(Debug)]
pub(super) struct WholeDecoder {
    /// The column, if any of its own.
    pub(super) column: Option<usize>,
    /// Whether the value is a text, from which other types are read; otherwise it is taken as it is.
    pub(super) text: bool,
}

impl ValueDecoder for WholeDecoder {
    fn decode(
        &mut self,
        value: &[u8],
        _place: TextPlace,
        rows: &mut Rows<'_>,
    ) -> Result<(), Failed> {
        rows.scratch.record += 1;
        if let Some(column) = self.column {
            let text = self.text;
            let read = |column: &mut Column, row: usize| -> Result<bool, Fault> {
                if text {
                    column.set_text(row, value)?;
                } else {
                    column.set_bytes(row, value)?;
                }
                Ok(true)
            };
            let read = rows.field(column, false, 0, read);
            read.map_err(|fault| (Part::Value, fault))?;
        }
        rows.keep()
    }
}
