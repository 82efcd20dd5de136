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

/// What a class is by its own name: `S3SinkConnector` is a sink.
fn kind_in(class: &str) -> Option<ConnectorKind> {
    let own = own_name(class);
    match (own.contains("source"), own.contains("sink")) {
        (true, false) => Some(ConnectorKind::Source),
        (false, true) => Some(ConnectorKind::Sink),
        _ => None,
    }
}

/// A class without its package, in lower case.
fn own_name(class: &str) -> String {
    class.rsplit('.').next().unwrap_or(class).to_lowercase()
}

/// What is left of a class without package and kind: `jdbc` of `io.debezium.connector.jdbc.JdbcSinkConnector`.
fn stem(class: &str) -> String {
    let own = own_name(class);
    let own = own.strip_suffix("connector").unwrap_or(&own);
    let own = own
        .strip_suffix("source")
        .or(own.strip_suffix("sink"))
        .unwrap_or(own);
    own.to_owned()
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

    /// All connectors.
    pub(crate) fn connectors(&self) -> impl Iterator<Item = &Arc<dyn ConnectorPlugin>> {
        self.connectors.iter()
    }

    /// Kafka's text for a class that is not there, and the nearest one that is.
    pub(crate) fn unknown_connector(&self, name: &str) -> String {
        let available: Vec<&str> = self
            .connectors
            .iter()
            .map(|connector| connector.class())
            .collect();
        let wanted = kind_in(name);
        let of_kind = |connector: &&Arc<dyn ConnectorPlugin>| {
            wanted.is_none_or(|wanted| connector.kind() == wanted)
        };
        // What a name says beside its package and its kind has to be alike.
        let names = self
            .connectors
            .iter()
            .filter(of_kind)
            .flat_map(|connector| {
                let aliases = connector.aliases().iter().copied();
                std::iter::once(connector.class()).chain(aliases)
            });
        let own = stem(name);
        let alike: Vec<&str> = names
            .filter(|known| {
                let known = stem(known);
                known == own || nearest(&own, [known.as_str()]).is_some()
            })
            .collect();
        let hint = match nearest(name, alike.iter().copied()).or(alike.first().copied()) {
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
