//! Where the broker listens, and what it asks of who connects there: Kafka's `listeners`, `advertised.listeners`,
//! `listener.security.protocol.map`, and the settings of TLS and SASL.
//!
//! Invariants:
//! 1. An address that other machines reach asks for authentication, or the operator said that it need not.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::Deserialize;

use super::{ConfigError, split_address};
use crate::security::sasl::Mechanism;

/// Users of the configuration that there may be: each is hashed at the start.
const USERS_MAX: usize = 1000;

/// How a listener protects what goes over it ("security.protocol").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SecurityProtocol {
    /// Nobody is asked who they are, and everybody on the way can read.
    Plaintext,
    /// Encrypted; with `ssl.client.auth=required` the client's certificate says who it is.
    Ssl,
    /// Clients say who they are; everybody on the way can read.
    SaslPlaintext,
    /// Clients say who they are, encrypted.
    SaslSsl,
}

impl SecurityProtocol {
    const ALL: [Self; 4] = [
        Self::Plaintext,
        Self::Ssl,
        Self::SaslPlaintext,
        Self::SaslSsl,
    ];

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// By Kafka's name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Whether it is encrypted.
    pub fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    /// Whether clients say who they are by SASL.
    pub fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

/// One place to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    /// Its name, in capital letters.
    pub name: String,
    /// Name or address to bind.
    pub host: String,
    /// Port to bind; 0 picks a free one.
    pub port: u16,
    /// What it asks.
    pub protocol: SecurityProtocol,
}

impl ListenerConfig {
    /// Whether only this machine reaches it.
    pub fn is_local(&self) -> bool {
        is_local(&self.host)
    }
}

impl fmt::Display for ListenerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}://[{}]:{}", self.name, self.host, self.port)
        } else {
            write!(f, "{}://{}:{}", self.name, self.host, self.port)
        }
    }
}

/// Whether only this machine reaches this host's addresses.
fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether clients show certificates ("ssl.client.auth").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// They need not, and nobody looks.
    #[default]
    None,
    /// They may.
    Requested,
    /// They must.
    Required,
}

impl ClientAuth {
    /// By Kafka's name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Self::None),
            "requested" => Some(Self::Requested),
            "required" => Some(Self::Required),
            _ => None,
        }
    }
}

/// A text that no message, log or page shows.
#[derive(Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

/// Certificates and keys, each as PEM text or as the path of a file that holds it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// The server's certificate, and those that vouch for it up to one that clients trust ("ssl.keystore.certificate.chain").
    pub certificate_chain: String,
    /// Its private key, not encrypted ("ssl.keystore.key").
    pub key: Secret,
    /// Certificates of those who vouch for clients ("ssl.truststore.certificates").
    pub trusted: String,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
}

/// Which tokens let clients in by OAUTHBEARER.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenConfig {
    /// Path of a file with the keys of who signs tokens, a set of them in JSON ("sasl.oauthbearer.jwks.endpoint.url").
    pub keys: String,
    /// Who must have issued a token ("sasl.oauthbearer.expected.issuer"); empty: anyone.
    pub issuer: String,
    /// For one of whom it must be ("sasl.oauthbearer.expected.audience"); empty: for anyone.
    pub audience: Vec<String>,
    /// Which claim names the user ("sasl.oauthbearer.sub.claim.name").
    pub user_claim: String,
}

impl Default for TokenConfig {
    fn default() -> Self {
        Self {
            keys: String::new(),
            issuer: String::new(),
            audience: Vec::new(),
            user_claim: "sub".to_owned(),
        }
    }
}

/// Who is let in, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecurityConfig {
    /// For listeners with TLS.
    pub tls: TlsConfig,
    /// What listeners with SASL offer ("sasl.enabled.mechanisms"), by SASL's names.
    pub mechanisms: Vec<String>,
    /// For the mechanism OAUTHBEARER.
    pub tokens: TokenConfig,
    /// Users and their passwords. A user whose password is changed by a client has that one from then on.
    pub users: BTreeMap<String, Secret>,
    /// Principals that no rule keeps from anything ("super.users"), as `User:name`.
    pub super_users: Vec<String>,
    /// Whether rules of access are looked at ("authorizer.class.name"). By default they are where any listener asks who connects.
    pub authorizer: Option<bool>,
    /// Whether everyone may do what no rule is about ("allow.everyone.if.no.acl.found").
    pub allow_everyone_if_no_acl_found: bool,
    /// Lets other machines connect to listeners that ask nobody who they are.
    pub insecure_bind: bool,
}

