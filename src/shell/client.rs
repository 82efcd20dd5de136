//! `POST /v1/query` from the client's side: a statement in, rows as they come.

use anyhow::{Context, Result};
use bytes::{Buf, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sql::Diagnostic;

use crate::exit::Failure;

/// Speaks to one server.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    base: String,
    http: reqwest::Client,
    /// What `SET` said; goes with every statement.
    settings: Map<String, Value>,
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
    /// The rest failed.
    Refused(Box<Diagnostic>),
    /// That was all.
    End,
}

impl Client {
    /// A client of `address`: `HOST:PORT`, with or without `http://`.
    pub(crate) fn new(address: &str) -> Self {
        let address = address.trim_end_matches('/');
        let base = if address.contains("://") {
            address.to_owned()
        } else {
            format!("http://{address}")
        };
        Self {
            base,
            http: reqwest::Client::new(),
            settings: Map::new(),
        }
    }

    /// Keeps a setting for the statements to come.
    pub(crate) fn set(&mut self, name: String, value: String) {
        self.settings.insert(name, Value::String(value));
    }

    /// Whether a server answers there and is ready.
    pub(crate) async fn is_ready(&self) -> bool {
        self.http
            .get(format!("{}/readyz", self.base))
            .send()
            .await
            .is_ok_and(|response| response.status().is_success())
    }

    /// Names of objects and columns for completion; none where the server does not answer.
    pub(crate) async fn catalog_words(&self) -> Vec<String> {
        let words = async {
            let response = self
                .http
                .get(format!("{}/v1/catalog", self.base))
                .send()
                .await
                .ok()?;
            let objects: Vec<Value> = response.json().await.ok()?;
            Some(
                objects
                    .iter()
                    .flat_map(|object| {
                        let columns = object["columns"].as_array().into_iter().flatten();
                        std::iter::once(&object["name"])
                            .chain(columns.map(|column| column.get("name").unwrap_or(column)))
                    })
                    .filter_map(|name| name.as_str().map(str::to_owned))
                    .collect(),
            )
        };
        words.await.unwrap_or_default()
    }

    /// Runs one statement.
    pub(crate) async fn query(&self, sql: &str) -> Result<Outcome> {
        let response = self
            .http
            .post(format!("{}/v1/query", self.base))
            .json(&json!({ "sql": sql, "settings": self.settings }))
            .send()
            .await
            .map_err(|error| Failure::Server(format!("{} does not answer: {error}", self.base)))?;
        let columns: Vec<Column> = match response.headers().get("thalweg-columns") {
            Some(header) => {
                serde_json::from_slice(header.as_bytes()).context("header thalweg-columns")?
            }
            None => Vec::new(),
        };
        let has_columns = !columns.is_empty();
        let mut lines = Lines {
            body: response.bytes_stream().boxed(),
            buffer: BytesMut::new(),
        };
        if has_columns {
            // The lines of a push answer carry their sign.
            let push = lines
                .peek()
                .await?
                .is_some_and(|line| line.starts_with(b"{\"diff\":"));
            return Ok(Outcome::Rows(Rows {
                columns,
                push,
                lines,
            }));
        }
        let Some(line) = lines.next().await? else {
            anyhow::bail!("{} answered with nothing", self.base);
        };
        let value: Value =
            serde_json::from_slice(&line).with_context(|| format!("answer of {}", self.base))?;
        if let Some(diagnostic) = refusal(&value) {
            return Ok(Outcome::Refused(Box::new(diagnostic)));
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Outcome::Done {
            message: text(&value["result"]),
            notes: value["notes"]
                .as_array()
                .into_iter()
                .flatten()
                .map(text)
                .collect(),
        })
    }
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
        let diff = self
            .push
            .then(|| match object.get("diff").and_then(Value::as_i64) {
                Some(diff) if diff < 0 => -1,
                _ => 1,
            });
        if diff.is_some()
            && let Some(Value::Object(row)) = object.remove("row")
        {
            object = row;
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

/// Lines of a body as it arrives.
struct Lines {
    body: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    buffer: BytesMut,
}

impl Lines {
    /// The first line, without taking it.
    async fn peek(&mut self) -> Result<Option<&[u8]>> {
        Ok(self.fill().await?.map(|end| &self.buffer[..end]))
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
                Some(bytes) => self
                    .buffer
                    .extend_from_slice(&bytes.context("the answer broke off")?),
                None => return Ok((!self.buffer.is_empty()).then_some(self.buffer.len())),
            }
        }
    }
}
