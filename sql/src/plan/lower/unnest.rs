//! Lowers lists that are taken apart.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{Column, NullHandling};
use datafusion::logical_expr::Unnest;
use streams::{NodeKind, UnnestSpec};

use super::{Lowering, Ordinal, Rows, TimeUse, qualified};
use crate::diagnostic::Diagnostic;
use crate::plan::sql_type::type_name;

impl Lowering<'_> {
    pub(super) fn unnest(
        &mut self,
        unnest: &Unnest,
        time: Option<TimeUse>,
    ) -> Result<Rows, Diagnostic> {
        let input = unnest.input.schema();
        let time = time.and_then(|time| {
            let below = *unnest.dependency_indices.get(time.column)?;
            let is_list = unnest
                .list_type_columns
                .iter()
                .any(|(place, _)| *place == below);
            (!is_list).then(|| time.at(below))
        });
        let rows = self.judged(&unnest.input, time)?;
        if !unnest.struct_type_columns.is_empty() {
            let help = "name its fields: s.a, s.b";
            return Err(self.refuse("UNNEST of a STRUCT", "UNNEST", help));
        }
        let mut fields = qualified(&rows.schema);
        let mut columns = Vec::with_capacity(unnest.list_type_columns.len());
        for (place, list) in &unnest.list_type_columns {
            let (qualifier, field) = input.qualified_field(*place);
            let column = self.column(&rows.schema, &Column::from((qualifier, field)))?;
            let DataType::List(element) = rows.schema.field(column).data_type() else {
                let what = format!("UNNEST of {}", type_name(field.data_type()));
                return Err(self.refuse(&what, "UNNEST", "it takes an array"));
            };
            if list.depth != 1 || columns.contains(&column) {
                let help = "take it apart in a subquery, and what comes of that around it";
                return Err(self.refuse("UNNEST of UNNEST", "UNNEST", help));
            }
            let output = &list.output_column;
            let field = Field::new(&output.name, element.data_type().clone(), true);
            fields[column] = (output.relation.clone(), Arc::new(field));
            columns.push(column);
        }
        // Which element a row is of tells the rows of one row apart.
        let place = Field::new(self.hidden_name(), DataType::Int64, false);
        let ordinal = fields.len();
        fields.push((None, Arc::new(place)));
        let schema = self.schema(fields)?;
        let spec = UnnestSpec {
            keeps_empty: unnest.options.null_handling == NullHandling::PreserveAndExpandEmpty,
            columns,
        };
        let mut bounds = rows.bounds;
        bounds.push(None);
        let kind = NodeKind::Unnest(spec);
        let node = self.push(Ordinal::Stateless, vec![rows.node], schema.inner(), kind);
        Ok(Rows {
            node,
            schema,
            bounds,
            changes: rows.changes.with(ordinal),
        })
    }
}
