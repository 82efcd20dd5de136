//! CREATE OR REPLACE MATERIALIZED VIEW: the same view by another query.
//!
//! | the new query | what happens |
//! |---|---|
//! | has the same plan | nothing: rows, state and readers stay |
//! | has the same columns and keeps the same, in tables or groups | its rows are made again of that, in one commit; readers see what differs |
//! | has another one, and nothing reads the view | its rows are computed anew from all that the sources hold; its topic is a new one |
//! | has another one, and others read the view | refused, with their names: their rows came of what would be gone |
//!
//! Rows are never kept that the new query would not have given: a view is at every commit what its SELECT would return.
//!
//! Invariant: where the new job does not start, the view is by its old query again.

use std::sync::Arc;

use streams::{MemoryUser, StateSize};
use tracing::info;

use super::answer::Outcome;
use super::circle::Places;
use super::ddl::{catalog_error, check_late_topic, job_record, view_notes};
use super::server::{Inner, StatementContext};
use crate::catalog::{CatalogRecord, Identity, Kind, Relation};
use crate::diagnostic::{Code, Diagnostic};
use crate::parse::statement::{CreateView, Name};
use crate::plan::view;

/// A view after its replacement.
pub(super) struct Replaced {
    relation: Arc<Relation>,
    change: Change,
}

/// What becomes of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Nothing.
    Nothing,
    /// Its rows are made again of what its job keeps.
    Refreshed,
    /// Its rows are computed anew.
    Anew,
}

/// What a row takes while all rows of a view are made again, beside twice its bytes.
const ROW_BYTES: u64 = 512;
/// Which part of the memory of jobs that may take.
const REFRESH_PART: usize = 2;

impl Inner {
    /// A view that cannot be bound any more is no obstacle to a new one of its name.
    pub(super) async fn forget_broken_view(
        &self,
        name: &Name,
        context: &StatementContext<'_>,
    ) -> Result<(), Diagnostic> {
        let Some((id, Kind::View)) = self.broken_id(&name.name) else {
            return Ok(());
        };
        let topic = name.name.as_str();
        self.jobs.drop(&self.engine, topic, Some(topic)).await?;
        self.drop_broken(name, id, Kind::View, context.now_ms)
            .await?;
        Ok(())
    }

    /// Gives a view another query.
    pub(super) async fn replace_view(
        &self,
        create: &CreateView,
        old: &Arc<Relation>,
        context: &StatementContext<'_>,
    ) -> Result<Replaced, Diagnostic> {
        let objects = self.objects();
        let identity = Identity {
            id: old.identity.id,
            created_ms: old.identity.created_ms,
            ..self.identity(&create.name, Kind::View, context)
        };
        let relation = view(
            &self.library,
            &objects,
            identity,
            &create.query,
            self.config.partitions,
            &context.words,
        )?;
        check_late_topic(create)?;
        let (id, name) = (relation.identity.id, create.name.name.as_str());
        let users = objects.all_dependents(id);
        let mut reads = relation.identity.references.iter();
        let circle =
            reads.find(|read| read.id == id || users.iter().any(|user| user.id == read.id));
        if let Some(circle) = circle {
            let message = format!("view {name} would read itself, by {}", circle.name);
            return Err(
                Diagnostic::new(Code::Unsupported, message).at(context.words.place(&circle.name))
            );
        }
        if let Some(made) = &relation.view {
            let places = Places {
                topic: create.name.span,
                table: None,
            };
            self.check_circle(&relation.topic, &made.plan, None, places)
                .await?;
        }
        let change = match (is_same(old, &relation), keeps_state(old, &relation)) {
            (true, _) => Change::Nothing,
            (false, true) if self.has_room_for(old.name()).await => Change::Refreshed,
            (false, _) => Change::Anew,
        };
        let anew = change == Change::Anew;
        let relation = Arc::new(match change {
            Change::Anew => relation,
            Change::Refreshed => revised(settled(relation, old), old, 1),
            Change::Nothing => settled(relation, old),
        });
        let name = relation.name();
        if anew && !users.is_empty() {
            let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
            let message = format!("view {name} is used by {}", names.join(", "));
            return Err(Diagnostic::new(Code::InUse, message)
                .at(create.name.span)
                .help(format!(
                    "their rows came of its old ones: DROP MATERIALIZED VIEW {name} CASCADE, then CREATE them again"
                )));
        }
        let put = |relation: &Relation| {
            let record = CatalogRecord {
                paused: !anew && self.jobs.is_paused(relation.name()),
                ..job_record(&relation.identity, relation.view.as_ref())
            };
            async move { self.store.put(id, &record).await.map_err(catalog_error) }
        };
        put(&relation).await?;
        if change == Change::Refreshed
            && let Err(error) = self.restarted(&relation).await
        {
            let again = self.bind_again(&old.identity, &objects)?;
            // Its rows may be of the new query by now.
            let again = Arc::new(revised(settled(again, old), old, 2));
            put(&again).await?;
            self.restarted(&again).await?;
            self.change_objects(|objects| objects.insert_relation(again));
            return Err(error.note(format!("view {name} has its old query")));
        }
        if anew {
            let started = match self.end_view(old).await {
                Ok(()) => self.start_whole(&relation).await,
                Err(error) => Err(error),
            };
            if let Err(error) = started {
                put(old).await?;
                if self.end_view(&relation).await.is_ok() {
                    self.start_view(old, &objects).await?;
                }
                return Err(error.note(format!("view {name} has its old query")));
            }
        }
        self.change_objects(|objects| objects.insert_relation(Arc::clone(&relation)));
        info!(view = name, ?change, "view replaced");
        Ok(Replaced { relation, change })
    }

