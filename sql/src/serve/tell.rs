//! SHOW, DESCRIBE, EXPLAIN.

use streams::{LatePolicy, SinkForm};

use super::answer::Outcome;
use super::conflict::{explained, resolved};
use super::connector::without_passwords;
use super::given::given;
use super::insert::Target;
use super::pull::explain_bounded;
use super::server::{Inner, StatementContext};
use crate::catalog::{Kind, Relation, Sink};
use crate::diagnostic::{Code, Diagnostic};
use crate::parse::statement::{Explain, Insert, Late, Name, QueryClauses, Show};
use crate::plan::{by_place, explain, follow, key_format_name, time_text, type_name};

impl Inner {
    pub(super) async fn show(&self, show: Show) -> Result<Outcome, Diagnostic> {
        let objects = self.objects();
        match show {
            Show::Sources | Show::Tables => {
                let kind = if show == Show::Sources {
                    Kind::Source
                } else {
                    Kind::Table
                };
                let row = |relation: &std::sync::Arc<Relation>| {
                    vec![
                        Some(relation.name().to_owned()),
                        Some(relation.topic.clone()),
                        Some(names(relation, relation.key.iter().copied())),
                        relation.times.first().map(|time| time_text(relation, time)),
                    ]
                };
                let mut table: Vec<_> = objects.of_kind(kind).map(row).collect();
                table.extend(self.broken_of(kind).into_iter().map(|(name, error)| {
                    vec![Some(name), Some(format!("broken: {error}")), None, None]
                }));
                Ok(Outcome::table(
                    &["name", "topic", "key", "event_time"],
                    table,
                ))
            }
            Show::Views => {
                let mut table = Vec::new();
                for relation in objects.of_kind(Kind::View) {
                    table.push(vec![
                        Some(relation.name().to_owned()),
                        Some(relation.topic.clone()),
                        Some(names(relation, relation.key.iter().copied())),
                        Some(self.jobs.state(relation.name())),
                    ]);
                }
                table.extend(self.broken_of(Kind::View).into_iter().map(|(name, error)| {
                    vec![Some(name), None, None, Some(format!("broken: {error}"))]
                }));
                Ok(Outcome::table(&["name", "topic", "key", "state"], table))
            }
            Show::Sinks => {
                let (mut table, mut idle) = (Vec::new(), self.idle_sinks());
                for sink in objects.sinks() {
                    let spec = &sink.plan.sink;
                    table.push(vec![
                        Some(sink.name().to_owned()),
                        Some(spec.topic.clone()),
                        Some(form_name(&spec.form).to_owned()),
                        Some(key_of(sink)),
                        Some(match idle.remove(sink.name()) {
                            Some(idle) => idle,
                            None => self.jobs.state(sink.name()),
                        }),
                    ]);
                }
                table.extend(self.broken_of(Kind::Sink).into_iter().map(|(name, error)| {
                    vec![
                        Some(name),
                        None,
                        None,
                        None,
                        Some(format!("broken: {error}")),
                    ]
                }));
                let names = ["name", "topic", "format", "key", "state"];
                Ok(Outcome::table(&names, table))
            }
            Show::Jobs => {
                let (jobs, mut idle) = (self.jobs.list(), self.idle_sinks());
                let table = jobs.into_iter().map(|(name, state, why)| {
                    let state = idle.remove(&name).unwrap_or(state);
                    vec![Some(name), Some(state), Some(why)]
                });
                Ok(Outcome::table(&["name", "state", "why"], table.collect()))
            }
            Show::Functions => {
                let table = objects.functions().map(|function| {
                    vec![
                        Some(function.identity.name.clone()),
                        Some(function.signature()),
                        Some(function.module_shown().to_owned()),
                    ]
                });
                Ok(Outcome::table(
                    &["name", "signature", "module"],
                    table.collect(),
                ))
            }
            Show::Topics => {
                let topics = self.log.admin().list_topics().await;
                let topics =
                    topics.map_err(|error| Diagnostic::new(Code::Log, error.to_string()))?;
                let table = topics
                    .into_iter()
                    .filter(|topic| !topic.internal)
                    .map(|topic| {
                        let policy = topic.configs.get("cleanup.policy").cloned();
                        vec![Some(topic.name), Some(topic.partitions.to_string()), policy]
                    });
                Ok(Outcome::table(
                    &["name", "partitions", "cleanup.policy"],
                    table.collect(),
                ))
            }
        }
    }

