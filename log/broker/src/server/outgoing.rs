//! Responses on their way out: chunks that go to the socket in as few vectored writes as possible, and parts of files in between.
//!
//! Invariant: of the queue's bytes only those in memory count in the total of all connections, and the buffer ends where a part of a file
//! comes next. A chunk takes its memory until its last byte has gone, and is counted as a whole until then: of many slow readers each
//! holds one.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};
use log_protocol::{FileRange, Payload};

use crate::memory::Responding;

/// A queue of chunks that reads as one buffer.
#[derive(Debug)]
pub(super) struct Outgoing {
    chunks: VecDeque<Payload>,
    /// Of all of them.
    bytes: usize,
    /// Bytes of the first chunk that have gone and are counted still.
    gone: usize,
    total: Responding,
}

impl Outgoing {
    /// An empty one, counted in `total`.
    pub(super) fn new(total: Responding) -> Self {
        Self {
            chunks: VecDeque::new(),
            bytes: 0,
            gone: 0,
            total,
        }
    }

    /// Adds a response's chunks.
    pub(super) fn push(&mut self, chunks: Vec<Payload>) {
        for chunk in chunks.into_iter().filter(|chunk| !chunk.is_empty()) {
            self.bytes += chunk.len();
            if let Some(bytes) = chunk.bytes() {
                self.total.add(bytes.len());
            }
            self.chunks.push_back(chunk);
        }
    }

    /// Bytes in memory and in files.
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// The part of a file that comes next, if one does.
    pub(super) fn file(&self) -> Option<&FileRange> {
        match self.chunks.front() {
            Some(Payload::File(range)) => Some(range),
            _ => None,
        }
    }

    /// So much of the part of a file that came next was sent.
    pub(super) fn sent(&mut self, count: usize) {
        let Some(Payload::File(range)) = self.chunks.front_mut() else {
            return;
        };
        let count = count.min(range.length);
        range.position += count as u64;
        range.length -= count;
        self.bytes -= count;
        if range.length == 0 {
            self.chunks.pop_front();
        }
    }

    /// The chunks in front of the first part of a file.
    fn at_hand(&self) -> impl Iterator<Item = &Bytes> {
        self.chunks.iter().map_while(Payload::bytes)
    }
}

impl Buf for Outgoing {
    fn remaining(&self) -> usize {
        self.at_hand().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.at_hand().next().map_or(&[], |chunk| chunk.as_ref())
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(self.at_hand()) {
            *slice = IoSlice::new(chunk);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining(), "more was written than there is");
        self.bytes -= count;
        while count > 0 {
            let Some(Payload::Bytes(front)) = self.chunks.front_mut() else {
                unreachable!("the bytes left are in chunks");
            };
            if count < front.len() {
                front.advance(count);
                self.gone += count;
                return;
            }
            count -= front.len();
            self.total.take(front.len() + self.gone);
            self.gone = 0;
            self.chunks.pop_front();
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        let at_hand = self.chunks.iter().filter_map(Payload::bytes);
        let left: usize = at_hand.map(Bytes::len).sum();
        self.total.take(left + self.gone);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn chunks_read_as_one_buffer() {
        let total = Responding::default();
        let mut outgoing = Outgoing::new(total.clone());
        outgoing.push(vec![
            Bytes::from_static(b"ab").into(),
            Payload::default(),
            Bytes::from_static(b"cde").into(),
        ]);
        outgoing.push(vec![Bytes::from_static(b"f").into()]);
        assert_eq!(outgoing.remaining(), 6);
        let mut slices = [IoSlice::new(&[]), IoSlice::new(&[])];
        assert_eq!(outgoing.chunks_vectored(&mut slices), 2);
        outgoing.advance(3);
        assert_eq!(total.room(10), 6, "a chunk is there until all of it went");
        assert_eq!(outgoing.copy_to_bytes(3).as_ref(), b"def");
        assert!(!outgoing.has_remaining());
        outgoing.push(vec![Bytes::from_static(b"g").into()]);
        drop(outgoing);
        assert_eq!(total.room(10), 10);
    }

    #[test]
    fn the_buffer_ends_where_a_part_of_a_file_comes() {
        let total = Responding::default();
        let mut outgoing = Outgoing::new(total.clone());
        let file = Arc::new(tempfile::tempfile().expect("a file"));
        let range = FileRange {
            file,
            position: 7,
            length: 5,
        };
        outgoing.push(vec![
            Bytes::from_static(b"ab").into(),
            Payload::File(range),
            Bytes::from_static(b"c").into(),
        ]);
        assert_eq!((outgoing.len(), outgoing.remaining()), (8, 2));
        assert_eq!(total.room(10), 7, "what lies in a file takes no memory");
        assert!(outgoing.file().is_none());
        outgoing.advance(2);
        assert!(!outgoing.has_remaining());
        outgoing.sent(3);
        let left = outgoing.file().expect("the rest");
        assert_eq!((left.position, left.length), (10, 2));
        outgoing.sent(2);
        assert!(outgoing.file().is_none());
        assert_eq!(outgoing.copy_to_bytes(1).as_ref(), b"c");
        assert_eq!((outgoing.len(), total.room(10)), (0, 10));
    }
}
