//! Records to typed columns: straight from the fetched bytes, one pass, each bad record with its own reason.
//!
//! ```text
//! Records.values (views into fetched bytes)
//!   {"scheduled":"2013-01-01T10:00:00Z","carrier":"UA","dep_delay":2}
//!      │ field names foreseen from the record before        layout.rs
//!      │ places, strings, skipping                          cursor.rs
//!      ▼ numbers, times, text views into the same bytes     number.rs, calendar.rs, column.rs, views.rs, nested.rs
//! RecordBatch (the source's schema)   +   rows that failed, with reasons   fault.rs
//! ```
//!
//! A format is a [`value::ValueDecoder`]: JSON objects (`object.rs`), Debezium's envelopes (`debezium.rs`), lines of CSV
//! (`csv.rs`), whole values (`whole.rs`).
//!
//! What a record means:
//!
//! | record | append | upsert |
//! |---|---|---|
//! | value is null | skipped, counted | delete: only the key columns (and metadata) mean something |
//! | key is null | key columns NULL, or the value's fields | undecodable |
//! | field missing or null | NULL | NULL |
//! | field twice | the last one counts, all must fit | the last one counts, all must fit |
//! | key column in key and value | must agree | must agree |
//! | wrong type, overflow, not JSON, NULL for NOT NULL | undecodable | undecodable |
//! | key is U+0000 in key.format `string` | that text | the column is NULL |
//!
//! Columns that are computed from others come last (`computed.rs`); the value has no fields for them.
//!
//! Columns that no query reads are checked all the same, without being stored: which rows exist must not depend on
//! who asks.
//!
//! Field names match a column's exact spelling first, then without regard to case. Values of fields that no column
//! asks for are passed over: their brackets and numbers are checked, the inside of their strings is not.
//!
//! Invariants:
//! 1. Every record of the run is either a row, a failure, or counted as skipped.
//! 2. A failure leaves no trace in the rows around it.
//! 3. −0.0 and NaN are normalised here and nowhere else.

mod calendar;
mod column;
mod computed;
mod csv;
mod cursor;
mod debezium;
mod document;
mod fault;
mod key;
mod layout;
mod metadata;
mod nested;
mod number;
mod object;
mod slots;
#[cfg(test)]
mod tests;
mod value;
mod views;
mod whole;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{BooleanArray, ByteView, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use log_api::Records;
use thiserror::Error;

use self::column::{Column, TextPlace};
use self::computed::Computed;
use self::csv::CsvDecoder;
use self::cursor::Cursor;
pub(crate) use self::cursor::{is_json_text as is_json_bytes, unescaped};
use self::debezium::{DebeziumDecoder, key_payload};
pub use self::document::{
    is_json_text, json_element, json_elements, json_field, json_fields, json_string,
};
use self::fault::Fault;
pub(crate) use self::fault::type_name;
use self::key::KeySource;
pub(crate) use self::key::NULL_TEXT_KEY;
use self::layout::{Layout, Use};
use self::metadata::{Metadata, origin_fits};
use self::object::ObjectDecoder;
use self::slots::{Scratch, Slots};
use self::value::{Failed, Format, Outcome, Rows};
use self::whole::WholeDecoder;
use crate::{ColumnOrigin, SourceColumn, SourceMode, SourceSpec, ValueFormat};

/// Columns of one source at the most.
const COLUMNS_MAX: usize = 4096;

/// Decodes the records of one source. Holds what it learns about the order of fields, so keep one for each reader.
#[derive(Debug)]
pub struct Decoder {
    schema: SchemaRef,
    /// The spec's columns, then those that are only checked.
    columns: Vec<SourceColumn>,
    slots: Slots,
    values: Format,
    keys: Layout,
    key_source: KeySource,
    key_columns: Vec<usize>,
    metadata: Metadata,
    computed: Computed,
    upsert: bool,
    /// Keys may have a schema around them.
    wrapped_keys: bool,
    scratch: Scratch,
}

/// What became of a run of records.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// The rows, in the source's schema.
    pub batch: RecordBatch,
    /// For each row the index of its record in the run, where a record may have given several; `None`: they are `first`,
    /// `first + 1`, ….
    pub rows: Option<Vec<u32>>,
    /// Index of the first record that was looked at.
    pub first: u32,
    /// Rows that delete their key: of these only the key columns mean something. `None`: there is none.
    pub deleted: Option<BooleanArray>,
    /// Records that cannot be decoded, in order.
    pub errors: Vec<RowFailure>,
    /// Records without a value in an append-only topic: nothing, but counted.
    pub skipped: usize,
}