impl Default for SecurityConfig {
    fn default() -> Self {
        Self {
            tls: TlsConfig::default(),
            mechanisms: Mechanism::ALL
                .into_iter()
                .filter(|one| *one != Mechanism::OauthBearer)
                .map(|one| one.name().to_owned())
                .collect(),
            tokens: TokenConfig::default(),
            users: BTreeMap::new(),
            super_users: Vec::new(),
            authorizer: None,
            allow_everyone_if_no_acl_found: false,
            insecure_bind: false,
        }
    }
}

/// The listener of a broker that nobody configured.
pub(super) fn default_listeners() -> Vec<ListenerConfig> {
    vec![ListenerConfig {
        name: SecurityProtocol::Plaintext.name().to_owned(),
        host: "127.0.0.1".to_owned(),
        port: 9092,
        protocol: SecurityProtocol::Plaintext,
    }]
}

fn refusal(key: &'static str, value: impl Into<String>, reason: &'static str) -> ConfigError {
    ConfigError {
        key,
        value: value.into(),
        reason,
    }
}

/// Parts of a list, without the blanks around them.
fn parts(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

/// `NAME://host:port`
fn endpoint(key: &'static str, text: &str) -> Result<(String, String, u16), ConfigError> {
    let malformed = || refusal(key, text, "must be a list of NAME://host:port");
    let (name, address) = text.split_once("://").ok_or_else(malformed)?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(malformed());
    }
    let (host, port) = match address.strip_prefix(':') {
        // Kafka's way to name every address of the machine.
        Some(port) => ("0.0.0.0", port.parse().map_err(|_| malformed())?),
        None => split_address(address).ok_or_else(malformed)?,
    };
    Ok((name.to_ascii_uppercase(), host.to_owned(), port))
}

/// Reads `listeners` and `listener.security.protocol.map`. A listener that the map does not name is named after its protocol.
///
/// # Errors
/// What of them cannot be.
pub fn parse_listeners(listeners: &str, map: &str) -> Result<Vec<ListenerConfig>, ConfigError> {
    let mut protocols = BTreeMap::new();
    for part in parts(map) {
        let known = part.split_once(':').and_then(|(name, protocol)| {
            let protocol = SecurityProtocol::from_name(protocol.trim())?;
            Some((name.trim().to_ascii_uppercase(), protocol))
        });
        let reason = "must be a list of NAME:PROTOCOL, a protocol being PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL";
        let (name, protocol) =
            known.ok_or_else(|| refusal("listener.security.protocol.map", part, reason))?;
        protocols.insert(name, protocol);
    }
    let mut found: Vec<ListenerConfig> = Vec::new();
    for part in parts(listeners) {
        let (name, host, port) = endpoint("listeners", part)?;
        let protocol = protocols.get(&name).copied();
        let Some(protocol) = protocol.or_else(|| SecurityProtocol::from_name(&name)) else {
            let reason =
                "its name is no protocol; name one for it in listener.security.protocol.map";
            return Err(refusal("listeners", part, reason));
        };
        if found.iter().any(|other| other.name == name) {
            return Err(refusal("listeners", part, "another one has this name"));
        }
        found.push(ListenerConfig {
            name,
            host,
            port,
            protocol,
        });
    }
    Ok(found)
}

/// Reads `advertised.listeners`: the address of each listener by its name.
///
/// # Errors
/// What of it cannot be.
pub fn parse_advertised(text: &str) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut found = BTreeMap::new();
    for part in parts(text) {
        let (name, host, port) = endpoint("advertised.listeners", part)?;
        if host == "0.0.0.0" || host == "::" {
            let reason = "no client can connect to every address; name the one that clients reach";
            return Err(refusal("advertised.listeners", part, reason));
        }
        let address = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        found.insert(name, address);
    }
    Ok(found)
}

