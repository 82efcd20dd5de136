//! A socket whose connections are encrypted, for what is served beside the log with the log's certificates.
//!
//! ```text
//! accept ─▶ one task a handshake, at most so many, each for so long ─▶ those that are through wait to be taken
//! ```
//! Who does not finish its handshake holds up nobody else.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

use super::ACCEPT_PAUSE;

/// Handshakes at a time; beyond it connections wait in the system's queue.
const HANDSHAKES_MAX: usize = 1000;

/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Connections that are through and were not taken yet.
const WAITING_MAX: usize = 16;

/// Accepts connections over TLS. Dropped, it closes.
#[derive(Debug)]
pub struct TlsSocket {
    through: mpsc::Receiver<(TlsConnection, SocketAddr)>,
    local: SocketAddr,
    accepting: JoinHandle<()>,
}

impl TlsSocket {
    /// Needs a tokio runtime.
    pub(crate) fn new(socket: TcpListener, acceptor: TlsAcceptor) -> io::Result<Self> {
        let local = socket.local_addr()?;
        let (sender, through) = mpsc::channel(WAITING_MAX);
        let accepting = tokio::spawn(accept(socket, acceptor, sender));
        Ok(Self {
            through,
            local,
            accepting,
        })
    }

    /// The next connection, and where it comes from. Cancel safe.
    pub async fn accept(&mut self) -> (TlsConnection, SocketAddr) {
        match self.through.recv().await {
            Some(connection) => connection,
            // It accepts as long as this lives.
            None => std::future::pending().await,
        }
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for TlsSocket {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    socket: TcpListener,
    acceptor: TlsAcceptor,
    through: mpsc::Sender<(TlsConnection, SocketAddr)>,
) {
    let turns = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
            return;
        };
        let (stream, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(failed) => {
                warn!(%failed, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, through) = (acceptor.clone(), through.clone());
        tokio::spawn(async move {
            let _turn = turn;
            match timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
                // Nobody takes it any more where the socket was closed.
                Ok(Ok(stream)) => drop(through.send((TlsConnection(stream), peer)).await),
                Ok(Err(error)) => debug!(%peer, %error, "no handshake over TLS"),
                Err(_) => debug!(%peer, "the handshake over TLS took too long"),
            }
        });
    }
}

/// An encrypted connection.
#[derive(Debug)]
pub struct TlsConnection(TlsStream<TcpStream>);

impl AsyncRead for TlsConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TlsConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
