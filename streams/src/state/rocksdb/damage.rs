//! Whether a store failed because its files are not as they were written, or because the machine did not let it work.
//!
//! The first is mended by discarding the store: the log has all of it. The second is not, so it must not be taken for it: a
//! disk that is full, a folder that may not be written or that another process has open. RocksDB tells them apart in words
//! alone: a file that is missing and a disk without room are both an input or output error to it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rocksdb::ErrorKind;

use crate::state::StateError;

/// How RocksDB says that the machine did not let it work: the words of the system, and its own for a lock.
const NOT_OF_THE_FILES: [&str; 9] = [
    "lock hold by current process",
    "Resource temporarily unavailable",
    "No locks available",
    "No space left",
    "quota exceeded",
    "Too many open files",
    "Permission denied",
    "Read-only file system",
    "Cannot allocate memory",
];

/// The folder of a store, and what is known to be damaged in it. Whoever reads the store shares it.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    damage: OnceLock<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

impl Place {
    pub(super) fn new(path: &Path) -> Arc<Self> {
        Arc::new(Self {
            path: path.to_owned(),
            damage: OnceLock::new(),
        })
    }

    /// What a failure of the store is to those above. Damage is kept in mind.
    pub(super) fn failed(&self, error: rocksdb::Error) -> StateError {
        let text = error.to_string();
        // The path has words of its own.
        let words = text.replace(&*self.path.to_string_lossy(), "");
        match error.kind() {
            ErrorKind::Corruption
            | ErrorKind::NotFound
            | ErrorKind::NotSupported
            | ErrorKind::InvalidArgument
            | ErrorKind::IOError
                if !NOT_OF_THE_FILES.iter().any(|cause| words.contains(cause)) =>
            {
                self.damaged(text)
            }
            _ => self.storage(&text),
        }
    }

    /// The folder could not be made.
    pub(super) fn not_made(&self, error: &io::Error) -> StateError {
        match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                self.damaged("it is a file and no folder".to_owned())
            }
            _ => self.storage(error),
        }
    }

    pub(super) fn damaged(&self, reason: String) -> StateError {
        let reason = self.damage.get_or_init(|| reason).clone();
        StateError::Damaged {
            place: self.to_string(),
            reason,
        }
    }

    pub(super) fn storage(&self, error: &impl fmt::Display) -> StateError {
        StateError::Storage {
            place: self.to_string(),
            reason: error.to_string(),
        }
    }

    /// What is known to be damaged.
    pub(super) fn damage(&self) -> Option<StateError> {
        let known = self.damage.get()?;
        Some(self.damaged(known.clone()))
    }
}