    /// Lets a view go on as `relation` has it.
    async fn restarted(&self, relation: &Relation) -> Result<(), Diagnostic> {
        self.jobs.restart(&self.engine, relation).await?;
        match self.jobs.failure(Kind::View, relation.name()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Whether all rows of a view can be made again at once: those that are there and those that come are held together.
    async fn has_room_for(&self, name: &str) -> bool {
        let Some(job) = self.jobs.running(name) else {
            return false;
        };
        let share = self.engine.memory().share(MemoryUser::Jobs) / REFRESH_PART;
        // It reads the state, maybe from disk.
        let sizes = tokio::task::spawn_blocking(move || job.state_sizes()).await;
        let Ok(Ok(sizes)) = sizes else {
            return false;
        };
        let is_counted = sizes
            .iter()
            .all(|size| size.entries < StateSize::ENTRIES_MAX);
        let bytes: u64 = (sizes.iter())
            .map(|size| 2 * size.bytes + ROW_BYTES * size.entries)
            .sum();
        is_counted && usize::try_from(bytes).is_ok_and(|bytes| bytes <= share)
    }

    async fn end_view(&self, relation: &Relation) -> Result<(), Diagnostic> {
        self.backlogs.forget(relation.name());
        let (name, topic) = (relation.name(), Some(relation.topic.as_str()));
        self.jobs.drop(&self.engine, name, topic).await
    }

    /// Starts a view; one that fails as it starts is an error.
    async fn start_whole(&self, relation: &Relation) -> Result<(), Diagnostic> {
        self.start_view(relation, &self.objects()).await?;
        match self.jobs.failure(Kind::View, relation.name()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// What there is to say of it, once it has read what is there.
    pub(super) async fn replaced(
        &self,
        replaced: Replaced,
        wait_ms: u64,
    ) -> Result<Outcome, Diagnostic> {
        let Replaced { relation, change } = replaced;
        let name = relation.name();
        let mut notes = Vec::new();
        match change {
            Change::Anew => {
                notes.push(format!(
                    "its rows are computed anew from what the sources hold; topic {name} is a new one, so who reads it begins again"
                ));
                notes.extend(view_notes(&relation, &self.objects()));
                notes.extend(self.fill(&relation, wait_ms).await);
                notes.extend(self.lacks_of_captured(&relation).await);
            }
            Change::Refreshed => notes.push(
                "what it keeps stays, and its rows are made of that: nothing is read again, and who reads it sees what differs"
                    .to_owned(),
            ),
            Change::Nothing => {
                notes.push("its plan is the same, so its rows and its state stay".to_owned());
            }
        }
        Ok(Outcome::Done {
            message: format!("replaced materialized view {name}"),
            notes,
        })
    }
}

/// A view whose state stays, with the numbers that it has there. Its query may call what keeps something otherwise, where that
/// lies in a subquery now, say.
fn settled(mut relation: Relation, old: &Relation) -> Relation {
    if let (Some(view), Some(old)) = (&mut relation.view, &old.view) {
        let manifest = old.manifest.as_ref();
        view.manifest = manifest.map(|kept| kept.renamed(&old.plan, &view.plan));
        view.revision = old.revision;
    }
    relation
}

/// A view by a query that differs from that of `old` above its state, for the so many times more.
fn revised(mut relation: Relation, old: &Relation, more: u64) -> Relation {
    if let (Some(view), Some(old)) = (&mut relation.view, &old.view) {
        view.revision = old.revision + more;
    }
    relation
}

/// Whether the rows of the new query have the columns of those of the old one, and can be made of what that keeps.
fn keeps_state(old: &Relation, new: &Relation) -> bool {
    let (Some(old_view), Some(new_view)) = (&old.view, &new.view) else {
        return false;
    };
    old.schema == new.schema
        && !old.key.is_empty()
        && old.times == new.times
        && ids(old) == ids(new)
        && format!("{:?}", old_view.sink) == format!("{:?}", new_view.sink)
        && new_view.plan.keeps_state_of(&old_view.plan)
}

/// What a view was bound to.
fn ids(relation: &Relation) -> Vec<uuid::Uuid> {
    let references = relation.identity.references.iter();
    references.map(|reference| reference.id).collect()
}

/// Whether two queries come to the same plan over the same inputs, with the same columns.
fn is_same(old: &Relation, new: &Relation) -> bool {
    old.schema == new.schema
        && old.times == new.times
        && ids(old) == ids(new)
        && plan_of(old) == plan_of(new)
}

/// All of a view's plan but the numbers of its state, which an older one may have otherwise, and of its revision.
fn plan_of(relation: &Relation) -> Option<String> {
    let mut view = relation.view.clone()?;
    (view.manifest, view.revision) = (None, 0);
    Some(format!("{view:?}"))
}
