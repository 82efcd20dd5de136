//! SCRAM, the server's side: messages, proofs and what is kept of a password (RFC 5802, with the hashes of RFC 7677). PURE.
//!
//! ```text
//!  client                                                    server
//!    n,,n=user,r=cnonce ─────────────────────────────────────▶
//!    ◀──────────────────────── r=cnonce+snonce,s=salt,i=rounds
//!    c=biws,r=cnonce+snonce,p=proof ─────────────────────────▶   H(proof ⊕ HMAC(StoredKey, all of it)) = StoredKey?
//!    ◀─────────────────────────────────────────── v=signature
//! ```
//! Invariants:
//! 1. The nonce that comes back ends with the one that was sent, and the channel is the one that was named: nothing is replayed or mixed.
//! 2. A user that does not exist gets the same answers, up to the same end, as one whose password is wrong: the same ones each time, also
//!    after a restart, and of the shape (length of the salt, rounds) that most passwords have. Only a password of a rarer shape tells that
//!    its user exists.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::hint::black_box;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256, Sha512};
use thiserror::Error;

/// Rounds of a password that is hashed here, as in Kafka.
pub(crate) const ITERATIONS: u32 = 4096;

/// Rounds that a client may set for a user ("SCRAM-SHA-256" and "-512" in Kafka: 4096 to 16384).
pub(crate) const ITERATIONS_RANGE: std::ops::RangeInclusive<u32> = 4096..=16_384;

/// Longest nonce that a client may send; others send 24 to 64 characters.
const NONCE_BYTES_MAX: usize = 256;

/// Which hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum ScramMechanism {
    /// SCRAM-SHA-256, number 1 in Kafka's protocol.
    #[serde(rename = "SCRAM-SHA-256")]
    Sha256 = 1,
    /// SCRAM-SHA-512, number 2.
    #[serde(rename = "SCRAM-SHA-512")]
    Sha512 = 2,
}

impl ScramMechanism {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// As SASL names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    /// By its number in Kafka's protocol.
    pub(crate) fn from_code(code: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.code() == code)
    }

    /// Its number in Kafka's protocol.
    pub(crate) fn code(self) -> i8 {
        self as i8
    }

    /// Bytes of a hash.
    pub(crate) fn hash_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    fn hash(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(data).to_vec(),
            Self::Sha512 => Sha512::digest(data).to_vec(),
        }
    }

    fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => hmac::<Hmac<Sha256>>(key, data),
            Self::Sha512 => hmac::<Hmac<Sha512>>(key, data),
        }
    }

    /// The password hashed so many rounds (Hi of RFC 5802).
    pub(crate) fn salted(self, password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
        let mut salted = vec![0; self.hash_bytes()];
        match self {
            Self::Sha256 => {
                pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut salted);
            }
            Self::Sha512 => {
                pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, iterations, &mut salted);
            }
        }
        salted
    }
}

fn hmac<M: Mac + hmac::digest::KeyInit>(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = <M as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

/// HMAC-SHA-256, for what is signed with a shared key.
pub(crate) fn hmac_sha256(key: &[u8], data: &[u8]) -> Vec<u8> {
    ScramMechanism::Sha256.hmac(key, data)
}

/// Compares in a time that does not tell where the two differ.
pub(crate) fn is_same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len()
        && black_box(
            left.iter()
                .zip(right)
                .fold(0, |differing, (left, right)| differing | (left ^ right)),
        ) == 0
}

/// What a password's hash looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shape {
    salt_bytes: usize,
    iterations: u32,
}

impl Shape {
    /// Of the passwords that are hashed here.
    pub(crate) const OWN: Self = Self {
        salt_bytes: 16,
        iterations: ITERATIONS,
    };

    /// Bytes of the salt.
    pub(crate) fn salt_bytes(self) -> usize {
        self.salt_bytes
    }

    /// The one that most have; of two that are as frequent the smaller. The own one where there is none.
    pub(crate) fn most_common(shapes: impl Iterator<Item = Self>) -> Self {
        let mut counts: BTreeMap<Self, usize> = BTreeMap::new();
        for shape in shapes {
            *counts.entry(shape).or_default() += 1;
        }
        let most = counts
            .into_iter()
            .max_by_key(|(shape, count)| (*count, Reverse(*shape)));
        most.map_or(Self::OWN, |(shape, _)| shape)
    }
}

