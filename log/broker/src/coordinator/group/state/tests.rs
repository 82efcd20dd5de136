//! Tests named by event; a driver gives out tickets and member ids and remembers the answers.

use super::*;

const LIMITS: Limits = Limits {
    session_timeout_ms_min: 1_000,
    session_timeout_ms_max: 100_000,
    initial_rebalance_delay_ms: 0,
    members_max: 100,
};

struct Driver {
    group: Group,
    limits: Limits,
    now: i64,
    tickets: Ticket,
    joins: BTreeMap<Ticket, JoinReply>,
    syncs: BTreeMap<Ticket, SyncReply>,
    persisted: Vec<GroupRecord>,
}

impl Driver {
    fn new() -> Self {
        Self {
            group: Group::new(0),
            limits: LIMITS,
            now: 0,
            tickets: 0,
            joins: BTreeMap::new(),
            syncs: BTreeMap::new(),
            persisted: Vec::new(),
        }
    }

    fn run(&mut self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Persist(record) => self.persisted.push(record),
                Command::ReplyJoin(ticket, reply) => {
                    assert!(
                        self.joins.insert(ticket, reply).is_none(),
                        "ticket {ticket} is answered twice"
                    );
                }
                Command::ReplySync(ticket, reply) => {
                    assert!(
                        self.syncs.insert(ticket, reply).is_none(),
                        "ticket {ticket} is answered twice"
                    );
                }
            }
        }
    }

    fn request(&mut self, member_id: &str, fresh: &str, instance: Option<&str>) -> Join {
        self.tickets += 1;
        Join {
            member_id: member_id.to_owned(),
            fresh_member_id: fresh.to_owned(),
            instance_id: instance.map(str::to_owned),
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 20_000,
            protocol_type: "consumer".to_owned(),
            protocols: vec![("range".to_owned(), Bytes::from_static(b"topics"))],
            member_id_required: false,
            can_skip_assignment: false,
            ticket: self.tickets,
        }
    }

    fn send(&mut self, join: Join) -> Ticket {
        let ticket = join.ticket;
        let commands = self.group.join(join, &self.limits, self.now);
        self.run(commands);
        ticket
    }

    /// Joins with a member id that is known or, where it is new, given out.
    fn join(&mut self, member_id: &str) -> Ticket {
        let known = self.group.members.contains_key(member_id);
        let request = self.request(if known { member_id } else { "" }, member_id, None);
        self.send(request)
    }

    fn identity(&self, member_id: &str) -> Identity {
        Identity {
            member_id: member_id.to_owned(),
            instance_id: None,
            generation: self.group.generation,
        }
    }

    fn sync(&mut self, member_id: &str, assignments: &[(&str, &'static [u8])]) -> Ticket {
        self.tickets += 1;
        let sync = Sync {
            member: self.identity(member_id),
            protocol_type: None,
            protocol: None,
            assignments: assignments
                .iter()
                .map(|(member, bytes)| ((*member).to_owned(), Bytes::from_static(bytes)))
                .collect(),
            ticket: self.tickets,
        };
        let commands = self.group.sync(sync, self.now);
        self.run(commands);
        self.tickets
    }

    fn tick(&mut self, now: i64) {
        self.now = now;
        let commands = self.group.tick(&self.limits, now);
        self.run(commands);
    }

    fn heartbeat(&mut self, member_id: &str) -> ErrorCode {
        let identity = self.identity(member_id);
        self.group.heartbeat(&identity, self.now)
    }

    fn leave(&mut self, member_id: &str) -> ErrorCode {
        let identity = self.identity(member_id);
        let (error, commands) = self.group.leave(&identity, &self.limits, self.now);
        self.run(commands);
        error
    }

    /// Two members, `a` leads, both have their assignment.
    fn stable() -> Self {
        let mut driver = Self::new();
        driver.join("a");
        driver.join("b");
        driver.join("a");
        driver.sync("b", &[]);
        driver.sync("a", &[("a", b"1"), ("b", b"2")]);
        assert_eq!(driver.group.phase, Phase::Stable);
        driver
    }
}

#[test]
fn the_first_join_of_a_new_client_only_yields_an_id() {
    let mut driver = Driver::new();
    let mut request = driver.request("", "a", None);
    request.member_id_required = true;
    let ticket = driver.send(request);
    assert_eq!(driver.joins[&ticket].error, ErrorCode::MemberIdRequired);
    assert_eq!(driver.joins[&ticket].member_id, "a");
    assert!(!driver.group.is_vacant());
    let request = driver.request("a", "", None);
    let ticket = driver.send(request);
    assert_eq!(driver.joins[&ticket].error, ErrorCode::None);
    assert_eq!(driver.joins[&ticket].members.len(), 1);
}

#[test]
fn an_id_that_is_never_used_expires() {
    let mut driver = Driver::new();
    let mut request = driver.request("", "a", None);
    request.member_id_required = true;
    driver.send(request);
    driver.tick(10_000);
    assert!(driver.group.is_vacant());
    let request = driver.request("a", "", None);
    let ticket = driver.send(request);
    assert_eq!(driver.joins[&ticket].error, ErrorCode::UnknownMemberId);
}

#[test]
fn a_second_member_makes_the_first_join_again_and_the_leader_assigns() {
    let mut driver = Driver::new();
    let first = driver.join("a");
    assert_eq!(driver.joins[&first].leader, "a");
    driver.sync("a", &[("a", b"all")]);
    let second = driver.join("b");
    assert!(!driver.joins.contains_key(&second), "waits for a");
    assert_eq!(driver.heartbeat("a"), ErrorCode::RebalanceInProgress);
    let again = driver.join("a");
    assert_eq!(driver.joins[&again].members.len(), 2);
    assert!(driver.joins[&second].members.is_empty());
    assert_eq!(driver.joins[&second].generation, 2);
    let waiting = driver.sync("b", &[]);
    assert!(!driver.syncs.contains_key(&waiting), "waits for the leader");
    let leader = driver.sync("a", &[("a", b"1"), ("b", b"2")]);
    assert_eq!(driver.syncs[&waiting].assignment, "2");
    assert_eq!(driver.syncs[&leader].assignment, "1");
    assert_eq!(
        driver.persisted.last().map(|record| record.members.len()),
        Some(2)
    );
}

#[test]
fn a_silent_member_is_out_after_its_session() {
    let mut driver = Driver::stable();
    driver.now = 6_000;
    assert_eq!(driver.heartbeat("a"), ErrorCode::None);
    driver.tick(10_001);
    assert_eq!(driver.group.phase, Phase::PreparingRebalance);
    assert_eq!(driver.heartbeat("b"), ErrorCode::UnknownMemberId);
    let ticket = driver.join("a");
    assert_eq!(driver.joins[&ticket].members.len(), 1);
}

#[test]
fn who_does_not_rejoin_in_time_is_out() {
    let mut driver = Driver::stable();
    driver.join("c");
    for now in [5_000, 10_000, 15_000] {
        driver.now = now;
        driver.heartbeat("b");
    }
    let ticket = driver.join("a");
    assert!(!driver.joins.contains_key(&ticket), "b is not in");
    driver.tick(20_000);
    assert_eq!(driver.joins[&ticket].members.len(), 2);
    assert_eq!(driver.heartbeat("b"), ErrorCode::UnknownMemberId);
}

#[test]
fn a_leader_that_never_assigns_is_out() {
    let mut driver = Driver::new();
    driver.join("a");
    driver.join("b");
    driver.join("a");
    let waiting = driver.sync("b", &[]);
    for now in [5_000, 10_000, 15_000] {
        driver.now = now;
        driver.heartbeat("a");
    }
    driver.tick(20_000);
    assert_eq!(driver.syncs[&waiting].error, ErrorCode::RebalanceInProgress);
    assert_eq!(driver.heartbeat("a"), ErrorCode::UnknownMemberId);
    let ticket = driver.join("b");
    assert_eq!(driver.joins[&ticket].leader, "b");
}

#[test]
fn the_last_member_leaves_an_empty_group_with_a_new_generation() {
    let mut driver = Driver::stable();
    assert_eq!(driver.leave("b"), ErrorCode::None);
    assert_eq!(driver.leave("b"), ErrorCode::UnknownMemberId);
    assert_eq!(driver.leave("a"), ErrorCode::None);
    assert_eq!(driver.group.phase, Phase::Empty);
    assert_eq!(
        driver.persisted.last().map(|record| record.generation),
        Some(3)
    );
    assert!(driver.group.is_vacant());
}

#[test]
fn a_member_that_joins_again_unchanged_does_not_disturb() {
    let mut driver = Driver::stable();
    let ticket = driver.join("b");
    assert_eq!(driver.joins[&ticket].generation, 2);
    assert_eq!(driver.group.phase, Phase::Stable);
    let ticket = driver.join("a");
    assert!(
        !driver.joins.contains_key(&ticket),
        "the leader asks for a rebalance that way"
    );
    assert_eq!(driver.group.phase, Phase::PreparingRebalance);
}

#[test]
fn a_second_request_of_a_member_ends_the_first() {
    let mut driver = Driver::stable();
    driver.join("c");
    let first = driver.join("a");
    let second = driver.join("a");
    assert_eq!(driver.joins[&first].error, ErrorCode::RebalanceInProgress);
    driver.join("b");
    assert_eq!(driver.joins[&second].error, ErrorCode::None);
}

#[test]
fn protocols_and_sessions_that_do_not_fit_are_refused() {
    let mut driver = Driver::stable();
    let mut request = driver.request("", "c", None);
    request.protocols = vec![("sticky".to_owned(), Bytes::new())];
    let ticket = driver.send(request);
    assert_eq!(
        driver.joins[&ticket].error,
        ErrorCode::InconsistentGroupProtocol
    );
    let mut request = driver.request("", "c", None);
    request.protocols = vec![request.protocols[0].clone(); 101];
    let ticket = driver.send(request);
    assert_eq!(
        driver.joins[&ticket].error,
        ErrorCode::InconsistentGroupProtocol
    );
    let mut request = driver.request("", "c", None);
    request.session_timeout_ms = 10;
    let ticket = driver.send(request);
    assert_eq!(
        driver.joins[&ticket].error,
        ErrorCode::InvalidSessionTimeout
    );
    driver.limits.members_max = 2;
    let ticket = driver.join("c");
    assert_eq!(driver.joins[&ticket].error, ErrorCode::GroupMaxSizeReached);
}

#[test]
fn generations_fence_sync_heartbeat_and_commits() {
    let mut driver = Driver::stable();
    let stale = Identity {
        generation: 1,
        ..driver.identity("a")
    };
    assert_eq!(
        driver.group.heartbeat(&stale, 0),
        ErrorCode::IllegalGeneration
    );
    assert_eq!(
        driver.group.authorize_offset_commit(&stale, false, 0),
        Err(ErrorCode::IllegalGeneration)
    );
    let current = driver.identity("a");
    assert_eq!(
        driver.group.authorize_offset_commit(&current, false, 0),
        Ok(())
    );
    let standalone = Identity::standalone();
    assert_eq!(
        driver.group.authorize_offset_commit(&standalone, false, 0),
        Err(ErrorCode::UnknownMemberId)
    );
    assert_eq!(
        driver.group.authorize_offset_commit(&standalone, true, 0),
        Ok(())
    );
}

fn static_group() -> Driver {
    let mut driver = Driver::new();
    let request = driver.request("", "s1", Some("one"));
    driver.send(request);
    driver.sync("s1", &[("s1", b"all")]);
    driver
}

#[test]
fn a_static_member_that_restarts_gets_its_assignment_back_without_a_rebalance() {
    let mut driver = static_group();
    let generation = driver.group.generation;
    let mut request = driver.request("", "s2", Some("one"));
    request.can_skip_assignment = true;
    let ticket = driver.send(request);
    let reply = &driver.joins[&ticket];
    assert_eq!(
        (reply.error, reply.member_id.as_str()),
        (ErrorCode::None, "s2")
    );
    assert!(reply.skip_assignment);
    assert_eq!(driver.group.generation, generation);
    let ticket = driver.sync("s2", &[]);
    assert_eq!(driver.syncs[&ticket].assignment, "all");
}

#[test]
fn the_previous_holder_of_an_instance_is_fenced() {
    let mut driver = static_group();
    let request = driver.request("", "s2", Some("one"));
    let ticket = driver.send(request);
    assert_eq!(
        driver.joins[&ticket].leader, "s1",
        "an old client must not take itself for the leader"
    );
    let old = Identity {
        member_id: "s1".to_owned(),
        instance_id: Some("one".to_owned()),
        generation: driver.group.generation,
    };
    assert_eq!(driver.group.heartbeat(&old, 0), ErrorCode::FencedInstanceId);
    assert_eq!(
        driver.group.authorize_offset_commit(&old, false, 0),
        Err(ErrorCode::FencedInstanceId)
    );
}

#[test]
fn an_administrator_removes_a_static_member_by_its_instance() {
    let mut driver = static_group();
    let by_instance = Identity {
        instance_id: Some("one".to_owned()),
        ..Identity::standalone()
    };
    let (error, commands) = driver.group.leave(&by_instance, &LIMITS, 0);
    driver.run(commands);
    assert_eq!(error, ErrorCode::None);
    assert_eq!(driver.group.phase, Phase::Empty);
}

#[test]
fn the_first_rebalance_waits_for_more_members() {
    let mut driver = Driver::new();
    driver.limits.initial_rebalance_delay_ms = 3_000;
    let first = driver.join("a");
    assert!(!driver.joins.contains_key(&first));
    driver.tick(2_000);
    let second = driver.join("b");
    driver.tick(4_999);
    assert!(!driver.joins.contains_key(&first));
    driver.tick(5_000);
    assert_eq!(driver.joins[&first].generation, 1);
    assert_eq!(driver.joins[&second].generation, 1);
}

#[test]
fn a_restored_group_goes_on_where_it_was() {
    let driver = Driver::stable();
    let record = driver
        .persisted
        .last()
        .cloned()
        .expect("the assignment was written");
    let mut restored = Driver {
        group: Group::restored(record, 50_000),
        now: 50_000,
        ..Driver::new()
    };
    assert_eq!(restored.heartbeat("a"), ErrorCode::None);
    let ticket = restored.sync("b", &[]);
    assert_eq!(restored.syncs[&ticket].assignment, "2");
    restored.tick(60_001);
    assert_eq!(restored.group.phase, Phase::Empty);
}

/// Random events; `check_invariants` runs in the group after each, and every ticket is answered at most once.
#[test]
fn random_events_keep_the_invariants() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..50 {
        let mut driver = Driver::new();
        driver.limits.initial_rebalance_delay_ms = i64::from(random.bool()) * 500;
        let mut generation = 0;
        for step in 0..200 {
            let names = ["a", "b", "c", "d"];
            let name = names[random.usize(..names.len())];
            match random.u8(..7) {
                0 | 1 => {
                    driver.join(name);
                }
                2 => {
                    driver.sync(name, &[("a", b"1"), ("b", b"2"), ("c", b"3")]);
                }
                3 => {
                    driver.heartbeat(name);
                }
                4 => {
                    driver.leave(name);
                }
                5 => {
                    let instance = ["one", "two"][random.usize(..2)];
                    let request = driver.request("", &format!("static-{step}"), Some(instance));
                    driver.send(request);
                }
                _ => {
                    let now = driver.now + random.i64(0..8_000);
                    driver.tick(now);
                }
            }
            assert!(
                driver.group.generation >= generation,
                "seed {seed}: the generation fell"
            );
            generation = driver.group.generation;
        }
        // Whatever state it is in, silence empties it.
        for _ in 0..8 {
            let now = driver.now + 30_000;
            driver.tick(now);
        }
        assert_eq!(driver.group.phase, Phase::Empty, "seed {seed}");
        let answered = driver.joins.len() + driver.syncs.len();
        assert_eq!(
            answered as u64, driver.tickets,
            "seed {seed}: a request was never answered"
        );
    }
}
