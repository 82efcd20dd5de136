//! Records to typed columns: JSON straight from the fetched bytes, one pass, each bad record with its own reason.
//!
//! ```text
//! Records.values (views into fetched bytes)
//!   {"scheduled":"2013-01-01T10:00:00Z","carrier":"UA","dep_delay":2}
//!      │ field names foreseen from the record before        layout.rs
//!      │ places, strings, skipping                          cursor.rs
//!      ▼ numbers, times, text views into the same bytes     number.rs, calendar.rs, column.rs
//! RecordBatch (the source's schema)   +   rows that failed, with reasons   fault.rs
//! ```
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
mod cursor;
mod fault;
mod key;
mod layout;
mod number;
mod slots;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{BooleanArray, ByteView, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use log_api::Records;
use thiserror::Error;

use self::column::{Column, TextPlace};
use self::cursor::Cursor;
use self::fault::Fault;
pub(crate) use self::fault::type_name;
use self::key::KeySource;
pub(crate) use self::key::NULL_TEXT_KEY;
use self::layout::{Layout, Target, Use};
use self::slots::{Scratch, Slots};
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
    values: Layout,
    keys: Layout,
    key_source: KeySource,
    key_columns: Vec<usize>,
    metadata: Vec<usize>,
    upsert: bool,
    scratch: Scratch,
}

