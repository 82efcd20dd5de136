//! CREATE and DROP: the catalog's record first, then what it stands for; in the opposite order when it goes.

use std::sync::Arc;
use std::time::Duration;

use log_api::{AdminError, NewTopic};
use streams::{Emit, LatePolicy, NodeKind, PlanNode, StateManifest};
use tracing::info;
use uuid::Uuid;

use super::answer::Outcome;
use super::connector::{Planned, makes_connector};
use super::server::{Inner, StatementContext};
use super::session::{Session, duration_ms};
use crate::catalog::{CatalogRecord, Identity, Kind, Objects, Relation, bind_relation};
use crate::diagnostic::{Code, Diagnostic, Span, nearest};
use crate::parse::statement::{CreateRelation, CreateView, Drop, DropKind, Late, Name};
use crate::plan::{interval_text, view};

/// Longest name of an object: what the engine adds still has to fit a topic's name.
const NAME_BYTES_MAX: usize = 200;

/// What the topics beside a view's own are called after it: no object bears such a name.
const SIDE_TOPICS: [&str; 2] = [".late", ".errors"];

/// A shorter topic's name is never taken for another one mistyped.
const SLIP_CHARS_MIN: usize = 4;

impl Inner {
    /// CREATE SOURCE and CREATE TABLE.
    pub(super) async fn create_relation(
        &self,
        create: &CreateRelation,
        context: &StatementContext<'_>,
    ) -> Result<Outcome, Diagnostic> {
        let kind = if create.table {
            Kind::Table
        } else {
            Kind::Source
        };
        if let Some(outcome) = self.taken(&create.name, kind, create.if_not_exists)? {
            return Ok(outcome);
        }
        // Others do not wait for what a connector looks at.
        let planned = self.planned(create, context).await?;
        let _one_at_a_time = self.ddl.lock().await;
        if let Some(outcome) = self.taken(&create.name, kind, create.if_not_exists)? {
            return Ok(outcome);
        }
        let mut identity = self.identity(&create.name, kind, context);
        let (completed, connector) = match planned {
            Some(Planned { completed, config }) => (Some(completed), Some(config)),
            None => (self.inferred(create, context).await?, None),
        };
        let (create, notes) = match &completed {
            Some(completed) => {
                identity.sql.clone_from(&completed.sql);
                (&completed.create, completed.notes.clone())
            }
            None => (create, Vec::new()),
        };
        let bound = bind_relation(&self.library, create, identity, &context.words);
        let bound = bound.map_err(|error| match completed {
            // Its place is one of the completed text.
            Some(_) => error.without_place(),
            None => error,
        })?;
        let written = &bound.relation.topic;
        if create.table && (is_internal(written) || side_topic(written).is_some()) {
            return Err(internal_topic(&bound.relation.topic).at(bound.topic_span));
        }
        let mut notes = notes;
        if connector.is_some() {
            self.check_own_topic(&bound.relation).await?;
        }
        self.topic_of(
            &bound.relation,
            bound.partitions,
            bound.topic_span,
            &mut notes,
        )
        .await?;
        if create.watermark.is_none() {
            notes.push(match bound.relation.times.first() {
                Some(time) => format!(
                    "event time is {} (the records' own), {} behind",
                    bound.relation.schema.field(time.column).name(),
                    interval_text(time.delay_us)
                ),
                None if create.table => String::new(),
                None => {
                    "no event time: windows need WATERMARK FOR ts AS ts - INTERVAL '…'".to_owned()
                }
            });
            notes.retain(|note| !note.is_empty());
        }
        let relation = Arc::new(bound.relation);
        let id = relation.identity.id;
        self.store
            .put(id, &record(&relation.identity, None))
            .await
            .map_err(catalog_error)?;
        if let Some(config) = connector
            && let Err(error) = self.create_connector(relation.name(), config).await
        {
            let removed = self.store.remove(id, context.now_ms).await;
            removed.map_err(catalog_error)?;
            self.delete_topic(&relation.topic).await?;
            return Err(error.at(create.name.span));
        }
        self.change_objects(|objects| objects.insert_relation(Arc::clone(&relation)));
        Ok(Outcome::Done {
            message: format!("created {kind} {}", relation.name()),
            notes,
        })
    }

