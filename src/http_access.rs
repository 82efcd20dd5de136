//! Who calls over HTTP: listeners that ask take a request only from somebody whom the log knows, and hand on who that is.
//!
//! ```text
//! Authorization ── 401, and how one may say it
//!      ▼
//!    caller ──┬── SQL         asks for each statement what it needs (sql::Caller)
//!             ├── Connect     GET: DESCRIBE, all else: ALTER, on the cluster
//!             └── the rest    DESCRIBE on the cluster
//! ```
//! `/healthz`, `/health` and whether `/readyz` is ready are everybody's to know; whether a folder is this server's (`/v1/server?data=DIR`),
//! of whoever is on this machine.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::serve::IncomingStream;
use axum::{Json, Router};
use log_broker::{Action, Caller, Guard, Object};
use serde_json::{Value, json};
use sql::{Diagnostic, Guarded, Right};
use tokio::net::TcpListener;

use crate::http_listeners::Tls;
use crate::presence::Nameless;

/// Whose pages are guarded: errors are told as they are told there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surface {
    /// SQL, health, metrics.
    Sql,
    /// Connect's REST.
    Connect,
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(SocketAddr);

impl Connected<IncomingStream<'_, TcpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl Connected<IncomingStream<'_, Tls>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Tls>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// A listener that asks.
#[derive(Clone)]
struct Gate {
    guard: Guard,
    surface: Surface,
}

/// The same pages for those alone whom the log knows. They are to be served with [`Peer`] as what is known of a connection.
pub(crate) fn asked(pages: Router, guard: Guard, surface: Surface) -> Router {
    let gate = Gate { guard, surface };
    pages.layer(middleware::from_fn_with_state(gate, check))
}

async fn check(
    State(gate): State<Gate>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    let authorization = request.headers_mut().remove(header::AUTHORIZATION);
    // A browser sends what it was once told along with any page's request.
    if request.headers().contains_key(header::ORIGIN) {
        let words = "pages may not call this server: send the request from a program";
        return gate.refuse(StatusCode::FORBIDDEN, words);
    }
    // Whoever has said who it is may call the server by any name.
    let this_machine = HeaderValue::from_static("localhost");
    request.headers_mut().insert(header::HOST, this_machine);
    let is_near = peer.ip().to_canonical().is_loopback();
    match (path.as_str(), &authorization) {
        ("/healthz" | "/health", _) => return next.run(request).await,
        ("/v1/server", None) if is_near && gate.surface == Surface::Sql => {
            request.extensions_mut().insert(Nameless);
            return next.run(request).await;
        }
        ("/readyz", None) => return without_reasons(next.run(request).await),
        _ => {}
    }
    let host = peer.ip().to_canonical().to_string();
    let known = gate.caller(authorization.as_ref(), &host).await;
    if path == "/readyz" {
        let describes = |caller: &Caller| gate.guard.may(caller, Action::Describe, Object::Cluster);
        let is_told = known.as_ref().is_ok_and(describes);
        let page = next.run(request).await;
        return if is_told { page } else { without_reasons(page) };
    }
    let caller = match known {
        Ok(caller) => caller,
        Err(words) => return gate.refuse(StatusCode::UNAUTHORIZED, &words),
    };
    let is_sql = gate.surface == Surface::Sql
        && matches!(path.as_str(), "/v1/query" | "/v1/catalog" | "/v1/filling");
    if is_sql {
        let guard = gate.guard;
        let caller: Arc<dyn sql::Caller> = Arc::new(Known { guard, caller });
        request.extensions_mut().insert(caller);
        return next.run(request).await;
    }
    let looks =
        gate.surface == Surface::Sql || matches!(*request.method(), Method::GET | Method::HEAD);
    let (action, word) = match looks {
        true => (Action::Describe, "DESCRIBE"),
        false => (Action::Alter, "ALTER"),
    };
    if !gate.guard.may(&caller, action, Object::Cluster) {
        let words = format!("{caller} lacks the right {word} on the cluster");
        return gate.refuse(StatusCode::FORBIDDEN, &words);
    }
    next.run(request).await
}

/// Whether the server is ready; what is not, is not everybody's to know.
fn without_reasons(page: Response) -> Response {
    match page.status() {
        StatusCode::OK => page,
        status => (
            status,
            "not ready\nwho may DESCRIBE the cluster is told why\n",
        )
            .into_response(),
    }
}

impl Gate {
    async fn caller(
        &self,
        authorization: Option<&HeaderValue>,
        host: &str,
    ) -> Result<Caller, String> {
        let Some(authorization) = authorization else {
            return Err("this listener asks who calls: send user and password, or a token".into());
        };
        let text = authorization.to_str().unwrap_or_default();
        let known = self.guard.caller(text, host).await;
        known.map_err(|error| error.to_string())
    }

    fn refuse(&self, status: StatusCode, words: &str) -> Response {
        let body: Value = match self.surface {
            Surface::Sql => {
                let is_known = status != StatusCode::UNAUTHORIZED;
                json!({ "error": Diagnostic::refusal(words, is_known) })
            }
            Surface::Connect => json!({ "error_code": status.as_u16(), "message": words }),
        };
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let ways = [
                (
                    self.guard.takes_passwords(),
                    r#"Basic realm="thalweg", charset="UTF-8""#,
                ),
                (self.guard.takes_tokens(), r#"Bearer realm="thalweg""#),
            ];
            for (_, way) in ways.into_iter().filter(|(is_taken, _)| *is_taken) {
                let way = HeaderValue::from_static(way);
                response.headers_mut().append(header::WWW_AUTHENTICATE, way);
            }
        }
        response
    }
}

/// Somebody whom the log knows, as SQL asks it.
struct Known {
    guard: Guard,
    caller: Caller,
}

impl sql::Caller for Known {
    fn name(&self) -> String {
        self.caller.to_string()
    }

    fn may(&self, right: Right, with: Guarded<'_>) -> bool {
        let action = match right {
            Right::Read => Action::Read,
            Right::Write => Action::Write,
            Right::Create => Action::Create,
            Right::Delete => Action::Delete,
            Right::Alter => Action::Alter,
            Right::Describe => Action::Describe,
        };
        let object = match with {
            Guarded::Topic(name) => Object::Topic(name),
            Guarded::Cluster => Object::Cluster,
        };
        self.guard.may(&self.caller, action, object)
    }
}
