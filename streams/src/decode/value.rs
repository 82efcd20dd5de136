//! What a value format has to do: read the value of one record into rows, each with its sign.
//!
//! ```text
//! Decoder ── key columns of the current row ──▶ ValueDecoder::decode ── fields ──▶ Rows ── keep, delete ──▶ Slots
//! ```
//!
//! A format is one file that implements [`ValueDecoder`], and one line of [`Format`]. Most give one row a record;
//! Debezium may take one back and give another.

use std::ops::Range;

use log_api::Records;

use super::Part;
use super::column::{Column, TextPlace};
use super::csv::CsvDecoder;
use super::cursor::Cursor;
use super::debezium::DebeziumDecoder;
use super::fault::Fault;
use super::layout::{Layout, Target};
use super::metadata::Metadata;
use super::object::ObjectDecoder;
use super::slots::{Scratch, Slots};
use super::whole::WholeDecoder;

/// Reads values of one format.
pub(super) trait ValueDecoder {
    /// Rows that one record gives at the most.
    const ROWS_MAX: usize = 1;

    /// Reads a value into the current row, whose key columns the record key has filled already, and ends each row that the
    /// record gives with [`Rows::keep`] or [`Rows::delete`]. `place` is where the value lies.
    fn decode(&mut self, value: &[u8], place: TextPlace, rows: &mut Rows<'_>)
    -> Result<(), Failed>;
}

/// The part of a record that cannot be read, and why.
pub(super) type Failed = (Part, Fault);

/// The formats.
#[derive(Debug)]
pub(super) enum Format {
    Object(ObjectDecoder),
    Debezium(DebeziumDecoder),
    Csv(CsvDecoder),
    Whole(WholeDecoder),
}

impl Format {
    pub(super) fn rows_max(&self) -> usize {
        match self {
            Self::Object(_) => ObjectDecoder::ROWS_MAX,
            Self::Debezium(_) => DebeziumDecoder::ROWS_MAX,
            Self::Csv(_) => CsvDecoder::ROWS_MAX,
            Self::Whole(_) => WholeDecoder::ROWS_MAX,
        }
    }

    #[inline]
    pub(super) fn decode(
        &mut self,
        value: &[u8],
        place: TextPlace,
        rows: &mut Rows<'_>,
    ) -> Result<(), Failed> {
        match self {
            Self::Object(format) => format.decode(value, place, rows),
            Self::Debezium(format) => format.decode(value, place, rows),
            Self::Csv(format) => format.decode(value, place, rows),
            Self::Whole(format) => format.decode(value, place, rows),
        }
    }
}

/// The rows of one record.
pub(super) struct Rows<'a> {
    pub(super) slots: &'a mut Slots,
    pub(super) scratch: &'a mut Scratch,
    pub(super) metadata: &'a Metadata,
    pub(super) records: &'a Records,
    pub(super) record: usize,
    /// Rows of the batch that are deletes.
    pub(super) deleted: &'a mut Vec<usize>,
}

impl Rows<'_> {
    /// The current row is whole, and an insert.
    #[inline]
    pub(super) fn keep(&mut self) -> Result<(), Failed> {
        self.metadata.fill(self.slots, self.records, self.record)?;
        let whole = self.slots.check_required(self.scratch);
        whole.map_err(|fault| (Part::Value, fault))?;
        self.slots.keep_row();
        Ok(())
    }

    /// The current row deletes its key; its other columns mean nothing.
    pub(super) fn delete(&mut self) -> Result<(), Failed> {
        self.metadata.fill(self.slots, self.records, self.record)?;
        self.slots.check_key().map_err(|fault| (Part::Key, fault))?;
        self.slots.fill_required();
        self.deleted.push(self.slots.rows);
        self.slots.keep_row();
        Ok(())
    }

    /// The current row is none.
    pub(super) fn discard(&mut self) {
        self.slots.drop_row();
    }

    /// Gives a column of the current row the value that `read` reads, or compares it with what the record key gave the
    /// column (`agree`). `at` is where the value lies.
    pub(super) fn field(
        &mut self,
        column: usize,
        agree: bool,
        at: usize,
        read: impl FnOnce(&mut Column, usize) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        field(self.slots, self.scratch, (column, agree, at), read)
    }

    /// Reads the fields of the object that begins here.
    #[inline]
    pub(super) fn object(
        &mut self,
        layout: &mut Layout,
        cursor: &mut Cursor<'_>,
        place: TextPlace,
    ) -> Result<(), Fault> {
        object(layout, self.slots, self.scratch, cursor, place)
    }

    /// Whether these columns have the same values in the row before as in the current one.
    pub(super) fn same_as_before(&self, columns: &[usize]) -> bool {
        let row = self.slots.rows;
        columns.iter().all(|&column| {
            let column = &self.slots.columns[column];
            row > 0 && column.equals(row - 1, column, row)
        })
    }

    /// Whether the current row has a value in all of these columns.
    pub(super) fn has(&self, columns: &[usize]) -> bool {
        columns.iter().all(|&column| self.slots.is_marked(column))
    }
}

