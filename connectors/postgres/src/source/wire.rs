//! A connection to PostgreSQL, ordinary or for replication: startup, passwords, simple queries, frames.
//!
//! Every value comes as text, printed under the same settings on every connection ([`SETTINGS`]), so that a row reads
//! the same whether a query or the write-ahead log brought it.
//!
//! Invariants:
//! 1. Every future may be dropped: what was read stays in the buffer, what is to be sent stays in the other. A query
//!    whose answer was not read to its end is read to its end before the next one. An error is told at the end of
//!    its answer, so that whoever stops waiting in between gets it later.
//! 2. Memory grows with the bytes that came, never with a length that was announced.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::tls::{self, Encryption, Mode, TlsIssue};

/// How values are printed. Both kinds of connection have the same.
const SETTINGS: &[(&str, &str)] = &[
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO"),
    ("IntervalStyle", "iso_8601"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
    ("application_name", "thalweg"),
];
/// A connection that is not made by then is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);
/// How much is asked of the socket at a time.
const READ_BYTES: usize = 64 << 10;
/// Lengths below this are wrong: a frame's length counts itself.
const LENGTH_BYTES: usize = 4;
/// PostgreSQL itself sends nothing longer than this.
const FRAME_BYTES_MAX: usize = 0x7FFF_FFFF;

/// What the server said was wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default, Error)]
#[error("{message}{}{} [SQLSTATE {code}]", section(": ", .detail, ""), section(" (", .hint, ")"))]
pub(super) struct ServerError {
    /// SQLSTATE.
    pub(super) code: String,
    /// In the server's words.
    pub(super) message: String,
    /// More of it, or nothing.
    pub(super) detail: String,
    /// The server's advice, or nothing.
    pub(super) hint: String,
}

impl ServerError {
    /// Whether the server leaves after it, without saying that it is ready again.
    fn ends_the_connection(&self) -> bool {
        self.code.starts_with("28") || self.code.starts_with("57P")
    }
}

fn section(before: &str, text: &str, after: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("{before}{text}{after}")
    }
}

/// A call that failed.
#[derive(Debug, Error)]
pub(super) enum WireError {
    /// The line: refused, broken, closed.
    #[error("{0}")]
    Line(String),
    /// The server refused.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The connection cannot be encrypted as it is asked for.
    #[error(transparent)]
    Tls(#[from] TlsIssue),
    /// What came is not PostgreSQL's protocol, or a part of it that is not spoken here.
    #[error("{0}")]
    Protocol(String),
}

impl From<std::io::Error> for WireError {
    fn from(error: std::io::Error) -> Self {
        if let Some(issue) = tls::refused_client(&error) {
            return Self::Tls(issue);
        }
        Self::Line(format!("the connection to PostgreSQL broke: {error}"))
    }
}

/// Where to connect, and as whom.
#[derive(Debug, Clone)]
pub(super) struct Address {
    /// Host name or address.
    pub(super) host: String,
    /// TCP port.
    pub(super) port: u16,
    /// User.
    pub(super) user: String,
    /// The user's password; empty for none.
    pub(super) password: String,
    /// Database.
    pub(super) database: String,
    /// How the connection is encrypted.
    pub(super) encryption: Encryption,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// SQL.
    Sql,
    /// SQL and the commands of replication.
    Replication,
}

/// One message of the server, its letter and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    /// The letter.
    pub(super) tag: u8,
    /// What follows the length.
    pub(super) body: Bytes,
}

/// A row of text values.
pub(super) type Row = Vec<Option<Bytes>>;

/// A connection's socket, in the clear or encrypted.
trait Socket: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Socket for T {}

/// A connection.
pub(super) struct Connection {
    socket: Box<dyn Socket>,
    input: BytesMut,
    output: BytesMut,
    /// Answers that were asked for and not read to their end.
    unread: u32,
    /// What the server refused in the answer that is being read.
    refusal: Option<ServerError>,
}

impl Connection {
    /// Connects, proves the password, and waits until the server is ready.
    pub(super) async fn open(address: &Address, purpose: Purpose) -> Result<Self, WireError> {
        let opening = Self::open_in_time(address, purpose);
        match tokio::time::timeout(CONNECT_TIMEOUT, opening).await {
            Ok(result) => result,
            Err(_) => Err(WireError::Line(format!(
                "cannot connect to {}:{}: no answer within {} s",
                address.host,
                address.port,
                CONNECT_TIMEOUT.as_secs()
            ))),
        }
    }

