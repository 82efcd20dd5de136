//! The exchange by which a client says who it is: PLAIN, SCRAM and OAUTHBEARER (RFC 4422, 4616, 5802, 7628). PURE: passwords come in as
//! [`Credentials`], and so do nonces and the time.
//!
//! ```text
//!  PLAIN, OAUTHBEARER   token ─▶ done
//!  SCRAM                token ─▶ challenge ─ token ─▶ done
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::SecurityView;
use super::scram::{Challenge, ClientFirst, ScramCredential, ScramError, ScramMechanism};
use super::token::{TokenError, TokenRules};

/// How a client says who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mechanism {
    /// The password itself, which only an encrypted connection hides (RFC 4616).
    Plain,
    /// A proof that the password is known, with SHA-256 (RFC 7677).
    ScramSha256,
    /// The same with SHA-512.
    ScramSha512,
    /// A token that somebody else has signed (RFC 7628).
    OauthBearer,
}

impl Mechanism {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [
        Self::Plain,
        Self::ScramSha256,
        Self::ScramSha512,
        Self::OauthBearer,
    ];

    /// As SASL names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => ScramMechanism::Sha256.name(),
            Self::ScramSha512 => ScramMechanism::Sha512.name(),
            Self::OauthBearer => "OAUTHBEARER",
        }
    }

    /// Whether its token is a secret that whoever reads it may use.
    pub(crate) fn is_bare(self) -> bool {
        matches!(self, Self::Plain | Self::OauthBearer)
    }

    /// By its name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// Why a client is not let in. What it is told does not say whether the user exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum SaslError {
    /// Not what the mechanism has.
    #[error("the {0} token is malformed: {1}")]
    Malformed(&'static str, &'static str),
    /// Wrong.
    #[error("authentication failed: user or password is wrong")]
    Refused,
    /// Its token lets nobody in.
    #[error("authentication failed: {0}")]
    Token(#[from] TokenError),
}

impl SaslError {
    fn of_scram(mechanism: ScramMechanism, error: ScramError) -> Self {
        match error {
            ScramError::Malformed(what) => Self::Malformed(mechanism.name(), what),
            ScramError::Refused => Self::Refused,
        }
    }
}

/// Passwords of users: those of the configuration, and those that the metadata log keeps, which go before.
#[derive(Clone)]
pub(crate) struct Credentials {
    configured: Arc<BTreeMap<String, BTreeMap<ScramMechanism, ScramCredential>>>,
    stored: Arc<SecurityView>,
    /// What the answers for users that do not exist are made of.
    secret: Arc<[u8]>,
    tokens: Option<Arc<TokenRules>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Credentials {
    /// Of these.
    pub(crate) fn new(
        configured: Arc<BTreeMap<String, BTreeMap<ScramMechanism, ScramCredential>>>,
        stored: Arc<SecurityView>,
        secret: Arc<[u8]>,
        tokens: Option<Arc<TokenRules>>,
    ) -> Self {
        Self {
            configured,
            stored,
            secret,
            tokens,
        }
    }

    fn find(&self, user: &str, mechanism: ScramMechanism) -> Option<&ScramCredential> {
        // A user that the metadata log knows is no longer the one of the configuration: its password was changed.
        let stored = self.stored.image.passwords().get(user);
        stored
            .or_else(|| self.configured.get(user))?
            .get(&mechanism)
    }

    /// What a proof is checked against, whether the user exists or not.
    fn scram(&self, user: &str, mechanism: ScramMechanism) -> ScramCredential {
        self.find(user, mechanism).cloned().unwrap_or_else(|| {
            let shape = self.stored.shape(mechanism);
            ScramCredential::of_nobody(mechanism, &self.secret, user, shape)
        })
    }

    /// Whether this is the user's password. Takes as long for a user that does not exist.
    pub(crate) fn is_password(&self, user: &str, password: &[u8]) -> bool {
        let known = ScramMechanism::ALL
            .into_iter()
            .find_map(|mechanism| Some((mechanism, self.find(user, mechanism)?)));
        match known {
            Some((mechanism, credential)) => credential.fits(mechanism, password),
            None => {
                let mechanism = ScramMechanism::Sha256;
                self.scram(user, mechanism).fits(mechanism, password);
                false
            }
        }
    }
}

/// An exchange that has begun.
#[derive(Debug)]
pub(crate) enum Exchange {
    /// Awaits the only token.
    Plain,
    /// Awaits the first of two tokens.
    Scram(ScramMechanism),
    /// Awaits the only token.
    Bearer,
    /// Awaits the second.
    Proof(Box<Challenge>, ScramMechanism),
}

/// Where a token led.
#[derive(Debug)]
pub(crate) enum Step {
    /// The client has to answer this.
    Continue(Exchange, Vec<u8>),
    /// It is known who the client is.
    Done {
        /// The user.
        user: String,
        /// What the client is to be told.
        answer: Vec<u8>,
        /// Until when it holds, ms since 1970; none: for ever.
        expires_ms: Option<i64>,
    },
}

impl Exchange {
    /// Of a mechanism.
    pub(crate) fn of(mechanism: Mechanism) -> Self {
        match mechanism {
            Mechanism::Plain => Self::Plain,
            Mechanism::ScramSha256 => Self::Scram(ScramMechanism::Sha256),
            Mechanism::ScramSha512 => Self::Scram(ScramMechanism::Sha512),
            Mechanism::OauthBearer => Self::Bearer,
        }
    }

