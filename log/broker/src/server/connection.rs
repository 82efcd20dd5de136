//! One connection: requests in, responses out, in order, on one task.
//!
//! ```text
//! socket ─▶ buffer ─▶ frame ─▶ request ─▶ api::handle ─▶ response ─▶ outgoing ─▶ socket
//!              │ grows as bytes arrive                          │ written when no further request is at hand,
//!              │ a size beyond the limit ends the connection    │ before a request that may wait, or from 256 KiB on
//!              └ a large frame waits for memory (see `memory`)
//! ```
//!
//! Invariants:
//! 1. Responses leave in the order of their requests; acks=0 has none.
//! 2. While a request may wait (Fetch, JoinGroup, SyncGroup, ListOffsets) the socket is watched: a peer that goes away ends the wait.
//! 3. A peer that sends nothing, or takes nothing of its answer, for the idle time is cut off.
//! 4. A peer that begins a large request and does not send it in time is cut off: its memory is reserved.
//! 5. Bytes that are no request end the connection with one line in the log; nothing is guessed.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use log_protocol::api::api_versions::ApiVersionsResponse;
use log_protocol::{
    ApiKey, ErrorCode, Request, RequestError, RequestHeader, Response, decode_request,
    encode_response, take_frame,
};
use metrics::{Counter, counter, gauge};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info, warn};

use super::outgoing::Outgoing;
use crate::api::{self, is_left_behind};
use crate::config::split_address;
use crate::memory::{FREE_BYTES, Reserved};
use crate::security::Principal;
use crate::services::{Context, Services};

/// From so many bytes on, responses are written though further requests are at hand.
const OUTGOING_BYTES_MAX: usize = 256 << 10;

/// Requests that a peer may send ahead while one of its requests waits; then it is left to wait itself.
const AHEAD_BYTES_MAX: usize = 64 << 10;

/// How long a large frame may take to arrive at the least, and the rate at which it may come beyond that.
const FRAME_TIME_MIN: Duration = Duration::from_secs(30);
const FRAME_BYTES_PER_SECOND_MIN: usize = 64 << 10;

/// The size of a frame and the api of its request, which is what there must be to know how much memory it takes.
const FRAME_HEAD_BYTES: usize = 6;

/// Why a connection ends.
enum End {
    /// The peer closed it, or the broker shuts down.
    Closed,
    /// The peer sent something that no client sends.
    Malformed(String),
    /// The producer of a request has gone on over a newer connection.
    LeftBehind,
    /// The socket failed.
    Io(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    /// Where it connects from.
    pub(super) address: SocketAddr,
    /// The connection's number, in the order in which they were accepted.
    pub(super) number: u64,
}

/// Serves one connection to its end.
pub(super) async fn serve(
    services: Arc<Services>,
    stream: TcpStream,
    peer: Peer,
    stopped: watch::Receiver<bool>,
) {
    let connections = gauge!("thalweg_log_connections");
    connections.increment(1.0);
    let end = match Connection::new(services, stream, peer, stopped) {
        Ok(mut connection) => connection.run().await,
        Err(error) => Err(End::Io(error)),
    };
    connections.decrement(1.0);
    let peer = peer.address;
    match end {
        Ok(()) | Err(End::Closed) => debug!(%peer, "connection closed"),
        Err(End::Io(error)) => debug!(%peer, %error, "connection lost"),
        Err(End::LeftBehind) => {
            info!(%peer, "connection closed: its producer speaks over a newer one");
        }
        Err(End::Malformed(reason)) => warn!(%peer, reason, "connection closed: not a request"),
    }
}

struct Connection {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    stopped: watch::Receiver<bool>,
    buffer: BytesMut,
    outgoing: Outgoing,
    context: Context,
    request_bytes_max: usize,
    idle_max: Duration,
    bytes_in: Counter,
    bytes_out: Counter,
    /// One counter an API, made when it is first used.
    requests: Vec<(ApiKey, Counter)>,
}

impl Connection {
    fn new(
        services: Arc<Services>,
        stream: TcpStream,
        peer: Peer,
        stopped: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let config = &services.config;
        let (host, port) = match config.advertised_address.as_deref().and_then(split_address) {
            Some((host, port)) => (host.to_owned(), port),
            None => (local.ip().to_string(), local.port()),
        };
        let (request_bytes_max, idle_max) = (config.request_bytes_max, config.connection_idle_max);
        let outgoing = Outgoing::new(services.responding.clone());
        let context = Context {
            services,
            principal: Principal::anonymous(),
            connection: peer.number,
            api_version: 0,
            client_id: String::new(),
            client_host: format!("/{}", peer.address.ip()),
            advertised_host: host,
            advertised_port: i32::from(port),
        };
        let (reader, writer) = stream.into_split();
        Ok(Self {
            reader,
            writer,
            stopped,
            buffer: BytesMut::new(),
            outgoing,
            context,
            request_bytes_max,
            idle_max,
            bytes_in: counter!("thalweg_log_bytes_in_total"),
            bytes_out: counter!("thalweg_log_bytes_out_total"),
            requests: Vec::new(),
        })
    }

