//! What is at an address where a command got no answer that it understands: nobody, another interface of a server, or
//! somebody else. The command says so instead of "nothing answers".

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::exit::Failure;
use crate::presence::{self, Presence};

/// How long a look may take.
const LOOK_WAIT: Duration = Duration::from_secs(2);

/// What a command looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The Kafka protocol.
    Kafka,
    /// Connect's REST interface.
    Connect,
    /// SQL over HTTP.
    Sql,
}

impl Wanted {
    /// What it is called, the key of its address, its usual port, the option that names it.
    fn names(self) -> (&'static str, &'static str, u16, &'static str) {
        match self {
            Self::Kafka => (
                "the Kafka protocol",
                "kafka.listen",
                9092,
                "--bootstrap-servers",
            ),
            Self::Connect => (
                "Connect's REST interface",
                "connect.listen",
                8083,
                "--server",
            ),
            Self::Sql => ("SQL", "http.listen", 9644, "--server"),
        }
    }
}

/// What is there.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    NoAddress,
    NoHost,
    Nothing,
    /// The SQL port of a server.
    Server(Box<Presence>),
    Http,
    Other,
}

/// Why `wanted` does not answer at `address`: `HOST:PORT`, with or without a scheme and a path.
pub(crate) async fn explain(address: &str, wanted: Wanted) -> Failure {
    let bare = address.split_once("://").map_or(address, |(_, rest)| rest);
    let bare = bare.split('/').next().unwrap_or(bare);
    Failure::Server(text(bare, wanted, &look(bare).await))
}

fn text(address: &str, wanted: Wanted, found: &Found) -> String {
    let (what, key, port, option) = wanted.names();
    let usual = format!("that is at {key}, port {port} if nothing else is said");
    match found {
        Found::NoAddress => {
            format!("{option} {address}: expected HOST:PORT, for example 127.0.0.1:{port}")
        }
        Found::NoHost => format!("{option} {address}: no such host is known here"),
        Found::Nothing => format!(
            "nothing answers at {address}; start it with `thalweg server`, or name another with {option}"
        ),
        Found::Server(server) => {
            let there = match wanted {
                Wanted::Kafka => server.kafka,
                Wanted::Connect => server.connect,
                Wanted::Sql => {
                    return format!(
                        "the server at {address} does not serve yet; http://{address}/readyz says what it waits for"
                    );
                }
            };
            format!("{address} is where a server has SQL; {what} is at {there}")
        }
        Found::Http => format!("{address} speaks HTTP, but has not {what}; {usual}"),
        Found::Other => format!("what is at {address} does not speak as {what} does; {usual}"),
    }
}

async fn look(address: &str) -> Found {
    let Some((host, port)) = address.rsplit_once(':') else {
        return Found::NoAddress;
    };
    if host.is_empty() || host.contains(char::is_whitespace) || port.parse::<u16>().is_err() {
        return Found::NoAddress;
    }
    let found = timeout(LOOK_WAIT, lookup_host(address)).await;
    let is_known = found.is_ok_and(|found| found.is_ok_and(|addresses| addresses.count() > 0));
    if !is_known {
        return Found::NoHost;
    }
    let Ok(Ok(mut stream)) = timeout(LOOK_WAIT, TcpStream::connect(address)).await else {
        return Found::Nothing;
    };
    let mut begin = [0_u8; 5];
    let ask = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let spoken = async {
        stream.write_all(ask.as_bytes()).await?;
        stream.read_exact(&mut begin).await
    };
    let spoken = timeout(LOOK_WAIT, spoken).await;
    if !matches!(spoken, Ok(Ok(_))) || &begin != b"HTTP/" {
        return Found::Other;
    }
    match presence::server_at(address).await {
        Some(server) => Found::Server(Box::new(server)),
        None => Found::Http,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Somebody who answers every connection with these bytes.
    async fn somebody(says: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = [0_u8; 1024];
                let _ = stream.read(&mut asked).await;
                let _ = stream.write_all(says).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn what_is_there_is_told() {
        for (address, found) in [
            ("bad address", Found::NoAddress),
            ("127.0.0.1", Found::NoAddress),
            ("127.0.0.1:port", Found::NoAddress),
            ("127.0.0.1:1", Found::Nothing),
            (
                &somebody(b"HTTP/1.1 404 Not Found\r\n\r\n").await,
                Found::Http,
            ),
            (&somebody(b"\0\0\0\x10 what").await, Found::Other),
        ] {
            assert_eq!(look(address).await, found, "{address}");
        }
        let http = somebody(b"HTTP/1.1 404 Not Found\r\n\r\n").await;
        let told = explain(&format!("http://{http}/"), Wanted::Kafka).await;
        assert_eq!(
            told.to_string(),
            format!(
                "{http} speaks HTTP, but has not the Kafka protocol; that is at kafka.listen, port 9092 if nothing else is said"
            )
        );
    }

    #[test]
    fn a_server_says_where_the_other_interface_is() {
        let server = Presence {
            version: "0.1.0".to_owned(),
            pid: 1,
            data: "/d".to_owned(),
            kafka: "127.0.0.1:1".parse().expect("an address"),
            connect: "127.0.0.1:2".parse().expect("an address"),
            http: "127.0.0.1:3".parse().expect("an address"),
        };
        let found = Found::Server(Box::new(server));
        let told = |wanted| text("127.0.0.1:3", wanted, &found);
        assert!(told(Wanted::Kafka).ends_with("the Kafka protocol is at 127.0.0.1:1"));
        assert!(told(Wanted::Connect).ends_with("Connect's REST interface is at 127.0.0.1:2"));
        assert!(told(Wanted::Sql).contains("does not serve yet"));
    }
}
