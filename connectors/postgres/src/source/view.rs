//! PURE: which transactions a snapshot had seen, and which of a table's rows were read under which snapshot.
//!
//! A table is read under one snapshot, in ranges of its key. Where the reading was cut by a crash, it goes on behind the last
//! key of each under a later snapshot, while the stream still starts where it would have: it brings again what the later snapshot had seen
//! already. Such changes are passed over, row by row, up to the end of a row (see `assemble`):
//!
//! ```text
//!  keys     ……… 41 │ 42 ………………………… 900 │ 901 ……………
//!  read under    S1 │             S2     │      S3            a scan each
//!  change of 17, made by a transaction that S1 saw: known; that S1 did not see: new, whatever S2 saw
//! ```
//!
//! Invariant: every transaction that a view sees was committed before `high`; behind it nothing is passed over.

use std::str::FromStr;

use super::lsn::Lsn;

/// What `pg_current_snapshot()` says: `xmin:xmax:running,running,…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    xmin: u64,
    xmax: u64,
    running: Vec<u64>,
}

impl FromStr for View {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no snapshot of the form xmin:xmax:running");
        let mut parts = text.split(':');
        let mut number = || parts.next().and_then(|part| part.parse().ok());
        let (xmin, xmax) = number().zip(number()).ok_or_else(wrong)?;
        let running = parts.next().ok_or_else(wrong)?;
        let running = running
            .split(',')
            .filter(|part| !part.is_empty())
            .map(|part| part.parse().map_err(|_| wrong()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            xmin,
            xmax,
            running,
        })
    }
}

impl View {
    /// Whether a committed transaction had been committed for this snapshot. Transaction ids of the stream have 32
    /// bits: it is taken to be the one nearest to the snapshot.
    pub(super) fn sees(&self, xid: u32) -> bool {
        let xid = self.extend(xid);
        xid < self.xmin || (xid < self.xmax && !self.running.contains(&xid))
    }

    fn extend(&self, xid: u32) -> u64 {
        const ROUND: u64 = 1 << 32;
        let here = self.xmax / ROUND * ROUND + u64::from(xid);
        if here > self.xmax.saturating_add(ROUND / 2) {
            here.saturating_sub(ROUND)
        } else if here.saturating_add(ROUND / 2) < self.xmax {
            here + ROUND
        } else {
            here
        }
    }
}

/// One column of a key, in the order in which a snapshot reads it: that of the database for numbers and UUIDs, that of
/// the text's bytes for every other type, because its own may depend on a collation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum KeyPart {
    /// smallint, integer, bigint.
    Integer(i64),
    /// uuid.
    Uuid(u128),
    /// Anything else.
    Text(String),
}

impl KeyPart {
    /// The part that a text stands for, of a type whose oid is `type_oid`.
    pub(super) fn parse(type_oid: u32, text: &str) -> Option<Self> {
        match type_oid {
            20 | 21 | 23 => text.parse().ok().map(Self::Integer),
            2950 => u128::from_str_radix(&text.replace('-', ""), 16)
                .ok()
                .map(Self::Uuid),
            _ => Some(Self::Text(text.to_owned())),
        }
    }

    /// In SQL, what a column of this type is ordered by: `format` prints values as the stream does.
    pub(super) fn order(type_oid: u32, column: &str) -> String {
        match Self::is_indexed(type_oid) {
            true => column.to_owned(),
            false => bytes_of(&format!("pg_catalog.format('%s', {column})")),
        }
    }

    /// Whether an index of the column has that order.
    pub(super) fn is_indexed(type_oid: u32) -> bool {
        matches!(type_oid, 20 | 21 | 23 | 2950)
    }

    /// In SQL, a value to compare that with; `literal` is the value's text as a literal.
    pub(super) fn bound(type_oid: u32, literal: &str) -> String {
        match Self::is_indexed(type_oid) {
            true => literal.to_owned(),
            false => bytes_of(literal),
        }
    }
}

