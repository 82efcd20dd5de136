//! Lowers as-of joins: keys and times that are computed become columns of their side.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::logical_expr::Expr;
use streams::{AsOfSpec, NodeKind};

use super::{Lowering, Ordinal, Rows, TimeUse, qualified};
use crate::diagnostic::Diagnostic;
use crate::plan::as_of::AsOf;
use crate::plan::changes::of_left;

impl Lowering<'_> {
    pub(super) fn as_of(&mut self, join: &AsOf, time: Option<TimeUse>) -> Result<Rows, Diagnostic> {
        let width = join.left.schema().fields().len();
        let left_time = time.filter(|time| time.column < width);
        let left = self.judged(&join.left, left_time)?;
        let right = self.lower(&join.right, None)?;
        let sides = |(left, right): &(Expr, Expr)| (left.clone(), right.clone());
        let compared: Vec<(Expr, Expr)> = join.on.iter().chain([&join.times]).map(sides).collect();
        let planned: Vec<DataType> = (qualified(&left.schema).iter())
            .chain(&qualified(&right.schema))
            .map(|(_, field)| field.data_type().clone())
            .collect();
        let widths = [left.bounds.len(), right.bounds.len()];
        let (left_exprs, right_exprs): (Vec<&Expr>, Vec<&Expr>) =
            compared.iter().map(|(left, right)| (left, right)).unzip();
        let (left, mut left_keys) = self.join_side(left, &left_exprs)?;
        let (right, mut right_keys) = self.join_side(right, &right_exprs)?;
        self.same_types(&left, &left_keys, &right, &right_keys)?;
        let (Some(left_time), Some(right_time)) = (left_keys.pop(), right_keys.pop()) else {
            return Err(self.refuse("an ASOF JOIN without times", "ASOF", ""));
        };
        let mut fields = qualified(&left.schema);
        let left_count = fields.len();
        fields.extend(qualified(&right.schema));
        for (_, field) in &mut fields[left_count..] {
            *field = Arc::new(field.as_ref().clone().with_nullable(true));
        }
        let schema = self.schema(fields)?;
        let spec = AsOfSpec {
            left_keys,
            right_keys,
            left_time,
            right_time,
            nearest: join.nearest,
            pads: true,
            waits: false,
        };
        let changes = of_left(&left);
        let mut bounds = left.bounds;
        bounds.extend(&right.bounds);
        let inputs = vec![left.node, right.node];
        let node = self.push(Ordinal::AsOf, inputs, schema.inner(), NodeKind::AsOf(spec));
        let rows = Rows {
            node,
            schema,
            bounds,
            changes,
        };
        self.as_planned(rows, |place| {
            let place = match place.checked_sub(left_count) {
                None if place < widths[0] => place,
                Some(of_right) if of_right < widths[1] => widths[0] + of_right,
                _ => return None,
            };
            planned.get(place)
        })
    }
}
