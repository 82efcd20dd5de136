//! Snapshots of stores in a folder that outlives the local state, so that the changelog behind them can go.
//!
//! ```text
//! <folder>/<job>/<id of the changelog>/t<token>/
//!     s<changelog offset>/                  one snapshot: the files of the store
//!     s<changelog offset>/snapshot.json     {"format": 1, "changelog_offset": 17, "files": [{"name", "bytes", "crc32c"}, …]}
//! ```
//!
//! 1. The store links its files into a folder beside it, which takes no time and holds one commit whole.
//! 2. What the newest snapshot does not have in the same bytes is copied, the rest is linked; all is synced.
//! 3. Everything is read back and compared with its checksum. Only then the snapshot gets its name.
//! 4. The two newest snapshots stay. The changelog is not needed below the older one.
//!
//! Invariants:
//! 1. A folder `s<offset>` is a whole snapshot: it got its name last. Anything else there is left over and goes.
//! 2. A snapshot is taken for what it says only if every file has its checksum.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::StateError;

/// The layout that this file writes.
const FORMAT: u32 = 1;
const MANIFEST_FILE: &str = "snapshot.json";
/// Snapshots that are kept: if the newest turns out to be damaged, the one before serves.
const KEPT: usize = 2;
/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

/// What a snapshot consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    /// The last changelog record whose content is in.
    changelog_offset: i64,
    files: Vec<SnapshotFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SnapshotFile {
    name: String,
    bytes: u64,
    crc32c: u32,
}

/// The snapshots of one token of a job.
#[derive(Debug, Clone)]
pub(crate) struct Snapshots {
    folder: PathBuf,
}

impl Snapshots {
    /// Those of token `token` of `job` below `folder`. A changelog that was made anew has none of the one before it.
    pub(crate) fn new(folder: &Path, job: &str, changelog: Uuid, token: usize) -> Self {
        let folder = folder.join(job).join(changelog.to_string());
        Self {
            folder: folder.join(format!("t{token}")),
        }
    }