/// Reads the object that begins here into the current row. The only place that takes [`Column::read`] in.
#[inline(never)]
pub(super) fn object(
    layout: &mut Layout,
    slots: &mut Slots,
    scratch: &mut Scratch,
    cursor: &mut Cursor<'_>,
    place: TextPlace,
) -> Result<(), Fault> {
    let row = slots.rows;
    if !cursor.take(b'{') {
        return Err(Fault::not_an_object(cursor.at));
    }
    scratch.record += 1;
    cursor.skip_space();
    if cursor.take(b'}') {
        return Ok(());
    }
    let mut step = 0;
    loop {
        let target = layout.next(cursor, &mut step)?;
        match target {
            Target::Skip => cursor.skip_value()?,
            Target::Store(column) => {
                let index = usize::from(column);
                scratch.exact[index] = scratch.record;
                let read = slots.columns[index].read(row, cursor, place);
                let filled = read.map_err(|fault| fault.of(index))?;
                if !filled {
                    scratch.null[index] = scratch.record;
                }
                slots.mark(index, filled);
            }
            rare => rare_target(rare, slots, scratch, cursor, place)?,
        }
        cursor.skip_space();
        if cursor.take(b',') {
            cursor.skip_space();
        } else if cursor.take(b'}') {
            return Ok(());
        } else {
            return Err(Fault::syntax(cursor.at, "',' or '}'"));
        }
    }
}

/// Takes a field that is spelled in another case, that nothing reads, or that the record key has too.
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
    let index = usize::from(column);
    if loose && scratch.exact[index] == scratch.record {
        return cursor.skip_value();
    }
    if !loose {
        scratch.exact[index] = scratch.record;
    }
    // Texts of key columns are copied, so that they can be compared.
    let place = if agree { TextPlace::Copied } else { place };
    let at = cursor.at;
    field(slots, scratch, (index, agree, at), |column, row| {
        column.read_apart(row, cursor, place)
    })
}

/// See [`Rows::field`].
fn field(
    slots: &mut Slots,
    scratch: &mut Scratch,
    (index, agree, at): (usize, bool, usize),
    read: impl FnOnce(&mut Column, usize) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    let row = slots.rows;
    if agree
        && let Some(cell) = &mut scratch.cells[index]
        && (cell.null || slots.is_marked(index))
    {
        cell.field.restart();
        let found = read(&mut cell.field, 0).map_err(|fault| fault.of(index))?;
        if found && (cell.null || !cell.field.equals(0, &slots.columns[index], row)) {
            return Err(Fault::key_differs(at).of(index));
        }
        return Ok(());
    }
    // Where the record has no key for the column, the value's field is its own.
    let filled = slots.read(index, read).map_err(|fault| fault.of(index))?;
    if !filled {
        scratch.null[index] = scratch.record;
    }
    slots.mark(index, filled);
    Ok(())
}

/// What the rows of a run have come to so far.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Indexes of the records that rows came of, once a record did not give one.
    pub(super) rows: Option<Vec<u32>>,
    /// Rows that are deletes.
    pub(super) deleted: Vec<usize>,
    pub(super) errors: Vec<super::RowFailure>,
    pub(super) skipped: usize,
}

impl Outcome {
    /// A record gave the rows of `made`; those before came of `first`, `first + 1`, … unless a record was otherwise.
    #[inline(always)]
    pub(super) fn record(&mut self, first: usize, record: usize, made: Range<usize>) {
        if made.len() != 1 {
            self.otherwise(first, made.start);
            self.skipped += usize::from(made.is_empty());
        }
        if let Some(rows) = &mut self.rows {
            rows.extend(made.map(|_| record as u32));
        }
    }

    /// A record behind so many rows gave none.
    #[cold]
    pub(super) fn failed(&mut self, first: usize, rows: usize) {
        self.otherwise(first, rows);
    }

    /// From now on rows have to name their record.
    fn otherwise(&mut self, first: usize, rows: usize) {
        self.rows
            .get_or_insert_with(|| (first..first + rows).map(|record| record as u32).collect());
    }
}