/// What became of a run of records.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// The rows, in the source's schema.
    pub batch: RecordBatch,
    /// For each row the index of its record in the run; `None`: they are `first`, `first + 1`, ….
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
        let ValueFormat::Json { timestamp_unit_us } = spec.value_format;
        let (mut values, mut keys) = (Layout::default(), Layout::default());
        let (mut key_columns, mut metadata) = (Vec::new(), Vec::new());
        let mut columns = Vec::with_capacity(all.len());
        for (index, column) in all.iter().enumerate() {
            let number = u16::try_from(index).expect("COLUMNS_MAX fits");
            let made = Column::new(&column.data_type, timestamp_unit_us);
            columns.push(made.filter(|_| origin_fits(column)).ok_or_else(|| {
                SourceSpecError::UnsupportedType {
                    column: column.name.clone(),
                    data_type: type_name(&column.data_type),
                }
            })?);
            match column.origin {
                _ if index >= spec.columns.len() => values.add(&column.name, number, Use::Check),
                ColumnOrigin::Value => values.add(&column.name, number, Use::Store),
                ColumnOrigin::Key => {
                    keys.add(&column.name, number, Use::Store);
                    values.add(&column.name, number, Use::Agree);
                    key_columns.push(index);
                }
                _ => metadata.push(index),
            }
        }
        let key_source = KeySource::new(spec, &key_columns)?;
        let upsert_key = match &spec.mode {
            SourceMode::Append => None,
            SourceMode::Upsert { key } => Some(key.as_slice()),
        };
        let checked = columns.split_off(spec.columns.len());
        let fields = spec
            .columns
            .iter()
            .map(|column| Field::new(&column.name, column.data_type.clone(), column.nullable));
        Ok(Self {
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            slots: Slots::new(
                columns,
                checked,
                all.iter().map(|column| !column.nullable),
                |index| upsert_key.is_some_and(|key| key.contains(&index)),
            ),
            scratch: Scratch::new(&all, timestamp_unit_us),
            columns: all,
            values,
            keys,
            key_source,
            key_columns,
            metadata,
            upsert: upsert_key.is_some(),
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
        self.slots.start(range.len());
        let mut outcome = Outcome::default();
        for record in range.clone() {
            let row = self.slots.rows;
            let result = match records.value(record) {
                Some(value) => self.decode_record(records, record, value),
                None if self.upsert => self.decode_delete(records, record, &mut outcome),
                None => {
                    outcome.skipped += 1;
                    outcome.gap(range.start, row);
                    continue;
                }
            };
            match result {
                Ok(()) => {
                    self.slots.keep_row();
                    outcome.row(record);
                }
                Err((part, fault)) => {
                    self.slots.drop_row();
                    outcome.gap(range.start, row);
                    outcome
                        .errors
                        .push(self.failure(records, record, part, fault));
                }
            }
        }
        self.finish(records, range.start, outcome)
    }

    /// Decodes one record with a value into the current row.
    #[inline]
    fn decode_record(
        &mut self,
        records: &Records,
        record: usize,
        value: &[u8],
    ) -> Result<(), (Part, Fault)> {
        if !self.key_source.is_none() {
            self.decode_key(records, record)
                .map_err(|fault| (Part::Key, fault))?;
        }
        let place = place_of(records.values.views()[record]);
        self.object(value, place)
            .map_err(|fault| (Part::Value, fault))?;
        if !self.metadata.is_empty() {
            self.decode_metadata(records, record)?;
        }
        self.slots
            .check_required(&self.scratch)
            .map_err(|fault| (Part::Value, fault))
    }

    /// Reads the fields of the value into the current row.
    fn object(&mut self, value: &[u8], place: TextPlace) -> Result<(), Fault> {
        let row = self.slots.rows;
        let (layout, slots, scratch) = (&mut self.values, &mut self.slots, &mut self.scratch);
        let mut cursor = Cursor::new(value);
        cursor.skip_space();
        if !cursor.take(b'{') {
            return Err(Fault::not_an_object(cursor.at));
        }
        scratch.record += 1;
        cursor.skip_space();
        if cursor.take(b'}') {
            return cursor.end();
        }
        let mut step = 0;
        loop {
            let target = layout.next(&mut cursor, &mut step)?;
            match target {
                Target::Skip => cursor.skip_value()?,
                Target::Store(column) => {
                    let index = usize::from(column);
                    scratch.exact[index] = scratch.record;
                    let read = slots.columns[index].read(row, &mut cursor, place);
                    let filled = read.map_err(|fault| fault.of(index))?;
                    if !filled {
                        scratch.null[index] = scratch.record;
                    }
                    slots.mark(index, filled);
                }
                rare => rare_target(rare, slots, scratch, &mut cursor, place)?,
            }
            cursor.skip_space();
            if cursor.take(b',') {
                cursor.skip_space();
            } else if cursor.take(b'}') {
                return cursor.end();
            } else {
                return Err(Fault::syntax(cursor.at, "',' or '}'"));
            }
        }
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
            return cursor.end();
        }
        if !cursor.take(b'{') {
            return Err(Fault::not_an_object(cursor.at));
        }
        self.scratch.record += 1;
        cursor.skip_space();
        if cursor.take(b'}') {
            return cursor.end();
        }
        let mut step = 0;
        loop {
            let target = self.keys.next(&mut cursor, &mut step)?;
            match target {
                Target::Skip => cursor.skip_value()?,
                target => rare_target(
                    target,
                    &mut self.slots,
                    &mut self.scratch,
                    &mut cursor,
                    TextPlace::Copied,
                )?,
            }
            cursor.skip_space();
            if cursor.take(b',') {
                cursor.skip_space();
            } else if cursor.take(b'}') {
                return cursor.end();
            } else {
                return Err(Fault::syntax(cursor.at, "',' or '}'"));
            }
        }
    }

    /// Decodes a record without a value: the delete of its key.
    fn decode_delete(
        &mut self,
        records: &Records,
        record: usize,
        outcome: &mut Outcome,
    ) -> Result<(), (Part, Fault)> {
        self.decode_key(records, record)
            .map_err(|fault| (Part::Key, fault))?;
        self.decode_metadata(records, record)?;
        self.slots.check_key().map_err(|fault| (Part::Key, fault))?;
        self.slots.fill_required();
        outcome.deleted.push(self.slots.rows);
        Ok(())
    }

    /// Fills the columns that come from neither key nor value.
    fn decode_metadata(&mut self, records: &Records, record: usize) -> Result<(), (Part, Fault)> {
        let row = self.slots.rows;
        for &index in &self.metadata {
            let column = &mut self.slots.columns[index];
            let is_timestamp = matches!(self.columns[index].data_type, DataType::Timestamp(..));
            let required = !self.columns[index].nullable;
            let found = match &self.columns[index].origin {
                ColumnOrigin::Partition => {
                    column.set_integer(row, i64::from(records.partition.partition));
                    true
                }
                ColumnOrigin::Offset => {
                    column.set_integer(row, records.offsets.value(record));
                    true
                }
                ColumnOrigin::Timestamp => {
                    let ms = records.timestamps.value(record);
                    let value = if is_timestamp {
                        ms.saturating_mul(1000)
                    } else {
                        ms
                    };
                    column.set_integer(row, value);
                    if ms < 0 && required {
                        return Err((Part::Header, Fault::no_timestamp().of(index)));
                    }
                    ms >= 0
                }
                ColumnOrigin::Header(name) => {
                    let last = records
                        .headers(record)
                        .filter(|(key, _)| key == name)
                        .last();
                    let value = last.and_then(|(_, value)| value);
                    if value.is_none() && required {
                        return Err((Part::Header, Fault::no_header().of(index)));
                    }
                    if let Some(bytes) = value {
                        column
                            .set_bytes(row, bytes)
                            .map_err(|fault| (Part::Header, fault.of(index)))?;
                    }
                    value.is_some()
                }
                ColumnOrigin::Value | ColumnOrigin::Key => continue,
            };
            self.slots.mark(index, found);
        }
        Ok(())
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

/// The part of a record that a fault speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Key,
    Value,
    Header,
}

