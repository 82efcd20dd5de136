//! Bearer tokens: JSON web tokens that somebody whom the operator trusts has signed (RFC 7515, 7517, 7519), as OAUTHBEARER brings them
//! (RFC 7628). PURE.
//!
//! ```text
//!  base64url({"alg", "kid"}) . base64url({"sub", "exp", "iss", "aud", …}) . base64url(signature of what stands before)
//! ```
//! Invariants:
//! 1. The key says which algorithm is meant; a token that names another is refused, and so is one that is not signed.
//! 2. A token without an end is refused: what was let in once must not stay for ever.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use rustls::SignatureScheme;
use rustls::crypto::ring::default_provider;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::scram::{hmac_sha256, is_same};

/// How far the clocks of who signs and of the broker may be apart.
const CLOCK_SKEW_MS: i64 = 30_000;

/// Longest name of a user.
const NAME_BYTES_MAX: usize = 1000;

/// Keys that a file may hold.
const KEYS_MAX: usize = 100;

/// Bits of an RSA key at the least.
const RSA_BYTES_MIN: usize = 256;

/// Why a token lets nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum TokenError {
    /// Not three parts of base64 and JSON.
    #[error("the token is no signed JSON web token")]
    Malformed,
    /// Signed by somebody else, in another way, or not at all.
    #[error("the token is not signed by a key that is known")]
    Signature,
    /// Too early or too late.
    #[error("the token has expired, holds only later, or says no end")]
    Time,
    /// Of another issuer, for another audience, or without a name.
    #[error("the token is of another issuer, for somebody else, or names nobody")]
    Claims,
}

/// The keys cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("sasl.oauthbearer.jwks.endpoint.url: {0}")]
pub(crate) struct KeysError(String);

/// Who a token says it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub(crate) user: String,
    pub(crate) expires_ms: i64,
}

/// What tokens must be.
pub(crate) struct TokenRules {
    keys: Vec<Key>,
    issuer: Option<String>,
    audience: Vec<String>,
    user_claim: String,
}

impl fmt::Debug for TokenRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRules").finish_non_exhaustive()
    }
}

struct Key {
    id: Option<String>,
    verifies: Verifies,
}

/// How a key is used.
enum Verifies {
    /// HMAC with SHA-256 and this secret.
    Hs256(Vec<u8>),
    /// RSA (PKCS #1) with SHA-256 and this public key, in DER.
    Rs256(Vec<u8>),
    /// ECDSA on P-256 with SHA-256 and this point.
    Es256(Vec<u8>),
}

impl Verifies {
    fn algorithm(&self) -> &'static str {
        match self {
            Self::Hs256(_) => "HS256",
            Self::Rs256(_) => "RS256",
            Self::Es256(_) => "ES256",
        }
    }

    fn is_signature(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Hs256(secret) => is_same(&hmac_sha256(secret, message), signature),
            Self::Rs256(key) => verify(SignatureScheme::RSA_PKCS1_SHA256, key, message, signature),
            Self::Es256(point) => {
                let Some((r, s)) = signature
                    .split_at_checked(32)
                    .filter(|(_, s)| s.len() == 32)
                else {
                    return false;
                };
                let der = sequence(&[integer(r), integer(s)].concat());
                let scheme = SignatureScheme::ECDSA_NISTP256_SHA256;
                verify(scheme, point, message, &der)
            }
        }
    }
}

fn verify(scheme: SignatureScheme, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let known = default_provider().signature_verification_algorithms;
    let mut algorithms = known.mapping.iter().filter(|(of, _)| *of == scheme);
    algorithms.any(|(_, algorithms)| {
        let mut algorithms = algorithms.iter();
        algorithms.any(|one| one.verify_signature(key, message, signature).is_ok())
    })
}

/// A set of keys in JSON (RFC 7517).
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<JsonKey>,
}

#[derive(Deserialize)]
struct JsonKey {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    used_for: Option<String>,
    k: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

impl TokenRules {
    /// Tokens that one of these keys has signed, of this issuer and for one of this audience, where they are named.
    ///
    /// # Errors
    /// If the keys are none.
    pub(crate) fn new(
        keys: &str,
        issuer: Option<String>,
        audience: Vec<String>,
        user_claim: String,
    ) -> Result<Self, KeysError> {
        let set: KeySet = serde_json::from_str(keys)
            .map_err(|error| KeysError(format!("no set of keys in JSON: {error}")))?;
        if set.keys.len() > KEYS_MAX {
            return Err(KeysError(format!("more than {KEYS_MAX} keys")));
        }
        let for_signatures = |key: &JsonKey| key.used_for.as_deref().is_none_or(|it| it == "sig");
        let keys: Vec<Key> = set
            .keys
            .iter()
            .filter(|key| for_signatures(key))
            .filter_map(|key| {
                Some(Key {
                    id: key.kid.clone(),
                    verifies: verifies(key)?,
                })
            })
            .collect();
        if keys.is_empty() {
            let reason =
                "it has no key for HS256 (32 bytes or more), RS256 (2048 bits or more) or ES256";
            return Err(KeysError(reason.to_owned()));
        }
        Ok(Self {
            keys,
            issuer,
            audience,
            user_claim,
        })
    }

