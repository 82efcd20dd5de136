//! Responses on their way out: chunks that go to the socket in as few vectored writes as possible.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

use crate::memory::Responding;

/// A queue of chunks that reads as one buffer.
#[derive(Debug)]
pub(super) struct Outgoing {
    chunks: VecDeque<Bytes>,
    bytes: usize,
    total: Responding,
}

impl Outgoing {
    /// An empty one, counted in `total`.
    pub(super) fn new(total: Responding) -> Self {
        Self {
            chunks: VecDeque::new(),
            bytes: 0,
            total,
        }
    }

    /// Adds a response's chunks.
    pub(super) fn push(&mut self, chunks: Vec<Bytes>) {
        for chunk in chunks {
            self.bytes += chunk.len();
            self.total.add(chunk.len());
            if !chunk.is_empty() {
                self.chunks.push_back(chunk);
            }
        }
    }
}

impl Buf for Outgoing {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.chunks.front().map_or(&[], |chunk| chunk.as_ref())
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let count = slices.len().min(self.chunks.len());
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            *slice = IoSlice::new(chunk);
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.bytes, "more was written than there is");
        self.bytes -= count;
        self.total.take(count);
        while count > 0 {
            let front = self
                .chunks
                .front_mut()
                .expect("the bytes left are in chunks");
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.chunks.pop_front();
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.total.take(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_read_as_one_buffer() {
        let total = Responding::default();
        let mut outgoing = Outgoing::new(total.clone());
        outgoing.push(vec![
            Bytes::from_static(b"ab"),
            Bytes::new(),
            Bytes::from_static(b"cde"),
        ]);
        outgoing.push(vec![Bytes::from_static(b"f")]);
        assert_eq!(outgoing.remaining(), 6);
        let mut slices = [IoSlice::new(&[]), IoSlice::new(&[])];
        assert_eq!(outgoing.chunks_vectored(&mut slices), 2);
        outgoing.advance(3);
        assert_eq!(total.room(10), 7);
        assert_eq!(outgoing.copy_to_bytes(3).as_ref(), b"def");
        assert!(!outgoing.has_remaining());
        outgoing.push(vec![Bytes::from_static(b"g")]);
        drop(outgoing);
        assert_eq!(total.room(10), 10);
    }
}