/// How listeners, addresses and security fit.
pub(super) fn validate(
    listeners: &[ListenerConfig],
    advertised: &BTreeMap<String, String>,
    security: &SecurityConfig,
) -> Result<(), ConfigError> {
    for (name, address) in advertised {
        if !listeners.iter().any(|listener| listener.name == *name) {
            let value = format!("{name}://{address}");
            let reason = "there is no such listener";
            return Err(refusal("advertised.listeners", value, reason));
        }
        if split_address(address).is_none() {
            return Err(refusal(
                "advertised.listeners",
                address,
                "must be host:port",
            ));
        }
    }
    for listener in listeners {
        check_listener(listener, security)?;
    }
    for name in &security.mechanisms {
        if Mechanism::from_name(name).is_none() {
            let reason = "must be of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER";
            return Err(refusal("sasl.enabled.mechanisms", name, reason));
        }
    }
    let has_tokens = security
        .mechanisms
        .iter()
        .any(|name| name == Mechanism::OauthBearer.name());
    if has_tokens && security.tokens.keys.is_empty() {
        let reason = "needs sasl.oauthbearer.jwks.endpoint.url: the path of a file with the keys of who signs tokens";
        return Err(refusal("sasl.enabled.mechanisms", "OAUTHBEARER", reason));
    }
    for principal in &security.super_users {
        if principal.strip_prefix("User:").is_none_or(str::is_empty) {
            return Err(refusal("super.users", principal, "must be User:name"));
        }
    }
    if security.users.len() > USERS_MAX {
        let value = security.users.len().to_string();
        let reason =
            "more than 1000; others are made with AlterUserScramCredentials (kafka-configs)";
        return Err(refusal("users", value, reason));
    }
    for (user, password) in &security.users {
        if user.is_empty() || password.0.is_empty() {
            return Err(refusal(
                "users",
                user,
                "name and password must not be empty",
            ));
        }
    }
    Ok(())
}

fn check_listener(listener: &ListenerConfig, security: &SecurityConfig) -> Result<(), ConfigError> {
    let tls = &security.tls;
    if listener.protocol.has_tls() && (tls.certificate_chain.is_empty() || tls.key.0.is_empty()) {
        let reason =
            "needs ssl.keystore.certificate.chain and ssl.keystore.key: PEM, or a path to it";
        return Err(refusal("listeners", listener.to_string(), reason));
    }
    if listener.protocol.has_tls() && tls.client_auth != ClientAuth::None && tls.trusted.is_empty()
    {
        let reason = "needs ssl.truststore.certificates, which say whose certificates are believed";
        return Err(refusal("ssl.client.auth", "requested or required", reason));
    }
    let asks = listener.protocol.has_sasl()
        || (listener.protocol == SecurityProtocol::Ssl && tls.client_auth == ClientAuth::Required);
    if !asks && !listener.is_local() && !security.insecure_bind {
        let reason = "other machines could connect without saying who they are; use SASL_SSL, SASL_PLAINTEXT, or SSL with \
                      ssl.client.auth=required, or say --insecure-bind";
        return Err(refusal("listeners", listener.to_string(), reason));
    }
    if listener.protocol.has_sasl() && security.mechanisms_of(listener).is_empty() {
        let reason = "offers no mechanism: sasl.enabled.mechanisms needs a SCRAM where others could read a PLAIN password";
        return Err(refusal("listeners", listener.to_string(), reason));
    }
    Ok(())
}

impl SecurityConfig {
    /// What a listener offers: a password in the clear only where nobody on the way can read it.
    pub(crate) fn mechanisms_of(&self, listener: &ListenerConfig) -> Vec<Mechanism> {
        let is_hidden = listener.protocol.has_tls() || listener.is_local() || self.insecure_bind;
        self.mechanisms
            .iter()
            .filter_map(|name| Mechanism::from_name(name))
            .filter(|mechanism| is_hidden || !mechanism.is_bare())
            .collect()
    }

