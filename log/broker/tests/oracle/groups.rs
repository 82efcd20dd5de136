//! Groups of the classic protocol: joining, staying, leaving, and who is told what about them.

use bytes::{BufMut, Bytes, BytesMut};
use log_protocol::Response;
use log_protocol::api::delete_groups::DeleteGroupsRequest;
use log_protocol::api::describe_groups::DescribeGroupsRequest;
use log_protocol::api::heartbeat::HeartbeatRequest;
use log_protocol::api::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use log_protocol::api::leave_group::{LeaveGroupRequest, MemberIdentity};
use log_protocol::api::list_groups::ListGroupsRequest;
use log_protocol::api::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use log_protocol::api::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};

use super::offsets::{commit, place};
use super::talk::Talk;

fn join(group: &str, member: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.to_owned(),
        session_timeout_ms: 300_000,
        rebalance_timeout_ms: 300_000,
        member_id: member.to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![protocol("range", b"subscription")],
        ..JoinGroupRequest::default()
    }
}

/// An assignor that is told `user_data` of a consumer of topic `o`. Kafka reads what consumers say, and has no answer where it cannot.
fn protocol(name: &str, user_data: &[u8]) -> JoinGroupRequestProtocol {
    let mut subscription = BytesMut::new();
    subscription.put_i16(0);
    subscription.put_i32(1);
    subscription.put_i16(1);
    subscription.put_slice(b"o");
    subscription.put_i32(i32::try_from(user_data.len()).expect("a few bytes"));
    subscription.put_slice(user_data);
    JoinGroupRequestProtocol {
        name: name.to_owned(),
        metadata: subscription.freeze(),
    }
}

fn sync(group: &str, generation_id: i32, member: &str, assigned: &[&str]) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: group.to_owned(),
        generation_id,
        member_id: member.to_owned(),
        assignments: assigned
            .iter()
            .map(|member| SyncGroupRequestAssignment {
                member_id: (*member).to_owned(),
                assignment: Bytes::from_static(b"yours"),
            })
            .collect(),
        ..SyncGroupRequest::default()
    }
}

fn beat(group: &str, generation_id: i32, member: &str) -> HeartbeatRequest {
    HeartbeatRequest {
        group_id: group.to_owned(),
        generation_id,
        member_id: member.to_owned(),
        ..HeartbeatRequest::default()
    }
}

fn leave(group: &str, member: &str) -> LeaveGroupRequest {
    LeaveGroupRequest {
        group_id: group.to_owned(),
        member_id: member.to_owned(),
        members: vec![MemberIdentity {
            member_id: member.to_owned(),
            ..MemberIdentity::default()
        }],
    }
}

fn describe(group: &str) -> DescribeGroupsRequest {
    DescribeGroupsRequest {
        groups: vec![group.to_owned()],
        ..DescribeGroupsRequest::default()
    }
}

fn joined(response: Option<Response>) -> JoinGroupResponse {
    match response {
        Some(Response::JoinGroup(joined)) => joined,
        other => panic!("{other:?}"),
    }
}

/// Makes a member of a group that is stable with it alone; returns its id.
async fn member(talk: &mut Talk, group: &str) -> String {
    let made = match talk.quiet(4, join(group, "")).await {
        Response::JoinGroup(made) => made.member_id,
        other => panic!("{other:?}"),
    };
    talk.quiet(4, join(group, &made)).await;
    talk.quiet(3, sync(group, 1, &made, &[&made])).await;
    made
}

pub(super) async fn run(talk: &mut Talk) {
    joins(talk).await;
    nobody(talk).await;
    rounds(talk).await;
    members(talk).await;
    statics(talk).await;
    lists(talk).await;
}

