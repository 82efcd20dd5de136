//! PURE: how a table is shared among readers: ranges of its key, and what of them is left after a crash.
//!
//! ```text
//!  sample of keys   ·  ·  ·  ·  ·  ·  ·  ·         every n-th of it ends a range
//!  ranges           (…, k1]  (k1, k2]  (k2, …)     a scan each; whoever goes on closes what was read and opens the rest
//! ```
//!
//! Invariants:
//! 1. The scans of a table lie side by side: each of its keys is in one of them.
//! 2. A scan that is not done is open: it is read by the snapshot that runs, or the next one.

use super::lsn::Lsn;
use super::view::{Range, Scan};

/// Rows for which another reader is worth its while.
const PIECE_ROWS_MIN: u64 = 25_000;
/// Pieces a reader, where an index finds where they begin: who is done early takes another one.
const PIECES_PER_READER: u64 = 4;

/// How many pieces a table of about so many rows is read in; each costs a reading of the whole table where no index finds its
/// first row.
pub(super) fn pieces(rows: u64, readers: usize, by_index: bool) -> usize {
    let readers = u64::try_from(readers).unwrap_or(u64::MAX);
    let most = readers.saturating_mul(if by_index { PIECES_PER_READER } else { 1 });
    usize::try_from((rows / PIECE_ROWS_MIN).min(most)).unwrap_or(1)
}

/// Ranges of about as many rows, by a sample of the table's keys in order.
pub(super) fn split(sample: &[Vec<String>], pieces: usize) -> Vec<Range> {
    let mut bounds: Vec<&Vec<String>> = (1..pieces)
        .filter_map(|piece| sample.get(piece * sample.len() / pieces))
        .collect();
    bounds.dedup();
    let mut behind = None;
    let mut ranges = Vec::new();
    for bound in bounds {
        ranges.push(Range {
            behind: behind.replace(bound.clone()),
            to: Some(bound.clone()),
        });
    }
    ranges.push(Range { behind, to: None });
    ranges
}

/// Opens what is left of a table that an earlier snapshot began, under the snapshot of `blank`; returns the places of these scans.
/// A table whose rows have no order is read anew, and its changes are judged by the first reading.
pub(super) fn go_on(scans: &mut Vec<Scan>, blank: &Scan, ordered: bool) -> Vec<usize> {
    let mut open = Vec::new();
    for place in 0..scans.len() {
        let scan = &mut scans[place];
        if !scan.is_of(&blank.schema, &blank.table, blank.in_part) || scan.done {
            continue;
        }
        match scan.upto.clone() {
            None => {
                if ordered {
                    (scan.view, scan.high) = (blank.view.clone(), blank.high);
                }
                open.push(place);
            }
            Some(upto) => {
                let rest = Range {
                    to: scan.range.to.replace(upto.clone()),
                    behind: Some(upto),
                };
                scan.done = true;
                open.push(scans.len());
                scans.push(Scan {
                    range: rest,
                    ..blank.clone()
                });
            }
        }
    }
    open
}

/// Gives the scans of an offset that knew no ranges theirs: each went on behind the one in front of it.
pub(super) fn chained(scans: Vec<Scan>) -> Vec<Scan> {
    let mut linked: Vec<Scan> = Vec::new();
    for mut scan in scans {
        let before = linked
            .iter()
            .rposition(|before| before.is_of(&scan.schema, &scan.table, scan.in_part));
        if let Some(place) = before {
            let before = &mut linked[place];
            scan.range.behind = before.upto.clone().or(before.range.behind.clone());
            if !before.done {
                before.range.to = before.upto.clone();
                before.done = true;
            }
            if before.upto.is_none() && before.range.to.is_none() {
                linked.remove(place);
            }
        }
        linked.push(scan);
    }
    linked
}

