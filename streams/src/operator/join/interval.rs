//! Which rows of the other side a row can match where the condition bounds the time between them, and which rows can
//! match none any more.
//!
//! ```text
//! least ≤ right − left ≤ most
//!
//! a left row at t   meets right rows in  [t + least, t + most]
//! a right row at t  meets left rows in   [t − most, t − least]
//!
//! event time W, and no row before it comes any more:
//! a left row at t is of no use when t + most < W, a right row when t − least < W
//! ```

use super::stored::place_of_time;
use crate::{JoinRange, Watermark};

/// A range of places: from `from`, without `to` (`None`: to the last one).
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    pub(super) from: [u8; 8],
    pub(super) to: Option<[u8; 8]>,
}

/// The places that a row of side `port` with this time can match; `None`: there are none.
pub(super) fn matching(range: &JoinRange, port: usize, time: i64) -> Option<Places> {
    let (least, most) = if port == 0 {
        (range.least, range.most)
    } else {
        let negated = |bound: Option<i64>| bound.map(|bound| bound.saturating_neg());
        (negated(range.most), negated(range.least))
    };
    // A bound beyond what a time can be excludes everything, or nothing.
    let first = match least {
        Some(least) => match time.checked_add(least) {
            Some(first) => first,
            None if least > 0 => return None,
            None => i64::MIN,
        },
        None => i64::MIN,
    };
    let last = match most {
        Some(most) => match time.checked_add(most) {
            Some(last) => last,
            None if most < 0 => return None,
            None => i64::MAX,
        },
        None => i64::MAX,
    };
    if first > last {
        return None;
    }
    Some(Places {
        from: place_of_time(first),
        to: last.checked_add(1).map(place_of_time),
    })
}

/// When rows that match nothing any more were dropped last.
#[derive(Debug, Default)]
pub(super) struct Dropping {
    dropped_at: Option<i64>,
    reached: Option<i64>,
}

impl Dropping {
    /// Takes note of event time.
    pub(super) fn reach(&mut self, watermark: Watermark) {
        if let Watermark::At(at) = watermark {
            self.reached = Some(at);
        }
    }

    /// For both sides the time before which rows are of no use, when it is worth looking for them: to look costs what is
    /// kept, which is what came in the time that the range spans, so it is done once in that time.
    pub(super) fn due(&mut self, range: &JoinRange) -> Option<[i64; 2]> {
        const STEP_US: i64 = 1_000_000;
        let (least, most) = (range.least?, range.most?);
        let reached = self.reached?.saturating_sub(range.closes_after?);
        let step = most.saturating_sub(least).max(STEP_US);
        let is_due = match self.dropped_at {
            Some(before) => reached.saturating_sub(before) >= step,
            None => true,
        };
        if !is_due {
            return None;
        }
        self.dropped_at = Some(reached);
        Some([reached.saturating_sub(most), reached.saturating_add(least)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_meets_what_the_condition_says_at_the_ends_of_time_too() {
        let mut random = fastrand::Rng::with_seed(7);
        let times = [
            i64::MIN,
            i64::MIN + 1,
            -5,
            -1,
            0,
            1,
            5,
            i64::MAX - 1,
            i64::MAX,
        ];
        let bounds = [
            None,
            Some(i64::MIN),
            Some(-3),
            Some(0),
            Some(2),
            Some(i64::MAX),
        ];
        for _ in 0..20_000 {
            let mut pick = |of: &[i64]| of[random.usize(..of.len())];
            let (left, right) = (pick(&times), pick(&times));
            let range = JoinRange {
                left: 0,
                right: 0,
                least: bounds[random.usize(..bounds.len())],
                most: bounds[random.usize(..bounds.len())],
                closes_after: None,
            };
            let between = i128::from(right) - i128::from(left);
            let wanted = range.least.is_none_or(|least| between >= i128::from(least))
                && range.most.is_none_or(|most| between <= i128::from(most));
            for (port, own, other) in [(0, left, right), (1, right, left)] {
                // Negating the smallest bound is one too few: no condition of a query has it.
                if port == 1 && [range.least, range.most].contains(&Some(i64::MIN)) {
                    continue;
                }
                let found = matching(&range, port, own).is_some_and(|places| {
                    let place = place_of_time(other);
                    places.from <= place && places.to.is_none_or(|to| place < to)
                });
                assert_eq!(
                    found, wanted,
                    "{range:?}, left {left}, right {right}, from {port}"
                );
            }
        }
    }
}
