//! Encrypted connections, as libpq has them: `sslmode`, `sslrootcert`, `sslcert`, `sslkey`.
//!
//! | mode | connects | certificate of the server |
//! |---|---|---|
//! | `disable` | in the clear | |
//! | `allow` | in the clear; encrypted where that is refused | not looked at |
//! | `prefer` | encrypted; in the clear where that is refused | not looked at |
//! | `require` | encrypted | not looked at, unless there is an `sslrootcert`: then as `verify-ca` |
//! | `verify-ca` | encrypted | signed by one of `sslrootcert` |
//! | `verify-full` | encrypted | and it names the host |
//!
//! `sslrootcert=system` stands for the certificates that the machine trusts, with `verify-full`. Files are read for
//! every connection: a certificate that was renewed counts from the next one on. A certificate that is itself in
//! `sslrootcert` is trusted, whether it may sign others or not.
//!
//! Unlike libpq, a host is looked for in the alternative names of a certificate only, not in its common name, and no
//! file is looked for that was not named.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{fmt, io};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

/// Where machines keep the certificates that they trust.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// The word for them.
const SYSTEM: &str = "system";

/// `sslmode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    Disable,
    Allow,
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl Mode {
    /// Its words, in this order.
    pub(crate) const WORDS: &'static [&'static str] = &[
        "disable",
        "allow",
        "prefer",
        "require",
        "verify-ca",
        "verify-full",
    ];

    /// The mode of a word, whatever its case.
    pub(crate) fn of(word: &str) -> Option<Self> {
        let modes = [
            Self::Disable,
            Self::Allow,
            Self::Prefer,
            Self::Require,
            Self::VerifyCa,
            Self::VerifyFull,
        ];
        let words = Self::WORDS.iter();
        words
            .zip(modes)
            .find_map(|(known, mode)| known.eq_ignore_ascii_case(word).then_some(mode))
    }

    /// The kinds of connection to try, in order: whether each is encrypted.
    pub(crate) fn attempts(self) -> &'static [bool] {
        match self {
            Self::Disable => &[false],
            Self::Allow => &[false, true],
            Self::Prefer => &[true, false],
            Self::Require | Self::VerifyCa | Self::VerifyFull => &[true],
        }
    }
}

/// How connections are encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Encryption {
    /// How much is asked for.
    pub(crate) mode: Mode,
    /// A file of certificates that sign the server's, or `system`.
    pub(crate) root: Option<String>,
    /// A file with the client's own certificate, and those that it is signed with.
    pub(crate) certificate: Option<PathBuf>,
    /// A file with its key.
    pub(crate) key: Option<PathBuf>,
}

/// What keeps a connection from being encrypted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct TlsIssue {
    /// The parameter at fault: `sslmode`, `sslrootcert`, `sslcert`, `sslkey`.
    pub(crate) parameter: &'static str,
    /// What is wrong, and what would be right.
    pub(crate) message: String,
}

fn issue(parameter: &'static str, message: String) -> TlsIssue {
    TlsIssue { parameter, message }
}

impl Encryption {
    /// What is wrong with the combination, files not looked at.
    ///
    /// # Errors
    /// The parameter that lacks another one.
    pub(crate) fn check(&self) -> Result<(), TlsIssue> {
        if self.mode >= Mode::VerifyCa && self.root.is_none() {
            return Err(issue(
                "sslrootcert",
                "sslmode verify-ca and verify-full need sslrootcert: a file of the certificates that sign the server's, or \
                 system for those that this machine trusts"
                    .to_owned(),
            ));
        }
        match (&self.certificate, &self.key) {
            (Some(_), None) => Err(issue("sslkey", "sslcert needs sslkey".to_owned())),
            (None, Some(_)) => Err(issue("sslcert", "sslkey needs sslcert".to_owned())),
            _ => Ok(()),
        }
    }

