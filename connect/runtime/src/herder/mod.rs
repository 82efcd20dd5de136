//! PURE: which connectors there are, which tasks they have, what runs, and what is to be done about it.
//!
//! ```text
//!   events (REST, plans, task reports, time) ─▶ Herder ─▶ commands (plan, start, tell)
//!                                                 │
//!                                                 └─▶ views: statuses and infos for REST
//! ```
//!
//! What must be on disk first is written by the caller before it reports the event: a configuration, the tasks of a
//! plan, a target state. Times are milliseconds of a monotone clock; `jitter` is random in `[0, 1)`.
//!
//! Invariants (`check_invariants`, after every event in debug builds):
//! 1. At most one run of a task is alive; its number is the slot's `run`.
//! 2. A task that is not wanted is told to stop, or gone.
//! 3. Run numbers rise and are never used twice.

mod view;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use connect_api::{ConfigMap, ConnectorKind};

use crate::store::{StoredConnector, TargetState};
use crate::supervisor::{RestartPolicy, Supervision, Verdict};
use crate::task::TaskId;
use crate::task::lifecycle::{self, Control, End, Phase, Step};
pub(crate) use view::{ConnectorView, TaskView};

/// What the plugin of a connector says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PluginInfo {
    pub(crate) kind: ConnectorKind,
    pub(crate) version: &'static str,
}

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Ask the connector for its tasks; answer with `planned`.
    Plan { connector: String, generation: u64 },
    /// Start a run; it reports under this number.
    Start { id: TaskId, run: u64, paused: bool },
    /// Tell a run.
    Tell {
        id: TaskId,
        run: u64,
        control: Control,
    },
}

/// How far the tasks of a connector are planned.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Plan {
    Pending { restarting: bool },
    Done,
    Failed(String),
}

struct Connector {
    config: ConfigMap,
    /// `None`: its class is not there (any more).
    plugin: Option<PluginInfo>,
    target: TargetState,
    /// Counts configurations and plans; answers to older plans are not for it.
    generation: u64,
    plan: Plan,
    tasks: Vec<ConfigMap>,
    topics: BTreeSet<String>,
}

struct Slot {
    run: u64,
    phase: Phase,
    told: Control,
    /// The present run has an old configuration, or a restart was asked for.
    stale: bool,
    /// Shown as RESTARTING until it runs again.
    restarting: bool,
    trace: Option<String>,
    supervision: Supervision,
    restart_at: Option<u64>,
}

/// See the module.
pub(crate) struct Herder {
    connectors: BTreeMap<String, Connector>,
    slots: BTreeMap<TaskId, Slot>,
    policy: RestartPolicy,
    runs: u64,
    generations: u64,
}

impl Herder {
    pub(crate) fn new(policy: RestartPolicy) -> Self {
        Self {
            connectors: BTreeMap::new(),
            slots: BTreeMap::new(),
            policy,
            runs: 0,
            generations: 0,
        }
    }

    /// Takes over what was stored. Tasks are planned anew: the connector's code may have changed.
    pub(crate) fn restore(
        &mut self,
        name: &str,
        stored: StoredConnector,
        plugin: Option<PluginInfo>,
        topics: BTreeSet<String>,
    ) -> Vec<Command> {
        self.generations += 1;
        let connector = Connector {
            config: stored.config,
            plugin,
            target: stored.target,
            generation: self.generations,
            plan: Plan::Done,
            tasks: if stored.target == TargetState::Stopped {
                Vec::new()
            } else {
                stored.tasks
            },
            topics,
        };
        self.connectors.insert(name.to_owned(), connector);
        let commands = self.plan(name, false);
        self.settle(name, commands)
    }

