//! What clients did and were told, held against what readers of committed records see. PURE.
//!
//! | violation | means |
//! |---|---|
//! | lost | acknowledged, and not there, or not where it was said to be |
//! | doubled | there more than once |
//! | reordered | behind a record that was sent after it |
//! | aborted | of a transaction that was never to be committed |
//! | torn | a transaction of which some records are there and some are not |
//! | stray | sent by nobody |
//! | offset | the offset of a transaction that is not there, or not that of the last one that is |

use std::collections::{BTreeMap, BTreeSet};

/// A record's value, and the partition it was sent to.
pub(super) type Sent = (i32, String);

/// How a transaction ended, as its producer knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Committed,
    /// The producer gave it up, or died before it asked for a commit.
    Aborted,
    /// A commit was asked for, and the answer did not come.
    Unknown,
}

/// What clients did.
#[derive(Debug, Default, Clone)]
pub(super) struct Ledger {
    /// Records outside transactions, in the order in which they were sent; with their offset where they were acknowledged.
    pub(super) sent: Vec<(Sent, Option<i64>)>,
    pub(super) transactions: Vec<(Vec<Sent>, Outcome)>,
}

/// What readers see: by partition, in the order of reading.
pub(super) type Seen = BTreeMap<i32, Vec<(i64, String)>>;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Violation {
    Lost(String),
    Doubled(String),
    Reordered(String),
    Aborted(String),
    Torn(Vec<String>),
    Stray(String),
    Offset {
        committed: Option<i64>,
        expected: Option<i64>,
    },
}

/// Whether the offset that a group has is that of the last transaction that is seen: each commits its number with its records, which are
/// called `t<number>-<partition>`.
pub(super) fn offset_violation(seen: &Seen, committed: Option<i64>) -> Option<Violation> {
    let records = seen.values().flatten();
    let numbers = records.filter_map(|(_, value)| {
        let (number, _) = value.strip_prefix('t')?.split_once('-')?;
        number.parse::<i64>().ok()
    });
    let expected = numbers.max();
    (committed != expected).then_some(Violation::Offset {
        committed,
        expected,
    })
}

impl Ledger {
    /// All that is wrong.
    pub(super) fn violations(&self, seen: &Seen) -> BTreeSet<Violation> {
        let mut violations = BTreeSet::new();
        let mut places: BTreeMap<Sent, Vec<i64>> = BTreeMap::new();
        for (partition, records) in seen {
            for (offset, value) in records {
                let places = places.entry((*partition, value.clone())).or_default();
                places.push(*offset);
            }
            if let Some(pair) = records.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
                violations.insert(Violation::Reordered(pair[1].1.clone()));
            }
        }
        for ((_, value), offsets) in &places {
            if offsets.len() > 1 {
                violations.insert(Violation::Doubled(value.clone()));
            }
        }
        let mut newest: BTreeMap<i32, i64> = BTreeMap::new();
        for (sent, acknowledged) in &self.sent {
            let found = places
                .remove(sent)
                .and_then(|offsets| offsets.first().copied());
            if acknowledged.is_some() && found != *acknowledged {
                violations.insert(Violation::Lost(sent.1.clone()));
            }
            if let Some(offset) = found {
                let newest = newest.entry(sent.0).or_insert(i64::MIN);
                if offset < *newest {
                    violations.insert(Violation::Reordered(sent.1.clone()));
                }
                *newest = offset.max(*newest);
            }
        }
        for (records, outcome) in &self.transactions {
            let there: Vec<_> = records.iter().map(|sent| places.remove(sent)).collect();
            let count = there.iter().flatten().count();
            let values = || records.iter().map(|(_, value)| value.clone());
            match outcome {
                Outcome::Aborted if count > 0 => {
                    let seen = values().zip(&there).filter(|(_, there)| there.is_some());
                    violations.extend(seen.map(|(value, _)| Violation::Aborted(value)));
                }
                Outcome::Committed if count == 0 => {
                    violations.extend(values().map(Violation::Lost));
                }
                _ if count > 0 && count < records.len() => {
                    violations.insert(Violation::Torn(values().collect()));
                }
                _ => {}
            }
        }
        violations.extend(places.into_keys().map(|(_, value)| Violation::Stray(value)));
        violations
    }
}

