//! `POST /v1/query`, `GET /v1/catalog` and `GET /v1/filling`.
//!
//! | statement | `application/x-ndjson` (default) | `text/csv` | `text/event-stream` |
//! |---|---|---|---|
//! | SELECT | one JSON object a row, in column order | header line, then rows | `data: {…}` a row |
//! | … EMIT CHANGES | `{"diff": 1, "row": {…}}` a change | `__diff` before the columns | `data: {"diff": …}` |
//! | everything else | `{"result": "created …", "notes": […]}` | the result | `data: {"result": …}` |
//!
//! Columns and their SQL types stand in the header `thalweg-columns`, as JSON; `thalweg-rows` says whether the lines are
//! `rows` or `changes`. An error is status 400 with
//! `{"error": {code, sqlstate, message, line, column, span, notes, help, suggestion}}`; once rows have gone out, it is
//! the last line. A request with an `Arc<dyn Caller>` in its extensions is that caller's: what it may not is status 403. What the rows do not show (records that could not be read, views that are behind) is the last line
//! `{"notices": [{code, severity: "warning", message, help}]}`, in CSV `NOTICE: …`, of an event stream an event of type
//! `notice`; an answer without it is whole. Of changes it is the first line, and more such lines follow as more is left out. A body of several statements runs them in order: each but the last answers with a `{"result": …}`
//! line (of a SELECT there the number of rows), the last one as it would alone. The first error ends it; what was done
//! before stays done. `SET` and `settings` last as long as the request. A client that goes away ends its query.

use std::convert::Infallible;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::stream::{self, Stream, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::json;
use streams::JsonEncoder;

use super::answer::{Answer, AnswerColumn, Outcome, columns};
use super::caller::{check_site, check_statement};
use super::server::{Inner, Server};
use super::session::Session;
use crate::caller::Caller;
use crate::diagnostic::{Code, Diagnostic};

/// Columns of an answer as JSON.
const COLUMNS_HEADER: &str = "thalweg-columns";

/// Whether rows or changes follow: a client cannot tell by columns, which may be named `diff` and `row`.
const ROWS_HEADER: &str = "thalweg-rows";

/// A body may hold several statements.
const BODY_FACTOR: usize = 8;

/// A query's text and settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct QueryBody {
    sql: String,
    #[serde(default)]
    params: Vec<serde_json::Value>,
    #[serde(default)]
    settings: serde_json::Map<String, serde_json::Value>,
}

/// Names for completion.
#[derive(Debug, Serialize, Deserialize)]
struct CatalogObject {
    name: String,
    kind: String,
    columns: Vec<AnswerColumn>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Ndjson,
    Csv,
    EventStream,
}

impl Form {
    fn of(headers: &HeaderMap) -> Self {
        let accept = headers
            .get(header::ACCEPT)
            .and_then(|accept| accept.to_str().ok());
        let accept = accept.unwrap_or_default();
        if accept.contains("text/event-stream") {
            Self::EventStream
        } else if accept.contains("text/csv") {
            Self::Csv
        } else {
            Self::Ndjson
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::EventStream => "text/event-stream",
        }
    }
}

impl Server {
    /// The routes of the SQL API.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/v1/query", post(query))
            .route("/v1/catalog", get(catalog))
            .route("/v1/filling", get(filling))
            .layer(DefaultBodyLimit::max(self.body_bytes_max()))
            .with_state(self.clone())
    }

    fn body_bytes_max(&self) -> usize {
        let statement_bytes_max = self.inner.config.statement_bytes_max;
        statement_bytes_max.saturating_mul(BODY_FACTOR)
    }
}

async fn query(
    State(server): State<Server>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    if let Err((status, error)) = check_statement(&headers) {
        return refusal(status, &error);
    }
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return unread(&server, &rejection),
    };
    let answering = server.clone();
    let caller = caller_of(&extensions);
    let answered = server
        .apart(async move {
            let form = Form::of(&headers);
            answer(&answering, form, &body, caller.as_deref()).await
        })
        .await;
    match answered {
        Ok(response) => response,
        Err(error) => failure(&error),
    }
}

