//! Whatever happens to the folder of local state: the job goes on with what the log has, and its view is right.

use std::fs;
use std::path::Path;

use super::*;
use crate::state::{RocksStore, StateError};

/// What is done to a file.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Removed,
    Emptied,
    Cut,
    /// A folder lies in its place.
    Folder,
    /// A bit is another one, that many sixteenths behind the start.
    Flipped(usize),
}

impl Damage {
    fn all() -> impl Iterator<Item = Self> {
        let whole = [Self::Removed, Self::Emptied, Self::Cut, Self::Folder];
        whole.into_iter().chain((0..16).map(Self::Flipped))
    }

    fn apply(self, path: &Path) {
        let bytes = fs::read(path).unwrap();
        match self {
            Self::Removed => fs::remove_file(path).unwrap(),
            Self::Emptied => fs::write(path, "").unwrap(),
            Self::Cut => fs::write(path, &bytes[..bytes.len() / 2]).unwrap(),
            Self::Folder => {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            }
            Self::Flipped(sixteenths) => {
                let mut bytes = bytes;
                let place = bytes.len() * sixteenths / 16;
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 1 << (sixteenths % 8);
                }
                fs::write(path, bytes).unwrap();
            }
        }
    }
}

/// The view's rows, as soon as its state is sound.
async fn sound(job: &JobHandle) -> Vec<String> {
    let mut states = job.states();
    loop {
        states.mark_unchanged();
        let read = job.snapshot().map_err(|error| error.to_string());
        let read = read.and_then(|snapshot| {
            let batches = snapshot
                .batches()
                .map(|batch| batch.map(|batch| rows(&batch)));
            let batches: Result<Vec<_>, _> = batches.collect();
            batches.map_err(|error| error.to_string())
        });
        match read {
            Ok(batches) => {
                let mut rows = batches.concat();
                rows.sort();
                return rows;
            }
            Err(error) => {
                assert_ne!(job.status().state, JobState::Failed, "{error}");
                states.changed().await.unwrap();
            }
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

impl Rig {
    /// A job with a row, whose state lies on disk.
    async fn with_state() -> Self {
        let rig = Self::new();
        let engine = rig.engine();
        let handle = engine.start(job(plan(), vec![0, 1])).await.unwrap();
        rig.log
            .push("airlines", 0, Some("UA"), Some(r#"{"title":"United"}"#));
        rig.flight(0, "UA", 1);
        rig.flight(1, "UA", 1);
        rig.settled(&handle).await;
        engine.shutdown().await;
        rig
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("delays/g0")
    }

    /// Starts the job, whatever its folder looks like, and lets it take one more row.
    async fn goes_on(&self, flights: &mut usize) {
        let engine = self.engine();
        let handle = engine.start(job(plan(), vec![0, 1])).await.unwrap();
        let expected = format!("10 United {flights} {flights}");
        assert_eq!(sound(&handle).await, [expected]);
        self.flight(0, "UA", 1);
        *flights += 1;
        self.settled(&handle).await;
        let expected = format!("10 United {flights} {flights}");
        assert_eq!(sound(&handle).await, [expected]);
        engine.shutdown().await;
        inspect_state(&self.folder.path().join("delays"), true).unwrap();
    }
}

#[tokio::test]
async fn a_store_with_any_file_damaged_is_rebuilt() {
    let rig = Rig::with_state().await;
    let sound = tempfile::tempdir().unwrap();
    copy(&rig.store(), sound.path());
    let names = files(sound.path());
    assert!(names.iter().any(|name| name.ends_with(".sst")), "{names:?}");
    let mut flights = 2;
    for name in &names {
        for damage in Damage::all() {
            println!("{name} {damage:?}");
            fs::remove_dir_all(rig.folder.path().join("delays")).unwrap();
            copy(sound.path(), &rig.store());
            damage.apply(&rig.store().join(name));
            rig.goes_on(&mut flights).await;
        }
    }
}

#[tokio::test]
async fn what_a_look_finds_damaged_a_start_discards() {
    let rig = Rig::with_state().await;
    let folder = rig.folder.path().join("delays");
    inspect_state(&folder, true).unwrap();
    let names = files(&rig.store());
    let tables = names.iter().filter(|name| name.ends_with(".sst"));
    for table in tables {
        let path = rig.store().join(table);
        let bytes = fs::read(&path).unwrap();
        let mut flipped = bytes.clone();
        flipped[10] ^= 0xff;
        fs::write(&path, flipped).unwrap();
        let found = inspect_state(&folder, true).unwrap_err();
        assert!(matches!(found, StateError::Damaged { .. }), "{found}");
        assert!(found.to_string().contains("g0"), "{found}");
        fs::write(&path, bytes).unwrap();
    }
    fs::remove_file(rig.store().join("CURRENT")).unwrap();
    let found = inspect_state(&folder, false).unwrap_err();
    assert!(matches!(found, StateError::Damaged { .. }), "{found}");
}

#[tokio::test]
async fn a_folder_of_another_is_not_taken_for_the_jobs_state() {
    let rig = Rig::with_state().await;
    let mut flights = 2;
    // Of a job of the same name over another log.
    let other = Rig::with_state().await;
    fs::remove_dir_all(rig.folder.path().join("delays")).unwrap();
    copy(&other.store(), &rig.store());
    rig.goes_on(&mut flights).await;
    assert_eq!(files(&rig.folder.path().join("delays")), ["g0", "g1"]);
    // Files of somebody else.
    for place in ["delays", "delays/g0", "delays/g0/CURRENT"] {
        fs::remove_dir_all(rig.folder.path().join("delays")).unwrap();
        let path = rig.folder.path().join(place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "a letter").unwrap();
        rig.goes_on(&mut flights).await;
    }
}

#[tokio::test]
async fn a_store_that_another_holds_is_not_damaged() {
    let folder = tempfile::tempdir().unwrap();
    // The words by which a failure is told are no part of the path.
    let path = folder.path().join("Permission denied");
    let options = RocksOptions::new(1 << 20, 1 << 20);
    let held = RocksStore::open(&path, &options).unwrap();
    let error = RocksStore::open(&path, &options).unwrap_err();
    assert!(matches!(error, StateError::Storage { .. }), "{error}");
    drop(held);
    fs::write(path.join("CURRENT"), "x").unwrap();
    let error = RocksStore::open(&path, &options).unwrap_err();
    assert!(matches!(error, StateError::Damaged { .. }), "{error}");
}