    /// The statement that made an object, as it was written.
    pub(super) fn show_create(&self, name: &Name) -> Result<Outcome, Diagnostic> {
        let objects = self.objects();
        let sql = match objects.identity(&name.name) {
            Some(identity) => without_passwords(&identity.sql),
            None => self
                .broken_sql(&name.name)
                .map(|sql| without_passwords(&sql))
                .ok_or_else(|| self.unknown_object(name))?,
        };
        Ok(Outcome::table(
            &["name", "sql"],
            vec![vec![Some(name.name.clone()), Some(sql)]],
        ))
    }

    pub(super) fn describe(&self, name: &Name) -> Result<Outcome, Diagnostic> {
        let objects = self.objects();
        if let Some(function) = objects.function(&name.name) {
            let args = function.args.iter().enumerate().map(|(index, arg)| {
                vec![
                    Some(format!("argument {}", index + 1)),
                    Some(type_name(arg)),
                    None,
                ]
            });
            let returns = vec![
                Some("result".to_owned()),
                Some(type_name(&function.returns)),
                None,
            ];
            let table = args.chain([returns]).collect();
            return Ok(Outcome::table(&["column", "type", "note"], table));
        }
        if let Some(sink) = objects.sink(&name.name) {
            return Ok(describe_sink(sink, &self.sink_state(sink)));
        }
        let Some(relation) = objects.relation(&name.name) else {
            return Err(self.unknown_object(name));
        };
        let row = |(index, field): (usize, &std::sync::Arc<arrow::datatypes::Field>)| {
            let mut notes = Vec::new();
            if relation.key.contains(&index) {
                notes.push("key".to_owned());
            }
            match &relation.columns[index].origin {
                streams::ColumnOrigin::Value => {}
                streams::ColumnOrigin::Key if relation.key.is_empty() => {
                    notes.push("from the record's key".to_owned());
                }
                streams::ColumnOrigin::Key => {}
                streams::ColumnOrigin::Partition => notes.push("partition".to_owned()),
                streams::ColumnOrigin::Offset => notes.push("offset".to_owned()),
                streams::ColumnOrigin::Timestamp => notes.push("the record's time".to_owned()),
                streams::ColumnOrigin::Headers => notes.push("all headers".to_owned()),
                streams::ColumnOrigin::Header(name) => notes.push(format!("header {name}")),
                streams::ColumnOrigin::Computed(computation) => {
                    notes.push(format!("computed: {}", computation.text));
                }
            }
            if let Some(time) = relation.times.iter().find(|time| time.column == index) {
                let text = time_text(relation, time);
                let delay = text.split_once(", ").map_or("", |(_, delay)| delay);
                notes.push(format!("event time, {delay}"));
            }
            let notes = (!notes.is_empty()).then(|| notes.join("; "));
            let length = relation.columns[index].length;
            vec![
                Some(field.name().clone()),
                Some(
                    length
                        .map_or_else(|| type_name(field.data_type()), |length| length.to_string()),
                ),
                notes,
            ]
        };
        let mut table: Vec<_> = (relation.schema.fields().iter().enumerate())
            .map(row)
            .collect();
        let state = self.connector_state(relation);
        if !state.is_empty() {
            table.push(vec![
                Some("(connector)".to_owned()),
                None,
                Some(state.join("; ")),
            ]);
        }
        Ok(Outcome::table(&["column", "type", "note"], table))
    }