/// A salt that only who knows `secret` can tell from a random one; the same each time for the same name.
pub(crate) fn salt_of(
    mechanism: ScramMechanism,
    secret: &[u8],
    user: &str,
    salt_bytes: usize,
) -> Vec<u8> {
    let mut salt = mechanism.hmac(secret, user.as_bytes());
    while salt.len() < salt_bytes {
        let more = mechanism.hmac(secret, &salt);
        salt.extend(more);
    }
    salt.truncate(salt_bytes);
    salt
}

/// What is kept of a password: enough to check a proof of it, not to make one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScramCredential {
    #[serde(with = "base64_text")]
    salt: Vec<u8>,
    iterations: u32,
    #[serde(with = "base64_text")]
    stored_key: Vec<u8>,
    #[serde(with = "base64_text")]
    server_key: Vec<u8>,
}

impl fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramCredential")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

impl ScramCredential {
    /// Of a password.
    pub(crate) fn of_password(mechanism: ScramMechanism, password: &[u8], salt: Vec<u8>) -> Self {
        let salted = mechanism.salted(password, &salt, ITERATIONS);
        Self::of_salted(mechanism, &salted, salt, ITERATIONS)
    }

    /// Of a password that was hashed already.
    pub(crate) fn of_salted(
        mechanism: ScramMechanism,
        salted: &[u8],
        salt: Vec<u8>,
        iterations: u32,
    ) -> Self {
        let client_key = mechanism.hmac(salted, b"Client Key");
        Self {
            salt,
            iterations,
            stored_key: mechanism.hash(&client_key),
            server_key: mechanism.hmac(salted, b"Server Key"),
        }
    }

    /// One that no password fits, the same each time for the same name: who asks cannot tell that the user does not exist.
    pub(crate) fn of_nobody(
        mechanism: ScramMechanism,
        secret: &[u8],
        user: &str,
        shape: Shape,
    ) -> Self {
        let salt = salt_of(mechanism, secret, user, shape.salt_bytes);
        let key = mechanism.hmac(secret, &salt);
        Self {
            salt,
            iterations: shape.iterations,
            stored_key: mechanism.hash(&key),
            server_key: key,
        }
    }

    /// What everybody is told of it who asks for its user.
    pub(crate) fn shape(&self) -> Shape {
        Shape {
            salt_bytes: self.salt.len(),
            iterations: self.iterations,
        }
    }

    /// Rounds of hashing.
    pub(crate) fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Whether it is of this password. Takes as long as the hashing does.
    pub(crate) fn fits(&self, mechanism: ScramMechanism, password: &[u8]) -> bool {
        let salted = mechanism.salted(password, &self.salt, self.iterations);
        let client_key = mechanism.hmac(&salted, b"Client Key");
        is_same(&mechanism.hash(&client_key), &self.stored_key)
    }
}

/// Why an exchange ends without a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum ScramError {
    /// Not the text that the mechanism has.
    #[error("a SCRAM message is malformed: {0}")]
    Malformed(&'static str),
    /// The proof is not one of the password, or there is no such user.
    #[error("user or password is wrong")]
    Refused,
}

/// The client's first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientFirst {
    /// Who it wants to be.
    pub(crate) user: String,
    header: String,
    bare: String,
    nonce: String,
}

impl ClientFirst {
    /// Reads it.
    ///
    /// # Errors
    /// What is not as RFC 5802 has it, and what asks for a channel binding, of which none is offered.
    pub(crate) fn read(token: &[u8]) -> Result<Self, ScramError> {
        let text = text(token)?;
        let mut parts = text.splitn(3, ',');
        let (Some(flag), Some(authzid), Some(bare)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(ScramError::Malformed("it has no header"));
        };
        if !matches!(flag, "n" | "y") {
            return Err(ScramError::Malformed("channel binding is not offered"));
        }
        let mut attributes = bare.split(',');
        let name = attribute(attributes.next(), "n=")?;
        let nonce = attribute(attributes.next(), "r=")?;
        let user = name_of(name)?;
        let is_other = match authzid.strip_prefix("a=") {
            Some(other) => name_of(other)? != user,
            None => !authzid.is_empty(),
        };
        if is_other {
            return Err(ScramError::Malformed("nobody may act for another"));
        }
        let printable = |byte: u8| (0x21..=0x7e).contains(&byte);
        if nonce.is_empty() || nonce.len() > NONCE_BYTES_MAX || !nonce.bytes().all(printable) {
            return Err(ScramError::Malformed("its nonce is no printable text"));
        }
        if attributes.any(|extension| extension == "tokenauth=true") {
            return Err(ScramError::Malformed("there are no delegation tokens"));
        }
        Ok(Self {
            user,
            header: format!("{flag},{authzid},"),
            bare: bare.to_owned(),
            nonce: nonce.to_owned(),
        })
    }
}

