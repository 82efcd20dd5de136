//! Plans of sinks: a query, and how its rows become records of a topic.
//!
//! | rows | nothing said | `FORMAT PLAIN` | `FORMAT UPSERT` | `FORMAT DEBEZIUM` |
//! |---|---|---|---|---|
//! | only come | plain | a record a row | by `primary.key` | `c` |
//! | change | upsert | refused | by what identifies them | `c`, `u`, `d` |

use arrow::datatypes::Schema;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit};
use streams::{KeyFormat, SinkForm, SinkSpec, StateManifest, ValueFormat};

use super::binder::Library;
use super::changes::Changes;
use super::declared::{Declaration, as_column};
use super::sql_type::settled;
use super::view::{Planned, ViewPlan, default_key_format, planned, view_key};
use crate::catalog::{BoundOutput, Identity, Objects, OutputFormat, Relation, Sink};
use crate::diagnostic::{Code, Diagnostic, Span, Words, translate};
use crate::parse::statement::{Encode, Insert, Name, QueryClauses};

/// Plans CREATE SINK. `partitions` is for its topic, if that has to be made.
pub(crate) fn sink(
    library: &Library,
    objects: &Objects,
    identity: Identity,
    clauses: &QueryClauses,
    output: &BoundOutput,
    partitions: i32,
    words: &Words,
) -> Result<Sink, Diagnostic> {
    let name = identity.name.clone();
    let planned = planned(library, objects, &name, clauses, Ok, words)?;
    let all = planned.lowered.plan.schema().clone();
    let visible = all.fields().len() - planned.lowered.hidden;
    let only_comes = matches!(planned.lowered.changes, Changes::Append(_));
    let format = format(output, only_comes)?;
    let named = named_key(output, &all, visible)?;
    let key = match (named, format) {
        (Some(key), OutputFormat::Plain) => key,
        (Some(key), _) => {
            let span = output.key.as_ref().and_then(|key| key.span);
            check_key(&planned, &key, clauses, (&name, "primary.key"), span)?;
            key
        }
        (None, OutputFormat::Plain) => Vec::new(),
        (None, OutputFormat::Upsert) if only_comes => {
            let span = output.format.and_then(|(_, span)| span);
            let message =
                "these rows only come, so that FORMAT UPSERT has to know which replaces which";
            return Err(Diagnostic::new(Code::NoKey, message)
                .at(span)
                .help("WITH (primary.key = 'column, …'), or FORMAT PLAIN"));
        }
        (None, _) => view_key(&planned.lowered.changes, visible, clauses, &name)?,
    };
    let types = key.iter().map(|&column| all.field(column).data_type());
    let key_format = match (output.key_format, format) {
        _ if key.is_empty() => KeyFormat::None,
        (Some(format), _) => format,
        (None, OutputFormat::Debezium) => KeyFormat::Json,
        (None, _) => default_key_format(types),
    };
    let values = value_format(output, &all, visible);
    let form = match format {
        OutputFormat::Plain => SinkForm::Append(values),
        OutputFormat::Upsert => SinkForm::Upsert(values),
        OutputFormat::Debezium => SinkForm::Debezium,
    };
    let topic = output.topic.as_ref();
    let spec = SinkSpec {
        topic: topic.map_or(name, |topic| topic.value.clone()),
        partitions: output.partitions.unwrap_or(partitions),
        hidden: planned.lowered.hidden,
        key,
        key_format,
        form,
    };
    Ok(finished(planned, spec, identity))
}

/// Plans `INSERT INTO relation … EMIT CHANGES`: rows as the relation declares them.
pub(crate) fn insert_sink(
    library: &Library,
    objects: &Objects,
    identity: Identity,
    insert: &Insert,
    relation: &Relation,
    places: &[usize],
    words: &Words,
) -> Result<Sink, Diagnostic> {
    let name = identity.name.clone();
    let written = relation.written();
    check_given(relation, &written, places, &insert.table)?;
    let shape = |plan| as_declared(plan, relation, &written, places, insert, words);
    let planned = planned(library, objects, &name, &insert.query, shape, words)?;
    let only_comes = matches!(planned.lowered.changes, Changes::Append(_));
    if relation.key.is_empty() && !only_comes {
        let message = format!(
            "the rows of this query change, and {} has no primary key by which they could",
            relation.name()
        );
        return Err(Diagnostic::new(Code::NoKey, message)
            .at(insert.table.span)
            .help("CREATE SINK … FORMAT UPSERT writes changes to a topic"));
    }
    let key: Vec<usize> = relation
        .record_key()
        .iter()
        .filter_map(|column| written.iter().position(|other| other == column))
        .collect();
    let what = (name.as_str(), "primary key");
    check_key(&planned, &key, &insert.query, what, insert.table.span)?;
    let spec = SinkSpec {
        topic: relation.topic.clone(),
        partitions: 1,
        hidden: planned.lowered.hidden,
        key_format: relation.key_format,
        form: if relation.key.is_empty() {
            SinkForm::Append(relation.value_format.clone())
        } else {
            SinkForm::Upsert(relation.value_format.clone())
        },
        key,
    };
    let mut sink = finished(planned, spec, identity);
    // It goes when the relation does.
    sink.identity.references.push(relation.reference());
    Ok(sink)
}

fn finished(planned: Planned, sink: SinkSpec, identity: Identity) -> Sink {
    let Planned {
        bound,
        lowered,
        emit,
        ..
    } = planned;
    Sink {
        identity: Identity {
            references: bound.references,
            ..identity
        },
        plan: ViewPlan {
            manifest: Some(StateManifest::of(&lowered.plan, &sink)),
            revision: 0,
            plan: lowered.plan,
            sink,
            emit,
            windowed: lowered.windowed,
        },
    }
}

