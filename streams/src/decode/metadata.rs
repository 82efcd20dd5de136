//! Columns that come from neither key nor value: where a record lies, when it was written, its headers.

use arrow::datatypes::DataType;
use log_api::Records;

use super::Part;
use super::fault::Fault;
use super::slots::Slots;
use super::value::Failed;
use crate::json::is_json;
use crate::{ColumnOrigin, SourceColumn};

/// The metadata columns of a source.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    columns: Vec<(usize, SourceColumn)>,
}

impl Metadata {
    /// Adds the column that has this number.
    pub(super) fn add(&mut self, index: usize, column: &SourceColumn) {
        self.columns.push((index, column.clone()));
    }

    /// Fills the columns of the current row.
    #[inline]
    pub(super) fn fill(
        &self,
        slots: &mut Slots,
        records: &Records,
        record: usize,
    ) -> Result<(), Failed> {
        for (index, column) in &self.columns {
            let filled = value(*index, column, slots, records, record)
                .map_err(|fault| (Part::Header, fault.of(*index)))?;
            slots.mark(*index, filled);
        }
        Ok(())
    }
}

/// Sets a column of the current row; `false` where the record has nothing for it.
fn value(
    index: usize,
    spec: &SourceColumn,
    slots: &mut Slots,
    records: &Records,
    record: usize,
) -> Result<bool, Fault> {
    let row = slots.rows;
    let column = &mut slots.columns[index];
    match &spec.origin {
        ColumnOrigin::Partition => {
            column.set_integer(row, i64::from(records.partition.partition));
            Ok(true)
        }
        ColumnOrigin::Offset => {
            column.set_integer(row, records.offsets.value(record));
            Ok(true)
        }
        ColumnOrigin::Timestamp => {
            let ms = records.timestamps.value(record);
            let is_timestamp = matches!(spec.data_type, DataType::Timestamp(..));
            column.set_integer(
                row,
                if is_timestamp {
                    ms.saturating_mul(1000)
                } else {
                    ms
                },
            );
            if ms < 0 && !spec.nullable {
                return Err(Fault::no_timestamp());
            }
            Ok(ms >= 0)
        }
        ColumnOrigin::Header(name) => {
            let last = records
                .headers(record)
                .filter(|(key, _)| key == name)
                .last();
            let value = last.and_then(|(_, value)| value);
            if value.is_none() && !spec.nullable {
                return Err(Fault::no_header());
            }
            if let Some(bytes) = value {
                column.set_bytes(row, bytes)?;
            }
            Ok(value.is_some())
        }
        ColumnOrigin::Headers => {
            column.set_text(row, headers_text(records, record).as_bytes())?;
            Ok(true)
        }
        // Filled before, from the key or the value.
        ColumnOrigin::Value | ColumnOrigin::Key | ColumnOrigin::Computed(_) => {
            Ok(slots.is_marked(index))
        }
    }
}

/// All headers in their order, as a JSON array of objects; a value that is no UTF-8 has U+FFFD in its place.
fn headers_text(records: &Records, record: usize) -> String {
    let headers = records.headers(record).map(|(key, value)| {
        let value = value.map(String::from_utf8_lossy);
        serde_json::json!({ "key": key, "value": value })
    });
    serde_json::Value::Array(headers.collect()).to_string()
}

/// Whether the column's type can hold what its origin gives.
pub(super) fn origin_fits(column: &SourceColumn) -> bool {
    match &column.origin {
        ColumnOrigin::Value | ColumnOrigin::Key | ColumnOrigin::Computed(_) => true,
        ColumnOrigin::Partition => matches!(column.data_type, DataType::Int32 | DataType::Int64),
        ColumnOrigin::Offset => column.data_type == DataType::Int64,
        ColumnOrigin::Timestamp => {
            matches!(column.data_type, DataType::Timestamp(..) | DataType::Int64)
        }
        ColumnOrigin::Header(_) => {
            matches!(column.data_type, DataType::Utf8View | DataType::BinaryView)
        }
        ColumnOrigin::Headers => is_json(&column.data_type),
    }
}
