//! The data folder: who may use it, which format it has, and how its last use ended.
//!
//! ```text
//! format   "thalweg log format 1\n"
//! state    "running <boot id>\n" while it is open, "clean <boot id>\n" after it was closed; after a power loss it stays as it was until all
//!          that follows from the loss is done, so that a start that dies on the way there is none
//! lock     locked by the process that has it open
//!
//! state found   boot id     start                 what may be missing
//! clean         any         Clean                 nothing
//! running       the same    ProcessCrash          nothing: the page cache is intact
//! running       another     PowerLoss             what was not synced
//! none          -           Fresh                 -
//! ```
//!
//! Invariants:
//! 1. `state` says "running" before the first byte is written, and "clean" only after the last one is on disk.
//! 2. The lock is given back when the log is closed, whoever still holds on to it for reading.
//! 3. A full disk is no obstacle: `state` is then written over itself.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use tracing::warn;

use super::{OpenError, replace_file, sync_folder};

/// The format that this version writes, and the newest that it reads.
const FORMAT: u32 = 1;
const FORMAT_WORDS: &str = "thalweg log format ";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// How the last use of the folder ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartKind {
    /// It never was used.
    Fresh,
    /// It was closed.
    Clean,
    /// The process died, the machine did not.
    ProcessCrash,
    /// The machine went down.
    PowerLoss,
}

impl StartKind {
    /// Whether clients may have seen records that are gone now: then leader epochs must rise.
    pub(crate) fn is_unclean(self) -> bool {
        matches!(self, Self::ProcessCrash | Self::PowerLoss)
    }
}

/// A data folder that this process holds.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    start: StartKind,
    /// The lock goes with it, or earlier with [`DataFolder::release`].
    lock: File,
}

impl DataFolder {
    /// Opens the folder, makes it if need be, and marks it as in use.
    ///
    /// # Errors
    /// [`OpenError::Locked`], [`OpenError::NewerFormat`], [`OpenError::NotOurs`], or a file operation's.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        // Records, and what passwords are checked against, are nobody else's to read.
        let mut folder = fs::DirBuilder::new();
        folder.recursive(true).mode(0o700);
        folder.create(path).map_err(OpenError::io("create", path))?;
        let lock_path = path.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(OpenError::io("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked(path.to_owned())),
            Err(TryLockError::Error(error)) => {
                return Err(OpenError::io("lock", &lock_path)(error));
            }
        }
        check_format(path)?;
        let start = last_use(path);
        let folder = Self {
            path: path.to_owned(),
            start,
            lock,
        };
        let partitions = folder.partitions();
        fs::create_dir_all(&partitions).map_err(OpenError::io("create", &partitions))?;
        if start != StartKind::PowerLoss {
            folder.mark_running()?;
        }
        Ok(folder)
    }

    /// Nothing of how the last use ended is left to be done.
    pub(crate) fn mark_running(&self) -> Result<(), OpenError> {
        self.write_state("running")
    }

    /// How the last use ended.
    pub(crate) fn start(&self) -> StartKind {
        self.start
    }

    /// Where all of it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the partitions lie.
    pub(crate) fn partitions(&self) -> PathBuf {
        self.path.join("partitions")
    }

    /// Where the list of topics for people lies.
    pub(crate) fn names(&self) -> PathBuf {
        self.path.join("names")
    }

    /// Where the metadata lies.
    pub(crate) fn metadata(&self) -> PathBuf {
        self.path.join("metadata.log")
    }

    /// Everything is on disk, nothing will be written any more.
    pub(crate) fn mark_clean(&self) -> Result<(), OpenError> {
        self.write_state("clean")
    }

    /// Lets others open the folder: nothing will be written any more. Whoever still reads keeps the files that are open.
    pub(crate) fn release(&self) {
        if let Err(error) = self.lock.unlock() {
            warn!(folder = %self.path.display(), %error, "cannot unlock the data folder; it stays locked until the process ends");
        }
    }

    fn write_state(&self, word: &str) -> Result<(), OpenError> {
        let path = self.path.join("state");
        let line = format!("{word} {}\n", boot_id());
        if fs::read_to_string(&path).is_ok_and(|now| now == line) {
            return Ok(());
        }
        replace_file(&path, line.as_bytes())
            .or_else(|error| match error.kind() {
                std::io::ErrorKind::StorageFull => overwrite(&path, line.as_bytes()),
                _ => Err(error),
            })
            .map_err(OpenError::io("write", &path))
    }
}

/// Writes into the space that a file has already; cut off half-way it is unreadable, which counts as a power loss.
fn overwrite(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    file.write_all(content)?;
    file.set_len(content.len() as u64)?;
    file.sync_all()
}