    pub(super) async fn explain(
        &self,
        what: &Explain,
        context: &StatementContext<'_>,
    ) -> Result<Outcome, Diagnostic> {
        match what {
            Explain::Query(clauses) => Ok(Outcome::lines(
                "plan",
                self.explain_query(clauses, context)?,
            )),
            Explain::Insert(insert) => Ok(Outcome::lines(
                "plan",
                self.explain_insert(insert, context)?,
            )),
            Explain::Sink(create) => {
                let identity = self.identity(&create.name, Kind::Sink, context);
                let sink = self.planned_sink(create, identity, &context.words)?;
                Ok(Outcome::lines("plan", explain_sink(&sink)))
            }
            Explain::Object(name) => {
                let objects = self.objects();
                let lines = match (objects.relation(&name.name), objects.sink(&name.name)) {
                    (Some(relation), _) => explain_relation(relation),
                    (None, Some(sink)) => explain_sink(sink),
                    (None, None) => return Err(self.unknown_object(name)),
                };
                Ok(Outcome::lines("plan", lines))
            }
            Explain::Why(name) => self.why(name).await,
            Explain::Analyze(name) => self.analyze(name).await,
        }
    }

    /// The plan of a query that goes on; of one that cannot, the plan of its snapshot.
    fn explain_query(
        &self,
        clauses: &QueryClauses,
        context: &StatementContext<'_>,
    ) -> Result<Vec<String>, Diagnostic> {
        let objects = self.objects();
        // Of CREATE MATERIALIZED VIEW … LATE TO, the plan is shown without the topic.
        let mut clauses = clauses.clone();
        clauses.late = clauses
            .late
            .filter(|(late, _)| !matches!(late, Late::To(_)));
        let clauses = &clauses;
        match follow(&self.library, &objects, clauses, &context.words) {
            Ok(plan) => Ok(explain(&plan)),
            Err(error) if clauses.emit.is_some() => Err(error),
            Err(error) => {
                let bound = self
                    .library
                    .bind(&clauses.query, &objects, &context.words)?;
                let mut lines = vec![format!("a snapshot; it cannot go on: {}", error.message)];
                lines.extend(explain_bounded(&self.library, &bound.plan, &context.words)?);
                Ok(lines)
            }
        }
    }

    /// The plan of the sink that goes on, or of the query whose rows are written once.
    fn explain_insert(
        &self,
        insert: &Insert,
        context: &StatementContext<'_>,
    ) -> Result<Vec<String>, Diagnostic> {
        if insert.query.emit.is_some() {
            let mut identity = self.identity(&insert.table, Kind::Sink, context);
            identity.name = format!("insert_into_{}", insert.table.name);
            let sink = self.planned_insert(insert, identity, &context.words)?;
            return Ok(explain_sink(&sink));
        }
        let objects = self.objects();
        let relation = self.target(&objects, &insert.table)?;
        let (mut query, places) = given(insert, relation)?;
        by_place(&mut query);
        let bound = self.library.bind(&query, &objects, &context.words)?;
        Target::check_width(&places, bound.plan.schema().fields().len())
            .map_err(|error| error.at(insert.table.span))?;
        let mut lines = vec![format!(
            "rows that are written once: topic {}",
            relation.topic
        )];
        if let Some(conflict) = &insert.conflict {
            let target = self.writes(relation, context);
            let alias = insert.alias.as_ref();
            let resolved = resolved(conflict, &target, alias, *query, &places)?;
            self.library
                .bind(&resolved.query, &objects, &context.words)?;
            lines.push(explained(conflict, relation));
        }
        lines.extend(explain_bounded(&self.library, &bound.plan, &context.words)?);
        Ok(lines)
    }

    fn unknown_object(&self, name: &Name) -> Diagnostic {
        let objects = self.objects();
        let relations = objects.relations().map(|relation| relation.name());
        let relations = relations.chain(objects.sinks().map(|sink| sink.name()));
        let functions = objects
            .functions()
            .map(|function| function.identity.name.as_str());
        Diagnostic::new(
            Code::UnknownRelation,
            format!("there is no object {:?}", name.name),
        )
        .at(name.span)
        .suggest_nearest(&name.name, relations.chain(functions))
    }
}

