//! Sinks that a connector empties: a job writes JSON rows to the sink's topic, and the connector takes them to a table.
//!
//! ```text
//! CREATE SINK s FROM v WITH (connector = 'postgres', host = …, table = …)
//!   job        v ──▶ topic s    a row under its key, an object; a null value where the row is gone
//!   connector  topic s ──▶ the table, of the sink's name; it goes with the sink
//! ```

use std::collections::BTreeMap;

use log_api::OffsetSpec;
use streams::SinkForm;
use tracing::warn;

use super::connector::{made_by, sink_made_by};
use super::server::{Inner, StatementContext};
use crate::catalog::{Objects, Sink, is_own_sink_option, sink_connector};
use crate::connectors::{ConnectorError, ConnectorOptions, ListedConnector, SinkKey, SinkRows};
use crate::diagnostic::{Code, Diagnostic};
use crate::parse::statement::CreateSink;
use crate::plan::type_name;

impl Inner {
    /// The configuration of a sink's connector; `None` where it has none.
    pub(super) async fn planned_connector(
        &self,
        create: &CreateSink,
        sink: &Sink,
    ) -> Result<Option<ConnectorOptions>, Diagnostic> {
        let Some(connector) = sink_connector(&create.output) else {
            return Ok(None);
        };
        let connectors = self
            .connectors()
            .map_err(|error| error.at(connector.span))?;
        let (options, rows) = (options(create), self.rows_of(sink));
        let planned = connectors
            .plan_sink(sink.name(), &connector.value, &options, &rows)
            .await;
        planned.map(Some).map_err(|error| diagnostic(error, create))
    }

    /// What there is to know of the table that a sink's connector writes; an error where it cannot take the rows.
    pub(super) async fn look_at_table(
        &self,
        create: &CreateSink,
        sink: &Sink,
    ) -> Result<Vec<String>, Diagnostic> {
        let Some(connector) = sink_connector(&create.output) else {
            return Ok(Vec::new());
        };
        let (options, rows) = (options(create), self.rows_of(sink));
        let looked = self
            .connectors()?
            .look_sink(sink.name(), &connector.value, &options, &rows)
            .await;
        looked.map_err(|error| diagnostic(error, create))
    }

    fn rows_of(&self, sink: &Sink) -> SinkRows {
        SinkRows {
            topic: sink.plan.sink.topic.clone(),
            columns: columns(sink),
            key: key(sink, &self.objects()),
        }
    }

    /// Makes the connector of a sink whose job runs, and says so; where that fails the sink goes again.
    pub(super) async fn connect_sink(
        &self,
        create: &CreateSink,
        config: ConnectorOptions,
        context: &StatementContext<'_>,
    ) -> Result<String, Diagnostic> {
        let name = &create.name.name;
        if let Err(error) = self.create_connector(name, config).await {
            let objects = self.objects();
            if let Some(sink) = objects.sink(name) {
                self.drop_one(&sink.identity, &objects, context.now_ms)
                    .await?;
            }
            return Err(error.at(create.name.span));
        }
        Ok(format!("connector {name} takes the rows to the table"))
    }

    /// How many records the topic of a sink holds before the sink writes any: its connector takes them to the table, too.
    pub(super) async fn held(&self, topic: &str) -> Result<u64, Diagnostic> {
        let ends = self.ends(topic).await?;
        let (admin, mut held) = (self.log.admin(), 0);
        for (partition, end) in ends {
            let from = admin.offset(&partition, OffsetSpec::Earliest).await;
            let from = from.map_err(|error| Diagnostic::new(Code::Log, error.to_string()))?;
            held += u64::try_from(end - from).unwrap_or(0);
        }
        Ok(held)
    }