/// What the client has to prove that it can answer.
#[derive(Debug)]
pub(crate) struct Challenge {
    mechanism: ScramMechanism,
    credential: ScramCredential,
    first: ClientFirst,
    nonce: String,
    message: String,
}

impl Challenge {
    /// To a client's first message. `nonce` is random, new each time, printable and without commas.
    pub(crate) fn new(
        mechanism: ScramMechanism,
        credential: ScramCredential,
        first: ClientFirst,
        nonce: &str,
    ) -> Self {
        let nonce = format!("{}{nonce}", first.nonce);
        let salt = BASE64.encode(&credential.salt);
        let message = format!("r={nonce},s={salt},i={}", credential.iterations);
        Self {
            mechanism,
            credential,
            first,
            nonce,
            message,
        }
    }

    /// The server's first message.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Who is to prove who they are.
    pub(crate) fn user(&self) -> &str {
        &self.first.user
    }

    /// Checks the client's last message; returns the server's.
    ///
    /// # Errors
    /// [`ScramError::Refused`] if the proof is wrong.
    pub(crate) fn finish(&self, token: &[u8]) -> Result<String, ScramError> {
        let text = text(token)?;
        let (without_proof, proof) = text
            .rsplit_once(",p=")
            .ok_or(ScramError::Malformed("it has no proof"))?;
        let mut attributes = without_proof.split(',');
        let channel = decoded(attribute(attributes.next(), "c=")?)?;
        let nonce = attribute(attributes.next(), "r=")?;
        if channel != self.first.header.as_bytes() {
            return Err(ScramError::Malformed("its channel is another"));
        }
        // librdkafka before 2.10 puts its own part in front once more. What matters is that ours is at the end, as Kafka has it.
        if !nonce.ends_with(&self.nonce) {
            return Err(ScramError::Malformed("its nonce is another"));
        }
        let proof = decoded(proof)?;
        let signed = format!("{},{},{without_proof}", self.first.bare, self.message);
        let signature = self
            .mechanism
            .hmac(&self.credential.stored_key, signed.as_bytes());
        if proof.len() != signature.len() {
            return Err(ScramError::Malformed("its proof has a wrong length"));
        }
        let client_key: Vec<u8> = proof.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        if !is_same(
            &self.mechanism.hash(&client_key),
            &self.credential.stored_key,
        ) {
            return Err(ScramError::Refused);
        }
        let signature = self
            .mechanism
            .hmac(&self.credential.server_key, signed.as_bytes());
        Ok(format!("v={}", BASE64.encode(signature)))
    }
}

fn text(token: &[u8]) -> Result<&str, ScramError> {
    std::str::from_utf8(token).map_err(|_| ScramError::Malformed("it is no UTF-8"))
}

fn attribute<'a>(given: Option<&'a str>, name: &str) -> Result<&'a str, ScramError> {
    given
        .and_then(|given| given.strip_prefix(name))
        .ok_or(ScramError::Malformed("an attribute is missing"))
}

fn decoded(base64: &str) -> Result<Vec<u8>, ScramError> {
    BASE64
        .decode(base64)
        .map_err(|_| ScramError::Malformed("it has no sound base64"))
}

/// A name in which commas and equals signs are written as `=2C` and `=3D`.
fn name_of(escaped: &str) -> Result<String, ScramError> {
    let mut pieces = escaped.split('=');
    let mut name = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (sign, rest) = match (piece.strip_prefix("2C"), piece.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(ScramError::Malformed("its name has an odd equals sign")),
        };
        name.push(sign);
        name.push_str(rest);
    }
    if name.is_empty() {
        return Err(ScramError::Malformed("its name is empty"));
    }
    Ok(name)
}

/// Bytes as base64 in JSON.
mod base64_text {
    use base64::Engine;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::BASE64;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        BASE64
            .decode(String::deserialize(from)?)
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
