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
//! 5. Where clients must say who they are, nothing else is read before: small frames, few kinds of them, in limited time (see `session`).
//! 6. While a client owes for what it took beyond its quota, nothing more of it is begun, and no memory taken for it (see `throttle`).
//! 7. Bytes that are no request end the connection with one line in the log; nothing is guessed.

mod incoming;
mod introduction;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use log_protocol::api::api_versions::ApiVersionsResponse;
use log_protocol::{
    ApiKey, ErrorCode, Request, RequestError, RequestHeader, Response, decode_request,
    encode_response,
};
use metrics::{Counter, counter, gauge};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, error, info, warn};

use super::listener::Listener;
use super::outgoing::Outgoing;
use super::session::Session;
use super::sink::Sink;
use super::throttle;
use crate::api::{self, is_left_behind};
use crate::memory::Reserved;
use crate::security::{Principal, subject_of};
use crate::services::{Context, Services};

/// From so many bytes on, responses are written though further requests are at hand.
const OUTGOING_BYTES_MAX: usize = 256 << 10;

/// What a socket takes before the peer has room for it. It is the file's pages and no copy of them: a file that is cut meanwhile damages
/// what lies there, and nothing of an answer that is longer has gone whole before the cut is seen.
const UNSENT_BYTES_MAX: u32 = 128 << 10;

/// Requests that a peer may send ahead while one of its requests waits; then it is left to wait itself.
const AHEAD_BYTES_MAX: usize = 16 << 10;

/// How long a peer may take nothing of its answer while there is no room for those of others.
const READER_TIME_MAX: Duration = Duration::from_secs(5);

/// How long the end of a TLS connection may take.
const TLS_FAREWELL: Duration = Duration::from_millis(100);

/// Why a connection ends.
enum End {
    /// The peer closed it, or the broker shuts down.
    Closed,
    /// The peer sent something that no client sends.
    Malformed(String),
    /// The producer of a request has gone on over a newer connection.
    LeftBehind,
    /// It did not become known who is at the other end.
    Unknown(String),
    /// A file was cut while an answer that is a part of it was on the way.
    Cut(io::Error),
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

/// Serves one connection to its end. `stranger` is kept until it is known who is at the other end.
pub(super) async fn serve(
    services: Arc<Services>,
    listener: Arc<Listener>,
    stream: TcpStream,
    peer: Peer,
    stranger: Option<OwnedSemaphorePermit>,
    stopped: watch::Receiver<bool>,
) {
    let connections = gauge!("thalweg_log_connections");
    connections.increment(1.0);
    let deadline = Instant::now() + services.config.authentication_max;
    let begin = Begin {
        services,
        listener,
        peer,
        stranger,
        stopped,
        deadline,
    };
    let end = begin.serve(stream).await;
    connections.decrement(1.0);
    let peer = peer.address;
    match end {
        Ok(()) | Err(End::Closed) => debug!(%peer, "connection closed"),
        Err(End::Io(error)) => debug!(%peer, %error, "connection lost"),
        Err(End::Cut(error)) => error!(
            %peer,
            %error,
            "connection closed: records were damaged while they were sent; its next fetch tells which"
        ),
        Err(End::LeftBehind) => {
            info!(%peer, "connection closed: its producer speaks over a newer one");
        }
        Err(End::Unknown(reason)) => info!(%peer, reason, "connection closed: not let in"),
        Err(End::Malformed(reason)) => warn!(%peer, reason, "connection closed: not a request"),
    }
}

/// A connection that was accepted.
struct Begin {
    services: Arc<Services>,
    listener: Arc<Listener>,
    peer: Peer,
    stranger: Option<OwnedSemaphorePermit>,
    stopped: watch::Receiver<bool>,
    /// Until then it must be known who is at the other end.
    deadline: Instant,
}

impl Begin {
    async fn serve(mut self, stream: TcpStream) -> Result<(), End> {
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let Some(acceptor) = self.listener.tls.clone() else {
            SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
            let (reader, writer) = stream.into_split();
            let mut connection = self.connection(local, Principal::anonymous(), reader, writer);
            return connection.run().await;
        };
        let accepted = tokio::select! {
            biased;
            accepted = timeout_at(self.deadline, acceptor.accept(stream)) => accepted,
            _ = self.stopped.wait_for(|stopped| *stopped) => return Err(End::Closed),
        };
        let stream = match accepted {
            Err(_) => return Err(End::Unknown("it took too long over TLS".to_owned())),
            Ok(accepted) => accepted.map_err(|error| End::Unknown(error.to_string()))?,
        };
        let certificates = stream.get_ref().1.peer_certificates();
        let subject = certificates
            .and_then(|chain| chain.first())
            .and_then(|certificate| subject_of(certificate));
        let principal = subject.map_or_else(Principal::anonymous, |name| Principal::user(&name));
        let (reader, writer) = tokio::io::split(stream);
        let mut connection = self.connection(local, principal, reader, writer);
        let ended = connection.run().await;
        // A farewell that the peer does not take is no loss.
        let _ = timeout(TLS_FAREWELL, connection.writer.shutdown()).await;
        ended
    }