    /// Whether rules of access are looked at.
    pub(crate) fn has_authorizer(&self, listeners: &[ListenerConfig]) -> bool {
        let asks = |listener: &ListenerConfig| {
            listener.protocol.has_sasl()
                || (listener.protocol == SecurityProtocol::Ssl
                    && self.tls.client_auth == ClientAuth::Required)
        };
        self.authorizer
            .unwrap_or_else(|| listeners.iter().any(asks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(listeners: &str, change: impl FnOnce(&mut SecurityConfig)) -> Result<(), String> {
        let mut security = SecurityConfig::default();
        change(&mut security);
        let listeners = parse_listeners(listeners, "").map_err(|error| error.to_string())?;
        validate(&listeners, &BTreeMap::new(), &security).map_err(|error| error.to_string())
    }

    fn tls(security: &mut SecurityConfig) {
        security.tls.certificate_chain = "chain.pem".to_owned();
        security.tls.key = Secret("key.pem".to_owned());
    }

    #[test]
    fn listeners_are_named_and_mapped() {
        let found = parse_listeners(
            "inner://[::1]:9092, OUTER://:9093,SSL://host:0",
            "INNER:PLAINTEXT,outer:SASL_SSL",
        )
        .expect("sound");
        let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            ["INNER://[::1]:9092", "OUTER://0.0.0.0:9093", "SSL://host:0"]
        );
        assert_eq!(found[1].protocol, SecurityProtocol::SaslSsl);
        assert_eq!(found[2].protocol, SecurityProtocol::Ssl);
        for (listeners, map) in [
            ("host:9092", ""),
            ("PLAINTEXT://host", ""),
            ("INNER://host:1", ""),
            ("SSL://a:1,SSL://b:2", ""),
            ("SSL://a:1", "SSL:TLS"),
        ] {
            assert!(parse_listeners(listeners, map).is_err(), "{listeners}");
        }
    }

    #[test]
    fn advertised_addresses_can_be_connected_to() {
        let found = parse_advertised("OUTER://broker.example:9093,INNER://[::1]:1").expect("sound");
        assert_eq!(found["OUTER"], "broker.example:9093");
        assert_eq!(found["INNER"], "[::1]:1");
        assert!(parse_advertised("OUTER://0.0.0.0:9093").is_err());
        let listeners = default_listeners();
        let refused = validate(&listeners, &found, &SecurityConfig::default());
        assert!(refused.is_err(), "there is no such listener");
    }

    /// Protocol × address × what the operator said.
    #[test]
    fn other_machines_connect_only_where_they_say_who_they_are() {
        let local = ["127.0.0.1:9092", "localhost:9092", "[::1]:9092"];
        let open = [
            "0.0.0.0:9092",
            "10.0.0.1:9092",
            "[::]:9092",
            "host:9092",
            ":9092",
        ];
        for address in local {
            assert_eq!(with(&format!("PLAINTEXT://{address}"), |_| {}), Ok(()));
        }
        for address in open {
            let plain = format!("PLAINTEXT://{address}");
            let refused = with(&plain, |_| {}).expect_err("nobody is asked");
            assert!(refused.contains("--insecure-bind"), "{refused}");
            assert_eq!(with(&plain, |it| it.insecure_bind = true), Ok(()));
            assert!(with(&format!("SSL://{address}"), tls).is_err());
            let required = |it: &mut SecurityConfig| {
                tls(it);
                it.tls.client_auth = ClientAuth::Required;
                it.tls.trusted = "trusted.pem".to_owned();
            };
            assert_eq!(with(&format!("SSL://{address}"), required), Ok(()));
            assert_eq!(with(&format!("SASL_SSL://{address}"), tls), Ok(()));
            assert_eq!(with(&format!("SASL_PLAINTEXT://{address}"), |_| {}), Ok(()));
        }
    }

    #[test]
    fn a_password_in_the_clear_is_not_offered_where_others_could_read_it() {
        let listeners = parse_listeners(
            "A://0.0.0.0:1,B://127.0.0.1:1,C://0.0.0.0:1",
            "A:SASL_PLAINTEXT,B:SASL_PLAINTEXT,C:SASL_SSL",
        )
        .expect("sound");
        let security = SecurityConfig::default();
        let counts = listeners
            .iter()
            .map(|one| security.mechanisms_of(one).len());
        assert_eq!(counts.collect::<Vec<_>>(), [2, 3, 3]);
        let only_plain = with("SASL_PLAINTEXT://0.0.0.0:1", |it| {
            it.mechanisms = vec!["PLAIN".to_owned()];
        });
        assert!(only_plain.is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(with("SSL://127.0.0.1:1", |_| {}).is_err(), "no certificate");
        let untrusted = |it: &mut SecurityConfig| {
            tls(it);
            it.tls.client_auth = ClientAuth::Requested;
        };
        assert!(with("SSL://127.0.0.1:1", untrusted).is_err());
        let odd = |change: fn(&mut SecurityConfig)| with("PLAINTEXT://127.0.0.1:1", change);
        assert!(odd(|it| it.mechanisms = vec!["GSSAPI".to_owned()]).is_err());
        assert!(odd(|it| it.super_users = vec!["anna".to_owned()]).is_err());
        assert!(odd(|it| drop(it.users.insert(String::new(), Secret::default()))).is_err());
    }

    #[test]
    fn secrets_are_not_shown() {
        let security = SecurityConfig {
            users: BTreeMap::from([("anna".to_owned(), Secret("hush".to_owned()))]),
            ..SecurityConfig::default()
        };
        assert!(!format!("{security:?}").contains("hush"));
    }
}
