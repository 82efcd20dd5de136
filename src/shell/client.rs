//! `POST /v1/query` from the client's side: a statement in, rows as they come.
//!
//! Invariant: what an answer is, is told by its headers (`thalweg-columns`, `thalweg-rows`), never guessed from its rows,
//! whose columns may have any name.

use anyhow::{Context, Result};
use bytes::{Buf, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sql::Diagnostic;

use super::table::visible;
use crate::exit::Failure;

/// The setting by which a SELECT waits for what was written.
const READS_WRITES: &str = "read_your_writes";

/// How long it waits where the user says nothing.
const READS_WRITES_WAIT: &str = "1s";

/// Speaks to one server.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    base: String,
    http: reqwest::Client,
    /// What `SET` said; goes with every statement.
    settings: Map<String, Value>,
    /// Whether something was written, so that views are waited for.
    wrote: bool,
}

/// One column of an answer.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Column {
    /// Its name.
    pub name: String,
    /// Its SQL type.
    #[serde(rename = "type")]
    pub data_type: String,
}

/// Something that a statement can name.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Object {
    /// Its name.
    pub name: String,
    /// source, table, materialized view or function.
    pub kind: String,
    /// Columns of a relation.
    pub columns: Vec<Column>,
}

/// A view that is still reading what was there when it began.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Filling {
    /// The view.
    pub view: String,
    /// Records that are in.
    pub read: u64,
    /// Records that were there.
    pub records: u64,
}

/// One row, with its sign where it is a change.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// `None` in a snapshot, ±1 in a push query.
    pub diff: Option<i8>,
    /// Values in column order.
    pub values: Vec<Value>,
}

/// The rows of an answer.
pub(crate) struct Rows {
    /// Their columns.
    pub columns: Vec<Column>,
    /// Whether they are changes that go on until the client leaves.
    pub push: bool,
    lines: Lines,
}

/// What became of a statement.
pub(crate) enum Outcome {
    /// It did something; this is what, and what there is to know about it.
    Done {
        /// What.
        message: String,
        /// What there is to know.
        notes: Vec<String>,
    },
    /// It answers with rows.
    Rows(Rows),
    /// It was refused.
    Refused(Box<Diagnostic>),
}

/// The next thing in an answer.
pub(crate) enum Next {
    /// A row.
    Row(Row),
    /// What the rows do not show.
    Notices(Vec<Diagnostic>),
    /// The rest failed.
    Refused(Box<Diagnostic>),
    /// That was all.
    End,
}

impl Client {
    /// A client of `address`: `HOST:PORT`, with or without `http://`.
    pub(crate) fn new(address: &str) -> Self {
        Self::over(reqwest::Client::new(), address)
    }

    /// The same over a client of HTTP that says who it is.
    pub(crate) fn over(http: reqwest::Client, address: &str) -> Self {
        Self {
            base: base(address),
            http,
            settings: Map::new(),
            wrote: false,
        }
    }

    /// Keeps a setting for the statements to come.
    pub(crate) fn set(&mut self, name: String, value: String) {
        self.settings.insert(name, Value::String(value));
    }

    /// A statement has written rows: from now on a SELECT waits a little for the views that take them in.
    pub(crate) fn has_written(&mut self) {
        self.wrote = true;
    }

    /// Settings that go with a statement.
    fn settings(&self) -> Map<String, Value> {
        let mut settings = self.settings.clone();
        let is_set = |name: &String| name.eq_ignore_ascii_case(READS_WRITES);
        if self.wrote && !settings.keys().any(is_set) {
            settings.insert(READS_WRITES.to_owned(), READS_WRITES_WAIT.into());
        }
        settings
    }

    /// Speaks to another address from now on, with the same settings.
    pub(crate) fn turn_to(&mut self, address: &str) {
        self.base = base(address);
    }

    /// Where it speaks to.
    pub(crate) fn address(&self) -> &str {
        &self.base
    }

    /// Whether a server answers there and serves: one that names what of it is offline serves the rest.
    pub(crate) async fn is_ready(&self) -> bool {
        let Ok(response) = self.http.get(format!("{}/readyz", self.base)).send().await else {
            return false;
        };
        let is_whole = response.status().is_success();
        let page = response.text().await.unwrap_or_default();
        is_whole || (page.starts_with("not ready\n") && page.lines().count() > 1)
    }

    /// What there is to name in a statement; `None` where the server does not answer.
    pub(crate) async fn catalog(&self) -> Option<Vec<Object>> {
        let response = self.http.get(format!("{}/v1/catalog", self.base)).send();
        response.await.ok()?.json().await.ok()
    }

