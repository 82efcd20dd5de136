//! The server: the catalog in memory, the jobs, and one statement after another.
//!
//! ```text
//! open:  topics of the catalog ── records in order ── bind each ──┬── start the views' jobs, meanwhile
//! serve:                                                          └── text ── statements ── parse ── bind ── answer
//! ```
//!
//! Invariants:
//! 1. Statements that change the catalog run one at a time; readers see it as it was when their statement began.
//! 2. A record that cannot be bound any more stays, is shown with its error, and keeps its name; the others start.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use connect_sandbox::{Module, Sandbox};
use futures::future::join_all;
use log_api::{Log, OffsetSpec, TopicPartition};
use parking_lot::{Mutex, RwLock};
use streams::{CommitInfo, Engine, StateManifest};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::answer::{Answer, Outcome};
use super::backlog::{Backlog, Backlogs, Filling};
use super::generators::Generators;
use super::insert::Writes;
use super::jobs::Jobs;
use super::notice::Notices;
use super::pull::Pull;
use super::push::push;
use super::queries::{Queries, Whole};
use super::session::{ReadYourWrites, Session};
use super::spelling::Spellings;
use crate::caller::Caller;
use crate::catalog::{
    CatalogRecord, CatalogStore, Identity, Kind, Objects, Relation, Sink, StoreError,
    bind_function, bind_relation,
};
use crate::config::SqlConfig;
use crate::connectors::Connectors;
use crate::diagnostic::{Code, Diagnostic, StatementText, Words};
use crate::parse::statement::{Emit, QueryClauses, Statement};
use crate::parse::{parse, split_statements, words};
use crate::plan::{Library, view};

/// The server cannot start.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The catalog's topics cannot be read or made.
    #[error("open the SQL catalog: {0}")]
    Catalog(String),
    /// The threads of queries cannot be started.
    #[error("start the threads of queries: {0}")]
    Threads(#[from] std::io::Error),
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        Self::Catalog(error.to_string())
    }
}

/// Answers SQL over one log and one engine. Clones are the same server.
#[derive(Clone)]
pub struct Server {
    pub(super) inner: Arc<Inner>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

pub(super) struct Inner {
    pub config: SqlConfig,
    pub log: Arc<dyn Log>,
    pub engine: Engine,
    pub sandbox: Arc<Sandbox>,
    pub library: Library,
    pub store: CatalogStore,
    pub jobs: Jobs,
    pub generators: Generators,
    /// What views have still to read.
    pub backlogs: Backlogs,
    /// Held by a statement that changes the catalog, and while the catalog's views are started.
    pub ddl: Arc<tokio::sync::Mutex<()>>,
    /// Starts the catalog's views.
    starting: Mutex<Option<JoinHandle<()>>>,
    objects: RwLock<Arc<Objects>>,
    /// Objects whose DROP a former run has begun.
    pub(super) dropping: Mutex<BTreeSet<Uuid>>,
    /// Records that could not be bound at start, by name.
    broken: RwLock<BTreeMap<String, Broken>>,
    pub push_queries: Arc<Semaphore>,
    /// Where connectors run; empty where none do.
    pub connectors: OnceLock<Arc<dyn Connectors>>,
    pub(super) writes: Writes,
    pub(super) spellings: Spellings,
    /// Held by a statement that writes what it has read.
    pub(super) updates: tokio::sync::Mutex<()>,
    pub(super) queries: Queries,
    stopping: AtomicBool,
}

/// An object of the catalog that is there again.
enum Replayed {
    Relation(Arc<Relation>),
    Sink(Arc<Sink>),
}

impl Replayed {
    /// Whether it is a job.
    fn runs(&self) -> bool {
        match self {
            Self::Relation(relation) => relation.view.is_some(),
            Self::Sink(_) => true,
        }
    }

    fn identity(&self) -> &Identity {
        match self {
            Self::Relation(relation) => &relation.identity,
            Self::Sink(sink) => &sink.identity,
        }
    }
}

#[derive(Debug, Clone)]
struct Broken {
    id: Uuid,
    kind: Kind,
    sql: String,
    error: String,
}

/// One statement on its way.
pub(super) struct StatementContext<'a> {
    pub text: &'a StatementText<'a>,
    pub words: Words,
    pub now_ms: i64,
}

