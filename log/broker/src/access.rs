//! What the broker knows of who may come in and how much each takes: users of the configuration, super users, whether rules are looked at.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::config::{BrokerConfig, TokenConfig};
use crate::security::SecurityView;
use crate::security::quota::Meters;
use crate::security::sasl::Credentials;
use crate::security::scram::{ScramCredential, ScramMechanism, Shape, salt_of};
use crate::security::token::TokenRules;

/// Passwords that are hashed at a time: what strangers can make the broker work on.
const HASHING_MAX: usize = 2;

/// Access to one broker.
pub(crate) struct Access {
    configured: Arc<BTreeMap<String, BTreeMap<ScramMechanism, ScramCredential>>>,
    secret: Arc<[u8]>,
    tokens: Option<Arc<TokenRules>>,
    super_users: HashSet<String>,
    /// Whether rules are looked at.
    pub(crate) has_authorizer: bool,
    /// Whether everyone may do what no rule is about.
    pub(crate) allows_unruled: bool,
    /// What clients took lately.
    pub(crate) meters: Meters,
    /// Whose password is being looked at.
    pub(crate) hashing: Arc<Semaphore>,
}

impl Access {
    /// As it is configured, with the keys of [`tokens`] and the folder's secret. Hashes the passwords of the configuration.
    pub(crate) fn of(
        config: &BrokerConfig,
        tokens: Option<Arc<TokenRules>>,
        secret: Arc<[u8]>,
    ) -> Self {
        let security = &config.security;
        let hashed = |user: &str, password: &str| {
            let credential = |mechanism| {
                // The same at each start, as that of a user that does not exist.
                let salt = salt_of(mechanism, &secret, user, Shape::OWN.salt_bytes());
                ScramCredential::of_password(mechanism, password.as_bytes(), salt)
            };
            let both = ScramMechanism::ALL.into_iter();
            both.map(|mechanism| (mechanism, credential(mechanism)))
                .collect()
        };
        let configured = security
            .users
            .iter()
            .map(|(user, password)| (user.clone(), hashed(user, &password.0)))
            .collect();
        Self {
            configured: Arc::new(configured),
            secret,
            tokens,
            super_users: security.super_users.iter().cloned().collect(),
            has_authorizer: security.has_authorizer(&config.listeners),
            allows_unruled: security.allow_everyone_if_no_acl_found,
            meters: Meters::default(),
            hashing: Arc::new(Semaphore::new(HASHING_MAX)),
        }
    }

    /// The passwords, with those that the metadata log keeps.
    pub(crate) fn credentials(&self, stored: Arc<SecurityView>) -> Credentials {
        Credentials::new(
            Arc::clone(&self.configured),
            stored,
            Arc::clone(&self.secret),
            self.tokens.clone(),
        )
    }

    /// Whether nothing is kept from this principal.
    pub(crate) fn is_super(&self, principal: &str) -> bool {
        self.super_users.contains(principal)
    }
}

/// What tokens must be, where any are taken: reads their keys.
///
/// # Errors
/// If there are keys to be read, and they cannot be used.
pub(crate) fn tokens(config: &TokenConfig) -> Result<Option<Arc<TokenRules>>, String> {
    if config.keys.is_empty() {
        return Ok(None);
    }
    let path = config.keys.trim_start_matches("file://");
    let keys = std::fs::read_to_string(path).map_err(|error| {
        format!("sasl.oauthbearer.jwks.endpoint.url: cannot read {path}: {error}")
    })?;
    let issuer = Some(config.issuer.clone()).filter(|issuer| !issuer.is_empty());
    let (audience, claim) = (config.audience.clone(), config.user_claim.clone());
    TokenRules::new(&keys, issuer, audience, claim)
        .map(|rules| Some(Arc::new(rules)))
        .map_err(|error| error.to_string())
}

/// Random text for one exchange: 256 bits less the twelve that mark a UUID.
pub(crate) fn nonce() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}