/// A scan of which nothing was read.
pub(super) fn blank(table: (&str, &str), view: Option<String>, high: Lsn, in_part: bool) -> Scan {
    Scan {
        schema: table.0.to_owned(),
        table: table.1.to_owned(),
        view,
        high,
        range: Range::default(),
        upto: None,
        done: false,
        in_part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Vec<String> {
        vec![text.to_owned()]
    }

    fn range(behind: Option<&str>, to: Option<&str>) -> Range {
        Range {
            behind: behind.map(key),
            to: to.map(key),
        }
    }

    fn scan(view: &str, bounds: Range, upto: Option<&str>, done: bool) -> Scan {
        Scan {
            range: bounds,
            upto: upto.map(key),
            done,
            ..blank(("s", "t"), Some(view.to_owned()), Lsn(7), false)
        }
    }

    #[test]
    fn small_tables_are_read_by_one() {
        for (rows, readers, by_index, expected) in [
            (0, 4, true, 0),
            (49_999, 4, true, 1),
            (50_000, 4, true, 2),
            (10_000_000, 4, true, 16),
            (10_000_000, 4, false, 4),
            (u64::MAX, 1, false, 1),
        ] {
            assert_eq!(pieces(rows, readers, by_index), expected, "{rows}");
        }
    }

    #[test]
    fn ranges_lie_side_by_side() {
        let sample: Vec<Vec<String>> = (0..8).map(|n| key(&n.to_string())).collect();
        assert_eq!(
            split(&sample, 3),
            [
                range(None, Some("2")),
                range(Some("2"), Some("5")),
                range(Some("5"), None)
            ]
        );
        // Without a sample, or of one key, there is nothing to share.
        assert_eq!(split(&[], 3), [Range::default()]);
        let one = vec![key("x"); 8];
        assert_eq!(
            split(&one, 4),
            [range(None, Some("x")), range(Some("x"), None)]
        );
        assert_eq!(split(&sample, 0), [Range::default()]);
    }

    #[test]
    fn what_was_read_stays_and_the_rest_is_opened() {
        let mut scans = vec![
            scan("1:1:", range(None, Some("10")), Some("10"), true),
            scan("1:1:", range(Some("10"), Some("20")), Some("13"), false),
            scan("1:1:", range(Some("20"), None), None, false),
        ];
        let now = blank(("s", "t"), Some("2:2:".to_owned()), Lsn(9), false);
        let open = go_on(&mut scans, &now, true);
        assert_eq!(open, [3, 2]);
        let mut last = scan("2:2:", range(Some("20"), None), None, false);
        let mut rest = scan("2:2:", range(Some("13"), Some("20")), None, false);
        (last.high, rest.high) = (Lsn(9), Lsn(9));
        assert_eq!(
            scans,
            [
                scan("1:1:", range(None, Some("10")), Some("10"), true),
                scan("1:1:", range(Some("10"), Some("13")), Some("13"), true),
                last,
                rest,
            ]
        );
        // Without an order: again, and known as it was.
        let mut scans = vec![scan("1:1:", Range::default(), None, false)];
        assert_eq!(go_on(&mut scans, &now, false), [0]);
        assert_eq!(scans[0].view.as_deref(), Some("1:1:"));
    }

    #[test]
    fn scans_without_ranges_were_one_behind_the_other() {
        let whole = Range::default;
        let stored = vec![
            scan("1:1:", whole(), Some("41"), false),
            scan("2:2:", whole(), None, false),
            scan("3:3:", whole(), Some("900"), false),
            scan("4:4:", whole(), None, true),
        ];
        assert_eq!(
            chained(stored),
            [
                scan("1:1:", range(None, Some("41")), Some("41"), true),
                scan("3:3:", range(Some("41"), Some("900")), Some("900"), true),
                scan("4:4:", range(Some("900"), None), None, true),
            ]
        );
        let open = vec![scan("1:1:", whole(), Some("41"), false)];
        assert_eq!(chained(open.clone()), open);
    }
}