    pub(super) async fn delete_topic(&self, topic: &str) -> Result<(), Diagnostic> {
        match self.log.admin().delete_topic(topic).await {
            Ok(()) | Err(AdminError::UnknownTopic(_)) => Ok(()),
            Err(error) => Err(Diagnostic::new(Code::Log, error.to_string())),
        }
    }

    /// Finds the topic, or makes it. A source that names almost a topic that exists is taken for a slip, unless
    /// `partitions` was said.
    async fn topic_of(
        &self,
        relation: &Relation,
        partitions: Option<i32>,
        span: Option<Span>,
        notes: &mut Vec<String>,
    ) -> Result<(), Diagnostic> {
        let admin = self.log.admin();
        let topic = &relation.topic;
        let described = admin
            .describe_topic(topic)
            .await
            .map_err(|error| invalid_topic(&error, span))?;
        if described.is_some() {
            return Ok(());
        }
        let is_named_by_hand = relation.identity.kind == Kind::Source && !relation.has_connector;
        if is_named_by_hand && partitions.is_none() {
            let topics = admin
                .list_topics()
                .await
                .map_err(|error| invalid_topic(&error, span))?;
            let names = topics
                .iter()
                .filter(|other| !other.internal && is_slip(topic, &other.name))
                .map(|topic| topic.name.as_str());
            if let Some(near) = nearest(topic, names) {
                let message = format!("topic {topic} does not exist");
                return Err(Diagnostic::new(Code::UnknownTopic, message)
                    .at(span)
                    .suggest(format!("'{near}'"))
                    .note("partitions = 4 in WITH makes a new topic"));
            }
        }
        let mut new = NewTopic::new(topic.clone(), partitions.unwrap_or(self.config.partitions));
        if !relation.key.is_empty() {
            new = new.with("cleanup.policy", "compact");
        }
        match admin.create_topic(new).await {
            Ok(_) => notes.push(format!("made topic {topic}, empty so far")),
            Err(AdminError::TopicExists(_)) => {}
            Err(error) => return Err(invalid_topic(&error, span)),
        }
        Ok(())
    }

    /// CREATE MATERIALIZED VIEW.
    pub(super) async fn create_view(
        &self,
        create: &CreateView,
        session: &Session,
        context: &StatementContext<'_>,
    ) -> Result<Outcome, Diagnostic> {
        let wait_ms = wait_option(create)?
            .or(session.create_wait_ms)
            .unwrap_or(self.config.create_wait_ms);
        let one_at_a_time = self.ddl.lock().await;
        if let Some(outcome) = self.taken(&create.name, Kind::View, create.if_not_exists)? {
            return Ok(outcome);
        }
        let objects = self.objects();
        let identity = self.identity(&create.name, Kind::View, context);
        let relation = view(
            &self.library,
            &objects,
            identity,
            &create.query,
            self.config.partitions,
            &context.words,
        )?;
        if let Some((Late::To(topic), span)) = &create.query.late
            && is_internal(topic)
        {
            return Err(internal_topic(topic).at(*span));
        }
        let described = self.log.admin().describe_topic(&relation.topic).await;
        let described = described.map_err(|error| invalid_topic(&error, create.name.span))?;
        if described.is_some() {
            let message = format!(
                "a view writes to a topic of its own name, and topic {} exists already",
                relation.topic
            );
            return Err(Diagnostic::new(Code::Exists, message)
                .at(create.name.span)
                .help("choose another name, or delete the topic"));
        }
        let relation = Arc::new(relation);
        let id = relation.identity.id;
        let settled = relation.view.as_ref();
        let settled = settled.and_then(|view| view.manifest.as_ref());
        let record = CatalogRecord {
            state: settled.map(StateManifest::to_text),
            ..record(&relation.identity, None)
        };
        self.store.put(id, &record).await.map_err(catalog_error)?;
        let started = self.jobs.start(&self.engine, &relation).await;
        let failure = started.err().or_else(|| self.jobs.failure(relation.name()));
        if let Some(error) = failure {
            // What it has made already would be in the way of the next attempt.
            if let Err(left) = self.jobs.drop(&self.engine, relation.name()).await {
                tracing::warn!(view = relation.name(), error = %left, "a view that did not start leaves topics behind");
            }
            self.store
                .remove(id, context.now_ms)
                .await
                .map_err(catalog_error)?;
            return Err(error);
        }
        self.begin_backlog(&relation, &objects).await;
        self.change_objects(|objects| objects.insert_relation(Arc::clone(&relation)));
        drop(one_at_a_time);
        info!(
            view = relation.name(),
            topic = relation.topic,
            "view created"
        );
        let mut notes = view_notes(&relation, &objects);
        notes.extend(self.fill(&relation, wait_ms).await);
        let message = format!("created materialized view {}", relation.name());
        Ok(Outcome::Done { message, notes })
    }

