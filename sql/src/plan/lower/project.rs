//! Lowers SELECT lists and names, and gives a query's rows the columns that it asks for. Columns that identify rows are
//! carried along where a query drops them but needs them.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::DFSchemaRef;
use datafusion::logical_expr::{Expr, Projection, SubqueryAlias};
use streams::{BatchExpr, ColumnExpr, NodeKind};

use super::window::time_below;
use super::{Lowering, Rows, TimeUse, nullable, plain_column, qualified};
use crate::diagnostic::Diagnostic;
use crate::plan::declared::unchanged;
use crate::plan::expr::CastColumn;

impl Lowering<'_> {
    pub(super) fn projection(
        &mut self,
        projection: &Projection,
        time: Option<TimeUse>,
    ) -> Result<Rows, Diagnostic> {
        let below = time_below(&projection.expr, time, &projection.input);
        let rows = self.lower(&projection.input, below)?;
        self.project(rows, &projection.expr, &projection.schema)
    }

    pub(super) fn alias(
        &mut self,
        alias: &SubqueryAlias,
        time: Option<TimeUse>,
    ) -> Result<Rows, Diagnostic> {
        self.scope.push(alias.alias.table().to_owned());
        let rows = self.lower(&alias.input, time)?;
        self.scope.pop();
        let rows = self.exactly(rows, alias.input.schema())?;
        Ok(rows.requalified(&alias.alias))
    }

    pub(super) fn project(
        &mut self,
        rows: Rows,
        exprs: &[Expr],
        schema: &DFSchemaRef,
    ) -> Result<Rows, Diagnostic> {
        let mut places: Vec<Option<usize>> = exprs
            .iter()
            .map(|expr| {
                let column = plain_column(unchanged(expr))?;
                rows.schema.index_of_column(column).ok()
            })
            .collect();
        let mut fields = qualified(schema);
        if self.keeps_keys {
            for column in rows.changes.dropped(&places, &rows.bounds) {
                let field = rows.schema.field(column).as_ref().clone();
                fields.push((None, Arc::new(field.with_name(self.hidden_name()))));
                places.push(Some(column));
            }
        }
        let bounds = places
            .iter()
            .map(|place| place.and_then(|place| rows.bounds[place]))
            .collect();
        let changes = rows.changes.mapped(&places, &rows.bounds, &rows.schema);
        let is_computed = |index: usize| {
            let expr = exprs.get(index);
            expr.is_some_and(|expr| plain_column(expr).is_none())
        };
        let mut numbered = places.iter().enumerate();
        let identity = places.len() == rows.bounds.len()
            && numbered.all(|(index, place)| *place == Some(index) && !is_computed(index));
        let mut compiled: Vec<Arc<dyn BatchExpr>> = Vec::with_capacity(places.len());
        for (index, place) in places.iter().enumerate() {
            compiled.push(match place {
                Some(place) if !is_computed(index) => Arc::new(ColumnExpr(*place)),
                _ => self.compile(&exprs[index], &rows.schema, fields[index].1.data_type())?,
            });
        }
        let schema = self.schema(fields)?;
        let node = if identity {
            rows.node
        } else {
            self.map(rows.node, compiled, schema.inner())
        };
        Ok(Rows {
            node,
            schema,
            bounds,
            changes,
        })
    }

    /// The columns of `schema` in its order, without those that it does not ask for.
    pub(super) fn exactly(&mut self, rows: Rows, schema: &DFSchemaRef) -> Result<Rows, Diagnostic> {
        if rows.schema.columns() == schema.columns() {
            return Ok(rows);
        }
        let exprs: Vec<Expr> = schema.columns().into_iter().map(Expr::Column).collect();
        self.project(rows, &exprs, schema)
    }

    /// The columns of the whole query, in order and with settled types.
    pub(super) fn output(&mut self, rows: Rows, schema: &DFSchemaRef) -> Result<Rows, Diagnostic> {
        let rows = self.exactly(rows, schema)?;
        let mut same = true;
        let mut fields = Vec::with_capacity(rows.bounds.len());
        let mut exprs: Vec<Arc<dyn BatchExpr>> = Vec::with_capacity(rows.bounds.len());
        let visible = schema.fields().len();
        for (index, field) in rows.schema.fields().iter().enumerate() {
            let data_type = self.settle(field)?;
            let plain = &data_type == field.data_type();
            same &= plain;
            let name = match index.checked_sub(visible) {
                Some(hidden) => format!("__key_{hidden}"),
                None => schema.field(index).name().clone(),
            };
            fields.push((None, Arc::new(Field::new(&name, data_type.clone(), true))));
            exprs.push(if plain {
                Arc::new(ColumnExpr(index))
            } else {
                Arc::new(CastColumn {
                    column: index,
                    data_type,
                    name,
                })
            });
        }
        let names_differ = {
            let arrow = &self.nodes[rows.node].schema;
            arrow
                .fields()
                .iter()
                .zip(&fields)
                .any(|(have, (_, want))| have.name() != want.name())
        };
        let output = self.schema(fields)?;
        let last = self
            .nodes
            .get_mut(rows.node)
            .expect("rows come from a node of this plan");
        if same && names_differ && matches!(last.kind, NodeKind::Map(_)) {
            last.schema = nullable(output.inner());
        }
        let node = if same && (!names_differ || matches!(last.kind, NodeKind::Map(_))) {
            rows.node
        } else {
            self.map(rows.node, exprs, output.inner())
        };
        Ok(Rows {
            node,
            schema: output,
            ..rows
        })
    }
}
