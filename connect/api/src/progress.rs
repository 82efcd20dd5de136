//! How far a task is, for people who watch it and for metrics.

use std::time::Duration;

/// What a task says of itself; the runtime adds what it counts. Everything is of this run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// What it does now, in a word: `snapshot`, `streaming`.
    pub phase: Option<&'static str>,
    /// Figures by name, the unit last: `slot_lag_bytes`.
    pub figures: Vec<(&'static str, i64)>,
    /// What is read in parts: tables, files.
    pub parts: Vec<PartProgress>,
    /// What people should know although the task goes on, a sentence each.
    pub notes: Vec<String>,
}

/// How far a part is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PartProgress {
    /// Its name.
    pub name: String,
    /// Rows read so far.
    pub rows: u64,
    /// About how many there are, where that is known.
    pub rows_expected: Option<u64>,
    /// Since when it is read.
    pub reading: Option<Duration>,
    /// Whether it was read to its end.
    pub done: bool,
}

impl PartProgress {
    /// How much of it was read, from 0 to 100. An expectation that was too low ends at 99.
    pub fn percent(&self) -> Option<u32> {
        if self.done {
            return Some(100);
        }
        let expected = self.rows_expected.filter(|expected| *expected > 0)?;
        let percent = u128::from(self.rows) * 100 / u128::from(expected);
        Some(u32::try_from(percent.min(99)).unwrap_or(99))
    }

    /// How long the rest will take if it is read as fast as what came before.
    pub fn remaining(&self) -> Option<Duration> {
        let reading = self.reading.filter(|_| !self.done && self.rows > 0)?;
        let left = self.rows_expected?.saturating_sub(self.rows);
        let millis = reading.as_millis() * u128::from(left) / u128::from(self.rows);
        Some(Duration::from_millis(
            u64::try_from(millis).unwrap_or(u64::MAX),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_reckoned_from_what_was_read() {
        let part = PartProgress {
            rows: 250,
            rows_expected: Some(1000),
            reading: Some(Duration::from_secs(5)),
            ..PartProgress::default()
        };
        assert_eq!(part.percent(), Some(25));
        assert_eq!(part.remaining(), Some(Duration::from_secs(15)));
        let more_than_expected = PartProgress {
            rows: 2000,
            ..part.clone()
        };
        assert_eq!(more_than_expected.percent(), Some(99));
        assert_eq!(more_than_expected.remaining(), Some(Duration::ZERO));
        let done = PartProgress {
            done: true,
            ..part.clone()
        };
        assert_eq!((done.percent(), done.remaining()), (Some(100), None));
        let unknown = PartProgress {
            rows_expected: None,
            ..part
        };
        assert_eq!((unknown.percent(), unknown.remaining()), (None, None));
        let empty = PartProgress {
            rows_expected: Some(0),
            ..PartProgress::default()
        };
        assert_eq!((empty.percent(), empty.remaining()), (None, None));
    }
}