    async fn run(&mut self) -> Result<(), End> {
        loop {
            let (frame, reserved) = self.next_frame().await?;
            if !self.answer(frame, reserved).await? {
                self.flush().await?;
                return Ok(());
            }
            if self.outgoing.remaining() >= OUTGOING_BYTES_MAX {
                self.flush().await?;
            }
        }
    }

    /// Answers one frame; false when the connection is to end afterwards.
    async fn answer(&mut self, frame: Bytes, reserved: Option<Reserved>) -> Result<bool, End> {
        let (header, request) = match decode_request(frame) {
            Ok(decoded) => decoded,
            Err(RequestError::Unsupported(header)) if header.api() == Some(ApiKey::ApiVersions) => {
                let response = Response::ApiVersions(ApiVersionsResponse::unsupported_version());
                self.respond(&header, &response)?;
                return Ok(true);
            }
            Err(error) => return Err(End::Malformed(error.to_string())),
        };
        let api = request.api_key();
        self.count(api);
        self.context.api_version = header.api_version;
        let client_id = header.client_id.as_deref().unwrap_or_default();
        if self.context.client_id != client_id {
            client_id.clone_into(&mut self.context.client_id);
        }
        if is_left_behind(&self.context, &request) {
            return Err(End::LeftBehind);
        }
        let silent = matches!(&request, Request::Produce(produce) if produce.acks == 0);
        let reserved = reserved.filter(|_| !may_wait(api));
        let response = self.handle(api, request).await?;
        if silent {
            // The producer asked for no answer: an error can only be told by closing.
            return Ok(!has_error(&response));
        }
        self.respond(&header, &response)?;
        drop(reserved);
        Ok(true)
    }

    async fn handle(&mut self, api: ApiKey, request: Request) -> Result<Response, End> {
        if !may_wait(api) {
            return Ok(api::handle(&self.context, request).await);
        }
        if self.outgoing.has_remaining() {
            self.flush().await?;
        }
        let context = self.context.clone();
        let handled = async move { api::handle(&context, request).await };
        self.watched(handled).await
    }

    /// Awaits `handled` and meanwhile sees to the peer and to the shutdown.
    async fn watched(&mut self, handled: impl Future<Output = Response>) -> Result<Response, End> {
        let mut handled = pin!(handled);
        loop {
            let may_read = self.buffer.len() < AHEAD_BYTES_MAX;
            tokio::select! {
                biased;
                response = &mut handled => return Ok(response),
                _ = self.stopped.wait_for(|stopped| *stopped) => return Err(End::Closed),
                read = self.reader.read_buf(&mut self.buffer), if may_read => match read? {
                    0 => return Err(End::Closed),
                    count => self.bytes_in.increment(count as u64),
                },
            }
        }
    }

    fn respond(&mut self, header: &RequestHeader, response: &Response) -> Result<(), End> {
        let chunks = encode_response(header, response).map_err(|error| {
            End::Malformed(format!("the answer to api key {}: {error}", header.api_key))
        })?;
        self.outgoing.push(chunks);
        Ok(())
    }

