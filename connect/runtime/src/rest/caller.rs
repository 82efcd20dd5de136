//! Who may call: programs, not pages of other sites that a browser of this machine shows.
//!
//! A connector reads and writes files and databases with the server's rights, so a page must not be able to make one.
//!
//! | header | taken |
//! |---|---|
//! | `Host` | an IP address, `localhost`, `*.localhost`, the name that the worker shows itself under |
//! | `Origin` | none, or `http://` and what `Host` says |
//! | `Content-Type` of a body | `application/json`, which no page sends elsewhere without asking (see `body.rs`) |

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::ApiError;
use crate::worker::Inner;

/// Lets a request through, or answers 403.
pub(super) async fn check(
    State(inner): State<Arc<Inner>>,
    request: Request,
    next: Next,
) -> Response {
    match issue(request.headers(), &inner.config.worker_id) {
        None => next.run(request).await,
        Some(issue) => ApiError::new(403, format!("HTTP 403 Forbidden. {issue}")).into_response(),
    }
}

fn issue(headers: &HeaderMap, worker_id: &str) -> Option<String> {
    // A value that is no text fits nothing.
    let text = |name: HeaderName| {
        let value = headers.get(name)?;
        Some(value.to_str().unwrap_or_default())
    };
    let host = text(header::HOST);
    if let Some(host) = host
        && !is_ours(name_of(host), name_of(worker_id))
    {
        return Some(format!(
            "This worker is not {host}: call it by its address, or as localhost"
        ));
    }
    let origin = text(header::ORIGIN)?;
    let site = origin.strip_prefix("http://");
    let same = site.is_some_and(|site| host.is_some_and(|host| site.eq_ignore_ascii_case(host)));
    (!same).then(|| {
        format!("Pages of {origin} may not call this worker: send the request from a program")
    })
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    let name = match host.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.strip_suffix('.').unwrap_or(name)
}

fn is_ours(name: &str, worker: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let local = name == "localhost" || name.ends_with(".localhost");
    let known = !name.is_empty() && name.eq_ignore_ascii_case(worker);
    local || known || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_other_sites_are_refused() {
        for (host, origin, taken) in [
            ("127.0.0.1:8083", None, true),
            ("[::1]:8083", None, true),
            ("LOCALHOST.:8083", None, true),
            ("connect.localhost", None, true),
            ("worker-1:8083", None, true),
            ("evil.example", None, false),
            ("localhost.evil.example:8083", None, false),
            ("", None, false),
            ("localhost:8083", Some("http://localhost:8083"), true),
            ("localhost:8083", Some("http://localhost:3000"), false),
            ("127.0.0.1:8083", Some("https://evil.example"), false),
            ("127.0.0.1:8083", Some("null"), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            let issue = issue(&headers, "worker-1:8083");
            assert_eq!(issue.is_none(), taken, "{host} {origin:?} {issue:?}");
        }
    }
}
