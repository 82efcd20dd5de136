//! The broker's users and rules for what is served beside it: who a caller over HTTP is, and whether it may do what it asks.
//!
//! ```text
//! Authorization: Basic …   user, password ─▶ as SASL's PLAIN, whichever mechanism the password was made for
//! Authorization: Bearer …  token          ─▶ as OAUTHBEARER
//!                                         └▶ Caller ─▶ may(action, object) by the same rules as a request of Kafka's
//! ```
//! A connection says who it is with every request, and to look at a password takes milliseconds on purpose. So one that was right is
//! remembered, as a keyed hash, until any password or rule changes.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use thiserror::Error;
use tracing::{info, warn};

use crate::access::nonce;
use crate::authorize::{Resource, authorize_as};
use crate::clock::wall_ms;
use crate::security::acl::Operation;
use crate::security::sasl::{Exchange, Mechanism, SaslError, Step};
use crate::security::scram::hmac_sha256;
use crate::security::{Principal, SecurityView};
use crate::services::Services;

/// Passwords that are remembered; at one more all are forgotten.
const REMEMBERED_MAX: usize = 1000;

/// What is done with an [`Object`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read records.
    Read,
    /// Write records.
    Write,
    /// Make it.
    Create,
    /// Remove it.
    Delete,
    /// Change it.
    Alter,
    /// See that it is there, and how it is.
    Describe,
}

impl Action {
    fn operation(self) -> Operation {
        match self {
            Self::Read => Operation::Read,
            Self::Write => Operation::Write,
            Self::Create => Operation::Create,
            Self::Delete => Operation::Delete,
            Self::Alter => Operation::Alter,
            Self::Describe => Operation::Describe,
        }
    }
}

/// What is guarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object<'a> {
    /// A topic, whether it exists or not.
    Topic(&'a str),
    /// All of it.
    Cluster,
}

/// Somebody who is known by a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    principal: Principal,
    host: String,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.principal.fmt(f)
    }
}

/// Who calls is not known. The words do not say whether the user exists.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct NotKnown(String);

/// Who calls, and what it may. Clones share what they remember.
#[derive(Clone)]
pub struct Guard {
    services: Arc<Services>,
    remembered: Arc<Mutex<Remembered>>,
}

/// Passwords that were right under one view of users and rules.
struct Remembered {
    key: String,
    view: Arc<SecurityView>,
    proofs: HashSet<Vec<u8>>,
}

impl Remembered {
    fn proof(&self, user: &str, password: &str) -> Vec<u8> {
        let length = user.len().to_be_bytes();
        let said = [&length, user.as_bytes(), password.as_bytes()].concat();
        hmac_sha256(self.key.as_bytes(), &said)
    }

    /// Forgets all where another view holds now.
    fn turn_to(&mut self, view: &Arc<SecurityView>) {
        if !Arc::ptr_eq(&self.view, view) {
            self.view = Arc::clone(view);
            self.proofs.clear();
        }
    }
}

impl Guard {
    pub(crate) fn new(services: Arc<Services>) -> Self {
        let remembered = Remembered {
            key: nonce(),
            view: services.topics.security(),
            proofs: HashSet::new(),
        };
        Self {
            services,
            remembered: Arc::new(Mutex::new(remembered)),
        }
    }

    /// Who the header `Authorization` says; `host` is the address that it comes from. A refusal takes a while.
    ///
    /// # Errors
    /// [`NotKnown`].
    pub async fn caller(&self, authorization: &str, host: &str) -> Result<Caller, NotKnown> {
        let malformed = || NotKnown("the header Authorization is neither Basic nor Bearer".into());
        let (scheme, rest) = authorization.trim().split_once(' ').ok_or_else(malformed)?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.with_token(rest, host).await;
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(malformed());
        }
        let decoded = STANDARD.decode(rest).ok();
        let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        match text.as_deref().and_then(|text| text.split_once(':')) {
            Some((user, password)) => self.with_password(user, password, host).await,
            None => Err(NotKnown("the Basic credentials are malformed".to_owned())),
        }
    }

    /// Whether passwords are taken: a mechanism of Kafka's that has them is enabled.
    pub fn takes_passwords(&self) -> bool {
        self.enabled().any(|one| one != Mechanism::OauthBearer)
    }

    /// Whether tokens are taken: OAUTHBEARER is enabled.
    pub fn takes_tokens(&self) -> bool {
        self.enabled().any(|one| one == Mechanism::OauthBearer)
    }

    fn enabled(&self) -> impl Iterator<Item = Mechanism> {
        let names = self.services.config.security.mechanisms.iter();
        names.filter_map(|name| Mechanism::from_name(name))
    }

    async fn with_password(
        &self,
        user: &str,
        password: &str,
        host: &str,
    ) -> Result<Caller, NotKnown> {
        if !self.takes_passwords() {
            return Err(NotKnown("passwords are not taken here".to_owned()));
        }
        let view = self.services.topics.security();
        let proof = {
            let mut remembered = self.remembered.lock();
            remembered.turn_to(&view);
            let proof = remembered.proof(user, password);
            if remembered.proofs.contains(&proof) {
                return Ok(caller(user, host));
            }
            proof
        };
        let token = [b"\0", user.as_bytes(), b"\0", password.as_bytes()].concat();
        let known = self.prove(Mechanism::Plain, token, host).await?;
        let mut remembered = self.remembered.lock();
        if Arc::ptr_eq(&remembered.view, &view) {
            if remembered.proofs.len() >= REMEMBERED_MAX {
                remembered.proofs.clear();
            }
            remembered.proofs.insert(proof);
        }
        Ok(known)
    }

    async fn with_token(&self, token: &str, host: &str) -> Result<Caller, NotKnown> {
        if !self.takes_tokens() {
            return Err(NotKnown("tokens are not taken here".to_owned()));
        }
        let token = format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}");
        self.prove(Mechanism::OauthBearer, token.into_bytes(), host)
            .await
    }

    async fn prove(
        &self,
        mechanism: Mechanism,
        token: Vec<u8>,
        host: &str,
    ) -> Result<Caller, NotKnown> {
        let services = &self.services;
        let credentials = services.access.credentials(services.topics.security());
        let turn = Arc::clone(&services.access.hashing).acquire_owned().await;
        let stepped = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            Exchange::of(mechanism).step(&token, &credentials, &nonce(), wall_ms())
        });
        let error = match stepped.await {
            Ok(Ok(Step::Done { user, .. })) => {
                let caller = caller(&user, host);
                info!(principal = %caller, "authenticated over HTTP");
                return Ok(caller);
            }
            Ok(Err(error)) => error,
            // A panic there was reported by its hook; neither mechanism has a second step.
            Ok(Ok(Step::Continue(..))) | Err(_) => SaslError::Refused,
        };
        warn!(host, %error, "authentication over HTTP failed");
        tokio::time::sleep(services.config.authentication_failure_delay).await;
        Err(NotKnown(error.to_string()))
    }

    /// Whether the caller may do that.
    pub fn may(&self, caller: &Caller, action: Action, object: Object<'_>) -> bool {
        let resource = match object {
            Object::Topic(name) => Resource::Topic(name),
            Object::Cluster => Resource::Cluster,
        };
        authorize_as(
            &self.services,
            &caller.principal,
            &caller.host,
            action.operation(),
            resource,
        )
    }
}

fn caller(user: &str, host: &str) -> Caller {
    Caller {
        principal: Principal::user(user),
        host: host.to_owned(),
    }
}
