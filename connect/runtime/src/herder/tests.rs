//! Histories of events and the commands they bring; random histories against the invariants.

use super::*;
use crate::supervisor::FailureClass;

const POLICY: RestartPolicy = RestartPolicy {
    backoff_ms: 1000,
    backoff_max_ms: 8000,
    per_hour_max: 3,
};
const PLUGIN: PluginInfo = PluginInfo {
    kind: ConnectorKind::Source,
    version: "1",
};

fn config(value: &str) -> ConfigMap {
    [("k".to_owned(), value.to_owned())].into()
}

fn id(task: u32) -> TaskId {
    TaskId {
        connector: "c".to_owned(),
        task,
    }
}

/// A herder with connector `c`, one task, run 1, running.
fn running() -> Herder {
    let mut herder = Herder::new(POLICY);
    let commands = herder.configured("c", config("1"), PLUGIN, None);
    assert_eq!(
        commands,
        [Command::Plan {
            connector: "c".to_owned(),
            generation: 1
        }]
    );
    assert_eq!(herder.view("c").unwrap().state, "UNASSIGNED");
    let commands = herder.planned("c", 1, Ok(vec![config("t")]));
    assert_eq!(
        commands,
        [Command::Start {
            id: id(0),
            run: 1,
            paused: false
        }]
    );
    assert_eq!(states(&herder), ("RUNNING", vec!["UNASSIGNED"]));
    assert!(herder.reported(&id(0), 1, Phase::Running, 0).is_empty());
    assert_eq!(states(&herder), ("RUNNING", vec!["RUNNING"]));
    herder
}

fn states(herder: &Herder) -> (&'static str, Vec<&'static str>) {
    let view = herder.view("c").unwrap();
    (
        view.state,
        view.tasks.iter().map(|task| task.state).collect(),
    )
}

fn failed(class: FailureClass) -> End {
    End::Failed {
        class,
        trace: "boom".to_owned(),
    }
}

#[test]
fn pause_and_resume_are_told_to_the_run() {
    let mut herder = running();
    let tell = |control| {
        vec![Command::Tell {
            id: id(0),
            run: 1,
            control,
        }]
    };
    assert_eq!(
        herder.targeted("c", TargetState::Paused),
        tell(Control::Pause)
    );
    assert_eq!(states(&herder), ("PAUSED", vec!["RUNNING"]));
    herder.reported(&id(0), 1, Phase::Paused, 0);
    assert_eq!(states(&herder), ("PAUSED", vec!["PAUSED"]));
    assert!(herder.targeted("c", TargetState::Paused).is_empty());
    assert_eq!(
        herder.targeted("c", TargetState::Started),
        tell(Control::Run)
    );
}

#[test]
fn stop_drops_the_tasks_and_resume_plans_again() {
    let mut herder = running();
    let commands = herder.targeted("c", TargetState::Stopped);
    assert_eq!(
        commands,
        [Command::Tell {
            id: id(0),
            run: 1,
            control: Control::Stop
        }]
    );
    assert_eq!(states(&herder), ("STOPPED", vec![]));
    assert_eq!(herder.view("c").unwrap().stopping, 1);
    let commands = herder.targeted("c", TargetState::Started);
    let [Command::Plan { generation, .. }] = commands[..] else {
        panic!("{commands:?}")
    };
    assert!(
        herder
            .planned("c", generation, Ok(vec![config("t")]))
            .is_empty(),
        "the old run is still there"
    );
    let commands = herder.ended(&id(0), 1, End::Stopped, 0, 0.0);
    assert_eq!(
        commands,
        [Command::Start {
            id: id(0),
            run: 2,
            paused: false
        }]
    );
}

#[test]
fn a_new_configuration_replaces_the_run_once_it_has_ended() {
    let mut herder = running();
    let commands = herder.configured("c", config("2"), PLUGIN, None);
    assert_eq!(
        commands,
        [
            Command::Plan {
                connector: "c".to_owned(),
                generation: 2
            },
            Command::Tell {
                id: id(0),
                run: 1,
                control: Control::Stop
            },
        ]
    );
    assert_eq!(states(&herder), ("RUNNING", vec!["RESTARTING"]));
    assert!(
        herder.ended(&id(0), 1, End::Stopped, 0, 0.0).is_empty(),
        "the plan is not there yet"
    );
    assert!(
        herder.planned("c", 1, Ok(vec![])).is_empty(),
        "an answer to the old plan"
    );
    let commands = herder.planned("c", 2, Ok(vec![config("t"), config("u")]));
    assert_eq!(
        commands,
        [
            Command::Start {
                id: id(0),
                run: 2,
                paused: false
            },
            Command::Start {
                id: id(1),
                run: 3,
                paused: false
            },
        ]
    );
}

