//! DROP: what an object stands for goes first, its record in the catalog last.

use uuid::Uuid;

use super::answer::Outcome;
use super::connected_sink::makes_connector;
use super::ddl::{catalog_error, unknown, wrong_kind};
use super::server::{Inner, StatementContext};
use crate::catalog::{Identity, Kind, Objects};
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
        let _one_at_a_time = self.ddl.lock().await;
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
        let mut notes = Vec::new();
        for dependent in objects.all_dependents(identity.id) {
            let more = self.drop_one(dependent, &objects, context.now_ms).await?;
            notes.push(format!("dropped {} {}", dependent.kind, dependent.name));
            notes.extend(more);
        }
        notes.extend(self.drop_one(identity, &objects, context.now_ms).await?);
        Ok(Outcome::Done {
            message: format!("dropped {wanted} {}", name.name),
            notes,
        })
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
