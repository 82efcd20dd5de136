//! What the shell adds to the state machine: what outlives a stop, and what must not.

use std::path::Path;

use super::*;
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
