//! A listener that serves: what it asks of who connects.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;

use super::tls::{self, TlsError};
use crate::config::{BrokerConfig, ListenerConfig, split_address};
use crate::security::sasl::Mechanism;

/// What connections of one listener share.
pub(super) struct Listener {
    /// Its name.
    pub(super) name: String,
    /// Takes what is encrypted; none where nothing is.
    pub(super) tls: Option<TlsAcceptor>,
    /// By which clients say who they are; empty where they need not.
    pub(super) mechanisms: Vec<Mechanism>,
    /// Where its clients are to connect, if it was said.
    pub(super) advertised: Option<(String, u16)>,
}

impl Listener {
    /// As it is configured.
    ///
    /// # Errors
    /// If its certificates cannot be used.
    pub(super) fn of(
        config: &BrokerConfig,
        listener: &ListenerConfig,
    ) -> Result<Arc<Self>, TlsError> {
        let protocol = listener.protocol;
        let security = &config.security;
        let advertised = config.advertised_listeners.get(&listener.name);
        let advertised = advertised.and_then(|address| split_address(address));
        Ok(Arc::new(Self {
            name: listener.name.clone(),
            tls: protocol
                .has_tls()
                .then(|| tls::acceptor(&security.tls))
                .transpose()?,
            mechanisms: if protocol.has_sasl() {
                security.mechanisms_of(listener)
            } else {
                Vec::new()
            },
            advertised: advertised.map(|(host, port)| (host.to_owned(), port)),
        }))
    }

    /// Whether a connection costs something before it is known who is at its other end.
    pub(super) fn has_strangers(&self) -> bool {
        self.tls.is_some() || !self.mechanisms.is_empty()
    }
}
