//! All objects by name, as one immutable value: a statement sees the catalog as it was when the statement began.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::object::{Function, Identity, Kind, Relation, Sink};

/// Relations with sinks, and functions; each has a name space of its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Objects {
    relations: BTreeMap<String, Arc<Relation>>,
    sinks: BTreeMap<String, Arc<Sink>>,
    functions: BTreeMap<String, Arc<Function>>,
}

impl Objects {
    pub(crate) fn relation(&self, name: &str) -> Option<&Arc<Relation>> {
        self.relations.get(name)
    }

    pub(crate) fn sink(&self, name: &str) -> Option<&Arc<Sink>> {
        self.sinks.get(name)
    }

    pub(crate) fn sinks(&self) -> impl Iterator<Item = &Arc<Sink>> {
        self.sinks.values()
    }

    pub(crate) fn function(&self, name: &str) -> Option<&Arc<Function>> {
        self.functions.get(name)
    }

    pub(crate) fn relations(&self) -> impl Iterator<Item = &Arc<Relation>> {
        self.relations.values()
    }

    pub(crate) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Arc<Relation>> {
        self.relations
            .values()
            .filter(move |relation| relation.identity.kind == kind)
    }

    pub(crate) fn functions(&self) -> impl Iterator<Item = &Arc<Function>> {
        self.functions.values()
    }

    pub(crate) fn insert_relation(&mut self, relation: Arc<Relation>) {
        self.relations.insert(relation.name().to_owned(), relation);
    }

    pub(crate) fn insert_sink(&mut self, sink: Arc<Sink>) {
        self.sinks.insert(sink.name().to_owned(), sink);
    }

    pub(crate) fn insert_function(&mut self, function: Arc<Function>) {
        self.functions
            .insert(function.identity.name.clone(), function);
    }

    pub(crate) fn remove_relation(&mut self, name: &str) {
        self.relations.remove(name);
    }

    pub(crate) fn remove_function(&mut self, name: &str) {
        self.functions.remove(name);
    }

    /// Whatever has this name, a relation first.
    pub(crate) fn identity(&self, name: &str) -> Option<&Identity> {
        let relation = self.relations.get(name).map(|relation| &relation.identity);
        relation.or_else(|| self.functions.get(name).map(|function| &function.identity))
    }

    /// Names of the views that were bound to object `id`.
    pub(crate) fn dependents(&self, id: Uuid) -> Vec<&str> {
        self.relations
            .values()
            .filter(|relation| {
                relation
                    .identity
                    .references
                    .iter()
                    .any(|other| other.id == id)
            })
            .map(|relation| relation.name())
            .collect()
    }
}
