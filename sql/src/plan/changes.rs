//! What the rows of a plan node do: only come, or change and go under a key.
//!
//! A view's topic is keyed by what identifies its rows, so the lowering tracks that through every operator. Where the
//! query itself drops it, it is carried along unseen (see [`super::lower::lower_keyed`]).

use datafusion::common::DFSchema;
use streams::JoinKind;

use super::lower::{Rows, WindowBound};

/// How rows change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Changes {
    /// They are only ever added. The columns that tell one from the other, should that be asked for; none: nothing does.
    Append(Vec<usize>),
    /// At most one row for each value of these columns; no columns: at most one row.
    Keyed(Vec<usize>),
    /// They change, and nothing identifies them; the reason in words.
    Unkeyed(String),
}

impl Changes {
    /// The columns that identify a row; `None`: nothing does.
    pub(super) fn key(&self) -> Option<&[usize]> {
        match self {
            Self::Append(id) if id.is_empty() => None,
            Self::Append(key) | Self::Keyed(key) => Some(key),
            Self::Unkeyed(_) => None,
        }
    }

    /// The same for rows that are there once for each value of a further column.
    pub(super) fn with(mut self, column: usize) -> Self {
        match &mut self {
            Self::Append(id) if id.is_empty() => {}
            Self::Append(key) | Self::Keyed(key) => key.push(column),
            Self::Unkeyed(_) => {}
        }
        self
    }

    /// Which columns that identify a row a projection drops: `places[i]` is the input column that output column `i` is.
    pub(super) fn dropped(
        &self,
        places: &[Option<usize>],
        bounds: &[Option<WindowBound>],
    ) -> Vec<usize> {
        let key = self.key().unwrap_or_default().iter().copied();
        key.filter(|&column| found(column, places, bounds).is_none())
            .collect()
    }

    /// After a projection: `places[i]` is the input column that output column `i` is.
    pub(super) fn mapped(
        &self,
        places: &[Option<usize>],
        bounds: &[Option<WindowBound>],
        schema: &DFSchema,
    ) -> Self {
        let Some(key) = self.key() else {
            return self.clone();
        };
        let mut mapped = Vec::with_capacity(key.len());
        for &column in key {
            match found(column, places, bounds) {
                Some(found) if mapped.contains(&found) => {}
                Some(found) => mapped.push(found),
                None if matches!(self, Self::Append(_)) => return Self::Append(Vec::new()),
                None => {
                    let name = schema.field(column).name();
                    return Self::Unkeyed(format!(
                        "{name} identifies its rows but is not selected"
                    ));
                }
            }
        }
        match self {
            Self::Append(_) => Self::Append(mapped),
            _ => Self::Keyed(mapped),
        }
    }
}

/// Where a projection puts a column, or another bound of the same window that says as much.
fn found(column: usize, places: &[Option<usize>], bounds: &[Option<WindowBound>]) -> Option<usize> {
    let same = places.iter().position(|place| *place == Some(column));
    same.or_else(|| {
        let bound = bounds[column]?;
        let says_as_much = |place: &Option<usize>| {
            let other = place.and_then(|place| bounds[place]);
            other.is_some_and(|other| other.tells(bound))
        };
        places.iter().position(says_as_much)
    })
}

/// What the rows of a join do; its columns are the left ones, then the right ones where pairs come out.
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
    let of_both = |left: &[usize], right: &[usize]| [left, &shifted(right)].concat();
    let only_come = matches!(
        (&left.changes, &right.changes),
        (Changes::Append(_), Changes::Append(_))
    );
    if !kind.pairs() {
        return match key_of(left) {
            _ if only_come && kind == JoinKind::Semi => left.changes.clone(),
            Ok(key) => Changes::Keyed(key.to_vec()),
            Err(unkeyed) => unkeyed,
        };
    }
    if let (Changes::Append(left_id), Changes::Append(right_id), JoinKind::Inner) =
        (&left.changes, &right.changes, kind)
    {
        let are_known = !left_id.is_empty() && !right_id.is_empty();
        return Changes::Append(if are_known {
            of_both(left_id, right_id)
        } else {
            Vec::new()
        });
    }
    let (left_key, right_key) = match (key_of(left), key_of(right)) {
        (Ok(left_key), Ok(right_key)) => (left_key, right_key),
        (Err(unkeyed), _) | (_, Err(unkeyed)) => return unkeyed,
    };
    // One side's key is enough where each of its rows comes once at most, and no row of the other side by itself.
    Changes::Keyed(if !kind.pads(1) && at_most_one(right_key, right_keys) {
        left_key.to_vec()
    } else if !kind.pads(0) && at_most_one(left_key, left_keys) {
        shifted(right_key)
    } else {
        of_both(left_key, right_key)
    })
}

/// What the rows of a join do that gives each left row once.
pub(super) fn of_left(left: &Rows) -> Changes {
    match key_of(left) {
        Ok(key) => Changes::Keyed(key.to_vec()),
        Err(unkeyed) => unkeyed,
    }
}

/// Whether a row that only one side of a full join has may have the same key as one that only the other side has: where
/// all columns of both keys may be NULL.
pub(super) fn is_ambiguous(kind: JoinKind, left: &Rows, right: &Rows) -> bool {
    let all_nullable = |rows: &Rows| {
        let key = rows.changes.key();
        key.is_some_and(|key| {
            key.iter()
                .all(|&column| rows.schema.field(column).is_nullable())
        })
    };
    kind == JoinKind::Full && all_nullable(left) && all_nullable(right)
}

/// Whether at most one row has these values in these columns.
pub(super) fn is_unique(rows: &Rows, columns: &[usize]) -> bool {
    let key = rows.changes.key();
    key.is_some_and(|key| key.iter().all(|column| columns.contains(column)))
}

fn key_of(rows: &Rows) -> Result<&[usize], Changes> {
    if let Changes::Unkeyed(_) = &rows.changes {
        return Err(rows.changes.clone());
    }
    rows.changes.key().ok_or_else(|| {
        let name = rows
            .schema
            .iter()
            .find_map(|(qualifier, _)| qualifier.map(ToString::to_string));
        Changes::Unkeyed(match name {
            Some(name) => format!("the rows of {name} have no key"),
            None => "one side of the join has no key".to_owned(),
        })
    })
}
