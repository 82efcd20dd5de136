//! A connection to PostgreSQL, ordinary or for replication: startup, passwords, simple queries, frames.
//!
//! Every value comes as text, printed under the same settings on every connection ([`SETTINGS`]), so that a row reads
//! the same whether a query or the write-ahead log brought it.
//!
//! Invariants:
//! 1. Every future may be dropped: what was read stays in the buffer, what is to be sent stays in the other. A query
//!    whose answer was not read to its end is read to its end before the next one.
//! 2. Memory grows with the bytes that came, never with a length that was announced.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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
    /// What came is not PostgreSQL's protocol, or a part of it that is not spoken here.
    #[error("{0}")]
    Protocol(String),
}

impl From<std::io::Error> for WireError {
    fn from(error: std::io::Error) -> Self {
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

/// A connection.
pub(super) struct Connection {
    socket: TcpStream,
    input: BytesMut,
    output: BytesMut,
    /// Answers that were asked for and not read to their end.
    unread: u32,
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
        let socket = TcpStream::connect((address.host.as_str(), address.port))
            .await
            .map_err(|error| {
                WireError::Line(format!(
                    "cannot connect to {}:{}: {error}",
                    address.host, address.port
                ))
            })?;
        socket.set_nodelay(true)?;
        let mut connection = Self {
            socket,
            input: BytesMut::new(),
            output: BytesMut::new(),
            unread: 1,
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

    /// Reads to the end of every answer that is still to come.
    async fn finish(&mut self) -> Result<(), WireError> {
        let mut failed = None;
        while self.unread > 0 {
            match self.next().await {
                Ok(frame) if frame.tag == b'Z' => self.unread -= 1,
                Ok(_) => {}
                Err(WireError::Server(error)) => {
                    // The server leaves after a fatal one; otherwise it says that it is ready again.
                    let fatal = error.code.starts_with("28") || error.code.starts_with("57P");
                    failed = failed.or(Some(error));
                    if fatal {
                        break;
                    }
                }
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

    /// The next row of the query that was sent last, or `None` at its end.
    pub(super) async fn row(&mut self) -> Result<Option<Row>, WireError> {
        self.flush().await?;
        loop {
            match self.next().await {
                Ok(frame) if frame.tag == b'D' => return row_of(frame.body).map(Some),
                Ok(frame) if frame.tag == b'Z' => {
                    self.unread = self.unread.saturating_sub(1);
                    return Ok(None);
                }
                Ok(_) => {}
                Err(WireError::Server(error)) => {
                    // Its ReadyForQuery follows, unless the connection ends.
                    let _ = self.finish().await;
                    return Err(error.into());
                }
                Err(other) => return Err(other),
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
            match self.next().await {
                Ok(frame) if frame.tag == b'W' => return Ok(()),
                Ok(frame) if frame.tag == b'Z' => {
                    return Err(WireError::Protocol(
                        "the server did not start to stream".to_owned(),
                    ));
                }
                Ok(_) => {}
                Err(WireError::Server(error)) => {
                    let _ = self.finish().await;
                    return Err(error.into());
                }
                Err(other) => return Err(other),
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
}
