//! Ways that records take outside of the log: a sink takes them from a topic to a table, and a source captures that table into
//! another topic.
//!
//! ```text
//! topic a ──▶ sink ──▶ table t of a database ──▶ source ──▶ topic b
//! ```
//!
//! Nothing but configurations is looked at: servers are the same where they have the same name.

use std::collections::BTreeSet;
use std::sync::Arc;

use connect_api::{ConfigMap, ConnectorPlugin};

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
    /// The connector that captures it.
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
    /// All ways through tables, of the connectors that there are and of one that may be made.
    pub fn flows(&self, planned: Option<&ConfigMap>) -> Vec<TableFlow> {
        let known = self.known(planned);
        let mut flows = Vec::new();
        for sink in &known {
            let Some(tables) = sink.plugin.sink_tables() else {
                continue;
            };
            for from in &sink.topics {
                for place in tables.places(&sink.config, from) {
                    let captured = known.iter().filter_map(|source| {
                        let to = source.plugin.tables()?.topic_of(&source.config, &place)?;
                        Some(TableFlow {
                            from: from.clone(),
                            to,
                            table: place.to_string(),
                            source: source.name.clone(),
                        })
                    });
                    flows.extend(captured);
                }
            }
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