    /// Takes the client's next token. `nonce` is random and printable. Hashes a password with PLAIN, which takes a few ms.
    ///
    /// # Errors
    /// The exchange is over.
    pub(crate) fn step(
        self,
        token: &[u8],
        credentials: &Credentials,
        nonce: &str,
        now_ms: i64,
    ) -> Result<Step, SaslError> {
        match self {
            Self::Plain => {
                let (user, password) = plain(token)?;
                if credentials.is_password(user, password) {
                    Ok(Step::Done {
                        user: user.to_owned(),
                        answer: Vec::new(),
                        expires_ms: None,
                    })
                } else {
                    Err(SaslError::Refused)
                }
            }
            Self::Scram(mechanism) => {
                let first = ClientFirst::read(token)
                    .map_err(|error| SaslError::of_scram(mechanism, error))?;
                let credential = credentials.scram(&first.user, mechanism);
                let challenge = Challenge::new(mechanism, credential, first, nonce);
                let message = challenge.message().as_bytes().to_vec();
                Ok(Step::Continue(
                    Self::Proof(Box::new(challenge), mechanism),
                    message,
                ))
            }
            Self::Bearer => {
                let (authzid, token) = bearer(token)?;
                let rules = credentials.tokens.as_ref().ok_or(SaslError::Refused)?;
                let bearer = rules.check(token, now_ms)?;
                if authzid.is_some_and(|authzid| authzid != bearer.user) {
                    let what = "nobody may act for another";
                    return Err(SaslError::Malformed("OAUTHBEARER", what));
                }
                Ok(Step::Done {
                    user: bearer.user,
                    answer: Vec::new(),
                    expires_ms: Some(bearer.expires_ms),
                })
            }
            Self::Proof(challenge, mechanism) => {
                let answer = challenge
                    .finish(token)
                    .map_err(|error| SaslError::of_scram(mechanism, error))?;
                Ok(Step::Done {
                    user: challenge.user().to_owned(),
                    answer: answer.into_bytes(),
                    expires_ms: None,
                })
            }
        }
    }
}

/// `n,[a=authzid],^Aauth=Bearer token^A…^A`, with ^A for the byte 1: who is named, and the token.
fn bearer(token: &[u8]) -> Result<(Option<&str>, &str), SaslError> {
    let malformed = |what| SaslError::Malformed("OAUTHBEARER", what);
    let text = std::str::from_utf8(token).map_err(|_| malformed("it is no UTF-8"))?;
    let (header, pairs) = text
        .split_once(",\u{1}")
        .ok_or(malformed("it has no header"))?;
    let authzid = match header.split_once(',') {
        Some(("n" | "y", "")) => None,
        Some(("n" | "y", named)) => {
            let named = named.strip_prefix("a=");
            Some(named.ok_or(malformed("its header is odd"))?)
        }
        _ => return Err(malformed("channel binding is not offered")),
    };
    let mut pairs = pairs.split('\u{1}');
    let auth = pairs.find_map(|pair| pair.strip_prefix("auth="));
    let token = auth.and_then(|auth| {
        let (scheme, token) = auth.split_once(' ')?;
        scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
    });
    token
        .map(|token| (authzid, token))
        .ok_or(malformed("it has no bearer token"))
}

/// `[authzid] NUL user NUL password`
fn plain(token: &[u8]) -> Result<(&str, &[u8]), SaslError> {
    let malformed = |what| SaslError::Malformed("PLAIN", what);
    let mut parts = token.split(|byte| *byte == 0);
    let (Some(authzid), Some(user), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed("it has no user and password"));
    };
    if !authzid.is_empty() && authzid != user {
        return Err(malformed("nobody may act for another"));
    }
    let user = std::str::from_utf8(user).map_err(|_| malformed("its user is no UTF-8"))?;
    if user.is_empty() || password.is_empty() {
        return Err(malformed("user or password is empty"));
    }
    Ok((user, password))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::SecurityImage;
    use crate::security::SecurityRecord;

