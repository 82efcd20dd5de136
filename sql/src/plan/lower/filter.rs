//! Lowers WHERE and HAVING.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, Filter};
use streams::{BatchExpr, ColumnExpr, NodeKind};

use super::{Lowering, Ordinal, Rows, TimeUse, qualified, rank};
use crate::diagnostic::Diagnostic;
use crate::plan::changes::Changes;

impl Lowering<'_> {
    pub(super) fn filter(
        &mut self,
        filter: &Filter,
        time: Option<TimeUse>,
    ) -> Result<Rows, Diagnostic> {
        self.asked = rank::asked(filter);
        let rows = self.lower(&filter.input, time)?;
        if matches!(
            &filter.predicate,
            Expr::Literal(ScalarValue::Boolean(Some(true)), _)
        ) {
            return Ok(rows);
        }
        let predicate = self.compile(&filter.predicate, &rows.schema, &DataType::Boolean)?;
        Ok(self.filter_by(rows, predicate))
    }

    /// The rows for which `predicate` is true.
    pub(super) fn filter_by(&mut self, rows: Rows, predicate: Arc<dyn BatchExpr>) -> Rows {
        // The columns of its input as that names them: a projection that only renames has no node of its own.
        let schema = Arc::clone(&self.nodes[rows.node].schema);
        if predicate.may_vary() && !matches!(rows.changes, Changes::Append(_)) {
            return self.filter_by_kept(rows, predicate, &schema);
        }
        let kind = NodeKind::Filter(predicate);
        let node = self.push(Ordinal::Stateless, vec![rows.node], &schema, kind);
        Rows { node, ..rows }
    }

    /// A filter whose answer may be another one when a row is taken back: the answer becomes a column, which is kept.
    fn filter_by_kept(
        &mut self,
        rows: Rows,
        predicate: Arc<dyn BatchExpr>,
        schema: &SchemaRef,
    ) -> Rows {
        let column = |index| -> Arc<dyn BatchExpr> { Arc::new(ColumnExpr(index)) };
        let count = schema.fields().len();
        let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new("__passes", DataType::Boolean, true)));
        let with_answer: SchemaRef = Arc::new(Schema::new(fields));
        let mut exprs: Vec<Arc<dyn BatchExpr>> = (0..count).map(column).collect();
        exprs.push(predicate);
        let answered = self.map(rows.node, exprs, &with_answer);
        let kind = NodeKind::Filter(column(count));
        let passing = self.push(Ordinal::Stateless, vec![answered], &with_answer, kind);
        let node = self.map(passing, (0..count).map(column).collect(), schema);
        Rows { node, ..rows }
    }
}
