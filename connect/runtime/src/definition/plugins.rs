//! The connectors that are compiled in, by class and alias.

use std::sync::Arc;

use connect_api::{ConnectorKind, ConnectorPlugin};
use connect_sandbox::Sandbox;

use super::nearest;
use crate::converter::{ConverterKind, SIMPLE_HEADERS};
use crate::transform::{PredicateKind, TransformKind};

/// Everything that a configuration can name.
#[derive(Clone)]
pub(crate) struct Plugins {
    connectors: Vec<Arc<dyn ConnectorPlugin>>,
    pub(crate) sandbox: Arc<Sandbox>,
}

/// A line of `/connector-plugins`.
pub(crate) struct Listed {
    pub(crate) class: String,
    pub(crate) kind: &'static str,
    pub(crate) version: &'static str,
}

impl Plugins {
    pub(crate) fn new(
        mut connectors: Vec<Arc<dyn ConnectorPlugin>>,
        sandbox: Arc<Sandbox>,
    ) -> Self {
        connectors.sort_by_key(|connector| connector.class());
        Self {
            connectors,
            sandbox,
        }
    }

    /// The connector of this class or alias.
    pub(crate) fn connector(&self, name: &str) -> Option<&Arc<dyn ConnectorPlugin>> {
        self.connectors
            .iter()
            .find(|connector| connector.class() == name || connector.aliases().contains(&name))
    }

    /// Kafka's text for a class that is not there, and the nearest one that is.
    pub(crate) fn unknown_connector(&self, name: &str) -> String {
        let available: Vec<&str> = self
            .connectors
            .iter()
            .map(|connector| connector.class())
            .collect();
        let known = self.connectors.iter().flat_map(|connector| {
            std::iter::once(connector.class()).chain(connector.aliases().iter().copied())
        });
        let hint = match nearest(name, known) {
            Some(near) => format!(" (did you mean {near}?)"),
            None => String::new(),
        };
        format!(
            "Failed to find any class that implements Connector and which name matches {name}{hint}, available \
             connectors are: {}",
            available.join(", ")
        )
    }

    /// All plugins by class.
    pub(crate) fn list(&self, connectors_only: bool) -> Vec<Listed> {
        let version = env!("CARGO_PKG_VERSION");
        let mut listed: Vec<Listed> = self
            .connectors
            .iter()
            .map(|connector| Listed {
                class: connector.class().to_owned(),
                kind: match connector.kind() {
                    ConnectorKind::Source => "source",
                    ConnectorKind::Sink => "sink",
                },
                version: connector.version(),
            })
            .collect();
        if !connectors_only {
            let mut add = |class: String, kind| {
                listed.push(Listed {
                    class,
                    kind,
                    version,
                })
            };
            for converter in ConverterKind::ALL {
                add(converter.class().to_owned(), "converter");
            }
            add(SIMPLE_HEADERS.to_owned(), "header_converter");
            for converter in ConverterKind::ALL {
                add(converter.class().to_owned(), "header_converter");
            }
            for transform in TransformKind::ALL {
                add(transform.class(), "transformation");
            }
            for predicate in PredicateKind::ALL {
                add(predicate.class(), "predicate");
            }
        }
        listed
    }
}