/// A record that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFailure {
    /// Index of the record in its run.
    pub row: u32,
    /// Offset of the record in its partition.
    pub offset: i64,
    /// What does not fit: the column, its type, what was found.
    pub reason: String,
}

/// A source that cannot be decoded as it is described.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum SourceSpecError {
    /// A column's type is none that JSON, a key or a header is decoded to.
    #[error("column {column:?} has the type {data_type}, which topics are not decoded to")]
    UnsupportedType {
        /// The column.
        column: String,
        /// Its type.
        data_type: String,
    },
    /// Key columns and key format contradict each other.
    #[error("key of topic {topic}: {reason}")]
    Key {
        /// The topic.
        topic: String,
        /// What does not fit, and what would.
        reason: String,
    },
    /// Columns and value format contradict each other.
    #[error("values of topic {topic}: {reason}")]
    Value {
        /// The topic.
        topic: String,
        /// What does not fit, and what would.
        reason: String,
    },
    /// More columns than a source may have.
    #[error("topic {topic} has {columns} columns, at most {COLUMNS_MAX} are possible")]
    TooManyColumns {
        /// The topic.
        topic: String,
        /// How many there are.
        columns: usize,
    },
}

impl Decoded {
    /// For each row the index of its record in the run.
    pub fn origin(&self) -> UInt32Array {
        match &self.rows {
            Some(rows) => UInt32Array::from(rows.clone()),
            None => {
                let rows = u32::try_from(self.batch.num_rows()).unwrap_or(u32::MAX);
                UInt32Array::from_iter_values(self.first..self.first.saturating_add(rows))
            }
        }
    }
}

impl Decoder {
    /// A decoder for records that look as `spec` says.
    ///
    /// # Errors
    /// A type that is not decoded to, or key columns that do not fit the key format.
    pub fn new(spec: &SourceSpec) -> Result<Self, SourceSpecError> {
        let all: Vec<SourceColumn> = spec.columns.iter().chain(&spec.checked).cloned().collect();
        if all.len() > COLUMNS_MAX {
            let (topic, columns) = (spec.topic.clone(), all.len());
            return Err(SourceSpecError::TooManyColumns { topic, columns });
        }
        let timestamp_unit_us = spec.value_format.timestamp_unit_us();
        let (mut fields, mut keys) = (Layout::default(), Layout::default());
        let (mut key_columns, mut metadata) = (Vec::new(), Metadata::default());
        let mut columns = Vec::with_capacity(all.len());
        for (index, column) in all.iter().enumerate() {
            let number = u16::try_from(index).expect("COLUMNS_MAX fits");
            let made = Column::new(&column.data_type, timestamp_unit_us);
            let made = made.map(|made| made.of_length(column.length));
            columns.push(made.filter(|_| origin_fits(column)).ok_or_else(|| {
                SourceSpecError::UnsupportedType {
                    column: column.name.clone(),
                    data_type: type_name(&column.data_type),
                }
            })?);
            match column.origin {
                _ if index >= spec.columns.len() => fields.add(&column.name, number, Use::Check),
                ColumnOrigin::Value => fields.add(&column.name, number, Use::Store),
                ColumnOrigin::Key => {
                    keys.add(&column.name, number, Use::Store);
                    fields.add(&column.name, number, Use::Agree);
                    key_columns.push(index);
                }
                ColumnOrigin::Computed(_) => {}
                _ => metadata.add(index, column),
            }
        }
        let values = value_format(spec, &all, fields, &key_columns)?;
        let key_source = KeySource::new(spec, &key_columns)?;
        let upsert_key = match &spec.mode {
            SourceMode::Append => None,
            SourceMode::Upsert { key } => Some(key.as_slice()),
        };
        let checked = columns.split_off(spec.columns.len());
        let fields = spec
            .columns
            .iter()
            .map(|column| Field::new(&column.name, column.data_type.clone(), !is_required(column)));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(Self {
            computed: Computed::new(spec, &schema)?,
            schema,
            slots: Slots::new(columns, checked, all.iter().map(is_required), |index| {
                upsert_key.is_some_and(|key| key.contains(&index))
            }),
            scratch: Scratch::new(&all, timestamp_unit_us),
            columns: all,
            values,
            keys,
            key_source,
            key_columns,
            metadata,
            upsert: upsert_key.is_some(),
            wrapped_keys: matches!(spec.value_format, ValueFormat::Debezium { .. }),
        })
    }

