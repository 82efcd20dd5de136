//! What the shell adds to the state machine: what outlives a stop, and what must not.

use std::path::Path;

use super::expiry::EXPIRED_AT_ONCE_MAX;
use super::record::{GroupRecord, MemberRecord};
use super::state::Group;
use super::*;
use crate::clock::wall_ms;
use crate::storage::StorageOptions;

fn open(folder: &Path) -> Groups {
    let topics = Topics::open(folder, StorageOptions::default()).expect("the folder opens");
    let background = Arc::new(Background::start("test").expect("a thread"));
    let limits = Limits {
        session_timeout_ms_min: 1_000,
        session_timeout_ms_max: 10_000,
        initial_rebalance_delay_ms: 0,
        members_max: 1,
    };
    Groups::open(topics, background, limits, 1000).expect("groups load")
}

fn create(groups: &Groups) {
    groups
        .topics
        .create("t", 1, &Default::default(), false)
        .expect("created");
}

fn at(offset: i64) -> Vec<(TopicPartition, OffsetRecord)> {
    let record = OffsetRecord {
        offset,
        leader_epoch: -1,
        metadata: String::new(),
        commit_timestamp_ms: wall_ms(),
    };
    vec![(TopicPartition::new("t", 0), record)]
}

async fn fetched(groups: &Groups) -> (Option<i64>, bool) {
    let asked = Some(vec![TopicPartition::new("t", 0)]);
    let fetched = groups
        .fetch_offsets("g", asked, true)
        .await
        .expect("fetched");
    let offset = fetched[0].record.as_ref().map(|record| record.offset);
    (offset, fetched[0].unstable)
}

const PRODUCER: Producer = Producer { id: 9, epoch: 0 };

#[tokio::test]
async fn a_topic_made_anew_inherits_no_offset() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let groups = open(folder.path());
    create(&groups);
    let member = Identity::standalone();
    groups
        .commit_offsets("g", &member, at(5))
        .await
        .expect("committed");
    groups
        .stage_offsets_synced("g", &member, PRODUCER, at(7))
        .expect("staged");
    assert_eq!(fetched(&groups).await, (Some(5), true));
    groups.topics.delete("t").expect("deleted");
    assert_eq!(
        groups.commit_offsets("g", &member, at(8)).await,
        Err(ErrorCode::UnknownTopicOrPartition)
    );
    groups.forget_topic("t");
    create(&groups);
    groups.end_transaction(PRODUCER.id, true);
    assert_eq!(fetched(&groups).await, (None, false));
    drop(groups);
    assert_eq!(fetched(&open(folder.path())).await, (None, false));
}

#[tokio::test]
async fn a_stop_between_a_topic_and_its_offsets_leaves_none() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let groups = open(folder.path());
    create(&groups);
    groups
        .commit_offsets("g", &Identity::standalone(), at(5))
        .await
        .expect("committed");
    groups.topics.delete("t").expect("deleted");
    drop(groups);
    let groups = open(folder.path());
    create(&groups);
    assert_eq!(fetched(&groups).await, (None, false));
    assert!(groups.list().is_empty());
    drop(groups);
    assert_eq!(fetched(&open(folder.path())).await, (None, false));
}

#[tokio::test]
async fn a_refused_join_makes_no_group() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let groups = open(folder.path());
    let join = |session_timeout_ms| Join {
        member_id: String::new(),
        fresh_member_id: String::new(),
        member_id_required: true,
        instance_id: None,
        client_id: "c".to_owned(),
        client_host: String::new(),
        session_timeout_ms,
        rebalance_timeout_ms: 1000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::new())],
        can_skip_assignment: false,
        ticket: 0,
    };
    let reply = groups.join("g", join(1)).await;
    assert_eq!(reply.error, ErrorCode::InvalidSessionTimeout);
    assert!(groups.list().is_empty());
    let reply = groups.join("g", join(5_000)).await;
    assert_eq!(reply.error, ErrorCode::MemberIdRequired);
    assert_eq!(groups.list().len(), 1);
}