    async fn open_in_time(address: &Address, purpose: Purpose) -> Result<Self, WireError> {
        let mut refused: Option<WireError> = None;
        for encrypted in address.encryption.mode.attempts() {
            let socket = TcpStream::connect((address.host.as_str(), address.port))
                .await
                .map_err(|error| {
                    WireError::Line(format!(
                        "cannot connect to {}:{}: {error}",
                        address.host, address.port
                    ))
                })?;
            socket.set_nodelay(true)?;
            let error = match Self::attempt(address, purpose, socket, *encrypted).await {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            // What the server says of the user says more than that it offers no encryption; of two such answers the
            // one to the encrypted attempt counts.
            refused = match refused {
                Some(WireError::Tls(_)) | None => Some(error),
                Some(before) if !encrypted || matches!(error, WireError::Tls(_)) => Some(before),
                Some(_) => Some(error),
            };
        }
        Err(refused.unwrap_or_else(|| WireError::Line("no connection was tried".to_owned())))
    }

    async fn attempt(
        address: &Address,
        purpose: Purpose,
        socket: TcpStream,
        encrypted: bool,
    ) -> Result<Self, WireError> {
        let mut connection = Self {
            socket: match encrypted {
                true => encrypt(address, socket).await?,
                false => Box::new(socket),
            },
            input: BytesMut::new(),
            output: BytesMut::new(),
            unread: 1,
            refusal: None,
        };
        let mut parameters = vec![
            ("user", address.user.as_str()),
            ("database", address.database.as_str()),
        ];
        parameters.extend_from_slice(SETTINGS);
        if purpose == Purpose::Replication {
            parameters.push(("replication", "database"));
        }
        frontend::startup_message(parameters, &mut connection.output).map_err(|_| {
            WireError::Protocol("a name of user or database has a zero character".to_owned())
        })?;
        connection.flush().await?;
        connection.prove(address).await?;
        connection.finish().await?;
        Ok(connection)
    }

    /// Answers the server's questions for a password until it is content.
    async fn prove(&mut self, address: &Address) -> Result<(), WireError> {
        let mut scram: Option<ScramSha256> = None;
        loop {
            let frame = self.next().await?;
            if frame.tag != b'R' {
                return Err(unexpected(&frame, "while the password was asked for"));
            }
            let mut body = frame.body;
            let kind = body
                .try_get_u32()
                .map_err(|_| short("an authentication request"))?;
            let silent = kind != 0 && kind < 11 && address.password.is_empty();
            if silent {
                return Err(WireError::Server(ServerError {
                    code: "28P01".to_owned(),
                    message: format!(
                        "the server asks for the password of user \"{}\" and none is given",
                        address.user
                    ),
                    ..ServerError::default()
                }));
            }
            match (kind, scram.as_mut()) {
                (0, _) => return Ok(()),
                (3, _) => self.password(address.password.as_bytes()),
                (5, _) => {
                    let salt = <[u8; 4]>::try_from(&body[..])
                        .map_err(|_| short("an authentication request"))?;
                    let hash = md5_hash(address.user.as_bytes(), address.password.as_bytes(), salt);
                    self.password(hash.as_bytes());
                }
                (10, _) => {
                    let offered = body.split(|byte| *byte == 0);
                    if !offered
                        .into_iter()
                        .any(|name| name == SCRAM_SHA_256.as_bytes())
                    {
                        return Err(WireError::Protocol(
                            "the server offers no SCRAM-SHA-256 for the password".to_owned(),
                        ));
                    }
                    let fresh = ScramSha256::new(
                        address.password.as_bytes(),
                        ChannelBinding::unsupported(),
                    );
                    frontend::sasl_initial_response(
                        SCRAM_SHA_256,
                        fresh.message(),
                        &mut self.output,
                    )?;
                    scram = Some(fresh);
                }
                (11, Some(scram)) => {
                    scram.update(&body).map_err(wrong_proof)?;
                    frontend::sasl_response(scram.message(), &mut self.output)?;
                }
                (12, Some(scram)) => scram.finish(&body).map_err(wrong_proof)?,
                _ => {
                    return Err(WireError::Protocol(format!(
                        "the server asks for authentication of kind {kind}; passwords as plain text, MD5 and \
                         SCRAM-SHA-256 are spoken here: change the line of this user in pg_hba.conf"
                    )));
                }
            }
            self.flush().await?;
        }
    }

    fn password(&mut self, password: &[u8]) {
        // A zero within a password cannot be sent; the server refuses what comes of it.
        let end = password.iter().position(|byte| *byte == 0);
        let password = &password[..end.unwrap_or(password.len())];
        self.frame(b'p', |out| {
            out.put_slice(password);
            out.put_u8(0);
        });
    }

    fn frame(&mut self, tag: u8, body: impl FnOnce(&mut BytesMut)) {
        self.output.put_u8(tag);
        let at = self.output.len();
        self.output.put_u32(0);
        body(&mut self.output);
        let length = u32::try_from(self.output.len() - at).unwrap_or(u32::MAX);
        self.output[at..at + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    }

    /// Sends what is to be sent.
    async fn flush(&mut self) -> Result<(), WireError> {
        while !self.output.is_empty() {
            self.socket.write_buf(&mut self.output).await?;
        }
        self.socket.flush().await?;
        Ok(())
    }

    /// The next frame that is already here.
    pub(super) fn buffered(&mut self) -> Result<Option<Frame>, WireError> {
        loop {
            let Some(head) = self.input.get(..5) else {
                return Ok(None);
            };
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            if !(LENGTH_BYTES..=FRAME_BYTES_MAX).contains(&length) {
                return Err(WireError::Protocol(format!(
                    "a frame of {length} bytes: this is not PostgreSQL's protocol"
                )));
            }
            if self.input.len() <= length {
                return Ok(None);
            }
            let mut frame = self.input.split_to(length + 1);
            let tag = frame[0];
            frame.advance(1 + LENGTH_BYTES);
            match tag {
                b'E' => {
                    return Err(error_of(&frame).into());
                }
                // Notices, changed settings, notifications, keys to cancel with: nobody here listens to them.
                b'N' | b'S' | b'A' | b'K' => {}
                _ => {
                    return Ok(Some(Frame {
                        tag,
                        body: frame.freeze(),
                    }));
                }
            }
        }
    }

    /// Waits for more bytes.
    pub(super) async fn fill(&mut self) -> Result<(), WireError> {
        self.input.reserve(READ_BYTES);
        if self.socket.read_buf(&mut self.input).await? == 0 {
            return Err(WireError::Line(
                "the connection to PostgreSQL was closed by the server".to_owned(),
            ));
        }
        Ok(())
    }

    /// The next frame.
    async fn next(&mut self) -> Result<Frame, WireError> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(frame);
            }
            self.fill().await?;
        }
    }

    /// The next frame of an answer, its `Z` included. What the server refused is an error in place of the `Z`, or of
    /// what ended the connection before it came.
    async fn answer(&mut self) -> Result<Frame, WireError> {
        loop {
            match self.next().await {
                Ok(frame) if frame.tag == b'Z' => {
                    self.unread = self.unread.saturating_sub(1);
                    return match self.refusal.take() {
                        Some(refusal) => Err(refusal.into()),
                        None => Ok(frame),
                    };
                }
                Ok(frame) if self.refusal.is_none() => return Ok(frame),
                Ok(_) => {}
                Err(WireError::Server(refusal)) => {
                    let leaves = refusal.ends_the_connection();
                    let first = self.refusal.take().unwrap_or(refusal);
                    if leaves {
                        self.unread = 0;
                        return Err(first.into());
                    }
                    self.refusal = Some(first);
                }
                Err(other) => return Err(self.refusal.take().map_or(other, WireError::Server)),
            }
        }
    }

    /// Reads to the end of every answer that is still to come.
    async fn finish(&mut self) -> Result<(), WireError> {
        let mut failed = None;
        while self.unread > 0 {
            match self.answer().await {
                Ok(_) => {}
                Err(WireError::Server(error)) => failed = failed.or(Some(error)),
                Err(other) => return Err(failed.map_or(other, WireError::Server)),
            }
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Waits until nothing is unread.
    pub(super) async fn ready(&mut self) -> Result<(), WireError> {
        self.flush().await?;
        // What an abandoned query answered, errors too, is nobody's business any more.
        match self.finish().await {
            Ok(()) | Err(WireError::Server(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gets a query on its way, once the connection is [`Connection::ready`]; its rows are read with
    /// [`Connection::row`].
    pub(super) fn enqueue(&mut self, sql: &str) -> Result<(), WireError> {
        frontend::query(sql, &mut self.output)
            .map_err(|_| WireError::Protocol("a query has a zero character".to_owned()))?;
        self.unread += 1;
        Ok(())
    }

    /// The next row of the query that was sent last, or `None` at its end. Dropping the future loses neither a row nor
    /// an error.
    pub(super) async fn row(&mut self) -> Result<Option<Row>, WireError> {
        self.flush().await?;
        loop {
            let frame = self.answer().await?;
            match frame.tag {
                b'D' => return row_of(frame.body).map(Some),
                b'Z' => return Ok(None),
                _ => {}
            }
        }
    }

    /// All rows of a query, or of several in one text.
    pub(super) async fn query(&mut self, sql: &str) -> Result<Vec<Row>, WireError> {
        self.ready().await?;
        self.enqueue(sql)?;
        let mut rows = Vec::new();
        while let Some(row) = self.row().await? {
            rows.push(row);
        }
        Ok(rows)
    }

    /// Starts a stream of the write-ahead log; afterwards there are only frames `d`.
    pub(super) async fn start_copy(&mut self, command: &str) -> Result<(), WireError> {
        self.ready().await?;
        self.enqueue(command)?;
        self.flush().await?;
        loop {
            match self.answer().await?.tag {
                b'W' => return Ok(()),
                b'Z' => {
                    return Err(WireError::Protocol(
                        "the server did not start to stream".to_owned(),
                    ));
                }
                _ => {}
            }
        }
    }

    /// Sends a frame `d`.
    pub(super) async fn copy_data(&mut self, body: &[u8]) -> Result<(), WireError> {
        self.frame(b'd', |out| out.put_slice(body));
        self.flush().await
    }

    /// Takes leave and waits until the server has gone: then it holds nothing any more.
    pub(super) async fn close(mut self) {
        frontend::terminate(&mut self.output);
        if self.flush().await.is_err() {
            return;
        }
        loop {
            self.input.clear();
            match self.socket.read_buf(&mut self.input).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}

/// Asks the server for encryption; where it offers none, an encrypted connection that is only preferred is one in the
/// clear.
async fn encrypt(address: &Address, mut socket: TcpStream) -> Result<Box<dyn Socket>, WireError> {
    let client = address.encryption.client()?;
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    socket.write_all(&request).await?;
    // Not a byte more: what follows is encrypted, or comes from somebody else.
    match (socket.read_u8().await?, address.encryption.mode) {
        (b'S', _) => {}
        (b'N', Mode::Prefer) => return Ok(Box::new(socket)),
        _ => {
            return Err(WireError::Tls(TlsIssue {
                parameter: "sslmode",
                message: format!(
                    "{}:{} offers no encryption: set ssl = on at the server, or sslmode=prefer within a trusted network",
                    address.host, address.port
                ),
            }));
        }
    }
    match client.handshake(&address.host, socket).await {
        Ok(encrypted) => Ok(Box::new(encrypted)),
        Err(error) => Err(match tls::refusal(&error, &address.host) {
            Some(message) => WireError::Tls(TlsIssue {
                parameter: "sslmode",
                message,
            }),
            None => WireError::Line(format!(
                "the handshake with {} broke off: {error}",
                address.host
            )),
        }),
    }
}

fn short(what: &str) -> WireError {
    WireError::Protocol(format!("{what} of the server ends too early"))
}

fn unexpected(frame: &Frame, when: &str) -> WireError {
    WireError::Protocol(format!(
        "the server sent a message {:?} {when}",
        char::from(frame.tag)
    ))
}

fn wrong_proof(error: std::io::Error) -> WireError {
    WireError::Protocol(format!("the server's proof of the password fails: {error}"))
}

/// The fields of an error or a notice.
fn error_of(body: &[u8]) -> ServerError {
    let mut error = ServerError::default();
    for field in body.split(|byte| *byte == 0) {
        let Some((kind, text)) = field.split_first() else {
            break;
        };
        let text = String::from_utf8_lossy(text).into_owned();
        match kind {
            b'C' => error.code = text,
            b'M' => error.message = text,
            b'D' => error.detail = text,
            b'H' => error.hint = text,
            _ => {}
        }
    }
    error
}

fn row_of(mut body: Bytes) -> Result<Row, WireError> {
    let count = body.try_get_i16().map_err(|_| short("a row"))?;
    let mut row = Vec::with_capacity(usize::try_from(count).unwrap_or(0).min(body.len() / 4));
    for _ in 0..count {
        let length = body.try_get_i32().map_err(|_| short("a row"))?;
        row.push(match usize::try_from(length) {
            Err(_) => None,
            Ok(length) if length <= body.len() => Some(body.split_to(length)),
            Ok(_) => return Err(short("a row")),
        });
    }
    Ok(row)
}

/// A text as an SQL literal.
pub(super) fn literal(text: &str) -> String {
    if text.contains('\\') {
        format!(" E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// A name as an SQL identifier.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The text of a column, empty for NULL.
pub(super) fn text(row: &Row, column: usize) -> String {
    row.get(column)
        .and_then(Option::as_ref)
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_hostile_lengths_are_errors() {
        let row = |bytes: &'static [u8]| row_of(Bytes::from_static(bytes));
        assert_eq!(
            row(b"\x00\x02\x00\x00\x00\x01a\xff\xff\xff\xff").unwrap(),
            [Some(Bytes::from_static(b"a")), None]
        );
        for bad in [
            &b""[..],
            b"\x7f\xff",
            b"\x00\x01\x7f\xff\xff\xff",
            b"\x00\x01\x00\x00\x00\x02a",
        ] {
            assert!(row_of(Bytes::from_static(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn errors_read_as_one_sentence() {
        let error = error_of(b"SERROR\0C42501\0Mno right\0Dtable t\0Hask\0\0");
        assert_eq!(
            error.to_string(),
            "no right: table t (ask) [SQLSTATE 42501]"
        );
        assert_eq!(error_of(b"C1\0Mx\0\0").to_string(), "x [SQLSTATE 1]");
        assert_eq!(error_of(b"").code, "");
    }

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), " E'a\\\\''b'");
    }

    #[tokio::test]
    async fn an_error_outlives_a_wait_that_was_given_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut start = [0; 4];
            socket.read_exact(&mut start).await.unwrap();
            let mut rest = vec![0; u32::from_be_bytes(start) as usize - 4];
            socket.read_exact(&mut rest).await.unwrap();
            socket
                .write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I")
                .await
                .unwrap();
            socket
        };
        let address = Address {
            host: "127.0.0.1".to_owned(),
            port,
            user: "u".to_owned(),
            password: String::new(),
            database: "d".to_owned(),
            encryption: Encryption {
                mode: Mode::Disable,
                ..Encryption::default()
            },
        };
        let (connection, mut socket) =
            tokio::join!(Connection::open(&address, Purpose::Sql), server);
        let mut connection = connection.unwrap();
        connection.enqueue("SELECT 1/0").unwrap();
        socket
            .write_all(b"D\0\0\0\x0b\0\x01\0\0\0\x01aE\0\0\0\x0fC22012\0Mx\0\0")
            .await
            .unwrap();
        assert!(connection.row().await.unwrap().is_some());
        // The error is there, its end is not: the wait is given up.
        while connection.refusal.is_none() {
            let waited = tokio::time::timeout(Duration::from_millis(5), connection.row()).await;
            assert!(waited.is_err(), "{waited:?}");
        }
        socket.write_all(b"Z\0\0\0\x05I").await.unwrap();
        let error = connection.row().await.unwrap_err().to_string();
        assert!(error.contains("22012"), "{error}");
        assert_eq!(connection.unread, 0);
    }

    /// What becomes of a connection to a server that answers so to the request for encryption, and knows no user.
    async fn opened_at(answer: u8, mode: Mode) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = async {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                while let Ok(length) = socket.read_u32().await {
                    let mut body = vec![0; length as usize - 4];
                    socket.read_exact(&mut body).await.unwrap();
                    if length == 8 {
                        socket.write_all(&[answer]).await.unwrap();
                    } else {
                        let unknown = b"E\0\0\0\x1aC28000\0Munknown user\0\0";
                        socket.write_all(unknown).await.unwrap();
                        break;
                    }
                }
            }
        };
        let address = Address {
            host: "127.0.0.1".to_owned(),
            port,
            user: "u".to_owned(),
            password: String::new(),
            database: "d".to_owned(),
            encryption: Encryption {
                mode,
                ..Encryption::default()
            },
        };
        tokio::select! {
            opened = Connection::open(&address, Purpose::Sql) => {
                opened.map(drop).unwrap_err().to_string()
            }
            () = server => unreachable!("the server has no end"),
        }
    }

    #[tokio::test]
    async fn a_server_without_encryption() {
        for mode in [Mode::Disable, Mode::Allow, Mode::Prefer] {
            let error = opened_at(b'N', mode).await;
            assert!(error.contains("unknown user"), "{mode:?}: {error}");
        }
        let error = opened_at(b'N', Mode::Require).await;
        assert!(error.contains("offers no encryption"), "{error}");
    }
}