fn check_format(folder: &Path) -> Result<(), OpenError> {
    let path = folder.join("format");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // A metadata log without a format file was not made by any version.
            if folder.join("metadata.log").exists() {
                return Err(OpenError::NotOurs(folder.to_owned()));
            }
            let line = format!("{FORMAT_WORDS}{FORMAT}\n");
            replace_file(&path, line.as_bytes()).map_err(OpenError::io("write", &path))?;
            return sync_folder(folder).map_err(OpenError::io("sync", folder));
        }
        Err(error) => return Err(OpenError::io("read", &path)(error)),
    };
    let found = text
        .trim_end()
        .strip_prefix(FORMAT_WORDS)
        .and_then(|number| number.parse::<u32>().ok());
    match found {
        None | Some(0) => Err(OpenError::NotOurs(folder.to_owned())),
        Some(found) if found > FORMAT => Err(OpenError::NewerFormat {
            folder: folder.to_owned(),
            found,
            supported: FORMAT,
        }),
        Some(_) => Ok(()),
    }
}

fn last_use(folder: &Path) -> StartKind {
    let Ok(text) = fs::read_to_string(folder.join("state")) else {
        return StartKind::Fresh;
    };
    match text.trim_end().split_once(' ') {
        Some(("clean", _)) => StartKind::Clean,
        Some(("running", boot)) if boot == boot_id() && boot != UNKNOWN_BOOT => {
            StartKind::ProcessCrash
        }
        Some(("running", _)) => StartKind::PowerLoss,
        _ => {
            warn!(folder = %folder.display(), "state file is unreadable, assuming a power loss");
            StartKind::PowerLoss
        }
    }
}

/// Where the kernel tells none, every crash counts as a power loss.
const UNKNOWN_BOOT: &str = "unknown";

fn boot_id() -> String {
    fs::read_to_string(BOOT_ID).map_or_else(|_| UNKNOWN_BOOT.to_owned(), |id| id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_of_ending_is_told_apart() {
        let folder = tempfile::tempdir().expect("tempdir");
        let open = || DataFolder::open(folder.path()).expect("open");
        let first = open();
        assert_eq!(first.start(), StartKind::Fresh);
        drop(first);
        let crashed = open();
        assert_eq!(crashed.start(), StartKind::ProcessCrash);
        crashed.mark_clean().expect("mark");
        drop(crashed);
        assert_eq!(open().start(), StartKind::Clean);
        fs::write(folder.path().join("state"), "running another-boot\n").expect("write");
        assert_eq!(open().start(), StartKind::PowerLoss);
        let again = open();
        assert_eq!(
            again.start(),
            StartKind::PowerLoss,
            "nobody said that it is dealt with"
        );
        again.mark_running().expect("mark");
        drop(again);
        assert_eq!(open().start(), StartKind::ProcessCrash);
    }

    #[test]
    fn a_state_that_stays_is_not_written_and_one_can_be_written_over_itself() {
        let folder = tempfile::tempdir().expect("tempdir");
        drop(DataFolder::open(folder.path()).expect("open"));
        let path = folder.path().join("state");
        let written = fs::metadata(&path).expect("stat").modified().expect("time");
        let again = DataFolder::open(folder.path()).expect("open");
        assert_eq!(again.start(), StartKind::ProcessCrash);
        let now = fs::metadata(&path).expect("stat").modified().expect("time");
        assert_eq!(now, written);
        overwrite(&path, format!("clean {}\n", boot_id()).as_bytes()).expect("written");
        drop(again);
        let again = DataFolder::open(folder.path()).expect("open");
        assert_eq!(again.start(), StartKind::Clean);
    }

    #[test]
    fn a_folder_in_use_a_newer_format_and_a_foreign_folder_are_refused() {
        let folder = tempfile::tempdir().expect("tempdir");
        let held = DataFolder::open(folder.path()).expect("open");
        assert!(matches!(
            DataFolder::open(folder.path()),
            Err(OpenError::Locked(_))
        ));
        drop(held);
        fs::write(folder.path().join("format"), "thalweg log format 7\n").expect("write");
        let error = DataFolder::open(folder.path()).expect_err("newer");
        let text = error.to_string();
        assert!(
            text.contains("format 7") && text.contains("up to format 1"),
            "{text}"
        );
        fs::write(folder.path().join("format"), "photos\n").expect("write");
        assert!(matches!(
            DataFolder::open(folder.path()),
            Err(OpenError::NotOurs(_))
        ));
    }
}
