//! Lines of a growing stream, as slices of the chunks they were read in.
//!
//! ```text
//!        position
//!           ▼
//!  ─────────┬───────── complete ─────────┬── partial ──┬─────────
//!   handed  │ whole lines, not handed out │ no newline  │ not read
//!   out     │ yet                         │ yet         │
//! ```
//!
//! Invariants:
//! 1. `position` is the stream's offset of the first byte that was not handed out.
//! 2. `partial` never holds more than the line limit and one chunk: longer lines are cut to a head and skipped.

use std::io::Read;
use std::path::Path;

use bytes::{Bytes, BytesMut};

use super::input::{Input, InputError};

/// Bytes asked of the file at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// Bytes of an overlong line that are kept to show it.
const HEAD_BYTES: usize = 1 << 10;

/// What came next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A line without its newline.
    Line(Bytes),
    /// A line over the limit: its head.
    TooLong(Bytes),
    /// No whole line now.
    End,
}

pub(super) struct LineReader {
    input: Input,
    line_bytes_max: usize,
    position: u64,
    complete: Bytes,
    partial: BytesMut,
    /// Head of the overlong line whose newline is still looked for.
    overlong: Option<Bytes>,
    /// The stream's end is final and was seen.
    finished: bool,
}

impl LineReader {
    /// Opens a file at its start; `None` if it is not there.
    pub(super) fn open(path: &Path, line_bytes_max: usize) -> Result<Option<Self>, InputError> {
        Ok(Input::open(path)?.map(|input| Self {
            input,
            line_bytes_max,
            position: 0,
            complete: Bytes::new(),
            partial: BytesMut::new(),
            overlong: None,
            finished: false,
        }))
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Goes on at a later position, the start of a line.
    pub(super) fn skip_to(&mut self, position: u64) -> Result<(), InputError> {
        let held = self.position + (self.complete.len() + self.partial.len()) as u64;
        if position > held {
            self.complete = Bytes::new();
            self.partial.clear();
            self.input.skip(held, position)?;
        } else {
            let mut skip = usize::try_from(position - self.position).unwrap_or(usize::MAX);
            let of_complete = skip.min(self.complete.len());
            let _ = self.complete.split_to(of_complete);
            skip -= of_complete;
            let _ = self.partial.split_to(skip.min(self.partial.len()));
        }
        self.position = position;
        Ok(())
    }

    /// The next line, if it is there now.
    pub(super) fn next(&mut self) -> Result<Step, InputError> {
        loop {
            if let Some(step) = self.next_held() {
                return Ok(step);
            }
            if !self.fill()? {
                return Ok(
                    match self.finished && self.overlong.is_none() && !self.partial.is_empty() {
                        true => Step::Line(self.take_rest()),
                        false => Step::End,
                    },
                );
            }
        }
    }

    /// What stands after the last newline.
    pub(super) fn rest(&self) -> &[u8] {
        if self.overlong.is_some() {
            &[]
        } else {
            &self.partial
        }
    }

    /// Hands out what stands after the last newline as a line.
    pub(super) fn take_rest(&mut self) -> Bytes {
        self.position += self.partial.len() as u64;
        self.partial.split().freeze()
    }

    fn next_held(&mut self) -> Option<Step> {
        if self.complete.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', &self.complete).map_or(self.complete.len(), |at| at + 1);
        let mut line = self.complete.split_to(end);
        self.position += end as u64;
        if let Some(head) = self.overlong.take() {
            return Some(Step::TooLong(head));
        }
        line.truncate(end - 1);
        if line.len() > self.line_bytes_max {
            return Some(Step::TooLong(line.slice(..HEAD_BYTES.min(line.len()))));
        }
        Some(Step::Line(line))
    }

    /// Reads a chunk; `false` at the end of what is there.
    fn fill(&mut self) -> Result<bool, InputError> {
        if self.finished {
            return Ok(false);
        }
        let held = self.partial.len();
        self.partial.resize(held + CHUNK_BYTES, 0);
        let read = self.input.read(&mut self.partial[held..]);
        self.partial.truncate(held + *read.as_ref().unwrap_or(&0));
        if read? == 0 {
            self.finished = self.input.ends_for_good();
            self.input.check(self.position + held as u64)?;
            return Ok(false);
        }
        if let Some(last) = memchr::memrchr(b'\n', &self.partial[held..]) {
            self.complete = self.partial.split_to(held + last + 1).freeze();
        } else if self.overlong.is_some() || self.partial.len() > self.line_bytes_max {
            let skipped = self.partial.split().freeze();
            self.position += skipped.len() as u64;
            self.overlong
                .get_or_insert_with(|| skipped.slice(..HEAD_BYTES.min(skipped.len())));
        }
        Ok(true)
    }
}
