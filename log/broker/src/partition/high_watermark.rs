//! Where readers may go.
//!
//! ```text
//! 0 ..... log start ........ last stable ........ high watermark = end
//!  deleted   | read_committed   | read_uncommitted    |
//! ```
//!
//! With a single replica everything written is replicated, so the high watermark is the log's end; it still moves only
//! after the write is done.
//!
//! Invariants:
//! 1. log start ≤ last stable ≤ high watermark.
//!
//! PURE.

/// The offsets that readers see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogEnds {
    /// First offset that is still there.
    pub(crate) log_start: i64,
    /// First offset of the oldest open transaction, or the high watermark.
    pub(crate) last_stable: i64,
    /// One past the last visible record.
    pub(crate) high_watermark: i64,
}

/// The ends after an append, a marker or a deletion.
pub(crate) fn ends(log_start: i64, end: i64, first_open: Option<i64>) -> LogEnds {
    let high_watermark = end.max(log_start);
    let last_stable = first_open.map_or(high_watermark, |offset| {
        offset.clamp(log_start, high_watermark)
    });
    LogEnds {
        log_start,
        last_stable,
        high_watermark,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_transaction_holds_the_last_stable_offset_inside_the_log() {
        assert_eq!(ends(0, 10, None).last_stable, 10);
        assert_eq!(ends(0, 10, Some(4)).last_stable, 4);
        assert_eq!(ends(6, 10, Some(4)).last_stable, 6);
        assert_eq!(ends(12, 10, None).high_watermark, 12);
    }
}
