//! Which server holds a data folder: a note in the folder, and what the server says of itself.
//!
//! ```text
//! DATA/server.json     {"version","pid","data","kafka","connect","http"}   written once everything serves, gone after a stop
//! GET /v1/server       the same; with ?data=DIR to somebody nameless: {"data"} if it is this folder
//! ```
//!
//! Invariants:
//! 1. The note is a hint, because it survives kill -9. Whoever reads it asks at the address in it, and believes only a server that names
//!    the same folder.
//! 2. Who does not say who they are where a listener asks it learns nothing but whether a folder that they know is this server's.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Json;
use axum::extract::{Query, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use reqwest::Url;
use serde::de::DeserializeOwned;
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

/// Marks a request of somebody who did not say who they are, at a listener that asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nameless;

/// The folder that a caller means, or that a server has.
#[derive(Debug, Deserialize, Serialize)]
struct Folder {
    data: String,
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

    /// What the server says of itself to whoever sent `request`.
    pub(crate) fn page(&self, request: &Request) -> Response {
        if request.extensions().get::<Nameless>().is_none() {
            return Json(self).into_response();
        }
        match Query::<Folder>::try_from_uri(request.uri()) {
            Ok(Query(folder)) if folder.data == self.data => Json(folder).into_response(),
            _ => StatusCode::NOT_FOUND.into_response(),
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
    let folder = absolute(data).to_string_lossy().into_owned();
    let of_folder = [("data", &folder)];
    let served: Folder = ask(&note.http.to_string(), &of_folder).await?;
    (served.data == folder).then_some(note)
}

/// The data folder of who serves at an http address; `None` if nobody does, or no Thalweg that tells.
pub(crate) async fn folder_at(address: &str) -> Option<String> {
    let folder: Folder = ask(address, &[]).await?;
    Some(folder.data)
}

/// Who serves SQL at an address, if a server says it.
pub(crate) async fn server_at(address: &str) -> Option<Presence> {
    ask(address, &[]).await
}

async fn ask<T: DeserializeOwned>(address: &str, query: &[(&str, &String)]) -> Option<T> {
    let client = reqwest::Client::builder().timeout(ASK_WAIT).build().ok()?;
    let url = Url::parse_with_params(&format!("http://{address}/v1/server"), query).ok()?;
    client.get(url).send().await.ok()?.json().await.ok()
}

fn absolute(folder: &Path) -> PathBuf {
    let resolved = folder.canonicalize();
    resolved.unwrap_or_else(|_| std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()))
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use axum::{Extension, Router};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that says it holds `data`, to the nameless if it asks who calls.
    async fn server(data: &Path, asks: bool) -> Presence {
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
        let route = get(move |request: Request| async move { answer.page(&request) });
        let mut routes = Router::new().route("/v1/server", route);
        if asks {
            routes = routes.layer(Extension(Nameless));
        }
        tokio::spawn(async move { axum::serve(listener, routes).await });
        presence
    }

    #[tokio::test]
    async fn only_a_server_that_names_the_folder_holds_it() {
        for asks in [false, true] {
            is_found(asks).await;
        }
    }

    async fn is_found(asks: bool) {
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let [mine, other] = folders.each_ref().map(tempfile::TempDir::path);
        assert_eq!(holder(mine).await, None);
        let presence = server(mine, asks).await;
        presence.leave_note(mine);
        assert_eq!(holder(mine).await, Some(presence.clone()));
        // A note that was copied, or left behind by a server whose port another one has now.
        presence.leave_note(other);
        assert_eq!(holder(other).await, None);
        remove_note(mine);
        assert_eq!(holder(mine).await, None);
        let told = folder_at(&presence.http.to_string()).await;
        assert_eq!(told, (!asks).then_some(presence.data));
    }
}
