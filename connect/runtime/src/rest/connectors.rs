//! `/connectors`: everything about connectors and their tasks.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use connect_api::{AlteredOffset, ConfigMap, ConnectorKind, ConnectorPlugin};
use serde_json::{Map, Value as Json, json};

use super::{Answer, ApiError, Shared, body, plugins};
use crate::herder::{ConnectorView, PluginInfo, TaskView};
use crate::secrets;
use crate::store::TargetState;
use crate::task::TaskId;
use crate::worker::{Change, Changed, Inner, OffsetsChange, read_offsets, tell_connector};

fn not_found(name: &str) -> ApiError {
    ApiError::new(404, format!("Connector {name} not found"))
}

fn view(inner: &Inner, name: &str) -> Result<ConnectorView, ApiError> {
    inner
        .herder
        .read()
        .view(name)
        .ok_or_else(|| not_found(name))
}

/// The values of a query parameter, in order.
fn parameters<'a>(query: Option<&'a str>, name: &str) -> Vec<&'a str> {
    query
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value)
        .collect()
}

/// The connector that a configuration names.
fn plugin<'a>(inner: &'a Inner, config: &ConfigMap) -> Option<&'a dyn ConnectorPlugin> {
    let class = config.get("connector.class")?;
    Some(&**inner.plugins.connector(class)?)
}

/// A configuration as answers show it: without passwords.
fn shown(inner: &Inner, config: &ConfigMap) -> ConfigMap {
    secrets::masked(config.clone(), plugin(inner, config))
}

/// A configuration that came: passwords that are only shown are those that the connector has.
pub(super) fn unmasked(inner: &Inner, name: &str, config: ConfigMap) -> ConfigMap {
    let stored = inner.herder.read().config(name).cloned();
    let plugin = plugin(inner, &config);
    secrets::unmasked(config, &stored.unwrap_or_default(), plugin)
}

/// `ConnectorInfo`.
fn info_json(inner: &Inner, view: &ConnectorView) -> Json {
    let mut config = shown(inner, &view.config);
    config.insert("name".to_owned(), view.name.clone());
    let tasks: Vec<Json> = view
        .tasks
        .iter()
        .map(|task| json!({ "connector": view.name, "task": task.task }))
        .collect();
    json!({
        "name": view.name,
        "config": config,
        "tasks": tasks,
        "type": view.kind.map_or("unknown", ConnectorKind::as_str),
    })
}

/// `ConnectorStateInfo`. How far tasks are is none of Kafka's fields: it is there where it is asked for.
fn status_json(inner: &Inner, view: &ConnectorView, with_progress: bool) -> Json {
    let task = |task: &TaskView| {
        let mut json = task_json(inner, view, task);
        let id = TaskId {
            connector: view.name.clone(),
            task: task.task,
        };
        let board = &inner.environment.board;
        if let Some(progress) = board.of(&id).filter(|_| with_progress) {
            json["progress"] = progress;
        }
        json
    };
    let tasks: Vec<Json> = view.tasks.iter().map(task).collect();
    let mut connector = Map::new();
    connector.insert("state".to_owned(), view.state.into());
    connector.insert(
        "worker_id".to_owned(),
        inner.config.worker_id.as_str().into(),
    );
    connector.insert("version".to_owned(), view.version.into());
    if let Some(trace) = &view.trace {
        connector.insert("trace".to_owned(), trace.as_str().into());
    }
    json!({
        "name": view.name,
        "connector": connector,
        "tasks": tasks,
        "type": view.kind.map_or("unknown", ConnectorKind::as_str),
    })
}

/// `TaskState`. Ours has a trace while a restart is waited for, too.
fn task_json(inner: &Inner, view: &ConnectorView, task: &TaskView) -> Json {
    let mut json = json!({
        "id": task.task,
        "state": task.state,
        "worker_id": inner.config.worker_id,
        "version": view.version,
    });
    if let (Some(trace), Json::Object(json)) = (&task.trace, &mut json) {
        json.insert("trace".to_owned(), trace.as_str().into());
    }
    json
}

/// `GET /connectors[?expand=status&expand=info]`.
pub(super) async fn list(State(inner): Shared, RawQuery(query): RawQuery) -> Answer {
    let expand = parameters(query.as_deref(), "expand");
    let herder = inner.herder.read();
    let names = herder.names();
    let (status, info) = (expand.contains(&"status"), expand.contains(&"info"));
    if !status && !info {
        return Ok(body::json(200, &json!(names)));
    }
    let mut all = Map::new();
    for view in names.iter().filter_map(|name| herder.view(name)) {
        let mut one = Map::new();
        if status {
            let progress = expand.contains(&"progress");
            one.insert("status".to_owned(), status_json(&inner, &view, progress));
        }
        if info {
            one.insert("info".to_owned(), info_json(&inner, &view));
        }
        all.insert(view.name.clone(), one.into());
    }
    Ok(body::json(200, &all.into()))
}

