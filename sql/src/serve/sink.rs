//! CREATE SINK and INSERT … EMIT CHANGES: jobs that write to a topic.

use std::sync::Arc;

use streams::SinkForm;
use tracing::{info, warn};

use super::answer::Outcome;
use super::circle::Places;
use super::connected_sink::held_note;
use super::ddl::{catalog_error, internal_topic, invalid_topic, is_internal, job_record, unknown};
use super::insert::Target;
use super::server::{Inner, StatementContext};
use crate::catalog::{Identity, Kind, Objects, Sink, bind_output};
use crate::diagnostic::{Code, Diagnostic, Words};
use crate::parse::statement::{CreateSink, Insert, Name};
use crate::plan::{insert_sink, sink};

impl Inner {
    /// CREATE SINK.
    pub(super) async fn create_sink(
        &self,
        create: &CreateSink,
        context: &StatementContext<'_>,
    ) -> Result<Outcome, Diagnostic> {
        let _one_at_a_time = self.change_catalog().await;
        if let Some(outcome) = self.taken(&create.name, Kind::Sink, create.if_not_exists)? {
            return Ok(outcome);
        }
        let identity = self.identity(&create.name, Kind::Sink, context);
        let sink = self.planned_sink(create, identity, &context.words)?;
        let named = |wanted: &[&str]| {
            let mut options = create.output.options.iter();
            let (_, value) =
                options.find(|(name, _)| wanted.contains(&name.value.to_lowercase().as_str()))?;
            value.span
        };
        let places = Places {
            topic: named(&["topic", "kafka_topic"]).or(create.name.span),
            table: named(&["table", "table.name", "collection.name.format"]),
        };
        let config = self.planned_connector(create, &sink).await?;
        // Before the table is looked at, which need not be made fit for rows that it must not get.
        let (topic, plan) = (&sink.plan.sink.topic, &sink.plan.plan);
        self.check_circle(topic, plan, config.as_ref(), places)
            .await?;
        let of_table = self.look_at_table(create, &sink).await?;
        let topic = sink.plan.sink.topic.clone();
        let held = match &config {
            // A topic that cannot be is an error of what comes next.
            Some(_) => self.held(&topic).await.unwrap_or(0),
            None => 0,
        };
        let outcome = self.run_sink(sink, places, context).await?;
        match (config, outcome) {
            (Some(config), Outcome::Done { message, mut notes }) => {
                notes.push(self.connect_sink(create, config, context).await?);
                notes.extend(held_note(&topic, held));
                notes.extend(of_table);
                Ok(Outcome::Done { message, notes })
            }
            (_, outcome) => Ok(outcome),
        }
    }

    /// `INSERT INTO t SELECT … EMIT CHANGES`: a sink named after the table.
    pub(super) async fn insert_on(
        &self,
        insert: &Insert,
        context: &StatementContext<'_>,
    ) -> Result<Outcome, Diagnostic> {
        let _one_at_a_time = self.change_catalog().await;
        let base = format!("insert_into_{}", insert.table.name);
        let numbered = (2..).map(|number| format!("{base}_{number}"));
        let objects = self.objects();
        let is_free = |name: &String| {
            objects.of_name(Kind::Sink, name).is_none() && self.broken_id(name).is_none()
        };
        let free = std::iter::once(base.clone()).chain(numbered).find(is_free);
        let name = Name {
            name: free.unwrap_or(base),
            written: insert.table.written.clone(),
            span: insert.table.span,
        };
        let identity = self.identity(&name, Kind::Sink, context);
        let sink = self.planned_insert(insert, identity, &context.words)?;
        let places = Places {
            topic: insert.table.span,
            table: None,
        };
        let (topic, plan) = (&sink.plan.sink.topic, &sink.plan.plan);
        self.check_circle(topic, plan, None, places).await?;
        self.run_sink(sink, places, context).await
    }

    /// Plans CREATE SINK over the catalog as it is.
    pub(super) fn planned_sink(
        &self,
        create: &CreateSink,
        identity: Identity,
        words: &Words,
    ) -> Result<Sink, Diagnostic> {
        let output = bind_output(&create.output)?;
        let (objects, partitions) = (self.objects(), self.config.partitions);
        sink(
            &self.library,
            &objects,
            identity,
            &create.query,
            &output,
            partitions,
            words,
        )
    }

