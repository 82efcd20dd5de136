//! Bodies of requests and answers: JSON, and nothing else.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use connect_api::ConfigMap;
use serde_json::{Map, Value as Json};

use super::ApiError;
use crate::definition::nearest;

/// An answer with a JSON body.
pub(super) fn json(status: u16, body: &Json) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}

/// An answer without a body.
pub(super) fn empty(status: u16) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// The JSON of a request's body.
///
/// # Errors
/// 415 for another content type; 400 for no JSON (Kafka: 500).
pub(super) fn parse(headers: &HeaderMap, body: &Bytes) -> Result<Json, ApiError> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default();
    if !content_type.trim().eq_ignore_ascii_case("application/json") {
        return Err(ApiError::new(
            415,
            "HTTP 415 Unsupported Media Type. Send the header Content-Type: application/json",
        ));
    }
    serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("The body is not JSON: {error}")))
}

/// The fields of an object, all of them known.
pub(super) fn object(json: Json, known: &[&str]) -> Result<Map<String, Json>, ApiError> {
    let Json::Object(object) = json else {
        return Err(ApiError::bad_request(format!(
            "The body has to be an object with {}, not {}",
            known.join(", "),
            kind(&json)
        )));
    };
    if let Some(unknown) = object.keys().find(|field| !known.contains(&field.as_str())) {
        let hint = match nearest(unknown, known.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("known fields are {}", known.join(", ")),
        };
        return Err(ApiError::bad_request(format!(
            "Unrecognized field \"{unknown}\": {hint}"
        )));
    }
    Ok(object)
}

/// A flat configuration: values are texts; numbers and booleans are taken as theirs, as Kafka does.
pub(super) fn config(json: &Json) -> Result<ConfigMap, ApiError> {
    let mut config = ConfigMap::new();
    for (key, value) in patch(json)? {
        match value {
            Some(value) => {
                config.insert(key, value);
            }
            None => {
                return Err(ApiError::bad_request(format!(
                    "The value of \"{key}\" in the configuration is null"
                )));
            }
        }
    }
    Ok(config)
}

/// As [`config`], with nulls for keys to be removed.
pub(super) fn patch(json: &Json) -> Result<Vec<(String, Option<String>)>, ApiError> {
    let Json::Object(object) = json else {
        return Err(ApiError::bad_request(format!(
            "The configuration has to be an object of keys and values, not {}",
            kind(json)
        )));
    };
    object
        .iter()
        .map(|(key, value)| {
            let value = match value {
                Json::Null => None,
                Json::String(text) => Some(text.clone()),
                Json::Number(number) => Some(number.to_string()),
                Json::Bool(value) => Some(value.to_string()),
                Json::Array(_) | Json::Object(_) => {
                    return Err(ApiError::bad_request(format!(
                        "The value of \"{key}\" in the configuration has to be text, not {}; lists are written as \
                         texts separated by commas",
                        kind(value)
                    )));
                }
            };
            Ok((key.clone(), value))
        })
        .collect()
}

fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "text",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}