/// `POST /connectors`.
pub(super) async fn create(State(inner): Shared, headers: HeaderMap, bytes: Bytes) -> Answer {
    let mut request = body::object(
        body::parse(&headers, &bytes)?,
        &["name", "config", "initial_state"],
    )?;
    let name = match request.get("name") {
        Some(Json::String(name)) => name.trim().to_owned(),
        _ => {
            return Err(ApiError::bad_request(
                "The field \"name\" is missing, or no text",
            ));
        }
    };
    let target = match request.get("initial_state") {
        None | Some(Json::Null) => None,
        Some(state) => Some(initial_state(state)?),
    };
    let config = request
        .remove("config")
        .ok_or_else(|| ApiError::bad_request("The field \"config\" is missing"))?;
    let config = named_config(&name, body::config(&config)?)?;
    if inner.herder.read().contains(&name) {
        return Err(ApiError::new(
            409,
            format!("Connector {name} already exists"),
        ));
    }
    let plugin = check(&inner, &config).await?;
    let change = Change::Put {
        name: name.clone(),
        config,
        plugin,
        target,
        create_only: true,
    };
    inner.change(change).await?;
    created(&inner, &name)
}

fn initial_state(state: &Json) -> Result<TargetState, ApiError> {
    match state.as_str().map(str::to_ascii_uppercase).as_deref() {
        Some("RUNNING") => Ok(TargetState::Started),
        Some("PAUSED") => Ok(TargetState::Paused),
        Some("STOPPED") => Ok(TargetState::Stopped),
        _ => Err(ApiError::bad_request(format!(
            "The field \"initial_state\" has to be RUNNING, PAUSED or STOPPED, not {state}"
        ))),
    }
}

/// The configuration with its name, which must not be another.
fn named_config(name: &str, mut config: ConfigMap) -> Result<ConfigMap, ApiError> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(ApiError::bad_request(
            "The name of a connector must be text without control characters, and not empty",
        ));
    }
    if let Some(included) = config.get("name").filter(|included| *included != name) {
        return Err(ApiError::bad_request(format!(
            "Connector name configuration ({included}) doesn't match connector name in the URL ({name})"
        )));
    }
    config.insert("name".to_owned(), name.to_owned());
    Ok(config)
}

/// Validates; 400 with Kafka's text if anything is wrong.
async fn check(inner: &Inner, config: &ConfigMap) -> Result<PluginInfo, ApiError> {
    let infos = crate::worker::validate(inner, config)
        .await
        .map_err(plugins::refuse)?;
    if let Some(refusal) = infos.refusal() {
        return Err(ApiError::bad_request(refusal));
    }
    for warning in &infos.warnings {
        tracing::warn!(
            connector = config.get("name").map(String::as_str),
            "{warning}"
        );
    }
    crate::worker::plugin_info(&inner.plugins, config)
        .ok_or_else(|| ApiError::bad_request(inner.plugins.unknown_connector(infos.class)))
}

