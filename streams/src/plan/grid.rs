//! Windows that overlap: which of them a time lies in. PURE.
//!
//! ```text
//! hop      [k·slide, k·slide + size)                    size may be any, also no multiple of the slide or less than it
//! cumulate [k·size, k·size + j·step), j = 1, 2, … up to the size, which the step divides
//! ```
//!
//! Windows are half-open and aligned to 1970-01-01 UTC, before it too.

/// See the module. Lengths are µs and above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WindowGrid {
    /// A window begins with every slide.
    Hop {
        /// From the start of one to the start of the next.
        slide_us: i64,
        /// Length of each.
        size_us: i64,
    },
    /// Windows begin together, and each is a step longer than the one before.
    Cumulate {
        /// By how much.
        step_us: i64,
        /// Length of the longest.
        size_us: i64,
    },
}

impl WindowGrid {
    /// Length of the longest window.
    pub fn size_us(self) -> i64 {
        match self {
            Self::Hop { size_us, .. } | Self::Cumulate { size_us, .. } => size_us,
        }
    }

    /// From the start of windows to the start of the next ones.
    pub fn period_us(self) -> i64 {
        match self {
            Self::Hop { slide_us, .. } => slide_us,
            Self::Cumulate { size_us, .. } => size_us,
        }
    }

    /// From the start, or the end, of one window to that of the next.
    pub(super) fn step_us(self) -> i64 {
        match self {
            Self::Hop { slide_us, .. } => slide_us,
            Self::Cumulate { step_us, .. } => step_us,
        }
    }

    /// In how many windows a time lies at most.
    pub fn windows_max(self) -> i64 {
        let (size_us, step_us) = (self.size_us(), self.step_us());
        size_us / step_us + i64::from(size_us % step_us != 0)
    }

    /// The windows of a time as start and end, by rising end. A hop that is longer than its windows leaves gaps.
    pub fn windows_of(self, time_us: i64) -> impl Iterator<Item = (i64, i64)> {
        let (size_us, step_us) = (self.size_us(), self.step_us());
        let before = |time: i64, length: i64| time.div_euclid(length).saturating_mul(length);
        let (first, last, start) = match self {
            Self::Hop { .. } => {
                let first =
                    before(time_us.saturating_sub(size_us), step_us).saturating_add(step_us);
                let last = before(time_us, step_us);
                (
                    first.saturating_add(size_us),
                    last.saturating_add(size_us),
                    None,
                )
            }
            Self::Cumulate { .. } => {
                let start = before(time_us, size_us);
                let first = before(time_us - start, step_us) + step_us;
                (
                    start.saturating_add(first),
                    start.saturating_add(size_us),
                    Some(start),
                )
            }
        };
        let end = move |number: i64| {
            first
                .checked_add(number.checked_mul(step_us)?)
                .filter(|end| *end <= last)
        };
        (0..)
            .map_while(end)
            .map(move |end| (start.unwrap_or(end - size_us), end))
    }

    /// The end of the last window that a time lies in, or would lie in.
    pub fn last_end(self, time_us: i64) -> i64 {
        let length = self.period_us();
        let start = time_us.div_euclid(length).saturating_mul(length);
        start.saturating_add(self.size_us())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_those_that_hold_the_time() {
        for seed in 0..2000u64 {
            let mut random = fastrand::Rng::with_seed(seed);
            let step = random.i64(1..20);
            let grid = if random.bool() {
                WindowGrid::Hop {
                    slide_us: step,
                    size_us: random.i64(1..50),
                }
            } else {
                WindowGrid::Cumulate {
                    step_us: step,
                    size_us: step * random.i64(1..8),
                }
            };
            let time = random.i64(-200..200);
            let size = grid.size_us();
            let mut wanted = Vec::new();
            for k in -300..300 {
                match grid {
                    WindowGrid::Hop { slide_us, .. } => {
                        wanted.push((k * slide_us, k * slide_us + size));
                    }
                    WindowGrid::Cumulate { step_us, .. } => {
                        let ends = (1..=size / step_us).map(|j| k * size + j * step_us);
                        wanted.extend(ends.map(|end| (k * size, end)));
                    }
                }
            }
            wanted.retain(|(start, end)| (*start..*end).contains(&time));
            wanted.sort_by_key(|(_, end)| *end);
            let found: Vec<_> = grid.windows_of(time).collect();
            assert_eq!(found, wanted, "seed {seed}: {grid:?} at {time}");
            assert!(found.len() as i64 <= grid.windows_max(), "seed {seed}");
            if let Some((_, end)) = found.last() {
                assert_eq!(*end, grid.last_end(time), "seed {seed}");
            }
        }
    }
}