    fn connection<R, W: Sink>(
        self,
        local: SocketAddr,
        principal: Principal,
        reader: R,
        writer: W,
    ) -> Connection<R, W> {
        let services = self.services;
        let config = &services.config;
        let (host, port) = match &self.listener.advertised {
            Some((host, port)) => (host.clone(), *port),
            None => (local.ip().to_string(), local.port()),
        };
        let (request_bytes_max, idle_max) = (config.request_bytes_max, config.connection_idle_max);
        let outgoing = Outgoing::new(services.responding.clone());
        let session = Session::of(&self.listener);
        let is_known = session.is_done();
        let context = Context {
            services,
            principal,
            connection: self.peer.number,
            api_version: 0,
            client_id: String::new(),
            client_host: format!("/{}", self.peer.address.ip().to_canonical()),
            advertised_host: host,
            advertised_port: i32::from(port),
            sends_files: W::SENDS_FILES,
        };
        Connection {
            listener: self.listener,
            session,
            stranger: self.stranger.filter(|_| !is_known),
            known_by: (!is_known).then_some(self.deadline),
            known_until: None,
            is_known: false,
            reader,
            writer,
            stopped: self.stopped,
            buffer: BytesMut::new(),
            outgoing,
            context,
            request_bytes_max,
            idle_max,
            bytes_in: counter!("thalweg_log_bytes_in_total"),
            bytes_out: counter!("thalweg_log_bytes_out_total"),
            requests: Vec::new(),
        }
    }
}

struct Connection<R, W> {
    listener: Arc<Listener>,
    session: Session,
    /// Counts it among those of whom it is not known who they are.
    stranger: Option<OwnedSemaphorePermit>,
    /// Until then it must be known; none once it is.
    known_by: Option<Instant>,
    /// When its token expires, if it came with one.
    known_until: Option<Instant>,
    /// Whether it said who it is, ever.
    is_known: bool,
    reader: R,
    writer: W,
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

impl<R: AsyncRead + Unpin, W: Sink> Connection<R, W> {
    async fn run(&mut self) -> Result<(), End> {
        loop {
            let (frame, reserved) = self.next_frame().await?;
            if !self.answer(frame, reserved).await? {
                self.flush().await?;
                return Ok(());
            }
            if self.outgoing.len() >= OUTGOING_BYTES_MAX {
                self.flush().await?;
            }
        }
    }

