//! Searches by time: the first record of a time or later, and the record with the latest time.
//!
//! Invariant: indexes only say where to look; what is found is what the batches say.

use std::sync::Arc;

use log_protocol::{BatchHeader, RecordFacts};

use super::error::StorageError;
use super::partition::Partition;
use super::read::Visit;
use super::segment::Segment;
use super::walk::WalkError;

/// Largest content of one compressed batch that the broker itself reads.
const DECOMPRESSED_MAX: usize = 256 << 20;

impl Partition {
    /// The first record with a timestamp of at least `timestamp_ms`: its offset and timestamp.
    ///
    /// # Errors
    /// If the files cannot be read.
    pub(crate) fn offset_for_timestamp(
        &self,
        timestamp_ms: i64,
    ) -> Result<Option<(i64, i64)>, StorageError> {
        self.check_readable()?;
        let ends = self.ends();
        let segments = self.segments.read().clone();
        for segment in segments {
            let walk_error = |error| self.segment_error(&segment, error);
            let latest = segment.latest().map_err(walk_error)?;
            if latest.is_none_or(|(latest, _)| latest < timestamp_ms)
                || segment.next_offset() <= ends.log_start
            {
                continue;
            }
            let from = segment
                .before_time(timestamp_ms)
                .map_err(walk_error)?
                .max(ends.log_start);
            let found = self.find_record(
                from,
                |record| record.timestamp >= timestamp_ms,
                |header| header.max_timestamp >= timestamp_ms,
            )?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The first record with the largest timestamp (ListOffsets -3): its offset and timestamp.
    ///
    /// # Errors
    /// If the files cannot be read.
    pub(crate) fn max_timestamp(&self) -> Result<Option<(i64, i64)>, StorageError> {
        self.check_readable()?;
        let log_start = self.log_start_offset();
        let segments = self.segments.read().clone();
        let mut best: Option<(i64, i64)> = None;
        for segment in segments
            .iter()
            .filter(|segment| segment.next_offset() > log_start)
        {
            let latest = segment
                .latest()
                .map_err(|error| self.segment_error(segment, error))?;
            if let Some(latest) = latest
                && best.is_none_or(|best| best.0 < latest.0)
            {
                best = Some(latest);
            }
        }
        let Some((timestamp, offset)) = best else {
            return Ok(None);
        };
        let found = self.find_from(offset.max(log_start), timestamp)?;
        if found.is_some() {
            return Ok(found);
        }
        // The newest is a marker, which the indexes count like a record: look at the batches.
        match self.latest_data_batch(&segments, log_start)? {
            Some((timestamp, offset)) => self.find_from(offset.max(log_start), timestamp),
            None => Ok(None),
        }
    }

    fn find_from(&self, from: i64, timestamp: i64) -> Result<Option<(i64, i64)>, StorageError> {
        self.find_record(
            from,
            |record| record.timestamp >= timestamp,
            |header| header.max_timestamp >= timestamp,
        )
    }

    /// The largest timestamp of a batch that holds records, and the first offset of the first such batch. Reads the headers
    /// of the segments that can have it, the one with the newest batch first.
    fn latest_data_batch(
        &self,
        segments: &[Arc<Segment>],
        log_start: i64,
    ) -> Result<Option<(i64, i64)>, StorageError> {
        let mut candidates = Vec::with_capacity(segments.len());
        for segment in segments {
            let walk_error = |error| self.segment_error(segment, error);
            if let Some((latest, _)) = segment.latest().map_err(walk_error)? {
                candidates.push((latest, segment));
            }
        }
        candidates.sort_by_key(|(latest, _)| std::cmp::Reverse(*latest));
        let mut best: Option<(i64, i64)> = None;
        for (latest, segment) in candidates {
            if best.is_some_and(|(timestamp, _)| timestamp > latest) {
                break;
            }
            let walk_error = |error| self.segment_error(segment, error);
            let file = segment.file().map_err(|source| {
                walk_error(WalkError::Io {
                    position: 0,
                    source,
                })
            })?;
            let mut walk = segment.walk(&file, log_start).map_err(walk_error)?;
            while let Some((_, header)) = walk.next_header().map_err(walk_error)? {
                let has_records = !header.is_control() && header.record_count > 0;
                let is_better = best.is_none_or(|(timestamp, offset)| {
                    (header.max_timestamp, -header.base_offset) > (timestamp, -offset)
                });
                if has_records && header.last_offset() >= log_start && is_better {
                    best = Some((header.max_timestamp, header.base_offset));
                }
            }
        }
        Ok(best)
    }

    /// The first visible record from `from` on that `wanted` takes, in batches that `promising` takes.
    fn find_record(
        &self,
        from: i64,
        wanted: impl Fn(&RecordFacts) -> bool,
        promising: impl Fn(&BatchHeader) -> bool,
    ) -> Result<Option<(i64, i64)>, StorageError> {
        let mut found = None;
        self.for_each_batch(from, |batch| {
            if batch.header.is_control() || !promising(&batch.header) {
                return Ok(Visit::Continue);
            }
            for record in batch.scan(DECOMPRESSED_MAX)? {
                let record = record?;
                if record.offset >= from && wanted(&record) {
                    found = Some((record.offset, record.timestamp));
                    return Ok(Visit::Stop);
                }
            }
            Ok(Visit::Continue)
        })?;
        Ok(found)
    }
}
