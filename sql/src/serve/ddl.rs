//! CREATE: the catalog's record first, then what it stands for.

use std::sync::Arc;
use std::time::Duration;

use log_api::{AdminError, NewTopic};
use streams::{Emit, LatePolicy, NodeKind, PlanNode, StateManifest};
use tracing::info;
use uuid::Uuid;

use super::answer::Outcome;
use super::connector::Planned;
use super::server::{Inner, StatementContext};
use super::session::{Session, duration_ms};
use crate::catalog::{CatalogRecord, Identity, Kind, Objects, Relation, bind_relation};
use crate::diagnostic::{Code, Diagnostic, Span, nearest};
use crate::parse::statement::{CreateRelation, CreateView, Late, Name, Text};
use crate::plan::{ViewPlan, interval_text, view};

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
        let _one_at_a_time = self.change_catalog().await;
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
        let writes = create.table || bound.relation.generator.is_some();
        if writes && (is_internal(written) || side_topic(written).is_some()) {
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
        notes.extend(bound.elsewhere.iter().map(|option| {
            format!(
                "{option} is not looked at: topics are those of the log that this server works on"
            )
        }));
        let declared = bound.relation.times.iter().any(|time| time.declared);
        if create.watermark.is_none() && !declared {
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
        notes.extend(self.being_read(&relation).await);
        self.generators.start(&self.log, &relation);
        Ok(Outcome::Done {
            message: format!("created {kind} {}", relation.name()),
            notes,
        })
    }

    /// That the rows of a captured table are on their way.
    async fn being_read(&self, relation: &Relation) -> Option<String> {
        let connectors = self.connectors.get().filter(|_| relation.has_connector)?;
        let name = relation.name();
        connectors.filling(name).await?;
        Some(format!(
            "its connector reads the rows that are there, and a SELECT is without those that it has still to read: EXPLAIN WHY {name} says how far it is"
        ))
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
        let one_at_a_time = self.change_catalog().await;
        let objects = self.objects();
        if create.or_replace {
            self.forget_broken_view(&create.name, context).await?;
            if let Some(old) = objects.relation(&create.name.name)
                && old.view.is_some()
            {
                let relation = self.replace_view(create, old, context).await?;
                drop(one_at_a_time);
                return self.replaced(relation, wait_ms).await;
            }
        }
        if let Some(outcome) = self.taken(&create.name, Kind::View, create.if_not_exists)? {
            return Ok(outcome);
        }
        let identity = self.identity(&create.name, Kind::View, context);
        let relation = view(
            &self.library,
            &objects,
            identity,
            &create.query,
            self.config.partitions,
            &context.words,
        )?;
        check_late_topic(create)?;
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
        let record = job_record(&relation.identity, relation.view.as_ref());
        self.store.put(id, &record).await.map_err(catalog_error)?;
        let started = self.start_view(&relation, &objects).await;
        let failure = started.err();
        let failure = failure.or_else(|| self.jobs.failure(Kind::View, relation.name()));
        if let Some(error) = failure {
            self.backlogs.forget(relation.name());
            // What it has made already would be in the way of the next attempt.
            let dropped = self
                .jobs
                .drop(&self.engine, relation.name(), Some(&relation.topic));
            if let Err(left) = dropped.await {
                tracing::warn!(view = relation.name(), error = %left, "a view that did not start leaves topics behind");
            }
            self.store
                .remove(id, context.now_ms)
                .await
                .map_err(catalog_error)?;
            return Err(error);
        }
        self.change_objects(|objects| objects.insert_relation(Arc::clone(&relation)));
        drop(one_at_a_time);
        info!(
            view = relation.name(),
            topic = relation.topic,
            "view created"
        );
        let mut notes = view_notes(&relation, &objects);
        notes.extend(self.fill(&relation, wait_ms).await);
        notes.extend(self.lacks_of_captured(&relation).await);
        let message = format!("created materialized view {}", relation.name());
        Ok(Outcome::Done { message, notes })
    }

    /// Waits until a new view has read what was there, so that a SELECT after its CREATE shows it; says what lacks then.
    pub(super) async fn fill(&self, relation: &Relation, wait_ms: u64) -> Option<String> {
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

    /// Answers for a name that is taken, or refuses one that cannot be used.
    pub(super) fn taken(
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
            None => match self.objects().of_name(kind, &name.name) {
                Some(identity) => identity.kind,
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

/// That late rows go to a topic that is written by hand.
pub(super) fn check_late_topic(create: &CreateView) -> Result<(), Diagnostic> {
    match &create.query.late {
        Some((Late::To(topic), span)) if is_internal(topic) => Err(internal_topic(topic).at(*span)),
        _ => Ok(()),
    }
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

/// The catalog's record of a job: with what it keeps, as far as that was settled.
pub(super) fn job_record(identity: &Identity, plan: Option<&ViewPlan>) -> CatalogRecord {
    let settled = plan.and_then(|plan| plan.manifest.as_ref());
    CatalogRecord {
        state: settled.map(StateManifest::to_text),
        revision: plan.map_or(0, |plan| plan.revision),
        ..record(identity, None)
    }
}

/// The catalog's record of an object.
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
        paused: false,
        dropping: false,
        state: None,
        revision: 0,
    }
}

/// What an author may not expect of the view.
pub(super) fn view_notes(relation: &Relation, objects: &Objects) -> Vec<String> {
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
        Kind::Sink => {
            let names = objects.sinks().map(|sink| sink.name());
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

pub(super) fn wrong_kind(name: &Name, kind: Kind) -> Diagnostic {
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

/// Whether an option of ksqlDB's says of a view what is so anyway.
fn is_as_it_is(create: &CreateView, name: &Text, value: &Text) -> bool {
    match name.value.to_lowercase().as_str() {
        "kafka_topic" => value.value == create.name.name,
        "value_format" => value.value.eq_ignore_ascii_case("json"),
        _ => false,
    }
}

/// `WITH (wait = …)` of a view, ms.
fn wait_option(create: &CreateView) -> Result<Option<u64>, Diagnostic> {
    let mut wait_ms = None;
    for (name, value) in &create.options {
        if is_as_it_is(create, name, value) {
            continue;
        }
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
