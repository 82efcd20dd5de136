//! Memory for requests: one budget over all connections ("queued.max.request.bytes"). And how much their answers take.
//!
//! ```text
//!  size of a frame known ─▶ small? free ─▶ read
//!                        └─ large: wait for room in the budget ─▶ read, decode ─▶ answered, or begins to wait: given back
//! ```
//! A connection that waits for room does not read, so its peer is held back by TCP. Waiting is fair.
//!
//! Invariants:
//! 1. A frame is reserved as a whole before its second step is read: who holds memory needs no more of it to go on, so nobody waits in a
//!    circle.
//! 2. Nothing is reserved while a request waits for something that another request has to bring.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use log_protocol::ApiKey;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Frames up to this size are not counted: the number of connections bounds them.
pub(crate) const FREE_BYTES: usize = 16 << 10;

/// What a decoded request and its answer may take, as a multiple of the frame: a topic name of four bytes becomes a topic of sixty.
/// The records of a Produce request stay slices of the frame.
const DECODED_RATIO: usize = 16;

/// The budget is counted in pieces, as a semaphore's permits are 32 bits.
const PIECE_BYTES: usize = 1 << 10;

/// Bytes of responses that wait for their readers, over all connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Responding(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    bytes: AtomicUsize,
    /// Some wait no more.
    fewer: Notify,
}

impl Responding {
    /// Counts bytes that begin to wait.
    pub(crate) fn add(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes that wait no more.
    pub(crate) fn take(&self, bytes: usize) {
        self.0.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.0.fewer.notify_waiters();
    }

    /// What may be added if `max` are allowed.
    pub(crate) fn room(&self, max: usize) -> usize {
        max.saturating_sub(self.0.bytes.load(Ordering::Relaxed))
    }

    /// Waits until something may be added if `max` are allowed, and takes a part of it, at most `wanted`, for an answer that is about to
    /// be made. Who reads too slowly is cut off meanwhile, so the wait ends.
    pub(crate) async fn reserve(&self, max: usize, wanted: usize) -> Room {
        loop {
            let mut fewer = pin!(self.0.fewer.notified());
            // From here on no end of a wait is missed.
            fewer.as_mut().enable();
            match self.try_reserve(max, wanted) {
                None => fewer.await,
                Some(room) => return room,
            }
        }
    }

    fn try_reserve(&self, max: usize, wanted: usize) -> Option<Room> {
        let part = |taken: usize| {
            let room = max.checked_sub(taken).filter(|room| *room > 0)?;
            // An answer has a batch at least, however little room there is.
            Some((room / ROOM_SHARE).max(ANSWER_BYTES_MIN).min(wanted))
        };
        let add = |taken| part(taken).map(|part| taken + part);
        let bytes = &self.0.bytes;
        let before = bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        let bytes = part(before.ok()?)?;
        Some(Room {
            bytes,
            of: self.clone(),
        })
    }
}

/// The part of the room for waiting answers that one answer takes at most: a reader that is slow leaves some to the others.
const ROOM_SHARE: usize = 4;

/// What an answer is reckoned with at the least: a batch of the size that producers send at most by default.
const ANSWER_BYTES_MIN: usize = 1 << 20;

/// Room for an answer that is being made, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    bytes: usize,
    of: Responding,
}

impl Room {
    /// What the answer may take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.of.take(self.bytes);
    }
}

/// The budget; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct RequestMemory {
    free: Arc<Semaphore>,
    pieces: u32,
    /// Requests that wait for room.
    waiting: Arc<AtomicUsize>,
}

/// A part of the budget, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    _pieces: OwnedSemaphorePermit,
}

impl RequestMemory {
    /// A budget of so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let pieces = u32::try_from(bytes.div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX);
        Self {
            free: Arc::new(Semaphore::new(pieces as usize)),
            pieces,
            waiting: Arc::default(),
        }
    }

    /// Whether a request waits for room: then who holds some and does not use it is to give it back.
    pub(crate) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Waits for the room that a frame of `api` needs; one that needs more than there is gets all of it.
    pub(crate) async fn reserve(&self, api: i16, frame_bytes: usize) -> Reserved {
        let ratio = if api == ApiKey::Produce.code() {
            1
        } else {
            DECODED_RATIO
        };
        let bytes = frame_bytes.saturating_mul(ratio);
        let pieces = u32::try_from(bytes.div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX);
        let pieces = pieces.min(self.pieces);
        if let Ok(permits) = Arc::clone(&self.free).try_acquire_many_owned(pieces) {
            return Reserved { _pieces: permits };
        }
        let _waiting = Wait::begin(&self.waiting);
        let permits = Arc::clone(&self.free).acquire_many_owned(pieces);
        Reserved {
            _pieces: permits.await.expect("the budget is never closed"),
        }
    }
}

/// Counts one that waits, until it is dropped.
struct Wait<'a>(&'a AtomicUsize);

impl<'a> Wait<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn answers_wait_for_room_that_others_leave_and_are_counted_before_they_are_made() {
        const MAX: usize = 16 << 20;
        let responding = Responding::default();
        let reserve = || Box::pin(responding.reserve(MAX, usize::MAX));
        let first = reserve().now_or_never().expect("there is room");
        assert_eq!(first.bytes(), MAX / 4);
        let mut made = vec![first];
        // However many come at once, all of them together take no more than one answer beyond the limit.
        while let Some(room) = reserve().now_or_never() {
            made.push(room);
        }
        let taken: usize = made.iter().map(Room::bytes).sum();
        assert!((MAX..MAX + ANSWER_BYTES_MIN).contains(&taken), "{taken}");
        let mut waiting = reserve();
        assert!(waiting.as_mut().now_or_never().is_none());
        made.clear();
        let small = responding.reserve(MAX, 100).now_or_never();
        assert_eq!(small.map(|room| room.bytes()), Some(100));
        assert!(waiting.now_or_never().is_some());
        assert_eq!(responding.room(MAX), MAX);
    }

    #[test]
    fn frames_wait_for_room_and_one_that_is_too_large_for_all_goes_alone() {
        let memory = RequestMemory::new(1 << 20);
        let produce = ApiKey::Produce.code();
        let first = memory.reserve(produce, 600 << 10).now_or_never();
        assert!(first.is_some());
        let mut second = Box::pin(memory.reserve(produce, 600 << 10));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(memory.is_wanted());
        drop(first);
        let second = second.now_or_never().expect("there is room");
        let mut alone = Box::pin(memory.reserve(ApiKey::Metadata.code(), 10 << 20));
        assert!(alone.as_mut().now_or_never().is_none());
        drop(second);
        assert!(alone.now_or_never().is_some());
        assert!(!memory.is_wanted());
    }
}