    /// Waits until a new view has read what was there, so that a SELECT after its CREATE shows it; says what lacks then.
    async fn fill(&self, relation: &Relation, wait_ms: u64) -> Option<String> {
        let name = relation.name();
        let ends = self.backlogs.ends(name)?;
        let limit = Duration::from_millis(wait_ms);
        match tokio::time::timeout(limit, self.jobs.covers(name, &ends)).await {
            // A job that is not open yet covers nothing that it knows of.
            Ok(Ok(())) if self.filling(name).is_none() => self
                .jobs
                .left_out(name)
                .map(|left_out| format!("{left_out}; EXPLAIN WHY {name} says more")),
            Ok(Err(error)) => Some(error.to_string()),
            Ok(Ok(())) | Err(_) => self.filling(name).map(|filling| {
                let how = format!("EXPLAIN WHY {name} says how far it is");
                format!("still reading what is there ({}); {how}", filling.text())
            }),
        }
    }

    /// DROP.
    pub(super) async fn drop_object(
        &self,
        drop: &Drop,
        context: &StatementContext<'_>,
    ) -> Result<Outcome, Diagnostic> {
        let _one_at_a_time = self.ddl.lock().await;
        let wanted = match drop.kind {
            DropKind::Source => Kind::Source,
            DropKind::Table => Kind::Table,
            DropKind::View => Kind::View,
            DropKind::Function => Kind::Function,
        };
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
        let identity = match wanted {
            Kind::Function => objects
                .function(&name.name)
                .map(|function| &function.identity),
            _ => objects
                .relation(&name.name)
                .map(|relation| &relation.identity),
        };
        let Some(identity) = identity else {
            if drop.if_exists {
                return Ok(Outcome::done(format!("there is no {wanted} {}", name.name)));
            }
            return Err(unknown(name, wanted, &objects));
        };
        if identity.kind != wanted {
            return Err(wrong_kind(name, identity.kind));
        }
        let dependents = objects.dependents(identity.id);
        if !dependents.is_empty() {
            let message = format!(
                "{wanted} {} is used by {}",
                name.name,
                dependents.join(", ")
            );
            let drops: Vec<String> = dependents
                .iter()
                .map(|view| format!("DROP MATERIALIZED VIEW {view}"))
                .collect();
            return Err(Diagnostic::new(Code::InUse, message)
                .at(name.span)
                .help(format!("first: {}", drops.join("; "))));
        }
        let mut notes = Vec::new();
        match objects.relation(&name.name) {
            Some(relation) if wanted == Kind::View => {
                self.jobs.drop(&self.engine, relation.name()).await?;
                self.backlogs.forget(relation.name());
                self.delete_topic(&relation.topic).await?;
            }
            Some(relation) if relation.has_connector => {
                notes = self.drop_connector(relation, &objects).await?;
            }
            Some(relation) if wanted != Kind::Function => {
                notes.push(format!("topic {} is left as it is", relation.topic));
            }
            _ => {}
        }
        self.store
            .remove(identity.id, context.now_ms)
            .await
            .map_err(catalog_error)?;
        self.change_objects(|objects| match wanted {
            Kind::Function => objects.remove_function(&name.name),
            _ => objects.remove_relation(&name.name),
        });
        Ok(Outcome::Done {
            message: format!("dropped {wanted} {}", name.name),
            notes,
        })
    }

