//! The shell around the herder: takes changes, plans and task reports one after the other, writes what has to be on
//! disk, reports the event to the herder, and executes its commands. No connector code runs here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use connect_api::{ConfigMap, ConnectError, ConnectorPlugin};
use tokio::sync::{mpsc, oneshot};

use super::{Change, ChangeError, Changed, Inner, Reply, Stored, offsets, plugin_info};
use crate::herder::{Command, Herder};
use crate::secrets::{self, Secrets};
use crate::store::{ConfigRecord, ConfigStore, Gone, StatusRecord, StatusStore, TargetState};
use crate::supervisor::FailureClass;
use crate::task::lifecycle::{Control, End};
use crate::task::{self, Assignment, Running, TaskEvent, TaskId};

/// How long a connector may take to plan its tasks.
const PLAN_MAX: Duration = Duration::from_secs(60);
/// How often runs are looked at for hanging calls.
const TICK: Duration = Duration::from_millis(500);
/// All that the end of the worker may take, less what the stores need.
const STOP_MAX: Duration = Duration::from_millis(800);
const CLOSE_MAX: Duration = Duration::from_millis(150);

/// A connector's answer to a plan.
struct Planned {
    connector: String,
    generation: u64,
    result: Result<Vec<ConfigMap>, ConnectError>,
}

pub(super) struct Shell {
    inner: Arc<Inner>,
    config_store: ConfigStore,
    status_store: StatusStore,
    events: mpsc::UnboundedReceiver<TaskEvent>,
    plans_in: mpsc::UnboundedSender<Planned>,
    plans: mpsc::UnboundedReceiver<Planned>,
    running: HashMap<TaskId, Running>,
    /// Runs that were told to stop, and when they have to be gone.
    stopping: HashMap<TaskId, Instant>,
    /// Tasks of each connector that the status topic knows.
    published: BTreeMap<String, u32>,
    started: Instant,
}

impl Shell {
    pub(super) fn new(
        inner: Arc<Inner>,
        config_store: ConfigStore,
        status_store: StatusStore,
        events: mpsc::UnboundedReceiver<TaskEvent>,
    ) -> Self {
        let (plans_in, plans) = mpsc::unbounded_channel();
        Self {
            inner,
            config_store,
            status_store,
            events,
            plans_in,
            plans,
            running: HashMap::new(),
            stopping: HashMap::new(),
            published: BTreeMap::new(),
            started: Instant::now(),
        }
    }

    /// Takes over what the topics held.
    pub(super) async fn restore(
        &mut self,
        stored: Stored,
        mut topics: BTreeMap<String, BTreeSet<String>>,
    ) {
        for (name, connector) in stored {
            let plugin = plugin_info(&self.inner.plugins, &connector.config);
            let used = topics.remove(&name).unwrap_or_default();
            let commands = self
                .inner
                .herder
                .write()
                .restore(&name, connector, plugin, used);
            self.execute(&name, commands).await;
        }
    }

