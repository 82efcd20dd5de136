//! Columns that are computed from others of their row, once a run of records is decoded.
//!
//! | row | column |
//! |---|---|
//! | for which the expression fails, or gives NULL where the column is NOT NULL | its record is undecodable |
//! | that deletes its key | NULL: of such a row only the key means something |
//! | any other | what the expression gives |
//!
//! Invariant: a record is a failure once, whatever number of rows and columns of it fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array,
    new_null_array,
};
use arrow::compute::{filter, filter_record_batch, not, take};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use log_api::Records;

use super::{Decoded, RowFailure, SourceSpecError};
use crate::expr::evaluate;
use crate::{BatchExpr, ColumnOrigin, SourceSpec};

/// The computed columns of a source.
#[derive(Debug)]
pub(super) struct Computed {
    columns: Vec<ComputedColumn>,
}

/// One of them.
#[derive(Debug)]
struct ComputedColumn {
    /// Its place among the source's columns.
    place: usize,
    name: String,
    data_type: DataType,
    nullable: bool,
    expr: Arc<dyn BatchExpr>,
    /// Places of the columns that it is computed from.
    inputs: Vec<usize>,
    /// Their schema.
    schema: SchemaRef,
}

impl Computed {
    /// Those of `spec`, whose rows have this schema.
    ///
    /// # Errors
    /// One is computed from a column that the source does not read.
    pub(super) fn new(spec: &SourceSpec, schema: &Schema) -> Result<Self, SourceSpecError> {
        let mut columns = Vec::new();
        for (place, column) in spec.columns.iter().enumerate() {
            let ColumnOrigin::Computed(computation) = &column.origin else {
                continue;
            };
            let read = |name: &String| {
                let is_it = |other: &crate::SourceColumn| {
                    other.name == *name && !matches!(other.origin, ColumnOrigin::Computed(_))
                };
                let place = spec.columns.iter().position(is_it);
                place.ok_or_else(|| SourceSpecError::Value {
                    topic: spec.topic.clone(),
                    reason: format!(
                        "column {:?} is computed from {name:?}, which is not read",
                        column.name
                    ),
                })
            };
            let inputs = computation.inputs.iter().map(read);
            let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
            let fields = inputs.iter().map(|&input| schema.field(input).clone());
            columns.push(ComputedColumn {
                place,
                name: column.name.clone(),
                data_type: column.data_type.clone(),
                nullable: column.nullable,
                expr: Arc::clone(&computation.expr),
                schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
                inputs,
            });
        }
        Ok(Self { columns })
    }

    /// Fills the columns of what was decoded of `records`.
    pub(super) fn fill(&self, mut decoded: Decoded, records: &Records) -> Decoded {
        if self.columns.is_empty() || decoded.batch.num_rows() == 0 {
            return decoded;
        }
        let live = decoded
            .deleted
            .as_ref()
            .map(|deleted| not(deleted).expect("a mask without NULLs has an opposite"));
        let mut columns = decoded.batch.columns().to_vec();
        // Of each row the first thing that is wrong.
        let mut faults: BTreeMap<usize, String> = BTreeMap::new();
        for column in &self.columns {
            let (values, failed) = column.values(&decoded.batch, live.as_ref());
            columns[column.place] = values;
            for (row, reason) in failed {
                faults.entry(row).or_insert(reason);
            }
        }
        decoded.batch = batch(decoded.batch.schema(), columns, decoded.batch.num_rows());
        if faults.is_empty() {
            return decoded;
        }
        without_failed(decoded, &faults, records)
    }
}

impl ComputedColumn {
    /// The value of each row of `rows`, and the rows that fail with the reason. Only `live` rows are computed.
    fn values(
        &self,
        rows: &RecordBatch,
        live: Option<&BooleanArray>,
    ) -> (ArrayRef, Vec<(usize, String)>) {
        let count = rows.num_rows();
        self.computed(rows, live).unwrap_or_else(|error| {
            let reason = self.fails(&error.to_string());
            let failed = (0..count).map(|row| (row, reason.clone())).collect();
            (new_null_array(&self.data_type, count), failed)
        })
    }

