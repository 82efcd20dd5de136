//! One connection: requests in, responses out, in order, on one task.
//!
//! ```text
//! socket ─▶ buffer ─▶ frame ─▶ request ─▶ Broker::handle ─▶ response ─▶ outgoing ─▶ socket
//!              │ grows as bytes arrive                          │ written when no further request is at hand,
//!              └ a size beyond the limit ends the connection    │ before a request that may wait, or from 256 KiB on
//! ```
//!
//! Invariants:
//! 1. Responses leave in the order of their requests; acks=0 has none.
//! 2. While a request may wait (Fetch, JoinGroup, SyncGroup, ListOffsets) the socket is watched: a peer that goes away ends the wait.
//! 3. A peer that sends nothing, or takes nothing of its answer, for the idle time is cut off.
//! 4. Bytes that are no request end the connection with one line in the log; nothing is guessed.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
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
use tracing::{debug, warn};

use super::outgoing::Outgoing;
use crate::broker::{Broker, RequestContext};
use crate::config::split_address;

/// From so many bytes on, responses are written though further requests are at hand.
const OUTGOING_BYTES_MAX: usize = 256 << 10;

/// Requests that a peer may send ahead while one of its requests waits; then it is left to wait itself.
const AHEAD_BYTES_MAX: usize = 1 << 20;

/// Why a connection ends.
enum End {
    /// The peer closed it, or the broker shuts down.
    Closed,
    /// The peer sent something that no client sends.
    Malformed(String),
    /// The socket failed.
    Io(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Serves one connection to its end.
pub(super) async fn serve(
    broker: Broker,
    stream: TcpStream,
    peer: SocketAddr,
    stopped: watch::Receiver<bool>,
) {
    let connections = gauge!("thalweg_log_connections");
    connections.increment(1.0);
    let end = match Connection::new(broker, stream, peer, stopped) {
        Ok(mut connection) => connection.run().await,
        Err(error) => Err(End::Io(error)),
    };
    connections.decrement(1.0);
    match end {
        Ok(()) | Err(End::Closed) => debug!(%peer, "connection closed"),
        Err(End::Io(error)) => debug!(%peer, %error, "connection lost"),
        Err(End::Malformed(reason)) => warn!(%peer, reason, "connection closed: not a request"),
    }
}

struct Connection {
    broker: Broker,
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    stopped: watch::Receiver<bool>,
    buffer: BytesMut,
    outgoing: Outgoing,
    context: RequestContext,
    request_bytes_max: usize,
    idle_max: Duration,
    bytes_in: Counter,
    bytes_out: Counter,
    /// One counter an API, made when it is first used.
    requests: Vec<(ApiKey, Counter)>,
}

impl Connection {
    fn new(
        broker: Broker,
        stream: TcpStream,
        peer: SocketAddr,
        stopped: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let config = broker.config();
        let (host, port) = match config.advertised_address.as_deref().and_then(split_address) {
            Some((host, port)) => (host.to_owned(), port),
            None => (local.ip().to_string(), local.port()),
        };
        let context = RequestContext {
            api_version: 0,
            client_id: String::new(),
            client_host: format!("/{}", peer.ip()),
            advertised_host: host,
            advertised_port: i32::from(port),
        };
        let (request_bytes_max, idle_max) = (config.request_bytes_max, config.connection_idle_max);
        let outgoing = Outgoing::new(broker.shared.responding.clone());
        let (reader, writer) = stream.into_split();
        Ok(Self {
            broker,
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
            let frame = match self.buffered_frame()? {
                Some(frame) => frame,
                None => {
                    self.flush().await?;
                    self.next_frame().await?
                }
            };
            if !self.answer(frame).await? {
                self.flush().await?;
                return Ok(());
            }
            if self.outgoing.remaining() >= OUTGOING_BYTES_MAX {
                self.flush().await?;
            }
        }
    }

    /// Answers one frame; false when the connection is to end afterwards.
    async fn answer(&mut self, frame: Bytes) -> Result<bool, End> {
        let (header, request) = match decode_request(frame) {
            Ok(decoded) => decoded,
            Err(RequestError::Unsupported(header)) if header.api() == Some(ApiKey::ApiVersions) => {
                let response = Response::ApiVersions(ApiVersionsResponse::unsupported_version());
                self.outgoing.push(encode_response(&header, &response));
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
        let silent = matches!(&request, Request::Produce(produce) if produce.acks == 0);
        let response = self.handle(api, request).await?;
        if silent {
            // The producer asked for no answer: an error can only be told by closing.
            return Ok(!has_error(&response));
        }
        self.respond(&header, &response);
        Ok(true)
    }

    async fn handle(&mut self, api: ApiKey, request: Request) -> Result<Response, End> {
        let may_wait = matches!(
            api,
            ApiKey::Fetch | ApiKey::JoinGroup | ApiKey::SyncGroup | ApiKey::ListOffsets
        );
        if !may_wait {
            return Ok(self.broker.handle(&self.context, request).await);
        }
        if self.outgoing.has_remaining() {
            self.flush().await?;
        }
        let broker = self.broker.clone();
        let context = self.context.clone();
        let handled = async move { broker.handle(&context, request).await };
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

    fn respond(&mut self, header: &RequestHeader, response: &Response) {
        self.outgoing.push(encode_response(header, response));
    }

    fn buffered_frame(&mut self) -> Result<Option<Bytes>, End> {
        take_frame(&mut self.buffer, self.request_bytes_max)
            .map_err(|error| End::Malformed(error.to_string()))
    }

    async fn next_frame(&mut self) -> Result<Bytes, End> {
        loop {
            let read = tokio::select! {
                biased;
                read = tokio::time::timeout(self.idle_max, self.reader.read_buf(&mut self.buffer)) => read,
                _ = self.stopped.wait_for(|stopped| *stopped) => return Err(End::Closed),
            };
            match read {
                Err(_) => return Err(End::Closed),
                Ok(read) => match read? {
                    0 => return Err(End::Closed),
                    count => self.bytes_in.increment(count as u64),
                },
            }
            if let Some(frame) = self.buffered_frame()? {
                return Ok(frame);
            }
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
