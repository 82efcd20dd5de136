//! The stream of the write-ahead log: a task reads the socket, hands chunks on, and keeps the connection alive.
//!
//! ```text
//!  socket ─▶ reader ─▶ chunks (bounded) ─▶ Replication::next
//!              ▲                               │
//!              └── status: received, stored ◀──┴── Replication::acknowledge
//! ```
//!
//! Where nobody takes chunks the reader stops reading, and the server stops sending; its status goes on at intervals
//! below the server's patience (`wal_sender_timeout`), so that a slow log does not end the connection. A status is
//! sent at once when it was asked for and when more is stored. While nothing comes, a status asks for an answer: a server
//! that gives none is gone, though nobody closed the connection.
//!
//! Invariant: what is reported as flushed was acknowledged by the owner, nothing else.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::lsn::Lsn;
use super::wire::{Connection, WireError, literal, quoted};

/// A chunk is handed on once it has this many bytes, or when no more have come.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that wait; behind them the reader stops.
const CHUNKS_MAX: usize = 4;
/// A status at least this often, and four times within the server's patience.
const STATUS_MAX: Duration = Duration::from_secs(10);
/// Answers that may fail to come before the server is taken for gone.
const UNANSWERED_MAX: u32 = 3;
/// How long the server has to end the stream.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// What comes out of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// A message of the plugin at a position.
    Message(Lsn, Bytes),
    /// Everything before this position was sent.
    Keepalive(Lsn),
}

type Chunk = Result<Vec<Item>, WireError>;

/// A running stream.
pub(super) struct Replication {
    chunks: Option<mpsc::Receiver<Chunk>>,
    stored: Option<watch::Sender<Lsn>>,
    reader: JoinHandle<()>,
}

/// What is streamed.
pub(super) struct Stream<'a> {
    /// The slot.
    pub(super) slot: &'a str,
    /// The publication.
    pub(super) publication: &'a str,
    /// Where to begin: behind what was handed out.
    pub(super) from: Lsn,
    /// Up to where everything is on disk; behind `from` where records are still on their way.
    pub(super) stored: Lsn,
    /// Whether the server knows logical messages (PostgreSQL 14).
    pub(super) messages: bool,
    /// Whether large transactions come before they end (protocol 2).
    pub(super) streams_open: bool,
    /// `wal_sender_timeout`; zero for none.
    pub(super) patience: Duration,
}

impl Stream<'_> {
    /// The command that starts it.
    pub(super) fn command(&self) -> String {
        let publication = literal(&quoted(self.publication));
        let messages = if self.messages {
            ", messages 'true'"
        } else {
            ""
        };
        let protocol = if self.streams_open {
            "proto_version '2', streaming 'on'"
        } else {
            "proto_version '1'"
        };
        format!(
            "START_REPLICATION SLOT {} LOGICAL {} ({protocol}, publication_names {publication}{messages})",
            quoted(self.slot),
            self.from
        )
    }

    fn status_interval(&self) -> Duration {
        if self.patience.is_zero() {
            STATUS_MAX
        } else {
            STATUS_MAX.min(self.patience / 4)
        }
    }
}

impl Replication {
    /// Reads the stream of a connection that was started with [`Stream::command`].
    pub(super) fn spawn(connection: Connection, stream: &Stream<'_>) -> Self {
        let (send, chunks) = mpsc::channel(CHUNKS_MAX);
        let (stored, told) = watch::channel(stream.stored);
        let reader = Reader {
            connection,
            received: stream.from,
            told,
            status_interval: stream.status_interval(),
            status_at: Instant::now(),
            unanswered: 0,
        };
        Self {
            chunks: Some(chunks),
            stored: Some(stored),
            reader: tokio::spawn(reader.run(send)),
        }
    }

