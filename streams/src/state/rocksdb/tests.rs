//! What a store on disk holds, takes and says.

use super::*;

#[test]
fn passes_the_conformance_suite() {
    let folder = tempfile::tempdir().unwrap();
    let options = RocksOptions::new(1 << 20, 1 << 20);
    crate::state::conformance::run(
        &mut |name| Arc::new(RocksStore::open(&folder.path().join(name), &options).unwrap()),
        true,
    );
}

#[test]
fn many_stores_keep_to_one_limit() {
    let folder = tempfile::tempdir().unwrap();
    let options = RocksOptions::new(8 << 20, 8 << 20);
    let open = |number: i32| {
        let path = folder.path().join(number.to_string());
        RocksStore::open(&path, &options).unwrap()
    };
    let stores: Vec<RocksStore> = (0..6).map(open).collect();
    let value = vec![7; 16 << 10];
    let mut most = 0;
    for round in 0..300_i64 {
        for store in &stores {
            let entries = vec![(round.to_be_bytes().to_vec(), Some(value.clone()))];
            let tag = Tag {
                changelog_offset: round,
                header: Vec::new(),
            };
            store.apply(&Delta { entries }, &tag).unwrap();
        }
        most = most.max(options.used_bytes());
    }
    // What is being flushed counts until it is on disk.
    assert!(most < 16 << 20, "{most} bytes for 28 MiB in 6 stores");
    assert!(most > 1 << 20, "write buffers are counted: {most}");
}

#[test]
fn many_stores_of_few_rows_take_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let options = RocksOptions::new(64 << 20, 8 << 20);
    let open = |number: i32| {
        let path = folder.path().join(number.to_string());
        let store = RocksStore::open(&path, &options).unwrap();
        for commit in 0..20_i64 {
            let entries = vec![(commit.to_be_bytes().to_vec(), Some(vec![7; 100]))];
            let tag = Tag {
                changelog_offset: commit,
                header: vec![7; 100],
            };
            store.apply(&Delta { entries }, &tag).unwrap();
        }
        store
    };
    let stores: Vec<RocksStore> = (0..100).map(open).collect();
    let used = options.used_bytes();
    assert!(used < 4 << 20, "{used} bytes of {} stores", stores.len());
}

#[test]
fn an_empty_store_takes_little_disk() {
    use std::os::unix::fs::MetadataExt;
    let folder = tempfile::tempdir().unwrap();
    let store = RocksStore::open(folder.path(), &RocksOptions::new(1 << 20, 1 << 20)).unwrap();
    let files = std::fs::read_dir(folder.path()).unwrap();
    let taken = files.map(|file| file.unwrap().metadata().unwrap().blocks() * 512);
    let taken: u64 = taken.sum();
    assert!(taken < 200 << 10, "{taken} bytes");
    drop(store);
}

#[test]
fn what_was_not_flushed_is_gone_with_its_tag() {
    let folder = tempfile::tempdir().unwrap();
    let options = RocksOptions::new(1 << 20, 1 << 20);
    let store = RocksStore::open(folder.path(), &options).unwrap();
    let tag = |offset| Tag {
        changelog_offset: offset,
        header: vec![7],
    };
    let put = |key: &[u8]| Delta {
        entries: vec![(key.to_vec(), Some(vec![1]))],
    };
    store.apply(&put(b"a"), &tag(3)).unwrap();
    store.flush().unwrap();
    store.apply(&put(b"b"), &tag(4)).unwrap();
    // A copy of the folder is what a crash leaves: nothing of the process's memory.
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let crashed = RocksStore::open(copy.path(), &options).unwrap();
    assert_eq!(crashed.tag().unwrap(), Some(tag(3)));
    assert_eq!(crashed.get(b"a").unwrap(), Some(vec![1]));
    assert_eq!(crashed.get(b"b").unwrap(), None);
}

#[test]
fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options = RocksOptions::new(1 << 20, 1 << 20);
    let store = RocksStore::open(folder.path(), &options).unwrap();
    let mut batch = WriteBatch::default();
    batch.put(meta("format"), 3u32.to_le_bytes());
    store.write(batch).unwrap();
    store.flush().unwrap();
    drop(store);
    let error = RocksStore::open(folder.path(), &options).unwrap_err();
    assert!(
        matches!(
            error,
            StateError::NewerFormat {
                found: 3,
                known: 2,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn an_older_format_is_no_store_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let options = RocksOptions::new(1 << 20, 1 << 20);
    let store = RocksStore::open(folder.path(), &options).unwrap();
    let mut batch = WriteBatch::default();
    batch.put(meta("format"), 1u32.to_le_bytes());
    store.write(batch).unwrap();
    store.flush().unwrap();
    drop(store);
    let error = RocksStore::open(folder.path(), &options).unwrap_err();
    assert!(matches!(error, StateError::Damaged { .. }), "{error}");
}

#[test]
fn a_checkpoint_holds_what_was_never_flushed_and_nothing_later() {
    let folder = tempfile::tempdir().unwrap();
    let options = RocksOptions::new(1 << 20, 1 << 20);
    let store = RocksStore::open(&folder.path().join("store"), &options).unwrap();
    let put = |value: &[u8], changelog_offset| {
        let delta = Delta {
            entries: vec![(b"a".to_vec(), Some(value.to_vec()))],
        };
        let tag = Tag {
            changelog_offset,
            header: Vec::new(),
        };
        store.apply(&delta, &tag).unwrap();
    };
    put(b"1", 7);
    let copy = folder.path().join("work").join("copy");
    assert!(store.checkpoint(&copy).unwrap());
    put(b"2", 8);
    let copy = RocksStore::open(&copy, &options).unwrap();
    assert_eq!(copy.get(b"a").unwrap(), Some(b"1".to_vec()));
    assert_eq!(copy.tag().unwrap().unwrap().changelog_offset, 7);
}

#[test]
fn a_snapshot_outlives_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = RocksStore::open(folder.path(), &RocksOptions::new(1 << 20, 1 << 20)).unwrap();
    let delta = Delta {
        entries: vec![(b"a".to_vec(), Some(b"1".to_vec()))],
    };
    store
        .apply(
            &delta,
            &Tag {
                changelog_offset: 0,
                header: Vec::new(),
            },
        )
        .unwrap();
    let snapshot = store.snapshot();
    drop(store);
    assert_eq!(snapshot.get(b"a").unwrap(), Some(b"1".to_vec()));
}