/// Joins that end before there is a member.
async fn joins(talk: &mut Talk) {
    for (name, request) in [
        ("no group", join("", "")),
        (
            "a session of 0 ms",
            JoinGroupRequest {
                session_timeout_ms: 0,
                ..join("j", "")
            },
        ),
        (
            "a session of -1 ms",
            JoinGroupRequest {
                session_timeout_ms: -1,
                ..join("j", "")
            },
        ),
        (
            "a session of 5999 ms",
            JoinGroupRequest {
                session_timeout_ms: 5999,
                ..join("j", "")
            },
        ),
        (
            "a session of half an hour and a ms",
            JoinGroupRequest {
                session_timeout_ms: 1_800_001,
                ..join("j", "")
            },
        ),
        ("a member that there is not", join("j", "somebody")),
        (
            "no protocols",
            JoinGroupRequest {
                protocols: vec![],
                ..join("j-none", "")
            },
        ),
        (
            "no type of protocol",
            JoinGroupRequest {
                protocol_type: String::new(),
                ..join("j-untyped", "")
            },
        ),
        (
            "neither",
            JoinGroupRequest {
                protocol_type: String::new(),
                protocols: vec![],
                ..join("j-neither", "")
            },
        ),
        (
            "an instance without name",
            JoinGroupRequest {
                group_instance_id: Some(String::new()),
                protocols: vec![],
                ..join("j-instance", "")
            },
        ),
    ] {
        talk.versions(format!("join: {name}"), 4..=9, |_| request.clone())
            .await;
    }
    talk.one("join: a member id is given", 4, join("j-given", ""))
        .await;
    talk.one(
        "join: a rebalance timeout of -1 ms",
        4,
        JoinGroupRequest {
            rebalance_timeout_ms: -1,
            ..join("j-given", "")
        },
    )
    .await;
    talk.one(
        "join: two protocols of one name",
        9,
        JoinGroupRequest {
            protocols: vec![protocol("range", b"a"), protocol("range", b"b")],
            ..join("j-given", "")
        },
    )
    .await;
    talk.one(
        "join: a protocol without name",
        9,
        JoinGroupRequest {
            protocols: vec![protocol("", b"")],
            ..join("j-given", "")
        },
    )
    .await;
    let long = "i".repeat(300);
    for name in ["a/b", ".", "..", &long] {
        let label = if name.len() > 200 { "long" } else { name };
        let request = JoinGroupRequest {
            group_instance_id: Some(name.to_owned()),
            protocols: vec![],
            ..join("j-instance", "")
        };
        talk.one(format!("join: instance {label:?}"), 9, request)
            .await;
    }
}

/// Requests for groups and members that there are not.
async fn nobody(talk: &mut Talk) {
    let there = member(talk, "lived-in").await;
    for (name, group, generation, who) in [
        ("no group", "", 1, "somebody"),
        ("an unknown group", "unknown", 1, "somebody"),
        ("an unknown group and nobody", "unknown", -1, ""),
        ("a group and somebody else", "lived-in", 1, "somebody"),
        ("a group and nobody", "lived-in", 1, ""),
        ("an older generation", "lived-in", 0, &there),
        ("a generation to come", "lived-in", 2, &there),
        ("generation -1", "lived-in", -1, &there),
        ("all is well", "lived-in", 1, &there),
    ] {
        talk.versions(format!("sync: {name}"), 0..=4, |_| {
            sync(group, generation, who, &[])
        })
        .await;
        talk.versions(format!("heartbeat: {name}"), 0..=4, |_| {
            beat(group, generation, who)
        })
        .await;
        talk.versions(format!("commit: {name}"), 2..=9, |_| {
            commit(group, generation, who, vec![])
        })
        .await;
        let offsets = vec![place("o", uuid::Uuid::nil(), 0, 1)];
        talk.one(
            format!("commit an offset: {name}"),
            7,
            commit(group, generation, who, offsets),
        )
        .await;
        if name != "all is well" {
            talk.versions(format!("leave: {name}"), 0..=5, |_| {
                let who = if who == there { "nearly" } else { who };
                leave(group, who)
            })
            .await;
        }
    }
    for (kind, protocol) in [
        (Some("consumer"), Some("range")),
        (Some("connect"), Some("range")),
        (Some("consumer"), Some("other")),
        (None, Some("range")),
        (Some("consumer"), None),
        (None, None),
        (Some(""), Some("")),
    ] {
        let request = SyncGroupRequest {
            protocol_type: kind.map(str::to_owned),
            protocol_name: protocol.map(str::to_owned),
            ..sync("lived-in", 1, &there, &[])
        };
        talk.one(format!("sync: as {kind:?} with {protocol:?}"), 5, request)
            .await;
    }
    for instance in ["", "static"] {
        let instance = Some(instance.to_owned());
        let label = format!("instance {instance:?}");
        talk.one(
            format!("sync: {label}"),
            4,
            SyncGroupRequest {
                group_instance_id: instance.clone(),
                ..sync("lived-in", 1, &there, &[])
            },
        )
        .await;
        talk.one(
            format!("heartbeat: {label}"),
            4,
            HeartbeatRequest {
                group_instance_id: instance.clone(),
                ..beat("lived-in", 1, &there)
            },
        )
        .await;
        let mut request = leave("lived-in", "");
        request.members[0].group_instance_id = instance;
        talk.one(format!("leave: {label}"), 4, request).await;
    }
    talk.one(
        "leave: no members",
        4,
        LeaveGroupRequest {
            group_id: "lived-in".to_owned(),
            ..LeaveGroupRequest::default()
        },
    )
    .await;
    let mut two = leave("lived-in", "somebody");
    two.members.push(two.members[0].clone());
    talk.one("leave: somebody twice", 4, two).await;
    talk.one(
        "join: another type of protocol",
        9,
        JoinGroupRequest {
            protocol_type: "connect".to_owned(),
            ..join("lived-in", "")
        },
    )
    .await;
    talk.one(
        "join: no protocol in common",
        9,
        JoinGroupRequest {
            protocols: vec![protocol("sticky", b"")],
            ..join("lived-in", "")
        },
    )
    .await;
    talk.one(
        "delete a group that is lived in",
        2,
        DeleteGroupsRequest {
            groups_names: vec!["lived-in".to_owned()],
        },
    )
    .await;
    for (topic, partition) in [("o", 0), ("nowhere", 0)] {
        let request = OffsetDeleteRequest {
            group_id: "lived-in".to_owned(),
            topics: vec![OffsetDeleteRequestTopic {
                name: topic.to_owned(),
                partitions: vec![OffsetDeleteRequestPartition {
                    partition_index: partition,
                }],
            }],
        };
        talk.one(
            format!("delete an offset of {topic} of a group that is lived in"),
            0,
            request,
        )
        .await;
    }
    talk.versions("describe a group that is lived in", 0..=6, |_| {
        describe("lived-in")
    })
    .await;
}

