//! Who a command is at a server that asks over HTTP.

use std::fmt;

use anyhow::{Context, Result, bail};
use clap::Args;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};

/// Where the password may be, so that no list of processes shows it.
const PASSWORD: &str = "THALWEG_PASSWORD";

/// What a command says of itself.
#[derive(Clone, Default, Args)]
pub(crate) struct LoginArgs {
    /// User at a server that asks who calls; the password may be in THALWEG_PASSWORD instead
    #[arg(
        long,
        value_name = "USER[:PASSWORD]",
        env = "THALWEG_USER",
        hide_env_values = true,
        global = true
    )]
    user: Option<String>,
    /// A bearer token in the place of user and password
    #[arg(
        long,
        value_name = "TOKEN",
        env = "THALWEG_TOKEN",
        hide_env_values = true,
        global = true
    )]
    token: Option<String>,
}

impl fmt::Debug for LoginArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginArgs").finish_non_exhaustive()
    }
}

impl LoginArgs {
    /// A client that says so with every request to `address`.
    ///
    /// # Errors
    /// A user without a password, what no header can hold, or an address over TLS, which this client does not speak.
    pub(crate) fn client(&self, address: &str) -> Result<reqwest::Client> {
        if address.starts_with("https://") {
            bail!(
                "{address}: this command speaks HTTP without TLS; name a listener that is not encrypted, reach it through a tunnel, or \
                 use curl"
            );
        }
        let mut headers = HeaderMap::new();
        if let Some(authorization) = self.authorization()? {
            headers.insert(AUTHORIZATION, authorization);
        }
        let client = reqwest::Client::builder().default_headers(headers);
        client.build().context("make an HTTP client")
    }

    fn authorization(&self) -> Result<Option<HeaderValue>> {
        let nowhere = reqwest::Client::new().get("http://127.0.0.1/");
        let request = match (&self.token, &self.user) {
            (Some(token), _) => nowhere.bearer_auth(token),
            (None, Some(user)) => {
                let (user, password) = match user.split_once(':') {
                    Some((user, password)) => (user, password.to_owned()),
                    None => match std::env::var(PASSWORD) {
                        Ok(password) => (user.as_str(), password),
                        Err(_) => bail!(
                            "--user {user}: its password is missing; set {PASSWORD}, or say --user {user}:PASSWORD"
                        ),
                    },
                };
                nowhere.basic_auth(user, Some(password))
            }
            (None, None) => return Ok(None),
        };
        let request = request.build().context("--user or --token")?;
        let mut authorization = request.headers().get(AUTHORIZATION).cloned();
        if let Some(authorization) = &mut authorization {
            authorization.set_sensitive(true);
        }
        Ok(authorization)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_or_a_token_go_into_the_header() {
        let says = |user: Option<&str>, token: Option<&str>| {
            let login = LoginArgs {
                user: user.map(str::to_owned),
                token: token.map(str::to_owned),
            };
            let header = login.authorization().expect("sound")?;
            Some(header.to_str().expect("text").to_owned())
        };
        // RFC 7617's own example.
        let aladdin = says(Some("Aladdin:open sesame"), None);
        assert_eq!(
            aladdin.as_deref(),
            Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
        );
        assert_eq!(
            says(Some("anna:x"), Some("a.b.c")).as_deref(),
            Some("Bearer a.b.c")
        );
        assert_eq!(says(None, None), None);
        let tls = LoginArgs::default().client("https://db:1");
        assert!(
            tls.expect_err("refused")
                .to_string()
                .contains("without TLS")
        );
    }
}
