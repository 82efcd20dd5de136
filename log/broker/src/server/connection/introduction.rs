//! The beginning of a connection where clients must say who they are, and what they say anew later on (KIP-368).

use bytes::Bytes;
use log_protocol::api::api_versions::ApiVersionsResponse;
use log_protocol::{ApiKey, ErrorCode, Request, RequestError, Response, decode_request};
use metrics::counter;
use tokio::io::AsyncRead;
use tokio::time::{Duration, Instant};
use tracing::warn;

use super::{Connection, End};
use crate::api;
use crate::server::session::{self, Outcome};
use crate::server::sink::Sink;

impl<R: AsyncRead + Unpin, W: Sink> Connection<R, W> {
    /// Whether a client that is known says anew who it is (KIP-368).
    pub(super) fn introduces_again(&self, frame: &Bytes) -> bool {
        let api = frame.first_chunk().map(|code| i16::from_be_bytes(*code));
        !self.listener.mechanisms.is_empty() && api == Some(ApiKey::SaslHandshake.code())
    }

    /// Answers one frame of somebody who has not said who they are; false when the connection is to end afterwards.
    pub(super) async fn introduce(&mut self, frame: Bytes) -> Result<bool, End> {
        if self.session.takes_bare_tokens() {
            let outcome = self.token(frame).await?;
            if let Outcome::Continue(token) | Outcome::Known(_, token, _) = &outcome {
                let size = i32::try_from(token.len()).unwrap_or(i32::MAX);
                let size = Bytes::copy_from_slice(&size.to_be_bytes());
                self.outgoing.push(vec![size.into(), token.clone().into()]);
            }
            return Ok(self.learn(outcome));
        }
        let api = frame.first_chunk().map(|code| i16::from_be_bytes(*code));
        let is_introduction = [
            ApiKey::ApiVersions,
            ApiKey::SaslHandshake,
            ApiKey::SaslAuthenticate,
        ]
        .iter()
        .any(|known| Some(known.code()) == api);
        if !is_introduction {
            let reason = "its request is for those who have said who they are";
            return Err(End::Unknown(reason.to_owned()));
        }
        let (header, request) = match decode_request(frame) {
            Ok(decoded) => decoded,
            Err(RequestError::Unsupported(header)) if header.api() == Some(ApiKey::ApiVersions) => {
                let response = Response::ApiVersions(ApiVersionsResponse::unsupported_version());
                self.respond(&header, &response)?;
                return Ok(true);
            }
            Err(error) => return Err(End::Unknown(error.to_string())),
        };
        self.count(request.api_key());
        self.context.api_version = header.api_version;
        match request {
            Request::SaslHandshake(request) => {
                let version = header.api_version;
                let response = self.session.handshake(&self.listener, version, &request);
                let goes_on = response.error_code == ErrorCode::None;
                if self.known_by.is_none() {
                    self.known_by = Some(Instant::now() + self.authentication_max());
                }
                self.respond(&header, &response.into())?;
                Ok(goes_on)
            }
            Request::SaslAuthenticate(request) => {
                let outcome = self.token(request.auth_bytes).await?;
                self.respond(&header, &session::answer(&outcome).into())?;
                Ok(self.learn(outcome))
            }
            other => {
                let response = api::handle(&self.context, other).await;
                self.respond(&header, &response)?;
                Ok(true)
            }
        }
    }

    /// Takes a token. One that is wrong is answered after a pause, in which its connection counts among the strangers.
    async fn token(&mut self, token: Bytes) -> Result<Outcome, End> {
        let outcome = self.session.token(&self.context.services, token).await;
        if let Outcome::Failed(error) = &outcome {
            let host = self.context.host();
            warn!(host, %error, listener = self.listener.name, "authentication failed");
            counter!("thalweg_log_authentications_failed_total").increment(1);
            let pause = self.context.services.config.authentication_failure_delay;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = self.stopped.wait_for(|stopped| *stopped) => return Err(End::Closed),
            }
        }
        Ok(outcome)
    }

    fn authentication_max(&self) -> Duration {
        self.context.services.config.authentication_max
    }

    /// Remembers who it is; false when the connection is to end.
    fn learn(&mut self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Continue(_) => true,
            Outcome::Failed(_) => false,
            Outcome::Known(principal, _, lifetime) => {
                // Nobody becomes somebody else on the way.
                if self.is_known && self.context.principal != principal {
                    return false;
                }
                self.is_known = true;
                self.known_until = lifetime.map(|lifetime| Instant::now() + lifetime);
                self.context.principal = principal;
                self.stranger = None;
                self.known_by = None;
                true
            }
        }
    }
}