    /// The views that are still reading what was there when they began; none where the server does not answer.
    pub(crate) async fn filling(&self) -> Vec<Filling> {
        let response = self.http.get(format!("{}/v1/filling", self.base)).send();
        match response.await {
            Ok(response) => response.json().await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    /// Runs one statement.
    pub(crate) async fn query(&self, sql: &str) -> Result<Outcome> {
        let response = self
            .http
            .post(format!("{}/v1/query", self.base))
            .json(&json!({ "sql": sql, "settings": self.settings() }))
            .send()
            .await
            .map_err(|error| {
                let cause = root_cause(&error);
                Failure::Server(format!("{} does not answer: {cause}", self.base))
            })?;
        let status = response.status();
        let header = |name: &str| response.headers().get(name).cloned();
        let columns = header("thalweg-columns");
        let push = header("thalweg-rows").is_some_and(|kind| kind == "changes");
        let mut lines = Lines {
            from: self.base.clone(),
            body: response.bytes_stream().boxed(),
            buffer: BytesMut::new(),
        };
        if let Some(columns) = columns {
            return Ok(Outcome::Rows(Rows {
                columns: serde_json::from_slice(columns.as_bytes())
                    .context("header thalweg-columns")?,
                push,
                lines,
            }));
        }
        let line = lines.next().await?.unwrap_or_default();
        let value: Value = serde_json::from_slice(&line).unwrap_or_default();
        if let Some(diagnostic) = refusal(&value) {
            return Ok(Outcome::Refused(Box::new(diagnostic)));
        }
        let Some(message) = value["result"].as_str() else {
            return Err(lines.foreign(status, line).await);
        };
        let notes = value["notes"].as_array().into_iter().flatten();
        Ok(Outcome::Done {
            message: message.to_owned(),
            notes: notes
                .map(|note| note.as_str().unwrap_or_default().to_owned())
                .collect(),
        })
    }
}

fn base(address: &str) -> String {
    let address = address.trim_end_matches('/');
    if address.contains("://") {
        return address.to_owned();
    }
    format!("http://{address}")
}

/// What of an error says most: the deepest cause ("connection refused").
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

impl Rows {
    /// The next row.
    pub(crate) async fn next(&mut self) -> Result<Next> {
        let Some(line) = self.lines.next().await? else {
            return Ok(Next::End);
        };
        let mut object: Map<String, Value> =
            serde_json::from_slice(&line).context("a row of the answer")?;
        if object.len() == 1
            && let Some(diagnostic) = refusal(&Value::Object(object.clone()))
        {
            return Ok(Next::Refused(Box::new(diagnostic)));
        }
        // A row of one column of that name holds no diagnostics.
        if object.len() == 1
            && let Some(notices) = object
                .get("notices")
                .and_then(|notices| serde_json::from_value::<Vec<Diagnostic>>(notices.clone()).ok())
        {
            return Ok(Next::Notices(notices));
        }
        let mut diff = None;
        if self.push {
            let sign = object.get("diff").and_then(Value::as_i64);
            diff = Some(if sign.is_some_and(|sign| sign < 0) {
                -1
            } else {
                1
            });
            if let Some(Value::Object(row)) = object.remove("row") {
                object = row;
            }
        }
        let values = self
            .columns
            .iter()
            .map(|column| object.remove(&column.name).unwrap_or(Value::Null))
            .collect();
        Ok(Next::Row(Row { diff, values }))
    }
}

fn refusal(value: &Value) -> Option<Diagnostic> {
    serde_json::from_value(value.get("error")?.clone()).ok()
}

/// Longest part of an answer that is not ours to be shown, in characters.
const FOREIGN_SHOWN_MAX: usize = 300;

/// Lines of a body as it arrives.
struct Lines {
    /// Who sends it.
    from: String,
    body: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    buffer: BytesMut,
}

impl Lines {
    /// What to say of an answer that is not of this protocol (a proxy's page, a limit of the HTTP server): its status
    /// and its text. `first` is the line that was read.
    async fn foreign(&mut self, status: StatusCode, first: BytesMut) -> anyhow::Error {
        let mut text = String::from_utf8_lossy(&first).into_owned();
        while text.chars().count() < FOREIGN_SHOWN_MAX
            && let Ok(Some(line)) = self.next().await
        {
            text += "\n";
            text += &String::from_utf8_lossy(&line);
        }
        let shown: String = visible(text.trim())
            .chars()
            .take(FOREIGN_SHOWN_MAX)
            .collect();
        let colon = if shown.is_empty() { "" } else { ": " };
        let text = format!("{} answered {status}{colon}{shown}", self.from);
        if status.is_client_error() {
            return anyhow::Error::msg(text);
        }
        Failure::Server(text).into()
    }

    async fn next(&mut self) -> Result<Option<BytesMut>> {
        let Some(end) = self.fill().await? else {
            return Ok(None);
        };
        let line = self.buffer.split_to(end);
        if !self.buffer.is_empty() {
            self.buffer.advance(1);
        }
        Ok(Some(line))
    }

    /// Reads until a whole line stands at the front; returns its length, `None` at the end of the body.
    async fn fill(&mut self) -> Result<Option<usize>> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer[searched..]
                .iter()
                .position(|byte| *byte == b'\n')
            {
                if searched + at == 0 {
                    self.buffer.advance(1);
                    continue;
                }
                return Ok(Some(searched + at));
            }
            searched = self.buffer.len();
            match self.body.next().await {
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(_)) => {
                    let text = format!(
                        "the answer broke off: {} ended or cut the connection",
                        self.from
                    );
                    return Err(Failure::Server(text).into());
                }
                None => return Ok((!self.buffer.is_empty()).then_some(self.buffer.len())),
            }
        }
    }
}

#[cfg(test)]
mod tests;
