//! Lowers joins: keys that are computed become columns of their side, further conditions are applied to what matches.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::NullEquality;
use datafusion::logical_expr::{Expr, Join, JoinType};
use streams::{BatchExpr, ColumnExpr, JoinKind, JoinSpec, NodeKind};

use super::{Lowering, Ordinal, Rows, TimeUse, plain_column, qualified};
use crate::diagnostic::{Code, Diagnostic};
use crate::plan::changes::{Changes, joined};
use crate::plan::expr::CastColumn;
use crate::plan::sql_type::{settled, type_name};

impl Lowering<'_> {
    pub(super) fn join(&mut self, join: &Join, time: Option<TimeUse>) -> Result<Rows, Diagnostic> {
        let left_columns = join.left.schema().fields().len();
        let (left_time, right_time) = match time {
            Some(time) if time.column < left_columns => (Some(time), None),
            Some(time) => (None, Some(time.at(time.column - left_columns))),
            None => (None, None),
        };
        let left = self.judged(&join.left, left_time)?;
        let right = self.judged(&join.right, right_time)?;
        self.join_rows(join, left, right)
    }

    fn join_rows(&mut self, join: &Join, left: Rows, right: Rows) -> Result<Rows, Diagnostic> {
        let kind = match join.join_type {
            JoinType::Inner => JoinKind::Inner,
            JoinType::Left => JoinKind::Left,
            JoinType::Right => JoinKind::Right,
            JoinType::Full => JoinKind::Full,
            _ => return Err(self.refuse("IN (SELECT …) or EXISTS", "IN", "a JOIN works")),
        };
        if join.null_equality == NullEquality::NullEqualsNull {
            return Err(self.refuse(
                "IS NOT DISTINCT FROM as a join condition",
                "DISTINCT",
                "a = b works",
            ));
        }
        if join.on.is_empty() {
            return Err(
                Diagnostic::new(Code::NotStreaming, "this JOIN has no equality to go by")
                    .at(self.words.place("JOIN"))
                    .help("ON a.column = b.column; further conditions may follow with AND"),
            );
        }
        let on = join.on.iter().map(|(left, right)| (left, right));
        let (left_on, right_on): (Vec<&Expr>, Vec<&Expr>) = on.unzip();
        let (left, left_keys) = self.join_side(left, &left_on)?;
        let (right, right_keys) = self.join_side(right, &right_on)?;
        for (&left_key, &right_key) in left_keys.iter().zip(&right_keys) {
            let left_type = left.schema.field(left_key).data_type();
            let right_type = right.schema.field(right_key).data_type();
            if left_type != right_type {
                return Err(Diagnostic::new(
                    Code::TypeMismatch,
                    format!(
                        "a JOIN compares {} with {}",
                        type_name(left_type),
                        type_name(right_type)
                    ),
                )
                .at(self.words.place("ON"))
                .help("convert one of them: CAST(x AS type)"));
            }
        }
        let mut fields = qualified(&left.schema);
        fields.extend(qualified(&right.schema));
        let schema = self.schema(fields)?;
        let residual = match (&join.filter, kind) {
            (None, _) => None,
            (Some(filter), JoinKind::Inner) => {
                Some(self.compile(filter, &schema, &DataType::Boolean)?)
            }
            (Some(_), _) => {
                return Err(self.refuse(
                    "a further condition in ON of an outer join",
                    "ON",
                    "put it into WHERE, or into a subquery: LEFT JOIN (SELECT … WHERE …) b ON …",
                ));
            }
        };
        let changes = joined(kind, &left, &left_keys, &right, &right_keys);
        let bounds = left.bounds.iter().chain(&right.bounds).copied().collect();
        let keeps = |residual: &Arc<dyn BatchExpr>| {
            residual.may_vary() && !matches!(changes, Changes::Append(_))
        };
        let (kept, residual) = match residual {
            Some(residual) if keeps(&residual) => (Some(residual), None),
            residual => (None, residual),
        };
        let spec = JoinSpec {
            kind,
            left_keys,
            right_keys,
            residual,
        };
        let inputs = vec![left.node, right.node];
        let node = self.push(Ordinal::Join, inputs, schema.inner(), NodeKind::Join(spec));
        let rows = Rows {
            node,
            schema,
            bounds,
            changes,
        };
        Ok(match kept {
            Some(condition) => self.filter_by(rows, condition),
            None => rows,
        })
    }

    /// One side of a join with settled columns, and where its keys are; keys that are computed become columns.
    pub(super) fn join_side(&mut self, rows: Rows, keys: &[&Expr]) -> Result<(Rows, Vec<usize>), Diagnostic> {
        let mut fields = qualified(&rows.schema);
        let mut exprs: Vec<Arc<dyn BatchExpr>> = Vec::with_capacity(fields.len());
        let mut same = true;
        for (index, (_, field)) in fields.iter_mut().enumerate() {
            let data_type = self.settle(field)?;
            if &data_type == field.data_type() {
                exprs.push(Arc::new(ColumnExpr(index)));
            } else {
                same = false;
                let name = field.name().clone();
                exprs.push(Arc::new(CastColumn {
                    column: index,
                    data_type: data_type.clone(),
                    name,
                }));
                *field = Arc::new(field.as_ref().clone().with_data_type(data_type));
            }
        }
        let mut places = Vec::with_capacity(keys.len());
        let mut bounds = rows.bounds.clone();
        for key in keys {
            if let Some(column) = plain_column(key) {
                places.push(self.column(&rows.schema, column)?);
                continue;
            }
            same = false;
            let data_type = self.type_of(key, &rows.schema)?;
            let data_type = settled(&data_type).unwrap_or(data_type);
            exprs.push(self.compile(key, &rows.schema, &data_type)?);
            places.push(fields.len());
            bounds.push(None);
            let name = self.hidden_name();
            fields.push((None, Arc::new(Field::new(name, data_type, true))));
        }
        if same {
            return Ok((rows, places));
        }
        let schema = self.schema(fields)?;
        let node = self.map(rows.node, exprs, schema.inner());
        Ok((
            Rows {
                node,
                schema,
                bounds,
                changes: rows.changes,
            },
            places,
        ))
    }
}