/// The answer to a body that was not read to its end.
fn unread(server: &Server, rejection: &BytesRejection) -> Response {
    let error = match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let message = format!("the body has more than {} bytes", server.body_bytes_max());
            Diagnostic::new(Code::TooLong, message)
                .help("write rows in parts, or raise sql.statement_bytes_max")
        }
        _ => Diagnostic::new(Code::Syntax, format!("read the body: {rejection}")),
    };
    refusal(rejection.status(), &error)
}

pub(super) fn refusal(status: StatusCode, error: &Diagnostic) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}

/// Who sends a request, where that was asked.
fn caller_of(extensions: &Extensions) -> Option<Arc<dyn Caller>> {
    extensions.get::<Arc<dyn Caller>>().cloned()
}

async fn answer(
    server: &Server,
    form: Form,
    body: &[u8],
    caller: Option<&dyn Caller>,
) -> Result<Response, Diagnostic> {
    let body: QueryBody = serde_json::from_slice(body).map_err(|error| {
        Diagnostic::new(
            Code::Syntax,
            format!("the body is not {{\"sql\": \"…\"}}: {error}"),
        )
    })?;
    if !body.params.is_empty() {
        return Err(
            Diagnostic::new(Code::Unsupported, "params are not available")
                .help("write the values into the statement"),
        );
    }
    let mut session = Session::default();
    for (name, value) in &body.settings {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        session.set(name, &text, None, None)?;
    }
    let statements = server.inner.statements(&body.sql)?;
    let Some((last, before)) = statements.split_last() else {
        return Err(Diagnostic::new(Code::Syntax, "there is no statement"));
    };
    let mut lines: Vec<(String, Vec<String>)> = Vec::new();
    for statement in before {
        let outcome = server.inner.run(&mut session, statement, caller).await;
        let answer = match outcome {
            Ok(Outcome::Changes { .. }) => Err(Diagnostic::new(
                Code::Unsupported,
                "a query with EMIT CHANGES does not end, so nothing can follow it",
            )
            .help("make it the last statement")),
            Ok(outcome) => outcome.collect().await,
            Err(error) => Err(error),
        };
        let answer = answer.map_err(|error| after(error, lines.len()))?;
        lines.push(match answer {
            Answer::Done { message, notes } => (message, notes),
            Answer::Rows { batches, .. } => {
                let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
                (format!("{rows} rows"), Vec::new())
            }
            Answer::Changes { .. } => continue,
        });
    }
    let outcome = server.inner.run(&mut session, last, caller).await;
    let outcome = outcome.map_err(|error| after(error, lines.len()))?;
    Ok(respond(form, lines, outcome))
}

/// Says that the statements before the failed one stay.
fn after(error: Diagnostic, done: usize) -> Diagnostic {
    match done {
        0 => error,
        1 => error.note("the statement before it was carried out"),
        _ => error.note(format!("the {done} statements before it were carried out")),
    }
}

fn failure(error: &Diagnostic) -> Response {
    let status = match error.sqlstate.as_str() {
        "57P01" => StatusCode::SERVICE_UNAVAILABLE,
        "42501" => StatusCode::FORBIDDEN,
        _ => StatusCode::BAD_REQUEST,
    };
    refusal(status, error)
}

