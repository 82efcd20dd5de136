//! What the shell makes of answers, ours and others.

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::net::TcpListener;

use super::*;

/// A client of a server that gives this answer to everything.
async fn client(answer: impl Fn() -> Response + Clone + Send + Sync + 'static) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let routes = Router::new().route("/v1/query", post(move || async move { answer() }));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Client::new(&address)
}

fn with_headers(kind: &'static str, body: &'static str) -> Response {
    let columns = r#"[{"name":"diff","type":"BIGINT"},{"name":"row","type":"JSON"}]"#;
    let headers = [("thalweg-columns", columns), ("thalweg-rows", kind)];
    (headers, body).into_response()
}

async fn rows(client: &Client) -> (bool, Vec<Row>) {
    let Ok(Outcome::Rows(mut rows)) = client.query("SELECT 1").await else {
        panic!("no rows");
    };
    let mut all = Vec::new();
    while let Next::Row(row) = rows.next().await.expect("a row") {
        all.push(row);
    }
    (rows.push, all)
}

#[test]
fn what_was_written_is_waited_for_unless_the_user_says_otherwise() {
    let mut client = Client::new("127.0.0.1:1");
    assert!(client.settings().is_empty());
    client.has_written();
    assert_eq!(client.settings()["read_your_writes"], json!("1s"));
    client.set("Read_Your_Writes".into(), "off".into());
    assert_eq!(client.settings().len(), 1);
}

#[tokio::test]
async fn columns_named_diff_and_row_are_columns() {
    let body = "{\"diff\":-4,\"row\":{\"a\":1}}\n{\"diff\":1,\"row\":null}\n";
    let (push, all) = rows(&client(move || with_headers("rows", body)).await).await;
    assert!(!push);
    assert_eq!(all[0].diff, None);
    assert_eq!(all[0].values, [json!(-4), json!({"a": 1})]);
    assert_eq!(all[1].values, [json!(1), Value::Null]);
}

#[tokio::test]
async fn a_change_has_its_sign_outside_of_its_columns() {
    let body = "{\"diff\":-1,\"row\":{\"diff\":1,\"row\":{\"diff\":1}}}\n";
    let (push, all) = rows(&client(move || with_headers("changes", body)).await).await;
    assert!(push);
    assert_eq!(all[0].diff, Some(-1));
    assert_eq!(all[0].values, [json!(1), json!({"diff": 1})]);
}

#[tokio::test]
async fn changes_are_known_before_the_first_one_comes() {
    let (push, all) = rows(&client(|| with_headers("changes", "")).await).await;
    assert!(push);
    assert!(all.is_empty());
}

#[tokio::test]
async fn an_answer_that_is_not_ours_is_shown_with_its_status() {
    let answers: [(StatusCode, &str, &str); 4] = [
        (
            StatusCode::PAYLOAD_TOO_LARGE,
            "length limit exceeded",
            "413 Payload Too Large: length limit exceeded",
        ),
        (StatusCode::NOT_FOUND, "", "404 Not Found"),
        (
            StatusCode::BAD_GATEWAY,
            "<html>\n<b>no</b>",
            "502 Bad Gateway: <html>\n<b>no</b>",
        ),
        (StatusCode::OK, "[1, 2]", "200 OK: [1, 2]"),
    ];
    for (status, body, expected) in answers {
        let client = client(move || (status, body).into_response()).await;
        let Err(error) = client.query("SELECT 1").await else {
            panic!("{status} was taken");
        };
        let expected = format!("{} answered {expected}", client.address());
        assert_eq!(error.to_string(), expected);
        let server = matches!(error.downcast_ref(), Some(Failure::Server(_)));
        assert_eq!(server, !status.is_client_error(), "{status}");
    }
}

#[tokio::test]
async fn no_server_is_one_short_sentence() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let Err(error) = Client::new(&address).query("SELECT 1").await else {
        panic!("nobody answered");
    };
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("http://{address} does not answer: ")),
        "{text}"
    );
    assert!(text.to_lowercase().contains("connection refused"), "{text}");
}

#[tokio::test]
async fn notices_are_told_apart_from_rows_of_that_name() {
    let notice = r#"{"notices":[{"code":"TW2101","severity":"warning","sqlstate":"01000","message":"1 of 2"}]}"#;
    let body = format!("{{\"notices\":\"a text\"}}\n{notice}\n");
    let client = client(move || {
        let columns = [("thalweg-columns", r#"[{"name":"notices","type":"TEXT"}]"#)];
        (columns, body.clone()).into_response()
    })
    .await;
    let Ok(Outcome::Rows(mut rows)) = client.query("SELECT 1").await else {
        panic!("no rows");
    };
    let Ok(Next::Row(row)) = rows.next().await else {
        panic!("a text is a row");
    };
    assert_eq!(row.values, [serde_json::json!("a text")]);
    let Ok(Next::Notices(notices)) = rows.next().await else {
        panic!("no notice");
    };
    assert_eq!(notices[0].message, "1 of 2");
    assert!(matches!(rows.next().await, Ok(Next::End)));
}