/// A group from its first member to its last, in each version of JoinGroup.
async fn rounds(talk: &mut Talk) {
    for version in 0..=9 {
        let group = format!("round-{version}");
        talk.case("a group of one");
        let mut answer = joined(talk.ask(version, join(&group, "")).await);
        if version >= 4 {
            let id = answer.member_id.clone();
            answer = joined(talk.ask(version, join(&group, &id)).await);
        }
        let id = answer.member_id.clone();
        talk.ask(version.min(5), beat_or_sync(version, &group, &id))
            .await;
        talk.ask(version.min(4), beat(&group, 1, &id)).await;
        talk.ask(version.min(6), describe(&group)).await;
        // Nothing has changed: the leader assigns anew all the same.
        talk.ask(version, join(&group, &id)).await;
        talk.ask(version.min(4), beat(&group, 1, &id)).await;
        talk.ask(version.min(4), beat(&group, 2, &id)).await;
        talk.ask(version.min(6), describe(&group)).await;
        talk.ask(version.min(5), leave(&group, &id)).await;
        talk.ask(version.min(5), leave(&group, &id)).await;
        talk.ask(version.min(6), describe(&group)).await;
    }
}

fn beat_or_sync(version: i16, group: &str, id: &str) -> SyncGroupRequest {
    SyncGroupRequest {
        protocol_type: (version >= 5).then(|| "consumer".to_owned()),
        protocol_name: (version >= 5).then(|| "range".to_owned()),
        ..sync(group, 1, id, &[id, "a stranger"])
    }
}

/// What members are told while others come and go.
async fn members(talk: &mut Talk) {
    talk.case("a second member");
    let first = joined(
        talk.ask(
            3,
            JoinGroupRequest {
                protocols: vec![protocol("range", b"a"), protocol("sticky", b"b")],
                ..join("pair", "")
            },
        )
        .await,
    )
    .member_id;
    talk.ask(3, sync("pair", 1, &first, &[&first])).await;
    let second = joined(talk.ask(4, join("pair", "")).await).member_id;
    // A member that was given an id and does not come is not there.
    talk.ask(4, beat("pair", 1, &second)).await;
    talk.ask(4, beat("pair", 1, &first)).await;
    talk.ask(4, describe("pair")).await;
    talk.ask(3, commit("pair", 1, &second, vec![])).await;
    talk.ask(4, leave("pair", &second)).await;
    talk.ask(4, beat("pair", 1, &first)).await;
    talk.ask(4, leave("pair", &first)).await;
    talk.ask(4, describe("pair")).await;
    talk.ask(3, join("pair", &first)).await;
}