impl Server {
    /// Replays the catalog and starts the jobs of its views.
    ///
    /// # Errors
    /// [`OpenError::Catalog`] if the log does not give it; worth a retry. An object that cannot be bound is no error:
    /// it is logged, shown by `SHOW`, and keeps its name.
    pub async fn open(
        config: SqlConfig,
        log: Arc<dyn Log>,
        engine: Engine,
        sandbox: Arc<Sandbox>,
    ) -> Result<Self, OpenError> {
        let store = CatalogStore::open(Arc::clone(&log)).await?;
        let records = store.records().await?;
        let inner = Arc::new(Inner {
            push_queries: Arc::new(Semaphore::new(config.push_queries_max)),
            connectors: OnceLock::new(),
            writes: Writes::default(),
            spellings: Spellings::default(),
            updates: tokio::sync::Mutex::new(()),
            queries: Queries::new()?,
            config,
            log,
            engine,
            sandbox,
            library: Library::new(),
            store,
            jobs: Jobs::default(),
            generators: Generators::default(),
            backlogs: Backlogs::default(),
            ddl: Arc::default(),
            starting: Mutex::default(),
            objects: RwLock::default(),
            dropping: Mutex::default(),
            broken: RwLock::default(),
            stopping: AtomicBool::new(false),
        });
        let count = records.len();
        let replaying = Arc::clone(&inner);
        let replayed = inner.queries.statement(async move {
            let mut jobs = Vec::new();
            for (id, record) in records {
                let paused = record.paused;
                if record.dropping {
                    replaying.dropping.lock().insert(id);
                }
                let Some(found) = replaying.replay(id, record).await else {
                    continue;
                };
                if paused {
                    replaying.jobs.paused(&found.identity().name);
                } else {
                    jobs.push(found);
                }
            }
            let half_dropped = replaying.half_dropped();
            jobs.retain(|found| !half_dropped.contains(&found.identity().id));
            jobs
        });
        let jobs = (replayed.await)
            .ok_or_else(|| OpenError::Catalog("its objects could not be bound".to_owned()))?;
        if count > 0 {
            info!(objects = count, "catalog replayed");
        }
        inner.start_replayed(jobs).await;
        Ok(Self { inner })
    }

    /// Says where connectors run, once. Objects whose connectors are not there get them, in a task of its own.
    pub fn attach(&self, connectors: Arc<dyn Connectors>) {
        if self.inner.connectors.set(connectors).is_err() {
            warn!("connectors were attached a second time; the first ones stay");
            return;
        }
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move { inner.complete_connectors().await });
    }

    /// Runs all statements of a text in order and gives back all answers; the first error ends it, what was done
    /// before stays done.
    ///
    /// # Errors
    /// The [`Diagnostic`] of the statement that failed, with its place in `sql`.
    pub async fn execute(&self, sql: &str) -> Result<Vec<Answer>, Diagnostic> {
        let (inner, sql) = (Arc::clone(&self.inner), sql.to_owned());
        self.apart(async move {
            let mut session = Session::default();
            let mut answers = Vec::new();
            for text in inner.statements(&sql)? {
                let outcome = inner.run(&mut session, &text, None).await?;
                answers.push(outcome.collect().await?);
            }
            Ok(answers)
        })
        .await
    }

    /// Runs statements on the threads that are made for them.
    pub(super) async fn apart<T: Send + 'static>(
        &self,
        statements: impl Future<Output = Result<T, Diagnostic>> + Send + 'static,
    ) -> Result<T, Diagnostic> {
        let done = self.inner.queries.statement(statements).await;
        done.unwrap_or_else(|| Err(self.inner.gone()))
    }

    /// Stops all jobs and refuses statements from now on. State and catalog stay.
    pub async fn shutdown(&self) {
        self.inner.stopping.store(true, Ordering::Release);
        self.inner.queries.stop();
        self.inner.generators.stop_all().await;
        let starting = self.inner.starting.lock().take();
        if let Some(starting) = starting {
            // One that panicked has started what it could.
            let _ = starting.await;
        }
        self.inner.jobs.stop().await;
    }
}

impl Inner {
    /// Why a statement has no answer: the server stops, or it ended by a fault of ours.
    fn gone(&self) -> Diagnostic {
        if self.stopping.load(Ordering::Acquire) {
            return Diagnostic::new(Code::Shutdown, "the server is stopping");
        }
        Diagnostic::new(Code::Internal, "the statement ended without an answer")
    }

