//! Lowers session windows.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::logical_expr::Expr;
use streams::{NodeKind, SessionSpec, TumbleSpec};

use super::{Lowering, Ordinal, Rows, TimeUse, WindowBound, qualified};
use crate::diagnostic::Diagnostic;
use crate::plan::changes::Changes;
use crate::plan::session::Session;
use crate::plan::tumble::WINDOW_COLUMNS;

impl Lowering<'_> {
    pub(super) fn session(&mut self, session: &Session) -> Result<Rows, Diagnostic> {
        let time = TimeUse {
            column: session.time_index().map_err(|error| self.bound(&error))?,
            // Before a join nothing is known of sessions: a row is late when one that it begins would have closed.
            window: TumbleSpec {
                time_column: 0,
                size_us: 1,
                offset_us: 0,
                grace_us: (self.policy.grace_us).saturating_add(session.gap_us - 1),
                late: self.policy.late.clone(),
            },
        };
        let rows = self.lower(&session.input, Some(time))?;
        let planned = Arc::clone(&rows.schema);
        let keys: Vec<&Expr> = session.keys().iter().collect();
        let (rows, partition_by) = self.join_side(rows, &keys)?;
        let time_column = self.column(&rows.schema, &session.time)?;
        let time_type = rows.schema.field(time_column).data_type().clone();
        let mut fields = qualified(&rows.schema);
        let inputs = fields.len();
        fields.extend(
            WINDOW_COLUMNS.map(|name| (None, Arc::new(Field::new(name, time_type.clone(), true)))),
        );
        let schema = self.schema(fields)?;
        let window = self.windows;
        self.windows += 1;
        let mut bounds = rows.bounds;
        let to_end_us = [None, Some(0), Some(1_000)];
        bounds.extend(to_end_us.map(|to_end_us| Some(WindowBound { window, to_end_us })));
        let spec = SessionSpec {
            partition_by,
            time_column,
            gap_us: session.gap_us,
            grace_us: self.policy.grace_us,
            late: self.policy.late.clone(),
            emit: self.held,
        };
        let changes = match rows.changes {
            Changes::Append(id) if id.is_empty() => {
                Changes::Unkeyed("a row goes to another session when others join them".to_owned())
            }
            Changes::Append(id) | Changes::Keyed(id) => Changes::Keyed(id),
            unkeyed => unkeyed,
        };
        let node = self.push(
            Ordinal::Session,
            vec![rows.node],
            schema.inner(),
            NodeKind::Session(spec),
        );
        let rows = Rows {
            node,
            schema,
            bounds,
            changes,
        };
        self.as_planned(rows, |place| match place {
            place if place < planned.fields().len() && place < inputs => {
                Some(planned.field(place).data_type())
            }
            _ => None,
        })
    }
}