    /// The next frame, and the memory that is reserved for it. Answers are written before it waits for anything.
    async fn next_frame(&mut self) -> Result<(Bytes, Option<Reserved>), End> {
        let mut reserved = None;
        let mut deadline = None;
        loop {
            if reserved.is_none()
                && let Some((api, bytes)) = self.large_frame()
            {
                self.flush().await?;
                reserved = Some(self.reserve(api, bytes).await?);
                let seconds = (bytes / FRAME_BYTES_PER_SECOND_MIN) as u64;
                deadline = Some(Instant::now() + FRAME_TIME_MIN + Duration::from_secs(seconds));
            }
            let frame = take_frame(&mut self.buffer, self.request_bytes_max)
                .map_err(|error| End::Malformed(error.to_string()))?;
            if let Some(frame) = frame {
                return Ok((frame, reserved));
            }
            self.flush().await?;
            self.read_more(deadline).await?;
        }
    }

    /// The api and the size of the frame at hand, if it is one that is counted and the size can be.
    fn large_frame(&self) -> Option<(i16, usize)> {
        let [a, b, c, d, e, f] = *self.buffer.first_chunk::<FRAME_HEAD_BYTES>()?;
        let bytes = usize::try_from(i32::from_be_bytes([a, b, c, d])).ok()?;
        let api = i16::from_be_bytes([e, f]);
        (FREE_BYTES < bytes && bytes <= self.request_bytes_max).then_some((api, bytes))
    }

    async fn reserve(&mut self, api: i16, bytes: usize) -> Result<Reserved, End> {
        let memory = self.context.services.request_memory.clone();
        tokio::select! {
            biased;
            reserved = memory.reserve(api, bytes) => Ok(reserved),
            _ = self.stopped.wait_for(|stopped| *stopped) => Err(End::Closed),
        }
    }

    async fn read_more(&mut self, deadline: Option<Instant>) -> Result<(), End> {
        let idle = Instant::now() + self.idle_max;
        let until = deadline.map_or(idle, |deadline| deadline.min(idle));
        let read = tokio::select! {
            biased;
            read = timeout_at(until, self.reader.read_buf(&mut self.buffer)) => read,
            _ = self.stopped.wait_for(|stopped| *stopped) => return Err(End::Closed),
        };
        match read {
            Err(_) if deadline == Some(until) => {
                Err(End::Malformed("it did not arrive in time".to_owned()))
            }
            Err(_) => Err(End::Closed),
            Ok(read) => match read? {
                0 => Err(End::Closed),
                count => {
                    self.bytes_in.increment(count as u64);
                    Ok(())
                }
            },
        }
    }

    async fn flush(&mut self) -> Result<(), End> {
        if self.outgoing.has_remaining() {
            self.bytes_out.increment(self.outgoing.remaining() as u64);
        }
        while self.outgoing.has_remaining() {
            let write = self.writer.write_buf(&mut self.outgoing);
            let Ok(written) = tokio::time::timeout(self.idle_max, write).await else {
                return Err(End::Closed);
            };
            if written? == 0 {
                return Err(End::Io(io::ErrorKind::WriteZero.into()));
            }
        }
        Ok(())
    }

    fn count(&mut self, api: ApiKey) {
        if let Some((_, requests)) = self.requests.iter().find(|(known, _)| *known == api) {
            requests.increment(1);
            return;
        }
        let requests = counter!("thalweg_log_requests_total", "api" => api.name());
        requests.increment(1);
        self.requests.push((api, requests));
    }
}

/// Whether a request of this api may wait for something that others bring.
fn may_wait(api: ApiKey) -> bool {
    matches!(
        api,
        ApiKey::Fetch | ApiKey::JoinGroup | ApiKey::SyncGroup | ApiKey::ListOffsets
    )
}

fn has_error(response: &Response) -> bool {
    let Response::Produce(produce) = response else {
        return false;
    };
    produce
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses)
        .any(|partition| partition.error_code != ErrorCode::None)
}