#[test]
fn an_offset_without_its_records_and_records_without_their_offset_are_found() {
    let seen = |values: &[&str]| -> Seen {
        let records = (0..).zip(values.iter().map(|value| (*value).to_owned()));
        BTreeMap::from([(0, records.collect())])
    };
    let sound = seen(&["t3-0", "t12-0"]);
    assert_eq!(offset_violation(&sound, Some(12)), None);
    assert_eq!(offset_violation(&seen(&[]), None), None);
    for committed in [None, Some(3), Some(13)] {
        let expected = Some(12);
        let found = offset_violation(&sound, committed);
        assert_eq!(
            found,
            Some(Violation::Offset {
                committed,
                expected
            })
        );
    }
}

/// The checker is worth something only if it finds what is planted.
#[test]
fn each_planted_fault_is_found() {
    let sent = |partition, value: &str| (partition, value.to_owned());
    let ledger = Ledger {
        sent: vec![
            (sent(0, "a"), Some(0)),
            (sent(0, "b"), None),
            (sent(0, "c"), Some(2)),
            (sent(1, "d"), Some(0)),
            (sent(1, "never came"), None),
        ],
        transactions: vec![
            (vec![sent(0, "e"), sent(1, "f")], Outcome::Committed),
            (vec![sent(0, "g"), sent(1, "h")], Outcome::Aborted),
            (vec![sent(0, "i"), sent(1, "j")], Outcome::Unknown),
            (vec![sent(0, "k"), sent(1, "l")], Outcome::Unknown),
        ],
    };
    let of = |values: &[(i64, &str)]| -> Vec<(i64, String)> {
        let values = values.iter();
        values
            .map(|(offset, value)| (*offset, (*value).to_owned()))
            .collect()
    };
    let sound = BTreeMap::from([
        (0, of(&[(0, "a"), (1, "b"), (2, "c"), (3, "e"), (6, "i")])),
        (1, of(&[(0, "d"), (1, "f"), (4, "j")])),
    ]);
    assert_eq!(ledger.violations(&sound), BTreeSet::new());
    let planted = |plant: &dyn Fn(&mut Seen)| {
        let mut seen = sound.clone();
        plant(&mut seen);
        ledger.violations(&seen).into_iter().collect::<Vec<_>>()
    };
    let push = |partition: i32, offset, value: &'static str| {
        move |seen: &mut Seen| {
            let records = seen.get_mut(&partition).expect("it is there");
            records.push((offset, value.to_owned()));
        }
    };
    let drop = |partition: i32, value: &'static str| {
        move |seen: &mut Seen| {
            let records = seen.get_mut(&partition).expect("it is there");
            records.retain(|(_, other)| other != value);
        }
    };
    let text = |value: &str| value.to_owned();
    assert_eq!(planted(&drop(1, "d")), [Violation::Lost(text("d"))]);
    assert_eq!(planted(&push(0, 9, "a")), [Violation::Doubled(text("a"))]);
    assert_eq!(planted(&push(0, 9, "b")), [Violation::Doubled(text("b"))]);
    assert_eq!(planted(&push(0, 9, "g")), [Violation::Aborted(text("g"))]);
    assert_eq!(planted(&push(0, 9, "x")), [Violation::Stray(text("x"))]);
    assert_eq!(
        planted(&drop(0, "e")),
        [Violation::Torn(vec![text("e"), text("f")])]
    );
    assert_eq!(
        planted(&push(0, 9, "k")),
        [Violation::Torn(vec![text("k"), text("l")])]
    );
    let moved = |seen: &mut Seen| seen.get_mut(&0).expect("it is there")[0].0 = -7;
    assert_eq!(planted(&moved), [Violation::Lost(text("a"))]);
    let swapped = |seen: &mut Seen| {
        let records = seen.get_mut(&0).expect("it is there");
        records[0].1 = text("b");
        records[1].1 = text("a");
    };
    let found = planted(&swapped);
    assert!(
        found.contains(&Violation::Reordered(text("b"))),
        "{found:?}"
    );
    let neither = |seen: &mut Seen| {
        drop(0, "e")(seen);
        drop(1, "f")(seen);
    };
    assert_eq!(
        planted(&neither),
        [Violation::Lost(text("e")), Violation::Lost(text("f"))]
    );
}
