//! Lowers rows that are written out: VALUES, and a SELECT without FROM. They are told apart by their number.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::DFSchema;
use datafusion::logical_expr::Values;
use streams::NodeKind;

use super::{Lowering, Ordinal, QualifiedField, Rows, qualified};
use crate::diagnostic::{Code, Diagnostic};
use crate::plan::changes::Changes;

impl Lowering<'_> {
    /// Whether anything of the query can ever bring a row but constants.
    pub(super) fn reads_topics(&self) -> bool {
        let mut nodes = self.nodes.iter();
        nodes.any(|node| matches!(node.kind, NodeKind::Source(_)))
    }

    pub(super) fn one_row(&mut self) -> Result<Rows, Diagnostic> {
        self.constant(Vec::new(), Vec::new(), 1)
    }

    pub(super) fn values(&mut self, values: &Values) -> Result<Rows, Diagnostic> {
        let fields = qualified(&values.schema);
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let one =
            RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options);
        let failed = |error: String| Diagnostic::new(Code::Internal, error);
        let one = one.map_err(|error| failed(error.to_string()))?;
        let planned: Vec<DataType> = (fields.iter())
            .map(|(_, field)| field.data_type().clone())
            .collect();
        let mut settled = Vec::with_capacity(fields.len());
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(fields.len());
        for (place, (qualifier, field)) in fields.into_iter().enumerate() {
            let data_type = self.settle(&field)?;
            let mut cells = Vec::with_capacity(values.values.len());
            for row in &values.values {
                let cell = self.compile(&row[place], &DFSchema::empty(), &data_type)?;
                let cell = cell.eval(&one).map_err(|error| {
                    Diagnostic::new(Code::TypeMismatch, error.to_string())
                        .at(self.words.place("VALUES"))
                })?;
                cells.push(cell);
            }
            let parts: Vec<&dyn arrow::array::Array> = cells.iter().map(AsRef::as_ref).collect();
            columns.push(concat(&parts).map_err(|error| failed(error.to_string()))?);
            let field = Field::new(field.name(), data_type, true);
            settled.push((qualifier, Arc::new(field)));
        }
        let rows = self.constant(settled, columns, values.values.len())?;
        self.as_planned(rows, |place| planned.get(place))
    }

    fn constant(
        &mut self,
        mut fields: Vec<QualifiedField>,
        mut columns: Vec<ArrayRef>,
        rows: usize,
    ) -> Result<Rows, Diagnostic> {
        let number = Field::new(self.hidden_name(), DataType::Int64, true);
        fields.push((None, Arc::new(number)));
        columns.push(Arc::new(Int64Array::from_iter_values(0..rows as i64)));
        let place = columns.len() - 1;
        let schema = self.schema(fields)?;
        let arrow = Arc::clone(schema.inner());
        let rows = RecordBatch::try_new(Arc::clone(&arrow), columns)
            .map_err(|error| Diagnostic::new(Code::Internal, error.to_string()))?;
        let node = self.push(
            Ordinal::Constant,
            Vec::new(),
            &arrow,
            NodeKind::Constant(rows),
        );
        Ok(Rows {
            node,
            bounds: vec![None; place + 1],
            schema,
            changes: Changes::Append(if self.keeps_keys {
                vec![place]
            } else {
                Vec::new()
            }),
        })
    }
}