    /// A configuration was written, of a new or a present connector.
    pub(crate) fn configured(
        &mut self,
        name: &str,
        config: ConfigMap,
        plugin: PluginInfo,
        target: Option<TargetState>,
    ) -> Vec<Command> {
        match self.connectors.get_mut(name) {
            Some(present) => {
                let changed = present.config != config;
                present.config = config;
                present.plugin = Some(plugin);
                present.target = target.unwrap_or(present.target);
                if changed {
                    self.outdate(name, |_, _| true);
                }
            }
            None => {
                let connector = Connector {
                    config,
                    plugin: Some(plugin),
                    target: target.unwrap_or(TargetState::Started),
                    generation: 0,
                    plan: Plan::Done,
                    tasks: Vec::new(),
                    topics: BTreeSet::new(),
                };
                self.connectors.insert(name.to_owned(), connector);
            }
        }
        let commands = self.plan(name, false);
        self.settle(name, commands)
    }

    /// A connector was deleted. Its tasks are told to stop.
    pub(crate) fn deleted(&mut self, name: &str) -> Vec<Command> {
        self.connectors.remove(name);
        self.settle(name, Vec::new())
    }

    /// A target state was written; with `Stopped`, the empty list of tasks too.
    pub(crate) fn targeted(&mut self, name: &str, target: TargetState) -> Vec<Command> {
        let Some(connector) = self.connectors.get_mut(name) else {
            return Vec::new();
        };
        let before = std::mem::replace(&mut connector.target, target);
        let mut commands = Vec::new();
        if target == TargetState::Stopped {
            connector.tasks.clear();
            connector.plan = Plan::Done;
            // Answers to plans that are under way come too late.
            self.generations += 1;
            connector.generation = self.generations;
        } else if before == TargetState::Stopped {
            commands = self.plan(name, false);
        }
        self.settle(name, commands)
    }

    /// Whether the answer to a plan still counts, and the tasks that it would replace.
    pub(crate) fn plan_replaces(&self, name: &str, generation: u64) -> Option<&[ConfigMap]> {
        let connector = self.connectors.get(name)?;
        (connector.generation == generation).then_some(&*connector.tasks)
    }

    /// The connector named its tasks (and they were written), or could not.
    pub(crate) fn planned(
        &mut self,
        name: &str,
        generation: u64,
        result: Result<Vec<ConfigMap>, String>,
    ) -> Vec<Command> {
        let Some(connector) = self.connectors.get_mut(name) else {
            return Vec::new();
        };
        if connector.generation != generation {
            return Vec::new();
        }
        match result {
            Ok(tasks) => {
                connector.plan = Plan::Done;
                let before = std::mem::replace(&mut connector.tasks, tasks.clone());
                self.outdate(name, |task, _| before.get(task) != tasks.get(task));
            }
            Err(trace) => connector.plan = Plan::Failed(trace),
        }
        self.settle(name, Vec::new())
    }

    /// A restart of the connector was asked for (not of its tasks).
    pub(crate) fn restart_connector(&mut self, name: &str) -> Vec<Command> {
        let commands = self.plan(name, true);
        self.settle(name, commands)
    }

    /// A restart of a task was asked for; `false` if there is none.
    pub(crate) fn restart_task(&mut self, id: &TaskId) -> (bool, Vec<Command>) {
        let there = self
            .connectors
            .get(&id.connector)
            .is_some_and(|connector| (id.task as usize) < connector.tasks.len());
        if there && let Some(slot) = self.slots.get_mut(id) {
            slot.stale = true;
            slot.restarting = true;
            slot.supervision = Supervision::default();
            slot.restart_at = None;
        }
        let commands = self.settle(&id.connector, Vec::new());
        (there, commands)
    }

    /// KIP-745: restarts the connector and its tasks, or those of both that failed.
    pub(crate) fn restart_all(
        &mut self,
        name: &str,
        include_tasks: bool,
        only_failed: bool,
    ) -> Vec<Command> {
        let Some(connector) = self.connectors.get(name) else {
            return Vec::new();
        };
        let mut commands = Vec::new();
        if !only_failed || matches!(connector.plan, Plan::Failed(_)) {
            commands.extend(self.restart_connector(name));
        }
        if include_tasks {
            let picked: Vec<TaskId> = self
                .slots
                .iter()
                .filter(|(id, slot)| {
                    id.connector == name && (!only_failed || slot.phase == Phase::Failed)
                })
                .map(|(id, _)| id.clone())
                .collect();
            for id in picked {
                commands.extend(self.restart_task(&id).1);
            }
        }
        commands
    }