    /// Plans an INSERT that goes on over the catalog as it is.
    pub(super) fn planned_insert(
        &self,
        insert: &Insert,
        identity: Identity,
        words: &Words,
    ) -> Result<Sink, Diagnostic> {
        let objects = self.objects();
        let Some(relation) = objects.relation(&insert.table.name) else {
            return Err(unknown(&insert.table, Kind::Table, &objects));
        };
        Target::check(relation, &insert.table)?;
        let places = Target::places(relation, &insert.columns)?;
        insert_sink(
            &self.library,
            &objects,
            identity,
            insert,
            relation,
            &places,
            words,
        )
    }

    async fn run_sink(
        &self,
        sink: Sink,
        places: Places,
        context: &StatementContext<'_>,
    ) -> Result<Outcome, Diagnostic> {
        let objects = self.objects();
        let made = self.check_topic(&sink, places, &objects).await?;
        let sink = Arc::new(sink);
        let (id, name) = (sink.identity.id, sink.name());
        self.store
            .put(id, &job_record(&sink.identity, Some(&sink.plan)))
            .await
            .map_err(catalog_error)?;
        let started = self.jobs.start(&self.engine, Kind::Sink, name, &sink.plan);
        let failure = started.await.err();
        if let Some(error) = failure.or_else(|| self.jobs.failure(Kind::Sink, name)) {
            if let Err(left) = self.jobs.drop(&self.engine, name, None).await {
                warn!(sink = name, error = %left, "a sink that did not start leaves topics behind");
            }
            self.store
                .remove(id, context.now_ms)
                .await
                .map_err(catalog_error)?;
            return Err(error);
        }
        self.change_objects(|objects| objects.insert_sink(Arc::clone(&sink)));
        let topic = &sink.plan.sink.topic;
        info!(sink = name, topic, "sink created");
        let mut notes = vec![form(&sink)];
        notes.extend(made.then(|| format!("made topic {topic}")));
        Ok(Outcome::Done {
            message: format!("created sink {name}"),
            notes,
        })
    }

    /// That the topic may be written to; whether it has to be made.
    async fn check_topic(
        &self,
        sink: &Sink,
        places: Places,
        objects: &Objects,
    ) -> Result<bool, Diagnostic> {
        let span = places.topic;
        let spec = &sink.plan.sink;
        let topic = spec.topic.as_str();
        if is_internal(topic) {
            return Err(internal_topic(topic).at(span));
        }
        let view = objects.of_kind(Kind::View).find(|view| view.topic == topic);
        if let Some(view) = view {
            let message = format!("topic {topic} is that of view {}", view.name());
            return Err(Diagnostic::new(Code::InUse, message)
                .at(span)
                .help("its query fills it: WITH (topic = '…') names another one"));
        }
        let described = self.log.admin().describe_topic(topic).await;
        let described = described.map_err(|error| invalid_topic(&error, span))?;
        let policy = described
            .as_ref()
            .and_then(|topic| topic.configs.get("cleanup.policy"));
        if spec.key.is_empty() && policy.is_some_and(|policy| policy.contains("compact")) {
            let message =
                format!("topic {topic} is compacted, so that it takes no record without a key");
            return Err(Diagnostic::new(Code::NoKey, message)
                .at(span)
                .help("WITH (primary.key = 'column, …') says what the key is"));
        }
        Ok(described.is_none())
    }
}

/// What the records of a sink are, in words.
fn form(sink: &Sink) -> String {
    let spec = &sink.plan.sink;
    let schema = sink.plan.plan.schema();
    let key: Vec<&str> = (spec.key.iter())
        .map(|&column| schema.field(column).name().as_str())
        .collect();
    let key = key.join(", ");
    match &spec.form {
        SinkForm::Append(_) if key.is_empty() => {
            format!("each row is a record of topic {}", spec.topic)
        }
        SinkForm::Append(_) => {
            format!(
                "each row is a record of topic {}, keyed by {key}",
                spec.topic
            )
        }
        SinkForm::View | SinkForm::Upsert(_) => format!(
            "the last record of a key ({key}) in topic {} is its row, a null value says that it is gone",
            spec.topic
        ),
        SinkForm::Debezium => format!(
            "topic {} tells what happened to each row, in Debezium's envelope",
            spec.topic
        ),
    }
}