    /// Removes all snapshots of a job; it need not have any.
    ///
    /// # Errors
    /// From the disk.
    pub(crate) fn remove(folder: &Path, job: &str) -> Result<(), StateError> {
        let folder = folder.join(job);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&folder, &error)),
            _ => Ok(()),
        }
    }

    /// The changelog offsets of the snapshots, rising.
    fn offsets(&self) -> Vec<i64> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut offsets: Vec<i64> = entries
            .filter_map(|entry| entry.file_name().to_str()?.strip_prefix('s')?.parse().ok())
            .collect();
        offsets.sort_unstable();
        offsets
    }

    fn place(&self, offset: i64) -> PathBuf {
        self.folder.join(format!("s{offset}"))
    }

    fn manifest(&self, offset: i64) -> Result<Manifest, StateError> {
        let path = self.place(offset).join(MANIFEST_FILE);
        let text = fs::read(&path).map_err(|error| failed(&path, &error))?;
        let manifest: Manifest =
            serde_json::from_slice(&text).map_err(|error| corrupt(&path, &error.to_string()))?;
        if manifest.format > FORMAT {
            return Err(StateError::NewerFormat {
                place: path.display().to_string(),
                found: manifest.format,
                known: FORMAT,
            });
        }
        Ok(manifest)
    }

    /// Makes a snapshot of the files in `from`, which are those of a store at `changelog_offset` that nobody writes to. Gives
    /// the offset below which the changelog is not needed any more; `None`: it still is.
    ///
    /// # Errors
    /// From the disk; what was there before still serves then.
    pub(crate) fn take(
        &self,
        from: &Path,
        changelog_offset: i64,
    ) -> Result<Option<i64>, StateError> {
        let unfinished = self.folder.join("unfinished");
        let io = |error: io::Error| failed(&unfinished, &error);
        remove_folder(&unfinished).map_err(io)?;
        fs::create_dir_all(&unfinished).map_err(io)?;
        let known = self.offsets().pop();
        let known =
            known.and_then(|offset| Some((self.place(offset), self.manifest(offset).ok()?)));
        let mut manifest = Manifest {
            format: FORMAT,
            changelog_offset,
            files: Vec::new(),
        };
        for entry in fs::read_dir(from).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let (bytes, crc32c) = checksum(&entry.path()).map_err(io)?;
            let file = SnapshotFile {
                name,
                bytes,
                crc32c,
            };
            let to = unfinished.join(&file.name);
            let same = known
                .as_ref()
                .filter(|(_, known)| known.files.contains(&file));
            let linked =
                same.is_some_and(|(place, _)| fs::hard_link(place.join(&file.name), &to).is_ok());
            if !linked {
                fs::copy(entry.path(), &to).map_err(io)?;
                File::open(&to)
                    .and_then(|file| file.sync_all())
                    .map_err(io)?;
            }
            manifest.files.push(file);
        }
        let mut written = File::create(unfinished.join(MANIFEST_FILE)).map_err(io)?;
        let text = serde_json::to_vec(&manifest)
            .map_err(|error| corrupt(&unfinished, &error.to_string()))?;
        written.write_all(&text).map_err(io)?;
        written.sync_all().map_err(io)?;
        check(&unfinished, &manifest)?;
        let place = self.place(changelog_offset);
        remove_folder(&place).map_err(io)?;
        sync_folder(&unfinished).map_err(io)?;
        fs::rename(&unfinished, &place).map_err(io)?;
        sync_folder(&self.folder).map_err(io)?;
        let mut offsets = self.offsets();
        while offsets.len() > KEPT {
            remove_folder(&self.place(offsets.remove(0))).map_err(io)?;
        }
        Ok((offsets.len() == KEPT).then(|| offsets[0] + 1))
    }

    /// Copies the newest whole snapshot from which the changelog `[start, end)` goes on into `to`, which is made. `false`:
    /// there is none.
    ///
    /// # Errors
    /// From the disk where `to` cannot be written.
    pub(crate) fn restore(&self, to: &Path, (start, end): (i64, i64)) -> Result<bool, StateError> {
        let io = |error: io::Error| failed(to, &error);
        for offset in self.offsets().into_iter().rev() {
            if offset >= end || offset + 1 < start {
                continue;
            }
            let place = self.place(offset);
            let manifest = self.manifest(offset);
            let manifest = manifest.and_then(|found| check(&place, &found).map(|()| found));
            let manifest = match manifest {
                Ok(manifest) => manifest,
                Err(error) => {
                    tracing::warn!(%error, "a snapshot is passed over");
                    continue;
                }
            };
            remove_folder(to).map_err(io)?;
            fs::create_dir_all(to).map_err(io)?;
            for file in &manifest.files {
                fs::copy(place.join(&file.name), to.join(&file.name)).map_err(io)?;
            }
            return Ok(true);
        }
        Ok(false)
    }
}

fn failed(place: &Path, error: &io::Error) -> StateError {
    StateError::Storage {
        place: place.display().to_string(),
        reason: error.to_string(),
    }
}

fn corrupt(place: &Path, reason: &str) -> StateError {
    StateError::Corrupt {
        what: "snapshot",
        reason: format!("{}: {reason}", place.display()),
    }
}

fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Length and CRC-32C of a file.
fn checksum(path: &Path) -> io::Result<(u64, u32)> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; READ_BYTES];
    let (mut bytes, mut crc) = (0, 0);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, crc));
        }
        bytes += read as u64;
        crc = crc32c::crc32c_append(crc, &buffer[..read]);
    }
}