fn respond(form: Form, before: Vec<(String, Vec<String>)>, outcome: Outcome) -> Response {
    let lines: Vec<Bytes> = before
        .iter()
        .map(|(message, notes)| result_line(form, message, notes))
        .collect();
    let before = stream::iter(lines);
    let kind = match outcome {
        Outcome::Changes { .. } => "changes",
        Outcome::Rows { .. } | Outcome::Done { .. } => "rows",
    };
    let (schema, rows): (Option<SchemaRef>, _) = match outcome {
        Outcome::Done { message, notes } => {
            let line = result_line(form, &message, &notes);
            (None, stream::iter([line]).boxed())
        }
        Outcome::Rows {
            schema,
            rows,
            notices,
        } => {
            let encoder = RowEncoder::new(form, &schema, false);
            let rows = rows.map(move |batch| match batch {
                Ok(batch) => encoder.rows(&batch, None),
                Err(error) => error_line(form, &error),
            });
            let last = stream::once(async move { notice_line(form, &notices.take()) });
            let rows = rows.chain(last);
            (Some(schema.clone()), with_head(form, &schema, false, rows))
        }
        Outcome::Changes {
            schema,
            changes,
            notices,
        } => {
            let encoder = RowEncoder::new(form, &schema, true);
            let first = notice_line(form, &notices.take());
            let at_end = notices.clone();
            let last = stream::once(async move { notice_line(form, &at_end.take()) });
            let rows = changes.map(move |change| {
                let notice = notice_line(form, &notices.take());
                let rows = match change {
                    Ok((batch, diff)) => encoder.rows(&batch, Some(diff.as_ref())),
                    Err(error) => error_line(form, &error),
                };
                [rows, notice].concat().into()
            });
            let rows = stream::once(async move { first }).chain(rows).chain(last);
            (Some(schema.clone()), with_head(form, &schema, true, rows))
        }
    };
    let body = Body::from_stream(before.chain(rows).map(Ok::<_, Infallible>));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(form.content_type()),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(schema) = schema {
        headers.insert(ROWS_HEADER, HeaderValue::from_static(kind));
        let text = serde_json::to_string(&columns(&schema)).unwrap_or_default();
        // Header values are ASCII; names may be anything.
        let ascii: String = text.chars().flat_map(ascii_json).collect();
        if let Ok(value) = HeaderValue::from_str(&ascii) {
            headers.insert(COLUMNS_HEADER, value);
        }
    }
    response
}

/// A character of a JSON text in ASCII.
fn ascii_json(char: char) -> Vec<char> {
    if char.is_ascii() {
        return vec![char];
    }
    let mut units = [0; 2];
    let units = char.encode_utf16(&mut units);
    units
        .iter()
        .flat_map(|unit| format!("\\u{unit:04x}").chars().collect::<Vec<_>>())
        .collect()
}

fn with_head(
    form: Form,
    schema: &Schema,
    changes: bool,
    rows: impl Stream<Item = Bytes> + Send + 'static,
) -> stream::BoxStream<'static, Bytes> {
    let rows = rows.filter(|bytes| futures::future::ready(!bytes.is_empty()));
    if form != Form::Csv {
        return rows.boxed();
    }
    let names = schema.fields().iter().map(|field| csv_cell(field.name()));
    let head = if changes {
        vec!["__diff".to_owned()]
    } else {
        Vec::new()
    };
    let line = head.into_iter().chain(names).collect::<Vec<_>>().join(",");
    stream::iter([Bytes::from(format!("{line}\n"))])
        .chain(rows)
        .boxed()
}

fn result_line(form: Form, message: &str, notes: &[String]) -> Bytes {
    let value = if notes.is_empty() {
        json!({ "result": message })
    } else {
        json!({ "result": message, "notes": notes })
    };
    line(form, &value.to_string(), message)
}

fn error_line(form: Form, error: &Diagnostic) -> Bytes {
    line(
        form,
        &json!({ "error": error }).to_string(),
        &format!("ERROR {}: {error}", error.code),
    )
}

/// What the rows do not show, behind them; nothing where they are whole.
fn notice_line(form: Form, notices: &[Diagnostic]) -> Bytes {
    if notices.is_empty() {
        return Bytes::new();
    }
    let texts: Vec<String> = notices.iter().map(ToString::to_string).collect();
    let plain = format!("NOTICE: {}", texts.join("; "));
    let data = line(form, &json!({ "notices": notices }).to_string(), &plain);
    match form {
        // Of its own type: who reads messages only gets rows only.
        Form::EventStream => [Bytes::from_static(b"event: notice\n"), data]
            .concat()
            .into(),
        Form::Ndjson | Form::Csv => data,
    }
}

fn line(form: Form, json: &str, plain: &str) -> Bytes {
    Bytes::from(match form {
        Form::Ndjson => format!("{json}\n"),
        Form::EventStream => format!("data: {json}\n\n"),
        Form::Csv => format!("{}\n", csv_cell(plain)),
    })
}

/// Writes batches in the form that was asked for.
struct RowEncoder {
    form: Form,
    json: JsonEncoder,
}

impl RowEncoder {
    fn new(form: Form, schema: &Schema, _changes: bool) -> Self {
        Self {
            form,
            json: JsonEncoder::new(schema),
        }
    }