/// The bytes of a text as they are here, whatever the database's encoding.
fn bytes_of(text: &str) -> String {
    format!("pg_catalog.convert_to({text}, 'UTF8')")
}

/// Part of a table, by key; all of it without bounds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Range {
    /// The key behind which it begins, as text.
    pub(super) behind: Option<Vec<String>>,
    /// The key with which it ends.
    pub(super) to: Option<Vec<String>>,
}

/// Rows of a part of a table that were read under one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scan {
    /// Schema of the table.
    pub(super) schema: String,
    /// The table.
    pub(super) table: String,
    /// The snapshot as text; `None` = the one that the slot was made with, which had seen nothing of the stream.
    pub(super) view: Option<String>,
    /// Behind this position nothing is passed over.
    pub(super) high: Lsn,
    /// The rows that it reads.
    pub(super) range: Range,
    /// The last key that was read, as text; `None` before the first row and for tables without a key.
    pub(super) upto: Option<Vec<String>>,
    /// Whether all of them were read.
    pub(super) done: bool,
    /// Whether only rows of a condition were read. Nobody but the database can tell which rows these are, so that such
    /// a scan passes over no change: it tells how far the reading is, and rows of it may come twice.
    pub(super) in_part: bool,
}

impl Scan {
    /// Whether it is one of this table, and of this kind.
    pub(super) fn is_of(&self, schema: &str, table: &str, in_part: bool) -> bool {
        self.schema == schema && self.table == table && self.in_part == in_part
    }

    /// Whether a row with this key is among those that were read.
    fn covers(&self, key: Option<&[KeyPart]>, types: &[u32]) -> bool {
        if self.in_part {
            return false;
        }
        if self.done && self.range == Range::default() {
            return true;
        }
        let end = if self.done {
            &self.range.to
        } else {
            &self.upto
        };
        let Some(key) = key.filter(|_| self.done || end.is_some()) else {
            return false;
        };
        let parsed = |texts: &Vec<String>| -> Option<Vec<KeyPart>> {
            let parts = texts.iter().zip(types);
            parts
                .map(|(text, type_oid)| KeyPart::parse(*type_oid, text))
                .collect()
        };
        let is_behind = |bound| parsed(bound).is_some_and(|bound| key > bound.as_slice());
        let is_before = |bound| parsed(bound).is_some_and(|bound| key <= bound.as_slice());
        self.range.behind.as_ref().is_none_or(is_behind) && end.as_ref().is_none_or(is_before)
    }
}