/// Reads every file of a snapshot.
fn check(place: &Path, manifest: &Manifest) -> Result<(), StateError> {
    for file in &manifest.files {
        let path = place.join(&file.name);
        let found = checksum(&path).map_err(|error| failed(&path, &error))?;
        if found != (file.bytes, file.crc32c) {
            return Err(corrupt(&path, "its bytes are not those that were written"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Rig {
        folder: tempfile::TempDir,
        snapshots: Snapshots,
    }

    impl Rig {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let snapshots =
                Snapshots::new(&folder.path().join("snapshots"), "delays", Uuid::nil(), 0);
            Self { folder, snapshots }
        }

        /// Files of a store.
        fn files(&self, files: &[(&str, &str)]) -> PathBuf {
            let path = self.folder.path().join("from");
            remove_folder(&path).unwrap();
            fs::create_dir_all(&path).unwrap();
            for (name, content) in files {
                fs::write(path.join(name), content).unwrap();
            }
            path
        }

        fn restored(&self, range: (i64, i64)) -> Option<Vec<(String, String)>> {
            let to = self.folder.path().join("to");
            if !self.snapshots.restore(&to, range).unwrap() {
                return None;
            }
            let mut files: Vec<_> = fs::read_dir(&to)
                .unwrap()
                .map(|entry| {
                    let entry = entry.unwrap();
                    let name = entry.file_name().into_string().unwrap();
                    (name, fs::read_to_string(entry.path()).unwrap())
                })
                .collect();
            files.sort();
            Some(files)
        }
    }

    fn pairs(files: &[(&str, &str)]) -> Vec<(String, String)> {
        let pairs = files.iter();
        pairs
            .map(|(name, content)| ((*name).to_owned(), (*content).to_owned()))
            .collect()
    }

    #[test]
    fn the_newest_that_fits_the_changelog_comes_back() {
        let rig = Rig::new();
        assert_eq!(rig.restored((0, 100)), None);
        let first = [("1.sst", "one"), ("CURRENT", "a")];
        let second = [("1.sst", "one"), ("2.sst", "two"), ("CURRENT", "b")];
        let third = [("1.sst", "ONE"), ("CURRENT", "c")];
        assert_eq!(rig.snapshots.take(&rig.files(&first), 10).unwrap(), None);
        let below = rig.snapshots.take(&rig.files(&second), 20).unwrap();
        assert_eq!(below, Some(11), "the older one still serves");
        assert_eq!(rig.restored((0, 100)), Some(pairs(&second)));
        assert_eq!(rig.restored((0, 20)), Some(pairs(&first)), "20 is lost");
        assert_eq!(rig.restored((21, 100)), Some(pairs(&second)));
        assert_eq!(rig.restored((22, 100)), None, "21 is lost");
        let below = rig.snapshots.take(&rig.files(&third), 30).unwrap();
        assert_eq!(below, Some(21));
        assert_eq!(rig.restored((0, 100)), Some(pairs(&third)));
        assert_eq!(rig.restored((0, 20)), None, "the first has gone");
    }

    #[test]
    fn a_damaged_one_is_passed_over() {
        let rig = Rig::new();
        let first = [("1.sst", "one")];
        rig.snapshots.take(&rig.files(&first), 10).unwrap();
        rig.snapshots
            .take(&rig.files(&[("2.sst", "two")]), 20)
            .unwrap();
        fs::write(rig.snapshots.place(20).join("2.sst"), "tw0").unwrap();
        assert_eq!(rig.restored((0, 100)), Some(pairs(&first)));
        fs::write(rig.snapshots.place(10).join(MANIFEST_FILE), "{").unwrap();
        assert_eq!(rig.restored((0, 100)), None);
    }

    #[test]
    fn what_was_left_unfinished_is_none() {
        let rig = Rig::new();
        let left = rig.snapshots.folder.join("unfinished");
        fs::create_dir_all(&left).unwrap();
        fs::write(left.join("1.sst"), "half").unwrap();
        assert_eq!(rig.restored((0, 100)), None);
        let files = [("2.sst", "two")];
        rig.snapshots.take(&rig.files(&files), 10).unwrap();
        assert_eq!(rig.restored((0, 100)), Some(pairs(&files)));
    }
}