    /// The schema of the batches: one field a column of the source.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Decodes a run of records.
    pub fn decode(&mut self, records: &Records) -> Decoded {
        self.decode_range(records, 0..records.len())
    }

    /// Decodes the records of `range`; the indexes in the result are those of the whole run.
    ///
    /// # Panics
    /// If the range lies outside of the run.
    pub fn decode_range(&mut self, records: &Records, range: Range<usize>) -> Decoded {
        self.slots.start(range.len() * self.values.rows_max());
        let mut outcome = Outcome::default();
        for record in range.clone() {
            let row = self.slots.rows;
            let result = match records.value(record) {
                Some(value) => self.decode_record(records, record, value, &mut outcome),
                None if self.upsert => self.decode_delete(records, record, &mut outcome),
                None => Ok(()),
            };
            match result {
                Ok(()) => {
                    if self.slots.rows == row {
                        self.slots.drop_row();
                    }
                    outcome.record(range.start, record, row..self.slots.rows);
                }
                Err((part, fault)) => {
                    self.slots.drop_rows(row);
                    outcome.deleted.retain(|deleted| *deleted < row);
                    outcome.failed(range.start, row);
                    let failure = self.failure(records, record, part, fault);
                    outcome.errors.push(failure);
                }
            }
        }
        let decoded = self.finish(records, range.start, outcome);
        self.computed.fill(decoded, records)
    }

    /// Decodes one record with a value.
    #[inline]
    fn decode_record(
        &mut self,
        records: &Records,
        record: usize,
        value: &[u8],
        outcome: &mut Outcome,
    ) -> Result<(), Failed> {
        if !self.key_source.is_none() {
            self.decode_key(records, record)
                .map_err(|fault| (Part::Key, fault))?;
        }
        let place = place_of(records.values.views()[record]);
        let mut rows = Rows {
            slots: &mut self.slots,
            scratch: &mut self.scratch,
            metadata: &self.metadata,
            records,
            record,
            deleted: &mut outcome.deleted,
        };
        self.values.decode(value, place, &mut rows)
    }

    /// Decodes the key columns of the current row.
    fn decode_key(&mut self, records: &Records, record: usize) -> Result<(), Fault> {
        let row = self.slots.rows;
        let Some(key) = records.key(record) else {
            return if self.upsert {
                Err(Fault::no_key())
            } else {
                Ok(())
            };
        };
        match self.key_source {
            KeySource::None => Ok(()),
            KeySource::Required => Ok(()),
            KeySource::Text(column) => {
                let null = self.upsert && key == NULL_TEXT_KEY;
                if !null {
                    self.slots.columns[column]
                        .set_bytes(row, key)
                        .map_err(|fault| fault.of(column))?;
                }
                self.slots.mark(column, !null);
                self.scratch.set_key_null(column, null);
                Ok(())
            }
            KeySource::Json { bare } => {
                self.decode_json_key(key, bare)?;
                for &column in &self.key_columns {
                    let null = self.upsert
                        && self.scratch.null[column] == self.scratch.record
                        && !self.slots.is_marked(column);
                    self.scratch.set_key_null(column, null);
                }
                Ok(())
            }
        }
    }

    fn decode_json_key(&mut self, key: &[u8], bare: Option<usize>) -> Result<(), Fault> {
        let row = self.slots.rows;
        let mut cursor = Cursor::new(key);
        // A key inside of a schema was looked through to its end.
        let wrapped = if self.wrapped_keys {
            key_payload(key)
        } else {
            0
        };
        cursor.at = wrapped;
        cursor.skip_space();
        if let Some(column) = bare
            && cursor.peek() != b'{'
        {
            let read = self.slots.columns[column].read_apart(row, &mut cursor, TextPlace::Copied);
            let filled = read.map_err(|fault| fault.of(column))?;
            self.slots.mark(column, filled);
            if !filled {
                self.scratch.null[column] = self.scratch.record;
            }
        } else {
            let (slots, scratch) = (&mut self.slots, &mut self.scratch);
            value::object(
                &mut self.keys,
                slots,
                scratch,
                &mut cursor,
                TextPlace::Copied,
            )?;
        }
        if wrapped > 0 { Ok(()) } else { cursor.end() }
    }

    /// Decodes a record without a value: the delete of its key.
    fn decode_delete(
        &mut self,
        records: &Records,
        record: usize,
        outcome: &mut Outcome,
    ) -> Result<(), Failed> {
        self.decode_key(records, record)
            .map_err(|fault| (Part::Key, fault))?;
        let mut rows = Rows {
            slots: &mut self.slots,
            scratch: &mut self.scratch,
            metadata: &self.metadata,
            records,
            record,
            deleted: &mut outcome.deleted,
        };
        rows.delete()
    }

