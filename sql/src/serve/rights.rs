//! Whether who sends a statement may do what it does: asked once, before anything is done.
//!
//! ```text
//! query ── bind against the relations that the caller may read ──┬── bound ─▶ it reads no others
//!                                                                └── a relation is missing that is there ─▶ refused, by its topic
//! ```
//! So it is the binder that says what a query reads, in whatever way it names it. What needs which right is a table in `caller.rs`.

use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{Expr, Query, TableFactor, Visit, Visitor};

use super::connected_sink::makes_connector;
use super::server::{Inner, StatementContext};
use crate::caller::{Caller, Guarded, Right};
use crate::catalog::{Identity, Kind, Objects, Relation, connector, sink_connector};
use crate::diagnostic::{Code, Diagnostic};
use crate::parse::statement::{
    ConflictAction, CreateRelation, CreateSink, CreateView, Drop, Explain, Insert, Late, Name,
    Statement, Text,
};

/// A caller, and the catalog as it was when its statement began.
struct Asked<'a> {
    inner: &'a Inner,
    caller: &'a dyn Caller,
    objects: Arc<Objects>,
    context: &'a StatementContext<'a>,
}

impl Inner {
    /// Refuses a statement that its caller may not send.
    pub(super) async fn check_rights(
        &self,
        caller: &dyn Caller,
        statement: &Statement,
        context: &StatementContext<'_>,
    ) -> Result<(), Diagnostic> {
        let mut asked = Asked {
            inner: self,
            caller,
            objects: self.objects(),
            context,
        };
        if caller.may(Right::Alter, Guarded::Cluster) {
            asked.objects = self.files(context).await.objects;
        }
        asked.statement(statement)
    }

    /// Whether this caller is told of a relation.
    pub(super) fn may_see(caller: Option<&dyn Caller>, relation: &Relation) -> bool {
        let topic = Guarded::Topic(&relation.topic);
        caller.is_none_or(|caller| caller.may(Right::Describe, topic))
    }
}