    /// The next chunk. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Vec<Item>, WireError> {
        let chunk = match &mut self.chunks {
            Some(chunks) => chunks.recv().await,
            None => None,
        };
        chunk.unwrap_or_else(|| {
            Err(WireError::Line(
                "the stream of the write-ahead log ended".to_owned(),
            ))
        })
    }

    /// Everything before this position is on disk.
    pub(super) fn acknowledge(&self, lsn: Lsn) {
        if let Some(stored) = &self.stored {
            stored.send_if_modified(|old| {
                let moved = lsn > *old;
                *old = lsn.max(*old);
                moved
            });
        }
    }

    /// Ends the stream: the server is told what is stored, and leaves the slot.
    pub(super) async fn stop(mut self) {
        self.chunks = None;
        self.stored = None;
        // Should the server not answer, dropping ends the reader.
        let _ = timeout(STOP_TIMEOUT, &mut self.reader).await;
    }
}

impl Drop for Replication {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

struct Reader {
    connection: Connection,
    received: Lsn,
    told: watch::Receiver<Lsn>,
    status_interval: Duration,
    status_at: Instant,
    /// Statuses that asked for an answer since bytes came last.
    unanswered: u32,
}

/// Why the reader woke up.
enum Wake {
    /// Bytes came, or there is room for a chunk.
    Ready,
    /// A status is due.
    Status,
    /// The owner is gone.
    Left,
}

impl Reader {
    async fn run(mut self, send: mpsc::Sender<Chunk>) {
        match self.read(&send).await {
            Ok(()) => self.leave().await,
            Err(error) => {
                // The owner may be gone.
                let _ = send.send(Err(error)).await;
            }
        }
    }