    async fn drop_broken(
        &self,
        name: &Name,
        id: Uuid,
        kind: Kind,
        now_ms: i64,
    ) -> Result<Outcome, Diagnostic> {
        let has_connector = self.broken_sql(&name.name);
        let notes = match has_connector.is_some_and(|sql| makes_connector(&sql)) {
            true => self.remove_connector(&name.name).await?,
            false => Vec::new(),
        };
        self.store.remove(id, now_ms).await.map_err(catalog_error)?;
        self.forget_broken(&name.name);
        let message = format!("dropped {kind} {}", name.name);
        Ok(Outcome::Done { message, notes })
    }

    /// Answers for a name that is taken, or refuses one that cannot be used.
    fn taken(
        &self,
        name: &Name,
        kind: Kind,
        if_not_exists: bool,
    ) -> Result<Option<Outcome>, Diagnostic> {
        let usable = !name.name.is_empty()
            && name.name.len() <= NAME_BYTES_MAX
            && !name.name.starts_with("_thalweg")
            && !matches!(name.name.as_str(), "." | "..")
            && name
                .name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !usable {
            return Err(Diagnostic::new(
                Code::InvalidName,
                format!("{:?} cannot be a name", name.written),
            )
            .at(name.span)
            .help(format!(
                "letters, digits, '_', '-' and '.', at most {NAME_BYTES_MAX}; not _thalweg…"
            )));
        }
        if let Some(side) = side_topic(&name.name) {
            let message = format!("{:?} cannot be a name: it ends with {side}", name.written);
            return Err(Diagnostic::new(Code::InvalidName, message)
                .at(name.span)
                .help(
                    "the late rows and row errors of a view v go to topics v.late and v.errors",
                ));
        }
        let found = match self.broken_id(&name.name) {
            Some((_, found)) => found,
            None => match self.objects().relation(&name.name) {
                Some(relation) => relation.identity.kind,
                None => return Ok(None),
            },
        };
        if if_not_exists && found == kind {
            return Ok(Some(Outcome::done(format!(
                "{kind} {} exists already",
                name.name
            ))));
        }
        Err(exists(name, found))
    }

    pub(super) fn identity(
        &self,
        name: &Name,
        kind: Kind,
        context: &StatementContext<'_>,
    ) -> Identity {
        Identity {
            id: Uuid::now_v7(),
            name: name.name.clone(),
            kind,
            sql: context.text.text.to_owned(),
            created_ms: context.now_ms,
            references: Vec::new(),
        }
    }
}

/// Topics of the log, of Connect and our own: what writes into one breaks its owner.
pub(super) fn is_internal(topic: &str) -> bool {
    topic.starts_with("__")
        || topic.starts_with("_thalweg")
        || matches!(
            topic,
            "connect-configs" | "connect-offsets" | "connect-status"
        )
}

pub(super) fn internal_topic(topic: &str) -> Diagnostic {
    Diagnostic::new(
        Code::InvalidName,
        format!("topic {topic} is internal, so nothing is written to it by hand"),
    )
    .help("a SOURCE over it can be read; choose another topic to write to")
}

/// The ending that makes a name that of a view's side topic.
fn side_topic(name: &str) -> Option<&'static str> {
    SIDE_TOPICS.into_iter().find(|side| name.ends_with(side))
}

/// Whether `topic` may be `other` mistyped: short names, and names that differ in digits only, are meant.
fn is_slip(topic: &str, other: &str) -> bool {
    let letters = |name: &str| -> String {
        let letters = name.chars().filter(|char| !char.is_ascii_digit());
        letters.collect()
    };
    topic.chars().count() >= SLIP_CHARS_MIN && letters(topic) != letters(other)
}

pub(super) fn record(identity: &Identity, module: Option<String>) -> CatalogRecord {
    CatalogRecord {
        version: crate::catalog::RECORD_VERSION,
        kind: identity.kind.word().to_owned(),
        name: identity.name.clone(),
        sql: identity.sql.clone(),
        dialect: CatalogRecord::DIALECT.to_owned(),
        created: identity.created_ms,
        references: identity.references.clone(),
        module,
        state: None,
    }
}