impl Asked<'_> {
    fn statement(&self, statement: &Statement) -> Result<(), Diagnostic> {
        match statement {
            Statement::CreateRelation(create) => self.create_relation(create),
            Statement::CreateView(create) => self.create_view(create),
            Statement::CreateSink(create) => self.create_sink(create),
            Statement::CreateFunction(_) => self.cluster(Right::Alter),
            Statement::Alter(alter) => self.object(Right::Alter, &alter.name),
            Statement::Drop(drop) => self.drop(drop),
            Statement::Insert(insert) => self.insert(insert),
            Statement::Update(update) => {
                self.object(Right::Write, &update.table)?;
                let mut set = update.assignments.iter();
                set.try_for_each(|(_, value)| self.expr(value))?;
                self.query(&update.query)
            }
            Statement::Delete(delete) => {
                self.object(Right::Write, &delete.table)?;
                self.query(&delete.query)
            }
            Statement::Print(print) => self.topic(Right::Read, &print.topic.value),
            Statement::Select(select) => self.query(&select.query.query),
            Statement::Explain(explain) => match &**explain {
                Explain::Query(clauses) => self.query(&clauses.query),
                Explain::Insert(insert) => self.insert(insert),
                Explain::Sink(create) => self.create_sink(create),
                Explain::Object(name) | Explain::Why(name) | Explain::Analyze(name) => {
                    self.object(Right::Describe, name)
                }
            },
            Statement::Show(_) => self.cluster(Right::Describe),
            Statement::ShowCreate(name) | Statement::Describe(name) => {
                match self.objects.function(&name.name) {
                    Some(_) => Ok(()),
                    None => self.object(Right::Describe, name),
                }
            }
            Statement::Set { .. } => Ok(()),
        }
    }

    fn create_relation(&self, create: &CreateRelation) -> Result<(), Diagnostic> {
        let topic = topic_option(&create.options).unwrap_or(&create.name.name);
        self.topic(Right::Create, topic)?;
        self.topic(Right::Read, topic)?;
        match connector(create) {
            Some(_) => self.cluster(Right::Alter),
            None => Ok(()),
        }
    }

    fn create_view(&self, create: &CreateView) -> Result<(), Diagnostic> {
        let is_there = self.objects.relation(&create.name.name).is_some();
        let right = match create.or_replace && is_there {
            true => Right::Alter,
            false => Right::Create,
        };
        self.object(right, &create.name)?;
        if let Some((Late::To(topic), _)) = &create.query.late {
            self.topic(Right::Create, topic)?;
            self.topic(Right::Write, topic)?;
        }
        self.query(&create.query.query)
    }

    fn create_sink(&self, create: &CreateSink) -> Result<(), Diagnostic> {
        let topic = topic_option(&create.output.options).unwrap_or(&create.name.name);
        self.topic(Right::Create, topic)?;
        self.topic(Right::Write, topic)?;
        if sink_connector(&create.output).is_some() {
            self.cluster(Right::Alter)?;
        }
        self.query(&create.query.query)
    }

    fn insert(&self, insert: &Insert) -> Result<(), Diagnostic> {
        self.object(Right::Write, &insert.table)?;
        if let Some(conflict) = &insert.conflict {
            // It compares with the row that is there.
            self.object(Right::Read, &insert.table)?;
            if let ConflictAction::Update { assignments, only } = &conflict.action {
                let values = assignments.iter().map(|(_, value)| value);
                let only = only.as_deref();
                values.chain(only).try_for_each(|value| self.expr(value))?;
            }
        }
        self.query(&insert.query.query)
    }

    fn drop(&self, drop: &Drop) -> Result<(), Diagnostic> {
        let kind = Kind::from(drop.kind);
        if kind == Kind::Function {
            self.cluster(Right::Alter)?;
        }
        let Some(identity) = self.objects.of_name(kind, &drop.name.name) else {
            // One that cannot be bound any more has no topic that is known.
            return match self.inner.broken_id(&drop.name.name) {
                Some(_) => self.cluster(Right::Alter),
                None => self.object(Right::Delete, &drop.name),
            };
        };
        let mut dropped: Vec<&Identity> = vec![identity];
        if drop.cascade {
            dropped.extend(self.objects.all_dependents(identity.id));
        }
        for one in dropped.iter().filter(|one| one.kind != Kind::Function) {
            self.topic(Right::Delete, &self.topic_of(&one.name))?;
            if makes_connector(&one.sql) {
                self.cluster(Right::Alter)?;
            }
        }
        Ok(())
    }

    /// Whether all that a query reads may be read.
    fn query(&self, query: &Query) -> Result<(), Diagnostic> {
        let mut readable = self.objects.as_ref().clone();
        let hidden: Vec<Arc<Relation>> = (self.objects.relations())
            .filter(|relation| !self.may_read(relation))
            .cloned()
            .collect();
        for relation in &hidden {
            readable.remove(Kind::Source, relation.name());
        }
        let refuse = |relation: &Relation| self.refused(Right::Read, Some(&relation.topic));
        let words = &self.context.words;
        let bound = match self.inner.library.bind(query, &readable, words) {
            Ok(bound) => bound,
            Err(error) => {
                let missing = (error.code == Code::UnknownRelation.number())
                    .then(|| error.message.split('"').nth(1))
                    .flatten();
                let hidden = hidden
                    .iter()
                    .find(|relation| missing == Some(relation.name()));
                return Err(hidden.map_or(error, |relation| refuse(relation)));
            }
        };
        if bound.system.is_empty() {
            return Ok(());
        }
        // A name that the caller may not read would be that of a table of the server's otherwise.
        let is_meant = |relation: &&Arc<Relation>| {
            let mut tables = bound.system.iter();
            tables.any(|table| table.name == relation.name())
        };
        match hidden.iter().find(is_meant) {
            Some(relation) => Err(refuse(relation)),
            None => self.cluster(Right::Describe),
        }
    }

    /// Whether all that the subqueries of an expression name may be read. It is not bound by itself, so what is no relation that is
    /// known, such as a function that gives rows, takes the right to everything.
    fn expr(&self, expr: &Expr) -> Result<(), Diagnostic> {
        let mut named = Named::default();
        let _ = expr.visit(&mut named);
        if named.others {
            self.cluster(Right::Alter)?;
        }
        for name in named.relations {
            match self.objects.relation(&name) {
                Some(relation) if self.may_read(relation) => {}
                Some(relation) => return Err(self.refused(Right::Read, Some(&relation.topic))),
                None => self.cluster(Right::Alter)?,
            }
        }
        Ok(())
    }

    fn may_read(&self, relation: &Relation) -> bool {
        let topic = Guarded::Topic(&relation.topic);
        self.caller.may(Right::Read, topic)
    }

    /// The topic of a relation or sink; of one that is not there, the one that it would have.
    fn topic_of(&self, name: &str) -> String {
        if let Some(relation) = self.objects.relation(name) {
            return relation.topic.clone();
        }
        match self.objects.sink(name) {
            Some(sink) => sink.plan.sink.topic.clone(),
            None => name.to_owned(),
        }
    }

    fn object(&self, right: Right, name: &Name) -> Result<(), Diagnostic> {
        let refused = self.topic(right, &self.topic_of(&name.name));
        refused.map_err(|error| error.at(name.span))
    }

    fn topic(&self, right: Right, topic: &str) -> Result<(), Diagnostic> {
        match self.caller.may(right, Guarded::Topic(topic)) {
            true => Ok(()),
            false => Err(self.refused(right, Some(topic))),
        }
    }

    fn cluster(&self, right: Right) -> Result<(), Diagnostic> {
        match self.caller.may(right, Guarded::Cluster) {
            true => Ok(()),
            false => Err(self.refused(right, None)),
        }
    }

    fn refused(&self, right: Right, topic: Option<&str>) -> Diagnostic {
        let (who, what) = (self.caller.name(), right.word());
        let (on, option) = match topic {
            Some(topic) => (format!("topic {topic}"), format!("--topic {topic}")),
            None => ("the cluster".to_owned(), "--cluster".to_owned()),
        };
        Diagnostic::new(
            Code::Denied,
            format!("{who} lacks the right {what} on {on}"),
        )
        .help(format!(
            "kafka-acls.sh --add --allow-principal {who} --operation {what} {option} gives it"
        ))
    }
}

/// The option that names the topic.
fn topic_option(options: &[(Text, Text)]) -> Option<&str> {
    let named = options.iter().find(|(name, _)| {
        let name = name.value.to_lowercase();
        matches!(name.as_str(), "topic" | "kafka_topic")
    });
    named.map(|(_, topic)| topic.value.as_str())
}

/// What stands behind FROM and JOIN in the subqueries of an expression.
#[derive(Default)]
struct Named {
    /// Names, without their schemas.
    relations: Vec<String>,
    /// Something else than names, joins and subqueries does.
    others: bool,
}

impl Visitor for Named {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table {
                name, args: None, ..
            } => {
                let last = name.0.last().and_then(|part| part.as_ident());
                let folded = last.map_or_else(|| name.to_string(), |ident| Name::from(ident).name);
                self.relations.push(folded);
            }
            TableFactor::Derived { .. } | TableFactor::NestedJoin { .. } => {}
            _ => self.others = true,
        }
        ControlFlow::Continue(())
    }
}