#[test]
fn the_same_configuration_again_disturbs_nothing() {
    let mut herder = running();
    let commands = herder.configured("c", config("1"), PLUGIN, None);
    let [Command::Plan { generation, .. }] = commands[..] else {
        panic!("{commands:?}")
    };
    assert!(
        herder
            .planned("c", generation, Ok(vec![config("t")]))
            .is_empty()
    );
    assert_eq!(states(&herder), ("RUNNING", vec!["RUNNING"]));
}

#[test]
fn a_panic_restarts_with_backoff_and_ends_in_quarantine() {
    let mut herder = running();
    let mut now = 0;
    for (attempt, pause) in [1000, 2000, 4000].into_iter().enumerate() {
        let run = attempt as u64 + 1;
        assert!(
            herder
                .ended(&id(0), run, failed(FailureClass::Panic), now, 0.0)
                .is_empty()
        );
        let view = herder.view("c").unwrap();
        assert_eq!(
            (view.tasks[0].state, view.tasks[0].trace.as_deref()),
            ("RESTARTING", Some("boom"))
        );
        assert_eq!(herder.next_deadline(), Some(now + pause));
        assert!(herder.tick(now + pause - 1).is_empty());
        now += pause;
        assert_eq!(
            herder.tick(now),
            [Command::Start {
                id: id(0),
                run: run + 1,
                paused: false
            }]
        );
        herder.reported(&id(0), run + 1, Phase::Running, now);
        assert_eq!(herder.view("c").unwrap().tasks[0].trace, None);
    }
    herder.ended(&id(0), 4, failed(FailureClass::Panic), now, 0.0);
    let view = herder.view("c").unwrap();
    assert_eq!(view.tasks[0].state, "FAILED");
    assert!(
        view.tasks[0]
            .trace
            .as_ref()
            .unwrap()
            .contains("3 restarts within an hour")
    );
    let (there, commands) = herder.restart_task(&id(0));
    assert!(there);
    assert_eq!(
        commands,
        [Command::Start {
            id: id(0),
            run: 5,
            paused: false
        }]
    );
    assert!(!herder.restart_task(&id(7)).0);
    assert_eq!(
        states(&herder).1.len(),
        1,
        "a task that is not there leaves no ghost"
    );
}

#[test]
fn data_errors_stay_failed_until_asked() {
    let mut herder = running();
    herder.ended(&id(0), 1, failed(FailureClass::Data), 0, 0.0);
    assert_eq!(states(&herder), ("RUNNING", vec!["FAILED"]));
    assert!(herder.tick(u64::MAX).is_empty());
    assert_eq!(
        herder.restart_all("c", true, true),
        [Command::Start {
            id: id(0),
            run: 2,
            paused: false
        }]
    );
    assert_eq!(states(&herder), ("RUNNING", vec!["RESTARTING"]));
}

#[test]
fn restarts_of_the_connector_leave_tasks_alone() {
    let mut herder = running();
    let commands = herder.restart_connector("c");
    assert_eq!(
        commands,
        [Command::Plan {
            connector: "c".to_owned(),
            generation: 2
        }]
    );
    assert_eq!(states(&herder), ("RESTARTING", vec!["RUNNING"]));
    assert!(herder.planned("c", 2, Ok(vec![config("t")])).is_empty());
    assert!(
        herder.restart_all("c", true, true).is_empty(),
        "nothing failed"
    );
    let commands = herder.restart_all("c", true, false);
    assert_eq!(commands.len(), 2);
}

#[test]
fn a_deleted_connector_made_again_waits_for_the_old_run() {
    let mut herder = running();
    let commands = herder.deleted("c");
    assert_eq!(
        commands,
        [Command::Tell {
            id: id(0),
            run: 1,
            control: Control::Stop
        }]
    );
    assert!(herder.view("c").is_none());
    herder.configured("c", config("9"), PLUGIN, Some(TargetState::Paused));
    let generation = herder.view("c").unwrap().generation;
    assert!(
        herder
            .planned("c", generation, Ok(vec![config("t")]))
            .is_empty()
    );
    let commands = herder.ended(&id(0), 1, failed(FailureClass::Fatal), 0, 0.0);
    assert_eq!(
        commands,
        [Command::Start {
            id: id(0),
            run: 2,
            paused: true
        }]
    );
}

