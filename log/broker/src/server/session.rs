//! How a connection comes to know who is at its other end: the requests before all others.
//!
//! ```text
//!             ApiVersions ⟲              ApiVersions ⟲
//!  begun ── SaslHandshake ──▶ agreed ── SaslAuthenticate ⟲ ──▶ done ── its token expires ─▶ the connection ends
//!    │                          ▲                               └─ SaslHandshake (KIP-368) ─┐
//!    │                          └───────────────────────────────────────────────────────────┘
//!    └─ anything else, a failure, time over ─▶ the connection ends
//! ```
//! After a handshake of version 0 the tokens are frames by themselves, without headers (KIP-43).
//!
//! Invariants:
//! 1. Before `done` no request but these three is even decoded.
//! 2. A failure is told once, after a pause, and ends the connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use log_protocol::ErrorCode;
use log_protocol::api::sasl_authenticate::SaslAuthenticateResponse;
use log_protocol::api::sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse};
use tracing::info;

use super::listener::Listener;
use crate::access::nonce;
use crate::clock::wall_ms;
use crate::config::millis_i64;
use crate::security::Principal;
use crate::security::sasl::{Exchange, Mechanism, SaslError, Step};
use crate::services::Services;

/// Where an authentication is.
#[derive(Debug)]
pub(super) enum Session {
    /// No mechanism was agreed upon.
    Begun,
    /// Tokens of a mechanism are awaited.
    Agreed {
        /// The exchange; none while a token is looked at.
        exchange: Option<Exchange>,
        /// Whether tokens come without headers.
        bare: bool,
    },
    /// It is known who is at the other end, or nobody asks.
    Done,
}

/// What came of a token.
pub(super) enum Outcome {
    /// The exchange goes on with this answer.
    Continue(Bytes),
    /// It is known who it is, for so long; this is the last answer.
    Known(Principal, Bytes, Option<Duration>),
    /// It did not succeed.
    Failed(SaslError),
}

impl Session {
    /// Of a listener.
    pub(super) fn of(listener: &Listener) -> Self {
        if listener.mechanisms.is_empty() {
            Self::Done
        } else {
            Self::Begun
        }
    }

    /// Whether the next frame is a token by itself.
    pub(super) fn takes_bare_tokens(&self) -> bool {
        matches!(self, Self::Agreed { bare: true, .. })
    }

    /// Whether other requests are answered.
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Agrees on a mechanism, or not.
    pub(super) fn handshake(
        &mut self,
        listener: &Listener,
        version: i16,
        request: &SaslHandshakeRequest,
    ) -> SaslHandshakeResponse {
        let offered = listener.mechanisms.iter();
        let mechanisms = offered.map(|one| one.name().to_owned()).collect();
        let chosen = Mechanism::from_name(&request.mechanism)
            .filter(|mechanism| listener.mechanisms.contains(mechanism));
        let error_code = match (&*self, chosen) {
            (Self::Begun | Self::Done, Some(mechanism)) if !listener.mechanisms.is_empty() => {
                *self = Self::Agreed {
                    exchange: Some(Exchange::of(mechanism)),
                    bare: version == 0,
                };
                ErrorCode::None
            }
            (Self::Begun | Self::Done, None) => ErrorCode::UnsupportedSaslMechanism,
            _ => ErrorCode::IllegalSaslState,
        };
        SaslHandshakeResponse {
            error_code,
            mechanisms,
        }
    }

    /// Takes a token. Hashing a password waits for its turn, on a thread that may wait.
    pub(super) async fn token(&mut self, services: &Arc<Services>, token: Bytes) -> Outcome {
        let Self::Agreed { exchange, .. } = self else {
            return Outcome::Failed(SaslError::Malformed(
                "first",
                "no mechanism was agreed upon",
            ));
        };
        let Some(begun) = exchange.take() else {
            return Outcome::Failed(SaslError::Refused);
        };
        let credentials = services.access.credentials(services.topics.security());
        let turn = Arc::clone(&services.access.hashing).acquire_owned().await;
        let stepped = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            begun.step(&token, &credentials, &nonce(), wall_ms())
        });
        match stepped.await {
            Ok(Ok(Step::Continue(next, answer))) => {
                *exchange = Some(next);
                Outcome::Continue(answer.into())
            }
            Ok(Ok(Step::Done {
                user,
                answer,
                expires_ms,
            })) => {
                *self = Self::Done;
                let principal = Principal::user(&user);
                info!(%principal, "authenticated");
                let lifetime = expires_ms.map(|expires_ms| {
                    let left_ms = expires_ms.saturating_sub(wall_ms());
                    Duration::from_millis(u64::try_from(left_ms).unwrap_or(0).max(1))
                });
                Outcome::Known(principal, answer.into(), lifetime)
            }
            Ok(Err(error)) => Outcome::Failed(error),
            // A panic there was reported by its hook.
            Err(_) => Outcome::Failed(SaslError::Refused),
        }
    }
}

/// The answer to a token that came in a request.
pub(super) fn answer(outcome: &Outcome) -> SaslAuthenticateResponse {
    match outcome {
        Outcome::Continue(token) => SaslAuthenticateResponse {
            auth_bytes: token.clone(),
            ..SaslAuthenticateResponse::default()
        },
        Outcome::Known(_, token, lifetime) => SaslAuthenticateResponse {
            auth_bytes: token.clone(),
            session_lifetime_ms: lifetime.map_or(0, millis_i64),
            ..SaslAuthenticateResponse::default()
        },
        Outcome::Failed(error) => SaslAuthenticateResponse {
            error_code: ErrorCode::SaslAuthenticationFailed,
            error_message: Some(error.to_string()),
            ..SaslAuthenticateResponse::default()
        },
    }
}