async fn statics(talk: &mut Talk) {
    talk.case("a static member");
    let named = |group: &str, member: &str| JoinGroupRequest {
        group_instance_id: Some("i".to_owned()),
        ..join(group, member)
    };
    let first = joined(talk.ask(5, named("static", "")).await).member_id;
    talk.ask(
        3,
        SyncGroupRequest {
            group_instance_id: Some("i".to_owned()),
            ..sync("static", 1, &first, &[&first])
        },
    )
    .await;
    talk.ask(4, describe("static")).await;
    // It comes back and has forgotten its id.
    let second = joined(talk.ask(5, named("static", "")).await).member_id;
    let as_instance = |member: &str| HeartbeatRequest {
        group_instance_id: Some("i".to_owned()),
        ..beat("static", 1, member)
    };
    talk.ask(3, as_instance(&first)).await;
    talk.ask(3, as_instance(&second)).await;
    talk.ask(3, beat("static", 1, &first)).await;
    talk.ask(5, named("static", &first)).await;
    talk.ask(5, join("static", &first)).await;
    let mut by_name = leave("static", "");
    by_name.members[0].group_instance_id = Some("i".to_owned());
    let mut by_old_id = leave("static", &first);
    by_old_id.members[0].group_instance_id = Some("i".to_owned());
    talk.ask(4, by_old_id).await;
    talk.ask(4, by_name.clone()).await;
    talk.ask(4, by_name).await;
    talk.ask(4, describe("static")).await;
    talk.case("a static member comes back, later version");
    let first = joined(talk.ask(9, named("static-9", "")).await).member_id;
    talk.ask(
        3,
        SyncGroupRequest {
            group_instance_id: Some("i".to_owned()),
            ..sync("static-9", 1, &first, &[&first])
        },
    )
    .await;
    talk.ask(9, named("static-9", "")).await;
    talk.ask(
        9,
        JoinGroupRequest {
            protocols: vec![protocol("range", b"another subscription")],
            ..named("static-9", "")
        },
    )
    .await;
    let mut by_name = leave("static-9", "");
    by_name.members[0].group_instance_id = Some("i".to_owned());
    talk.ask(4, by_name).await;
}

async fn lists(talk: &mut Talk) {
    for groups in [&["unknown"] as &[&str], &[""], &[], &["unknown", "unknown"]] {
        for version in 0..=6 {
            let request = DescribeGroupsRequest {
                groups: groups.iter().map(|name| (*name).to_owned()).collect(),
                include_authorized_operations: true,
            };
            talk.one(format!("describe {groups:?}"), version, request)
                .await;
        }
    }
    let operations = DescribeGroupsRequest {
        include_authorized_operations: true,
        ..describe("lived-in")
    };
    talk.one("describe with operations", 5, operations).await;
    for (name, states, types) in [
        (
            "in an unknown state",
            &["no such state"] as &[&str],
            &[] as &[&str],
        ),
        ("dead", &["Dead"], &[]),
        ("of an unknown type", &[], &["no such type"]),
        ("of a type of others", &[], &["share"]),
        ("rebalancing", &["PreparingRebalance"], &[]),
    ] {
        let request = ListGroupsRequest {
            states_filter: states.iter().map(|name| (*name).to_owned()).collect(),
            types_filter: types.iter().map(|name| (*name).to_owned()).collect(),
        };
        talk.one(format!("list groups {name}"), 5, request).await;
    }
    for states in [
        &["Stable"] as &[&str],
        &["stable"],
        &["STABLE"],
        &["Stable", "Stable"],
    ] {
        let request = ListGroupsRequest {
            states_filter: states.iter().map(|name| (*name).to_owned()).collect(),
            ..ListGroupsRequest::default()
        };
        talk.one(format!("list groups {states:?}"), 5, request)
            .await;
    }
    let classic = ListGroupsRequest {
        types_filter: vec!["CLASSIC".to_owned()],
        ..ListGroupsRequest::default()
    };
    talk.one("list groups of the classic type", 5, classic)
        .await;
}