    /// Reads until the owner is gone.
    async fn read(&mut self, send: &mpsc::Sender<Chunk>) -> Result<(), WireError> {
        loop {
            let (chunk, failed) = self.chunk();
            let idle = chunk.is_empty();
            if !idle {
                let mut room = None;
                while room.is_none() {
                    let wake = tokio::select! {
                        permit = send.reserve() => match permit {
                            Ok(permit) => {
                                room = Some(permit);
                                Wake::Ready
                            }
                            Err(_) => Wake::Left,
                        },
                        wake = due(self.status_at, &mut self.told) => wake,
                    };
                    match wake {
                        Wake::Left => return Ok(()),
                        // Nothing is read meanwhile, an answer neither.
                        Wake::Status => self.status(false).await?,
                        Wake::Ready => {}
                    }
                }
                if let Some(room) = room {
                    room.send(Ok(chunk));
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
            if !idle {
                // A chunk may have been cut at its limit: look for the rest before waiting for more.
                continue;
            }
            let wake = tokio::select! {
                filled = self.connection.fill() => {
                    filled?;
                    Wake::Ready
                }
                wake = due(self.status_at, &mut self.told) => wake,
            };
            match wake {
                Wake::Left => return Ok(()),
                Wake::Status => {
                    if self.unanswered >= UNANSWERED_MAX {
                        return Err(WireError::Line(format!(
                            "the server gave no sign of life to {UNANSWERED_MAX} questions, one each {} ms",
                            self.status_interval.as_millis()
                        )));
                    }
                    // A status that more was stored is no question.
                    let asks = Instant::now() >= self.status_at;
                    self.unanswered += u32::from(asks);
                    self.status(asks).await?;
                }
                Wake::Ready => self.unanswered = 0,
            }
        }
    }

    /// What is already here, and what ended it.
    fn chunk(&mut self) -> (Vec<Item>, Option<WireError>) {
        let mut items = Vec::new();
        let mut bytes = 0;
        while bytes < CHUNK_BYTES {
            let frame = match self.connection.buffered() {
                Ok(Some(frame)) => frame,
                Ok(None) => return (items, None),
                Err(error) => return (items, Some(error)),
            };
            if frame.tag != b'd' {
                let ended = "the server ended the stream of the write-ahead log";
                return (items, Some(WireError::Line(ended.to_owned())));
            }
            bytes += frame.body.len();
            match item(frame.body) {
                Ok((item, asked)) => {
                    let (Item::Message(lsn, _) | Item::Keepalive(lsn)) = &item;
                    self.received = self.received.max(*lsn);
                    if asked {
                        self.status_at = Instant::now();
                    }
                    items.push(item);
                }
                Err(error) => return (items, Some(error)),
            }
        }
        (items, None)
    }

    /// Tells the server what was received and what is stored.
    async fn status(&mut self, asks: bool) -> Result<(), WireError> {
        let stored = *self.told.borrow_and_update();
        let received = self.received.max(stored);
        let mut body = BytesMut::with_capacity(34);
        body.put_u8(b'r');
        body.put_u64(received.0);
        body.put_u64(stored.0);
        body.put_u64(stored.0);
        // The time is for the server's view of delay only.
        body.put_i64(0);
        body.put_u8(u8::from(asks));
        self.connection.copy_data(&body).await?;
        self.status_at = Instant::now() + self.status_interval;
        Ok(())
    }

    /// Says what is stored, takes leave, and waits until the server has left the slot.
    async fn leave(mut self) {
        if self.status(false).await.is_ok() {
            self.connection.close().await;
        }
    }
}

/// Waits until a status is due, more is stored, or the owner is gone.
async fn due(at: Instant, told: &mut watch::Receiver<Lsn>) -> Wake {
    tokio::select! {
        () = sleep_until(at) => Wake::Status,
        changed = told.changed() => match changed {
            Ok(()) => Wake::Status,
            Err(_) => Wake::Left,
        },
    }
}

/// One frame of the stream, and whether the server asks for a status.
fn item(mut body: Bytes) -> Result<(Item, bool), WireError> {
    let short = |_| WireError::Protocol("a message of the stream ends too early".to_owned());
    match body.try_get_u8().map_err(short)? {
        b'w' => {
            let lsn = Lsn(body.try_get_u64().map_err(short)?);
            body.try_get_u64().map_err(short)?;
            body.try_get_i64().map_err(short)?;
            Ok((Item::Message(lsn, body), false))
        }
        b'k' => {
            let end = Lsn(body.try_get_u64().map_err(short)?);
            body.try_get_i64().map_err(short)?;
            let asked = body.try_get_u8().map_err(short)? != 0;
            Ok((Item::Keepalive(end), asked))
        }
        other => Err(WireError::Protocol(format!(
            "the stream has a message {:?}, which is not known",
            char::from(other)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_the_stream() {
        let mut frame = vec![b'w'];
        frame.extend(7_u64.to_be_bytes());
        frame.extend(9_u64.to_be_bytes());
        frame.extend(0_i64.to_be_bytes());
        frame.push(b'B');
        assert_eq!(
            item(frame.clone().into()).unwrap(),
            (Item::Message(Lsn(7), Bytes::from_static(b"B")), false)
        );
        let mut keepalive = vec![b'k'];
        keepalive.extend(7_u64.to_be_bytes());
        keepalive.extend(0_i64.to_be_bytes());
        keepalive.push(1);
        assert_eq!(
            item(keepalive.clone().into()).unwrap(),
            (Item::Keepalive(Lsn(7)), true)
        );
        for length in 0..keepalive.len() {
            assert!(item(Bytes::copy_from_slice(&keepalive[..length])).is_err());
            assert!(item(Bytes::copy_from_slice(&frame[..length])).is_err());
        }
        assert!(item(Bytes::from_static(b"x")).is_err());
    }

    #[test]
    fn names_in_the_command_are_quoted() {
        let stream = Stream {
            slot: "s",
            publication: "a\"'b",
            from: Lsn(0x1_0000_0002),
            stored: Lsn(7),
            messages: true,
            streams_open: false,
            patience: Duration::from_secs(4),
        };
        assert_eq!(
            stream.command(),
            "START_REPLICATION SLOT \"s\" LOGICAL 1/2 (proto_version '1', publication_names '\"a\"\"''b\"', messages \
             'true')"
        );
        assert_eq!(stream.status_interval(), Duration::from_secs(1));
        let open = Stream {
            streams_open: true,
            ..stream
        };
        let command = open.command();
        assert!(
            command.contains("(proto_version '2', streaming 'on', publication_names"),
            "{command}"
        );
    }
}
