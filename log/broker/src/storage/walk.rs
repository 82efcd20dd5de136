//! Batches of a file, one behind the other: headers only, or whole.
//!
//! Reads in blocks while batches are small and exactly what is needed while they are large. Never allocates more than
//! the file holds.

use std::io;

use bytes::Bytes;
use log_protocol::{BATCH_HEADER_BYTES, Batch, BatchError, BatchHeader};
use thiserror::Error;

use super::log_file::LogFile;

/// Bytes of one read while batches are small.
const BLOCK_BYTES: usize = 64 << 10;

/// Bytes of one read of whole batches.
const SCAN_BYTES: usize = 1 << 20;

/// The walk cannot go on.
#[derive(Debug, Error)]
pub(crate) enum WalkError {
    /// The file cannot be read.
    #[error("read at byte {position}: {source}")]
    Io {
        /// Where.
        position: u64,
        /// The system's words.
        source: io::Error,
    },
    /// What lies there is no batch.
    #[error("byte {position}: {reason}")]
    Bad {
        /// Where.
        position: u64,
        /// What does not hold.
        reason: BatchError,
    },
}

/// Goes through the batches in `[position, end)` of a file.
#[derive(Debug)]
pub(crate) struct BatchWalk<'a> {
    file: &'a LogFile,
    position: u64,
    end: u64,
    block: Bytes,
    block_start: u64,
    /// Bytes of one read for headers.
    block_bytes: usize,
}

impl<'a> BatchWalk<'a> {
    /// `position` is the start of a batch.
    pub(crate) fn new(file: &'a LogFile, position: u64, end: u64) -> Self {
        Self {
            file,
            position,
            end,
            block: Bytes::new(),
            block_start: 0,
            block_bytes: BLOCK_BYTES,
        }
    }

    /// As [`BatchWalk::new`] where batches are taken to be large: nothing but their headers is read.
    pub(crate) fn of_large(file: &'a LogFile, position: u64, end: u64) -> Self {
        Self {
            block_bytes: BATCH_HEADER_BYTES,
            ..Self::new(file, position, end)
        }
    }

    /// As [`BatchWalk::new`], with the bytes from `position` on that were read already.
    pub(crate) fn over(file: &'a LogFile, position: u64, end: u64, block: Bytes) -> Self {
        Self {
            block,
            block_start: position,
            ..Self::new(file, position, end)
        }
    }

    /// Where the next batch begins.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Takes back what was walked since `position`.
    pub(crate) fn back_to(&mut self, position: u64) {
        self.position = position;
    }

    /// The next header and where it lies; the records are passed over, unread.
    pub(crate) fn next_header(&mut self) -> Result<Option<(u64, BatchHeader)>, WalkError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let position = self.position;
        let bytes = self.bytes(position, BATCH_HEADER_BYTES, self.block_bytes)?;
        let header =
            BatchHeader::parse(&bytes).map_err(|reason| WalkError::Bad { position, reason })?;
        let size = header.total_size();
        let left = self.end - position;
        if size as u64 > left {
            let reason = BatchError::Truncated {
                needed: size,
                left: left as usize,
            };
            return Err(WalkError::Bad { position, reason });
        }
        self.position += size as u64;
        Ok(Some((position, header)))
    }

    /// The next batch, whole, and where it lies. Its CRC is the caller's to check.
    pub(crate) fn next_batch(&mut self) -> Result<Option<(u64, Batch)>, WalkError> {
        let Some((position, header)) = self.next_header()? else {
            return Ok(None);
        };
        let bytes = self.bytes(position, header.total_size(), SCAN_BYTES)?;
        let batch = Batch::parse(&bytes).map_err(|reason| WalkError::Bad { position, reason })?;
        Ok(Some((position, batch)))
    }

    /// At least `needed` bytes from `position` on, fewer only at the end of the file.
    fn bytes(&mut self, position: u64, needed: usize, block: usize) -> Result<Bytes, WalkError> {
        let inside = position
            .checked_sub(self.block_start)
            .map(|start| start as usize);
        if let Some(start) = inside
            && start + needed <= self.block.len()
        {
            return Ok(self.block.slice(start..));
        }
        // After a batch larger than the block only headers are wanted: do not read what is passed over.
        let far =
            inside.is_some_and(|start| start > self.block.len() + block) && block == BLOCK_BYTES;
        let length = if far { needed } else { needed.max(block) };
        let length = length.min((self.end - position) as usize);
        let read = self
            .file
            .read_at(position, length)
            .map_err(|source| WalkError::Io { position, source })?;
        self.block = read.into();
        self.block_start = position;
        Ok(self.block.clone())
    }
}
