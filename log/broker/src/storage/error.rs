//! What can go wrong with files, and how a client hears of it.

use std::io;
use std::path::{Path, PathBuf};

use log_protocol::{ErrorCode, TopicPartition};
use thiserror::Error;

use super::evidence::{Damage, accept_loss};
pub(crate) use crate::partition::StorageError;

/// Reading from an offset failed.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub(crate) enum FetchError {
    /// The log does not hold the offset.
    #[error("offset {from} of {partition} is out of range: the log holds [{log_start}, {end})")]
    OutOfRange {
        /// Which partition.
        partition: TopicPartition,
        /// What was asked for.
        from: i64,
        /// First offset that is still there.
        log_start: i64,
        /// The high watermark.
        end: i64,
    },
    /// The files cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl FetchError {
    /// What a client is told.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::Storage(error) => error.code(),
        }
    }
}

/// A data folder cannot be opened.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    /// Another process uses it.
    #[error("data folder {0} is in use by another process; stop that one or choose another folder")]
    Locked(PathBuf),
    /// A newer version wrote it.
    #[error(
        "data folder {folder} has format {found}, this version reads up to format {supported}; use a newer thalweg"
    )]
    NewerFormat {
        /// The folder.
        folder: PathBuf,
        /// In the folder.
        found: u32,
        /// Of this program.
        supported: u32,
    },
    /// The folder holds something else.
    #[error("{0} is not a thalweg data folder: its format file is unreadable")]
    NotOurs(PathBuf),
    /// The metadata cannot be believed.
    #[error(
        "{path} is corrupt at byte {position}: {reason}; nothing was changed: restore it from a copy, or move the data folder away to start afresh"
    )]
    CorruptMetadata {
        /// The file.
        path: PathBuf,
        /// Where.
        position: u64,
        /// What does not hold.
        reason: String,
    },
    /// A partition that the system cannot do without.
    #[error("{partition} cannot be opened, and the log cannot do without it: {source}")]
    Partition {
        /// Which.
        partition: TopicPartition,
        /// Why.
        source: Box<Self>,
    },
    /// A partition's files hold less than was on disk.
    #[error(
        "{damage}; restore it from a copy, or, to go on without what is lost, make the file {} (its folder too, if that is gone) and start again",
        accept_loss(.folder).display()
    )]
    Damaged {
        /// The partition's.
        folder: PathBuf,
        /// What is missing.
        damage: Damage,
    },
    /// The files are another partition's.
    #[error(
        "{folder} holds the records of {owner}, as its file `partition` says; give each folder its own name back and start again, or, if its records are to be this partition's, remove that file"
    )]
    Misplaced {
        /// The partition's.
        folder: PathBuf,
        /// What the folder of the other one is called.
        owner: String,
    },
    /// A file operation failed.
    #[error("{step} {path}: {source}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

impl OpenError {
    /// What kind of a file operation's failure it is, if it is one.
    pub(crate) fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } => Some(source.kind()),
            Self::Partition { source, .. } => source.io_kind(),
            _ => None,
        }
    }

    /// Names the step and the file that an I/O error belongs to.
    pub(crate) fn io(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { step, path, source }
    }
}
