//! The rows of one join key on one side, in the order of their state keys.
//!
//! Few rows lie in a sorted list, many in a tree: nearly all keys have few, and a tree of one row is large.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

/// From here on a list becomes a tree.
const FEW_MAX: usize = 32;
/// What a row costs beside its bytes, about.
const ROW_BYTES: usize = 96;

/// What is known of a row beside its place, which is the end of its state key: `[time][number]` or `[time][row]`.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The row, where its place does not hold it.
    pub(super) row: Box<[u8]>,
    /// How often it is there.
    pub(super) count: u64,
    /// How many rows of the other side it matches, where that is kept.
    pub(super) degree: u64,
    /// The state has it, as it is or as it was.
    pub(super) stored: bool,
    /// The state does not have it as it is.
    pub(super) changed: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) enum Rows {
    Few(Vec<(Box<[u8]>, Kept)>),
    Many(BTreeMap<Box<[u8]>, Kept>),
}

/// About how much memory a row takes.
pub(super) fn row_bytes(place: &[u8], row: &[u8]) -> usize {
    place.len() + row.len() + ROW_BYTES
}

impl Rows {
    pub(super) fn new() -> Self {
        Self::Few(Vec::new())
    }

    pub(super) fn get_mut(&mut self, place: &[u8]) -> Option<&mut Kept> {
        match self {
            Self::Few(rows) => {
                let at = rows.binary_search_by(|(other, _)| other.as_ref().cmp(place));
                at.ok().map(|at| &mut rows[at].1)
            }
            Self::Many(rows) => rows.get_mut(place),
        }
    }

    /// Adds a row whose place is free.
    pub(super) fn insert(&mut self, place: Box<[u8]>, kept: Kept) {
        match self {
            Self::Few(rows) if rows.len() < FEW_MAX => {
                let at = rows.partition_point(|(other, _)| other.as_ref() < place.as_ref());
                rows.insert(at, (place, kept));
            }
            Self::Few(rows) => {
                let mut many: BTreeMap<_, _> = std::mem::take(rows).into_iter().collect();
                many.insert(place, kept);
                *self = Self::Many(many);
            }
            Self::Many(rows) => {
                rows.insert(place, kept);
            }
        }
    }

    pub(super) fn remove(&mut self, place: &[u8]) {
        match self {
            Self::Few(rows) => {
                let at = rows.binary_search_by(|(other, _)| other.as_ref().cmp(place));
                if let Ok(at) = at {
                    rows.remove(at);
                }
            }
            Self::Many(rows) => {
                rows.remove(place);
            }
        }
    }

    /// Visits the rows from place `from` up to, without it, place `to` (`None`: to the last one).
    pub(super) fn visit(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        mut visit: impl FnMut(&[u8], &Kept) -> ControlFlow<()>,
    ) {
        let _: ControlFlow<()> = match self {
            Self::Few(rows) => {
                let start = match from {
                    [] => 0,
                    from => rows.partition_point(|(place, _)| place.as_ref() < from),
                };
                rows[start..]
                    .iter()
                    .take_while(|(place, _)| to.is_none_or(|to| place.as_ref() < to))
                    .try_for_each(|(place, kept)| visit(place, kept))
            }
            Self::Many(_) if to.is_some_and(|to| to <= from) => return,
            Self::Many(rows) => {
                let to = to.map_or(Bound::Unbounded, Bound::Excluded);
                rows.range::<[u8], _>((Bound::Included(from), to))
                    .try_for_each(|(place, kept)| visit(place, kept))
            }
        };
    }

    pub(super) fn visit_mut(&mut self, mut visit: impl FnMut(&[u8], &mut Kept)) {
        match self {
            Self::Few(rows) => rows.iter_mut().for_each(|(place, kept)| visit(place, kept)),
            Self::Many(rows) => rows.iter_mut().for_each(|(place, kept)| visit(place, kept)),
        }
    }

    /// Forgets the rows whose place lies before `place`.
    pub(super) fn drop_before(&mut self, place: &[u8]) {
        match self {
            Self::Few(rows) => rows.retain(|(other, _)| other.as_ref() >= place),
            Self::Many(rows) => *rows = rows.split_off(place),
        }
    }

    /// About how much memory they take.
    pub(super) fn bytes(&self) -> usize {
        let mut bytes = 0;
        self.visit(&[], None, |place, kept| {
            bytes += row_bytes(place, &kept.row);
            ControlFlow::Continue(())
        });
        bytes
    }
}
