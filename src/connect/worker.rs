//! A worker's REST interface: requests, and errors in the worker's own words.

use anyhow::{Context, Result};
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use crate::config;
use crate::elsewhere::{self, Wanted};
use crate::exit::Failure;
use crate::login::LoginArgs;
use crate::screen::line;

/// A worker's REST interface.
pub(super) struct Worker {
    base: Url,
    http: reqwest::Client,
}

impl Worker {
    pub(super) fn new(address: &str, login: &LoginArgs) -> Result<Self> {
        let text = if address.contains("://") {
            address.to_owned()
        } else {
            format!("http://{address}")
        };
        let base = Url::parse(&text)
            .ok()
            .filter(|url| !url.cannot_be_a_base())
            .with_context(|| {
                format!("--server {address}: expected HOST:PORT, for example 127.0.0.1:8083")
            })?;
        Ok(Self {
            base,
            http: login.client(address)?,
        })
    }

    /// A path below the base; names are escaped.
    pub(super) fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    pub(super) async fn call(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
    ) -> Result<Value> {
        self.send(method, self.url(path), body).await
    }

    /// Sends a request; the answer, null where it has no body. Of an error, the worker's own words.
    pub(super) async fn send(
        &self,
        method: Method,
        url: Url,
        body: Option<&Value>,
    ) -> Result<Value> {
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let nobody = || elsewhere::explain(self.base.as_str(), Wanted::Connect);
        let Ok(response) = request.send().await else {
            return Err(nobody().await.into());
        };
        let status = response.status();
        let Ok(text) = response.text().await else {
            return Err(nobody().await.into());
        };
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        if status.is_success() {
            return Ok(value);
        }
        let words = match value["message"].as_str() {
            Some(message) => message.to_owned(),
            None if status == StatusCode::NOT_FOUND => return Err(nobody().await.into()),
            None => format!("{} answered {status}: {}", self.base, text.trim()),
        };
        match status {
            StatusCode::NOT_FOUND => Err(Failure::NotFound(words).into()),
            status if status.is_server_error() => Err(Failure::Server(words).into()),
            _ => Err(anyhow::Error::msg(words)),
        }
    }

    pub(super) async fn names(&self) -> Result<Vec<String>> {
        let names = self.call(Method::GET, &["connectors"], None).await?;
        let mut names: Vec<String> = serde_json::from_value(names)?;
        names.sort();
        Ok(names)
    }

    /// Fails where there is no such connector, with the nearest.
    pub(super) async fn known(&self, name: &str) -> Result<()> {
        let names = self.names().await?;
        if names.iter().any(|known| known == name) {
            return Ok(());
        }
        let help = match config::nearest(name, names.iter().map(String::as_str)) {
            Some(near) => format!(", did you mean {near}?"),
            None => "; `thalweg connect list` shows what there is".to_owned(),
        };
        Err(Failure::NotFound(format!("connector {name} does not exist{help}")).into())
    }

    pub(super) async fn turn(&self, name: &str, action: &str, done: &str) -> Result<()> {
        self.known(name).await?;
        self.call(Method::PUT, &["connectors", name, action], None)
            .await?;
        line(format!("connector {name} {done}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_in_paths() {
        let login = LoginArgs::default();
        let worker = Worker::new("127.0.0.1:8083", &login).expect("an address");
        let url = worker.url(&["connectors", "a/b ?", "status"]);
        assert_eq!(
            url.as_str(),
            "http://127.0.0.1:8083/connectors/a%2Fb%20%3F/status"
        );
    }
}