/// What an author may not expect of the view.
fn view_notes(relation: &Relation, objects: &Objects) -> Vec<String> {
    let mut notes = Vec::new();
    let Some(view) = &relation.view else {
        return notes;
    };
    let is_join = |node: &PlanNode| matches!(node.kind, NodeKind::Join(_));
    let join = view.plan.nodes.iter().any(is_join);
    for reference in &relation.identity.references {
        let Some(read) = objects.relation(&reference.name) else {
            continue;
        };
        if let Some(time) = read
            .times
            .first()
            .filter(|time| !time.declared && view.windowed)
        {
            notes.push(format!(
                "event time of {} is {}, {} behind",
                read.name(),
                read.schema.field(time.column).name(),
                interval_text(time.delay_us)
            ));
        }
    }
    match view.late() {
        Some(LatePolicy::To(topic)) => notes.push(format!("late rows go to topic {topic}")),
        Some(LatePolicy::Drop) => notes.push("late rows are dropped and counted".to_owned()),
        _ => {}
    }
    if join {
        notes.push(
            "the join keeps all rows of both sides: a change on either side corrects the view"
                .to_owned(),
        );
    }
    if view.emit == Emit::OnWindowClose {
        notes.push(if view.corrects_closed_windows() {
            "rows appear when their window closes, and change when what they come of is corrected"
                .to_owned()
        } else {
            "rows appear once, when their window closes".to_owned()
        });
    }
    notes
}

pub(super) fn unknown(name: &Name, kind: Kind, objects: &Objects) -> Diagnostic {
    let code = if kind == Kind::Function {
        Code::UnknownFunction
    } else {
        Code::UnknownRelation
    };
    let diagnostic =
        Diagnostic::new(code, format!("there is no {kind} {:?}", name.name)).at(name.span);
    match kind {
        Kind::Function => {
            let names = objects
                .functions()
                .map(|function| function.identity.name.as_str());
            diagnostic.suggest_nearest(&name.name, names)
        }
        kind => {
            let names = objects.of_kind(kind).map(|relation| relation.name());
            diagnostic.suggest_nearest(&name.name, names)
        }
    }
}

pub(super) fn exists(name: &Name, kind: Kind) -> Diagnostic {
    Diagnostic::new(Code::Exists, format!("{kind} {} exists already", name.name))
        .at(name.span)
        .help("choose another name, DROP it, or add IF NOT EXISTS")
}

fn wrong_kind(name: &Name, kind: Kind) -> Diagnostic {
    Diagnostic::new(Code::WrongKind, format!("{} is a {kind}", name.name))
        .at(name.span)
        .help(format!(
            "DROP {} {}",
            kind.to_string().to_uppercase(),
            name.name
        ))
}

pub(super) fn invalid_topic(error: &AdminError, span: Option<Span>) -> Diagnostic {
    let code = match error {
        AdminError::InvalidTopic { .. } => Code::InvalidName,
        _ => Code::Log,
    };
    Diagnostic::new(code, error.to_string()).at(span)
}

/// `WITH (wait = …)` of a view, ms.
fn wait_option(create: &CreateView) -> Result<Option<u64>, Diagnostic> {
    let mut wait_ms = None;
    for (name, value) in &create.options {
        if !name.value.eq_ignore_ascii_case("wait") {
            let message = format!("a view has no option {:?}", name.value);
            return Err(Diagnostic::new(Code::UnknownOption, message)
                .at(name.span)
                .suggest_nearest(&name.value, ["wait"])
                .note("options of a view: wait = off, or how long: '30s'"));
        }
        let ms = duration_ms(&value.value).ok_or_else(|| {
            let message = format!("wait cannot be '{}'", value.value);
            Diagnostic::new(Code::OptionValue, message)
                .at(value.span)
                .help("off, or a time: '500ms', '30s'")
        })?;
        wait_ms = Some(ms);
    }
    Ok(wait_ms)
}

pub(super) fn catalog_error(error: crate::catalog::StoreError) -> Diagnostic {
    Diagnostic::new(Code::Log, error.to_string())
}
