//! What of a segment cannot be read: where it begins, and how it is told.
//!
//! Invariant: whoever comes upon damage, wherever its read began, tells the first batch of the segment that is not whole; so it is told
//! once, and a reader who is to go on behind it knows where.

use log_protocol::{BATCH_HEADER_BYTES, BatchError, BatchHeader};

use super::error::StorageError;
use super::log_file::LogFile;
use super::partition::Partition;
use super::segment::Segment;
use super::walk::{BatchWalk, WalkError};

/// A segment cannot be read on.
pub(super) struct Unreadable {
    /// Where what cannot be read begins; none where it is no damage that stops the read.
    pub(super) offset: Option<i64>,
    pub(super) error: WalkError,
}

impl Unreadable {
    /// What stopped a read of `segment`, told at the first batch that cannot be walked over.
    pub(super) fn of(segment: &Segment, file: &LogFile, error: WalkError) -> Self {
        let WalkError::Bad { position, .. } = error else {
            return error.into();
        };
        // Behind the end of a file that was cut, all is damage.
        let end = file.size().map_or(position, |size| size.min(position));
        let mut walk = BatchWalk::new(file, 0, end);
        let mut reached = segment.base_offset();
        let error = loop {
            match next_of(segment, &mut walk, reached) {
                Ok(Some((_, header))) => reached = header.next_offset(),
                Err(earlier @ WalkError::Bad { .. }) => break earlier,
                Ok(None) if end < position => {
                    let (needed, left) = (BATCH_HEADER_BYTES, 0);
                    break WalkError::Bad {
                        position: end,
                        reason: BatchError::Truncated { needed, left },
                    };
                }
                Ok(None) | Err(WalkError::Io { .. }) => break error,
            }
        };
        Self {
            offset: Some(reached),
            error,
        }
    }
}

impl From<WalkError> for Unreadable {
    fn from(error: WalkError) -> Self {
        Self {
            offset: None,
            error,
        }
    }
}

impl Partition {
    /// What a walk over `segment` failed with. Damage is told.
    pub(super) fn segment_error(&self, segment: &Segment, error: WalkError) -> StorageError {
        let unreadable = match segment.file() {
            Ok(file) => Unreadable::of(segment, &file, error),
            Err(_) => error.into(),
        };
        self.unreadable(unreadable, segment.base_offset())
    }

    /// What a read at `from` failed with. Damage is told.
    pub(super) fn unreadable(&self, unreadable: Unreadable, from: i64) -> StorageError {
        let reason = unreadable.error.to_string();
        match unreadable.error {
            WalkError::Io { .. } => StorageError::Read {
                partition: self.id().clone(),
                reason,
            },
            WalkError::Bad { .. } => self.corrupt(unreadable.offset.unwrap_or(from), reason),
        }
    }

    /// Damage, which is told.
    pub(super) fn corrupt(&self, offset: i64, reason: String) -> StorageError {
        let partition = self.id().clone();
        self.corruption.note(&partition, offset, &reason);
        StorageError::Corrupt {
            partition,
            offset,
            reason,
        }
    }
}

/// The next header, which has to go on where the one before it ended and to belong into the segment: an offset is in no checksum.
pub(super) fn next_of(
    segment: &Segment,
    walk: &mut BatchWalk<'_>,
    reached: i64,
) -> Result<Option<(u64, BatchHeader)>, WalkError> {
    let before = walk.position();
    let found = walk.next_header()?;
    if let Some((position, header)) = &found {
        let goes_on = header.base_offset >= reached && header.last_offset_delta >= 0;
        if !goes_on || header.next_offset() > segment.next_offset() {
            walk.back_to(before);
            return Err(WalkError::Bad {
                position: *position,
                reason: BatchError::Header {
                    base_offset: header.base_offset,
                    reason: "its offsets do not belong where it lies",
                },
            });
        }
    }
    Ok(found)
}