/// What the records say, where it was not said.
fn format(output: &BoundOutput, only_comes: bool) -> Result<OutputFormat, Diagnostic> {
    match output.format {
        None if only_comes => Ok(OutputFormat::Plain),
        None => Ok(OutputFormat::Upsert),
        Some((OutputFormat::Plain, span)) if !only_comes => {
            let message = "the rows of this query change, which FORMAT PLAIN cannot say";
            Err(Diagnostic::new(Code::NotStreaming, message).at(span).help(
                "FORMAT UPSERT writes the row of a key, FORMAT DEBEZIUM what was before and after",
            ))
        }
        Some((format, _)) => Ok(format),
    }
}

/// The columns of `primary.key`.
fn named_key(
    output: &BoundOutput,
    schema: &Schema,
    visible: usize,
) -> Result<Option<Vec<usize>>, Diagnostic> {
    let Some(named) = &output.key else {
        return Ok(None);
    };
    let fields = || schema.fields().iter().take(visible);
    let mut key = Vec::new();
    for name in named.value.split([',', ';']).map(str::trim) {
        let Some(place) = fields().position(|field| field.name() == name) else {
            let message = format!("the query has no column {name:?}");
            return Err(Diagnostic::new(Code::UnknownColumn, message)
                .at(named.span)
                .note(format!(
                    "it has {}",
                    fields()
                        .map(|field| field.name().as_str())
                        .collect::<Vec<_>>()
                        .join(", ")
                )));
        };
        if !key.contains(&place) {
            key.push(place);
        }
    }
    Ok(Some(key))
}

/// That no two rows of a query whose rows change have the same key at a time: then the one could take the other away.
/// `name` is the sink's, `what` the key is called.
fn check_key(
    planned: &Planned,
    key: &[usize],
    clauses: &QueryClauses,
    (name, what): (&str, &str),
    span: Option<Span>,
) -> Result<(), Diagnostic> {
    if matches!(planned.lowered.changes, Changes::Append(_)) {
        return Ok(());
    }
    let schema = planned.lowered.plan.schema();
    let visible = schema.fields().len() - planned.lowered.hidden;
    let own = view_key(&planned.lowered.changes, visible, clauses, name)?;
    if own.iter().all(|column| key.contains(column)) {
        return Ok(());
    }
    let names: Vec<&str> = (own.iter())
        .map(|&column| schema.field(column).name().as_str())
        .collect();
    let message = format!("two rows of this query may have the same {what} at a time");
    Err(Diagnostic::new(Code::NoKey, message)
        .at(span)
        .help(format!("its rows are told apart by {}", names.join(", "))))
}

/// How values are written; the columns of CSV stand in the query's order.
fn value_format(output: &BoundOutput, schema: &Schema, visible: usize) -> ValueFormat {
    match output.encode {
        Encode::Json => ValueFormat::Json {
            timestamp_unit_us: None,
        },
        Encode::Csv => ValueFormat::Csv {
            columns: (schema.fields().iter().take(visible))
                .map(|field| field.name().clone())
                .collect(),
            delimiter: output.delimiter,
            timestamp_unit_us: None,
        },
        Encode::Text => ValueFormat::Text,
        Encode::Bytes => ValueFormat::Bytes,
    }
}

/// That an INSERT gives all columns that cannot be NULL.
fn check_given(
    relation: &Relation,
    written: &[usize],
    places: &[usize],
    table: &Name,
) -> Result<(), Diagnostic> {
    let missing = written.iter().find(|column| {
        let required = !relation.columns[**column].nullable || relation.key.contains(column);
        required && !places.contains(column)
    });
    let Some(&missing) = missing else {
        return Ok(());
    };
    let mut diagnostic = Diagnostic::new(
        Code::Row,
        format!("column {} cannot be NULL", relation.columns[missing].name),
    );
    diagnostic.sqlstate = "23502".to_owned();
    Err(diagnostic
        .at(table.span)
        .help("name it among the columns, and select its value"))
}

/// The rows of a query with the columns that a relation's value holds: in their order, of their types, spelled as declared.
fn as_declared(
    plan: LogicalPlan,
    relation: &Relation,
    written: &[usize],
    places: &[usize],
    insert: &Insert,
    words: &Words,
) -> Result<LogicalPlan, Diagnostic> {
    let schema: &DFSchema = plan.schema();
    if schema.fields().len() != places.len() {
        let message = format!(
            "{} columns are to be written, each row has {}",
            places.len(),
            schema.fields().len()
        );
        return Err(Diagnostic::new(Code::Syntax, message).at(start_of(insert)));
    }
    let exprs = written.iter().map(|&column| {
        let declared = &relation.columns[column];
        let (value, is_type) = match places.iter().position(|&place| place == column) {
            Some(index) => {
                let data_type = schema.field(index).data_type();
                let value = Expr::Column(schema.columns()[index].clone());
                (
                    value,
                    settled(data_type).as_ref() == Some(&declared.data_type),
                )
            }
            None => (lit(ScalarValue::Null), false),
        };
        // A column that is cast is no key any more.
        let value = match is_type {
            true => value,
            false => cast(value, declared.data_type.clone()),
        };
        let is_key = relation.record_key().contains(&column);
        as_column(value, Declaration::of(relation, column), is_key).alias(&declared.name)
    });
    let exprs: Vec<Expr> = exprs.collect();
    LogicalPlanBuilder::from(plan)
        .project(exprs)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|error| translate(&error, words))
}

fn start_of(insert: &Insert) -> Option<Span> {
    let span = insert.query.span?;
    Some(Span {
        start: span.start,
        end: span.start,
    })
}
