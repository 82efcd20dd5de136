//! What REST shows of a connector.

use std::collections::BTreeSet;

use connect_api::{ConfigMap, ConnectorKind};

use super::{Connector, Herder, Plan, Slot, TaskId};
use crate::store::TargetState;
use crate::task::lifecycle::{Control, Phase};

/// A connector as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectorView {
    pub(crate) name: String,
    pub(crate) config: ConfigMap,
    pub(crate) kind: Option<ConnectorKind>,
    pub(crate) version: &'static str,
    pub(crate) target: TargetState,
    pub(crate) generation: u64,
    pub(crate) state: &'static str,
    pub(crate) trace: Option<String>,
    pub(crate) tasks: Vec<TaskView>,
    pub(crate) topics: BTreeSet<String>,
    /// Runs that were told to stop and are still there.
    pub(crate) stopping: usize,
}

/// A task as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskView {
    pub(crate) task: u32,
    pub(crate) config: ConfigMap,
    pub(crate) state: &'static str,
    pub(crate) trace: Option<String>,
}

impl Herder {
    /// Names of all connectors, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.connectors.keys().cloned().collect()
    }

    /// Whether there is a connector of this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.connectors.contains_key(name)
    }

    /// A connector's configuration.
    pub(crate) fn config(&self, name: &str) -> Option<&ConfigMap> {
        self.connectors.get(name).map(|connector| &connector.config)
    }

    /// A connector as it is now.
    pub(crate) fn view(&self, name: &str) -> Option<ConnectorView> {
        let connector = self.connectors.get(name)?;
        let (state, trace) = connector_state(connector);
        let tasks = connector
            .tasks
            .iter()
            .zip(0u32..)
            .map(|(config, task)| {
                let slot = self.slots.get(&TaskId {
                    connector: name.to_owned(),
                    task,
                });
                let (state, trace) = slot.map_or(("UNASSIGNED", None), task_state);
                TaskView {
                    task,
                    config: config.clone(),
                    state,
                    trace,
                }
            })
            .collect();
        Some(ConnectorView {
            name: name.to_owned(),
            config: connector.config.clone(),
            kind: connector.plugin.map(|plugin| plugin.kind),
            version: connector.plugin.map_or("unknown", |plugin| plugin.version),
            target: connector.target,
            generation: connector.generation,
            state,
            trace,
            tasks,
            topics: connector.topics.clone(),
            stopping: self
                .slots
                .iter()
                .filter(|(id, slot)| {
                    id.connector == name
                        && slot.told == Control::Stop
                        && matches!(slot.phase, Phase::Starting | Phase::Running | Phase::Paused)
                })
                .count(),
        })
    }
}

fn connector_state(connector: &Connector) -> (&'static str, Option<String>) {
    match (&connector.plan, connector.target) {
        (Plan::Failed(trace), _) => ("FAILED", Some(trace.clone())),
        (_, TargetState::Stopped) => ("STOPPED", None),
        (Plan::Pending { restarting: true }, _) => ("RESTARTING", None),
        (Plan::Pending { restarting: false }, _) if connector.tasks.is_empty() => {
            ("UNASSIGNED", None)
        }
        (_, TargetState::Paused) => ("PAUSED", None),
        (_, TargetState::Started) => ("RUNNING", None),
    }
}

fn task_state(slot: &Slot) -> (&'static str, Option<String>) {
    let state = match slot.phase {
        Phase::Failed if slot.restart_at.is_some() => "RESTARTING",
        Phase::Failed => "FAILED",
        Phase::Completed => "STOPPED",
        _ if slot.restarting => "RESTARTING",
        Phase::Stopped | Phase::Starting => "UNASSIGNED",
        Phase::Running => "RUNNING",
        Phase::Paused => "PAUSED",
    };
    (state, slot.trace.clone())
}
