//! `/connector-plugins`: what is compiled in, its keys, and validation.

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use bytes::Bytes;
use serde_json::json;

use super::connectors::unmasked;
use super::{Answer, ApiError, Shared, body};
use crate::definition::{self, Invalid};

#[derive(serde::Deserialize)]
pub(super) struct ListQuery {
    #[serde(rename = "connectorsOnly", default)]
    connectors_only: Option<String>,
}

/// `GET /connector-plugins[?connectorsOnly=false]`.
pub(super) async fn list(State(inner): Shared, Query(query): Query<ListQuery>) -> Answer {
    let connectors_only = query.connectors_only.as_deref() != Some("false");
    let listed: Vec<_> = inner
        .plugins
        .list(connectors_only)
        .into_iter()
        .map(|plugin| json!({ "class": plugin.class, "type": plugin.kind, "version": plugin.version }))
        .collect();
    Ok(body::json(200, &listed.into()))
}

/// `GET /connector-plugins/{plugin}/config`.
pub(super) async fn config(State(inner): Shared, Path(plugin): Path<String>) -> Answer {
    match definition::key_infos(&plugin, &inner.plugins) {
        Some(keys) => Ok(body::json(200, &keys.into())),
        None => Err(ApiError::new(404, format!("Unknown plugin {plugin}."))),
    }
}

/// `PUT /connector-plugins/{plugin}/config/validate`. What is wrong with single values is in the answer; the status
/// stays 200.
pub(super) async fn validate(
    State(inner): Shared,
    Path(plugin): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer {
    let config = body::config(&body::parse(&headers, &bytes)?)?;
    if let Some(class) = config.get("connector.class") {
        let named = inner.plugins.connector(&plugin).map(|named| named.class());
        let meant = inner.plugins.connector(class).map(|meant| meant.class());
        if named != meant || (named.is_none() && &plugin != class) {
            return Err(ApiError::bad_request(format!(
                "Included connector type {class} does not match request type {plugin}"
            )));
        }
    }
    let name = config.get("name").cloned().unwrap_or_default();
    let config = unmasked(&inner, &name, config);
    let infos = crate::worker::validate(&inner, &config)
        .await
        .map_err(refuse)?;
    Ok(body::json(200, &infos.to_json()))
}

/// A configuration that cannot even be validated is the client's mistake (Kafka: 500).
pub(super) fn refuse(invalid: Invalid) -> ApiError {
    ApiError::bad_request(invalid.to_string())
}
