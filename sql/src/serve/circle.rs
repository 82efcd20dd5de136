//! Whether what a sink writes comes back into its own query.
//!
//! ```text
//! topic of the sink ──▶ views and sinks that read it ──▶ their topics ──▶ …                       ──▶ a topic that the query reads
//!                   ──▶ a connector ──▶ table of a database ──▶ a connector that captures it ──▶
//! ```
//!
//! Such a query would go on for ever, and write each row anew for each of its turns.

use std::collections::BTreeSet;

use streams::{NodeKind, StreamPlan};

use super::server::Inner;
use crate::catalog::Objects;
use crate::connectors::{ConnectorOptions, TableFlow};
use crate::diagnostic::{Code, Diagnostic, Span};

/// Where a statement says where the records of its query go.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Places {
    /// The topic.
    pub topic: Option<Span>,
    /// The table of its connector.
    pub table: Option<Span>,
}

/// A step of records from one topic to the next.
#[derive(Debug, Clone, Copy)]
struct Step<'a> {
    to: &'a str,
    /// The step before, by its place.
    before: Option<usize>,
    /// The table that it leads through.
    flow: Option<&'a TableFlow>,
}

impl Inner {
    /// Refuses a query whose records, which go to `topic`, would come back into it; `config` is that of the connector which a
    /// sink will have.
    pub(super) async fn check_circle(
        &self,
        topic: &str,
        plan: &StreamPlan,
        config: Option<&ConnectorOptions>,
        places: Places,
    ) -> Result<(), Diagnostic> {
        let (inputs, objects) = (inputs(plan), self.objects());
        let flows = match self.connectors.get() {
            Some(connectors) => {
                let reached = steps(topic, &objects, &[]).into_iter();
                let reached = reached.map(|step| step.to.to_owned()).collect();
                connectors.flows(config, &reached).await
            }
            None => Vec::new(),
        };
        let Some(through) = circle(topic, &inputs, &objects, &flows) else {
            return Ok(());
        };
        let Some(flow) = through.first() else {
            let message = format!("what goes to topic {topic} would come back into this query");
            return Err(Diagnostic::new(Code::Unsupported, message)
                .at(places.topic)
                .help(
                    "WITH (topic = '…') names a topic that it does not read, directly or by others",
                ));
        };
        let message = format!(
            "what goes to table {} would come back into this query: connector {} captures what is written there",
            flow.table, flow.source
        );
        Err(Diagnostic::new(Code::Unsupported, message)
            .at(places.table.or(places.topic))
            .help("write to a table that the query does not read, directly or by others"))
    }
}

/// The tables through which what is written to `topic` comes to one of `inputs`; `None`: it does not.
fn circle<'a>(
    topic: &'a str,
    inputs: &BTreeSet<&str>,
    objects: &'a Objects,
    flows: &'a [TableFlow],
) -> Option<Vec<&'a TableFlow>> {
    let steps = steps(topic, objects, flows);
    let back = steps.iter().position(|step| inputs.contains(step.to))?;
    Some(through(&steps, back))
}

/// The topics to which what is written to `topic` comes, and how, the nearest first.
fn steps<'a>(topic: &'a str, objects: &'a Objects, flows: &'a [TableFlow]) -> Vec<Step<'a>> {
    let views = objects.relations().filter_map(|relation| {
        let plan = &relation.view.as_ref()?.plan;
        Some((self::inputs(plan), relation.topic.as_str()))
    });
    let sinks = (objects.sinks())
        .map(|sink| (self::inputs(&sink.plan.plan), sink.plan.sink.topic.as_str()));
    let jobs: Vec<(BTreeSet<&str>, &str)> = views.chain(sinks).collect();
    let mut steps = vec![Step {
        to: topic,
        before: None,
        flow: None,
    }];
    let mut next = 0;
    while let Some(step) = steps.get(next).copied() {
        let of_jobs = jobs.iter().filter(|(reads, _)| reads.contains(step.to));
        let of_jobs = of_jobs.map(|(_, writes)| (*writes, None));
        let of_flows = flows.iter().filter(|flow| flow.from == step.to);
        let of_flows = of_flows.map(|flow| (flow.to.as_str(), Some(flow)));
        for (to, flow) in of_jobs.chain(of_flows) {
            if !steps.iter().any(|known| known.to == to) {
                let before = Some(next);
                steps.push(Step { to, before, flow });
            }
        }
        next += 1;
    }
    steps
}

/// The tables on the way to a step, in order.
fn through<'a>(steps: &[Step<'a>], last: usize) -> Vec<&'a TableFlow> {
    let mut place = Some(last);
    let mut tables = Vec::new();
    while let Some(step) = place.and_then(|place| steps.get(place)) {
        tables.extend(step.flow);
        place = step.before;
    }
    tables.reverse();
    tables
}

/// The topics that a plan reads.
fn inputs(plan: &StreamPlan) -> BTreeSet<&str> {
    let sources = plan.nodes.iter().filter_map(|node| match &node.kind {
        NodeKind::Source(source) => Some(source.topic.as_str()),
        _ => None,
    });
    sources.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(from: &str, to: &str) -> TableFlow {
        TableFlow {
            from: from.to_owned(),
            to: to.to_owned(),
            table: format!("table of {to}"),
            source: to.to_owned(),
        }
    }

    #[test]
    fn records_come_back_by_any_number_of_tables() {
        let objects = Objects::default();
        let flows = [
            flow("a", "b"),
            flow("b", "c"),
            flow("c", "a"),
            flow("a", "d"),
        ];
        let tables = |topic: &str, input: &str| {
            let inputs = BTreeSet::from([input]);
            let tables = circle(topic, &inputs, &objects, &flows)?;
            Some(
                tables
                    .iter()
                    .map(|flow| flow.to.clone())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(tables("a", "a"), Some(Vec::new()));
        assert_eq!(tables("a", "c"), Some(vec!["b".to_owned(), "c".to_owned()]));
        assert_eq!(tables("c", "d"), Some(vec!["a".to_owned(), "d".to_owned()]));
        assert_eq!(tables("d", "a"), None);
        assert_eq!(tables("x", "a"), None);
    }
}