/// What the rows of a run have come to so far.
#[derive(Debug, Default)]
struct Outcome {
    /// Indexes of the records that became rows, once one did not.
    rows: Option<Vec<u32>>,
    /// Rows that are deletes.
    deleted: Vec<usize>,
    errors: Vec<RowFailure>,
    skipped: usize,
}

impl Outcome {
    #[inline(always)]
    fn row(&mut self, record: usize) {
        if let Some(rows) = &mut self.rows {
            rows.push(record as u32);
        }
    }

    /// A record becomes no row: from now on rows have to name theirs. `rows` of them were kept, all from `first` on.
    fn gap(&mut self, first: usize, rows: usize) {
        self.rows
            .get_or_insert_with(|| (first..first + rows).map(|record| record as u32).collect());
    }
}

/// Takes a field that is spelled in another case, or that the record key has too.
#[inline(never)]
fn rare_target(
    target: Target,
    slots: &mut Slots,
    scratch: &mut Scratch,
    cursor: &mut Cursor<'_>,
    place: TextPlace,
) -> Result<(), Fault> {
    let (column, loose, agree) = match target {
        Target::Skip => return cursor.skip_value(),
        Target::Store(column) | Target::Check(column) => (column, false, false),
        Target::StoreLoose(column) | Target::CheckLoose(column) => (column, true, false),
        Target::Agree(column) => (column, false, true),
        Target::AgreeLoose(column) => (column, true, true),
    };
    let (index, row, start) = (usize::from(column), slots.rows, cursor.at);
    if loose && scratch.exact[index] == scratch.record {
        return cursor.skip_value();
    }
    if !loose {
        scratch.exact[index] = scratch.record;
    }
    if agree
        && let Some(cell) = &mut scratch.cells[index]
        && (cell.null || slots.is_marked(index))
    {
        let found = cell
            .field
            .read_cell(cursor, TextPlace::Copied)
            .map_err(|fault| fault.of(index))?;
        if found && (cell.null || !cell.field.equals(0, &slots.columns[index], row)) {
            return Err(Fault::key_differs(start).of(index));
        }
        return Ok(());
    }
    // The record has no key for the column: the value's field is its own, copied because texts of key columns are.
    let place = if agree { TextPlace::Copied } else { place };
    let filled = slots
        .read(index, cursor, place)
        .map_err(|fault| fault.of(index))?;
    if !filled {
        scratch.null[index] = scratch.record;
    }
    slots.mark(index, filled);
    Ok(())
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

/// Whether the column's type can hold what its origin gives.
fn origin_fits(column: &SourceColumn) -> bool {
    match &column.origin {
        ColumnOrigin::Value | ColumnOrigin::Key => true,
        ColumnOrigin::Partition => matches!(column.data_type, DataType::Int32 | DataType::Int64),
        ColumnOrigin::Offset => column.data_type == DataType::Int64,
        ColumnOrigin::Timestamp => {
            matches!(column.data_type, DataType::Timestamp(..) | DataType::Int64)
        }
        ColumnOrigin::Header(_) => {
            matches!(column.data_type, DataType::Utf8View | DataType::BinaryView)
        }
    }
}