    /// A run says that it runs, or waits.
    pub(crate) fn reported(
        &mut self,
        id: &TaskId,
        run: u64,
        phase: Phase,
        now: u64,
    ) -> Vec<Command> {
        if let Some(slot) = self.slots.get_mut(id).filter(|slot| slot.run == run) {
            slot.phase = phase;
            slot.supervision.running(now);
            slot.trace = None;
            slot.restarting = slot.told == Control::Stop && slot.restarting;
        }
        self.settle(&id.connector, Vec::new())
    }

    /// A run is alive, but cannot go on for now: what it tries again is no failure, yet status says why nothing moves.
    pub(crate) fn retrying(&mut self, id: &TaskId, run: u64, trace: String) -> Vec<Command> {
        if let Some(slot) = self.slots.get_mut(id).filter(|slot| slot.run == run) {
            if slot.phase == Phase::Starting {
                slot.phase = Phase::Running;
            }
            slot.trace = Some(trace);
        }
        self.settle(&id.connector, Vec::new())
    }

    /// A run ended.
    pub(crate) fn ended(
        &mut self,
        id: &TaskId,
        run: u64,
        end: End,
        now: u64,
        jitter: f64,
    ) -> Vec<Command> {
        let policy = self.policy;
        if let Some(slot) = self.slots.get_mut(id).filter(|slot| slot.run == run) {
            match end {
                _ if slot.told == Control::Stop => slot.phase = Phase::Stopped,
                End::Stopped => slot.phase = Phase::Stopped,
                End::Completed => slot.phase = Phase::Completed,
                End::Failed { class, trace } => {
                    slot.phase = Phase::Failed;
                    match slot.supervision.failed(class, policy, now, jitter) {
                        Verdict::RestartAt(at) => {
                            slot.restart_at = Some(at);
                            slot.trace = Some(trace);
                        }
                        Verdict::Stay => slot.trace = Some(trace),
                        Verdict::Quarantine => {
                            slot.trace = Some(format!(
                                "{trace}\nNot restarted: {} restarts within an hour did not help. Restart the task \
                                 once the cause is gone.",
                                policy.per_hour_max
                            ));
                        }
                    }
                }
            }
        }
        self.settle(&id.connector, Vec::new())
    }

    /// A connector's task wrote to or read from a topic; `true` if that is news.
    pub(crate) fn topic_used(&mut self, name: &str, topic: &str) -> bool {
        self.connectors
            .get_mut(name)
            .is_some_and(|connector| connector.topics.insert(topic.to_owned()))
    }

    /// Forgets the topics in use; returns them.
    pub(crate) fn topics_reset(&mut self, name: &str) -> BTreeSet<String> {
        self.connectors
            .get_mut(name)
            .map(|connector| std::mem::take(&mut connector.topics))
            .unwrap_or_default()
    }

    /// Time went on.
    pub(crate) fn tick(&mut self, now: u64) -> Vec<Command> {
        let mut due = BTreeSet::new();
        for (id, slot) in &mut self.slots {
            if slot.restart_at.is_some_and(|at| at <= now) {
                slot.restart_at = None;
                slot.restarting = true;
                slot.phase = Phase::Stopped;
                due.insert(id.connector.clone());
            }
        }
        due.iter()
            .flat_map(|name| self.settle(name, Vec::new()))
            .collect()
    }

