//! Ways that records take outside of the log: a sink takes them from a topic to a table, and a source captures that table into
//! another topic.
//!
//! ```text
//! topic a ──▶ sink ──▶ table t of a database ──▶ source ──▶ topic b
//! ```
//!
//! Which table is which is the servers' to say, through the plugins.

use std::collections::BTreeSet;
use std::sync::Arc;

use connect_api::{ConfigMap, ConnectorPlugin, TablePlace};

use super::Tables;
use crate::secrets;

/// A way from one topic to another through a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFlow {
    /// The topic that a sink reads.
    pub from: String,
    /// The topic that a source writes.
    pub to: String,
    /// The table, as people read it: `public.orders of db:5432/shop`.
    pub table: String,
    /// The connector that captures what is written to it.
    pub source: String,
}

/// A connector, and what of its configuration matters here.
struct Known {
    name: String,
    plugin: Arc<dyn ConnectorPlugin>,
    /// Secrets that are missing are none of these.
    config: ConfigMap,
    /// Topics of a sink.
    topics: BTreeSet<String>,
}

impl Tables {
    /// All ways through tables, of the connectors that there are and of one that may be made; none where no record of these
    /// topics comes to a table, and then no server is asked.
    pub async fn flows(
        &self,
        planned: Option<&ConfigMap>,
        topics: &BTreeSet<String>,
    ) -> Vec<TableFlow> {
        let known = self.known(planned);
        let mut sinks = known
            .iter()
            .filter(|one| one.plugin.sink_tables().is_some());
        if !sinks.any(|sink| !sink.topics.is_disjoint(topics)) {
            return Vec::new();
        }
        let (mut from, mut places) = (Vec::new(), Vec::new());
        for sinks in by_plugin(&known) {
            let Some(tables) = sinks[0].plugin.sink_tables() else {
                continue;
            };
            let taken: Vec<(&ConfigMap, &str)> = (sinks.iter())
                .flat_map(|sink| {
                    sink.topics
                        .iter()
                        .map(|topic| (&sink.config, topic.as_str()))
                })
                .collect();
            let found = tables.places(&taken).await;
            for ((_, topic), found) in taken.into_iter().zip(found) {
                from.extend(std::iter::repeat_n(topic.to_owned(), found.len()));
                places.extend(found);
            }
        }
        let mut flows = Vec::new();
        for sources in by_plugin(&known) {
            let Some(tables) = sources[0].plugin.tables() else {
                continue;
            };
            let configs: Vec<&ConfigMap> = sources.iter().map(|source| &source.config).collect();
            let captured = tables.captured(&configs, &places).await.into_iter();
            flows.extend(captured.filter_map(|captured| {
                let place: &TablePlace = places.get(captured.place)?;
                Some(TableFlow {
                    from: from.get(captured.place)?.clone(),
                    to: captured.topic,
                    table: place.to_string(),
                    source: sources.get(captured.source)?.name.clone(),
                })
            }));
        }
        flows
    }

    fn known(&self, planned: Option<&ConfigMap>) -> Vec<Known> {
        let herder = self.inner.herder.read();
        let there = herder.names().into_iter().filter_map(|name| {
            let view = herder.view(&name)?;
            Some((name, view.config, view.topics))
        });
        let planned = planned.map(|config| {
            let name = config.get("name").cloned().unwrap_or_default();
            (name, config.clone(), BTreeSet::new())
        });
        let all = there.chain(planned);
        all.filter_map(|(name, config, used)| {
            let class = config.get("connector.class")?;
            let plugin = Arc::clone(self.inner.plugins.connector(class)?);
            let (config, _) = secrets::resolve_all(&config);
            let named = config.get("topics").map(String::as_str).unwrap_or_default();
            let named = named.split(',').map(|topic| topic.trim().to_owned());
            // Those of a pattern are known once they were read.
            let topics = named.filter(|topic| !topic.is_empty()).chain(used);
            Some(Known {
                name,
                plugin,
                topics: topics.collect(),
                config,
            })
        })
        .collect()
    }
}

/// The connectors of each plugin, at least one.
fn by_plugin(known: &[Known]) -> Vec<Vec<&Known>> {
    let mut groups: Vec<Vec<&Known>> = Vec::new();
    for one in known {
        let same = |group: &&mut Vec<&Known>| group[0].plugin.class() == one.plugin.class();
        match groups.iter_mut().find(same) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    groups
}
