//! Files: positioned reads and writes, and replacing one as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::UNIX_EPOCH;

use log_protocol::FileRange;
use rustix::buffer::spare_capacity;

use super::waiting::waiting;

/// An open file of a partition.
#[derive(Debug)]
pub(crate) struct LogFile {
    file: Arc<File>,
    /// Of one that is written to.
    place: Option<Place>,
    /// Written to since the last fdatasync began.
    dirty: AtomicBool,
}

/// Where a file lies, and which one it was when it was opened.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

/// Is told of each file of a partition that was made durable, and how many of its bytes were.
pub type SyncObserver = fn(&File, u64);

static OBSERVER: OnceLock<SyncObserver> = OnceLock::new();

/// Has `observer` told of every sync of this process from now on; the first one stays. For tests that cut the power: what was not synced
/// is theirs to lose.
pub fn observe_syncs(observer: SyncObserver) {
    let _ = OBSERVER.set(observer);
}

/// Vectors that one system call takes.
const VECTORS_MAX: usize = 1024;

impl LogFile {
    /// Opens it for reading and writing; makes it if it is not there.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        #[cfg(test)]
        if full_disk::is_full() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let opened = file.metadata()?;
        let place = Place {
            path: path.to_owned(),
            identity: (opened.dev(), opened.ino()),
        };
        Ok(Self {
            file: Arc::new(file),
            place: Some(place),
            dirty: AtomicBool::new(false),
        })
    }

    /// Opens an existing one for reading.
    pub(crate) fn open_existing(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: Arc::new(File::open(path)?),
            place: None,
            dirty: AtomicBool::new(false),
        })
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// When it was written to last, ms since 1970 UTC.
    pub(crate) fn modified_ms(&self) -> io::Result<i64> {
        let since = self.file.metadata()?.modified()?.duration_since(UNIX_EPOCH);
        let since = since.unwrap_or_default();
        Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// Reads `length` bytes at `position`; fewer at the end of the file. If they are not at hand, the thread's other tasks are handed over.
    pub(crate) fn read_at(&self, position: u64, length: usize) -> io::Result<Vec<u8>> {
        let last = position + (length as u64).saturating_sub(1);
        if self.is_at_hand(position) && self.is_at_hand(last) {
            self.read_here(position, length)
        } else {
            waiting(|| self.read_here(position, length))
        }
    }

    fn is_at_hand(&self, position: u64) -> bool {
        is_at_hand(&self.file, position)
    }

    /// A part of it, for somebody who sends it.
    pub(crate) fn range(&self, position: u64, length: usize) -> FileRange {
        FileRange {
            file: Arc::clone(&self.file),
            position,
            length,
        }
    }

    fn read_here(&self, position: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let at = position + bytes.len() as u64;
            match rustix::io::pread(&self.file, spare_capacity(&mut bytes), at) {
                Ok(0) => break,
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Whether its path still leads to it and it has `size` bytes or more. What is written to a file that was removed, moved or replaced is
    /// gone with this process, and behind the end of one that was cut lies what would read as zeros.
    pub(crate) fn check_place(&self, size: u64) -> io::Result<()> {
        let lost = |what: String| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        let there = match &self.place {
            None => self.file.metadata()?,
            Some(place) => {
                let there = match fs::metadata(&place.path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        return lost("the file was removed".to_owned());
                    }
                    there => there?,
                };
                if (there.dev(), there.ino()) != place.identity {
                    return lost("another file is in its place".to_owned());
                }
                there
            }
        };
        match there.len() {
            left if left < size => lost(format!("the file was cut: it has {left} bytes of {size}")),
            _ => Ok(()),
        }
    }

    /// Writes all of `slices`, one behind the other, at `position`; one system call unless the kernel takes less. Refused where
    /// [`LogFile::check_place`] is not content.
    pub(crate) fn write_at(&self, mut slices: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut position = position;
        #[cfg(test)]
        if full_disk::is_full() {
            // A part of it still finds room.
            rustix::io::pwrite(&self.file, &slices[0], position)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.check_place(position)?;
        while !slices.is_empty() {
            let count = slices.len().min(VECTORS_MAX);
            match rustix::io::pwritev(&self.file, &slices[..count], position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    position += written as u64;
                    IoSlice::advance_slices(&mut slices, written);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reserves `bytes` without changing the size; a file system that cannot do it is fine.
    pub(crate) fn reserve(&self, bytes: u64) {
        // An optimisation only: on failure (NFS, no space) the writes themselves decide.
        let _ = rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, bytes);
    }

    /// Cuts the file.
    pub(crate) fn truncate(&self, size: u64) -> io::Result<()> {
        self.file.set_len(size)
    }

    /// Content to disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let bytes = self.observed_bytes();
        self.file.sync_data()?;
        self.tell_synced(bytes);
        Ok(())
    }

    /// What a sync that begins now takes to disk; looked at only if somebody wants to know.
    pub(crate) fn observed_bytes(&self) -> Option<u64> {
        OBSERVER.get().and_then(|_| self.size().ok())
    }

    /// Tells the observer that so many bytes are on disk.
    pub(crate) fn tell_synced(&self, bytes: Option<u64>) {
        if let (Some(observer), Some(bytes)) = (OBSERVER.get(), bytes) {
            observer(&self.file, bytes);
        }
    }

    /// All of the file system to disk.
    pub(crate) fn sync_file_system(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.file)?)
    }

    /// Notes a write; true if the file was clean.
    pub(crate) fn mark_dirty(&self) -> bool {
        !self.dirty.swap(true, Ordering::AcqRel)
    }

    /// A sync is about to begin.
    pub(crate) fn clear_dirty(&self) {
        self.dirty.store(false, Ordering::Release);
    }
}

/// Whether the byte is in the page cache, or beyond the end. Where the file system does not tell, it is taken to be there.
fn is_at_hand(file: &File, position: u64) -> bool {
    let mut byte = [0];
    let mut buffers = [io::IoSliceMut::new(&mut byte)];
    let flags = rustix::io::ReadWriteFlags::NOWAIT;
    let read = rustix::io::preadv2(file, &mut buffers, position, flags);
    read != Err(rustix::io::Errno::AGAIN)
}

/// Hands a part of a file to a socket, which takes some of it or is full ([`io::ErrorKind::WouldBlock`]); gives how many bytes it took. If the
/// part is not in the page cache, the thread's other tasks are handed over.
///
/// [`io::ErrorKind::InvalidData`]: the file ends before the part does. It was cut, and of what the socket took the page at the cut may
/// have become zeros: the socket holds the file's pages and no copy of them.
pub(crate) fn send_file(socket: impl AsFd, range: &FileRange) -> io::Result<usize> {
    let last = range.position + (range.length as u64).saturating_sub(1);
    let send = || loop {
        let mut position = range.position;
        let sent = rustix::fs::sendfile(&socket, &range.file, Some(&mut position), range.length);
        match sent {
            Err(rustix::io::Errno::INTR) => {}
            sent => {
                let sent = sent?;
                let end = range.position + range.length as u64;
                let left = range.file.metadata()?.len();
                if left >= end {
                    return Ok(sent);
                }
                let what = format!("the file was cut: it has {left} bytes of {end}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        }
    };
    if is_at_hand(&range.file, range.position) && is_at_hand(&range.file, last) {
        send()
    } else {
        waiting(send)
    }
}

/// Makes creations, renames and removals inside of `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Replaces `path` by a file with this content: after a crash the old or the new one is there, whole.
pub(crate) fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(content)?;
        file.sync_data()?;
        fs::rename(&temporary, path)
    };
    write().inspect_err(|_| {
        // What is left of it would only take space.
        let _ = fs::remove_file(&temporary);
    })?;
    sync_folder(folder)
}

/// A file that is about to take another one's place, as [`replace_file`] does; but the content is only on disk when the file that comes of it
/// has been synced. A crash before that may leave an empty file, or zeros: for what is checked when it is read.
#[derive(Debug)]
pub(crate) struct Replacement {
    file: File,
    /// Where it lies until then; `None` once it is in its place.
    temporary: Option<PathBuf>,
    path: PathBuf,
}

impl Replacement {
    /// Writes `content` beside `path`; `ending` keeps two writers of one path apart.
    pub(crate) fn write(path: &Path, ending: &str, content: &[u8]) -> io::Result<Self> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(ending);
        let mut replacement = Self {
            file: File::create(&temporary)?,
            temporary: Some(temporary.into()),
            path: path.to_owned(),
        };
        replacement.file.write_all(content)?;
        Ok(replacement)
    }

    /// Takes the place.
    pub(crate) fn put(mut self) -> io::Result<LogFile> {
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, &self.path)?;
        }
        self.temporary = None;
        Ok(LogFile {
            file: Arc::new(self.file.try_clone()?),
            place: None,
            dirty: AtomicBool::new(false),
        })
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // What is left of it would only take space.
            let _ = fs::remove_file(temporary);
        }
    }
}

/// Files of this thread find no room while it is set.
#[cfg(test)]
pub(crate) mod full_disk {
    use std::cell::Cell;

    thread_local! {
        static FULL: Cell<bool> = const { Cell::new(false) };
    }

    pub(crate) fn set(full: bool) {
        FULL.set(full);
    }

    pub(super) fn is_full() -> bool {
        FULL.get()
    }
}
