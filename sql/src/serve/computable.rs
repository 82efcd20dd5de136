//! Rows whose computed columns cannot be computed are not written: nobody could read, change or delete them.
//!
//! Computed columns are checked here and not stored. One that is computed from what only a record has, its time or its
//! place, is not known yet and not looked at.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};
use streams::{ColumnOrigin, Computation};

use crate::catalog::Relation;
use crate::diagnostic::{Diagnostic, translate_arrow};
use crate::plan::Declaration;

/// Looks at `rows` rows whose `written` columns are `columns`.
///
/// # Errors
/// A computed column fails on one of them, or may not have what it gives.
pub(super) fn check_computed(
    relation: &Relation,
    written: &[usize],
    columns: &[ArrayRef],
    rows: usize,
) -> Result<(), Diagnostic> {
    for (place, column) in relation.columns.iter().enumerate() {
        let ColumnOrigin::Computed(computation) = &column.origin else {
            continue;
        };
        let Some(inputs) = inputs(relation, written, columns, computation) else {
            continue;
        };
        let batch = batch(inputs, rows)?;
        let values = computation.expr.eval(&batch).map_err(|error| {
            let mut cause = translate_arrow(&error.message);
            let text = &computation.text;
            let name = &column.name;
            cause.message = format!(
                "column {name:?} cannot be computed as {text}: {}",
                cause.message
            );
            cause.note("none of the rows was written")
        })?;
        Declaration::of(relation, place).held(&values)?;
    }
    Ok(())
}

/// What a column is computed from. `None`: something of it is not among what is written.
fn inputs(
    relation: &Relation,
    written: &[usize],
    columns: &[ArrayRef],
    computation: &Computation,
) -> Option<Vec<(Field, ArrayRef)>> {
    let inputs = computation.inputs.iter().map(|name| {
        let is_it = |place: &usize| relation.columns[*place].name == *name;
        let index = written.iter().position(is_it)?;
        let values = columns.get(index)?;
        let field = Field::new(name, values.data_type().clone(), true);
        Some((field, Arc::clone(values)))
    });
    inputs.collect()
}

fn batch(inputs: Vec<(Field, ArrayRef)>, rows: usize) -> Result<RecordBatch, Diagnostic> {
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = inputs.into_iter().unzip();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(|error| translate_arrow(&error.to_string()))
}