#[tokio::test]
async fn what_has_run_out_is_ended_before_an_answer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let groups = open(folder.path());
    let member = MemberRecord {
        member_id: "m".to_owned(),
        instance_id: Some("static".to_owned()),
        client_id: String::new(),
        client_host: String::new(),
        rebalance_timeout_ms: 0,
        // It is over as soon as the group is loaded.
        session_timeout_ms: 0,
        subscription: Bytes::new(),
        assignment: Bytes::new(),
    };
    let record = GroupRecord {
        protocol_type: "consumer".to_owned(),
        generation: 1,
        protocol: Some("range".to_owned()),
        leader: Some("m".to_owned()),
        state_since_ms: 0,
        members: vec![member],
    };
    for group in ["described", "listed", "deleted"] {
        let write = [(Key::group(group), Some(record.encode()))];
        append(&groups.log, &write, ProducerStamp::NONE).expect("written");
    }
    drop(groups);
    let groups = open(folder.path());
    let described = groups.describe("described").expect("there");
    assert_eq!((described.phase, described.members.len()), ("Empty", 0));
    assert_eq!(groups.delete("deleted").await, Ok(()));
    assert!(groups.list().iter().all(|group| group.phase == "Empty"));
}

#[tokio::test]
async fn offsets_of_topics_that_are_read_are_not_forgotten() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let groups = open(folder.path());
    create(&groups);
    let member = Identity::standalone();
    groups
        .commit_offsets("g", &member, at(5))
        .await
        .expect("committed");
    let partition = [TopicPartition::new("t", 0)];
    assert_eq!(
        groups.delete_offsets("nobody", &partition).await,
        Err(ErrorCode::GroupIdNotFound)
    );
    let subscribed = |topic: &[u8], protocol_type: &str| {
        // Version 0, one topic, no user data.
        let metadata = [b"\0\0\0\0\0\x01\0\x01", topic, b"\xff\xff\xff\xff"].concat();
        GroupRecord {
            protocol_type: protocol_type.to_owned(),
            generation: 1,
            protocol: Some("range".to_owned()),
            leader: Some("m".to_owned()),
            state_since_ms: 0,
            members: vec![MemberRecord {
                member_id: "m".to_owned(),
                instance_id: None,
                client_id: String::new(),
                client_host: String::new(),
                rebalance_timeout_ms: 60_000,
                session_timeout_ms: 60_000,
                subscription: metadata.into(),
                assignment: Bytes::new(),
            }],
        }
    };
    for (topic, protocol_type, expected) in [
        (b"t", "consumer", Ok(HashSet::from(["t".to_owned()]))),
        (b"t", "connect", Err(ErrorCode::NonEmptyGroup)),
        (b"u", "consumer", Ok(HashSet::new())),
    ] {
        let group = Group::restored(subscribed(topic, protocol_type), steady_ms());
        groups
            .memory
            .lock()
            .groups
            .get_mut("g")
            .expect("there")
            .group = group;
        assert_eq!(groups.delete_offsets("g", &partition).await, expected);
    }
    assert_eq!(fetched(&groups).await, (None, false));
    drop(groups);
    assert_eq!(fetched(&open(folder.path())).await, (None, false));
}

#[tokio::test]
async fn unused_offsets_of_many_groups_go_some_at_a_time() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let groups = open(folder.path());
    create(&groups);
    let member = Identity::standalone();
    let mut unused = at(5);
    unused[0].1.commit_timestamp_ms = 1;
    let count = EXPIRED_AT_ONCE_MAX + 1;
    for n in 0..count {
        let written = groups.write_offsets(&format!("g{n}"), &member, None, unused.clone());
        written.expect("committed");
    }
    let mut used = at(5);
    used[0].1.commit_timestamp_ms = i64::MAX;
    groups
        .commit_offsets("used", &member, used)
        .await
        .expect("committed");
    let left = |groups: &Groups| groups.memory().groups.len();
    groups.tick();
    assert_eq!(left(&groups), count + 1, "it is not time to look");
    groups.memory().next_retention_check_ms = 0;
    groups.tick();
    assert_eq!(left(&groups), 2);
    groups.tick();
    assert_eq!(left(&groups), 1, "the rest went with the next look");
    assert!(groups.memory().next_retention_check_ms > steady_ms());
}
