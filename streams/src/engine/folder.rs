//! Where the stores of a job lie, and which of them is in use.
//!
//! ```text
//! <state_dir>/<job>/g<number>              of a job with one token
//! <state_dir>/<job>/t<token>/g<number>     of a job with several
//! ```
//!
//! The highest number is in use. A store that is discarded is followed by the next number, because readers may still hold
//! it; the next start removes it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::job::Stores;
use crate::state::{RocksOptions, RocksStore, StateError, StateStore};
use crate::task::{Changelog, SnapshotOptions};

/// The stores of one job.
pub(super) struct Folder {
    pub(super) job: String,
    pub(super) path: PathBuf,
    pub(super) options: RocksOptions,
    pub(super) snapshots: Option<Arc<SnapshotOptions>>,
}

/// The numbers of the stores in a folder, rising.
fn generations(path: &Path) -> Vec<u64> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut found: Vec<u64> = entries
        .filter_map(|entry| entry.file_name().to_str()?.strip_prefix('g')?.parse().ok())
        .collect();
    found.sort_unstable();
    found
}

fn place(path: &Path, generation: u64) -> PathBuf {
    path.join(format!("g{generation}"))
}

/// Looks at the stores of a job whose folder this is, while nobody has them open, and changes nothing: at what a start looks
/// at, and if `thoroughly` at every entry.
///
/// # Errors
/// The first store with which a start would not go on, and why.
pub fn inspect_state(folder: &Path, thoroughly: bool) -> Result<(), StateError> {
    let failed = |error: &io::Error| StateError::Storage {
        place: folder.display().to_string(),
        reason: error.to_string(),
    };
    let mut places = vec![folder.to_owned()];
    for entry in std::fs::read_dir(folder).map_err(|error| failed(&error))? {
        let entry = entry.map_err(|error| failed(&error))?;
        let name = entry.file_name();
        let token = name.to_str().and_then(|name| name.strip_prefix('t'));
        if token.is_some_and(|token| token.parse::<usize>().is_ok()) {
            places.push(entry.path());
        }
    }
    places.sort();
    for path in places {
        if let Some(last) = generations(&path).pop() {
            RocksStore::inspect(&place(&path, last), thoroughly)?;
        }
    }
    Ok(())
}

impl Folder {
    /// Where the stores of a token lie. What is a file in its stead goes.
    fn path_of(&self, token: usize, tokens: usize) -> Result<PathBuf, StateError> {
        let path = match tokens {
            1 => self.path.clone(),
            _ => self.path.join(format!("t{token}")),
        };
        for folder in [&self.path, &path] {
            if folder.is_file() {
                tracing::warn!(job = %self.job, path = %folder.display(), "a file lies where a folder of state should, and is removed");
                RocksStore::remove(folder)?;
            }
        }
        Ok(path)
    }
}

impl Stores for Folder {
    fn open(
        &mut self,
        token: usize,
        changelog: &Changelog,
        fresh: bool,
    ) -> Result<Arc<dyn StateStore>, StateError> {
        let path = self.path_of(token, changelog.ranges.len())?;
        let mut found = generations(&path);
        let is_new = fresh || found.is_empty();
        let last = found.pop().unwrap_or(0);
        for old in found {
            // One that is still open elsewhere is left for the next start.
            if let Err(error) = RocksStore::remove(&place(&path, old)) {
                tracing::debug!(%error, "an old state folder stays");
            }
        }
        let place = place(&path, if fresh { last + 1 } else { last });
        if let Some(snapshots) = self.snapshots.as_ref().filter(|_| is_new) {
            let range = changelog.ranges.get(token).copied().unwrap_or_default();
            let snapshots = snapshots.of(&self.job, changelog.id, token);
            if snapshots.restore(&place, range)? {
                tracing::info!(job = %self.job, token, "state comes from a snapshot");
            }
        }
        let store = RocksStore::open(&place, &self.options)?;
        store.claim(changelog.id, u32::try_from(token).unwrap_or(u32::MAX))?;
        Ok(Arc::new(store))
    }
}