/// What FORMAT calls it.
pub(super) fn form_name(form: &SinkForm) -> &'static str {
    match form {
        SinkForm::Append(_) => "plain",
        SinkForm::View | SinkForm::Upsert(_) => "upsert",
        SinkForm::Debezium => "debezium",
    }
}

/// The columns of a sink's record key.
pub(super) fn key_of(sink: &Sink) -> String {
    let schema = sink.plan.plan.schema();
    let key = sink.plan.sink.key.iter();
    let names: Vec<&str> = key
        .map(|&column| schema.field(column).name().as_str())
        .collect();
    names.join(", ")
}

/// The columns that a sink writes, and how its connector is.
fn describe_sink(sink: &Sink, state: &[String]) -> Outcome {
    let (plan, spec) = (&sink.plan.plan, &sink.plan.sink);
    let fields = plan.schema().fields().iter().enumerate();
    let visible = fields.take(plan.schema().fields().len() - spec.hidden);
    let row = |(column, field): (usize, &std::sync::Arc<arrow::datatypes::Field>)| {
        let note = spec.key.contains(&column).then(|| "key".to_owned());
        vec![
            Some(field.name().clone()),
            Some(type_name(field.data_type())),
            note,
        ]
    };
    let mut table: Vec<_> = visible.map(row).collect();
    if !state.is_empty() {
        let state = Some(state.join("; "));
        table.push(vec![Some("(connector)".to_owned()), None, state]);
    }
    Outcome::table(&["column", "type", "note"], table)
}

/// Where a sink writes to, and how its rows come about.
fn explain_sink(sink: &Sink) -> Vec<String> {
    let spec = &sink.plan.sink;
    let keys = match spec.key.is_empty() {
        true => "no keys".to_owned(),
        false => format!("{} keys", key_format_name(spec.key_format)),
    };
    let mut lines = vec![format!(
        "sink {}: topic {}; {}, {keys}",
        sink.name(),
        spec.topic,
        form_name(&spec.form),
    )];
    lines.push("reads from the start".to_owned());
    lines.extend(late_line(sink.plan.late()));
    lines.extend(explain(&sink.plan.plan));
    lines
}

/// What becomes of late rows.
fn late_line(late: Option<&LatePolicy>) -> Option<String> {
    Some(match late? {
        LatePolicy::To(topic) => format!("late rows go to topic {topic}"),
        LatePolicy::Drop => "late rows are dropped and counted".to_owned(),
        LatePolicy::Update => "late rows still update".to_owned(),
    })
}

pub(super) fn names(relation: &Relation, columns: impl Iterator<Item = usize>) -> String {
    let fields = relation.schema.fields();
    let mut names: Vec<&str> = columns
        .map(|column| {
            fields
                .get(column)
                .map_or("a hidden key", |field| field.name())
        })
        .collect();
    names.dedup();
    names.join(", ")
}

/// What a relation is, and for a view how its rows come about.
pub(crate) fn explain_relation(relation: &Relation) -> Vec<String> {
    let mut lines = Vec::new();
    let key = match relation.key.as_slice() {
        [] => "append-only".to_owned(),
        key => format!(
            "upsert by {}, {} keys",
            names(relation, key.iter().copied()),
            key_format_name(relation.key_format)
        ),
    };
    lines.push(format!(
        "{} {}: topic {}; {key}",
        relation.identity.kind,
        relation.name(),
        relation.topic
    ));
    for time in &relation.times {
        lines.push(format!("event time {}", time_text(relation, time)));
    }
    let Some(view) = &relation.view else {
        return lines;
    };
    lines.push("reads from the start".to_owned());
    lines.extend(late_line(view.late()));
    lines.extend(explain(&view.plan));
    lines
}
