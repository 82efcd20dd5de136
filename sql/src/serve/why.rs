//! EXPLAIN WHY: of a view what its job says, of a source or table what its topic holds and what of it cannot be read, of
//! a function what its guest has said, of a bare topic how to read it.
//!
//! A source is read whole for that, as a SELECT would read it, within the time of a query.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::compute::{max, min};
use arrow::datatypes::TimestampMicrosecondType;
use connect_sandbox::GuestMessage;
use futures::stream::StreamExt;
use log_api::OffsetSpec;
use streams::{ScanRange, ScanReport};

use super::answer::Outcome;
use super::notice::{plural, scanned};
use super::pull::missing_topic;
use super::server::Inner;
use crate::catalog::{Function, Kind, Relation};
use crate::diagnostic::{Code, Diagnostic};
use crate::parse::statement::Name;

/// Partitions whose records are told one by one.
const PARTITIONS_TOLD: usize = 16;

/// The least and the greatest event time of the rows that could be read, µs.
#[derive(Debug, Default)]
struct Times(Option<(i64, i64)>);

impl Inner {
    pub(super) async fn why(&self, name: &Name) -> Result<Outcome, Diagnostic> {
        let objects = self.objects();
        if let Some(relation) = objects.relation(&name.name) {
            let relation = Arc::clone(relation);
            let lines = match relation.view {
                Some(_) => {
                    let mut lines = self.why_view(&relation);
                    lines.extend(self.lacks_of_captured(&relation).await);
                    lines
                }
                None => self.why_topic_of(&relation).await?,
            };
            return Ok(Outcome::lines("why", lines));
        }
        if let Some(sink) = objects.sink(&name.name) {
            let mut lines = self.jobs.why(&name.name);
            lines.extend(self.sink_state(sink));
            return Ok(Outcome::lines("why", lines));
        }
        if let Some(function) = objects.function(&name.name) {
            let callers = objects.dependents(function.identity.id);
            let callers: Vec<&str> = callers.iter().map(|caller| caller.name.as_str()).collect();
            return Ok(Outcome::lines("why", why_function(function, &callers)));
        }
        if let Some(error) = self.broken_error(&name.name) {
            return Ok(Outcome::lines("why", [format!("broken: {error}")]));
        }
        if let Some(lines) = self.why_topic(&name.name).await? {
            return Ok(Outcome::lines("why", lines));
        }
        let names = objects.relations().map(|relation| relation.name());
        let message = format!(
            "there is no view, source, table, function or topic {:?}",
            name.name
        );
        Err(Diagnostic::new(Code::UnknownRelation, message)
            .at(name.span)
            .suggest_nearest(&name.name, names))
    }

    fn why_view(&self, relation: &Relation) -> Vec<String> {
        let mut lines = self.jobs.why(relation.name());
        if let Some(filling) = self.filling(relation.name()) {
            let text = filling.text();
            lines.push(format!(
                "still reading what its sources held when it began: {text}"
            ));
        }
        let objects = self.objects();
        let inputs = relation.identity.references.iter();
        for input in inputs.filter_map(|reference| objects.relation(&reference.name)) {
            if input.view.is_some() {
                let name = input.name();
                lines.push(format!("it reads view {name}: {}", self.jobs.state(name)));
            }
        }
        for reference in &relation.identity.references {
            let called = objects.function(&reference.name);
            let Some(function) = called.filter(|called| called.identity.id == reference.id) else {
                continue;
            };
            if let Some(last) = function.scalar.said().last() {
                let name = &function.identity.name;
                lines.push(format!(
                    "function {name} said {}; EXPLAIN WHY {name} has what it said before",
                    said_text(last)
                ));
            }
        }
        lines
    }

    async fn why_topic_of(&self, relation: &Relation) -> Result<Vec<String>, Diagnostic> {
        let limit = Duration::from_millis(self.config.query_timeout_ms);
        let read = tokio::time::timeout(limit, self.read_whole(relation)).await;
        let (report, times) = read.map_err(|_| {
            let message = format!(
                "topic {} could not be read within {} ms",
                relation.topic, self.config.query_timeout_ms
            );
            Diagnostic::new(Code::Timeout, message).help("raise sql.query_timeout_ms")
        })??;
        let mut lines = vec![verdict(relation, &report)];
        lines.extend(self.connector_state(relation));
        for notice in scanned(relation.name(), &report) {
            lines.push(notice.message);
            // The help of the first is this very statement.
            lines.extend(notice.help.filter(|help| !help.starts_with("EXPLAIN WHY")));
        }
        if report.foreign > 0 {
            let keys = plural(report.foreign, "key");
            lines.push(format!(
                "{keys} lie where Kafka's partitioner (murmur2) would not put them: a producer that uses it writes another record of such a key into another partition, and which of both is newer is not known then"
            ));
        }
        if let Some(time) = relation.times.first() {
            let column = relation.schema.field(time.column).name().clone();
            lines.push(match times.0 {
                Some((from, to)) => {
                    let [from, to] = [from, to].map(time_text);
                    format!("event time {column} goes from {from} to {to}")
                }
                None => format!("no row has an event time in {column}"),
            });
        }
        let objects = self.objects();
        let views = objects.dependents(relation.identity.id);
        lines.push(match views.as_slice() {
            [] => "no view reads it".to_owned(),
            views => {
                let names: Vec<&str> = views.iter().map(|view| view.name.as_str()).collect();
                format!("read by {}", names.join(", "))
            }
        });
        Ok(lines)
    }

