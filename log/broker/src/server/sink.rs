//! Where answers go: a socket that takes parts of files as they are, or a TLS stream, which has to see each byte.

use std::io;

use log_protocol::FileRange;
use tokio::io::{AsyncWrite, Interest, WriteHalf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio_rustls::server::TlsStream;

use crate::storage::send_file;

/// The writing half of a connection.
pub(super) trait Sink: AsyncWrite + Unpin {
    /// Whether it takes parts of files.
    const SENDS_FILES: bool;

    /// Sends some of a part of a file, and gives how many bytes; [`io::ErrorKind::InvalidData`] if the file was cut. Cancel safe: what is not
    /// told was not sent.
    async fn send(&self, range: &FileRange) -> io::Result<usize>;
}

impl Sink for OwnedWriteHalf {
    const SENDS_FILES: bool = true;

    async fn send(&self, range: &FileRange) -> io::Result<usize> {
        let socket: &TcpStream = self.as_ref();
        let send = || send_file(socket, range);
        socket.async_io(Interest::WRITABLE, send).await
    }
}

impl Sink for WriteHalf<TlsStream<TcpStream>> {
    const SENDS_FILES: bool = false;

    async fn send(&self, _: &FileRange) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
