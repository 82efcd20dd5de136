//! Who may send a statement: programs of this machine, not web pages of strangers that its browser shows.
//!
//! | header | taken | why |
//! |---|---|---|
//! | `Content-Type` | `application/json` | what a page may send elsewhere without asking has another type |
//! | `Host` | an IP address, `localhost`, `*.localhost` | a stranger's name that points here is still a stranger's |
//! | `Origin` | none, or the same host and port as `Host` | browsers say whose page sends |

use std::net::IpAddr;

use axum::http::{HeaderMap, StatusCode, header};

use crate::diagnostic::{Code, Diagnostic};

/// Refuses what a page of another site could have sent.
pub(super) fn check_statement(headers: &HeaderMap) -> Result<(), (StatusCode, Diagnostic)> {
    check_site(headers)?;
    let content_type = text(headers, &header::CONTENT_TYPE).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let message = match content_type {
        "" => "the request has no content type".to_owned(),
        other => format!("statements do not come as {other}"),
    };
    let refused = Diagnostic::new(Code::Caller, message)
        .help("send the header Content-Type: application/json");
    Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, refused))
}

/// Refuses requests by the name or for the page of another site.
pub(super) fn check_site(headers: &HeaderMap) -> Result<(), (StatusCode, Diagnostic)> {
    let refused = |message: String, help: &str| {
        let refused = Diagnostic::new(Code::Caller, message).help(help);
        Err((StatusCode::FORBIDDEN, refused))
    };
    let host = text(headers, &header::HOST);
    if let Some(host) = host.filter(|host| !is_ours(host)) {
        return refused(
            format!("this server is not {host}"),
            "call it by its address or as localhost",
        );
    }
    let Some(origin) = text(headers, &header::ORIGIN) else {
        return Ok(());
    };
    let site = origin.strip_prefix("http://");
    let same = site
        .zip(host)
        .is_some_and(|(site, host)| site.eq_ignore_ascii_case(host));
    if !same {
        return refused(
            format!("pages of {origin} may not call this server"),
            "send the statement from a program, not from a page",
        );
    }
    Ok(())
}

/// The value of a header; one that is no text is empty, so that it fits nothing.
fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers
        .get(name)
        .map(|value| value.to_str().unwrap_or_default())
}

/// Whether `host`, which may end with a port, can only mean this machine or an address.
fn is_ours(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(headers: &[(header::HeaderName, &str)]) -> u16 {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().expect("a header")))
            .collect();
        check_statement(&headers).map_or_else(|(status, _)| status.as_u16(), |()| 200)
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let json = (header::CONTENT_TYPE, "application/json; charset=utf-8");
        for (host, origin, expected) in [
            ("127.0.0.1:9644", None, 200),
            ("localhost:9644", None, 200),
            ("LOCALHOST.:9644", None, 200),
            ("[::1]:9644", None, 200),
            ("db.localhost", None, 200),
            ("evil.example:9644", None, 403),
            ("localhost.evil.example", None, 403),
            ("127.0.0.1.evil.example", None, 403),
            ("", None, 403),
            ("localhost:9644", Some("http://localhost:9644"), 200),
            ("localhost:9644", Some("http://localhost:3000"), 403),
            ("127.0.0.1:9644", Some("https://evil.example"), 403),
            ("127.0.0.1:9644", Some("null"), 403),
            ("evil.example", Some("http://evil.example"), 403),
        ] {
            let mut headers = vec![json.clone(), (header::HOST, host)];
            headers.extend(origin.map(|origin| (header::ORIGIN, origin)));
            assert_eq!(status(&headers), expected, "{host:?} {origin:?}");
        }
    }

    #[test]
    fn only_json_is_a_statement() {
        let host = (header::HOST, "127.0.0.1:9644");
        assert_eq!(status(std::slice::from_ref(&host)), 415);
        for form in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "application/jsonp",
        ] {
            let sent = [host.clone(), (header::CONTENT_TYPE, form)];
            assert_eq!(status(&sent), 415, "{form}");
        }
    }
}