    /// Reads the topic as a SELECT of all columns does.
    async fn read_whole(&self, relation: &Relation) -> Result<(ScanReport, Times), Diagnostic> {
        let failed = |error: streams::ScanError| Diagnostic::new(Code::Log, error.to_string());
        let all: Vec<usize> = (0..relation.columns.len()).collect();
        let (spec, places) = relation.source(&all);
        let time = relation.times.first().map(|time| places[time.column]);
        let scan = streams::scan(Arc::clone(&self.log), &spec, ScanRange::Now).await;
        let mut scan = scan.map_err(|error| match error {
            streams::ScanError::MissingTopic(topic) => {
                missing_topic(&topic, relation.identity.kind, relation.name())
            }
            other => failed(other),
        })?;
        let report = scan.report();
        let mut times = Times::default();
        while let Some(batch) = scan.next().await {
            let batch = batch.map_err(failed)?;
            if let Some(column) = time.map(|time| batch.column(time)) {
                times.take(column);
            }
            // However fast the log is: others wait for this thread, too.
            tokio::task::yield_now().await;
        }
        Ok((report.get(), times))
    }

    /// What a topic holds that no relation is named after; `None`: there is no such topic.
    async fn why_topic(&self, topic: &str) -> Result<Option<Vec<String>>, Diagnostic> {
        let failed = |error: log_api::AdminError| Diagnostic::new(Code::Log, error.to_string());
        let admin = self.log.admin();
        // A name that cannot be a topic's is none.
        let Ok(Some(described)) = admin.describe_topic(topic).await else {
            return Ok(None);
        };
        let (mut each, mut all) = (Vec::new(), 0);
        for number in 0..described.partitions {
            let partition = log_api::TopicPartition::new(topic, number);
            let from = admin.offset(&partition, OffsetSpec::Earliest).await;
            let end = admin.offset(&partition, OffsetSpec::LastStable).await;
            let count = (end.map_err(failed)? - from.map_err(failed)?).max(0);
            all += count;
            each.push(format!("{number}: {count}"));
        }
        let more = each.len().saturating_sub(PARTITIONS_TOLD);
        each.truncate(PARTITIONS_TOLD);
        if more > 0 {
            each.push(format!("and {more} more"));
        }
        let objects = self.objects();
        let readers: Vec<String> = objects
            .relations()
            .filter(|relation| relation.topic == topic)
            .map(|relation| format!("{} {}", relation.identity.kind, relation.name()))
            .collect();
        let reads = if readers.is_empty() {
            format!(
                "nothing reads it: CREATE SOURCE name (column TYPE, …) WITH (topic = '{topic}') makes it readable"
            )
        } else {
            format!("it is read as {}", readers.join(", "))
        };
        Ok(Some(vec![
            format!(
                "topic {topic} has {} in {} ({})",
                plural(all.unsigned_abs(), "offset"),
                plural(u64::from(described.partitions.unsigned_abs()), "partition"),
                each.join(", ")
            ),
            reads,
        ]))
    }
}

/// Whose module a function is of, who calls it, and what it has said.
fn why_function(function: &Function, callers: &[&str]) -> Vec<String> {
    let name = &function.identity.name;
    let mut lines = vec![format!(
        "function {} is of module {}",
        function.signature(),
        function.module
    )];
    lines.push(match callers {
        [] => "no view calls it".to_owned(),
        callers => format!("called by {}", callers.join(", ")),
    });
    let said = function.scalar.said();
    if said.is_empty() {
        lines.push(format!(
            "{name} has said nothing since the server began: log::info and the like of the SDK stand here and in the server's log"
        ));
    }
    lines.extend(
        said.iter()
            .map(|message| format!("said {}", said_text(message))),
    );
    lines
}

/// `2026-11-30T13:00:00.123 warn, 3 times: …`.
fn said_text(message: &GuestMessage) -> String {
    let at = chrono::DateTime::<chrono::Utc>::from(message.at);
    let at = at.format("%Y-%m-%dT%H:%M:%S%.3fZ");
    let times = match message.times {
        1 => String::new(),
        times => format!(", {times} times"),
    };
    format!("{at} {}{times}: {}", message.level, message.text)
}

/// What matters most about a source or table.
fn verdict(relation: &Relation, report: &ScanReport) -> String {
    let kind = relation.identity.kind;
    let (name, topic) = (relation.name(), &relation.topic);
    let partitions = plural(report.ends.len() as u64, "partition");
    if report.records == 0 {
        return format!(
            "{kind} {name} shows nothing because topic {topic} holds no records ({partitions})"
        );
    }
    let records = plural(report.records, "record");
    let rows = plural(report.rows, "row");
    if report.undecodable == report.records {
        return format!(
            "{kind} {name} shows nothing because none of the {records} of topic {topic} could be read"
        );
    }
    let by_key = if kind == Kind::Table || !relation.key.is_empty() {
        ", one for each key"
    } else {
        ""
    };
    format!("{kind} {name} shows {rows}{by_key}: topic {topic} holds {records} in {partitions}")
}

impl Times {
    fn take(&mut self, column: &dyn Array) {
        let Some(column) = column.as_primitive_opt::<TimestampMicrosecondType>() else {
            return;
        };
        let (Some(from), Some(to)) = (min(column), max(column)) else {
            return;
        };
        self.0 = Some(match self.0 {
            None => (from, to),
            Some((least, greatest)) => (least.min(from), greatest.max(to)),
        });
    }
}

pub(super) fn time_text(time_us: i64) -> String {
    match chrono::DateTime::from_timestamp_micros(time_us) {
        Some(time) => time.naive_utc().format("%Y-%m-%dT%H:%M:%S%.f").to_string(),
        None => format!("{time_us} µs"),
    }
}
