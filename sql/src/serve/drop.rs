//! DROP: what an object stands for goes first, its record in the catalog last.
//!
//! ```text
//! record says that it is dropped ──▶ dependents, connector, job, topic ──▶ no record
//! ```
//!
//! Invariants:
//! 1. A server that dies in between finishes the drop when it starts: nothing of it runs meanwhile.
//! 2. A drop that fails is none: the object stays, and no start takes it away.

use std::collections::BTreeSet;

use tracing::{info, warn};
use uuid::Uuid;

use super::answer::Outcome;
use super::connected_sink::makes_connector;
use super::ddl::{catalog_error, unknown, wrong_kind};
use super::server::{Inner, StatementContext, now_ms};
use crate::catalog::{CatalogRecord, Identity, Kind, Objects};
use crate::diagnostic::{Code, Diagnostic};
use crate::parse::statement::{Drop, DropKind, Name};

impl From<DropKind> for Kind {
    fn from(kind: DropKind) -> Self {
        match kind {
            DropKind::Source => Self::Source,
            DropKind::Table => Self::Table,
            DropKind::View => Self::View,
            DropKind::Sink => Self::Sink,
            DropKind::Function => Self::Function,
        }
    }
}

impl Inner {
    /// DROP.
    pub(super) async fn drop_object(
        &self,
        drop: &Drop,
        context: &StatementContext<'_>,
    ) -> Result<Outcome, Diagnostic> {
        let _one_at_a_time = self.change_catalog().await;
        let wanted = Kind::from(drop.kind);
        let name = &drop.name;
        let objects = self.objects();
        if wanted != Kind::Function
            && let Some((id, kind)) = self.broken_id(&name.name)
        {
            if kind != wanted {
                return Err(wrong_kind(name, kind));
            }
            return self.drop_broken(name, id, kind, context.now_ms).await;
        }
        let Some(identity) = objects.of_name(wanted, &name.name) else {
            if drop.if_exists {
                return Ok(Outcome::done(format!("there is no {wanted} {}", name.name)));
            }
            return Err(unknown(name, wanted, &objects));
        };
        if identity.kind != wanted {
            return Err(wrong_kind(name, identity.kind));
        }
        if !drop.cascade {
            refuse_used(identity, name, &objects)?;
        }
        let notes = self.drop_whole(identity, &objects, context.now_ms).await?;
        Ok(Outcome::Done {
            message: format!("dropped {wanted} {}", name.name),
            notes,
        })
    }

    /// Drops an object with all that depends on it. Says what there is to know.
    async fn drop_whole(
        &self,
        identity: &Identity,
        objects: &Objects,
        now_ms: i64,
    ) -> Result<Vec<String>, Diagnostic> {
        let id = identity.id;
        let record = match takes_steps(identity, objects) {
            true => self.store.record(id).await.map_err(catalog_error)?,
            false => None,
        };
        if let Some(record) = &record {
            let begun = CatalogRecord {
                dropping: true,
                ..record.clone()
            };
            self.store.put(id, &begun).await.map_err(catalog_error)?;
        }
        let dropped = self.drop_steps(identity, objects, now_ms).await;
        if let (Err(_), Some(record)) = (&dropped, record) {
            let stays = CatalogRecord {
                dropping: false,
                ..record
            };
            self.store.put(id, &stays).await.map_err(catalog_error)?;
        }
        dropped
    }

    async fn drop_steps(
        &self,
        identity: &Identity,
        objects: &Objects,
        now_ms: i64,
    ) -> Result<Vec<String>, Diagnostic> {
        let mut notes = Vec::new();
        for dependent in objects.all_dependents(identity.id) {
            let more = self.drop_one(dependent, objects, now_ms).await?;
            notes.push(format!("dropped {} {}", dependent.kind, dependent.name));
            notes.extend(more);
        }
        notes.extend(self.drop_one(identity, objects, now_ms).await?);
        Ok(notes)
    }

    /// Objects whose drop has begun, with all that goes with them.
    pub(super) fn half_dropped(&self) -> BTreeSet<Uuid> {
        let (objects, begun) = (self.objects(), self.dropping.lock().clone());
        let dependents = begun.iter().flat_map(|id| objects.all_dependents(*id));
        let dependents: Vec<Uuid> = dependents.map(|identity| identity.id).collect();
        begun.into_iter().chain(dependents).collect()
    }