    #[cold]
    fn failure(&self, records: &Records, record: usize, part: Part, fault: Fault) -> RowFailure {
        let (text, name) = match part {
            Part::Key => (records.key(record), "record key"),
            Part::Value => (records.value(record), "value"),
            Part::Header => (None, "header"),
        };
        let reason = fault.reason(text.unwrap_or_default(), name, |column| {
            (&self.columns[column].name, &self.columns[column].data_type)
        });
        let row = u32::try_from(record).unwrap_or(u32::MAX);
        RowFailure {
            row,
            offset: records.offsets.value(record),
            reason,
        }
    }

    fn finish(&mut self, records: &Records, first: usize, outcome: Outcome) -> Decoded {
        let rows = self.slots.rows;
        let columns = self.slots.finish(records.values.data_buffers());
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .expect("columns have the schema's types, and NOT NULL ones were checked row by row");
        let deleted = (!outcome.deleted.is_empty()).then(|| {
            let mut marks = vec![false; rows];
            outcome.deleted.iter().for_each(|row| marks[*row] = true);
            BooleanArray::from(marks)
        });
        Decoded {
            batch,
            rows: outcome.rows,
            first: u32::try_from(first).unwrap_or(u32::MAX),
            deleted,
            errors: outcome.errors,
            skipped: outcome.skipped,
        }
    }
}

/// Whether a record has to have a value for the column.
fn is_required(column: &SourceColumn) -> bool {
    !column.nullable && !matches!(column.origin, ColumnOrigin::Computed(_))
}

/// The part of a record that a fault speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Key,
    Value,
    Header,
}

/// Where a value lies whose view is this one.
#[inline(always)]
fn place_of(view: u128) -> TextPlace {
    let view = ByteView::from(view);
    if view.length <= 12 {
        TextPlace::Copied
    } else {
        TextPlace::Shared {
            buffer: view.buffer_index,
            offset: view.offset,
        }
    }
}

/// The decoder of the spec's value format. `fields` are those of a JSON object, `all` the columns with those that are only
/// checked.
fn value_format(
    spec: &SourceSpec,
    all: &[SourceColumn],
    fields: Layout,
    key_columns: &[usize],
) -> Result<Format, SourceSpecError> {
    let error = |reason: String| {
        Err(SourceSpecError::Value {
            topic: spec.topic.clone(),
            reason,
        })
    };
    Ok(match &spec.value_format {
        ValueFormat::Json { .. } => Format::Object(ObjectDecoder { fields }),
        ValueFormat::Debezium { .. } if spec.mode == SourceMode::Append => {
            return error("FORMAT DEBEZIUM needs a primary key".to_owned());
        }
        ValueFormat::Debezium { .. } => {
            let mut key = Layout::default();
            for &column in key_columns {
                let number = u16::try_from(column).expect("COLUMNS_MAX fits");
                key.add(&all[column].name, number, Use::Store);
            }
            Format::Debezium(DebeziumDecoder {
                row: fields,
                key,
                key_columns: key_columns.to_vec(),
            })
        }
        ValueFormat::Csv {
            columns, delimiter, ..
        } => {
            let cell = |name: &String| {
                let column = all.iter().position(|column| column.name == *name)?;
                Some((column, all[column].origin == ColumnOrigin::Key))
            };
            Format::Csv(CsvDecoder {
                cells: columns.iter().map(cell).collect(),
                delimiter: *delimiter,
                unquoted: Vec::new(),
            })
        }
        ValueFormat::Text | ValueFormat::Bytes => {
            let of_value = |column: &&SourceColumn| column.origin == ColumnOrigin::Value;
            let mut columns = (0..all.len()).filter(|&index| of_value(&&all[index]));
            let column = columns.next();
            if columns.next().is_some() {
                return error("a value that is read as a whole is one column".to_owned());
            }
            let text = spec.value_format == ValueFormat::Text;
            let is_text = |column: &SourceColumn| {
                matches!(column.data_type, DataType::Utf8View | DataType::BinaryView)
            };
            match column {
                Some(column) if !text && !is_text(&all[column]) => {
                    let (name, found) = (&all[column].name, type_name(&all[column].data_type));
                    return error(format!(
                        "bytes are read as BYTES or TEXT, column {name:?} is {found}"
                    ));
                }
                column => Format::Whole(WholeDecoder { column, text }),
            }
        }
    })
}