    /// What a handshake needs, read from the files now.
    ///
    /// # Errors
    /// A file that cannot be read or used.
    pub(crate) fn client(&self) -> Result<Client, TlsIssue> {
        self.check()?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let is_system = self.root.as_deref() == Some(SYSTEM);
        let trust = match &self.root {
            None => Trust::Any,
            Some(root) => Trust::Roots {
                roots: roots(root)?,
                names: self.mode == Mode::VerifyFull || is_system,
            },
        };
        let verifier = Verifier {
            trust,
            provider: Arc::clone(&provider),
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| issue("sslmode", error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => builder
                .with_client_auth_cert(certificates("sslcert", certificate)?, private_key(key)?)
                .map_err(|error| {
                    let message =
                        format!("{} and its key do not fit: {error}", certificate.display());
                    issue("sslcert", message)
                })?,
            _ => builder.with_no_client_auth(),
        };
        Ok(Client(Arc::new(config)))
    }
}

/// The certificates that sign servers'.
fn roots(root: &str) -> Result<Vec<CertificateDer<'static>>, TlsIssue> {
    if root != SYSTEM {
        return certificates("sslrootcert", Path::new(root));
    }
    match SYSTEM_ROOTS
        .iter()
        .map(Path::new)
        .find(|path| path.is_file())
    {
        Some(path) => certificates("sslrootcert", path),
        None => Err(issue(
            "sslrootcert",
            format!(
                "this machine has no file of trusted certificates ({}); name one",
                SYSTEM_ROOTS.join(", ")
            ),
        )),
    }
}

fn certificates(
    parameter: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsIssue> {
    let wrong = |error: rustls::pki_types::pem::Error| {
        issue(
            parameter,
            format!(
                "{} cannot be read as certificates in PEM: {error}",
                path.display()
            ),
        )
    };
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(wrong)?
        .collect::<Result<_, _>>()
        .map_err(wrong)?;
    if found.is_empty() {
        return Err(issue(
            parameter,
            format!("{} has no certificate in PEM", path.display()),
        ));
    }
    Ok(found)
}

/// A key in PEM, or in PKCS #8 as JDBC's driver has it.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsIssue> {
    let wrong = |reason: String| {
        issue(
            "sslkey",
            format!(
                "{} cannot be read as a private key ({reason}); keys in PEM or PKCS #8 can be, without a password",
                path.display()
            ),
        )
    };
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    if bytes.starts_with(b"-----") || bytes.windows(11).any(|part| part == b"-----BEGIN ") {
        return PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| wrong(error.to_string()));
    }
    Ok(PrivatePkcs8KeyDer::from(bytes).into())
}

/// Which certificates of servers are good.
#[derive(Debug)]
enum Trust {
    Any,
    Roots {
        roots: Vec<CertificateDer<'static>>,
        /// Whether the host has to be named too.
        names: bool,
    },
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let Trust::Roots { roots, names } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if !roots.contains(end_entity) {
            let mut store = RootCertStore::empty();
            store.add_parsable_certificates(roots.iter().cloned());
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &store,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?;
        }
        if *names {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// What handshakes are made with.
#[derive(Clone)]
pub(crate) struct Client(Arc<ClientConfig>);

impl Client {
    /// Encrypts a connection to a host.
    ///
    /// # Errors
    /// As [`refusal`] tells them.
    pub(crate) async fn handshake<S>(&self, host: &str, socket: S) -> io::Result<Encrypted<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| io::Error::other(format!("\"{host}\" is no name of a host")))?;
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.0));
        Ok(Encrypted(connector.connect(name, socket).await?))
    }
}

/// Why a handshake failed for good: what one side says of the other's certificate. `None` where the line broke.
pub(crate) fn refusal(error: &io::Error, host: &str) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<TlsError>()?;
    Some(match error {
        TlsError::InvalidCertificate(reason) => format!(
            "the certificate of {host} is refused ({reason}): sslrootcert has to hold the certificate that signed it, and \
             with sslmode=verify-full it has to name the host"
        ),
        TlsError::AlertReceived(alert) => format!(
            "{host} ended the handshake ({alert:?}): it may ask for another certificate of the client (sslcert, sslkey)"
        ),
        other => format!("no encrypted connection to {host}: {other}"),
    })
}

