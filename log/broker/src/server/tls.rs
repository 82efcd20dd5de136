//! TLS of listeners: certificates and keys are read from PEM once, at the start.

use std::fmt;
use std::fs;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::{ClientAuth, TlsConfig};

/// What a text begins with that is PEM itself and not the path of a file of it.
const PEM: &str = "-----BEGIN ";

/// TLS cannot be served as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub(crate) struct TlsError {
    key: &'static str,
    reason: String,
}

impl TlsError {
    fn of(key: &'static str, reason: impl fmt::Display) -> Self {
        let reason = reason.to_string();
        Self { key, reason }
    }
}

/// Reads certificates and keys, and takes connections with them from then on.
///
/// # Errors
/// What cannot be read, or does not belong together.
pub(crate) fn acceptor(config: &TlsConfig) -> Result<TlsAcceptor, TlsError> {
    const CHAIN: &str = "ssl.keystore.certificate.chain";
    const KEY: &str = "ssl.keystore.key";
    const TRUSTED: &str = "ssl.truststore.certificates";
    let chain = certificates(CHAIN, &config.certificate_chain)?;
    let key = PrivateKeyDer::from_pem_slice(&pem(KEY, &config.key.0)?).map_err(|error| {
        TlsError::of(
            KEY,
            format!("no private key in PEM ({error}); one that is encrypted cannot be used"),
        )
    })?;
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::of(CHAIN, error))?;
    let builder = match config.client_auth {
        ClientAuth::None => builder.with_no_client_auth(),
        asked => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(TRUSTED, &config.trusted)? {
                roots
                    .add(certificate)
                    .map_err(|error| TlsError::of(TRUSTED, error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match asked {
                ClientAuth::Requested => verifier.allow_unauthenticated(),
                _ => verifier,
            };
            let verifier = verifier
                .build()
                .map_err(|error| TlsError::of(TRUSTED, error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let server = builder
        .with_single_cert(chain, key)
        .map_err(|error| TlsError::of(CHAIN, format!("does not go with {KEY}: {error}")))?;
    Ok(TlsAcceptor::from(Arc::new(server)))
}

fn certificates(key: &'static str, text: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = pem(key, text)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|error| TlsError::of(key, format!("no PEM: {error}")))?;
    if found.is_empty() {
        return Err(TlsError::of(key, "there is no certificate in it"));
    }
    Ok(found)
}

/// The PEM that a setting is, or that lies where it says.
fn pem(key: &'static str, text: &str) -> Result<Vec<u8>, TlsError> {
    if text.trim_start().starts_with(PEM) {
        return Ok(text.as_bytes().to_vec());
    }
    fs::read(text).map_err(|error| TlsError::of(key, format!("cannot read {text}: {error}")))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;
    use crate::config::Secret;

    fn config() -> TlsConfig {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        TlsConfig {
            certificate_chain: cert.pem(),
            key: Secret(signing_key.serialize_pem()),
            trusted: cert.pem(),
            client_auth: ClientAuth::Required,
        }
    }

    #[test]
    fn pem_is_taken_as_text_and_as_a_file() {
        let inline = config();
        assert!(acceptor(&inline).is_ok());
        let folder = tempfile::tempdir().expect("a folder");
        let chain = folder.path().join("chain.pem");
        fs::write(&chain, &inline.certificate_chain).expect("written");
        let from_file = TlsConfig {
            certificate_chain: chain.display().to_string(),
            ..inline
        };
        assert!(acceptor(&from_file).is_ok());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let error = |change: fn(&mut TlsConfig)| {
            let mut config = config();
            change(&mut config);
            acceptor(&config).err().expect("refused").to_string()
        };
        let missing = error(|it| it.certificate_chain = "/nowhere/chain.pem".to_owned());
        assert!(
            missing.starts_with("ssl.keystore.certificate.chain: cannot read /nowhere/chain.pem"),
            "{missing}"
        );
        let no_key = error(|it| it.key = Secret(it.certificate_chain.clone()));
        assert!(no_key.starts_with("ssl.keystore.key: "), "{no_key}");
        let other = error(|it| it.key = super::tests::config().key);
        assert!(other.contains("does not go with"), "{other}");
        let empty = error(|it| it.trusted = "-----BEGIN NOTHING-----".to_owned());
        assert!(
            empty.starts_with("ssl.truststore.certificates: "),
            "{empty}"
        );
    }
}