    /// Finishes the drops that a server which died left half done. Those of connectors wait until these can be reached.
    pub(super) async fn finish_drops(&self) {
        let begun = std::mem::take(&mut *self.dropping.lock());
        for id in begun {
            let objects = self.objects();
            let Some(identity) = objects.of_id(id) else {
                continue;
            };
            let whole = objects.all_dependents(id);
            let mut whole = whole.into_iter().chain([identity]);
            let waits = self.connectors.get().is_none()
                && whole.any(|identity| makes_connector(&identity.sql));
            if waits {
                self.dropping.lock().insert(id);
                continue;
            }
            let (kind, name) = (identity.kind, identity.name.as_str());
            match self.drop_steps(identity, &objects, now_ms()).await {
                Ok(notes) => {
                    info!(%kind, name, ?notes, "a DROP that the last run left half done is finished")
                }
                Err(error) => {
                    warn!(%kind, name, %error, "a DROP that the last run left half done cannot be finished: DROP it again");
                }
            }
        }
    }

    /// Drops what nothing depends on; says what there is to know of it.
    pub(super) async fn drop_one(
        &self,
        identity: &Identity,
        objects: &Objects,
        now_ms: i64,
    ) -> Result<Vec<String>, Diagnostic> {
        let name = identity.name.as_str();
        let stays = |topic: &String| vec![format!("topic {topic} is left as it is")];
        let relation = objects.relation(name);
        let notes = match identity.kind {
            Kind::View => {
                let topic = relation.map_or(name, |relation| relation.topic.as_str());
                self.jobs.drop(&self.engine, name, Some(topic)).await?;
                self.backlogs.forget(name);
                self.delete_topic(topic).await?;
                Vec::new()
            }
            Kind::Sink => {
                let mut notes = match makes_connector(&identity.sql) {
                    true => self.remove_connector(name).await?,
                    false => Vec::new(),
                };
                self.jobs.drop(&self.engine, name, None).await?;
                let sink = objects.sink(name);
                notes.extend(
                    sink.into_iter()
                        .flat_map(|sink| stays(&sink.plan.sink.topic)),
                );
                notes
            }
            Kind::Source | Kind::Table => {
                self.generators.stop(name).await;
                match relation {
                    Some(relation) if relation.has_connector => {
                        self.drop_connector(relation, objects).await?
                    }
                    Some(relation) => stays(&relation.topic),
                    None => Vec::new(),
                }
            }
            Kind::Function => Vec::new(),
        };
        let removed = self.store.remove(identity.id, now_ms).await;
        removed.map_err(catalog_error)?;
        self.change_objects(|objects| objects.remove(identity.kind, name));
        Ok(notes)
    }

    pub(super) async fn drop_broken(
        &self,
        name: &Name,
        id: Uuid,
        kind: Kind,
        now_ms: i64,
    ) -> Result<Outcome, Diagnostic> {
        let sql = self.broken_sql(&name.name);
        let notes = match sql.is_some_and(|sql| makes_connector(&sql)) {
            true => self.remove_connector(&name.name).await?,
            false => Vec::new(),
        };
        self.store.remove(id, now_ms).await.map_err(catalog_error)?;
        self.forget_broken(&name.name);
        let message = format!("dropped {kind} {}", name.name);
        Ok(Outcome::Done { message, notes })
    }
}

/// Whether there is more to take away than the record.
fn takes_steps(identity: &Identity, objects: &Objects) -> bool {
    let is_job = matches!(identity.kind, Kind::View | Kind::Sink);
    is_job || makes_connector(&identity.sql) || !objects.dependents(identity.id).is_empty()
}

/// Refuses to take away what others read, and names them.
fn refuse_used(identity: &Identity, name: &Name, objects: &Objects) -> Result<(), Diagnostic> {
    let users = objects.dependents(identity.id);
    if users.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
    let drops: Vec<String> = (objects.all_dependents(identity.id).iter())
        .map(|user| {
            format!(
                "DROP {} {}",
                user.kind.to_string().to_uppercase(),
                user.name
            )
        })
        .collect();
    let message = format!(
        "{} {} is used by {}",
        identity.kind,
        name.name,
        names.join(", ")
    );
    Err(Diagnostic::new(Code::InUse, message)
        .at(name.span)
        .help(format!(
            "first: {}; CASCADE at the end does that",
            drops.join("; ")
        )))
}
