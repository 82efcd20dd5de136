//! `/admin/loggers`: levels of the program's own log (KIP-495, KIP-976).

use std::collections::BTreeMap;

use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use bytes::Bytes;
use serde_json::{Value as Json, json};

use super::{Answer, ApiError, Shared, body};
use crate::loggers::{Logger, SetError};

fn shown(logger: &Logger) -> Json {
    json!({ "level": logger.level, "last_modified": logger.modified_ms })
}

/// `GET /admin/loggers`.
pub(super) async fn list(State(inner): Shared) -> Answer {
    let all: BTreeMap<String, Json> = inner
        .loggers
        .all()
        .iter()
        .map(|(name, logger)| (name.clone(), shown(logger)))
        .collect();
    Ok(body::json(200, &json!(all)))
}

/// `GET /admin/loggers/{logger}`.
pub(super) async fn get(State(inner): Shared, Path(name): Path<String>) -> Answer {
    match inner.loggers.get(&name) {
        Some(logger) => Ok(body::json(200, &shown(&logger))),
        None => Err(ApiError::new(404, format!("Logger {name} not found."))),
    }
}

/// `PUT /admin/loggers/{logger}[?scope=worker|cluster]`. There is one worker; with `cluster` the answer has no body.
pub(super) async fn set(
    State(inner): Shared,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer {
    let request = body::parse(&headers, &bytes)?;
    let Some(level) = request.get("level").and_then(Json::as_str) else {
        return Err(ApiError::bad_request(
            "Desired 'level' parameter was not specified in request.",
        ));
    };
    let touched = inner.loggers.set(&name, level, crate::now_ms());
    let touched = touched.map_err(|error| match error {
        SetError::Level => ApiError::new(404, format!("invalid log level '{level}'.")),
        SetError::TooMany => ApiError::bad_request("Too many loggers have a level of their own"),
    })?;
    let query = query.unwrap_or_default();
    let of_cluster = query
        .split('&')
        .any(|pair| pair.eq_ignore_ascii_case("scope=cluster"));
    match of_cluster {
        true => Ok(body::empty(204)),
        false => Ok(body::json(200, &json!(touched))),
    }
}
