//! Where the Kafka protocol is served and who is let in: the settings of `kafka.*` under Kafka's names, as the broker takes them.

use std::net::SocketAddr;

use anyhow::{Result, anyhow};
use log_broker::{
    BrokerConfig, ClientAuth, ListenerConfig, Secret, SecurityConfig, SecurityProtocol, TlsConfig,
    TokenConfig, parse_advertised, parse_listeners,
};

use crate::config::KafkaSettings;

/// Keys of `kafka.*` that have the dots of Kafka's names; their fields have underscores.
pub(crate) const KAFKA_NAMES: [&str; 13] = [
    "advertised.listeners",
    "allow.everyone.if.no.acl.found",
    "listener.security.protocol.map",
    "sasl.enabled.mechanisms",
    "sasl.oauthbearer.expected.audience",
    "sasl.oauthbearer.expected.issuer",
    "sasl.oauthbearer.jwks.endpoint.url",
    "sasl.oauthbearer.sub.claim.name",
    "ssl.client.auth",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.truststore.certificates",
    "super.users",
];

/// What listeners, TLS, SASL and access are in the broker's configuration. Where `kafka.listeners` is empty, `kafka.listen` is the only
/// listener, and in the clear.
///
/// # Errors
/// The first of them that cannot be, by its key.
pub(crate) fn broker_config(kafka: &KafkaSettings, insecure_bind: bool) -> Result<BrokerConfig> {
    let named = |error: log_broker::ConfigError| anyhow!("kafka.{error}");
    let mut listeners =
        parse_listeners(&kafka.listeners, &kafka.listener_security_protocol_map).map_err(named)?;
    if listeners.is_empty() {
        listeners.push(plain(kafka.listen));
    }
    let client_auth = ClientAuth::from_name(&kafka.ssl_client_auth).ok_or_else(|| {
        let given = &kafka.ssl_client_auth;
        anyhow!("kafka.ssl.client.auth = {given}: must be none, requested or required")
    })?;
    let authorizer = match kafka.authorizer.as_str() {
        "auto" => None,
        "on" => Some(true),
        "off" => Some(false),
        other => {
            return Err(anyhow!(
                "kafka.authorizer = {other}: must be auto, on or off"
            ));
        }
    };
    let users = kafka.users.iter();
    let config = BrokerConfig {
        advertised_listeners: parse_advertised(&kafka.advertised_listeners).map_err(named)?,
        listeners,
        security: SecurityConfig {
            tls: TlsConfig {
                certificate_chain: kafka.ssl_keystore_certificate_chain.clone(),
                key: Secret(kafka.ssl_keystore_key.clone()),
                trusted: kafka.ssl_truststore_certificates.clone(),
                client_auth,
            },
            mechanisms: parts(&kafka.sasl_enabled_mechanisms, ','),
            tokens: TokenConfig {
                keys: kafka.sasl_oauthbearer_jwks_endpoint_url.clone(),
                issuer: kafka.sasl_oauthbearer_expected_issuer.clone(),
                audience: parts(&kafka.sasl_oauthbearer_expected_audience, ','),
                user_claim: kafka.sasl_oauthbearer_sub_claim_name.clone(),
            },
            users: users
                .map(|(user, password)| (user.clone(), Secret(password.clone())))
                .collect(),
            super_users: parts(&kafka.super_users, ';'),
            authorizer,
            allow_everyone_if_no_acl_found: kafka.allow_everyone_if_no_acl_found,
            insecure_bind,
        },
        ..BrokerConfig::default()
    };
    config.validate().map_err(named)?;
    Ok(config)
}

fn plain(address: SocketAddr) -> ListenerConfig {
    ListenerConfig {
        name: SecurityProtocol::Plaintext.name().to_owned(),
        host: address.ip().to_string(),
        port: address.port(),
        protocol: SecurityProtocol::Plaintext,
    }
}

fn parts(list: &str, separator: char) -> Vec<String> {
    list.split(separator)
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_listener_is_kafka_listen_unless_others_are_named() {
        let config = broker_config(&KafkaSettings::default(), false).expect("sound");
        assert_eq!(
            config.listeners[0].to_string(),
            "PLAINTEXT://127.0.0.1:9092"
        );
        let several = KafkaSettings {
            listeners: "INSIDE://127.0.0.1:1,OUTSIDE://0.0.0.0:2".to_owned(),
            listener_security_protocol_map: "INSIDE:PLAINTEXT,OUTSIDE:SASL_PLAINTEXT".to_owned(),
            super_users: "User:anna;User:CN=bert,O=Thalweg".to_owned(),
            ..KafkaSettings::default()
        };
        let config = broker_config(&several, false).expect("sound");
        assert_eq!(config.listeners.len(), 2);
        assert_eq!(
            config.security.super_users,
            ["User:anna", "User:CN=bert,O=Thalweg"]
        );
    }

    #[test]
    fn what_cannot_be_is_named_by_its_key() {
        let error = |change: fn(&mut KafkaSettings)| {
            let mut kafka = KafkaSettings::default();
            change(&mut kafka);
            let refused = broker_config(&kafka, false).expect_err("refused");
            refused.to_string()
        };
        let open = error(|it| it.listeners = "PLAINTEXT://0.0.0.0:9092".to_owned());
        assert!(
            open.starts_with(
                "kafka.listeners = PLAINTEXT://0.0.0.0:9092: other machines could connect"
            ),
            "{open}"
        );
        let auth = error(|it| it.ssl_client_auth = "perhaps".to_owned());
        assert!(
            auth.starts_with("kafka.ssl.client.auth = perhaps"),
            "{auth}"
        );
        assert!(error(|it| it.authorizer = "maybe".to_owned()).contains("kafka.authorizer"));
    }
}