    fn credential(password: &str, mechanism: ScramMechanism) -> ScramCredential {
        ScramCredential::of_password(mechanism, password.as_bytes(), b"salt".to_vec())
    }

    fn credentials() -> Credentials {
        let both = |password| {
            ScramMechanism::ALL
                .into_iter()
                .map(|mechanism| (mechanism, credential(password, mechanism)))
                .collect()
        };
        let configured = BTreeMap::from([
            ("anna".to_owned(), both("first")),
            ("bert".to_owned(), both("second")),
        ]);
        let mut image = SecurityImage::default();
        image.apply(&SecurityRecord::PasswordSet {
            user: "bert".to_owned(),
            mechanism: ScramMechanism::Sha512,
            credential: credential("changed", ScramMechanism::Sha512),
        });
        let stored = Arc::new(SecurityView::of(image));
        let keys = include_str!("token/testdata/keys.json");
        let tokens = TokenRules::new(keys, None, Vec::new(), "sub".to_owned()).expect("keys");
        let secret = b"secret".as_slice().into();
        Credentials::new(Arc::new(configured), stored, secret, Some(Arc::new(tokens)))
    }

    fn log_in(token: &[u8]) -> Result<String, SaslError> {
        match Exchange::of(Mechanism::Plain).step(token, &credentials(), "nonce", 0)? {
            Step::Done { user, .. } => Ok(user),
            Step::Continue(..) => panic!("PLAIN has one token"),
        }
    }

    #[test]
    fn plain_passwords_are_checked() {
        assert_eq!(log_in(b"\0anna\0first").as_deref(), Ok("anna"));
        assert_eq!(log_in(b"anna\0anna\0first").as_deref(), Ok("anna"));
        assert_eq!(log_in(b"\0anna\0second"), Err(SaslError::Refused));
        assert_eq!(log_in(b"\0nobody\0first"), Err(SaslError::Refused));
        for token in [
            &b""[..],
            b"anna",
            b"\0anna",
            b"\0\0first",
            b"\0anna\0",
            b"bert\0anna\0first",
            b"\0anna\0first\0more",
        ] {
            assert!(
                matches!(log_in(token), Err(SaslError::Malformed(..))),
                "{token:?}"
            );
        }
    }

    #[test]
    fn a_password_that_was_changed_is_no_longer_that_of_the_configuration() {
        assert_eq!(log_in(b"\0bert\0changed").as_deref(), Ok("bert"));
        assert_eq!(log_in(b"\0bert\0second"), Err(SaslError::Refused));
        let known = credentials();
        assert!(known.find("bert", ScramMechanism::Sha256).is_none());
    }

    #[test]
    fn a_challenge_does_not_tell_whether_the_user_exists() {
        let challenge = |user: &str| {
            let token = format!("n,,n={user},r=abc");
            let exchange = Exchange::of(Mechanism::ScramSha256);
            match exchange.step(token.as_bytes(), &credentials(), "nonce", 0) {
                Ok(Step::Continue(_, message)) => message.len(),
                other => panic!("{other:?}"),
            }
        };
        // Salts of users that exist are 16 bytes, too, but for this test's.
        assert!(challenge("nobody") > challenge("anna"));
        assert_eq!(challenge("nobody"), challenge("noone"));
    }

    #[test]
    fn a_bearer_is_the_user_that_its_token_names() {
        let jwt = include_str!("token/testdata/hs256.jwt").trim();
        let present = |token: &str| {
            let exchange = Exchange::of(Mechanism::OauthBearer);
            exchange.step(token.as_bytes(), &credentials(), "nonce", 1_500_000)
        };
        for header in ["n,,", "n,a=anna,"] {
            match present(&format!("{header}\u{1}auth=Bearer {jwt}\u{1}\u{1}")) {
                Ok(Step::Done {
                    user, expires_ms, ..
                }) => assert_eq!((user.as_str(), expires_ms), ("anna", Some(2_000_000))),
                other => panic!("{other:?}"),
            }
        }
        for wrong in [
            String::new(),
            "n,,".to_owned(),
            format!("n,a=bert,\u{1}auth=Bearer {jwt}\u{1}\u{1}"),
            format!("p=x,,\u{1}auth=Bearer {jwt}\u{1}\u{1}"),
            format!("n,,\u{1}auth=Basic {jwt}\u{1}\u{1}"),
            "n,,\u{1}auth=Bearer a.b.c\u{1}\u{1}".to_owned(),
        ] {
            assert!(present(&wrong).is_err(), "{wrong:?}");
        }
    }
}
