//! Lowers as-of joins: keys and times that are computed become columns of their side.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, lit};
use streams::{Answer, AsOfSpec, LatePolicy, NodeKind};

use super::{Lowering, Ordinal, Rows, TimeUse, plain_column, qualified};
use crate::diagnostic::Diagnostic;
use crate::plan::as_of::{AsOf, Meets};
use crate::plan::changes::{Changes, is_unique, of_left};

impl Lowering<'_> {
    pub(super) fn as_of(&mut self, join: &AsOf, time: Option<TimeUse>) -> Result<Rows, Diagnostic> {
        let width = join.left.schema().fields().len();
        if time.as_ref().is_some_and(|time| time.column >= width) {
            let what = "a window over a time of the right side of an as-of join";
            return Err(self.refuse(what, "", "windows take a time of its left side"));
        }
        let settling = self.settling(join).filter(|(left, _)| {
            let above = time.as_ref();
            above.is_none_or(|above| above.column == left.column)
        });
        // Whether late rows are left out or still update is for the query to say.
        self.judged |= join.meets == Meets::Version;
        let (left_time, right_time, answer) = match (settling, join.meets) {
            (Some((left, right)), _) => {
                let grace_us = self.policy.grace_us;
                (Some(left), Some(right), Answer::AtEventTime { grace_us })
            }
            (None, Meets::Arrival) => (time, None, Answer::AtArrival),
            (None, Meets::Nearest | Meets::Version) => (time, None, Answer::Corrected),
        };
        let left = self.judged(&join.left, left_time)?;
        let right = self.judged(&join.right, right_time)?;
        // Where no time tells which row counts, all of them are of one.
        let any_time = lit(ScalarValue::TimestampMicrosecond(Some(0), None));
        let times = join.times.clone();
        let times = times.unwrap_or_else(|| (any_time.clone(), any_time));
        let compared: Vec<(Expr, Expr)> = join.on.iter().cloned().chain([times]).collect();
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
        if answer == Answer::AtArrival {
            self.check_lookup(&left, &right, &right_keys)?;
        }
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
            pads: join.pads,
            answer,
        };
        let changes = match &left.changes {
            Changes::Append(_) if answer.is_final() => left.changes.clone(),
            _ => of_left(&left),
        };
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

    /// How both sides are read where each row has one answer, once event time has passed it: they are records, and the times
    /// are what their sources have their watermarks by. Late rows that still update have no last answer.
    fn settling(&self, join: &AsOf) -> Option<(TimeUse, TimeUse)> {
        if join.meets != Meets::Version || self.policy.late == LatePolicy::Update {
            return None;
        }
        let (left, right) = join.times.as_ref()?;
        Some((
            self.closing_time(&join.left, plain_column(left)?)?,
            self.closing_time(&join.right, plain_column(right)?)?,
        ))
    }

    /// That a lookup has one answer, which nothing takes back.
    fn check_lookup(
        &self,
        left: &Rows,
        right: &Rows,
        right_keys: &[usize],
    ) -> Result<(), Diagnostic> {
        let help = "FOR SYSTEM_TIME AS OF f.ts takes the version of a time; a plain JOIN corrects its answer";
        if !matches!(left.changes, Changes::Append(_)) {
            let what = "a lookup for rows that change: what was there when one came is gone when it goes, so it";
            return Err(self.refuse(what, "SYSTEM_TIME", help));
        }
        if !is_unique(right, right_keys) {
            let what = "a lookup of several rows: ON has to compare the primary key of the right side, so this";
            return Err(self.refuse(what, "SYSTEM_TIME", help));
        }
        Ok(())
    }
}