    /// Who the token is of, if it lets anybody in.
    ///
    /// # Errors
    /// Why it does not.
    pub(crate) fn check(&self, token: &str, now_ms: i64) -> Result<Bearer, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Header = part(header)?;
        let signature = decoded(signature)?;
        let mut keys = self.keys.iter().filter(|key| {
            let is_meant = match (&key.id, &header.kid) {
                (Some(known), Some(named)) => known == named,
                _ => true,
            };
            is_meant && key.verifies.algorithm() == header.alg
        });
        if !keys.any(|key| key.verifies.is_signature(signed.as_bytes(), &signature)) {
            return Err(TokenError::Signature);
        }
        let claims: Value = part(claims)?;
        let time = |name: &str| {
            let seconds = claims.get(name)?.as_f64()?;
            Some((seconds * 1000.0) as i64)
        };
        let expires_ms = time("exp").ok_or(TokenError::Time)?;
        let begins_ms = time("nbf").unwrap_or(i64::MIN);
        if now_ms >= expires_ms.saturating_add(CLOCK_SKEW_MS)
            || now_ms < begins_ms.saturating_sub(CLOCK_SKEW_MS)
        {
            return Err(TokenError::Time);
        }
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let is_issuer = self.issuer.is_none() || text("iss") == self.issuer.as_deref();
        let user = text(&self.user_claim)
            .filter(|user| !user.is_empty() && user.len() <= NAME_BYTES_MAX)
            .ok_or(TokenError::Claims)?;
        if !is_issuer || !self.is_audience(claims.get("aud")) {
            return Err(TokenError::Claims);
        }
        Ok(Bearer {
            user: user.to_owned(),
            expires_ms,
        })
    }

    fn is_audience(&self, named: Option<&Value>) -> bool {
        let is_ours = |name: &Value| {
            let name = name.as_str();
            self.audience.iter().any(|ours| Some(ours.as_str()) == name)
        };
        self.audience.is_empty()
            || match named {
                Some(Value::Array(names)) => names.iter().any(is_ours),
                Some(name) => is_ours(name),
                None => false,
            }
    }
}

fn part<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, TokenError> {
    serde_json::from_slice(&decoded(text)?).map_err(|_| TokenError::Malformed)
}

fn decoded(text: &str) -> Result<Vec<u8>, TokenError> {
    BASE64URL.decode(text).map_err(|_| TokenError::Malformed)
}

fn verifies(key: &JsonKey) -> Option<Verifies> {
    let bytes = |text: &Option<String>| BASE64URL.decode(text.as_deref()?).ok();
    match key.kty.as_str() {
        "oct" => {
            let secret = bytes(&key.k)?;
            (secret.len() >= 32).then_some(Verifies::Hs256(secret))
        }
        "RSA" => {
            let (modulus, exponent) = (bytes(&key.n)?, bytes(&key.e)?);
            let der = sequence(&[integer(&modulus), integer(&exponent)].concat());
            (modulus.len() >= RSA_BYTES_MIN).then_some(Verifies::Rs256(der))
        }
        "EC" if key.crv.as_deref() == Some("P-256") => {
            let (x, y) = (bytes(&key.x)?, bytes(&key.y)?);
            let point = [&[4], x.as_slice(), y.as_slice()].concat();
            (point.len() == 65).then_some(Verifies::Es256(point))
        }
        _ => None,
    }
}

/// A number above zero in DER, from its bytes.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let first = bytes.iter().position(|byte| *byte != 0);
    let digits = first.map_or(&[0][..], |first| &bytes[first..]);
    let sign: &[u8] = if digits[0] >= 0x80 { &[0] } else { &[] };
    element(0x02, &[sign, digits].concat())
}

fn sequence(content: &[u8]) -> Vec<u8> {
    element(0x30, content)
}

/// An element in DER.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut bytes = vec![tag];
    if length < 0x80 {
        bytes.push(length as u8);
    } else {
        let digits = length.to_be_bytes();
        let first = digits.iter().position(|byte| *byte != 0).unwrap_or(0);
        bytes.push(0x80 | (digits.len() - first) as u8);
        bytes.extend_from_slice(&digits[first..]);
    }
    bytes.extend_from_slice(content);
    bytes
}

#[cfg(test)]
mod tests;
