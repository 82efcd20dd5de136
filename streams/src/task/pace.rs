//! PURE. How many rows a job takes at a time, so that what they bring forth fits its memory.
//!
//! A row of a join may bring forth any number of rows, which only shows when it does. So a job that outgrows its room in
//! the middle of a turn goes back to its last commit and takes the same rows in pieces; where a piece does not fit either,
//! in smaller ones. What one row brings forth belongs into one commit: where it does not fit, it gets all the room that the
//! job may have, and where that is not enough, the job ends and says so. Later the pieces grow again.
//!
//! Invariant: pieces only become smaller until one goes through, so that a job gets through, or ends.

/// Rows that did not fit are taken in so many pieces.
const PIECES: u64 = 16;
/// After so many commits a piece is twice as large.
const GROWS_AFTER: u32 = 4;
/// After so many commits it is as if all had always fitted.
const FORGETS_AFTER: u32 = 256;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    narrowed: Option<Narrowed>,
}

#[derive(Debug)]
struct Narrowed {
    /// Rows of a piece.
    rows: u64,
    /// So many did not fit.
    too_many: u64,
    /// One row did not fit: it gets all the room.
    is_lifted: bool,
    /// Since then.
    commits: u32,
}

impl Pace {
    /// How many rows may be taken at a time; `None`: as many as always.
    pub(crate) fn rows(&self) -> Option<usize> {
        let narrowed = self.narrowed.as_ref()?;
        Some(usize::try_from(narrowed.rows).unwrap_or(usize::MAX))
    }

    /// Whether what waits for a commit may take all the room of the job.
    pub(crate) fn is_lifted(&self) -> bool {
        self.narrowed
            .as_ref()
            .is_some_and(|narrowed| narrowed.is_lifted)
    }

    /// What `rows` rows have brought forth did not fit; no row: event time has. `false`: nothing more can be done.
    pub(crate) fn outgrown(&mut self, rows: u64) -> bool {
        let is_lifted = self.is_lifted();
        if rows <= 1 && is_lifted {
            return false;
        }
        let piece = match rows {
            // Fewer rows make no difference to what event time brings forth.
            0 => self
                .narrowed
                .as_ref()
                .map_or(u64::MAX, |narrowed| narrowed.rows),
            rows => (rows / PIECES).max(1),
        };
        self.narrowed = Some(Narrowed {
            rows: piece,
            too_many: rows.max(1),
            is_lifted: rows <= 1,
            commits: 0,
        });
        true
    }

    /// A commit went through.
    pub(crate) fn committed(&mut self) {
        let Some(narrowed) = &mut self.narrowed else {
            return;
        };
        narrowed.commits += 1;
        if narrowed.commits >= FORGETS_AFTER {
            self.narrowed = None;
        } else if narrowed.commits.is_multiple_of(GROWS_AFTER)
            && narrowed.rows.saturating_mul(2) < narrowed.too_many
        {
            narrowed.rows *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes 100,000 rows where so many fit; gives how often it went back.
    fn run(fits: impl Fn(u64) -> u64) -> u32 {
        let mut pace = Pace::default();
        let (mut next, mut back) = (0, 0);
        while next < 100_000 {
            let rows = pace.rows().map_or(8192, |rows| rows as u64);
            if rows > fits(next) {
                assert!(pace.outgrown(rows));
                back += 1;
            } else {
                pace.committed();
                next += rows;
            }
        }
        back
    }

    #[test]
    fn pieces_shrink_until_they_fit_and_grow_again() {
        assert_eq!(run(|_| 10_000), 0);
        assert_eq!(run(|next| if next == 0 { 40 } else { 10_000 }), 2);
        assert!(run(|_| 100) < 30, "{}", run(|_| 100));
    }

    #[test]
    fn one_row_gets_all_the_room_and_then_nothing_more() {
        let mut pace = Pace::default();
        assert!(pace.outgrown(8192));
        assert!(pace.outgrown(512));
        assert!(pace.outgrown(32));
        assert!(pace.outgrown(2));
        assert_eq!((pace.rows(), pace.is_lifted()), (Some(1), false));
        assert!(pace.outgrown(1));
        assert!(pace.is_lifted());
        assert!(!pace.outgrown(1));
    }

    #[test]
    fn event_time_that_closes_windows_gets_all_the_room() {
        let mut pace = Pace::default();
        assert!(pace.outgrown(0));
        assert!(pace.is_lifted());
        assert!(!pace.outgrown(0));
        for _ in 0..FORGETS_AFTER {
            pace.committed();
        }
        assert_eq!((pace.rows(), pace.is_lifted()), (None, false));
    }
}
