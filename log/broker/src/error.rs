//! What can go wrong with a broker as a whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::config::ConfigError;
use crate::storage;

/// The log cannot be opened. The texts are what a user sees.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A setting cannot be.
    #[error("invalid setting {0}")]
    Config(#[from] ConfigError),
    /// A listener cannot serve.
    #[error("{0}")]
    Listener(String),
    /// The folder cannot be written to.
    #[error(
        "data folder {folder} is not writable: {reason}; choose another with --data or change its permissions"
    )]
    NotWritable {
        /// The folder.
        folder: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// There is no room.
    #[error("the disk of data folder {folder} is full ({reason}); free some space and start again")]
    Full {
        /// The folder.
        folder: PathBuf,
        /// What could not be done.
        reason: String,
    },
    /// Another process uses the folder.
    #[error("data folder {folder} is in use by another process{}; stop that one or choose another folder", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The other process, where it is known.
        pid: Option<u32>,
    },
    /// The folder was written by a newer version, or holds something else, or its files cannot be believed.
    #[error("{0}")]
    Folder(String),
    /// A topic that the broker keeps for itself cannot be read or made.
    #[error("internal topic {topic} cannot be loaded: {reason}")]
    InternalTopic {
        /// The topic.
        topic: String,
        /// What does not hold.
        reason: String,
    },
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

impl OpenError {
    pub(crate) fn of_storage(folder: &Path, error: storage::OpenError) -> Self {
        use io::ErrorKind::{NotADirectory, PermissionDenied, ReadOnlyFilesystem, StorageFull};
        match error {
            storage::OpenError::Locked(folder) => Self::InUse {
                pid: owner(&folder),
                folder,
            },
            full if full.io_kind() == Some(StorageFull) => Self::Full {
                folder: folder.to_owned(),
                reason: full.to_string(),
            },
            storage::OpenError::Io { source, .. }
                if matches!(
                    source.kind(),
                    PermissionDenied | ReadOnlyFilesystem | NotADirectory
                ) =>
            {
                Self::NotWritable {
                    folder: folder.to_owned(),
                    reason: source.to_string(),
                }
            }
            other => Self::Folder(other.to_string()),
        }
    }
}

/// Notes in the lock file who holds it, for the message that another process will show.
pub(crate) fn note_owner(folder: &Path) {
    // A courtesy: without it the message names no process.
    let _ = fs::write(folder.join("lock"), std::process::id().to_string());
}

fn owner(folder: &Path) -> Option<u32> {
    fs::read_to_string(folder.join("lock"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// The log was closed, but not all of it is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the log was not closed cleanly: {0}; the next start recovers it")]
pub struct CloseError(pub String);

/// A listener cannot serve.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ServeError {
    /// The configuration names none.
    #[error("the broker has no listener; name one in listeners")]
    NoListener,
    /// The configuration does not name it.
    #[error("the broker has no listener {0}; listeners names those that it has")]
    UnknownListener(String),
    /// Its certificates cannot be used.
    #[error("{0}")]
    Tls(String),
}
