//! ALTER … PAUSE | RESUME: a job stands still and goes on where it was. The catalog's record says so, over restarts.
//! RENAME is in `rename.rs`.

use super::answer::Outcome;
use super::ddl::{catalog_error, job_record, unknown, wrong_kind};
use super::server::{Inner, StatementContext};
use crate::catalog::{CatalogRecord, Kind};
use crate::diagnostic::{Code, Diagnostic};
use crate::parse::statement::{Alter, AlterChange};
use crate::plan::name_text;

/// That an object is of another kind, with the statement that changes it.
fn other_kind(alter: &Alter, found: Kind) -> Diagnostic {
    let name = &alter.name;
    let (runs, upper) = (
        matches!(found, Kind::View | Kind::Sink),
        found.to_string().to_uppercase(),
    );
    let called = name_text(&name.name);
    let help = match &alter.change {
        AlterChange::Pause if runs => format!("ALTER {upper} {called} PAUSE"),
        AlterChange::Resume if runs => format!("ALTER {upper} {called} RESUME"),
        AlterChange::Rename(to) if matches!(found, Kind::Source | Kind::Table) => {
            format!("ALTER {upper} {called} RENAME TO {}", name_text(&to.name))
        }
        AlterChange::Rename(_) => "sources and tables are given other names".to_owned(),
        AlterChange::Pause | AlterChange::Resume => {
            "materialized views and sinks are what runs, and can be paused".to_owned()
        }
    };
    wrong_kind(name, found).help(help)
}

impl Inner {
    /// ALTER.
    pub(super) async fn alter(
        &self,
        alter: &Alter,
        context: &StatementContext<'_>,
    ) -> Result<Outcome, Diagnostic> {
        let _one_at_a_time = self.change_catalog().await;
        let (kind, name) = (Kind::from(alter.kind), &alter.name);
        let objects = self.objects();
        let Some(identity) = objects.of_name(kind, &name.name) else {
            if alter.if_exists {
                return Ok(Outcome::done(format!("there is no {kind} {}", name.name)));
            }
            return Err(unknown(name, kind, &objects));
        };
        if identity.kind != kind {
            return Err(other_kind(alter, identity.kind));
        }
        let pause = match &alter.change {
            AlterChange::Pause => true,
            AlterChange::Resume => false,
            AlterChange::Rename(to) => return self.rename(identity, to, context).await,
        };
        let (what, paused) = (name.name.as_str(), self.jobs.is_paused(&name.name));
        if paused == pause {
            if let (false, Some(idle)) = (pause, self.idle_sinks().get(what)) {
                let message = format!("{kind} {what} is not paused: its connector does not go on");
                return Err(Diagnostic::new(Code::Connector, message).help(idle));
            }
            let state = if paused {
                "paused already"
            } else {
                "not paused"
            };
            return Ok(Outcome::done(format!("{kind} {what} is {state}")));
        }
        let view = objects
            .relation(what)
            .and_then(|relation| relation.view.as_ref());
        let plan = view.or_else(|| objects.sink(what).map(|sink| &sink.plan));
        let changed = CatalogRecord {
            paused: pause,
            ..job_record(identity, plan)
        };
        self.store
            .put(identity.id, &changed)
            .await
            .map_err(catalog_error)?;
        if pause {
            self.jobs.pause(what).await?;
            return Ok(Outcome::Done {
                message: format!("paused {kind} {what}"),
                notes: vec![match kind {
                    Kind::Sink => format!(
                        "it writes nothing while it is, and what it wrote stays; ALTER SINK {what} RESUME lets it go on where it was"
                    ),
                    _ => format!(
                        "its rows cannot be read while it is; ALTER {} {what} RESUME lets it go on where it was",
                        kind.to_string().to_uppercase()
                    ),
                }],
            });
        }
        match (objects.relation(what), objects.sink(what)) {
            (Some(relation), _) => self.start_view(relation, &objects).await?,
            (None, Some(sink)) => {
                let started = self.jobs.start(&self.engine, kind, what, &sink.plan);
                started.await?;
            }
            (None, None) => return Err(unknown(name, kind, &objects)),
        }
        Ok(Outcome::done(format!("resumed {kind} {what}")))
    }
}