    /// Cuts a text into statements, within the limit of their length.
    pub(super) fn statements<'a>(
        &self,
        sql: &'a str,
    ) -> Result<Vec<StatementText<'a>>, Diagnostic> {
        let statements = split_statements(sql);
        for statement in &statements {
            let limit = self.config.statement_bytes_max;
            if statement.text.len() > limit {
                let message = format!(
                    "the statement has {} bytes, at most {limit} are read",
                    statement.text.len()
                );
                return Err(Diagnostic::new(Code::TooLong, message)
                    .help("raise sql.statement_bytes_max, or write rows in parts"));
            }
        }
        Ok(statements)
    }

    /// Runs one statement; without a caller it is the operator's.
    pub(super) async fn run(
        &self,
        session: &mut Session,
        text: &StatementText<'_>,
        caller: Option<&dyn Caller>,
    ) -> Result<Outcome, Diagnostic> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(self.gone());
        }
        let statement = parse(text)?;
        let objects = self.objects();
        let signatures = objects.functions().map(|function| function.signature());
        let words = Words::new(words(text), self.library.function_names(&objects))
            .with_signatures(signatures.collect())
            .with_calls(Arc::clone(&self.library.calls));
        let context = StatementContext {
            text,
            words,
            now_ms: now_ms(),
        };
        if let Some(caller) = caller {
            self.check_rights(caller, &statement, &context).await?;
        }
        let done = self.carry_out(&statement, session, &context).await;
        match done {
            // Which topics there are is not everybody's to know.
            Err(error) if caller.is_none() && error.code == Code::UnknownRelation.number() => {
                Err(self.with_topic(error).await)
            }
            done => done,
        }
    }

    /// Says of a name that is no relation's that it is a topic's, where it is.
    async fn with_topic(&self, error: Diagnostic) -> Diagnostic {
        let Some(name) = error.message.split('"').nth(1).map(str::to_owned) else {
            return error;
        };
        // It is there, or its query calls it by another name.
        if error.message.ends_with("in this query") || self.objects().relation(&name).is_some() {
            return error;
        }
        match self.log.admin().describe_topic(&name).await {
            Ok(Some(_)) => error.help(format!(
                "there is a topic of this name: CREATE SOURCE {name} (column TYPE, …) WITH (topic = '{name}') makes it readable"
            )),
            // A name that cannot be a topic's, or a log that does not answer: the error stands.
            Ok(None) | Err(_) => error,
        }
    }

    async fn carry_out(
        &self,
        statement: &Statement,
        session: &mut Session,
        context: &StatementContext<'_>,
    ) -> Result<Outcome, Diagnostic> {
        match statement {
            Statement::CreateRelation(create) => self.create_relation(create, context).await,
            Statement::CreateView(create) => self.create_view(create, session, context).await,
            Statement::CreateSink(create) => self.create_sink(create, context).await,
            Statement::CreateFunction(create) => self.create_function(create, context).await,
            Statement::Alter(alter) => self.alter(alter, context).await,
            Statement::Drop(drop) => self.drop_object(drop, context).await,
            Statement::Insert(insert) => self.insert(insert, session, context).await,
            Statement::Update(update) => self.update(update, session, context).await,
            Statement::Delete(delete) => self.delete(delete, session, context).await,
            Statement::Print(print) => self.print(print, context).await,
            Statement::Select(select) => self.select(&select.query, session, context).await,
            Statement::Explain(what) => self.explain(what, context).await,
            Statement::Show(show) => self.show(*show).await,
            Statement::ShowCreate(name) => self.show_create(name),
            Statement::Describe(name) => self.describe(name),
            Statement::Set { name, value } => {
                session.set(&name.value, &value.value, name.span, value.span)?;
                Ok(Outcome::done(format!(
                    "set {} to {}",
                    name.value, value.value
                )))
            }
        }
    }

    async fn select(
        &self,
        clauses: &QueryClauses,
        session: &Session,
        context: &StatementContext<'_>,
    ) -> Result<Outcome, Diagnostic> {
        match clauses.emit {
            Some((Emit::Changes { from_latest }, _)) => {
                let notices = self.check_inputs(clauses, context).await?;
                let from_latest = from_latest || session.from_latest;
                let objects = self.objects();
                push(self, clauses, &objects, from_latest, notices, context).await
            }
            Some((Emit::OnWindowClose, span)) => Err(Diagnostic::new(
                Code::Unsupported,
                "EMIT ON WINDOW CLOSE is for views: a SELECT ends, so its windows are all complete",
            )
            .at(span)
            .help("CREATE MATERIALIZED VIEW v AS … EMIT ON WINDOW CLOSE")),
            None => {
                if let Some((_, span)) = &clauses.late {
                    let message = "LATE is for views: a SELECT reads everything";
                    return Err(Diagnostic::new(Code::Unsupported, message).at(*span));
                }
                self.pull(&clauses.query, session, context).await
            }
        }
    }

    /// A push query over a view that has stopped would show old rows as if they were live. Gives what there is to say of
    /// those that go on.
    async fn check_inputs(
        &self,
        clauses: &QueryClauses,
        context: &StatementContext<'_>,
    ) -> Result<Notices, Diagnostic> {
        // What cannot be bound is refused in the words of push queries.
        let bound = self
            .library
            .bind(&clauses.query, &self.objects(), &context.words);
        let relations = bound.map(|bound| bound.relations).unwrap_or_default();
        let views = relations.iter().filter(|relation| relation.view.is_some());
        let notices = Notices::default();
        self.connector_notices(&relations, &notices).await;
        for view in views {
            self.jobs.opened(view.name()).await;
            self.jobs.goes_on(view.name())?;
            if let Some(commit) = self.jobs.commit(view.name()) {
                self.view_notices(view, &commit, &notices);
            }
        }
        Ok(notices)
    }

    pub(super) async fn pull(
        &self,
        query: &sqlparser::ast::Query,
        session: &Session,
        context: &StatementContext<'_>,
    ) -> Result<Outcome, Diagnostic> {
        let files = self.files(context).await;
        let bound = self.library.bind(query, &files.objects, &context.words);
        let bound = bound.map_err(|error| files.explain(error))?;
        let mut config = self.config.clone();
        config.query_timeout_ms = session.timeout_ms.map_or(config.query_timeout_ms, |ms| {
            ms.min(config.query_timeout_ms)
        });
        let notices = Notices::default();
        // Before the rows are read: what is in then is among them.
        self.connector_notices(&bound.relations, &notices).await;
        let mut snapshots = HashMap::new();
        for relation in bound
            .relations
            .iter()
            .filter(|relation| relation.view.is_some())
        {
            let limit = Duration::from_millis(config.query_timeout_ms);
            let opened = tokio::time::timeout(limit, self.jobs.opened(relation.name())).await;
            opened.map_err(|_| {
                let name = relation.name();
                let message = format!(
                    "the state of view {name} was not restored within {} ms",
                    config.query_timeout_ms
                );
                Diagnostic::new(Code::Timeout, message)
                    .help(format!("EXPLAIN WHY {name} says how it is doing"))
            })?;
            self.read_writes(session, relation, limit, &notices).await?;
            let snapshot = self.jobs.snapshot(relation.name())?;
            self.view_notices(relation, snapshot.commit(), &notices);
            snapshots.insert(relation.name().to_owned(), snapshot);
        }
        let mut system = Vec::with_capacity(bound.system.len());
        for table in &bound.system {
            system.push((table.full_name(), self.system_rows(table, session).await?));
        }
        let pull = Pull {
            library: &self.library,
            config: &config,
            log: &self.log,
            queries: &self.queries,
            memory: self.engine.memory(),
            words: &context.words,
            notices: &notices,
        };
        let (schema, rows) = pull.run(bound, snapshots, system, files.files).await?;
        Ok(Outcome::Rows {
            schema,
            rows,
            notices,
        })
    }

    /// What the rows of a view at `commit` do not show: what it has still to read, and what it and the views below it have
    /// left out. A view over a view is no further, and no more whole, than what it reads.
    fn view_notices(&self, relation: &Relation, commit: &CommitInfo, notices: &Notices) {
        let name = relation.name();
        if let Some(filling) = self.backlogs.filling(name, commit) {
            notices.say(filling.notice());
        }
        let warn = |message: String, view: &str, what: &str| {
            let help = format!("EXPLAIN WHY {view} says {what}");
            notices.say(Diagnostic::warning(Code::LeftOut, message).help(help));
        };
        if let Some(left_out) = self.jobs.left_out(name) {
            let message = format!("view {name} is without what it could not take: {left_out}");
            warn(message, name, "more");
        }
        for input in self.views_below(relation) {
            if let Some(filling) = self.filling(&input) {
                notices.say(filling.notice());
            }
            if let Some(state) = self.jobs.stands_still(&input) {
                let message = format!("view {name} is no further than view {input}, which {state}");
                warn(message, &input, "why");
            }
            if let Some(left_out) = self.jobs.left_out(&input) {
                let message =
                    format!("view {name} is without what view {input} could not take: {left_out}");
                warn(message, &input, "more");
            }
        }
    }

    /// The views that a view reads, directly or by others.
    fn views_below(&self, relation: &Relation) -> BTreeSet<String> {
        let objects = self.objects();
        let mut below = BTreeSet::new();
        let references = |of: &Relation| -> Vec<String> {
            let references = of.identity.references.iter();
            references.map(|reference| reference.name.clone()).collect()
        };
        let mut next = references(relation);
        while let Some(name) = next.pop() {
            if let Some(input) = objects.relation(&name)
                && input.view.is_some()
                && below.insert(name)
            {
                next.extend(references(input));
            }
        }
        below
    }

    /// How far a view is that still reads what was there when it began; one that has failed reads nothing more.
    pub(super) fn filling(&self, view: &str) -> Option<Filling> {
        if self.jobs.has_failed(view) {
            return None;
        }
        self.backlogs.filling(view, &self.jobs.commit(view)?)
    }

    /// Remembers what a view has to read before it is what a SELECT over its sources would give.
    pub(super) async fn begin_backlog(&self, relation: &Relation, objects: &Objects) {
        let name = relation.name();
        let mut ends = Vec::new();
        for reference in &relation.identity.references {
            let Some(input) = objects.relation(&reference.name) else {
                continue;
            };
            match self.ends(&input.topic).await {
                Ok(found) => ends.extend(found),
                // It is only told of; the job says by itself what is wrong with its inputs.
                Err(error) => debug!(view = name, %error, "ends of a view's inputs are unknown"),
            }
        }
        if let Some(commit) = self.jobs.commit(name) {
            self.backlogs.begin(name, Backlog::new(&commit, ends));
        }
    }

    /// Waits, as the session wants it, until a view has taken what was written before.
    async fn read_writes(
        &self,
        session: &Session,
        relation: &Arc<Relation>,
        limit: Duration,
        notices: &Notices,
    ) -> Result<(), Diagnostic> {
        let limit = match session.read_your_writes {
            ReadYourWrites::Off => return Ok(()),
            ReadYourWrites::On => limit,
            ReadYourWrites::For(ms) => limit.min(Duration::from_millis(ms)),
        };
        let waited = tokio::time::timeout(limit, self.catch_up(Arc::clone(relation))).await;
        let name = relation.name();
        let help = format!("EXPLAIN WHY {name} says what it waits for");
        let ms = limit.as_millis();
        match (waited, session.read_your_writes) {
            (Ok(Ok(())), _) => Ok(()),
            (Ok(Err(error)), ReadYourWrites::On) => Err(error),
            (Err(_), ReadYourWrites::On) => {
                let message = format!("view {name} did not catch up within {ms} ms");
                Err(Diagnostic::new(Code::Timeout, message).help(help))
            }
            _ => {
                let message = format!("view {name} has not taken in yet all that was written");
                notices.say(Diagnostic::warning(Code::Filling, message).help(help));
                Ok(())
            }
        }
    }

    /// Waits until a view covers what its inputs hold now, its inputs' inputs first.
    async fn catch_up(&self, relation: Arc<Relation>) -> Result<(), Diagnostic> {
        let objects = self.objects();
        let mut order = vec![relation];
        let mut next = 0;
        while let Some(view) = order.get(next).cloned() {
            next += 1;
            for reference in &view.identity.references {
                if let Some(input) = objects.relation(&reference.name)
                    && input.view.is_some()
                {
                    order.push(Arc::clone(input));
                }
            }
        }
        for view in order.iter().rev() {
            let mut positions = Vec::new();
            for reference in &view.identity.references {
                if let Some(input) = objects.relation(&reference.name) {
                    positions.extend(self.ends(&input.topic).await?);
                }
            }
            self.jobs.covers(view.name(), &positions).await?;
        }
        Ok(())
    }

    /// The end of every partition of a topic.
    pub(super) async fn ends(&self, topic: &str) -> Result<Vec<(TopicPartition, i64)>, Diagnostic> {
        let admin = self.log.admin();
        let failed = |error: log_api::AdminError| Diagnostic::new(Code::Log, error.to_string());
        let Some(described) = admin.describe_topic(topic).await.map_err(failed)? else {
            return Ok(Vec::new());
        };
        let mut ends = Vec::new();
        for partition in 0..described.partitions {
            let partition = TopicPartition::new(topic, partition);
            let end = admin
                .offset(&partition, OffsetSpec::LastStable)
                .await
                .map_err(failed)?;
            ends.push((partition, end));
        }
        Ok(ends)
    }

    /// Begins a change of the catalog, when no other is under way: until its end the statement goes on whoever waits for it.
    pub(super) async fn change_catalog(&self) -> (tokio::sync::MutexGuard<'_, ()>, Whole) {
        (self.ddl.lock().await, Whole::begin())
    }

    /// The catalog as it is now.
    pub(super) fn objects(&self) -> Arc<Objects> {
        Arc::clone(&self.objects.read())
    }

    pub(super) fn change_objects(&self, change: impl FnOnce(&mut Objects)) {
        let mut objects = self.objects.write();
        change(Arc::make_mut(&mut objects));
    }

    /// Starts what the catalog has, all at once, and serves meanwhile: each job waits for its state to be restored, who
    /// asks for a view waits for that one, and statements that change the catalog wait for all.
    async fn start_replayed(self: &Arc<Self>, found: Vec<Replayed>) {
        let names = found.iter().filter(|found| found.runs());
        let names = names.map(|found| found.identity().name.clone());
        self.jobs.will_open(names.collect());
        let catalog_stands = Arc::clone(&self.ddl).lock_owned().await;
        let inner = Arc::clone(self);
        let starting = tokio::spawn(async move {
            join_all(found.iter().map(|found| inner.start_one(found))).await;
            inner.finish_drops().await;
            drop(catalog_stands);
        });
        *self.starting.lock() = Some(starting);
    }

    async fn start_one(&self, found: &Replayed) {
        let name = found.identity().name.as_str();
        let started = match found {
            Replayed::Relation(relation) if relation.view.is_none() => {
                self.generators.start(&self.log, relation);
                return;
            }
            Replayed::Relation(relation) => self.start_view(relation, &self.objects()).await,
            Replayed::Sink(sink) => {
                let started = self.jobs.start(&self.engine, Kind::Sink, name, &sink.plan);
                started.await
            }
        };
        if let Err(error) = started {
            warn!(name, %error, "job does not run");
        }
        self.jobs.has_opened(name);
    }

    /// Starts the job of a view.
    pub(super) async fn start_view(
        &self,
        relation: &Relation,
        objects: &Objects,
    ) -> Result<(), Diagnostic> {
        let Some(view) = &relation.view else {
            return Ok(());
        };
        let name = relation.name();
        self.jobs
            .start(&self.engine, Kind::View, name, view)
            .await?;
        self.begin_backlog(relation, objects).await;
        Ok(())
    }

    /// Binds one record of the catalog again; gives what it is, but for functions.
    async fn replay(&self, id: Uuid, record: CatalogRecord) -> Option<Replayed> {
        let Some(kind) = Kind::from_word(&record.kind) else {
            warn!(%id, kind = record.kind, name = record.name, "catalog record of an unknown kind skipped");
            return None;
        };
        let identity = Identity {
            id,
            name: record.name.clone(),
            kind,
            sql: record.sql.clone(),
            created_ms: record.created,
            references: record.references.clone(),
        };
        let error = match self.rebind(identity, &record).await {
            Ok(Some(found)) => {
                self.change_objects(|objects| match &found {
                    Replayed::Relation(relation) => objects.insert_relation(Arc::clone(relation)),
                    Replayed::Sink(sink) => objects.insert_sink(Arc::clone(sink)),
                });
                return Some(found);
            }
            Ok(None) => return None,
            Err(error) => error,
        };
        warn!(%id, name = record.name, %error, "catalog object cannot be bound any more");
        let broken = Broken {
            id,
            kind,
            sql: record.sql,
            error: error.to_string(),
        };
        self.broken.write().insert(record.name, broken);
        None
    }

    /// A function goes into the catalog by itself; what else there is comes back.
    async fn rebind(
        &self,
        identity: Identity,
        record: &CatalogRecord,
    ) -> Result<Option<Replayed>, Diagnostic> {
        let sql = identity.sql.clone();
        let statements = split_statements(&sql);
        let Some(text) = statements.first() else {
            return Err(Diagnostic::new(
                Code::Syntax,
                "the record holds no statement",
            ));
        };
        let words = Words::new(words(text), Vec::new());
        match parse(text)? {
            Statement::CreateRelation(create) => {
                let bound = bind_relation(&self.library, &create, identity, &words)?;
                Ok(Some(Replayed::Relation(Arc::new(bound.relation))))
            }
            Statement::CreateSink(create) => {
                let mut sink = self.planned_sink(&create, identity, &words)?;
                sink.plan.manifest = settled_state(record)?;
                Ok(Some(Replayed::Sink(Arc::new(sink))))
            }
            Statement::Insert(insert) => {
                let mut sink = self.planned_insert(&insert, identity, &words)?;
                sink.plan.manifest = settled_state(record)?;
                Ok(Some(Replayed::Sink(Arc::new(sink))))
            }
            Statement::CreateView(_) => {
                let mut relation = self.bind_again(&identity, &self.objects())?;
                if let Some(view) = &mut relation.view {
                    view.manifest = settled_state(record)?;
                    view.revision = record.revision;
                }
                Ok(Some(Replayed::Relation(Arc::new(relation))))
            }
            Statement::CreateFunction(create) => {
                let module = record.module.as_deref();
                let module = self.stored_module(&identity.name, module).await?;
                let function = Arc::new(bind_function(&create, identity, &module)?);
                self.change_objects(|objects| objects.insert_function(function));
                Ok(None)
            }
            _ => Err(Diagnostic::new(Code::Syntax, "the record holds no CREATE")),
        }
    }

    /// A view as its statement binds to `objects`.
    pub(super) fn bind_again(
        &self,
        identity: &Identity,
        objects: &Objects,
    ) -> Result<Relation, Diagnostic> {
        let statements = split_statements(&identity.sql);
        let parsed = statements.first().map(|text| (parse(text), words(text)));
        let Some((Ok(Statement::CreateView(create)), written)) = parsed else {
            let message = "the record holds no CREATE MATERIALIZED VIEW";
            return Err(Diagnostic::new(Code::Syntax, message));
        };
        view(
            &self.library,
            objects,
            identity.clone(),
            &create.query,
            self.config.partitions,
            &Words::new(written, Vec::new()),
        )
    }

    async fn stored_module(&self, name: &str, hash: Option<&str>) -> Result<Module, Diagnostic> {
        let failed = |message: String| Diagnostic::new(Code::Module, message);
        let hash = hash.ok_or_else(|| failed("the record names no module".to_owned()))?;
        let bytes = self
            .store
            .module(hash)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let bytes = bytes.ok_or_else(|| failed(format!("module {hash} is not in the log")))?;
        let (sandbox, name) = (Arc::clone(&self.sandbox), name.to_owned());
        let loaded = tokio::task::spawn_blocking(move || sandbox.load(&name, &bytes)).await;
        let loaded = loaded.map_err(|error| failed(error.to_string()))?;
        loaded.map_err(|error| failed(error.to_string()))
    }

    pub(super) fn broken_id(&self, name: &str) -> Option<(Uuid, Kind)> {
        self.broken
            .read()
            .get(name)
            .map(|broken| (broken.id, broken.kind))
    }

    pub(super) fn broken_sql(&self, name: &str) -> Option<String> {
        self.broken
            .read()
            .get(name)
            .map(|broken| broken.sql.clone())
    }

    pub(super) fn broken_error(&self, name: &str) -> Option<String> {
        self.broken
            .read()
            .get(name)
            .map(|broken| broken.error.clone())
    }

    pub(super) fn broken_of(&self, kind: Kind) -> Vec<(String, String)> {
        let broken = self.broken.read();
        let of_kind = broken.iter().filter(|(_, broken)| broken.kind == kind);
        of_kind
            .map(|(name, broken)| (name.clone(), broken.error.clone()))
            .collect()
    }

    pub(super) fn forget_broken(&self, name: &str) {
        self.broken.write().remove(name);
    }
}

/// What the job of a view or sink keeps, as its record has it.
fn settled_state(record: &CatalogRecord) -> Result<Option<StateManifest>, Diagnostic> {
    let state = record.state.as_deref().map(StateManifest::from_text);
    state.transpose().map_err(|error| {
        let message = format!(
            "the catalog's record of {} {}: {error}",
            record.kind, record.name
        );
        Diagnostic::new(Code::Engine, message)
    })
}

pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
