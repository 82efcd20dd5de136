//! What a job has counted since it was made, kept with its state: a restart forgets neither how many rows were left out
//! nor why.
//!
//! ```text
//! key     [manifest operator][whole operator]"tally"      (see state/key.rs)
//! value   version u8 = 2
//!         seven u64 LE   rows in, rows out, late, undecodable, failed, filtered, remade; version 1 has no remade
//!         two texts      last failure, last late row: u32 LE length and UTF-8; u32::MAX: there is none
//! ```
//!
//! It goes into the changelog with the commit whose rows it counts, so rows that are read again are counted once.
//!
//! Invariant: counts are no truth that a job depends on: what cannot be read is taken as nothing counted yet.

use crate::state::{MANIFEST, key};

const VERSION: u8 = 2;
/// Before failed rows were told apart.
const VERSION_WITHOUT_REMADE: u8 = 1;
const NONE: u32 = u32::MAX;
/// Longest text that is kept, bytes: reasons quote what was found in a record.
const TEXT_BYTES_MAX: usize = 4 << 10;

/// What was counted, and the last reasons.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) rows_in: u64,
    pub(crate) rows_out: u64,
    pub(crate) late: u64,
    pub(crate) undecodable: u64,
    pub(crate) failed: u64,
    pub(crate) filtered: u64,
    /// Of the failed rows those that are made again with another query on the same state.
    pub(crate) remade: u64,
    /// Why the last row failed or could not be decoded, and where it is.
    pub(crate) last_failure: Option<String>,
    /// Which row came too late last, and for which window.
    pub(crate) last_late: Option<String>,
}

impl Tally {
    /// Both together: counts add up, the later reasons stand.
    pub(crate) fn plus(&self, later: &Self) -> Self {
        Self {
            rows_in: self.rows_in + later.rows_in,
            rows_out: self.rows_out + later.rows_out,
            late: self.late + later.late,
            undecodable: self.undecodable + later.undecodable,
            failed: self.failed + later.failed,
            filtered: self.filtered + later.filtered,
            remade: self.remade + later.remade,
            last_failure: (later.last_failure.clone()).or_else(|| self.last_failure.clone()),
            last_late: later.last_late.clone().or_else(|| self.last_late.clone()),
        }
    }

    /// The rows of the view are made again: those that failed on the way out of the state fail again, or do not any more.
    pub(crate) fn refresh(&mut self) {
        self.failed = self.failed.saturating_sub(std::mem::take(&mut self.remade));
        if self.failed == 0 && self.undecodable == 0 {
            self.last_failure = None;
        }
    }

    /// See the module.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        for count in self.counts() {
            out.extend_from_slice(&count.to_le_bytes());
        }
        for text in [&self.last_failure, &self.last_late] {
            let Some(text) = text else {
                out.extend_from_slice(&NONE.to_le_bytes());
                continue;
            };
            let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
            let length = u32::try_from(text.len()).unwrap_or(0);
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out
    }

    /// What was kept; `None` if these bytes are of another version, or none of ours.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&version, mut rest) = bytes.split_first()?;
        if ![VERSION, VERSION_WITHOUT_REMADE].contains(&version) {
            return None;
        }
        let mut count = || {
            let (count, after) = rest.split_first_chunk::<8>()?;
            rest = after;
            Some(u64::from_le_bytes(*count))
        };
        let mut tally = Self {
            rows_in: count()?,
            rows_out: count()?,
            late: count()?,
            undecodable: count()?,
            failed: count()?,
            filtered: count()?,
            ..Self::default()
        };
        if version != VERSION_WITHOUT_REMADE {
            tally.remade = count()?;
        }
        tally.last_failure = text(&mut rest)?;
        tally.last_late = text(&mut rest)?;
        rest.is_empty().then_some(tally)
    }

    fn counts(&self) -> [u64; 7] {
        [
            self.rows_in,
            self.rows_out,
            self.late,
            self.undecodable,
            self.failed,
            self.filtered,
            self.remade,
        ]
    }
}

fn text(rest: &mut &[u8]) -> Option<Option<String>> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    let length = u32::from_le_bytes(*length);
    if length == NONE {
        return Some(None);
    }
    let (text, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some(Some(String::from_utf8(text.to_vec()).ok()?))
}

/// Where a store keeps the tally of its job.
pub(crate) fn tally_key() -> Vec<u8> {
    key::whole(MANIFEST, "tally")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        Tally {
            rows_in: 1,
            rows_out: 2,
            late: 3,
            undecodable: 4,
            failed: 5,
            filtered: u64::MAX,
            remade: 2,
            last_failure: Some("\"é\" at s-0@2".to_owned()),
            last_late: None,
        }
    }

    #[test]
    fn what_was_kept_is_read_again() {
        for tally in [Tally::default(), tally()] {
            assert_eq!(Tally::decode(&tally.encode()), Some(tally));
        }
    }

    #[test]
    fn what_was_kept_before_rows_were_told_apart_is_read() {
        let mut bytes = tally().encode();
        bytes[0] = VERSION_WITHOUT_REMADE;
        bytes.drain(1 + 6 * 8..1 + 7 * 8);
        let old = Tally {
            remade: 0,
            ..tally()
        };
        assert_eq!(Tally::decode(&bytes), Some(old));
    }

    #[test]
    fn rows_that_are_made_again_are_not_lacking() {
        let mut refreshed = tally();
        refreshed.refresh();
        assert_eq!((refreshed.failed, refreshed.remade), (3, 0));
        assert!(refreshed.last_failure.is_some());
        let mut whole = Tally {
            undecodable: 0,
            failed: 2,
            ..tally()
        };
        whole.refresh();
        assert_eq!((whole.failed, whole.last_failure), (0, None));
    }

    #[test]
    fn foreign_bytes_are_nothing_and_no_panic() {
        let whole = tally().encode();
        for length in 0..whole.len() {
            assert_eq!(Tally::decode(&whole[..length]), None, "{length}");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            // Another count or another text is fine; what does not fit is nothing.
            let _ = Tally::decode(&bytes);
        }
        assert_eq!(Tally::decode(&[VERSION + 1]), None);
    }

    #[test]
    fn long_reasons_are_cut_between_characters() {
        let long = Tally {
            last_failure: Some("é".repeat(TEXT_BYTES_MAX)),
            ..Tally::default()
        };
        let kept = Tally::decode(&long.encode()).expect("ours");
        assert_eq!(kept.last_failure, Some("é".repeat(TEXT_BYTES_MAX / 2)));
    }

    #[test]
    fn the_later_reason_stands() {
        let later = Tally {
            late: 1,
            last_late: Some("later".to_owned()),
            ..Tally::default()
        };
        let both = Tally {
            filtered: 0,
            ..tally()
        }
        .plus(&later);
        assert_eq!((both.late, both.undecodable), (4, 4));
        assert_eq!(both.last_late.as_deref(), Some("later"));
        assert_eq!(both.last_failure, tally().last_failure);
    }
}