    /// Answers one frame; false when the connection is to end afterwards.
    async fn answer(&mut self, frame: Bytes, reserved: Option<Reserved>) -> Result<bool, End> {
        if !self.session.is_done() || self.introduces_again(&frame) {
            return self.introduce(frame).await;
        }
        if self.known_until.is_some_and(|end| end <= Instant::now()) {
            let reason = "its token has expired, and it brought no other";
            return Err(End::Unknown(reason.to_owned()));
        }
        let frame_bytes = frame.len();
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
        self.settle(api.code(), None).await?;
        let silent = matches!(&request, Request::Produce(produce) if produce.acks == 0);
        let produced_bytes = matches!(api, ApiKey::Produce).then_some(frame_bytes);
        let reserved = reserved.filter(|_| !may_wait(api));
        let (mut response, spent) = self.handle(api, request).await?;
        let throttle_ms = throttle::charge(&self.context, produced_bytes, &response, spent);
        if silent {
            // The producer asked for no answer: an error can only be told by closing.
            drop(reserved);
            self.hold_back(throttle_ms).await?;
            return Ok(!has_error(&response));
        }
        if throttle_ms > 0 {
            response.set_throttle_ms(i32::try_from(throttle_ms).unwrap_or(i32::MAX));
        }
        self.respond(&header, &response)?;
        drop(reserved);
        self.hold_back(throttle_ms).await?;
        Ok(true)
    }

    /// Reads nothing for so long: the client was told (KIP-219).
    async fn hold_back(&mut self, ms: i64) -> Result<(), End> {
        let Some(ms) = u64::try_from(ms).ok().filter(|ms| *ms > 0) else {
            return Ok(());
        };
        self.flush().await?;
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(ms)) => Ok(()),
            _ = self.stopped.wait_for(|stopped| *stopped) => Err(End::Closed),
        }
    }

    /// The answer, and how long threads worked on it.
    async fn handle(&mut self, api: ApiKey, request: Request) -> Result<(Response, Duration), End> {
        if !may_wait(api) {
            return Ok(throttle::timed(api::handle(&self.context, request)).await);
        }
        if self.outgoing.len() > 0 {
            self.flush().await?;
        }
        let context = self.context.clone();
        let handled = async move { api::handle(&context, request).await };
        self.watched(throttle::timed(handled)).await
    }

    /// Awaits `handled` and meanwhile sees to the peer and to the shutdown.
    async fn watched<T>(&mut self, handled: impl Future<Output = T>) -> Result<T, End> {
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

    /// Waits until the client, by default that of the request at hand, owes nothing for what it took before.
    async fn settle(&mut self, api: i16, client_id: Option<&str>) -> Result<(), End> {
        loop {
            let client_id = client_id.unwrap_or(&self.context.client_id);
            let owed_ms = throttle::owed(&self.context, api, client_id);
            let Some(owed_ms) = u64::try_from(owed_ms).ok().filter(|ms| *ms > 0) else {
                return Ok(());
            };
            self.flush().await?;
            self.watched(tokio::time::sleep(Duration::from_millis(owed_ms)))
                .await?;
        }
    }

    async fn flush(&mut self) -> Result<(), End> {
        if self.outgoing.len() > 0 {
            self.bytes_out.increment(self.outgoing.len() as u64);
        }
        let has_written = self.outgoing.len() > 0;
        while self.outgoing.len() > 0 {
            let written = self.write_some().await?;
            if written == 0 {
                return Err(End::Io(io::ErrorKind::WriteZero.into()));
            }
        }
        if has_written {
            // What TLS still holds back.
            let Ok(flushed) = timeout(self.idle_max, self.writer.flush()).await else {
                return Err(End::Closed);
            };
            flushed?;
        }
        Ok(())
    }

    /// Writes what the peer takes; one that takes nothing is cut off, sooner when others wait for the room that its answer takes.
    async fn write_some(&mut self) -> Result<usize, End> {
        let began = Instant::now();
        loop {
            let look = READER_TIME_MAX.min(self.idle_max);
            let write = self.write_next();
            if let Ok(written) = timeout(look, write).await {
                return written;
            }
            let services = &self.context.services;
            let is_full = services.responding.room(services.config.response_bytes_max) == 0;
            if is_full || began.elapsed() >= self.idle_max {
                return Err(End::Closed);
            }
        }
    }

    async fn write_next(&mut self) -> Result<usize, End> {
        let Some(range) = self.outgoing.file() else {
            return Ok(self.writer.write_buf(&mut self.outgoing).await?);
        };
        let sent = self.writer.send(range).await;
        let sent = sent.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => End::Cut(error),
            _ => End::Io(error),
        })?;
        self.outgoing.sent(sent);
        Ok(sent)
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