    /// The rows; with `diff` each with its sign (`Some(None)`: all are +1).
    fn rows(&self, batch: &RecordBatch, diff: Option<Option<&arrow::array::Int8Array>>) -> Bytes {
        let sign = |row: usize| diff.map(|diff| diff.map_or(1, |diff| diff.value(row)));
        let mut out = Vec::new();
        if self.form == Form::Csv {
            self.csv(batch, sign, &mut out);
            return out.into();
        }
        let rows = self.json.rows(batch.columns());
        for row in 0..batch.num_rows() {
            if self.form == Form::EventStream {
                out.extend_from_slice(b"data: ");
            }
            match sign(row) {
                Some(sign) => {
                    out.extend_from_slice(format!("{{\"diff\":{sign},\"row\":").as_bytes());
                    rows.write(row, &mut out);
                    out.push(b'}');
                }
                None => rows.write(row, &mut out),
            }
            out.extend_from_slice(if self.form == Form::EventStream {
                b"\n\n"
            } else {
                b"\n"
            });
        }
        out.into()
    }

    fn csv(&self, batch: &RecordBatch, sign: impl Fn(usize) -> Option<i8>, out: &mut Vec<u8>) {
        let format = FormatOptions::default();
        let formatters: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &format))
            .collect();
        for row in 0..batch.num_rows() {
            let mut cells = Vec::with_capacity(formatters.len() + 1);
            cells.extend(sign(row).map(|sign| sign.to_string()));
            for (column, formatter) in batch.columns().iter().zip(&formatters) {
                cells.push(match formatter {
                    _ if column.is_null(row) => String::new(),
                    _ if column.data_type() == &DataType::Utf8View => {
                        csv_text(column.as_string_view().value(row))
                    }
                    _ if column.data_type() == &DataType::BinaryView => {
                        csv_text(json_value(column, row).trim_matches('"'))
                    }
                    _ if column.data_type().is_nested() => csv_cell(&json_value(column, row)),
                    Ok(formatter) => csv_cell(&formatter.value(row).to_string()),
                    Err(_) => String::new(),
                });
            }
            out.extend_from_slice(cells.join(",").as_bytes());
            out.push(b'\n');
        }
    }
}

/// A value as it stands in JSON.
fn json_value(column: &ArrayRef, row: usize) -> String {
    let field = Field::new("", column.data_type().clone(), true);
    let encoder = JsonEncoder::new(&Schema::new(vec![field]));
    let mut object = Vec::new();
    encoder
        .rows(std::slice::from_ref(column))
        .write(row, &mut object);
    let object = String::from_utf8_lossy(&object);
    let text = object.strip_prefix("{\"\":");
    text.and_then(|text| text.strip_suffix('}'))
        .unwrap_or_default()
        .to_owned()
}

/// An empty text is quoted: NULL is not.
fn csv_text(text: &str) -> String {
    if text.is_empty() {
        "\"\"".to_owned()
    } else {
        csv_cell(text)
    }
}

fn csv_cell(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}

/// The views that are still reading what was there when they began, and how far they are.
async fn filling(
    State(server): State<Server>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Response {
    if let Err((status, error)) = check_site(&headers) {
        return refusal(status, &error);
    }
    let caller = caller_of(&extensions);
    let objects = server.inner.objects();
    let may_see = |view: &&String| {
        let relation = objects.relation(view);
        relation.is_none_or(|relation| Inner::may_see(caller.as_deref(), relation))
    };
    let views = server.inner.backlogs.views();
    let views = views.iter().filter(may_see);
    let filling = views.filter_map(|view| server.inner.filling(view));
    Json(filling.collect::<Vec<_>>()).into_response()
}

async fn catalog(
    State(server): State<Server>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Response {
    if let Err((status, error)) = check_site(&headers) {
        return refusal(status, &error);
    }
    let caller = caller_of(&extensions);
    let objects = server.inner.objects();
    let seen = objects
        .relations()
        .filter(|relation| Inner::may_see(caller.as_deref(), relation));
    let relations = seen.map(|relation| CatalogObject {
        name: relation.name().to_owned(),
        kind: relation.identity.kind.word().to_owned(),
        columns: columns(&relation.schema),
    });
    let functions = objects.functions().map(|function| CatalogObject {
        name: function.identity.name.clone(),
        kind: function.identity.kind.word().to_owned(),
        columns: Vec::new(),
    });
    let objects: Vec<CatalogObject> = relations.chain(functions).collect();
    Json(objects).into_response()
}