    /// Makes the connectors of sinks that a server which died did not come to.
    pub(super) async fn complete_sinks(&self) {
        let Some(connectors) = self.connectors.get() else {
            return;
        };
        let listed = connectors.list();
        for sink in self.objects().sinks() {
            let name = sink.name();
            let mut listed = listed.iter();
            if makes_connector(&sink.identity.sql)
                && listed.any(|of| of.name == name && of.state == "STOPPED")
            {
                warn!(
                    name,
                    "the connector of a sink is stopped and writes nothing: thalweg connect resume {name} lets it go on"
                );
            }
            let Some(create) = sink_made_by(&sink.identity.sql) else {
                continue;
            };
            if sink_connector(&create.output).is_none() || connectors.state(name).is_some() {
                continue;
            }
            let made = match self.planned_connector(&create, sink).await {
                Ok(Some(config)) => self.create_connector(name, config).await,
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = made {
                warn!(name, error = %error.message, "the connector of a sink is not there, and cannot be made: DROP the sink and CREATE it again");
            }
        }
    }

    /// The sinks whose connectors do not go on, by name, each with the state that it has for that: its job may run.
    pub(super) fn idle_sinks(&self) -> BTreeMap<String, String> {
        let Some(connectors) = self.connectors.get() else {
            return BTreeMap::new();
        };
        let (objects, listed) = (self.objects(), connectors.list());
        let sinks = objects
            .sinks()
            .filter(|sink| makes_connector(&sink.identity.sql));
        sinks
            .filter_map(|sink| {
                let name = sink.name();
                let (state, why) = idle(name, &listed)?;
                Some((name.to_owned(), format!("{state}: {why}")))
            })
            .collect()
    }

    /// How the connector of a sink is.
    pub(super) fn sink_state(&self, sink: &Sink) -> Vec<String> {
        let made = sink_made_by(&sink.identity.sql);
        let has_connector = made.is_some_and(|create| sink_connector(&create.output).is_some());
        let connectors = self.connectors.get().filter(|_| has_connector);
        let Some(connectors) = connectors else {
            return Vec::new();
        };
        let name = sink.name();
        connectors.state(name).unwrap_or_else(|| {
            vec![format!(
                "connector {name} is not there: DROP SINK {name} and CREATE it again"
            )]
        })
    }
}

/// The state of a connector that does not go on, and what to do or know of it.
pub(super) fn idle(name: &str, listed: &[ListedConnector]) -> Option<(String, String)> {
    let Some(connector) = listed.iter().find(|listed| listed.name == name) else {
        return Some((
            "FAILED".to_owned(),
            format!("connector {name} is not there"),
        ));
    };
    match connector.state.as_str() {
        state @ ("STOPPED" | "PAUSED") => Some((
            state.to_owned(),
            format!("thalweg connect resume {name} lets its connector go on"),
        )),
        state if state == "FAILED" || connector.failed_tasks > 0 => {
            let error = connector.error.as_deref().unwrap_or("EXPLAIN WHY says why");
            Some(("FAILED".to_owned(), format!("connector {name}: {error}")))
        }
        _ => None,
    }
}

/// What is told of a topic that is not new; `None` where nothing is in it.
pub(super) fn held_note(topic: &str, held: u64) -> Option<String> {
    // Marks of transactions count, too.
    (held > 0).then(|| {
        format!(
            "topic {topic} was there, and its records of before (up to {held}) go to the table, too, also rows that the query does not have: \
             WITH (topic = '…') names a new one, or DROP the sink and run thalweg topic delete {topic} first"
        )
    })
}

/// The columns of the rows, with their types; none of change events, which have decimals and times in a form of their own.
fn columns(sink: &Sink) -> Vec<(String, String)> {
    let schema = sink.plan.plan.schema();
    let is_event = matches!(sink.plan.sink.form, SinkForm::Debezium);
    let columns = schema.fields().iter().filter(|_| !is_event);
    columns
        .map(|field| (field.name().clone(), type_name(field.data_type())))
        .collect()
}

/// The columns of the record key.
fn key(sink: &Sink, objects: &Objects) -> Vec<SinkKey> {
    let schema = sink.plan.plan.schema();
    let key = sink.plan.sink.key.iter();
    key.map(|&column| {
        let field = schema.field(column);
        SinkKey {
            name: field.name().clone(),
            sql_type: type_name(field.data_type()),
            nullable: field.is_nullable() && !is_key_of_table(sink, objects, field.name()),
        }
    })
    .collect()
}

/// Whether the rows are those of a source or table, which has this column in its primary key.
fn is_key_of_table(sink: &Sink, objects: &Objects, column: &str) -> bool {
    let [reference] = &sink.identity.references[..] else {
        return false;
    };
    let Some(relation) = objects.relation(&reference.name) else {
        return false;
    };
    let place = relation.schema.index_of(column);
    relation.view.is_none() && place.is_ok_and(|place| relation.key.contains(&place))
}

/// The options that are not SQL's own.
fn options(create: &CreateSink) -> ConnectorOptions {
    let options = create.output.options.iter();
    options
        .map(|(name, value)| (name.value.to_lowercase(), value.value.clone()))
        .filter(|(name, _)| !is_own_sink_option(name))
        .collect()
}

/// An error at the option that it speaks of.
fn diagnostic(error: ConnectorError, create: &CreateSink) -> Diagnostic {
    let named = |wanted: &str| {
        let mut options = create.output.options.iter();
        options.find(|(name, _)| name.value.eq_ignore_ascii_case(wanted))
    };
    let place = match error.option.as_deref().and_then(named) {
        Some((_, value)) => value.span,
        None => named("connector").and_then(|(name, _)| name.span),
    };
    Diagnostic::new(Code::Connector, error.message).at(place)
}

/// Whether a connector belongs to the object that a statement makes.
pub(super) fn makes_connector(sql: &str) -> bool {
    let of_sink = |create: Box<CreateSink>| sink_connector(&create.output).is_some();
    made_by(sql).is_some_and(|create| crate::catalog::connector(&create).is_some())
        || sink_made_by(sql).is_some_and(of_sink)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_is_no_further_than_its_connector() {
        let state = |state: &str, failed_tasks, error: Option<&str>| {
            let connector = ListedConnector {
                name: "s".to_owned(),
                kind: "sink".to_owned(),
                class: "c".to_owned(),
                state: state.to_owned(),
                tasks: 1,
                failed_tasks,
                error: error.map(str::to_owned),
            };
            let (state, why) = idle("s", &[connector])?;
            Some(format!("{state}: {why}"))
        };
        assert_eq!(state("RUNNING", 0, None), None);
        // A task that waits for its database goes on by itself.
        assert_eq!(state("RUNNING", 0, Some("refused")), None);
        assert_eq!(state("UNASSIGNED", 0, None), None);
        let failed = Some("FAILED: connector s: no table".to_owned());
        assert_eq!(state("RUNNING", 1, Some("no table")), failed);
        assert_eq!(state("FAILED", 0, Some("no table")), failed);
        let stopped = state("STOPPED", 0, None).expect("it does not go on");
        assert!(stopped.starts_with("STOPPED: "), "{stopped}");
        assert!(idle("s", &[]).is_some());
    }
}
