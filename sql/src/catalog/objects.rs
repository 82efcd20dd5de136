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

    /// Forgets an object.
    pub(crate) fn remove(&mut self, kind: Kind, name: &str) {
        match kind {
            Kind::Source | Kind::Table | Kind::View => drop(self.relations.remove(name)),
            Kind::Sink => drop(self.sinks.remove(name)),
            Kind::Function => drop(self.functions.remove(name)),
        }
    }

    /// What has this name among relations and sinks, or among functions.
    pub(crate) fn of_name(&self, kind: Kind, name: &str) -> Option<&Identity> {
        if kind == Kind::Function {
            return self.functions.get(name).map(|function| &function.identity);
        }
        let relation = self.relations.get(name).map(|relation| &relation.identity);
        relation.or_else(|| self.sinks.get(name).map(|sink| &sink.identity))
    }

    /// Whatever has this name, functions last.
    pub(crate) fn identity(&self, name: &str) -> Option<&Identity> {
        let other = self.of_name(Kind::Source, name);
        other.or_else(|| self.of_name(Kind::Function, name))
    }

    /// The relation, sink or function `id`.
    pub(crate) fn of_id(&self, id: Uuid) -> Option<&Identity> {
        let relations = self.relations.values().map(|relation| &relation.identity);
        let sinks = self.sinks.values().map(|sink| &sink.identity);
        let functions = self.functions.values().map(|function| &function.identity);
        let mut all = relations.chain(sinks).chain(functions);
        all.find(|identity| identity.id == id)
    }

    /// The views and sinks that were bound to object `id`.
    pub(crate) fn dependents(&self, id: Uuid) -> Vec<&Identity> {
        let relations = self.relations.values().map(|relation| &relation.identity);
        let sinks = self.sinks.values().map(|sink| &sink.identity);
        let reads = |identity: &&Identity| identity.references.iter().any(|other| other.id == id);
        relations.chain(sinks).filter(reads).collect()
    }

    /// All that depends on object `id`, directly or by others: whoever reads comes before what it reads.
    pub(crate) fn all_dependents(&self, id: Uuid) -> Vec<&Identity> {
        let mut left = self.dependents(id);
        let is_among =
            |all: &[&Identity], one: &Identity| all.iter().any(|other| other.id == one.id);
        let mut next = 0;
        while let Some(identity) = left.get(next).copied() {
            for dependent in self.dependents(identity.id) {
                if !is_among(&left, dependent) {
                    left.push(dependent);
                }
            }
            next += 1;
        }
        let mut ordered = Vec::with_capacity(left.len());
        loop {
            let is_read = |identity: &Identity| {
                let readers = self.dependents(identity.id);
                readers.iter().any(|reader| is_among(&left, reader))
            };
            let (read, free): (Vec<&Identity>, Vec<&Identity>) =
                left.iter().copied().partition(|identity| is_read(identity));
            // Nothing reads itself, so that only of none at all nothing is free.
            if free.is_empty() {
                return ordered;
            }
            ordered.extend(free);
            left = read;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Reference;

    fn source(name: &str, reads: &[&Relation]) -> Relation {
        let reference = |relation: &&Relation| Reference {
            id: relation.identity.id,
            name: relation.name().to_owned(),
            module: None,
        };
        Relation {
            identity: Identity {
                id: Uuid::now_v7(),
                name: name.to_owned(),
                kind: Kind::View,
                sql: String::new(),
                created_ms: 0,
                references: reads.iter().map(reference).collect(),
            },
            topic: name.to_owned(),
            columns: Vec::new(),
            schema: Arc::new(arrow::datatypes::Schema::empty()),
            key: Vec::new(),
            key_format: streams::KeyFormat::None,
            value_format: streams::ValueFormat::Text,
            times: Vec::new(),
            view: None,
            generator: None,
            has_connector: false,
        }
    }

    #[test]
    fn who_reads_goes_before_what_it_reads() {
        let a = source("a", &[]);
        let b = source("b", &[&a]);
        let d = source("d", &[&a]);
        let c = source("c", &[&b, &d]);
        let e = source("e", &[&c, &a]);
        let id = a.identity.id;
        let mut objects = Objects::default();
        for relation in [a, b, c, d, e] {
            objects.insert_relation(Arc::new(relation));
        }
        let all = objects.all_dependents(id);
        let names: Vec<&str> = all.iter().map(|identity| identity.name.as_str()).collect();
        assert_eq!(names.len(), 4, "{names:?}");
        let place = |name: &str| names.iter().position(|other| *other == name);
        for (reader, read) in [("e", "c"), ("c", "b"), ("c", "d")] {
            assert!(place(reader) < place(read), "{names:?}");
        }
    }
}
