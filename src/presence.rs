//! Which server holds a data folder: a note in the folder, and what the server says of itself.
//!
//! ```text
//! DATA/server.json     {"version","pid","data","kafka","connect","http"}   written once everything serves, gone after a stop
//! GET /v1/server       the same
//! ```
//!
//! Invariant: the note is a hint, because it survives kill -9. Whoever reads it asks at the address in it, and believes
//! only a server that names the same folder.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::start::Addresses;

const NOTE: &str = "server.json";

/// How long a server may take to say who it is: it is on this machine.
const ASK_WAIT: Duration = Duration::from_secs(2);

/// A running server, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Presence {
    /// The program's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Its data folder, absolute.
    pub data: String,
    /// The Kafka protocol.
    pub kafka: SocketAddr,
    /// Connect's REST interface.
    pub connect: SocketAddr,
    /// SQL, health, metrics.
    pub http: SocketAddr,
}

impl Presence {
    /// This process, serving `data` at these addresses.
    pub(crate) fn new(data: &Path, addresses: &Addresses) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            data: absolute(data).to_string_lossy().into_owned(),
            kafka: addresses.kafka,
            connect: addresses.connect,
            http: addresses.http,
        }
    }

    /// Leaves the note. Without it the server serves all the same, so a failure is only told.
    pub(crate) fn leave_note(&self, data: &Path) {
        if let Err(error) = self.write(data) {
            let folder = data.display();
            warn!(%folder, "cannot note the server's addresses: {error:#}");
        }
    }

    /// Whoever reads must never see half of it: written beside and renamed.
    fn write(&self, data: &Path) -> Result<()> {
        let beside = data.join(format!("{NOTE}.tmp"));
        std::fs::write(&beside, serde_json::to_vec(self)?).context("write")?;
        std::fs::rename(&beside, data.join(NOTE)).context("rename")
    }
}

/// Takes the note away.
pub(crate) fn remove_note(data: &Path) {
    // Whoever finds it asks before believing it.
    let _ = std::fs::remove_file(data.join(NOTE));
}

/// The server that holds this folder; `None` where none does.
pub(crate) async fn holder(data: &Path) -> Option<Presence> {
    let note = std::fs::read(data.join(NOTE)).ok()?;
    let note: Presence = serde_json::from_slice(&note).ok()?;
    let answer = ask(&note.http.to_string()).await?;
    (answer.data == absolute(data).to_string_lossy()).then_some(answer)
}

/// Who serves at an http address; `None` if nobody, or no Thalweg that tells.
pub(crate) async fn ask(address: &str) -> Option<Presence> {
    let client = reqwest::Client::builder().timeout(ASK_WAIT).build().ok()?;
    let answer = client.get(format!("http://{address}/v1/server")).send();
    answer.await.ok()?.json().await.ok()
}

fn absolute(folder: &Path) -> PathBuf {
    let resolved = folder.canonicalize();
    resolved.unwrap_or_else(|_| std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()))
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use axum::{Json, Router};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that says it holds `data`.
    async fn server(data: &Path) -> Presence {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let http = listener.local_addr().expect("bound");
        let addresses = Addresses {
            kafka: http,
            listeners: std::collections::BTreeMap::new(),
            connect: http,
            connect_listeners: std::collections::BTreeMap::new(),
            http,
            http_listeners: std::collections::BTreeMap::new(),
        };
        let presence = Presence::new(data, &addresses);
        let answer = presence.clone();
        let route = get(move || async move { Json(answer) });
        let routes = Router::new().route("/v1/server", route);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        presence
    }

    #[tokio::test]
    async fn only_a_server_that_names_the_folder_holds_it() {
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let [mine, other] = folders.each_ref().map(tempfile::TempDir::path);
        assert_eq!(holder(mine).await, None);
        let presence = server(mine).await;
        presence.leave_note(mine);
        assert_eq!(holder(mine).await, Some(presence.clone()));
        // A note that was copied, or left behind by a server whose port another one has now.
        presence.leave_note(other);
        assert_eq!(holder(other).await, None);
        remove_note(mine);
        assert_eq!(holder(mine).await, None);
    }
}