    /// When `tick` has something to do.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.slots.values().filter_map(|slot| slot.restart_at).min()
    }

    /// Runs that are there.
    #[cfg(test)]
    pub(crate) fn alive(&self) -> Vec<(TaskId, u64)> {
        self.slots
            .iter()
            .filter(|(_, slot)| {
                matches!(slot.phase, Phase::Starting | Phase::Running | Phase::Paused)
            })
            .map(|(id, slot)| (id.clone(), slot.run))
            .collect()
    }

    fn plan(&mut self, name: &str, restarting: bool) -> Vec<Command> {
        let Some(connector) = self.connectors.get_mut(name) else {
            return Vec::new();
        };
        self.generations += 1;
        connector.generation = self.generations;
        if connector.plugin.is_none() {
            connector.plan = Plan::Failed(format!(
                "org.apache.kafka.connect.errors.ConnectException: Failed to find any class that implements \
                 Connector and which name matches {}",
                connector
                    .config
                    .get("connector.class")
                    .map_or("", String::as_str)
            ));
            return Vec::new();
        }
        if connector.target == TargetState::Stopped {
            connector.plan = Plan::Done;
            return Vec::new();
        }
        connector.plan = Plan::Pending { restarting };
        vec![Command::Plan {
            connector: name.to_owned(),
            generation: connector.generation,
        }]
    }

    /// Marks runs as out of date.
    fn outdate(&mut self, name: &str, which: impl Fn(usize, &Slot) -> bool) {
        for (id, slot) in &mut self.slots {
            if id.connector == name && which(id.task as usize, slot) {
                slot.stale = true;
                slot.restart_at = None;
                slot.supervision = Supervision::default();
            }
        }
    }

    /// Takes every step that is due for a connector's tasks.
    fn settle(&mut self, name: &str, mut commands: Vec<Command>) -> Vec<Command> {
        let wanted_tasks = match self.connectors.get(name) {
            // While a plan is pending, the tasks of the last one go on.
            Some(connector)
                if connector.target != TargetState::Stopped && connector.plugin.is_some() =>
            {
                connector.tasks.len()
            }
            _ => 0,
        };
        let paused = self
            .connectors
            .get(name)
            .is_some_and(|connector| connector.target == TargetState::Paused);
        let pending = self
            .connectors
            .get(name)
            .is_some_and(|connector| matches!(connector.plan, Plan::Pending { .. }));
        let mut ids: BTreeSet<TaskId> = (0..wanted_tasks)
            .map(|task| TaskId {
                connector: name.to_owned(),
                task: u32::try_from(task).unwrap_or(u32::MAX),
            })
            .collect();
        ids.extend(self.slots.keys().filter(|id| id.connector == name).cloned());
        for id in ids {
            let wanted = ((id.task as usize) < wanted_tasks).then_some(paused);
            let slot = self.slots.entry(id.clone()).or_insert_with(|| Slot {
                run: 0,
                phase: Phase::Stopped,
                told: Control::Run,
                stale: false,
                restarting: false,
                trace: None,
                supervision: Supervision::default(),
                restart_at: None,
            });
            match lifecycle::next(slot.phase, slot.told, wanted, slot.stale) {
                // A new configuration may bring new tasks: nothing starts with the old ones.
                Step::Start { .. } if pending => {}
                Step::Start { paused } => {
                    self.runs += 1;
                    slot.run = self.runs;
                    slot.phase = Phase::Starting;
                    slot.told = if paused { Control::Pause } else { Control::Run };
                    slot.stale = false;
                    slot.restart_at = None;
                    commands.push(Command::Start {
                        id,
                        run: slot.run,
                        paused,
                    });
                }
                Step::Tell(control) => {
                    slot.told = control;
                    slot.restarting |= control == Control::Stop && wanted.is_some();
                    commands.push(Command::Tell {
                        id,
                        run: slot.run,
                        control,
                    });
                }
                Step::Forget => {
                    self.slots.remove(&id);
                }
                Step::Wait => {}
            }
        }
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
        commands
    }

    fn check_invariants(&self) {
        let mut runs = BTreeSet::new();
        for (id, slot) in &self.slots {
            assert!(
                slot.run <= self.runs,
                "invariant 3: run {} of {id:?}",
                slot.run
            );
            assert!(
                slot.run == 0 || runs.insert(slot.run),
                "invariant 1: run {} is there twice",
                slot.run
            );
            let alive = matches!(slot.phase, Phase::Starting | Phase::Running | Phase::Paused);
            let wanted = self.connectors.contains_key(&id.connector);
            assert!(
                wanted || !alive || slot.told == Control::Stop,
                "invariant 2: {id:?} runs on without its connector"
            );
        }
    }
}