/// What the server says of the client's certificate: with TLS 1.3 only after the handshake, in place of its answer.
pub(crate) fn refused_client(error: &io::Error) -> Option<TlsIssue> {
    use rustls::AlertDescription as Alert;
    match error.get_ref()?.downcast_ref::<TlsError>()? {
        TlsError::AlertReceived(
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::CertificateRequired
            | Alert::UnknownCA
            | Alert::DecryptError
            | Alert::AccessDenied,
        ) => Some(issue("sslmode", refusal(error, "the server")?)),
        _ => None,
    }
}

/// An encrypted connection.
pub(crate) struct Encrypted<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S> MakeTlsConnect<S> for Client
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Encrypted<S>;
    type TlsConnect = Handshake;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, io::Error> {
        Ok(Handshake {
            client: self.clone(),
            host: host.to_owned(),
        })
    }
}

/// A handshake that tokio-postgres begins.
pub(crate) struct Handshake {
    client: Client,
    host: String,
}

impl<S> TlsConnect<S> for Handshake
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Encrypted<S>;
    type Error = HandshakeError;
    type Future = Pin<Box<dyn Future<Output = Result<Encrypted<S>, HandshakeError>> + Send>>;

    fn connect(self, socket: S) -> Self::Future {
        Box::pin(async move {
            let encrypted = self.client.handshake(&self.host, socket).await;
            encrypted.map_err(|error| match refusal(&error, &self.host) {
                Some(refusal) => HandshakeError::Refused(refusal),
                None => HandshakeError::Line(error),
            })
        })
    }
}

/// A handshake that failed.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// For good.
    Refused(String),
    /// The line broke.
    Line(io::Error),
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => out.write_str(reason),
            Self::Line(error) => write!(out, "the handshake broke off: {error}"),
        }
    }
}

impl std::error::Error for HandshakeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_modes_try() {
        for (word, attempts) in [
            ("disable", &[false][..]),
            ("Allow", &[false, true]),
            ("PREFER", &[true, false]),
            ("require", &[true]),
            ("verify-ca", &[true]),
            ("verify-full", &[true]),
        ] {
            assert_eq!(Mode::of(word).map(Mode::attempts), Some(attempts), "{word}");
        }
        assert_eq!(Mode::of("on"), None);
        assert_eq!(Mode::default(), Mode::Prefer);
    }

    #[test]
    fn what_lacks_something_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let empty = file("empty", "");
        let path = |path: &PathBuf| Some(path.clone());
        let root = |path: &PathBuf| path.to_str().map(str::to_owned);
        let nowhere = folder.path().join("nowhere");
        for (encryption, parameter) in [
            (
                Encryption {
                    mode: Mode::VerifyCa,
                    ..Encryption::default()
                },
                "sslrootcert",
            ),
            (
                Encryption {
                    certificate: path(&empty),
                    ..Encryption::default()
                },
                "sslkey",
            ),
            (
                Encryption {
                    key: path(&empty),
                    ..Encryption::default()
                },
                "sslcert",
            ),
            (
                Encryption {
                    root: root(&empty),
                    ..Encryption::default()
                },
                "sslrootcert",
            ),
            (
                Encryption {
                    root: root(&nowhere),
                    ..Encryption::default()
                },
                "sslrootcert",
            ),
            (
                Encryption {
                    certificate: path(&nowhere),
                    key: path(&empty),
                    ..Encryption::default()
                },
                "sslcert",
            ),
        ] {
            let issue = encryption.client().map(drop).unwrap_err();
            assert_eq!(issue.parameter, parameter, "{issue}");
        }
    }
}
