//! PURE. The search for the row that makes the state of a key too large.
//!
//! A commit takes many rows, and only all of them together show that one is to blame. So the job starts over and takes
//! the same rows in [`STEPS`] commits; the one that fails is cut again, down to one row. That row becomes a row error,
//! and everything goes on as before.
//!
//! Invariant: a failed commit of a search has fewer rows than the one that began it, so a search ends.

use log_api::TopicPartition;

/// Commits into which the rows of a failed one are cut.
const STEPS: u64 = 64;
/// Rows that are remembered as found; a forgotten one that comes again is found again.
const FOUND_MAX: usize = 64;

/// A source row that state cannot take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadRow {
    /// Where it is.
    pub(crate) partition: TopicPartition,
    /// Its offset there.
    pub(crate) offset: i64,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Search {
    narrowing: Option<Narrowing>,
    found: Vec<BadRow>,
}

#[derive(Debug)]
struct Narrowing {
    step_rows: u64,
    /// Suspects that are not committed yet.
    rows_left: u64,
}

impl Search {
    /// How many rows a commit takes while the search is on.
    pub(crate) fn step_rows(&self) -> Option<usize> {
        let narrowing = self.narrowing.as_ref()?;
        Some(usize::try_from(narrowing.step_rows).unwrap_or(usize::MAX))
    }

    /// The rows to be left out.
    pub(crate) fn found(&self) -> &[BadRow] {
        &self.found
    }

    /// A commit of `rows` rows failed; `last` is the last of them. `false`: no row is to blame.
    pub(crate) fn failed(&mut self, rows: u64, last: Option<BadRow>) -> bool {
        match (rows, last) {
            (0, _) | (1, None) => return false,
            (1, Some(row)) => {
                self.narrowing = None;
                if self.found.len() == FOUND_MAX {
                    self.found.remove(0);
                }
                self.found.push(row);
            }
            (rows, _) => {
                self.narrowing = Some(Narrowing {
                    step_rows: rows.div_ceil(STEPS),
                    rows_left: rows,
                });
            }
        }
        true
    }

    /// A commit of `rows` rows went through.
    pub(crate) fn committed(&mut self, rows: u64) {
        if let Some(narrowing) = &mut self.narrowing {
            narrowing.rows_left = narrowing.rows_left.saturating_sub(rows);
            // The suspects are in: rows of several sources came in another order this time.
            if narrowing.rows_left == 0 {
                self.narrowing = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_many_rows_is_found() {
        let row = |offset| {
            Some(BadRow {
                partition: TopicPartition::new("flights", 0),
                offset,
                reason: String::new(),
            })
        };
        let mut search = Search::default();
        let (mut next, bad, mut restarts) = (0, 77_777, 0);
        while search.found().is_empty() {
            let rows = search.step_rows().unwrap_or(100_000) as u64;
            if (next..next + rows).contains(&bad) {
                assert!(search.failed(rows, row((next + rows - 1) as i64)));
                restarts += 1;
            } else {
                search.committed(rows);
                next += rows;
            }
        }
        assert_eq!((search.found()[0].offset, restarts), (77_777, 4));
        assert_eq!(search.step_rows(), None);
        assert!(!search.failed(0, row(1)), "time closed a window");
    }
}
