//! The suite that every [`StateStore`] passes: `run` panics with the rule that does not hold.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Delta, ScanOrder, StateRead, StateStore, Tag};

/// Opens the store of this name: an empty one for a new name, the same content for a name that was closed before (if
/// the store is durable).
pub type Open<'a> = dyn FnMut(&str) -> Arc<dyn StateStore> + 'a;

/// Runs all rules. `durable`: a store that was flushed and dropped is there again when its name is opened.
///
/// # Panics
/// If a rule does not hold.
pub fn run(open: &mut Open<'_>, durable: bool) {
    a_new_store_is_empty(&*open("empty"));
    later_values_win_and_deletes_remove(&*open("values"));
    scans_are_ordered_half_open_and_stop(&*open("scans"));
    prefixes_are_scanned_together(&*open("prefixes"));
    snapshots_do_not_change(&*open("snapshots"));
    a_model_agrees(&*open("model"));
    if durable {
        flushed_content_survives(open);
    }
}

fn tag(offset: i64) -> Tag {
    Tag {
        changelog_offset: offset,
        header: offset.to_string().into_bytes(),
    }
}

fn put(key: &[u8], value: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    (key.to_vec(), Some(value.to_vec()))
}

fn all(
    read: &(impl StateRead + ?Sized),
    from: &[u8],
    to: &[u8],
    order: ScanOrder,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut entries = Vec::new();
    read.scan(from, to, order, &mut |key, value| {
        entries.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })
    .expect("a scan works");
    entries
}

fn a_new_store_is_empty(store: &dyn StateStore) {
    assert_eq!(store.tag().expect("tag"), None, "a new store has no tag");
    assert_eq!(
        store.get(b"k").expect("get"),
        None,
        "a new store has no keys"
    );
    assert!(
        all(store, b"", b"", ScanOrder::Ascending).is_empty(),
        "a new store scans empty"
    );
}

fn later_values_win_and_deletes_remove(store: &dyn StateStore) {
    store
        .apply(
            &Delta {
                entries: vec![put(b"a", b"1"), put(b"b", b"")],
            },
            &tag(1),
        )
        .expect("apply");
    assert_eq!(store.get(b"a").expect("get"), Some(b"1".to_vec()));
    assert_eq!(
        store.get(b"b").expect("get"),
        Some(Vec::new()),
        "an empty value is a value"
    );
    store
        .apply(
            &Delta {
                entries: vec![put(b"a", b"2"), (b"b".to_vec(), None)],
            },
            &tag(2),
        )
        .expect("apply");
    assert_eq!(
        store
            .get_many(&[b"b".to_vec(), b"a".to_vec(), b"c".to_vec()])
            .expect("get_many"),
        vec![None, Some(b"2".to_vec()), None],
        "answers come in the order asked"
    );
    assert_eq!(
        store.tag().expect("tag"),
        Some(tag(2)),
        "the tag is the last one applied"
    );
}

