//! What the rows of a plan node do: only come, or change and go under a key.
//!
//! A view's topic is keyed by what identifies its rows, so the lowering tracks that through every operator.

use datafusion::common::DFSchema;
use streams::JoinKind;

use super::lower::{Rows, WindowBound};

/// How rows change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Changes {
    /// They are only ever added.
    Append,
    /// At most one row for each value of these columns; no columns: at most one row.
    Keyed(Vec<usize>),
    /// They change, and nothing identifies them; the reason in words.
    Unkeyed(String),
}

impl Changes {
    /// After a projection: `places[i]` is the input column that output column `i` is.
    pub(super) fn mapped(
        &self,
        places: &[Option<usize>],
        bounds: &[Option<WindowBound>],
        schema: &DFSchema,
    ) -> Self {
        let Self::Keyed(key) = self else {
            return self.clone();
        };
        let mut mapped = Vec::with_capacity(key.len());
        for &column in key {
            let same = |place: &Option<usize>| *place == Some(column);
            // Any bound of a window names the window.
            let window = bounds[column].map(|bound| bound.window);
            let same_window = |place: &Option<usize>| {
                place
                    .and_then(|place| bounds[place])
                    .map(|bound| bound.window)
                    == window
            };
            let found = places
                .iter()
                .position(same)
                .or_else(|| window.and_then(|_| places.iter().position(same_window)));
            match found {
                Some(found) if mapped.contains(&found) => {}
                Some(found) => mapped.push(found),
                None => {
                    let name = schema.field(column).name();
                    return Self::Unkeyed(format!(
                        "{name} identifies its rows but is not selected"
                    ));
                }
            }
        }
        Self::Keyed(mapped)
    }
}

/// What the rows of a join do; its columns are the left ones, then the right ones.
pub(super) fn joined(
    kind: JoinKind,
    left: &Rows,
    left_keys: &[usize],
    right: &Rows,
    right_keys: &[usize],
) -> Changes {
    let shift = left.bounds.len();
    let shifted = |key: &[usize]| key.iter().map(|column| column + shift).collect::<Vec<_>>();
    let at_most_one = |key: &[usize], by: &[usize]| key.iter().all(|column| by.contains(column));
    match (&left.changes, &right.changes) {
        (Changes::Append, Changes::Append) if kind == JoinKind::Inner => Changes::Append,
        (Changes::Unkeyed(reason), _) | (_, Changes::Unkeyed(reason)) => {
            Changes::Unkeyed(reason.clone())
        }
        (Changes::Keyed(left_key), Changes::Keyed(right_key)) => {
            // One side's key is enough where each of its rows comes once at most, and no row of the other side by itself.
            if !kind.pads(1) && at_most_one(right_key, right_keys) {
                Changes::Keyed(left_key.clone())
            } else if !kind.pads(0) && at_most_one(left_key, left_keys) {
                Changes::Keyed(shifted(right_key))
            } else {
                let mut key = left_key.clone();
                key.extend(shifted(right_key));
                Changes::Keyed(key)
            }
        }
        (Changes::Append, _) => Changes::Unkeyed(no_key(left)),
        (_, Changes::Append) => Changes::Unkeyed(no_key(right)),
    }
}

fn no_key(rows: &Rows) -> String {
    let name = rows
        .schema
        .iter()
        .find_map(|(qualifier, _)| qualifier.map(ToString::to_string));
    match name {
        Some(name) => format!("the rows of {name} have no key"),
        None => "one side of the join has no key".to_owned(),
    }
}