/// 201 with the connector's info and its place.
fn created(inner: &Inner, name: &str) -> Answer {
    let mut response: Response = body::json(201, &info_json(inner, &view(inner, name)?));
    let path: String = format!("/connectors/{}", escaped(name));
    if let Ok(location) = HeaderValue::from_str(&path) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// A path segment with everything but unreserved characters escaped (RFC 3986).
fn escaped(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// `GET /connectors/{name}`.
pub(super) async fn info(State(inner): Shared, Path(name): Path<String>) -> Answer {
    Ok(body::json(200, &info_json(&inner, &view(&inner, &name)?)))
}

/// `DELETE /connectors/{name}`.
pub(super) async fn remove(State(inner): Shared, Path(name): Path<String>) -> Answer {
    inner.change(Change::Delete { name }).await?;
    Ok(body::empty(204))
}

/// `GET /connectors/{name}/config`.
pub(super) async fn config(State(inner): Shared, Path(name): Path<String>) -> Answer {
    let info = info_json(&inner, &view(&inner, &name)?);
    Ok(body::json(200, &info["config"]))
}

/// `PUT /connectors/{name}/config`.
pub(super) async fn replace_config(
    State(inner): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer {
    let config = body::config(&body::parse(&headers, &bytes)?)?;
    let (changed, info) = put_config(&inner, &name, config).await?;
    if changed.created {
        created(&inner, &name)
    } else {
        Ok(body::json(200, &info))
    }
}

/// Creates or replaces a connector.
pub(crate) async fn put_config(
    inner: &Arc<Inner>,
    name: &str,
    config: ConfigMap,
) -> Result<(Changed, Json), ApiError> {
    let config = unmasked(inner, name, named_config(name, config)?);
    let plugin = check(inner, &config).await?;
    let change = Change::Put {
        name: name.to_owned(),
        config,
        plugin,
        target: None,
        create_only: false,
    };
    let changed = inner.change(change).await?;
    Ok((changed, info_json(inner, &view(inner, name)?)))
}

/// `PATCH /connectors/{name}/config` (KIP-477).
pub(super) async fn patch_config(
    State(inner): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer {
    let changes = body::patch(&body::parse(&headers, &bytes)?)?;
    let mut config = view(&inner, &name)?.config;
    for (key, value) in changes {
        match value {
            Some(value) => {
                config.insert(key, value);
            }
            None => {
                config.remove(&key);
            }
        }
    }
    let (_, info) = put_config(&inner, &name, config).await?;
    Ok(body::json(200, &info))
}

/// A connector's status.
pub(crate) fn status(inner: &Inner, name: &str) -> Result<Json, ApiError> {
    status_with(inner, name, false)
}

/// The same, with how far its tasks are.
pub(crate) fn status_with(inner: &Inner, name: &str, progress: bool) -> Result<Json, ApiError> {
    let view = inner
        .herder
        .read()
        .view(name)
        .ok_or_else(|| ApiError::new(404, format!("No status found for connector {name}")))?;
    Ok(status_json(inner, &view, progress))
}

/// `GET /connectors/{name}/status[?expand=progress]`.
pub(super) async fn get_status(
    State(inner): Shared,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let progress = parameters(query.as_deref(), "expand").contains(&"progress");
    Ok(body::json(200, &status_with(&inner, &name, progress)?))
}

/// `POST /connectors/{name}/restart[?includeTasks=…&onlyFailed=…]` (KIP-745).
pub(super) async fn restart(
    State(inner): Shared,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let flag = |flag: &str| {
        parameters(query.as_deref(), flag)
            .last()
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    };
    let (include_tasks, only_failed) = (flag("includeTasks"), flag("onlyFailed"));
    let change = Change::Restart {
        name: name.clone(),
        include_tasks,
        only_failed,
    };
    inner.change(change).await.map_err(|error| match error {
        crate::worker::ChangeError::NotFound(name) => unknown(&name),
        other => other.into(),
    })?;
    if !include_tasks && !only_failed {
        return Ok(body::empty(204));
    }
    Ok(body::json(202, &status(&inner, &name)?))
}

fn unknown(name: &str) -> ApiError {
    ApiError::new(404, format!("Unknown connector {name}"))
}

async fn target(inner: &Inner, name: String, state: TargetState) -> Result<(), ApiError> {
    if !inner.herder.read().contains(&name) {
        return Err(unknown(&name));
    }
    inner.change(Change::Target { name, state }).await?;
    Ok(())
}

/// `PUT /connectors/{name}/pause`.
pub(super) async fn pause(State(inner): Shared, Path(name): Path<String>) -> Answer {
    target(&inner, name, TargetState::Paused).await?;
    Ok(body::empty(202))
}

/// `PUT /connectors/{name}/resume`.
pub(super) async fn resume(State(inner): Shared, Path(name): Path<String>) -> Answer {
    target(&inner, name, TargetState::Started).await?;
    Ok(body::empty(202))
}

/// `PUT /connectors/{name}/stop` (KIP-875). An unknown connector is 404 (Kafka: 500).
pub(super) async fn stop(State(inner): Shared, Path(name): Path<String>) -> Answer {
    target(&inner, name, TargetState::Stopped).await?;
    Ok(body::empty(204))
}

/// `GET /connectors/{name}/tasks`.
pub(super) async fn tasks(State(inner): Shared, Path(name): Path<String>) -> Answer {
    let view = view(&inner, &name)?;
    let tasks: Vec<Json> = view
        .tasks
        .iter()
        .map(
            |task| json!({ "id": { "connector": name, "task": task.task }, "config": shown(&inner, &task.config) }),
        )
        .collect();
    Ok(body::json(200, &tasks.into()))
}

/// `GET /connectors/{name}/tasks-config`: gone since Kafka 4.0, but kcctl still asks.
pub(super) async fn tasks_config(State(inner): Shared, Path(name): Path<String>) -> Answer {
    let view = view(&inner, &name)?;
    let tasks: Map<String, Json> = view
        .tasks
        .iter()
        .map(|task| {
            let config = shown(&inner, &task.config);
            (format!("{name}-{}", task.task), json!(config))
        })
        .collect();
    Ok(body::json(200, &tasks.into()))
}

/// `GET /connectors/{name}/tasks/{task}/status`.
pub(super) async fn task_status(
    State(inner): Shared,
    Path((name, task)): Path<(String, String)>,
) -> Answer {
    let view = inner.herder.read().view(&name);
    let found = view.as_ref().and_then(|view| {
        let number: u32 = task.parse().ok()?;
        Some(task_json(
            &inner,
            view,
            view.tasks.iter().find(|task| task.task == number)?,
        ))
    });
    match found {
        Some(status) => Ok(body::json(200, &status)),
        None => Err(ApiError::new(
            404,
            format!("No status found for task {name}-{task}"),
        )),
    }
}

/// `POST /connectors/{name}/tasks/{task}/restart`.
pub(super) async fn restart_task(
    State(inner): Shared,
    Path((name, task)): Path<(String, String)>,
) -> Answer {
    let number: u32 = task
        .parse()
        .map_err(|_| ApiError::new(404, format!("Task {name}-{task} not found")))?;
    inner
        .change(Change::RestartTask {
            id: TaskId {
                connector: name,
                task: number,
            },
        })
        .await?;
    Ok(body::empty(204))
}

/// `GET /connectors/{name}/topics`.
pub(super) async fn topics(State(inner): Shared, Path(name): Path<String>) -> Answer {
    let view = view(&inner, &name)?;
    Ok(body::json(200, &json!({ name: { "topics": view.topics } })))
}

/// `PUT /connectors/{name}/topics/reset`.
pub(super) async fn reset_topics(State(inner): Shared, Path(name): Path<String>) -> Answer {
    inner.change(Change::ResetTopics { name }).await?;
    Ok(body::empty(202))
}

/// `GET /connectors/{name}/offsets`.
pub(super) async fn offsets(State(inner): Shared, Path(name): Path<String>) -> Answer {
    let view = view(&inner, &name)?;
    let Some(kind) = view.kind else {
        return Err(ApiError::bad_request(format!(
            "the class of connector {name} is not there"
        )));
    };
    Ok(body::json(200, &read_offsets(&inner, &name, kind).await?))
}

/// `PATCH /connectors/{name}/offsets` (KIP-875).
pub(super) async fn alter_offsets(
    State(inner): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer {
    let mut request = body::object(body::parse(&headers, &bytes)?, &["offsets"])?;
    let entries = match request.remove("offsets") {
        Some(Json::Array(entries)) if !entries.is_empty() => entries,
        _ => {
            return Err(ApiError::bad_request(
                "Partitions / offsets need to be provided for an alter offsets request",
            ));
        }
    };
    let entries = entries
        .into_iter()
        .map(offset_entry)
        .collect::<Result<_, _>>()?;
    change_offsets(&inner, name, OffsetsChange::Alter(entries), "altered").await
}

fn offset_entry(entry: Json) -> Result<AlteredOffset, ApiError> {
    let mut entry = body::object(entry, &["partition", "offset"])?;
    let partition = match entry.remove("partition") {
        Some(Json::Object(partition)) => partition,
        _ => {
            return Err(ApiError::bad_request(
                "The partition of an offset has to be an object",
            ));
        }
    };
    let offset = match entry.remove("offset") {
        None | Some(Json::Null) => None,
        Some(Json::Object(offset)) => Some(offset),
        Some(_) => {
            return Err(ApiError::bad_request(
                "An offset has to be an object, or null to reset it",
            ));
        }
    };
    Ok(AlteredOffset { partition, offset })
}

/// `DELETE /connectors/{name}/offsets` (KIP-875).
pub(super) async fn reset_offsets(State(inner): Shared, Path(name): Path<String>) -> Answer {
    change_offsets(&inner, name, OffsetsChange::Reset, "reset").await
}

async fn change_offsets(inner: &Inner, name: String, change: OffsetsChange, verb: &str) -> Answer {
    let view = view(inner, &name)?;
    let keeps = match view.kind {
        Some(kind) => tell_connector(inner, &view, kind, &change).await?,
        None => false,
    };
    inner.change(Change::Offsets { name, change }).await?;
    // Sinks that store offsets themselves are told by the partitions' incarnations.
    if keeps || view.kind == Some(ConnectorKind::Sink) {
        let message = format!("The offsets for this connector have been {verb} successfully");
        return Ok(body::json(200, &json!({ "message": message })));
    }
    let message = format!(
        "The Connect framework-managed offsets for this connector have been {verb} successfully. However, if this \
         connector manages offsets externally, they will need to be manually {verb} in the system that the connector \
         uses."
    );
    Ok(body::json(200, &json!({ "message": message })))
}