    /// Runs until told to stop.
    pub(super) async fn run(
        mut self,
        mut changes: mpsc::Receiver<(Change, Reply)>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        loop {
            let wake = self.wake();
            tokio::select! {
                biased;
                _ = &mut stopped => break,
                Some(event) = self.events.recv() => self.on_event(event).await,
                Some(planned) = self.plans.recv() => self.on_planned(planned).await,
                Some((change, reply)) = changes.recv() => {
                    let result = self.on_change(change).await;
                    // A caller that went away does not want to know.
                    let _ = reply.send(result);
                }
                () = tokio::time::sleep_until(wake.into()) => self.on_tick().await,
            }
        }
        self.stop().await;
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn wake(&self) -> Instant {
        let tick = Instant::now() + TICK;
        match self.inner.herder.read().next_deadline() {
            Some(deadline) => tick.min(self.started + Duration::from_millis(deadline)),
            None => tick,
        }
    }

    async fn stop(mut self) {
        for (id, running) in &self.running {
            tracing::debug!(connector = id.connector, task = id.task, "stopping");
            running.tell(Control::Stop);
        }
        let deadline = Instant::now() + STOP_MAX;
        while !self.running.is_empty() {
            match tokio::time::timeout_at(deadline.into(), self.events.recv()).await {
                Ok(Some(TaskEvent::Ended { id, .. })) => {
                    if let Some(running) = self.running.remove(&id) {
                        running.join();
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => {
                    for id in self.running.keys() {
                        tracing::warn!(
                            connector = id.connector,
                            task = id.task,
                            "the task did not stop in time and is left behind"
                        );
                    }
                    break;
                }
            }
        }
        let _ = tokio::time::timeout(CLOSE_MAX, self.status_store.close()).await;
    }

    async fn on_change(&mut self, change: Change) -> Result<Changed, ChangeError> {
        let found = |herder: &Herder, name: &str| match herder.contains(name) {
            true => Ok(()),
            false => Err(ChangeError::NotFound(name.to_owned())),
        };
        let herder = || self.inner.herder.read();
        match change {
            Change::Put {
                name,
                config,
                plugin,
                target,
                create_only,
            } => {
                let created = !herder().contains(&name);
                if !created && create_only {
                    return Err(ChangeError::Exists(name));
                }
                let mut records = Vec::new();
                if let Some(state) = target {
                    records.push(ConfigRecord::Target {
                        name: name.clone(),
                        state: Some(state),
                    });
                }
                records.push(ConfigRecord::Connector {
                    name: name.clone(),
                    config: Some(config.clone()),
                });
                self.config_store.write(&records, crate::now_ms()).await?;
                let commands = self
                    .inner
                    .herder
                    .write()
                    .configured(&name, config, plugin, target);
                self.execute(&name, commands).await;
                Ok(Changed { created })
            }
            Change::Delete { name } => {
                found(&herder(), &name)?;
                self.inner.filled.lock().remove(&name);
                let records = [
                    ConfigRecord::Connector {
                        name: name.clone(),
                        config: None,
                    },
                    ConfigRecord::Target {
                        name: name.clone(),
                        state: None,
                    },
                ];
                self.config_store.write(&records, crate::now_ms()).await?;
                let topics = self.inner.herder.write().topics_reset(&name);
                self.forget_topics(&name, topics);
                let commands = self.inner.herder.write().deleted(&name);
                self.execute(&name, commands).await;
                Ok(Changed::default())
            }
            Change::Target { name, state } => {
                found(&herder(), &name)?;
                let mut records = vec![ConfigRecord::Target {
                    name: name.clone(),
                    state: Some(state),
                }];
                if state == TargetState::Stopped {
                    records.push(ConfigRecord::Tasks {
                        name: name.clone(),
                        configs: Vec::new(),
                    });
                }
                self.config_store.write(&records, crate::now_ms()).await?;
                let commands = self.inner.herder.write().targeted(&name, state);
                self.execute(&name, commands).await;
                Ok(Changed::default())
            }
            Change::Restart {
                name,
                include_tasks,
                only_failed,
            } => {
                found(&herder(), &name)?;
                let commands =
                    self.inner
                        .herder
                        .write()
                        .restart_all(&name, include_tasks, only_failed);
                self.execute(&name, commands).await;
                Ok(Changed::default())
            }
            Change::RestartTask { id } => {
                found(&herder(), &id.connector)?;
                let (there, commands) = self.inner.herder.write().restart_task(&id);
                self.execute(&id.connector, commands).await;
                if there {
                    Ok(Changed::default())
                } else {
                    Err(ChangeError::TaskNotFound(id))
                }
            }
            Change::ResetTopics { name } => {
                found(&herder(), &name)?;
                let topics = self.inner.herder.write().topics_reset(&name);
                self.forget_topics(&name, topics);
                Ok(Changed::default())
            }
            Change::Offsets { name, change } => {
                let view = herder()
                    .view(&name)
                    .ok_or_else(|| ChangeError::NotFound(name.clone()))?;
                let Some(kind) = view.kind else {
                    return Err(ChangeError::Bad(format!(
                        "the class of connector {name} is not there"
                    )));
                };
                offsets::check_stopped(&view)?;
                self.inner.filled.lock().remove(&name);
                offsets::apply(&self.inner, &name, kind, change).await?;
                Ok(Changed::default())
            }
        }
    }

    fn forget_topics(&mut self, name: &str, topics: BTreeSet<String>) {
        for topic in topics {
            let gone = Gone::Topic(name.to_owned(), topic);
            self.status_store
                .publish(&StatusRecord::Gone(gone), crate::now_ms());
        }
    }

    async fn on_event(&mut self, event: TaskEvent) {
        let now = self.now();
        match event {
            TaskEvent::Reported { id, run, phase } => {
                let commands = self.inner.herder.write().reported(&id, run, phase, now);
                self.execute(&id.connector, commands).await;
            }
            TaskEvent::Retrying { id, run, trace } => {
                let commands = self.inner.herder.write().retrying(&id, run, trace);
                self.execute(&id.connector, commands).await;
            }
            TaskEvent::Ended { id, run, end } => {
                if let Some(running) = self.running.remove(&id) {
                    if running.run != run {
                        // A run that was left behind ended after all.
                        self.running.insert(id, running);
                        return;
                    }
                    running.join();
                }
                self.ended(id, run, end).await;
            }
            TaskEvent::TopicUsed { id, topic } => {
                if self.inner.herder.write().topic_used(&id.connector, &topic) {
                    let record = StatusRecord::Topic {
                        name: id.connector,
                        topic: topic.to_string(),
                        task: id.task,
                    };
                    self.status_store.publish(&record, crate::now_ms());
                }
            }
        }
    }

    async fn ended(&mut self, id: TaskId, run: u64, end: End) {
        self.stopping.remove(&id);
        match &end {
            End::Failed { class, trace } => {
                tracing::error!(
                    connector = id.connector,
                    task = id.task,
                    ?class,
                    trace,
                    "task failed"
                );
            }
            End::Stopped | End::Completed => {
                tracing::info!(connector = id.connector, task = id.task, ?end, "task ended");
            }
        }
        let now = self.now();
        let commands = self
            .inner
            .herder
            .write()
            .ended(&id, run, end, now, fastrand::f64());
        self.execute(&id.connector, commands).await;
    }

    /// Restarts that are due, calls that hang, runs that do not stop.
    async fn on_tick(&mut self) {
        let now = self.now();
        let commands = self.inner.herder.write().tick(now);
        let names: BTreeSet<String> = commands
            .iter()
            .filter_map(|command| match command {
                Command::Start { id, .. } => Some(id.connector.clone()),
                _ => None,
            })
            .collect();
        self.execute("", commands).await;
        for name in names {
            self.publish(&name);
        }
        let call_timeout_ms = self.inner.config.call_timeout_ms;
        let longest = Duration::from_millis(call_timeout_ms);
        let instant = Instant::now();
        let hanging: Vec<TaskId> = self
            .running
            .iter()
            .filter(|(id, running)| {
                running.hangs(longest)
                    || self
                        .stopping
                        .get(*id)
                        .is_some_and(|gone_by| *gone_by <= instant)
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in hanging {
            if let Some(left_behind) = self.running.remove(&id) {
                left_behind.tell(Control::Stop);
                let trace = format!(
                    "org.apache.kafka.connect.errors.ConnectException: a call into the connector did not return \
                     within {call_timeout_ms} ms; its thread is left behind, and nothing that it does can be committed"
                );
                let end = End::Failed {
                    class: FailureClass::Hang,
                    trace,
                };
                self.ended(id, left_behind.run, end).await;
            }
        }
    }

    async fn on_planned(&mut self, planned: Planned) {
        let Planned {
            connector: name,
            generation,
            result,
        } = planned;
        let before = self
            .inner
            .herder
            .read()
            .plan_replaces(&name, generation)
            .map(<[ConfigMap]>::to_vec);
        let Some(before) = before else {
            return;
        };
        let result = match result {
            Ok(configs) if configs == before => Ok(configs),
            Ok(configs) => {
                let record = ConfigRecord::Tasks {
                    name: name.clone(),
                    configs: configs.clone(),
                };
                match self.config_store.write(&[record], crate::now_ms()).await {
                    Ok(()) => Ok(configs),
                    Err(error) => Err(ConnectError::Transient(error.to_string())),
                }
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &result {
            tracing::error!(connector = name, %error, "the connector has no tasks");
        }
        let result = result.map_err(|error| error.trace());
        let commands = self.inner.herder.write().planned(&name, generation, result);
        self.execute(&name, commands).await;
    }

    /// Executes commands, and those that they bring, then publishes what became of the connector.
    async fn execute(&mut self, name: &str, commands: Vec<Command>) {
        let mut waiting = std::collections::VecDeque::from(commands);
        while let Some(command) = waiting.pop_front() {
            match command {
                Command::Plan {
                    connector,
                    generation,
                } => self.plan(connector, generation),
                Command::Start { id, run, paused } => {
                    if let Err(trace) = self.start(&id, run, paused) {
                        let end = End::Failed {
                            class: FailureClass::Fatal,
                            trace,
                        };
                        let now = self.now();
                        waiting.extend(self.inner.herder.write().ended(
                            &id,
                            run,
                            end,
                            now,
                            fastrand::f64(),
                        ));
                    }
                }
                Command::Tell { id, run, control } => {
                    if let Some(running) =
                        self.running.get(&id).filter(|running| running.run == run)
                    {
                        running.tell(control);
                        if control == Control::Stop {
                            let limit = Duration::from_millis(self.inner.config.stop_timeout_ms);
                            self.stopping.insert(id, Instant::now() + limit);
                        }
                    }
                }
            }
        }
        if !name.is_empty() {
            self.publish(name);
        }
    }

    /// Asks the connector for its tasks, on a thread that may block.
    fn plan(&self, connector: String, generation: u64) {
        let config = self
            .inner
            .herder
            .read()
            .config(&connector)
            .cloned()
            .unwrap_or_default();
        let plugin = config
            .get("connector.class")
            .and_then(|class| self.inner.plugins.connector(class))
            .cloned();
        let answers = self.plans_in.clone();
        tokio::spawn(async move {
            let name = connector.clone();
            let planning = tokio::task::spawn_blocking(move || match plugin {
                Some(plugin) => task_configs(&name, &*plugin, &config)
                    .map_err(|error| hidden(error, &*plugin, &config)),
                None => Err(ConnectError::config(
                    "connector.class",
                    "the class is not there",
                )),
            });
            let result = match tokio::time::timeout(PLAN_MAX, planning).await {
                Ok(Ok(result)) => result,
                Ok(Err(error)) => Err(ConnectError::Fatal(format!(
                    "the connector panicked: {error}"
                ))),
                Err(_) => Err(ConnectError::Fatal(format!(
                    "the connector did not plan its tasks within {} s",
                    PLAN_MAX.as_secs()
                ))),
            };
            let _ = answers.send(Planned {
                connector,
                generation,
                result,
            });
        });
    }

    fn start(&mut self, id: &TaskId, run: u64, paused: bool) -> Result<(), String> {
        let view = self.inner.herder.read().view(&id.connector);
        let parts = view.and_then(|view| {
            let task_config = view.tasks.get(id.task as usize)?.config.clone();
            let plugin = self
                .inner
                .plugins
                .connector(view.config.get("connector.class")?)?
                .clone();
            let task_count = u32::try_from(view.tasks.len()).unwrap_or(u32::MAX);
            Some((view.config, task_config, plugin, task_count))
        });
        let Some((connector_config, task_config, plugin, task_count)) = parts else {
            return Err(format!(
                "task {}-{} has no configuration",
                id.connector, id.task
            ));
        };
        let assignment = Assignment {
            id: id.clone(),
            run,
            paused,
            plugin,
            connector_config,
            task_config,
            task_count,
        };
        let handle = tokio::runtime::Handle::current();
        let running = task::start(&self.inner.environment, assignment, handle)
            .map_err(|error| format!("the system gives no thread for the task: {error}"))?;
        self.running.insert(id.clone(), running);
        Ok(())
    }

    /// Writes the statuses of a connector that changed.
    fn publish(&mut self, name: &str) {
        let now_ms = crate::now_ms();
        let view = self.inner.herder.read().view(name);
        let before = self.published.get(name).copied().unwrap_or(0);
        let mut records = Vec::new();
        let tasks = match view {
            Some(view) => {
                let generation = view.generation;
                let count = u32::try_from(view.tasks.len()).unwrap_or(u32::MAX);
                records.push(StatusRecord::Connector {
                    name: name.to_owned(),
                    state: view.state,
                    trace: view.trace,
                    generation,
                });
                records.extend(view.tasks.into_iter().map(|task| StatusRecord::Task {
                    name: name.to_owned(),
                    task: task.task,
                    state: task.state,
                    trace: task.trace,
                    generation,
                }));
                self.published.insert(name.to_owned(), count);
                count
            }
            None => {
                if self.published.remove(name).is_some() {
                    records.push(StatusRecord::Gone(Gone::Connector(name.to_owned())));
                }
                0
            }
        };
        records.extend(
            (tasks..before).map(|task| StatusRecord::Gone(Gone::Task(name.to_owned(), task))),
        );
        for record in records {
            self.status_store.publish(&record, now_ms);
        }
    }
}

/// An error of a plan without what its configuration keeps secret.
fn hidden(error: ConnectError, plugin: &dyn ConnectorPlugin, config: &ConfigMap) -> ConnectError {
    let secrets = Secrets::of(config, &secrets::resolve_all(config).0, plugin);
    match error {
        ConnectError::Transient(message) => ConnectError::Transient(secrets.hide(message)),
        ConnectError::Data(message) => ConnectError::Data(secrets.hide(message)),
        ConnectError::Config { key, message } => ConnectError::Config {
            key,
            message: secrets.hide(message),
        },
        ConnectError::Fatal(message) => ConnectError::Fatal(secrets.hide(message)),
    }
}

/// The connector's task configurations, each with its class, held to `tasks.max`.
fn task_configs(
    name: &str,
    plugin: &dyn ConnectorPlugin,
    config: &ConfigMap,
) -> Result<Vec<ConfigMap>, ConnectError> {
    let tasks_max = config
        .get("tasks.max")
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(1);
    let enforced = config
        .get("tasks.max.enforce")
        .is_none_or(|text| !text.trim().eq_ignore_ascii_case("false"));
    let resolved = secrets::resolve(config)?;
    let configs = plugin.task_configs(&resolved, tasks_max)?;
    if enforced && configs.len() > tasks_max as usize {
        return Err(ConnectError::Fatal(format!(
            "The connector {name} has generated {} tasks, which is greater than {tasks_max}, the maximum number of \
             tasks it is configured to create.",
            configs.len()
        )));
    }
    let class = plugin.class();
    let task_class = match class.strip_suffix("Connector") {
        Some(stem) => format!("{stem}Task"),
        None => format!("{class}Task"),
    };
    let stored = |made: ConfigMap| {
        let mut made = secrets::unresolved(made, config, &resolved);
        made.insert("task.class".to_owned(), task_class.clone());
        made
    };
    Ok(configs.into_iter().map(stored).collect())
}
