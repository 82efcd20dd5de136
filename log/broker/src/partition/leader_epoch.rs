//! Which leader epoch wrote which offsets (KIP-101, KIP-320): lets a client see that the log was cut behind its back.
//!
//! ```text
//! epochs  [(0, start 0), (2, start 40), (5, start 90)]   end 120
//! epoch 0 ends at 40, 1 answers as 0, 2..4 end at 90, 5 ends at 120, 6 is not known
//! ```
//!
//! Invariants:
//! 1. Epochs and start offsets both rise strictly.
//!
//! PURE.

/// The epochs of one partition, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LeaderEpochs {
    /// `(leader epoch, offset of its first record)`.
    entries: Vec<(i32, i64)>,
}

impl LeaderEpochs {
    /// From a file; entries that break invariant 1 are dropped.
    pub(crate) fn from_entries(entries: impl IntoIterator<Item = (i32, i64)>) -> Self {
        let mut epochs = Self::default();
        for (epoch, start) in entries {
            epochs.assign(epoch, start);
        }
        epochs
    }

    /// As written to a file.
    pub(crate) fn entries(&self) -> &[(i32, i64)] {
        &self.entries
    }

    /// The latest epoch.
    pub(crate) fn latest(&self) -> Option<i32> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// Records from `start` on are written in `epoch`. An older epoch than the latest changes nothing.
    pub(crate) fn assign(&mut self, epoch: i32, start: i64) {
        if self.latest().is_some_and(|latest| latest >= epoch) {
            return;
        }
        // Epochs that wrote nothing leave no trace.
        self.entries.retain(|(_, earlier)| *earlier < start);
        self.entries.push((epoch, start));
    }

    /// Records below `log_start` are gone; the epoch that wrote `log_start` stays, from there.
    pub(crate) fn truncate_start(&mut self, log_start: i64) {
        let first = self
            .entries
            .partition_point(|(_, start)| *start <= log_start)
            .saturating_sub(1);
        self.entries.drain(..first);
        if let Some((_, start)) = self.entries.first_mut() {
            *start = (*start).max(log_start);
        }
    }

    /// OffsetForLeaderEpoch: the largest known epoch that is not above `epoch`, and where it ends. `(-1, -1)` for an
    /// epoch that is not known yet.
    pub(crate) fn end_offset(&self, epoch: i32, end: i64) -> (i32, i64) {
        let after = self.entries.partition_point(|(known, _)| *known <= epoch);
        match (
            after.checked_sub(1).map(|floor| self.entries[floor]),
            self.entries.get(after),
        ) {
            (Some((floor, _)), Some((_, next_start))) => (floor, *next_start),
            (Some((floor, _)), None) if floor == epoch => (floor, end),
            // -1 stands for none that is known.
            (None, Some((_, next_start))) if epoch != -1 => (epoch, *next_start),
            _ => (-1, -1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> LeaderEpochs {
        LeaderEpochs::from_entries([(0, 0), (2, 40), (5, 90)])
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let epochs = picture();
        let ends: Vec<_> = (-2..=6)
            .map(|epoch| epochs.end_offset(epoch, 120))
            .collect();
        let expected = [
            (-2, 0),
            (-1, -1),
            (0, 40),
            (0, 40),
            (2, 90),
            (2, 90),
            (2, 90),
            (5, 120),
            (-1, -1),
        ];
        assert_eq!(ends, expected);
        assert_eq!(LeaderEpochs::default().end_offset(0, 0), (-1, -1));
    }

    #[test]
    fn empty_epochs_leave_no_trace() {
        let mut epochs = LeaderEpochs::default();
        epochs.assign(0, 0);
        epochs.assign(1, 0);
        epochs.assign(1, 9);
        assert_eq!(epochs.entries(), [(1, 0)]);
    }

    #[test]
    fn cutting_keeps_the_epochs_of_what_is_left() {
        let mut epochs = picture();
        epochs.truncate_start(60);
        assert_eq!(epochs.entries(), [(2, 60), (5, 90)]);
        assert_eq!(epochs.end_offset(0, 120), (0, 60));
    }
}
