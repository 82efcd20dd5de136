//! Lowers UNION ALL: the rows of all branches. What tells rows apart, where that is asked for, is the branch and what tells
//! the rows of the branch apart.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, Union};
use streams::{BatchExpr, ColumnExpr, NodeKind};

use super::window::gives_records;
use super::{Lowering, Ordinal, Rows, TimeUse, qualified};
use crate::diagnostic::Diagnostic;
use crate::plan::changes::Changes;
use crate::plan::expr::CastColumn;

impl Lowering<'_> {
    pub(super) fn union(
        &mut self,
        union: &Union,
        time: Option<TimeUse>,
    ) -> Result<Rows, Diagnostic> {
        // Records of all branches are judged together above, or those of each before they meet anything else.
        let records = union.inputs.iter().all(|input| gives_records(input));
        let mut branches = Vec::with_capacity(union.inputs.len());
        for input in &union.inputs {
            let rows = match records {
                true => self.lower(input, time.clone())?,
                false => self.judged(input, time.clone())?,
            };
            branches.push(self.exactly(rows, input.schema())?);
        }
        let visible = union.schema.fields().len();
        let mut fields = qualified(&union.schema);
        let keys = self.branch_keys(&branches, &mut fields)?;
        let schema = self.schema(fields)?;
        let mut inputs = Vec::with_capacity(branches.len());
        for (number, rows) in branches.iter().enumerate() {
            let mut exprs: Vec<Arc<dyn BatchExpr>> = Vec::with_capacity(schema.fields().len());
            for place in 0..visible {
                let wanted = schema.field(place).data_type();
                exprs.push(if rows.schema.field(place).data_type() == wanted {
                    Arc::new(ColumnExpr(place))
                } else {
                    Arc::new(CastColumn {
                        column: place,
                        data_type: wanted.clone(),
                        name: schema.field(place).name().clone(),
                    })
                });
            }
            if let Some(keys) = &keys {
                exprs.extend(self.identity(number, keys, &schema, visible)?);
            }
            inputs.push(self.map(rows.node, exprs, schema.inner()));
        }
        let node = self.push(Ordinal::Stateless, inputs, schema.inner(), NodeKind::Union);
        let only_come = |rows: &Rows| matches!(rows.changes, Changes::Append(_));
        let key: Vec<usize> = (visible..schema.fields().len()).collect();
        let changes = match (branches.iter().all(only_come), keys) {
            (true, _) => Changes::Append(key),
            (false, Some(_)) => Changes::Keyed(key),
            (false, None) => {
                Changes::Unkeyed("the branches of a UNION ALL may have equal rows".to_owned())
            }
        };
        Ok(Rows {
            node,
            bounds: vec![None; schema.fields().len()],
            schema,
            changes,
        })
    }

    /// The key columns of each branch, and behind `fields` one for the branch and those of all of them. `None`: they are not
    /// asked for, or a branch has none.
    fn branch_keys(
        &mut self,
        branches: &[Rows],
        fields: &mut Vec<super::QualifiedField>,
    ) -> Result<Option<Vec<Vec<usize>>>, Diagnostic> {
        if !self.keeps_keys {
            return Ok(None);
        }
        let keys = branches
            .iter()
            .map(|rows| rows.changes.key().map(<[usize]>::to_vec));
        let Some(keys) = keys.collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let branch = Field::new(self.hidden_name(), DataType::Int32, false);
        fields.push((None, Arc::new(branch)));
        for (rows, key) in branches.iter().zip(&keys) {
            for &column in key {
                let data_type = self.settle(rows.schema.field(column))?;
                let field = Field::new(self.hidden_name(), data_type, true);
                fields.push((None, Arc::new(field)));
            }
        }
        Ok(Some(keys))
    }

    /// The hidden columns of branch `number`: its number, its own key, and NULL for the keys of the others.
    fn identity(
        &self,
        number: usize,
        keys: &[Vec<usize>],
        schema: &DFSchema,
        visible: usize,
    ) -> Result<Vec<Arc<dyn BatchExpr>>, Diagnostic> {
        let constant = |value: ScalarValue, data_type: &DataType| {
            self.compile(&Expr::Literal(value, None), &DFSchema::empty(), data_type)
        };
        let branch = i32::try_from(number).unwrap_or(i32::MAX);
        let branch = constant(ScalarValue::Int32(Some(branch)), &DataType::Int32)?;
        let mut exprs = vec![branch];
        let of_branch = keys.iter().enumerate();
        let columns = of_branch.flat_map(|(of, key)| key.iter().map(move |column| (of, *column)));
        for (place, (of, column)) in columns.enumerate() {
            let field = schema.field(visible + 1 + place);
            exprs.push(if of == number {
                Arc::new(CastColumn {
                    column,
                    data_type: field.data_type().clone(),
                    name: field.name().clone(),
                })
            } else {
                constant(ScalarValue::Null, field.data_type())?
            });
        }
        Ok(exprs)
    }
}
