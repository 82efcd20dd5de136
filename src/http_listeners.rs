//! Where SQL and Connect are served: `http.listeners` and `connect.listeners`, in the words of Kafka's `listeners`.
//!
//! | protocol | who calls | where it may listen |
//! |---|---|---|
//! | `PLAINTEXT` | nobody is asked, everything may be done | on this machine, elsewhere with `--insecure-bind` |
//! | `SASL_PLAINTEXT` | users of the log (`http_access.rs`) | the same: passwords can be read on the way |
//! | `SASL_SSL` | the same, encrypted with the log's certificates | anywhere |

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Result, anyhow, bail};
use axum::serve::Listener;
use log_broker::{SecurityProtocol, TlsConnection, TlsSocket, parse_listeners};
use tokio::net::TcpListener;

/// One place to connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HttpListener {
    /// What it asks.
    pub protocol: SecurityProtocol,
    /// Where.
    pub address: SocketAddr,
}

/// What `listeners` says; where it is empty, `listen` is the only one, and asks nobody.
///
/// # Errors
/// The first that cannot be, by its key: `section` is `http` or `connect`.
pub(crate) fn parse(
    section: &str,
    listeners: &str,
    listen: SocketAddr,
    insecure_bind: bool,
) -> Result<Vec<HttpListener>> {
    let plain = HttpListener {
        protocol: SecurityProtocol::Plaintext,
        address: listen,
    };
    let named = parse_listeners(listeners, "").map_err(|error| anyhow!("{section}.{error}"))?;
    let mut found = Vec::with_capacity(named.len().max(1));
    for listener in named {
        let ip = match listener.host.as_str() {
            "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            host => host.parse().ok(),
        };
        let Some(ip) = ip else {
            bail!("{section}.listeners = {listener}: its host must be an address");
        };
        if listener.protocol == SecurityProtocol::Ssl {
            bail!(
                "{section}.listeners = {listener}: over HTTP who calls is asked for user and password, or a token: SASL_SSL"
            );
        }
        found.push(HttpListener {
            protocol: listener.protocol,
            address: SocketAddr::new(ip, listener.port),
        });
    }
    if found.is_empty() {
        found.push(plain);
    }
    for listener in &found {
        let key = match listeners.is_empty() {
            true => format!("{section}.listen = {}", listener.address),
            false => format!("{section}.listeners = {listener}"),
        };
        if listener.protocol.has_tls() || listener.address.ip().is_loopback() || insecure_bind {
            continue;
        }
        match listener.protocol {
            SecurityProtocol::Plaintext => bail!(
                "{key}: other machines could connect without saying who they are; name a listener in {section}.listeners that asks \
                 them, for example SASL_SSL://0.0.0.0:{}, or say --insecure-bind",
                listener.address.port()
            ),
            _ => bail!(
                "{key}: passwords could be read on the way; use SASL_SSL, or say --insecure-bind"
            ),
        }
    }
    Ok(found)
}

impl std::fmt::Display for HttpListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.protocol.name(), self.address)
    }
}

/// The one that programs of this machine speak to without more ado: the first that is not encrypted, else the first.
pub(crate) fn nearest(listeners: &[HttpListener]) -> Option<HttpListener> {
    let mut clear = listeners.iter().filter(|one| !one.protocol.has_tls());
    clear.next().or(listeners.first()).copied()
}

/// The addresses as bound, by protocol.
pub(crate) fn addresses(
    sockets: &[(HttpListener, TcpListener)],
) -> io::Result<BTreeMap<String, SocketAddr>> {
    let bound = sockets
        .iter()
        .map(|(listener, socket)| Ok((listener.protocol.name().to_owned(), socket.local_addr()?)));
    bound.collect()
}

/// Connections over TLS, as they are served.
pub(crate) struct Tls(pub(crate) TlsSocket);

impl Listener for Tls {
    type Io = TlsConnection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        self.0.accept().await
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.0.local_addr())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(listeners: &str, listen: &str, insecure: bool) -> Result<Vec<String>> {
        let listen = listen.parse().expect("an address");
        let found = parse("http", listeners, listen, insecure)?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn listeners_take_the_place_of_the_one_that_asks_nobody() {
        let both = "PLAINTEXT://localhost:9644, SASL_SSL://:9645";
        let found = parsed(both, "127.0.0.1:1", false).expect("sound");
        assert_eq!(
            found,
            ["PLAINTEXT://127.0.0.1:9644", "SASL_SSL://0.0.0.0:9645"]
        );
        let found = parsed("", "127.0.0.1:9644", false).expect("sound");
        assert_eq!(found, ["PLAINTEXT://127.0.0.1:9644"]);
        let found = parse("http", both, "127.0.0.1:1".parse().expect("one"), false);
        let nearest = nearest(&found.expect("sound")).expect("there is one");
        assert_eq!(nearest.address.port(), 9644);
    }

    #[test]
    fn other_machines_say_who_they_are_where_nobody_can_read_it() {
        let refused = |listeners: &str, listen: &str| {
            let error = parsed(listeners, listen, false).expect_err("refused");
            error.to_string()
        };
        let open = refused("", "0.0.0.0:9644");
        assert!(
            open.starts_with("http.listen = 0.0.0.0:9644: other machines"),
            "{open}"
        );
        let open = refused("PLAINTEXT://0.0.0.0:9644", "127.0.0.1:1");
        assert!(open.starts_with("http.listeners = PLAINTEXT://"), "{open}");
        let read = refused("SASL_PLAINTEXT://0.0.0.0:9644", "127.0.0.1:1");
        assert!(read.contains("read on the way"), "{read}");
        assert!(refused("SSL://0.0.0.0:9644", "127.0.0.1:1").contains("SASL_SSL"));
        assert!(refused("SASL_SSL://db.example:1", "127.0.0.1:1").contains("an address"));
        assert!(refused("nonsense", "127.0.0.1:1").starts_with("http.listeners"));
        assert!(parsed("", "0.0.0.0:9644", true).is_ok());
        assert!(parsed("SASL_PLAINTEXT://0.0.0.0:1", "127.0.0.1:1", true).is_ok());
    }
}
