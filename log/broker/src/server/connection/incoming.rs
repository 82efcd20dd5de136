//! Frames as they arrive: a large one waits for its memory, one that comes too slowly ends the connection.

use std::time::Duration;

use bytes::{BufMut, Bytes};
use log_protocol::take_frame;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

use super::{Connection, End};
use crate::memory::{FREE_BYTES, Reserved};
use crate::server::arrival::Arrival;
use crate::server::sink::Sink;

/// How often a frame that comes slowly is looked at.
const FRAME_LOOK: Duration = Duration::from_secs(1);

/// What a frame may have before it is known whose it is.
const STRANGER_FRAME_BYTES_MAX: usize = 16 << 10;

/// What leads a request up to its client id: size, api, version, correlation id, length of the client id.
const FRAME_HEAD_BYTES: usize = 14;

/// A frame that has begun to arrive and is counted.
struct LargeFrame {
    api: i16,
    bytes: usize,
    client_id: String,
}

impl<R: AsyncRead + Unpin, W: Sink> Connection<R, W> {
    /// The next frame, and the memory that is reserved for it. Answers are written before it waits for anything.
    pub(super) async fn next_frame(&mut self) -> Result<(Bytes, Option<Reserved>), End> {
        let mut reserved = None;
        let mut arrival = None;
        loop {
            if reserved.is_none()
                && let Some(frame) = self.large_frame()
            {
                self.flush().await?;
                self.settle(frame.api, Some(&frame.client_id)).await?;
                reserved = Some(self.reserve(frame.api, frame.bytes).await?);
                // At once: a buffer that grows by doubling holds the frame twice while it is copied.
                let missing = (size_of::<i32>() + frame.bytes).saturating_sub(self.buffer.len());
                self.buffer.reserve(missing);
                arrival = Some(Arrival::of(frame.bytes, Instant::now()));
            }
            let bytes_max = self.frame_bytes_max();
            let frame = take_frame(&mut self.buffer, bytes_max)
                .map_err(|error| End::Malformed(error.to_string()))?;
            if let Some(frame) = frame {
                return Ok((frame, reserved));
            }
            self.flush().await?;
            // Of what comes behind a large frame nothing is read with it: the next one finds its memory free, and is not moved.
            let missing = arrival.map_or(usize::MAX, |_| self.missing_bytes());
            self.read_more(arrival, missing).await?;
        }
    }

    /// What the frame at hand lacks.
    fn missing_bytes(&self) -> usize {
        let size = self
            .buffer
            .first_chunk()
            .map(|size| i32::from_be_bytes(*size));
        let size = usize::try_from(size.unwrap_or(0)).unwrap_or(0);
        (size_of::<i32>() + size)
            .saturating_sub(self.buffer.len())
            .max(1)
    }

    /// The frame at hand, once its head is there, if it is one that is counted and the size can be.
    fn large_frame(&self) -> Option<LargeFrame> {
        let [a, b, c, d, e, f, _, _, _, _, _, _, g, h] =
            *self.buffer.first_chunk::<FRAME_HEAD_BYTES>()?;
        let bytes = usize::try_from(i32::from_be_bytes([a, b, c, d])).ok()?;
        if bytes <= FREE_BYTES || bytes > self.frame_bytes_max() {
            return None;
        }
        // None, as a negative length has it, is nobody.
        let length = usize::try_from(i16::from_be_bytes([g, h])).unwrap_or(0);
        let client_id = self
            .buffer
            .get(FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + length)?;
        Some(LargeFrame {
            api: i16::from_be_bytes([e, f]),
            bytes,
            client_id: String::from_utf8_lossy(client_id).into_owned(),
        })
    }

    /// What a frame may have: little, as long as it is not known whose it is.
    fn frame_bytes_max(&self) -> usize {
        if self.session.is_done() {
            self.request_bytes_max
        } else {
            STRANGER_FRAME_BYTES_MAX.min(self.request_bytes_max)
        }
    }

    async fn reserve(&mut self, api: i16, bytes: usize) -> Result<Reserved, End> {
        let memory = self.context.services.request_memory.clone();
        tokio::select! {
            biased;
            reserved = memory.reserve(api, bytes) => Ok(reserved),
            _ = self.stopped.wait_for(|stopped| *stopped) => Err(End::Closed),
        }
    }

    /// Reads some bytes, `bytes_max` at most.
    async fn read_more(&mut self, arrival: Option<Arrival>, bytes_max: usize) -> Result<(), End> {
        let idle = Instant::now() + self.idle_max;
        loop {
            let now = Instant::now();
            if let Some(arrival) = arrival {
                let is_wanted = self.context.services.request_memory.is_wanted();
                if arrival.is_late(now, is_wanted) {
                    return Err(End::Malformed("it did not arrive in time".to_owned()));
                }
            }
            if self.known_by.is_some_and(|known_by| known_by <= now) {
                let reason = "it took too long to say who it is";
                return Err(End::Unknown(reason.to_owned()));
            }
            if idle <= now {
                return Err(End::Closed);
            }
            let look = arrival.map(|_| now + FRAME_LOOK);
            let until = [look, self.known_by].into_iter().flatten();
            let until = until.fold(idle, Instant::min);
            let mut buffer = (&mut self.buffer).limit(bytes_max);
            let read = tokio::select! {
                biased;
                read = timeout_at(until, self.reader.read_buf(&mut buffer)) => read,
                _ = self.stopped.wait_for(|stopped| *stopped) => return Err(End::Closed),
            };
            match read {
                Err(_) => {}
                Ok(read) => match read? {
                    0 => return Err(End::Closed),
                    count => {
                        self.bytes_in.increment(count as u64);
                        return Ok(());
                    }
                },
            }
        }
    }
}