fn scans_are_ordered_half_open_and_stop(store: &dyn StateStore) {
    let entries = vec![
        put(b"\x00", b"0"),
        put(b"a", b"1"),
        put(b"a\x00", b"2"),
        put(b"b", b"3"),
        put(b"\xf0\xff", b"4"),
    ];
    store
        .apply(
            &Delta {
                entries: entries.clone(),
            },
            &tag(1),
        )
        .expect("apply");
    let entries: Vec<_> = entries
        .into_iter()
        .map(|(key, value)| (key, value.unwrap_or_default()))
        .collect();
    assert_eq!(
        all(store, b"", b"", ScanOrder::Ascending),
        entries,
        "the tag is no entry; order is by bytes"
    );
    assert_eq!(
        all(store, b"a", b"b", ScanOrder::Ascending),
        entries[1..3],
        "from is in, to is out"
    );
    let mut reversed = entries[1..3].to_vec();
    reversed.reverse();
    assert_eq!(
        all(store, b"a", b"b", ScanOrder::Descending),
        reversed,
        "downwards has the same entries"
    );
    assert!(
        all(store, b"b", b"a", ScanOrder::Ascending).is_empty(),
        "a backward range is empty"
    );
    assert!(
        all(store, b"b", b"a", ScanOrder::Descending).is_empty(),
        "a backward range is empty"
    );
    let mut seen = 0;
    store
        .scan(b"", b"", ScanOrder::Ascending, &mut |_, _| {
            seen += 1;
            if seen == 2 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .expect("scan");
    assert_eq!(seen, 2, "Break ends the scan");
}

fn prefixes_are_scanned_together(store: &dyn StateStore) {
    let keys = ["a", "b1", "b2", "b3", "ba", "c1", "e1", "e2"];
    let entries = keys.map(|key| put(key.as_bytes(), b"v")).to_vec();
    store.apply(&Delta { entries }, &tag(1)).expect("apply");
    let prefixes: [&[u8]; 5] = [b"b", b"c", b"d", b"e1", b"e2"];
    let mut seen: Vec<(usize, String)> = Vec::new();
    let mut visit = |index: usize, key: &[u8], _: &[u8]| {
        seen.push((index, String::from_utf8_lossy(key).into_owned()));
        if key == b"b2" {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    store
        .scan_prefixes(&prefixes, &mut visit)
        .expect("a scan works");
    let expected = [(0, "b1"), (0, "b2"), (1, "c1"), (3, "e1"), (4, "e2")];
    let expected = expected.map(|(index, key)| (index, key.to_owned()));
    assert_eq!(
        seen, expected,
        "each prefix has its entries, and a break ends its own only"
    );
    store
        .scan_prefixes(&[], &mut |_, _, _| unreachable!("nothing was asked for"))
        .expect("a scan works");
}

fn snapshots_do_not_change(store: &dyn StateStore) {
    store
        .apply(
            &Delta {
                entries: vec![put(b"a", b"1")],
            },
            &tag(1),
        )
        .expect("apply");
    let snapshot = store.snapshot();
    store
        .apply(
            &Delta {
                entries: vec![put(b"a", b"2"), put(b"b", b"1")],
            },
            &tag(2),
        )
        .expect("apply");
    assert_eq!(snapshot.get(b"a").expect("get"), Some(b"1".to_vec()));
    assert_eq!(
        all(&*snapshot, b"", b"", ScanOrder::Ascending),
        vec![(b"a".to_vec(), b"1".to_vec())]
    );
    assert_eq!(store.get(b"a").expect("get"), Some(b"2".to_vec()));
}

fn a_model_agrees(store: &dyn StateStore) {
    let mut model = BTreeMap::new();
    let mut number = 1u32;
    for round in 0..20 {
        let mut delta = BTreeMap::new();
        for _ in 0..50 {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let key = (number >> 22).to_be_bytes().to_vec();
            let value = (number & 3 != 0).then(|| number.to_le_bytes().to_vec());
            delta.insert(key, value);
        }
        store
            .apply(
                &Delta {
                    entries: delta.clone().into_iter().collect(),
                },
                &tag(round),
            )
            .expect("apply");
        for (key, value) in delta {
            match value {
                Some(value) => model.insert(key, value),
                None => model.remove(&key),
            };
        }
        let expected: Vec<_> = model
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        assert_eq!(
            all(store, b"", b"", ScanOrder::Ascending),
            expected,
            "round {round}"
        );
    }
}

fn flushed_content_survives(open: &mut Open<'_>) {
    let store = open("durable");
    store
        .apply(
            &Delta {
                entries: vec![put(b"a", b"1")],
            },
            &tag(41),
        )
        .expect("apply");
    store.flush().expect("flush");
    drop(store);
    let store = open("durable");
    assert_eq!(
        store.tag().expect("tag"),
        Some(tag(41)),
        "tag and content come back together"
    );
    assert_eq!(store.get(b"a").expect("get"), Some(b"1".to_vec()));
}