/// Whether a change of a row by a transaction that was committed at `commit` is in the snapshot of its row already.
pub(super) fn known<'a>(
    scans: impl Iterator<Item = &'a Scan>,
    key: Option<&[KeyPart]>,
    types: &[u32],
    xid: u32,
    commit: Lsn,
) -> bool {
    let Some(scan) = scans.into_iter().find(|scan| scan.covers(key, types)) else {
        return false;
    };
    commit < scan.high
        && scan
            .view
            .as_ref()
            .and_then(|view| view.parse::<View>().ok())
            .is_some_and(|view| view.sees(xid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_snapshot_sees() {
        let view: View = "100:110:103,105".parse().unwrap();
        for (xid, seen) in [
            (99, true),
            (100, true),
            (103, false),
            (104, true),
            (105, false),
            (109, true),
            (110, false),
            (111, false),
        ] {
            assert_eq!(view.sees(xid), seen, "{xid}");
        }
        assert!("7:7:".parse::<View>().unwrap().sees(6));
        for bad in ["", "1", "1:2", "1:x:", "1:2:a"] {
            assert!(bad.parse::<View>().is_err(), "{bad}");
        }
    }

    #[test]
    fn transaction_ids_are_extended_to_the_nearest() {
        const ROUND: u64 = 1 << 32;
        let view: View = format!("{0}:{0}:", ROUND + 10).parse().unwrap();
        assert!(view.sees(u32::MAX), "of the round before");
        assert!(view.sees(9));
        assert!(!view.sees(10));
        let view: View = format!("{0}:{0}:", ROUND - 10).parse().unwrap();
        assert!(!view.sees(5), "of the round after");
        assert!(view.sees(u32::MAX - 20));
    }

    #[test]
    fn keys_of_all_types_have_an_order() {
        let part = |type_oid, text| KeyPart::parse(type_oid, text).unwrap();
        assert!(part(23, "9") < part(23, "10"));
        assert!(part(25, "9") > part(25, "10"));
        // Bytes, not letters of a language.
        assert!(part(25, "Z") < part(25, "a") && part(25, "z") < part(25, "ä"));
        assert_eq!(KeyPart::parse(23, "x"), None);
        assert_eq!(KeyPart::order(23, "\"id\""), "\"id\"");
        assert_eq!(
            KeyPart::order(25, "\"k\""),
            "pg_catalog.convert_to(pg_catalog.format('%s', \"k\"), 'UTF8')"
        );
        assert_eq!(
            KeyPart::bound(1700, "'1.0'"),
            "pg_catalog.convert_to('1.0', 'UTF8')"
        );
    }

    #[test]
    fn a_row_is_judged_by_the_snapshot_it_was_read_under() {
        let scan = |view: &str, upto: Option<&str>, done| Scan {
            schema: "public".to_owned(),
            table: "t".to_owned(),
            view: Some(view.to_owned()),
            high: Lsn(1000),
            range: Range::default(),
            upto: upto.map(|key| vec![key.to_owned()]),
            done,
            in_part: false,
        };
        let bound = |key: &str| Some(vec![key.to_owned()]);
        let scans = [
            scan("10:10:", Some("41"), false),
            Scan {
                range: Range {
                    behind: bound("41"),
                    to: None,
                },
                ..scan("20:20:", None, true)
            },
        ];
        let judge = |key: i64, xid, commit| {
            known(
                scans.iter(),
                Some(&[KeyPart::Integer(key)]),
                &[23],
                xid,
                Lsn(commit),
            )
        };
        assert!(judge(41, 9, 500));
        assert!(!judge(41, 15, 500), "read before transaction 15");
        assert!(judge(42, 15, 500), "read behind transaction 15");
        assert!(!judge(42, 25, 500));
        assert!(!judge(42, 15, 1000), "nothing is passed over behind high");
        // Between two scans that are being read, nothing is known.
        let open = [
            scan("10:10:", Some("41"), false),
            Scan {
                range: Range {
                    behind: bound("50"),
                    to: bound("90"),
                },
                ..scan("10:10:", Some("60"), false)
            },
            Scan {
                range: Range {
                    behind: bound("90"),
                    to: bound("99"),
                },
                ..scan("10:10:", Some("97"), true)
            },
        ];
        for (key, expected) in [
            (1, true),
            (41, true),
            (42, false),
            (50, false),
            (51, true),
            (60, true),
            (61, false),
            (90, false),
            (91, true),
            (99, true),
            (100, false),
        ] {
            let key = [KeyPart::Integer(key)];
            let found = known(open.iter(), Some(&key), &[23], 9, Lsn(1));
            assert_eq!(found, expected, "{key:?}");
        }
        let whole = [scan("20:20:", None, true)];
        assert!(known(whole.iter(), None, &[25], 15, Lsn(1)));
        assert!(!known([].iter(), None, &[], 15, Lsn(1)));
        // Rows outside of a condition were not read, and nobody here knows which these are.
        let in_part = Scan {
            in_part: true,
            ..scan("30:30:", None, true)
        };
        assert!(!known(
            [in_part.clone()].iter(),
            Some(&[KeyPart::Integer(7)]),
            &[23],
            15,
            Lsn(1)
        ));
        let behind_part = [in_part, scans[1].clone()];
        assert!(known(
            behind_part.iter(),
            Some(&[KeyPart::Integer(70)]),
            &[23],
            15,
            Lsn(1)
        ));
        assert!(!known(
            behind_part.iter(),
            Some(&[KeyPart::Integer(70)]),
            &[23],
            25,
            Lsn(1)
        ));
    }
}