#[test]
fn what_cannot_be_planned_is_failed_with_its_trace() {
    let mut herder = Herder::new(POLICY);
    herder.configured("c", config("1"), PLUGIN, None);
    herder.planned("c", 1, Err("no such table".to_owned()));
    let view = herder.view("c").unwrap();
    assert_eq!(
        (view.state, view.trace.as_deref()),
        ("FAILED", Some("no such table"))
    );
    let stored = StoredConnector {
        config: [("connector.class".to_owned(), "Gone".to_owned())].into(),
        target: TargetState::Started,
        tasks: vec![config("t")],
    };
    assert!(
        herder
            .restore("d", stored, None, BTreeSet::new())
            .is_empty()
    );
    assert!(
        herder
            .view("d")
            .unwrap()
            .trace
            .unwrap()
            .ends_with("matches Gone")
    );
}

#[test]
fn random_histories_keep_the_invariants_and_settle() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut herder = Herder::new(POLICY);
        let mut commands: Vec<Command> = Vec::new();
        let mut alive: BTreeMap<TaskId, (u64, Control)> = BTreeMap::new();
        let mut plans: Vec<(String, u64)> = Vec::new();
        let mut now = 0;
        let execute = |commands: &mut Vec<Command>,
                       alive: &mut BTreeMap<TaskId, (u64, Control)>,
                       plans: &mut Vec<(String, u64)>| {
            for command in commands.drain(..) {
                match command {
                    Command::Plan {
                        connector,
                        generation,
                    } => plans.push((connector, generation)),
                    Command::Start { id, run, .. } => {
                        let before = alive.insert(id.clone(), (run, Control::Run));
                        assert!(before.is_none(), "seed {seed}: two runs of {id:?}");
                    }
                    Command::Tell { id, run, control } => {
                        let present = alive.get_mut(&id).expect("told runs are alive");
                        assert_eq!(present.0, run, "seed {seed}");
                        present.1 = control;
                    }
                }
            }
        };
        for _ in 0..200 {
            now += random.u64(0..2000);
            let name = if random.bool() { "c" } else { "d" };
            let some_run = alive
                .iter()
                .nth(random.usize(0..alive.len().max(1)))
                .map(|(id, run)| (id.clone(), run.0));
            let more = match random.u32(0..10) {
                0 => herder.configured(name, config(&random.u32(0..3).to_string()), PLUGIN, None),
                1 => herder.deleted(name),
                2 => {
                    let state = [
                        TargetState::Started,
                        TargetState::Paused,
                        TargetState::Stopped,
                    ][random.usize(0..3)];
                    herder.targeted(name, state)
                }
                3 => herder.restart_all(name, random.bool(), random.bool()),
                4 | 5 if !plans.is_empty() => {
                    let (name, generation) = plans.swap_remove(random.usize(0..plans.len()));
                    let tasks = (0..random.u32(0..4))
                        .map(|task| config(&task.to_string()))
                        .collect();
                    herder.planned(&name, generation, Ok(tasks))
                }
                6 | 7 => match &some_run {
                    Some((id, run)) => {
                        alive.remove(id);
                        let class = [FailureClass::Panic, FailureClass::Data][random.usize(0..2)];
                        let end = if random.bool() {
                            End::Stopped
                        } else {
                            failed(class)
                        };
                        herder.ended(id, *run, end, now, random.f64())
                    }
                    None => Vec::new(),
                },
                8 => match &some_run {
                    Some((id, run)) => herder.reported(id, *run, Phase::Running, now),
                    None => Vec::new(),
                },
                _ => herder.tick(now),
            };
            commands.extend(more);
            execute(&mut commands, &mut alive, &mut plans);
        }
        for name in ["c", "d"] {
            commands.extend(herder.deleted(name));
        }
        execute(&mut commands, &mut alive, &mut plans);
        for (id, (run, control)) in std::mem::take(&mut alive) {
            assert_eq!(control, Control::Stop, "seed {seed}: {id:?}");
            assert!(herder.ended(&id, run, End::Stopped, now, 0.0).is_empty());
        }
        assert!(herder.alive().is_empty(), "seed {seed}");
    }
}
