//! Lowers WHERE and HAVING.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, Filter};
use streams::{BatchExpr, ColumnExpr, NodeKind, VisibleSpec};

use super::{Lowering, Ordinal, Rows, TimeUse, qualified, rank};
use crate::diagnostic::Diagnostic;
use crate::plan::changes::Changes;
use crate::plan::clock::{self, Times};

impl Lowering<'_> {
    pub(super) fn filter(
        &mut self,
        filter: &Filter,
        time: Option<TimeUse>,
    ) -> Result<Rows, Diagnostic> {
        self.asked = rank::asked(filter);
        if let Some((times, others)) = clock::times(&filter.predicate) {
            // Lateness is told before rows wait.
            let mut rows = self.judged(&filter.input, time)?;
            if let Some(others) = others {
                let predicate = self.compile(&others, &rows.schema, &DataType::Boolean)?;
                rows = self.filter_by(rows, predicate);
            }
            return self.visible(rows, &times);
        }
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

    /// The rows that are there at the time.
    fn visible(&mut self, rows: Rows, times: &Times) -> Result<Rows, Diagnostic> {
        let count = rows.bounds.len();
        let exprs: Vec<&Expr> = times.from.iter().chain(&times.until).collect();
        let changes = match &rows.changes {
            changes if times.until.is_empty() => changes.clone(),
            Changes::Append(id) if id.is_empty() => {
                Changes::Unkeyed("its rows go as time passes".to_owned())
            }
            Changes::Append(id) => Changes::Keyed(id.clone()),
            changes => changes.clone(),
        };
        let schema = Arc::clone(&rows.schema);
        let bounds = rows.bounds.clone();
        let (rows, places) = self.join_side(rows, &exprs)?;
        let (from, until) = places.split_at(times.from.len());
        let spec = VisibleSpec {
            from: from.to_vec(),
            until: until.to_vec(),
        };
        let waiting = Arc::clone(&self.nodes[rows.node].schema);
        let inputs = vec![rows.node];
        let node = self.push(Ordinal::Visible, inputs, &waiting, NodeKind::Visible(spec));
        let column = |index| -> Arc<dyn BatchExpr> { Arc::new(ColumnExpr(index)) };
        let fields = waiting.fields().iter().take(count).cloned();
        let without_times: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let node = self.map(node, (0..count).map(column).collect(), &without_times);
        let kept = Rows {
            node,
            schema: Arc::clone(&rows.schema),
            bounds,
            changes,
        };
        let planned = schema;
        let fields = qualified(&kept.schema).into_iter().take(count).collect();
        let kept = Rows {
            schema: self.schema(fields)?,
            ..kept
        };
        self.as_planned(kept, |place| {
            (place < planned.fields().len()).then(|| planned.field(place).data_type())
        })
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