    fn computed(
        &self,
        rows: &RecordBatch,
        live: Option<&BooleanArray>,
    ) -> Result<(ArrayRef, Vec<(usize, String)>), ArrowError> {
        let count = rows.num_rows();
        let inputs = self
            .inputs
            .iter()
            .map(|&input| Arc::clone(rows.column(input)));
        let mut inputs = batch(Arc::clone(&self.schema), inputs.collect(), count);
        if let Some(live) = live {
            inputs = filter_record_batch(&inputs, live)?;
        }
        let is_live = |row: usize| live.is_none_or(|live| live.value(row));
        let evaluated = evaluate(self.expr.as_ref(), &inputs)?;
        let values = evaluated.values.filter(|values| !values.is_empty());
        if let Some(values) = &values
            && values.data_type() != &self.data_type
        {
            let found = values.data_type();
            return Err(ArrowError::SchemaError(format!("it gives {found}")));
        }
        // Rows that were computed are numbered among themselves, and their values among those that did not fail.
        let (mut computed, mut given) = (0, 0);
        let mut bad = evaluated.bad.into_iter().peekable();
        let mut failed = Vec::new();
        let mut places: Vec<Option<u32>> = Vec::with_capacity(count);
        for row in 0..count {
            if !is_live(row) {
                places.push(None);
                continue;
            }
            if let Some((_, reason)) = bad.next_if(|(number, _)| *number == computed) {
                failed.push((row, self.fails(&reason)));
                places.push(None);
            } else {
                let is_null = values
                    .as_ref()
                    .is_none_or(|values| values.is_null(given as usize));
                if is_null && !self.nullable {
                    failed.push((
                        row,
                        format!(
                            "column {:?} is NOT NULL, what it is computed from gives NULL",
                            self.name
                        ),
                    ));
                }
                places.push(Some(given));
                given += 1;
            }
            computed += 1;
        }
        let values = match values {
            None => new_null_array(&self.data_type, count),
            Some(values) if given as usize == count => values,
            Some(values) => take(&values, &UInt32Array::from(places), None)?,
        };
        Ok((values, failed))
    }

    fn fails(&self, reason: &str) -> String {
        format!("column {:?} cannot be computed: {reason}", self.name)
    }
}

fn batch(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns, &options)
        .expect("columns have the schema's types, and what is computed may be NULL there")
}

/// Makes failures of the records of these rows.
#[cold]
fn without_failed(
    decoded: Decoded,
    faults: &BTreeMap<usize, String>,
    records: &Records,
) -> Decoded {
    let origin = decoded.origin();
    let mut failed: BTreeMap<u32, &String> = BTreeMap::new();
    for (&row, reason) in faults {
        failed.entry(origin.value(row)).or_insert(reason);
    }
    let mut errors = decoded.errors;
    errors.extend(failed.iter().map(|(&row, reason)| RowFailure {
        row,
        offset: records.offsets.value(row as usize),
        reason: (*reason).clone(),
    }));
    errors.sort_by_key(|failure| failure.row);
    let is_kept = |record: &u32| !failed.contains_key(record);
    let kept: Vec<u32> = origin.values().iter().copied().filter(is_kept).collect();
    let mask: BooleanArray = (origin.values().iter())
        .map(|record| Some(is_kept(record)))
        .collect();
    let same = "the mask has the batch's length";
    let deleted = decoded.deleted.map(|deleted| {
        let deleted = filter(&deleted, &mask).expect(same);
        deleted.as_boolean().clone()
    });
    Decoded {
        batch: filter_record_batch(&decoded.batch, &mask).expect(same),
        rows: Some(kept),
        deleted,
        errors,
        ..decoded
    }
}
